"""What was perceived or asked. Checked by ``wire/`` before it comes here; never carries secrets to a log."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

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


class TimePassed(Struct, frozen=True):
    """A deadline named by the engine has come, or the beat: ``wall_ms`` is the wall clock (for TILT, core.md Q21)."""

    wall_ms: Millis


class ConfigSaved(Struct, frozen=True):
    """The snapshot of `version` (or a later one) is on disk."""

    version: int


class ConfigSaveFailed(Struct, frozen=True):
    """Writing the snapshot of `version` failed."""

    version: int
    reason: str


class NameResolved(Struct, frozen=True):
    """The resolver's answer for a host name; None when it failed or took too long."""

    host: str
    ip: str | None


# ---------------------------------------------------------------- links


class LinkOpened(Struct, frozen=True):
    """A connection is established; AUTH, SETNAME (and SUBSCRIBE) are on their way. ``local_host`` is our end's IP."""

    link: LinkId
    channel: Channel
    local_host: str


class LinkLost(Struct, frozen=True):
    """A connection could not be made, was reset or closed, or was never there."""

    link: LinkId
    channel: Channel
    reason: str


class PingAnswered(Struct, frozen=True):
    """A reply to PING: its text (status or error) up to the first words that matter."""

    link: LinkId
    text: str


class InfoHeard(Struct, frozen=True):
    """A reply to INFO. ``reading`` is None when it was an error or no INFO at all."""

    link: ServerLink
    reading: InfoReading | None
    text: bytes


class PauseAnswered(Struct, frozen=True):
    """A master's answer to the order to hold its writers back."""

    link: ServerLink
    ok: bool


class HelloAccepted(Struct, frozen=True):
    """The reply to a hello of ours, about `master`, sent over `link`; ``ok`` is False for an error reply."""

    link: LinkId
    master: str
    ok: bool


class PubSubHeard(Struct, frozen=True):
    """Any frame on the pub/sub connection of a server: it is alive."""

    link: ServerLink


class HelloHeard(Struct, frozen=True):
    """A well-formed hello of another sentinel, by direct PUBLISH, or from the server at the other end of `over`: then
    it is a sign of life of that server's pub/sub connection as well."""

    hello: Hello
    over: ServerLink | None = None


class OpinionHeard(Struct, frozen=True):
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


class OpinionAsked(Struct, frozen=True):
    """``SENTINEL IS-MASTER-DOWN-BY-ADDR``; ``candidate`` is None for ``*``."""

    request: int
    host: str
    port: int
    epoch: Epoch
    candidate: RunId | None


class MonitorAsked(Struct, frozen=True):
    """``SENTINEL MONITOR`` with arguments already checked for shape; a host name is already resolved."""

    request: int
    name: str
    address: Address
    quorum: int


class RemoveAsked(Struct, frozen=True):
    """``SENTINEL REMOVE``."""

    request: int
    name: str


class ResetAsked(Struct, frozen=True):
    """``SENTINEL RESET``: the masters whose names matched."""

    request: int
    names: tuple[str, ...]


class SetAsked(Struct, frozen=True):
    """``SENTINEL SET``: option-value groups in order, e.g. ``("quorum", "3")`` or ``("rename-command", "A", "B")``."""

    request: int
    name: str
    options: tuple[tuple[str, ...], ...]
    refusal: str | None = None
    """The error of the first bad group after these, already in RESP words; the good ones before it stay applied."""

    def __repr__(self) -> str:
        """Without the options: a password may be among them."""
        return f"SetAsked(request={self.request!r}, name={self.name!r}, refusal={self.refusal!r})"


class GlobalsSetAsked(Struct, frozen=True):
    """``SENTINEL CONFIG SET``: the whole new settings."""

    request: int
    settings: GlobalSettings


class TimingSetAsked(Struct, frozen=True):
    """``SENTINEL DEBUG``: one checked pair, the name as in Timing."""

    request: int
    name: str
    value_ms: Millis


class FailoverAsked(Struct, frozen=True):
    """``SENTINEL FAILOVER name [COORDINATED]``."""

    request: int
    name: str
    coordinated: bool


class CrashPointsSetAsked(Struct, frozen=True):
    """``SENTINEL SIMULATE-FAILURE``."""

    request: int
    after_election: bool
    after_promotion: bool


class FlushAsked(Struct, frozen=True):
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
    | PauseAnswered
    | HelloAccepted
    | PubSubHeard
    | HelloHeard
    | OpinionHeard
    | Request
)
