"""Links and the switchboard against a scripted mind and a server made of a listening socket."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterable

import attrs
import pytest
import trio

from trio_sentinel.model import effects as fx
from trio_sentinel.model import inputs
from trio_sentinel.model.observations import Observations
from trio_sentinel.model.settings import GlobalSettings, MasterSettings
from trio_sentinel.model.state import Master, Peer, SentinelState
from trio_sentinel.model.values import Address, Channel, Hello, LinkId, PeerLink, Role, RunId, ServerLink
from trio_sentinel.runtime.link import CommandConnection, PubSubConnection
from trio_sentinel.runtime.reactor import open_reactor
from trio_sentinel.runtime.switchboard import LinkEffect, Switchboard
from trio_sentinel.wire import orders

MY_ID = RunId("0123456789abcdef0123456789abcdef01234567")
OTHER = RunId("f" * 40)
INFO = b"# Server\r\nrun_id:" + b"a" * 40 + b"\r\n# Replication\r\nrole:master\r\n"


class ScriptedMind:
    """A `Mind` that writes down what it hears and reacts as told. It refuses to be interrupted."""

    def __init__(self) -> None:
        self.state = SentinelState(my_id=MY_ID)
        self.senses = Observations()
        self.version = 0
        self.heard: list[inputs.Input] = []
        self.react: Callable[[inputs.Input], Iterable[LinkEffect]] = lambda perceived: ()
        self.board: Switchboard | None = None
        self.thinking = False

    def hear(self, perceived: inputs.Input) -> None:
        assert not self.thinking, "the mind was interrupted"
        self.heard.append(perceived)
        self.do(*self.react(perceived))

    def do(self, *effects: LinkEffect) -> None:
        """Carry out what a thought came to."""
        if self.board is not None:
            self.thinking = True
            for effect in effects:
                self.board.carry_out(effect)
            self.thinking = False
            self.board.flush()

    def now_ms(self) -> int:
        return 0

    def wall_ms(self) -> int:
        return 0

    def ask(self, make: object, on_answer: object) -> None:
        raise AssertionError

    def resolve(self, host: str, on_ip: object) -> None:
        raise AssertionError


class Wire:
    """A `Transport` that remembers each write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False
        self.remote = self.local = "127.0.0.1:1"
        self.local_host = "127.0.0.1"
        self.unsent = 0

    def send(self, data: bytes) -> None:
        if data and not self.closed:
            self.writes.append(data)

    def pause(self) -> None:
        raise AssertionError

    def resume(self) -> None:
        raise AssertionError

    def close(self, *, flush: bool = True) -> None:
        self.closed = True


LINK = ServerLink("mymaster", Address("127.0.0.1", 6379))
PEER = PeerLink(OTHER)
HELLO = Hello(
    host="",
    port=26379,
    run_id=MY_ID,
    current_epoch=1,
    master="mymaster",
    master_host="127.0.0.1",
    master_port=6379,
    config_epoch=1,
)
QUESTION = fx.AskPeer(PEER, "mymaster", Address("127.0.0.1", 6379), "127.0.0.1", 4, None)


@attrs.define(eq=False)
class Bench:
    """One connection in memory, with its mind."""

    mind: ScriptedMind
    wire: Wire
    connection: CommandConnection
    lost: list[str]

    def heard(self, data: bytes) -> list[inputs.Input]:
        before = len(self.mind.heard)
        self.connection.received(data)
        return self.mind.heard[before:]


def bench(link: LinkId = LINK) -> Bench:
    mind, wire, lost = ScriptedMind(), Wire(), list[str]()
    return Bench(mind, wire, CommandConnection(link, mind, wire, lambda _, reason: lost.append(reason)), lost)


def test_replies_are_matched_in_order() -> None:
    it = bench()
    hello = fx.SayHello(LINK, HELLO)
    for order in (orders.ping(), orders.info(), orders.say_hello(hello, "x"), orders.promote(None), orders.ping()):
        it.connection.queue(order)
    stream = b"+PONG\r\n$%d\r\n%b\r\n:1\r\n" % (len(INFO), INFO)
    stream += b"+OK\r\n" + b"+QUEUED\r\n" * 4 + b"*4\r\n+OK\r\n-ERR no file\r\n:0\r\n:0\r\n"
    stream += b"-LOADING x\r\n-BUSY y\r\n"
    heard = it.heard(stream)
    assert [type(each) for each in heard] == [
        inputs.PingAnswered,
        inputs.InfoHeard,
        inputs.HelloAccepted,
        inputs.InfoHeard,
        inputs.PingAnswered,
    ]
    assert heard[0] == inputs.PingAnswered(LINK, "PONG")
    info = heard[1]
    assert isinstance(info, inputs.InfoHeard)
    assert info.text == INFO
    assert info.reading is not None
    assert (info.reading.role, info.reading.run_id) == (Role.MASTER, "a" * 40)
    assert heard[2] == inputs.HelloAccepted(LINK, "mymaster", True)
    assert heard[3] == inputs.InfoHeard(LINK, None, b"")
    assert heard[4] == inputs.PingAnswered(LINK, "BUSY y")
    assert it.connection.owed == 0


