"""What is due comes to rest, and what thousands of replicas cost: defects found by attack."""

from __future__ import annotations

from trio_sentinel.model import inputs as i
from trio_sentinel.model.decide import topology
from trio_sentinel.model.values import Address, Channel, PeerLink

from .given import FAILOVER_TIMEOUT_MS, MASTER, P1, R1, Given, given, master_info


def feeds(kit: Given, length_ms: int) -> int:
    """How often the engine wants to be fed within `length_ms`."""
    count, end_ms = 0, kit.now_ms + length_ms
    while kit.engine.next_due_ms() < end_ms:
        kit.wait(kit.engine.next_due_ms() - kit.now_ms)
        count += 1
    return count


def test_an_opinion_of_a_dead_peer_is_not_due_for_ever() -> None:
    kit = given(peers=2, replicas=0)
    kit.agree()
    kit.kill_master()
    kit.wait(6000)
    kit.peers[P1].reachable = False
    kit.hear(i.LinkLost(PeerLink(P1), Channel.COMMAND, "reset"))
    kit.wait(FAILOVER_TIMEOUT_MS // 4)
    assert kit.master.o_down
    assert feeds(kit, 5000) < 100


def test_a_disk_that_hangs_past_the_election_costs_no_time() -> None:
    kit = given()
    kit.saving = None
    kit.agree()
    kit.kill_master()
    kit.wait(6000)
    assert kit.master.failover is not None
    kit.wait(15_000)
    assert feeds(kit, 5000) < 100


def test_of_thousands_of_replicas_a_bounded_number_is_watched() -> None:
    kit = given(peers=0, replicas=0)
    addresses = tuple(Address(f"10.{n >> 8}.{n & 255}.1", 7000) for n in range(4000))
    heard = i.InfoHeard(kit.master.link(), master_info(replicas=(MASTER, *addresses, addresses[0])), b"")
    kit.engine.feed(heard, kit.now_ms)
    kit.engine.feed(heard, kit.now_ms)
    assert tuple(kit.master.replicas) == addresses[: topology.MAX_REPLICAS]
    assert all((kit.master.name, address) in kit.engine.senses.servers for address in kit.master.replicas)


def test_a_failed_attempt_is_no_reason_to_look_at_everything() -> None:
    """A thousand dead replicas fail a thousand times a second; only the next attempt is planned."""
    kit = given(replicas=3)
    kit.lose(R1)
    kit.wait(100)
    revision = kit.engine.revision
    outcome = kit.engine.feed(i.LinkLost(kit.master.link(R1), Channel.COMMAND, "refused"), kit.now_ms)
    assert outcome.effects == ()
    assert kit.engine.revision == revision
    assert kit.engine.next_due_ms() <= kit.now_ms + 1000
