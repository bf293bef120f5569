"""A client that never stops writing: redis-py's own Sentinel class, which learns of a failover as any program does."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import redis
from redis.sentinel import Sentinel as SentinelClient

from .harness_processes import LOOPBACK
from .harness_sentinels import MASTER, Sentinel
from .harness_servers import DataServer

WAIT_MS = 50
PAUSE_AFTER_FAILURE_SECONDS = 0.05
PAUSE_AFTER_WRITE_SECONDS = 0.002


class Writer:
    """Sets one new key after the other on whoever the sentinels say is the master; a context manager.

    `acknowledged` are the numbers of the keys whose SET was answered with OK; `confirmed` maps such a number to how
    many replicas had it when WAIT returned.
    """

    def __init__(self, sentinels: Sequence[Sentinel]) -> None:
        self.acknowledged: list[int] = []
        self.confirmed: dict[int, int] = {}
        self.failures: list[str] = []
        client = SentinelClient([(LOOPBACK, one.port) for one in sentinels], socket_timeout=1.0)
        self._master: redis.Redis = client.master_for(MASTER, socket_timeout=1.0)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._write, name="writer", daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(30.0)
        assert not self._thread.is_alive(), "the writer hangs"
        self._master.close()

    def _write(self) -> None:
        number = 0
        while not self._ending.is_set():
            number += 1
            try:
                # One pipeline is one connection, so that WAIT speaks of this very write.
                pipeline = self._master.pipeline(transaction=False)
                pipeline.set(f"write:{number}", number)
                pipeline.execute_command("WAIT", 2, WAIT_MS)
                acknowledged, replicas = pipeline.execute(raise_on_error=False)
            except (redis.RedisError, OSError) as error:
                self.failures.append(repr(error))
                time.sleep(PAUSE_AFTER_FAILURE_SECONDS)
                continue
            if acknowledged is True:
                self.acknowledged.append(number)
                self.confirmed[number] = replicas if isinstance(replicas, int) else 0
            else:
                self.failures.append(repr(acknowledged))
            time.sleep(PAUSE_AFTER_WRITE_SECONDS)

    def more_than(self, count: int) -> bool:
        """Have more than `count` writes been acknowledged?"""
        return len(self.acknowledged) > count

    def lost_on(self, server: DataServer) -> list[int]:
        """The acknowledged writes that `server` does not have."""
        present = set(server.client.scan_iter("write:*", count=10_000))
        return [number for number in self.acknowledged if f"write:{number}" not in present]
