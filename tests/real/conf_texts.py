"""Strategies for sentinel.conf files, good and bad, that a stock program may be started on.

1. Nobody agrees with a sentinel that is started on one of them: its quorums are 2 and more, so it attempts nothing.
2. What would open a port or a file outside of the test, or start a daemon, is left out.
3. What we refuse on purpose although stock takes it (numbers that are none, epochs beyond 63 bits) is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hypothesis import strategies as st

from trio_sentinel.wire import directives
from trio_sentinel.wire.directives import Integer, Kind, Memory, Octal, OneOf, YesNo

_LEFT_OUT: Final = frozenset(
    "dir logfile pidfile daemonize unixsocket unixsocketgroup aclfile tls-port supervised syslog-enabled".split()
)
VALKEY_ONLY: Final = frozenset(
    "unixsocketgroup log-format log-timestamp-format tls-auth-clients-user tls-auto-reload-interval".split()
)
_KEPT: Final = (
    "bind 127.0.0.1 -::1", "bind",
    "bind *", "sentinel", "include", "include /none/*.conf", "include a b", "rename-command PING p", "", "# note",
    "rename-command PING", "client-output-buffer-limit x 1 1 1", "client-output-buffer-limit pubsub 1 1", "foo.bar",
    "client-output-buffer-limit normal 1x 1 1",
)  # fmt: skip
_KEPT_BY_US: Final = (
    "latency-tracking-info-percentiles 50 99 99.9",
    "user default on nopass ~* &* +@all",
    "client-output-buffer-limit pubsub 64mb 16mb 90", "client-output-buffer-limit slave 1mb 2 3",
    "hz 10", "databases 16", "appendonly no", "save 60 1", 'save ""', "latency-tracking yes", "maxmemory 1gb",
    "min-slaves-to-write 0", "slave-priority 100", "foo.bar 1", "client-output-buffer-limit slave 1mb 2 3 normal 0 0 0",
)  # fmt: skip

_words = st.text(st.sampled_from("ab0 \"'\\#\t\xe9x4n"), max_size=6)
_numbers = st.sampled_from(("", "x", "07", "+1", "-0", "1.0", " 1", "1 ", "0x1", "99999999999999999999"))


def _mostly(good: st.SearchStrategy[str], bad: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(good, good, good, good, good, bad)


def _values(kind: Kind) -> st.SearchStrategy[str]:
    """Words for a directive of this kind, good ones and, now and then, doubtful ones."""
    match kind:
        case YesNo():
            return _mostly(st.sampled_from(("yes", "no", "YES", "No")), st.sampled_from(("true", "1", "")))
        case Integer(low, high):
            near = st.sampled_from((low - 1, low, low + 1, high + 1, -1, -(2**63), 2**63)).map(str)
            return _mostly(st.integers(max(low, 0), min(high, 5_000)).map(str), st.one_of(near, _numbers))
        case Octal():
            good = st.sampled_from(("0", "700", "0770", "777"))
            return _mostly(good, st.one_of(st.sampled_from(("1000", "8", "-1", "x", "")), _numbers))
        case Memory():
            unit = st.sampled_from(("", "b", "k", "kb", "m", "mb", "g", "gb", "KB", "mB"))
            good = st.builds("{}{}".format, st.sampled_from(("1048576", "2000000", "0010485760")), unit)
            bad = st.builds("{}{}".format, st.sampled_from(("", "0", "1", "-1", "1.5")), unit)
            return _mostly(good, st.one_of(bad, st.sampled_from(("1tb", "5%", "1.", "x"))))
        case OneOf(words):
            return _mostly(st.sampled_from((*words, words[0].upper())), st.sampled_from((f"{words[0]}x", "")))
        case _:
            return _words


def _spelt(word: str, *, adjacent: bool) -> st.SearchStrategy[str]:
    """`word` as it may stand in a file; with `adjacent` also half in quotes, which only Valkey reads."""
    double = '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
    coded = '"' + "".join(f"\\x{byte:02x}" for byte in word.encode()) + '"'
    forms = [double, coded]
    if "\\" not in word:
        forms.append("'" + word.replace("'", "\\'") + "'")
    if word and not set(word) & set(" \t\"'") and word[0] != "#":
        forms += [word, word, word]
        if adjacent:
            forms.append(f'{word[:1]}"{word[1:]}"' if "\\" not in word else word)
    return st.sampled_from(forms)


@st.composite
def _line(draw: st.DrawFn, words: Sequence[str], *, adjacent: bool) -> str:
    """One line of these words."""
    spelt = [words[0], *(draw(_spelt(word, adjacent=adjacent)) for word in words[1:])]
    gap = draw(st.sampled_from((" ", " ", " ", "\t", "  ")))
    return draw(st.sampled_from(("", "", " ", "\t"))) + gap.join(spelt) + draw(st.sampled_from(("", "", " ", "\r")))


@st.composite
def _general(draw: st.DrawFn, *, valkey: bool) -> str:
    names = sorted(directives.KINDS.keys() - _LEFT_OUT - (frozenset() if valkey else VALKEY_ONLY))
    name = draw(st.sampled_from(names))
    value = _values(directives.KINDS[name])
    if name == "loglevel" and not valkey:
        value = value.filter(lambda word: word == word.lower().replace("nothing", "") and word not in ("", "debugx"))
    count = draw(st.sampled_from((*(1,) * 20, 0, 2)))
    typed = draw(st.sampled_from((name, name, name.upper())))
    return draw(_line([typed, *(draw(value) for _ in range(count))], adjacent=valkey))


_MASTERS: Final = st.sampled_from((*("m",) * 12, "q", "unknown"))
_TIMES: Final = st.sampled_from(("1", "30000", "5000", "180000", "2147483647", "0", "-1"))
_EPOCHS: Final = st.sampled_from(("0", "1", "7", "9223372036854775807"))
_HOSTS: Final = st.sampled_from(("127.0.0.1", "127.0.0.2", "10.0.0.1", "10.0.0.2", "::1", "0:0::1", "name", ""))
_PORTS: Final = st.sampled_from(("0", "1", "6379", "6380", "6381", "65535", "65536", "-1"))
_IDS: Final = st.sampled_from(("a" * 40, "b" * 40, "c" * 40, "x" * 40, "a" * 39))
_YES: Final = st.sampled_from(("yes", "no", "YES", "maybe"))
_SCRIPTS: Final = st.sampled_from(("/bin/true", "/bin", "/none", ""))
_COMMANDS: Final = st.sampled_from(("CONFIG", "config", "SLAVEOF", "nosuch"))

_ARGUMENTS: Final[dict[str, tuple[st.SearchStrategy[str], ...]]] = {
    "monitor": (_MASTERS, _HOSTS, _PORTS, st.sampled_from(("2", "3", "0", "-1"))),
    "down-after-milliseconds": (_MASTERS, _TIMES),
    "failover-timeout": (_MASTERS, _TIMES),
    "parallel-syncs": (_MASTERS, st.sampled_from(("0", "1", "5", "-1"))),
    "notification-script": (_MASTERS, _SCRIPTS),
    "client-reconfig-script": (_MASTERS, _SCRIPTS),
    "auth-pass": (_MASTERS, _words),
    "auth-user": (_MASTERS, _words),
    "master-reboot-down-after-period": (_MASTERS, _TIMES),
    "rename-command": (_MASTERS, _COMMANDS, _words),
    "config-epoch": (_MASTERS, _EPOCHS),
    "leader-epoch": (_MASTERS, _EPOCHS),
    "known-replica": (_MASTERS, _HOSTS, _PORTS),
    "known-slave": (_MASTERS, _HOSTS, _PORTS),
    "known-sentinel": (_MASTERS, _HOSTS, _PORTS, _IDS),
    "myid": (_IDS,),
    "current-epoch": (_EPOCHS,),
    "announce-ip": (_words,),
    "announce-port": (_PORTS.filter(lambda port: port not in ("65536", "-1")),),
    "deny-scripts-reconfig": (_YES,),
    "sentinel-user": (_words,),
    "sentinel-pass": (_words,),
    "resolve-hostnames": (st.sampled_from(("no", "NO", "maybe")),),
    "announce-hostnames": (_YES,),
    "nosuch": (_words,),
}


@st.composite
def _statement(draw: st.DrawFn, *, valkey: bool) -> str:
    name = draw(st.sampled_from(sorted(_ARGUMENTS)))
    arguments = [draw(strategy) for strategy in _ARGUMENTS[name]]
    if draw(st.integers(0, 24)) == 0:
        arguments = arguments[:-1] if draw(st.booleans()) else [*arguments, "more"]
    first = draw(st.sampled_from(("sentinel", "sentinel", "Sentinel")))
    return draw(_line([first, draw(st.sampled_from((name, name, name.title()))), *arguments], adjacent=valkey))


_garbage = st.text(st.sampled_from("ab \"'\\x41\t#\v\xff"), max_size=12)


def texts(*, valkey: bool, all_kinds: bool = True) -> st.SearchStrategy[bytes]:
    """Whole files; without `valkey` nothing in them is for Valkey alone. Without `all_kinds` they hold none of the
    lines that we keep as they are and stock rewrites."""
    fixed = st.sampled_from(_KEPT + _KEPT_BY_US if all_kinds else _KEPT)
    lines = st.one_of(_general(valkey=valkey), _statement(valkey=valkey), fixed)
    if valkey and all_kinds:
        lines = st.one_of(*[lines] * 9, _garbage)
    head = st.sampled_from(((), ("sentinel monitor m 127.0.0.1 1 2",), ("sentinel monitor m 127.0.0.1 1 2",)))
    listed = st.builds(lambda first, rest: [*first, *rest], head, st.lists(lines, min_size=1, max_size=6))
    return listed.map(lambda found: "\n".join(found).encode("utf-8", "surrogateescape") + b"\n")
