"""Who is subjectively down, to the millisecond (core.md 7.1, 5.4, 4.1)."""

from __future__ import annotations

import pytest

from tests.model.given import (
    DOWN_AFTER_MS,
    MASTER,
    NAME,
    P1,
    R1,
    START_MS,
    given,
    master_info,
    replica_info,
)
from trio_sentinel.model import effects as fx
from trio_sentinel.model import events as e
from trio_sentinel.model import inputs as i
from trio_sentinel.model.values import Channel, Kind, PeerLink, ServerLink


def test_master_is_down_one_millisecond_after_down_after_since_the_first_unanswered_ping() -> None:
    kit = given()
    since_ms = kit.silence(MASTER)
    assert not kit.wait_until(since_ms + DOWN_AFTER_MS).has(e.WentDown)
    down = kit.wait(1).one(e.WentDown)
    assert down.subject.kind is Kind.MASTER
    assert down.at_ms == since_ms + DOWN_AFTER_MS + 1
    assert kit.master.s_down


def test_replica_is_down_by_the_same_rule_with_the_length_of_its_master() -> None:
    kit = given()
    since_ms = kit.silence(R1)
    assert not kit.wait_until(since_ms + DOWN_AFTER_MS).has(e.WentDown)
    assert kit.wait(1).one(e.WentDown).address == R1
    assert not kit.master.s_down


def test_peer_is_down_by_the_same_rule() -> None:
    kit = given()
    kit.peers[P1].silent()
    sense = kit.engine.senses.peers[P1]
    while sense.ping_since_ms is None:
        kit.wait(1)
    assert not kit.wait_until(sense.ping_since_ms + DOWN_AFTER_MS).has(e.WentDown)
    assert kit.wait(1).one(e.WentDown).run_id == P1


def test_clock_starts_with_the_loss_of_the_connection_when_no_ping_was_pending() -> None:
    kit = given()
    lost_ms = kit.now_ms
    kit.kill_master()
    assert not kit.wait_until(lost_ms + DOWN_AFTER_MS).has(e.WentDown)
    assert kit.wait(1).has(e.WentDown)


def test_loss_of_the_connection_does_not_restart_the_clock_of_an_unanswered_ping() -> None:
    kit = given()
    since_ms = kit.silence(MASTER)
    kit.wait(2000)
    kit.kill_master()
    assert not kit.wait_until(since_ms + DOWN_AFTER_MS).has(e.WentDown)
    assert kit.wait(1).has(e.WentDown)


def test_instance_that_was_never_reached_is_down_down_after_its_creation() -> None:
    kit = given(settled=False, replicas=0, peers=0)
    kit.restart()
    kit.servers[MASTER].silent()
    kit.servers[MASTER].reachable = False
    kit.restart()
    assert kit.now_ms == START_MS
    assert not kit.wait(DOWN_AFTER_MS).has(e.WentDown)
    assert kit.wait(1).has(e.WentDown)


@pytest.mark.parametrize("reply", ["PONG", "PONG and more", "LOADING Redis is loading", "MASTERDOWN Link with MASTER"])
def test_acceptable_reply_keeps_an_instance_up(reply: str) -> None:
    kit = given()
    kit.servers[R1].pong = reply
    assert not kit.wait(3 * DOWN_AFTER_MS).has(e.WentDown)


@pytest.mark.parametrize("reply", ["pong", " PONG", "NOAUTH Authentication required.", "BUSY Redis is busy", "", "OK"])
def test_other_replies_do_not_keep_it_up(reply: str) -> None:
    kit = given()
    kit.servers[R1].pong = reply
    assert kit.wait(3 * DOWN_AFTER_MS).one(e.WentDown).address == R1


def test_instance_is_back_with_its_first_good_reply() -> None:
    kit = given()
    kit.silence(R1)
    kit.wait(DOWN_AFTER_MS + 1)
    back = kit.hear(i.PingAnswered(ServerLink(NAME, R1), "PONG")).one(e.CameBack)
    assert back.address == R1


def test_down_and_back_alternate() -> None:
    """Property 26."""
    kit = given()
    for _ in range(3):
        kit.silence(MASTER)
        kit.wait(2 * DOWN_AFTER_MS)
        kit.servers[MASTER].pong = "PONG"
        kit.servers[MASTER].info = master_info()
        kit.wait(2 * DOWN_AFTER_MS)
    spoken = [type(x) for x in kit.log if isinstance(x, e.WentDown | e.CameBack) and x.subject.kind is Kind.MASTER]
    assert spoken == [e.WentDown, e.CameBack] * 3


def test_moment_of_the_last_fall_is_kept_when_the_instance_is_back() -> None:
    """Later orders wait until it has been up for long enough (5.3)."""
    kit = given()
    kit.silence(R1)
    fell_ms = kit.wait(2 * DOWN_AFTER_MS).one(e.WentDown).at_ms
    kit.servers[R1].pong = "PONG"
    kit.wait(2000)
    replica = kit.master.replicas[R1]
    assert not replica.s_down
    assert replica.s_down_since_ms == fell_ms


