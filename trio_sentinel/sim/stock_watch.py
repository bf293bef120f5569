"""How stock finds masters down, asks other sentinels, votes and counts votes (core.md 7, 9 and 10)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from trio_sentinel.model import effects as fx
from trio_sentinel.model import events as e
from trio_sentinel.model.state import Failover
from trio_sentinel.model.values import Address, Epoch, Millis, PeerLink, Role, RunId, Subject
from trio_sentinel.sim import stock_links as links
from trio_sentinel.sim.stock_state import Probe, StockMaster, StockPeer, StockReplica

if TYPE_CHECKING:
    from trio_sentinel.sim.stock_mind import StockMind

DESYNC_MS = 1000
ASK_AGAIN_MS = 1000
"""How soon an unanswered question is repeated when Q9 is switched off."""


# ---------------------------------------------------------------- subjectively down, core.md 7.1


def check_down(mind: StockMind, master: StockMaster, instance: StockMaster | StockReplica | StockPeer) -> None:
    """Whether an instance is down, and the connections that should be closed."""
    probe = instance.probe if isinstance(instance, StockPeer) else instance.sight.probe
    down_after_ms = master.settings.down_after_ms
    down = _silent_ms(mind, probe) > down_after_ms
    links.kill_if_silent(mind, probe, down_after_ms)
    if instance is master:
        down = down or _claims_to_follow(mind, master) or _slow_to_return(mind, master)
    if down == instance.s_down:
        return
    instance.s_down = down
    subject, address, run_id = _called(mind, master, instance)
    if down:
        instance.s_down_since_ms = mind.now_ms
        mind.emit(e.WentDown(subject=subject, address=address, run_id=run_id, at_ms=mind.now_ms))
    else:
        if not isinstance(instance, StockPeer):
            instance.sight.script_killed = False
        mind.emit(e.CameBack(subject=subject, address=address, run_id=run_id))


def _silent_ms(mind: StockMind, probe: Probe) -> Millis:
    if probe.ping_since_ms is not None:
        return mind.now_ms - probe.ping_since_ms
    return mind.now_ms - probe.last_ok_at_ms if probe.disconnected else 0


def _claims_to_follow(mind: StockMind, master: StockMaster) -> bool:
    limit_ms = master.settings.down_after_ms + 2 * mind.state.timing.info_period_ms
    return master.role is Role.REPLICA and mind.now_ms - master.role_since_ms > limit_ms


def _slow_to_return(mind: StockMind, master: StockMaster) -> bool:
    since_ms = master.rebooting_since_ms
    return since_ms is not None and mind.now_ms - since_ms > master.settings.reboot_down_after_ms


def _called(
    mind: StockMind, master: StockMaster, instance: StockMaster | StockReplica | StockPeer
) -> tuple[Subject, Address | None, RunId | None]:
    if isinstance(instance, StockPeer):
        return mind.state.subject_of_peer(master, instance.run_id, instance.address), None, instance.run_id
    if instance is master:
        return mind.subject(master), master.address, None
    return mind.replica_subject(master, instance.address), instance.address, None


# ---------------------------------------------------------------- objectively down, core.md 7.2


def check_objectively_down(mind: StockMind, master: StockMaster) -> None:
    """A count of reports that are at most five seconds old; votes play no part."""
    agreed = 1 + sum(1 for peer in _peers(master) if peer.master_down)
    down = master.s_down and agreed >= master.settings.quorum
    if down == master.o_down:
        return
    master.o_down = down
    subject = mind.subject(master)
    if down:
        master.o_down_since_ms = mind.now_ms
        quorum, now_ms = master.settings.quorum, mind.now_ms
        mind.emit(e.AgreedDown(subject=subject, agreed=agreed, quorum=quorum, stand_at_ms=now_ms, at_ms=now_ms))
    else:
        mind.emit(e.NoLongerAgreed(subject=subject))


def _peers(master: StockMaster) -> list[StockPeer]:
    return [peer for peer in master.peers.values() if isinstance(peer, StockPeer)]


# ---------------------------------------------------------------- asking, core.md 7.3


def ask_peers(mind: StockMind, master: StockMaster, *, forced: bool) -> None:
    """Ask every other sentinel whether the master is down, and for its vote while a failover runs."""
    timing, now_ms = mind.state.timing, mind.now_ms
    for peer in _peers(master):
        age_ms = now_ms - peer.replied_at_ms
        if age_ms > 5 * timing.ask_period_ms:
            peer.master_down, peer.voted_for = False, None
        if not master.s_down or peer.probe.disconnected or not (forced or age_ms >= timing.ask_period_ms):
            continue
        if not mind.defects.q9 and not forced and now_ms - peer.asked_at_ms < ASK_AGAIN_MS:
            continue
        peer.asked_at_ms = now_ms
        candidate = None if master.failover is None else mind.state.my_id
        question = fx.AskPeer(
            PeerLink(peer.run_id),
            master.name,
            master.address,
            master.address.host,
            _asked_epoch(mind, master.failover),
            candidate,
        )
        links.say(mind, peer.probe, question)


def _asked_epoch(mind: StockMind, running: Failover | None) -> Epoch:
    """Q1: the request carries the *current* epoch, whatever the attempt's is."""
    return mind.state.current_epoch if running is None or mind.defects.q1 else running.epoch


