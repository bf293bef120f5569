"""A small siege in every run: nothing is asserted about time, except that it ends."""

from __future__ import annotations

import pytest

from tests.bench.rig import sides

from .siege import besiege

pytestmark = pytest.mark.real


def test_clients_are_answered_and_a_failover_happens_while_hostile_connections_are_at_work() -> None:
    figures = besiege(sides((), ("valkey", "redis7"))[0], connections=120, seconds=4)
    assert figures.connected > 60, "this was no siege"
    assert figures.rss_mib < 256
