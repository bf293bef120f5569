"""Sequences nobody wrote by hand: lines of all stories, mixed and damaged, are told to ours and to a stock sentinel.

What is left out could not be compared: numbers of clients, which differ between two processes, and whatever would stop,
block or poison the stock sentinel that the whole run shares. `TRIO_SENTINEL_PARITY_EXAMPLES=1000` draws more of them,
and others each time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.real.harness_sentinels import Kind
from trio_sentinel.wire.resp import split_words

from .differences import FROM_REDIS7, FROM_VALKEY9, unexplained
from .servers import Rival
from .stories import tell
from .tables import STORIES
from .wires import Items, Value, Wire, encoded

Words = tuple[bytes, ...]

EXAMPLES = int(os.environ.get("TRIO_SENTINEL_PARITY_EXAMPLES", "0"))
"""How many sequences are drawn, other ones each time; 0 = a few, and always the same."""
SETTINGS = settings(
    max_examples=EXAMPLES or 60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=not EXAMPLES
)
ACCEPTED = {Kind.VALKEY: FROM_VALKEY9, Kind.REDIS7: FROM_REDIS7}

_LEFT_OUT = re.compile(
    rb"shutdown|client\0(pause|reply)|debug\0|down-after|resolve-hostnames|simulate|failover-timeout|getkeys.*\0\0"
    rb"|remove\0m1|setuser\0default|(unblock|redirect|kill|list|id).*\0-?[0-9]{1,6}(\0|$)|is-\w+-down.*\0-"
    rb"|ping\|[^\0]*[\"' \t\0]|info-cache|acl\0log|quorum\0[0-9]{6}|loglevel",
    re.IGNORECASE | re.DOTALL,
)
_OF_DATABASES = re.compile(rb"db=|dbs\b", re.IGNORECASE)  # rules that are new in 9
_DAMAGE = [
    b"",
    b"x",
    b"0",
    b"1",
    b"-1",
    b"m1",
    b"*",
    b"on",
    b"YES",
    b"a b",
    b"\xff",
    b"nope",
    b"+ping",
    b"(+ping",
    b"&x",
]
_DAMAGE += [
    b"type",
    b"not-name",
    b"2",
    b"99999999999999999999",
    b"01",
    b"foo\r\nbar",
    b"%s%n",
    b"+@all",
    b">p",
    b"name",
]


def _fits(words: Words) -> bool:
    return bool(words) and bool(words[0]) and not _LEFT_OUT.search(b"\0".join(words))


def _fits_redis7(words: Words) -> bool:
    """Redis 7.0 takes control characters in names, and then cannot read its own file."""
    plain = all(byte >= 32 for word in words for byte in word)
    return _fits(words) and plain and not _OF_DATABASES.search(b"\0".join(words))


def _lines() -> list[Words]:
    found: dict[Words, None] = {}
    for story in STORIES.values():
        for line in story:
            words = split_words(line.partition(" ")[2].encode("latin-1"))
            if words is not None and words != (b"<",) and _fits(words):
                found[words] = None
    return list(found)


@st.composite
def _damaged(draw: st.DrawFn) -> Words:
    """A line of a story with a word more, less, or another one."""
    words = list(draw(st.sampled_from(_lines())))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(words)))
        match draw(st.sampled_from(("more", "less", "other", "case"))):
            case "more":
                words.insert(at, draw(st.sampled_from(_DAMAGE)))
            case "less" if at < len(words) > 1:
                del words[at]
            case "other" if 0 < at < len(words):
                words[at] = draw(st.sampled_from(_DAMAGE))
            case "case" if at < len(words):
                words[at] = words[at].swapcase()
            case _:
                pass
    return tuple(words)


SEQUENCES = st.lists(_damaged().filter(_fits), min_size=1, max_size=10)


def _clean(port: int) -> None:
    """Back to one master, one user and the settings of the start."""
    wire = Wire(port)

    def do(*words: bytes) -> Items | Value:
        return wire.ask(encoded(words), at_least=1, patience=5.0)[0]

    try:
        users = do(b"acl", b"users")
        assert isinstance(users, Items)
        for user in users.items:
            assert isinstance(user, Value)
            if user.text != "default":
                do(b"acl", b"deluser", user.text.encode("latin-1"))
        do(b"hello", b"3")
        masters = do(b"sentinel", b"masters")
        assert isinstance(masters, Items)
        for master in masters.items:
            assert isinstance(master, Items)
            name = master.items[1]
            assert isinstance(name, Value)
            if name.text != "m1":
                do(b"sentinel", b"remove", name.text.encode("latin-1"))
        do(*b"sentinel set m1 quorum 2 parallel-syncs 1 master-reboot-down-after-period 0".split())
        do(b"sentinel", b"set", b"m1", b"auth-user", b"", b"auth-pass", b"")
        do(*b"sentinel config set announce-port 0 announce-hostnames no".split())
        do(b"sentinel", b"config", b"set", b"announce-ip", b"", b"sentinel-user", b"", b"sentinel-pass", b"")
    finally:
        wire.end()


def _check(rivals: dict[Kind, Rival], stock: Kind, lines: Sequence[Words]) -> None:
    """Tell lines to both, compare, and tidy up."""
    ports = (rivals[stock].port, rivals[Kind.OURS].port)
    try:
        theirs, ours = (tell(port, lines) for port in ports)
        found = unexplained(theirs, ours, ACCEPTED[stock], set())
        assert found is None, found
    finally:
        for port in ports:
            _clean(port)


@pytest.fixture(scope="session")
def redis7(rivals: dict[Kind, Rival]) -> dict[Kind, Rival]:
    """The same, where Redis 7.0 is one of them."""
    if Kind.REDIS7 not in rivals:
        pytest.skip("left out: what was generated with Redis 7.0, because it is not installed")
    return rivals


@given(sequence=SEQUENCES)
@example(sequence=[(b"hello", b"3"), (b"sentinel", b"masters"), (b"foo\r\nbar", b"\xff")])
@SETTINGS
def test_damaged_lines_are_answered_alike(rivals: dict[Kind, Rival], sequence: list[Words]) -> None:
    _check(rivals, Kind.VALKEY, sequence)


@given(sequence=st.lists(_damaged().filter(_fits_redis7), min_size=1, max_size=10))
@settings(SETTINGS, max_examples=EXAMPLES or 15)
def test_redis7_answers_damaged_lines_alike(redis7: dict[Kind, Rival], sequence: list[Words]) -> None:
    _check(redis7, Kind.REDIS7, sequence)


NAMES = "ping info role command client|id client|list sentinel sentinel|masters sentinel|set acl|whoami subscribe hello"
RULES = st.one_of(
    st.sampled_from([sign + name for sign in "+-" for name in (NAMES + " client acl publish psubscribe").split()]),
    st.sampled_from(
        [f"{sign}@{name}" for sign in "+-" for name in "all slow fast admin pubsub connection read".split()]
    ),
    st.sampled_from(
        "allchannels resetchannels &* allkeys resetkeys ~* alldbs resetdbs +ping|x +PING|y nocommands".split()
    ),
    st.from_regex(r"[&~][a-c*]{1,3}", fullmatch=True),
    st.from_regex(r"%(R|W|RW|wr)~[a-c*]{1,2}", fullmatch=True),
    st.from_regex(r"db=[0-9]{1,2}(,[0-9]{1,2}){0,2}", fullmatch=True),
    st.from_regex(r"[-+&~%(@|)a-z]{1,5}", fullmatch=True),
)
WORDS = st.one_of(
    RULES,
    st.lists(RULES, max_size=3).map(lambda rules: f"({' '.join(rules)})"),
    st.sampled_from("on off nopass resetpass >one >two <one clearselectors reset sanitize-payload #x".split()),
)
REQUESTS = (
    "ping",
    "ping x",
    "ping z",
    "info",
    "sentinel masters",
    "sentinel set m quorum 1",
    "client id",
    "acl whoami",
)
CHANNELS = ("subscribe a", "subscribe ab c", "psubscribe a*", "psubscribe b", "publish abc x", "unsubscribe a")


def _acl_lines(steps: list[list[str]]) -> list[Words]:
    lines: list[Words] = []
    for step in steps:
        lines.append((b"acl", b"setuser", b"t", *(word.encode() for word in step)))
        lines += [(b"acl", b"getuser", b"t"), (b"acl", b"list")]
    for request in (*REQUESTS, *CHANNELS):
        lines.append((b"acl", b"dryrun", b"t", *request.encode().split()))
    return lines


@given(steps=st.lists(st.lists(WORDS, min_size=1, max_size=4), min_size=1, max_size=3))
@SETTINGS
def test_rules_of_users_mean_the_same(rivals: dict[Kind, Rival], steps: list[list[str]]) -> None:
    """SETUSER, GETUSER, LIST and DRYRUN of rules that were drawn."""
    _check(rivals, Kind.VALKEY, _acl_lines(steps))


@given(steps=st.lists(st.lists(WORDS.filter(lambda word: "db" not in word), min_size=1, max_size=4), max_size=3))
@settings(SETTINGS, max_examples=EXAMPLES or 15)
def test_rules_of_users_mean_the_same_to_redis7(redis7: dict[Kind, Rival], steps: list[list[str]]) -> None:
    """All but those about databases, which are new in 9."""
    _check(redis7, Kind.REDIS7, _acl_lines(steps))
