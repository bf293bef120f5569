"""The course of a failover, from the chosen replica to the switch, and what is corrected afterwards: properties 13 to
18, 20 and 21, and that nothing of it is done in TILT (25)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trio_sentinel.model import effects as fx
from trio_sentinel.model import events as e
from trio_sentinel.model.state import Master, ReconfiguringReplicas, SelectingReplica, SendingPromotion, UpdatingConfig
from trio_sentinel.model.values import Address, Role
from trio_sentinel.sim.broken import require
from trio_sentinel.sim.ledger import EffectRule, EventRule, Ledger, Shadow, kept_line

if TYPE_CHECKING:
    from trio_sentinel.sim.process import SimSentinel


def _replica_selected(ledger: Ledger, sentinel: SimSentinel, shadow: Shadow, event: e.ReplicaSelected) -> None:
    """Property 16, as far as it can be told after the turn."""
    master = shadow.master(event)
    replica = master.replicas.get(event.address)
    require(replica is not None, 16, f"{sentinel.name} selected a stranger")
    assert replica is not None
    running = master.failover
    require(
        running is not None and isinstance(running.phase, SelectingReplica),
        13,
        f"{sentinel.name} selects unelected",
    )
    require(not replica.s_down, 16, f"{sentinel.name} selected a replica that is down")
    sense = sentinel.engine.senses.servers.get((master.name, event.address))
    if sense is not None:
        require(sense.priority != 0, 16, f"{sentinel.name} selected a replica of priority 0")
        limit_ms = 10 * master.settings.down_after_ms
        if master.s_down and master.s_down_since_ms is not None:
            limit_ms += sentinel.clock_ms() - master.s_down_since_ms
        whole = sense.master_link_down_ms <= limit_ms
        require(whole, 16, f"{sentinel.name} selected a replica cut off for too long")
        _best(sentinel, master, event.address, limit_ms)


def _best(sentinel: SimSentinel, master: Master, selected: Address, limit_ms: int) -> None:
    """Property 16: nobody who is surely eligible comes before the selected one."""
    senses, now_ms = sentinel.engine.senses.servers, sentinel.clock_ms()
    mine = senses[master.name, selected]
    for replica in master.replicas.values():
        sense = senses[master.name, replica.address]
        fresh = sense.info_at_ms is not None and now_ms - sense.info_at_ms <= 1000
        if not fresh or replica.s_down or not sense.command.open or now_ms - sense.last_ok_at_ms > 1000:
            continue
        if replica.role is not Role.REPLICA or sense.priority == 0 or not 0 <= sense.master_link_down_ms <= limit_ms:
            continue
        behind = (sense.priority, -sense.repl_offset) < (mine.priority, -mine.repl_offset)
        require(not behind, 16, f"{sentinel.name} selected {selected} before {replica.address}")


def _promotion_sent(ledger: Ledger, sentinel: SimSentinel, shadow: Shadow, event: e.PromotionSent) -> None:
    """Property 13: one promotion in each attempt, of the selected replica, by a leader."""
    master = shadow.master(event)
    running = master.failover
    fit = running is not None and isinstance(running.phase, SendingPromotion)
    require(fit, 13, f"{sentinel.name} promotes out of order")
    assert running is not None
    require(running.promoted == event.address, 13, f"{sentinel.name} promotes another than it selected")
    require(shadow.state.tilt_since_ms is None, 25, f"{sentinel.name} promotes in TILT")
    led = any(leader.run_id == shadow.my_id for leader in ledger.leaders.get((master.name, running.epoch), []))
    require(led, 13, f"{sentinel.name} promotes without having been elected in epoch {running.epoch}")
    if shadow.my_id not in ledger.doubles:
        promoted = ledger.past(shadow.my_id).promoted.setdefault((master.name, running.epoch), event.address)
        require(promoted == event.address, 13, f"{sentinel.name} promotes a second replica in one attempt")


def _promotion_seen(ledger: Ledger, sentinel: SimSentinel, shadow: Shadow, event: e.PromotionSeen) -> None:
    """Property 14: it must have been seen."""
    replica = shadow.master(event).replicas[event.address]
    require(replica.role is Role.MASTER, 14, f"{sentinel.name} takes a promotion for granted")


def _promotion_published(ledger: Ledger, sentinel: SimSentinel, shadow: Shadow, event: e.PromotionPublished) -> None:
    """Property 15: on disk before anybody is told."""
    master = shadow.master(event)
    running, known = master.failover, kept_line(sentinel, master.name)
    assert running is not None
    kept = known is not None and known.address == running.promoted and known.config_epoch >= running.epoch
    require(kept, 15, f"{sentinel.name} tells of a promotion that is not on disk")


def _reconf_sent(ledger: Ledger, sentinel: SimSentinel, shadow: Shadow, event: e.ReconfSent) -> None:
    """Property 14: only after the promoted replica was seen as a master."""
    master = shadow.master(event)
    seen = master.failover is not None and isinstance(master.failover.phase, ReconfiguringReplicas | UpdatingConfig)
    require(seen, 14, f"{sentinel.name} brings replicas over before the promotion was seen")
    assert master.failover is not None
    require(event.address != master.failover.promoted, 18, f"{sentinel.name} makes the promoted one follow itself")


def _aborted(ledger: Ledger, sentinel: SimSentinel, shadow: Shadow, event: e.FailoverAborted) -> None:
    """Property 17."""
    running = shadow.master(event).failover
    require(running is not None, 17, f"{sentinel.name} aborts nothing")
    assert running is not None
    late = isinstance(running.phase, ReconfiguringReplicas | UpdatingConfig)
    require(not late, 17, f"{sentinel.name} aborts after the promotion")
    ledger.cluster.seen[f"abort in {type(running.phase).__name__}"] += 1


def _switched(ledger: Ledger, sentinel: SimSentinel, shadow: Shadow, event: e.MasterSwitched) -> None:
    """Property 21: an own switch follows an own promotion; a foreign one needs a higher epoch."""
    master = shadow.master(event)
    if event.by is None:
        running = master.failover
        done = running is not None and isinstance(running.phase, ReconfiguringReplicas | UpdatingConfig)
        require(done, 21, f"{sentinel.name} switches without a failover of its own")
        own = running is not None and (event.new, event.config_epoch) == (running.promoted, running.epoch)
        require(own, 21, f"{sentinel.name} switches to another address or epoch than it promoted")
    else:
        require(event.config_epoch > master.config_epoch, 21, f"{sentinel.name} switches to an old configuration")
    if shadow.state.tilt_since_ms is not None:
        ledger.cluster.seen["a switch in TILT"] += 1


def _epoch_adopted(ledger: Ledger, sentinel: SimSentinel, shadow: Shadow, event: e.ConfigEpochAdopted) -> None:
    master = shadow.master(event)
    require(event.epoch > master.config_epoch, 20, f"{sentinel.name} adopts a lower configuration epoch")


def _corrected(
    ledger: Ledger, sentinel: SimSentinel, shadow: Shadow, event: e.ReplicaConverted | e.ReplicaRepointed
) -> None:
    """Property 18."""
    master = shadow.master(event)
    sane = master.role is Role.MASTER and not master.s_down and not master.o_down
    require(sane, 18, f"{sentinel.name} corrects a replica of a master that is not well")
    if isinstance(event, e.ReplicaConverted):
        waited_ms = sentinel.clock_ms() - master.replicas[event.address].role_since_ms
        patient = waited_ms > 4 * shadow.state.timing.publish_period_ms
        require(patient, 18, f"{sentinel.name} converts a replica after {waited_ms} ms")
    else:
        _strayed_for_long(sentinel, master, event.address)
    promoted = master.failover is not None and master.failover.promoted == event.address
    require(not promoted, 18, f"{sentinel.name} corrects the promoted replica")
    require(shadow.state.tilt_since_ms is None, 25, f"{sentinel.name} corrects a replica in TILT")


def _strayed_for_long(sentinel: SimSentinel, master: Master, address: Address) -> None:
    """Property 18: it has been up, and has said whom it follows or that it hands over, for `failover-timeout`."""
    replica, now_ms, patience_ms = (
        master.replicas[address],
        sentinel.clock_ms(),
        master.settings.failover_timeout_ms,
    )
    up = replica.s_down_since_ms is None or now_ms - replica.s_down_since_ms > patience_ms
    require(up, 18, f"{sentinel.name} corrects {address}, which was down a moment ago")
    said = sentinel.said.get(master.link(address))
    require(said is not None, 18, f"{sentinel.name} corrects {address}, of which it has heard nothing")
    assert said is not None
    waited_ms = now_ms - (min(said.since_ms, said.state_since_ms) if said.hands_over else said.since_ms)
    require(waited_ms > patience_ms, 18, f"{sentinel.name} corrects {address} after {waited_ms} ms")


def _order(ledger: Ledger, sentinel: SimSentinel, shadow: Shadow, effect: Any) -> None:
    """Properties 13, 14 and 18: somebody decided it."""
    shadow.explained.given(sentinel.name, effect)


def _repoint(ledger: Ledger, sentinel: SimSentinel, shadow: Shadow, effect: fx.Repoint) -> None:
    to = Address(effect.host, effect.port)
    require(to != effect.link.address, 14, f"{sentinel.name} makes {to} follow itself")
    require(effect.port > 0 and effect.host != "", 14, f"{sentinel.name} sends a replica nowhere")
    _order(ledger, sentinel, shadow, effect)


RULES: Final[dict[type[e.Event], EventRule]] = {
    e.ReplicaSelected: _replica_selected,
    e.PromotionSent: _promotion_sent,
    e.PromotionSeen: _promotion_seen,
    e.PromotionPublished: _promotion_published,
    e.ReconfSent: _reconf_sent,
    e.FailoverAborted: _aborted,
    e.MasterSwitched: _switched,
    e.ConfigEpochAdopted: _epoch_adopted,
    e.ReplicaConverted: _corrected,
    e.ReplicaRepointed: _corrected,
}
ORDERS: Final[dict[type[fx.Effect], EffectRule]] = {
    fx.Promote: _order,
    fx.HandOver: _order,
    fx.KillClients: _order,
    fx.PauseWriters: _order,
    fx.ReleaseWriters: _order,
    fx.Repoint: _repoint,
}
