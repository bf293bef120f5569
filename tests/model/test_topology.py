"""Replicas and peers found, moved and lost; servers brought back to their master (core.md 5, 6, 9)."""

from __future__ import annotations

import attrs
import pytest

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
    R3,
    STRANGER,
    Given,
    given,
    master_info,
    peer_address,
    replica_info,
)
from trio_sentinel.model import effects as fx
from trio_sentinel.model import events as e
from trio_sentinel.model import inputs as i
from trio_sentinel.model import senses
from trio_sentinel.model.decide import topology
from trio_sentinel.model.settings import GlobalSettings
from trio_sentinel.model.values import Address, InfoReading, PeerLink, Role, RunId, ServerLink

ELSEWHERE = Address("10.0.9.9", 26379)
NAMES = GlobalSettings(resolve_hostnames=True)

# ---------------------------------------------------------------- INFO: who is there


def test_replica_named_by_the_master_is_watched_from_then_on() -> None:
    kit = given(replicas=1)
    heard = kit.info(MASTER, master_info(replicas=(R1, R2)))
    assert [found.address for found in heard.all(e.ReplicaFound)] == [R2]
    assert any(dial.address == R2 for dial in heard.all(fx.OpenLink))
    assert heard.has(fx.SaveConfig)


def test_replica_that_the_master_does_not_name_any_more_stays() -> None:
    kit = given(replicas=2)
    kit.info(MASTER, master_info(replicas=()))
    assert set(kit.master.replicas) == {R1, R2}


def test_replicas_named_by_a_replica_are_none_of_ours() -> None:
    kit = given(replicas=1)
    assert not kit.info(R1, replica_info(replicas=(R3,))).events


@pytest.mark.parametrize("address", [Address("a.name", 6379), Address("", 6379), MASTER, R1])
def test_unusable_or_known_address_is_no_new_replica(address: Address) -> None:
    assert not given(replicas=1).info(MASTER, master_info(replicas=(address,))).has(e.ReplicaFound)


def test_q24_info_without_a_role_says_nothing_at_all() -> None:
    kit = given(replicas=1)
    before = kit.engine.senses.servers[NAME, MASTER].info_at_ms
    kit.wait(10)
    assert not kit.info(MASTER, InfoReading(replicas=(R2,), run_id="9" * 40)).events
    assert kit.engine.senses.servers[NAME, MASTER].info_at_ms == before


def test_error_reply_to_info_does_not_make_the_last_one_fresh() -> None:
    kit = given()
    before = kit.engine.senses.servers[NAME, R1].info_at_ms
    kit.wait(10)
    kit.hear(i.InfoHeard(ServerLink(NAME, R1), None, b""))
    assert kit.engine.senses.servers[NAME, R1].info_at_ms == before


def test_absent_lines_keep_what_was_known_except_the_time_the_link_is_down() -> None:
    """Core.md 5.1."""
    kit = given()
    kit.info(R1, replica_info(master_link_down_ms=7000, priority=7, repl_offset=70))
    kit.info(R1, InfoReading(role=Role.REPLICA))
    sense = kit.engine.senses.servers[NAME, R1]
    assert (sense.priority, sense.repl_offset, sense.master_host, sense.master_link_down_ms) == (7, 70, MASTER.host, 0)


