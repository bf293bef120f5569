"""The senses: what was last heard from each server and peer.

Overwritten in place, never evented, lost at restart. A rule may read them; nothing here is remembered.
"""

from __future__ import annotations

from typing import Final

from attrs import Factory, define, field

from trio_sentinel.model.effects import PollInfo, SayHello, SendPing
from trio_sentinel.model.values import Address, Epoch, Hello, Millis, PeerLink, RunId, ServerLink

NEVER_MS: Final = 2**62


@define(eq=False, kw_only=True)
class Watch:
    """Something that is looked at when its time has come, and not before (``rhythm.py``)."""

    queued_ms: Millis = NEVER_MS
    """The moment at which the engine will look; never later than the moment at which something is due."""
    judge_ms: Millis = NEVER_MS
    """From when on the rules must look at the masters concerned."""
    calm_ms: Millis = 0
    """Until when nothing but PINGs is due; 0 after anything else was heard or decided that matters here."""
    rest_ms: Millis = 0
    """Until when there is nothing to do at this link, provided that the last PING was answered."""
    gone: bool = False
    """Nobody looks any more: what it is about is no longer in the state."""


@define(eq=False, kw_only=True)
class ChannelSense:
    """One connection as the model knows it."""

    wanted_at_ms: Millis | None = None
    """When the last attempt to open it began (`last_reconn_time`)."""
    opening: bool = False
    open: bool = False
    opened_at_ms: Millis | None = None
    heard_at_ms: Millis | None = None
    """Last frame on a pub/sub connection (`pc_last_activity`)."""


@define(eq=False, kw_only=True)
class LinkSense(Watch):
    """The probing of one process over its command connection (core.md 2.1)."""

    turn: int = 0
    """Its place on the wheel: how many links were made before."""
    made_at_ms: Millis
    last_ok_at_ms: Millis
    """`last_avail_time`: last acceptable PING reply."""
    last_pong_at_ms: Millis
    """`last_pong_time`: last reply of any kind to PING."""
    ping_since_ms: Millis | None
    """`act_ping_time`: when the oldest unanswered PING was sent; None when none is pending."""
    last_ping_at_ms: Millis | None = None
    next_ping_ms: Millis = 0
    """When the next PING is due if the last one is answered."""
    down_after_ms: Millis = NEVER_MS
    """The shortest `down-after-milliseconds` of the masters that the link serves, as of the last look."""
    pending: int = 0
    command: ChannelSense = Factory(ChannelSense)
    local_host: str | None = None
    """Our own address on the command connection: what hellos announce by default."""


@define(eq=False, kw_only=True)
class ServerSense(LinkSense):
    """A master or replica: its link and its last INFO."""

    link: ServerLink
    master: str = field(init=False, default=Factory(lambda self: self.link.master, takes_self=True))
    address: Address = field(init=False, default=Factory(lambda self: self.link.address, takes_self=True))
    ping: SendPing = field(init=False, default=Factory(lambda self: SendPing(self.link), takes_self=True))
    poll: PollInfo = field(init=False, default=Factory(lambda self: PollInfo(self.link), takes_self=True))
    """Orders that are given again and again are made once."""
    leads: bool = False
    """Whether it is the master, not a replica."""
    said: SayHello | None = None
    """The last hello, to be said again while nothing has changed."""
    pubsub: ChannelSense = Factory(ChannelSense)
    info_at_ms: Millis | None = None
    info_sent_at_ms: Millis | None = None
    """When INFO was last sent, answered or not."""
    info_in_flight: bool = False
    info_text: bytes = b""
    hello_at_ms: Millis | None = None
    """`last_pub_time`: last hello that was accepted; None makes the next one due at once."""
    hello_sent_at_ms: Millis | None = None
    hello_in_flight: bool = False
    master_host: str | None = None
    master_port: int = 0
    master_link_up: bool = False
    master_link_down_ms: Millis = 0
    conf_changed_at_ms: Millis = 0
    priority: int = 100
    repl_offset: int = 0
    announced: bool = True
    failover_state: str | None = None
    """`master_failover_state`; None while the server never reported one."""
    failover_state_since_ms: Millis = 0
    script_kill_sent: bool = False
    writers_paused: bool | None = None
    """Whether it took the last order to hold its writers back; None while that is not known."""
    paused_at_offset: int | None = None
    """How far it had written when its writers were held back already."""
    corrected_at_ms: Millis | None = None
    """When it was last ordered to follow the master, after it was found astray."""

    @property
    def handing_over(self) -> bool:
        """Whether the server itself is in the middle of a FAILOVER (writes paused: no PUBLISH to it)."""
        return self.failover_state not in (None, "no-failover")


