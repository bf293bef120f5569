"""What operators ask for (core.md 13, commands.md 7; Q16, Q25)."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest

from tests.model.given import (
    DOWN_AFTER_MS,
    MASTER,
    NAME,
    P1,
    R1,
    R3,
    Given,
    given,
    master_info,
    replica_info,
)
from trio_sentinel.model import effects as fx
from trio_sentinel.model import events as e
from trio_sentinel.model import inputs as i
from trio_sentinel.model.refusals import Refusal
from trio_sentinel.model.settings import GlobalSettings
from trio_sentinel.model.values import Address, PeerLink, ServerLink

OTHER = Address("10.0.7.1", 6379)


def error(heard: object) -> str | None:
    assert hasattr(heard, "one")
    answer: fx.Answer = heard.one(fx.Answer)
    return answer.error


# ---------------------------------------------------------------- MONITOR and REMOVE


def test_monitored_master_is_dialled_and_saved_before_the_answer() -> None:
    kit = given()
    kit.saving = None
    heard = kit.ask(lambda n: i.MonitorAsked(n, "other", OTHER, 3))
    assert not heard.has(fx.Answer)
    assert any(dial.address == OTHER for dial in heard.all(fx.OpenLink))
    assert error(kit.save_answered()) is None
    assert kit.disk is not None
    assert [known.name for known in kit.disk.masters] == [NAME, "other"]


def test_q19_two_masters_at_one_address_are_warned_about() -> None:
    kit = given(names=(NAME, "b"))
    at = kit.engine.state.masters["b"].address
    heard = kit.ask(lambda n: i.MonitorAsked(n, "a", at, 2))
    assert heard.one(e.MasterMonitored).twin == "b"
    again = kit.restart()
    assert {event.subject.name: event.twin for event in again.all(e.MasterMonitored)} == {
        "b": None,
        NAME: None,
        "a": "b",
    }


def test_monitored_master_has_the_defaults_of_the_process() -> None:
    kit = given()
    kit.ask(lambda n: i.TimingSetAsked(n, "default_down_after_ms", 777))
    kit.ask(lambda n: i.TimingSetAsked(n, "default_failover_timeout_ms", 888))
    kit.ask(lambda n: i.MonitorAsked(n, "other", OTHER, 3))
    settings = kit.engine.state.masters["other"].settings
    assert (settings.quorum, settings.parallel_syncs) == (3, 1)
    assert (settings.down_after_ms, settings.failover_timeout_ms) == (777, 888)


def test_name_cannot_be_monitored_twice() -> None:
    kit = given()
    assert error(kit.ask(lambda n: i.MonitorAsked(n, NAME, OTHER, 3))) == Refusal.DUPLICATE_MASTER.value
    assert kit.master.address == MASTER


def test_removed_master_is_forgotten_and_its_links_are_closed() -> None:
    kit = given()
    heard = kit.ask(lambda n: i.RemoveAsked(n, NAME))
    assert error(heard) is None
    assert not kit.engine.state.masters
    closed = {close.link for close in heard.all(fx.CloseLink)}
    assert {ServerLink(NAME, MASTER), ServerLink(NAME, R1), PeerLink(P1)} <= closed
    assert not kit.wait(30_000).events


def test_link_to_a_peer_stays_while_another_master_knows_it() -> None:
    kit = given(names=(NAME, "other"))
    heard = kit.ask(lambda n: i.RemoveAsked(n, NAME))
    assert PeerLink(P1) not in {close.link for close in heard.all(fx.CloseLink)}


def test_master_removed_in_the_middle_of_its_failover_is_gone_all_the_same() -> None:
    kit = given()
    kit.elected()
    kit.ask(lambda n: i.RemoveAsked(n, NAME))
    late = i.InfoHeard(ServerLink(NAME, R1), master_info(), b"")
    assert not kit.hear(late, i.PingAnswered(ServerLink(NAME, MASTER), "PONG")).events
    assert not kit.wait(60_000).events


@pytest.mark.parametrize(
    "make",
    [
        lambda n: i.RemoveAsked(n, "nobody"),
        lambda n: i.SetAsked(n, "nobody", (("quorum", "3"),)),
        lambda n: i.FailoverAsked(n, "nobody", False),
        lambda n: i.FailoverAsked(n, "nobody", True),
    ],
)
def test_unknown_name_is_refused(make: Callable[[int], i.Request]) -> None:
    heard = given().ask(make)
    assert error(heard) == Refusal.NO_SUCH_MASTER.value
    assert not heard.events


# ---------------------------------------------------------------- RESET


def test_reset_forgets_replicas_peers_and_states_and_keeps_the_epochs() -> None:
    kit = given(epoch=9, config_epoch=4, leader_epoch=6, quorum=3)
    kit.master_down()
    heard = kit.ask(lambda n: i.ResetAsked(n, (NAME,)))
    assert heard.one(fx.Answer).number == 1
    master = kit.master
    assert not master.replicas
    assert not master.peers
    assert (master.s_down, master.o_down, master.config_epoch, master.leader_epoch) == (False, False, 4, 6)
    assert master.address == MASTER
    assert not heard.has(e.CameBack)


def test_q16_reset_is_saved() -> None:
    kit = given()
    kit.ask(lambda n: i.ResetAsked(n, (NAME,)))
    assert kit.disk is not None
    assert kit.disk.masters[0].peers == ()


def test_reset_drops_a_running_failover() -> None:
    kit = given()
    kit.elected()
    kit.ask(lambda n: i.ResetAsked(n, (NAME,)))
    assert kit.master.failover is None
    assert not any(isinstance(x, e.PromotionSeen) for x in kit.wait(10_000).events)


@pytest.mark.parametrize("saved", [True, False])
def test_reset_in_the_middle_of_a_promotion_keeps_the_promoted_address(saved: bool) -> None:
    """Properties 17 and 21. Stock goes back to the old address under the new epoch, and stays there: what the other
    sentinels say has the same epoch."""
    kit = given()
    kit.muted.add(fx.Repoint)
    kit.elected()
    kit.saving = True if saved else None
    kit.info(R1, master_info())
    heard = kit.ask(lambda n: i.ResetAsked(n, (NAME,)))
    assert heard.kinds == [e.MasterSwitched, e.MasterReset]
    assert heard.one(e.MasterReset).subject.host == R1.host
    assert (kit.master.address, kit.master.config_epoch) == (R1, kit.master.failover_epoch)
    while kit.asked_to_save:
        heard.effects += kit.save_answered().effects
    heard.effects += kit.wait(3000).effects
    told = {(said.hello.master_host, said.hello.config_epoch) for said in heard.all(fx.SayHello)}
    assert told == {(R1.host, kit.master.failover_epoch)}
    assert kit.disk is not None
    assert kit.disk.masters[0].address == R1


def test_reset_counts_the_masters_it_reset() -> None:
    kit = given(names=(NAME, "b", "c"))
    assert kit.ask(lambda n: i.ResetAsked(n, (NAME, "c"))).one(fx.Answer).number == 2
    assert kit.ask(lambda n: i.ResetAsked(n, ())).one(fx.Answer).number == 0


def test_reset_master_finds_its_replicas_and_peers_again() -> None:
    kit = given(replicas=1)
    kit.servers[MASTER].info = master_info(replicas=(R1,))
    kit.ask(lambda n: i.ResetAsked(n, (NAME,)))
    kit.wait(1000)
    kit.hello(P1)
    assert set(kit.master.replicas) == {R1}
    assert set(kit.master.peers) == {P1}


# ---------------------------------------------------------------- SET


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (("quorum", "4"), "quorum", 4),
        (("QUORUM", "4"), "quorum", 4),
        (("down-after-milliseconds", "99"), "down_after_ms", 99),
        (("failover-timeout", "98"), "failover_timeout_ms", 98),
        (("parallel-syncs", "3"), "parallel_syncs", 3),
        (("master-reboot-down-after-period", "5"), "reboot_down_after_ms", 5),
        (("primary-reboot-down-after-period", "6"), "reboot_down_after_ms", 6),
        (("notification-script", "/bin/a"), "notification_script", "/bin/a"),
        (("client-reconfig-script", "/bin/b"), "client_reconfig_script", "/bin/b"),
        (("client-reconfig-script", ""), "client_reconfig_script", None),
        (("auth-pass", "secret"), "auth_pass", "secret"),
        (("auth-pass", ""), "auth_pass", None),
        (("auth-user", "bob"), "auth_user", "bob"),
        (("rename-command", "PING", "GNIP"), "renamed_commands", (("PING", "GNIP"),)),
        (("rename-command", "PING", "PING"), "renamed_commands", ()),
    ],
)
def test_option_is_set_saved_and_told(words: tuple[str, ...], field: str, value: object) -> None:
    kit = given()
    heard = kit.set(words)
    assert error(heard) is None
    assert getattr(kit.master.settings, field) == value
    assert kit.disk is not None
    assert getattr(kit.disk.masters[0].settings, field) == value
    told = heard.one(e.SettingChanged).words
    assert told == ((words[0], "******") if words[0] == "auth-pass" else words)


def test_several_options_are_told_one_by_one() -> None:
    heard = given().set(("quorum", "3"), ("parallel-syncs", "5"))
    assert [event.words[0] for event in heard.all(e.SettingChanged)] == ["quorum", "parallel-syncs"]


def test_good_options_before_a_bad_one_stay() -> None:
    kit = given()
    heard = kit.ask(lambda n: i.SetAsked(n, NAME, (("quorum", "7"),), refusal="ERR Unknown option"))
    assert error(heard) == "ERR Unknown option"
    assert kit.master.settings.quorum == 7


def test_new_password_closes_the_links_to_all_servers_of_the_master() -> None:
    """Core.md 2.3."""
    kit = given()
    closed = {close.link for close in kit.set(("auth-pass", "new")).all(fx.CloseLink)}
    assert closed == {ServerLink(NAME, address) for address in (MASTER, *kit.master.replicas)}


def test_lower_quorum_takes_effect_at_once() -> None:
    kit = given(quorum=3)
    kit.agree(P1)
    kit.master_down()
    assert not kit.master.o_down
    assert kit.set(("quorum", "2")).has(e.AgreedDown)


def test_higher_quorum_takes_effect_at_once() -> None:
    kit = given(quorum=2)
    kit.agree(P1)
    kit.peers[P1].votes = False
    kit.master_down()
    assert kit.master.o_down
    assert kit.set(("quorum", "3")).has(e.NoLongerAgreed)


# ---------------------------------------------------------------- CONFIG SET, DEBUG, FLUSHCONFIG


def test_credentials_of_sentinels_close_the_links_to_peers_only() -> None:
    kit = given()
    changed = attrs.evolve(GlobalSettings(), sentinel_pass="x")
    closed = {close.link for close in kit.ask(lambda n: i.GlobalsSetAsked(n, changed)).all(fx.CloseLink)}
    assert closed == {PeerLink(run_id) for run_id in kit.master.peers}


def test_announced_address_is_in_the_next_hello() -> None:
    kit = given()
    changed = GlobalSettings(announce_ip="192.0.2.1", announce_port=999)
    kit.ask(lambda n: i.GlobalsSetAsked(n, changed))
    hellos = kit.wait(3000).all(fx.SayHello)
    assert {(said.hello.host, said.hello.port) for said in hellos} == {("192.0.2.1", 999)}


def test_length_of_time_set_by_debug_is_used_at_once_and_not_saved() -> None:
    kit = given()
    heard = kit.ask(lambda n: i.TimingSetAsked(n, "info_period_ms", 100))
    assert error(heard) is None
    assert not heard.has(fx.SaveConfig)
    polls = [poll for poll in kit.wait(1000).all(fx.PollInfo) if poll.link == ServerLink(NAME, MASTER)]
    assert 9 <= len(polls) <= 11


def test_flush_is_answered_when_it_is_on_disk() -> None:
    kit = given()
    kit.saving = None
    heard = kit.ask(i.FlushAsked)
    assert heard.one(fx.SaveConfig).urgent
    assert not heard.has(fx.Answer)
    assert error(kit.save_answered()) is None


@pytest.mark.parametrize(
    "make",
    [
        lambda n: i.MonitorAsked(n, "other", OTHER, 2),
        lambda n: i.RemoveAsked(n, NAME),
        lambda n: i.SetAsked(n, NAME, (("quorum", "2"),)),
        lambda n: i.ResetAsked(n, (NAME,)),
        i.FlushAsked,
        lambda n: i.FailoverAsked(n, NAME, False),
        lambda n: i.GlobalsSetAsked(n, GlobalSettings(announce_ip="192.0.2.1")),
    ],
)
def test_command_that_could_not_be_saved_gets_an_error(make: Callable[[int], i.Request]) -> None:
    kit = given()
    kit.saving = False
    assert error(kit.ask(make)) == Refusal.NOT_SAVED.value


# ---------------------------------------------------------------- FAILOVER


def test_second_failover_is_refused() -> None:
    kit = given()
    assert error(kit.failover()) is None
    assert error(kit.failover()) == Refusal.IN_PROGRESS.value


def test_failover_without_a_good_replica_is_refused_and_uses_no_epoch() -> None:
    kit = given(replicas=1)
    kit.info(R1, replica_info(priority=0))
    heard = kit.failover()
    assert error(heard) == Refusal.NO_GOOD_REPLICA.value
    assert not heard.events


def test_coordinated_failover_needs_a_master_that_can_hand_over() -> None:
    """Asked before anything else is looked at (13.3)."""
    kit = given(replicas=0, settled=False)
    kit.servers[MASTER].info = master_info(failover_state=None)
    kit.restart()
    kit.wait(100)
    assert error(kit.failover(coordinated=True)) == Refusal.NO_HANDOVER.value
    assert error(kit.failover()) == Refusal.NO_GOOD_REPLICA.value


def test_every_forced_failover_takes_an_epoch_of_its_own() -> None:
    """Property 10, across a restart as well."""
    kit = given(failover_timeout_ms=3000, replicas=1)
    epochs = []
    for n in range(4):
        heard = kit.failover()
        epochs.append(heard.one(e.FailoverStarted).epoch)
        kit.wait(4000)
        assert kit.master.failover is None
        if n == 1:
            kit.restart()
            kit.wait(1000)
    assert epochs == [1, 2, 3, 4]


def test_settings_of_a_master_survive_its_failover() -> None:
    kit = given(replicas=1, parallel_syncs=7, auth_pass="secret")
    kit.failover()
    kit.info(R1, master_info())
    assert kit.master.address == R1
    assert (kit.master.settings.parallel_syncs, kit.master.settings.auth_pass) == (7, "secret")


def test_unknown_replica_of_a_new_master_is_watched_with_its_settings() -> None:
    kit: Given = given()
    kit.info(MASTER, master_info(replicas=(R3,)))
    kit.servers[R3].reachable = False
    assert kit.wait(DOWN_AFTER_MS + 1).one(e.WentDown).address == R3