def test_number_of_replicas_and_peers_of_a_master_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever can write to a server could otherwise fill our memory."""
    monkeypatch.setattr(topology, "MAX_REPLICAS", 4)
    monkeypatch.setattr(topology, "MAX_PEERS", 3)
    kit = given(replicas=2, peers=2)
    kit.info(MASTER, master_info(replicas=tuple(Address("10.0.5.1", port) for port in range(1, 9))))
    kit.info(MASTER, master_info(replicas=tuple(Address("10.0.6.1", port) for port in range(1, 9))))
    assert len(kit.master.replicas) == 4
    for n in range(5):
        kit.hello(RunId(f"{n}" * 40), at=Address("10.0.8.1", 1000 + n))
    assert len(kit.master.peers) == 3


def test_change_of_role_is_told_once() -> None:
    kit = given()
    assert kit.info(R1, master_info()).one(e.RoleReported).role is Role.MASTER
    assert not kit.info(R1, master_info()).has(e.RoleReported)
    assert kit.info(R1, replica_info()).one(e.RoleReported).role is Role.REPLICA


# ---------------------------------------------------------------- INFO: bringing servers back


def convert_wanted() -> tuple[Given, int]:
    """R1 says that it is a master since the returned moment; its INFO comes when the test says so."""
    kit = given()
    kit.muted |= {fx.PollInfo, fx.Repoint}
    kit.info(MASTER, master_info())
    kit.info(R1, master_info())
    return kit, kit.now_ms


def test_replica_that_plays_master_is_converted_after_four_hello_periods() -> None:
    kit, since_ms = convert_wanted()
    kit.wait_until(since_ms + 8000)
    assert not kit.info(R1, master_info()).has(e.ReplicaConverted)
    kit.wait(1)
    heard = kit.info(R1, master_info())
    assert heard.one(e.ReplicaConverted).address == R1
    order = heard.one(fx.Repoint)
    assert (order.link.address, order.host, order.port) == (R1, MASTER.host, MASTER.port)


def test_it_is_told_again_until_it_obeys_once_a_second() -> None:
    kit, _ = convert_wanted()
    kit.wait(8001)
    assert kit.info(R1, master_info()).has(e.ReplicaConverted)
    kit.wait(999)
    assert not kit.info(R1, master_info()).has(e.ReplicaConverted)
    kit.wait(1)
    assert kit.info(R1, master_info()).has(e.ReplicaConverted)


@pytest.mark.parametrize("reading", [master_info(), replica_info(R2)], ids=["plays master", "follows another"])
def test_server_that_refuses_to_follow_is_not_told_in_a_hurry(reading: InfoReading) -> None:
    """The order carries an INFO of its own; its reply must not bring the next order at once, for ever. Each would cut
    off the server's clients as well."""
    kit = given(failover_timeout_ms=5000)
    kit.servers[R1].info = reading
    events = kit.wait(30_000).events
    orders = [event for event in events if isinstance(event, e.ReplicaConverted | e.ReplicaRepointed)]
    assert 2 <= len(orders) <= 30


def test_replica_that_fell_lately_is_not_converted_yet() -> None:
    """No-down-for: what it says of itself may be as old as its fall."""
    kit = given(replicas=1, down_after_ms=1000)
    kit.muted |= {fx.PollInfo, fx.Repoint}
    kit.info(R1, master_info())
    kit.wait(5000)
    kit.lose(R1)
    kit.wait(1500)
    assert kit.master.replicas[R1].s_down
    kit.find(R1)
    kit.wait(3000)
    assert not kit.master.replicas[R1].s_down
    kit.info(MASTER, master_info())
    assert not kit.info(R1, master_info()).has(e.ReplicaConverted)
    kit.wait(5000)
    kit.info(MASTER, master_info())
    assert kit.info(R1, master_info()).has(e.ReplicaConverted)


def test_replica_is_not_converted_soon_after_a_vote_for_another() -> None:
    """It may have been a replica since it was heard last, and be promoted just now (seed 11070697)."""
    kit = given(replicas=1, dice=(0,))
    kit.muted |= {fx.PollInfo, fx.Repoint}
    kit.info(R1, master_info())
    kit.wait(9000)
    kit.info(MASTER, master_info())
    voted_ms = kit.now_ms
    kit.vote_asked(P1, 1)
    assert not kit.info(R1, master_info()).has(e.ReplicaConverted)
    kit.wait_until(voted_ms + 8000)
    kit.info(MASTER, master_info())
    assert not kit.info(R1, master_info()).has(e.ReplicaConverted)
    kit.wait(1)
    assert kit.info(R1, master_info()).has(e.ReplicaConverted)


