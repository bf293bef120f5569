"""The subcommands of SENTINEL, asked of a running stock sentinel and of a running one of ours: the same replies, the
same events, the same runs of scripts, and files that mean the same."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest
import redis

from trio_sentinel.adapters import disk
from trio_sentinel.model.snapshot import Snapshot

from .harness import Kind, Lab, Sentinel, Watch, check
from .test_conf_agreement import unordered

pytestmark = [pytest.mark.real, pytest.mark.ours_only]

PORT: Final = 9  # nobody listens there
A, B, C, D = ("a" * 40, "b" * 40, "c" * 40, "d" * 40)
HELLO: Final = "__sentinel__:hello"

SET: Final = ("SENTINEL", "SET", "m1")
COMMANDS: Final[tuple[tuple[str, ...], ...]] = (
    # SET: pairs, their errors, what earlier pairs leave behind
    (*SET, "quorum", "3"),
    (*SET, "QUORUM", "2", "Down-After-Milliseconds", "60000"),
    (*SET, "auth-pass", "secret"),
    (*SET, "auth-pass", ""),
    (*SET, "auth-user", "u ser"),
    (*SET, "rename-command", "CONFIG", "foo"),
    (*SET, "rename-command", "config", "bar"),
    (*SET, "rename-command", "a", "a"),
    (*SET, "rename-command", "x", ""),
    (*SET, "parallel-syncs", "0"),
    (*SET, "quorum", "4", "parallel-syncs", "x"),
    (*SET, "failover-timeout", "100000", "nonsense", "1"),
    (*SET, "quorum"),
    (*SET, "quorum", "2", "failover-timeout"),
    (*SET, "master-reboot-down-after-period", "5"),
    (*SET, "primary-reboot-down-after-period", "0"),
    (*SET, "notification-script", "/none"),
    (*SET, "notification-script", "@SCRIPT@"),
    (*SET, "quorum", "5"),
    (*SET, "notification-script", ""),
    (*SET, "client-reconfig-script", "@SCRIPT@"),
    (*SET, "auth-pass", "a\nb"),
    ("SENTINEL", "MASTER", "m1"),
    ("SENTINEL", "CKQUORUM", "m1"),
    # MONITOR and REMOVE
    ("SENTINEL", "MONITOR", "m2", "127.0.0.1", "10", "1"),
    ("SENTINEL", "MONITOR", "m2", "127.0.0.1", "10", "1"),
    ("SENTINEL", "MONITOR", "m3", "127.0.0.1", "70000", "1"),
    ("SENTINEL", "MONITOR", "m3", "x", "7", "1"),
    ("SENTINEL", "MONITOR", "m3", "x", "x", "0"),
    ("SENTINEL", "MONITOR", "m3", "127.0.0.1", "1", "x"),
    ("SENTINEL", "MONITOR", "m\x01", "127.0.0.1", "1", "1"),
    ("SENTINEL", "MONITOR", "m6", "::1", "11", "2"),
    ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "m6"),
    ("SENTINEL", "MASTER", "m2"),
    ("SENTINEL", "REMOVE", "m2"),
    ("SENTINEL", "REMOVE", "m2"),
    ("SENTINEL", "RESET", "m1*"),
    ("SENTINEL", "RESET", "M1"),
    ("SENTINEL", "FAILOVER", "m1"),
    ("SENTINEL", "FAILOVER", "m1", "COORDINATED"),
    # CONFIG and DEBUG
    ("SENTINEL", "CONFIG", "GET", "*"),
    ("SENTINEL", "CONFIG", "SET", "announce-port", "70000"),
    ("SENTINEL", "CONFIG", "SET", "announce-port", "7"),
    ("SENTINEL", "CONFIG", "GET", "announce-*"),
    ("SENTINEL", "CONFIG", "SET", "announce-port", "0", "announce-ip", "1.2.3.4"),
    ("SENTINEL", "CONFIG", "SET", "resolve-hostnames", "maybe"),
    ("SENTINEL", "CONFIG", "SET", "foo", "1"),
    ("SENTINEL", "CONFIG", "SET", "announce-port", "1", "announce-port", "2"),
    ("SENTINEL", "CONFIG", "SET", "loglevel", "debug"),
    ("SENTINEL", "CONFIG", "SET", "sentinel-user", "y"),
    ("SENTINEL", "CONFIG", "GET", "sentinel-u*"),
    ("SENTINEL", "CONFIG", "SET", "sentinel-user", ""),
    ("SENTINEL", "DEBUG"),
    ("SENTINEL", "DEBUG", "info-period", "0"),
    ("SENTINEL", "DEBUG", "info-period", "9000", "foo", "1"),
    ("SENTINEL", "DEBUG", "info-period"),
    ("SENTINEL", "DEBUG"),
    ("SENTINEL", "SIMULATE-FAILURE", "x"),
    ("SENTINEL", "SIMULATE-FAILURE", "crash-after-election", "help"),
    ("SENTINEL", "SIMULATE-FAILURE", "help"),
    # votes
    ("SENTINEL", "IS-MASTER-DOWN-BY-ADDR", "127.0.0.1", "9", "0", "*"),
    ("SENTINEL", "IS-MASTER-DOWN-BY-ADDR", "127.0.0.1", "9", "5", A),
    ("SENTINEL", "IS-MASTER-DOWN-BY-ADDR", "127.0.0.1", "9", "4", B),
    ("SENTINEL", "IS-MASTER-DOWN-BY-ADDR", "127.0.0.1", "9", "x", "*"),
    ("SENTINEL", "IS-MASTER-DOWN-BY-ADDR", "127.0.0.1", "99999", "6", "*"),
    ("SENTINEL", "IS-MASTER-DOWN-BY-ADDR", "1.1.1.1", "9", "6", A),
    ("SENTINEL", "PENDING-SCRIPTS"),
    ("SENTINEL", "INFO-CACHE", "m1"),
    ("SENTINEL", "FLUSHCONFIG"),
    # hellos: found, moved, replaced, and a newer configuration
    ("PUBLISH", HELLO, f"127.0.0.1,5,{C},7,m1,127.0.0.1,9,0"),
    ("SENTINEL", "SENTINELS", "m1"),
    ("SENTINEL", "CKQUORUM", "m1"),
    ("PUBLISH", HELLO, f"127.0.0.1,6,{C},7,m1,127.0.0.1,9,0"),
    ("PUBLISH", HELLO, f"127.0.0.1,6,{D},7,m1,127.0.0.1,9,0"),
    ("PUBLISH", HELLO, f"127.0.0.1,6,{D},9,m1,127.0.0.1,12,9"),
    ("SENTINEL", "MASTER", "m1"),
    ("SENTINEL", "REPLICAS", "m1"),
    ("SENTINEL", "CKQUORUM", "m1"),
)
_VARYING: Final = frozenset(
    "last-ping-sent last-ok-ping-reply last-ping-reply role-reported-time info-refresh runid s-down-time "
    "link-pending-commands last-hello-message".split()
)


def ask(sentinel: Sentinel, words: tuple[str, ...]) -> Any:
    """The reply without what depends on the moment."""
    try:
        reply = sentinel.client.execute_command(*words)
    except redis.ResponseError as error:
        return f"error: {error}"
    return _still(reply)


def _still(reply: Any) -> Any:
    if not isinstance(reply, list):
        return reply
    if len(reply) > 20 and reply[0] == "name":
        pairs = zip(reply[::2], reply[1::2], strict=True)
        return [(key, re.sub(r",?disconnected", "", value)) for key, value in pairs if key not in _VARYING]
    return list(map(_still, reply))


def interview(lab: Lab, kind: Kind) -> tuple[list[str], list[str], list[str], Snapshot]:
    """Everything that a sentinel of this kind has to say to COMMANDS: replies, events, runs of scripts, its state."""
    watch = Watch(PORT, name="m1", down_after_ms=30_000, failover_timeout_ms=180_000)
    sentinel = lab.sentinel(kind, watch, lines=("sentinel deny-scripts-reconfig no",))
    sentinel.ask("SENTINEL", "DEBUG", "info-period", "10000")
    runs, script = sentinel.directory / "runs", sentinel.directory / "script.sh"
    script.write_text(f'#!/bin/sh\necho "$#" "$@" >> {runs}\n')
    script.chmod(0o700)
    replies = [ask(sentinel, tuple(word.replace("@SCRIPT@", str(script)) for word in words)) for words in COMMANDS]

    def all_ran() -> bool:
        check(runs.exists() and len(runs.read_text().splitlines()) == 3, runs)
        check(sentinel.events.channels()[-1:] == ["+slave"], sentinel.events.channels())
        return True

    lab.wait_until(all_ran, "the scripts have run and the last events were heard")
    events = [str(event) for event in sentinel.events.all()]
    state = disk.load_file(str(sentinel.conf_path), open_log=False).snapshot

    def told(lines: list[Any]) -> list[str]:
        return [str(line).replace(str(sentinel.directory), "@") for line in lines]

    return told(replies), told(events), told(sorted(runs.read_text().splitlines())), state


def test_subcommands_say_and_do_what_stock_says_and_does(lab: Lab) -> None:
    theirs, ours = interview(lab, Kind.VALKEY), interview(lab, Kind.OURS)
    for words, their_reply, our_reply in zip(COMMANDS, theirs[0], ours[0], strict=True):
        assert (words, our_reply) == (words, their_reply)
    assert ours[1] == theirs[1]
    assert ours[2] == theirs[2]
    assert _comparable(ours[3]) == _comparable(theirs[3])


def _comparable(state: Snapshot) -> str:
    text = str(unordered(state))
    return re.sub(r"my_id='\w+'|/[\w/.-]*/script.sh", "", text)
