"""The composition root and the library door: the only place where ports meet adapters.

``open_sentinel`` runs a full voting sentinel inside any Trio program; the daemon is its first user (``serve_daemon``).
No global state: two of them live in one process.
"""

from __future__ import annotations

import gc
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import attrs
import trio
from attrs import Factory, frozen
from trio_util import AsyncValue

from trio_sentinel.adapters import disk, network, tls
from trio_sentinel.adapters.names import Resolver
from trio_sentinel.adapters.processes import start_script
from trio_sentinel.adapters.system import VERSION, client_limit
from trio_sentinel.adapters.users import REQUIREPASS_IGNORED, ThreadedUserFile, load_users
from trio_sentinel.errors import CommandRefused
from trio_sentinel.model import views
from trio_sentinel.model.effects import Answer, AnswerOpinion
from trio_sentinel.model.events import Event
from trio_sentinel.model.inputs import (
    FailoverAsked,
    FlushAsked,
    GlobalsSetAsked,
    MonitorAsked,
    RemoveAsked,
    Request,
    ResetAsked,
)
from trio_sentinel.model.rhythm import PINGS_A_SECOND
from trio_sentinel.model.settings import GlobalSettings
from trio_sentinel.model.snapshot import Snapshot
from trio_sentinel.model.state import Master
from trio_sentinel.model.values import Address, Level, Millis, RunId, is_ip
from trio_sentinel.model.views import MasterView, PeerView, ReplicaView
from trio_sentinel.runtime.assembly import Host, Log, assemble
from trio_sentinel.runtime.board import Board, Watch
from trio_sentinel.runtime.bridge import Bridge
from trio_sentinel.runtime.clients import Identity
from trio_sentinel.runtime.clock import TrioClock
from trio_sentinel.runtime.papers import Contexts, Papers
from trio_sentinel.runtime.reactor import Listening
from trio_sentinel.runtime.session_rights import Roster
from trio_sentinel.runtime.switchboard import Switchboard
from trio_sentinel.wire import requests, resp
from trio_sentinel.wire.acl_file import fresh_selector
from trio_sentinel.wire.conf import Configuration, Rewriter
from trio_sentinel.wire.directives import Directives
from trio_sentinel.wire.extras import Extras

FREEZE_S: Final = 10.0
FREEZE_LEAST: Final = 100
FIRST_NAMES_S: Final = 2.0
"""How long the first words may wait for slow names."""


def _no_log(level: Level, text: str) -> None:
    """A library says nothing unless it is asked to."""


class SystemDice:
    """Dice for a process that really runs."""

    def below(self, limit: int) -> int:
        """A uniform integer in 0..limit-1."""
        return secrets.randbelow(limit)


@frozen
class FileStore:
    """sentinel.conf as the keeper's store."""

    configuration: Configuration
    path: str
    resolved: Callable[[str], str | None]
    log: Log
    rights: Roster
    rewriter: Rewriter = Factory(Rewriter)

    async def save(self, snapshot: Snapshot) -> None:
        """Rewrite the file as it is on disk now, in a worker thread: fsync may take long. Raises OSError."""
        await trio.to_thread.run_sync(self._save, snapshot)

    def _save(self, snapshot: Snapshot) -> None:
        before = disk.read_file_if_any(self.path)
        directives = attrs.evolve(self.configuration.directives, users=self.rights.lines)
        current = attrs.evolve(self.configuration, directives=directives)
        disk.save_file(self.path, self.rewriter.rewrite(before, current, snapshot, resolved=self.resolved))
        self.log(Level.DEBUG, f"Rewritten config file ({self.path}) successfully")
        self.log(Level.NOTICE, "Sentinel new configuration saved on disk")


