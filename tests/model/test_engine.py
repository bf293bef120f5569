"""Durable before audible: nobody hears of what a crash could undo (core.md 15, Q3, Q4; properties 1 to 4, 15)."""

from __future__ import annotations

import pytest

from tests.model.given import (
    MASTER,
    ME,
    NAME,
    P1,
    P2,
    R1,
    START_MS,
    Given,
    Heard,
    ScriptedDice,
    given,
    master_info,
)
from trio_sentinel.errors import InvariantViolation
from trio_sentinel.model import effects as fx
from trio_sentinel.model import events as e
from trio_sentinel.model import inputs as i
from trio_sentinel.model.engine import NOTHING, Engine
from trio_sentinel.model.settings import GlobalSettings, MasterSettings
from trio_sentinel.model.snapshot import MasterSnapshot, Snapshot
from trio_sentinel.model.state import Master
from trio_sentinel.model.values import Address, Channel, PeerLink, RunId, ServerLink


def slow_disk() -> Given:
    """Saves wait until the test answers them."""
    kit = given()
    kit.saving = None
    return kit


def audible(heard: Heard) -> list[fx.Effect]:
    return [effect for effect in heard.effects if effect.audible]


# ---------------------------------------------------------------- held until saved


def test_save_is_asked_for_before_anything_else() -> None:
    heard = slow_disk().vote_asked(P1, 3)
    assert isinstance(heard.effects[0], fx.SaveConfig)
    assert heard.effects[0].urgent
    assert not audible(heard)


def test_vote_is_told_and_answered_when_it_is_saved_in_the_order_it_was_given() -> None:
    """Property 4."""
    kit = slow_disk()
    kit.vote_asked(P1, 3)
    released = audible(kit.save_answered())
    assert [type(effect) for effect in released] == [fx.Announce, fx.Announce, fx.AnswerOpinion]
    assert [type(effect.event) for effect in released[:2]] == [e.EpochRaised, e.VoteCast]  # type: ignore[union-attr]


def test_what_was_decided_later_waits_behind_it() -> None:
    """Otherwise a second answer about the same vote, or a hello with the epoch, would tell of it too early."""
    kit = slow_disk()
    kit.vote_asked(P1, 3)
    again = kit.vote_asked(P1, 3)
    assert not audible(again)
    assert not audible(kit.wait(4000))
    released = audible(kit.save_answered())
    answers = [effect for effect in released if isinstance(effect, fx.AnswerOpinion)]
    assert [(answer.request, answer.leader) for answer in answers] == [(1, P1), (2, P1)]
    assert any(isinstance(effect, fx.SayHello) for effect in released)


def test_probing_does_not_wait_for_the_disk() -> None:
    kit = slow_disk()
    kit.vote_asked(P1, 3)
    heard = kit.wait(3000)
    assert heard.has(fx.SendPing)


def test_each_waits_for_its_own_save_only() -> None:
    kit = slow_disk()
    kit.vote_asked(P1, 3)
    kit.vote_asked(P2, 4)
    first = kit.save_answered()
    assert [answer.leader_epoch for answer in first.all(fx.AnswerOpinion)] == [3]
    second = kit.save_answered()
    assert [answer.leader_epoch for answer in second.all(fx.AnswerOpinion)] == [4]


def test_later_save_holds_for_the_earlier_ones() -> None:
    kit = slow_disk()
    kit.vote_asked(P1, 3)
    kit.vote_asked(P2, 4)
    kit.asked_to_save.pop(0)
    assert [answer.leader_epoch for answer in kit.save_answered().all(fx.AnswerOpinion)] == [3, 4]


def test_crash_before_the_save_forgets_a_vote_that_nobody_heard_of() -> None:
    """Property 3: the second vote in the epoch is lawful because the first never left."""
    kit = slow_disk()
    kit.vote_asked(P1, 3)
    kit.saving = True
    kit.restart()
    assert kit.vote_asked(P2, 3).one(fx.AnswerOpinion).leader == P2


