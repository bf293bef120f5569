"""Whole runs: a seed is a run, and nothing is broken in the ones that every `make test` makes."""

from __future__ import annotations

import importlib.util
import inspect
import os
import random
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import attrs
import pytest

from trio_sentinel import sim
from trio_sentinel.model import effects as fx
from trio_sentinel.model import inputs as i
from trio_sentinel.model.decide import agreement
from trio_sentinel.model.events import MasterRemoved, VoteCast
from trio_sentinel.model.settings import MasterSettings
from trio_sentinel.model.state import PHASE_WORDS
from trio_sentinel.model.values import Hello, PeerLink, RunId
from trio_sentinel.sim import __main__ as sim_main
from trio_sentinel.sim import sights, soaks, stage
from trio_sentinel.sim.__main__ import main, parser
from trio_sentinel.sim.checkers import Broken
from trio_sentinel.sim.cluster import Writer, simple_cluster
from trio_sentinel.sim.crash_points import CRASH_POINTS
from trio_sentinel.sim.harm import DEEDS
from trio_sentinel.sim.options import FAULTS, Options, draw
from trio_sentinel.sim.process import EFFECTS, SimSentinel
from trio_sentinel.sim.redis import Write
from trio_sentinel.sim.runs import (
    LATE_ANSWER_MS,
    WARM_UP_MS,
    Report,
    build,
    fill,
    is_led_astray,
    is_outnumbered,
    play,
    require_no_lost_answers,
    run,
    run_options,
)
from trio_sentinel.sim.soaks import (
    FAST,
    SOMETIMES,
    SURE_ON_FULL_STAGE,
    Search,
    Sum,
    full_stage,
    made_shorter,
    run_quietly,
    soak,
)
from trio_sentinel.sim.story import lines
from trio_sentinel.sim.timelines import timeline

FIXED = (0, 4, 22, 34, 42, 45, 79, 95, 591124151)
"""Seeds that found something once, and a few others."""
FRESH = 4


def _check(report: Report) -> None:
    assert report.broken is None, "\n".join([*list(lines(report))[-40:], report.line])


@pytest.mark.parametrize("seed", FIXED)
def test_a_known_seed_holds(seed: int) -> None:
    _check(run_options(attrs.evolve(draw(seed), members=())))


@pytest.mark.parametrize("number", range(FRESH))
def test_a_fresh_seed_holds(number: int) -> None:
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")
    _check(run(seed))


def test_what_is_on_its_way_arrives_when_the_network_heals() -> None:
    """Or a slow link goes on into peace, and whoever waits there seems to wait for ever (seed 5100019)."""
    cluster = simple_cluster(1, down_after_ms=10_000)
    one, other, _ = cluster.each_up()
    link = PeerLink(RunId(other.engine.state.my_id))
    cluster.world.run_for(5000)
    cluster.network.slow[one.address.host, other.address.host] = 30_000
    cluster.world.run_for(3000)
    assert cluster.world.now_ms - one.pongs[link] > 1500
    cluster.network.heal()
    cluster.world.run_for(10)
    assert cluster.world.now_ms - one.pongs[link] <= 10


def test_what_waited_for_a_process_that_stood_still_is_there_at_once() -> None:
    """It waited in the buffers of its own host, however long that was (seed 7005246)."""
    cluster = build(Options(seed=1, latency_ms=(0, 0), clock_ppm=(0, 0, 0)))
    cluster.world.run_for(3000)
    other = list(cluster.each_up())[1]
    other.freeze(None)
    cluster.world.run_for(2000)
    waiting = [wire for wire in other.wires.values() if wire.out.waiting]
    assert waiting, "the others went on talking to it"
    other.thaw()
    assert not any(wire.out.waiting for wire in waiting)


def test_two_operators_overtake_a_leader_that_brings_replicas_over() -> None:
    """Nobody else does in thousands of seeds: the window is a few replies long."""
    weights = (("operator overtakes", 1),)
    for seed in range(10):
        report = run_options(Options(seed=seed, weights=weights, harm_ms=20_000, pause_ms=3000))
        _check(report)
        if report.seen["a leader is overtaken while it brings replicas over"]:
            return
    pytest.fail("nobody was overtaken")


