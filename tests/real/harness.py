"""The laboratory of one test: it starts servers and sentinels, waits for conditions, and ends everything it started.

A scenario reads like its story: start, provoke, wait until all agree, look at what was said. Nothing here asserts on
elapsed time except through the generous limit of `Lab.wait_until`, whose failure message shows the state of everybody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from .harness_ports import PortClaims
from .harness_processes import LOOPBACK, NO_ANSWER, Child, answers_ping
from .harness_sentinels import MASTER, Event, Kind, Sentinel, Watch, in_order
from .harness_servers import DataServer, Flavour

LIMIT_SECONDS = 60.0
PAUSE_SECONDS = 0.05
LOG_TAIL_LINES = 80

T = TypeVar("T")

__all__ = [
    "LOOPBACK",
    "MASTER",
    "DataServer",
    "Event",
    "Flavour",
    "Kind",
    "Lab",
    "NotYet",
    "Sentinel",
    "Watch",
    "check",
    "in_order",
]


class NotYet(Exception):
    """A condition does not hold; the message says what was seen instead."""


def check(holds: object, seen: object) -> None:
    """For use inside a condition: what was `seen` if it does not hold."""
    if not holds:
        raise NotYet(str(seen))


class Lab:
    """All processes of one test. Use it through the fixture ``lab``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.servers: list[DataServer] = []
        self.sentinels: list[Sentinel] = []
        self.ports = PortClaims()

    # -- starting

    def server(
        self, flavour: Flavour = Flavour.VALKEY9, *, replica_of: DataServer | None = None, priority: int = 100
    ) -> DataServer:
        """Start one data server and wait until it answers, and until its replication link is up."""
        server = self._new_server(flavour, replica_of, priority)
        self.start(server)
        if replica_of is not None:
            self._wait_follows(server, replica_of)
        return server

    def _new_server(self, flavour: Flavour, replica_of: DataServer | None, priority: int) -> DataServer:
        name = f"server{len(self.servers) + 1}"
        directory = self.directory / name
        directory.mkdir()
        server = DataServer(
            name, flavour, port=self.ports.claim(), directory=directory, replica_of=replica_of, priority=priority
        )
        self.servers.append(server)
        return server

    def _wait_follows(self, server: DataServer, master: DataServer) -> None:
        self.wait_until(lambda: server.follows(master), f"{server.name} replicates {master.name}")

    def trio_of_servers(self, flavour: Flavour = Flavour.VALKEY9) -> tuple[DataServer, DataServer, DataServer]:
        """One master and two replicas of it."""
        master = self.server(flavour)
        one, other = self.replicas_of(master, 100, 100, flavour=flavour)
        return master, one, other

    def replicas_of(self, master: DataServer, *priorities: int, flavour: Flavour = Flavour.VALKEY9) -> list[DataServer]:
        """Start a replica of each priority, side by side: the first second of a replication link is waiting."""
        replicas = [self._new_server(flavour, master, priority) for priority in priorities]
        self.start(*replicas)
        for replica in replicas:
            self._wait_follows(replica, master)
        return replicas

    def sentinel(
        self, kind: Kind, *watches: Watch, lines: Sequence[str] = (), start: bool = True, password: str | None = None
    ) -> Sentinel:
        """Start one sentinel and wait until it answers; `password` is what its `lines` ask for."""
        name = f"sentinel{len(self.sentinels) + 1}"
        directory = self.directory / name
        directory.mkdir()
        sentinel = Sentinel(
            name, kind, port=self.ports.claim(), directory=directory, watches=watches, lines=lines, password=password
        )
        self.sentinels.append(sentinel)
        if start:
            self.start(sentinel)
        return sentinel

    def quorum(self, kinds: Sequence[Kind], *watches: Watch, replicas: int = 2) -> list[Sentinel]:
        """Start a sentinel of each kind and wait until all know each other and `replicas` replicas of every master."""
        started = [self.sentinel(kind, *watches, start=False) for kind in kinds]
        self.start(*started)
        for watch in watches:
            self.wait_acquainted(started, replicas=replicas, name=watch.name)
        return started

    def start(self, *processes: DataServer | Sentinel) -> None:
        """Start them side by side, for the first time or again, and wait until they answer."""
        for process in processes:
            process.spawn()
        for process in processes:
            self._wait_answers(process)

    def _wait_answers(self, process: DataServer | Sentinel) -> None:
        def answers() -> bool:
            assert process.alive, f"{process.name} ended with {process.exit_code}:\n{process.output()}"
            return answers_ping(process.client)()

        self.wait_until(answers, f"{process.name} answers PING")
        if isinstance(process, Sentinel):
            process.after_start()

    # -- waiting

    def wait_until(
        self, condition: Callable[[], T], what: str, *, seconds: float = LIMIT_SECONDS, pause: float = PAUSE_SECONDS
    ) -> T:
        """Wait until `condition` gives something true, and give that.

        The condition may raise NotYet to say what it saw, or any error of a client: both mean "not yet".
        """
        deadline = time.monotonic() + seconds
        pausing = _Pause(pause)
        while True:
            seen = "the condition gave something false"
            try:
                if result := condition():
                    return result
            except NotYet as not_yet:
                seen = str(not_yet)
            except NO_ANSWER as error:
                seen = repr(error)
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {seconds:g} s in vain until {what}\nlast seen: {seen}\n{self.describe()}")
            pausing()

    def wait_event(self, sentinel: Sentinel, channel: str, payload: str | None = None) -> Event:
        """Wait until a subscriber of `sentinel` has been told this."""

        def heard() -> Event | None:
            for event in sentinel.events.all():
                if event.channel == channel and payload in (None, event.payload):
                    return event
            raise NotYet(f"{sentinel.name} said {sentinel.events.channels()}")

        found = self.wait_until(heard, f"{sentinel.name} says {channel} {payload or ''}")
        assert found is not None
        return found

    def wait_acquainted(self, sentinels: Sequence[Sentinel], *, replicas: int, name: str = MASTER) -> None:
        """Wait until each of `sentinels` knows all the others and `replicas` replicas, all healthy and connected."""

        def acquainted() -> bool:
            for one in sentinels:
                master = one.master(name)
                check(master["flags"] == "master", f"{one.name}: {master}")
                peers = one.peers(name)
                check(set(peers) == {other.port for other in sentinels if other is not one}, f"{one.name}: {peers}")
                # Stock keeps an old report that the master is down long after a failover, so it may stand here.
                healthy = ("sentinel", "sentinel,master_down")
                check(all(each["flags"] in healthy for each in peers.values()), f"{one.name}: {peers}")
                check(int(master["num-other-sentinels"]) == len(sentinels) - 1, f"{one.name}: {master}")
                known = one.replicas(name)
                check(len(known) == replicas == int(master["num-slaves"]), f"{one.name}: {known}")
                check(
                    all(
                        each["flags"] == "slave" and each["runid"] and each["master-link-status"] == "ok"
                        for each in known.values()
                    ),
                    f"{one.name}: {known}",
                )
            return True

        self.wait_until(acquainted, f"{len(sentinels)} sentinels know each other and {replicas} replicas of {name}")

    def wait_agreement(
        self, sentinels: Sequence[Sentinel], servers: Sequence[DataServer], *, name: str = MASTER
    ) -> tuple[DataServer, int]:
        """Wait for the full agreement after a failover; the master and its config-epoch.

        All of `sentinels` name the same address and config-epoch in every reply and none is still acting; among the
        live `servers` exactly that one is a master, and every other one follows it with a working link.
        """

        def agreed() -> tuple[DataServer, int] | None:
            views = {(one.name, one.address(name), *_view(one, name)) for one in sentinels}
            check(len({view[1:] for view in views}) == 1, views)
            _, address, seen, flags, epoch = views.pop()
            check(address == seen and flags == "master", views)
            running = [server for server in servers if server.alive and not server.stopped]
            masters = [server for server in running if server.role == "master"]
            check([server.address for server in masters] == [address], f"{address} against masters {masters}")
            for server in running:
                check(server is masters[0] or server.follows(masters[0]), server.describe())
            return masters[0], epoch

        found = self.wait_until(agreed, "all agree on one master and its config-epoch, and the servers obey")
        assert found is not None
        return found

    # -- telling

    def forget_events(self) -> None:
        """Everything said until now is of no interest."""
        for sentinel in self.sentinels:
            sentinel.events.forget()

    def describe(self) -> str:
        """The state of everybody."""
        everybody: list[DataServer | Sentinel] = [*self.servers, *self.sentinels]
        return "\n".join(process.describe() for process in everybody)

    def records(self) -> Iterator[tuple[str, str]]:
        """Titled texts that explain a failure: the state, then events and the end of the log of every sentinel."""
        yield "state of everybody", self.describe()
        for sentinel in self.sentinels:
            heard = sentinel.events.all() if sentinel.events_seen is not None else ()
            yield f"events of {sentinel.name}", "\n".join(map(str, heard))
            yield f"log of {sentinel.name}", _tail(sentinel.log()) + "\n" + _tail(sentinel.output())
            if sentinel.conf_path.is_file():
                yield f"configuration of {sentinel.name}", sentinel.conf()
        for server in self.servers:
            yield f"log of {server.name}", "\n".join(server.log_path.read_text(errors="replace").splitlines()[-15:])

    # -- ending

    def complaints(self) -> list[str]:
        """What must not have happened in any test: a traceback of ours, or an exit that the test did not ask for."""
        found = []
        for sentinel in self.sentinels:
            if "Traceback (most recent call last)" in sentinel.log() + sentinel.output():
                found.append(f"{sentinel.name} wrote a traceback:\n{_tail(sentinel.output())}\n{_tail(sentinel.log())}")
            if sentinel.exit_code is not None and sentinel.exit_code != sentinel.exit_code_expected:
                found.append(f"{sentinel.name} ended by itself with {sentinel.exit_code}:\n{_tail(sentinel.output())}")
        return found

    def close(self) -> None:
        """End every process of this lab, by its pid, and give the ports back."""
        processes: list[Child] = [*self.sentinels, *self.servers]
        for process in processes:
            process.clean_up()
        for server in self.servers:
            server.client.close()
        self.ports.release()


class _Pause:
    """The gap between two looks at a condition; it grows, so that looking does not slow the watched ones down."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __call__(self) -> None:
        time.sleep(self._seconds)
        self._seconds = min(self._seconds * 1.2, 0.3)


def _view(sentinel: Sentinel, name: str) -> tuple[tuple[str, int], str, int]:
    master = sentinel.master(name)
    return (master["ip"], int(master["port"])), master["flags"], int(master["config-epoch"])


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-LOG_TAIL_LINES:])


@contextmanager
def open_lab(directory: Path) -> Iterator[Lab]:
    """A lab whose processes end with the block, also when it fails."""
    lab = Lab(directory)
    try:
        yield lab
    finally:
        lab.close()
