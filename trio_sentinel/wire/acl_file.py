"""Users as text: the ``user`` lines of sentinel.conf and the ACL file, with the errors that stock reports for them.

An ACL file is split at single blanks and knows neither quotes nor comments; a line of sentinel.conf has been split
into words before it comes here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from trio_sentinel.errors import StartupError
from trio_sentinel.wire.acl_selector import UNKNOWN, Selector
from trio_sentinel.wire.acl_user import BadWord, Unmatched, User, is_name, merged
from trio_sentinel.wire.requests import MASK
from trio_sentinel.wire.resp import text, told

DEFAULT: Final = "default"
_UNCHANGED: Final = "WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
_BLANKS: Final = b" \t\r\n"

Users = Mapping[str, User]


class BadFile(Exception):
    """An ACL file that cannot be used; the message names every bad line."""


def shown_rule(rule: str) -> str:
    """A rule as it may stand in a log: without the password or hash in it, unlike in stock."""
    return rule[0] + MASK if rule.startswith((">", "<", "#", "!")) else rule


def fresh_selector(pubsub_default: str) -> Selector:
    """The root of a new user under ``acl-pubsub-default``."""
    return Selector(all_channels=pubsub_default == "allchannels")


def default_user(password: str = "") -> User:
    """The user that exists without a line: everything is allowed, to everybody or to who knows ``requirepass``."""
    words = b"on ~* &* +@all nopass".split()
    if password:
        words.append(b">" + text(password))
    return User(name=DEFAULT).changed(words, Selector())


# ---------------------------------------------------------------- sentinel.conf


def problem_of_line(words: Sequence[str], fresh: Selector) -> tuple[str, str] | None:
    """What is wrong with a ``user`` line, name first: the word that stock blames, and why.

    Stock blames the word two before the bad one, and leaves commands that do not exist to the start (`users_of`).
    """
    blamed = ("user", *words)
    try:
        rules = merged([text(word) for word in words[1:]])
    except Unmatched as open_one:
        return shown_rule(blamed[open_one.place]), "Wrong format"
    try:
        User(name=words[0]).changed(rules, fresh)
    except BadWord as bad:
        return None if bad.reason == UNKNOWN else (shown_rule(blamed[bad.place]), bad.reason)
    return None


def users_of(lines: Iterable[Sequence[str]], fresh: Selector, *, password: str) -> dict[str, User]:
    """The users of a configuration whose lines were judged by `problem_of_line`.

    Raises:
        StartupError: a name or a command cannot be.
    """
    users = {DEFAULT: default_user(password)}
    for name, *words in lines:
        if not is_name(name):
            raise StartupError("Spaces not allowed in ACL usernames", _CRITICAL)
        try:
            users[name] = User(name=name, root=fresh).changed(merged([text(word) for word in words]), fresh)
        except BadWord as bad:
            rule = shown_rule(told(bad.word))
            problem = f"Error loading ACL rule '{rule}' for the user named '{name}': {bad.reason}"
            raise StartupError(problem, _CRITICAL) from None
    return users


_CRITICAL: Final = "Critical error while loading ACLs. Exiting."


def line_words(user: User) -> tuple[str, ...]:
    """A user as the words of a ``user`` line, name first. No rule holds a blank."""
    return (user.name, *(told(word) for word in user.words.split(b" ")))


# ---------------------------------------------------------------- the ACL file


def read_file(content: bytes, path: str, fresh: Selector) -> dict[str, User]:
    """The users of an ACL file; the default user is there also without a line of its own.

    Raises:
        BadFile: with one message for each bad line.
    """
    users: dict[str, User] = {}
    problems: list[str] = []
    for number, raw in enumerate(content.split(b"\n"), 1):
        line = raw.strip(_BLANKS)
        if not line:
            continue
        place = f"{path}:{number}"
        words = line.split(b" ")
        name = told(words[1]) if len(words) > 1 else ""
        if words[0] != b"user" or len(words) < 2:
            problems.append(f"{place} should start with user keyword followed by the username. ")
        elif name in users:
            problems.append(f"WARNING: Duplicate user '{name}' found on line {number}. ")
        elif not is_name(name):
            problems.append(f"'{place}: username '{name}' contains invalid characters. ")
        else:
            users[name], wrong = _applied(User(name=name, root=fresh), words[2:], place, fresh)
            problems += wrong
    if problems:
        raise BadFile("".join(problems) + _UNCHANGED)
    return {DEFAULT: default_user(), **users}


def _applied(user: User, words: Sequence[bytes], place: str, fresh: Selector) -> tuple[User, list[str]]:
    """`user` after all words of a line that can be applied, and what is wrong with the others."""
    try:
        rules = merged([word.strip(b"\t\r\n") for word in words])
    except Unmatched:
        return user, [f"{place}: Unmatched parenthesis in selector definition."]
    problems: dict[str, None] = {}
    for rule in rules:
        try:
            user = user.changed((rule,), fresh)
        except BadWord as bad:
            doing = f"Error in applying operation '{told(bad.word)}': " if bad.reason == UNKNOWN else ""
            problems[f"{place}: {doing}{bad.reason}. "] = None
    return user, list(problems)


def write_file(users: Users) -> bytes:
    """The content of an ACL file, sorted by name."""
    return b"".join(line + b"\n" for line in lines_of(users))


def lines_of(users: Users) -> list[bytes]:
    """The lines of ACL LIST."""
    return [users[name].line for name in sorted(users, key=text)]
