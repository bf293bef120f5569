"""sentinel.conf between us and the running stock sentinels: each loads what the other wrote, and errors agree."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from attrs import evolve

from tests.wire.test_conf_errors import BAD, Bad, Who
from trio_sentinel.adapters import disk
from trio_sentinel.model.settings import GlobalSettings, MasterSettings
from trio_sentinel.model.snapshot import MasterSnapshot, Snapshot
from trio_sentinel.model.values import Address, RunId
from trio_sentinel.wire.conf import Configuration, load_configuration, rewrite_configuration

from .harness_ports import PortClaims
from .harness_servers import redis7_binary, valkey_binary

pytestmark = pytest.mark.real

PATIENCE_S: Final = 10.0
VALKEY: Final = pytest.param("valkey", id="valkey-9.1")
REDIS: Final = pytest.param("redis", id="redis-7.0", marks=pytest.mark.needs_redis7)
STOCK: Final = pytest.mark.parametrize("stock", [VALKEY, REDIS])
STARTED: Final = "+monitor"


def command(stock: str, path: Path) -> list[str]:
    if stock == "valkey":
        return [valkey_binary(), str(path), "--sentinel"]
    return [redis7_binary("redis-sentinel"), str(path)]


def report(stock: str, path: Path) -> str:
    """What a stock sentinel says on stderr when it refuses the file; empty if it is still up after a moment."""
    with subprocess.Popen(
        command(stock, path), cwd=path.parent, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            return child.communicate(timeout=PATIENCE_S)[1]
        except subprocess.TimeoutExpired:
            child.kill()
            return ""


def started(stock: str, path: Path, masters: int = 1) -> str:
    """Start a stock sentinel, wait until it watches its masters, end it; the log."""
    log = path.parent / f"{path.name}.log"
    with log.open("wb") as output:
        child = subprocess.Popen(command(stock, path), cwd=path.parent, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + PATIENCE_S
            while log.read_text().count(STARTED) < masters and child.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
        finally:
            child.terminate()
            child.wait(PATIENCE_S)
    text = log.read_text()
    assert STARTED in text, text
    return text


def load(path: Path) -> Configuration:
    return load_configuration(
        path.read_bytes(),
        path=str(path),
        read_file=disk.read_file,
        glob_files=disk.glob_files,
        is_executable=disk.is_executable,
        resolve={"localhost": "127.0.0.1"}.get,
        working_dir=str(path.parent),
    )


@STOCK
def test_errors_are_those_of_the_live_programs(stock: str, tmp_path: Path) -> None:
    differing: list[str] = []
    cases = [bad for bad in BAD if bad.who is Who.ALL or (bad.who is Who.VALKEY and stock == "valkey")]
    assert len(cases) > 100
    for number, bad in enumerate(cases):
        path = tmp_path / f"{number}.conf"
        path.write_bytes(bad.text)
        expected = _expected(bad)
        said = report(stock, path).strip("\n").split("\n")[1:]
        if said != expected:
            differing.append(f"{bad.text!r}: stock {said}, ours {expected}")
    assert not differing, "\n".join(differing)


def _expected(bad: Bad) -> list[str]:
    if bad.line is None:
        return [bad.problem]
    shown = bad.text.split(b"\n")[bad.line - 1].strip(b" \t\r").decode()
    return [f"Reading the configuration file, at line {bad.line}", f">>> '{shown}'", bad.problem]


def awkward(script: str) -> Snapshot:
    """A state with everything that stock writes in a way that cannot be read again, and the rest."""
    first = MasterSnapshot(
        name="my master",
        address=Address("127.0.0.1", 1),
        settings=MasterSettings(
            quorum=2,
            down_after_ms=5000,
            failover_timeout_ms=2**40,
            parallel_syncs=3,
            reboot_down_after_ms=7,
            notification_script=script,
            client_reconfig_script=script,
            auth_user="",
            auth_pass='a "b" \\ \n é',
            renamed_commands=(("CONFIG", "x y"), ("SLAVEOF", "")),
        ),
        config_epoch=3,
        leader_epoch=4,
        replicas=(Address("127.0.0.1", 2), Address("::1", 2)),
        peers=((RunId("b" * 40), Address("127.0.0.1", 3)), (RunId("c" * 40), Address("127.0.0.1", 4))),
    )
    named = MasterSnapshot(
        name="named",
        address=Address("localhost", 5),
        settings=MasterSettings(quorum=1),
        replicas=(Address("gone.invalid", 6),),
    )
    settings = GlobalSettings(
        announce_ip="an nounced",
        announce_port=7,
        sentinel_user="u ser",
        sentinel_pass='p "ass',
        resolve_hostnames=True,
        announce_hostnames=True,
        deny_scripts_reconfig=False,
    )
    return Snapshot(my_id=RunId("a" * 40), current_epoch=5, settings=settings, masters=(first, named))


@pytest.fixture
def port() -> Iterator[int]:
    """A port for one sentinel."""
    claims = PortClaims()
    yield claims.claim()
    claims.release()


def ours(tmp_path: Path, port: int) -> tuple[Path, Configuration, Snapshot]:
    """A file written by us, with what it says."""
    script = tmp_path / "not ify.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o700)
    path = tmp_path / "s.conf"
    path.write_bytes(
        b'port %d\nbind 127.0.0.1\nrequirepass "a b"\nproc-title-template "{title} x"\nunixsocketperm 0700\n'
        b"client-output-buffer-limit pubsub 64mb 16mb 90 normal 1mb 2 3\nuser default on nopass ~* &* +@all\n"
        b"user app on >pw ~a* +ping\nsyslog-facility local3\nsave 60 1\nhz 11\n"
        b"sentinel monitor old 127.0.0.1 1 1\n" % port
    )
    loaded = load(path)
    snapshot = awkward(str(script))
    disk.save_file(str(path), rewrite_configuration(path.read_bytes(), loaded, snapshot))
    return path, loaded, snapshot


@STOCK
def test_stock_loads_what_we_write_and_we_load_what_it_makes_of_it(stock: str, tmp_path: Path, port: int) -> None:
    path, loaded, snapshot = ours(tmp_path, port)
    again = load(path)
    (first, named) = snapshot.masters
    cut = evolve(first, settings=evolve(first.settings, failover_timeout_ms=2**31 - 1))
    assert again.snapshot == evolve(snapshot, masters=(cut, named))
    assert again.directives == loaded.directives
    log = started(stock, path, masters=2)
    assert "+monitor master my master 127.0.0.1 1 quorum 2" in log
    assert "+monitor master named localhost 5 quorum 1" in log


@STOCK
def test_we_load_what_stock_writes(stock: str, tmp_path: Path, port: int) -> None:
    path = tmp_path / "s.conf"
    path.write_bytes(
        b"port %d\nbind 127.0.0.1\nrequirepass foo\nclient-output-buffer-limit pubsub 64mb 16mb 90 normal 1mb 2 3\n"
        b"sentinel monitor m 127.0.0.1 1 2\nsentinel down-after-milliseconds m 5000\nsentinel auth-pass m x\n"
        b"sentinel known-replica m 127.0.0.1 2\nsentinel known-sentinel m 127.0.0.1 3 %s\n"
        b"sentinel rename-command m CONFIG cfg\nsentinel config-epoch m 6\nsentinel announce-port 7\n"
        b"sentinel master-reboot-down-after-period m 3000\n" % (port, b"b" * 40)
    )
    before = load(path)
    started(stock, path)
    after = load(path)
    assert after.snapshot.my_id is not None
    assert after.snapshot == evolve(before.snapshot, my_id=after.snapshot.my_id)
    assert after.directives == evolve(before.directives, users=after.directives.users)
    secret = "#2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
    assert after.directives.users == (("default", "on", secret, "~*", "&*", "+@all"),)
    assert rewrite_configuration(path.read_bytes(), after, after.snapshot) is not None


@STOCK
def test_a_first_start_writes_the_lines_that_stock_writes(stock: str, tmp_path: Path, port: int) -> None:
    """Line by line, in the order of the file; lines that are appended have no order in stock."""
    text = b"# c\nport %d\n\n\n bind   127.0.0.1 \nrequirepass foo\nSentinel monitor m 127.0.0.1 1 1\n" % port
    text += b"sentinel parallel-syncs m 1\nsentinel announce-port 0\n# end\nsyslog-enabled no\n"
    path = tmp_path / "s.conf"
    path.write_bytes(text)
    before = load(path)
    started(stock, path)
    theirs = path.read_bytes()
    my_id = load(path).snapshot.my_id
    mine = rewrite_configuration(text, before, evolve(before.snapshot, my_id=my_id))
    kept = theirs.replace(b"latency-tracking-info-percentiles 50 99 99.9\n", b"")
    head, marker, tail = kept.partition(b"# Generated by CONFIG REWRITE\n")
    our_head, our_marker, our_tail = mine.partition(b"# Generated by CONFIG REWRITE\n")
    assert (head, marker) == (our_head, our_marker)
    assert sorted(tail.split(b"\n")) == sorted(our_tail.split(b"\n"))


@STOCK
def test_stock_starts_again_after_we_took_over_an_included_file(stock: str, tmp_path: Path, port: int) -> None:
    (tmp_path / "masters.conf").write_bytes(b"sentinel monitor m 127.0.0.1 1 1\nuser x on\nrename-command INFO i\n")
    path = tmp_path / "s.conf"
    path.write_bytes(b"port %d\nbind 127.0.0.1\ninclude %s/masters.conf\n" % (port, str(tmp_path).encode()))
    loaded = load(path)
    snapshot = evolve(loaded.snapshot, my_id=RunId("a" * 40))
    disk.save_file(str(path), rewrite_configuration(path.read_bytes(), loaded, snapshot))
    started(stock, path)
    assert load(path).snapshot == snapshot
    started(stock, path)
