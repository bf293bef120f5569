"""A server as a sentinel sees it: role, replication and INFO with its lag, without bytes.

The data are a family tree: each promotion begins a branch, and a server has, of each branch, a beginning of some
length. So it can be said of every acknowledged write which server has it, for a few numbers each.
"""

from __future__ import annotations

import enum
from typing import Any

from attrs import Factory, define, field, frozen

from trio_sentinel.model import effects as fx
from trio_sentinel.model import inputs as i
from trio_sentinel.model.values import Address, Channel, InfoReading, Role, ServerLink
from trio_sentinel.sim.feed import Cargo, End, Feed, Start
from trio_sentinel.sim.network import Fate, Network, Wire
from trio_sentinel.sim.world import World

SYNC_MS = (3, 40)
"""How long a replica takes from SLAVEOF until it has asked for data, without the network's time."""
CRON_MS = 1000
HANDOVER_STEP_MS = 5
LOADING_SHARE = 5
"""A full copy that took a while to come is loaded in a fifth of that."""
MAX_LAG_MS = 10_000
"""``min-replicas-max-lag``, by default."""


class Mood(enum.Enum):
    """What keeps a running server from answering as usual."""

    WELL = "PONG"
    LOADING = "LOADING Redis is loading the dataset in memory"
    BUSY = "BUSY Redis is busy running a script."
    STALE = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
    LOCKED = "NOAUTH Authentication required."


@frozen
class Write:
    """One acknowledged write."""

    at_ms: int
    branch: int
    offset: int


def _well(ping: fx.SendPing) -> i.PingAnswered:
    return i.PingAnswered(ping.link, Mood.WELL.value)


def _published(said: fx.SayHello) -> tuple[i.HelloHeard, i.HelloAccepted]:
    assert isinstance(said.link, ServerLink)
    return i.HelloHeard(said.hello, said.link), i.HelloAccepted(said.link, said.hello.master, True)


