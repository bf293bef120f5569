"""In place: ours takes over a stock sentinel's configuration file, and stock takes it back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from .harness import DataServer, Kind, Lab, Sentinel, Watch
from .harness_stories import leader_of, switch_text

pytestmark = pytest.mark.real


def fail_over(
    lab: Lab, moving: Sentinel, sentinels: Sequence[Sentinel], servers: Sequence[DataServer]
) -> tuple[DataServer, int]:
    """A failover that needs the vote of `moving`: one of the two others is killed for it."""
    old, _ = lab.wait_agreement(sentinels, servers)
    lab.wait_acquainted(sentinels, replicas=len(servers) - 1)
    away = next(one for one in sentinels if one is not moving)
    present = [one for one in sentinels if one is not away]
    away.kill()
    for one in present:
        one.events.forget()
    old.kill()
    new, epoch = lab.wait_agreement(present, servers)
    leader = leader_of(present)
    assert f"{leader.id} {epoch}" in moving.events.named("+vote-for-leader")
    lab.wait_event(moving, "+switch-master", switch_text(old, new))
    lab.start(away)
    lab.start(old)
    lab.wait_until(lambda: old.follows(new), "the old master became a replica")
    assert lab.wait_agreement(sentinels, servers) == (new, epoch)
    lab.wait_acquainted(sentinels, replicas=len(servers) - 1)
    return new, epoch


@pytest.mark.parametrize(
    "stock", [Kind.VALKEY, pytest.param(Kind.REDIS7, marks=pytest.mark.needs_redis7)], ids=lambda kind: kind.value
)
def test_ours_takes_over_a_stock_file_and_gives_it_back(lab: Lab, stock: Kind) -> None:
    servers = lab.trio_of_servers()
    watch = Watch(servers[0].port)
    moving = lab.sentinel(stock, watch, lines=["# kept by everybody", 'requirepass ""', "sentinel announce-port 0"])
    sentinels = [moving, lab.sentinel(stock, watch), lab.sentinel(Kind.OURS, watch)]
    lab.wait_acquainted(sentinels, replicas=2)
    run_id = moving.id

    epochs = []
    for kind in (Kind.OURS, stock):
        assert moving.terminate() == 0
        before = moving.conf()
        moving.become(kind)
        lab.start(moving)
        assert moving.id == run_id
        # What the file says is known before anybody could tell it.
        first = moving.logged_events()[-1]
        assert first.channel == "+monitor"
        new, epoch = fail_over(lab, moving, sentinels, servers)
        epochs.append(epoch)
        assert "# kept by everybody" in moving.conf().splitlines()
        assert moving.conf_values("sentinel", "myid") == [run_id]
        assert moving.conf_values("sentinel", "config-epoch") == [f"mymaster {epoch}"]
        assert moving.conf_values("sentinel", "monitor") == [f"mymaster 127.0.0.1 {new.port} 2"]
        assert len(moving.conf_values("sentinel", "known-sentinel")) == 2
        assert len(moving.conf_values("sentinel", "known-replica")) == 2
        assert moving.conf_values("sentinel", "down-after-milliseconds") == ["mymaster 1000"]
        assert directives(before) <= directives(moving.conf())
    assert epochs[0] < epochs[1]


def directives(conf: str) -> set[str]:
    """What is set by a file: the first two words of `sentinel` lines, the first of others."""
    found = set()
    for line in conf.splitlines():
        words = line.split()
        if words and not line.startswith("#"):
            found.add(" ".join(words[: 2 if words[0] == "sentinel" else 1]))
    return found
