"""What was decided, as past facts. Folding them with ``evolve.py`` gives the state.

An event carries all it needs: the time, the drawn number, the chosen replica, and its subject as it was called then.
``durable`` marks the facts that must be on disk before anybody hears of them (core.md 15).
"""

from __future__ import annotations

import enum
from typing import ClassVar, TypeAlias

from msgspec import Struct

from trio_sentinel.model.settings import GlobalSettings, MasterSettings, Timing
from trio_sentinel.model.snapshot import MasterSnapshot
from trio_sentinel.model.state import Manner
from trio_sentinel.model.values import Address, Epoch, Millis, Role, RunId, Subject

# ---------------------------------------------------------------- configuration


class SentinelRestored(Struct, frozen=True, kw_only=True):
    """The process-wide part of the configuration file."""

    durable: ClassVar[bool] = False
    my_id: RunId
    own_port: int
    current_epoch: Epoch
    settings: GlobalSettings
    timing: Timing


class MasterMonitored(Struct, frozen=True, kw_only=True):
    """A master is watched from now on, from the file or by ``SENTINEL MONITOR``."""

    durable: ClassVar[bool] = False
    subject: Subject
    snapshot: MasterSnapshot
    at_ms: Millis
    twin: str | None = None
    """Another master at the same address: questions about it are answered for one of them (core.md Q19)."""


class MasterRemoved(Struct, frozen=True, kw_only=True):
    """``SENTINEL REMOVE``."""

    durable: ClassVar[bool] = True
    subject: Subject


class MasterReset(Struct, frozen=True, kw_only=True):
    """``SENTINEL RESET``: replicas and peers forgotten, a running failover dropped; epochs kept. Saved, unlike
    stock (core.md Q16)."""

    durable: ClassVar[bool] = True
    subject: Subject
    at_ms: Millis


class SettingChanged(Struct, frozen=True, kw_only=True):
    """One option of ``SENTINEL SET``; ``words`` are as typed, a password already masked."""

    durable: ClassVar[bool] = True
    subject: Subject
    words: tuple[str, ...]
    settings: MasterSettings


class GlobalsChanged(Struct, frozen=True, kw_only=True):
    """``SENTINEL CONFIG SET``."""

    durable: ClassVar[bool] = True
    settings: GlobalSettings


class TimingChanged(Struct, frozen=True, kw_only=True):
    """``SENTINEL DEBUG``: in memory only."""

    durable: ClassVar[bool] = False
    timing: Timing


class CrashPointsSet(Struct, frozen=True, kw_only=True):
    """``SENTINEL SIMULATE-FAILURE``."""

    durable: ClassVar[bool] = False
    after_election: bool
    after_promotion: bool


class FlushOrdered(Struct, frozen=True, kw_only=True):
    """``SENTINEL FLUSHCONFIG``: changes nothing, but must reach the disk before it is answered."""

    durable: ClassVar[bool] = True


class NameLearnt(Struct, frozen=True, kw_only=True):
    """The resolver gave a host another address than before."""

    durable: ClassVar[bool] = False
    host: str
    ip: str


class DiskFailed(Struct, frozen=True, kw_only=True):
    """A save failed: nothing new may be promised until one succeeds (core.md Q3)."""

    durable: ClassVar[bool] = False
    reason: str


class DiskRecovered(Struct, frozen=True, kw_only=True):
    """A save succeeded again."""

    durable: ClassVar[bool] = False


# ---------------------------------------------------------------- topology


class ReplicaFound(Struct, frozen=True, kw_only=True):
    """INFO of the master names a replica that was not known."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address
    at_ms: Millis


class PeerFound(Struct, frozen=True, kw_only=True):
    """A hello came from a sentinel that was not known for this master."""

    durable: ClassVar[bool] = False
    subject: Subject
    run_id: RunId
    address: Address
    at_ms: Millis


class PeerMoved(Struct, frozen=True, kw_only=True):
    """A known sentinel announces another address. ``subject`` is the master."""

    durable: ClassVar[bool] = False
    subject: Subject
    run_id: RunId
    address: Address
    shown_host: str
    at_ms: Millis


class PeerAddressSpread(Struct, frozen=True, kw_only=True):
    """The new address was given to the records of the same sentinel under `count` other masters."""

    durable: ClassVar[bool] = False
    subject: Subject
    run_id: RunId
    address: Address
    count: int


class PeerEvicted(Struct, frozen=True, kw_only=True):
    """Another sentinel now answers at this one's address: the old id leaves every master."""

    durable: ClassVar[bool] = False
    subject: Subject
    run_id: RunId


