"""Event -> change of state: the only writer of ``state.py``'s objects.

Nothing here computes, draws or refuses: an event carries all it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from trio_sentinel.model import events as e
from trio_sentinel.model.state import (
    Failover,
    Master,
    Peer,
    Phase,
    Reconf,
    ReconfiguringReplicas,
    Replica,
    SelectingReplica,
    SendingPromotion,
    SentinelState,
    UpdatingConfig,
    WaitingForPromotion,
    WaitingForVotes,
)
from trio_sentinel.model.values import Kind, Millis, Role

LAWFUL_MOVES: dict[type[Phase], tuple[type[Phase], ...]] = {
    WaitingForVotes: (WaitingForVotes, SelectingReplica),
    SelectingReplica: (SendingPromotion,),
    SendingPromotion: (SendingPromotion, WaitingForPromotion),
    WaitingForPromotion: (ReconfiguringReplicas,),
    ReconfiguringReplicas: (ReconfiguringReplicas, UpdatingConfig),
    UpdatingConfig: (),
}
"""Which phase may follow which; an abort is lawful up to WaitingForPromotion (core.md 11.2, property 17)."""


def evolve(state: SentinelState, event: e.Event) -> None:
    """Apply one event."""
    EVOLVE[type(event)](state, event)


def _master(state: SentinelState, event: Any) -> Master:
    return state.masters[event.subject.master]


def _running(master: Master) -> Failover:
    assert master.failover is not None, "no failover is running"
    return master.failover


def _move(master: Master, phase: Phase, at_ms: Millis) -> None:
    failover = _running(master)
    assert type(phase) in LAWFUL_MOVES[type(failover.phase)], f"{failover.phase} -> {phase}"
    master.failover = attrs.evolve(failover, phase=phase, phase_since_ms=at_ms)


# ---------------------------------------------------------------- configuration


def _sentinel_restored(state: SentinelState, event: e.SentinelRestored) -> None:
    state.my_id = event.my_id
    state.own_port = event.own_port
    state.current_epoch = event.current_epoch
    state.settings = event.settings
    state.timing = event.timing


def _master_monitored(state: SentinelState, event: e.MasterMonitored) -> None:
    known = event.snapshot
    state.masters[known.name] = Master(
        name=known.name,
        address=known.address,
        settings=known.settings,
        config_epoch=known.config_epoch,
        leader_epoch=known.leader_epoch,
        role_since_ms=event.at_ms,
        replicas={address: Replica(address=address, role_since_ms=event.at_ms) for address in known.replicas},
        peers={run_id: Peer(run_id=run_id, address=address) for run_id, address in known.peers},
    )


def _master_removed(state: SentinelState, event: e.MasterRemoved) -> None:
    del state.masters[event.subject.master]


def _start_afresh(master: Master, at_ms: Millis) -> None:
    """What a reset and a switch have in common (core.md 12)."""
    master.voted_for = None
    master.attempt_at_ms = None
    master.stand_at_ms = None
    master.lost_elections = 0
    master.failover = None
    master.run_id = None
    master.role = Role.MASTER
    master.role_since_ms = at_ms
    master.s_down = False
    master.o_down = False
    master.s_down_since_ms = None
    master.o_down_since_ms = None
    master.rebooting_since_ms = None


def _master_reset(state: SentinelState, event: e.MasterReset) -> None:
    master = _master(state, event)
    assert master.failover is None or not isinstance(master.failover.phase, ReconfiguringReplicas | UpdatingConfig), (
        "a promotion ends with a switch (property 17)"
    )
    _start_afresh(master, event.at_ms)
    master.replicas.clear()
    master.peers.clear()


def _setting_changed(state: SentinelState, event: e.SettingChanged) -> None:
    _master(state, event).settings = event.settings


def _globals_changed(state: SentinelState, event: e.GlobalsChanged) -> None:
    state.settings = event.settings


def _timing_changed(state: SentinelState, event: e.TimingChanged) -> None:
    state.timing = event.timing


def _crash_points_set(state: SentinelState, event: e.CrashPointsSet) -> None:
    state.crash_after_election = event.after_election
    state.crash_after_promotion = event.after_promotion


def _nothing(state: SentinelState, event: e.Event) -> None:
    """The event is only told or saved."""


def _name_learnt(state: SentinelState, event: e.NameLearnt) -> None:
    state.names[event.host] = event.ip


def _disk_failed(state: SentinelState, event: e.DiskFailed) -> None:
    state.disk_failing = True


def _disk_recovered(state: SentinelState, event: e.DiskRecovered) -> None:
    state.disk_failing = False


# ---------------------------------------------------------------- topology


def _replica_found(state: SentinelState, event: e.ReplicaFound) -> None:
    _master(state, event).replicas[event.address] = Replica(address=event.address, role_since_ms=event.at_ms)


def _peer_found(state: SentinelState, event: e.PeerFound) -> None:
    _master(state, event).peers[event.run_id] = Peer(run_id=event.run_id, address=event.address)


def _peer_moved(state: SentinelState, event: e.PeerMoved) -> None:
    _master(state, event).peers[event.run_id] = Peer(run_id=event.run_id, address=event.address)


def _peer_address_spread(state: SentinelState, event: e.PeerAddressSpread) -> None:
    for master in state.masters.values():
        if event.run_id in master.peers:
            master.peers[event.run_id].address = event.address


def _peer_evicted(state: SentinelState, event: e.PeerEvicted) -> None:
    for master in state.masters.values():
        master.peers.pop(event.run_id, None)


def _server(master: Master, event: Any) -> Master | Replica:
    return master if event.subject.kind is Kind.MASTER else master.replicas[event.address]


def _server_rebooted(state: SentinelState, event: e.ServerRebooted) -> None:
    master = _master(state, event)
    _server(master, event).run_id = event.run_id
    if event.waiting:
        master.rebooting_since_ms = event.at_ms


def _server_identified(state: SentinelState, event: e.ServerIdentified) -> None:
    _server(_master(state, event), event).run_id = event.run_id


def _reboot_over(state: SentinelState, event: e.RebootOver) -> None:
    _master(state, event).rebooting_since_ms = None


def _role_reported(state: SentinelState, event: e.RoleReported) -> None:
    server = _server(_master(state, event), event)
    server.role = event.role
    server.role_since_ms = event.at_ms


def _master_switched(state: SentinelState, event: e.MasterSwitched) -> None:
    master = _master(state, event)
    _start_afresh(master, event.at_ms)
    master.address = event.new
    master.config_epoch = event.config_epoch
    master.replicas = {a: Replica(address=a, role_since_ms=event.at_ms) for a in event.replicas}


def _config_epoch_adopted(state: SentinelState, event: e.ConfigEpochAdopted) -> None:
    _master(state, event).config_epoch = event.epoch


# ---------------------------------------------------------------- detection


def _instance(state: SentinelState, event: e.WentDown | e.CameBack) -> Master | Replica | Peer:
    master = _master(state, event)
    if event.run_id is not None:
        return master.peers[event.run_id]
    return master if event.subject.kind is Kind.MASTER or event.address is None else master.replicas[event.address]


def _went_down(state: SentinelState, event: e.WentDown) -> None:
    instance = _instance(state, event)
    instance.s_down = True
    instance.s_down_since_ms = event.at_ms


def _came_back(state: SentinelState, event: e.CameBack) -> None:
    _instance(state, event).s_down = False


def _agreed_down(state: SentinelState, event: e.AgreedDown) -> None:
    master = _master(state, event)
    master.o_down = True
    master.o_down_since_ms = event.at_ms
    master.stand_at_ms = event.stand_at_ms


def _no_longer_agreed(state: SentinelState, event: e.NoLongerAgreed) -> None:
    master = _master(state, event)
    master.o_down = False
    master.stand_at_ms = None


def _tilt_entered(state: SentinelState, event: e.TiltEntered) -> None:
    state.tilt_since_ms = event.at_ms
    state.total_tilt += 1


def _tilt_exited(state: SentinelState, event: e.TiltExited) -> None:
    state.tilt_since_ms = None


# ---------------------------------------------------------------- election and failover


def _epoch_raised(state: SentinelState, event: e.EpochRaised) -> None:
    state.current_epoch = event.epoch


def _vote_cast(state: SentinelState, event: e.VoteCast) -> None:
    master = _master(state, event)
    master.voted_for = event.candidate
    master.leader_epoch = event.epoch
    if event.attempt_at_ms is not None:
        master.attempt_at_ms = event.attempt_at_ms
        master.lost_elections = 0


def _failover_started(state: SentinelState, event: e.FailoverStarted) -> None:
    master = _master(state, event)
    master.failover_epoch = event.epoch
    master.attempt_at_ms = event.attempt_at_ms
    master.failover = Failover(
        epoch=event.epoch, manner=event.manner, phase=WaitingForVotes(vote_saved=False), phase_since_ms=event.at_ms
    )


def _vote_saved(state: SentinelState, event: e.VoteSaved) -> None:
    master = _master(state, event)
    _move(master, WaitingForVotes(vote_saved=True), _running(master).phase_since_ms)


def _leader_elected(state: SentinelState, event: e.LeaderElected) -> None:
    _move(_master(state, event), SelectingReplica(), event.at_ms)


def _failover_aborted(state: SentinelState, event: e.FailoverAborted) -> None:
    master = _master(state, event)
    phase = _running(master).phase
    assert not isinstance(phase, ReconfiguringReplicas | UpdatingConfig), "a promotion is never aborted (property 17)"
    master.failover = None
    if event.retry_at_ms is not None:
        master.attempt_at_ms = None
        master.stand_at_ms = event.retry_at_ms
        master.lost_elections += 1


def _replica_selected(state: SentinelState, event: e.ReplicaSelected) -> None:
    _move(_master(state, event), SendingPromotion(event.address), event.at_ms)


def _writers_paused(state: SentinelState, event: e.WritersPaused) -> None:
    master = _master(state, event)
    failover = _running(master)
    assert isinstance(failover.phase, SendingPromotion)
    _move(master, SendingPromotion(failover.phase.candidate, event.at_ms), failover.phase_since_ms)


def _promotion_sent(state: SentinelState, event: e.PromotionSent) -> None:
    _move(_master(state, event), WaitingForPromotion(event.address), event.at_ms)


def _promotion_seen(state: SentinelState, event: e.PromotionSeen) -> None:
    master = _master(state, event)
    _move(master, ReconfiguringReplicas(event.address, published=False), event.at_ms)


def _promotion_published(state: SentinelState, event: e.PromotionPublished) -> None:
    master = _master(state, event)
    failover = _running(master)
    assert isinstance(failover.phase, ReconfiguringReplicas)
    _move(master, ReconfiguringReplicas(failover.phase.promoted, published=True), failover.phase_since_ms)
    master.config_epoch = failover.epoch  # together with the address that is told (property 21)


def _reconf_sent(state: SentinelState, event: e.ReconfSent) -> None:
    replica = _master(state, event).replicas[event.address]
    replica.reconf = Reconf.SENT
    replica.reconf_sent_at_ms = event.at_ms


def _reconf_in_progress(state: SentinelState, event: e.ReconfInProgress) -> None:
    _master(state, event).replicas[event.address].reconf = Reconf.IN_PROGRESS


def _reconf_done(state: SentinelState, event: e.ReconfDone) -> None:
    _master(state, event).replicas[event.address].reconf = Reconf.DONE


def _reconf_timed_out(state: SentinelState, event: e.ReconfTimedOut) -> None:
    _master(state, event).replicas[event.address].reconf = Reconf.SENT_AGAIN


def _failover_ended(state: SentinelState, event: e.FailoverEnded) -> None:
    master = _master(state, event)
    phase = _running(master).phase
    assert isinstance(phase, ReconfiguringReplicas)
    _move(master, UpdatingConfig(phase.promoted), event.at_ms)


EVOLVE: dict[type[e.Event], Callable[[SentinelState, Any], None]] = {
    e.SentinelRestored: _sentinel_restored,
    e.MasterMonitored: _master_monitored,
    e.MasterRemoved: _master_removed,
    e.MasterReset: _master_reset,
    e.SettingChanged: _setting_changed,
    e.GlobalsChanged: _globals_changed,
    e.TimingChanged: _timing_changed,
    e.CrashPointsSet: _crash_points_set,
    e.FlushOrdered: _nothing,
    e.NameLearnt: _name_learnt,
    e.DiskFailed: _disk_failed,
    e.DiskRecovered: _disk_recovered,
    e.ReplicaFound: _replica_found,
    e.PeerFound: _peer_found,
    e.PeerMoved: _peer_moved,
    e.PeerAddressSpread: _peer_address_spread,
    e.PeerEvicted: _peer_evicted,
    e.ServerRebooted: _server_rebooted,
    e.ServerIdentified: _server_identified,
    e.RebootOver: _reboot_over,
    e.RoleReported: _role_reported,
    e.ReplicaConverted: _nothing,
    e.ReplicaRepointed: _nothing,
    e.MasterSwitched: _master_switched,
    e.ConfigEpochAdopted: _config_epoch_adopted,
    e.WentDown: _went_down,
    e.CameBack: _came_back,
    e.AgreedDown: _agreed_down,
    e.NoLongerAgreed: _no_longer_agreed,
    e.TiltEntered: _tilt_entered,
    e.TiltExited: _tilt_exited,
    e.EpochRaised: _epoch_raised,
    e.VoteCast: _vote_cast,
    e.FailoverStarted: _failover_started,
    e.VoteSaved: _vote_saved,
    e.LeaderElected: _leader_elected,
    e.SelectionBegun: _nothing,
    e.FailoverAborted: _failover_aborted,
    e.ReplicaSelected: _replica_selected,
    e.WritersPaused: _writers_paused,
    e.PromotionSent: _promotion_sent,
    e.PromotionSeen: _promotion_seen,
    e.PromotionPublished: _promotion_published,
    e.ReconfigurationBegun: _nothing,
    e.ReconfSent: _reconf_sent,
    e.ReconfInProgress: _reconf_in_progress,
    e.ReconfDone: _reconf_done,
    e.ReconfTimedOut: _reconf_timed_out,
    e.FailoverEnded: _failover_ended,
}
