"""The network: hosts that reach each other or do not, and connections that keep their order, as TCP's do.

1. Within one direction of one connection nothing overtakes anything, and nothing is lost: what meets a cut, a stopped
   process or a blocked command waits, and so does everything behind it. A packet that is lost is sent again.
2. What was sent arrives, also when the sender died or hung up right after: its host still delivers it, and gives up
   after a while. What comes back for such a connection is heard by nobody.
3. A process that dies resets the connections made to it if its host can still say so; otherwise they stay half open
   until somebody sends over them to a host that knows nothing of them.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from attrs import Factory, define, field

from trio_sentinel.model.values import Address, Channel, LinkId
from trio_sentinel.sim.names import Names
from trio_sentinel.sim.world import World

RETRY_MS = (20, 640)
"""How soon a blocked direction is tried again: at first, and at most."""
SYN_RETRIES_MS = (1000, 3000, 7000, 15_000, 31_000)
"""When a connection attempt into the void is repeated; after the last one it fails."""
RESEND_MS = 200
"""When a lost packet is sent again: after so long at first, and after twice as long each further time."""
MOST_RESENDS = 6
NOBODY = -1
"""The life of no process."""
ORPHAN_MS = 30_000
"""For how long a host tries to deliver what a closed connection still had to say."""


T = TypeVar("T")

MEMORY = 64
"""How many things a connection remembers."""


class Fate(enum.Enum):
    """What became of something delivered."""

    DONE = "done"
    BLOCKED = "blocked"
    RESET = "reset"


class Process(Protocol):
    """What connections can lead to."""

    address: Address
    up: bool
    host_up: bool
    frozen: bool
    life: int
    wires: dict[int, Wire]
    """Connections made to it, by number."""

    def take(self, wire: Wire, item: Any) -> Fate:
        """Handle something that arrived over `wire`."""


@define(eq=False, slots=True)
class Line:
    """One direction of a connection."""

    free_at_ms: int = 0
    sent_at_ms: int = -1
    packet: list[Any] | None = None
    """What was sent at ``sent_at_ms`` and arrives at ``free_at_ms``: things sent in one moment travel together."""
    waiting: deque[Any] = Factory(deque)
    patience_ms: int = 0


@define(eq=False, slots=True)
class Wire:
    """One connection, from a sentinel to a server or to another sentinel."""

    number: int
    owner: Any
    owner_life: int
    link: LinkId
    channel: Channel
    target: Address
    far: Any = None
    far_life: int = 0
    open: bool = False
    closed: bool = False
    orphan_until_ms: int = 0
    """When what still waits on a closed connection is given up."""
    out: Line = Factory(Line)
    back: Line = Factory(Line)
    slots: deque[list[Any]] = Factory(deque)
    """At the far end: replies owed, in order; an empty list is not answered yet."""
    memory: dict[int, tuple[Any, Any]] = Factory(dict)
    """What was made of things that are said again and again, by ``id``: the thing itself, and what was made of it."""
    here: str = field(init=False, default=Factory(lambda self: self.owner.address.host, takes_self=True))
    there: str = field(init=False, default=Factory(lambda self: self.target.host, takes_self=True))

    def once(self, said: Any, make: Callable[[Any], T]) -> T:
        """What `make` makes of `said`, made once for the same object."""
        known = self.memory.get(id(said))
        if known is not None:
            made: T = known[1]
            return made
        if len(self.memory) >= MEMORY:
            self.memory.clear()
        made = make(said)
        self.memory[id(said)] = said, made
        return made


class Network:
    """Who reaches whom, and how fast."""

    def __init__(self, world: World, latency_ms: tuple[int, int] = (0, 2)) -> None:
        self.world = world
        self._random = world.random.random
        self.latency_ms = latency_ms
        self.cut: set[tuple[str, str]] = set()
        """One-way cuts: (from host, to host)."""
        self.slow: dict[tuple[str, str], int] = {}
        """Extra delay in ms, one way."""
        self.lossy: dict[tuple[str, str], float] = {}
        """The part of the packets that is lost, one way."""
        self.processes: dict[Address, Process] = {}
        self.names = Names()
        self.wires_made = 0

    def delay_ms(self, source: str, target: str) -> int:
        """How long a packet takes now."""
        low, high = self.latency_ms
        length_ms = low if low == high else low + int(self._random() * (high - low + 1))
        if self.slow:
            length_ms += self.slow.get((source, target), 0)
        if self.lossy:
            length_ms += self._resend_ms(self.lossy.get((source, target), 0.0))
        return length_ms

    def _resend_ms(self, lost: float) -> int:
        """How much later a packet arrives because it had to be sent again."""
        resends = 0
        while resends < MOST_RESENDS and self._random() < lost:
            resends += 1
        return RESEND_MS * ((1 << resends) - 1)

    def reaches(self, source: str, target: str) -> bool:
        """Whether packets from one host get to another."""
        return not self.cut or source == target or (source, target) not in self.cut

    def heal(self) -> None:
        """Everything is connected again, at full speed; what is on its way arrives now."""
        self.cut.clear()
        self.slow.clear()
        self.lossy.clear()
        arrives_ms = self.world.now_ms + self.latency_ms[1]
        moved = self.world.hurry((self._arrive, self._syn_answered, self.reset), arrives_ms)
        for line in (arguments[1] for arguments in moved if len(arguments) > 1):
            line.free_at_ms = arrives_ms

    # ------------------------------------------------------------ connections

    def dial(self, owner: Any, link: LinkId, channel: Channel, target: Address) -> Wire:
        """Begin to connect; the owner hears ``opened`` or ``lost``."""
        self.wires_made += 1
        wire = Wire(self.wires_made, owner, owner.life, link, channel, target)
        if target.host:
            self.world.after(self.delay_ms(owner.address.host, target.host), self._syn, wire, 0)
        else:
            self.world.after(0, self.reset, wire)  # a name without an address
        return wire

    def _syn(self, wire: Wire, tries: int) -> None:
        if self._is_over(wire):
            return
        here, there = wire.here, wire.there
        process = self.processes.get(wire.target)
        silent = process is None or not process.host_up
        if silent or not self.reaches(here, there) or not self.reaches(there, here):
            if tries == len(SYN_RETRIES_MS):
                wire.closed = True
                wire.owner.lost(wire, "timed out")
            else:
                before_ms = SYN_RETRIES_MS[tries - 1] if tries else 0
                self.world.after(SYN_RETRIES_MS[tries] - before_ms, self._syn, wire, tries + 1)
            return
        assert process is not None
        if process.up:
            wire.far, wire.far_life = process, process.life
            process.wires[wire.number] = wire
        self.world.after(self.delay_ms(there, here), self._syn_answered, wire)

    def _syn_answered(self, wire: Wire) -> None:
        if self._is_over(wire):
            return
        if wire.far is None:
            wire.closed = True
            wire.owner.lost(wire, "refused")
        else:
            wire.open = True
            wire.owner.opened(wire)

    def _is_over(self, wire: Wire) -> bool:
        if not wire.closed and wire.owner.life == wire.owner_life:
            return False
        self.close(wire)
        return True

    def close(self, wire: Wire, *, with_host: bool = False) -> None:
        """Closed at our end: what was sent still arrives, unless it waits and its host lost the power with it. (The far
        end notices, or does not: it does not matter to a server, and nothing a sentinel answers late is heard.)"""
        if not wire.closed:
            wire.closed = True
            wire.orphan_until_ms = self.world.now_ms + ORPHAN_MS
        if with_host:
            wire.out.waiting.clear()
        if wire.far is not None:
            wire.far.wires.pop(wire.number, None)

    def die(self, process: Process, *, quietly: bool) -> None:
        """All connections to a process that ended; `quietly` when its host went with it."""
        for wire in process.wires.values():
            here, there = wire.target.host, wire.owner.address.host
            if not quietly and self.reaches(here, there):
                self.world.after(self.delay_ms(here, there), self.reset, wire)
        process.wires.clear()

    def reset(self, wire: Wire) -> None:
        """The owner hears that the connection, or the attempt, is over."""
        if not self._is_over(wire):
            self.close(wire)
            wire.owner.lost(wire, "reset by peer")

    def hang_up(self, wire: Wire) -> None:
        """The far end closes one connection (CLIENT KILL). What is still sent to it meets nobody."""
        here, there = wire.target.host, wire.owner.address.host
        wire.far.wires.pop(wire.number, None)
        wire.far_life = NOBODY
        if self.reaches(here, there):
            self.world.after(self.delay_ms(here, there), self.reset, wire)

    # ------------------------------------------------------------ packets

    def send(self, wire: Wire, item: Any, *, back: bool = False) -> None:
        """Send something over a connection, from its owner or back to it."""
        line = wire.back if back else wire.out
        now_ms = self.world.now_ms
        if line.packet is not None and line.sent_at_ms == now_ms:
            line.packet.append(item)
            return
        line.packet = packet = [item]
        line.sent_at_ms = now_ms
        arrives_ms = now_ms + (self.delay_ms(wire.there, wire.here) if back else self.delay_ms(wire.here, wire.there))
        if arrives_ms > line.free_at_ms:
            line.free_at_ms = arrives_ms
        self.world.at(line.free_at_ms, self._arrive, wire, line, packet)

    def _arrive(self, wire: Wire, line: Line, packet: list[Any]) -> None:
        if line.packet is packet:
            line.packet = None
        owner, comes_back = wire.owner, line is wire.back
        if (wire.closed or owner.life != wire.owner_life) and self._is_over(wire) and comes_back:
            return
        if line.waiting:
            line.waiting.extend(packet)
            return
        if comes_back and not self.cut:
            for item in packet:
                owner.hear(wire, item)  # who has closed it meanwhile hears nothing
            return
        for position, item in enumerate(packet):
            far = wire.far
            if not (self.cut or comes_back or far.frozen) and far.up and far.life == wire.far_life:
                fate = far.take(wire, item)
            else:
                fate = self._hand_over(wire, line, item)
            if fate is Fate.BLOCKED:
                line.waiting.extend(packet[position:])
                line.patience_ms = RETRY_MS[0]
                self.world.after(line.patience_ms, self._try_again, wire, line)
                return
            if fate is Fate.RESET:
                return

    def _hand_over(self, wire: Wire, line: Line, item: Any) -> Fate:
        here, there = wire.here, wire.there
        if line is wire.back:
            if self.cut and not self.reaches(there, here):
                return Fate.BLOCKED
            wire.owner.hear(wire, item)
            return Fate.DONE
        far = wire.far
        if (self.cut and not self.reaches(here, there)) or not far.host_up:
            return Fate.BLOCKED
        if not far.up or far.life != wire.far_life:
            if not self.reaches(there, here):
                return Fate.BLOCKED
            self.world.after(self.delay_ms(there, here), self.reset, wire)
            return Fate.RESET
        if far.frozen:
            return Fate.BLOCKED
        fate: Fate = far.take(wire, item)
        return fate

    def awake(self, process: Process) -> None:
        """What waited for a process that stood still is there for it at once."""
        for wire in tuple(process.wires.values()):
            if wire.out.waiting and not self._is_over(wire):
                self._empty(wire, wire.out)

    def _try_again(self, wire: Wire, line: Line) -> None:
        over = self._is_over(wire)
        if over and line is wire.back:
            line.waiting.clear()
        elif not self._empty(wire, line):
            if over and not self._may_still_come(wire):
                line.waiting.clear()
                return
            line.patience_ms = min(2 * line.patience_ms, RETRY_MS[1])
            self.world.after(line.patience_ms, self._try_again, wire, line)

    def _may_still_come(self, wire: Wire) -> bool:
        """Whether what waits on a closed connection may still be read: a process that stands still has it already, and
        the way may be open again in time. A server that holds a command back drops it with its connection."""
        far = wire.far
        if far.frozen:
            return True
        on_its_way = not far.host_up or not self.reaches(wire.here, wire.there)
        return on_its_way and self.world.now_ms < wire.orphan_until_ms

    def _empty(self, wire: Wire, line: Line) -> bool:
        """Hand over what waits, in order; whether nothing waits any more."""
        while line.waiting:
            fate = self._hand_over(wire, line, line.waiting[0])
            if fate is Fate.BLOCKED:
                return False
            if fate is Fate.RESET:
                line.waiting.clear()
            elif line.waiting:  # who got it may have lost the power over it, and what waits to be sent to itself
                line.waiting.popleft()
        return True
