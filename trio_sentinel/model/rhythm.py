"""What is due when: connections, PING, INFO, hellos and questions, and when each master must be looked at again.

Nothing here sweeps: a master is looked at when something about it was heard, or at the time it named itself. The
only things written are observations (what was sent and when).
"""

from __future__ import annotations

from collections.abc import Iterator

from trio_sentinel.model.decide import agreement, failover, liveness
from trio_sentinel.model.effects import (
    AskPeer,
    CloseLink,
    Effect,
    OpenLink,
    PollInfo,
    ResolveName,
    SayHello,
    SendPing,
)
from trio_sentinel.model.observations import ChannelSense, LinkSense, Opinion, PeerSense, Rest, ServerSense
from trio_sentinel.model.situation import Situation
from trio_sentinel.model.state import (
    Manner,
    Master,
    Peer,
    Reconf,
    ReconfiguringReplicas,
    SelectingReplica,
    SendingPromotion,
    UpdatingConfig,
    WaitingForPromotion,
    WaitingForVotes,
)
from trio_sentinel.model.values import Address, Channel, Hello, LinkId, Millis, PeerLink, ServerLink, is_ip

MIN_REDIAL_MS = 100
"""A lost connection is tried again after this long, then ever more slowly up to the PING period, so that a server
that restarts is seen as back before it is called down."""
FAST_INFO_MS = 1000
"""INFO period of replicas while their master is down (core.md 4)."""
EAGER_INFO_MS = 10
"""INFO period of a server whose change of role is awaited, growing with the wait."""
GRID_MS = 50
"""Probes of healthy masters wait for the next multiple of this, so that many share one wake-up: half of stock's tick.
Nothing that decides is ever rounded."""
MANY_MASTERS = 32
"""From so many on it pays to share wake-ups; fewer are probed to the millisecond."""
HANDOVER_HUSH_MS = 3000
"""A healthy master hears no hello for this long after a vote for another: it may be handing over, with writes paused,
and a PUBLISH that blocks would make our PINGs late (rule R3)."""
PENDING_LIMIT = 100
"""No more probes are sent over a link with this many unanswered commands (core.md 2.5)."""


def beat(s: Situation, master: Master) -> Iterator[Effect]:
    """Everything that is due for `master` now."""
    calm = _is_calm(s, master)
    for address in (master.address, *master.replicas):
        sense = s.server(master, address)
        if not (calm and _rests(s, sense, sense.rest)):
            yield from _tend_server(s, master, address)
    for run_id, peer in master.peers.items():
        if not (calm and _rests(s, s.peer(run_id), s.opinion(master, run_id).rest)):
            yield from _tend_peer(s, master, peer)


def next_look_ms(s: Situation, master: Master) -> Millis:
    """When to look at `master` again if nothing is heard of it before."""
    dues = [s.now_ms + s.state.timing.ping_period_ms]
    if s.state.tilt_since_ms is None:
        dues += liveness.due(s, master)
        dues += agreement.due(s, master)
        dues += failover.due(s, master)
    probes: list[Millis] = []
    calm = _is_calm(s, master)
    for address in (master.address, *master.replicas):
        sense = s.server(master, address)
        if not (calm and _rests(s, sense, sense.rest)):
            dues_here = tuple(_server_dues(s, master, sense))
            _note_rest(s, master, sense, sense.rest, dues_here if calm else ())
            probes += dues_here
        else:
            probes.append(sense.rest.due_ms)
    for run_id, peer in master.peers.items():
        peer_sense, rest = s.peer(run_id), s.opinion(master, run_id).rest
        if not (calm and _rests(s, peer_sense, rest)):
            dues_here = tuple(_peer_dues(s, master, peer))
            _note_rest(s, master, peer_sense, rest, dues_here if calm else ())
            probes += dues_here
        else:
            probes.append(rest.due_ms)
    if probes:
        dues.append(_on_grid(s, master, min(probes)) if may_share(s, master) else min(probes))
    return max(min(dues), s.now_ms + 1)


