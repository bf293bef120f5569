"""The reactor over real loopback sockets: turns, back-pressure, half-closing, trouble, and a clean end."""

from __future__ import annotations

import gc
import os
import resource
import socket
import struct
from collections.abc import Callable, Iterator

import attrs
import pytest
import trio
import trio.testing

from trio_sentinel.ports import Transport
from trio_sentinel.runtime.poller import EpollPoller, Poller, SelectorPoller, make_poller
from trio_sentinel.runtime.reactor import DIALS_AT_ONCE, TURN_S, Reactor, open_reactor
from trio_sentinel.runtime.transport import HIGH_WATER


@attrs.define(eq=False)
class Echo:
    """A handler that answers with what it hears and remembers everything."""

    transport: Transport
    heard: bytearray = attrs.Factory(bytearray)
    words: list[str] = attrs.Factory(list)
    on_data: Callable[[Echo, bytes], None] | None = None

    def received(self, data: bytes) -> None:
        self.heard += data
        if self.on_data is not None:
            self.on_data(self, data)
        else:
            self.transport.send(data)

    def ended(self) -> None:
        self.words.append("ended")
        self.transport.close()

    def drained(self) -> None:
        self.words.append("drained")

    def lost(self, reason: str) -> None:
        self.words.append(f"lost {reason}")


class House:
    """A listener on a free port whose handlers are kept."""

    def __init__(self, reactor: Reactor, on_data: Callable[[Echo, bytes], None] | None = None) -> None:
        sock = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.address: tuple[str, int] = sock.getsockname()
        self.handlers: list[Echo] = []
        self.troubles: list[str] = []
        self._on_data = on_data
        self.listening = reactor.listen(sock, self._welcome, on_trouble=self.troubles.append)

    def _welcome(self, transport: Transport) -> Echo:
        self.handlers.append(Echo(transport, on_data=self._on_data))
        return self.handlers[-1]

    async def visit(self) -> trio.SocketStream:
        guest = socket.create_connection(self.address)
        _guests.append(guest)
        return trio.SocketStream(trio.socket.from_stdlib_socket(guest))


_guests: list[socket.socket] = []


@pytest.fixture(autouse=True)
def guests_go_home() -> Iterator[None]:
    yield
    while _guests:
        _guests.pop().close()


async def wait_until(true: Callable[[], bool]) -> None:
    with trio.fail_after(5):
        while not true():
            await trio.sleep(0.002)


async def read_exactly(stream: trio.SocketStream, size: int) -> bytes:
    data = bytearray()
    with trio.fail_after(10):
        while len(data) < size:
            more = await stream.receive_some(65536)
            assert more, f"end after {len(data)} of {size} bytes"
            data += more
    return bytes(data)


@pytest.fixture(params=[EpollPoller, SelectorPoller])
def poller(request: pytest.FixtureRequest) -> Poller:
    if request.param is EpollPoller and not hasattr(__import__("select"), "epoll"):
        pytest.skip("no epoll here")
    poller: Poller = request.param()
    return poller


def test_a_system_without_epoll_gets_the_other_poller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("select.epoll", raising=False)
    made = make_poller()
    assert isinstance(made, SelectorPoller)
    made.close()


async def test_every_client_gets_its_answer(poller: Poller) -> None:
    async with open_reactor(poller=poller) as reactor:
        house = House(reactor)
        streams = [await house.visit() for _ in range(150)]
        for number, stream in enumerate(streams):
            await stream.send_all(b"%d;" % number)
        for number, stream in enumerate(streams):
            assert await read_exactly(stream, len(b"%d;" % number)) == b"%d;" % number
        assert reactor.connections == 150
        assert reactor.bytes_received == reactor.bytes_sent == sum(len(b"%d;" % n) for n in range(150))
        for stream in streams:
            await stream.aclose()
        await wait_until(lambda: reactor.connections == 0)
        assert {word for handler in house.handlers for word in handler.words} == {"ended"}


