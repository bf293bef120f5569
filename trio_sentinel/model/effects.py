"""What must now be done. Orders are safe to repeat: the process may die between the decision and the deed.

``audible`` effects tell somebody something; while a durable event is on its way to the disk they wait behind it.
The others (probes, connections) reveal nothing and go at once.
"""

from __future__ import annotations

from typing import ClassVar, TypeAlias

from msgspec import Struct

from trio_sentinel.model.events import Event
from trio_sentinel.model.refusals import Refusal as Refusal
from trio_sentinel.model.values import Address, Channel, Epoch, Hello, LinkId, Millis, PeerLink, RunId, ServerLink

# ---------------------------------------------------------------- silent


class OpenLink(Struct, frozen=True):
    """Dial one connection of a link; answered by LinkOpened or LinkLost."""

    audible: ClassVar[bool] = False
    link: LinkId
    address: Address
    channel: Channel


class CloseLink(Struct, frozen=True):
    """Close one connection of a link (or both with ``channel=None``); no LinkLost follows."""

    audible: ClassVar[bool] = False
    link: LinkId
    channel: Channel | None
    reason: str


class SendPing(Struct, frozen=True):
    """PING; answered by PingAnswered."""

    audible: ClassVar[bool] = False
    link: LinkId


class PollInfo(Struct, frozen=True):
    """INFO; answered by InfoHeard."""

    audible: ClassVar[bool] = False
    link: ServerLink


class KillScript(Struct, frozen=True):
    """SCRIPT KILL to a server that is down and says BUSY."""

    audible: ClassVar[bool] = False
    link: ServerLink


class ResolveName(Struct, frozen=True):
    """Ask the resolver; answered by NameResolved."""

    audible: ClassVar[bool] = False
    host: str


class SaveConfig(Struct, frozen=True):
    """Write the state as it is now; answered by ConfigSaved or ConfigSaveFailed with `version` or a later one."""

    audible: ClassVar[bool] = False
    version: int
    urgent: bool
    """Somebody waits for it. Otherwise it may be joined with later ones."""


# ---------------------------------------------------------------- audible: to servers and peers


class SayHello(Struct, frozen=True):
    """PUBLISH a hello about `hello.master`; ``host`` is empty where the link's own address belongs."""

    audible: ClassVar[bool] = True
    link: LinkId
    hello: Hello


class AskPeer(Struct, frozen=True):
    """SENTINEL is-master-down-by-addr; ``candidate`` is None for ``*``. Answered by OpinionHeard."""

    audible: ClassVar[bool] = True
    peer: PeerLink
    master: str
    address: Address
    shown_host: str
    epoch: Epoch
    candidate: RunId | None


class Promote(Struct, frozen=True):
    """The promote transaction, with INFO right behind it (core.md 14)."""

    audible: ClassVar[bool] = True
    link: ServerLink


class Repoint(Struct, frozen=True):
    """The reconfigure transaction: follow `host`:`port`. ``abort_handover`` puts FAILOVER ABORT first (core.md 14)."""

    audible: ClassVar[bool] = True
    link: ServerLink
    host: str
    port: int
    abort_handover: bool


class PauseWriters(Struct, frozen=True):
    """CLIENT PAUSE to a master that is about to hand over, with INFO right behind; answered by PauseAnswered."""

    audible: ClassVar[bool] = True
    link: ServerLink
    pause_ms: Millis


class ReleaseWriters(Struct, frozen=True):
    """CLIENT UNPAUSE to a master that hands over no more; ``call_off`` puts FAILOVER ABORT first."""

    audible: ClassVar[bool] = True
    link: ServerLink
    call_off: bool


class HandOver(Struct, frozen=True):
    """The coordinated transaction, to the master: pause writes and fail over to `host`:`port` within `timeout_ms`.

    ``at_once`` when the replica is known to have everything: the master need not wait for it to say so."""

    audible: ClassVar[bool] = True
    link: ServerLink
    host: str
    port: int
    timeout_ms: Millis
    at_once: bool


class KillClients(Struct, frozen=True):
    """The kill-clients transaction after a coordinated promotion, which also unpauses writes (core.md 14)."""

    audible: ClassVar[bool] = True
    link: ServerLink


# ---------------------------------------------------------------- audible: to clients, operators and the process


class Announce(Struct, frozen=True):
    """Tell subscribers, log and library watchers of `event`; ``script`` is the master's notification script."""

    audible: ClassVar[bool] = True
    event: Event
    script: str | None


class RunReconfigScript(Struct, frozen=True):
    """client-reconfig-script with its seven arguments (config-and-events.md 4)."""

    audible: ClassVar[bool] = True
    path: str
    arguments: tuple[str, ...]


class Answer(Struct, frozen=True):
    """The answer to a request: ``None`` for OK, a number (RESET), or an error text that starts with its code."""

    audible: ClassVar[bool] = True
    request: int
    error: str | None
    number: int | None = None


class AnswerOpinion(Struct, frozen=True):
    """The answer to is-master-down-by-addr. When the save of the vote fails, ``*`` is answered instead."""

    audible: ClassVar[bool] = True
    request: int
    down: bool
    leader: RunId | None
    leader_epoch: Epoch


class Crash(Struct, frozen=True):
    """SIMULATE-FAILURE: exit with status 99 now."""

    audible: ClassVar[bool] = True


Effect: TypeAlias = (
    OpenLink
    | CloseLink
    | SendPing
    | PollInfo
    | KillScript
    | ResolveName
    | SaveConfig
    | SayHello
    | AskPeer
    | Promote
    | Repoint
    | PauseWriters
    | ReleaseWriters
    | HandOver
    | KillClients
    | Announce
    | RunReconfigScript
    | Answer
    | AnswerOpinion
    | Crash
)
