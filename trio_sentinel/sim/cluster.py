"""N sentinels, M servers and the clients that write, in one world. Everything random comes from the world's dice, so a
seed is a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from attrs import Factory, define, frozen

from trio_sentinel.model.events import Event, LeaderElected, MasterSwitched, TiltEntered
from trio_sentinel.model.settings import GlobalSettings, MasterSettings
from trio_sentinel.model.snapshot import MasterSnapshot, Snapshot
from trio_sentinel.model.state import Manner, Master
from trio_sentinel.model.values import Address, RunId
from trio_sentinel.sim.checkers import Checker
from trio_sentinel.sim.network import Network
from trio_sentinel.sim.process import SimSentinel
from trio_sentinel.sim.redis import CRON_MS, FakeServer, Write
from trio_sentinel.sim.stock import StockSentinel
from trio_sentinel.sim.stock_checks import StockChecker
from trio_sentinel.sim.stock_state import Defects, Flavour
from trio_sentinel.sim.world import World

__all__ = ["Cluster", "FakeServer", "SimSentinel", "Told", "Writer", "simple_cluster"]

SERVER_PORT = 6379
SENTINEL_PORT = 26379
WELL_FOR_MS = 5000
"""A server untouched by any fault for longer than the detection time and this was failed over for nothing."""
STOCK_STALL_MS = 500
"""Stock does nothing else while it saves. When every save takes this long and every opinion counts, those that were
given first are old when the last one comes."""
STOCK_BLIND_MS = 500
"""Its own CLIENT KILL at a promotion cuts stock off from the server for some hundred ms. Where that is down, and one
voice is enough, each failover leads to the next."""


@frozen
class Told:
    """One event of one sentinel, for reports and checkers."""

    at_ms: int
    who: str
    event: Event


@define(eq=False)
class Writer:
    """A client of one master name: asks a sentinel for the address, writes, and remembers what was acknowledged."""

    cluster: Cluster
    name: str
    period_ms: int
    writes: list[Write]
    refused: int = 0
    last_ok_at_ms: int = 0
    longest_gap_ms: int = 0
    host: str = "10.0.9.1"
    accepted_by: dict[int, Address] = Factory(dict)
    """Which server wrote a branch, where the client knows."""

    def run(self) -> None:
        """Write once, and plan the next time."""
        world = self.cluster.world
        world.after(self.period_ms, self.run)
        address = self._address()
        server = None if address is None else self.cluster.servers.get(address)
        if server is None:
            self.refused += 1
        else:
            world.after(self.cluster.network.delay_ms(self.host, server.address.host), self._arrive, server)

    def _arrive(self, server: FakeServer) -> None:
        """The write has reached its server."""
        network, there = self.cluster.network, server.address.host
        write = None
        if network.reaches(self.host, there) and network.reaches(there, self.host):
            write = server.write()
        if write is None:
            self.refused += 1
        else:
            self.cluster.world.after(network.delay_ms(there, self.host), self._acknowledged, write, server.address)

    def _acknowledged(self, write: Write, server: Address) -> None:
        """The answer has come, unless a cut was faster."""
        if not self.cluster.network.reaches(server.host, self.host):
            self.refused += 1
            return
        now_ms = self.cluster.world.now_ms
        self.writes.append(write)
        self.accepted_by[write.branch] = server
        self.longest_gap_ms = max(self.longest_gap_ms, now_ms - self.last_ok_at_ms)
        self.last_ok_at_ms = now_ms

    def _address(self) -> Address | None:
        sentinels = list(self.cluster.sentinels.values())
        start = self.cluster.world.random.randrange(len(sentinels))
        for sentinel in sentinels[start:] + sentinels[:start]:
            reachable = self.cluster.network.reaches(self.host, sentinel.address.host)
            if sentinel.up and not sentinel.frozen and reachable:
                master = sentinel.engine.state.masters.get(self.name)
                if master is not None:
                    return master.current_address
        return None


class Cluster:
    """The world's inhabitants. The full stage makes them of other classes."""

    network_class: type[Network] = Network
    server_class: type[FakeServer] = FakeServer
    sentinel_class: type[SimSentinel] = SimSentinel
    writer_class: type[Writer] = Writer

    def __init__(self, world: World, latency_ms: tuple[int, int] = (0, 2)) -> None:
        self.world = world
        self.network = self.network_class(world, latency_ms)
        self.servers: dict[Address, FakeServer] = {}
        self.homes: dict[Address, str] = {}
        """Which master name a server was made for."""
        self.sentinels: dict[str, SimSentinel] = {}
        self.settings: dict[str, MasterSettings] = {}
        """As every sentinel was told at first."""
        self.told: list[Told] = []
        self.seen: Counter[str] = Counter()
        """Interesting states that were reached."""
        self.notes: list[tuple[int, str]] = []
        """What was done to the world."""
        self.faults: list[int] = []
        """Numbers of the faults that happened."""
        self.identities: set[RunId] = set()
        """Every id a sentinel ever had."""
        self.writers: dict[str, Writer] = {}
        self.checker = Checker(self)
        self.stock_checker = StockChecker(self.checker)
        self.peaceful = False
        self.pings_a_second = 0
        """What each of our sentinels may spend on quick PINGs."""
        self.false_failovers = 0
        self.restart_delay_ms: tuple[int, int] = (10, 3000)
        self._branches = [0]

    @property
    def cut(self) -> set[tuple[str, str]]:
        """One-way cuts: (from host, to host)."""
        return self.network.cut

    # ------------------------------------------------------------ building

    def add_server(
        self, host: str, master: Address | None = None, *, home: str = "mymaster", priority: int = 100
    ) -> FakeServer:
        """A new data server at `host`:6379, running."""
        address = Address(host, SERVER_PORT)
        server = self.server_class(
            world=self.world,
            network=self.network,
            address=address,
            run_id=self.new_id(),
            master=master,
            priority=priority,
            master_seen_at_ms=self.world.now_ms,
            branches=self._branches,
        )
        self.servers[address] = server
        self.homes[address] = home
        self.network.processes[address] = server
        if master is not None:
            server.join()
        else:
            self._branches[0] += 1
            server.branch = self._branches[0]
        self.world.after(1 + self.world.random.randrange(CRON_MS), server.cron, server.life)
        return server

    def new_id(self) -> str:
        """40 hexadecimal characters."""
        return f"{self.world.random.getrandbits(160):040x}"

    def add_sentinel(
        self,
        host: str,
        masters: dict[str, Address],
        settings: MasterSettings,
        *,
        stock: Flavour | None = None,
        defects: Defects | None = None,
    ) -> SimSentinel:
        """A new sentinel at `host`:26379, started; with `stock` one of that kind, by default with all its defects."""
        named = bool(self.network.names.addresses)
        snapshot = Snapshot(
            my_id=RunId(self.new_id()),
            current_epoch=0,
            settings=GlobalSettings(resolve_hostnames=named, announce_hostnames=named),
            masters=tuple(
                MasterSnapshot(name=name, address=address, settings=settings) for name, address in masters.items()
            ),
        )
        assert snapshot.my_id is not None
        self.identities.add(snapshot.my_id)
        self.settings |= dict.fromkeys(masters, settings)
        address = Address(host, SENTINEL_PORT)
        if stock is None:
            sentinel = self.sentinel_class(self, host, address, snapshot)
        else:
            sentinel = StockSentinel(self, host, address, snapshot, stock, defects)
        self.sentinels[host] = sentinel
        self.network.processes[sentinel.address] = sentinel
        sentinel.start()
        return sentinel

    def add_writer(self, name: str, period_ms: int, host: str) -> Writer:
        """A client of `name` that starts now."""
        writer = self.writer_class(self, name, period_ms, [], last_ok_at_ms=self.world.now_ms, host=host)
        self.writers[name] = writer
        self.world.after(period_ms, writer.run)
        return writer

    # ------------------------------------------------------------ what happens

    def note(self, text: str) -> None:
        """Write down what is done to the world."""
        self.notes.append((self.world.now_ms, text))

    def hear_events(self, sentinel: SimSentinel, events: tuple[Event, ...]) -> None:
        """One turn of one sentinel."""
        now_ms = self.world.now_ms
        for event in events:
            self.told.append(Told(now_ms, sentinel.name, event))
            if type(event) is TiltEntered:
                self.seen["TILT"] += 1
        sentinel.checker.events(sentinel, events)

    def leader_elected(self, sentinel: SimSentinel, master: Master, manner: Manner) -> None:
        """Was it for nothing?"""
        server = self.servers.get(master.address)
        if manner is not Manner.AUTOMATIC or server is None or not server.up or server.frozen:
            return
        if self.network.cut or self.network.slow:
            return
        quiet_ms = self.world.now_ms - server.touched_at_ms
        if server.master is None and quiet_ms > 2 * master.settings.down_after_ms + WELL_FOR_MS:
            self.false_failovers += 1

    # ------------------------------------------------------------ deeds

    def restart_later(self, sentinel: SimSentinel) -> None:
        """A supervisor brings a dead process back."""
        delay_ms = self.world.random.randint(*self.restart_delay_ms)
        self.world.after(delay_ms, self._restart, sentinel, sentinel.life)

    def _restart(self, sentinel: SimSentinel, life: int) -> None:
        if not sentinel.up and sentinel.life == life:
            sentinel.start()

    def follow(self, server: FakeServer, master: Address | None) -> None:
        """Somebody sends SLAVEOF."""
        server.follow(master)

    def kill_server(self, server: FakeServer) -> None:
        """SIGKILL."""
        server.kill()

    def restart_server(self, server: FakeServer) -> None:
        """Start again after a crash."""
        server.restart(self.new_id())

    @property
    def excused(self) -> bool:
        """Whether liveness is not promised: stock alone, after stock spoilt an epoch, while a stock member's clock is
        behind itself (``stock_checks.py``), or where what is asked of its stock members is too much."""
        stock = self._stock()
        alone = len(stock) == len(self.sentinels)
        behind = any(sentinel.mind.clock_fell for sentinel in stock)
        return alone or behind or bool(self.checker.ledger.spoilt) or any(map(self._asks_too_much_of, stock))

    def _stock(self) -> list[StockSentinel]:
        return [sentinel for sentinel in self.sentinels.values() if isinstance(sentinel, StockSentinel)]

    def _asks_too_much_of(self, stock: SimSentinel) -> bool:
        """Every opinion is needed, and this one stands still with each save; or one is enough, and it is blind for
        longer than it takes to call a server down."""
        stalls = stock.save_ms[1] >= STOCK_STALL_MS
        return any(
            (stalls and settings.quorum >= len(self.sentinels))
            or (settings.quorum == 1 and settings.down_after_ms < STOCK_BLIND_MS)
            for settings in self.settings.values()
        )

    def can_agree(self, name: str) -> bool:
        """Whether there is a quorum for a master even without the stock members in TILT: they call nothing down, and a
        slow disk is enough to bring that about."""
        blind = sum(sentinel.engine.state.tilt_since_ms is not None for sentinel in self._stock())
        return len(self.sentinels) - blind >= self.settings[name].quorum

    def switches(self) -> int:
        """How often a leader ended a failover."""
        return sum(1 for told in self.told if type(told.event) is MasterSwitched and told.event.by is None)

    def elections(self) -> int:
        """How many leaders there were."""
        return sum(1 for told in self.told if type(told.event) is LeaderElected)

    def each_up(self) -> list[SimSentinel]:
        """The running sentinels, in the order of their making."""
        return [sentinel for sentinel in self.sentinels.values() if sentinel.up]


Deed = Callable[[Cluster], None]


def simple_cluster(
    seed: int,
    *,
    sentinels: int = 3,
    replicas: int = 2,
    quorum: int = 2,
    stock: Flavour | None = None,
    defects: Defects | None = None,
    **lengths: int,
) -> Cluster:
    """One master `mymaster` with its replicas, watched by some sentinels, ours or stock; nothing wrong yet."""
    cluster = Cluster(World(seed))
    master = cluster.add_server("10.0.0.1")
    for n in range(replicas):
        cluster.add_server(f"10.0.0.{n + 2}", master.address)
    settings = MasterSettings(quorum=quorum, **lengths)  # type: ignore[arg-type]
    for n in range(sentinels):
        masters = {"mymaster": master.address}
        cluster.add_sentinel(f"10.0.1.{n + 1}", masters, settings, stock=stock, defects=defects)
    return cluster
