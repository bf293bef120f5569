"""What replicas of a simulated master have, and when."""

from __future__ import annotations

import pytest

from trio_sentinel.model.values import Address
from trio_sentinel.sim.cluster import Cluster, simple_cluster
from trio_sentinel.sim.redis import FakeServer, Mood

FAR_MS = 200
EVERY_MS = 50


def far_apart() -> tuple[Cluster, FakeServer, FakeServer]:
    """A master that has written for a while, each 50 ms, and a replica of it that is 200 ms away."""
    cluster = simple_cluster(1, sentinels=1, replicas=1)
    master, replica = cluster.servers.values()
    one, other = master.address.host, replica.address.host
    cluster.network.slow = {(one, other): FAR_MS, (other, one): FAR_MS}
    write_for(cluster, master, 20)
    return cluster, master, replica


def write_for(cluster: Cluster, master: FakeServer, count: int) -> None:
    for _ in range(count):
        assert master.write() is not None
        cluster.world.run_for(EVERY_MS)


def behind(master: FakeServer, replica: FakeServer) -> int:
    assert replica.branch == master.branch
    return master.offset - replica.offset


def test_a_write_takes_the_networks_time() -> None:
    cluster, master, replica = far_apart()
    assert behind(master, replica) == pytest.approx(FAR_MS / EVERY_MS, abs=1)
    cluster.world.run_for(FAR_MS + 10)
    assert behind(master, replica) == 0


def test_who_is_promoted_lacks_what_is_on_its_way() -> None:
    cluster, master, replica = far_apart()
    missing = behind(master, replica)
    replica.follow(None)
    cluster.world.run_for(FAR_MS + 10)
    assert master.offset - replica.lineage[master.branch] == missing > 0


@pytest.mark.parametrize("with_host", [False, True])
def test_what_has_left_arrives_though_the_master_is_dead(*, with_host: bool) -> None:
    cluster, master, replica = far_apart()
    master.kill(with_host=with_host)
    cluster.world.run_for(FAR_MS + 10)
    assert behind(master, replica) == 0
    assert replica.link_up == with_host, "only a host that lives can say that the process died"


def test_what_meets_a_cut_waits_and_is_lost_with_the_master() -> None:
    cluster, master, replica = far_apart()
    hosts = master.address.host, replica.address.host
    missing = behind(master, replica)
    cluster.cut.add(hosts)
    write_for(cluster, master, 10)
    assert behind(master, replica) == missing + 10
    cluster.cut.clear()
    cluster.world.run_for(1000)
    assert behind(master, replica) == 0, "the master's host sends it again"
    cluster.cut.add(hosts)
    write_for(cluster, master, 10)
    master.kill()
    cluster.cut.clear()
    cluster.world.run_for(1000)
    assert behind(master, replica) == 10


def test_a_stopped_replica_reads_what_came_when_it_goes_on() -> None:
    cluster, master, replica = far_apart()
    replica.frozen = True
    missing = behind(master, replica)
    write_for(cluster, master, 20)
    assert behind(master, replica) == missing + 20
    replica.frozen = False
    cluster.world.run_for(1000)
    assert behind(master, replica) == 0


def test_replicas_of_a_replica_get_what_it_gets() -> None:
    cluster = simple_cluster(2, sentinels=1)
    master, replica, last = cluster.servers.values()
    last.follow(replica.address)
    cluster.world.run_for(3000)
    write_for(cluster, master, 3)
    assert last.link_up
    assert behind(master, last) == 0


def test_a_failover_waits_for_its_target_and_leaves_a_clients_pause_alone() -> None:
    cluster, master, replica = far_apart()
    branch, written = master.branch, master.offset
    master.pause(5000)
    master.hand_over(replica.address, 3000)
    assert behind(master, replica) > 0
    cluster.world.run_for(3 * FAR_MS)
    assert replica.master is None
    assert (replica.lineage[branch], replica.offset) == (written, written)
    assert not master.handing_over
    assert master.paused
    master.pause(0)
    assert not master.paused


