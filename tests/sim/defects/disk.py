"""The file, and what operators were told of it: what is not written, or not read again."""

from __future__ import annotations

from typing import Any

import attrs

from trio_sentinel.model import effects as fx
from trio_sentinel.model import engine, replay
from trio_sentinel.model import events as e
from trio_sentinel.model import inputs as i
from trio_sentinel.model.engine import Engine
from trio_sentinel.model.state import Master
from trio_sentinel.sim.process import SimSentinel

from .planting import CRASHES, DISKS, ORDERS, TORN, Defect, Patch


def _disk_failure_ignored(patch: Patch) -> None:
    """A failed save is taken for a success (core.md Q3)."""
    handlers = engine._HANDLERS

    def saved(self: Engine, heard: i.ConfigSaveFailed) -> None:
        Engine._config_saved(self, i.ConfigSaved(heard.version))

    patch.setitem(handlers, i.ConfigSaveFailed, saved)


def _operators_answered_early(patch: Patch) -> None:
    """+OK does not wait for the disk."""
    patch.setattr(fx.Answer, "audible", False)


def _orders_not_saved(patch: Patch) -> None:
    """What SET changes and RESET forgets is kept in memory, and written some time (stock's RESET: core.md Q16)."""
    for kind in (e.SettingChanged, e.MasterReset):
        patch.setattr(kind, "durable", False)


def _stale_settings_written(patch: Patch) -> None:
    """A save that nobody waits for writes the settings as they were when the process began."""
    snapshot, start = Engine.snapshot, Engine.start
    first: dict[Engine, dict[str, Any]] = {}

    def started(self: Engine, known: Any, now_ms: int, **how: Any) -> Any:
        first[self] = {line.name: line.settings for line in known.masters}
        return start(self, known, now_ms, **how)

    def stale(self: Engine) -> Any:
        whole = snapshot(self)
        if self._saves.held:
            return whole
        lines = tuple(attrs.evolve(line, settings=first[self].get(line.name, line.settings)) for line in whole.masters)
        return attrs.evolve(whole, masters=lines)

    patch.setattr(Engine, "start", started)
    patch.setattr(Engine, "snapshot", stale)


def _configuration_lost_at_restart(patch: Patch) -> None:
    """A save while no failover runs writes the first address under the first epoch again."""
    to_save = replay._configuration_to_save

    def first(master: Master) -> Any:
        old = master.failover is None and master.o_down
        return (min(master.address, *master.replicas), 0) if old else to_save(master)

    patch.setattr(replay, "_configuration_to_save", first)


def _file_trusted_at_start(patch: Patch) -> None:
    """A start acts on what it reads, though a power failure may still take it back (seed 301691 of the full stage)."""
    patch.setattr(SimSentinel, "settle", lambda self: True)


def _torn_file_accepted(patch: Patch) -> None:
    """The file is renamed before its content is on the disk, and what a power failure leaves of it is loaded: the lines
    at the end are missing."""

    def half(self: SimSentinel, *, keep: bool) -> None:
        masters = tuple(attrs.evolve(line, config_epoch=0, leader_epoch=0) for line in self.disk.masters)
        self.disk = attrs.evolve(self.disk, current_epoch=0, masters=masters)

    patch.setattr(SimSentinel, "lose_power", half)


DEFECTS: dict[str, Defect] = {
    "a failed save is taken for a success": Defect(_disk_failure_ignored, ("1", "4", "15"), DISKS),
    "operators are answered before the disk": Defect(_operators_answered_early, ("durable",), ORDERS),
    "orders of operators are not saved": Defect(_orders_not_saved, ("durable",), ORDERS),
    "old settings are written again": Defect(_stale_settings_written, ("durable",), ORDERS),
    "an old configuration is written again": Defect(_configuration_lost_at_restart, ("15",), CRASHES),
    "the file is trusted before it is on the disk": Defect(
        _file_trusted_at_start, ("1", "4", "15", "20"), TORN, (("pause_ms", 500),)
    ),
    "a torn file is accepted": Defect(_torn_file_accepted, ("1", "4", "15", "20", "21", "22"), TORN),
}
