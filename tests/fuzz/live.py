"""A running sentinel under fuzz: mutated streams over many connections, while one well-behaved client looks on.

Looked for: an end of the process, a traceback, an unanswered PING, memory that grows without end.
"""

from __future__ import annotations

import contextlib
import random
import socket
import sys
import time
from collections.abc import Iterator
from typing import Final

from attrs import define

from tests.bench.rig import MASTER, Conn, connect_when_up, rss_kib, sides, stage, wait_for

from .corpus_files import kept
from .mutation import Mutator
from .seeds import TARGETS

CONNECTIONS: Final = 40
LIFETIME: Final = 50  # pieces a connection sends at most
PING_S: Final = 30.0
GROWTH_KIB: Final = 64 * 1024
_PAUSE: Final = b"pause"  # CLIENT PAUSE would silence everybody for as long as it says
_ENDS: Final = (b"shutdown", b"simulate", _PAUSE)
_RARE: Final = b"monitor"  # each makes a master that is watched from then on, and there is no end of names


@define
class Count:
    """What was sent and what came back."""

    pieces: int = 0
    sent: int = 0
    received: int = 0
    connections: int = 0
    pings: int = 0
    slowest_ping_s: float = 0.0


def fuzz_port(seconds: float, seed: int) -> int:
    """Fuzz a port for `seconds`; 1 when anything was found."""
    ours = sides((), ("valkey", "redis7"))[0]
    with stage() as here:
        server, port = here.ports.claim(), here.ports.claim()
        here.server(server)
        lines = [f"sentinel monitor {MASTER} 127.0.0.1 {server} 1", "timeout 20", "maxclients 200"]
        child = here.sentinel(ours, port, lines)
        witness = connect_when_up(port)
        wait_for(lambda: witness.ask("SENTINEL", "CKQUORUM", MASTER)[0:2] == "OK", "the master is watched")
        count = Count()
        sizes: list[int] = []
        began = time.monotonic()
        shower = _Shower(port, seed)
        try:
            while time.monotonic() - began < seconds:
                shower.rain(2.0, count)
                _look(port, count)
                sizes.append(rss_kib(child.pid))
                assert child.alive, f"it ended with {child.exit_code}:\n{child.output()}"
        except (AssertionError, OSError) as error:
            print(f"after {time.monotonic() - began:.0f} s: {error!r}\n{child.output()[-4000:]}", file=sys.stderr)
            return 1
        finally:
            shower.close()
        output = child.output()
        settled = sizes[len(sizes) // 10]
        print(
            f"port: {time.monotonic() - began:.0f} s, {count.connections} connections, {count.pieces} pieces, "
            f"{count.sent} bytes sent, {count.received} received; {count.pings} PINGs answered, the slowest in "
            f"{count.slowest_ping_s * 1000:.0f} ms; memory {settled} -> {sizes[-1]} KiB (most {max(sizes)})"
        )
        grown = sizes[-1] - settled > GROWTH_KIB
        if "Traceback" in output or grown:
            print(output[-4000:], file=sys.stderr)
            return 1
    return 0


def _look(port: int, count: Count) -> None:
    """A new client connects and is answered. Its limit is generous: this is no measurement."""
    began = time.monotonic()
    conn = Conn(port, timeout_s=PING_S)
    try:
        assert conn.ask("PING") == "PONG"
    finally:
        conn.close()
    count.pings += 1
    count.slowest_ping_s = max(count.slowest_ping_s, time.monotonic() - began)


class _Shower:
    """Connections that send what the mutator gives, read sometimes, and end in every way there is."""

    def __init__(self, port: int, seed: int) -> None:
        self._port = port
        self._die = random.Random(seed)
        target = TARGETS["session"]
        corpus = [*target.seeds, *(data for _, data in kept("session"))]
        self._mutator = Mutator(corpus, target.tokens, seed)
        self._socks: dict[socket.socket, int] = {}

    def rain(self, seconds: float, count: Count) -> None:
        """Send for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            while len(self._socks) < CONNECTIONS:
                self._connect()
                count.connections += 1
            for sock in list(self._socks):
                self._one(sock, count)

    def close(self) -> None:
        for sock in list(self._socks):
            self._end(sock)

    def _connect(self) -> None:
        sock = socket.create_connection(("127.0.0.1", self._port), 30.0)
        sock.setblocking(False)
        self._socks[sock] = self._die.randrange(1, LIFETIME)

    def _one(self, sock: socket.socket, count: Count) -> None:
        die = self._die
        try:
            for piece in self._pieces():
                count.sent += sock.send(piece)
                count.pieces += 1
            if die.random() < 0.7:
                data = sock.recv(1 << 20)
                count.received += len(data)
                if not data:
                    self._end(sock)
                    return
        except BlockingIOError:
            pass
        except OSError:
            self._end(sock)
            return
        self._socks[sock] -= 1
        if self._socks[sock] <= 0:
            if die.random() < 0.3:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_WR)
                self._socks[sock] = 2
            else:
                self._end(sock)

    def _pieces(self) -> Iterator[bytes]:
        data = self._mutator.next()
        lowered = data.lower()
        if any(word in lowered for word in _ENDS) or (_RARE in lowered and self._die.random() < 0.995):
            return
        if self._die.random() < 0.3:
            cut = self._die.randrange(len(data) + 1)
            yield data[:cut]
            data = data[cut:]
        yield data

    def _end(self, sock: socket.socket) -> None:
        self._socks.pop(sock, None)
        if self._die.random() < 0.3:  # with a reset in place of a goodbye
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
