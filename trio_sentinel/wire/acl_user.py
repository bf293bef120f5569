"""ACL users as values: passwords, a root rule set and selectors; the words of SETUSER -> user -> the line of ACL LIST.

1. All words are applied or none: `User.changed` returns a new user or raises `BadWord`.
2. Passwords are kept as SHA-256 in hex and compared in a time that does not depend on where they differ.
3. Nothing here knows who is connected, or any file.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from typing import Final

from attrs import evolve, field, frozen

from trio_sentinel.wire import conf_lexer
from trio_sentinel.wire.acl_selector import SYNTAX, BadRule, Denial, Selector
from trio_sentinel.wire.commands import Command
from trio_sentinel.wire.resp import Argv, text

MAX_RULES: Final = 1024
"""Of one user, passwords included. Stock has no limit; here each further rule is compared with all before it."""
_TOO_MANY: Final = "Too many rules for one user"
BAD_NAME: Final = "Usernames can't contain spaces or null characters"
_BAD_HASH: Final = "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
_NO_SUCH_PASSWORD: Final = "The password you are trying to remove from the user does not exist"
_HASH: Final = re.compile(rb"[0-9a-f]{64}")
_UNREADABLE: Final = re.compile(rb"[\"']|\)$")
_BAD_IN_NAME: Final = re.compile(r"[\s\0]")


class BadWord(Exception):
    """A word of SETUSER that cannot be applied: its place among the merged words, itself, and stock's reason."""

    def __init__(self, place: int, word: bytes, reason: str) -> None:
        self.place = place
        self.word = word
        self.reason = reason
        super().__init__(reason)


class Unmatched(Exception):
    """A selector that is never closed; `place` and `word` are those of its opening."""

    def __init__(self, place: int, word: bytes) -> None:
        self.place = place
        self.word = word
        super().__init__("unmatched parenthesis")


def digest_of(password: bytes) -> str:
    """How a password is kept."""
    return hashlib.sha256(password).hexdigest()


def is_name(name: str) -> bool:
    """Whether a user may be called so."""
    return not _BAD_IN_NAME.search(name)


def merged(words: Sequence[bytes]) -> list[bytes]:
    """`words` with the parts of each spread selector joined. Raises Unmatched."""
    found: list[bytes] = []
    opening: int | None = None
    for place, word in enumerate(words):
        if opening is not None:
            found[-1] += b" " + word
            if word.endswith(b")"):
                opening = None
            continue
        found.append(word)
        if word.startswith(b"(") and not word.endswith(b")"):
            opening = place
    if opening is not None:
        raise Unmatched(opening, words[opening])
    return found


