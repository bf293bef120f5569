"""What is to be done -> the bytes of Redis commands, and what each of their replies will be about (core.md 2.2, 14).

1. Words go out exactly as stock sends them (``SLAVEOF``, ``PUBLISH``, a lower-case ``is-master-down-by-addr``):
   access lists and command renames of installed servers depend on them.
2. ``renamed`` maps the first word of a command to the name it has on that server; None where nothing is renamed.
   Other sentinels never rename anything (core.md Q12), so the orders to peers do not take it.
3. To a transaction no command is added that an access list might not allow: one refused command discards it whole.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from trio_sentinel.model.effects import AskPeer, HandOver, PauseWriters, ReleaseWriters, Repoint, SayHello
from trio_sentinel.model.values import Channel, RunId

HELLO_CHANNEL: Final = "__sentinel__:hello"
MAX_HELLO: Final = 1069  # bytes; stock cuts there

Renamed: TypeAlias = Callable[[str], str]


class Awaited(enum.Enum):
    """What an expected reply is about, when the kind says all."""

    NOTHING = "a reply that nobody needs"
    PONG = "the reply to PING"
    INFO = "the reply to INFO"
    PAUSE = "the reply to CLIENT PAUSE"


Expected: TypeAlias = Awaited | SayHello | AskPeer
"""A hello or question stands for the reply to it."""


class Order(NamedTuple):
    """Bytes to send, and what to expect for them, one entry per reply."""

    data: bytes
    expected: tuple[Expected, ...]


def command(*words: str) -> bytes:
    """One command in RESP. Surrogates become the bytes they stand for."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        raw = word.encode("utf-8", "surrogateescape")
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


def _commands(renamed: Renamed | None, *lines: tuple[str, ...]) -> bytes:
    if renamed is None:
        return b"".join(command(*words) for words in lines)
    return b"".join(command(renamed(words[0]), *words[1:]) for words in lines)


_NOTHING: Final = (Awaited.NOTHING,)
_PING: Final = Order(command("PING"), (Awaited.PONG,))
_INFO: Final = Order(command("INFO"), (Awaited.INFO,))
_KILL_CLIENTS: Final = (("CLIENT", "KILL", "TYPE", "normal"), ("CLIENT", "KILL", "TYPE", "pubsub"))


def introduction(
    my_id: RunId, channel: Channel, auth_user: str | None, auth_pass: str | None, renamed: Renamed | None
) -> Order:
    """The first words on a new connection, for whose replies nobody waits: who we are, and what we want to hear."""
    lines: list[tuple[str, ...]] = []
    if auth_pass is not None:
        lines.append(("AUTH", auth_user, auth_pass) if auth_user else ("AUTH", auth_pass))
    lines.append(("CLIENT", "SETNAME", f"sentinel-{my_id[:8]}-{channel.value}"))
    if channel is Channel.PUBSUB:
        lines.append(("SUBSCRIBE", HELLO_CHANNEL))
    return Order(_commands(renamed, *lines), _NOTHING * len(lines))


def ping(renamed: Renamed | None = None) -> Order:
    """PING."""
    return _PING if renamed is None else Order(command(renamed("PING")), _PING.expected)


def info(renamed: Renamed | None = None) -> Order:
    """INFO."""
    return _INFO if renamed is None else Order(command(renamed("INFO")), _INFO.expected)


def say_hello(effect: SayHello, local_host: str, renamed: Renamed | None = None) -> Order:
    """PUBLISH our hello; `local_host` fills in where it names no host."""
    hello = effect.hello
    payload = (
        f"{hello.host or local_host},{hello.port},{hello.run_id},{hello.current_epoch},"
        f"{hello.master},{hello.master_host},{hello.master_port},{hello.config_epoch}"
    ).encode("utf-8", "surrogateescape")[:MAX_HELLO]
    publish = "PUBLISH" if renamed is None else renamed("PUBLISH")
    head = _PUBLISH if publish == "PUBLISH" else b"*3" + command(publish, HELLO_CHANNEL)[2:]
    return Order(b"%b$%d\r\n%b\r\n" % (head, len(payload), payload), (effect,))


