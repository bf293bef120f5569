"""Log lines that are no events: votes of others, delays, names that cannot be resolved."""

from __future__ import annotations

import time

from attrs import define, evolve
from msgspec.structs import replace

from trio_sentinel.model.events import AgreedDown, VoteCast
from trio_sentinel.model.inputs import HelloHeard, LinkLost, NameResolved, OpinionHeard
from trio_sentinel.model.observations import Observations, Opinion
from trio_sentinel.model.settings import MasterSettings
from trio_sentinel.model.state import Master, SentinelState
from trio_sentinel.model.values import Address, Channel, Hello, Level, Millis, PeerLink, RunId, ServerLink
from trio_sentinel.runtime.remarks import MAX_NAMES, Remarks

ME, PEER, OTHER = RunId("a" * 40), RunId("b" * 40), RunId("c" * 40)
WHERE = Address("10.0.0.1", 6379)


class Noon:
    """A clock that stands: 1000 ms after the start, at noon of a day in local time."""

    def now_ms(self) -> Millis:
        return 1000

    def wall_ms(self) -> Millis:
        return int(time.mktime((2026, 11, 2, 12, 0, 0, 0, 0, -1))) * 1000

    def trio_time(self, at_ms: Millis) -> float:
        return at_ms / 1000


@define(eq=False)
class Room:
    """The remarks about one master `m`, and what they say."""

    state: SentinelState
    senses: Observations
    remarks: Remarks
    said: list[str]

    def about(self, perceived: object) -> None:
        self.remarks.about[type(perceived)](perceived)


def room() -> Room:
    settings = MasterSettings(quorum=2, failover_timeout_ms=60_000)
    state = SentinelState(my_id=ME, masters={"m": Master(name="m", address=WHERE, settings=settings)})
    senses = Observations()
    senses.opinions["m", PEER] = Opinion(master="m", run_id=PEER, answered_at_ms=0)
    said: list[str] = []

    def log(level: Level, text: str) -> None:
        said.append(text)

    return Room(state, senses, Remarks(state, senses, Noon(), log), said)


def test_a_vote_is_told_when_its_epoch_is_new() -> None:
    it = room()
    heard = OpinionHeard(PeerLink(PEER), "m", WHERE, 7, True, OTHER, 7)
    it.about(heard)
    assert it.said == [f"{PEER} voted for {OTHER} 7"]
    it.senses.opinions["m", PEER].vote_epoch = 7
    it.about(heard)
    it.about(replace(heard, leader=None, leader_epoch=0))
    it.about(replace(heard, address=Address("10.0.0.2", 1), leader_epoch=8))
    it.about(replace(heard, down=None, leader_epoch=8))
    it.about(replace(heard, master="gone", leader_epoch=8))
    assert len(it.said) == 1


def test_a_failover_that_must_wait_says_until_when_and_says_it_once() -> None:
    it = room()
    master = it.state.masters["m"]
    subject = it.state.subject_of_master(master)
    voted = VoteCast(subject=subject, candidate=PEER, epoch=1, attempt_at_ms=500)
    down = AgreedDown(subject=subject, agreed=2, quorum=2, stand_at_ms=1000, at_ms=1000)
    master.attempt_at_ms = 500
    it.remarks.hear((voted,))
    assert it.said == []  # it is not down: nobody wants to start one
    master.o_down = True
    it.remarks.hear((down, voted))
    it.remarks.hear((voted,))
    assert it.said == ["Next failover delay: I will not start a failover before Mon Nov  2 12:01:59 2026"]
    master.attempt_at_ms = -500_000
    it.remarks.hear((down,))
    assert len(it.said) == 1  # long enough ago


def test_a_name_that_cannot_be_resolved_is_told_until_it_can() -> None:
    it = room()
    for ip in (None, None, "10.0.0.9", None):
        it.about(NameResolved("db", ip))
    assert it.said == ["Failed to resolve hostname 'db'"] * 2
    for number in range(3 * MAX_NAMES):
        it.about(NameResolved(f"n{number}", None))
    assert len(it.remarks._unresolved) <= MAX_NAMES


def test_a_sentinel_that_announces_a_name_is_not_passed_over_in_silence() -> None:
    it = room()
    hello = Hello(
        host="peer.example",
        port=26379,
        run_id=PEER,
        current_epoch=0,
        master="m",
        master_host="10.0.0.1",
        master_port=6379,
        config_epoch=0,
    )
    it.about(HelloHeard(evolve(hello, host="10.0.0.3")))
    it.about(HelloHeard(evolve(hello, master="not-mine")))
    assert it.said == []
    it.about(HelloHeard(hello))
    assert it.said == ["Failed to resolve hostname 'peer.example'"]


def test_a_source_address_that_cannot_be_used_is_told() -> None:
    it = room()
    reason = "Can't bind socket: Cannot assign requested address"
    it.about(LinkLost(ServerLink("m", WHERE), Channel.COMMAND, reason))
    it.about(LinkLost(ServerLink("m", Address("10.0.0.2", 6380)), Channel.PUBSUB, reason))
    it.about(LinkLost(ServerLink("m", WHERE), Channel.COMMAND, "Connection refused"))
    it.about(LinkLost(PeerLink(PEER), Channel.COMMAND, reason))  # forgotten meanwhile
    assert it.said == [
        f"-cmd-link-reconnection master m 10.0.0.1 6379 #{reason}",
        f"-pubsub-link-reconnection slave 10.0.0.2:6380 10.0.0.2 6380 @ m 10.0.0.1 6379 #{reason}",
    ]
