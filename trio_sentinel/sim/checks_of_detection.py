"""Who is down, for whom, and not in TILT: properties 12, 25 and 26."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trio_sentinel.model import events as e
from trio_sentinel.model.state import Master
from trio_sentinel.model.values import PeerLink, Role
from trio_sentinel.sim.broken import require
from trio_sentinel.sim.ledger import EventRule, Ledger, Shadow

if TYPE_CHECKING:
    from trio_sentinel.sim.process import SimSentinel


def _went_down(ledger: Ledger, sentinel: SimSentinel, shadow: Shadow, event: e.WentDown) -> None:
    """Properties 25 and 26: never in TILT, always by turns, never while PONGs come."""
    require(shadow.state.tilt_since_ms is None, 25, f"{sentinel.name}: down in TILT")
    master = shadow.master(event)
    instance = _instance(master, event)
    require(not instance.s_down, 26, f"{sentinel.name}: {event.subject} went down twice")
    if event.run_id is None and instance is master:
        if master.role is Role.REPLICA or master.rebooting_since_ms is not None:
            return
    link = PeerLink(event.run_id) if event.run_id is not None else master.link(event.address)
    heard_ms = sentinel.pongs.get(link)
    if heard_ms is not None:
        silent_ms = sentinel.clock_ms() - heard_ms
        late = silent_ms >= master.settings.down_after_ms
        require(late, 26, f"{sentinel.name}: {event.subject} is down {silent_ms} ms after a PONG")


def _came_back(ledger: Ledger, sentinel: SimSentinel, shadow: Shadow, event: e.CameBack) -> None:
    require(shadow.state.tilt_since_ms is None, 25, f"{sentinel.name}: back in TILT")
    require(_instance(shadow.master(event), event).s_down, 26, f"{sentinel.name}: {event.subject} came back twice")


def _agreed_down(ledger: Ledger, sentinel: SimSentinel, shadow: Shadow, event: e.AgreedDown) -> None:
    """Property 12."""
    master = shadow.master(event)
    require(master.s_down, 12, f"{sentinel.name}: O_DOWN without S_DOWN")
    require(not master.o_down, 12, f"{sentinel.name}: O_DOWN twice")
    require(event.agreed >= master.settings.quorum, 12, f"{sentinel.name}: O_DOWN with {event.agreed} voices")
    limit_ms = 5 * shadow.state.timing.ask_period_ms
    voices = sentinel.voices.get((master.name, master.address), {})
    real = 1 + sum(1 for heard_ms in voices.values() if sentinel.clock_ms() - heard_ms <= limit_ms)
    require(event.agreed <= real, 12, f"{sentinel.name} heard {event.agreed} voices of {real}")


def _instance(master: Master, event: e.WentDown | e.CameBack) -> Any:
    if event.run_id is not None:
        return master.peers[event.run_id]
    return master if event.address is None or event.address == master.address else master.replicas[event.address]


RULES: Final[dict[type[e.Event], EventRule]] = {
    e.WentDown: _went_down,
    e.CameBack: _came_back,
    e.AgreedDown: _agreed_down,
}
