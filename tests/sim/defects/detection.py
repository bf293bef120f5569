"""Who is down, who agrees, and when somebody may stand; TILT."""

from __future__ import annotations

from typing import Any

from trio_sentinel.model import engine, upkeep
from trio_sentinel.model import inputs as i
from trio_sentinel.model.decide import agreement, liveness
from trio_sentinel.model.engine import Engine
from trio_sentinel.model.situation import Situation
from trio_sentinel.model.state import Master

from .planting import CUTS, Defect, Patch


def _stand_without_agreement(patch: Patch) -> None:
    """S_DOWN is enough to stand for election."""

    def at_once(s: Situation, master: Master) -> int | None:
        return s.now_ms if master.s_down and master.failover is None and master.attempt_at_ms is None else None

    patch.setattr(agreement, "may_stand_at_ms", at_once)


def _stand_again_at_once(patch: Patch) -> None:
    """Nobody waits twice the failover timeout."""

    def at_once(s: Situation, master: Master) -> int | None:
        free = master.o_down and master.failover is None and not s.state.disk_failing
        return master.stand_at_ms if free else None

    patch.setattr(agreement, "may_stand_at_ms", at_once)


def _agreed_alone(patch: Patch) -> None:
    """The quorum is not asked."""
    agreed = agreement.agreed
    patch.setattr(agreement, "agreed", lambda s, master: max(agreed(s, master), master.settings.quorum))


def _old_opinions_count(patch: Patch) -> None:
    """Opinions never grow old (core.md 7.3)."""
    patch.setattr(Situation, "fresh", lambda self, opinion: True)


def _opinions_survive_a_switch(patch: Patch) -> None:
    """What peers said about the old master is credited to the new one (core.md Q15)."""
    restart = upkeep.restart_clocks

    def stale(s: Situation, name: str) -> None:
        said = {key: opinion.master_down for key, opinion in s.senses.opinions.items()}
        restart(s, name)
        for key, opinion in s.senses.opinions.items():
            opinion.master_down = said[key]

    patch.setattr(upkeep, "restart_clocks", stale)


def _impatient(patch: Patch) -> None:
    """Down after half the time."""
    silent = liveness._silent
    patch.setattr(liveness, "_silent", lambda sense, after_ms, now_ms: silent(sense, after_ms // 2, now_ms))


def _down_in_tilt(patch: Patch) -> None:
    """The rules run in TILT too."""
    finish = Engine._finish

    def unaware(self: Engine, **how: Any) -> Any:
        since_ms, self.state.tilt_since_ms = self.state.tilt_since_ms, None
        try:
            return finish(self, **how)
        finally:
            self.state.tilt_since_ms = since_ms

    patch.setattr(Engine, "_finish", unaware)


def _opinion_in_tilt(patch: Patch) -> None:
    """A question is answered in TILT as at any time."""
    asked = Engine._opinion_asked

    def unaware(self: Engine, heard: i.OpinionAsked) -> None:
        since_ms, self.state.tilt_since_ms = self.state.tilt_since_ms, None
        asked(self, heard)
        self.state.tilt_since_ms = since_ms

    patch.setitem(engine._HANDLERS, i.OpinionAsked, unaware)


DEFECTS: dict[str, Defect] = {
    "an attempt without agreement": Defect(_stand_without_agreement, ("11",)),
    "an attempt right after the last one": Defect(_stand_again_at_once, ("11",), CUTS),
    "objectively down by one voice": Defect(_agreed_alone, ("12",)),
    "old opinions count": Defect(_old_opinions_count, ("7", "12"), CUTS, (("sentinels", 5), ("quorum", 3))),
    "opinions survive a switch": Defect(_opinions_survive_a_switch, ("12",)),
    "down too early": Defect(_impatient, ("26",)),
    "the rules run in TILT": Defect(
        _down_in_tilt, ("25",), (("kill server", 3), ("wall clock step", 4)), (("pause_ms", 800),)
    ),
    "reports in TILT": Defect(
        _opinion_in_tilt,
        ("25",),
        (("kill server", 5), ("wall clock step", 6)),
        (("pause_ms", 800), ("quorum", 3), ("down_after_ms", 300)),
    ),
}
