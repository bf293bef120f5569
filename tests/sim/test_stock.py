"""The stock model: a clean failover takes the course of core.md; its known defects show, and ours has none of them."""

from __future__ import annotations

import itertools
import random

import attrs
import pytest

from trio_sentinel.model import effects as fx
from trio_sentinel.model import events as e
from trio_sentinel.model import inputs as i
from trio_sentinel.model.engine import Engine, Outcome
from trio_sentinel.model.settings import GlobalSettings, MasterSettings
from trio_sentinel.model.snapshot import MasterSnapshot, Snapshot
from trio_sentinel.model.state import ReconfiguringReplicas
from trio_sentinel.model.values import Address, Hello, PeerLink, RunId, ServerLink
from trio_sentinel.sim.checkers import Broken
from trio_sentinel.sim.cluster import Cluster, SimSentinel, simple_cluster
from trio_sentinel.sim.crash_points import SAVE_DONE, Trap
from trio_sentinel.sim.options import MEMBERS, OURS, Options, draw
from trio_sentinel.sim.roles import Mind
from trio_sentinel.sim.runs import Report, build, play, run_options
from trio_sentinel.sim.stock_mind import HANDLERS, StockMind
from trio_sentinel.sim.stock_state import Defects, Flavour
from trio_sentinel.sim.world import WorldDice

FLAVOURS = tuple(Flavour)
NAME = "mymaster"
STOCK, MENDED = Defects(), Defects.none()


def _cluster(stock: Flavour | None, defects: Defects | None = None, **others: int) -> Cluster:
    given = {"down_after_ms": 1000, "failover_timeout_ms": 6000} | others
    cluster = simple_cluster(7, stock=stock, defects=defects, **given)
    cluster.world.run_for(12_000)
    return cluster


def _course(cluster: Cluster, kinds: tuple[type[e.Event], ...]) -> list[str]:
    return [type(told.event).__name__ for told in cluster.told if isinstance(told.event, kinds)]


# ---------------------------------------------------------------- as it should be


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_clean_failover_takes_the_course_of_the_real_programs(flavour: Flavour) -> None:
    """Core.md 11.2: agreed and tried within some 100 ms of the SDOWN, one step in each tick, switched at the next
    INFO of the promoted replica, and peers a tick after the forced hello."""
    cluster = _cluster(flavour)
    killed_at_ms = cluster.world.now_ms
    cluster.kill_server(cluster.servers[Address("10.0.0.1", 6379)])
    cluster.world.run_for(8000)
    steps = (e.FailoverStarted, e.LeaderElected, e.ReplicaSelected, e.PromotionSent, e.PromotionSeen, e.FailoverEnded)
    assert _course(cluster, steps) == [step.__name__ for step in steps]
    at_ms: dict[type, int] = {type(told.event): told.at_ms - killed_at_ms for told in cluster.told}
    assert 1000 < at_ms[e.FailoverStarted] < 2600
    for before, after in itertools.pairwise(steps[:4]):
        assert 52 <= at_ms[after] - at_ms[before] <= 101
    switches = [told.at_ms - killed_at_ms for told in cluster.told if type(told.event) is e.MasterSwitched]
    assert len(switches) == 3
    assert switches[1] - at_ms[e.PromotionSeen] <= 200


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_ticks_are_as_far_apart_as_those_of_the_real_programs(flavour: Flavour) -> None:
    cluster = simple_cluster(3, stock=flavour, sentinels=1)
    (sentinel,) = cluster.sentinels.values()
    ticks: list[int] = []
    feed = sentinel.engine.feed

    def counting(heard: i.Input, now_ms: int) -> object:
        if isinstance(heard, i.TimePassed):
            ticks.append(now_ms)
        return feed(heard, now_ms)

    sentinel.engine.feed = counting  # type: ignore[method-assign, assignment]
    cluster.world.run_for(20_000)
    gaps = {later - before for before, later in itertools.pairwise(ticks)}
    assert gaps == {100, 90, 83, 76, 71, 66, 62, 58, 55, 52}


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_coordinated_failover_is_known_to_valkey_only(flavour: Flavour) -> None:
    cluster = _cluster(flavour)
    told: list[object] = []
    sentinel = next(iter(cluster.sentinels.values()))
    sentinel.ask(lambda n: i.FailoverAsked(n, NAME, True), told.append)
    cluster.world.run_for(4000)
    moved = {s.engine.state.masters[NAME].address.host for s in cluster.sentinels.values()} != {"10.0.0.1"}
    assert moved is (flavour is Flavour.VALKEY_9)
    assert len(told) == 1


