"""Small frozen values that every other module of the model speaks with.

Addresses and links are keys of dictionaries above all, so they are named tuples: these hash and compare without a line
of Python, five times as fast.
"""

from __future__ import annotations

import enum
import ipaddress
from functools import lru_cache
from typing import Final, NamedTuple, NewType, TypeAlias

from attrs import field, frozen

RunId = NewType("RunId", str)
"""The identity of a sentinel: 40 hexadecimal characters."""

Epoch: TypeAlias = int
"""A logical clock value, 0..MAX_EPOCH."""

Millis: TypeAlias = int
"""Milliseconds; a point on the monotonic clock when the name ends in ``_at_ms`` or ``_since_ms``."""

MAX_EPOCH: Final = 2**63 - 1  # larger values are not accepted from anybody: core.md Q6, property 6


class Kind(enum.Enum):
    """What an instance is here; the value is the word used on the wire."""

    MASTER = "master"
    REPLICA = "slave"
    PEER = "sentinel"


class Role(enum.Enum):
    """What a server says of itself in INFO."""

    MASTER = "master"
    REPLICA = "slave"


class Channel(enum.Enum):
    """The two connections of a link to a server. Peers have the command connection only."""

    COMMAND = "cmd"
    PUBSUB = "pubsub"


class Level(enum.IntEnum):
    """How loud an event is; the value orders them as ``loglevel`` does."""

    DEBUG = 0
    VERBOSE = 1
    NOTICE = 2
    WARNING = 3


MAX_IP: Final = 64  # letters; the longest address and the name of an interface are shorter


def canonical_ip(host: str) -> str:
    """The one way of writing the numeric address `host`; empty when it is none. IPv6 has many ways."""
    return _canonical_ip(host) if len(host) <= MAX_IP else ""


@lru_cache(maxsize=65536)  # of texts that strangers choose, so they must be short
def _canonical_ip(host: str) -> str:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return ""
    return f"::ffff:{ip.ipv4_mapped}" if ip.version == 6 and ip.ipv4_mapped is not None else str(ip)


def is_ip(host: str) -> bool:
    """Whether `host` is a numeric IPv4 or IPv6 address."""
    return canonical_ip(host) != ""


class Address(NamedTuple):
    """Where a process listens: the host as it was given (name or IP) and a port (0..65535; 0 = never connect)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ServerLink(NamedTuple):
    """Names the link to a server of one master; the same link serves before and after a switch."""

    master: str
    address: Address


class PeerLink(NamedTuple):
    """Names the link to another sentinel; every master that knows the peer shares it (core.md 2.5)."""

    run_id: RunId


LinkId: TypeAlias = ServerLink | PeerLink


@frozen(kw_only=True)
class Subject:
    """Whom an event is about, called as it was called when the event happened (core.md 16, instance text)."""

    kind: Kind
    name: str
    host: str
    port: int
    master: str
    master_host: str
    master_port: int

    def __str__(self) -> str:
        text = f"{self.kind.value} {self.name} {self.host} {self.port}"
        if self.kind is Kind.MASTER:
            return text
        return f"{text} @ {self.master} {self.master_host} {self.master_port}"


@frozen(kw_only=True)
class Hello:
    """What a sentinel says of itself and of one master (core.md 6.1)."""

    host: str
    port: int
    run_id: RunId
    current_epoch: Epoch
    master: str
    master_host: str
    master_port: int
    config_epoch: Epoch

    def __str__(self) -> str:
        return (
            f"{self.host},{self.port},{self.run_id},{self.current_epoch},"
            f"{self.master},{self.master_host},{self.master_port},{self.config_epoch}"
        )


@frozen(kw_only=True)
class InfoReading:
    """What a sentinel reads in an INFO reply; None where the line is absent (core.md 5.1)."""

    run_id: str | None = None
    role: Role | None = None
    replicas: tuple[Address, ...] = field(default=())
    master_host: str | None = None
    master_port: int | None = None
    master_link_up: bool | None = None
    master_link_down_ms: Millis = 0
    priority: int | None = None
    repl_offset: int | None = None
    """Of a replica: how far it has read."""
    written_offset: int | None = None
    """Of a master: how far it has written."""
    announced: bool | None = None
    failover_state: str | None = None