def test_crash_after_the_save_remembers_the_vote_although_nobody_heard_of_it() -> None:
    kit = slow_disk()
    kit.vote_asked(P1, 3)
    saved = kit.asked_to_save[-1][1]
    kit.saving = True
    kit.restart(disk=saved)
    answer = kit.vote_asked(P2, 3).one(fx.AnswerOpinion)
    assert (answer.leader, answer.leader_epoch) == (None, 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda kit: kit.hello(P1, epoch=9),
        lambda kit: kit.hello(P1, epoch=9, config_epoch=9),
        lambda kit: kit.hello(P1, epoch=9, config_epoch=9, master=R1),
    ],
)
def test_epoch_and_configuration_of_others_are_saved_before_they_are_told(make: object) -> None:
    kit = slow_disk()
    assert callable(make)
    heard: Heard = make(kit)
    assert heard.one(fx.SaveConfig).urgent
    heard.effects += kit.wait(3000).effects
    assert not audible(heard)


def test_found_replica_is_told_at_once_and_saved_soon() -> None:
    kit = slow_disk()
    heard = kit.info(MASTER, master_info(replicas=(R1, Address("10.0.0.9", 6379))))
    assert not heard.one(fx.SaveConfig).urgent
    assert heard.told == [e.ReplicaFound]


# ---------------------------------------------------------------- Q3: the disk fails


def test_q3_vote_that_could_not_be_saved_is_answered_without_a_leader_and_not_told() -> None:
    kit = slow_disk()
    kit.vote_asked(P1, 3)
    heard = kit.save_answered(ok=False)
    answer = heard.one(fx.AnswerOpinion)
    assert (answer.leader, answer.leader_epoch) == (None, 0)
    assert not {e.VoteCast, e.EpochRaised} & set(heard.told)
    assert e.DiskFailed in heard.kinds


def test_q3_no_new_vote_is_given_while_the_disk_fails() -> None:
    kit = given()
    kit.saving = False
    kit.vote_asked(P1, 3)
    heard = kit.vote_asked(P2, 4)
    assert not heard.has(e.VoteCast)
    assert heard.one(fx.AnswerOpinion).leader is None


def test_q3_opinion_is_still_given_while_the_disk_fails() -> None:
    kit = given(quorum=3)
    kit.master_down()
    kit.saving = False
    assert kit.vote_asked(P1, 3).one(fx.AnswerOpinion).down


def test_q3_attempt_whose_vote_could_not_be_saved_is_given_up_before_anybody_was_asked() -> None:
    kit = given()
    kit.agree()
    kit.saving = False
    heard = kit.master_down()
    heard.events += (more := kit.wait(1000)).events
    heard.effects += more.effects
    assert heard.has(e.FailoverStarted)
    assert heard.has(e.FailoverAborted)
    assert [kind for kind in heard.told if kind in (e.FailoverStarted, e.FailoverAborted)] == [
        e.FailoverStarted,
        e.FailoverAborted,
    ], "an end is told after its beginning"
    assert all(ask.candidate is None for ask in heard.all(fx.AskPeer))
    assert kit.master.failover is None


def test_q3_saving_is_tried_again_once_a_second_and_then_everything_is_told() -> None:
    kit = given()
    kit.saving = False
    kit.vote_asked(P1, 3)
    tries = len(kit.wait(10_000).all(fx.SaveConfig))
    assert 9 <= tries <= 11
    kit.saving = True
    heard = kit.wait(1100)
    assert e.DiskRecovered in heard.kinds
    assert {e.EpochRaised, e.VoteCast} <= set(heard.told)
    assert kit.disk is not None
    assert kit.disk.masters[0].leader_epoch == 3


def test_saves_are_over_when_the_disk_is_well_again() -> None:
    kit = given()
    kit.saving = False
    kit.vote_asked(P1, 3)
    kit.saving = True
    kit.wait(2000)
    assert not kit.wait(10_000).has(fx.SaveConfig)


