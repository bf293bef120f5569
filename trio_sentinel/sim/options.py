"""A seed makes a deployment and its bad luck: some faults off altogether, others wild (swarm testing).

Runs in which everything goes wrong a little all look alike; runs in which one thing goes wrong all the time do not.
"""

from __future__ import annotations

import json
import random
from typing import Any

from attrs import evolve, fields, frozen

from trio_sentinel.model.rhythm import PINGS_A_SECOND

FAULTS: tuple[str, ...] = (
    "kill server",
    "power off server",
    "freeze server",
    "server in a mood",
    "server loses data",
    "pause writes",
    "priorities",
    "replica astray",
    "info lag",
    "crash sentinel",
    "power off sentinel",
    "trap sentinel",
    "freeze sentinel",
    "failing disk",
    "slow disk",
    "wall clock step",
    "copied file",
    "new identity",
    "one-way cut",
    "cut",
    "isolate host",
    "partition",
    "slow link",
    "operator failover",
    "operator coordinated",
    "operator set",
    "operator reset",
    "operator remove",
    "operator crash points",
    "orders refused",
    "announced elsewhere",
    "second name",
    "bad hello",
    "torn write",
    "operator overtakes",
    "slow names",
    "names fail",
    "wrong name",
    "lossy link",
)
CALM_MS = 25_000
"""For how long nothing may happen any more at the end of a thorough run."""
OURS = "ours"
MEMBERS: tuple[str, ...] = (OURS, "redis 7", "valkey 9")
MIXED_SHARE = 0.25
"""How many of the runs have stock sentinels in their quorum."""
UNANNOUNCED_SHARE = 0.04
"""How many of the runs have replicas that clients are not told of."""
QUICK_PINGS_SHARE = 0.05
"""How many of the runs PING more than once a second: they cost three times as much."""
LOSS_SHARE = 0.2
"""How many of the runs lose packets."""
LATER_FAULTS = ("lossy link",)
"""They came later and have dice of their own: a new fault in the list would change the options of every seed."""
NAME_FAULTS = ("slow names", "names fail", "wrong name")
"""Whoever has one of them has servers with host names."""
RARE: frozenset[str] = frozenset(
    {
        "copied file",
        "new identity",
        "operator reset",
        "operator remove",
        "operator set",
        "server loses data",
        "announced elsewhere",
        "second name",
        "bad hello",
        *NAME_FAULTS,
    }
)
"""They lift conditions of some properties, so most runs do without them."""
FAILOVER_MAKERS: frozenset[str] = frozenset(
    {"kill server", "power off server", "freeze server", "isolate host", "partition", "operator failover"}
)
"""Every run has one of them: traps need somebody who walks."""


@frozen(kw_only=True)
class Options:
    """Everything that is decided before a run begins. Lengths in ms."""

    seed: int
    sentinels: int = 3
    masters: int = 1
    replicas: int = 2
    quorum: int = 2
    down_after_ms: int = 1000
    failover_timeout_ms: int = 6000
    parallel_syncs: int = 1
    latency_ms: tuple[int, int] = (0, 2)
    save_ms: tuple[int, int] = (1, 4)
    clock_ppm: tuple[int, ...] = ()
    repl_timeout_ms: int = 10_000
    resync_ms: tuple[int, int] = (0, 0)
    """How long a replica takes to get all data of its master."""
    backlog_writes: int = 1_000_000
    """With so many writes at most a replica may continue where it was."""
    weights: tuple[tuple[str, int], ...] = ()
    """Faults that happen, and how often compared with each other."""
    pause_ms: int = 5000
    """Mean time between two faults."""
    harm_ms: int = 60_000
    calm_ms: int = CALM_MS
    """How long everything must stay at rest, once it is."""
    write_ms: int = 250
    pings_a_second: int = 0
    """What each of our sentinels may spend to PING more often than once a second, as the daemon does."""
    unannounced: bool = False
    """Whether each master's first replica has ``replica-announced no``."""
    named: bool = False
    """Whether servers have host names, which everybody resolves and tells; only without stock members."""
    spared: tuple[int, ...] = ()
    """Numbers of faults that do not happen: how a finding is made shorter."""
    members: tuple[str, ...] = ()
    """What kind each sentinel is of: `ours`, `redis 7` or `valkey 9`; those that are not named are ours."""

    @property
    def mixed(self) -> bool:
        """Whether a stock sentinel is among them."""
        return any(member != OURS for member in self.members)

    @property
    def text(self) -> str:
        """All that is not as by default, in one line; ``parse`` reads it."""
        plain = Options(seed=self.seed)
        chosen = {field.name: getattr(self, field.name) for field in fields(Options)}
        told = {name: value for name, value in chosen.items() if name == "seed" or value != getattr(plain, name)}
        return json.dumps(told, separators=(",", ":"))


