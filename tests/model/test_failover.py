"""A failover from the election to the switch, phase by phase (core.md 11.2 to 11.5, 12, 13)."""

from __future__ import annotations

import pytest

from tests.model.given import (
    DOWN_AFTER_MS,
    FAILOVER_TIMEOUT_MS,
    MASTER,
    ME,
    NAME,
    P1,
    P2,
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
    Manner,
    Reconf,
    SelectingReplica,
    SendingPromotion,
    WaitingForPromotion,
    WaitingForVotes,
)
from trio_sentinel.model.values import Address, InfoReading, ServerLink


def phase(kit: Given) -> object:
    assert kit.master.failover is not None
    return kit.master.failover.phase


def follows(kit: Given, address: Address, *, link_up: bool = True) -> list[type[e.Event]]:
    """INFO of a replica that follows the promoted R1 now."""
    return kit.info(address, replica_info(R1, master_link_up=link_up)).kinds


# ---------------------------------------------------------------- selection


def test_leader_chooses_by_the_ranking_and_says_why_the_others_lost() -> None:
    kit = given()
    kit.elected()
    chosen = next(event for event in kit.log if isinstance(event, e.ReplicaSelected))
    assert chosen.address == R1
    assert chosen.losers == ((R2, "smaller replication offset"),)


def test_leader_waits_for_a_replica_that_was_never_heard_of_but_not_long() -> None:
    kit = given()
    kit.engine.senses.servers[NAME, R2].info_at_ms = None
    kit.servers[R2].info = None
    kit.failover()
    kit.wait(299)
    assert isinstance(phase(kit), SelectingReplica)
    assert kit.wait(1).one(e.ReplicaSelected).losers == ((R2, "INFO too old"),)


def test_leader_without_a_good_replica_gives_up_at_once() -> None:
    kit = given(replicas=1)
    kit.info(R1, replica_info(priority=0))
    kit.agree()
    kit.master_down()
    heard = kit.wait(1000)
    aborted = [event for event in kit.log if isinstance(event, e.FailoverAborted)]
    assert [abort.reason for abort in aborted] == [e.Abort.NO_GOOD_REPLICA]
    assert kit.master.failover is None
    assert not heard.has(fx.Promote)


def test_leader_waits_a_moment_for_news_of_the_replicas_but_not_for_ever() -> None:
    kit = given()
    kit.agree()
    kit.servers[R2].info = None
    heard = kit.master_down()
    heard.events += kit.wait(1000).events
    elected_ms = heard.one(e.LeaderElected).at_ms
    assert heard.one(e.ReplicaSelected).at_ms - elected_ms <= 300


def test_news_since_the_fall_of_the_master_are_recent_enough_to_choose_by() -> None:
    """Offsets do not move any more then; an INFO every second is there when the votes are in."""
    kit = given()
    kit.muted.add(fx.AskPeer)
    kit.master_down()
    kit.wait(1500)
    kit.opinion(P1, down=True)
    kit.wait(200)
    kit.muted.add(fx.PollInfo)
    heard = kit.opinion(P1, leader=ME, epoch=1)
    assert heard.one(e.ReplicaSelected).at_ms == heard.one(e.LeaderElected).at_ms


def test_older_news_are_asked_for_again_before_the_choice() -> None:
    kit = given()
    kit.wait(5000)
    heard = kit.failover()
    polled = {poll.link.address for poll in heard.all(fx.PollInfo)}
    assert {R1, R2} <= polled
    assert heard.has(e.ReplicaSelected)


def test_promoted_replica_with_a_second_address_is_not_told_to_follow_itself() -> None:
    kit = given(replicas=3)
    run_id = kit.master.replicas[R1].run_id
    assert run_id is not None
    kit.info(R2, replica_info(run_id=run_id, repl_offset=999))
    heard = kit.promoted()
    assert {sent.address for sent in heard.all(e.ReconfSent)} == {R3}
    assert e.FailoverEnded in follows(kit, R3), "nobody waits for it either"


