"""Streams of bytes between processes: what TCP does where a program can see it.

1. Each direction keeps its order. What meets a cut or a host without power waits, and so does all behind it; there is
   a window, so whoever sends into the void is stopped some day.
2. A process that dies lets its kernel speak for it: the other end reads an end, or a reset when something was unread.
   When the host dies with it nobody says anything, until somebody sends to the host that came back: a reset.
3. Bytes arrive in pieces of any size when the network is *choppy*: cut in two, or taken by half.
"""

from __future__ import annotations

import enum
import errno
from collections import deque
from typing import Any, Final, Protocol, TypeAlias

from attrs import Factory, define

from trio_sentinel.model.values import Address
from trio_sentinel.sim.network import RETRY_MS, SYN_RETRIES_MS, Network, Process
from trio_sentinel.sim.world import World

WINDOW: Final = 64 * 1024
FIRST_LOCAL_PORT: Final = 40_000
CHOP: Final = 0.2
"""How often a choppy network cuts what it is given."""


class Mark(enum.Enum):
    """What a stream carries besides bytes."""

    END = "end"
    RESET = "reset"


Item: TypeAlias = bytes | Mark


class User(Protocol):
    """Who uses one end of a stream."""

    def changed(self) -> None:
        """Something can be read or sent, or it is over. Must not block; called for each change."""


class Listener(Protocol):
    """Who listens at an address."""

    @property
    def process(self) -> Process:
        """Whose it is."""

    def meet(self, end: End) -> None:
        """A new connection; `end` is ours."""


@define(eq=False, slots=True)
class Flow:
    """What one end sends."""

    free_at_ms: int = 0
    packets: deque[list[Item]] = Factory(deque)
    """On their way, in order. The last one arrives at ``free_at_ms``; what is sent in the same moment joins it."""
    waiting: deque[Item] = Factory(deque)
    patience_ms: int = 0
    underway: int = 0
    """Bytes sent that have not arrived."""


@define(eq=False, slots=True)
class End:
    """One end of a stream, as its process and the kernel under it know it."""

    network: StageNetwork
    number: int
    process: Any
    life: int
    local: Address
    remote: Address
    far: End | None = None
    user: User | None = None
    inbox: bytearray = Factory(bytearray)
    connected: bool = False
    ended: bool = False
    """The other side sends no more."""
    broken: int = 0
    """The error number that ended it."""
    closed: bool = False
    vanished: bool = False
    """Its host lost power."""
    flow: Flow = Factory(Flow)

    @property
    def dead(self) -> bool:
        """Whether there is no process any more that could hear."""
        return self.closed or self.process.life != self.life or not self.process.up

    @property
    def room(self) -> int:
        """How many bytes may be sent now."""
        assert self.far is not None
        return max(0, WINDOW - self.flow.underway - len(self.far.inbox))

    def send(self, data: bytes) -> int:
        """Send what there is room for; how much that was. Raises OSError."""
        if self.broken:
            raise OSError(self.broken, "reset")
        if self.closed:
            raise OSError(errno.EBADF, "closed")
        taken = min(len(data), self.room)
        if taken > 1 and self.network.chop():
            taken = 1 + self.network.world.random.randrange(taken)
        if taken:
            self.flow.underway += taken
            self.network.transmit(self, data[:taken])
        return taken

    def read(self, size: int) -> bytes:
        """Take what has arrived, at most `size`."""
        data = bytes(self.inbox[:size])
        del self.inbox[:size]
        if data and self.far is not None:
            self.far.tell()
        return data

    def close(self) -> None:
        """Say that it is over: with a reset when something was left unread."""
        if self.closed:
            return
        if self.connected and not self.broken:
            self.network.transmit(self, Mark.RESET if self.inbox else Mark.END)
        self.leave()

    def leave(self) -> None:
        """Forget it, without a word."""
        self.closed = True
        self.user = None
        self.network.ends[self.process.address].pop(self.number, None)

    def tell(self) -> None:
        """Let the user look."""
        if self.user is not None:
            self.user.changed()