def test_an_order_that_is_carried_out_in_peace_only_is_put_right() -> None:
    """A REMOVE waits behind a SET in a stock sentinel that stands still for each write of its file (seed 2001193)."""
    options = Options(seed=1, members=("redis 7",) * 3, save_ms=(50, 60), harm_ms=10_000, pause_ms=10**9)
    cluster, report = build(options), Report(options=options)
    sentinel = cluster.each_up()[0]

    def give_orders() -> None:
        sentinel.freeze(None)
        sentinel.ask(lambda n: i.SetAsked(n, "mymaster", (("quorum", "1"),)))
        sentinel.ask(lambda n: i.RemoveAsked(n, "mymaster"))

    cluster.world.after(WARM_UP_MS + options.harm_ms - 10, give_orders)
    for length_ms in play(cluster, options, report):
        cluster.world.run_for(length_ms)
    assert report.rest_ms is not None
    assert any(type(told.event) is MasterRemoved for told in cluster.told)


def _in_another_process(seed: int, hash_seed: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "trio_sentinel.sim", "--seed", str(seed), "--brief"],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "hash " in done.stdout, done.stderr
    return done.stdout


def test_the_same_seed_gives_the_same_events_in_another_process() -> None:
    """Also with another order of sets and of everything else that hangs on hashes."""
    for seed in (7, 18):
        assert _in_another_process(seed, "1") == _in_another_process(seed, "2")


def test_different_seeds_are_different_runs() -> None:
    assert draw(1) != draw(2)
    assert run(1).event_hash != run(2).event_hash


def test_every_fault_and_every_effect_has_its_deed() -> None:
    assert tuple(DEEDS) == FAULTS
    assert set(EFFECTS) == set(fx.Effect.__args__)


def test_whatever_a_soak_must_reach_is_counted_somewhere() -> None:
    """A name that nobody counts under would fail every long run."""
    modules = Path(inspect.getfile(sights)).parent.glob("*.py")
    source = "".join(path.read_text() for path in modules if path.name != "soaks.py")
    phases = [phase.__name__ for phase in PHASE_WORDS]
    counted = {f"{how} {point}" for how in ("crash", "power failure") for point in CRASH_POINTS}
    counted |= {f"{what} in {phase}" for what in ("abort", "death of a leader or candidate") for phase in phases}
    for name in SOMETIMES:
        assert name in counted or f'"{name}"' in source, name


@pytest.mark.parametrize("words", [["--stage", "full", "soak"], ["soak", "--stage", "full"]])
def test_the_stage_may_be_told_before_and_after_the_deed(words: list[str]) -> None:
    assert parser().parse_args(words).stage == "full"
    assert parser().parse_args(["soak"]).stage == "fast"


