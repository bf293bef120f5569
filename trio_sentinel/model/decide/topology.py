"""Replicas and peers found, moved or lost, and servers that follow the wrong master (core.md 5 and 6).

Every hello and INFO is checked before anything is believed: an unusable address changes nothing (core.md Q5, Q11).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from trio_sentinel.model.events import (
    Abort,
    ConfigEpochAdopted,
    EpochRaised,
    Event,
    FailoverAborted,
    MasterSwitched,
    PeerAddressSpread,
    PeerEvicted,
    PeerFound,
    PeerMoved,
    RebootOver,
    ReplicaConverted,
    ReplicaFound,
    ReplicaRepointed,
    RoleReported,
    ServerIdentified,
    ServerRebooted,
)
from trio_sentinel.model.situation import Situation
from trio_sentinel.model.state import (
    Failover,
    Master,
    ReconfiguringReplicas,
    Replica,
    UpdatingConfig,
    WaitingForVotes,
)
from trio_sentinel.model.values import Address, Hello, InfoReading, Role, RunId, Subject, is_ip

MAX_REPLICAS = 1024
MAX_PEERS = 512
"""More than these for one master are ignored: whoever can write to a server could otherwise fill our memory."""

CORRECTION_GAP_MS = 1000
"""A replica that does not obey is told again no sooner than this. The order brings an INFO reply of its own, so that
one that cannot obey (an access list without SLAVEOF) would get the next order at once, and so on for ever."""

MAX_NAMES = 10_000
"""Host names remembered before hearsay adds no more."""

Switch = Callable[[Situation, Master, Address, int, Subject], MasterSwitched]


def usable(s: Situation, address: Address) -> bool:
    """Whether an address heard from others can be taken: a number, or a name while names are resolved (core.md 1.5)."""
    if not 0 <= address.port <= 65535 or not address.host:
        return False
    return s.state.settings.resolve_hostnames or is_ip(address.host)


def subject_of(s: Situation, master: Master, replica: Replica | None) -> Subject:
    """The subject of a server: the master itself for None."""
    return s.state.subject_of_master(master) if replica is None else s.state.subject_of_replica(master, replica.address)


# ---------------------------------------------------------------- INFO


def hear_info(s: Situation, master: Master, replica: Replica | None, reading: InfoReading) -> Iterator[Event]:
    """Who the server is, which replicas it names, which role it plays (core.md 5.1, 5.2); also in TILT."""
    server = master if replica is None else replica
    if reading.run_id is not None and reading.run_id != server.run_id:
        yield _identity(s, master, replica, reading.run_id)
    if replica is None:
        yield from _new_replicas(s, master, reading)
    if reading.role is not None and reading.role is not server.role:
        yield RoleReported(
            subject=subject_of(s, master, replica), address=server.address, role=reading.role, at_ms=s.now_ms
        )


def _identity(s: Situation, master: Master, replica: Replica | None, run_id: str) -> Event:
    server = master if replica is None else replica
    subject = subject_of(s, master, replica)
    if server.run_id is None:
        return ServerIdentified(subject=subject, address=server.address, run_id=run_id)
    waiting = replica is None and master.settings.reboot_down_after_ms > 0
    return ServerRebooted(subject=subject, address=server.address, run_id=run_id, waiting=waiting, at_ms=s.now_ms)


def _new_replicas(s: Situation, master: Master, reading: InfoReading) -> Iterator[Event]:
    count = len(master.replicas)
    known = {place for address in (master.address, *master.replicas) for place in _places(s, address)}
    for address in reading.replicas:
        if count >= MAX_REPLICAS:
            return
        places = _places(s, address)
        if usable(s, address) and known.isdisjoint(places):
            known.update(places)
            count += 1
            subject = s.state.subject_of_replica(master, address)
            yield ReplicaFound(subject=subject, address=address, at_ms=s.now_ms)


def _places(s: Situation, address: Address) -> tuple[tuple[str, int], ...]:
    """What two addresses of the same process have in common (`SentinelState.same_address`), to look up many at once."""
    ip = s.state.ip(address.host)
    name = (address.host.lower(), address.port)
    return (name, (ip, address.port)) if ip else (name,)


def correct(s: Situation, master: Master, replica: Replica, reading: InfoReading) -> Iterator[Event]:
    """Bring back a replica that plays master or follows somebody else (core.md 5.3 C, D, E; property 18).

    Roles are heard of each ten seconds, so one that was a master then may have been a replica in between and be
    promoted just now. The wait begins anew with an attempt, mine or one that I voted for: the leader's hello comes
    within it.
    """
    failover = master.failover
    if (failover is not None and failover.promoted == replica.address) or not s.sane(master):
        return
    if s.same_server(replica, master):
        return  # the master under another name: nobody is told to follow itself
    sense = s.server(master, replica.address)
    if sense.corrected_at_ms is not None and s.now_ms - sense.corrected_at_ms < CORRECTION_GAP_MS:
        return
    if reading.role is Role.MASTER:
        patience_ms = 4 * s.state.timing.publish_period_ms
        since_ms = max(replica.role_since_ms, master.attempt_at_ms or 0)
        settled = s.up_for(replica, patience_ms) and s.now_ms - since_ms > patience_ms
        if settled and not _may_be_replaced(s, master):
            yield ReplicaConverted(subject=subject_of(s, master, replica), address=replica.address)
        return
    if reading.role is not Role.REPLICA:
        return
    patience_ms = master.settings.failover_timeout_ms
    if not s.up_for(replica, patience_ms):
        return
    hangs = sense.handing_over and s.now_ms - sense.failover_state_since_ms > patience_ms
    strays = _follows_another(s, master, replica) and s.now_ms - sense.conf_changed_at_ms > patience_ms
    if hangs or strays:
        yield ReplicaRepointed(subject=subject_of(s, master, replica), address=replica.address)


def _may_be_replaced(s: Situation, master: Master) -> bool:
    """Whether the master leaves a PING unanswered for so long that others may have called it down."""
    since_ms = s.server(master).ping_since_ms
    return since_ms is not None and s.now_ms - since_ms > master.settings.down_after_ms // 2


def _follows_another(s: Situation, master: Master, replica: Replica) -> bool:
    sense = s.server(master, replica.address)
    if sense.master_host is None:
        return False
    if s.state.settings.resolve_hostnames and s.awaits_ip(sense.master_host):
        return False  # it may be the right one
    right = sense.master_port == master.address.port and s.state.same_host(sense.master_host, master.address.host)
    return not right


def hear_pong(s: Situation, master: Master, text: str) -> Iterator[Event]:
    """A rebooted master that says PONG is back (core.md 5.4)."""
    if master.rebooting_since_ms is not None and text.startswith("PONG"):
        yield RebootOver(subject=s.state.subject_of_master(master))


# ---------------------------------------------------------------- hello


def hear_hello(s: Situation, hello: Hello, switch: Switch) -> Iterator[Event]:
    """What a hello means, step by step (core.md 6.2); also in TILT (Q20)."""
    master = s.state.masters.get(hello.master)
    if master is None or hello.run_id == s.state.my_id:  # property 28; core.md Q10
        return
    address = Address(hello.host, hello.port)
    known = master.peers.get(hello.run_id)
    if _is_mine(s, master, address):
        return
    if known is None:
        if not usable(s, address) or len(master.peers) >= MAX_PEERS:
            return
        yield from _peer_arrives(s, master, hello.run_id, address)
    elif not s.state.same_address(known.address, address) and usable(s, address):
        yield from _peer_moves(s, master, hello.run_id, address)
    highest = max(hello.current_epoch, hello.config_epoch)  # rule R5
    if highest > s.state.current_epoch:
        yield EpochRaised(epoch=highest, subject=s.state.subject_of_master(master))
    if hello.config_epoch > master.config_epoch:
        yield from _newer_configuration(s, master, hello, switch)


def meet_peer(s: Situation, run_id: RunId, local_host: str) -> Iterator[Event]:
    """A connection to a peer was made from `local_host`. If it leads to my own place I have met myself: the peer is
    gone and its address was given to me. My own hello tells everybody else so (core.md 6.2, 3b); here the record would
    add my own voice to mine."""
    for master in s.state.masters.values():
        peer = master.peers.get(run_id)
        if peer is not None and _is_my_place(s, peer.address, local_host):
            yield PeerEvicted(subject=s.state.subject_of_peer(master, run_id, peer.address), run_id=run_id)
            return


def _is_mine(s: Situation, master: Master, address: Address) -> bool:
    """Whether a hello names the place where I listen.

    A server may deliver late what an earlier identity of mine said there, before my file was lost or written anew.
    Taken for a peer it would be asked for its vote, at my own port, and I would count my vote twice (property 7).
    """
    return any(_is_my_place(s, address, s.server(master, at).local_host) for at in (master.address, *master.replicas))


def _is_my_place(s: Situation, address: Address, local_host: str | None) -> bool:
    """Whether `address` is what I announce over a connection made from `local_host` (core.md 6.1), or where I really
    am: an operator may let me announce another sentinel's address, and that one mine."""
    settings, port = s.state.settings, s.state.own_port
    places = [(settings.announce_ip or local_host, settings.announce_port or port), (local_host, port)]
    return any(host is not None and s.state.same_address(address, Address(host, at)) for host, at in places)


