"""The ACL file and the ``user`` lines of sentinel.conf: every bad line is named as stock names it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_sentinel.errors import StartupError
from trio_sentinel.wire import acl_file
from trio_sentinel.wire.acl_selector import Selector

UNCHANGED = "WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
UNKNOWN = "Unknown command or category name in ACL"


def problems(content: bytes) -> str:
    with pytest.raises(acl_file.BadFile) as caught:
        acl_file.read_file(content, "users.acl", Selector())
    text = str(caught.value)
    assert text.endswith(UNCHANGED)
    return text.removesuffix(UNCHANGED)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"user bob on foo\n", "users.acl:1: Syntax error. "),
        (b"user bob on foo bar\n", "users.acl:1: Syntax error. "),
        (b"\n\nuser bob +foo\n", f"users.acl:3: Error in applying operation '+foo': {UNKNOWN}. "),
        (b"user e (+foo)\n", f"users.acl:1: Error in applying operation '(+foo)': {UNKNOWN}. "),
        (b"# x\n", "users.acl:1 should start with user keyword followed by the username. "),
        (b"USER x on\n", "users.acl:1 should start with user keyword followed by the username. "),
        (b"user", "users.acl:1 should start with user keyword followed by the username. "),
        (b"user\tb on\n", "users.acl:1 should start with user keyword followed by the username. "),
        (b"user a\tb on\n", "'users.acl:1: username 'a\tb' contains invalid characters. "),
        (b"user x on\nuser x off\n", "WARNING: Duplicate user 'x' found on line 2. "),
        (b"user a (+ping\n", "users.acl:1: Unmatched parenthesis in selector definition."),
        (
            b"user b #a\nfoo\n",
            (
                "users.acl:1: The password hash must be exactly 64 characters and contain only lowercase hexadecimal "
                "characters. users.acl:2 should start with user keyword followed by the username. "
            ),
        ),
        (
            b"user a +foo off -bar\n",
            "".join(f"users.acl:1: Error in applying operation '{word}': {UNKNOWN}. " for word in ("+foo", "-bar")),
        ),
    ],
)
def test_bad_lines(content: bytes, text: str) -> None:
    assert problems(content) == text


def test_good_lines() -> None:
    users = acl_file.read_file(b"  user bob   on  \t+ping \r\n\nuser default on >x\nuser  on\n", "f", Selector())
    assert users["bob"].words == b"on resetchannels -@all +ping"
    assert not users["default"].nopass
    assert users[""].enabled
    assert acl_file.lines_of(users)[0] == b"user  on resetchannels -@all"


def test_an_empty_file_leaves_the_built_in_user() -> None:
    users = acl_file.read_file(b"", "f", Selector())
    assert acl_file.write_file(users) == b"user default on nopass ~* &* +@all\n"


def test_users_are_sorted_by_their_bytes() -> None:
    users = acl_file.read_file(b"user b\nuser \xc3\xa9\nuser B\n", "f", Selector())
    names = [line.split()[1] for line in acl_file.lines_of(users)]
    assert names == [b"B", b"b", b"default", b"\xc3\xa9"]


@pytest.mark.parametrize(
    "words", [("bob", ">hunter2", "on", "foo"), ("bob", "on", "<hunter2"), ("bob", ">hunter2", "on", "(+ping")]
)
def test_no_password_stands_in_a_report(words: tuple[str, ...]) -> None:
    """Stock blames the word two before the bad one, whatever that is."""
    problem = acl_file.problem_of_line(words, Selector())
    assert problem is not None
    assert "hunter2" not in "".join(problem)
    with pytest.raises(StartupError) as caught:
        acl_file.users_of([("bob", "on", "!hunter2")], Selector(), password="")
    assert "hunter2" not in str(caught.value)


@given(st.binary(max_size=60))
def test_any_content_is_users_or_a_bad_file(content: bytes) -> None:
    try:
        users = acl_file.read_file(content, "f", Selector())
    except acl_file.BadFile:
        return
    assert acl_file.read_file(acl_file.write_file(users), "f", Selector()) == users
