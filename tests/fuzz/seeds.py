"""Where the fuzzer begins: for each target, inputs that reach deep, and words worth inserting anywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import frozen

from .targets import (
    ID,
    canonical,
    config,
    globs,
    hellos,
    info,
    lexer,
    resp_requests,
    server_replies,
    session,
    user_rules,
)


@frozen
class Target:
    """One function under fuzz; `seeds` are inputs that reach deep, `tokens` are worth inserting anywhere."""

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    tokens: tuple[bytes, ...]
    share: int
    """Its part of all inputs, beside the others'."""


_RESP_TOKENS: Final = (
    b"\r\n", b"\n", b"\r", b"*1\r\n", b"*2\r\n", b"*-1\r\n", b"*0\r\n", b"$-1\r\n", b"$0\r\n\r\n", b"$4\r\nPING\r\n",
    b"$16384\r\n", b"$16385\r\n", b"*10\r\n", b"*11\r\n", b"*2147483647\r\n", b"*2147483648\r\n", b"$4096\r\n",
    b"$4097\r\n", b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"-1", b"-0", b"+1", b"01",
    b'"', b"'", b"\\x0", b"\\xff", b"\\", b"\0", b"\v", b" ", b"\xff",
)  # fmt: skip
_COMMANDS: Final = (
    "PING", "PING x", "AUTH secret", "AUTH default secret", "HELLO 3", "HELLO 2 AUTH default secret SETNAME me", "QUIT",
    "RESET", "SUBSCRIBE a b", "PSUBSCRIBE *", "UNSUBSCRIBE", "PUNSUBSCRIBE", "INFO", "INFO sentinel", "ROLE",
    "COMMAND COUNT", "COMMAND INFO ping", "COMMAND GETKEYS ping", "COMMAND LIST FILTERBY ACLCAT admin",
    "ACL WHOAMI", "ACL GETUSER default", "ACL DRYRUN default PING", "ACL GENPASS 8",
    "ACL SETUSER u on >p +ping (+info)",
    "ACL DELUSER u", "AUTH u p", "ACL LIST", "ACL LOG 1", "ACL CAT @all", "ACL LOG RESET",
    "CLIENT LIST", "CLIENT LIST TYPE normal", "CLIENT KILL SKIPME yes ID 9", "CLIENT REPLY SKIP", "CLIENT REPLY OFF",
    "CLIENT REPLY ON", "CLIENT SETNAME me", "CLIENT SETINFO LIB-NAME x", "CLIENT PAUSE 0", "CLIENT UNPAUSE",
    "CLIENT NO-EVICT on", "CLIENT TRACKING ON", "CLIENT TRACKINGINFO", "CLIENT ID", "CLIENT INFO", "CLIENT UNBLOCK 1",
    "SENTINEL MASTERS", "SENTINEL MASTER mymaster", "SENTINEL REPLICAS mymaster", "SENTINEL SENTINELS mymaster",
    "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster", "SENTINEL CKQUORUM mymaster", "SENTINEL RESET *",
    "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 6379 1 *", "SENTINEL MONITOR m 127.0.0.1 1 1", "SENTINEL REMOVE m",
    "SENTINEL SET mymaster quorum 1 auth-pass x rename-command A B", "SENTINEL CONFIG GET *", "SENTINEL DEBUG",
    "SENTINEL CONFIG SET announce-ip 127.0.0.1 loglevel debug", "SENTINEL DEBUG info-period 1", "SENTINEL FLUSHCONFIG",
    "SENTINEL FAILOVER mymaster COORDINATED", "SENTINEL PENDING-SCRIPTS", "SENTINEL INFO-CACHE mymaster x",
    "SENTINEL SIMULATE-FAILURE help", "SENTINEL MYID", "SENTINEL HELP", "SHUTDOWN ABORT",
    "PUBLISH __sentinel__:hello 127.0.0.1,1," + "a" * 40 + ",1,mymaster,127.0.0.1,6379,0", "POST /", "Host: x",
)  # fmt: skip
_HELLO: Final = b"127.0.0.1,26379," + b"b" * 40 + b",5,mymaster,10.0.0.1,6379,3"
_INFO: Final = (
    b"# Server\r\nredis_version:7.0.15\r\nrun_id:" + b"c" * 40 + b"\r\n\r\n# Replication\r\nrole:%b\r\n"
    b"master_host:10.0.0.9\r\nmaster_port:6379\r\nmaster_link_status:up\r\nmaster_link_down_since_seconds:3\r\n"
    b"slave_priority:100\r\nslave_repl_offset:1234\r\nreplica_announced:1\r\nconnected_slaves:1\r\n"
    b"slave0:ip=10.0.0.2,port=6380,state=online,offset=1,lag=0\r\nslave1:10.0.0.3,6381,online\r\n"
    b"master_failover_state:no-failover\r\n\r\n# CPU\r\nused_cpu_sys:1.0\r\n"
)
_CONF_LINES: Final = (
    "port 26379", "bind 127.0.0.1 -::1", "dir /tmp", "logfile ''", "daemonize no", "protected-mode yes",
    "requirepass foobar", "maxclients 100", "timeout 10", "tcp-backlog 511", "unixsocket /tmp/s", "unixsocketperm 700",
    "client-output-buffer-limit pubsub 32mb 8mb 60", "client-query-buffer-limit 1gb", "proto-max-bulk-len 512mb",
    "rename-command SHUTDOWN ''", "user default on >pass ~* &* +@all", "aclfile /etc/acl", "include /etc/more.conf",
    "tls-port 26380", "tls-cert-file /c", "tls-protocols 'TLSv1.2 TLSv1.3'", "loglevel notice", "syslog-enabled no",
    "sentinel monitor mymaster 127.0.0.1 6379 2", "sentinel down-after-milliseconds mymaster 5000",
    "sentinel failover-timeout mymaster 60000", "sentinel parallel-syncs mymaster 1",
    "sentinel auth-pass mymaster secret", "sentinel auth-user mymaster bob", "sentinel myid " + ID,
    "sentinel config-epoch mymaster 3", "sentinel leader-epoch mymaster 3", "sentinel current-epoch 3",
    "sentinel known-replica mymaster 127.0.0.1 6380", "sentinel known-sentinel mymaster 127.0.0.1 26380 " + "d" * 40,
    "sentinel notification-script mymaster /bin/true", "sentinel client-reconfig-script mymaster /bin/true",
    "sentinel rename-command mymaster CONFIG C", "sentinel announce-ip 10.0.0.1", "sentinel announce-port 5000",
    "sentinel resolve-hostnames yes", "sentinel announce-hostnames yes", "sentinel deny-scripts-reconfig no",
    "sentinel sentinel-user u", "sentinel sentinel-pass p", "sentinel master-reboot-down-after-period mymaster 10",
)  # fmt: skip
_PATTERNS: Final = (b"+s*\n+sdown", b"[a-c]*[^d]?\nabcx", b"a\\*b\na*b", b"*a*b*c\nxaybzc", b"[\n[", b"[]a\na")

