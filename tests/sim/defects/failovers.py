"""The choice of a replica, its promotion, and how a failover ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from trio_sentinel.model import effects as fx
from trio_sentinel.model import engine, evolve, ranking, react, replay, senses
from trio_sentinel.model import events as e
from trio_sentinel.model.decide import agreement, failover
from trio_sentinel.model.situation import Situation
from trio_sentinel.model.state import (
    Master,
    Reconf,
    ReconfiguringReplicas,
    UpdatingConfig,
    WaitingForPromotion,
    WaitingForVotes,
)
from trio_sentinel.model.values import Address

from .planting import FAILOVERS, Defect, Patch, without_assertions


def _filter_forgotten(reason: str) -> Callable[[Patch], None]:
    def plant(patch: Patch) -> None:
        disqualified = ranking.disqualified

        def lenient(s: Situation, master: Master, replica: Any) -> str | None:
            found = disqualified(s, master, replica)
            return None if found == reason else found

        patch.setattr(ranking, "disqualified", lenient)

    return plant


def _worst_replica(patch: Patch) -> None:
    """The smallest offset wins."""

    def upside_down(sense: Any, run_id: str | None) -> Any:
        return False, sense.priority, sense.repl_offset, run_id is None, run_id or ""

    patch.setattr(ranking, "sort_key", upside_down)


def _role_ignored(patch: Patch) -> None:
    """A server that says it is a master is preferred (core.md Q8, turned round)."""
    rank = ranking.rank

    def proud(s: Situation, master: Master) -> ranking.Ranking:
        found = rank(s, master)
        reason = "says it is a master"
        return next((ranking.Ranking(address, ()) for address, why in found.losers if why == reason), found)

    patch.setattr(ranking, "rank", proud)
    patch.setattr(failover, "rank", proud)


def _follow_itself(patch: Patch) -> None:
    """A replica is ordered to follow itself."""

    def myself(s: Situation, event: e.ReconfSent) -> Iterator[fx.Effect]:
        link = s.state.masters[event.subject.master].link(event.address)
        yield fx.Repoint(link, event.address.host, event.address.port, abort_handover=False)

    patch.setitem(react.REACT, e.ReconfSent, myself)


def _handover_to_another(patch: Patch) -> None:
    """The order to hand over names another replica than the selected one."""

    def another(s: Situation, event: e.PromotionSent) -> Iterator[fx.Effect]:
        if event.handover_ms is None:
            yield from sent(s, event)
            return
        master = s.state.masters[event.subject.master]
        to = next((address for address in master.replicas if address != event.address), event.address)
        host = s.state.shown(to.host)
        yield fx.HandOver(master.link(), host, to.port, event.handover_ms, at_once=event.caught_up)

    sent = react.REACT[e.PromotionSent]
    patch.setitem(react.REACT, e.PromotionSent, another)


def _promotion_sent_to_all(patch: Patch) -> None:
    """Each replica is told to become the master."""

    def everybody(s: Situation, event: e.PromotionSent) -> Iterator[fx.Effect]:
        master = s.state.masters[event.subject.master]
        yield from (fx.Promote(master.link(address)) for address in master.replicas)

    patch.setitem(react.REACT, e.PromotionSent, everybody)


def _promotion_given_up(patch: Patch) -> None:
    """Bringing the replicas over is given up when it takes too long, and with it the promotion."""
    without_assertions(patch)
    reconfigure = failover.PHASE_RULES[ReconfiguringReplicas]

    def impatient(s: Situation, master: Master, running: Any, phase: Any) -> Iterator[e.Event]:
        if phase.published and failover._out_of_time(s, master, running):
            yield failover._abort(s, master, e.Abort.REPLICA_TIMEOUT)
        else:
            yield from reconfigure(s, master, running, phase)

    def forget(state: Any, event: e.FailoverAborted) -> None:
        state.masters[event.subject.master].failover = None

    patch.setitem(failover.PHASE_RULES, ReconfiguringReplicas, impatient)
    patch.setitem(evolve.EVOLVE, e.FailoverAborted, forget)


def _told_as_soon_as_seen(patch: Patch) -> None:
    """Clients are told of the promoted replica before it is on disk."""
    without_assertions(patch)

    def seen(master: Master) -> Address:
        phase = None if master.failover is None else master.failover.phase
        return phase.promoted if isinstance(phase, ReconfiguringReplicas | UpdatingConfig) else master.address

    patch.setattr(Master, "current_address", property(seen))


def _told_at_the_switch(patch: Patch) -> None:
    """The old address is told until all replicas are brought over."""
    without_assertions(patch)
    patch.setattr(Master, "current_address", property(lambda master: master.address))


def _promotion_taken_for_granted(patch: Patch) -> None:
    """The promotion is believed when it is sent, not when it is seen."""

    def granted(s: Situation, master: Master, running: Any, phase: WaitingForPromotion) -> Iterator[e.Event]:
        subject = s.state.subject_of_replica(master, phase.candidate)
        yield e.PromotionSeen(subject=subject, address=phase.candidate, epoch=running.epoch, at_ms=s.now_ms)

    patch.setitem(failover.PHASE_RULES, WaitingForPromotion, granted)


def _promotion_told_early(patch: Patch) -> None:
    """Hellos carry the new epoch before the new address (the simulator's first find)."""
    seen = evolve.EVOLVE[e.PromotionSeen]

    def early(state: Any, event: e.PromotionSeen) -> None:
        seen(state, event)
        state.masters[event.subject.master].config_epoch = event.epoch

    patch.setitem(evolve.EVOLVE, e.PromotionSeen, early)
    patch.setattr(fx.SayHello, "audible", False)


def _promotion_not_saved(patch: Patch) -> None:
    """The new address is told while the file still has the old one."""
    patch.setattr(replay, "_configuration_to_save", lambda master: (master.address, master.config_epoch))


def _leaked_failover(patch: Patch) -> None:
    """A switch does not end the failover."""
    switched = evolve.EVOLVE[e.MasterSwitched]

    def leaky(state: Any, event: e.MasterSwitched) -> None:
        running = state.masters[event.subject.master].failover
        switched(state, event)
        state.masters[event.subject.master].failover = running

    patch.setitem(evolve.EVOLVE, e.MasterSwitched, leaky)


def _leaked_marks(patch: Patch) -> None:
    """How far a replica was on its way to the new master is remembered after the switch."""
    without_assertions(patch)
    switched = evolve.EVOLVE[e.MasterSwitched]

    def leaky(state: Any, event: e.MasterSwitched) -> None:
        master = state.masters[event.subject.master]
        marks = {address: replica.reconf for address, replica in master.replicas.items()}
        switched(state, event)
        for address, replica in master.replicas.items():
            replica.reconf = marks.get(address, Reconf.NONE)

    patch.setitem(evolve.EVOLVE, e.MasterSwitched, leaky)


def _voters_forgotten(patch: Patch) -> None:
    """A switch forgets the other sentinels."""
    switched = evolve.EVOLVE[e.MasterSwitched]

    def forgetful(state: Any, event: e.MasterSwitched) -> None:
        switched(state, event)
        state.masters[event.subject.master].peers.clear()

    patch.setitem(evolve.EVOLVE, e.MasterSwitched, forgetful)


def _promotion_forgotten_by_reset(patch: Patch) -> None:
    """RESET in the middle of a promotion goes back to the old address under the new epoch."""
    patch.setattr(failover, "conclude", lambda s, master: iter(()))
    patch.setitem(evolve.EVOLVE, e.MasterReset, _reset_anyway)


def _reset_anyway(state: Any, event: e.MasterReset) -> None:
    master = state.masters[event.subject.master]
    evolve._start_afresh(master, event.at_ms)
    master.replicas.clear()
    master.peers.clear()


def _all_at_once(patch: Patch) -> None:
    """parallel-syncs is not looked at."""
    without_assertions(patch)
    reconfigure = failover.PHASE_RULES[ReconfiguringReplicas]

    def hasty(s: Situation, master: Master, running: Any, phase: Any) -> Iterator[e.Event]:
        if phase.published:
            for replica in master.replicas.values():
                fit = replica.address != phase.promoted and s.server(master, replica.address).command.open
                if replica.reconf is Reconf.NONE and fit:
                    yield failover._reconf_sent(s, master, replica, best_effort=False)
                    return
        yield from reconfigure(s, master, running, phase)

    patch.setitem(failover.PHASE_RULES, ReconfiguringReplicas, hasty)


def _select_unelected(patch: Patch) -> None:
    """Whoever stands is the leader."""

    def elected(s: Situation, master: Master) -> Iterator[e.Event]:
        running = master.failover
        if running is not None and isinstance(running.phase, WaitingForVotes) and running.phase.vote_saved:
            subject = s.state.subject_of_master(master)
            yield e.LeaderElected(subject=subject, votes=master.votes_needed, voters=master.voters, at_ms=s.now_ms)
            yield e.SelectionBegun(subject=subject)

    rules = tuple(elected if rule is agreement.check_election else rule for rule in engine.RULES)
    patch.setattr(engine, "RULES", rules)


def _never_gives_up(patch: Patch) -> None:
    """No phase of a failover runs out of time (core.md Q14)."""
    patch.setattr(failover, "_out_of_time", lambda s, master, running: False)


def _questions_stay_open(patch: Patch) -> None:
    """What was asked over a connection that is gone counts as asked: that peer is never asked again."""
    patch.setattr(senses, "forget_questions", lambda s, link: None)


DEFECTS: dict[str, Defect] = {
    "priority 0 is promoted": Defect(_filter_forgotten("priority 0"), ("16",), (*FAILOVERS, ("priorities", 8))),
    "a dead replica is promoted": Defect(_filter_forgotten("subjectively down"), ("16", "29"), FAILOVERS),
    "a server that says it is a master is promoted": Defect(
        _role_ignored,
        ("16",),
        (("power off server", 4), ("freeze server", 2), ("replica astray", 6)),
        (("replicas", 3), ("down_after_ms", 300), ("failover_timeout_ms", 1000), ("pause_ms", 1000)),
    ),
    "a replica long cut off is promoted": Defect(
        _filter_forgotten("cut off from the master for too long"),
        ("16",),
        (("cut", 8), ("partition", 3), ("kill server", 4)),
        (("down_after_ms", 300), ("repl_timeout_ms", 1000)),
    ),
    "the worst replica is promoted": Defect(
        _worst_replica, ("16",), (("power off server", 1),), (("write_ms", 50), ("failover_timeout_ms", 1000))
    ),
    "a replica follows itself": Defect(_follow_itself, ("14",)),
    "a handover to another replica": Defect(
        _handover_to_another, ("13",), (("operator coordinated", 10), ("kill server", 1)), (("replicas", 3),)
    ),
    "all replicas are promoted": Defect(_promotion_sent_to_all, ("13",)),
    "a promotion is given up": Defect(
        _promotion_given_up,
        ("17",),
        (("orders refused", 8), ("kill server", 4), ("operator failover", 4)),
        (("replicas", 4), ("failover_timeout_ms", 1000)),
    ),
    "clients are told of a promotion too early": Defect(_told_as_soon_as_seen, ("23",)),
    "the old address is told until the switch": Defect(_told_at_the_switch, ("23",)),
    "a promotion is taken for granted": Defect(_promotion_taken_for_granted, ("14",)),
    "a promotion is told before it is saved": Defect(_promotion_told_early, ("15", "1", "21", "22")),
    "the promoted address is not in the file": Defect(_promotion_not_saved, ("15",)),
    "a failover survives its switch": Defect(_leaked_failover, ("24", "21", "10", "InvariantViolation")),
    "marks survive a switch": Defect(_leaked_marks, ("24",), FAILOVERS, (("replicas", 3),)),
    "a switch forgets the voters": Defect(_voters_forgotten, ("27",)),
    "a reset undoes a promotion": Defect(
        _promotion_forgotten_by_reset,
        ("21", "22", "InvariantViolation"),
        (("kill server", 3), ("operator failover", 8), ("operator reset", 16)),
        (("pause_ms", 60), ("replicas", 4), ("latency_ms", (20, 60))),
    ),
    "parallel-syncs is ignored": Defect(_all_at_once, ("19",), FAILOVERS, (("replicas", 4),)),
    "a candidate does not wait for votes": Defect(_select_unelected, ("7", "8")),
    "phases never run out of time": Defect(
        _never_gives_up,
        ("29", "30", "31"),
        (("power off server", 6), ("kill server", 3)),
        (
            ("latency_ms", (40, 100)),
            ("pause_ms", 400),
            ("harm_ms", 20_000),
            ("sentinels", 1),
            ("quorum", 1),
            ("replicas", 1),
        ),
    ),
    "questions outlive their connection": Defect(
        _questions_stay_open,
        ("29", "32"),
        (("trap sentinel", 8), ("freeze server", 4), ("kill server", 4)),
        (("latency_ms", (40, 120)), ("pause_ms", 600)),
    ),
}
