"""What is due when: PING, INFO, hellos and questions, and connections (``connections.py``); and when to look again.

Rules of this file:

1. Nothing sweeps. Each link, each opinion and each master is a *watch* of its own that names the next moment at which
   something is due there. It names another one when it is looked at, and when what was heard or decided made something
   due sooner. An answered probe only makes things due later, so it costs nothing here.
2. Time is a wheel. Probes of a link that answers fall on moments that are whole periods apart, counted from one phase,
   so PING, PUBLISH and INFO to one server meet in one write, and links with the same phase share one wake-up. A probe
   is moved to the moment *before* it is due, never to a later one. What decides anything is never moved at all.
3. The only things written are observations: what was sent and when.
"""

from __future__ import annotations

from trio_sentinel.model.connections import dial, hang_up_blocked, hang_up_command, hang_up_pubsub
from trio_sentinel.model.decide import agreement, failover, liveness
from trio_sentinel.model.effects import (
    AskPeer,
    Effect,
    SayHello,
)
from trio_sentinel.model.observations import (
    NEVER_MS,
    LinkSense,
    MasterWatch,
    Opinion,
    PeerSense,
    ServerSense,
    Watch,
)
from trio_sentinel.model.situation import Situation
from trio_sentinel.model.state import (
    Manner,
    Master,
    ReconfiguringReplicas,
    SelectingReplica,
    SendingPromotion,
    UpdatingConfig,
    WaitingForPromotion,
    WaitingForVotes,
)
from trio_sentinel.model.values import Channel, Hello, Millis

FAST_INFO_MS = 1000
"""INFO period of replicas while their master is down (core.md 4)."""
EAGER_INFO_MS = 10
"""INFO period of a server whose change of role is awaited, growing with the wait."""
GRID_MS = 100
"""The distance of neighbours on the wheel of many masters: stock's tick. A wake-up costs as much as a few probes."""
MANY_MASTERS = 32
"""From so many on probes are spread over the wheel; the links of fewer are all probed in the same moment."""
QUICK_PINGS_MS = (100, 200, 250, 500)
"""PING periods shorter than stock's second, for as long as the PINGs of all links stay within the budget."""
PINGS_A_SECOND = 500
"""The budget of the daemon: some 1 % of a core. With it a few servers that stop answering are missed half a second
sooner."""
HANDOVER_HUSH_MS = 3000
"""A healthy master hears no hello for this long after a vote for another: it may be handing over, with writes paused,
and a PUBLISH that blocks would make our PINGs late (rule R3)."""
PENDING_LIMIT = 100
"""No more probes are sent over a link with this many unanswered commands, for each master that shares it
(core.md 2.5)."""

# ---------------------------------------------------------------- who is looked at

_LINKS = (ServerSense, PeerSense)  # "|" would make a new object each time, and this is asked for each probe


def tend(s: Situation, watch: Watch, effects: list[Effect]) -> Millis:
    """Do everything that is due there now; returns when to look again if nothing is heard or decided before."""
    if isinstance(watch, _LINKS):
        if watch.calm_ms > s.now_ms and watch.ping_since_ms is None:
            return _only_ping(s, watch, effects)
        return _tend_server(s, watch, effects) if isinstance(watch, ServerSense) else _tend_peer(s, watch, effects)
    if isinstance(watch, Opinion):
        return _tend_opinion(s, watch, effects)
    assert isinstance(watch, MasterWatch)
    return _tend_master(s, watch)


def judged(s: Situation, watch: Watch) -> tuple[str, ...]:
    """The masters at which the rules must look now because of `watch`."""
    if s.now_ms < watch.judge_ms:
        return ()
    if isinstance(watch, (ServerSense, MasterWatch)):
        return (watch.master,)
    if isinstance(watch, PeerSense):
        return tuple(name for name in watch.known_to if _peer_judge_ms(s, watch, name) <= s.now_ms)
    return ()


