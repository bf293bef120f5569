"""Who is promoted: each filter at its edge, and the order whole (core.md 11.3, Q8)."""

from __future__ import annotations

import itertools

import pytest

from tests.model.given import DOWN_AFTER_MS, MASTER, NAME, R1, R2, R3, Given, given, master_info, replica_info
from trio_sentinel.model import inputs as i
from trio_sentinel.model.observations import ServerSense
from trio_sentinel.model.ranking import rank, sort_key
from trio_sentinel.model.situation import Situation
from trio_sentinel.model.values import Address, Channel, ServerLink


def ranking(kit: Given) -> tuple[Address | None, dict[Address, str]]:
    """The best and why each other one lost, now."""
    situation: Situation = kit.engine._s
    result = rank(situation, kit.master)
    return result.best, dict(result.losers)


def sense(kit: Given, address: Address) -> ServerSense:
    return kit.engine.senses.servers[NAME, address]


def test_healthy_replicas_are_ranked_by_offset_and_nobody_is_left_unexplained() -> None:
    best, losers = ranking(given(replicas=3))
    assert best == R1
    assert losers == {R2: "smaller replication offset", R3: "smaller replication offset"}


def test_replica_that_is_down_is_not_chosen() -> None:
    kit = given()
    kit.silence(R1)
    kit.wait(DOWN_AFTER_MS + 1)
    assert ranking(kit) == (R2, {R1: "subjectively down"})


def test_replica_without_a_command_connection_is_not_chosen() -> None:
    kit = given()
    kit.lose(R1)
    assert ranking(kit) == (R2, {R1: "not connected"})


def test_q22_replica_without_its_pubsub_connection_can_be_chosen() -> None:
    kit = given()
    kit.muted.add(i.LinkLost)  # type: ignore[arg-type]
    kit.servers[R1].reachable = False
    kit.hear(i.LinkLost(ServerLink(NAME, R1), Channel.PUBSUB, "closed"))
    assert ranking(kit)[0] == R1


def test_replica_may_be_silent_for_five_ping_periods() -> None:
    kit = given(down_after_ms=60_000)
    kit.silence(R1)
    last_ms = sense(kit, R1).last_ok_at_ms
    kit.wait_until(last_ms + 5000)
    assert ranking(kit)[0] == R1
    kit.wait(1)
    assert ranking(kit) == (R2, {R1: "no good PING reply lately"})


def test_priority_zero_is_never_chosen() -> None:
    kit = given()
    kit.info(R1, replica_info(priority=0, repl_offset=10**9))
    assert ranking(kit) == (R2, {R1: "priority 0"})


def test_info_may_be_three_info_periods_old_while_the_master_is_up() -> None:
    kit = given(down_after_ms=60_000)
    kit.servers[R1].info = None
    kit.wait(15_000)
    heard_ms = sense(kit, R1).info_at_ms
    assert heard_ms is not None
    kit.wait_until(heard_ms + 30_000)
    assert ranking(kit)[0] == R1
    kit.wait(1)
    assert ranking(kit) == (R2, {R1: "INFO too old"})


def test_info_may_be_five_ping_periods_old_while_the_master_is_down() -> None:
    kit = given(quorum=3)
    kit.servers[R1].info = None
    kit.master_down()
    kit.info(R1, replica_info())
    kit.servers[R1].info = None
    kit.wait(5000)
    assert R1 not in dict.fromkeys(a for a, why in ranking(kit)[1].items() if why == "INFO too old")
    kit.wait(1)
    assert ranking(kit)[1][R1] == "INFO too old"


def test_link_to_the_master_may_be_down_for_ten_times_down_after() -> None:
    kit = given()
    kit.info(R1, replica_info(master_link_down_ms=10 * DOWN_AFTER_MS, master_link_up=False))
    assert ranking(kit)[0] == R1
    kit.info(R1, replica_info(master_link_down_ms=10 * DOWN_AFTER_MS + 1, master_link_up=False))
    assert ranking(kit) == (R2, {R1: "cut off from the master for too long"})


