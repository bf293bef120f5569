"""RESP2 replies of servers and peers: bytes -> values, incrementally, every size bounded.

Values: a status or bulk string is `bytes`, an error is an `ErrorReply`, an integer `int`, an array `list`, null `None`.
A server that breaks the rules gets a `ProtocolError`; its link is closed.

hiredis would be faster on big arrays, but it allocates an array before its elements have come, so that ten bytes
of a broken server could ask for gigabytes. What a sentinel hears is small: PONG, one integer, one bulk string.
"""

from __future__ import annotations

from typing import Final, TypeAlias, Union

from attrs import frozen

from trio_sentinel.errors import ProtocolError

MAX_BULK: Final = 16 * 1024 * 1024
MAX_LINE: Final = 64 * 1024
MAX_ELEMENTS: Final = 64
MAX_DEPTH: Final = 2  # with MAX_ELEMENTS it bounds the work, for an unfinished array is read again from its start
MAX_ARRAY: Final = MAX_BULK  # bytes on the wire: a long message on the hello channel is no reason to lose the link


@frozen
class ErrorReply:
    """An error reply, without its dash."""

    text: bytes


Reply: TypeAlias = Union[bytes, int, ErrorReply, list["Reply"], None]  # noqa: UP007 - a string has no "|"


class _Unfinished(Exception):
    """More bytes are needed; `size` is how many the buffer must hold at least."""

    def __init__(self, size: int) -> None:
        self.size = size


class ReplyReader:
    """Cuts a stream of bytes into replies."""

    __slots__ = ("_chunks", "_held", "_needed")

    def __init__(self) -> None:
        self._chunks: list[bytes] | None = None
        self._held = 0
        self._needed = 0

    @property
    def idle(self) -> bool:
        """Whether no reply has been begun."""
        return not self._chunks

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that `data` completes.

        Raises:
            ProtocolError: this is no RESP, or too much of it. The replies before it in `data` are lost with the link.
        """
        if self._chunks:
            self._chunks.append(data)
            self._held += len(data)
            if self._held < self._needed:
                return []
            data = b"".join(self._chunks)  # once for a long string, not once per chunk
        replies: list[Reply] = []
        at = 0
        size = len(data)
        try:
            while at < size:
                reply, at = _one(data, at, MAX_DEPTH)
                replies.append(reply)
            if self._chunks is not None:
                self._chunks = None
        except _Unfinished as unfinished:
            self._chunks = [data[at:]]
            self._held = size - at
            self._needed = unfinished.size - at
        return replies


def _one(buffer: bytes, at: int, depth: int) -> tuple[Reply, int]:
    """The reply that begins at `at`, and where the next one begins."""
    end = buffer.find(b"\r\n", at, at + MAX_LINE)
    if end < 0:
        if len(buffer) - at >= MAX_LINE:
            raise ProtocolError("too long a line")
        if buffer[at] not in b"+-:$*":
            raise ProtocolError("not a reply")
        raise _Unfinished(len(buffer) + 1)
    kind = buffer[at]
    after = end + 2
    if kind == 0x2B:  # +
        return buffer[at + 1 : end], after
    if kind == 0x2D:  # -
        return ErrorReply(buffer[at + 1 : end]), after
    if kind == 0x3A:  # :
        return _integer(buffer[at + 1 : end]), after
    if kind == 0x24:  # $
        return _bulk(buffer, _integer(buffer[at + 1 : end]), after)
    if kind == 0x2A:  # *
        return _array(buffer, _integer(buffer[at + 1 : end]), at, after, depth)
    raise ProtocolError("not a reply")


def _bulk(buffer: bytes, length: int, at: int) -> tuple[Reply, int]:
    if length == -1:
        return None, at
    if not 0 <= length <= MAX_BULK:
        raise ProtocolError("too long a string")
    end = at + length
    if len(buffer) < end + 2:
        raise _Unfinished(end + 2)
    if buffer[end : end + 2] != b"\r\n":
        raise ProtocolError("a string without its end")
    return buffer[at:end], end + 2


def _array(buffer: bytes, length: int, begin: int, at: int, depth: int) -> tuple[Reply, int]:
    if length == -1:
        return None, at
    if not 0 <= length <= MAX_ELEMENTS or not depth:
        raise ProtocolError("too big an array")
    items: list[Reply] = []
    for _ in range(length):
        if at - begin > MAX_ARRAY:
            raise ProtocolError("too big an array")
        if at >= len(buffer):
            raise _Unfinished(at + 1)
        item, at = _one(buffer, at, depth - 1)
        items.append(item)
    return items, at


def _integer(digits: bytes) -> int:
    magnitude = digits[1:] if digits[:1] == b"-" else digits
    if not magnitude.isdigit() or len(magnitude) > 19:
        raise ProtocolError("not a number")
    return int(digits)
