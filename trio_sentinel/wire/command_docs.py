"""What COMMAND DOCS says beyond the table of commands: arguments, complexity, history, successors.

Arguments are written in a small notation, one command a paragraph::

    name[:type][=[TOKEN]][?][*][+][@since][!deprecated since][$shown as][(parts)]

``=`` alone means the name in upper case. Without a type it is a text, with ``=`` alone a bare token, with parts a
choice.
``?`` optional, ``*`` repeatable, ``+`` repeatable with its token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from attrs import frozen

from trio_sentinel.wire import resp
from trio_sentinel.wire.commands import Command

_REPLACED: Final = {
    "sentinel|get-master-addr-by-name": ("8.0.0", "`SENTINEL GET-PRIMARY-ADDR-BY-NAME`"),
    "sentinel|is-master-down-by-addr": ("8.0.0", "`SENTINEL IS-PRIMARY-DOWN-BY-ADDR`"),
    "sentinel|master": ("8.0.0", "`SENTINEL PRIMARY`"),
    "sentinel|masters": ("8.0.0", "`SENTINEL PRIMARIES`"),
    "sentinel|slaves": ("5.0.0", "`SENTINEL REPLICAS`"),
}

_NOT_TOLD: Final = frozenset(
    ("sentinel|ckquorum", "sentinel|failover", "sentinel|pending-scripts", "sentinel|simulate-failure")
)
"""Commands of which stock tells no complexity."""
_SIMPLE: Final = "O(1)"
_COMPLEXITY: Final = {
    **dict.fromkeys(("acl", "client", "sentinel"), "That of the subcommand."),
    **dict.fromkeys(("acl|list", "acl|load", "acl|save", "acl|users"), "O(N), N: users"),
    "acl|getuser": "O(N), N: passwords and rules of the user",
    "acl|log": "O(N), N: entries shown",
    "acl|setuser": "O(N), N: rules given",
    "auth": "O(N), N: passwords of the user",
    **dict.fromkeys(("client|kill", "client|list", "client|unpause"), "O(N), N: connected clients"),
    **dict.fromkeys(("command", "command|list"), "O(N), N: commands"),
    **dict.fromkeys(("command|docs", "command|info"), "O(N), N: commands asked for"),
    **dict.fromkeys(("command|getkeys", "command|getkeysandflags"), "O(N), N: words of the request"),
    **dict.fromkeys(("psubscribe", "punsubscribe"), "O(N), N: patterns given"),
    **dict.fromkeys(("subscribe", "unsubscribe"), "O(N), N: channels given"),
    **dict.fromkeys(("sentinel|config", "sentinel|debug"), "O(N), N: parameters"),
    "sentinel|info-cache": "O(N), N: servers of the masters named",
    **dict.fromkeys(("sentinel|masters", "sentinel|primaries", "sentinel|reset"), "O(N), N: masters"),
    **dict.fromkeys(("sentinel|replicas", "sentinel|slaves"), "O(N), N: replicas"),
    "sentinel|sentinels": "O(N), N: sentinels",
}
"""What is not O(1)."""

_MANY_FILTERS: Final = "More filters, and NOT- before most of them."
_HISTORY: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "acl|getuser": (("6.2.0", "Shows channels."), ("7.0.0", "Shows selectors."), ("9.1.0", "Shows databases.")),
    "acl|log": (("7.2.0", "Entries have an id and two times."),),
    "acl|setuser": (("6.2.0", "Rules for channels."), ("7.0.0", "Selectors."), ("9.1.0", "Rules for databases.")),
    "auth": (("6.0.0", "A user may be named."),),
    "client|kill": (
        ("2.8.12", "Takes filters."),
        ("2.8.12", "`ID` filter."),
        ("3.2.0", "`TYPE` knows `master`."),
        ("5.0.0", "`TYPE` knows `replica`; `slave` still works."),
        ("6.2.0", "`LADDR` filter."),
        ("8.0.0", "`MAXAGE` filter."),
        ("8.0.0", "`TYPE` knows `primary`; `master` still works."),
        ("8.1.0", "`ID` takes several numbers."),
        ("9.0.0", _MANY_FILTERS),
    ),
    "client|list": (
        ("2.8.12", "`id` field."),
        ("5.0.0", "`TYPE` filter."),
        ("6.0.0", "`user` field."),
        ("6.2.0", "`ID` filter; `argv-mem`, `tot-mem`, `laddr` and `redir` fields."),
        ("7.0.0", "`resp`, `multi-mem`, `rbs` and `rbp` fields."),
        ("7.0.3", "`ssub` field."),
        ("8.0.0", "`TYPE` knows `primary`; `master` still works."),
        ("8.1.0", "The filters of CLIENT KILL."),
        ("9.0.0", _MANY_FILTERS),
    ),
    "client|pause": (("6.2.0", "`WRITE` mode."),),
    "command|info": (("7.0.0", "Without names, all commands are described."),),
    "hello": (("8.1.0", "Tells the availability zone."), ("6.2.0", "The version may be left out.")),
    "info": (("7.0.0", "Takes several sections."),),
    "sentinel|config": (("7.2.0", "Takes several parameters."),),
    "sentinel|failover": (("9.0.0", "`COORDINATED` option."),),
    "shutdown": (("7.0.0", "`NOW`, `FORCE` and `ABORT`."), ("9.0.0", "`SAFE` and `FAILOVER`.")),
}

_MORE_FILTERS: Final = (
    "name:string=?@9.0.0 idle:integer=?@9.0.0 flags:string=?@9.0.0 lib-name:string=?@9.0.0 "
    "lib-ver:string=?@9.0.0 db:integer=?@9.0.0 capa:string=?@9.0.0 ip:string=?@9.0.0"
)
_NOT_FILTERS: Final = (
    "not-client-id:integer=NOT-ID?*@9.0.0 not-username:string=NOT-USER?@9.0.0 not-addr:string=?@9.0.0$ip:port "
    "not-laddr:string=?@9.0.0$ip:port not-name:string=?@9.0.0 not-flags:string=?@9.0.0 "
    "not-lib-name:string=?@9.0.0 not-lib-ver:string=?@9.0.0 not-db:integer=?@9.0.0 not-capa:string=?@9.0.0 "
    "not-ip:string=?@9.0.0"
)
_ARGUMENTS: Final = f"""
acl|cat category?
acl|deluser username*
acl|dryrun username command arg?*
acl|genpass bits:integer?
acl|getuser username
acl|log operation?(count:integer reset=)
acl|setuser username rule?*
auth username?@6.0.0 password
client|caching mode(yes= no=)
client|kill filter(old-format!2.8.12$ip:port new-format*(client-id:integer=ID?*@2.8.12
  client-type=TYPE?@2.8.12(normal= master=@3.2.0 primary=@8.0.0 slave= replica=@5.0.0 pubsub=) username:string=USER?
  addr:string=?$ip:port laddr:string=?@6.2.0$ip:port skipme=?(yes= no=) maxage:integer=?@8.0.0 {_MORE_FILTERS}
  not-client-type=NOT-TYPE?@9.0.0(normal= master= primary= slave= replica= pubsub=) {_NOT_FILTERS}))