@frozen(kw_only=True)
class User:
    """One user. A new one is off, without passwords, and may do nothing."""

    name: str
    enabled: bool = False
    nopass: bool = False
    hashes: tuple[str, ...] = field(default=(), repr=False)
    root: Selector = field(factory=Selector)
    selectors: tuple[Selector, ...] = ()

    # ------------------------------------------------------------ deciding

    @property
    def unrestricted(self) -> bool:
        """Whether no request has to be looked at."""
        return self.root.unrestricted

    def denial(self, command: Command, argv: Argv) -> Denial | None:
        """Why a request may not run; None as soon as one rule set allows it. The furthest refusal is the one told."""
        worst = self.root.denial(command, argv)
        for selector in self.selectors:
            if worst is None:
                return None
            found = selector.denial(command, argv)
            if found is None:
                return None
            if (found.reason == "channel", found.place) > (worst.reason == "channel", worst.place):
                worst = found
        return worst

    def may_hear(self, channel: bytes, *, pattern: bool) -> bool:
        """Whether a subscription may stay."""
        return any(selector.may_hear(channel, pattern=pattern) for selector in (self.root, *self.selectors))

    def lets_in(self, password: bytes) -> bool:
        """Whether somebody with that password is this user. Looks at every hash, whichever fits."""
        mine = digest_of(password)
        fits = [hmac.compare_digest(mine, known) for known in self.hashes]
        return self.enabled and (self.nopass or any(fits))

    @property
    def size(self) -> int:
        """How many rules and passwords this user has."""
        return len(self.hashes) + self.root.size + sum([1 + selector.size for selector in self.selectors])

    # ------------------------------------------------------------ showing

    @property
    def flags(self) -> tuple[str, ...]:
        """As in GETUSER."""
        return ("on" if self.enabled else "off", *(("nopass",) if self.nopass else ()))

    @property
    def words(self) -> bytes:
        """The rules that make this user of a new one, as in ACL LIST."""
        parts = [flag.encode() for flag in self.flags]
        parts += [b"#" + digest.encode() for digest in self.hashes]
        parts.append(self.root.words)
        parts += [b"(" + selector.words + b")" for selector in self.selectors]
        return b" ".join(parts)

    @property
    def line(self) -> bytes:
        """As in ACL LIST and an ACL file."""
        return b"user " + text(self.name) + b" " + self.words

    # ------------------------------------------------------------ changing

    def changed(self, words: Iterable[bytes], fresh: Selector) -> User:
        """After `words`, whose selectors are merged. `fresh` is the root of a new user.

        Raises:
            BadWord: one cannot be applied.
        """
        user = self
        for place, word in enumerate(words):
            try:
                user = user._after(word, fresh)
                if user.size > MAX_RULES:
                    raise BadRule(_TOO_MANY)
            except BadRule as bad:
                raise BadWord(place, word, bad.reason) from None
        return user

    def _after(self, word: bytes, fresh: Selector) -> User:
        match word.lower():
            case b"" | b"sanitize-payload" | b"skip-sanitize-payload":
                return self
            case b"on":
                return evolve(self, enabled=True)
            case b"off":
                return evolve(self, enabled=False)
            case b"nopass":
                return evolve(self, nopass=True, hashes=())
            case b"resetpass":
                return evolve(self, nopass=False, hashes=())
            case b"clearselectors":
                return evolve(self, selectors=())
            case b"reset":
                return User(name=self.name, root=fresh)
        match word[:1]:
            case b">":
                return self._with_hash(digest_of(word[1:]))
            case b"<":
                return self._without_hash(digest_of(word[1:]))
            case b"#":
                return self._with_hash(_checked_hash(word[1:]))
            case b"!":
                return self._without_hash(_checked_hash(word[1:]))
            case b"(":
                return evolve(self, selectors=(*self.selectors, _selector(word, fresh)))
            case _:
                return evolve(self, root=self.root.allowing(word))

    def _with_hash(self, digest: str) -> User:
        return evolve(self, nopass=False, hashes=tuple(dict.fromkeys((*self.hashes, digest))))

    def _without_hash(self, digest: str) -> User:
        if digest not in self.hashes:
            raise BadRule(_NO_SUCH_PASSWORD)
        return evolve(self, hashes=tuple(known for known in self.hashes if known != digest))


def _checked_hash(digest: bytes) -> str:
    if not _HASH.fullmatch(digest):
        raise BadRule(_BAD_HASH)
    return digest.decode()


def _selector(word: bytes, fresh: Selector) -> Selector:
    """The rule set in parentheses.

    Refused, unlike in stock: a quote that never closes (stock reads such a selector as empty), and words that could
    not be read again once they are printed.
    """
    if not word.endswith(b")"):
        raise BadRule(SYNTAX)
    selector = fresh
    try:
        rules = conf_lexer.split_line(word[1:-1])
    except conf_lexer.Unbalanced:
        raise BadRule(SYNTAX) from None
    for rule in rules:
        if _UNREADABLE.search(rule):
            raise BadRule(SYNTAX)
        selector = selector.allowing(rule)
        if selector.size > MAX_RULES:
            raise BadRule(_TOO_MANY)
    return selector
