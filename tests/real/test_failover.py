"""Three sentinels of ours and real servers: the master dies or hangs, and they move on, or rightly do not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from .harness import LOOPBACK, DataServer, Flavour, Kind, Lab, Sentinel, Watch, check
from .harness_stories import check_one_failover, master_text, replica_text, switch_text
from .harness_writer import Writer

pytestmark = pytest.mark.real


def _misses(one: Sentinel, absent: Sentinel) -> bool:
    return "s_down" in one.peers()[absent.port]["flags"]


OURS = [Kind.OURS, Kind.OURS, Kind.OURS]
needs_redis7 = pytest.mark.needs_redis7


@pytest.mark.parametrize(
    ("flavour", "harm"),
    [
        pytest.param(Flavour.VALKEY9, DataServer.kill, id="valkey-9.1-killed"),
        pytest.param(Flavour.VALKEY9, DataServer.stop, id="valkey-9.1-stopped"),
        pytest.param(Flavour.REDIS62, DataServer.kill, id="redis-6.2-killed"),
        pytest.param(Flavour.REDIS70, DataServer.stop, id="redis-7.0-stopped", marks=needs_redis7),
    ],
)
def test_master_is_replaced_and_becomes_a_replica_when_it_returns(
    lab: Lab, flavour: Flavour, harm: Callable[[DataServer], None]
) -> None:
    servers = lab.trio_of_servers(flavour)
    sentinels = lab.quorum(OURS, Watch(servers[0].port))
    lab.forget_events()

    harm(servers[0])
    new, epoch = lab.wait_agreement(sentinels, servers)
    assert new is not servers[0]
    assert epoch >= 1
    check_one_failover(lab, sentinels, servers, old=servers[0], new=new)
    for one in sentinels:
        lab.wait_event(one, "+sdown", replica_text(servers[0], new))

    if servers[0].stopped:
        servers[0].cont()
    else:
        lab.start(servers[0])
    lab.wait_until(lambda: servers[0].follows(new), "the old master became a replica")
    assert lab.wait_agreement(sentinels, servers) == (new, epoch)
    lab.wait_acquainted(sentinels, replicas=2)
    assert any(one.events.named("+convert-to-slave") for one in sentinels)


def test_writes_flow_again_and_no_replicated_write_is_lost(lab: Lab) -> None:
    servers = lab.trio_of_servers()
    sentinels = lab.quorum(OURS, Watch(servers[0].port))
    with Writer(sentinels) as writer:
        lab.wait_until(lambda: writer.more_than(200), "200 writes were acknowledged")
        servers[0].kill()
        before = len(writer.acknowledged)
        new, _ = lab.wait_agreement(sentinels, servers)
        lab.wait_until(lambda: writer.more_than(before + 40), "40 more writes were acknowledged")
    lost = writer.lost_on(new)
    on_old_master = writer.acknowledged[:before]
    assert not set(lost) - set(on_old_master), "a write acknowledged by the new master is lost"
    assert not [number for number in lost if writer.confirmed[number] == 2], "a write that both replicas had is lost"
    assert len(lost) < len(on_old_master)


def test_nobody_fails_over_without_quorum(lab: Lab) -> None:
    servers = lab.trio_of_servers()
    sentinels = lab.quorum(OURS, Watch(servers[0].port, quorum=3))
    absent, present = sentinels[2], sentinels[:2]
    absent.kill()
    for one in present:
        lab.wait_until(partial(_misses, one, absent), f"{one.name} misses a peer")
        assert one.ask_error("SENTINEL", "CKQUORUM", "mymaster").startswith("NOQUORUM 2 usable Sentinels. ")
    lab.forget_events()
    servers[0].kill()

    def long_down_without_quorum() -> bool:
        for one, other in (present, present[::-1]):
            check("master_down" in one.peers()[other.port]["flags"], one.peers())
            check(int(one.master().get("s-down-time", 0)) > 2500, one.master())
        return True

    lab.wait_until(long_down_without_quorum, "both have known for 2.5 seconds that both find the master down")
    for one in present:
        assert one.master()["flags"] == "s_down,master,disconnected"
        assert not {"+odown", "+try-failover", "+new-epoch", "+vote-for-leader"} & set(one.events.channels())
        assert one.address() == servers[0].address
    lab.start(absent)
    new, _ = lab.wait_agreement(sentinels, servers)
    assert new is not servers[0]


def test_nobody_is_elected_without_majority(lab: Lab) -> None:
    servers = lab.trio_of_servers()
    sentinels = lab.quorum(OURS, Watch(servers[0].port, quorum=1))
    alone = sentinels[0]
    for one in sentinels[1:]:
        one.kill()
    lab.forget_events()
    servers[0].kill()
    lab.wait_event(alone, "+odown", f"{master_text(servers[0])} #quorum 1/1")
    lab.wait_event(alone, "+try-failover", master_text(servers[0]))
    lab.wait_event(alone, "-failover-abort-not-elected", master_text(servers[0]))
    assert "+elected-leader" not in alone.events.channels()
    assert alone.address() == servers[0].address
    assert [server.role for server in servers[1:]] == ["slave", "slave"]

    lab.start(servers[0])
    lab.wait_event(alone, "-odown", master_text(servers[0]))
    lab.wait_event(alone, "-sdown", master_text(servers[0]))
    for one in sentinels[1:]:
        lab.start(one)
    lab.wait_acquainted(sentinels, replicas=2)
    assert lab.wait_agreement(sentinels, servers) == (servers[0], 0)


def test_sentinel_that_was_down_learns_the_new_master(lab: Lab) -> None:
    servers = lab.trio_of_servers()
    sentinels = lab.quorum(OURS, Watch(servers[0].port))
    absent, present = sentinels[0], sentinels[1:]
    absent.kill()
    assert absent.conf_values("sentinel", "monitor") == [f"mymaster {LOOPBACK} {servers[0].port} 2"]
    servers[0].kill()
    new, epoch = lab.wait_agreement(present, servers)

    lab.start(absent)
    assert lab.wait_agreement(sentinels, servers) == (new, epoch)
    logged = [event.channel for event in absent.logged_events() if event.payload == switch_text(servers[0], new)]
    assert logged == ["+switch-master"]
    assert [event.channel for event in absent.logged_events()].count("+config-update-from") == 1
    assert absent.conf_values("sentinel", "monitor") == [f"mymaster {LOOPBACK} {new.port} 2"]
    assert absent.conf_values("sentinel", "config-epoch") == [f"mymaster {epoch}"]


def test_replica_that_was_led_astray_or_cut_off_is_brought_back(lab: Lab) -> None:
    servers = lab.trio_of_servers()
    sentinels = lab.quorum(OURS, Watch(servers[0].port, failover_timeout_ms=2000))
    lab.forget_events()
    astray, elsewhere = servers[1], servers[2]
    astray.ask("REPLICAOF", LOOPBACK, elsewhere.port)
    lab.wait_until(lambda: astray.info()["master_port"] == elsewhere.port, "the replica follows another replica")
    lab.wait_until(lambda: astray.follows(servers[0]), "the replica follows the master again")
    fixers = [one for one in sentinels if replica_text(astray, servers[0]) in one.events.named("+fix-slave-config")]
    assert fixers
    assert lab.wait_agreement(sentinels, servers) == (servers[0], 0)

    # Now one that hears nothing while the others fail over.
    astray.stop()
    for one in sentinels:
        lab.wait_event(one, "+sdown", replica_text(astray, servers[0]))
    servers[0].kill()
    new, epoch = lab.wait_agreement(sentinels, servers)
    assert new is elsewhere
    astray.cont()
    lab.wait_until(lambda: astray.follows(new), "the replica follows the new master")
    assert lab.wait_agreement(sentinels, servers) == (new, epoch)


@pytest.mark.ours_only
def test_short_down_after_does_not_fail_over_twice(lab: Lab) -> None:
    """Stock reconnects to a new master only after a ping period, and credits it with old reports of its being down.

    With a down-after below the ping period it therefore finds a healthy new master down and fails over again.
    """
    servers = lab.trio_of_servers()
    sentinels = lab.quorum(OURS, Watch(servers[0].port, down_after_ms=700))
    for one in sentinels:
        one.set_pace(ping_period=1000)
    lab.forget_events()
    servers[0].kill()
    new, _ = lab.wait_agreement(sentinels, servers)
    check_one_failover(lab, sentinels, servers, old=servers[0], new=new)
    for one in sentinels:
        lab.wait_event(one, "+sdown", replica_text(servers[0], new))
        assert one.events.named("+switch-master") == [switch_text(servers[0], new)]