def test_disk_that_hangs_after_a_failure_is_not_flooded() -> None:
    kit = given()
    kit.saving = False
    kit.vote_asked(P1, 3)
    kit.saving = None
    assert len(kit.wait(10_000).all(fx.SaveConfig)) <= 11


def test_vote_that_was_saved_late_stands() -> None:
    kit = given()
    kit.saving = False
    kit.vote_asked(P1, 3)
    kit.saving = True
    kit.wait(2000)
    answer = kit.vote_asked(P2, 3).one(fx.AnswerOpinion)
    assert (answer.leader, answer.leader_epoch) == (P1, 3)


def test_promotion_that_could_not_be_saved_is_told_when_it_is() -> None:
    kit = given(replicas=1)
    kit.failover()
    kit.saving = False
    assert not kit.info(R1, master_info()).has(e.PromotionPublished)
    assert kit.master.current_address == MASTER
    kit.wait(5000)
    assert kit.master.current_address == MASTER
    kit.saving = True
    kit.wait(1100)
    assert kit.master.address == R1


def test_no_answer_is_lost_or_given_twice_whatever_the_disk_does() -> None:
    kit = slow_disk()
    answered: list[int] = []

    def note(heard: Heard) -> None:
        answered.extend(x.request for x in heard.effects if isinstance(x, fx.Answer | fx.AnswerOpinion))

    for n in range(8):
        note(kit.vote_asked(P1, n))
        note(kit.ask(i.FlushAsked))
        if n % 3 == 1:
            note(kit.save_answered(ok=n % 2 == 0))
    while kit.asked_to_save:
        note(kit.save_answered())
        note(kit.wait(10))
    assert sorted(answered) == list(range(1, kit.requests + 1))
    assert answered == sorted(answered)


# ---------------------------------------------------------------- start


def blank(**changes: object) -> Snapshot:
    known = MasterSnapshot(name=NAME, address=MASTER, settings=MasterSettings(quorum=1))
    fields: dict[str, object] = {"my_id": ME, "current_epoch": 0, "settings": GlobalSettings(), "masters": (known,)}
    return Snapshot(**(fields | changes))  # type: ignore[arg-type]


def test_first_start_draws_an_id_and_nothing_leaves_before_it_is_saved() -> None:
    engine = Engine(ScriptedDice(*range(40)), START_MS)
    outcome = engine.start(blank(my_id=None), START_MS)
    assert engine.state.my_id == ("0123456789abcdef" * 3)[:40]
    assert [type(effect) for effect in outcome.effects] == [fx.SaveConfig]
    assert engine.snapshot().my_id == engine.state.my_id
    released = engine.feed(i.ConfigSaved(engine.version), START_MS + 1)
    assert any(isinstance(effect, fx.OpenLink) for effect in released.effects)
    assert any(isinstance(effect, fx.Announce) for effect in released.effects)


def test_later_start_keeps_the_id_and_saves_nothing() -> None:
    engine = Engine(ScriptedDice(), START_MS)
    outcome = engine.start(blank(), START_MS)
    assert engine.state.my_id == ME
    assert not any(isinstance(effect, fx.SaveConfig) for effect in outcome.effects)


@pytest.mark.parametrize(("config_epoch", "leader_epoch"), [(9, 0), (0, 9), (9, 4)])
def test_current_epoch_is_raised_to_every_epoch_of_the_file(config_epoch: int, leader_epoch: int) -> None:
    known = MasterSnapshot(
        name=NAME,
        address=MASTER,
        settings=MasterSettings(quorum=1),
        config_epoch=config_epoch,
        leader_epoch=leader_epoch,
    )
    engine = Engine(ScriptedDice(), START_MS)
    engine.start(blank(current_epoch=2, masters=(known,)), START_MS)
    assert engine.state.current_epoch == 9


