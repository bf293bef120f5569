"""Scripted strangers: a sentinel that says what a test wants, and a server that speaks no sense.

Both are plain blocking sockets in threads; what they say is decided by a function of the test.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import NamedTuple

from .harness_ports import PortClaims
from .harness_processes import LOOPBACK, open_client
from .harness_sentinels import HELLO_CHANNEL, MASTER, Sentinel


class LoopbackServer:
    """Accepts connections on 127.0.0.1 and gives each to `serve` in a thread of its own; a context manager."""

    def __init__(self, ports: PortClaims) -> None:
        self.port = ports.claim()
        self._listener = socket.create_server((LOOPBACK, self.port))
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, name=f"stranger :{self.port}", daemon=True)
        self._thread.start()

    def serve(self, connection: socket.socket) -> None:
        raise NotImplementedError

    def close(self) -> None:
        # Closing alone does not wake a thread that is blocked in accept or recv; shutdown does.
        for each in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._thread.join(5.0)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.serve(connection)
        connection.close()


class Ask(NamedTuple):
    """One SENTINEL is-master-down-by-addr as it came in, and what was answered."""

    epoch: int
    candidate: str
    voted: str
    voted_epoch: int


class ScriptedPeer(LoopbackServer):
    """A sentinel as seen from outside: answers PING and hellos, and votes as `vote` says.

    `vote(epoch, candidate)` gives the leader and epoch to answer; `*` and 0 is no vote. It always finds the master
    down while `finds_down` is set. All vote requests are kept in `asks`.
    """

    def __init__(
        self, ports: PortClaims, number: int, vote: Callable[[int, str], tuple[str, int]] = lambda _e, _c: ("*", 0)
    ) -> None:
        self.id = f"{number:x}".rjust(2, "0") * 20
        self.vote = vote
        self.finds_down = True
        self.asks: list[Ask] = []
        super().__init__(ports)

    def serve(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            while header := stream.readline():
                words = []
                for _ in range(int(header[1:])):
                    size = int(stream.readline()[1:])
                    words.append(stream.read(size + 2)[:size].decode())
                connection.sendall(self._reply(words))

    def _reply(self, words: list[str]) -> bytes:
        match [words[0].upper(), *words[1:]]:
            case ["PING", *_]:
                return b"+PONG\r\n"
            case ["PUBLISH", *_]:
                return b":1\r\n"
            case ["SENTINEL", _, _, _, epoch, candidate]:
                return self._opinion(int(epoch), candidate)
            case _:
                return b"+OK\r\n"

    def _opinion(self, epoch: int, candidate: str) -> bytes:
        leader, leader_epoch = ("*", 0) if candidate == "*" else self.vote(epoch, candidate)
        self.asks.append(Ask(epoch, candidate, leader, leader_epoch))
        return f"*3\r\n:{int(self.finds_down)}\r\n${len(leader)}\r\n{leader}\r\n:{leader_epoch}\r\n".encode()

    def hello(
        self, current_epoch: int | str, master_port: int | str, config_epoch: int | str = 0, *, host: str = LOOPBACK
    ) -> str:
        """The text of a hello of this peer."""
        return f"{LOOPBACK},{self.port},{self.id},{current_epoch},{MASTER},{host},{master_port},{config_epoch}"


class Babbler(LoopbackServer):
    """Answers whatever it is sent with `garbage`, again and again."""

    def __init__(self, ports: PortClaims, garbage: bytes) -> None:
        self.garbage = garbage
        self.heard = 0
        super().__init__(ports)

    def serve(self, connection: socket.socket) -> None:
        while connection.recv(65536):
            self.heard += 1
            connection.sendall(self.garbage)


def tell_hello(sentinel: Sentinel, text: str | bytes) -> int:
    """PUBLISH a hello to a sentinel, as its peers do; the reply."""
    return int(sentinel.ask("PUBLISH", HELLO_CHANNEL, text))


def publish_on_server(port: int, text: str | bytes) -> None:
    """PUBLISH a hello on a data server, from where every sentinel that watches it hears it."""
    client = open_client(port)
    client.publish(HELLO_CHANNEL, text)
    client.close()
