"""What must never be seen, checked while a run goes on: the safety properties of core.md 20 across the whole cluster.

Rules of this file:

1. A checker believes what it saw itself: replies that were sent, files as the worst power failure would leave them, the
   fold of the events.
   It never asks the rules of the model whether they are right.
2. Each violation names the property. Conditions that the spec puts on a property are stated where it is checked.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from attrs import Factory, define, frozen

from trio_sentinel.model import effects as fx
from trio_sentinel.model import events as e
from trio_sentinel.model.evolve import evolve
from trio_sentinel.model.inputs import ConfigSaved, ConfigSaveFailed
from trio_sentinel.model.replay import NOT_YET
from trio_sentinel.model.snapshot import MasterSnapshot
from trio_sentinel.model.state import (
    Manner,
    Master,
    ReconfiguringReplicas,
    SelectingReplica,
    SendingPromotion,
    SentinelState,
    UpdatingConfig,
    WaitingForVotes,
)
from trio_sentinel.model.values import Address, Epoch, Hello, PeerLink, Role, RunId
from trio_sentinel.sim import checks_of_events, checks_of_promises, sights
from trio_sentinel.sim.broken import Broken as Broken
from trio_sentinel.sim.broken import require as require
from trio_sentinel.sim.checks_of_orders import DECISIONS, Explained
from trio_sentinel.sim.checks_of_promises import ORDERS, Key, Orders

if TYPE_CHECKING:
    from trio_sentinel.sim.cluster import Cluster
    from trio_sentinel.sim.process import SimSentinel

COMPARE_EVERY = 100
"""After so many events the folded state is compared with the live one; also when a process ends and at the end."""

MasterEpoch: TypeAlias = tuple[str, Epoch]


@frozen
class Leader:
    """Somebody was elected, or forced."""

    run_id: RunId
    manner: Manner
    votes: int
    at_ms: int
    honest: bool = True
    """False for a stock leader that counted votes of another epoch (core.md Q1)."""


@define(eq=False)
class Shadow:
    """One life of one sentinel as its events tell it."""

    my_id: RunId
    began_ms: int = 0
    state: SentinelState = Factory(lambda: SentinelState(my_id=NOT_YET))
    events: int = 0
    compared: int = 0
    hellos: dict[str, Hello] = Factory(dict)
    """The last one about each master."""
    explained: Explained = Factory(Explained)
    """Orders to servers that the events explain."""
    addresses: dict[str, set[Address]] = Factory(dict)
    """By master: which addresses were the configured one in this life."""
    orders: Orders = Factory(Orders)
    """What operators wait for."""


@define(eq=False)
class Past:
    """What one identity ever let others know, over all its lives."""

    current_epoch: Epoch = 0
    attempts: set[MasterEpoch] = Factory(set)
    promoted: dict[MasterEpoch, Address] = Factory(dict)
    said: dict[str, tuple[Epoch, Address]] = Factory(dict)
    """By master: the configuration last told in a hello."""
    said_raw: dict[str, tuple[Epoch, Epoch, str, int]] = Factory(dict)
    removed: set[str] = Factory(set)
    """Masters that were removed once: monitored again they start anew, and what was held back may come later."""
    owed: dict[Key, Any] = Factory(dict)
    """What operators were promised, and did not override since."""


class Checker:
    """The never-rules of one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.hash = hashlib.blake2b(digest_size=16)
        self.shadows: dict[SimSentinel, Shadow] = {}
        self.pasts: dict[RunId, Past] = {}
        self.ballots: dict[MasterEpoch, dict[RunId, RunId]] = {}
        """Every vote that was told to anybody: (master, epoch) -> voter -> candidate."""
        self.leaders: dict[MasterEpoch, list[Leader]] = {}
        self.configurations: dict[MasterEpoch, tuple[Address, str]] = {}
        self.cast_as: dict[tuple[RunId, Epoch, RunId], set[str]] = {}
        """For which masters somebody voted in an epoch for somebody."""
        self.kept_as: dict[tuple[str, Epoch, RunId], list[str]] = {}
        """Under which names a voter keeps the vote that was told of."""
        self.contested: set[MasterEpoch] = set()
        """Epochs with more than one leader, lawfully: forced, or elected by voters that did not know each other."""
        self.spoilt: set[str] = set()
        """Masters of which a stock member contested an epoch: they may never agree again."""
        self.repeated: Counter[MasterEpoch] = Counter()
        """How many votes stock members gave a second time."""
        self.doubles: set[RunId] = set()
        """Identities that two processes had at once, by an operator's copy of a file: they promise nothing."""
        self.double_ballots: dict[MasterEpoch, set[tuple[str, RunId]]] = {}
        """What they voted, by process: each may give a vote of its own, and may be known under its former identity."""

    # ------------------------------------------------------------ lives

    def started(self, sentinel: SimSentinel) -> None:
        """A process begins from its file."""
        disk = sentinel.disk
        my_id = disk.my_id or NOT_YET
        self.shadows[sentinel] = Shadow(my_id, began_ms=self.cluster.world.now_ms)
        if my_id in self.doubles:
            return
        past = self.pasts.setdefault(my_id, Past())
        epochs = [disk.current_epoch, *(epoch for m in disk.masters for epoch in (m.config_epoch, m.leader_epoch))]
        require(max(epochs) >= past.current_epoch, 1, f"{sentinel.name} came back below epoch {past.current_epoch}")
        checks_of_promises.came_back(sentinel.name, past.owed, disk)
        self._configurations_came_back(sentinel, past)
        for (name, epoch), ballots in self.ballots.items():
            if my_id not in ballots:
                continue
            known = [_line(sentinel, place) for place in {name, *self.kept_as.get((name, epoch, my_id), ())}]
            kept = any(line is None or line.leader_epoch >= epoch for line in known)  # or it was removed, with its vote
            require(kept, 4, f"{sentinel.name} came back without its vote of epoch {epoch} for {name}")

    def _configurations_came_back(self, sentinel: SimSentinel, past: Past) -> None:
        """Properties 15, 20 and 21: whoever was told of an address under an epoch is not told of an older one by the
        next life."""
        for name, (epoch, address) in past.said.items():
            if name in past.removed:
                continue
            line = _line(sentinel, name)
            require(line is not None, 15, f"{sentinel.name} came back without {name}")
            assert line is not None
            kept = line.config_epoch > epoch or (line.config_epoch == epoch and line.address == address)
            found = f"{line.address} at {line.config_epoch}"
            require(kept, 15, f"{sentinel.name} told {address} of {name} at {epoch}, and came back with {found}")

    def ended(self, sentinel: SimSentinel) -> None:
        """A process dies, or the run is over."""
        self._compare(sentinel, self.shadows[sentinel])
        sights.at_death(self.cluster.seen, self.shadows[sentinel].state)

    def _compare(self, sentinel: SimSentinel, shadow: Shadow) -> None:
        shadow.compared = shadow.events
        require(shadow.state == sentinel.engine.state, "replay", f"{sentinel.name}: folded events give another state")

    # ------------------------------------------------------------ events

    def events(self, sentinel: SimSentinel, events: tuple[e.Event, ...]) -> None:
        """The events of one turn, in order."""
        shadow, heard = self.shadows[sentinel], sentinel.hearing
        if type(heard) in ORDERS:
            shadow.orders.decided(self._past(shadow).owed, heard)
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
            rule(self, sentinel, shadow, event)
        if (plain := checks_of_events.BEFORE.get(kind)) is not None:
            plain(sentinel.name, shadow.state, event)
        if kind in DECISIONS:
            shadow.explained.decided(shadow.state, event)

    def _judge_after(self, sentinel: SimSentinel, shadow: Shadow, event: e.Event) -> None:
        """One event, given the state after it."""
        if (plain := checks_of_events.AFTER.get(type(event))) is not None:
            plain(sentinel.name, shadow.state, event)
        if type(event) in ADDRESS_CHANGES:
            master = _master(shadow, event)
            shadow.addresses.setdefault(master.name, set()).add(master.address)
        shadow.orders.note(event)

    def tell(self, sentinel: SimSentinel, event: e.Event) -> None:
        """One more event of the run's hash."""
        self.hash.update(f"{self.cluster.world.now_ms} {sentinel.name} {event}\n".encode())

    def _past(self, shadow: Shadow) -> Past:
        past = self.pasts.get(shadow.my_id)
        if past is None:
            past = self.pasts[shadow.my_id] = Past()
        return past

    def _vote_saved(self, sentinel: SimSentinel, shadow: Shadow, event: e.VoteSaved) -> None:
        """Properties 4 and 10: my own vote counts once it is on disk, and no epoch is used twice."""
        name, master = event.subject.master, _master(shadow, event)
        assert master.failover is not None
        epoch = master.failover.epoch
        known = _line(sentinel, name)
        require(known is not None and known.leader_epoch >= epoch, 4, f"{sentinel.name} counts a vote not on disk")
        used = self._past(shadow).attempts
        fresh = (name, epoch) not in used or shadow.my_id in self.doubles
        require(fresh, 10, f"{sentinel.name} stands twice in epoch {epoch} of {name}")
        used.add((name, epoch))
        self._ballot(sentinel, name, epoch, shadow.my_id, shadow.my_id)

    def _ballot(self, sentinel: SimSentinel, name: str, epoch: Epoch, voter: RunId, candidate: RunId) -> None:
        """Property 3: over all replies ever sent, one vote for each voter, master and epoch."""
        if voter in self.doubles:
            self.note_double(sentinel, (name, epoch), candidate)
            return
        ballots = self.ballots.setdefault((name, epoch), {})
        given = ballots.setdefault(voter, candidate)
        require(given == candidate, 3, f"{sentinel.name} voted twice in epoch {epoch} of {name}")

    def note_double(self, sentinel: SimSentinel, key: MasterEpoch, candidate: RunId) -> None:
        """A vote of a process whose id is not its own alone: it counts for the process."""
        self.double_ballots.setdefault(key, set()).add((sentinel.name, candidate))

    def votes_for(self, candidate: RunId, key: MasterEpoch) -> int:
        """How many votes were really given to `candidate`, the second ones of stock included."""
        votes = [chosen for chosen in self.ballots.get(key, {}).values() if chosen == candidate]
        doubles = [chosen for _, chosen in self.double_ballots.get(key, ()) if chosen == candidate]
        return len(votes) + len(doubles) + self.repeated[key]

    def _failover_started(self, sentinel: SimSentinel, shadow: Shadow, event: e.FailoverStarted) -> None:
        """Property 11. (A lost election may be repeated soon: then the fold has no ``attempt_at_ms``.)"""
        master = _master(shadow, event)
        require(master.failover is None, 11, f"{sentinel.name} starts a second attempt for {master.name}")
        if event.manner is not Manner.AUTOMATIC:
            return
        require(master.o_down, 11, f"{sentinel.name} starts an attempt without O_DOWN")
        require(shadow.state.tilt_since_ms is None, 25, f"{sentinel.name} starts an attempt in TILT")
        if master.attempt_at_ms is not None:
            waited_ms = event.at_ms - master.attempt_at_ms
            enough = waited_ms >= 2 * master.settings.failover_timeout_ms
            require(enough, 11, f"{sentinel.name} stands again after {waited_ms} ms")

    def _leader_elected(self, sentinel: SimSentinel, shadow: Shadow, event: e.LeaderElected) -> None:
        """Properties 8 and 9. Two leaders of one epoch are a violation when their electorates must have met: when the
        votes they claim are more than there are voters."""
        name, master = event.subject.master, _master(shadow, event)
        assert master.failover is not None
        epoch, manner = master.failover.epoch, master.failover.manner
        require(isinstance(master.failover.phase, WaitingForVotes), 8, f"{sentinel.name}: elected out of order")
        if manner is not Manner.FORCED:
            needed = max(master.voters // 2 + 1, master.settings.quorum)
            require(event.votes >= needed, 9, f"{sentinel.name} leads with {event.votes} of {needed} votes")
            real = self.votes_for(shadow.my_id, (name, epoch))
            require(
                event.votes <= real,
                7,
                f"{sentinel.name} counts {event.votes} votes in epoch {epoch}, {real} were given",
            )
        self.add_leader((name, epoch), Leader(shadow.my_id, manner, event.votes, self.cluster.world.now_ms))
        self.cluster.leader_elected(sentinel, master, manner)

    def spoil(self, name: str, epoch: Epoch, how: str) -> None:
        """A stock member contests an epoch."""
        self.contested.add((name, epoch))
        self.spoilt.add(name)
        self.cluster.seen[how] += 1

    def add_leader(self, key: MasterEpoch, leader: Leader) -> None:
        """Property 8, with what is known of the leaders of an epoch."""
        for other in self.leaders.get(key, []):
            if other.run_id != leader.run_id:
                self._two_leaders(*key, leader, other)
        self.leaders.setdefault(key, []).append(leader)

    def _two_leaders(self, name: str, epoch: Epoch, one: Leader, other: Leader) -> None:
        self.contested.add((name, epoch))
        if Manner.FORCED in (one.manner, other.manner):
            self.cluster.seen["a forced leader beside another in one epoch"] += 1
            return
        if not (one.honest and other.honest):
            self.cluster.seen["two leaders in one epoch, one of them stock (Q1)"] += 1
            return
        voters = len(self.cluster.identities) + self.repeated[name, epoch]
        voters += len(self.double_ballots.get((name, epoch), ()))
        lawful = one.votes + other.votes <= voters
        require(lawful, 8, f"two leaders of {name} in epoch {epoch}: {one.votes} and {other.votes} of {voters} votes")
        self.cluster.seen["two leaders whose voters did not know each other"] += 1

    def _replica_selected(self, sentinel: SimSentinel, shadow: Shadow, event: e.ReplicaSelected) -> None:
        """Property 16, as far as it can be told after the turn."""
        master = _master(shadow, event)
        replica = master.replicas.get(event.address)
        require(replica is not None, 16, f"{sentinel.name} selected a stranger")
        assert replica is not None
        running = master.failover
        require(
            running is not None and isinstance(running.phase, SelectingReplica),
            13,
            f"{sentinel.name} selects unelected",
        )
        require(not replica.s_down, 16, f"{sentinel.name} selected a replica that is down")
        sense = sentinel.engine.senses.servers.get((master.name, event.address))
        if sense is not None:
            require(sense.priority != 0, 16, f"{sentinel.name} selected a replica of priority 0")
            limit_ms = 10 * master.settings.down_after_ms
            if master.s_down and master.s_down_since_ms is not None:
                limit_ms += sentinel.clock_ms() - master.s_down_since_ms
            whole = sense.master_link_down_ms <= limit_ms
            require(whole, 16, f"{sentinel.name} selected a replica cut off for too long")
            self._best(sentinel, master, event.address, limit_ms)

    def _best(self, sentinel: SimSentinel, master: Master, selected: Address, limit_ms: int) -> None:
        """Property 16: nobody who is surely eligible comes before the selected one."""
        senses, now_ms = sentinel.engine.senses.servers, sentinel.clock_ms()
        mine = senses[master.name, selected]
        for replica in master.replicas.values():
            sense = senses[master.name, replica.address]
            fresh = sense.info_at_ms is not None and now_ms - sense.info_at_ms <= 1000
            if not fresh or replica.s_down or not sense.command.open or now_ms - sense.last_ok_at_ms > 1000:
                continue
            if (
                replica.role is not Role.REPLICA
                or sense.priority == 0
                or not 0 <= sense.master_link_down_ms <= limit_ms
            ):
                continue
            behind = (sense.priority, -sense.repl_offset) < (mine.priority, -mine.repl_offset)
            require(not behind, 16, f"{sentinel.name} selected {selected} before {replica.address}")

    def _promotion_sent(self, sentinel: SimSentinel, shadow: Shadow, event: e.PromotionSent) -> None:
        """Property 13: one promotion in each attempt, of the selected replica, by a leader."""
        master = _master(shadow, event)
        running = master.failover
        fit = running is not None and isinstance(running.phase, SendingPromotion)
        require(fit, 13, f"{sentinel.name} promotes out of order")
        assert running is not None
        require(running.promoted == event.address, 13, f"{sentinel.name} promotes another than it selected")
        require(shadow.state.tilt_since_ms is None, 25, f"{sentinel.name} promotes in TILT")
        led = any(leader.run_id == shadow.my_id for leader in self.leaders.get((master.name, running.epoch), []))
        require(led, 13, f"{sentinel.name} promotes without having been elected in epoch {running.epoch}")
        if shadow.my_id not in self.doubles:
            promoted = self._past(shadow).promoted.setdefault((master.name, running.epoch), event.address)
            require(promoted == event.address, 13, f"{sentinel.name} promotes a second replica in one attempt")

    def _promotion_seen(self, sentinel: SimSentinel, shadow: Shadow, event: e.PromotionSeen) -> None:
        """Property 14: it must have been seen."""
        replica = _master(shadow, event).replicas[event.address]
        require(replica.role is Role.MASTER, 14, f"{sentinel.name} takes a promotion for granted")

    def _promotion_published(self, sentinel: SimSentinel, shadow: Shadow, event: e.PromotionPublished) -> None:
        """Property 15: on disk before anybody is told."""
        master = _master(shadow, event)
        running, known = master.failover, _line(sentinel, master.name)
        assert running is not None
        kept = known is not None and known.address == running.promoted and known.config_epoch >= running.epoch
        require(kept, 15, f"{sentinel.name} tells of a promotion that is not on disk")

    def _reconf_sent(self, sentinel: SimSentinel, shadow: Shadow, event: e.ReconfSent) -> None:
        """Property 14: only after the promoted replica was seen as a master."""
        master = _master(shadow, event)
        seen = master.failover is not None and isinstance(master.failover.phase, ReconfiguringReplicas | UpdatingConfig)
        require(seen, 14, f"{sentinel.name} brings replicas over before the promotion was seen")
        assert master.failover is not None
        require(event.address != master.failover.promoted, 18, f"{sentinel.name} makes the promoted one follow itself")

    def _corrected(self, sentinel: SimSentinel, shadow: Shadow, event: e.ReplicaConverted | e.ReplicaRepointed) -> None:
        """Property 18."""
        master = _master(shadow, event)
        sane = master.role is Role.MASTER and not master.s_down and not master.o_down
        require(sane, 18, f"{sentinel.name} corrects a replica of a master that is not well")
        if isinstance(event, e.ReplicaConverted):
            waited_ms = sentinel.clock_ms() - master.replicas[event.address].role_since_ms
            patient = waited_ms > 4 * shadow.state.timing.publish_period_ms
            require(patient, 18, f"{sentinel.name} converts a replica after {waited_ms} ms")
        else:
            self._strayed_for_long(sentinel, master, event.address)
        promoted = master.failover is not None and master.failover.promoted == event.address
        require(not promoted, 18, f"{sentinel.name} corrects the promoted replica")
        require(shadow.state.tilt_since_ms is None, 25, f"{sentinel.name} corrects a replica in TILT")

    def _strayed_for_long(self, sentinel: SimSentinel, master: Master, address: Address) -> None:
        """Property 18: it has been up, and has said whom it follows or that it hands over, for `failover-timeout`."""
        replica, now_ms, patience_ms = (
            master.replicas[address],
            sentinel.clock_ms(),
            master.settings.failover_timeout_ms,
        )
        up = replica.s_down_since_ms is None or now_ms - replica.s_down_since_ms > patience_ms
        require(up, 18, f"{sentinel.name} corrects {address}, which was down a moment ago")
        said = sentinel.said.get(master.link(address))
        require(said is not None, 18, f"{sentinel.name} corrects {address}, of which it has heard nothing")
        assert said is not None
        waited_ms = now_ms - (min(said.since_ms, said.state_since_ms) if said.hands_over else said.since_ms)
        require(waited_ms > patience_ms, 18, f"{sentinel.name} corrects {address} after {waited_ms} ms")

    def _switched(self, sentinel: SimSentinel, shadow: Shadow, event: e.MasterSwitched) -> None:
        """Property 21: an own switch follows an own promotion; a foreign one needs a higher epoch."""
        master = _master(shadow, event)
        if event.by is None:
            running = master.failover
            done = running is not None and isinstance(running.phase, ReconfiguringReplicas | UpdatingConfig)
            require(done, 21, f"{sentinel.name} switches without a failover of its own")
            own = running is not None and (event.new, event.config_epoch) == (running.promoted, running.epoch)
            require(own, 21, f"{sentinel.name} switches to another address or epoch than it promoted")
        else:
            require(event.config_epoch > master.config_epoch, 21, f"{sentinel.name} switches to an old configuration")
        if shadow.state.tilt_since_ms is not None:
            self.cluster.seen["a switch in TILT"] += 1

    def _epoch_adopted(self, sentinel: SimSentinel, shadow: Shadow, event: e.ConfigEpochAdopted) -> None:
        master = _master(shadow, event)
        require(event.epoch > master.config_epoch, 20, f"{sentinel.name} adopts a lower configuration epoch")

    def _epoch_raised(self, sentinel: SimSentinel, shadow: Shadow, event: e.EpochRaised) -> None:
        require(event.epoch > shadow.state.current_epoch, 1, f"{sentinel.name}: the current epoch falls")

    def _vote_cast(self, sentinel: SimSentinel, shadow: Shadow, event: e.VoteCast) -> None:
        master = _master(shadow, event)
        require(event.epoch > master.leader_epoch, 2, f"{sentinel.name} votes again in epoch {event.epoch}")
        self.cast_as.setdefault((shadow.my_id, event.epoch, event.candidate), set()).add(master.name)
        if event.candidate != shadow.my_id and master.failover is not None:
            self.cluster.seen["a candidate votes for another"] += 1

    def _went_down(self, sentinel: SimSentinel, shadow: Shadow, event: e.WentDown) -> None:
        """Properties 25 and 26: never in TILT, always by turns, never while PONGs come."""
        require(shadow.state.tilt_since_ms is None, 25, f"{sentinel.name}: down in TILT")
        master = _master(shadow, event)
        instance = _instance(master, event)
        require(not instance.s_down, 26, f"{sentinel.name}: {event.subject} went down twice")
        if event.run_id is None and instance is master:
            if master.role is Role.REPLICA or master.rebooting_since_ms is not None:
                return
        link = PeerLink(event.run_id) if event.run_id is not None else master.link(event.address)
        heard_ms = sentinel.pongs.get(link)
        if heard_ms is not None:
            silent_ms = sentinel.clock_ms() - heard_ms
            late = silent_ms >= master.settings.down_after_ms
            require(late, 26, f"{sentinel.name}: {event.subject} is down {silent_ms} ms after a PONG")

    def _came_back(self, sentinel: SimSentinel, shadow: Shadow, event: e.CameBack) -> None:
        require(shadow.state.tilt_since_ms is None, 25, f"{sentinel.name}: back in TILT")
        require(
            _instance(_master(shadow, event), event).s_down, 26, f"{sentinel.name}: {event.subject} came back twice"
        )

    def _agreed_down(self, sentinel: SimSentinel, shadow: Shadow, event: e.AgreedDown) -> None:
        """Property 12."""
        master = _master(shadow, event)
        require(master.s_down, 12, f"{sentinel.name}: O_DOWN without S_DOWN")
        require(not master.o_down, 12, f"{sentinel.name}: O_DOWN twice")
        require(event.agreed >= master.settings.quorum, 12, f"{sentinel.name}: O_DOWN with {event.agreed} voices")
        limit_ms = 5 * shadow.state.timing.ask_period_ms
        voices = sentinel.voices.get((master.name, master.address), {})
        real = 1 + sum(1 for heard_ms in voices.values() if sentinel.clock_ms() - heard_ms <= limit_ms)
        require(event.agreed <= real, 12, f"{sentinel.name} heard {event.agreed} voices of {real}")

    def _aborted(self, sentinel: SimSentinel, shadow: Shadow, event: e.FailoverAborted) -> None:
        """Property 17."""
        running = _master(shadow, event).failover
        require(running is not None, 17, f"{sentinel.name} aborts nothing")
        assert running is not None
        late = isinstance(running.phase, ReconfiguringReplicas | UpdatingConfig)
        require(not late, 17, f"{sentinel.name} aborts after the promotion")
        self.cluster.seen[f"abort in {type(running.phase).__name__}"] += 1

    def _removed(self, sentinel: SimSentinel, shadow: Shadow, event: e.MasterRemoved) -> None:
        self._past(shadow).removed.add(event.subject.master)

    # ------------------------------------------------------------ effects

    def effect(self, sentinel: SimSentinel, effect: fx.Effect) -> None:
        """One effect, just before it is carried out."""
        rule = EFFECT_RULES.get(type(effect))
        if rule is not None:
            rule(self, sentinel, effect)

    def _hello(self, sentinel: SimSentinel, effect: fx.SayHello) -> None:
        """Properties 1, 15, 20, 21 and 22: what a hello tells is on disk, and one epoch is one address."""
        hello, shadow = effect.hello, self.shadows[sentinel]
        if shadow.hellos.get(hello.master) is hello:
            return
        shadow.hellos[hello.master] = hello
        checks_of_events.told_in_hello(sentinel.name, shadow.state, hello, late=_may_be_late(sentinel))
        raw = hello.current_epoch, hello.config_epoch, hello.master_host, hello.master_port
        past = self._past(shadow)
        if past.said_raw.get(hello.master) == raw or shadow.my_id in self.doubles:
            return
        for epoch in (hello.current_epoch, hello.config_epoch):
            checks_of_events.epoch_in_range(sentinel.name, epoch)
        lawful = hello.config_epoch <= hello.current_epoch
        require(lawful, 5, f"{sentinel.name} tells config epoch {hello.config_epoch} above {hello.current_epoch}")
        past.said_raw[hello.master] = raw
        risen = hello.current_epoch >= past.current_epoch
        require(risen, 1, f"{sentinel.name}: its epoch falls from {past.current_epoch} to {hello.current_epoch}")
        disk = sentinel.kept
        kept = [disk.current_epoch, *(m.config_epoch for m in disk.masters), *(m.leader_epoch for m in disk.masters)]
        require(
            max(kept) >= hello.current_epoch, 1, f"{sentinel.name} tells epoch {hello.current_epoch} before saving it"
        )
        past.current_epoch = max(past.current_epoch, hello.current_epoch)
        address = Address(hello.master_host, hello.master_port)
        known = _line(sentinel, hello.master)
        if known is not None:
            later = known.config_epoch > hello.config_epoch
            same = known.config_epoch == hello.config_epoch and known.address == address
            require(later or same, 15, f"{sentinel.name} tells {address} at {hello.config_epoch} before saving it")
        self._published(sentinel, past, hello.master, hello.config_epoch, address)

    def _published(self, sentinel: SimSentinel, past: Past, name: str, epoch: Epoch, address: Address) -> None:
        before_epoch, before = past.said.get(name, (0, address))
        if name in past.removed:
            before_epoch, before = epoch, address
        require(epoch >= before_epoch, 20, f"{sentinel.name}: the configuration epoch of {name} falls to {epoch}")
        moved = epoch == before_epoch and before != address
        require(not moved, 21, f"{sentinel.name} tells two addresses of {name} in epoch {epoch}: {before}, {address}")
        past.said[name] = epoch, address
        self.one_address(sentinel, name, epoch, address)

    def one_address(self, sentinel: SimSentinel, name: str, epoch: Epoch, address: Address) -> None:
        """Property 22, as told in a hello."""
        if epoch > 0 and (name, epoch) not in self.contested and not self._led_by_a_double(name, epoch):
            first, who = self.configurations.setdefault((name, epoch), (address, sentinel.name))
            require(
                first == address,
                22,
                f"{who} says {name} is at {first}, {sentinel.name} says {address}, both in epoch {epoch}",
            )

    def _led_by_a_double(self, name: str, epoch: Epoch) -> bool:
        """Whether two processes may have led under one identity."""
        return bool(self.doubles) and any(one.run_id in self.doubles for one in self.leaders.get((name, epoch), ()))

    def _ask(self, sentinel: SimSentinel, effect: fx.AskPeer) -> None:
        """Properties 1 and 4: nobody is asked for a vote before our own is on disk. (A plain question carries an epoch
        too, but nobody reads it: it promises nothing.)"""
        shadow = self.shadows[sentinel]
        master = shadow.state.masters.get(effect.master)
        configured = master is not None and effect.address == master.address
        if not configured and _may_be_late(sentinel):
            configured = effect.address in shadow.addresses.get(effect.master, ())
        require(configured, 23, f"{sentinel.name} asks about {effect.address}, which is not the configured address")
        if effect.candidate is None:
            return
        checks_of_events.epoch_in_range(sentinel.name, effect.epoch)
        disk = sentinel.kept
        known = _line(sentinel, effect.master)
        kept = max(
            [disk.current_epoch, *(m.leader_epoch for m in disk.masters), *(m.config_epoch for m in disk.masters)]
        )
        require(kept >= effect.epoch, 1, f"{sentinel.name} asks under epoch {effect.epoch} before saving it")
        if known is not None:
            require(known.leader_epoch >= effect.epoch, 4, f"{sentinel.name} asks for votes before its own is saved")
        if shadow.my_id not in self.doubles:
            past = self._past(shadow)
            past.current_epoch = max(past.current_epoch, effect.epoch)

    def opinion_sent(
        self, sentinel: SimSentinel, asked: fx.AskPeer, answer: fx.AnswerOpinion, *, in_tilt: bool
    ) -> None:
        """Properties 3, 4 and 25: an answer to a question of a peer that came `in_tilt`."""
        shadow = self.shadows[sentinel]
        require(not (in_tilt and answer.down), 25, f"{sentinel.name} says that a master is down, in TILT")
        if answer.leader is None:
            refused = asked.candidate is not None and sentinel.engine.state.disk_failing
            self.cluster.seen["a vote is refused because it cannot be saved"] += refused
            return
        known = _lines_of(sentinel, asked, self.cast_as.get((shadow.my_id, answer.leader_epoch, answer.leader), set()))
        if known:
            kept = any(line.leader_epoch >= answer.leader_epoch for line in known)
            require(kept, 4, f"{sentinel.name} tells a vote in epoch {answer.leader_epoch} before saving it")
            under = [line.name for line in known if line.leader_epoch >= answer.leader_epoch]
            self.kept_as[asked.master, answer.leader_epoch, shadow.my_id] = under
        self._ballot(sentinel, asked.master, answer.leader_epoch, shadow.my_id, answer.leader)
        if asked.candidate is not None and answer.leader not in (asked.candidate, shadow.my_id):
            self.cluster.seen["two candidates in one epoch"] += asked.epoch == answer.leader_epoch

    def _answer_opinion(self, sentinel: SimSentinel, effect: fx.AnswerOpinion) -> None:
        if effect.leader is not None:
            checks_of_events.epoch_in_range(sentinel.name, effect.leader_epoch)
            require(effect.leader_epoch > 0, 6, f"{sentinel.name} answers a vote of epoch 0")

    def _order(self, sentinel: SimSentinel, effect: Any) -> None:
        """Properties 13, 14 and 18: somebody decided it."""
        self.shadows[sentinel].explained.given(sentinel.name, effect)

    def _answer(self, sentinel: SimSentinel, effect: fx.Answer) -> None:
        shadow = self.shadows[sentinel]
        if shadow.orders.open and shadow.my_id not in self.doubles:
            shadow.orders.answered(sentinel.name, self._past(shadow).owed, sentinel.kept, effect)

    def _repoint(self, sentinel: SimSentinel, effect: fx.Repoint) -> None:
        to = Address(effect.host, effect.port)
        require(to != effect.link.address, 14, f"{sentinel.name} makes {to} follow itself")
        require(effect.port > 0 and effect.host != "", 14, f"{sentinel.name} sends a replica nowhere")
        self._order(sentinel, effect)


def _may_be_late(sentinel: SimSentinel) -> bool:
    """Whether what is said now may have waited for the disk. (In the full stage nobody knows.)"""
    return sentinel.hearing is None or isinstance(sentinel.hearing, ConfigSaved | ConfigSaveFailed)


def _line(sentinel: SimSentinel, name: str) -> MasterSnapshot | None:
    """The master `name` as the sentinel's file has it for certain, whatever happens to the power."""
    return next((known for known in sentinel.kept.masters if known.name == name), None)


def _lines_of(sentinel: SimSentinel, asked: fx.AskPeer, voted_as: set[str]) -> list[MasterSnapshot]:
    """The master that a question means: it carries an address, and where names lie or one deployment has two names, the
    vote may be kept under another name than the one that the candidate has for it: one of those that were `voted_as`
    so, or the one at that address. The master there may be a replica by the time the vote is on disk."""
    state = sentinel.engine.state
    names = {
        name
        for name, master in state.masters.items()
        if any(state.same_address(one, asked.address) for one in (master.address, *master.replicas))
    }
    lines = (_line(sentinel, name) for name in {asked.master, *names, *voted_as})
    return [line for line in lines if line is not None]


def _master(shadow: Shadow, event: Any) -> Master:
    master: Master = shadow.state.masters[event.subject.master]
    return master


def _peers_of(shadow: Shadow, event: e.Event) -> set[RunId]:
    """The peers that the master of an event has now."""
    subject = getattr(event, "subject", None)
    master = None if subject is None else shadow.state.masters.get(subject.master)
    return set() if master is None else set(master.peers)


VOTERS_LEAVE: Final = frozenset({e.MasterReset, e.MasterRemoved, e.PeerEvicted})
"""Property 27: nothing else makes the voters fewer, and so a majority cheaper."""


def _instance(master: Master, event: e.WentDown | e.CameBack) -> Any:
    if event.run_id is not None:
        return master.peers[event.run_id]
    return master if event.address is None or event.address == master.address else master.replicas[event.address]


ADDRESS_CHANGES: Final = frozenset({e.MasterMonitored, e.MasterSwitched})
"""What gives a master another configured address."""
EventRule: TypeAlias = Callable[[Checker, Any, Shadow, Any], None]
EVENT_RULES: dict[type[e.Event], EventRule] = {
    e.VoteSaved: Checker._vote_saved,
    e.FailoverStarted: Checker._failover_started,
    e.LeaderElected: Checker._leader_elected,
    e.ReplicaSelected: Checker._replica_selected,
    e.PromotionSent: Checker._promotion_sent,
    e.PromotionSeen: Checker._promotion_seen,
    e.PromotionPublished: Checker._promotion_published,
    e.ReconfSent: Checker._reconf_sent,
    e.ReplicaConverted: Checker._corrected,
    e.ReplicaRepointed: Checker._corrected,
    e.MasterSwitched: Checker._switched,
    e.ConfigEpochAdopted: Checker._epoch_adopted,
    e.EpochRaised: Checker._epoch_raised,
    e.VoteCast: Checker._vote_cast,
    e.WentDown: Checker._went_down,
    e.CameBack: Checker._came_back,
    e.AgreedDown: Checker._agreed_down,
    e.FailoverAborted: Checker._aborted,
    e.MasterRemoved: Checker._removed,
}
EFFECT_RULES: dict[type[fx.Effect], Callable[[Checker, Any, Any], None]] = {
    fx.SayHello: Checker._hello,
    fx.AskPeer: Checker._ask,
    fx.AnswerOpinion: Checker._answer_opinion,
    fx.Answer: Checker._answer,
    fx.Promote: Checker._order,
    fx.HandOver: Checker._order,
    fx.KillClients: Checker._order,
    fx.PauseWriters: Checker._order,
    fx.ReleaseWriters: Checker._order,
    fx.Repoint: Checker._repoint,
}
