"""``trio-sentinel simulate``: seeds that look for mistakes of ours, one seed as a story, and a plan of yours."""

from __future__ import annotations

import argparse
import glob
import itertools
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from trio_sentinel.errors import ConfigError, StartupError
from trio_sentinel.model.settings import MasterSettings
from trio_sentinel.model.snapshot import MasterSnapshot
from trio_sentinel.model.values import is_ip
from trio_sentinel.sim import rehearsal
from trio_sentinel.sim.arguments import (
    CANNOT,
    INTERRUPTED,
    carried_out,
    count,
    jobs,
    positive,
    replayed,
    seconds,
    span,
    whole,
)
from trio_sentinel.sim.options import Options, draw
from trio_sentinel.sim.plan import Plan, placed, spread, warnings
from trio_sentinel.sim.pool import in_parallel
from trio_sentinel.sim.rehearsal import INCIDENTS, Outlook, Sample, percentile
from trio_sentinel.sim.runs import Report, excuses, run_options
from trio_sentinel.sim.screen import Screen, counted, open_screen
from trio_sentinel.sim.shrinking import shortened, shrink
from trio_sentinel.sim.soaks import FAST, Sum, run_quietly
from trio_sentinel.sim.timelines import timeline

NAME = "trio-sentinel simulate"
FOUND = 1
DEFAULT_RUNS = 10
"""Of each incident of a plan."""
DEFAULT_SECONDS = 30.0
DEFAULT_LATENCY_MS = 0, 2
LONGEST_MS = 6 * 3_600_000
"""Some ten minutes of real time for each run."""
NEVER_MS = 10**12


def main(argv: Sequence[str]) -> int:
    """Do what the words after ``simulate`` say and return the exit status.

    0: nothing was found; 1: a property is broken; 2: the words or the configuration cannot be used; 130: interrupted;
    141: nobody reads what is said. Raises SystemExit for ``--help`` and for words it does not know.
    """
    given = _parsed(argv)
    return carried_out(partial(_done, given), name=NAME)


def _done(given: argparse.Namespace) -> int:
    try:
        with open_screen(plain=given.plain) as screen:
            if given.config is not None:
                return _rehearse(given, screen)
            if given.replay is not None:
                return _tell(replayed(given.replay), given, screen)
            if given.seed is not None:
                return _tell(draw(given.seed), given, screen)
            return _search(given, screen)
    except ConfigError as error:
        print(f"{NAME}: {given.config}: {error}", file=sys.stderr)
    except (StartupError, ValueError) as error:
        print(f"{NAME}: {error}", file=sys.stderr)
    return CANNOT


