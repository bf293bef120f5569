"""Every event has its row, only lawful moves are made, and nothing is remembered that no event says (core.md 11.2)."""

from __future__ import annotations

from typing import get_args

import attrs
import pytest

from tests.model.given import MASTER, NAME, P1, P2, R1, R2, Given, given, master_info, replica_info
from trio_sentinel.errors import InvariantViolation
from trio_sentinel.model import effects as fx
from trio_sentinel.model import events as e
from trio_sentinel.model.evolve import EVOLVE, LAWFUL_MOVES, evolve
from trio_sentinel.model.invariants import Marks, check_parallel_syncs, check_state
from trio_sentinel.model.replay import replay
from trio_sentinel.model.state import (
    PHASE_WORDS,
    Failover,
    Manner,
    Phase,
    Reconf,
    ReconfiguringReplicas,
    SelectingReplica,
    SendingPromotion,
    UpdatingConfig,
    WaitingForPromotion,
    WaitingForVotes,
)
from trio_sentinel.model.values import MAX_EPOCH, Address, Role

PHASES: list[Phase] = [
    WaitingForVotes(vote_saved=True),
    SelectingReplica(),
    SendingPromotion(R1),
    WaitingForPromotion(R1),
    ReconfiguringReplicas(R1, published=True),
    UpdatingConfig(R1),
]


def in_phase(phase: Phase) -> Given:
    """A master whose failover stands in `phase`."""
    kit = given()
    kit.engine.state.current_epoch = 1
    kit.master.failover_epoch = 1
    kit.master.failover = Failover(epoch=1, manner=Manner.FORCED, phase=phase, phase_since_ms=0)
    return kit


def moves(kit: Given) -> dict[type[Phase], e.Event]:
    """The events that lead into each phase."""
    state, master = kit.engine.state, kit.master
    subject = state.subject_of_master(master)
    return {
        WaitingForVotes: e.VoteSaved(subject=subject),
        SelectingReplica: e.LeaderElected(subject=subject, votes=2, voters=3, at_ms=1),
        SendingPromotion: e.ReplicaSelected(subject=subject, address=R1, losers=(), at_ms=1),
        WaitingForPromotion: e.PromotionSent(subject=subject, address=R1, handover_ms=None, at_ms=1),
        ReconfiguringReplicas: e.PromotionSeen(subject=subject, address=R1, epoch=1, at_ms=1),
        UpdatingConfig: e.FailoverEnded(subject=subject, timed_out=False, at_ms=1),
    }


def test_every_event_has_a_row() -> None:
    assert set(EVOLVE) == set(get_args(e.Event))


def test_words_of_the_phases_are_those_of_stock_in_their_order() -> None:
    words = ["wait_start", "select_slave", "send_slaveof_noone", "wait_promotion", "reconf_slaves", "update_config"]
    assert list(PHASE_WORDS.values()) == words


@pytest.mark.parametrize("start", PHASES, ids=lambda phase: type(phase).__name__)
@pytest.mark.parametrize("end", [type(phase) for phase in PHASES], ids=lambda kind: kind.__name__)
def test_only_lawful_moves_are_made(start: Phase, end: type[Phase]) -> None:
    """The whole table, six by six."""
    kit = in_phase(start)
    event = moves(kit)[end]
    if end in LAWFUL_MOVES[type(start)]:
        evolve(kit.engine.state, event)
        assert kit.master.failover is not None
        assert isinstance(kit.master.failover.phase, end)
    else:
        with pytest.raises(AssertionError):
            evolve(kit.engine.state, event)


@pytest.mark.parametrize("start", PHASES, ids=lambda phase: type(phase).__name__)
def test_promotion_cannot_be_aborted_and_everything_before_can(start: Phase) -> None:
    """Property 17."""
    kit = in_phase(start)
    subject = kit.engine.state.subject_of_master(kit.master)
    abort = e.FailoverAborted(subject=subject, reason=e.Abort.REPLICA_TIMEOUT, at_ms=5)
    if isinstance(start, ReconfiguringReplicas | UpdatingConfig):
        with pytest.raises(AssertionError):
            evolve(kit.engine.state, abort)
    else:
        evolve(kit.engine.state, abort)
        assert kit.master.failover is None


def test_no_move_is_made_without_a_failover() -> None:
    for kind in moves(given()):
        kit = given()
        with pytest.raises(AssertionError):
            evolve(kit.engine.state, moves(kit)[kind])


def test_chosen_replica_is_known_from_the_third_phase_on() -> None:
    """Property 24."""
    chosen = []
    for phase in PHASES:
        running = in_phase(phase).master.failover
        assert running is not None
        chosen.append(running.promoted)
    assert chosen == [None, None, R1, R1, R1, R1]


def test_event_is_applied_twice_with_the_same_result_where_it_names_a_whole_value() -> None:
    """Replay may begin anywhere a snapshot was taken."""
    kit = given()
    subject = kit.engine.state.subject_of_master(kit.master)
    for event in (
        e.ConfigEpochAdopted(subject=subject, epoch=0),
        e.RoleReported(subject=subject, address=MASTER, role=Role.MASTER, at_ms=3),
        e.NameLearnt(host="a", ip="10.0.0.1"),
    ):
        evolve(kit.engine.state, event)
        once = replay([*kit.log, event])
        assert replay([*kit.log, event, event]) == once


