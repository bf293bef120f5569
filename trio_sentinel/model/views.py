"""Read-only snapshots of masters, replicas and peers: for replies, INFO, metrics and users of the library.

Made from the state and the senses at one moment; nothing here changes when they do. Lengths of time are in ms.
Where a sense is missing (just monitored), the value is that of an instance never heard of.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from trio_sentinel.model.observations import LinkSense, Observations, Opinion, ServerSense
from trio_sentinel.model.state import PHASE_WORDS, Manner, Master, Peer, Reconf, Replica, SentinelState
from trio_sentinel.model.values import Address, Epoch, Millis


@frozen(kw_only=True)
class LinkView:
    """The probing of one process. ``ping_pending_ms`` is 0 when no PING is unanswered."""

    pending_commands: int
    refcount: int
    ping_pending_ms: Millis
    ok_ping_ago_ms: Millis
    any_ping_ago_ms: Millis


@frozen(kw_only=True)
class MasterView:
    """One master. ``host`` is as announced; ``current`` is what clients are sent to (7.4 of commands.md)."""

    name: str
    host: str
    port: int
    current_host: str
    current_port: int
    run_id: str | None
    flags: tuple[str, ...]
    link: LinkView
    failover_state: str | None
    s_down_ms: Millis | None
    o_down_ms: Millis | None
    down_after_ms: Millis
    info_ago_ms: Millis
    role_reported: str
    role_reported_ms: Millis
    config_epoch: Epoch
    replicas: int
    peers: int
    quorum: int
    failover_timeout_ms: Millis
    parallel_syncs: int
    notification_script: str | None
    client_reconfig_script: str | None

    @property
    def address(self) -> Address:
        """Where clients write: the promoted replica from the moment its promotion is durable."""
        return Address(self.current_host, self.current_port)


@frozen(kw_only=True)
class ReplicaView:
    """One replica. ``master_host`` is what the replica itself reports, None before its first INFO."""

    name: str
    host: str
    port: int
    run_id: str | None
    flags: tuple[str, ...]
    link: LinkView
    s_down_ms: Millis | None
    down_after_ms: Millis
    info_ago_ms: Millis
    role_reported: str
    role_reported_ms: Millis
    master_link_down_ms: Millis
    master_link_up: bool
    master_host: str | None
    master_port: int
    priority: int
    repl_offset: int
    announced: bool


@frozen(kw_only=True)
class PeerView:
    """Another sentinel, as one master knows it."""

    run_id: str
    host: str
    port: int
    flags: tuple[str, ...]
    link: LinkView
    s_down_ms: Millis | None
    down_after_ms: Millis
    hello_ago_ms: Millis
    voted_leader: str | None
    voted_leader_epoch: Epoch


@frozen(kw_only=True)
class QuorumView:
    """What CKQUORUM finds: sentinels that are up (this one included), and whether they suffice."""

    usable: int
    voters: int
    quorum_reached: bool
    majority_reached: bool


def _words(*pairs: tuple[bool, str]) -> tuple[str, ...]:
    return tuple(word for true, word in pairs if true)


def _ago(at_ms: Millis | None, now_ms: Millis) -> Millis:
    return 0 if at_ms is None else max(0, now_ms - at_ms)


def _for(is_so: bool, since_ms: Millis | None, now_ms: Millis) -> Millis | None:
    """How long a condition holds; None when it does not."""
    return _ago(since_ms, now_ms) if is_so else None


def _link(sense: LinkSense | None, refcount: int, now_ms: Millis) -> LinkView:
    if sense is None:
        return LinkView(pending_commands=0, refcount=refcount, ping_pending_ms=0, ok_ping_ago_ms=0, any_ping_ago_ms=0)
    return LinkView(
        pending_commands=sense.pending,
        refcount=refcount,
        ping_pending_ms=_ago(sense.ping_since_ms, now_ms),
        ok_ping_ago_ms=_ago(sense.last_ok_at_ms, now_ms),
        any_ping_ago_ms=_ago(sense.last_pong_at_ms, now_ms),
    )


def _unlinked(sense: ServerSense | None) -> bool:
    """A server needs both its connections."""
    return sense is None or not (sense.command.open and sense.pubsub.open)


def view_of_master(state: SentinelState, senses: Observations, master: Master, now_ms: Millis) -> MasterView:
    """One master, now."""
    sense = senses.servers.get((master.name, master.address))
    running = master.failover
    current = master.current_address
    settings = master.settings
    host = state.shown(master.address.host)
    return MasterView(
        name=master.name,
        host=host,
        port=master.address.port,
        current_host=host if current is master.address else state.shown(current.host),
        current_port=current.port,
        run_id=master.run_id,
        flags=_words(
            (master.s_down, "s_down"),
            (master.o_down, "o_down"),
            (True, "master"),
            (_unlinked(sense), "disconnected"),
            (running is not None, "failover_in_progress"),
            (running is not None and running.manner is Manner.FORCED, "force_failover"),
            (running is not None and running.manner is Manner.COORDINATED, "coordinated_failover"),
            (sense is not None and sense.script_kill_sent, "script_kill_sent"),
            (master.rebooting_since_ms is not None, "master_reboot"),
        ),
        link=_link(sense, 1, now_ms),
        failover_state=None if running is None else PHASE_WORDS[type(running.phase)],
        s_down_ms=_for(master.s_down, master.s_down_since_ms, now_ms),
        o_down_ms=_for(master.o_down, master.o_down_since_ms, now_ms),
        down_after_ms=settings.down_after_ms,
        info_ago_ms=0 if sense is None else _ago(sense.info_at_ms, now_ms),
        role_reported=master.role.value,
        role_reported_ms=_ago(master.role_since_ms, now_ms),
        config_epoch=master.config_epoch,
        replicas=len(master.replicas),
        peers=len(master.peers),
        quorum=settings.quorum,
        failover_timeout_ms=settings.failover_timeout_ms,
        parallel_syncs=settings.parallel_syncs,
        notification_script=settings.notification_script,
        client_reconfig_script=settings.client_reconfig_script,
    )


def view_of_replica(
    state: SentinelState, senses: Observations, master: Master, replica: Replica, now_ms: Millis
) -> ReplicaView:
    """One replica of `master`, now."""
    address = replica.address
    sense = senses.servers.get((master.name, address))
    promoted = master.failover is not None and master.failover.promoted == address
    again = replica.reconf is Reconf.SENT_AGAIN
    host = state.shown(address.host)
    return ReplicaView(
        name=str(Address(host, address.port)),
        host=host,
        port=address.port,
        run_id=replica.run_id,
        flags=_words(
            (replica.s_down, "s_down"),
            (True, "slave"),
            (_unlinked(sense), "disconnected"),
            (promoted, "promoted"),
            (again or replica.reconf is Reconf.SENT, "reconf_sent"),
            (replica.reconf is Reconf.IN_PROGRESS, "reconf_inprog"),
            (again or replica.reconf is Reconf.DONE, "reconf_done"),
            (sense is not None and sense.script_kill_sent, "script_kill_sent"),
        ),
        link=_link(sense, 1, now_ms),
        s_down_ms=_for(replica.s_down, replica.s_down_since_ms, now_ms),
        down_after_ms=master.settings.down_after_ms,
        info_ago_ms=0 if sense is None else _ago(sense.info_at_ms, now_ms),
        role_reported=replica.role.value,
        role_reported_ms=_ago(replica.role_since_ms, now_ms),
        master_link_down_ms=0 if sense is None else sense.master_link_down_ms,
        master_link_up=sense is not None and sense.master_link_up,
        master_host=None if sense is None else sense.master_host,
        master_port=0 if sense is None else sense.master_port,
        priority=100 if sense is None else sense.priority,
        repl_offset=0 if sense is None else sense.repl_offset,
        announced=sense is None or sense.announced,
    )


def view_of_peer(state: SentinelState, senses: Observations, master: Master, peer: Peer, now_ms: Millis) -> PeerView:
    """One other sentinel of `master`, now."""
    sense = senses.peers.get(peer.run_id)
    opinion: Opinion | None = senses.opinions.get((master.name, peer.run_id))
    sharing = sum(peer.run_id in other.peers for other in state.masters.values())
    return PeerView(
        run_id=peer.run_id,
        host=state.shown(peer.address.host),
        port=peer.address.port,
        flags=_words(
            (peer.s_down, "s_down"),
            (True, "sentinel"),
            (sense is None or not sense.command.open, "disconnected"),
            (opinion is not None and opinion.master_down, "master_down"),
        ),
        link=_link(sense, sharing, now_ms),
        s_down_ms=_for(peer.s_down, peer.s_down_since_ms, now_ms),
        down_after_ms=master.settings.down_after_ms,
        hello_ago_ms=0 if opinion is None else _ago(opinion.hello_at_ms, now_ms),
        voted_leader=None if opinion is None else opinion.voted_for,
        voted_leader_epoch=0 if opinion is None else opinion.vote_epoch,
    )


def masters(state: SentinelState, senses: Observations, now_ms: Millis) -> tuple[MasterView, ...]:
    """All masters, in the order in which they were added."""
    return tuple(view_of_master(state, senses, master, now_ms) for master in state.masters.values())


def replicas(state: SentinelState, senses: Observations, master: Master, now_ms: Millis) -> tuple[ReplicaView, ...]:
    """All known replicas of `master`, also those that do not want to be announced."""
    return tuple(view_of_replica(state, senses, master, replica, now_ms) for replica in master.replicas.values())


def peers(state: SentinelState, senses: Observations, master: Master, now_ms: Millis) -> tuple[PeerView, ...]:
    """All other sentinels of `master`."""
    return tuple(view_of_peer(state, senses, master, peer, now_ms) for peer in master.peers.values())


def ckquorum(master: Master) -> QuorumView:
    """Whether the sentinels that are up can agree and elect (commands.md 7.2)."""
    usable = 1 + sum(not peer.s_down for peer in master.peers.values())
    return QuorumView(
        usable=usable,
        voters=master.voters,
        quorum_reached=usable >= master.settings.quorum,
        majority_reached=usable >= master.voters // 2 + 1,
    )


def matching_masters(state: SentinelState, fits: Callable[[str], bool]) -> tuple[str, ...]:
    """The names of the masters that `fits` accepts; the pattern language belongs to the caller."""
    return tuple(name for name in state.masters if fits(name))


def links_of(state: SentinelState) -> int:
    """How many connections to servers and peers there are when all of them answer."""
    peers = {run_id for master in state.masters.values() for run_id in master.peers}
    return len(peers) + sum(2 * (1 + len(master.replicas)) for master in state.masters.values())


def status_of(master: Master) -> str:
    """The word that INFO uses for a master: ``odown``, ``sdown`` or ``ok``."""
    return "odown" if master.o_down else "sdown" if master.s_down else "ok"
