"""Many masters die at once, on virtual time: how long it takes, and that all properties hold meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from trio_sentinel.model import events as e
from trio_sentinel.model.decide import agreement
from trio_sentinel.model.values import Address
from trio_sentinel.sim.cluster import Cluster
from trio_sentinel.sim.options import Options
from trio_sentinel.sim.runs import build

DOWN_AFTER_MS = 2000
WARM_UP_MS = 4000
STEP_MS = 50
LIMIT_MS = 12_000
SLOW: dict[str, Any] = {"latency_ms": (1, 30), "save_ms": (10, 60)}


def crowd(seed: int, masters: int, **others: Any) -> Cluster:
    """So many masters with a replica each, all well acquainted. A lost attempt is missed: the next one would come after
    six minutes."""
    chosen: dict[str, Any] = {"replicas": 1, "write_ms": 0, "down_after_ms": DOWN_AFTER_MS}
    cluster = build(Options(seed=seed, masters=masters, failover_timeout_ms=180_000, **(chosen | others)))
    cluster.world.run_for(WARM_UP_MS)
    return cluster


def kill(cluster: Cluster, count: int) -> dict[str, Address]:
    """The first so many masters die in the same moment."""
    (sentinel, *_) = cluster.sentinels.values()
    dead = {name: sentinel.engine.state.masters[name].address for name in list(cluster.settings)[:count]}
    for address in dead.values():
        cluster.kill_server(cluster.servers[address])
    return dead


def switched_after_ms(cluster: Cluster, dead: dict[str, Address]) -> int:
    """How long after `down-after-milliseconds` all sentinels name other masters; nobody waits longer than LIMIT_MS."""
    began_ms = cluster.world.now_ms

    def waiting() -> bool:
        return any(
            sentinel.engine.state.masters[name].current_address == address
            for sentinel in cluster.each_up()
            for name, address in dead.items()
        )

    while waiting() and cluster.world.now_ms < began_ms + LIMIT_MS:
        cluster.world.run_for(STEP_MS)
    return cluster.world.now_ms - began_ms - DOWN_AFTER_MS


def downs(cluster: Cluster) -> set[str]:
    """The masters that some sentinel called down."""
    return {
        told.event.subject.name
        for told in cluster.told
        if isinstance(told.event, e.WentDown) and told.event.subject.name in cluster.settings
    }


def attempts(cluster: Cluster) -> int:
    """How often anybody stood for election."""
    return sum(isinstance(told.event, e.FailoverStarted) for told in cluster.told)


@pytest.mark.parametrize(
    ("sentinels", "speed", "limit_ms"),
    [(3, {}, 500), (3, SLOW, 1500), (5, SLOW, 1500)],
    ids=["3 at once", "3 slow ones", "5 slow ones"],
)
def test_a_hundred_masters_that_die_at_once_are_replaced_in_a_moment(
    sentinels: int, speed: dict[str, Any], limit_ms: int
) -> None:
    cluster = crowd(3, 110, sentinels=sentinels, quorum=sentinels // 2 + 1, **speed)
    dead = kill(cluster, 100)
    assert switched_after_ms(cluster, dead) <= limit_ms
    assert downs(cluster) == set(dead)
    assert attempts(cluster) <= 150
    assert max(s.engine.state.current_epoch for s in cluster.each_up()) <= 10


def test_with_an_epoch_for_each_they_overtake_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test above is there for."""
    monkeypatch.setattr(agreement, "_may_share_epoch", lambda s, master: False)
    monkeypatch.setattr(agreement, "_batch_until_ms", lambda s: 0)
    cluster = crowd(3, 60, **SLOW)
    assert switched_after_ms(cluster, kill(cluster, 60)) >= LIMIT_MS - DOWN_AFTER_MS


def test_the_sentinel_that_would_stand_first_dies_with_them() -> None:
    cluster = crowd(3, 100, **SLOW)
    first = min(cluster.each_up(), key=lambda sentinel: sentinel.own_id or "")
    dead = kill(cluster, 100)
    first.crash(with_host=True)
    assert switched_after_ms(cluster, dead) <= 5000


@pytest.mark.parametrize("seed", [1, 2])
def test_in_a_mixed_quorum_it_takes_seconds(seed: int) -> None:
    """A stock candidate takes an epoch for each master, counts votes of the last one only and asks again."""
    cluster = crowd(seed, 40, members=("ours", "ours", "redis 7"), latency_ms=(1, 20), save_ms=(2, 20))
    dead = kill(cluster, 40)
    assert switched_after_ms(cluster, dead) <= 10_000
    assert not downs(cluster) - set(dead)
