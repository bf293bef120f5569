"""Stock sentinels and ours in one quorum: they find each other, elect each other, and agree."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest

from .harness import DataServer, Flavour, Kind, Lab, Sentinel, Watch
from .harness_stories import check_one_failover

pytestmark = pytest.mark.real


def _starts_failover(leader: Sentinel) -> bool:
    return bool(leader.ask("SENTINEL", "FAILOVER", "mymaster") == "OK")


QUORUMS = [
    pytest.param([Kind.VALKEY, Kind.VALKEY, Kind.OURS], Flavour.VALKEY9, id="2-valkey-1-ours"),
    pytest.param([Kind.VALKEY, Kind.OURS, Kind.OURS], Flavour.VALKEY9, id="1-valkey-2-ours"),
    pytest.param(
        [Kind.REDIS7, Kind.REDIS7, Kind.OURS], Flavour.REDIS70, id="2-redis7-1-ours", marks=pytest.mark.needs_redis7
    ),
    pytest.param(
        [Kind.REDIS7, Kind.OURS, Kind.OURS], Flavour.REDIS70, id="1-redis7-2-ours", marks=pytest.mark.needs_redis7
    ),
]


def let_only(leader: Sentinel, sentinels: Sequence[Sentinel]) -> None:
    """Make `leader` the only one that can find the master objectively down; the others still report and vote."""
    for one in sentinels:
        one.ask("SENTINEL", "SET", "mymaster", "quorum", 2 if one is leader else 9)


def fail_over_led_by(leader: Sentinel, lab: Lab, sentinels: Sequence[Sentinel], servers: Sequence[DataServer]) -> None:
    """Kill the master; `leader` must lead, with votes of the others; then the killed server returns as a replica."""
    old, old_epoch = lab.wait_agreement(sentinels, servers)
    lab.wait_acquainted(sentinels, replicas=len(servers) - 1)
    let_only(leader, sentinels)
    lab.forget_events()
    old.kill()
    new, epoch = lab.wait_agreement(sentinels, servers)
    assert new is not old
    assert epoch > old_epoch
    assert check_one_failover(lab, sentinels, servers, old=old, new=new) is leader
    for one in sentinels:
        assert f"{leader.id} {epoch}" in one.events.named("+vote-for-leader")
        if one is not leader:
            # Usually the leader's hello is the first, but who has switched already passes the news on.
            told_by = [text.split()[1] for text in one.events.named("+config-update-from")]
            assert len(told_by) == 1
            assert told_by[0] in {other.id for other in sentinels if other is not one}
        assert one.conf_values("sentinel", "config-epoch") == [f"mymaster {epoch}"]
    lab.start(old)
    lab.wait_until(lambda: old.follows(new), "the old master became a replica")
    assert lab.wait_agreement(sentinels, servers) == (new, epoch)


@pytest.mark.parametrize(("kinds", "flavour"), QUORUMS)
def test_mixed_quorum_fails_over_whoever_leads(lab: Lab, kinds: list[Kind], flavour: Flavour) -> None:
    servers = lab.trio_of_servers(flavour)
    sentinels = lab.quorum(kinds, Watch(servers[0].port))
    for one in sentinels:
        # lab.quorum has waited for discovery in both directions; here are its details.
        assert {peer["runid"] for peer in one.peers().values()} == {other.id for other in sentinels} - {one.id}
        assert {peer["flags"] for peer in one.peers().values()} == {"sentinel"}
        answer = "OK 3 usable Sentinels. Quorum and failover authorization can be reached"
        assert one.ask("SENTINEL", "CKQUORUM", "mymaster") == answer
    for leader in (sentinels[-1], sentinels[0]):
        fail_over_led_by(leader, lab, sentinels, servers)
    assert {one.info()["sentinel_tilt"] for one in sentinels} == {"0"}


@pytest.mark.parametrize(("kinds", "flavour"), QUORUMS)
def test_mixed_quorum_obeys_a_forced_failover(lab: Lab, kinds: list[Kind], flavour: Flavour) -> None:
    servers = lab.trio_of_servers(flavour)
    sentinels = lab.quorum(kinds, Watch(servers[0].port))
    for leader in (sentinels[-1], sentinels[0]):
        lab.forget_events()
        old, old_epoch = lab.wait_agreement(sentinels, servers)
        lab.wait_acquainted(sentinels, replicas=2)
        lab.wait_until(partial(_starts_failover, leader), f"{leader.name} fails over")
        new, epoch = lab.wait_agreement(sentinels, servers)
        assert new is not old
        assert epoch > old_epoch
        moved = [server for server in servers if server is not old]
        assert check_one_failover(lab, sentinels, moved, old=old, new=new, forced=True) is leader


@pytest.mark.parametrize(
    "stock", [Kind.VALKEY, pytest.param(Kind.REDIS7, marks=pytest.mark.needs_redis7)], ids=lambda kind: kind.value
)
def test_coordinated_failover_gets_the_votes_of_stock(lab: Lab, stock: Kind) -> None:
    if Kind.OURS.runs_as is Kind.REDIS7:
        pytest.skip("left out: COORDINATED, which Redis 7.0 standing in for ours does not know")
    servers = lab.trio_of_servers()
    sentinels = lab.quorum([stock, stock, Kind.OURS], Watch(servers[0].port, failover_timeout_ms=10_000))
    leader = sentinels[-1]
    lab.forget_events()
    lab.wait_until(
        lambda: leader.ask("SENTINEL", "FAILOVER", "mymaster", "COORDINATED") == "OK", f"{leader.name} fails over"
    )
    new, epoch = lab.wait_agreement(sentinels, servers)
    assert new is not servers[0]
    for one in sentinels:
        lab.wait_event(one, "+switch-master")
        assert f"{leader.id} {epoch}" in one.events.named("+vote-for-leader")
