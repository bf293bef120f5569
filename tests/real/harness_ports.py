"""Loopback ports that no other test process on this machine is going to use.

A port is free when nobody holds its lock file and nobody listens on it. The lock is an flock(2) held by an open
descriptor, so it ends with the process that took it, however that process ends, and two pytest workers can never be
given the same port. Ports come from below the range from which the kernel takes ports for outgoing connections.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

LOWEST_PORT = 15_000
HIGHEST_PORT = 31_999


class PortClaims:
    """The ports of one test. `claim` takes one more, `release` gives all of them back."""

    def __init__(self) -> None:
        self._locks: dict[int, int] = {}
        self._directory = Path(tempfile.gettempdir()) / f"trio-sentinel-ports-{os.getuid()}"
        self._directory.mkdir(exist_ok=True)

    def claim(self) -> int:
        """A port on 127.0.0.1 that is ours until `release`."""
        for port in random.sample(range(LOWEST_PORT, HIGHEST_PORT + 1), k=500):
            if port in self._locks:
                continue
            lock = os.open(self._directory / str(port), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            if _lock_taken(lock) and _port_is_free(port):
                self._locks[port] = lock
                return port
            os.close(lock)
        raise RuntimeError("no free loopback port found in 500 attempts")

    def release(self) -> None:
        """Give all ports back."""
        for lock in self._locks.values():
            os.close(lock)
        self._locks.clear()


def _lock_taken(lock: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
