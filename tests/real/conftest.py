"""The fixture ``lab``, the marks of the real scenarios, and what a failure report shows."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness import Kind, Lab, open_lab
from .harness_servers import redis7_missing


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real: starts real servers and sentinels")
    config.addinivalue_line("markers", "needs_redis7: needs redis-server and redis-sentinel 7.0 of the system")
    config.addinivalue_line("markers", "ours_only: shows what stock sentinels get wrong, so none can stand in for ours")


def pytest_runtest_setup(item: pytest.Item) -> None:
    missing = redis7_missing()
    if missing is not None and item.get_closest_marker("needs_redis7") is not None:
        pytest.skip(f"left out: this scenario with Redis 7.0, because {missing}")
    if item.get_closest_marker("ours_only") is not None and Kind.OURS.runs_as is not Kind.OURS:
        pytest.skip(f"left out: a {Kind.OURS.runs_as.value} sentinel stands in for ours and has this defect")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A fresh lab. After the test no sentinel may have written a traceback or ended by itself."""
    with open_lab(tmp_path) as opened:
        yield opened
        complaints = opened.complaints()
    assert not complaints, "\n".join(complaints)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    outcome = yield
    report = outcome.get_result()
    opened = getattr(item, "funcargs", {}).get("lab")
    if report.when == "call" and report.failed and isinstance(opened, Lab):
        report.sections.extend(opened.records())
