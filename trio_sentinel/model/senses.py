"""Perception: input -> observation, overwritten in place; and observations kept in step with the state.

Each function answers which masters the perception may matter to; an empty answer ends the work for that input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from trio_sentinel.model import inputs as i
from trio_sentinel.model import rhythm
from trio_sentinel.model.effects import CloseLink, Effect, KillScript
from trio_sentinel.model.observations import LinkSense, Opinion, PeerSense, ServerSense
from trio_sentinel.model.situation import Situation
from trio_sentinel.model.state import Master, Replica
from trio_sentinel.model.values import Address, Channel, LinkId, Millis, PeerLink, Role, RunId, ServerLink

GOOD_PONGS = ("PONG", "LOADING", "MASTERDOWN")
"""Beginnings of an acceptable reply to PING, status or error (core.md 4.1)."""

MAX_NAMELESS = 10_000
"""Names without an address remembered: they come from others."""

# ---------------------------------------------------------------- in step with the state


def _server_sense(address: Address, now_ms: Millis) -> ServerSense:
    return ServerSense(
        made_at_ms=now_ms,
        last_ok_at_ms=now_ms,
        last_pong_at_ms=now_ms,
        ping_since_ms=now_ms,
        address=address,
        conf_changed_at_ms=now_ms,
        failover_state_since_ms=now_ms,
    )


def _peer_sense(run_id: RunId, address: Address, now_ms: Millis) -> PeerSense:
    return PeerSense(
        made_at_ms=now_ms,
        last_ok_at_ms=now_ms,
        last_pong_at_ms=now_ms,
        ping_since_ms=now_ms,
        run_id=run_id,
        address=address,
    )


def watch_server(s: Situation, name: str, address: Address) -> None:
    """Make the observations for one more server of a master. An INFO may name thousands of them."""
    s.senses.servers.setdefault((name, address), _server_sense(address, s.now_ms))


def keep_in_step(s: Situation, names: Iterable[str]) -> Iterator[Effect]:
    """Make observations for what is new in the state and drop those of what is gone, closing their links."""
    servers, opinions, peers = s.senses.servers, s.senses.opinions, s.senses.peers
    for name in names:
        master = s.state.masters.get(name)
        wanted = () if master is None else dict.fromkeys((master.address, *master.replicas))
        for address in wanted:
            if (name, address) not in servers:
                servers[name, address] = _server_sense(address, s.now_ms)
        for key in [key for key in servers if key[0] == name and key[1] not in wanted]:
            del servers[key]
            yield CloseLink(ServerLink(*key), None, "no longer watched")
        known = {} if master is None else master.peers
        for run_id, peer in known.items():
            if run_id not in peers:
                peers[run_id] = _peer_sense(run_id, peer.address, s.now_ms)
            if (name, run_id) not in opinions:
                opinions[name, run_id] = Opinion(answered_at_ms=s.now_ms, hello_at_ms=s.now_ms)
            yield from _follow_move(s, peers[run_id], peer.address)
        for opinion_key in [key for key in opinions if key[0] == name and key[1] not in known]:
            del opinions[opinion_key]
    for run_id in [run_id for run_id in peers if not any(run_id in m.peers for m in s.state.masters.values())]:
        del peers[run_id]
        yield CloseLink(PeerLink(run_id), None, "no longer known")


def _follow_move(s: Situation, sense: PeerSense, address: Address) -> Iterator[Effect]:
    if sense.address != address:
        sense.address = address
        sense.last_ok_at_ms = sense.last_pong_at_ms = sense.ping_since_ms = s.now_ms  # silence was heard elsewhere
        yield from hang_up(s, sense, PeerLink(sense.run_id), "moved to another address")


def hang_up(s: Situation, sense: LinkSense, link: LinkId, reason: str) -> Iterator[Effect]:
    """Close all connections of a link; they are dialled again at once."""
    rhythm.lose_channel(sense, Channel.COMMAND, s.now_ms)
    sense.command.wanted_at_ms = None
    if isinstance(sense, ServerSense):
        rhythm.lose_channel(sense, Channel.PUBSUB, s.now_ms)
        sense.pubsub.wanted_at_ms = None
    else:
        _forget_questions(s, link)
    yield CloseLink(link, None, reason)


def hang_up_servers(s: Situation, name: str, reason: str) -> Iterator[Effect]:
    """Close the links to a master and its replicas."""
    for key, sense in s.senses.servers.items():
        if key[0] == name:
            yield from hang_up(s, sense, ServerLink(*key), reason)


def hang_up_peers(s: Situation, reason: str) -> Iterator[Effect]:
    """Close the links to all other sentinels."""
    for run_id, sense in s.senses.peers.items():
        yield from hang_up(s, sense, PeerLink(run_id), reason)


def restart_clocks(s: Situation, name: str) -> None:
    """After a switch or a reset nothing that was heard about the old order counts for the new one (core.md 12, Q7,
    Q15). Connections stay: they lead to the same servers."""
    for key, sense in s.senses.servers.items():
        if key[0] == name:
            sense.last_ok_at_ms = sense.last_pong_at_ms = s.now_ms
            if sense.ping_since_ms is not None:
                sense.ping_since_ms = s.now_ms
            sense.info_at_ms = sense.info_sent_at_ms = None
            sense.info_in_flight = False
            sense.conf_changed_at_ms = s.now_ms
            sense.failover_state_since_ms = s.now_ms
            sense.script_kill_sent = False
            sense.hello_at_ms = sense.hello_sent_at_ms = None
            sense.hello_in_flight = False
    for opinion_key, opinion in s.senses.opinions.items():
        if opinion_key[0] == name:
            opinion.master_down = opinion.nudged = False
            opinion.asked_about = None


def hurry_hellos(s: Situation, name: str) -> None:
    """Make the next hello about a master due at once everywhere (core.md 6.3)."""
    for key, sense in s.senses.servers.items():
        if key[0] == name:
            sense.hello_at_ms = sense.hello_sent_at_ms = None
            sense.hello_in_flight = False
    for opinion_key, opinion in s.senses.opinions.items():
        if opinion_key[0] == name:
            opinion.said_hello_at_ms = opinion.hello_sent_at_ms = None
            opinion.hello_in_flight = False


# ---------------------------------------------------------------- who is meant


def sense_of(s: Situation, link: LinkId) -> LinkSense | None:
    """The observations of a link; None when it was given up meanwhile."""
    if isinstance(link, PeerLink):
        return s.senses.peers.get(link.run_id)
    return s.senses.servers.get((link.master, link.address))


def masters_of(s: Situation, link: LinkId) -> tuple[str, ...]:
    """The masters that a link serves."""
    if isinstance(link, PeerLink):
        return tuple(name for name, master in s.state.masters.items() if link.run_id in master.peers)
    return (link.master,)


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

# ---------------------------------------------------------------- perceptions


def _link_opened(s: Situation, heard: i.LinkOpened) -> tuple[str, ...]:
    sense = sense_of(s, heard.link)
    if sense is None:
        return NOBODY
    sense.changes += 1
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
            _forget_questions(s, heard.link)  # what was asked over the connection before is not answered over this one
        sense.local_host = heard.local_host
        sense.last_ping_at_ms = None
        sense.last_pong_at_ms = min(sense.last_pong_at_ms, s.now_ms - s.state.timing.ping_period_ms)
    end.opening, end.open, end.opened_at_ms = False, True, s.now_ms
    return masters_of(s, heard.link)


def _link_lost(s: Situation, heard: i.LinkLost) -> tuple[str, ...]:
    """A failed attempt changes nothing that a rule looks at; the engine plans the next one."""
    sense = sense_of(s, heard.link)
    if sense is None:
        return NOBODY
    was_open = rhythm.is_open(sense, heard.channel)
    rhythm.lose_channel(sense, heard.channel, s.now_ms)
    if not was_open:
        return NOBODY
    if isinstance(heard.link, PeerLink):
        _forget_questions(s, heard.link)
    return masters_of(s, heard.link)


def _forget_questions(s: Situation, link: LinkId) -> None:
    assert isinstance(link, PeerLink)
    for (_, run_id), opinion in s.senses.opinions.items():
        if run_id == link.run_id:
            opinion.ask_in_flight = opinion.hello_in_flight = False
            opinion.asked_about = None


def _ping_answered(s: Situation, heard: i.PingAnswered) -> tuple[str, ...]:
    sense = sense_of(s, heard.link)
    if sense is None:
        return NOBODY
    sense.changes += 1
    sense.pending = max(0, sense.pending - 1)
    sense.last_pong_at_ms = s.now_ms
    if heard.text.startswith(GOOD_PONGS):
        sense.last_ok_at_ms = s.now_ms
        sense.ping_since_ms = None
    return tuple(name for name in masters_of(s, heard.link) if _pong_matters(s.state.masters[name], heard))


def _pong_matters(master: Master, heard: i.PingAnswered) -> bool:
    if isinstance(heard.link, PeerLink):
        return master.peers[heard.link.run_id].s_down
    if heard.link.address == master.address:
        return master.s_down or master.rebooting_since_ms is not None
    replica = master.replicas.get(heard.link.address)
    return replica is not None and replica.s_down


def script_to_kill(s: Situation, heard: i.PingAnswered) -> Iterator[Effect]:
    """SCRIPT KILL, once in each S_DOWN period, to a server that says BUSY (core.md 4.1)."""
    if not isinstance(heard.link, ServerLink):
        return
    server, sense = server_of(s, heard.link), s.senses.servers.get((heard.link.master, heard.link.address))
    if server is None or sense is None:
        return
    down = server[0].s_down if server[1] is None else server[1].s_down
    if not down:
        sense.script_kill_sent = False
    elif heard.text.startswith("BUSY") and not sense.script_kill_sent:
        sense.script_kill_sent = True
        yield KillScript(heard.link)


def _info_heard(s: Situation, heard: i.InfoHeard) -> tuple[str, ...]:
    sense = s.senses.servers.get((heard.link.master, heard.link.address))
    if sense is None:
        return NOBODY
    sense.changes += 1
    sense.pending = max(0, sense.pending - 1)
    sense.info_in_flight = False
    reading = heard.reading
    if reading is None or reading.role is None:  # core.md Q24: an INFO without a role says nothing
        return masters_of(s, heard.link)
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
    return masters_of(s, heard.link)


def _pause_answered(s: Situation, heard: i.PauseAnswered) -> tuple[str, ...]:
    """Replies come in order: every INFO that follows was written while writers were held back."""
    sense = s.senses.servers.get((heard.link.master, heard.link.address))
    if sense is None:
        return NOBODY
    sense.changes += 1
    sense.writers_paused = heard.ok
    return masters_of(s, heard.link)


def _hello_accepted(s: Situation, heard: i.HelloAccepted) -> tuple[str, ...]:
    if isinstance(heard.link, PeerLink):
        opinion = s.senses.opinions.get((heard.master, heard.link.run_id))
        peer_sense = s.senses.peers.get(heard.link.run_id)
        if peer_sense is not None:
            peer_sense.changes += 1
            peer_sense.pending = max(0, peer_sense.pending - 1)
        if opinion is not None:
            opinion.hello_in_flight = False
            if heard.ok:
                opinion.said_hello_at_ms = s.now_ms
        return NOBODY
    sense = s.senses.servers.get((heard.link.master, heard.link.address))
    if sense is not None:
        sense.changes += 1
        sense.pending = max(0, sense.pending - 1)
        sense.hello_in_flight = False
        if heard.ok:
            sense.hello_at_ms = s.now_ms
    return NOBODY


def _pubsub_heard(s: Situation, heard: i.PubSubHeard) -> tuple[str, ...]:
    sense = s.senses.servers.get((heard.link.master, heard.link.address))
    if sense is not None:
        sense.pubsub.heard_at_ms = s.now_ms
    return NOBODY


def _hello_heard(s: Situation, heard: i.HelloHeard) -> tuple[str, ...]:
    hello = heard.hello
    master = s.state.masters.get(hello.master)
    if master is None or hello.run_id == s.state.my_id:
        return NOBODY
    peer = master.peers.get(hello.run_id)
    if peer is None:
        return (hello.master,)
    s.opinion(master, hello.run_id).hello_at_ms = s.now_ms
    same = peer.address.port == hello.port and peer.address.host == hello.host
    if same and hello.config_epoch <= master.config_epoch and hello.current_epoch <= s.state.current_epoch:
        return NOBODY
    return (hello.master,)


def _opinion_heard(s: Situation, heard: i.OpinionHeard) -> tuple[str, ...]:
    """A reply counts only if it is about the master's present address (core.md Q15)."""
    peer_sense = s.senses.peers.get(heard.peer.run_id)
    if peer_sense is not None:
        peer_sense.changes += 1
        peer_sense.pending = max(0, peer_sense.pending - 1)
    opinion = s.senses.opinions.get((heard.master, heard.peer.run_id))
    master = s.state.masters.get(heard.master)
    if opinion is None or master is None:
        return NOBODY
    opinion.ask_in_flight = False
    if heard.down is None:
        return NOBODY
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


PERCEIVE: dict[type[i.Input], Callable[[Situation, Any], tuple[str, ...]]] = {
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