def test_replica_that_turns_out_to_be_the_promoted_one_keeps_its_place_until_its_time_is_over() -> None:
    """Its order may be under way: a name that lied for a moment can make two servers look like one (property 19)."""
    kit = given(replicas=3)
    ordered = kit.promoted().one(e.ReconfSent).address
    assert ordered != R1
    run_id = kit.master.replicas[R1].run_id
    assert run_id is not None
    assert not kit.info(ordered, replica_info(run_id=run_id)).has(e.ReconfSent)
    assert kit.wait(15_000).one(e.ReconfSent).address not in (R1, ordered)


def test_replica_that_is_down_is_not_waited_for_before_the_choice() -> None:
    kit = given()
    kit.silence(R2)
    kit.wait(6000)
    kit.agree()
    kit.kill_master()
    heard = kit.wait(6500)
    assert heard.one(e.ReplicaSelected).at_ms == heard.one(e.LeaderElected).at_ms


def test_only_one_replica_is_told_to_become_master() -> None:
    """Property 13."""
    kit = given(replicas=3)
    kit.agree()
    heard = kit.master_down()
    for _ in range(20):
        heard.effects += kit.wait(500).effects
    assert [order.link for order in heard.all(fx.Promote)] == [ServerLink(NAME, R1)]


# ---------------------------------------------------------------- waiting for the promotion


def test_promotion_that_is_not_seen_in_time_is_given_up() -> None:
    kit = given()
    kit.elected()
    sent = next(event for event in kit.log if isinstance(event, e.PromotionSent))
    assert not kit.wait_until(sent.at_ms + FAILOVER_TIMEOUT_MS).has(e.FailoverAborted)
    assert kit.wait(1).one(e.FailoverAborted).reason is e.Abort.REPLICA_TIMEOUT
    assert kit.master.failover is None


def test_abort_leaves_nothing_behind_but_the_time_of_the_attempt() -> None:
    """Property 24."""
    kit = given()
    kit.elected()
    attempt_ms = kit.master.attempt_at_ms
    kit.wait(FAILOVER_TIMEOUT_MS + 10)
    assert kit.master.failover is None
    assert kit.master.attempt_at_ms == attempt_ms
    assert kit.master.current_address == MASTER
    assert all(replica.reconf is Reconf.NONE for replica in kit.master.replicas.values())


# ---------------------------------------------------------------- promotion


@pytest.mark.parametrize("reading", [replica_info(), replica_info(R2), replica_info(master_link_up=False)])
def test_candidate_that_still_says_it_is_a_replica_is_waited_for(reading: InfoReading) -> None:
    kit = given()
    kit.elected()
    kit.info(R1, reading)
    assert isinstance(phase(kit), WaitingForPromotion)


def test_other_replica_that_says_it_is_master_is_not_taken_for_the_promotion() -> None:
    kit = given()
    kit.elected()
    assert not kit.info(R2, master_info()).has(e.PromotionSeen)


def test_promotion_is_told_by_hellos_at_once_and_takes_the_epoch_of_the_attempt() -> None:
    """Core.md 6.3 and 11.4."""
    kit = given(epoch=6)
    kit.elected()
    heard = kit.info(R1, master_info())
    assert heard.kinds[:4] == [e.RoleReported, e.PromotionSeen, e.PromotionPublished, e.ReconfigurationBegun]
    assert kit.master.config_epoch == 7
    hellos = kit.wait(100).all(fx.SayHello) + heard.all(fx.SayHello)
    new = [said for said in hellos if said.hello.config_epoch == 7]
    assert {said.hello.master_host for said in new} == {R1.host}
    assert len({said.link for said in new}) >= 4


def test_q3_nobody_hears_of_a_promotion_that_is_not_on_disk() -> None:
    """Property 15."""
    kit = given()
    kit.elected()
    kit.saving = None
    heard = kit.info(R1, master_info())
    heard.effects += kit.wait(5000).effects
    assert kit.master.current_address == MASTER
    assert kit.master.config_epoch == 0
    assert not heard.has(fx.Repoint)
    assert all(said.hello.master_host == MASTER.host for said in heard.all(fx.SayHello))
    version, snapshot = kit.asked_to_save[-1]
    assert (snapshot.masters[0].address, snapshot.masters[0].config_epoch) == (R1, 1)
    kit.hear(i.ConfigSaved(version))
    assert kit.master.current_address == R1


def test_crash_after_the_promotion_was_saved_resumes_on_the_new_master() -> None:
    kit = given()
    kit.promoted()
    kit.restart()
    assert kit.master.address == R1
    assert kit.master.config_epoch == 1
    assert MASTER in kit.master.replicas


