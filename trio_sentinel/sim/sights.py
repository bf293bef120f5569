"""Interesting states that a run may come through, counted when they are met: a search that never meets them proves
little (``soaks.SOMETIMES``). Nothing here judges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from trio_sentinel.model import events as e
from trio_sentinel.model.state import Master, ReconfiguringReplicas, SentinelState, UpdatingConfig

YOUNG_MS = 2000
"""A process is young for so long."""


def look(seen: Counter[str], state: SentinelState, event: e.Event, age_ms: int) -> None:
    """Count what is interesting about an event, which comes when `state` was before it."""
    sight = SIGHTS.get(type(event))
    if sight is not None:
        seen.update(sight(state, event, age_ms))


def at_death(seen: Counter[str], state: SentinelState) -> None:
    """A process dies, or the run is over."""
    for master in state.masters.values():
        if master.failover is not None:
            seen[f"death of a leader or candidate in {type(master.failover.phase).__name__}"] += 1


def _started(state: SentinelState, event: e.FailoverStarted, age_ms: int) -> Iterator[str]:
    if any(other.failover is not None for other in state.masters.values()):
        yield "two failovers of one sentinel at once"
    if age_ms < YOUNG_MS:
        yield "an attempt right after a start"


def _switched(state: SentinelState, event: e.MasterSwitched, age_ms: int) -> Iterator[str]:
    running = _master(state, event).failover
    if event.by is not None and running is not None:
        if isinstance(running.phase, ReconfiguringReplicas | UpdatingConfig):
            yield "a leader is overtaken while it brings replicas over"
        else:
            yield "a candidate is overtaken by a configuration"


def _ended(state: SentinelState, event: e.FailoverEnded, age_ms: int) -> Iterator[str]:
    if event.timed_out:
        yield "a failover ends out of time"


def _aborted(state: SentinelState, event: e.FailoverAborted, age_ms: int) -> Iterator[str]:
    if event.retry_at_ms is not None:
        yield "an election that nobody can win any more"
    yield f"given up: {event.reason.value}"


def _down(state: SentinelState, event: e.WentDown, age_ms: int) -> Iterator[str]:
    running = _master(state, event).failover
    if running is not None and event.address is not None and running.promoted == event.address:
        yield "the chosen replica goes down"
    if running is not None and event.run_id is not None:
        yield "a peer goes down during a failover"


def _back(state: SentinelState, event: e.CameBack, age_ms: int) -> Iterator[str]:
    running, master = _master(state, event).failover, _master(state, event)
    if running is not None and event.run_id is None and event.address == master.address:
        yield "the old master comes back during a failover"


def _failed(state: SentinelState, event: e.DiskFailed, age_ms: int) -> Iterator[str]:
    if any(master.failover is not None for master in state.masters.values()):
        yield "a save fails during a failover"


def _evicted(state: SentinelState, event: e.PeerEvicted, age_ms: int) -> Iterator[str]:
    yield "a peer is evicted from its address"


def _reset(state: SentinelState, event: e.MasterReset | e.MasterRemoved, age_ms: int) -> Iterator[str]:
    if _master(state, event).failover is not None:
        yield "RESET or REMOVE during a failover"


def _tilt(state: SentinelState, event: e.TiltEntered, age_ms: int) -> Iterator[str]:
    if any(master.failover is not None for master in state.masters.values()):
        yield "TILT during a failover"


def _master(state: SentinelState, event: Any) -> Master:
    master: Master = state.masters[event.subject.master]
    return master


SIGHTS: dict[type[e.Event], Callable[[SentinelState, Any, int], Iterator[str]]] = {
    e.FailoverStarted: _started,
    e.MasterSwitched: _switched,
    e.FailoverEnded: _ended,
    e.FailoverAborted: _aborted,
    e.WentDown: _down,
    e.CameBack: _back,
    e.DiskFailed: _failed,
    e.PeerEvicted: _evicted,
    e.MasterReset: _reset,
    e.MasterRemoved: _reset,
    e.TiltEntered: _tilt,
}