def rests(watch: Watch) -> bool:
    """Whether a look before ``rest_ms`` would find nothing, because the last PING was answered since it was planned."""
    return isinstance(watch, _LINKS) and watch.ping_since_ms is None and watch.command.open


def watches_of(s: Situation, master: Master) -> list[Watch]:
    """Everything that may have become due when something about `master` was decided."""
    senses, name = s.senses, master.name
    watches: list[Watch] = [s.server(master)]
    watches += [senses.servers[name, address] for address in master.replicas]
    for run_id in master.peers:
        watches += (senses.peers[run_id], senses.opinions[name, run_id])
    return watches


def restless(master: Master) -> bool:
    """Whether every millisecond counts: it is down, or a failover runs."""
    return master.s_down or master.o_down or master.failover is not None


def set_pace(s: Situation) -> None:
    """Set the pace for as many masters and links as there are now. Where few are watched PINGs go out more often than
    stock's, so that a server that only stopped answering is missed sooner."""
    links = len(s.senses.servers) + len(s.senses.peers)
    s.pace.grid_ms = GRID_MS if len(s.state.masters) >= MANY_MASTERS else 0
    fits = (period_ms for period_ms in QUICK_PINGS_MS if links * 1000 <= s.pace.pings_a_second * period_ms)
    s.pace.ping_ms = next(fits, NEVER_MS)


def _moment(s: Situation, turn: int, due_ms: Millis, period_ms: Millis) -> Millis:
    """The last moment of the wheel that is not after `due_ms`."""
    pace = s.pace
    return due_ms - (due_ms - pace.phase_ms - turn * pace.grid_ms) % period_ms


def _tend_master(s: Situation, watch: MasterWatch) -> Millis:
    master = s.state.masters[watch.master]
    watch.judge_ms = NEVER_MS
    if s.state.tilt_since_ms is None:
        for due in (liveness.due, agreement.due, failover.due):
            watch.judge_ms = min(watch.judge_ms, *due(s, master), NEVER_MS)
    return watch.judge_ms


# ---------------------------------------------------------------- PING


def _ping(s: Situation, sense: ServerSense | PeerSense, down_after_ms: Millis, effects: list[Effect]) -> Millis:
    """Answered: one each period, or more often where the pace allows it; unanswered: one each half period (core.md 4).

    Returns when to look again if no answer comes; ``next_ping_ms`` is when to look if one does."""
    period_ms = s.state.timing.ping_period_ms
    if period_ms > down_after_ms:
        period_ms = down_after_ms
    due_ms = _ping_due_ms(sense, period_ms)
    if s.now_ms < due_ms:
        return due_ms
    sense.last_ping_at_ms = s.now_ms
    if sense.ping_since_ms is None:
        sense.ping_since_ms = s.now_ms
    sense.pending += 1
    effects.append(sense.ping)
    quick_ms = min(s.pace.ping_ms, period_ms)
    sense.next_ping_ms = next_ms = _moment(s, sense.turn, s.now_ms + quick_ms, quick_ms)
    half_ms = s.now_ms + period_ms // 2
    return min(half_ms, next_ms)


def _only_ping(s: Situation, sense: ServerSense | PeerSense, effects: list[Effect]) -> Millis:
    """The PING of a link where all is well: nothing else need be considered."""
    look_ms, calm_ms = _ping(s, sense, sense.down_after_ms, effects), sense.calm_ms
    judge_ms = sense.judge_ms = liveness.silent_due_ms(sense, sense.down_after_ms)
    sense.rest_ms = min(sense.next_ping_ms, calm_ms)
    return min(look_ms, calm_ms, judge_ms)


