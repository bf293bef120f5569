"""What must never be seen, checked while a run goes on: the safety properties of core.md 20 across the whole cluster.

Rules of this file, and of the ``checks_of_*.py`` in which the properties are:

1. A checker believes what it saw itself: replies that were sent, files as the worst power failure would leave them, the
   fold of the events.
   It never asks the rules of the model whether they are right.
2. Each violation names the property. Conditions that the spec puts on a property are stated where it is checked.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from trio_sentinel.model import effects as fx
from trio_sentinel.model import events as e
from trio_sentinel.model.evolve import evolve
from trio_sentinel.model.replay import NOT_YET
from trio_sentinel.model.values import RunId
from trio_sentinel.sim import (
    checks_of_detection,
    checks_of_events,
    checks_of_failovers,
    checks_of_telling,
    checks_of_votes,
    sights,
)
from trio_sentinel.sim.broken import Broken as Broken
from trio_sentinel.sim.broken import require as require
from trio_sentinel.sim.checks_of_orders import DECISIONS
from trio_sentinel.sim.checks_of_promises import ORDERS
from trio_sentinel.sim.ledger import EffectRule, EventRule, Ledger, Shadow

if TYPE_CHECKING:
    from trio_sentinel.sim.cluster import Cluster
    from trio_sentinel.sim.process import SimSentinel

COMPARE_EVERY = 100
"""After so many events the folded state is compared with the live one; also when a process ends and at the end."""

EVENT_RULES: Final[dict[type[e.Event], EventRule]] = {
    **checks_of_votes.RULES,
    **checks_of_detection.RULES,
    **checks_of_failovers.RULES,
    **checks_of_telling.RULES,
}
EFFECT_RULES: Final[dict[type[fx.Effect], EffectRule]] = {**checks_of_telling.WORDS, **checks_of_failovers.ORDERS}
ADDRESS_CHANGES: Final = frozenset({e.MasterMonitored, e.MasterSwitched})
"""What gives a master another configured address."""
VOTERS_LEAVE: Final = frozenset({e.MasterReset, e.MasterRemoved, e.PeerEvicted})
"""Property 27: nothing else makes the voters fewer, and so a majority cheaper."""


class Checker:
    """The never-rules of one cluster: whatever its sentinels do passes here, is folded, and shown to the rules."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.ledger = Ledger(cluster)
        self.hash = hashlib.blake2b(digest_size=16)
        self.shadows: dict[SimSentinel, Shadow] = {}

    # ------------------------------------------------------------ lives

    def started(self, sentinel: SimSentinel) -> None:
        """A process begins from its file."""
        my_id = sentinel.disk.my_id or NOT_YET
        self.shadows[sentinel] = Shadow(my_id, began_ms=self.cluster.world.now_ms)
        if my_id not in self.ledger.doubles:
            checks_of_telling.came_back(self.ledger, sentinel, my_id)

    def ended(self, sentinel: SimSentinel) -> None:
        """A process dies, or the run is over."""
        self._compare(sentinel, self.shadows[sentinel])
        sights.at_death(self.cluster.seen, self.shadows[sentinel].state)

    def _compare(self, sentinel: SimSentinel, shadow: Shadow) -> None:
        shadow.compared = shadow.events
        require(shadow.state == sentinel.engine.state, "replay", f"{sentinel.name}: folded events give another state")

    # ------------------------------------------------------------ events

    def tell(self, sentinel: SimSentinel, event: e.Event) -> None:
        """One more event of the run's hash."""
        self.hash.update(f"{self.cluster.world.now_ms} {sentinel.name} {event}\n".encode())

    def events(self, sentinel: SimSentinel, events: tuple[e.Event, ...]) -> None:
        """The events of one turn, in order."""
        shadow, heard = self.shadows[sentinel], sentinel.hearing
        if type(heard) in ORDERS:
            shadow.orders.decided(self.ledger.past(shadow.my_id).owed, heard)
        checks_of_events.strangers_change_nothing(sentinel.name, shadow.state, heard, events)
        for event in events:
            self.tell(sentinel, event)
            self._judge(sentinel, shadow, event)
            sights.look(self.cluster.seen, shadow.state, event, self.cluster.world.now_ms - shadow.began_ms)
            before, known = len(shadow.state.masters), _peers_of(shadow, event)
            evolve(shadow.state, event)
            self._judge_after(sentinel, shadow, event)
            lost = known - _peers_of(shadow, event)
            fewer = not lost or type(event) in VOTERS_LEAVE
            require(fewer, 27, f"{sentinel.name} forgets {lost} with {type(event).__name__}")
            if before == 0 or type(event) is e.SentinelRestored:
                shadow.my_id = shadow.state.my_id
        shadow.events += len(events)
        if not checks_of_events.TOLD_ANEW.isdisjoint(map(type, events)):
            checks_of_events.told_to_clients(sentinel.name, shadow.state, sentinel.engine.state)
        if shadow.events - shadow.compared >= COMPARE_EVERY:
            self._compare(sentinel, shadow)

    def _judge(self, sentinel: SimSentinel, shadow: Shadow, event: e.Event) -> None:
        """One event, given the state before it."""
        kind = type(event)
        if (rule := EVENT_RULES.get(kind)) is not None:
            rule(self.ledger, sentinel, shadow, event)
        if (plain := checks_of_events.BEFORE.get(kind)) is not None:
            plain(sentinel.name, shadow.state, event)
        if kind in DECISIONS:
            shadow.explained.decided(shadow.state, event)

    def _judge_after(self, sentinel: SimSentinel, shadow: Shadow, event: e.Event) -> None:
        """One event, given the state after it."""
        if (plain := checks_of_events.AFTER.get(type(event))) is not None:
            plain(sentinel.name, shadow.state, event)
        if type(event) in ADDRESS_CHANGES:
            master = shadow.master(event)
            shadow.addresses.setdefault(master.name, set()).add(master.address)
        shadow.orders.note(event)

    # ------------------------------------------------------------ effects

    def effect(self, sentinel: SimSentinel, effect: fx.Effect) -> None:
        """One effect, just before it is carried out."""
        rule = EFFECT_RULES.get(type(effect))
        if rule is not None:
            rule(self.ledger, sentinel, self.shadows[sentinel], effect)

    def opinion_sent(
        self, sentinel: SimSentinel, asked: fx.AskPeer, answer: fx.AnswerOpinion, *, in_tilt: bool
    ) -> None:
        """An answer to a question of a peer that came `in_tilt`."""
        checks_of_telling.opinion_sent(self.ledger, sentinel, self.shadows[sentinel], asked, answer, in_tilt=in_tilt)


def _peers_of(shadow: Shadow, event: e.Event) -> set[RunId]:
    """The peers that the master of an event has now."""
    subject = getattr(event, "subject", None)
    master = None if subject is None else shadow.state.masters.get(subject.master)
    return set() if master is None else set(master.peers)
