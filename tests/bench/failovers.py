"""One master, two replicas, three sentinels: crashes, manual and coordinated failovers."""

from __future__ import annotations

import itertools
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from attrs import Factory, define

from tests.real.harness_processes import Child

from .rig import LOOPBACK, MASTER, Conn, Listener, Side, Stage, connect_when_up, pairs, stage, wait_for

Sample = dict[str, float]
WRITE_GAP_S = 0.005
DOWN_AFTER_MS = 1000
FAILOVER_TIMEOUT_MS = 10_000


@define
class Group:
    """A running topology in which everybody knows everybody."""

    stage: Stage
    data_ports: list[int]
    sentinel_ports: list[int]
    asks: list[Conn] = Factory(list)
    listeners: list[Listener] = Factory(list)

    def address(self, number: int = 0) -> int:
        """The port that a sentinel names for the master."""
        return int(self.asks[number].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)[1])

    def server(self, port: int) -> Child:
        """The process of a data server."""
        return self.stage.children[self.data_ports.index(port)]

    def wait_acquainted(self) -> None:
        """Wait until every sentinel knows every server and peer, and finds nothing wrong with any."""
        for ask in self.asks:
            peers, replicas = len(self.sentinel_ports) - 1, len(self.data_ports) - 1
            wait_for(partial(_acquainted, ask, replicas, peers), "everybody is acquainted", 120.0)

    def heard(self, channel: str, begins: str, since: float) -> list[float]:
        """The first time of each sentinel that said so, sorted."""
        firsts = [listener.times(channel, begins, since) for listener in self.listeners]
        return sorted(times[0] for times in firsts if times)

    def count(self, channel: str, since: float) -> int:
        """How often all sentinels together said so."""
        return sum(len(listener.times(channel, since=since)) for listener in self.listeners)


@contextmanager
def group(side: Side, replicas: int = 2, sentinels: int = 3) -> Iterator[Group]:
    """Start all, wait until they are acquainted, and end all."""
    with stage() as here:
        data = [here.ports.claim() for _ in range(1 + replicas)]
        for port in data:
            here.server(port, None if port == data[0] else data[0])
        for port in data:
            conn = connect_when_up(port)
            if port != data[0]:
                wait_for(partial(_replicates, conn), "replication")
            conn.close()
        ports = [here.ports.claim() for _ in range(sentinels)]
        lines = [
            f"sentinel monitor {MASTER} {LOOPBACK} {data[0]} {sentinels // 2 + 1}",
            f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {MASTER} {FAILOVER_TIMEOUT_MS}",
        ]
        for port in ports:
            here.sentinel(side, port, lines)
        them = Group(here, data, ports)
        try:
            for port in ports:
                them.asks.append(connect_when_up(port))
                them.listeners.append(Listener(port))
            them.wait_acquainted()
            yield them
        finally:
            for listener in them.listeners:
                listener.close()


def _replicates(conn: Conn) -> bool:
    return "master_link_status:up" in conn.ask("INFO", "replication")


def _acquainted(ask: Conn, replicas: int, peers: int) -> bool:
    known = [pairs(each) for each in ask.ask("SENTINEL", "REPLICAS", MASTER)]
    others = [pairs(each) for each in ask.ask("SENTINEL", "SENTINELS", MASTER)]
    return (
        len(known) == replicas
        and len(others) == peers
        and all(each["flags"] == "slave" and each["master-link-status"] == "ok" for each in known)
        and all(each["flags"] == "sentinel" for each in others)
    )


# ---------------------------------------------------------------- crash


def crash(side: Side, number: int) -> Sample:
    """The master dies by a signal; a client that polls the sentinels writes as soon as it can. Milliseconds."""
    with group(side) as them:
        time.sleep(1.0 + 0.137 * (number % 7))  # another phase of the probes each time
        return _crash(them, side_signal(number))


def _crash(them: Group, number: signal.Signals) -> Sample:
    """Whoever is master now dies, by a signal."""
    old = them.address()
    master = them.server(old)
    since = time.monotonic()
    if number is signal.SIGSTOP:
        master.stop()
    else:
        master.kill()
    written = _first_write_elsewhere(them, old)
    wait_for(lambda: len(them.heard("+switch-master", MASTER, since)) == 3, "all switched", 60.0)
    downs = them.heard("+sdown", f"master {MASTER}", since)
    switches = them.heard("+switch-master", MASTER, since)
    objective = them.heard("+odown", f"master {MASTER}", since)
    quorum = downs[1]
    return {
        "sdown_quorum": 1000 * (quorum - since),
        "odown after quorum": 1000 * (objective[0] - quorum),
        "write after quorum": 1000 * (written - quorum),
        "last switch after quorum": 1000 * (switches[-1] - quorum),
        "elections": float(them.count("+try-failover", since)),
    }


def crash_kill(side: Side, number: int) -> Sample:
    """SIGKILL."""
    return crash(side, 2 * number)


def crash_stop(side: Side, number: int) -> Sample:
    """SIGSTOP."""
    return crash(side, 2 * number + 1)