def test_the_pause_of_a_failover_ends_with_it() -> None:
    _, master, replica = far_apart()
    replica.frozen = True
    master.hand_over(replica.address, 3000)
    assert master.paused
    master.end_handover()
    assert not master.paused


RESYNC_MS = 2000


def stray() -> tuple[Cluster, FakeServer, FakeServer]:
    """A replica that had a write of its own, and has just begun to get a copy of everything."""
    cluster = simple_cluster(3, sentinels=1, replicas=1)
    master, replica = cluster.servers.values()
    replica.resync_ms = RESYNC_MS, RESYNC_MS
    replica.follow(None)
    assert replica.write() is not None
    replica.follow(master.address)
    cluster.world.run_for(100)
    return cluster, master, replica


def test_who_has_a_beginning_continues() -> None:
    cluster = simple_cluster(3, sentinels=1, replicas=1)
    master, replica = cluster.servers.values()
    replica.resync_ms = RESYNC_MS, RESYNC_MS
    replica.kill()
    write_for(cluster, master, 10)
    replica.restart(cluster.new_id())
    cluster.world.run_for(100)
    assert replica.link_up
    assert behind(master, replica) == 0
    master.backlog_writes = 5
    replica.kill()
    write_for(cluster, master, 10)
    replica.restart(cluster.new_id())
    cluster.world.run_for(100)
    assert replica.syncing, "the backlog does not reach so far"


def test_an_old_master_continues_under_the_promoted_one() -> None:
    cluster, master, replica = far_apart()
    cluster.network.slow.clear()
    cluster.world.run_for(500)
    for server in (master, replica):
        server.resync_ms = RESYNC_MS, RESYNC_MS
    replica.follow(None)
    master.follow(replica.address)
    cluster.world.run_for(100)
    assert master.link_up
    assert replica.write() is not None
    cluster.world.run_for(100)
    assert behind(replica, master) == 0


def state(replica: FakeServer) -> tuple[Mood, bool, bool]:
    """Its mood, whether its link is up, and whether a copy of everything is on its way."""
    return replica.mood, replica.link_up, replica.syncing


def test_a_full_copy_takes_its_time_and_is_loaded() -> None:
    cluster, master, replica = stray()
    old = replica.branch
    assert state(replica) == (Mood.WELL, False, True)
    assert replica.address in master.info().replicas
    write_for(cluster, master, 10)
    assert replica.branch == old != master.branch
    cluster.world.run_for(RESYNC_MS - 500)
    assert state(replica) == (Mood.LOADING, False, True)
    cluster.world.run_for(1000)
    assert state(replica) == (Mood.WELL, True, False)
    assert behind(master, replica) == 0


@pytest.mark.parametrize("what", ["promotion", "death", "another master"])
def test_a_copy_that_is_broken_off_changes_nothing(what: str) -> None:
    cluster, master, replica = stray()
    old = replica.branch
    if what == "promotion":
        replica.follow(None)
        old = next(reversed(replica.lineage))
        assert replica.lineage[old] == replica.offset
    elif what == "death":
        master.kill()
    else:
        replica.follow(Address("10.0.0.99", 6379))
    cluster.world.run_for(2 * RESYNC_MS)
    assert old in (replica.branch, *replica.lineage)
    assert not replica.syncing
    assert not replica.link_up


def test_servers_that_follow_each_other_do_not_tell_each_other_the_same_for_ever() -> None:
    """Both have a link when the second order comes, as real servers in a circle have."""
    cluster, master, replica = far_apart()
    master.follow(replica.address)
    replica.follow(None)
    cluster.world.run_for(10_000)
    replica.write()
    replica.follow(master.address)
    cluster.world.run_for(10_000)
    sent = sum(len(feed._on_its_way) for server in (master, replica) for feed in server.feeds.values())
    cluster.world.run_for(10_000)
    assert sent == 0
    assert sum(len(feed._on_its_way) for server in (master, replica) for feed in server.feeds.values()) == 0
