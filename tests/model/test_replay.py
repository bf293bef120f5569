"""The state is the fold of its events, and the snapshot is what a crash leaves of it (core.md 15; properties 1, 2)."""

from __future__ import annotations

import pytest

from tests.model.given import HERE, MASTER, ME, NAME, P1, P3, R1, R2, ScriptedDice, given, master_info, replica_info
from trio_sentinel.model import events as e
from trio_sentinel.model import inputs as i
from trio_sentinel.model.engine import Engine
from trio_sentinel.model.replay import NOT_YET, replay
from trio_sentinel.model.state import SentinelState
from trio_sentinel.model.values import MAX_EPOCH


def test_no_events_give_the_empty_state() -> None:
    assert replay(()) == SentinelState(my_id=NOT_YET)


def test_story_told_twice_gives_the_same_state_from_objects_of_its_own() -> None:
    kit = given()
    kit.promoted()
    one, other = replay(kit.log), replay(kit.log)
    assert one == other == kit.engine.state
    assert one.masters[NAME] is not other.masters[NAME]
    assert one.masters[NAME].replicas is not other.masters[NAME].replicas


def test_every_beginning_of_a_story_can_be_replayed() -> None:
    kit = given()
    kit.promoted()
    kit.info(R2, replica_info(R1))
    for end in range(len(kit.log) + 1):
        replay(kit.log[:end])


def test_snapshot_restored_and_taken_again_is_the_same() -> None:
    kit = given(epoch=9, config_epoch=4, leader_epoch=8, parallel_syncs=3)
    kit.hello(P3)
    kit.info(MASTER, master_info(replicas=(R1, R2)))
    snapshot = kit.engine.snapshot()
    engine = Engine(ScriptedDice(), kit.now_ms)
    engine.start(snapshot, kit.now_ms, own_port=HERE.port)
    assert engine.snapshot() == snapshot


def test_snapshot_of_a_promotion_names_the_promoted_and_keeps_the_old_master_as_a_replica() -> None:
    """Core.md 15: a crash resumes on the new master."""
    kit = given()
    kit.promoted()
    known = kit.engine.snapshot().masters[0]
    assert (known.address, known.config_epoch) == (R1, 1)
    assert set(known.replicas) == {MASTER, R2}


def test_snapshot_before_the_promotion_names_the_old_master() -> None:
    kit = given()
    kit.elected()
    known = kit.engine.snapshot().masters[0]
    assert (known.address, known.config_epoch, known.leader_epoch) == (MASTER, 0, 1)
    assert kit.engine.snapshot().current_epoch == 1


def test_snapshot_holds_neither_flags_nor_lengths_of_time() -> None:
    kit = given(quorum=3)
    kit.ask(lambda n: i.TimingSetAsked(n, "ping_period_ms", 50))
    kit.master_down()
    kit.restart()
    assert not kit.master.s_down
    assert kit.engine.state.timing.ping_period_ms == 1000


@pytest.mark.parametrize("stop", range(1, 12))
def test_epochs_never_go_back_over_a_crash_at_any_save(stop: int) -> None:
    """Properties 1 and 2, at every point of a failover where something was saved."""
    kit = given()
    kit.saving = None
    kit.agree()
    kit.kill_master()
    told_epoch = told_vote = 0
    for _ in range(stop):
        heard = kit.wait(700)
        if kit.asked_to_save:
            heard = kit.save_answered()
        if kit.master.failover is not None and kit.master.failover.promoted is not None:
            kit.servers[R1].info = master_info()
        news = [x.event for x in heard.effects if hasattr(x, "event")]
        told_epoch = max([told_epoch, *(x.epoch for x in news if isinstance(x, e.EpochRaised))])
        told_vote = max([told_vote, *(x.epoch for x in news if isinstance(x, e.VoteCast))])
    kit.saving = True
    kit.restart()
    assert kit.engine.state.current_epoch >= told_epoch
    assert kit.master.leader_epoch >= told_vote


def test_largest_epochs_survive_a_restart() -> None:
    """Property 6."""
    kit = given()
    kit.hello(P1, epoch=MAX_EPOCH, config_epoch=MAX_EPOCH, master=R1)
    kit.restart()
    assert (kit.engine.state.current_epoch, kit.master.config_epoch) == (MAX_EPOCH, MAX_EPOCH)
    assert kit.master.address == R1


def test_events_are_frozen() -> None:
    kit = given()
    assert kit.engine.state.my_id == ME
    for event in kit.log:
        name = event.__struct_fields__[0]
        with pytest.raises(AttributeError):
            setattr(event, name, None)
