"""``python -m trio_sentinel.sim``: one seed as a story, or a soak over many. The exit status is 1 for a finding."""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
from collections.abc import Iterator
from functools import partial

from trio_sentinel.model.rhythm import PINGS_A_SECOND
from trio_sentinel.sim.arguments import (
    INTERRUPTED,
    carried_out,
    ctrl_c_from_trio,
    jobs,
    replayed,
    seconds,
    seed_range,
    whole,
)
from trio_sentinel.sim.options import Options
from trio_sentinel.sim.runs import build, guarded
from trio_sentinel.sim.soaks import (
    FAST,
    LONG_FULL_RUN,
    LONG_RUN,
    Sum,
    full_stage,
    made_shorter,
    soak,
    without_collector,
)
from trio_sentinel.sim.story import lines

NAME = "python -m trio_sentinel.sim"
WARM_UP_MS, SPEED_MS = 60_000, 600_000


def _options(text: str) -> Options:
    try:
        return replayed(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _add_stage(to: argparse.ArgumentParser, *, default: str) -> None:
    to.add_argument("--stage", choices=("fast", "full"), default=default, help="full: with the real runtime")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog=NAME, description="Rehearse failures on virtual time. Without a word: the story of a random seed."
    )
    top.add_argument("--seed", type=whole, help="tell the story of one seed")
    top.add_argument("--replay", metavar="OPTIONS", type=_options, help="of the options that a finding tells")
    _add_stage(top, default="fast")
    top.add_argument("--brief", action="store_true", help="only the last line of it")
    deeds = top.add_subparsers(dest="deed")
    many = deeds.add_parser("soak", help="run many seeds")
    many.add_argument("--seeds", type=seed_range, help="A..B, for the seeds A to B-1; else fresh ones")
    many.add_argument("--seconds", type=seconds, help="stop after this long; the default without --seeds is 60")
    _add_stage(many, default=argparse.SUPPRESS)
    many.add_argument("--jobs", type=jobs, default=1, help="processes (default: one)")
    many.add_argument("--no-shrink", action="store_true", help="do not look for a shorter form of what is found")
    deeds.add_parser("speed", help="how fast a healthy deployment of five sentinels and five servers is simulated")
    many.add_argument(
        "--sometimes",
        action="store_true",
        help=f"fail when an interesting state was never reached, as after {LONG_RUN} seeds anyway; on the full stage "
        f"some of them must be after {LONG_FULL_RUN}",
    )
    return top


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; returns the exit status."""
    words = parser()
    options = words.parse_args(arguments)
    for name in ("seed", "replay", "brief"):
        if options.deed is not None and getattr(options, name) not in (None, False):
            words.error(f"argument --{name}: not allowed with {options.deed}")
    if options.seed is not None and options.replay is not None:
        words.error("argument --replay: not allowed with --seed")
    return carried_out(partial(_done, options), name=NAME)


def _done(options: argparse.Namespace) -> int:
    if options.deed == "soak":
        return _soak(options)
    if options.deed == "speed":
        return _speed()
    search = full_stage() if options.stage == "full" else FAST
    seed = random.SystemRandom().randrange(10**9) if options.seed is None else options.seed
    began_s = time.monotonic()
    report = guarded(search.run, options.replay or search.draw(seed))
    for line in [report.line] if options.brief else lines(report):
        print(line)
    real_s = time.monotonic() - began_s
    print(f"{report.virtual_ms / 1000 / real_s:.0f} virtual seconds a second", file=sys.stderr)
    return int(report.broken is not None)


def _soak(options: argparse.Namespace) -> int:
    limit_s: float | None = options.seconds
    if options.seeds is None:
        first = random.SystemRandom().randrange(10**9)
        print(f"fresh seeds from {first}")
        seeds: Iterator[int] = itertools.count(first)
        limit_s = 60.0 if limit_s is None else limit_s
    else:
        seeds = iter(range(*options.seeds))
    search = full_stage() if options.stage == "full" else FAST
    total, interrupted = Sum(), False
    try:
        with ctrl_c_from_trio():
            soak(seeds, search=search, jobs=options.jobs, seconds=limit_s, total=total)
    except KeyboardInterrupt:
        interrupted = True
        print(f"interrupted after {total.runs} seeds, {len(total.findings)} findings")
    for name, count in sorted(total.seen.items()):
        print(f"{count:>8}  {name}")
    demanded = search.demanded(total.runs, all_of_them=options.sometimes)
    for name in total.never_seen(search.wanted):
        print(f"   never  {name}{', which proves little' if name in demanded else ''}")
    if interrupted:
        return INTERRUPTED
    if not options.no_shrink:
        for line in made_shorter(search, total.findings):
            print(line, flush=True)
    return int(bool(total.findings or total.never_seen(demanded)))


def _speed() -> int:
    """A healthy deployment with a client that writes, all checkers on, as a soak plays it; the minutes after the first
    one count."""
    for pings_a_second in (0, PINGS_A_SECOND):
        healthy = Options(seed=1, sentinels=5, quorum=3, replicas=4, pings_a_second=pings_a_second)
        world = build(healthy).world
        world.run_for(WARM_UP_MS)
        with without_collector():
            began_s = time.process_time()
            world.run_for(SPEED_MS)
            rate = SPEED_MS / 1000 / (time.process_time() - began_s)
        print(f"{rate:.0f} virtual seconds per CPU second, {'quick PINGs' if pings_a_second else 'a PING a second'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