def test_a_lone_pong_takes_the_short_way_only_where_it_belongs() -> None:
    it = bench()
    it.connection.queue(orders.introduction(MY_ID, Channel.COMMAND, None, None, None))
    it.connection.queue(orders.ping())
    assert it.heard(b"+PONG\r\n") == []  # an odd answer to SETNAME
    assert it.heard(b"+PONG\r\n") == [inputs.PingAnswered(LINK, "PONG")]
    it.connection.queue(orders.info())
    it.connection.queue(orders.ping())
    assert it.heard(b"$7\r\n") == []
    assert it.heard(b"+PONG\r\n") == []  # inside the string
    assert len(it.heard(b"\r\n+PONG\r\n")) == 2


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"*3\r\n:1\r\n$1\r\n*\r\n:0\r\n", (True, None, 0)),
        (b"*3\r\n:0\r\n$40\r\n" + OTHER.encode() + b"\r\n:4\r\n", (False, OTHER, 4)),
        (b"*3\r\n:0\r\n$1\r\n*\r\n:-1\r\n", (None, None, 0)),
        (b"-ERR unknown command\r\n", (None, None, 0)),
    ],
)
def test_opinions_carry_their_question(reply: bytes, expected: tuple[bool | None, RunId | None, int]) -> None:
    it = bench(PEER)
    it.connection.queue(orders.ask(QUESTION))
    assert it.heard(reply) == [inputs.OpinionHeard(PEER, "mymaster", Address("127.0.0.1", 6379), 4, *expected)]


def test_a_refused_hello_is_told() -> None:
    it = bench()
    it.connection.queue(orders.say_hello(fx.SayHello(LINK, HELLO), ""))
    assert it.heard(b"-NOPERM no\r\n") == [inputs.HelloAccepted(LINK, "mymaster", False)]


@pytest.mark.parametrize("data", [b"HTTP/1.1\r\n", b"*99999999\r\n", b"+OK\r\n+too many\r\n"])
def test_broken_rules_lose_the_link(data: bytes) -> None:
    it = bench()
    it.connection.queue(orders.kill_script(None))
    it.heard(data)
    assert len(it.lost) == 1
    assert it.lost[0].startswith("Protocol error")
    assert it.wire.closed
    it.connection.ended()
    it.connection.lost("again")
    assert len(it.lost) == 1


def test_nothing_is_told_after_the_mind_has_closed_the_link() -> None:
    it = bench()
    for _ in range(3):
        it.connection.queue(orders.ping())

    def close(perceived: inputs.Input) -> Iterable[LinkEffect]:
        it.connection.close()
        return ()

    it.mind.react = close
    assert len(it.heard(b"+PONG\r\n" * 3)) == 1
    assert it.lost == []


def test_orders_of_one_thought_leave_in_one_write() -> None:
    it = bench()
    assert it.connection.queue(orders.ping())
    assert not it.connection.queue(orders.info())
    it.connection.flush()
    assert it.wire.writes == [orders.ping().data + orders.info().data]


def published(payload: str, channel: str = "__sentinel__:hello") -> bytes:
    return b"*3\r\n$7\r\nmessage\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
        len(channel),
        channel.encode(),
        len(payload),
        payload.encode(),
    )


def test_a_chunk_of_frames_is_one_sign_of_life_and_each_hello_is_heard() -> None:
    mind, lost = ScriptedMind(), list[str]()
    connection = PubSubConnection(LINK, mind, Wire(), lambda _, reason: lost.append(reason))
    theirs = attrs.evolve(HELLO, run_id=OTHER, host="10.0.0.7")
    mine = attrs.evolve(HELLO, host="10.0.0.8")
    stream = b"+OK\r\n*3\r\n$9\r\nsubscribe\r\n$18\r\n__sentinel__:hello\r\n:1\r\n"
    stream += published(str(theirs)) + published(str(mine)) + published("rubbish")
    stream += published(str(theirs), "elsewhere") + published(str(theirs))
    connection.received(stream[:-3])
    assert mind.heard == [inputs.PubSubHeard(LINK), inputs.HelloHeard(theirs)]
    connection.received(stream[-3:])
    assert mind.heard[2:] == [inputs.PubSubHeard(LINK), inputs.HelloHeard(theirs)]
    connection.received(b"?")
    assert lost == ["Protocol error: not a reply"]


