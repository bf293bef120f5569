"""What was decided, as past facts. Folding them with ``evolve.py`` gives the state.

An event carries all it needs: the time, the drawn number, the chosen replica, and its subject as it was called then.
``durable`` marks the facts that must be on disk before anybody hears of them (core.md 15).
"""

from __future__ import annotations

import enum
from typing import ClassVar, TypeAlias

from attrs import frozen

from trio_sentinel.model.settings import GlobalSettings, MasterSettings, Timing
from trio_sentinel.model.snapshot import MasterSnapshot
from trio_sentinel.model.state import Manner
from trio_sentinel.model.values import Address, Epoch, Millis, Role, RunId, Subject

# ---------------------------------------------------------------- configuration


@frozen(kw_only=True)
class SentinelRestored:
    """The process-wide part of the configuration file."""

    durable: ClassVar[bool] = False
    my_id: RunId
    own_port: int
    current_epoch: Epoch
    settings: GlobalSettings
    timing: Timing


@frozen(kw_only=True)
class MasterMonitored:
    """A master is watched from now on, from the file or by ``SENTINEL MONITOR``."""

    durable: ClassVar[bool] = False
    subject: Subject
    snapshot: MasterSnapshot
    at_ms: Millis
    twin: str | None = None
    """Another master at the same address: questions about it are answered for one of them (core.md Q19)."""


@frozen(kw_only=True)
class MasterRemoved:
    """``SENTINEL REMOVE``."""

    durable: ClassVar[bool] = True
    subject: Subject


@frozen(kw_only=True)
class MasterReset:
    """``SENTINEL RESET``: replicas and peers forgotten, a running failover dropped; epochs kept. Saved, unlike
    stock (core.md Q16)."""

    durable: ClassVar[bool] = True
    subject: Subject
    at_ms: Millis


@frozen(kw_only=True)
class SettingChanged:
    """One option of ``SENTINEL SET``; ``words`` are as typed, a password already masked."""

    durable: ClassVar[bool] = True
    subject: Subject
    words: tuple[str, ...]
    settings: MasterSettings


@frozen(kw_only=True)
class GlobalsChanged:
    """``SENTINEL CONFIG SET``."""

    durable: ClassVar[bool] = True
    settings: GlobalSettings


@frozen(kw_only=True)
class TimingChanged:
    """``SENTINEL DEBUG``: in memory only."""

    durable: ClassVar[bool] = False
    timing: Timing


@frozen(kw_only=True)
class CrashPointsSet:
    """``SENTINEL SIMULATE-FAILURE``."""

    durable: ClassVar[bool] = False
    after_election: bool
    after_promotion: bool


@frozen(kw_only=True)
class FlushOrdered:
    """``SENTINEL FLUSHCONFIG``: changes nothing, but must reach the disk before it is answered."""

    durable: ClassVar[bool] = True


@frozen(kw_only=True)
class NameLearnt:
    """The resolver gave a host another address than before."""

    durable: ClassVar[bool] = False
    host: str
    ip: str


@frozen(kw_only=True)
class DiskFailed:
    """A save failed: nothing new may be promised until one succeeds (core.md Q3)."""

    durable: ClassVar[bool] = False
    reason: str


@frozen(kw_only=True)
class DiskRecovered:
    """A save succeeded again."""

    durable: ClassVar[bool] = False


# ---------------------------------------------------------------- topology


@frozen(kw_only=True)
class ReplicaFound:
    """INFO of the master names a replica that was not known."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address
    at_ms: Millis


@frozen(kw_only=True)
class PeerFound:
    """A hello came from a sentinel that was not known for this master."""

    durable: ClassVar[bool] = False
    subject: Subject
    run_id: RunId
    address: Address
    at_ms: Millis


@frozen(kw_only=True)
class PeerMoved:
    """A known sentinel announces another address. ``subject`` is the master."""

    durable: ClassVar[bool] = False
    subject: Subject
    run_id: RunId
    address: Address
    shown_host: str
    at_ms: Millis


@frozen(kw_only=True)
class PeerAddressSpread:
    """The new address was given to the records of the same sentinel under `count` other masters."""

    durable: ClassVar[bool] = False
    subject: Subject
    run_id: RunId
    address: Address
    count: int


@frozen(kw_only=True)
class PeerEvicted:
    """Another sentinel now answers at this one's address: the old id leaves every master."""

    durable: ClassVar[bool] = False
    subject: Subject
    run_id: RunId