@pytest.mark.parametrize(("silent_ms", "converted"), [(900, True), (3500, False)])
def test_master_that_may_be_replaced_by_others_converts_nobody(silent_ms: int, converted: bool) -> None:
    kit = given(replicas=1, down_after_ms=4000)
    kit.muted |= {fx.PollInfo, fx.Repoint}
    kit.info(R1, master_info())
    kit.wait(9000)
    kit.info(MASTER, master_info())
    kit.silence(MASTER)
    kit.wait(silent_ms)
    assert not kit.master.s_down
    assert kit.info(R1, master_info()).has(e.ReplicaConverted) == converted


def test_replica_that_does_not_say_whom_it_follows_is_left_alone() -> None:
    kit = given(replicas=1, failover_timeout_ms=5000, settled=False)
    kit.servers[R1].info = InfoReading(role=Role.REPLICA)
    assert not kit.wait(30_000).has(e.ReplicaRepointed)


def test_replica_that_fell_lately_is_not_repointed_yet() -> None:
    """The wait runs from its last fall, although it is back since (5.3, no-down-for)."""
    kit, _ = stray(replica_info(R2), failover_timeout_ms=15_000)
    kit.silence(R1)
    fell_ms = kit.wait(6000).one(e.WentDown).at_ms
    kit.servers[R1].pong = "PONG"
    kit.wait_until(fell_ms + 15_000)
    kit.info(MASTER, master_info())
    assert not kit.info(R1, replica_info(R2)).has(e.ReplicaRepointed)
    kit.wait(1)
    assert kit.info(R1, replica_info(R2)).has(e.ReplicaRepointed)


@pytest.mark.parametrize("trouble", ["down", "replica", "old info"])
def test_insane_master_corrects_nobody(trouble: str) -> None:
    """Property 18."""
    kit, since_ms = convert_wanted()
    if trouble == "down":
        kit.silence(MASTER)
        kit.wait(6000)
    if trouble == "replica":
        kit.info(MASTER, replica_info(R2))
    kit.wait_until(since_ms + (25_000 if trouble == "old info" else 15_000))
    assert not kit.info(R1, master_info()).has(e.ReplicaConverted)


def test_info_of_the_master_is_recent_for_less_than_two_info_periods() -> None:
    kit, since_ms = convert_wanted()
    kit.wait_until(since_ms + 19_999)
    assert kit.info(R1, master_info()).has(e.ReplicaConverted)
    kit.wait(1)
    assert not kit.info(R1, master_info()).has(e.ReplicaConverted)


def stray(reading: InfoReading, *, failover_timeout_ms: int = 15_000) -> tuple[Given, int]:
    kit = given(failover_timeout_ms=failover_timeout_ms)
    kit.muted |= {fx.PollInfo, fx.Repoint}
    kit.info(MASTER, master_info())
    kit.info(R1, reading)
    return kit, kit.now_ms


@pytest.mark.parametrize("reading", [replica_info(R2), replica_info(Address(MASTER.host, 7000))])
def test_replica_of_another_is_repointed_after_the_failover_timeout(reading: InfoReading) -> None:
    kit, since_ms = stray(reading)
    kit.wait_until(since_ms + 15_000)
    assert not kit.info(R1, reading).has(e.ReplicaRepointed)
    kit.wait(1)
    heard = kit.info(R1, reading)
    assert heard.one(e.ReplicaRepointed).address == R1
    assert (heard.one(fx.Repoint).host, heard.one(fx.Repoint).port) == (MASTER.host, MASTER.port)


def test_whom_a_replica_followed_before_a_switch_does_not_shorten_its_wait() -> None:
    """Core.md 5.3 E, 12: the record is new after a switch, and the wait begins with what is heard first."""
    kit = given(failover_timeout_ms=15_000)
    kit.muted |= {fx.PollInfo, fx.Repoint}
    kit.info(R1, master_info())
    assert kit.hello(P1, epoch=5, master=R2, config_epoch=5).has(e.MasterSwitched)
    kit.wait(20_000)
    kit.info(R2, master_info())
    assert not kit.info(R1, replica_info(MASTER)).has(e.ReplicaRepointed), "it says so for the first time"
    kit.wait(15_001)
    kit.info(R2, master_info())
    assert kit.info(R1, replica_info(MASTER)).has(e.ReplicaRepointed)


