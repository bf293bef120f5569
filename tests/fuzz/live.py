"""A running sentinel under fuzz: mutated streams over many connections, while a well-behaved client looks on.

Looked for: an end of the process, a traceback, an unanswered PING, memory or descriptors that grow without end. What
was sent last is kept with a finding, and ``--replay FILE`` sends it again.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from attrs import define

from tests.bench.rig import LOOPBACK, MASTER, connect_when_up, cpu_s, rss_kib, sides, stage, wait_for
from tests.real.harness_processes import Child

from .shower import Shower
from .tape import read
from .witness import USER_LINE, Hang, Witness

BURST_S: Final = 2.0
TIDY_EVERY: Final = 5  # bursts
GROWTH_KIB: Final = 64 * 1024
MORE_DESCRIPTORS: Final = 8
CALM_S: Final = 60.0
TOLD_EVERY_S: Final = 300.0


def fuzz_port(seconds: float, seed: int, cores: float) -> int:
    """Fuzz a port for `seconds`, with `cores` of processors for the daemon and ourselves (0 = all there is)."""
    with _deployment() as (child, witness):
        shower, gauge = Shower(witness.port, seed), _Gauge(child, witness)
        throttle = _Throttle(child.pid, cores)
        try:
            while gauge.elapsed_s < seconds:
                shower.rain(BURST_S)
                gauge.look(lambda: f"{shower.count.pieces} pieces")
                throttle.rest()
            shower.close()
            gauge.settle()
        except (Hang, OSError, TimeoutError) as error:
            print(f"after {gauge.elapsed_s:.0f} s: {error!r}\n{child.output()[-8000:]}", file=sys.stderr)
            print(f"kept as {shower.tape.keep()}", file=sys.stderr)
            return 1
        finally:
            shower.close()
        count = shower.count
        print(
            f"port: {count.connections} connections, {count.pieces} pieces, {count.sent} bytes sent, "
            f"{count.received} received; {gauge.told()}",
            flush=True,
        )
        if gauge.finding():
            print(f"{gauge.finding()}\n{child.output()[-8000:]}\nkept as {shower.tape.keep()}", file=sys.stderr)
            return 1
    return 0


def replay(tape: Path) -> int:
    """Send what was kept once more, then look."""
    with _deployment() as (child, witness):
        socks: dict[int, socket.socket] = {}
        for number, data in read(tape):
            if not data:
                if number in socks:
                    socks.pop(number).close()
                continue
            if number not in socks:
                socks[number] = socket.create_connection((LOOPBACK, witness.port), 30.0)
            with contextlib.suppress(OSError):
                socks[number].setblocking(False)
                socks[number].send(data)
                socks[number].recv(1 << 20)
        try:
            witness.look()
        except Hang as error:
            print(f"{error!r}\n{child.output()[-8000:]}", file=sys.stderr)
            return 1
        finally:
            for sock in socks.values():
                sock.close()
        print(f"answered in {witness.slowest_s * 1000:.0f} ms", flush=True)
    return 0


@contextlib.contextmanager
def _deployment() -> Iterator[tuple[Child, Witness]]:
    """A server, and a sentinel that watches it, with a user of its own for the witness."""
    ours = sides((), ("valkey", "redis7"))[0]
    with stage() as here:
        server, port = here.ports.claim(), here.ports.claim()
        here.server(server)
        lines = [f"sentinel monitor {MASTER} {LOOPBACK} {server} 1", "timeout 20", "maxclients 200", USER_LINE]
        child = here.sentinel(ours, port, lines)
        conn = connect_when_up(port)
        wait_for(lambda: conn.ask("SENTINEL", "CKQUORUM", MASTER)[0:2] == "OK", "the master is watched")
        conn.close()
        yield child, Witness(child, port, server)


class _Gauge:
    """What is looked at after each burst."""

    def __init__(self, child: Child, witness: Witness) -> None:
        self._child = child
        self._witness = witness
        self._began = time.monotonic()
        self._descriptors = witness.descriptors()
        self._sizes: list[int] = []
        self._told_s = 0.0

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began

    def look(self, progress: Callable[[], str]) -> None:
        """A client is answered, and the process lives. Raises Hang."""
        self._witness.look()
        self._sizes.append(rss_kib(self._child.pid))
        if len(self._sizes) % TIDY_EVERY == 0:
            self._witness.tidy()
        if self.elapsed_s - self._told_s > TOLD_EVERY_S:
            self._told_s = self.elapsed_s
            print(f"  {progress()}; {self.told()}", flush=True)

    def settle(self) -> None:
        """When all is over the descriptors of clients and of links are given back."""
        self._witness.tidy(most=0)
        limit = self._descriptors + MORE_DESCRIPTORS
        wait_for(lambda: self._witness.descriptors() <= limit, "its descriptors are given back", CALM_S, 0.5)

    def told(self) -> str:
        """The figures."""
        witness = self._witness
        return (
            f"{self.elapsed_s:.0f} s; {witness.pings} PINGs answered, "
            f"the slowest in {witness.slowest_s * 1000:.0f} ms; "
            f"memory {self._settled} -> {self._sizes[-1]} KiB (most {max(self._sizes)}); "
            f"descriptors {self._descriptors} -> {witness.descriptors()}; {witness.removed} masters taken back"
        )

    def finding(self) -> str:
        """What is wrong though every client was answered; empty when nothing is."""
        if "Traceback" in self._child.output():
            return "there is a traceback"
        return "memory grows" if self._sizes[-1] - self._settled > GROWTH_KIB else ""

    @property
    def _settled(self) -> int:
        return self._sizes[len(self._sizes) // 10]


@define
class _Throttle:
    """Rests so long that the daemon and we use no more than `cores` processors."""

    pid: int
    cores: float
    _began: float = 0.0
    _used_before: float = 0.0

    def __attrs_post_init__(self) -> None:
        self._began, self._used_before = time.monotonic(), self._used()

    def rest(self) -> None:
        """Sleep off what was used too much."""
        if self.cores:
            too_much = (self._used() - self._used_before) / self.cores - (time.monotonic() - self._began)
            time.sleep(max(0.0, too_much))

    def _used(self) -> float:
        return cpu_s(self.pid) + time.process_time()
