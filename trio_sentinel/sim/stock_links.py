"""Stock's links and what it says over them without being asked (core.md 2 and 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trio_sentinel.model import effects as fx
from trio_sentinel.model.state import Manner, SendingPromotion, WaitingForPromotion, WaitingForVotes
from trio_sentinel.model.values import Channel, Hello, LinkId, Millis, PeerLink
from trio_sentinel.sim.stock_state import Probe, Sight, Socket, StockMaster, StockPeer, StockReplica

if TYPE_CHECKING:
    from trio_sentinel.sim.stock_mind import StockMind

FAST_INFO_MS = 1000
RETRY_MS = 1000
"""How soon an unanswered command is repeated when Q9 is switched off."""


def probe_of(mind: StockMind, link: LinkId) -> Probe | None:
    """The link of that name."""
    if isinstance(link, PeerLink):
        return mind.peer_probes.get(link.run_id)
    sight = sight_of(mind, link)
    return None if sight is None else sight.probe


def sight_of(mind: StockMind, link: Any) -> Sight | None:
    """The server at the other end of a link."""
    master = mind.master(link.master)
    if master is None:
        return None
    if link.address == master.address:
        return master.sight
    replica = master.replicas.get(link.address)
    return replica.sight if isinstance(replica, StockReplica) else None


# ---------------------------------------------------------------- connections, core.md 2.2


def keep_up(mind: StockMind, probe: Probe) -> None:
    """Connect what is missing, at most once in a PING period."""
    if not probe.disconnected or probe.address.port == 0:
        return
    if mind.now_ms - probe.reconnected_at_ms < mind.state.timing.ping_period_ms:
        return
    probe.reconnected_at_ms = mind.now_ms
    if probe.command is None:
        probe.command = Socket(mind.now_ms)
        probe.pending = 0
        mind.do(fx.OpenLink(probe.link, probe.address, Channel.COMMAND))
        _ping(mind, probe)
    if probe.pubsub is None and Channel.PUBSUB in probe.needs:
        probe.pubsub = Socket(mind.now_ms)
        mind.do(fx.OpenLink(probe.link, probe.address, Channel.PUBSUB))


def hang_up(mind: StockMind, probe: Probe, reason: str, channel: Channel | None = None) -> None:
    """Close one connection of a link, or both. No clock is touched."""
    if channel in (None, Channel.COMMAND) and probe.command is not None:
        probe.command, probe.pending = None, 0
    if channel in (None, Channel.PUBSUB):
        probe.pubsub = None
    mind.do(fx.CloseLink(probe.link, channel, reason))


def opened(mind: StockMind, link: LinkId, channel: Channel) -> None:
    """A connection is made: what was said into it before is on its way now."""
    probe = probe_of(mind, link)
    if probe is None:
        return
    socket = probe.command if channel is Channel.COMMAND else probe.pubsub
    if socket is not None:
        socket.ready = True
        for effect in socket.unsent:
            mind.do(effect)
        socket.unsent.clear()
    if channel is Channel.PUBSUB:
        probe.pubsub_heard_at_ms = mind.now_ms


def lost(mind: StockMind, link: LinkId, channel: Channel) -> None:
    """A connection failed: replies that are owed never come."""
    probe = probe_of(mind, link)
    if probe is None:
        return
    if channel is Channel.COMMAND:
        probe.command, probe.pending = None, 0
    else:
        probe.pubsub = None


def kill_if_silent(mind: StockMind, probe: Probe, down_after_ms: Millis) -> None:
    """[2.4] Connections that are open and lead nowhere."""
    now_ms, timing, half_ms = mind.now_ms, mind.state.timing, down_after_ms // 2
    old_ms = timing.min_link_reconnect_period_ms
    if probe.command is not None and now_ms - probe.command.opened_at_ms > old_ms and probe.ping_since_ms is not None:
        if now_ms - probe.ping_since_ms > half_ms and now_ms - probe.last_pong_at_ms > half_ms:
            hang_up(mind, probe, "silent", Channel.COMMAND)
    if probe.pubsub is not None and now_ms - probe.pubsub.opened_at_ms > old_ms:
        if now_ms - probe.pubsub_heard_at_ms > 3 * timing.publish_period_ms:
            hang_up(mind, probe, "silent", Channel.PUBSUB)


def say(mind: StockMind, probe: Probe, effect: fx.Effect, *, answered: bool = True) -> None:
    """Queue a command on the command connection, made or not."""
    if probe.command is None:
        return
    probe.pending += answered
    if probe.command.ready:
        mind.do(effect)
    else:
        probe.command.unsent.append(effect)


def answered(mind: StockMind, link: LinkId) -> Probe | None:
    """One of the replies that were owed."""
    probe = probe_of(mind, link)
    if probe is not None and probe.pending > 0:
        probe.pending -= 1
    return probe


# ---------------------------------------------------------------- periodic commands, core.md 4


def _ping(mind: StockMind, probe: Probe) -> None:
    probe.last_ping_at_ms = mind.now_ms
    if probe.ping_since_ms is None:
        probe.ping_since_ms = mind.now_ms
    say(mind, probe, fx.SendPing(probe.link))


def _ping_if_due(mind: StockMind, probe: Probe, down_after_ms: Millis) -> None:
    period_ms = min(down_after_ms, mind.state.timing.ping_period_ms)
    if mind.now_ms - probe.last_pong_at_ms > period_ms and mind.now_ms - probe.last_ping_at_ms > period_ms // 2:
        _ping(mind, probe)


def periodic(mind: StockMind, master: StockMaster, sight: Sight, replica: StockReplica | None) -> None:
    """INFO, PING and hello to a server, in this order."""
    probe, now_ms = sight.probe, mind.now_ms
    if probe.disconnected or probe.clogged:
        return
    if sight.info_at_ms == 0 or now_ms - sight.info_at_ms > _info_period_ms(mind, master, replica):
        if _may_repeat(mind, sight.info_sent_at_ms):
            sight.info_sent_at_ms = now_ms
            say(mind, probe, fx.PollInfo(master.link(probe.address)))
    _ping_if_due(mind, probe, master.settings.down_after_ms)
    due = now_ms - sight.published_at_ms > mind.state.timing.publish_period_ms
    if due and not _muted(mind, master, sight, replica):
        if _may_repeat(mind, sight.published_try_at_ms):
            sight.published_try_at_ms = now_ms
            say(mind, probe, fx.SayHello(probe.link, hello_of(mind, master)))


def periodic_peer(mind: StockMind, master: StockMaster, peer: StockPeer) -> None:
    """PING (once for all records of a link) and hello to another sentinel."""
    probe = peer.probe
    if probe.disconnected or probe.clogged:
        return
    _ping_if_due(mind, probe, master.settings.down_after_ms)
    if mind.now_ms - peer.published_at_ms > mind.state.timing.publish_period_ms:
        if _may_repeat(mind, peer.published_try_at_ms):
            peer.published_try_at_ms = mind.now_ms
            say(mind, probe, fx.SayHello(probe.link, hello_of(mind, master)))


def _may_repeat(mind: StockMind, sent_at_ms: Millis) -> bool:
    """Q9: nothing keeps an unanswered command from being repeated in every tick."""
    return mind.defects.q9 or mind.now_ms - sent_at_ms >= RETRY_MS


def _info_period_ms(mind: StockMind, master: StockMaster, replica: StockReplica | None) -> Millis:
    if replica is not None:
        if master.o_down or master.failover is not None or replica.sight.link_down_ms != 0:
            return FAST_INFO_MS
    return mind.state.timing.info_period_ms


def _muted(mind: StockMind, master: StockMaster, sight: Sight, replica: StockReplica | None) -> bool:
    """Valkey publishes nothing to a server whose writes are paused for a failover."""
    if not mind.valkey:
        return False
    running = master.failover
    if replica is None and running is not None and running.manner is Manner.COORDINATED:
        if isinstance(running.phase, WaitingForVotes | SendingPromotion | WaitingForPromotion):
            return True
    return sight.handing_over


def hello_of(mind: StockMind, master: StockMaster) -> Hello:
    """[6.1] The promoted replica is told from reconf_slaves on."""
    state, address = mind.state, master.current_address
    return Hello(
        host=state.settings.announce_ip or "",
        port=state.settings.announce_port or state.own_port,
        run_id=state.my_id,
        current_epoch=state.current_epoch,
        master=master.name,
        master_host=address.host,
        master_port=address.port,
        config_epoch=master.config_epoch,
    )


def publish_soon(mind: StockMind, master: StockMaster) -> None:
    """[6.3] The leader's hellos are due at once after a promotion."""
    back_ms = mind.state.timing.publish_period_ms + 1
    master.sight.published_at_ms -= back_ms
    for replica in master.replicas.values():
        if isinstance(replica, StockReplica):
            replica.sight.published_at_ms -= back_ms
    for peer in master.peers.values():
        if isinstance(peer, StockPeer):
            peer.published_at_ms -= back_ms
