"""The full stage: a seed is a run there, too; it finds what lies between the bytes and the mind; and its own parts."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys

import pytest

from trio_sentinel.sim.runs import Report
from trio_sentinel.sim.stage import run_full, run_full_options
from trio_sentinel.sim.story import lines

from .stage_defects import SCENERY, STAGE_DEFECTS, small

FIXED = (23, 217, 1082, 1481, 1505, 1509)
"""Seeds that found something once."""
FRESH = 3
REPEATED = (1, 9)
FIRST = int(os.environ.get("DEFECT_SEED", "100"))


def _check(report: Report) -> None:
    assert report.broken is None, "\n".join([*list(lines(report))[-40:], report.line])


@pytest.mark.parametrize("seed", FIXED)
def test_a_known_seed_holds(seed: int) -> None:
    _check(run_full(seed))


@pytest.mark.parametrize("number", range(FRESH))
def test_a_fresh_seed_holds(number: int) -> None:
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")
    _check(run_full(seed))


def _in_another_process(seed: int, hash_seed: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "trio_sentinel.sim", "--stage", "full", "--seed", str(seed), "--brief"],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "hash " in done.stdout, done.stderr
    return done.stdout


@pytest.mark.parametrize("seed", REPEATED)
def test_the_same_seed_gives_the_same_events_in_another_process(seed: int) -> None:
    """Tasks are scheduled alike, whatever order sets and everything else that hangs on hashes have."""
    assert _in_another_process(seed, "1") == _in_another_process(seed, "2")


def test_different_seeds_are_different_runs() -> None:
    assert run_full(1).event_hash != run_full(9).event_hash


@pytest.mark.parametrize("name", STAGE_DEFECTS)
def test_a_planted_defect_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    defect = STAGE_DEFECTS[name]
    defect.plant(monkeypatch)
    for n in range(defect.seeds):
        broken = run_full_options(small(FIRST + n, defect.weights, defect.pause_ms), SCENERY).broken
        if broken is not None:
            match = re.search(r"property (\w+)", broken)
            finder = match[1] if match else broken.partition(":")[0]
            assert finder in defect.found_by, broken
            print(f"{name} | {finder} | {n + 1} | {broken}")
            return
    pytest.fail(f"not found in {defect.seeds} seeds")


def test_without_a_defect_nothing_is_found() -> None:
    for weights in {defect.weights for defect in STAGE_DEFECTS.values()}:
        _check(run_full_options(small(FIRST, weights), SCENERY))
