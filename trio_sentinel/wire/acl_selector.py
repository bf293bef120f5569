"""One rule set of an ACL user: which commands it allows, on which channels (commands.md 6.2-6.4).

1. Pure values: a rule makes a new `Selector` or raises `BadRule` with stock's reason.
2. Commands keep the names of the table before ``rename-command``, as in stock: a renaming opens and closes nothing.
3. Keys and databases are kept to be shown again; no command of this port uses any.
4. What is printed can be read again by `allowing`, and allows the same: no word with white space or quotes is taken.

Rules are kept in the order given, as Valkey 9 does: a later rule takes the place of an earlier one about the same
command or category, and a rule for a command with subcommands takes the place of those about its subcommands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from attrs import evolve, frozen

from trio_sentinel.wire import glob
from trio_sentinel.wire.commands import CATEGORIES, COMMANDS, Command, every, find
from trio_sentinel.wire.resp import Argv

SYNTAX: Final = "Syntax error"
UNKNOWN: Final = "Unknown command or category name in ACL"
_FIRST_ARGUMENT: Final = "Allowing first-arg of a subcommand is not supported"
_NO_SUCH_DATABASE: Final = "The provided database ID is out of range"
_AFTER_ALL: Final = (
    "Adding a pattern after the * pattern (or the '{all}' flag) is not valid and does not have any effect. "
    "Try '{reset}' to start with an empty list of {what}"
)

_BREAKS: Final = re.compile(rb"[\s\0]")
_BREAKS_OR_QUOTES: Final = re.compile(rb"[\s\0\"']")
_DATABASE: Final = re.compile(rb"\s*[+-]?[0-9]{1,30}")
_MAX_DATABASE: Final = 2**31 - 1
_READ, _WRITE = 1, 2

NAMES: Final = frozenset(command.name for command in every(COMMANDS))
"""Every command and subcommand that can be allowed."""


class BadRule(Exception):
    """A rule that cannot be applied; `reason` is stock's."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@frozen
class Denial:
    """Why a request is refused: ``command`` or ``channel``, the object of the refusal, and where it stands."""

    reason: str
    object: bytes
    place: int = 0


