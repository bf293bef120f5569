"""The rehearsal: sentinels against simulated servers on virtual time, repeatable from a seed.

For tests of applications:

    deployment = trio_sentinel.sim.Deployment(sentinels=3, replicas=2)

For the search for mistakes, and for what a deployment would live through:

    report = trio_sentinel.sim.run(47)          # one seed; report.broken is None, or says what is broken
    report = trio_sentinel.sim.run_full(47)     # the same with the real runtime
    total = trio_sentinel.sim.soak(range(1000), jobs=2)

    outlook = trio_sentinel.sim.Outlook(plan)
    for task in trio_sentinel.sim.tasks(plan, runs=10):
        outlook.add(trio_sentinel.sim.sample(task))
    print(*trio_sentinel.sim.lessons(outlook), sep="\n")

The names are imported when they are first used; pytest loads a plugin from here in every run.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trio_sentinel.sim.deployment import CLIENT, Deployment, Happened, NotInTime, ServerUnreachable, Writes
    from trio_sentinel.sim.options import Options, draw
    from trio_sentinel.sim.plan import Plan, placed, spread, warnings
    from trio_sentinel.sim.rehearsal import INCIDENTS, Outlook, Sample, Task, lessons, rehearse, sample, tasks
    from trio_sentinel.sim.runs import Loss, Report, run, run_options
    from trio_sentinel.sim.shrinking import shrink
    from trio_sentinel.sim.soaks import Search, Sum, full_stage, soak
    from trio_sentinel.sim.stage import run_full, run_full_options
    from trio_sentinel.sim.timelines import timeline

_HOMES = {
    "deployment": ("CLIENT", "Deployment", "Happened", "NotInTime", "ServerUnreachable", "Writes"),
    "options": ("Options", "draw"),
    "plan": ("Plan", "placed", "spread", "warnings"),
    "rehearsal": ("INCIDENTS", "Outlook", "Sample", "Task", "lessons", "rehearse", "sample", "tasks"),
    "runs": ("Loss", "Report", "run", "run_options"),
    "shrinking": ("shrink",),
    "soaks": ("Search", "Sum", "full_stage", "soak"),
    "stage": ("run_full", "run_full_options"),
    "timelines": ("timeline",),
}

__all__ = [
    "CLIENT",
    "INCIDENTS",
    "Deployment",
    "Happened",
    "Loss",
    "NotInTime",
    "Options",
    "Outlook",
    "Plan",
    "Report",
    "Sample",
    "Search",
    "ServerUnreachable",
    "Sum",
    "Task",
    "Writes",
    "draw",
    "full_stage",
    "lessons",
    "placed",
    "rehearse",
    "run",
    "run_full",
    "run_full_options",
    "run_options",
    "sample",
    "shrink",
    "soak",
    "spread",
    "tasks",
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
