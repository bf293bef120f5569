"""The subcommands of ACL that make sense while there is one user (commands.md 6.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from trio_sentinel.runtime.session_outbox import Reply
from trio_sentinel.wire import resp
from trio_sentinel.wire.commands import CATEGORIES, every
from trio_sentinel.wire.requests import NOT_INTEGER, refuse
from trio_sentinel.wire.resp import Argv, bulk, strict_int, told

if TYPE_CHECKING:
    from trio_sentinel.runtime.session import Session

_NO_FILE: Final = (
    "This instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command "
    "and then issue a CONFIG REWRITE (assuming you have a configuration file set) in order to store users in the "
    "configuration."
)
_BITS: Final = "ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096"


def _wrong(argv: Argv) -> str:
    return f"unknown subcommand or wrong number of arguments for '{told(argv[1])}'. Try ACL HELP."


def whoami(session: Session, argv: Argv) -> Reply:
    """ACL WHOAMI."""
    return bulk("default" if session.user is None else session.user.name)


def users(session: Session, argv: Argv) -> Reply:
    """ACL USERS."""
    return resp.bulks(["default"])


def _hashes(session: Session) -> list[str]:
    """The SHA-256 of each password."""
    return list(session.house.rights.hashes)


def list_(session: Session, argv: Argv) -> Reply:
    """ACL LIST."""
    secret = " ".join("#" + digest for digest in _hashes(session)) or "nopass"
    return resp.bulks([f"user default on {secret} ~* &* +@all"])


def getuser(session: Session, argv: Argv) -> Reply:
    """ACL GETUSER name."""
    if argv[2] != b"default":
        return resp.null_bulk(session.proto)
    hashes = _hashes(session)
    flags = [bulk("on")] if hashes else [bulk("on"), bulk("nopass")]
    pairs = [
        (bulk("flags"), resp.set_of(flags, session.proto)),
        (bulk("passwords"), resp.bulks(hashes)),
        (bulk("commands"), bulk("+@all")),
        (bulk("keys"), bulk("~*")),
        (bulk("channels"), bulk("&*")),
        (bulk("databases"), bulk("alldbs")),
        (bulk("selectors"), resp.array([])),
    ]
    return resp.mapping(pairs, session.proto)


def cat(session: Session, argv: Argv) -> Reply:
    """ACL CAT [category]."""
    if len(argv) > 3:
        raise refuse(_wrong(argv))
    if len(argv) == 2:
        return resp.bulks(CATEGORIES)
    category = told(argv[2]).lower()
    if category not in CATEGORIES:
        raise refuse(f"Unknown category '{told(argv[2])}'")
    return resp.bulks([c.name for c in every(session.house.commands) if "@" + category in c.categories])


def genpass(session: Session, argv: Argv) -> Reply:
    """ACL GENPASS [bits]: hexadecimal digits."""
    if len(argv) > 3:
        raise refuse(_wrong(argv))
    bits = strict_int(argv[2]) if len(argv) == 3 else 256
    if bits is None:
        raise refuse(NOT_INTEGER)
    if not 1 <= bits <= 4096:
        raise refuse(_BITS)
    digits = (bits + 3) // 4
    return bulk(session.house.random_bytes((digits + 1) // 2).hex()[:digits])


def log(session: Session, argv: Argv) -> Reply:
    """ACL LOG [count | RESET]: nothing is kept yet."""
    if len(argv) > 3:
        raise refuse(_wrong(argv))
    if len(argv) == 3:
        if argv[2].lower() == b"reset":
            return resp.OK
        if strict_int(argv[2]) is None:
            raise refuse(NOT_INTEGER)
    return resp.array([])


def dryrun(session: Session, argv: Argv) -> Reply:
    """ACL DRYRUN user command [arg ...]."""
    if argv[2] != b"default":
        raise refuse(f"User '{told(argv[2])}' not found")
    request = argv[3:]
    command = session.house.commands.get(request[0].lower())
    if command is not None and command.subcommands and len(request) > 1:
        command = command.subcommands.get(request[1].lower())
    if command is None:
        raise refuse(f"Command '{told(request[0])}' not found")
    if not command.accepts(len(request)):
        raise refuse(f"wrong number of arguments for '{command.name}' command")
    return resp.OK


def no_file(session: Session, argv: Argv) -> Reply:
    """ACL SAVE, ACL LOAD: there is no ACL file."""
    raise refuse(_NO_FILE)


def help_(session: Session, argv: Argv) -> Reply:
    """ACL HELP."""
    return resp.simples(_HELP)


_HELP: Final = (
    "ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CAT [<category>]",
    "    List the categories, or the commands of one.",
    "DRYRUN <username> <command> [<arg> ...]",
    "    Tell whether the user may run the command.",
    "GETUSER <username>",
    "    Show the rules of one user.",
    "GENPASS [<bits>]",
    "    Make a random password of 256 bits, or of the given number.",
    "LIST",
    "    Show the rules of all users as configuration lines.",
    "LOAD",
    "    Read the users from the ACL file again.",
    "LOG [<count> | RESET]",
    "    Show or forget recent refusals.",
    "SAVE",
    "    Write the users to the ACL file.",
    "USERS",
    "    List the names of all users.",
    "WHOAMI",
    "    Tell the user of this connection.",
    "HELP",
    "    Print this help.",
)

Run = Callable[["Session", Argv], Reply]

HANDLERS: Final[dict[str, Run]] = {
    "acl|cat": cat,
    "acl|dryrun": dryrun,
    "acl|genpass": genpass,
    "acl|getuser": getuser,
    "acl|help": help_,
    "acl|list": list_,
    "acl|load": no_file,
    "acl|log": log,
    "acl|save": no_file,
    "acl|users": users,
    "acl|whoami": whoami,
}
"""By full name."""
