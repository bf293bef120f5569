"""The board: who hears what, in which order, and what happens to who does not listen."""

from __future__ import annotations

import pytest
import trio

from trio_sentinel.model import events as e
from trio_sentinel.model.effects import Announce
from trio_sentinel.model.values import Kind, Level, Subject
from trio_sentinel.runtime.board import SUBSCRIPTION_COST, Board, Message, WatcherTooSlow
from trio_sentinel.wire.bulletins import Facts, bulletin

MASTER = Subject(
    kind=Kind.MASTER, name="m", host="127.0.0.1", port=1, master="m", master_host="127.0.0.1", master_port=1
)
TEXT = "master m 127.0.0.1 1"
DOWN = e.WentDown(subject=MASTER, address=None, run_id=None, at_ms=0)


class Ear:
    """A subscriber that remembers."""

    def __init__(self) -> None:
        self.heard: list[tuple[bytes | None, bytes, bytes]] = []

    def deliver(self, message: Message) -> None:
        self.heard.append((message.pattern, message.channel, message.payload))


class World:
    """A board and what came out of it."""

    def __init__(self) -> None:
        self.lines: list[tuple[Level, str]] = []
        self.scripts: list[tuple[str, tuple[str, ...]]] = []
        self.board = Board(
            log=lambda level, text: self.lines.append((level, text)),
            run_script=lambda path, arguments: self.scripts.append((path, arguments)),
        )

    def publish(self, event: e.Event = DOWN, script: str | None = None) -> None:
        self.board.publish(Announce(event, script))


@pytest.fixture
def world() -> World:
    return World()


def test_message_comes_before_one_pmessage_per_pattern(world: World) -> None:
    ear = Ear()
    world.board.psubscribe(ear, b"*")
    world.board.psubscribe(ear, b"[-+]sdown")
    world.board.psubscribe(ear, b"+s?lave")
    world.board.subscribe(ear, b"+sdown")
    world.board.subscribe(ear, b"-sdown")
    world.publish()
    text = TEXT.encode()
    assert ear.heard == [(None, b"+sdown", text), (b"*", b"+sdown", text), (b"[-+]sdown", b"+sdown", text)]


def test_the_log_gets_the_level_and_the_whole_line(world: World) -> None:
    world.publish()
    assert world.lines == [(Level.WARNING, f"+sdown {TEXT}")]


def test_the_script_of_the_master_hears_warnings_only(world: World) -> None:
    world.publish(script="/opt/notify.sh")
    world.publish(e.ReplicaSelected(subject=MASTER, address=None, losers=(), at_ms=0), "/n")  # type: ignore[arg-type]
    assert world.scripts == [("/opt/notify.sh", ("+sdown", TEXT)), ("/n", ("+selected-slave", TEXT))]


def test_tilt_and_lines_of_the_log_run_no_script(world: World) -> None:
    world.publish(e.TiltEntered(at_ms=0), "/opt/notify.sh")
    world.publish(e.DiskFailed(reason="No space left"), "/opt/notify.sh")
    assert world.scripts == []
    assert len(world.lines) == 2


def test_a_log_for_machines_gets_the_fields_of_the_event(world: World) -> None:
    lines: list[tuple[Level, str, Facts]] = []
    world.board.log_facts = lambda level, text, facts: lines.append((level, text, facts))
    world.publish()
    ((level, text, facts),) = lines
    assert (level, text, facts["event"], facts["fact"]) == (Level.WARNING, f"+sdown {TEXT}", "+sdown", "WentDown")
    assert (facts["master"], facts["instance"]) == ("m", "master")
    assert world.lines == []


def test_debug_and_log_lines_reach_no_subscriber(world: World) -> None:
    ear = Ear()
    world.board.psubscribe(ear, b"*")
    world.board.tell(bulletin(Level.DEBUG, "+script-child", "12"))
    world.publish(e.DiskFailed(reason="No space left"))
    assert ear.heard == []
    assert world.lines[0] == (Level.DEBUG, "+script-child 12")


def test_a_subscription_made_twice_delivers_once_and_ends_at_once(world: World) -> None:
    ear = Ear()
    for _ in range(2):
        world.board.subscribe(ear, b"+sdown")
    world.publish()
    world.board.unsubscribe(ear, b"+sdown")
    world.publish()
    assert len(ear.heard) == 1
    assert (world.board.channels, world.board.patterns, world.board.clients) == (0, 0, 0)


