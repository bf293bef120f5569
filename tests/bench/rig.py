"""What every measurement needs: the sides that are compared, processes that end with the block, and raw connections."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hiredis
from attrs import Factory, define, frozen

from tests.real.harness_ports import PortClaims
from tests.real.harness_processes import LOOPBACK as LOOPBACK
from tests.real.harness_processes import Child
from tests.real.harness_servers import redis7_missing, valkey_binary

CACHE = Path(tempfile.gettempdir()) / f"trio-sentinel-bench-{os.getuid()}"
"""Compiled modules, so that our start is that of an installed program, also where the interpreter is told to write
none."""
ROOT = Path(__file__).resolve().parents[2]
MASTER = "mymaster"


@frozen
class Side:
    """One of the programs that are compared. ``{conf}`` in the command stands for its configuration file."""

    name: str
    command: tuple[str, ...]

    def argv(self, conf: Path) -> list[str]:
        """The whole command."""
        return [word.replace("{conf}", str(conf)) for word in self.command]


def sides(more: Sequence[str], without: Sequence[str]) -> list[Side]:
    """Ours, Valkey's, Redis 7.0's where it is installed, and `more` as ``name=command with {conf}``."""
    found = [
        Side("ours", (sys.executable, "-m", "trio_sentinel", "{conf}")),
        Side("valkey", (valkey_binary(), "{conf}", "--sentinel")),
    ]
    if redis7_missing() is None:
        found.append(Side("redis7", (str(shutil.which("redis-sentinel")), "{conf}")))
    for text in more:
        name, _, command = text.partition("=")
        found.append(Side(name, tuple(shlex.split(command))))
    return [side for side in found if side.name not in without]


def turns(order: Sequence[Side], rounds: int) -> Iterator[Side]:
    """Each side once a round, every second round backwards, so that a slow drift of the machine hits all alike."""
    for number in range(rounds):
        yield from order if number % 2 == 0 else tuple(reversed(order))


# ---------------------------------------------------------------- connections


class Conn:
    """A blocking connection that speaks RESP2. Raises OSError when it breaks or after `timeout_s`."""

    def __init__(self, port: int, host: str = LOOPBACK, timeout_s: float = 2.0) -> None:
        self.sock = socket.create_connection((host, port), timeout_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader(encoding="utf-8", errors="replace")

    def send(self, *words: object) -> None:
        """One command, without waiting."""
        self.sock.sendall(packed(*words))

    def read(self) -> Any:
        """The next reply; an error reply is returned as a hiredis.ReplyError."""
        while (reply := self._reader.gets()) is False:
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionResetError("closed by the other end")
            self._reader.feed(data)
        return reply

    def ask(self, *words: object) -> Any:
        """Send one command and read its reply."""
        self.send(*words)
        return self.read()

    def close(self) -> None:
        self.sock.close()


def packed(*words: object) -> bytes:
    """One command in RESP."""
    parts = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def pairs(flat: Sequence[str]) -> dict[str, str]:
    """A flat reply of names and values as a dict."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


class Listener:
    """Everything one sentinel publishes, with the time of arrival in seconds; a thread of its own."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[float, str, str]] = []
        self._conn = Conn(port)
        self._conn.ask("PSUBSCRIBE", "*")
        self._conn.sock.settimeout(None)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            while True:
                _, _, channel, text = self._conn.read()
                self.heard.append((time.monotonic(), channel, text))
        except (OSError, ValueError):
            return

    def times(self, channel: str, begins: str = "", since: float = 0.0) -> list[float]:
        """When it said `channel` with a text that begins so."""
        return [at for at, said, text in self.heard if said == channel and text.startswith(begins) and at >= since]

    def close(self) -> None:
        self._conn.sock.shutdown(socket.SHUT_RDWR)
        self._conn.close()


# ---------------------------------------------------------------- processes


def environment() -> dict[str, str]:
    """What our own processes get besides the surroundings."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {"PYTHONPATH": path, "PYTHONPYCACHEPREFIX": str(CACHE), "PYTHONDONTWRITEBYTECODE": ""}


def compile_all() -> None:
    """Fill `CACHE` as an installation does: the first start would compile a thousand files."""
    words = "import trio_sentinel.app, trio_sentinel.cli, trio_sentinel.wire.extras"
    subprocess.run([sys.executable, "-c", words], check=True, env={**os.environ, **environment()})


@define
class Stage:
    """The processes, ports and files of one sample."""

    directory: Path
    ports: PortClaims = Factory(PortClaims)
    children: list[Child] = Factory(list)

    def start(self, name: str, argv: Sequence[str]) -> Child:
        """Start a process that ends with the stage."""
        child = Child(name, argv, out_path=self.directory / f"{name}.out", cwd=self.directory)
        child.environment = environment()
        self.children.append(child)
        child.spawn()
        return child

    def server(self, port: int, replica_of: int | None = None) -> Child:
        """Start a Valkey data server."""
        lines = ["save ''", "repl-diskless-sync-delay 0", f"port {port}", f"bind {LOOPBACK}", f"dir {self.directory}"]
        if replica_of is not None:
            lines.append(f"replicaof {LOOPBACK} {replica_of}")
        conf = self.directory / f"server{port}.conf"
        conf.write_text("\n".join(lines) + "\n")
        return self.start(f"server{port}", [valkey_binary(), str(conf)])

    def sentinel(self, side: Side, port: int, lines: Sequence[str]) -> Child:
        """Start a sentinel; a directory of its own for its file."""
        directory = self.directory / f"sentinel{port}"
        directory.mkdir(exist_ok=True)
        conf = directory / "sentinel.conf"
        conf.write_text("\n".join([f"port {port}", f"bind {LOOPBACK}", f"dir {directory}", *lines]) + "\n")
        return self.start(f"sentinel{port}", side.argv(conf))


@contextmanager
def stage() -> Iterator[Stage]:
    """A stage whose processes, each by its own pid, and files are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        here = Stage(Path(name))
        try:
            yield here
        finally:
            for child in reversed(here.children):
                child.clean_up()
            here.ports.release()


def wait_for(holds: Callable[[], object], what: str, seconds: float = 60.0, pause_s: float = 0.02) -> float:
    """Wait until `holds()` is true; the monotonic time then. Errors of connections count as "not yet"."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if holds():
                return time.monotonic()
        except (OSError, KeyError, IndexError, TypeError, ValueError):
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s in vain: {what}")
        time.sleep(pause_s)


def connect_when_up(port: int, seconds: float = 60.0) -> Conn:
    """A connection to a process that is starting, once it answers PING."""
    found: list[Conn] = []

    def up() -> list[Conn]:
        conn = Conn(port)
        try:
            if conn.ask("PING") == "PONG":
                found.append(conn)
        finally:
            if not found:
                conn.close()
        return found

    wait_for(up, f"port {port} answers", seconds, 0.005)
    return found[0]


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used, all threads that still run."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def rss_kib(pid: int) -> int:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0
