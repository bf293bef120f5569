"""The kernel under one life of one daemon: sockets with numbers, and a poller over them.

Both fulfil the runtime's ports. When the process is stopped nothing wakes; when it is dead nothing works.
"""

from __future__ import annotations

import errno
import heapq
import socket
from collections import deque
from typing import Any, Final, Protocol

import trio

from trio_sentinel.model.values import Address
from trio_sentinel.ports import Socket, Spare
from trio_sentinel.runtime.poller import READ, TROUBLE, WRITE
from trio_sentinel.sim.network import Process
from trio_sentinel.sim.stage_network import End, StageNetwork

FIRST_NUMBER: Final = 3


class Numbered(Protocol):
    """What stands behind a number."""

    def events(self) -> int:
        """READ, WRITE and TROUBLE bits, as they are now."""


class Kernel:
    """`ports.Sockets` for one life of a process. Numbers are reused as early as possible, as POSIX says."""

    def __init__(self, network: StageNetwork, process: Process) -> None:
        self.network = network
        self.process = process
        self.life = process.life
        self.open: dict[int, Numbered] = {}
        self.pollers: list[VirtualPoller] = []
        self._free: list[int] = []
        self._next = FIRST_NUMBER

    @property
    def dead(self) -> bool:
        """Whether the process has ended."""
        return self.process.life != self.life

    def number(self, behind: Numbered) -> int:
        """The lowest free number, for something new."""
        if self._free:
            fd = heapq.heappop(self._free)
        else:
            fd, self._next = self._next, self._next + 1
        self.open[fd] = behind
        return fd

    def give_back(self, fd: int) -> None:
        """A number is free again."""
        if self.open.pop(fd, None) is not None:
            heapq.heappush(self._free, fd)
            for poller in self.pollers:
                poller.lose(fd)

    def poke(self, fd: int) -> None:
        """Something happened behind a number."""
        for poller in self.pollers:
            poller.poke(fd)

    def thaw(self) -> None:
        """The process runs again: everybody looks."""
        for poller in self.pollers:
            poller.wake()

    # ------------------------------------------------------------ ports.Sockets

    def stream(self, family: int) -> Socket:
        """See `ports.Sockets`."""
        return VirtualSocket(self)

    def pair(self) -> tuple[Socket, Socket]:
        """See `ports.Sockets`."""
        one, other = PairedSocket(self), PairedSocket(self)
        one.far, other.far = other, one
        return one, other

    def spare(self) -> Spare:
        """See `ports.Sockets`."""
        return SpareNumber(self)

    def listen(self, address: Address) -> VirtualSocket:
        """A socket that listens there."""
        sock = VirtualSocket(self)
        sock.backlog = deque()
        sock.local = address
        self.network.listeners[address] = sock
        return sock

    def make_poller(self) -> VirtualPoller:
        """A poll set of this process."""
        poller = VirtualPoller(self)
        self.pollers.append(poller)
        return poller


class SpareNumber:
    """`ports.Spare`."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._fd = kernel.number(self)

    def events(self) -> int:
        """Nobody asks."""
        return 0

    def close(self) -> None:
        """See `ports.Spare`."""
        self._kernel.give_back(self._fd)


class SomeSocket:
    """What the sockets of a kernel have in common: those calls of `ports.Socket` that mean nothing here."""

    family: Any = socket.AF_INET

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.process: Process = kernel.process
        self.fd = kernel.number(self)

    def events(self) -> int:
        """See `Numbered`."""
        return 0

    def fileno(self) -> int:
        """See `ports.Socket`."""
        return self.fd

    def changed(self) -> None:
        """Something happened."""
        if self.fd >= 0:
            self.kernel.poke(self.fd)

    def setblocking(self, flag: bool, /) -> None:
        """See `ports.Socket`."""

    def setsockopt(self, level: int, option: int, value: int, /) -> None:
        """See `ports.Socket`."""

    def getsockopt(self, level: int, option: int, /) -> int:
        """See `ports.Socket`."""
        return 0

    def getsockname(self) -> Any:
        """See `ports.Socket`."""
        raise OSError(errno.ENOTSUP, "not here")

    def getpeername(self) -> Any:
        """See `ports.Socket`."""
        raise OSError(errno.ENOTCONN, "not connected")

    def bind(self, address: Any, /) -> None:
        """See `ports.Socket`."""

    def connect_ex(self, address: Any, /) -> int:
        """See `ports.Socket`."""
        return errno.ENOTSUP

    def accept(self) -> tuple[Any, Any]:
        """See `ports.Socket`."""
        raise OSError(errno.EINVAL, "does not listen")

    def close(self) -> None:
        """See `ports.Socket`."""
        if self.fd >= 0:
            self.kernel.give_back(self.fd)
            self.fd = -1


class PairedSocket(SomeSocket):
    """One of two that are connected within the process."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.far: PairedSocket
        self.inbox = bytearray()

    def events(self) -> int:
        """See `Numbered`."""
        return WRITE | (READ if self.inbox else 0)

    def send(self, data: Any, /) -> int:
        """See `ports.Socket`."""
        self.far.inbox += data
        self.far.changed()
        return len(data)

    def recv(self, size: int, /) -> bytes:
        """See `ports.Socket`."""
        if not self.inbox:
            raise BlockingIOError(errno.EAGAIN, "nothing yet")
        data = bytes(self.inbox[:size])
        del self.inbox[:size]
        return data


