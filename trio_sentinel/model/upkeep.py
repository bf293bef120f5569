"""Observations kept in step with the state: what each event makes new, moves, forgets or hurries.

Called right after the event was applied. Everything else about observations is perception (``senses.py``) or was sent
(``rhythm.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from trio_sentinel.model import connections, rhythm, senses
from trio_sentinel.model import events as e
from trio_sentinel.model.effects import CloseLink, Effect
from trio_sentinel.model.observations import MasterWatch, Opinion, PeerSense, ServerSense
from trio_sentinel.model.situation import Situation
from trio_sentinel.model.state import Master
from trio_sentinel.model.values import Address, Channel, PeerLink, RunId, ServerLink


def keep_in_step(s: Situation, event: e.Event) -> Iterator[Effect]:
    """What `event` means for the observations; links of what is gone are closed."""
    rule = UPKEEP.get(type(event))
    if rule is not None:
        yield from rule(s, event)


# ---------------------------------------------------------------- what is watched


def _take_turn(s: Situation) -> int:
    s.senses.made += 1
    return s.senses.made


def _server_sense(s: Situation, name: str, address: Address) -> ServerSense:
    return ServerSense(
        turn=_take_turn(s),
        link=ServerLink(name, address),
        made_at_ms=s.now_ms,
        last_ok_at_ms=s.now_ms,
        last_pong_at_ms=s.now_ms,
        ping_since_ms=s.now_ms,
        conf_changed_at_ms=s.now_ms,
        failover_state_since_ms=s.now_ms,
    )


def _peer_sense(s: Situation, run_id: RunId, address: Address) -> PeerSense:
    return PeerSense(
        turn=_take_turn(s),
        link=PeerLink(run_id),
        made_at_ms=s.now_ms,
        last_ok_at_ms=s.now_ms,
        last_pong_at_ms=s.now_ms,
        ping_since_ms=s.now_ms,
        address=address,
    )


def watch_server(s: Situation, name: str, address: Address) -> None:
    """Make the observations for one more server of a master. An INFO may name thousands of them."""
    if (name, address) not in s.senses.servers:
        sense = _server_sense(s, name, address)
        s.senses.servers[name, address] = s.senses.masters[name].servers[address] = sense


def watch_peer(s: Situation, master: Master, run_id: RunId) -> Iterator[Effect]:
    """Make the observations for one more peer of a master, or for its new address."""
    address = master.peers[run_id].address
    sense = s.senses.peers.get(run_id)
    if sense is None:
        sense = s.senses.peers[run_id] = _peer_sense(s, run_id, address)
    sense.known_to[master.name] = None
    sense.down_after_ms = min(sense.down_after_ms, master.settings.down_after_ms)
    if (known := s.senses.opinions.get((master.name, run_id))) is not None:
        known.stale = None
    else:
        opinion = Opinion(
            turn=_take_turn(s), master=master.name, run_id=run_id, answered_at_ms=s.now_ms, hello_at_ms=s.now_ms
        )
        s.senses.opinions[master.name, run_id] = s.senses.masters[master.name].opinions[run_id] = opinion
    if sense.address != address:
        sense.address = address
        sense.last_ok_at_ms = sense.last_pong_at_ms = sense.ping_since_ms = s.now_ms  # silence was heard elsewhere
        for name in sense.known_to:
            s.senses.opinions[name, run_id].forget()
        yield from hang_up(s, sense, "moved to another address")


def _restructure(s: Situation, name: str) -> Iterator[Effect]:
    """Make observations for what is new in the state of one master and drop those of what is gone, closing their
    links."""
    master = s.state.masters.get(name)
    yield from _drop_gone(s, name, master)
    if master is None:
        return
    if name not in s.senses.masters:
        s.senses.masters[name] = MasterWatch(master=name)
    for address in (master.address, *master.replicas):
        watch_server(s, name, address)
    for address, sense in s.senses.masters[name].servers.items():
        sense.leads = address == master.address
    for run_id in master.peers:
        yield from watch_peer(s, master, run_id)


def _drop_gone(s: Situation, name: str, master: Master | None) -> Iterator[Effect]:
    watch = s.senses.masters.get(name)
    if watch is None:
        return
    for address in tuple(watch.servers):
        if master is None or (address != master.address and address not in master.replicas):
            del s.senses.servers[name, address]
            sense = watch.servers.pop(address)
            sense.gone = True
            yield CloseLink(sense.link, None, "no longer watched")
    for run_id in tuple(watch.opinions):
        if master is None or run_id not in master.peers:
            del s.senses.opinions[name, run_id]
            watch.opinions.pop(run_id).gone = True
            yield from _know_no_more(s, name, s.senses.peers[run_id])
    if master is None:
        s.senses.masters.pop(name).gone = True


def _know_no_more(s: Situation, name: str, sense: PeerSense) -> Iterator[Effect]:
    del sense.known_to[name]
    if sense.known_to:
        _note_down_after(s, sense)
        return
    s.senses.peers.pop(sense.run_id).gone = True
    yield CloseLink(sense.link, None, "no longer known")


def _note_down_after(s: Situation, sense: PeerSense) -> None:
    """Bring the shortest `down-after-milliseconds` of the masters that know a peer up to date."""
    sense.down_after_ms = min(s.state.masters[name].settings.down_after_ms for name in sense.known_to)


def hang_up(s: Situation, sense: ServerSense | PeerSense, reason: str) -> Iterator[Effect]:
    """Close all connections of a link; they are dialled again at once."""
    connections.lose_channel(sense, Channel.COMMAND, s.now_ms)
    sense.command.wanted_at_ms = None
    if isinstance(sense, ServerSense):
        connections.lose_channel(sense, Channel.PUBSUB, s.now_ms)
        sense.pubsub.wanted_at_ms = None
    else:
        senses.forget_questions(s, sense)
    s.disturbed.append(sense)
    yield CloseLink(sense.link, None, reason)


def hang_up_servers(s: Situation, name: str, reason: str) -> Iterator[Effect]:
    """Close the links to a master and its replicas."""
    for sense in s.senses.masters[name].servers.values():
        yield from hang_up(s, sense, reason)


def hang_up_peers(s: Situation, reason: str) -> Iterator[Effect]:
    """Close the links to all other sentinels."""
    for sense in s.senses.peers.values():
        yield from hang_up(s, sense, reason)


def restart_clocks(s: Situation, name: str) -> None:
    """After a switch or a reset nothing that was heard about the old order counts for the new one (core.md 12, Q7,
    Q15). Connections stay: they lead to the same servers."""
    watch = s.senses.masters[name]
    for sense in watch.servers.values():
        sense.last_ok_at_ms = sense.last_pong_at_ms = s.now_ms
        if sense.ping_since_ms is not None:
            sense.ping_since_ms = s.now_ms
        sense.info_at_ms = sense.info_sent_at_ms = None
        sense.info_in_flight = False
        sense.conf_changed_at_ms = s.now_ms
        sense.master_host, sense.master_port = None, 0
        sense.failover_state_since_ms = s.now_ms
        sense.script_kill_sent = False
        sense.hello_at_ms = sense.hello_sent_at_ms = None
        sense.hello_in_flight = False
    for opinion in watch.opinions.values():
        opinion.master_down = opinion.nudged = False
        opinion.asked_about = None


def hurry_hellos(s: Situation, name: str) -> None:
    """Make the next hello about a master due at once everywhere (core.md 6.3)."""
    watch = s.senses.masters[name]
    for sense in watch.servers.values():
        sense.hello_at_ms = sense.hello_sent_at_ms = None
        sense.hello_in_flight = False
    for opinion in watch.opinions.values():
        opinion.said_hello_at_ms = opinion.hello_sent_at_ms = None
        opinion.hello_in_flight = False


def expect_info(s: Situation, name: str, address: Address) -> None:
    """Some orders carry an INFO of their own right behind them."""
    sense = s.senses.servers[name, address]
    sense.info_in_flight = True
    sense.info_sent_at_ms = s.now_ms
    sense.pending += 1


# ---------------------------------------------------------------- one rule for each event that matters here


def _restored(s: Situation, event: e.SentinelRestored) -> Iterator[Effect]:
    s.pace.phase_ms = int.from_bytes(event.my_id[:4].encode())
    return iter(())


def _master_changed(s: Situation, event: e.MasterMonitored | e.MasterRemoved) -> Iterator[Effect]:
    yield from _restructure(s, event.subject.master)
    rhythm.set_pace(s)


def _master_moved(s: Situation, event: e.MasterSwitched | e.MasterReset) -> Iterator[Effect]:
    yield from _restructure(s, event.subject.master)
    rhythm.set_pace(s)
    restart_clocks(s, event.subject.master)
    if isinstance(event, e.MasterReset):
        yield from hang_up_servers(s, event.subject.master, "reset")


def _replica_found(s: Situation, event: e.ReplicaFound) -> Iterator[Effect]:
    watch_server(s, event.subject.master, event.address)
    rhythm.set_pace(s)
    return iter(())


def _peer_found(s: Situation, event: e.PeerFound | e.PeerMoved) -> Iterator[Effect]:
    yield from watch_peer(s, s.state.masters[event.subject.master], event.run_id)
    rhythm.set_pace(s)


def _peer_changed(s: Situation, event: e.PeerEvicted | e.PeerAddressSpread) -> Iterator[Effect]:
    sense = s.senses.peers.get(event.run_id)
    for name in () if sense is None else tuple(sense.known_to):
        yield from _restructure(s, name)
    rhythm.set_pace(s)


def _promotion_published(s: Situation, event: e.PromotionPublished) -> Iterator[Effect]:
    hurry_hellos(s, event.subject.master)
    return iter(())


def _setting_changed(s: Situation, event: e.SettingChanged) -> Iterator[Effect]:
    for run_id in s.state.masters[event.subject.master].peers:
        _note_down_after(s, s.senses.peers[run_id])
    if event.words[0].lower() in ("auth-pass", "auth-user"):
        yield from hang_up_servers(s, event.subject.master, "credentials changed")


def _failover_started(s: Situation, event: e.FailoverStarted) -> Iterator[Effect]:
    s.senses.untold_epoch = event.epoch
    return iter(())


def _corrected(s: Situation, event: e.ReplicaConverted | e.ReplicaRepointed) -> Iterator[Effect]:
    expect_info(s, event.subject.master, event.address)
    s.senses.servers[event.subject.master, event.address].corrected_at_ms = s.now_ms
    return iter(())


def _ordered(s: Situation, event: e.PromotionSent | e.ReconfSent | e.ReconfTimedOut) -> Iterator[Effect]:
    if not isinstance(event, e.PromotionSent) or event.handover_ms is None:
        expect_info(s, event.subject.master, event.address)
    return iter(())


def _writers_paused(s: Situation, event: e.WritersPaused) -> Iterator[Effect]:
    master = s.state.masters[event.subject.master]
    sense = s.server(master)
    sense.writers_paused = sense.paused_at_offset = None
    expect_info(s, master.name, master.address)
    return iter(())


UPKEEP: dict[type[e.Event], Callable[[Situation, Any], Iterator[Effect]]] = {
    e.SentinelRestored: _restored,
    e.MasterMonitored: _master_changed,
    e.MasterRemoved: _master_changed,
    e.MasterReset: _master_moved,
    e.MasterSwitched: _master_moved,
    e.ReplicaFound: _replica_found,
    e.PeerFound: _peer_found,
    e.PeerMoved: _peer_found,
    e.PeerEvicted: _peer_changed,
    e.PeerAddressSpread: _peer_changed,
    e.PromotionPublished: _promotion_published,
    e.SettingChanged: _setting_changed,
    e.FailoverStarted: _failover_started,
    e.ReplicaConverted: _corrected,
    e.ReplicaRepointed: _corrected,
    e.WritersPaused: _writers_paused,
    e.PromotionSent: _ordered,
    e.ReconfSent: _ordered,
    e.ReconfTimedOut: _ordered,
}
"""Events without a row leave the observations alone."""
