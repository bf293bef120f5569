"""The disk of one virtual host, which keeps no more than a real one promises.

A save takes the steps of a careful program: a temporary file, its sync, the rename, the sync of the directory. A
process that dies in between leaves what it had done. A power failure leaves a beginning of what was written and not
synced, and loses renames that were not synced, or not. A full disk fails before the rename, or after it: then the
caller hears of a failure, and the new file is there.
"""

from __future__ import annotations

import errno
import random
from typing import TYPE_CHECKING, Final

import trio
from attrs import Factory, define

from trio_sentinel.model.engine import Engine
from trio_sentinel.model.snapshot import Snapshot
from trio_sentinel.sim.crash_points import SAVE_BEGINS, SAVE_DONE, SAVE_HALF
from trio_sentinel.sim.saver import LATE_SHARE
from trio_sentinel.wire import conf

if TYPE_CHECKING:
    from trio_sentinel.sim.stage_sentinel import StagedSentinel

CONF: Final = "/etc/sentinel.conf"
TEMPORARY: Final = "/etc/sentinel.conf.half"
"""Left behind by a crash, and read by nobody. (Real names are drawn.)"""
FULL: Final = "No space left on device"


@define(eq=False)
class VirtualDisk:
    """Files by path."""

    files: dict[str, bytes] = Factory(dict)
    """What a reader finds."""
    unsynced: dict[str, bytes] = Factory(dict)
    """What was there before a rename that is not yet durable."""
    dirty: set[str] = Factory(set)
    """Files whose content is not yet durable."""

    def read(self, path: str) -> bytes:
        """The content of a file. Raises OSError."""
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return self.files[path]

    def write(self, path: str, content: bytes) -> None:
        """A whole file anew."""
        self.files[path] = content
        self.dirty.add(path)

    def sync(self, path: str) -> None:
        """fsync of a file."""
        self.dirty.discard(path)

    def rename(self, old: str, new: str) -> None:
        """One file in the place of another."""
        self.unsynced.setdefault(new, self.files.get(new, b""))
        self.files[new] = self.files.pop(old)
        if old in self.dirty:
            self.dirty.remove(old)
            self.dirty.add(new)

    def sync_directory(self) -> None:
        """fsync of the directory: names stay from now on."""
        self.unsynced.clear()

    def kept(self, path: str) -> bytes:
        """What is certainly still there after a power failure, if it was ever synced."""
        return self.unsynced.get(path, self.files[path])

    def lose_power(self, dice: random.Random) -> None:
        """What was not durable is there, or is not, or is there in part."""
        if dice.random() < 0.5:
            self.files |= self.unsynced
            self.dirty -= self.unsynced.keys()
        for path in sorted(self.dirty):
            content = self.files[path]
            self.files[path] = content[: dice.randint(0, len(content))]
        self.unsynced.clear()
        self.dirty.clear()


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
        disk.write(TEMPORARY, content[: len(content) // 2])
        await trio.sleep(renamed_ms / 1000)
        await self._alive(SAVE_HALF)
        late = dice.random() < LATE_SHARE
        if sentinel.disk_fails and not late:
            raise OSError(errno.ENOSPC, FULL)
        disk.write(TEMPORARY, content)
        disk.sync(TEMPORARY)
        disk.rename(TEMPORARY, CONF)
        await trio.sleep((length_ms - renamed_ms) / 1000)
        await self._alive(None)
        if sentinel.disk_fails and late:
            sentinel.cluster.seen["a save that failed after its rename"] += 1
            raise OSError(errno.EIO, "Input/output error")
        disk.sync_directory()
        await self._alive(SAVE_DONE)

    async def _alive(self, point: str | None) -> None:
        """Go on only while the process lives and runs; it may die at `point`."""
        await self._sentinel.running(self._life)
        if point is not None:
            self._sentinel.reach(point, self._life)