class StageNetwork(Network):
    """Who reaches whom, and every stream between them."""

    def __init__(self, world: World, latency_ms: tuple[int, int] = (0, 2)) -> None:
        super().__init__(world, latency_ms)
        self.choppy = False
        self.listeners: dict[Address, Listener] = {}
        self.ends: dict[Address, dict[int, End]] = {}
        """The ends that each process holds, by its address."""
        self.made = 0
        self._next_port: dict[str, int] = {}

    def chop(self) -> bool:
        """Whether what is sent now is cut."""
        return self.choppy and self.world.random.random() < CHOP

    # ------------------------------------------------------------ connections

    def connect(self, process: Process, host: str, target: Address, user: User) -> End:
        """Begin to connect from a process at `host`. The end becomes ``connected`` or ``broken``."""
        port = self._next_port.get(host, FIRST_LOCAL_PORT)
        self._next_port[host] = port + 1 if port < 65_535 else FIRST_LOCAL_PORT
        target = Address(self.names.place(target.host), target.port)
        end = self._make(process, Address(host, port), target)
        end.user = user
        self.world.after(self.delay_ms(host, target.host), self._knock, end, 0)
        return end

    def leave(self, process: Process, place: str) -> None:
        """Connections of a process to some place are reset."""
        for end in list(self.ends.get(process.address, {}).values()):
            if end.remote.host == place:
                self._break(end, errno.ECONNRESET)

    def _make(self, process: Process, local: Address, remote: Address) -> End:
        self.made += 1
        end = End(self, self.made, process, process.life, local, remote)
        self.ends.setdefault(process.address, {})[end.number] = end
        return end

    def _knock(self, end: End, tries: int) -> None:
        if end.dead:
            return
        here, there = end.local.host, end.remote.host
        process = self.processes.get(end.remote)
        silent = process is None or not process.host_up
        if silent or not self.reaches(here, there) or not self.reaches(there, here):
            if tries == len(SYN_RETRIES_MS):
                self._break(end, errno.ETIMEDOUT)
            else:
                before_ms = SYN_RETRIES_MS[tries - 1] if tries else 0
                self.world.after(SYN_RETRIES_MS[tries] - before_ms, self._knock, end, tries + 1)
            return
        listener = self.listeners.get(end.remote)
        if listener is not None and listener.process.up:
            far = self._make(listener.process, end.remote, end.local)
            far.far, end.far, far.connected = end, far, True
            listener.meet(far)
        self.world.after(self.delay_ms(there, here), self._answered, end)

    def _answered(self, end: End) -> None:
        if end.far is None:
            self._break(end, errno.ECONNREFUSED)
        elif end.dead:
            self._break(end.far, errno.ECONNRESET)
        elif not end.broken:
            end.connected = True
            end.tell()

    def _break(self, end: End, error: int) -> None:
        if not end.dead and not end.broken:
            end.broken = error
            end.inbox.clear()
            end.tell()

    def die(self, process: Process, *, quietly: bool) -> None:
        """All streams of a process that ends; `quietly` when its host goes with it."""
        super().die(process, quietly=quietly)
        for end in list(self.ends.get(process.address, {}).values()):
            if quietly:
                end.vanished = True
                end.leave()
            else:
                end.close()

    # ------------------------------------------------------------ packets

    def transmit(self, end: End, item: Item) -> None:
        """Put something on its way from `end`."""
        if type(item) is bytes and len(item) > 1 and self.chop():
            middle = 1 + self.world.random.randrange(len(item) - 1)
            self._put(end, item[:middle], 0)
            self._put(end, item[middle:], self.world.random.randrange(3))
        else:
            self._put(end, item, 0)

    def _put(self, end: End, item: Item, late_ms: int) -> None:
        flow = end.flow
        at_ms = self.world.now_ms + self.delay_ms(end.local.host, end.remote.host) + late_ms
        if flow.packets and at_ms <= flow.free_at_ms:
            flow.packets[-1].append(item)
            return
        packet = [item]
        flow.packets.append(packet)
        flow.free_at_ms = max(at_ms, flow.free_at_ms)
        self.world.at(flow.free_at_ms, self._come, end, packet)

    def heal(self) -> None:
        """See `Network`. What is on its way over a link that was slow comes at once."""
        super().heal()
        for ends in self.ends.values():
            for end in ends.values():
                end.flow.free_at_ms = self.world.now_ms
                for packet in tuple(end.flow.packets):
                    self.world.at(self.world.now_ms, self._come, end, packet)

    def _come(self, end: End, packet: list[Item]) -> None:
        flow = end.flow
        if not flow.packets or flow.packets[0] is not packet:
            return  # it came when the network was healed
        flow.packets.popleft()
        if flow.waiting:
            flow.waiting.extend(packet)
            return
        flow.waiting.extend(packet)
        if not self._deliver(end):
            flow.patience_ms = RETRY_MS[0]
            self.world.after(flow.patience_ms, self._come_again, end)

    def _come_again(self, end: End) -> None:
        flow = end.flow
        if end.vanished or not end.process.host_up:
            flow.waiting.clear()  # it was in the memory of a machine that lost power
        elif not self._deliver(end):
            flow.patience_ms = min(2 * flow.patience_ms, RETRY_MS[1])
            self.world.after(flow.patience_ms, self._come_again, end)

    def _deliver(self, end: End) -> bool:
        """Hand over what has come through; whether nothing waits any more."""
        flow, far = end.flow, end.far
        assert far is not None
        here, there = end.local.host, end.remote.host
        while flow.waiting:
            if not self.reaches(here, there) or not far.process.host_up:
                return False
            if far.dead:
                if not self.reaches(there, here):
                    return False
                flow.waiting.clear()
                self.world.after(self.delay_ms(there, here), self._break, end, errno.ECONNRESET)
                return True
            item = flow.waiting.popleft()
            if type(item) is bytes:
                flow.underway -= len(item)
                far.inbox += item
                far.tell()
            elif item is Mark.END:
                far.ended = True
                far.tell()
            else:
                self._break(far, errno.ECONNRESET)
        return True
