"""Many masters, faked by one process: discovery, steady state and mass failure."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from attrs import frozen

from .farm import host_of
from .rig import LOOPBACK, ROOT, Conn, Listener, Side, Stage, connect_when_up, cpu_s, rss_kib, stage, wait_for

Sample = dict[str, float]
STEADY_S = 10.0
DOWN_AFTER_MS = 5000


@frozen
class RunningFarm:
    """The fakes."""

    process: subprocess.Popen[str]
    port: int

    def kill(self, count: int) -> None:
        """Take the first `count` masters away."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"kill {count}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline().startswith("killed")


@contextmanager
def farm(here: Stage, masters: int, replicas: int) -> Iterator[RunningFarm]:
    """A farm that ends with the block."""
    port = here.ports.claim()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.farm", str(port), str(masters), str(replicas)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=dict(os.environ),
    ) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            yield RunningFarm(process, port)
        finally:
            process.kill()


def _monitor_lines(masters: int, port: int, quorum: int) -> list[str]:
    lines = []
    for number in range(masters):
        lines.append(f"sentinel monitor m{number} {host_of(1, number)} {port} {quorum}")
        lines.append(f"sentinel down-after-milliseconds m{number} {DOWN_AFTER_MS}")
    return lines


def _replicas_known(info: str) -> int:
    return sum(int(part[7:]) for line in info.splitlines() for part in line.split(",") if part.startswith("slaves="))


class Probe:
    """The longest time that a client waited for an answer."""

    def __init__(self, conn: Conn) -> None:
        self.conn = conn
        self.worst_s = 0.0
        conn.sock.settimeout(120.0)

    def ask(self, *words: str) -> str:
        """The reply, its delay noted."""
        began = time.monotonic()
        reply = self.conn.ask(*words)
        self.worst_s = max(self.worst_s, time.monotonic() - began)
        return str(reply)


def discovery(side: Side, masters: int) -> Sample:
    """One sentinel is told of `masters` masters with a replica each and finds the rest; then some quiet time."""
    with stage() as here, farm(here, masters, 1) as fakes:
        port = here.ports.claim()
        began = time.monotonic()
        child = here.sentinel(side, port, _monitor_lines(masters, fakes.port, 1))
        probe = Probe(connect_when_up(port, 120.0))
        up = time.monotonic()
        found = wait_for(
            lambda: probe.ask("PING") and _replicas_known(probe.ask("INFO", "sentinel")) == masters,
            "all replicas are known",
            240.0,
            0.05,
        )
        cpu = cpu_s(child.pid)
        time.sleep(4.0)
        steady_probe = Probe(probe.conn)
        before, at = cpu_s(child.pid), time.monotonic()
        while time.monotonic() < at + STEADY_S:
            steady_probe.ask("PING")
            time.sleep(0.01)
        share = (cpu_s(child.pid) - before) / (time.monotonic() - at)
        return {
            "first PONG": 1000 * (up - began),
            "discovered, s": found - began,
            "discovery CPU, s": cpu,
            "discovery worst PING": 1000 * probe.worst_s,
            "steady CPU, % of a core": 100 * share,
            "steady worst PING": 1000 * steady_probe.worst_s,
            "RSS, MiB": rss_kib(child.pid) / 1024,
        }


def mass_failure(side: Side, masters: int, dying: int) -> Sample:
    """Three sentinels that know everything from their files; `dying` of `masters` masters die at once."""
    with stage() as here, farm(here, masters, 1) as fakes:
        ports = [here.ports.claim() for _ in range(3)]
        ids = [hashlib.sha1(str(port).encode()).hexdigest() for port in ports]
        listeners, children = [], []
        for port, my_id in zip(ports, ids, strict=True):
            lines = [f"sentinel myid {my_id}", *_monitor_lines(masters, fakes.port, 2)]
            for number in range(masters):
                lines.append(f"sentinel known-replica m{number} {host_of(2, number)} {fakes.port}")
                lines += [
                    f"sentinel known-sentinel m{number} {LOOPBACK} {other} {other_id}"
                    for other, other_id in zip(ports, ids, strict=True)
                    if other != port
                ]
            children.append(here.sentinel(side, port, lines))
        for port in ports:
            connect_when_up(port, 120.0).close()
            listeners.append(Listener(port))
        time.sleep(12.0)
        since = time.monotonic()
        fakes.kill(dying)
        names = {f"m{number}" for number in range(dying)}

        def switched(listener: Listener) -> set[str]:
            return {text.split()[0] for at, said, text in list(listener.heard) if said == "+switch-master"} & names

        with suppress(TimeoutError):
            wait_for(lambda: all(len(switched(one)) == dying for one in listeners), "all switched", 90.0, 0.05)
        downs = [at for one in listeners for at in one.times("+sdown", "master ", since)]
        firsts = [min(one.times("+switch-master", "", since), default=since) for one in listeners]
        lasts = [max(one.times("+switch-master", "", since), default=since) for one in listeners]
        false = {
            text.split()[1]
            for one in listeners
            for at, said, text in one.heard
            if said == "+sdown" and text.startswith("master ") and at >= since
        } - names
        return {
            "switched everywhere, masters": float(min(len(switched(one)) for one in listeners)),
            "first SDOWN to first switch": 1000 * (min(firsts) - min(downs)),
            "first SDOWN to last switch": 1000 * (max(lasts) - min(downs)),
            "spread of SDOWN": 1000 * (max(downs) - min(downs)),
            "elections": float(sum(len(one.times("+try-failover", since=since)) for one in listeners)),
            "false SDOWN, masters": float(len(false)),
            "CPU of one sentinel since start, s": cpu_s(children[0].pid),
        }


def fleet10(side: Side, number: int) -> Sample:
    """10 masters."""
    return discovery(side, 10)


def fleet100(side: Side, number: int) -> Sample:
    """100 masters."""
    return discovery(side, 100)


def fleet1000(side: Side, number: int) -> Sample:
    """1,000 masters."""
    return discovery(side, 1000)


def mass200(side: Side, number: int) -> Sample:
    """20 of 200."""
    return mass_failure(side, 200, 20)


def mass1000(side: Side, number: int) -> Sample:
    """100 of 1,000."""
    return mass_failure(side, 1000, 100)
