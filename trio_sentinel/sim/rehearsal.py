"""What a deployment would live through: one incident at a time, many times, measured by clients that write.

Each sample is one run: the deployment comes to rest, the incident strikes at a random moment, and clients in every zone
go on writing as well as they can. When the dust has settled, everything that was broken is mended, and what the last
master does not know of the acknowledged writes is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import Factory, define, frozen

from trio_sentinel.model import inputs as i
from trio_sentinel.model.rhythm import PINGS_A_SECOND
from trio_sentinel.model.values import Address
from trio_sentinel.sim.cluster import Cluster, FakeServer, SimSentinel, Writer
from trio_sentinel.sim.plan import Plan
from trio_sentinel.sim.world import World

SETTLE_MS = 15_000
"""Two INFO periods until everybody knows everybody, and some."""
AFTERMATH_MS = 10_000
REPAIRED_MS = 30_000
"""A returned master is converted after eight seconds and one INFO period."""
LOOK_MS = 100
WRITE_MS = 50
PATIENCE_MS = 60_000
"""What is added to the longest lawful failover before it counts as a dead end."""


@frozen(kw_only=True)
class Sample:
    """What one incident came to, once. Lengths in ms."""

    incident: str
    seed: int
    replaced: bool
    """Whether the master was replaced."""
    recovered_ms: int | None
    """From the incident to the first write that a client outside it got through; None when none did."""
    unavailable_ms: int
    """The longest time without a write, for the clients that were not cut off themselves."""
    acknowledged: int
    lost: int
    lost_on_return: int
    """How many of them were acknowledged when everything was being mended already."""
    false_failover: bool
    """The master was replaced although nothing was wrong with it."""
    dead_end: bool
    """Nobody took writes until the incident was mended by hand."""


@define(eq=False)
class Client(Writer):
    """A client that knows its master for as long as no sentinel that it reaches says otherwise: its connection stays
    when the last sentinel is gone."""

    known: Address | None = None

    def _address(self) -> Address | None:
        self.known = super()._address() or self.known
        return self.known


@define(eq=False)
class Scene:
    """One run of a plan."""

    plan: Plan
    seed: int
    cluster: Cluster
    zones: dict[str, int] = Factory(dict)
    """The zone of each host."""
    writers: dict[int, Writer] = Factory(dict)
    """The client of each zone."""
    out: set[int] = Factory(set)
    """Zones whose clients suffer from the incident itself."""
    branch: int = 0
    """The history that the first master was writing when the incident struck."""

    @property
    def master(self) -> FakeServer:
        """The server that was the master at first."""
        return next(iter(self.cluster.servers.values()))

    @property
    def sentinels(self) -> list[SimSentinel]:
        """All sentinels."""
        return list(self.cluster.sentinels.values())

    def hosts(self, zone: int) -> list[str]:
        """The machines of a zone, its client's included."""
        return [host for host, home in self.zones.items() if home == zone]

    def cut_off(self, hosts: list[str]) -> None:
        """These machines reach nobody else, and nobody else reaches them."""
        for one in hosts:
            for other in self.zones:
                if other not in hosts:
                    self.cluster.network.cut |= {(one, other), (other, one)}

    def power_off(self, zone: int) -> None:
        """Every machine of a zone."""
        hosts = self.hosts(zone)
        for server in self.cluster.servers.values():
            if server.address.host in hosts:
                server.kill(with_host=True)
        for sentinel in self.sentinels:
            if sentinel.address.host in hosts:
                sentinel.crash(with_host=True)
        self.cut_off([writer.host for home, writer in self.writers.items() if home == zone])
        self.out.add(zone)

    def mend(self) -> None:
        """Everything is put right by hand."""
        self.cluster.network.cut.clear()
        for server in self.cluster.servers.values():
            server.frozen = False
            self.cluster.network.awake(server)
            if not server.up:
                server.restart(self.cluster.new_id())
        for sentinel in self.sentinels:
            sentinel.thaw()
            if not sentinel.up:
                sentinel.start()


