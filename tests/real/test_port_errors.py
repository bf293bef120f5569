"""The same bytes to a stock sentinel and to our session must bring the same bytes back, and the same end.

Valkey 9.1 is followed in everything; where Redis 7.0 is installed it is asked as well, and must agree in all rows but
those that `FROM_REDIS7` names.

The session is driven without sockets. Only what says nothing about the protocol is masked: client numbers, whether
the master happens to be down yet.
"""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.runtime.port_stage import Stage

from .harness_ports import PortClaims
from .harness_processes import LOOPBACK
from .harness_sentinels import Kind

pytestmark = pytest.mark.real

PASSWORD = b"sekret"
MASTER_PORT = 9  # nobody listens there
ROUND_TRIPS = 3  # one to be accepted, one to be read, one to be sure
READ_AT_ONCE = 16384  # bytes that stock takes from a connection in one turn of its loop
PATIENCE_SECONDS = 30


class Stock(NamedTuple):
    """Two sentinels of one kind: their ports, by whether they ask for a password."""

    kind: Kind
    ports: dict[bool, int]


def start_stock(kind: Kind, directory: Path, port: int, *lines: str) -> subprocess.Popen[bytes]:
    """A stock sentinel that answers PING."""
    conf = directory / f"{port}.conf"
    head = (f"port {port}", f"bind {LOOPBACK}", f"dir {directory}", f"sentinel monitor m1 {LOOPBACK} {MASTER_PORT} 2")
    conf.write_text("\n".join([*head, *lines]) + "\n")
    process = subprocess.Popen(kind.command(conf), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(200):
        try:
            socket.create_connection((LOOPBACK, port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return process
    process.kill()
    process.wait()
    raise RuntimeError("the stock sentinel does not listen")


@pytest.fixture(
    scope="module",
    params=[Kind.VALKEY, pytest.param(Kind.REDIS7, marks=pytest.mark.needs_redis7)],
    ids=lambda kind: kind.value,
)
def stock(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stock]:
    """One stock program after the other."""
    claims = PortClaims()
    processes: list[subprocess.Popen[bytes]] = []
    try:
        ports = {False: claims.claim(), True: claims.claim()}
        directory = tmp_path_factory.mktemp("stock")
        processes.append(start_stock(request.param, directory, ports[False]))
        processes.append(start_stock(request.param, directory, ports[True], f"requirepass {PASSWORD.decode()}"))
        yield Stock(request.param, ports)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
        claims.release()


def ask_stock(port: int, data: bytes) -> tuple[bytes, bool]:
    """What a stock sentinel answers, and whether it closed.

    It serves all its connections from one loop and answers in the turn that reads: when a later connection has had some
    answers, the earlier one has got all that it will get.
    """
    out = b""
    with socket.create_connection((LOOPBACK, port)) as link:
        link.sendall(data)
        let_it_turn(port, ROUND_TRIPS + len(data) // READ_AT_ONCE)
        link.setblocking(False)
        try:
            while chunk := link.recv(65536):
                out += chunk
        except BlockingIOError:
            return out, False
        except ConnectionResetError:
            pass
    return out, True


def let_it_turn(port: int, times: int) -> None:
    """Return when the loop of the stock sentinel has gone round so often, or fail with a TimeoutError."""
    with socket.create_connection((LOOPBACK, port), PATIENCE_SECONDS) as witness:
        for _ in range(times):
            witness.sendall(b"PING\r\n")
            if not witness.recv(100):  # +PONG, or -NOAUTH
                raise RuntimeError("the stock sentinel hung up on a PING")


def ask_ours(data: bytes, *, password: bool) -> tuple[bytes, bool]:
    """The same of ours."""
    stage = Stage(password=PASSWORD if password else None)
    stage.mind.monitor("m1", MASTER_PORT)
    client = stage.client(window=0)
    return client.say(data), client.transport.closed


def masked(data: bytes) -> bytes:
    """Without what differs from run to run."""
    data = re.sub(rb"\bid\r\n:\d+", b"id\r\n:N", data)
    data = re.sub(rb"\$\d+\r\n(# Sentinel)", rb"$N\r\n\1", data)
    return re.sub(rb"status=(ok|sdown)", b"status=S", data)


def lines(*commands: str) -> bytes:
    """Inline commands, one a line."""
    return "".join(command + "\r\n" for command in commands).encode()


ROWS: dict[str, bytes] = {
    # 1.2, 1.3: framing
    "count without LF": b"*1\rX$4\r\nPING\r\n",
    "length without LF": b"*1\r\n$4\rXPING\r\n",
    "count is no number, without LF": b"*a\rXPING\r\n",
    "no dollar, without LF": b"*1\r\n:4\rXPING\r\n",
    "minus zero": b"PING\r\n*-0\r\nPING\r\n",
    "no length": b"*1\r\n\r\n",
    "no count": b"*\r\nPING\r\n",
    "leading zero": b"*01\r\n",
    "leading plus": b"*+1\r\n",
    "length with leading zero": b"*1\r\n$04\r\n",
    "length with space": b"*1\r\n$ 4\r\nPING\r\n",
    "negative length": b"*1\r\n$-1\r\n",
    "length above the limit": b"*1\r\n$536870913\r\n",
    "length above 64 bits": b"*1\r\n$9223372036854775808\r\n",
    "count above 31 bits": b"*2147483648\r\n",
    "wrong end of a bulk": b"*1\r\n$4\r\nPINGxx",
    "LF alone after a length": b"*1\r\n$4\nPING\r\n",
    "LF alone, more to come": b"*1\r\n$4\n",
    "empty and negative counts": b"*0\r\n*-5\r\nPING\r\n",
    "blank lines": b"*1\r\n$4\r\nPING\r\n\r\n  \r\nPING\r\n",
    "error in a pipeline": b"ping\r\n*1\r\n$4\r\nPING\r\nping 1\r\n*x\r\nping\r\n",
    "too big inline": b"a" * 65537,
    "too big count": b"*" + b"1" * 65537,
    "too big length": b"*1\r\n$" + b"1" * 65537,
    "binary argument": b"*2\r\n$4\r\nPING\r\n$5\r\na\x00\r\nb\r\n",
    "attack": b"PING\r\nPOST / \r\n",
    "attack by header": b"Host: x\r\n",
    "no attack": b"SENTINEL post\r\n",
    # 1.2: quoting; a breach closes, so one line each
    **{
        f"inline {line!r}": line + b"\r\n"
        for line in (
            b'ping "a"b',
            b'ping a"b c"d',
            b"ping 'a'\"b\"",
            b'ping "a',
            b"ping 'a\\'b\\n'",
            b'ping "\\x41\\n\\q\\xZZ"',
            b'ping ""',
            b'"ping"',
            b'ping "\\',
            b'ping "\\"',
            b'ping "a\\"',
            b'ping "\\" x',
            b'ping "\\"x"',
            b"ping 'a\\",
            b"ping '\\'",
            b"ping\ta",
            b"ping\x0ba",
            b"ping a\rb",
            b"ping a\r",
            b'ping "a\\x4"',
            b"ping a\\ b",
        )
    },
    # 1.6: texts
    "unknown commands": lines("foo", "foo a b", "quit", "reset", "command|foo", "sentinel|set a"),
    "long unknown argument": b"foo " + b"a" * 200 + b" b\r\n",
    "long list of arguments": b"foo " + b"a" * 120 + b" bcdefghijkl m\r\n",
    "long list, not ASCII": b"foo " + "é".encode() * 100 + b" b\r\n",
    "long unknown name": b"f" * 300 + b"\r\n",
    "line end in an unknown argument": b"*2\r\n$3\r\nfoo\r\n$4\r\na\r\nb\r\n",
    "long unknown subcommand": b"sentinel " + b"x" * 200 + b"\r\n",
    "arity": lines(
        "sentinel", "client", "acl", "sentinel set", "sentinel set a b c", "get x", "sentinel info-cache", "role x"
    ),
    "unknown subcommands": lines("client setname", "client foo", "acl foo", "command foo", "Sentinel Foo a b"),
    # 3: connection
    "ping": lines("ping", "ping x", 'ping ""', "ping a b"),
    "auth without password": lines("auth", "auth x", "auth a b", "auth default b", "auth a b c"),
    "hello": lines(
        "hello",
        "hello 3 setname",
        "hello 3 setname a auth x y",
        "client getname",
        "hello x foo",
        "hello 4 foo",
        "hello 2 foo",
        "hello 3 auth a",
        'hello 3 auth x y setname "a b"',
        "hello 3 setname a",
        "client getname",
        "client trackinginfo",
        "hello 2 auth default zzz",
    ),
    "client reply": lines(
        *("client reply off", "ping", "client reply skip", "ping", "client reply on", "ping"),
        *("client reply skip", "client reply skip", "ping", "ping", "client reply foo"),
        *("client reply off", "foo", "client reply foo", "sentinel set a b c", "client reply on"),
        *("client reply skip", "foo", "foo"),
    ),
    "client": lines(
        *("client unblock 3", "client unblock x", "client unblock 1 foo", "client no-evict on", "client no-evict x"),
        *("client getredir", "client trackinginfo", "client caching yes", "client tracking on", "client tracking foo"),
        *("client getredir", "client trackinginfo", "client setinfo foo bar", 'client setinfo lib-name "a b"'),
        *('client setinfo LIB-VER "a b"', "client setinfo lib-ver 1", 'client setname "a b"', 'client setname ""'),
        *("client getname", "client pause x", "client pause -1", "client pause 1 foo", "client pause x foo"),
        *("client pause 0", "ping"),
    ),
    "client kill": lines(
        *("client kill foo", "client kill id 0", "client kill id x", "client kill type foo"),
        *("client kill addr 1.1.1.1:1", "client kill a b", "client kill id 1000000 x", "client kill"),
    ),
    "client list": lines(
        *(f"client list {words}" for words in ("id", "foo", "type foo", "id 0", "id x", "user foo", "maxage 0")),
        *(f"client list {words}" for words in ("maxage x", "idle 0", "idle x", "flags ?", "skipme foo", "addr")),
        *(f"client list {words}" for words in ("not-type normal", "id 1 2 x type normal", "db x", "db 16", "capa q")),
        *(f"client list {words}" for words in ("not-id", "not-foo 1", "not-maxage 1", "not-idle 1", "type primary")),
    ),
    # 4: publish and subscribe
    "subscribe": lines("psubscribe a* a* b", "punsubscribe x a*", "punsubscribe", "subscribe", "unsubscribe"),
    "restricted": lines(
        *("subscribe a", "foo", "ping a b", "sentinel foo", "sentinel masters", "client id", "client reply off"),
        *("hello 3", "auth x", "ping", "ping x", "quit", "info", "unsubscribe b", "unsubscribe", "punsubscribe"),
        *("unsubscribe", "ping", "client reply off", "subscribe b", "ping"),
    ),
    "empty channel": b"*3\r\n$9\r\nsubscribe\r\n$0\r\n\r\n$2\r\n\r\n\r\n",
    "publish": lines("publish __sentinel__:hello x", "publish __SENTINEL__:hello x", "publish a"),
    # 2.3
    "command": lines(
        *("command getkeys", "command getkeys ping", "command getkeys foo", "command getkeysandflags sentinel masters"),
        *("command getkeys sentinel foo", "command getkeys publish a", "command list foo", "command count x"),
        *("command list filterby pattern sub*", "command list filterby pattern", "command list filterby module x"),
        *("command list filterby foo x", "command list filterby aclcat nope", "command count"),
        *("command info ping sentinel|set foo quit get client|setname", "command info role auth publish"),
    ),
    # 5
    "info": lines("info nope", "info nope sentinel foo sentinel", "role"),
    "shutdown": lines(
        *("shutdown foo", "shutdown abort", "shutdown save nosave", "shutdown failover", "shutdown abort now"),
        "shutdown nosave abort",
    ),
    # 6.1
    "acl": lines(
        *("acl whoami", "acl users", "acl list", "acl getuser default", "acl getuser foo", "acl cat", "acl cat foo"),
        *("acl cat string", "acl Cat a b", "acl genpass 0", "acl genpass x", "acl genpass 1 2", "acl log reset"),
        *("acl log x", "acl log RESET x", "acl log -1", "acl save", "acl load", "acl dryrun foo ping"),
        *("acl dryrun default foo", "acl dryrun default ping", "acl dryrun default sentinel foo"),
        *("acl dryrun default sentinel set", "acl dryrun default sentinel"),
    ),
    # 7
    "unknown master": lines(
        *(f"sentinel {sub} nope" for sub in ("ckquorum", "remove", "master", "primary", "slaves", "replicas")),
        *("sentinel sentinels nope", "sentinel get-master-addr-by-name nope", "sentinel failover nope"),
        *("sentinel failover nope foo", "sentinel info-cache nope", "sentinel reset nope"),
    ),
    "reads": lines(
        *(
            "sentinel get-primary-addr-by-name m1",
            "sentinel slaves m1",
            "sentinel sentinels m1",
            "sentinel ckquorum m1",
        ),
        *("sentinel pending-scripts", "sentinel info-cache m1 m1", "sentinel flushconfig"),
    ),
    "opinion": lines(
        *("sentinel is-master-down-by-addr a b c d", "sentinel is-master-down-by-addr a 1 c d"),
        *("sentinel is-primary-down-by-addr a 01 1 d", "sentinel is-master-down-by-addr a 1 1"),
    ),
    "failover": lines(
        *("sentinel failover m1 foo", "sentinel failover m1 coordinated", "sentinel failover m1 coordinated x"),
        "sentinel failover m1",
    ),
    "monitor": lines(
        *(f"sentinel monitor x {words}" for words in ("1.2.3.4 70000 a", "1.2.3.4 z a", "1.2.3.4 z 0")),
        *(f"sentinel monitor x {words}" for words in ("1.2.3.4 -1 0", "foo 70000 1", "1.2.3.4 70000 1", "1.2.3.4 1")),
        *("sentinel monitor m1 1.2.3.4 70000 1", "sentinel monitor m1 1.2.3.4 7 1", "sentinel monitor m1 foo 7 1"),
        *('sentinel monitor "m\\n" 1.1.1.1 1 1', 'sentinel monitor a 1.1.1.1 1 "\\x01"'),
    ),
    "set": lines(
        *("sentinel set m1 quorum 2 foo 1", "sentinel set m1 quorum", "sentinel set m1 quorum 2 rename-command a"),
        *('sentinel set m1 rename-command a ""', 'sentinel set m1 rename-command "" a'),
        *("sentinel set m1 quorum 2 notification-script /bin/true", "sentinel set m1 quorum abc"),
        *("sentinel set m1 quorum -1", "sentinel set m1 quorum 0 down-after-milliseconds 4"),
        *('sentinel set nope quorum "\\x01"', 'sentinel set m1 quorum "\\x01"', 'sentinel set m1 "a\\n" 1'),
        *("sentinel set m1 QUORUM 2", "sentinel set m1 master-reboot-down-after-period -1"),
        *("sentinel set m1 primary-reboot-down-after-period 0", 'sentinel set m1 auth-pass "" auth-user'),
        *("sentinel set m1 quorum 2 rename-command a b quorum", "sentinel set m1 quorum 2 quorum"),
        *("sentinel set m1 down-after-milliseconds 99999999999999999999", "sentinel set m1 parallel-syncs 0"),
        *("sentinel set m1 failover-timeout x", 'sentinel set m1 client-reconfig-script ""'),
        "sentinel set m1 QuoruM 01",
    ),
    "config": lines(
        *(f"sentinel config {words}" for words in ("foo x y", "set x", "foo x", "get", "", "set foo bar baz")),
        *(f"sentinel config set {words}" for words in ("announce-port 70000", "announce-port 1 announce-port 2")),
        *(f"sentinel config set {words}" for words in ("announce-port x foo bar", "foo bar announce-port x")),
        *(f"sentinel config set {words}" for words in ("announce-port 0 announce-ip", "resolve-hostnames maybe")),
        *(f"sentinel config set {words}" for words in ("loglevel foo", "loglevel NOTICE", 'announce-ip "\\x01"')),
        *(f"sentinel config set {words}" for words in ("announce-port x announce-ip", "ANNOUNCE-PORT x")),
        *(
            f"sentinel config set {words}"
            for words in ("Announce-port 0 announce-Port 0", "announce-port 0 Announce-IP")
        ),
        *("sentinel config get announce-port announce-port Announce-*", "sentinel config get foo announce-port bar"),
        *("sentinel config get *", "hello 3", "sentinel config get nope", "sentinel config get *-ip loglevel"),
    ),
    "debug": lines(
        *(f"sentinel debug {words}" for words in ("foo", "foo 1", "ping-period", "ping-period 0", "Ping-Period abc")),
        *(f"sentinel debug {words}" for words in ("ping-period 1000 info-period", "ping-period 1000", "")),
        *(f"sentinel debug {words}" for words in ("ping-period 1000 foo 1 ping-period 9", "ping-period -1")),
    ),
    "simulate-failure": lines(
        *("sentinel simulate-failure foo", "sentinel simulate-failure crash-after-election help foo", "info sentinel"),
        *("sentinel simulate-failure help", "sentinel simulate-failure"),
        *("sentinel simulate-failure crash-after-promotion foo", "info sentinel", "sentinel simulate-failure help"),
    ),
}

GUEST_ROWS: dict[str, bytes] = {
    # 1.4, 1.5, 3.2, 3.3
    "refused": lines(
        *("ping", "foo", "get x", "ping a b", "role x", "sentinel foo", "hello x", "hello 9", "hello", "hello 3"),
        *("hello 3 auth default bad", "auth", "auth bad", "auth a b c", "auth foo sekret", "hello 2 setname a"),
        *("auth a b", "hello 2 foo"),
    ),
    "attack": b"post x\r\n",
    "attack later": b"ping\r\nPOST x\r\n",
    "ten arguments": b"*10\r\n$4\r\nPING\r\n",
    "eleven arguments": b"*11\r\n",
    "length at the limit": b"*1\r\n$16384\r\n",
    "length above the limit": b"*1\r\n$16385\r\n",
    "count above 31 bits": b"*2147483648\r\n",
    "length above 512 MiB": b"*1\r\n$536870913\r\n",
    "many words inline": b"a " * 20 + b"\r\n",
    "authenticated in the same packet": (
        b"auth sekret\r\nping\r\nauth bad\r\nping\r\nacl whoami\r\nacl list\r\nacl getuser default\r\n"
        b"*11\r\n" + b"$4\r\nPING\r\n" * 11
    ),
    "hello with auth": lines("hello 3 auth default sekret setname foo", "client getname"),
    "some refusals": b"hello\r\n" * 59,
    "too many refusals": b"hello\r\n" * 100,
    "far too many refusals": b"ping\r\n" * 2000,
    "subscriber": lines("auth default sekret", "subscribe x", "auth default bad"),
    "others": lines("acl whoami", "command", "client id", "quit"),
}


_ANY_END = "7.0 takes any byte behind a CR, and any two behind a bulk"
_JOINED = "quoted and bare parts without space between them join in 9"
_BACKSLASH = "a backslash with one character behind it is an ordinary character in 9"
_TOLD = "commands and texts of 9; the stories of tests/parity compare each line with 7.0 and name what differs"
_REFUSED = "9 asks for the password before it looks at the command, and names the protocol version in HELLO"
FROM_REDIS7: dict[str, str] = {
    **dict.fromkeys(
        ("count without LF", "length without LF", "count is no number, without LF", "wrong end of a bulk"), _ANY_END
    ),
    **{f"inline {line!r}": _JOINED for line in (b'ping "a"b', b'ping a"b c"d', b"ping 'a'\"b\"")},
    **{f"inline {line!r}": _BACKSLASH for line in (b'ping "\\"', b'ping "a\\"', b"ping '\\'")},
    **dict.fromkeys("hello|client|client kill|client list|command|info|shutdown|acl|unknown master".split("|"), _TOLD),
    **dict.fromkeys("reads opinion failover monitor set config simulate-failure".split(), _TOLD),
}
GUEST_FROM_REDIS7: dict[str, str] = {
    **dict.fromkeys(("refused", "many words inline", "some refusals", "others"), _REFUSED),
    **dict.fromkeys(("authenticated in the same packet", "hello with auth"), _TOLD),
}
"""Rows that Redis 7.0 answers otherwise. All others are compared with it to the byte as well."""


def compare(stock: Stock, name: str, *, password: bool) -> None:
    """Ask both, and see that they agree, or that they do not where that is known."""
    row, known = (GUEST_ROWS, GUEST_FROM_REDIS7) if password else (ROWS, FROM_REDIS7)
    theirs, closed = ask_stock(stock.ports[password], row[name])
    ours, ours_closed = ask_ours(row[name], password=password)
    if stock.kind is Kind.REDIS7 and name in known:
        assert (masked(ours), ours_closed) != (masked(theirs), closed), f"no difference any more: {known[name]}"
    else:
        assert (masked(ours), ours_closed) == (masked(theirs), closed)


@pytest.mark.parametrize("name", ROWS)
def test_an_open_port_answers_alike(stock: Stock, name: str) -> None:
    compare(stock, name, password=False)


@pytest.mark.parametrize("name", GUEST_ROWS)
def test_a_port_with_a_password_answers_alike(stock: Stock, name: str) -> None:
    compare(stock, name, password=True)
