"""``trio-sentinel simulate``: many seeds, one seed as a story, a finding made shorter, and a plan of the user's own."""

from __future__ import annotations

import io
import itertools
import re
import shlex
from collections import Counter
from pathlib import Path

import pytest

from trio_sentinel.cli import main as cli
from trio_sentinel.model.settings import MasterSettings
from trio_sentinel.sim import command, rehearsal
from trio_sentinel.sim.arguments import CANNOT
from trio_sentinel.sim.command import main
from trio_sentinel.sim.options import Options, draw, parse
from trio_sentinel.sim.plan import Plan, placed, spread, warnings
from trio_sentinel.sim.rehearsal import INCIDENTS, Outlook, Sample, Task, lessons, percentile
from trio_sentinel.sim.runs import DEAD_END, NO_EXAM, NO_REST, Report, run_options
from trio_sentinel.sim.screen import PlainScreen, RichScreen
from trio_sentinel.sim.shrinking import shrink
from trio_sentinel.sim.soaks import Sum
from trio_sentinel.sim.timelines import timeline

from .defects import DEFECTS

QUICK = MasterSettings(quorum=2, down_after_ms=1000, failover_timeout_ms=3000)


# ---------------------------------------------------------------- seeds


def test_options_are_told_in_one_line_and_read_again() -> None:
    for seed in range(100):
        assert parse(draw(seed).text) == draw(seed)


