"""What stock makes of replies, INFO and hellos (core.md 4.1, 5 and 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_sentinel.model import effects as fx
from trio_sentinel.model import events as e
from trio_sentinel.model import inputs as i
from trio_sentinel.model.state import Reconf, WaitingForPromotion
from trio_sentinel.model.values import MAX_EPOCH, Address, Hello, InfoReading, Millis, PeerLink, Role, is_ip
from trio_sentinel.sim import stock_failover as failover
from trio_sentinel.sim import stock_links as links
from trio_sentinel.sim import stock_watch as watch
from trio_sentinel.sim.stock_state import Sight, StockMaster, StockPeer, StockReplica

if TYPE_CHECKING:
    from trio_sentinel.sim.stock_mind import StockMind

ACCEPTABLE = ("PONG", "LOADING", "MASTERDOWN")


# ---------------------------------------------------------------- replies, core.md 4.1


def ping_answered(mind: StockMind, heard: i.PingAnswered) -> None:
    """Any reply is a PONG of some kind; only some of them show life."""
    probe = links.answered(mind, heard.link)
    if probe is None:
        return
    probe.last_pong_at_ms = mind.now_ms
    if heard.text.startswith(ACCEPTABLE):
        probe.last_ok_at_ms, probe.ping_since_ms = mind.now_ms, None
    if isinstance(heard.link, PeerLink):
        return
    master, sight = mind.master(heard.link.master), links.sight_of(mind, heard.link)
    if master is None or sight is None:
        return
    record = master if sight is master.sight else master.replicas[sight.probe.address]
    if record is master and heard.text.startswith("PONG"):
        master.rebooting_since_ms = None
    if heard.text.startswith("BUSY") and record.s_down and not sight.script_killed:
        sight.script_killed = True
        links.say(mind, probe, fx.KillScript(heard.link), answered=False)


def hello_accepted(mind: StockMind, heard: i.HelloAccepted) -> None:
    """[4.1] An error is tried again in the next tick."""
    links.answered(mind, heard.link)
    if not heard.ok:
        return
    if isinstance(heard.link, PeerLink):
        master = mind.master(heard.master)
        peer = None if master is None else master.peers.get(heard.link.run_id)
        if isinstance(peer, StockPeer):
            peer.published_at_ms = mind.now_ms
    elif (sight := links.sight_of(mind, heard.link)) is not None:
        sight.published_at_ms = mind.now_ms


def opinion_heard(mind: StockMind, heard: i.OpinionHeard) -> None:
    """[7.3] A malformed reply changes nothing."""
    links.answered(mind, heard.peer)
    master = mind.master(heard.master)
    peer = None if master is None else master.peers.get(heard.peer.run_id)
    if master is not None and isinstance(peer, StockPeer) and heard.down is not None:
        watch.hear_opinion(mind, master, peer, heard.down, heard.leader, heard.leader_epoch)


def pubsub_heard(mind: StockMind, heard: i.PubSubHeard) -> None:
    """The connection lives."""
    probe = links.probe_of(mind, heard.link)
    if probe is not None:
        probe.pubsub_heard_at_ms = mind.now_ms


# ---------------------------------------------------------------- INFO, core.md 5


def info_heard(mind: StockMind, heard: i.InfoHeard) -> None:
    """Believe it, and act on it outside TILT."""
    links.answered(mind, heard.link)
    master, sight, reading = mind.master(heard.link.master), links.sight_of(mind, heard.link), heard.reading
    if master is None or sight is None or reading is None or reading.role is None:
        return
    found = None if sight is master.sight else master.replicas[sight.probe.address]
    replica = found if isinstance(found, StockReplica) else None
    record = master if replica is None else replica
    if reading.run_id is not None and record.run_id != reading.run_id:
        _note_run_id(mind, master, record, sight.probe.address, reading.run_id)
    if replica is None:
        for address in reading.replicas:
            if address not in master.replicas and address != master.address:
                mind.add_replica(master, address)
                subject = mind.replica_subject(master, address)
                mind.emit(e.ReplicaFound(subject=subject, address=address, at_ms=mind.now_ms))
                mind.flush()
    _believe(mind, sight, reading)
    if reading.role is not record.role:
        record.role, record.role_since_ms = reading.role, mind.now_ms
        if reading.role is Role.REPLICA:
            sight.conf_changed_at_ms = mind.now_ms
        address = sight.probe.address
        subject = mind.subject(master) if replica is None else mind.replica_subject(master, address)
        mind.emit(e.RoleReported(subject=subject, address=address, role=reading.role, at_ms=mind.now_ms))
    if replica is not None and mind.state.tilt_since_ms is None:
        _act(mind, master, replica)


def _note_run_id(
    mind: StockMind, master: StockMaster, record: StockMaster | StockReplica, address: Address, run_id: str
) -> None:
    first, record.run_id = record.run_id is None, run_id
    subject = mind.subject(master) if record is master else mind.replica_subject(master, address)
    if first:
        mind.emit(e.ServerIdentified(subject=subject, address=address, run_id=run_id))
        return
    waiting = record is master and master.settings.reboot_down_after_ms != 0
    if waiting:
        master.rebooting_since_ms = mind.now_ms
    mind.emit(e.ServerRebooted(subject=subject, address=address, run_id=run_id, waiting=waiting, at_ms=mind.now_ms))


def _believe(mind: StockMind, sight: Sight, reading: InfoReading) -> None:
    sight.link_down_ms = reading.master_link_down_ms
    if reading.role is Role.REPLICA:
        now = reading.master_host, reading.master_port
        if reading.master_host is not None and now != (sight.follows_host, sight.follows_port):
            sight.follows_host, sight.follows_port = reading.master_host, reading.master_port or 0
            sight.conf_changed_at_ms = mind.now_ms
        sight.link_up = bool(reading.master_link_up)
        sight.priority = sight.priority if reading.priority is None else reading.priority
        sight.offset = sight.offset if reading.repl_offset is None else reading.repl_offset
    if reading.failover_state is not None and reading.failover_state != sight.failover_state:
        sight.failover_state, sight.failover_state_since_ms = reading.failover_state, mind.now_ms
    sight.info_at_ms = mind.now_ms


def _act(mind: StockMind, master: StockMaster, replica: StockReplica) -> None:
    """[5.3] Cases B to F of a replica's INFO."""
    running = master.failover
    promoted = None if running is None else running.promoted
    if replica.role is Role.MASTER:
        if running is not None and promoted == replica.address:
            if isinstance(running.phase, WaitingForPromotion):
                failover.promotion_seen(mind, master, running, replica)
            return
        limit_ms = 4 * mind.state.timing.publish_period_ms
        patient = mind.now_ms - replica.role_since_ms > limit_ms
        if patient and _is_sane(mind, master) and _not_down_for(mind, replica, limit_ms):
            failover.repoint(mind, master, replica, master.address)
            subject = mind.replica_subject(master, replica.address)
            mind.emit(e.ReplicaConverted(subject=subject, address=replica.address))
        return
    _bring_home(mind, master, replica)
    if promoted is not None and replica.address != promoted:
        _follow_up(mind, master, replica, promoted)


