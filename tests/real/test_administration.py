"""RESET, SET, MONITOR, REMOVE, CKQUORUM, CONFIG and FLUSHCONFIG: replies, events, and what reaches the file."""

from __future__ import annotations

import pytest

from .harness import LOOPBACK, DataServer, Kind, Lab, Sentinel, Watch
from .harness_stories import master_text

pytestmark = pytest.mark.real


@pytest.fixture
def servers(lab: Lab) -> tuple[DataServer, DataServer, DataServer]:
    return lab.trio_of_servers()


@pytest.fixture
def pair(lab: Lab, servers: tuple[DataServer, ...]) -> list[Sentinel]:
    """Two sentinels of ours that know each other, nothing said yet."""
    sentinels = lab.quorum([Kind.OURS, Kind.OURS], Watch(servers[0].port))
    lab.forget_events()
    return sentinels


def test_reset_forgets_and_finds_again(lab: Lab, servers: list[DataServer], pair: list[Sentinel]) -> None:
    one, other = pair
    one.opinion(servers[0].port, 7, "a" * 40)
    one.set_pace(info_period=10_000, publish_period=10_000)
    other.set_pace(publish_period=10_000)
    assert one.ask("SENTINEL", "RESET", "nothing*") == 0
    assert one.events.named("+reset-master") == []
    assert one.ask("SENTINEL", "RESET", "my*") == 1
    lab.wait_event(one, "+reset-master", master_text(servers[0]))
    assert one.peers() == {}
    assert one.master()["flags"].startswith("master")
    # The vote itself is forgotten, but not that one was given in this epoch.
    assert one.opinion(servers[0].port, 7, "b" * 40)[1:] == ("*", 7)

    one.set_pace(info_period=500, publish_period=400)
    other.set_pace(publish_period=400)
    lab.wait_acquainted(pair, replicas=2)
    lab.wait_event(
        one, "+sentinel", f"sentinel {other.id} {LOOPBACK} {other.port} @ mymaster {LOOPBACK} {servers[0].port}"
    )
    lab.wait_until(lambda: len(one.events.named("+slave")) == 2, "both replicas are announced again")


def test_set_takes_effect_at_once_and_is_kept(lab: Lab, servers: list[DataServer], pair: list[Sentinel]) -> None:
    one = pair[0]
    words = (
        "down-after-milliseconds",
        "4321",
        "failover-timeout",
        "7654",
        "parallel-syncs",
        "3",
        "quorum",
        "1",
        "auth-pass",
        "s3cret#word",
    )
    assert one.ask("SENTINEL", "SET", "mymaster", *words) == "OK"
    wanted = {words[index]: words[index + 1] for index in range(0, 8, 2)}
    master = one.master()
    assert {key: master[key] for key in wanted} == wanted
    assert {each["down-after-milliseconds"] for each in one.replicas().values()} == {"4321"}
    assert {each["down-after-milliseconds"] for each in one.peers().values()} == {"4321"}
    lab.wait_event(one, "+set", f"{master_text(servers[0])} auth-pass ******")
    assert one.events.named("+set") == [
        *(f"{master_text(servers[0])} {option} {value}" for option, value in wanted.items()),
        f"{master_text(servers[0])} auth-pass ******",
    ]
    for option in ("down-after-milliseconds", "failover-timeout", "parallel-syncs"):
        assert one.conf_values("sentinel", option) == [f"mymaster {wanted[option]}"]
    assert one.conf_values("sentinel", "monitor") == [f"mymaster {LOOPBACK} {servers[0].port} 1"]

    assert one.terminate() == 0
    lab.start(one)
    master = one.master()
    assert {key: master[key] for key in wanted} == wanted
    assert one.conf_values("sentinel", "auth-pass") == ["mymaster s3cret#word"]


