"""Orders are sent in exactly stock's words (core.md 2.2 and 14), with one expectation per command."""

from __future__ import annotations

from typing import Any

import hiredis
import pytest
from attrs import evolve

from trio_sentinel.model.effects import AskPeer, HandOver, PauseWriters, ReleaseWriters, Repoint, SayHello
from trio_sentinel.model.settings import MasterSettings
from trio_sentinel.model.values import Address, Channel, Hello, PeerLink, RunId, ServerLink
from trio_sentinel.wire import orders, readings
from trio_sentinel.wire.orders import Awaited, Order

MY_ID = RunId("0123456789abcdef0123456789abcdef01234567")
LINK = ServerLink("mymaster", Address("10.0.0.1", 6379))
KILLS = ["CLIENT KILL TYPE normal", "CLIENT KILL TYPE pubsub"]
RENAMES = MasterSettings(
    quorum=2,
    renamed_commands=(("slaveof", "SO"), ("PING", "P1"), ("Publish", "PB"), ("CONFIG", "CF"), ("auth", "AU")),
)


def lines(order: Order) -> list[str]:
    """The commands of `order`, words joined by blanks."""
    reader = hiredis.Reader()
    reader.feed(order.data)
    found = []
    while (words := reader.gets()) is not False:
        found.append(" ".join(word.decode("utf-8", "surrogateescape") for word in words))
    assert not reader.has_data()
    return found


def hello(**changes: Any) -> Hello:
    usual = Hello(
        host="10.0.0.9",
        port=26379,
        run_id=MY_ID,
        current_epoch=7,
        master="mymaster",
        master_host="10.0.0.1",
        master_port=6379,
        config_epoch=5,
    )
    return evolve(usual, **changes)


@pytest.mark.parametrize(
    ("user", "password", "channel", "expected"),
    [
        (None, None, Channel.COMMAND, ["CLIENT SETNAME sentinel-01234567-cmd"]),
        (None, "s3c", Channel.COMMAND, ["AUTH s3c", "CLIENT SETNAME sentinel-01234567-cmd"]),
        (
            "bob",
            "s3c",
            Channel.PUBSUB,
            ["AUTH bob s3c", "CLIENT SETNAME sentinel-01234567-pubsub", "SUBSCRIBE __sentinel__:hello"],
        ),
        ("bob", None, Channel.COMMAND, ["CLIENT SETNAME sentinel-01234567-cmd"]),
    ],
)
def test_the_first_words_on_a_connection(
    user: str | None, password: str | None, channel: Channel, expected: list[str]
) -> None:
    order = orders.introduction(MY_ID, channel, user, password, None)
    assert lines(order) == expected
    assert order.expected == (Awaited.NOTHING,) * len(expected)


def test_probes() -> None:
    assert lines(orders.ping()) == ["PING"]
    assert orders.ping().expected == (Awaited.PONG,)
    assert lines(orders.info()) == ["INFO"]
    assert orders.info().expected == (Awaited.INFO,)
    assert lines(orders.kill_script(None)) == ["SCRIPT KILL"]


def test_the_promote_transaction_has_info_right_behind_it() -> None:
    order = orders.promote(None)
    assert lines(order) == ["MULTI", "SLAVEOF NO ONE", "CONFIG REWRITE", *KILLS, "EXEC", "INFO"]
    assert order.expected == (Awaited.NOTHING,) * 6 + (Awaited.INFO,)


@pytest.mark.parametrize("abort", [False, True])
def test_the_reconfigure_transaction(abort: bool) -> None:
    order = orders.repoint(Repoint(LINK, "10.0.0.2", 6380, abort), None)
    middle = ["SLAVEOF 10.0.0.2 6380", "CONFIG REWRITE", *KILLS, "EXEC", "INFO"]
    assert lines(order) == ["MULTI", *(["FAILOVER ABORT"] if abort else []), *middle]
    assert len(order.expected) == len(lines(order))
    assert order.expected[-1] is Awaited.INFO


