"""What servers and peers say -> what the model perceives: INFO, hellos, opinions, PONG.

1. Nothing here raises, whatever the other side sends. What makes no sense is absent.
2. Hosts and identities end up in our configuration file and in orders to servers, so only words of harmless
   characters are read as such.
3. Every number from outside has a bound: ports 0..65535, epochs 0..2^63-1 (core.md Q6).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from trio_sentinel.model.values import MAX_EPOCH, Address, Epoch, Hello, InfoReading, Role, RunId
from trio_sentinel.wire.replies import ErrorReply, Reply

MAX_REPLICAS: Final = 4096
MAX_TEXT: Final = 64
MAX_HELLO: Final = 2048  # bytes; stock cuts its own at 1069. What was read is remembered, so it must be short

_HOST: Final = re.compile(rb"[0-9A-Za-z._:%-]{1,255}")
_RUN_ID: Final = re.compile(rb"[0-9A-Za-z._-]{1,64}")
_NUMBER: Final = re.compile(rb"-?[0-9]{1,19}")
_COUNT: Final = re.compile(rb"[0-9]{1,19}")
_PORT: Final = re.compile(rb"[0-9]{1,5}")
_OLD_REPLICA: Final = re.compile(rb"([^,]*),([0-9]{1,5}),")

_HEADER: Final = b"# Replication\r\n"
_RUN_ID_KEY: Final = b"run_id:"
_RUN_ID_SIZE: Final = 40


# ---------------------------------------------------------------- INFO


def info(text: bytes) -> InfoReading:
    """Read an INFO text (core.md 5.1). Only the section ``# Replication`` is looked at when there is one."""
    begin = text.rfind(_HEADER)
    if begin < 0:
        section = text
    else:
        end = text.find(b"\r\n#", begin + len(_HEADER))
        section = text[begin + len(_HEADER) : len(text) if end < 0 else end]
    fields: dict[bytes, bytes] = {}
    replicas: dict[Address, None] = {}
    wanted = _OF_MASTERS
    for line in section.split(b"\r\n"):
        key, colon, value = line.partition(b":")
        if colon and key in wanted:
            fields[key] = value
            if key == b"role" and value == b"slave":
                wanted = _OF_REPLICAS
        elif key[:5] == b"slave" and key[5:6].isdigit():
            address = _replica(value)
            if address is not None and len(replicas) < MAX_REPLICAS:
                replicas[address] = None
    return _reading(fields, tuple(replicas), _run_id(text))


_OF_ALL: Final = frozenset({b"role", b"master_link_down_since_seconds", b"master_failover_state"})
_OF_MASTERS: Final = _OF_ALL | {b"master_repl_offset"}
_OF_REPLICAS: Final = _OF_ALL | {
    b"master_host",
    b"master_port",
    b"master_link_status",
    b"slave_priority",
    b"slave_repl_offset",
    b"replica_announced",
}
"""Read only below a ``role:slave`` line; ``_OF_MASTERS`` above it and without one."""

_ROLES: Final = {b"master": Role.MASTER, b"slave": Role.REPLICA}


def _reading(fields: dict[bytes, bytes], replicas: tuple[Address, ...], run_id: str | None) -> InfoReading:
    status = fields.get(b"master_link_status")
    announced = _number(fields.get(b"replica_announced"))
    state = fields.get(b"master_failover_state")
    host = fields.get(b"master_host")
    return InfoReading(
        run_id=run_id,
        role=_ROLES.get(fields.get(b"role", b"")),
        replicas=replicas,
        master_host=None if host is None else _text(host),
        master_port=_port(fields.get(b"master_port", b"")),
        master_link_up=None if status is None else status.lower() == b"up",
        master_link_down_ms=(_number(fields.get(b"master_link_down_since_seconds")) or 0) * 1000,
        priority=_number(fields.get(b"slave_priority")),
        repl_offset=_number(fields.get(b"slave_repl_offset")),
        written_offset=_number(fields.get(b"master_repl_offset")),
        announced=None if announced is None else announced != 0,
        failover_state=None if state is None else _text(state),
    )


