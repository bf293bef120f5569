"""What must not come between a coordinated handover and the order that lets the old master's clients go on."""

from __future__ import annotations

from tests.model.given import MASTER, ME, P1, P2, R1, given, master_info, replica_info
from trio_sentinel.model import effects as fx
from trio_sentinel.model.values import ServerLink


def test_the_old_master_hears_no_hello_before_its_clients_are_released() -> None:
    """Writes are paused there: a PUBLISH would block, and with it the KillClients and UNPAUSE behind it, for the whole
    length of the pause."""
    kit = given(replicas=2, failover_timeout_ms=10_000)
    kit.servers[MASTER].info = master_info(failover_state="no-failover")
    kit.wait(11_000)
    kit.agree(P1, P2)
    heard = kit.failover(coordinated=True)
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
    assert not [e for e in heard.all(fx.SayHello) if getattr(e.link, "address", None) == MASTER]
    heard = kit.wait(4_000)
    assert [e for e in heard.all(fx.SayHello) if getattr(e.link, "address", None) == MASTER]
