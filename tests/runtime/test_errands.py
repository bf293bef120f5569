"""Scripts are queued, bounded, timed and repeated as stock does it (config-and-events.md 4)."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import trio
import trio.testing
from attrs import Factory, define

from trio_sentinel.adapters.processes import start_script
from trio_sentinel.model.settings import Timing
from trio_sentinel.model.values import Level
from trio_sentinel.runtime.errands import MAX_QUEUED, MAX_RUNNING, Errands, StartScript

FAST = Timing(script_max_runtime_ms=300, script_retry_delay_ms=10)


@define(eq=False)
class Play:
    """A script of the imagination: it ends when told so."""

    path: str
    arguments: tuple[str, ...]
    pid: int
    ended: trio.Event = Factory(trio.Event)
    status: int = 0
    abandoned: bool = False
    started_at: float = Factory(trio.current_time)

    async def wait(self) -> int:
        await self.ended.wait()
        return self.status

    def kill(self) -> None:
        self.end(-signal.SIGKILL)

    def abandon(self) -> None:
        self.abandoned = True

    def end(self, status: int) -> None:
        self.status = status
        self.ended.set()


@define(eq=False)
class Theatre:
    """Errands with imagined scripts; `verdict` says at the start how each will end at once."""

    verdict: Callable[[Play], int | None] = lambda play: None
    fails_with: int | None = None
    plays: list[Play] = Factory(list)
    told: list[tuple[Level, str]] = Factory(list)
    errands: Errands = Factory(
        lambda self: Errands(timing=Timing, start_script=self.start),
        takes_self=True,
    )

    async def start(self, path: str, arguments: tuple[str, ...]) -> Play:
        await trio.lowlevel.checkpoint()
        play = Play(path, arguments, 1000 + len(self.plays))
        self.plays.append(play)
        if self.fails_with is not None:
            raise OSError(self.fails_with, os.strerror(self.fails_with))
        status = self.verdict(play)
        if status is not None:
            play.end(status)
        return play

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Errands]:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(self.errands.serve, lambda b: self.told.append((b.level, b.line))))
            yield self.errands
            nursery.cancel_scope.cancel()

    @property
    def warnings(self) -> list[str]:
        return [line for level, line in self.told if level is Level.WARNING]


async def test_a_good_script_runs_once(autojump_clock: trio.testing.MockClock) -> None:
    theatre = Theatre(lambda play: 0)
    async with theatre.open() as errands:
        errands.enqueue("/n", ("+sdown", "master m 127.0.0.1 1"))
        await trio.sleep(80_000)
        assert (errands.queued, errands.running) == (0, 0)
    assert [(play.path, play.arguments) for play in theatre.plays] == [("/n", ("+sdown", "master m 127.0.0.1 1"))]
    assert theatre.told == [(Level.DEBUG, "+script-child 1000"), (Level.DEBUG, "-script-child 1000 0 0")]


@pytest.mark.parametrize(("status", "error"), [(1, "/n 0 1"), (-9, "/n 9 0")])
async def test_exit_1_and_a_signal_are_repeated_ten_times_with_a_doubling_delay(
    autojump_clock: trio.testing.MockClock, status: int, error: str
) -> None:
    theatre = Theatre(lambda play: status)
    async with theatre.open() as errands:
        errands.enqueue("/n", ())
        await trio.sleep(80_000)
        assert errands.queued == 0
    starts = [play.started_at for play in theatre.plays]
    gaps = [round(later - earlier) for earlier, later in pairwise(starts)]
    assert gaps == [30, 60, 120, 240, 480, 960, 1920, 3840, 7680]
    assert theatre.warnings == [f"-script-error {error}"]


async def test_exit_2_is_final_and_told_with_the_signal_first(autojump_clock: trio.testing.MockClock) -> None:
    theatre = Theatre(lambda play: 3)
    async with theatre.open() as errands:
        errands.enqueue("/n", ())
        await trio.sleep(1000)
    assert len(theatre.plays) == 1
    assert theatre.told[1:] == [(Level.DEBUG, "-script-child 1000 3 0"), (Level.WARNING, "-script-error /n 0 3")]


async def test_what_cannot_be_executed_counts_as_exit_2(autojump_clock: trio.testing.MockClock) -> None:
    theatre = Theatre(fails_with=errno.ENOENT)
    async with theatre.open() as errands:
        errands.enqueue("/n", ())
        await trio.sleep(1000)
        assert (errands.queued, errands.running) == (0, 0)
    assert theatre.warnings == ["-script-error /n 0 2"]


async def test_when_no_process_can_be_made_the_job_waits_for_its_next_turn(
    autojump_clock: trio.testing.MockClock,
) -> None:
    theatre = Theatre(fails_with=errno.EAGAIN)
    async with theatre.open() as errands:
        errands.enqueue("/n", ())
        await trio.sleep(1)
        assert (errands.queued, errands.running) == (1, 0)
        theatre.fails_with, theatre.verdict = None, lambda play: 0
        await trio.sleep(31)
        assert errands.queued == 0
    assert theatre.warnings == ["-script-error /n 99 0"]


async def test_a_script_is_killed_when_its_time_is_over_and_repeated(autojump_clock: trio.testing.MockClock) -> None:
    theatre = Theatre()
    async with theatre.open() as errands:
        errands.enqueue("/n", ())
        await trio.sleep(59.9)
        assert theatre.warnings == []
        await trio.sleep(0.2)
        assert theatre.warnings == ["-script-timeout /n 1000"]
        assert theatre.told[-1] == (Level.DEBUG, "-script-child 1000 0 9")
        await trio.sleep(31)
        assert len(theatre.plays) == 2


async def test_sixteen_run_at_once_in_order(autojump_clock: trio.testing.MockClock) -> None:
    theatre = Theatre()
    async with theatre.open() as errands:
        for number in range(20):
            errands.enqueue(f"/n{number}", ())
        await trio.sleep(1)
        assert (errands.running, errands.queued) == (MAX_RUNNING, 20)
        assert [play.path for play in theatre.plays] == [f"/n{number}" for number in range(16)]
        theatre.plays[3].end(0)
        await trio.sleep(1)
        assert theatre.plays[-1].path == "/n16"
        assert (errands.running, errands.queued) == (MAX_RUNNING, 19)


async def test_a_full_queue_loses_its_oldest_that_does_not_run(autojump_clock: trio.testing.MockClock) -> None:
    theatre = Theatre()
    async with theatre.open() as errands:
        for number in range(MAX_QUEUED):
            errands.enqueue(f"/n{number}", ())
        await trio.sleep(1)
        errands.enqueue("/last", ())
        paths = [row.argv[0] for row in errands.pending()]
        assert len(paths) == MAX_QUEUED
        assert paths[14:18] == ["/n14", "/n15", "/n17", "/n18"]
        assert paths[-1] == "/last"


async def test_pending_rows_show_time_running_and_time_until_due(autojump_clock: trio.testing.MockClock) -> None:
    theatre = Theatre()
    async with theatre.open() as errands:
        errands.enqueue("/n", ("+sdown", "x"))
        (row,) = errands.pending()
        assert (row.running, row.pid, row.age_ms, row.runs) == (False, 0, 0, 0)
        await trio.sleep(1.5)
        (row,) = errands.pending()
        assert (row.argv, row.running, row.pid, row.age_ms, row.runs) == (("/n", "+sdown", "x"), True, 1000, 1500, 1)
        theatre.plays[0].end(1)
        await trio.sleep(10)
        (row,) = errands.pending()
        assert (row.running, row.pid, row.age_ms, row.runs) == (False, 0, 20_000, 1)


async def test_a_script_outlives_the_service(autojump_clock: trio.testing.MockClock) -> None:
    theatre = Theatre()
    async with theatre.open() as errands:
        errands.enqueue("/n", ())
        await trio.sleep(1)
    assert theatre.plays[0].abandoned
    assert not theatre.plays[0].ended.is_set()


# ---------------------------------------------------------------- real processes


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


async def until(condition: Callable[[], bool]) -> None:
    """Other processes set no events: look again and again."""
    with trio.fail_after(10):
        while not condition():
            await trio.sleep(0.01)


async def settle(errands: Errands) -> None:
    await until(lambda: errands.queued == 0)


@asynccontextmanager
async def real(timing: Timing = FAST) -> AsyncIterator[tuple[Errands, list[str]]]:
    told: list[str] = []
    start: StartScript = start_script
    errands = Errands(timing=lambda: timing, start_script=start)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(errands.serve, lambda b: told.append(b.line)))
        yield errands, told
        nursery.cancel_scope.cancel()


async def test_a_real_script_gets_its_words_unchanged(tmp_path: Path) -> None:
    out = tmp_path / "out"
    path = script(tmp_path / "n.sh", f'printf "%s|" "$0" "$@" >> {out}')
    odd = b"\xff'$(x)\n".decode("utf-8", "surrogateescape")
    async with real() as (errands, _):
        errands.enqueue(path, ("+sdown", "master m 127.0.0.1 1", odd))
        await settle(errands)
    assert out.read_bytes() == path.encode() + b"|+sdown|master m 127.0.0.1 1|\xff'$(x)\n|"


async def test_a_real_script_is_repeated_until_it_succeeds(tmp_path: Path) -> None:
    count = tmp_path / "count"
    path = script(tmp_path / "n.sh", f"echo x >> {count}; test $(wc -l < {count}) -ge 3 || exit 1")
    async with real() as (errands, told):
        errands.enqueue(path, ())
        await settle(errands)
    assert count.read_text() == "x\n" * 3
    assert not [line for line in told if line.startswith("-script-error")]


async def test_a_real_script_that_hangs_is_killed(tmp_path: Path) -> None:
    path = script(tmp_path / "n.sh", "exec sleep 60")
    async with real(Timing(script_max_runtime_ms=50, script_retry_delay_ms=60_000)) as (errands, told):
        errands.enqueue(path, ())
        await until(lambda: bool(told) and not errands.running)
    pid = told[0].split()[1]
    assert told == [f"+script-child {pid}", f"-script-timeout {path} {pid}", f"-script-child {pid} 0 9"]


@pytest.mark.parametrize("kind", ["missing", "directory", "bad format", "nul"])
async def test_a_real_file_that_cannot_run_is_told_as_exit_2(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "directory":
        path.mkdir()
    elif kind == "bad format":
        path.write_text("no interpreter line")
        path.chmod(0o755)
    arguments = ("a\0b",) if kind == "nul" else ()
    async with real() as (errands, told):
        errands.enqueue(str(path), arguments)
        await settle(errands)
    assert told == [f"-script-error {path} 0 2"]


async def test_a_bare_name_is_a_file_here_and_not_a_program_of_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    script(tmp_path / "true", "echo here > ran")
    async with real() as (errands, _):
        errands.enqueue("true", ())
        await settle(errands)
    assert (tmp_path / "ran").read_text() == "here\n"


async def test_ignored_signals_stay_ignored_in_a_script(tmp_path: Path) -> None:
    out = tmp_path / "out"
    path = script(tmp_path / "n.sh", f"grep SigIgn /proc/self/status > {out}")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        async with real() as (errands, _):
            errands.enqueue(path, ())
            await settle(errands)
    finally:
        signal.signal(signal.SIGHUP, before)
    ignored = int(out.read_text().split()[1], 16)
    assert ignored & (1 << (signal.SIGHUP - 1))
    assert ignored & (1 << (signal.SIGPIPE - 1))


async def test_a_real_script_runs_on_after_the_service_has_stopped(tmp_path: Path) -> None:
    out = tmp_path / "out"
    path = script(tmp_path / "n.sh", f"echo 1 >> {out}; sleep 0.2; echo 2 >> {out}")
    async with real() as (errands, _):
        errands.enqueue(path, ())
        await until(out.exists)
    await until(lambda: out.read_text() == "1\n2\n")
