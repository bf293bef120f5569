"""The two that make a process what it is: the mind that decides for it, and the judge that watches over it."""

from __future__ import annotations

from typing import Any, Protocol

from trio_sentinel.model import effects as fx
from trio_sentinel.model import inputs as i
from trio_sentinel.model.engine import Outcome
from trio_sentinel.model.events import Event
from trio_sentinel.model.observations import Observations
from trio_sentinel.model.snapshot import Snapshot
from trio_sentinel.model.state import SentinelState


class Judge(Protocol):
    """What watches over a process: the properties that its kind promises."""

    def started(self, sentinel: Any) -> None:
        """A process begins from its file."""

    def ended(self, sentinel: Any) -> None:
        """A process dies, or the run is over."""

    def events(self, sentinel: Any, events: tuple[Event, ...]) -> None:
        """The events of one turn."""

    def effect(self, sentinel: Any, effect: fx.Effect) -> None:
        """One effect, just before it is carried out."""

    def opinion_sent(self, sentinel: Any, asked: fx.AskPeer, answer: fx.AnswerOpinion, *, in_tilt: bool) -> None:
        """An answer to a question of a peer."""


class Mind(Protocol):
    """What decides for a process: our engine, or the model of a stock sentinel."""

    state: SentinelState
    senses: Observations

    def start(self, snapshot: Snapshot, now_ms: int, *, own_port: int = 0) -> Outcome:
        """Begin from the file."""

    def feed(self, heard: i.Input, now_ms: int) -> Outcome:
        """Take one input in."""

    def next_due_ms(self) -> int:
        """When time must be fed at the latest."""

    def snapshot(self) -> Snapshot:
        """What the file should say now."""
