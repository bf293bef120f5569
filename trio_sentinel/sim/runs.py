"""One run: a deployment, a phase of harm, a phase of peace, and what came of it."""

from __future__ import annotations

import hashlib
import itertools
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TypeAlias

from attrs import Factory, define, frozen

from trio_sentinel.model import events as e
from trio_sentinel.model.settings import MasterSettings
from trio_sentinel.model.state import Master
from trio_sentinel.model.values import Address
from trio_sentinel.sim.checkers import Broken, require
from trio_sentinel.sim.cluster import Cluster, FakeServer, SimSentinel, Told, Writer
from trio_sentinel.sim.harm import Harm
from trio_sentinel.sim.options import OURS, Options, draw
from trio_sentinel.sim.peace import make_peace
from trio_sentinel.sim.stock_state import Flavour
from trio_sentinel.sim.world import World

PACKAGE = Path(__file__).parents[1]
WARM_UP_MS = 3000
LOOK_EVERY_MS = 1000
HOPELESS_MS = 60_000
"""A dead end that lasted for so long is one."""
EXAM_STEP_MS = 100
BLIND_MS = 300_000
"""An exam waits for so long, all in all, for stock members in TILT without whom there is no quorum."""
SETTLE_MS = 100
"""What an order takes to be carried out by a process that has nothing else to do ..."""
ORDERS_MS = 60_000
"""... and by one that has: a stock sentinel stands still for each write, and each of an operator's words is a write."""
LATE_ANSWER_MS = 10_000
"""Nothing takes so long in peace."""
DEAD_END = "dead end: "
"""How the reason begins when only an operator could bring a run to rest ..."""
NO_REST = "no rest, and a stock member excuses it"
NO_EXAM = "no last failover, and a stock member excuses it"
"""... and when a stock member is why it came to none, or could not fail over at the end."""
MAX_WAITING = 20_000
"""More planned deeds than this are a backlog that grows (property 32)."""


@frozen(kw_only=True)
class Loss:
    """Acknowledged writes of one branch, so of one time as a master, that the last master does not have."""

    name: str
    count: int
    first_ms: int
    last_ms: int
    others: int
    """How many writes went elsewhere in that time: then sentinels named more than one master."""
    accepted_by: Address | None
    """None where the client does not know."""
    missed_by: Address
    """The last master."""

    def told(self, short: Callable[[Address], str] = str) -> str:
        """In one line, with `short` names of servers."""
        first, last = ((at_ms - 1_000_000) / 1000 for at_ms in (self.first_ms, self.last_ms))
        span = f"at {first:.3f} s" if self.count == 1 else f"between {first:.3f} and {last:.3f} s"
        others = f" ({self.others} more went elsewhere meanwhile)" if self.others else ""
        writes = "1 write" if self.count == 1 else f"{self.count} writes"
        by = "" if self.accepted_by is None else f", accepted by {short(self.accepted_by)}"
        end = f", not held by {short(self.missed_by)} at the end"
        if self.accepted_by == self.missed_by:
            end = ", which lost them itself"
        return f"lost: {writes} to {self.name} {span}{others}{by}{end}"


