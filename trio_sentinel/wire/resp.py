"""RESP on the client port: bytes -> requests, incrementally and strictly; values -> reply bytes.

1. Every size is bounded before anything is allocated for it (commands.md 1.2-1.4).
2. A request is a tuple of bytes; nothing is decoded here.
3. `RequestReader` raises `ProtocolError` with the text stock sends; its user closes the connection after that.

hiredis is not used for requests: it accepts what a server must refuse (non-bulk elements, a wrong line end
after a bulk) and does not say how many bytes it took. Repeated queries are served from a memo of whole chunks
by the session, which costs less than any parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, TypeAlias

from trio_sentinel.errors import ProtocolError

Argv: TypeAlias = tuple[bytes, ...]

MAX_HEADER: Final = 65536
MAX_COUNT: Final = 2**31 - 1
MAX_ARGUMENTS: Final = 4096  # stock takes 2^20 or 2^31; a command with so many would hold up everybody else
MAX_GUEST_ARGUMENTS: Final = 10
MAX_GUEST_BULK: Final = 16384
ARGUMENT_COST: Final = 64  # what one argument is charged for besides its bytes, against the query buffer limit

_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_PLAIN_LINE = re.compile(rb"[^\"'\v\f]*")
_SMALL: dict[bytes, int] = {b"%d" % n: n for n in range(1024)}
_SPACE: Final = b" \t\r\n\v\f"  # skipped between words
_ENDS_WORD: Final = b" \t\r\n"  # the other two are data inside a bare word
_ESCAPES: dict[int, int] = {ord("n"): 10, ord("r"): 13, ord("t"): 9, ord("b"): 8, ord("a"): 7}


def strict_int(text: bytes) -> int | None:
    """The 64-bit signed integer that `text` spells; None for anything else: ``+1``, ``01``, `` 1``, ``-0``."""
    if _INTEGER.fullmatch(text) is None:
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


class RequestReader:
    """Cuts the bytes of one client into requests. Input may be split anywhere."""

    __slots__ = ("_args", "_bulk", "_cost", "_data", "_left", "_max_bulk", "_need", "_pieces", "_pos", "_size")

    def __init__(self, max_bulk: int) -> None:
        """`max_bulk` is proto-max-bulk-len in bytes."""
        self._max_bulk = max_bulk
        self._data = b""
        self._pos = 0
        self._pieces: list[bytes] = []  # what came after _data while a large argument is incomplete
        self._size = 0  # of _data and _pieces
        self._need = 0  # no progress is possible below this size
        self._left = 0  # arguments of the current multibulk still missing
        self._bulk = -1  # length of the argument being read, -1 before its header
        self._args: list[bytes] = []
        self._cost = 0  # of _args

    @property
    def idle(self) -> bool:
        """Whether nothing is buffered: the next byte begins a request."""
        return self._pos == self._size and not self._left

    @property
    def buffered(self) -> int:
        """Bytes not consumed yet, arguments of an unfinished request included."""
        return self._size - self._pos + self._cost

    @property
    def unread(self) -> int:
        """Bytes that were not yet cut into arguments."""
        return self._size - self._pos

    @property
    def read_words(self) -> int:
        """Bytes of the arguments of an unfinished request."""
        return sum(map(len, self._args))

    def feed(self, data: bytes) -> None:
        """Take what was received."""
        if self._pos == self._size:
            self._need = max(0, self._need - self._pos)
            self._data, self._pos, self._size = data, 0, len(data)
            return
        self._pieces.append(data)
        self._size += len(data)

    def next(self, guest: bool) -> Argv | None:
        """The next request, or None until more comes. `guest` applies the limits before authentication (1.4).

        Raises ProtocolError; the reader must not be used afterwards.
        """
        while True:
            if self._size < self._need:
                return None
            if self._pieces:
                self._data = self._data[self._pos :] + b"".join(self._pieces)
                self._pieces.clear()
                self._pos, self._size, self._need = 0, len(self._data), 0
            if self._left:
                return self._multibulk(guest)
            if self._pos == self._size:
                return None
            if self._data[self._pos] != 42:  # *
                argv = self._inline()
                if argv is None or argv:
                    return argv
                continue  # a blank line
            count = self._header(b"*", "too big mbulk count string")
            if count is None:
                return None
            number = _SMALL.get(count)
            if number is None:
                number = strict_int(count)
                if number is None or number > MAX_COUNT:
                    raise ProtocolError("invalid multibulk length")
            if number > MAX_GUEST_ARGUMENTS and guest:
                raise ProtocolError("unauthenticated multibulk length")
            if number > MAX_ARGUMENTS:
                raise ProtocolError("invalid multibulk length")
            if number > 0:
                self._left = number
                return self._multibulk(guest)

    def _header(self, kind: bytes, too_big: str) -> bytes | None:
        """The text between `kind` and the line end at the current position; None while it is incomplete."""
        data, pos = self._data, self._pos
        end = data.find(b"\r", pos)
        if end < 0:
            if self._size - pos > MAX_HEADER:
                raise ProtocolError(too_big)
            return None
        if end + 2 > self._size:
            return None
        if data[pos : pos + 1] != kind:
            found = data[pos : pos + 1].decode("latin-1")
            raise ProtocolError(f"expected '{kind.decode()}', got '{found}'")
        if data[end + 1] != 10:
            raise ProtocolError("invalid CRLF in request")
        self._pos = end + 2
        return data[pos + 1 : end]

    def _multibulk(self, guest: bool) -> Argv | None:
        """Read arguments until the request is complete."""
        args = self._args
        while self._left:
            if self._bulk < 0:
                text = self._header(b"$", "too big bulk count string")
                if text is None:
                    return None
                self._bulk = self._length(text, guest)
            start = self._pos
            end = start + self._bulk
            if self._size < end + 2:
                self._need = end + 2
                if start > 0 and self._bulk > MAX_HEADER:
                    self._data = self._data[start:]
                    self._size -= start
                    self._need -= start
                    self._pos = 0
                return None
            data = self._data
            if data[end : end + 2] != b"\r\n":
                raise ProtocolError("invalid CRLF in request")
            args.append(data[start:end])
            self._cost += self._bulk + ARGUMENT_COST
            self._pos = end + 2
            self._bulk = -1
            self._left -= 1
        self._args, self._cost = [], 0
        return tuple(args)

    def _length(self, text: bytes, guest: bool) -> int:
        """A checked bulk length."""
        length = _SMALL.get(text)
        if length is None:
            length = strict_int(text)
            if length is None or length < 0 or length > self._max_bulk:
                raise ProtocolError("invalid bulk length")
            if guest and length > MAX_GUEST_BULK:
                raise ProtocolError("unauthenticated bulk length")
        return length

    def _inline(self) -> Argv | None:
        """One line of words; None while its end is missing."""
        end = self._data.find(b"\n", self._pos)
        if end < 0:
            if self._size - self._pos > MAX_HEADER:
                raise ProtocolError("too big inline request")
            return None
        line = self._data[self._pos : end]
        self._pos = end + 1
        words = split_words(line.removesuffix(b"\r"))
        if words is None:
            raise ProtocolError("unbalanced quotes in request")
        if len(words) > MAX_ARGUMENTS:
            raise ProtocolError("too big inline request")
        return words


def split_words(line: bytes) -> Argv | None:
    """Cut a line at white space; quoted and bare parts without space between them join. None if a quote stays open."""
    if _PLAIN_LINE.fullmatch(line):
        return tuple(line.split())
    words: list[bytes] = []
    at, size = 0, len(line)
    while True:
        while at < size and line[at] in _SPACE:
            at += 1
        if at == size:
            return tuple(words)
        word = bytearray()
        while at < size and line[at] not in _ENDS_WORD:
            if line[at] in b"\"'":
                after = _quoted(line, at, word)
                if after is None:
                    return None
                at = after
            else:
                word.append(line[at])
                at += 1
        words.append(bytes(word))


def _quoted(line: bytes, at: int, word: bytearray) -> int | None:
    """Append the quoted part that opens at `at` to `word`; the position after it, or None if it never closes."""
    quote = line[at]
    at += 1
    while at < len(line):
        char = line[at]
        if char == quote:
            return at + 1
        # V9: a backslash with only one character after it on the line is an ordinary character.
        if char == 92 and at + 2 < len(line):
            following = line[at + 1]
            if quote == 39:  # only \' means something between single quotes
                at += 2 if following == 39 else 1
                word.append(39 if following == 39 else 92)
                continue
            digits = line[at + 2 : at + 4]
            if following == ord("x") and len(digits) == 2 and all(d in b"0123456789abcdefABCDEF" for d in digits):
                word.append(int(digits, 16))
                at += 4
                continue
            word.append(_ESCAPES.get(following, following))
            at += 2
            continue
        word.append(char)
        at += 1
    return None


# ---------------------------------------------------------------- replies
# `proto` is 2 or 3: what the connection speaks (commands.md 1.7).

OK: Final = b"+OK\r\n"
PONG: Final = b"+PONG\r\n"


def text(value: str) -> bytes:
    """A text of the model as bytes; what came in as bytes goes out unchanged."""
    return value.encode("utf-8", "surrogateescape")


def told(value: bytes) -> str:
    """Bytes of a client as a text of the model; `text` is the inverse."""
    return value.decode("utf-8", "surrogateescape")


def simple(value: str) -> bytes:
    """A simple string; `value` holds no line end."""
    return b"+%b\r\n" % text(value)


def error(value: str) -> bytes:
    """An error that starts with its code; line ends become spaces (1.6)."""
    return b"-%b\r\n" % text(value).replace(b"\r", b" ").replace(b"\n", b" ")


def integer(value: int) -> bytes:
    """An integer."""
    return b":%d\r\n" % value


def bulk(value: bytes | str | int) -> bytes:
    """A bulk string; a number is written in decimal digits."""
    if not isinstance(value, bytes):
        value = text(value) if isinstance(value, str) else b"%d" % value
    return b"$%d\r\n%b\r\n" % (len(value), value)


def null_bulk(proto: int) -> bytes:
    """The absent bulk string."""
    return b"$-1\r\n" if proto == 2 else b"_\r\n"


def null_array(proto: int) -> bytes:
    """The absent array."""
    return b"*-1\r\n" if proto == 2 else b"_\r\n"


def array(items: Sequence[bytes]) -> bytes:
    """An array of encoded items."""
    return b"*%d\r\n%b" % (len(items), b"".join(items))


def bulks(values: Iterable[bytes | str | int]) -> bytes:
    """An array of bulk strings."""
    return array([bulk(value) for value in values])


def simples(values: Iterable[str]) -> bytes:
    """An array of simple strings."""
    return array([simple(value) for value in values])


def mapping(pairs: Sequence[tuple[bytes, bytes]], proto: int) -> bytes:
    """A map of encoded keys and values: flat array in RESP2."""
    head = b"*%d\r\n" % (2 * len(pairs)) if proto == 2 else b"%%%d\r\n" % len(pairs)
    return head + b"".join([part for pair in pairs for part in pair])


@lru_cache(maxsize=512)
def _key(name: str) -> bytes:
    """The name of a field as a bulk string; there are few and they repeat."""
    return bulk(name)


def fields(pairs: Sequence[tuple[str, bytes | str | int]], proto: int) -> bytes:
    """A map whose keys and values are bulk strings. Descriptions of thousands of instances pass here."""
    parts = [b"*%d\r\n" % (2 * len(pairs)) if proto == 2 else b"%%%d\r\n" % len(pairs)]
    for name, value in pairs:
        parts.append(_key(name))
        if isinstance(value, int):
            digits = b"%d" % value
            parts.append(b"$%d\r\n%b\r\n" % (len(digits), digits))
        else:
            parts.append(bulk(value))
    return b"".join(parts)


def set_of(items: Sequence[bytes], proto: int) -> bytes:
    """A set of encoded items: array in RESP2."""
    return b"%b%d\r\n%b" % (b"*" if proto == 2 else b"~", len(items), b"".join(items))


def push(items: Sequence[bytes], proto: int) -> bytes:
    """An out-of-band frame of encoded items: array in RESP2."""
    return b"%b%d\r\n%b" % (b"*" if proto == 2 else b">", len(items), b"".join(items))


def double(value: float, proto: int) -> bytes:
    """A double: its digits as a bulk string in RESP2."""
    digits = f"{value:.17g}"
    return bulk(digits) if proto == 2 else b",%b\r\n" % digits.encode()


def verbatim(value: bytes, proto: int) -> bytes:
    """Plain text marked as such: bulk string in RESP2."""
    return bulk(value) if proto == 2 else b"=%d\r\ntxt:%b\r\n" % (len(value) + 4, value)
