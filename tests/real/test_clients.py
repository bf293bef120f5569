"""Client libraries ask our sentinels for the master and its replicas, before and after a failover."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import coredis
import coredis.exceptions
import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
import trio
from coredis.connection import TCPLocation

from .harness import LOOPBACK, MASTER, DataServer, Kind, Lab, Sentinel, Watch
from .harness_stories import switch_text

pytestmark = pytest.mark.real


@pytest.fixture
def servers(lab: Lab) -> tuple[DataServer, DataServer, DataServer]:
    return lab.trio_of_servers()


@pytest.fixture
def sentinels(lab: Lab, servers: Sequence[DataServer]) -> list[Sentinel]:
    return lab.quorum([Kind.OURS, Kind.OURS, Kind.OURS], Watch(servers[0].port))


def doors(sentinels: Sequence[Sentinel]) -> list[tuple[str, int]]:
    return [(LOOPBACK, one.port) for one in sentinels]


def fail_over(lab: Lab, sentinels: Sequence[Sentinel], servers: Sequence[DataServer]) -> DataServer:
    lab.forget_events()
    servers[0].kill()
    new, _ = lab.wait_agreement(sentinels, servers)
    return new


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py(lab: Lab, sentinels: list[Sentinel], servers: Sequence[DataServer], protocol: int) -> None:
    client = redis.sentinel.Sentinel(
        doors(sentinels),
        min_other_sentinels=2,
        sentinel_kwargs={"protocol": protocol},
        protocol=protocol,
        socket_timeout=2.0,
    )
    assert client.discover_master(MASTER) == servers[0].address
    assert set(client.discover_slaves(MASTER)) == {server.address for server in servers[1:]}
    assert client.master_for(MASTER).set("story", "begins")
    lab.wait_until(lambda: client.slave_for(MASTER).get("story") == b"begins", "a replica has it")
    with pytest.raises(redis.sentinel.MasterNotFoundError):
        client.discover_master("nobody")
    subscriber = redis.Redis(port=sentinels[0].port, protocol=protocol, decode_responses=True).pubsub()
    subscriber.subscribe("+switch-master")
    assert subscriber.get_message(timeout=5.0) is not None

    new = fail_over(lab, sentinels, servers)
    told = lab.wait_until(lambda: subscriber.get_message(timeout=0.5), "the subscriber is told")
    assert told == {
        "type": "message",
        "pattern": None,
        "channel": "+switch-master",
        "data": switch_text(servers[0], new),
    }
    assert client.discover_master(MASTER) == new.address
    assert client.master_for(MASTER).set("story", "goes on")
    # Only the live replica is offered, not the old master that is down.
    left = {server.address for server in servers[1:] if server is not new}
    lab.wait_until(lambda: set(client.discover_slaves(MASTER)) == left, "only the live replica is offered")
    subscriber.close()


def test_redis_py_asyncio(lab: Lab, sentinels: list[Sentinel], servers: Sequence[DataServer]) -> None:
    async def story() -> None:
        client = redis.asyncio.sentinel.Sentinel(doors(sentinels), min_other_sentinels=2, socket_timeout=2.0)
        assert await client.discover_master(MASTER) == servers[0].address
        assert set(await client.discover_slaves(MASTER)) == {server.address for server in servers[1:]}
        master = client.master_for(MASTER)
        assert await master.set("story", "begins")
        subscriber = redis.asyncio.Redis(port=sentinels[0].port, decode_responses=True).pubsub()
        await subscriber.psubscribe("+switch-*")
        assert await subscriber.get_message(timeout=5.0) is not None

        new = await asyncio.to_thread(fail_over, lab, sentinels, servers)
        told = None
        while told is None:
            told = await subscriber.get_message(timeout=5.0)
        assert told["data"] == switch_text(servers[0], new)
        assert await client.discover_master(MASTER) == new.address
        assert await asyncio.wait_for(keep_setting(master), 30)
        await subscriber.aclose()
        await master.aclose()
        for each in client.sentinels:
            await each.aclose()

    async def keep_setting(master: redis.asyncio.Redis) -> bool:
        while True:
            try:
                return bool(await master.set("story", "goes on"))
            except redis.RedisError:
                await asyncio.sleep(0.1)

    asyncio.run(story())


def test_coredis_on_trio(lab: Lab, sentinels: list[Sentinel], servers: Sequence[DataServer]) -> None:
    async def keep_setting(client: coredis.Sentinel[bytes]) -> None:
        with trio.fail_after(60):
            while True:
                try:
                    async with client.primary_for(MASTER) as primary:
                        await primary.set("story", "goes on")
                        return
                except (coredis.exceptions.RedisError, OSError, ExceptionGroup):
                    await trio.sleep(0.1)

    async def story() -> None:
        async with coredis.Sentinel([TCPLocation(*door) for door in doors(sentinels)]) as client:
            assert await client.discover_primary(MASTER) == servers[0].address
            assert set(await client.discover_replicas(MASTER)) == {server.address for server in servers[1:]}
            async with client.primary_for(MASTER) as primary:
                assert await primary.set("story", "begins")
            with pytest.raises(coredis.exceptions.PrimaryNotFoundError):
                await client.discover_primary("nobody")

            new = await trio.to_thread.run_sync(fail_over, lab, sentinels, servers)
            assert await client.discover_primary(MASTER) == new.address
            await keep_setting(client)

    trio.run(story)
    new = next(server for server in servers if server.alive and server.role == "master")
    assert new.ask("GET", "story") == "goes on"
