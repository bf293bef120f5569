"""Perception: input -> observation, overwritten in place.

Each function answers at which masters the rules must look; None ends the work for that input. What was heard may also
make a probe due sooner than it was: then that link is noted in ``Situation.disturbed``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from trio_sentinel.model import connections, rhythm
from trio_sentinel.model import inputs as i
from trio_sentinel.model.effects import Effect, KillScript
from trio_sentinel.model.observations import (
    Opinion,
    PeerSense,
    ServerSense,
    Watch,
)
from trio_sentinel.model.situation import Situation
from trio_sentinel.model.state import Master, Replica
from trio_sentinel.model.values import Channel, LinkId, PeerLink, Role, ServerLink

GOOD_PONGS = ("PONG", "LOADING", "MASTERDOWN")
"""Beginnings of an acceptable reply to PING, status or error (core.md 4.1)."""

MAX_NAMELESS = 10_000
"""Names without an address remembered: they come from others."""

# ---------------------------------------------------------------- who is meant


def sense_of(s: Situation, link: LinkId) -> ServerSense | PeerSense | None:
    """The observations of a link; None when it was given up meanwhile."""
    if isinstance(link, PeerLink):
        return s.senses.peers.get(link.run_id)
    return s.senses.servers.get((link.master, link.address))


def masters_of(sense: ServerSense | PeerSense) -> tuple[str, ...]:
    """The masters that a link serves."""
    return tuple(sense.known_to) if isinstance(sense, PeerSense) else (sense.master,)


def server_of(s: Situation, link: ServerLink) -> tuple[Master, Replica | None] | None:
    """The master and the replica (None for the master itself) at the other end."""
    master = s.state.masters.get(link.master)
    if master is None:
        return None
    if link.address == master.address:
        return master, None
    replica = master.replicas.get(link.address)
    return None if replica is None else (master, replica)


NOBODY: tuple[str, ...] = ()
"""The rules need not look, but what was heard may decide something by itself."""

# ---------------------------------------------------------------- perceptions


def _link_opened(s: Situation, heard: i.LinkOpened) -> tuple[str, ...] | None:
    sense = sense_of(s, heard.link)
    if sense is None:
        return None
    s.disturbed.append(sense)
    if heard.channel is Channel.PUBSUB:
        assert isinstance(sense, ServerSense)
        end = sense.pubsub
        end.heard_at_ms = s.now_ms
    else:
        end = sense.command
        sense.pending = 0
        if isinstance(sense, ServerSense):
            sense.info_in_flight = sense.hello_in_flight = False
            sense.writers_paused = sense.paused_at_offset = None
        else:
            forget_questions(s, sense)  # what was asked over the connection before is not answered over this one
            s.disturbed += _opinions_of(s, sense)
        sense.local_host = heard.local_host
        sense.last_ping_at_ms = None
        sense.last_pong_at_ms = min(sense.last_pong_at_ms, s.now_ms - s.state.timing.ping_period_ms)
    end.opening, end.open, end.opened_at_ms = False, True, s.now_ms
    return masters_of(sense)


def _link_lost(s: Situation, heard: i.LinkLost) -> tuple[str, ...] | None:
    """A failed attempt changes nothing that a rule looks at; only the next one is planned."""
    sense = sense_of(s, heard.link)
    if sense is None:
        return None
    was_open = connections.is_open(sense, heard.channel)
    connections.lose_channel(sense, heard.channel, s.now_ms)
    s.disturbed.append(sense)
    if not was_open:
        return None
    if isinstance(sense, PeerSense):
        forget_questions(s, sense)
    return masters_of(sense)


def _opinions_of(s: Situation, sense: PeerSense) -> Iterator[Opinion]:
    return (s.senses.opinions[name, sense.run_id] for name in sense.known_to)


def forget_questions(s: Situation, sense: PeerSense) -> None:
    """What was asked over a connection that is gone is not answered any more."""
    for opinion in _opinions_of(s, sense):
        opinion.ask_in_flight = opinion.hello_in_flight = False
        opinion.asked_about = None


def _replied(s: Situation, sense: ServerSense | PeerSense) -> None:
    """One reply fewer is owed; where too many were, there is room for probes again."""
    if sense.pending > 0:
        if sense.pending >= rhythm.PENDING_LIMIT:
            s.disturbed.append(sense)
        sense.pending -= 1


def _ping_answered(s: Situation, heard: i.PingAnswered) -> tuple[str, ...] | None:
    sense = sense_of(s, heard.link)
    if sense is None:
        return None
    _replied(s, sense)
    since_ms = sense.ping_since_ms
    sense.last_pong_at_ms = s.now_ms
    if heard.text.startswith(GOOD_PONGS):
        sense.last_ok_at_ms = s.now_ms
        sense.ping_since_ms = None
        if sense.next_ping_ms < sense.queued_ms:
            s.disturbed.append(sense)
    in_time = since_ms is not None and s.now_ms - since_ms <= sense.down_after_ms  # so it is not down for anybody
    if isinstance(sense, PeerSense):
        if in_time:
            return None
        return tuple(name for name in sense.known_to if s.state.masters[name].peers[sense.run_id].s_down) or None
    if in_time and not sense.leads and not sense.script_kill_sent:
        return None
    master = s.state.masters[sense.master]
    if sense.leads:
        matters = master.s_down or master.rebooting_since_ms is not None
    else:
        matters = master.replicas[sense.address].s_down
    if matters:
        return (master.name,)
    sense.script_kill_sent = False
    return None


def script_to_kill(s: Situation, heard: i.PingAnswered) -> Iterator[Effect]:
    """SCRIPT KILL, once in each S_DOWN period, to a server that says BUSY (core.md 4.1)."""
    if not isinstance(heard.link, ServerLink):
        return
    server, sense = server_of(s, heard.link), s.senses.servers.get((heard.link.master, heard.link.address))
    if server is None or sense is None:
        return
    down = server[0].s_down if server[1] is None else server[1].s_down
    if down and heard.text.startswith("BUSY") and not sense.script_kill_sent:
        sense.script_kill_sent = True
        yield KillScript(heard.link)


def _info_heard(s: Situation, heard: i.InfoHeard) -> tuple[str, ...] | None:
    sense = s.senses.servers.get((heard.link.master, heard.link.address))
    if sense is None:
        return None
    _replied(s, sense)
    s.disturbed.append(sense)
    sense.info_in_flight = False
    master = s.state.masters[sense.master]
    waiting = (master.name,) if rhythm.restless(master) else NOBODY
    reading = heard.reading
    if reading is None or reading.role is None:  # core.md Q24: an INFO without a role says nothing
        return waiting
    sense.info_at_ms = s.now_ms
    sense.info_text = heard.text
    server = server_of(s, heard.link)
    if reading.role is Role.REPLICA and server is not None and (server[1] or server[0]).role is Role.MASTER:
        sense.conf_changed_at_ms = s.now_ms  # whom it follows is news, even if it is whom it followed before
    sense.master_link_down_ms = reading.master_link_down_ms
    if reading.master_host is not None and reading.master_host.lower() != (sense.master_host or "").lower():
        sense.master_host = reading.master_host
        sense.conf_changed_at_ms = s.now_ms
    if reading.master_port is not None and reading.master_port != sense.master_port:
        sense.master_port = reading.master_port
        sense.conf_changed_at_ms = s.now_ms
    if reading.master_link_up is not None:
        sense.master_link_up = reading.master_link_up
    if reading.priority is not None:
        sense.priority = reading.priority
    if reading.repl_offset is not None:
        sense.repl_offset = reading.repl_offset
    if reading.announced is not None:
        sense.announced = reading.announced
    if reading.failover_state is not None and reading.failover_state != sense.failover_state:
        sense.failover_state = reading.failover_state
        sense.failover_state_since_ms = s.now_ms
    if sense.writers_paused and sense.paused_at_offset is None:
        sense.paused_at_offset = reading.written_offset
    return waiting


def _pause_answered(s: Situation, heard: i.PauseAnswered) -> tuple[str, ...] | None:
    """Replies come in order: every INFO that follows was written while writers were held back."""
    sense = s.senses.servers.get((heard.link.master, heard.link.address))
    if sense is None:
        return None
    s.disturbed.append(sense)
    sense.writers_paused = heard.ok
    return (sense.master,)


def _hello_accepted(s: Situation, heard: i.HelloAccepted) -> None:
    watch: Watch
    if isinstance(heard.link, PeerLink):
        peer_sense = s.senses.peers.get(heard.link.run_id)
        if peer_sense is not None:
            _replied(s, peer_sense)
        opinion = s.senses.opinions.get((heard.master, heard.link.run_id))
        if opinion is None:
            return
        opinion.hello_in_flight = False
        if heard.ok:
            opinion.said_hello_at_ms = s.now_ms
        watch = opinion
        due_ms = rhythm.hello_due_ms(s, opinion.turn, opinion.said_hello_at_ms, opinion.hello_sent_at_ms)
    else:
        sense = s.senses.servers.get((heard.link.master, heard.link.address))
        if sense is None:
            return
        _replied(s, sense)
        sense.hello_in_flight = False
        if heard.ok:
            sense.hello_at_ms = s.now_ms
        watch = sense
        due_ms = rhythm.hello_due_ms(s, sense.turn, sense.hello_at_ms, sense.hello_sent_at_ms)
    watch.calm_ms = min(watch.calm_ms, due_ms)
    if due_ms < watch.queued_ms:
        s.disturbed.append(watch)


def _pubsub_heard(s: Situation, heard: i.PubSubHeard) -> None:
    _note_life(s, heard.link)


def _note_life(s: Situation, link: ServerLink) -> None:
    sense = s.senses.servers.get((link.master, link.address))
    if sense is not None:
        sense.pubsub.heard_at_ms = s.now_ms


def _hello_heard(s: Situation, heard: i.HelloHeard) -> tuple[str, ...] | None:
    hello = heard.hello
    if heard.over is not None:
        _note_life(s, heard.over)
    opinion = s.senses.opinions.get((hello.master, hello.run_id))
    if opinion is None:
        known = hello.master in s.state.masters and hello.run_id != s.state.my_id
        return (hello.master,) if known else None
    opinion.hello_at_ms = s.now_ms
    if opinion.stale is hello:
        return None
    master = s.state.masters[hello.master]
    address = master.peers[hello.run_id].address
    same = address.port == hello.port and address.host == hello.host
    if same and hello.config_epoch <= master.config_epoch and hello.current_epoch <= s.state.current_epoch:
        opinion.stale = hello
        return None
    return (hello.master,)


def _opinion_heard(s: Situation, heard: i.OpinionHeard) -> tuple[str, ...] | None:
    """A reply counts only if it is about the master's present address (core.md Q15)."""
    peer_sense = s.senses.peers.get(heard.peer.run_id)
    if peer_sense is not None:
        _replied(s, peer_sense)
    opinion = s.senses.opinions.get((heard.master, heard.peer.run_id))
    master = s.state.masters.get(heard.master)
    if opinion is None or master is None:
        return None
    opinion.ask_in_flight = False
    s.disturbed.append(opinion)
    if heard.down is None:
        return None
    if heard.address == master.address:
        opinion.answered_at_ms = s.now_ms
        opinion.master_down = heard.down
        if heard.leader is not None:
            opinion.voted_for = heard.leader
            opinion.vote_epoch = heard.leader_epoch
    return (heard.master,)