def test_set_refuses_in_the_words_of_the_specification(lab: Lab, pair: list[Sentinel]) -> None:
    one = pair[0]
    before = one.master()["quorum"]

    def refusal(*words: str) -> str:
        return one.ask_error("SENTINEL", "SET", *words)

    assert refusal("nobody", "quorum", "1") == "No such master with that name"
    for option in ("quorum", "down-after-milliseconds", "failover-timeout", "parallel-syncs"):
        for value in ("0", "-1", "many"):
            assert refusal("mymaster", option, value) == f"Invalid argument '{value}' for SENTINEL SET '{option}'"
    unknown = "Unknown option or number of arguments for SENTINEL SET "
    assert refusal("mymaster", "colour", "blue") == unknown + "'colour'"
    assert refusal("mymaster", "quorum", "2", "parallel-syncs") == unknown + "'parallel-syncs'"
    assert refusal("mymaster", "notification-script", "/bin/true").startswith("Reconfiguration of scripts path is den")
    assert "wrong number of arguments for 'sentinel|set' command" in refusal("mymaster", "quorum")
    assert one.master()["quorum"] == before
    # Pairs before the wrong one stay applied, and are saved.
    assert refusal("mymaster", "failover-timeout", "11111", "quorum", "zero").startswith("Invalid argument 'zero'")
    assert one.master()["failover-timeout"] == "11111"
    assert one.conf_values("sentinel", "failover-timeout") == ["mymaster 11111"]


def test_monitor_and_remove(lab: Lab, servers: list[DataServer], pair: list[Sentinel]) -> None:
    one, other = pair
    second = lab.server()

    def monitor_refusal(*words: object) -> str:
        return one.ask_error("SENTINEL", "MONITOR", *words)

    assert monitor_refusal("second", LOOPBACK, "x", 1) == "Invalid port"
    assert monitor_refusal("second", LOOPBACK, 70000, 1) == "Invalid port number."
    assert monitor_refusal("second", LOOPBACK, second.port, "x") == "Invalid quorum"
    assert monitor_refusal("second", LOOPBACK, second.port, 0) == "Quorum must be 1 or greater."
    assert monitor_refusal("second", "no.such.host.invalid", 1, 1) == "Invalid IP address or hostname specified"
    assert monitor_refusal("mymaster", LOOPBACK, second.port, 1) == "Duplicate master name."
    assert one.address("second") is None

    for sentinel in pair:
        assert sentinel.ask("SENTINEL", "MONITOR", "second", LOOPBACK, second.port, 2) == "OK"
        lab.wait_event(sentinel, "+monitor", f"master second {LOOPBACK} {second.port} quorum 2")
        assert sentinel.master("second")["down-after-milliseconds"] == "30000"
        assert sentinel.master("second")["failover-timeout"] == "180000"
        assert f"second {LOOPBACK} {second.port} 2" in sentinel.conf_values("sentinel", "monitor")
    lab.wait_acquainted(pair, replicas=0, name="second")
    # Two masters, one peer: one link serves both.
    lab.wait_until(lambda: one.peers("second")[other.port]["link-refcount"] == "2", "the link to the peer is shared")

    assert one.ask("SENTINEL", "REMOVE", "second") == "OK"
    lab.wait_event(one, "-monitor", f"master second {LOOPBACK} {second.port}")
    assert one.address("second") is None
    assert one.ask_error("SENTINEL", "MASTER", "second") == "No such master with that name"
    assert one.ask_error("SENTINEL", "REMOVE", "second") == "No such master with that name"
    assert not [line for line in one.conf().splitlines() if " second " in line]
    assert one.address() == servers[0].address


@pytest.mark.ours_only
def test_removing_a_master_does_not_free_a_given_vote(
    lab: Lab, servers: list[DataServer], pair: list[Sentinel]
) -> None:
    """Stock forgets the vote with the master, and votes a second time in the same epoch."""
    one, port = pair[0], servers[0].port
    assert one.opinion(port, 9, "a" * 40)[1:] == ("a" * 40, 9)
    assert one.ask("SENTINEL", "REMOVE", "mymaster") == "OK"
    assert one.ask("SENTINEL", "MONITOR", "mymaster", LOOPBACK, port, 2) == "OK"
    assert one.opinion(port, 9, "b" * 40)[1] in ("*", "a" * 40)
    assert one.terminate() == 0
    lab.start(one)
    assert one.opinion(port, 9, "b" * 40)[1] == "*"


