"""TLS over the reactor and over memory: handshakes, refusals, goodbyes, pauses, large replies."""

from __future__ import annotations

import socket
import ssl
import weakref
from collections.abc import Callable

import attrs
import pytest
import trio
import trio.testing
import trustme

from trio_sentinel.ports import Transport
from trio_sentinel.runtime.reactor import Reactor, open_reactor
from trio_sentinel.runtime.transport import TlsTransport


@attrs.define(eq=False)
class Party:
    """One side of a conversation."""

    transport: Transport
    heard: bytearray = attrs.Factory(bytearray)
    words: list[str] = attrs.Factory(list)
    answer: Callable[[bytes], bytes] = lambda data: b""
    pauses: bool = False

    def received(self, data: bytes) -> None:
        self.heard += data
        if self.pauses:
            self.transport.pause()
        reply = self.answer(data)
        if reply:
            self.transport.send(reply)

    def ended(self) -> None:
        self.words.append("ended")

    def drained(self) -> None:
        self.words.append("drained")

    def lost(self, reason: str) -> None:
        self.words.append(f"lost {reason}")


@attrs.frozen
class Papers:
    """An authority, a context for a server that wants certificates, and one for a client that has one."""

    authority: trustme.CA
    server: ssl.SSLContext
    client: ssl.SSLContext


@pytest.fixture(scope="module")
def papers() -> Papers:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    authority.configure_trust(client)
    authority.issue_cert("client.example").configure_cert(client)
    return Papers(authority, server, client)


async def wait_until(true: Callable[[], bool]) -> None:
    with trio.fail_after(5):
        while not true():
            await trio.sleep(0.002)


class Meeting:
    """A TLS listener and a dialled connection to it."""

    def __init__(self, reactor: Reactor, papers: Papers, *, client: ssl.SSLContext | None = None) -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = sock.getsockname()
        self.hosts: list[Party] = []
        self.guests: list[Party] = []
        self.failures: list[str] = []
        reactor.listen(sock, self._host, papers.server)
        self.dialing = reactor.dial(
            self.address, self._guest, on_failed=self.failures.append, tls=papers.client if client is None else client
        )

    def _host(self, transport: Transport) -> Party:
        self.hosts.append(Party(transport))
        return self.hosts[-1]

    def _guest(self, transport: Transport) -> Party:
        self.guests.append(Party(transport))
        return self.guests[-1]

    async def met(self) -> tuple[Party, Party]:
        await wait_until(lambda: bool(self.hosts and self.guests))
        return self.hosts[0], self.guests[0]


async def test_both_sides_talk_and_say_goodbye(papers: Papers) -> None:
    async with open_reactor() as reactor:
        meeting = Meeting(reactor, papers)
        host, guest = await meeting.met()
        guest.transport.send(b"PING\r\n")
        await wait_until(lambda: host.heard == b"PING\r\n")
        host.transport.send(b"+PONG\r\n")
        await wait_until(lambda: guest.heard == b"+PONG\r\n")
        assert guest.transport.local_host == "127.0.0.1"
        assert host.transport.remote == guest.transport.local
        meeting.dialing.close()  # too late to mean anything
        guest.transport.close()
        await wait_until(lambda: host.words == ["ended"])
        host.transport.close()
        await wait_until(lambda: reactor.connections == 0)
        assert guest.words == []


async def test_the_name_in_a_client_certificate_can_be_read(papers: Papers) -> None:
    async with open_reactor() as reactor:
        host, _ = await Meeting(reactor, papers).met()
        assert isinstance(host.transport, TlsTransport)
        assert ("DNS", "client.example") in host.transport.peer_certificate["subjectAltName"]


