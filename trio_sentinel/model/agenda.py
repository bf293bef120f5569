"""When to look at which watch again: a heap of moments, and for each moment those who share it.

Many share one, for they are due on a wheel (``rhythm.py``), so the heap stays small. A watch that is planned anew stays
in the list of its old moment and is passed over there: only ``queued_ms`` counts.
"""

from __future__ import annotations

import heapq
from typing import Final

from trio_sentinel.model import rhythm
from trio_sentinel.model.observations import NEVER_MS, Watch
from trio_sentinel.model.values import Millis

LOOKS_AT_ONCE: Final = 256
"""When more watches than this are due at once, others get a turn before the rest."""


class Agenda:
    """Whom to look at, and when."""

    def __init__(self) -> None:
        self.moments: list[Millis] = []
        """A heap: the first is the next."""
        self._looks: dict[Millis, list[Watch]] = {}
        """By moment, in the order in which that was planned."""

    def plan(self, watch: Watch, due_ms: Millis) -> None:
        """Look at `watch` in that moment, unless it is looked at before."""
        if due_ms < watch.queued_ms:
            watch.queued_ms = due_ms
            sharing = self._looks.get(due_ms)
            if sharing is None:
                self._looks[due_ms] = [watch]
                heapq.heappush(self.moments, due_ms)
            else:
                sharing.append(watch)

    def take(self, now_ms: Millis) -> list[Watch]:
        """Those who are due, moment by moment. Whoever is not taken stays due."""
        moments, found = self.moments, list[Watch]()
        while moments and moments[0] <= now_ms:
            due_ms = moments[0]
            unseen = self._take(self._looks[due_ms], due_ms, now_ms, found)
            if unseen:
                self._looks[due_ms] = unseen
                break
            heapq.heappop(moments)
            del self._looks[due_ms]
        return found

    def _take(self, watches: list[Watch], due_ms: Millis, now_ms: Millis, found: list[Watch]) -> list[Watch]:
        """Add those to `found` that are still due in this moment; returns those that must wait."""
        for position, watch in enumerate(watches):
            if len(found) >= LOOKS_AT_ONCE:
                return watches[position:]
            if watch.queued_ms != due_ms or watch.gone:
                continue
            watch.queued_ms = NEVER_MS
            if watch.rest_ms > now_ms and rhythm.rests(watch):
                self.plan(watch, watch.rest_ms)
            else:
                found.append(watch)
        return []