def test_no_replica_is_repointed_before_the_promotion_was_seen() -> None:
    """Property 14."""
    kit = given(replicas=3)
    kit.agree()
    heard = kit.master_down()
    heard.effects += kit.wait(10_000).effects
    assert not heard.has(fx.Repoint)


def test_clients_are_told_the_promoted_address_and_peers_are_asked_about_the_old_one() -> None:
    """Property 23."""
    kit = given()
    kit.promoted()
    assert kit.master.current_address == R1
    asks = kit.wait(3000).all(fx.AskPeer)
    assert asks
    assert {ask.address for ask in asks} == {MASTER}


def test_scripts_of_clients_are_called_when_the_promotion_is_durable() -> None:
    kit = given(client_reconfig_script="/bin/true")
    heard = kit.promoted()
    script = heard.one(fx.RunReconfigScript)
    assert script.arguments == (NAME, "leader", "start", "10.0.0.1", "6379", "10.0.0.2", "6379")


# ---------------------------------------------------------------- reconfiguring


@pytest.mark.parametrize("parallel", [1, 2])
def test_no_more_than_parallel_syncs_replicas_are_brought_over_at_once(parallel: int) -> None:
    """Property 19."""
    kit = given(replicas=3, parallel_syncs=parallel)
    assert len(kit.promoted().all(e.ReconfSent)) == parallel


def test_next_replica_follows_when_the_one_before_is_done() -> None:
    kit = given(replicas=3)
    assert kit.promoted().one(e.ReconfSent).address == R2
    assert follows(kit, R2, link_up=False) == [e.ReconfInProgress]
    assert follows(kit, R2) == [e.ReconfDone, e.ReconfSent]
    assert kit.master.replicas[R3].reconf is Reconf.SENT


def test_no_replica_is_brought_over_soon_after_a_vote_under_a_higher_epoch() -> None:
    """Whoever has it may promote that replica now (seed 12022175)."""
    kit = given(replicas=3, parallel_syncs=1, failover_timeout_ms=60_000)
    assert kit.promoted().one(e.ReconfSent).address == R2
    follows(kit, R2, link_up=False)
    voted_ms = kit.now_ms
    kit.vote_asked(P1, kit.engine.state.current_epoch + 1)
    assert kit.master.attempt_at_ms == voted_ms
    assert follows(kit, R2) == [e.ReconfDone]
    assert not kit.wait_until(voted_ms + 9999).has(e.ReconfSent)
    assert kit.wait(1).one(e.ReconfSent).address == R3


def test_order_names_the_promoted_replica() -> None:
    kit = given(replicas=2)
    order = next(x for x in kit.promoted().all(fx.Repoint) if x.link.address == R2)
    assert (order.host, order.port) == (R1.host, R1.port)


def test_both_steps_of_a_replica_can_be_read_in_one_info() -> None:
    kit = given(replicas=3)
    kit.promoted()
    assert follows(kit, R2) == [e.ReconfInProgress, e.ReconfDone, e.ReconfSent]


def test_failover_ends_with_the_last_replica_and_the_switch_follows() -> None:
    kit = given(replicas=2)
    kit.promoted()
    assert follows(kit, R2) == [e.ReconfInProgress, e.ReconfDone, e.FailoverEnded, e.MasterSwitched]
    assert kit.master.address == R1
    assert kit.master.failover is None
    assert set(kit.master.replicas) == {MASTER, R2}


def test_only_replica_promoted_means_the_end_at_once() -> None:
    kit = given(replicas=1)
    assert kit.promoted().kinds[-2:] == [e.FailoverEnded, e.MasterSwitched]


def test_replica_that_is_down_is_not_waited_for() -> None:
    kit = given(replicas=2)
    kit.silence(R2)
    kit.wait(6000)
    kit.agree()
    kit.kill_master()
    kit.wait(6000)
    heard = kit.info(R1, master_info())
    assert heard.has(e.FailoverEnded)
    assert not heard.one(e.FailoverEnded).timed_out