async def test_addresses_are_told_as_text() -> None:
    async with open_reactor() as reactor:
        house = House(reactor)
        stream = await house.visit()
        await wait_until(lambda: bool(house.handlers))
        transport = house.handlers[0].transport
        assert transport.local == f"127.0.0.1:{house.address[1]}"
        assert transport.local_host == "127.0.0.1"
        assert transport.remote == f"127.0.0.1:{stream.socket.getsockname()[1]}"


async def test_unix_clients_are_known_by_the_path_of_the_listener(tmp_path: object) -> None:
    path = f"{tmp_path}/s"
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen()
    met: list[Echo] = []

    def welcome(transport: Transport) -> Echo:
        met.append(Echo(transport))
        return met[-1]

    async with open_reactor() as reactor:
        reactor.listen(sock, welcome)
        stream = await trio.open_unix_socket(path)
        await stream.send_all(b"hi")
        assert await read_exactly(stream, 2) == b"hi"
        assert (met[0].transport.remote, met[0].transport.local_host) == (f"{path}:0", "")
        await stream.aclose()


async def test_who_does_not_read_is_not_read(poller: Poller) -> None:
    """Unsent replies stop at the high water mark; all of them arrive once the client reads."""
    async with open_reactor(poller=poller) as reactor:
        house = House(reactor)
        hog = await house.visit()
        total = 24 * 1024 * 1024
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hog.send_all, b"x" * total)
            await wait_until(lambda: bool(house.handlers) and house.handlers[0].transport.unsent > HIGH_WATER)
            await trio.sleep(0.05)
            heard = len(house.handlers[0].heard)
            assert house.handlers[0].transport.unsent <= HIGH_WATER + 16 * 1024
            other = await house.visit()
            await other.send_all(b"me too")
            assert await read_exactly(other, 6) == b"me too"
            assert len(house.handlers[0].heard) == heard
            assert len(await read_exactly(hog, total)) == total
        assert house.handlers[0].words.count("drained") >= 1
        assert house.handlers[0].transport.unsent == 0


async def test_a_turn_reads_a_connection_once() -> None:
    """A client that pipelines without end costs its neighbours one chunk per turn, not its whole backlog."""
    order: list[int] = []

    def note(handler: Echo, data: bytes) -> None:
        order.append(id(handler))

    reactor = Reactor()
    try:
        house = House(reactor, note)
        greedy, modest = await house.visit(), await house.visit()
        await trio.testing.wait_all_tasks_blocked()
        reactor.turn()
        for _ in range(8):
            await greedy.send_all(b"x" * 16384)
        await modest.send_all(b"x")
        await trio.sleep(0.02)
        reactor.turn()
        assert len(order) == 2
        assert len(set(order)) == 2
    finally:
        reactor.close_all()


async def test_half_closing_clients_still_get_their_replies() -> None:
    async with open_reactor() as reactor:
        house = House(reactor)
        stream = await house.visit()
        await stream.send_all(b"last words")
        await stream.send_eof()
        assert await read_exactly(stream, 10) == b"last words"
        assert await stream.receive_some(1) == b""


async def test_closing_sends_what_is_unsent_first() -> None:
    size = 3 * 1024 * 1024

    def answer_and_close(handler: Echo, data: bytes) -> None:
        handler.transport.send(b"y" * size)
        handler.transport.close()
        handler.transport.send(b"never")

    async with open_reactor() as reactor:
        house = House(reactor, answer_and_close)
        stream = await house.visit()
        await stream.send_all(b"?")
        await wait_until(lambda: bool(house.handlers and house.handlers[0].heard))
        assert await read_exactly(stream, size) == b"y" * size
        assert await stream.receive_some(1) == b""
        await wait_until(lambda: reactor.connections == 0)
        assert house.handlers[0].words == []