class Masters(Mapping[str, MasterView]):
    """The monitored masters by name, each as it is at the moment it is looked up."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def __getitem__(self, name: str) -> MasterView:
        bridge = self._bridge
        return views.view_of_master(bridge.state, bridge.senses, bridge.state.masters[name], bridge.now_ms())

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._bridge.state.masters))

    def __len__(self) -> int:
        return len(self._bridge.state.masters)


def _words(*words: str) -> resp.Argv:
    return tuple([resp.text(word) for word in words])


class Sentinel:
    """A running sentinel, as a library user sees it. Made by `open_sentinel`.

    Methods that change something return once the change is on disk, and raise CommandRefused with the error that a
    client would read, or trio.ClosedResourceError once the sentinel is stopped. Its last state can be read for ever.
    """

    def __init__(self, bridge: Bridge, board: Board, ports: tuple[int, ...], log: Log) -> None:
        self._bridge = bridge
        self._log = log
        self._board = board
        self._addresses: dict[str, AsyncValue[Address]] = {}
        self._closed = trio.Event()
        self._over = False
        self._waiting: set[trio.Event] = set()
        self.papers: Papers | None = None
        self.masters: Final = Masters(bridge)
        """Typed read-only views by name."""
        self.ports: Final = ports
        """Where it listens."""

    # ------------------------------------------------------------ reading

    @property
    def id(self) -> RunId:
        """What ``SENTINEL MYID`` answers."""
        return self._bridge.state.my_id

    @property
    def settings(self) -> GlobalSettings:
        """What ``SENTINEL CONFIG GET`` tells: the settings of the whole process."""
        return self._bridge.state.settings

    def replicas(self, name: str) -> tuple[ReplicaView, ...]:
        """The replicas of a master. Raises KeyError for an unknown one."""
        bridge = self._bridge
        return views.replicas(bridge.state, bridge.senses, bridge.state.masters[name], bridge.now_ms())

    def peers(self, name: str) -> tuple[PeerView, ...]:
        """The other sentinels of a master. Raises KeyError for an unknown one."""
        bridge = self._bridge
        return views.peers(bridge.state, bridge.senses, bridge.state.masters[name], bridge.now_ms())

    def address(self, name: str) -> AsyncValue[Address]:
        """Where clients of `name` should write, as a value to wait on: the promoted replica from the moment its
        promotion is durable. Raises KeyError for an unknown master."""
        current = self._current(self._bridge.state.masters[name])
        return self._addresses.setdefault(name, AsyncValue(current))

    def events(self) -> Watch:
        """Every event from this call on: ``async for event in sentinel.events()``, or ``async with`` to end it early.

        A reader that falls too far behind reads what it has and gets WatcherTooSlow; nobody waits for it.
        `bulletins_of(event)` gives the channel and text that stock uses for it.
        """
        return self._board.watch()

    def _current(self, master: Master) -> Address:
        return Address(self._bridge.state.shown(master.current_address.host), master.current_address.port)

    def note(self, events: tuple[Event, ...]) -> None:
        """Bring the addresses up to date (called by the composition root after every decision)."""
        masters = self._bridge.state.masters
        for name, value in self._addresses.items():
            if name in masters:
                value.value = self._current(masters[name])

    @property
    def size(self) -> int:
        """How many masters, replicas and peers it knows, each as often as it is known."""
        masters = self._bridge.state.masters.values()
        return sum(1 + len(master.replicas) + len(master.peers) for master in masters)

    # ------------------------------------------------------------ changing

    async def failover(self, name: str, *, coordinated: bool = False) -> None:
        """``SENTINEL FAILOVER``: returns once it has begun."""
        await self._ask(lambda n: FailoverAsked(n, name, coordinated))

    async def monitor(self, name: str, host: str, port: int, quorum: int) -> None:
        """``SENTINEL MONITOR`` for a numeric host (or a name, where names are resolved)."""
        wanted = requests.monitor(_words("SENTINEL", "MONITOR", name, host, str(port), str(quorum)))
        requests.checked_host(is_ip(host) or (self.settings.resolve_hostnames and await self._is_found(host)))
        requests.checked_port(wanted.port)
        await self._ask(lambda n: MonitorAsked(n, wanted.name, Address(wanted.host, wanted.port), wanted.quorum))

    async def remove(self, name: str) -> None:
        """``SENTINEL REMOVE``."""
        await self._ask(lambda n: RemoveAsked(n, name))

    async def reset(self, name: str) -> None:
        """``SENTINEL RESET`` of one master."""
        if name not in self._bridge.state.masters:
            raise requests.refuse(requests.NO_SUCH_MASTER)
        await self._ask(lambda n: ResetAsked(n, (name,)))

    async def set(self, name: str, option: str, *values: str) -> None:
        """``SENTINEL SET`` of one option, e.g. ``("quorum", "3")``."""
        words = _words("SENTINEL", "SET", name, option, *values)
        locked = self.settings.deny_scripts_reconfig
        await self._ask(requests.settings_change(words, scripts_locked=locked, is_executable=disk.is_executable))

    async def configure(self, parameter: str, value: str) -> None:
        """``SENTINEL CONFIG SET`` of one parameter of the whole process, e.g. ``("announce-port", "7000")``."""
        change = requests.globals_change(_words("SENTINEL", "CONFIG", "SET", parameter, value), self.settings)
        if change.loglevel is not None and hasattr(self._log, "set_level"):
            self._log.set_level(change.loglevel)
        await self._ask(lambda n: GlobalsSetAsked(n, change.settings))

    async def flush(self) -> None:
        """``SENTINEL FLUSHCONFIG``."""
        await self._ask(FlushAsked)

    async def _ask(self, make: Callable[[int], Request]) -> int | None:
        answered = trio.Event()
        answers: list[Answer | AnswerOpinion] = []

        def on_answer(answer: Answer | AnswerOpinion) -> None:
            answers.append(answer)
            answered.set()

        self._must_run()
        self._bridge.ask(make, on_answer)
        await self._unless_over(answered)
        answer = answers[0]
        assert isinstance(answer, Answer)
        if answer.error is not None:
            code, _, text = answer.error.partition(" ")
            raise CommandRefused(code, text)
        return answer.number

    async def _is_found(self, host: str) -> bool:
        """Whether the resolver knows `host`."""
        answered = trio.Event()
        found: list[str | None] = []

        def on_ip(ip: str | None) -> None:
            found.append(ip)
            answered.set()

        self._must_run()
        self._bridge.resolve(host, on_ip)
        await self._unless_over(answered)
        return found[0] is not None

    def _must_run(self) -> None:
        if self._over:
            raise trio.ClosedResourceError("this sentinel has been stopped")

    async def _unless_over(self, event: trio.Event) -> None:
        """Wait for `event`, but not for ever when the sentinel is stopped meanwhile."""
        self._waiting.add(event)
        try:
            await event.wait()
        finally:
            self._waiting.discard(event)
        self._must_run()

    def end(self) -> None:
        """Nothing will be answered any more (called by `open_sentinel` when it is left)."""
        self._over = True
        for event in self._waiting:
            event.set()

    async def reload_certificates(self) -> bool:
        """Read all TLS files again, for connections made from now on; whether they could be used. If not, the old
        ones stay and the log says why. Without TLS there is nothing to read."""
        return self.papers is not None and await self.papers.renew()

    # ------------------------------------------------------------ the end

    async def wait_shutdown(self) -> None:
        """Wait until a client sends SHUTDOWN. Leaving the `async with` block is what stops the sentinel."""
        await self._closed.wait()

    def shut_down(self, reason: str) -> None:
        """What SHUTDOWN does."""
        self._log(Level.NOTICE, reason)
        self._closed.set()


@asynccontextmanager
async def open_sentinel(
    configuration: str | os.PathLike[str] | Configuration,
    *,
    options: Sequence[str] = (),
    log: Log = _no_log,
    listeners: network.Listeners | None = None,
) -> AsyncIterator[Sentinel]:
    """Run a full voting sentinel inside the block.

    Args:
        configuration: the path of a sentinel.conf, which is read and, like stock, rewritten; or a loaded one.
        options: more directives, as on the command line: ``("--port", "26380")``.
        log: gets every log line with its level.
        listeners: sockets that listen already where the configuration says; they are the sentinel's from now on.

    Raises:
        ConfigError: a line of the configuration is wrong.
        StartupError: it cannot listen, or the file cannot be brought to the disk.
    """
    if not isinstance(configuration, Configuration):
        configuration = disk.load_file(disk.absolute(configuration), options=tuple(options), open_log=False)
    if configuration.path is not None:
        await trio.to_thread.run_sync(disk.settle_file, configuration.path)  # before anybody hears what it says
    directives = configuration.directives
    rights = Roster(load_users(directives), fresh_selector(directives.acl_pubsub_default))
    if directives.aclfile and directives.requirepass:
        log(Level.WARNING, REQUIREPASS_IGNORED)
    contexts = tls.make_contexts(directives)
    listeners = network.open_listeners(directives) if listeners is None else listeners
    for warning in (*(contexts.warnings if contexts else ()), *listeners.warnings):
        log(Level.WARNING, warning)
    ports = tuple(sock.getsockname()[1] for sock in (*listeners.plain, *listeners.tls))
    failure: Exception | None = None
    names = await _resolve_names(configuration.snapshot)
    sentinel: Sentinel

    def note(events: tuple[Event, ...]) -> None:
        sentinel.note(events)

    def shut_down(reason: str) -> None:
        sentinel.shut_down(reason)

    async with trio.open_nursery() as resolving:
        parts = assemble(
            configuration,
            _host(configuration, rights, resolving, log),
            rights=rights,
            log=log,
            on_events=note,
            shutdown=shut_down,
            names=names,
            client_tls=contexts.client if contexts else None,
        )
        sentinel = Sentinel(parts.bridge, parts.board, ports, log)
        async with parts.service.run(parts.start):
            for sock in (*listeners.plain, *((listeners.unix,) if listeners.unix else ())):
                parts.listen(sock)
            if contexts is not None:
                doors = [parts.listen(sock, contexts.server) for sock in listeners.tls]
                sentinel.papers = papers = _papers(directives, doors, parts.service.links, log)
                if directives.tls_auto_reload_interval:
                    resolving.start_soon(papers.watch, directives.tls_auto_reload_interval, name="papers")
            try:
                yield sentinel
            except Exception as error:
                failure = error
            finally:
                sentinel.end()
                if listeners.unix is not None:
                    log(Level.NOTICE, "Removing the unix socket file.")
                    network.remove_unix_socket(directives.unixsocket)
        resolving.cancel_scope.cancel()
    if failure is not None:
        raise failure  # The user's own, not wrapped in the groups of our nurseries.


def _papers(directives: Directives, doors: Sequence[Listening], links: Switchboard, log: Log) -> Papers:
    """The certificates of the ports in `doors` and of `links`, ready to be renewed."""

    def load() -> tls.TlsContexts:
        contexts = tls.make_contexts(directives)
        assert contexts is not None
        return contexts

    def use(contexts: Contexts) -> None:
        for door in doors:
            door.use(contexts.server)
        links.use(contexts.client)

    return Papers(load=load, fingerprint=partial(tls.fingerprint, directives), use=use, log=log)


async def _resolve_names(snapshot: Snapshot) -> dict[str, str]:
    """The addresses of the host names in the file, as far as they are found in time: the first words of a sentinel
    name its masters by address. What is missing is asked again at every connection."""
    if not snapshot.settings.resolve_hostnames:
        return {}
    found: dict[str, str] = {}
    hosts = {master.address.host for master in snapshot.masters}
    for master in snapshot.masters:
        hosts.update(address.host for address in master.replicas)
        hosts.update(address.host for _, address in master.peers)

    def learn(host: str, ip: str | None) -> None:
        if ip is not None:
            found[host] = ip

    async with trio.open_nursery() as nursery:
        resolver = Resolver(nursery, learn, deadline_s=FIRST_NAMES_S)
        for host in sorted(host for host in hosts if not is_ip(host)):
            resolver.resolve(host)
    return found


def _host(configuration: Configuration, rights: Roster, resolving: trio.Nursery, log: Log) -> Host:
    """This process and its system; names are looked up in tasks of `resolving`."""
    clock = TrioClock()
    directives = configuration.directives
    return Host(
        clock=clock,
        dice=SystemDice(),
        make_store=lambda engine: FileStore(
            configuration, configuration.path or "", engine.state.names.get, log, rights
        ),
        make_resolver=partial(Resolver, resolving),
        start_script=start_script,
        is_executable=disk.is_executable,
        random_bytes=secrets.token_bytes,
        identity=_identity(configuration, clock.now_ms()),
        cpu_seconds=_cpu_seconds,
        client_limit=client_limit,
        pings_a_second=PINGS_A_SECOND,
        acl_file=ThreadedUserFile(directives, resolving) if directives.aclfile else None,
    )


def _identity(configuration: Configuration, now_ms: Millis) -> Identity:
    uname = os.uname()
    directives = configuration.directives
    listeners = [
        f"name={name}" + "".join(f",bind={host}" for host in directives.bind) + f",port={port}"
        for name, port in (("tcp", directives.port), ("tls", directives.tls_port))
        if port
    ]
    return Identity(
        version=VERSION,
        run_id=secrets.token_hex(20),
        pid=os.getpid(),
        started_at_ms=now_ms,
        config_file=configuration.path or "",
        executable=sys.executable,
        os=f"{uname.sysname} {uname.release} {uname.machine}",
        arch_bits=sys.maxsize.bit_length() + 1,
        listeners=tuple(listeners),
    )


def _cpu_seconds() -> dict[str, float]:
    times = os.times()
    return {
        "used_cpu_sys": times.system,
        "used_cpu_user": times.user,
        "used_cpu_sys_children": times.children_system,
        "used_cpu_user_children": times.children_user,
        "used_cpu_sys_main_thread": times.system,
        "used_cpu_user_main_thread": times.user,
    }


async def serve_daemon(
    *,
    configuration: Configuration,
    extras: Extras,
    log: Log,
    listeners: network.Listeners,
    on_listening: Callable[[], None],
) -> None:
    """Run a sentinel on `listeners` until a client sends SHUTDOWN.

    Raises:
        StartupError: it cannot listen; each line goes to the log.
        SimulatedCrash: ``SENTINEL SIMULATE-FAILURE`` (within an exception group).
    """
    async with open_sentinel(configuration, log=log, listeners=listeners) as sentinel, trio.open_nursery() as nursery:
        if sentinel.papers is not None:
            await nursery.start(_heed_hangup, sentinel, log)
        nursery.start_soon(_keep_collections_short, sentinel, name="collections")
        on_listening()
        await sentinel.wait_shutdown()
        nursery.cancel_scope.cancel()


async def _keep_collections_short(sentinel: Sentinel) -> None:
    """Take what stays out of the garbage collector's sight whenever there is much more of it: looking through a
    thousand masters takes 50 ms, and nobody is answered meanwhile."""
    gc.freeze()
    gc.enable()
    known = 0
    while True:
        await trio.sleep(FREEZE_S)
        now_known = sentinel.size
        if now_known > known + known // 8 + FREEZE_LEAST:
            known = now_known
            gc.collect()
            gc.freeze()


async def _heed_hangup(sentinel: Sentinel, log: Log, *, task_status: trio.TaskStatus[None]) -> None:
    """SIGHUP: read the certificates again. Without TLS the signal stays ignored, as stock ignores it."""
    with trio.open_signal_receiver(signal.SIGHUP) as hangups:
        task_status.started()
        async for _ in hangups:
            log(Level.NOTICE, "Received SIGHUP: reading the TLS certificates again")
            await sentinel.reload_certificates()
