"""Clients of the stage: they speak RESP over streams and know nothing but what they are told.

Each of them also checks: a sentinel may name only an address that it held for true between question and answer, and a
subscriber hears every ``+switch-master`` in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import hiredis
from attrs import Factory, define

from trio_sentinel.model import inputs as i
from trio_sentinel.model.values import Address
from trio_sentinel.sim.checkers import require
from trio_sentinel.sim.cluster import Writer
from trio_sentinel.sim.stage_network import End, StageNetwork
from trio_sentinel.wire.orders import command
from trio_sentinel.wire.replies import ErrorReply, Reply

if TYPE_CHECKING:
    from trio_sentinel.sim.stage import StageCluster
    from trio_sentinel.sim.stage_sentinel import StagedSentinel

ANSWER_WITHIN_MS: Final = 1000
OPERATOR_RETRY_MS: Final = 100
OPERATOR_PATIENCE: Final = 300
"""How often an operator tries to reach the port."""


@define(eq=False)
class Person:
    """A process that only connects: never dead, never stopped."""

    address: Address
    up: bool = True
    host_up: bool = True
    frozen: bool = False
    life: int = 1
    wires: dict[int, Any] = Factory(dict)

    def take(self, wire: Any, item: Any) -> Any:
        """Nobody connects to it."""
        raise AssertionError


def make_reader() -> hiredis.Reader:
    """A reader of replies that is not our own, so that one mistake on both sides of a stream does not hide itself.
    False stands for "nothing complete yet"."""
    as_value: Any = lambda text: ErrorReply(text.encode())  # noqa: E731 - hiredis wants an exception, and takes a value
    return hiredis.Reader(replyError=as_value, notEnoughData=False)


class Talker:
    """One connection of a client, without a task."""

    def __init__(
        self,
        network: StageNetwork,
        person: Person,
        target: Address,
        on_reply: Callable[[Reply], None],
        on_gone: Callable[[], None],
        password: str | None = None,
    ) -> None:
        self._on_reply = on_reply
        self._on_gone = on_gone
        self._unheard = 0 if password is None else 1
        self._reader = make_reader()
        self._out = bytearray()
        self.gone = False
        self._end: End = network.connect(person, person.address.host, target, self)
        if password is not None:
            self.say("AUTH", password)

    @property
    def life(self) -> int:
        """Which life of the process it leads to; once it is connected."""
        assert self._end.far is not None
        return self._end.far.life

    def say(self, *words: str) -> None:
        """Send one command as soon as it is possible."""
        self._out += command(*words)
        self._flush()

    def _flush(self) -> None:
        while self._out and self._end.connected and not self._end.broken and not self.gone:
            taken = self._end.send(bytes(self._out))
            if not taken:
                return
            del self._out[:taken]

    def changed(self) -> None:
        """See `stage_network.User`."""
        end = self._end
        self._flush()
        if end.inbox:
            self._reader.feed(end.read(len(end.inbox)))
            while not self.gone and (reply := self._reader.gets()) is not False:
                if self._unheard:
                    self._unheard -= 1  # the answer to AUTH
                else:
                    self._on_reply(reply)
        if (end.broken or end.ended) and not self.gone:
            self.close()
            self._on_gone()

    def close(self) -> None:
        """Leave; nobody is told."""
        if not self.gone:
            self.gone = True
            self._end.close()


# ---------------------------------------------------------------- the operator


class Operator:
    """Somebody with redis-cli on a sentinel's host, who tries until it is connected and then says everything."""

    def __init__(self, sentinel: StagedSentinel) -> None:
        self._sentinel = sentinel
        self._person = Person(Address(sentinel.address.host, 1))
        self._talker: Talker | None = None
        self._words: deque[tuple[str, ...]] = deque()
        self._unanswered = 0
        self._tries = 0
        self.refusals: deque[str] = deque(maxlen=20)

    def send(self, request: i.Request) -> None:
        """Say what the request says, in order."""
        self._words.extend(WORDS[type(request)](request))
        password = self._sentinel.cluster.scenery.server_password
        if isinstance(request, i.MonitorAsked) and password is not None:
            self._words.append(("SENTINEL", "SET", request.name, "auth-pass", password))
        if self._talker is None:
            self._call()

    def forget(self) -> None:
        """The process died. What was said to it is lost; in peace it is said again to the next life."""
        if self._talker is not None:
            self._talker.close()
        self._refused()

    def _call(self) -> None:
        sentinel = self._sentinel
        self._unanswered = len(self._words)
        talker = self._talker = Talker(
            sentinel.network, self._person, sentinel.address, self._heard, self._refused, sentinel.password
        )
        for words in self._words:
            talker.say(*words)

    def _heard(self, reply: Reply) -> None:
        if isinstance(reply, ErrorReply):
            self.refusals.append(reply.text.decode())
        self._tries = 0
        if self._words:
            self._words.popleft()
        self._unanswered -= 1
        if self._unanswered <= 0:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._talker is not None:
            self._talker.close()
            self._talker = None
        if self._words:
            self._call()

    def _refused(self) -> None:
        self._talker = None
        self._tries += 1
        somebody = self._sentinel.up or self._sentinel.cluster.peaceful
        if self._tries < OPERATOR_PATIENCE and somebody:
            self._sentinel.world.after(OPERATOR_RETRY_MS, self._retry)
        else:
            self._words.clear()

    def _retry(self) -> None:
        if self._talker is None and self._words:
            self._call()


