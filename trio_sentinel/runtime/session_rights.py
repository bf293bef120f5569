"""Who may do what on the client port: the one place where a session asks for permission.

Today there is one user, `default`, with or without the password of ``requirepass``. Users of an ACL come in behind
the same two Protocols.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Protocol

from attrs import field, frozen

from trio_sentinel.errors import StartupError
from trio_sentinel.wire import resp


class User(Protocol):
    """Somebody who is logged in."""

    @property
    def name(self) -> str:
        """As in ACL WHOAMI."""

    @property
    def unrestricted(self) -> bool:
        """Whether `may_run` says yes to everything; lets frequent requests skip it."""

    def may_run(self, command: str) -> bool:
        """Whether the user may run a command, by its full name (``sentinel|masters``)."""

    def may_hear(self, channel: bytes, *, pattern: bool) -> bool:
        """Whether the user may subscribe to a channel, or to all channels of a pattern."""


class Rights(Protocol):
    """All users."""

    def guest(self) -> User | None:
        """Who a new connection is; None when it must log in first."""

    def login(self, name: bytes, password: bytes) -> User | None:
        """The user with that name and password; None when there is none or it is disabled."""

    @property
    def open(self) -> bool:
        """Whether the default user needs no password."""

    @property
    def hashes(self) -> Sequence[str]:
        """SHA-256 of each password of the default user."""


@frozen
class Everything:
    """A user without any restriction."""

    name: str
    unrestricted: bool = True

    def may_run(self, command: str) -> bool:
        """Yes."""
        return True

    def may_hear(self, channel: bytes, *, pattern: bool) -> bool:
        """Yes."""
        return True


_DEFAULT = Everything("default")


_FULL_RIGHTS = frozenset(
    {"on", "~*", "allkeys", "&*", "allchannels", "+@all", "allcommands", "sanitize-payload", "skip-sanitize-payload"}
)
UNENFORCED = (
    "ACL rules that restrict users cannot be enforced by this version: refusing to start rather than let everybody in. "
    "Only a 'user default' line with all rights is understood, with or without passwords."
)


@frozen
class OnePassword:
    """Only the default user, with all rights: without a password (no hashes), or with any of some."""

    hashes: tuple[str, ...] = field(default=(), repr=False)
    """SHA-256 of each password, in lower-case hex."""

    @classmethod
    def of(cls, requirepass: str, users: Sequence[Sequence[str]] = (), aclfile: str = "") -> OnePassword:
        """From the configuration. A ``user default`` line beats `requirepass`, as in stock.

        Raises:
            StartupError: somebody is restricted. To ignore that would open the port to whom it was closed.
        """
        if aclfile:
            raise StartupError(UNENFORCED)
        if not users:
            return cls() if requirepass == "" else cls((_sha256(resp.text(requirepass)),))
        if len(users) > 1 or users[0][0] != "default":
            raise StartupError(UNENFORCED)
        return cls(_hashes_of(users[0][1:]))

    @property
    def open(self) -> bool:
        """Whether there is no password."""
        return not self.hashes

    def guest(self) -> User | None:
        """Everybody is `default` when there is no password."""
        return _DEFAULT if self.open else None

    def login(self, name: bytes, password: bytes) -> User | None:
        """Compare in a time that does not depend on where the texts differ."""
        if name != b"default":
            return None
        mine = _sha256(password)
        fits = [hmac.compare_digest(mine, known) for known in self.hashes]
        return _DEFAULT if self.open or any(fits) else None


def _sha256(password: bytes) -> str:
    return hashlib.sha256(password).hexdigest()


def _hashes_of(rules: Sequence[str]) -> tuple[str, ...]:
    """The passwords of the default user, whose rules must give it everything else."""
    hashes: list[str] = []
    nopass = False
    rights: set[str] = set()
    for rule in rules:
        word = rule.lower()
        if word == "nopass":
            hashes, nopass = [], True
        elif rule.startswith(">"):
            hashes, nopass = [*hashes, _sha256(resp.text(rule[1:]))], False
        elif re.fullmatch(r"#[0-9a-f]{64}", rule):
            hashes, nopass = [*hashes, rule[1:]], False
        elif word in _FULL_RIGHTS:
            rights.add(word)
        else:
            raise StartupError(UNENFORCED)
    everything = "on" in rights and rights & {"+@all", "allcommands"} and rights & {"&*", "allchannels"}
    if not everything or not (hashes or nopass):
        raise StartupError(UNENFORCED)
    return tuple(dict.fromkeys(hashes))
