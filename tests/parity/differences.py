"""The differences from stock that are accepted: a short list, each with the reason.

A difference in one reply is accepted when a rule fits the line that was sent and what stock answered. A rule that
explains nothing any more fails the run (`test_stories.py`), so this list cannot outlive its reasons.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from .stories import Heard


class Rule(NamedTuple):
    """`line` and `theirs` are patterns for the line and for what stock answered, searched in their printed forms."""

    name: str
    line: str
    theirs: str
    reason: str

    def explains(self, their: Heard) -> bool:
        """Whether this rule speaks of that answer."""
        fits = re.search(self.line, their.line, re.IGNORECASE)
        return bool(fits and re.search(self.theirs, repr(their.replies), re.DOTALL))


FROM_VALKEY9 = [
    Rule(
        "help of client",
        r"client help",
        r"CAPA.*IMPORT-SOURCE",
        "stock explains CAPA, IMPORT-SOURCE and NO-TOUCH, which do not exist on a sentinel port",
    ),
    Rule("all keys and more", r"acl (list|getuser)", r"~\* [~%]", "stock cannot read this again after ACL SAVE"),
]

_NINE = "9 is followed; it says more"
FROM_REDIS7 = [
    Rule(
        "name in hello", r"hello", r"\$'server' \$'redis' \$'version' \$'7\.0\.", "the version whose behaviour is given"
    ),
    Rule(
        "hello before authentication", r"hello", r"NOAUTH.*'HELLO AUTH|HELLO AUTH", "9 names the protocol version too"
    ),
    Rule(
        "name set in a refused hello",
        r"client getname",
        r"\$'me'",
        "7.0 keeps half of a refused HELLO; 9 keeps nothing",
    ),
    Rule(
        "authentication first",
        r"a (foo|quit|role x|sentinel foo|auth a b c)",
        r"unknown|wrong number",
        "order of 9 (1.5)",
    ),
    Rule("newer subcommands", r"setinfo|primar", r"unknown subcommand", "commands that came after 7.0"),
    Rule("newer filters", r"client (list|kill) ", r"syntax error|Invalid client ID|client-id should", "filters of 9"),
    Rule("ids that nobody can have", r"client list id", r"\$''", "9 refuses them"),
    Rule("unnamed by newer filters", r"^a (<|ping)|at the end", r"\(\)|PONG", "the filter above did nothing on 7.0"),
    Rule("fields of a client line", r"client (info|list)", r"id addr laddr fd name=\S* age idle flags=\S+ db", _NINE),
    Rule("more words for pause", r"client pause 1 write extra", r"unknown subcommand or wrong", "9 ignores them"),
    Rule("help of client", r"client help", r"'SETNAME'", "SETINFO is explained too"),
    Rule("info server", r"info", r"redis_mode:sentinel", "fields of 9 (5.1)"),
    Rule("info clients", r"info .*clients", r"# Clients", "fields of 9 (5.1)"),
    Rule("info stats", r"info .*stats", r"# Stats", "fields of 9 (5.1)"),
    Rule("info cpu", r"info .*cpu", r"# CPU", "fields of 9 (5.1)"),
    Rule("info sentinel", r"info .*sentinel", r"# Sentinel\\nsentinel_masters", "sentinel_total_tilt is new (5.1)"),
    Rule("words of shutdown", r"shutdown (failover|safe)", r"syntax error", "SAFE and FAILOVER came with 9"),
    Rule("command tables", r"a command( info| list| docs|$)", r"\*\[|%\[", "the table of 9 (2.1)"),
    Rule("command getkeys", r"command getkeys", r"wrong number of arguments", "one word is enough for 9"),
    Rule("databases in getuser", r"acl getuser", r"\$'flags'.*\$'selectors'", "database rules are new in 9"),
    Rule("new commands in a category", r"acl cat", r"acl\|deluser|acl\|cat|'client\|", "the table of 9 (2.1)"),
    Rule("texts of acl files", r"acl (save|load)", r"This Redis instance", "texts of 9 name no product"),
    Rule("refused commands", r"", r"this user has no permissions to run", "9 names the user"),
    Rule("refused channels", r"", r"access one of the channels used as arguments", "text of 9"),
    Rule("dry runs", r"acl dryrun", r"This user has no permissions", "9 names the user"),
    Rule("acl log", r"acl log", r"\$'count'", "9 adds an id and two times"),
    Rule(
        "rules of users", r"acl list", r"\$'user ", "9 keeps the rules as they were given; 7.0 works out others (6.3)"
    ),
    Rule(
        "forms of config",
        r"sentinel config",
        r"Only SENTINEL CONFIG GET <option>|wrong number",
        "several parameters (7.11)",
    ),
    Rule(
        "parameters of config",
        r"sentinel config (get|set)",
        r"resolve-hostnames|Invalid argument 'loglevel'|\*\[\]|%\[\]",
        "loglevel is new",
    ),
    Rule("control characters", r"\\\\x01|\\\\n|\\x01", r"", "9 refuses them"),
    Rule("options of set", r"primary-reboot", r"Unknown option", "the spelling of 9"),
    Rule("forms of failover", r"sentinel failover m1 \S+", r"wrong number of arguments", "COORDINATED came with 9"),
    Rule("help of sentinel", r"sentinel help", r"GET-MASTER-ADDR-BY-NAME", "9 explains the PRIMARY spellings"),
]

NOT_FOR_REDIS7 = {
    "6.2 databases": "database rules are new in 9",
    "7.7 control characters in monitor": "Redis 7.0 takes such names and then cannot read its own file",
    "6.1 who takes his own channel": "Redis 7.0 crashes of a subscriber that takes away its own right to a channel",
}


def unexplained(theirs: Sequence[Heard], ours: Sequence[Heard], rules: Sequence[Rule], used: set[str]) -> str | None:
    """The first difference between two tellings of one story that no rule explains; notes the rules it needed."""
    for their, our in zip(theirs, ours, strict=True):
        if their == our:
            continue
        rule = next((rule for rule in rules if rule.explains(their)), None)
        if rule is None:
            return f"{their.line}\n  stock: {their.shown}\n  ours:  {our.shown}"
        used.add(rule.name)
    return None
