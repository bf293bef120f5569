"""What can be promised of a stock member, and what becomes of the promises of the whole quorum when it is in it.

**Ours are held to everything**, whoever sits beside them: all rules in ``checks_of_*.py`` about one sentinel stay as
they are. Two properties are about the whole quorum (8, one leader in each epoch; 22, one address in each epoch). They
stay too, except for the epochs in which a stock member was *seen* to do one of these (numbers of core.md 19):

* Q1: it was elected with votes of another epoch;
* Q3, Q19, Q25: it voted a second time in an epoch, or came back with an address of old, after a write of its file
  failed and it died, after REMOVE, or while it knew the master under two names;
* Q5: it took an epoch from a hello without the address, because the address was unusable, or because it was the old
  master's own while the member brought replicas over to a promoted one ("overtaken" in ``stock_state.Defects``);
* a promotion under an older epoch than it had heard of and told meanwhile (no number);
* a RESET between its promotion and its switch: it told the promoted address and goes back to the old one (no number).

Liveness (29 to 31, and the exam at the end of peace) is promised as long as one of ours is in the quorum, no epoch was
marked so, no stock member's wall clock was set back in its present life (Q21), and no more is asked of stock members
than they can do (``Cluster.excused``); the exam waits while too few are out of TILT (``Cluster.can_agree``).

**A stock member** is held to these properties of core.md 20: 1 to 4 (until a write of its file failed, Q3, or, for one
master, until it was removed, Q25; not for the epoch of a manual attempt, Q4), 9 (with its own count of the votes), 11,
12, 13 (one promotion in each attempt), 17, 20 and 21 (except for Q5), 25. Not to 7 (Q1), 10 (Q4), 15 (Q3), 16 (Q8), 19
(Q13), 23 and 24, 29 (Q2, Q14), 30 in an epoch with two addresses, 32 (Q9), nor to replay: it keeps no events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import Factory, define

from trio_sentinel.model import effects as fx
from trio_sentinel.model import events as e
from trio_sentinel.model.state import Manner
from trio_sentinel.model.values import Address, Epoch, LinkId, Millis, RunId
from trio_sentinel.sim.broken import require
from trio_sentinel.sim.checkers import Checker
from trio_sentinel.sim.ledger import Leader

if TYPE_CHECKING:
    from trio_sentinel.sim.stock import StockSentinel


@define(eq=False)
class Attempt:
    """The last attempt of a member for one master, in its present life."""

    epoch: Epoch
    manner: Manner
    promoted: Address | None = None


@define(eq=False)
class Record:
    """What one stock identity let others know, over all its lives."""

    current_epoch: Epoch = 0
    careless: bool = False
    """A write of its file failed once: what it promised may be forgotten (Q3)."""
    manual: set[Epoch] = Factory(set)
    """Epochs of attempts that an operator asked for: they are told before they are written (Q4)."""
    removed: set[str] = Factory(set)
    """Masters that were removed once (Q25), or answered for under a second name (Q19)."""
    voted: dict[str, Epoch] = Factory(dict)


@define(eq=False)
class Life:
    """One life of one stock process."""

    said: dict[tuple[str, LinkId], tuple[Epoch, Epoch, Address]] = Factory(dict)
    """By master and link: the last hello. What waits for a connection is told late, so links differ for a while."""
    not_before_ms: dict[str, Millis] = Factory(dict)
    attempts: dict[str, Attempt] = Factory(dict)
    in_tilt: bool = False


class StockChecker:
    """The rules for stock members; what they do to the quorum goes into the ledger of all."""

    def __init__(self, whole: Checker) -> None:
        self.whole = whole
        self.ledger = whole.ledger
        self.records: dict[RunId, Record] = {}
        self.lives: dict[StockSentinel, Life] = {}

    def _record(self, sentinel: StockSentinel) -> Record:
        record = self.records.setdefault(sentinel.engine.state.my_id, Record())
        record.careless = record.careless or sentinel.lost_writes > 0
        return record

    def _trusted(self, sentinel: StockSentinel, record: Record, name: str) -> bool:
        """Whether its promises about a master are still to be relied upon."""
        twice = sentinel.engine.state.my_id in self.ledger.doubles
        return not (record.careless or twice or name in record.removed)

    # ------------------------------------------------------------ lives

    def started(self, sentinel: StockSentinel) -> None:
        """A process begins from its file: properties 1 and 4."""
        disk = sentinel.disk
        assert disk.my_id is not None
        record = self.records.setdefault(disk.my_id, Record())
        record.careless = record.careless or sentinel.lost_writes > 0
        self.lives[sentinel] = Life()
        if record.careless or disk.my_id in self.ledger.doubles:
            return
        epochs = [disk.current_epoch, *(epoch for m in disk.masters for epoch in (m.config_epoch, m.leader_epoch))]
        kept = max(epochs) >= record.current_epoch or record.current_epoch in record.manual
        require(kept, 1, f"{sentinel.name} came back below epoch {record.current_epoch}")
        record.current_epoch = max(epochs)
        record.removed |= record.voted.keys() - {line.name for line in disk.masters}  # it died before it could tell
        for line in disk.masters:
            voted = line.leader_epoch >= record.voted.get(line.name, 0) or line.name in record.removed
            require(voted, 4, f"{sentinel.name} came back without its vote for {line.name}")

    def ended(self, sentinel: StockSentinel) -> None:
        """A process dies, or the run is over: nothing is owed."""

    # ------------------------------------------------------------ events

    def events(self, sentinel: StockSentinel, events: tuple[e.Event, ...]) -> None:
        """The events of one turn, in order."""
        record = self._record(sentinel)
        for event in events:
            self.whole.tell(sentinel, event)
            rule = RULES.get(type(event))
            if rule is not None:
                rule(self, sentinel, record, event)

    def _tilt(self, sentinel: StockSentinel, record: Record, event: e.TiltEntered | e.TiltExited) -> None:
        self.lives[sentinel].in_tilt = isinstance(event, e.TiltEntered)

    def _decided(self, sentinel: StockSentinel, record: Record, event: Any) -> None:
        """Property 25."""
        require(not self.lives[sentinel].in_tilt, 25, f"{sentinel.name}: {type(event).__name__} in TILT")

    def _agreed(self, sentinel: StockSentinel, record: Record, event: e.AgreedDown) -> None:
        """Property 12."""
        self._decided(sentinel, record, event)
        require(event.agreed >= event.quorum, 12, f"{sentinel.name}: O_DOWN with {event.agreed} voices")

    def _voted(self, sentinel: StockSentinel, record: Record, event: e.VoteCast) -> None:
        """Property 2."""
        name = event.subject.master
        if self._trusted(sentinel, record, name):
            fresh = event.epoch > record.voted.get(name, 0)
            require(fresh, 2, f"{sentinel.name} votes again in epoch {event.epoch} of {name}")
        record.voted[name] = max(event.epoch, record.voted.get(name, 0))
        if event.attempt_at_ms is not None:
            self.lives[sentinel].not_before_ms[name] = event.attempt_at_ms
        if event.candidate == sentinel.engine.state.my_id:
            self._ballot(sentinel, record, name, event.epoch, event.candidate)

    def _ballot(self, sentinel: StockSentinel, record: Record, name: str, epoch: Epoch, candidate: RunId) -> None:
        """Property 3, unless the member has forgotten: then the epoch is marked."""
        voter = sentinel.engine.state.my_id
        if voter in self.ledger.doubles:
            self.ledger.note_double(sentinel, (name, epoch), candidate)
            return
        ballots = self.ledger.ballots.setdefault((name, epoch), {})
        if ballots.setdefault(voter, candidate) == candidate:
            return
        trusted = self._trusted(sentinel, record, name)
        require(not trusted, 3, f"{sentinel.name} voted twice in epoch {epoch} of {name}")
        self.ledger.spoil(name, epoch, "a stock member votes twice in one epoch (Q3, Q25)")
        self.ledger.repeated[name, epoch] += 1

    def _started(self, sentinel: StockSentinel, record: Record, event: e.FailoverStarted) -> None:
        """Property 11."""
        name = event.subject.master
        if event.manner is Manner.AUTOMATIC:
            self._decided(sentinel, record, event)
            before_ms = self.lives[sentinel].not_before_ms.get(name)
            wait_ms = 2 * sentinel.engine.state.masters[name].settings.failover_timeout_ms
            patient = before_ms is None or event.at_ms - before_ms >= wait_ms
            require(patient, 11, f"{sentinel.name} stands again too soon for {name}")
        else:
            record.manual.add(event.epoch)
        self.lives[sentinel].not_before_ms[name] = event.attempt_at_ms
        self.lives[sentinel].attempts[name] = Attempt(event.epoch, event.manner)

    def _elected(self, sentinel: StockSentinel, record: Record, event: e.LeaderElected) -> None:
        """Properties 8 and 9. An election with votes of another epoch (Q1) marks the epoch, and promises nothing."""
        name, attempt = event.subject.master, self.lives[sentinel].attempts[event.subject.master]
        master = sentinel.engine.state.masters[name]
        if attempt.manner is not Manner.FORCED:
            needed = max(event.voters // 2 + 1, master.settings.quorum)
            require(event.votes >= needed, 9, f"{sentinel.name} leads with {event.votes} of {needed} votes")
        ledger, key = self.ledger, (name, attempt.epoch)
        my_id = sentinel.engine.state.my_id
        honest = event.votes <= ledger.votes_for(my_id, key)
        if not honest:
            ledger.spoil(*key, "a stock member leads with votes of another epoch (Q1)")
        ledger.note_leader(key, Leader(my_id, attempt.manner, event.votes, ledger.cluster.world.now_ms, honest))
        ledger.cluster.leader_elected(sentinel, master, attempt.manner)

    def _promoted(self, sentinel: StockSentinel, record: Record, event: e.PromotionSent) -> None:
        """Property 13."""
        self._decided(sentinel, record, event)
        attempt = self.lives[sentinel].attempts.get(event.subject.master)
        require(attempt is not None, 13, f"{sentinel.name} promotes without an attempt")
        assert attempt is not None
        again = attempt.promoted not in (None, event.address)
        require(not again, 13, f"{sentinel.name} promotes a second replica in one attempt")
        attempt.promoted = event.address

    def _aborted(self, sentinel: StockSentinel, record: Record, event: e.FailoverAborted) -> None:
        self.whole.cluster.seen[f"a stock member gives up: {event.reason.value}"] += 1
        self.lives[sentinel].attempts.pop(event.subject.master, None)

    def _switched(self, sentinel: StockSentinel, record: Record, event: e.MasterSwitched) -> None:
        """Property 21."""
        name = event.subject.master
        if event.by is None:
            attempt = self.lives[sentinel].attempts.get(name)
            done = attempt is not None and attempt.promoted == event.new
            require(done, 21, f"{sentinel.name} switches {name} without a promotion of its own")
        self._forgotten(sentinel, record, event)

    def _forgotten(self, sentinel: StockSentinel, record: Record, event: Any) -> None:
        self.lives[sentinel].not_before_ms.pop(event.subject.master, None)
        self.lives[sentinel].attempts.pop(event.subject.master, None)

    def _promotion_seen(self, sentinel: StockSentinel, record: Record, event: e.PromotionSeen) -> None:
        """The configuration gets the epoch of the attempt, whatever was heard meanwhile (core.md 5.3 B)."""
        name = event.subject.master
        told = (epochs[1] for (about, _), epochs in self.lives[sentinel].said.items() if about == name)
        if max(told, default=0) > event.epoch:
            self.ledger.spoil(name, event.epoch, "a stock member promotes under an older epoch than it has told")

    def _reset(self, sentinel: StockSentinel, record: Record, event: e.MasterReset) -> None:
        """Between its promotion and its switch it goes back to the old address, and keeps the new epoch."""
        name = event.subject.master
        attempt, master = self.lives[sentinel].attempts.get(name), sentinel.engine.state.masters.get(name)
        if attempt is not None and master is not None and master.config_epoch == attempt.epoch:
            if attempt.promoted not in (None, master.address):
                self.ledger.spoil(name, attempt.epoch, "a stock member is reset between its promotion and its switch")
        self._forgotten(sentinel, record, event)

    def _removed(self, sentinel: StockSentinel, record: Record, event: e.MasterRemoved) -> None:
        record.removed.add(event.subject.master)
        self._forgotten(sentinel, record, event)

    # ------------------------------------------------------------ what is said

    def effect(self, sentinel: StockSentinel, effect: fx.Effect) -> None:
        """One effect, just before it is carried out."""
        for key in sentinel.mind.poisoned - self.ledger.contested:
            self.ledger.spoil(*key, "a stock member takes an epoch without its address (Q5)")
        if isinstance(effect, fx.SayHello):
            self._hello(sentinel, effect)
        elif isinstance(effect, fx.Repoint):
            there = Address(effect.host, effect.port)
            require(there != effect.link.address, 14, f"{sentinel.name} makes {there} follow itself")

    def _hello(self, sentinel: StockSentinel, effect: fx.SayHello) -> None:
        """Properties 1, 20, 21 and 22."""
        hello, record = effect.hello, self._record(sentinel)
        name, address = hello.master, Address(hello.master_host, hello.master_port)
        epochs = hello.current_epoch, hello.config_epoch
        before = self.lives[sentinel].said.get((name, effect.link), (*epochs, address))
        if self._trusted(sentinel, record, name):
            require(epochs[0] >= before[0], 1, f"{sentinel.name}: its epoch falls from {before[0]} to {epochs[0]}")
            risen = epochs[1] >= before[1] or name in self.ledger.spoilt  # a poisoned epoch is forgotten at a promotion
            require(risen, 20, f"{sentinel.name}: the configuration epoch of {name} falls to {epochs[1]}")
            if name in self.ledger.spoilt and epochs[1] <= before[1] and address != before[2]:
                self.ledger.spoil(name, epochs[1], "a stock member tells two addresses after a poisoned epoch")
            kept = epochs[1] != before[1] or address == before[2] or (name, epochs[1]) in self.ledger.contested
            require(kept, 21, f"{sentinel.name} tells two addresses of {name} in epoch {epochs[1]}")
        record.current_epoch = max(record.current_epoch, hello.current_epoch)
        self.lives[sentinel].said[name, effect.link] = (*epochs, address)
        known, _ = self.ledger.configurations.get((name, epochs[1]), (address, ""))
        if known != address and not self._trusted(sentinel, record, name):
            self.ledger.spoil(name, epochs[1], "a stock member came back with an old configuration (Q3, Q25)")
        self.ledger.note_address(sentinel, name, epochs[1], address)

    def opinion_sent(
        self, sentinel: StockSentinel, asked: fx.AskPeer, answer: fx.AnswerOpinion, *, in_tilt: bool
    ) -> None:
        """Properties 3, 4 and 25."""
        require(not (in_tilt and answer.down), 25, f"{sentinel.name} says that a master is down, in TILT")
        if answer.leader is None:
            return
        record = self._record(sentinel)
        masters = sentinel.engine.state.masters.values()
        if next((master.name for master in masters if master.address == asked.address), None) != asked.master:
            record.removed.add(asked.master)
        if self._trusted(sentinel, record, asked.master):
            line = next((known for known in sentinel.disk.masters if known.name == asked.master), None)
            kept = line is None or line.leader_epoch >= answer.leader_epoch
            require(kept, 4, f"{sentinel.name} tells a vote in epoch {answer.leader_epoch} before saving it")
        self._ballot(sentinel, record, asked.master, answer.leader_epoch, answer.leader)


RULES: dict[type[e.Event], Callable[[StockChecker, Any, Record, Any], None]] = {
    e.TiltEntered: StockChecker._tilt,
    e.TiltExited: StockChecker._tilt,
    e.WentDown: StockChecker._decided,
    e.CameBack: StockChecker._decided,
    e.AgreedDown: StockChecker._agreed,
    e.VoteCast: StockChecker._voted,
    e.FailoverStarted: StockChecker._started,
    e.LeaderElected: StockChecker._elected,
    e.PromotionSent: StockChecker._promoted,
    e.PromotionSeen: StockChecker._promotion_seen,
    e.ReplicaConverted: StockChecker._decided,
    e.ReplicaRepointed: StockChecker._decided,
    e.FailoverAborted: StockChecker._aborted,
    e.MasterSwitched: StockChecker._switched,
    e.MasterReset: StockChecker._reset,
    e.MasterRemoved: StockChecker._removed,
}
