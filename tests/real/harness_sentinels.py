"""Sentinels of three kinds, started from one description: ours, Valkey's and Redis 7.0's."""

from __future__ import annotations

import enum
import os
import re
import sys
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import redis

from .harness_processes import LOOPBACK, NO_ANSWER, Child, open_client, read_text
from .harness_servers import redis7_binary, valkey_binary

REPOSITORY = Path(__file__).resolve().parents[2]
STAND_IN_VARIABLE = "TRIO_SENTINEL_STAND_IN"
MASTER = "mymaster"
HELLO_CHANNEL = "__sentinel__:hello"

# The periods that the scenarios shorten, by SENTINEL DEBUG, on every kind alike. The ping period is also stock's gap
# between two attempts to connect: when down-after is not clearly longer, stock finds the new master down before it has
# connected to it, and fails over a second time. Replica selection measures freshness in ping periods, five of them.
PACE = {
    "info-period": 500,
    "ping-period": 400,
    "publish-period": 400,
    "election-timeout": 3000,
    "tilt-period": 2500,
}

_LOG_LINE = re.compile(r"^\d+:X \d+ \w+ \d+ [\d:.]+ [-.*#] ([+-][a-z][a-z-]*) (.*)$")


class Kind(enum.Enum):
    """Who a sentinel is."""

    OURS = "ours"
    VALKEY = "valkey"
    REDIS7 = "redis7"

    @property
    def runs_as(self) -> Kind:
        """The program that is really started: a stock one can stand in for ours, to try the scenarios themselves."""
        if self is Kind.OURS and (stand_in := os.environ.get(STAND_IN_VARIABLE)):
            return Kind(stand_in)
        return self

    def command(self, conf: Path) -> list[str]:
        match self.runs_as:
            case Kind.OURS:
                return [sys.executable, "-m", "trio_sentinel", str(conf)]
            case Kind.VALKEY:
                return [valkey_binary(), str(conf), "--sentinel"]
            case Kind.REDIS7:
                return [redis7_binary("redis-sentinel"), str(conf)]


class Event(NamedTuple):
    """What a subscriber of a sentinel was told."""

    channel: str
    payload: str

    def __str__(self) -> str:
        return f"{self.channel} {self.payload}"


class Watch(NamedTuple):
    """One monitored master as it stands in sentinel.conf."""

    port: int
    name: str = MASTER
    host: str = LOOPBACK
    quorum: int = 2
    down_after_ms: int = 1000
    failover_timeout_ms: int = 5000
    parallel_syncs: int = 1

    def lines(self) -> list[str]:
        return [
            f"sentinel monitor {self.name} {self.host} {self.port} {self.quorum}",
            f"sentinel down-after-milliseconds {self.name} {self.down_after_ms}",
            f"sentinel failover-timeout {self.name} {self.failover_timeout_ms}",
            f"sentinel parallel-syncs {self.name} {self.parallel_syncs}",
        ]