def test_a_coordinated_failover_loses_no_write() -> None:
    cluster = _cluster(Flavour.VALKEY_9)
    writer = cluster.add_writer(NAME, 20, "10.0.9.9")
    next(iter(cluster.sentinels.values())).ask(lambda n: i.FailoverAsked(n, NAME, True))
    cluster.world.run_for(6000)
    master = next(server for server in cluster.servers.values() if server.master is None)
    assert master.address.host != "10.0.0.1"
    assert all(master.has(write) for write in writer.writes)


def test_the_stock_mind_hears_whatever_ours_hears() -> None:
    assert set(HANDLERS) == {*i.Input.__args__}


# ---------------------------------------------------------------- Q1: two leaders in one epoch


B = RunId("b" * 40)
MASTER = Address("10.0.0.1", 6379)


class FourPeers:
    """Four honest sentinels as one mind meets them: the master is dead for all, and three of them vote for B in epoch
    1. The vote rule is theirs (core.md 10.2): in each epoch the first who asks, and B asked first in epoch 1."""

    def __init__(self, mind: Mind) -> None:
        self.mind = mind
        self.now_ms = 1_000_000
        self.votes: dict[RunId, tuple[int, RunId]] = {}
        self.events: list[e.Event] = []
        ids = [B, *(RunId(letter * 40) for letter in "cde")]
        peers = tuple((run_id, Address(f"10.0.1.{n + 2}", 26379)) for n, run_id in enumerate(ids))
        settings = MasterSettings(quorum=3, down_after_ms=1000, failover_timeout_ms=20_000)
        line = MasterSnapshot(name=NAME, address=MASTER, settings=settings, peers=peers)
        whole = Snapshot(my_id=RunId("a" * 40), current_epoch=0, settings=GlobalSettings(), masters=(line,))
        for run_id in ids[:3]:
            self.votes[run_id] = (1, B)
        self.carry_out(mind.start(whole, self.now_ms, own_port=26379))

    def feed(self, heard: i.Input) -> None:
        self.carry_out(self.mind.feed(heard, self.now_ms))

    def carry_out(self, outcome: Outcome) -> None:
        self.events += outcome.events
        for effect in outcome.effects:
            match effect:
                case fx.OpenLink(PeerLink() as link, _, channel):
                    self.feed(i.LinkOpened(link, channel, "10.0.1.1"))
                case fx.OpenLink(link, _, channel):
                    self.feed(i.LinkLost(link, channel, "refused"))
                case fx.SendPing(PeerLink() as link):
                    self.feed(i.PingAnswered(link, "PONG"))
                case fx.SaveConfig(version):
                    self.feed(i.ConfigSaved(version))
                case fx.AskPeer():
                    self.answer(effect)
                case _:
                    pass

    def answer(self, asked: fx.AskPeer) -> None:
        epoch, voted = self.votes.get(asked.peer.run_id, (0, None))
        if asked.candidate is not None and asked.epoch > epoch:
            epoch, voted = self.votes[asked.peer.run_id] = (asked.epoch, asked.candidate)
        told = (voted, epoch) if asked.candidate is not None else (None, 0)
        self.feed(i.OpinionHeard(asked.peer, NAME, asked.address, asked.epoch, True, *told))

    def let_pass(self, length_ms: int) -> None:
        for _ in range(length_ms // 10):
            self.now_ms += 10
            if self.mind.next_due_ms() <= self.now_ms:
                self.feed(i.TimePassed(self.now_ms))

    def leads_in(self) -> list[int]:
        epochs, epoch = [], 0
        for event in self.events:
            if isinstance(event, e.FailoverStarted):
                epoch = event.epoch
            elif isinstance(event, e.LeaderElected):
                epochs.append(epoch)
        return epochs


def _overtaken_while_waiting_for_votes(mind: Mind, length_ms: int = 3000) -> list[int]:
    """Core.md Q1, its reproduction: B has three of five votes of epoch 1, and leads. I stand in epoch 1 as well, and
    wait; then somebody tells of epoch 2."""
    peers = FourPeers(mind)
    peers.let_pass(1800)
    assert [event.epoch for event in peers.events if isinstance(event, e.FailoverStarted)] == [1]
    assert peers.leads_in() == []
    told = Hello(
        host="10.0.1.5",
        port=26379,
        run_id=RunId("e" * 40),
        current_epoch=2,
        master=NAME,
        master_host=MASTER.host,
        master_port=MASTER.port,
        config_epoch=0,
    )
    peers.feed(i.HelloHeard(told))
    peers.let_pass(length_ms)
    return peers.leads_in()


def _stock(flavour: Flavour, defects: Defects) -> StockMind:
    return StockMind(WorldDice(random.Random(1)), 1_000_000, lambda snapshot: True, flavour, defects)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_q1_stock_becomes_a_second_leader_of_an_epoch(flavour: Flavour) -> None:
    assert _overtaken_while_waiting_for_votes(_stock(flavour, STOCK)) == [1]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_q1_mended_stock_does_not(flavour: Flavour) -> None:
    """So it is this rule, and no other, that elects it."""
    assert _overtaken_while_waiting_for_votes(_stock(flavour, attrs.evolve(STOCK, q1=False))) == []


def test_q1_ours_leaves_the_epoch_to_its_leader_and_leads_later_in_another() -> None:
    (epoch,) = _overtaken_while_waiting_for_votes(Engine(WorldDice(random.Random(1)), 1_000_000), length_ms=55_000)
    assert epoch > 2


def test_q1_happens_by_itself_in_quorums_of_stock_sentinels() -> None:
    """Three masters share five sentinels and the one epoch; nothing but servers and sentinels that pause is wrong."""
    options = Options(
        seed=0,
        sentinels=5,
        quorum=3,
        masters=3,
        down_after_ms=1000,
        failover_timeout_ms=3000,
        pause_ms=1500,
        harm_ms=30_000,
        latency_ms=(40, 60),
        weights=(("kill server", 5), ("isolate host", 2), ("freeze sentinel", 3)),
        members=("redis 7",) * 5,
    )
    for seed in range(10):
        report = run_options(attrs.evolve(options, seed=seed))
        assert report.broken is None, report.line
        if report.seen["a stock member leads with votes of another epoch (Q1)"]:
            return
    pytest.fail("Q1 was not met")


# ---------------------------------------------------------------- Q14: stuck in reconf_slaves


def _die_while_reconfiguring(stock: Flavour | None, defects: Defects | None = None) -> tuple[SimSentinel, Cluster]:
    """The master dies; one replica is silent, so that the other one's promotion is followed by a long reconfiguration;
    then the promoted one dies as well."""
    cluster = _cluster(stock, defects, sentinels=1, quorum=1, replicas=3)
    (sentinel,) = cluster.sentinels.values()
    servers = list(cluster.servers.values())
    cluster.kill_server(servers[0])
    running = None
    while running is None or not isinstance(running.phase, ReconfiguringReplicas):
        cluster.world.run_for(10)
        running = sentinel.engine.state.masters[NAME].failover
    assert running.promoted is not None
    promoted = cluster.servers[running.promoted]
    silent = next(server for server in servers[1:] if server is not promoted)
    silent.frozen = True
    cluster.kill_server(promoted)
    cluster.world.run_for(1000)
    silent.frozen = False
    cluster.world.run_for(60_000)
    return sentinel, cluster


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_q14_stock_is_stuck_while_the_promoted_replica_is_down(flavour: Flavour) -> None:
    sentinel, cluster = _die_while_reconfiguring(flavour)
    running = sentinel.engine.state.masters[NAME].failover
    assert running is not None
    assert isinstance(running.phase, ReconfiguringReplicas)
    assert not any(server.up and server.master is None for server in cluster.servers.values()), "nobody takes writes"


@pytest.mark.parametrize(("stock", "defects"), [(None, None), (Flavour.REDIS_7, MENDED), (Flavour.VALKEY_9, MENDED)])
def test_q14_ours_and_mended_stock_go_on_to_the_next_replica(stock: Flavour | None, defects: Defects | None) -> None:
    sentinel, cluster = _die_while_reconfiguring(stock, defects)
    address = sentinel.engine.state.masters[NAME].current_address
    assert cluster.servers[address].writable


# ---------------------------------------------------------------- Q5: a poisoned configuration epoch


def _poison(stock: Flavour | None, defects: Defects | None = None) -> Cluster:
    """One of three sentinels hears a hello whose address it cannot resolve, under the next epoch; then the master
    dies, and that epoch is the epoch of its failover. The poison spreads, for the third one's hellos carry it."""
    cluster = _cluster(stock, defects, failover_timeout_ms=180_000)
    first, _, third = cluster.sentinels.values()
    hello = Hello(
        host=first.address.host,
        port=first.address.port,
        run_id=first.engine.state.my_id,
        current_epoch=0,
        master=NAME,
        master_host="db-1.example",
        master_port=6379,
        config_epoch=1,
    )
    third.feed(i.HelloHeard(hello))
    cluster.kill_server(cluster.servers[Address("10.0.0.1", 6379)])
    cluster.world.run_for(60_000)
    return cluster


def _addresses(cluster: Cluster) -> set[str]:
    return {sentinel.engine.state.masters[NAME].address.host for sentinel in cluster.sentinels.values()}


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_q5_stock_with_a_poisoned_epoch_never_hears_of_the_new_master(flavour: Flavour) -> None:
    cluster = _poison(flavour)
    assert cluster.elections() == 1
    assert len(_addresses(cluster)) == 2
    assert "10.0.0.1" in _addresses(cluster)


@pytest.mark.parametrize(("stock", "defects"), [(None, None), (Flavour.REDIS_7, MENDED), (Flavour.VALKEY_9, MENDED)])
def test_q5_ours_and_mended_stock_take_no_epoch_without_its_address(
    stock: Flavour | None, defects: Defects | None
) -> None:
    addresses = _addresses(_poison(stock, defects))
    assert len(addresses) == 1
    assert addresses != {"10.0.0.1"}


# ---------------------------------------------------------------- Q3: a vote that is not on disk


def _vote_with_a_full_disk(stock: Flavour | None, defects: Defects | None = None) -> RunId | None:
    cluster = _cluster(stock, defects, sentinels=1, quorum=1)
    (sentinel,) = cluster.sentinels.values()
    sentinel.disk_fails = True
    told: list[fx.AnswerOpinion] = []
    candidate = RunId("c" * 40)
    sentinel.ask(lambda n: i.OpinionAsked(n, "10.0.0.1", 6379, 7, candidate), told.append)
    cluster.world.run_for(100)
    return told[0].leader


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_q3_stock_tells_a_vote_that_it_could_not_save(flavour: Flavour) -> None:
    assert _vote_with_a_full_disk(flavour) is not None
    assert _vote_with_a_full_disk(flavour, MENDED) is None
    assert _vote_with_a_full_disk(None) is None


# ---------------------------------------------------------------- mixed quorums


def test_some_seeds_have_stock_members_and_each_kind_comes_up() -> None:
    drawn = [draw(seed) for seed in range(400)]
    mixed = [options for options in drawn if options.mixed]
    assert 60 < len(mixed) < 140
    assert {member for options in mixed for member in options.members} == set(MEMBERS)
    assert any(OURS in options.members for options in mixed)


@pytest.mark.parametrize("seed", [3, 11])
def test_a_mixed_quorum_holds_what_can_be_promised(seed: int) -> None:
    options = attrs.evolve(draw(seed), sentinels=3, quorum=2, members=("redis 7", OURS, "valkey 9"), clock_ppm=())
    report = run_options(options)
    assert report.broken is None, report.line


def test_the_stock_checker_bites(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stock member that forgets its vote although its disk is well is caught: that is not among its defects."""
    monitor = StockMind.monitor
    forgetful = lambda mind, line: monitor(mind, attrs.evolve(line, leader_epoch=0))  # noqa: E731
    monkeypatch.setattr(StockMind, "monitor", forgetful)
    cluster = _cluster(Flavour.REDIS_7)
    _, second, third = (sentinel.engine.state.my_id for sentinel in cluster.sentinels.values())
    sentinel = cluster.sentinels["10.0.1.1"]
    sentinel.ask(lambda n: i.OpinionAsked(n, "10.0.0.1", 6379, 1, second))
    sentinel.crash()
    sentinel.start()
    with pytest.raises(Broken, match="property 2"):
        sentinel.ask(lambda n: i.OpinionAsked(n, "10.0.0.1", 6379, 1, third))


def test_a_stock_member_that_dies_over_the_save_of_a_remove_need_not_know_its_vote_any_more() -> None:
    """Its file forgot the master, and nobody was told (seed 14359046)."""
    cluster = _cluster(Flavour.VALKEY_9)
    sentinel = cluster.sentinels["10.0.1.1"]
    candidate = sentinel.engine.state.my_id
    sentinel.ask(lambda n: i.OpinionAsked(n, "10.0.0.1", 6379, 1, candidate))
    sentinel.trap = Trap(SAVE_DONE, 1)
    sentinel.ask(lambda n: i.RemoveAsked(n, NAME))
    assert not sentinel.up
    sentinel.start()
    sentinel.ask(lambda n: i.MonitorAsked(n, NAME, Address("10.0.0.1", 6379), quorum=2))
    sentinel.crash()
    sentinel.start()
    assert sentinel.engine.state.masters[NAME].leader_epoch == 0, "Q25"


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_stock_member_whose_clock_was_set_back_is_not_behind_itself_after_a_restart(flavour: Flavour) -> None:
    """It says hello in time (seed 14382071)."""
    cluster = _cluster(flavour, sentinels=1)
    (sentinel,) = cluster.sentinels.values()
    sentinel.wall_offset_ms -= 3_600_000
    cluster.world.run_for(500)
    sentinel.crash()
    said: list[fx.SayHello] = []
    sentinel.deeds = {**sentinel.deeds, fx.SayHello: lambda _, hello: said.append(hello)}
    sentinel.start()
    cluster.world.run_for(5000)
    assert {effect.link for effect in said} == {ServerLink(NAME, Address(f"10.0.0.{n}", 6379)) for n in (1, 2, 3)}


def test_an_exam_waits_for_a_stock_member_in_tilt_without_whom_there_is_no_quorum() -> None:
    """Slow disks bring stock into TILT in the middle of it (seed 14390023); here it is a clock, twice."""
    members = (OURS, "valkey 9", "valkey 9")
    options = Options(seed=1, quorum=3, members=members, down_after_ms=1000, failover_timeout_ms=1500, harm_ms=0)
    cluster, report = build(options), Report(options=options)
    stock = cluster.sentinels["10.9.1.2"]

    def step_clock() -> None:
        stock.wall_offset_ms += 60_000

    steps = [100, 25_000]
    for length_ms in play(cluster, options, report):
        while steps and any(note.startswith("exam") for _, note in cluster.notes):
            cluster.world.after(steps.pop(), step_clock)
        cluster.world.run_for(length_ms)
    assert not cluster.excused
    assert report.exam_ms is not None
    assert report.exam_ms > 50_000
