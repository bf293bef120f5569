"""One Trio task over one nested poll set: everything that is readable or writable gets its turn.

1. `Reactor.run` owns every listener and connection that was given to it; leaving it closes them all.
2. `Reactor.turn` is a plain function: it never waits, and reads each connection at most once and accepts at most
   `ACCEPTS_PER_TURN` in a round, so nobody starves. After `TURN_S` the rest of the round waits for the next turn:
   however much all clients ask at once, other tasks of the process come in between.
3. A round looks all ready descriptors up before it acts on any, and skips what was closed meanwhile: a descriptor
   number that is closed and reused inside one round never gets the event of its predecessor.
4. What is deferred runs at the end of the turn, or soon when there is none. What is for later runs after a
   round, as far as the time reaches.

Why not a task per connection: it costs three to six times as much per message.
"""

from __future__ import annotations

import contextlib
import errno
import ssl
import time
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Protocol

import trio

from trio_sentinel.ports import Handler, Socket, Sockets, Spare
from trio_sentinel.runtime.dialing import Dialing, MakeHandler
from trio_sentinel.runtime.poller import READ, Poller, SystemSockets, make_poller
from trio_sentinel.runtime.transport import SocketTransport, TlsTransport, reason_of

EVENTS_PER_TURN: Final = 256
ACCEPTS_PER_TURN: Final = 64
DEFER_ROUNDS: Final = 16
DIALS_AT_ONCE: Final = 64
"""A start asks for thousands of connections in one breath, and each costs the system some 50 us: the others wait."""
TURN_S: Final = 0.01
CATCH_UP_S: Final = 0.1
GRACE_S: Final = 10.0
"""How long a TLS handshake, and the last bytes of a closed connection, may take."""
RETRY_ACCEPT_S: Final = 1.0
OUT_OF_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Watched(Protocol):
    """What stands behind a descriptor."""

    closed: bool

    def on_ready(self, events: int) -> None:
        """Something is ready."""

    def abort(self) -> None:
        """Close at once."""


class Listening:
    """A listening socket of a reactor. `close` stops listening and leaves its connections alone."""

    def __init__(
        self,
        reactor: Reactor,
        sock: Socket,
        make_handler: MakeHandler,
        tls: ssl.SSLContext | None,
        on_trouble: Callable[[str], None] | None,
        has_room: Callable[[], bool],
    ) -> None:
        self.sock = sock
        self.closed = False
        self.paused = False
        self._reactor = reactor
        self._make_handler = make_handler
        self._tls = tls
        self._on_trouble = on_trouble
        self._has_room = has_room
        self._spare: Spare | None = reactor.sockets.spare()

    def on_ready(self, events: int) -> None:
        """Clients are waiting. A closed or paused listener hears nothing."""
        trouble = ""
        for _ in range(ACCEPTS_PER_TURN):
            if self.closed or self.paused:
                break
            try:
                sock, remote = self.sock.accept()
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                if error.errno in OUT_OF_DESCRIPTORS:
                    trouble = reason_of(error)
                    self._shed()
                elif error.errno in (errno.EBADF, errno.EINVAL, errno.ENOTSOCK):
                    raise  # ours: the listener itself is unusable
                continue  # else the client gave up while it waited
            if not self._has_room():
                sock.close()
                continue
            sock.setblocking(False)
            self._reactor.adopt(sock, remote, self._make_handler, self._tls)
        if trouble and self._on_trouble is not None:
            self._on_trouble(trouble)

    def _shed(self) -> None:
        """No descriptor is free. The spare one lets a client hear so; without it, wait until one may be free again.

        Simply returning would be a busy loop: the listener stays readable.
        """
        if self._spare is not None:
            self._spare.close()
            self._spare = None
            with contextlib.suppress(OSError):
                self.sock.accept()[0].close()
        try:
            self._spare = self._reactor.sockets.spare()
        except OSError:
            self.paused = True
            self._reactor.interest(self, 0)
            self._reactor.limit(self._unpause, RETRY_ACCEPT_S)

    def _unpause(self) -> None:
        if self.closed:
            return
        if self._spare is None:
            with contextlib.suppress(OSError):
                self._spare = self._reactor.sockets.spare()
        self.paused = False
        self._reactor.interest(self, READ)

    @property
    def fd(self) -> int:
        """The descriptor; -1 when closed."""
        return self.sock.fileno()

    def use(self, tls: ssl.SSLContext) -> None:
        """From now on shake hands by this context."""
        self._tls = tls

    def close(self) -> None:
        """Stop listening."""
        self.abort()

    def abort(self) -> None:
        """Stop listening."""
        if self.closed:
            return
        self.closed = True
        self._reactor.forget(self)
        self.sock.close()
        if self._spare is not None:
            self._spare.close()


