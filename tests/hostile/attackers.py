"""``python -m tests.hostile.attackers CONNECTIONS PORT ...``: hostile connections, until standard input closes.

A process of its own, so that whoever measures is not held up by it. Every kind of attacker gets an equal part of the
connections to each port; whoever is thrown out comes back. Once a second a line tells how many are connected.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

Step: TypeAlias = bytes | float | None
"""What an attacker does next: send, wait so many seconds, or read (None)."""
Script: TypeAlias = Iterator[Step]

LOOPBACK: Final = "127.0.0.1"
ROUND_S: Final = 0.002
CHUNK: Final = 64 * 1024


def slow_sender(die: random.Random) -> Script:
    """One byte at a time, and never the last one."""
    yield b"*2\r\n$4\r\nPING\r\n$100000\r\n"
    while True:
        yield b"x"
        yield 0.05 + die.random() / 10


def huge_lengths(die: random.Random) -> Script:
    """Promises hundreds of megabytes, and begins to send them."""
    yield b"*%d\r\n$%d\r\n" % (die.randrange(2, 4096), die.randrange(1 << 28, 1 << 29))
    for _ in range(64):
        yield b"y" * 16384
        yield 0.05
    yield 30.0


def half_open(die: random.Random) -> Script:
    """Connects and says little or nothing."""
    yield die.choice((b"", b"*1\r\n$4\r\nPI", b"*", b"PING"))
    while True:
        yield 60.0


def deaf_subscriber(die: random.Random) -> Script:
    """Subscribes to everything, asks much, and reads nothing."""
    yield b"*2\r\n$10\r\nPSUBSCRIBE\r\n$1\r\n*\r\n*3\r\n$10\r\nPSUBSCRIBE\r\n$2\r\n+*\r\n$2\r\n-*\r\n"
    for _ in range(200):
        yield b"PING\r\n" * 500
        yield 0.1
    while True:
        yield 60.0


def hog(die: random.Random) -> Script:
    """As many expensive commands at once as fit, again and again."""
    words = die.choice((b"INFO\r\n", b"COMMAND\r\n", b"CLIENT LIST\r\n", b"SENTINEL MASTERS\r\n", b"PING\r\n"))
    while True:
        yield words * (16384 // len(words))
        yield None
        yield None


def many_words(die: random.Random) -> Script:
    """Requests of thousands of words."""
    words = b"".join(b"$5\r\n%05d\r\n" % number for number in range(4000))
    commands = (b"$9\r\nSUBSCRIBE\r\n", b"$10\r\nPSUBSCRIBE\r\n", b"$7\r\nCOMMAND\r\n")
    while True:
        yield b"*4001\r\n" + die.choice(commands) + words
        yield None
        yield 0.5


def reconnect_storm(die: random.Random) -> Script:
    """Comes, asks, and is gone: by a goodbye or a reset."""
    yield b"PING\r\n"
    if die.random() < 0.5:
        yield None


def garbage(die: random.Random) -> Script:
    """Anything."""
    for _ in range(die.randrange(1, 20)):
        yield die.randbytes(die.randrange(1, 2000))


KINDS: Final[tuple[Callable[[random.Random], Script], ...]] = (
    slow_sender,
    huge_lengths,
    half_open,
    deaf_subscriber,
    hog,
    many_words,
    reconnect_storm,
    garbage,
)


class Attacker:
    """One connection that follows a script, again from the start when it ends or is thrown out."""

    def __init__(self, port: int, kind: Callable[[random.Random], Script], seed: int) -> None:
        self._port = port
        self._kind = kind
        self._die = random.Random(seed)
        self._sock: socket.socket | None = None
        self._script: Script = iter(())
        self._unsent = b""
        self._not_before = 0.0

    @property
    def connected(self) -> bool:
        return self._sock is not None

    def act(self, now: float) -> None:
        """Do one step, if it is time for one."""
        if now < self._not_before:
            return
        if self._sock is None:
            self._come(now)
            return
        try:
            if self._unsent:
                self._unsent = self._unsent[self._sock.send(self._unsent[:CHUNK]) :]
                return
            step = next(self._script, "end")
            if step is None:
                if not self._sock.recv(CHUNK):
                    self._go(now)
            elif isinstance(step, float):
                self._not_before = now + step
                if not self._still_welcome():
                    self._go(now)
            elif isinstance(step, bytes):
                self._unsent = step
            else:
                self._go(now)
        except BlockingIOError:
            self._not_before = now + 0.02
        except OSError:
            self._go(now)

    def _come(self, now: float) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            try:
                sock.connect((LOOPBACK, self._port))
            except BlockingIOError:
                raise
            except OSError:
                sock.close()
                self._not_before = now + 0.5
                return
        self._sock, self._script, self._unsent = sock, self._kind(self._die), b""

    def _still_welcome(self) -> bool:
        assert self._sock is not None
        try:
            return self._sock.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True

    def _go(self, now: float) -> None:
        assert self._sock is not None
        if self._die.random() < 0.5:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._sock.close()
        self._sock = None
        self._not_before = now + self._die.random() / 20


def main(connections: int, ports: list[int]) -> None:
    """Attack until standard input closes."""
    attackers = [
        Attacker(ports[number % len(ports)], KINDS[number // len(ports) % len(KINDS)], number)
        for number in range(connections)
    ]
    told = 0.0
    while not select.select([0], [], [], ROUND_S)[0]:
        now = time.monotonic()
        for attacker in attackers:
            attacker.act(now)
        if now - told >= 1.0:
            told = now
            os.write(1, b"%d\n" % sum(attacker.connected for attacker in attackers))


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(word) for word in sys.argv[2:]])
