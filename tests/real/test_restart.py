"""A sentinel that is restarted or paused: what it keeps, and when it must not judge."""

from __future__ import annotations

import pytest

from .harness import LOOPBACK, Kind, Lab, Sentinel, Watch, check
from .harness_stories import master_text, switch_text

pytestmark = pytest.mark.real

OURS = [Kind.OURS, Kind.OURS, Kind.OURS]
STRANGER = "c" * 40


def what_it_knows(one: Sentinel) -> dict[str, object]:
    """All that must be the same before and after a restart."""
    master = one.master()
    kept = (
        "ip",
        "port",
        "config-epoch",
        "quorum",
        "down-after-milliseconds",
        "failover-timeout",
        "parallel-syncs",
        "num-slaves",
        "num-other-sentinels",
    )
    return {
        "id": one.id,
        "address": one.address(),
        "master": {key: master[key] for key in kept},
        "replicas": sorted(one.replicas()),
        "peers": sorted((port, peer["runid"]) for port, peer in one.peers().items()),
    }


def test_restart_keeps_votes_epochs_replicas_and_peers(lab: Lab) -> None:
    servers = lab.trio_of_servers()
    sentinels = lab.quorum(OURS, Watch(servers[0].port, parallel_syncs=2))
    servers[0].kill()
    new, epoch = lab.wait_agreement(sentinels, servers)
    one = sentinels[0]
    # Nobody of the others is in this epoch: a vote that only the restarted one can remember.
    voted_epoch = epoch + 5
    assert one.opinion(new.port, voted_epoch, STRANGER) == (False, STRANGER, voted_epoch)
    assert one.opinion(new.port, voted_epoch, "d" * 40) == (False, STRANGER, voted_epoch)
    before = what_it_knows(one)

    # Nobody is there to tell it anything after the restart.
    for other in [*sentinels[1:], *(server for server in servers if server.alive)]:
        other.stop()
    assert one.terminate() == 0
    conf = one.conf()
    assert one.conf_values("sentinel", "leader-epoch") == [f"mymaster {voted_epoch}"]
    assert one.conf_values("sentinel", "current-epoch") == [str(voted_epoch)]
    assert one.conf_values("sentinel", "config-epoch") == [f"mymaster {epoch}"]
    assert one.conf_values("sentinel", "monitor") == [f"mymaster {LOOPBACK} {new.port} 2"]
    known = [f"mymaster {LOOPBACK} {server.port}" for server in servers if server is not new]
    assert sorted(one.conf_values("sentinel", "known-replica")) == sorted(known)
    assert len(one.conf_values("sentinel", "known-sentinel")) == 2

    lab.start(one)
    assert what_it_knows(one) == before
    # The vote of that epoch is gone but not free: it cannot be given a second time.
    assert one.opinion(new.port, voted_epoch, "d" * 40)[1:] == ("*", voted_epoch)
    assert one.conf() == conf
    run = [event.channel for event in one.logged_events()]
    assert run.count("+monitor") == 2
    assert not {"+slave", "+sentinel"} & set(run[len(run) - 1 - run[::-1].index("+monitor") :])


def test_paused_sentinel_does_not_trust_its_clock(lab: Lab) -> None:
    """After SIGSTOP it is in TILT: it reports nobody down and starts nothing, but learns of a failover and votes."""
    servers = lab.trio_of_servers()
    sentinels = lab.quorum(OURS, Watch(servers[0].port))
    tilted, others = sentinels[0], sentinels[1:]
    tilted.set_pace(tilt_period=20_000)
    lab.forget_events()
    tilted.stop()
    for one in others:
        lab.wait_event(one, "+sdown", sentinel_text(tilted, servers[0].port, others))
    # Longer than TILT-TRIGGER: the others have missed it for at least a down-after of one second; one more passes.
    lab.wait_until(
        lambda: all(int(one.peers()[tilted.port].get("s-down-time", 0)) > 2000 for one in others), "a long pause"
    )
    tilted.cont()
    lab.wait_event(tilted, "+tilt", "#tilt mode entered")
    assert tilted.info()["sentinel_tilt"] == "1"
    assert int(tilted.info()["sentinel_tilt_since_seconds"]) >= 0

    for one in others:
        lab.wait_event(one, "-sdown", sentinel_text(tilted, servers[0].port, others))
    servers[0].kill()
    new, epoch = lab.wait_agreement(sentinels, servers)
    assert tilted.info()["sentinel_tilt"] == "1", "the others were slower than the TILT period"
    assert tilted.events.named("+switch-master") == [switch_text(servers[0], new)]
    assert not {"+sdown", "+odown", "+try-failover"} & set(tilted.events.channels())
    assert tilted.opinion(new.port, epoch + 3, STRANGER) == (False, STRANGER, epoch + 3)

    new.kill()
    for one in others:
        lab.wait_event(one, "+sdown", master_text(new))
    assert not tilted.opinion(new.port, 0)[0]
    tilted.set_pace(tilt_period=1000)
    lab.wait_event(tilted, "-tilt", "#tilt mode exited")
    assert tilted.info()["sentinel_tilt"] == "0"
    assert tilted.info()["sentinel_tilt_since_seconds"] == "-1"
    last, _ = lab.wait_agreement(sentinels, servers)
    assert last not in (servers[0], new)


def sentinel_text(one: Sentinel, master_port: int, others: list[Sentinel]) -> str:
    """How events name a peer; its id is asked of those who know it, since it may not answer itself."""
    run_id = others[0].peers()[one.port]["runid"]
    return f"sentinel {run_id} {LOOPBACK} {one.port} @ mymaster {LOOPBACK} {master_port}"


def test_deleted_configuration_is_written_anew(lab: Lab) -> None:
    servers = lab.trio_of_servers()
    sentinels = lab.quorum(OURS, Watch(servers[0].port))
    one = sentinels[0]
    before = what_it_knows(one)
    one.conf_path.unlink()
    assert one.ask("SENTINEL", "FLUSHCONFIG") == "OK"
    assert one.terminate() == 0
    lab.start(one)

    def the_same() -> bool:
        check(what_it_knows(one) == before, what_it_knows(one))
        return True

    lab.wait_until(the_same, "it knows what it knew")