_CLIENT_SEEDS: Final = (
    *(canonical(tuple(words.encode().split())) for words in _COMMANDS),
    *(words.encode() + b"\r\n" for words in _COMMANDS),
    b"*2\r\n$4\r\nPING\r\n$5\r\nhello\r\n" * 4,
    b'PING "a\\x41\\n" \'b\'\r\n',
    b"*1\r\n$4\r\nPING\r\nPING\r\n*1\r\n",
)
_CONF: Final = "\n".join(_CONF_LINES).encode() + b"\n"

TARGETS: Final[dict[str, Target]] = {
    "requests": Target(resp_requests, _CLIENT_SEEDS, _RESP_TOKENS, 24),
    "replies": Target(
        server_replies,
        (b"+PONG\r\n", b"-ERR no\r\n", b":1\r\n", b"$5\r\nhello\r\n", b"$-1\r\n", b"*-1\r\n", b"*0\r\n",
         b"*3\r\n:1\r\n$40\r\n" + b"a" * 40 + b"\r\n:7\r\n", b"*3\r\n:0\r\n+*\r\n:0\r\n+PONG\r\n:1\r\n",
         b"*3\r\n$7\r\nmessage\r\n$18\r\n__sentinel__:hello\r\n$5\r\nhello\r\n*1\r\n*1\r\n*1\r\n:1\r\n"),
        (*_RESP_TOKENS, b"+", b"-", b":", b"$", b"*", b"_\r\n", b",", b"%1\r\n"),
        16,
    ),
    "hellos": Target(hellos, (_HELLO, _HELLO.replace(b"127.0.0.1", b"::1")), (b",", b"", *_RESP_TOKENS), 16),
    "info": Target(
        info,
        (_INFO % b"master", _INFO % b"slave", _INFO[_INFO.find(b"role") :] % b"slave", b"run_id:" + b"e" * 40),
        (b"\r\n", b"# Replication\r\n", b"role:slave\r\n", b"role:master\r\n", b"slave2:", b"run_id:", b"ip=", b",",
         b"port=65536", b"-1", b"99999999999999999999", b"\r\n#"),
        16,
    ),
    "lexer": Target(lexer, tuple(line.encode() for line in _CONF_LINES), _RESP_TOKENS, 12),
    "globs": Target(globs, _PATTERNS, (b"*", b"?", b"[", b"]", b"^", b"-", b"\\", b"a-z", b"\n"), 12),
    "user_rules": Target(
        user_rules,
        (
            b"on nopass ~* &* +@all",
            b"on >a #" + b"0" * 64 + b" allkeys allchannels allcommands -sentinel|set",
            b"off resetchannels &+s* +sentinel|masters +ping|x (+info &c) (~k %R~r -@all +@read) db=1,2",
        ),
        (b"+@all", b"-@all", b"nopass", b"resetpass", b">", b"<", b"#", b"!", b"(", b")", b" ", b"on", b"off", b"+",
         b"-", b"|", b"~", b"%RW~", b"&", b"reset", b"clearselectors", b"alldbs", b"db=", b"+@pubsub", b"-subscribe",
         b"\"", b"'", b"\\", b"\0", b"\t"),
        24,
    ),
    "config": Target(
        config,
        (_CONF, *(line.encode() + b"\n" for line in _CONF_LINES)),
        (b"\n", b"#", b"include x\n", *_RESP_TOKENS),
        4,
    ),
    "session": Target(session, _CLIENT_SEEDS, _RESP_TOKENS, 8),
}
