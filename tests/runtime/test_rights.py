"""Who gets in: requirepass, the lines of users, and what stays the same object while rules change."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from trio_sentinel.errors import StartupError
from trio_sentinel.runtime.session_rights import Roster, names_in
from trio_sentinel.wire.acl_file import users_of
from trio_sentinel.wire.acl_selector import Selector
from trio_sentinel.wire.acl_user import User

DIGEST = hashlib.sha256(b"secret").hexdigest()
STOCK_LINE = ("default", "on", "nopass", "~*", "&*", "+@all")


def roster(requirepass: str = "", lines: Sequence[Sequence[str]] = ()) -> Roster:
    return Roster(users_of(lines, Selector(), password=requirepass))


def test_without_a_password_everybody_is_the_default_user() -> None:
    rights = roster()
    assert rights.open
    guest = rights.guest()
    assert guest is not None
    assert guest.unrestricted


@pytest.mark.parametrize(
    "rights",
    [
        roster("secret"),
        roster("", [("default", "on", ">secret", "~*", "&*", "+@all")]),
        roster("", [("default", "on", "sanitize-payload", f"#{DIGEST}", "~*", "&*", "+@all")]),
        roster("other", [("default", "on", ">first", ">secret", "~*", "&*", "+@all")]),
    ],
)
def test_only_a_right_password_opens(rights: Roster) -> None:
    assert not rights.open
    assert rights.guest() is None
    assert rights.login(b"default", b"secret") is not None
    assert rights.login(b"default", b"other") is None
    assert rights.login(b"default", b"") is None
    assert rights.login(b"admin", b"secret") is None


def test_the_line_that_stock_writes_is_open() -> None:
    assert roster("", [STOCK_LINE]).open


def test_a_default_line_beats_requirepass() -> None:
    """As in stock, which reads its own line after it."""
    assert roster("secret", [STOCK_LINE]).open


def test_a_default_line_starts_from_nothing() -> None:
    rights = roster("", [("default", "+ping")])
    assert not rights.open
    assert rights.login(b"default", b"") is None


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (("bob", "on", "+get"), "Error loading ACL rule '\\+get' for the user named 'bob': Unknown command"),
        (("a b", "on"), "Spaces not allowed in ACL usernames"),
    ],
)
def test_what_cannot_be_enforced_ends_the_start(line: Sequence[str], text: str) -> None:
    with pytest.raises(StartupError, match=text):
        roster("", [line])


def test_an_account_outlives_changes_and_not_its_removal() -> None:
    rights = roster("", [("bob", "on", "nopass", "+ping")])
    bob = rights.login(b"bob", b"")
    assert bob is not None
    narrow = bob.unrestricted
    rights.put(User(name="bob").changed([b"on", b"nopass", b"+@all", b"&*"], Selector()))
    assert rights.account("bob") is bob
    assert (narrow, bob.unrestricted) == (False, True)
    assert rights.remove("bob")
    assert not rights.remove("bob")
    rights.put(User(name="bob"))
    assert rights.account("bob") is not bob


def test_what_was_proven_is_forgotten_with_the_rules() -> None:
    rights = roster("", [("bob", "on", "nopass", "+ping")])
    bob = rights.account("bob")
    assert bob is not None
    bob.prove(b"ping\r\n")
    assert bob.proven
    rights.put(bob.user.changed([b"-ping"], Selector()))
    assert not bob.proven


def test_lines_are_what_a_configuration_holds() -> None:
    rights = roster("secret", [("bob", "on", ">secret", "+ping", "(+@pubsub", "&x)")])
    assert rights.lines == (
        ("default", "on", f"#{DIGEST}", "~*", "&*", "+@all"),
        ("bob", "on", f"#{DIGEST}", "resetchannels", "-@all", "+ping", "(resetchannels", "&x", "-@all", "+@pubsub)"),
    )
    assert roster("", rights.lines).users == rights.users


def test_a_certificate_names_an_enabled_user() -> None:
    rights = roster("", [("bob", "on", "+ping"), ("carl", "off", "+ping")])
    subject = ((("countryName", "XX"),), (("commonName", "bob"),))
    certificate = {"subject": subject, "subjectAltName": (("DNS", "x"), ("URI", "urn:a"), ("URI", "carl"))}
    assert names_in(certificate, "CN") == ["bob"]
    assert names_in(certificate, "URI") == ["urn:a", "carl"]
    assert names_in(certificate, "off") == names_in({}, "CN") == names_in({}, "URI") == []
    assert rights.certified(["urn:a", "bob"]) is rights.account("bob")
    assert rights.certified(["carl"]) is None
    assert rights.certified([]) is None