def side_signal(number: int) -> signal.Signals:
    """Even samples kill, odd ones stop."""
    return signal.SIGSTOP if number % 2 else signal.SIGKILL


def _first_write_elsewhere(them: Group, old: int) -> float:
    """Poll the sentinels in turn until a write at another address than `old` is acknowledged; when."""
    deadline = time.monotonic() + 60.0
    turn = 0
    while time.monotonic() < deadline:
        turn += 1
        port = them.address(turn % len(them.asks))
        if port != old:
            try:
                conn = Conn(port)
                answer = conn.ask("SET", "after", "1")
                conn.close()
                if answer == "OK":
                    return time.monotonic()
            except OSError:
                pass
        time.sleep(WRITE_GAP_S)
    raise TimeoutError("no write went through")


# ---------------------------------------------------------------- on request


class Writer:
    """Writes 200 numbers a second to whoever the first sentinel named, and asks again only when it is refused or cut
    off. A context manager with a thread of its own."""

    def __init__(self, them: Group) -> None:
        self._sentinel = Conn(them.sentinel_ports[0])
        self.acknowledged: list[tuple[float, int, str]] = []
        """When, by which port, which key."""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(30.0)

    def _write(self) -> None:
        number, conn, port, run = 0, None, 0, time.monotonic_ns()
        while not self._ending.is_set():
            try:
                if conn is None:
                    port = int(self._sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)[1])
                    conn = Conn(port, timeout_s=15.0)
                number += 1
                key = f"w:{run}:{number}"
                if conn.ask("SET", key, number) == "OK":
                    self.acknowledged.append((time.monotonic(), port, key))
                else:
                    conn.close()
                    conn = None
            except OSError:
                conn = None
            time.sleep(WRITE_GAP_S)


def _on_request(side: Side, number: int, *words: str) -> Sample:
    with group(side) as them:
        time.sleep(1.0 + 0.137 * (number % 7))
        return _order(them, *words)


def _order(them: Group, *words: str) -> Sample:
    """The first sentinel is told to fail over, while a client writes."""
    old = them.address()
    with Writer(them) as writer:
        wait_for(lambda: len(writer.acknowledged) > 50, "the writer writes")
        since = time.monotonic()
        answer = them.asks[0].ask("SENTINEL", "FAILOVER", MASTER, *words)
        assert answer == "OK", answer
        wait_for(lambda: len(them.heard("+switch-master", MASTER, since)) == 3, "all switched")
        wait_for(lambda: writer.acknowledged[-1][1] != old, "the writer moved", 90.0)
        time.sleep(1.0)
    at = [moment for moment, _, _ in writer.acknowledged]
    moved = next(moment for moment, port, _ in writer.acknowledged if port != old)
    now = Conn(writer.acknowledged[-1][1])
    lost = sum(1 for _, _, name in writer.acknowledged if now.ask("EXISTS", name) != 1)
    gaps = [later - earlier for earlier, later in itertools.pairwise(at) if later > since]
    return {
        "writes moved": 1000 * (moved - since),
        "gap": 1000 * max(gaps),
        "writes lost": float(lost),
        "last switch": 1000 * (them.heard("+switch-master", MASTER, since)[-1] - since),
    }


def manual(side: Side, number: int) -> Sample:
    """SENTINEL FAILOVER under a writer."""
    return _on_request(side, number)


def coordinated(side: Side, number: int) -> Sample:
    """SENTINEL FAILOVER ... COORDINATED under a writer."""
    return _on_request(side, number, "COORDINATED")


# ---------------------------------------------------------------- again and again

IN_A_ROW = 50


def kills_in_a_row(side: Side, number: int) -> Sample:
    """One deployment whose master is killed again and again; each time the killed server is started as a replica, so
    that it need not be noticed and turned into one."""
    del number

    def once(them: Group) -> Sample:
        old = them.address()
        sample = _crash(them, signal.SIGKILL)
        them.server(old).spawn("--replicaof", LOOPBACK, str(them.address()))
        return sample

    return _in_a_row(side, once)


def handovers_in_a_row(side: Side, number: int) -> Sample:
    """One deployment that is handed over again and again, under a writer."""
    del number
    return _in_a_row(side, lambda them: _order(them, "COORDINATED"))


def _in_a_row(side: Side, once: Callable[[Group], Sample]) -> Sample:
    """Sums of what is counted, median and worst of what is measured."""
    samples: list[Sample] = []
    with group(side) as them:
        for turn in range(IN_A_ROW):
            time.sleep(0.2 + 0.137 * (turn % 7))
            samples.append(once(them))
            them.wait_acquainted()
    total: Sample = {"failovers": float(len(samples))}
    for figure in samples[0]:
        values = [sample[figure] for sample in samples]
        if figure in ("elections", "writes lost"):
            total[f"{figure}, all together"] = sum(values)
        else:
            total[f"{figure}, median"] = statistics.median(values)
            total[f"{figure}, worst"] = max(values)
    return total
