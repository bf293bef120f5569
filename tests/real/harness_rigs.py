"""Three data servers, a master and two replicas, that can be real or the simulator's fakes, asked over raw RESP.

A scenario plays the same script on both and returns what a sentinel would read; addresses are called by the names of
the servers, and everything that differs from run to run (ids, offsets) by what it is.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trio_sentinel.model.values import Address, InfoReading
from trio_sentinel.sim.redis import Mood
from trio_sentinel.sim.stage_clients import Person, Talker, make_reader
from trio_sentinel.sim.stage_network import StageNetwork
from trio_sentinel.sim.stage_server import StagedServer
from trio_sentinel.sim.world import World
from trio_sentinel.wire import readings
from trio_sentinel.wire.orders import command
from trio_sentinel.wire.replies import ErrorReply, Reply

from .harness_ports import PortClaims
from .harness_processes import LOOPBACK
from .harness_servers import DataServer, Flavour

LIMIT_S = 20.0
SILENCE_S = 0.15
NAMES = ("A", "B", "C")
SLOW_LOADING = ("--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024")


class Line(ABC):
    """One connection."""

    @abstractmethod
    def say(self, *words: str) -> None:
        """Send one command."""

    @abstractmethod
    def replies(self, seconds: float, count: int) -> list[Reply]:
        """What comes within some seconds, at most `count`."""

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether the server has hung up; waits a moment for it."""

    def hear(self) -> Reply:
        """The next reply."""
        replies = self.replies(LIMIT_S, 1)
        assert replies, "no reply"
        return replies[0]

    def ask(self, *words: str) -> Reply:
        """One command and its reply."""
        self.say(*words)
        return self.hear()

    def silent(self) -> bool:
        """Whether nothing comes for a while."""
        return not self.replies(SILENCE_S, 1)


class Rig(ABC):
    """The servers A (a master), B and C (its replicas)."""

    old = False
    """Whether it is Redis 6.2, where CLIENT PAUSE and FAILOVER share one pause, and a stale replica says PONG."""

    @abstractmethod
    def line(self, name: str) -> Line:
        """A new connection."""

    @abstractmethod
    def address(self, name: str) -> Address:
        """Where a server listens."""

    @abstractmethod
    def kill(self, name: str) -> None:
        """SIGKILL."""

    @abstractmethod
    def start(self, name: str) -> None:
        """Start again after `kill`."""

    @abstractmethod
    def stop(self, name: str) -> None:
        """SIGSTOP."""

    @abstractmethod
    def cont(self, name: str) -> None:
        """SIGCONT."""

    @abstractmethod
    def protect(self, name: str, password: str) -> None:
        """Ask for a password from now on."""

    @abstractmethod
    def make_busy(self, name: str) -> None:
        """Run a script that never ends, until SCRIPT KILL."""

    @abstractmethod
    def make_loading(self, name: str) -> None:
        """Start again with data that take long to load."""

    @abstractmethod
    def make_stale(self, name: str) -> None:
        """A replica that lost its master and serves no stale data."""

    @abstractmethod
    def forbid(self, name: str, word: str) -> None:
        """An ACL takes one command from the default user."""

    @abstractmethod
    def hide(self, name: str) -> None:
        """``replica-announced no``."""

    @abstractmethod
    def lose_data(self, name: str) -> None:
        """For a server that is killed: it will start without data."""

    @abstractmethod
    def slow_copies(self, master: str, replica: str) -> None:
        """A copy of all data takes about two seconds from now on."""

    @abstractmethod
    def set_priority(self, name: str, priority: int) -> None:
        """For promotion."""

    @abstractmethod
    def pause(self) -> None:
        """Let a little time pass."""

    def wait(self, holds: Callable[[], object]) -> None:
        """Until that is so."""
        for _ in range(400):
            if holds():
                return
            self.pause()
        raise AssertionError("it never came true")

    def target(self, name: str) -> tuple[str, str]:
        """Host and port as words."""
        address = self.address(name)
        return address.host, str(address.port)

    def called(self, address: Address) -> str:
        """The name of the server at an address."""
        return next((name for name in NAMES if self.address(name) == address), str(address))

    def info(self, name: str) -> InfoReading:
        """What a sentinel reads in INFO."""
        return self.read(self.line(name).ask("INFO"))

    def linked(self, name: str) -> InfoReading:
        """What a sentinel reads in INFO once the replication link is up."""
        self.wait(lambda: self.info(name).master_link_up)
        return self.info(name)

    def field(self, name: str, key: str) -> str:
        """One line of INFO."""
        reply = self.line(name).ask("INFO")
        assert isinstance(reply, bytes), reply
        return next(line.partition(":")[2] for line in reply.decode().splitlines() if line.startswith(f"{key}:"))

    def read(self, reply: Reply) -> InfoReading:
        """What a sentinel reads in this INFO."""
        assert isinstance(reply, bytes), reply
        return readings.info(reply)

    def tell(self, reading: InfoReading, *, replicas: bool = True) -> dict[str, Any]:
        """A reading without what differs from run to run; without `replicas` while they may come and go."""
        master = None
        if reading.master_host is not None and reading.master_port is not None:
            master = self.called(Address(reading.master_host, reading.master_port))
        return {
            "run id": reading.run_id is not None and len(reading.run_id) == 40,
            "role": reading.role,
            "replicas": sorted(map(self.called, reading.replicas)) if replicas else None,
            "master": master,
            "link": reading.master_link_up,
            "down": (reading.master_link_down_ms > 0) - (reading.master_link_down_ms < 0),
            "priority": reading.priority,
            "has offset": reading.repl_offset is not None,
            "announced": reading.announced,
            "failover": reading.failover_state,
        }