MODES = ("config", "seed", "replay")
ONLY_WITH: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("master", "replicas", "sentinels", "zones", "latency", "zone_latency", "min_replicas"), ("config",)
    ),
    "last": ("seed", "replay"),
}
NOT_WITH: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("seconds", "runs", "first"), ("seed", "replay")),
    "no_shrink": MODES,
}


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    """Words that would be left out in silence are refused: whoever forgets --config does not want a search."""
    parser = _parser()
    given = parser.parse_args(argv)
    modes = [mode for mode in MODES if getattr(given, mode) is not None]
    if len(modes) > 1:
        parser.error(f"argument --{modes[1]}: not allowed with --{modes[0]}")
    for name, wanted in ONLY_WITH.items():
        if getattr(given, name) is not None and not set(modes) & set(wanted):
            parser.error(f"argument {_option(name)}: only with {' or '.join(map(_option, wanted))}")
    for name, unwanted in NOT_WITH.items():
        if getattr(given, name) not in (None, False) and set(modes) & set(unwanted):
            parser.error(f"argument {_option(name)}: not allowed with {_option(modes[0])}")
    if given.zones is not None and not given.zones.isdecimal():
        for option in ("replicas", "sentinels"):
            if getattr(given, option) is not None:
                letters = f"{given.zones} says already how many {option} there are"
                parser.error(f"argument --{option}: not allowed with the places of --zones: {letters}")
    return given


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="Simulate sentinels, servers and their bad luck on virtual time. Without options: random "
        "deployments under random faults, for half a minute, checked against the safety properties of the protocol. "
        "With --config: what your own deployment would live through. Exit status 1: a property was broken.",
        epilog="Examples: simulate --seconds 600; simulate --seed 47; simulate --config sentinel.conf --zones ms,rs,rs",
    )
    add = parser.add_argument
    add("--jobs", type=jobs, default=os.cpu_count() or 1, metavar="N", help="processes (default: one per CPU)")
    add("--plain", action="store_true", help="plain lines even on a terminal")
    seeds = parser.add_argument_group("search for mistakes")
    seeds.add_argument(
        "--seconds", type=seconds, metavar="S", help=f"how long (default {DEFAULT_SECONDS:.0f}); also with --config"
    )
    seeds.add_argument(
        "--runs",
        type=positive,
        metavar="N",
        help=f"how many seeds; with --config: how often each incident happens (default {DEFAULT_RUNS})",
    )
    seeds.add_argument("--first", type=whole, metavar="SEED", help="the first seed (default: a random one)")
    seeds.add_argument("--no-shrink", action="store_true", help="do not look for a shorter form of what is found")
    one = parser.add_argument_group("one run as a story, a column for each process")
    one.add_argument("--seed", type=whole, metavar="SEED", help="this one")
    one.add_argument("--replay", metavar="OPTIONS", help="options as a finding tells them")
    one.add_argument("--last", type=positive, metavar="ROWS", help="only the last rows")
    plan = parser.add_argument_group("your own deployment")
    plan.add_argument("--config", metavar="FILE", help="a sentinel.conf: its quorum, its timeouts, whom it knows")
    plan.add_argument("--master", metavar="NAME", help="which of its masters (default: the first)")
    plan.add_argument("--replicas", type=count, metavar="N", help="default: as many as the file knows, else 2")
    plan.add_argument("--sentinels", type=positive, metavar="N", help="default: as many as the file knows, else 3")
    plan.add_argument(
        "--zones",
        metavar="N|PLACES",
        help="how many zones everything is dealt out to in turn (default: 1), or what is in each: ms,rs,rs is a zone "
        "with the master and a sentinel, and two with a replica and a sentinel each",
    )
    plan.add_argument(
        "--latency", type=span, metavar="A..B", help="one way, in ms (default {}..{})".format(*DEFAULT_LATENCY_MS)
    )
    plan.add_argument("--zone-latency", type=count, metavar="MS", help="in addition between zones (default 0)")
    plan.add_argument(
        "--min-replicas", type=count, metavar="N", help="min-replicas-to-write of the servers (default 0)"
    )
    return parser


# ---------------------------------------------------------------- one run as a story


def _tell(options: Options, given: argparse.Namespace, screen: Screen) -> int:
    report = run_options(options)
    for line in timeline(report, width=screen.width, last=given.last):
        screen.say(line)
    screen.verdict(report.broken is None, report.line)
    return FOUND if report.broken is not None else 0


# ---------------------------------------------------------------- many seeds


def _search(given: argparse.Namespace, screen: Screen) -> int:
    first = random.SystemRandom().randrange(10**9) if given.first is None else given.first
    seeds: Iterator[int] = itertools.count(first)
    if given.runs is not None:
        seeds = itertools.islice(seeds, given.runs)
    limit_s = DEFAULT_SECONDS if given.seconds is None and given.runs is None else given.seconds
    lasting = "" if limit_s is None else f" for {limit_s:.0f} s"
    screen.say(
        f"Seeds from {first}, in {counted(given.jobs, 'process')}{lasting}. Each is a deployment and its bad luck."
    )
    tally, began_s = Sum(), time.monotonic()
    try:
        for report in in_parallel(partial(run_quietly, FAST), seeds, given.jobs):
            tally.add(report)
            if report.broken is not None:
                _show_finding(report, given, screen)
            past_s = time.monotonic() - began_s
            screen.progress(tally.runs, given.runs, _pace(tally, past_s))
            if limit_s is not None and past_s >= limit_s:
                break
    except KeyboardInterrupt:
        screen.warn(f"interrupted after {counted(tally.runs, 'run')}")
        if tally.runs:
            _show_tally(tally, time.monotonic() - began_s, screen)
        return INTERRUPTED
    _show_tally(tally, time.monotonic() - began_s, screen)
    return FOUND if tally.findings else 0


def _pace(tally: Sum, past_s: float) -> str:
    speed = tally.virtual_ms / 1000 / max(past_s, 0.001)
    failovers, findings = counted(tally.failovers, "failover"), counted(len(tally.findings), "finding")
    return f"{speed:,.0f} virtual s per s, {failovers}, {findings}"


def _show_finding(report: Report, given: argparse.Namespace, screen: Screen) -> None:
    screen.warn(f"seed {report.options.seed}: {report.broken}")
    screen.say(f"    the story:   trio-sentinel simulate --seed {report.options.seed}")
    if given.no_shrink:
        return
    shorter = shrink(report, seconds=30)
    if shorter is not report:
        screen.say(f"    made shorter ({shortened(report, shorter)}):")
        screen.say(f"    trio-sentinel simulate --replay '{shorter.options.text}'")


