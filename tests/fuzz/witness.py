"""The well-behaved client that looks on while a port is fuzzed, and the administrator who keeps the stage in order.

How long an answer takes is counted in the daemon's own time: what passed on the clock, less what the daemon waited for
a processor. A machine that is busy with other things is no finding; a lost wake-up, a long computation or a disk that
holds up the loop is.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

import hiredis
from attrs import Factory, define

from tests.bench.rig import LOOPBACK, MASTER, rss_kib
from tests.real.harness_processes import Child

USER: Final = b"witness"
USER_LINE: Final = "user witness on >witness ~* &* +@all"
SLOW_S: Final = 2.0
HANG_S: Final = 30.0
STACKS: Final = 20  # of slow answers that are told at most
TRIES: Final = 5  # for the fuzzer may have found CLIENT KILL
MOST_MASTERS: Final = 200
TICK_S: Final = 0.5

Words = Sequence[bytes]


class Hang(Exception):
    """A healthy client was not answered, or not as it should be."""


@define
class Witness:
    """Each question is asked on a new connection. `server` is the port of the server behind `MASTER`."""

    child: Child
    port: int
    server: int
    pings: int = 0
    slowest_s: float = 0.0
    removed: int = 0
    _told: int = 0

    def look(self) -> None:
        """A new client connects, logs in and is answered. Raises Hang when it is not."""
        began = self._own_s()
        answers = self._ask([b"PING"])
        if answers != [b"PONG"]:
            raise Hang(f"a healthy client was answered {answers}")
        self.pings += 1
        self.slowest_s = max(self.slowest_s, self._own_s() - began)

    def tidy(self, most: int = MOST_MASTERS) -> None:
        """Undo what lets the stage grow or stand still: masters without end, the loss of the real one, probes each
        millisecond."""
        [rows] = self._ask([b"SENTINEL", b"MASTERS"])
        names = [row[1] for row in rows]
        others = [name for name in names if name != MASTER.encode()]
        orders: list[Words] = [(b"SENTINEL", b"REMOVE", name) for name in others[: max(0, len(others) - most)]]
        self.removed += len(orders)
        if len(others) == len(names):
            address = (LOOPBACK.encode(), b"%d" % self.server, b"1")
            orders.append((b"SENTINEL", b"MONITOR", MASTER.encode(), *address))
        orders.append((b"SENTINEL", b"DEBUG", b"INFO-PERIOD", b"10000", b"PING-PERIOD", b"1000"))
        self._ask(*orders)

    def descriptors(self) -> int:
        """How many the daemon has open."""
        return len(os.listdir(f"/proc/{self.child.pid}/fd"))

    def _ask(self, *requests: Words) -> list[Any]:
        """The answers, from a new connection."""
        for _ in range(TRIES):
            with suppress(ConnectionError):
                return self._ask_once(requests)
            if not self.child.alive:
                raise Hang(f"it ended with {self.child.exit_code}")
        raise Hang(f"a healthy client was closed {TRIES} times")

    def _ask_once(self, requests: Sequence[Words]) -> list[Any]:
        began, slow = self._own_s(), False
        with closing(_Client(self.port)) as client:
            client.send((b"AUTH", USER, USER), *requests)
            while not client.has(1 + len(requests)):
                waited = self._own_s() - began
                if waited > SLOW_S and not slow:
                    slow = True
                    self._tell(waited)
                if waited > HANG_S:
                    self._crash()
                    raise Hang(f"not answered in {waited:.0f} s of the daemon's own time")
            return client.replies[1:]

    def _own_s(self) -> float:
        """A clock that stands still while the daemon waits for a processor."""
        waited_ns = 0
        with suppress(OSError, IndexError):
            waited_ns = int(Path(f"/proc/{self.child.pid}/schedstat").read_text().split()[1])
        return time.monotonic() - waited_ns / 1e9

    def _tell(self, waited_s: float) -> None:
        """What the daemon does now, where py-spy is there to see it."""
        if self._told >= STACKS:
            return
        self._told += 1
        spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
        stacks = "(no py-spy)"
        if spy is not None:
            dump = [spy, "dump", "--pid", str(self.child.pid)]
            found = subprocess.run(dump, check=False, capture_output=True, text=True)
            stacks = found.stdout + found.stderr
        print(f"no answer for {waited_s:.1f} s; {rss_kib(self.child.pid)} KiB\n{stacks}", file=sys.stderr, flush=True)

    def _crash(self) -> None:
        """End the daemon so that it writes down the stacks of all its threads."""
        with suppress(OSError, AssertionError, subprocess.TimeoutExpired):
            self.child.send_signal(signal.SIGABRT)
            self.child.wait_exit(10.0)


@define
class _Client:
    """A connection that keeps replies as they are: names of masters may be any bytes."""

    port: int
    replies: list[Any] = Factory(list)
    _reader: hiredis.Reader = Factory(hiredis.Reader)
    _sock: socket.socket = Factory(lambda self: socket.create_connection((LOOPBACK, self.port), HANG_S), True)

    def send(self, *requests: Words) -> None:
        self._sock.settimeout(HANG_S)
        for words in requests:
            parts = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
            self._sock.sendall(b"*%d\r\n" % len(words) + parts)
        self._sock.settimeout(TICK_S)

    def has(self, count: int) -> bool:
        """Whether so many replies are there; waits for a moment. Raises ConnectionError when it is closed."""
        with suppress(TimeoutError):
            data = self._sock.recv(1 << 20)
            if not data:
                raise ConnectionResetError("closed by the other end")
            self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            self.replies.append(reply)
        return len(self.replies) >= count

    def close(self) -> None:
        self._sock.close()