def shape(reply: Reply) -> Any:
    """A reply as it is compared: an error by its code, a status and a string by their text."""
    if isinstance(reply, ErrorReply):
        return f"-{reply.text.split(b' ')[0].decode()}"
    if isinstance(reply, list):
        return [shape(item) for item in reply]
    return reply.decode() if isinstance(reply, bytes) else reply


# ---------------------------------------------------------------- real servers


class RealLine(Line):
    """A socket."""

    def __init__(self, address: Address) -> None:
        self._sock = socket.create_connection((address.host, address.port), timeout=LIMIT_S)
        self._reader = make_reader()
        self._waiting: list[Reply] = []
        self._ended = False

    def say(self, *words: str) -> None:
        self._sock.sendall(command(*words))

    def replies(self, seconds: float, count: int) -> list[Reply]:
        end = time.monotonic() + seconds
        while len(self._waiting) < count and not self._ended:
            left = end - time.monotonic()
            if left <= 0:
                break
            self._sock.settimeout(left)
            try:
                data = self._sock.recv(65536)
            except TimeoutError:
                break
            except ConnectionResetError:
                data = b""
            self._ended = not data
            if data:
                self._reader.feed(data)
                while (reply := self._reader.gets()) is not False:
                    self._waiting.append(reply)
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    @property
    def closed(self) -> bool:
        self._waiting += self.replies(SILENCE_S, 100)
        return self._ended

    def close(self) -> None:
        """Hang up."""
        self._sock.close()


class RealRig(Rig):
    """Servers of one flavour."""

    def __init__(self, flavour: Flavour, directory: Path) -> None:
        self.old = flavour is Flavour.REDIS62
        self._ports = PortClaims()
        self._lines: list[RealLine] = []
        self._busy: list[Line] = []
        self._servers: dict[str, DataServer] = {}
        for name in NAMES:
            place = directory / name
            place.mkdir()
            master = self._servers.get("A")
            self._servers[name] = DataServer(
                name, flavour, port=self._ports.claim(), directory=place, replica_of=master, priority=100
            )
        for server in self._servers.values():
            server.spawn()
        self.settle()

    def settle(self) -> None:
        """Everybody answers, and both replicas are online."""
        self.wait(lambda: all(self._answers(name) for name in NAMES))
        self.wait(lambda: all(self.info(name).master_link_up for name in ("B", "C")))
        self.wait(lambda: len(self.info("A").replicas) == 2)

    def _answers(self, name: str) -> bool:
        try:
            return bool(shape(self.line(name).ask("PING")) == "PONG")
        except OSError:
            return False

    def line(self, name: str) -> Line:
        line = RealLine(self.address(name))
        self._lines.append(line)
        return line

    def address(self, name: str) -> Address:
        return Address(LOOPBACK, self._servers[name].port)

    def kill(self, name: str) -> None:
        self._servers[name].kill()

    def start(self, name: str) -> None:
        self._servers[name].spawn()
        self.wait(lambda: self._listens(name))

    def _listens(self, name: str) -> bool:
        try:
            self.line(name).ask("INFO")
        except OSError:
            return False
        return True

    def stop(self, name: str) -> None:
        self._servers[name].stop()

    def cont(self, name: str) -> None:
        self._servers[name].cont()

    def protect(self, name: str, password: str) -> None:
        assert shape(self.line(name).ask("CONFIG", "SET", "requirepass", password)) == "OK"

    def make_busy(self, name: str) -> None:
        assert shape(self.line(name).ask("CONFIG", "SET", "lua-time-limit", "20")) == "OK"
        line = self.line(name)
        line.say("EVAL", "while true do end", "0")
        time.sleep(0.1)
        self._busy.append(line)

    def make_loading(self, name: str) -> None:
        server = self._servers[name]
        line = self.line(name)
        assert shape(line.ask("SLAVEOF", "NO", "ONE")) == "OK"
        for number in range(400):
            line.say("SET", f"k{number}", "v" * 2000)
        for _ in range(400):
            line.hear()
        assert shape(line.ask("SAVE")) == "OK"
        server.kill()
        server.spawn(*SLOW_LOADING)
        self.wait(lambda: self._listens(name))

    def make_stale(self, name: str) -> None:
        assert shape(self.line(name).ask("CONFIG", "SET", "slave-serve-stale-data", "no")) == "OK"
        self.kill("A")
        self.wait(lambda: self.info(name).master_link_up is False)

    def forbid(self, name: str, word: str) -> None:
        assert shape(self.line(name).ask("ACL", "SETUSER", "default", f"-{word}")) == "OK"

    def hide(self, name: str) -> None:
        assert shape(self.line(name).ask("CONFIG", "SET", "replica-announced", "no")) == "OK"

    def lose_data(self, name: str) -> None:
        assert not (self._servers[name].conf_path.parent / "dump.rdb").exists(), "it saves nothing by itself"

    def slow_copies(self, master: str, replica: str) -> None:
        line = self.line(master)
        for number in range(200):
            line.say("SET", f"k{number}", "v")
        for _ in range(200):
            line.hear()
        assert shape(line.ask("CONFIG", "SET", "rdb-key-save-delay", "10000")) == "OK"

    def set_priority(self, name: str, priority: int) -> None:
        assert shape(self.line(name).ask("CONFIG", "SET", "slave-priority", str(priority))) == "OK"

    def pause(self) -> None:
        time.sleep(0.025)

    def end(self) -> None:
        """Everything goes."""
        for line in self._lines:
            line.close()
        for server in self._servers.values():
            if server.alive:
                os.kill(server.pid, signal.SIGCONT)
                server.kill()
            server.client.close()
        self._ports.release()


