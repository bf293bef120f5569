"""What is fuzzed: functions of one blob of bytes that return when all is well and raise when an oracle is broken.

Three kinds of oracle: nothing but the refusals that are promised; input cut anywhere gives the same result as input
in one piece; and a second opinion (hiredis, the writer of what is read, a slow and plain reading of the same rule).
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import hiredis
from attrs import evolve

from tests.runtime.port_stage import Stage
from trio_sentinel.errors import ConfigError, ProtocolError, StartupError
from trio_sentinel.model.effects import SayHello
from trio_sentinel.model.values import MAX_EPOCH, Address, Hello, RunId, ServerLink
from trio_sentinel.runtime.session import PAUSE_READING_ABOVE, SHARE_S, Session
from trio_sentinel.wire import acl_file, conf_lexer, glob, orders, readings, replies, requests, resp
from trio_sentinel.wire.acl_selector import Selector
from trio_sentinel.wire.acl_user import BadWord, Unmatched, User, merged
from trio_sentinel.wire.commands import COMMANDS, find
from trio_sentinel.wire.conf import Configuration, load_configuration, rewrite_configuration
from trio_sentinel.wire.resp import Argv, RequestReader

MAX_BULK: Final = 4096
ID: Final = RunId("52a7d9f65ef3043d20cf41c9558686559410415b")


def cuts(data: bytes) -> tuple[int, int]:
    """Two places to cut `data` at, drawn from its own bytes so that a finding repeats."""
    drawn = sum(data) * 2654435761 + len(data)
    size = len(data) + 1
    return tuple(sorted((drawn % size, drawn // 7 % size)))  # type: ignore[return-value]


def pieces(data: bytes) -> Iterator[bytes]:
    """`data` in three pieces; short data byte by byte."""
    if len(data) <= 48:
        yield from (data[at : at + 1] for at in range(len(data)))
        return
    first, second = cuts(data)
    yield from (piece for piece in (data[:first], data[first:second], data[second:]) if piece)


# ---------------------------------------------------------------- requests of clients


def _read(chunks: Iterator[bytes], *, guest: bool) -> tuple[list[Argv], str | None]:
    reader = RequestReader(MAX_BULK)
    found: list[Argv] = []
    fed = 0
    try:
        for chunk in chunks:
            reader.feed(chunk)
            fed += len(chunk)
            while (argv := reader.next(guest)) is not None:
                found.append(argv)
            assert reader.buffered <= fed * (1 + resp.ARGUMENT_COST), "more is held than was sent"
    except ProtocolError as error:
        return found, error.text
    return found, None


def resp_requests(data: bytes) -> None:
    """RESP requests: the same however they are cut, and again when written canonically."""
    for guest in (False, True):
        whole = _read(iter((data,)), guest=guest)
        assert whole == _read(pieces(data), guest=guest), "cutting changes what is read"
    requests_read, _ = _read(iter((data,)), guest=False)
    written = b"".join(canonical(argv) for argv in requests_read)
    assert _read(iter((written,)), guest=False) == (requests_read, None)


def canonical(argv: Argv) -> bytes:
    """A request as multibulk."""
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in argv)


# ---------------------------------------------------------------- replies of servers


def _replies(chunks: Iterator[bytes]) -> tuple[list[replies.Reply], str | None]:
    reader = replies.ReplyReader()
    found: list[replies.Reply] = []
    try:
        for chunk in chunks:
            found += reader.feed(chunk)
    except ProtocolError as error:
        return found, error.text
    return found, None


_ERROR: Final = "an error"  # the texts are not compared: hiredis decodes them in its own way


def _of_hiredis(reply: Any) -> Any:
    if isinstance(reply, hiredis.ReplyError):
        return _ERROR
    return [_of_hiredis(item) for item in reply] if isinstance(reply, list) else reply


def _plain(reply: replies.Reply) -> Any:
    if isinstance(reply, replies.ErrorReply):
        return _ERROR
    return [_plain(item) for item in reply] if isinstance(reply, list) else reply


def server_replies(data: bytes) -> None:
    """Replies: the same however they are cut, the same that hiredis reads, and no reading of them raises."""
    found, trouble = _replies(iter((data,)))
    cut, cut_trouble = _replies(pieces(data))
    # A piece that holds a breach loses the replies before it in the same piece, so the shorter list is a beginning.
    assert trouble == cut_trouble, "cutting changes the verdict"
    assert cut[: len(found)] == found, "cutting changes what is read"
    if trouble is None:
        assert cut == found
        _compare_with_hiredis(data, found)
    for reply in cut:
        assert len(readings.ping_text(reply)) <= readings.MAX_TEXT
        told = readings.opinion(reply)
        assert told is None or 0 <= told[2] <= MAX_EPOCH


def _compare_with_hiredis(data: bytes, found: list[replies.Reply]) -> None:
    """What both accept is the same. hiredis refuses some that we let pass, like a lone CR in a line; there it ends."""
    second = hiredis.Reader(errors="surrogateescape")
    second.feed(data)
    for reply in found:
        try:
            theirs = second.gets()
        except hiredis.ProtocolError:
            return
        assert _of_hiredis(theirs) == _plain(reply), "hiredis reads something else"


# ---------------------------------------------------------------- hellos and INFO


def hellos(data: bytes) -> None:
    """Hellos: both doors agree where both accept, numbers are in bounds, and what was read can be said again."""
    heard, told = readings.hello(data), requests.hello(data)
    for hello in (heard, told):
        if hello is not None:
            assert 0 <= hello.port <= 65535
            assert 0 <= hello.master_port <= 65535
            assert 0 <= hello.current_epoch <= MAX_EPOCH
            assert 0 <= hello.config_epoch <= MAX_EPOCH
    if heard is not None and told is not None:
        assert heard == told, "the port and the link read different hellos"
    if heard is not None:
        assert readings.hello(_said(heard)) == heard, "what was heard is said differently"


def _said(hello: Hello) -> bytes:
    """The payload that we publish for `hello`."""
    order = orders.say_hello(SayHello(ServerLink("m", Address("h", 1)), hello), "0.0.0.0")
    (argv,), trouble = _read(iter((order.data,)), guest=False)
    assert trouble is None
    assert argv[:2] == (b"PUBLISH", b"__sentinel__:hello")
    return argv[2]


def info(data: bytes) -> None:
    """INFO: never raises, all bounded; and its parts say what the whole says."""
    reading = readings.info(data)
    assert len(reading.replicas) <= readings.MAX_REPLICAS
    assert all(0 <= replica.port <= 65535 and len(replica.host) <= 255 for replica in reading.replicas)
    assert reading.run_id is None or len(reading.run_id) == 40
    assert reading.master_port is None or 0 <= reading.master_port <= 65535
    if b"# Replication" not in data:
        section = b"# Replication\r\n" + data.partition(b"\r\n#")[0]
        alone = readings.info(section)
        if b"\r\n#" not in data and b"run_id:" not in data:
            assert alone == reading, "a header changes what is read"


# ---------------------------------------------------------------- sentinel.conf


def _load(text: bytes) -> Configuration:
    return load_configuration(
        text,
        path="/etc/sentinel.conf",
        read_file=lambda path: b"sentinel down-after-milliseconds mymaster 7000\nport 7000\n",
        glob_files=lambda pattern: [pattern.replace("*", "0")],
        is_executable=lambda path: True,
        resolve=lambda host: None,
        working_dir="/var/lib/sentinel",
    )


def config(data: bytes) -> None:
    """sentinel.conf: a refusal, or a configuration that a rewrite keeps, and that a second rewrite leaves alone."""
    try:
        loaded = _load(data)
    except (ConfigError, StartupError):
        return
    snapshot = evolve(loaded.snapshot, my_id=loaded.snapshot.my_id or ID)
    written = rewrite_configuration(data, loaded, snapshot)
    again = _load(written)
    assert again.snapshot == snapshot, "a rewrite changes what is known"
    # The user that everybody has without a line gets one when it is written, as in stock.
    assert evolve(again.directives, users=()) == evolve(loaded.directives, users=()), "a rewrite changes a directive"
    assert loaded.directives.aclfile or set(loaded.directives.users) <= set(again.directives.users), "a user is lost"
    second = rewrite_configuration(written, again, snapshot)
    assert second.rstrip(b"\n") == written.rstrip(b"\n"), "a second rewrite changes the file"
    assert rewrite_configuration(second, again, snapshot) == second, "a file grows with each rewrite"


def lexer(data: bytes) -> None:
    """Words: any text that we quote is read back, by the reader of files and by that of inline commands."""
    word = data.partition(b"\0")[0]
    assert conf_lexer.split_line(conf_lexer.quoted(resp.told(word))) == [word]
    assert resp.split_words(conf_lexer.quoted(resp.told(data))) == (data,)
    if data and b"\n" not in data:
        assert conf_lexer.split_line(conf_lexer.word(resp.told(word)) if word else b"") == ([word] if word else [])
    with contextlib.suppress(conf_lexer.Unbalanced):
        conf_lexer.split_line(data)
    resp.split_words(data)


# ---------------------------------------------------------------- globs


def globs(data: bytes) -> None:
    """Globs: the first line is the pattern, the second the text; a plain backtracking reader agrees."""
    pattern, _, text = data.partition(b"\n")
    found = glob.compiled(pattern).matches(text)
    if pattern.count(b"*") <= 4 and len(text) <= 24:
        assert found == _slow_match(pattern, 0, text, 0), "the plain reader says otherwise"


def _slow_match(pattern: bytes, at: int, text: bytes, position: int) -> bool:
    """One rule at a time, from the left."""
    while at < len(pattern):
        char = pattern[at : at + 1]
        if char == b"*":
            return any(_slow_match(pattern, at + 1, text, start) for start in range(position, len(text) + 1))
        if position == len(text):
            return False
        fits, at = _slow_one(pattern, at, text[position])
        if not fits:
            return False
        position += 1
    return position == len(text)


def _slow_one(pattern: bytes, at: int, byte: int) -> tuple[bool, int]:
    """Whether what stands at `at` takes `byte`, and the place behind it."""
    char = pattern[at : at + 1]
    if char == b"?":
        return True, at + 1
    if char == b"\\" and at + 1 < len(pattern):
        return pattern[at + 1] == byte, at + 2
    if char != b"[":
        return pattern[at] == byte, at + 1
    at += 1
    negated = pattern[at : at + 1] == b"^"
    at += negated
    inside = False
    while at < len(pattern) and pattern[at : at + 1] != b"]":
        if pattern[at : at + 1] == b"\\" and at + 1 < len(pattern):
            inside |= pattern[at + 1] == byte
            at += 2
        elif pattern[at + 1 : at + 2] == b"-" and at + 2 < len(pattern):
            low, high = sorted((pattern[at], pattern[at + 2]))
            inside |= low <= byte <= high
            at += 3
        else:
            inside |= pattern[at] == byte
            at += 1
    return inside != negated, at + 1


# ---------------------------------------------------------------- a whole client


def _session_output(chunks: Iterator[bytes], password: bytes | None, *, hurried: bool = False) -> tuple[bytes, bool]:
    """What a client gets for `chunks`, and whether it was closed before it left. In a `hurried` house the clock runs so
    fast that after every second command it is the others' turn."""
    stage = Stage(password=password)
    stage.mind.monitor("mymaster")
    waiting: list[Callable[[], None]] = []
    stage.house.later = waiting.append
    stage.house.after = lambda deed, delay_s: waiting.append(deed)
    if hurried:
        ticks = itertools.count(1)
        stage.house.clock_s = lambda: next(ticks) * SHARE_S * 0.6
    client = stage.client()
    for chunk in (*chunks, b""):
        if client.transport.closed:
            break
        if chunk:
            client.handler.received(chunk)
        else:
            client.handler.ended()
        while waiting:
            waiting.pop(0)()
        if client.transport.paused:
            break
    session: Session = client.session
    assert client.transport.closed or session.output_bytes <= PAUSE_READING_ABOVE
    return client.transport.sent, client.transport.closed


