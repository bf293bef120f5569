"""The engine: ``feed(input, now_ms) -> Outcome(events, effects)``, the only way into the model.

Five steps. *sense*: overwrite what was perceived; if it cannot matter, stop. *decide*: what follows from this input.
*evolve*: apply each event. *settle*: the rules of every master concerned, until none speaks. *react*: effects, and what
is due.

Durable before audible: what could tell of a promise waits behind the save that it needs (``saves.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from attrs import Factory, define, frozen

from trio_sentinel.errors import InvariantViolation
from trio_sentinel.model import connections, rhythm, senses, upkeep
from trio_sentinel.model import events as e
from trio_sentinel.model import inputs as i
from trio_sentinel.model.agenda import Agenda
from trio_sentinel.model.decide import administration, agreement, failover, liveness, topology
from trio_sentinel.model.effects import Answer, AnswerOpinion, Effect, ResolveName
from trio_sentinel.model.evolve import evolve
from trio_sentinel.model.invariants import Marks, check_parallel_syncs, check_state
from trio_sentinel.model.observations import NEVER_MS, Observations, Watch
from trio_sentinel.model.react import react
from trio_sentinel.model.refusals import Refusal
from trio_sentinel.model.replay import NOT_YET, master_events, restored, snapshot_of
from trio_sentinel.model.saves import Saves
from trio_sentinel.model.settings import Timing
from trio_sentinel.model.situation import Dice, Situation
from trio_sentinel.model.snapshot import Snapshot
from trio_sentinel.model.state import Master, SentinelState
from trio_sentinel.model.values import Address, Epoch, Millis, PeerLink, RunId

BEAT_MS: Final = 500
"""Something is fed at least this often, so that a stall of the process is told from mere silence (TILT)."""
MAX_ROUNDS: Final = 32
"""Rules that have not come to rest after so many rounds contradict each other."""

Rule = Callable[[Situation, Master], Iterator[e.Event]]
RULES: Final[tuple[Rule, ...]] = (
    liveness.check,
    agreement.check_objectively_down,
    agreement.check_candidacy,
    agreement.check_election,
    failover.check,
)
"""In this order, again and again until none speaks."""

FOR_ALL: Final = frozenset(
    {e.SentinelRestored, e.TiltEntered, e.TiltExited, e.DiskFailed, e.DiskRecovered, e.GlobalsChanged, e.TimingChanged}
)
"""After these something may be due at every link."""


@frozen
class Outcome:
    """What one input led to. ``events`` are applied already; ``effects`` are to be carried out in order."""

    events: tuple[e.Event, ...]
    effects: tuple[Effect, ...]


NOTHING: Final = Outcome((), ())


@define(eq=False)
class _Turn:
    """The outcome of one input while it grows."""

    events: list[e.Event] = Factory(list)
    effects: list[Effect] = Factory(list)
    released: list[Effect] = Factory(list)
    """What waited for the disk and waits no more."""
    touched: dict[str, None] = Factory(dict)
    """The masters at which the rules look, in order."""
    watches: dict[Watch, None] = Factory(dict)
    """Where something may be due, in order."""


class Engine:
    """One sentinel's mind. Not thread-safe; `now_ms` must never decrease."""

    def __init__(self, dice: Dice, now_ms: Millis, *, pings_a_second: int = 0) -> None:
        """`pings_a_second` is what may be spent to PING more often than stock does where few are watched."""
        self.state = SentinelState(my_id=NOT_YET)
        self.senses = Observations()
        self.revision = 0
        """Raised by every event."""
        self._s = Situation(self.state, self.senses, dice, now_ms)
        self._turn = _Turn()
        self._saves = Saves(self._s)
        self._agenda = Agenda()
        self._s.pace.pings_a_second = pings_a_second
        self._restless: set[str] = set()
        self._marks = Marks()
        self._fed_at_ms = now_ms
        self._wall: tuple[Millis, Millis] | None = None

    # ------------------------------------------------------------ the way in

    def start(
        self,
        snapshot: Snapshot,
        now_ms: Millis,
        *,
        own_port: int = 0,
        timing: Timing | None = None,
        names: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Restore what the file knows; a sentinel without an identity draws one and saves it before anything is sent.

        ``names`` are host names of the file that are resolved already.
        """
        self._fed_at_ms = self._s.now_ms = now_ms
        my_id = snapshot.my_id
        if my_id is None:
            my_id = RunId("".join("0123456789abcdef"[self._s.dice.below(16)] for _ in range(40)))
        self._apply(restored(snapshot, my_id, own_port, timing or Timing()))
        if snapshot.my_id is None:
            self._apply(e.FlushOrdered())
        self._apply_all(e.NameLearnt(host=host, ip=ip) for host, ip in (names or {}).items())
        self._apply_all(master_events(self._s, snapshot, now_ms))
        outcome = self._finish(save_soon=False)
        if snapshot.my_id is not None:
            return outcome
        return Outcome(outcome.events, self._saves.hold_all(outcome.effects))  # even a connection would tell the new id

    def feed(self, heard: i.Input, now_ms: Millis) -> Outcome:
        """Take one input in. The same inputs at the same times with the same dice give the same outcomes."""
        s, silent_ms = self._s, now_ms - self._fed_at_ms
        assert silent_ms >= 0, "time runs backwards"
        self._fed_at_ms = s.now_ms = now_ms
        if silent_ms > self.state.timing.tilt_trigger_ms:
            self._apply(e.TiltEntered(at_ms=now_ms))
        kind = type(heard)
        names = senses.PERCEIVE[kind](s, heard)
        turn = self._turn
        if names is not None:
            for name in names:
                turn.touched[name] = None
            if (handler := _HANDLERS.get(kind)) is not None:
                handler(self, heard)
        elif not (s.disturbed or turn.events):
            return NOTHING
        if not (turn.touched or turn.watches or turn.events or turn.effects or turn.released or s.disturbed):
            return NOTHING
        return self._finish()

    def next_due_ms(self) -> Millis:
        """When to feed TimePassed at the latest, if nothing else is fed before."""
        beat_ms = max(1, min(BEAT_MS, self.state.timing.tilt_trigger_ms // 2))
        due_ms = self._fed_at_ms + beat_ms
        moments = self._agenda.moments
        if moments:
            due_ms = min(due_ms, moments[0])
        return due_ms

    @property
    def version(self) -> int:
        """Number of the newest save asked for."""
        return self._saves.version

    @property
    def calm(self) -> bool:
        """Whether no master is down and no failover runs: nothing suffers from a few milliseconds."""
        return not self._restless

    def snapshot(self) -> Snapshot:
        """What must be on disk for the newest version."""
        return snapshot_of(self.state)

    # ------------------------------------------------------------ the five steps

    def _apply_all(self, events: Iterable[e.Event]) -> None:
        for event in tuple(events):
            self._apply(event)

    def _apply(self, event: e.Event) -> None:
        """Evolve, keep the senses in step, react."""
        subject = getattr(event, "subject", None)
        name = None if subject is None else subject.master
        before = None if name is None else self.state.masters.get(name)
        evolve(self.state, event)
        self.revision += 1
        turn = self._turn
        turn.events.append(event)
        after = None if name is None else self.state.masters.get(name)
        if name is None or type(event) is e.EpochRaised:
            self._s.hellos.clear()
        else:
            self._s.hellos.pop(name, None)
        if name is not None:
            self._note_candidacy(name, after)
            if after is not None:
                turn.touched[name] = None
        turn.effects += upkeep.keep_in_step(self._s, event)
        self._note(event)
        concerned = after or before
        script = None if concerned is None else concerned.settings.notification_script
        turn.effects += react(self._s, event, script)

    def _touch_all(self) -> None:
        """The rules of all masters are to be looked at."""
        self._turn.touched.update(dict.fromkeys(self.state.masters))

    def _note_candidacy(self, name: str, master: Master | None) -> None:
        """Where the last election that was open is decided, those that waited for it may begin."""
        candidacies = self._s.candidacies
        if master is not None and agreement.stands(master):
            candidacies[name] = None
        elif name in candidacies:
            del candidacies[name]
            if not candidacies:
                waiting = (m.name for m in self.state.masters.values() if m.o_down and m.failover is None)
                self._turn.touched.update(dict.fromkeys(waiting))

    def _note(self, event: e.Event) -> None:
        match event:
            case e.MasterRemoved():
                self._forget(event.subject.master)
            case e.PeerEvicted() | e.PeerAddressSpread():
                self._touch_all()
            case e.ReconfSent(best_effort=False):
                check_parallel_syncs(self.state.masters[event.subject.master])
            case _:
                pass

    def _forget(self, name: str) -> None:
        """A master was removed."""
        self._marks.forget(name)
        self._restless.discard(name)
        self._saves.forget(name)

    def _settle(self, name: str) -> None:
        for _ in range(MAX_ROUNDS):
            spoken = len(self._turn.events)
            for rule in RULES:
                master = self.state.masters.get(name)
                if master is None:
                    return
                self._apply_all(rule(self._s, master))
            if len(self._turn.events) == spoken:
                return
        raise InvariantViolation(f"the rules of {name} do not come to rest: {self._turn.events[-5:]}")

    def _finish(self, *, save_soon: bool = True) -> Outcome:
        """Settle every master concerned, do what is due, and sort out what must wait for the disk."""
        turn = self._turn
        settled: set[str] = set()
        while waiting := [name for name in turn.touched if name not in settled]:
            for name in waiting:
                settled.add(name)
                if self.state.tilt_since_ms is None:
                    self._settle(name)
        if turn.events:
            self._disturb(turn.events)
        self._tend()
        for name in turn.touched if turn.events else ():
            if (master := self.state.masters.get(name)) is not None:
                check_state(self.state, master)
                self._marks.check(self.state, master)
        self._turn = _Turn()
        return self._deliver(turn, save_soon)

    def _disturb(self, events: list[e.Event]) -> None:
        """What is due may have changed with what was decided: for the masters concerned, or for all."""
        watches, masters = self._turn.watches, self.state.masters
        everybody = any(type(event) in FOR_ALL for event in events)
        for name in masters if everybody else self._turn.touched:
            if (master := masters.get(name)) is None:
                continue
            for watch in rhythm.watches_of(self._s, master):
                watch.calm_ms = 0
                watches[watch] = None
            if rhythm.restless(master):
                self._restless.add(name)
            else:
                self._restless.discard(name)

    def _tend(self) -> None:
        """Do what is due, and plan when to look again."""
        s, turn, plan = self._s, self._turn, self._agenda.plan
        for name in turn.touched:
            if (master := self.senses.masters.get(name)) is not None:
                turn.watches[master] = None
        for watch in s.disturbed:
            watch.calm_ms = 0
            turn.watches[watch] = None
        s.disturbed.clear()
        for watch in turn.watches:
            if not watch.gone:
                due_ms = rhythm.tend(s, watch, turn.effects)
                if due_ms < NEVER_MS:
                    plan(watch, max(due_ms, s.now_ms + 1))

    # ------------------------------------------------------------ durable before audible

    def _deliver(self, turn: _Turn, save_soon: bool) -> Outcome:
        if not (turn.events or turn.released or self._saves.held):
            return Outcome((), tuple(turn.effects))
        effects = self._saves.sort_out(turn.events, turn.effects, turn.released, save_soon=save_soon)
        return Outcome(tuple(turn.events), effects)

    def _config_saved(self, heard: i.ConfigSaved) -> None:
        self._turn.released += self._saves.succeeded(heard.version)
        if self.state.disk_failing:
            self._apply(e.DiskRecovered())
            self._touch_all()
        self._apply_facts()

    def _config_save_failed(self, heard: i.ConfigSaveFailed) -> None:
        self._turn.released += self._saves.failed(heard.version)
        self._apply(e.DiskFailed(reason=heard.reason))
        self._touch_all()

    def _apply_facts(self) -> None:
        """What is on disk now has happened, one fact after the other."""
        for event in self._saves.facts():
            self._apply(event)

    # ------------------------------------------------------------ one handler for each input that decides something

    def _time_passed(self, heard: i.TimePassed) -> None:
        self._watch_wall_clock(heard.wall_ms)
        timing, since_ms = self.state.timing, self.state.tilt_since_ms
        if since_ms is not None and self._s.now_ms - since_ms >= timing.tilt_period_ms:
            self._apply(e.TiltExited())
            self._apply_facts()
            self._touch_all()
        self._look()
        self._turn.effects += self._saves.retry()

    def _look(self) -> None:
        """Take what is due."""
        turn, now_ms = self._turn, self._s.now_ms
        for watch in self._agenda.take(now_ms):
            turn.watches[watch] = None
            if watch.judge_ms <= now_ms:
                for name in rhythm.judged(self._s, watch):
                    turn.touched[name] = None

    def _watch_wall_clock(self, wall_ms: Millis) -> None:
        """The wall clock must keep step with the monotonic one (core.md Q21)."""
        if self._wall is not None:
            then_wall_ms, then_ms = self._wall
            step_ms = (wall_ms - then_wall_ms) - (self._s.now_ms - then_ms)
            if abs(step_ms) > self.state.timing.tilt_trigger_ms:
                self._apply(e.TiltEntered(at_ms=self._s.now_ms))
        self._wall = (wall_ms, self._s.now_ms)

    def _resolve(self, *hosts: str | None) -> None:
        self._turn.effects += (ResolveName(host) for host in topology.unresolved(self._s, *hosts))

    def _name_resolved(self, heard: i.NameResolved) -> None:
        before = self.state.names.get(heard.host)
        if heard.ip is None or heard.ip == before:
            return
        self._apply(e.NameLearnt(host=heard.host, ip=heard.ip))
        if before is not None:
            self._turn.effects += connections.follow_name(self._s, heard.host)

    def _link_opened(self, heard: i.LinkOpened) -> None:
        if isinstance(heard.link, PeerLink):
            self._apply_all(topology.meet_peer(self._s, heard.link.run_id, heard.local_host))

    def _ping_answered(self, heard: i.PingAnswered) -> None:
        self._turn.effects += senses.script_to_kill(self._s, heard)
        if not isinstance(heard.link, PeerLink):
            master = self.state.masters.get(heard.link.master)
            if master is not None and master.address == heard.link.address:
                self._apply_all(topology.hear_pong(self._s, master, heard.text))

    def _info_heard(self, heard: i.InfoHeard) -> None:
        server = senses.server_of(self._s, heard.link)
        if server is None or heard.reading is None or heard.reading.role is None:
            return
        master, replica = server
        self._resolve(heard.reading.master_host, *(address.host for address in heard.reading.replicas))
        self._apply_all(topology.hear_info(self._s, master, replica, heard.reading))
        self._turn.effects += map(ResolveName, topology.doubted(self._s, master, heard.reading))
        if replica is not None and self.state.tilt_since_ms is None:
            self._apply_all(failover.hear_info(self._s, master, replica, heard.reading))
            self._apply_all(topology.correct(self._s, master, replica, heard.reading))

    def _hello_heard(self, heard: i.HelloHeard) -> None:
        self._resolve(heard.hello.host, heard.hello.master_host)
        self._apply_all(topology.hear_hello(self._s, heard.hello, _switch))

    def _opinion_asked(self, heard: i.OpinionAsked) -> None:
        """Answer fast (rule R2); two masters at one address: the lowest name (core.md Q19)."""
        asked = Address(heard.host, heard.port)
        names = [name for name, m in self.state.masters.items() if self.state.same_address(m.address, asked)]
        if not names:
            self._resolve(heard.host)
            self._turn.effects.append(AnswerOpinion(heard.request, False, None, 0))
            return
        master = self.state.masters[min(names)]
        down = master.s_down and self.state.tilt_since_ms is None
        if master.s_down:
            self._nudge(master)
        if heard.candidate is None or self.state.disk_failing:
            self._turn.effects.append(AnswerOpinion(heard.request, down, None, 0))
            return
        if agreement.means_another(self._s, master, asked, heard.candidate):
            self._turn.effects.append(AnswerOpinion(heard.request, False, None, 0))
            return
        self._apply_all(agreement.vote(self._s, master, heard.epoch, heard.candidate))
        self._turn.effects.append(AnswerOpinion(heard.request, down, master.voted_for, master.leader_epoch))

    def _nudge(self, master: Master) -> None:
        """Whoever asks sees the master down: ask those again who did not say so yet."""
        for run_id in master.peers:
            opinion = self.senses.opinions[master.name, run_id]
            opinion.nudged = opinion.nudged or not opinion.master_down
            self._s.disturbed.append(opinion)
        self._turn.touched[master.name] = None

    def _answer(self, request: int, verdict: administration.Verdict) -> bool:
        """Apply what was decided, or answer why not; whether it was accepted."""
        if isinstance(verdict, Refusal):
            self._turn.effects.append(Answer(request, verdict.value))
            return False
        self._apply_all(verdict)
        return True

    def _accept(self, request: int, verdict: administration.Verdict) -> None:
        if self._answer(request, verdict):
            self._turn.effects.append(Answer(request, None))

    def _monitor_asked(self, heard: i.MonitorAsked) -> None:
        self._accept(heard.request, administration.monitor(self._s, heard))

    def _remove_asked(self, heard: i.RemoveAsked) -> None:
        self._accept(heard.request, administration.remove(self._s, heard, agreement.bequeath))

    def _reset_asked(self, heard: i.ResetAsked) -> None:
        for name in heard.names:
            if (master := self.state.masters.get(name)) is not None:
                self._apply_all(failover.conclude(self._s, master))
        verdict = administration.reset(self._s, heard)
        if self._answer(heard.request, verdict):
            count = 0 if isinstance(verdict, Refusal) else len(verdict)
            self._turn.effects.append(Answer(heard.request, None, number=count))

    def _set_asked(self, heard: i.SetAsked) -> None:
        if self._answer(heard.request, administration.change_settings(self._s, heard)):
            self._turn.effects.append(Answer(heard.request, heard.refusal))

    def _globals_set_asked(self, heard: i.GlobalsSetAsked) -> None:
        before = self.state.settings
        self._accept(heard.request, administration.change_globals(self._s, heard))
        after = self.state.settings
        if (before.sentinel_user, before.sentinel_pass) != (after.sentinel_user, after.sentinel_pass):
            self._turn.effects += upkeep.hang_up_peers(self._s, "credentials changed")
            self._touch_all()

    def _timing_set_asked(self, heard: i.TimingSetAsked) -> None:
        self._accept(heard.request, administration.change_timing(self._s, heard))
        self._touch_all()

    def _failover_asked(self, heard: i.FailoverAsked) -> None:
        self._accept(heard.request, administration.failover(self._s, heard, agreement.start_attempt))

    def _crash_points_set_asked(self, heard: i.CrashPointsSetAsked) -> None:
        self._accept(heard.request, administration.set_crash_points(self._s, heard))

    def _flush_asked(self, heard: i.FlushAsked) -> None:
        self._accept(heard.request, (e.FlushOrdered(),))


def _switch(s: Situation, master: Master, new: Address, config_epoch: Epoch, by: Any) -> e.MasterSwitched:
    return failover.switch(s, master, new, config_epoch, by=by)


_HANDLERS: Final[dict[type[i.Input], Callable[[Engine, Any], None]]] = {
    i.TimePassed: Engine._time_passed,
    i.ConfigSaved: Engine._config_saved,
    i.ConfigSaveFailed: Engine._config_save_failed,
    i.NameResolved: Engine._name_resolved,
    i.LinkOpened: Engine._link_opened,
    i.PingAnswered: Engine._ping_answered,
    i.InfoHeard: Engine._info_heard,
    i.HelloHeard: Engine._hello_heard,
    i.OpinionAsked: Engine._opinion_asked,
    i.MonitorAsked: Engine._monitor_asked,
    i.RemoveAsked: Engine._remove_asked,
    i.ResetAsked: Engine._reset_asked,
    i.SetAsked: Engine._set_asked,
    i.GlobalsSetAsked: Engine._globals_set_asked,
    i.TimingSetAsked: Engine._timing_set_asked,
    i.FailoverAsked: Engine._failover_asked,
    i.CrashPointsSetAsked: Engine._crash_points_set_asked,
    i.FlushAsked: Engine._flush_asked,
}
"""Inputs without a row here are perceptions only."""