def test_master_that_says_it_is_a_replica_is_down_after_two_more_info_periods() -> None:
    kit = given()
    kit.info(MASTER, replica_info(R1))
    since_ms = kit.master.role_since_ms
    assert not kit.wait_until(since_ms + DOWN_AFTER_MS + 20_000).has(e.WentDown)
    assert kit.wait(1).one(e.WentDown).subject.kind is Kind.MASTER
    assert kit.info(MASTER, master_info()).one(e.CameBack).subject.kind is Kind.MASTER


def test_shorter_down_after_holds_at_once_and_for_all() -> None:
    kit = given()
    kit.silence(MASTER)
    kit.silence(R1)
    kit.wait(2000)
    assert not kit.master.s_down
    fallen = kit.set(("down-after-milliseconds", "1500")).all(e.WentDown)
    assert {down.address for down in fallen} == {MASTER, R1}


# ---------------------------------------------------------------- reboot


def test_rebooted_master_that_only_loads_is_down_after_the_reboot_period() -> None:
    kit = given(reboot_down_after_ms=3000)
    kit.info(MASTER, master_info(run_id="1" * 40))
    kit.servers[MASTER].pong = "LOADING Redis is loading the dataset in memory"
    assert kit.info(MASTER, master_info(run_id="2" * 40)).one(e.ServerRebooted).waiting
    assert not kit.wait(3000).has(e.WentDown)
    assert kit.wait(1).has(e.WentDown)


def test_rebooted_master_that_says_pong_is_not_waited_for_any_more() -> None:
    kit = given(reboot_down_after_ms=3000)
    kit.info(MASTER, master_info(run_id="1" * 40))
    kit.info(MASTER, master_info(run_id="2" * 40))
    assert kit.wait(1100).has(e.RebootOver)
    assert not kit.wait(10_000).has(e.WentDown)


def test_reboot_is_told_but_not_waited_for_without_a_reboot_period() -> None:
    kit = given()
    kit.info(MASTER, master_info(run_id="1" * 40))
    kit.servers[MASTER].pong = "LOADING"
    assert not kit.info(MASTER, master_info(run_id="2" * 40)).one(e.ServerRebooted).waiting
    assert not kit.wait(30_000).has(e.WentDown)


def test_first_run_id_is_no_reboot_and_a_replica_is_never_waited_for() -> None:
    kit = given(replicas=1, reboot_down_after_ms=1000)
    assert not any(isinstance(event, e.ServerRebooted) for event in kit.log)
    assert not kit.info(R1, replica_info(run_id="9" * 40)).one(e.ServerRebooted).waiting


# ---------------------------------------------------------------- a script that never ends


def test_busy_server_gets_one_script_kill_in_each_period_of_being_down() -> None:
    kit = given()
    kit.servers[MASTER].pong = "BUSY Redis is busy running a script."
    assert len(kit.wait(4 * DOWN_AFTER_MS).all(fx.KillScript)) == 1
    kit.servers[MASTER].pong = "PONG"
    kit.wait(2000)
    assert not kit.master.s_down
    kit.servers[MASTER].pong = "BUSY Redis is busy running a script."
    assert len(kit.wait(4 * DOWN_AFTER_MS).all(fx.KillScript)) == 1


def test_busy_server_that_is_not_down_keeps_its_script() -> None:
    kit = given()
    kit.servers[MASTER].pong = "BUSY Redis is busy running a script."
    assert not kit.wait(DOWN_AFTER_MS).has(fx.KillScript)


# ---------------------------------------------------------------- Q22


def test_q22_lost_pubsub_connection_does_not_stop_the_probing_of_a_healthy_server() -> None:
    kit = given()
    kit.muted.add(fx.OpenLink)
    kit.hear(i.LinkLost(ServerLink(NAME, R1), Channel.PUBSUB, "closed"))
    heard = kit.wait(3 * DOWN_AFTER_MS)
    assert not heard.has(e.WentDown)
    assert any(ping.link == ServerLink(NAME, R1) for ping in heard.all(fx.SendPing))
    assert any(poll.link == ServerLink(NAME, R1) for poll in heard.all(fx.PollInfo))


def test_new_connection_to_a_peer_carries_new_questions_and_hellos() -> None:
    """The kill rule closes the connection of a stopped peer: what was asked over it is not waited for any more."""
    kit = given()
    kit.wait(20_000)
    kit.silence(MASTER)
    kit.peers[P1].silent()
    heard = kit.wait(60_000)
    lost = [close for close in heard.all(fx.CloseLink) if close.link == PeerLink(P1)]
    asks = [ask for ask in heard.all(fx.AskPeer) if ask.peer == PeerLink(P1)]
    hellos = [hello for hello in heard.all(fx.SayHello) if hello.link == PeerLink(P1)]
    assert len(lost) >= 2
    assert len(asks) >= len(lost)
    assert len(hellos) >= len(lost)
