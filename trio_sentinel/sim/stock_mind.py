"""The mind of a stock sentinel as core.md describes it: jittered ticks, one step of a failover in each, and defects.

It stands where our engine stands (``feed(input, now_ms) -> Outcome``), speaks the same vocabularies and shares no rule
with it. Numbers in brackets are sections of core.md. Three things are told differently there and here:

1. All ages are wall-clock (Q21), so ``now_ms`` is moved by the step that the last tick saw.
2. A write of the file happens at once, in the middle of a turn, as stock's does: ``write`` is asked and says whether it
   succeeded. How long it takes is a stall afterwards, which the process makes.
3. DNS, scripts and authentication do not exist.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs

from trio_sentinel.model import effects as fx
from trio_sentinel.model import events as e
from trio_sentinel.model import inputs as i
from trio_sentinel.model.engine import Outcome
from trio_sentinel.model.observations import Observations
from trio_sentinel.model.refusals import Refusal
from trio_sentinel.model.replay import NOT_YET, restored, snapshot_of
from trio_sentinel.model.settings import MasterSettings, Timing
from trio_sentinel.model.situation import Dice
from trio_sentinel.model.snapshot import MasterSnapshot, Snapshot
from trio_sentinel.model.state import Manner, Master, SentinelState
from trio_sentinel.model.values import Address, Epoch, Millis, PeerLink, RunId, ServerLink, Subject
from trio_sentinel.sim import stock_failover as failover
from trio_sentinel.sim import stock_links as links
from trio_sentinel.sim import stock_senses as senses
from trio_sentinel.sim import stock_watch as watch
from trio_sentinel.sim.stock_state import (
    Defects,
    Flavour,
    Probe,
    StockMaster,
    StockPeer,
    StockReplica,
    new_probe,
    new_sight,
)

HZ: Final = 10
HZ_SPREAD: Final = 10
SINCE_1970_MS: Final = 1_750_000_000_000
"""Wall clocks count from 1970, so that a step back never leads to before the beginning, where 0 means "never"."""

Write = Callable[[Snapshot], bool]


class _Exit(Exception):
    """SIMULATE-FAILURE ends the process in the middle of a turn."""


class StockMind:
    """One stock sentinel's mind."""

    def __init__(
        self,
        dice: Dice,
        now_ms: Millis,
        write: Write,
        flavour: Flavour = Flavour.REDIS_7,
        defects: Defects | None = None,
        *,
        wall_offset_ms: int = 0,
    ) -> None:
        self.state = SentinelState(my_id=NOT_YET)
        self.senses = Observations()
        """Always empty: what stock perceives is kept beside its memory. Here so that both minds look alike."""
        self.flavour = flavour
        self.defects = Defects() if defects is None else defects
        self.dice = dice
        self.now_ms = now_ms
        self.peer_probes: dict[RunId, Probe] = {}
        """Links to other sentinels, shared by the records of all masters [2.5]."""
        self.poisoned: set[tuple[str, Epoch]] = set()
        """Where Q5 happened: (master, epoch)."""
        self.clock_fell = False
        """Whether the wall clock was set back in this life: what was done "later" is repeated only when that time comes
        again, so that lost connections stay lost for as long (Q21)."""
        self._write = write
        self._events: list[e.Event] = []
        self._effects: list[fx.Effect] = []
        self._due_ms = now_ms
        self._wall_offset_ms = wall_offset_ms
        self._ticked_wall_ms: Millis | None = None

    # ------------------------------------------------------------ the way in

    def start(self, snapshot: Snapshot, now_ms: Millis, *, own_port: int = 0) -> Outcome:
        """Begin from the file. Voted ids, failovers and flags are not in it [9, 15]."""
        assert snapshot.my_id is not None
        self.now_ms = SINCE_1970_MS + now_ms + self._wall_offset_ms
        opening = restored(snapshot, snapshot.my_id, own_port, Timing())
        state = self.state
        state.my_id, state.own_port = opening.my_id, own_port
        state.current_epoch, state.settings = opening.current_epoch, opening.settings
        self.emit(opening)
        for line in snapshot.masters:
            self.monitor(line)
        self._plan_tick(now_ms)
        return self._outcome()

    def feed(self, heard: i.Input, now_ms: Millis) -> Outcome:
        """Take one input in."""
        if type(heard) is i.TimePassed:
            self._wall_offset_ms = heard.wall_ms - now_ms
        self.now_ms = SINCE_1970_MS + now_ms + self._wall_offset_ms
        try:
            HANDLERS[type(heard)](self, heard)
        except _Exit:
            self._effects.append(fx.Crash())
        if type(heard) is i.TimePassed:
            self._plan_tick(now_ms)
        return self._outcome()

    def _plan_tick(self, now_ms: Millis) -> None:
        """[3] The period is drawn again after every tick."""
        self._due_ms = now_ms + 1000 // (HZ + self.dice.below(HZ_SPREAD))

    def next_due_ms(self) -> Millis:
        """When the next tick is."""
        return self._due_ms

    def snapshot(self) -> Snapshot:
        """What the file would say now."""
        return snapshot_of(self.state)

    def _outcome(self) -> Outcome:
        outcome = Outcome(tuple(self._events), tuple(self._effects))
        self._events, self._effects = [], []
        return outcome

    # ------------------------------------------------------------ for the rules

    def emit(self, event: e.Event) -> None:
        """Something was decided; stock has acted on it already."""
        self._events.append(event)

    def do(self, effect: fx.Effect) -> None:
        """Something is to be done, when the turn is over."""
        self._effects.append(effect)

    def flush(self) -> bool:
        """[15] Write the file; whether it is on disk, which stock only logs (Q3)."""
        return self._write(self.snapshot())

    def crash_now(self) -> None:
        """[13.2] Exit with status 99: what this turn has not sent yet is never sent."""
        raise _Exit

    @property
    def valkey(self) -> bool:
        """Whether this is Valkey's."""
        return self.flavour is Flavour.VALKEY_9

    def masters(self) -> list[StockMaster]:
        """All masters."""
        return [_own(master) for master in self.state.masters.values()]

    def master(self, name: str) -> StockMaster | None:
        """The master of that name."""
        found = self.state.masters.get(name)
        return None if found is None else _own(found)

    def subject(self, master: Master) -> Subject:
        """Instance text of a master."""
        return self.state.subject_of_master(master)

    def replica_subject(self, master: Master, address: Address) -> Subject:
        """Instance text of a replica."""
        return self.state.subject_of_replica(master, address)

    # ------------------------------------------------------------ records

    def monitor(self, line: MasterSnapshot) -> StockMaster:
        """A master is watched from now on."""
        master = StockMaster(
            name=line.name,
            address=line.address,
            settings=line.settings,
            config_epoch=line.config_epoch,
            leader_epoch=line.leader_epoch,
            role_since_ms=self.now_ms,
            sight=new_sight(ServerLink(line.name, line.address), line.address, self.now_ms),
        )
        self.state.masters[line.name] = master
        for address in line.replicas:
            self.add_replica(master, address)
        for run_id, address in line.peers:
            self.add_peer(master, run_id, address)
        self.emit(e.MasterMonitored(subject=self.subject(master), snapshot=line, at_ms=self.now_ms))
        return master

    def add_replica(self, master: StockMaster, address: Address) -> None:
        """A new record."""
        sight = new_sight(ServerLink(master.name, address), address, self.now_ms)
        master.replicas[address] = StockReplica(address=address, role_since_ms=self.now_ms, sight=sight)

    def add_peer(self, master: StockMaster, run_id: RunId, address: Address) -> None:
        """A new record; its link is shared with other masters' records of the same id."""
        probe = self.peer_probes.get(run_id)
        if probe is None:
            probe = self.peer_probes[run_id] = new_probe(PeerLink(run_id), address, self.now_ms, server=False)
        else:
            probe.refcount += 1
        master.peers[run_id] = StockPeer(
            run_id=run_id, address=address, probe=probe, published_at_ms=self.now_ms, replied_at_ms=self.now_ms
        )

    def drop_peer(self, master: StockMaster, run_id: RunId) -> None:
        """Forget a sentinel for one master; the link goes with its last record."""
        peer = peers_of(master)[run_id]
        del master.peers[run_id]
        peer.probe.refcount -= 1
        if peer.probe.refcount == 0:
            links.hang_up(self, peer.probe, "forgotten")
            del self.peer_probes[run_id]

    # ------------------------------------------------------------ the tick [3]

    def _tick(self, heard: i.TimePassed) -> None:
        self._watch_clock(heard.wall_ms)
        ended: StockMaster | None = None
        for master in self.masters():
            self._handle_master(master)
            for replica in replicas_of(master):
                links.keep_up(self, replica.sight.probe)
                links.periodic(self, master, replica.sight, replica)
                if self._acts():
                    watch.check_down(self, master, replica)
            for peer in list(peers_of(master).values()):
                links.keep_up(self, peer.probe)
                links.periodic_peer(self, master, peer)
                if self._acts():
                    watch.check_down(self, master, peer)
            if failover.is_ended(master):
                if self.valkey:
                    failover.switch_to_promoted(self, master)
                else:
                    ended = master  # one switch in each tick, of the last one found
        if ended is not None:
            failover.switch_to_promoted(self, ended)

    def _handle_master(self, master: StockMaster) -> None:
        links.keep_up(self, master.sight.probe)
        links.periodic(self, master, master.sight, None)
        if not self._acts():
            return
        watch.check_down(self, master, master)
        watch.check_objectively_down(self, master)
        if failover.may_start(self, master):
            failover.start(self, master, Manner.AUTOMATIC)
            watch.ask_peers(self, master, forced=True)
        failover.step(self, master)
        watch.ask_peers(self, master, forced=False)

    def _watch_clock(self, wall_ms: Millis) -> None:
        """[8] Entering TILT, again and again while the trigger lasts."""
        before_ms, self._ticked_wall_ms = self._ticked_wall_ms, wall_ms
        if before_ms is not None and not 0 <= wall_ms - before_ms <= self.state.timing.tilt_trigger_ms:
            self.state.tilt_since_ms = self.now_ms
            self.clock_fell = self.clock_fell or wall_ms < before_ms
            self.state.total_tilt += 1
            self.emit(e.TiltEntered(at_ms=self.now_ms))

    def _acts(self) -> bool:
        """[3] Outside TILT, which ends here when its time is over."""
        if self.state.tilt_since_ms is None:
            return True
        if self.now_ms - self.state.tilt_since_ms < self.state.timing.tilt_period_ms:
            return False
        self.state.tilt_since_ms = None
        self.emit(e.TiltExited())
        return True

    # ------------------------------------------------------------ requests

    def _opinion_asked(self, heard: i.OpinionAsked) -> None:
        """[7.3] A master is looked up by its address; the first match answers."""
        asked = Address(heard.host, heard.port)
        master = next((m for m in self.masters() if m.address == asked), None)
        if master is None:
            self.do(fx.AnswerOpinion(heard.request, False, None, 0))
            return
        down = master.s_down and self.state.tilt_since_ms is None
        leader, epoch = None, 0
        if heard.candidate is not None:
            leader, epoch = watch.vote(self, master, heard.epoch, heard.candidate)
        self.do(fx.AnswerOpinion(heard.request, down, leader, epoch if heard.candidate is not None else 0))

    def _answer(self, request: int, refusal: Refusal | None = None) -> None:
        self.do(fx.Answer(request, None if refusal is None else refusal.value))

    def _monitor_asked(self, heard: i.MonitorAsked) -> None:
        if heard.name in self.state.masters:
            self._answer(heard.request, Refusal.DUPLICATE_MASTER)
            return
        epoch = 0 if self.defects.q25 else self.state.current_epoch
        settings = MasterSettings(quorum=heard.quorum)
        line = MasterSnapshot(name=heard.name, address=heard.address, settings=settings, leader_epoch=epoch)
        self.monitor(line)
        self.flush()
        self._answer(heard.request)

    def _remove_asked(self, heard: i.RemoveAsked) -> None:
        master = self.master(heard.name)
        if master is None:
            self._answer(heard.request, Refusal.NO_SUCH_MASTER)
            return
        self.emit(e.MasterRemoved(subject=self.subject(master)))
        self._forget_servers(master)
        for run_id in list(master.peers):
            self.drop_peer(master, run_id)
        del self.state.masters[heard.name]
        self.flush()
        self._answer(heard.request)

    def _forget_servers(self, master: StockMaster) -> None:
        for sight in (master.sight, *(replica.sight for replica in replicas_of(master))):
            links.hang_up(self, sight.probe, "forgotten")
        master.replicas.clear()

    def _reset_asked(self, heard: i.ResetAsked) -> None:
        """[12] Like a switch to the same address, without the peers; not written to the file (Q16)."""
        for name in heard.names:
            master = self.master(name)
            if master is None:
                continue
            self._forget_servers(master)
            for run_id in list(master.peers):
                self.drop_peer(master, run_id)
            failover.reset(self, master, master.address)
            self.emit(e.MasterReset(subject=self.subject(master), at_ms=self.now_ms))
        if not self.defects.q16:
            self.flush()
        self.do(fx.Answer(heard.request, None, number=len(heard.names)))

    def _set_asked(self, heard: i.SetAsked) -> None:
        master = self.master(heard.name)
        if master is None:
            self._answer(heard.request, Refusal.NO_SUCH_MASTER)
            return
        for words in heard.options:
            field = SETTINGS.get(words[0].lower())
            if field is not None:
                change: dict[str, Any] = {field: int(words[1])}
                master.settings = attrs.evolve(master.settings, **change)
                self.emit(e.SettingChanged(subject=self.subject(master), words=words, settings=master.settings))
        self.flush()
        self._answer(heard.request)

    def _failover_asked(self, heard: i.FailoverAsked) -> None:
        master = self.master(heard.name)
        if heard.coordinated and not self.valkey:
            self.do(fx.Answer(heard.request, "ERR wrong number of arguments for 'sentinel|failover' command"))
        elif master is None:
            self._answer(heard.request, Refusal.NO_SUCH_MASTER)
        elif heard.coordinated and master.sight.failover_state is None:
            self.do(fx.Answer(heard.request, "NOGOODPRIMARY Primary does not support FAILOVER command"))
        elif master.failover is not None:
            self._answer(heard.request, Refusal.IN_PROGRESS)
        elif failover.best_replica(self, master) is None:
            self._answer(heard.request, Refusal.NO_GOOD_REPLICA)
        else:
            if self.valkey:  # [13.1] without an event; the next tick says -sdown when it is well
                master.s_down, master.s_down_since_ms = True, self.now_ms
            failover.start(self, master, Manner.COORDINATED if heard.coordinated else Manner.FORCED)
            if heard.coordinated:
                watch.ask_peers(self, master, forced=True)
            self._answer(heard.request)

    def _crash_points_set_asked(self, heard: i.CrashPointsSetAsked) -> None:
        self.state.crash_after_election = heard.after_election
        self.state.crash_after_promotion = heard.after_promotion
        self._answer(heard.request)

    def _globals_set_asked(self, heard: i.GlobalsSetAsked) -> None:
        self.state.settings = heard.settings
        self.emit(e.GlobalsChanged(settings=heard.settings))
        self.flush()
        self._answer(heard.request)

    def _accepted(self, heard: i.TimingSetAsked | i.FlushAsked) -> None:
        """Nothing here depends on them."""
        self.flush()
        self._answer(heard.request)

    def _unheard(self, heard: i.Input) -> None:
        """The file is written inside a turn, and there are no names to resolve."""

    def _link_opened(self, heard: i.LinkOpened) -> None:
        links.opened(self, heard.link, heard.channel)

    def _link_lost(self, heard: i.LinkLost) -> None:
        links.lost(self, heard.link, heard.channel)


