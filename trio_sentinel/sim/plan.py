"""A deployment as somebody runs it or means to run it, and what can be said of it without running anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from attrs import frozen

from trio_sentinel.model.settings import MasterSettings
from trio_sentinel.sim.screen import counted

MOST = 250
"""So many zones, and servers and sentinels, have addresses in a rehearsal."""
PATIENCE_MS = 120_000
"""Longer than four times stock's default nobody waits for a failover without knowing."""


@frozen(kw_only=True)
class Plan:
    """One master with its replicas, the sentinels that watch it, and where they all are. Lengths in ms."""

    name: str = "mymaster"
    settings: MasterSettings
    servers: tuple[int, ...] = (0, 0, 0)
    """The zone of each server; the first is the master."""
    sentinels: tuple[int, ...] = (0, 0, 0)
    """The zone of each sentinel."""
    latency_ms: tuple[int, int] = (0, 2)
    zone_latency_ms: int = 0
    """What a packet needs in addition from one zone to another."""
    min_replicas: int = 0
    """``min-replicas-to-write`` of the servers."""

    def __attrs_post_init__(self) -> None:
        """Raises ValueError for what no deployment can be."""
        settings, latency_ms = self.settings, self.latency_ms
        homes = {"servers": self.servers, "sentinels": self.sentinels}
        for what, zones in homes.items():
            _require(1 <= len(zones) <= MOST, f"{len(zones)} {what}: there must be 1 to {MOST}")
            _require(all(0 <= zone < MOST for zone in zones), f"zones are numbered from 0 to {MOST - 1}")
        _require(settings.quorum >= 1, f"quorum {settings.quorum}: it must be 1 or more")
        for option in ("down_after_ms", "failover_timeout_ms"):
            length_ms = getattr(settings, option)
            _require(length_ms >= 1, f"{option} {length_ms}: it must be 1 or more")
        _require(0 <= latency_ms[0] <= latency_ms[1], f"latency {latency_ms}: the least, and the most")
        _require(self.zone_latency_ms >= 0, f"zone latency {self.zone_latency_ms}: it must be 0 or more")
        _require(self.min_replicas >= 0, f"min-replicas {self.min_replicas}: it must be 0 or more")

    @property
    def zones(self) -> tuple[int, ...]:
        """All zones, in order."""
        return tuple(sorted({*self.servers, *self.sentinels}))

    @property
    def majority(self) -> int:
        """How many sentinels must vote for a leader, at least."""
        return len(self.sentinels) // 2 + 1

    @property
    def votes_needed(self) -> int:
        """How many votes make a leader: a majority, and at least the quorum."""
        return max(self.majority, self.settings.quorum)


def _require(fact: bool, otherwise: str) -> None:
    if not fact:
        raise ValueError(otherwise)