client|list client-type=TYPE?@5.0.0(normal= master= replica= pubsub=) client-id:integer=ID?*@6.2.0
  username:string=USER?@8.1.0 addr:string=?@8.1.0$ip:port laddr:string=?@8.1.0$ip:port skipme=?@8.1.0(yes= no=)
  maxage:integer=?@8.1.0 {_MORE_FILTERS} not-client-type=NOT-TYPE?@9.0.0(normal= master= replica= pubsub=)
  {_NOT_FILTERS}
client|no-evict enabled(on= off=)
client|pause timeout:integer mode?@6.2.0(write= all=)
client|reply action(on= off= skip=)
client|setinfo attr(libname:string=LIB-NAME libver:string=LIB-VER)
client|setname connection-name
client|tracking status(on= off=) client-id:integer=REDIRECT? prefix:string=?*+ bcast=? optin=? optout=? noloop=?
client|unblock client-id:integer unblock-type?(timeout= error=)
command|docs command-name?*
command|getkeys command arg?*
command|getkeysandflags command arg?*
command|info command-name?*
command|list filterby=?(module-name:string=MODULE category:string=ACLCAT pattern:pattern=)
hello arguments:block?(protover:integer auth:block=?(username password) clientname:string=SETNAME?)
info section?*
ping message?
psubscribe pattern:pattern*
publish channel message
punsubscribe pattern:pattern?*
sentinel|ckquorum primary-name
sentinel|config action(set:block=*(parameter value) parameter:string=GET*)
sentinel|debug data:block?*(parameter value)
sentinel|failover primary-name coordinated=?@9.0.0
sentinel|get-master-addr-by-name primary-name
sentinel|get-primary-addr-by-name primary-name
sentinel|info-cache nodename*
sentinel|is-master-down-by-addr ip port:integer current-epoch:integer runid
sentinel|is-primary-down-by-addr ip port:integer current-epoch:integer runid
sentinel|master primary-name
sentinel|monitor name ip port:integer quorum:integer
sentinel|primary primary-name
sentinel|remove primary-name
sentinel|replicas primary-name
sentinel|reset pattern:pattern
sentinel|sentinels primary-name
sentinel|set primary-name data:block*(option value)
sentinel|simulate-failure mode?*(crash-after-election:pure-token crash-after-promotion:pure-token help:pure-token)
sentinel|slaves primary-name
shutdown abort-selector?(save-selector-block:block(save-selector?(nosave= save=) now=?@7.0.0 force=?@7.0.0
  safe=?@9.0.0 failover=?@9.0.0) abort=@7.0.0)
