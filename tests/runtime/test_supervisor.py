"""A supervisor speaks up when a failover drags on."""

from __future__ import annotations

import contextlib

import trio
import trio.testing

from trio_sentinel.model.events import FailoverStarted
from trio_sentinel.model.settings import MasterSettings
from trio_sentinel.model.state import Failover, Manner, Master, SelectingReplica, SentinelState
from trio_sentinel.model.values import Address, Level, RunId
from trio_sentinel.runtime.supervisor import Supervisor


class NoLeases:
    """Nothing to hold."""

    def lease_master(self, name: str) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext()

    def lease_peers(self, name: str) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext()


def in_a_failover(since_ms: int) -> tuple[SentinelState, FailoverStarted]:
    """A sentinel that fails its master over, and the event that began it."""
    master = Master(name="m", address=Address("10.0.0.1", 6379), settings=MasterSettings(quorum=2))
    master.failover = Failover(epoch=1, manner=Manner.FORCED, phase=SelectingReplica(), phase_since_ms=since_ms)
    state = SentinelState(my_id=RunId("a" * 40), masters={"m": master})
    subject = state.subject_of_master(master)
    return state, FailoverStarted(subject=subject, epoch=1, manner=Manner.FORCED, attempt_at_ms=0, at_ms=since_ms)


async def test_a_slow_phase_is_told_with_its_length(autojump_clock: trio.testing.MockClock) -> None:
    await trio.sleep(1000)
    state, started = in_a_failover(int(trio.current_time() * 1000) - 250)
    lines: list[str] = []

    def log(level: Level, text: str) -> None:
        lines.append(text)

    async with trio.open_nursery() as nursery:
        supervisor = Supervisor("m", state, NoLeases(), nursery, log)
        supervisor.begin()
        supervisor.tell(started)
        await trio.sleep(6)
        supervisor.stop()
    assert lines == ["Failover of m is still in select_slave after 5250 ms"]


async def test_what_the_last_save_decides_begins_nothing() -> None:
    """The nursery is closed by then; the keeper would fail, and with it the save."""
    state, started = in_a_failover(0)
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor("m", state, NoLeases(), nursery, lambda level, text: None)
        supervisor.begin()
        supervisor.stop()
    supervisor.tell(started)
    assert not nursery.child_tasks