def build(plan: Plan, seed: int) -> Scene:
    """The deployment of a plan, running, with a client in each zone."""
    cluster = Cluster(World(seed), plan.latency_ms)
    cluster.pings_a_second = PINGS_A_SECOND
    scene = Scene(plan, seed, cluster)
    first: FakeServer | None = None
    for n, zone in enumerate(plan.servers):
        host = f"10.{zone + 1}.0.{n + 1}"
        server = cluster.add_server(host, None if first is None else first.address, home=plan.name)
        server.min_replicas = plan.min_replicas
        first = server if first is None else first
        scene.zones[host] = zone
    for n, zone in enumerate(plan.sentinels):
        host = f"10.{zone + 1}.1.{n + 1}"
        cluster.add_sentinel(host, {plan.name: scene.master.address}, plan.settings)
        scene.zones[host] = zone
    for zone in plan.zones:
        host = f"10.{zone + 1}.9.1"
        scene.zones[host] = zone
        scene.writers[zone] = Client(cluster, plan.name, WRITE_MS, [], last_ok_at_ms=cluster.world.now_ms, host=host)
        cluster.world.after(1, scene.writers[zone].run)
    if plan.zone_latency_ms:
        for one, here in scene.zones.items():
            for other, there in scene.zones.items():
                if here != there:
                    cluster.network.slow[one, other] = plan.zone_latency_ms
    return scene


# ---------------------------------------------------------------- incidents


@frozen(kw_only=True)
class Incident:
    """Something that happens to deployments."""

    title: str
    strike: Callable[[Scene], None]
    harmless: bool = False
    """The master stays well: replacing it is a mistake."""
    planned: bool = False
    many_zones: bool = False
    """Makes sense only with more than one zone."""


def _process_dies(scene: Scene) -> None:
    scene.master.kill()


def _power_fails(scene: Scene) -> None:
    scene.master.kill(with_host=True)


def _hangs(scene: Scene) -> None:
    scene.master.frozen = True


def _cut_off(scene: Scene) -> None:
    scene.cut_off([scene.master.address.host])


def _degraded(scene: Scene) -> None:
    dice = scene.cluster.world.random
    dice.choice(scene.sentinels).crash(with_host=True)
    scene.cluster.world.run_for(dice.randrange(5000))
    scene.master.kill(with_host=True)


def _zone_loses_power(scene: Scene) -> None:
    scene.power_off(scene.zones[scene.master.address.host])


def _zone_cut_off(scene: Scene) -> None:
    zone = scene.zones[scene.master.address.host]
    scene.cut_off(scene.hosts(zone))
    scene.out.add(zone)


def _short_pause(scene: Scene) -> None:
    length_ms = int(scene.plan.settings.down_after_ms * scene.cluster.world.random.uniform(0.3, 0.9))
    scene.master.frozen = True
    scene.cluster.world.after(length_ms, _goes_on, scene.cluster, scene.master)


def _goes_on(cluster: Cluster, server: FakeServer) -> None:
    server.frozen = False
    cluster.network.awake(server)


def _sentinel_cut_off(scene: Scene) -> None:
    scene.cut_off([scene.cluster.world.random.choice(scene.sentinels).address.host])


def _sentinel_half_blind(scene: Scene) -> None:
    sentinel, master = scene.cluster.world.random.choice(scene.sentinels), scene.master.address.host
    scene.cluster.network.cut |= {(sentinel.address.host, master), (master, sentinel.address.host)}


def _planned(scene: Scene) -> None:
    sentinel = scene.cluster.world.random.choice(scene.sentinels)
    sentinel.ask(lambda n: i.FailoverAsked(n, scene.plan.name, False))