async def test_large_replies_arrive_whole_and_in_order(papers: Papers) -> None:
    size = 5_000_000
    async with open_reactor() as reactor:
        host, guest = await Meeting(reactor, papers).met()
        text = bytes(range(256)) * (size // 256)
        host.answer = lambda data: text
        guest.transport.send(b"?")
        await wait_until(lambda: len(guest.heard) == len(text))
        assert guest.heard == text
        assert host.words == ["drained"]
        assert host.transport.unsent == 0


async def test_what_is_decrypted_waits_while_paused(papers: Papers) -> None:
    async with open_reactor() as reactor:
        host, guest = await Meeting(reactor, papers).met()
        host.pauses = True
        for _ in range(3):
            guest.transport.send(b"x" * 16384)  # three records, more than one of them read at a time
        for turn in range(1, 4):
            await wait_until(lambda turn=turn: len(host.heard) == turn * 16384)  # type: ignore[misc]
            await trio.sleep(0.01)
            assert len(host.heard) == turn * 16384
            host.transport.resume()


async def test_a_client_without_a_certificate_is_turned_away(papers: Papers) -> None:
    """With TLS 1.3 it believes itself connected until the alert comes."""
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname = False
    papers.authority.configure_trust(bare)
    async with open_reactor() as reactor:
        meeting = Meeting(reactor, papers, client=bare)
        await wait_until(lambda: bool(meeting.failures) or any(guest.words for guest in meeting.guests))
        told = meeting.failures + [word for guest in meeting.guests for word in guest.words]
        assert "certificate required" in told[0]
        assert meeting.hosts == []
        await wait_until(lambda: reactor.connections == 0)


async def test_a_server_with_an_unknown_authority_is_refused(papers: Papers) -> None:
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stranger.check_hostname = False
    trustme.CA().configure_trust(stranger)
    async with open_reactor() as reactor:
        meeting = Meeting(reactor, papers, client=stranger)
        await wait_until(lambda: bool(meeting.failures))
        assert meeting.failures == ["certificate verify failed"]
        assert meeting.hosts == meeting.guests == []


async def test_plain_talk_on_a_tls_port_is_dropped(papers: Papers) -> None:
    async with open_reactor() as reactor:
        meeting = Meeting(reactor, papers)
        await meeting.met()
        stream = await trio.open_tcp_stream(*meeting.address)
        await stream.send_all(b"PING\r\n")
        with trio.fail_after(5):
            said = b"".join([part async for part in stream])
        assert b"PONG" not in said
        assert len(meeting.hosts) == 1
        await stream.aclose()


async def test_a_server_that_knows_no_tls_fails_the_dialing(papers: Papers) -> None:
    async with open_reactor() as reactor:
        with socket.create_server(("127.0.0.1", 0)) as plain:
            meeting = Meeting(reactor, papers)
            failures: list[str] = []
            reactor.dial(plain.getsockname(), meeting._guest, on_failed=failures.append, tls=papers.client)
            await trio.sleep(0.02)
            near, _ = plain.accept()
            near.sendall(b"-ERR Protocol error\r\n")
            await wait_until(lambda: bool(failures))
            near.close()


async def test_a_dialing_can_be_given_up_during_the_handshake(papers: Papers) -> None:
    async with open_reactor() as reactor:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            told: list[str] = []
            dialing = reactor.dial(silent.getsockname(), Party, on_failed=told.append, tls=papers.client)
            await trio.sleep(0.02)
            assert reactor.connections == 1
            dialing.close()
            assert reactor.connections == 0
            assert told == []


async def test_a_handshake_has_a_deadline(papers: Papers, autojump_clock: trio.testing.MockClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        told: list[str] = []
        reactor = Reactor()
        reactor.dial(silent.getsockname(), Party, on_failed=told.append, tls=papers.client)
        while not reactor.connections:
            reactor.turn()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reactor.run)
            await trio.sleep(30)
            nursery.cancel_scope.cancel()
        assert told == ["TLS handshake timed out"]


async def test_who_is_in_a_handshake_takes_a_place(papers: Papers) -> None:
    """Or nobody would count those who connect to the TLS port and say nothing, until no descriptor is left."""
    served: list[Party] = []

    def welcome(transport: Transport) -> Party:
        served.append(Party(transport))
        return served[-1]

    async with open_reactor() as reactor:
        sock = socket.create_server(("127.0.0.1", 0), backlog=50)
        reactor.listen(sock, welcome, papers.server, has_room=lambda: reactor.connections < 3)
        silent = [socket.create_connection(sock.getsockname()) for _ in range(10)]
        await wait_until(lambda: reactor.connections == 3)
        for guest in silent:
            guest.setblocking(False)
        await wait_until(lambda: sum(_is_closed(guest) for guest in silent) == 7)
        for guest in silent:
            guest.close()
        await wait_until(lambda: reactor.connections == 0)
        assert not served


def _is_closed(guest: socket.socket) -> bool:
    try:
        return guest.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


async def test_a_broken_handshake_leaves_nothing_behind(papers: Papers) -> None:
    reactor = Reactor()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dialing = reactor.dial(silent.getsockname(), Party, on_failed=print, tls=papers.client)
        while dialing._tunnel is None:
            reactor.turn()
        tunnel = weakref.ref(dialing._tunnel)
        dialing.close()
        del dialing
        assert tunnel() is None, "kept until its deadline"
    reactor.close_all()


# ---------------------------------------------------------------- in memory


class Pipe:
    """A `Transport` that ends in a list, and may be cut into bytes."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.closed = False
        self.remote = self.local = "x:0"
        self.local_host = "x"
        self.unsent = 0
        self.paused = False

    def send(self, data: bytes) -> None:
        if not self.closed:
            self.sent += data

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def close(self, *, flush: bool = True) -> None:
        self.closed = True


class Table:
    """A client and a server that share a table instead of a network."""

    def __init__(self, papers: Papers) -> None:
        self.pipes = Pipe(), Pipe()
        self.parties: dict[int, Party] = {}
        self.failures: list[str] = []
        self.deferred: list[Callable[[], None]] = []
        self.ends = tuple(
            TlsTransport(
                self.pipes[number],
                papers.server if number else papers.client,
                server_side=bool(number),
                defer=self.deferred.append,
                on_ready=lambda transport, number=number: self._ready(number, transport),  # type: ignore[misc]
                on_failed=self.failures.append,
            )
            for number in (0, 1)
        )
        self.ends[0].begin()

    def _ready(self, number: int, transport: Transport) -> Party:
        self.parties[number] = Party(transport)
        return self.parties[number]

    def pass_bytes(self, size: int) -> None:
        """Carry everything over, in pieces of `size`, until both are silent."""
        while any(pipe.sent for pipe in self.pipes):
            for number in (0, 1):
                data = bytes(self.pipes[number].sent[:size])
                del self.pipes[number].sent[:size]
                if data:
                    self.ends[1 - number].received(data)


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_handshake_survives_any_cutting(papers: Papers, size: int) -> None:
    table = Table(papers)
    table.pass_bytes(size)
    assert set(table.parties) == {0, 1}
    table.ends[0].send(b"hello")
    table.ends[1].send(b"world")
    table.pass_bytes(size)
    assert table.parties[1].heard == b"hello"
    assert table.parties[0].heard == b"world"


def test_the_other_side_may_still_be_answered_after_its_goodbye(papers: Papers) -> None:
    table = Table(papers)
    table.pass_bytes(1000)
    with pytest.raises(ssl.SSLWantReadError):
        table.ends[0]._tls.unwrap()
    table.ends[0]._push()
    table.pass_bytes(1000)
    assert table.parties[1].words == ["ended"]
    table.ends[1].ended()
    assert table.parties[1].words == ["ended"]
    table.ends[1].send(b"late answer")
    assert table.pipes[1].sent


def test_a_connection_cut_without_goodbye_ends_too(papers: Papers) -> None:
    table = Table(papers)
    table.pass_bytes(1000)
    table.ends[0].ended()
    assert table.parties[0].words == ["ended"]


def test_garbage_after_the_handshake_loses_the_connection(papers: Papers) -> None:
    table = Table(papers)
    table.pass_bytes(1000)
    table.ends[0].received(b"\x17\x03\x03\x00\x20" + b"z" * 32)
    assert len(table.parties[0].words) == 1
    assert table.parties[0].words[0].startswith("lost ")
    assert table.pipes[0].closed
    table.ends[0].send(b"nothing")
    table.ends[0].received(b"nothing")


def test_a_cut_during_the_handshake_fails_it_once(papers: Papers) -> None:
    table = Table(papers)
    table.ends[0].ended()
    table.ends[0].lost("again")
    table.ends[0].overdue()
    assert table.failures == ["Server closed the connection"]
