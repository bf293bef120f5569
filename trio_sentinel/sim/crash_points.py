"""Where a process may be made to die (core.md 20, the end), and the trap that waits for it there."""

from __future__ import annotations

from typing import Final

from attrs import define

from trio_sentinel.model import effects as fx
from trio_sentinel.model.events import LeaderElected, PromotionSeen

SAVE_BEGINS, SAVE_HALF, SAVE_DONE = "before a save", "during a save", "after a save, before it is known"
CRASH_POINTS: Final[tuple[str, ...]] = (
    SAVE_BEGINS,
    SAVE_HALF,
    SAVE_DONE,
    *(
        f"{when} {kind.__name__}"
        for when in ("before", "after")
        for kind in (
            fx.AskPeer,
            fx.AnswerOpinion,
            fx.Promote,
            fx.Repoint,
            fx.HandOver,
            fx.SayHello,
            fx.KillClients,
        )
    ),
    *(f"after the event {kind.__name__}" for kind in (LeaderElected, PromotionSeen)),
)


@define(eq=False)
class Trap:
    """The process dies when it has come to `point` as often as ``left`` says."""

    point: str
    left: int
    with_host: bool = False
    """By a power failure."""
