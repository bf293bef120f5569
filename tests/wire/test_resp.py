"""Requests are cut as stock cuts them, wherever the bytes are split; replies are what hiredis reads back."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_sentinel.errors import ProtocolError
from trio_sentinel.wire import resp
from trio_sentinel.wire.resp import Argv, RequestReader

MAX_BULK = 512 * 1024 * 1024


def cut(*chunks: bytes, guest: bool = False, max_bulk: int = MAX_BULK) -> tuple[list[Argv], str | None]:
    """The requests in `chunks` and the protocol error that ended them, if any."""
    reader = RequestReader(max_bulk)
    found: list[Argv] = []
    try:
        for chunk in chunks:
            reader.feed(chunk)
            while (argv := reader.next(guest)) is not None:
                found.append(argv)
    except ProtocolError as wrong:
        return found, wrong.text
    return found, None


def multibulk(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def test_forms_can_be_mixed_and_empty_requests_are_skipped() -> None:
    """commands.md 1.2, points 1 to 3."""
    data = b"ping\r\n" + multibulk(b"PING", b"a\r\nb") + b"*0\r\n*-7\r\n\r\n   \r\nping x\n"
    assert cut(data) == ([(b"ping",), (b"PING", b"a\r\nb"), (b"ping", b"x")], None)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'"a"b', (b"ab",)),
        (b'a"b c"d', (b"ab cd",)),
        (b"'a'\"b\"", (b"ab",)),
        (b'"\\n\\r\\t\\b\\a\\x41\\q\\xZZ" x', (b"\n\r\t\b\aAqxZZ", b"x")),
        (b"'\\n\\'' x", (b"\\n'", b"x")),
        (b"a\\ b", (b"a\\", b"b")),
        (b'"" x', (b"", b"x")),
        (b"a\x0bb \x0bc", (b"a\x0bb", b"c")),
        (b"a\rb", (b"a", b"b")),
        (b'"\\"', (b"\\",)),
    ],
)
def test_inline_words(line: bytes, words: Argv) -> None:
    """commands.md 1.2, quoting of Valkey 9; the last rows are as observed live."""
    assert resp.split_words(line) == words


@pytest.mark.parametrize("line", [b'"a', b"'a", b'a"', b"'a\\'b", b'"a\\" b'])
def test_a_quote_that_stays_open_is_an_error(line: bytes) -> None:
    assert resp.split_words(line) is None
    assert cut(b"ping\r\n" + line + b"\r\nping\r\n") == ([(b"ping",)], "unbalanced quotes in request")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a" * 65537, "too big inline request"),
        (b"*" + b"1" * 65536, "too big mbulk count string"),
        (b"*1\r\n$" + b"1" * 65536, "too big bulk count string"),
        (b"*x\r\n", "invalid multibulk length"),
        (b"*\r\n", "invalid multibulk length"),
        (b"*01\r\n", "invalid multibulk length"),
        (b"*+1\r\n", "invalid multibulk length"),
        (b"*-0\r\n", "invalid multibulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*%d\r\n" % (resp.MAX_ARGUMENTS + 1), "invalid multibulk length"),
        (b"*1\r\n+PING\r\n", "expected '$', got '+'"),
        (b"*1\r\n\r\n", "expected '$', got '\r'"),
        (b"*1\r\n$04\r\nPING\r\n", "invalid bulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$ 4\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"*1\r\n$99999999999999999999\r\n", "invalid bulk length"),
        (b"*1\r\n$4\r\nPINGxx", "invalid CRLF in request"),
        (b"*1\rX", "invalid CRLF in request"),
        (b"*1\r\n$4\rX", "invalid CRLF in request"),
        (b"*a\rX", "invalid CRLF in request"),
    ],
)
def test_breaches_of_the_protocol(data: bytes, text: str) -> None:
    """commands.md 1.3; the order of the checks as observed on Valkey 9.1.2."""
    assert cut(b"ping\r\n" + data) == ([(b"ping",)], text)


@pytest.mark.parametrize("data", [b"a" * 65536, b"*" + b"1" * 65535, b"*4096\r\n", b"*1\r\n$536870912\r\nab"])
def test_what_is_large_but_lawful_waits(data: bytes) -> None:
    assert cut(data) == ([], None)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"*11\r\n", "unauthenticated multibulk length"),
        (b"*2147483647\r\n", "unauthenticated multibulk length"),
        (b"*1\r\n$16385\r\n", "unauthenticated bulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"*10\r\n$16384\r\n", None),
    ],
)
def test_limits_before_authentication(data: bytes, text: str | None) -> None:
    """commands.md 1.4."""
    assert cut(data, guest=True) == ([], text)


def test_nothing_after_an_error_is_read() -> None:
    assert cut(b"*1\r\n:1\r\nping\r\n", b"ping\r\n")[0] == []


words = st.lists(st.binary(max_size=12), min_size=1, max_size=5).map(tuple)
safe_word = st.text("abcXYZ09-_:", min_size=1, max_size=8).map(str.encode)
inline = st.lists(safe_word, min_size=1, max_size=4).map(tuple)


@given(
    st.lists(st.tuples(st.booleans(), words, inline), max_size=6),
    st.lists(st.integers(0, 400), max_size=12),
    st.booleans(),
)
def test_splitting_the_input_anywhere_changes_nothing(
    requests: list[tuple[bool, Argv, Argv]], cuts: list[int], guest: bool
) -> None:
    data = b"".join(multibulk(*argv) if bulky else b" ".join(line) + b"\r\n" for bulky, argv, line in requests)
    expected = [argv if bulky else line for bulky, argv, line in requests]
    places = sorted({0, len(data), *(at % (len(data) + 1) for at in cuts)})
    chunks = [data[start:end] for start, end in itertools.pairwise(places)]
    assert cut(*chunks, guest=guest) == (expected, None)


@given(st.binary(max_size=60), st.integers(1, 7))
def test_any_bytes_are_cut_alike_in_one_piece_and_in_many(tail: bytes, step: int) -> None:
    data = b"*2\r\n$1\r\nx\r\n" + tail
    assert cut(data) == cut(*(data[at : at + step] for at in range(0, len(data), step)))


def test_a_large_argument_is_not_copied_for_every_chunk() -> None:
    size = 3 * 1024 * 1024
    data = multibulk(b"PING", b"x" * size)
    chunks = [data[at : at + 1000] for at in range(0, len(data), 1000)]
    assert cut(*chunks)[0] == [(b"PING", b"x" * size)]


def test_what_is_buffered_is_known_without_counting_it_again() -> None:
    """It is asked after every read; a request of many arguments in many pieces must not cost their product."""
    reader = RequestReader(MAX_BULK)
    reader.feed(b"*4096\r\n")
    assert reader.next(False) is None
    reader._args = _Uncountable()
    for number in range(1, 4096):
        reader.feed(b"$1\r\nx\r\n")
        assert reader.next(False) is None
        assert reader.buffered == number * (1 + resp.ARGUMENT_COST)
    reader.feed(b"$1\r\nx\r\n")
    assert reader.next(False) == (b"x",) * 4096
    assert reader.buffered == 0


class _Uncountable(list[bytes]):
    """Not to be looked through until it is complete."""

    def __iter__(self) -> Iterator[bytes]:
        assert len(self) == 4096, "looked through too early"
        return super().__iter__()


def test_buffered_counts_unfinished_arguments() -> None:
    reader = RequestReader(MAX_BULK)
    reader.feed(b"*3\r\n$4\r\nabcd\r\n$2\r\nx")
    assert reader.next(False) is None
    assert reader.buffered >= 5
    reader.feed(b"y\r\n$0\r\n\r\n")
    assert reader.next(False) == (b"abcd", b"xy", b"")
    assert reader.idle
    assert reader.buffered == 0


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b"0", 0),
        (b"-1", -1),
        (b"9223372036854775807", 2**63 - 1),
        (b"9223372036854775808", None),
        (b"-9223372036854775808", -(2**63)),
        (b"+1", None),
        (b"01", None),
        (b" 1", None),
        (b"1\n", None),
        (b"", None),
        (b"-", None),
        (b"-0", None),
        ("١".encode(), None),
    ],
)
def test_integers_are_strict(text: bytes, number: int | None) -> None:
    assert resp.strict_int(text) == number


# ---------------------------------------------------------------- replies


def read_back(data: bytes) -> object:
    reader = hiredis.Reader()
    reader.feed(data)
    reply = reader.gets()
    assert not reader.has_data()
    return reply


@given(st.binary(), st.integers(-(2**63), 2**63 - 1), st.sampled_from([2, 3]))
def test_replies_are_read_back(value: bytes, number: int, proto: int) -> None:
    assert read_back(resp.bulk(value)) == value
    assert read_back(resp.bulk(number)) == b"%d" % number
    assert read_back(resp.integer(number)) == number
    assert read_back(resp.array([resp.bulk(value), resp.integer(number)])) == [value, number]
    assert read_back(resp.push([resp.bulk(value)], proto)) == [value]
    assert read_back(resp.verbatim(value, proto)) == value
    assert read_back(resp.null_bulk(proto)) is None
    assert read_back(resp.null_array(proto)) is None


@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=5))
def test_maps_are_flat_in_resp2(pairs: dict[str, int]) -> None:
    fields = list(pairs.items())
    expected = {key.encode(): b"%d" % value for key, value in fields}
    assert read_back(resp.fields(fields, 3)) == expected
    flat = read_back(resp.fields(fields, 2))
    assert isinstance(flat, list)
    assert dict(zip(flat[::2], flat[1::2], strict=True)) == expected


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_keep_their_value(value: float) -> None:
    assert read_back(resp.double(value, 3)) == value
    assert float(read_back(resp.double(value, 2))) == value  # type: ignore[arg-type]


@given(st.text())
def test_an_error_is_one_line(text: str) -> None:
    data = resp.error("ERR " + resp.told(text.encode("utf-8", "surrogatepass")))
    assert re.fullmatch(rb"-ERR [^\r\n]*\r\n", data)


@given(st.binary())
def test_bytes_of_a_client_come_back_unchanged(data: bytes) -> None:
    assert resp.text(resp.told(data)) == data