def parse(text: str) -> Options:
    """Options that were told as ``Options.text``. Raises ValueError."""
    try:
        told = json.loads(text)
        known = {field.name: field for field in fields(Options)}
        return Options(**{known[name].name: _frozen(value) for name, value in told.items()})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no options of a run: {error}") from error


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def draw(seed: int) -> Options:
    """The options of a seed. Most runs are short: what ten bad seconds do not find, sixty of the same kind seldom do,
    and more seeds are more kinds."""
    dice = random.Random(f"options {seed}")
    sentinels = dice.choice((1, 2, *[3] * 14, 4, 4, 5, 5, 5, 5, 5, 7))
    majority = sentinels // 2 + 1
    down_after_ms = dice.choice((300, 1000, 1000, 2000, 5000))
    latency_ms = dice.choice(((0, 2), (0, 2), (1, 20), (0, 150), (40, 60)))
    if 8 * latency_ms[1] > down_after_ms:
        latency_ms = (0, 2)  # whoever calls that down has what was asked for
    weights, members = (*_weights(dice), *_later_weights(seed)), _members(seed, sentinels)
    plain = Options(
        seed=seed,
        sentinels=sentinels,
        masters=dice.choice((1, 1, 1, 1, 2, 3)),
        replicas=dice.choice((1, 2, 2, 2, 3, 4)),
        quorum=dice.choice((majority, majority, majority, 1, max(1, sentinels // 2), sentinels)),
        down_after_ms=down_after_ms,
        failover_timeout_ms=dice.choice((1500, 3000, 6000, 6000, 12_000, 20_000)),
        parallel_syncs=dice.choice((1, 1, 2, 3)),
        latency_ms=latency_ms,
        save_ms=dice.choice(((1, 4), (1, 4), (0, 0), (5, 60), (1, 900))),
        clock_ppm=tuple(dice.choice((0, 0, 200, -200, 20_000, -20_000)) for _ in range(sentinels)),
        repl_timeout_ms=dice.choice((3000, 10_000, 60_000)),
        weights=weights,
        pause_ms=dice.choice((300, 700, 1500, 1500, 4000)),
        harm_ms=dice.choice((5000, 5000, 8000, 8000, 8000, 15_000, 15_000, 45_000)),
        calm_ms=dice.choice((*[2000] * 7, CALM_MS)),
        pings_a_second=PINGS_A_SECOND if dice.random() < QUICK_PINGS_SHARE else 0,
        named=not members and any(name in NAME_FAULTS for name, _ in weights),
        members=members,
    )
    return _with_replication(plain)


def _with_replication(options: Options) -> Options:
    """How replicas get a copy of everything: mostly at once, sometimes in seconds, but never so long that a failover
    cannot wait for it; and how much they may have missed to do without."""
    dice = random.Random(f"replication {options.seed}")
    longest_ms = options.failover_timeout_ms // 3
    low, high = dice.choice(((0, 0), (5, 50), (5, 50), (50, 300), (500, 3000)))
    resync_ms = min(low, longest_ms), min(high, longest_ms)
    backlog_writes = dice.choice((1_000_000, 1_000_000, 20, 2))
    unannounced = dice.random() < UNANNOUNCED_SHARE
    return evolve(options, resync_ms=resync_ms, backlog_writes=backlog_writes, unannounced=unannounced)


def _members(seed: int, sentinels: int) -> tuple[str, ...]:
    """Who sits in the quorum: in most runs only ours, in some a mixture, and now and then only stock."""
    dice = random.Random(f"members {seed}")
    if dice.random() >= MIXED_SHARE:
        return ()
    kinds = dice.choice((MEMBERS, MEMBERS, (OURS, "redis 7"), (OURS, "valkey 9"), MEMBERS[1:]))
    return tuple(dice.choice(kinds) for _ in range(sentinels))


def _weights(dice: random.Random) -> tuple[tuple[str, int], ...]:
    """Half of the faults or fewer, in very unequal parts."""
    share = dice.choice((0.15, 0.3, 0.5))
    early = (name for name in FAULTS if name not in LATER_FAULTS)
    chosen = [name for name in early if dice.random() < (share / 3 if name in RARE else share)]
    if not any(name in FAILOVER_MAKERS for name in chosen):
        chosen.append("kill server")
    return tuple((name, dice.choice((1, 1, 2, 5, 20))) for name in chosen)


def _later_weights(seed: int) -> tuple[tuple[str, int], ...]:
    dice = random.Random(f"loss {seed}")
    return (("lossy link", dice.choice((1, 2, 5, 20))),) if dice.random() < LOSS_SHARE else ()
