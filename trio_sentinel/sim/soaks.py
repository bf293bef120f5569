"""Many seeds in several processes: progress, one line for each finding, and what was reached."""

from __future__ import annotations

import gc
import itertools
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TextIO

from attrs import Factory, define, frozen

from trio_sentinel.sim.options import Options, draw
from trio_sentinel.sim.pool import in_parallel
from trio_sentinel.sim.runs import Report, Run, guarded, run_options
from trio_sentinel.sim.shrinking import shortened, shrink

SOMETIMES: tuple[str, ...] = (
    "TILT",
    "two candidates in one epoch",
    "a candidate votes for another",
    "a forced leader beside another in one epoch",
    "a switch in TILT",
    "abort in WaitingForVotes",
    "abort in SendingPromotion",
    "abort in WaitingForPromotion",
    "crash during a save",
    "crash after a save, before it is known",
    "power failure during a save",
    "a power failure takes a file back",
    "a save that failed after its rename",
    "crash before AnswerOpinion",
    "crash before Promote",
    "crash after Promote",
    "crash after the event LeaderElected",
    "crash after the event PromotionSeen",
    "SIMULATE-FAILURE",
    "TILT during a failover",
    "RESET or REMOVE during a failover",
    "two failovers of one sentinel at once",
    "an election that nobody can win any more",
    "an attempt right after a start",
    "a failover ends out of time",
    "a vote is refused because it cannot be saved",
    "a save fails during a failover",
    "a leader is overtaken while it brings replicas over",
    "a peer is evicted from its address",
    "the chosen replica goes down",
    "the old master comes back during a failover",
    "death of a leader or candidate in WaitingForPromotion",
    "death of a leader or candidate in ReconfiguringReplicas",
    "a stock member leads with votes of another epoch (Q1)",
    "a stock member takes an epoch without its address (Q5)",
)
"""What a long soak must reach, or it proves little."""
SURE_ON_FULL_STAGE: tuple[str, ...] = (
    "TILT",
    "two candidates in one epoch",
    "abort in WaitingForVotes",
    "crash during a save",
    "a shutdown in good order",
    "a switch heard by a subscriber",
)
"""What LONG_FULL_RUN seeds of the full stage surely reach, beside each nuisance: one seed in eighteen or more did."""
LONG_RUN = 2000
"""After so many seeds each of them must have been met."""
LONG_FULL_RUN = 500
SHRUNK = 3
"""So many findings are made shorter, of different kinds ..."""
SHRINK_S = 20.0
"""... and each for so long."""
PROGRESS_S = 10.0
COLLECT_EVERY = 20
_RUNS = itertools.count(1)


