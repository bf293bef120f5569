"""Everything over TLS with client certificates: data servers, sentinels among themselves, and their clients."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from .harness import LOOPBACK, MASTER, Lab
from .harness_papers import Certificates
from .harness_processes import Child
from .harness_sentinels import REPOSITORY, Kind
from .harness_servers import redis7_binary

pytestmark = pytest.mark.real


def tls_only(papers: Certificates, port: int) -> list[str]:
    """The lines of a program that speaks TLS and nothing else, to everybody."""
    return ["port 0", f"bind {LOOPBACK}", "tls-replication yes", *papers.lines(port)]


def client_of(papers: Certificates, port: int, *, with_certificate: bool = True) -> redis.Redis:
    shown = papers.shown(with_certificate=with_certificate)
    return redis.Redis(host=LOOPBACK, port=port, decode_responses=True, **shown)


def _run(lab: Lab, name: str, command: Sequence[str], lines: Sequence[str], directory: Path) -> Child:
    home = directory / name
    home.mkdir()
    conf = home / "program.conf"
    conf.write_text("\n".join([*lines, f"dir {home}", f"logfile {home / 'log'}"]) + "\n")
    child = Child(name, [word.replace("CONF", str(conf)) for word in command], out_path=home / "out", cwd=home)
    child.environment = {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}
    return child


@pytest.mark.needs_redis7
def test_a_failover_over_tls_with_client_certificates(lab: Lab, tmp_path: Path) -> None:
    papers = Certificates(tmp_path)
    ports = [lab.ports.claim() for _ in range(6)]
    children: list[Child] = []
    try:
        for number, port in enumerate(ports[:3]):
            lines = [*tls_only(papers, port), 'save ""', "repl-diskless-sync-delay 0"]
            if number:
                lines.append(f"replicaof {LOOPBACK} {ports[0]}")
            children.append(_run(lab, f"server{number}", [redis7_binary("redis-server"), "CONF"], lines, tmp_path))
        for number, port in enumerate(ports[3:]):
            watch = [
                f"sentinel monitor {MASTER} {LOOPBACK} {ports[0]} 2",
                f"sentinel down-after-milliseconds {MASTER} 1000",
                f"sentinel failover-timeout {MASTER} 5000",
            ]
            command = Kind.OURS.command(Path("CONF"))
            children.append(_run(lab, f"sentinel{number}", command, [*tls_only(papers, port), *watch], tmp_path))
        for child in children:
            child.spawn()
        clients = [client_of(papers, port) for port in ports[3:]]

        def ask(client: redis.Redis, *words: str) -> Any:
            return client.execute_command(*words)

        def acquainted() -> bool:
            masters: list[Any] = [client.sentinel_master(MASTER) for client in clients]
            return all(m["num-other-sentinels"] == 2 and m["num-slaves"] == 2 for m in masters)

        lab.wait_until(acquainted, "the sentinels know each other and the replicas, over TLS")
        assert [ask(client, "SENTINEL", "CKQUORUM", MASTER)[:2] for client in clients] == ["OK"] * 3
        with pytest.raises((redis.ConnectionError, OSError)):
            client_of(papers, ports[3], with_certificate=False).ping()

        children[0].kill()

        def switched() -> int | None:
            told = {int(ask(client, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)[1]) for client in clients}
            return told.pop() if len(told) == 1 and ports[0] not in told else None

        new_port = lab.wait_until(switched, "all agree on a new master")
        assert new_port is not None
        assert client_of(papers, new_port).info("replication")["role"] == "master"
    finally:
        for child in children:
            child.clean_up()


@pytest.mark.parametrize("way", ["signal", "interval"])
def test_certificates_are_renewed_without_a_restart(lab: Lab, tmp_path: Path, way: str) -> None:
    """Who is connected stays so; who comes later meets the new certificate and needs one of the new authority."""
    papers = Certificates(tmp_path)
    (tmp_path / "old").mkdir()
    for name in ("ca.pem", "cert.pem", "key.pem"):
        shutil.copy(tmp_path / name, tmp_path / "old" / name)
    port, nobody = lab.ports.claim(), lab.ports.claim()
    lines = [*tls_only(papers, port), f"sentinel monitor {MASTER} {LOOPBACK} {nobody} 1"]
    if way == "interval":
        lines.append("tls-auto-reload-interval 1")
    child = _run(lab, "sentinel", Kind.OURS.command(Path("CONF")), lines, tmp_path)
    try:
        child.spawn()
        before = client_of(papers, port)
        lab.wait_until(before.ping, "it answers over TLS")
        if way == "signal":
            Path(papers.key).write_text("half written")
            child.send_signal(signal.SIGHUP)
            log = tmp_path / "sentinel" / "log"
            lab.wait_until(lambda: "TLS certificates stay as they were" in log.read_text(), "it says what is wrong")
            shutil.copy(tmp_path / "old" / "key.pem", papers.key)
            assert client_of(papers, port).ping()
        papers.issue()
        if way == "signal":
            child.send_signal(signal.SIGHUP)
        lab.wait_until(lambda: client_of(papers, port).ping(), "it shows the new certificate and takes one of ours")
        assert before.ping()
        old = redis.Redis(
            host=LOOPBACK,
            port=port,
            ssl=True,
            ssl_ca_certs=papers.authority,
            ssl_certfile=str(tmp_path / "old" / "cert.pem"),
            ssl_keyfile=str(tmp_path / "old" / "key.pem"),
        )
        with pytest.raises((redis.ConnectionError, OSError)):
            old.ping()
    finally:
        child.clean_up()