@define(eq=False, kw_only=True)
class Report:
    """What one seed led to. ``broken`` is None when every property held."""

    options: Options
    broken: str | None = None
    event_hash: str = ""
    virtual_ms: int = 0
    cpu_s: float = 0.0
    """What it cost, where somebody measured it."""
    events: int = 0
    steps: int = 0
    rest_ms: int | None = None
    """How long after the beginning of peace everything was in order."""
    exam_ms: int | None = None
    """How long after the death of every master, at the end of peace, all sentinels had another one."""
    seen: Counter[str] = Factory(Counter)
    acknowledged: int = 0
    lost: int = 0
    losses: list[Loss] = Factory(list)
    """The lost ones, together by who had accepted them."""
    longest_gap_ms: int = 0
    """The longest time for which no write to some master was acknowledged, also when it lasts to the end."""
    false_failovers: int = 0
    failovers: int = 0
    told: list[Told] = Factory(list)
    notes: list[tuple[int, str]] = Factory(list)
    moves: list[tuple[int, Address, Address | None]] = Factory(list)
    """When which server began to follow whom, or nobody."""
    faults: list[int] = Factory(list)
    """Numbers of the faults that happened."""

    @property
    def number(self) -> str | None:
        """Which property is broken: its number, or the kind of the error."""
        if self.broken is None:
            return None
        head = self.broken.partition(":")[0]
        return head.removeprefix("property ")

    @property
    def excuse(self) -> str | None:
        """Why liveness was not demanded at the end: a dead end, or a stock member; None when it was."""
        return next(iter(excuses(self.seen)), None)

    @property
    def line(self) -> str:
        """One line for the soak."""
        verdict = self.broken or "ok"
        return (
            f"seed {self.options.seed}: {verdict} | {self.virtual_ms // 1000} s, {self.events} events, "
            f"{self.failovers} failovers ({self.false_failovers} false), "
            f"{self.lost} of {self.acknowledged} writes lost, {self.longest_gap_ms} ms at most without writes, "
            f"{self._end}, hash {self.event_hash}"
        )

    @property
    def _end(self) -> str:
        rest = "no rest" if self.rest_ms is None else f"rest after {self.rest_ms} ms"
        exam = "no last failover" if self.exam_ms is None else f"last failover in {self.exam_ms} ms"
        return f"{rest}, {exam}" + ("" if self.excuse is None else f" ({self.excuse})")


def excuses(seen: Counter[str]) -> dict[str, int]:
    """How many runs were let off the promises of liveness at their end, by the reason."""
    return {name: n for name, n in sorted(seen.items()) if name.startswith(DEAD_END) or name in (NO_REST, NO_EXAM)}


Run: TypeAlias = Callable[[Options], Report]
"""`run_options`, or `stage.run_full_options`."""


def build(options: Options) -> Cluster:
    """The deployment of `options`, running, nothing wrong yet."""
    cluster = Cluster(World(options.seed), options.latency_ms)
    populate(cluster, options)
    return cluster


def populate(cluster: Cluster, options: Options) -> None:
    """Bring the deployment of `options` to life."""
    cluster.pings_a_second = options.pings_a_second
    masters: dict[str, Address] = {}
    for n in range(options.masters):
        name = "mymaster" if n == 0 else f"master{n + 1}"
        hosts = [server_host(options, n, k + 1) for k in range(1 + options.replicas)]
        if options.named:
            for k, host in enumerate(hosts):
                cluster.network.names.add(host, server_ip(n, k + 1))
        first = cluster.add_server(hosts[0], home=name)
        masters[name] = first.address
        replicas = [cluster.add_server(host, first.address, home=name) for host in hosts[1:]]
        for replica in replicas[:1]:
            replica.announced = not options.unannounced
    settings = MasterSettings(
        quorum=options.quorum,
        down_after_ms=options.down_after_ms,
        failover_timeout_ms=options.failover_timeout_ms,
        parallel_syncs=options.parallel_syncs,
    )
    for n in range(options.sentinels):
        kind = options.members[n] if n < len(options.members) else OURS
        stock = None if kind == OURS else Flavour(kind)
        sentinel = cluster.add_sentinel(f"10.9.1.{n + 1}", masters, settings, stock=stock)
        sentinel.save_ms = options.save_ms
        sentinel.clock_ppm = options.clock_ppm[n] if n < len(options.clock_ppm) else 0
    for server in cluster.servers.values():
        server.repl_timeout_ms = options.repl_timeout_ms
        server.resync_ms, server.backlog_writes = options.resync_ms, options.backlog_writes
    if options.write_ms:
        for n, name in enumerate(masters):
            cluster.add_writer(name, options.write_ms, f"10.9.9.{n + 1}")


def server_ip(group: int, number: int) -> str:
    """The numeric address of a server: of the first master (group 0) the first server (1) is the master itself."""
    return f"10.{group}.0.{number}"


def server_host(options: Options, group: int, number: int) -> str:
    """As which everybody knows that server: by its name in a run with host names."""
    return f"db{number}.{'abc'[group]}.example" if options.named else server_ip(group, number)