def _is_calm(s: Situation, master: Master) -> bool:
    """Whether what is due at a link follows from that link alone, and changes only with what is heard there."""
    return s.state.tilt_since_ms is None and not restless(master)


def _rests(s: Situation, sense: LinkSense, rest: Rest) -> bool:
    return s.now_ms < rest.until_ms and rest.changes == sense.changes


def _note_rest(s: Situation, master: Master, sense: LinkSense, rest: Rest, dues: tuple[Millis, ...]) -> None:
    """Note until when nothing is due at a link: neither a probe nor to hang up. With most links at rest, a look at a
    master costs a few comparisons."""
    rest.until_ms = 0
    if not dues or not sense.command.open or (isinstance(sense, ServerSense) and not sense.pubsub.open):
        return
    rest.due_ms = min(dues)
    rest.until_ms = min(rest.due_ms, *_hang_up_dues(s, master, sense))
    rest.changes = sense.changes


def disturb(s: Situation, master: Master) -> None:
    """Something about `master` was decided: no noted rest counts any more."""
    for address in (master.address, *master.replicas):
        s.server(master, address).rest.until_ms = 0
    for run_id in master.peers:
        s.opinion(master, run_id).rest.until_ms = 0


def restless(master: Master) -> bool:
    """Whether every millisecond counts: it is down, or a failover runs."""
    return master.s_down or master.o_down or master.failover is not None


def may_share(s: Situation, master: Master) -> bool:
    """Whether the probes of this master may wait a little for those of others."""
    return len(s.state.masters) >= MANY_MASTERS and not restless(master)