class EventLog:
    """Everything that one subscriber of ``*`` was told, from the moment of construction on."""

    def __init__(self, port: int, password: str | None = None) -> None:
        self._seen: list[Event] = []
        self._client = open_client(port, password)
        self._pubsub = self._client.pubsub()
        self._pubsub.psubscribe("*")
        confirmation = self._pubsub.get_message(timeout=10.0)
        assert confirmation is not None and confirmation["type"] == "psubscribe", confirmation
        self._closing = False
        self._thread = threading.Thread(target=self._listen, name=f"events of :{port}", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._closing:
            try:
                message = self._pubsub.get_message(timeout=0.5)
            except (*NO_ANSWER, ValueError):
                return
            if message is not None and message["type"] == "pmessage":
                self._seen.append(Event(message["channel"], message["data"]))

    def all(self) -> tuple[Event, ...]:
        return tuple(self._seen)

    def channels(self) -> list[str]:
        return [event.channel for event in self._seen]

    def named(self, channel: str) -> list[str]:
        """The payloads heard on `channel`, in order."""
        return [event.payload for event in self._seen if event.channel == channel]

    def forget(self) -> None:
        self._seen.clear()

    def close(self) -> None:
        self._closing = True
        self._thread.join(5.0)
        self._client.close()


class Sentinel(Child):
    """A sentinel on 127.0.0.1:`port`. Its configuration file has a directory of its own, apart from its log."""

    def __init__(
        self,
        name: str,
        kind: Kind,
        *,
        port: int,
        directory: Path,
        watches: Sequence[Watch],
        lines: Sequence[str] = (),
        password: str | None = None,
    ) -> None:
        self.kind = kind
        self.port = port
        self.directory = directory
        (directory / "conf").mkdir()
        self.conf_path = directory / "conf" / "sentinel.conf"
        self.log_path = directory / "sentinel.log"
        self.pace = dict(PACE)
        self.events_seen: EventLog | None = None
        head = [
            f"port {port}",
            f"bind {LOOPBACK}",
            f"dir {directory}",
            f"logfile {self.log_path}",
            "loglevel verbose",
        ]
        masters = [line for watch in watches for line in watch.lines()]
        self.conf_path.write_text("\n".join([*head, *lines, *masters]) + "\n")
        super().__init__(name, kind.command(self.conf_path), out_path=directory / "sentinel.out", cwd=directory)
        self.environment = {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}
        self.password = password
        self.client: redis.Redis = open_client(port, password)

    # -- life

    def become(self, kind: Kind) -> None:
        """The next start runs another program on the same configuration file."""
        assert not self.alive
        self.kind = kind
        self.argv = kind.command(self.conf_path)

    def after_start(self) -> None:
        """Once it answers: shorten its periods and listen to its events."""
        self.set_pace()
        self.events_seen = EventLog(self.port, self.password)

    def set_pace(self, **periods: int) -> None:
        """SENTINEL DEBUG with the pace of the scenarios, changed by `periods` (underscores for dashes)."""
        self.pace |= {key.replace("_", "-"): value for key, value in periods.items()}
        words = [str(word) for pair in self.pace.items() for word in pair]
        if words:
            assert self.ask("SENTINEL", "DEBUG", *words) == "OK"

    def clean_up(self) -> None:
        super().clean_up()
        if self.events_seen is not None:
            self.events_seen.close()
        self.client.close()

    # -- questions

    def ask(self, *words: object) -> Any:
        """The reply to a command; raises redis.ResponseError for an error reply."""
        return self.client.execute_command(*words)

    def ask_error(self, *words: object) -> str:
        """The text of the error that a command is answered with, without a leading ``ERR``."""
        try:
            reply = self.ask(*words)
        except redis.ResponseError as error:
            return str(error)
        raise AssertionError(f"{self.name} answered {words} with {reply!r} and not with an error")

    @property
    def events(self) -> EventLog:
        assert self.events_seen is not None
        return self.events_seen

    @property
    def id(self) -> str:
        return str(self.ask("SENTINEL", "MYID"))

    def master(self, name: str = MASTER) -> dict[str, str]:
        return pairs(self.ask("SENTINEL", "MASTER", name))

    def replicas(self, name: str = MASTER) -> dict[tuple[str, int], dict[str, str]]:
        """By address."""
        found = [pairs(each) for each in self.ask("SENTINEL", "REPLICAS", name)]
        return {(each["ip"], int(each["port"])): each for each in found}

    def peers(self, name: str = MASTER) -> dict[int, dict[str, str]]:
        """By port."""
        return {int(each["port"]): each for each in map(pairs, self.ask("SENTINEL", "SENTINELS", name))}

    def address(self, name: str = MASTER) -> tuple[str, int] | None:
        reply = self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
        return None if reply is None else (str(reply[0]), int(reply[1]))

    def info(self) -> dict[str, str]:
        return {str(key): str(value) for key, value in self.client.info("sentinel").items()}

    def opinion(self, port: int, epoch: int, candidate: str = "*") -> tuple[bool, str, int]:
        """Ask as a peer asks: is that master down, and who has this sentinel's vote (in `epoch` for `candidate`)?"""
        down, leader, leader_epoch = self.ask("SENTINEL", "IS-MASTER-DOWN-BY-ADDR", LOOPBACK, port, epoch, candidate)
        return bool(int(down)), str(leader), int(leader_epoch)

    # -- files

    def conf(self) -> str:
        return self.conf_path.read_text()

    def conf_values(self, *words: str) -> list[str]:
        """What follows `words` on each line of sentinel.conf that begins with them, quotes taken away."""
        prefix = " ".join(words) + " "
        return [line[len(prefix) :].replace('"', "") for line in self.conf().splitlines() if line.startswith(prefix)]

    def log(self) -> str:
        return read_text(self.log_path)

    def logged_events(self) -> list[Event]:
        """The events in the log, of all runs."""
        found = map(_LOG_LINE.match, self.log().splitlines())
        return [Event(match[1], match[2]) for match in found if match is not None]

    def describe(self) -> str:
        """Its view of its masters for a failure message."""
        head = f"{self.name} ({self.kind.value} as {self.kind.runs_as.value}) :{self.port}"
        if not self.alive or self.stopped:
            return f"{head} " + ("stopped" if self.stopped else f"not running, exit code {self.exit_code}")
        try:
            masters = [pairs(each) for each in self.ask("SENTINEL", "MASTERS")]
            lines = [f"{head} id {self.id}"]
            for master in masters:
                kept = ("name", "ip", "port", "flags", "failover-state", "config-epoch", "quorum", "s-down-time")
                lines.append("    " + " ".join(f"{key}={master[key]}" for key in kept if key in master))
                lines += [
                    f"        replica {where[1]} {each['flags']} offset={each['slave-repl-offset']} "
                    f"master={each['master-port']} {each['master-link-status']} prio={each['slave-priority']}"
                    for where, each in self.replicas(master["name"]).items()
                ]
                lines += [
                    f"        peer {port} {each['flags']} voted={each['voted-leader']}@{each['voted-leader-epoch']}"
                    for port, each in self.peers(master["name"]).items()
                ]
            return "\n".join(lines)
        except NO_ANSWER as error:
            return f"{head} no answer: {error!r}"


def pairs(flat: Sequence[Any]) -> dict[str, str]:
    """A RESP2 map reply as a dict."""
    return {str(key): str(value) for key, value in zip(flat[::2], flat[1::2], strict=True)}


def in_order(wanted: Sequence[str | tuple[str, str]], events: Iterable[Event]) -> str | None:
    """What is missing if `wanted` is not a subsequence of `events`; None if it is.

    An item is the name of an event, or a pair of the name and the whole payload.
    """
    remaining = iter(events)
    for item in wanted:
        channel, payload = (item, None) if isinstance(item, str) else item
        if not any(event.channel == channel and payload in (None, event.payload) for event in remaining):
            return f"{channel} {payload or ''}".strip()
    return None