def session(data: bytes) -> None:
    """A client: whatever it sends, and however that is cut, the same well-formed bytes come back."""
    for password in (None, b"secret"):
        whole, closed = _session_output(iter((data,)), password)
        told = _answers(whole)
        for hurried in (False, True):
            chunks = iter((data,)) if hurried else pieces(data)
            cut, cut_closed = _session_output(chunks, password, hurried=hurried)
            assert closed == cut_closed, "cutting changes whether it is closed"
            told_cut = _answers(cut)
            if _ATTACK.search(data):  # closed without a word, and without the answers of that chunk
                assert told_cut[: len(told)] == told, "cutting changes the answers"
            else:
                assert told == told_cut, "cutting changes the answers"


_ATTACK: Final = re.compile(rb"post|host:", re.IGNORECASE)
_COUNTERS: Final = re.compile(r"(?:tot-net-\w+|qbuf|omem|tot-mem|total_net_\w+|total_\w+_processed)[=:]\d+|events=rw?")
"""Figures that tell of reads and writes, so cutting may change them."""


def _answers(data: bytes) -> list[str]:
    """All replies and pushes, without those figures; they must end where the bytes end."""
    reader = hiredis.Reader(errors="surrogateescape", encoding="utf-8")
    reader.feed(data)
    found = []
    while (reply := reader.gets()) is not False:
        found.append(_COUNTERS.sub("", repr(reply)))
    assert not reader.has_data(), "the answers end inside a frame"
    return found


