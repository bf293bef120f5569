"""Connections that send mutated streams, read sometimes, and end in every way there is."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Iterator
from typing import Final

from attrs import define

from tests.bench.rig import LOOPBACK

from .corpus_files import kept
from .mutation import Mutator
from .seeds import TARGETS
from .tape import Tape

CONNECTIONS: Final = 40
LIFETIME: Final = 50  # pieces a connection sends at most
_PAUSE: Final = b"pause"  # CLIENT PAUSE would silence everybody for as long as it says
_ENDS: Final = (b"shutdown", b"simulate", _PAUSE)
_RARE: Final = b"monitor"  # each makes a master that is watched from then on, and there is no end of names
_RARE_SHARE: Final = 0.3


@define
class Count:
    """What was sent and what came back."""

    pieces: int = 0
    sent: int = 0
    received: int = 0
    connections: int = 0


@define(eq=False)
class _Hose:
    """One connection: its number on the tape, and how many pieces it still sends."""

    number: int
    sock: socket.socket
    left: int


class Shower:
    """Everything sent is on the tape, in its order."""

    def __init__(self, port: int, seed: int) -> None:
        self._port = port
        self._die = random.Random(seed)
        target = TARGETS["session"]
        corpus = [*target.seeds, *(data for _, data in kept("session"))]
        self._mutator = Mutator(corpus, target.tokens, seed)
        self._hoses: list[_Hose] = []
        self.count = Count()
        self.tape = Tape()

    def rain(self, seconds: float) -> None:
        """Send for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            while len(self._hoses) < CONNECTIONS:
                self._connect()
            for hose in list(self._hoses):
                self._one(hose)

    def close(self) -> None:
        """End all connections."""
        for hose in list(self._hoses):
            self._end(hose)

    def _connect(self) -> None:
        sock = socket.create_connection((LOOPBACK, self._port), 30.0)
        sock.setblocking(False)
        self.count.connections += 1
        self._hoses.append(_Hose(self.count.connections, sock, self._die.randrange(1, LIFETIME)))

    def _one(self, hose: _Hose) -> None:
        die, sock = self._die, hose.sock
        try:
            for piece in self._pieces():
                self.count.sent += sock.send(piece)
                self.count.pieces += 1
                self.tape.sent(hose.number, piece)
            if die.random() < 0.7:
                data = sock.recv(1 << 20)
                self.count.received += len(data)
                if not data:
                    self._end(hose)
                    return
        except BlockingIOError:
            pass
        except OSError:
            self._end(hose)
            return
        hose.left -= 1
        if hose.left <= 0:
            if die.random() < 0.3:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_WR)
                hose.left = 2
            else:
                self._end(hose)

    def _pieces(self) -> Iterator[bytes]:
        data = self._mutator.next()
        lowered = data.lower()
        if any(word in lowered for word in _ENDS) or (_RARE in lowered and self._die.random() > _RARE_SHARE):
            return
        if self._die.random() < 0.3:
            cut = self._die.randrange(len(data) + 1)
            yield data[:cut]
            data = data[cut:]
        yield data

    def _end(self, hose: _Hose) -> None:
        self._hoses.remove(hose)
        self.tape.ended(hose.number)
        if self._die.random() < 0.3:  # with a reset in place of a goodbye
            hose.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        hose.sock.close()
