"""The clocks of a process that really runs. Trio's clock is the monotonic one, so that a MockClock rules everything."""

from __future__ import annotations

import time

import trio

from trio_sentinel.model.values import Millis


class TrioClock:
    """`ports.Clock` of a process."""

    def now_ms(self) -> Millis:
        """The monotonic clock."""
        return int(trio.current_time() * 1000)

    def wall_ms(self) -> Millis:
        """The wall clock, ms since 1970."""
        return time.time_ns() // 1_000_000

    def trio_time(self, at_ms: Millis) -> float:
        """See `ports.Clock`."""
        return at_ms / 1000