def _ping_due_ms(sense: LinkSense, period_ms: Millis) -> Millis:
    if sense.last_ping_at_ms is None:
        return sense.last_pong_at_ms + period_ms
    if sense.ping_since_ms is None:
        return sense.next_ping_ms
    return max(sense.last_pong_at_ms + period_ms, sense.last_ping_at_ms + period_ms // 2)


# ---------------------------------------------------------------- servers


def _tend_server(s: Situation, sense: ServerSense, effects: list[Effect]) -> Millis:
    master = s.state.masters[sense.master]
    down_after_ms = sense.down_after_ms = master.settings.down_after_ms
    look_ms = rest_ms = NEVER_MS
    in_tilt = s.state.tilt_since_ms is not None
    if not in_tilt:
        look_ms = hang_up_command(s, sense, down_after_ms, effects)
        look_ms = min(look_ms, hang_up_blocked(s, master, sense, effects))
        rest_ms = hang_up_pubsub(s, sense, effects)
    if not (sense.command.open and sense.pubsub.open):
        dial_ms = dial(s, sense, sense.command, Channel.COMMAND, effects)
        rest_ms = min(rest_ms, dial_ms, dial(s, sense, sense.pubsub, Channel.PUBSUB, effects))
    if sense.command.open and sense.pending < PENDING_LIMIT:
        look_ms = min(look_ms, _ping(s, sense, down_after_ms, effects))
        poll_ms = _poll(s, master, sense, effects)
        rest_ms = min(rest_ms, poll_ms, _say_to_server(s, master, sense, effects))
    sense.judge_ms = _server_judge_ms(s, master, sense)
    well = sense.command.open and sense.pubsub.open and sense.pending < PENDING_LIMIT and not in_tilt
    sense.calm_ms = rest_ms if well else 0
    sense.rest_ms = min(rest_ms, sense.next_ping_ms)
    return min(look_ms, rest_ms, sense.judge_ms)


def _server_judge_ms(s: Situation, master: Master, sense: ServerSense) -> Millis:
    """When a server that is up goes down if nothing is heard."""
    if sense.ping_since_ms is None and sense.command.open:
        return NEVER_MS
    server = master if sense.leads else master.replicas[sense.address]
    if server.s_down or s.state.tilt_since_ms is not None:
        return NEVER_MS
    return liveness.silent_due_ms(sense, master.settings.down_after_ms)


def _poll(s: Situation, master: Master, sense: ServerSense, effects: list[Effect]) -> Millis:
    """INFO, and none before the last one was answered (core.md Q9)."""
    if sense.info_in_flight:
        return NEVER_MS
    due_ms = _info_due_ms(s, master, sense)
    if s.now_ms < due_ms:
        return due_ms
    sense.info_in_flight = True
    sense.info_sent_at_ms = s.now_ms
    sense.pending += 1
    effects.append(sense.poll)
    return NEVER_MS


def _info_due_ms(s: Situation, master: Master, sense: ServerSense) -> Millis:
    sent_at_ms = sense.info_sent_at_ms
    if sent_at_ms is None:
        return s.now_ms
    if sense.info_at_ms is None:
        return sent_at_ms + FAST_INFO_MS  # after an error no more than one a second
    down_since_ms = master.s_down_since_ms
    if master.s_down and not sense.leads and down_since_ms is not None and sent_at_ms < down_since_ms:
        return s.now_ms  # offsets no longer move: whoever is elected need not wait for the last ones
    period_ms = _info_period_ms(s, master, sense)
    if period_ms < FAST_INFO_MS:
        return max(sense.info_at_ms, sent_at_ms) + period_ms
    if sent_at_ms > sense.info_at_ms:
        return sent_at_ms + FAST_INFO_MS  # the last one was answered with an error
    return max(_moment(s, sense.turn, sent_at_ms + period_ms, period_ms), sent_at_ms + 1)


def _info_period_ms(s: Situation, master: Master, sense: ServerSense) -> Millis:
    info_period_ms = s.state.timing.info_period_ms
    if sense.leads and not _hands_over(master):
        return info_period_ms
    eager_since_ms = _eager_since_ms(master, sense)
    if eager_since_ms is not None:
        assert sense.info_at_ms is not None
        return min(max((sense.info_at_ms - eager_since_ms) // 10, EAGER_INFO_MS), FAST_INFO_MS)
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
            if replica.being_reconfigured:
                return replica.reconf_sent_at_ms
    return None


# ---------------------------------------------------------------- hellos


def _say_to_server(s: Situation, master: Master, sense: ServerSense, effects: list[Effect]) -> Millis:
    due_ms = _server_hello_due_ms(s, master, sense)
    if s.now_ms < due_ms:
        return due_ms
    return _say(s, master, sense, sense, effects)


def _say(
    s: Situation, master: Master, sense: ServerSense | PeerSense, told: ServerSense | Opinion, effects: list[Effect]
) -> Millis:
    """A hello over the link of `sense`, noted in `told`; when the next one is due."""
    told.hello_sent_at_ms = s.now_ms
    hello = hello_about(s, master)
    if not hello.master_host:
        return s.now_ms + FAST_INFO_MS
    told.hello_in_flight = True
    sense.pending += 1
    if told.said is None or told.said.hello is not hello:
        told.said = SayHello(sense.link, hello)
    effects.append(told.said)
    return hello_due_ms(s, told.turn, s.now_ms, s.now_ms)


def _server_hello_due_ms(s: Situation, master: Master, sense: ServerSense) -> Millis:
    """When a hello to a server is due; never while one is unanswered or writes are paused there (core.md 4, R3)."""
    if sense.hello_in_flight or s.state.disk_failing or sense.handing_over:
        return NEVER_MS
    due_ms = hello_due_ms(s, sense.turn, sense.hello_at_ms, sense.hello_sent_at_ms)
    if not sense.leads:
        return due_ms
    running = master.failover
    if running is not None and running.manner is Manner.COORDINATED:
        # Writes are paused there, and a PUBLISH would block the order to go on that comes behind it.
        published = isinstance(running.phase, UpdatingConfig) or running.phase == ReconfiguringReplicas(
            running.promoted or master.address, published=True
        )
        return due_ms if published else NEVER_MS
    if master.voted_for not in (None, s.state.my_id) and not master.s_down and master.attempt_at_ms is not None:
        # I voted for a leader although the master is up: it is about to hand over.
        return max(due_ms, master.attempt_at_ms + HANDOVER_HUSH_MS)
    return due_ms


def hello_due_ms(s: Situation, turn: int, accepted_at_ms: Millis | None, sent_at_ms: Millis | None) -> Millis:
    """When the next hello is due, by when the last one was sent and when one was accepted last."""
    if sent_at_ms is None:
        return s.now_ms
    if accepted_at_ms is None or accepted_at_ms < sent_at_ms:
        return sent_at_ms + FAST_INFO_MS  # refused
    period_ms = s.state.timing.publish_period_ms
    return _moment(s, turn, sent_at_ms + period_ms, period_ms)


def hello_about(s: Situation, master: Master) -> Hello:
    """What I say of myself and of `master`; an empty host stands for the link's own address (core.md 6.1). While the
    address of `master` is not known it is not worth saying: stock takes an empty one for a switch (core.md Q5)."""
    hello = s.hellos.get(master.name)
    if hello is None:
        hello = s.hellos[master.name] = _new_hello(s, master)
    return hello


def _new_hello(s: Situation, master: Master) -> Hello:
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


def _tend_peer(s: Situation, sense: PeerSense, effects: list[Effect]) -> Millis:
    """The link to another sentinel; what is said over it about each master is an opinion's affair."""
    in_tilt = s.state.tilt_since_ms is not None
    look_ms = NEVER_MS if in_tilt else hang_up_command(s, sense, sense.down_after_ms, effects)
    dial_ms = dial(s, sense, sense.command, Channel.COMMAND, effects)
    if sense.command.open and (sense.ping_since_ms is None or sense.pending < pending_limit(sense)):
        look_ms = min(look_ms, _ping(s, sense, sense.down_after_ms, effects))
    sense.judge_ms = NEVER_MS if in_tilt else _peers_judge_ms(s, sense)
    sense.calm_ms = NEVER_MS if sense.command.open and not in_tilt else 0
    sense.rest_ms = min(dial_ms, sense.next_ping_ms)
    return min(look_ms, dial_ms, sense.judge_ms)


def pending_limit(sense: LinkSense) -> int:
    """How many commands may be unanswered before no more PINGs are sent. The first one, which starts the clock of
    silence, is always sent: each of the masters that share a link may have a hello unanswered there."""
    return PENDING_LIMIT * max(1, len(sense.known_to)) if isinstance(sense, PeerSense) else PENDING_LIMIT


def _peers_judge_ms(s: Situation, sense: PeerSense) -> Millis:
    """When a peer that is up goes down for one of its masters. All of them are asked only when that is near."""
    first_ms = liveness.silent_due_ms(sense, sense.down_after_ms)
    if s.now_ms < first_ms:
        return first_ms
    return min((_peer_judge_ms(s, sense, name) for name in sense.known_to), default=NEVER_MS)


def _peer_judge_ms(s: Situation, sense: PeerSense, name: str) -> Millis:
    master = s.state.masters[name]
    if master.peers[sense.run_id].s_down:
        return NEVER_MS
    return liveness.silent_due_ms(sense, master.settings.down_after_ms)


# ---------------------------------------------------------------- opinions


def _tend_opinion(s: Situation, opinion: Opinion, effects: list[Effect]) -> Millis:
    """What one peer is told and asked about one master."""
    master, sense = s.state.masters[opinion.master], s.senses.peers[opinion.run_id]
    if not sense.command.open:
        return NEVER_MS
    if not s.fresh(opinion):
        opinion.master_down = False
        opinion.voted_for = None
    return min(_say_to_peer(s, master, sense, opinion, effects), _ask(s, master, sense, opinion, effects))


def _say_to_peer(s: Situation, master: Master, sense: PeerSense, opinion: Opinion, effects: list[Effect]) -> Millis:
    if opinion.hello_in_flight or s.state.disk_failing:
        return NEVER_MS
    due_ms = hello_due_ms(s, opinion.turn, opinion.said_hello_at_ms, opinion.hello_sent_at_ms)
    if s.now_ms < due_ms:
        return due_ms
    return _say(s, master, sense, opinion, effects)


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


def _ask_due_ms(s: Situation, master: Master, opinion: Opinion) -> Millis:
    """At once about a new matter or when a peer may have changed its mind, else once in an asking period (7.3)."""
    if opinion.ask_in_flight or not _asking(s, master):
        return NEVER_MS
    if opinion.asked_at_ms is None or opinion.asked_about != _matter(master):
        return s.now_ms
    if opinion.nudged and not opinion.master_down:
        return s.now_ms
    return opinion.asked_at_ms + s.state.timing.ask_period_ms


def _ask(s: Situation, master: Master, sense: PeerSense, opinion: Opinion, effects: list[Effect]) -> Millis:
    due_ms = _ask_due_ms(s, master, opinion)
    if s.now_ms < due_ms:
        return due_ms
    opinion.ask_in_flight = True
    opinion.asked_at_ms = s.now_ms
    opinion.asked_about = _matter(master)
    opinion.nudged = False
    sense.pending += 1
    running = master.failover
    effects.append(
        AskPeer(
            peer=sense.link,
            master=master.name,
            address=master.address,
            shown_host=s.state.shown(master.address.host),
            epoch=s.state.current_epoch if running is None else running.epoch,  # core.md Q1: the attempt's own epoch
            candidate=None if running is None else s.state.my_id,
        )
    )
    return NEVER_MS