@frozen(kw_only=True)
class Selector:
    """A rule set. `start` is whether the printed rules begin with ``+@all``."""

    start: bool = False
    rules: tuple[bytes, ...] = ()
    allowed: frozenset[str] = frozenset()
    first_words: tuple[tuple[str, bytes], ...] = ()
    """Commands that are allowed only with a certain first argument, in lower case."""
    all_channels: bool = False
    channels: tuple[bytes, ...] = ()
    all_keys: bool = False
    keys: tuple[tuple[bytes, int], ...] = ()
    all_databases: bool = True
    databases: tuple[int, ...] = ()

    # ------------------------------------------------------------ deciding

    @property
    def unrestricted(self) -> bool:
        """Whether everything is allowed everywhere."""
        return self.all_channels and self.allowed == NAMES

    @property
    def size(self) -> int:
        """How many rules there are."""
        return len(self.rules) + len(self.channels) + len(self.keys) + len(self.databases)

    def denial(self, command: Command, argv: Argv) -> Denial | None:
        """Why a request with the right number of words may not run; None when it may."""
        if command.name not in self.allowed and not command.no_auth and not self._allows_first_word(command, argv):
            return Denial("command", command.name.encode())
        if self.all_channels or command.name not in _CHANNELS:
            return None
        for place, channel in _CHANNELS[command.name](argv):
            if not self.may_hear(channel, pattern=command.name == "psubscribe"):
                return Denial("channel", channel, place)
        return None

    def may_hear(self, channel: bytes, *, pattern: bool) -> bool:
        """Whether a channel fits; a pattern must be one of ours to the letter (6.2)."""
        if self.all_channels:
            return True
        if pattern:
            return channel in self.channels
        return any(glob.matches(known, channel) for known in self.channels)

    def _allows_first_word(self, command: Command, argv: Argv) -> bool:
        if not self.first_words or len(argv) < 2:
            return False
        return (command.name, argv[1].lower()) in self.first_words

    # ------------------------------------------------------------ showing

    @property
    def shown_keys(self) -> bytes:
        """As in GETUSER. ``~*`` with patterns behind it could not be read again, and stock writes such files."""
        if self.all_keys:
            return b"~*"
        signs = {_READ: b"%R~", _WRITE: b"%W~", _READ | _WRITE: b"~"}
        *shown, last = [signs[rights] + pattern for pattern, rights in self.keys] or [b""]
        return b" ".join((*(b"%RW~*" if pattern == b"~*" else pattern for pattern in shown), last))

    @property
    def shown_channels(self) -> bytes:
        """As in GETUSER."""
        return b"&*" if self.all_channels else b" ".join(b"&" + pattern for pattern in self.channels)

    @property
    def shown_databases(self) -> bytes:
        """As in GETUSER; empty when no database is allowed."""
        if self.all_databases:
            return b"alldbs"
        return b"db=" + b",".join(b"%d" % number for number in self.databases) if self.databases else b""

    @property
    def shown_commands(self) -> bytes:
        """The rules about commands, as in GETUSER."""
        return b" ".join((b"+@all" if self.start else b"-@all", *self.rules))

    @property
    def words(self) -> bytes:
        """The whole rule set as in ACL LIST."""
        parts = [self.shown_keys] if self.shown_keys else []
        if not self.all_channels:
            parts.append(b"resetchannels")
        if self.shown_channels:
            parts.append(self.shown_channels)
        if not self.all_databases:
            parts.append(self.shown_databases or b"resetdbs")
        return b" ".join((*parts, self.shown_commands))

    # ------------------------------------------------------------ changing

    def allowing(self, rule: bytes) -> Selector:
        """With one more rule. Raises BadRule."""
        fixed = _FIXED.get(rule.lower())
        if fixed is not None:
            return evolve(self, **fixed)
        if rule[:3].lower() == b"db=":
            return evolve(self, all_databases=False, databases=_databases(rule[3:]))
        match rule[:1]:
            case b"~" | b"%":
                return self._with_key(rule)
            case b"&":
                return self._with_channel(rule[1:])
            case b"+":
                return self._with_command(rule[1:])
            case b"-":
                return self._without_command(rule[1:])
            case _:
                raise BadRule(SYNTAX)

    def _with_key(self, rule: bytes) -> Selector:
        if self.all_keys:
            raise BadRule(_AFTER_ALL.format(all="allkeys", reset="resetkeys", what="patterns"))
        found = re.fullmatch(rb"(?:%([rRwW]+))?~(.*)", rule, re.DOTALL)
        if found is None or _BREAKS.search(found[2]):
            raise BadRule(SYNTAX)
        letters = (found[1] or b"RW").upper()
        rights = (_READ if b"R" in letters else 0) | (_WRITE if b"W" in letters else 0)
        known = dict(self.keys)
        known[found[2]] = known.get(found[2], 0) | rights
        return evolve(self, keys=tuple(known.items()))

    def _with_channel(self, pattern: bytes) -> Selector:
        if self.all_channels:
            raise BadRule(_AFTER_ALL.format(all="allchannels", reset="resetchannels", what="channels"))
        if _BREAKS.search(pattern):
            raise BadRule(SYNTAX)
        return evolve(self, channels=tuple(dict.fromkeys((*self.channels, pattern))))

    def _with_command(self, spec: bytes) -> Selector:
        names = _meant(spec)
        if names is not None:
            return self._changed(b"+", spec, names, allowed=self.allowed | names)
        holder, bar, word = spec.rpartition(b"|")
        command = find(COMMANDS, holder) if bar else None
        if command is None:
            raise BadRule(UNKNOWN)
        if b"|" in holder:
            raise BadRule(_FIRST_ARGUMENT)
        if not word or _BREAKS_OR_QUOTES.search(word):  # Stock crashes of the latter as soon as it prints the user.
            raise BadRule(SYNTAX)
        if command.subcommands:
            raise BadRule(UNKNOWN)
        pair = (command.name, word.lower())
        first_words = (*(known for known in self.first_words if known != pair), pair)  # in the order of the rules
        return evolve(self, rules=_replaced(self.rules, b"+", spec), first_words=first_words)

    def _without_command(self, spec: bytes) -> Selector:
        names = _meant(spec)
        if names is None:
            raise BadRule(UNKNOWN)
        return self._changed(b"-", spec, names, allowed=self.allowed - names)

    def _changed(self, sign: bytes, spec: bytes, names: frozenset[str], *, allowed: frozenset[str]) -> Selector:
        """With a rule about `names`; it ends what was said about their first arguments."""
        first_words = tuple(pair for pair in self.first_words if pair[0] not in names)
        return evolve(self, rules=_replaced(self.rules, sign, spec), allowed=allowed, first_words=first_words)


