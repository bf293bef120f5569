"""One simulated sentinel process: an engine, its file, its clocks, its connections, and the points where it may die."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
from msgspec import structs

from trio_sentinel.model import effects as fx
from trio_sentinel.model import inputs as i
from trio_sentinel.model.engine import NOTHING, Engine, Outcome
from trio_sentinel.model.snapshot import Snapshot
from trio_sentinel.model.values import Address, Channel, LinkId, PeerLink, RunId, ServerLink
from trio_sentinel.sim.checks_of_orders import Following, note_following
from trio_sentinel.sim.crash_points import Trap
from trio_sentinel.sim.names import DEADLINE_MS
from trio_sentinel.sim.network import Fate, Wire
from trio_sentinel.sim.roles import Judge, Mind
from trio_sentinel.sim.saver import LATE_SHARE, Saver
from trio_sentinel.sim.world import WorldDice

if TYPE_CHECKING:
    from trio_sentinel.sim.cluster import Cluster

FIRST_NAMES_MS = 2000
"""How long a start waits for names."""
NOTED = frozenset({i.PingAnswered, i.OpinionHeard, i.InfoHeard})
"""What the checkers want to know of what was heard."""


def _ponged(ping: fx.SendPing) -> i.PingAnswered:
    return i.PingAnswered(ping.link, "PONG")


def _taken(said: fx.SayHello) -> tuple[i.HelloHeard, i.HelloAccepted]:
    return i.HelloHeard(said.hello), i.HelloAccepted(said.link, said.hello.master, True)


class SimSentinel:
    """One sentinel process: an engine, its disk, its connections."""

    _file: Snapshot
    _kept: Snapshot

    def __init__(self, cluster: Cluster, name: str, address: Address, snapshot: Snapshot) -> None:
        self.cluster = cluster
        self.world = cluster.world
        self.network = cluster.network
        self.name = name
        self.kind = "ours"
        self.address = address
        self.disk = snapshot
        self.own_id = snapshot.my_id
        """Its identity when no operator has copied another one's file."""
        self.disk_fails = False
        self.save_ms = (1, 4)
        self.up = False
        self.host_up = True
        self.frozen = False
        self.life = 0
        self.wall_offset_ms = 0
        self.clock_ppm = 0
        """How much faster than the world its clocks run, in parts per million."""
        self.trap: Trap | None = None
        self.wires: dict[int, Wire] = {}
        """Connections that others made to us."""
        self.links: dict[tuple[LinkId, Channel], Wire] = {}
        """Connections of our own ..."""
        self.commands: dict[LinkId, Wire] = {}
        """... and those over which orders go."""
        self.answers: dict[int, Callable[[Any], None]] = {}
        self.requests = 0
        self.stalled: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self.engine: Mind
        self.deeds = EFFECTS
        self.checker: Judge = cluster.checker
        self.beat_at_ms = 0
        self.pongs: dict[LinkId, int] = {}
        """When (on its own clock) an acceptable PONG was last heard, by link; for the checkers."""
        self.voices: dict[tuple[str, Address], dict[RunId, int]] = {}
        """When a peer last said that a master is down, for the checkers too."""
        self.said: dict[LinkId, Following] = {}
        """Whom each server says it follows, for the checkers too."""
        self.hearing: i.Input | None = None
        """What the present turn began with, for the checkers."""
        self._asked: set[str] = set()
        """Names that are being resolved."""
        self._started_at_ms = 0
        self._saver = Saver(self)

    # ------------------------------------------------------------ clocks

    def clock_ms(self) -> int:
        """Its monotonic clock: starts anywhere with each life, and drifts."""
        if not self.clock_ppm:
            return self.world.now_ms
        past_ms = self.world.now_ms - self._started_at_ms
        return self.world.now_ms + past_ms * self.clock_ppm // 1_000_000

    def _world_ms(self, clock_ms: int) -> int:
        left_ms = clock_ms - self.clock_ms()
        if self.clock_ppm:
            left_ms = left_ms * 1_000_000 // (1_000_000 + self.clock_ppm) + 1
        return self.world.now_ms + max(left_ms, 1)

    # ------------------------------------------------------------ life

    def start(self) -> None:
        """Begin from what is in the file, if that comes to the disk."""
        if not self.settle():
            self.cluster.restart_later(self)
            return
        self.up, self.host_up, self.frozen = True, True, False
        self.life += 1
        self.links, self.commands, self.answers, self.stalled, self.pongs, self.voices = {}, {}, {}, [], {}, {}
        self.said = {}
        self._saver = Saver(self)
        self._started_at_ms = self.world.now_ms
        self._asked, self.hearing = set(), None
        self.engine = self._new_mind()
        self.checker.started(self)
        self._carry_out(self._begin())
        self._plan_beat()

    def _begin(self) -> Outcome:
        """The first turn."""
        own_port = self.address.port
        if self.network.names.addresses and isinstance(self.engine, Engine):
            return self.engine.start(self.disk, self.clock_ms(), own_port=own_port, names=self.first_names())
        return self.engine.start(self.disk, self.clock_ms(), own_port=own_port)

    def first_names(self) -> dict[str, str]:
        """What a start resolves before it begins: the names in its file for which an answer comes soon."""
        names = self.network.names
        hosts = {address.host for line in self.disk.masters for address in (line.address, *line.replicas)}
        asked = sorted(hosts & names.addresses.keys())
        soon = [host for host in asked if names.length_ms(self.world.random) < FIRST_NAMES_MS]
        return {host: ip for host in soon if (ip := names.answer(host)) is not None}

    def leave_astray(self, host: str, place: str) -> None:
        """`host` is not at `place` any more: what was connected there for it is reset."""
        for wire in list(self.links.values()):
            if isinstance(wire.link, ServerLink) and wire.link.address.host == host and wire.there == place:
                self.network.reset(wire)

    def _new_mind(self) -> Mind:
        return Engine(WorldDice(self.world.random), self.clock_ms(), pings_a_second=self.cluster.pings_a_second)

    def crash(self, *, with_host: bool = False) -> None:
        """Everything that is not on disk is gone."""
        if not self.up:
            return
        self.checker.ended(self)
        self.up, self.frozen, self.trap = False, False, None
        self.host_up = not with_host
        self.life += 1
        self.network.die(self, quietly=with_host)
        for wire in self.links.values():
            self.network.close(wire, with_host=with_host)
        self.links, self.commands, self.answers, self.stalled = {}, {}, {}, []
        self._leave_file(with_host=with_host)

    def freeze(self, length_ms: int | None) -> None:
        """SIGSTOP, and SIGCONT after `length_ms` if given."""
        if not self.up or self.frozen:
            return
        self.frozen = True
        if length_ms is not None:
            self.world.after(length_ms, self.thaw, self.life)

    def thaw(self, life: int | None = None) -> None:
        """SIGCONT: what waited comes at once, before or after the timers."""
        if not self.up or not self.frozen or life not in (None, self.life):
            return
        self.frozen = False
        waiting, self.stalled = self.stalled, []
        if self.world.random.random() < 0.5:
            self._beat(self.life, self.beat_at_ms)
        for action, arguments in waiting:
            action(*arguments)  # each of them asks whether we are still up
        if self.up:
            self.network.awake(self)
            self._beat(self.life, self.beat_at_ms)

    def dies_at(self, point: str) -> bool:
        """Come to a point where the process may die; whether it did."""
        trap = self.trap
        if trap is None or trap.point != point:
            return False
        trap.left -= 1
        if trap.left > 0:
            return False
        self.cluster.seen[f"{'power failure' if trap.with_host else 'crash'} {point}"] += 1
        self.crash(with_host=trap.with_host)
        self.cluster.restart_later(self)
        return True

    # ------------------------------------------------------------ inputs

    def feed(self, heard: i.Input) -> None:
        """One input, now."""
        if not self.up:
            return
        if self.frozen:
            self.stalled.append((self.feed, (heard,)))
            return
        self.think(heard)

    def think(self, heard: i.Input) -> None:
        """What one input leads to, in a process that runs."""
        now_ms = self.clock_ms() if self.clock_ppm else self.world.now_ms
        if type(heard) in NOTED:
            self.note_heard(heard, now_ms)
        life, self.hearing = self.life, heard
        outcome = self.engine.feed(heard, now_ms)
        if outcome is NOTHING:
            return
        self._carry_out(outcome)
        if life == self.life and self._world_ms(self.engine.next_due_ms()) < self.beat_at_ms:
            self._plan_beat()

    def note_heard(self, heard: i.Input, now_ms: int) -> None:
        """Remember, for the checkers, what was heard and when (on its own clock)."""
        if type(heard) is i.PingAnswered:
            if heard.text.startswith(("PONG", "LOADING", "MASTERDOWN")):
                self.pongs[heard.link] = now_ms
        elif type(heard) is i.OpinionHeard and heard.down is not None:
            voices = self.voices.setdefault((heard.master, heard.address), {})
            if heard.down:
                voices[heard.peer.run_id] = now_ms
            else:
                voices.pop(heard.peer.run_id, None)
        elif type(heard) is i.InfoHeard and heard.reading is not None:
            note_following(self.said, heard.link, heard.reading, now_ms)

    def ask(self, make: Callable[[int], i.Request], on_answer: Callable[[Any], None] = lambda answer: None) -> None:
        """A request of a client."""
        self.requests += 1
        self.answers[self.requests] = on_answer
        self.feed(make(self.requests))

    def cut_off_ms(self, master: str, address: Address) -> int:
        """For how long a replica has been without its master, as its last INFO told."""
        return self.engine.senses.servers[master, address].master_link_down_ms

    def _plan_beat(self) -> None:
        self.beat_at_ms = max(self._world_ms(self.engine.next_due_ms()), self.world.now_ms + 1)
        self.world.at(self.beat_at_ms, self._beat, self.life, self.beat_at_ms)

    def _beat(self, life: int, due_ms: int) -> None:
        if life != self.life or due_ms != self.beat_at_ms or not self.up or self.frozen:
            return
        self.beat_at_ms = self.world.now_ms  # nothing is planned while feeding
        self.feed(i.TimePassed(self.clock_ms() + self.wall_offset_ms))
        if life == self.life and self.beat_at_ms <= self.world.now_ms:
            self._plan_beat()

    # ------------------------------------------------------------ what the network says

    def opened(self, wire: Wire) -> None:
        """A connection of ours is established."""
        self._unless_gone(wire, i.LinkOpened(wire.link, wire.channel, self.address.host))

    def lost(self, wire: Wire, reason: str) -> None:
        """A connection of ours failed or was reset."""
        if self.links.get((wire.link, wire.channel)) is wire:
            self._drop(wire.link, wire.channel)
            self.feed(i.LinkLost(wire.link, wire.channel, reason))

    def _unless_gone(self, wire: Wire, heard: i.Input) -> None:
        if self.links.get((wire.link, wire.channel)) is wire:
            self.feed(heard)

    def hear(self, wire: Wire, item: Any) -> None:
        """Something came back over a connection of ours."""
        if self.frozen:
            self.stalled.append((self.hear, (wire, item)))
        elif not wire.closed:
            self.think(item)

    def take(self, wire: Wire, item: Any) -> Fate:
        """Another sentinel says something; replies keep their order even when one of them must wait for the disk."""
        slot: list[Any] = []
        wire.slots.append(slot)
        kind = type(item)
        if kind is fx.SendPing:
            slot.append(wire.once(item, _ponged))
        elif kind is fx.SayHello:
            heard, accepted = wire.once(item, _taken)
            self.feed(heard)
            slot.append(accepted)
        elif kind is fx.AskPeer:
            self._take_question(wire, slot, item)
        self._flush(wire)
        return Fate.DONE

    def _take_question(self, wire: Wire, slot: list[Any], item: fx.AskPeer) -> None:
        life = self.life
        in_tilt = self.engine.state.tilt_since_ms is not None

        def answered(answer: fx.AnswerOpinion) -> None:
            assert isinstance(wire.link, PeerLink)
            self.checker.opinion_sent(self, item, answer, in_tilt=in_tilt)
            slot.append(
                i.OpinionHeard(
                    wire.link, item.master, item.address, item.epoch, answer.down, answer.leader, answer.leader_epoch
                )
            )
            if life == self.life and self.up:
                self._flush(wire)

        host, port = item.address.host, item.address.port
        self.ask(lambda n: i.OpinionAsked(n, host, port, item.epoch, item.candidate), answered)

    def _flush(self, wire: Wire) -> None:
        while wire.slots and wire.slots[0]:
            self.network.send(wire, wire.slots.popleft()[0], back=True)

    # ------------------------------------------------------------ effects

    def _carry_out(self, outcome: Outcome) -> None:
        life = self.life
        if outcome.events:
            self.cluster.hear_events(self, outcome.events)
            if self.trap is not None:
                for event in outcome.events:
                    if self.dies_at(f"after the event {type(event).__name__}"):
                        return
        for effect in outcome.effects:
            kind = type(effect)
            if self.trap is not None and self.dies_at(f"before {kind.__name__}"):
                return
            self.checker.effect(self, effect)
            self.deeds[kind](self, effect)
            if life != self.life:
                return
            if self.trap is not None and self.dies_at(f"after {kind.__name__}"):
                return

    def _open(self, effect: fx.OpenLink) -> None:
        key = effect.link, effect.channel
        old = self.links.get(key)
        if old is not None:
            self.network.close(old)
        wire = self.links[key] = self.network.dial(self, effect.link, effect.channel, self._place(effect.address))
        if effect.channel is Channel.COMMAND:
            self.commands[effect.link] = wire

    def _place(self, address: Address) -> Address:
        """Where a connection goes: to what a name was last resolved to, as in the daemon, which asks meanwhile."""
        names = self.network.names
        if address.host not in names.addresses:
            return address
        return Address(names.place(self.engine.state.ip(address.host)), address.port)

    def _resolve_name(self, effect: fx.ResolveName) -> None:
        """Ask for a name, once at a time."""
        host = effect.host
        if host not in self._asked:
            self._asked.add(host)
            length_ms = self.network.names.length_ms(self.world.random)
            self.world.after(length_ms, self._resolved, self.life, host, length_ms < DEADLINE_MS)

    def _resolved(self, life: int, host: str, in_time: bool) -> None:
        if life != self.life:
            return
        if self.frozen:
            self.stalled.append((self._resolved, (life, host, in_time)))
            return
        self._asked.remove(host)
        self.feed(i.NameResolved(host, self.network.names.answer(host) if in_time else None))

    def _close(self, effect: fx.CloseLink) -> None:
        for channel in Channel:
            if effect.channel in (None, channel):
                wire = self._drop(effect.link, channel)
                if wire is not None:
                    self.network.close(wire)

    def _drop(self, link: LinkId, channel: Channel) -> Wire | None:
        if channel is Channel.COMMAND:
            self.commands.pop(link, None)
        return self.links.pop((link, channel), None)

    def _say(self, link: LinkId, item: Any) -> None:
        wire = self.commands.get(link)
        if wire is not None and wire.open:
            self.network.send(wire, item)

    def _send(self, effect: Any) -> None:
        self._say(effect.link, effect)

    def _ask_peer(self, effect: fx.AskPeer) -> None:
        self._say(effect.peer, effect)

    def _hello(self, effect: fx.SayHello) -> None:
        wire = self.commands.get(effect.link)
        if wire is not None and wire.open:
            self.network.send(wire, effect if effect.hello.host else wire.once(effect, self._with_host))

    def _with_host(self, effect: fx.SayHello) -> fx.SayHello:
        return structs.replace(effect, hello=attrs.evolve(effect.hello, host=self.address.host))

    def _send_and_poll(self, effect: fx.Promote | fx.Repoint | fx.PauseWriters) -> None:
        self._say(effect.link, effect)
        self._say(effect.link, fx.PollInfo(effect.link))

    def _answer(self, effect: fx.Answer | fx.AnswerOpinion) -> None:
        on_answer = self.answers.pop(effect.request, None)
        if on_answer is not None:
            on_answer(effect)

    def _nothing(self, effect: fx.Effect) -> None:
        """Told to nobody here."""

    def _exit(self, effect: fx.Crash) -> None:
        self.cluster.seen["SIMULATE-FAILURE"] += 1
        self.crash()
        self.cluster.restart_later(self)

    # ------------------------------------------------------------ the disk

    @property
    def disk(self) -> Snapshot:
        """What the file says to whoever reads it now."""
        return self._file

    @disk.setter
    def disk(self, snapshot: Snapshot) -> None:
        """The file is written, and on the disk."""
        self._file = self._kept = snapshot

    @property
    def kept(self) -> Snapshot:
        """What the file says after the worst power failure."""
        return self._kept

    def write_unsynced(self, snapshot: Snapshot) -> None:
        """The file is written, and a power failure may take it back."""
        self._file = snapshot

    def settle(self) -> bool:
        """What a start does with the file before it says anything from it; False when the disk refuses."""
        if self._kept is not self._file and self.disk_fails and self.world.random.random() < LATE_SHARE:
            self.cluster.seen["a start is refused by the disk"] += 1
            return False
        self._kept = self._file
        return True

    def _save(self, effect: fx.SaveConfig) -> None:
        self._saver.save(effect)

    def _leave_file(self, *, with_host: bool) -> None:
        """A process ends, perhaps in the middle of a save: before the rename or after it. A power failure loses a
        rename that is not synced, or does not."""
        dice = self.world.random
        if self._saver.writing is not None and dice.random() < 0.5:
            self.write_unsynced(self._saver.writing)
        self._saver.writing = None
        if with_host and self._file is not self._kept:
            self.lose_power(keep=dice.random() < 0.5)

    def lose_power(self, *, keep: bool) -> None:
        """What is not on the disk for certain is there, or is not."""
        if keep:
            self._kept = self._file
        else:
            self.cluster.seen["a power failure takes a file back"] += 1
            self._file = self._kept


EFFECTS: dict[type[fx.Effect], Callable[[SimSentinel, Any], None]] = {
    fx.OpenLink: SimSentinel._open,
    fx.CloseLink: SimSentinel._close,
    fx.SendPing: SimSentinel._send,
    fx.PollInfo: SimSentinel._send,
    fx.KillScript: SimSentinel._send,
    fx.ResolveName: SimSentinel._resolve_name,
    fx.SaveConfig: SimSentinel._save,
    fx.SayHello: SimSentinel._hello,
    fx.AskPeer: SimSentinel._ask_peer,
    fx.Promote: SimSentinel._send_and_poll,
    fx.Repoint: SimSentinel._send_and_poll,
    fx.PauseWriters: SimSentinel._send_and_poll,
    fx.ReleaseWriters: SimSentinel._send,
    fx.HandOver: SimSentinel._send,
    fx.KillClients: SimSentinel._send,
    fx.Announce: SimSentinel._nothing,
    fx.RunReconfigScript: SimSentinel._nothing,
    fx.Answer: SimSentinel._answer,
    fx.AnswerOpinion: SimSentinel._answer,
    fx.Crash: SimSentinel._exit,
}