@define(eq=False, kw_only=True)
class FakeServer:
    """One data server. ``frozen`` is SIGSTOP: connections stay, nothing is answered."""

    world: World
    network: Network
    address: Address
    run_id: str
    master: Address | None = None
    up: bool = True
    host_up: bool = True
    frozen: bool = False
    life: int = 1
    wires: dict[int, Wire] = Factory(dict)
    mood: Mood = Mood.WELL
    priority: int = 100
    announced: bool = True
    """``replica-announced``: whether sentinels tell clients of it; they watch and promote it all the same."""
    offset: int = 1
    branch: int = 0
    lineage: dict[int, int] = Factory(dict)
    """Of each earlier branch, how much of it this server has."""
    link_up: bool = True
    feed: Feed | None = None
    """The connection to its master; the link is up once the answer to PSYNC has come over it."""
    feeds: dict[Address, Feed] = Factory(dict)
    """Those to its replicas."""
    syncing: bool = False
    """Whether a full copy of the master's data is on its way."""
    resync_ms: tuple[int, int] = (0, 0)
    """How long it takes to get one."""
    backlog_writes: int = 1_000_000
    """With so many writes at most a replica may continue where it was."""
    backlog_from: int = 0
    """What was written before is not in the backlog."""
    link_lost_at_ms: int = 0
    master_seen_at_ms: int = 0
    repl_timeout_ms: int = 10_000
    info_lag_ms: int = 0
    paused_until_ms: int = 0
    """By CLIENT PAUSE. A running FAILOVER pauses for itself; its end does not end this."""
    min_replicas: int = 0
    """``min-replicas-to-write``: without so many replicas that were heard of lately, no write is taken."""
    refuses_orders: bool = False
    """ACL or a renamed command: what sentinels order is refused when it is queued, and EXEC discards all of it."""
    handing_over: bool = False
    handover_until_ms: int = 0
    touched_at_ms: int = 0
    """When a fault or an order of an operator last touched it."""
    history: list[tuple[int, Address | None]] = Factory(list)
    _shown: tuple[int, tuple[Address, ...], int] = (-1, (), 0)
    _branches: list[int] = field(factory=lambda: [0], alias="branches")

    @property
    def role(self) -> Role:
        """What INFO says."""
        return Role.MASTER if self.master is None else Role.REPLICA

    @property
    def paused(self) -> bool:
        """Whether writes, and PUBLISH with them, are held back."""
        now_ms = self.world.now_ms
        return now_ms < self.paused_until_ms or (self.handing_over and now_ms < self.handover_until_ms)

    def pause(self, length_ms: int) -> None:
        """CLIENT PAUSE WRITE, which never shortens another one; or UNPAUSE for 0."""
        self.paused_until_ms = max(self.paused_until_ms, self.world.now_ms + length_ms) if length_ms else 0

    @property
    def writable(self) -> bool:
        """Whether a client that reaches it can write now."""
        return self.up and not self.frozen and self.master is None and self.mood is Mood.WELL and not self.paused

    # ------------------------------------------------------------ what sentinels say

    def take(self, wire: Wire, item: Any) -> Fate:
        """Carry out one command; the reply goes back over the same connection."""
        link = wire.link
        kind = type(item)
        if kind is fx.SendPing:
            well = self.mood is Mood.WELL
            pong = wire.once(item, _well) if well else i.PingAnswered(link, self.mood.value)
            self.network.send(wire, pong, back=True)
        elif kind is fx.PollInfo:
            assert isinstance(link, ServerLink)
            silent = self.mood in (Mood.BUSY, Mood.LOCKED)
            self.network.send(wire, i.InfoHeard(link, None if silent else self.info(), b""), back=True)
        elif kind is fx.SayHello:
            if self.paused:
                return Fate.BLOCKED
            published, accepted = wire.once(item, _published)
            if self.mood in (Mood.BUSY, Mood.LOCKED):
                accepted = i.HelloAccepted(link, item.hello.master, False)
            else:
                self._publish(published)
            self.network.send(wire, accepted, back=True)
        elif kind is fx.PauseWriters:
            assert isinstance(link, ServerLink)
            obeys = self.mood is Mood.WELL
            if obeys:
                self.pause(item.pause_ms)
            self.network.send(wire, i.PauseAnswered(link, obeys), back=True)
        elif kind is fx.KillScript:
            self.mood = Mood.WELL if self.mood is Mood.BUSY else self.mood
        elif self.mood in (Mood.WELL, Mood.STALE) and not self.refuses_orders:
            self._obey(wire, item)
        return Fate.DONE

    def _publish(self, published: i.HelloHeard) -> None:
        for wire in self.wires.values():
            if wire.channel is Channel.PUBSUB and wire.open:
                self.network.send(wire, published, back=True)

    def _obey(self, wire: Wire, item: Any) -> None:
        """A transaction (core.md 14). While a FAILOVER runs, SLAVEOF is refused unless it was aborted first."""
        if isinstance(item, fx.HandOver):
            self.hand_over(Address(item.host, item.port), item.timeout_ms, forced=item.at_once)
            return
        if isinstance(item, fx.ReleaseWriters):
            if item.call_off:
                self.end_handover()
            self.pause(0)
            return
        if isinstance(item, fx.Repoint) and item.abort_handover:
            self.end_handover()
        if isinstance(item, fx.Promote | fx.Repoint):
            if self.handing_over:
                return
            self.follow(Address(item.host, item.port) if isinstance(item, fx.Repoint) else None)
        else:
            self.pause(0)
        self.kill_clients(spared=wire)

    def kill_clients(self, spared: Wire | None) -> None:
        """CLIENT KILL TYPE normal and pubsub: everybody but the one that says so."""
        for wire in list(self.wires.values()):
            if wire is not spared:
                self.network.hang_up(wire)

    # ------------------------------------------------------------ replication

    def _master_server(self) -> FakeServer | None:
        other = None if self.master is None else self.network.processes.get(self.master)
        return other if isinstance(other, FakeServer) else None

    def _hears_master(self) -> bool:
        master = self._master_server()
        if master is None or not (master.up and master.host_up) or master.frozen:
            return False
        reach, here, there = self.network.reaches, self.address.host, master.address.host
        return reach(here, there) and reach(there, here)

    def follow(self, master: Address | None) -> None:
        """SLAVEOF, or SLAVEOF NO ONE for None: what is on its way over the link is lost."""
        if master == self.master:
            return
        self._close_feed()
        if master is None:
            self.lineage[self.branch] = self.offset
            self._branches[0] += 1
            self.branch = self._branches[0]
            self._dismiss_replicas()
        self.master = master
        self.history.append((self.world.now_ms, master))
        self.link_lost_at_ms = self.world.now_ms
        self.plan_sync()

    def plan_sync(self) -> None:
        """Try to get the replication link up."""
        if self.master is not None:
            asks_ms = self.world.random.randint(*SYNC_MS)
            asks_ms += self.network.delay_ms(self.address.host, self.master.host)
            self.world.after(asks_ms, self._sync, self.master, self.life)

    def _sync(self, wanted: Address, life: int) -> None:
        """PSYNC reaches the master."""
        if self.master != wanted or not self.up or life != self.life or self.feed is not None or self.frozen:
            return
        master = self._master_server()
        if master is None or not self._hears_master() or master is self or Mood.LOADING in (master.mood, self.mood):
            return  # the cron tries again
        if master.master is not None and not master.link_up:
            return  # -NOMASTERLINK
        self.master_seen_at_ms = self.world.now_ms
        self.feed = master.feeds[self.address] = Feed(master, self, master.life)
        start = master.answer_psync(self)
        self.syncing = start.full
        self.feed.send(start, takes_ms=LOADING_SHARE * start.loading_ms)

    def join(self) -> None:
        """It has been a replica for long: its link is up, and it has all that its master has."""
        master = self._master_server()
        assert master is not None
        self.feed = master.feeds[self.address] = Feed(master, self, master.life)
        self._begin(Start(master.branch, master.offset, dict(master.lineage), full=False))

    @property
    def former(self) -> tuple[int, int] | None:
        """The branch before this one, and how much of it there is here."""
        return next(reversed(self.lineage.items()), None)

    def answer_psync(self, replica: FakeServer) -> Start:
        """What a replica that asks is sent first: the rest when it has a beginning of this history, or of the one
        before the last promotion, and the backlog reaches so far; or else everything."""
        known = {self.branch: self.offset}
        if self.former is not None:
            known |= [self.former]
        oldest = max(self.backlog_from, self.offset - self.backlog_writes)
        if known.get(replica.branch, -1) >= replica.offset >= oldest:
            return Start(self.branch, self.offset, dict(self.lineage), full=False)
        loading_ms = self.world.random.randint(*replica.resync_ms) // LOADING_SHARE
        return Start(self.branch, self.offset, dict(self.lineage), full=True, loading_ms=loading_ms)

    def receive(self, feed: Feed, cargo: Cargo) -> None:
        """Something came from the master; replicas of a replica get it, too."""
        self.master_seen_at_ms = self.world.now_ms
        if isinstance(cargo, End):
            self.lose_link()
            self.plan_sync()
        elif isinstance(cargo, Start):
            self._begin(cargo)
        elif cargo > self.offset:  # or servers that follow each other would tell each other the same for ever
            self._advance(cargo)

    def _begin(self, start: Start) -> None:
        """The answer to PSYNC. Replicas of a replica must hear of another history."""
        if start.branch != self.branch or start.full:
            self._dismiss_replicas()
        self.branch, self.lineage = start.branch, dict(start.lineage)
        self._advance(start.offset)
        if start.full:
            self.backlog_from = start.offset
        if start.loading_ms and self.mood is Mood.WELL:
            self.mood = Mood.LOADING
            self.world.after(start.loading_ms, self._has_loaded_copy, self.feed, self.life)
        else:
            self._link_comes_up()

    def _has_loaded_copy(self, feed: Feed, life: int) -> None:
        self._loaded(life)
        if self.feed is feed:
            self._link_comes_up()

    def _link_comes_up(self) -> None:
        self.link_up, self.syncing = True, False

    def _advance(self, offset: int) -> None:
        self.offset = offset
        for feed in self.feeds.values():
            feed.send(offset)

    def _dismiss_replicas(self) -> None:
        """Close the links to all replicas, which ask anew."""
        for feed in self.feeds.values():
            feed.end()
        self.feeds.clear()

    @property
    def reads_nothing(self) -> bool:
        """Whether what its master sends has to wait."""
        return self.frozen or self.mood is Mood.LOADING

    def cron(self, life: int) -> None:
        """Once a second: replication goes on, times out, or is tried again."""
        if life != self.life or not self.up:
            return
        self.world.after(CRON_MS, self.cron, life)
        if self.master is None or self.frozen:
            return
        feed = self.feed
        if feed is None:
            self.plan_sync()
        elif self._hears_master():
            if feed.life != feed.source.life:
                self.lose_link()
            else:
                self.master_seen_at_ms = self.world.now_ms
        elif self.world.now_ms - self.master_seen_at_ms > self.repl_timeout_ms:
            self.lose_link()

    def lose_link(self) -> None:
        """The replication link broke, or never came up."""
        if self.link_up:
            self.link_lost_at_ms = self.world.now_ms
        self._close_feed()

    def _close_feed(self) -> None:
        if self.feed is not None:
            self.feed.close()
        self.feed, self.link_up, self.syncing = None, False, False

    def write(self) -> Write | None:
        """A client writes; None when it is not possible. Replicas get it when the network has brought it to them."""
        if not self.writable or (self.min_replicas and self._good_replicas() < self.min_replicas):
            return None
        self._advance(self.offset + 1)
        return Write(self.world.now_ms, self.branch, self.offset)

    def _good_replicas(self) -> int:
        """Replicas that were heard of within ``min-replicas-max-lag``."""
        fresh_ms = self.world.now_ms - MAX_LAG_MS
        return sum(1 for other in self.replicas() if other.link_up and other.master_seen_at_ms >= fresh_ms)

    def has(self, write: Write) -> bool:
        """Whether this server has the data of `write`."""
        known = self.offset if write.branch == self.branch else self.lineage.get(write.branch, -1)
        return known >= write.offset

    def replicas(self) -> list[FakeServer]:
        """The running servers that follow this one, in the order of their making."""
        return [
            other
            for other in self.network.processes.values()
            if isinstance(other, FakeServer) and other.master == self.address and other.up
        ]

    # ------------------------------------------------------------ FAILOVER

    def hand_over(self, to: Address, timeout_ms: int, *, forced: bool = False) -> None:
        """FAILOVER TO: pause, let the replica catch up, exchange the roles; `forced`, whether it has caught up or
        not."""
        replica = self.network.processes.get(to)
        if self.master is not None or self.handing_over or not isinstance(replica, FakeServer):
            return
        if replica.master != self.address or not replica.link_up or not replica.up:
            return
        self.handing_over = True
        self.handover_until_ms = self.world.now_ms + timeout_ms
        self.world.after(HANDOVER_STEP_MS, self._hand_over_step, replica, self.life, forced)

    def _hand_over_step(self, replica: FakeServer, life: int, forced: bool) -> None:
        if not self.handing_over or life != self.life or not self.up:
            return
        ready = replica.up and replica.link_up and not replica.frozen and replica._hears_master()
        level = forced or (replica.branch, replica.offset) == (self.branch, self.offset)
        if self.frozen or not (ready and level):
            if self.world.now_ms >= self.handover_until_ms:
                self.end_handover()
            else:
                self.world.after(50, self._hand_over_step, replica, life, forced)
            return
        self.end_handover()
        replica.follow(None)
        self.follow(replica.address)

    def end_handover(self) -> None:
        """FAILOVER ABORT, its end or its timeout."""
        self.handing_over = False

    # ------------------------------------------------------------ life

    def kill(self, *, with_host: bool = False) -> None:
        """SIGKILL, or the power fails."""
        self.up = False
        self.host_up = not with_host
        self.frozen = False
        self.touched_at_ms = self.world.now_ms
        self.network.die(self, quietly=with_host)
        for feed in self.feeds.values():
            feed.source_dies(quietly=with_host)
        self.feeds.clear()
        if self.feed is not None:
            self.feed.close()

    def restart(self, run_id: str, *, empty: bool = False, loading_ms: int = 0) -> None:
        """Back after a crash, with the role it had (CONFIG REWRITE), with or without its data."""
        self.up, self.host_up, self.frozen, self.run_id = True, True, False, run_id
        self.life += 1
        self.mood = Mood.LOADING if loading_ms else Mood.WELL
        self.touched_at_ms = self.world.now_ms
        if empty:
            self.lineage, self.offset = {}, 0
            self._branches[0] += 1
            self.branch = self._branches[0]
        self.backlog_from = self.offset
        self._close_feed()
        self.link_lost_at_ms = self.world.now_ms
        self.handing_over, self.paused_until_ms = False, 0
        if loading_ms:
            self.world.after(loading_ms, self._loaded, self.life)
        self.world.after(1 + self.world.random.randrange(CRON_MS), self.cron, self.life)
        self.plan_sync()

    def _loaded(self, life: int) -> None:
        if life == self.life and self.mood is Mood.LOADING:
            self.mood = Mood.WELL

    # ------------------------------------------------------------ INFO

    def info(self) -> InfoReading:
        """What INFO reads now; the list of replicas and the offset lag behind as they do."""
        now_ms = self.world.now_ms
        if self._shown[0] < 0 or now_ms - self._shown[0] >= self.info_lag_ms:
            linked = tuple(other.address for other in self.replicas() if other.link_up or other.syncing)
            self._shown = (now_ms, linked, self.offset)
        following = self.master is not None
        down_ms = 0 if self.link_up or not following else now_ms - self.link_lost_at_ms
        return InfoReading(
            run_id=self.run_id,
            role=Role.REPLICA if following else Role.MASTER,
            replicas=self._shown[1],
            master_host=None if self.master is None else self.master.host,
            master_port=None if self.master is None else self.master.port,
            master_link_up=self.link_up if following else None,
            master_link_down_ms=down_ms // 1000 * 1000,
            priority=self.priority,
            repl_offset=self._shown[2],
            written_offset=None if following else self.offset,
            announced=self.announced,
            failover_state="failover-in-progress" if self.handing_over else "no-failover",
        )
