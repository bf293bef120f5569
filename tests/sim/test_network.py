"""The network of the fast stage: what TCP and the hosts at both ends do."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import Factory, define

from trio_sentinel.model.values import Address, Channel, ServerLink
from trio_sentinel.sim.network import ORPHAN_MS, RESEND_MS, Fate, Network, Wire
from trio_sentinel.sim.world import World

HERE, THERE = Address("10.0.0.1", 1), Address("10.0.0.2", 2)


@define(eq=False)
class End:
    """A process at either end of a connection."""

    address: Address
    up: bool = True
    host_up: bool = True
    frozen: bool = False
    life: int = 1
    wires: dict[int, Wire] = Factory(dict)
    fate: Fate = Fate.DONE
    taken: list[Any] = Factory(list)
    """What came to it over connections that others made."""
    heard: list[Any] = Factory(list)
    """What came back over its own."""
    lost_ones: list[str] = Factory(list)

    def take(self, wire: Wire, item: Any) -> Fate:
        if self.fate is Fate.DONE:
            self.taken.append(item)
        return self.fate

    def hear(self, wire: Wire, item: Any) -> None:
        self.heard.append(item)

    def opened(self, wire: Wire) -> None:
        pass

    def lost(self, wire: Wire, reason: str) -> None:
        self.lost_ones.append(reason)


@define(eq=False)
class Pair:
    """A connection that is open."""

    world: World = Factory(lambda: World(1))
    near: End = Factory(lambda: End(HERE))
    far: End = Factory(lambda: End(THERE))
    network: Network = Factory(lambda self: Network(self.world, (5, 5)), takes_self=True)
    wire: Wire = Factory(lambda self: self._open(), takes_self=True)

    def _open(self) -> Wire:
        self.network.processes[THERE] = self.far
        wire = self.network.dial(self.near, ServerLink("mymaster", THERE), Channel.COMMAND, THERE)
        self.world.run_for(20)
        assert wire.open
        return wire

    def die(self, *, with_host: bool = False) -> None:
        """The process that made the connection."""
        self.near.life += 1
        self.network.close(self.wire, with_host=with_host)


@pytest.mark.parametrize("with_host", [False, True])
def test_what_a_process_sent_before_it_died_arrives(with_host: bool) -> None:
    pair = Pair()
    pair.network.send(pair.wire, "order")
    pair.die(with_host=with_host)
    pair.network.send(pair.wire, "reply", back=True)
    pair.world.run_for(100)
    assert pair.far.taken == ["order"]
    assert pair.near.heard == [], "nobody is there to hear it"


@pytest.mark.parametrize("length_ms", [ORPHAN_MS // 2, 2 * ORPHAN_MS])
def test_a_host_delivers_for_a_dead_process_until_it_gives_up(length_ms: int) -> None:
    pair = Pair()
    pair.network.cut.add((HERE.host, THERE.host))
    pair.network.send(pair.wire, "order")
    pair.world.run_for(1000)
    pair.die()
    pair.world.run_for(length_ms)
    pair.network.cut.clear()
    pair.world.run_for(2000)
    assert pair.far.taken == (["order"] if length_ms < ORPHAN_MS else [])


def test_a_host_that_loses_the_power_sends_nothing_again() -> None:
    pair = Pair()
    pair.network.cut.add((HERE.host, THERE.host))
    pair.network.send(pair.wire, "order")
    pair.world.run_for(1000)
    pair.die(with_host=True)
    pair.network.cut.clear()
    pair.world.run_for(2000)
    assert pair.far.taken == []


class Frail(End):
    """Its host loses the power over the first thing that it takes."""

    network: Network
    wire: Wire

    def take(self, wire: Wire, item: Any) -> Fate:
        fate = super().take(wire, item)
        self.up = self.host_up = False
        self.life += 1
        self.network.close(self.wire, with_host=True)
        return fate


def test_a_process_that_dies_over_a_message_to_itself_takes_the_others_with_it() -> None:
    """Seed 14356746."""
    pair = Pair(near=(frail := Frail(HERE)), far=frail)
    pair.network.processes[HERE] = frail
    frail.network, frail.wire = pair.network, pair.wire
    frail.frozen = True
    for item in ("first", "second"):
        pair.network.send(pair.wire, item)
        pair.world.run_for(50)
    frail.frozen = False
    pair.network.awake(frail)
    pair.world.run_for(2000)
    assert frail.taken == ["first"]


def test_a_process_that_stands_still_has_what_came_before_its_peer_died() -> None:
    pair = Pair()
    pair.far.frozen = True
    pair.network.send(pair.wire, "order")
    pair.world.run_for(100)
    pair.die()
    pair.world.run_for(2 * ORPHAN_MS)
    pair.far.frozen = False
    pair.world.run_for(1000)
    assert pair.far.taken == ["order"]


def test_a_command_that_is_held_back_is_dropped_with_its_connection() -> None:
    pair = Pair()
    pair.far.fate = Fate.BLOCKED
    pair.network.send(pair.wire, "publish")
    pair.world.run_for(100)
    pair.die()
    pair.world.run_for(2000)
    pair.far.fate = Fate.DONE
    pair.world.run_for(2000)
    assert pair.far.taken == []


def test_what_is_on_its_way_to_a_connection_that_the_server_closed_meets_nobody() -> None:
    pair = Pair()
    pair.network.send(pair.wire, "order")
    pair.network.hang_up(pair.wire)
    pair.world.run_for(100)
    assert pair.far.taken == []
    assert pair.near.lost_ones == ["reset by peer"]


def test_a_lost_packet_comes_later_and_in_order() -> None:
    pair = Pair()
    pair.network.lossy[HERE.host, THERE.host] = 0.5
    for number in range(50):
        pair.network.send(pair.wire, number)
        pair.world.run_for(1)
    pair.world.run_for(50)
    assert len(pair.far.taken) < 50, "one of fifty was lost at least"
    pair.network.heal()
    pair.world.run_for(2 * RESEND_MS)
    assert pair.far.taken == list(range(50))
