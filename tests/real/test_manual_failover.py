"""SENTINEL FAILOVER, forced and coordinated, and the simulated crashes of a leader."""

from __future__ import annotations

import pytest

from .harness import Kind, Lab, Sentinel, Watch
from .harness_stories import check_one_failover, leader_of, master_text
from .harness_writer import Writer

pytestmark = pytest.mark.real

OURS = [Kind.OURS, Kind.OURS, Kind.OURS]


def start_failover(lab: Lab, sentinel: Sentinel, *options: str) -> None:
    """SENTINEL FAILOVER, again while it answers that no replica is known to be good yet."""

    def started() -> bool:
        return bool(sentinel.ask("SENTINEL", "FAILOVER", "mymaster", *options) == "OK")

    lab.wait_until(started, f"{sentinel.name} starts a failover")


def test_forced_failover_needs_no_vote(lab: Lab) -> None:
    servers = lab.trio_of_servers()
    sentinels = lab.quorum(OURS, Watch(servers[0].port))
    lab.forget_events()
    start_failover(lab, sentinels[1])
    assert sentinels[1].ask_error("SENTINEL", "FAILOVER", "mymaster") == "INPROG Failover already in progress"
    new, epoch = lab.wait_agreement(sentinels, servers)
    assert new is not servers[0]
    assert epoch == 1
    # The old master is alive: it is made a replica of the new one, like any server that says it is a master.
    others = [server for server in servers[1:] if server is not new]
    assert (
        check_one_failover(lab, sentinels, [servers[0], new, *others], old=servers[0], new=new, forced=True)
        is (sentinels[1])
    )
    for one in sentinels:
        assert "+odown" not in one.events.channels()
        if one is not sentinels[1]:
            assert "+vote-for-leader" not in one.events.channels()


def test_coordinated_failover_loses_no_write(lab: Lab) -> None:
    servers = lab.trio_of_servers()
    sentinels = lab.quorum(OURS, Watch(servers[0].port, failover_timeout_ms=10_000))
    if Kind.OURS.runs_as is Kind.REDIS7:
        pytest.skip("left out: COORDINATED, which Redis 7.0 standing in for ours does not know")
    lab.forget_events()
    with Writer(sentinels) as writer:
        lab.wait_until(lambda: writer.more_than(100), "100 writes were acknowledged")
        start_failover(lab, sentinels[0], "COORDINATED")
        new, epoch = lab.wait_agreement(sentinels, servers)
        before = len(writer.acknowledged)
        lab.wait_until(lambda: writer.more_than(before + 40), "40 more writes were acknowledged")
    assert new is not servers[0]
    assert epoch >= 1
    assert writer.lost_on(new) == []
    leader = check_one_failover(lab, sentinels, [servers[0], new], old=servers[0], new=new, forced=True)
    assert leader is sentinels[0]
    for one in sentinels:
        assert f"{leader.id} {epoch}" in one.events.named("+vote-for-leader")
        assert "+convert-to-slave" not in one.events.channels()


def test_coordinated_failover_needs_a_majority(lab: Lab) -> None:
    servers = lab.trio_of_servers()
    sentinels = lab.quorum(OURS, Watch(servers[0].port))
    if Kind.OURS.runs_as is Kind.REDIS7:
        pytest.skip("left out: COORDINATED, which Redis 7.0 standing in for ours does not know")
    assert sentinels[0].ask_error("SENTINEL", "FAILOVER", "mymaster", "GENTLY") == "Unknown failover option specified"
    for one in sentinels[1:]:
        one.kill()
    lab.forget_events()
    start_failover(lab, sentinels[0], "coordinated")
    lab.wait_event(sentinels[0], "-failover-abort-not-elected", master_text(servers[0]))
    assert sentinels[0].address() == servers[0].address
    assert "+elected-leader" not in sentinels[0].events.channels()
    assert servers[0].role == "master"


@pytest.mark.parametrize(
    ("failure", "last_event", "address_is_new"),
    [("crash-after-election", "+elected-leader", False), ("crash-after-promotion", "+promoted-slave", True)],
)
def test_simulated_crash_of_the_leader(lab: Lab, failure: str, last_event: str, *, address_is_new: bool) -> None:
    """It exits with 99 at that point; the others finish what it began or do it again."""
    servers = lab.trio_of_servers()
    sentinels = lab.quorum(OURS, Watch(servers[0].port, failover_timeout_ms=3000))
    for one in sentinels:
        one.ask("SENTINEL", "SIMULATE-FAILURE", failure)
    lab.forget_events()
    servers[0].kill()

    def crashed() -> Sentinel | None:
        return next((one for one in sentinels if not one.alive), None)

    fallen = lab.wait_until(crashed, "the leader crashes")
    assert fallen is not None
    rest = [one for one in sentinels if one is not fallen]
    for one in rest:
        one.ask("SENTINEL", "SIMULATE-FAILURE", "help")
    assert fallen.wait_exit() == 99
    assert fallen.logged_events()[-1].channel == last_event
    monitored = int(fallen.conf_values("sentinel", "monitor")[0].split()[2])
    assert (monitored != servers[0].port) is address_is_new
    votes = [event.payload.split() for event in fallen.logged_events() if event.channel == "+vote-for-leader"]
    assert [votes[-1][0]] == fallen.conf_values("sentinel", "myid")
    assert fallen.conf_values("sentinel", "leader-epoch") == [f"mymaster {votes[-1][1]}"], "what it stood for is kept"

    new, epoch = lab.wait_agreement(rest, servers)
    assert new is not servers[0]
    lab.start(fallen)
    lab.start(servers[0])
    assert lab.wait_agreement(sentinels, servers) == (new, epoch)


def test_simulate_failure_can_be_cleared(lab: Lab) -> None:
    servers = lab.trio_of_servers()
    sentinels = lab.quorum(OURS, Watch(servers[0].port))
    one = sentinels[0]
    assert one.ask("SENTINEL", "SIMULATE-FAILURE", "crash-after-election", "crash-after-promotion") == "OK"
    assert one.ask_error("SENTINEL", "SIMULATE-FAILURE", "nonsense") == "Unknown failure simulation specified"
    assert "wrong number of arguments" in one.ask_error("SENTINEL", "SIMULATE-FAILURE")
    one.ask("SENTINEL", "SIMULATE-FAILURE", "crash-after-election")
    assert one.ask("SENTINEL", "SIMULATE-FAILURE", "help") == ["crash-after-election", "crash-after-promotion"]
    lab.forget_events()
    start_failover(lab, one)
    new, _ = lab.wait_agreement(sentinels, servers)
    assert new is not servers[0]
    assert leader_of(sentinels) is one