def test_lines_that_name_ourselves_or_the_master_twice_do_not_stop_the_start() -> None:
    known = MasterSnapshot(
        name=NAME,
        address=MASTER,
        settings=MasterSettings(quorum=1),
        replicas=(MASTER, R1),
        peers=((ME, Address("10.0.1.1", 26379)), (P1, Address("10.0.1.2", 26379))),
    )
    engine = Engine(ScriptedDice(), START_MS)
    engine.start(blank(masters=(known,)), START_MS)
    assert list(engine.state.masters[NAME].replicas) == [R1]
    assert list(engine.state.masters[NAME].peers) == [P1]


# ---------------------------------------------------------------- the way in


def test_perception_that_cannot_matter_is_the_shared_nothing() -> None:
    kit = given()
    link = ServerLink(NAME, MASTER)
    assert kit.engine.feed(i.PingAnswered(link, "PONG"), kit.now_ms) is NOTHING
    assert kit.engine.feed(i.PubSubHeard(link), kit.now_ms) is NOTHING


@pytest.mark.parametrize(
    "heard",
    [
        i.PingAnswered(ServerLink("gone", R1), "PONG"),
        i.InfoHeard(ServerLink("gone", R1), master_info(), b""),
        i.LinkOpened(PeerLink(RunId("9" * 40)), Channel.COMMAND, "127.0.0.1"),
        i.LinkLost(ServerLink(NAME, Address("10.9.9.9", 1)), Channel.PUBSUB, "closed"),
        i.HelloAccepted(ServerLink("gone", R1), "gone", True),
        i.HelloAccepted(PeerLink(RunId("9" * 40)), NAME, True),
        i.OpinionHeard(PeerLink(RunId("9" * 40)), "gone", R1, 0, True, None, 0),
        i.NameResolved("nobody", None),
        i.ConfigSaved(0),
        i.ResetAsked(1, ()),
    ],
)
def test_late_word_about_what_is_gone_changes_nothing(heard: i.Input) -> None:
    assert not given().hear(heard).events


def test_time_must_not_run_backwards() -> None:
    kit = given()
    with pytest.raises(AssertionError, match="backwards"):
        kit.engine.feed(i.TimePassed(0), kit.now_ms - 1)


def test_rules_that_contradict_each_other_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def restless(s: object, master: Master) -> list[e.Event]:
        return [e.CrashPointsSet(after_election=False, after_promotion=False)]

    kit = given()
    monkeypatch.setattr("trio_sentinel.model.engine.RULES", (restless,))
    with pytest.raises(InvariantViolation, match="come to rest"):
        kit.hello(P1, epoch=9)


def test_same_inputs_at_the_same_times_give_the_same_outcomes() -> None:
    def story() -> tuple[list[e.Event], list[fx.Effect]]:
        kit = given(dice=(5, 6, 7))
        kit.agree()
        heard = kit.master_down()
        more = kit.wait(10_000)
        return kit.log, heard.effects + more.effects

    assert story() == story()


def test_news_carries_the_notification_script_of_its_master() -> None:
    kit = given(notification_script="/bin/tell")
    news = kit.hello(P1, epoch=4).one(fx.Announce)
    assert news.script == "/bin/tell"
    removed = kit.ask(lambda n: i.RemoveAsked(n, NAME)).all(fx.Announce)
    assert [x.script for x in removed if isinstance(x.event, e.MasterRemoved)] == ["/bin/tell"]


def test_what_waits_to_be_told_of_a_master_is_not_told_once_it_is_removed() -> None:
    """The save that releases it holds the same name monitored anew: what was decided before was never on disk."""
    kit = slow_disk()
    kit.hello(P1, epoch=4, master=R1, config_epoch=4)
    assert not kit.wait(1000).has(fx.SayHello)
    kit.ask(lambda n: i.RemoveAsked(n, NAME))
    kit.ask(lambda n: i.MonitorAsked(n, NAME, R1, 2))
    kit.saving = True
    version, snapshot = kit.asked_to_save[-1]
    assert snapshot.masters[0].config_epoch == 0
    released = kit.hear(i.ConfigSaved(version))
    assert not [hello for hello in released.all(fx.SayHello) if hello.hello.config_epoch > 0]
