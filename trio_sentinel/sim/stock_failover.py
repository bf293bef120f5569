"""Stock's failover: one step in each tick, never through to the next state (core.md 11, 12 and 13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from trio_sentinel.model import effects as fx
from trio_sentinel.model import events as e
from trio_sentinel.model.state import (
    Failover,
    Manner,
    Phase,
    Reconf,
    ReconfiguringReplicas,
    SelectingReplica,
    SendingPromotion,
    UpdatingConfig,
    WaitingForPromotion,
    WaitingForVotes,
)
from trio_sentinel.model.values import Address, Epoch, Millis, Role, ServerLink
from trio_sentinel.sim import stock_links as links
from trio_sentinel.sim import stock_watch as watch
from trio_sentinel.sim.stock_state import Sight, StockMaster, StockPeer, StockReplica, new_sight

if TYPE_CHECKING:
    from trio_sentinel.sim.stock_mind import StockMind

DESYNC_MS = 1000
LEAST_HANDOVER_MS = 1000


# ---------------------------------------------------------------- start and end, core.md 11.1, 11.2


def may_start(mind: StockMind, master: StockMaster) -> bool:
    """Objectively down, none running, and long enough after my last attempt or vote for another."""
    if not master.o_down or master.failover is not None:
        return False
    before_ms = master.attempt_at_ms
    return before_ms is None or mind.now_ms - before_ms >= 2 * master.settings.failover_timeout_ms


def start(mind: StockMind, master: StockMaster, manner: Manner) -> None:
    """A new attempt under a new epoch, which is written only with my vote (Q4)."""
    state, now_ms = mind.state, mind.now_ms
    state.current_epoch += 1
    epoch = master.failover_epoch = state.current_epoch
    master.attempt_at_ms = now_ms + mind.dice.below(DESYNC_MS)
    master.failover = Failover(epoch=epoch, manner=manner, phase=WaitingForVotes(True), phase_since_ms=now_ms)
    subject = mind.subject(master)
    mind.emit(e.EpochRaised(epoch=epoch, subject=subject))
    mind.emit(
        e.FailoverStarted(subject=subject, epoch=epoch, manner=manner, attempt_at_ms=master.attempt_at_ms, at_ms=now_ms)
    )


def step(mind: StockMind, master: StockMaster) -> None:
    """One step of the failover that runs, if one does."""
    running = master.failover
    if running is None:
        return
    match running.phase:
        case WaitingForVotes():
            _wait_start(mind, master, running)
        case SelectingReplica():
            _select(mind, master)
        case SendingPromotion(candidate):
            _send_promotion(mind, master, running, candidate)
        case WaitingForPromotion():
            if mind.now_ms - running.phase_since_ms > master.settings.failover_timeout_ms:
                _abort(mind, master, e.Abort.REPLICA_TIMEOUT)
        case ReconfiguringReplicas(promoted):
            _reconfigure(mind, master, running, promoted)
        case UpdatingConfig():
            pass


def is_ended(master: StockMaster) -> bool:
    """Whether the switch is due."""
    return master.failover is not None and isinstance(master.failover.phase, UpdatingConfig)


def _enter(mind: StockMind, master: StockMaster, phase: Phase) -> None:
    assert master.failover is not None
    master.failover = attrs.evolve(master.failover, phase=phase, phase_since_ms=mind.now_ms)


def _abort(mind: StockMind, master: StockMaster, reason: e.Abort) -> None:
    """Nothing is undone on servers; the next attempt waits from the start of this one."""
    master.failover = None
    mind.emit(e.FailoverAborted(subject=mind.subject(master), reason=reason, at_ms=mind.now_ms))


def _wait_start(mind: StockMind, master: StockMaster, running: Failover) -> None:
    winner, votes = watch.count_votes(mind, master, running.epoch)
    elected = winner == mind.state.my_id
    if not elected and running.manner is not Manner.FORCED:
        limit_ms = min(mind.state.timing.election_timeout_ms, master.settings.failover_timeout_ms)
        if master.attempt_at_ms is not None and mind.now_ms - master.attempt_at_ms > limit_ms:
            _abort(mind, master, e.Abort.NOT_ELECTED)
        return
    subject, now_ms = mind.subject(master), mind.now_ms
    mind.emit(e.LeaderElected(subject=subject, votes=votes if elected else 0, voters=master.voters, at_ms=now_ms))
    if mind.state.crash_after_election:
        mind.crash_now()
    _enter(mind, master, SelectingReplica())
    mind.emit(e.SelectionBegun(subject=subject))


# ---------------------------------------------------------------- selection, core.md 11.3


def best_replica(mind: StockMind, master: StockMaster) -> StockReplica | None:
    """The replica to promote: what passes the filters, by priority, offset and run id."""
    fit = [replica for replica in _replicas(master) if _is_fit(mind, master, replica)]
    return min(fit, key=_rank, default=None)


def _is_fit(mind: StockMind, master: StockMaster, replica: StockReplica) -> bool:
    sight, timing, now_ms = replica.sight, mind.state.timing, mind.now_ms
    if replica.s_down or sight.probe.disconnected or sight.priority == 0:
        return False
    if now_ms - sight.probe.last_ok_at_ms > 5 * timing.ping_period_ms:
        return False
    fresh_ms = 5 * timing.ping_period_ms if master.s_down else 3 * timing.info_period_ms
    if now_ms - sight.info_at_ms > fresh_ms:
        return False
    if not mind.defects.q8 and replica.role is not Role.REPLICA:
        return False
    return sight.link_down_ms <= cut_off_limit_ms(mind, master)


def cut_off_limit_ms(mind: StockMind, master: StockMaster) -> Millis:
    """How long a replica may have been without its master."""
    limit_ms = 10 * master.settings.down_after_ms
    if master.s_down and master.s_down_since_ms is not None:
        limit_ms += mind.now_ms - master.s_down_since_ms
    return limit_ms


def _rank(replica: StockReplica) -> tuple[int, int, bool, str]:
    run_id = (replica.run_id or "").lower()
    return replica.sight.priority, -replica.sight.offset, run_id == "", run_id


def _replicas(master: StockMaster) -> list[StockReplica]:
    return [replica for replica in master.replicas.values() if isinstance(replica, StockReplica)]


def _select(mind: StockMind, master: StockMaster) -> None:
    best = best_replica(mind, master)
    if best is None:
        _abort(mind, master, e.Abort.NO_GOOD_REPLICA)
        return
    _enter(mind, master, SendingPromotion(best.address))
    subject = mind.replica_subject(master, best.address)
    mind.emit(e.ReplicaSelected(subject=subject, address=best.address, losers=(), at_ms=mind.now_ms))


# ---------------------------------------------------------------- promotion, core.md 11.2, 11.4, 13.3


def _send_promotion(mind: StockMind, master: StockMaster, running: Failover, candidate: Address) -> None:
    if running.manner is Manner.COORDINATED:
        _send_handover(mind, master, running, candidate)
        return
    replica = master.replicas.get(candidate)
    if isinstance(replica, StockReplica) and not replica.sight.probe.disconnected:
        links.say(mind, replica.sight.probe, fx.Promote(ServerLink(master.name, candidate)), answered=False)
        _promotion_sent(mind, master, candidate, None)
    elif mind.now_ms - running.phase_since_ms > master.settings.failover_timeout_ms:
        _abort(mind, master, e.Abort.REPLICA_TIMEOUT)


def _send_handover(mind: StockMind, master: StockMaster, running: Failover, candidate: Address) -> None:
    left_ms = master.settings.failover_timeout_ms - (mind.now_ms - running.phase_since_ms)
    if left_ms < LEAST_HANDOVER_MS:
        _abort(mind, master, e.Abort.MASTER_TIMEOUT)
    elif not master.sight.probe.disconnected:
        order = fx.HandOver(master.link(), candidate.host, candidate.port, left_ms, at_once=False)
        links.say(mind, master.sight.probe, order, answered=False)
        _promotion_sent(mind, master, candidate, left_ms)


def _promotion_sent(mind: StockMind, master: StockMaster, candidate: Address, handover_ms: Millis | None) -> None:
    subject = mind.replica_subject(master, candidate)
    mind.emit(e.PromotionSent(subject=subject, address=candidate, handover_ms=handover_ms, at_ms=mind.now_ms))
    _enter(mind, master, WaitingForPromotion(candidate))


def promotion_seen(mind: StockMind, master: StockMaster, running: Failover, promoted: StockReplica) -> None:
    """[11.4] The chosen replica says it is a master: from here on nothing takes it back."""
    master.config_epoch = running.epoch
    _enter(mind, master, ReconfiguringReplicas(promoted.address, True))
    mind.flush()
    subject = mind.subject(master)
    replica, now_ms = mind.replica_subject(master, promoted.address), mind.now_ms
    mind.emit(e.PromotionSeen(subject=replica, address=promoted.address, epoch=running.epoch, at_ms=now_ms))
    mind.emit(e.PromotionPublished(subject=subject, replica=replica, at_ms=now_ms))
    if mind.state.crash_after_promotion:
        mind.crash_now()
    if running.manner is Manner.COORDINATED:
        for address, probe in ((master.address, master.sight.probe), (promoted.address, promoted.sight.probe)):
            links.say(mind, probe, fx.KillClients(ServerLink(master.name, address)), answered=False)
    mind.emit(e.ReconfigurationBegun(subject=subject))
    links.publish_soon(mind, master)


# ---------------------------------------------------------------- the other replicas, core.md 11.5


def _reconfigure(mind: StockMind, master: StockMaster, running: Failover, promoted: Address) -> None:
    others = [replica for replica in _replicas(master) if replica.address != promoted]
    if not mind.defects.q13:
        _time_out_stuck(mind, master, others, everywhere=True)
    for replica in others:
        if sum(1 for other in others if other.reconf in (Reconf.SENT, Reconf.IN_PROGRESS)) >= _parallel(master):
            break
        _time_out_stuck(mind, master, [replica], everywhere=False)
        if replica.reconf is Reconf.NONE and not replica.sight.probe.disconnected:
            repoint(mind, master, replica, promoted)
            replica.reconf, replica.reconf_sent_at_ms = Reconf.SENT, mind.now_ms
            _reconf_sent(mind, master, replica, best_effort=False)
    _end_when_done(mind, master, running, promoted, others)


def _parallel(master: StockMaster) -> int:
    return master.settings.parallel_syncs


def _time_out_stuck(mind: StockMind, master: StockMaster, replicas: list[StockReplica], *, everywhere: bool) -> None:
    """Too long without an answer: it counts as done, and the order is repeated once. Q13: only when a slot is free."""
    limit_ms = mind.state.timing.slave_reconf_timeout_ms
    for replica in replicas:
        sent_ms = replica.reconf_sent_at_ms
        if replica.reconf is Reconf.SENT and sent_ms is not None and mind.now_ms - sent_ms > limit_ms:
            subject = mind.replica_subject(master, replica.address)
            mind.emit(e.ReconfTimedOut(subject=subject, address=replica.address))
            replica.reconf = Reconf.SENT_AGAIN
            assert master.failover is not None
            assert master.failover.promoted is not None
            repoint(mind, master, replica, master.failover.promoted)


def _reconf_sent(mind: StockMind, master: StockMaster, replica: StockReplica, *, best_effort: bool) -> None:
    subject, address = mind.replica_subject(master, replica.address), replica.address
    mind.emit(e.ReconfSent(subject=subject, address=address, best_effort=best_effort, at_ms=mind.now_ms))


def repoint(mind: StockMind, master: StockMaster, replica: StockReplica, to: Address) -> None:
    """[14] The reconfigure transaction."""
    abort = mind.valkey and replica.sight.handing_over
    order = fx.Repoint(ServerLink(master.name, replica.address), to.host, to.port, abort)
    links.say(mind, replica.sight.probe, order, answered=False)


def _end_when_done(
    mind: StockMind, master: StockMaster, running: Failover, promoted: Address, others: list[StockReplica]
) -> None:
    """Q14: when the promoted replica is down, nothing ends, not even by the timeout."""
    chosen = master.replicas.get(promoted)
    if chosen is None or (chosen.s_down and mind.defects.q14):
        return
    done = (Reconf.DONE, Reconf.SENT_AGAIN)
    waiting = sum(1 for replica in others if replica.reconf not in done and not replica.s_down)
    timed_out = mind.now_ms - running.phase_since_ms > master.settings.failover_timeout_ms
    if waiting and not timed_out:
        return
    mind.emit(e.FailoverEnded(subject=mind.subject(master), timed_out=timed_out, at_ms=mind.now_ms))
    _enter(mind, master, UpdatingConfig(promoted))
    if timed_out:
        for replica in others:
            if replica.reconf in (Reconf.NONE, Reconf.IN_PROGRESS) and not replica.sight.probe.disconnected:
                repoint(mind, master, replica, promoted)
                replica.reconf = Reconf.SENT
                _reconf_sent(mind, master, replica, best_effort=True)


# ---------------------------------------------------------------- the switch, core.md 12


def switch_to_promoted(mind: StockMind, master: StockMaster) -> None:
    """The leader's own switch."""
    assert master.failover is not None
    promoted = master.failover.promoted
    assert promoted is not None
    switch(mind, master, promoted, master.config_epoch, None)