async def test_a_closed_connection_does_not_linger_for_a_client_that_never_reads(
    autojump_clock: trio.testing.MockClock,
) -> None:
    reactor = Reactor()
    house = House(reactor, lambda handler, data: handler.transport.send(b"z" * 30_000_000))
    client = socket.create_connection(house.address)
    client.send(b"?")
    async with trio.open_nursery() as nursery:
        reactor.turn()
        while not (house.handlers and house.handlers[0].heard):
            reactor.turn()
        house.handlers[0].transport.close()
        assert reactor.connections == 1
        nursery.start_soon(reactor.run)
        await trio.sleep(11)
        assert reactor.connections == 0
        nursery.cancel_scope.cancel()
    client.close()


async def test_a_reset_is_told_once_and_hurts_nobody_else() -> None:
    async with open_reactor() as reactor:
        house = House(reactor)
        rude, kind = await house.visit(), await house.visit()
        await rude.send_all(b"a")
        assert await read_exactly(rude, 1) == b"a"
        rude.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        rude.socket.close()
        await wait_until(lambda: reactor.connections == 1)
        await kind.send_all(b"b")
        assert await read_exactly(kind, 1) == b"b"
        words = [handler.words for handler in house.handlers if handler.words]
        assert words == [["lost Connection reset by peer"]]


async def test_a_reset_is_noticed_while_reading_is_paused(poller: Poller) -> None:
    """Otherwise the trouble, which epoll reports unasked, would keep the loop spinning."""
    if isinstance(poller, SelectorPoller):
        pytest.skip("a selector without interest reports nothing, and does not spin")
    async with open_reactor(poller=poller) as reactor:
        house = House(reactor, lambda handler, data: handler.transport.pause())
        stream = await house.visit()
        await stream.send_all(b"a")
        await wait_until(lambda: bool(house.handlers and house.handlers[0].heard))
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.socket.close()
        await wait_until(lambda: reactor.connections == 0)
        assert house.handlers[0].words == ["lost Connection reset by peer"]


async def test_resuming_reads_on() -> None:
    async with open_reactor() as reactor:
        house = House(reactor, lambda handler, data: handler.transport.pause())
        stream = await house.visit()
        await stream.send_all(b"a")
        await wait_until(lambda: bool(house.handlers and house.handlers[0].heard))
        await stream.send_all(b"b")
        await trio.sleep(0.02)
        assert house.handlers[0].heard == b"a"
        house.handlers[0].transport.resume()
        await wait_until(lambda: house.handlers[0].heard == b"ab")


async def test_a_failing_send_is_told_later_not_from_inside_send() -> None:
    """A loop over subscribers must not see its list change under it."""
    async with open_reactor() as reactor:
        house = House(reactor, lambda handler, data: handler.transport.pause())
        stream = await house.visit()
        await stream.send_all(b"a")
        await wait_until(lambda: bool(house.handlers and house.handlers[0].heard))
        handler = house.handlers[0]
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.socket.close()
        handler.transport.send(b"1")
        handler.transport.send(b"2")
        assert handler.words == []
        await wait_until(lambda: len(handler.words) == 1)
        assert handler.words[0].startswith("lost ")


async def test_sending_while_the_reactor_sleeps_needs_no_turn() -> None:
    async with open_reactor() as reactor:
        house = House(reactor)
        stream = await house.visit()
        await wait_until(lambda: bool(house.handlers))
        await trio.testing.wait_all_tasks_blocked()
        house.handlers[0].transport.send(b"news")
        assert await read_exactly(stream, 4) == b"news"


async def test_deferred_deeds_run_at_the_end_of_the_turn_and_wake_a_sleeping_reactor() -> None:
    story: list[str] = []

    def tell(handler: Echo, data: bytes) -> None:
        reactor.defer(first)
        story.append("heard")

    def first() -> None:
        story.append("first")
        reactor.defer(lambda: story.append("second"))

    async with open_reactor() as reactor:
        house = House(reactor, tell)
        stream = await house.visit()
        await stream.send_all(b"a")
        await wait_until(lambda: len(story) == 3)
        assert story == ["heard", "first", "second"]
        await trio.testing.wait_all_tasks_blocked()
        reactor.defer(lambda: story.append("woken"))
        assert story[-1] == "second"
        await wait_until(lambda: story[-1] == "woken")


