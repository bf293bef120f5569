"""Host names -> numeric IPs, in worker threads, each with a deadline, so that a slow resolver delays nobody.

A thread inside the system's resolver cannot be stopped; when its deadline passes it is left behind, and still
counts against the number of threads until it comes back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from trio_sentinel.adapters.lookup import ask_system

DEADLINE_S: Final = 5.0
MAX_THREADS: Final = 8
MAX_QUESTIONS: Final = 1024

Ask = Callable[[str], str | None]


class Resolver:
    """Answers questions for addresses by calling `on_result(host, ip)`, from a task of `nursery`, once per question.

    A question that is already asked is not asked again: one answer serves both. None means unknown, too slow, or
    too many questions at once.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        on_result: Callable[[str, str | None], None],
        *,
        deadline_s: float = DEADLINE_S,
        ask: Ask = ask_system,
    ) -> None:
        self._nursery = nursery
        self._on_result = on_result
        self._deadline_s = deadline_s
        self._ask = ask
        self._asked: set[str] = set()
        self._threads = trio.CapacityLimiter(MAX_THREADS)

    @property
    def in_flight(self) -> int:
        """How many questions wait for their answer."""
        return len(self._asked)

    def resolve(self, host: str) -> None:
        """Ask for `host`. The answer never comes before this returns."""
        if host in self._asked:
            return
        crowded = len(self._asked) >= MAX_QUESTIONS
        self._asked.add(host)
        self._nursery.start_soon(self._answer, host, 0.0 if crowded else self._deadline_s, name=f"resolve {host}")

    async def _answer(self, host: str, deadline_s: float) -> None:
        ip = None
        with trio.move_on_after(deadline_s):
            ip = await trio.to_thread.run_sync(self._ask, host, abandon_on_cancel=True, limiter=self._threads)
        self._asked.discard(host)
        self._on_result(host, ip)
