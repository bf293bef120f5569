"""Objectively down, epochs, votes and who leads (core.md 7.2, 7.3, 9, 10, 11.1)."""

from __future__ import annotations

import itertools

import attrs
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
    P4,
    R1,
    STRANGER,
    Given,
    Heard,
    Server,
    given,
    master_info,
    peer_address,
    replica_info,
)
from trio_sentinel.model import effects as fx
from trio_sentinel.model import events as e
from trio_sentinel.model import inputs as i
from trio_sentinel.model.decide.agreement import QUICK_RETRIES, RETRY_MS, STAND_JITTER_MS, STAND_STEP_MS
from trio_sentinel.model.settings import GlobalSettings
from trio_sentinel.model.state import Manner, WaitingForVotes
from trio_sentinel.model.values import MAX_EPOCH, Address, Channel, PeerLink, RunId, ServerLink

PEERS = (P1, P2, P3, P4)


def muffled(*, peers: int = 2, quorum: int = 2, epoch: int = 0) -> Given:
    """The master is down here; what the peers say is fed by the test."""
    kit = given(peers=peers, quorum=quorum, epoch=epoch)
    kit.muted.add(fx.AskPeer)
    kit.master_down()
    return kit


# ---------------------------------------------------------------- objectively down


@pytest.mark.parametrize(
    ("peers", "quorum", "say_so"),
    [(p, q, n) for p in range(5) for q in range(1, 6) for n in range(p + 1)],
)
def test_master_is_objectively_down_iff_those_who_say_so_and_i_make_a_quorum(
    peers: int, quorum: int, say_so: int
) -> None:
    kit = muffled(peers=peers, quorum=quorum)
    for run_id in PEERS[:say_so]:
        kit.opinion(run_id, down=True)
    assert kit.master.o_down == (1 + say_so >= quorum)


def test_odown_says_how_many_of_how_many() -> None:
    kit = muffled(peers=2, quorum=2)
    agreed = kit.opinion(P1, down=True).one(e.AgreedDown)
    assert (agreed.agreed, agreed.quorum) == (2, 2)


def test_master_that_is_up_here_is_never_objectively_down() -> None:
    kit = given(quorum=1)
    for run_id in (P1, P2):
        assert not kit.opinion(run_id, down=True).has(e.AgreedDown)


def test_opinion_counts_for_five_asking_periods_and_not_a_millisecond_longer() -> None:
    kit = muffled(peers=2, quorum=2)
    kit.opinion(P1, down=True)
    assert not kit.wait(5000).has(e.NoLongerAgreed)
    assert kit.master.o_down
    assert kit.wait(1).has(e.NoLongerAgreed)


def test_peer_that_changes_its_mind_ends_the_agreement() -> None:
    kit = muffled(peers=2, quorum=2)
    kit.opinion(P1, down=True)
    assert kit.opinion(P1, down=False).has(e.NoLongerAgreed)


def test_agreement_ends_when_the_master_is_back() -> None:
    kit = muffled(peers=2, quorum=2)
    kit.opinion(P1, down=True)
    kit.servers[MASTER].reachable = True
    heard = kit.wait(1500)
    assert heard.kinds.index(e.CameBack) < heard.kinds.index(e.NoLongerAgreed)


def test_malformed_reply_says_nothing() -> None:
    kit = muffled(peers=2, quorum=2)
    assert not kit.opinion(P1, down=None).events
    assert not kit.opinion(STRANGER, down=True).events


def test_q15_reply_about_another_address_says_nothing() -> None:
    kit = muffled(peers=2, quorum=2)
    assert not kit.opinion(P1, down=True, about=R1).events
    assert not kit.master.o_down


def test_q15_reports_about_the_old_master_are_not_credited_to_the_new_one() -> None:
    kit = muffled(peers=2, quorum=2)
    kit.opinion(P1, down=True)
    kit.hello(P2, epoch=7, config_epoch=7, master=R1)
    assert not any(opinion.master_down for opinion in kit.engine.senses.opinions.values())
    late = i.OpinionHeard(PeerLink(P1), NAME, MASTER, 0, True, None, 0)
    kit.hear(late)
    assert not any(opinion.master_down for opinion in kit.engine.senses.opinions.values())


