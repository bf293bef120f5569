"""The library door: sentinels inside a Trio program, on real sockets and files."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import trio

from trio_sentinel import (
    Address,
    CommandRefused,
    ConfigError,
    Sentinel,
    StartupError,
    bulletins_of,
    events,
    open_sentinel,
)

from .harness import LOOPBACK, MASTER, Lab
from .harness_ports import PortClaims

pytestmark = pytest.mark.real

NOBODY = 9
LIMIT_S = 60


@pytest.fixture
def conf(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Makes the file of one more sentinel, which watches the master at a port."""
    claims = PortClaims()

    def make(name: str, master_port: int = NOBODY, *, port: int | None = None, quorum: int = 2) -> Path:
        path = tmp_path / f"{name}.conf"
        head = f"port {claims.claim() if port is None else port}\nbind {LOOPBACK}\n"
        watch = f"sentinel monitor {MASTER} {LOOPBACK} {master_port} {quorum}\n"
        path.write_text(f"{head}{watch}sentinel down-after-milliseconds {MASTER} 700\n")
        return path

    yield make
    claims.release()


async def acquainted(*sentinels: Sentinel) -> None:
    """Wait until each knows the other and a replica that can be promoted."""
    with trio.fail_after(LIMIT_S):
        for one in sentinels:
            while not (one.peers(MASTER) and one.replicas(MASTER) and one.replicas(MASTER)[0].master_link_up):
                await trio.sleep(0.05)


async def test_two_sentinels_in_one_process_fail_over(lab: Lab, conf: Callable[..., Path]) -> None:
    master = lab.server()
    replica = lab.server(replica_of=master)
    heard: list[events.Event] = []
    async with (
        open_sentinel(conf("one", master.port)) as one,
        open_sentinel(conf("two", master.port)) as two,
        trio.open_nursery() as nursery,
    ):

        async def listen() -> None:
            async for event in one.events():
                heard.append(event)  # noqa: PERF401 - they are looked at while more come

        nursery.start_soon(listen)
        await acquainted(one, two)
        assert one.id != two.id
        assert one.peers(MASTER)[0].run_id == two.id
        address = one.address(MASTER)
        assert address.value == Address(LOOPBACK, master.port)
        await trio.to_thread.run_sync(master.kill)
        with trio.fail_after(LIMIT_S):
            for sentinel in (one, two):
                await sentinel.address(MASTER).wait_value(Address(LOOPBACK, replica.port))
        assert one.address(MASTER) is address
        assert one.masters[MASTER].current_port == replica.port
        with trio.fail_after(LIMIT_S):
            while not any(isinstance(event, events.MasterSwitched) for event in heard):
                await trio.sleep(0.05)
        nursery.cancel_scope.cancel()
    (switch,) = [event for event in heard if isinstance(event, events.MasterSwitched)]
    lines = [bulletin.line for bulletin in bulletins_of(switch)]
    assert f"+switch-master {MASTER} {LOOPBACK} {master.port} {LOOPBACK} {replica.port}" in lines


REFUSED: list[tuple[Callable[[Sentinel], Awaitable[None]], str]] = [
    (lambda it: it.failover("nope"), "ERR No such master with that name"),
    (lambda it: it.failover(MASTER), "NOGOODSLAVE No suitable replica to promote"),
    (lambda it: it.remove("nope"), "ERR No such master with that name"),
    (lambda it: it.reset("nope"), "ERR No such master with that name"),
    (lambda it: it.set("nope", "quorum", "3"), "ERR No such master with that name"),
    (lambda it: it.set(MASTER, "quorum", "x"), "ERR Invalid argument 'x' for SENTINEL SET 'quorum'"),
    (lambda it: it.monitor(MASTER, LOOPBACK, 1, 1), "ERR Duplicate master name."),
    (lambda it: it.monitor("m", "some.host", 1, 1), "ERR Invalid IP address or hostname specified"),
    (lambda it: it.monitor("m", LOOPBACK, 70000, 1), "ERR Invalid port number."),
    (lambda it: it.monitor("m", LOOPBACK, 1, 0), "ERR Quorum must be 1 or greater."),
    (
        lambda it: it.monitor("m\n", LOOPBACK, 1, 1),
        "ERR Invalid argument at index 2 for SENTINEL MONITOR: control characters are not allowed",
    ),
    (
        lambda it: it.configure("announce-port", "70000"),
        "ERR Invalid value '70000' to SENTINEL CONFIG SET 'announce-port'",
    ),
]


