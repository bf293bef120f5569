"""What a rule may look at: state, senses, the time and the dice. Rules read it and write nothing."""

from __future__ import annotations

from typing import Protocol

from attrs import Factory, define

from trio_sentinel.model.events import Release
from trio_sentinel.model.observations import NEVER_MS, Observations, Opinion, PeerSense, ServerSense, Watch
from trio_sentinel.model.state import Master, Replica, SendingPromotion, SentinelState
from trio_sentinel.model.values import Address, Hello, Millis, Role, RunId

STILL_REPLICA_MS = 2000
"""A candidate whose last INFO is older than this may have been promoted since."""


class Dice(Protocol):
    """Where random numbers come from; a drawn number is stored in the event it decides."""

    def below(self, limit: int) -> int:
        """A uniform integer in 0..limit-1."""


@define(eq=False)
class Pace:
    """How probes are timed with so many masters and links as there are now (``rhythm.py``)."""

    phase_ms: Millis = 0
    """Where the wheel of this sentinel stands: not all sentinels probe in the same millisecond."""
    grid_ms: Millis = 0
    """How far apart neighbours on the wheel are; 0 while there are so few that they share one wake-up."""
    ping_ms: Millis = NEVER_MS
    """The longest PING period."""
    pings_a_second: int = 0
    """What may be spent to PING more often than stock does where few are watched."""


@define(eq=False)
class Situation:
    """One moment of one sentinel."""

    state: SentinelState
    senses: Observations
    dice: Dice
    now_ms: Millis
    pace: Pace = Factory(Pace)
    disturbed: list[Watch] = Factory(list)
    """What was heard made something due there sooner than the engine means to look."""
    hellos: dict[str, Hello] = Factory(dict)
    """What I say of each master, until something is decided that it tells of."""
    candidacies: dict[str, None] = Factory(dict)
    """The masters for which I stand for election now."""

    def server(self, master: Master, address: Address | None = None) -> ServerSense:
        """What is perceived of the server at `address`, by default of the master itself."""
        return self.senses.servers[master.name, master.address if address is None else address]

    def opinion(self, master: Master, run_id: RunId) -> Opinion:
        """What a peer last said about `master`."""
        return self.senses.opinions[master.name, run_id]

    def peer(self, run_id: RunId) -> PeerSense:
        """What is perceived of another sentinel process."""
        return self.senses.peers[run_id]

    def awaits_ip(self, host: str) -> bool:
        """Whether the address of `host` is still being asked for: nothing is concluded from its name before. A name
        that has no address any more, as that of a dead container, is compared as it is written."""
        return self.state.ip(host) == "" and host not in self.senses.nameless

    def same_server(self, one: Master | Replica, other: Master | Replica) -> bool:
        """Whether two records are of one server: at the same address, or the same process at two addresses. Told to
        follow the other, it would follow itself."""
        if one.run_id is not None and one.run_id == other.run_id:
            return True
        return self.state.same_address(one.address, other.address)

    def fresh(self, opinion: Opinion) -> bool:
        """Whether an opinion still counts: at most five asking periods old (core.md 7.3)."""
        return self.now_ms - opinion.answered_at_ms <= 5 * self.state.timing.ask_period_ms

    def election_ms(self, master: Master) -> Millis:
        """How long an election may take (core.md 11.2)."""
        return min(self.state.timing.election_timeout_ms, master.settings.failover_timeout_ms)

    def sane(self, master: Master) -> bool:
        """Whether the master is well enough to order others to follow it (core.md 5.3)."""
        sense = self.server(master)
        return (
            master.role is Role.MASTER
            and not master.s_down
            and not master.o_down
            and sense.info_at_ms is not None
            and self.now_ms - sense.info_at_ms < 2 * self.state.timing.info_period_ms
        )

    def release(self, master: Master) -> Release | None:
        """How a master that holds its writers back for a coordinated failover can go on as before, if at all.

        Once it was ordered to hand over, only while the candidate is known to be a replica still: a handover that is
        called off when it is done would leave two masters. Otherwise its own timeout ends it.
        """
        running = master.failover
        if running is None or not running.holds_writers_back:
            return None
        if isinstance(running.phase, SendingPromotion):
            return Release.UNPAUSE
        candidate = None if running.promoted is None else master.replicas.get(running.promoted)
        if candidate is None or candidate.role is not Role.REPLICA or candidate.s_down:
            return None
        heard_at_ms = self.server(master, candidate.address).info_at_ms
        if heard_at_ms is None or self.now_ms - heard_at_ms > STILL_REPLICA_MS:
            return None
        return Release.CALL_OFF

    def up_for(self, replica: Replica, length_ms: Millis) -> bool:
        """Whether `replica` did not enter S_DOWN within the last `length_ms` (core.md 5.3, no-down-for)."""
        since = replica.s_down_since_ms
        return since is None or self.now_ms - since > length_ms
