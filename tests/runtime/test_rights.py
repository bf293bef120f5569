"""Who gets in: requirepass, the default user's line, and a refusal for everything that cannot be enforced."""

from __future__ import annotations

import hashlib

import pytest

from trio_sentinel.errors import StartupError
from trio_sentinel.runtime.session_rights import OnePassword

DIGEST = hashlib.sha256(b"secret").hexdigest()
STOCK_LINE = ("default", "on", "nopass", "~*", "&*", "+@all")


def test_without_a_password_everybody_is_the_default_user() -> None:
    rights = OnePassword.of("")
    assert rights.open
    assert rights.guest() is not None


@pytest.mark.parametrize(
    "rights",
    [
        OnePassword.of("secret"),
        OnePassword.of("", [("default", "on", ">secret", "~*", "&*", "+@all")]),
        OnePassword.of("", [("default", "on", "sanitize-payload", f"#{DIGEST}", "~*", "&*", "+@all")]),
        OnePassword.of("other", [("default", "on", ">first", ">secret", "~*", "&*", "+@all")]),
    ],
)
def test_only_a_right_password_opens(rights: OnePassword) -> None:
    assert not rights.open
    assert rights.guest() is None
    assert rights.login(b"default", b"secret") is not None
    assert rights.login(b"default", b"other") is None
    assert rights.login(b"default", b"") is None
    assert rights.login(b"admin", b"secret") is None


def test_the_line_that_stock_writes_is_open() -> None:
    assert OnePassword.of("", [STOCK_LINE]).open


def test_a_default_line_beats_requirepass() -> None:
    """As in stock, which reads its own line after it."""
    assert OnePassword.of("secret", [STOCK_LINE]).open


@pytest.mark.parametrize(
    "users",
    [
        [("default", "off")],
        [("default", "on", "nopass", "~*", "&*")],
        [("default", "on", "nopass", "~*", "+@all")],
        [("default", "on", "~*", "&*", "+@all")],
        [("default", "on", "nopass", "~*", "&*", "+@all", "-shutdown")],
        [("default", "on", "nopass", "~*", "&*", "+@all", "(+ping)")],
        [STOCK_LINE, ("app", "on", ">pw", "+ping")],
        [("app", "on", ">pw", "+ping")],
    ],
)
def test_restrictions_that_cannot_be_kept_are_refused(users: list[tuple[str, ...]]) -> None:
    with pytest.raises(StartupError, match="refusing to start"):
        OnePassword.of("", users)


def test_an_acl_file_is_refused() -> None:
    with pytest.raises(StartupError, match="refusing to start"):
        OnePassword.of("", aclfile="/etc/users.acl")
