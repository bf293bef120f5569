"""The fuzzer of a port finds what it is there to find, and a short run of it finds nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz import corpus_files, live, tape, witness
from tests.fuzz.witness import Hang, Witness
from tests.real.harness_processes import Child

DEAF = "import sys, socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
RUDE = DEAF.replace("input()", "[s.accept()[0].close() for _ in range(99)]")


@pytest.fixture
def child(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Child]:
    """A program that listens, tells its port, and does no good."""
    program = f"import time; input = lambda: time.sleep(600)\n{request.param}"
    child = Child("bad", [sys.executable, "-c", program], out_path=tmp_path / "out", cwd=tmp_path)
    child.spawn()
    try:
        yield child
    finally:
        child.clean_up()


def port_of(child: Child) -> int:
    while not child.output().endswith("\n"):
        assert child.alive, child.output()
    return int(child.output())


@pytest.mark.parametrize("child", [DEAF], indirect=True)
def test_a_client_that_is_not_answered_is_a_finding(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness, "HANG_S", 0.6)
    with pytest.raises(Hang, match="not answered"):
        Witness(child, port_of(child), 0).look()
    assert not child.alive, "it was made to tell its stacks"


@pytest.mark.parametrize("child", [RUDE], indirect=True)
def test_a_client_that_is_sent_away_is_a_finding(child: Child) -> None:
    with pytest.raises(Hang, match="was closed"):
        Witness(child, port_of(child), 0).look()


def test_what_was_sent_last_can_be_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_files, "CORPUS", tmp_path)
    monkeypatch.setattr(tape, "LENGTH", 3)
    written = tape.Tape()
    for number in range(3):
        written.sent(number, b"x\r\n\xff%d" % number)
    written.ended(1)
    assert list(tape.read(written.keep())) == [(1, b"x\r\n\xff1"), (2, b"x\r\n\xff2"), (1, b"")]


@pytest.mark.real
def test_a_moment_of_fuzz_finds_nothing(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "BURST_S", 0.5)
    found = live.fuzz_port(3.0, 1, 0.0)
    told = capfd.readouterr()
    assert found == 0, told.err
    assert "PINGs answered" in told.out


@pytest.mark.real
def test_a_tape_is_sent_to_a_living_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_files, "CORPUS", tmp_path)
    recorded = tape.Tape()
    recorded.sent(1, b"PI")
    recorded.sent(2, b"*1\r\n$4\r\nPING\r\n")
    recorded.sent(1, b"NG\r\n")
    recorded.ended(1)
    assert live.replay(recorded.keep()) == 0
