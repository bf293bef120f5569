"""Saves the configuration before words leave the house.

One writer, which must not stop the probes while the disk takes its time. What is wanted meanwhile is joined: the
newest state wins. The model itself holds back whatever may not be heard before the save (saves.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import trio

from trio_sentinel.model.engine import Engine
from trio_sentinel.model.inputs import ConfigSaved, ConfigSaveFailed, Input
from trio_sentinel.model.snapshot import Snapshot

JOIN_S: Final = 0.2
"""How long a save that nobody waits for may wait for others to join it ..."""
JOIN_SHARE: Final = 10
MOST_JOIN_S: Final = 2.0
"""... or this many times what the last one took, up to this: a file that a thousand discoveries change is large."""
LAST_SAVE_S: Final = 3.0
"""How long the last save may take when the sentinel is stopped."""


class Store(Protocol):
    """Where the configuration is kept."""

    async def save(self, snapshot: Snapshot) -> None:
        """Write it durably, without blocking anybody else.

        Raises:
            OSError: with a text that says which step failed.
        """


class Keeper:
    """Turns SaveConfig into ConfigSaved or ConfigSaveFailed."""

    def __init__(self, engine: Engine, store: Store, hear: Callable[[Input], None]) -> None:
        self._engine = engine
        self._store = store
        self._hear = hear
        self._wanted = 0
        self._saved = 0
        self._took_s = 0.0
        self._urgent = trio.Event()
        self._some = trio.Event()

    def want(self, version: int, *, urgent: bool) -> None:
        """Save the newest state soon, or now."""
        self._wanted = version
        self._some.set()
        if urgent:
            self._urgent.set()

    async def serve(self) -> None:
        """Run until cancelled; what is unsaved then is saved on the way out."""
        try:
            while True:
                await self._some.wait()
                with trio.move_on_after(min(max(JOIN_S, JOIN_SHARE * self._took_s), MOST_JOIN_S)):
                    await self._urgent.wait()
                self._some, self._urgent = trio.Event(), trio.Event()
                await self._save()
        finally:
            if self._wanted > self._saved:
                with trio.move_on_after(LAST_SAVE_S, shield=True):
                    await self._save()

    async def _save(self) -> None:
        version, snapshot = self._wanted, self._engine.snapshot()
        began = trio.current_time()
        try:
            await self._store.save(snapshot)
        except (OSError, RuntimeError) as error:  # RuntimeError: how Python before 3.13 tells a loop of symbolic links
            self._hear(ConfigSaveFailed(version, str(error)))
        else:
            self._saved = version
            self._took_s = trio.current_time() - began
            self._hear(ConfigSaved(version))
