"""``python -m tests.fuzz``: mutated inputs for every parser, or for a live port. See `guided` for atheris.

Without options: 100,000 inputs shared out over all targets. An input that breaks an oracle, or takes longer than
`SLOW_S`, is written to the corpus, where the suite runs it from then on, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from attrs import define

from .corpus_files import CORPUS, keep, kept
from .mutation import Mutator
from .seeds import TARGETS, Target

SLOW_S: Final = 2.0
BATCH: Final = 500


class TooSlow(Exception):
    """An input was not read in so much CPU time: a hang. (The clock on the wall would blame us for other processes.)"""


@define
class Tally:
    """What became of one target."""

    inputs: int = 0
    findings: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    grown_kib: int = 0


def main() -> int:
    """Run; 1 when anything was found."""
    options = _options()
    if options.live or options.replay:
        from .live import fuzz_port, replay

        return fuzz_port(options.live, options.seed, options.cores) if options.live else replay(options.replay)
    names = options.target or list(TARGETS)
    shares = sum(TARGETS[name].share for name in names)
    findings = 0
    for name in names:
        count = max(1, options.inputs * TARGETS[name].share // shares)
        tally = fuzz(name, TARGETS[name], count, options.seed)
        findings += tally.findings
        print(
            f"{name}: {tally.inputs} inputs in {tally.seconds:.1f} s, slowest {tally.slowest_s * 1000:.1f} ms, "
            f"memory {tally.grown_kib:+d} KiB after the first tenth, {tally.findings} findings",
            flush=True,
        )
    return 1 if findings else 0


def fuzz(name: str, target: Target, count: int, seed: int) -> Tally:
    """Run `count` mutated inputs; findings are kept in the corpus and told on stderr."""
    mutator = Mutator([*target.seeds, *(data for _, data in kept(name))], target.tokens, seed)
    tally = Tally()
    began = time.perf_counter()
    settled_kib: int | None = None
    with _alarm():
        while tally.inputs < count:
            for _ in range(min(BATCH, count - tally.inputs)):
                _one(name, target, mutator.next(), tally)
            if settled_kib is None and tally.inputs * 10 >= count:
                settled_kib = _rss_kib()
    tally.seconds = time.perf_counter() - began
    tally.grown_kib = _rss_kib() - (settled_kib or 0)
    return tally


def _one(name: str, target: Target, data: bytes, tally: Tally) -> None:
    tally.inputs += 1
    began = time.process_time()
    signal.setitimer(signal.ITIMER_VIRTUAL, SLOW_S)
    try:
        target.run(data)
    except Exception:  # whatever it is, it is a finding
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        tally.findings += 1
        path = keep(name, data)
        print(f"{name}: {data!r}\nkept as {path}\n{traceback.format_exc()}", file=sys.stderr, flush=True)
    tally.slowest_s = max(tally.slowest_s, time.process_time() - began)


@contextmanager
def _alarm() -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise TooSlow(f"not read within {SLOW_S} s of computing")

    before = signal.signal(signal.SIGVTALRM, ring)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _rss_kib() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--target", nargs="+", choices=list(TARGETS), help=f"only these; corpus: {CORPUS}")
    parser.add_argument("--inputs", type=int, default=100_000, help="in all, shared out (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="equal seeds give equal inputs")
    parser.add_argument("--live", type=float, metavar="SECONDS", help="fuzz the port of a running sentinel instead")
    parser.add_argument(
        "--cores", type=float, default=0.0, help="with --live: use no more processors (0 = all there is)"
    )
    parser.add_argument("--replay", type=Path, metavar="FILE", help="send what a finding of --live has kept once more")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
