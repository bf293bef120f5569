"""Sentinels that all tests of a run share: ours and two stock ones, each with one master that nobody can reach."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.real.harness_ports import PortClaims
from tests.real.harness_processes import LOOPBACK
from tests.real.harness_sentinels import REPOSITORY, Kind
from tests.real.harness_servers import redis7_missing

MASTER_PORT = 9  # nobody listens there
PASSWORD = "sekret"


class Rival(NamedTuple):
    """A running sentinel."""

    kind: Kind
    port: int
    directory: Path
    process: subprocess.Popen[bytes]


def _start(kind: Kind, directory: Path, port: int, lines: Sequence[str]) -> subprocess.Popen[bytes]:
    conf = directory / "sentinel.conf"
    head = [
        f"port {port}",
        f"bind {LOOPBACK}",
        f"dir {directory}",
        f"logfile {directory}/log",
        f"sentinel monitor m1 {LOOPBACK} {MASTER_PORT} 2",
        "sentinel down-after-milliseconds m1 3600000",
        f"sentinel myid {'a' * 40}",
    ]
    conf.write_text("\n".join([*head, *lines]) + "\n")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(
        kind.command(conf), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, cwd=directory
    )


def _wait(process: subprocess.Popen[bytes], port: int, directory: Path) -> None:
    for _ in range(600):
        try:
            socket.create_connection((LOOPBACK, port)).close()
        except OSError:
            assert process.poll() is None, (directory / "log").read_text()
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"nobody listens on {port}")


@contextmanager
def open_rivals(directory: Path, *lines: str, kinds: Sequence[Kind] = tuple(Kind)) -> Iterator[dict[Kind, Rival]]:
    """One sentinel of each kind that is installed, with `lines` in its configuration."""
    claims = PortClaims()
    processes: dict[Kind, subprocess.Popen[bytes]] = {}
    rivals: dict[Kind, Rival] = {}
    try:
        for kind in kinds:
            if kind is Kind.REDIS7 and redis7_missing() is not None:
                continue
            port, place = claims.claim(), directory / kind.value
            place.mkdir()
            processes[kind] = _start(kind, place, port, lines)
            rivals[kind] = Rival(kind, port, place, processes[kind])
        for kind, process in processes.items():
            _wait(process, rivals[kind].port, rivals[kind].directory)
        yield rivals
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.wait()
        claims.release()