def _show_tally(tally: Sum, past_s: float, screen: Screen) -> None:
    hours = tally.virtual_ms / 3_600_000
    faults = sum(count for name, count in tally.seen.items() if name.startswith("fault "))
    screen.say(
        f"{counted(tally.runs, 'run')}, {hours:,.1f} hours of virtual time in {past_s:.0f} s; "
        f"{counted(faults, 'fault')}, {counted(tally.failovers, 'failover')}, "
        f"{counted(tally.acknowledged, 'acknowledged write')}, {tally.lost:,} of them lost"
    )
    screen.say(f"The {tally.without_writes}")
    let_off = excuses(tally.seen)
    if let_off:
        screen.say("Runs of which liveness was not demanded at the end, because nothing promises it there:")
        for reason, runs_of_it in let_off.items():
            screen.say(f"  {runs_of_it:>6,}  {reason}")
    runs = counted(tally.runs, "run")
    if tally.findings:
        screen.verdict(False, f"a property was broken in {len(tally.findings)} of {runs}")
    elif let_off:
        restless = sum(let_off.values())
        screen.verdict(True, f"every property held in {runs}, but {restless:,} did not come to rest (above)")
    else:
        screen.verdict(True, f"every property held in {runs}")


# ---------------------------------------------------------------- a plan


def _rehearse(given: argparse.Namespace, screen: Screen) -> int:
    masters = _configured(given.config)
    line = _chosen(masters, given)
    plan = _plan(line, given)
    screen.title(f"{plan.name}, as {given.config} has it")
    others = [other.name for other in masters if other.name != plan.name]
    if others:
        screen.say(f"  one master at a time (see --master), so nothing below is about {', '.join(others)}")
    _show_plan(plan, screen)
    assumed = _assumed(line, given)
    if assumed:
        screen.note(f"{' and '.join(assumed)} are assumed, because the file knows none (see --replicas, --sentinels)")
    screen.title("At first sight")
    doubts = list(warnings(plan))
    for doubt in doubts:
        screen.warn(doubt)
    if not doubts:
        screen.say("  nothing to object to")
    patience_ms = max(rehearsal.patience_ms(plan, incident) for incident in INCIDENTS.values())
    if patience_ms > LONGEST_MS:
        raise ValueError(
            f"not rehearsed: a dead end would be waited for for {patience_ms / 3_600_000:,.0f} hours of virtual time "
            f"(down-after-milliseconds and twice failover-timeout), and {LONGEST_MS // 3_600_000} are the most"
        )
    runs = given.runs or DEFAULT_RUNS
    screen.title(f"What it would live through: {counted(runs, 'time')} each, in virtual time")
    outlook, interrupted = Outlook(plan), False
    try:
        _fill(outlook, runs, given, screen)
    except KeyboardInterrupt:
        interrupted = True
    total = runs * len(rehearsal.incidents_of(plan))
    if outlook.count < total:
        screen.warn(
            f"{'interrupted' if interrupted else 'out of time'} after {outlook.count} of {counted(total, 'run')}"
        )
    if outlook.count:
        _show_outlook(outlook, screen)
    return INTERRUPTED if interrupted else 0


def _fill(outlook: Outlook, runs: int, given: argparse.Namespace, screen: Screen) -> None:
    began_s, total = time.monotonic(), runs * len(rehearsal.incidents_of(outlook.plan))
    tasks = rehearsal.tasks(outlook.plan, runs=runs, first_seed=given.first or 0)
    for sample in in_parallel(rehearsal.sample, tasks, given.jobs):
        outlook.add(sample)
        screen.progress(outlook.count, total, INCIDENTS[sample.incident].title)
        if given.seconds is not None and time.monotonic() - began_s >= given.seconds:
            break


ASSUMED = {"replicas": 2, "sentinels": 3}


def _assumed(line: MasterSnapshot, given: argparse.Namespace) -> list[str]:
    """What neither the file nor the command line says."""
    if given.zones is not None and not given.zones.isdecimal():
        return []
    known = {"replicas": line.replicas, "sentinels": line.peers}
    return [f"{many} {what}" for what, many in ASSUMED.items() if getattr(given, what) is None and not known[what]]


