"""Epochs, votes, candidates and leaders: properties 1, 2, 4 and 7 to 11, as the events tell of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_sentinel.model import events as e
from trio_sentinel.model.state import Manner, WaitingForVotes
from trio_sentinel.sim.broken import require
from trio_sentinel.sim.ledger import EventRule, Leader, Ledger, Shadow, kept_line

if TYPE_CHECKING:
    from trio_sentinel.sim.process import SimSentinel


def _epoch_raised(ledger: Ledger, sentinel: SimSentinel, shadow: Shadow, event: e.EpochRaised) -> None:
    require(event.epoch > shadow.state.current_epoch, 1, f"{sentinel.name}: the current epoch falls")


def _vote_cast(ledger: Ledger, sentinel: SimSentinel, shadow: Shadow, event: e.VoteCast) -> None:
    master = shadow.master(event)
    require(event.epoch > master.leader_epoch, 2, f"{sentinel.name} votes again in epoch {event.epoch}")
    ledger.cast_as.setdefault((shadow.my_id, event.epoch, event.candidate), set()).add(master.name)
    if event.candidate != shadow.my_id and master.failover is not None:
        ledger.cluster.seen["a candidate votes for another"] += 1


def _failover_started(ledger: Ledger, sentinel: SimSentinel, shadow: Shadow, event: e.FailoverStarted) -> None:
    """Property 11. (A lost election may be repeated soon: then the fold has no ``attempt_at_ms``.)"""
    master = shadow.master(event)
    require(master.failover is None, 11, f"{sentinel.name} starts a second attempt for {master.name}")
    if event.manner is not Manner.AUTOMATIC:
        return
    require(master.o_down, 11, f"{sentinel.name} starts an attempt without O_DOWN")
    require(shadow.state.tilt_since_ms is None, 25, f"{sentinel.name} starts an attempt in TILT")
    if master.attempt_at_ms is not None:
        waited_ms = event.at_ms - master.attempt_at_ms
        enough = waited_ms >= 2 * master.settings.failover_timeout_ms
        require(enough, 11, f"{sentinel.name} stands again after {waited_ms} ms")


def _vote_saved(ledger: Ledger, sentinel: SimSentinel, shadow: Shadow, event: e.VoteSaved) -> None:
    """Properties 4 and 10: my own vote counts once it is on disk, and no epoch is used twice."""
    name, master = event.subject.master, shadow.master(event)
    assert master.failover is not None
    epoch = master.failover.epoch
    known = kept_line(sentinel, name)
    require(known is not None and known.leader_epoch >= epoch, 4, f"{sentinel.name} counts a vote not on disk")
    used = ledger.past(shadow.my_id).attempts
    fresh = (name, epoch) not in used or shadow.my_id in ledger.doubles
    require(fresh, 10, f"{sentinel.name} stands twice in epoch {epoch} of {name}")
    used.add((name, epoch))
    ledger.note_vote(sentinel, name, epoch, shadow.my_id, shadow.my_id)


def _leader_elected(ledger: Ledger, sentinel: SimSentinel, shadow: Shadow, event: e.LeaderElected) -> None:
    """Properties 7, 8 and 9."""
    name, master = event.subject.master, shadow.master(event)
    assert master.failover is not None
    epoch, manner = master.failover.epoch, master.failover.manner
    require(isinstance(master.failover.phase, WaitingForVotes), 8, f"{sentinel.name}: elected out of order")
    if manner is not Manner.FORCED:
        needed = max(master.voters // 2 + 1, master.settings.quorum)
        require(event.votes >= needed, 9, f"{sentinel.name} leads with {event.votes} of {needed} votes")
        real = ledger.votes_for(shadow.my_id, (name, epoch))
        require(
            event.votes <= real,
            7,
            f"{sentinel.name} counts {event.votes} votes in epoch {epoch}, {real} were given",
        )
    ledger.note_leader((name, epoch), Leader(shadow.my_id, manner, event.votes, ledger.cluster.world.now_ms))
    ledger.cluster.leader_elected(sentinel, master, manner)


RULES: Final[dict[type[e.Event], EventRule]] = {
    e.EpochRaised: _epoch_raised,
    e.VoteCast: _vote_cast,
    e.FailoverStarted: _failover_started,
    e.VoteSaved: _vote_saved,
    e.LeaderElected: _leader_elected,
}