def peace_bound_ms(options: Options) -> int:
    """Within this much peace everything must be in order (properties 29 to 31): TILT ends, a wrong role is noticed,
    three attempts may be needed, strays are brought back, and one more round for what was hidden behind another."""
    tilt_ms = 35_000
    noticed_ms = options.down_after_ms + 20_000
    attempts_ms = 3 * (2 * options.failover_timeout_ms + 12_000)
    strays_ms = options.failover_timeout_ms + 30_000
    return tilt_ms + 2 * (noticed_ms + attempts_ms + strays_ms)


def run(seed: int) -> Report:
    """Run the options of a seed."""
    return run_options(draw(seed))


def run_options(options: Options) -> Report:
    """Run one deployment through harm and peace. Whatever goes wrong on the way is a finding."""
    report = Report(options=options)
    cluster = Cluster(World(options.seed), options.latency_ms)
    try:
        populate(cluster, options)
        for length_ms in play(cluster, options, report):
            cluster.world.run_for(length_ms)
    except Exception as error:  # all that goes wrong in a run is what it was made for
        found(error, report, cluster)
    fill(report, cluster)
    return report


def guarded(run: Run, options: Options) -> Report:
    """What `run` makes of `options`; an error that comes out of it is a finding, too, but has no story."""
    try:
        return run(options)
    except Exception as error:  # one seed must not end the search, and must be named
        return Report(options=options, broken=in_words(error))


def found(error: BaseException, report: Report, cluster: Cluster) -> None:
    """Write a finding down."""
    report.broken = in_words(error)
    cluster.note(report.broken)


def in_words(error: BaseException) -> str:
    """A finding in one line: the property, or the error and where it happened."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, Broken):
        return str(error)
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'} ({_place(error)})"


def _place(error: BaseException) -> str:
    """The last line of ours that an error came through: that says more than the library it was raised in."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(PACKAGE)]
    if not ours:
        return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "nowhere"
    return f"{Path(ours[-1].filename).relative_to(PACKAGE.parent).as_posix()}:{ours[-1].lineno}"


def play(cluster: Cluster, options: Options, report: Report, *, settle_ms: int = SETTLE_MS) -> Iterator[int]:
    """The phases of a run. Yields how much time, in ms, whoever drives the world lets pass before it goes on; an
    operator's words take `settle_ms` to be carried out. Raises what it finds."""
    yield WARM_UP_MS
    Harm(cluster, options).begin()
    yield options.harm_ms
    make_peace(cluster, options)
    yield from _carry_out_orders(cluster, options, settle_ms)
    report.rest_ms = yield from _await_rest(cluster, options)
    for sentinel in cluster.each_up():
        require_no_lost_answers(sentinel)
    if report.rest_ms is not None:
        report.exam_ms = yield from _exam(cluster, options)
    for sentinel in cluster.each_up():
        sentinel.checker.ended(sentinel)


def _carry_out_orders(cluster: Cluster, options: Options, settle_ms: int) -> Iterator[int]:
    """Let what operators ordered before peace be carried out, by processes that stood still then, too; and put right
    what came of it."""
    late_ms = cluster.world.now_ms + ORDERS_MS
    yield settle_ms
    while any(sentinel.answers for sentinel in cluster.each_up()) and cluster.world.now_ms < late_ms:
        yield settle_ms
    make_peace(cluster, options)
    yield settle_ms


