"""The full stage: the real runtime of several daemons in one Trio run, on virtual hosts, repeatable from a seed.

Harm, peace, properties and reports are those of the fast stage; what is between the bytes and the minds is here the
code that a daemon runs: reactors, transports, links, sessions, keeper, errands, board, and sentinel.conf itself.

Repeatable means: Trio's scheduler draws from a seed, the clock jumps when all tasks wait, and nothing asks the system.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import trio
import trio.testing
from attrs import frozen

from trio_sentinel.model.rhythm import PINGS_A_SECOND
from trio_sentinel.model.settings import MasterSettings
from trio_sentinel.model.values import Address, Epoch, RunId
from trio_sentinel.sim.checkers import Broken
from trio_sentinel.sim.cluster import Cluster
from trio_sentinel.sim.options import Options, draw
from trio_sentinel.sim.process import SimSentinel
from trio_sentinel.sim.redis import FakeServer
from trio_sentinel.sim.runs import WARM_UP_MS, Report, fill, found, play, populate
from trio_sentinel.sim.stage_clients import StagedWriter
from trio_sentinel.sim.stage_network import StageNetwork
from trio_sentinel.sim.stage_nuisance import VISITS, Nuisance
from trio_sentinel.sim.stage_sentinel import StagedSentinel
from trio_sentinel.sim.stage_server import StagedServer
from trio_sentinel.sim.stage_world import EPOCH_MS, StageWorld

SETTLE_MS = 2000
"""An operator needs a connection to say something."""
CALM_MS = 8000
LOG_LINES = 400
QUICK_PINGS_SHARE = 0.2
"""How many of the runs PING as often as the daemon does: they take longer."""
TRAPPED_SHARE = 0.4
"""How many of the runs are about dying at a certain point: that is where keeper and file must stand the test."""
SCRIPT = "/usr/bin/tell"
SOMETIMES: tuple[str, ...] = (
    "TILT",
    "two candidates in one epoch",
    "abort in WaitingForVotes",
    "crash before a save",
    "crash during a save",
    "crash after a save, before it is known",
    "crash before AnswerOpinion",
    "crash after AnswerOpinion",
    "crash before Promote",
    "crash after Promote",
    "crash after the event LeaderElected",
    "crash after the event PromotionSeen",
    "SIMULATE-FAILURE",
    "a save that failed after its rename",
    "a shutdown in good order",
    "a switch heard by a subscriber",
    *(f"nuisance {visit}" for visit in VISITS),
)
"""What a long soak must reach here, or it proves little."""


@frozen(kw_only=True)
class Scenery:
    """What only the full stage has, drawn from the seed."""

    choppy: bool = False
    scripts: bool = False
    server_password: str | None = None
    port_password: str | None = None
    nuisance: bool = False

    @classmethod
    def drawn(cls, seed: int) -> Scenery:
        """The scenery of a seed."""
        dice = random.Random(f"scenery {seed}")
        return cls(
            choppy=dice.random() < 0.5,
            scripts=dice.random() < 0.3,
            server_password="secret" if dice.random() < 0.3 else None,
            port_password="open sesame" if dice.random() < 0.3 else None,
            nuisance=dice.random() < 0.5,
        )


class StageCluster(Cluster):
    """The inhabitants of the full stage."""

    network_class = StageNetwork
    server_class = StagedServer
    sentinel_class = StagedSentinel
    writer_class = StagedWriter
    world: StageWorld

    def __init__(
        self,
        world: StageWorld,
        nursery: trio.Nursery,
        latency_ms: tuple[int, int] = (0, 2),
        scenery: Scenery | None = None,
    ) -> None:
        super().__init__(world, latency_ms)
        self.nursery = nursery
        self.scenery = Scenery() if scenery is None else scenery
        self.streams.choppy = self.scenery.choppy
        self.error: BaseException | None = None
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        """The last lines of all daemons' logs."""
        self.asked_as: dict[tuple[RunId | None, Address, Epoch], str] = {}
        """How a candidate calls the master at an address: the question itself does not say it."""
        self.scripts_run = 0

    def broke(self, error: BaseException) -> None:
        """A property does not hold, or a daemon failed: the run is over."""
        if self.error is None:
            self.error = error
        self.nursery.cancel_scope.cancel(reason="a finding")

    @property
    def streams(self) -> StageNetwork:
        """The network, which carries bytes here."""
        assert isinstance(self.network, StageNetwork)
        return self.network

    def staged(self) -> list[StagedSentinel]:
        """All sentinels."""
        return [sentinel for sentinel in self.sentinels.values() if isinstance(sentinel, StagedSentinel)]

    def staged_server(self, address: Address) -> StagedServer:
        """One server."""
        server = self.servers[address]
        assert isinstance(server, StagedServer)
        return server

    def add_server(
        self, host: str, master: Address | None = None, *, home: str = "mymaster", priority: int = 100
    ) -> FakeServer:
        """See `Cluster`."""
        server = super().add_server(host, master, home=home, priority=priority)
        assert isinstance(server, StagedServer)
        server.password = self.scenery.server_password
        server.listen()
        return server

    def add_sentinel(
        self, host: str, masters: dict[str, Address], settings: MasterSettings, **more: Any
    ) -> SimSentinel:
        """See `Cluster`."""
        scenery = self.scenery
        script = SCRIPT if scenery.scripts else None
        settings = attrs.evolve(
            settings, auth_pass=scenery.server_password, notification_script=script, client_reconfig_script=script
        )
        return super().add_sentinel(host, masters, settings, **more)


