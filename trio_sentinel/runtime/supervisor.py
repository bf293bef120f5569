"""One supervisor for each master: it owns the master's links and gives them up when it ends.

The links have no tasks; the monitoring reactor serves them. What a supervisor owns are three scopes: *probing* (the
links to the master and its replicas, a lease that closes them), *gossip* (the peers, leased from the switchboard) and
*failover* (open from FailoverStarted to its end: it keeps the failover's story and warns when a phase drags on).
Scopes follow events; they never decide.
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
    """Looks after one master until it is cancelled."""

    def __init__(self, name: str, state: SentinelState, leases: Leases, log: Callable[[Level, str], None]) -> None:
        self.name = name
        self._state = state
        self._leases = leases
        self._log = log
        self._changed = trio.Event()
        self._scope = trio.CancelScope()

    def tell(self, event: Event) -> None:
        """Something happened to the master."""
        if isinstance(event, FailoverStarted):
            self._changed.set()

    def stop(self) -> None:
        """The master is watched no more."""
        self._scope.cancel(reason=f"{self.name} is no longer monitored")

    async def supervise(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the leases until cancelled or stopped; started once they are held."""
        with self._scope, self._leases.lease_master(self.name), self._leases.lease_peers(self.name):
            task_status.started()
            while True:
                await self._changed.wait()
                self._changed = trio.Event()
                await self._see_through_failover()

    async def _see_through_failover(self) -> None:
        """The failover scope: sleeps while the phases move on, speaks up when one does not."""
        while True:
            before = self._phase()
            if before is None:
                return
            await trio.sleep(SLOW_PHASE_S)
            if self._phase() == before:
                length_ms = int(trio.current_time() * 1000) - before[1]
                self._log(Level.NOTICE, f"Failover of {self.name} is still in {before[0]} after {length_ms} ms")

    def _phase(self) -> tuple[str, int] | None:
        master = self._state.masters.get(self.name)
        if master is None or master.failover is None:
            return None
        failover = master.failover
        return PHASE_WORDS[type(failover.phase)], failover.phase_since_ms