def _monitor(asked: i.MonitorAsked) -> list[tuple[str, ...]]:
    return [("SENTINEL", "MONITOR", asked.name, asked.address.host, str(asked.address.port), str(asked.quorum))]


def _set(asked: i.SetAsked) -> list[tuple[str, ...]]:
    return [("SENTINEL", "SET", asked.name, *(word for option in asked.options for word in option))]


def _failover(asked: i.FailoverAsked) -> list[tuple[str, ...]]:
    return [("SENTINEL", "FAILOVER", asked.name, *(("COORDINATED",) if asked.coordinated else ()))]


def _crash_points(asked: i.CrashPointsSetAsked) -> list[tuple[str, ...]]:
    points = (("crash-after-election", asked.after_election), ("crash-after-promotion", asked.after_promotion))
    words = [word for word, wanted in points if wanted]
    return [("SENTINEL", "SIMULATE-FAILURE", *(words or ("help",)))]  # each call clears what was set before


def _globals(asked: i.GlobalsSetAsked) -> list[tuple[str, ...]]:
    """The one global setting that harm touches."""
    return [("SENTINEL", "CONFIG", "SET", "announce-ip", asked.settings.announce_ip or "")]


WORDS: Final[dict[type[Any], Callable[[Any], list[tuple[str, ...]]]]] = {
    i.MonitorAsked: _monitor,
    i.RemoveAsked: lambda asked: [("SENTINEL", "REMOVE", asked.name)],
    i.ResetAsked: lambda asked: [("SENTINEL", "RESET", name) for name in asked.names],
    i.SetAsked: _set,
    i.FailoverAsked: _failover,
    i.CrashPointsSetAsked: _crash_points,
    i.GlobalsSetAsked: _globals,
}
"""What an operator types for each request."""


# ---------------------------------------------------------------- a client that writes