@frozen(kw_only=True)
class ServerRebooted:
    """A server answers with another run id. ``waiting`` when the master must still say PONG (core.md 5.4)."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address
    run_id: str
    waiting: bool
    at_ms: Millis


@frozen(kw_only=True)
class ServerIdentified:
    """The first run id heard from a server."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address
    run_id: str


@frozen(kw_only=True)
class RebootOver:
    """The rebooted master said PONG."""

    durable: ClassVar[bool] = False
    subject: Subject


@frozen(kw_only=True)
class RoleReported:
    """A server reports another role than before."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address
    role: Role
    at_ms: Millis


@frozen(kw_only=True)
class ReplicaConverted:
    """A replica that says it is a master is ordered to follow again (core.md 5.3 C)."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address


@frozen(kw_only=True)
class ReplicaRepointed:
    """A replica that follows somebody else, or hangs in a handover, is ordered to follow its master (5.3 D, E)."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address


@frozen(kw_only=True)
class MasterSwitched:
    """The address of the master is another one now. ``by`` is None for the leader, else the sentinel that said so.

    ``replicas`` is the whole new list: the old replicas without the new master, and the old master.
    """

    durable: ClassVar[bool] = True
    subject: Subject
    old: Address
    new: Address
    shown_old_host: str
    shown_new_host: str
    by: Subject | None
    replicas: tuple[Address, ...]
    replica_subjects: tuple[Subject, ...]
    """The same replicas as they are called after the switch."""
    config_epoch: Epoch
    at_ms: Millis


@frozen(kw_only=True)
class ConfigEpochAdopted:
    """A hello names the same address under a higher configuration epoch (saved, unlike stock: core.md Q16)."""

    durable: ClassVar[bool] = True
    subject: Subject
    epoch: Epoch


# ---------------------------------------------------------------- detection


@frozen(kw_only=True)
class WentDown:
    """An instance is subjectively down; its kind and name are in the subject, its key in ``address``/``run_id``."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address | None
    run_id: RunId | None
    at_ms: Millis


@frozen(kw_only=True)
class CameBack:
    """An instance is no longer subjectively down."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address | None
    run_id: RunId | None


@frozen(kw_only=True)
class AgreedDown:
    """Enough sentinels say that the master is down: ``agreed`` of ``quorum``. ``stand_at_ms`` is when I may stand."""

    durable: ClassVar[bool] = False
    subject: Subject
    agreed: int
    quorum: int
    stand_at_ms: Millis
    at_ms: Millis


@frozen(kw_only=True)
class NoLongerAgreed:
    """The master is no longer objectively down."""

    durable: ClassVar[bool] = False
    subject: Subject


@frozen(kw_only=True)
class TiltEntered:
    """Time jumped: nothing is decided for a while (core.md 8)."""

    durable: ClassVar[bool] = False
    at_ms: Millis


@frozen(kw_only=True)
class TiltExited:
    """Time has been even for a whole TILT period."""

    durable: ClassVar[bool] = False


# ---------------------------------------------------------------- election and failover


@frozen(kw_only=True)
class EpochRaised:
    """``current_epoch`` is higher now: heard of, asked for, or raised for an attempt of my own."""

    durable: ClassVar[bool] = True
    epoch: Epoch
    subject: Subject | None
    """The master whose notification script hears of it."""


@frozen(kw_only=True)
class VoteCast:
    """My vote for this master in `epoch`; ``attempt_at_ms`` delays my own next attempt when it went to another."""

    durable: ClassVar[bool] = True
    subject: Subject
    candidate: RunId
    epoch: Epoch
    attempt_at_ms: Millis | None


@frozen(kw_only=True)
class FailoverStarted:
    """An attempt begins under `epoch`."""

    durable: ClassVar[bool] = True
    subject: Subject
    epoch: Epoch
    manner: Manner
    attempt_at_ms: Millis
    at_ms: Millis


@frozen(kw_only=True)
class PeerVoted:
    """A peer says whom it voted for, in another epoch than the last time. ``subject`` is the peer."""

    durable: ClassVar[bool] = False
    subject: Subject
    leader: RunId
    epoch: Epoch


@frozen(kw_only=True)
class FailoverDelayed:
    """The master is objectively down, but the last attempt or vote, at ``attempt_at_ms``, was too recent."""

    durable: ClassVar[bool] = False
    subject: Subject
    attempt_at_ms: Millis
    until_ms: Millis


@frozen(kw_only=True)
class VoteSaved:
    """The vote for my own attempt is on disk: it may be heard and counted."""

    durable: ClassVar[bool] = False
    subject: Subject


@frozen(kw_only=True)
class LeaderElected:
    """I am the leader (or the failover is forced)."""

    durable: ClassVar[bool] = False
    subject: Subject
    votes: int
    voters: int
    at_ms: Millis


@frozen(kw_only=True)
class SelectionBegun:
    """The leader looks for the best replica: news of its own, because a simulated crash comes before it."""

    durable: ClassVar[bool] = False
    subject: Subject


class Abort(enum.Enum):
    """Why an attempt was given up; the value is the tail of the event's name."""

    NOT_ELECTED = "not-elected"
    NO_GOOD_REPLICA = "no-good-slave"
    REPLICA_TIMEOUT = "slave-timeout"
    MASTER_TIMEOUT = "master-timeout"