class Waker:
    """A pair of sockets: what is written at one end makes the poll set ready."""

    def __init__(self, reactor: Reactor) -> None:
        self._near, self._far = reactor.sockets.pair()
        self._rung = False
        self.closed = False
        self.fd = self._near.fileno()
        reactor.interest(self, READ)

    def ring(self) -> None:
        """Make the reactor take a turn soon."""
        if not self._rung and not self.closed:
            self._rung = True
            self._far.send(b"!")

    def on_ready(self, events: int) -> None:
        """The turn that was asked for."""
        self._rung = False
        with contextlib.suppress(BlockingIOError):
            self._near.recv(16)

    def abort(self) -> None:
        """Close both ends."""
        self.closed = True
        self._near.close()
        self._far.close()


class Reactor:
    """See the head of the file. Make it, listen and dial on it, and `run` it in a nursery.

    `gap_s` tells how many seconds to sleep before a turn, so that more work meets in it; None or 0 means not at all.
    `poller` and `sockets` belong together; by default they are the system's.
    """

    def __init__(
        self,
        *,
        poller: Poller | None = None,
        sockets: Sockets | None = None,
        gap_s: Callable[[], float] | None = None,
        stopwatch_s: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._stopwatch_s = stopwatch_s
        self._poller = make_poller() if poller is None else poller
        self.sockets: Final[Sockets] = SystemSockets() if sockets is None else sockets
        self._gap_s = gap_s
        self._watched: dict[int, Any] = {}
        self._deferred: list[Callable[[], None]] = []
        self._round: deque[tuple[Watched, int]] = deque()
        self._later: deque[Callable[[], None]] = deque()
        self._overdue: deque[tuple[float, Callable[[], None]]] = deque()
        self._in_turn = False
        self._dialled = 0
        self._closed = False
        self.bytes_received = 0
        self.bytes_sent = 0
        self.connections = 0
        """How many connections are open, those in a TLS handshake or on their last bytes included."""
        self._waker = Waker(self)

    # ------------------------------------------------------------ for its users

    def listen(
        self,
        sock: Socket,
        make_handler: MakeHandler,
        tls: ssl.SSLContext | None = None,
        *,
        on_trouble: Callable[[str], None] | None = None,
        has_room: Callable[[], bool] = lambda: True,
    ) -> Listening:
        """Accept clients from `sock`, which is listening and now ours; `make_handler` is called for each when ready.

        `on_trouble` is told why a client could not be accepted. While not `has_room`, who comes is sent away without
        a word: those who are in a TLS handshake, or on their last bytes, have no handler that could count them.
        """
        sock.setblocking(False)
        listening = Listening(self, sock, make_handler, tls, on_trouble, has_room)
        self.interest(listening, READ)
        return listening

    def dial(
        self,
        address: tuple[str, int],
        handler_factory: MakeHandler,
        *,
        on_failed: Callable[[str], None],
        tls: ssl.SSLContext | None = None,
        source_address: str | None = None,
    ) -> Dialing:
        """Connect to a numeric IP and port. Then exactly one of the two is called, never before this returns,
        unless the result is closed first."""
        dialing = Dialing(self, handler_factory, on_failed, tls)
        if self._closed:
            dialing.closed = True
        elif self._dialled < DIALS_AT_ONCE:
            self._dialled += 1
            dialing.begin(address, source_address)
        else:
            self.later(lambda: dialing.begin(address, source_address))
        return dialing

    def defer(self, deed: Callable[[], None]) -> None:
        """Run `deed` at the end of this turn; outside a turn, in one that comes soon."""
        self._deferred.append(deed)
        if not self._in_turn:
            self._waker.ring()

    def later(self, deed: Callable[[], None]) -> None:
        """Run `deed` after a round of everybody who is ready: for work of which the rest shall wait for the others."""
        self._later.append(deed)
        if not self._in_turn:
            self._waker.ring()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take turns until cancelled; then close everything."""
        try:
            task_status.started()
            while True:
                await self._wait()
                if self._gap_s is not None and not self._round and (gap := self._gap_s()) > 0:
                    await trio.sleep(gap)
                self.turn()
        finally:
            self.close_all()

    def turn(self) -> None:
        """Serve whoever is ready, but not for longer than `TURN_S`; then do what was deferred."""
        self._in_turn = True
        self._dialled = 0
        try:
            end = self._stopwatch_s() + TURN_S
            if not self._round:
                self._begin_round()
            self._serve(end)
            if self._later and not self._round:
                self._go_on(end)
            if self._overdue:
                self._call_overdue()
            self._run_deferred()
        finally:
            self._in_turn = False
        if self._deferred:
            self._waker.ring()

    def catch_up(self) -> None:
        """Turns until nobody waits any more, but not for longer than `CATCH_UP_S`."""
        end = time.perf_counter() + CATCH_UP_S
        while not self._closed and (self._round or self._poller.ready(1)) and time.perf_counter() < end:
            self.turn()

    def _begin_round(self) -> None:
        """Everybody who is ready, then the listeners."""
        watched = self._watched
        listeners: list[tuple[Watched, int]] = []
        for fd, events in self._poller.ready(EVENTS_PER_TURN):
            one = watched.get(fd)
            if type(one) is Listening:
                listeners.append((one, READ))
            elif one is not None:
                self._round.append((one, events))
        self._round.extend(listeners)

    def _serve(self, end: float) -> None:
        """The round, as far as the time reaches."""
        while self._round:
            one, events = self._round.popleft()
            if one.closed:
                continue
            one.on_ready(events)
            if self._stopwatch_s() >= end:
                return

    def _go_on(self, end: float) -> None:
        """What was left for later, one thing at least and the others as far as the time reaches. So who asks little
        is never behind all of those who ask much, however many they are."""
        for _ in range(len(self._later)):
            self._later.popleft()()
            if self._stopwatch_s() >= end:
                return

    def close_all(self) -> None:
        """Close every listener, connection and attempt, without telling their handlers, and the poll set."""
        if self._closed:
            return
        self._closed = True
        for watched in list(self._watched.values()):
            watched.abort()
        self._watched.clear()
        self._deferred.clear()
        self._round.clear()
        self._later.clear()
        self._overdue.clear()
        self._poller.close()

    # ------------------------------------------------------------ for its connections

    def adopt(
        self,
        sock: Socket,
        remote: Any,
        make_handler: MakeHandler,
        tls: ssl.SSLContext | None,
        *,
        server_side: bool = True,
        on_ready: Callable[[], None] | None = None,
        on_failed: Callable[[str], None] | None = None,
    ) -> TlsTransport | None:
        """Take a connected socket, shake hands when `tls`, and give the transport to its handler.

        `remote` is the name of the other end; None if nobody asked for it yet."""
        transport = SocketTransport(sock, self, remote)
        if tls is None:
            transport.start(make_handler(transport))
            return None

        def ready(tunnel: TlsTransport) -> Handler:
            if on_ready is not None:
                on_ready()
            return make_handler(tunnel)

        def failed(reason: str) -> None:
            if on_failed is not None:
                on_failed(reason)

        tunnel = TlsTransport(
            transport, tls, server_side=server_side, defer=self.defer, on_ready=ready, on_failed=failed
        )
        transport.start(tunnel)
        if not server_side:
            tunnel.begin()
        remembered = weakref.ref(tunnel)  # the grace is long, and a storm of broken handshakes would fill the memory

        def overdue() -> None:
            if (late := remembered()) is not None:
                late.overdue()

        self.limit(overdue)
        return tunnel

    def interest(self, watched: Any, interest: int) -> None:
        """Be told of `interest` on `watched.fd`."""
        fd = watched.fd
        known = fd in self._watched
        if not known:
            self._watched[fd] = watched
            self.connections += type(watched) is SocketTransport
        self._poller.watch(fd, interest, known=known)

    def watch(self, connection: SocketTransport, interest: int) -> None:
        """Change what a connection waits for."""
        self.interest(connection, interest)

    def forget(self, watched: Any) -> None:
        """Stop watching. To be called before the descriptor is closed: a child process that has not yet replaced
        itself may still hold the socket, and the system would go on reporting it."""
        if self._watched.pop(watched.fd, None) is not None:
            self.connections -= type(watched) is SocketTransport
            if not self._closed:
                self._poller.forget(watched.fd)

    def limit(self, overdue: Callable[[], None], after_s: float = GRACE_S) -> None:
        """Call `overdue` after `after_s` seconds; it decides whether that still matters."""
        at = trio.current_time() + after_s
        position = len(self._overdue)
        while position and self._overdue[position - 1][0] > at:
            position -= 1
        self._overdue.insert(position, (at, overdue))
        if not self._in_turn:
            self._waker.ring()  # `run` may be waiting without a limit

    # ------------------------------------------------------------ inside

    async def _wait(self) -> None:
        if self._round or self._later:
            await trio.lowlevel.checkpoint()
            return
        if not self._overdue:
            await self._poller.wait()
            return
        with trio.move_on_at(self._overdue[0][0]):
            await self._poller.wait()

    def _call_overdue(self) -> None:
        now = trio.current_time()
        while self._overdue and self._overdue[0][0] <= now:
            self._overdue.popleft()[1]()

    def _run_deferred(self) -> None:
        """What is deferred by a deferred deed follows in the same turn, but not without end."""
        for _ in range(DEFER_ROUNDS):
            if not self._deferred:
                return
            deeds, self._deferred = self._deferred, []
            for deed in deeds:
                deed()


@contextlib.asynccontextmanager
async def open_reactor(
    *, poller: Poller | None = None, gap_s: Callable[[], float] | None = None
) -> AsyncIterator[Reactor]:
    """A running reactor, closed with everything in it at the end of the block."""
    reactor = Reactor(poller=poller, gap_s=gap_s)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run, name="reactor")
        try:
            yield reactor
        finally:
            nursery.cancel_scope.cancel()
