"""The two connections of a link, as objects that a reactor feeds: replies -> inputs for the mind.

1. Neither waits for anything: orders go out as they come, and replies are matched to them in order.
2. Whatever the other side does wrong loses the link, with a reason; nothing is raised.
3. The mind may close a connection while it hears from it; after that nothing more is told.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import ClassVar, Final, TypeAlias

from trio_sentinel.errors import ProtocolError
from trio_sentinel.model.effects import AskPeer, SayHello
from trio_sentinel.model.inputs import (
    HelloAccepted,
    HelloHeard,
    InfoHeard,
    OpinionHeard,
    PauseAnswered,
    PingAnswered,
    PubSubHeard,
)
from trio_sentinel.model.values import Channel, LinkId, ServerLink
from trio_sentinel.ports import Mind, Transport
from trio_sentinel.runtime.transport import CLOSED_BY_PEER
from trio_sentinel.wire import readings
from trio_sentinel.wire.orders import HELLO_CHANNEL, Awaited, Expected, Order
from trio_sentinel.wire.replies import ErrorReply, Reply, ReplyReader

MAX_AWAITED: Final = 65_536
"""Replies that may be owed to us. The model stops asking a server at a hundred; a peer may owe it a hello and an answer
for each master that it shares with us. More means that something is wrong."""

_PONG: Final = b"+PONG\r\n"
_CHANNEL: Final = HELLO_CHANNEL.encode()

Lost: TypeAlias = Callable[["CommandConnection | PubSubConnection", str], None]
"""Hears which connection is gone, and why."""


class CommandConnection:
    """The connection over which orders go and replies come."""

    __slots__ = (
        "_awaited",
        "_mind",
        "_on_lost",
        "_orders",
        "_pong",
        "_reader",
        "_transport",
        "closed",
        "link",
        "local_host",
    )
    channel: ClassVar[Channel] = Channel.COMMAND

    def __init__(self, link: LinkId, mind: Mind, transport: Transport, on_lost: Lost) -> None:
        self.link: Final = link
        self.local_host: Final = sys.intern(transport.local_host)
        """Our end's IP: what hellos over this connection announce by default."""
        self._mind = mind
        self._transport = transport
        self._on_lost = on_lost
        self._orders: list[bytes] = []
        self._awaited: list[Expected] = []  # nearly always two or three, for which a deque is a great deal
        self._reader = ReplyReader()
        self._pong = PingAnswered(link, "PONG")
        self.closed = False

    @property
    def owed(self) -> int:
        """How many replies have not come yet."""
        return len(self._awaited)

    def queue(self, order: Order) -> bool:
        """Send `order` with the next `flush`. Whether it is the first one since the last."""
        self._orders.append(order.data)
        self._awaited.extend(order.expected)
        return len(self._orders) == 1

    def flush(self) -> None:
        """Send what is queued, in one piece."""
        data = b"".join(self._orders)
        self._orders.clear()
        self._transport.send(data)

    def close(self) -> None:
        """Close. Replies that are still owed are forgotten; nobody is told."""
        if not self.closed:
            self.closed = True
            self._awaited.clear()
            self._orders.clear()
            self._transport.close()

    # ------------------------------------------------------------ Handler

    def received(self, data: bytes) -> None:
        """Replies, or parts of them."""
        if data == _PONG and self._awaited and self._awaited[0] is Awaited.PONG and self._reader.idle:
            del self._awaited[0]
            self._mind.hear(self._pong)
            return
        try:
            replies = self._reader.feed(data)
        except ProtocolError as error:
            self.fail(f"Protocol error: {error.text}")
            return
        for reply in replies:
            if self.closed:
                return
            if not self._awaited:
                self.fail("Protocol error: a reply that nobody asked for")
                return
            self._answer(self._awaited.pop(0), reply)

    def ended(self) -> None:
        """The server wants no more of us."""
        self.fail(CLOSED_BY_PEER)

    def drained(self) -> None:
        """Nothing waits for this."""

    def lost(self, reason: str) -> None:
        """The connection is gone."""
        self.fail(reason)

    def fail(self, reason: str) -> None:
        """Close, and say why."""
        if not self.closed:
            self.close()
            self._on_lost(self, reason)

    def _answer(self, expected: Expected, reply: Reply) -> None:
        if expected is Awaited.NOTHING:
            return
        if expected is Awaited.PONG:
            self._mind.hear(PingAnswered(self.link, readings.ping_text(reply)))
        elif expected is Awaited.INFO:
            assert isinstance(self.link, ServerLink)
            if isinstance(reply, bytes):
                self._mind.hear(InfoHeard(self.link, readings.info(reply), reply))
            else:
                self._mind.hear(InfoHeard(self.link, None, b""))
        elif expected is Awaited.PAUSE:
            assert isinstance(self.link, ServerLink)
            self._mind.hear(PauseAnswered(self.link, not isinstance(reply, ErrorReply)))
        elif isinstance(expected, SayHello):
            ok = not isinstance(reply, ErrorReply)
            self._mind.hear(HelloAccepted(self.link, expected.hello.master, ok))
        elif isinstance(expected, AskPeer):
            self._mind.hear(_opinion(expected, reply))


