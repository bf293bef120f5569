"""CLIENT TRACKING and its relatives: there are no keys to track here, but libraries ask for its modes (3.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from attrs import frozen

from trio_sentinel.runtime.session_outbox import Reply
from trio_sentinel.wire import resp
from trio_sentinel.wire.requests import NOT_INTEGER, refuse
from trio_sentinel.wire.resp import Argv, strict_int, told

if TYPE_CHECKING:
    from trio_sentinel.runtime.session import Session

MAX_PREFIXES: Final = 256  # of one client; stock has no limit
_OVERLAP: Final = "Prefix '{}' overlaps with {} prefix '{}'. Prefixes for a single client must not overlap."
_SWITCH: Final = (
    "You can't switch {} before disabling tracking for this client, and then re-enabling it with a different mode."
)
_MODES: Final = (b"bcast", b"optin", b"optout", b"noloop")


@frozen(kw_only=True)
class Tracking:
    """What a client asked for. `redirect` is the number of another client, 0 for none."""

    modes: frozenset[bytes] = frozenset()
    redirect: int = 0
    prefixes: tuple[bytes, ...] = ()
    caching: bool = False
    """CLIENT CACHING was said for the next command."""


def tracking(session: Session, argv: Argv) -> Reply:
    """CLIENT TRACKING ON|OFF [REDIRECT id] [PREFIX p ...] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]."""
    asked = _options(session, argv[3:])
    word = argv[2].lower()
    if word == b"off":
        session.tracking = None
    elif word == b"on":
        session.tracking = _joined(session.tracking or Tracking(), asked, is_on=session.tracking is not None)
    else:
        raise refuse("syntax error")
    return resp.OK


def _options(session: Session, words: Argv) -> Tracking:
    modes: set[bytes] = set()
    redirect, prefixes, at = 0, list[bytes](), 0
    while at < len(words):
        word, has_value = words[at].lower(), at + 1 < len(words)
        if word == b"redirect" and has_value:
            if redirect:
                raise refuse("A client can only redirect to a single other client")
            redirect = _existing(session, words[at + 1])
            at += 1
        elif word == b"prefix" and has_value:
            prefixes.append(words[at + 1])
            at += 1
        elif word in _MODES:
            modes.add(word)
        else:
            raise refuse("syntax error")
        at += 1
    return Tracking(modes=frozenset(modes), redirect=redirect, prefixes=tuple(prefixes))


def _existing(session: Session, word: bytes) -> int:
    number = strict_int(word)
    if number is None:
        raise refuse(NOT_INTEGER)
    if number not in session.house.clients.sessions:
        raise refuse("The client ID you want redirect to does not exist")
    return number


def _joined(known: Tracking, asked: Tracking, *, is_on: bool) -> Tracking:
    """What a client has after asking for `asked`; prefixes add up. Refuses contradictions."""
    broadcast = b"bcast" in asked.modes
    opts = asked.modes & {b"optin", b"optout"}
    if asked.prefixes and not broadcast:
        raise refuse("PREFIX option requires BCAST mode to be enabled")
    if is_on and broadcast != (b"bcast" in known.modes):
        raise refuse(_SWITCH.format("BCAST mode on/off"))
    if broadcast and opts:
        raise refuse("OPTIN and OPTOUT are not compatible with BCAST")
    if len(opts) == 2:
        raise refuse("You can't specify both OPTIN mode and OPTOUT mode")
    before = known.modes & {b"optin", b"optout"}
    if opts and before and opts != before:
        raise refuse(_SWITCH.format("OPTIN/OPTOUT mode"))
    prefixes = known.prefixes
    if broadcast:
        _check_overlap(known.prefixes, asked.prefixes)
        prefixes = tuple(sorted({*known.prefixes, *(asked.prefixes or (b"",))}))
        if len(prefixes) > MAX_PREFIXES:
            raise refuse("Too many prefixes for a single client")
    return Tracking(modes=asked.modes, redirect=asked.redirect, prefixes=prefixes)


def _check_overlap(known: tuple[bytes, ...], asked: tuple[bytes, ...]) -> None:
    for at, prefix in enumerate(asked):
        for what, others in (("an existing", known), ("another provided", asked[at + 1 :])):
            for other in others:
                if prefix.startswith(other) or other.startswith(prefix):
                    raise refuse(_OVERLAP.format(told(prefix), what, told(other)))


def trackinginfo(session: Session, argv: Argv) -> Reply:
    """CLIENT TRACKINGINFO."""
    known = session.tracking
    flags = [b"off"]
    if known is not None:
        flags = [b"on", *(mode for mode in _MODES if mode in known.modes)]
        if known.caching:
            flags.insert(2, b"caching-yes" if b"optin" in known.modes else b"caching-no")
    pairs = [
        (resp.bulk("flags"), resp.set_of([resp.bulk(flag) for flag in flags], session.proto)),
        (resp.bulk("redirect"), resp.integer(-1 if known is None else known.redirect)),
        (resp.bulk("prefixes"), resp.bulks(() if known is None else known.prefixes)),
    ]
    return resp.mapping(pairs, session.proto)


def getredir(session: Session, argv: Argv) -> Reply:
    """CLIENT GETREDIR."""
    return resp.integer(-1 if session.tracking is None else session.tracking.redirect)


def caching(session: Session, argv: Argv) -> Reply:
    """CLIENT CACHING YES|NO."""
    known = session.tracking
    if known is None:
        raise refuse(
            "CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled"
        )
    word = argv[2].lower()
    mode = {b"yes": b"optin", b"no": b"optout"}.get(word)
    if mode is None:
        raise refuse("syntax error")
    if mode not in known.modes:
        told_mode = mode.decode().upper()
        raise refuse(f"CLIENT CACHING {told(word).upper()} is only valid when tracking is enabled in {told_mode} mode.")
    session.tracking = Tracking(modes=known.modes, redirect=known.redirect, prefixes=known.prefixes, caching=True)
    return resp.OK


def after(command: str, known: Tracking) -> Tracking:
    """What is left once `command` has run: CLIENT CACHING speaks of one command that is not of CLIENT itself."""
    if not known.caching or command.startswith("client|"):
        return known
    return Tracking(modes=known.modes, redirect=known.redirect, prefixes=known.prefixes)


Run = Callable[["Session", Argv], Reply]

HANDLERS: Final[dict[str, Run]] = {
    "client|caching": caching,
    "client|getredir": getredir,
    "client|tracking": tracking,
    "client|trackinginfo": trackinginfo,
}
"""By full name."""
