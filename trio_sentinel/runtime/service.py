"""The service: nurseries nested by who must outlive whom, and the order of start and stop.

    keeper, errands, resolver          the disk and the scripts outlive everything that may need them
      └ client reactor, sweeper        clients are told to the last
          └ link reactor               links are closed before clients are
              └ failovers, beat        decisions end first

Stopping is leaving the blocks, innermost first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

from trio_sentinel.model.engine import Engine, Outcome
from trio_sentinel.model.events import Event, MasterMonitored, MasterRemoved
from trio_sentinel.model.values import Level
from trio_sentinel.runtime.board import Board
from trio_sentinel.runtime.bridge import Bridge
from trio_sentinel.runtime.clients import SWEEPS_PER_SECOND, Clients
from trio_sentinel.runtime.errands import Errands
from trio_sentinel.runtime.keeper import Keeper
from trio_sentinel.runtime.reactor import Reactor
from trio_sentinel.runtime.supervisor import Supervisor
from trio_sentinel.runtime.switchboard import Switchboard

SWEEP_S: Final = 1 / SWEEPS_PER_SECOND


class Service:
    """The tasks of one sentinel. Made by the composition root, which attaches the adapters."""

    def __init__(
        self,
        *,
        engine: Engine,
        bridge: Bridge,
        board: Board,
        errands: Errands,
        keeper: Keeper,
        links: Switchboard,
        link_reactor: Reactor,
        client_reactor: Reactor,
        clients: Clients,
        log: Callable[[Level, str], None],
        on_events: Callable[[tuple[Event, ...]], None],
    ) -> None:
        self._engine = engine
        self._bridge = bridge
        self._board = board
        self._errands = errands
        self._keeper = keeper
        self.links: Final = links
        self._link_reactor = link_reactor
        self._client_reactor = client_reactor
        self._clients = clients
        self._log = log
        self._on_events = on_events
        self._supervisors: dict[str, Supervisor] = {}
        self._masters: trio.Nursery
        self._stopping = False

    @asynccontextmanager
    async def run(self, start: Callable[[], Outcome]) -> AsyncIterator[None]:
        """Everything runs inside the block. `start` makes the first outcome, once every owner is there."""
        async with _nursery() as outer:
            outer.start_soon(self._keeper.serve, name="keeper")
            await outer.start(self._errands.serve, self._board.tell, name="errands")
            async with _nursery() as port:
                await port.start(self._client_reactor.run, name="client reactor")
                port.start_soon(self._sweep, name="sweeper")
                async with _nursery() as wires:
                    await wires.start(self._link_reactor.run, name="link reactor")
                    async with _nursery() as self._masters:
                        try:
                            self._begin(start())
                            self._masters.start_soon(self._bridge.beat, name="beat")
                            yield
                        finally:
                            self._stopping = True
                            for supervisor in self._supervisors.values():
                                supervisor.stop()
                    self.links.close()
                self._clients.close_all()
            self._board.close()

    def _begin(self, outcome: Outcome) -> None:
        """The masters of the file get their supervisors, and these their leases, before the first link is opened."""
        for event in outcome.events:
            if isinstance(event, MasterMonitored):
                self._supervise(event.subject.master)
        self._bridge.carry_out(outcome)
        self._bridge.on_events = self._hear

    def _hear(self, events: tuple[Event, ...]) -> None:
        """Start, tell and stop supervisors as masters come and go."""
        self._on_events(events)
        for event in events:
            match event:
                case MasterMonitored() if self._stopping:
                    pass  # saved, and watched after the next start
                case MasterMonitored():
                    self._supervise(event.subject.master)
                case MasterRemoved():
                    if (unneeded := self._supervisors.pop(event.subject.master, None)) is not None:
                        unneeded.stop()
                case _:
                    subject = getattr(event, "subject", None)
                    if subject is not None and subject.master in self._supervisors:
                        self._supervisors[subject.master].tell(event)

    def _supervise(self, name: str) -> None:
        supervisor = Supervisor(name, self._engine.state, self.links, self._masters, self._log)
        self._supervisors[name] = supervisor
        supervisor.begin()

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(SWEEP_S)
            self._clients.sweep(self._bridge.now_ms())


@asynccontextmanager
async def _nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery that is cancelled when its block is left, however that happens."""
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        finally:
            nursery.cancel_scope.cancel()