def test_writers_are_paused_with_info_right_behind_and_let_go_again() -> None:
    order = orders.pause_writers(PauseWriters(LINK, 6000), None)
    assert lines(order) == ["CLIENT PAUSE 6000 WRITE", "INFO"]
    assert order.expected == (Awaited.PAUSE, Awaited.INFO)
    assert lines(orders.release_writers(ReleaseWriters(LINK, call_off=False), None)) == ["CLIENT UNPAUSE"]
    called_off = orders.release_writers(ReleaseWriters(LINK, call_off=True), None)
    assert lines(called_off) == ["FAILOVER ABORT", "CLIENT UNPAUSE"]
    assert called_off.expected == (Awaited.NOTHING,) * 2


def test_the_handover_to_a_replica_that_has_everything_waits_for_nobody() -> None:
    order = orders.hand_over(HandOver(LINK, "10.0.0.2", 6380, 59_000, at_once=True), None)
    assert lines(order) == [
        "MULTI",
        "CLIENT PAUSE 59000 WRITE",
        "FAILOVER TO 10.0.0.2 6380 FORCE TIMEOUT 10",
        "EXEC",
    ]


def test_the_handover_and_what_follows_it() -> None:
    order = orders.hand_over(HandOver(LINK, "10.0.0.2", 6380, 59_000, at_once=False), None)
    assert lines(order) == [
        "MULTI",
        "CLIENT PAUSE 59000 WRITE",
        "FAILOVER TO 10.0.0.2 6380 TIMEOUT 59000",
        "EXEC",
    ]
    after = orders.kill_clients(None)
    assert lines(after) == ["MULTI", "CONFIG REWRITE", *KILLS, "CLIENT UNPAUSE", "EXEC"]
    assert set(order.expected) == set(after.expected) == {Awaited.NOTHING}
    assert (len(order.expected), len(after.expected)) == (4, 6)


def test_renamed_commands_go_to_servers_under_their_new_names() -> None:
    renamed = RENAMES.renamed
    assert lines(orders.ping(renamed)) == ["P1"]
    assert lines(orders.promote(renamed))[1:3] == ["SO NO ONE", "CF REWRITE"]
    assert lines(orders.introduction(MY_ID, Channel.COMMAND, None, "x", renamed))[0] == "AU x"
    order = orders.say_hello(SayHello(LINK, hello()), "10.0.0.9", renamed)
    assert lines(order)[0].startswith("PB __sentinel__:hello ")


@pytest.mark.parametrize(("candidate", "last"), [(None, "*"), (MY_ID, MY_ID)])
def test_questions_to_peers(candidate: RunId | None, last: str) -> None:
    effect = AskPeer(PeerLink(RunId("p")), "mymaster", Address("db.example", 6379), "10.0.0.1", 12, candidate)
    order = orders.ask(effect)
    assert lines(order) == [f"SENTINEL is-master-down-by-addr 10.0.0.1 6379 12 {last}"]
    assert order.expected == (effect,)


def test_a_hello_without_a_host_is_said_with_the_address_of_the_link() -> None:
    effect = SayHello(LINK, hello(host=""))
    order = orders.say_hello(effect, "192.168.3.4")
    assert lines(order) == [f"PUBLISH __sentinel__:hello {hello(host='192.168.3.4')}"]
    assert order.expected == (effect,)
    assert lines(orders.say_hello(SayHello(LINK, hello()), "192.168.3.4"))[0].endswith(str(hello()))


def test_our_hello_is_what_a_sentinel_reads() -> None:
    for said in (hello(), hello(master="caf\xe9"), hello(master="raw\udcff"), hello(current_epoch=2**63 - 1)):
        order = orders.say_hello(SayHello(LINK, said), "")
        payload = lines(order)[0].split(" ", 2)[2].encode("utf-8", "surrogateescape")
        assert readings.hello(payload) == said


def test_an_endless_hello_is_cut_where_stock_cuts() -> None:
    order = orders.say_hello(SayHello(LINK, hello(master="m" * 2000)), "")
    assert len(lines(order)[0].split(" ", 2)[2]) == 1069
