"""One simulated stock process: the same clocks, connections, traps and stalls as ours, another mind, another disk.

Stock writes its file in the middle of a turn and waits for it. Here the write itself takes no time, the mind learns at
once how it went, and the process stands still afterwards for as long as the disk would have taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trio_sentinel.model import effects as fx
from trio_sentinel.model import inputs as i
from trio_sentinel.model.snapshot import Snapshot
from trio_sentinel.model.values import Address, ServerLink
from trio_sentinel.sim.crash_points import SAVE_BEGINS, SAVE_DONE, SAVE_HALF
from trio_sentinel.sim.network import Wire
from trio_sentinel.sim.process import EFFECTS, SimSentinel
from trio_sentinel.sim.roles import Mind
from trio_sentinel.sim.stock_links import sight_of
from trio_sentinel.sim.stock_mind import StockMind
from trio_sentinel.sim.stock_state import Defects, Flavour
from trio_sentinel.sim.world import WorldDice

if TYPE_CHECKING:
    from trio_sentinel.sim.cluster import Cluster

SHORTEST_STALL_MS = 5
"""Shorter writes are not worth a stall."""


class _Died(Exception):
    """The process died inside a write: the turn is not finished, and nothing of it is sent."""


class StockSentinel(SimSentinel):
    """A stock sentinel process."""

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        address: Address,
        snapshot: Snapshot,
        flavour: Flavour = Flavour.REDIS_7,
        defects: Defects | None = None,
    ) -> None:
        super().__init__(cluster, name, address, snapshot)
        self.kind = flavour.value
        self.checker = cluster.stock_checker
        self.flavour = flavour
        self.defects = Defects() if defects is None else defects
        self.deeds = DEEDS
        self.lost_writes = 0
        """How often a write of the file failed, in all lives."""
        self._stall_ms = 0

    def _new_mind(self) -> Mind:
        self._stall_ms = 0
        dice = WorldDice(self.world.random)
        self.mind = StockMind(
            dice, self.clock_ms(), self._write, self.flavour, self.defects, wall_offset_ms=self.wall_offset_ms
        )
        return self.mind

    def think(self, heard: i.Input) -> None:
        """What one input leads to."""
        try:
            super().think(heard)
        except _Died:
            return
        if self._stall_ms >= SHORTEST_STALL_MS and self.up:
            self.freeze(self._stall_ms)
        self._stall_ms = 0

    def hear(self, wire: Wire, item: Any) -> None:
        """What servers publish under my own id is not for me; said directly it is heard (core.md 6.2, Q10)."""
        if type(item) is i.HelloHeard and not self.frozen and not wire.closed:
            self.feed(i.PubSubHeard(wire.link))  # type: ignore[arg-type]
            if item.hello.run_id == self.engine.state.my_id:
                return
        super().hear(wire, item)

    def cut_off_ms(self, master: str, address: Address) -> int:
        """For how long a replica has been without its master, as its last INFO told."""
        sight = sight_of(self.mind, ServerLink(master, address))
        return 0 if sight is None else sight.link_down_ms

    def _write(self, snapshot: Snapshot) -> bool:
        """The whole file anew: a crash leaves the old one or the new one."""
        if self.dies_at(SAVE_BEGINS):
            raise _Died
        self._stall_ms += self.world.random.randint(*self.save_ms)
        if self.disk_fails:
            self.lost_writes += 1
            return False
        if self.dies_at(SAVE_HALF):
            raise _Died
        self.disk = snapshot
        if self.dies_at(SAVE_DONE):
            raise _Died
        return True

    def _order(self, effect: fx.Promote | fx.Repoint) -> None:
        """A transaction without an INFO behind it."""
        self._say(effect.link, effect)


DEEDS: dict[type[fx.Effect], Callable[[Any, Any], None]] = {
    **EFFECTS,
    fx.Promote: StockSentinel._order,
    fx.Repoint: StockSentinel._order,
}
