"""core.md Q1: stock counts a vote by the current epoch, so one epoch can get two leaders. It cannot happen here.

The story, as it was reproduced on stock: one real sentinel and four scripted peers. The sentinel stands for epoch 1.
Before the votes are in, the process-wide epoch moves to 2, because another master or another sentinel raised it. Two
peers then give their votes for epoch 2. Stock adds these to the self vote of epoch 1 and leads epoch 1, which another
one may lead already, by the votes of the other two.
"""

from __future__ import annotations

import pytest

from tests.model.given import DOWN_AFTER_MS, ME, P1, P2, P3, P4, Given, given
from trio_sentinel.model import effects as fx
from trio_sentinel.model import events as e
from trio_sentinel.model.decide import agreement
from trio_sentinel.model.observations import Opinion
from trio_sentinel.model.situation import Situation
from trio_sentinel.model.state import Failover, Master, WaitingForVotes


def candidate_for_epoch_one() -> Given:
    """Five sentinels; all see the master down, I stand first, nobody has answered my request for votes yet."""
    kit = given(peers=4, quorum=2)
    kit.kill_master()
    kit.muted.add(fx.AskPeer)
    kit.wait(DOWN_AFTER_MS + 100)
    for run_id in (P1, P2, P3, P4):
        kit.opinion(run_id, down=True)
    kit.wait(agreement.STAND_STEP_MS * 5 + 50)
    failover = kit.master.failover
    assert failover is not None and failover.epoch == 1 and isinstance(failover.phase, WaitingForVotes)
    return kit


def overtaken_by_epoch_two(kit: Given) -> None:
    """The process-wide epoch moves on while the votes for epoch 1 are awaited."""
    kit.hello(P4, epoch=2)
    assert kit.engine.state.current_epoch == 2


def leads(kit: Given) -> bool:
    return any(isinstance(event, e.LeaderElected) for event in kit.log)


def test_votes_of_a_newer_epoch_do_not_elect_a_leader_of_an_older_one() -> None:
    kit = candidate_for_epoch_one()
    overtaken_by_epoch_two(kit)
    for run_id in (P1, P2):
        kit.opinion(run_id, leader=ME, epoch=2)
    assert not leads(kit)


def test_votes_of_the_own_epoch_count_although_the_current_epoch_moved_on() -> None:
    """The other side of the defect (Q2): a rightful winner must not be thrown out."""
    kit = candidate_for_epoch_one()
    overtaken_by_epoch_two(kit)
    for run_id in (P1, P2):
        kit.opinion(run_id, leader=ME, epoch=1)
    assert leads(kit)


def test_votes_are_asked_for_in_the_epoch_of_the_attempt() -> None:
    kit = candidate_for_epoch_one()
    overtaken_by_epoch_two(kit)
    for run_id in (P1, P2, P3, P4):
        kit.opinion(run_id, down=True)  # answered: the next question is due a period later
    questions = kit.wait(3000).all(fx.AskPeer)
    assert questions
    assert {question.epoch for question in questions} == {1}


def _stock_rule(s: Situation, master: Master, failover: Failover) -> int:
    """What stock does: a peer's vote counts when it is of the *current* epoch."""

    def counts(opinion: Opinion) -> bool:
        return opinion.voted_for == s.state.my_id and opinion.vote_epoch == s.state.current_epoch

    own = int(master.voted_for == s.state.my_id and master.leader_epoch == failover.epoch)
    return own + sum(counts(s.opinion(master, run_id)) for run_id in master.peers)


def test_without_the_fix_the_test_above_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """With stock's rule in its place the same story elects a second leader of epoch 1: the check can fail."""
    monkeypatch.setattr(agreement, "votes_for_me", _stock_rule)
    kit = candidate_for_epoch_one()
    overtaken_by_epoch_two(kit)
    for run_id in (P1, P2):
        kit.opinion(run_id, leader=ME, epoch=2)
    assert leads(kit)
