"""The parts of the full stage: streams like TCP's, a poller like epoll, a disk that tears, a process that stops."""

from __future__ import annotations

import errno
import inspect
import random
import re

import pytest
import trio
import trio.testing

from trio_sentinel.model.settings import MasterSettings
from trio_sentinel.model.values import Address
from trio_sentinel.runtime.poller import READ, TROUBLE, WRITE
from trio_sentinel.sim import harm
from trio_sentinel.sim.stage import SCRIPT, Scenery, StageCluster, repeatable
from trio_sentinel.sim.stage_clients import WORDS, Person, Talker
from trio_sentinel.sim.stage_disk import CONF, TEMPORARY, VirtualDisk
from trio_sentinel.sim.stage_host import Stopwatch
from trio_sentinel.sim.stage_network import WINDOW, End, StageNetwork
from trio_sentinel.sim.stage_sentinel import StagedSentinel
from trio_sentinel.sim.stage_sockets import Kernel, VirtualSocket
from trio_sentinel.sim.stage_world import EPOCH_MS, StageWorld
from trio_sentinel.sim.world import World
from trio_sentinel.wire.replies import ErrorReply, Reply

HERE, THERE = Address("10.0.0.1", 1), Address("10.0.0.2", 2)


class Listening:
    """Keeps who comes."""

    def __init__(self, process: Person) -> None:
        self.process = process
        self.ends: list[End] = []

    def meet(self, end: End) -> None:
        self.ends.append(end)


class Nobody:
    """Looks at nothing."""

    def changed(self) -> None:
        pass


class Pair:
    """Two processes and a stream between them."""

    def __init__(self, *, choppy: bool = False) -> None:
        self.world = World(1)
        self.network = StageNetwork(self.world)
        self.network.choppy = choppy
        self.near_process, self.far_process = Person(HERE), Person(THERE)
        self.network.processes[HERE], self.network.processes[THERE] = self.near_process, self.far_process
        listening = self.network.listeners[THERE] = Listening(self.far_process)
        self.near = self.network.connect(self.near_process, HERE.host, THERE, Nobody())
        self.run(20)
        (self.far,) = listening.ends
        assert self.near.connected

    def run(self, length_ms: int) -> None:
        self.world.run_for(length_ms)

    def send_all(self, data: bytes) -> None:
        while data:
            data = data[self.near.send(data) :]


def test_bytes_keep_their_order_however_they_are_cut() -> None:
    pair = Pair(choppy=True)
    sent = bytes(random.Random(3).randbytes(5000))
    for at in range(0, len(sent), 50):
        pair.send_all(sent[at : at + 50])
        pair.run(1)
    pair.run(100)
    assert pair.far.read(10_000) == sent


def test_what_meets_a_cut_comes_after_it_and_the_window_closes_meanwhile() -> None:
    pair = Pair()
    pair.network.cut.add((HERE.host, THERE.host))
    assert pair.near.send(b"x" * (WINDOW + 10)) == WINDOW
    assert pair.near.send(b"y") == 0
    pair.run(5000)
    assert not pair.far.inbox
    pair.network.cut.clear()
    pair.run(1000)
    assert len(pair.far.read(WINDOW)) == WINDOW
    assert pair.near.send(b"y") == 1


def test_what_is_late_comes_in_order_when_the_network_is_healed() -> None:
    pair = Pair()
    pair.network.slow[HERE.host, THERE.host] = 30_000
    pair.send_all(b"one ")
    pair.run(100)
    pair.send_all(b"two ")
    pair.run(100)
    pair.network.heal()
    pair.send_all(b"three")
    pair.run(10)
    assert pair.far.read(99) == b"one two three"
    pair.run(60_000)
    assert pair.far.read(99) == b""


def test_a_process_that_dies_sends_an_end_or_a_reset_when_something_was_unread() -> None:
    quiet, busy = Pair(), Pair()
    busy.send_all(b"unread")
    for pair in (quiet, busy):
        pair.run(10)
        pair.far_process.up = False
        pair.network.die(pair.far_process, quietly=False)
        pair.run(10)
    assert (quiet.near.ended, quiet.near.broken) == (True, 0)
    assert busy.near.broken == errno.ECONNRESET


def test_a_host_without_power_says_nothing_until_it_is_back_and_knows_nothing() -> None:
    pair = Pair()
    pair.far_process.up = pair.far_process.host_up = False
    pair.network.die(pair.far_process, quietly=True)
    pair.send_all(b"anybody there?")
    pair.run(60_000)
    assert not pair.near.ended
    assert not pair.near.broken
    pair.far_process.up = pair.far_process.host_up = True
    pair.far_process.life += 1
    pair.run(2000)
    assert pair.near.broken == errno.ECONNRESET


@pytest.mark.parametrize(("silent", "error"), [(False, errno.ECONNREFUSED), (True, errno.ETIMEDOUT)])
def test_a_connection_is_refused_by_a_host_and_times_out_without_one(silent: bool, error: int) -> None:
    pair = Pair()
    pair.far_process.up = False
    pair.far_process.host_up = not silent
    end = pair.network.connect(pair.near_process, HERE.host, THERE, Nobody())
    pair.run(100)
    assert bool(end.broken) is not silent
    pair.run(60_000)
    assert end.broken == error