@pytest.mark.parametrize("text", ["", "[1]", '{"seed":1,"moons":2}', "{}"])
def test_other_words_are_no_options(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--replay", text]) == CANNOT
    assert capsys.readouterr().err


def test_a_seed_is_told_with_a_column_for_each_process(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["simulate", "--seed", "1", "--plain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    header = next(line for line in lines if line.split()[:1] == ["seconds"])
    names = header.split()[1:]
    assert names[: draw(1).sentinels] == [f"s{n + 1}" for n in range(draw(1).sentinels)]
    assert any("*** peace" in line for line in lines)
    for line in lines:
        if "starts, epoch" in line:
            assert line.index("starts") in {header.index(name) for name in names}
    assert lines[-1].startswith("OK: seed 1: ok")


def test_a_run_with_host_names_is_told_with_short_names_too(capsys: pytest.CaptureFixture[str]) -> None:
    seed = next(seed for seed in range(100) if draw(seed).named)
    assert main(["--seed", str(seed), "--plain"]) == 0
    told = capsys.readouterr().out
    assert main(["--replay", draw(seed).text, "--plain"]) == 0
    assert capsys.readouterr().out == told
    options = Options(seed=1, named=True, weights=(("kill server", 1),), harm_ms=15_000)
    assert main(["--replay", options.text, "--plain"]) == 0
    head, _, rows = capsys.readouterr().out.partition("seconds")
    assert "a1 db1.a.example:6379" in head
    assert re.search(r"kill server: a\d for", rows)
    assert re.search(r"  a\d is a master", rows)
    assert ".example" not in rows


def test_a_wrong_name_is_told_with_the_short_name_of_where_it_leads() -> None:
    options = Options(seed=3, named=True, weights=(("wrong name", 1),), pause_ms=500, harm_ms=10_000)
    rows = list(timeline(run_options(options)))
    assert any(re.search(r"wrong name: a\d is a\d", row) for row in rows)


def test_host_names_are_left_out_when_the_failure_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    DEFECTS["the quorum alone makes a leader"].plant(monkeypatch)
    report = next(
        report for seed in range(200) if draw(seed).named and (report := run_options(draw(seed))).number == "9"
    )
    shorter = shrink(report, runs=60, seconds=60)
    assert shorter.number == "9"
    assert not shorter.options.named


def test_a_search_tells_how_much_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runs", "2", "--first", "1", "--jobs", "1"]) == 0
    assert "every property held in 2 runs" in capsys.readouterr().out


def test_a_search_tells_of_how_many_runs_liveness_was_not_demanded(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Sum()
    for seed, reason in enumerate(("dead end: nobody eligible", NO_REST, None, "dead end: nobody eligible", NO_EXAM)):
        tally.add(Report(options=Options(seed=seed), seen=Counter({"TILT": 1} | ({reason: 1} if reason else {}))))
    command._show_tally(tally, 1.0, PlainScreen())
    lines = capsys.readouterr().out.splitlines()
    assert "       2  dead end: nobody eligible" in lines
    assert f"       1  {NO_REST}" in lines
    assert f"       1  {NO_EXAM}" in lines
    assert lines[-1] == "OK: every property held in 5 runs, but 4 did not come to rest (above)"


def test_a_dead_end_is_told_with_its_reason() -> None:
    seen = Counter({"TILT": 2, f"{DEAD_END}nobody eligible": 1})
    assert "no rest, no last failover (dead end: nobody eligible)" in Report(options=Options(seed=1), seen=seen).line
    assert (
        "rest after 1000 ms, last failover in 700 ms, "
        in Report(options=Options(seed=1), rest_ms=1000, exam_ms=700).line
    )


def test_a_finding_is_shown_made_shorter_and_can_be_replayed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    DEFECTS["the quorum alone makes a leader"].plant(monkeypatch)
    assert main(["--runs", "1", "--first", "0", "--jobs", "1"]) == command.FOUND
    out = capsys.readouterr().out
    assert "! seed 0: property 9" in out
    words = shlex.split(next(line for line in out.splitlines() if "--replay" in line))
    assert words[:2] == ["trio-sentinel", "simulate"]
    assert main(words[2:]) == command.FOUND
    assert "property 9" in capsys.readouterr().out


def test_what_is_left_of_a_failure_breaks_the_same_property_with_less(monkeypatch: pytest.MonkeyPatch) -> None:
    DEFECTS["a report of the master being down is counted as a vote"].plant(monkeypatch)
    report = next(report for seed in range(30) if (report := run_options(draw(seed))).broken and report.faults)
    shorter = shrink(report, runs=40, seconds=60)
    assert shorter.number == report.number
    assert run_options(shorter.options).broken == shorter.broken
    before, after = report.options, shorter.options
    assert len(shorter.faults) < len(report.faults) or after.harm_ms < before.harm_ms
    assert (after.sentinels, after.masters, after.replicas) <= (before.sentinels, before.masters, before.replicas)


def test_a_run_without_a_finding_cannot_be_made_shorter() -> None:
    with pytest.raises(ValueError, match="seed 1: nothing is broken"):
        shrink(run_options(draw(1)))


# ---------------------------------------------------------------- plans


def _plan(*, sentinels: int = 3, replicas: int = 2, zones: int = 1, **others: object) -> Plan:
    servers_at, sentinels_at = spread(zones, replicas=replicas, sentinels=sentinels)
    given = {"settings": QUICK, "servers": servers_at, "sentinels": sentinels_at, "min_replicas": 1} | others
    return Plan(**given)  # type: ignore[arg-type]


def _placed(words: str) -> Plan:
    servers_at, sentinels_at = placed(words)
    return Plan(settings=QUICK, servers=servers_at, sentinels=sentinels_at, min_replicas=1)


def test_places_are_written_as_letters() -> None:
    assert placed("ms, rs,rss") == ((0, 1, 2), (0, 1, 2, 2))
    for wrong in ("rs,rs", "mms", "m,r", "mx,s"):
        with pytest.raises(ValueError, match=r"must be|is none of"):
            placed(wrong)


def test_a_good_plan_raises_no_doubts() -> None:
    assert list(warnings(_plan(zones=3))) == []


@pytest.mark.parametrize(
    ("plan", "word"),
    [
        (_plan(sentinels=1, settings=MasterSettings(quorum=1)), "one sentinel"),
        (_plan(sentinels=2), "two sentinels"),
        (_plan(sentinels=4, settings=MasterSettings(quorum=3)), "even number"),
        (_plan(settings=MasterSettings(quorum=4)), "can never be found down"),
        (_plan(settings=MasterSettings(quorum=3)), "more than a majority"),
        (_plan(settings=MasterSettings(quorum=1)), "quorum 1: a single sentinel"),
        (_plan(replicas=0, min_replicas=0), "nothing to promote"),
        (_plan(replicas=1), "one replica"),
        (_plan(min_replicas=0), "min-replicas-to-write is not set"),
        (_plan(min_replicas=2), "any replica's loss stops writes"),
        (_plan(min_replicas=3), "no write is ever accepted"),
        (_placed("m,rsss,r"), "all sentinels are in zone 2"),
        (_placed("mss,rs,r"), "without zone 1 is 1 sentinel left, and a leader needs 2 votes"),
        (_placed("mrrs,s,s"), "all servers are in zone 1"),
        (_plan(latency_ms=(100, 300)), "two round trips"),
        (_plan(settings=MasterSettings(quorum=2, down_after_ms=400, failover_timeout_ms=9000)), "a slow answer"),
        (_plan(settings=MasterSettings(quorum=2, down_after_ms=300_000)), "for 300 s after the master's death"),
        (_plan(settings=MasterSettings(quorum=2, down_after_ms=4000, failover_timeout_ms=5000)), "is given up"),
        (_plan(settings=MasterSettings(quorum=2, failover_timeout_ms=8)), "are given up before the answers"),
        (_plan(replicas=3, settings=MasterSettings(quorum=2, parallel_syncs=2)), "all 2 other replicas"),
        (_placed("mrs,rs,s"), "without zone 1 is 1 server left, a master with no replicas"),
        (_placed("ms,rrs,s"), "without zone 2 is 1 server left, a master with no replicas"),
        (_placed("mrs,rs,s"), "zone 1 has the master and 1 replica, enough for"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_questionable_plan_is_questioned(plan: Plan, word: str) -> None:
    assert any(word in warning for warning in warnings(plan))


def test_what_makes_no_difference_is_not_questioned() -> None:
    """Zones that may be lost, replicas that would be left, latency between zones where there is one."""
    assert list(warnings(_placed("mss,rs,rss"))) == []
    assert list(warnings(_plan(zone_latency_ms=500))) == []
    assert list(warnings(_plan(settings=MasterSettings(quorum=2, parallel_syncs=5)))) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"servers": ()},
        {"sentinels": ()},
        {"sentinels": (0,) * 251},
        {"servers": (0, -1)},
        {"settings": MasterSettings(quorum=0)},
        {"settings": MasterSettings(quorum=1, down_after_ms=0)},
        {"settings": MasterSettings(quorum=1, failover_timeout_ms=0)},
        {"latency_ms": (5, 1)},
        {"zone_latency_ms": -1},
        {"min_replicas": -1},
    ],
    ids=str,
)
def test_what_no_plan_can_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must be|the least|numbered"):
        Plan(**{"settings": QUICK, **wrong})  # type: ignore[arg-type]


def _sample(plan: Plan, incident: str, seed: int = 1) -> Sample:
    return rehearsal.sample(Task(plan, incident, seed))


def test_a_dead_master_is_replaced_within_little_more_than_the_time_of_silence() -> None:
    sample = _sample(_plan(), "power")
    assert sample.recovered_ms is not None
    assert 900 < sample.recovered_ms < 3000
    assert not sample.dead_end


def test_a_healthy_master_stays() -> None:
    sample = _sample(_plan(), "pause")
    assert not sample.replaced
    assert not sample.false_failover


@pytest.mark.parametrize(("quorum", "replaced"), [(1, True), (2, False)])
def test_with_quorum_1_one_bad_connection_replaces_a_healthy_master(quorum: int, replaced: bool) -> None:
    """As the warning says: the others vote for whoever asks, whatever they see themselves (core.md 10.2)."""
    settings = MasterSettings(quorum=quorum, down_after_ms=1000, failover_timeout_ms=3000)
    sample = _sample(_plan(settings=settings), "half blind")
    assert sample.false_failover is replaced


def test_two_sentinels_with_quorum_1_elect_nobody_when_they_are_parted() -> None:
    """Not two masters either: a majority of two is two."""
    settings = MasterSettings(quorum=1, down_after_ms=1000, failover_timeout_ms=3000)
    sample = _sample(_plan(sentinels=2, zones=2, settings=settings), "zone cut off")
    assert not sample.replaced
    assert sample.dead_end


def test_two_sentinels_of_which_one_is_gone_are_a_dead_end_as_the_warning_says() -> None:
    sample = _sample(_plan(sentinels=2), "degraded")
    assert sample.dead_end
    assert sample.recovered_ms is None


def test_the_advice_about_min_replicas_is_worth_following() -> None:
    """A zone of the master and its client alone: what is written there is lost, and much less with the setting."""
    patient = MasterSettings(quorum=2, down_after_ms=15_000, failover_timeout_ms=20_000)
    lost = [_sample(_plan(zones=3, min_replicas=n, settings=patient), "zone cut off").lost for n in (0, 1)]
    assert lost[1] < lost[0] - 50


def test_a_client_whose_zone_has_no_sentinel_goes_on_writing_to_the_master_that_it_knows() -> None:
    """As one with a connection does: what it writes is lost like that of any other."""
    servers, sentinels = placed("m,rs,rs,s")
    sample = _sample(Plan(settings=QUICK, servers=servers, sentinels=sentinels), "zone cut off")
    assert sample.recovered_ms is not None
    assert sample.lost > 100


def test_a_cut_off_sentinel_stops_nobody_who_knows_the_master() -> None:
    settings = MasterSettings(quorum=1, down_after_ms=1000, failover_timeout_ms=3000)
    assert _sample(_plan(sentinels=1, settings=settings), "sentinel cut off").unavailable_ms < 1000


def test_what_min_replicas_to_write_does_to_zones_is_as_the_warnings_say() -> None:
    plan = _placed("mrs,rs,s")
    assert _sample(plan, "zone power").dead_end
    assert _sample(plan, "zone cut off").lost > 500
    assert not _sample(_placed("ms,rs,rs"), "zone power").dead_end


def test_a_short_failover_timeout_costs_attempts_as_the_warning_says() -> None:
    servers, sentinels = placed("ms,rs,rs")
    times = {}
    for timeout_ms in (300, 3000):
        settings = MasterSettings(quorum=2, down_after_ms=2400, failover_timeout_ms=timeout_ms)
        plan = Plan(settings=settings, servers=servers, sentinels=sentinels, zone_latency_ms=300, min_replicas=1)
        assert any("given up before" in warning for warning in warnings(plan)) is (timeout_ms == 300)
        times[timeout_ms] = [_sample(plan, "power", seed).recovered_ms or 10**6 for seed in range(4)]
    assert sum(times[300]) > sum(times[3000]) + 5000


def _outlook(plan: Plan, incident: str, runs: int) -> Outlook:
    outlook = Outlook(plan)
    for seed in range(runs):
        outlook.add(_sample(plan, incident, seed))
    return outlook


def test_writes_that_are_lost_on_the_return_are_told_with_their_reason() -> None:
    """A restarted sentinel names the old master until it hears better, and the old master takes writes again."""
    outlook, heedful = _outlook(_plan(zones=3, min_replicas=0), "degraded", 4), _outlook(_plan(zones=3), "degraded", 4)
    samples = outlook.samples["degraded"]
    assert any(sample.lost for sample in samples)
    assert all(sample.lost == sample.lost_on_return for sample in samples)
    (lesson,) = lessons(outlook)
    assert "let the old master come back last, or see what --min-replicas 1 makes of it" in lesson
    assert list(lessons(heedful)) == []


def test_other_lost_writes_are_told_with_the_worst_incident() -> None:
    (first, *_) = lessons(_outlook(_plan(zones=3, min_replicas=0), "zone cut off", 1))
    assert first.endswith("acknowledged writes were lost; see what --min-replicas 1 makes of it")


def test_a_dead_end_has_no_end_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Not the time after which the rehearsal loses its patience."""
    command._show_outlook(_outlook(_plan(replicas=0, min_replicas=0), "power", 2), PlainScreen())
    out = capsys.readouterr().out
    assert re.search(r"loses power +2 +never +never +never +no end +no end +0 +0\n", out)
    assert "in 2 of 2 runs nobody could write again until it was mended by hand" in out


def test_an_order_that_nothing_comes_of_is_told() -> None:
    (lesson,) = lessons(_outlook(_plan(replicas=0, min_replicas=0), "planned", 2))
    assert lesson == "an operator orders a failover: in 2 of 2 runs nothing came of it"


def test_an_incident_that_is_none_is_refused() -> None:
    with pytest.raises(KeyError, match="is none of dies, power"):
        rehearsal.rehearse(_plan(), "earthquake")


def test_times_that_nobody_can_wait_for_are_not_rehearsed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = tmp_path / "sentinel.conf"
    conf.write_text("sentinel monitor cache 10.0.0.5 6379 2\nsentinel down-after-milliseconds cache 86400000\n")
    assert main(["--config", str(conf)]) == CANNOT
    shown = capsys.readouterr()
    assert "for 86400 s after the master's death nobody replaces it" in shown.out
    assert "not rehearsed: a dead end would be waited for for 24 hours" in shown.err


def test_the_same_task_gives_the_same_sample() -> None:
    assert _sample(_plan(zones=3), "zone power", 5) == _sample(_plan(zones=3), "zone power", 5)


def test_percentiles_are_by_nearest_rank() -> None:
    assert [percentile([5, 1, 3, 2, 4], share) for share in (0.0, 0.5, 0.9, 1.0)] == [1, 3, 5, 5]
    assert percentile([7], 0.9) == 7


def test_a_configuration_is_rehearsed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = tmp_path / "sentinel.conf"
    conf.write_text(
        "sentinel monitor cache 10.0.0.5 6379 1\n"
        "sentinel down-after-milliseconds cache 1000\n"
        "sentinel failover-timeout cache 3000\n"
        "sentinel monitor other 10.0.0.6 6379 2\n"
    )
    before = conf.read_bytes()
    assert main(["--config", str(conf), "--sentinels", "4", "--zones", "2", "--runs", "1", "--jobs", "1"]) == 0
    out = capsys.readouterr().out
    assert "quorum 1, down after 1000 ms, failover timeout 3000 ms" in out
    assert "zone 2: 1 replica, 2 sentinels" in out
    assert "an even number of sentinels" in out
    assert "nothing below is about other\n" in out
    for incident in INCIDENTS.values():
        assert incident.title in out
    assert conf.read_bytes() == before


def test_a_configuration_that_cannot_be_used_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = tmp_path / "sentinel.conf"
    conf.write_text("sentinel monitor cache 10.0.0.5 6379 2\n")
    assert main(["--config", str(tmp_path / "nowhere.conf")]) == CANNOT
    assert main(["--config", str(conf), "--master", "elsewhere"]) == CANNOT
    assert main(["--config", str(conf), "--zones", "rs"]) == CANNOT
    conf.write_text("sentinel monitor cache\n")
    assert main(["--config", str(conf)]) == CANNOT
    assert len(capsys.readouterr().err.splitlines()) >= 4


@pytest.mark.parametrize("option", ["--replicas", "--sentinels"])
def test_counts_beside_places_are_refused(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Places say how many there are; which of the two was meant?"""
    conf = tmp_path / "sentinel.conf"
    conf.write_text("sentinel monitor cache 10.0.0.5 6379 2\n")
    with pytest.raises(SystemExit) as refused:
        main(["--config", str(conf), "--zones", "ms,rs", option, "5"])
    assert refused.value.code == CANNOT
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(f"trio-sentinel simulate: error: argument {option}: not allowed with the places of --zones")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "2 replicas and 3 sentinels are assumed"),
        ("--replicas 0", "  3 sentinels are assumed"),
        ("--sentinels 5 --zones 2", "  2 replicas are assumed"),
        ("--zones ms,rs", None),
        ("--replicas 1 --sentinels 3", None),
    ],
)
def test_what_the_file_does_not_know_is_told_to_be_assumed(
    words: str, told: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = tmp_path / "sentinel.conf"
    conf.write_text("sentinel monitor cache 10.0.0.5 6379 2\n")
    assert main(["--config", str(conf), "--seconds", "0", "--jobs", "1", *words.split()]) == 0
    out = capsys.readouterr().out
    assert ("assumed" in out) is (told is not None)
    assert told is None or told in out


def test_what_the_file_knows_is_not_assumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = tmp_path / "sentinel.conf"
    conf.write_text(
        "sentinel monitor cache 10.0.0.5 6379 2\n"
        "sentinel known-replica cache 10.0.0.6 6379\n"
        + "".join(f"sentinel known-sentinel cache 10.0.0.{n} 26379 {n:040x}\n" for n in range(1, 5))
    )
    assert main(["--config", str(conf), "--seconds", "0", "--jobs", "1"]) == 0
    out = capsys.readouterr().out
    assert "zone 1: 1 master, 1 replica, 5 sentinels" in out
    assert "assumed" not in out


def test_one_master_is_all_and_nothing_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = tmp_path / "sentinel.conf"
    conf.write_text("sentinel monitor cache 10.0.0.5 6379 2\n")
    assert main(["--config", str(conf), "--zones", "ms,rs", "--runs", "1", "--jobs", "1", "--seconds", "0"]) == 0
    assert "nothing below is about" not in capsys.readouterr().out


# ---------------------------------------------------------------- screens


HEADER = ("", "runs", "failover: median", "max")
ROWS = [("the master's machine loses power", "10", "30.1", "30.2"), ("the master hangs", "10", "-", "-")]


def _shown(screen: PlainScreen, capsys: pytest.CaptureFixture[str]) -> list[str]:
    screen.table(HEADER, ROWS)
    screen.note("Failover: from the incident to the first write on the new master, in seconds.")
    screen.warn("one sentinel: when it or its machine is gone, nobody replaces a dead master; run three")
    return capsys.readouterr().out.splitlines()


def test_what_is_too_wide_for_a_terminal_becomes_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    lines = _shown(PlainScreen(40), capsys)
    assert max(map(len, lines)) <= 40
    assert lines[:3] == [
        "  the master's machine loses power",
        "      runs 10, failover: median 30.1,",
        "      max 30.2",
    ]


@pytest.mark.parametrize("width", [None, 100])
def test_where_there_is_room_a_table_is_one(width: int | None, capsys: pytest.CaptureFixture[str]) -> None:
    """A file has room for everything."""
    lines = _shown(PlainScreen(width), capsys)
    assert lines[1] == "  the master's machine loses power    10              30.1  30.2"
    assert len(lines) == 5


@pytest.mark.parametrize("width", [30, 60, 100])
def test_a_coloured_screen_fits_too(width: int) -> None:
    rich = pytest.importorskip("rich.console")
    progress = pytest.importorskip("rich.progress")
    console = rich.Console(width=width, file=io.StringIO(), force_terminal=False)
    screen = RichScreen(console, progress.Progress(console=console))
    screen.table(HEADER, ROWS)
    screen.note("Failover: from the incident to the first write on the new master, in seconds.")
    screen.warn("one sentinel: when it or its machine is gone, nobody replaces a dead master; run three")
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    assert any("30.2" in line for line in lines)


def test_the_head_of_a_story_fits_and_breaks_between_names() -> None:
    report = run_options(draw(47))
    lines = list(itertools.takewhile(bool, timeline(report, width=60)))
    assert len(lines) > 3
    assert max(map(len, lines)) <= 60
    assert not any(re.search(r" [a-c]\d$", line) for line in lines)


def test_the_last_rows_are_as_many_as_asked_for() -> None:
    report = run_options(draw(1))
    head = len(list(timeline(report, last=0, width=500)))
    assert [len(list(timeline(report, last=last, width=500))) - head for last in (1, 3)] == [1, 3]
    assert len(list(timeline(report, last=10_000))) == len(list(timeline(report)))
