"""Virtual time: a heap of (at_ms, sequence, action). Nothing else decides what happens next."""

from __future__ import annotations

import random
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any

Action = Callable[..., object]


class World:
    """A clock in whole milliseconds, a queue of what will happen, and the dice of the run."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.now_ms = 1_000_000
        self._queue: list[tuple[int, int, Action, tuple[Any, ...]]] = []
        self._count = 0

    @property
    def steps(self) -> int:
        """How much has been planned so far."""
        return self._count

    def at(self, at_ms: int, action: Action, *args: Any) -> None:
        """Do ``action(*args)`` at `at_ms`, after everything that was planned for the same moment before."""
        self._count += 1
        if at_ms < self.now_ms:
            at_ms = self.now_ms
        heappush(self._queue, (at_ms, self._count, action, args))

    def after(self, delay_ms: int, action: Action, *args: Any) -> None:
        """Do ``action(*args)`` in `delay_ms`."""
        self.at(self.now_ms + delay_ms, action, *args)

    def hurry(self, actions: tuple[Action, ...], at_ms: int) -> list[tuple[Any, ...]]:
        """Whatever is planned as one of `actions` comes at `at_ms` at the latest, in the order in which it was planned.
        Returns the arguments of what was moved."""
        moved = []
        for position, (due_ms, number, action, args) in enumerate(self._queue):
            if due_ms > at_ms and action in actions:
                self._queue[position] = at_ms, number, action, args
                moved.append(args)
        heapify(self._queue)
        return moved

    def run_until(self, end_ms: int) -> None:
        """Let time pass up to and including `end_ms`."""
        queue = self._queue
        while queue and queue[0][0] <= end_ms:
            self.now_ms, _, action, args = heappop(queue)
            action(*args)
        self.now_ms = end_ms

    def run_for(self, length_ms: int) -> None:
        """Let `length_ms` pass."""
        self.run_until(self.now_ms + length_ms)

    @property
    def waiting(self) -> int:
        """How much is planned and not done yet: must not grow without bound (core.md 20, property 32)."""
        return len(self._queue)


class WorldDice:
    """The model's dice, drawn from the world's."""

    def __init__(self, source: random.Random) -> None:
        self._source = source

    def below(self, limit: int) -> int:
        """A uniform integer in 0..limit-1."""
        return self._source.randrange(limit)
