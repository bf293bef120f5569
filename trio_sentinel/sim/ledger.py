"""What the checkers remember: of one life (`Shadow`), of one identity over all its lives (`Past`), and of the whole
quorum (`Ledger`): every vote, every leader, and which address goes with which epoch (properties 3, 8 and 22)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import Factory, define, frozen

from trio_sentinel.model.replay import NOT_YET
from trio_sentinel.model.snapshot import MasterSnapshot
from trio_sentinel.model.state import Manner, Master, SentinelState
from trio_sentinel.model.values import Address, Epoch, Hello, RunId
from trio_sentinel.sim.broken import require
from trio_sentinel.sim.checks_of_orders import Explained
from trio_sentinel.sim.checks_of_promises import Key, Orders

if TYPE_CHECKING:
    from trio_sentinel.sim.cluster import Cluster
    from trio_sentinel.sim.process import SimSentinel

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

    def master(self, event: Any) -> Master:
        """The one that an event is about."""
        master: Master = self.state.masters[event.subject.master]
        return master


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


class Ledger:
    """What the members of one quorum did, ours and stock; kept and judged over all of them together."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
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

    def past(self, my_id: RunId) -> Past:
        """What is known of an identity."""
        past = self.pasts.get(my_id)
        if past is None:
            past = self.pasts[my_id] = Past()
        return past

    # ------------------------------------------------------------ votes

    def note_vote(self, sentinel: SimSentinel, name: str, epoch: Epoch, voter: RunId, candidate: RunId) -> None:
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

    # ------------------------------------------------------------ leaders

    def note_leader(self, key: MasterEpoch, leader: Leader) -> None:
        """Property 8, with what is known of the leaders of an epoch."""
        for other in self.leaders.get(key, []):
            if other.run_id != leader.run_id:
                self._two_leaders(*key, leader, other)
        self.leaders.setdefault(key, []).append(leader)

    def _two_leaders(self, name: str, epoch: Epoch, one: Leader, other: Leader) -> None:
        """A violation when their electorates must have met: the votes they claim are more than there are voters."""
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

    def spoil(self, name: str, epoch: Epoch, how: str) -> None:
        """A stock member contests an epoch."""
        self.contested.add((name, epoch))
        self.spoilt.add(name)
        self.cluster.seen[how] += 1

    # ------------------------------------------------------------ configurations

    def note_address(self, sentinel: SimSentinel, name: str, epoch: Epoch, address: Address) -> None:
        """Property 22, as told in a hello: one epoch is one address."""
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


EventRule: TypeAlias = Callable[[Ledger, Any, Shadow, Any], None]
"""What must hold of one event of a sentinel, given the shadow as it was before."""
EffectRule: TypeAlias = Callable[[Ledger, Any, Shadow, Any], None]
"""What must hold of one effect, just before it is carried out."""


def kept_line(sentinel: SimSentinel, name: str) -> MasterSnapshot | None:
    """The master `name` as the sentinel's file has it for certain, whatever happens to the power."""
    return next((known for known in sentinel.kept.masters if known.name == name), None)
