"""The simulated deployment as a test of an application uses it, and the README's example of it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trio_sentinel.sim
from trio_sentinel.errors import CommandRefused
from trio_sentinel.model.events import MasterSwitched
from trio_sentinel.model.values import Address
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


# ---------------------------------------------------------------- what is no deployment, no place and no time


@pytest.mark.parametrize(
    "options",
    [
        {"sentinels": 0},
        {"sentinels": 251},
        {"replicas": -1},
        {"quorum": 0},
        {"down_after_s": 0},
        {"down_after_s": -1},
        {"down_after_s": float("nan")},
        {"failover_timeout_s": float("inf")},
        {"latency_ms": (5, 1)},
        {"latency_ms": (-5, 1)},
        {"min_replicas_to_write": -1},
        {"stock": ("redis 6",)},
        {"stock": "redis 7"},
        {"stock": ("redis 7",) * 4},
    ],
    ids=str,
)
def test_what_no_deployment_can_be_is_refused_by_its_name(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ValueError, match=f"^{name}: "):
        Deployment(**options)


@pytest.mark.parametrize("deed", ["kill", "restart", "freeze", "thaw"])
def test_a_place_that_is_none_is_told_with_those_there_are(deployment: Deployment, deed: str) -> None:
    for place in ("s4", "10.0.0.1:6379", Address("10.0.0.9", 6379)):
        with pytest.raises(ValueError, match=r"is no place: sentinels are s1, s2, s3; servers, 10\.0\.0\.1:6379, "):
            getattr(deployment, deed)(place)
    with pytest.raises(ValueError, match="no process"):
        getattr(deployment, deed)(CLIENT)


def test_groups_of_a_partition_are_lists_of_places_and_have_none_in_common(deployment: Deployment) -> None:
    master = deployment.master_address()
    for groups in (["s1"], [master]):
        with pytest.raises(ValueError, match="a group is a list of places"):
            deployment.partition(*groups)
    with pytest.raises(ValueError, match="s1 is in two groups"):
        deployment.partition([master, "s1"], ["s1"])
    with pytest.raises(ValueError, match="is no place"):
        deployment.partition(["s4"])
    deployment.advance(5)
    assert deployment.master_address("s1") == deployment.master_address("s2") == master


def test_time_passes_forward_only(deployment: Deployment) -> None:
    for seconds in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="time passes forward only"):
            deployment.advance(seconds)
    with pytest.raises(ValueError, match="timeout_s"):
        deployment.advance_until(lambda: False, timeout_s=float("nan"))
    with pytest.raises(ValueError, match="every_s"):
        deployment.start_writing(every_s=0)
    assert deployment.now_s == 15


def test_a_sentinel_that_does_not_run_or_does_not_exist_takes_no_orders(deployment: Deployment) -> None:
    deployment.kill("s1")
    deployment.freeze("s2")
    for name in ("s1", "s2"):
        with pytest.raises(ServerUnreachable):
            deployment.failover(name)
    with pytest.raises(ServerUnreachable, match="no answer from s2"):
        deployment.master_address("s2")
    for asked in (deployment.failover, deployment.master_address):
        with pytest.raises(ValueError, match="'s4' is no sentinel"):
            asked("s4")


def test_what_happens_twice_changes_nothing_the_second_time(deployment: Deployment) -> None:
    old = deployment.master_address()
    for place in (old, "s1"):
        deployment.kill(place)
        deployment.kill(place, power=True)
        deployment.freeze(place)
        deployment.thaw(place)
    deployment.advance(10)
    for place in (old, "s1"):
        deployment.restart(place)
        deployment.restart(place)
    deployment.advance(30)
    assert deployment.role(old) == "replica"
    assert deployment.master_address("s1") == deployment.master_address("s2") != old


def test_a_mark_without_names_is_refused(tmp_path: Path) -> None:
    """It would be left out in silence, and the test would mean something else."""
    (tmp_path / "test_it.py").write_text(
        "import pytest\n@pytest.mark.deployment(5)\ndef test_it(deployment):\n    pass\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "takes options by their names only" in done.stdout


def test_what_was_cut_stays_cut_until_it_is_healed(deployment: Deployment) -> None:
    deployment.partition(["s1"])
    deployment.partition(["s2"])
    for name in ("s1", "s2"):
        with pytest.raises(ServerUnreachable):
            deployment.master_address(name)
    assert deployment.master_address("s3") == deployment.servers[0]
    deployment.heal()
    assert deployment.master_address("s1") == deployment.master_address("s2") == deployment.servers[0]