# ---------------------------------------------------------------- the kernel


async def test_the_poller_tells_what_is_ready_as_long_as_it_is() -> None:
    pair = Pair()
    kernel = Kernel(pair.network, pair.near_process)
    poller = kernel.make_poller()
    sock = VirtualSocket(kernel, pair.near)
    poller.watch(sock.fileno(), READ, known=False)
    assert poller.ready(9) == []
    pair.far.send(b"hello")
    pair.run(10)
    await poller.wait()
    assert poller.ready(9) == [(sock.fileno(), READ)]
    assert sock.recv(2) == b"he"
    assert poller.ready(9) == [(sock.fileno(), READ)]
    assert sock.recv(9) == b"llo"
    assert poller.ready(9) == []
    poller.watch(sock.fileno(), READ | WRITE, known=True)
    assert poller.ready(9) == [(sock.fileno(), WRITE)]
    poller.watch(sock.fileno(), 0, known=True)
    pair.far.close()
    pair.run(10)
    assert poller.ready(9) == []
    pair.network.die(pair.near_process, quietly=False)
    pair.near.broken = errno.ECONNRESET
    kernel.poke(sock.fileno())
    assert poller.ready(9) == [(sock.fileno(), TROUBLE)]


async def test_numbers_are_used_again_and_a_closed_one_is_forgotten() -> None:
    pair = Pair()
    kernel = Kernel(pair.network, pair.near_process)
    poller = kernel.make_poller()
    one, other = kernel.stream(0), kernel.stream(0)
    poller.watch(one.fileno(), READ, known=False)
    number = one.fileno()
    one.close()
    assert one.fileno() == -1
    assert poller.ready(9) == []
    third = kernel.stream(0)
    assert (third.fileno(), other.fileno()) == (number, number + 1)
    with pytest.raises(OSError, match="known"):
        poller.watch(third.fileno(), READ, known=True)


async def test_a_stopped_process_does_not_wake() -> None:
    pair = Pair()
    kernel = Kernel(pair.network, pair.near_process)
    poller = kernel.make_poller()
    sock = VirtualSocket(kernel, pair.near)
    poller.watch(sock.fileno(), READ, known=False)
    pair.near_process.frozen = True
    woken = trio.Event()

    async def wait() -> None:
        await poller.wait()
        woken.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        pair.far.send(b"hello")
        pair.run(10)
        await trio.testing.wait_all_tasks_blocked()
        assert not woken.is_set()
        pair.near_process.frozen = False
        kernel.thaw()
        await trio.testing.wait_all_tasks_blocked()
        assert woken.is_set()


# ---------------------------------------------------------------- the disk


def _after_power_failure(synced: bool) -> set[bytes]:
    """What may be found when the power fails after the rename and before the sync of the directory."""
    found = set()
    for seed in range(40):
        disk = VirtualDisk({CONF: b"old"})
        disk.write(TEMPORARY, b"new")
        if synced:
            disk.sync(TEMPORARY)
        disk.rename(TEMPORARY, CONF)
        assert (disk.read(CONF), disk.kept(CONF)) == (b"new", b"old")
        disk.lose_power(random.Random(seed))
        found.add(disk.read(CONF))
        assert disk.kept(CONF) == disk.read(CONF)
    return found


def test_a_power_failure_may_take_back_what_was_not_durable() -> None:
    assert _after_power_failure(synced=True) == {b"old", b"new"}
    assert _after_power_failure(synced=False) == {b"old", b"new", b"ne", b"n", b""}


def test_what_is_synced_stays() -> None:
    for seed in range(10):
        disk = VirtualDisk({CONF: b"old"})
        disk.write(TEMPORARY, b"new")
        disk.sync(TEMPORARY)
        disk.rename(TEMPORARY, CONF)
        disk.sync_directory()
        disk.lose_power(random.Random(seed))
        assert disk.read(CONF) == b"new"


# ---------------------------------------------------------------- the operator


def test_an_operator_has_words_for_whatever_harm_asks_for() -> None:
    asked = set(re.findall(r"\bi\.(\w+Asked)\b", inspect.getsource(harm)))
    assert asked
    assert asked <= {kind.__name__ for kind in WORDS}


# ---------------------------------------------------------------- whole daemons


