"""Connections as objects: a plain one over a socket, and one that wraps TLS around another.

1. Nothing here waits. A reactor tells a `SocketTransport` that its socket is ready; everything else follows from that.
2. A handler is never called from inside `send`, `close`, `pause` or `resume`: trouble met there is told later,
   through the reactor's `defer`, so that a loop over many connections is not surprised in its middle.
3. What the kernel does not take is kept. Above `HIGH_WATER` unsent bytes a connection is not read until it is below
   `LOW_WATER`: who does not read its replies may not ask more questions.
4. TLS is pumped through memory (`ssl.MemoryBIO`), so `TlsTransport` is a `Handler` towards the socket and a
   `Transport` towards its user, and can be tested with neither.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

from trio_sentinel.ports import Handler, Socket, Transport
from trio_sentinel.runtime.poller import READ, TROUBLE, WRITE

CHUNK: Final = 16 * 1024
HIGH_WATER: Final = 256 * 1024
LOW_WATER: Final = 64 * 1024

SocketName: TypeAlias = Any  # what getsockname() returns: its shape depends on the family

CLOSED_BY_PEER: Final = "Server closed the connection"


def reason_of(error: OSError) -> str:
    """The words of the system for `error`."""
    return error.strerror or str(error)


def shown_name(family: int, name: SocketName) -> str:
    """``ip:port``, IPv6 in brackets; the path and ``:0`` for a unix socket."""
    if family == socket.AF_INET:
        return f"{name[0]}:{name[1]}"
    if family == socket.AF_INET6:
        return f"[{name[0]}]:{name[1]}"
    path = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else str(name or "")
    return f"{path}:0"


class Watcher(Protocol):
    """What a connection asks of the reactor that owns it."""

    bytes_received: int
    bytes_sent: int

    def watch(self, connection: SocketTransport, interest: int) -> None:
        """Be told of `interest` (READ and WRITE bits, possibly none) from now on."""

    def forget(self, connection: SocketTransport) -> None:
        """Stop watching, before the socket is closed."""

    def defer(self, deed: Callable[[], None]) -> None:
        """Run `deed` at the end of this turn, or soon."""

    def limit(self, overdue: Callable[[], None]) -> None:
        """Call `overdue` after the grace period."""


class SocketTransport:
    """A `Transport` over a connected, non-blocking stream socket."""

    __slots__ = (
        "__weakref__",
        "_interest",
        "_local",
        "_out",
        "_remote",
        "_sock",
        "_stuck",
        "_watcher",
        "closed",
        "closing",
        "ended",
        "family",
        "fd",
        "handler",
        "paused",
    )

    def __init__(self, sock: Socket, watcher: Watcher, remote: SocketName) -> None:
        self._sock = sock
        self._watcher = watcher
        self.family = sock.family
        self._remote = remote
        self._local: SocketName = None
        self.fd = sock.fileno()
        self._out = bytearray()
        self._interest = -1  # not watched yet
        self._stuck = False
        self.handler: Handler | None = None
        self.paused = False
        self.ended = False
        self.closing = False
        self.closed = False

    # ------------------------------------------------------------ Transport

    @property
    def remote(self) -> str:
        """The other end as text. For a unix socket both ends show the path of the listener, as stock does."""
        if self.family == socket.AF_UNIX:
            return self.local
        if self._remote is None and not self.closed:
            with contextlib.suppress(OSError):
                self._remote = self._sock.getpeername()
        return "" if self._remote is None else shown_name(self.family, self._remote)

    @property
    def local(self) -> str:
        """Our end as text; empty when the connection was closed before anybody asked."""
        if self._local is None:
            self._local = self._local_name()
        return "" if self._local is None else shown_name(self.family, self._local)

    @property
    def local_host(self) -> str:
        """The IP of our end; empty for a unix socket."""
        name = self._local or self._local_name()
        return str(name[0]) if name and self.family != socket.AF_UNIX else ""

    def _local_name(self) -> SocketName:
        if not self.closed:
            with contextlib.suppress(OSError):
                return self._sock.getsockname()
        return None

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return len(self._out)

    def send(self, data: bytes) -> None:
        """Hand `data` to the kernel, keeping what it does not take."""
        if self.closing or self.closed or not data:
            return
        if self._out:
            self._out += data
        else:
            try:
                taken = self._sock.send(data)
            except BlockingIOError:
                taken = 0
            except OSError as error:
                self._break(reason_of(error))
                return
            self._watcher.bytes_sent += taken
            if taken == len(data):
                return
            self._out += memoryview(data)[taken:]
        self._rewatch()

    def pause(self) -> None:
        """Stop reading."""
        self.paused = True
        self._rewatch()

    def resume(self) -> None:
        """Read again."""
        self.paused = False
        self._rewatch()

    def close(self, *, flush: bool = True) -> None:
        """Close; what is unsent still goes out within the reactor's grace period when `flush`."""
        self.handler = None
        if self.closed or self.closing:
            return
        if flush and self._out:
            self.closing = True
            self._rewatch()
            self._watcher.limit(self.abort)
        else:
            self.abort()

    # ------------------------------------------------------------ reactor's side

    def start(self, handler: Handler) -> None:
        """Begin to read for `handler`."""
        if self.closed or self.closing:
            return
        self.handler = handler
        self._rewatch()

    def abort(self) -> None:
        """Close now, whatever is unsent."""
        if self.closed:
            return
        self.closed = True
        self._watcher.forget(self)
        self._sock.close()
        self._out.clear()

    def on_ready(self, events: int) -> None:
        """The socket is readable, writable, or in trouble. At most one read, so that all get their turn."""
        if events == READ and self._interest & READ:  # nearly always
            self._read()
            return
        if events & WRITE:
            self._flush()
        if events & ~WRITE and not self.closed:
            if self._interest & READ:
                self._read()
            elif events & TROUBLE:
                self._hang_up()

    def _read(self) -> None:
        try:
            data = self._sock.recv(CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(reason_of(error))
            return
        handler = self.handler
        if handler is None:
            return
        if data:
            self._watcher.bytes_received += len(data)
            handler.received(data)
        else:
            self.ended = True
            self._rewatch()
            handler.ended()

    def _flush(self) -> None:
        if not self._out:
            self._rewatch()
            return
        try:
            with memoryview(self._out) as view:
                taken = self._sock.send(view)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(reason_of(error))
            return
        self._watcher.bytes_sent += taken
        del self._out[:taken]
        if self._out:
            self._rewatch()
        elif self.closing:
            self.abort()
        else:
            self._rewatch()
            if self.handler is not None:
                self.handler.drained()

    def _hang_up(self) -> None:
        """Reset or closed on both sides while nobody reads: waiting on would spin, for trouble is always reported."""
        code = 0
        with contextlib.suppress(OSError):
            code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._lose(os.strerror(code) if code else CLOSED_BY_PEER)

    def _lose(self, reason: str) -> None:
        handler, self.handler = self.handler, None
        self.abort()
        if handler is not None:
            handler.lost(reason)

    def _break(self, reason: str) -> None:
        """`_lose` for those who are in the middle of a `send`."""
        self.abort()
        self._watcher.defer(lambda: self._lose(reason))

    def _rewatch(self) -> None:
        """Interest is one function of what is unsent and what is wished."""
        if self.closed:
            return
        unsent = len(self._out)
        if unsent > HIGH_WATER:
            self._stuck = True
        elif unsent < LOW_WATER:
            self._stuck = False
        interest = WRITE if unsent else 0
        if not (self.paused or self.ended or self.closing or self._stuck or self.handler is None):
            interest |= READ
        if interest != self._interest:
            self._interest = interest
            self._watcher.watch(self, interest)


class TlsTransport:
    """TLS around another transport: its `Handler` on one side, a `Transport` on the other.

    `on_ready` gets this transport when the handshake is done and returns who will use it. `on_failed` is called
    instead, once, when there will be no handshake; the transport below is closed by then.
    """

    def __init__(
        self,
        below: Transport,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        defer: Callable[[Callable[[], None]], None],
        on_ready: Callable[[TlsTransport], Handler],
        on_failed: Callable[[str], None],
    ) -> None:
        self._below = below
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)
        self._defer = defer
        self._on_ready = on_ready
        self._on_failed = on_failed
        self._handler: Handler | None = None
        self._shaking = True
        self._reading = False
        self._paused = False
        self._ended = False
        self.closed = False

    # ------------------------------------------------------------ Transport

    @property
    def remote(self) -> str:
        """The other end as text."""
        return self._below.remote

    @property
    def local(self) -> str:
        """Our end as text."""
        return self._below.local

    @property
    def local_host(self) -> str:
        """The IP of our end."""
        return self._below.local_host

    @property
    def unsent(self) -> int:
        """Unsent bytes, as they are on the wire."""
        return self._below.unsent

    @property
    def peer_certificate(self) -> dict[str, Any]:
        """The verified certificate of the other side as `ssl` shows it; empty when it showed none."""
        return dict(self._tls.getpeercert() or {})

    def send(self, data: bytes) -> None:
        """Encrypt and send."""
        if self.closed or self._shaking or not data:
            return
        view = memoryview(data)
        try:
            while view:
                view = view[self._tls.write(view) :]
        except (ssl.SSLError, OSError) as error:
            self._break(str(error))
            return
        self._push()

    def pause(self) -> None:
        """Stop reading; what is decrypted already waits here."""
        self._paused = True
        self._below.pause()

    def resume(self) -> None:
        """Read again, beginning with what waits here."""
        self._paused = False
        self._below.resume()
        if not self._reading:
            self._defer(self._read)

    def close(self, *, flush: bool = True) -> None:
        """Say goodbye and close."""
        if self.closed:
            return
        self.closed = True
        self._handler = None
        if flush and not self._shaking:
            with contextlib.suppress(ssl.SSLError, OSError):
                self._tls.unwrap()  # its own half goes out; the answer is not waited for
            self._push()
        self._below.close(flush=flush)

    # ------------------------------------------------------------ Handler of the transport below

    def begin(self) -> None:
        """Say the first words of the handshake (the client's part; a server has nothing to say yet)."""
        self._shake()

    def received(self, data: bytes) -> None:
        """Encrypted bytes came."""
        self._incoming.write(data)
        if self._shaking:
            self._shake()
        if not self._shaking:
            self._read()
            if not self.closed:
                self._push()  # answers of TLS itself, e.g. to a key update

    def ended(self) -> None:
        """The connection below was half closed, whether or not TLS was said goodbye to first."""
        if self._shaking:
            self._fail(CLOSED_BY_PEER)
            return
        self._incoming.write_eof()
        self._read()

    def drained(self) -> None:
        """Everything below is sent."""
        if self._handler is not None:
            self._handler.drained()

    def lost(self, reason: str) -> None:
        """The connection below is gone."""
        if self._shaking:
            self._fail(reason)
            return
        handler, self._handler = self._handler, None
        self.closed = True
        if handler is not None:
            handler.lost(reason)

    def overdue(self) -> None:
        """The handshake has had its time."""
        if self._shaking:
            self._fail("TLS handshake timed out")

    # ------------------------------------------------------------ inside

    def _shake(self) -> None:
        if self.closed:
            return
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._push()
        except (ssl.SSLError, OSError) as error:
            self._push()  # the alert that tells the other side why
            self._fail(reason_of_tls(error))
        else:
            self._push()
            self._shaking = False
            handler = self._on_ready(self)
            if not self.closed:
                self._handler = handler

    def _read(self) -> None:
        """Hand over what can be decrypted, in pieces, until there is no more or the user has enough."""
        if self._reading:
            return
        self._reading = True
        try:
            while self._handler is not None and not self._paused and not self._ended:
                try:
                    data = self._tls.read(CHUNK)
                except ssl.SSLWantReadError:
                    return
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    data = b""
                except (ssl.SSLError, OSError) as error:
                    self._push()
                    self._lose(reason_of_tls(error))
                    return
                if data:
                    self._handler.received(data)
                else:
                    self._ended = True
                    self._handler.ended()
        finally:
            self._reading = False

    def _push(self) -> None:
        data = self._outgoing.read()
        if data:
            self._below.send(data)

    def _fail(self, reason: str) -> None:
        if self.closed:
            return
        self.closed = True
        self._below.close()
        self._on_failed(reason)

    def _lose(self, reason: str) -> None:
        handler, self._handler = self._handler, None
        self.closed = True
        self._below.close()
        if handler is not None:
            handler.lost(reason)

    def _break(self, reason: str) -> None:
        handler, self._handler = self._handler, None
        self.closed = True
        self._below.close(flush=False)
        if handler is not None:
            self._defer(lambda: handler.lost(reason))


def reason_of_tls(error: OSError) -> str:
    """What OpenSSL says, without its coordinates: ``certificate verify failed``."""
    reason = getattr(error, "reason", None)
    return str(reason).replace("_", " ").lower() if reason else reason_of(error)
