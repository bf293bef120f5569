"""The subcommands of CLIENT (commands.md 3.4, V9): names, lists, and who is to be closed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from trio_sentinel.runtime.session_listing import Filter, flags_of, line_of, listed
from trio_sentinel.runtime.session_outbox import NOTHING, Mute, Reply
from trio_sentinel.wire import resp
from trio_sentinel.wire.acl_file import DEFAULT
from trio_sentinel.wire.requests import NOT_INTEGER, refuse
from trio_sentinel.wire.resp import Argv, strict_int, told

if TYPE_CHECKING:
    from trio_sentinel.runtime.session import Session

_SHOWABLE = re.compile(rb"[!-~]*")
_BAD_BYTES: Final = "cannot contain spaces, newlines or special characters."
_FLAGS: Final = b"AbBcdeFiIMNOPrRStTuUx"
_CAPAS: Final = b"r"


def checked_name(name: bytes) -> bytes:
    """A name that can be shown in CLIENT LIST; empty means none."""
    if not _SHOWABLE.fullmatch(name):
        raise refuse(f"Client names {_BAD_BYTES}")
    return name


# ---------------------------------------------------------------- filters


def _seconds(word: bytes, what: str) -> int:
    number = strict_int(word)
    if number is None:
        raise refuse(f"{what} is not an integer or out of range")
    if number <= 0:
        raise refuse(f"{what} should be greater than 0")
    return number


def _of_type(value: bytes) -> Filter:
    kind = value.lower()
    if kind not in (b"normal", b"master", b"primary", b"slave", b"replica", b"pubsub"):
        raise refuse(f"Unknown client type '{told(value)}'")
    if kind == b"pubsub":
        return lambda client: client.subscriptions > 0
    if kind == b"normal":
        return lambda client: client.subscriptions == 0
    return lambda client: False


def _of_user(asking: Session, value: bytes) -> Filter:
    name = told(value)
    if asking.house.rights.account(name) is None:
        raise refuse(f"No such user '{name}'")
    return lambda client: name == (DEFAULT if client.user is None else client.user.name)


def _with_flags(value: bytes, place: str) -> Filter:
    if any(letter not in _FLAGS for letter in value):
        raise refuse(f"Unknown flags found in the {place} filter: {told(value)}")
    return lambda client: all(letter in flags_of(client).encode() for letter in value)


def _with_capa(value: bytes, place: str) -> Filter:
    if any(letter not in _CAPAS for letter in value):
        raise refuse(f"Unknown capa found in the {place} filter: {told(value)}")
    return lambda client: not value


def _in_database(value: bytes, name: str) -> Filter:
    number = strict_int(value)
    if number is None:
        raise refuse(f"{name} is not an integer or out of range")
    if not 0 <= number <= 15:
        raise refuse(f"{name} number should be between 0 and 15")
    return lambda client: number == 0


def _older(asking: Session, value: bytes) -> Filter:
    limit = _seconds(value, "maxage") * 1000
    now_ms = asking.house.mind.now_ms()
    return lambda client: now_ms - client.connected_at_ms >= limit


def _idler(asking: Session, value: bytes) -> Filter:
    limit = _seconds(value, "idle") * 1000
    now_ms = asking.house.mind.now_ms()
    return lambda client: now_ms - client.active_at_ms >= limit


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


_MAKERS: Final[dict[bytes, Callable[[Session, bytes], Filter]]] = {
    b"type": lambda asking, value: _of_type(value),
    b"addr": lambda asking, value: lambda client: client.transport.remote == told(value),
    b"laddr": lambda asking, value: lambda client: client.transport.local == told(value),
    b"ip": lambda asking, value: lambda client: _host(client.transport.remote) == told(value),
    b"user": _of_user,
    b"name": lambda asking, value: lambda client: bool(value) and client.name == value,
    b"lib-name": lambda asking, value: lambda client: bool(value) and client.lib_name == value,
    b"lib-ver": lambda asking, value: lambda client: bool(value) and client.lib_ver == value,
    b"flags": lambda asking, value: _with_flags(value, "provided"),
    b"not-flags": lambda asking, value: _with_flags(value, "NOT-FLAGS"),
    b"capa": lambda asking, value: _with_capa(value, "provided"),
    b"not-capa": lambda asking, value: _with_capa(value, "NOT-CAPA"),
    b"db": lambda asking, value: _in_database(value, "DB"),
    b"not-db": lambda asking, value: _in_database(value, "NOT-DB"),
    b"maxage": _older,
    b"idle": _idler,
}
_NEVER_NEGATED: Final = (b"maxage", b"idle")


def _negated(fits: Filter) -> Filter:
    return lambda client: not fits(client)


def wanted(asking: Session, words: Argv, *, skip_me: bool) -> Filter:
    """Whether a client fits every filter in `words`. Of equal filters the last counts; ids add up."""
    filters: dict[bytes, Filter] = {}
    ids: dict[bytes, set[int]] = {}
    at = 0
    while at < len(words):
        if at + 1 == len(words):
            raise refuse("syntax error")
        option, value = words[at].lower(), words[at + 1]
        base = option.removeprefix(b"not-")
        if base == b"id":
            named, at = _numbers(words, at + 1)
            ids.setdefault(option, set()).update(named)
            fits = _numbered(ids[option])
            filters[option] = fits if base == option else _negated(fits)
            continue
        at += 2
        if option == b"skipme":
            if value.lower() not in (b"yes", b"no"):
                raise refuse("syntax error")
            skip_me = value.lower() == b"yes"
            continue
        if base not in _MAKERS or (base != option and base in _NEVER_NEGATED):
            raise refuse("syntax error")
        fits = _MAKERS.get(option, _MAKERS[base])(asking, value)
        filters[option] = fits if base == option else _negated(fits)
    all_of = tuple(filters.values())
    return lambda client: not (skip_me and client is asking) and all(fits(client) for fits in all_of)


def _numbers(words: Argv, at: int) -> tuple[set[int], int]:
    """The client numbers that stand from `at` on, be there none, and the place behind them."""
    found: set[int] = set()
    while at < len(words) and (number := strict_int(words[at])) is not None:
        if number <= 0:
            raise refuse("client-id should be greater than 0")
        found.add(number)
        at += 1
    return found, at


def _numbered(ids: set[int]) -> Filter:
    return lambda client: client.id in ids


def info(session: Session, argv: Argv) -> Reply:
    """CLIENT INFO."""
    return resp.verbatim(line_of(session) + b"\n", session.proto)


def list_(session: Session, argv: Argv) -> Reply:
    """CLIENT LIST [filters]."""
    return listed(session, wanted(session, argv[2:], skip_me=False))


def kill(session: Session, argv: Argv) -> Reply:
    """CLIENT KILL ip:port, or with filters; whoever kills itself still reads the reply."""
    if len(argv) == 3:
        found = [client for client in session.house.clients if client.transport.remote == told(argv[2])]
        if not found:
            raise refuse("No such client")
        _close(session, found)
        return resp.OK
    fits = wanted(session, argv[2:], skip_me=True)
    found = [client for client in session.house.clients if fits(client)]
    _close(session, found)
    return resp.integer(len(found))


def _close(session: Session, found: list[Session]) -> None:
    for client in found:
        if client is session:
            client.closing = True
        else:
            client.close(flush=False)


# ---------------------------------------------------------------- the connection itself


def id_(session: Session, argv: Argv) -> Reply:
    """CLIENT ID."""
    return resp.integer(session.id)


def getname(session: Session, argv: Argv) -> Reply:
    """CLIENT GETNAME."""
    return resp.bulk(session.name) if session.name else resp.null_bulk(session.proto)


def setname(session: Session, argv: Argv) -> Reply:
    """CLIENT SETNAME."""
    session.name = checked_name(argv[2])
    return resp.OK


def setinfo(session: Session, argv: Argv) -> Reply:
    """CLIENT SETINFO LIB-NAME|LIB-VER value."""
    attribute, value = argv[2].lower(), argv[3]
    if attribute not in (b"lib-name", b"lib-ver"):
        raise refuse(f"Unrecognized option '{told(argv[2])}'")
    if not _SHOWABLE.fullmatch(value):
        raise refuse(f"{told(argv[2])} {_BAD_BYTES}")
    if attribute == b"lib-name":
        session.lib_name = value
    else:
        session.lib_ver = value
    return resp.OK


def reply(session: Session, argv: Argv) -> Reply:
    """CLIENT REPLY ON|OFF|SKIP."""
    match argv[2].lower():
        case b"on":
            session.mute = Mute.NO
            session.write(resp.OK)
        case b"off":
            session.mute = Mute.YES
        case b"skip":
            session.mute = Mute.YES if session.mute is Mute.YES else Mute.NEXT
        case _:
            raise refuse("syntax error")
    return NOTHING


def pause(session: Session, argv: Argv) -> Reply:
    """CLIENT PAUSE ms [WRITE|ALL]."""
    mode = argv[3].lower() if len(argv) > 3 else b"all"
    if mode not in (b"write", b"all"):
        raise refuse("CLIENT PAUSE mode must be WRITE or ALL")
    length = strict_int(argv[2])
    if length is None:
        raise refuse("timeout is not an integer or out of range")
    if length < 0:
        raise refuse("timeout is negative")
    session.house.clients.pause(session.house.mind.now_ms() + length, writes_only=mode == b"write")
    return resp.OK


def unpause(session: Session, argv: Argv) -> Reply:
    """CLIENT UNPAUSE."""
    session.house.clients.unpause()
    return resp.OK


def unblock(session: Session, argv: Argv) -> Reply:
    """CLIENT UNBLOCK id [TIMEOUT|ERROR]: nobody ever blocks here."""
    if len(argv) > 3 and argv[3].lower() not in (b"timeout", b"error"):
        raise refuse("CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
    if strict_int(argv[2]) is None:
        raise refuse(NOT_INTEGER)
    return resp.integer(0)


def no_evict(session: Session, argv: Argv) -> Reply:
    """CLIENT NO-EVICT on|off."""
    word = argv[2].lower()
    if word not in (b"on", b"off"):
        raise refuse("syntax error")
    session.no_evict = word == b"on"
    return resp.OK


def help_(session: Session, argv: Argv) -> Reply:
    """CLIENT HELP."""
    return resp.simples(_HELP)


_HELP: Final = (
    "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CACHING (YES|NO)",
    "    Choose whether the keys of the next request are tracked.",
    "GETNAME",
    "    Tell the name of this connection.",
    "GETREDIR",
    "    Tell who gets the tracking messages of this connection.",
    "ID",
    "    Tell the number of this connection.",
    "INFO",
    "    Describe this connection.",
    "KILL <ip:port>",
    "    Close the connection from that address.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Close all connections that fit. Options: ID, TYPE, ADDR, LADDR, IP, USER,",
    "    NAME, LIB-NAME, LIB-VER, FLAGS, CAPA, DB, each also with NOT- before it,",
    "    MAXAGE, IDLE and SKIPME (YES|NO).",
    "LIST [options ...]",
    "    Describe all connections that fit; options as for KILL.",
    "NO-EVICT (ON|OFF)",
    "    Protect this connection from eviction.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Delay commands of all clients for so many milliseconds.",
    "REPLY (ON|OFF|SKIP)",
    "    Choose whether commands are answered.",
    "SETINFO <option> <value>",
    "    Tell the LIB-NAME or LIB-VER of the client library.",
    "SETNAME <name>",
    "    Name this connection.",
    "TRACKING (ON|OFF) [options ...]",
    "    Turn the tracking of keys on or off.",
    "TRACKINGINFO",
    "    Describe the tracking of keys for this connection.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    Wake a client that waits in a command.",
    "UNPAUSE",
    "    End CLIENT PAUSE.",
    "HELP",
    "    Print this help.",
)

Run = Callable[["Session", Argv], Reply]

HANDLERS: Final[dict[str, Run]] = {
    "client|getname": getname,
    "client|help": help_,
    "client|id": id_,
    "client|info": info,
    "client|kill": kill,
    "client|list": list_,
    "client|no-evict": no_evict,
    "client|pause": pause,
    "client|reply": reply,
    "client|setinfo": setinfo,
    "client|setname": setname,
    "client|unblock": unblock,
    "client|unpause": unpause,
}
"""By full name."""
