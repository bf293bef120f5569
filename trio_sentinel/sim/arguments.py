"""What the command lines of the simulator have in common: the kinds of their arguments, and how they end."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator

import msgspec

from trio_sentinel.sim.options import FAULTS, MEMBERS, Options, parse

CANNOT = 2
INTERRUPTED = 130
NOBODY_READS = 141
"""As the shell tells that SIGPIPE ended a process."""
MOST_JOBS = 256
MOST_MASTERS = 26
"""They are told as a, b, c ..."""


def whole(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise ArgumentTypeError(f"must be a whole number, not {_quoted(text)}") from None


def count(text: str) -> int:
    """0, 1, 2 ..."""
    return _at_least(0, text)


def positive(text: str) -> int:
    """1, 2 ..."""
    return _at_least(1, text)


def jobs(text: str) -> int:
    """How many processes."""
    number = positive(text)
    if number > MOST_JOBS:
        raise ArgumentTypeError(f"must be {MOST_JOBS} or less")
    return number


def _at_least(least: int, text: str) -> int:
    number = whole(text)
    if number < least:
        raise ArgumentTypeError(f"must be {least} or more")
    return number


def seconds(text: str) -> float:
    """How long."""
    try:
        length = float(text)
    except ValueError:
        length = math.nan
    if not 0 <= length < math.inf:
        raise ArgumentTypeError(f"must be a number of seconds, 0 or more, not {_quoted(text)}")
    return length


def span(text: str) -> tuple[int, int]:
    """A..B, both included; A alone is A..A."""
    low, dots, high = text.partition("..")
    try:
        ends = int(low), int(high if dots else low)
    except ValueError:
        ends = 1, 0
    if not 0 <= ends[0] <= ends[1]:
        raise ArgumentTypeError(f"say A..B, with 0 <= A <= B, not {_quoted(text)}")
    return ends


def seed_range(text: str) -> tuple[int, int]:
    """A..B, without B."""
    first, _, last = text.partition("..")
    try:
        ends = int(first), int(last)
    except ValueError:
        ends = 0, 0
    if ends[1] <= ends[0]:
        raise ArgumentTypeError(f"say A..B, for the seeds A to B-1, not {_quoted(text)}")
    return ends


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


# ---------------------------------------------------------------- options to replay


def replayed(text: str) -> Options:
    """Options as a finding tells them, perhaps changed by hand. Raises ValueError for what no run can have."""
    options = parse(text)
    try:
        msgspec.convert(json.loads(text), Options)
    except msgspec.ValidationError as error:
        raise ValueError(f"no options of a run: {error}") from error
    for name, fits in _LIMITS.items():
        value = getattr(options, name)
        if not fits(value):
            raise ValueError(f"no options of a run: {name} cannot be {json.dumps(value)}")
    return options


def _is_span(ends: tuple[int, int]) -> bool:
    return 0 <= ends[0] <= ends[1]


def _is_positive(number: int) -> bool:
    return number >= 1


def _are_faults(weights: tuple[tuple[str, int], ...]) -> bool:
    """At least one: harm without any has nothing to choose from."""
    return bool(weights) and all(name in FAULTS and share >= 1 for name, share in weights)


_LIMITS: dict[str, Callable[..., bool]] = {
    **dict.fromkeys(("sentinels", "replicas", "quorum", "down_after_ms", "failover_timeout_ms"), _is_positive),
    **dict.fromkeys(("parallel_syncs", "repl_timeout_ms", "pause_ms", "write_ms"), _is_positive),
    **dict.fromkeys(("latency_ms", "save_ms", "resync_ms"), _is_span),
    **dict.fromkeys(("backlog_writes", "harm_ms", "calm_ms", "pings_a_second"), lambda number: number >= 0),
    "masters": lambda number: 1 <= number <= MOST_MASTERS,
    "weights": _are_faults,
    "members": lambda members: all(member in MEMBERS for member in members),
}


# ---------------------------------------------------------------- how it ends


def carried_out(deed: Callable[[], int], *, name: str) -> int:
    """The exit status of `deed`, also when it is interrupted or what it says cannot be written."""
    try:
        with ctrl_c_from_trio():
            status = deed()
            sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _write_nowhere()
        return NOBODY_READS
    except OSError as error:
        _write_nowhere()
        print(f"{name}: {error}", file=sys.stderr)
        return CANNOT
    return status


@contextlib.contextmanager
def ctrl_c_from_trio() -> Iterator[None]:
    """Nurseries wrap what they raise."""
    try:
        yield
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is None:
            raise
        raise KeyboardInterrupt from None


def _write_nowhere() -> None:
    """What is still in the buffer would raise the same again at the end of the process."""
    with contextlib.suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
