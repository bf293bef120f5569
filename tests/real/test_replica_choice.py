"""Which replica is promoted: never one with priority 0, then the lowest priority, then the best offset."""

from __future__ import annotations

from functools import partial

import pytest

from .harness import LOOPBACK, DataServer, Kind, Lab, Watch
from .harness_stories import leader_of, replica_text

pytestmark = pytest.mark.real

OURS = [Kind.OURS, Kind.OURS, Kind.OURS]


def test_priority_decides_and_zero_forbids(lab: Lab) -> None:
    master = lab.server()
    never, first, second = lab.replicas_of(master, 0, 20, 70)
    sentinels = lab.quorum(OURS, Watch(master.port), replicas=3)
    lab.forget_events()
    servers = [master, never, first, second]
    for expected in (first, second):
        old, _ = lab.wait_agreement(sentinels, servers)
        old.kill()
        new, _ = lab.wait_agreement(sentinels, servers)
        assert new is expected
        lab.wait_until(partial(never.follows, new), "the replica with priority 0 follows the new master")
    for one in sentinels:
        refusal = one.ask_error("SENTINEL", "FAILOVER", "mymaster")
        assert refusal == "NOGOODSLAVE No suitable replica to promote"
    lab.forget_events()
    second.kill()
    leader = lab.wait_until(
        lambda: next((one for one in sentinels if "-failover-abort-no-good-slave" in one.events.channels()), None),
        "a leader finds no good replica",
    )
    assert leader is not None
    assert never.role == "slave"
    assert {one.address() for one in sentinels} == {second.address}


def fall_behind(lab: Lab, master: DataServer, lagging: DataServer, current: DataServer) -> None:
    """Kill `master` when `current` has everything and `lagging`, which goes on running, has not."""
    megabyte = "x" * 1_000_000
    lagging.stop()
    for number in range(48):  # more than the kernel buffers on the way to a process that does not read
        master.ask("SET", f"bulk:{number}", megabyte)
    lab.wait_until(lambda: current.offset == master.offset, "one replica has everything")
    master.kill()
    lagging.cont()
    lab.wait_until(lambda: lagging.offset < current.offset, "the other replica answers and is behind")


def test_replica_with_the_better_offset_wins(lab: Lab) -> None:
    master, one_replica, other_replica = lab.trio_of_servers()
    # Without offsets the smaller run id would win: that one falls behind.
    lagging, current = sorted((one_replica, other_replica), key=lambda server: server.run_id)
    sentinels = lab.quorum(OURS, Watch(master.port))
    for one in sentinels:
        assert one.ask("SENTINEL", "SET", "mymaster", "quorum", "9") == "OK"
    fall_behind(lab, master, lagging, current)

    def both_good() -> bool:
        for one in sentinels:
            seen = one.replicas()
            if {seen[server.address]["flags"] for server in (lagging, current)} != {"slave"}:
                return False
            offsets = [int(seen[server.address]["slave-repl-offset"]) for server in (lagging, current)]
            if not 0 < offsets[0] < offsets[1]:
                return False
        return True

    lab.wait_until(both_good, "all sentinels see two good replicas with different offsets")
    lab.forget_events()
    for one in sentinels:
        one.ask("SENTINEL", "SET", "mymaster", "quorum", "2")
    new, _ = lab.wait_agreement(sentinels, [lagging, current])
    assert new is current
    assert leader_of(sentinels).events.named("+selected-slave") == [replica_text(current, master)]
    assert current.client.exists("bulk:47") == 1
    assert all(one.address() == (LOOPBACK, current.port) for one in sentinels)