INCIDENTS: dict[str, Incident] = {
    "dies": Incident(title="the master's process dies", strike=_process_dies),
    "power": Incident(title="the master's machine loses power", strike=_power_fails),
    "hangs": Incident(title="the master hangs", strike=_hangs),
    "cut off": Incident(title="the master's machine is cut off", strike=_cut_off),
    "degraded": Incident(title="one sentinel is gone, then the master", strike=_degraded),
    "zone power": Incident(title="the master's zone loses power", strike=_zone_loses_power, many_zones=True),
    "zone cut off": Incident(title="the master's zone is cut off", strike=_zone_cut_off, many_zones=True),
    "pause": Incident(title="the master pauses, shorter than down-after", strike=_short_pause, harmless=True),
    "sentinel cut off": Incident(title="a sentinel's machine is cut off", strike=_sentinel_cut_off, harmless=True),
    "half blind": Incident(title="one sentinel does not reach the master", strike=_sentinel_half_blind, harmless=True),
    "planned": Incident(title="an operator orders a failover", strike=_planned, planned=True),
}


def incidents_of(plan: Plan) -> tuple[str, ...]:
    """The incidents that make sense for a plan."""
    return tuple(name for name, incident in INCIDENTS.items() if len(plan.zones) > 1 or not incident.many_zones)


# ---------------------------------------------------------------- one sample


@frozen
class Task:
    """One run to be made."""

    plan: Plan
    incident: str
    seed: int


def tasks(plan: Plan, *, runs: int, first_seed: int = 0) -> Iterator[Task]:
    """`runs` samples of each incident, in turn, so that an early end leaves as many of each."""
    for seed in range(first_seed, first_seed + runs):
        for incident in incidents_of(plan):
            yield Task(plan, incident, seed)


def sample(task: Task) -> Sample:
    """Make one run and measure it."""
    if task.incident not in INCIDENTS:
        raise KeyError(f"{task.incident!r} is none of {', '.join(INCIDENTS)}")
    place = list(INCIDENTS).index(task.incident)
    scene, incident = build(task.plan, task.seed * len(INCIDENTS) + place), INCIDENTS[task.incident]
    world, before = scene.cluster.world, scene.master.address
    world.run_for(SETTLE_MS + world.random.randrange(10_000))
    writers = scene.writers.values()
    for writer in writers:
        writer.longest_gap_ms = 0
    scene.branch = scene.master.branch
    incident.strike(scene)
    struck_ms = world.now_ms
    recovered_ms = _await_writes(scene, incident, struck_ms)
    world.run_for(AFTERMATH_MS)
    outside = [writer for zone, writer in scene.writers.items() if zone not in scene.out]
    unavailable_ms = max((_gap_ms(scene, writer) for writer in outside), default=0)
    replaced = any(_address(scene, sentinel) != before for sentinel in scene.sentinels)
    scene.mend()
    mended_ms = world.now_ms
    world.run_for(REPAIRED_MS)
    holder = scene.cluster.servers[_address(scene, scene.sentinels[0])]
    writes = [write for writer in writers for write in writer.writes]
    lost = [write for write in writes if not holder.has(write)]
    return Sample(
        incident=task.incident,
        seed=task.seed,
        replaced=replaced,
        recovered_ms=recovered_ms,
        unavailable_ms=unavailable_ms,
        acknowledged=len(writes),
        lost=len(lost),
        lost_on_return=sum(1 for write in lost if write.at_ms >= mended_ms),
        false_failover=incident.harmless and replaced,
        dead_end=recovered_ms is None and not incident.harmless and not incident.planned,
    )


def rehearse(plan: Plan, incident: str, *, seed: int = 0) -> Sample:
    """What becomes of a plan in one run of one of the INCIDENTS. Raises KeyError for an unknown one."""
    return sample(Task(plan, incident, seed))


def _address(scene: Scene, sentinel: SimSentinel) -> Address:
    return sentinel.engine.state.masters[scene.plan.name].current_address


