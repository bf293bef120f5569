"""What CLIENT LIST, CLIENT INFO, ACL LOG and the log say of a client.

A list of thousands of clients is written a slice at a time (`House.hold_back`), so that its reader waits and nobody
else. Who leaves meanwhile is not in it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from attrs import Factory, define

from trio_sentinel.runtime.session_outbox import Reply
from trio_sentinel.wire import resp
from trio_sentinel.wire.acl_file import DEFAULT
from trio_sentinel.wire.resp import told

if TYPE_CHECKING:
    from trio_sentinel.runtime.session import Session

Filter = Callable[["Session"], bool]

SLICE_S: Final = 0.001
CLIENTS_AT_ONCE: Final = 8  # between two looks at the clock
CONNECTION_COST: Final = 7 * 1024  # what an idle client takes, measured (docs/performance.md)


def flags_of(session: Session) -> str:
    """The letters of ``flags``."""
    letters = ""
    if session.subscriptions:
        letters += "P"
    if session.tracking is not None:
        letters += "tB" if b"bcast" in session.tracking.modes else "t"
    if session.closing:
        letters += "c"
    if session.transport.local_host == "":
        letters += "U"
    if session.no_evict:
        letters += "e"
    return letters or "N"


def told_who(session: Session) -> str:
    """Who a client is, for a line of the log."""
    return (
        f"id={session.id} addr={session.transport.remote} laddr={session.transport.local} fd=0 "
        f"name={told(session.name)} user={DEFAULT if session.user is None else session.user.name} "
        f"lib-name={told(session.lib_name)} lib-ver={told(session.lib_ver)}"
    )


def line_of(session: Session) -> bytes:
    """One line of CLIENT LIST.

    There are no transactions and no buffers of a fixed size here, so ``multi-mem``, ``qbuf-free``, ``rbs``, ``rbp`` and
    ``obl`` are truly 0. So is ``fd``, which says nothing to a client.
    """
    now_ms = session.house.mind.now_ms()
    held = session.house.board.held(session)
    unsent = session.output_bytes
    return resp.text(
        f"id={session.id} addr={session.transport.remote} laddr={session.transport.local} fd=0 "
        f"name={told(session.name)} age={(now_ms - session.connected_at_ms) // 1000} "
        f"idle={(now_ms - session.active_at_ms) // 1000} flags={flags_of(session)} capa= db=0 "
        f"sub={len(held.channels)} psub={len(held.patterns)} ssub=0 multi=-1 watch=0 "
        f"qbuf={session.reader.unread} qbuf-free=0 argv-mem={session.held_words} multi-mem=0 rbs=0 rbp=0 obl=0 "
        f"oll={len(session.outbox.slots)} omem={unsent} tot-mem={CONNECTION_COST + session.memory} "
        f"events={'rw' if unsent else 'r'} cmd={session.last_command or 'NULL'} "
        f"user={DEFAULT if session.user is None else session.user.name} "
        f"redir={-1 if session.tracking is None else session.tracking.redirect} resp={session.proto} "
        f"lib-name={told(session.lib_name)} lib-ver={told(session.lib_ver)} "
        f"tot-net-in={session.net_input} tot-net-out={session.net_output} tot-cmds={session.commands_run}"
    )


def listed(asking: Session, fits: Filter) -> Reply:
    """CLIENT LIST of all who fit: at once when it is soon done, else its place."""
    listing = _Listing(asking, fits, deque(asking.house.clients))
    if listing.write():
        return listing.reply()
    return asking.wait_for(listing.go_on, lambda reply, slot: asking.fill(slot, reply))


@define(eq=False)
class _Listing:
    """A list that is being written. What there is of it counts as output, so that it is within the limits."""

    asking: Session
    fits: Filter
    left: deque[Session]
    _lines: list[bytes] = Factory(list)
    _size: int = 0
    _took_s: float = 0.0

    def write(self) -> bool:
        """Write a slice; whether that was the last one."""
        clock_s = self.asking.house.clock_s
        began_s = clock_s()
        while self.left:
            for _ in range(min(CLIENTS_AT_ONCE, len(self.left))):
                self._write_line(self.left.popleft())
            self._took_s = clock_s() - began_s
            if self._took_s >= SLICE_S:
                break
        return not self.left

    def _write_line(self, client: Session) -> None:
        if client.gone or not self.fits(client):
            return
        line = line_of(client) + b"\n"
        self._lines.append(line)
        self._size += len(line)
        self.asking.outbox.size += len(line)

    def go_on(self, then: Callable[[bytes], None]) -> None:
        """Write the rest, a slice at a time, and give the reply to `then`."""

        def again() -> None:
            if self.asking.gone:
                return
            if self.write():
                then(self.reply())
            else:
                self.go_on(then)

        self.asking.house.hold_back(again, self._took_s)

    def reply(self) -> bytes:
        """The whole; whoever writes it counts it anew."""
        self.asking.outbox.size -= self._size
        return resp.verbatim(b"".join(self._lines), self.asking.proto)