class ServerRebooted(Struct, frozen=True, kw_only=True):
    """A server answers with another run id. ``waiting`` when the master must still say PONG (core.md 5.4)."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address
    run_id: str
    waiting: bool
    at_ms: Millis


class ServerIdentified(Struct, frozen=True, kw_only=True):
    """The first run id heard from a server."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address
    run_id: str


class RebootOver(Struct, frozen=True, kw_only=True):
    """The rebooted master said PONG."""

    durable: ClassVar[bool] = False
    subject: Subject


class RoleReported(Struct, frozen=True, kw_only=True):
    """A server reports another role than before."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address
    role: Role
    at_ms: Millis


class ReplicaConverted(Struct, frozen=True, kw_only=True):
    """A replica that says it is a master is ordered to follow again (core.md 5.3 C)."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address


class ReplicaRepointed(Struct, frozen=True, kw_only=True):
    """A replica that follows somebody else, or hangs in a handover, is ordered to follow its master (5.3 D, E)."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address


class MasterSwitched(Struct, frozen=True, kw_only=True):
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


class ConfigEpochAdopted(Struct, frozen=True, kw_only=True):
    """A hello names the same address under a higher configuration epoch (saved, unlike stock: core.md Q16)."""

    durable: ClassVar[bool] = True
    subject: Subject
    epoch: Epoch


# ---------------------------------------------------------------- detection


class WentDown(Struct, frozen=True, kw_only=True):
    """An instance is subjectively down; its kind and name are in the subject, its key in ``address``/``run_id``."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address | None
    run_id: RunId | None
    at_ms: Millis


class CameBack(Struct, frozen=True, kw_only=True):
    """An instance is no longer subjectively down."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address | None
    run_id: RunId | None


class AgreedDown(Struct, frozen=True, kw_only=True):
    """Enough sentinels say that the master is down: ``agreed`` of ``quorum``. ``stand_at_ms`` is when I may stand."""

    durable: ClassVar[bool] = False
    subject: Subject
    agreed: int
    quorum: int
    stand_at_ms: Millis
    at_ms: Millis


class NoLongerAgreed(Struct, frozen=True, kw_only=True):
    """The master is no longer objectively down."""

    durable: ClassVar[bool] = False
    subject: Subject


class TiltEntered(Struct, frozen=True, kw_only=True):
    """Time jumped: nothing is decided for a while (core.md 8)."""

    durable: ClassVar[bool] = False
    at_ms: Millis


class TiltExited(Struct, frozen=True, kw_only=True):
    """Time has been even for a whole TILT period."""

    durable: ClassVar[bool] = False


# ---------------------------------------------------------------- election and failover


class EpochRaised(Struct, frozen=True, kw_only=True):
    """``current_epoch`` is higher now: heard of, asked for, or raised for an attempt of my own."""

    durable: ClassVar[bool] = True
    epoch: Epoch
    subject: Subject | None
    """The master whose notification script hears of it."""


class VoteCast(Struct, frozen=True, kw_only=True):
    """My vote for this master in `epoch`; ``attempt_at_ms`` delays my own next attempt when it went to another."""

    durable: ClassVar[bool] = True
    subject: Subject
    candidate: RunId
    epoch: Epoch
    attempt_at_ms: Millis | None


class FailoverStarted(Struct, frozen=True, kw_only=True):
    """An attempt begins under `epoch`."""

    durable: ClassVar[bool] = True
    subject: Subject
    epoch: Epoch
    manner: Manner
    attempt_at_ms: Millis
    at_ms: Millis


class VoteSaved(Struct, frozen=True, kw_only=True):
    """The vote for my own attempt is on disk: it may be heard and counted."""

    durable: ClassVar[bool] = False
    subject: Subject


class LeaderElected(Struct, frozen=True, kw_only=True):
    """I am the leader (or the failover is forced)."""

    durable: ClassVar[bool] = False
    subject: Subject
    votes: int
    voters: int
    at_ms: Millis


class SelectionBegun(Struct, frozen=True, kw_only=True):
    """The leader looks for the best replica: news of its own, because a simulated crash comes before it."""

    durable: ClassVar[bool] = False
    subject: Subject


class Abort(enum.Enum):
    """Why an attempt was given up; the value is the tail of the event's name."""

    NOT_ELECTED = "not-elected"
    NO_GOOD_REPLICA = "no-good-slave"
    REPLICA_TIMEOUT = "slave-timeout"
    MASTER_TIMEOUT = "master-timeout"