# ---------------------------------------------------------------- the invariants bite


def promoted_kit() -> Given:
    kit = given(replicas=3)
    kit.promoted()
    return kit


@pytest.mark.parametrize(
    ("number", "field", "value"),
    [
        (5, "leader_epoch", 99),
        (5, "config_epoch", 99),
        (12, "o_down", True),
        (21, "address", R1),
    ],
)
def test_broken_state_is_named_by_its_property(number: int, field: str, value: object) -> None:
    kit = given()
    setattr(kit.master, field, value)
    with pytest.raises(InvariantViolation, match=f"property {number}:"):
        check_state(kit.engine.state, kit.master)


def test_epoch_out_of_range_is_found() -> None:
    kit = given()
    kit.engine.state.current_epoch = MAX_EPOCH + 1
    with pytest.raises(InvariantViolation, match="property 6"):
        check_state(kit.engine.state, kit.master)


def test_own_id_among_the_peers_is_found() -> None:
    kit = given()
    kit.engine.state.my_id = P1
    with pytest.raises(InvariantViolation, match="property 27"):
        check_state(kit.engine.state, kit.master)


def test_unknown_promoted_replica_is_found() -> None:
    kit = promoted_kit()
    del kit.master.replicas[R1]
    with pytest.raises(InvariantViolation, match="property 24"):
        check_state(kit.engine.state, kit.master)


def test_too_many_replicas_on_their_way_are_found() -> None:
    kit = promoted_kit()
    for replica in kit.master.replicas.values():
        replica.reconf = Reconf.SENT
    with pytest.raises(InvariantViolation, match="property 19"):
        check_parallel_syncs(kit.master)


@pytest.mark.parametrize(("number", "field"), [(1, "current_epoch"), (2, "leader_epoch"), (20, "config_epoch")])
def test_epoch_that_falls_is_found(number: int, field: str) -> None:
    kit = given(epoch=5, leader_epoch=5, config_epoch=5)
    marks = Marks()
    marks.check(kit.engine.state, kit.master)
    setattr(kit.engine.state if field == "current_epoch" else kit.master, field, 4)
    with pytest.raises(InvariantViolation, match=f"property {number}:"):
        marks.check(kit.engine.state, kit.master)


def test_second_address_in_one_configuration_epoch_is_found() -> None:
    kit = given(epoch=5, config_epoch=5)
    marks = Marks()
    marks.check(kit.engine.state, kit.master)
    kit.master.address = Address("10.0.0.9", 6379)
    with pytest.raises(InvariantViolation, match="property 21:"):
        marks.check(kit.engine.state, kit.master)
    kit.master.config_epoch = kit.engine.state.current_epoch = 6
    marks.check(kit.engine.state, kit.master)


def test_second_vote_in_one_epoch_is_found() -> None:
    kit = given(epoch=5, leader_epoch=5)
    marks = Marks()
    kit.master.voted_for = P1
    marks.check(kit.engine.state, kit.master)
    kit.master.voted_for = P2
    with pytest.raises(InvariantViolation, match="property 3:"):
        marks.check(kit.engine.state, kit.master)


# ---------------------------------------------------------------- what each fact leaves behind


def test_fall_and_return_of_each_kind_of_instance_touch_that_instance_only() -> None:
    kit = given()
    state, master = kit.engine.state, kit.master
    facts = [
        (state.subject_of_master(master), MASTER, None),
        (state.subject_of_replica(master, R2), R2, None),
        (state.subject_of_peer(master, P2, master.peers[P2].address), None, P2),
    ]
    for subject, address, run_id in facts:
        evolve(state, e.WentDown(subject=subject, address=address, run_id=run_id, at_ms=7))
        down = [
            master.s_down,
            *(x.s_down for x in master.replicas.values()),
            *(x.s_down for x in master.peers.values()),
        ]
        assert sum(down) == 1
        evolve(state, e.CameBack(subject=subject, address=address, run_id=run_id))
    assert (master.s_down_since_ms, master.replicas[R2].s_down_since_ms, master.peers[P2].s_down_since_ms) == (7, 7, 7)


def test_switch_makes_all_replicas_new() -> None:
    kit = promoted_kit()
    kit.info(R2, replica_info(R1))
    kit.muted.add(fx.PollInfo)
    kit.hello(P1, epoch=9, config_epoch=9, master=R2)
    for replica in kit.master.replicas.values():
        assert (replica.reconf, replica.s_down, replica.run_id) == (Reconf.NONE, False, None)


def test_failover_is_a_value() -> None:
    """A phase is replaced, never changed in place: whoever holds the old one sees no change."""
    kit = given()
    kit.elected()
    before = kit.master.failover
    assert before is not None
    kept = attrs.evolve(before)
    kit.info(R1, master_info())
    assert before == kept
    assert kit.engine.state.masters[NAME].failover != before
