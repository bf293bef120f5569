"""Event -> effects: the one table of consequences. Every order has its line here, or a due time in ``rhythm.py``.

``REACT`` holds the rows that order something; every event is announced besides. Called after the event was applied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from trio_sentinel.model import events as e
from trio_sentinel.model.effects import (
    Announce,
    Crash,
    Effect,
    HandOver,
    KillClients,
    PauseWriters,
    Promote,
    ReleaseWriters,
    Repoint,
    RunReconfigScript,
)
from trio_sentinel.model.situation import Situation
from trio_sentinel.model.state import Manner, Master
from trio_sentinel.model.values import Address


def react(s: Situation, event: e.Event, script: str | None) -> Iterator[Effect]:
    """What must be done because of `event`; ``script`` is the notification script of its master."""
    rule = REACT.get(type(event))
    if rule is not None and type(event) not in _AFTER_THE_NEWS:
        yield from rule(s, event)
    yield Announce(event, script)
    if rule is not None and type(event) in _AFTER_THE_NEWS:
        yield from rule(s, event)


def _master(s: Situation, event: Any) -> Master:
    return s.state.masters[event.subject.master]


def _leader_elected(s: Situation, event: e.LeaderElected) -> Iterator[Effect]:
    if s.state.crash_after_election:
        yield Crash()


def _promotion_sent(s: Situation, event: e.PromotionSent) -> Iterator[Effect]:
    master = _master(s, event)
    if event.handover_ms is None:
        yield Promote(master.link(event.address))
    else:
        host = s.state.shown(event.address.host)
        yield HandOver(master.link(), host, event.address.port, event.handover_ms, at_once=event.caught_up)


def _writers_paused(s: Situation, event: e.WritersPaused) -> Iterator[Effect]:
    yield PauseWriters(_master(s, event).link(), event.pause_ms)


def _failover_aborted(s: Situation, event: e.FailoverAborted) -> Iterator[Effect]:
    if event.release is not None:
        yield ReleaseWriters(_master(s, event).link(), call_off=event.release is e.Release.CALL_OFF)


def _promotion_published(s: Situation, event: e.PromotionPublished) -> Iterator[Effect]:
    if s.state.crash_after_promotion:
        yield Crash()
    master = _master(s, event)
    failover = master.failover
    assert failover is not None and failover.promoted is not None
    if failover.manner is Manner.COORDINATED:
        yield KillClients(master.link())
        yield KillClients(master.link(failover.promoted))
    elif not master.s_down and s.server(master).command.open:
        # Nothing can stop the switch any more, so a master that is still there must not take another write: stock
        # lets it go on for eight seconds and more, and all that is lost. Its clients are cut off and ask anew.
        yield _repoint(s, master, master.address, failover.promoted)
    yield from _reconfig_script(s, master, "leader", master.address, failover.promoted)


def _reconfig_script(s: Situation, master: Master, role: str, old: Address, new: Address) -> Iterator[Effect]:
    path = master.settings.client_reconfig_script
    if path is not None:
        ends = (s.state.shown(old.host), str(old.port), s.state.shown(new.host), str(new.port))
        yield RunReconfigScript(path, (master.name, role, "start", *ends))


def _repoint(s: Situation, master: Master, replica: Address, to: Address) -> Effect:
    sense = s.server(master, replica)
    return Repoint(master.link(replica), s.state.shown(to.host), to.port, abort_handover=sense.handing_over)


def _follow_promoted(s: Situation, event: e.ReconfSent | e.ReconfTimedOut) -> Iterator[Effect]:
    master = _master(s, event)
    assert master.failover is not None and master.failover.promoted is not None
    yield _repoint(s, master, event.address, master.failover.promoted)


def _follow_master(s: Situation, event: e.ReplicaConverted | e.ReplicaRepointed) -> Iterator[Effect]:
    master = _master(s, event)
    yield _repoint(s, master, event.address, master.address)


def _master_switched(s: Situation, event: e.MasterSwitched) -> Iterator[Effect]:
    if event.by is not None:
        yield from _reconfig_script(s, _master(s, event), "observer", event.old, event.new)


REACT: dict[type[e.Event], Callable[[Situation, Any], Iterator[Effect]]] = {
    e.LeaderElected: _leader_elected,
    e.WritersPaused: _writers_paused,
    e.FailoverAborted: _failover_aborted,
    e.PromotionSent: _promotion_sent,
    e.PromotionPublished: _promotion_published,
    e.ReconfSent: _follow_promoted,
    e.ReconfTimedOut: _follow_promoted,
    e.ReplicaConverted: _follow_master,
    e.ReplicaRepointed: _follow_master,
    e.MasterSwitched: _master_switched,
}

_AFTER_THE_NEWS = frozenset({e.LeaderElected, e.PromotionPublished, e.MasterSwitched})
"""Where the order would end the process or wake scripts, the news goes first, as stock does."""