def _plan(line: MasterSnapshot, given: argparse.Namespace) -> Plan:
    replicas = given.replicas if given.replicas is not None else len(line.replicas) or ASSUMED["replicas"]
    sentinels = given.sentinels or (len(line.peers) + 1 if line.peers else ASSUMED["sentinels"])
    if given.zones is None or given.zones.isdecimal():
        servers_at, sentinels_at = spread(int(given.zones or 1), replicas=replicas, sentinels=sentinels)
    else:
        servers_at, sentinels_at = placed(given.zones)
    return Plan(
        name=line.name,
        settings=MasterSettings(
            quorum=line.settings.quorum,
            down_after_ms=line.settings.down_after_ms,
            failover_timeout_ms=line.settings.failover_timeout_ms,
            parallel_syncs=line.settings.parallel_syncs,
        ),
        servers=servers_at,
        sentinels=sentinels_at,
        latency_ms=given.latency or DEFAULT_LATENCY_MS,
        zone_latency_ms=given.zone_latency or 0,
        min_replicas=given.min_replicas or 0,
    )


def _configured(path: str) -> tuple[MasterSnapshot, ...]:
    """The masters that a configuration file watches. Raises ConfigError or StartupError."""
    from trio_sentinel.wire.conf import load_configuration

    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise StartupError(f"cannot read {path}: {error.strerror}") from error
    loaded = load_configuration(
        text,
        path=path,
        read_file=lambda included: Path(included).read_bytes(),
        glob_files=lambda pattern: sorted(glob.glob(pattern)),  # noqa: PTH207 - may be absolute
        is_executable=lambda script: True,
        resolve=lambda host: host if is_ip(host) else None,
        working_dir=str(Path.cwd()),
    )
    return loaded.snapshot.masters


def _chosen(masters: tuple[MasterSnapshot, ...], given: argparse.Namespace) -> MasterSnapshot:
    name: str | None = given.master
    found = next((line for line in masters if name in (None, line.name)), None)
    if found is None:
        raise ValueError(f"{given.config} watches no master" + ("" if name is None else f" named {name}"))
    return found


def _show_plan(plan: Plan, screen: Screen) -> None:
    settings = plan.settings
    screen.say(
        f"  quorum {settings.quorum}, down after {settings.down_after_ms} ms, failover timeout "
        f"{settings.failover_timeout_ms} ms, parallel syncs {settings.parallel_syncs}"
    )
    for zone in plan.zones:
        here = Counter("master" if n == 0 else "replica" for n, home in enumerate(plan.servers) if home == zone)
        here += Counter("sentinel" for home in plan.sentinels if home == zone)
        screen.say(f"  zone {zone + 1}: {', '.join(counted(many, what) for what, many in here.items())}")
    screen.say(f"  a leader needs {plan.votes_needed} of {len(plan.sentinels)} votes")


HEADER = ("", "runs", "failover: median", "p90", "max", "without writes: median", "max", "writes lost: median", "max")


def _show_outlook(outlook: Outlook, screen: Screen) -> None:
    rows = [_row(INCIDENTS[name].title, samples) for name, samples in outlook.samples.items()]
    screen.table(HEADER, rows)
    screen.note(
        "Failover: from the incident to the first write on the new master, in seconds; never: when nobody could write "
        f"until it was mended by hand. A client in each zone writes every {rehearsal.WRITE_MS} ms; those in a zone "
        "that is itself lost or cut off do not count as being without writes, but what they wrote is counted when it "
        f"is lost. {rehearsal.AFTERMATH_MS // 1000} s after the failover all is mended at once."
    )
    told = list(rehearsal.lessons(outlook))
    screen.title("What to learn from it")
    for lesson in told:
        screen.warn(lesson)
    if not told:
        screen.say("  no dead end, no false failover, no lost write")


def _row(title: str, samples: list[Sample]) -> tuple[str, ...]:
    times = [NEVER_MS if one.dead_end else one.recovered_ms for one in samples]
    took = [time_ms for time_ms in times if time_ms is not None]
    gaps = [NEVER_MS if one.dead_end else one.unavailable_ms for one in samples]
    lost = [one.lost for one in samples]
    failover = ("-", "-", "-")
    if took:
        failover = (_seconds(percentile(took, 0.5)), _seconds(percentile(took, 0.9)), _seconds(max(took)))
    return (
        title,
        str(len(samples)),
        *failover,
        _seconds(percentile(gaps, 0.5)).replace("never", "no end"),
        _seconds(max(gaps)).replace("never", "no end"),
        str(percentile(lost, 0.5)),
        str(max(lost)),
    )


def _seconds(length_ms: int) -> str:
    return "never" if length_ms >= NEVER_MS else f"{length_ms / 1000:.1f}"
