"""The disk of one virtual host: files that are whole, old or new, whatever happens in between.

A save takes the steps of a careful program: a temporary file, its sync, the rename, the sync of the directory. A crash
before the rename leaves the old file, one after it the new one, and a power failure before the last sync either. A
full disk fails before the rename, or after it: then the caller hears of a failure, and the new file is there.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

import trio
from attrs import Factory, define

from trio_sentinel.model.engine import Engine
from trio_sentinel.model.snapshot import Snapshot
from trio_sentinel.sim.process import SAVE_BEGINS, SAVE_DONE, SAVE_HALF
from trio_sentinel.wire import conf

if TYPE_CHECKING:
    from trio_sentinel.sim.stage_sentinel import StagedSentinel

CONF: Final = "/etc/sentinel.conf"
FULL: Final = "No space left on device"


@define(eq=False)
class VirtualDisk:
    """Files by path."""

    files: dict[str, bytes] = Factory(dict)
    unsynced: dict[str, bytes] = Factory(dict)
    """What was there before a rename that is not yet durable."""

    def read(self, path: str) -> bytes:
        """The content of a file. Raises OSError."""
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return self.files[path]

    def lose_power(self, *, keep: bool) -> None:
        """What was not durable is there, or is not."""
        if not keep:
            self.files |= self.unsynced
        self.unsynced.clear()


class VirtualStore:
    """`runtime.keeper.Store` for one life of a sentinel."""

    def __init__(self, sentinel: StagedSentinel, configuration: conf.Configuration, engine: Engine) -> None:
        self._sentinel = sentinel
        self._life = sentinel.life
        self._configuration = configuration
        self._rewriter = conf.Rewriter()
        self._engine = engine

    async def save(self, snapshot: Snapshot) -> None:
        """See `Store`. A process that dies in between never returns from here."""
        sentinel = self._sentinel
        disk, dice = sentinel.files, sentinel.world.random
        await self._alive(SAVE_BEGINS)
        before = disk.files.get(CONF, b"")
        content = self._rewriter.rewrite(before, self._configuration, snapshot, resolved=self._engine.state.names.get)
        length_ms = dice.randint(*sentinel.save_ms)
        renamed_ms = dice.randint(0, length_ms)
        await trio.sleep(renamed_ms / 1000)
        await self._alive(SAVE_HALF)
        late = dice.random() < 0.3
        if sentinel.disk_fails and not late:
            raise OSError(errno.ENOSPC, FULL)
        disk.files[CONF] = content
        disk.unsynced.setdefault(CONF, before)
        await trio.sleep((length_ms - renamed_ms) / 1000)
        await self._alive(None)
        if sentinel.disk_fails and late:
            sentinel.cluster.seen["a save that failed after its rename"] += 1
            raise OSError(errno.EIO, "Input/output error")
        disk.unsynced.pop(CONF, None)
        await self._alive(SAVE_DONE)

    async def _alive(self, point: str | None) -> None:
        """Go on only while the process lives and runs; it may die at `point`."""
        await self._sentinel.running(self._life)
        if point is not None:
            self._sentinel.reach(point, self._life)
