"""What else a virtual host offers a daemon: clocks that drift and step, names, and scripts."""

from __future__ import annotations

import errno
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from trio_sentinel.model.values import Millis
from trio_sentinel.sim.names import DEADLINE_MS

if TYPE_CHECKING:
    from trio_sentinel.sim.stage_sentinel import StagedSentinel
    from trio_sentinel.sim.world import World

WALL_EPOCH_MS: Final = 1_700_000_000_000
HICCUP: Final = 0.02
HICCUP_S: Final = 0.1
SCRIPT_MS: Final = (1, 1500)
SIGKILL: Final = 9


class StageClock:
    """`ports.Clock` of one life of a process: stopped while it is stopped."""

    def __init__(self, sentinel: StagedSentinel) -> None:
        self._sentinel = sentinel

    def now_ms(self) -> Millis:
        """See `ports.Clock`."""
        return self._sentinel.clock_ms()

    def wall_ms(self) -> Millis:
        """See `ports.Clock`."""
        return WALL_EPOCH_MS + self._sentinel.clock_ms() + self._sentinel.wall_offset_ms

    def trio_time(self, at_ms: Millis) -> float:
        """See `ports.Clock`; never, while the process is stopped."""
        return inf if self._sentinel.frozen else self._sentinel.world_ms(at_ms) / 1000


class Stopwatch:
    """Real time as the daemon measures it. A deed mostly takes none, and sometimes more than anybody's share."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lost_s = 0.0

    def __call__(self) -> float:
        """What it shows."""
        if self._world.random.random() < HICCUP:
            self._lost_s += HICCUP_S
        return self._world.now_ms / 1000 + self._lost_s


class StageResolver:
    """`runtime.bridge.NameOwner`: the names of the cluster, slowly, wrongly or not at all."""

    def __init__(
        self, sentinel: StagedSentinel, nursery: trio.Nursery, on_result: Callable[[str, str | None], None]
    ) -> None:
        self._sentinel = sentinel
        self._life = sentinel.life
        self._nursery = nursery
        self._on_result = on_result
        self._asked: set[str] = set()

    def resolve(self, host: str) -> None:
        """Find out; one answer serves all who ask meanwhile."""
        if host not in self._asked:
            self._asked.add(host)
            self._nursery.start_soon(self._answer, host, name=f"resolve {host}")

    async def _answer(self, host: str) -> None:
        sentinel, names = self._sentinel, self._sentinel.network.names
        length_ms = names.length_ms(sentinel.world.random)
        await trio.sleep(length_ms / 1000)
        ip = names.answer(host) if length_ms < DEADLINE_MS else None
        await sentinel.running(self._life)
        self._asked.discard(host)
        self._on_result(host, ip)


class VirtualScript:
    """`runtime.errands.Script`: something that runs for a while and ends somehow."""

    def __init__(self, sentinel: StagedSentinel, pid: int, length_ms: float, status: int) -> None:
        self._sentinel = sentinel
        self._life = sentinel.life
        self.pid = pid
        self._until_s = trio.current_time() + length_ms / 1000
        self._status = status
        self._killed = trio.Event()

    async def wait(self) -> int:
        """See `Script`."""
        with trio.move_on_at(self._until_s):
            await self._killed.wait()
        await self._sentinel.running(self._life)
        return self._status

    def kill(self) -> None:
        """See `Script`."""
        self._status = -SIGKILL
        self._killed.set()

    def abandon(self) -> None:
        """See `Script`."""


class VirtualScripts:
    """`runtime.errands.StartScript`."""

    def __init__(self, sentinel: StagedSentinel) -> None:
        self._sentinel = sentinel
        self._life = sentinel.life

    async def __call__(self, path: str, arguments: tuple[str, ...]) -> VirtualScript:
        """Start one; some cannot be started, some never end."""
        sentinel = self._sentinel
        await sentinel.running(self._life)
        dice, cluster = sentinel.world.random, sentinel.cluster
        cluster.scripts_run += 1
        fate = dice.random()
        if fate < 0.05:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        length_ms = inf if fate < 0.1 else dice.randint(*SCRIPT_MS)
        status = dice.choice((0, 0, 0, 1, 2, -SIGKILL))
        return VirtualScript(sentinel, 1000 + cluster.scripts_run, length_ms, status)