# ---------------------------------------------------------------- asking


def test_peers_are_asked_without_a_candidate_while_no_failover_runs() -> None:
    kit = given(quorum=3, epoch=4)
    asks = kit.master_down().all(fx.AskPeer)
    assert {ask.peer.run_id for ask in asks} == {P1, P2}
    for ask in asks:
        assert (ask.address, ask.epoch, ask.candidate) == (MASTER, 4, None)


def test_peers_are_asked_once_in_an_asking_period() -> None:
    kit = given(quorum=3)
    kit.master_down()
    asks = [ask for ask in kit.wait(10_000).all(fx.AskPeer) if ask.peer == PeerLink(P1)]
    assert 9 <= len(asks) <= 11


def test_nobody_is_asked_while_the_master_is_up() -> None:
    assert not given().wait(60_000).has(fx.AskPeer)


def test_q1_votes_are_asked_for_under_the_epoch_of_the_attempt() -> None:
    kit = given(peers=4)
    kit.agree(P1)
    kit.peers[P1].votes = False
    kit.master_down()
    kit.wait(100)
    kit.hello(P4, epoch=9)
    asks = kit.wait(3000).all(fx.AskPeer)
    assert asks
    assert {(ask.epoch, ask.candidate) for ask in asks} == {(1, ME)}


def test_q4_nobody_is_asked_before_my_own_vote_is_saved() -> None:
    kit = given(quorum=2)
    kit.agree()
    kit.saving = None
    heard = kit.master_down()
    heard.effects += kit.wait(300).effects
    assert any(isinstance(event, e.VoteCast) for event in kit.log)
    assert all(ask.candidate is None for ask in heard.all(fx.AskPeer))
    saved = kit.save_answered()
    assert {ask.candidate for ask in saved.all(fx.AskPeer)} == {ME}


def test_q9_unanswered_question_is_not_repeated() -> None:
    kit = given(quorum=3)
    kit.peers[P1].says = None
    asks = kit.master_down().all(fx.AskPeer) + kit.wait(4000).all(fx.AskPeer)
    assert len([ask for ask in asks if ask.peer == PeerLink(P1)]) == 1


# ---------------------------------------------------------------- answering


def test_answer_says_whether_the_master_is_down_here() -> None:
    kit = given(quorum=3)
    before = kit.vote_asked(None, 0).one(fx.AnswerOpinion)
    assert (before.down, before.leader, before.leader_epoch) == (False, None, 0)
    kit.master_down()
    after = kit.vote_asked(None, 0).one(fx.AnswerOpinion)
    assert (after.down, after.leader, after.leader_epoch) == (True, None, 0)


def test_question_without_a_candidate_raises_no_epoch_and_gives_no_vote() -> None:
    kit = given()
    heard = kit.vote_asked(None, 50)
    assert not heard.events
    assert kit.engine.state.current_epoch == 0


def test_unknown_address_changes_nothing() -> None:
    """Property 28."""
    kit = given()
    heard = kit.vote_asked(P1, 50, about=Address("10.9.9.9", 6379))
    assert not heard.events
    answer = heard.one(fx.AnswerOpinion)
    assert (answer.down, answer.leader, answer.leader_epoch) == (False, None, 0)


def test_vote_is_given_to_anybody_although_the_master_is_up_here() -> None:
    """Rule R1: being stricter would stall others, and coordinated failovers."""
    kit = given()
    answer = kit.vote_asked(STRANGER, 1).one(fx.AnswerOpinion)
    assert (answer.down, answer.leader, answer.leader_epoch) == (False, STRANGER, 1)


def test_first_candidate_of_an_epoch_keeps_the_vote() -> None:
    kit = given()
    kit.vote_asked(P1, 3)
    answer = kit.vote_asked(P2, 3).one(fx.AnswerOpinion)
    assert (answer.leader, answer.leader_epoch) == (P1, 3)