def _await_rest(cluster: Cluster, options: Options) -> Generator[int, None, int | None]:
    """Wait until nothing is wrong any more, and a while longer; None for a dead end.

    Names that lead astray are waited for as well. They may do so to the end where nothing contradicts them: the only
    replica is one that no master lists, for example. What a sentinel does then, when the master dies, the exam shows.
    """
    began_ms = cluster.world.now_ms
    limit_ms = began_ms + peace_bound_ms(options)
    hopeful_at_ms = began_ms
    while True:
        wrong = what_is_wrong(cluster)
        if wrong is None and (not is_led_astray(cluster) or cluster.world.now_ms >= limit_ms):
            rest_ms = cluster.world.now_ms - began_ms
            told = len(cluster.told)
            yield options.calm_ms
            wrong = what_is_wrong(cluster)
            restless = [t for t in cluster.told[told:] if isinstance(t.event, e.FailoverStarted | e.MasterSwitched)]
            if wrong is None and not restless:
                return rest_ms
        now_ms = cluster.world.now_ms
        dead_end = _dead_end(cluster, wrong)
        if dead_end is None or wrong is None:
            hopeful_at_ms = now_ms
        is_over = now_ms >= limit_ms
        if dead_end is not None and (is_over or now_ms - hopeful_at_ms >= HOPELESS_MS):
            cluster.seen[f"{DEAD_END}{dead_end}"] += 1
            return None
        if is_over and cluster.excused:
            cluster.seen[NO_REST] += 1
            return None
        if is_over:
            raise Broken(*(wrong or (29, "there is no rest: a failover in a healthy deployment")))
        yield LOOK_EVERY_MS
        if cluster.world.waiting > MAX_WAITING:
            raise Broken(32, f"{cluster.world.waiting} deeds are waiting")


def _dead_end(cluster: Cluster, wrong: tuple[int, str] | None) -> str | None:
    """Why only an operator can put right what is wrong, if that is so."""
    if wrong is not None and any(is_dead_end(cluster, name) for name in cluster.settings):
        return "nobody eligible"
    if any(is_split(cluster, name) for name in cluster.settings):
        return "two addresses in one contested epoch"
    if any(is_parted(cluster, name) for name in cluster.settings):
        return "made to forget all that others know"
    if any(is_merged(cluster, name) for name in cluster.settings):
        return "a name that lied made two deployments one"
    if any(is_outnumbered(cluster, name) for name in cluster.settings):
        return "sentinels that are gone count"
    return None


def what_is_wrong(cluster: Cluster) -> tuple[int, str] | None:
    """The first thing that peace must have put right, with the number of the property; None when all is well."""
    for name in cluster.settings:
        views: set[tuple[int, Address]] = set()
        for sentinel in cluster.sentinels.values():
            master = sentinel.engine.state.masters.get(name)
            if master is None:
                return 29, f"{sentinel.name} does not watch {name}"
            if master.failover is not None:
                return 29, f"{sentinel.name}: a failover of {name} is open"
            if master.s_down or master.o_down:
                return 29, f"{sentinel.name}: {name} is down"
            views.add((master.config_epoch, master.address))
        if len(views) > 1:
            return 30, f"{name} is {' or '.join(f'{address} ({epoch})' for epoch, address in sorted(views))}"
        ((_, agreed),) = views
        known = {a for s in cluster.sentinels.values() for a in s.engine.state.masters[name].replicas}
        for address, home in cluster.homes.items():
            server = cluster.servers[address]
            if address == agreed:
                if server.master is not None:
                    return 31, f"{name} is {address}, which follows {server.master}"
            elif home == name and address in known and (server.master != agreed or not server.link_up):
                return 31, f"{address} follows {server.master}, not {agreed}"
    return None


def is_led_astray(cluster: Cluster) -> bool:
    """Whether a name leads a sentinel to where it does not lead any more."""
    truth = cluster.network.names.addresses
    for sentinel in cluster.sentinels.values():
        state = sentinel.engine.state
        known = {at.host for master in state.masters.values() for at in (master.address, *master.replicas)}
        if any(state.names.get(host, truth[host]) != truth[host] for host in known & truth.keys()):
            return True
    return False


