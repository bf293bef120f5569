"""What must hold of each event by itself, given the state before it and after it: properties 5, 6, 19, 24 and 28, and
whose address is told (23). The state is the fold of the events; none of its own words about itself is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from trio_sentinel.model import events as e
from trio_sentinel.model import inputs as i
from trio_sentinel.model.state import (
    Master,
    Reconf,
    ReconfiguringReplicas,
    SelectingReplica,
    SendingPromotion,
    SentinelState,
    UpdatingConfig,
    WaitingForPromotion,
)
from trio_sentinel.model.values import Address, Epoch, Hello
from trio_sentinel.sim.broken import require

LIMIT: Final = 2**63
"""Property 6."""
MEANWHILE: Final = frozenset({e.TiltEntered})
"""What may come in any turn: it is about the time at which something is heard, not about what."""


def told_address(master: Master) -> Address:
    """Property 23: the promoted one's from `reconf_slaves` on, once that is on disk; else the configured one."""
    phase = None if master.failover is None else master.failover.phase
    if isinstance(phase, UpdatingConfig) or (isinstance(phase, ReconfiguringReplicas) and phase.published):
        return phase.promoted
    return master.address


def strangers_change_nothing(who: str, state: SentinelState, heard: Any, events: tuple[e.Event, ...]) -> None:
    """Property 28, in a turn that began with `heard`."""
    if type(heard) is i.HelloHeard:
        known = heard.hello.master in state.masters
    elif type(heard) is i.OpinionAsked:
        asked = Address(heard.host, heard.port)
        known = any(state.same_address(master.address, asked) for master in state.masters.values())
    else:
        return
    changed = [type(event).__name__ for event in events if type(event) not in MEANWHILE]
    require(known or not changed, 28, f"{who} changes {changed} because of an unknown name or address: {heard}")


TOLD_ANEW: Final = frozenset(
    {e.PromotionSeen, e.PromotionPublished, e.FailoverEnded, e.MasterSwitched, e.FailoverAborted, e.MasterReset}
)
"""After these clients may be told another address, or must not."""


def told_to_clients(who: str, folded: SentinelState, live: SentinelState) -> None:
    """Property 23, as clients hear it."""
    for name, master in folded.masters.items():
        right, told = told_address(master), live.masters[name].current_address
        require(right == told, 23, f"{who} tells clients that {name} is at {told}, not {right}")


def told_in_hello(who: str, state: SentinelState, hello: Hello, *, late: bool) -> None:
    """Property 23, as peers hear it. A hello that is `late` waited for the disk, and may tell what was before."""
    master = state.masters.get(hello.master)
    if master is None or (late and hello.config_epoch < master.config_epoch):
        return
    right, told = told_address(master), Address(hello.master_host, hello.master_port)
    same = (state.shown(right.host), right.port) == told and hello.config_epoch == master.config_epoch
    require(same, 23, f"{who} tells {told} at {hello.config_epoch}, not {right} at {master.config_epoch}")


# ---------------------------------------------------------------- before an event


def epoch_in_range(who: str, epoch: Epoch) -> None:
    """Property 6."""
    require(0 <= epoch < LIMIT, 6, f"{who}: epoch {epoch} is out of range")


def _current_epoch(who: str, state: SentinelState, event: e.EpochRaised | e.SentinelRestored) -> None:
    epoch_in_range(who, event.epoch if isinstance(event, e.EpochRaised) else event.current_epoch)


def _epoch_used(who: str, state: SentinelState, event: e.VoteCast | e.FailoverStarted | e.ConfigEpochAdopted) -> None:
    _reached(who, state, event, event.epoch)


def _switched(who: str, state: SentinelState, event: e.MasterSwitched) -> None:
    _reached(who, state, event, event.config_epoch)


def _monitored(who: str, state: SentinelState, event: e.MasterMonitored) -> None:
    _reached(who, state, event, max(event.snapshot.config_epoch, event.snapshot.leader_epoch))


def _promotion_published(who: str, state: SentinelState, event: e.PromotionPublished) -> None:
    running = state.masters[event.subject.master].failover
    require(running is not None, 24, f"{who} tells of a promotion without a failover")
    assert running is not None
    _reached(who, state, event, running.epoch)


def _reached(who: str, state: SentinelState, event: e.Event, epoch: Epoch) -> None:
    """Property 5: no epoch of a master is above the current one."""
    epoch_in_range(who, epoch)
    reached = epoch <= state.current_epoch
    require(reached, 5, f"{who}: {type(event).__name__} in epoch {epoch}, the current one is {state.current_epoch}")


def _reconf_sent(who: str, state: SentinelState, event: e.ReconfSent) -> None:
    """Property 19."""
    if event.best_effort:
        return
    master = state.masters[event.subject.master]
    on_the_way = (Reconf.SENT, Reconf.IN_PROGRESS)
    busy = sum(one.reconf in on_the_way for one in master.replicas.values() if one.address != event.address)
    free = busy < master.settings.parallel_syncs
    require(free, 19, f"{who} brings over {event.address}, and {busy} replicas of {master.name} are on their way")


# ---------------------------------------------------------------- after an event


def _idle(who: str, state: SentinelState, event: Any) -> None:
    """Property 24: after an abort, a switch or a reset nothing is left of the failover."""
    master = state.masters[event.subject.master]
    what = type(event).__name__
    require(master.failover is None, 24, f"{who}: a failover of {master.name} survives {what}")
    marked = [one.address for one in master.replicas.values() if one.reconf is not Reconf.NONE]
    require(not marked, 24, f"{who}: {marked} are still brought over after {what} of {master.name}")


def _chosen(who: str, state: SentinelState, event: Any) -> None:
    """Property 24: the chosen replica is known, and is there from its selection on."""
    master = state.masters[event.subject.master]
    phase = None if master.failover is None else master.failover.phase
    match phase:
        case SendingPromotion(chosen) | WaitingForPromotion(chosen):
            known = chosen in master.replicas
        case ReconfiguringReplicas(chosen) | UpdatingConfig(chosen):
            known = chosen in master.replicas
        case _:
            known = False
    require(known, 24, f"{who}: no replica of {master.name} is chosen after {type(event).__name__}")


def _not_chosen(who: str, state: SentinelState, event: Any) -> None:
    """Property 24: before the selection nobody is."""
    running = state.masters[event.subject.master].failover
    early = running is not None and isinstance(running.phase, SelectingReplica)
    require(early, 24, f"{who}: elected, and not selecting a replica")


Rule = Callable[[str, SentinelState, Any], None]
BEFORE: Final[dict[type[e.Event], Rule]] = {
    e.SentinelRestored: _current_epoch,
    e.EpochRaised: _current_epoch,
    e.VoteCast: _epoch_used,
    e.FailoverStarted: _epoch_used,
    e.ConfigEpochAdopted: _epoch_used,
    e.MasterSwitched: _switched,
    e.MasterMonitored: _monitored,
    e.PromotionPublished: _promotion_published,
    e.ReconfSent: _reconf_sent,
}
AFTER: Final[dict[type[e.Event], Rule]] = {
    e.FailoverAborted: _idle,
    e.MasterSwitched: _idle,
    e.MasterReset: _idle,
    e.LeaderElected: _not_chosen,
    e.ReplicaSelected: _chosen,
    e.PromotionSent: _chosen,
    e.PromotionSeen: _chosen,
    e.FailoverEnded: _chosen,
}
