"""The one timer of the model, and what comes before it looks at the clock."""

from __future__ import annotations

import socket

import trio
from trio.testing import MockClock

from tests.model.given import ScriptedDice
from trio_sentinel.model.engine import Engine
from trio_sentinel.model.inputs import Input, TimePassed
from trio_sentinel.runtime.bridge import Bridge
from trio_sentinel.runtime.reactor import Reactor


class Listening(Bridge):
    """A bridge that notes what it hears instead of feeding it."""

    def __init__(self) -> None:
        super().__init__(Engine(ScriptedDice(), int(trio.current_time() * 1000)))
        self.told: list[str] = []
        self.catch_up = lambda: self.told.append("caught up")

    def hear(self, perceived: Input) -> None:
        """See above; the clock goes on all the same."""
        self.told.append(type(perceived).__name__)
        self.engine.feed(TimePassed(0), self.now_ms())


async def test_replies_are_read_before_a_late_look_at_the_clock(mock_clock: MockClock) -> None:
    """A process that was held up must not take replies that lie in its kernel for silence."""
    bridge = Listening()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bridge.beat)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(0.51)
        await trio.testing.wait_all_tasks_blocked()
        assert bridge.told == ["TimePassed"]
        mock_clock.jump(0.9)
        await trio.testing.wait_all_tasks_blocked()
        assert bridge.told == ["TimePassed", "caught up", "TimePassed"]
        nursery.cancel_scope.cancel()


class Ear:
    """A handler that notes what it receives."""

    def __init__(self) -> None:
        self.data = b""

    def received(self, data: bytes) -> None:
        self.data += data

    def ended(self) -> None:
        """No matter."""

    def drained(self) -> None:
        """No matter."""

    def lost(self, reason: str) -> None:
        """No matter."""


async def test_catching_up_serves_everybody_who_waits_without_the_task() -> None:
    reactor = Reactor()
    ears, far_ends = [Ear() for _ in range(600)], []
    try:
        for ear in ears:
            near, far = socket.socketpair()
            near.setblocking(False)
            far_ends.append(far)
            reactor.adopt(near, "", lambda transport, ear=ear: ear, None)  # type: ignore[misc]
            far.send(b"here")
        while any(not ear.data for ear in ears):
            served = sum(bool(ear.data) for ear in ears)
            reactor.catch_up()
            assert sum(bool(ear.data) for ear in ears) > served
    finally:
        reactor.close_all()
        for far in far_ends:
            far.close()