def spread(zones: int, *, replicas: int, sentinels: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Servers and sentinels dealt out to so many zones in turn. Raises ValueError when there is none."""
    if zones < 1:
        raise ValueError(f"{zones} zones: there must be one or more")
    return tuple(n % zones for n in range(replicas + 1)), tuple(n % zones for n in range(sentinels))


def placed(words: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Zones as words: ``ms,rs,rs`` is a zone with the master and a sentinel and two with a replica and a sentinel each.

    Raises ValueError for other letters and unless there is exactly one master.
    """
    masters: list[int] = []
    replicas: list[int] = []
    sentinels: list[int] = []
    for zone, letters in enumerate(words.split(",")):
        for letter in letters.strip().lower():
            if letter not in "mrs":
                raise ValueError(f"'{letter}' is none of m (master), r (replica) and s (sentinel)")
            {"m": masters, "r": replicas, "s": sentinels}[letter].append(zone)
    if len(masters) != 1 or not sentinels:
        raise ValueError("there must be one m (the master), and at least one s (a sentinel)")
    return (*masters, *replicas), tuple(sentinels)


# ---------------------------------------------------------------- what can be said at once


def warnings(plan: Plan) -> Iterator[str]:
    """What is questionable about a plan, worst first."""
    yield from _about_votes(plan)
    yield from _about_quorum(plan)
    yield from _about_servers(plan)
    yield from _about_zones(plan)
    yield from _about_times(plan)


def _about_votes(plan: Plan) -> Iterator[str]:
    count = len(plan.sentinels)
    if count == 1:
        yield "one sentinel: when it or its machine is gone, nobody replaces a dead master; run three"
    elif count == 2:
        yield (
            "two sentinels: a leader needs 2 votes of 2, so with either of them gone nobody replaces a dead master; "
            "run three"
        )
    elif count % 2 == 0:
        yield (
            f"an even number of sentinels: {count} survive the loss of {count - plan.majority}, as {count - 1} do, and "
            "a partition into equal halves leaves no side that can act"
        )


def _about_quorum(plan: Plan) -> Iterator[str]:
    quorum, count = plan.settings.quorum, len(plan.sentinels)
    if quorum > count:
        yield (
            f"quorum {quorum} with {counted(count, 'sentinel')}: the master can never be found down, so nobody will "
            "replace it"
        )
    elif quorum > plan.majority:
        yield (
            f"quorum {quorum} is more than a majority of {count}: {count - quorum or 'none'} of them may be missing, "
            f"where a quorum of {plan.majority} would allow {count - plan.majority}"
        )
    elif quorum == 1 and count > 1:
        yield (
            "quorum 1: a single sentinel with a bad connection is enough to have a healthy master replaced; "
            f"a quorum of {plan.majority} needs as many witnesses as votes"
        )


def _about_servers(plan: Plan) -> Iterator[str]:
    replicas = len(plan.servers) - 1
    if replicas == 0:
        yield "no replica: there is nothing to promote"
    elif replicas == 1:
        yield "one replica: after a failover there is none left until the old master is back"
    if replicas and not plan.min_replicas:
        yield (
            "min-replicas-to-write is not set on the servers (or not told, see --min-replicas): a master that is cut "
            "off goes on taking writes, and all of them are lost when it is replaced"
        )
    if plan.min_replicas > replicas:
        yield (
            f"min-replicas-to-write {plan.min_replicas} with {counted(replicas, 'replica')}: no write is ever accepted"
        )
    elif plan.min_replicas and plan.min_replicas == replicas:
        yield (
            f"min-replicas-to-write {plan.min_replicas} with {counted(replicas, 'replica')}: any replica's loss stops "
            "writes, and after a failover none is accepted until the old master is back"
        )
    others = replicas - 1
    if others > 1 and plan.settings.parallel_syncs >= others:
        yield (
            f"parallel-syncs {plan.settings.parallel_syncs}: after a failover all {others} other replicas may be "
            "loading the new master's data at once, and none of them answers meanwhile"
        )


def _about_zones(plan: Plan) -> Iterator[str]:
    if len(plan.zones) == 1:
        return
    homes = Counter(plan.sentinels)
    if len(homes) == 1:
        yield f"all sentinels are in zone {plan.sentinels[0] + 1}: when it is lost, nobody replaces a dead master"
    else:
        for zone, here in sorted(homes.items()):
            if len(plan.sentinels) - here < plan.votes_needed:
                yield (
                    f"without zone {zone + 1} {_are(len(plan.sentinels) - here, 'sentinel')} left, and a leader needs "
                    f"{counted(plan.votes_needed, 'vote')}: when that zone is lost, nobody replaces a dead master"
                )
    if len(set(plan.servers)) == 1:
        yield f"all servers are in zone {plan.servers[0] + 1}: when it is lost, there is nothing to promote"
    else:
        yield from _about_replicas_in_zones(plan)


def _about_replicas_in_zones(plan: Plan) -> Iterator[str]:
    """What ``min-replicas-to-write`` comes to when a zone is lost, or alone."""
    wanted, servers, home = plan.min_replicas, Counter(plan.servers), plan.servers[0]
    replicas = len(plan.servers) - 1
    if not wanted or wanted >= replicas:
        return
    for zone, here in sorted(servers.items()):
        left = replicas - here
        if left < wanted:
            yield (
                f"without zone {zone + 1} {_are(left + 1, 'server')} left, a master with {left or 'no'} "
                f"replica{'s' * (left != 1)}: with min-replicas-to-write {wanted} it takes no writes until that zone "
                "is back"
            )
    if servers[home] - 1 >= wanted:
        yield (
            f"zone {home + 1} has the master and {counted(servers[home] - 1, 'replica')}, enough for "
            f"min-replicas-to-write {wanted}: when that zone is cut off, the old master goes on taking writes, and all "
            "of them are lost when it is replaced"
        )


def _are(number: int, what: str) -> str:
    """Such as: is 1 sentinel."""
    return f"{'is' if number == 1 else 'are'} {counted(number, what)}"


def _about_times(plan: Plan) -> Iterator[str]:
    settings = plan.settings
    round_trip_ms = 2 * (plan.latency_ms[1] + (plan.zone_latency_ms if len(plan.zones) > 1 else 0))
    if settings.down_after_ms <= 2 * round_trip_ms:
        yield (
            f"down-after-milliseconds {settings.down_after_ms} is within two round trips ({2 * round_trip_ms} ms): "
            "healthy servers will be found down"
        )
    elif settings.down_after_ms < 1000:
        yield (
            f"down-after-milliseconds {settings.down_after_ms}: a slow answer (a fork, a big key, a pause of the "
            "machine) is a failover"
        )
    elif settings.down_after_ms > PATIENCE_MS:
        yield (
            f"down-after-milliseconds {settings.down_after_ms}: for {settings.down_after_ms // 1000} s after the "
            "master's death nobody replaces it"
        )
    if settings.failover_timeout_ms <= 2 * round_trip_ms:
        yield (
            f"failover-timeout {settings.failover_timeout_ms} is within two round trips ({2 * round_trip_ms} ms): "
            "elections and promotions are given up before the answers are there"
        )
    elif settings.failover_timeout_ms < 2 * settings.down_after_ms:
        yield (
            f"failover-timeout {settings.failover_timeout_ms} is short beside down-after-milliseconds "
            f"{settings.down_after_ms}: a promotion that takes a little longer is given up"
        )