def meant(user: User) -> User:
    """`user` with all keys allowed in the one way in which a file says so: as the last pattern they look the same."""

    def plain(rules: Selector) -> Selector:
        return evolve(rules, all_keys=True, keys=()) if dict(rules.keys).get(b"*") == 3 else rules

    return evolve(user, root=plain(user.root), selectors=tuple(map(plain, user.selectors)))


def user_rules(data: bytes) -> None:
    """Rules of users: applied or refused with a reason; what is printed makes the same user again, in either file."""
    try:
        words = merged(conf_lexer.split_line(data))
    except (conf_lexer.Unbalanced, Unmatched):
        return
    fresh = Selector()
    try:
        user = User(name="u", root=fresh).changed(words, fresh)
    except BadWord:
        return
    again = acl_file.read_file(acl_file.write_file({"u": user}), "file", fresh)["u"]
    assert meant(again) == meant(user), "the ACL file makes another user"
    lines = (acl_file.line_words(user),)
    assert acl_file.problem_of_line(lines[0], fresh) is None
    again = acl_file.users_of(lines, fresh, password="")["u"]
    assert meant(again) == meant(user), "sentinel.conf makes another user"
    for argv in ((b"PING",), (b"SENTINEL", b"MASTERS"), (b"PSUBSCRIBE", b"*"), (b"PUBLISH", b"c", b"m")):
        command = find(COMMANDS, b"|".join(argv[:2]) if argv[0] == b"SENTINEL" else argv[0])
        assert command is not None
        assert not user.unrestricted or user.denial(command, argv) is None
