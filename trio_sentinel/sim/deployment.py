"""A simulated deployment for tests of applications: one master, its replicas and sentinels, on virtual time.

    deployment = Deployment(sentinels=3, replicas=2)
    old = deployment.master_address()
    deployment.kill(old)
    deployment.advance_until(lambda: deployment.master_address() != old)
    deployment.write(deployment.master_address())

Nothing happens by itself: time passes only inside ``advance``, ``advance_until`` and the operations that say so. The
same calls with the same seed give the same answers. The sentinels are the real minds (or the models of stock ones);
servers and network are simulated as sentinels and clients see them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from attrs import frozen

from trio_sentinel.errors import CommandRefused, SentinelError
from trio_sentinel.model import effects as fx
from trio_sentinel.model import inputs as i
from trio_sentinel.model.events import Event
from trio_sentinel.model.rhythm import PINGS_A_SECOND
from trio_sentinel.model.settings import MasterSettings
from trio_sentinel.model.values import Address
from trio_sentinel.sim.cluster import Cluster, FakeServer, SimSentinel, Writer
from trio_sentinel.sim.redis import Mood, Write
from trio_sentinel.sim.stock_state import Flavour
from trio_sentinel.sim.world import World

__all__ = ["CLIENT", "Deployment", "Happened", "NotInTime", "Place", "ServerUnreachable", "Writes"]

CLIENT = "client"
"""The place of the application itself."""
Place: TypeAlias = Address | str
"""A server by its address, a sentinel by its name (``s1``, ``s2`` ...), or the ``CLIENT``."""

WARM_UP_S = 15.0
STEP_MS = 10
MOST = 250
"""So many sentinels, and servers, have addresses here."""
LONGEST_S = 1e9
"""Longer times are a mistake, such as infinity."""
CLIENT_HOST = "10.0.9.1"


class ServerUnreachable(SentinelError, ConnectionError):
    """The client has no connection to that server: it is down, silent, or cut off."""


class NotInTime(SentinelError, TimeoutError):
    """What was waited for did not come about within its time."""


@frozen
class Writes:
    """What the writing client saw."""

    acknowledged: int
    failed: int
    lost: int
    """Acknowledged writes that the present master does not know."""
    longest_gap_s: float
    """The longest time between two acknowledged writes, or since the last one."""


@frozen
class Happened:
    """One event of one sentinel."""

    at_s: float
    sentinel: str
    event: Event


class Deployment:
    """One master with its replicas, and the sentinels that watch it."""

    def __init__(
        self,
        *,
        sentinels: int = 3,
        replicas: int = 2,
        quorum: int | None = None,
        down_after_s: float = 1.0,
        failover_timeout_s: float = 10.0,
        latency_ms: tuple[int, int] = (0, 2),
        min_replicas_to_write: int = 0,
        stock: Sequence[str | None] = (),
        name: str = "mymaster",
        seed: int = 0,
    ) -> None:
        """Build it and let it come to rest, which takes some seconds of virtual time.

        Args:
            quorum: by default a majority of the sentinels.
            latency_ms: how long a packet takes: at least, and at most.
            stock: for each sentinel in turn ``None`` for ours, or ``"redis 7"`` or ``"valkey 9"`` for a stock one.
            name: the name under which the sentinels watch the master.
            seed: other seeds give other delays, and another order where the order is left to chance.

        Raises ValueError for what no deployment can be.
        """
        _require(1 <= sentinels <= MOST, f"sentinels: 1 to {MOST}, not {sentinels}")
        _require(0 <= replicas < MOST, f"replicas: 0 to {MOST - 1}, not {replicas}")
        _require(quorum is None or quorum >= 1, f"quorum: 1 or more, not {quorum}")
        for length, of in (("down_after_s", down_after_s), ("failover_timeout_s", failover_timeout_s)):
            _require(0.001 <= of <= LONGEST_S, f"{length}: at least 0.001 and finite, not {of}")
        _require(0 <= latency_ms[0] <= latency_ms[1], f"latency_ms: at least, and at most, not {latency_ms}")
        _require(min_replicas_to_write >= 0, f"min_replicas_to_write: 0 or more, not {min_replicas_to_write}")
        flavours = _flavours(stock, sentinels)
        self.name = name
        self.cluster = Cluster(World(seed), latency_ms)
        """What is underneath, for what this class does not offer."""
        self.cluster.pings_a_second = PINGS_A_SECOND
        master = self._add_server(1, None, min_replicas_to_write)
        for n in range(replicas):
            self._add_server(n + 2, master.address, min_replicas_to_write)
        self.settings = MasterSettings(
            quorum=sentinels // 2 + 1 if quorum is None else quorum,
            down_after_ms=round(down_after_s * 1000),
            failover_timeout_ms=round(failover_timeout_s * 1000),
        )
        self._sentinels: dict[str, SimSentinel] = {}
        for n in range(sentinels):
            known = {name: master.address}
            self._sentinels[f"s{n + 1}"] = self.cluster.add_sentinel(
                f"10.0.1.{n + 1}", known, self.settings, stock=flavours[n]
            )
        self._writer = Writer(self.cluster, name, 100, [], host=CLIENT_HOST)
        self._writing = False
        self._began_ms = self.cluster.world.now_ms
        self.advance(WARM_UP_S)

    def _add_server(self, number: int, master: Address | None, min_replicas: int) -> FakeServer:
        server = self.cluster.add_server(f"10.0.0.{number}", master, home=self.name)
        server.min_replicas = min_replicas
        return server

    # ------------------------------------------------------------ time

    @property
    def now_s(self) -> float:
        """Seconds of virtual time since the beginning."""
        return (self.cluster.world.now_ms - self._began_ms) / 1000

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        _require(0 <= seconds <= LONGEST_S, f"time passes forward only, not by {seconds} s")
        self.cluster.world.run_for(round(seconds * 1000))

    def advance_until(self, condition: Callable[[], object], timeout_s: float = 60.0) -> float:
        """Let time pass until `condition` holds; returns how long that took. Raises NotInTime after `timeout_s`."""
        _require(timeout_s >= 0, f"timeout_s: 0 or more, not {timeout_s}")
        began_ms = self.cluster.world.now_ms
        while not condition():
            if self.cluster.world.now_ms - began_ms >= timeout_s * 1000:
                raise NotInTime(f"nothing of the kind within {timeout_s} s of virtual time")
            self.cluster.world.run_for(STEP_MS)
        return (self.cluster.world.now_ms - began_ms) / 1000

    # ------------------------------------------------------------ who is who

    @property
    def servers(self) -> tuple[Address, ...]:
        """All servers; the first was the master at the beginning."""
        return tuple(self.cluster.servers)

    @property
    def sentinels(self) -> tuple[str, ...]:
        """The names of all sentinels."""
        return tuple(self._sentinels)

    def master_address(self, sentinel: str | None = None) -> Address:
        """Where a sentinel says that the master is: this one, or the first that answers the client.

        Raises ServerUnreachable when none does.
        """
        asked = self._sentinels.values() if sentinel is None else [self._sentinel(sentinel)]
        for process in asked:
            if process.up and not process.frozen and self._reaches(process.address.host):
                master = process.engine.state.masters.get(self.name)
                if master is not None:
                    return master.current_address
        raise ServerUnreachable("no sentinel answers" if sentinel is None else f"no answer from {sentinel}")

    def replica_addresses(self) -> tuple[Address, ...]:
        """The servers that replicate from the present master, with their links up."""
        master = self.master_address()
        return tuple(a for a, server in self.cluster.servers.items() if server.master == master and server.link_up)

    def role(self, server: Address) -> str:
        """``master`` or ``replica``, as the server itself says. Raises ServerUnreachable."""
        return "master" if self._connected(server).master is None else "replica"

    @property
    def events(self) -> tuple[Happened, ...]:
        """What the sentinels decided, in order. The classes are in ``trio_sentinel.events``."""
        names = {process.name: name for name, process in self._sentinels.items()}
        began_ms = self._began_ms
        return tuple(Happened((t.at_ms - began_ms) / 1000, names[t.who], t.event) for t in self.cluster.told)

    # ------------------------------------------------------------ writing

    def write(self, server: Address) -> Write:
        """One write of the application to `server`, acknowledged when this returns.

        Raises ServerUnreachable, or CommandRefused with the code that a real server answers: READONLY, LOADING,
        NOREPLICAS and so on.
        """
        target = self._connected(server)
        if target.mood is not Mood.WELL:
            raise CommandRefused(*target.mood.value.split(" ", 1))
        if target.master is not None:
            raise CommandRefused("READONLY", "You can't write against a read only replica.")
        if target.paused:
            raise ServerUnreachable(f"{server} holds writes back")
        write = target.write()
        if write is None:
            raise CommandRefused("NOREPLICAS", "Not enough good replicas to write.")
        return write

    def is_lost(self, write: Write) -> bool:
        """Whether the present master does not know a write that was acknowledged."""
        return not self.cluster.servers[self.master_address()].has(write)

    def start_writing(self, every_s: float = 0.1) -> None:
        """A client that asks a sentinel for the master and writes to it, again and again from now on."""
        _require(0.001 <= every_s <= LONGEST_S, f"every_s: at least 0.001 and finite, not {every_s}")
        self._writer.period_ms = round(every_s * 1000)
        if not self._writing:
            self._writing = True
            self._writer.last_ok_at_ms = self.cluster.world.now_ms
            self.cluster.world.after(self._writer.period_ms, self._writer.run)

    @property
    def writes(self) -> Writes:
        """What became of the writes of ``start_writing``."""
        holder = self.cluster.servers[self.master_address()]
        silent_ms = self.cluster.world.now_ms - self._writer.last_ok_at_ms if self._writing else 0
        return Writes(
            acknowledged=len(self._writer.writes),
            failed=self._writer.refused,
            lost=sum(1 for write in self._writer.writes if not holder.has(write)),
            longest_gap_s=max(self._writer.longest_gap_ms, silent_ms) / 1000,
        )

    # ------------------------------------------------------------ bad luck

    def kill(self, place: Place, *, power: bool = False) -> None:
        """A server's or sentinel's process dies; with `power`, its machine, so that nobody is told."""
        process = self._process(place)
        if isinstance(process, FakeServer):
            process.kill(with_host=power)
        else:
            process.crash(with_host=power)

    def restart(self, place: Place, *, empty: bool = False) -> None:
        """Start again what was killed, with the role and the data it had; a server perhaps with an `empty` disk."""
        process = self._process(place)
        if process.up:
            return
        if isinstance(process, FakeServer):
            process.restart(self.cluster.new_id(), empty=empty)
        else:
            process.start()

    def freeze(self, place: Place) -> None:
        """A process stops without ending (SIGSTOP): connections stay, nothing is answered."""
        process = self._process(place)
        if isinstance(process, FakeServer):
            process.frozen = True
        else:
            process.freeze(None)

    def thaw(self, place: Place) -> None:
        """It goes on."""
        process = self._process(place)
        if isinstance(process, FakeServer):
            process.frozen = False
            self.cluster.network.awake(process)
        else:
            process.thaw()

    def partition(self, *groups: Iterable[Place]) -> None:
        """Only who is in the same group reaches one another; who is in none is in a group with all others in none. What
        was cut before stays cut until ``heal``."""
        homes: dict[str, int] = {}
        for n, group in enumerate(groups):
            _require(not isinstance(group, Address | str), f"a group is a list of places: [{group!r}]")
            for place in group:
                host = self._host(place)
                _require(homes.setdefault(host, n) == n, f"{place} is in two groups")
        hosts = [*(address.host for address in self.cluster.network.processes), CLIENT_HOST]
        for one in hosts:
            for other in hosts:
                if homes.get(one) != homes.get(other):
                    self.cluster.network.cut.add((one, other))

    def heal(self) -> None:
        """Everybody reaches everybody again."""
        self.cluster.network.heal()

    # ------------------------------------------------------------ operators

    def failover(self, sentinel: str = "s1", *, coordinated: bool = False) -> None:
        """``SENTINEL FAILOVER``. Lets time pass until it is answered; raises CommandRefused with the answer's error, or
        ServerUnreachable when that sentinel does not run."""
        answers: list[fx.Answer] = []
        process = self._sentinel(sentinel)
        if not process.up or process.frozen:
            raise ServerUnreachable(f"no answer from {sentinel}")
        process.ask(lambda n: i.FailoverAsked(n, self.name, coordinated), answers.append)
        self.advance_until(lambda: answers, 30)
        if answers[0].error is not None:
            raise CommandRefused(*answers[0].error.split(" ", 1))

    # ------------------------------------------------------------ places

    def _process(self, place: Place) -> FakeServer | SimSentinel:
        _require(place != CLIENT, "the client is a place, but no process of the deployment")
        if isinstance(place, str) and place in self._sentinels:
            return self._sentinels[place]
        if not isinstance(place, str) and place in self.cluster.servers:
            return self.cluster.servers[place]
        servers = ", ".join(map(str, self.servers))
        raise ValueError(f"{place!r} is no place: sentinels are {', '.join(self.sentinels)}; servers, {servers}")

    def _sentinel(self, name: str) -> SimSentinel:
        _require(name in self._sentinels, f"{name!r} is no sentinel: they are {', '.join(self.sentinels)}")
        return self._sentinels[name]

    def _host(self, place: Place) -> str:
        return CLIENT_HOST if place == CLIENT else self._process(place).address.host

    def _reaches(self, host: str) -> bool:
        reaches = self.cluster.network.reaches
        return reaches(CLIENT_HOST, host) and reaches(host, CLIENT_HOST)

    def _connected(self, address: Address) -> FakeServer:
        server = self.cluster.servers.get(address)
        if server is None or not server.up or server.frozen or not self._reaches(address.host):
            raise ServerUnreachable(f"no answer from {address}")
        return server


def _require(fact: bool, otherwise: str) -> None:
    """Raise ValueError unless `fact` holds, as it does not for NaN."""
    if not fact:
        raise ValueError(otherwise)


def _flavours(stock: Sequence[str | None], sentinels: int) -> list[Flavour | None]:
    kinds = [flavour.value for flavour in Flavour]
    _require(not isinstance(stock, str), f"stock: a kind for each sentinel in turn, such as ({stock!r}, None)")
    _require(len(stock) <= sentinels, f"stock: {len(stock)} kinds for {sentinels} sentinels")
    for kind in stock:
        _require(kind is None or kind in kinds, f"stock: {kind!r} is none of None, {', '.join(map(repr, kinds))}")
    chosen = [None if kind is None else Flavour(kind) for kind in stock]
    return [*chosen, *[None] * (sentinels - len(chosen))]
