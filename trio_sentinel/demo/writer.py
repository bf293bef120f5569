"""A real client that writes without pause: redis-py, finding the master through its ``Sentinel`` class.

It runs in a thread of its own, as the blocking client that it is. Every write appends the next number to a list.
A number counts as acknowledged when the server said so, and is never written twice: what is missing later was lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from trio_sentinel.demo.stage import LOOPBACK, MASTER_NAME

KEY = "demo:writes"
PACE_S = 0.004
"""Pause after a write: about 200 writes a second are plenty to see."""
RETRY_S = 0.010
"""Pause after a write that failed; so an outage is measured to about this much."""
TIMEOUT_S = 0.5


class Writer:
    """Counts what it writes. Read its attributes from any thread; only its own thread changes them."""

    def __init__(self, sentinel_ports: Sequence[int]) -> None:
        sentinels = [(LOOPBACK, port) for port in sentinel_ports]
        patience = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S, "retry": Retry(NoBackoff(), 0)}
        finder = Sentinel(sentinels, sentinel_kwargs=dict(patience), **patience)
        self._client: redis.Redis = finder.master_for(MASTER_NAME)
        self._stop = threading.Event()
        self.next_number = 0
        self.acknowledged: list[int] = []
        self.errors: dict[str, int] = {}
        """How often a write failed, by the name of the exception."""
        self.last_ok_at: float | None = None
        """When the last write was acknowledged, on the clock of ``time.monotonic``."""
        self.outages: list[tuple[float, float]] = []
        """Last success before and first success after each time in which writes failed."""
        self._failing = False

    def outage(self, since: float) -> tuple[float, float] | None:
        """The longest outage that ended after `since`; None when there was none, or while it lasts."""
        return max((o for o in self.outages if o[1] > since), key=lambda o: o[1] - o[0], default=None)

    def run(self) -> None:
        """Write until `stop` is called."""
        while not self._stop.is_set():
            number, self.next_number = self.next_number, self.next_number + 1
            try:
                self._client.rpush(KEY, number)
            except redis.RedisError as error:
                name = type(error).__name__
                self.errors[name] = self.errors.get(name, 0) + 1
                self._failing = True
                self._stop.wait(RETRY_S)
            else:
                self._succeeded(number, time.monotonic())
                self._stop.wait(PACE_S)
        self._client.close()

    def _succeeded(self, number: int, now: float) -> None:
        if self._failing and self.last_ok_at is not None:
            self.outages.append((self.last_ok_at, now))
        self._failing = False
        self.last_ok_at = now
        self.acknowledged.append(number)

    def stop(self) -> None:
        """Ask the thread to end after the write it is at."""
        self._stop.set()