@pytest.mark.parametrize("stage", ["fast", "full"])
def test_what_a_soak_finds_is_made_shorter_and_can_be_replayed(
    stage: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(agreement, "vote", _fails(TypeError("no way")))
    monkeypatch.setattr(soaks, "SHRINK_S", 1.0)
    assert main(["soak", "--stage", stage, "--seeds", "1..4"]) == 1
    out = capsys.readouterr().out
    assert len(re.findall(r"faults instead of", out)) == 1, "one of the kind is enough"
    words = shlex.split(next(line for line in out.splitlines() if "--replay" in line))
    assert main([*words[words.index("--replay") :], "--stage", stage, "--brief"]) == 1
    assert "TypeError: no way" in capsys.readouterr().out


def test_no_more_than_three_kinds_of_findings_are_made_shorter() -> None:
    """The same run again and again: nothing shorter breaks."""
    reports = [Report(options=Options(seed=n), broken=f"property {n % 5}: no") for n in range(10)]
    search = attrs.evolve(FAST, run=lambda options: Report(options=options))
    told = list(made_shorter(search, reports, seconds=0.0))
    assert [line for line in told if line.startswith("seed")] == [
        f"seed {n}: property {n}: no (nothing shorter found)" for n in range(3)
    ]


def test_a_long_soak_that_reaches_too_little_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reached = next(iter(soak(range(1, 3)).seen))
    for long_run, sure, status in ((2, "no such state", 1), (3, "no such state", 0), (2, reached, 0)):
        search = attrs.evolve(FAST, long_run=long_run, sure=(sure,), wanted=(sure, "something else"))
        monkeypatch.setattr(sim_main, "FAST", search)
        assert main(["soak", "--seeds", "1..3"]) == status
    assert "never  no such state, which proves little" in capsys.readouterr().out


def test_what_the_full_stage_surely_reaches_is_some_of_what_it_should() -> None:
    search = full_stage()
    assert set(search.sure) < set(search.wanted)
    assert search.demanded(499) == ()
    assert set(search.demanded(500)) > set(SURE_ON_FULL_STAGE)
    assert "nuisance flood" in search.sure


def _fails(error: BaseException) -> Callable[..., NoReturn]:
    def fail(*args: object, **more: object) -> NoReturn:
        raise error

    return fail


@pytest.mark.parametrize("error", [TypeError("no\nway"), IndexError(), AttributeError("x"), ZeroDivisionError("by 0")])
def test_any_error_in_a_run_is_a_finding_with_its_seed_and_place(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(agreement, "vote", _fails(error))
    total = soak(range(5), jobs=1)
    assert total.runs == 5
    assert total.findings, "somebody is elected in five seeds"
    line = total.findings[0].line
    assert line in capsys.readouterr().out.splitlines()
    assert line.startswith(f"seed {total.findings[0].options.seed}: {type(error).__name__}: ")
    assert "no way" in line or str(error) in line
    assert re.search(r"\(trio_sentinel/model/[a-z/_]+\.py:\d+\)", line)
    assert total.findings[0].number == type(error).__name__


def test_an_error_before_the_first_event_is_a_finding_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimSentinel, "start", _fails(RuntimeError("not today")))
    assert str(run(3).broken).startswith("RuntimeError: not today (trio_sentinel/sim/cluster.py:")


def test_what_comes_out_of_the_full_stage_is_a_finding_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own machinery may fail outside everything that it watches."""
    search = Search(stage.draw_full, stage.run_full_options, ())
    monkeypatch.setattr(stage.Scenery, "drawn", _fails(ExceptionGroup("tasks", [TypeError("no such thing")])))
    report = run_quietly(search, 7)
    assert report.options == stage.draw_full(7)
    assert str(report.broken).startswith("TypeError: no such thing (")


def test_who_stops_a_soak_is_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "vote", _fails(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        soak(range(5), jobs=1)


@pytest.mark.parametrize("name", sim.__all__)
def test_what_the_package_offers_is_there_and_says_what_it_is(name: str) -> None:
    """A module of the same name would take its place as soon as somebody imports it."""
    offered = getattr(sim, name)
    assert not inspect.ismodule(offered)
    assert importlib.util.find_spec(f"trio_sentinel.sim.{name}") is None
    assert name.isupper() or offered.__doc__


def test_what_a_plan_would_live_through_can_be_asked_from_python() -> None:
    plan = sim.Plan(settings=MasterSettings(quorum=2, down_after_ms=1000, failover_timeout_ms=3000))
    outlook = sim.Outlook(plan)
    for task in sim.tasks(plan, runs=1):
        outlook.add(sim.sample(task))
    assert outlook.count == len([one for one in sim.INCIDENTS.values() if not one.many_zones])
    assert outlook.samples["power"] == [sim.rehearse(plan, "power", seed=0)]
    assert all(isinstance(lesson, str) for lesson in sim.lessons(outlook))


def test_a_soak_tells_what_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    total = soak(range(2), jobs=1)
    assert total.runs == 2
    assert not total.findings
    assert "2 seeds" in capsys.readouterr().out
    assert set(total.never_seen()) <= set(SOMETIMES)


def test_a_story_has_a_column_for_each_sentinel(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "1"]) == 0
    out = capsys.readouterr().out
    assert "*** peace" in out
    assert "SentinelRestored" in out


def test_what_meets_a_cut_waits_and_keeps_its_order() -> None:
    """Nothing is lost in a connection: what was sent during a cut arrives after it, in the order of sending."""
    cluster = simple_cluster(3, down_after_ms=60_000)
    cluster.world.run_for(3000)
    one, other, _ = cluster.sentinels.values()
    wire = next(wire for wire in one.links.values() if wire.far is other)
    address = next(iter(cluster.servers))
    assert one.own_id is not None
    assert other.own_id is not None
    cluster.cut.add((one.address.host, other.address.host))
    for epoch in (5, 6, 7):
        question = fx.AskPeer(PeerLink(other.own_id), "mymaster", address, address.host, epoch, one.own_id)
        cluster.network.send(wire, question)
    cluster.world.run_for(2000)
    assert other.engine.state.current_epoch == 0
    cluster.cut.clear()
    cluster.world.run_for(2000)
    epochs = [told.event.epoch for told in cluster.told if type(told.event) is VoteCast]
    assert epochs == [5, 6, 7]


def test_a_write_survives_where_it_was_copied_to() -> None:
    cluster = simple_cluster(5)
    cluster.world.run_for(2000)
    master, replica, stranger = cluster.servers.values()
    write = master.write()
    assert write is not None
    cluster.world.run_for(3000)
    assert replica.has(write)
    stranger.follow(None)
    lost = stranger.write()
    assert lost is not None
    stranger.follow(master.address)
    cluster.world.run_for(3000)
    assert not stranger.has(lost)
    assert stranger.has(write)


def test_a_gap_that_is_open_at_the_end_counts_and_lost_writes_are_told() -> None:
    """The master is alone with its client, another is promoted; then nobody takes writes any more."""
    options = Options(seed=4)
    cluster, report = build(options), Report(options=options)
    master, replica, other = cluster.servers.values()
    cluster.world.run_for(3000)
    master.frozen = True
    cluster.world.run_for(10_000)
    failed_over_ms = next(iter(cluster.writers.values())).longest_gap_ms
    heir = next(server for server in (replica, other) if server.master is None)
    left = next(server for server in (replica, other) if server is not heir)
    left.kill()
    master.kill()
    cluster.world.run_for(2000)
    before_ms = cluster.world.now_ms
    cluster.world.run_for(1000)
    heir.frozen = True
    cluster.world.run_for(failed_over_ms + 20_000)
    left.restart(cluster.new_id())
    for sentinel in cluster.each_up():
        sentinel.engine.state.masters["mymaster"].address = left.address
    fill(report, cluster)
    assert report.longest_gap_ms >= failed_over_ms + 20_000
    assert f"{report.longest_gap_ms} ms at most without writes" in report.line
    (loss,) = report.losses
    assert (loss.accepted_by, loss.missed_by, loss.count) == (heir.address, left.address, report.lost)
    assert loss.first_ms < before_ms < loss.last_ms
    assert any(line.startswith(f"lost: {loss.count} writes to mymaster between") for line in lines(report))
    assert any(re.search(r"accepted by a[23], not held by a[23] at the end$", line) for line in timeline(report))


def test_a_client_between_two_masters_loses_writes_of_each_time_as_a_master() -> None:
    """What went to the other one meanwhile is told, or one long loss would be read into it."""
    cluster = simple_cluster(7)
    master, heir, _ = cluster.servers.values()
    writer = Writer(cluster, "mymaster", 250, [], accepted_by={1: master.address, 2: heir.address, 3: master.address})
    writes = ((1, 1, 4), (2, 1, 5), (3, 2, 1), (4, 1, 6), (5, 3, 1))
    writer.writes += [Write(1_000_000 + at_ms, branch, offset) for at_ms, branch, offset in writes]
    cluster.writers["mymaster"] = writer
    heir.branch, heir.offset, heir.lineage = 2, 1, {1: 4}
    for sentinel in cluster.each_up():
        sentinel.engine.state.masters["mymaster"].address = heir.address
    report = Report(options=Options(seed=7))
    fill(report, cluster)
    assert report.lost == 3
    shorts = {master.address: "a1", heir.address: "a2"}
    first, second = (loss.told(shorts.__getitem__) for loss in report.losses)
    assert first.startswith("lost: 2 writes to mymaster between 0.002 and 0.004 s (1 more went elsewhere meanwhile), ")
    assert first.endswith(", accepted by a1, not held by a2 at the end")
    assert second == "lost: 1 write to mymaster at 0.005 s, accepted by a1, not held by a2 at the end"
    heir.branch = 4
    writer.accepted_by[3] = heir.address
    fill(report, cluster)
    assert report.losses[-1].told().endswith(f", accepted by {heir.address}, which lost them itself")


def test_a_sum_tells_the_median_and_the_worst_gap() -> None:
    total = Sum()
    for seed, gap_ms in enumerate((2000, 61_000, 3000, 1000, 3100)):
        total.add(Report(options=Options(seed=seed), longest_gap_ms=gap_ms))
    assert total.without_writes == "longest time without writes: median 3.0 s, worst 61.0 s (seed 1)"


def test_the_same_vote_is_not_lost_with_the_power() -> None:
    """What a sentinel answered is in its file: it comes back with the vote's epoch."""
    cluster = simple_cluster(8, down_after_ms=1000, failover_timeout_ms=5000)
    cluster.world.run_for(3000)
    cluster.kill_server(next(iter(cluster.servers.values())))
    cluster.world.run_for(1200)
    for sentinel in list(cluster.sentinels.values()):
        epoch = sentinel.disk.masters[0].leader_epoch
        assert epoch >= 1
        sentinel.crash(with_host=True)
        sentinel.start()
        assert sentinel.engine.state.masters["mymaster"].leader_epoch == epoch


def test_sentinels_that_announce_each_others_address_do_not_vote_twice() -> None:
    """Seed 21 of "announced elsewhere": one of them took its own answers for the other one's, and led alone."""
    cluster = simple_cluster(21, sentinels=2, replicas=1, down_after_ms=1000, failover_timeout_ms=3000)
    cluster.world.run_for(5000)
    first, second = cluster.sentinels.values()
    for sentinel, other in ((first, second), (second, first)):
        settings = attrs.evolve(sentinel.engine.state.settings, announce_ip=other.address.host)
        sentinel.ask(lambda n, settings=settings: i.GlobalsSetAsked(n, settings))  # type: ignore[misc]
        cluster.world.run_for(5000)
    second.crash()
    cluster.kill_server(next(iter(cluster.servers.values())))
    cluster.world.run_for(20_000)
    assert first.engine.state.masters["mymaster"].s_down
    assert not cluster.checker.ledger.leaders, "a majority of two is two"


def test_an_interrupted_soak_tells_what_it_had_reached(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(options: Options) -> Report:
        if options.seed == 2:
            raise KeyboardInterrupt
        return run_options(options)

    monkeypatch.setattr(sim_main, "FAST", attrs.evolve(soaks.FAST, run=stopped))
    assert main(["soak", "--seeds", "1..5"]) == 130
    told = capsys.readouterr().out
    assert "interrupted after 1 seeds, 0 findings" in told
    assert " fault " in told, "the counters"


@pytest.mark.parametrize(("sentinels", "dead_end"), [(1, True), (3, False)])
def test_a_voter_that_is_gone_is_a_dead_end_only_where_its_vote_is_needed(sentinels: int, dead_end: bool) -> None:
    """A lone sentinel hears of its own former identity at a place where nobody is (seed 14271498)."""
    cluster = simple_cluster(1, sentinels=sentinels, quorum=1)
    cluster.world.run_for(WARM_UP_MS)
    assert not is_outnumbered(cluster, "mymaster")
    address = next(iter(cluster.servers))
    ghost = Hello(
        host="10.9.8.7",
        port=26379,
        run_id=RunId("f" * 40),
        current_epoch=0,
        master="mymaster",
        master_host=address.host,
        master_port=address.port,
        config_epoch=0,
    )
    for sentinel in cluster.sentinels.values():
        sentinel.feed(i.HelloHeard(ghost))
    assert is_outnumbered(cluster, "mymaster") is dead_end


@pytest.mark.parametrize("still", [True, False])
def test_an_answer_of_a_process_that_stands_still_is_not_lost(still: bool) -> None:
    """Stock on a slow disk may stand still again and again (seed 14465270)."""
    cluster = simple_cluster(1, sentinels=2, down_after_ms=60_000)
    cluster.world.run_for(WARM_UP_MS)
    one, other = cluster.sentinels.values()
    require_no_lost_answers(one)
    if still:
        other.freeze(None)
    opinion = one.engine.senses.opinions["mymaster", other.engine.state.my_id]
    opinion.hello_in_flight, opinion.hello_sent_at_ms = True, one.clock_ms() - LATE_ANSWER_MS - 1
    if still:
        require_no_lost_answers(one)
    else:
        with pytest.raises(Broken, match=r"property 32.*waits for ever for a hello"):
            require_no_lost_answers(one)


@pytest.mark.parametrize("astray_ms", [0, 20_000])
def test_there_is_no_rest_while_a_name_leads_astray(astray_ms: int) -> None:
    """The next promotion by that name would go to another server (seed 14410503)."""
    options = Options(seed=1, named=True, harm_ms=0)
    cluster, report = build(options), Report(options=options)
    cluster.world.run_for(WARM_UP_MS)
    names = cluster.sentinels["10.9.1.1"].engine.state.names
    host, truth = "db2.a.example", names["db2.a.example"]
    assert not is_led_astray(cluster)
    if astray_ms:
        names[host] = "10.0.0.3"
        assert is_led_astray(cluster)
        cluster.world.after(astray_ms, names.__setitem__, host, truth)
    for length_ms in play(cluster, options, report):
        cluster.world.run_for(length_ms)
    assert report.rest_ms is not None
    assert (report.rest_ms > 10_000) == bool(astray_ms)
