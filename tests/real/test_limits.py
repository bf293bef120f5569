"""Limits at a real process: descriptors that run out, and buffers that strangers fill."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from .harness import LOOPBACK, Kind, Lab, Sentinel, Watch
from .harness_processes import open_client

pytestmark = [pytest.mark.real, pytest.mark.ours_only]

DESCRIPTORS = 100


def with_descriptors(sentinel: Sentinel, number: int) -> None:
    """Let the next start have so many descriptors and no more."""
    sentinel.argv = ["/bin/sh", "-c", f'ulimit -n {number} && exec "$@"', "sh", *sentinel.argv]


@contextlib.contextmanager
def crowd(port: int, number: int) -> Iterator[list[socket.socket]]:
    """Connections that say nothing."""
    held = [socket.create_connection((LOOPBACK, port), 20.0) for _ in range(number)]
    try:
        yield held
    finally:
        for sock in held:
            sock.close()


def test_clients_never_take_the_descriptors_that_links_and_files_need(lab: Lab) -> None:
    """A crowd takes every place; the master is found again after a restart, and the file can still be written."""
    server = lab.server()
    watches = [Watch(server.port, quorum=1), *(Watch(lab.ports.claim(), name=f"ghost{n}", quorum=1) for n in range(20))]
    sentinel = lab.sentinel(Kind.OURS, *watches, start=False)
    with_descriptors(sentinel, DESCRIPTORS)
    lab.start(sentinel)
    lab.wait_until(lambda: sentinel.master()["flags"] == "master", "the master is watched")
    with crowd(sentinel.port, 2 * DESCRIPTORS) as held:
        for sock in held[DESCRIPTORS:]:
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(100) in (b"", b"-ERR max number of clients reached\r\n")
        server.kill()
        lab.wait_until(lambda: "s_down" in sentinel.master()["flags"], "the master is missed")
        lab.start(server)
        lab.wait_until(lambda: sentinel.master()["flags"] == "master", "the master is found again")
        assert sentinel.ask("SENTINEL", "FLUSHCONFIG") == "OK"
    newcomer = open_client(sentinel.port)
    lab.wait_until(lambda: newcomer.execute_command("PING"), "there is room again")
    newcomer.close()


def test_who_sends_too_much_or_reads_too_little_is_cut_off_and_nobody_else_notices(lab: Lab) -> None:
    limits = ["client-query-buffer-limit 1mb", "client-output-buffer-limit pubsub 100kb 0 0", "timeout 0"]
    sentinel = lab.sentinel(Kind.OURS, Watch(lab.ports.claim(), quorum=1), lines=limits)
    with crowd(sentinel.port, 2) as (writer, reader):
        with contextlib.suppress(ConnectionError):
            writer.sendall(b"*2\r\n$4\r\nPING\r\n$2000000\r\n" + b"x" * 1_999_000)
        with contextlib.suppress(ConnectionError):
            reader.sendall(b"SUBSCRIBE +set\r\n" + b"*2\r\n$4\r\nPING\r\n$100000\r\n%b\r\n" % (b"x" * 100_000) * 200)

        def cut() -> bool:
            stats = sentinel.client.info("stats")
            query = int(stats["client_query_buffer_limit_disconnections"])
            return query == 1 and int(stats["client_output_buffer_limit_disconnections"]) == 1

        lab.wait_until(cut, "both are cut off")
        for number in range(1, 200):
            assert sentinel.ask("SENTINEL", "SET", "mymaster", "quorum", number) == "OK"
    lab.wait_until(lambda: len(sentinel.events.named("+set")) == 199, "who reads has missed nothing")