def _gap_ms(scene: Scene, writer: Writer) -> int:
    return max(writer.longest_gap_ms, scene.cluster.world.now_ms - writer.last_ok_at_ms)


def _await_writes(scene: Scene, incident: Incident, struck_ms: int) -> int | None:
    """Until another server takes the writes of a client outside the incident; harmless ones are given a while."""
    world, before = scene.cluster.world, scene.master.address
    limit_ms = patience_ms(scene.plan, incident)
    outside = [writer for zone, writer in scene.writers.items() if zone not in scene.out]
    while world.now_ms - struck_ms < limit_ms:
        world.run_for(LOOK_MS)
        for writer in outside:
            last = writer.writes[-1] if writer.writes else None
            new = last is not None and last.at_ms > struck_ms and last.branch != scene.branch
            if new and any(_address(scene, sentinel) != before for sentinel in scene.cluster.each_up()):
                assert last is not None
                return next(w.at_ms for w in writer.writes if w.branch == last.branch) - struck_ms
    return None


def patience_ms(plan: Plan, incident: Incident) -> int:
    """For how long a failover is waited for. A second attempt comes after twice the failover timeout."""
    again_ms = 0 if incident.harmless else 2 * plan.settings.failover_timeout_ms
    return plan.settings.down_after_ms + again_ms + PATIENCE_MS


# ---------------------------------------------------------------- all samples


@define(eq=False)
class Outlook:
    """All samples of a plan, by incident."""

    plan: Plan
    samples: dict[str, list[Sample]] = Factory(dict)

    def add(self, sample: Sample) -> None:
        """One more."""
        self.samples.setdefault(sample.incident, []).append(sample)

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(len(samples) for samples in self.samples.values())


def percentile(values: list[int], share: float) -> int:
    """The smallest of `values` that is not below `share` of them (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, -(-int(share * 1000) * len(ordered) // 1000) - 1))]


def lessons(outlook: Outlook) -> Iterator[str]:
    """What the samples say that a person should act on."""
    for name, samples in outlook.samples.items():
        incident, count = INCIDENTS[name], len(samples)
        dead = sum(sample.dead_end for sample in samples)
        if dead:
            nobody = "no client outside it" if name == "zone cut off" else "nobody"
            yield f"{incident.title}: in {dead} of {count} runs {nobody} could write again until it was mended by hand"
        false = sum(sample.false_failover for sample in samples)
        if false:
            yield f"{incident.title}: in {false} of {count} runs the healthy master was replaced"
        refused = sum(sample.recovered_ms is None for sample in samples) if incident.planned else 0
        if refused:
            yield f"{incident.title}: in {refused} of {count} runs nothing came of it"
    yield from _about_lost_writes(outlook)


def _about_lost_writes(outlook: Outlook) -> Iterator[str]:
    every = [sample for samples in outlook.samples.values() for sample in samples]
    worst = max(every, key=lambda s: s.lost - s.lost_on_return, default=None)
    if worst is not None and worst.lost > worst.lost_on_return:
        title, count = INCIDENTS[worst.incident].title, worst.lost - worst.lost_on_return
        cut_off = worst.incident in ("cut off", "zone cut off")
        advice = "; see what --min-replicas 1 makes of it" if cut_off and not outlook.plan.min_replicas else ""
        yield f"{title}: up to {count} of {worst.acknowledged} acknowledged writes were lost{advice}"
    worst = max(every, key=lambda s: s.lost_on_return, default=None)
    if worst is not None and worst.lost_on_return:
        advice = "" if outlook.plan.min_replicas else ", or see what --min-replicas 1 makes of it"
        yield (
            f"{INCIDENTS[worst.incident].title}: up to {worst.lost_on_return} writes were lost when all came back "
            "together: a sentinel that was gone names the old master until it hears of the new one, so let the old "
            f"master come back last{advice}"
        )
