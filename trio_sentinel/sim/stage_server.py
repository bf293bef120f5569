"""The face of a simulated server: it speaks RESP over streams of bytes, as far as sentinels, writers and operators ask.

Which commands are refused while a server loads, is busy or has lost its master is taken from the flags that real
servers show in COMMAND INFO; ``tests/real/test_fake_conformance.py`` compares the rest with real servers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias

import attrs
from attrs import Factory, define

from trio_sentinel.model.values import Address, Channel, InfoReading
from trio_sentinel.sim.checkers import require
from trio_sentinel.sim.network import RETRY_MS, Process
from trio_sentinel.sim.redis import FakeServer, Mood, Write
from trio_sentinel.sim.stage_info import info_text
from trio_sentinel.sim.stage_network import End, StageNetwork
from trio_sentinel.wire.resp import OK, PONG, Argv, array, bulk, error, integer, simple, told

Reply: TypeAlias = bytes

QUEUED: Final = b"+QUEUED\r\n"
NO_AUTH: Final = "NOAUTH Authentication required."
BUSY: Final = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
LOADING: Final = "LOADING Redis is loading the dataset in memory"
MASTERDOWN: Final = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
ABORTED: Final = "EXECABORT Transaction discarded because of previous errors."
READONLY: Final = "READONLY You can't write against a read only replica."
NO_REPLICAS: Final = "NOREPLICAS Not enough good replicas to write."
FAILING_OVER: Final = "ERR REPLICAOF not allowed while failing over."
MAX_TIMEOUT_MS: Final = 10**9


@define(eq=False, kw_only=True)
class StagedServer(FakeServer):
    """A simulated server behind a port."""

    password: str | None = None
    configured_master: Address | None = None
    """What its configuration file says since the last CONFIG REWRITE."""
    forbidden: bytes = b""
    """A command that an ACL takes from everybody."""
    never_linked: bool = False
    """Since it started; INFO says -1 then."""
    guests: dict[int, Guest] = Factory(dict)
    writes: dict[bytes, Write] = Factory(dict)
    """By value: what was written, until its writer knows."""

    @property
    def process(self) -> Process:
        """See `stage_network.Listener`."""
        return self

    def listen(self) -> None:
        """Open the port."""
        assert isinstance(self.network, StageNetwork)
        self.configured_master = self.master
        self.network.listeners[self.address] = self

    def meet(self, end: End) -> None:
        """See `stage_network.Listener`."""
        self.guests[end.number] = end.user = Guest(self, end)

    def restart(self, run_id: str, *, empty: bool = False, loading_ms: int = 0) -> None:
        """Back after a crash, in the role of its file."""
        self.master = self.configured_master
        self.never_linked = True
        super().restart(run_id, empty=empty, loading_ms=loading_ms)

    def info(self) -> InfoReading:
        """See `FakeServer`."""
        self.never_linked = self.never_linked and not self.link_up
        reading = super().info()
        never = self.never_linked and self.master is not None
        return attrs.evolve(reading, master_link_down_ms=-1000) if never else reading

    def kill(self, *, with_host: bool = False) -> None:
        """SIGKILL, or the power fails."""
        super().kill(with_host=with_host)
        self.guests.clear()

    def publish(self, channel: bytes, payload: bytes) -> int:
        """A message for everybody who subscribed; how many that were."""
        frame = array([bulk(b"message"), bulk(channel), bulk(payload)])
        heard = [guest for guest in self.guests.values() if channel in guest.channels]
        for guest in heard:
            guest.say(frame)
        return len(heard)

    def kill_guests(self, kind: Channel, spared: Guest) -> int:
        """CLIENT KILL TYPE; how many there were."""
        doomed = [guest for guest in self.guests.values() if guest.kind is kind and guest is not spared]
        for guest in doomed:
            guest.leave()
        return len(doomed)


class Guest:
    """One connection to a server."""

    def __init__(self, server: StagedServer, end: End) -> None:
        self.server = server
        self.end = end
        self.name = b""
        self.channels: dict[bytes, None] = {}
        self.trusted = server.password is None
        self.queue: list[Argv] | None = None
        self.spoilt = False
        self.asks_retry = False
        self._in = bytearray()
        self._out = bytearray()
        self._todo: deque[Argv] = deque()
        self._patience_ms = 0

    @property
    def kind(self) -> Channel:
        """How CLIENT KILL TYPE calls it."""
        return Channel.PUBSUB if self.channels else Channel.COMMAND

    # ------------------------------------------------------------ bytes

    def changed(self) -> None:
        """See `stage_network.User`."""
        if self.end.broken:
            self.leave()
            return
        self._flush()
        self._in += self.end.read(len(self.end.inbox))
        self._cut()
        self._work()
        if self.end.ended and not self._todo:
            self.leave()

    def _cut(self) -> None:
        """Requests out of bytes: arrays of bulk strings, the only form that anybody sends here."""
        while (request := _request(self._in)) is not None:
            argv, size = request
            del self._in[:size]
            self._todo.append(argv)

    def _work(self) -> None:
        """Carry out what has come, unless the server is stopped or the next command has to wait."""
        if self.asks_retry:
            return
        while self._todo and not self.end.closed:
            if self.server.frozen or (self.server.paused and _waits(self, self._todo[0])):
                self._patience_ms = min(2 * self._patience_ms or RETRY_MS[0], RETRY_MS[1])
                self.asks_retry = True
                self.server.world.after(self._patience_ms, self._try_again)
                return
            self._patience_ms = 0
            self.say(answer(self, self._todo.popleft()))

    def _try_again(self) -> None:
        self.asks_retry = False
        if not self.end.dead:
            self._work()

    def say(self, data: bytes) -> None:
        """Send, or keep what there is no room for."""
        self._out += data
        self._flush()

    def _flush(self) -> None:
        while self._out and not self.end.closed and not self.end.broken:
            taken = self.end.send(bytes(self._out))
            if not taken:
                return
            del self._out[:taken]

    def leave(self) -> None:
        """Close."""
        self.server.guests.pop(self.end.number, None)
        self.end.close()


def _request(data: bytearray) -> tuple[Argv, int] | None:
    """The first request in `data` and its length; None while it is not complete."""
    head = data.find(b"\r\n")
    if head < 0:
        return None
    require(data[:1] == b"*" and data[1:head].isdigit(), "framing", f"no array: {bytes(data[:40])!r}")
    at, words = head + 2, []
    for _ in range(int(data[1:head])):
        head = data.find(b"\r\n", at)
        if head < 0:
            return None
        sound = data[at : at + 1] == b"$" and data[at + 1 : head].isdigit()
        require(sound, "framing", f"no bulk string: {bytes(data[at : at + 40])!r}")
        begin = head + 2
        at = begin + int(data[at + 1 : head]) + 2
        if len(data) < at:
            return None
        words.append(bytes(data[begin : at - 2]))
    return tuple(words), at


# ---------------------------------------------------------------- what may run

_REFUSED_LOADING: Final = frozenset({b"ping", b"slaveof", b"replicaof", b"failover", b"set", b"script"})
_REFUSED_STALE: Final = frozenset({b"ping", b"set", b"script"})
_ALLOWED_BUSY: Final = frozenset({b"auth", b"multi", b"discard", b"script"})
_ORDERS: Final = frozenset({b"slaveof", b"replicaof", b"failover", b"config"})
_WRITES: Final = frozenset({b"set", b"publish"})


def _waits(guest: Guest, argv: Argv) -> bool:
    """Whether CLIENT PAUSE WRITE holds a command back: what may reach replicas. It is not even queued."""
    word = argv[0].lower()
    if word == b"exec":
        return any(queued[0].lower() in _WRITES for queued in guest.queue or ())
    return word in _WRITES


def refusal(guest: Guest, argv: Argv) -> str | None:
    """Why a command does not run now."""
    word, mood = argv[0].lower(), guest.server.mood
    if word != b"auth" and (mood is Mood.LOCKED or not guest.trusted):
        return NO_AUTH
    if word not in COMMANDS:
        return f"ERR unknown command '{told(argv[0])}', with args beginning with: "
    if mood is Mood.BUSY and word not in _ALLOWED_BUSY:
        return BUSY
    if mood is Mood.LOADING and word in _REFUSED_LOADING:
        return LOADING
    if mood is Mood.STALE and word in _REFUSED_STALE:
        return MASTERDOWN
    if (word in _ORDERS and guest.server.refuses_orders) or word == guest.server.forbidden:
        return f"NOPERM User default has no permissions to run the '{told(word)}' command"
    if word == b"set" and guest.server.master is not None:
        return READONLY
    return None


def answer(guest: Guest, argv: Argv) -> Reply:
    """Run one command, or queue it in a transaction."""
    word = argv[0].lower()
    wrong = refusal(guest, argv)
    if wrong is not None and word == b"exec":
        guest.queue = None
        return error(f"EXECABORT Transaction discarded because of: {wrong}")
    if wrong is not None:
        guest.spoilt = guest.spoilt or guest.queue is not None
        return error(wrong)
    if guest.queue is not None and word not in (b"exec", b"discard", b"multi"):
        guest.queue.append(argv)
        return QUEUED
    return COMMANDS[word](guest, argv)


# ---------------------------------------------------------------- the commands


def _ping(guest: Guest, argv: Argv) -> Reply:
    return PONG


def _info(guest: Guest, argv: Argv) -> Reply:
    server = guest.server
    return bulk(
        info_text(
            server.info(),
            server.address,
            loading=server.mood is Mood.LOADING,
            syncing=server.syncing,
            branch=server.branch,
            former=server.former,
        )
    )


def _auth(guest: Guest, argv: Argv) -> Reply:
    wanted = guest.server.password
    if wanted is None:
        return error(
            "ERR AUTH <password> called without any password configured for the default user. "
            "Are you sure your configuration is correct?"
        )
    if argv[-1] != wanted.encode() or (len(argv) == 3 and argv[1] != b"default"):
        return error("WRONGPASS invalid username-password pair or user is disabled.")
    guest.trusted = True
    return OK


def _client(guest: Guest, argv: Argv) -> Reply:
    server, word = guest.server, argv[1].lower()
    if word == b"setname":
        guest.name = argv[2]
    elif word == b"kill":
        kind = Channel.PUBSUB if argv[3].lower() == b"pubsub" else Channel.COMMAND
        return integer(server.kill_guests(kind, spared=guest))
    elif word == b"pause":
        server.pause(min(int(argv[2]), MAX_TIMEOUT_MS))
    elif word == b"unpause":
        server.pause(0)
    return OK


def _subscribe(guest: Guest, argv: Argv) -> Reply:
    replies = []
    for channel in argv[1:]:
        guest.channels[channel] = None
        replies.append(array([bulk(b"subscribe"), bulk(channel), integer(len(guest.channels))]))
    return b"".join(replies)


def _publish(guest: Guest, argv: Argv) -> Reply:
    return integer(guest.server.publish(argv[1], argv[2]))


def _multi(guest: Guest, argv: Argv) -> Reply:
    if guest.queue is not None:
        return error("ERR MULTI calls can not be nested")
    guest.queue, guest.spoilt = [], False
    return OK


def _discard(guest: Guest, argv: Argv) -> Reply:
    if guest.queue is None:
        return error("ERR DISCARD without MULTI")
    guest.queue = None
    return OK


def _exec(guest: Guest, argv: Argv) -> Reply:
    queue, guest.queue = guest.queue, None
    if queue is None:
        return error("ERR EXEC without MULTI")
    if guest.spoilt:
        return error(ABORTED)
    return array([COMMANDS[queued[0].lower()](guest, queued) for queued in queue])


def _replicaof(guest: Guest, argv: Argv) -> Reply:
    server = guest.server
    if server.handing_over:
        return error(FAILING_OVER)
    if (argv[1].lower(), argv[2].lower()) == (b"no", b"one"):
        server.follow(None)
        return OK
    target = Address(told(argv[1]), int(argv[2]))
    if target == server.master:
        return simple("OK Already connected to specified master")
    server.follow(target)
    return OK


def _config(guest: Guest, argv: Argv) -> Reply:
    if argv[1].lower() == b"rewrite":
        guest.server.configured_master = guest.server.master
        return OK
    return error("ERR unknown subcommand. Try CONFIG HELP.")


def _failover(guest: Guest, argv: Argv) -> Reply:
    server, words = guest.server, [word.lower() for word in argv]
    if words[1:] == [b"abort"]:
        if not server.handing_over:
            return error("ERR No failover in progress.")
        server.end_handover()
        return OK
    if server.handing_over:
        return error("ERR FAILOVER already in progress.")
    if server.master is not None:
        return error("ERR FAILOVER is not valid when server is a replica.")
    replicas = [replica.address for replica in server.replicas() if replica.link_up]
    if not replicas:
        return error("ERR FAILOVER requires connected replicas.")
    target = Address(told(argv[2]), int(argv[3]))
    if target not in replicas:
        return error("ERR FAILOVER target HOST and PORT is not a replica.")
    timeout_ms = min(int(words[words.index(b"timeout") + 1]), MAX_TIMEOUT_MS)
    server.hand_over(target, timeout_ms, forced=b"force" in words)
    return OK


def _role(guest: Guest, argv: Argv) -> Reply:
    server = guest.server
    offset = integer(server.offset)
    if server.master is None:
        replicas = [
            array(
                [bulk(replica.address.host.encode()), bulk(b"%d" % replica.address.port), bulk(b"%d" % replica.offset)]
            )
            for replica in server.replicas()
            if replica.link_up
        ]
        return array([bulk(b"master"), offset, array(replicas)])
    state = b"connected" if server.link_up else b"sync" if server.syncing else b"connect"
    host, port = bulk(server.master.host.encode()), integer(server.master.port)
    return array([bulk(b"slave"), host, port, bulk(state), offset])


def _script(guest: Guest, argv: Argv) -> Reply:
    if guest.server.mood is not Mood.BUSY:
        return error("NOTBUSY No scripts in execution right now.")
    guest.server.mood = Mood.WELL
    return OK


def _set(guest: Guest, argv: Argv) -> Reply:
    write = guest.server.write()
    if write is None:
        return error(NO_REPLICAS)
    guest.server.writes[argv[2]] = write
    return OK


COMMANDS: Final[dict[bytes, Callable[[Guest, Argv], Reply]]] = {
    b"ping": _ping,
    b"info": _info,
    b"auth": _auth,
    b"client": _client,
    b"subscribe": _subscribe,
    b"publish": _publish,
    b"multi": _multi,
    b"discard": _discard,
    b"exec": _exec,
    b"slaveof": _replicaof,
    b"replicaof": _replicaof,
    b"config": _config,
    b"failover": _failover,
    b"role": _role,
    b"script": _script,
    b"set": _set,
}