def _name_resolved(s: Situation, heard: i.NameResolved) -> tuple[str, ...]:
    nameless = s.senses.nameless
    if heard.ip is not None:
        nameless.discard(heard.host)
    elif len(nameless) < MAX_NAMELESS and s.state.ip(heard.host) == "":
        nameless.add(heard.host)
    return NOBODY


def _nobody(s: Situation, heard: i.Input) -> tuple[str, ...]:
    return NOBODY


def _of_asked(s: Situation, heard: Any) -> tuple[str, ...]:
    return (heard.name,) if heard.name in s.state.masters else NOBODY


PERCEIVE: dict[type[i.Input], Callable[[Situation, Any], tuple[str, ...] | None]] = {
    i.LinkOpened: _link_opened,
    i.LinkLost: _link_lost,
    i.PingAnswered: _ping_answered,
    i.InfoHeard: _info_heard,
    i.PauseAnswered: _pause_answered,
    i.HelloAccepted: _hello_accepted,
    i.PubSubHeard: _pubsub_heard,
    i.HelloHeard: _hello_heard,
    i.OpinionHeard: _opinion_heard,
    i.TimePassed: _nobody,
    i.ConfigSaved: _nobody,
    i.ConfigSaveFailed: _nobody,
    i.NameResolved: _name_resolved,
    i.OpinionAsked: _nobody,
    i.MonitorAsked: _nobody,
    i.RemoveAsked: _of_asked,
    i.ResetAsked: _nobody,
    i.SetAsked: _of_asked,
    i.GlobalsSetAsked: _nobody,
    i.TimingSetAsked: _nobody,
    i.FailoverAsked: _of_asked,
    i.CrashPointsSetAsked: _nobody,
    i.FlushAsked: _nobody,
}