def test_every_change_of_its_mind_starts_the_wait_anew() -> None:
    kit, since_ms = stray(replica_info(R2))
    kit.wait(10_000)
    kit.info(R1, replica_info(R3))
    kit.wait_until(since_ms + 15_001)
    assert not kit.info(R1, replica_info(R3)).has(e.ReplicaRepointed)


def test_replica_that_was_a_master_has_the_whole_time_again() -> None:
    """Core.md 5.2: whom it follows is news, even if it is whom it followed before."""
    kit, since_ms = stray(replica_info(R2))
    kit.wait(5000)
    kit.info(R1, master_info())
    kit.wait(5000)
    kit.info(R1, replica_info(R2))
    kit.wait_until(since_ms + 15_001)
    kit.info(MASTER, master_info())
    assert not kit.info(R1, replica_info(R2)).has(e.ReplicaRepointed)
    kit.wait_until(since_ms + 25_001)
    kit.info(MASTER, master_info())
    assert kit.info(R1, replica_info(R2)).has(e.ReplicaRepointed)


def test_replica_that_hangs_in_a_handover_is_freed_with_an_abort() -> None:
    hanging = replica_info(failover_state="failover-in-progress")
    kit, since_ms = stray(hanging)
    kit.wait_until(since_ms + 15_000)
    assert not kit.info(R1, hanging).has(e.ReplicaRepointed)
    kit.wait(1)
    assert kit.info(R1, hanging).one(fx.Repoint).abort_handover


def test_handover_that_ends_in_time_is_left_alone() -> None:
    kit, _ = stray(replica_info(failover_state="failover-in-progress"))
    kit.wait(16_000)
    assert not kit.info(R1, replica_info()).has(e.ReplicaRepointed)


def test_promoted_replica_is_never_brought_back() -> None:
    """Property 18, while its failover runs."""
    kit = given(replicas=1, failover_timeout_ms=100_000)
    kit.failover()
    kit.muted.add(fx.SaveConfig)
    heard = kit.info(R1, master_info())
    heard.events += kit.wait(15_000).events
    kit.info(MASTER, master_info())
    heard.events += kit.info(R1, master_info()).events
    assert not heard.has(e.ReplicaConverted)


def test_nobody_is_told_to_follow_itself() -> None:
    """A replica record may turn out to be the master under another name."""
    kit = given(address=Address("redis-a", 6379), globals_=NAMES, replicas=1, settled=False)
    kit.wait(100)
    alias = Address("10.0.0.7", 6379)
    kit.hear(i.InfoHeard(ServerLink(NAME, kit.master.address), master_info(replicas=(alias,)), b""))
    assert alias in kit.master.replicas, "nobody knows yet that it is the same"
    kit.hear(i.NameResolved("redis-a", alias.host))
    kit.wait(9000)
    heard = kit.hear(i.InfoHeard(ServerLink(NAME, alias), master_info(), b""))
    heard.effects += kit.wait(20_000).effects
    assert not any(order.link.address == alias for order in heard.all(fx.Repoint))


def test_master_with_a_second_address_is_not_told_to_follow_itself() -> None:
    """A server with two addresses is known as a replica from the time when it was one. Stock orders it to follow
    itself, and that is the end of the only master."""
    kit = given(replicas=1)
    kit.muted |= {fx.PollInfo, fx.Repoint}
    same = "c" * 40
    kit.info(MASTER, master_info(run_id=same))
    kit.info(R1, master_info(run_id=same))
    kit.wait(9000)
    kit.info(MASTER, master_info(run_id=same))
    assert not kit.info(R1, master_info(run_id=same)).has(fx.Repoint)
    assert kit.info(R1, master_info(run_id="d" * 40)).has(fx.Repoint), "the time was ripe"


# ---------------------------------------------------------------- hello: peers


def test_hello_of_a_stranger_makes_a_peer() -> None:
    kit = given()
    heard = kit.hello(P3)
    found = heard.one(e.PeerFound)
    assert (found.run_id, found.address) == (P3, peer_address(P3))
    assert kit.master.voters == 4
    assert heard.has(fx.SaveConfig)