def test_counts_are_of_channels_patterns_and_clients(world: World) -> None:
    one, other = Ear(), Ear()
    world.board.subscribe(one, b"a")
    world.board.subscribe(other, b"a")
    world.board.psubscribe(other, b"b*")
    assert (world.board.channels, world.board.patterns, world.board.clients) == (1, 1, 2)
    assert list(world.board.held(other).channels) == [b"a"]
    assert world.board.held(other).total == 2
    world.board.leave(other)
    assert (world.board.channels, world.board.patterns, world.board.clients) == (1, 0, 1)
    world.board.leave(other)
    world.board.punsubscribe(other, b"b*")
    world.board.unsubscribe(other, b"zzz")
    world.board.punsubscribe(one, b"zzz")
    assert world.board.held(other).total == 0
    assert world.board.clients == 1


def test_who_leaves_while_being_told_hears_no_more(world: World) -> None:
    class Leaver(Ear):
        def deliver(self, message: Message) -> None:
            super().deliver(message)
            world.board.leave(self)

    leaver, stayer = Leaver(), Ear()
    for ear in (leaver, stayer):
        world.board.subscribe(ear, b"+sdown")
        world.board.psubscribe(ear, b"*")
    world.publish()
    assert len(leaver.heard) == 1
    assert len(stayer.heard) == 2
    assert world.board.clients == 1


def test_bytes_that_are_no_text_come_out_as_they_went_in(world: World) -> None:
    ear = Ear()
    world.board.subscribe(ear, b"+set")
    world.board.tell(bulletin(Level.WARNING, "+set", b"\xff\xfe".decode("utf-8", "surrogateescape")))
    assert ear.heard == [(None, b"+set", b"\xff\xfe")]


def test_frames_are_arrays_for_resp2_and_pushes_for_resp3() -> None:
    assert Message(None, b"+sdown", b"x")[2] == b"*3\r\n$7\r\nmessage\r\n$6\r\n+sdown\r\n$1\r\nx\r\n"
    assert Message(b"*", b"+sdown", b"x")[3] == b">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$6\r\n+sdown\r\n$1\r\nx\r\n"


def test_five_thousand_subscribers_share_one_frame(world: World) -> None:
    frames: set[int] = set()

    class Client(Ear):
        def deliver(self, message: Message) -> None:
            frames.add(id(message[2]))

    for _ in range(5000):
        world.board.subscribe(Client(), b"+sdown")
    world.publish()
    assert len(frames) == 1


async def test_a_watcher_reads_typed_events_until_the_board_closes(world: World) -> None:
    other = e.TiltEntered(at_ms=1)
    async with world.board.watch() as events:
        world.publish()
        world.publish(other)
        world.board.close()
        assert [event async for event in events] == [DOWN, other]
    async with world.board.watch() as events:
        assert [event async for event in events] == []


async def test_a_slow_watcher_reads_its_buffer_and_then_learns_that_it_was_too_slow(world: World) -> None:
    seen: list[e.Event] = []
    async with world.board.watch(buffer=3) as events, world.board.watch() as patient:
        for _ in range(5):
            world.publish()
        with pytest.raises(WatcherTooSlow):
            async for event in events:
                seen.append(event)  # noqa: PERF401 - it must keep what came before the end
        assert len(seen) == 3
        with trio.move_on_after(0):
            for _ in range(5):
                assert await anext(patient) == DOWN


async def test_who_stops_watching_costs_nothing(world: World) -> None:
    async with world.board.watch(buffer=1):
        pass
    world.publish()
    world.publish()
    assert not world.board._watches


def test_what_subscriptions_take_is_known_and_given_back() -> None:
    board = World().board
    one, other = Ear(), Ear()
    for subscriber in (one, other):
        board.subscribe(subscriber, b"channel")
        board.psubscribe(subscriber, b"+*")
        board.psubscribe(subscriber, b"+*")
    assert board.held(one).size == len(b"channel") + len(b"+*") + 2 * SUBSCRIPTION_COST
    board.unsubscribe(one, b"channel")
    assert board.held(one).size == len(b"+*") + SUBSCRIPTION_COST
    board.punsubscribe(one, b"+*")
    board.leave(other)
    assert board.held(one).size == board.held(other).size == 0
    assert not board._globs
