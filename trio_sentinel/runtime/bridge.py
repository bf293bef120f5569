"""The bridge between the body and the mind: the only caller of ``feed``.

1. Everything here is synchronous: an input is fed, and every effect has reached its owner when ``hear`` returns.
2. It stamps the time, and keeps the one timer (``beat.py``) in step with what the engine wants next.
3. An input that arises while effects are handed out (a script's end, a name known at once) waits its turn.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Protocol

import trio

from trio_sentinel.errors import SimulatedCrash
from trio_sentinel.model import effects as fx
from trio_sentinel.model.engine import NOTHING, Engine, Outcome
from trio_sentinel.model.events import Event
from trio_sentinel.model.inputs import Input, NameResolved, Request, TimePassed
from trio_sentinel.model.observations import Observations
from trio_sentinel.model.rhythm import MANY_MASTERS
from trio_sentinel.model.state import SentinelState
from trio_sentinel.model.values import Millis, is_ip
from trio_sentinel.ports import Clock
from trio_sentinel.runtime.clock import TrioClock

Answered = fx.Answer | fx.AnswerOpinion

GAP_S: Final = 0.01
LATE_S: Final = 0.1
"""Whoever looks at the clock so much too late has replies to read first."""


class LinkOwner(Protocol):
    """Who carries out orders to servers and peers."""

    def carry_out(self, effect: Any) -> None:
        """Send or connect; never calls back into the bridge."""

    def flush(self) -> None:
        """Put what was collected on the wire."""


class NewsOwner(Protocol):
    """Who tells the world."""

    def publish(self, announce: fx.Announce) -> None:
        """Log, publish, run scripts."""


class SaveOwner(Protocol):
    """Who writes the configuration."""

    def want(self, version: int, *, urgent: bool) -> None:
        """Save the newest state soon, or now."""


class ErrandOwner(Protocol):
    """Who runs scripts."""

    def enqueue(self, path: str, arguments: tuple[str, ...]) -> None:
        """Run a script when its turn comes."""


class NameOwner(Protocol):
    """Who knows the addresses of names."""

    def resolve(self, host: str) -> None:
        """Find out; the bridge hears NameResolved."""


class Bridge:
    """Fulfils ``ports.Mind``. Owners are attached before the first input is fed."""

    def __init__(self, engine: Engine, clock: Clock | None = None) -> None:
        self.engine = engine
        self.clock: Final[Clock] = TrioClock() if clock is None else clock
        self.links: LinkOwner
        self.board: NewsOwner
        self.keeper: SaveOwner
        self.errands: ErrandOwner
        self.names: NameOwner
        self.catch_up: Callable[[], None] = lambda: None
        """Hears what came over the links while the process was held up: a reply that lies in the kernel is not
        silence."""
        self.on_events: Callable[[tuple[Event, ...]], None] = lambda events: None
        self.remarks: Mapping[type, Callable[[Any], None]] = {}
        """What is to be said about an input before it is fed, by its type."""
        self._requests = itertools.count(1)
        self._waiting: dict[int, Callable[[Answered], None]] = {}
        self._asked_names: dict[str, list[Callable[[str | None], None]]] = {}
        self._inbox: deque[Input] = deque()
        self._busy = False
        self._alarm = trio.CancelScope()

    # ------------------------------------------------------------ ports.Mind

    @property
    def state(self) -> SentinelState:
        """What was decided. Read only."""
        return self.engine.state

    @property
    def senses(self) -> Observations:
        """What was perceived. Read only."""
        return self.engine.senses

    @property
    def version(self) -> int:
        """Raised by every event: a reply without ages may be cached under it."""
        return self.engine.revision

    def now_ms(self) -> Millis:
        """The monotonic clock."""
        return self.clock.now_ms()

    def wall_ms(self) -> Millis:
        """The wall clock, ms since 1970."""
        return self.clock.wall_ms()

    def gap_s(self) -> float:
        """How long the link reactor may let replies gather, in seconds: not at all while a master is in trouble, or
        while there are so few that it would not pay."""
        engine = self.engine
        return GAP_S if engine.calm and len(engine.state.masters) >= MANY_MASTERS else 0.0

    def hear(self, perceived: Input) -> None:
        """Feed one input; every effect has been handed to its owner when this returns."""
        inbox = self._inbox
        if self._busy:
            inbox.append(perceived)
            return
        self._busy, mattered = True, False
        try:
            while True:
                remark = self.remarks.get(type(perceived))
                if remark is not None:
                    remark(perceived)
                outcome = self.engine.feed(perceived, self.now_ms())
                if outcome is not NOTHING:  # else nothing is due sooner than it was
                    mattered = True
                    self.carry_out(outcome)
                if not inbox:
                    break
                perceived = inbox.popleft()
        finally:
            self._busy = False
        if mattered:
            self._set_alarm()

    def ask(self, make: Callable[[int], Request], on_answer: Callable[[Answered], None]) -> None:
        """Feed a request; `on_answer` is called exactly once, now or when the disk has answered."""
        request = next(self._requests)
        self._waiting[request] = on_answer
        self.hear(make(request))

    def resolve(self, host: str, on_ip: Callable[[str | None], None]) -> None:
        """Ask the resolver; at once for a numeric host."""
        if is_ip(host):
            on_ip(host)
            return
        self._asked_names.setdefault(host, []).append(on_ip)
        self.names.resolve(host)

    # ------------------------------------------------------------ the other way

    def name_resolved(self, host: str, ip: str | None) -> None:
        """The resolver's answer."""
        self.hear(NameResolved(host, ip))
        for on_ip in self._asked_names.pop(host, ()):
            on_ip(ip)

    def carry_out(self, outcome: Outcome) -> None:
        """Hand every effect to its owner, in order, then tell the supervisors what happened."""
        for effect in outcome.effects:
            self._OWNERS[type(effect)](self, effect)
        if outcome.effects:
            self.links.flush()
        if outcome.events:
            self.on_events(outcome.events)

    def _to_links(self, effect: fx.Effect) -> None:
        self.links.carry_out(effect)

    def _resolve_name(self, effect: fx.ResolveName) -> None:
        self.names.resolve(effect.host)

    def _save(self, effect: fx.SaveConfig) -> None:
        self.keeper.want(effect.version, urgent=effect.urgent)

    def _announce(self, effect: fx.Announce) -> None:
        self.board.publish(effect)

    def _run_script(self, effect: fx.RunReconfigScript) -> None:
        self.errands.enqueue(effect.path, effect.arguments)

    def _answer(self, effect: fx.Answer | fx.AnswerOpinion) -> None:
        on_answer = self._waiting.pop(effect.request, None)
        if on_answer is not None:
            on_answer(effect)

    def _crash(self, effect: fx.Crash) -> None:
        raise SimulatedCrash

    _OWNERS: ClassVar[dict[type[fx.Effect], Callable[[Bridge, Any], None]]] = {
        fx.OpenLink: _to_links,
        fx.CloseLink: _to_links,
        fx.SendPing: _to_links,
        fx.PollInfo: _to_links,
        fx.KillScript: _to_links,
        fx.ResolveName: _resolve_name,
        fx.SaveConfig: _save,
        fx.SayHello: _to_links,
        fx.AskPeer: _to_links,
        fx.Promote: _to_links,
        fx.Repoint: _to_links,
        fx.PauseWriters: _to_links,
        fx.ReleaseWriters: _to_links,
        fx.HandOver: _to_links,
        fx.KillClients: _to_links,
        fx.Announce: _announce,
        fx.RunReconfigScript: _run_script,
        fx.Answer: _answer,
        fx.AnswerOpinion: _answer,
        fx.Crash: _crash,
    }

    # ------------------------------------------------------------ the one timer

    def _set_alarm(self) -> None:
        due_s = self._due_s()
        if due_s < self._alarm.deadline:
            self._alarm.deadline = due_s

    def _due_s(self) -> float:
        return self.clock.trio_time(self.engine.next_due_ms())

    def reset_alarm(self) -> None:
        """The clock was changed or stopped: ask it again when the next moment comes."""
        self._alarm.deadline = self._due_s()

    async def beat(self) -> None:
        """Feed TimePassed whenever the engine wants it. Runs until cancelled; the only timer of the model."""
        while True:
            self._alarm = trio.CancelScope(deadline=self._due_s())
            with self._alarm:
                await trio.sleep_forever()
            if trio.current_time() - self._alarm.deadline > LATE_S:
                self.catch_up()
            self.hear(TimePassed(self.wall_ms()))