def test_known_peer_is_not_found_twice() -> None:
    assert not given().hello(P1).events


@pytest.mark.parametrize("at", [HERE, ELSEWHERE])
def test_q10_own_hello_makes_no_peer(at: Address) -> None:
    kit = given()
    assert not kit.hello(ME, at=at, epoch=50, config_epoch=50, master=R1).events
    assert kit.engine.state.current_epoch == 0
    assert ME not in kit.master.peers


@pytest.mark.parametrize("settings", [GlobalSettings(), GlobalSettings(announce_ip="192.0.2.7", announce_port=1234)])
def test_earlier_identity_of_mine_makes_no_peer(settings: GlobalSettings) -> None:
    """A server that was paused delivers what was said before the file was lost: who lives here is no other voter."""
    kit = given(globals_=settings)
    here = Address(settings.announce_ip or HERE.host, settings.announce_port or HERE.port)
    assert not kit.hello(STRANGER, at=here, epoch=9).events
    assert not kit.hello(P1, at=here).events
    assert kit.master.voters == 3
    assert kit.hello(STRANGER, at=Address(here.host, here.port + 1)).has(e.PeerFound)


def test_hello_about_an_unknown_master_changes_nothing() -> None:
    """Property 28."""
    kit = given()
    assert not kit.hello(P3, name="other", epoch=9, config_epoch=9).events


def test_peer_with_a_new_address_moves_and_is_dialled_there() -> None:
    kit = given()
    heard = kit.hello(P1, at=ELSEWHERE)
    assert heard.kinds == [e.PeerMoved]
    assert kit.master.peers[P1].address == ELSEWHERE
    assert any(dial.address == ELSEWHERE for dial in heard.all(fx.OpenLink))
    assert kit.master.voters == 3


def test_move_is_told_to_the_other_masters_that_know_the_peer() -> None:
    kit = given(names=(NAME, "other", "third"))
    heard = kit.hello(P1, at=ELSEWHERE)
    assert heard.one(e.PeerAddressSpread).count == 2
    assert {master.peers[P1].address for master in kit.engine.state.masters.values()} == {ELSEWHERE}


def test_new_id_at_a_known_address_takes_the_place_of_the_old_one_everywhere() -> None:
    kit = given(names=(NAME, "other"))
    heard = kit.hello(STRANGER, at=peer_address(P1))
    assert heard.one(e.PeerEvicted).run_id == P1
    assert heard.one(e.PeerFound).run_id == STRANGER
    assert P1 not in kit.master.peers
    assert P1 not in kit.engine.state.masters["other"].peers
    assert kit.master.voters == 3


def test_peer_that_moves_to_the_address_of_another_takes_its_place() -> None:
    """Sentinels that come back with each other's address. Stock keeps both ids there and asks one process twice."""
    kit = given(names=(NAME, "other"))
    heard = kit.hello(P1, at=peer_address(P2))
    assert heard.one(e.PeerEvicted).run_id == P2
    assert heard.one(e.PeerMoved).run_id == P1
    assert set(kit.master.peers) == {P1}
    assert kit.hello(P2, at=peer_address(P1)).has(e.PeerFound), "and it is known again where it says it is"
    assert {run_id: peer.address for run_id, peer in kit.master.peers.items()} == {
        P1: peer_address(P2),
        P2: peer_address(P1),
    }


def test_silence_at_the_old_address_is_not_held_against_the_new_one() -> None:
    """Property 26."""
    kit = given()
    kit.peers[P1].silent()
    kit.wait(20_000)
    assert kit.master.peers[P1].s_down
    kit.peers[P1].pong = "PONG"
    heard = kit.hello(P1, at=ELSEWHERE)
    heard.events += kit.wait(1000).events
    assert not kit.master.peers[P1].s_down
    assert not heard.has(e.WentDown)


