"""Which command a request means, and why it does not run (commands.md 1.5, 1.6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from trio_sentinel.runtime.session_acl import note_denial
from trio_sentinel.wire import resp
from trio_sentinel.wire.commands import Command
from trio_sentinel.wire.resp import Argv

if TYPE_CHECKING:
    from trio_sentinel.runtime.session import Session

_IN_PUBSUB: Final = frozenset({"subscribe", "psubscribe", "unsubscribe", "punsubscribe", "ping"})
_ATTACKS: Final = (b"post", b"host:")


def is_attack(argv: Argv) -> bool:
    """Whether a browser was made to send this: the first line of HTTP, or a header of it."""
    return argv[0].lower() in _ATTACKS


def find(commands: Mapping[bytes, Command], argv: Argv) -> tuple[Command | None, str | None]:
    """The command or subcommand that is meant, and what is wrong with the request."""
    command = commands.get(argv[0].lower())
    if command is None:
        return None, unknown_command(argv)
    if command.subcommands and len(argv) > 1:
        sub = command.subcommands.get(argv[1].lower())
        if sub is None:
            shown = resp.told(argv[1][:128])
            return None, f"ERR unknown subcommand '{shown}'. Try {resp.told(argv[0]).upper()} HELP."
        command = sub
    if not command.accepts(len(argv)):
        return command, f"ERR wrong number of arguments for '{command.name}' command"
    return command, None


def forbidden(session: Session, command: Command | None, wrong: str | None, argv: Argv) -> str | None:
    """Why a request does not run: the text of an error. `wrong` is what `find` found."""
    if session.user is None and (command is None or not command.no_auth):
        return "NOAUTH Authentication required."
    if command is None or wrong is not None:
        return wrong
    denial = None if session.user is None else session.user.denial(command, argv)
    if session.user is not None and denial is not None:
        note_denial(session, denial, session.user.name)
        if denial.reason == "channel":
            return "NOPERM No permissions to access a channel"
        return f"NOPERM User {session.user.name} has no permissions to run the '{command.name}' command"
    if command.name not in _IN_PUBSUB and session.in_pubsub:
        return (
            f"ERR Can't execute '{command.name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET "
            "are allowed in this context"
        )
    return None


def unknown_command(argv: Argv) -> str:
    """The error for a command that does not exist (1.6)."""
    shown = b""
    for word in argv[1:]:
        if len(shown) >= 128:
            break
        shown += b"'%b' " % word[: 128 - len(shown)]
    return f"ERR unknown command '{resp.told(argv[0][:128])}', with args beginning with: {resp.told(shown)}"
