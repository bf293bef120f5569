"""What the runtime asks of the world, as Protocols. ``adapters/`` and the simulator's stage fulfil them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from trio_sentinel.model.effects import Answer, AnswerOpinion
from trio_sentinel.model.inputs import Input, Request
from trio_sentinel.model.observations import Observations
from trio_sentinel.model.state import SentinelState
from trio_sentinel.model.values import Millis


class Transport(Protocol):
    """One established connection, plain or TLS, as its user sees it. Owned by a reactor."""

    @property
    def remote(self) -> str:
        """The other end as ``ip:port``, IPv6 in brackets; the socket path and ``:0`` for a unix socket."""

    @property
    def local(self) -> str:
        """Our end, written like `remote`."""

    @property
    def local_host(self) -> str:
        """The IP of our end without the port; empty for a unix socket."""

    @property
    def unsent(self) -> int:
        """Bytes accepted by `send` that the kernel has not taken yet."""

    def send(self, data: bytes) -> None:
        """Send `data` now as far as the kernel takes it and keep the rest. Does nothing after `close`."""

    def pause(self) -> None:
        """Stop reading until `resume` (back-pressure)."""

    def resume(self) -> None:
        """Read again."""

    def close(self, *, flush: bool = True) -> None:
        """Close, after what is unsent when `flush`. The handler's `lost` is not called."""


class Handler(Protocol):
    """Who hears what happens on a transport. Called by the reactor, never concurrently, must not block."""

    def received(self, data: bytes) -> None:
        """Some bytes came."""

    def ended(self) -> None:
        """The other side closed its sending half; we may still send."""

    def drained(self) -> None:
        """`unsent` fell back to zero after it had been above it."""

    def lost(self, reason: str) -> None:
        """The connection is gone (reset, error, or both halves closed). Nothing follows."""


class Mind(Protocol):
    """The bridge to the model, as the client port and the other talkers see it. All calls are synchronous."""

    @property
    def state(self) -> SentinelState:
        """What was decided. Read only."""

    @property
    def senses(self) -> Observations:
        """What was perceived. Read only."""

    @property
    def version(self) -> int:
        """Raised by every event: a reply without ages may be cached under it."""

    def now_ms(self) -> Millis:
        """The monotonic clock."""

    def wall_ms(self) -> Millis:
        """The wall clock, ms since 1970."""

    def hear(self, perceived: Input) -> None:
        """Feed one input; every consequence has been handed to its owner when this returns."""

    def ask(self, make: Callable[[int], Request], on_answer: Callable[[Answer | AnswerOpinion], None]) -> None:
        """Feed a request. `on_answer` is called exactly once: before this returns, or when the disk has answered."""

    def resolve(self, host: str, on_ip: Callable[[str | None], None]) -> None:
        """Ask the resolver, with a deadline. `on_ip` gets a numeric IP or None; at once for a numeric host."""


class Dice(Protocol):
    """Where random numbers come from: a seed in the simulator, the system in the daemon."""

    def below(self, limit: int) -> int:
        """A uniform integer in 0..limit-1."""


class Clock(Protocol):
    """The two clocks of one process."""

    def now_ms(self) -> Millis:
        """The monotonic clock."""

    def wall_ms(self) -> Millis:
        """The wall clock, ms since 1970."""

    def trio_time(self, at_ms: Millis) -> float:
        """What Trio's clock shows, in seconds, when `now_ms` shows `at_ms`."""


class Socket(Protocol):
    """What the runtime uses of a non-blocking stream socket. Everything raises OSError as the system does."""

    @property
    def family(self) -> Any:
        """One of the AF_ numbers of `socket`."""

    def fileno(self) -> int:
        """The number under which a poller knows it; -1 when closed."""

    def recv(self, size: int, /) -> bytes:
        """Some bytes; none at all when the other side sends no more."""

    def send(self, data: Any, /) -> int:
        """How much of `data` was taken."""

    def accept(self) -> tuple[Any, Any]:
        """A new connection of a listening socket, and the name of its other end."""

    def bind(self, address: Any, /) -> None:
        """Choose our end's address."""

    def connect_ex(self, address: Any, /) -> int:
        """Begin to connect; an error number."""

    def setblocking(self, flag: bool, /) -> None:
        """Always False here."""

    def setsockopt(self, level: int, option: int, value: int, /) -> None:
        """Set an option."""

    def getsockopt(self, level: int, option: int, /) -> int:
        """Read an option."""

    def getsockname(self) -> Any:
        """Our end."""

    def getpeername(self) -> Any:
        """The other end."""

    def close(self) -> None:
        """Give the number back."""


class Spare(Protocol):
    """A descriptor kept for the moment when there is no other."""

    def close(self) -> None:
        """Let it be used."""


class Sockets(Protocol):
    """Where sockets come from: the system, or the simulator's network."""

    def stream(self, family: int) -> Socket:
        """A new one that does not block. Raises OSError."""

    def pair(self) -> tuple[Socket, Socket]:
        """Two that are connected with each other. Raises OSError."""

    def spare(self) -> Spare:
        """A descriptor to give up later. Raises OSError."""
