"""Every order to a server is explained by a decision, and each decision explains one order (properties 13, 14, 18)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, TypeAlias

from attrs import Factory, define, frozen

from trio_sentinel.model import effects as fx
from trio_sentinel.model import events as e
from trio_sentinel.model.state import Manner, SentinelState
from trio_sentinel.model.values import Address, InfoReading, LinkId, Millis, Role, ServerLink
from trio_sentinel.sim.broken import require

Order: TypeAlias = tuple[type[fx.Effect], ServerLink, str, int]
"""What is ordered of whom, with the address that is named in it."""

DECISIONS: frozenset[type[e.Event]] = frozenset(
    {
        e.PromotionSent,
        e.PromotionPublished,
        e.ReconfSent,
        e.ReconfTimedOut,
        e.ReplicaConverted,
        e.ReplicaRepointed,
        e.WritersPaused,
        e.FailoverAborted,
    }
)


@frozen
class Following:
    """What a server says of whom it follows, and of a handover, and since when."""

    whom: tuple[Role | None, str | None, int | None]
    since_ms: Millis
    state: str | None
    state_since_ms: Millis

    @property
    def hands_over(self) -> bool:
        """Whether it says that a handover is going on."""
        return self.state not in (None, "no-failover")


def note_following(said: dict[LinkId, Following], link: ServerLink, reading: InfoReading, now_ms: Millis) -> None:
    """One INFO was heard."""
    whom, state = (reading.role, reading.master_host, reading.master_port), reading.failover_state
    before = said.get(link)
    if before is not None and reading.role is not Role.REPLICA:
        whom = before.whom  # it follows nobody; whom it follows when it does again is judged against who it was before
    if before is None:
        said[link] = Following(whom, now_ms, state, now_ms)
    elif (whom, state) != (before.whom, before.state):
        since_ms = before.since_ms if whom == before.whom else now_ms
        state_since_ms = before.state_since_ms if state == before.state else now_ms
        said[link] = Following(whom, since_ms, state, state_since_ms)


@define(eq=False)
class Explained:
    """The orders of one life that were decided and are not given yet."""

    due: Counter[Order] = Factory(Counter)

    def decided(self, state: SentinelState, event: Any) -> None:
        """One of DECISIONS, which comes when `state` was before it."""
        self.due.update(_explained(state, event))

    def given(self, who: str, effect: Any) -> None:
        """An order is about to be given."""
        order = type(effect), effect.link, getattr(effect, "host", ""), getattr(effect, "port", 0)
        number = 14 if type(effect) is fx.Repoint else 13
        require(self.due[order] > 0, number, f"{who} orders {effect} without having decided it")
        self.due[order] -= 1


def _explained(state: SentinelState, event: Any) -> Iterator[Order]:
    master = state.masters[event.subject.master]
    running = master.failover
    promoted = None if running is None else running.promoted
    match event:
        case e.PromotionSent(handover_ms=None):
            yield fx.Promote, master.link(event.address), "", 0
        case e.PromotionSent():
            yield fx.HandOver, master.link(), state.shown(event.address.host), event.address.port
        case e.PromotionPublished() if running is not None and promoted is not None:
            if running.manner is Manner.COORDINATED:
                yield fx.KillClients, master.link(), "", 0
                yield fx.KillClients, master.link(promoted), "", 0
            else:
                yield _repoint(state, master.link(), promoted)
        case e.ReconfSent() | e.ReconfTimedOut() if promoted is not None:
            yield _repoint(state, master.link(event.address), promoted)
        case e.ReplicaConverted() | e.ReplicaRepointed():
            yield _repoint(state, master.link(event.address), master.address)
        case e.WritersPaused():
            yield fx.PauseWriters, master.link(), "", 0
        case e.FailoverAborted(release=e.Release()):
            yield fx.ReleaseWriters, master.link(), "", 0
        case _:
            pass


def _repoint(state: SentinelState, link: ServerLink, to: Address) -> Order:
    return fx.Repoint, link, state.shown(to.host), to.port