def test_candidate_of_an_older_epoch_is_told_the_newer_vote() -> None:
    kit = given()
    kit.vote_asked(P1, 3)
    answer = kit.vote_asked(P2, 2).one(fx.AnswerOpinion)
    assert (answer.leader, answer.leader_epoch) == (P1, 3)


EPOCHS = range(4)


@pytest.mark.parametrize(("leader_epoch", "current_epoch", "asked"), [*itertools.product(EPOCHS, EPOCHS, EPOCHS)])
def test_vote_rule_whole(leader_epoch: int, current_epoch: int, asked: int) -> None:
    """Every small case of 10.2 against the rule as the specification words it."""
    if leader_epoch > current_epoch:
        return  # never so: a file like that is read with a raised current epoch
    kit = given(epoch=current_epoch, leader_epoch=leader_epoch)
    kinds = kit.vote_asked(P1, asked).kinds
    now = max(current_epoch, asked)
    given_now = leader_epoch < asked and now <= asked
    assert (e.EpochRaised in kinds) == (asked > current_epoch)
    assert (e.VoteCast in kinds) == given_now
    assert kit.engine.state.current_epoch == now
    assert kit.master.leader_epoch == (asked if given_now else leader_epoch)
    assert kit.master.voted_for == (P1 if given_now else None)


def test_vote_is_kept_per_master_so_one_epoch_may_serve_two() -> None:
    kit = given(names=(NAME, "other"))
    kit.vote_asked(P1, 3)
    answer = kit.vote_asked(P2, 3, about=Address("10.0.0.1", 6380)).one(fx.AnswerOpinion)
    assert (answer.leader, answer.leader_epoch) == (P2, 3)


def test_vote_survives_a_restart_as_its_epoch_only() -> None:
    kit = given()
    kit.vote_asked(P1, 3)
    kit.restart()
    answer = kit.vote_asked(P2, 3).one(fx.AnswerOpinion)
    assert (answer.leader, answer.leader_epoch) == (None, 3)


def test_q19_two_names_at_one_address_answer_by_the_lowest_name() -> None:
    kit = given(names=(NAME, "zebra"))
    kit.servers[MASTER] = Server(info=master_info())
    kit.ask(lambda n: i.MonitorAsked(n, "alpha", MASTER, 2))
    voted = kit.vote_asked(P1, 5).one(e.VoteCast)
    assert voted.subject.master == "alpha"


def test_q19_a_second_name_gives_no_second_vote_when_the_first_one_has_moved() -> None:
    """Property 3 of the servers, not of their names: candidates ask by address, and the second name is still there."""
    kit = given(peers=3)
    kit.ask(lambda n: i.MonitorAsked(n, "zebra", MASTER, 2))
    assert kit.vote_asked(P1, 5).one(e.VoteCast).subject.master == NAME
    kit.hello(P1, epoch=5, master=R1, config_epoch=5)
    assert kit.master.address == R1
    refused = kit.vote_asked(P2, 5, about=MASTER)
    assert not refused.has(e.VoteCast)
    assert refused.one(fx.AnswerOpinion).leader is None
    assert kit.vote_asked(P2, 6, about=MASTER).one(e.VoteCast).candidate == P2


def test_q19_the_vote_of_a_second_name_outlives_it() -> None:
    """The answer may wait for a save that no longer knows that name."""
    kit = given(peers=3)
    kit.ask(lambda n: i.MonitorAsked(n, "alpha", MASTER, 2))
    assert kit.vote_asked(P1, 5).one(e.VoteCast).subject.master == "alpha"
    kit.ask(lambda n: i.RemoveAsked(n, "alpha"))
    assert kit.master.leader_epoch == 5
    refused = kit.vote_asked(P2, 5)
    assert not refused.has(e.VoteCast)
    assert refused.one(fx.AnswerOpinion).leader == P1


