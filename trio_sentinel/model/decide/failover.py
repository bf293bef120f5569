"""A failover from the election to the switch: one function for each phase (core.md 11.2 to 11.5, 12, 13).

The engine repeats the rules until none speaks, so phases follow each other as soon as their conditions hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from trio_sentinel.model.events import (
    Abort,
    Event,
    FailoverAborted,
    FailoverEnded,
    MasterSwitched,
    PromotionSeen,
    PromotionSent,
    ReconfDone,
    ReconfInProgress,
    ReconfSent,
    ReconfTimedOut,
    ReplicaSelected,
    WritersPaused,
)
from trio_sentinel.model.ranking import rank
from trio_sentinel.model.situation import Situation
from trio_sentinel.model.state import (
    Failover,
    Manner,
    Master,
    Phase,
    Reconf,
    ReconfiguringReplicas,
    Replica,
    SelectingReplica,
    SendingPromotion,
    UpdatingConfig,
    WaitingForPromotion,
    WaitingForVotes,
)
from trio_sentinel.model.values import Address, InfoReading, Millis, Role, Subject

FRESH_INFO_WAIT_MS = 300
"""How long a leader waits for the latest INFO of the replicas it can reach before it chooses among them."""
HANDOVER_MIN_MS = 1000
"""A coordinated failover is not begun with less time left than this (core.md 13.3)."""
PAUSE_MS = 6000
"""How long a master is asked to hold its writers back while its replica catches up; far longer than ..."""
CATCH_UP_MS = 1000
"""... the replica may take. After that the master itself decides when the replica has everything, as in stock: it
hears so once a second."""
GAVE_UP_MS = 1000
"""A master that is not handing over this long after the order has given up or refused: its own word comes sooner."""


def check(s: Situation, master: Master) -> Iterator[Event]:
    """The next step of a running failover, if its time has come."""
    failover = master.failover
    if failover is not None:
        yield from PHASE_RULES[type(failover.phase)](s, master, failover, failover.phase)


def _abort(s: Situation, master: Master, reason: Abort) -> Event:
    return FailoverAborted(
        subject=s.state.subject_of_master(master), reason=reason, release=s.release(master), at_ms=s.now_ms
    )


def _out_of_time(s: Situation, master: Master, failover: Failover) -> bool:
    return s.now_ms - failover.phase_since_ms > master.settings.failover_timeout_ms


def _nothing(s: Situation, master: Master, failover: Failover, phase: Phase) -> Iterator[Event]:
    return iter(())


def wanted_info_since_ms(master: Master, failover: Failover) -> Millis:
    """From when on an INFO is recent enough to choose by: once the master is down, offsets no longer move."""
    if master.s_down and master.s_down_since_ms is not None:
        return min(master.s_down_since_ms, failover.phase_since_ms)
    return failover.phase_since_ms


def _hears_all_replicas(s: Situation, master: Master, failover: Failover) -> bool:
    since_ms = wanted_info_since_ms(master, failover)
    for replica in master.replicas.values():
        sense = s.server(master, replica.address)
        reachable = sense.command.open and not replica.s_down
        if reachable and (sense.info_at_ms is None or sense.info_at_ms < since_ms):
            return False
    return True


def _select(s: Situation, master: Master, failover: Failover, phase: SelectingReplica) -> Iterator[Event]:
    waited = s.now_ms - failover.phase_since_ms >= FRESH_INFO_WAIT_MS
    if not waited and not _hears_all_replicas(s, master, failover):
        return
    ranking = rank(s, master)
    if ranking.best is None:
        yield _abort(s, master, Abort.NO_GOOD_REPLICA)
        return
    yield ReplicaSelected(
        subject=s.state.subject_of_replica(master, ranking.best),
        address=ranking.best,
        losers=ranking.losers,
        at_ms=s.now_ms,
    )


def _send_promotion(s: Situation, master: Master, failover: Failover, phase: SendingPromotion) -> Iterator[Event]:
    subject = s.state.subject_of_replica(master, phase.candidate)
    if failover.manner is Manner.COORDINATED:
        yield from _hand_over(s, master, failover, phase)
    elif s.server(master, phase.candidate).command.open:
        yield PromotionSent(subject=subject, address=phase.candidate, handover_ms=None, at_ms=s.now_ms)
    elif _out_of_time(s, master, failover):
        yield _abort(s, master, Abort.REPLICA_TIMEOUT)


def _hand_over(s: Situation, master: Master, failover: Failover, phase: SendingPromotion) -> Iterator[Event]:
    """Hold the writers back, let the replica catch up, then order the handover.

    A master that is ordered without this waits for the acknowledgement that its replica sends once a second, and
    writers wait with it. What nobody may write to, a replica has in a millisecond, and its INFO says so.
    """
    left_ms = master.settings.failover_timeout_ms - (s.now_ms - failover.phase_since_ms)
    sense = s.server(master)
    if left_ms < HANDOVER_MIN_MS:
        yield _abort(s, master, Abort.MASTER_TIMEOUT)
    elif not (sense.command.open and s.server(master, phase.candidate).master_link_up):
        return  # A master aborts a FAILOVER to a replica that has not finished its synchronisation.
    elif phase.paused_at_ms is None:
        subject = s.state.subject_of_master(master)
        yield WritersPaused(subject=subject, pause_ms=min(PAUSE_MS, left_ms), at_ms=s.now_ms)
    else:
        waited = s.now_ms - phase.paused_at_ms >= CATCH_UP_MS
        caught_up = not waited and _has_caught_up(s, master, phase)
        if caught_up or waited or sense.writers_paused is False:
            yield PromotionSent(
                subject=s.state.subject_of_replica(master, phase.candidate),
                address=phase.candidate,
                handover_ms=left_ms,
                caught_up=caught_up,
                at_ms=s.now_ms,
            )


def _has_caught_up(s: Situation, master: Master, phase: SendingPromotion) -> bool:
    """Whether the candidate has all that the master had written when its writers were held back already."""
    written = s.server(master).paused_at_offset
    candidate = s.server(master, phase.candidate)
    if written is None or candidate.info_at_ms is None or phase.paused_at_ms is None:
        return False
    return candidate.info_at_ms >= phase.paused_at_ms and candidate.repl_offset >= written


def _await_promotion(s: Situation, master: Master, failover: Failover, phase: WaitingForPromotion) -> Iterator[Event]:
    if _out_of_time(s, master, failover):
        yield _abort(s, master, Abort.REPLICA_TIMEOUT)
    elif failover.manner is Manner.COORDINATED and _gave_up(s, master, failover, phase):
        yield _abort(s, master, Abort.MASTER_TIMEOUT)


def _gave_up(s: Situation, master: Master, failover: Failover, phase: WaitingForPromotion) -> bool:
    """Whether the master says that it is not handing over, and the candidate that it was not promoted."""
    since_ms = failover.phase_since_ms + GAVE_UP_MS
    sense, candidate = s.server(master), s.server(master, phase.candidate)
    heard = all(one.info_at_ms is not None and one.info_at_ms >= since_ms for one in (sense, candidate))
    as_before = master.role is Role.MASTER and master.replicas[phase.candidate].role is Role.REPLICA
    return heard and as_before and not sense.handing_over


def _reconfigure(s: Situation, master: Master, failover: Failover, phase: ReconfiguringReplicas) -> Iterator[Event]:
    """Bring the other replicas over, a few at a time. Timeouts come first, so that one stuck replica holds nobody up
    (core.md Q13), and the end is judged even when the promoted one is down (Q14)."""
    if not phase.published:
        return
    others = _others(s, master, phase.promoted)
    timeout_ms = s.state.timing.slave_reconf_timeout_ms
    ordered = [replica for replica in master.replicas.values() if replica.being_reconfigured]
    late = [replica for replica in ordered if _is_late(replica, s.now_ms, timeout_ms)]
    for replica in late:
        yield ReconfTimedOut(subject=s.state.subject_of_replica(master, replica.address), address=replica.address)
    if late:
        return
    if _out_of_time(s, master, failover):
        yield from _end(s, master, others, timed_out=True)
        return
    busy = len(ordered)  # also who only now turns out to be the promoted one, or is made out to be by a name that lies
    yields = s.now_ms < _yields_until_ms(s, master, failover)
    for replica in others:
        if yields or busy >= master.settings.parallel_syncs:
            break
        if replica.reconf is Reconf.NONE and s.server(master, replica.address).command.open:
            busy += 1
            yield _reconf_sent(s, master, replica, best_effort=False)
    if master.replicas[phase.promoted].s_down:
        return
    if all(replica.s_down or replica.reconf in (Reconf.DONE, Reconf.SENT_AGAIN) for replica in others):
        yield from _end(s, master, others, timed_out=False)


def _yields_until_ms(s: Situation, master: Master, failover: Failover) -> Millis:
    """Until when no more replicas are brought over because I voted under a higher epoch. Whoever has the vote may
    promote one of those that are left; made to follow mine, it would be a master that is a replica, and nobody could
    replace it."""
    if master.leader_epoch <= failover.epoch or master.attempt_at_ms is None:
        return 0
    return master.attempt_at_ms + s.election_ms(master)


def _others(s: Situation, master: Master, promoted: Address) -> list[Replica]:
    """The replicas that must follow the promoted one; not itself, which may be known under another address, too."""
    chosen = master.replicas[promoted]
    return [replica for replica in master.replicas.values() if not s.same_server(replica, chosen)]


def _is_late(replica: Replica, now_ms: Millis, timeout_ms: Millis) -> bool:
    """Whether the others need not wait for `replica` any more: it gave no sign for too long, or is gone on its way."""
    if replica.reconf is Reconf.IN_PROGRESS:
        return replica.s_down
    sent_at_ms = replica.reconf_sent_at_ms
    return replica.reconf is Reconf.SENT and sent_at_ms is not None and now_ms - sent_at_ms > timeout_ms


def _reconf_sent(s: Situation, master: Master, replica: Replica, *, best_effort: bool) -> Event:
    return ReconfSent(
        subject=s.state.subject_of_replica(master, replica.address),
        address=replica.address,
        best_effort=best_effort,
        at_ms=s.now_ms,
    )


def _end(s: Situation, master: Master, others: list[Replica], *, timed_out: bool) -> Iterator[Event]:
    yield FailoverEnded(subject=s.state.subject_of_master(master), timed_out=timed_out, at_ms=s.now_ms)
    if timed_out:
        for replica in others:
            left = replica.reconf in (Reconf.NONE, Reconf.IN_PROGRESS)
            if left and s.server(master, replica.address).command.open:
                yield _reconf_sent(s, master, replica, best_effort=True)


def _update_config(s: Situation, master: Master, failover: Failover, phase: UpdatingConfig) -> Iterator[Event]:
    yield switch(s, master, phase.promoted, master.config_epoch, by=None)


def conclude(s: Situation, master: Master) -> Iterator[Event]:
    """The switch that a promotion leads to, now, because the failover is about to be forgotten. A promotion that was
    seen is never given up (property 17), and the old address may not be told under its epoch (property 21)."""
    running = master.failover
    if running is not None and isinstance(running.phase, ReconfiguringReplicas | UpdatingConfig):
        yield switch(s, master, running.phase.promoted, running.epoch, by=None)


def switch(s: Situation, master: Master, new: Address, config_epoch: int, *, by: Subject | None) -> MasterSwitched:
    """The switch to `new`: the old master joins the replicas, the new one leaves them (core.md 12)."""
    state = s.state
    replicas = [address for address in master.replicas if not state.same_address(address, new)]
    if not state.told_as_one(master.address, new):
        replicas.append(master.address)
    old = master.address if by is None else master.current_address
    shown_new = state.shown(new.host)
    subjects = tuple(_subject_after_switch(s, master, address, shown_new, new.port) for address in replicas)
    return MasterSwitched(
        subject=state.subject_of_master(master),
        old=old,
        new=new,
        shown_old_host=state.shown(old.host),
        shown_new_host=shown_new,
        by=by,
        replicas=tuple(replicas),
        replica_subjects=subjects,
        config_epoch=config_epoch,
        at_ms=s.now_ms,
    )


def _subject_after_switch(s: Situation, master: Master, address: Address, host: str, port: int) -> Subject:
    before = s.state.subject_of_replica(master, address)
    return Subject(
        kind=before.kind,
        name=before.name,
        host=before.host,
        port=before.port,
        master=master.name,
        master_host=host,
        master_port=port,
    )


PHASE_RULES: dict[type[Phase], Callable[[Situation, Master, Failover, Any], Iterator[Event]]] = {
    WaitingForVotes: _nothing,  # agreement.check_election
    SelectingReplica: _select,
    SendingPromotion: _send_promotion,
    WaitingForPromotion: _await_promotion,
    ReconfiguringReplicas: _reconfigure,
    UpdatingConfig: _update_config,
}


def hear_info(s: Situation, master: Master, replica: Replica, reading: InfoReading) -> Iterator[Event]:
    """What INFO of a replica means for a running failover (core.md 5.3 B and F). The senses are up to date already."""
    failover = master.failover
    if failover is None:
        return
    phase = failover.phase
    if isinstance(phase, WaitingForPromotion):
        if phase.candidate == replica.address and reading.role is Role.MASTER:
            yield PromotionSeen(
                subject=s.state.subject_of_replica(master, replica.address),
                address=replica.address,
                epoch=failover.epoch,
                at_ms=s.now_ms,
            )
    elif isinstance(phase, ReconfiguringReplicas) and reading.role is Role.REPLICA:
        yield from _follow_progress(s, master, replica, phase.promoted)


def _follow_progress(s: Situation, master: Master, replica: Replica, promoted: Address) -> Iterator[Event]:
    sense = s.server(master, replica.address)
    subject = s.state.subject_of_replica(master, replica.address)
    in_progress = replica.reconf is Reconf.IN_PROGRESS
    if replica.reconf is Reconf.SENT and sense.master_host is not None and sense.master_port == promoted.port:
        if s.state.same_host(sense.master_host, promoted.host):
            yield ReconfInProgress(subject=subject, address=replica.address)
            in_progress = True
    if in_progress and sense.master_link_up:
        yield ReconfDone(subject=subject, address=replica.address)


def due(s: Situation, master: Master) -> Iterator[Millis]:
    """When a phase runs out of time."""
    failover = master.failover
    if failover is None:
        return
    since_ms, timeout_ms = failover.phase_since_ms, master.settings.failover_timeout_ms
    match failover.phase:
        case SelectingReplica():
            yield since_ms + FRESH_INFO_WAIT_MS
        case SendingPromotion() if failover.manner is Manner.COORDINATED:
            yield since_ms + max(0, timeout_ms - HANDOVER_MIN_MS) + 1
            if failover.phase.paused_at_ms is not None and s.now_ms < failover.phase.paused_at_ms + CATCH_UP_MS:
                yield failover.phase.paused_at_ms + CATCH_UP_MS
        case SendingPromotion() | WaitingForPromotion():
            yield since_ms + timeout_ms + 1
        case ReconfiguringReplicas(promoted, published):
            if not published:
                return
            yield since_ms + timeout_ms + 1
            if (until_ms := _yields_until_ms(s, master, failover)) > s.now_ms:
                yield until_ms
            for replica in master.replicas.values():
                if replica.reconf is Reconf.SENT and replica.reconf_sent_at_ms is not None:
                    if replica.address != promoted:
                        yield replica.reconf_sent_at_ms + s.state.timing.slave_reconf_timeout_ms + 1
        case _:
            pass
