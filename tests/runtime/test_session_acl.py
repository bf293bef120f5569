"""ACL on the port: who is refused what, what ACL LOG keeps, and what a change does to who is connected (6.1, 6.4)."""

from __future__ import annotations

import pytest

from trio_sentinel.runtime import session_acl
from trio_sentinel.runtime.session_rights import MAX_PROVEN

from .port_stage import Client, MemoryFile, Stage, parsed, request

BOB = ("bob", "on", ">pw", "+@all", "&*")


@pytest.fixture
def stage() -> Stage:
    return Stage()


def bob(stage: Stage, *rules: str) -> Client:
    """A connection of a user who was just given `rules` on top of everything."""
    assert stage.client().do("acl", "setuser", *BOB, *rules) == b"+OK\r\n"
    client = stage.client()
    assert client.do("auth", "bob", "pw") == b"+OK\r\n"
    return client


# ---------------------------------------------------------------- refusals


def test_a_command_that_is_not_allowed(stage: Stage) -> None:
    client = bob(stage, "-info", "-sentinel", "+sentinel|masters")
    assert client.do("info") == b"-NOPERM User bob has no permissions to run the 'info' command\r\n"
    assert (
        client.do("sentinel", "myid") == b"-NOPERM User bob has no permissions to run the 'sentinel|myid' command\r\n"
    )
    assert client.do("sentinel", "masters") == b"*0\r\n"
    assert client.do("auth", "bob", "wrong").startswith(b"-WRONGPASS")
    assert stage.house.clients.denied_command == 2


def test_errors_of_form_come_before_rights(stage: Stage) -> None:
    """1.5: who lacks a command still sees that he misspelt it."""
    client = bob(stage, "-sentinel")
    assert client.do("sentinel", "foo") == b"-ERR unknown subcommand 'foo'. Try SENTINEL HELP.\r\n"
    assert client.do("sentinel", "master").startswith(b"-ERR wrong number of arguments")


def test_channels_are_refused_whole_and_before_the_restriction_of_subscribers(stage: Stage) -> None:
    client = bob(stage, "resetchannels", "&ok*", "-info")
    assert client.do("subscribe", "ok1", "no") == b"-NOPERM No permissions to access a channel\r\n"
    assert client.do("psubscribe", "ok") == b"-NOPERM No permissions to access a channel\r\n"
    assert client.do("publish", "__sentinel__:hello", "x") == b"-NOPERM No permissions to access a channel\r\n"
    assert client.do("publish", "ok", "x") == b"-ERR Only HELLO messages are accepted by Sentinel instances.\r\n"
    assert client.session.subscriptions == 0
    assert client.do("subscribe", "ok1").endswith(b":1\r\n")
    assert client.do("info").startswith(b"-NOPERM")
    assert client.do("client", "id").startswith(b"-ERR Can't execute")
    assert stage.house.clients.denied_channel == 3


def test_acl_log(stage: Stage) -> None:
    client = bob(stage, "-info", "resetchannels")
    client.do("info")
    client.do("info")
    client.do("subscribe", "x")
    client.do("AUTH", "nobody", "pw")
    client.do("hello", "3", "auth", "carl", "pw")
    stage.mind.clock_ms += 1500
    reader = stage.client()
    reader.do("hello", "3")
    entries = reader.read("acl", "log")
    seen = [(e["count"], e["reason"], e["context"], e["object"], e["username"], e["entry-id"]) for e in entries]
    assert seen == [
        (1, "auth", "toplevel", "hello", "carl", 3),
        (1, "auth", "toplevel", "AUTH", "nobody", 2),
        (1, "channel", "toplevel", "x", "bob", 1),
        (2, "command", "toplevel", "info", "bob", 0),
    ]
    assert entries[0]["age-seconds"] == 1.5
    assert entries[0]["client-info"].startswith("id=")
    assert "cmd=info user=bob" in entries[3]["client-info"]
    assert len(reader.read("acl", "log", "2")) == 2
    assert reader.read("acl", "log", "0") == reader.read("acl", "log", "-1") == []
    assert reader.do("acl", "log", "reset") == b"+OK\r\n"
    assert reader.read("acl", "log") == []


def test_acl_log_is_bounded_and_merges_only_what_is_recent(stage: Stage) -> None:
    stage.directives.acllog_max_len = 3
    stage = Stage(directives=stage.directives)
    client = stage.client()
    for name in "abcdef":
        client.do("auth", name, "x")
    assert [refusal.user for refusal in stage.house.acl_log.entries] == [b"f", b"e", b"d"]
    stage.mind.clock_ms += 60_001
    client.do("auth", "e", "x")
    assert [refusal.count for refusal in stage.house.acl_log.entries] == [1, 1, 1]
    client.do("auth", "e", "x")
    assert [refusal.count for refusal in stage.house.acl_log.entries] == [2, 1, 1]


