"""How one life of a simulated process saves its file: what the daemon's keeper does, on virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_sentinel.model import effects as fx
from trio_sentinel.model import inputs as i
from trio_sentinel.model.snapshot import Snapshot
from trio_sentinel.sim.crash_points import SAVE_BEGINS, SAVE_DONE, SAVE_HALF

if TYPE_CHECKING:
    from trio_sentinel.sim.process import SimSentinel

LAZY_SAVE_MS = 50
"""How long a save that nobody waits for may wait for company."""
LATE_SHARE = 0.3
"""How often a failing disk fails after the rename: the file is new, and whoever wrote it hears of a failure."""


class Saver:
    """The saves of the life in which it is made; a later life hears nothing of them."""

    def __init__(self, process: SimSentinel) -> None:
        self.process = process
        self.writing: Snapshot | None = None
        """What the file becomes when the write that is under way has been renamed."""
        self._life = process.life
        self._to_save: tuple[int, Snapshot, bool] | None = None
        self._lazy_until_ms: int | None = None

    def save(self, effect: fx.SaveConfig) -> None:
        """One write at a time; what is asked for meanwhile is joined into the next."""
        urgent = effect.urgent or (self._to_save is not None and self._to_save[2])
        self._to_save = (effect.version, self.process.engine.snapshot(), urgent)
        self._next()

    def _next(self) -> None:
        if self.writing is not None or self._to_save is None:
            return
        process, world = self.process, self.process.world
        version, snapshot, urgent = self._to_save
        if not urgent:
            if self._lazy_until_ms is None:
                self._lazy_until_ms = world.now_ms + LAZY_SAVE_MS
                world.after(LAZY_SAVE_MS, self._company_came)
            if world.now_ms < self._lazy_until_ms:
                return
        self._lazy_until_ms = None
        self._to_save = None
        if process.dies_at(SAVE_BEGINS):
            return
        self.writing = snapshot
        world.after(world.random.randint(*process.save_ms), self._written, version, snapshot)

    def _company_came(self) -> None:
        if self._life == self.process.life and self._lazy_until_ms is not None:
            if self.process.world.now_ms >= self._lazy_until_ms:
                self._next()

    def _written(self, version: int, snapshot: Snapshot) -> None:
        process = self.process
        if self._life != process.life:
            return
        if process.frozen:
            process.stalled.append((self._written, (version, snapshot)))
            return
        if process.dies_at(SAVE_HALF):
            return
        self.writing = None
        if process.disk_fails:
            if process.world.random.random() < LATE_SHARE:
                process.write_unsynced(snapshot)
                process.cluster.seen["a save that failed after its rename"] += 1
            process.feed(i.ConfigSaveFailed(version, "No space left on device"))
        else:
            process.disk = snapshot
            if process.dies_at(SAVE_DONE):
                return
            process.feed(i.ConfigSaved(version))
        if self._life == process.life:
            self._next()