def _bring_home(mind: StockMind, master: StockMaster, replica: StockReplica) -> None:
    """Cases D and E: a handover that hangs, and a replica that follows somebody else."""
    sight, limit_ms = replica.sight, master.settings.failover_timeout_ms
    hangs = mind.valkey and sight.handing_over and mind.now_ms - sight.failover_state_since_ms > limit_ms
    astray = (sight.follows_host, sight.follows_port) != (master.address.host, master.address.port)
    astray = astray and mind.now_ms - sight.conf_changed_at_ms > limit_ms
    if (hangs or astray) and _is_sane(mind, master) and _not_down_for(mind, replica, limit_ms):
        failover.repoint(mind, master, replica, master.address)
        subject = mind.replica_subject(master, replica.address)
        mind.emit(e.ReplicaRepointed(subject=subject, address=replica.address))


def _follow_up(mind: StockMind, master: StockMaster, replica: StockReplica, promoted: Address) -> None:
    """Case F: how far a replica is on its way to the promoted one."""
    sight = replica.sight
    subject = mind.replica_subject(master, replica.address)
    here = (sight.follows_host, sight.follows_port) == (promoted.host, promoted.port)
    if replica.reconf is Reconf.SENT and here:
        replica.reconf = Reconf.IN_PROGRESS
        mind.emit(e.ReconfInProgress(subject=subject, address=replica.address))
    if replica.reconf is Reconf.IN_PROGRESS and sight.link_up:
        replica.reconf = Reconf.DONE
        mind.emit(e.ReconfDone(subject=subject, address=replica.address))


def _is_sane(mind: StockMind, master: StockMaster) -> bool:
    fresh = mind.now_ms - master.sight.info_at_ms < 2 * mind.state.timing.info_period_ms
    return master.role is Role.MASTER and not master.s_down and not master.o_down and fresh