class Deployment:
    """One daemon that watches a master and a replica."""

    def __init__(self, nursery: trio.Nursery, clock: trio.testing.MockClock, scenery: Scenery) -> None:
        self.cluster = StageCluster(StageWorld(4, clock), nursery, (0, 2), scenery)
        nursery.start_soon(self.cluster.world.run)
        master = self.cluster.add_server("10.0.0.1")
        self.cluster.add_server("10.0.0.2", master.address)
        settings = MasterSettings(quorum=1, down_after_ms=1000, failover_timeout_ms=5000)
        sentinel = self.cluster.add_sentinel("10.9.1.1", {"mymaster": master.address}, settings)
        assert isinstance(sentinel, StagedSentinel)
        self.sentinel = sentinel

    async def ask(self, *words: str) -> Reply:
        """One command to the daemon's port."""
        replies: list[Reply] = []
        person = Person(Address("10.3.3.3", 1))
        talker = Talker(
            self.cluster.streams, person, self.sentinel.address, replies.append, lambda: None, self.sentinel.password
        )
        talker.say(*words)
        while not replies:
            await trio.sleep(0.001)
        talker.close()
        return replies[0]


def _on_stage(story: object, scenery: Scenery) -> None:
    clock = trio.testing.MockClock(autojump_threshold=0)
    clock.jump(EPOCH_MS / 1000)

    async def perform() -> None:
        async with trio.open_nursery() as nursery:
            await story(Deployment(nursery, clock, scenery))  # type: ignore[operator]
            nursery.cancel_scope.cancel()

    with repeatable(4):
        trio.run(perform, clock=clock)


def test_a_daemon_on_the_stage_fails_over_and_begins_again_from_its_file() -> None:
    async def story(stage: Deployment) -> None:
        await trio.sleep(3)
        assert await stage.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster") == [b"10.0.0.1", b"6379"]
        stage.cluster.kill_server(next(iter(stage.cluster.servers.values())))
        await trio.sleep(10)
        assert await stage.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster") == [b"10.0.0.2", b"6379"]
        assert stage.cluster.scripts_run > 0
        stage.sentinel.crash(with_host=True)
        stage.sentinel.start()
        await trio.sleep(1)
        assert await stage.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster") == [b"10.0.0.2", b"6379"]
        assert stage.cluster.error is None

    _on_stage(story, Scenery(choppy=True, scripts=True, server_password="one", port_password="other"))


def test_a_stopped_daemon_answers_when_it_goes_on() -> None:
    async def story(stage: Deployment) -> None:
        await trio.sleep(3)
        stage.sentinel.freeze(4000)
        began_s = trio.current_time()
        assert await stage.ask("PING") == b"PONG"
        assert trio.current_time() - began_s >= 4
        assert isinstance(await stage.ask("INFO", "sentinel"), bytes)
        info = await stage.ask("INFO", "sentinel")
        assert isinstance(info, bytes)
        assert b"sentinel_tilt:1" in info
        assert stage.cluster.error is None

    _on_stage(story, Scenery())


def test_a_disk_that_fails_after_the_rename_is_told_and_read_after_a_crash() -> None:
    async def story(stage: Deployment) -> None:
        await trio.sleep(3)
        stage.sentinel.disk_fails = True
        outcomes = set()
        for number in range(12):
            reply = await stage.ask("SENTINEL", "SET", "mymaster", "parallel-syncs", str(number + 2))
            kept = f"parallel-syncs mymaster {number + 2}".encode() in stage.sentinel.files.read(CONF)
            outcomes.add((reply == b"OK", kept))
        assert outcomes == {(False, False), (False, True)}
        assert stage.cluster.seen["a save that failed after its rename"]

    _on_stage(story, Scenery())


def test_the_scenery_gives_scripts_to_every_master() -> None:
    async def story(stage: Deployment) -> None:
        await trio.sleep(1)
        assert stage.sentinel.engine.state.masters["mymaster"].settings.notification_script == SCRIPT

    _on_stage(story, Scenery(scripts=True))


def test_a_master_by_name_is_found_again_with_a_slow_resolver_and_where_it_moved() -> None:
    async def story(stage: Deployment) -> None:
        cluster, ask = stage.cluster, ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "named")
        names = cluster.network.names
        names.addresses["db"] = "10.0.0.1"
        await trio.sleep(1)
        assert await stage.ask("SENTINEL", "CONFIG", "SET", "resolve-hostnames", "yes") == b"OK"
        assert await stage.ask("SENTINEL", "MONITOR", "named", "db", "6379", "1") == b"OK"
        assert isinstance(await stage.ask("SENTINEL", "MONITOR", "nobody", "unknown", "6379", "1"), ErrorReply)
        await trio.sleep(2)
        assert await stage.ask(*ask) == [b"10.0.0.1", b"6379"]
        names.delay_ms = (3000, 3000)
        stage.sentinel.crash()
        stage.sentinel.start()
        await trio.sleep(10)
        assert await stage.ask(*ask) == [b"10.0.0.1", b"6379"]
        assert b"named" in stage.sentinel.files.read(CONF)
        assert stage.sentinel.engine.state.masters["named"].replicas
        assert cluster.error is None

    _on_stage(story, Scenery())


def test_a_stopwatch_goes_on_while_somebody_waits() -> None:
    """Who waits until something is made good would wait for ever."""
    world = World(1)
    stopwatch = Stopwatch(world)
    began_s = stopwatch()
    world.run_for(5000)
    assert stopwatch() - began_s >= 5
