"""Every story is told to ours and to stock; the answers are the same but for what `differences.py` accepts."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.real.harness_sentinels import Kind

from .differences import FROM_REDIS7, FROM_VALKEY9, NOT_FOR_REDIS7, Rule, unexplained
from .servers import Rival
from .stories import Heard, tell
from .tables import GUARDED, NAMED, STORIES

TELLINGS: dict[tuple[int, str], list[Heard]] = {}


def _told(rival: Rival, name: str, lines: list[str]) -> list[Heard]:
    """A story is told once to each."""
    key = (rival.port, name)
    if key not in TELLINGS:
        TELLINGS[key] = tell(rival.port, lines)
    return TELLINGS[key]


def _compare(rivals: Mapping[Kind, Rival], stock: Kind, name: str, rules: list[Rule]) -> set[str]:
    """Fails at a difference that no rule explains; the rules that were needed."""
    used: set[str] = set()
    if stock not in rivals:
        pytest.skip("left out: this story with Redis 7.0, because it is not installed")
    if stock is Kind.REDIS7 and name in NOT_FOR_REDIS7:
        return used
    lines = {**STORIES, **GUARDED, **NAMED}[name]
    found = unexplained(_told(rivals[stock], name, lines), _told(rivals[Kind.OURS], name, lines), rules, used)
    assert found is None, found
    return used


@pytest.mark.parametrize("name", STORIES)
def test_valkey_answers_alike(rivals: dict[Kind, Rival], name: str) -> None:
    _compare(rivals, Kind.VALKEY, name, FROM_VALKEY9)


@pytest.mark.parametrize("name", GUARDED)
def test_valkey_with_a_password_answers_alike(guarded: dict[Kind, Rival], name: str) -> None:
    _compare(guarded, Kind.VALKEY, name, FROM_VALKEY9)


@pytest.mark.parametrize("name", NAMED)
def test_valkey_with_other_names_answers_alike(named: dict[Kind, Rival], name: str) -> None:
    _compare(named, Kind.VALKEY, name, FROM_VALKEY9)


@pytest.mark.parametrize("name", STORIES)
def test_redis7_answers_alike(rivals: dict[Kind, Rival], name: str) -> None:
    _compare(rivals, Kind.REDIS7, name, FROM_REDIS7)


@pytest.mark.parametrize("name", GUARDED)
def test_redis7_with_a_password_answers_alike(guarded: dict[Kind, Rival], name: str) -> None:
    _compare(guarded, Kind.REDIS7, name, FROM_REDIS7)


@pytest.mark.parametrize(("stock", "rules"), [(Kind.VALKEY, FROM_VALKEY9), (Kind.REDIS7, FROM_REDIS7)])
def test_every_accepted_difference_is_still_one(
    rivals: dict[Kind, Rival], guarded: dict[Kind, Rival], stock: Kind, rules: list[Rule]
) -> None:
    unseen = {rule.name for rule in rules}
    for name in (*GUARDED, *STORIES):
        if unseen:
            unseen -= _compare(guarded if name in GUARDED else rivals, stock, name, rules)
    assert not unseen
