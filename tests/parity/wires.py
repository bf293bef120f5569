"""Replies as they are on the wire, read without losing which kind of value each part was."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from tests.real.harness_processes import LOOPBACK

Tree: TypeAlias = "Value | Items"


class Value(NamedTuple):
    """A simple string, error, integer, bulk, null, double or verbatim string."""

    kind: str
    text: str

    def __repr__(self) -> str:
        return f"{self.kind}{self.text!r}"


class Items(NamedTuple):
    """An array, set, push or map (as a flat list of keys and values)."""

    kind: str
    items: tuple[Tree, ...]

    def __repr__(self) -> str:
        return f"{self.kind}[{' '.join(map(repr, self.items))}]"


class Incomplete(Exception):
    """More bytes are needed."""


def parse(data: bytes, at: int) -> tuple[Tree, int]:
    """One reply and the place behind it."""
    end = data.find(b"\r\n", at)
    if end < 0:
        raise Incomplete
    kind, head = chr(data[at]), data[at + 1 : end].decode("latin-1")
    at = end + 2
    if kind in "+-:_,#":
        return Value(kind, head), at
    size = int(head)
    if kind in "$=":
        if size < 0:
            return Value("null bulk", ""), at
        if len(data) < at + size + 2:
            raise Incomplete
        return Value(kind, data[at : at + size].decode("latin-1")), at + size + 2
    assert kind in "*~>%", data[at - 20 : at + 20]
    if size < 0:
        return Value("null array", ""), at
    items: list[Tree] = []
    for _ in range(2 * size if kind == "%" else size):
        item, at = parse(data, at)
        items.append(item)
    return Items(kind, tuple(items)), at


def replies(data: bytes) -> Iterator[Tree]:
    """All complete replies in `data`."""
    at = 0
    while at < len(data):
        try:
            tree, at = parse(data, at)
        except Incomplete:
            return
        yield tree


class Wire:
    """One connection. `ask` gives all that comes back for one request."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((LOOPBACK, port), timeout=5.0)
        self.closed = False

    def ask(self, request: bytes, *, at_least: int, patience: float) -> list[Tree]:
        """Send, then read until `at_least` replies are there and no more come, or nothing comes."""
        if self.closed:
            return []
        try:
            self._socket.sendall(request)
        except OSError:
            self.closed = True
            return []
        return self.read(at_least=at_least, patience=patience)

    def read(self, *, at_least: int = 0, patience: float = 0.05) -> list[Tree]:
        """What comes now."""
        data = b""
        while not self.closed:
            enough = len(list(replies(data))) >= at_least
            if not select.select([self._socket], [], [], 0.002 if enough and at_least else patience)[0]:
                break
            try:
                chunk = self._socket.recv(1 << 20)
            except OSError:
                chunk = b""
            self.closed = not chunk
            data += chunk
        return list(replies(data))

    def end(self) -> None:
        """Close it."""
        self._socket.close()


def encoded(words: tuple[bytes, ...]) -> bytes:
    """A request as multibulk."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