def hear_opinion(
    mind: StockMind, master: StockMaster, peer: StockPeer, down: bool, leader: RunId | None, epoch: Epoch
) -> None:
    """A reply: it is matched with no request, no epoch and no address (Q15)."""
    peer.replied_at_ms = mind.now_ms
    peer.master_down = down
    if leader is not None:
        peer.voted_for, peer.vote_epoch = leader, epoch


# ---------------------------------------------------------------- votes, core.md 10


def vote(mind: StockMind, master: StockMaster, epoch: Epoch, candidate: RunId) -> tuple[RunId | None, Epoch]:
    """[10.2] The vote rule, for others and for myself: the vote of `epoch`, or an older one."""
    state, subject = mind.state, mind.subject(master)
    if epoch > state.current_epoch:
        state.current_epoch = epoch
        mind.flush()
        mind.emit(e.EpochRaised(epoch=epoch, subject=subject))
    if master.leader_epoch < epoch and state.current_epoch <= epoch:
        before = master.voted_for, master.leader_epoch
        master.voted_for, master.leader_epoch = candidate, state.current_epoch
        if not mind.flush() and not mind.defects.q3:
            master.voted_for, master.leader_epoch = before
            return None, 0
        attempt_at_ms = None
        if candidate != state.my_id:
            attempt_at_ms = master.attempt_at_ms = mind.now_ms + mind.dice.below(DESYNC_MS)
        mind.emit(
            e.VoteCast(subject=subject, candidate=candidate, epoch=master.leader_epoch, attempt_at_ms=attempt_at_ms)
        )
    return master.voted_for, master.leader_epoch


def count_votes(mind: StockMind, master: StockMaster, epoch: Epoch) -> tuple[RunId | None, int]:
    """[10.3] The winner of the attempt's election so far, if there is one, and its votes."""
    counted = mind.state.current_epoch if mind.defects.q1 else epoch
    votes: Counter[RunId] = Counter()
    for peer in _peers(master):
        if peer.voted_for is not None and peer.vote_epoch == counted:
            votes[peer.voted_for] += 1
    favourite = max(votes, key=lambda run_id: votes[run_id], default=None)
    mine, mine_epoch = vote(mind, master, epoch, favourite or mind.state.my_id)
    if mine is not None and mine_epoch == epoch:
        votes[mine] += 1
    winner = max(votes, key=lambda run_id: votes[run_id], default=None)
    if winner is None or votes[winner] < max(master.voters // 2 + 1, master.settings.quorum):
        return None, 0
    return winner, votes[winner]