def test_whoever_is_refused_cannot_fill_the_memory(stage: Stage) -> None:
    client = stage.client()
    client.do("client", "setname", "n" * 100_000)
    client.do("auth", "u" * 100_000, "x")
    client.do("acl", "setuser", "default", "resetchannels")
    client.do("subscribe", "c" * 100_000)
    assert len(stage.house.acl_log.entries) == 2
    for refusal in stage.house.acl_log.entries:
        assert max(len(refusal.object), len(refusal.user)) == 1024
        assert len(refusal.client) <= 4096


def test_a_password_is_in_no_refusal(stage: Stage) -> None:
    client = stage.client()
    client.do("auth", "bob", "hunter2")
    assert b"hunter2" not in client.do("acl", "log")


# ---------------------------------------------------------------- changes while connected


def test_narrowed_rights_act_on_the_next_command(stage: Stage) -> None:
    client = bob(stage)
    assert client.do("ping") == b"+PONG\r\n"
    stage.client().do("acl", "setuser", "bob", "-ping")
    assert client.do("ping") == b"-NOPERM User bob has no permissions to run the 'ping' command\r\n"


def test_a_disabled_user_stays_connected_and_cannot_come_back(stage: Stage) -> None:
    client = bob(stage)
    stage.client().do("acl", "setuser", "bob", "off")
    assert client.do("ping") == b"+PONG\r\n"
    assert stage.client().do("auth", "bob", "pw").startswith(b"-WRONGPASS")


def test_a_deleted_user_is_closed_at_once(stage: Stage) -> None:
    client, other = bob(stage), stage.client()
    assert other.do("acl", "deluser", "bob", "nobody") == b":1\r\n"
    assert not client.is_open()
    assert other.is_open()
    assert other.do("acl", "deluser", "nobody", "default") == b"-ERR The 'default' user cannot be removed\r\n"


def test_who_deletes_himself_reads_the_reply_and_no_more(stage: Stage) -> None:
    client = bob(stage)
    assert client.say(request("acl", "deluser", "bob") + request("ping")) == b":1\r\n"
    assert not client.is_open()


def test_a_subscriber_who_may_hear_no_longer_is_closed(stage: Stage) -> None:
    lost, kept = bob(stage, "resetchannels", "&a", "&b"), bob(stage)
    lost.do("subscribe", "a")
    kept.do("subscribe", "b")
    pattern = bob(stage)
    pattern.do("psubscribe", "b*")
    stage.client().do("acl", "setuser", "bob", "resetchannels", "&b*")
    assert not lost.is_open()
    assert kept.is_open()
    assert pattern.is_open()


def test_a_right_of_a_selector_keeps_a_subscriber(stage: Stage) -> None:
    client = bob(stage)
    client.do("subscribe", "a")
    stage.client().do("acl", "setuser", "bob", "resetchannels", "(+subscribe &a)")
    assert client.is_open()


def test_turning_the_default_user_off_keeps_who_is_in(stage: Stage) -> None:
    before = stage.client()
    assert before.do("acl", "setuser", "default", "off") == b"+OK\r\n"
    assert before.do("ping") == b"+PONG\r\n"
    after = stage.client()
    assert after.do("ping") == b"-NOAUTH Authentication required.\r\n"
    assert after.do("auth", "x").startswith(b"-ERR AUTH <password> called without any password")
    assert after.do("auth", "default", "x").startswith(b"-WRONGPASS")


def test_who_waits_for_a_password_is_let_in_when_there_is_none_any_more(stage: Stage) -> None:
    admin = stage.client()
    admin.do("acl", "setuser", "default", ">secret")
    waiting = stage.client()
    assert waiting.do("ping").startswith(b"-NOAUTH")
    admin.do("acl", "setuser", "default", "nopass")
    assert waiting.do("ping") == b"+PONG\r\n"
    admin.do("acl", "setuser", "default", ">secret")
    assert waiting.do("ping").startswith(b"-NOAUTH")
    assert admin.do("ping") == b"+PONG\r\n"
    waiting.do("auth", "secret")
    admin.do("acl", "setuser", "default", ">other")
    assert waiting.do("ping") == b"+PONG\r\n"


def test_errors_of_setuser_change_nothing(stage: Stage) -> None:
    client = stage.client()
    assert client.do("acl", "setuser", "bob", "on", "+get") == (
        b"-ERR Error in ACL SETUSER modifier '+get': Unknown command or category name in ACL\r\n"
    )
    assert client.do("acl", "setuser", "bob", "(+ping") == (
        b"-ERR Unmatched parenthesis in acl selector starting at '(+ping'.\r\n"
    )
    assert client.do("acl", "setuser", "a b") == b"-ERR Usernames can't contain spaces or null characters\r\n"
    assert client.read("acl", "users") == ["default"]


def test_users_have_a_number(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_acl, "MAX_USERS", len(stage.house.rights.users) + 1)
    client = stage.client()
    assert client.do("ACL", "SETUSER", "new") == b"+OK\r\n"
    assert client.do("ACL", "SETUSER", "newer") == b"-ERR Too many users\r\n"
    assert client.do("ACL", "SETUSER", "new", "on") == b"+OK\r\n"


