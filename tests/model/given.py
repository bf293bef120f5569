"""A kit to put one engine into a situation and to tell it things, so that tests read as sentences.

1. The engine is a real one, restored from a snapshot; nothing is patched. Time is a number that the test moves.
2. Around it stand servers and peers that follow a script: they take connections, answer PING and INFO, give opinions,
   all at once and without delay. A test changes their lines (``server.pong = None``) or speaks for them (``hear``).
3. After every input the log of events, folded anew, must equal the live state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeVar

import attrs
from attrs import Factory, define, field

from trio_sentinel.model import effects as fx
from trio_sentinel.model import events as e
from trio_sentinel.model import inputs as i
from trio_sentinel.model.engine import Engine, Outcome
from trio_sentinel.model.evolve import evolve
from trio_sentinel.model.replay import NOT_YET
from trio_sentinel.model.settings import GlobalSettings, MasterSettings, Timing
from trio_sentinel.model.snapshot import MasterSnapshot, Snapshot
from trio_sentinel.model.state import Master, SentinelState
from trio_sentinel.model.values import Address, Channel, Epoch, Hello, InfoReading, PeerLink, Role, RunId, ServerLink

NAME = "mymaster"
MASTER = Address("10.0.0.1", 6379)
R1, R2, R3 = (Address(f"10.0.0.{n}", 6379) for n in (2, 3, 4))
ME = RunId("a" * 40)
P1, P2, P3, P4 = (RunId(letter * 40) for letter in "bcde")
STRANGER = RunId("f" * 40)
HERE = Address("10.0.1.1", 26379)
DOWN_AFTER_MS = 5_000
FAILOVER_TIMEOUT_MS = 60_000
START_MS = 1_000_000

MAX_INPUTS_AT_ONCE = 2000
LOOK = i.SetAsked(0, NAME, ())
"""Changes nothing, and makes the rules look at the master; its answer is not recorded."""

T = TypeVar("T")


def peer_address(run_id: RunId) -> Address:
    """Where the sentinel `run_id` lives in these tests."""
    return Address(f"10.0.1.{'abcdef'.index(run_id[0]) + 1}", 26379)


class ScriptedDice:
    """Dice that fall as written, and then always on 0; -1 is the highest number that is possible."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = deque(numbers)

    def below(self, limit: int) -> int:
        """The next number of the script."""
        return self.numbers.popleft() % limit if self.numbers else 0


@define(eq=False)
class Server:
    """What a server does when it is spoken to; ``pong`` and ``info`` are None while it keeps silent."""

    reachable: bool = True
    pong: str | None = "PONG"
    info: InfoReading | None = None
    takes_hellos: bool = True
    pauses: bool | None = True
    """Whether it holds writers back when it is asked to; None for no answer."""

    def silent(self) -> None:
        """Connections stay, nothing is answered any more (SIGSTOP)."""
        self.pong = self.info = None
        self.takes_hellos = False


@define(eq=False)
class PeerScript:
    """What another sentinel does; ``says`` is (master down, leader, leader epoch), or None for no reply."""

    reachable: bool = True
    pong: str | None = "PONG"
    says: tuple[bool, RunId | None, Epoch] | None = (False, None, 0)
    votes: bool = False
    """Gives whoever asks for it the vote of the epoch in question."""
    takes_hellos: bool = True

    def silent(self) -> None:
        """Connections stay, nothing is answered any more."""
        self.pong = self.says = None
        self.takes_hellos = self.votes = False


@define(eq=False)
class Heard:
    """What came out of the engine since a verb began."""

    events: list[e.Event] = Factory(list)
    effects: list[fx.Effect] = Factory(list)

    def all(self, kind: type[T]) -> list[T]:
        """Every event or effect of a kind, in order."""
        return [x for x in (*self.events, *self.effects) if isinstance(x, kind)]

    def one(self, kind: type[T]) -> T:
        """The only event or effect of a kind."""
        found = self.all(kind)
        assert len(found) == 1, f"{len(found)} of {kind.__name__}: {found}"
        return found[0]

    def has(self, kind: type[T]) -> bool:
        """Whether there is an event or effect of a kind."""
        return bool(self.all(kind))

    @property
    def kinds(self) -> list[type[e.Event]]:
        """The kinds of the events, in order."""
        return [type(event) for event in self.events]

    @property
    def told(self) -> list[type[e.Event]]:
        """The kinds of the events that subscribers heard of, in order."""
        return [type(effect.event) for effect in self.all(fx.Announce)]