def test_a_candidate_that_means_another_master_by_a_name_that_leads_here_gets_no_vote() -> None:
    """The name lies, and the vote would count in another deployment, beside one given there (seed 14227480)."""
    here, there = Address("redis-a", 6379), Address("redis-c", 6379)
    kit = given(names=(NAME, "other"), address=here, globals_=GlobalSettings(resolve_hostnames=True), settled=False)
    for host in (here.host, there.host):
        kit.hear(i.NameResolved(host, "10.0.0.1"))
    kit.hello(P1, name="other", master=there)
    kit.hello(P2, name=NAME, master=there)
    refused = kit.vote_asked(P1, 3, about=there)
    assert not refused.has(e.VoteCast)
    assert refused.one(fx.AnswerOpinion).leader is None
    assert kit.vote_asked(P2, 3, about=there).one(e.VoteCast).subject.master == NAME, "an alias is as good"
    assert kit.vote_asked(P1, 4, about=here).one(e.VoteCast).candidate == P1


def test_q6_epochs_at_the_end_of_the_range_are_served_but_nothing_wraps() -> None:
    kit = given(quorum=1)
    kit.vote_asked(P1, MAX_EPOCH)
    assert kit.engine.state.current_epoch == MAX_EPOCH
    kit.agree()
    heard = kit.master_down()
    heard.events += kit.wait(3 * FAILOVER_TIMEOUT_MS).events
    assert not heard.has(e.FailoverStarted)
    refused = kit.failover()
    assert not refused.events
    assert refused.one(fx.Answer).error


# ---------------------------------------------------------------- standing for election


def test_attempt_is_told_in_the_order_of_stock() -> None:
    kit = given(peers=0, quorum=1)
    kit.kill_master()
    told = kit.wait(DOWN_AFTER_MS + 1).told
    assert told[:6] == [e.WentDown, e.AgreedDown, e.EpochRaised, e.FailoverStarted, e.VoteCast, e.VoteSaved]
    assert told[6:8] == [e.LeaderElected, e.SelectionBegun]


def test_attempt_takes_the_next_epoch_and_my_own_vote() -> None:
    kit = given(epoch=8)
    kit.agree()
    kit.master_down()
    kit.wait(200)
    started = next(event for event in kit.log if isinstance(event, e.FailoverStarted))
    voted = next(event for event in kit.log if isinstance(event, e.VoteCast))
    assert (started.epoch, started.manner) == (9, Manner.AUTOMATIC)
    assert (voted.candidate, voted.epoch, voted.attempt_at_ms) == (ME, 9, None)
    assert kit.engine.state.current_epoch == 9


@pytest.mark.parametrize(("answer_ms", "step_ms"), [(0, 30), (9, 30), (60, 180), (500, 300)])
def test_where_answers_take_long_candidates_stand_further_apart(answer_ms: int, step_ms: int) -> None:
    """A vote takes as long as an answer at least: whoever stands before the one for another can arrive splits them."""
    kit = given()
    kit.muted.add(fx.AskPeer)
    kit.vote_asked(P1, 2)  # an election that led to nothing, so that it is not my turn to be the first
    kit.master_down()
    asked_at_ms = kit.engine.senses.opinions[NAME, P1].asked_at_ms
    assert asked_at_ms is not None
    kit.wait_until(asked_at_ms + answer_ms)
    agreed = kit.opinion(P1).one(e.AgreedDown)
    turn = (sorted([ME, *kit.peers]).index(ME) + 2) % (len(kit.peers) + 1)
    assert turn > 0
    assert 0 <= agreed.stand_at_ms - agreed.at_ms - turn * step_ms < 10


@pytest.mark.parametrize("lacking", ["priority", "link", "all"])
def test_who_sees_no_replica_to_promote_stands_after_the_others(lacking: str) -> None:
    """It would win for nothing, and everybody would wait for two failover timeouts."""
    kit = given(replicas=0 if lacking == "all" else 1)
    if lacking == "priority":
        kit.info(R1, replica_info(priority=0))
    elif lacking == "link":
        kit.servers[R1].reachable = False
        kit.hear(*(i.LinkLost(ServerLink(NAME, R1), channel, "reset") for channel in Channel))
    kit.agree()
    agreed = kit.master_down().one(e.AgreedDown)
    everybody = [ME, *kit.peers]
    turn = sorted(everybody).index(ME) + len(everybody)
    assert 0 <= agreed.stand_at_ms - agreed.at_ms - turn * STAND_STEP_MS < STAND_JITTER_MS


