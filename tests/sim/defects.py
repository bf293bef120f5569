"""Mistakes planted into the model, one at a time: each is a patch that lives as long as one test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
from msgspec import structs

from trio_sentinel.model import connections, engine, evolve, ranking, react, replay, rhythm, senses, upkeep
from trio_sentinel.model import effects as fx
from trio_sentinel.model import events as e
from trio_sentinel.model import inputs as i
from trio_sentinel.model.decide import agreement, failover, liveness, topology
from trio_sentinel.model.engine import Engine
from trio_sentinel.model.invariants import Marks
from trio_sentinel.model.situation import Situation
from trio_sentinel.model.state import (
    Manner,
    Master,
    Reconf,
    ReconfiguringReplicas,
    SentinelState,
    UpdatingConfig,
    WaitingForPromotion,
    WaitingForVotes,
)
from trio_sentinel.model.values import Address, Role
from trio_sentinel.sim.options import Options
from trio_sentinel.sim.process import SimSentinel

Patch = pytest.MonkeyPatch

FAILOVERS = (("kill server", 5), ("freeze server", 3), ("one-way cut", 2), ("isolate host", 2))
CRASHES = (*FAILOVERS, ("crash sentinel", 4), ("trap sentinel", 8))
DISKS = (*FAILOVERS, ("failing disk", 6), ("crash sentinel", 2))
TORN = (("kill server", 8), ("operator failover", 4), ("torn write", 10), ("failing disk", 8), ("crash sentinel", 8))
CUTS = (("partition", 5), ("one-way cut", 5), ("isolate host", 5), ("kill server", 3))
ORDERS = (("operator set", 8), ("operator reset", 8), ("operator remove", 6), ("kill server", 2), ("crash sentinel", 4))
MESS = (*FAILOVERS, ("replica astray", 6), ("priorities", 3), ("partition", 2))


def arena(seed: int, weights: tuple[tuple[str, int], ...] = FAILOVERS, **others: Any) -> Options:
    """Where a defect has its chance: short times, frequent harm."""
    chosen: dict[str, Any] = {
        "sentinels": 3,
        "quorum": 2,
        "replicas": 2,
        "down_after_ms": 1000,
        "failover_timeout_ms": 3000,
        "pause_ms": 1500,
        "harm_ms": 30_000,
        "weights": weights,
    }
    return Options(seed=seed, **(chosen | others))


@attrs.frozen
class Defect:
    """A mistake, where it is looked for, and which properties may find it."""

    plant: Callable[[Patch], None]
    properties: tuple[str, ...]
    weights: tuple[tuple[str, int], ...] = FAILOVERS
    others: tuple[tuple[str, Any], ...] = ()


def _without_assertions(patch: Patch) -> None:
    """The engine does not look at itself: the checkers must find the mistake."""
    patch.setattr(engine, "check_state", lambda state, master: None)
    patch.setattr(engine, "check_parallel_syncs", lambda master: None)
    patch.setattr(Marks, "check", lambda self, state, master: None)


# ---------------------------------------------------------------- votes and epochs


def _vote_not_saved(patch: Patch) -> None:
    """A vote, and the epoch it is for, are told before they are on disk."""
    for kind in (e.VoteCast, e.EpochRaised):
        patch.setattr(kind, "durable", False)


def _own_vote_not_saved(patch: Patch) -> None:
    """Peers are asked for votes before our own is on disk (core.md Q4)."""
    asking = rhythm._asking

    def eager(s: Situation, master: Master) -> bool:
        running = master.failover
        voting = running is not None and isinstance(running.phase, WaitingForVotes)
        return (voting and master.s_down and s.state.tilt_since_ms is None) or asking(s, master)

    patch.setattr(rhythm, "_asking", eager)
    patch.setattr(fx.AskPeer, "audible", False)


def _any_epoch_counts(patch: Patch) -> None:
    """Votes of other epochs are counted (core.md Q1)."""

    def votes(s: Situation, master: Master, running: Any) -> int:
        own = int(master.voted_for == s.state.my_id)
        return own + sum(1 for run_id in master.peers if s.opinion(master, run_id).voted_for == s.state.my_id)

    patch.setattr(agreement, "votes_for_me", votes)


def _a_down_report_is_a_vote(patch: Patch) -> None:
    """Whoever says that the master is down is counted as a voter for me."""

    def votes(s: Situation, master: Master, running: Any) -> int:
        return 1 + sum(1 for run_id in master.peers if s.opinion(master, run_id).master_down)

    patch.setattr(agreement, "votes_for_me", votes)


def _no_majority(patch: Patch) -> None:
    """The quorum alone makes a leader."""
    patch.setattr(Master, "votes_needed", property(lambda master: master.settings.quorum))


def _no_quorum_for_leaders(patch: Patch) -> None:
    """One vote makes a leader."""
    patch.setattr(Master, "votes_needed", property(lambda master: 1))


def _vote_again(patch: Patch) -> None:
    """The newest candidate gets the vote of an epoch that was given away."""

    def vote(s: Situation, master: Master, epoch: int, candidate: Any) -> Iterator[e.Event]:
        subject = s.state.subject_of_master(master)
        if epoch > s.state.current_epoch:
            yield e.EpochRaised(epoch=epoch, subject=subject)
        if s.state.current_epoch <= epoch:
            yield e.VoteCast(subject=subject, candidate=candidate, epoch=epoch, attempt_at_ms=s.now_ms)

    patch.setattr(agreement, "vote", vote)


def _vote_forgotten_at_restart(patch: Patch) -> None:
    """The epoch of the last vote is not read from the file."""
    events = replay.master_events

    def forgetful(s: Situation, snapshot: Any, now_ms: int) -> Iterator[e.Event]:
        masters = tuple(attrs.evolve(known, leader_epoch=0) for known in snapshot.masters)
        yield from events(s, attrs.evolve(snapshot, masters=masters), now_ms)

    patch.setattr(engine, "master_events", forgetful)


def _vote_not_written(patch: Patch) -> None:
    """The epoch of the last vote is not in the file."""
    snapshot_of = replay.snapshot_of

    def without(state: Any) -> Any:
        whole = snapshot_of(state)
        return attrs.evolve(whole, masters=tuple(attrs.evolve(known, leader_epoch=0) for known in whole.masters))

    patch.setattr(engine, "snapshot_of", without)


def _epoch_forgotten_at_restart(patch: Patch) -> None:
    """The current epoch starts at zero again."""
    restored = replay.restored
    patch.setattr(engine, "restored", lambda *args: structs.replace(restored(*args), current_epoch=0))
    events = replay.master_events

    def forgetful(s: Situation, snapshot: Any, now_ms: int) -> Iterator[e.Event]:
        masters = tuple(attrs.evolve(known, leader_epoch=0, config_epoch=0) for known in snapshot.masters)
        yield from events(s, attrs.evolve(snapshot, masters=masters), now_ms)

    patch.setattr(engine, "master_events", forgetful)


def _epoch_used_again(patch: Patch) -> None:
    """An attempt runs under the current epoch instead of a new one."""
    start = agreement.start_attempt

    def again(s: Situation, master: Master, manner: Manner) -> Iterator[e.Event]:
        for event in start(s, master, manner):
            if isinstance(event, e.FailoverStarted | e.VoteCast):
                yield structs.replace(event, epoch=max(1, s.state.current_epoch))
            elif s.state.current_epoch == 0:
                yield event

    patch.setattr(agreement, "start_attempt", again)


def _epoch_shared_with_later_ones(patch: Patch) -> None:
    """Whoever stands does so under the epoch that is current, as if it was raised for another master just now."""
    patch.setattr(agreement, "_may_share_epoch", lambda s, master: s.state.current_epoch > 0)


def _disk_failure_ignored(patch: Patch) -> None:
    """A failed save is taken for a success (core.md Q3)."""
    handlers = engine._HANDLERS

    def saved(self: Engine, heard: i.ConfigSaveFailed) -> None:
        Engine._config_saved(self, i.ConfigSaved(heard.version))

    patch.setitem(handlers, i.ConfigSaveFailed, saved)


def _epochs_in_hellos_not_counted(patch: Patch) -> None:
    """A configuration is believed, and its epoch is not taken as the current one (rule R5)."""
    _without_assertions(patch)
    hear = topology.hear_hello

    def deaf(s: Situation, hello: Any, switch: Any) -> Iterator[e.Event]:
        yield from (event for event in hear(s, hello, switch) if not isinstance(event, e.EpochRaised))

    patch.setattr(topology, "hear_hello", deaf)


def _epoch_out_of_range(patch: Patch) -> None:
    """The epoch of an attempt has its sign bit set (core.md Q6)."""
    _without_assertions(patch)
    start = agreement.start_attempt

    def beyond(s: Situation, master: Master, manner: Manner) -> Iterator[e.Event]:
        for event in start(s, master, manner):
            assert isinstance(event, e.EpochRaised | e.FailoverStarted | e.VoteCast)
            yield structs.replace(event, epoch=event.epoch | 2**63)

    patch.setattr(agreement, "start_attempt", beyond)


def _operators_answered_early(patch: Patch) -> None:
    """+OK does not wait for the disk."""
    patch.setattr(fx.Answer, "audible", False)


def _orders_not_saved(patch: Patch) -> None:
    """What SET changes and RESET forgets is kept in memory, and written some time (stock's RESET: core.md Q16)."""
    for kind in (e.SettingChanged, e.MasterReset):
        patch.setattr(kind, "durable", False)


def _stale_settings_written(patch: Patch) -> None:
    """A save that nobody waits for writes the settings as they were when the process began."""
    snapshot, start = Engine.snapshot, Engine.start
    first: dict[Engine, dict[str, Any]] = {}

    def started(self: Engine, known: Any, now_ms: int, **how: Any) -> Any:
        first[self] = {line.name: line.settings for line in known.masters}
        return start(self, known, now_ms, **how)

    def stale(self: Engine) -> Any:
        whole = snapshot(self)
        if self._held:
            return whole
        lines = tuple(attrs.evolve(line, settings=first[self].get(line.name, line.settings)) for line in whole.masters)
        return attrs.evolve(whole, masters=lines)

    patch.setattr(Engine, "start", started)
    patch.setattr(Engine, "snapshot", stale)


def _configuration_lost_at_restart(patch: Patch) -> None:
    """A save while no failover runs writes the first address under the first epoch again."""
    to_save = replay._configuration_to_save

    def first(master: Master) -> Any:
        old = master.failover is None and master.o_down
        return (min(master.address, *master.replicas), 0) if old else to_save(master)

    patch.setattr(replay, "_configuration_to_save", first)


# ---------------------------------------------------------------- detection


def _stand_without_agreement(patch: Patch) -> None:
    """S_DOWN is enough to stand for election."""

    def at_once(s: Situation, master: Master) -> int | None:
        return s.now_ms if master.s_down and master.failover is None and master.attempt_at_ms is None else None

    patch.setattr(agreement, "may_stand_at_ms", at_once)


def _stand_again_at_once(patch: Patch) -> None:
    """Nobody waits twice the failover timeout."""

    def at_once(s: Situation, master: Master) -> int | None:
        free = master.o_down and master.failover is None and not s.state.disk_failing
        return master.stand_at_ms if free else None

    patch.setattr(agreement, "may_stand_at_ms", at_once)


def _agreed_alone(patch: Patch) -> None:
    """The quorum is not asked."""
    agreed = agreement.agreed
    patch.setattr(agreement, "agreed", lambda s, master: max(agreed(s, master), master.settings.quorum))


def _old_opinions_count(patch: Patch) -> None:
    """Opinions never grow old (core.md 7.3)."""
    patch.setattr(Situation, "fresh", lambda self, opinion: True)


def _opinions_survive_a_switch(patch: Patch) -> None:
    """What peers said about the old master is credited to the new one (core.md Q15)."""
    restart = upkeep.restart_clocks

    def stale(s: Situation, name: str) -> None:
        said = {key: opinion.master_down for key, opinion in s.senses.opinions.items()}
        restart(s, name)
        for key, opinion in s.senses.opinions.items():
            opinion.master_down = said[key]

    patch.setattr(upkeep, "restart_clocks", stale)


def _impatient(patch: Patch) -> None:
    """Down after half the time."""
    silent = liveness._silent
    patch.setattr(liveness, "_silent", lambda sense, after_ms, now_ms: silent(sense, after_ms // 2, now_ms))


def _down_in_tilt(patch: Patch) -> None:
    """The rules run in TILT too."""
    finish = Engine._finish

    def unaware(self: Engine, **how: Any) -> Any:
        since_ms, self.state.tilt_since_ms = self.state.tilt_since_ms, None
        try:
            return finish(self, **how)
        finally:
            self.state.tilt_since_ms = since_ms

    patch.setattr(Engine, "_finish", unaware)


def _opinion_in_tilt(patch: Patch) -> None:
    """A question is answered in TILT as at any time."""
    asked = Engine._opinion_asked

    def unaware(self: Engine, heard: i.OpinionAsked) -> None:
        since_ms, self.state.tilt_since_ms = self.state.tilt_since_ms, None
        asked(self, heard)
        self.state.tilt_since_ms = since_ms

    patch.setitem(engine._HANDLERS, i.OpinionAsked, unaware)


# ---------------------------------------------------------------- failover


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
    _without_assertions(patch)
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
    _without_assertions(patch)

    def seen(master: Master) -> Address:
        phase = None if master.failover is None else master.failover.phase
        return phase.promoted if isinstance(phase, ReconfiguringReplicas | UpdatingConfig) else master.address

    patch.setattr(Master, "current_address", property(seen))


def _told_at_the_switch(patch: Patch) -> None:
    """The old address is told until all replicas are brought over."""
    _without_assertions(patch)
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
    _without_assertions(patch)
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
    _without_assertions(patch)
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


# ---------------------------------------------------------------- topology


def _older_configuration(patch: Patch) -> None:
    """A hello with a lower configuration epoch and another address is believed."""
    hear = topology.hear_hello

    def gullible(s: Situation, hello: Any, switch: Any) -> Iterator[e.Event]:
        yield from hear(s, hello, switch)
        master = s.state.masters.get(hello.master)
        new = Address(hello.master_host, hello.master_port)
        if master is not None and hello.config_epoch < master.config_epoch and new != master.address:
            by = s.state.subject_of_peer(master, hello.run_id, Address(hello.host, hello.port))
            yield switch(s, master, new, hello.config_epoch, by)

    patch.setattr(topology, "hear_hello", gullible)
    patch.setitem(senses.PERCEIVE, i.HelloHeard, lambda s, heard: (heard.hello.master,))


def _strangers_believed(patch: Patch) -> None:
    """The epoch in a hello counts, also when it is about a master that is not watched here."""
    hear = topology.hear_hello

    def gullible(s: Situation, hello: Any, switch: Any) -> Iterator[e.Event]:
        if hello.master not in s.state.masters and hello.current_epoch > s.state.current_epoch:
            yield e.EpochRaised(epoch=hello.current_epoch, subject=None)
        yield from hear(s, hello, switch)

    patch.setattr(topology, "hear_hello", gullible)
    patch.setitem(senses.PERCEIVE, i.HelloHeard, lambda s, heard: (heard.hello.master,))


def _my_own_peer(patch: Patch) -> None:
    """My own hello makes me my own peer (core.md Q10)."""
    hear = topology.hear_hello

    def vain(s: Situation, hello: Any, switch: Any) -> Iterator[e.Event]:
        master = s.state.masters.get(hello.master)
        if master is not None and hello.run_id == s.state.my_id:
            yield from topology._peer_arrives(s, master, hello.run_id, Address(hello.host, hello.port))
        else:
            yield from hear(s, hello, switch)

    patch.setattr(topology, "hear_hello", vain)
    patch.setitem(senses.PERCEIVE, i.HelloHeard, lambda s, heard: (heard.hello.master,))


def _hasty_correction(patch: Patch) -> None:
    """A replica that says it is a master is brought back at once, and whoever watches over it is not asked."""

    def hasty(s: Situation, master: Master, replica: Any, reading: Any) -> Iterator[e.Event]:
        if reading.role is Role.MASTER:
            subject = s.state.subject_of_replica(master, replica.address)
            yield e.ReplicaConverted(subject=subject, address=replica.address)

    patch.setattr(topology, "correct", hasty)


def _strays_corrected_at_once(patch: Patch) -> None:
    """A replica that follows somebody else is brought back at its first word: its new master may be right."""

    def hasty(s: Situation, master: Master, replica: Any, reading: Any) -> Iterator[e.Event]:
        promoted = master.failover is not None and master.failover.promoted == replica.address
        if reading.role is Role.REPLICA and s.sane(master) and not promoted:
            if topology._follows_another(s, master, replica):
                subject = s.state.subject_of_replica(master, replica.address)
                yield e.ReplicaRepointed(subject=subject, address=replica.address)

    patch.setattr(topology, "correct", hasty)


def _strays_left_alone(patch: Patch) -> None:
    """Nobody brings a stray back."""
    patch.setattr(topology, "correct", lambda s, master, replica, reading: iter(()))


def _deaf_to_news(patch: Patch) -> None:
    """A higher configuration epoch is not adopted."""
    patch.setattr(topology, "_newer_configuration", lambda s, master, hello, switch: iter(()))


def _file_trusted_at_start(patch: Patch) -> None:
    """A start acts on what it reads, though a power failure may still take it back (seed 301691 of the full stage)."""
    patch.setattr(SimSentinel, "settle", lambda self: True)


def _torn_file_accepted(patch: Patch) -> None:
    """The file is renamed before its content is on the disk, and what a power failure leaves of it is loaded: the lines
    at the end are missing."""

    def half(self: SimSentinel, *, keep: bool) -> None:
        masters = tuple(attrs.evolve(line, config_epoch=0, leader_epoch=0) for line in self.disk.masters)
        self.disk = attrs.evolve(self.disk, current_epoch=0, masters=masters)

    patch.setattr(SimSentinel, "lose_power", half)


def _wrong_names_believed(patch: Patch) -> None:
    """Two names that resolve to one address are one server, also while the name service is wrong."""
    patch.setattr(SentinelState, "told_as_one", SentinelState.same_address)


def _moved_name_not_followed(patch: Patch) -> None:
    """A connection that was begun before its name was answered stays where the name led before."""
    patch.setattr(connections, "follow_name", lambda s, host: ())


DEFECTS: dict[str, Defect] = {
    "the vote is told before it is saved": Defect(_vote_not_saved, ("1", "4", "3", "10"), CRASHES),
    "votes are asked for before the own one is saved": Defect(_own_vote_not_saved, ("1", "4")),
    "votes of any epoch are counted": Defect(_any_epoch_counts, ("7", "8"), CUTS),
    "a report of the master being down is counted as a vote": Defect(_a_down_report_is_a_vote, ("7", "8")),
    "the quorum alone makes a leader": Defect(_no_majority, ("8", "9"), CUTS, (("quorum", 1), ("sentinels", 5))),
    "one vote makes a leader": Defect(_no_quorum_for_leaders, ("8", "9")),
    "a vote is given twice": Defect(_vote_again, ("2", "3")),
    "the vote is forgotten at a restart": Defect(
        _vote_forgotten_at_restart,
        ("1", "2", "3", "4"),
        (("kill server", 8), ("trap sentinel", 8)),
        (("pause_ms", 600),),
    ),
    "the vote is not in the file": Defect(_vote_not_written, ("1", "4")),
    "the epoch is forgotten at a restart": Defect(_epoch_forgotten_at_restart, ("1", "3", "4", "10", "20"), CRASHES),
    "an attempt uses an old epoch": Defect(_epoch_used_again, ("2", "3", "8", "10")),
    "an epoch is shared with elections that come later": Defect(
        _epoch_shared_with_later_ones, ("2", "3", "8", "10"), FAILOVERS, (("masters", 3),)
    ),
    "a failed save is taken for a success": Defect(_disk_failure_ignored, ("1", "4", "15"), DISKS),
    "epochs in hellos are not counted": Defect(_epochs_in_hellos_not_counted, ("5",)),
    "an epoch out of range": Defect(_epoch_out_of_range, ("6",)),
    "operators are answered before the disk": Defect(_operators_answered_early, ("durable",), ORDERS),
    "orders of operators are not saved": Defect(_orders_not_saved, ("durable",), ORDERS),
    "old settings are written again": Defect(_stale_settings_written, ("durable",), ORDERS),
    "an old configuration is written again": Defect(_configuration_lost_at_restart, ("15",), CRASHES),
    "the file is trusted before it is on the disk": Defect(
        _file_trusted_at_start, ("1", "4", "15", "20"), TORN, (("pause_ms", 500),)
    ),
    "a torn file is accepted": Defect(_torn_file_accepted, ("1", "4", "15", "20", "21", "22"), TORN),
    "the name service is believed": Defect(
        _wrong_names_believed,
        ("22", "30", "31"),
        (("wrong name", 8), ("operator failover", 6), ("kill server", 1)),
        (("named", True), ("pause_ms", 700)),
    ),
    "a moved name is not followed": Defect(
        _moved_name_not_followed,
        ("18", "22", "26", "29", "30", "31"),
        (("wrong name", 8), ("kill server", 3)),
        (("named", True),),
    ),
    "an attempt without agreement": Defect(_stand_without_agreement, ("11",)),
    "an attempt right after the last one": Defect(_stand_again_at_once, ("11",), CUTS),
    "objectively down by one voice": Defect(_agreed_alone, ("12",)),
    "old opinions count": Defect(_old_opinions_count, ("7", "12"), CUTS, (("sentinels", 5), ("quorum", 3))),
    "opinions survive a switch": Defect(_opinions_survive_a_switch, ("12",)),
    "down too early": Defect(_impatient, ("26",)),
    "the rules run in TILT": Defect(
        _down_in_tilt, ("25",), (("kill server", 3), ("wall clock step", 4)), (("pause_ms", 800),)
    ),
    "reports in TILT": Defect(
        _opinion_in_tilt,
        ("25",),
        (("kill server", 5), ("wall clock step", 6)),
        (("pause_ms", 800), ("quorum", 3), ("down_after_ms", 300)),
    ),
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
    "an older configuration is believed": Defect(_older_configuration, ("20", "21"), CUTS),
    "strangers are believed": Defect(
        _strangers_believed, ("28",), (("operator remove", 8), ("kill server", 4), ("operator failover", 4))
    ),
    "my own hello makes me a peer": Defect(_my_own_peer, ("27",)),
    "replicas are corrected at once": Defect(_hasty_correction, ("18",), MESS),
    "strays are corrected at once": Defect(_strays_corrected_at_once, ("18", "31"), MESS),
    "strays are left alone": Defect(_strays_left_alone, ("31",), MESS),
    "news are not believed": Defect(_deaf_to_news, ("30", "8", "22", "29"), FAILOVERS),
}
