"""Which replica is promoted: the filters, one sort key, and why each other one lost (core.md 11.3).

Upstream's filters and order are kept. Two rules are added (core.md Q8). Of the replicas, one that never finished a
synchronisation comes last. A server that says it is a master comes after all of them, and only if the master is down:
when an old master has just come back and the new one dies, there may be nobody else, now or ever.
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

from trio_sentinel.model.observations import ServerSense
from trio_sentinel.model.situation import Situation
from trio_sentinel.model.state import Master, Replica
from trio_sentinel.model.values import Address, Role

NEVER_SYNCED_MS = -1000
"""`master_link_down_since_seconds:-1` of a replica that never had its link up."""

Rank: TypeAlias = tuple[bool, bool, int, int, bool, str]
"""Whether it says it is a master, then the sort key; the smallest is best."""
_REASONS = (
    "says it is a master",
    "never synchronised",
    "lower priority",
    "smaller replication offset",
    "no run id",
    "larger run id",
)
"""Why a rank is behind another, for the first place where they differ."""


@frozen
class Ranking:
    """The best replica, if any, and the reason for each other one."""

    best: Address | None
    losers: tuple[tuple[Address, str], ...]


def disqualified(s: Situation, master: Master, replica: Replica) -> str | None:
    """The filter that `replica` fails, or None."""
    sense = s.server(master, replica.address)
    timing = s.state.timing
    info_limit = 5 * timing.ping_period_ms if master.s_down else 3 * timing.info_period_ms
    down_for = s.now_ms - master.s_down_since_ms if master.s_down and master.s_down_since_ms is not None else 0
    if replica.s_down:
        return "subjectively down"
    if not sense.command.open:
        return "not connected"
    if s.now_ms - sense.last_ok_at_ms > 5 * timing.ping_period_ms:
        return "no good PING reply lately"
    if sense.priority == 0:
        return "priority 0"
    if sense.info_at_ms is None or s.now_ms - sense.info_at_ms > info_limit:
        return "INFO too old"
    if sense.master_link_down_ms > 10 * master.settings.down_after_ms + down_for:
        return "cut off from the master for too long"
    if replica.role is not Role.REPLICA and not master.s_down:
        return "says it is a master"
    return None


def sort_key(sense: ServerSense, run_id: str | None) -> tuple[bool, int, int, bool, str]:
    """Smallest is best: synchronised, low priority number, high offset, then the run id."""
    never_synced = sense.master_link_down_ms == NEVER_SYNCED_MS
    return never_synced, sense.priority, -sense.repl_offset, run_id is None, (run_id or "").lower()


def rank(s: Situation, master: Master) -> Ranking:
    """Choose among the replicas of `master` as they are known now."""
    losers: list[tuple[Address, str]] = []
    eligible: list[tuple[Rank, Address]] = []
    for replica in master.replicas.values():
        reason = disqualified(s, master, replica)
        if reason is not None:
            losers.append((replica.address, reason))
        else:
            key = sort_key(s.server(master, replica.address), replica.run_id)
            eligible.append(((replica.role is not Role.REPLICA, *key), replica.address))
    eligible.sort()
    if not eligible:
        return Ranking(None, tuple(losers))
    best_key, best = eligible[0]
    losers.extend((address, _why_behind(key, best_key)) for key, address in eligible[1:])
    return Ranking(best, tuple(losers))


def _why_behind(key: Rank, best: Rank) -> str:
    for reason, mine, other in zip(_REASONS, key, best, strict=True):
        if mine != other:
            return reason
    return "same rank"
