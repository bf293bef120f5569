"""Words of a line: quoting and escaping as the specification 1.2 has them from the running programs."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_sentinel.wire.conf_lexer import Unbalanced, quoted, split_line, word
from trio_sentinel.wire.resp import text, told


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", []),
        (b" \t\r ", []),
        (b"port 1", [b"port", b"1"]),
        (b"\tport \t 1\r", [b"port", b"1"]),
        (b"port 1 # x", [b"port", b"1", b"#", b"x"]),
        (b"foo#bar", [b"foo#bar"]),
        (b"a\vb", [b"a\vb"]),
        (b"\va \f b", [b"a", b"b"]),
        (b'foo"bar"', [b"foobar"]),
        (b'"foo"bar', [b"foobar"]),
        (b"foo'bar'\"baz\"", [b"foobarbaz"]),
        (b'"a b" ""', [b"a b", b""]),
        (rb'"\n\r\t\b\a\"\\"', [b'\n\r\t\b\a"\\']),
        (rb'"\x41\xfF\q\xZZ\x4"', [b"A\xffqxZZx4"]),
        (rb"'\n' 'it\'s' '\x41'", [rb"\n", b"it's", rb"\x41"]),
        (rb"a\ b", [b"a\\", b"b"]),
        (b'"A\\x00z" b', [b"A", b"b"]),
        (b"por\0t 1", [b"por"]),
        ("café".encode(), ["café".encode()]),
    ],
)
def test_words_of_a_line(line: bytes, words: list[bytes]) -> None:
    assert split_line(line) == words


@pytest.mark.parametrize("line", [b'"', b"'", b'a "b', b"a 'b\\'", b'"a\\"', b'"a\\'])
def test_an_open_quote_is_refused(line: bytes) -> None:
    with pytest.raises(Unbalanced):
        split_line(line)


def test_what_is_written_is_printable_ascii() -> None:
    assert quoted('café "x" \\ \n\r\t\a\b\x01\x7f') == rb'"caf\xc3\xa9 \"x\" \\ \n\r\t\a\b\x01\x7f"'
    assert [word(value) for value in ("m-1", "a b", "", "'", "a\\b", "#x")] == [
        b"m-1",
        b'"a b"',
        b'""',
        b'"\'"',
        b"a\\b",
        b"#x",
    ]


@given(st.lists(st.binary(max_size=12).filter(lambda value: b"\0" not in value)))
@example([b"", b" ", b"\v", b'"', b"'", b"\\", b"\xff"])
def test_every_word_survives_both_ways_of_writing(values: list[bytes]) -> None:
    for write in (quoted, word):
        line = b" ".join(write(told(value)) for value in values)
        assert split_line(line) == values
        assert all(0x20 <= byte < 0x7F for byte in line)
    assert all(text(told(value)) == value for value in values)
