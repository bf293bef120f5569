"""Links against real servers: every order is understood, and what comes back is read. A scripted mind listens."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, TypeVar

import attrs
import pytest
import redis
import trio
import trustme
from msgspec import structs

from trio_sentinel.adapters.tls import make_contexts
from trio_sentinel.model import effects as fx
from trio_sentinel.model import inputs
from trio_sentinel.model.observations import Observations
from trio_sentinel.model.settings import MasterSettings
from trio_sentinel.model.state import Master, SentinelState
from trio_sentinel.model.values import Address, Channel, Hello, PeerLink, Role, RunId, ServerLink
from trio_sentinel.runtime.reactor import open_reactor
from trio_sentinel.runtime.switchboard import LinkEffect, Switchboard
from trio_sentinel.wire.directives import Directives

from .harness_ports import PortClaims
from .harness_servers import redis7_binary, valkey_binary

pytestmark = pytest.mark.real

MY_ID = RunId("0123456789abcdef0123456789abcdef01234567")
OTHER = RunId("fedcba9876543210fedcba9876543210fedcba98")
T = TypeVar("T")


@pytest.fixture
def ports() -> Iterator[PortClaims]:
    claims = PortClaims()
    yield claims
    claims.release()


@contextlib.contextmanager
def running(binary: str, directory: Path, *lines: str, sentinel: bool = False) -> Iterator[None]:
    """A server or sentinel with a configuration file of these lines."""
    directory.mkdir()
    conf = directory / "server.conf"
    conf.write_text("\n".join((f"dir {directory}", "bind 127.0.0.1", *lines)) + "\n")
    argv = [binary, str(conf), *(["--sentinel"] if sentinel else [])]
    with (directory / "out").open("wb") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        yield
        assert process.poll() is None, (directory / "out").read_text()
    finally:
        process.terminate()
        process.wait(10)


class Listener:
    """A `Mind` that only listens."""

    def __init__(self) -> None:
        self.state = SentinelState(my_id=MY_ID)
        self.senses = Observations()
        self.version = 0
        self.heard: list[inputs.Input] = []

    def know(self, address: Address, **settings: Any) -> ServerLink:
        master = Master(name="mymaster", address=address, settings=MasterSettings(quorum=1, **settings))
        self.state.masters["mymaster"] = master
        return ServerLink("mymaster", address)

    def hear(self, perceived: inputs.Input) -> None:
        self.heard.append(perceived)

    def now_ms(self) -> int:
        return 0

    def wall_ms(self) -> int:
        return 0

    def ask(self, make: object, on_answer: object) -> None:
        raise AssertionError

    def resolve(self, host: str, on_ip: object) -> None:
        raise AssertionError


@attrs.define(eq=False)
class Desk:
    """A switchboard with its listener."""

    mind: Listener
    board: Switchboard

    def do(self, *orders: LinkEffect) -> None:
        for order in orders:
            self.board.carry_out(order)
        self.board.flush()

    async def wait(self, kind: type[T]) -> T:
        """The next thing of this kind that is heard."""
        with trio.fail_after(10):
            while True:
                for perceived in self.mind.heard:
                    if isinstance(perceived, kind):
                        self.mind.heard.remove(perceived)
                        return perceived
                await trio.sleep(0.005)

    async def open(self, order: fx.OpenLink) -> inputs.LinkOpened:
        """Dial again and again until the server is up."""
        while True:
            self.do(order)
            with trio.fail_after(10):
                while not self.mind.heard:
                    await trio.sleep(0.005)
            told = self.mind.heard.pop(0)
            if isinstance(told, inputs.LinkOpened):
                return told
            assert isinstance(told, inputs.LinkLost)
            assert told.reason == "Connection refused"
            await trio.sleep(0.05)


@contextlib.asynccontextmanager
async def open_desk(**options: Any) -> AsyncIterator[Desk]:
    async with open_reactor() as reactor:
        mind = Listener()
        board = Switchboard(reactor, mind, **options)
        with board.lease_master("mymaster"), board.lease_peers("mymaster"):
            yield Desk(mind, board)


def hello(port: int) -> Hello:
    return Hello(
        host="",
        port=26379,
        run_id=MY_ID,
        current_epoch=3,
        master="mymaster",
        master_host="127.0.0.1",
        master_port=port,
        config_epoch=2,
    )


async def test_a_server_is_probed_promoted_and_repointed(tmp_path: Path, ports: PortClaims) -> None:
    port, other_port = ports.claim(), ports.claim()
    with (
        running(valkey_binary(), tmp_path / "one", f"port {port}", "requirepass s3cret", "masterauth s3cret"),
        running(valkey_binary(), tmp_path / "two", f"port {other_port}", "requirepass s3cret", "masterauth s3cret"),
    ):
        async with open_desk() as desk:
            link = desk.mind.know(Address("127.0.0.1", port), auth_pass="s3cret")
            opened = await desk.open(fx.OpenLink(link, link.address, Channel.COMMAND))
            assert opened.local_host == "127.0.0.1"
            await desk.open(fx.OpenLink(link, link.address, Channel.PUBSUB))
            assert await desk.wait(inputs.PubSubHeard) == inputs.PubSubHeard(link)
            desk.do(fx.SendPing(link), fx.PollInfo(link), fx.SayHello(link, hello(port)))
            assert (await desk.wait(inputs.PingAnswered)).text == "PONG"
            info = await desk.wait(inputs.InfoHeard)
            assert info.reading is not None
            assert info.reading.role is Role.MASTER
            assert info.reading.failover_state == "no-failover"
            assert await desk.wait(inputs.HelloAccepted) == inputs.HelloAccepted(link, "mymaster", True)
            with redis.Redis(port=port, password="s3cret", protocol=2) as client:
                text = str(client.client_list())
                assert f"sentinel-{MY_ID[:8]}-cmd" in text
                assert f"sentinel-{MY_ID[:8]}-pubsub" in text
                theirs = attrs.evolve(hello(port), run_id=OTHER, host="10.1.1.1")
                client.publish("__sentinel__:hello", str(theirs))
            assert await desk.wait(inputs.HelloHeard) == inputs.HelloHeard(theirs)

            desk.do(fx.Repoint(link, "127.0.0.1", other_port, abort_handover=False))
            info = await desk.wait(inputs.InfoHeard)
            assert info.reading is not None
            assert (info.reading.role, info.reading.master_port) == (Role.REPLICA, other_port)
            lost = await desk.wait(inputs.LinkLost)  # CLIENT KILL TYPE pubsub is for us, too
            assert (lost.link, lost.channel) == (link, Channel.PUBSUB)
            desk.do(fx.Promote(link))
            info = await desk.wait(inputs.InfoHeard)
            assert info.reading is not None
            assert info.reading.role is Role.MASTER
            desk.do(fx.KillClients(link), fx.KillScript(link), fx.SendPing(link))
            assert (await desk.wait(inputs.PingAnswered)).text == "PONG"
            assert not any(isinstance(each, inputs.LinkLost) for each in desk.mind.heard)
        assert f"replicaof 127.0.0.1 {other_port}" not in (tmp_path / "one" / "server.conf").read_text()


@pytest.mark.parametrize("at_once", [False, True])
async def test_a_master_hands_over(tmp_path: Path, ports: PortClaims, at_once: bool) -> None:
    port, other_port = ports.claim(), ports.claim()
    with (
        running(valkey_binary(), tmp_path / "one", f"port {port}", "repl-diskless-sync-delay 0"),
        running(valkey_binary(), tmp_path / "two", f"port {other_port}", f"replicaof 127.0.0.1 {port}"),
    ):
        async with open_desk() as desk:
            link = desk.mind.know(Address("127.0.0.1", port))
            await desk.open(fx.OpenLink(link, link.address, Channel.COMMAND))
            replica = redis.Redis(port=other_port, protocol=2)
            with trio.fail_after(20):
                # The master says "online" before the replica has taken over its replication id: ask the replica.
                while replica.info("replication").get("master_link_status") != "up":
                    await trio.sleep(0.05)
            desk.do(fx.PollInfo(link))
            info = await desk.wait(inputs.InfoHeard)
            assert info.reading is not None
            assert info.reading.replicas == (Address("127.0.0.1", other_port),)
            desk.do(fx.PauseWriters(link, 5000))
            assert (await desk.wait(inputs.PauseAnswered)).ok
            reading = (await desk.wait(inputs.InfoHeard)).reading
            assert reading is not None and reading.written_offset is not None
            desk.do(fx.HandOver(link, "127.0.0.1", other_port, 5000, at_once=at_once))
            with trio.fail_after(10):
                while True:
                    desk.do(fx.PollInfo(link))
                    reading = (await desk.wait(inputs.InfoHeard)).reading
                    assert reading is not None
                    if reading.role is Role.REPLICA and reading.master_link_up:
                        break
            assert reading.master_port == other_port
            assert replica.info("replication")["role"] == "master"
            replica.close()


async def test_a_wrong_password_shows_in_the_answers(tmp_path: Path, ports: PortClaims) -> None:
    port = ports.claim()
    with running(valkey_binary(), tmp_path / "one", f"port {port}", "requirepass s3cret"):
        async with open_desk() as desk:
            link = desk.mind.know(Address("127.0.0.1", port), auth_pass="wrong")
            await desk.open(fx.OpenLink(link, link.address, Channel.COMMAND))
            desk.do(fx.SendPing(link), fx.PollInfo(link), fx.SayHello(link, hello(port)))
            assert (await desk.wait(inputs.PingAnswered)).text.startswith("NOAUTH")
            assert (await desk.wait(inputs.InfoHeard)).reading is None
            assert not (await desk.wait(inputs.HelloAccepted)).ok


async def test_renamed_commands_are_found(tmp_path: Path, ports: PortClaims) -> None:
    port = ports.claim()
    lines = (f"port {port}", "rename-command PING zing", "rename-command INFO innards")
    with running(valkey_binary(), tmp_path / "one", *lines):
        async with open_desk() as desk:
            names = (("ping", "zing"), ("INFO", "innards"))
            link = desk.mind.know(Address("127.0.0.1", port), renamed_commands=names)
            await desk.open(fx.OpenLink(link, link.address, Channel.COMMAND))
            desk.do(fx.SendPing(link), fx.PollInfo(link))
            assert (await desk.wait(inputs.PingAnswered)).text == "PONG"
            assert (await desk.wait(inputs.InfoHeard)).reading is not None


async def test_a_stock_sentinel_answers_as_a_peer(tmp_path: Path, ports: PortClaims) -> None:
    port, watched = ports.claim(), ports.claim()
    lines = (f"port {port}", f"sentinel monitor mymaster 127.0.0.1 {watched} 1")
    with running(valkey_binary(), tmp_path / "one", *lines, sentinel=True):
        async with open_desk() as desk:
            peer, address = PeerLink(OTHER), Address("127.0.0.1", port)
            await desk.open(fx.OpenLink(peer, address, Channel.COMMAND))
            question = fx.AskPeer(peer, "mymaster", Address("127.0.0.1", watched), "127.0.0.1", 5, None)
            desk.do(fx.SendPing(peer), question, fx.SayHello(peer, hello(watched)))
            assert (await desk.wait(inputs.PingAnswered)).text == "PONG"
            opinion = await desk.wait(inputs.OpinionHeard)
            assert (opinion.down, opinion.leader, opinion.leader_epoch, opinion.asked_epoch) == (False, None, 0, 5)
            assert (await desk.wait(inputs.HelloAccepted)).ok
            desk.do(structs.replace(question, candidate=MY_ID))
            opinion = await desk.wait(inputs.OpinionHeard)
            assert (opinion.leader, opinion.leader_epoch) == (MY_ID, 5)


@pytest.mark.needs_redis7
async def test_a_server_is_reached_over_tls(tmp_path: Path, ports: PortClaims) -> None:
    port = ports.claim()
    authority = trustme.CA()
    issued = authority.issue_cert("server.example")
    files = {name: str(tmp_path / name) for name in ("ca", "key", "cert")}
    authority.cert_pem.write_to_path(files["ca"])
    issued.private_key_pem.write_to_path(files["key"])
    issued.cert_chain_pems[0].write_to_path(files["cert"])
    lines = (f"tls-ca-cert-file {files['ca']}", f"tls-key-file {files['key']}", f"tls-cert-file {files['cert']}")
    contexts = make_contexts(
        Directives(
            tls_replication=True,
            tls_ca_cert_file=files["ca"],
            tls_key_file=files["key"],
            tls_cert_file=files["cert"],
        )
    )
    assert contexts is not None
    with running(redis7_binary("redis-server"), tmp_path / "one", "port 0", f"tls-port {port}", *lines):
        async with open_desk(tls=contexts.client) as desk:
            link = desk.mind.know(Address("127.0.0.1", port))
            await desk.open(fx.OpenLink(link, link.address, Channel.COMMAND))
            await desk.open(fx.OpenLink(link, link.address, Channel.PUBSUB))
            desk.do(fx.SendPing(link), fx.PollInfo(link), fx.SayHello(link, hello(port)))
            assert (await desk.wait(inputs.PingAnswered)).text == "PONG"
            reading = (await desk.wait(inputs.InfoHeard)).reading
            assert reading is not None
            assert reading.role is Role.MASTER
            assert (await desk.wait(inputs.HelloAccepted)).ok
            await desk.wait(inputs.PubSubHeard)
