"""Lines of sentinel.conf <-> words: splitting, quoting and escaping (config-and-events.md 1.2).

1. Where Redis 7.0 and Valkey 9 differ when reading, the more lenient one is followed.
2. What is written here is read alike by both: a quoted word is always followed by a blank or the end of the line.
3. Nothing is decoded here: `resp.told` makes text of a word, so that no byte is ever lost.
"""

from __future__ import annotations

import re
from typing import Final

from trio_sentinel.wire.resp import text

TRIMMED: Final = b" \t\r\n"
"""What is cut off both ends of a line."""

_BLANK: Final = b" \t\r\n"  # ends a bare word
_SKIPPED: Final = b" \t\r\n\v\f"  # is jumped over before a word
_ESCAPES: Final = {ord("n"): 10, ord("r"): 13, ord("t"): 9, ord("b"): 8, ord("a"): 7}
_ESCAPED: Final = {10: b"\\n", 13: b"\\r", 9: b"\\t", 8: b"\\b", 7: b"\\a", 0x22: b'\\"', 0x5C: b"\\\\"}
_PLAIN: Final = re.compile(rb"[^\v\f\"']*")  # lines that need no second look
_HEX: Final = re.compile(rb"x([0-9a-fA-F]{2})")
_UNESCAPED: Final = re.compile(rb'[^"\\]+')
_BARE: Final = re.compile(rb"[!-~]+")
_UNSHOWN: Final = re.compile(rb'[^ !#-\[\]-~]')


class Unbalanced(ValueError):
    """A quote was opened and not closed."""


def split_line(line: bytes) -> list[bytes]:
    """The words of one line.

    Everything is cut at the first NUL, as in C: the line before splitting, a word after unquoting.

    Raises:
        Unbalanced: the line ends inside quotes.
    """
    line = line.partition(b"\0")[0]
    if _PLAIN.fullmatch(line):
        return line.split()
    words: list[bytes] = []
    at = 0
    while True:
        while at < len(line) and line[at] in _SKIPPED:
            at += 1
        if at == len(line):
            return words
        word = bytearray()
        while at < len(line) and line[at] not in _BLANK:
            if line[at] == 0x22:
                at = _double_quoted(line, at + 1, word)
            elif line[at] == 0x27:
                at = _single_quoted(line, at + 1, word)
            else:
                word.append(line[at])
                at += 1
        words.append(bytes(word.partition(b"\0")[0]))


def _double_quoted(line: bytes, at: int, word: bytearray) -> int:
    """Read up to the closing double quote into `word`; returns the position behind it."""
    while at < len(line):
        plain = _UNESCAPED.match(line, at)
        if plain is not None:
            word += plain[0]
            at = plain.end()
        elif line[at] == 0x22:
            return at + 1
        elif at + 1 == len(line):
            break
        elif hexadecimal := _HEX.match(line, at + 1):
            word.append(int(hexadecimal[1], 16))
            at += 4
        else:
            word.append(_ESCAPES.get(line[at + 1], line[at + 1]))
            at += 2
    raise Unbalanced


def _single_quoted(line: bytes, at: int, word: bytearray) -> int:
    """Read up to the closing single quote into `word`; returns the position behind it."""
    while at < len(line):
        if line[at] == 0x27:
            return at + 1
        if line.startswith(b"\\'", at):
            at += 1
        word.append(line[at])
        at += 1
    raise Unbalanced


def quoted(value: str) -> bytes:
    """`value` in double quotes, in printable ASCII. Clients choose values, and a save must not take seconds of one."""
    return b'"%b"' % _UNSHOWN.sub(_escaped, text(value))


def _escaped(found: re.Match[bytes]) -> bytes:
    [byte] = found[0]
    return _ESCAPED.get(byte) or b"\\x%02x" % byte


def word(value: str) -> bytes:
    """`value` bare if every reader takes it as one word, else quoted. For names, addresses and numbers."""
    raw = text(value)
    return raw if _BARE.fullmatch(raw) and b'"' not in raw and b"'" not in raw else quoted(value)