subscribe channel*
unsubscribe channel?*
"""


@frozen(kw_only=True)
class Argument:
    """One argument of a command, or a block of or choice between some."""

    name: str
    kind: str
    token: str | None
    flags: tuple[str, ...]
    since: str | None
    deprecated_since: str | None
    shown: str
    parts: tuple[Argument, ...]

    def entry(self, proto: int) -> bytes:
        """The map that COMMAND DOCS shows."""
        pairs = [("name", resp.bulk(self.name)), ("type", resp.bulk(self.kind))]
        if not self.parts:
            pairs.append(("display_text", resp.bulk(self.shown)))
        texts = (("token", self.token), ("since", self.since), ("deprecated_since", self.deprecated_since))
        pairs += [(key, resp.bulk(value)) for key, value in texts if value is not None]
        if self.flags:
            pairs.append(("flags", resp.set_of([resp.simple(flag) for flag in self.flags], proto)))
        if self.parts:
            pairs.append(("arguments", resp.array([part.entry(proto) for part in self.parts])))
        return resp.mapping([(resp.bulk(key), value) for key, value in pairs], proto)


_ARGUMENT: Final = re.compile(
    r"\s*(?P<name>[a-z-]+)(?::(?P<kind>[a-z-]+))?(?P<equals>=)?(?P<token>[A-Z-]*)(?P<signs>[?*+]*)"
    r"(?:@(?P<since>[0-9.]+))?(?:!(?P<deprecated>[0-9.]+))?(?:\$(?P<shown>[a-z:]+))?(?P<opens>\()?"
)
_SIGNS: Final = {"?": "optional", "*": "multiple", "+": "multiple_token"}


def _read(text: str, at: int) -> tuple[tuple[Argument, ...], int]:
    """The arguments from `at` to the end of the text or of the block, and the place behind."""
    found: list[Argument] = []
    while at < len(text) and text[at] != ")":
        match = _ARGUMENT.match(text, at)
        assert match is not None, text[at:]
        at = match.end()
        parts: tuple[Argument, ...] = ()
        if match["opens"]:
            parts, at = _read(text, at)
            assert text[at] == ")", text
            at += 1
        bare = "oneof" if parts else "pure-token" if match["equals"] else "string"
        found.append(
            Argument(
                name=match["name"],
                kind=match["kind"] or bare,
                token=(match["token"] or match["name"].upper()) if match["equals"] else None,
                flags=tuple(_SIGNS[sign] for sign in match["signs"]),
                since=match["since"],
                deprecated_since=match["deprecated"],
                shown=match["shown"] or match["name"],
                parts=parts,
            )
        )
    return tuple(found), at


def _paragraphs(text: str) -> Iterator[tuple[str, str]]:
    for paragraph in re.split(r"\n(?! )", text.strip()):
        name, _, arguments = " ".join(paragraph.split()).partition(" ")
        yield name, arguments


ARGUMENTS: Final = {name: _read(text, 0)[0] for name, text in _paragraphs(_ARGUMENTS)}
"""By full name; commands that are missing take none."""


def docs_entry(command: Command, proto: int) -> tuple[bytes, bytes]:
    """The name of a command and what COMMAND DOCS says of it."""
    name = command.name
    pairs = [("summary", resp.bulk(command.summary)), ("since", resp.bulk(command.since))]
    pairs.append(("group", resp.bulk(command.group)))
    if name not in _NOT_TOLD:
        pairs.append(("complexity", resp.bulk(_COMPLEXITY.get(name, _SIMPLE))))
    if name in _REPLACED:
        since, successor = _REPLACED[name]
        pairs.append(("doc_flags", resp.set_of([resp.simple("deprecated")], proto)))
        pairs += [("deprecated_since", resp.bulk(since)), ("replaced_by", resp.bulk(successor))]
    if name in _HISTORY:
        pairs.append(("history", resp.set_of([resp.bulks(change) for change in _HISTORY[name]], proto)))
    if name in ARGUMENTS:
        pairs.append(("arguments", resp.array([argument.entry(proto) for argument in ARGUMENTS[name]])))
    if command.subcommands:
        subs = [docs_entry(sub, proto) for sub in command.subcommands.values()]
        pairs.append(("subcommands", resp.mapping(subs, proto)))
    return resp.bulk(name), resp.mapping([(resp.bulk(key), value) for key, value in pairs], proto)
