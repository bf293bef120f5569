"""Listening as configured, and refusing in stock's words (seen live on 7.0.15 and 9.1.2)."""

from __future__ import annotations

import errno
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from trio_sentinel.adapters import network
from trio_sentinel.adapters.network import Listeners, backlog_of, backlog_warning, open_listeners
from trio_sentinel.errors import StartupError
from trio_sentinel.wire.directives import Directives

HAS_IPV6 = True
try:
    with socket.socket(socket.AF_INET6) as _probe:
        _probe.bind(("::1", 0))
except OSError:
    HAS_IPV6 = False


@pytest.fixture
def port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        number: int = sock.getsockname()[1]
    return number


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


def names(listeners: Listeners) -> list[tuple[str, int]]:
    return [sock.getsockname()[:2] for sock in (*listeners.plain, *listeners.tls)]


def test_several_addresses_and_both_kinds_of_port(port: int) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.2", 0))
        tls_port = sock.getsockname()[1]
    listeners = open_listeners(Directives(port=port, tls_port=tls_port, bind=("127.0.0.1", "127.0.0.2")))
    try:
        assert names(listeners) == [
            ("127.0.0.1", port),
            ("127.0.0.2", port),
            ("127.0.0.1", tls_port),
            ("127.0.0.2", tls_port),
        ]
        assert len(listeners.plain) == len(listeners.tls) == 2
        assert listeners.unix is None
        assert listeners.warnings == ()
    finally:
        listeners.close()


@pytest.mark.skipif(not HAS_IPV6, reason="no IPv6 here")
def test_everywhere_on_both_protocols(port: int) -> None:
    listeners = open_listeners(Directives(port=port, bind=("*", "-::*")))
    try:
        assert names(listeners) == [("0.0.0.0", port), ("::", port)]
        socket.create_connection(("::1", port)).close()
        socket.create_connection(("127.0.0.1", port)).close()
    finally:
        listeners.close()


def test_accepted_connections_inherit_what_was_set_on_the_listener(port: int) -> None:
    listeners = open_listeners(Directives(port=port, bind=("127.0.0.1",), tcp_keepalive=120))
    client = socket.create_connection(("127.0.0.1", port))
    try:
        listeners.plain[0].setblocking(True)
        sock, _ = listeners.plain[0].accept()
        with sock:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            if hasattr(socket, "TCP_KEEPIDLE"):
                idle = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
                interval = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
                assert (idle, interval) == (120, 40)
    finally:
        client.close()
        listeners.close()


@pytest.mark.parametrize(("option", "kind"), [("port", "tcp"), ("tls_port", "tls")])
def test_a_port_in_use(taken: int, port: int, option: str, kind: str) -> None:
    ports = {"port": port, "tls_port": 0, option: taken}
    with pytest.raises(StartupError) as caught:
        open_listeners(Directives(bind=("127.0.0.1",), **ports))  # type: ignore[arg-type]
    assert caught.value.lines == (
        f"Warning: Could not create server TCP listening socket 127.0.0.1:{taken}: bind: Address already in use",
        f"Failed listening on port {taken} ({kind}), aborting.",
    )
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))  # nothing of the failed attempt stays open


def test_an_optional_address_may_be_missing_but_not_taken(port: int, taken: int) -> None:
    listeners = open_listeners(Directives(port=port, bind=("127.0.0.1", "-203.0.113.3")))
    listeners.close()
    reason = "bind: Cannot assign requested address"
    warning = f"Warning: Could not create server TCP listening socket 203.0.113.3:{port}: {reason}"
    assert listeners.warnings == (warning,)
    with pytest.raises(StartupError):
        open_listeners(Directives(port=taken, bind=("-127.0.0.1",)))
    with pytest.raises(StartupError):
        open_listeners(Directives(port=port, bind=("203.0.113.3",)))


@pytest.mark.parametrize("bind", [(), ("",), ("-203.0.113.3",)])
def test_nowhere_to_listen(port: int, bind: tuple[str, ...]) -> None:
    with pytest.raises(StartupError) as caught:
        open_listeners(Directives(port=port, bind=bind))
    assert caught.value.lines[-1] == "Configured to not listen anywhere, exiting."
    with pytest.raises(StartupError):
        open_listeners(Directives(port=0))


def test_an_unsupported_protocol_is_skipped(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def without_ipv6(family: int = -1, *rest: int, **options: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *rest, **options)

    monkeypatch.setattr(socket, "socket", without_ipv6)
    listeners = open_listeners(Directives(port=port, bind=("::1", "127.0.0.1")))
    listeners.close()
    assert len(listeners.plain) == 1
    assert "unable to bind socket, errno: 97" in listeners.warnings[0]


# ---------------------------------------------------------------- unix


def test_a_unix_socket_with_permissions(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listeners = open_listeners(Directives(port=0, unixsocket=str(path), unixsocketperm=0o750))
    assert listeners.unix is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    listeners.close()
    again = open_listeners(Directives(port=0, unixsocket=str(path)))  # the stale file is no obstacle
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    again.close()
    network.remove_unix_socket(str(path))
    assert not path.exists()
    network.remove_unix_socket(str(path))


def test_a_file_that_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(StartupError, match=r"^Failed opening Unix socket: bind: Address already in use$"):
        open_listeners(Directives(port=0, unixsocket=str(path)))
    assert path.read_text() == "data"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/nonexistent/x", "Failed opening Unix socket: bind: No such file or directory"),
        ("/" + "x" * 107, "Failed opening Unix socket: unix socket path too long (108), must be under 108"),
    ],
)
def test_unusable_paths(path: str, message: str, port: int) -> None:
    with pytest.raises(StartupError) as caught:
        open_listeners(Directives(port=port, bind=("127.0.0.1",), unixsocket=path))
    assert caught.value.lines == (message,)


def test_an_unknown_group(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with pytest.raises(StartupError, match="no group named 'nosuchgroup'"):
        open_listeners(Directives(port=0, unixsocket=str(path), unixsocketgroup="nosuchgroup"))
    assert not path.exists()


@pytest.mark.parametrize(("configured", "asked"), [(511, 4096), (510, 510), (512, 512), (100_000, 100_000)])
def test_the_usual_queue_is_a_long_one_and_another_number_is_meant(configured: int, asked: int) -> None:
    assert backlog_of(Directives(tcp_backlog=configured)) == asked


def test_a_backlog_beyond_the_kernel_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "somaxconn"
    monkeypatch.setattr(network, "SOMAXCONN", limit)
    assert backlog_warning(511) is None
    limit.write_text("128\n")
    assert backlog_warning(128) is None
    assert backlog_warning(511) == (
        f"WARNING: The TCP backlog setting of 511 cannot be enforced because {limit} is set to the lower value of 128."
    )