def _exam(cluster: Cluster, options: Options) -> Generator[int, None, int | None]:
    """Property 29 once more: whatever happened, the deployment can still fail over. Every master dies; all sentinels
    must name another one, that takes writes, before two attempts are over (the first may wait for an old vote). While a
    quorum is out of reach because slow disks have brought stock members into TILT, time does not count."""
    while any(sentinel.engine.state.tilt_since_ms is not None for sentinel in cluster.sentinels.values()):
        yield LOOK_EVERY_MS
    began_ms = cluster.world.now_ms
    dead: dict[str, Address] = {}
    for name in cluster.settings:
        views = [sentinel.engine.state.masters[name] for sentinel in cluster.sentinels.values()]
        if all(view.replicas for view in views):
            dead[name] = views[0].address
            cluster.note(f"exam: {name} at {views[0].address} dies")
            cluster.servers[views[0].address].kill(with_host=cluster.world.random.random() < 0.5)
    limit_ms = began_ms + options.down_after_ms + 2 * (2 * options.failover_timeout_ms + 12_000) + 5000
    blind_ms = 0
    while True:
        yield EXAM_STEP_MS
        waiting = [name for name, address in dead.items() if not _is_replaced(cluster, name, address)]
        if not waiting:
            return cluster.world.now_ms - began_ms
        if blind_ms < BLIND_MS and not all(map(cluster.can_agree, waiting)):
            blind_ms += EXAM_STEP_MS
        if cluster.world.now_ms >= limit_ms + blind_ms:
            if (dead_end := _dead_end(cluster, None)) is not None:
                cluster.seen[f"{DEAD_END}{dead_end}"] += 1
                return None
            if cluster.excused or blind_ms >= BLIND_MS:
                cluster.seen[NO_EXAM] += 1
                return None
            raise Broken(29, f"no failover of {waiting[0]} after {cluster.world.now_ms - began_ms} ms")


def _is_replaced(cluster: Cluster, name: str, dead: Address) -> bool:
    addresses = {sentinel.engine.state.masters[name].current_address for sentinel in cluster.sentinels.values()}
    (address, *others) = addresses
    return not others and address != dead and cluster.servers[address].writable


def require_no_lost_answers(sentinel: SimSentinel) -> None:
    """Property 32, its other side: nobody waits for an answer that cannot come, and asks no more because of it. That of
    a process that stands still is on its way: stock on a slow disk may come to read later than LATE_ANSWER_MS."""
    still = {other.engine.state.my_id for other in sentinel.cluster.each_up() if other.frozen}
    senses, late_ms = sentinel.engine.senses, sentinel.clock_ms() - LATE_ANSWER_MS
    for (name, address), sense in senses.servers.items():
        for what, waits, since_ms in (
            ("INFO", sense.info_in_flight, sense.info_sent_at_ms),
            ("a hello", sense.hello_in_flight, sense.hello_sent_at_ms),
        ):
            lost = sense.command.open and waits and since_ms is not None and since_ms < late_ms
            require(not lost, 32, f"{sentinel.name} waits for ever for {what} of {name} at {address}")
    for (name, run_id), opinion in senses.opinions.items():
        for what, waits, since_ms in (
            ("an opinion", opinion.ask_in_flight, opinion.asked_at_ms),
            ("a hello", opinion.hello_in_flight, opinion.hello_sent_at_ms),
        ):
            reads = run_id not in still and senses.peers[run_id].command.open
            lost = reads and waits and since_ms is not None and since_ms < late_ms
            require(not lost, 32, f"{sentinel.name} waits for ever for {what} about {name} of {run_id}")


def is_dead_end(cluster: Cluster, name: str) -> bool:
    """Whether nobody may be promoted, by the filter that stock has too (core.md 11.3, number 6): every server was cut
    off from its master for too long before the master was called down. An operator must choose then."""
    watching = [s for s in cluster.sentinels.values() if name in s.engine.state.masters]
    down = [s for s in watching if s.engine.state.masters[name].s_down]
    for sentinel in down:
        master = sentinel.engine.state.masters[name]
        limit_ms = 10 * master.settings.down_after_ms
        if any(sentinel.cut_off_ms(name, address) <= limit_ms for address in master.replicas):
            return False
    return bool(down)


def _watching(cluster: Cluster, name: str) -> list[Master]:
    """The master `name` as each of those sees it that watch it."""
    return [s.engine.state.masters[name] for s in cluster.sentinels.values() if name in s.engine.state.masters]


