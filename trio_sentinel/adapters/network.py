"""Opening the sockets we listen on, with the refusals that stock prints (config-and-events.md 1.6 and 5.2).

What is set on a listener (no delay, keepalive) is inherited by the connections it accepts, on Linux and on the BSDs;
so nothing has to be set on each of them.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

from trio_sentinel.errors import StartupError
from trio_sentinel.wire.directives import Directives

NOWHERE: Final = "Configured to not listen anywhere, exiting."
SOMAXCONN: Final = Path("/proc/sys/net/core/somaxconn")
USUAL_BACKLOG: Final = 511
LONG_BACKLOG: Final = 4096
"""What is asked for unless the configuration says another number than stock's default: with 511 a storm of thousands of
reconnections overflows the queue when the process is busy for 20 ms, and who was dropped tries again a second later."""
MAX_UNIX_PATH: Final = 108  # sun_path with its final zero

_UNSUPPORTED: Final = frozenset(
    {errno.ENOPROTOOPT, errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EPFNOSUPPORT, errno.EAFNOSUPPORT}
)
"""Errors that only say that this system does not have IPv6 (or IPv4): such an address is skipped."""


@frozen(kw_only=True)
class Listeners:
    """Listening sockets, ready for a reactor, and what was found odd while they were opened (log level warning)."""

    plain: tuple[socket.socket, ...]
    tls: tuple[socket.socket, ...]
    unix: socket.socket | None
    warnings: tuple[str, ...]

    def close(self) -> None:
        """Close all of them (for those that no reactor has taken over)."""
        for sock in (*self.plain, *self.tls, *((self.unix,) if self.unix else ())):
            sock.close()


def open_listeners(directives: Directives) -> Listeners:
    """Listen wherever the configuration says.

    Raises:
        StartupError: with the lines that stock logs before it exits. Nothing stays open then.
    """
    warnings: list[str] = []
    with contextlib.ExitStack() as undo:
        plain = _listen_tcp(directives, directives.port, "tcp", warnings, undo)
        tls = _listen_tcp(directives, directives.tls_port, "tls", warnings, undo)
        unix = _listen_unix(directives, undo) if directives.unixsocket else None
        if not (plain or tls or unix):
            raise StartupError(*warnings, NOWHERE)
        undo.pop_all()
    return Listeners(plain=plain, tls=tls, unix=unix, warnings=tuple(warnings))


def backlog_of(directives: Directives) -> int:
    """How many connections may wait to be accepted; the system may allow fewer."""
    configured = directives.tcp_backlog
    return LONG_BACKLOG if configured == USUAL_BACKLOG else configured


def backlog_warning(backlog: int) -> str | None:
    """What to log when the kernel allows a shorter queue than configured; None when it does not, or does not say."""
    try:
        allowed = int(SOMAXCONN.read_text())
    except (OSError, ValueError):
        return None
    if 0 < allowed < backlog:
        return (
            f"WARNING: The TCP backlog setting of {backlog} cannot be enforced because {SOMAXCONN} "
            f"is set to the lower value of {allowed}."
        )
    return None


def remove_unix_socket(path: str) -> None:
    """Remove the socket file at `path`, if it is one."""
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            Path(path).unlink()


# ---------------------------------------------------------------- TCP


def _listen_tcp(
    directives: Directives, port: int, kind: str, warnings: list[str], undo: contextlib.ExitStack
) -> tuple[socket.socket, ...]:
    if not port:
        return ()
    opened = []
    for word in directives.bind:
        optional = word.startswith("-")
        host = word[1:] if optional else word
        if not host:
            continue
        try:
            sock = _tcp_listener(host, port, directives, undo)
        except OSError as error:
            warning = f"Warning: Could not create server TCP listening socket {host}:{port}: {error.strerror}"
            unavailable = optional and error.errno == errno.EADDRNOTAVAIL
            if not (unavailable or error.errno in _UNSUPPORTED):
                failure = f"Failed listening on port {port} ({kind}), aborting."
                raise StartupError(*warnings, warning, failure) from error
            warnings.append(warning)
        else:
            opened.append(sock)
    return tuple(opened)


def _tcp_listener(host: str, port: int, directives: Directives, undo: contextlib.ExitStack) -> socket.socket:
    """Listen on the first address of `host` that can be had; the message of an error begins with what failed."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    node = None if host in ("*", "::*") else host
    found = socket.getaddrinfo(node, port, family, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
    last: OSError | None = None
    for _, _, protocol, _, address in found:
        try:
            sock = socket.socket(family, socket.SOCK_STREAM, protocol)
        except OSError as error:
            last = error
            continue
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(sock.close)
            if family == socket.AF_INET6:
                with _step("setsockopt"):
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with _step("bind"):
                sock.bind(address)
            with _step("listen"):
                sock.listen(backlog_of(directives))
            prepare(sock, directives.tcp_keepalive)
            undo.push(cleanup.pop_all())
        return sock
    assert last is not None
    raise OSError(last.errno, f"unable to bind socket, errno: {last.errno}") from last


@contextlib.contextmanager
def _step(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"{name}: {error.strerror}") from error


def prepare(sock: socket.socket, keepalive_s: int) -> None:
    """Send small pieces at once, and probe a silent other end every `keepalive_s` seconds (0 = never)."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not keepalive_s:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", keepalive_s),
        ("TCP_KEEPALIVE", keepalive_s),  # its name on macOS
        ("TCP_KEEPINTVL", max(keepalive_s // 3, 1)),
        ("TCP_KEEPCNT", 3),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            with contextlib.suppress(OSError):  # beyond what this system allows: its own default stays
                sock.setsockopt(socket.IPPROTO_TCP, option, value)


# ---------------------------------------------------------------- unix


def _listen_unix(directives: Directives, undo: contextlib.ExitStack) -> socket.socket:
    """Listen on a path. A stale socket file is removed first, but no file of another kind (stock removes that, too)."""
    path = directives.unixsocket
    if len(os.fsencode(path)) >= MAX_UNIX_PATH:
        reason = f"unix socket path too long ({len(os.fsencode(path))}), must be under {MAX_UNIX_PATH}"
        raise StartupError(f"Failed opening Unix socket: {reason}")
    remove_unix_socket(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(sock.close)
        try:
            with _step("bind"):
                sock.bind(path)
            cleanup.callback(remove_unix_socket, path)
            if directives.unixsocketperm:
                with _step("chmod"):
                    Path(path).chmod(directives.unixsocketperm)
            if directives.unixsocketgroup:
                with _step("chown"):
                    _give_to_group(path, directives.unixsocketgroup)
            with _step("listen"):
                sock.listen(backlog_of(directives))
        except OSError as error:
            raise StartupError(f"Failed opening Unix socket: {error.strerror}") from error
        sock.setblocking(False)
        undo.push(cleanup.pop_all())
    return sock


def _give_to_group(path: str, group: str) -> None:
    try:
        number = grp.getgrnam(group).gr_gid
    except KeyError:
        raise OSError(errno.ENOENT, f"no group named '{group}'") from None
    os.chown(path, -1, number)
