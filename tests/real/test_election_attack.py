"""Elections under attack: scripted peers move the epoch, and a disk that fails.

The first attack elects two leaders in one epoch when the attacked sentinel counts votes of another epoch than that
of its attempt, as stock sentinels do (https://github.com/redis/redis/issues/11571). It is also run against stock,
which proves that it would find the mistake.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from .harness import MASTER, Kind, Lab, Sentinel, Watch, check
from .harness_peers import Ask, ScriptedPeer, tell_hello

pytestmark = pytest.mark.real

PEERS = 4
MAJORITY = (PEERS + 1) // 2 + 1


@pytest.fixture
def peers(lab: Lab) -> Iterator[list[ScriptedPeer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(closing(ScriptedPeer(lab.ports, 0xA0 + number))) for number in range(PEERS)]


def attack(lab: Lab, sentinel: Sentinel, peers: list[ScriptedPeer], master_port: int) -> None:
    """Let all peers vote for one of themselves in the epoch of the sentinel's attempt, then move the epoch on.

    In every later epoch they give the sentinel the vote it asks for. Ends when the sentinel was elected, or when its
    attempt was aborted.
    """
    first_epoch: list[int] = []

    def vote(epoch: int, candidate: str) -> tuple[str, int]:
        if not first_epoch:
            first_epoch.append(epoch)
        return (peers[0].id, epoch) if epoch == first_epoch[0] else (candidate, epoch)

    for peer in peers:
        peer.vote = vote

    def vote_was_asked() -> int | None:
        check(first_epoch, "no vote request yet")
        check(all(any(ask.candidate != "*" for ask in peer.asks) for peer in peers), "not everybody was asked")
        return first_epoch[0]

    epoch = lab.wait_until(vote_was_asked, "all peers were asked for a vote")
    assert epoch is not None
    for peer in peers:
        tell_hello(sentinel, peer.hello(epoch + 1, master_port))
    lab.wait_until(
        lambda: {"+elected-leader", "-failover-abort-not-elected"} & set(sentinel.events.channels()),
        "the attempt is decided",
    )


def start_attempt(lab: Lab, kind: Kind, peers: list[ScriptedPeer]) -> tuple[Sentinel, int]:
    """One real sentinel whose only company are `peers`, with its master killed; it is about to try a failover."""
    master = lab.server()
    lab.server(replica_of=master)
    sentinel = lab.sentinel(kind, Watch(master.port))
    for peer in peers:
        assert tell_hello(sentinel, peer.hello(0, master.port)) == 1
    lab.wait_until(lambda: set(sentinel.peers()) == {peer.port for peer in peers}, "it knows its peers")
    lab.wait_until(lambda: len(sentinel.replicas()) == 1, "it knows the replica")
    lab.wait_until(
        lambda: {peer["flags"] for peer in sentinel.peers().values()} == {"sentinel"}, "it is connected to its peers"
    )
    master.kill()
    return sentinel, master.port


def votes_for(sentinel_id: str, epoch: int, peers: list[ScriptedPeer]) -> int:
    """How many peers have voted for it in `epoch`."""
    wanted = (sentinel_id, epoch)
    return sum(any((ask.voted, ask.voted_epoch) == wanted for ask in peer.asks) for peer in peers)


@pytest.mark.ours_only
def test_votes_of_another_epoch_elect_nobody(lab: Lab, peers: list[ScriptedPeer]) -> None:
    sentinel, master_port = start_attempt(lab, Kind.OURS, peers)
    run_id = sentinel.id
    attack(lab, sentinel, peers, master_port)

    def asked_epochs() -> set[int]:
        return {ask.epoch for peer in peers for ask in peer.asks if ask.candidate == run_id}

    if "+elected-leader" in sentinel.events.channels():
        # It began anew under a fresh epoch: then a majority has given it that very vote.
        lab.wait_event(sentinel, "+switch-master")
    epoch = int(sentinel.master()["config-epoch"])
    if epoch:
        assert 1 + votes_for(run_id, epoch, peers) >= MAJORITY, f"elected in epoch {epoch} with votes of another"
        assert votes_for(peers[0].id, epoch, peers) == 0, f"two leaders in epoch {epoch}"
    own_votes = {int(text.split()[1]) for text in sentinel.events.named("+vote-for-leader") if run_id in text}
    assert asked_epochs() <= own_votes, "it asked for votes in an epoch in which it had no attempt of its own"


@pytest.mark.parametrize(
    "stock", [Kind.VALKEY, pytest.param(Kind.REDIS7, marks=pytest.mark.needs_redis7)], ids=lambda kind: kind.value
)
def test_the_attack_elects_a_stock_sentinel_wrongly(lab: Lab, peers: list[ScriptedPeer], stock: Kind) -> None:
    """The proof that the attack works: the same steps give stock an epoch whose leader was somebody else."""
    sentinel, master_port = start_attempt(lab, stock, peers)
    run_id = sentinel.id
    attack(lab, sentinel, peers, master_port)
    lab.wait_event(sentinel, "+switch-master")
    epoch = int(sentinel.master()["config-epoch"])
    assert 1 + votes_for(run_id, epoch, peers) < MAJORITY
    assert votes_for(peers[0].id, epoch, peers) >= MAJORITY


@pytest.mark.ours_only
def test_vote_that_cannot_be_saved_is_not_given(lab: Lab) -> None:
    """Stock votes, forgets it in a crash, and votes again for another candidate."""
    master = lab.server()
    sentinel = lab.sentinel(Kind.OURS, Watch(master.port))
    conf_directory = sentinel.conf_path.parent
    away = conf_directory.with_name("conf-out-of-reach")
    conf_directory.rename(away)
    epoch = 11
    answers = {sentinel.opinion(master.port, epoch, letter * 40)[1:] for letter in "abc"}
    assert answers == {("*", 0)}
    refusal = "Failed to save config file. Check server logs."
    assert sentinel.ask_error("SENTINEL", "SET", MASTER, "quorum", "3") == refusal
    assert sentinel.master()["quorum"] == "3", "as in stock, the change stays in force"
    assert sentinel.ask_error("SENTINEL", "FLUSHCONFIG") == refusal
    assert "WARNING: Sentinel was not able to save the new configuration on disk!!!" in sentinel.log()

    away.rename(conf_directory)
    assert sentinel.ask("SENTINEL", "FLUSHCONFIG") == "OK"
    assert sentinel.conf_values("sentinel", "monitor")[0].endswith(" 3")
    # No two candidates may ever be told that they have the vote of one epoch, also not across a crash.
    given = sentinel.opinion(master.port, epoch + 1, "d" * 40)[1:]
    assert given == ("d" * 40, epoch + 1)
    assert sentinel.conf_values("sentinel", "leader-epoch") == [f"{MASTER} {epoch + 1}"]
    sentinel.kill()
    lab.start(sentinel)
    assert sentinel.opinion(master.port, epoch + 1, "e" * 40)[1:] == ("*", epoch + 1)


@pytest.mark.ours_only
def test_no_attempt_begins_without_a_disk(lab: Lab, peers: list[ScriptedPeer]) -> None:
    """An attempt needs a durable vote of its own: no vote may be asked for while none can be kept."""
    for peer in peers:
        peer.vote = lambda epoch, candidate: (candidate, epoch)
    master = lab.server()
    lab.server(replica_of=master)
    sentinel = lab.sentinel(Kind.OURS, Watch(master.port))
    for peer in peers:
        tell_hello(sentinel, peer.hello(0, master.port))
    lab.wait_until(lambda: len(sentinel.peers()) == PEERS and len(sentinel.replicas()) == 1, "it knows all")
    conf_directory = sentinel.conf_path.parent
    away = conf_directory.with_name("conf-out-of-reach")
    conf_directory.rename(away)
    master.kill()
    lab.wait_event(sentinel, "+odown")
    asks_before = sum(len(peer.asks) for peer in peers)
    lab.wait_until(lambda: sum(len(peer.asks) for peer in peers) > asks_before + 4 * PEERS, "peers are asked for long")
    assert requests(sentinel.id, peers) == []
    assert "+elected-leader" not in sentinel.events.channels()
    assert sentinel.address() == master.address

    away.rename(conf_directory)
    lab.wait_event(sentinel, "+switch-master")
    epoch = int(sentinel.master()["config-epoch"])
    assert sentinel.conf_values("sentinel", "config-epoch") == [f"{MASTER} {epoch}"]
    assert 1 + votes_for(sentinel.id, epoch, peers) >= MAJORITY


def requests(run_id: str, peers: list[ScriptedPeer]) -> list[Ask]:
    """The vote requests that peers were sent for the sentinel itself."""
    return [ask for peer in peers for ask in peer.asks if ask.candidate == run_id]
