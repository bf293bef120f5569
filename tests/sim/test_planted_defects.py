"""The simulator bites: each planted mistake is found within a few seeds, by a property that fits it."""

from __future__ import annotations

import os
import re

import pytest

from trio_sentinel.sim.runs import run_options

from .defects import DEFECTS
from .defects.planting import arena

MAX_SEEDS = 60
FIRST = int(os.environ.get("DEFECT_SEED", "0"))
"""Another start gives other runs, e.g. to find out how many seeds a defect usually takes."""


def found_by(broken: str) -> str:
    """The number of the property, or the name of the exception."""
    match = re.search(r"property (\w+)", broken)
    return match[1] if match else broken.partition(":")[0]


@pytest.mark.parametrize("name", DEFECTS)
def test_a_planted_defect_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    defect = DEFECTS[name]
    defect.plant(monkeypatch)
    for n in range(MAX_SEEDS):
        report = run_options(arena(FIRST + n, defect.weights, **dict(defect.others)))
        if report.broken is not None:
            assert found_by(report.broken) in defect.properties, report.broken
            print(f"{name} | {found_by(report.broken)} | {n + 1} | {report.broken}")
            return
    pytest.fail(f"not found in {MAX_SEEDS} seeds")


def test_without_a_defect_nothing_is_found() -> None:
    for defect in list(DEFECTS.values())[::6]:
        report = run_options(arena(FIRST, defect.weights, **dict(defect.others)))
        assert report.broken is None, report.line