def test_who_sees_no_replica_to_promote_waits_longer_for_the_next_attempt() -> None:
    """With a fast clock it would be the first each time (seed 7003640)."""
    kit = given(replicas=1, failover_timeout_ms=20_000)
    kit.info(R1, replica_info(priority=0))
    kit.agree()
    kit.master_down()
    kit.wait(1000)
    assert [event.reason for event in kit.log if isinstance(event, e.FailoverAborted)] == [e.Abort.NO_GOOD_REPLICA]
    attempt_at_ms = kit.master.attempt_at_ms
    assert attempt_at_ms is not None
    assert not kit.wait_until(attempt_at_ms + 50_000 - 1).has(e.FailoverStarted)
    assert kit.wait(1).has(e.FailoverStarted)


def test_who_finds_a_replica_to_promote_meanwhile_waits_no_longer_than_the_others() -> None:
    kit = given(replicas=1, failover_timeout_ms=20_000)
    kit.info(R1, replica_info(priority=0))
    kit.agree()
    kit.master_down()
    kit.wait(1000)
    attempt_at_ms = kit.master.attempt_at_ms
    assert attempt_at_ms is not None
    kit.wait_until(attempt_at_ms + 30_000)
    kit.info(R1, replica_info(priority=100))
    assert not kit.wait_until(attempt_at_ms + 40_000 - 1).has(e.FailoverStarted)
    assert kit.wait(1).has(e.FailoverStarted)


def test_vote_for_another_keeps_me_from_standing_for_two_failover_timeouts() -> None:
    kit = given(dice=(123,), quorum=2, failover_timeout_ms=20_000)
    kit.agree()
    voted_ms = kit.now_ms
    kit.vote_asked(P1, 1)
    assert kit.master.attempt_at_ms == voted_ms + 123
    kit.master_down()
    assert not kit.wait_until(voted_ms + 123 + 40_000 - 1).has(e.FailoverStarted)
    assert kit.wait(1).has(e.FailoverStarted)


def test_attempt_that_was_not_elected_is_given_up_after_the_election_timeout() -> None:
    kit = given(peers=4, dice=(0, 77))
    kit.agree(P1)
    kit.peers[P1].votes = False
    kit.master_down()
    kit.wait(200)
    started = next(event for event in kit.log if isinstance(event, e.FailoverStarted))
    assert started.attempt_at_ms == started.at_ms + 77
    assert not kit.wait_until(started.attempt_at_ms + 10_000).has(e.FailoverAborted)
    assert kit.wait(1).one(e.FailoverAborted).reason is e.Abort.NOT_ELECTED
    assert kit.master.failover is None


def test_short_failover_timeout_shortens_the_election() -> None:
    kit = given(peers=4, failover_timeout_ms=3000)
    kit.agree(P1)
    kit.peers[P1].votes = False
    kit.master_down()
    kit.wait(200)
    started = next(event for event in kit.log if isinstance(event, e.FailoverStarted))
    assert not kit.wait_until(started.attempt_at_ms + 3000).has(e.FailoverAborted)
    assert kit.wait(1).has(e.FailoverAborted)


def test_next_attempt_comes_two_failover_timeouts_after_the_last_under_a_new_epoch() -> None:
    kit = given(peers=4, failover_timeout_ms=20_000)
    kit.agree(P1)
    kit.peers[P1].votes = False
    kit.master_down()
    kit.wait(200)
    started = next(event for event in kit.log if isinstance(event, e.FailoverStarted))
    assert not kit.wait_until(started.attempt_at_ms + 40_000 - 1).has(e.FailoverStarted)
    assert kit.wait(1).one(e.FailoverStarted).epoch == 2


def test_failing_disk_keeps_me_from_standing() -> None:
    kit = given()
    kit.saving = False
    kit.vote_asked(P1, 1)
    kit.agree()
    kit.master_down()
    assert not kit.wait(30_000).has(e.FailoverStarted)


# ---------------------------------------------------------------- counting


