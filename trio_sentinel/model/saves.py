"""Durable before audible: which saves were asked for, what waits for them, and what their failure takes back.

An outcome with a durable event asks for a save first, and everything that could tell of it waits behind that save in
``held``; so does what is said after it, for nothing overtakes. The save's success releases it, and makes the facts
true that were waiting for it: a vote of my own counts, a promotion may be told. Its failure takes the promises back: a
vote is answered ``*``, a command gets an error (core.md Q3); news of votes and epochs wait for a save that succeeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import frozen

from trio_sentinel.model import events as e
from trio_sentinel.model.effects import Announce, Answer, AnswerOpinion, AskPeer, Effect, SaveConfig, SayHello
from trio_sentinel.model.refusals import Refusal
from trio_sentinel.model.situation import Situation
from trio_sentinel.model.state import Failover, ReconfiguringReplicas, WaitingForVotes
from trio_sentinel.model.values import Epoch, Millis, PeerLink, ServerLink

RETRY_MS: Final = 1000
MAX_UNSPOKEN: Final = 10_000
"""News kept while the disk fails."""


@frozen
class _Promise:
    """A fact of one failover that may be used once `version` is on disk."""

    version: int
    master: str
    epoch: Epoch


class Saves:
    """The saves of one engine. It gives effects and facts; applying events is the engine's."""

    def __init__(self, s: Situation) -> None:
        self._s = s
        self.version = 0
        """Number of the newest save asked for."""
        self.saved_version = 0
        self.held: list[tuple[int, list[Effect]]] = []
        """By the save that releases them, in order."""
        self._unspoken: list[Effect] = []
        """News of votes and epochs that could not be saved yet."""
        self._promises: list[_Promise] = []
        self._raised: tuple[Epoch, int] = 0, 0
        """The epoch of my last attempt, and the save that it was first in."""
        self._retry_at_ms: Millis | None = None

    # ------------------------------------------------------------ before a save

    def sort_out(
        self, events: list[e.Event], effects: list[Effect], released: list[Effect], *, save_soon: bool
    ) -> tuple[Effect, ...]:
        """What may be done now of what one input led to, with the save that it needs. The rest is held."""
        silent = [effect for effect in effects if not effect.audible]
        audible = [effect for effect in effects if effect.audible]
        durable = any(event.durable for event in events)
        if durable or (save_soon and any(type(event) in e.SAVED_SOON for event in events)):
            self.version += 1
            silent.insert(0, SaveConfig(self.version, urgent=durable))
            self._make_promises(events)
        if durable or (self.held and audible):
            self.held.append((self.version if durable else self.held[-1][0], audible))
            audible = []
        return (*silent, *released, *audible)

    def _make_promises(self, events: list[e.Event]) -> None:
        for event in events:
            if isinstance(event, e.FailoverStarted) and event.epoch != self._raised[0]:
                self._raised = event.epoch, self.version
            if isinstance(event, e.FailoverStarted | e.PromotionSeen):
                self._promises.append(_Promise(self.version, event.subject.master, event.epoch))

    def hold_all(self, effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
        """Only the saves of a first outcome, which asked for one: the rest waits for it, whatever it tells."""
        self.held[0][1][:0] = [effect for effect in effects if not isinstance(effect, SaveConfig)]
        return tuple(effect for effect in effects if isinstance(effect, SaveConfig))

    def forget(self, name: str) -> None:
        """A master was removed. What waits to be told of it is dropped: the save that will release it may be one of the
        same name monitored anew, and what was decided before never reaches the disk."""
        for _, effects in self.held:
            effects[:] = [effect for effect in effects if not _is_talk_about(name, effect)]

    # ------------------------------------------------------------ after a save

    def succeeded(self, version: int) -> list[Effect]:
        """A save is on disk: what waited for it."""
        self.saved_version = max(self.saved_version, version)
        if self.saved_version >= self._raised[1]:
            self._s.senses.untold_epoch = None
        if version == self.version:
            self._retry_at_ms = None
        released, self._unspoken = self._unspoken, []
        while self.held and self.held[0][0] <= version:
            released += self.held.pop(0)[1]
        return released

    def facts(self) -> Iterator[e.Event]:
        """What the saves until now made true. Each event is to be applied before the next one is asked for."""
        made, self._promises = self._promises, []
        for promise in made:
            if promise.version > self.saved_version or self._stands_still(promise):
                self._promises.append(promise)
            else:
                yield from self._facts(promise)

    def _running(self, promise: _Promise) -> Failover | None:
        """The failover that a promise is about, if it still runs."""
        master = self._s.state.masters.get(promise.master)
        running = None if master is None else master.failover
        return running if running is not None and running.epoch == promise.epoch else None

    def _stands_still(self, promise: _Promise) -> bool:
        """A failover does so in TILT: its clients are told of it afterwards, when the orders that belong to it may be
        sent (property 25)."""
        running = self._running(promise)
        unpublished = (
            running is not None and isinstance(running.phase, ReconfiguringReplicas) and not running.phase.published
        )
        return self._s.state.tilt_since_ms is not None and unpublished

    def _facts(self, promise: _Promise) -> Iterator[e.Event]:
        running = self._running(promise)
        if running is None:
            return
        master = self._s.state.masters[promise.master]
        subject = self._s.state.subject_of_master(master)
        match running.phase:
            case WaitingForVotes(False):
                yield e.VoteSaved(subject=subject)
            case ReconfiguringReplicas(promoted, False):
                replica = self._s.state.subject_of_replica(master, promoted)
                yield e.PromotionPublished(subject=subject, replica=replica, at_ms=self._s.now_ms)
                yield e.ReconfigurationBegun(subject=subject)
            case _:
                pass

    def failed(self, version: int) -> list[Effect]:
        """A save failed: everything that is no promise goes out, late rather than never."""
        self._s.senses.untold_epoch = None
        self._retry_at_ms = self._s.now_ms + RETRY_MS
        released: list[Effect] = []
        while self.held and self.held[0][0] <= version:
            for effect in self.held.pop(0)[1]:
                if _tells_a_promise(effect):
                    self._unspoken.append(effect)
                elif (rest := _take_back(self._s, effect)) is not None:
                    released.append(rest)
        del self._unspoken[:-MAX_UNSPOKEN]
        return released

    def retry(self) -> tuple[Effect, ...]:
        """The next attempt, when its time has come."""
        if self._retry_at_ms is None or self._s.now_ms < self._retry_at_ms:
            return ()
        self._retry_at_ms = self._s.now_ms + RETRY_MS
        self.version += 1
        return (SaveConfig(self.version, urgent=True),)


def _take_back(s: Situation, effect: Effect) -> Effect | None:
    """What is still said when the promise in it is taken back."""
    match effect:
        case AnswerOpinion():
            return AnswerOpinion(effect.request, effect.down, None, 0)
        case Answer(error=None):
            return Answer(effect.request, Refusal.NOT_SAVED.value)
        case AskPeer():
            opinion = s.senses.opinions.get((effect.master, effect.peer.run_id))
            if opinion is not None:
                opinion.ask_in_flight = False
                s.disturbed.append(opinion)
            return None
        case SayHello(link=PeerLink() as peer):
            opinion = s.senses.opinions.get((effect.hello.master, peer.run_id))
            if opinion is not None:
                opinion.hello_in_flight = False
                s.disturbed.append(opinion)
            return None
        case SayHello(link=ServerLink() as server):
            sense = s.senses.servers.get((server.master, server.address))
            if sense is not None:
                sense.hello_in_flight = False
                s.disturbed.append(sense)
            return None
        case _:
            return effect


def _is_talk_about(name: str, effect: Effect) -> bool:
    match effect:
        case SayHello():
            return effect.hello.master == name
        case AskPeer():
            return effect.master == name
        case _:
            return False


def _tells_a_promise(effect: Effect) -> bool:
    """Whether an effect tells subscribers of a vote or epoch that did not reach the disk."""
    return isinstance(effect, Announce) and isinstance(effect.event, e.VoteCast | e.EpochRaised | e.PromotionSeen)
