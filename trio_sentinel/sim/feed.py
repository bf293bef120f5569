"""The replication connection of one replica: what its master sends takes the network's time and keeps its order.

1. What has left arrives, whatever becomes of the master then; what meets a cut waits until the master's host sends it
   again, and is lost with the master.
2. What a stopped or loading replica has not read waits for it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import Factory, define, frozen

from trio_sentinel.sim.network import RETRY_MS

if TYPE_CHECKING:
    from trio_sentinel.sim.redis import FakeServer


@frozen
class Start:
    """The answer to PSYNC, with all that follows at once: the data that the master had then. A full one comes in the
    place of what the replica has; the other one continues it."""

    branch: int
    offset: int
    lineage: dict[int, int]
    full: bool
    loading_ms: int = 0
    """How long a replica loads what is in a full one."""


@frozen
class End:
    """The master closes the connection."""


Cargo: TypeAlias = int | Start | End
"""An offset stands for all writes up to it."""
END: Final = End()


@define(eq=False)
class Feed:
    """See the head of the file."""

    source: FakeServer
    replica: FakeServer
    life: int
    """Of the source."""
    open: bool = True
    _on_its_way: deque[tuple[int, Cargo]] = Factory(deque)
    _free_at_ms: int = 0
    _left_at_ms: int = 0
    """Until then the source is busy sending a full copy, and everything else behind it waits there."""
    _planned_ms: int = -1
    """When something arrives next, or is tried again."""
    _patience_ms: int = 0
    """Not 0 while something is held up."""

    def send(self, cargo: Cargo, *, takes_ms: int = 0) -> None:
        """From the source to the replica; the source itself needs `takes_ms` to send it."""
        here, there = self.source.address.host, self.replica.address.host
        world, line = self.source.world, self._on_its_way
        if takes_ms:
            self._left_at_ms = world.now_ms + takes_ms
        arrives_ms = max(world.now_ms + takes_ms + self.source.network.delay_ms(here, there), self._free_at_ms)
        together = self._patience_ms or arrives_ms == self._free_at_ms
        if together and line and type(cargo) is int and type(line[-1][1]) is int:
            line[-1] = line[-1][0], cargo
            return
        self._free_at_ms = arrives_ms
        line.append((arrives_ms, cargo))
        if len(line) == 1:
            self._plan(arrives_ms)

    def close(self) -> None:
        """From the replica's side: what is on its way is lost."""
        self.open = False
        self._on_its_way.clear()
        if self.source.feeds.get(self.replica.address) is self:
            del self.source.feeds[self.replica.address]

    def end(self) -> None:
        """The source closes the connection."""
        self._break_off()
        self.send(END)

    def source_dies(self, *, quietly: bool) -> None:
        """What waits for the end of a cut is lost; the end of the connection is told unless the host went, too."""
        now_ms = self.source.world.now_ms
        self._break_off()
        if self._is_cut:
            self._on_its_way = deque(item for item in self._on_its_way if item[0] > now_ms)
        elif not quietly:
            self.send(END)

    def _break_off(self) -> None:
        """A copy that has not left yet never does."""
        if self.source.world.now_ms < self._left_at_ms:
            self._on_its_way.clear()
            self._free_at_ms = 0

    def hurry(self, at_ms: int) -> None:
        """All that is on its way arrives at `at_ms` at the latest."""
        self._on_its_way = deque((min(due_ms, at_ms), cargo) for due_ms, cargo in self._on_its_way)
        self._free_at_ms = min(self._free_at_ms, at_ms)
        if self._on_its_way and self._planned_ms > at_ms:
            self._plan(at_ms)

    def _plan(self, at_ms: int) -> None:
        self._planned_ms = at_ms
        self.source.world.at(at_ms, self._arrive, at_ms)

    def _arrive(self, planned_ms: int) -> None:
        if not self.open or planned_ms != self._planned_ms:
            return
        line, now_ms = self._on_its_way, self.source.world.now_ms
        while line and line[0][0] <= now_ms:
            if self._is_cut and not self._is_sent_again:
                line.clear()
                return
            if self._is_cut or self.replica.reads_nothing or (self.source.frozen and now_ms < self._left_at_ms):
                self._patience_ms = min(2 * self._patience_ms or RETRY_MS[0], RETRY_MS[1])
                self._plan(now_ms + self._patience_ms)
                return
            self._patience_ms = 0
            self.replica.receive(self, line.popleft()[1])
        if line:
            self._plan(line[0][0])

    @property
    def _is_cut(self) -> bool:
        return not self.source.network.reaches(self.source.address.host, self.replica.address.host)

    @property
    def _is_sent_again(self) -> bool:
        return self.source.up and self.source.life == self.life