@pytest.mark.parametrize(
    ("peers", "quorum", "votes"),
    [(p, q, v) for p in range(5) for q in range(1, 6) for v in range(p + 1)],
)
def test_leader_has_a_majority_of_all_known_voters_and_the_quorum(peers: int, quorum: int, votes: int) -> None:
    """The whole small space; the failover is coordinated, so that the quorum is needed for the election only."""
    kit = given(peers=peers, quorum=quorum)
    kit.muted.add(fx.AskPeer)
    kit.failover(coordinated=True)
    for run_id in PEERS[:votes]:
        kit.opinion(run_id, down=False, leader=ME, epoch=1)
    voters = peers + 1
    assert any(isinstance(x, e.LeaderElected) for x in kit.log) == (
        1 + votes >= quorum and 1 + votes >= voters // 2 + 1
    )


def candidate() -> Given:
    """I stand under epoch 5; two more votes are needed; the test speaks for the peers."""
    kit = muffled(peers=4, quorum=3, epoch=4)
    kit.opinion(P3, down=True)
    kit.opinion(P4, down=True)
    kit.wait(200)
    assert kit.master.failover is not None and isinstance(kit.master.failover.phase, WaitingForVotes)
    return kit


def test_votes_for_me_in_this_epoch_elect_me() -> None:
    kit = candidate()
    assert not kit.opinion(P1, leader=ME, epoch=5).has(e.LeaderElected)
    elected = kit.opinion(P2, leader=ME, epoch=5).one(e.LeaderElected)
    assert (elected.votes, elected.voters) == (3, 5)


@pytest.mark.parametrize(("leader", "epoch"), [(ME, 4), (ME, 6), (P1, 5), (STRANGER, 5)])
def test_vote_of_another_epoch_or_for_another_does_not_count(leader: RunId, epoch: int) -> None:
    kit = candidate()
    kit.opinion(P1, leader=ME, epoch=5)
    assert not kit.opinion(P2, leader=leader, epoch=epoch).has(e.LeaderElected)


def test_voter_is_counted_once() -> None:
    kit = candidate()
    for _ in range(3):
        assert not kit.opinion(P1, leader=ME, epoch=5).has(e.LeaderElected)


def test_process_known_under_two_ids_has_one_voice() -> None:
    """Properties 7 and 12. A file may hold a dead sentinel at the address of one that lives; stock counts both."""
    kit = given(peers=4, quorum=3)
    assert kit.disk is not None
    known = kit.disk.masters[0]
    twice = attrs.evolve(known, peers=tuple((run_id, peer_address(P2)) for run_id in (P1, P2)) + known.peers[2:])
    kit.restart(disk=attrs.evolve(kit.disk, masters=(twice,)))
    kit.muted.add(fx.AskPeer)
    kit.master_down()
    kit.opinion(P1)
    assert not kit.opinion(P2).has(e.AgreedDown), "I and one process"
    assert kit.opinion(P3).one(e.AgreedDown).agreed == 3
    kit.wait(200)
    for run_id in (P1, P2):
        assert not kit.opinion(run_id, leader=ME, epoch=1).has(e.LeaderElected), "I and one process"
    assert kit.opinion(P3, leader=ME, epoch=1).one(e.LeaderElected).votes == 3
    assert kit.master.voters == 5, "nobody is forgotten for it"


def test_vote_of_a_stranger_does_not_count() -> None:
    kit = candidate()
    kit.opinion(P1, leader=ME, epoch=5)
    assert not kit.opinion(STRANGER, leader=ME, epoch=5).has(e.LeaderElected)


def test_vote_older_than_five_asking_periods_does_not_count() -> None:
    kit = candidate()
    kit.opinion(P1, leader=ME, epoch=5)
    kit.wait(5001)
    assert not kit.opinion(P2, leader=ME, epoch=5).has(e.LeaderElected)


def test_vote_of_exactly_five_asking_periods_counts() -> None:
    kit = candidate()
    kit.opinion(P1, leader=ME, epoch=5)
    kit.wait(5000)
    assert kit.opinion(P2, leader=ME, epoch=5).has(e.LeaderElected)


