"""The last that was sent to a live port, so that what broke it can be sent again (``--replay FILE``)."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .corpus_files import keep

LENGTH: Final = 20_000

Entry = tuple[int, bytes]
"""The number of a connection and what it sent; nothing at all stands for its end."""


class Tape:
    """The last `LENGTH` pieces, in the order in which they were sent."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=LENGTH)

    def sent(self, number: int, data: bytes) -> None:
        """Connection `number` sent `data`."""
        self._entries.append((number, data))

    def ended(self, number: int) -> None:
        """Connection `number` was closed."""
        self._entries.append((number, b""))

    def keep(self) -> Path:
        """Write everything down; the file."""
        lines = [b"%d %b\n" % (number, base64.b64encode(data)) for number, data in self._entries]
        return keep("live", b"".join(lines))


def read(path: Path) -> Iterator[Entry]:
    """The entries of a tape that was kept."""
    for line in path.read_bytes().splitlines():
        number, _, data = line.partition(b" ")
        yield int(number), base64.b64decode(data)
