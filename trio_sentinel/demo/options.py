"""What a person can choose about the demo."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

OUR_SENTINEL = (sys.executable, "-m", "trio_sentinel", "{}")
"""The command of one sentinel; ``{}`` becomes the path of its sentinel.conf."""


@frozen(kw_only=True)
class Options:
    """The choices of one run. Lengths in ms."""

    stay: bool
    plain: bool
    verbose: bool
    down_after_ms: int
    warm_up_ms: int
    server: Path | None
    sentinels: tuple[tuple[str, ...], ...]
    """Commands of the sentinels in turn: one command serves for all three."""


def parse(argv: Sequence[str]) -> Options:
    """Read the words after ``trio-sentinel demo``. Raises SystemExit for ``--help`` and for words it does not know."""
    given = _parser().parse_args(argv)
    fast: bool = given.fast
    return Options(
        stay=given.stay,
        plain=given.plain,
        verbose=given.verbose,
        down_after_ms=given.down_after or (500 if fast else 1000),
        warm_up_ms=500 if fast else 2500,
        server=given.server,
        sentinels=tuple(_command(text) for text in given.sentinel) or (OUR_SENTINEL,),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trio-sentinel demo",
        description="Start one master, two replicas and three sentinels on this machine, write through a real client, "
        "kill the master, and show what everybody saw and did.",
    )
    add = parser.add_argument
    add("--stay", action="store_true", help="keep everything running at the end and tell how to connect")
    add("--fast", action="store_true", help="shorter waits: 500 ms of silence count as down, and little warming up")
    add("--plain", action="store_true", help="plain lines even on a terminal")
    add("--verbose", action="store_true", help="show every event that the sentinels publish")
    add("--down-after", type=_positive, metavar="MS", help="silence in ms that counts as down (default 1000)")
    add("--server", type=Path, metavar="PROGRAM", help="a valkey-server or redis-server to use, not the bundled one")
    add(
        "--sentinel",
        action="append",
        default=[],
        metavar="COMMAND",
        help="another program in the place of ours, for comparison: 'redis-sentinel' or 'valkey-server {} --sentinel' "
        "({} is its configuration file). Given more than once, the three sentinels take them in turn; "
        "the word 'ours' is this program",
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _command(text: str) -> tuple[str, ...]:
    if text == "ours":
        return OUR_SENTINEL
    words = tuple(shlex.split(text))
    return words if "{}" in words else (*words, "{}")
