"""Many masters fall at once: elections are held together, under one epoch (core.md 10.2, Q2)."""

from __future__ import annotations

import pytest

from tests.model.given import DOWN_AFTER_MS, MASTER, ME, NAME, P1, P2, Given, Heard, given
from trio_sentinel.model import events as e
from trio_sentinel.model import inputs as i
from trio_sentinel.model.decide.agreement import BATCH_MS
from trio_sentinel.model.values import Address, Channel, PeerLink, ServerLink

MASTERS = {name: Address(MASTER.host, MASTER.port + n) for n, name in enumerate((NAME, "other", "third"))}


def crowd(**settings: object) -> Given:
    """Three masters whose peers agree with me, and who vote only when the test says so. I stand first."""
    kit = given(names=tuple(MASTERS), replicas=1, **settings)  # type: ignore[arg-type]
    for run_id in (P1, P2):
        kit.peers[run_id].says = (True, None, 0)
    return kit


def lose(kit: Given, *names: str) -> None:
    """Masters die: their connections are reset, and refused from now on."""
    for name in names:
        kit.servers[MASTERS[name]].reachable = False
        kit.hear(*(i.LinkLost(ServerLink(name, MASTERS[name]), channel, "reset") for channel in Channel))


def agree(kit: Given, *names: str) -> None:
    """P1 says that these masters are down; my own questions wait for the disk."""
    for name in names:
        kit.hear(i.OpinionHeard(PeerLink(P1), name, MASTERS[name], 0, True, None, 0))
    kit.wait(100)


def vote_for_me(kit: Given, name: str, epoch: int) -> Heard:
    """P1 gives me its vote, which makes a majority."""
    return kit.hear(i.OpinionHeard(PeerLink(P1), name, MASTERS[name], epoch, True, ME, epoch))


def stood(kit: Given) -> dict[str, int]:
    """For which masters I stood, and under which epoch last."""
    return {event.subject.master: event.epoch for event in kit.log if isinstance(event, e.FailoverStarted)}


def led(kit: Given) -> set[str]:
    """Where I was elected."""
    return {event.subject.master for event in kit.log if isinstance(event, e.LeaderElected)}


def test_masters_that_fall_while_the_disk_is_busy_are_led_under_one_epoch() -> None:
    kit = crowd()
    kit.saving = None
    lose(kit, NAME)
    kit.wait(100)
    lose(kit, "other", "third")
    kit.wait(DOWN_AFTER_MS + 1)
    agree(kit, "other", "third")
    assert stood(kit) == {NAME: 1, "other": 1, "third": 1}
    assert [event.epoch for event in kit.log if isinstance(event, e.EpochRaised)] == [1]
    while kit.asked_to_save:
        kit.save_answered()
    for name in MASTERS:
        vote_for_me(kit, name, 1)
    assert led(kit) == set(MASTERS)


def test_who_falls_while_an_election_is_open_stands_when_it_is_decided() -> None:
    kit = crowd()
    lose(kit, NAME)
    kit.wait(100)
    lose(kit, "other", "third")
    kit.wait(DOWN_AFTER_MS + 1)
    assert all(kit.engine.state.masters[name].o_down for name in MASTERS)
    assert stood(kit) == {NAME: 1}
    vote_for_me(kit, NAME, 1)
    assert stood(kit) == {NAME: 1, "other": 2, "third": 2}, "under an epoch that nobody has heard of"


def test_who_falls_while_an_election_is_open_stands_when_its_master_is_removed() -> None:
    kit = crowd()
    lose(kit, NAME)
    kit.wait(100)
    lose(kit, "other")
    kit.wait(DOWN_AFTER_MS + 1)
    kit.ask(lambda n: i.RemoveAsked(n, NAME))
    assert stood(kit) == {NAME: 1, "other": 2}


def test_an_election_without_votes_keeps_others_waiting_for_a_moment_only() -> None:
    kit = crowd()
    lose(kit, NAME)
    kit.wait(100)
    lose(kit, "other", "third")
    while not stood(kit):
        kit.wait(1)
    kit.wait(BATCH_MS - 1)
    assert stood(kit) == {NAME: 1}
    kit.wait(1)
    assert stood(kit) == {NAME: 1, "other": 2, "third": 2}


def test_an_epoch_that_others_have_heard_of_is_not_used_for_another_master() -> None:
    kit = crowd()
    lose(kit, NAME)
    kit.wait(DOWN_AFTER_MS + 1)
    assert vote_for_me(kit, NAME, 1).has(e.LeaderElected)
    lose(kit, "other")
    kit.wait(DOWN_AFTER_MS + 1)
    assert stood(kit) == {NAME: 1, "other": 2}


def test_an_epoch_in_which_i_voted_for_another_is_not_used() -> None:
    """Property 3. Somebody else raised the same number in the same moment."""
    kit = crowd(failover_timeout_ms=2000)
    kit.saving = None
    lose(kit, NAME)
    kit.wait(DOWN_AFTER_MS + 1)
    kit.vote_asked(P1, 1, about=MASTERS["other"])
    lose(kit, "other", "third")
    kit.wait(DOWN_AFTER_MS + 1)
    agree(kit, "third", "other")
    assert stood(kit) == {NAME: 1, "third": 1, "other": 2}


@pytest.mark.parametrize("ok", [True, False])
def test_an_epoch_is_not_used_for_another_master_after_its_save(ok: bool) -> None:
    """Whether it is on disk or was taken back."""
    kit = crowd()
    kit.saving = None
    lose(kit, NAME)
    kit.wait(DOWN_AFTER_MS + 1)
    kit.save_answered(ok=ok)
    kit.saving = True
    lose(kit, "other")
    kit.wait(DOWN_AFTER_MS + 2000)
    assert stood(kit)["other"] > 1
