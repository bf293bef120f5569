"""What an operator was answered +OK for is in the file that the worst power failure leaves, and every later life finds
it there, until another order of an operator overrides it (core.md 15, Q3, Q16).

Promised are SET (numbers), MONITOR, REMOVE, RESET and CONFIG SET. SIMULATE-FAILURE and DEBUG are in memory only, and
what FAILOVER begins is promised as a vote (property 4). An order that could not be saved is answered with an error:
what becomes of it is open, but it overrides what was promised before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from attrs import Factory, define

from trio_sentinel.model import effects as fx
from trio_sentinel.model import events as e
from trio_sentinel.model import inputs as i
from trio_sentinel.model.snapshot import MasterSnapshot, Snapshot
from trio_sentinel.model.values import Address, RunId
from trio_sentinel.sim.broken import require

Key: TypeAlias = tuple[str, str]
"""A master and a field of its settings. An empty field: whether the master is watched; an empty name: CONFIG SET."""

GLOBALS: Final[Key] = ("", "")
NUMBERS: Final = {
    "quorum": "quorum",
    "down-after-milliseconds": "down_after_ms",
    "failover-timeout": "failover_timeout_ms",
    "parallel-syncs": "parallel_syncs",
}
ORDERS: Final = frozenset({i.SetAsked, i.MonitorAsked, i.RemoveAsked, i.ResetAsked, i.GlobalsSetAsked})


@define(eq=False)
class Found:
    """What was found of one master since its RESET."""

    replicas: set[Address] = Factory(set)
    peers: set[RunId] = Factory(set)


@define(eq=False)
class Orders:
    """The orders of operators that one life has taken and not answered yet."""

    open: dict[int, Any] = Factory(dict)
    """By request, in the order in which they were decided."""
    since_reset: dict[str, Found] = Factory(dict)

    def decided(self, owed: dict[Key, Any], order: Any) -> None:
        """An order was applied: what was promised before is overridden."""
        self.open[order.request] = order
        for key in _overridden(owed, order):
            owed.pop(key, None)
        if type(order) is i.ResetAsked:
            self.since_reset |= {name: Found() for name in order.names}

    def note(self, event: e.Event) -> None:
        """A RESET need not have forgotten what was found again."""
        if not self.since_reset:
            return
        match event:
            case e.ReplicaFound():
                if (found := self.since_reset.get(event.subject.master)) is not None:
                    found.replicas.add(event.address)
            case e.PeerFound():
                if (found := self.since_reset.get(event.subject.master)) is not None:
                    found.peers.add(event.run_id)
            case e.PromotionSeen() | e.MasterSwitched() | e.MasterRemoved():
                self.since_reset.pop(event.subject.master, None)
            case _:
                pass

    def answered(self, who: str, owed: dict[Key, Any], kept: Snapshot, answer: fx.Answer) -> None:
        """An order is answered. The next ones, which are open still, may have overridden it."""
        order = self.open.pop(answer.request, None)
        if order is None or answer.error is not None:
            return
        later = {key for other in self.open.values() for key in _overridden(dict(_promised(order)), other)}
        for key, value in _promised(order):
            if key not in later:
                require(_is_in(kept, key, value), "durable", f"{who} says OK to {order!r} before it is on disk: {key}")
                owed[key] = value
        if type(order) is i.ResetAsked:
            self._is_reset(who, kept, order)

    def _is_reset(self, who: str, kept: Snapshot, order: i.ResetAsked) -> None:
        for name in order.names:
            line, found = _line(kept, name), self.since_reset.pop(name, None)
            if line is None or found is None or any(_concerns(other, name) for other in self.open.values()):
                continue
            peers = {run_id for run_id, _ in line.peers}
            forgotten = set(line.replicas) <= found.replicas and peers <= found.peers
            require(forgotten, "durable", f"{who} says OK to a RESET of {name} before it is on disk")


def came_back(who: str, owed: dict[Key, Any], disk: Snapshot) -> None:
    """A process begins from its file."""
    for key, value in owed.items():
        require(_is_in(disk, key, value), "durable", f"{who} came back without {key} = {value}, which it had promised")


def _promised(order: Any) -> Iterator[tuple[Key, Any]]:
    match order:
        case i.SetAsked():
            values = {words[0].lower(): words[1] for words in order.options}
            for option, value in values.items():
                if option in NUMBERS:
                    yield (order.name, NUMBERS[option]), int(value)
        case i.MonitorAsked():
            yield (order.name, ""), True
            yield (order.name, "quorum"), order.quorum
        case i.RemoveAsked():
            yield (order.name, ""), False
        case i.GlobalsSetAsked():
            yield GLOBALS, order.settings
        case _:
            pass


def _overridden(keys: dict[Key, Any], order: Any) -> list[Key]:
    """Which of `keys` are another matter after `order`."""
    match order:
        case i.MonitorAsked() | i.RemoveAsked():
            return [key for key in keys if key[0] == order.name]
        case _:
            changed = {key for key, _ in _promised(order)}
            return [key for key in keys if key in changed]


def _concerns(order: Any, name: str) -> bool:
    return name in order.names if type(order) is i.ResetAsked else getattr(order, "name", None) == name


def _line(disk: Snapshot, name: str) -> MasterSnapshot | None:
    return next((known for known in disk.masters if known.name == name), None)


def _is_in(disk: Snapshot, key: Key, value: Any) -> bool:
    name, field = key
    if key == GLOBALS:
        return bool(disk.settings == value)
    line = _line(disk, name)
    if field == "":
        return bool((line is not None) == value)
    return line is not None and bool(getattr(line.settings, field) == value)
