"""The commands that are not of a container: connection, publish and subscribe, INFO, ROLE, SHUTDOWN.

Each takes a session and a request whose arity was checked, and returns the reply or its place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from trio_sentinel.errors import CommandRefused
from trio_sentinel.model.inputs import HelloHeard
from trio_sentinel.runtime import session_acl, session_client, session_sentinel, session_tracking
from trio_sentinel.runtime.session_listing import told_who
from trio_sentinel.runtime.session_outbox import NOTHING, Reply
from trio_sentinel.runtime.session_rights import Account
from trio_sentinel.wire import info, requests, resp
from trio_sentinel.wire.command_replies import reply_to_command
from trio_sentinel.wire.requests import refuse
from trio_sentinel.wire.resp import Argv

if TYPE_CHECKING:
    from trio_sentinel.runtime.session import Session

Run: TypeAlias = Callable[["Session", Argv], Reply]

MAX_PATTERNS: Final = 16384  # different ones of all clients

_NO_PASSWORD: Final = (
    "AUTH <password> called without any password configured for the default user. "
    "Are you sure your configuration is correct?"
)
_HELLO_FIRST: Final = (
    "HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> "
    "option can be used to authenticate the client and select the RESP protocol version at the same time"
)


# ---------------------------------------------------------------- connection


def ping(session: Session, argv: Argv) -> Reply:
    """PING [message]."""
    if len(argv) > 2:
        raise refuse("wrong number of arguments for 'ping' command")
    if session.in_pubsub:
        return resp.bulks([b"pong", argv[1] if len(argv) == 2 else b""])
    return resp.bulk(argv[1]) if len(argv) == 2 else resp.PONG


def _login(session: Session, command: bytes, name: bytes, password: bytes) -> Account:
    """The user, or the refusal of 3.2. `command` is how the client spelt it."""
    user = session.house.rights.login(name, password)
    if user is None:
        session_acl.note_failed_login(session, command, name)
        raise CommandRefused("WRONGPASS", "invalid username-password pair or user is disabled.")
    return user


def auth(session: Session, argv: Argv) -> Reply:
    """AUTH [user] password."""
    if len(argv) > 3:
        raise refuse("syntax error")
    if len(argv) == 2 and session.house.rights.passwordless:
        raise refuse(_NO_PASSWORD)
    session.log_in(_login(session, argv[0], argv[1] if len(argv) == 3 else b"default", argv[-1]))
    return resp.OK


def hello(session: Session, argv: Argv) -> Reply:
    """HELLO [protover [AUTH user pass] [SETNAME name]]: all is checked before anything changes (V9)."""
    proto = session.proto
    login: tuple[bytes, bytes] | None = None
    name: bytes | None = None
    if len(argv) > 1:
        asked = resp.strict_int(argv[1])
        if asked is None:
            raise refuse("Protocol version is not an integer or out of range")
        if asked not in (2, 3):
            raise CommandRefused("NOPROTO", "unsupported protocol version")
        proto = asked
    at = 2
    while at < len(argv):
        option, left = argv[at].lower(), len(argv) - at - 1
        if option == b"auth" and left >= 2:
            login = (argv[at + 1], argv[at + 2])
            at += 3
        elif option == b"setname" and left >= 1:
            name = session_client.checked_name(argv[at + 1])
            at += 2
        else:
            raise refuse(f"Syntax error in HELLO option '{resp.told(argv[at])}'")
    if login is not None:
        session.log_in(_login(session, argv[0], *login))
    if session.user is None:
        raise CommandRefused("NOAUTH", _HELLO_FIRST)
    if name is not None:
        session.name = name
    session.proto = proto
    directives = session.house.directives
    redis = directives.extended_redis_compatibility
    pairs = [
        (resp.bulk("server"), resp.bulk("redis" if redis else "valkey")),
        (resp.bulk("version"), resp.bulk(info.COMPATIBLE_VERSION if redis else info.SPOKEN_VERSION)),
        (resp.bulk("proto"), resp.integer(proto)),
        (resp.bulk("id"), resp.integer(session.id)),
        (resp.bulk("mode"), resp.bulk("sentinel")),
        (resp.bulk("modules"), resp.array([])),
    ]
    if directives.availability_zone:
        pairs.append((resp.bulk("availability_zone"), resp.bulk(directives.availability_zone)))
    return resp.mapping(pairs, proto)


def command(session: Session, argv: Argv) -> Reply:
    """COMMAND and its subcommands."""
    return reply_to_command(session.house.commands, argv, session.proto)


# ---------------------------------------------------------------- publish and subscribe


def _confirm(session: Session, kind: str, name: bytes | None) -> None:
    """One frame of a subscribe or unsubscribe command, with the new total."""
    shown = resp.null_bulk(session.proto) if name is None else resp.bulk(name)
    session.write(resp.push([resp.bulk(kind), shown, resp.integer(session.subscriptions)], session.proto))


def subscribe(session: Session, argv: Argv) -> Reply:
    """SUBSCRIBE channel ..."""
    for name in argv[1:]:
        session.house.board.subscribe(session, name)
        _confirm(session, "subscribe", name)
    return NOTHING


def psubscribe(session: Session, argv: Argv) -> Reply:
    """PSUBSCRIBE pattern ..."""
    for name in argv[1:]:
        session.house.board.psubscribe(session, name)
        _confirm(session, "psubscribe", name)
    if session.house.board.patterns > MAX_PATTERNS:
        session.house.clients.cut_patterns()
    return NOTHING


def unsubscribe(session: Session, argv: Argv) -> Reply:
    """UNSUBSCRIBE [channel ...]."""
    board = session.house.board
    names = argv[1:] or tuple(board.held(session).channels)
    for name in names:
        board.unsubscribe(session, name)
        _confirm(session, "unsubscribe", name)
    if not names:
        _confirm(session, "unsubscribe", None)
    return NOTHING


def punsubscribe(session: Session, argv: Argv) -> Reply:
    """PUNSUBSCRIBE [pattern ...]."""
    board = session.house.board
    names = argv[1:] or tuple(board.held(session).patterns)
    for name in names:
        board.punsubscribe(session, name)
        _confirm(session, "punsubscribe", name)
    if not names:
        _confirm(session, "punsubscribe", None)
    return NOTHING


def publish(session: Session, argv: Argv) -> Reply:
    """PUBLISH of a hello; a malformed one is answered alike and ignored."""
    if argv[1] != requests.HELLO_CHANNEL:
        raise refuse("Only HELLO messages are accepted by Sentinel instances.")
    heard = requests.hello(argv[2])
    if heard is not None:
        session.house.mind.hear(HelloHeard(heard))
    return resp.integer(1)


# ---------------------------------------------------------------- the process


def role(session: Session, argv: Argv) -> Reply:
    """ROLE."""
    return resp.array([resp.bulk("sentinel"), resp.bulks(session.house.mind.state.masters)])


def shutdown(session: Session, argv: Argv) -> Reply:
    """SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] [SAFE] [FAILOVER] [ABORT]; no reply on success."""
    words = {word.lower() for word in argv[1:]}
    known = {b"nosave", b"save", b"now", b"force", b"safe", b"failover", b"abort"}
    if words - known or {b"save", b"nosave"} <= words or (b"abort" in words and len(argv) > 2):
        raise refuse("syntax error")
    if b"abort" in words:
        raise refuse("No shutdown in progress.")
    if b"failover" in words:
        raise refuse("SHUTDOWN FAILOVER is only supported in cluster mode.")
    session.closing = True  # what came in the same packet does not run any more
    session.house.shutdown(f"User requested shutdown... (user request from '{told_who(session)}')")
    return NOTHING


def information(session: Session, argv: Argv) -> Reply:
    """INFO [section ...]; a plain bulk in RESP3 too."""
    house = session.house
    sections = info.wanted_sections(argv[1:])
    scripts, mind = house.scripts, house.mind
    lines = info.sentinel_lines(mind.state, scripts.running, scripts.queued, mind.now_ms())
    facts = _facts(session) if sections != ("sentinel",) else {}
    mode = "redis_mode" if house.directives.extended_redis_compatibility else "server_mode"
    return resp.bulk(info.render(sections, facts, house.identity.listeners, lines, mode=mode))


def _facts(session: Session) -> dict[str, str | int]:
    """What INFO knows outside the Sentinel section."""
    house, clients, board = session.house, session.house.clients, session.house.board
    identity, now_ms = house.identity, house.mind.now_ms()
    uptime_s = max(0, now_ms - identity.started_at_ms) // 1000
    wall_ms = house.mind.wall_ms()
    paused = clients.paused_until_ms is not None
    return {
        "os": identity.os,
        "arch_bits": identity.arch_bits,
        "process_id": identity.pid,
        "run_id": identity.run_id,
        "tcp_port": house.directives.port,
        "server_time_usec": wall_ms * 1000,
        "uptime_in_seconds": uptime_s,
        "uptime_in_days": uptime_s // 86400,
        "hz": 10,
        "configured_hz": 10,
        "clients_hz": 10,
        "lru_clock": wall_ms // 1000 & 0xFFFFFF,
        "executable": identity.executable,
        "config_file": identity.config_file,
        "availability_zone": house.directives.availability_zone,
        "trio_sentinel_version": identity.version,
        "connected_clients": len(clients),
        "maxclients": house.directives.maxclients,
        "tracking_clients": sum(other.tracking is not None for other in clients),
        "pubsub_clients": board.clients,
        "paused_reason": "client_pause" if paused else "none",
        "paused_actions": ("write" if clients.pause_writes_only else "all") if paused else "none",
        "paused_timeout_milliseconds": max(0, (clients.paused_until_ms or now_ms) - now_ms),
        "total_connections_received": clients.received,
        "total_commands_processed": clients.commands,
        "total_net_input_bytes": clients.net_input,
        "total_net_output_bytes": clients.net_output,
        "rejected_connections": clients.rejected,
        "pubsub_channels": board.channels,
        "pubsub_patterns": board.patterns,
        "total_error_replies": clients.errors,
        "total_reads_processed": clients.reads,
        "total_writes_processed": clients.writes,
        "evicted_clients": clients.evicted,
        "client_query_buffer_limit_disconnections": clients.cut_for_query,
        "client_output_buffer_limit_disconnections": clients.cut_for_output,
        "acl_access_denied_auth": clients.denied_auth,
        "acl_access_denied_cmd": clients.denied_command,
        "acl_access_denied_channel": clients.denied_channel,
        "acl_access_denied_tls_cert": clients.denied_certificate,
        **clients.rates.fields(),
        **{name: f"{seconds:.6f}" for name, seconds in house.cpu_seconds().items()},
    }


HANDLERS: Final[dict[str, Run]] = {
    "auth": auth,
    "command": command,
    "hello": hello,
    "info": information,
    "ping": ping,
    "psubscribe": psubscribe,
    "publish": publish,
    "punsubscribe": punsubscribe,
    "role": role,
    "shutdown": shutdown,
    "subscribe": subscribe,
    "unsubscribe": unsubscribe,
    **{f"command|{sub}": command for sub in ("count", "docs", "getkeys", "getkeysandflags", "help", "info", "list")},
    **session_acl.HANDLERS,
    **session_client.HANDLERS,
    **session_sentinel.HANDLERS,
    **session_tracking.HANDLERS,
}
"""By full name, as in the table of commands."""
