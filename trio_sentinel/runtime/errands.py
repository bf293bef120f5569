"""The errands: scripts of operators, queued, bounded, timed and repeated as stock does (config-and-events.md 4).

1. One queue for all masters and both kinds of scripts: MAX_QUEUED jobs, MAX_RUNNING at once, started in order.
2. A full queue loses its oldest job that does not run yet: a sentinel never waits for a script.
3. Exit 1 and death by a signal are repeated with a doubling delay, any other failure is final.
4. When the service stops, running scripts go on without us and queued ones are lost, like in stock: a script that
   moves a virtual address must not be killed in the middle of it.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

import trio
from attrs import Factory, define, frozen

from trio_sentinel.model.settings import Timing
from trio_sentinel.model.values import Level, Millis
from trio_sentinel.wire.bulletins import Bulletin, bulletin

MAX_QUEUED: Final = 256
MAX_RUNNING: Final = 16
MAX_RUNS: Final = 10

_NO_CHILD: Final = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
"""Errors that say "no process now"; every other one says that the file cannot be executed."""

Tell: TypeAlias = Callable[[Bulletin], None]


class Script(Protocol):
    """A script that runs."""

    @property
    def pid(self) -> int:
        """Its process id."""

    async def wait(self) -> int:
        """Its exit code once it has ended; minus the signal when a signal ended it."""

    def kill(self) -> None:
        """SIGKILL."""

    def abandon(self) -> None:
        """Let it run on; nobody waits for it here any more."""


class StartScript(Protocol):
    """How to run a file: ``adapters/processes.py``."""

    async def __call__(self, path: str, arguments: tuple[str, ...]) -> Script:
        """Start `path`, without a shell. Raises OSError when it cannot be executed or no process can be made."""


@frozen(kw_only=True)
class PendingScript:
    """One row of ``SENTINEL PENDING-SCRIPTS``. ``age_ms`` is the time it runs, or until it is due."""

    argv: tuple[str, ...]
    running: bool
    pid: int
    age_ms: Millis
    runs: int


@define(eq=False)
class _Job:
    """One queued call. Times are Trio's, in seconds."""

    path: str
    arguments: tuple[str, ...]
    runs: int = 0
    running: bool = False
    due_at: float = -math.inf
    started_at: float = 0.0
    pid: int = 0


@define(eq=False)
class Errands:
    """The queue and whoever works it off."""

    timing: Callable[[], Timing]
    start_script: StartScript
    _jobs: list[_Job] = Factory(list)
    _running: int = 0
    _wake: trio.Event = Factory(trio.Event)

    def enqueue(self, path: str, arguments: tuple[str, ...]) -> None:
        """Queue one run of `path`. Never blocks; may be called before `serve`."""
        self._jobs.append(_Job(path, arguments))
        if len(self._jobs) > MAX_QUEUED:
            self._jobs.remove(next(job for job in self._jobs if not job.running))
        self._wake.set()

    @property
    def running(self) -> int:
        """Scripts that run now."""
        return self._running

    @property
    def queued(self) -> int:
        """All jobs, running ones included (INFO `sentinel_scripts_queue_length`)."""
        return len(self._jobs)

    def pending(self) -> tuple[PendingScript, ...]:
        """The queue as it is now, in its order. Needs a running Trio."""
        now = trio.current_time()
        return tuple([self._row(job, now) for job in self._jobs])

    def _row(self, job: _Job, now: float) -> PendingScript:
        age = now - job.started_at if job.running else max(0.0, job.due_at - now)
        return PendingScript(
            argv=(job.path, *job.arguments),
            running=job.running,
            pid=job.pid,
            age_ms=int(age * 1000),
            runs=job.runs,
        )

    async def serve(self, tell: Tell, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work off the queue until cancelled. `tell` gets the bulletins about scripts."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                self._wake = trio.Event()
                while (job := self._next_due()) is not None:
                    await self._start(job, nursery, tell)  # one after the other: tasks would start in any order
                with trio.move_on_at(self._look_again_at()):
                    await self._wake.wait()

    def _next_due(self) -> _Job | None:
        """The oldest job that may start now."""
        if self._running >= MAX_RUNNING:
            return None
        now = trio.current_time()
        return next((job for job in self._jobs if not job.running and job.due_at <= now), None)

    def _look_again_at(self) -> float:
        """When the next job is due; never while all places are taken, because the next end wakes us."""
        if self._running >= MAX_RUNNING:
            return math.inf
        return min((job.due_at for job in self._jobs if not job.running), default=math.inf)

    async def _start(self, job: _Job, nursery: trio.Nursery, tell: Tell) -> None:
        """Begin one run of `job`."""
        job.running, job.started_at = True, trio.current_time()
        job.runs += 1
        self._running += 1
        try:
            script = await self.start_script(job.path, job.arguments)
        except OSError as error:
            if error.errno in _NO_CHILD:
                tell(bulletin(Level.WARNING, "-script-error", f"{job.path} 99 0", scripted=False))
                self._again_or_over(job, tell, code=0, signal=99, told=True)
            else:  # stock only learns it in the child, which exits 2
                self._again_or_over(job, tell, code=2, signal=0)
            return
        job.pid = script.pid
        nursery.start_soon(self._see_through, script, job, tell, name=f"script {job.path}")
        tell(bulletin(Level.DEBUG, "+script-child", str(script.pid)))

    async def _see_through(self, script: Script, job: _Job, tell: Tell) -> None:
        """Wait for the end of one run, and do what follows from it."""
        status = await self._watch_over(script, job, tell)
        code, signal = max(status, 0), max(-status, 0)
        tell(bulletin(Level.DEBUG, "-script-child", f"{script.pid} {code} {signal}"))
        self._again_or_over(job, tell, code=code, signal=signal)

    async def _watch_over(self, script: Script, job: _Job, tell: Tell) -> int:
        """Wait for the end of `script`, which is brought about when it takes too long."""
        ended = False
        try:
            with trio.move_on_after(self.timing().script_max_runtime_ms / 1000):
                status = await script.wait()
                ended = True
            if not ended:
                tell(bulletin(Level.WARNING, "-script-timeout", f"{job.path} {script.pid}", scripted=False))
                script.kill()
                status = await script.wait()
                ended = True
            return status
        finally:
            if not ended:
                script.abandon()

    def _again_or_over(self, job: _Job, tell: Tell, *, code: int, signal: int, told: bool = False) -> None:
        """Repeat the job later, or take it off the queue; `told` when its failure was announced already."""
        self._running -= 1
        job.running, job.pid = False, 0
        self._wake.set()
        if (code == 1 or signal) and job.runs < MAX_RUNS:
            delay_ms = self.timing().script_retry_delay_ms * 2 ** (job.runs - 1)
            job.due_at = trio.current_time() + delay_ms / 1000
            return
        self._jobs.remove(job)
        if (code or signal) and not told:
            tell(bulletin(Level.WARNING, "-script-error", f"{job.path} {signal} {code}", scripted=False))
