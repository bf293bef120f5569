"""The table of commands of the client port: arity, flags, categories (commands.md 2.1).

A negative arity is a least number of words, the command's own included. Tips are hints for client libraries.
Only what this port really runs is listed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from attrs import frozen

from trio_sentinel.wire import resp

CATEGORIES: Final = (
    "keyspace read write set sortedset list hash string bitmap hyperloglog geo stream pubsub admin fast slow "
    "blocking dangerous connection transaction scripting"
).split()


@frozen(kw_only=True)
class Command:
    """One command or subcommand; ``name`` is the full lower-case name, ``sentinel|set``."""

    name: str
    arity: int
    flags: tuple[str, ...]
    categories: tuple[str, ...]
    tips: tuple[str, ...]
    since: str
    group: str
    summary: str
    subcommands: dict[bytes, Command]

    def accepts(self, words: int) -> bool:
        """Whether a request of so many words has the right length."""
        return words == self.arity if self.arity > 0 else words >= -self.arity

    @property
    def no_auth(self) -> bool:
        """Whether it runs before authentication."""
        return "no_auth" in self.flags


# Short names for the columns that repeat: flags / categories.
_SHAPES: Final = {
    "container": (" ", "slow"),
    "greeting": ("noscript loading stale fast no_auth allow_busy", "fast connection"),
    "pubsub": ("pubsub noscript loading stale", "pubsub slow"),
    "help": ("loading stale", "slow"),
    "acl": ("noscript loading stale", "slow"),
    "acl-admin": ("admin noscript loading stale", "admin slow dangerous"),
    "client": ("noscript loading stale", "slow connection"),
    "client-busy": ("noscript loading stale allow_busy", "slow connection"),
    "client-reply": ("noscript loading stale no_multi allow_busy", "slow connection"),
    "client-help": ("loading stale", "slow connection"),
    "client-admin": ("admin noscript loading stale", "admin slow dangerous connection"),
    "client-evict": ("admin noscript loading stale allow_busy", "admin slow dangerous connection"),
    "command": ("loading stale", "slow connection"),
    "sentinel": ("admin", "admin slow dangerous"),
    "info": ("loading stale", "slow dangerous"),
    "ping": ("fast", "fast connection"),
    "publish": ("pubsub loading stale fast", "pubsub fast"),
    "role": ("noscript loading stale fast", "admin fast dangerous"),
    "shutdown": ("admin noscript loading stale no_multi allow_busy", "admin slow dangerous"),
}
_TIPS: Final = {
    "ping": ("request_policy:all_shards", "response_policy:all_succeeded"),
    "info": ("nondeterministic_output", "request_policy:all_shards", "response_policy:special"),
    "command": ("nondeterministic_output_order",),
    "command|docs": ("nondeterministic_output_order",),
    "command|info": ("nondeterministic_output_order",),
    "command|list": ("nondeterministic_output_order",),
    "client|info": ("nondeterministic_output",),
    "client|list": ("nondeterministic_output",),
    "acl|save": ("request_policy:all_nodes", "response_policy:all_succeeded"),
    "acl|deluser": ("request_policy:all_nodes", "response_policy:all_succeeded"),
    "acl|setuser": ("request_policy:all_nodes", "response_policy:all_succeeded"),
    "client|setname": ("request_policy:all_nodes", "response_policy:all_succeeded"),
    "client|setinfo": ("request_policy:all_nodes", "response_policy:all_succeeded"),
}

# name | arity | shape | since | summary; a name with | belongs to the container before it.
_ROWS: Final = """
acl -2 container 6.0.0 Groups the commands about users and their rights.
acl|cat -2 acl 6.0.0 Lists the categories, or the commands of one category.
acl|deluser -3 acl-admin 6.0.0 Removes users and closes their connections.
acl|dryrun -4 acl-admin 7.0.0 Tells whether a user may run a command, without running it.
acl|genpass -2 acl 6.0.0 Makes a random password.
acl|getuser 3 acl-admin 6.0.0 Shows the rules of one user.
acl|help 2 help 6.0.0 Explains the subcommands.
acl|list 2 acl-admin 6.0.0 Shows the rules of all users as configuration lines.
acl|load 2 acl-admin 6.0.0 Reads the users from the ACL file again.
acl|log -2 acl-admin 6.0.0 Shows recent refusals.
acl|save 2 acl-admin 6.0.0 Writes the users to the ACL file.
acl|setuser -3 acl-admin 6.0.0 Creates a user, or changes the rules of one.
acl|users 2 acl-admin 6.0.0 Lists the names of all users.
acl|whoami 2 acl 6.0.0 Tells the user of this connection.
auth -2 greeting 1.0.0 Authenticates this connection.
client -2 container 2.4.0 Groups the commands about connections.
client|caching 3 client-busy 6.0.0 Chooses whether the keys of the next request are tracked.
client|getname 2 client-busy 2.6.9 Tells the name of this connection.
client|getredir 2 client-busy 6.0.0 Tells the connection that gets this one's tracking messages.
client|help 2 client-help 5.0.0 Explains the subcommands.
client|id 2 client-busy 5.0.0 Tells the number of this connection.
client|info 2 client 6.2.0 Describes this connection.
client|kill -3 client-admin 2.4.0 Closes connections.
client|list -2 client-admin 2.4.0 Describes all connections.
client|no-evict 3 client-evict 7.0.0 Protects this connection from eviction.
client|pause -3 client-admin 3.0.0 Delays the commands of all clients for a while.
client|reply 3 client-reply 3.2.0 Chooses whether commands are answered.
client|setinfo 4 client-busy 7.2.0 Tells the name or version of the client library.
client|setname 3 client-busy 2.6.9 Names this connection.
client|tracking -3 client 6.0.0 Turns the tracking of keys on or off.
client|trackinginfo 2 client 6.2.0 Describes the tracking of keys for this connection.
client|unblock -3 client-admin 5.0.0 Wakes a client that waits in a command.
client|unpause 2 client-admin 6.2.0 Ends CLIENT PAUSE.
command -1 command 2.8.13 Describes the commands of this port.
command|count 2 command 2.8.13 Counts the commands.
command|docs -2 command 7.0.0 Documents commands.
command|getkeys -3 command 2.8.13 Finds the keys in a request; no command here has any.
command|getkeysandflags -3 command 7.0.0 Finds the keys in a request and what they are used for.
command|help 2 command 5.0.0 Explains the subcommands.
command|info -2 command 2.8.13 Describes some commands.
command|list -2 command 7.0.0 Lists the names of commands.
hello -1 greeting 6.0.0 Chooses the protocol, authenticates and names the connection.
info -1 info 1.0.0 Reports on this sentinel.
ping -1 ping 1.0.0 Answers at once.
psubscribe -2 pubsub 2.0.0 Asks for the events whose names match patterns.
publish 3 publish 2.0.0 Delivers a hello of another sentinel.
punsubscribe -1 pubsub 2.0.0 Ends PSUBSCRIBE.
role 1 role 2.8.12 Tells that this is a sentinel, and its masters.
sentinel -2 sentinel 2.8.4 Groups the commands of a sentinel.
sentinel|ckquorum 3 sentinel 2.8.4 Tells whether enough sentinels are up to fail over.
sentinel|config -4 sentinel 6.2.0 Shows or changes settings of this sentinel.
sentinel|debug -2 sentinel 7.0.0 Shows or changes lengths of time.
sentinel|failover -3 sentinel 2.8.4 Starts a failover by hand.
sentinel|flushconfig 2 sentinel 2.8.4 Writes the configuration file now.
sentinel|get-master-addr-by-name 3 sentinel 2.8.4 Tells where a master is.
sentinel|get-primary-addr-by-name 3 sentinel 8.0.0 Tells where a master is.
sentinel|help 2 help 6.2.0 Explains the subcommands.
sentinel|info-cache -3 sentinel 3.2.0 Shows the last INFO of a master and its replicas.
sentinel|is-master-down-by-addr 6 sentinel 2.8.4 Asks for an opinion on a master, and for a vote.
sentinel|is-primary-down-by-addr 6 sentinel 8.0.0 Asks for an opinion on a master, and for a vote.
sentinel|master 3 sentinel 2.8.4 Describes one master.
sentinel|masters 2 sentinel 2.8.4 Describes all masters.
sentinel|monitor 6 sentinel 2.8.4 Adds a master.
sentinel|myid 2 sentinel 6.2.0 Tells the id of this sentinel.
sentinel|pending-scripts 2 sentinel 2.8.4 Shows the scripts that run or wait.
sentinel|primaries 2 sentinel 8.0.0 Describes all masters.
sentinel|primary 3 sentinel 8.0.0 Describes one master.
sentinel|remove 3 sentinel 2.8.4 Forgets a master.
sentinel|replicas 3 sentinel 5.0.0 Describes the replicas of a master.
sentinel|reset 3 sentinel 2.8.4 Makes masters start afresh.
sentinel|sentinels 3 sentinel 2.8.4 Describes the other sentinels of a master.
sentinel|set -5 sentinel 2.8.4 Changes the settings of a master.
sentinel|simulate-failure -3 sentinel 3.2.0 Makes this sentinel crash in a later failover.
sentinel|slaves 3 sentinel 2.8.0 Describes the replicas of a master.
shutdown -1 shutdown 1.0.0 Ends this sentinel.
subscribe -2 pubsub 2.0.0 Asks for events by name.
unsubscribe -1 pubsub 2.0.0 Ends SUBSCRIBE.
"""
_GROUPS: Final = {
    **dict.fromkeys(("acl", "command", "info", "role", "shutdown"), "server"),
    **dict.fromkeys(("auth", "client", "hello", "ping"), "connection"),
    **dict.fromkeys(("psubscribe", "publish", "punsubscribe", "subscribe", "unsubscribe"), "pubsub"),
    "sentinel": "sentinel",
}


def _built() -> dict[bytes, Command]:
    """The table as objects, keyed by lower-case name."""
    table: dict[bytes, Command] = {}
    for row in _ROWS.strip().splitlines():
        name, arity, shape, since, summary = row.split(" ", 4)
        container, _, sub = name.partition("|")
        flags, categories = _SHAPES[shape]
        command = Command(
            name=name,
            arity=int(arity),
            flags=tuple(flags.split()),
            categories=tuple("@" + category for category in categories.split()),
            tips=_TIPS.get(name, ()),
            since=since,
            group=_GROUPS[container],
            summary=summary,
            subcommands={},
        )
        (table[container.encode()].subcommands if sub else table)[(sub or name).encode()] = command
    return table


COMMANDS: Final[dict[bytes, Command]] = _built()
"""Top-level commands by lower-case name. A daemon with ``rename-command`` works on a copy (see `renamed`)."""


def renamed(renamings: Sequence[tuple[str, str]]) -> dict[bytes, Command]:
    """The table after ``rename-command`` lines: each pair is the old and the new name, empty to remove it."""
    table = dict(COMMANDS)
    for old, new in renamings:
        command = table.pop(resp.text(old).lower(), None)
        if command is not None and new:
            table[resp.text(new).lower()] = command
    return table


def find(table: dict[bytes, Command], full_name: bytes) -> Command | None:
    """The command called ``name`` or ``container|sub``, in any case."""
    container, bar, sub = full_name.lower().partition(b"|")
    command = table.get(container)
    return command.subcommands.get(sub) if bar and command is not None else command


def every(table: dict[bytes, Command]) -> Iterator[Command]:
    """All commands, each container followed by its subcommands."""
    for command in table.values():
        yield command
        yield from command.subcommands.values()