@frozen(kw_only=True)
class FailoverAborted:
    """The attempt is over without a promotion. ``retry_at_ms`` is when I may stand again after a lost election."""

    durable: ClassVar[bool] = False
    subject: Subject
    reason: Abort
    retry_at_ms: Millis | None = None
    at_ms: Millis


@frozen(kw_only=True)
class ReplicaSelected:
    """The best replica was chosen; ``losers`` says of each other one why it was not."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address
    losers: tuple[tuple[Address, str], ...]
    at_ms: Millis


@frozen(kw_only=True)
class PromotionSent:
    """The order to become master is out; coordinated: the order to hand over, to the master."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address
    handover_ms: Millis | None
    """Coordinated: how long the master may take. None for a plain promotion."""
    at_ms: Millis


@frozen(kw_only=True)
class PromotionSeen:
    """The chosen replica says it is a master. Address and epoch go to the disk first; nobody is told yet."""

    durable: ClassVar[bool] = True
    subject: Subject
    address: Address
    epoch: Epoch
    at_ms: Millis


@frozen(kw_only=True)
class PromotionPublished:
    """The promotion is on disk and may be told (property 15). ``subject`` is the master."""

    durable: ClassVar[bool] = False
    subject: Subject
    replica: Subject
    at_ms: Millis


@frozen(kw_only=True)
class ReconfigurationBegun:
    """The other replicas are brought over now: news of its own, because a simulated crash comes before it."""

    durable: ClassVar[bool] = False
    subject: Subject


@frozen(kw_only=True)
class ReconfSent:
    """A replica was ordered to follow the promoted one; ``best_effort`` when the attempt had timed out."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address
    best_effort: bool
    at_ms: Millis


@frozen(kw_only=True)
class ReconfInProgress:
    """The replica reports the promoted one as its master."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address


@frozen(kw_only=True)
class ReconfDone:
    """The replica's link to its new master is up."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address


@frozen(kw_only=True)
class ReconfTimedOut:
    """The replica did not follow within `slave-reconf-timeout`; the order is repeated once and it counts as done."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address


@frozen(kw_only=True)
class FailoverEnded:
    """Every reachable replica follows, or time is out. The switch is the next event."""

    durable: ClassVar[bool] = False
    subject: Subject
    timed_out: bool
    at_ms: Millis


Event: TypeAlias = (
    SentinelRestored
    | MasterMonitored
    | MasterRemoved
    | MasterReset
    | SettingChanged
    | GlobalsChanged
    | TimingChanged
    | CrashPointsSet
    | FlushOrdered
    | NameLearnt
    | DiskFailed
    | DiskRecovered
    | ReplicaFound
    | PeerFound
    | PeerMoved
    | PeerAddressSpread
    | PeerEvicted
    | ServerRebooted
    | ServerIdentified
    | RebootOver
    | RoleReported
    | ReplicaConverted
    | ReplicaRepointed
    | MasterSwitched
    | ConfigEpochAdopted
    | WentDown
    | CameBack
    | AgreedDown
    | NoLongerAgreed
    | TiltEntered
    | TiltExited
    | EpochRaised
    | VoteCast
    | FailoverStarted
    | PeerVoted
    | FailoverDelayed
    | VoteSaved
    | LeaderElected
    | SelectionBegun
    | FailoverAborted
    | ReplicaSelected
    | PromotionSent
    | PromotionSeen
    | PromotionPublished
    | ReconfigurationBegun
    | ReconfSent
    | ReconfInProgress
    | ReconfDone
    | ReconfTimedOut
    | FailoverEnded
)

SAVED_SOON: frozenset[type[Event]] = frozenset(
    {MasterMonitored, ReplicaFound, PeerFound, PeerMoved, PeerAddressSpread, PeerEvicted}
)
"""Facts that belong in the file but need not be there before they are told: a crash only means finding them again."""