def test_dryrun(stage: Stage) -> None:
    client = stage.client()
    client.do("acl", "setuser", "t", "+subscribe", "&foo*")
    assert client.do("acl", "dryrun", "t", "subscribe", "foo1") == b"+OK\r\n"
    assert client.read("acl", "dryrun", "t", "ping") == "User t has no permissions to run the 'ping' command"
    assert client.read("acl", "dryrun", "t", "subscribe", "x") == "User t has no permissions to access the 'x' channel"
    assert client.do("acl", "dryrun", "t", "quit") == b"-ERR Command 'quit' not found\r\n"
    assert client.do("acl", "dryrun", "t", "publish").startswith(b"-ERR wrong number of arguments for 'publish'")
    assert stage.house.acl_log.entries == []


# ---------------------------------------------------------------- the file


def test_without_a_file_there_is_nothing_to_save_or_load(stage: Stage) -> None:
    for word in ("save", "load"):
        assert stage.client().do("acl", word).startswith(b"-ERR This instance is not configured to use an ACL file.")


def test_save_answers_when_the_file_is_written() -> None:
    file = MemoryFile()
    client = Stage(acl_file=file).client()
    client.do("acl", "setuser", "bob", "on", "+ping")
    assert client.say(request("acl", "save") + request("ping")) == b""
    file.answer()
    assert client.transport.take() == b"+OK\r\n+PONG\r\n"
    assert file.content == b"user bob on resetchannels -@all +ping\nuser default on nopass ~* &* +@all\n"


def test_a_failed_save_says_so() -> None:
    file = MemoryFile(problem="disk full")
    client = Stage(acl_file=file).client()
    client.do("acl", "save")
    file.answer()
    assert client.transport.take() == (
        b"-ERR There was an error trying to save the ACLs. Please check the server logs for more information\r\n"
    )


def test_load_replaces_all_users_and_closes_whose_user_is_gone() -> None:
    file = MemoryFile(content=b"user bob on >pw +@all &*\nuser carl on nopass +@all &*\n")
    stage = Stage(acl_file=file)
    admin, carl = stage.client(), stage.client()
    stays, hears = bob(stage), bob(stage)
    admin.do("acl", "setuser", "carl", "on", "nopass")
    assert carl.do("auth", "carl", "x") == b"+OK\r\n"
    hears.do("subscribe", "x")
    file.content = b"user bob on >pw +@all &y\n"
    assert admin.do("acl", "load") == b""
    file.answer()
    assert admin.transport.take() == b"+OK\r\n"
    assert stays.is_open()
    assert not carl.is_open()
    assert not hears.is_open()
    assert admin.read("acl", "users") == ["bob", "default"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            b"user bob on +foo\n",
            (
                "users.acl:1: Error in applying operation '+foo': Unknown command or category name in ACL. WARNING: "
                "ACL errors detected, no change to the previously active ACL rules was performed"
            ),
        ),
        ("Error loading ACLs, opening file 'users.acl': No such file or directory",) * 2,
    ],
)
def test_a_load_that_fails_changes_nothing(content: bytes | str, text: str) -> None:
    file = MemoryFile(content=content)
    client = Stage(acl_file=file).client()
    client.do("acl", "setuser", "carl")
    client.do("acl", "load")
    file.answer()
    assert str(parsed(client.transport.take())) == f"ERR {text}"
    assert client.read("acl", "users") == ["carl", "default"]


def test_nobody_is_answered_who_left_while_the_file_was_read() -> None:
    file = MemoryFile(content=b"user bob on\n")
    stage = Stage(acl_file=file)
    client = stage.client()
    client.do("acl", "load")
    client.session.lost("reset")
    file.answer()
    assert client.transport.take() == b""


# ---------------------------------------------------------------- frequent requests

GET = request("sentinel", "get-master-addr-by-name", "m1")


def test_repeated_requests_of_a_restricted_user_take_the_short_way(stage: Stage) -> None:
    stage.mind.monitor("m1")
    client = bob(stage, "-@all", "+sentinel|get-master-addr-by-name")
    stage.client().say(GET)  # known already, by somebody who needs no proof
    first = client.say(GET)
    assert client.session.user is not None
    assert GET in client.session.user.proven
    assert client.say(GET) == first
    stage.client().do("acl", "setuser", "bob", "-sentinel")
    assert client.say(GET).startswith(b"-NOPERM")
    assert client.say(GET).startswith(b"-NOPERM")


def test_what_others_proved_gives_no_right(stage: Stage) -> None:
    stage.mind.monitor("m1")
    free = stage.client()
    free.say(GET)
    free.say(GET)
    client = bob(stage, "-@all", "+ping")
    assert client.say(GET).startswith(b"-NOPERM")


def test_what_is_proven_is_bounded(stage: Stage) -> None:
    client = bob(stage, "-info")
    for number in range(2 * MAX_PROVEN):
        client.do("ping", str(number))
    user = client.session.user
    assert user is not None
    assert len(user.proven) <= MAX_PROVEN
