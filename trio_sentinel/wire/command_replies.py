"""What COMMAND and its subcommands answer (commands.md 2.3), from the table of commands."""

from __future__ import annotations

from typing import Final

from trio_sentinel.wire import glob, resp
from trio_sentinel.wire.command_docs import docs_entry
from trio_sentinel.wire.commands import Command, every, find


def info_entry(command: Command, proto: int) -> bytes:
    """The ten elements that COMMAND INFO says of a command."""
    return resp.array(
        [
            resp.bulk(command.name),
            resp.integer(command.arity),
            resp.set_of([resp.simple(flag) for flag in command.flags], proto),
            resp.integer(0),
            resp.integer(0),
            resp.integer(0),
            resp.set_of([resp.simple(category) for category in command.categories], proto),
            resp.set_of([resp.bulk(tip) for tip in command.tips], proto),
            resp.set_of([], proto),
            resp.array([info_entry(sub, proto) for sub in command.subcommands.values()]),
        ]
    )


def reply_to_command(table: dict[bytes, Command], argv: resp.Argv, proto: int) -> bytes:
    """COMMAND and its subcommands; the arity was checked."""
    sub = argv[1].lower() if len(argv) > 1 else b"info"
    names = argv[2:]
    if sub == b"count":
        return resp.integer(len(table))
    if sub == b"info":
        if not names:
            return resp.array([info_entry(command, proto) for command in table.values()])
        found = [find(table, name) for name in names]
        return resp.array([resp.null_bulk(proto) if c is None else info_entry(c, proto) for c in found])
    if sub == b"docs":
        wanted = [find(table, name) for name in names] if names else list(table.values())
        return resp.mapping([docs_entry(command, proto) for command in wanted if command is not None], proto)
    if sub == b"list":
        return _list(table, names)
    if sub == b"help":
        return resp.simples(_HELP)
    target = find(table, names[0])
    if target is not None and target.subcommands:
        target = target.subcommands.get(names[1].lower()) if len(names) > 1 else target
    if target is None:
        return resp.error("ERR Invalid command specified")
    return resp.error("ERR The command has no key arguments")


def _list(table: dict[bytes, Command], words: resp.Argv) -> bytes:
    """COMMAND LIST with its filters."""
    commands = list(every(table))
    if words:
        if len(words) != 3 or words[0].lower() != b"filterby":
            return resp.error("ERR syntax error")
        kind, value = words[1].lower(), words[2]
        if kind == b"aclcat":
            commands = [c for c in commands if "@" + resp.told(value).lower() in c.categories]
        elif kind == b"pattern":
            commands = [c for c in commands if glob.matches(value, c.name.encode(), ignore_case=True)]
        elif kind == b"module":
            commands = []
        else:
            return resp.error("ERR syntax error")
    return resp.bulks([command.name for command in commands])


_HELP: Final = (
    "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "(no subcommand)",
    "    Describe every command.",
    "COUNT",
    "    Tell how many commands there are.",
    "LIST [FILTERBY ACLCAT <category> | PATTERN <pattern> | MODULE <module>]",
    "    List the names of commands.",
    "INFO [<command-name> ...]",
    "    Describe the named commands, or all of them.",
    "DOCS [<command-name> ...]",
    "    Document the named commands, or all of them.",
    "GETKEYS <full-command>",
    "    Find the keys in a request.",
    "GETKEYSANDFLAGS <full-command>",
    "    Find the keys in a request and what they are used for.",
    "HELP",
    "    Print this help.",
)