def test_a_piece_of_a_frame_is_no_sign_of_life() -> None:
    mind = ScriptedMind()
    PubSubConnection(LINK, mind, Wire(), print).received(b"*3\r\n$7\r\nmess")
    assert mind.heard == []


def test_our_own_hello_that_comes_again_is_a_sign_of_life_and_no_more() -> None:
    mind = ScriptedMind()
    connection = PubSubConnection(LINK, mind, Wire(), print)
    mine = published(str(HELLO))
    for _ in range(3):
        connection.received(mine)
    assert mind.heard == [inputs.PubSubHeard(LINK)] * 3
    connection.received(mine[:20])
    connection.received(mine[20:] + mine[:20])
    connection.received(mine[20:])
    assert mind.heard == [inputs.PubSubHeard(LINK)] * 5


def test_a_hello_that_looks_whole_but_continues_another_frame_is_not_taken_for_our_own() -> None:
    mind = ScriptedMind()
    connection = PubSubConnection(LINK, mind, Wire(), print)
    mine = published(str(HELLO))
    connection.received(mine)
    connection.received(b"*3\r\n$7\r\nmessage\r\n$18\r\n__sentinel__:hello\r\n$%d\r\n" % len(mine))
    connection.received(mine)
    connection.received(b"\r\n")
    connection.received(b"+OK\r\n")
    assert mind.heard == [inputs.PubSubHeard(LINK)] * 3


# ---------------------------------------------------------------- the switchboard, over loopback


class FakeServer:
    """A listening socket whose connections are read by the test."""

    def __init__(self) -> None:
        self.sock = trio.socket.from_stdlib_socket(socket.create_server(("127.0.0.1", 0)))
        self.address = Address(*self.sock.getsockname()[:2])
        self.streams: list[trio.SocketStream] = []

    async def accept(self) -> trio.SocketStream:
        with trio.fail_after(5):
            near, _ = await self.sock.accept()
        self.streams.append(trio.SocketStream(near))
        return self.streams[-1]

    def close(self) -> None:
        self.sock.close()
        for stream in self.streams:
            stream.socket.close()


@attrs.define(eq=False)
class Room:
    """Everything a test of the switchboard needs."""

    mind: ScriptedMind
    board: Switchboard
    server: FakeServer

    def link(self, name: str = "mymaster") -> ServerLink:
        return ServerLink(name, self.server.address)

    def open_link(self, channel: Channel = Channel.COMMAND) -> fx.OpenLink:
        return fx.OpenLink(self.link(), self.server.address, channel)

    def know(self, name: str = "mymaster", *peers: RunId, settings: MasterSettings | None = None) -> None:
        master = Master(name=name, address=self.server.address, settings=settings or MasterSettings(quorum=2))
        for peer in peers:
            master.peers[peer] = Peer(run_id=peer, address=self.server.address)
        self.mind.state.masters[name] = master

    async def wait_heard(self, count: int) -> inputs.Input:
        with trio.fail_after(5):
            while len(self.mind.heard) < count:
                await trio.sleep(0.002)
        return self.mind.heard[count - 1]


async def in_room(test: Callable[[Room], Awaitable[None]], **options: str) -> None:
    server = FakeServer()
    try:
        async with open_reactor() as reactor:
            mind = ScriptedMind()
            mind.board = Switchboard(reactor, mind, **options)  # type: ignore[arg-type]
            room = Room(mind, mind.board, server)
            room.know()
            await test(room)
    finally:
        server.close()


