"""The memory: masters, replicas, peers, votes and failover phases.

Rules of this file:

1. State is the fold of events; ``evolve.py`` is its only writer.
2. What is merely fresh (last replies, offsets, opinions) lives in ``observations.py``.
3. Objects here answer questions about themselves and give no commands.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

from attrs import Factory, define, frozen

from trio_sentinel.model.settings import GlobalSettings, MasterSettings, Timing
from trio_sentinel.model.values import (
    Address,
    Epoch,
    Kind,
    Millis,
    Role,
    RunId,
    ServerLink,
    Subject,
    canonical_ip,
    is_ip,
)


class Manner(enum.Enum):
    """Why a failover runs: nobody answers, an operator insists, or an operator asks for a clean handover."""

    AUTOMATIC = "automatic"
    FORCED = "forced"
    COORDINATED = "coordinated"


class Reconf(enum.Enum):
    """How far a replica is on its way to the promoted master (core.md 11.5)."""

    NONE = "none"
    SENT = "sent"
    IN_PROGRESS = "in progress"
    DONE = "done"
    SENT_AGAIN = "sent again"  # timed out: counts as done, and the order was repeated once


@frozen
class WaitingForVotes:
    """`wait_start`: asking the peers for their votes. ``vote_saved`` once our own vote is on disk and may be heard."""

    vote_saved: bool


@frozen
class SelectingReplica:
    """`select_slave`: elected; choosing whom to promote. Passed through at once."""


@frozen
class SendingPromotion:
    """`send_slaveof_noone`: the chosen replica (or, coordinated, the master) must be reachable to get the order."""

    candidate: Address
    paused_at_ms: Millis | None = None
    """Coordinated: when the master was asked to hold its writers back until the candidate has caught up."""


@frozen
class WaitingForPromotion:
    """`wait_promotion`: the order is out; INFO of the candidate must say role:master."""

    candidate: Address


@frozen
class ReconfiguringReplicas:
    """`reconf_slaves`: the candidate is master. ``published`` once that is on disk and may be told (property 15)."""

    promoted: Address
    published: bool


@frozen
class UpdatingConfig:
    """`update_config`: all done or out of time; the switch follows in the same settling."""

    promoted: Address


Phase: TypeAlias = (
    WaitingForVotes | SelectingReplica | SendingPromotion | WaitingForPromotion | ReconfiguringReplicas | UpdatingConfig
)

PHASE_WORDS: dict[type[Phase], str] = {
    WaitingForVotes: "wait_start",
    SelectingReplica: "select_slave",
    SendingPromotion: "send_slaveof_noone",
    WaitingForPromotion: "wait_promotion",
    ReconfiguringReplicas: "reconf_slaves",
    UpdatingConfig: "update_config",
}
"""The words that ``SENTINEL MASTER`` shows as failover-state, in the order of the phases."""


@frozen(kw_only=True)
class Failover:
    """A failover that this sentinel runs for one master."""

    epoch: Epoch
    manner: Manner
    phase: Phase
    phase_since_ms: Millis

    @property
    def holds_writers_back(self) -> bool:
        """Whether writers wait at the master for the end of a coordinated failover."""
        match self.phase:
            case SendingPromotion(_, paused_at_ms):
                return paused_at_ms is not None
            case WaitingForPromotion():
                return self.manner is Manner.COORDINATED
            case _:
                return False

    @property
    def asks_for_votes(self) -> bool:
        """Whether others may have heard of it and it is not decided yet."""
        return isinstance(self.phase, WaitingForVotes) and self.phase.vote_saved

    @property
    def promoted(self) -> Address | None:
        """The chosen replica, set from `send_slaveof_noone` on (property 24)."""
        match self.phase:
            case SendingPromotion(candidate) | WaitingForPromotion(candidate):
                return candidate
            case ReconfiguringReplicas(promoted) | UpdatingConfig(promoted):
                return promoted
            case _:
                return None


@define(kw_only=True)
class Replica:
    """A server that replicates from a master, or should."""

    address: Address
    run_id: str | None = None
    role: Role = Role.REPLICA
    role_since_ms: Millis = 0
    s_down: bool = False
    s_down_since_ms: Millis | None = None
    """Last *entry* into S_DOWN; kept when the replica comes back (core.md 5.3, no-down-for)."""
    reconf: Reconf = Reconf.NONE
    reconf_sent_at_ms: Millis | None = None

    @property
    def being_reconfigured(self) -> bool:
        """Whether it has the order to follow the promoted one and counts for `parallel-syncs`."""
        return self.reconf in (Reconf.SENT, Reconf.IN_PROGRESS)


@define(kw_only=True)
class Peer:
    """Another sentinel, as one master knows it."""

    run_id: RunId
    address: Address
    s_down: bool = False
    s_down_since_ms: Millis | None = None


@define(kw_only=True)
class Master:
    """One monitored master with everything decided about it."""

    name: str
    address: Address
    settings: MasterSettings
    config_epoch: Epoch = 0
    leader_epoch: Epoch = 0
    """Epoch of my last vote; only rises, survives switch, reset and restart."""
    voted_for: RunId | None = None
    attempt_at_ms: Millis | None = None
    """`failover_start_time`: my last attempt or vote for another, moved by up to 1 s; None = never."""
    failover_epoch: Epoch = 0
    failover: Failover | None = None
    stand_at_ms: Millis | None = None
    """Once ODOWN: when I stand for election unless somebody else stood first."""
    lost_elections: int = 0
    """My own elections lost in a row; a vote for another, a switch or a reset ends the row."""
    run_id: str | None = None
    role: Role = Role.MASTER
    role_since_ms: Millis = 0
    s_down: bool = False
    s_down_since_ms: Millis | None = None
    o_down: bool = False
    o_down_since_ms: Millis | None = None
    rebooting_since_ms: Millis | None = None
    replicas: dict[Address, Replica] = Factory(dict)
    peers: dict[RunId, Peer] = Factory(dict)

    @property
    def voters(self) -> int:
        """Known sentinels of this master, up or down, and myself (core.md 10.1)."""
        return len(self.peers) + 1

    @property
    def votes_needed(self) -> int:
        """How many votes make a leader: a majority of the voters and at least the quorum."""
        return max(self.voters // 2 + 1, self.settings.quorum)

    @property
    def current_address(self) -> Address:
        """What clients and peers are told: the promoted replica once its promotion is durable (property 23)."""
        if self.failover is not None:
            match self.failover.phase:
                case ReconfiguringReplicas(promoted, True) | UpdatingConfig(promoted):
                    return promoted
                case _:
                    pass
        return self.address

    def link(self, address: Address | None = None) -> ServerLink:
        """The link to the server at `address`, by default to the master itself."""
        return ServerLink(self.name, self.address if address is None else address)


@define(kw_only=True)
class SentinelState:
    """Everything one sentinel process has decided."""

    my_id: RunId
    own_port: int = 0
    """The port that hellos announce unless `announce-port` says otherwise."""
    current_epoch: Epoch = 0
    settings: GlobalSettings = Factory(GlobalSettings)
    timing: Timing = Factory(Timing)
    masters: dict[str, Master] = Factory(dict)
    tilt_since_ms: Millis | None = None
    total_tilt: int = 0
    crash_after_election: bool = False
    crash_after_promotion: bool = False
    disk_failing: bool = False
    """The last save failed: no new vote, no new attempt until one succeeds (core.md Q3)."""
    names: dict[str, str] = Factory(dict)
    """Resolved host names: name -> numeric IP."""

    def ip(self, host: str) -> str:
        """The numeric form of `host`; empty while a name is not resolved."""
        return canonical_ip(host) or self.names.get(host, "")

    def shown(self, host: str) -> str:
        """The announce form of `host` (core.md 1.5)."""
        return host if self.settings.announce_hostnames else self.ip(host)

    def same_host(self, one: str, other: str) -> bool:
        """Whether two hosts are the same machine; two unresolved names never compare equal by IP (core.md Q18)."""
        if one.lower() == other.lower():
            return True
        ip = self.ip(one)
        return ip != "" and ip == self.ip(other)

    def place(self, address: Address) -> tuple[str, int]:
        """Equal for two addresses that are known to be one, to count or look up many."""
        return self.ip(address.host) or address.host.lower(), address.port

    def same_address(self, one: Address, other: Address) -> bool:
        """Whether two addresses name the same process."""
        return one.port == other.port and self.same_host(one.host, other.host)

    def told_as_one(self, one: Address, other: Address) -> bool:
        """Whether a configuration that names `other` means the server at `one`. Two names count as two servers even if
        they resolve to one address now: a name service that is wrong for a moment must not let the epoch of one address
        be taken for another's (core.md Q5)."""
        if not self.same_address(one, other):
            return False
        return one.host.lower() == other.host.lower() or is_ip(one.host) or is_ip(other.host)

    def subject_of_master(self, master: Master) -> Subject:
        """The instance text of a master, with its configured address."""
        host = self.shown(master.address.host)
        return Subject(
            kind=Kind.MASTER,
            name=master.name,
            host=host,
            port=master.address.port,
            master=master.name,
            master_host=host,
            master_port=master.address.port,
        )

    def subject_of_replica(self, master: Master, address: Address) -> Subject:
        """The instance text of a replica of `master`."""
        host = self.shown(address.host)
        return Subject(
            kind=Kind.REPLICA,
            name=str(Address(host, address.port)),
            host=host,
            port=address.port,
            master=master.name,
            master_host=self.shown(master.address.host),
            master_port=master.address.port,
        )

    def subject_of_peer(self, master: Master, run_id: RunId, address: Address) -> Subject:
        """The instance text of another sentinel of `master`."""
        return Subject(
            kind=Kind.PEER,
            name=run_id,
            host=self.shown(address.host),
            port=address.port,
            master=master.name,
            master_host=self.shown(master.address.host),
            master_port=master.address.port,
        )