_EVERY_COMMAND: Final[dict[str, Any]] = {"start": True, "rules": (), "allowed": NAMES, "first_words": ()}
_NO_COMMAND: Final[dict[str, Any]] = {"start": False, "rules": (), "allowed": frozenset(), "first_words": ()}
_FIXED: Final[dict[bytes, dict[str, Any]]] = {
    b"+@all": _EVERY_COMMAND,
    b"allcommands": _EVERY_COMMAND,
    b"-@all": _NO_COMMAND,
    b"nocommands": _NO_COMMAND,
    b"&*": {"all_channels": True, "channels": ()},
    b"allchannels": {"all_channels": True, "channels": ()},
    b"resetchannels": {"all_channels": False, "channels": ()},
    b"~*": {"all_keys": True, "keys": ()},
    b"allkeys": {"all_keys": True, "keys": ()},
    b"resetkeys": {"all_keys": False, "keys": ()},
    b"alldbs": {"all_databases": True, "databases": ()},
    b"resetdbs": {"all_databases": False, "databases": ()},
}
"""Rules that say the same whatever was said before."""


def _after_name(argv: Argv) -> Iterator[tuple[int, bytes]]:
    return enumerate(argv[1:], 1)


def _only_first(argv: Argv) -> Iterator[tuple[int, bytes]]:
    return enumerate(argv[1:2], 1)


_CHANNELS: Final[dict[str, Callable[[Argv], Iterator[tuple[int, bytes]]]]] = {
    "subscribe": _after_name,
    "psubscribe": _after_name,
    "publish": _only_first,
}
"""The channels of a request, each with its place. Who unsubscribes needs no right."""


def _meant(spec: bytes) -> frozenset[str] | None:
    """The commands that ``@category``, ``name`` or ``container|sub`` stands for; None when there is no such thing."""
    if spec.startswith(b"@"):
        return _CATEGORY_NAMES.get(spec[1:].lower())
    command = find(COMMANDS, spec)
    return None if command is None else _with_subcommands(command)


def _with_subcommands(command: Command) -> frozenset[str]:
    return frozenset((command.name, *(sub.name for sub in command.subcommands.values())))


def _names_of(category: str) -> frozenset[str]:
    """A container in the category brings all its subcommands, also those that are not in it themselves (6.2)."""
    members = [command for command in every(COMMANDS) if "@" + category in command.categories]
    return frozenset(name for command in members for name in _with_subcommands(command))


_CATEGORY_NAMES: Final = {category.encode(): _names_of(category) for category in CATEGORIES}


def _replaced(rules: Sequence[bytes], sign: bytes, spec: bytes) -> tuple[bytes, ...]:
    """`rules` without those that `spec` overrules, and with it."""
    name = spec.lower()
    inner = name + b"|"
    return (*(rule for rule in rules if rule[1:] != name and not rule[1:].startswith(inner)), sign + name)


def _databases(text: bytes) -> tuple[int, ...]:
    """The numbers of ``db=``, sorted."""
    numbers: set[int] = set()
    for word in text.split(b","):
        if not _DATABASE.fullmatch(word):
            raise BadRule(SYNTAX)
        number = int(word)
        if not 0 <= number <= _MAX_DATABASE:
            raise BadRule(_NO_SUCH_DATABASE)
        numbers.add(number)
    return tuple(sorted(numbers))
