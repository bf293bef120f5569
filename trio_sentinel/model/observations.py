"""The senses: what was last heard from each server and peer.

Overwritten in place, never evented, lost at restart. A rule may read them; nothing here is remembered.
"""

from __future__ import annotations

from attrs import Factory, define

from trio_sentinel.model.values import Address, Epoch, Millis, RunId


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
class LinkSense:
    """The probing of one process over its command connection (core.md 2.1)."""

    made_at_ms: Millis
    last_ok_at_ms: Millis
    """`last_avail_time`: last acceptable PING reply."""
    last_pong_at_ms: Millis
    """`last_pong_time`: last reply of any kind to PING."""
    ping_since_ms: Millis | None
    """`act_ping_time`: when the oldest unanswered PING was sent; None when none is pending."""
    last_ping_at_ms: Millis | None = None
    pending: int = 0
    command: ChannelSense = Factory(ChannelSense)
    local_host: str | None = None
    """Our own address on the command connection: what hellos announce by default."""
    changes: int = 0
    """Raised by whatever may change what is due here, so that a noted rest is known to be out of date."""


@define(eq=False, kw_only=True)
class Rest:
    """Noted when everything about one link was calm: until when nothing has to be done there."""

    until_ms: Millis = 0
    due_ms: Millis = 0
    """When the next probe is due; not before ``until_ms``."""
    changes: int = -1
    """The link's ``changes`` when this was noted."""


@define(eq=False, kw_only=True)
class ServerSense(LinkSense):
    """A master or replica: its link and its last INFO."""

    address: Address
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
    rest: Rest = Factory(Rest)

    @property
    def handing_over(self) -> bool:
        """Whether the server itself is in the middle of a FAILOVER (writes paused: no PUBLISH to it)."""
        return self.failover_state not in (None, "no-failover")


@define(eq=False, kw_only=True)
class PeerSense(LinkSense):
    """Another sentinel process: one link, shared by every master that knows it."""

    run_id: RunId
    address: Address


@define(eq=False, kw_only=True)
class Opinion:
    """What one peer last told about one master (core.md 7.3)."""

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
    said_hello_at_ms: Millis | None = None
    """When it last accepted a hello of ours for this master (`last_pub_time`); None makes the next one due at once."""
    hello_sent_at_ms: Millis | None = None
    hello_in_flight: bool = False
    rest: Rest = Factory(Rest)
    """Of the peer's link, as far as this master is concerned."""


@define(eq=False, kw_only=True)
class Observations:
    """Everything perceived, keyed like the state."""

    servers: dict[tuple[str, Address], ServerSense] = Factory(dict)
    peers: dict[RunId, PeerSense] = Factory(dict)
    opinions: dict[tuple[str, RunId], Opinion] = Factory(dict)
    nameless: set[str] = Factory(set)
    """Host names of which the resolver said last that it knows no address, and of which none is remembered."""
