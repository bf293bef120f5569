"""A client port without sockets: a transport that records, and a mind that decides just enough to be asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import hiredis
from attrs import Factory, define, evolve, field

from trio_sentinel.model.effects import Answer, AnswerOpinion
from trio_sentinel.model.inputs import (
    CrashPointsSetAsked,
    FailoverAsked,
    GlobalsSetAsked,
    HelloHeard,
    Input,
    MonitorAsked,
    OpinionAsked,
    RemoveAsked,
    Request,
    ResetAsked,
    SetAsked,
    TimingSetAsked,
)
from trio_sentinel.model.observations import Observations
from trio_sentinel.model.settings import MasterSettings
from trio_sentinel.model.state import Master, SentinelState
from trio_sentinel.model.values import Address, Level, RunId, is_ip
from trio_sentinel.runtime.board import Board
from trio_sentinel.runtime.clients import House, Identity
from trio_sentinel.runtime.session import Session
from trio_sentinel.runtime.session_admission import admit
from trio_sentinel.runtime.session_rights import Roster
from trio_sentinel.wire.acl_file import users_of
from trio_sentinel.wire.acl_selector import Selector
from trio_sentinel.wire.answers import PendingScript
from trio_sentinel.wire.bulletins import Bulletin

MY_ID = RunId("a" * 40)


@define(eq=False)
class RecordingTransport:
    """Takes `window` bytes at once, or all; remembers what happened to it."""

    remote: str = "127.0.0.1:50001"
    local: str = "127.0.0.1:26379"
    local_host: str = "127.0.0.1"
    window: int | None = None
    sends: list[bytes] = Factory(list)
    unsent: int = 0
    paused: bool = False
    closed: bool = False
    flushed: bool = False

    def send(self, data: bytes) -> None:
        """Record."""
        if self.closed:
            return
        self.sends.append(data)
        if self.window is not None:
            self.unsent = max(0, self.unsent + len(data) - self.window)

    def pause(self) -> None:
        """No more reading."""
        self.paused = True

    def resume(self) -> None:
        """Reading again."""
        self.paused = False

    def close(self, *, flush: bool = True) -> None:
        """The end."""
        if not self.closed:
            self.closed, self.flushed = True, flush

    @property
    def sent(self) -> bytes:
        """Everything that was sent, joined."""
        return b"".join(self.sends)

    def take(self) -> bytes:
        """Everything that was sent since the last call."""
        data = self.sent
        self.sends.clear()
        return data


@define(eq=False)
class SmallMind:
    """Keeps masters and answers requests; with ``slow`` set, answers wait for `save`."""

    state: SentinelState = Factory(lambda: SentinelState(my_id=MY_ID))
    senses: Observations = Factory(Observations)
    version: int = 0
    clock_ms: int = 1_000_000
    slow: bool = False
    failing: bool = False
    heard: list[Input] = Factory(list)
    asked: list[Request] = Factory(list)
    waiting: list[Callable[[], None]] = Factory(list)
    lookups: list[tuple[str, Callable[[str | None], None]]] = Factory(list)
    on_ask: Callable[[Request], None] = field(default=lambda request: None)
    """What the board does for a request before its answer."""

    def now_ms(self) -> int:
        """Stands still unless told."""
        return self.clock_ms

    def wall_ms(self) -> int:
        """Some day."""
        return 1_700_000_000_000 + self.clock_ms

    def hear(self, perceived: Input) -> None:
        """Remember."""
        self.heard.append(perceived)

    def ask(self, make: Callable[[int], Request], on_answer: Callable[[Answer | AnswerOpinion], None]) -> None:
        """Decide at once; answer at once or after `save`."""
        request = make(len(self.asked) + 1)
        self.asked.append(request)
        answer = self._decide(request)
        self.version += 1

        def tell() -> None:
            self.on_ask(request)
            failed = Answer(request.request, "ERR Failed to save config file. Check server logs.")
            on_answer(failed if self.failing else answer)

        if self.slow:
            self.waiting.append(tell)
        else:
            tell()

    def save(self) -> None:
        """Let everything that waits be answered."""
        waiting, self.waiting = self.waiting, []
        for tell in waiting:
            tell()

    def resolve(self, host: str, on_ip: Callable[[str | None], None]) -> None:
        """At once for an IP, else when the test says so."""
        if is_ip(host):
            on_ip(host)
        else:
            self.lookups.append((host, on_ip))

    def monitor(self, name: str, port: int = 6379, host: str = "127.0.0.1", quorum: int = 2) -> Master:
        """Add a master by hand."""
        master = Master(name=name, address=Address(host, port), settings=MasterSettings(quorum=quorum))
        self.state.masters[name] = master
        self.version += 1
        return master

    def _decide(self, request: Request) -> Answer | AnswerOpinion:
        masters, number = self.state.masters, request.request
        match request:
            case OpinionAsked():
                return AnswerOpinion(number, False, request.candidate and MY_ID, request.epoch)
            case MonitorAsked():
                if request.name in masters:
                    return Answer(number, "ERR Duplicate master name.")
                self.monitor(request.name, request.address.port, request.address.host, request.quorum)
            case RemoveAsked():
                del masters[request.name]
            case ResetAsked():
                return Answer(number, None, len(request.names))
            case SetAsked():
                return Answer(number, request.refusal)
            case GlobalsSetAsked():
                self.state.settings = request.settings
            case TimingSetAsked():
                self.state.timing = evolve(self.state.timing, **{request.name: request.value_ms})
            case FailoverAsked():
                if request.coordinated:
                    return Answer(number, "NOGOODPRIMARY Primary does not support FAILOVER command")
                return Answer(number, "NOGOODSLAVE No suitable replica to promote")
            case CrashPointsSetAsked():
                self.state.crash_after_election = request.after_election
                self.state.crash_after_promotion = request.after_promotion
            case _:
                pass
        return Answer(number, None)

    @property
    def hellos(self) -> list[HelloHeard]:
        """The hellos that were heard."""
        return [perceived for perceived in self.heard if isinstance(perceived, HelloHeard)]


@define(eq=False)
class PlainDirectives:
    """The defaults of a sentinel."""

    port: int = 26379
    timeout: int = 0
    maxclients: int = 10000
    proto_max_bulk_len: int = 512 * 1024 * 1024
    client_query_buffer_limit: int = 1024 * 1024 * 1024
    client_output_buffer_limits: Sequence[tuple[str, int, int, int]] = (
        ("normal", 0, 0, 0),
        ("pubsub", 32 << 20, 8 << 20, 60),
    )
    availability_zone: str = ""
    extended_redis_compatibility: bool = False
    tls_auth_clients_user: str = "off"
    acllog_max_len: int = 128
    protected_mode: bool = False


@define(eq=False)
class NoScripts:
    """Nothing runs."""

    running: int = 0
    queued: int = 0
    jobs: Sequence[PendingScript] = ()

    def pending(self) -> Sequence[PendingScript]:
        """The given jobs."""
        return self.jobs


@define(eq=False)
class MemoryFile:
    """An ACL file that answers when the test says so."""

    name: str = "users.acl"
    content: bytes | str = b""
    """What reading it brings: a text is an error."""
    problem: str | None = None
    """Why it cannot be written."""
    waiting: list[Callable[[], None]] = Factory(list)

    def read(self, then: Callable[[bytes | str], None]) -> None:
        """Later."""
        self.waiting.append(lambda: then(self.content))

    def write(self, content: bytes, then: Callable[[str | None], None]) -> None:
        """Later."""

        def written() -> None:
            if self.problem is None:
                self.content = content
            then(self.problem)

        self.waiting.append(written)

    def answer(self) -> None:
        """Now."""
        self.waiting.pop(0)()


@define(eq=False)
class Stage:
    """A house with a small mind, and clients of it."""

    mind: SmallMind = Factory(SmallMind)
    directives: PlainDirectives = Factory(PlainDirectives)
    scripts: NoScripts = Factory(NoScripts)
    password: bytes | None = None
    users: Sequence[Sequence[str]] = ()
    """The words of ``user`` lines."""
    acl_file: MemoryFile | None = None
    loglevel: str = "notice"
    shutdowns: list[str] = Factory(list)
    executables: tuple[str, ...] = ("/bin/true",)
    house: House = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.house = House(
            mind=self.mind,
            board=Board(lambda level, line: None, lambda path, arguments: None),
            directives=self.directives,
            rights=Roster(users_of(self.users, Selector(), password=(self.password or b"").decode())),
            identity=Identity(
                version="0.1",
                run_id="b" * 40,
                pid=7,
                started_at_ms=0,
                config_file="/etc/s.conf",
                executable="/usr/bin/s",
                listeners=("name=tcp,bind=127.0.0.1,port=26379",),
            ),
            scripts=self.scripts,
            shutdown=self.shutdowns.append,
            loglevel=lambda: self.loglevel,
            set_loglevel=lambda word: setattr(self, "loglevel", word),
            is_executable=self.executables.__contains__,
            acl_file=self.acl_file,
            random_bytes=lambda size: b"\x01" * size,
            clock_s=lambda: 0.0,
        )

    def client(self, remote: str = "127.0.0.1:50001", window: int | None = None) -> Client:
        """Connect."""
        transport = RecordingTransport(remote=remote, window=window)
        handler = admit(self.house, transport)
        return Client(transport, handler)

    def tell(self, channel: str, payload: str) -> None:
        """Publish something to subscribers."""
        self.house.board.tell(Bulletin(Level.WARNING, channel, payload, scripted=False))


@define(eq=False)
class Client:
    """One connection and what came back."""

    transport: RecordingTransport
    handler: Any

    @property
    def session(self) -> Session:
        """The session; fails for who was turned away."""
        assert isinstance(self.handler, Session)
        return self.handler

    def is_read(self) -> bool:
        """Whether the session wants to hear more."""
        return not self.transport.paused

    def is_open(self) -> bool:
        """Whether the connection was not closed by us."""
        return not self.transport.closed

    def say(self, data: bytes) -> bytes:
        """Send bytes; what came back at once."""
        self.handler.received(data)
        return self.transport.take()

    def do(self, *words: str | bytes) -> bytes:
        """Send one command."""
        return self.say(request(*words))

    def read(self, *words: str | bytes) -> Any:
        """Send one command and parse its reply."""
        return parsed(self.do(*words))


def request(*words: str | bytes) -> bytes:
    """A command as multibulk."""
    parts = [word if isinstance(word, bytes) else word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def parsed(data: bytes) -> Any:
    """The one reply in `data`; an error is returned as hiredis.ReplyError."""
    reader = hiredis.Reader(encoding="utf-8", errors="surrogateescape")
    reader.feed(data)
    reply = reader.gets()
    assert not reader.has_data(), data
    return reply
