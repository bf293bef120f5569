"""The simulated deployment as a test of an application uses it, and the README's example of it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import trio_sentinel.sim
from trio_sentinel.errors import CommandRefused
from trio_sentinel.model.events import MasterSwitched
from trio_sentinel.sim import CLIENT, Deployment, NotInTime, ServerUnreachable

ROOT = Path(__file__).resolve().parents[2]


def test_the_tests_that_are_shown_in_the_documents_pass(tmp_path: Path) -> None:
    """As a user runs them: in a directory of their own, with the plugin that comes with the package."""
    for document in ("README.md", "docs/simulation.md"):
        shown = re.findall(r"^```python\n(.*?)^```$", (ROOT / document).read_text(), re.DOTALL | re.MULTILINE)
        (program,) = [text for text in shown if "def test_" in text]
        (tmp_path / f"test_{Path(document).stem.lower()}.py").write_text(program)
    command = [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_every_public_name_is_there() -> None:
    for name in trio_sentinel.sim.__all__:
        assert not hasattr(getattr(trio_sentinel.sim, name), "__path__")
        assert type(getattr(trio_sentinel.sim, name)).__name__ != "module"
    with pytest.raises(AttributeError):
        trio_sentinel.sim.nothing  # noqa: B018


def test_a_dead_master_is_replaced_and_comes_back_as_a_replica(deployment: Deployment) -> None:
    old = deployment.master_address()
    assert len(deployment.replica_addresses()) == 2
    deployment.kill(old)
    took_s = deployment.advance_until(lambda: deployment.master_address() != old)
    assert 0.9 < took_s < 5
    deployment.restart(old)
    deployment.advance(30)
    assert deployment.role(old) == "replica"
    assert old in deployment.replica_addresses()
    assert {deployment.master_address(name) for name in deployment.sentinels} == {deployment.master_address()}
    assert sum(isinstance(happened.event, MasterSwitched) for happened in deployment.events) == 3


def test_a_client_alone_with_the_old_master_loses_what_it_writes(deployment: Deployment) -> None:
    old = deployment.master_address()
    deployment.start_writing(every_s=0.1)
    deployment.partition([old, CLIENT, "s1"])
    deployment.advance(10)
    assert deployment.master_address() == old
    own = deployment.write(old)
    deployment.heal()
    deployment.advance(40)
    assert deployment.master_address() != old
    assert deployment.is_lost(own)
    assert deployment.writes.lost > 50
    assert deployment.writes.acknowledged > deployment.writes.lost


@pytest.mark.deployment(min_replicas_to_write=1, down_after_s=20)
def test_a_master_without_replicas_refuses_writes_when_it_is_told_to(deployment: Deployment) -> None:
    old = deployment.master_address()
    deployment.partition([old, CLIENT])
    deployment.advance(15)
    with pytest.raises(CommandRefused, match="NOREPLICAS"):
        deployment.write(old)


def test_what_a_client_meets_has_the_words_of_a_real_server(deployment: Deployment) -> None:
    master, replica, _ = deployment.servers
    with pytest.raises(CommandRefused, match="READONLY"):
        deployment.write(replica)
    deployment.freeze(master)
    with pytest.raises(ServerUnreachable):
        deployment.write(master)
    with pytest.raises(ConnectionError):
        deployment.role(master)
    deployment.thaw(master)
    assert not deployment.is_lost(deployment.write(master))
    for name in deployment.sentinels:
        deployment.kill(name)
    with pytest.raises(ServerUnreachable, match="no sentinel answers"):
        deployment.master_address()


def test_an_operator_can_order_a_failover_and_is_told_why_not(deployment: Deployment) -> None:
    old = deployment.master_address()
    deployment.failover("s2", coordinated=True)
    deployment.advance_until(lambda: deployment.master_address() != old, timeout_s=5)
    for server in deployment.servers:
        if server != deployment.master_address():
            deployment.kill(server)
    deployment.advance(10)
    with pytest.raises(CommandRefused, match="NOGOODSLAVE"):
        deployment.failover("s3")


def test_waiting_in_vain_ends(deployment: Deployment) -> None:
    began_s = deployment.now_s
    with pytest.raises(NotInTime):
        deployment.advance_until(lambda: False, timeout_s=3)
    assert 3 <= deployment.now_s - began_s <= 3.1


@pytest.mark.parametrize("stock", [(), ("redis 7", None, "valkey 9"), ("redis 7", "redis 7", "redis 7")])
def test_stock_sentinels_can_be_among_them(
    stock: tuple[str | None, ...], make_deployment: Callable[..., Deployment]
) -> None:
    deployment = make_deployment(stock=stock, replicas=1)
    old = deployment.master_address()
    deployment.kill(old, power=True)
    deployment.advance_until(lambda: deployment.master_address() != old)
    assert deployment.writes.acknowledged == 0


def test_the_same_calls_have_the_same_consequences(make_deployment: Callable[..., Deployment]) -> None:
    def story(seed: int) -> list[str]:
        deployment = make_deployment(seed=seed, latency_ms=(1, 30))
        deployment.kill(deployment.master_address())
        deployment.advance(10)
        return [f"{happened.at_s} {happened.sentinel} {happened.event}" for happened in deployment.events]

    assert story(1) == story(1)
    assert story(1) != story(2)
