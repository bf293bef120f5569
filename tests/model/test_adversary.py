"""One engine among liars: whatever they say, and however the disk behaves, the promises hold.

Hypothesis drives an engine with hellos, votes, opinions and INFO of every kind, saves that succeed, fail or never come
back, restarts from what was saved, and time. After every step the invariants of core.md 20 hold, replay gives the live
state, and a reference of a few lines agrees about the votes.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.model.given import (
    HERE,
    MASTER,
    ME,
    NAME,
    P1,
    P2,
    P3,
    R1,
    R2,
    STRANGER,
    Given,
    given,
    master_info,
    replica_info,
)
from trio_sentinel.model import effects as fx
from trio_sentinel.model import inputs as i
from trio_sentinel.model.invariants import Marks, check_state
from trio_sentinel.model.values import MAX_EPOCH, Address, Channel, PeerLink, Role, RunId

EPOCHS = st.one_of(st.integers(0, 6), st.sampled_from([MAX_EPOCH - 1, MAX_EPOCH]))
IDS = st.sampled_from([P1, P2, P3, STRANGER, ME])
RUN_IDS = st.one_of(st.none(), st.sampled_from(["1" * 40, "2" * 40]))
SERVERS = st.sampled_from([MASTER, R1, R2])
PLACES = st.sampled_from([HERE, Address("10.0.1.2", 26379), Address("10.0.1.9", 26379), Address("no number", 26379)])


class Adversary(RuleBasedStateMachine):
    """See the head of the file."""

    def __init__(self) -> None:
        super().__init__()
        self.kit: Given
        self.marks = Marks()
        self.heard_votes: dict[int, RunId] = {}
        """Reference: epoch -> whom every reply that carried it named."""
        self.seen = 0

    @initialize(peers=st.integers(0, 3), quorum=st.integers(1, 3))
    def begin(self, peers: int, quorum: int) -> None:
        self.kit = given(peers=peers, quorum=quorum, failover_timeout_ms=20_000)
        self.kit.saving = None

    # ------------------------------------------------------------ what others do

    @rule(run_id=IDS, at=PLACES, epoch=EPOCHS, master=SERVERS, config_epoch=EPOCHS)
    def hello(self, run_id: RunId, at: Address, epoch: int, master: Address, config_epoch: int) -> None:
        self.kit.hello(run_id, at=at, epoch=epoch, master=master, config_epoch=config_epoch)

    @rule(candidate=st.one_of(st.none(), IDS), epoch=EPOCHS, about=SERVERS)
    def vote_asked(self, candidate: RunId | None, epoch: int, about: Address) -> None:
        self.note(self.kit.vote_asked(candidate, epoch, about=about).effects)

    @rule(run_id=IDS, down=st.booleans(), leader=st.one_of(st.none(), IDS), epoch=EPOCHS, about=SERVERS)
    def opinion(self, run_id: RunId, down: bool, leader: RunId | None, epoch: int, about: Address) -> None:
        self.kit.opinion(run_id, down=down, leader=leader, epoch=epoch, about=about)

    @rule(address=SERVERS, role=st.sampled_from(Role), master=SERVERS, up=st.booleans(), run_id=RUN_IDS)
    def info(self, address: Address, role: Role, master: Address, up: bool, run_id: str | None) -> None:
        reading = master_info(run_id=run_id)
        if role is Role.REPLICA:
            reading = replica_info(master, master_link_up=up, run_id=run_id)
        if address in self.kit.servers:
            self.note(self.kit.info(address, reading).effects)

    @rule(address=SERVERS, back=st.booleans())
    def server_goes_or_comes(self, address: Address, back: bool) -> None:
        if address in self.kit.servers:
            self.note((self.kit.find(address) if back else self.kit.lose(address)).effects)

    @rule(run_id=IDS, local_host=st.sampled_from([HERE.host, "10.0.1.2", "10.0.1.9"]))
    def peer_connects(self, run_id: RunId, local_host: str) -> None:
        """Our own address may be another one than before."""
        if run_id in self.kit.master.peers:
            self.kit.hear(i.LinkLost(PeerLink(run_id), Channel.COMMAND, "reset"))
            self.kit.hear(i.LinkOpened(PeerLink(run_id), Channel.COMMAND, local_host))

    @rule()
    def everybody_agrees(self) -> None:
        self.kit.agree()

    @rule()
    def master_dies(self) -> None:
        if self.kit.master.address in self.kit.servers:
            self.kit.kill_master()

    # ------------------------------------------------------------ time, disk, life

    @rule(length_ms=st.sampled_from([1, 60, 700, 6_000, 45_000]))
    def time(self, length_ms: int) -> None:
        self.note(self.kit.wait(length_ms).effects)

    @rule()
    def stall(self) -> None:
        self.note(self.kit.stall(3_000).effects)

    @rule(ok=st.booleans())
    def disk_answers(self, ok: bool) -> None:
        if self.kit.asked_to_save:
            self.note(self.kit.save_answered(ok=ok).effects)

    @rule()
    def crash(self) -> None:
        self.note(self.kit.restart().effects)
        self.marks = Marks()

    @rule(coordinated=st.booleans())
    def operator_orders(self, coordinated: bool) -> None:
        self.note(self.kit.failover(coordinated=coordinated).effects)

    @rule(
        words=st.sampled_from(
            [("quorum", "1"), ("quorum", "4"), ("parallel-syncs", "2"), ("failover-timeout", "1"), ("auth-pass", "x")]
        )
    )
    def operator_sets(self, words: tuple[str, str]) -> None:
        self.note(self.kit.set(words).effects)

    @rule()
    def operator_starts_anew(self) -> None:
        """REMOVE and MONITOR: the vote epoch stays (core.md Q25), the configuration starts from nothing."""
        address, quorum = self.kit.master.current_address, self.kit.master.settings.quorum
        self.note(self.kit.ask(lambda n: i.RemoveAsked(n, NAME)).effects)
        self.marks.forget(NAME)
        self.note(self.kit.ask(lambda n: i.MonitorAsked(n, NAME, address, quorum)).effects)
        while self.kit.asked_to_save:  # a crash in between would leave nothing to watch
            self.note(self.kit.save_answered().effects)

    @rule()
    def operator_resets(self) -> None:
        self.note(self.kit.ask(lambda n: i.ResetAsked(n, (NAME,))).effects)

    # ------------------------------------------------------------ what must hold

    def note(self, effects: list[fx.Effect]) -> None:
        """Every reply that leaves the house: one vote for each epoch, on disk before it is heard (properties 3, 4)."""
        for effect in effects:
            if isinstance(effect, fx.Repoint):
                to = Address(effect.host, effect.port)
                assert to != effect.link.address, "somebody is told to follow itself"
            elif isinstance(effect, fx.AnswerOpinion) and effect.leader is not None:
                given_before = self.heard_votes.setdefault(effect.leader_epoch, effect.leader)
                assert given_before == effect.leader, f"two votes in epoch {effect.leader_epoch}"
                assert self.saved_leader_epoch() >= effect.leader_epoch, "a vote was heard before it was on disk"
            elif isinstance(effect, fx.AskPeer) and effect.candidate is not None:
                assert effect.candidate == ME
                assert self.saved_leader_epoch() >= effect.epoch, "votes were asked for before my own was on disk"

    def saved_leader_epoch(self) -> int:
        assert self.kit.disk is not None
        return self.kit.disk.masters[0].leader_epoch

    @invariant()
    def properties_hold(self) -> None:
        if hasattr(self, "kit"):
            check_state(self.kit.engine.state, self.kit.master)
            self.marks.check(self.kit.engine.state, self.kit.master)

    @invariant()
    def nothing_in_tilt(self) -> None:
        """Property 25: in TILT nobody is told that the master is down."""
        if hasattr(self, "kit") and self.kit.engine.state.tilt_since_ms is not None:
            heard = self.kit.vote_asked(None, 0, about=self.kit.master.address)
            answers = [effect for effect in heard.effects if isinstance(effect, fx.AnswerOpinion)]
            assert all(not answer.down for answer in answers)


TestAdversary = Adversary.TestCase
TestAdversary.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
