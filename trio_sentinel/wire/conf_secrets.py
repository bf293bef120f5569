"""What of a line of sentinel.conf may be shown: the report of a fatal error goes to a terminal, a journal or a log.

Stock shows the whole line. A password that is there because of a forgotten quote need not be in a log for ever.
"""

from __future__ import annotations

import re
from typing import Final

from trio_sentinel.wire.requests import MASK

_OPTIONAL_QUOTE: Final = r"[\"']?"
_BEGINS: Final = re.compile(
    r"\s*(?:"
    + "|".join(
        r"\s+".join(_OPTIONAL_QUOTE + word + _OPTIONAL_QUOTE for word in words.split())
        for words in (
            "requirepass",
            "masterauth",
            "primaryauth",
            "tls-key-file-pass",
            "tls-client-key-file-pass",
            r"sentinel auth-pass \S+",
            "sentinel sentinel-pass",
        )
    )
    + r")\s+(?=\S)",
    re.IGNORECASE,
)
_USER: Final = re.compile(rf"\s*{_OPTIONAL_QUOTE}user{_OPTIONAL_QUOTE}\s+\S+\s", re.IGNORECASE)
_PASSWORD_RULE: Final = re.compile(r"(?<!\S)[\"']?[><#!]")


def shown_line(line: str) -> str:
    """`line` with a mask in the place of what may be a password, to the end of the line if need be."""
    secret = _BEGINS.match(line)
    if secret is None and (user := _USER.match(line)) is not None:
        secret = _PASSWORD_RULE.search(line, user.end() - 1)
    if secret is None:
        return line
    return line[: secret.end()] + MASK


def shown_rule(rule: str) -> str:
    """A word of a ``user`` line; a mask in the place of a password."""
    return rule[:1] + MASK if rule[:1] in ("<", ">", "#", "!") else rule
