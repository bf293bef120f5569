"""``python -m trio_sentinel.sim``: one seed as a story, or a soak over many. The exit status is 1 for a finding."""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
from collections.abc import Iterator

from trio_sentinel.model.rhythm import PINGS_A_SECOND
from trio_sentinel.sim.options import Options
from trio_sentinel.sim.runs import build, guarded
from trio_sentinel.sim.soak import FAST, LONG_RUN, Search, soak
from trio_sentinel.sim.story import lines

SPEED_MS = 60_000


def _seed_range(text: str) -> tuple[int, int]:
    first, dots, last = text.partition("..")
    if not dots or int(last) <= int(first):
        raise argparse.ArgumentTypeError("say A..B, for the seeds A to B-1")
    return int(first), int(last)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(
        prog="python -m trio_sentinel.sim", description="Rehearse failures on virtual time."
    )
    whole.add_argument("--seed", type=int, help="tell the story of one seed")
    whole.add_argument("--stage", choices=("fast", "full"), default="fast", help="full: with the real runtime")
    whole.add_argument("--brief", action="store_true", help="only the last line of it")
    deeds = whole.add_subparsers(dest="deed")
    many = deeds.add_parser("soak", help="run many seeds")
    many.add_argument("--seeds", type=_seed_range, help="A..B, for the seeds A to B-1; else fresh ones")
    many.add_argument("--seconds", type=float, help="stop after this long; the default without --seeds is 60")
    many.add_argument("--jobs", type=int, default=1)
    deeds.add_parser("speed", help="how fast a healthy deployment of five sentinels and five servers is simulated")
    many.add_argument(
        "--sometimes",
        action="store_true",
        help=f"fail when an interesting state was never reached, as after {LONG_RUN} seeds anyway",
    )
    return whole


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; returns the exit status."""
    options = parser().parse_args(arguments)
    if options.deed == "soak":
        return _soak(options)
    if options.deed == "speed":
        return _speed()
    seed = random.SystemRandom().randrange(10**9) if options.seed is None else options.seed
    began_s = time.monotonic()
    search = _search(options)
    report = guarded(search.run, search.draw(seed))
    for line in [report.line] if options.brief else lines(report):
        print(line)
    real_s = time.monotonic() - began_s
    print(f"{report.virtual_ms / 1000 / real_s:.0f} virtual seconds a second", file=sys.stderr)
    return int(report.broken is not None)


def _search(options: argparse.Namespace) -> Search:
    if options.stage == "fast":
        return FAST
    from trio_sentinel.sim import stage  # brings Trio with it

    return Search(stage.draw_full, stage.run_full_options, stage.SOMETIMES)


def _soak(options: argparse.Namespace) -> int:
    seconds: float | None = options.seconds
    if options.seeds is None:
        first = random.SystemRandom().randrange(10**9)
        print(f"fresh seeds from {first}")
        seeds: Iterator[int] = itertools.count(first)
        seconds = 60.0 if seconds is None else seconds
    else:
        seeds = iter(range(*options.seeds))
    search = _search(options)
    total = soak(seeds, search=search, jobs=options.jobs, seconds=seconds)
    for name, count in sorted(total.seen.items()):
        print(f"{count:>8}  {name}")
    missing = total.never_seen(search.wanted)
    for name in missing:
        print(f"   never  {name}")
    needed = options.sometimes or (total.runs >= LONG_RUN and options.stage == "fast")
    return int(bool(total.findings) or (needed and bool(missing)))


def _speed() -> int:
    """A healthy deployment with a client that writes, all checkers on; the second of the two minutes counts."""
    for pings_a_second in (0, PINGS_A_SECOND):
        healthy = Options(seed=1, sentinels=5, quorum=3, replicas=4, pings_a_second=pings_a_second)
        world = build(healthy).world
        world.run_for(SPEED_MS)
        began_s = time.process_time()
        world.run_for(SPEED_MS)
        rate = SPEED_MS / 1000 / (time.process_time() - began_s)
        print(f"{rate:.0f} virtual seconds per CPU second, {'quick PINGs' if pings_a_second else 'a PING a second'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