class Release(enum.Enum):
    """How a master goes on as before when a coordinated failover is given up."""

    UNPAUSE = "unpause"
    CALL_OFF = "abort the handover and unpause"


class FailoverAborted(Struct, frozen=True, kw_only=True):
    """The attempt is over without a promotion. ``retry_at_ms`` is when I may stand again after a lost election."""

    durable: ClassVar[bool] = False
    subject: Subject
    reason: Abort
    release: Release | None = None
    """How the writers that wait at the master are let go."""
    retry_at_ms: Millis | None = None
    at_ms: Millis


class ReplicaSelected(Struct, frozen=True, kw_only=True):
    """The best replica was chosen; ``losers`` says of each other one why it was not."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address
    losers: tuple[tuple[Address, str], ...]
    at_ms: Millis


class WritersPaused(Struct, frozen=True, kw_only=True):
    """Coordinated: the master was asked to hold its writers back for `pause_ms`, so that the chosen replica can catch
    up. ``subject`` is the master."""

    durable: ClassVar[bool] = False
    subject: Subject
    pause_ms: Millis
    at_ms: Millis


class PromotionSent(Struct, frozen=True, kw_only=True):
    """The order to become master is out; coordinated: the order to hand over, to the master."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address
    handover_ms: Millis | None
    """Coordinated: how long the master may take. None for a plain promotion."""
    caught_up: bool = False
    """Coordinated: the replica was seen to have everything that the paused master has written."""
    at_ms: Millis


class PromotionSeen(Struct, frozen=True, kw_only=True):
    """The chosen replica says it is a master. Address and epoch go to the disk first; nobody is told yet."""

    durable: ClassVar[bool] = True
    subject: Subject
    address: Address
    epoch: Epoch
    at_ms: Millis


class PromotionPublished(Struct, frozen=True, kw_only=True):
    """The promotion is on disk and may be told (property 15). ``subject`` is the master."""

    durable: ClassVar[bool] = False
    subject: Subject
    replica: Subject
    at_ms: Millis


class ReconfigurationBegun(Struct, frozen=True, kw_only=True):
    """The other replicas are brought over now: news of its own, because a simulated crash comes before it."""

    durable: ClassVar[bool] = False
    subject: Subject


class ReconfSent(Struct, frozen=True, kw_only=True):
    """A replica was ordered to follow the promoted one; ``best_effort`` when the attempt had timed out."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address
    best_effort: bool
    at_ms: Millis


class ReconfInProgress(Struct, frozen=True, kw_only=True):
    """The replica reports the promoted one as its master."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address


class ReconfDone(Struct, frozen=True, kw_only=True):
    """The replica's link to its new master is up."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address


class ReconfTimedOut(Struct, frozen=True, kw_only=True):
    """The replica did not follow within `slave-reconf-timeout`; the order is repeated once and it counts as done."""

    durable: ClassVar[bool] = False
    subject: Subject
    address: Address


class FailoverEnded(Struct, frozen=True, kw_only=True):
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
    | VoteSaved
    | LeaderElected
    | SelectionBegun
    | FailoverAborted
    | ReplicaSelected
    | WritersPaused
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
