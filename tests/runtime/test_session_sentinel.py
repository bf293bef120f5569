"""SENTINEL over a session: what reaches the model, and what is answered without it (commands.md 7)."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from attrs import frozen

from trio_sentinel.model.inputs import FailoverAsked, GlobalsSetAsked, MonitorAsked, RemoveAsked, ResetAsked, SetAsked
from trio_sentinel.model.observations import ServerSense
from trio_sentinel.model.settings import GlobalSettings
from trio_sentinel.model.values import Address, ServerLink
from trio_sentinel.runtime.session_commands import HANDLERS
from trio_sentinel.wire.commands import COMMANDS, every

from .port_stage import MY_ID, Client, Stage, request


def scene() -> tuple[Stage, Client]:
    stage = Stage()
    stage.mind.monitor("m1")
    return stage, stage.client()


def test_every_command_of_the_table_has_a_handler() -> None:
    containers = {"acl", "client", "sentinel"}
    assert {command.name for command in every(COMMANDS)} - containers == set(HANDLERS)


def test_reading() -> None:
    _, client = scene()
    assert client.read("SENTINEL", "MYID") == MY_ID
    assert client.read("ROLE") == ["sentinel", ["m1"]]
    assert client.read("SENTINEL", "get-master-addr-by-name", "m1") == ["127.0.0.1", "6379"]
    assert client.read("SENTINEL", "get-primary-addr-by-name", "no") is None
    (flat,) = client.read("SENTINEL", "MASTERS")
    assert flat[:4] == ["name", "m1", "ip", "127.0.0.1"]
    assert len(flat) == 40
    assert client.read("SENTINEL", "PRIMARIES") == [flat]
    assert client.read("SENTINEL", "PRIMARY", "m1") == flat
    assert client.read("SENTINEL", "REPLICAS", "m1") == []
    assert client.read("SENTINEL", "SENTINELS", "m1") == []
    assert len(client.read("SENTINEL", "HELP")) == 49
    assert str(client.read("SENTINEL", "CKQUORUM", "m1")).startswith("NOQUORUM 1 usable")
    client.do("HELLO", "3")
    (described,) = client.read("SENTINEL", "MASTERS")
    assert described["num-slaves"] == "0"
    assert len(described) == 20


@pytest.mark.parametrize(
    "sub", ["MASTER", "PRIMARY", "REPLICAS", "SLAVES", "SENTINELS", "CKQUORUM", "REMOVE", "FAILOVER"]
)
def test_unknown_masters_are_errors(sub: str) -> None:
    _, client = scene()
    assert str(client.read("SENTINEL", sub, "nobody")) == "ERR No such master with that name"
    assert str(client.read("SENTINEL", "SET", "nobody", "foo", "\n")) == "ERR No such master with that name"


def test_the_requests_that_reach_the_model() -> None:
    stage, client = scene()
    stage.mind.monitor("other")
    assert client.do("SENTINEL", "MONITOR", "m2", "::1", "7", "3") == b"+OK\r\n"
    assert str(client.read("SENTINEL", "MONITOR", "m2", "::1", "7", "3")) == "ERR Duplicate master name."
    assert client.do("SENTINEL", "RESET", "m?") == b":2\r\n"
    assert client.do("SENTINEL", "RESET", "M*") == b":0\r\n"
    assert client.do("SENTINEL", "REMOVE", "m2") == b"+OK\r\n"
    assert client.do("SENTINEL", "SET", "m1", "quorum", "5", "foo", "1").startswith(b"-ERR Unknown option")
    assert client.do("SENTINEL", "FAILOVER", "m1", "COORDINATED").startswith(b"-NOGOODPRIMARY")
    assert stage.mind.asked == [
        MonitorAsked(1, "m2", Address("::1", 7), 3),
        MonitorAsked(2, "m2", Address("::1", 7), 3),
        ResetAsked(3, ("m1", "m2")),
        ResetAsked(4, ()),
        RemoveAsked(5, "m2"),
        SetAsked(6, "m1", (("quorum", "5"),), "ERR Unknown option or number of arguments for SENTINEL SET 'foo'"),
        FailoverAsked(7, "m1", True),
    ]


def test_failover_has_three_or_four_words() -> None:
    _, client = scene()
    text = "ERR wrong number of arguments for 'sentinel|failover' command"
    assert str(client.read("SENTINEL", "FAILOVER", "nobody", "COORDINATED", "x")) == text
    assert str(client.read("SENTINEL", "FAILOVER", "nobody", "x")) == "ERR No such master with that name"
    assert str(client.read("SENTINEL", "FAILOVER", "m1", "x")) == "ERR Unknown failover option specified"


def test_monitor_looks_names_up_only_when_told_to() -> None:
    stage, client = scene()
    refused = b"-ERR Invalid IP address or hostname specified\r\n"
    assert client.do("SENTINEL", "MONITOR", "m2", "db.example", "7", "3") == refused
    assert stage.mind.lookups == []
    stage.mind.state.settings = GlobalSettings(resolve_hostnames=True)
    asked = request("SENTINEL", "MONITOR", "m2", "db.example", "7", "3") + request("SENTINEL", "MASTER", "m2")
    assert client.say(asked) == b""
    assert not client.is_read()  # the second command builds on the first
    host, found = stage.mind.lookups.pop()
    assert host == "db.example"
    found("10.0.0.9")
    assert client.is_read()
    assert client.transport.take().startswith(b"+OK\r\n*40\r\n")
    assert stage.mind.asked == [MonitorAsked(1, "m2", Address("db.example", 7), 3)]


@pytest.mark.parametrize(
    ("ip", "port", "reply"),
    [
        (None, "7", b"-ERR Invalid IP address or hostname specified\r\n"),
        ("10.0.0.9", "70000", b"-ERR Invalid port number.\r\n"),
    ],
)
def test_monitor_refuses_after_the_look_up(ip: str | None, port: str, reply: bytes) -> None:
    stage, client = scene()
    stage.mind.state.settings = GlobalSettings(resolve_hostnames=True)
    client.say(request("PING") + request("SENTINEL", "MONITOR", "m2", "db.example", port, "3") + request("PING"))
    stage.mind.lookups.pop()[1](ip)
    assert client.transport.take() == reply + b"+PONG\r\n"
    assert stage.mind.asked == []


def test_a_client_that_leaves_during_the_look_up_changes_nothing() -> None:
    stage, client = scene()
    stage.mind.state.settings = GlobalSettings(resolve_hostnames=True)
    client.do("SENTINEL", "MONITOR", "m2", "db.example", "7", "3")
    client.handler.lost("reset")
    stage.mind.lookups.pop()[1]("10.0.0.9")
    assert stage.mind.asked == []


@pytest.mark.parametrize("slow", [False, True])
def test_debug_answers_once_for_many_pairs(slow: bool) -> None:
    """7.9."""
    stage, client = scene()
    stage.mind.slow = slow

    def ask(*words: str) -> bytes:
        first = client.do("SENTINEL", "DEBUG", *words)
        stage.mind.save()
        return first + client.transport.take()

    assert ask("ping-period", "7", "info-period", "8") == b"+OK\r\n"
    assert (stage.mind.state.timing.ping_period_ms, stage.mind.state.timing.info_period_ms) == (7, 8)
    assert (
        ask("ping-period", "9", "ping-period", "0") == b"-ERR Invalid argument '0' for SENTINEL DEBUG 'ping-period'\r\n"
    )
    assert stage.mind.state.timing.ping_period_ms == 9
    assert ask("nope").startswith(b"-ERR Unknown option")
    assert ask().startswith(b"*26\r\n")


def test_simulate_failure_clears_earlier_flags() -> None:
    """7.8."""
    _, client = scene()
    assert client.do("SENTINEL", "SIMULATE-FAILURE", "crash-after-election") == b"+OK\r\n"
    assert b"failure_flags:1" in client.do("INFO", "sentinel")
    assert client.do("SENTINEL", "SIMULATE-FAILURE", "foo").startswith(b"-ERR Unknown failure simulation")
    assert b"failure_flags:0" in client.do("INFO", "sentinel")
    assert client.read("SENTINEL", "SIMULATE-FAILURE", "help") == ["crash-after-election", "crash-after-promotion"]


def test_config_set_changes_the_log_level_and_saves() -> None:
    """7.11."""
    stage, client = scene()
    assert client.do("SENTINEL", "CONFIG", "SET", "loglevel", "Debug", "announce-port", "5") == b"+OK\r\n"
    assert stage.loglevel == "debug"
    assert stage.mind.asked == [GlobalsSetAsked(1, GlobalSettings(announce_port=5))]
    assert client.read("SENTINEL", "CONFIG", "GET", "loglevel", "*-port") == ["loglevel", "debug", "announce-port", "5"]
    assert client.do("SENTINEL", "CONFIG", "SET", "loglevel", "notice", "announce-port", "x").startswith(b"-ERR")
    assert stage.loglevel == "debug"


def test_scripts_may_be_locked() -> None:
    stage, client = scene()
    words = ("SENTINEL", "SET", "m1", "notification-script", "/bin/true")
    assert client.do(*words).startswith(b"-ERR Reconfiguration of scripts path is denied")
    stage.mind.state.settings = GlobalSettings(deny_scripts_reconfig=False)
    assert client.do(*words) == b"+OK\r\n"
    assert client.do(*words[:-1], "/no").startswith(b"-ERR Notification script seems")


def test_info_cache_shows_the_master_first_and_skips_unknown_names() -> None:
    stage, client = scene()
    home = Address("127.0.0.1", 6379)
    now = stage.mind.clock_ms
    assert client.read("SENTINEL", "INFO-CACHE", "m1", "no", "m1") == ["m1", [[0, None]]]
    stage.mind.senses.servers[("m1", home)] = ServerSense(
        link=ServerLink("m1", home),
        made_at_ms=0,
        last_ok_at_ms=0,
        last_pong_at_ms=0,
        ping_since_ms=None,
        info_at_ms=now - 30,
        info_text=b"# Server\r\nx:\xff",
    )
    assert client.do("SENTINEL", "INFO-CACHE", "m1").endswith(b"*2\r\n:30\r\n$13\r\n# Server\r\nx:\xff\r\n")


@frozen
class Job:
    argv: tuple[str, ...]
    running: bool
    pid: int
    age_ms: int
    runs: int


def test_pending_scripts() -> None:
    stage, client = scene()
    stage.scripts.jobs = (Job(("/a", "b"), True, 7, 5, 1), Job(("/c",), False, 0, 900, 2))
    assert client.read("SENTINEL", "PENDING-SCRIPTS") == [
        ["argv", ["/a", "b"], "flags", "running", "pid", "7", "run-time", "5", "retry-num", "1"],
        ["argv", ["/c"], "flags", "scheduled", "pid", "0", "run-delay", "900", "retry-num", "2"],
    ]


def test_info_tells_what_was_done_in_the_last_seconds() -> None:
    stage = Stage()
    client = stage.client()
    assert "instantaneous_ops_per_sec:0\r\n" in client.read("INFO", "stats")
    stage.house.clients.sweep(stage.mind.now_ms())
    for _ in range(20):
        client.do("PING")
    client.say(b"*1\r\n$4\r\nPI")  # bytes count as they come, commands when they run
    stage.mind.clock_ms += 2000
    stage.house.clients.sweep(stage.mind.now_ms())
    client.say(b"NG\r\n")
    text = client.read("INFO", "stats")
    assert "instantaneous_ops_per_sec:10\r\n" in text
    assert "instantaneous_input_kbps:0.14\r\n" in text


def test_info_names_sections_and_counts() -> None:
    """5.1."""
    _, client = scene()
    client.do("PING")
    text = client.read("INFO")
    titles = [line for line in text.split("\r\n") if line.startswith("#")]
    assert titles == ["# Server", "# Clients", "# Stats", "# CPU", "# Sentinel"]
    fields = dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)
    assert fields["server_mode"] == "sentinel"
    assert fields["connected_clients"] == "1"
    assert fields["total_commands_processed"] == "1"
    assert fields["uptime_in_seconds"] == "1000"
    assert fields["listener0"] == "name=tcp,bind=127.0.0.1,port=26379"
    assert client.do("INFO", "replication") == b"$0\r\n\r\n"
    client.do("HELLO", "3")
    assert client.do("INFO", "server").startswith(b"$")


def test_shutdown_has_no_reply() -> None:
    stage, client = scene()
    assert client.say(request("SHUTDOWN", "SAVE", "NOW") + request("PING")) == b""
    assert not client.is_open()
    (reason,) = stage.shutdowns
    assert re.fullmatch(r"User requested shutdown\.\.\. \(user request from 'id=\d+ addr=\S+ laddr=\S+ .*'\)", reason)
    assert str(stage.client().read("SHUTDOWN", "ABORT")) == "ERR No shutdown in progress."


def refused(*words: str) -> Callable[[Client], str]:
    return lambda client: str(client.read(*words))


@pytest.mark.parametrize("words", [("SHUTDOWN", "foo"), ("SHUTDOWN", "SAVE", "NOSAVE"), ("SHUTDOWN", "ABORT", "NOW")])
def test_shutdown_syntax(words: tuple[str, ...]) -> None:
    stage, client = scene()
    assert refused(*words)(client) == "ERR syntax error"
    assert stage.shutdowns == []