def test_reply_without_a_leader_leaves_the_stored_vote_alone() -> None:
    kit = candidate()
    kit.opinion(P1, leader=ME, epoch=5)
    kit.opinion(P1, leader=None, epoch=0)
    assert kit.opinion(P2, leader=ME, epoch=5).has(e.LeaderElected)


def test_q2_epoch_that_moves_on_does_not_take_my_votes_away() -> None:
    kit = candidate()
    kit.opinion(P1, leader=ME, epoch=5)
    kit.hello(P4, epoch=30)
    assert kit.opinion(P2, leader=ME, epoch=5).has(e.LeaderElected)


def test_forced_failover_needs_no_votes_but_its_epoch_on_disk() -> None:
    kit = given(peers=4, quorum=5)
    kit.saving = None
    assert not kit.failover().has(e.LeaderElected)
    assert kit.save_answered().has(e.LeaderElected)


def test_q2_two_masters_that_fall_together_are_both_led_under_one_epoch() -> None:
    kit = given(names=(NAME, "other"), replicas=1)
    other = Address(MASTER.host, MASTER.port + 1)
    kit.agree()
    for address in (MASTER, other):
        kit.servers[address].silent()
    kit.wait(DOWN_AFTER_MS + 2000)
    started = {x.subject.master: x.epoch for x in kit.log if isinstance(x, e.FailoverStarted)}
    elected = [x.subject.master for x in kit.log if isinstance(x, e.LeaderElected)]
    assert started == {NAME: 1, "other": 1}
    assert sorted(elected) == sorted(started) == [NAME, "other"]


# ---------------------------------------------------------------- Q25


def test_q25_master_that_is_removed_and_monitored_again_gives_no_second_vote() -> None:
    kit = given()
    kit.vote_asked(P1, 3)
    kit.ask(lambda n: i.RemoveAsked(n, NAME))
    kit.ask(lambda n: i.MonitorAsked(n, NAME, MASTER, 2))
    answer = kit.vote_asked(P2, 3).one(fx.AnswerOpinion)
    assert (answer.leader, answer.leader_epoch) == (None, 3)


def test_vote_survives_a_reset_as_its_epoch_only() -> None:
    """Property 2."""
    kit = given()
    kit.vote_asked(P1, 3)
    kit.ask(lambda n: i.ResetAsked(n, (NAME,)))
    answer = kit.vote_asked(P2, 3).one(fx.AnswerOpinion)
    assert (answer.leader, answer.leader_epoch) == (None, 3)


def test_a_vote_that_was_given_where_a_peer_does_not_live_any_more_is_not_its_vote() -> None:
    """It had another sentinel's address, and that one's vote is counted under its own id (seed 14254944)."""
    kit = candidate()
    kit.opinion(P1, leader=ME, epoch=5)
    kit.hello(P1, at=Address("10.0.2.9", 26379))
    assert not kit.opinion(P2, leader=ME, epoch=5).has(e.LeaderElected)
    assert kit.opinion(P1, leader=ME, epoch=5).has(e.LeaderElected), "asked at its own address it counts"


# ---------------------------------------------------------------- split votes


def split(kit: Given, epoch: int) -> list[e.FailoverAborted]:
    """Five sentinels, and three others stood as well: each has its own vote, and the last one's makes no majority."""
    heard = Heard()
    for run_id in (P1, P2, P3):
        heard.events += kit.opinion(run_id, leader=run_id, epoch=epoch).events
    return heard.all(e.FailoverAborted)


def stood(kit: Given) -> list[int]:
    return [event.epoch for event in kit.log if isinstance(event, e.FailoverStarted)]