async def test_a_reused_descriptor_does_not_inherit_an_event() -> None:
    """One handler closes its neighbour and a new connection gets that number while the neighbour's event waits."""
    reactor = Reactor()
    fresh: list[socket.socket] = []
    try:

        def swap(handler: Echo, data: bytes) -> None:
            for other in house.handlers:
                if other is not handler:
                    number = other.transport.fd  # type: ignore[attr-defined]
                    other.transport.close(flush=False)
                    near, far = socket.socketpair()
                    near.setblocking(False)
                    fresh.extend([near, far])
                    if near.fileno() == number:
                        reactor.adopt(near, "", lambda transport: Echo(transport, on_data=crash), None)

        def crash(handler: Echo, data: bytes) -> None:
            raise AssertionError("an event of the dead")

        house = House(reactor, swap)
        one, two = socket.create_connection(house.address), socket.create_connection(house.address)
        reactor.turn()
        one.send(b"a")
        two.send(b"b")
        reactor.turn()
        assert fresh, "no handler ran"
        assert sorted(len(handler.heard) for handler in house.handlers) == [0, 1]
    finally:
        reactor.close_all()
        for sock in [*fresh, one, two]:
            sock.close()


async def test_accepting_is_bounded_per_turn() -> None:
    reactor = Reactor()
    try:
        house = House(reactor)
        clients = [socket.create_connection(house.address) for _ in range(100)]
        reactor.turn()
        assert len(house.handlers) == 64
        reactor.turn()
        assert len(house.handlers) == 100
    finally:
        reactor.close_all()
        for client in clients:
            client.close()


async def test_without_descriptors_clients_are_turned_away_and_nothing_spins() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with open_reactor() as reactor:
        house = House(reactor)
        clients = [socket.socket() for _ in range(3)]
        hoard: list[int] = []
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, before[1]))
            with pytest.raises(OSError, match="Too many open files"):
                while True:
                    hoard.append(os.open(os.devnull, os.O_RDONLY))
            for client in clients:
                client.connect(house.address)
            await wait_until(lambda: bool(house.troubles))
            turns = 0
            original = reactor.turn

            def counted() -> None:
                nonlocal turns
                turns += 1
                original()

            reactor.turn = counted  # type: ignore[method-assign]
            await trio.sleep(0.1)
            assert turns < 10
            assert house.troubles[0] == "Too many open files"
            for client in clients:
                client.settimeout(5)
                assert client.recv(1) == b""
        finally:
            for fd in hoard:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            for client in clients:
                client.close()
        stream = await house.visit()
        await stream.send_all(b"again")
        assert await read_exactly(stream, 5) == b"again"


async def test_without_even_the_spare_descriptor_the_listener_rests_and_comes_back() -> None:
    async with open_reactor() as reactor:
        house = House(reactor)
        listening = house.listening
        assert listening._spare is not None
        listening._spare.close()
        listening._spare = None
        listening.paused = True
        reactor.interest(listening, 0)
        reactor.limit(listening._unpause, 0.05)
        stream = await house.visit()
        await stream.send_all(b"hello")
        assert await read_exactly(stream, 5) == b"hello"
        assert listening._spare is not None


async def test_the_end_of_the_reactor_closes_everything() -> None:
    gc.collect()  # what earlier tests left open is not closed in the middle of this one
    fds = len(os.listdir("/proc/self/fd"))
    async with open_reactor() as reactor:
        house = House(reactor)
        streams = [await house.visit() for _ in range(20)]
        await wait_until(lambda: len(house.handlers) == 20)
    for stream in streams:
        assert await stream.receive_some(1) == b""
        await stream.aclose()
    with pytest.raises(OSError):
        await house.visit()
    assert [handler.words for handler in house.handlers] == [[]] * 20
    assert len(os.listdir("/proc/self/fd")) == fds


