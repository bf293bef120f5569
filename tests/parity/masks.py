"""What of a reply says nothing about the protocol: times, counters, process facts, our own wording.

Everything else is compared to the letter. What is masked here is masked for both sides alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from .wires import Items, Tree, Value

NUMBER = "<n>"
TEXT = "<text>"
_ID = re.compile(r"^[0-9a-f]{40}$")
_MASTER_LINE = re.compile(r"master[0-9]+")
_VARYING_FIELDS = {
    "last-ping-sent",
    "last-ok-ping-reply",
    "last-ping-reply",
    "info-refresh",
    "role-reported-time",
    "s-down-time",
    "o-down-time",
    "link-pending-commands",
}
_OWN_LISTS = {"acl|help", "client|help", "command|help", "sentinel|help"}
_CLIENT_VALUES = {
    "name",
    "flags",
    "db",
    "sub",
    "psub",
    "ssub",
    "multi",
    "cmd",
    "user",
    "redir",
    "resp",
    "capa",
    "watch",
}
_CLIENT_VALUES |= {"lib-name", "lib-ver", "tot-cmds", "tot-net-in", "argv-mem", "multi-mem", "oll", "omem", "obl"}


def masked(command: str, reply: Tree) -> Tree:
    """`reply` to `command` (a full lower-case name) without what differs from run to run."""
    if isinstance(reply, Value) and reply.kind == "-":
        return reply
    mask = _MASKS.get(command)
    return reply if mask is None else mask(reply)


def _numbers(reply: Tree) -> Tree:
    """Integers only."""
    if isinstance(reply, Items):
        return Items(reply.kind, tuple(map(_numbers, reply.items)))
    return Value(reply.kind, NUMBER) if reply.kind == ":" else reply


def _length(reply: Tree) -> Tree:
    """A random text."""
    assert isinstance(reply, Value)
    return Value(reply.kind, f"{len(reply.text)} characters")


def _pairs(reply: Items, change: Callable[[str, Tree], Tree]) -> Items:
    """A map, or a flat list of keys and values, after `change` of each value."""
    items: list[Tree] = []
    for key, value in zip(reply.items[::2], reply.items[1::2], strict=True):
        assert isinstance(key, Value)
        items += [key, change(key.text, value)]
    return Items(reply.kind, tuple(items))


def _hello(reply: Tree) -> Tree:
    assert isinstance(reply, Items)
    return _pairs(reply, lambda key, value: _numbers(value) if key == "id" else value)


def _instance(reply: Tree) -> Tree:
    """A description of section 8; lists of them too."""
    if not isinstance(reply, Items):
        return reply
    if reply.items and isinstance(reply.items[0], Items):
        return Items(reply.kind, tuple(map(_instance, reply.items)))
    if not reply.items:
        return reply
    return _pairs(reply, lambda key, value: Value("$", NUMBER) if key in _VARYING_FIELDS else value)


def _information(reply: Tree) -> Tree:
    """INFO: the names of all lines, and the values that a sentinel gives a meaning."""
    assert isinstance(reply, Value)
    lines, masters = [], []
    for line in reply.text.split("\r\n"):
        name, colon, told = line.partition(":")
        if _MASTER_LINE.fullmatch(name):  # numbered in the order of a hash
            masters.append(told)
            continue
        keep = name.startswith(("sentinel_", "master")) or name in _INFO_VALUES
        lines.append(line if not colon or keep else name)
    kept = [line for line in lines if not line.startswith("trio_sentinel_version")]
    return Value(reply.kind, "\n".join([*kept, *sorted(masters)]))


_INFO_VALUES = {
    "redis_version",
    "server_name",
    "valkey_version",
    "server_mode",
    "redis_mode",
    "arch_bits",
    "maxclients",
}
_INFO_VALUES |= {
    "availability_zone",
    "pubsub_channels",
    "pubsub_patterns",
    "paused_reason",
    "paused_actions",
    "tracking_clients",
}


def client_line(line: str) -> str:
    """One line of CLIENT LIST: the keys in order, and the values that do not come from time or memory."""
    parts = [part.partition("=") for part in line.split(" ")]
    return " ".join(f"{key}={value}" if key in _CLIENT_VALUES else key for key, _, value in parts)


def _clients(reply: Tree) -> Tree:
    assert isinstance(reply, Value)
    return Value(reply.kind, "\n".join(map(client_line, reply.text.splitlines())))


def _refusals(reply: Tree) -> Tree:
    """ACL LOG."""
    if not isinstance(reply, Items):
        return reply

    def change(key: str, value: Tree) -> Tree:
        assert isinstance(value, Value)
        if key in ("age-seconds", "entry-id", "timestamp-created", "timestamp-last-updated"):
            return Value(value.kind, NUMBER)
        return Value(value.kind, client_line(value.text)) if key == "client-info" else value

    return Items(reply.kind, tuple(_pairs(entry, change) for entry in reply.items if isinstance(entry, Items)))


def _key(tree: Tree) -> str:
    return repr(tree)


def _sorted(reply: Tree) -> Tree:
    """A list whose order stock takes from a hash."""
    return reply if isinstance(reply, Value) else Items(reply.kind, tuple(sorted(reply.items, key=_key)))


def _all_sorted(reply: Tree) -> Tree:
    """COMMAND INFO: commands, subcommands, flags and categories in any order."""
    if isinstance(reply, Value):
        return reply
    return Items(reply.kind, tuple(sorted(map(_all_sorted, reply.items), key=_key)))


def _entries(reply: Tree) -> Tree:
    """COMMAND INFO: an array of entries."""
    return _all_sorted(reply)


def _docs(reply: Tree) -> Tree:
    """COMMAND DOCS: commands in any order, sentences not compared."""
    if isinstance(reply, Value):
        return reply
    pairs = list(zip(reply.items[::2], reply.items[1::2], strict=True))
    pairs.sort(key=lambda pair: repr(pair[0]))
    return Items(reply.kind, tuple(part for name, entry in pairs for part in (name, _doc(entry))))


def _doc(entry: Tree) -> Tree:
    assert isinstance(entry, Items)

    def change(key: str, value: Tree) -> Tree:
        if key in ("summary", "complexity"):
            return Value("$", TEXT)
        if key == "history":
            assert isinstance(value, Items)
            return Items(value.kind, tuple(_sentence(item) for item in value.items))
        return _docs(value) if key == "subcommands" else value

    return _pairs(entry, change)


def _sentence(item: Tree) -> Tree:
    assert isinstance(item, Items)
    return Items(item.kind, (item.items[0], Value("$", TEXT)))


def _usages(reply: Tree) -> Tree:
    """HELP: the first line, and what each subcommand is called; how it is explained is everybody's own."""
    assert isinstance(reply, Items)
    lines = [item.text for item in reply.items if isinstance(item, Value)]
    names = sorted({line.split()[0] for line in lines[1:] if not line.startswith((" ", "("))})
    return Items(reply.kind, (Value("+", lines[0]), *(Value("+", name) for name in names)))


