"""One client connection, sans-IO: received bytes -> requests -> the model -> replies, in order.

1. One `send` per received chunk, not per command.
2. A reply that waits for the disk keeps its place (`Slot`); later commands of the connection go on, so that the
   votes a peer asks for in one packet share one save.
3. A message for this client that its own command causes comes behind the command's reply (commands.md 4.1).
4. Whatever a client can make grow has a limit: unread replies and open slots stop the reading, subscribers
   that do not read are cut off.
5. Nobody gets more than `SHARE_S` at a time, however much it sent at once; it goes on when all others had their turn,
   and after something expensive only when that was made good (`House.hold_back`). What is known to be expensive does
   not even begin before that, on whichever connection it comes.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final, TypeVar

from trio_sentinel.errors import CommandRefused, ProtocolError
from trio_sentinel.model.effects import Answer, AnswerOpinion
from trio_sentinel.model.values import Millis
from trio_sentinel.ports import Transport
from trio_sentinel.runtime.board import Message
from trio_sentinel.runtime.clients import FIXED_BUFFER, GUEST_OVERFLOW, House, Known
from trio_sentinel.runtime.session_commands import HANDLERS
from trio_sentinel.runtime.session_gate import find, forbidden, is_attack
from trio_sentinel.runtime.session_outbox import Mute, Outbox, Reply, Slot
from trio_sentinel.runtime.session_rights import Account
from trio_sentinel.runtime.session_tracking import Tracking
from trio_sentinel.runtime.session_tracking import after as tracked_after
from trio_sentinel.wire import answers, resp
from trio_sentinel.wire.commands import Command
from trio_sentinel.wire.requests import Make
from trio_sentinel.wire.resp import Argv

T = TypeVar("T")

PAUSE_READING_ABOVE: Final = 256 * 1024  # unsent bytes; drained to zero before reading goes on
MAX_SLOTS: Final = 256
SHARE_S: Final = 0.001
EXPENSIVE_S: Final = 0.005
MANY_WORDS: Final = 256  # of a request that will be expensive, and waits until those before it have been made good
MAX_BATCH: Final = 4096  # bytes of a chunk that is worth remembering
MAX_BATCH_ARGUMENTS: Final = resp.MAX_GUEST_ARGUMENTS

CACHEABLE: Final = frozenset(
    {"ping", "sentinel|get-master-addr-by-name", "sentinel|get-primary-addr-by-name", "sentinel|myid"}
)
"""Commands whose reply depends on the request, the protocol and the version of the state alone."""


class Stop(enum.Flag):
    """Why a session does not go on with the next request."""

    NONE = 0
    OUTPUT = enum.auto()  # the client does not read
    SLOTS = enum.auto()  # too many replies wait for the disk
    WAIT = enum.auto()  # for a host name or a file, and later commands may build on the answer
    PAUSE = enum.auto()  # CLIENT PAUSE
    TURN = enum.auto()  # it is the others' turn


class Session:
    """The handler of one transport. Made by `session_admission.admit`."""

    house: House
    transport: Transport
    name: bytes
    lib_name: bytes
    lib_ver: bytes
    gone: bool

    def __init__(self, house: House, transport: Transport) -> None:
        self.house = house
        self.transport = transport
        self.id = house.clients.enter(self)
        self.user: Account | None = house.rights.guest()
        self._let_in = False
        """Whether it is the default user only because that one has no password now."""
        self.proto = 2
        self.name = self.lib_name = self.lib_ver = b""
        self.no_evict = False
        self.tracking: Tracking | None = None
        self.mute = Mute.NO
        self._last: str | None = None
        self._last_cached: Argv | None = None
        self.connected_at_ms = self.active_at_ms = house.mind.now_ms()
        self.net_input = 0
        self.net_output = 0
        self.commands_run = 0
        self.closing = False
        """Close once what is written now has been sent."""
        self.gone = False
        self.outbox = Outbox()
        self.reader = resp.RequestReader(house.directives.proto_max_bulk_len)
        self._stopped = Stop.NONE
        self._deferred: Argv | None = None  # the command that is held back, by CLIENT PAUSE or for its size
        self._running: Argv = ()
        self._executing = False
        self._busy = False
        self._calm = False
        """Whether `_plain` was true when it was last looked at, and nothing happened since that could change it."""
        self._behind: list[bytes] = []  # messages caused by the command being executed
        self._ended = False
        self._soft_since_ms: Millis | None = None

    # ------------------------------------------------------------ what the reactor calls

    def received(self, data: bytes) -> None:
        """Run what is complete."""
        if self._calm and (known := self.house.answer_to(data, self.proto)) is not None and self._may_repeat(data):
            self._answer(len(data), known)
            return
        if self.gone:
            return
        clients = self.house.clients
        self.net_input += len(data)
        clients.net_input += len(data)
        clients.reads += 1
        self.active_at_ms = self.house.mind.now_ms()
        batch = self.house.batches.get(data)
        if batch is not None and self._plain() and self._may_repeat(data) and self._repeat(data, batch):
            return
        unproven = batch is None or (self.user is not None and not self.user.unrestricted)
        fresh = unproven and self.reader.idle and len(data) <= MAX_BATCH
        self.reader.feed(data)
        if fresh:
            self._work(data)
        else:
            self._work()
        if self.reader.buffered > self.house.directives.client_query_buffer_limit:
            clients.cut_for_query += 1
            self.close(flush=False)

    def ended(self) -> None:
        """The client sends no more; it still gets its replies."""
        self._ended = True
        self._finish()

    def drained(self) -> None:
        """The client has read everything."""
        self._go_on(Stop.OUTPUT)

    def lost(self, reason: str) -> None:
        """The connection is gone."""
        self._leave()

    # ------------------------------------------------------------ what others call

    def deliver(self, message: Message) -> None:
        """A message of the board."""
        if self.gone:
            return
        frame = message[self.proto]
        if self._executing:
            self._behind.append(frame)
        elif self._busy or self.outbox.size or self.outbox.slots:
            self.outbox.write(frame)
            if not self._busy:
                self.flush()
        else:  # nearly always, and there may be thousands who get the same
            transport, clients, size = self.transport, self.house.clients, len(frame)
            self.net_output += size
            clients.net_output += size
            clients.writes += 1
            transport.send(frame)
            if transport.unsent:
                self._check_output(self.house.mind.now_ms())

    def end_pause(self) -> None:
        """CLIENT PAUSE is over."""
        self._go_on(Stop.PAUSE)

    def sweep(self, now_ms: Millis) -> None:
        """Close an idle client, or one above its soft limit for too long."""
        if self.gone:
            return
        timeout_s = self.house.directives.timeout
        if timeout_s and not self.subscriptions and now_ms - self.active_at_ms > timeout_s * 1000:
            if not self._stopped and not self.outbox.slots:
                self.close(flush=False)
                return
        self._check_output(now_ms)

    def close(self, *, flush: bool) -> None:
        """Close now, after what is written when `flush`."""
        if self.gone:
            return
        if flush:
            data = self.outbox.take()
            if data:
                self.transport.send(data)
        self._leave()
        self.transport.close(flush=flush)

    def close_soon(self) -> None:
        """Close once the reply of the running command is sent; at once when none runs."""
        if self._busy:
            self.closing = True
        else:
            self.close(flush=False)

    # ------------------------------------------------------------ what commands use

    @property
    def subscriptions(self) -> int:
        """Channels and patterns of this client."""
        return self.house.board.held(self).total

    @property
    def patterns(self) -> int:
        """Patterns of this client."""
        return len(self.house.board.held(self).patterns)

    @property
    def memory(self) -> int:
        """Bytes that this client makes us keep."""
        names = len(self.name) + len(self.lib_name) + len(self.lib_ver)
        if self.tracking is not None:
            names += sum(map(len, self.tracking.prefixes))
        asked = self.reader.buffered + self._deferred_size
        return asked + self.output_bytes + self.house.board.held(self).size + names

    @property
    def held_words(self) -> int:
        """Bytes of the words of the requests that run now, are not complete, or are held back."""
        return self.reader.read_words + self._deferred_size + sum(map(len, self._running))

    @property
    def _deferred_size(self) -> int:
        return sum(map(len, self._deferred)) if self._deferred else 0

    @property
    def last_command(self) -> str | None:
        """The full name of the last command, run or refused; None when it does not exist."""
        if self._last_cached is not None:
            command, _ = find(self.house.commands, self._last_cached)
            return None if command is None else command.name
        return self._last

    @property
    def in_pubsub(self) -> bool:
        """Whether only the commands of 4.2 run."""
        return self.proto == 2 and self.subscriptions > 0

    @property
    def output_bytes(self) -> int:
        """What was written and not yet taken by the kernel."""
        return self.transport.unsent + self.outbox.size

    def write(self, data: bytes) -> None:
        """Send a frame that CLIENT REPLY does not silence."""
        self.outbox.write(data)

    def ask(
        self, make: Make, encode: Callable[[Answer | AnswerOpinion], bytes] = answers.answer, slot: Slot | None = None
    ) -> Reply:
        """Feed a request to the model; the reply, or its place. A `slot` that is given is the place."""
        place = Slot() if slot is None else slot
        self.house.mind.ask(make, lambda answer: self.fill(place, encode(answer)))
        return place if place.reply is None else place.reply

    def fill(self, slot: Slot, reply: bytes) -> None:
        """Give a reply that was waited for."""
        if reply.startswith(b"-"):
            self.house.clients.errors += 1
        if not slot.fill(reply) or self.gone:
            return
        if not self._busy:
            self.flush()
        if len(self.outbox.slots) < MAX_SLOTS:
            self._go_on(Stop.SLOTS)
        self._finish()

    def resolve(self, host: str, then: Callable[[str | None, Slot], object]) -> Reply:
        """Look up `host`, then call `then` with its IP or None and the place to fill; see `wait_for`."""
        return self.wait_for(lambda found: self.house.mind.resolve(host, found), then)

    def wait_for(self, begin: Callable[[Callable[[T], None]], None], then: Callable[[T, Slot], object]) -> Reply:
        """`begin` something that calls back once, then call `then` with what it found and the place to fill.

        No further command runs until then. `then` may raise CommandRefused; a session that is gone hears no more.
        """
        slot = Slot()

        def found(result: T) -> None:
            if not self.gone:
                try:
                    then(result, slot)
                except CommandRefused as refused:
                    self.fill(slot, resp.error(str(refused)))
            self._go_on(Stop.WAIT)

        self._stop(Stop.WAIT)
        begin(found)
        return slot

    def follow_default(self, guest: Account | None) -> None:
        """The default user now needs no password (it is `guest`), or needs one; matters to who has not logged in."""
        if self.user is None and guest is not None:
            self.user, self._let_in = guest, True
        elif self._let_in and guest is None:
            self.user, self._let_in = None, False

    def log_in(self, user: Account) -> None:
        """A name and password were right."""
        self.user, self._let_in = user, False

    def counted(self, reply: bytes) -> bytes:
        """A reply that may be an error; errors are counted."""
        if reply.startswith(b"-"):
            self.house.clients.errors += 1
        return reply

    def refusal(self, refused: CommandRefused) -> bytes:
        """An error reply, counted."""
        self.house.clients.errors += 1
        return resp.error(str(refused))

    # ------------------------------------------------------------ requests

    def _plain(self) -> bool:
        """Whether nothing of this client's own stands between a cacheable request and its reply. Only its own requests
        and `_stop` and `_leave` change that, so it is looked at when they are done, and kept in `_calm`."""
        return (
            self.reader.idle
            and not self._stopped
            and not self.closing
            and not self.gone
            and not self.outbox.slots
            and self.mute is Mute.NO
            and self.tracking is None
            and not self.in_pubsub
        )

    def _may_repeat(self, chunk: bytes) -> bool:
        """The rest of it, which others may change at any time."""
        user = self.user
        if user is None or self.house.clients.paused_until_ms is not None:
            return False
        return user.unrestricted or chunk in user.proven

    def _answer(self, received: int, known: Known) -> None:
        """Give the answer to a whole chunk. What most requests of most clients come to: short on purpose."""
        clients, reply = self.house.clients, known.reply
        sent = len(reply)
        self.net_input += received
        self.net_output += sent
        self.commands_run += known.requests
        self.active_at_ms = clients.swept_at_ms or self.active_at_ms
        self._last_cached = known.last
        clients.net_input += received
        clients.net_output += sent
        clients.commands += known.requests
        clients.reads += 1
        clients.writes += 1
        self.transport.send(reply)
        if self.transport.unsent:
            self._check_output(self.house.mind.now_ms())

    def _repeat(self, chunk: bytes, batch: tuple[Argv, ...]) -> bool:
        """Answer a known chunk from the cache; False when a reply is missing."""
        cache = self.house.replies(self.proto)
        try:
            replies = [cache[argv] for argv in batch]
        except KeyError:
            return False
        self.commands_run += len(batch)
        self.house.clients.commands += len(batch)
        self._last_cached = batch[-1]
        data = replies[0] if len(replies) == 1 else b"".join(replies)
        self.house.remember_answer(chunk, self.proto, Known(data, len(batch), batch[-1]))
        self._calm = True
        self._send(data)
        if self.transport.unsent:
            self._check_output(self.house.mind.now_ms())
        return True

    def _work(self, chunk: bytes | None = None) -> None:
        """Run requests until there is no complete one, or a reason to stop. `chunk` may be remembered as a whole."""
        if self._busy or self.gone:
            return
        self._busy = True
        self._calm = False
        batch: list[Argv] = []
        repeatable = chunk is not None
        began_s = now_s = self.house.clock_s()
        try:
            while not self._stopped and not self.closing and not self.gone:
                argv = self._deferred or self.reader.next(self.user is None)
                self._deferred = None
                if argv is None:
                    break
                if self._is_expensive(argv) and self.house.is_in_arrears:
                    self._deferred = argv
                    self._stop(Stop.TURN)
                    repeatable = False
                    break
                repeatable = self._run(argv) and repeatable
                batch.append(argv)
                before_s, now_s = now_s, self.house.clock_s()
                if now_s - before_s >= EXPENSIVE_S or self.house.expensive:
                    self._note_cost(argv, now_s - before_s)
                if now_s - began_s >= SHARE_S and not self.closing:
                    self._stop(Stop.TURN)
        except ProtocolError as wrong:
            self._busy = False
            self._break_off(wrong)
            return
        finally:
            self._busy = False
            self._running = ()
        if chunk is not None and repeatable and batch and self.reader.idle and not self._stopped:
            self.house.remember_batch(chunk, tuple(batch))
            if self.user is not None:
                self.user.prove(chunk)
        self.flush()
        if Stop.TURN in self._stopped:
            if now_s - began_s >= EXPENSIVE_S or self._deferred is not None:
                self.house.hold_back(self._next_turn, now_s - began_s)
            else:
                self.house.later(self._next_turn)
        self._finish()

    def _is_expensive(self, argv: Argv) -> bool:
        """Whether this will take long, as far as is known: it has thousands of words, or took long the last time."""
        if len(argv) > MANY_WORDS:
            return True
        if not self.house.expensive:
            return False
        command, wrong = find(self.house.commands, argv)
        return command is not None and wrong is None and command.name in self.house.expensive

    def _note_cost(self, argv: Argv, took_s: float) -> None:
        """Remember whether the command that just ran is an expensive one. One that never is, is never taken for one:
        a busy machine lets every command take long. Thousands of words say nothing of the same command with few."""
        if self._last is None or self._last in CACHEABLE or len(argv) > MANY_WORDS:
            return
        if took_s >= EXPENSIVE_S:
            self.house.expensive.add(self._last)
        else:
            self.house.expensive.discard(self._last)

    def _break_off(self, wrong: ProtocolError) -> None:
        """Answer a breach of the protocol and close."""
        if wrong.silent:
            self.close(flush=False)
            return
        self.house.clients.errors += 1
        self.outbox.write(resp.error(f"ERR Protocol error: {wrong.text}"))
        self.closing = True
        self.flush()
        self._finish()

    def _run(self, argv: Argv) -> bool:
        """Check and run one request (commands.md 1.5, V9). True when its reply came from, or went into, the cache."""
        self._running = argv
        quiet = self.mute is not Mute.NO
        if self.mute is Mute.NEXT:
            self.mute = Mute.NO
        command, wrong = find(self.house.commands, argv)
        self._last, self._last_cached = None if command is None else command.name, None
        if command is None and is_attack(argv):
            raise ProtocolError("cross-protocol request", silent=True)
        refusal = forbidden(self, command, wrong, argv)
        if refusal is not None:
            self.house.clients.errors += 1
            self._put(resp.error(refusal), quiet)
            return False
        assert command is not None
        if self._held_back(command, argv):
            if quiet and self.mute is Mute.NO:
                self.mute = Mute.NEXT
            return False
        cacheable = command.name in CACHEABLE and not self.in_pubsub and _is_short(argv)
        cache = self.house.replies(self.proto) if cacheable else {}
        reply: Reply | None = cache.get(argv)
        if reply is None:
            reply = self._execute(command, argv)
            if cacheable and isinstance(reply, bytes) and len(reply) <= MAX_BATCH:
                cache[argv] = reply
        self.commands_run += 1
        self.house.clients.commands += 1
        if self.tracking is not None:
            self.tracking = tracked_after(command.name, self.tracking)
        self._put(reply, quiet)
        return cacheable and not quiet

    def _put(self, reply: Reply, quiet: bool) -> None:
        """Write a reply or keep its place, then the messages that its command caused."""
        if isinstance(reply, Slot):
            reply.quiet = quiet
            self.outbox.hold(reply)
            if len(self.outbox.slots) >= MAX_SLOTS:
                self._stop(Stop.SLOTS)
        elif reply and not quiet:
            self.outbox.write(reply)
        for frame in self._behind:
            self.outbox.write(frame)
        self._behind.clear()
        if self.user is None and self.output_bytes > FIXED_BUFFER + GUEST_OVERFLOW:
            self._cut_off()

    def _held_back(self, command: Command, argv: Argv) -> bool:
        """Whether CLIENT PAUSE delays this command; then it is the next one when the pause ends."""
        clients = self.house.clients
        if clients.paused_until_ms is None:
            return False
        if self.house.mind.now_ms() >= clients.paused_until_ms:
            clients.unpause()
            return False
        if clients.pause_writes_only and command.name != "publish":
            return False
        self._deferred = argv
        self._stop(Stop.PAUSE)
        return True

    def _execute(self, command: Command, argv: Argv) -> Reply:
        """Run a command; messages that it causes for this client wait."""
        self._executing = True
        try:
            return HANDLERS[command.name](self, argv)
        except CommandRefused as refused:
            return self.refusal(refused)
        finally:
            self._executing = False

    # ------------------------------------------------------------ flow

    def flush(self) -> None:
        """Send what is ready, and see whether the client keeps up."""
        if self.gone:
            return
        data = self.outbox.take()
        if data:
            self._send(data)
        if self.transport.unsent or self.outbox.slots:
            self._check_output(self.house.mind.now_ms())

    def _send(self, data: bytes) -> None:
        clients = self.house.clients
        self.net_output += len(data)
        clients.net_output += len(data)
        clients.writes += 1
        self.transport.send(data)

    def _check_output(self, now_ms: Millis) -> None:
        """Stop reading, or cut off, a client that does not read its replies."""
        if self.gone:
            return
        size = self.output_bytes
        if size == 0:
            self._soft_since_ms = None
            return
        if self.user is None and size > FIXED_BUFFER + GUEST_OVERFLOW:
            self._cut_off()
            return
        kind = "pubsub" if self.subscriptions else "normal"
        hard, soft, seconds = self.house.output_limits.get(kind, (0, 0, 0))
        if soft and size > soft:
            self._soft_since_ms = now_ms if self._soft_since_ms is None else self._soft_since_ms
        else:
            self._soft_since_ms = None
        overdue = self._soft_since_ms is not None and now_ms - self._soft_since_ms > seconds * 1000
        if (hard and size > hard) or overdue:
            self._cut_off()
        elif self.transport.unsent > PAUSE_READING_ABOVE:
            self._stop(Stop.OUTPUT)

    def _cut_off(self) -> None:
        """Drop a client that would cost too much memory."""
        self.house.clients.cut_for_output += 1
        self.close(flush=False)

    def _stop(self, reason: Stop) -> None:
        self._calm = False
        if not self._stopped and not self.gone:
            self.transport.pause()
        self._stopped |= reason

    def _go_on(self, reason: Stop) -> None:
        """`reason` is gone. Many may hear so at once, so the work itself waits for a turn of its own."""
        if self.gone or not self._stopped & reason:
            return
        self._stopped &= ~reason
        if not self._stopped:
            self._stopped = Stop.TURN
            self.house.later(self._next_turn)

    def _next_turn(self) -> None:
        if self.gone:
            return
        self._stopped &= ~Stop.TURN
        if not self._stopped:
            self.transport.resume()
            self._work()

    def _finish(self) -> None:
        """Close when nothing more will be said."""
        if self.gone or self._busy or self.outbox.slots:
            return
        if self.closing or (self._ended and not self._stopped):
            self.close(flush=True)

    def _leave(self) -> None:
        """Nobody finds this session any more."""
        if self.gone:
            return
        self.gone = True
        self._calm = False
        self.house.board.leave(self)
        self.house.clients.leave(self)


def _is_short(argv: Argv) -> bool:
    """Whether a request may be remembered: a client chooses its words, and thousands of them are kept."""
    return len(argv) <= MAX_BATCH_ARGUMENTS and sum(map(len, argv)) <= MAX_BATCH
