"""Sockets of the system, and which of them are ready: epoll, or what the system has instead.

A poll set is itself a descriptor that Trio can wait for, so one task can wait for thousands of sockets.
"""

from __future__ import annotations

import io
import os
import select
import selectors
import socket
from typing import Any, Final, Protocol

import trio

from trio_sentinel.ports import Socket, Spare

READ: Final = 1  # EPOLLIN
WRITE: Final = 4  # EPOLLOUT
TROUBLE: Final = 8 | 16  # EPOLLERR | EPOLLHUP: reported whether asked for or not


class Poller(Protocol):
    """A set of descriptors and the wish to hear of them. The simulator has one of its own."""

    def watch(self, fd: int, interest: int, *, known: bool) -> None:
        """Be told of READ and WRITE; `known` when `fd` is in the set already. Trouble is always told."""

    def forget(self, fd: int) -> None:
        """Take `fd` out of the set."""

    def ready(self, limit: int) -> list[tuple[int, int]]:
        """Descriptors and their events (READ, WRITE, TROUBLE bits), at most `limit`, without waiting."""

    async def wait(self) -> None:
        """Return when `ready` would have something. A checkpoint."""

    def close(self) -> None:
        """Give the set back to the system."""


class EpollPoller:
    """`Poller` over epoll, which Trio's own epoll watches in turn."""

    def __init__(self) -> None:
        self._epoll = select.epoll()

    def watch(self, fd: int, interest: int, *, known: bool) -> None:
        """See `Poller`."""
        if known:
            self._epoll.modify(fd, interest)
        else:
            self._epoll.register(fd, interest)

    def forget(self, fd: int) -> None:
        """See `Poller`."""
        self._epoll.unregister(fd)

    def ready(self, limit: int) -> list[tuple[int, int]]:
        """See `Poller`."""
        return self._epoll.poll(0, limit)

    async def wait(self) -> None:
        """See `Poller`."""
        await trio.lowlevel.wait_readable(self._epoll.fileno())

    def close(self) -> None:
        """See `Poller`."""
        self._epoll.close()


class SelectorPoller:
    """`Poller` over what `selectors` finds best, for systems without epoll (kqueue can be waited for, too)."""

    def __init__(self) -> None:
        self._selector: Any = selectors.DefaultSelector()
        self._idle: set[int] = set()

    def watch(self, fd: int, interest: int, *, known: bool) -> None:
        """See `Poller`. A selector knows no empty interest: such a descriptor is left out of it."""
        events = (selectors.EVENT_READ if interest & READ else 0) | (selectors.EVENT_WRITE if interest & WRITE else 0)
        inside = known and fd not in self._idle
        if not events:
            self._idle.add(fd)
            if inside:
                self._selector.unregister(fd)
            return
        self._idle.discard(fd)
        if inside:
            self._selector.modify(fd, events)
        else:
            self._selector.register(fd, events)

    def forget(self, fd: int) -> None:
        """See `Poller`."""
        if fd in self._idle:
            self._idle.discard(fd)
        else:
            self._selector.unregister(fd)

    def ready(self, limit: int) -> list[tuple[int, int]]:
        """See `Poller`."""
        found = []
        for key, events in self._selector.select(0)[:limit]:
            bits = (READ if events & selectors.EVENT_READ else 0) | (WRITE if events & selectors.EVENT_WRITE else 0)
            found.append((key.fd, bits))
        return found

    async def wait(self) -> None:
        """See `Poller`."""
        await trio.lowlevel.wait_readable(self._selector.fileno())

    def close(self) -> None:
        """See `Poller`."""
        self._selector.close()


def make_poller() -> Poller:
    """The best `Poller` of this system."""
    return EpollPoller() if hasattr(select, "epoll") else SelectorPoller()


class SystemSockets:
    """`ports.Sockets` of the system."""

    def stream(self, family: int) -> Socket:
        """See `Sockets`."""
        sock = socket.socket(family, socket.SOCK_STREAM | getattr(socket, "SOCK_NONBLOCK", 0))
        sock.setblocking(False)
        return sock

    def pair(self) -> tuple[Socket, Socket]:
        """See `Sockets`."""
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        return near, far

    def spare(self) -> Spare:
        """See `Sockets`."""
        return io.FileIO(os.devnull)
