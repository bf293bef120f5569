"""The client port as a whole: what all sessions share, who is connected, and the limits that span connections.

1. `House` holds what a session needs of the rest of the process; it owns nothing.
2. `Clients` knows every session and counts for INFO.
3. One timer calls `sweep`: idle clients, slow readers, the end of CLIENT PAUSE, and too much memory taken by all
   clients together are found there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from attrs import Factory, define, field, frozen

from trio_sentinel.model.values import Millis
from trio_sentinel.ports import Mind, Transport
from trio_sentinel.runtime.board import Board
from trio_sentinel.runtime.rates import Rates, Sample
from trio_sentinel.runtime.session_rights import Roster
from trio_sentinel.wire import resp
from trio_sentinel.wire.acl_log import AclLog
from trio_sentinel.wire.answers import PendingScript
from trio_sentinel.wire.commands import COMMANDS, Command

if TYPE_CHECKING:
    from trio_sentinel.runtime.session import Session

CACHED_REPLIES: Final = 4096
CACHED_BATCHES: Final = 1024
MAX_ANSWER: Final = 16 * 1024
FIXED_BUFFER: Final = 16 * 1024
GUEST_OVERFLOW: Final = 1024
SWEEPS_PER_SECOND: Final = 10
LEAST_VISITS: Final = 64
MOST_COST_S: Final = 1.0  # of one turn: no command takes so long


class Directives(Protocol):
    """The lines of the configuration that rule the client port; sizes in bytes, ``timeout`` in seconds (0 = never)."""

    @property
    def port(self) -> int:
        """Where clients connect."""

    @property
    def timeout(self) -> int:
        """How long a client may be idle."""

    @property
    def maxclients(self) -> int:
        """How many clients may be connected."""

    @property
    def proto_max_bulk_len(self) -> int:
        """The longest argument."""

    @property
    def client_query_buffer_limit(self) -> int:
        """The longest unfinished request."""

    @property
    def client_output_buffer_limits(self) -> Sequence[tuple[str, int, int, int]]:
        """Per class (``normal``, ``pubsub``): hard limit, soft limit, seconds the soft one may last; 0 = none."""

    @property
    def availability_zone(self) -> str:
        """What HELLO and INFO tell of it; empty for nothing."""

    @property
    def extended_redis_compatibility(self) -> bool:
        """Whether HELLO and INFO use the names of Redis."""

    @property
    def tls_auth_clients_user(self) -> str:
        """What of a client certificate names a user: ``CN``, ``URI``, or ``off``."""

    @property
    def acllog_max_len(self) -> int:
        """How many refusals ACL LOG remembers."""

    @property
    def protected_mode(self) -> bool:
        """Whether only local clients are served while there is no password."""


class Scripts(Protocol):
    """The notification scripts, as INFO and PENDING-SCRIPTS show them."""

    @property
    def running(self) -> int:
        """How many run."""

    @property
    def queued(self) -> int:
        """How many run or wait."""

    def pending(self) -> Sequence[PendingScript]:
        """All of them."""


class UserFile(Protocol):
    """The ACL file. Both methods return at once and call `then` later, once."""

    @property
    def name(self) -> str:
        """As in ``aclfile``."""

    def read(self, then: Callable[[bytes | str], None]) -> None:
        """Read it; `then` gets the content, or the text of an error."""

    def write(self, content: bytes, then: Callable[[str | None], None]) -> None:
        """Replace it durably; `then` gets None, or a line for the log."""


def _say_nothing(line: str) -> None:
    """Where nobody reads a log."""


@frozen(kw_only=True)
class Identity:
    """What does not change while the process runs. ``version`` is our own release."""

    version: str
    run_id: str
    pid: int
    started_at_ms: Millis
    config_file: str
    executable: str
    os: str = ""
    arch_bits: int = 64
    listeners: tuple[str, ...] = ()
    """Texts like ``name=tcp,bind=127.0.0.1,port=26379``."""


@define(eq=False, kw_only=True)
class Clients:
    """Everybody who is connected, and what INFO counts."""

    sessions: dict[int, Session] = Factory(dict)
    swept_at_ms: Millis = 0
    """The time of the last `sweep`: good enough for when a client was last active."""
    next_id: int = 1
    paused_until_ms: Millis | None = None
    pause_writes_only: bool = False
    received: int = 0
    rejected: int = 0
    commands: int = 0
    errors: int = 0
    net_input: int = 0
    net_output: int = 0
    reads: int = 0
    writes: int = 0
    denied_auth: int = 0
    denied_command: int = 0
    denied_channel: int = 0
    denied_certificate: int = 0
    cut_for_query: int = 0
    cut_for_output: int = 0
    rates: Rates = Factory(Rates)
    evicted: int = 0
    memory_limit: int = 0
    """Bytes that all clients together may take; 0 = no limit."""
    places: int = 0
    """How many may be connected: ``maxclients``, or fewer when descriptors are scarce."""
    count_places: Callable[[], int] | None = None
    """Asked once a second, for links need descriptors, too, and come first."""
    _unvisited: list[Session] = Factory(list)
    _visits: int = 0  # each time the timer rings

    def __iter__(self) -> Iterator[Session]:
        """All sessions, oldest first; safe to close some meanwhile."""
        return iter(tuple(self.sessions.values()))

    def __len__(self) -> int:
        return len(self.sessions)

    def enter(self, session: Session) -> int:
        """Register a session; its number, never used before."""
        number = self.next_id
        self.next_id += 1
        self.received += 1
        self.sessions[number] = session
        return number

    def leave(self, session: Session) -> None:
        """Forget a session; again does nothing."""
        self.sessions.pop(session.id, None)

    def pause(self, until_ms: Millis, writes_only: bool) -> None:
        """CLIENT PAUSE; a pause that runs longer, or that holds more back, is not weakened by a new one."""
        if self.paused_until_ms is not None:
            until_ms = max(until_ms, self.paused_until_ms)
            writes_only = writes_only and self.pause_writes_only
        self.paused_until_ms, self.pause_writes_only = until_ms, writes_only

    def unpause(self) -> None:
        """Let everybody go on."""
        self.paused_until_ms = None
        for session in self:
            session.end_pause()

    def sweep(self, now_ms: Millis) -> None:
        """Close idle and slow clients, end a pause whose time has come.

        To be called `SWEEPS_PER_SECOND` times a second: the pause is looked at each time, every client once a second,
        for thousands of them are work, too.
        """
        self.swept_at_ms = now_ms
        self.rates.note(Sample(now_ms, self.commands, self.net_input, self.net_output))
        if self.paused_until_ms is not None and now_ms >= self.paused_until_ms:
            self.unpause()
        if not self._unvisited:
            self.evict()
            self.recount()
            self._unvisited = list(self.sessions.values())
            self._visits = max(LEAST_VISITS, len(self._unvisited) // SWEEPS_PER_SECOND + 1)
        for session in self._unvisited[: self._visits]:
            session.sweep(now_ms)
        del self._unvisited[: self._visits]

    def recount(self) -> None:
        """See how many places there are beside the links of now."""
        if self.count_places is not None:
            self.places = self.count_places()

    def evict(self) -> None:
        """Close those who take most until all together are within the limit."""
        if not self.memory_limit:
            return
        total = sum(session.memory for session in self.sessions.values())
        if total <= self.memory_limit:
            return
        for session in sorted(self, key=lambda one: one.memory, reverse=True):
            self.evicted += 1
            total -= session.memory
            session.close(flush=False)
            if total <= self.memory_limit:
                return

    def cut_patterns(self) -> None:
        """Close who holds most patterns: every message is compared with all of them."""
        heaviest = max(self.sessions.values(), key=lambda one: one.patterns, default=None)
        if heaviest is not None:
            self.evicted += 1
            heaviest.close(flush=False)

    def close_all(self) -> None:
        """The port closes: everybody gets what is already written, and EOF."""
        for session in self:
            session.close(flush=True)


class Known(NamedTuple):
    """The answer to a whole received chunk."""

    reply: bytes
    requests: int
    last: resp.Argv


@define(eq=False, kw_only=True)
class House:
    """What sessions share. Built once, by the composition root."""

    mind: Mind
    board: Board
    directives: Directives
    rights: Roster
    identity: Identity
    scripts: Scripts
    shutdown: Callable[[str], None]
    """Ends the process with status 0; the argument says why."""
    loglevel: Callable[[], str]
    set_loglevel: Callable[[str], None]
    is_executable: Callable[[str], bool]
    random_bytes: Callable[[int], bytes]
    """For ACL GENPASS; must be unpredictable in a daemon."""
    cpu_seconds: Callable[[], Mapping[str, float]] = dict
    """The fields of INFO's CPU section that are known."""
    later: Callable[[Callable[[], None]], None] = field(default=lambda deed: deed())
    """Goes on with something after all other clients had their turn (`Reactor.later`)."""
    after: Callable[[Callable[[], None], float], None] = field(default=lambda deed, delay_s: deed())
    """Does something after so many seconds (`Reactor.limit`)."""
    clock_s: Callable[[], float] = time.perf_counter
    """For the share of time that one client gets."""
    commands: dict[bytes, Command] = field(default=COMMANDS)
    """The table after ``rename-command`` (`wire.commands.renamed`)."""
    acl_file: UserFile | None = None
    acl_log: AclLog = field(init=False)
    warn: Callable[[str], None] = _say_nothing
    """For the log."""
    clients: Clients = Factory(Clients)
    batches: dict[bytes, tuple[resp.Argv, ...]] = Factory(dict)
    """Whole received chunks that held only requests with cacheable replies."""
    output_limits: dict[str, list[int]] = field(init=False)
    """By class of clients: hard limit, soft limit, seconds."""
    expensive: set[str] = Factory(set)
    """Full names of the commands that took long the last time."""
    _free_at_s: float = 0.0  # when those who asked for expensive things have waited as long as they took
    _replies: dict[int, dict[resp.Argv, bytes]] = Factory(lambda: {2: {}, 3: {}})
    _answers: dict[int, dict[bytes, Known]] = Factory(lambda: {2: {}, 3: {}})
    _replies_version: int = -1

    def __attrs_post_init__(self) -> None:
        self.clients.places = self.directives.maxclients
        self.clients.memory_limit = self.directives.client_query_buffer_limit
        self.acl_log = AclLog(self.directives.acllog_max_len)
        self.output_limits = {name: limits for name, *limits in self.directives.client_output_buffer_limits}

    def replies(self, proto: int) -> dict[resp.Argv, bytes]:
        """Replies without ages, by request; emptied by every decision of the model."""
        if self._replies_version != self.mind.version:
            self._forget()
        cache = self._replies[proto]
        if len(cache) > CACHED_REPLIES:
            cache.clear()
        return cache

    @property
    def is_in_arrears(self) -> bool:
        """Whether expensive commands have not yet been made good."""
        return self.clock_s() < self._free_at_s

    def hold_back(self, deed: Callable[[], None], took_s: float) -> None:
        """Do `deed` when all those who were held back before have had their time, and this one as well.

        One command may take long (thousands of names, or of clients to list), and hundreds of clients may send such.
        Each waits its turn here after its answer, so together they get half of the time and the others the rest. What
        took longer than any command does was a pause of the machine or of the process: it is not made good, or peers
        that say hello would wait for twice as long.
        """
        now_s = self.clock_s()
        self._free_at_s = max(now_s, self._free_at_s) + 2 * min(took_s, MOST_COST_S)
        self.after(deed, self._free_at_s - now_s)

    def _forget(self) -> None:
        for cache in (self._replies[2], self._replies[3], self._answers[2], self._answers[3]):
            cache.clear()
        self._replies_version = self.mind.version

    def answer_to(self, chunk: bytes, proto: int) -> Known | None:
        """The whole answer to a received chunk, when it is known and no decision of the model came since."""
        if self._replies_version != self.mind.version:
            self._forget()
            return None
        return self._answers[proto].get(chunk)

    def remember_answer(self, chunk: bytes, proto: int, known: Known) -> None:
        """Keep the answer to a chunk until the next decision."""
        if len(known.reply) <= MAX_ANSWER:
            answers = self._answers[proto]
            if len(answers) > CACHED_BATCHES:
                answers.clear()
            answers[chunk] = known

    def remember_batch(self, chunk: bytes, requests: tuple[resp.Argv, ...]) -> None:
        """Keep how `chunk` is cut. Cutting depends on nothing else: it began and ended between requests."""
        if len(self.batches) > CACHED_BATCHES:
            self.batches.clear()
        self.batches[chunk] = requests

    def refusal_of(self, transport: Transport) -> str | None:
        """Why a new connection is not served; None when it is."""
        if len(self.clients) >= self.clients.places:
            return "ERR max number of clients reached"
        if self.directives.protected_mode and self.rights.passwordless and not _is_local(transport.remote):
            return (
                "DENIED Running in protected mode: no password is set, so only clients on this host are served. "
                "Set a password for the default user, or set protected-mode to no, to serve others."
            )
        return None


def _is_local(remote: str) -> bool:
    """Whether a connection comes from this host: loopback, or a unix socket."""
    return remote.startswith(("127.", "[::1]:", "/", "[::ffff:127.")) or remote.endswith(":0")
