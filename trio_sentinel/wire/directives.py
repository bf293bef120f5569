"""The general directives of sentinel.conf: names, kinds of value, bounds, defaults (config-and-events.md 1.6 to 1.8).

1. One row of `KINDS` per directive that matters; the attribute of `Directives` is its name with underscores.
2. A kind reads the one word of its directive and writes it back; a bad word raises `BadValue` with stock's text.
3. `IGNORED` are the names that a file of a whole server may hold: accepted, without effect, never touched.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Protocol, TypeAlias

from attrs import field, frozen

from trio_sentinel.wire import conf_lexer

INT_MAX: Final = 2**31 - 1
LONG_MAX: Final = 2**63 - 1
MAX_BIND: Final = 16
MEGABYTE: Final = 1024 * 1024

BufferLimit: TypeAlias = tuple[str, int, int, int]
"""Class of clients (``normal``, ``replica``, ``pubsub``), hard bytes, soft bytes, soft seconds; 0 = no limit."""

DEFAULT_BIND: Final = ("*", "-::*")
DEFAULT_BUFFER_LIMITS: Final[tuple[BufferLimit, ...]] = (
    ("normal", 0, 0, 0),
    ("replica", 256 * MEGABYTE, 64 * MEGABYTE, 60),
    ("pubsub", 32 * MEGABYTE, 8 * MEGABYTE, 60),
)


@frozen(kw_only=True)
class Directives:
    """The general directives, with the defaults of Sentinel mode. An empty text means not set."""

    # network
    port: int = 26379
    bind: tuple[str, ...] = DEFAULT_BIND
    protected_mode: bool = False
    bind_source_addr: str = ""
    tcp_backlog: int = 511
    timeout: int = 0
    tcp_keepalive: int = 300
    maxclients: int = 10000
    unixsocket: str = ""
    unixsocketperm: int = 0
    unixsocketgroup: str = ""
    client_output_buffer_limits: tuple[BufferLimit, ...] = DEFAULT_BUFFER_LIMITS
    client_query_buffer_limit: int = 1024 * MEGABYTE
    proto_max_bulk_len: int = 512 * MEGABYTE
    # access
    requirepass: str = field(default="", repr=False)
    aclfile: str = ""
    acllog_max_len: int = 128
    acl_pubsub_default: str = "resetchannels"
    users: tuple[tuple[str, ...], ...] = field(default=(), repr=False)
    """One tuple per ``user`` line: the name, then the rules as they were given."""
    renamed_commands: tuple[tuple[str, str], ...] = ()
    """Pairs (old name, new name) of our own commands; an empty new name removes the command."""
    # what clients are told of this port
    availability_zone: str = ""
    extended_redis_compatibility: bool = False
    """Whether HELLO and INFO use the names of Redis."""
    # process
    dir: str = ""
    """The working directory, absolute once a file was loaded."""
    logfile: str = ""
    loglevel: str = "notice"
    log_format: str = "legacy"
    log_timestamp_format: str = "legacy"
    syslog_enabled: bool = False
    syslog_ident: str = "valkey"
    syslog_facility: str = "local0"
    daemonize: bool = False
    pidfile: str = ""
    supervised: str = "no"
    set_proc_title: bool = True
    proc_title_template: str = "{title} {listen-addr} {server-mode}"
    always_show_logo: bool = False
    # TLS
    tls_port: int = 0
    tls_replication: bool = False
    tls_cluster: bool = False
    tls_cert_file: str = ""
    tls_key_file: str = ""
    tls_key_file_pass: str = field(default="", repr=False)
    tls_client_cert_file: str = ""
    tls_client_key_file: str = ""
    tls_client_key_file_pass: str = field(default="", repr=False)
    tls_ca_cert_file: str = ""
    tls_ca_cert_dir: str = ""
    tls_auth_clients: str = "yes"
    tls_auth_clients_user: str = "off"
    tls_auto_reload_interval: int = 0
    tls_protocols: str = ""
    tls_ciphers: str = ""
    tls_ciphersuites: str = ""
    tls_prefer_server_ciphers: bool = False
    tls_session_caching: bool = True
    tls_session_cache_size: int = 20480
    tls_session_cache_timeout: int = 300
    tls_dh_params_file: str = ""


class BadValue(ValueError):
    """A word that a directive does not accept; the message is stock's."""


class Kind(Protocol):
    """How the single value of a directive is read and written."""

    def read(self, value: str) -> Any:
        """The value; raises `BadValue`."""

    def write(self, value: Any) -> bytes:
        """One word of the file, which `read` understands."""