def _ages(reply: Tree) -> Tree:
    return _sorted(_numbers(reply))


_MASKS: dict[str, Callable[[Tree], Tree]] = {
    "client|id": _numbers,
    "hello": _hello,
    "info": _information,
    "client|list": _clients,
    "client|info": _clients,
    "acl|log": _refusals,
    "acl|genpass": _length,
    "acl|cat": _sorted,
    "command": _entries,
    "command|info": _entries,
    "command|docs": _docs,
    "command|list": _sorted,
    "sentinel|myid": _length,
    "sentinel|info-cache": _ages,
    "sentinel|pending-scripts": _numbers,
    "role": lambda reply: Items("*", tuple(map(_sorted, reply.items))) if isinstance(reply, Items) else reply,
    **dict.fromkeys(("sentinel|masters", "sentinel|primaries"), lambda reply: _sorted(_instance(reply))),
    **dict.fromkeys(("sentinel|master", "sentinel|primary"), _instance),
    **dict.fromkeys(("sentinel|replicas", "sentinel|slaves", "sentinel|sentinels"), _instance),
    **dict.fromkeys(_OWN_LISTS, _usages),
}


_RENAMED = {"tell": "info", "watch": "sentinel"}  # on the ports of `conftest.named`


def name_of(words: Sequence[bytes]) -> str:
    """The full name of the command that `words` ask for."""
    first = words[0].decode("latin-1").lower() if words else ""
    first = _RENAMED.get(first, first)
    if first in ("acl", "client", "command", "sentinel") and len(words) > 1:
        return f"{first}|{words[1].decode('latin-1').lower()}"
    return first