async def test_the_first_orders_leave_together_with_the_introduction() -> None:
    async def test(room: Room) -> None:
        room.know(settings=MasterSettings(quorum=2, auth_user="u", auth_pass="p"))

        def probe(perceived: inputs.Input) -> Iterable[LinkEffect]:
            if isinstance(perceived, inputs.LinkOpened) and perceived.channel is Channel.COMMAND:
                return fx.SendPing(room.link()), fx.PollInfo(room.link()), fx.SayHello(room.link(), HELLO)
            return ()

        room.mind.react = probe
        with room.board.lease_master("mymaster"):
            room.mind.do(room.open_link())
            stream = await room.server.accept()
            assert await room.wait_heard(1) == inputs.LinkOpened(room.link(), Channel.COMMAND, "127.0.0.1")
            expected = (
                orders.introduction(MY_ID, Channel.COMMAND, "u", "p", None).data
                + orders.ping().data
                + orders.info().data
                + orders.say_hello(fx.SayHello(room.link(), HELLO), "127.0.0.1").data
            )
            assert await stream.receive_some(65536) == expected
            await stream.send_all(b"+OK\r\n+OK\r\n+PONG\r\n-ERR\r\n:1\r\n")
            assert await room.wait_heard(4) == inputs.HelloAccepted(room.link(), "mymaster", True)
            room.mind.do(room.open_link(Channel.PUBSUB))
            second = await room.server.accept()
            assert await room.wait_heard(5) == inputs.LinkOpened(room.link(), Channel.PUBSUB, "127.0.0.1")
            said = await second.receive_some(65536)
            assert said == orders.introduction(MY_ID, Channel.PUBSUB, "u", "p", None).data
        assert await stream.receive_some(1) == b""
        assert await second.receive_some(1) == b""
        assert room.board.open_links == 0
        assert len(room.mind.heard) == 5

    await in_room(test)


async def test_the_server_ending_the_connection_is_told_once() -> None:
    async def test(room: Room) -> None:
        with room.board.lease_master("mymaster"):
            room.mind.do(room.open_link())
            stream = await room.server.accept()
            await room.wait_heard(1)
            await stream.aclose()
            told = await room.wait_heard(2)
            assert isinstance(told, inputs.LinkLost)
            assert (told.link, told.channel) == (room.link(), Channel.COMMAND)
            room.mind.do(fx.SendPing(room.link()), fx.Promote(room.link()))  # dropped: it is not open
            room.mind.do(room.open_link())
            await room.server.accept()
            assert isinstance(await room.wait_heard(3), inputs.LinkOpened)

    await in_room(test)


@pytest.mark.parametrize("case", ["no lease", "unresolved", "port 0", "refused", "no peers' lease"])
async def test_what_cannot_be_opened_is_told_later(case: str) -> None:
    async def test(room: Room) -> None:
        order = room.open_link()
        if case == "unresolved":
            order = fx.OpenLink(order.link, Address("db.example", 6379), order.channel)
        elif case == "port 0":
            order = fx.OpenLink(order.link, Address("127.0.0.1", 0), order.channel)
        elif case == "refused":
            room.server.sock.close()
        elif case == "no peers' lease":
            order = fx.OpenLink(PEER, order.address, order.channel)
        name = "another" if case == "no lease" else "mymaster"
        with room.board.lease_master(name):
            room.mind.do(order)
            assert room.mind.heard == []
            told = await room.wait_heard(1)
        assert isinstance(told, inputs.LinkLost)
        assert (told.link, told.channel) == (order.link, order.channel)
        assert (
            told.reason
            == {
                "no lease": "nobody watches it any more",
                "no peers' lease": "nobody watches it any more",
                "unresolved": "Failed to resolve hostname",
                "port 0": "the port is 0",
                "refused": "Connection refused",
            }[case]
        )
        await trio.sleep(0.01)
        assert len(room.mind.heard) == 1

    await in_room(test)


async def test_a_resolved_name_is_dialled_by_its_address() -> None:
    async def test(room: Room) -> None:
        room.mind.state.names["db.example"] = "127.0.0.1"
        with room.board.lease_master("mymaster"):
            address = Address("db.example", room.server.address.port)
            room.mind.do(fx.OpenLink(ServerLink("mymaster", address), address, Channel.COMMAND))
            assert isinstance(await room.wait_heard(1), inputs.LinkOpened)

    await in_room(test)


async def test_a_closed_link_is_silent() -> None:
    async def test(room: Room) -> None:
        with room.board.lease_master("mymaster"):
            room.mind.do(room.open_link(), fx.CloseLink(room.link(), None, "given up while dialling"))
            room.mind.do(room.open_link(), room.open_link())  # repeated: the first is replaced
            await room.wait_heard(1)
            room.mind.do(room.open_link(Channel.PUBSUB))
            await room.wait_heard(2)
            room.mind.do(fx.CloseLink(room.link(), Channel.COMMAND, "killed"))
            assert room.board.open_links == 0
            room.mind.do(fx.CloseLink(room.link(), None, "all"), fx.CloseLink(PEER, None, "never open"))
            await trio.sleep(0.02)
            assert [type(each) for each in room.mind.heard] == [inputs.LinkOpened] * 2

    await in_room(test)