def _evicted_from(s: Situation, master: Master, run_id: RunId, address: Address) -> Iterator[Event]:
    """Whoever else is known at the address of `run_id` is not there any more."""
    for other in master.peers.values():
        if other.run_id != run_id and s.state.same_address(other.address, address):
            subject = s.state.subject_of_peer(master, other.run_id, other.address)
            yield PeerEvicted(subject=subject, run_id=other.run_id)


def _peer_arrives(s: Situation, master: Master, run_id: RunId, address: Address) -> Iterator[Event]:
    yield from _evicted_from(s, master, run_id, address)
    subject = s.state.subject_of_peer(master, run_id, address)
    yield PeerFound(subject=subject, run_id=run_id, address=address, at_ms=s.now_ms)


def _peer_moves(s: Situation, master: Master, run_id: RunId, address: Address) -> Iterator[Event]:
    """Stock leaves another id at the new address in place, and asks the one process there twice."""
    yield from _evicted_from(s, master, run_id, address)
    yield PeerMoved(
        subject=s.state.subject_of_master(master),
        run_id=run_id,
        address=address,
        shown_host=s.state.shown(address.host),
        at_ms=s.now_ms,
    )
    count = sum(1 for other in s.state.masters.values() if other is not master and run_id in other.peers)
    if count:
        subject = s.state.subject_of_peer(master, run_id, address)
        yield PeerAddressSpread(subject=subject, run_id=run_id, address=address, count=count)