def _run_id(text: bytes) -> str | None:
    at = 0 if text.startswith(_RUN_ID_KEY) else text.find(b"\n" + _RUN_ID_KEY) + 1
    if at == 0 and not text.startswith(_RUN_ID_KEY):
        return None
    value = text[at + len(_RUN_ID_KEY) : at + len(_RUN_ID_KEY) + _RUN_ID_SIZE]
    if len(value) < _RUN_ID_SIZE or _RUN_ID.fullmatch(value) is None:
        return None
    return value.decode("ascii")


def _replica(value: bytes) -> Address | None:
    """``ip=1.2.3.4,port=6379,state=online,...``, or ``1.2.3.4,6379,online`` of servers before 2.8."""
    if b"ip=" not in value:
        old = _OLD_REPLICA.match(value)
        return None if old is None else _address(old[1], old[2])
    pairs = dict(pair.partition(b"=")[::2] for pair in value.split(b","))
    return _address(pairs.get(b"ip", b""), pairs.get(b"port", b""))


def _address(host: bytes, port: bytes) -> Address | None:
    number = _port(port)
    if number is None or _HOST.fullmatch(host) is None:
        return None
    return Address(host.decode("ascii"), number)


def _port(digits: bytes) -> int | None:
    if _PORT.fullmatch(digits) is None:
        return None
    port = int(digits)
    return port if port <= 65535 else None


def _number(digits: bytes | None) -> int | None:
    if digits is None or _NUMBER.fullmatch(digits) is None:
        return None
    return int(digits)


def _text(value: bytes) -> str:
    return value[:255].decode("utf-8", "replace")


# ---------------------------------------------------------------- hellos and opinions


def hello(payload: bytes) -> Hello | None:
    """Read a hello; None when it is none of the eight-word kind with usable addresses and epochs (core.md 6.1, Q5, Q6).

    The name of a master is told in UTF-8; other bytes are kept as surrogates, as in a configuration file.
    """
    return _hello(payload) if len(payload) <= MAX_HELLO else None


@lru_cache(maxsize=8192)  # the same hello comes every two seconds from every sentinel over every server
def _hello(payload: bytes) -> Hello | None:
    words = payload.split(b",")
    if len(words) != 8:
        return None
    host, port, run_id, current_epoch, master, master_host, master_port, config_epoch = words
    mine, its = _address(host, port), _address(master_host, master_port)
    current, config = _epoch(current_epoch), _epoch(config_epoch)
    if mine is None or its is None or current is None or config is None:
        return None
    if _RUN_ID.fullmatch(run_id) is None or not master:
        return None
    return Hello(
        host=mine.host,
        port=mine.port,
        run_id=RunId(run_id.decode("ascii")),
        current_epoch=current,
        master=master.decode("utf-8", "surrogateescape"),
        master_host=its.host,
        master_port=its.port,
        config_epoch=config,
    )


def _epoch(digits: bytes) -> Epoch | None:
    if _COUNT.fullmatch(digits) is None:
        return None
    epoch = int(digits)
    return epoch if epoch <= MAX_EPOCH else None


def opinion(reply: Reply) -> tuple[bool, RunId | None, Epoch] | None:
    """Read the answer to is-master-down-by-addr: (down, whom it voted for, in which epoch); None when malformed."""
    if not isinstance(reply, list) or len(reply) != 3:
        return None
    down, leader, epoch = reply
    if type(down) is not int or type(leader) is not bytes or type(epoch) is not int:
        return None
    if not 0 <= epoch <= MAX_EPOCH:
        return None
    if leader == b"*":
        return down == 1, None, epoch
    if _RUN_ID.fullmatch(leader) is None:
        return None
    return down == 1, RunId(leader.decode("ascii")), epoch


def ping_text(reply: Reply) -> str:
    """The text of a reply to PING, status or error, cut to `MAX_TEXT`; empty for what is neither."""
    if isinstance(reply, ErrorReply):
        reply = reply.text
    return reply[:MAX_TEXT].decode("utf-8", "replace") if isinstance(reply, bytes) else ""