def test_q13_stuck_replica_holds_the_others_up_for_the_reconf_timeout_only() -> None:
    kit = given(replicas=3)
    sent_ms = kit.promoted().one(e.ReconfSent).at_ms
    assert not kit.wait_until(sent_ms + 10_000).has(e.ReconfTimedOut)
    heard = kit.wait(1)
    assert heard.one(e.ReconfTimedOut).address == R2
    assert R3 in {sent.address for sent in heard.all(e.ReconfSent)}
    assert [order.link.address for order in heard.all(fx.Repoint)].count(R2) == 1, "the order is repeated once"


def test_failover_that_takes_too_long_ends_with_a_best_effort() -> None:
    kit = given(replicas=3, failover_timeout_ms=9000)
    heard = kit.promoted()
    seen_ms = heard.one(e.PromotionSeen).at_ms
    assert not kit.wait_until(seen_ms + 9000).has(e.FailoverEnded)
    heard = kit.wait(1)
    assert heard.one(e.FailoverEnded).timed_out
    rest = heard.one(e.ReconfSent)
    assert (rest.address, rest.best_effort) == (R3, True)
    assert heard.kinds.index(e.FailoverEnded) < heard.kinds.index(e.MasterSwitched)


def test_q14_promoted_replica_that_dies_ends_by_timeout_and_is_then_seen_down() -> None:
    kit = given(replicas=2, failover_timeout_ms=20_000)
    seen_ms = kit.promoted().one(e.PromotionSeen).at_ms
    kit.lose(R1)
    kit.wait(6000)
    assert follows(kit, R2) == [e.ReconfInProgress, e.ReconfDone]
    assert kit.master.failover is not None
    assert kit.wait_until(seen_ms + 20_001).kinds.count(e.MasterSwitched) == 1
    assert kit.master.address == R1
    assert any(down.subject.master_host == R1.host for down in kit.wait(6000).all(e.WentDown))


def test_parallel_syncs_may_be_lowered_while_replicas_are_on_their_way() -> None:
    kit = given(replicas=3, parallel_syncs=2)
    kit.promoted()
    assert kit.set(("parallel-syncs", "1")).one(fx.Answer).error is None


def test_promotion_is_never_given_up() -> None:
    """Property 17."""
    kit = given(replicas=2)
    kit.promoted()
    kit.servers[MASTER].reachable = True
    kit.servers[R1].info = replica_info(R2)
    heard = kit.wait(FAILOVER_TIMEOUT_MS + 1000)
    assert not heard.has(e.FailoverAborted)
    assert heard.has(e.MasterSwitched)


# ---------------------------------------------------------------- overtaken


def test_higher_configuration_overtakes_an_attempt_silently() -> None:
    kit = given()
    kit.elected()
    heard = kit.hello(P1, epoch=9, config_epoch=9, master=R2)
    assert heard.one(e.MasterSwitched).new == R2
    assert not heard.has(e.FailoverAborted)
    assert kit.master.failover is None


def test_higher_configuration_with_the_same_address_ends_an_attempt() -> None:
    """Otherwise my promotion would lower the configuration epoch (property 20)."""
    kit = given()
    kit.elected()
    kit.hello(P1, epoch=9, config_epoch=9)
    kit.info(R1, master_info())
    assert kit.master.config_epoch == 9
    assert kit.master.failover is None


def test_configuration_of_my_own_epoch_with_the_same_address_ends_an_attempt() -> None:
    """Operators forced two failovers under one epoch: my promotion would tell a second address in it (property 21)."""
    kit = given()
    kit.elected()
    heard = kit.hello(P1, epoch=1, config_epoch=1)
    assert heard.one(e.FailoverAborted).subject.name == NAME
    kit.info(R1, master_info())
    assert (kit.master.current_address, kit.master.config_epoch) == (MASTER, 1)


def test_higher_configuration_with_the_old_address_ends_a_published_promotion() -> None:
    """Otherwise two addresses would be told under one configuration epoch (properties 21, 22)."""
    kit = given()
    kit.promoted()
    kit.hello(P1, epoch=9, config_epoch=9, master=MASTER)
    assert (kit.master.current_address, kit.master.config_epoch) == (MASTER, 9)
    said = [x.hello for x in kit.wait(3000).all(fx.SayHello)]
    assert {(hello.master_host, hello.config_epoch) for hello in said} == {(MASTER.host, 9)}


