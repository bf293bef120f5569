"""The command lines of the simulator: words that mean nothing, interrupts, and readers that go away."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NoReturn

import pytest

import trio_sentinel.sim.__main__ as package
from trio_sentinel.sim import command, rehearsal, soaks
from trio_sentinel.sim.arguments import CANNOT, INTERRUPTED, NOBODY_READS, carried_out, replayed
from trio_sentinel.sim.options import draw
from trio_sentinel.sim.rehearsal import Sample, Task

SIMULATE = [sys.executable, "-m", "trio_sentinel", "simulate"]
PACKAGE = [sys.executable, "-m", "trio_sentinel.sim"]


@pytest.fixture
def conf(tmp_path: Path) -> str:
    path = tmp_path / "sentinel.conf"
    path.write_text("sentinel monitor cache 10.0.0.5 6379 2\nsentinel down-after-milliseconds cache 1000\n")
    return str(path)


def _refusal(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as refused:
        command.main(words)
    assert refused.value.code == CANNOT
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("option", ["--zones", "--replicas", "--sentinels", "--master", "--latency", "--min-replicas"])
def test_a_plan_without_its_file_is_no_search(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"argument {option}: only with --config" in _refusal([option, "3"], capsys)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--seed 1 --config x", "argument --seed: not allowed with --config"),
        ("--seed 1 --replay {}", "argument --replay: not allowed with --seed"),
        ("--last 3", "argument --last: only with --seed or --replay"),
        ("--seed 1 --runs 3", "argument --runs: not allowed with --seed"),
        ("--replay {} --seconds 3", "argument --seconds: not allowed with --replay"),
        ("--config x --no-shrink", "argument --no-shrink: not allowed with --config"),
        ("--runs 1e3", "argument --runs: must be a whole number, not '1e3'"),
        ("--runs 0", "argument --runs: must be 1 or more"),
        ("--jobs 100000", "argument --jobs: must be 256 or less"),
        ("--seconds nan", "argument --seconds: must be a number of seconds, 0 or more, not 'nan'"),
        ("--seconds inf", "argument --seconds: must be a number of seconds, 0 or more, not 'inf'"),
        ("--seconds -1", "argument --seconds: must be a number of seconds, 0 or more, not '-1'"),
        ("--seed x", "argument --seed: must be a whole number, not 'x'"),
        ("--config x --latency 5..1", "argument --latency: say A..B, with 0 <= A <= B, not '5..1'"),
        ("--config x --latency 5..", "argument --latency: say A..B, with 0 <= A <= B, not '5..'"),
        ("--config x --zone-latency -50", "argument --zone-latency: must be 0 or more"),
        ("--config x --min-replicas -1", "argument --min-replicas: must be 0 or more"),
    ],
)
def test_words_that_mean_nothing_are_refused(words: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _refusal(words.split(), capsys) == f"trio-sentinel simulate: error: {complaint}"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("soak --seeds 5..5", "argument --seeds: say A..B, for the seeds A to B-1, not '5..5'"),
        ("soak --seeds 5..x", "argument --seeds: say A..B, for the seeds A to B-1, not '5..x'"),
        ("soak --jobs 0", "argument --jobs: must be 1 or more"),
        ("soak --seconds -1", "argument --seconds: must be a number of seconds, 0 or more, not '-1'"),
        ("--seed 3 soak", "argument --seed: not allowed with soak"),
        ("--brief speed", "argument --brief: not allowed with speed"),
    ],
)
def test_so_are_those_of_the_package(words: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        package.main(words.split())
    assert refused.value.code == CANNOT
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"error: {complaint}")


@pytest.mark.parametrize("zones", ["0", "²", "-1", "", ",,", "q", "mm,s", "m"])
def test_zones_that_are_none_are_refused(zones: str, conf: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--config", conf, f"--zones={zones}"]) == CANNOT
    assert capsys.readouterr().err.startswith("trio-sentinel simulate: ")


def test_a_wrong_line_is_told_with_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sentinel.conf"
    path.write_bytes(b"\xff\x00\x01 \x80\n")
    assert command.main(["--config", str(path)]) == CANNOT
    assert capsys.readouterr().err.startswith(f"trio-sentinel simulate: {path}: line 1: ")


# ---------------------------------------------------------------- options to replay


def test_options_that_are_drawn_can_be_replayed() -> None:
    for seed in range(300):
        assert replayed(draw(seed).text) == draw(seed)


@pytest.mark.parametrize(
    "changed",
    [
        '"weights":[]',
        '"weights":[["bad hair",1]]',
        '"weights":[["cut",0]]',
        '"sentinels":0',
        '"sentinels":"3"',
        '"sentinels":2.5',
        '"masters":27',
        '"quorum":0',
        '"latency_ms":[5,1]',
        '"latency_ms":5',
        '"members":["redis 6"]',
        '"pause_ms":0',
        '"write_ms":0',
        '"named":1',
    ],
)
def test_options_that_no_run_can_have_are_refused(changed: str) -> None:
    """Without faults a run ended in an IndexError, which was told as a finding."""
    start = '{"seed":1,"weights":[["cut",1]]'
    assert replayed(start + "}").sentinels == 3
    with pytest.raises(ValueError, match="no options of a run"):
        replayed(f"{start},{changed}}}")


# ---------------------------------------------------------------- how it ends


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def test_an_interrupted_search_tells_what_it_has(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = command._pace
    monkeypatch.setattr(command, "_pace", lambda tally, s: real(tally, s) if tally.runs < 2 else _interrupt())
    assert command.main(["--first", "1", "--jobs", "1"]) == INTERRUPTED
    out = capsys.readouterr().out
    assert "! interrupted after 2 runs" in out
    assert "OK: every property held in 2 runs" in out


def test_an_interrupted_rehearsal_shows_its_samples(
    conf: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, made = rehearsal.sample, Counter[str]()

    def sample(task: Task) -> Sample:
        if made.total() == 2:
            _interrupt()
        made[task.incident] += 1
        return real(task)

    monkeypatch.setattr(rehearsal, "sample", sample)
    assert command.main(["--config", conf, "--runs", "1", "--jobs", "1"]) == INTERRUPTED
    out = capsys.readouterr().out
    assert "! interrupted after 2 of 9 runs" in out
    assert "the master's machine loses power" in out
    assert "the master hangs" not in out


def test_an_interrupted_soak_of_the_full_stage_tells_what_it_has(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There Ctrl-C comes out of Trio's nurseries."""

    def broken_off(*_: object) -> NoReturn:
        raise BaseExceptionGroup("Exceptions from Trio nursery", [KeyboardInterrupt()])

    monkeypatch.setattr(soaks, "run_quietly", broken_off)
    assert package.main(["--stage", "full", "soak", "--seeds", "1..9"]) == INTERRUPTED
    assert "interrupted after 0 seeds" in capsys.readouterr().out


