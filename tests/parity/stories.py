"""A story: some connections that say things one after the other, and what each of them heard.

One line is one command, inline, after the name of the connection that sends it: ``a acl whoami``. A line ``a <`` only
reads what has come meanwhile. At the end all connections are read once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from trio_sentinel.wire.resp import split_words

from .masks import masked, name_of
from .wires import Items, Tree, Wire, encoded

_SILENT = 0.1
_FOR_GOOD = 1000
_BY_NAME = {"subscribe", "psubscribe", "unsubscribe", "punsubscribe"}


class Heard(NamedTuple):
    """What came back for one line."""

    line: str
    replies: tuple[Tree, ...]
    closed: bool

    @property
    def shown(self) -> str:
        """For a failure message."""
        return "\n         ".join(map(repr, self.replies)) + (" closed" if self.closed else "")

    def __repr__(self) -> str:
        return f"{self.line!r}: {self.replies!r}{' closed' if self.closed else ''}"


def _unordered(command: str, replies: list[Tree]) -> tuple[Tree, ...]:
    """UNSUBSCRIBE without names ends subscriptions in any order: the names are sorted, the totals stay."""
    if command not in ("unsubscribe", "punsubscribe"):
        return tuple(replies)
    names = sorted(
        (reply.items[1] for reply in replies if isinstance(reply, Items) and len(reply.items) == 3), key=repr
    )
    return tuple(
        Items(reply.kind, (reply.items[0], name, reply.items[2])) if isinstance(reply, Items) else reply
        for reply, name in zip(replies, names, strict=False)
    ) or tuple(replies)


def _messages(replies: list[Tree]) -> tuple[Tree, ...]:
    """Stock takes the patterns of one subscriber in any order: each run of pattern messages is sorted."""
    found: list[Tree] = []
    for is_pattern, group in groupby(replies, key=lambda reply: "'pmessage'" in repr(reply)):
        run = list(group)
        found += sorted(run, key=repr) if is_pattern else run
    return tuple(found)


def tell(port: int, lines: Sequence[str | tuple[bytes, ...]]) -> list[Heard]:
    """What a sentinel answers to a story. A line may also be the words of a command of connection ``a``."""
    wires: dict[str, Wire] = {}
    heard: list[Heard] = []
    muted: dict[str, int] = {}  # how many lines of each will not be answered
    try:
        for line in lines:
            who, words = _read(line)
            wire = wires.get(who)
            if wire is None:
                wire = wires[who] = Wire(port)
            if words == (b"<",):
                heard.append(Heard(_printed(line), _messages(wire.read(patience=_SILENT)), wire.closed))
                continue
            command = name_of(words)
            count = max(1, len(words) - 1) if command in _BY_NAME else 1
            if command == "client|reply" and len(words) > 2:
                muted[who] = {b"off": _FOR_GOOD, b"skip": max(2, muted.get(who, 0)), b"on": 0}.get(words[2].lower(), 0)
            patience = _SILENT if muted.get(who) else 0.5 if command == "client|reply" else 2.0
            found = wire.ask(encoded(words), at_least=count, patience=patience)
            muted[who] = max(0, muted.get(who, 0) - 1)
            replies = _unordered(command, [masked(command, reply) for reply in found])
            heard.append(Heard(_printed(line), replies, wire.closed))
        for who, wire in wires.items():
            heard.append(Heard(f"{who} at the end", tuple(wire.read(patience=_SILENT / 5)), wire.closed))
    finally:
        for wire in wires.values():
            wire.end()
    return heard


def _printed(line: str | tuple[bytes, ...]) -> str:
    return line if isinstance(line, str) else "a " + b" ".join(line).decode("latin-1")


def _read(line: str | tuple[bytes, ...]) -> tuple[str, tuple[bytes, ...]]:
    if not isinstance(line, str):
        return "a", line
    who, _, command = line.partition(" ")
    words = split_words(command.encode("latin-1"))
    assert words is not None, line
    return who, words