async def test_closing_a_listener_keeps_its_connections() -> None:
    async with open_reactor() as reactor:
        house = House(reactor)
        stream = await house.visit()
        await wait_until(lambda: bool(house.handlers))
        house.listening.close()
        with pytest.raises(OSError):
            await house.visit()
        await stream.send_all(b"still")
        assert await read_exactly(stream, 5) == b"still"


# ---------------------------------------------------------------- dialing


class Calls:
    """Where a dialing tells its end."""

    def __init__(self) -> None:
        self.handlers: list[Echo] = []
        self.failures: list[str] = []

    def made(self, transport: Transport) -> Echo:
        self.handlers.append(Echo(transport, on_data=lambda handler, data: None))
        return self.handlers[-1]

    @property
    def told(self) -> bool:
        return bool(self.handlers or self.failures)


async def test_dialing_connects_and_talks(poller: Poller) -> None:
    async with open_reactor(poller=poller) as reactor:
        house, calls = House(reactor), Calls()
        dialing = reactor.dial(house.address, calls.made, on_failed=calls.failures.append)
        assert not calls.told
        await wait_until(lambda: calls.told)
        calls.handlers[0].transport.send(b"ping")
        await wait_until(lambda: calls.handlers[0].heard == b"ping")
        assert calls.handlers[0].transport.local_host == "127.0.0.1"
        dialing.close()
        calls.handlers[0].transport.send(b"pong")
        await wait_until(lambda: calls.handlers[0].heard == b"pingpong")


@pytest.mark.parametrize(
    ("host", "source", "reason"),
    [
        ("127.0.0.1", None, "Connection refused"),
        ("127.0.0.1", "203.0.113.77", "Can't bind socket: Cannot assign requested address"),
        ("not numeric", None, None),
    ],
)
async def test_a_dialing_that_fails_says_why_later(host: str, source: str | None, reason: str | None) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        async with open_reactor() as reactor:
            calls = Calls()
            reactor.dial((host, port), calls.made, on_failed=calls.failures.append, source_address=source)
            assert not calls.told
            await wait_until(lambda: calls.told)
            assert len(calls.failures) == 1
            assert reason in (None, calls.failures[0])