def _on_grid(s: Situation, master: Master, due_ms: Millis) -> Millis:
    """The next moment of the grid; never later than a twentieth of the PING period."""
    grid_ms = max(1, min(GRID_MS, master.settings.down_after_ms // 20, s.state.timing.ping_period_ms // 20))
    return due_ms if due_ms <= s.now_ms else -(-due_ms // grid_ms) * grid_ms


# ---------------------------------------------------------------- connections


def _redial_ms(s: Situation, sense: LinkSense) -> Millis:
    since = liveness.silent_since(sense)
    silent_ms = 0 if since is None else s.now_ms - since
    return max(min(silent_ms // 5, s.state.timing.ping_period_ms), MIN_REDIAL_MS)


def _dial(s: Situation, sense: LinkSense, link: LinkId, address: Address, channel: Channel) -> Iterator[Effect]:
    end = _channel(sense, channel)
    if end.open or end.opening or address.port == 0:
        return
    if end.wanted_at_ms is not None and s.now_ms - end.wanted_at_ms < _redial_ms(s, sense):
        return
    end.opening = True
    end.wanted_at_ms = s.now_ms
    if channel is Channel.COMMAND and not is_ip(address.host):
        yield ResolveName(address.host)
    yield OpenLink(link, address, channel)


def _dial_due(s: Situation, sense: LinkSense, address: Address, channel: Channel) -> Iterator[Millis]:
    end = _channel(sense, channel)
    if not (end.open or end.opening or address.port == 0):
        yield redial_due_ms(s, sense, channel)


def redial_due_ms(s: Situation, sense: LinkSense, channel: Channel) -> Millis:
    """When a connection that is not there is tried again: at once for the first time, else on the grid, so that the
    attempts of many lost ones share a look."""
    wanted_at_ms = _channel(sense, channel).wanted_at_ms
    if wanted_at_ms is None:
        return s.now_ms
    return -(-(wanted_at_ms + _redial_ms(s, sense)) // GRID_MS) * GRID_MS


def _channel(sense: LinkSense, channel: Channel) -> ChannelSense:
    if channel is Channel.PUBSUB:
        assert isinstance(sense, ServerSense)
        return sense.pubsub
    return sense.command


def _hang_up(s: Situation, master: Master, sense: LinkSense, link: LinkId) -> Iterator[Effect]:
    """Close connections that are open in name only (core.md 2.4); not in TILT. Stock never gives up a connection
    attempt before that either: there is no other connect timeout."""
    if s.state.tilt_since_ms is not None:
        return
    end, minimum_ms = sense.command, s.state.timing.min_link_reconnect_period_ms
    half_ms = master.settings.down_after_ms // 2
    if (end.open or end.opening) and end.wanted_at_ms is not None and s.now_ms - end.wanted_at_ms > minimum_ms:
        owed = sense.ping_since_ms is not None and s.now_ms - sense.ping_since_ms > half_ms
        if owed and s.now_ms - sense.last_pong_at_ms > half_ms:
            lose_channel(sense, Channel.COMMAND, s.now_ms)
            yield CloseLink(link, Channel.COMMAND, "no reply to PING")
    if isinstance(sense, ServerSense) and _blocked_since_ms(master, sense) + half_ms < s.now_ms:
        lose_channel(sense, Channel.COMMAND, s.now_ms)
        yield CloseLink(link, Channel.COMMAND, "a hello is blocked there")
    if isinstance(sense, ServerSense):
        end = sense.pubsub
        if (end.open or end.opening) and end.wanted_at_ms is not None and s.now_ms - end.wanted_at_ms > minimum_ms:
            heard_at_ms = end.wanted_at_ms if end.heard_at_ms is None else end.heard_at_ms
            if s.now_ms - heard_at_ms > 3 * s.state.timing.publish_period_ms:
                lose_channel(sense, Channel.PUBSUB, s.now_ms)
                yield CloseLink(link, Channel.PUBSUB, "nothing heard on pub/sub")


def _blocked_since_ms(master: Master, sense: ServerSense) -> Millis:
    """Since when a PING waits behind a hello of ours on an open connection; `NEVER_MS` when none does, or when the
    server is down already. A server whose writes are paused keeps a PUBLISH back and everything behind it, but answers
    a PING over a new connection. Called down it would be failed over for nothing (rule R3)."""
    sent_at_ms, ping_ms = sense.hello_sent_at_ms, sense.ping_since_ms
    if not (sense.hello_in_flight and sense.command.open) or sent_at_ms is None or ping_ms is None:
        return NEVER_MS
    server = master if sense.address == master.address else master.replicas[sense.address]
    return ping_ms if sent_at_ms <= ping_ms and not server.s_down else NEVER_MS


def _hang_up_dues(s: Situation, master: Master, sense: LinkSense) -> Iterator[Millis]:
    """Before which moments `_hang_up` certainly does nothing at an open link, if nothing is heard."""
    yield NEVER_MS
    minimum_ms, half_ms = s.state.timing.min_link_reconnect_period_ms, master.settings.down_after_ms // 2
    if sense.ping_since_ms is not None:
        wanted_ms = sense.command.wanted_at_ms or 0
        yield 1 + max(wanted_ms + minimum_ms, sense.ping_since_ms + half_ms, sense.last_pong_at_ms + half_ms)
    if isinstance(sense, ServerSense):
        wanted_ms = sense.pubsub.wanted_at_ms or 0
        heard_ms = wanted_ms if sense.pubsub.heard_at_ms is None else sense.pubsub.heard_at_ms
        yield 1 + max(wanted_ms + minimum_ms, heard_ms + 3 * s.state.timing.publish_period_ms)
        yield 1 + _blocked_since_ms(master, sense) + half_ms


def is_open(sense: LinkSense, channel: Channel) -> bool:
    """Whether a connection is established."""
    return _channel(sense, channel).open


def lose_channel(sense: LinkSense, channel: Channel, now_ms: Millis) -> None:
    """Note that a connection is gone, and start the clock of silence if it was the command connection."""
    sense.changes += 1
    end = _channel(sense, channel)
    end.open = end.opening = False
    end.heard_at_ms = None
    if channel is Channel.COMMAND:
        sense.pending = 0
        if sense.ping_since_ms is None:
            sense.ping_since_ms = now_ms
        if isinstance(sense, ServerSense):
            sense.info_in_flight = sense.hello_in_flight = False


# ---------------------------------------------------------------- PING


def _ping_due_ms(s: Situation, sense: LinkSense, down_after_ms: Millis) -> Millis:
    """Answered: one each period; unanswered: one each half period (core.md 4)."""
    period_ms = min(down_after_ms, s.state.timing.ping_period_ms)
    due_ms = sense.last_pong_at_ms + period_ms
    if sense.last_ping_at_ms is not None:
        due_ms = max(due_ms, sense.last_ping_at_ms + period_ms // 2)
    return due_ms


def _ping(s: Situation, sense: LinkSense, link: LinkId, down_after_ms: Millis) -> Iterator[Effect]:
    if s.now_ms < _ping_due_ms(s, sense, down_after_ms):
        return
    yield ping_now(s, sense, link)


def ping_now(s: Situation, sense: LinkSense, link: LinkId) -> Effect:
    """A PING, noted as sent; also the first word on every new command connection."""
    sense.changes += 1
    sense.last_ping_at_ms = s.now_ms
    if sense.ping_since_ms is None:
        sense.ping_since_ms = s.now_ms
    sense.pending += 1
    return SendPing(link)


# ---------------------------------------------------------------- servers


def _tend_server(s: Situation, master: Master, address: Address) -> Iterator[Effect]:
    sense = s.server(master, address)
    link = ServerLink(master.name, address)
    yield from _hang_up(s, master, sense, link)
    yield from _dial(s, sense, link, address, Channel.COMMAND)
    yield from _dial(s, sense, link, address, Channel.PUBSUB)
    if not sense.command.open or sense.pending >= PENDING_LIMIT:
        return
    yield from _ping(s, sense, link, master.settings.down_after_ms)
    info_due_ms = _info_due_ms(s, master, sense)
    if info_due_ms is not None and s.now_ms >= info_due_ms:
        sense.info_in_flight = True
        sense.info_sent_at_ms = s.now_ms
        sense.pending += 1
        yield PollInfo(link)
    hello_due_ms = _server_hello_due_ms(s, master, sense)
    if hello_due_ms is not None and s.now_ms >= hello_due_ms:
        sense.hello_sent_at_ms = s.now_ms
        hello = hello_about(s, master)
        if hello.master_host:
            sense.hello_in_flight = True
            sense.pending += 1
            yield SayHello(link, hello)


def _server_dues(s: Situation, master: Master, sense: ServerSense) -> Iterator[Millis]:
    yield from _dial_due(s, sense, sense.address, Channel.COMMAND)
    yield from _dial_due(s, sense, sense.address, Channel.PUBSUB)
    if not sense.command.open or sense.pending >= PENDING_LIMIT:
        return
    yield _ping_due_ms(s, sense, master.settings.down_after_ms)
    for due_ms in (_info_due_ms(s, master, sense), _server_hello_due_ms(s, master, sense)):
        if due_ms is not None:
            yield due_ms


def _info_due_ms(s: Situation, master: Master, sense: ServerSense) -> Millis | None:
    """When INFO is due; None while a reply is awaited (core.md Q9)."""
    if sense.info_in_flight:
        return None
    if sense.info_sent_at_ms is None or sense.info_at_ms is None:
        # Never heard: at once, and after an error no more than one a second.
        return s.now_ms if sense.info_sent_at_ms is None else sense.info_sent_at_ms + FAST_INFO_MS
    period_ms = _info_period_ms(s, master, sense)
    if period_ms >= FAST_INFO_MS and sense.info_sent_at_ms > sense.info_at_ms:
        return sense.info_sent_at_ms + FAST_INFO_MS  # the last one was answered with an error
    return max(sense.info_at_ms, sense.info_sent_at_ms) + period_ms


def _info_period_ms(s: Situation, master: Master, sense: ServerSense) -> Millis:
    info_period_ms = s.state.timing.info_period_ms
    if sense.address == master.address and not _hands_over(master):
        return info_period_ms
    eager_since_ms = _eager_since_ms(master, sense)
    if eager_since_ms is not None:
        return min(max((s.now_ms - eager_since_ms) // 10, EAGER_INFO_MS), FAST_INFO_MS)
    if master.o_down or master.s_down or master.failover is not None or sense.master_link_down_ms != 0:
        return min(FAST_INFO_MS, info_period_ms)
    return info_period_ms


def _hands_over(master: Master) -> bool:
    """Whether the master itself was asked to hand over. It looks at what it waits for whenever it hears something."""
    return master.failover is not None and master.failover.holds_writers_back


def _eager_since_ms(master: Master, sense: ServerSense) -> Millis | None:
    """Since when a change in this replica's INFO is awaited by a running failover, if it is."""
    running = master.failover
    if running is None:
        return None
    match running.phase:
        case SelectingReplica():
            wanted_ms = failover.wanted_info_since_ms(master, running)
            heard = sense.info_at_ms is not None and sense.info_at_ms >= wanted_ms
            return None if heard else running.phase_since_ms
        case SendingPromotion(candidate, paused_at_ms) if sense.address in (candidate, master.address):
            return paused_at_ms
        case WaitingForPromotion(candidate) if sense.address in (candidate, master.address):
            return running.phase_since_ms
        case ReconfiguringReplicas(_, True):
            replica = master.replicas[sense.address]
            if replica.reconf in (Reconf.SENT, Reconf.IN_PROGRESS):
                return replica.reconf_sent_at_ms
    return None


def _server_hello_due_ms(s: Situation, master: Master, sense: ServerSense) -> Millis | None:
    """When a hello to a server is due; None while one is unanswered or writes are paused there (core.md 4, R3)."""
    if sense.hello_in_flight or sense.handing_over or s.state.disk_failing:
        return None
    due_ms = _hello_due_ms(s, sense.hello_at_ms, sense.hello_sent_at_ms)
    running = master.failover
    if sense.address != master.address:
        return due_ms
    if running is not None and running.manner is Manner.COORDINATED:
        # Writes are paused there, and a PUBLISH would block the order to go on that comes behind it.
        published = isinstance(running.phase, UpdatingConfig) or running.phase == ReconfiguringReplicas(
            running.promoted or master.address, published=True
        )
        return due_ms if published else None
    if master.voted_for not in (None, s.state.my_id) and not master.s_down and master.attempt_at_ms is not None:
        # I voted for a leader although the master is up: it is about to hand over.
        return max(due_ms, master.attempt_at_ms + HANDOVER_HUSH_MS)
    return due_ms


def _hello_due_ms(s: Situation, accepted_at_ms: Millis | None, sent_at_ms: Millis | None) -> Millis:
    if accepted_at_ms is None:
        return s.now_ms if sent_at_ms is None else sent_at_ms + FAST_INFO_MS
    return max(accepted_at_ms, sent_at_ms or accepted_at_ms) + s.state.timing.publish_period_ms


def hello_about(s: Situation, master: Master) -> Hello:
    """What I say of myself and of `master`; an empty host stands for the link's own address (core.md 6.1). While the
    address of `master` is not known it is not worth saying: stock takes an empty one for a switch (core.md Q5)."""
    state = s.state
    address = master.current_address
    return Hello(
        host=state.settings.announce_ip or "",
        port=state.settings.announce_port or state.own_port,
        run_id=state.my_id,
        current_epoch=state.current_epoch,
        master=master.name,
        master_host=state.shown(address.host),
        master_port=address.port,
        config_epoch=master.config_epoch,
    )


# ---------------------------------------------------------------- peers


def _tend_peer(s: Situation, master: Master, peer: Peer) -> Iterator[Effect]:
    sense = s.peer(peer.run_id)
    link = PeerLink(peer.run_id)
    yield from _hang_up(s, master, sense, link)
    yield from _dial(s, sense, link, sense.address, Channel.COMMAND)
    if not sense.command.open:
        return
    if _may_ping(sense):
        yield from _ping(s, sense, link, master.settings.down_after_ms)
    opinion = s.opinion(master, peer.run_id)
    if not s.fresh(opinion):
        opinion.master_down = False
        opinion.voted_for = None
    if _peer_hello_due_ms(s, opinion) <= s.now_ms:
        opinion.hello_sent_at_ms = s.now_ms
        hello = hello_about(s, master)
        if hello.master_host:
            opinion.hello_in_flight = True
            sense.pending += 1
            yield SayHello(link, hello)
    yield from _ask(s, master, sense, opinion)


def _may_ping(sense: PeerSense) -> bool:
    """The first PING, which starts the clock of silence, is always sent: of many masters that share a link each may
    have a hello unanswered there. The limit is for the PINGs after it."""
    return sense.ping_since_ms is None or sense.pending < PENDING_LIMIT


def _peer_dues(s: Situation, master: Master, peer: Peer) -> Iterator[Millis]:
    sense = s.peer(peer.run_id)
    yield from _dial_due(s, sense, sense.address, Channel.COMMAND)
    if not sense.command.open:
        return
    if _may_ping(sense):
        yield _ping_due_ms(s, sense, master.settings.down_after_ms)
    opinion = s.opinion(master, peer.run_id)
    yield _peer_hello_due_ms(s, opinion)
    ask_due_ms = _ask_due_ms(s, master, opinion)
    if ask_due_ms is not None:
        yield ask_due_ms


NEVER_MS = 2**62


def _peer_hello_due_ms(s: Situation, opinion: Opinion) -> Millis:
    if opinion.hello_in_flight or s.state.disk_failing:
        return NEVER_MS
    return _hello_due_ms(s, opinion.said_hello_at_ms, opinion.hello_sent_at_ms)


def _asking(s: Situation, master: Master) -> bool:
    """Whether peers are asked now: while the master is down, and for the votes of a coordinated failover. My own vote
    must be on disk before anybody is asked for another (core.md Q4)."""
    running = master.failover
    if s.state.tilt_since_ms is not None:
        return False
    if running is not None and isinstance(running.phase, WaitingForVotes):
        if not running.phase.vote_saved:
            return False
        return master.s_down or running.manner is Manner.COORDINATED
    return master.s_down


def _matter(master: Master) -> tuple[Millis | None, int | None]:
    return master.s_down_since_ms, None if master.failover is None else master.failover.epoch


def _ask_due_ms(s: Situation, master: Master, opinion: Opinion) -> Millis | None:
    """At once about a new matter or when a peer may have changed its mind, else once in an asking period (7.3)."""
    if opinion.ask_in_flight or not _asking(s, master):
        return None
    if opinion.asked_at_ms is None or opinion.asked_about != _matter(master):
        return s.now_ms
    if opinion.nudged and not opinion.master_down:
        return s.now_ms
    return opinion.asked_at_ms + s.state.timing.ask_period_ms


def _ask(s: Situation, master: Master, sense: PeerSense, opinion: Opinion) -> Iterator[Effect]:
    due_ms = _ask_due_ms(s, master, opinion)
    if due_ms is None or s.now_ms < due_ms:
        return
    opinion.ask_in_flight = True
    opinion.asked_at_ms = s.now_ms
    opinion.asked_about = _matter(master)
    opinion.nudged = False
    sense.pending += 1
    running = master.failover
    yield AskPeer(
        peer=PeerLink(sense.run_id),
        master=master.name,
        address=master.address,
        shown_host=s.state.shown(master.address.host),
        epoch=s.state.current_epoch if running is None else running.epoch,  # core.md Q1: the attempt's own epoch
        candidate=None if running is None else s.state.my_id,
    )
