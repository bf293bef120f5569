"""A deployment under siege: what a healthy client and the master notice, and whether a failover still happens."""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from attrs import Factory, define, frozen

from tests.bench.rig import (
    LOOPBACK,
    MASTER,
    ROOT,
    Conn,
    Listener,
    Side,
    Stage,
    connect_when_up,
    cpu_s,
    pairs,
    rss_kib,
    stage,
    wait_for,
)
from tests.real.harness_processes import Child

SENTINELS = 3
PATIENCE_S = 120.0


@frozen
class Figures:
    """What was measured. Times in milliseconds."""

    connected: int
    pings: int
    ping_p50: float
    ping_p99: float
    ping_max: float
    rhythm_p50: float
    rhythm_max: float
    false_alarms: int
    failover: float
    cpu_share: float
    rss_mib: float


@contextmanager
def attack(connections: int, ports: Sequence[int]) -> Iterator[list[int]]:
    """Hostile connections to `ports` while the block runs; the list tells how many are connected, last word last."""
    if not connections:
        yield [0]
        return
    argv = [sys.executable, "-m", "tests.hostile.attackers", str(connections), *map(str, ports)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    told: list[int] = [0]
    reader = threading.Thread(target=_follow, args=(process, told), daemon=True)
    reader.start()
    try:
        yield told
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(20)
        reader.join(20)
        process.stdout.close()


def _follow(process: subprocess.Popen[bytes], told: list[int]) -> None:
    assert process.stdout is not None
    told.extend(map(int, process.stdout))


@define
class Pulse:
    """A healthy client of one port: a PING each `period_s`, on one connection, and each tenth on a new one."""

    port: int
    period_s: float = 0.02
    took_ms: list[float] = Factory(list)
    failures: list[str] = Factory(list)
    _stop: threading.Event = Factory(threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        try:
            conn = Conn(self.port, timeout_s=PATIENCE_S)
        except OSError as error:
            self.failures.append(repr(error))
            return
        try:
            self._ping(conn)
        except OSError as error:
            self.failures.append(repr(error))
        finally:
            conn.close()

    def _ping(self, conn: Conn) -> None:
        number = 0
        while not self._stop.wait(self.period_s):
            number += 1
            began = time.monotonic()
            if number % 10:
                answer = conn.ask("PING")
            else:
                other = Conn(self.port, timeout_s=PATIENCE_S)
                try:
                    answer = other.ask("PING")
                finally:
                    other.close()
            self.took_ms.append((time.monotonic() - began) * 1000)
            if answer != "PONG":
                self.failures.append(repr(answer))


@define
class Rhythm:
    """When each sentinel said PING to the master, as MONITOR on the master tells."""

    port: int
    heard: dict[str, list[float]] = Factory(dict)
    _conn: Conn | None = None

    def start(self) -> None:
        self._conn = Conn(self.port)
        assert self._conn.ask("MONITOR") == "OK"
        self._conn.sock.settimeout(None)
        threading.Thread(target=self._listen, args=(self._conn,), daemon=True).start()

    def _listen(self, conn: Conn) -> None:
        try:
            while True:
                line = str(conn.read())
                if line.endswith('"PING"'):
                    stamp, rest = line.split(" ", 1)
                    self.heard.setdefault(rest, []).append(float(stamp))
        except (OSError, ValueError):
            return
        finally:
            conn.close()

    def gaps_ms(self) -> list[float]:
        """Between one PING and the next of the same sentinel."""
        return [(b - a) * 1000 for times in self.heard.values() for a, b in itertools.pairwise(times)]


def besiege(side: Side, connections: int, seconds: float) -> Figures:
    """Start a deployment, attack it for `seconds`, then kill its master. Raises when a promise is broken."""
    with stage() as here:
        servers = [here.ports.claim() for _ in range(3)]
        ports = [here.ports.claim() for _ in range(SENTINELS)]
        master = _data(here, servers)
        lines = [
            f"sentinel monitor {MASTER} {LOOPBACK} {servers[0]} 2",
            f"sentinel down-after-milliseconds {MASTER} 2000",
            f"sentinel failover-timeout {MASTER} 10000",
        ]
        sentinels = [here.sentinel(side, port, lines) for port in ports]
        for port in ports:
            conn = connect_when_up(port)
            wait_for(lambda conn=conn: _acquainted(conn), "the sentinels know each other", PATIENCE_S)  # type: ignore[misc]
            conn.close()
        listeners = [Listener(port) for port in ports]
        with attack(connections, ports) as connected:
            if connections:
                wait_for(lambda: connected[-1] > connections // 2, "the attackers are there", PATIENCE_S)
            pulses, rhythm = [Pulse(port) for port in ports], Rhythm(servers[0])
            rhythm.start()
            for pulse in pulses:
                pulse.start()
            cpu, began = [cpu_s(child.pid) for child in sentinels], time.monotonic()
            time.sleep(seconds)
            took = time.monotonic() - began
            shares = [(cpu_s(child.pid) - before) / took for child, before in zip(sentinels, cpu, strict=True)]
            alarms = sum(len(listener.times("+sdown")) for listener in listeners)
            gaps = rhythm.gaps_ms()
            killed = time.monotonic()
            master.kill()
            switched = wait_for(lambda: _switched(ports, servers[0]), "all name a new master", PATIENCE_S)
            for pulse in pulses:
                pulse.stop()
            sizes = [rss_kib(child.pid) / 1024 for child in sentinels]
        _check(sentinels, pulses)
        for listener in listeners:
            listener.close()
    pings = sorted(took_ms for pulse in pulses for took_ms in pulse.took_ms)
    return Figures(
        connected=connected[-1],
        pings=len(pings),
        ping_p50=statistics.median(pings),
        ping_p99=pings[int(len(pings) * 0.99)],
        ping_max=pings[-1],
        rhythm_p50=statistics.median(gaps),
        rhythm_max=max(gaps),
        false_alarms=alarms,
        failover=(switched - killed) * 1000,
        cpu_share=statistics.mean(shares),
        rss_mib=max(sizes),
    )


def _data(here: Stage, servers: Sequence[int]) -> Child:
    """One master and its replicas, all up."""
    master = here.server(servers[0])
    for port in servers[1:]:
        here.server(port, servers[0])
    conn = connect_when_up(servers[0])
    wait_for(lambda: f"connected_slaves:{len(servers) - 1}" in conn.ask("INFO", "replication"), "replicas", PATIENCE_S)
    conn.close()
    return master


def _acquainted(conn: Conn) -> bool:
    seen = pairs(conn.ask("SENTINEL", "MASTER", MASTER))
    return (seen["num-slaves"], seen["num-other-sentinels"]) == ("2", str(SENTINELS - 1))


def _switched(ports: Sequence[int], old: int) -> bool:
    """Whether all sentinels name the same new master."""
    named = set()
    for port in ports:
        conn = Conn(port, timeout_s=PATIENCE_S)
        try:
            named.add(conn.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)[1])
        finally:
            conn.close()
    return len(named) == 1 and str(old) not in named


def _check(sentinels: Sequence[Child], pulses: Sequence[Pulse]) -> None:
    """Nobody died, nobody raised, and every PING was answered."""
    for child in sentinels:
        assert child.alive, f"{child.name} ended with {child.exit_code}:\n{child.output()[-4000:]}"
        assert "Traceback" not in child.output(), child.output()[-4000:]
    for pulse in pulses:
        assert not pulse.failures, f"a healthy client of port {pulse.port}: {pulse.failures}"
        assert pulse.took_ms
