"""The subcommands of ACL, and what a change of rights does to who is connected (commands.md 6.1).

Whoever changes the users calls `_settle`: it closes sessions whose user is gone or may no longer hear what they
subscribed to, and lets in those that waited for a password which is not asked for any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from trio_sentinel.runtime.session_listing import line_of
from trio_sentinel.runtime.session_outbox import Reply, Slot
from trio_sentinel.wire import acl_file, resp
from trio_sentinel.wire.acl_log import Refusal
from trio_sentinel.wire.acl_selector import Denial, Selector
from trio_sentinel.wire.acl_user import BAD_NAME, BadWord, Unmatched, User, is_name, merged
from trio_sentinel.wire.commands import CATEGORIES, COMMANDS, every
from trio_sentinel.wire.requests import NOT_INTEGER, refuse
from trio_sentinel.wire.resp import Argv, bulk, strict_int, text, told

if TYPE_CHECKING:
    from trio_sentinel.runtime.session import Session

_NO_FILE: Final = (
    "This instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command "
    "and then issue a CONFIG REWRITE (assuming you have a configuration file set) in order to store users in the "
    "configuration."
)
_BITS: Final = "ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096"
_NOT_SAVED: Final = "There was an error trying to save the ACLs. Please check the server logs for more information"
_SHOWN_REFUSALS: Final = 10
MAX_USERS: Final = 4096  # stock has no limit
_KEPT: Final = 1024  # bytes of a name in ACL LOG: a stranger may send any
_KEPT_LINE: Final = 4096  # of what describes the connection, its name included


def _wrong(argv: Argv) -> str:
    return f"unknown subcommand or wrong number of arguments for '{told(argv[1])}'. Try ACL HELP."


# ---------------------------------------------------------------- refusals


def note_denial(session: Session, denial: Denial, user: str) -> None:
    """Keep a refusal for ACL LOG and INFO."""
    clients = session.house.clients
    if denial.reason == "channel":
        clients.denied_channel += 1
    else:
        clients.denied_command += 1
    _note(session, denial.reason, denial.object, text(user))


def note_failed_login(session: Session, command: bytes, name: bytes) -> None:
    """Keep a wrong password for ACL LOG and INFO."""
    session.house.clients.denied_auth += 1
    _note(session, "auth", command, name)


def note_unknown_certificate(session: Session, name: str) -> None:
    """Keep a client certificate that names nobody who may come in."""
    session.house.clients.denied_certificate += 1
    _note(session, "tls-cert", b"TLS", text(name))


def _note(session: Session, reason: str, what: bytes, user: bytes) -> None:
    now_ms = session.house.mind.wall_ms()
    refusal = Refusal(
        reason=reason,
        object=what[:_KEPT],
        user=user[:_KEPT],
        client=line_of(session)[:_KEPT_LINE],
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
    )
    session.house.acl_log.note(refusal)


def log(session: Session, argv: Argv) -> Reply:
    """ACL LOG [count | RESET]."""
    if len(argv) > 3:
        raise refuse(_wrong(argv))
    known = session.house.acl_log
    count = strict_int(argv[2]) if len(argv) == 3 else _SHOWN_REFUSALS
    if count is None:
        if argv[2].lower() != b"reset":
            raise refuse(NOT_INTEGER)
        known.clear()
        return resp.OK
    now_ms = session.house.mind.wall_ms()
    return resp.array([refusal.entry(now_ms, session.proto) for refusal in known.entries[: max(0, count)]])


# ---------------------------------------------------------------- showing


def whoami(session: Session, argv: Argv) -> Reply:
    """ACL WHOAMI."""
    return bulk(acl_file.DEFAULT if session.user is None else session.user.name)


def users(session: Session, argv: Argv) -> Reply:
    """ACL USERS."""
    return resp.bulks(sorted(map(text, session.house.rights.users)))


def list_(session: Session, argv: Argv) -> Reply:
    """ACL LIST."""
    return resp.bulks(acl_file.lines_of(session.house.rights.users))


def getuser(session: Session, argv: Argv) -> Reply:
    """ACL GETUSER name."""
    user = session.house.rights.users.get(told(argv[2]))
    if user is None:
        return resp.null_bulk(session.proto)
    selectors = [resp.mapping(_selector_pairs(selector), session.proto) for selector in user.selectors]
    pairs = [
        (bulk("flags"), resp.set_of([bulk(flag) for flag in user.flags], session.proto)),
        (bulk("passwords"), resp.bulks(user.hashes)),
        *_selector_pairs(user.root),
        (bulk("selectors"), resp.array(selectors)),
    ]
    return resp.mapping(pairs, session.proto)


def _selector_pairs(selector: Selector) -> list[tuple[bytes, bytes]]:
    return [
        (bulk("commands"), bulk(selector.shown_commands)),
        (bulk("keys"), bulk(selector.shown_keys)),
        (bulk("channels"), bulk(selector.shown_channels)),
        (bulk("databases"), bulk(selector.shown_databases)),
    ]


def cat(session: Session, argv: Argv) -> Reply:
    """ACL CAT [category]: also commands that were renamed away, which rules may still name."""
    if len(argv) > 3:
        raise refuse(_wrong(argv))
    if len(argv) == 2:
        return resp.bulks(CATEGORIES)
    category = told(argv[2]).lower()
    if category not in CATEGORIES:
        raise refuse(f"Unknown category '{told(argv[2])}'")
    return resp.bulks([command.name for command in every(COMMANDS) if "@" + category in command.categories])


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


def dryrun(session: Session, argv: Argv) -> Reply:
    """ACL DRYRUN user command [arg ...]: a refusal is no error here."""
    user = session.house.rights.users.get(told(argv[2]))
    if user is None:
        raise refuse(f"User '{told(argv[2])}' not found")
    request = argv[3:]
    command = session.house.commands.get(request[0].lower())
    if command is not None and command.subcommands and len(request) > 1:
        command = command.subcommands.get(request[1].lower())
    if command is None:
        raise refuse(f"Command '{told(request[0])}' not found")
    if not command.accepts(len(request)):
        raise refuse(f"wrong number of arguments for '{command.name}' command")
    denial = user.denial(command, request)
    if denial is None:
        return resp.OK
    kind = "run the '{}' command" if denial.reason == "command" else "access the '{}' channel"
    return bulk(f"User {user.name} has no permissions to {kind.format(told(denial.object))}")


# ---------------------------------------------------------------- changing


def setuser(session: Session, argv: Argv) -> Reply:
    """ACL SETUSER name [rule ...]: all rules or none."""
    rights, name = session.house.rights, told(argv[2])
    if not is_name(name):
        raise refuse(BAD_NAME)
    if name not in rights.users and len(rights.users) >= MAX_USERS:
        raise refuse("Too many users")
    user = rights.users.get(name) or User(name=name, root=rights.fresh)
    try:
        changed = user.changed(merged(argv[3:]), rights.fresh)
    except Unmatched as opened:
        raise refuse(f"Unmatched parenthesis in acl selector starting at '{told(opened.word)}'.") from None
    except BadWord as bad:
        raise refuse(f"Error in ACL SETUSER modifier '{told(bad.word)}': {bad.reason}") from None
    rights.put(changed)
    _settle(session)
    return resp.OK


def deluser(session: Session, argv: Argv) -> Reply:
    """ACL DELUSER name ..."""
    names = [told(word) for word in argv[2:]]
    if acl_file.DEFAULT in names:
        raise refuse("The 'default' user cannot be removed")
    deleted = sum([session.house.rights.remove(name) for name in names])
    _settle(session)
    return resp.integer(deleted)


def _settle(session: Session) -> None:
    """Bring every connection into line with the users as they are now."""
    rights = session.house.rights
    for client in session.house.clients:
        user = client.user
        if user is not None and rights.account(user.name) is not user:
            client.close_soon()
            continue
        client.follow_default(rights.guest())
        if user is not None and not user.unrestricted:
            held = session.house.board.held(client)
            heard = [(name, False) for name in held.channels] + [(name, True) for name in held.patterns]
            if not all(user.user.may_hear(name, pattern=pattern) for name, pattern in heard):
                client.close_soon()


# ---------------------------------------------------------------- the file


def save(session: Session, argv: Argv) -> Reply:
    """ACL SAVE: answered when the file is on disk."""
    file = session.house.acl_file
    if file is None:
        raise refuse(_NO_FILE)

    def saved(problem: str | None, slot: Slot) -> None:
        if problem is not None:
            session.house.warn(problem)
            raise refuse(_NOT_SAVED)
        session.fill(slot, resp.OK)

    content = acl_file.write_file(session.house.rights.users)
    return session.wait_for(lambda then: file.write(content, then), saved)


def load(session: Session, argv: Argv) -> Reply:
    """ACL LOAD: the users of the file, or no change at all."""
    file = session.house.acl_file
    if file is None:
        raise refuse(_NO_FILE)

    def read(found: bytes | str, slot: Slot) -> None:
        if isinstance(found, str):
            raise refuse(found)
        rights = session.house.rights
        try:
            rights.put_all(acl_file.read_file(found, file.name, rights.fresh))
        except acl_file.BadFile as bad:
            raise refuse(str(bad)) from None
        session.fill(slot, resp.OK)
        _settle(session)

    return session.wait_for(file.read, read)


def help_(session: Session, argv: Argv) -> Reply:
    """ACL HELP."""
    return resp.simples(_HELP)


_HELP: Final = (
    "ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CAT [<category>]",
    "    List the categories, or the commands of one.",
    "DELUSER <username> [<username> ...]",
    "    Remove users and close their connections.",
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
    "SETUSER <username> <rule> [<rule> ...]",
    "    Create a user, or change the rules of one.",
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
    "acl|deluser": deluser,
    "acl|dryrun": dryrun,
    "acl|genpass": genpass,
    "acl|getuser": getuser,
    "acl|help": help_,
    "acl|list": list_,
    "acl|load": load,
    "acl|log": log,
    "acl|save": save,
    "acl|setuser": setuser,
    "acl|users": users,
    "acl|whoami": whoami,
}
"""By full name."""
