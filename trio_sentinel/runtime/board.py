"""The notice board: what was decided, told to the log, to subscribers, to scripts and to the library's watchers.

1. `publish` and `tell` are synchronous and never block: whoever listens too slowly is cut off, not waited for.
2. Nothing here decides what is said or how loud: that is `wire/bulletins.py`.
3. Order for one bulletin: log, subscribers of the channel, subscribers of patterns, script. Watchers hear the
   typed event first, once, however many bulletins it makes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

import trio
from attrs import Factory, define

from trio_sentinel.errors import SentinelError
from trio_sentinel.model.effects import Announce
from trio_sentinel.model.events import Event
from trio_sentinel.model.values import Level
from trio_sentinel.wire import glob, resp
from trio_sentinel.wire.bulletins import Bulletin, Facts, bulletins_of, facts_of

WATCH_BUFFER: Final = 1024  # events a watcher may be behind
SUBSCRIPTION_COST: Final = 256  # bytes that a subscription takes besides the name

Log: TypeAlias = Callable[[Level, str], None]
"""Writes one line if its level passes the log level."""

LogFacts: TypeAlias = Callable[[Level, str, Facts], None]
"""The same for a log that machines read, with the fields of the event."""

RunScript: TypeAlias = Callable[[str, tuple[str, ...]], None]
"""Queues one run of a script: path and arguments."""


class WatcherTooSlow(SentinelError):
    """A watcher fell more than its buffer behind. It got every event up to here; what came later is lost to it."""


class Subscriber(Protocol):
    """Who subscribed: compared and hashed by identity."""

    def deliver(self, message: Message) -> None:
        """One message, the same object for all who get the same. Must not block or raise."""


class Message(dict[int, bytes]):
    """One message: RESP version -> its frame, encoded once for all that get the same (commands.md 4.1).

    `pattern` is None for a subscription of the channel itself.
    """

    __slots__ = ("channel", "pattern", "payload")

    def __init__(self, pattern: bytes | None, channel: bytes, payload: bytes) -> None:
        super().__init__()
        self.pattern = pattern
        self.channel = channel
        self.payload = payload

    def __missing__(self, proto: int) -> bytes:
        head = (b"message",) if self.pattern is None else (b"pmessage", self.pattern)
        frame = self[proto] = resp.push([resp.bulk(word) for word in (*head, self.channel, self.payload)], proto)
        return frame


@define(eq=False)
class Held:
    """What one subscriber listens to, in the order of its subscriptions. Read only outside the board."""

    channels: dict[bytes, None] = Factory(dict)
    patterns: dict[bytes, None] = Factory(dict)
    size: int = 0
    """Bytes that these subscriptions take."""

    def add(self, names: dict[bytes, None], name: bytes) -> None:
        """One subscription more."""
        if name not in names:
            names[name] = None
            self.size += len(name) + SUBSCRIPTION_COST

    def drop(self, names: dict[bytes, None], name: bytes) -> None:
        """One less."""
        del names[name]
        self.size -= len(name) + SUBSCRIPTION_COST

    @property
    def total(self) -> int:
        """The number that subscribe and unsubscribe replies show."""
        return len(self.channels) + len(self.patterns)


_NOTHING_HELD: Final = Held()
_Index: TypeAlias = dict[bytes, dict[Subscriber, None]]


def _drop(index: _Index, key: bytes, subscriber: Subscriber) -> None:
    """Take one subscription out of `index`, and the key with its last one."""
    subscribers = index[key]
    del subscribers[subscriber]
    if not subscribers:
        del index[key]


@define(eq=False)
class Watch:
    """What one library watcher reads: an async iterator of events."""

    _send: trio.MemorySendChannel[Event]
    _receive: trio.MemoryReceiveChannel[Event]
    _too_slow: bool = False

    async def __aenter__(self) -> Watch:
        return self

    async def __aexit__(self, *failure: object) -> None:
        self.discard()

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Event:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            if self._too_slow:
                raise WatcherTooSlow("events came faster than they were read") from None
            raise StopAsyncIteration from None

    def hear(self, event: Event) -> bool:
        """Take one event; False when the buffer is full, and then this was the last."""
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            self._too_slow = True
            self._send.close()
            return False
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False  # its block was left
        return True

    def end(self) -> None:
        """Nothing more comes; what is buffered is still read."""
        self._send.close()

    def discard(self) -> None:
        """Nobody reads any more."""
        self._send.close()
        self._receive.close()


@define(eq=False)
class Board:
    """One per process. See the module for what is promised."""

    log: Log
    run_script: RunScript
    log_facts: LogFacts | None = None
    """Gets the lines about events instead of `log`, when the log wants their fields."""
    _channels: _Index = Factory(dict)
    _patterns: _Index = Factory(dict)
    _globs: dict[bytes, glob.Glob] = Factory(dict)  # of each pattern, for more may be in use than are remembered
    _held: dict[Subscriber, Held] = Factory(dict)
    _watches: dict[Watch, None] = Factory(dict)
    _closed: bool = False

    # ------------------------------------------------------------ telling

    def publish(self, announce: Announce) -> None:
        """Tell everybody of one event."""
        for watch in tuple(self._watches):
            if not watch.hear(announce.event):
                del self._watches[watch]
        for bulletin in bulletins_of(announce.event):
            if self.log_facts is None:
                self.log(bulletin.level, bulletin.line)
            else:
                self.log_facts(bulletin.level, bulletin.line, {"event": bulletin.channel, **facts_of(announce.event)})
            self._deliver(bulletin)
            if announce.script is not None and bulletin.scripted and bulletin.channel is not None:
                self.run_script(announce.script, (bulletin.channel, bulletin.payload))

    def tell(self, bulletin: Bulletin) -> None:
        """Tell log and subscribers of a bulletin that comes from no event (scripts, links)."""
        self.log(bulletin.level, bulletin.line)
        self._deliver(bulletin)

    def _deliver(self, bulletin: Bulletin) -> None:
        """To the channel first, then pattern by pattern, so each subscriber reads `message` before `pmessage`.

        Whoever leaves meanwhile (cut off for a full output buffer) is only missing from what was not begun.
        """
        if not self._held or not bulletin.published:
            return
        assert bulletin.channel is not None
        channel = resp.text(bulletin.channel)
        payload = resp.text(bulletin.payload)
        message = Message(None, channel, payload)
        for subscriber in tuple(self._channels.get(channel, ())):
            subscriber.deliver(message)
        for pattern in tuple(self._patterns):
            found = self._globs.get(pattern)
            if found is not None and found.matches(channel):
                message = Message(pattern, channel, payload)
                for subscriber in tuple(self._patterns.get(pattern, ())):
                    subscriber.deliver(message)

    # ------------------------------------------------------------ subscribers

    def subscribe(self, subscriber: Subscriber, channel: bytes) -> None:
        """Listen to one channel; again does nothing."""
        held = self._held.setdefault(subscriber, Held())
        held.add(held.channels, channel)
        self._channels.setdefault(channel, {})[subscriber] = None

    def psubscribe(self, subscriber: Subscriber, pattern: bytes) -> None:
        """Listen to every channel that fits `pattern`; again does nothing."""
        held = self._held.setdefault(subscriber, Held())
        held.add(held.patterns, pattern)
        self._patterns.setdefault(pattern, {})[subscriber] = None
        if pattern not in self._globs:
            self._globs[pattern] = glob.compiled(pattern)

    def unsubscribe(self, subscriber: Subscriber, channel: bytes) -> None:
        """No longer listen to `channel`; nothing happens to who did not."""
        held = self.held(subscriber)
        if channel in held.channels:
            held.drop(held.channels, channel)
            _drop(self._channels, channel, subscriber)
            self._forget_if_idle(subscriber, held)

    def punsubscribe(self, subscriber: Subscriber, pattern: bytes) -> None:
        """No longer listen to `pattern`; nothing happens to who did not."""
        held = self.held(subscriber)
        if pattern in held.patterns:
            held.drop(held.patterns, pattern)
            self._drop_pattern(pattern, subscriber)
            self._forget_if_idle(subscriber, held)

    def leave(self, subscriber: Subscriber) -> None:
        """End all subscriptions of `subscriber`: its connection is gone."""
        held = self._held.pop(subscriber, None)
        if held is None:
            return
        for channel in held.channels:
            _drop(self._channels, channel, subscriber)
        for pattern in held.patterns:
            self._drop_pattern(pattern, subscriber)

    def _drop_pattern(self, pattern: bytes, subscriber: Subscriber) -> None:
        _drop(self._patterns, pattern, subscriber)
        if pattern not in self._patterns:
            del self._globs[pattern]

    def _forget_if_idle(self, subscriber: Subscriber, held: Held) -> None:
        if held.total == 0:
            del self._held[subscriber]

    def held(self, subscriber: Subscriber) -> Held:
        """What `subscriber` listens to now."""
        return self._held.get(subscriber, _NOTHING_HELD)

    @property
    def channels(self) -> int:
        """Channels with a subscriber (INFO `pubsub_channels`)."""
        return len(self._channels)

    @property
    def patterns(self) -> int:
        """Different patterns with a subscriber (INFO `pubsub_patterns`)."""
        return len(self._patterns)

    @property
    def clients(self) -> int:
        """Who holds any subscription (INFO `pubsub_clients`)."""
        return len(self._held)

    # ------------------------------------------------------------ watchers

    def watch(self, buffer: int = WATCH_BUFFER) -> Watch:
        """Every event that is announced from now on, as an async iterator and as a block that ends it.

        It ends when the board closes. A watcher that is more than `buffer` events behind still reads those, then
        its iteration raises WatcherTooSlow: nothing is lost in silence and nobody waits for it. So a watch that is
        left without its block ends itself when its buffer is full.
        """
        watch = Watch(*trio.open_memory_channel[Event](buffer))
        if self._closed:
            watch.end()
        else:
            self._watches[watch] = None
        return watch

    def close(self) -> None:
        """The service stops: watchers read what they have and end."""
        self._closed = True
        for watch in self._watches:
            watch.end()
        self._watches.clear()