@frozen
class YesNo:
    """A boolean."""

    def read(self, value: str) -> bool:
        if value.lower() not in ("yes", "no"):
            raise BadValue("argument must be 'yes' or 'no'")
        return value.lower() == "yes"

    def write(self, value: bool) -> bytes:
        return b"yes" if value else b"no"


def _in_range(number: int, low: int, high: int, shape: str = "d") -> int:
    if not low <= number <= high:
        raise BadValue(f"argument must be between {low:{shape}} and {high:{shape}} inclusive")
    return number


@frozen
class Integer:
    """A decimal number, both bounds included."""

    low: int
    high: int

    def read(self, value: str) -> int:
        if not re.fullmatch(r"0|-?[1-9][0-9]{0,18}", value) or not -LONG_MAX - 1 <= int(value) <= LONG_MAX:
            raise BadValue("argument couldn't be parsed into an integer")
        return _in_range(int(value), self.low, self.high)

    def write(self, value: int) -> bytes:
        return b"%d" % value


@frozen
class Octal:
    """A file mode. As in stock an empty word is 0, and blanks and a sign may come first."""

    high: int

    def read(self, value: str) -> int:
        if not re.fullmatch(r"(?:[ \t\n\v\f\r]*[+-]?[0-7]{1,20})?", value):
            raise BadValue("argument couldn't be parsed as an octal number")
        return _in_range(int(value or "0", 8), 0, self.high, "o")

    def write(self, value: int) -> bytes:
        return b"%o" % value


_UNITS: Final = {"": 1, "b": 1, "k": 1000, "kb": 1024, "m": 10**6, "mb": 1024**2, "g": 10**9, "gb": 1024**3}


def read_memory(value: str) -> int:
    """A size in bytes, with or without a unit; the digits may be missing, as in stock (``mb`` is 0)."""
    found = re.fullmatch(r"([0-9]{0,20})([a-z]*)", value.lower(), re.ASCII)
    if found is None or found[2] not in _UNITS:
        raise BadValue("argument must be a memory value")
    size = int(found[1] or 0) * _UNITS[found[2]]
    if size > LONG_MAX:
        raise BadValue("argument must be a memory value")
    return size