def is_split(cluster: Cluster, name: str) -> bool:
    """Whether two leaders of one epoch, both of them lawful (forced by operators, or doubles from a copied file), left
    two configurations behind that are equally new. Only another failover puts that right."""
    views = _watching(cluster, name)
    newest = max((view.config_epoch for view in views), default=0)
    addresses = {view.address for view in views if view.config_epoch == newest}
    lawful = bool(cluster.checker.ledger.doubles) or (name, newest) in cluster.checker.ledger.contested
    return lawful and len(addresses) > 1


def is_parted(cluster: Cluster, name: str) -> bool:
    """Whether sentinels were made to forget every server that they have in common, by operators or with their
    files, so that they cannot meet."""
    if not any(cluster.seen[f"fault {one}"] for one in ("operator reset", "operator remove", "new identity")):
        return False
    masters = _watching(cluster, name)
    known = [{master.address, *master.replicas} for master in masters]
    return any(one.isdisjoint(other) for one, other in itertools.combinations(known, 2))


def is_merged(cluster: Cluster, name: str) -> bool:
    """Whether a name that led to a server of another deployment made that server a replica here: it is claimed for both
    masters, and there is no telling which is right. Only a RESET by an operator ends it."""
    if not cluster.seen["fault wrong name"]:
        return False
    masters = [s.engine.state.masters[name] for s in cluster.sentinels.values() if name in s.engine.state.masters]
    known = {address for master in masters for address in (master.address, *master.replicas)}
    return any(cluster.homes.get(address, name) != name for address in known)


def is_outnumbered(cluster: Cluster, name: str) -> bool:
    """Whether nobody can have the votes it needs because each counts sentinels that are gone: they had another
    identity, and announced a place where nobody takes it over. Only a RESET makes voters fewer (property 27)."""
    living = {sentinel.engine.state.my_id for sentinel in cluster.sentinels.values()}
    masters = [s.engine.state.masters[name] for s in cluster.sentinels.values() if name in s.engine.state.masters]
    return bool(masters) and all(1 + len(living & master.peers.keys()) < master.votes_needed for master in masters)


def fill(report: Report, cluster: Cluster) -> None:
    """What came of a run."""
    digest = hashlib.blake2b(cluster.checker.hash.digest(), digest_size=16)
    for address, server in cluster.servers.items():
        digest.update(f"{address} {server.master} {server.offset} {server.branch}\n".encode())
    report.event_hash = digest.hexdigest()
    report.virtual_ms = cluster.world.now_ms - 1_000_000
    report.events, report.steps = len(cluster.told), cluster.world.steps
    report.seen, report.told, report.notes, report.faults = cluster.seen, cluster.told, cluster.notes, cluster.faults
    for address, server in cluster.servers.items():
        report.moves += ((at_ms, address, master) for at_ms, master in server.history)
    report.failovers, report.false_failovers = cluster.switches(), cluster.false_failovers
    for name, writer in cluster.writers.items():
        report.acknowledged += len(writer.writes)
        open_ms = cluster.world.now_ms - writer.last_ok_at_ms
        report.longest_gap_ms = max(report.longest_gap_ms, writer.longest_gap_ms, open_ms)
        agreed = next(iter(cluster.sentinels.values())).engine.state.masters.get(name)
        holder = None if agreed is None else cluster.servers.get(agreed.address)
        if holder is not None:
            report.losses += _losses(writer, holder)
    report.lost = sum(loss.count for loss in report.losses)


def _losses(writer: Writer, holder: FakeServer) -> Iterator[Loss]:
    lost = [write for write in writer.writes if not holder.has(write)]
    for branch in dict.fromkeys(write.branch for write in lost):
        here = [write for write in lost if write.branch == branch]
        meanwhile = [write for write in writer.writes if here[0].at_ms <= write.at_ms <= here[-1].at_ms]
        yield Loss(
            name=writer.name,
            count=len(here),
            first_ms=here[0].at_ms,
            last_ms=here[-1].at_ms,
            others=len(meanwhile) - len(here),
            accepted_by=writer.accepted_by.get(branch),
            missed_by=holder.address,
        )
