r"""Glob patterns as Redis reads them: ``*``, ``?``, ``[abc]``, ``[a-z]``, ``[^x]`` and ``\`` (commands.md 4.1).

The pattern is cut into pieces between stars. Each piece takes its leftmost place, so the work is bounded by
(length of the pattern) x (length of the text): no pattern makes it grow exponentially. A pattern longer than
`MAX_PATTERN` fits nothing: no name here is so long, and strangers may send any.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from attrs import frozen

MAX_PATTERN: Final = 1024
_ANY: Final = None
_ONE: Final = tuple(frozenset((char,)) for char in range(256))


@frozen
class Glob:
    """A compiled pattern."""

    pieces: tuple[tuple[frozenset[int] | None, ...], ...]
    ignore_case: bool

    def matches(self, text: bytes) -> bool:
        """Whether the whole of `text` fits."""
        if self.ignore_case:
            text = text.lower()
        first, *rest = self.pieces
        if not rest:
            return len(first) == len(text) and _fits(first, text, 0)
        *middle, last = rest
        end = len(text) - len(last)
        if end < len(first) or not _fits(first, text, 0) or not _fits(last, text, end):
            return False
        at = len(first)
        for piece in middle:
            while at + len(piece) <= end and not _fits(piece, text, at):
                at += 1
            at += len(piece)
            if at > end:
                return False
        return True


_NOTHING: Final = Glob(((frozenset(),),), False)


def _fits(piece: tuple[frozenset[int] | None, ...], text: bytes, at: int) -> bool:
    """Whether `piece` stands at `at`; the caller has checked the length."""
    for offset, wanted in enumerate(piece):
        if wanted is not None and text[at + offset] not in wanted:
            return False
    return True


def compiled(pattern: bytes, ignore_case: bool = False) -> Glob:
    """Read a pattern; any bytes are one."""
    return _compiled(pattern, ignore_case) if len(pattern) <= MAX_PATTERN else _NOTHING


@lru_cache(maxsize=256)
def _compiled(pattern: bytes, ignore_case: bool) -> Glob:
    pieces: list[tuple[frozenset[int] | None, ...]] = []
    piece: list[frozenset[int] | None] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == 42:  # *
            if not pieces or piece:
                pieces.append(tuple(piece))
                piece = []
            at += 1
            continue
        if char == 63:  # ?
            piece.append(_ANY)
        elif char == 91:  # [
            wanted, at = _bracket(pattern, at + 1)
            piece.append(_folded(wanted, ignore_case))
        else:
            if char == 92 and at + 1 < len(pattern):  # backslash
                at += 1
                char = pattern[at]
            piece.append(_folded({char}, True) if ignore_case else _ONE[char])
        at += 1
    pieces.append(tuple(piece))
    return Glob(tuple(pieces), ignore_case)


def _folded(chars: set[int], ignore_case: bool) -> frozenset[int]:
    """The characters to compare with; in lower case when case does not matter."""
    return frozenset(bytes(chars).lower()) if ignore_case else frozenset(chars)


def _bracket(pattern: bytes, at: int) -> tuple[set[int], int]:
    """The class that begins at `at` and the position of its end; an unclosed class ends with the pattern."""
    negated = at < len(pattern) and pattern[at] == 94
    if negated:
        at += 1
    chars: set[int] = set()
    while at < len(pattern) and pattern[at] != 93:
        if pattern[at] == 92 and at + 1 < len(pattern):
            at += 1
            chars.add(pattern[at])
        elif at + 2 < len(pattern) and pattern[at + 1] == 45:
            low, high = sorted((pattern[at], pattern[at + 2]))
            chars.update(range(low, high + 1))
            at += 2
        else:
            chars.add(pattern[at])
        at += 1
    return (set(range(256)) - chars if negated else chars), at


def matches(pattern: bytes, text: bytes, *, ignore_case: bool = False) -> bool:
    """Whether `text` fits `pattern`."""
    return compiled(pattern, ignore_case).matches(text)