def replica_info(master: Address = MASTER, **changes: object) -> InfoReading:
    """INFO of a healthy replica."""
    reading = InfoReading(
        run_id=None,
        role=Role.REPLICA,
        master_host=master.host,
        master_port=master.port,
        master_link_up=True,
        priority=100,
        repl_offset=1000,
        failover_state="no-failover",
    )
    return attrs.evolve(reading, **changes)  # type: ignore[arg-type]


def master_info(**changes: object) -> InfoReading:
    """INFO of a healthy master."""
    return attrs.evolve(InfoReading(role=Role.MASTER, written_offset=1000, failover_state="no-failover"), **changes)  # type: ignore[arg-type]


@define(eq=False, kw_only=True)
class Given:
    """An engine and the scripted world around it."""

    engine: Engine
    now_ms: int
    servers: dict[Address, Server]
    peers: dict[RunId, PeerScript]
    dice: ScriptedDice = Factory(ScriptedDice)
    log: list[e.Event] = Factory(list)
    """Every event of this life."""
    fold: SentinelState = Factory(lambda: SentinelState(my_id=NOT_YET))
    """The same events folded as they come: folding all of them anew each time would cost the square of their number."""
    disk: Snapshot | None = None
    """The last snapshot that was saved."""
    saving: bool | None = True
    """True: saves succeed at once; False: they fail at once; None: the test answers them."""
    asked_to_save: list[tuple[int, Snapshot]] = Factory(list)
    requests: int = 0
    wall_offset_ms: int = 0
    muted: set[type[fx.Effect]] = Factory(set)
    """Effects nobody reacts to."""
    _queue: deque[i.Input] = field(factory=deque)
    _heard: Heard = field(factory=Heard)

    # ------------------------------------------------------------ questions

    @property
    def master(self) -> Master:
        """The master of most tests."""
        return self.engine.state.masters[NAME]

    # ------------------------------------------------------------ inputs

    def hear(self, *inputs: i.Input) -> Heard:
        """Feed inputs now, and whatever the scripted world answers to their effects."""
        self._heard = heard = Heard()
        for item in inputs:
            self._queue.append(item)
            self._drain()
        return heard

    def wait(self, length_ms: int) -> Heard:
        """Let time pass as the runtime does it: a TimePassed at each due time, and one at the end. Then all rules look
        once more, due or not, so that a rule that speaks a millisecond early is found out."""
        self._heard = heard = Heard()
        end_ms = self.now_ms + length_ms
        while (due_ms := self.engine.next_due_ms()) < end_ms:
            self.now_ms = max(due_ms, self.now_ms)
            self._queue.append(i.TimePassed(self.now_ms + self.wall_offset_ms))
            self._drain()
        self.now_ms = end_ms
        self._queue.append(i.TimePassed(self.now_ms + self.wall_offset_ms))
        self._drain()
        self._queue.append(LOOK)
        self._drain()
        return heard

    def wait_until(self, at_ms: int) -> Heard:
        """Let time pass up to a moment; the last thing fed is a TimePassed of that moment."""
        return self.wait(at_ms - self.now_ms)

    def stall(self, length_ms: int) -> Heard:
        """The process was stopped: nothing was fed for so long."""
        self.now_ms += length_ms
        return self.hear(i.TimePassed(self.now_ms + self.wall_offset_ms))

    def ask(self, make: Callable[[int], i.Request]) -> Heard:
        """A request of a client."""
        self.requests += 1
        return self.hear(make(self.requests))

    def hello(
        self,
        run_id: RunId = P1,
        *,
        at: Address | None = None,
        epoch: Epoch = 0,
        master: Address | None = None,
        config_epoch: Epoch = 0,
        name: str = NAME,
    ) -> Heard:
        """A hello of another sentinel."""
        lives = at or peer_address(run_id)
        names = master or MASTER
        hello = Hello(
            host=lives.host,
            port=lives.port,
            run_id=run_id,
            current_epoch=epoch,
            master=name,
            master_host=names.host,
            master_port=names.port,
            config_epoch=config_epoch,
        )
        return self.hear(i.HelloHeard(hello))

    def info(self, address: Address, reading: InfoReading | None) -> Heard:
        """A reply to INFO; it becomes the server's line in the script as well."""
        if reading is not None:
            self.servers[address].info = reading
        return self.hear(i.InfoHeard(ServerLink(NAME, address), reading, b""))

    def opinion(
        self,
        run_id: RunId,
        *,
        down: bool | None = True,
        leader: RunId | None = None,
        epoch: Epoch = 0,
        about: Address | None = None,
        asked_epoch: Epoch = 0,
    ) -> Heard:
        """A reply to a question of ours."""
        address = about or self.master.address
        return self.hear(i.OpinionHeard(PeerLink(run_id), NAME, address, asked_epoch, down, leader, epoch))

    def vote_asked(self, candidate: RunId | None, epoch: Epoch, *, about: Address = MASTER) -> Heard:
        """Another sentinel asks for our opinion and, unless `candidate` is None, for our vote."""
        return self.ask(lambda n: i.OpinionAsked(n, about.host, about.port, epoch, candidate))

    def failover(self, *, coordinated: bool = False) -> Heard:
        """SENTINEL FAILOVER."""
        return self.ask(lambda n: i.FailoverAsked(n, NAME, coordinated))

    def set(self, *options: tuple[str, ...]) -> Heard:
        """SENTINEL SET."""
        return self.ask(lambda n: i.SetAsked(n, NAME, options))

    def save_answered(self, *, ok: bool = True) -> Heard:
        """The oldest save that waits for the test is over."""
        version, snapshot = self.asked_to_save.pop(0)
        if ok:
            self.disk = snapshot
            return self.hear(i.ConfigSaved(version))
        return self.hear(i.ConfigSaveFailed(version, "No space left on device"))

    # ------------------------------------------------------------ stories

    def kill_master(self) -> Heard:
        """The master is gone: connections are reset, and refused from now on."""
        return self.lose(MASTER)

    def silence(self, address: Address) -> int:
        """A server stops answering. Its next PING is sent; returns when: the clock of its silence starts there."""
        self.servers[address].silent()
        sense = self.engine.senses.servers[NAME, address]
        while sense.ping_since_ms is None:
            self.wait(1)
        return sense.ping_since_ms

    def master_down(self) -> Heard:
        """The master is killed and subjectively down here."""
        self.kill_master()
        heard = self.wait(self.master.settings.down_after_ms + 1)
        assert self.master.s_down
        return heard

    def elected(self) -> Heard:
        """All peers agree, I was elected, and the order to become master went to the best replica."""
        self.agree()
        heard = self.master_down()
        heard.events += self.wait(200).events
        assert any(isinstance(event, e.PromotionSent) for event in heard.events)
        return heard

    def promoted(self, address: Address = R1) -> Heard:
        """I was elected and the chosen replica said that it is master now."""
        self.elected()
        return self.info(address, master_info())

    def lose(self, address: Address) -> Heard:
        """A server dies: its connections are reset and refused from now on."""
        self.servers[address].reachable = False
        link = ServerLink(NAME, address)
        return self.hear(*(i.LinkLost(link, channel, "reset") for channel in Channel))

    def find(self, address: Address) -> Heard:
        """A server is back and reachable."""
        self.servers[address].reachable = True
        return self.wait(1000)

    def agree(self, *run_ids: RunId) -> None:
        """These peers say from now on that the master is down, and vote for whoever asks first."""
        for run_id in run_ids or tuple(self.peers):
            self.peers[run_id].says = (True, None, 0)
            self.peers[run_id].votes = True

    def restart(self, *, disk: Snapshot | None = None) -> Heard:
        """Crash, and start again from what was saved last."""
        saved = disk or self.disk
        assert saved is not None, "nothing was ever saved"
        self.dice = ScriptedDice()
        self.engine = Engine(self.dice, self.now_ms)
        self.log, self.asked_to_save, self.fold = [], [], SentinelState(my_id=NOT_YET)
        self._queue.clear()
        self._heard = heard = Heard()
        self._carry_out(self.engine.start(saved, self.now_ms, own_port=HERE.port))
        self._drain()
        return heard

    # ------------------------------------------------------------ the scripted world

    def begin(self, snapshot: Snapshot, timing: Timing | None) -> Heard:
        """Start the engine."""
        self._heard = heard = Heard()
        self._carry_out(self.engine.start(snapshot, self.now_ms, own_port=HERE.port, timing=timing))
        self._drain()
        return heard

    def _drain(self) -> None:
        """Feed until nothing answers any more. The scripted world answers in no time, so an engine that answers each
        reply with another question would go on for ever at one moment."""
        for _ in range(MAX_INPUTS_AT_ONCE):
            if not self._queue:
                return
            self._carry_out(self.engine.feed(self._queue.popleft(), self.now_ms))
        raise AssertionError(f"no end at {self.now_ms} ms: {self.log[-3:]}, {self._queue[0]}")

    def _carry_out(self, outcome: Outcome) -> None:
        self.log += outcome.events
        self._heard.events += outcome.events
        self._heard.effects += [x for x in outcome.effects if getattr(x, "request", None) != LOOK.request]
        for event in outcome.events:
            evolve(self.fold, event)
        if outcome.events:
            assert self.fold == self.engine.state, "replay differs from the live state"
        for effect in outcome.effects:
            if type(effect) not in self.muted:
                self._queue += self._replies(effect)

    def _replies(self, effect: fx.Effect) -> list[i.Input]:
        match effect:
            case fx.OpenLink(link, _, channel):
                if self._partner(link).reachable:
                    return [i.LinkOpened(link, channel, HERE.host)]
                return [i.LinkLost(link, channel, "refused")]
            case fx.SendPing(link):
                pong = self._partner(link).pong
                return [] if pong is None else [i.PingAnswered(link, pong)]
            case fx.PollInfo(link) | fx.Promote(link) | fx.Repoint(link):
                info = self.servers[link.address].info
                return [] if info is None else [i.InfoHeard(link, info, b"")]
            case fx.PauseWriters(link):
                script = self.servers[link.address]
                answer = [] if script.pauses is None else [i.PauseAnswered(link, script.pauses)]
                return [*answer, *([] if script.info is None else [i.InfoHeard(link, script.info, b"")])]
            case fx.SayHello(link, hello):
                return [i.HelloAccepted(link, hello.master, True)] if self._partner(link).takes_hellos else []
            case fx.AskPeer():
                return self._opinion_of(effect)
            case fx.SaveConfig(version):
                return self._save(version)
            case _:
                return []

    def _partner(self, link: ServerLink | PeerLink) -> Server | PeerScript:
        if isinstance(link, PeerLink):
            return self.peers.setdefault(link.run_id, PeerScript())
        return self.servers.setdefault(link.address, Server(reachable=False))

    def _opinion_of(self, effect: fx.AskPeer) -> list[i.Input]:
        script = self.peers[effect.peer.run_id]
        if script.says is None:
            return []
        down, leader, epoch = script.says
        if script.votes and effect.candidate is not None:
            if effect.epoch > epoch:
                leader, epoch = effect.candidate, effect.epoch
            script.says = (down, leader, epoch)
        return [i.OpinionHeard(effect.peer, effect.master, effect.address, effect.epoch, down, leader, epoch)]

    def _save(self, version: int) -> list[i.Input]:
        snapshot = self.engine.snapshot()
        if self.saving is None:
            self.asked_to_save.append((version, snapshot))
            return []
        if not self.saving:
            return [i.ConfigSaveFailed(version, "No space left on device")]
        self.disk = snapshot
        return [i.ConfigSaved(version)]


