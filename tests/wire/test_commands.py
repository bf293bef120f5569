"""The table of commands says what commands.md 2.1 says, and COMMAND answers from it."""

from __future__ import annotations

from typing import Any

import hiredis
import pytest

from trio_sentinel.wire import commands
from trio_sentinel.wire.command_replies import reply_to_command
from trio_sentinel.wire.commands import COMMANDS, every, find, renamed
from trio_sentinel.wire.resp import Argv


def ask(*words: str, proto: int = 2) -> Any:
    argv: Argv = tuple(word.encode() for word in ("command", *words))
    reader = hiredis.Reader(encoding="utf-8")
    reader.feed(reply_to_command(COMMANDS, argv, proto))
    return reader.gets()


def test_fifteen_commands() -> None:
    assert len(COMMANDS) == 15
    assert ask("count") == 15


@pytest.mark.parametrize(
    ("name", "arity"),
    [
        ("sentinel|set", -5),
        ("sentinel|info-cache", -3),
        ("sentinel|simulate-failure", -3),
        ("sentinel|config", -4),
        ("sentinel|failover", -3),
        ("sentinel|monitor", 6),
        ("client|setinfo", 4),
        ("client|kill", -3),
        ("command|getkeys", -3),
        ("ping", -1),
        ("publish", 3),
    ],
)
def test_arities(name: str, arity: int) -> None:
    command = find(COMMANDS, name.upper().encode())
    assert command is not None
    assert (command.name, command.arity) == (name, arity)


def test_arity_of_a_subcommand_counts_all_words() -> None:
    command = find(COMMANDS, b"sentinel|set")
    assert command is not None
    assert not command.accepts(4)
    assert command.accepts(5)
    assert command.accepts(9)
    fixed = find(COMMANDS, b"role")
    assert fixed is not None
    assert fixed.accepts(1)
    assert not fixed.accepts(2)


@pytest.mark.parametrize("name", ["quit", "reset", "select", "config", "monitor", "get", "sentinel|foo", "ping|x"])
def test_what_is_missing_here(name: str) -> None:
    assert find(COMMANDS, name.encode()) is None


def test_only_auth_and_hello_run_before_authentication() -> None:
    assert [command.name for command in every(COMMANDS) if command.no_auth] == ["auth", "hello"]


def test_command_info() -> None:
    """2.3: ten elements; null for what is unknown."""
    ping, set_, unknown = ask("info", "ping", "sentinel|set", "get")
    assert ping[:3] == ["ping", -1, ["fast"]]
    assert ping[3:6] == [0, 0, 0]
    assert ping[6] == ["@fast", "@connection"]
    assert ping[7] == ["request_policy:all_shards", "response_policy:all_succeeded"]
    assert ping[8:] == [[], []]
    assert set_[:3] == ["sentinel|set", -5, ["admin"]]
    assert unknown is None
    assert [entry[0] for entry in ask()] == [command.name for command in COMMANDS.values()]


def test_command_list_and_its_filters() -> None:
    everything = ask("list")
    assert len(everything) == len(set(everything)) == len(list(every(COMMANDS)))
    assert sorted(ask("list", "filterby", "aclcat", "pubsub")) == [
        "psubscribe",
        "publish",
        "punsubscribe",
        "subscribe",
        "unsubscribe",
    ]
    assert ask("list", "FilterBy", "Pattern", "SENTINEL|M*") == [
        "sentinel|master",
        "sentinel|masters",
        "sentinel|monitor",
        "sentinel|myid",
    ]
    assert ask("list", "filterby", "module", "x") == []
    assert ask("list", "filterby", "aclcat", "nope") == []
    assert str(ask("list", "filterby", "pattern")) == "ERR syntax error"


def test_command_docs() -> None:
    docs = ask("docs", "role", "nope", "sentinel|slaves", proto=3)
    assert list(docs) == ["role", "sentinel|slaves"]
    assert list(docs["role"]) == ["summary", "since", "group", "complexity"]
    assert docs["sentinel|slaves"]["doc_flags"] == ["deprecated"]
    assert docs["sentinel|slaves"]["replaced_by"] == "`SENTINEL REPLICAS`"
    assert set(ask("docs", proto=3)) == {command.name for command in COMMANDS.values()}


def test_no_command_has_keys() -> None:
    assert str(ask("getkeys", "ping")) == "ERR The command has no key arguments"
    assert str(ask("getkeys", "foo")) == "ERR Invalid command specified"
    assert str(ask("getkeys", "sentinel", "foo")) == "ERR Invalid command specified"


def test_renaming_and_removing_commands() -> None:
    """1.1: `rename-command SHUTDOWN ""` lowers COMMAND COUNT."""
    table = renamed([("SHUTDOWN", ""), ("PING", "Beep")])
    assert len(table) == 14
    assert b"shutdown" not in table
    assert b"ping" not in table
    assert table[b"beep"].name == "ping"
    assert len(COMMANDS) == 15


def test_every_category_is_one_of_the_list() -> None:
    assert len(commands.CATEGORIES) == 21
    for command in every(COMMANDS):
        assert {category.removeprefix("@") for category in command.categories} <= set(commands.CATEGORIES)
