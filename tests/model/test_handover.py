"""Coordinated failovers: writers are held back, the replica catches up, the master hands over, and writers go on; or
everything is as before."""

from __future__ import annotations

from tests.model.given import MASTER, ME, NAME, P1, P2, R1, Given, Heard, given, master_info, replica_info
from trio_sentinel.model import effects as fx
from trio_sentinel.model import events as e
from trio_sentinel.model import inputs as i
from trio_sentinel.model.state import SendingPromotion, WaitingForPromotion
from trio_sentinel.model.values import ServerLink


def coordinated(*, behind: bool = False, failover_timeout_ms: int = 10_000, pauses: bool | None = True) -> Given:
    """SENTINEL FAILOVER COORDINATED was accepted and the peers will vote for me; the replica may be `behind`."""
    kit = given(failover_timeout_ms=failover_timeout_ms)
    for script in kit.peers.values():
        script.votes = True
    kit.servers[MASTER].pauses = pauses
    kit.servers[R1].info = replica_info(repl_offset=999 if behind else 1000)
    kit.wait(11_000)
    kit.failover(coordinated=True)
    return kit


def wait_for(kit: Given, kind: type, *, at_most_ms: int = 3000) -> Heard:
    """Let time pass until an event of a kind."""
    for _ in range(at_most_ms):
        heard = kit.wait(1)
        if heard.has(kind):
            return heard
    raise AssertionError(f"no {kind.__name__}")


def test_a_replica_that_has_what_the_paused_master_wrote_takes_over_at_once() -> None:
    kit = coordinated(behind=True)
    kit.wait(500)
    assert kit.master.failover is not None
    assert isinstance(kit.master.failover.phase, SendingPromotion), "writes would be lost"
    kit.servers[R1].info = replica_info(repl_offset=1000)
    heard = kit.wait(50)
    assert heard.one(e.PromotionSent).caught_up
    order = heard.one(fx.HandOver)
    assert (order.link.address, order.at_once) == (MASTER, True)


def test_an_offset_from_before_the_pause_does_not_count() -> None:
    """An INFO may be on its way when the order to pause is sent, and a write behind it."""
    kit = coordinated(pauses=None)
    kit.servers[MASTER].info = None
    kit.wait(300)
    kit.info(MASTER, master_info(written_offset=900))
    assert not kit.wait(100).has(fx.HandOver)
    kit.servers[MASTER].info = None
    kit.hear(i.PauseAnswered(ServerLink(NAME, MASTER), True))
    assert not kit.wait(100).has(fx.HandOver)
    heard = kit.info(MASTER, master_info(written_offset=1000))
    heard.effects += kit.wait(50).effects
    assert heard.one(fx.HandOver).at_once


def test_a_master_that_does_not_hold_its_writers_back_decides_itself_when_it_hands_over() -> None:
    kit = coordinated(pauses=False)
    heard = kit.wait(500)
    kit_sent = [event for event in kit.log if isinstance(event, e.PromotionSent)]
    assert [sent.caught_up for sent in kit_sent] == [False]
    assert not any(order.at_once for order in heard.all(fx.HandOver))


def test_a_replica_that_does_not_catch_up_in_a_second_leaves_it_to_the_master() -> None:
    kit = coordinated(behind=True)
    assert not kit.wait(900).has(fx.HandOver)
    assert not wait_for(kit, e.PromotionSent).one(fx.HandOver).at_once


def test_a_connection_that_breaks_during_the_pause_proves_nothing() -> None:
    kit = coordinated(behind=True)
    kit.wait(100)
    kit.lose(MASTER)
    kit.servers[R1].info = replica_info(repl_offset=1000)
    heard = kit.find(MASTER)
    heard.effects += kit.wait(1000).effects
    assert not heard.one(fx.HandOver).at_once


def test_a_master_that_gives_the_handover_up_goes_on_as_before() -> None:
    kit = coordinated()
    kit.wait(100)
    assert kit.master.failover is not None and isinstance(kit.master.failover.phase, WaitingForPromotion)
    assert not kit.wait(900).has(e.FailoverAborted)
    heard = wait_for(kit, e.FailoverAborted)
    assert heard.one(e.FailoverAborted).reason is e.Abort.MASTER_TIMEOUT
    assert heard.one(fx.ReleaseWriters) == fx.ReleaseWriters(ServerLink(NAME, MASTER), call_off=True)


def test_a_handover_that_may_be_done_is_not_called_off() -> None:
    """The candidate fell silent: it may be master already. Two masters are worse than a pause that runs out."""
    kit = coordinated()
    kit.wait(100)
    kit.servers[R1].silent()
    kit.servers[MASTER].info = replica_info(R1)
    heard = wait_for(kit, e.FailoverAborted, at_most_ms=12_000)
    assert heard.one(e.FailoverAborted).reason is e.Abort.REPLICA_TIMEOUT
    assert not heard.has(fx.ReleaseWriters)


def test_writers_go_on_when_the_replica_drops_out_before_the_order() -> None:
    kit = coordinated(behind=True, failover_timeout_ms=4000)
    kit.wait(100)
    kit.servers[R1].info = replica_info(master_link_up=False, repl_offset=999)
    heard = wait_for(kit, e.FailoverAborted, at_most_ms=5000)
    assert heard.one(e.FailoverAborted).reason is e.Abort.MASTER_TIMEOUT
    assert heard.one(fx.ReleaseWriters) == fx.ReleaseWriters(ServerLink(NAME, MASTER), call_off=False)


def test_the_old_master_hears_no_hello_before_its_clients_are_released() -> None:
    """Writes are paused there: a PUBLISH would block, and with it the KillClients and UNPAUSE behind it, for the whole
    length of the pause."""
    kit = given(replicas=2, failover_timeout_ms=10_000)
    kit.servers[MASTER].info = master_info(failover_state="no-failover")
    kit.wait(11_000)
    kit.agree(P1, P2)
    heard = kit.failover(coordinated=True)
    kit.servers[MASTER].info = master_info(failover_state="waiting-for-sync")
    heard.effects += kit.wait(3_000).effects
    kit.servers[R1].info = master_info()
    kit.servers[MASTER].info = replica_info(R1)
    kit.saving = None
    heard.effects += kit.wait(200).effects
    kit.wait(3_000)
    heard.effects += kit.save_answered().effects
    to_master = [
        effect
        for effect in heard.effects
        if isinstance(effect, fx.HandOver | fx.KillClients | fx.SayHello) and effect.link.__class__ is ServerLink
    ]
    words = [type(effect) for effect in to_master if getattr(effect.link, "address", None) == MASTER]
    assert fx.HandOver in words
    after = words[words.index(fx.HandOver) :]
    assert after[1] is fx.KillClients, after


def test_a_healthy_master_hears_no_hello_right_after_a_vote_for_another() -> None:
    kit = given(replicas=1)
    kit.vote_asked(P1, 1)
    assert kit.master.voted_for == P1 != ME
    heard = kit.wait(2_500)
    assert not [said for said in heard.all(fx.SayHello) if getattr(said.link, "address", None) == MASTER]
    heard = kit.wait(4_000)
    assert [said for said in heard.all(fx.SayHello) if getattr(said.link, "address", None) == MASTER]
