"""What was perceived or asked. Checked by ``wire/`` before it comes here; never carries secrets to a log."""

from __future__ import annotations

from typing import TypeAlias

from attrs import field, frozen

from trio_sentinel.model.settings import GlobalSettings
from trio_sentinel.model.values import (
    Address,
    Channel,
    Epoch,
    Hello,
    InfoReading,
    LinkId,
    Millis,
    PeerLink,
    RunId,
    ServerLink,
)

# ---------------------------------------------------------------- time and disk


@frozen
class TimePassed:
    """A deadline named by the engine has come, or the beat: ``wall_ms`` is the wall clock (for TILT, core.md Q21)."""

    wall_ms: Millis


@frozen
class ConfigSaved:
    """The snapshot of `version` (or a later one) is on disk."""

    version: int


@frozen
class ConfigSaveFailed:
    """Writing the snapshot of `version` failed."""

    version: int
    reason: str


@frozen
class NameResolved:
    """The resolver's answer for a host name; None when it failed or took too long."""

    host: str
    ip: str | None


# ---------------------------------------------------------------- links


@frozen
class LinkOpened:
    """A connection is established; AUTH, SETNAME (and SUBSCRIBE) are on their way. ``local_host`` is our end's IP."""

    link: LinkId
    channel: Channel
    local_host: str


@frozen
class LinkLost:
    """A connection could not be made, was reset or closed, or was never there."""

    link: LinkId
    channel: Channel
    reason: str


@frozen
class PingAnswered:
    """A reply to PING: its text (status or error) up to the first words that matter."""

    link: LinkId
    text: str


@frozen
class InfoHeard:
    """A reply to INFO. ``reading`` is None when it was an error or no INFO at all."""

    link: ServerLink
    reading: InfoReading | None
    text: bytes


@frozen
class HelloAccepted:
    """The reply to a hello of ours, about `master`, sent over `link`; ``ok`` is False for an error reply."""

    link: LinkId
    master: str
    ok: bool


@frozen
class PubSubHeard:
    """Any frame on the pub/sub connection of a server: it is alive."""

    link: ServerLink


@frozen
class HelloHeard:
    """A well-formed hello of another sentinel, by direct PUBLISH, or from the server at the other end of `over`: then
    it is a sign of life of that server's pub/sub connection as well."""

    hello: Hello
    over: ServerLink | None = None


@frozen
class OpinionHeard:
    """The reply to a question of ours. ``address`` and ``epoch`` are those of the question, to drop stale replies.

    ``down`` is None when the reply was malformed or an error.
    """

    peer: PeerLink
    master: str
    address: Address
    asked_epoch: Epoch
    down: bool | None
    leader: RunId | None
    leader_epoch: Epoch


# ---------------------------------------------------------------- requests; each is answered exactly once


@frozen
class OpinionAsked:
    """``SENTINEL IS-MASTER-DOWN-BY-ADDR``; ``candidate`` is None for ``*``."""

    request: int
    host: str
    port: int
    epoch: Epoch
    candidate: RunId | None


@frozen
class MonitorAsked:
    """``SENTINEL MONITOR`` with arguments already checked for shape; a host name is already resolved."""

    request: int
    name: str
    address: Address
    quorum: int


@frozen
class RemoveAsked:
    """``SENTINEL REMOVE``."""

    request: int
    name: str


@frozen
class ResetAsked:
    """``SENTINEL RESET``: the masters whose names matched."""

    request: int
    names: tuple[str, ...]


@frozen
class SetAsked:
    """``SENTINEL SET``: option-value groups in order, e.g. ``("quorum", "3")`` or ``("rename-command", "A", "B")``."""

    request: int
    name: str
    options: tuple[tuple[str, ...], ...] = field(repr=False)
    """Not shown: a password may be among them."""
    refusal: str | None = None
    """The error of the first bad group after these, already in RESP words; the good ones before it stay applied."""


@frozen
class GlobalsSetAsked:
    """``SENTINEL CONFIG SET``: the whole new settings."""

    request: int
    settings: GlobalSettings


@frozen
class TimingSetAsked:
    """``SENTINEL DEBUG``: one checked pair, the name as in Timing."""

    request: int
    name: str
    value_ms: Millis


@frozen
class FailoverAsked:
    """``SENTINEL FAILOVER name [COORDINATED]``."""

    request: int
    name: str
    coordinated: bool


@frozen
class CrashPointsSetAsked:
    """``SENTINEL SIMULATE-FAILURE``."""

    request: int
    after_election: bool
    after_promotion: bool


@frozen
class FlushAsked:
    """``SENTINEL FLUSHCONFIG``."""

    request: int


Request: TypeAlias = (
    OpinionAsked
    | MonitorAsked
    | RemoveAsked
    | ResetAsked
    | SetAsked
    | GlobalsSetAsked
    | TimingSetAsked
    | FailoverAsked
    | CrashPointsSetAsked
    | FlushAsked
)

Input: TypeAlias = (
    TimePassed
    | ConfigSaved
    | ConfigSaveFailed
    | NameResolved
    | LinkOpened
    | LinkLost
    | PingAnswered
    | InfoHeard
    | HelloAccepted
    | PubSubHeard
    | HelloHeard
    | OpinionHeard
    | Request
)
