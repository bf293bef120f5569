"""The keeper: what goes wrong while saving is told, and ends nothing."""

from __future__ import annotations

import pytest
import trio

from trio_sentinel.model.engine import Engine
from trio_sentinel.model.inputs import ConfigSaved, ConfigSaveFailed, Input
from trio_sentinel.model.snapshot import Snapshot
from trio_sentinel.runtime.keeper import Keeper


class ZeroDice:
    """Always 0."""

    def below(self, limit: int) -> int:
        return 0


class Disk:
    """Fails once, then works."""

    def __init__(self, first: Exception) -> None:
        self.troubles = [first]

    async def save(self, snapshot: Snapshot) -> None:
        await trio.lowlevel.checkpoint()
        if self.troubles:
            raise self.troubles.pop()


@pytest.mark.parametrize("trouble", [OSError(28, "No space left on device"), RuntimeError("Symlink loop")])
async def test_a_save_that_fails_is_told_and_the_next_one_tried(trouble: Exception) -> None:
    heard: list[Input] = []
    keeper = Keeper(Engine(ZeroDice(), 0), Disk(trouble), heard.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.serve)
        for version in (1, 2):
            keeper.want(version, urgent=True)
            with trio.fail_after(5):
                while len(heard) < version:
                    await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert heard == [ConfigSaveFailed(1, str(trouble)), ConfigSaved(2)]
