"""Log lines that are no events, in the words that operators look for (config-and-events.md 3.3).

1. They tell what was heard, just before the model hears it, or what follows from a decision; they decide nothing.
2. Whatever would repeat itself (a name is asked for at every connection) is said once, until it changes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from trio_sentinel.model.events import AgreedDown, Event, FailoverAborted, MasterRemoved, VoteCast
from trio_sentinel.model.inputs import HelloHeard, LinkLost, NameResolved, OpinionHeard
from trio_sentinel.model.observations import Observations
from trio_sentinel.model.state import SentinelState
from trio_sentinel.model.values import Channel, Level, LinkId, Millis, PeerLink, Subject, is_ip
from trio_sentinel.ports import Clock
from trio_sentinel.runtime.dialing import CANNOT_BIND

MAX_NAMES: Final = 1024
"""Unresolved names that are remembered; when there are more, some are told of again."""


class Remarks:
    """`about` holds what to call for an input that is about to be fed; `hear` wants every event."""

    def __init__(
        self, state: SentinelState, senses: Observations, clock: Clock, log: Callable[[Level, str], None]
    ) -> None:
        self._state = state
        self._senses = senses
        self._clock = clock
        self._log = log
        self._unresolved: set[str] = set()
        self._delayed: dict[str, Millis] = {}  # master -> the attempt after which it has to wait
        self.about: Final[dict[type, Callable[[Any], None]]] = {
            OpinionHeard: self._vote,
            HelloHeard: self._hello,
            NameResolved: self._name,
            LinkLost: self._lost,
        }

    def hear(self, events: tuple[Event, ...]) -> None:
        """Say when a failover that is wanted must wait."""
        for event in events:
            if isinstance(event, AgreedDown | VoteCast | FailoverAborted):
                self._delay(event.subject.master)
            elif isinstance(event, MasterRemoved):
                self._delayed.pop(event.subject.master, None)

    def _delay(self, name: str) -> None:
        master = self._state.masters.get(name)
        if master is None or not master.o_down or master.failover is not None or master.attempt_at_ms is None:
            return
        wait_ms = master.attempt_at_ms + 2 * master.settings.failover_timeout_ms - self._clock.now_ms()
        if wait_ms <= 0 or self._delayed.get(name) == master.attempt_at_ms:
            return
        self._delayed[name] = master.attempt_at_ms
        until = time.ctime((self._clock.wall_ms() + wait_ms) / 1000)
        self._log(Level.NOTICE, f"Next failover delay: I will not start a failover before {until}")

    def _vote(self, heard: OpinionHeard) -> None:
        master = self._state.masters.get(heard.master)
        known = self._senses.opinions.get((heard.master, heard.peer.run_id))
        if heard.down is None or heard.leader is None or master is None or known is None:
            return
        if heard.address == master.address and heard.leader_epoch != known.vote_epoch:
            self._log(Level.NOTICE, f"{heard.peer.run_id} voted for {heard.leader} {heard.leader_epoch}")

    def _hello(self, heard: HelloHeard) -> None:
        """A sentinel that announces a name is passed over in silence otherwise, and its operator would not know why."""
        hello = heard.hello
        if not self._state.settings.resolve_hostnames and hello.master in self._state.masters:
            if not is_ip(hello.host):
                self._fail(hello.host)

    def _name(self, heard: NameResolved) -> None:
        if heard.ip is None:
            self._fail(heard.host)
        else:
            self._unresolved.discard(heard.host)

    def _lost(self, heard: LinkLost) -> None:
        """A connection that could not even be tried; a server that refuses or closes it is no news."""
        subject = self._subject(heard.link) if heard.reason.startswith(CANNOT_BIND) else None
        if subject is not None:
            channel = "-cmd-link-reconnection" if heard.channel is Channel.COMMAND else "-pubsub-link-reconnection"
            self._log(Level.DEBUG, f"{channel} {subject} #{heard.reason}")

    def _subject(self, link: LinkId) -> Subject | None:
        """Who is at the other end; of a peer that several masters share, as the first of them knows it."""
        state = self._state
        if isinstance(link, PeerLink):
            knowing = next((master for master in state.masters.values() if link.run_id in master.peers), None)
            if knowing is None:
                return None
            return state.subject_of_peer(knowing, link.run_id, knowing.peers[link.run_id].address)
        master = state.masters.get(link.master)
        if master is None:
            return None
        if link.address == master.address:
            return state.subject_of_master(master)
        return state.subject_of_replica(master, link.address)

    def _fail(self, host: str) -> None:
        if host in self._unresolved:
            return
        if len(self._unresolved) >= MAX_NAMES:
            self._unresolved.clear()
        self._unresolved.add(host)
        self._log(Level.WARNING, f"Failed to resolve hostname '{host}'")