def test_ckquorum_counts_who_can_be_reached(lab: Lab, servers: list[DataServer], pair: list[Sentinel]) -> None:
    one, other = pair
    answer = "OK 2 usable Sentinels. Quorum and failover authorization can be reached"
    assert one.ask("SENTINEL", "CKQUORUM", "mymaster") == answer
    no_quorum = "Not enough available Sentinels to reach the specified quorum for this master"
    no_majority = "Not enough available Sentinels to reach the majority and authorize a failover"
    one.ask("SENTINEL", "SET", "mymaster", "quorum", "3")
    assert one.ask_error("SENTINEL", "CKQUORUM", "mymaster") == f"NOQUORUM 2 usable Sentinels. {no_quorum}"
    other.kill()
    lab.wait_until(lambda: "s_down" in one.peers()[other.port]["flags"], "the peer is found down")
    both = f"NOQUORUM 1 usable Sentinels. {no_quorum}. {no_majority}"
    assert one.ask_error("SENTINEL", "CKQUORUM", "mymaster") == both
    one.ask("SENTINEL", "SET", "mymaster", "quorum", "1")
    assert one.ask_error("SENTINEL", "CKQUORUM", "mymaster") == f"NOQUORUM 1 usable Sentinels. {no_majority}"
    assert one.ask_error("SENTINEL", "CKQUORUM", "nobody") == "No such master with that name"
    lab.start(other)
    one.ask("SENTINEL", "SET", "mymaster", "quorum", "2")
    lab.wait_until(lambda: one.ask("SENTINEL", "CKQUORUM", "mymaster") == answer, "the quorum is complete again")


def test_announced_address_is_what_peers_learn(lab: Lab, servers: list[DataServer], pair: list[Sentinel]) -> None:
    """CONFIG SET announce-port moves a sentinel in the eyes of its peers, which is saved and announced."""
    one, other = pair
    assert one.ask("SENTINEL", "CONFIG", "GET", "announce-*") == [
        "announce-hostnames",
        "no",
        "announce-ip",
        "",
        "announce-port",
        "0",
    ]
    moved = lab.ports.claim()
    assert one.ask("SENTINEL", "CONFIG", "SET", "announce-port", moved) == "OK"
    assert one.conf_values("sentinel", "announce-port") == [str(moved)]
    text = f"{master_text(servers[0])} ip {LOOPBACK} port {moved} for {one.id}"
    lab.wait_event(other, "+sentinel-address-switch", text)
    assert list(other.peers()) == [moved]
    assert one.ask("SENTINEL", "CONFIG", "SET", "announce-port", 0) == "OK"
    lab.wait_acquainted(pair, replicas=2)
    assert one.ask_error("SENTINEL", "CONFIG", "SET", "announce-port", 70000) == (
        "Invalid value '70000' to SENTINEL CONFIG SET 'announce-port'"
    )


def test_paused_writes_are_no_reason_to_fail_over(lab: Lab, servers: list[DataServer], pair: list[Sentinel]) -> None:
    """A paused server keeps our hellos back, and every PING behind them. Stock calls it down and fails over."""
    paused_ms = 4 * Watch(servers[0].port).down_after_ms
    writer = servers[1]
    servers[0].ask("CLIENT", "PAUSE", paused_ms, "WRITE")
    lab.wait_until(lambda: servers[0].info("clients")["paused_timeout_milliseconds"] == 0, "the pause is over")
    for one in pair:
        assert "+sdown" not in one.events.channels()
        assert one.address() == servers[0].address
    assert writer.follows(servers[0])