HANDLERS: Final[dict[type[i.Input], Callable[[StockMind, Any], None]]] = {
    i.TimePassed: StockMind._tick,
    i.ConfigSaved: StockMind._unheard,
    i.ConfigSaveFailed: StockMind._unheard,
    i.NameResolved: StockMind._unheard,
    i.LinkOpened: StockMind._link_opened,
    i.LinkLost: StockMind._link_lost,
    i.PingAnswered: senses.ping_answered,
    i.InfoHeard: senses.info_heard,
    i.PauseAnswered: StockMind._unheard,
    i.HelloAccepted: senses.hello_accepted,
    i.PubSubHeard: senses.pubsub_heard,
    i.HelloHeard: senses.hello_heard,
    i.OpinionHeard: senses.opinion_heard,
    i.OpinionAsked: StockMind._opinion_asked,
    i.MonitorAsked: StockMind._monitor_asked,
    i.RemoveAsked: StockMind._remove_asked,
    i.ResetAsked: StockMind._reset_asked,
    i.SetAsked: StockMind._set_asked,
    i.FailoverAsked: StockMind._failover_asked,
    i.CrashPointsSetAsked: StockMind._crash_points_set_asked,
    i.GlobalsSetAsked: StockMind._globals_set_asked,
    i.TimingSetAsked: StockMind._accepted,
    i.FlushAsked: StockMind._accepted,
}

SETTINGS: Final = {
    "quorum": "quorum",
    "down-after-milliseconds": "down_after_ms",
    "failover-timeout": "failover_timeout_ms",
    "parallel-syncs": "parallel_syncs",
}


def _own(master: Master) -> StockMaster:
    assert isinstance(master, StockMaster)
    return master


def replicas_of(master: StockMaster) -> list[StockReplica]:
    """The records of a master's replicas."""
    return [replica for replica in master.replicas.values() if isinstance(replica, StockReplica)]


def peers_of(master: StockMaster) -> dict[RunId, StockPeer]:
    """The records of the other sentinels."""
    return {run_id: peer for run_id, peer in master.peers.items() if isinstance(peer, StockPeer)}