@define(eq=False, kw_only=True)
class PeerSense(LinkSense):
    """Another sentinel process: one link, shared by every master that knows it."""

    link: PeerLink
    run_id: RunId = field(init=False, default=Factory(lambda self: self.link.run_id, takes_self=True))
    ping: SendPing = field(init=False, default=Factory(lambda self: SendPing(self.link), takes_self=True))
    address: Address
    known_to: dict[str, None] = Factory(dict)
    """The masters that know it, in the order in which they came to."""


@define(eq=False, kw_only=True)
class Opinion(Watch):
    """What one peer last told about one master (core.md 7.3)."""

    master: str
    run_id: RunId
    turn: int = 0
    """Its place on the wheel, for our hellos."""
    answered_at_ms: Millis
    """`last_master_down_reply_time`."""
    asked_at_ms: Millis | None = None
    """When the last question was sent, answered or not."""
    ask_in_flight: bool = False
    asked_about: tuple[Millis | None, Epoch | None] | None = None
    """What the last question was about: (down since, epoch of my attempt); another matter is asked at once."""
    nudged: bool = False
    """Somebody asked us about the same master just now: this peer may have changed its mind."""
    master_down: bool = False
    voted_for: RunId | None = None
    vote_epoch: Epoch = 0
    hello_at_ms: Millis = 0
    """When its last hello for this master came (`last_hello_time`)."""
    stale: Hello | None = None
    """The last hello that said nothing new. Epochs only rise, so it says nothing new the next time either, unless the
    peer has moved meanwhile."""
    said_hello_at_ms: Millis | None = None
    """When it last accepted a hello of ours for this master (`last_pub_time`); None makes the next one due at once."""
    hello_sent_at_ms: Millis | None = None
    hello_in_flight: bool = False
    said: SayHello | None = None
    """The last hello, to be said again while nothing has changed."""

    def forget(self) -> None:
        """It was another process that said so: the peer's address was wrong."""
        self.master_down, self.voted_for, self.vote_epoch = False, None, 0
        self.asked_about = None


@define(eq=False, kw_only=True)
class MasterWatch(Watch):
    """The deadlines of one master that do not belong to one link: opinions, elections, phases of a failover."""

    master: str
    servers: dict[Address, ServerSense] = Factory(dict)
    """The same observations as in `Observations`, by master ..."""
    opinions: dict[RunId, Opinion] = Factory(dict)
    """... so that nobody has to look through those of all masters."""


@define(eq=False, kw_only=True)
class Observations:
    """Everything perceived, keyed like the state."""

    servers: dict[tuple[str, Address], ServerSense] = Factory(dict)
    peers: dict[RunId, PeerSense] = Factory(dict)
    opinions: dict[tuple[str, RunId], Opinion] = Factory(dict)
    masters: dict[str, MasterWatch] = Factory(dict)
    made: int = 0
    """How many links and opinions were ever made."""
    untold_epoch: Epoch | None = None
    """The epoch that I raised last for an attempt of my own, until it is on disk and others may hear of it."""
    nameless: set[str] = Factory(set)
    """Host names of which the resolver said last that it knows no address, and of which none is remembered."""
