"""Who may do what on the client port: the users that exist now, as sessions hold on to them.

1. An `Account` stays the same object while its user's rules change, so that a session sees every change at its next
   command, and none after its user was deleted (`session_acl` closes it then).
2. The rules themselves are values (`wire.acl_user.User`); `Roster.users` is replaced whole, so that the thread that
   saves the configuration may read it at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field

from trio_sentinel.wire import acl_file
from trio_sentinel.wire.acl_selector import Denial, Selector
from trio_sentinel.wire.acl_user import User, digest_of
from trio_sentinel.wire.commands import Command
from trio_sentinel.wire.resp import Argv, told

MAX_PROVEN = 256


@define(eq=False)
class Account:
    """One user while it exists."""

    user: User
    unrestricted: bool = field(init=False)
    """Whether every request is allowed; lets frequent requests skip the question."""
    proven: set[bytes] = field(factory=set, init=False)
    """Received chunks whose requests were all found to be allowed under the present rules."""

    def __attrs_post_init__(self) -> None:
        self.unrestricted = self.user.unrestricted

    @property
    def name(self) -> str:
        """As in ACL WHOAMI."""
        return self.user.name

    def become(self, user: User) -> None:
        """The rules were changed."""
        self.user = user
        self.unrestricted = user.unrestricted
        self.proven.clear()

    def denial(self, command: Command, argv: Argv) -> Denial | None:
        """Why a request may not run; None when it may."""
        return None if self.unrestricted else self.user.denial(command, argv)

    def prove(self, chunk: bytes) -> None:
        """All requests in `chunk` were allowed under the present rules."""
        if not self.unrestricted:
            if len(self.proven) >= MAX_PROVEN:
                self.proven.clear()
            self.proven.add(chunk)


def names_in(certificate: Mapping[str, Any], field_name: str) -> list[str]:
    """The user names in a verified certificate, as `ssl` shows it: the common name (``CN``), or all ``URI`` entries."""
    if field_name == "CN":
        return [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    if field_name == "URI":
        return [value for key, value in certificate.get("subjectAltName", ()) if key == "URI"]
    return []


class Roster:
    """All users."""

    def __init__(self, users: Mapping[str, User], fresh: Selector = Selector()) -> None:  # noqa: B008 - a frozen value
        self.users: Mapping[str, User] = dict(users)
        self.fresh = fresh
        """The root of a new user."""
        self._accounts = {name: Account(user) for name, user in users.items()}

    # ------------------------------------------------------------ who gets in

    @property
    def passwordless(self) -> bool:
        """Whether the default user has no password, be it enabled or not."""
        return self.users[acl_file.DEFAULT].nopass

    @property
    def open(self) -> bool:
        """Whether a new connection need not log in."""
        default = self.users[acl_file.DEFAULT]
        return default.nopass and default.enabled

    def guest(self) -> Account | None:
        """Who a new connection is; None when it must log in first."""
        return self._accounts[acl_file.DEFAULT] if self.open else None

    def login(self, name: bytes, password: bytes) -> Account | None:
        """The user with that name and password; None when there is none or it is disabled."""
        account = self._accounts.get(told(name))
        if account is None:
            digest_of(password)  # as much work as for a user that exists
            return None
        return account if account.user.lets_in(password) else None

    def certified(self, names: Sequence[str]) -> Account | None:
        """The first enabled user that a verified certificate names; it needs no password."""
        known = (self._accounts.get(name) for name in names)
        return next((account for account in known if account is not None and account.user.enabled), None)

    # ------------------------------------------------------------ changes

    def account(self, name: str) -> Account | None:
        """The user called so."""
        return self._accounts.get(name)

    def put(self, user: User) -> None:
        """Create a user, or change one."""
        self.users = {**self.users, user.name: user}
        account = self._accounts.get(user.name)
        if account is None:
            self._accounts[user.name] = Account(user)
        else:
            account.become(user)

    def remove(self, name: str) -> bool:
        """Forget a user; whether there was one. The default user must stay."""
        assert name != acl_file.DEFAULT
        self.users = {known: user for known, user in self.users.items() if known != name}
        return self._accounts.pop(name, None) is not None

    def put_all(self, users: Mapping[str, User]) -> None:
        """These users and no others."""
        for name in self.users.keys() - users.keys():
            self.remove(name)
        for user in users.values():
            self.put(user)

    @property
    def lines(self) -> tuple[tuple[str, ...], ...]:
        """The words of the ``user`` lines of a configuration. May be read by another thread."""
        return tuple(map(acl_file.line_words, self.users.values()))
