"""Virtual time that Trio keeps: the world of the full stage.

The clock is a MockClock that jumps to the next deadline as soon as every task waits. What is planned is done by one
task, `run`; the tasks of the daemons run between its deeds, and time does not pass while they do.
"""

from __future__ import annotations

import heapq
from math import inf
from typing import Final

import trio

from trio_sentinel.sim.world import Action, World

EPOCH_MS: Final = 1_000_000
"""Where virtual time begins, on both stages."""


class StageWorld(World):
    """See the head of the file. To be used inside Trio only."""

    def __init__(self, seed: int, clock: trio.abc.Clock) -> None:
        self._clock = clock
        self._alarm = trio.CancelScope()
        super().__init__(seed)

    @property
    def now_ms(self) -> int:
        """Trio's clock, in whole milliseconds."""
        return round(self._clock.current_time() * 1000)

    @now_ms.setter
    def now_ms(self, value: int) -> None:
        """The clock is Trio's; nobody else sets it."""

    def at(self, at_ms: int, action: Action, *args: object) -> None:
        """See `World`. May be called by any task."""
        super().at(at_ms, action, *args)
        self._set_alarm()

    def _due_s(self) -> float:
        return self._queue[0][0] / 1000 if self._queue else inf

    def _set_alarm(self) -> None:
        due_s = self._due_s()
        if due_s < self._alarm.deadline:
            self._alarm.deadline = due_s

    async def run(self) -> None:
        """Do what is planned when its time has come, until cancelled."""
        queue = self._queue
        while True:
            self._alarm = trio.CancelScope(deadline=self._due_s())
            with self._alarm:
                await trio.sleep_forever()
            now_ms = self.now_ms
            while queue and queue[0][0] <= now_ms:
                _, _, action, args = heapq.heappop(queue)
                action(*args)
