"""Every client library at one failover, and at a port that wants a password or a certificate."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import coredis
import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
import valkey
import valkey.asyncio
import valkey.asyncio.sentinel
import valkey.sentinel
from coredis.connection import TCPLocation

from .harness import LOOPBACK, MASTER, DataServer, Kind, Lab, Sentinel, Watch
from .harness_logins import LINES, NAMED, PASSWORD, PLAIN
from .harness_processes import read_text
from .harness_stories import switch_text

pytestmark = pytest.mark.real

# valkey-py 6 cannot read SENTINEL MASTERS in RESP3, whoever answers; it subscribes with either.
ASKERS = ((redis, 2, PLAIN), (redis, 3, NAMED), (valkey, 2, NAMED))
SUBSCRIBERS = (*ASKERS, (valkey, 3, PLAIN))
CLI = shutil.which("redis-cli")


@pytest.fixture
def servers(lab: Lab) -> tuple[DataServer, DataServer, DataServer]:
    return lab.trio_of_servers()


@pytest.fixture
def sentinels(lab: Lab, servers: Sequence[DataServer]) -> list[Sentinel]:
    """Three sentinels that want a password from everybody, each other included."""
    watch = Watch(servers[0].port)
    started = [lab.sentinel(Kind.OURS, watch, lines=LINES, password=PASSWORD) for _ in range(3)]
    lab.wait_acquainted(started, replicas=2)
    return started


def doors(sentinels: Sequence[Sentinel]) -> list[tuple[str, int]]:
    return [(LOOPBACK, one.port) for one in sentinels]


class Ear:
    """A subscriber by one of the two synchronous libraries, which are alike."""

    def __init__(self, library: ModuleType, protocol: int, login: dict[str, str], sentinel: Sentinel) -> None:
        make: Any = library.Redis if library is redis else library.Valkey
        self._client = make(port=sentinel.port, protocol=protocol, decode_responses=True, **login)
        self._pubsub = self._client.pubsub()
        self._pubsub.subscribe("+switch-master")
        assert self._pubsub.get_message(timeout=5.0)["type"] == "subscribe"

    def heard(self) -> str | None:
        message = self._pubsub.get_message(timeout=0.2)
        return None if message is None else str(message["data"])

    def close(self) -> None:
        self._pubsub.close()
        self._client.close()


class Cli:
    """redis-cli, which asks, and which stays and listens."""

    def __init__(self, sentinel: Sentinel, *options: str) -> None:
        assert CLI is not None
        port = ["-p", str(sentinel.port), "--no-auth-warning", "-a", PASSWORD]
        self._command = [CLI, *port, *options]
        self._path = sentinel.directory / f"cli{'-'.join(options)}"
        with self._path.open("wb") as out:
            listen = [*self._command, "SUBSCRIBE", "+switch-master"]
            self._listener = subprocess.Popen(listen, stdin=subprocess.DEVNULL, stdout=out)

    def ask(self, *words: str) -> list[str]:
        done = subprocess.run([*self._command, *words], capture_output=True, text=True, timeout=20, check=True)
        return done.stdout.splitlines()

    def output(self) -> str:
        return read_text(self._path)

    def close(self) -> None:
        self._listener.kill()
        self._listener.wait(10)


@pytest.fixture
def clis(sentinels: Sequence[Sentinel]) -> Iterator[list[Cli]]:
    """With either protocol; none where redis-cli is not installed."""
    started = [] if CLI is None else [Cli(sentinels[0]), Cli(sentinels[1], "-3")]
    yield started
    for cli in started:
        cli.close()


def test_every_library_follows_one_failover(
    lab: Lab, servers: Sequence[DataServer], sentinels: list[Sentinel], clis: list[Cli]
) -> None:
    old = servers[0]
    others = {server.address for server in servers[1:]}
    askers: list[Any] = [
        library.sentinel.Sentinel(
            doors(sentinels), min_other_sentinels=2, socket_timeout=5.0,
            sentinel_kwargs={"protocol": protocol, **login},
        )
        for library, protocol, login in ASKERS
    ]  # fmt: skip
    ears = [Ear(library, protocol, login, sentinels[-1]) for library, protocol, login in SUBSCRIBERS]
    for asker in askers:
        assert asker.discover_master(MASTER) == old.address
        assert set(asker.discover_slaves(MASTER)) == others
    for cli in clis:
        assert cli.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER) == [LOOPBACK, str(old.port)]
        lab.wait_until(lambda cli=cli: "subscribe" in cli.output(), "redis-cli listens")  # type: ignore[misc]
    assert asyncio.run(told_to_asyncio(sentinels)) == {old.address}

    with pytest.raises(redis.exceptions.NoPermissionError):
        askers[1].sentinels[0].execute_command("SENTINEL", "REMOVE", MASTER)
    lab.forget_events()
    old.kill()
    new, _ = lab.wait_agreement(sentinels, servers)

    for ear in ears:
        assert lab.wait_until(ear.heard, "a subscriber is told") == switch_text(old, new)
        ear.close()
    for cli in clis:
        lab.wait_until(lambda cli=cli: switch_text(old, new) in cli.output(), "redis-cli is told")  # type: ignore[misc]
        assert cli.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER) == [LOOPBACK, str(new.port)]
    for asker in askers:
        assert asker.discover_master(MASTER) == new.address
        assert asker.master_for(MASTER).set("story", "goes on")
        for each in asker.sentinels:
            each.close()
    assert asyncio.run(told_to_asyncio(sentinels)) == {new.address}


async def told_to_asyncio(sentinels: Sequence[Sentinel]) -> set[tuple[str, int]]:
    """Where the asyncio libraries find the master."""
    found = set()
    for library, protocol, login in ASKERS:
        asker: Any = library.asyncio.sentinel.Sentinel(
            doors(sentinels), min_other_sentinels=2, socket_timeout=5.0,
            sentinel_kwargs={"protocol": protocol, **login},
        )  # fmt: skip
        found.add(await asker.discover_master(MASTER))
        for each in asker.sentinels:
            await each.aclose()
    locations = [TCPLocation(*door) for door in doors(sentinels)]
    async with coredis.Sentinel(locations, min_other_sentinels=2, sentinel_kwargs=dict(NAMED)) as client:
        found.add(await client.discover_primary(MASTER))
    return found


def test_without_the_password_there_is_nothing_to_find(lab: Lab) -> None:
    sentinel = lab.sentinel(Kind.OURS, Watch(lab.ports.claim()), lines=[f'requirepass "{PASSWORD}"'], password=PASSWORD)
    for library in (redis, valkey):
        for wrong in ({}, {"password": "wrong"}, {"username": "nobody", "password": PASSWORD}):
            asker = library.sentinel.Sentinel(doors([sentinel]), sentinel_kwargs=wrong, socket_timeout=5.0)
            with pytest.raises(library.RedisError if library is redis else library.ValkeyError):
                asker.discover_master(MASTER)


def test_a_unix_socket_serves_like_a_port(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "s"
    sentinel = lab.sentinel(Kind.OURS, Watch(lab.ports.claim()), lines=[f"unixsocket {path}", "unixsocketperm 700"])
    assert path.stat().st_mode & 0o777 == 0o700
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client = redis.Redis(unix_socket_path=str(path), decode_responses=True, protocol=3)
        assert client.ping()
        assert client.execute_command("SENTINEL", "MYID") == sentinel.id
        assert f"addr={path}:0" in str(client.execute_command("CLIENT", "INFO")).replace("'", "").replace(": ", "=")
        client.close()
    assert sentinel.terminate() == 0
    assert not path.exists()