def write_memory(size: int) -> bytes:
    """`size` in the largest unit that divides it."""
    for unit in ("gb", "mb", "kb"):
        if size and size % _UNITS[unit] == 0:
            return b"%d%s" % (size // _UNITS[unit], unit.encode())
    return b"%d" % size


@frozen
class Memory:
    """A size in bytes."""

    low: int

    def read(self, value: str) -> int:
        return _in_range(read_memory(value), self.low, LONG_MAX)

    def write(self, value: int) -> bytes:
        return write_memory(value)


@frozen
class OneOf:
    """One word of a list; case does not matter when reading."""

    words: tuple[str, ...]

    def read(self, value: str) -> str:
        for word in self.words:
            if word.lower() == value.lower():
                return word
        raise BadValue(f"argument(s) must be one of the following: {', '.join(self.words)}")

    def write(self, value: str) -> bytes:
        return value.encode()


@frozen
class Text:
    """Anything; always written in quotes."""

    def read(self, value: str) -> str:
        return value

    def write(self, value: str) -> bytes:
        return conf_lexer.quoted(value)


_TITLE_WORDS: Final = "title|listen-addr|server-mode|port|tls-port|unixsocket|config-file"
_TITLE: Final = re.compile(rf"(?:[^{{]|\{{\{{|\{{(?:{_TITLE_WORDS})\}})+", re.DOTALL)


@frozen
class TitleTemplate:
    """A text with ``{variables}``."""

    def read(self, value: str) -> str:
        if not _TITLE.fullmatch(value):
            raise BadValue("template format is invalid or contains unknown variables")
        return value

    def write(self, value: str) -> bytes:
        return conf_lexer.quoted(value)


_PORT: Final = Integer(0, 65535)
_NATURAL: Final = Integer(0, INT_MAX)

KINDS: Final[dict[str, Kind]] = {
    "port": _PORT,
    "protected-mode": YesNo(),
    "bind-source-addr": Text(),
    "tcp-backlog": _NATURAL,
    "timeout": _NATURAL,
    "tcp-keepalive": _NATURAL,
    "maxclients": Integer(1, 2**32 - 1),
    "unixsocket": Text(),
    "unixsocketperm": Octal(0o777),
    "unixsocketgroup": Text(),
    "client-query-buffer-limit": Memory(MEGABYTE),
    "proto-max-bulk-len": Memory(MEGABYTE),
    "requirepass": Text(),
    "aclfile": Text(),
    "acllog-max-len": Integer(0, LONG_MAX),
    "acl-pubsub-default": OneOf(("allchannels", "resetchannels")),
    "availability-zone": Text(),
    "extended-redis-compatibility": YesNo(),
    "dir": Text(),
    "logfile": Text(),
    "loglevel": OneOf(("debug", "verbose", "notice", "warning", "nothing")),
    "log-format": OneOf(("legacy", "logfmt", "json")),
    "log-timestamp-format": OneOf(("legacy", "iso8601", "milliseconds")),
    "syslog-enabled": YesNo(),
    "syslog-ident": Text(),
    "syslog-facility": OneOf(("user", *(f"local{n}" for n in range(8)))),
    "daemonize": YesNo(),
    "pidfile": Text(),
    "supervised": OneOf(("upstart", "systemd", "auto", "no")),
    "set-proc-title": YesNo(),
    "proc-title-template": TitleTemplate(),
    "always-show-logo": YesNo(),
    "tls-port": _PORT,
    "tls-replication": YesNo(),
    "tls-cluster": YesNo(),
    "tls-cert-file": Text(),
    "tls-key-file": Text(),
    "tls-key-file-pass": Text(),
    "tls-client-cert-file": Text(),
    "tls-client-key-file": Text(),
    "tls-client-key-file-pass": Text(),
    "tls-ca-cert-file": Text(),
    "tls-ca-cert-dir": Text(),
    "tls-auth-clients": OneOf(("no", "yes", "optional")),
    "tls-auth-clients-user": OneOf(("CN", "URI", "off")),
    "tls-auto-reload-interval": _NATURAL,
    "tls-protocols": Text(),
    "tls-ciphers": Text(),
    "tls-ciphersuites": Text(),
    "tls-prefer-server-ciphers": YesNo(),
    "tls-session-caching": YesNo(),
    "tls-session-cache-size": _NATURAL,
    "tls-session-cache-timeout": _NATURAL,
    "tls-dh-params-file": Text(),
}
"""Directives with exactly one value."""


def attribute(name: str) -> str:
    """The attribute of `Directives` that holds the directive `name`."""
    return name.replace("-", "_")


DEFAULTS: Final[dict[str, Any]] = {name: getattr(Directives(), attribute(name)) for name in KINDS}
"""What each directive of `KINDS` is when no line sets it."""


# ---------------------------------------------------------------- directives with several values


def read_bind(words: Sequence[str]) -> tuple[str, ...]:
    """The addresses to listen on; a single empty word means none."""
    if len(words) > MAX_BIND:
        raise BadValue("Too many bind addresses specified.")
    return () if list(words) == [""] else tuple(words)


_CLASSES: Final = {"normal": "normal", "replica": "replica", "slave": "replica", "pubsub": "pubsub"}


def buffer_class(word: str) -> str | None:
    """The class of clients that `word` names, or None."""
    return _CLASSES.get(word.lower())


def read_buffer_limits(words: Sequence[str], current: tuple[BufferLimit, ...]) -> tuple[BufferLimit, ...]:
    """`current` with the groups of four in `words` put in place."""
    if not words or len(words) % 4:
        raise BadValue("Wrong number of arguments in buffer limit configuration.")
    limits = {limit[0]: limit for limit in current}
    for at in range(0, len(words), 4):
        name = buffer_class(words[at])
        if name is None:
            raise BadValue("Invalid client class specified in buffer limit configuration.")
        try:
            hard, soft = read_memory(words[at + 1]), read_memory(words[at + 2])
            seconds = _NATURAL.read(words[at + 3])
        except BadValue:
            raise BadValue("Error in hard, soft or soft_seconds setting in buffer limit configuration.") from None
        limits[name] = (name, hard, soft, seconds)
    return tuple(limits.values())


# ---------------------------------------------------------------- accepted without effect

IGNORED_LISTS: Final = frozenset(
    """
    dynamic-hz io-threads-do-reads latency-tracking-info-percentiles list-max-ziplist-entries list-max-ziplist-value
    lua-replicate-commands loadmodule oom-score-adj-values rdma-bind replicaof sanitize-dump-payload save
    shutdown-on-sigint shutdown-on-sigterm slaveof
    """.split()
)
"""Ignored directives that may have any number of values."""

IGNORED: Final = IGNORED_LISTS | frozenset(
    """
    active-defrag-cycle-max active-defrag-cycle-min active-defrag-cycle-us active-defrag-ignore-bytes
    active-defrag-max-scan-fields active-defrag-threshold-lower active-defrag-threshold-upper active-expire-effort
    activedefrag activerehashing aof-disable-auto-gc aof-load-truncated aof-rewrite-cpulist
    aof-rewrite-incremental-fsync aof-timestamp-enabled aof-use-rdb-preamble aof_rewrite_cpulist appenddirname
    appendfilename appendfsync appendonly auto-aof-rewrite-min-size auto-aof-rewrite-percentage
    bgsave-cpulist bgsave_cpulist bio-cpulist bio_cpulist busy-reply-threshold cluster-allow-pubsubshard-when-down
    cluster-allow-reads-when-down cluster-allow-replica-migration cluster-announce-bus-port
    cluster-announce-client-ipv4 cluster-announce-client-ipv6 cluster-announce-client-port
    cluster-announce-client-tls-port cluster-announce-hostname cluster-announce-human-nodename cluster-announce-ip
    cluster-announce-port cluster-announce-tls-port cluster-blacklist-ttl cluster-config-file
    cluster-config-save-behavior cluster-databases cluster-enabled cluster-link-sendbuf-limit
    cluster-manual-failover-timeout cluster-migration-barrier cluster-node-timeout cluster-port
    cluster-preferred-endpoint-type cluster-replica-no-failover cluster-replica-validity-factor
    cluster-require-full-coverage cluster-slave-no-failover cluster-slave-validity-factor
    cluster-slot-migration-log-max-len cluster-slot-stats-enabled commandlog-execution-slower-than
    commandlog-large-reply-max-len commandlog-large-request-max-len commandlog-reply-larger-than
    commandlog-request-larger-than commandlog-slow-execution-max-len crash-log-enabled crash-memcheck-enabled
    databases dbfilename disable-thp dual-channel-replication-enabled enable-debug-command enable-module-command
    enable-protected-configs hash-max-listpack-entries hash-max-listpack-value
    hash-max-ziplist-entries hash-max-ziplist-value hash-seed hide-user-data-from-log hll-sparse-max-bytes hz
    ignore-warnings import-mode io-threads jemalloc-bg-thread latency-monitor-threshold latency-tracking
    lazyfree-lazy-eviction lazyfree-lazy-expire lazyfree-lazy-server-del lazyfree-lazy-user-del
    lazyfree-lazy-user-flush lfu-decay-time lfu-log-factor list-compress-depth list-max-listpack-size
    list-max-ziplist-size locale-collate lua-time-limit masterauth masteruser max-new-connections-per-cycle
    max-new-tls-connections-per-cycle maxmemory maxmemory-clients maxmemory-eviction-tenacity maxmemory-policy
    maxmemory-samples min-replicas-max-lag min-replicas-to-write min-slaves-max-lag min-slaves-to-write mptcp
    no-appendfsync-on-rewrite notify-keyspace-events oom-score-adj prefetch-batch-max-size primaryauth primaryuser
    propagation-error-behavior rdb-del-sync-files rdb-save-incremental-fsync rdb-version-check rdbchecksum
    rdbcompression rdma-completion-vector rdma-port rdma-rx-size repl-backlog-size repl-backlog-ttl
    repl-disable-tcp-nodelay repl-diskless-load repl-diskless-sync repl-diskless-sync-delay
    repl-diskless-sync-max-replicas repl-mptcp repl-ping-replica-period repl-ping-slave-period repl-timeout
    replica-announce-ip replica-announce-port replica-announced replica-ignore-disk-write-errors
    replica-ignore-maxmemory replica-lazy-flush replica-priority replica-read-only replica-serve-stale-data
    server-cpulist server_cpulist set-max-intset-entries set-max-listpack-entries set-max-listpack-value
    shutdown-timeout slave-announce-ip slave-announce-port slave-ignore-maxmemory slave-lazy-flush slave-priority
    slave-read-only slave-serve-stale-data slot-migration-max-failover-repl-bytes slowlog-log-slower-than
    slowlog-max-len socket-mark-id stop-writes-on-bgsave-error stream-node-max-bytes stream-node-max-entries
    tracking-table-max-keys use-exit-on-panic watchdog-period zset-max-listpack-entries zset-max-listpack-value
    zset-max-ziplist-entries zset-max-ziplist-value
    """.split()
)
"""Directives of a whole server, from Redis 7.0 and Valkey 9.1."""
