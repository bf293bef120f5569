"""Time that jumps: nothing is decided for a while, but everything is still heard (core.md 8, Q20, Q21)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.model.given import (
    DOWN_AFTER_MS,
    FAILOVER_TIMEOUT_MS,
    MASTER,
    ME,
    NAME,
    P1,
    P2,
    P3,
    R1,
    R2,
    R3,
    Given,
    given,
    master_info,
    replica_info,
)
from trio_sentinel.model import effects as fx
from trio_sentinel.model import events as e
from trio_sentinel.model import inputs as i
from trio_sentinel.model.state import (
    Phase,
    ReconfiguringReplicas,
    SelectingReplica,
    WaitingForPromotion,
    WaitingForVotes,
)
from trio_sentinel.model.values import Channel, ServerLink

TRIGGER_MS, PERIOD_MS = 2000, 30_000


def tilted() -> Given:
    kit = given()
    assert kit.stall(TRIGGER_MS + 1).has(e.TiltEntered)
    return kit


def test_stall_of_the_trigger_is_borne_and_a_millisecond_more_is_not() -> None:
    assert not given().stall(TRIGGER_MS).has(e.TiltEntered)
    assert given().stall(TRIGGER_MS + 1).has(e.TiltEntered)


def test_any_input_after_the_stall_finds_it_out() -> None:
    kit = given()
    kit.now_ms += TRIGGER_MS + 1
    assert kit.hello(P1).has(e.TiltEntered)


def test_wall_clock_that_jumps_either_way_by_more_than_the_trigger_is_a_jump() -> None:
    for step_ms in (TRIGGER_MS + 1, -TRIGGER_MS - 1):
        kit = given()
        kit.wait(100)
        kit.wall_offset_ms = step_ms
        assert kit.wait(100).has(e.TiltEntered), step_ms


def test_wall_clock_may_step_by_the_trigger() -> None:
    for step_ms in (TRIGGER_MS, -TRIGGER_MS):
        kit = given()
        kit.wait(100)
        kit.wall_offset_ms = step_ms
        assert not kit.wait(5000).has(e.TiltEntered), step_ms


def test_quiet_sentinel_does_not_take_its_own_silence_for_a_stall() -> None:
    kit = given(peers=0, replicas=0)
    assert not kit.wait(300_000).has(e.TiltEntered)


def test_tilt_ends_after_its_period() -> None:
    kit = tilted()
    assert not kit.wait(PERIOD_MS - 1).has(e.TiltExited)
    assert kit.wait(1).has(e.TiltExited)


def test_another_jump_starts_the_period_anew_and_is_told_again() -> None:
    kit = tilted()
    kit.wait(20_000)
    assert kit.stall(TRIGGER_MS + 1).has(e.TiltEntered)
    assert not kit.wait(PERIOD_MS - 1).has(e.TiltExited)
    assert kit.wait(1).has(e.TiltExited)
    assert kit.engine.state.total_tilt == 2


def test_nobody_goes_down_in_tilt_and_the_silence_counts_when_it_ends() -> None:
    """Property 25."""
    kit = tilted()
    kit.silence(MASTER)
    assert not kit.wait(4 * DOWN_AFTER_MS).has(e.WentDown)
    heard = kit.wait(PERIOD_MS)
    assert heard.kinds.index(e.TiltExited) < heard.kinds.index(e.WentDown)


def test_nobody_comes_back_in_tilt() -> None:
    kit = given()
    kit.silence(R1)
    kit.wait(2 * DOWN_AFTER_MS)
    kit.stall(TRIGGER_MS + 1)
    kit.servers[R1].pong = "PONG"
    assert not kit.wait(10_000).has(e.CameBack)
    assert kit.wait(PERIOD_MS).has(e.CameBack)


def test_every_question_is_answered_with_up_in_tilt() -> None:
    kit = given(quorum=3)
    kit.master_down()
    assert kit.vote_asked(None, 0).one(fx.AnswerOpinion).down
    kit.stall(TRIGGER_MS + 1)
    assert not kit.vote_asked(None, 0).one(fx.AnswerOpinion).down


def test_q20_votes_are_given_in_tilt() -> None:
    answer = tilted().vote_asked(P1, 4).one(fx.AnswerOpinion)
    assert (answer.down, answer.leader, answer.leader_epoch) == (False, P1, 4)


def test_q20_switches_and_peers_are_taken_over_in_tilt() -> None:
    kit = tilted()
    assert kit.hello(P3).has(e.PeerFound)
    assert kit.hello(P1, epoch=3, config_epoch=3, master=R1).has(e.MasterSwitched)


def test_nobody_is_asked_in_tilt() -> None:
    kit = given(quorum=3)
    kit.master_down()
    kit.stall(TRIGGER_MS + 1)
    assert not kit.wait(10_000).has(fx.AskPeer)


def test_probing_goes_on_in_tilt() -> None:
    heard = tilted().wait(20_000)
    assert heard.has(fx.SendPing)
    assert heard.has(fx.PollInfo)
    assert heard.has(fx.SayHello)


def test_replicas_and_roles_are_noted_in_tilt_but_nobody_is_corrected() -> None:
    kit = given()
    kit.info(MASTER, master_info())
    kit.info(R1, master_info())
    kit.wait(7000)
    kit.stall(TRIGGER_MS + 1)
    assert not kit.info(R1, master_info()).has(e.ReplicaConverted)
    assert kit.info(R2, master_info()).has(e.RoleReported)
    assert kit.info(MASTER, master_info(replicas=(R3,))).has(e.ReplicaFound)


def test_failover_stands_still_in_tilt_and_may_time_out_at_its_end() -> None:
    kit = given(failover_timeout_ms=20_000)
    kit.elected()
    kit.stall(TRIGGER_MS + 1)
    assert not kit.info(R1, master_info()).has(e.PromotionSeen)
    kit.servers[R1].info = replica_info()
    assert not kit.wait(PERIOD_MS - 1).has(e.FailoverAborted)
    assert kit.wait(1).one(e.FailoverAborted).reason is e.Abort.REPLICA_TIMEOUT


def waiting_for_votes() -> Given:
    kit = given()
    kit.agree()
    kit.peers[P1].votes = kit.peers[P2].votes = False
    kit.master_down()
    kit.wait(200)
    kit.agree()
    return kit


def selecting() -> Given:
    kit = given()
    kit.muted.add(fx.PollInfo)
    kit.failover()
    return kit


def awaiting() -> Given:
    kit = given()
    kit.elected()
    return kit


def unpublished() -> Given:
    kit = given()
    kit.failover()
    kit.saving = None
    kit.info(R1, master_info())
    return kit


def unpublished_handover() -> Given:
    kit = given()
    kit.agree()
    kit.failover(coordinated=True)
    kit.saving = None
    kit.info(R1, master_info())
    return kit


def reconfiguring() -> Given:
    kit = given()
    kit.promoted()
    return kit


ORDERS = (fx.Promote, fx.Repoint, fx.HandOver, fx.KillClients)


@pytest.mark.parametrize(
    ("start", "phase"),
    [
        (waiting_for_votes, WaitingForVotes),
        (selecting, SelectingReplica),
        (awaiting, WaitingForPromotion),
        (unpublished, ReconfiguringReplicas),
        (unpublished_handover, ReconfiguringReplicas),
        (reconfiguring, ReconfiguringReplicas),
    ],
)
def test_every_phase_stands_still_in_tilt_and_goes_on_after_it(start: Callable[[], Given], phase: type[Phase]) -> None:
    """Property 25, whatever arrives meanwhile: votes, promotions, saves."""
    kit = start()
    before = kit.master.failover
    assert before is not None
    assert isinstance(before.phase, phase)
    kit.stall(TRIGGER_MS + 1)
    heard = kit.wait(1000)
    while kit.asked_to_save:
        heard.effects += kit.save_answered().effects
    kit.saving = True
    for run_id in (P1, P2):
        heard.effects += kit.opinion(run_id, leader=ME, epoch=before.epoch).effects
    heard.effects += kit.info(R1, master_info()).effects
    heard.effects += kit.info(R2, replica_info(R1)).effects
    heard.effects += kit.wait(PERIOD_MS - 1001).effects
    assert kit.master.failover == before
    assert not [effect for effect in heard.effects if isinstance(effect, ORDERS)]
    assert not heard.has(fx.AskPeer)
    kit.muted.clear()
    kit.wait(1)
    kit.info(R1, master_info())
    kit.info(R2, replica_info(R1))
    kit.wait(12_000)
    assert kit.master.failover != before


def test_no_attempt_begins_in_tilt() -> None:
    """Property 11."""
    kit = given(quorum=3, failover_timeout_ms=FAILOVER_TIMEOUT_MS)
    kit.master_down()
    kit.stall(TRIGGER_MS + 1)
    for run_id in kit.peers:
        kit.opinion(run_id, down=True)
    assert not kit.wait(10_000).has(e.FailoverStarted)


def test_dead_connections_are_not_closed_in_tilt() -> None:
    kit = given()
    kit.wait(20_000)
    kit.stall(TRIGGER_MS + 1)
    kit.silence(R1)
    closed = {close.link for close in kit.wait(PERIOD_MS - 2000).all(fx.CloseLink)}
    assert ServerLink(NAME, R1) not in closed


def test_lost_connections_are_opened_again_in_tilt() -> None:
    kit = tilted()
    lost = i.LinkLost(ServerLink(NAME, R1), Channel.COMMAND, "reset")
    heard = kit.hear(lost)
    heard.effects += kit.wait(2000).effects
    assert any(dial.link == ServerLink(NAME, R1) for dial in heard.all(fx.OpenLink))
