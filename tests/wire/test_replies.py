"""Replies are cut out of a stream whatever its chunks; what is no reply, or too much of one, ends the link."""

from __future__ import annotations

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_sentinel.errors import ProtocolError
from trio_sentinel.wire.replies import MAX_BULK, MAX_DEPTH, MAX_LINE, ErrorReply, Reply, ReplyReader

line = st.binary(max_size=20).filter(lambda text: b"\r" not in text and b"\n" not in text)
scalar: st.SearchStrategy[Reply] = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=40), line.map(ErrorReply)
)
replies: st.SearchStrategy[Reply] = st.one_of(
    scalar, st.lists(scalar, max_size=5), st.lists(st.lists(scalar, max_size=2), max_size=2)
)


def encoded(reply: Reply) -> bytes:
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, ErrorReply):
        return b"-%b\r\n" % reply.text
    if isinstance(reply, bytes):
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    return b"*%d\r\n" % len(reply) + b"".join(encoded(item) for item in reply)


@given(st.lists(replies, max_size=6), st.lists(st.integers(1, 30), min_size=1, max_size=10))
def test_replies_come_out_as_they_went_in_however_they_are_chunked(sent: list[Reply], sizes: list[int]) -> None:
    stream = b"".join(encoded(reply) for reply in sent)
    reader, got, at, turn = ReplyReader(), [], 0, 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        got += reader.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert got == sent
    assert reader.idle


@given(st.binary(max_size=200), st.integers(1, 50))
def test_garbage_raises_nothing_but_a_protocol_error(data: bytes, size: int) -> None:
    reader = ReplyReader()
    try:
        for at in range(0, len(data), size):
            reader.feed(data[at : at + size])
    except ProtocolError:
        pass


_PARTS = [b"*2\r\n", b"$1\r\nx\r\n", b":5\r\n", b"+s\r\n", b"$-1\r\n", b"*-1\r\n"]


@given(st.lists(st.sampled_from(_PARTS), max_size=8).filter(lambda parts: parts.count(_PARTS[0]) <= MAX_DEPTH))
def test_what_hiredis_reads_is_read_alike(parts: list[bytes]) -> None:
    stream = b"".join(parts)
    judge = hiredis.Reader()
    judge.feed(stream)
    expected = []
    while (reply := judge.gets()) is not False:
        expected.append(reply)
    assert ReplyReader().feed(stream) == expected


def test_a_status_and_an_error_are_told_apart() -> None:
    assert ReplyReader().feed(b"+PONG\r\n-LOADING soon\r\n+\r\n") == [b"PONG", ErrorReply(b"LOADING soon"), b""]


def test_a_long_string_in_many_chunks_is_joined_once() -> None:
    text = b"x" * 3_000_000
    reader = ReplyReader()
    assert reader.feed(b"$3000000\r\n") == []
    for at in range(0, len(text), 16384):
        assert reader.feed(text[at : at + 16384]) == []
        assert not reader.idle
    assert reader.feed(b"\r\n+OK\r\n") == [text, b"OK"]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"!",
        b":12a\r\n",
        b":\r\n",
        b":99999999999999999999\r\n",
        b"$-2\r\n",
        b"$%d\r\n" % (MAX_BULK + 1),
        b"$1\r\nxyz",
        b"*1000000000\r\n",
        b"*-2\r\n",
        b"*1\r\n" * (MAX_DEPTH + 1),
        b"+" + b"x" * MAX_LINE,
        b"\r\n",
    ],
)
def test_broken_rules_are_noticed_at_once(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        ReplyReader().feed(data)