def keep_agreeing(kit: Given, length_ms: int) -> None:
    """Time passes, and the peers go on to say that the master is down."""
    for _ in range(length_ms // 100):
        kit.wait(100)
        for run_id in kit.peers:
            kit.opinion(run_id, down=True)


def test_election_that_nobody_won_is_repeated_soon_under_a_new_epoch() -> None:
    kit = candidate()
    assert len(split(kit, 5)) == 1
    assert kit.master.failover is None
    keep_agreeing(kit, 200)
    assert stood(kit) == [5, 6]


def test_only_so_many_elections_are_repeated_soon() -> None:
    kit = candidate()
    for n in range(12):
        split(kit, 5 + n)
        keep_agreeing(kit, 200)
    assert stood(kit) == list(range(5, 5 + 1 + QUICK_RETRIES))
    keep_agreeing(kit, 2 * FAILOVER_TIMEOUT_MS - 3000)
    assert len(stood(kit)) == QUICK_RETRIES + 1, "then the wait is the one of stock"
    keep_agreeing(kit, 4000)
    assert len(stood(kit)) == QUICK_RETRIES + 2


def lose(kit: Given, epoch: int) -> tuple[int, int]:
    """Nobody wins, and my dice fall on the highest number: how long the election took, and until when I wait."""
    assert kit.master.failover is not None
    began_ms = kit.master.failover.phase_since_ms
    kit.wait(40)
    kit.dice.numbers.append(-1)
    (aborted,) = split(kit, epoch)
    assert aborted.retry_at_ms is not None
    return kit.now_ms - began_ms, aborted.retry_at_ms - kit.now_ms


def test_candidates_stand_further_apart_with_each_election_that_nobody_won() -> None:
    """Or saves that are slower than the waits would split the votes again and again."""
    kit, spreads = candidate(), []
    for n in range(QUICK_RETRIES):
        took_ms, wait_ms = lose(kit, 5 + n)
        spreads.append((wait_ms + 1 - RETRY_MS[0]) / took_ms)
        keep_agreeing(kit, wait_ms + 100)
    assert spreads == [3, 3, 6, 12, 24]


def test_losers_do_not_come_back_in_the_same_second() -> None:
    """After stock's wait, with the same spread."""
    kit = candidate()
    for n in range(QUICK_RETRIES):
        keep_agreeing(kit, lose(kit, 5 + n)[1] + 100)
    took_ms, wait_ms = lose(kit, 5 + QUICK_RETRIES)
    stocks_ms = 2 * FAILOVER_TIMEOUT_MS
    assert stocks_ms + 40 * took_ms < wait_ms <= stocks_ms + 1000 + 48 * took_ms


def test_losers_are_never_spread_over_more_than_the_wait_of_stock() -> None:
    kit, waits = candidate(), []
    for n in range(QUICK_RETRIES + 3):
        keep_agreeing(kit, 9000)
        waits.append(lose(kit, 5 + n)[1])
        keep_agreeing(kit, waits[-1] + 100)
    assert max(waits) <= 4 * FAILOVER_TIMEOUT_MS + 1000


def test_election_that_another_may_have_won_is_not_repeated_soon() -> None:
    """A leader at work must not be overtaken."""
    kit = candidate()
    for run_id in (P1, P2, P3):
        kit.opinion(run_id, leader=P1, epoch=5)
    assert kit.master.failover is None
    keep_agreeing(kit, 5000)
    assert stood(kit) == [5]


def test_one_vote_unheard_may_have_made_another_the_leader() -> None:
    """Three of five are needed: two are known to be his, and one peer has not said whom it voted for."""
    kit = candidate()
    kit.opinion(P1, leader=P1, epoch=5)
    kit.opinion(P2, leader=P1, epoch=5)
    heard = kit.opinion(P4, leader=STRANGER, epoch=5)
    assert heard.one(e.FailoverAborted).retry_at_ms is None


def test_vote_that_may_still_come_keeps_the_attempt_alive() -> None:
    kit = candidate()
    kit.opinion(P1, leader=P1, epoch=5)
    kit.opinion(P2, leader=P1, epoch=5)
    assert kit.master.failover is not None
    kit.opinion(P3, leader=ME, epoch=5)
    assert kit.opinion(P4, leader=ME, epoch=5).has(e.LeaderElected)


def test_vote_for_another_ends_my_own_attempt_and_my_haste() -> None:
    kit = candidate()
    heard = kit.vote_asked(P1, 6)
    heard.events += kit.wait(100).events
    assert heard.has(e.FailoverAborted)
    keep_agreeing(kit, 5000)
    assert stood(kit) == [5]
