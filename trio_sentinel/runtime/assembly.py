"""One sentinel, put together from what its host offers: the same parts in the daemon, in a library user's program and
on the simulator's stage, which differ only in the `Host`."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import attrs
from attrs import field, frozen

from trio_sentinel.model import views
from trio_sentinel.model.engine import Engine, Outcome
from trio_sentinel.model.events import Event
from trio_sentinel.model.values import Level
from trio_sentinel.ports import Clock, Dice, Socket, Sockets
from trio_sentinel.runtime.board import Board
from trio_sentinel.runtime.bridge import Bridge, NameOwner
from trio_sentinel.runtime.clients import Clients, House, Identity, UserFile
from trio_sentinel.runtime.errands import Errands, StartScript
from trio_sentinel.runtime.keeper import Keeper, Store
from trio_sentinel.runtime.poller import Poller
from trio_sentinel.runtime.reactor import Listening, Reactor
from trio_sentinel.runtime.remarks import Remarks
from trio_sentinel.runtime.service import Service
from trio_sentinel.runtime.session_admission import admit
from trio_sentinel.runtime.session_rights import Roster
from trio_sentinel.runtime.switchboard import Switchboard
from trio_sentinel.wire.commands import renamed
from trio_sentinel.wire.conf import Configuration
from trio_sentinel.wire.directives import Directives

Log = Callable[[Level, str], None]

PLACES_TO_BE_TURNED_AWAY: Final = 16
"""So many more than there are places may come in, to be told that there is none."""


@frozen(kw_only=True)
class Host:
    """The machine a sentinel runs on, as far as it needs one."""

    clock: Clock
    dice: Dice
    make_store: Callable[[Engine], Store]
    make_resolver: Callable[[Callable[[str, str | None], None]], NameOwner]
    """Gets who is to hear the answers: ``(name, ip)``."""
    start_script: StartScript
    is_executable: Callable[[str], bool]
    random_bytes: Callable[[int], bytes]
    """Unpredictable in a daemon."""
    identity: Identity
    cpu_seconds: Callable[[], Mapping[str, float]] = dict
    client_limit: Callable[[int, int], int] = lambda maxclients, links: maxclients
    """How many clients there is room for beside so many links, at most ``maxclients``."""
    make_poller: Callable[[], Poller] | None = None
    sockets: Sockets | None = None
    pings_a_second: int = 0
    """What may be spent to PING more often than stock does where few servers are watched."""
    acl_file: UserFile | None = None
    stopwatch_s: Callable[[], float] = time.perf_counter
    """Real time, for the share that everybody gets of it."""
    make_bridge: Callable[[Engine, Clock], Bridge] = Bridge
    """The simulator looks over the bridge's shoulder."""


@frozen(kw_only=True)
class Assembly:
    """One sentinel, assembled and not yet running."""

    configuration: Configuration
    names: Mapping[str, str]
    engine: Engine
    bridge: Bridge
    board: Board
    service: Service
    house: House
    client_reactor: Reactor
    log: Log = field(repr=False)

    def start(self) -> Outcome:
        """The engine's first thought, for `Service.run`."""
        outcome = self.engine.start(
            self.configuration.snapshot,
            self.bridge.now_ms(),
            own_port=_announced_port(self.configuration.directives),
            names=self.names,
        )
        self.house.clients.recount()  # before anybody comes: whoever is in stays in
        return outcome

    def listen(self, sock: Socket, tls: ssl.SSLContext | None = None) -> Listening:
        """Serve the clients of a listening socket."""
        return self.client_reactor.listen(
            sock,
            partial(admit, self.house),
            tls,
            on_trouble=partial(self.log, Level.WARNING),
            has_room=self._has_room,
        )

    def _has_room(self) -> bool:
        """Whether one more may come in, if only to be told that there is no place (`House.refusal_of`)."""
        return self.client_reactor.connections < self.house.clients.places + PLACES_TO_BE_TURNED_AWAY


def assemble(
    configuration: Configuration,
    host: Host,
    *,
    rights: Roster,
    log: Log,
    on_events: Callable[[tuple[Event, ...]], None],
    shutdown: Callable[[str], None],
    names: Mapping[str, str],
    client_tls: ssl.SSLContext | None = None,
) -> Assembly:
    """Put a sentinel together.

    Args:
        on_events: hears of every decision.
        shutdown: what the command SHUTDOWN does.
        names: addresses of host names that are known already.
        client_tls: for the connections to servers and peers, where ``tls-replication`` is on.
    """
    directives = configuration.directives
    log_facts: Any = getattr(log, "with_facts", None) if getattr(log, "structured", False) else None
    engine = Engine(host.dice, host.clock.now_ms(), pings_a_second=host.pings_a_second)
    bridge = host.make_bridge(engine, host.clock)
    errands = Errands(lambda: engine.state.timing, host.start_script)
    board = Board(log, errands.enqueue, log_facts)
    keeper = Keeper(engine, host.make_store(engine), bridge.hear)
    link_reactor, client_reactor = _reactor(host, bridge.gap_s), _reactor(host, None)
    links = Switchboard(
        link_reactor,
        bridge,
        tls=client_tls,
        source_address=directives.bind_source_addr or None,
        own_password=directives.requirepass or None,
    )
    bridge.links, bridge.board, bridge.keeper, bridge.errands = links, board, keeper, errands
    bridge.catch_up = link_reactor.catch_up
    bridge.names = host.make_resolver(bridge.name_resolved)
    remarks = Remarks(engine.state, engine.senses, host.clock, log)
    bridge.remarks = remarks.about

    def hear(events: tuple[Event, ...]) -> None:
        on_events(events)
        remarks.hear(events)

    clients = Clients()
    service = Service(
        engine=engine,
        bridge=bridge,
        board=board,
        errands=errands,
        keeper=keeper,
        links=links,
        link_reactor=link_reactor,
        client_reactor=client_reactor,
        clients=clients,
        log=log,
        on_events=hear,
    )
    house = House(
        mind=bridge,
        board=board,
        directives=attrs.evolve(directives, maxclients=host.client_limit(directives.maxclients, 0)),
        rights=rights,
        identity=host.identity,
        scripts=errands,
        shutdown=shutdown,
        loglevel=lambda: str(getattr(log, "level", directives.loglevel)),
        set_loglevel=getattr(log, "set_level", _ignore_level),
        is_executable=host.is_executable,
        cpu_seconds=host.cpu_seconds,
        random_bytes=host.random_bytes,
        clock_s=host.stopwatch_s,
        commands=renamed(directives.renamed_commands),
        acl_file=host.acl_file,
        warn=partial(log, Level.WARNING),
        clients=clients,
        later=client_reactor.later,
        after=client_reactor.limit,
    )
    clients.count_places = lambda: host.client_limit(directives.maxclients, views.links_of(engine.state))
    return Assembly(
        configuration=configuration,
        names=names,
        engine=engine,
        bridge=bridge,
        board=board,
        service=service,
        house=house,
        client_reactor=client_reactor,
        log=log,
    )


def _reactor(host: Host, gap_s: Callable[[], float] | None) -> Reactor:
    poller = None if host.make_poller is None else host.make_poller()
    return Reactor(poller=poller, sockets=host.sockets, gap_s=gap_s, stopwatch_s=host.stopwatch_s)


def _ignore_level(word: str) -> None:
    """A log without levels."""


def _announced_port(directives: Directives) -> int:
    """What hellos announce unless `announce-port` is set (core.md 6.1)."""
    if directives.tls_replication and directives.tls_port:
        return directives.tls_port
    return directives.port