class StagedWriter(Writer):
    """A client of one master name that asks over the wire, subscribes, and writes over the wire."""

    cluster: StageCluster

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.person = Person(Address(self.host, 1))
        self.asking: Talker | None = None
        self.listening: Talker | None = None
        self.writing: Talker | None = None
        self.written_to: Address | None = None
        self.asked: deque[tuple[int, StagedSentinel, int]] = deque()
        self.sent: deque[tuple[int, Address, bytes]] = deque()
        self.source: StagedSentinel | None = None
        self.count = 0

    # ------------------------------------------------------------ asking

    def run(self) -> None:
        """Ask once, and plan the next time."""
        world = self.cluster.world
        world.after(self.period_ms, self.run)
        if self.listening is None:
            self._listen()
        if self.asked and world.now_ms - self.asked[0][0] > ANSWER_WITHIN_MS:
            self._lost_sentinel()
        if self.asking is None:
            self._choose_sentinel()
        assert self.asking is not None
        assert self.source is not None
        self.asked.append((world.now_ms, self.source, self.source.life))
        self.asking.say("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)

    def _choose_sentinel(self) -> None:
        self.source = self.cluster.world.random.choice(self.cluster.staged())
        source = self.source
        self.asking = Talker(
            self.cluster.streams,
            self.person,
            source.address,
            self._told_address,
            self._lost_sentinel,
            source.password,
        )

    def _lost_sentinel(self) -> None:
        if self.asking is not None:
            self.asking.close()
        self.asking, self.source = None, None
        self.asked.clear()

    def _told_address(self, reply: Reply) -> None:
        asked_ms, sentinel, life = self.asked.popleft()
        if not isinstance(reply, list):
            return  # removed for the moment
        host, port = reply
        assert isinstance(host, bytes)
        assert isinstance(port, bytes)
        address = Address(host.decode(), int(port))
        if sentinel.life == life:
            known = self._was_shown(sentinel, address, asked_ms)
            require(known, "reply cache", f"{sentinel.name} names {address} for {self.name} when it is another")
        self._write(address)

    def _was_shown(self, sentinel: StagedSentinel, address: Address, since_ms: int) -> bool:
        """Whether the sentinel held `address` for the right one at some moment since then."""
        shown = sentinel.shown.get(self.name, [])
        ends = [at_ms for at_ms, _ in shown[1:]] + [self.cluster.world.now_ms]
        return any(told == address and end_ms >= since_ms for (_, told), end_ms in zip(shown, ends, strict=True))

    # ------------------------------------------------------------ subscribing

    def _listen(self) -> None:
        sentinel = self.cluster.world.random.choice(self.cluster.staged())
        places: list[int] | None = None

        def heard(reply: Reply) -> None:
            nonlocal places
            if not isinstance(reply, list) or reply[0] != b"message":
                return
            payload = reply[2]
            switches = sentinel.switches[talker.life]
            wanted = range(len(switches)) if places is None else [place + 1 for place in places]
            places = [place for place in wanted if switches[place : place + 1] == [payload]]
            require(bool(places), "news", f"{sentinel.name} publishes {payload!r} out of order")
            self.cluster.seen["a switch heard by a subscriber"] += 1

        talker = self.listening = Talker(
            self.cluster.streams, self.person, sentinel.address, heard, self._deaf, sentinel.password
        )
        talker.say("SUBSCRIBE", "+switch-master")

    def _deaf(self) -> None:
        self.listening = None

    # ------------------------------------------------------------ writing

    def _write(self, address: Address) -> None:
        now_ms = self.cluster.world.now_ms
        stuck = bool(self.sent) and now_ms - self.sent[0][0] > ANSWER_WITHIN_MS
        if self.written_to != address or stuck:
            self._leave_server()
        if self.writing is None:
            self.written_to = address
            self.writing = Talker(
                self.cluster.streams,
                self.person,
                address,
                self._written,
                self._leave_server,
                self.cluster.scenery.server_password,
            )
        self.count += 1
        value = f"{self.name} {self.count}"
        self.sent.append((now_ms, address, value.encode()))
        self.writing.say("SET", "key", value)

    def _leave_server(self) -> None:
        if self.writing is not None:
            self.writing.close()
        self.refused += len(self.sent)
        self.writing, self.written_to = None, None
        self.sent.clear()

    def _written(self, reply: Reply) -> None:
        _, address, value = self.sent.popleft()
        if isinstance(reply, ErrorReply):
            self.refused += 1
            return
        now_ms = self.cluster.world.now_ms
        self.writes.append(self.cluster.staged_server(address).writes.pop(value))
        self.longest_gap_ms = max(self.longest_gap_ms, now_ms - self.last_ok_at_ms)
        self.last_ok_at_ms = now_ms
