"""One supervisor for each master: it owns the master's links and gives them up when it ends.

The links have no tasks; the monitoring reactor serves them. What a supervisor owns are three scopes: *probing* (the
links to the master and its replicas, a lease that closes them), *gossip* (the peers, leased from the switchboard) and
*failover* (open from FailoverStarted to its end: it keeps the failover's story and warns when a phase drags on).
Scopes follow events; they never decide. Only the failover scope waits for anything, so only it is a task: one for each
of a thousand masters that are well would take four kilobytes to do nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, Protocol

import trio

from trio_sentinel.model.events import Event, FailoverStarted
from trio_sentinel.model.state import PHASE_WORDS, SentinelState
from trio_sentinel.model.values import Level

SLOW_PHASE_S: Final = 5.0
"""A failover that stays in one phase longer than this is worth a line in the log."""


class Leases(Protocol):
    """The switchboard, as a supervisor sees it."""

    def lease_master(self, name: str) -> AbstractContextManager[object]:
        """Allow links to the servers of a master; close them on exit."""

    def lease_peers(self, name: str) -> AbstractContextManager[object]:
        """Share the links to the peers of a master; on exit those that nobody else leases are closed."""


class Supervisor:
    """Looks after one master from `begin` to `stop`. `nursery` is where its failovers are seen through."""

    __slots__ = ("_failover", "_held", "_leases", "_log", "_nursery", "_state", "name")

    def __init__(
        self, name: str, state: SentinelState, leases: Leases, nursery: trio.Nursery, log: Callable[[Level, str], None]
    ) -> None:
        self.name = name
        self._state = state
        self._leases = leases
        self._nursery = nursery
        self._log = log
        self._held: tuple[AbstractContextManager[object], ...] = ()
        self._failover: trio.CancelScope | None = None

    def begin(self) -> None:
        """Take the leases."""
        self._held = (self._leases.lease_master(self.name), self._leases.lease_peers(self.name))
        for lease in self._held:
            lease.__enter__()

    def tell(self, event: Event) -> None:
        """Something happened to the master. Once stopped, nothing is begun: the last save may still decide things."""
        if isinstance(event, FailoverStarted) and self._failover is None and self._held:
            self._failover = trio.CancelScope()
            self._nursery.start_soon(self._see_through_failover, self._failover, name=f"failover of {self.name}")

    def stop(self) -> None:
        """Give the leases up: the master is watched no more, or nothing is."""
        if self._failover is not None:
            self._failover.cancel(reason=f"{self.name} is no longer monitored")
        held, self._held = self._held, ()
        for lease in reversed(held):
            lease.__exit__(None, None, None)

    async def _see_through_failover(self, scope: trio.CancelScope) -> None:
        """The failover scope: sleeps while the phases move on, speaks up when one does not."""
        with scope:
            while (before := self._phase()) is not None:
                await trio.sleep(SLOW_PHASE_S)
                if self._phase() == before:
                    length_ms = int(trio.current_time() * 1000) - before[1]
                    self._log(Level.NOTICE, f"Failover of {self.name} is still in {before[0]} after {length_ms} ms")
        self._failover = None

    def _phase(self) -> tuple[str, int] | None:
        master = self._state.masters.get(self.name)
        if master is None or master.failover is None:
            return None
        failover = master.failover
        return PHASE_WORDS[type(failover.phase)], failover.phase_since_ms