async def test_methods_refuse_what_commands_refuse(conf: Callable[..., Path]) -> None:
    async with open_sentinel(conf("one")) as it:
        for act, text in REFUSED:
            with pytest.raises(CommandRefused) as refusal:
                await act(it)
            assert str(refusal.value) == text
        assert list(it.masters) == [MASTER]
        for look in (it.address, it.replicas, it.peers, it.masters.__getitem__):
            with pytest.raises(KeyError):
                look("nope")


async def test_methods_change_what_commands_change_and_it_is_on_disk(conf: Callable[..., Path]) -> None:
    path = conf("one")
    async with open_sentinel(path) as it:
        await it.monitor("m", LOOPBACK, 10, 1)
        assert "sentinel monitor m 127.0.0.1 10 1\n" in path.read_text()
        address = it.address("m")
        assert address.value == Address(LOOPBACK, 10)
        await it.set("m", "quorum", "3")
        assert it.masters["m"].quorum == 3
        await it.configure("announce-port", "7000")
        assert it.settings.announce_port == 7000
        assert "sentinel announce-port 7000\n" in path.read_text()
        await it.configure("resolve-hostnames", "yes")
        await it.monitor("named", "localhost", 10, 1)
        with pytest.raises(CommandRefused):
            await it.monitor("unknown", "no-such-host.invalid", 10, 1)
        await it.remove("m")
        assert list(it.masters) == [MASTER, "named"]
        with pytest.raises(KeyError):
            it.address("m")
        path.unlink()
        await it.flush()
        assert f"sentinel myid {it.id}" in path.read_text()


async def test_a_stopped_sentinel_says_so(conf: Callable[..., Path]) -> None:
    async with open_sentinel(conf("one")) as it:
        watch = it.events()
        await it.set(MASTER, "quorum", "5")
    seen = [type(event) async for event in watch]
    assert events.SettingChanged in seen
    with pytest.raises(trio.ClosedResourceError):
        await it.flush()
    assert it.masters[MASTER].quorum == 5  # the last state can still be read


async def test_leaving_by_cancellation_or_an_error_leaves_nothing_behind(conf: Callable[..., Path]) -> None:
    path = conf("one")
    for _ in range(2):  # the same port again
        with trio.move_on_after(0.1) as scope:
            async with open_sentinel(path):
                await trio.sleep_forever()
        assert scope.cancelled_caught
    with pytest.raises(ZeroDivisionError):  # as it was raised: in no group
        async with open_sentinel(path):
            raise ZeroDivisionError


async def test_nothing_is_told_from_a_file_that_is_not_on_the_disk(
    conf: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    path = conf("one")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StartupError, match="to the disk: Input/output error"):
        async with open_sentinel(path):
            pass


async def test_what_is_wrong_at_the_start_is_an_exception(conf: Callable[..., Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.conf"
    bad.write_text("port 1 2\n")
    with pytest.raises(ConfigError, match="line 1: wrong number of arguments"):
        async with open_sentinel(bad):
            pass
    with pytest.raises(StartupError, match="No such file"):
        async with open_sentinel(tmp_path / "none.conf"):
            pass
    async with open_sentinel(conf("one")) as first:
        with pytest.raises(StartupError, match="Address already in use"):
            async with open_sentinel(conf("two", port=first.ports[0])):
                pass
