"""Golden stories: what sentinels do in a situation, told in stock's words, millisecond by millisecond.

Each file in ``stories/`` has a script above the line ``----`` and the expected course below it. The course of a changed
model is written anew with ``REWRITE_STORIES=1 pytest tests/model/test_stories.py``; the difference is the review.

    sentinels 3 quorum=2 replicas=2 down-after=1000 ...   the cast, always first
    kill|restart|freeze|thaw SERVER                       SIGKILL, start, SIGSTOP, SIGCONT of a server (1 is the master)
    crash|start S, stall S MS                             the same for a sentinel
    cut A B / heal                                        no packets between two hosts (s1, 2 ...) / all cuts mended
    disk S full|fine
    failover S [coordinated] / reset S / set S OPTION VALUE / simulate S after-election|after-promotion
    offset|priority SERVER N, follow SERVER SERVER
    advance MS                                            let time pass
    quiet                                                 leave out what happened until here
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from trio_sentinel.model import inputs as i
from trio_sentinel.model.values import Address, Kind
from trio_sentinel.sim.cluster import Cluster, SimSentinel, simple_cluster
from trio_sentinel.sim.redis import FakeServer
from trio_sentinel.wire.bulletins import bulletins_of

STORIES = sorted((Path(__file__).parent / "stories").glob("*.txt"))
NAME = "mymaster"
SEED = 7


class Stage:
    """Plays the script of one story."""

    def __init__(self) -> None:
        self.cluster: Cluster
        self.start_ms = 0
        self.told = 0
        self.lines: list[str] = []
        self.deeds: dict[str, Callable[..., None]] = {
            "kill": lambda n: self.cluster.kill_server(self.server(n)),
            "restart": lambda n: self.cluster.restart_server(self.server(n)),
            "freeze": lambda n: setattr(self.server(n), "frozen", True),
            "thaw": lambda n: setattr(self.server(n), "frozen", False),
            "crash": lambda s: self.sentinel(s).crash(),
            "start": lambda s: self.sentinel(s).start(),
            "stall": lambda s, ms: self.sentinel(s).freeze(int(ms)),
            "cut": self.cut,
            "heal": self.heal,
            "disk": lambda s, how: setattr(self.sentinel(s), "disk_fails", how == "full"),
            "failover": self.failover,
            "reset": lambda s: self.ask(s, lambda n: i.ResetAsked(n, (NAME,))),
            "set": lambda s, option, value: self.ask(s, lambda n: i.SetAsked(n, NAME, ((option, value),))),
            "simulate": lambda s, point: self.ask(
                s, lambda n: i.CrashPointsSetAsked(n, point == "after-election", point == "after-promotion")
            ),
            "offset": lambda n, value: setattr(self.server(n), "offset", int(value)),
            "priority": lambda n, value: setattr(self.server(n), "priority", int(value)),
            "follow": lambda n, other: self.cluster.follow(self.server(n), self.server(other).address),
            "advance": lambda ms: self.cluster.world.run_for(int(ms)),
            "quiet": self.quiet,
        }

    def server(self, number: str) -> FakeServer:
        return self.cluster.servers[Address(f"10.0.0.{number}", 6379)]

    def sentinel(self, name: str) -> SimSentinel:
        return self.cluster.sentinels[f"10.0.1.{name.removeprefix('s')}"]

    def host(self, word: str) -> str:
        return f"10.0.1.{word[1:]}" if word.startswith("s") else f"10.0.0.{word}"

    def cut(self, one: str, other: str) -> None:
        self.cluster.cut.update({(self.host(one), self.host(other)), (self.host(other), self.host(one))})

    def heal(self) -> None:
        self.cluster.cut.clear()

    def failover(self, sentinel: str, how: str = "") -> None:
        self.ask(sentinel, lambda n: i.FailoverAsked(n, NAME, how == "coordinated"))

    def ask(self, sentinel: str, make: Callable[[int], i.Request]) -> None:
        def answered(answer: object) -> None:
            if error := getattr(answer, "error", None):
                self.lines.append(f"{self.cluster.world.now_ms - self.start_ms:>7} {sentinel} -{error}")

        self.sentinel(sentinel).ask(make, answered)

    def quiet(self) -> None:
        self.told = len(self.cluster.told)
        self.start_ms = self.cluster.world.now_ms
        self.lines.clear()

    def cast(self, sentinels: str, *words: str) -> None:
        options = dict(word.split("=") for word in words)
        self.cluster = simple_cluster(
            SEED,
            sentinels=int(sentinels),
            replicas=int(options.get("replicas", 2)),
            quorum=int(options.get("quorum", 2)),
            down_after_ms=int(options.get("down-after", 1000)),
            failover_timeout_ms=int(options.get("failover-timeout", 10_000)),
            parallel_syncs=int(options.get("parallel-syncs", 1)),
        )
        self.start_ms = self.cluster.world.now_ms

    def play(self, script: str) -> str:
        for line in script.splitlines():
            verb, *words = line.partition("#")[0].split() or [""]
            if verb == "sentinels":
                self.cast(*words)
            elif verb:
                self.deeds[verb](*words)
                self.collect()
        return "\n".join([*self.lines, *self.ending()]) + "\n"

    def collect(self) -> None:
        for told in self.cluster.told[self.told :]:
            who = f"s{told.who.rpartition('.')[2]}"
            for bulletin in bulletins_of(told.event):
                if bulletin.channel is not None:
                    at_ms = told.at_ms - self.start_ms
                    self.lines.append(f"{at_ms:>7} {who} {bulletin.channel} {self.shortened(bulletin.payload)}")
        self.told = len(self.cluster.told)

    def shortened(self, payload: str) -> str:
        """Ids by name, addresses by number, and no word that repeats the others."""
        for sentinel in self.cluster.sentinels.values():
            payload = payload.replace(sentinel.engine.state.my_id, f"s{sentinel.name.rpartition('.')[2]}")
        payload = payload.partition(" @ ")[0].replace(f"master {NAME} ", "master ")
        return payload.replace("10.0.0.", "").replace("10.0.1.", "s").replace(" 6379", "").replace(":6379", "")

    def ending(self) -> list[str]:
        lines = []
        for sentinel in self.cluster.sentinels.values():
            name = f"s{sentinel.name.rpartition('.')[2]}"
            if not sentinel.up:
                lines.append(f"    end {name} is not running")
                continue
            master = sentinel.engine.state.masters[NAME]
            at = master.current_address.host.rpartition(".")[2]
            lines.append(f"    end {name} says {at} in epoch {master.config_epoch}")
        for server in self.cluster.servers.values():
            number = server.address.host.rpartition(".")[2]
            if not server.up:
                lines.append(f"    end {number} is not running")
            elif server.master is None:
                lines.append(f"    end {number} is a {Kind.MASTER.value}")
            else:
                lines.append(f"    end {number} follows {server.master.host.rpartition('.')[2]}")
        return lines


@pytest.mark.parametrize("story", STORIES, ids=lambda path: path.stem)
def test_the_story_goes_as_it_is_told(story: Path) -> None:
    script, _, expected = story.read_text().partition("----\n")
    course = Stage().play(script)
    if os.environ.get("REWRITE_STORIES"):
        story.write_text(f"{script}----\n{course}")
    else:
        assert course == expected


def test_there_are_stories() -> None:
    assert len(STORIES) >= 15