class VirtualSocket(SomeSocket):
    """A TCP socket: new, listening, connecting or connected."""

    def __init__(self, kernel: Kernel, end: End | None = None) -> None:
        super().__init__(kernel)
        self.end = end
        self.backlog: deque[End] | None = None
        self.local: Address | None = None
        if end is not None:
            end.user = self

    def events(self) -> int:
        """See `Numbered`."""
        if self.backlog is not None:
            return READ if self.backlog else 0
        end = self.end
        if end is None:
            return WRITE | TROUBLE
        if end.broken:
            return READ | WRITE | TROUBLE
        if not end.connected:
            return 0
        return (READ if end.inbox or end.ended else 0) | (WRITE if end.room else 0)

    # ------------------------------------------------------------ listening

    def meet(self, end: End) -> None:
        """See `stage_network.Listener`."""
        assert self.backlog is not None
        self.backlog.append(end)
        self.changed()

    def accept(self) -> tuple[Any, Any]:
        """See `ports.Socket`."""
        if not self.backlog or self.kernel.dead:
            raise BlockingIOError(errno.EAGAIN, "nobody waits")
        end = self.backlog.popleft()
        return VirtualSocket(self.kernel, end), (end.remote.host, end.remote.port)

    # ------------------------------------------------------------ connecting

    def connect_ex(self, address: Any, /) -> int:
        """See `ports.Socket`."""
        if not self.kernel.dead:
            host = self.process.address.host
            self.end = self.kernel.network.connect(self.process, host, Address(*address), self)
        return errno.EINPROGRESS

    def getsockopt(self, level: int, option: int, /) -> int:
        """See `ports.Socket`; SO_ERROR is all that is asked for."""
        return self.end.broken if self.end is not None else 0

    def getsockname(self) -> Any:
        """See `ports.Socket`."""
        local = self.end.local if self.end is not None else self.local
        return ("0.0.0.0", 0) if local is None else (local.host, local.port)

    def getpeername(self) -> Any:
        """See `ports.Socket`."""
        if self.end is None or not self.end.connected or self.end.broken:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        return (self.end.remote.host, self.end.remote.port)

    # ------------------------------------------------------------ connected

    def send(self, data: Any, /) -> int:
        """See `ports.Socket`."""
        if self.kernel.dead:
            return len(data)
        if self.end is None:
            raise OSError(errno.EPIPE, "Broken pipe")
        if self.end.broken:
            raise OSError(self.end.broken, "Connection reset by peer")
        taken = self.end.send(bytes(data))
        if not taken:
            raise BlockingIOError(errno.EAGAIN, "no room")
        return taken

    def recv(self, size: int, /) -> bytes:
        """See `ports.Socket`."""
        end = self.end
        if self.kernel.dead:
            raise BlockingIOError(errno.EAGAIN, "dead")
        if end is None:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        if end.broken:
            raise OSError(end.broken, "Connection reset by peer")
        if not end.inbox and not end.ended:
            raise BlockingIOError(errno.EAGAIN, "nothing yet")
        if len(end.inbox) > 1 and self.kernel.network.chop():
            size = min(size, 1 + self.kernel.network.world.random.randrange(len(end.inbox)))
        return end.read(size)

    def close(self) -> None:
        """See `ports.Socket`."""
        super().close()
        if self.kernel.dead:
            return
        if self.end is not None:
            self.end.close()
        if self.backlog is not None:
            if self.kernel.network.listeners.get(self.local or Address("", 0)) is self:
                del self.kernel.network.listeners[self.local or Address("", 0)]
            for end in self.backlog:
                end.close()


class VirtualPoller:
    """`runtime.poller.Poller`, level-triggered like epoll. Several that are ready come in any order."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._watched: dict[int, int] = {}
        self._hot: dict[int, None] = {}
        self._event = trio.Event()

    def watch(self, fd: int, interest: int, *, known: bool) -> None:
        """See `Poller`."""
        if fd not in self._kernel.open:
            raise OSError(errno.EBADF, "Bad file descriptor")
        if known != (fd in self._watched):
            raise OSError(errno.ENOENT if known else errno.EEXIST, "known or not")
        self._watched[fd] = interest
        self.poke(fd)

    def forget(self, fd: int) -> None:
        """See `Poller`."""
        del self._watched[fd]
        self._hot.pop(fd, None)

    def lose(self, fd: int) -> None:
        """The number was closed: the kernel takes it out by itself."""
        self._watched.pop(fd, None)
        self._hot.pop(fd, None)

    def poke(self, fd: int) -> None:
        """Something happened behind a number."""
        if fd in self._watched and fd not in self._hot:
            self._hot[fd] = None
            if not self._kernel.process.frozen:
                self._event.set()

    def wake(self) -> None:
        """Look again."""
        self._event.set()

    def ready(self, limit: int) -> list[tuple[int, int]]:
        """See `Poller`."""
        found = []
        for fd in list(self._hot):
            events = self._kernel.open[fd].events() & (self._watched[fd] | TROUBLE)
            if events:
                found.append((fd, events))
            else:
                del self._hot[fd]
        if len(found) > 1:
            self._kernel.network.world.random.shuffle(found)
        return found[:limit]

    async def wait(self) -> None:
        """See `Poller`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while self._kernel.process.frozen or not self._any():
            self._event = trio.Event()
            await self._event.wait()
        await trio.lowlevel.cancel_shielded_checkpoint()

    def _any(self) -> bool:
        for fd in list(self._hot):
            if self._kernel.open[fd].events() & (self._watched[fd] | TROUBLE):
                return True
            del self._hot[fd]
        return False

    def close(self) -> None:
        """See `Poller`."""
        self._kernel.pollers.remove(self)
