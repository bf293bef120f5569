"""What a stock sentinel remembers: our nouns (``model/state.py``), with the clocks and flags that stock keeps beside
them (core.md 1.2 and 2.1). The stock model borrows our nouns and none of our rules."""

from __future__ import annotations

import enum

from attrs import Factory, define, fields, frozen

from trio_sentinel.model import effects as fx
from trio_sentinel.model.state import Master, Peer, Replica
from trio_sentinel.model.values import Address, Channel, Epoch, LinkId, Millis, RunId


class Flavour(enum.Enum):
    """Which stock program."""

    REDIS_7 = "redis 7"
    VALKEY_9 = "valkey 9"


@frozen(kw_only=True)
class Defects:
    """The upstream quirks of core.md 19 that the model reproduces, by their number there; each can be switched off."""

    q1: bool = True
    """Votes are counted when their epoch is the *current* one, not the attempt's."""
    q3: bool = True
    """A failed write of the file is only logged; the vote is given all the same."""
    q5: bool = True
    """A hello with an unusable address raises the configuration epoch without changing the address."""
    q7: bool = True
    """After a switch the old server's INFO, its time and its failover state are taken for the new master's."""
    q8: bool = True
    """A replica that says it is a master can be selected."""
    q9: bool = True
    """INFO, hellos and questions are repeated every tick while nobody answers."""
    q10: bool = True
    """A hello with my own id that comes directly is taken for another sentinel."""
    q11: bool = True
    """A sentinel that moves to an unusable address is forgotten."""
    q13: bool = True
    """A replica stuck in reconfiguration is looked at only when there is room for another one."""
    q14: bool = True
    """While the promoted replica is down, a failover in reconf_slaves never ends."""
    q15: bool = True
    """Down reports about the old address count for the new one after a switch."""
    q16: bool = True
    """RESET and a configuration epoch alone are not written to the file."""
    overtaken: bool = True
    """In reconf_slaves, a hello with the *old* master's address under a higher epoch raises the configuration epoch and
    nothing else: the epoch of somebody else's failover is told with my promoted replica. (Not in the list of core.md:
    it follows from 6.2 step 5 together with 6.1, and the simulator found it.)"""
    q25: bool = True
    """REMOVE and MONITOR forget in which epoch was voted."""

    @classmethod
    def none(cls) -> Defects:
        """Stock as it should be."""
        return cls(**{field.name: False for field in fields(cls)})


@define(eq=False)
class Socket:
    """One connection: being made, or made. What is said before it is made travels right behind."""

    opened_at_ms: Millis
    ready: bool = False
    unsent: list[fx.Effect] = Factory(list)


@define(eq=False, kw_only=True)
class Probe:
    """One link (core.md 2.1). ``ping_since_ms`` is `act_ping_time`, None for 0."""

    link: LinkId
    address: Address
    last_ok_at_ms: Millis
    ping_since_ms: Millis | None
    last_pong_at_ms: Millis
    last_ping_at_ms: Millis = 0
    reconnected_at_ms: Millis = 0
    pending: int = 0
    refcount: int = 1
    command: Socket | None = None
    pubsub: Socket | None = None
    pubsub_heard_at_ms: Millis = 0
    needs: tuple[Channel, ...] = (Channel.COMMAND,)

    @property
    def disconnected(self) -> bool:
        """Whether any connection that the link needs does not exist (core.md Q22)."""
        return self.command is None or (self.pubsub is None and Channel.PUBSUB in self.needs)

    @property
    def clogged(self) -> bool:
        """Whether the limit of commands under way is reached."""
        return self.pending >= 100 * self.refcount

    def restart_clocks(self, now_ms: Millis) -> None:
        """As at a switch (core.md 12)."""
        self.ping_since_ms = self.last_ok_at_ms = self.last_pong_at_ms = now_ms
        self.last_ping_at_ms = 0


def new_probe(link: LinkId, address: Address, now_ms: Millis, *, server: bool) -> Probe:
    """A fresh link."""
    needs = (Channel.COMMAND, Channel.PUBSUB) if server else (Channel.COMMAND,)
    return Probe(
        link=link,
        address=address,
        last_ok_at_ms=now_ms,
        ping_since_ms=now_ms,
        last_pong_at_ms=now_ms,
        needs=needs,
    )


@define(eq=False, kw_only=True)
class Sight:
    """A server as its INFO tells it, and when it was last told something."""

    probe: Probe
    published_at_ms: Millis
    info_at_ms: Millis = 0
    """`info_refresh`; 0 is never."""
    info_sent_at_ms: Millis = 0
    published_try_at_ms: Millis = 0
    conf_changed_at_ms: Millis
    follows_host: str | None = None
    follows_port: int = 0
    link_up: bool = False
    link_down_ms: Millis = 0
    priority: int = 100
    offset: int = 0
    failover_state: str | None = None
    failover_state_since_ms: Millis
    script_killed: bool = False

    @property
    def handing_over(self) -> bool:
        """Whether it last reported a FAILOVER of its own."""
        return self.failover_state not in (None, "no-failover")


def new_sight(link: LinkId, address: Address, now_ms: Millis) -> Sight:
    """A server that was never heard of."""
    return Sight(
        probe=new_probe(link, address, now_ms, server=True),
        published_at_ms=now_ms,
        conf_changed_at_ms=now_ms,
        failover_state_since_ms=now_ms,
    )


@define(kw_only=True)
class StockReplica(Replica):
    """A replica, with its link and its INFO."""

    sight: Sight


@define(kw_only=True)
class StockPeer(Peer):
    """Another sentinel as one master's record has it; the link may be shared with other masters' records."""

    probe: Probe
    published_at_ms: Millis
    published_try_at_ms: Millis = 0
    replied_at_ms: Millis
    """`last_master_down_reply_time`."""
    asked_at_ms: Millis = 0
    master_down: bool = False
    voted_for: RunId | None = None
    vote_epoch: Epoch = 0


@define(kw_only=True)
class StockMaster(Master):
    """A master, with its link and its INFO. ``attempt_at_ms`` is `failover_start_time`."""

    sight: Sight