def draw_full(seed: int) -> Options:
    """The options of a seed: those of the fast stage, made smaller, because every byte is carried here."""
    dice = random.Random(f"full stage {seed}")
    sentinels = dice.choice((1, 2, 3, 3, 3, 3, 3, 4, 5))
    majority = sentinels // 2 + 1
    options = draw(seed)
    quick = random.Random(f"pings {seed}").random() < QUICK_PINGS_SHARE
    traps = (("trap sentinel", 20),) if dice.random() < TRAPPED_SHARE else ()
    return attrs.evolve(
        options,
        sentinels=sentinels,
        weights=(*options.weights, *traps),
        pause_ms=min(options.pause_ms, 2000) if traps else options.pause_ms,
        quorum=dice.choice((majority, majority, majority, 1, sentinels)),
        masters=dice.choice((1, 1, 1, 1, 2)),
        replicas=dice.choice((1, 2, 2, 2, 3)),
        clock_ppm=tuple(dice.choice((0, 0, 200, -200, 20_000, -20_000)) for _ in range(sentinels)),
        harm_ms=dice.choice((10_000, 15_000, 25_000)),
        write_ms=500,
        calm_ms=CALM_MS,
        members=(),
        pings_a_second=PINGS_A_SECOND if quick else 0,
    )


def run_full(seed: int) -> Report:
    """Run a seed on the full stage."""
    return run_full_options(draw_full(seed))


def run_full_options(options: Options, scenery: Scenery | None = None) -> Report:
    """Run one deployment on the full stage, with the scenery of its seed unless another is given. Not to be called
    inside Trio."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    clock.jump(EPOCH_MS / 1000)
    with repeatable(options.seed):
        scenery = Scenery.drawn(options.seed) if scenery is None else scenery
        return trio.run(_perform, options, scenery, clock, clock=clock)


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """Trio's scheduler draws from a seed within the block: its one private door for this."""
    from trio._core import _run

    scheduler: Any = _run
    before, state = scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r.getstate()
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
    scheduler._r.seed(seed)
    try:
        yield
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = before
        scheduler._r.setstate(state)


async def _perform(options: Options, scenery: Scenery, clock: trio.abc.Clock) -> Report:
    report = Report(options=options)
    async with trio.open_nursery() as nursery:
        cluster = StageCluster(StageWorld(options.seed, clock), nursery, options.latency_ms, scenery)
        cluster.note(f"{scenery}")
        nursery.start_soon(_keep_time, cluster, name="world")
        try:
            await _play(cluster, options, report)
        except Exception as error:
            cluster.broke(error)
        nursery.cancel_scope.cancel(reason="the run is over")
    if cluster.error is not None:
        found(cluster.error, report, cluster)
    fill(report, cluster)
    return report


async def _keep_time(cluster: StageCluster) -> None:
    try:
        await cluster.world.run()
    except Exception as error:
        cluster.broke(error)


async def _play(cluster: StageCluster, options: Options, report: Report) -> None:
    populate(cluster, options)
    if cluster.scenery.nuisance:
        Nuisance(cluster, cluster.world.now_ms + WARM_UP_MS + options.harm_ms).begin()
    for length_ms in play(cluster, options, report, settle_ms=SETTLE_MS):
        await trio.sleep_until((cluster.world.now_ms + length_ms) / 1000)
        if cluster.error is not None:
            raise Broken("stage", "a daemon failed")
