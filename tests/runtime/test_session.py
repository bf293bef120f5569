"""What one connection promises: order of replies, limits, publish and subscribe, and when it closes."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_sentinel.model.inputs import OpinionAsked, Request, ResetAsked
from trio_sentinel.runtime.clients import MOST_COST_S, SWEEPS_PER_SECOND
from trio_sentinel.runtime.session import MAX_SLOTS, PAUSE_READING_ABOVE, SHARE_S, Session
from trio_sentinel.runtime.session_admission import TurnedAway
from trio_sentinel.wire.info import SPOKEN_VERSION

from .port_stage import MY_ID, Client, PlainDirectives, Stage, parsed, request

ID = "c" * 40
PONG = b"+PONG\r\n"


def vote(epoch: int) -> bytes:
    return request("SENTINEL", "is-master-down-by-addr", "127.0.0.1", "6379", str(epoch), ID)


# ---------------------------------------------------------------- order and sending


def test_one_send_for_one_chunk() -> None:
    client = Stage().client()
    client.handler.received(request("PING") * 50)
    assert client.transport.sends == [PONG * 50]


def test_input_may_come_byte_by_byte() -> None:
    client = Stage().client()
    data = b"PING\r\n" + request("PING", "x")
    assert b"".join(client.say(data[at : at + 1]) for at in range(len(data))) == PONG + b"$1\r\nx\r\n"


SCRIPT = (
    request("PING")
    + b"ping inline\r\n"
    + request("CLIENT", "SETNAME", "n")
    + request("HELLO", "3")
    + request("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "m1")
    + vote(3)
    + request("SUBSCRIBE", "a", "b")
    + request("SENTINEL", "SET", "m1", "quorum", "x")
    + b"nonsense 'a b' c\r\n"
    + request("CLIENT", "REPLY", "SKIP")
    + request("PING")
    + request("PING", "z" * 300)
    + b"*1\r\n$x\r\n"
)


def play(chunks: list[bytes], *, slow: bool = False) -> tuple[bytes, bool]:
    stage = Stage()
    stage.mind.monitor("m1")
    stage.mind.slow = slow
    client = stage.client()
    out = b"".join(client.say(chunk) for chunk in chunks)
    stage.mind.save()
    return out + client.transport.take(), client.transport.closed


@given(st.lists(st.integers(0, len(SCRIPT)), max_size=10), st.booleans())
def test_replies_do_not_depend_on_how_the_input_is_split(cuts: list[int], slow: bool) -> None:
    places = sorted({0, len(SCRIPT), *cuts})
    chunks = [SCRIPT[start:end] for start, end in itertools.pairwise(places)]
    assert play(chunks, slow=slow) == play([SCRIPT])


def test_a_reply_that_waits_for_the_disk_keeps_its_place_and_later_commands_go_on() -> None:
    """Pipelined votes of a peer must share one save: all are asked before the first is answered."""
    stage = Stage()
    stage.mind.slow = True
    client = stage.client()
    assert client.say(request("PING") + vote(1) + vote(2) + request("PING", "x")) == PONG
    assert [asked.epoch for asked in stage.mind.asked if isinstance(asked, OpinionAsked)] == [1, 2]
    stage.mind.save()
    reply = b"*3\r\n:0\r\n$40\r\n" + MY_ID.encode() + b"\r\n:%d\r\n"
    assert client.transport.take() == reply % 1 + reply % 2 + b"$1\r\nx\r\n"


def test_a_failed_save_is_the_reply() -> None:
    stage = Stage()
    stage.mind.slow = stage.mind.failing = True
    client = stage.client()
    client.do("SENTINEL", "FLUSHCONFIG")
    stage.mind.save()
    assert client.transport.take() == b"-ERR Failed to save config file. Check server logs.\r\n"
    assert stage.house.clients.errors == 1


def test_too_many_waiting_replies_stop_the_reading() -> None:
    stage = Stage()
    stage.mind.slow = True
    client = stage.client()
    client.say(vote(1) * (MAX_SLOTS + 50) + request("PING"))
    assert len(stage.mind.asked) == MAX_SLOTS
    assert not client.is_read()
    stage.mind.save()
    stage.mind.save()
    assert client.is_read()
    sent = client.transport.take()
    assert sent.count(b"*3\r\n") == MAX_SLOTS + 50
    assert sent.endswith(PONG)


def test_an_answer_for_a_client_that_left_is_dropped() -> None:
    stage = Stage()
    stage.mind.slow = True
    client = stage.client()
    client.say(vote(1))
    client.handler.lost("reset")
    stage.mind.save()
    assert client.transport.take() == b""
    assert len(stage.house.clients) == 0


# ---------------------------------------------------------------- limits and closing


def test_a_breach_of_the_protocol_is_answered_after_earlier_replies_and_closes() -> None:
    """1.3."""
    client = Stage().client()
    assert client.say(b"PING\r\n*1\r\n:1\r\nPING\r\n") == PONG + b"-ERR Protocol error: expected '$', got ':'\r\n"
    assert (client.transport.closed, client.transport.flushed) == (True, True)
    assert client.say(b"PING\r\n") == b""


def test_a_breach_waits_for_the_replies_before_it() -> None:
    stage = Stage()
    stage.mind.slow = True
    client = stage.client()
    assert client.say(vote(1) + b"*x\r\n") == b""
    assert client.is_open()
    stage.mind.save()
    assert client.transport.take().endswith(b"-ERR Protocol error: invalid multibulk length\r\n")
    assert not client.is_open()


@pytest.mark.parametrize("attack", [b"POST / HTTP/1.1\r\n", b"Host: x\r\n", request("post"), request("HOST:", "x")])
def test_web_browsers_are_cut_off_without_a_word(attack: bytes) -> None:
    client = Stage().client()
    assert client.say(b"PING\r\n" + attack) == b""
    assert (client.transport.closed, client.transport.flushed) == (True, False)


def test_a_half_closed_client_gets_its_replies_then_eof() -> None:
    """1.1."""
    stage = Stage()
    stage.mind.slow = True
    client = stage.client()
    client.say(vote(1))
    client.handler.ended()
    assert client.is_open()
    stage.mind.save()
    assert client.transport.take().startswith(b"*3\r\n")
    assert not client.is_open()
    idle = stage.client()
    idle.handler.ended()
    assert not idle.is_open()
    assert len(stage.house.clients) == 0


def test_a_client_that_does_not_read_is_not_read_either() -> None:
    stage = Stage()
    client = stage.client(window=0)
    big = request("PING", "x" * (PAUSE_READING_ABOVE + 1))
    client.say(big)
    assert not client.is_read()
    assert client.say(request("PING")) == b""
    client.transport.unsent = 0
    client.handler.drained()
    assert client.is_read()
    assert client.transport.take() == PONG


def test_the_query_buffer_is_limited() -> None:
    stage = Stage(directives=PlainDirectives(client_query_buffer_limit=1000))
    client = stage.client()
    assert client.say(b"*1\r\n$5000\r\n" + b"x" * 1001) == b""
    assert not client.is_open()
    assert stage.house.clients.cut_for_query == 1
    many = stage.client()
    many.say(b"*1000000\r\n" + b"$0\r\n\r\n" * 20)
    assert not many.is_open()  # empty arguments cost memory too


def test_idle_clients_are_closed_but_not_subscribers() -> None:
    """1.1, `timeout`."""
    stage = Stage(directives=PlainDirectives(timeout=5))
    idle, busy, listening = stage.client(), stage.client(), stage.client()
    listening.do("SUBSCRIBE", "x")
    stage.mind.clock_ms += 4000
    busy.do("PING")
    stage.mind.clock_ms += 2000
    stage.house.clients.sweep(stage.mind.clock_ms)
    assert [client.transport.closed for client in (idle, busy, listening)] == [True, False, False]


def test_no_more_than_maxclients() -> None:
    stage = Stage(directives=PlainDirectives(maxclients=1))
    first, second = stage.client(), stage.client()
    assert isinstance(second.handler, TurnedAway)
    assert second.transport.take() == b"-ERR max number of clients reached\r\n"
    assert not second.is_open()
    assert stage.house.clients.rejected == 1
    first.handler.lost("gone")
    assert isinstance(stage.client().handler, Session)


@pytest.mark.parametrize(
    ("remote", "password", "served"),
    [
        ("127.0.0.1:5", None, True),
        ("[::1]:5", None, True),
        ("/run/s.sock:0", None, True),
        ("10.0.0.1:5", None, False),
        ("10.0.0.1:5", b"p", True),
    ],
)
def test_protected_mode(remote: str, password: bytes | None, served: bool) -> None:
    stage = Stage(directives=PlainDirectives(protected_mode=True), password=password)
    client = stage.client(remote=remote)
    assert isinstance(client.handler, Session) is served
    assert client.transport.take().startswith(b"" if served else b"-DENIED ")


# ---------------------------------------------------------------- authentication


def test_before_authentication_everything_but_auth_and_hello_is_refused() -> None:
    """1.5, order of Valkey 9."""
    client = Stage(password=b"secret").client()
    refused = b"-NOAUTH Authentication required.\r\n"
    for line in (b"PING\r\n", b"GET x\r\n", b"QUIT\r\n", b"ROLE x\r\n", b"SENTINEL FOO\r\n"):
        assert client.say(line) == refused
    assert client.say(b"AUTH\r\n") == b"-ERR wrong number of arguments for 'auth' command\r\n"
    assert client.say(b"HELLO 9\r\n") == b"-NOPROTO unsupported protocol version\r\n"
    assert client.say(b"AUTH bad\r\n").startswith(b"-WRONGPASS ")
    assert client.say(b"AUTH default secret\r\n") == b"+OK\r\n"
    assert client.say(b"PING\r\n") == PONG
    assert client.say(b"AUTH bad\r\n").startswith(b"-WRONGPASS ")
    assert client.say(b"PING\r\n") == PONG


def test_limits_change_with_authentication_inside_one_chunk() -> None:
    eleven = request(*(["CLIENT"] + ["x"] * 10))
    client = Stage(password=b"secret").client()
    assert client.say(eleven) == b"-ERR Protocol error: unauthenticated multibulk length\r\n"
    client = Stage(password=b"secret").client()
    assert client.say(request("AUTH", "secret") + eleven).endswith(b"-ERR unknown subcommand 'x'. Try CLIENT HELP.\r\n")


def test_a_stranger_cannot_make_us_buffer() -> None:
    """1.4."""
    stage = Stage(password=b"secret")
    client = stage.client()
    assert client.say(b"HELLO\r\n" * 100) == b""
    assert not client.is_open()
    assert stage.house.clients.cut_for_output == 1


def test_hello_changes_nothing_unless_all_is_well() -> None:
    """3.3."""
    client = Stage(password=b"secret").client()
    assert str(client.read("HELLO", "3", "SETNAME", "n")).startswith("NOAUTH HELLO must be called")
    assert str(client.read("HELLO", "3", "AUTH", "default", "bad")).startswith("WRONGPASS")
    assert client.session.proto == 2
    assert str(client.read("HELLO", "3", "AUTH", "default", "secret", "SETNAME", "a b")).startswith("ERR Client names")
    assert client.session.user is None
    reply = client.read("HELLO", "3", "SETNAME", "n", "AUTH", "default", "secret")
    assert reply == {
        "server": "valkey",
        "version": SPOKEN_VERSION,
        "proto": 3,
        "id": 1,
        "mode": "sentinel",
        "modules": [],
    }
    assert list(reply)[-1] == "modules"
    assert client.read("CLIENT", "GETNAME") == "n"
    assert client.read("HELLO")["proto"] == 3
    assert client.do("HELLO", "2").startswith(b"*12\r\n")


def test_the_password_is_in_no_description() -> None:
    stage = Stage(password=b"topsecret")
    client = stage.client()
    client.do("AUTH", "topsecret")
    assert "topsecret" not in repr(stage.house)
    assert "topsecret" not in repr(client.session.user)
    assert b"topsecret" not in client.do("CLIENT", "LIST") + client.do("ACL", "LIST") + client.do("INFO")


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"QUIT\r\n", "-ERR unknown command 'QUIT', with args beginning with: \r\n"),
        (b"foo a b\r\n", "-ERR unknown command 'foo', with args beginning with: 'a' 'b' \r\n"),
        (b"SENTINEL foo a b c d e\r\n", "-ERR unknown subcommand 'foo'. Try SENTINEL HELP.\r\n"),
        (b"Client Foo\r\n", "-ERR unknown subcommand 'Foo'. Try CLIENT HELP.\r\n"),
        (b"SENTINEL\r\n", "-ERR wrong number of arguments for 'sentinel' command\r\n"),
        (b"SENTINEL SET m q 1 2\r\n", "-ERR No such master with that name\r\n"),
        (b"SENTINEL SET m q\r\n", "-ERR wrong number of arguments for 'sentinel|set' command\r\n"),
        (b"PING a b\r\n", "-ERR wrong number of arguments for 'ping' command\r\n"),
        (b'foo "a\\r\\nb"\r\n', "-ERR unknown command 'foo', with args beginning with: 'a  b' \r\n"),
        (b"f" * 130 + b"\r\n", f"-ERR unknown command '{'f' * 128}', with args beginning with: \r\n"),
    ],
)
def test_error_texts(line: bytes, reply: str) -> None:
    """1.6."""
    stage = Stage()
    assert stage.client().say(line).decode() == reply
    assert stage.house.clients.errors == 1


def test_the_list_of_arguments_of_an_unknown_command_is_cut() -> None:
    reply = Stage().client().say(b"foo " + b"a" * 120 + b" " + b"b" * 99 + b" c\r\n").decode()
    assert reply.endswith(f"with: '{'a' * 120}' '{'b' * 5}' \r\n")


# ---------------------------------------------------------------- publish and subscribe


def test_subscribing_counts_channels_and_patterns_together() -> None:
    """4.1."""
    client = Stage().client()
    frames = client.say(request("SUBSCRIBE", "a", "b", "a") + request("PSUBSCRIBE", "p*"))
    assert [int(part.split(b"\r\n")[0]) for part in frames.split(b":")[1:]] == [1, 2, 2, 3]
    frames = client.say(request("UNSUBSCRIBE", "x", "a") + request("UNSUBSCRIBE") + request("UNSUBSCRIBE"))
    assert frames == (
        b"*3\r\n$11\r\nunsubscribe\r\n$1\r\nx\r\n:3\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:2\r\n"
        b"*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:1\r\n"
    )


def test_messages_are_arrays_in_resp2_and_pushes_in_resp3() -> None:
    stage = Stage()
    old, new = stage.client(), stage.client()
    new.do("HELLO", "3")
    for client in (old, new):
        client.say(request("SUBSCRIBE", "+sdown") + request("PSUBSCRIBE", "[-+]sdown"))
    stage.tell("+sdown", "master m")
    assert old.transport.take() == (
        b"*3\r\n$7\r\nmessage\r\n$6\r\n+sdown\r\n$8\r\nmaster m\r\n"
        b"*4\r\n$8\r\npmessage\r\n$9\r\n[-+]sdown\r\n$6\r\n+sdown\r\n$8\r\nmaster m\r\n"
    )
    assert new.transport.take().count(b">") == 2


def test_a_resp2_subscriber_may_do_little_else() -> None:
    """4.2; errors of form come first."""
    client = Stage().client()
    client.do("SUBSCRIBE", "a")
    assert client.do("PING") == b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"
    assert client.do("PING", "x") == b"*2\r\n$4\r\npong\r\n$1\r\nx\r\n"
    refused = (
        "Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
    )
    assert str(client.read("INFO")) == "ERR " + refused.format("info")
    assert str(client.read("SENTINEL", "MASTERS")) == "ERR " + refused.format("sentinel|masters")
    assert str(client.read("HELLO", "3")) == "ERR " + refused.format("hello")
    assert str(client.read("QUIT")).startswith("ERR unknown command")
    assert str(client.read("SENTINEL", "SET")).startswith("ERR wrong number")
    client.do("UNSUBSCRIBE")
    assert client.do("PING") == PONG


def test_a_resp3_subscriber_is_free_until_it_goes_back() -> None:
    client = Stage().client()
    client.do("HELLO", "3")
    client.do("SUBSCRIBE", "a")
    assert client.do("PING") == PONG
    assert client.read("CLIENT", "ID") == 1
    client.do("HELLO", "2")
    assert str(client.read("CLIENT", "ID")).startswith("ERR Can't execute")


@pytest.mark.parametrize("slow", [False, True])
def test_a_message_caused_by_a_command_comes_behind_its_reply(slow: bool) -> None:
    """4.1, last paragraph (V9); the model announces before it answers."""
    stage = Stage()
    stage.mind.monitor("m1")
    stage.mind.slow = slow

    def announce(asked: Request) -> None:
        if isinstance(asked, ResetAsked):
            stage.tell("+reset-master", "master m1")

    stage.mind.on_ask = announce
    client, other = stage.client(), stage.client()
    for each in (client, other):
        each.do("HELLO", "3")
        each.do("SUBSCRIBE", "+reset-master")
    out = client.say(request("PING") + request("SENTINEL", "RESET", "*") + request("PING", "x"))
    stage.mind.save()
    out += client.transport.take()
    message = b">3\r\n$7\r\nmessage\r\n$13\r\n+reset-master\r\n$9\r\nmaster m1\r\n"
    assert out.replace(message, b"") == PONG + b":1\r\n$1\r\nx\r\n"
    assert out.index(b":1\r\n") < out.index(message)
    assert other.transport.take() == message


def test_a_slow_subscriber_is_cut_off_at_the_hard_limit() -> None:
    """1.1."""
    stage = Stage(directives=PlainDirectives(client_output_buffer_limits=(("pubsub", 1000, 0, 0),)))
    slow, normal = stage.client(window=0), stage.client(window=0)
    slow.do("SUBSCRIBE", "c")
    normal.do("PING", "x" * 5000)
    for _ in range(20):
        stage.tell("c", "x" * 100)
    assert (slow.transport.closed, slow.transport.flushed) == (True, False)
    assert normal.is_open()
    assert stage.house.board.clients == 0
    assert stage.house.clients.cut_for_output == 1


def test_a_slow_subscriber_has_some_seconds_above_the_soft_limit() -> None:
    stage = Stage(directives=PlainDirectives(client_output_buffer_limits=(("pubsub", 0, 1000, 60),)))
    slow, recovering = stage.client(window=0), stage.client(window=0)
    for client in (slow, recovering):
        client.do("SUBSCRIBE", "c")
    stage.tell("c", "x" * 2000)
    stage.mind.clock_ms += 30_000
    recovering.transport.unsent = 0
    stage.house.clients.sweep(stage.mind.clock_ms)
    assert slow.is_open()
    stage.mind.clock_ms += 30_001
    stage.house.clients.sweep(stage.mind.clock_ms)
    assert (slow.transport.closed, recovering.transport.closed) == (True, False)


def test_a_slow_subscriber_costs_the_others_nothing() -> None:
    stage = Stage(directives=PlainDirectives(client_output_buffer_limits=(("pubsub", 100_000, 0, 0),)))
    slow, quick = stage.client(window=0), [stage.client() for _ in range(3)]
    for client in (slow, *quick):
        client.do("SUBSCRIBE", "c")
    for number in range(500):
        stage.tell("c", f"{number:04}" + "x" * 996)
    assert slow.transport.closed
    assert sum(map(len, slow.transport.sends)) < 110_000, "much more than the limit was kept"
    for client in quick:
        assert client.transport.sent.count(b"message") == 500


def test_clients_together_have_a_limit_and_who_takes_most_goes_first() -> None:
    stage = Stage(directives=PlainDirectives(client_query_buffer_limit=100_000))
    small = stage.client()
    small.say(b"*2\r\n$4\r\nPING\r\n$500\r\n" + b"x" * 400)
    writer, reader, subscriber = stage.client(), stage.client(window=0), stage.client()
    writer.say(b"*2\r\n$4\r\nPING\r\n$60000\r\n" + b"x" * 50_000)
    reader.do("PING", "x" * 40_000)
    subscriber.do("SUBSCRIBE", *(f"{number:060}" for number in range(60)))
    stage.house.clients.sweep(stage.mind.clock_ms)
    assert [client.is_open() for client in (small, writer, reader, subscriber)] == [True, False, True, True]
    assert stage.house.clients.evicted == 1
    assert "evicted_clients:1" in str(small.say(b"x" * 100 + b"\r\n" + request("INFO", "stats")))


@pytest.mark.parametrize(
    "words",
    [
        ("CLIENT", "SETNAME", "x" * 1000),
        ("CLIENT", "SETINFO", "lib-name", "x" * 1000),
        ("CLIENT", "SETINFO", "lib-ver", "x" * 1000),
        ("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "x" * 1000),
        ("SUBSCRIBE", "x" * 1000),
    ],
    ids=lambda words: " ".join(words[:-1]),
)
def test_what_a_client_chooses_and_we_keep_is_counted(words: tuple[str, ...]) -> None:
    client = Stage().client()
    client.do(*words)
    assert client.session.memory >= 1000


def test_too_many_patterns_cost_who_has_most() -> None:
    stage = Stage()
    hog, other = stage.client(), stage.client()
    other.do("PSUBSCRIBE", "+switch-master", "+sdown")
    for part in range(5):
        hog.do("PSUBSCRIBE", *(f"{part}-{number}" for number in range(4000)))
    assert not hog.is_open()
    assert other.is_open()
    assert stage.house.board.patterns == 2
    stage.tell("+sdown", "x")
    assert other.transport.take().count(b"pmessage") == 1


def test_every_client_is_looked_at_once_a_second() -> None:
    stage = Stage(directives=PlainDirectives(timeout=5))
    clients = [stage.client() for _ in range(1500)]
    stage.mind.clock_ms += 5001
    open_ones = [len(clients)]
    for _ in range(SWEEPS_PER_SECOND):
        stage.house.clients.sweep(stage.mind.clock_ms)
        open_ones.append(sum(client.is_open() for client in clients))
    assert open_ones[-1] == 0
    assert all(before - after <= 151 for before, after in itertools.pairwise(open_ones))


def test_hellos_are_heard_and_nothing_else_is_published() -> None:
    stage = Stage()
    client = stage.client()
    text = f"127.0.0.1,26380,{ID},0,m1,127.0.0.1,6379,0"
    assert client.do("PUBLISH", "__sentinel__:hello", text) == b":1\r\n"
    assert [str(heard.hello) for heard in stage.mind.hellos] == [text]
    assert client.do("PUBLISH", "__sentinel__:hello", "nonsense") == b":1\r\n"
    assert len(stage.mind.hellos) == 1
    assert str(client.read("PUBLISH", "x", "y")) == "ERR Only HELLO messages are accepted by Sentinel instances."


# ---------------------------------------------------------------- the cache of replies


def test_a_cached_reply_is_forgotten_with_the_next_decision() -> None:
    stage = Stage()
    stage.mind.monitor("m1", port=1)
    client = stage.client()
    asked = request("SENTINEL", "get-master-addr-by-name", "m1") * 3
    for _ in range(3):
        assert client.say(asked) == b"*2\r\n$9\r\n127.0.0.1\r\n$1\r\n1\r\n" * 3
    assert asked in stage.house.batches
    stage.mind.monitor("m1", port=2)
    assert client.say(asked) == b"*2\r\n$9\r\n127.0.0.1\r\n$1\r\n2\r\n" * 3
    assert client.session.commands_run == 12
    assert stage.house.clients.commands == 12


def test_the_cache_knows_the_protocol() -> None:
    client = Stage().client()
    asked = request("SENTINEL", "get-master-addr-by-name", "nobody")
    assert [client.say(asked), client.say(asked)] == [b"*-1\r\n"] * 2
    client.do("HELLO", "3")
    assert [client.say(asked), client.say(asked)] == [b"_\r\n"] * 2


def test_the_cache_serves_no_stranger_no_subscriber_and_no_mute_client() -> None:
    stage = Stage(password=b"p")
    known = stage.client()
    known.do("AUTH", "p")
    for _ in range(3):
        assert known.do("PING") == PONG
    assert request("PING") in stage.house.batches
    stranger, listening, mute = stage.client(), stage.client(), stage.client()
    assert stranger.do("PING").startswith(b"-NOAUTH")
    for client in (listening, mute):
        client.do("AUTH", "p")
    listening.do("SUBSCRIBE", "x")
    assert listening.do("PING").startswith(b"*2\r\n$4\r\npong")
    mute.do("CLIENT", "REPLY", "OFF")
    assert mute.do("PING") == b""


def calm(stage: Stage) -> Client:
    """A client whose PING is answered as a whole known chunk."""
    client = stage.client()
    for _ in range(4):
        assert client.do("PING") == PONG
    assert client.session._calm
    return client


def test_a_known_chunk_is_not_answered_as_before_once_the_client_has_changed() -> None:
    stage = Stage()
    listening, mute, half = calm(stage), calm(stage), calm(stage)
    listening.do("SUBSCRIBE", "x")
    assert listening.do("PING").startswith(b"*2\r\n$4\r\npong")
    mute.do("CLIENT", "REPLY", "OFF")
    assert mute.do("PING") == b""
    assert half.say(b"*2\r\n$4\r\nPING\r\n$14\r\n") == b""
    assert half.say(request("PING")) == b""
    assert half.say(b"\r\n") == b"$14\r\n" + request("PING") + b"\r\n"


def test_a_pause_holds_known_chunks_back_as_well() -> None:
    stage = Stage()
    client = calm(stage)
    stage.house.clients.pause(stage.mind.now_ms() + 1000, writes_only=False)
    assert client.do("PING") == b""
    stage.house.clients.unpause()
    assert client.do("PING").endswith(PONG)


def test_a_known_chunk_counts_like_any_other() -> None:
    stage = Stage()
    client = calm(stage)
    before = stage.house.clients.commands, client.session.commands_run, stage.house.clients.net_input
    client.do("PING")
    after = stage.house.clients.commands, client.session.commands_run, stage.house.clients.net_input
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1, len(request("PING"))]
    assert client.session.last_command == "ping"


def test_secrets_are_never_kept_as_chunks() -> None:
    stage = Stage(password=b"p")
    client = stage.client()
    client.say(request("AUTH", "p") + request("PING"))
    assert stage.house.batches == {}


def test_a_split_request_is_not_taken_for_a_known_chunk() -> None:
    client = Stage().client()
    for _ in range(2):
        client.do("PING")
    assert client.say(b"*2\r\n$4\r\nPING\r\n$14\r\n") == b""
    assert client.say(request("PING")) == b""
    assert client.say(b"\r\n") == b"$14\r\n" + request("PING") + b"\r\n"


def test_long_requests_are_not_remembered() -> None:
    stage = Stage()
    client = stage.client()
    for n in range(3):
        client.say(request("SENTINEL", "GET-MASTER-ADDR-BY-NAME", f"{n}" + "x" * 100_000))
    assert not stage.house.replies(2)


def test_cached_replies_are_bounded() -> None:
    stage = Stage()
    client = stage.client()
    for number in range(6000):
        client.do("SENTINEL", "get-master-addr-by-name", f"nobody{number}")
    assert len(stage.house.replies(2)) <= 4100
    assert len(stage.house.batches) <= 1100


def test_everything_that_is_read_back_is_one_reply() -> None:
    assert parsed(PONG) == "PONG"


# ---------------------------------------------------------------- a fair share


class Shift:
    """A clock that moves by 0.6 of a share at each look, and the list of those who wait for their next turn."""

    def __init__(self, stage: Stage) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.delays: list[float] = []
        self.step = SHARE_S * 0.6
        self._now = 0.0
        stage.house.clock_s = self._tick
        stage.house.later = self.waiting.append
        stage.house.after = self._after

    def _tick(self) -> float:
        self._now += self.step
        return self._now

    def _after(self, deed: Callable[[], None], delay_s: float) -> None:
        self.waiting.append(deed)
        self.delays.append(delay_s)

    def change(self) -> None:
        """Everybody who waits gets a turn."""
        waiting, self.waiting = self.waiting, []
        for deed in waiting:
            deed()


def test_a_client_that_asks_much_at_once_gets_a_share_and_then_it_is_the_others_turn() -> None:
    stage = Stage()
    shift = Shift(stage)
    hog, other = stage.client(), stage.client()
    first = hog.say(b"".join(request("PING", str(number)) for number in range(20)))
    assert 0 < first.count(b"$") < 5
    assert not hog.is_read()
    assert other.do("PING") == PONG
    replies = first
    while shift.waiting:
        shift.change()
        replies += hog.transport.take()
    assert replies == b"".join(b"$%d\r\n%d\r\n" % (len(str(n)), n) for n in range(20))
    assert hog.is_read()


def test_who_ends_its_side_still_gets_every_answer() -> None:
    stage = Stage()
    shift = Shift(stage)
    client = stage.client()
    client.handler.received(b"PING\r\n" * 20)
    client.handler.ended()
    assert client.is_open()
    while shift.waiting:
        shift.change()
    assert client.transport.sent == PONG * 20
    assert not client.is_open()


def test_the_end_of_a_pause_does_not_serve_everybody_in_one_go() -> None:
    stage = Stage()
    shift = Shift(stage)
    admin = stage.client()
    assert admin.do("CLIENT", "PAUSE", "1000") == b"+OK\r\n"
    waiting = [stage.client() for _ in range(3)]
    assert [client.do("PING") for client in waiting] == [b""] * 3
    stage.house.clients.unpause()
    assert [client.transport.take() for client in waiting] == [b""] * 3
    shift.change()
    assert [client.transport.take() for client in waiting] == [PONG] * 3


def test_a_client_that_goes_away_in_the_others_turn_is_not_missed() -> None:
    stage = Stage()
    shift = Shift(stage)
    client = stage.client()
    client.handler.received(b"PING\r\n" * 20)
    client.handler.lost("gone")
    shift.change()
    assert not shift.waiting


def test_after_an_expensive_command_a_client_is_held_back_but_not_its_answer() -> None:
    stage = Stage()
    shift = Shift(stage)
    shift.step = 0.08
    hog = stage.client()
    assert hog.do("COMMAND")
    assert not hog.is_read()
    assert shift.delays == pytest.approx([0.16])
    shift.change()
    assert hog.is_read()


def test_all_who_are_held_back_share_half_of_the_time() -> None:
    stage = Stage()
    shift = Shift(stage)
    stage.house.clock_s = lambda: 100.0
    for _ in range(4):
        stage.house.hold_back(lambda: None, 0.08)
    assert shift.delays == pytest.approx([0.16, 0.32, 0.48, 0.64])
    stage.house.clock_s = lambda: 200.0
    stage.house.hold_back(lambda: None, 0.08)
    assert shift.delays[-1] == pytest.approx(0.16)


def test_a_pause_of_the_process_in_the_middle_of_a_command_is_not_made_good() -> None:
    stage = Stage()
    shift = Shift(stage)
    stage.house.clock_s = lambda: 100.0
    stage.house.hold_back(lambda: None, 3600.0)
    assert shift.delays == pytest.approx([2 * MOST_COST_S])


def test_a_request_of_many_words_waits_while_others_are_not_made_good() -> None:
    stage = Stage()
    shift = Shift(stage)
    shift.step = 0.0
    stage.house.hold_back(lambda: None, 1.0)
    shift.change()
    big, small = stage.client(), stage.client()
    assert big.say(request("DEL", *["x"] * 300) + request("PING")) == b""
    assert not big.is_read()
    big.handler.ended()
    assert small.do("PING") == PONG
    stage.house.clock_s = lambda: 10.0
    shift.change()
    assert big.transport.sent.startswith(b"-ERR unknown command 'DEL'")
    assert big.transport.sent.endswith(PONG)
    assert not big.is_open()


def test_what_took_long_the_last_time_does_not_begin_before_that_was_made_good() -> None:
    """Otherwise hundreds of clients with one such command each stand before everybody who comes after them."""
    stage = Stage()
    shift = Shift(stage)
    shift.step = 0.08
    first, second, other = stage.client(), stage.client(), stage.client()
    assert first.do("SENTINEL", "MASTERS") == b"*0\r\n"
    shift.step = 0.0
    assert second.do("SENTINEL", "MASTERS") == b""
    assert not second.is_read()
    assert other.do("PING") == PONG
    assert other.do("SENTINEL", "MYID").startswith(b"$40\r\n")
    stage.house.clock_s = lambda: 10.0
    while shift.waiting:
        shift.change()
    assert second.transport.take() == b"*0\r\n"
    assert second.is_read()


def test_what_was_quick_the_last_time_does_not_wait() -> None:
    stage = Stage()
    shift = Shift(stage)
    shift.step = 0.08
    first, second = stage.client(), stage.client()
    first.do("ROLE")
    assert stage.house.expensive == {"role"}
    shift.step = 0.0
    stage.house.clock_s = lambda: 10.0
    second.do("ROLE")
    assert not stage.house.expensive


@pytest.mark.parametrize("words", [("PING",), ("SUBSCRIBE", *("x" * number for number in range(1, 300)))])
def test_what_says_nothing_of_the_next_time_makes_no_command_expensive(words: tuple[str, ...]) -> None:
    """A busy machine lets any command take long, and many words any command that takes them."""
    stage = Stage()
    shift = Shift(stage)
    shift.step = 0.08
    assert stage.client().do(*words)
    assert not stage.house.expensive