def _newer_configuration(s: Situation, master: Master, hello: Hello, switch: Switch) -> Iterator[Event]:
    """Address and epoch change together or not at all (core.md Q5, property 21).

    A promotion of my own counts from the moment it was seen, published or not: only a higher epoch than its own
    overtakes it (property 17), and then even a hello with the old address ends it. Before that moment a configuration
    under my own epoch ends the attempt as well: another address must not be told under a number that is used.
    """
    new = Address(hello.master_host, hello.master_port)
    running = master.failover
    promoted = running is not None and isinstance(running.phase, ReconfiguringReplicas | UpdatingConfig)
    if not usable(s, new) or new.port == 0:
        return
    if promoted and running is not None and hello.config_epoch <= running.epoch:
        return
    if s.state.ip(new.host) == "" or s.awaits_ip(master.address.host):
        return  # Not resolved yet: it may be the same machine. The next hello comes in two seconds.
    if s.state.told_as_one(master.address, new) and not promoted:
        if running is not None and hello.config_epoch >= running.epoch:  # in mine: both were forced by operators
            yield FailoverAborted(
                subject=s.state.subject_of_master(master),
                reason=_given_up(running),
                release=s.release(master),
                at_ms=s.now_ms,
            )
        yield ConfigEpochAdopted(subject=s.state.subject_of_master(master), epoch=hello.config_epoch)
        return
    by = s.state.subject_of_peer(master, hello.run_id, Address(hello.host, hello.port))
    yield switch(s, master, new, hello.config_epoch, by)


def _given_up(failover: Failover) -> Abort:
    return Abort.NOT_ELECTED if isinstance(failover.phase, WaitingForVotes) else Abort.REPLICA_TIMEOUT


def doubted(s: Situation, master: Master, reading: InfoReading) -> Iterator[str]:
    """The names that one INFO makes doubtful; they are asked again.

    Two that lead to one process: one of them lies, or did when we connected, and a dead server would pass for alive for
    as long as the other one answers in its place. The master's, when a replica that was given that name has no link to
    it, or when who is there is a replica, or knows none of those that are linked to it: they may have been led
    elsewhere than we are, or we were when we connected. And one that is told here and leads to where a known one
    leads, with that one: they were taken for one server, and nobody is connected to the other.
    """
    if not s.state.settings.resolve_hostnames:
        return
    servers = ((master.address, master.run_id), *((one.address, one.run_id) for one in master.replicas.values()))
    same = [address.host for address, known in servers if known is not None and known == reading.run_id]
    names = same if len(same) > 1 else []
    replica = reading.role is Role.REPLICA
    unlinked = replica and not reading.master_link_up and reading.master_host == master.address.host
    if unlinked or (reading.run_id == master.run_id and (replica or _knows_no_replica(s, master, reading))):
        names = [*names, master.address.host]
    names = [*names, *_aliases(s, {address.host for address, _ in servers}, reading)]
    yield from (name for name in dict.fromkeys(names) if not is_ip(name))


def _knows_no_replica(s: Situation, master: Master, reading: InfoReading) -> bool:
    """Whether there are replicas that say they are linked to `master`, and its own INFO has none of them."""
    senses = ((address, s.server(master, address)) for address in master.replicas)
    host = master.address.host
    linked = [
        address for address, sense in senses if sense.master_link_up and sense.announced and sense.master_host == host
    ]
    return bool(linked) and not any(s.state.same_address(one, other) for one in reading.replicas for other in linked)


def _aliases(s: Situation, known: set[str], reading: InfoReading) -> Iterator[str]:
    """The hosts in `reading` that are none of the `known` ones and lead to where one of them does, and that one."""
    for host in (reading.master_host, *(address.host for address in reading.replicas)):
        if host and host not in known and (same := [other for other in known if s.state.same_host(host, other)]):
            yield from (host, *sorted(same))


def unresolved(s: Situation, *hosts: str | None) -> Iterator[str]:
    """Those of `hosts` that are names and have no address yet; none while names are not resolved at all.

    They are names that others told us, so there is a limit to how many are remembered.
    """
    if s.state.settings.resolve_hostnames and len(s.state.names) < MAX_NAMES:
        for host in hosts:
            if host and s.state.ip(host) == "":
                yield host