# ---------------------------------------------------------------- fakes


class FakeLine(Line):
    """A stream of the simulated network."""

    def __init__(self, rig: FakeRig, address: Address) -> None:
        self._rig = rig
        self._heard: list[Reply] = []
        self._gone = False
        self._talker = Talker(rig.network, rig.person, address, self._heard.append, self._go)

    def _go(self) -> None:
        self._gone = True

    def say(self, *words: str) -> None:
        self._talker.say(*words)

    def replies(self, seconds: float, count: int) -> list[Reply]:
        for _ in range(int(seconds * 1000)):
            if len(self._heard) >= count or self._gone:
                break
            self._rig.world.run_for(1)
        taken = self._heard[:count]
        del self._heard[:count]
        return taken

    @property
    def closed(self) -> bool:
        self._rig.world.run_for(int(SILENCE_S * 1000))
        return self._gone


class FakeRig(Rig):
    """Servers of the simulator."""

    def __init__(self, seed: int = 1) -> None:
        self.world = World(seed)
        self.network = StageNetwork(self.world)
        self.network.choppy = True
        self.person = Person(Address("10.0.9.9", 1))
        self._servers: dict[str, StagedServer] = {}
        self._empty: set[str] = set()
        branches = [0]
        for number, name in enumerate(NAMES):
            address = Address(f"10.0.0.{number + 1}", 6379)
            server = StagedServer(
                world=self.world,
                network=self.network,
                address=address,
                run_id=f"{number:040x}",
                master=None if name == "A" else self.address("A"),
                link_up=False,
                branches=branches,
            )
            self._servers[name] = server
            self.network.processes[address] = server
            server.listen()
            server.cron(server.life)
        self.world.run_for(3000)

    def line(self, name: str) -> Line:
        return FakeLine(self, self.address(name))

    def address(self, name: str) -> Address:
        return Address(f"10.0.0.{NAMES.index(name) + 1}", 6379)

    def kill(self, name: str) -> None:
        self._servers[name].kill()

    def start(self, name: str) -> None:
        self._servers[name].restart("f" * 40, empty=name in self._empty)
        self._empty.discard(name)

    def stop(self, name: str) -> None:
        self._servers[name].frozen = True

    def cont(self, name: str) -> None:
        self._servers[name].frozen = False

    def protect(self, name: str, password: str) -> None:
        self._servers[name].password = password

    def make_busy(self, name: str) -> None:
        self._servers[name].mood = Mood.BUSY

    def make_loading(self, name: str) -> None:
        server = self._servers[name]
        server.kill()
        server.restart("e" * 40, loading_ms=60_000)

    def make_stale(self, name: str) -> None:
        self.kill("A")
        self._servers[name].mood = Mood.STALE
        self.wait(lambda: self.info(name).master_link_up is False)

    def forbid(self, name: str, word: str) -> None:
        self._servers[name].forbidden = word.encode()

    def hide(self, name: str) -> None:
        self._servers[name].announced = False

    def lose_data(self, name: str) -> None:
        self._empty.add(name)

    def slow_copies(self, master: str, replica: str) -> None:
        self._servers[replica].resync_ms = 2000, 2000

    def set_priority(self, name: str, priority: int) -> None:
        self._servers[name].priority = priority

    def pause(self) -> None:
        self.world.run_for(25)


@contextmanager
def real_rig(flavour: Flavour, directory: Path) -> Iterator[RealRig]:
    """Real servers within the block."""
    rig = RealRig(flavour, directory)
    try:
        yield rig
    finally:
        rig.end()