@pytest.mark.parametrize(
    ("announced", "place", "evicted"),
    [
        (GlobalSettings(), HERE, True),
        (GlobalSettings(announce_ip="10.0.9.8"), Address("10.0.9.8", HERE.port), True),
        (GlobalSettings(announce_port=7000), Address(HERE.host, 7000), True),
        (GlobalSettings(announce_ip="10.0.9.9", announce_port=7000), HERE, True),
        (GlobalSettings(), Address(HERE.host, 7000), False),
        (GlobalSettings(announce_ip="10.0.9.8"), Address("10.0.9.8", 7000), False),
    ],
)
def test_peer_whose_address_was_given_to_me_is_gone(announced: GlobalSettings, place: Address, evicted: bool) -> None:
    """Properties 7 and 12. Asking it is asking myself: stock then agrees with itself that the master is down, and
    votes for itself twice. My place is what I announce, and where I really am."""
    kit = given(peers=2, quorum=2, globals_=announced)
    assert kit.disk is not None
    mine = attrs.evolve(kit.disk.masters[0], peers=((P1, place), (P2, peer_address(P2))))
    heard = kit.restart(disk=attrs.evolve(kit.disk, masters=(mine,)))
    assert heard.has(e.PeerEvicted) == evicted
    assert (P1 in kit.master.peers) != evicted
    assert P2 in kit.master.peers
    assert kit.hello(P1, at=ELSEWHERE).has(e.PeerFound) == evicted


@pytest.mark.parametrize("at", [Address("not.a.number", 26379), Address("10.0.9.9", 65536), Address("", 26379)])
def test_q11_unusable_new_address_keeps_the_old_record(at: Address) -> None:
    kit = given()
    kit.hello(P1, at=at)
    assert kit.master.peers[P1].address == peer_address(P1)
    assert kit.master.voters == 3


# ---------------------------------------------------------------- hello: epochs and configuration


def test_higher_current_epoch_is_taken_over_and_saved() -> None:
    kit = given(epoch=3)
    heard = kit.hello(P1, epoch=4)
    assert heard.one(e.EpochRaised).epoch == 4
    assert heard.one(fx.SaveConfig).urgent
    assert not kit.hello(P1, epoch=4).events
    assert not kit.hello(P1, epoch=2).events


def test_r5_higher_configuration_epoch_raises_the_current_epoch_as_well() -> None:
    kit = given()
    kit.hello(P1, epoch=0, config_epoch=6, master=R1)
    assert kit.engine.state.current_epoch == 6


def test_higher_configuration_moves_the_master_and_tells_who_said_so() -> None:
    kit = given()
    switched = kit.hello(P1, epoch=5, config_epoch=5, master=R1).one(e.MasterSwitched)
    assert (switched.old, switched.new, switched.config_epoch) == (MASTER, R1, 5)
    assert switched.by is not None and switched.by.name == P1
    assert set(kit.master.replicas) == {MASTER, R2}
    assert (kit.master.address, kit.master.config_epoch) == (R1, 5)


def test_master_may_move_to_a_server_nobody_knew() -> None:
    kit = given(replicas=1)
    kit.hello(P1, epoch=5, config_epoch=5, master=R3)
    assert kit.master.address == R3
    assert set(kit.master.replicas) == {R1, MASTER}


def test_observers_script_is_called_with_both_addresses() -> None:
    kit = given(client_reconfig_script="/bin/true")
    script = kit.hello(P1, epoch=5, config_epoch=5, master=R1).one(fx.RunReconfigScript)
    assert script.arguments == (NAME, "observer", "start", "10.0.0.1", "6379", "10.0.0.2", "6379")


@pytest.mark.parametrize("config_epoch", [4, 5])
def test_lower_or_equal_configuration_is_ignored(config_epoch: int) -> None:
    kit = given(epoch=5, config_epoch=5)
    assert not kit.hello(P1, epoch=5, config_epoch=config_epoch, master=R1).events


@pytest.mark.parametrize("new", [Address("not.a.number", 6379), Address("10.0.0.2", 0), Address("10.0.0.2", 70_000)])
def test_q5_configuration_with_an_unusable_address_changes_neither_address_nor_epoch(new: Address) -> None:
    kit = given()
    heard = kit.hello(P1, epoch=5, config_epoch=5, master=new)
    assert not heard.has(e.MasterSwitched)
    assert (kit.master.address, kit.master.config_epoch) == (MASTER, 0)
    assert kit.hello(P1, epoch=5, config_epoch=5, master=R1).has(e.MasterSwitched), "the real one is not ignored"