def test_other_errors_of_nurseries_are_not_hidden() -> None:
    def wrong() -> NoReturn:
        raise BaseExceptionGroup("", [KeyError()])

    with pytest.raises(BaseExceptionGroup):
        carried_out(wrong, name="it")


@pytest.mark.parametrize("words", [[*SIMULATE, "--seed", "1"], [*PACKAGE, "--seed", "1"]], ids=["simulate", "package"])
def test_a_reader_that_goes_away_is_no_error(words: list[str]) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    with open(writes, "w") as nobody:
        done = subprocess.run(words, stdout=nobody, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (NOBODY_READS, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_a_full_disk_is_told() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*SIMULATE, "--seed", "1"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == CANNOT
    assert done.stderr.splitlines() == [f"trio-sentinel simulate: [Errno {errno.ENOSPC}] {os.strerror(errno.ENOSPC)}"]


def test_ctrl_c_in_a_terminal_ends_all_processes_without_a_traceback(conf: str) -> None:
    words = [*SIMULATE, "--config", conf, "--jobs", "2", "--runs", "1000"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while process.poll() is None and len(children.read_text().split()) < 3:  # both, and multiprocessing's own
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate()
    assert (process.returncode, err) == (INTERRUPTED, "")


def test_names_that_a_terminal_cannot_show_are_no_error(tmp_path: Path) -> None:
    path = tmp_path / "sentinel.conf"
    path.write_text("sentinel monitor m\u00e4ster 10.0.0.5 6379 2\n", encoding="utf-8")
    words = [*SIMULATE, "--config", str(path), "--jobs", "1", "--seconds", "0"]
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(words, env=ascii_only, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("\n== m\\xe4ster, as ")
