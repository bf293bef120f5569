"""Every story is told to ours and to stock; the answers are the same but for what `differences.py` names."""

from __future__ import annotations

import pytest

from tests.real.harness_sentinels import Kind

from .differences import FROM_REDIS7, FROM_VALKEY9
from .servers import Rival
from .stories import difference, tell
from .tables import GUARDED, STORIES


def _compare(kinds: dict[Kind, Rival], stock: Kind, lines: list[str], accepted: str | None) -> None:
    if stock not in kinds:
        pytest.skip("left out: this story with Redis 7.0, because it is not installed")
    found = difference(tell(kinds[stock].port, lines), tell(kinds[Kind.OURS].port, lines))
    if accepted is None:
        assert found is None, found
    else:
        assert found is not None, f"no longer different, although this is said: {accepted}"


@pytest.mark.parametrize("name", STORIES)
def test_valkey_answers_alike(rivals: dict[Kind, Rival], name: str) -> None:
    _compare(rivals, Kind.VALKEY, STORIES[name], FROM_VALKEY9.get(name))


@pytest.mark.parametrize("name", GUARDED)
def test_valkey_with_a_password_answers_alike(guarded: dict[Kind, Rival], name: str) -> None:
    _compare(guarded, Kind.VALKEY, GUARDED[name], FROM_VALKEY9.get(name))


@pytest.mark.parametrize("name", STORIES)
def test_redis7_answers_alike(rivals: dict[Kind, Rival], name: str) -> None:
    _compare(rivals, Kind.REDIS7, STORIES[name], FROM_REDIS7.get(name))


@pytest.mark.parametrize("name", GUARDED)
def test_redis7_with_a_password_answers_alike(guarded: dict[Kind, Rival], name: str) -> None:
    _compare(guarded, Kind.REDIS7, GUARDED[name], FROM_REDIS7.get(name))


def test_every_accepted_difference_is_one_of_a_story() -> None:
    assert set(FROM_VALKEY9) | set(FROM_REDIS7) <= {*STORIES, *GUARDED}
