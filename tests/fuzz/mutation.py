"""Raw mutation of bytes: from a corpus of good inputs, by a repeatable die, to inputs nobody would write."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

MAX_SIZE: Final = 2048
NUMBERS: Final = tuple(
    b"%d" % number
    for edge in (0, 9, 63, 255, 1023, 16384, 65535, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, 10**19)
    for number in (edge - 1, edge, edge + 1, -edge)
)


class Mutator:
    """Gives inputs for ever. Equal seeds give equal inputs."""

    def __init__(self, corpus: Sequence[bytes], tokens: Sequence[bytes], seed: int) -> None:
        self._corpus = list(corpus)
        self._tokens = list(tokens)
        self._die = random.Random(seed)

    def next(self) -> bytes:
        """One more input."""
        die = self._die
        data = die.choice(self._corpus)
        for _ in range(1 + int(die.expovariate(0.5))):
            data = die.choice(_WAYS)(self, data)
        return data[:MAX_SIZE]

    # ------------------------------------------------------------ the ways

    def _place(self, data: bytes) -> int:
        return self._die.randrange(len(data) + 1)

    def _change_byte(self, data: bytes) -> bytes:
        if not data:
            return data
        at = self._die.randrange(len(data))
        return data[:at] + bytes((self._die.randrange(256),)) + data[at + 1 :]

    def _flip_bit(self, data: bytes) -> bytes:
        if not data:
            return data
        at = self._die.randrange(len(data))
        return data[:at] + bytes((data[at] ^ 1 << self._die.randrange(8),)) + data[at + 1 :]

    def _insert_token(self, data: bytes) -> bytes:
        at = self._place(data)
        return data[:at] + self._die.choice(self._tokens) + data[at:]

    def _insert_bytes(self, data: bytes) -> bytes:
        at = self._place(data)
        return data[:at] + self._die.randbytes(self._die.randrange(1, 9)) + data[at:]

    def _cut(self, data: bytes) -> bytes:
        begin, end = sorted((self._place(data), self._place(data)))
        return data[:begin] + data[end:]

    def _end_early(self, data: bytes) -> bytes:
        return data[: self._place(data)]

    def _repeat(self, data: bytes) -> bytes:
        begin, end = sorted((self._place(data), self._place(data)))
        return data[:end] + data[begin:end] * self._die.randrange(1, 5) + data[end:]

    def _join(self, data: bytes) -> bytes:
        return data + self._die.choice(self._corpus)

    def _splice(self, data: bytes) -> bytes:
        other = self._die.choice(self._corpus)
        return data[: self._place(data)] + other[self._place(other) :]

    def _change_number(self, data: bytes) -> bytes:
        runs = [at for at in range(len(data)) if data[at : at + 1].isdigit() and not data[at - 1 : at].isdigit()]
        if not runs:
            return data
        begin = end = self._die.choice(runs)
        while data[end : end + 1].isdigit():
            end += 1
        return data[:begin] + self._die.choice(NUMBERS) + data[end:]


_WAYS: Final[list[Way]] = [
    Mutator._change_byte,
    Mutator._flip_bit,
    Mutator._insert_token,
    Mutator._insert_token,
    Mutator._insert_bytes,
    Mutator._cut,
    Mutator._end_early,
    Mutator._repeat,
    Mutator._join,
    Mutator._splice,
    Mutator._change_number,
]
Way: TypeAlias = Callable[[Mutator, bytes], bytes]