def beside(address: Address, n: int) -> Address:
    """The same server of the `n`-th master."""
    return Address(address.host, address.port + n)


def given(
    *,
    peers: int = 2,
    replicas: int = 2,
    quorum: int = 2,
    epoch: Epoch = 0,
    config_epoch: Epoch = 0,
    leader_epoch: Epoch = 0,
    dice: tuple[int, ...] = (),
    names: tuple[str, ...] = (NAME,),
    globals_: GlobalSettings | None = None,
    timing: Timing | None = None,
    address: Address = MASTER,
    settled: bool = True,
    pings_a_second: int = 0,
    **settings: object,
) -> Given:
    """A sentinel that watches a healthy master with some replicas, together with some peers.

    All links are open, everybody answered, unless `settled` is False: then the engine was only just started.
    """
    others = [P1, P2, P3, P4][:peers]
    known_replicas = [R1, R2, R3][:replicas]
    chosen: dict[str, object] = {
        "quorum": quorum,
        "down_after_ms": DOWN_AFTER_MS,
        "failover_timeout_ms": FAILOVER_TIMEOUT_MS,
        **settings,
    }
    masters = tuple(
        MasterSnapshot(
            name=name,
            address=beside(address, n),
            settings=MasterSettings(**chosen),  # type: ignore[arg-type]
            config_epoch=config_epoch,
            leader_epoch=leader_epoch,
            replicas=tuple(beside(replica, n) for replica in known_replicas),
            peers=tuple((run_id, peer_address(run_id)) for run_id in others),
        )
        for n, name in enumerate(names)
    )
    servers = {}
    for known in masters:
        servers[known.address] = Server(info=master_info())
        for n, replica in enumerate(known.replicas):
            run_id = f"{len(servers):040x}"
            servers[replica] = Server(info=replica_info(known.address, run_id=run_id, repl_offset=1000 - n))
    scripted = ScriptedDice(*dice)
    kit = Given(
        engine=Engine(scripted, START_MS, pings_a_second=pings_a_second),
        now_ms=START_MS,
        servers=servers,
        peers={run_id: PeerScript() for run_id in others},
        dice=scripted,
    )
    snapshot = Snapshot(my_id=ME, current_epoch=epoch, settings=globals_ or GlobalSettings(), masters=masters)
    kit.disk = snapshot
    kit.begin(snapshot, timing)
    if settled:
        kit.wait(100)
        for known in masters:
            sense = kit.engine.senses.servers[known.name, known.address]
            assert sense.command.open and sense.info_at_ms is not None
    return kit
