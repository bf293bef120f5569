"""Connections to servers and peers: when they are tried again, when they are given up, and what their loss means."""

from __future__ import annotations

from collections.abc import Iterator

from trio_sentinel.model.decide import liveness
from trio_sentinel.model.effects import CloseLink, Effect, OpenLink, ResolveName
from trio_sentinel.model.observations import NEVER_MS, ChannelSense, LinkSense, PeerSense, ServerSense
from trio_sentinel.model.situation import Situation
from trio_sentinel.model.state import Master
from trio_sentinel.model.values import Channel, Millis, is_ip

MIN_REDIAL_MS = 100
"""A lost connection is tried again after this long, then ever more slowly up to the PING period, so that a server
that restarts is seen as back before it is called down."""
REDIAL_GRID_MS = 50
"""The distance of the moments at which lost connections are tried again."""


def _redial_due_ms(s: Situation, sense: LinkSense, end: ChannelSense) -> Millis:
    """When a connection that is not there is tried again: at once for the first time, then after ever longer times, on
    a grid, so that the attempts of many lost ones share a look."""
    if end.wanted_at_ms is None:
        return s.now_ms
    since_ms = liveness.silent_since(sense)
    silent_ms = 0 if since_ms is None else end.wanted_at_ms - since_ms
    length_ms = max(min(silent_ms // 5, s.state.timing.ping_period_ms), MIN_REDIAL_MS)
    return -(-(end.wanted_at_ms + length_ms) // REDIAL_GRID_MS) * REDIAL_GRID_MS


def dial(
    s: Situation, sense: ServerSense | PeerSense, end: ChannelSense, channel: Channel, effects: list[Effect]
) -> Millis:
    """Open a connection that is not there, if it is time to try again; otherwise when that will be."""
    if end.open or end.opening or sense.address.port == 0:
        return NEVER_MS
    due_ms = _redial_due_ms(s, sense, end)
    if s.now_ms < due_ms:
        return due_ms
    end.opening = True
    end.wanted_at_ms = s.now_ms
    if channel is Channel.COMMAND and not is_ip(sense.address.host):
        effects.append(ResolveName(sense.address.host))
    effects.append(OpenLink(sense.link, sense.address, channel))
    return NEVER_MS


def follow_name(s: Situation, host: str) -> Iterator[Effect]:
    """The name leads elsewhere now. What goes to where it led, and be it only since this question, is made anew: there
    may be another server by now, which would be taken for this one as long as it answers. Nobody asks again for that:
    a name with several addresses has another one in each answer."""
    known: list[ServerSense | PeerSense] = [*s.senses.servers.values(), *s.senses.peers.values()]
    for sense in known:
        if sense.address.host != host:
            continue
        ends = [(Channel.COMMAND, sense.command)]
        if isinstance(sense, ServerSense):
            ends.append((Channel.PUBSUB, sense.pubsub))
        for channel, end in ends:
            if end.open or end.opening:
                lose_channel(sense, channel, s.now_ms)
                yield CloseLink(sense.link, channel, "its name has another address")
                end.opening, end.wanted_at_ms = True, s.now_ms
                yield OpenLink(sense.link, sense.address, channel)


def hang_up_command(
    s: Situation, sense: ServerSense | PeerSense, down_after_ms: Millis, effects: list[Effect]
) -> Millis:
    """Close a command connection that is open in name only (core.md 2.4), but not in TILT. Stock never gives up a
    connection attempt before that either: there is no other connect timeout."""
    end, since_ms = sense.command, sense.ping_since_ms
    if since_ms is None or end.wanted_at_ms is None or not (end.open or end.opening):
        return NEVER_MS
    half_ms, minimum_ms = down_after_ms // 2, s.state.timing.min_link_reconnect_period_ms
    due_ms = 1 + max(end.wanted_at_ms + minimum_ms, since_ms + half_ms, sense.last_pong_at_ms + half_ms)
    if s.now_ms < due_ms:
        return due_ms
    lose_channel(sense, Channel.COMMAND, s.now_ms)
    effects.append(CloseLink(sense.link, Channel.COMMAND, "no reply to PING"))
    return NEVER_MS


def hang_up_blocked(s: Situation, master: Master, sense: ServerSense, effects: list[Effect]) -> Millis:
    """Close a command connection on which a PING waits behind a hello of ours. A server whose writes are paused keeps a
    PUBLISH back and everything behind it, but answers a PING over a new connection. Called down it would be failed over
    for nothing (rule R3)."""
    sent_at_ms, ping_ms = sense.hello_sent_at_ms, sense.ping_since_ms
    if not (sense.hello_in_flight and sense.command.open) or sent_at_ms is None or ping_ms is None:
        return NEVER_MS
    server = master if sense.leads else master.replicas[sense.address]
    if server.s_down or sent_at_ms >= ping_ms:  # in one write the PING goes first
        return NEVER_MS
    due_ms = 1 + ping_ms + master.settings.down_after_ms // 2
    if s.now_ms < due_ms:
        return due_ms
    lose_channel(sense, Channel.COMMAND, s.now_ms)
    effects.append(CloseLink(sense.link, Channel.COMMAND, "a hello is blocked there"))
    return NEVER_MS


def hang_up_pubsub(s: Situation, sense: ServerSense, effects: list[Effect]) -> Millis:
    """The same for a pub/sub connection; there the hellos of all sentinels are heard, so also our own."""
    end = sense.pubsub
    if end.wanted_at_ms is None or not (end.open or end.opening):
        return NEVER_MS
    heard_at_ms = end.wanted_at_ms if end.heard_at_ms is None else end.heard_at_ms
    timing = s.state.timing
    due_ms = 1 + max(end.wanted_at_ms + timing.min_link_reconnect_period_ms, heard_at_ms + 3 * timing.publish_period_ms)
    if s.now_ms < due_ms:
        return due_ms
    lose_channel(sense, Channel.PUBSUB, s.now_ms)
    effects.append(CloseLink(sense.link, Channel.PUBSUB, "nothing heard on pub/sub"))
    return NEVER_MS


def is_open(sense: LinkSense, channel: Channel) -> bool:
    """Whether a connection is established."""
    return _channel(sense, channel).open


def _channel(sense: LinkSense, channel: Channel) -> ChannelSense:
    if channel is Channel.PUBSUB:
        assert isinstance(sense, ServerSense)
        return sense.pubsub
    return sense.command


def lose_channel(sense: LinkSense, channel: Channel, now_ms: Millis) -> None:
    """Note that a connection is gone, and start the clock of silence if it was the command connection."""
    end = _channel(sense, channel)
    end.open = end.opening = False
    end.heard_at_ms = None
    if channel is Channel.COMMAND:
        sense.pending = 0
        if sense.ping_since_ms is None:
            sense.ping_since_ms = now_ms
        if isinstance(sense, ServerSense):
            sense.info_in_flight = sense.hello_in_flight = False
