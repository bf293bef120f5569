"""One daemon on the stage: the real runtime on a virtual host.

1. A life is the sentinel of `runtime.assembly` in a nursery of its own, begun from the virtual sentinel.conf, ended by
   cancelling it. Its sockets, files, clocks, names and scripts are those of its host.
2. Whatever the outside does to a process it does here as in the fast stage: `SimSentinel` has the names.
3. The bridge is watched: every event and effect passes the checkers, and may be the last.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import trio

from trio_sentinel.errors import InvariantViolation
from trio_sentinel.model import effects as fx
from trio_sentinel.model import inputs as i
from trio_sentinel.model.engine import Engine, Outcome
from trio_sentinel.model.events import Event, MasterSwitched
from trio_sentinel.model.snapshot import Snapshot
from trio_sentinel.model.values import Address, Level, PeerLink, RunId
from trio_sentinel.ports import Clock
from trio_sentinel.runtime.assembly import Assembly, Host, assemble
from trio_sentinel.runtime.bridge import Answered, Bridge
from trio_sentinel.runtime.clients import Identity
from trio_sentinel.runtime.session_rights import Roster
from trio_sentinel.sim.checkers import Broken, require
from trio_sentinel.sim.process import SimSentinel
from trio_sentinel.sim.saver import LATE_SHARE
from trio_sentinel.sim.stage_clients import Operator
from trio_sentinel.sim.stage_disk import CONF, VirtualDisk, VirtualStore
from trio_sentinel.sim.stage_host import StageClock, StageResolver, Stopwatch, VirtualScripts
from trio_sentinel.sim.stage_network import StageNetwork
from trio_sentinel.sim.stage_sockets import Kernel
from trio_sentinel.sim.world import WorldDice
from trio_sentinel.wire.acl_file import users_of
from trio_sentinel.wire.acl_selector import Selector
from trio_sentinel.wire.bulletins import bulletins_of
from trio_sentinel.wire.conf import Configuration, load_configuration, rewrite_configuration

if TYPE_CHECKING:
    from trio_sentinel.sim.stage import StageCluster

FIRST_LINES: Final = "port {port}\ndir /\nprotected-mode no\n"
DAEMON_FAILURES: Final = (Broken, InvariantViolation, Exception)


class Died(BaseException):
    """The process ends here, in the middle of whatever it does. Goes through like a signal; caught by its nursery."""


class StagedSentinel(SimSentinel):
    """One sentinel process, as harm, peace and the checkers know it."""

    cluster: StageCluster
    network: StageNetwork

    def __init__(self, cluster: StageCluster, name: str, address: Address, snapshot: Snapshot) -> None:
        self.files = VirtualDisk()
        self.password = cluster.scenery.port_password
        password = "" if self.password is None else f'requirepass "{self.password}"\n'
        self.first_lines = FIRST_LINES.format(port=address.port) + password
        self.kernel: Kernel
        self.parts: Assembly
        self.shown: dict[str, list[tuple[int, Address]]] = {}
        """By master: since when which address is told to clients, in this life."""
        self.switches: defaultdict[int, list[bytes]] = defaultdict(list)
        """What was published as +switch-master, by life."""
        self.scope = trio.CancelScope()
        self._thawed = trio.Event()
        super().__init__(cluster, name, address, snapshot)
        self.operator = Operator(self)

    # ------------------------------------------------------------ the file

    @property
    def disk(self) -> Snapshot:
        """What the file says, read as a starting daemon reads it."""
        return _loaded(self.files.read(CONF)).snapshot

    @disk.setter
    def disk(self, snapshot: Snapshot) -> None:
        """The file is written, and on the disk."""
        lines = self.first_lines.encode()
        self.files.files[CONF] = rewrite_configuration(lines, _loaded(lines), snapshot)
        self._sync_all()

    @property
    def kept(self) -> Snapshot:
        """What the file says after the worst power failure."""
        return _loaded(self.files.kept(CONF)).snapshot

    def settle(self) -> bool:
        """See `SimSentinel`; the stage's `adapters.disk.settle_file`."""
        if self.files.unsynced and self.disk_fails and self.world.random.random() < LATE_SHARE:
            self.cluster.seen["a start is refused by the disk"] += 1
            return False
        self._sync_all()
        return True

    def _sync_all(self) -> None:
        self.files.sync(CONF)
        self.files.sync_directory()

    # ------------------------------------------------------------ life

    def start(self) -> None:
        """Begin from what is in the file, if that comes to the disk."""
        if not self.settle():
            self.cluster.restart_later(self)
            return
        self.up, self.host_up, self.frozen = True, True, False
        self.life += 1
        self.pongs, self.voices, self.shown = {}, {}, {}
        self._started_at_ms = self.world.now_ms
        self.kernel = Kernel(self.network, self)
        self.scope = trio.CancelScope()
        self._thawed = trio.Event()
        self.cluster.checker.started(self)
        self.engine = Engine(WorldDice(self.world.random), self.clock_ms())  # until the real one is there
        configuration = _loaded(self.files.read(CONF))
        self.cluster.nursery.start_soon(self._live, self.life, self.scope, configuration, name=self.name)

    async def _live(self, life: int, scope: trio.CancelScope, configuration: Configuration) -> None:
        with scope:
            try:
                async with trio.open_nursery() as resolving:
                    await self._serve(life, configuration, resolving)
            except* Died:
                pass
            except* DAEMON_FAILURES as group:
                self.cluster.broke(_first(group))

    async def _serve(self, life: int, configuration: Configuration, resolving: trio.Nursery) -> None:
        if life != self.life:
            return
        closed = trio.Event()
        self.parts = assemble(
            configuration,
            self._host(configuration, resolving),
            rights=Roster(users_of((), Selector(), password=configuration.directives.requirepass)),
            log=self._log,
            on_events=self._note,
            shutdown=lambda reason: closed.set(),
            names=self.first_names(),
        )
        self.engine = self.parts.engine
        async with self.parts.service.run(self.parts.start):
            self.parts.listen(self.kernel.listen(self.address))
            self._note(())
            await closed.wait()
        resolving.cancel_scope.cancel()
        if life == self.life:
            self.cluster.seen["a shutdown in good order"] += 1
            self.crash()
            self.cluster.restart_later(self)

    def _host(self, configuration: Configuration, resolving: trio.Nursery) -> Host:
        clock = StageClock(self)
        return Host(
            clock=clock,
            dice=WorldDice(self.world.random),
            make_store=lambda engine: VirtualStore(self, configuration, engine),
            make_resolver=lambda hear: StageResolver(self, resolving, hear),
            start_script=VirtualScripts(self),
            is_executable=lambda path: True,
            random_bytes=self.world.random.randbytes,
            identity=Identity(
                version="0",
                run_id=self.cluster.new_id(),
                pid=self.life,
                started_at_ms=clock.now_ms(),
                config_file=CONF,
                executable="sentinel",
            ),
            make_poller=self.kernel.make_poller,
            sockets=self.kernel,
            stopwatch_s=Stopwatch(self.world),
            make_bridge=lambda engine, clock: WatchedBridge(engine, clock, self),
            pings_a_second=self.cluster.pings_a_second,
        )

    def _log(self, level: Level, line: str) -> None:
        self.cluster.log.append(f"{self.world.now_ms - 1_000_000:>8} {self.name} {line}")

    def _note(self, events: tuple[Event, ...]) -> None:
        """Remember what clients are told from now on."""
        for name, master in self.engine.state.masters.items():
            told = self.shown.setdefault(name, [])
            if not told or told[-1][1] != master.current_address:
                told.append((self.world.now_ms, master.current_address))

    def crash(self, *, with_host: bool = False) -> None:
        """Everything that is not on disk is gone."""
        if not self.up:
            return
        self.cluster.checker.ended(self)
        self.up, self.frozen, self.trap = False, False, None
        self.host_up = not with_host
        self.life += 1
        self.network.listeners.pop(self.address, None)
        self.network.die(self, quietly=with_host)
        if with_host:
            self.files.lose_power(self.world.random)
        self.operator.forget()
        self.scope.cancel(reason=f"{self.name} dies")

    def freeze(self, length_ms: int | None) -> None:
        """SIGSTOP, and SIGCONT after `length_ms` if given."""
        before = self.frozen
        super().freeze(length_ms)
        if self.frozen and not before:
            self._thawed = trio.Event()
            self._reset_alarm()

    def thaw(self, life: int | None = None) -> None:
        """SIGCONT."""
        if not self.up or not self.frozen or life not in (None, self.life):
            return
        self.frozen = False
        self._thawed.set()
        self.kernel.thaw()
        self._reset_alarm()

    def _reset_alarm(self) -> None:
        if self.engine is getattr(getattr(self, "parts", None), "engine", None):
            self.parts.bridge.reset_alarm()

    async def running(self, life: int) -> None:
        """Return when the process is not stopped; never when that life is over."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while self.frozen and life == self.life:
            await self._thawed.wait()
        if life != self.life:
            await trio.sleep_forever()

    def reach(self, point: str, life: int) -> None:
        """Come to a point where the process may die. Raises Died when it did."""
        if life != self.life or self.dies_at(point):
            raise Died

    def leave_astray(self, host: str, place: str) -> None:
        """See `SimSentinel`. Which of the connections there was made for that name is not to be seen."""
        self.network.leave(self, place)

    def note_switch(self, effect: fx.Announce) -> None:
        """What subscribers must hear of it."""
        told = [one.payload for one in bulletins_of(effect.event) if one.channel == "+switch-master"]
        self.switches[self.life] += [payload.encode() for payload in told]

    def exit_by_order(self) -> None:
        """SENTINEL SIMULATE-FAILURE has come to its point."""
        self._exit(fx.Crash())

    def world_ms(self, clock_ms: int) -> int:
        """When its clock will show that."""
        return self._world_ms(clock_ms)

    def ask(self, make: Callable[[int], i.Request], on_answer: Callable[[Any], None] = lambda answer: None) -> None:
        """An operator on this host sends a command to the port."""
        self.operator.send(make(0))

    def think(self, heard: i.Input) -> None:
        """What harm lets it hear without a socket. It may die of that."""
        if self.engine is getattr(getattr(self, "parts", None), "engine", None):
            with contextlib.suppress(Died):
                self.parts.bridge.hear(heard)


class WatchedBridge(Bridge):
    """The bridge of a staged daemon, with the checkers looking on and traps on the way."""

    def __init__(self, engine: Engine, clock: Clock, sentinel: StagedSentinel) -> None:
        super().__init__(engine, clock)
        self._sentinel = sentinel
        self._life = sentinel.life

    def hear(self, perceived: i.Input) -> None:
        """See `Bridge`."""
        if self._life != self._sentinel.life:
            raise Died
        if type(perceived) is i.LinkLost:
            honest = not perceived.reason.startswith("Protocol error")
            require(honest, "framing", f"{self._sentinel.name} and {perceived.link}: {perceived.reason}")
        self._sentinel.note_heard(perceived, self._sentinel.clock_ms())
        super().hear(perceived)

    def ask(self, make: Callable[[int], i.Request], on_answer: Callable[[Answered], None]) -> None:
        """See `Bridge`. What a peer is told passes the checkers, too."""
        request = make(0)
        if not isinstance(request, i.OpinionAsked):
            super().ask(make, on_answer)
            return
        sentinel = self._sentinel
        in_tilt = self.state.tilt_since_ms is not None
        address = Address(request.host, request.port)
        own = next((name for name, master in self.state.masters.items() if master.address == address), "")
        name = sentinel.cluster.asked_as.get((request.candidate, address, request.epoch), own)
        me = PeerLink(RunId(self.state.my_id))
        asked = fx.AskPeer(me, name, address, request.host, request.epoch, request.candidate)

        def answered(answer: Answered) -> None:
            if self._life == sentinel.life and isinstance(answer, fx.AnswerOpinion):
                sentinel.cluster.checker.opinion_sent(sentinel, asked, answer, in_tilt=in_tilt)
            on_answer(answer)

        super().ask(make, answered)

    def carry_out(self, outcome: Outcome) -> None:
        """See `Bridge`."""
        sentinel, life = self._sentinel, self._life
        if life != sentinel.life:
            raise Died
        if outcome.events:
            sentinel.cluster.hear_events(sentinel, outcome.events)
            for event in outcome.events:
                sentinel.reach(f"after the event {type(event).__name__}", life)
        for effect in outcome.effects:
            word = type(effect).__name__
            sentinel.reach(f"before {word}", life)
            sentinel.cluster.checker.effect(sentinel, effect)
            if type(effect) is fx.Announce and type(effect.event) is MasterSwitched:
                sentinel.note_switch(effect)
            if type(effect) is fx.Crash:
                sentinel.exit_by_order()
                raise Died
            if type(effect) is fx.AskPeer and effect.candidate is not None:
                sentinel.cluster.asked_as[effect.candidate, effect.address, effect.epoch] = effect.master
            self._OWNERS[type(effect)](self, effect)
            if sentinel.trap is not None:
                self.links.flush()
            sentinel.reach(f"after {word}", life)
        if outcome.effects:
            self.links.flush()
        if outcome.events:
            self.on_events(outcome.events)


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    """The first of the errors in a group."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@lru_cache(maxsize=256)
def _loaded(content: bytes) -> Configuration:
    return load_configuration(
        content,
        path=CONF,
        read_file=_no_file,
        glob_files=lambda pattern: [],
        is_executable=lambda path: True,
        resolve=lambda host: None,
        working_dir="/",
    )


def _no_file(path: str) -> bytes:
    raise FileNotFoundError(path)