def test_equal_configuration_epoch_with_another_address_is_ignored() -> None:
    kit = given()
    kit.promoted()
    assert not kit.hello(P1, epoch=1, config_epoch=1, master=R2).events
    assert kit.master.current_address == R1


# ---------------------------------------------------------------- after the switch


def switched() -> Given:
    """R1 is master now; the old master is gone."""
    kit = given(replicas=2)
    kit.promoted()
    follows(kit, R2)
    assert kit.master.address == R1
    return kit


def test_switch_keeps_and_clears_what_the_table_says() -> None:
    """Core.md 12."""
    kit = switched()
    master = kit.master
    assert (master.config_epoch, master.leader_epoch, master.failover_epoch) == (1, 1, 1)
    assert set(master.peers) == {P1, P2}
    assert (master.s_down, master.o_down, master.voted_for, master.attempt_at_ms) == (False, False, None, None)
    assert master.s_down_since_ms is None
    assert not any(replica.s_down for replica in master.replicas.values())


def test_new_master_is_no_reboot_of_the_old_one() -> None:
    kit = given(replicas=1)
    kit.info(MASTER, master_info(run_id="8" * 40))
    kit.failover()
    heard = kit.info(R1, master_info(run_id=f"{1:040x}"))
    heard.events += kit.wait(1000).events
    assert heard.has(e.MasterSwitched)
    assert not heard.has(e.ServerRebooted)


def test_silence_before_the_switch_does_not_count_after_it() -> None:
    kit = given(replicas=2)
    kit.promoted()
    kit.servers[R2].silent()
    kit.wait(4000)
    follows(kit, R2)
    kit.servers[R2].silent()
    assert kit.master.address == R1
    sense = kit.engine.senses.servers[NAME, R2]
    assert sense.last_ok_at_ms == kit.now_ms
    assert not kit.wait(DOWN_AFTER_MS).has(e.WentDown)


def test_q7_new_master_is_asked_for_info_at_once_and_not_trusted_before() -> None:
    kit = given()
    kit.promoted()
    kit.muted.add(fx.PollInfo)
    heard = kit.info(R2, replica_info(R1))
    assert heard.has(e.MasterSwitched)
    assert any(poll.link == ServerLink(NAME, R1) for poll in heard.all(fx.PollInfo) + kit.wait(10).all(fx.PollInfo))
    assert not kit.engine._s.sane(kit.master)


def test_votes_of_the_leader_survive_the_switch() -> None:
    kit = switched()
    answer = kit.vote_asked(P2, 1, about=R1).one(fx.AnswerOpinion)
    assert (answer.leader, answer.leader_epoch) == (None, 1)


def test_new_master_can_be_failed_over_at_once() -> None:
    """A switch zeroes the time of the last attempt (property 11)."""
    kit = switched()
    kit.lose(R1)
    heard = kit.wait(6000)
    assert heard.one(e.FailoverStarted).epoch == 2


# ---------------------------------------------------------------- by hand


def test_forced_failover_skips_the_election_and_tells_all_the_same() -> None:
    kit = given()
    heard = kit.failover()
    assert heard.one(fx.Answer).error is None
    assert heard.kinds[:5] == [e.EpochRaised, e.FailoverStarted, e.VoteCast, e.VoteSaved, e.LeaderElected]
    assert heard.one(e.FailoverStarted).manner is Manner.FORCED
    assert not heard.has(fx.AskPeer)
    assert not heard.has(e.WentDown)


def test_forced_failover_that_is_given_up_delays_automatic_ones() -> None:
    kit = given(failover_timeout_ms=20_000)
    started = kit.failover().one(e.FailoverStarted)
    kit.wait(20_100)
    assert kit.master.failover is None
    kit.agree()
    kit.kill_master()
    assert not kit.wait_until(started.attempt_at_ms + 40_000 - 1).has(e.FailoverStarted)
    assert kit.wait(1).has(e.FailoverStarted)


def coordinated() -> Given:
    kit = given()
    kit.agree()
    for script in kit.peers.values():
        script.says = (False, None, 0)
    kit.failover(coordinated=True)
    return kit


