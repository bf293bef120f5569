"""The sentinels that a whole run compares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.real.harness_sentinels import Kind

from .servers import PASSWORD, Rival, open_rivals


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/parity" in str(item.path):
            item.add_marker(pytest.mark.real)


@pytest.fixture(scope="session")
def rivals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Kind, Rival]]:
    """Ports that are open to everybody."""
    with open_rivals(tmp_path_factory.mktemp("open")) as started:
        yield started


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Kind, Rival]]:
    """Ports that ask for a password."""
    with open_rivals(tmp_path_factory.mktemp("guarded"), f"requirepass {PASSWORD}") as started:
        yield started


@pytest.fixture(scope="session")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Kind, Rival]]:
    """Ports that use the names of Redis and tell where they are, which Redis 7.0 cannot do."""
    lines = [
        "extended-redis-compatibility yes",
        'availability-zone "zone 1"',
        'rename-command PING ""',
        "rename-command info Tell",
        "rename-command sentinel watch",
    ]
    kinds = (Kind.OURS, Kind.VALKEY)
    with open_rivals(tmp_path_factory.mktemp("named"), *lines, kinds=kinds) as started:
        yield started