def _opinion(question: AskPeer, reply: Reply) -> OpinionHeard:
    down, leader, epoch = readings.opinion(reply) or (None, None, 0)
    return OpinionHeard(question.peer, question.master, question.address, question.epoch, down, leader, epoch)


class PubSubConnection:
    """The connection over which a server tells what other sentinels say of themselves."""

    __slots__ = ("_alive", "_echo", "_mind", "_my_id", "_on_lost", "_reader", "_transport", "closed", "link")
    channel: ClassVar[Channel] = Channel.PUBSUB

    def __init__(self, link: ServerLink, mind: Mind, transport: Transport, on_lost: Lost) -> None:
        self.link: Final = link
        self._mind = mind
        self._my_id = mind.state.my_id.encode()
        self._transport = transport
        self._on_lost = on_lost
        self._reader = ReplyReader()
        self._alive = PubSubHeard(link)
        self._echo = b""
        """Our own hello as it came last, whole and alone: so it comes again, every two seconds."""
        self.closed = False

    def introduce(self, order: Order) -> None:
        """Send the first words; their replies are frames like any other: signs of life."""
        self._transport.send(order.data)

    def close(self) -> None:
        """Close; nobody is told."""
        if not self.closed:
            self.closed = True
            self._transport.close()

    # ------------------------------------------------------------ Handler

    def received(self, data: bytes) -> None:
        """Frames, or parts of them. One sign of life for all that came together."""
        begins = self._reader.idle
        if begins and data == self._echo:
            self._mind.hear(self._alive)
            return
        try:
            frames = self._reader.feed(data)
        except ProtocolError as error:
            self.fail(f"Protocol error: {error.text}")
            return
        if not frames:
            return
        self._mind.hear(self._alive)
        if begins and self._reader.idle and len(frames) == 1 and self._my_id in (_message(frames[0]) or b""):
            self._echo = data
            return
        for frame in frames:
            if self.closed:
                return
            payload = _message(frame)
            if payload is None or self._my_id in payload:  # what we said ourselves comes back, too
                continue
            hello = readings.hello(payload)
            if hello is not None:
                self._mind.hear(HelloHeard(hello))

    def ended(self) -> None:
        """The server wants no more of us."""
        self.fail(CLOSED_BY_PEER)

    def drained(self) -> None:
        """Nothing waits for this."""

    def lost(self, reason: str) -> None:
        """The connection is gone."""
        self.fail(reason)

    def fail(self, reason: str) -> None:
        """Close, and say why."""
        if not self.closed:
            self.close()
            self._on_lost(self, reason)


def _message(frame: Reply) -> bytes | None:
    """The payload of a message on the hello channel; None for any other frame."""
    if isinstance(frame, list) and len(frame) == 3 and frame[0] == b"message" and frame[1] == _CHANNEL:
        payload = frame[2]
        return payload if isinstance(payload, bytes) else None
    return None
