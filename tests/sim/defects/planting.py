"""What a planted mistake is, and where it has its chance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from trio_sentinel.model import engine
from trio_sentinel.model.invariants import Marks
from trio_sentinel.sim.options import Options

Patch = pytest.MonkeyPatch

FAILOVERS = (("kill server", 5), ("freeze server", 3), ("one-way cut", 2), ("isolate host", 2))
CRASHES = (*FAILOVERS, ("crash sentinel", 4), ("trap sentinel", 8))
DISKS = (*FAILOVERS, ("failing disk", 6), ("crash sentinel", 2))
TORN = (("kill server", 8), ("operator failover", 4), ("torn write", 10), ("failing disk", 8), ("crash sentinel", 8))
CUTS = (("partition", 5), ("one-way cut", 5), ("isolate host", 5), ("kill server", 3))
ORDERS = (("operator set", 8), ("operator reset", 8), ("operator remove", 6), ("kill server", 2), ("crash sentinel", 4))
MESS = (*FAILOVERS, ("replica astray", 6), ("priorities", 3), ("partition", 2))


def arena(seed: int, weights: tuple[tuple[str, int], ...] = FAILOVERS, **others: Any) -> Options:
    """Where a defect has its chance: short times, frequent harm."""
    chosen: dict[str, Any] = {
        "sentinels": 3,
        "quorum": 2,
        "replicas": 2,
        "down_after_ms": 1000,
        "failover_timeout_ms": 3000,
        "pause_ms": 1500,
        "harm_ms": 30_000,
        "weights": weights,
    }
    return Options(seed=seed, **(chosen | others))


@attrs.frozen
class Defect:
    """A mistake, where it is looked for, and which properties may find it."""

    plant: Callable[[Patch], None]
    properties: tuple[str, ...]
    weights: tuple[tuple[str, int], ...] = FAILOVERS
    others: tuple[tuple[str, Any], ...] = ()


def without_assertions(patch: Patch) -> None:
    """The engine does not look at itself: the checkers must find the mistake."""
    patch.setattr(engine, "check_state", lambda state, master: None)
    patch.setattr(engine, "check_parallel_syncs", lambda master: None)
    patch.setattr(Marks, "check", lambda self, state, master: None)
