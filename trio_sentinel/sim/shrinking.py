"""A found failure made shorter: less harm, fewer faults, a smaller deployment, as long as the same property breaks.

Each fault of a run has dice of its own (``harm.py``), so most of what is left stays as it was when one is left out. The
network's dice do change, and with them the milliseconds; a smaller run is kept only when it fails again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import attrs
from attrs import define

from trio_sentinel.sim.options import OURS, Options
from trio_sentinel.sim.runs import WARM_UP_MS, Report, Run, guarded, run_options


@define(eq=False)
class Shrinking:
    """The shortest failure so far, and what it may still cost to find a shorter one."""

    report: Report
    run: Run
    runs_left: int
    until_s: float
    tried: int = 0

    @property
    def over(self) -> bool:
        """Whether the budget is spent."""
        return self.runs_left <= 0 or time.monotonic() >= self.until_s

    def fails(self, options: Options) -> bool:
        """Run `options`; when the same property breaks, they are the shortest from now on."""
        if self.over or options == self.report.options:
            return False
        self.runs_left -= 1
        self.tried += 1
        report = guarded(self.run, options)
        if report.number != self.report.number:
            return False
        self.report = report
        return True


def shrink(report: Report, *, runs: int = 200, seconds: float = 60.0, run: Run = run_options) -> Report:
    """A shorter run in which the same property breaks, or the same one when none is found within the budget.

    Reports of the full stage want ``run=run_full_options``. Raises ValueError when nothing is broken.
    """
    if report.broken is None:
        raise ValueError(f"seed {report.options.seed}: nothing is broken, so nothing can be made shorter")
    shrinking = Shrinking(report, run, runs, time.monotonic() + seconds)
    while not shrinking.over:
        before = shrinking.report.options
        _end_with_the_failure(shrinking)
        _leave_out_faults(shrinking)
        _make_smaller(shrinking)
        if shrinking.report.options == before:
            break
    return shrinking.report


def shortened(before: Report, after: Report) -> str:
    """How much shorter a run became."""
    if after is before:
        return "nothing shorter found"
    return (
        f"{len(after.faults)} faults instead of {len(before.faults)}, "
        f"{after.virtual_ms / 1000:.0f} s instead of {before.virtual_ms / 1000:.0f} s"
    )


def _end_with_the_failure(shrinking: Shrinking) -> None:
    """No harm after the failure; and when it came in peace, peace as early as it still comes."""
    options = shrinking.report.options
    needed_ms = shrinking.report.virtual_ms - WARM_UP_MS + 1
    if 0 < needed_ms < options.harm_ms:
        shrinking.fails(attrs.evolve(options, harm_ms=needed_ms))
    while shrinking.report.options.harm_ms > 1000:
        options = shrinking.report.options
        if not shrinking.fails(attrs.evolve(options, harm_ms=options.harm_ms // 2)):
            break


def _leave_out_faults(shrinking: Shrinking) -> None:
    """Halves of the faults, then quarters, down to single ones."""
    size = max(1, len(shrinking.report.faults) // 2)
    while not shrinking.over:
        for chunk in _chunks(tuple(shrinking.report.faults), size):
            options = shrinking.report.options
            if not set(chunk) <= set(options.spared):
                shrinking.fails(attrs.evolve(options, spared=tuple(sorted({*options.spared, *chunk}))))
        if size == 1:
            break
        size = max(1, size // 2)


def _chunks(numbers: tuple[int, ...], size: int) -> Iterator[tuple[int, ...]]:
    """The last ones first: what came after the cause is left out most easily."""
    for end in range(len(numbers), 0, -size):
        yield numbers[max(0, end - size) : end]


def _make_smaller(shrinking: Shrinking) -> None:
    """A simpler deployment; each step on its own."""
    for step in STEPS:
        while (smaller := step(shrinking.report.options)) is not None:
            if not shrinking.fails(smaller):
                break


def _fewer_masters(options: Options) -> Options | None:
    return attrs.evolve(options, masters=options.masters - 1) if options.masters > 1 else None


def _fewer_replicas(options: Options) -> Options | None:
    return attrs.evolve(options, replicas=options.replicas - 1) if options.replicas > 1 else None


def _fewer_sentinels(options: Options) -> Options | None:
    left = options.sentinels - 1
    if left < 1:
        return None
    return attrs.evolve(
        options,
        sentinels=left,
        quorum=min(options.quorum, left),
        clock_ppm=options.clock_ppm[:left],
        members=options.members[:left],
    )


def _only_ours(options: Options) -> Options | None:
    return attrs.evolve(options, members=()) if any(member != OURS for member in options.members) else None


def _without_names(options: Options) -> Options | None:
    """Servers go by numeric addresses; faults of the name service stay in the plan, or the others would change, and do
    nothing."""
    return attrs.evolve(options, named=False) if options.named else None


def _even_clocks(options: Options) -> Options | None:
    return attrs.evolve(options, clock_ppm=()) if any(options.clock_ppm) else None


def _near(options: Options) -> Options | None:
    return attrs.evolve(options, latency_ms=(0, 2)) if options.latency_ms != (0, 2) else None


def _quick_disks(options: Options) -> Options | None:
    return attrs.evolve(options, save_ms=(1, 4)) if options.save_ms != (1, 4) else None


STEPS: tuple[Callable[[Options], Options | None], ...] = (
    _fewer_masters,
    _fewer_sentinels,
    _fewer_replicas,
    _only_ours,
    _without_names,
    _even_clocks,
    _near,
    _quick_disks,
)