_PUBLISH: Final = b"*3" + command("PUBLISH", HELLO_CHANNEL)[2:]  # the payload follows


def ask(effect: AskPeer) -> Order:
    """Ask a peer whether it sees the master down, and for its vote when there is a candidate (core.md 7.3)."""
    words = (effect.shown_host, str(effect.address.port), str(effect.epoch), effect.candidate or "*")
    return Order(command("SENTINEL", "is-master-down-by-addr", *words), (effect,))


def promote(renamed: Renamed | None) -> Order:
    """Make the server a master, write that down, and send its clients away; INFO right behind tells us at once."""
    lines = (("MULTI",), ("SLAVEOF", "NO", "ONE"), ("CONFIG", "REWRITE"), *_KILL_CLIENTS, ("EXEC",), ("INFO",))
    return _followed_by_info(renamed, lines)


def repoint(effect: Repoint, renamed: Renamed | None) -> Order:
    """Make the server follow another, ending a handover of its own first if it is in one; INFO right behind."""
    abort = (("FAILOVER", "ABORT"),) if effect.abort_handover else ()
    follow = ("SLAVEOF", effect.host, str(effect.port))
    lines = (("MULTI",), *abort, follow, ("CONFIG", "REWRITE"), *_KILL_CLIENTS, ("EXEC",), ("INFO",))
    return _followed_by_info(renamed, lines)


def _followed_by_info(renamed: Renamed | None, lines: tuple[tuple[str, ...], ...]) -> Order:
    return Order(_commands(renamed, *lines), _NOTHING * (len(lines) - 1) + (Awaited.INFO,))


def pause_writers(effect: PauseWriters, renamed: Renamed | None) -> Order:
    """Make a master hold its writers back; INFO right behind tells how far it has written."""
    lines = (("CLIENT", "PAUSE", str(effect.pause_ms), "WRITE"), ("INFO",))
    return Order(_commands(renamed, *lines), (Awaited.PAUSE, Awaited.INFO))


def release_writers(effect: ReleaseWriters, renamed: Renamed | None) -> Order:
    """Let the writers of a master go on; a handover of its own is called off first, if there is one."""
    lines = ((("FAILOVER", "ABORT"),) if effect.call_off else ()) + (("CLIENT", "UNPAUSE"),)
    return Order(_commands(renamed, *lines), _NOTHING * len(lines))


FORCED_AFTER_MS: Final = 10
"""How long a master that is ordered to hand over at once still waits for its replica."""


def hand_over(effect: HandOver, renamed: Renamed | None) -> Order:
    """Make a master pause its writers and hand over to one of its replicas by itself (core.md 13.3).

    With FORCE it does not wait for more than a moment for the replica to say that it has everything.
    """
    timeout = str(effect.timeout_ms)
    target: tuple[str, ...] = ("FAILOVER", "TO", effect.host, str(effect.port))
    target += ("FORCE", "TIMEOUT", str(FORCED_AFTER_MS)) if effect.at_once else ("TIMEOUT", timeout)
    lines = (("MULTI",), ("CLIENT", "PAUSE", timeout, "WRITE"), target, ("EXEC",))
    return Order(_commands(renamed, *lines), _NOTHING * len(lines))


def kill_clients(renamed: Renamed | None) -> Order:
    """After a handover: write the new role down, send the clients away, and let writers go on."""
    lines = (("MULTI",), ("CONFIG", "REWRITE"), *_KILL_CLIENTS, ("CLIENT", "UNPAUSE"), ("EXEC",))
    return Order(_commands(renamed, *lines), _NOTHING * len(lines))


def kill_script(renamed: Renamed | None) -> Order:
    """SCRIPT KILL."""
    return Order(_commands(renamed, ("SCRIPT", "KILL")), _NOTHING)