@define(eq=False)
class Sum:
    """What many runs came to."""

    runs: int = 0
    virtual_ms: int = 0
    cpu_s: float = 0.0
    events: int = 0
    failovers: int = 0
    false_failovers: int = 0
    acknowledged: int = 0
    lost: int = 0
    gaps: Counter[int] = Factory(Counter)
    """How many runs were without writes for how long at most, in tenths of a second."""
    worst_gap: tuple[int, int] = (0, 0)
    """The longest of all, in ms, and the seed."""
    findings: list[Report] = Factory(list)
    seen: Counter[str] = Factory(Counter)

    def add(self, report: Report) -> None:
        """One more run."""
        self.runs += 1
        self.virtual_ms += report.virtual_ms
        self.cpu_s += report.cpu_s
        self.events += report.events
        self.failovers += report.failovers
        self.false_failovers += report.false_failovers
        self.acknowledged += report.acknowledged
        self.lost += report.lost
        self.gaps[report.longest_gap_ms // 100] += 1
        self.worst_gap = max(self.worst_gap, (report.longest_gap_ms, report.options.seed))
        self.seen += report.seen
        if report.broken is not None:
            self.findings.append(report)

    @property
    def without_writes(self) -> str:
        """For how long no write was acknowledged: in the middle one of the runs, and in the worst."""
        ordered = sorted(self.gaps.items())
        passed = itertools.accumulate(runs for _, runs in ordered)
        middle = next((gap for (gap, _), past in zip(ordered, passed, strict=True) if 2 * past >= self.runs), 0)
        worst_ms, seed = self.worst_gap
        worst = worst_ms // 100  # cut to tenths, as the others are
        return f"longest time without writes: median {middle / 10:.1f} s, worst {worst / 10:.1f} s (seed {seed})"

    def never_seen(self, wanted: Iterable[str] = SOMETIMES) -> list[str]:
        """Which of the interesting states were not reached."""
        return [name for name in wanted if not self.seen[name]]


@frozen
class Search:
    """Where seeds are run."""

    draw: Callable[[int], Options]
    run: Run
    wanted: tuple[str, ...]
    """What a long soak must reach there, or it proves little."""
    sure: tuple[str, ...] = ()
    """What one of `long_run` seeds surely reaches; a soak that does not is broken itself."""
    long_run: int = LONG_RUN
    replay: str = "trio-sentinel simulate"
    """What runs options again that are given after ``--replay``."""

    def demanded(self, runs: int, *, all_of_them: bool = False) -> tuple[str, ...]:
        """What so many runs must have reached."""
        if all_of_them:
            return self.wanted
        return self.sure if runs >= self.long_run else ()


FAST = Search(draw, run_options, SOMETIMES, SOMETIMES)


def full_stage() -> Search:
    """On the full stage. Brings Trio with it."""
    from trio_sentinel.sim import stage

    return Search(
        draw=stage.draw_full,
        run=stage.run_full_options,
        wanted=stage.SOMETIMES,
        sure=(*SURE_ON_FULL_STAGE, *(name for name in stage.SOMETIMES if name.startswith("nuisance "))),
        long_run=LONG_FULL_RUN,
        replay="python -m trio_sentinel.sim --stage full",
    )


def run_quietly(search: Search, seed: int) -> Report:
    """One run without its story, which would have to travel between processes."""
    began_s = time.process_time()
    with without_collector():
        report = guarded(search.run, search.draw(seed))
    report.cpu_s = time.process_time() - began_s
    report.told, report.notes, report.moves = [], [], []
    return report


@contextmanager
def without_collector() -> Iterator[None]:
    """A run is short, and hardly anything in it is garbage before its end: looking for cycles costs a tenth of its
    time, so it is done after some runs instead."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        if next(_RUNS) % COLLECT_EVERY == 0:
            gc.collect()


def soak(
    seeds: Iterable[int],
    *,
    search: Search = FAST,
    jobs: int = 1,
    seconds: float | None = None,
    out: TextIO | None = None,
    total: Sum | None = None,
) -> Sum:
    """Run `seeds` until they or the `seconds` are over; findings and progress go to `out`, by default to stdout.
    `search` says on which stage. What comes to `total` is there also when this is interrupted."""
    out = sys.stdout if out is None else out
    reports = in_parallel(partial(run_quietly, search), seeds, jobs)
    return _gather(reports, Sum() if total is None else total, time.monotonic(), seconds, out)


def _gather(reports: Iterator[Report], total: Sum, began_s: float, seconds: float | None, out: TextIO) -> Sum:
    told_s = began_s
    for report in reports:
        total.add(report)
        if report.broken is not None:
            print(report.line, file=out, flush=True)
        now_s = time.monotonic()
        if now_s - told_s >= PROGRESS_S:
            told_s = now_s
            print(progress(total, now_s - began_s), file=out, flush=True)
        if seconds is not None and now_s - began_s >= seconds:
            break
    print(progress(total, time.monotonic() - began_s), file=out, flush=True)
    return total


def made_shorter(search: Search, findings: Iterable[Report], *, seconds: float | None = None) -> Iterator[str]:
    """The first finding of each kind, SHRUNK of them at most, as a command that runs the least that still fails."""
    kinds: dict[str | None, Report] = {}
    for report in findings:
        kinds.setdefault(report.number, report)
    for report in itertools.islice(kinds.values(), SHRUNK):
        shorter = shrink(report, seconds=SHRINK_S if seconds is None else seconds, run=search.run)
        yield f"seed {report.options.seed}: {shorter.broken} ({shortened(report, shorter)})"
        yield f"    {search.replay} --replay {shlex.quote(shorter.options.text)}"


def progress(total: Sum, real_s: float) -> str:
    """How far it is."""
    speed = total.virtual_ms / 1000 / max(total.cpu_s, 0.001)
    return (
        f"{total.runs} seeds, {total.virtual_ms // 1000} virtual s in {real_s:.0f} s ({speed:.0f} per CPU s), "
        f"{total.failovers} failovers, {total.false_failovers} of them false, "
        f"{total.lost} of {total.acknowledged} writes lost, {len(total.findings)} findings; {total.without_writes}"
    )
