"""The text of INFO as a Redis 7.0 server writes it, as far as a sentinel and its operator look."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

from trio_sentinel.model.values import Address, InfoReading, Role

REDIS_VERSION: Final = "7.0.15"
NO_REPLID: Final = "0" * 40


def replid(branch: int) -> str:
    """What real servers would call a branch of the data: 40 hexadecimal characters."""
    return hashlib.sha1(b"branch %d" % branch, usedforsecurity=False).hexdigest()


def info_text(
    reading: InfoReading,
    address: Address,
    *,
    loading: bool = False,
    syncing: bool = False,
    branch: int = 0,
    former: tuple[int, int] | None = None,
) -> bytes:
    """What INFO without arguments says when `reading` is to be read in it. The data are of a `branch`, and before that
    they were of the `former` one, up to some offset."""
    lines = [
        "# Server",
        f"redis_version:{REDIS_VERSION}",
        "redis_mode:standalone",
        "os:Linux",
        f"run_id:{reading.run_id}",
        f"tcp_port:{address.port}",
        "",
        "# Clients",
        "connected_clients:1",
        "blocked_clients:0",
        "",
        "# Persistence",
        f"loading:{int(loading)}",
        "",
        "# Replication",
        *_replication(reading, syncing=syncing),
        *_history(reading, branch, former),
        "",
        "# CPU",
        "used_cpu_sys:0.000000",
        "",
        "# Keyspace",
    ]
    return "".join(f"{line}\r\n" for line in lines).encode()


def _replication(reading: InfoReading, *, syncing: bool) -> Iterator[str]:
    if reading.role is Role.REPLICA:
        yield from _of_replica(reading, syncing=syncing)
    else:
        yield "role:master"
    yield f"connected_slaves:{len(reading.replicas)}"
    for number, replica in enumerate(reading.replicas):
        yield (
            f"slave{number}:ip={replica.host},port={replica.port},state=online,offset={reading.repl_offset or 0},lag=0"
        )
    yield f"master_failover_state:{reading.failover_state}"


def _history(reading: InfoReading, branch: int, former: tuple[int, int] | None) -> Iterator[str]:
    yield f"master_replid:{replid(branch)}"
    yield f"master_replid2:{NO_REPLID if former is None else replid(former[0])}"
    written = reading.repl_offset if reading.written_offset is None else reading.written_offset
    yield f"master_repl_offset:{written or 0}"
    yield f"second_repl_offset:{-1 if former is None else former[1] + 1}"
    yield "repl_backlog_active:1"


def _of_replica(reading: InfoReading, *, syncing: bool) -> Iterator[str]:
    up = bool(reading.master_link_up)
    yield "role:slave"
    yield f"master_host:{reading.master_host}"
    yield f"master_port:{reading.master_port}"
    yield f"master_link_status:{'up' if up else 'down'}"
    yield f"master_last_io_seconds_ago:{0 if up else -1}"
    yield f"master_sync_in_progress:{int(syncing)}"
    yield f"slave_read_repl_offset:{reading.repl_offset}"
    yield f"slave_repl_offset:{reading.repl_offset}"
    if not up:
        yield f"master_link_down_since_seconds:{reading.master_link_down_ms // 1000}"
    yield f"slave_priority:{reading.priority}"
    yield "slave_read_only:1"
    yield f"replica_announced:{int(bool(reading.announced))}"