def test_q16_higher_configuration_epoch_with_the_same_address_is_saved() -> None:
    kit = given()
    heard = kit.hello(P1, epoch=5, config_epoch=5)
    assert heard.has(e.ConfigEpochAdopted)
    assert kit.disk is not None
    assert kit.disk.masters[0].config_epoch == 5


def test_configuration_epoch_never_falls() -> None:
    """Property 20."""
    kit = given()
    for config_epoch in (5, 3, 9, 1, 9):
        before = kit.master.config_epoch
        kit.hello(P1, epoch=9, config_epoch=config_epoch, master=R1)
        assert kit.master.config_epoch >= before


# ---------------------------------------------------------------- names


def test_q18_two_unresolved_names_are_not_the_same_machine() -> None:
    kit = given(address=Address("redis-a", 6379), globals_=NAMES, settled=False)
    state = kit.engine.state
    assert not state.same_address(Address("redis-a", 6379), Address("redis-b", 6379))
    assert state.same_address(Address("redis-a", 6379), Address("REDIS-A", 6379))


def test_unresolved_master_is_not_switched_away_from_by_its_own_number() -> None:
    kit = given(address=Address("redis-a", 6379), globals_=NAMES, settled=False)
    heard = kit.hello(P1, epoch=3, config_epoch=3, master=MASTER)
    assert not heard.has(e.MasterSwitched)
    kit.hear(i.NameResolved("redis-a", MASTER.host))
    assert not kit.hello(P1, epoch=3, config_epoch=3, master=MASTER).has(e.MasterSwitched)
    assert kit.master.config_epoch == 3


def test_master_whose_name_is_gone_is_switched_away_from() -> None:
    """A container takes its name with it. A sentinel that starts after that knows the old master by name only."""
    kit = given(address=Address("redis-a", 6379), globals_=NAMES, settled=False)
    kit.hear(i.NameResolved("redis-a", None))
    assert kit.hello(P1, epoch=3, config_epoch=3, master=R1).has(e.MasterSwitched)
    assert kit.master.address == R1


def test_nobody_switches_to_a_name_without_an_address() -> None:
    kit = given(globals_=NAMES)
    kit.hear(i.NameResolved("redis-b", None))
    assert not kit.hello(P1, epoch=3, config_epoch=3, master=Address("redis-b", 6379)).has(e.MasterSwitched)
    assert kit.master.config_epoch == 0


def test_replica_of_a_name_that_is_gone_is_repointed() -> None:
    """Core.md 1.5: a name that cannot be resolved is compared as it is written."""
    kit = given(globals_=NAMES, failover_timeout_ms=5000)
    kit.muted |= {fx.PollInfo, fx.Repoint}
    astray = replica_info(Address("redis-old", 6379))
    kit.info(MASTER, master_info())
    kit.info(R1, astray)
    kit.wait(5001)
    assert not kit.info(R1, astray).has(e.ReplicaRepointed), "the resolver has not answered yet"
    kit.hear(i.NameResolved("redis-old", None))
    assert kit.info(R1, astray).has(e.ReplicaRepointed)


def test_names_without_an_address_are_remembered_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(senses, "MAX_NAMELESS", 3)
    kit = given(globals_=NAMES)
    for n in range(9):
        kit.hear(i.NameResolved(f"ghost-{n}", None))
    assert len(kit.engine.senses.nameless) == 3
    kit.hear(i.NameResolved("ghost-0", R1.host))
    assert not kit.engine.state.ip("ghost-8")
    assert kit.engine.state.ip("ghost-0") == R1.host
    assert len(kit.engine.senses.nameless) == 2


