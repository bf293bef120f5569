"""How much the client port did in the last seconds: the ``instantaneous_`` fields of INFO."""

from __future__ import annotations

from collections import deque
from typing import Final

from attrs import Factory, define, frozen

from trio_sentinel.model.values import Millis

SAMPLES: Final = 16


@frozen
class Sample:
    """Totals at one moment."""

    at_ms: Millis
    commands: int
    input_bytes: int
    output_bytes: int


@define(eq=False)
class Rates:
    """The last totals, oldest first."""

    samples: deque[Sample] = Factory(lambda: deque(maxlen=SAMPLES))

    def note(self, sample: Sample) -> None:
        """Remember the totals of now."""
        self.samples.append(sample)

    def fields(self) -> dict[str, str | int]:
        """The fields of INFO; all zero until two moments are known."""
        if len(self.samples) < 2:
            return {}
        first, last = self.samples[0], self.samples[-1]
        seconds = max(1, last.at_ms - first.at_ms) / 1000
        return {
            "instantaneous_ops_per_sec": round((last.commands - first.commands) / seconds),
            "instantaneous_input_kbps": f"{(last.input_bytes - first.input_bytes) / 1024 / seconds:.2f}",
            "instantaneous_output_kbps": f"{(last.output_bytes - first.output_bytes) / 1024 / seconds:.2f}",
        }
