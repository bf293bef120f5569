"""The rehearsal: sentinels against simulated servers on virtual time, repeatable from a seed.

For tests of applications:

    deployment = trio_sentinel.sim.Deployment(sentinels=3, replicas=2)

For the search for mistakes, and for what a deployment would live through:

    report = trio_sentinel.sim.run(47)          # one seed; report.broken is None, or says what is broken
    sample = trio_sentinel.sim.rehearse(plan, "power", seed=1)

The names are imported when they are first used; pytest loads a plugin from here in every run.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trio_sentinel.sim.deployment import CLIENT, Deployment, Happened, NotInTime, ServerUnreachable, Writes
    from trio_sentinel.sim.options import Options, draw
    from trio_sentinel.sim.plan import Plan, warnings
    from trio_sentinel.sim.rehearsal import INCIDENTS, Sample, rehearse
    from trio_sentinel.sim.runs import Report, run, run_options
    from trio_sentinel.sim.shrinking import shrink
    from trio_sentinel.sim.timelines import timeline

_HOMES = {
    "deployment": ("CLIENT", "Deployment", "Happened", "NotInTime", "ServerUnreachable", "Writes"),
    "options": ("Options", "draw"),
    "plan": ("Plan", "warnings"),
    "rehearsal": ("INCIDENTS", "Sample", "rehearse"),
    "runs": ("Report", "run", "run_options"),
    "shrinking": ("shrink",),
    "timelines": ("timeline",),
}

__all__ = [
    "CLIENT",
    "INCIDENTS",
    "Deployment",
    "Happened",
    "NotInTime",
    "Options",
    "Plan",
    "Report",
    "Sample",
    "ServerUnreachable",
    "Writes",
    "draw",
    "rehearse",
    "run",
    "run_options",
    "shrink",
    "timeline",
    "warnings",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"trio_sentinel.sim.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
