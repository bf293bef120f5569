"""docs/parity.md is complete against the tables of the code, and what it names as proof exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.parity.masks import name_of
from tests.parity.tables import GUARDED, NAMED, STORIES
from tests.wire.test_bulletins import STOCK_CHANNELS
from trio_sentinel.adapters import network
from trio_sentinel.runtime import session_acl
from trio_sentinel.runtime.session_commands import MAX_PATTERNS
from trio_sentinel.runtime.session_tracking import MAX_PREFIXES
from trio_sentinel.wire import directives, info, resp
from trio_sentinel.wire.acl_user import MAX_RULES
from trio_sentinel.wire.commands import COMMANDS, every
from trio_sentinel.wire.conf_load import _LISTS
from trio_sentinel.wire.conf_statements import _GLOBAL, _OF_MASTER
from trio_sentinel.wire.glob import MAX_PATTERN
from trio_sentinel.wire.resp import split_words

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "parity.md").read_text()
TOLD = {**STORIES, **GUARDED, **NAMED}


def rows(title: str) -> Iterator[list[str]]:
    """The cells of the table rows under the headings that begin with `title`, without heads and rules."""
    _, _, after = PAGE.partition(f"\n{title}")
    part = re.split(r"\n(?:## |After the word)", after)[0]
    for line in part.splitlines():
        if line.startswith("| `"):
            yield [cell.strip().replace("\\|", "|").strip("`") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def names(title: str) -> list[str]:
    return [cells[0] for cells in rows(title)]


SCRIPT_EVENTS = set(re.findall(r'"([+-]script-[a-z]+)"', (ROOT / "trio_sentinel/runtime/errands.py").read_text()))
LOGGED_ONLY = {"-cmd-link-reconnection", "-pubsub-link-reconnection"}  # of stock, and not ours
INFO_FIELDS = {*info._SERVER, *info._CLIENTS, *info._STATS, *info._CPU}
SENTINEL_FIELDS = set(re.findall(r'f"(sentinel_\w+):', (ROOT / "trio_sentinel/wire/info.py").read_text()))
OTHER_FIELDS = {"master0", "listener0", "trio_sentinel_version", "redis_mode", "atomicvar_api"}

TABLES = {
    "## Commands": {command.name for command in every(COMMANDS)},
    "## Directives": {*directives.KINDS, *_LISTS},
    "After the word": {*_GLOBAL, *_OF_MASTER, "monitor"},
    "## Events": {*STOCK_CHANNELS.split(), *SCRIPT_EVENTS, *LOGGED_ONLY},
    "## INFO": INFO_FIELDS | SENTINEL_FIELDS | OTHER_FIELDS,
}


@pytest.mark.parametrize("title", TABLES)
def test_the_table_has_each_row_once(title: str) -> None:
    found = names(title)
    assert set(found) == TABLES[title]
    assert len(found) == len(set(found))


@cache
def functions_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text())
    found = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in found)


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)
    assert named
    for path, function in named:
        assert (ROOT / path).is_file(), path
        assert not function or function in functions_in(ROOT / path), f"{path}::{function}"


def test_every_story_that_is_named_exists() -> None:
    named = re.findall(r"story \*(.+?)\*", PAGE)
    assert named
    assert set(named) <= set(TOLD)


def _asks(story: str, command: str) -> bool:
    """Whether a line of a story asks for a command; for a container, whether it asks for it alone."""
    asked = [split_words(line.partition(" ")[2].encode("latin-1")) for line in TOLD[story]]
    return any(words and name_of(words) == command for words in asked)


def test_the_story_of_a_command_asks_for_it() -> None:
    for command, *_, proof in rows("## Commands"):
        story = re.fullmatch(r"story \*(.+?)\*", proof)
        if story is not None:
            assert _asks(story[1], command), f"{story[1]} does not ask for {command}"


@pytest.mark.parametrize("title", TABLES)
def test_every_row_says_what_shows_it(title: str) -> None:
    for cells in rows(title):
        ours, proof = cells[-4] if title != "## INFO" else cells[2], cells[-1]
        if ours != "-":
            assert re.search(r"story \*|tests/", proof), cells


def accepted() -> list[list[str]]:
    """The rows of the table of accepted differences: what, why, and what shows it."""
    _, _, after = PAGE.partition("\n## Differences that are accepted")
    lines = [line for line in after.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_every_accepted_difference_has_a_reason_and_a_test() -> None:
    for what, why, proof in accepted():
        assert len(why.split()) > 3, what
        assert re.fullmatch(r"(story \*.+?\*|`tests/[\w/]+\.py::\w+`)(; `tests/[\w/]+\.py::\w+`)*", proof), what


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (resp.MAX_ARGUMENTS, "words"),
        (session_acl.MAX_USERS, "users"),
        (MAX_RULES, "rules and passwords"),
        (MAX_PATTERNS, "different patterns"),
        (MAX_PATTERN, "bytes fits nothing"),
        (MAX_PREFIXES, "tracking prefixes"),
        (network.LONG_BACKLOG, "long where"),
    ],
)
def test_the_limits_of_the_page_are_those_of_the_code(number: int, words: str) -> None:
    assert any(f"{number} {words}" in what for what, _, _ in accepted())


def test_no_command_of_ours_is_said_to_be_missing() -> None:
    assert all(cells[1] == "yes" for cells in rows("## Commands"))


def test_the_proof_of_a_statement_speaks_of_it() -> None:
    for cells in rows("After the word"):
        path = re.match(r"`?(tests/[\w/]+\.py)", cells[-1])
        assert path is not None
        assert cells[0] in (ROOT / path[1]).read_text(), cells
