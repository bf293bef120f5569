"""CLIENT and ACL over a session (commands.md 3.4 and 6.1)."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable

import pytest

from trio_sentinel.runtime.session_tracking import MAX_PREFIXES

from .port_stage import Client, Stage, request

OK = b"+OK\r\n"
PONG = b"+PONG\r\n"


def test_ids_are_never_used_twice() -> None:
    stage = Stage()
    first = stage.client()
    first.handler.lost("x")
    assert stage.client().read("CLIENT", "ID") == 2


def test_names() -> None:
    client = Stage().client()
    assert client.do("CLIENT", "GETNAME") == b"$-1\r\n"
    assert client.do("CLIENT", "SETNAME", "a!~") == OK
    assert client.read("CLIENT", "GETNAME") == "a!~"
    for bad in (b"a b", b"a\n", "é".encode(), b"\x7f"):
        assert client.do("CLIENT", "SETNAME", bad).startswith(b"-ERR Client names cannot contain")
    assert client.do("CLIENT", "SETNAME", "") == OK
    assert client.do("CLIENT", "GETNAME") == b"$-1\r\n"


def test_library_names() -> None:
    client = Stage().client()
    assert client.do("CLIENT", "SETINFO", "lib-NAME", "x") == OK
    assert client.do("CLIENT", "SETINFO", "LIB-VER", "1.2") == OK
    assert str(client.read("CLIENT", "SETINFO", "foo", "x")) == "ERR Unrecognized option 'foo'"
    assert str(client.read("CLIENT", "SETINFO", "lib-ver", "a b")).startswith("ERR lib-ver cannot contain spaces")
    assert b" lib-name=x lib-ver=1.2 " in client.do("CLIENT", "INFO")


def test_the_line_of_a_client() -> None:
    stage = Stage()
    client = stage.client(remote="[::1]:77")
    client.do("HELLO", "3", "SETNAME", "me")
    client.do("SUBSCRIBE", "a", "b")
    client.do("PSUBSCRIBE", "p")
    stage.mind.clock_ms += 2500
    reply = client.do("CLIENT", "INFO")
    assert reply.startswith(b"=")
    head, line = reply.decode().split("txt:")
    assert int(head[1:]) == len("txt:" + line.removesuffix("\r\n"))
    assert line.endswith("\n\r\n")
    fields = dict(pair.split("=", 1) for pair in line.split())
    assert (
        list(fields)
        == (
            "id addr laddr fd name age idle flags capa db sub psub ssub multi watch qbuf qbuf-free argv-mem multi-mem "
            "rbs rbp obl oll omem tot-mem events cmd user redir resp lib-name lib-ver tot-net-in tot-net-out tot-cmds"
        ).split()
    )
    expected = {
        "id": "1",
        "addr": "[::1]:77",
        "laddr": "127.0.0.1:26379",
        "name": "me",
        "age": "2",
        "idle": "0",
        "flags": "P",
        "sub": "2",
        "psub": "1",
        "cmd": "client|info",
        "user": "default",
        "resp": "3",
    }
    assert {key: fields[key] for key in expected} == expected


def described(text: bytes, number: int) -> dict[str, str]:
    """The fields of one line of CLIENT LIST."""
    line = next(line for line in text.decode().splitlines() if line.startswith(f"id={number} "))
    return dict(pair.split("=", 1) for pair in line.split())


def test_the_bytes_that_a_client_makes_us_keep() -> None:
    stage = Stage()
    asking, beginning, deaf = stage.client(), stage.client(), stage.client(window=10)
    beginning.say(b"*2\r\n$4\r\nPING\r\n$100\r\nabc")
    deaf.do("PING", "x" * 93)  # a hundred bytes
    text = asking.do("CLIENT", "LIST")
    wanted = ("qbuf", "argv-mem", "omem", "events")
    assert [described(text, 1)[key] for key in wanted] == ["0", "10", "0", "r"]
    assert [described(text, 2)[key] for key in wanted] == ["3", "4", "0", "r"]
    assert [described(text, 3)[key] for key in wanted] == ["0", "0", "90", "rw"]
    idle, begun, full = (int(described(text, number)["tot-mem"]) for number in (1, 2, 3))
    assert idle < begun
    assert full == idle + 90


def crowd(clients: int) -> tuple[list[Client], list[Callable[[], None]]]:
    """Clients, of whom not a dozen can be listed at a time, and what was put off."""
    stage = Stage()
    ticks, later = itertools.count(), list[Callable[[], None]]()
    stage.house.clock_s = lambda: next(ticks) * 0.0004
    stage.house.after = lambda deed, delay_s: later.append(deed)
    return [stage.client() for _ in range(clients)], later


def go_on(later: list[Callable[[], None]]) -> None:
    """Everything that was put off, and what that puts off."""
    while later:
        later.pop(0)()


def test_a_long_list_is_written_in_slices_and_holds_up_nobody() -> None:
    (asking, other, *_, leaving), later = crowd(200)
    assert asking.say(request("CLIENT", "LIST") + request("PING", "behind")) == b""
    assert len(later) == 1, "only a slice was written"
    later.pop(0)()
    assert other.do("PING") == PONG
    leaving.handler.lost("x")
    assert asking.session.output_bytes > 2000, "what is written counts"
    go_on(later)
    text, behind = asking.transport.take().rsplit(b"$6\r\n", 1)
    assert behind == b"behind\r\n"
    assert [line.split()[0] for line in text.decode().splitlines() if "=" in line] == [f"id={n}" for n in range(1, 200)]
    assert asking.session.output_bytes == 0


def test_nobody_writes_for_a_client_that_is_gone() -> None:
    (asking, *_), later = crowd(200)
    asking.do("CLIENT", "LIST")
    asking.handler.lost("x")
    go_on(later)
    assert asking.transport.take() == b""


def test_a_long_list_has_only_who_fits() -> None:
    (asking, *_, named), later = crowd(200)
    named.do("CLIENT", "SETNAME", "me")
    asking.do("CLIENT", "LIST", "NAME", "me")
    go_on(later)
    assert asking.transport.take().count(b"id=") == 1


def test_a_client_that_said_nothing_yet() -> None:
    stage = Stage()
    stage.client()
    line = stage.client().read("CLIENT", "LIST", "ID", "1")
    assert " cmd=NULL " in line
    assert " flags=N " in line


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ((), {1, 2, 3}),
        (("ID", "2", "3", "9"), {2, 3}),
        (("NOT-ID", "2"), {1, 3}),
        (("TYPE", "pubsub"), {3}),
        (("TYPE", "normal"), {1, 2}),
        (("TYPE", "primary"), set()),
        (("NOT-TYPE", "replica", "ID", "1", "2"), {1, 2}),
        (("ADDR", "10.0.0.2:5"), {2}),
        (("IP", "10.0.0.2"), {2}),
        (("LADDR", "127.0.0.1:26379"), {1, 2, 3}),
        (("NAME", "b"), {2}),
        (("USER", "default", "SKIPME", "yes"), {2, 3}),
        (("IDLE", "10"), {2, 3}),
        (("MAXAGE", "11"), set()),
        (("FLAGS", "P"), {3}),
        (("NOT-FLAGS", "P"), {1, 2}),
        (("DB", "0"), {1, 2, 3}),
        (("NOT-DB", "0"), set()),
    ],
)
def test_filters(words: tuple[str, ...], ids: set[int]) -> None:
    """3.4, V9."""
    stage = Stage()
    asking, second, third = stage.client(), stage.client(remote="10.0.0.2:5"), stage.client()
    second.do("CLIENT", "SETNAME", "b")
    third.do("SUBSCRIBE", "x")
    stage.mind.clock_ms += 10_000
    listed = asking.read("CLIENT", "LIST", *words)
    assert {int(line.split()[0].removeprefix("id=")) for line in listed.splitlines()} == ids


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("ID", "0"), "ERR client-id should be greater than 0"),
        (("ID", "x"), "ERR syntax error"),
        (("ID",), "ERR syntax error"),
        (("ID", "1", "x", "TYPE", "normal"), "ERR syntax error"),
        (("foo", "1"), "ERR syntax error"),
        (("NOT-IDLE", "1"), "ERR syntax error"),
        (("TYPE", "foo"), "ERR Unknown client type 'foo'"),
        (("USER", "foo"), "ERR No such user 'foo'"),
        (("SKIPME", "x"), "ERR syntax error"),
        (("MAXAGE", "x"), "ERR maxage is not an integer or out of range"),
        (("IDLE", "0"), "ERR idle should be greater than 0"),
        (("FLAGS", "?"), "ERR Unknown flags found in the provided filter: ?"),
        (("CAPA", "q"), "ERR Unknown capa found in the provided filter: q"),
        (("DB", "16"), "ERR DB number should be between 0 and 15"),
        (("DB", "x"), "ERR DB is not an integer or out of range"),
    ],
)
def test_bad_filters(words: tuple[str, ...], text: str) -> None:
    client = Stage().client()
    assert str(client.read("CLIENT", "LIST", *words)) == text
    assert client.is_open()


def test_killing_others() -> None:
    stage = Stage()
    killer, victim, listening = stage.client(), stage.client(remote="10.0.0.2:5"), stage.client()
    listening.do("SUBSCRIBE", "x")
    assert str(killer.read("CLIENT", "KILL", "1.1.1.1:1")) == "ERR No such client"
    assert killer.do("CLIENT", "KILL", "10.0.0.2:5") == OK
    assert not victim.is_open()
    assert killer.do("CLIENT", "KILL", "TYPE", "pubsub") == b":1\r\n"
    assert not listening.is_open()
    assert stage.house.board.clients == 0
    assert killer.do("CLIENT", "KILL", "TYPE", "normal") == b":0\r\n"
    assert killer.is_open()


def test_killing_oneself_answers_first() -> None:
    stage = Stage()
    client = stage.client()
    assert client.say(request("CLIENT", "KILL", "ID", "1", "SKIPME", "no") + request("PING")) == b":1\r\n"
    assert (client.transport.closed, client.transport.flushed) == (True, True)
    other = stage.client(remote="10.0.0.3:9")
    assert other.do("CLIENT", "KILL", "10.0.0.3:9") == OK
    assert not other.is_open()


def test_client_reply() -> None:
    """3.4: OFF until ON, SKIP for one command; messages and confirmations are still sent."""
    stage = Stage()
    client = stage.client()
    assert client.do("CLIENT", "REPLY", "OFF") == b""
    assert client.say(b"PING\r\nfoo\r\n") == b""
    assert client.do("SUBSCRIBE", "x").startswith(b"*3\r\n$9\r\nsubscribe")
    stage.tell("x", "y")
    assert client.transport.take() == b"*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$1\r\ny\r\n"
    client.do("UNSUBSCRIBE")
    assert client.do("CLIENT", "REPLY", "SKIP") == b""
    assert client.do("CLIENT", "REPLY", "ON") == OK
    skip = request("CLIENT", "REPLY", "SKIP")
    assert client.say(skip + request("PING") + request("PING")) == PONG
    assert client.say(skip + skip + request("PING") + request("PING")) == PONG


def test_a_skipped_reply_stays_skipped_when_it_comes_late() -> None:
    stage = Stage()
    stage.mind.slow = True
    client = stage.client()
    client.say(request("CLIENT", "REPLY", "SKIP") + request("SENTINEL", "FLUSHCONFIG") + request("PING"))
    stage.mind.save()
    assert client.transport.take() == PONG


def test_pause_delays_everybody_and_everything() -> None:
    stage = Stage()
    pausing, waiting = stage.client(), stage.client()
    assert waiting.do("PING") == PONG
    assert waiting.do("PING") == PONG  # now it would be served from the cache
    assert pausing.say(request("CLIENT", "PAUSE", "300") + request("PING")) == OK
    assert waiting.say(request("PING") + request("PING", "x")) == b""
    assert not waiting.is_read()
    stage.mind.clock_ms += 299
    stage.house.clients.sweep(stage.mind.clock_ms)
    assert waiting.transport.take() == b""
    stage.mind.clock_ms += 1
    stage.house.clients.sweep(stage.mind.clock_ms)
    assert waiting.transport.take() == PONG + b"$1\r\nx\r\n"
    assert pausing.transport.take() == PONG
    assert waiting.is_read()


def test_a_pause_of_writes_delays_publish_only() -> None:
    stage = Stage()
    client, other = stage.client(), stage.client()
    assert client.do("CLIENT", "PAUSE", "300", "WRITE") == OK
    assert client.do("PING") == PONG
    assert client.do("PUBLISH", "__sentinel__:hello", "x") == b""
    assert other.do("CLIENT", "UNPAUSE") == OK
    assert client.transport.take() == b":1\r\n"


def test_a_pause_is_not_weakened() -> None:
    stage = Stage()
    clients = stage.house.clients
    clients.pause(500, writes_only=False)
    clients.pause(300, writes_only=True)
    assert (clients.paused_until_ms, clients.pause_writes_only) == (500, False)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("x",), "timeout is not an integer or out of range"),
        (("-1",), "timeout is negative"),
        (("x", "foo"), "CLIENT PAUSE mode must be WRITE or ALL"),
    ],
)
def test_pause_errors(words: tuple[str, ...], text: str) -> None:
    assert str(Stage().client().read("CLIENT", "PAUSE", *words)) == "ERR " + text


def test_tracking_prefixes_have_a_number() -> None:
    client = Stage().client()
    words = [word for number in range(MAX_PREFIXES) for word in ("PREFIX", f"{number:03d}")]
    assert client.do("CLIENT", "TRACKING", "ON", "BCAST", *words) == OK
    assert client.do("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "more").startswith(b"-ERR ")


def test_what_has_nothing_to_do_here_is_accepted() -> None:
    client = Stage().client()
    assert client.read("CLIENT", "UNBLOCK", "5") == 0
    assert client.read("CLIENT", "GETREDIR") == -1
    assert client.read("CLIENT", "TRACKINGINFO") == ["flags", ["off"], "redirect", -1, "prefixes", []]
    assert client.do("CLIENT", "TRACKING", "ON") == OK
    assert client.do("CLIENT", "NO-EVICT", "on") == OK
    assert b" flags=te " in client.do("CLIENT", "LIST")
    assert str(client.read("CLIENT", "NO-EVICT", "x")) == "ERR syntax error"
    assert str(client.read("CLIENT", "CACHING", "YES")).endswith("only valid when tracking is enabled in OPTIN mode.")
    assert client.read("CLIENT", "HELP")[0].startswith("CLIENT <subcommand>")
    assert client.read("COMMAND", "HELP")[0].startswith("COMMAND <subcommand>")
    assert client.read("ACL", "HELP")[0].startswith("ACL <subcommand>")


# ---------------------------------------------------------------- ACL


def test_acl_with_and_without_a_password() -> None:
    """6, 6.3."""
    client = Stage().client()
    assert client.read("ACL", "WHOAMI") == "default"
    assert client.read("ACL", "USERS") == ["default"]
    assert client.read("ACL", "LIST") == ["user default on nopass ~* &* +@all"]
    assert client.read("ACL", "GETUSER", "default")[:4] == ["flags", ["on", "nopass"], "passwords", []]
    assert client.read("ACL", "GETUSER", "foo") is None
    client = Stage(password=b"p").client()
    client.do("AUTH", "p")
    digest = hashlib.sha256(b"p").hexdigest()
    assert client.read("ACL", "LIST") == [f"user default on #{digest} ~* &* +@all"]
    assert client.read("ACL", "GETUSER", "default")[:4] == ["flags", ["on"], "passwords", [digest]]


def test_acl_categories() -> None:
    client = Stage().client()
    assert len(client.read("ACL", "CAT")) == 21
    assert client.read("ACL", "CAT", "string") == []
    assert "client|list" in client.read("ACL", "CAT", "Connection")
    assert str(client.read("ACL", "CAT", "foo")) == "ERR Unknown category 'foo'"


def test_acl_genpass() -> None:
    stage = Stage()
    stage.house.random_bytes = lambda size: (b"\x01\x02" * size)[:size]
    client = stage.client()
    assert len(client.read("ACL", "GENPASS")) == 64
    assert client.read("ACL", "GENPASS", "5") == "01"
    assert client.read("ACL", "GENPASS", "9") == "010"
    assert len(client.read("ACL", "GENPASS", "4096")) == 1024
    assert str(client.read("ACL", "GENPASS", "4097")).startswith("ERR ACL GENPASS argument must be")


def test_acl_dryrun_and_files() -> None:
    client = Stage().client()
    assert client.do("ACL", "DRYRUN", "default", "sentinel", "masters") == OK
    assert str(client.read("ACL", "DRYRUN", "foo", "ping")) == "ERR User 'foo' not found"
    assert str(client.read("ACL", "DRYRUN", "default", "get", "x")) == "ERR Command 'get' not found"
    for sub in ("SAVE", "LOAD"):
        assert str(client.read("ACL", sub)).startswith("ERR This instance is not configured to use an ACL file.")
    assert client.read("ACL", "LOG") == []
    assert client.do("ACL", "LOG", "RESET") == OK
