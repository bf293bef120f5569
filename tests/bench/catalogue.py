"""Everything that is measured, in the order of the table."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from . import failovers, fleet, port
from .rig import Side


@frozen
class Measure:
    """One measurement: `take` gives the figures of one sample; the figure's unit is in its name, else milliseconds."""

    name: str
    take: Callable[[Side, int], dict[str, float]]
    samples: int = 7
    large: bool = False
    """Left out of a quick run."""
    left_out: tuple[str, ...] = ()
    """Sides that cannot do this."""

    def able(self, side: Side) -> bool:
        """Whether this side takes part."""
        return side.name not in self.left_out


STOCK = ("valkey", "redis7")
MEASURES = (
    Measure("kill", failovers.crash_kill),
    Measure("stop", failovers.crash_stop),
    Measure("manual", failovers.manual),
    Measure("coordinated", failovers.coordinated, left_out=("redis7",)),
    Measure("kills in a row", failovers.kills_in_a_row, samples=1, large=True, left_out=STOCK),
    Measure("handovers in a row", failovers.handovers_in_a_row, samples=1, large=True, left_out=STOCK),
    Measure("throughput", port.throughput),
    Measure("storm", port.storm),
    Measure("fan-out", port.fan_out),
    Measure("storm of 10,000", port.great_storm, samples=3, large=True),
    Measure("fan-out to 5,000", port.great_fan_out, samples=3, large=True),
    Measure("start", port.startup),
    Measure("10 masters", fleet.fleet10, samples=3),
    Measure("100 masters", fleet.fleet100, samples=3),
    Measure("1,000 masters", fleet.fleet1000, samples=3, large=True),
    Measure("20 of 200 die", fleet.mass200, samples=3),
    Measure("100 of 1,000 die", fleet.mass1000, samples=3, large=True),
)
