"""A connection on its way, from the first packet to the end of a TLS handshake."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from trio_sentinel.ports import Handler, Socket, Transport
from trio_sentinel.runtime.poller import WRITE
from trio_sentinel.runtime.transport import TlsTransport, reason_of

if TYPE_CHECKING:
    from trio_sentinel.runtime.reactor import Reactor

MakeHandler: TypeAlias = Callable[[Transport], Handler]

CANNOT_BIND: Final = "Can't bind socket"
"""Begins the reason of a connection that failed because of ``bind-source-addr``, in stock's words."""


class Dialing:
    """A connection on its way. `close` gives it up, silently, until it is ready; afterwards it does nothing.

    Whoever dials is known to it and knows it, so it forgets them as soon as it has told them: thousands of such circles
    would wait for the garbage collector.
    """

    __slots__ = ("_make_handler", "_on_failed", "_reactor", "_sock", "_tls", "_tunnel", "closed")

    def __init__(
        self,
        reactor: Reactor,
        make_handler: MakeHandler,
        on_failed: Callable[[str], None],
        tls: ssl.SSLContext | None,
    ) -> None:
        self._reactor = reactor
        self._make_handler: MakeHandler | None = make_handler
        self._on_failed: Callable[[str], None] | None = on_failed
        self._tls = tls
        self._sock: Socket | None = None
        self._tunnel: TlsTransport | None = None
        self.closed = False

    @property
    def fd(self) -> int:
        """The descriptor; -1 when there is none."""
        return -1 if self._sock is None else self._sock.fileno()

    def begin(self, address: tuple[str, int], source_address: str | None) -> None:
        """Start to connect, unless that was given up meanwhile. Whatever goes wrong is told later."""
        if self.closed:
            return
        try:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            sock = self._reactor.sockets.stream(family)
        except OSError as error:
            self._fail_later(reason_of(error))
            return
        self._sock = sock
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if source_address:
                try:
                    sock.bind((source_address, 0))
                except OSError as error:
                    self._fail_later(f"{CANNOT_BIND}: {reason_of(error)}")
                    return
            code = sock.connect_ex(_numeric(address))
        except OSError as error:  # not a numeric host
            self._fail_later(reason_of(error))
            return
        if code not in (0, errno.EINPROGRESS):
            self._fail_later(os.strerror(code))
            return
        self._reactor.interest(self, WRITE)

    def on_ready(self, events: int) -> None:
        """Connected or refused."""
        sock = self._sock
        assert sock is not None
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._fail(os.strerror(code))
            return
        try:
            met_itself = sock.getsockname() == sock.getpeername()
        except OSError as error:
            self._fail(reason_of(error))
            return
        if met_itself:  # nobody listens there and the system drew that very port for our end
            self._fail(os.strerror(errno.ECONNREFUSED))
            return
        self._reactor.forget(self)
        self._sock = None
        make_handler = self._make_handler
        assert make_handler is not None
        if self._tls is None:
            self._done()
        self._tunnel = self._reactor.adopt(
            sock, None, make_handler, self._tls, server_side=False, on_ready=self._done, on_failed=self._fail
        )

    def _done(self) -> None:
        self.closed = True
        self._make_handler = self._on_failed = self._tunnel = None

    def _fail(self, reason: str) -> None:
        on_failed = self._on_failed
        if not self.closed:
            self.abort()
            assert on_failed is not None
            on_failed(reason)

    def _fail_later(self, reason: str) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        self._reactor.defer(lambda: self._fail(reason))

    def close(self) -> None:
        """Give up; nobody is told."""
        self.abort()

    def abort(self) -> None:
        """Give up; nobody is told."""
        if self.closed:
            return
        tunnel = self._tunnel
        self._done()
        if self._sock is not None:
            self._reactor.forget(self)
            self._sock.close()
            self._sock = None
        if tunnel is not None:
            tunnel.close(flush=False)


def _numeric(address: tuple[str, int]) -> Any:
    """`address` as `connect` takes it without asking anybody: the zone of ``fe80::1%zone`` may be unknown here, and
    then the system would look for a host of that name, which may take seconds. Raises OSError."""
    if "%" not in address[0]:
        return address
    return socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0][4]
