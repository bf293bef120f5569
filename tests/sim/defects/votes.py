"""Votes, epochs and leaders: what is forgotten, given twice, counted wrongly or told too early."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
from msgspec import structs

from trio_sentinel.model import effects as fx
from trio_sentinel.model import engine, replay, rhythm
from trio_sentinel.model import events as e
from trio_sentinel.model.decide import agreement, topology
from trio_sentinel.model.situation import Situation
from trio_sentinel.model.state import Manner, Master, WaitingForVotes

from .planting import CRASHES, CUTS, FAILOVERS, Defect, Patch, without_assertions


def _vote_not_saved(patch: Patch) -> None:
    """A vote, and the epoch it is for, are told before they are on disk."""
    for kind in (e.VoteCast, e.EpochRaised):
        patch.setattr(kind, "durable", False)


def _own_vote_not_saved(patch: Patch) -> None:
    """Peers are asked for votes before our own is on disk (core.md Q4)."""
    asking = rhythm._asking

    def eager(s: Situation, master: Master) -> bool:
        running = master.failover
        voting = running is not None and isinstance(running.phase, WaitingForVotes)
        return (voting and master.s_down and s.state.tilt_since_ms is None) or asking(s, master)

    patch.setattr(rhythm, "_asking", eager)
    patch.setattr(fx.AskPeer, "audible", False)


def _any_epoch_counts(patch: Patch) -> None:
    """Votes of other epochs are counted (core.md Q1)."""

    def votes(s: Situation, master: Master, running: Any) -> int:
        own = int(master.voted_for == s.state.my_id)
        return own + sum(1 for run_id in master.peers if s.opinion(master, run_id).voted_for == s.state.my_id)

    patch.setattr(agreement, "votes_for_me", votes)


def _a_down_report_is_a_vote(patch: Patch) -> None:
    """Whoever says that the master is down is counted as a voter for me."""

    def votes(s: Situation, master: Master, running: Any) -> int:
        return 1 + sum(1 for run_id in master.peers if s.opinion(master, run_id).master_down)

    patch.setattr(agreement, "votes_for_me", votes)


def _no_majority(patch: Patch) -> None:
    """The quorum alone makes a leader."""
    patch.setattr(Master, "votes_needed", property(lambda master: master.settings.quorum))


def _no_quorum_for_leaders(patch: Patch) -> None:
    """One vote makes a leader."""
    patch.setattr(Master, "votes_needed", property(lambda master: 1))


def _vote_again(patch: Patch) -> None:
    """The newest candidate gets the vote of an epoch that was given away."""

    def vote(s: Situation, master: Master, epoch: int, candidate: Any) -> Iterator[e.Event]:
        subject = s.state.subject_of_master(master)
        if epoch > s.state.current_epoch:
            yield e.EpochRaised(epoch=epoch, subject=subject)
        if s.state.current_epoch <= epoch:
            yield e.VoteCast(subject=subject, candidate=candidate, epoch=epoch, attempt_at_ms=s.now_ms)

    patch.setattr(agreement, "vote", vote)


def _vote_forgotten_at_restart(patch: Patch) -> None:
    """The epoch of the last vote is not read from the file."""
    events = replay.master_events

    def forgetful(s: Situation, snapshot: Any, now_ms: int) -> Iterator[e.Event]:
        masters = tuple(attrs.evolve(known, leader_epoch=0) for known in snapshot.masters)
        yield from events(s, attrs.evolve(snapshot, masters=masters), now_ms)

    patch.setattr(engine, "master_events", forgetful)


def _vote_not_written(patch: Patch) -> None:
    """The epoch of the last vote is not in the file."""
    snapshot_of = replay.snapshot_of

    def without(state: Any) -> Any:
        whole = snapshot_of(state)
        return attrs.evolve(whole, masters=tuple(attrs.evolve(known, leader_epoch=0) for known in whole.masters))

    patch.setattr(engine, "snapshot_of", without)


def _epoch_forgotten_at_restart(patch: Patch) -> None:
    """The current epoch starts at zero again."""
    restored = replay.restored
    patch.setattr(engine, "restored", lambda *args: structs.replace(restored(*args), current_epoch=0))
    events = replay.master_events

    def forgetful(s: Situation, snapshot: Any, now_ms: int) -> Iterator[e.Event]:
        masters = tuple(attrs.evolve(known, leader_epoch=0, config_epoch=0) for known in snapshot.masters)
        yield from events(s, attrs.evolve(snapshot, masters=masters), now_ms)

    patch.setattr(engine, "master_events", forgetful)


def _epoch_used_again(patch: Patch) -> None:
    """An attempt runs under the current epoch instead of a new one."""
    start = agreement.start_attempt

    def again(s: Situation, master: Master, manner: Manner) -> Iterator[e.Event]:
        for event in start(s, master, manner):
            if isinstance(event, e.FailoverStarted | e.VoteCast):
                yield structs.replace(event, epoch=max(1, s.state.current_epoch))
            elif s.state.current_epoch == 0:
                yield event

    patch.setattr(agreement, "start_attempt", again)


def _epoch_shared_with_later_ones(patch: Patch) -> None:
    """Whoever stands does so under the epoch that is current, as if it was raised for another master just now."""
    patch.setattr(agreement, "_may_share_epoch", lambda s, master: s.state.current_epoch > 0)


def _epochs_in_hellos_not_counted(patch: Patch) -> None:
    """A configuration is believed, and its epoch is not taken as the current one (rule R5)."""
    without_assertions(patch)
    hear = topology.hear_hello

    def deaf(s: Situation, hello: Any, switch: Any) -> Iterator[e.Event]:
        yield from (event for event in hear(s, hello, switch) if not isinstance(event, e.EpochRaised))

    patch.setattr(topology, "hear_hello", deaf)


def _epoch_out_of_range(patch: Patch) -> None:
    """The epoch of an attempt has its sign bit set (core.md Q6)."""
    without_assertions(patch)
    start = agreement.start_attempt

    def beyond(s: Situation, master: Master, manner: Manner) -> Iterator[e.Event]:
        for event in start(s, master, manner):
            assert isinstance(event, e.EpochRaised | e.FailoverStarted | e.VoteCast)
            yield structs.replace(event, epoch=event.epoch | 2**63)

    patch.setattr(agreement, "start_attempt", beyond)


DEFECTS: dict[str, Defect] = {
    "the vote is told before it is saved": Defect(_vote_not_saved, ("1", "4", "3", "10"), CRASHES),
    "votes are asked for before the own one is saved": Defect(_own_vote_not_saved, ("1", "4")),
    "votes of any epoch are counted": Defect(_any_epoch_counts, ("7", "8"), CUTS),
    "a report of the master being down is counted as a vote": Defect(_a_down_report_is_a_vote, ("7", "8")),
    "the quorum alone makes a leader": Defect(_no_majority, ("8", "9"), CUTS, (("quorum", 1), ("sentinels", 5))),
    "one vote makes a leader": Defect(_no_quorum_for_leaders, ("8", "9")),
    "a vote is given twice": Defect(_vote_again, ("2", "3")),
    "the vote is forgotten at a restart": Defect(
        _vote_forgotten_at_restart,
        ("1", "2", "3", "4"),
        (("kill server", 8), ("trap sentinel", 8)),
        (("pause_ms", 600),),
    ),
    "the vote is not in the file": Defect(_vote_not_written, ("1", "4")),
    "the epoch is forgotten at a restart": Defect(_epoch_forgotten_at_restart, ("1", "3", "4", "10", "20"), CRASHES),
    "an attempt uses an old epoch": Defect(_epoch_used_again, ("2", "3", "8", "10")),
    "an epoch is shared with elections that come later": Defect(
        _epoch_shared_with_later_ones, ("2", "3", "8", "10"), FAILOVERS, (("masters", 3),)
    ),
    "epochs in hellos are not counted": Defect(_epochs_in_hellos_not_counted, ("5",)),
    "an epoch out of range": Defect(_epoch_out_of_range, ("6",)),
}
