"""What must now be done. Orders are safe to repeat: the process may die between the decision and the deed.

``audible`` effects tell somebody something; while a durable event is on its way to the disk they wait behind it.
The others (probes, connections) reveal nothing and go at once.
"""

from __future__ import annotations

from typing import ClassVar, TypeAlias

from attrs import frozen

from trio_sentinel.model.events import Event
from trio_sentinel.model.refusals import Refusal as Refusal
from trio_sentinel.model.values import Address, Channel, Epoch, Hello, LinkId, Millis, PeerLink, RunId, ServerLink

# ---------------------------------------------------------------- silent


@frozen
class OpenLink:
    """Dial one connection of a link; answered by LinkOpened or LinkLost."""

    audible: ClassVar[bool] = False
    link: LinkId
    address: Address
    channel: Channel


@frozen
class CloseLink:
    """Close one connection of a link (or both with ``channel=None``); no LinkLost follows."""

    audible: ClassVar[bool] = False
    link: LinkId
    channel: Channel | None
    reason: str


@frozen
class SendPing:
    """PING; answered by PingAnswered."""

    audible: ClassVar[bool] = False
    link: LinkId


@frozen
class PollInfo:
    """INFO; answered by InfoHeard."""

    audible: ClassVar[bool] = False
    link: ServerLink


@frozen
class KillScript:
    """SCRIPT KILL to a server that is down and says BUSY."""

    audible: ClassVar[bool] = False
    link: ServerLink


@frozen
class ResolveName:
    """Ask the resolver; answered by NameResolved."""

    audible: ClassVar[bool] = False
    host: str


@frozen
class SaveConfig:
    """Write the state as it is now; answered by ConfigSaved or ConfigSaveFailed with `version` or a later one."""

    audible: ClassVar[bool] = False
    version: int
    urgent: bool
    """Somebody waits for it. Otherwise it may be joined with later ones."""


# ---------------------------------------------------------------- audible: to servers and peers


@frozen
class SayHello:
    """PUBLISH a hello about `hello.master`; ``host`` is empty where the link's own address belongs."""

    audible: ClassVar[bool] = True
    link: LinkId
    hello: Hello


@frozen
class AskPeer:
    """SENTINEL is-master-down-by-addr; ``candidate`` is None for ``*``. Answered by OpinionHeard."""

    audible: ClassVar[bool] = True
    peer: PeerLink
    master: str
    address: Address
    shown_host: str
    epoch: Epoch
    candidate: RunId | None


@frozen
class Promote:
    """The promote transaction, with INFO right behind it (core.md 14)."""

    audible: ClassVar[bool] = True
    link: ServerLink


@frozen
class Repoint:
    """The reconfigure transaction: follow `host`:`port`. ``abort_handover`` puts FAILOVER ABORT first (core.md 14)."""

    audible: ClassVar[bool] = True
    link: ServerLink
    host: str
    port: int
    abort_handover: bool


@frozen
class PauseWriters:
    """CLIENT PAUSE to a master that is about to hand over, with INFO right behind; answered by PauseAnswered."""

    audible: ClassVar[bool] = True
    link: ServerLink
    pause_ms: Millis


@frozen
class ReleaseWriters:
    """CLIENT UNPAUSE to a master that hands over no more; ``call_off`` puts FAILOVER ABORT first."""

    audible: ClassVar[bool] = True
    link: ServerLink
    call_off: bool


@frozen
class HandOver:
    """The coordinated transaction, to the master: pause writes and fail over to `host`:`port` within `timeout_ms`.

    ``at_once`` when the replica is known to have everything: the master need not wait for it to say so."""

    audible: ClassVar[bool] = True
    link: ServerLink
    host: str
    port: int
    timeout_ms: Millis
    at_once: bool


@frozen
class KillClients:
    """The kill-clients transaction after a coordinated promotion, which also unpauses writes (core.md 14)."""

    audible: ClassVar[bool] = True
    link: ServerLink


# ---------------------------------------------------------------- audible: to clients, operators and the process


@frozen
class Announce:
    """Tell subscribers, log and library watchers of `event`; ``script`` is the master's notification script."""

    audible: ClassVar[bool] = True
    event: Event
    script: str | None


@frozen
class RunReconfigScript:
    """client-reconfig-script with its seven arguments (config-and-events.md 4)."""

    audible: ClassVar[bool] = True
    path: str
    arguments: tuple[str, ...]


@frozen
class Answer:
    """The answer to a request: ``None`` for OK, a number (RESET), or an error text that starts with its code."""

    audible: ClassVar[bool] = True
    request: int
    error: str | None
    number: int | None = None


@frozen
class AnswerOpinion:
    """The answer to is-master-down-by-addr. When the save of the vote fails, ``*`` is answered instead."""

    audible: ClassVar[bool] = True
    request: int
    down: bool
    leader: RunId | None
    leader_epoch: Epoch


@frozen
class Crash:
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
