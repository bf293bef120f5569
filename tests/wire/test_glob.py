"""Patterns mean what they mean to Redis, and no pattern costs more than length times length."""

from __future__ import annotations

import time
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_sentinel.wire import glob


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("*", "", True),
        ("", "", True),
        ("", "a", False),
        ("?", "", False),
        ("a*b", "ab", True),
        ("a*b*c", "axxbyyc", True),
        ("a*b*c", "axxcyyb", False),
        ("a*a", "a", False),
        ("*aab", "aaab", True),
        ("**x**", "x", True),
        ("[-+]sdown", "+sdown", True),
        ("[-+]sdown", "-sdown", True),
        ("[-+]sdown", "*sdown", False),
        ("[a-c]?", "bz", True),
        ("[c-a]", "b", True),
        ("[^x]", "y", True),
        ("[^x]", "x", False),
        ("[^a-c]*", "b", False),
        ("\\*", "*", True),
        ("\\*", "x", False),
        ("[\\]]", "]", True),
        ("[abc", "b", True),
        ("a\\", "a\\", True),
        ("A", "a", False),
    ],
)
def test_patterns(pattern: str, text: str, fits: bool) -> None:
    """commands.md 4.1."""
    assert glob.matches(pattern.encode(), text.encode()) is fits


def test_case_can_be_ignored() -> None:
    assert glob.matches(b"ANNOUNCE-[IP]*", b"announce-ip", ignore_case=True)
    assert not glob.matches(b"ANNOUNCE-*", b"announce-ip")


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=10))
def test_stars_and_question_marks_are_those_of_the_shell(pattern: str, text: str) -> None:
    assert glob.matches(pattern.encode(), text.encode()) == fnmatchcase(text, pattern)


def test_a_malicious_pattern_is_harmless() -> None:
    start = time.process_time()
    assert not glob.matches(b"a*" * 60 + b"b", b"a" * 2000)
    assert time.process_time() - start < 1


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_any_bytes_are_a_pattern(pattern: bytes, text: bytes) -> None:
    glob.matches(pattern, text)
    glob.matches(pattern, text, ignore_case=True)


def test_a_pattern_longer_than_any_name_fits_nothing_and_is_not_kept() -> None:
    before = glob._compiled.cache_info().currsize
    assert not glob.matches(b"*" * (glob.MAX_PATTERN + 1), b"a")
    assert glob.compiled(b"[" * 10_000_000) is glob.compiled(b"a" * 10_000_000)
    assert glob._compiled.cache_info().currsize == before