def switch(mind: StockMind, master: StockMaster, new: Address, epoch: Epoch, by: StockPeer | None) -> None:
    """The master is at another address now; `by` is the sentinel that said so."""
    old = master.address
    replicas = [address for address in master.replicas if address != new] + ([old] if old != new else [])
    speaker = None if by is None else mind.state.subject_of_peer(master, by.run_id, by.address)
    subject = mind.subject(master)
    for replica in _replicas(master):
        links.hang_up(mind, replica.sight.probe, "switch")
    master.replicas.clear()
    reset(mind, master, new)
    for address in replicas:
        mind.add_replica(master, address)
    mind.emit(
        e.MasterSwitched(
            subject=subject,
            old=old,
            new=new,
            shown_old_host=old.host,
            shown_new_host=new.host,
            by=speaker,
            replicas=tuple(replicas),
            replica_subjects=tuple(mind.replica_subject(master, address) for address in replicas),
            config_epoch=epoch,
            at_ms=mind.now_ms,
        )
    )
    mind.flush()


def reset(mind: StockMind, master: StockMaster, address: Address) -> None:
    """The table of core.md 12: what is cleared and what is kept, Q7 and Q15 included."""
    old, now_ms = master.sight, mind.now_ms
    links.hang_up(mind, old.probe, "switch")
    fresh = new_sight(ServerLink(master.name, address), address, now_ms)
    fresh.probe.restart_clocks(now_ms)
    fresh.probe.reconnected_at_ms, fresh.published_at_ms = old.probe.reconnected_at_ms, old.published_at_ms
    if mind.defects.q7:
        _inherit(fresh, old)
    master.sight, master.address, master.run_id = fresh, address, None
    master.role, master.role_since_ms = Role.MASTER, now_ms
    master.s_down = master.o_down = False
    master.s_down_since_ms = master.o_down_since_ms = master.rebooting_since_ms = None
    master.voted_for, master.failover, master.attempt_at_ms = None, None, None
    if not mind.defects.q15:
        for peer in master.peers.values():
            if isinstance(peer, StockPeer):
                peer.master_down = False


def _inherit(fresh: Sight, old: Sight) -> None:
    """Q7: what the old server told is believed of the new one."""
    fresh.info_at_ms = old.info_at_ms
    fresh.failover_state, fresh.failover_state_since_ms = old.failover_state, old.failover_state_since_ms