@pytest.mark.parametrize(
    ("settings", "own", "words"),
    [
        (GlobalSettings(), None, ()),
        (GlobalSettings(), "own", ("AUTH", "own")),
        (GlobalSettings(sentinel_pass="sp"), "own", ("AUTH", "sp")),
        (GlobalSettings(sentinel_user="su", sentinel_pass="sp"), None, ("AUTH", "su", "sp")),
        (GlobalSettings(sentinel_user="su"), "own", ("AUTH", "own")),
    ],
)
async def test_how_peers_are_told_who_we_are(settings: GlobalSettings, own: str | None, words: tuple[str, ...]) -> None:
    async def test(room: Room) -> None:
        room.mind.state.settings = settings
        with room.board.lease_peers("mymaster"):
            room.mind.do(fx.OpenLink(PEER, room.server.address, Channel.COMMAND))
            stream = await room.server.accept()
            await room.wait_heard(1)
            room.mind.do(QUESTION)
            said = await stream.receive_some(65536)
            auth = orders.command(*words) if words else b""
            assert said.startswith(auth + orders.introduction(MY_ID, Channel.COMMAND, None, None, None).data)

    await in_room(test, **({"own_password": own} if own else {}))


async def test_commands_are_renamed_for_servers_but_not_for_peers() -> None:
    async def test(room: Room) -> None:
        room.know(settings=MasterSettings(quorum=2, renamed_commands=(("PING", "P1"),)))
        with room.board.lease_master("mymaster"), room.board.lease_peers("mymaster"):
            room.mind.do(room.open_link())
            server = await room.server.accept()
            room.mind.do(fx.OpenLink(PEER, room.server.address, Channel.COMMAND))
            peer = await room.server.accept()
            await room.wait_heard(2)
            room.mind.do(fx.SendPing(room.link()), fx.SendPing(PEER))
            await trio.sleep(0.01)
            assert (await server.receive_some(65536)).endswith(orders.command("P1"))
            assert (await peer.receive_some(65536)).endswith(orders.command("PING"))

    await in_room(test)


async def test_a_peer_link_lives_as_long_as_some_master_leases_it() -> None:
    async def test(room: Room) -> None:
        room.know("one", OTHER)
        room.know("two", OTHER)
        with room.board.lease_peers("one"):
            with room.board.lease_peers("two"):
                room.mind.do(fx.OpenLink(PEER, room.server.address, Channel.COMMAND))
                stream = await room.server.accept()
                await room.wait_heard(1)
                await stream.receive_some(65536)
            room.mind.do(fx.SendPing(PEER))
            assert await stream.receive_some(65536) == orders.ping().data
        assert await stream.receive_some(65536) == b""
        assert len(room.mind.heard) == 1

    await in_room(test)


async def test_a_new_lease_does_not_inherit_what_the_old_one_opened() -> None:
    """REMOVE and MONITOR of one name, before the old supervisor has come to its end."""

    async def test(room: Room) -> None:
        old = room.board.lease_master("mymaster")
        old.__enter__()
        room.mind.do(room.open_link())
        first = await room.server.accept()
        await room.wait_heard(1)
        await first.receive_some(65536)
        with room.board.lease_master("mymaster"):
            assert await first.receive_some(65536) == b""
            room.mind.do(room.open_link())
            second = await room.server.accept()
            await room.wait_heard(2)
            await second.receive_some(65536)
            old.__exit__(None, None, None)
            room.mind.do(fx.SendPing(room.link()))
            assert await second.receive_some(65536) == orders.ping().data

    await in_room(test)


async def test_closing_the_switchboard_closes_everything() -> None:
    async def test(room: Room) -> None:
        with room.board.lease_master("mymaster"), room.board.lease_peers("mymaster"):
            room.mind.do(room.open_link(), fx.OpenLink(PEER, room.server.address, Channel.COMMAND))
            await room.wait_heard(2)
            assert room.board.open_links == 2
            room.board.close()
            assert room.board.open_links == 0
            room.mind.do(room.open_link())
            assert isinstance(await room.wait_heard(3), inputs.LinkLost)

    await in_room(test)


def test_every_effect_about_links_has_its_deed() -> None:
    board = Switchboard(None, ScriptedMind())  # type: ignore[arg-type]
    about_links = {effect for effect in fx.Effect.__args__ if {*effect.__struct_fields__} & {"link", "peer"}}
    assert set(board.deeds) == about_links
