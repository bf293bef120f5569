"""Fixtures for tests of applications, registered with pytest when trio-sentinel is installed.

def test_my_client_survives_a_failover(deployment):
    ...

@pytest.mark.deployment(sentinels=5, replicas=1, seed=7)
def test_with_more_sentinels(deployment):
    ...
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from trio_sentinel.sim.deployment import Deployment

MARK = "deployment(**options): options of the simulated deployment, as trio_sentinel.sim.Deployment takes them"


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest of the mark."""
    config.addinivalue_line("markers", MARK)


@pytest.fixture
def make_deployment() -> Callable[..., Deployment]:
    """``trio_sentinel.sim.Deployment``, for tests that need more than one or decide on the way."""
    from trio_sentinel.sim.deployment import Deployment

    return Deployment


@pytest.fixture
def deployment(request: pytest.FixtureRequest, make_deployment: Callable[..., Deployment]) -> Deployment:
    """A simulated deployment on virtual time: three sentinels, a master and two replicas, unless marked otherwise."""
    mark = request.node.get_closest_marker("deployment")
    if mark is None:
        return make_deployment()
    if mark.args:
        raise pytest.UsageError(f"{request.node.nodeid}: the mark 'deployment' takes options by their names only")
    return make_deployment(**mark.kwargs)