def test_time_since_the_master_fell_is_added_to_that() -> None:
    kit = given(quorum=3)
    kit.master_down()
    fell_ms = kit.master.s_down_since_ms
    assert fell_ms is not None
    kit.wait(700)
    allowed_ms = 10 * DOWN_AFTER_MS + kit.now_ms - fell_ms
    kit.info(R1, replica_info(master_link_down_ms=allowed_ms, master_link_up=False))
    assert R1 not in {a for a, why in ranking(kit)[1].items() if "cut off" in why}
    kit.info(R1, replica_info(master_link_down_ms=allowed_ms + 1, master_link_up=False))
    assert "cut off" in ranking(kit)[1][R1]


def test_q8_replica_that_says_it_is_a_master_is_not_chosen() -> None:
    kit = given()
    kit.info(R1, master_info())
    assert ranking(kit) == (R2, {R1: "says it is a master"})


def test_q8_replica_that_never_synchronised_comes_last_but_is_better_than_none() -> None:
    kit = given()
    kit.info(R1, replica_info(master_link_down_ms=-1000, priority=1, repl_offset=10**9))
    assert ranking(kit) == (R2, {R1: "never synchronised"})
    kit.info(R2, replica_info(priority=0))
    assert ranking(kit)[0] == R1


def test_nobody_is_best_where_nobody_qualifies() -> None:
    assert ranking(given(replicas=0)) == (None, {})


def test_announced_or_not_makes_no_difference() -> None:
    kit = given()
    kit.info(R1, replica_info(announced=False))
    assert ranking(kit)[0] == R1


# ---------------------------------------------------------------- the order, whole


Candidate = tuple[int, int, str | None]
CANDIDATES: list[Candidate] = list(itertools.product((1, 100), (-1, 0, 500), (None, "a" * 40, "B" * 40, "c" * 40)))


def better(one: Candidate, other: Candidate) -> bool:
    """The order of 11.3 in plain words."""
    if one[0] != other[0]:
        return one[0] < other[0]
    if one[1] != other[1]:
        return one[1] > other[1]
    if one[2] is None or other[2] is None:
        return one[2] is not None and other[2] is None
    return one[2].lower() < other[2].lower()


def key(candidate: Candidate) -> tuple[bool, int, int, bool, str]:
    priority, offset, run_id = candidate
    made = ServerSense(
        made_at_ms=0,
        last_ok_at_ms=0,
        last_pong_at_ms=0,
        ping_since_ms=None,
        link=ServerLink(NAME, MASTER),
        priority=priority,
        repl_offset=offset,
    )
    return sort_key(made, run_id)


@pytest.mark.parametrize("one", CANDIDATES)
def test_order_whole(one: Candidate) -> None:
    for other in CANDIDATES:
        assert (key(one) < key(other)) == better(one, other), (one, other)


@pytest.mark.parametrize("order", [*itertools.permutations([R1, R2, R3])])
def test_order_in_which_replicas_were_found_decides_nothing(order: tuple[Address, ...]) -> None:
    kit = given(replicas=3)
    known = dict(kit.master.replicas)
    for n, address in enumerate((R1, R2, R3)):
        kit.info(address, replica_info(run_id=f"{n + 1:040x}", repl_offset=7))
    kit.master.replicas.clear()
    kit.master.replicas.update({address: known[address] for address in order})
    assert ranking(kit)[0] == R1


def test_q8_server_that_says_it_is_a_master_is_the_last_resort_while_the_master_is_down() -> None:
    """Simulated seed 3 of the arena: an old master came back, the new one was lost, and nobody else was there."""
    kit = given()
    kit.wait(1)
    for address in (R1, R2):
        kit.hear(i.InfoHeard(ServerLink(NAME, address), master_info(), b""))
    assert ranking(kit)[0] is None
    kit.silence(MASTER)
    kit.wait(DOWN_AFTER_MS + 1)
    for address in (R1, R2):
        kit.hear(i.InfoHeard(ServerLink(NAME, address), master_info(), b""))
    assert kit.master.s_down
    assert ranking(kit)[0] in (R1, R2)