async def test_a_zone_that_is_unknown_is_looked_up_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Left to `connect`, ``fe80::1%zone`` would go to the resolver, which may take seconds."""
    asked: list[int] = []

    def numeric_only(host: str, port: int, *, flags: int, **_: object) -> list[object]:
        asked.append(flags)
        raise socket.gaierror(socket.EAI_NONAME, "no such zone")

    monkeypatch.setattr(socket, "getaddrinfo", numeric_only)
    async with open_reactor() as reactor:
        calls = Calls()
        reactor.dial(("fe80::1%no-such-zone", 6379), calls.made, on_failed=calls.failures.append)
        await wait_until(lambda: calls.told)
        assert (asked, calls.failures) == ([socket.AI_NUMERICHOST], ["no such zone"])


async def test_a_source_address_is_used() -> None:
    async with open_reactor() as reactor:
        house, calls = House(reactor), Calls()
        reactor.dial(house.address, calls.made, on_failed=calls.failures.append, source_address="127.0.0.9")
        await wait_until(lambda: calls.told)
        assert calls.handlers[0].transport.local_host == "127.0.0.9"


async def test_a_dialing_that_is_given_up_says_nothing() -> None:
    async with open_reactor() as reactor:
        house, calls = House(reactor), Calls()
        reactor.dial(house.address, calls.made, on_failed=calls.failures.append).close()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            reactor.dial(free.getsockname(), calls.made, on_failed=calls.failures.append).close()
        await trio.sleep(0.05)
        assert not calls.told


async def test_thousands_of_dialings_do_not_begin_in_one_breath() -> None:
    async with open_reactor() as reactor:
        house, calls = House(reactor), Calls()
        dialings = [reactor.dial(house.address, calls.made, on_failed=calls.failures.append) for _ in range(200)]
        begun = [dialing.fd >= 0 for dialing in dialings]
        assert begun == [True] * DIALS_AT_ONCE + [False] * (200 - DIALS_AT_ONCE)
        dialings[-1].close()
        await wait_until(lambda: len(calls.handlers) == 199)
        await trio.sleep(0.05)
        assert len(calls.handlers) == 199, "who was given up while it waited is not dialled"
        assert not calls.failures


async def test_a_connection_to_oneself_counts_as_refused() -> None:
    """The system may draw the dialled port for our own end; that connects, although nobody listens there."""
    async with open_reactor() as reactor:
        calls = Calls()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = probe.getsockname()
        dialing = reactor.dial(address, calls.made, on_failed=calls.failures.append)
        dialing.close()
        sock = socket.socket()
        sock.bind(address)
        sock.setblocking(False)
        sock.connect_ex(address)
        again = reactor.dial(address, calls.made, on_failed=calls.failures.append)
        again.close()
        again.closed = False
        again._make_handler, again._on_failed = calls.made, calls.failures.append
        again._sock = sock
        reactor.interest(again, 4)
        await wait_until(lambda: calls.told)
        assert calls.failures == ["Connection refused"]


async def test_a_gap_gathers_work_and_loses_none() -> None:
    async with open_reactor(gap_s=lambda: 0.01) as reactor:
        house = House(reactor)
        stream = await house.visit()
        for _ in range(5):
            await stream.send_all(b"tick")
            assert await read_exactly(stream, 4) == b"tick"


# ---------------------------------------------------------------- fairness


async def test_a_turn_ends_when_its_time_is_over_and_the_next_one_goes_on() -> None:
    """Whoever was ready is served exactly once a round, and other tasks come in between."""
    clock = iter(range(10**9))
    served: list[object] = []

    def note(echo: Echo, data: bytes) -> None:
        served.append(echo)
        echo.transport.send(data)

    reactor = Reactor(stopwatch_s=lambda: next(clock) * TURN_S * 0.4)
    house = House(reactor, note)
    streams = [await house.visit() for _ in range(20)]
    while len(house.handlers) < 20:
        reactor.turn()
    for stream in streams:
        await stream.send_all(b"x" * 20_000)  # more than one read
    turns = 0
    while len(served) < 40:
        before = len(served)
        reactor.turn()
        turns += 1
        assert len(served) - before <= 3, "one turn served too many"
    assert turns >= 13
    assert len(set(served[:20])) == len(set(served[20:])) == 20, "somebody was served twice before everybody once"
    reactor.close_all()


async def test_what_is_for_later_comes_after_everybody_who_is_ready() -> None:
    reactor = Reactor(stopwatch_s=lambda: 0.0)
    order: list[str] = []

    def note(echo: Echo, data: bytes) -> None:
        order.append(data.decode())
        if len(order) < 5:
            reactor.later(lambda: note(echo, b"more"))

    house = House(reactor, note)
    hog, other = await house.visit(), await house.visit()
    while len(house.handlers) < 2:
        reactor.turn()
    await hog.send_all(b"hog")
    reactor.turn()
    await other.send_all(b"other")
    while len(order) < 5:
        reactor.turn()
    assert order == ["hog", "more", "other", "more", "more"]
    reactor.close_all()


async def test_work_for_later_wakes_a_reactor_that_waits() -> None:
    async with open_reactor() as reactor:
        await trio.testing.wait_all_tasks_blocked()
        done = trio.Event()
        reactor.later(done.set)
        with trio.fail_after(10):
            await done.wait()