def test_one_address_may_be_written_in_many_ways() -> None:
    """IPv6: what stock sentinels say is always the short form."""
    kit = given(address=Address("FD00:0:0::0001", 6379))
    assert kit.vote_asked(P1, 1, about=Address("fd00::1", 6379)).one(fx.AnswerOpinion).leader == P1
    assert not kit.hello(P1, epoch=3, config_epoch=3, master=Address("fd00::1", 6379)).has(e.MasterSwitched)
    kit.info(kit.master.address, master_info(replicas=(Address("fd00::2", 6379), Address("fd00:0::2", 6379))))
    assert Address("fd00::2", 6379) in kit.master.replicas
    assert Address("fd00:0::2", 6379) not in kit.master.replicas
    said = kit.wait(3000).all(fx.SayHello)
    assert {hello.hello.master_host for hello in said} == {"fd00::1"}


def test_q17_name_in_a_hello_is_resolved_before_anything_is_concluded() -> None:
    kit = given(globals_=NAMES)
    heard = kit.hello(P1, epoch=3, config_epoch=3, master=Address("redis-b", 6379))
    assert not heard.has(e.MasterSwitched)
    assert {asked.host for asked in heard.all(fx.ResolveName)} == {"redis-b"}
    kit.hear(i.NameResolved("redis-b", R1.host))
    assert kit.hello(P1, epoch=3, config_epoch=3, master=Address("redis-b", 6379)).has(e.MasterSwitched)


def test_name_that_means_the_present_master_is_no_switch() -> None:
    kit = given(globals_=NAMES)
    kit.hear(i.NameResolved("redis-a", MASTER.host))
    heard = kit.hello(P1, epoch=3, config_epoch=3, master=Address("redis-a", 6379))
    assert not heard.has(e.MasterSwitched)
    assert kit.master.config_epoch == 3


def test_two_names_are_two_servers_even_while_they_lead_to_one_address() -> None:
    """A name service that is wrong for a moment, or names that change their machines: the epoch may not be taken
    without the address, or nothing that others say later is new (as in core.md Q5); and the old master stays known."""
    kit = given(address=Address("redis-a", 6379), globals_=NAMES, settled=False)
    for name in ("redis-a", "redis-b"):
        kit.hear(i.NameResolved(name, MASTER.host))
    switched = kit.hello(P1, epoch=3, config_epoch=3, master=Address("redis-b", 6379)).one(e.MasterSwitched)
    assert (switched.new, switched.config_epoch) == (Address("redis-b", 6379), 3)
    assert Address("redis-a", 6379) in kit.master.replicas
    kit.hear(i.NameResolved("redis-b", R1.host))
    assert not kit.hello(P1, epoch=3, config_epoch=3, master=Address("redis-b", 6379)).has(e.MasterSwitched)
    assert (kit.master.address, kit.master.config_epoch) == (Address("redis-b", 6379), 3)


def test_one_name_may_be_written_in_small_and_in_capital_letters() -> None:
    kit = given(address=Address("redis-a", 6379), globals_=NAMES, settled=False)
    kit.hear(i.NameResolved("redis-a", MASTER.host))
    kit.hear(i.NameResolved("REDIS-A", MASTER.host))
    assert not kit.hello(P1, epoch=3, config_epoch=3, master=Address("REDIS-A", 6379)).has(e.MasterSwitched)
    assert kit.master.config_epoch == 3


def test_name_that_cannot_be_resolved_now_keeps_what_was_known() -> None:
    """Core.md 2.2."""
    kit = given(globals_=NAMES)
    kit.hear(i.NameResolved("redis-a", MASTER.host))
    assert not kit.hear(i.NameResolved("redis-a", None)).events
    assert kit.engine.state.ip("redis-a") == MASTER.host


def test_replica_that_follows_the_master_by_name_is_no_stray() -> None:
    kit = given(globals_=NAMES, failover_timeout_ms=5000)
    kit.hear(i.NameResolved("redis-a", MASTER.host))
    kit.info(R1, replica_info(Address("redis-a", 6379)))
    assert not kit.wait(30_000).has(e.ReplicaRepointed)


def test_shared_peer_has_one_link_for_all_masters() -> None:
    """Core.md 2.5."""
    kit = given(names=(NAME, "other"))
    pings = [ping for ping in kit.wait(10_000).all(fx.SendPing) if ping.link == PeerLink(P1)]
    assert 9 <= len(pings) <= 11