def test_coordinated_failover_asks_for_votes_although_the_master_is_up() -> None:
    kit = given()
    heard = kit.failover(coordinated=True)
    asks = heard.all(fx.AskPeer)
    assert {(ask.peer.run_id, ask.epoch, ask.candidate) for ask in asks} == {(P1, 1, ME), (P2, 1, ME)}
    assert isinstance(phase(kit), WaitingForVotes)


def test_coordinated_failover_hands_over_through_the_master() -> None:
    kit = coordinated()
    kit.wait(1000)
    sent = next(event for event in kit.log if isinstance(event, e.PromotionSent))
    assert sent.handover_ms is not None
    assert FAILOVER_TIMEOUT_MS - 200 < sent.handover_ms <= FAILOVER_TIMEOUT_MS
    assert isinstance(phase(kit), WaitingForPromotion)


def test_no_hello_goes_to_a_master_that_hands_over() -> None:
    kit = coordinated()
    kit.servers[MASTER].info = master_info(failover_state="waiting-for-sync")
    kit.wait(1000)
    heard = kit.wait(10_000)
    targets = {said.link for said in heard.all(fx.SayHello)}
    assert ServerLink(NAME, MASTER) not in targets
    assert ServerLink(NAME, R2) in targets


def test_clients_of_both_are_cut_off_after_a_coordinated_promotion() -> None:
    kit = coordinated()
    kit.wait(1000)
    heard = kit.info(R1, master_info())
    assert {order.link.address for order in heard.all(fx.KillClients)} == {MASTER, R1}


def test_coordinated_failover_without_votes_is_given_up() -> None:
    kit = given()
    kit.muted.add(fx.AskPeer)
    kit.failover(coordinated=True)
    assert kit.wait(10_001).one(e.FailoverAborted).reason is e.Abort.NOT_ELECTED


def test_coordinated_failover_needs_a_second_to_hand_over() -> None:
    kit = given(failover_timeout_ms=4000, down_after_ms=60_000)
    for script in kit.peers.values():
        script.votes = True
    kit.kill_master()
    kit.failover(coordinated=True)
    kit.wait(500)
    running = kit.master.failover
    assert running is not None and isinstance(running.phase, SendingPromotion)
    assert not kit.wait_until(running.phase_since_ms + 3000).has(e.FailoverAborted)
    assert kit.wait(1).one(e.FailoverAborted).reason is e.Abort.MASTER_TIMEOUT


def test_coordinated_failover_goes_on_when_the_master_can_be_reached_again() -> None:
    kit = given(down_after_ms=60_000)
    for script in kit.peers.values():
        script.votes = True
    kit.kill_master()
    kit.failover(coordinated=True)
    kit.wait(5000)
    sending = kit.master.failover
    assert sending is not None
    sent = kit.find(MASTER).one(fx.HandOver)
    assert sent.link == ServerLink(NAME, MASTER)
    assert (sent.host, sent.port) == (R1.host, R1.port)
    assert FAILOVER_TIMEOUT_MS - 6000 < sent.timeout_ms < FAILOVER_TIMEOUT_MS - 4000


# ---------------------------------------------------------------- simulated crashes


def test_crash_after_election_comes_after_its_news_and_before_the_choice() -> None:
    kit = given()
    kit.ask(lambda n: i.CrashPointsSetAsked(n, True, False))
    heard = kit.failover()
    audible = [x for x in heard.effects if x.audible]
    at = next(n for n, x in enumerate(audible) if isinstance(x, fx.Crash))
    before = [type(x.event) for x in audible[:at] if isinstance(x, fx.Announce)]
    assert before[-1] is e.LeaderElected
    assert not any(isinstance(x, fx.Promote) for x in audible[:at])


def test_crash_after_promotion_comes_when_the_promotion_is_saved_and_told() -> None:
    kit = given()
    kit.ask(lambda n: i.CrashPointsSetAsked(n, False, True))
    kit.failover()
    heard = kit.info(R1, master_info())
    audible = [x for x in heard.effects if x.audible]
    at = next(n for n, x in enumerate(audible) if isinstance(x, fx.Crash))
    assert any(isinstance(x, fx.Announce) and isinstance(x.event, e.PromotionPublished) for x in audible[:at])
    assert not any(isinstance(x, fx.Repoint) for x in audible[:at])
    assert kit.disk is not None
    assert kit.disk.masters[0].address == R1