def _not_down_for(mind: StockMind, replica: StockReplica, limit_ms: Millis) -> bool:
    return replica.s_down_since_ms is None or mind.now_ms - replica.s_down_since_ms > limit_ms


# ---------------------------------------------------------------- hellos, core.md 6.2


def hello_heard(mind: StockMind, heard: i.HelloHeard) -> None:
    """Who speaks, which epoch it knows, and where it says that the master is."""
    hello = heard.hello
    master = mind.master(hello.master)
    if master is None or (hello.run_id == mind.state.my_id and not mind.defects.q10):
        return
    peer = _recognise(mind, master, hello)
    if MAX_EPOCH >= hello.current_epoch > mind.state.current_epoch:
        mind.state.current_epoch = hello.current_epoch
        mind.flush()
        mind.emit(e.EpochRaised(epoch=hello.current_epoch, subject=mind.subject(master)))
    if peer is not None and hello.config_epoch > master.config_epoch:
        _adopt(mind, master, hello, peer)


def _adopt(mind: StockMind, master: StockMaster, hello: Hello, peer: StockPeer) -> None:
    """A newer configuration. Q5: the epoch is taken even when the address cannot be, or when it is the one that a
    failover of mine is just leaving."""
    address = Address(hello.master_host, hello.master_port)
    usable = is_ip(address.host) and 0 < address.port < 65536
    if not usable and not mind.defects.q5:
        return
    master.config_epoch = hello.config_epoch
    if not usable:
        mind.poisoned.add((master.name, hello.config_epoch))
    elif address == master.address != master.current_address:
        if mind.defects.overtaken:
            mind.poisoned.add((master.name, hello.config_epoch))
        else:
            failover.switch(mind, master, address, hello.config_epoch, peer)
    elif address == master.address:
        mind.emit(e.ConfigEpochAdopted(subject=mind.subject(master), epoch=hello.config_epoch))
        if not mind.defects.q16:
            mind.flush()
    else:
        failover.switch(mind, master, address, hello.config_epoch, peer)


def _recognise(mind: StockMind, master: StockMaster, hello: Hello) -> StockPeer | None:
    """Find the speaker's record, or make one; ids and addresses that moved are put right."""
    address = Address(hello.host, hello.port)
    known = master.peers.get(hello.run_id)
    if isinstance(known, StockPeer) and known.address == address:
        return known
    usable = is_ip(address.host) and 0 < address.port < 65536
    if known is not None:
        if not usable and not mind.defects.q11:
            return known if isinstance(known, StockPeer) else None
        mind.drop_peer(master, hello.run_id)
        subject = mind.subject(master)
        if usable:
            moved = e.PeerMoved(
                subject=subject, run_id=hello.run_id, address=address, shown_host=address.host, at_ms=mind.now_ms
            )
            mind.emit(moved)
    else:
        _evict_namesakes(mind, master, address)
    if not usable:
        return None
    mind.add_peer(master, hello.run_id, address)
    if known is None:
        subject = mind.state.subject_of_peer(master, hello.run_id, address)
        mind.emit(e.PeerFound(subject=subject, run_id=hello.run_id, address=address, at_ms=mind.now_ms))
    else:
        _spread(mind, master, hello, address)
    mind.flush()
    fresh = master.peers[hello.run_id]
    return fresh if isinstance(fresh, StockPeer) else None


def _evict_namesakes(mind: StockMind, master: StockMaster, address: Address) -> None:
    """Another id lives at this address now: the old one leaves every master."""
    gone = next((run_id for run_id, peer in master.peers.items() if peer.address == address), None)
    if gone is None:
        return
    mind.emit(e.PeerEvicted(subject=mind.state.subject_of_peer(master, gone, address), run_id=gone))
    for other in mind.masters():
        if gone in other.peers:
            mind.drop_peer(other, gone)


def _spread(mind: StockMind, master: StockMaster, hello: Hello, address: Address) -> None:
    """The other masters' records of the same sentinel move with it."""
    others = [other for other in mind.masters() if other is not master and hello.run_id in other.peers]
    probe = mind.peer_probes[hello.run_id]
    links.hang_up(mind, probe, "moved")
    probe.address = address
    for other in others:
        other.peers[hello.run_id].address = address
    if others:
        subject = mind.state.subject_of_peer(master, hello.run_id, address)
        mind.emit(e.PeerAddressSpread(subject=subject, run_id=hello.run_id, address=address, count=len(others)))
