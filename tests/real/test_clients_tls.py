"""Every client library, and redis-cli, at a port that wants a client certificate and then a name and a password."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import Any

import anyio
import coredis
import coredis.exceptions
import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
import valkey
import valkey.asyncio
import valkey.asyncio.sentinel
import valkey.sentinel
from attrs import Factory, define
from coredis.connection import TCPLocation

from .harness import LOOPBACK, MASTER, DataServer, Kind, Lab, Sentinel, Watch
from .harness_logins import LINES, NAMED, PASSWORD, PLAIN
from .harness_papers import Certificates
from .harness_processes import read_text
from .harness_stories import switch_text

pytestmark = pytest.mark.real

CHANNEL = "+switch-master"
CLI = shutil.which("redis-cli")
Address = tuple[str, int]
Logins = dict[str, str]


@define
class Door:
    """The TLS port of a sentinel, and who is behind it: the master, and where its replicas are."""

    port: int
    papers: Certificates
    sentinel: Sentinel
    servers: Sequence[DataServer]
    others: set[Address] = Factory(lambda self: {one.address for one in self.servers[1:]}, True)

    @property
    def master(self) -> Address:
        return self.servers[0].address


@pytest.fixture
def door(lab: Lab, tmp_path: Path) -> Door:
    """One sentinel, that can fail over alone, of a master and two replicas that are not asked for certificates."""
    servers = lab.trio_of_servers()
    papers, port = Certificates(tmp_path), lab.ports.claim()
    lines = [*papers.lines(port), *LINES]
    sentinel = lab.sentinel(Kind.OURS, Watch(servers[0].port, quorum=1), lines=lines, password=PASSWORD)
    lab.wait_acquainted([sentinel], replicas=2)
    return Door(port, papers, sentinel, servers)


class Follower:
    """A client that finds the master, listens, and finds the new one when it is told; in a thread of its own."""

    def __init__(self, pool: ThreadPoolExecutor, run: Callable[[Event], tuple[str, Address]]) -> None:
        self._listens = Event()
        self._end: Future[tuple[str, Address]] = pool.submit(run, self._listens)

    def listens(self) -> bool:
        """Whether it is subscribed; raises what it raised."""
        if self._end.done():
            self._end.result()
        return self._listens.is_set()

    def end(self) -> tuple[str, Address]:
        """What it was told, and the address that it found then."""
        return self._end.result(90)


def synchronous(library: ModuleType, protocol: int, login: Logins, door: Door, listens: Event) -> tuple[str, Address]:
    told: dict[str, Any] = {**door.papers.shown(), **login, "protocol": protocol, "socket_timeout": 60.0}
    asker: Any = library.sentinel.Sentinel([(LOOPBACK, door.port)], sentinel_kwargs=told)
    assert asker.discover_master(MASTER) == door.master
    assert set(asker.discover_slaves(MASTER)) == door.others
    make: Any = library.Redis if library is redis else library.Valkey
    pubsub = make(host=LOOPBACK, port=door.port, decode_responses=True, **told).pubsub()
    pubsub.subscribe(CHANNEL)
    message = pubsub.get_message(timeout=20.0)
    assert message["type"] == "subscribe"
    listens.set()
    while message is None or message["type"] != "message":
        message = pubsub.get_message(timeout=1.0)
    pubsub.close()
    found = asker.discover_master(MASTER)
    for each in asker.sentinels:
        each.close()
    return message["data"], found


async def asynchronous(
    library: ModuleType, protocol: int, login: Logins, door: Door, listens: Event
) -> tuple[str, Address]:
    told: dict[str, Any] = {**door.papers.shown(), **login, "protocol": protocol, "socket_timeout": 60.0}
    asker: Any = library.asyncio.sentinel.Sentinel([(LOOPBACK, door.port)], sentinel_kwargs=told)
    assert await asker.discover_master(MASTER) == door.master
    assert set(await asker.discover_slaves(MASTER)) == door.others
    make: Any = library.asyncio.Redis if library is redis else library.asyncio.Valkey
    client = make(host=LOOPBACK, port=door.port, decode_responses=True, **told)
    pubsub = client.pubsub()
    await pubsub.subscribe(CHANNEL)
    message = await pubsub.get_message(timeout=20.0)
    assert message["type"] == "subscribe"
    listens.set()
    while message is None or message["type"] != "message":
        message = await pubsub.get_message(timeout=1.0)
    await pubsub.aclose()
    await client.aclose()
    found = await asker.discover_master(MASTER)
    for each in asker.sentinels:
        await each.aclose()
    return message["data"], found


async def by_coredis(login: Logins, door: Door, listens: Event) -> tuple[str, Address]:
    told = {**door.papers.shown(), **login}
    async with coredis.Sentinel([TCPLocation(LOOPBACK, door.port)], sentinel_kwargs=dict(told)) as asker:
        assert await asker.discover_primary(MASTER) == door.master
        assert set(await asker.discover_replicas(MASTER)) == door.others
        client = coredis.Redis(LOOPBACK, door.port, decode_responses=True, **told)
        async with client, client.pubsub(channels=[CHANNEL]) as ear:
            message = await ear.get_message(timeout=20)
            assert message is not None and message["type"] == "subscribe"
            listens.set()
            while message is None or message["type"] != "message":
                message = await ear.get_message(timeout=60)
        return str(message["data"]), await asker.discover_primary(MASTER)


def in_loop(backend: str, story: Callable[..., Awaitable[tuple[str, Address]]], *given: Any) -> tuple[str, Address]:
    return anyio.run(story, *given, backend=backend)


# valkey-py 6 cannot read SENTINEL MASTERS in RESP3, whoever answers.
STORIES: dict[str, Callable[[Door, Event], tuple[str, Address]]] = {
    "redis-py, RESP2, password": partial(synchronous, redis, 2, PLAIN),
    "redis-py, RESP3, user": partial(synchronous, redis, 3, NAMED),
    "valkey-py, RESP2, user": partial(synchronous, valkey, 2, NAMED),
    "redis-py, asyncio, RESP3, password": partial(in_loop, "asyncio", partial(asynchronous, redis, 3, PLAIN)),
    "valkey-py, asyncio, RESP2, password": partial(in_loop, "asyncio", partial(asynchronous, valkey, 2, PLAIN)),
    "coredis, asyncio, user": partial(in_loop, "asyncio", partial(by_coredis, NAMED)),
    "coredis, Trio, user": partial(in_loop, "trio", partial(by_coredis, NAMED)),
    "coredis, Trio, password": partial(in_loop, "trio", partial(by_coredis, PLAIN)),
}


class Cli:
    """redis-cli, which asks, and which stays and listens."""

    def __init__(self, door: Door, name: str, *options: str) -> None:
        assert CLI is not None
        self._command = [CLI, "-p", str(door.port), "--no-auth-warning", *door.papers.cli(), *options]
        self._path = door.sentinel.directory / f"cli-{name}"
        with self._path.open("wb") as out:
            listen = [*self._command, "SUBSCRIBE", CHANNEL]
            self._listener = subprocess.Popen(listen, stdin=subprocess.DEVNULL, stdout=out)

    def master(self) -> list[str]:
        words = [*self._command, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]
        return subprocess.run(words, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()

    def output(self) -> str:
        return read_text(self._path)

    def close(self) -> None:
        self._listener.kill()
        self._listener.wait(10)


@pytest.fixture
def clis(door: Door) -> Iterator[list[Cli]]:
    """By password and by user, with either protocol; none where redis-cli is not installed."""
    started: list[Cli] = []
    if CLI is not None:
        started.append(Cli(door, "password", "-a", PASSWORD))
        started.append(Cli(door, "user", "-3", "--user", "guest", "--pass", "knock"))
    yield started
    for cli in started:
        cli.close()


def test_every_library_follows_a_failover_behind_a_client_certificate(lab: Lab, door: Door, clis: list[Cli]) -> None:
    old = door.servers[0]
    with ThreadPoolExecutor(len(STORIES)) as pool:
        followers = {name: Follower(pool, partial(story, door)) for name, story in STORIES.items()}
        for name, follower in followers.items():
            lab.wait_until(follower.listens, f"{name} listens")
        for cli in clis:
            lab.wait_until(lambda cli=cli: "subscribe" in cli.output(), "redis-cli listens")  # type: ignore[misc]
            assert cli.master() == [LOOPBACK, str(old.port)]
        lab.forget_events()
        old.kill()
        new, _ = lab.wait_agreement([door.sentinel], door.servers)
        told = switch_text(old, new)
        assert {name: follower.end() for name, follower in followers.items()} == dict.fromkeys(
            STORIES, (told, new.address)
        )
    for cli in clis:
        lab.wait_until(lambda cli=cli: told in cli.output(), "redis-cli is told")  # type: ignore[misc]
        assert cli.master() == [LOOPBACK, str(new.port)]


def test_nobody_comes_in_without_a_certificate_or_with_a_wrong_password(lab: Lab, tmp_path: Path) -> None:
    papers, port = Certificates(tmp_path), lab.ports.claim()
    lines = [*papers.lines(port), f'requirepass "{PASSWORD}"']
    lab.sentinel(Kind.OURS, Watch(lab.ports.claim()), lines=lines, password=PASSWORD)
    strangers = (papers.shown(with_certificate=False) | PLAIN, papers.shown() | {"password": "wrong"})
    for library in (redis, valkey):
        failure = library.RedisError if library is redis else library.ValkeyError
        for stranger in strangers:
            asker: Any = library.sentinel.Sentinel([(LOOPBACK, port)], sentinel_kwargs=stranger)
            with pytest.raises((failure, OSError)):
                asker.discover_master(MASTER)

    async def knock(stranger: dict[str, Any]) -> None:
        async with coredis.Redis(LOOPBACK, port, **stranger) as client:
            await client.ping()

    for backend in ("asyncio", "trio"):
        for stranger in strangers:
            with pytest.raises((coredis.exceptions.RedisError, ssl.SSLError, OSError, ExceptionGroup)):
                anyio.run(knock, stranger, backend=backend)
    if CLI is not None:
        for words in ([*papers.cli(with_certificate=False), "-a", PASSWORD], [*papers.cli(), "-a", "wrong"]):
            command = [CLI, "-p", str(port), "--no-auth-warning", *words, "PING"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
            assert "PONG" not in done.stdout, done
