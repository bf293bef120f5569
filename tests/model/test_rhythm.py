"""What is due when: PING, INFO, hellos, connections (core.md 2.2, 2.4, 4; Q7, Q9, Q23, R3)."""

from __future__ import annotations

import pytest

from tests.model.given import (
    DOWN_AFTER_MS,
    HERE,
    MASTER,
    ME,
    NAME,
    P1,
    R1,
    R2,
    START_MS,
    Given,
    Heard,
    Server,
    given,
    master_info,
    replica_info,
)
from trio_sentinel.model import effects as fx
from trio_sentinel.model import events as e
from trio_sentinel.model import inputs as i
from trio_sentinel.model.settings import GlobalSettings
from trio_sentinel.model.values import Address, Channel, PeerLink, ServerLink

TO_MASTER = ServerLink(NAME, MASTER)
TO_R1 = ServerLink(NAME, R1)


def sent(heard: Heard, kind: type[fx.SendPing | fx.PollInfo | fx.SayHello], link: object) -> int:
    return sum(1 for effect in heard.all(kind) if effect.link == link)


# ---------------------------------------------------------------- connections


def test_servers_get_two_connections_and_peers_one() -> None:
    kit = given(settled=False)
    opened = {(sense.command.open, sense.pubsub.open) for sense in kit.engine.senses.servers.values()}
    assert not opened - {(True, True), (False, False)}
    kit.wait(100)
    assert {(s.command.open, s.pubsub.open) for s in kit.engine.senses.servers.values()} == {(True, True)}
    assert {s.command.open for s in kit.engine.senses.peers.values()} == {True}


def test_new_connection_begins_with_a_ping() -> None:
    kit = given()
    heard = kit.hear(i.LinkLost(TO_R1, Channel.COMMAND, "reset"))
    assert sent(heard, fx.SendPing, TO_R1) == 1


def test_refused_connection_is_tried_again_no_more_than_ten_times_a_second_and_at_least_once() -> None:
    kit = given()
    kit.lose(R1)
    soon = [dial for dial in kit.wait(1000).all(fx.OpenLink) if (dial.link, dial.channel) == (TO_R1, Channel.COMMAND)]
    assert 1 <= len(soon) <= 10
    kit.wait(20_000)
    later = [
        dial for dial in kit.wait(10_000).all(fx.OpenLink) if (dial.link, dial.channel) == (TO_R1, Channel.COMMAND)
    ]
    assert 9 <= len(later) <= 11


def test_port_zero_is_never_dialled() -> None:
    kit = given(address=Address("10.0.0.1", 0), replicas=0, settled=False)
    assert not [dial for dial in kit.wait(5000).all(fx.OpenLink) if isinstance(dial.link, ServerLink)]


def test_open_connection_without_a_reply_is_closed_after_half_down_after_but_not_in_its_first_fifteen_seconds() -> None:
    kit = given(down_after_ms=60_000)
    since_ms = kit.silence(R1)
    command = kit.engine.senses.servers[NAME, R1].command
    assert command.wanted_at_ms is not None
    heard = kit.wait_until(since_ms + 30_000)
    assert (TO_R1, Channel.COMMAND) not in {(close.link, close.channel) for close in heard.all(fx.CloseLink)}
    heard = kit.wait(1001)
    assert (TO_R1, Channel.COMMAND) in {(close.link, close.channel) for close in heard.all(fx.CloseLink)}


def test_young_connection_is_not_closed_although_nothing_is_answered() -> None:
    kit = given()
    kit.silence(R1)
    opened_ms = kit.engine.senses.servers[NAME, R1].command.wanted_at_ms
    assert opened_ms is not None
    commands = [c for c in kit.wait_until(opened_ms + 15_000).all(fx.CloseLink) if c.channel is Channel.COMMAND]
    assert not commands
    assert [c for c in kit.wait(1001).all(fx.CloseLink) if c.channel is Channel.COMMAND]


def test_connection_that_answers_anything_at_all_is_kept() -> None:
    kit = given(down_after_ms=20_000)
    kit.servers[R1].pong = "NOAUTH Authentication required."
    heard = kit.wait(60_000)
    assert not [c for c in heard.all(fx.CloseLink) if (c.link, c.channel) == (TO_R1, Channel.COMMAND)]


def test_silent_pubsub_connection_is_closed_after_three_hello_periods_but_not_in_its_first_fifteen_seconds() -> None:
    kit = given()
    opened_ms = kit.engine.senses.servers[NAME, R1].pubsub.wanted_at_ms
    assert opened_ms is not None
    assert not [c for c in kit.wait_until(opened_ms + 15_000).all(fx.CloseLink) if c.channel is Channel.PUBSUB]
    assert [c for c in kit.wait(1001).all(fx.CloseLink) if c.channel is Channel.PUBSUB]


def test_pubsub_connection_on_which_something_is_heard_is_kept() -> None:
    kit = given()
    for _ in range(30):
        for address in (MASTER, R1, R2):
            kit.hear(i.PubSubHeard(ServerLink(NAME, address)))
        assert not kit.wait(1000).has(fx.CloseLink)


# ---------------------------------------------------------------- PING


def test_answered_pings_go_out_once_a_second_to_everybody() -> None:
    heard = given().wait(10_000)
    for link in (TO_MASTER, TO_R1, PeerLink(P1)):
        assert 9 <= sent(heard, fx.SendPing, link) <= 11, link


def test_unanswered_pings_go_out_twice_a_second() -> None:
    kit = given(down_after_ms=60_000)
    kit.silence(R1)
    assert 18 <= sent(kit.wait(10_000), fx.SendPing, TO_R1) <= 21


def test_few_servers_are_pinged_ten_times_a_second_while_they_answer() -> None:
    kit = given(pings_a_second=500, down_after_ms=60_000)
    heard = kit.wait(10_000)
    for link in (TO_MASTER, TO_R1, PeerLink(P1)):
        assert 98 <= sent(heard, fx.SendPing, link) <= 102, link
    kit.silence(R1)
    assert 18 <= sent(kit.wait(10_000), fx.SendPing, TO_R1) <= 21


def test_quick_pings_are_given_up_where_there_are_too_many_links() -> None:
    names = (NAME, *(f"m{n}" for n in range(99)))
    heard = given(pings_a_second=100, names=names).wait(10_000)
    assert 9 <= sent(heard, fx.SendPing, TO_MASTER) <= 11


@pytest.mark.parametrize("pings_a_second", [0, 500])
def test_answer_that_comes_late_is_followed_by_the_next_ping(pings_a_second: int) -> None:
    """Nothing is lost by looking at a link less often when it answers: a late answer makes the next PING due."""
    kit = given(pings_a_second=pings_a_second, down_after_ms=60_000)
    kit.silence(R1)
    kit.wait(10_000)
    kit.servers[R1].pong = "PONG"
    heard = kit.hear(i.PingAnswered(TO_R1, "PONG"))
    soon = kit.wait(100 if pings_a_second else 1000)
    assert sent(heard, fx.SendPing, TO_R1) + sent(soon, fx.SendPing, TO_R1) >= 1


@pytest.mark.parametrize("pings_a_second", [0, 500])
def test_silence_counts_from_the_first_unanswered_ping_to_the_millisecond(pings_a_second: int) -> None:
    kit = given(pings_a_second=pings_a_second)
    since_ms = kit.silence(MASTER)
    assert not kit.wait_until(since_ms + DOWN_AFTER_MS).has(e.WentDown)
    assert kit.wait(1).one(e.WentDown).at_ms == since_ms + DOWN_AFTER_MS + 1


def test_probes_of_one_link_leave_together() -> None:
    """PUBLISH rides on every second PING, INFO on every tenth: one write."""
    kit = given()
    kit.wait(12_000)
    kinds: dict[tuple[str, ...], int] = {}
    for _ in range(20_000):
        probes = [x for x in kit.wait(1).effects if isinstance(x, fx.SendPing | fx.SayHello | fx.PollInfo)]
        if said := tuple(sorted(type(x).__name__ for x in probes if x.link == TO_R1)):
            kinds[said] = kinds.get(said, 0) + 1
    assert kinds == {("SendPing",): 10, ("SayHello", "SendPing"): 8, ("PollInfo", "SayHello", "SendPing"): 2}


def test_links_of_many_masters_are_spread_over_the_second() -> None:
    kit = given(names=(NAME, *(f"m{n}" for n in range(99))), peers=0, replicas=0)
    kit.wait(3000)
    moments: dict[int, int] = {}
    for _ in range(1000):
        pings = len(kit.wait(1).all(fx.SendPing))
        if pings:
            moments[kit.now_ms] = pings
    assert sum(moments.values()) == 100
    assert len(moments) == 10
    assert max(moments.values()) <= 20


def test_short_down_after_quickens_the_pings() -> None:
    assert 48 <= sent(given(down_after_ms=200).wait(10_000), fx.SendPing, TO_R1) <= 52


def test_dead_connection_does_not_collect_probes() -> None:
    """Property 32."""
    kit = given(down_after_ms=10_000_000)
    kit.silence(R1)
    kit.wait(300_000)
    assert kit.engine.senses.servers[NAME, R1].pending <= 100


# ---------------------------------------------------------------- INFO


def test_info_is_asked_every_ten_seconds() -> None:
    heard = given().wait(60_000)
    for link in (TO_MASTER, TO_R1):
        assert 5 <= sent(heard, fx.PollInfo, link) <= 6, link


def test_info_of_replicas_is_asked_every_second_while_the_master_is_down_but_of_the_master_not() -> None:
    kit = given(quorum=3)
    kit.silence(MASTER)
    kit.servers[MASTER].info = master_info()
    kit.wait(DOWN_AFTER_MS + 1)
    assert kit.master.s_down
    heard = kit.wait(10_000)
    assert 9 <= sent(heard, fx.PollInfo, TO_R1) <= 11
    assert sent(heard, fx.PollInfo, TO_MASTER) <= 1


def test_info_is_asked_every_second_of_a_replica_without_its_link() -> None:
    kit = given()
    kit.info(R1, replica_info(master_link_down_ms=1000, master_link_up=False))
    heard = kit.wait(10_000)
    assert 9 <= sent(heard, fx.PollInfo, TO_R1) <= 11
    assert sent(heard, fx.PollInfo, ServerLink(NAME, R2)) <= 1


def test_q9_unanswered_info_is_not_repeated_over_the_same_connection() -> None:
    kit = given(down_after_ms=10_000_000)
    kit.servers[R1].info = None
    assert sent(kit.wait(60_000), fx.PollInfo, TO_R1) == 1


def test_q9_info_answered_with_an_error_is_repeated_once_a_second() -> None:
    kit = given()
    kit.servers[R1].info = None
    asked = 0
    for _ in range(100):
        heard = kit.wait(100)
        if sent(heard, fx.PollInfo, TO_R1):
            asked += sent(heard, fx.PollInfo, TO_R1)
            kit.hear(i.InfoHeard(TO_R1, None, b""))
    assert asked <= 11


def test_answer_to_info_that_is_lost_with_its_connection_is_asked_for_again() -> None:
    kit = given()
    kit.servers[R1].info = None
    kit.wait(11_000)
    kit.servers[R1].info = replica_info()
    heard = kit.hear(i.LinkLost(TO_R1, Channel.COMMAND, "reset"))
    assert sent(heard, fx.PollInfo, TO_R1) == 1


# ---------------------------------------------------------------- hellos


def test_hello_goes_to_everybody_every_two_seconds() -> None:
    heard = given().wait(20_000)
    for link in (TO_MASTER, TO_R1, PeerLink(P1)):
        assert 9 <= sent(heard, fx.SayHello, link) <= 11, link


def test_hello_that_is_accepted_late_is_followed_in_time() -> None:
    """Whatever was looked at there while it was on its way."""
    kit = given()
    kit.servers[R1].takes_hellos = False
    while not sent(kit.wait(1), fx.SayHello, TO_R1):
        pass
    kit.info(R1, replica_info())
    kit.wait(300)
    kit.hear(i.HelloAccepted(TO_R1, NAME, True))
    assert sent(kit.wait(1700), fx.SayHello, TO_R1) == 1


def test_hello_says_who_i_am_and_where_the_master_is() -> None:
    kit = given(epoch=7, config_epoch=5)
    hello = kit.wait(3000).all(fx.SayHello)[0].hello
    assert str(hello) == f",{HERE.port},{ME},7,{NAME},{MASTER.host},{MASTER.port},5"


def test_hello_names_hosts_only_when_they_are_announced() -> None:
    named = Address("redis-a", 6379)
    for announced, host in ((True, "redis-a"), (False, MASTER.host)):
        settings = GlobalSettings(resolve_hostnames=True, announce_hostnames=announced)
        kit = given(address=named, globals_=settings, settled=False, replicas=0)
        kit.hear(i.NameResolved("redis-a", MASTER.host))
        kit.servers[named] = Server(info=master_info())
        assert kit.wait(3000).all(fx.SayHello)[-1].hello.master_host == host


def test_nothing_is_said_about_a_master_whose_address_is_not_known() -> None:
    """Stock takes an empty address for a new one (core.md Q5)."""
    named = Address("redis-a", 6379)
    kit = given(address=named, globals_=GlobalSettings(resolve_hostnames=True), settled=False, replicas=0)
    assert not kit.wait(10_000).has(fx.SayHello)
    kit.hear(i.NameResolved("redis-a", MASTER.host))
    assert {said.hello.master_host for said in kit.wait(2000).all(fx.SayHello)} == {MASTER.host}


def test_a_link_follows_its_name_to_another_address() -> None:
    """A connection is begun with what the name meant last, while the resolver is asked anew. If that place was given to
    another server meanwhile, it would be taken for this one for as long as it answers."""
    named = Address("redis-a", 6379)
    kit = given(address=named, globals_=GlobalSettings(resolve_hostnames=True), settled=False, replicas=0)
    kit.hear(i.NameResolved("redis-a", "10.0.0.1"))
    kit.servers[named] = Server(info=master_info())
    kit.wait(3000)
    assert not kit.hear(i.NameResolved("redis-a", "10.0.0.1")).has(fx.CloseLink)
    heard = kit.hear(i.NameResolved("redis-a", "10.0.0.7"))
    assert {closed.channel for closed in heard.all(fx.CloseLink)} == set(Channel)
    assert {opened.channel for opened in heard.all(fx.OpenLink)} == set(Channel)
    assert not heard.has(fx.ResolveName), "a name with several addresses would be asked for ever"
    assert kit.wait(3000).has(fx.SayHello)


def test_two_names_of_one_process_are_asked_again() -> None:
    """The resolver lied when we connected, and tells the truth now; nothing else would make us ask."""
    a, b = Address("redis-a", 6379), Address("redis-b", 6379)
    kit = given(address=a, globals_=GlobalSettings(resolve_hostnames=True), settled=False, replicas=0)
    kit.hear(i.NameResolved(a.host, "10.0.0.1"))
    kit.servers[a] = Server(info=master_info(run_id="1" * 40, replicas=(b,)))
    kit.wait(3000)
    kit.servers[b] = Server(info=master_info(run_id="1" * 40))
    kit.hear(i.NameResolved(b.host, "10.0.0.1"))
    kit.wait(3000)
    heard = kit.wait(15_000)
    assert {asked.host for asked in heard.all(fx.ResolveName)} == {a.host, b.host}
    assert len(heard.all(fx.ResolveName)) <= 8, "with the INFO replies, not more often"


def named_pair() -> tuple[Given, Address, Address]:
    """A master and a replica that are known by names, and what the replica says follows the master by its name."""
    a, b = Address("redis-a", 6379), Address("redis-b", 6379)
    kit = given(address=a, globals_=GlobalSettings(resolve_hostnames=True), settled=False, replicas=0)
    kit.hear(i.NameResolved(a.host, "10.0.0.1"))
    kit.servers[a] = Server(info=master_info(run_id="1" * 40, replicas=(b,)))
    kit.servers[b] = Server(info=replica_info(a, run_id="2" * 40))
    kit.wait(3000)
    kit.hear(i.NameResolved(b.host, "10.0.0.2"))
    kit.wait(3000)
    return kit, a, b


def test_a_master_whose_replica_finds_nobody_under_its_name_is_asked_for_again() -> None:
    """The name led us to another server that lives, and leads the replica to the right one (seed 6019845)."""
    kit, a, b = named_pair()
    assert not kit.wait(15_000).has(fx.ResolveName), "all is well"
    astray = replica_info(a, run_id="2" * 40, master_link_up=False)
    heard = kit.info(b, astray)
    assert [asked.host for asked in heard.all(fx.ResolveName)] == [a.host]
    heard = kit.hear(i.NameResolved(a.host, "10.0.0.9"))
    assert {closed.link for closed in heard.all(fx.CloseLink)} == {ServerLink(NAME, a)}


def test_a_master_that_knows_none_of_the_replicas_linked_to_it_is_asked_for_again() -> None:
    """They are linked to whom its name leads to now, and we still to where it led when it lied (seed 14200038)."""
    kit, a, b = named_pair()
    assert not kit.info(a, master_info(run_id="1" * 40, replicas=(b,))).has(fx.ResolveName)
    stranger = master_info(run_id="1" * 40)
    assert [asked.host for asked in kit.info(a, stranger).all(fx.ResolveName)] == [a.host]
    kit.info(b, replica_info(a, run_id="2" * 40, announced=False))
    assert not kit.info(a, stranger).has(fx.ResolveName), "it would not be listed"
    kit.info(b, replica_info(Address("redis-c", 6379), run_id="2" * 40))
    assert not kit.info(a, stranger).has(fx.ResolveName), "linked to somebody else"


def test_a_master_that_says_it_is_a_replica_is_asked_for_again() -> None:
    """It may be somebody else: its name led to a replica of another master when it lied (seed 14220845)."""
    kit, a, _ = named_pair()
    other = replica_info(Address("10.0.0.8", 6379), run_id="1" * 40)
    assert [asked.host for asked in kit.info(a, other).all(fx.ResolveName)] == [a.host]


def test_a_name_that_was_taken_for_another_is_asked_again_when_it_is_told() -> None:
    """Nobody is connected to it any more, so nobody would (seed 11022825)."""
    kit, a, b = named_pair()
    kit.hear(i.NameResolved("redis-c", "10.0.0.1"))
    follows_c = replica_info(Address("redis-c", 6379), run_id="2" * 40)
    assert [asked.host for asked in kit.info(b, follows_c).all(fx.ResolveName)] == ["redis-c", a.host]
    kit.hear(i.NameResolved("redis-c", "10.0.0.3"))
    assert not kit.info(b, follows_c).has(fx.ResolveName)
    assert not kit.info(b, replica_info(a, run_id="2" * 40)).has(fx.ResolveName)


def test_a_replica_without_a_link_to_somebody_else_makes_no_name_doubtful() -> None:
    kit, _, b = named_pair()
    elsewhere = replica_info(Address("redis-c", 6379), run_id="2" * 40, master_link_up=False)
    asked = kit.info(b, elsewhere).all(fx.ResolveName)
    assert {one.host for one in asked} == {"redis-c"}


def test_q9_unanswered_hello_is_not_repeated_over_the_same_connection() -> None:
    kit = given(down_after_ms=10_000_000)
    kit.servers[R1].takes_hellos = False
    assert sent(kit.wait(60_000), fx.SayHello, TO_R1) <= 1


def test_q9_refused_hello_is_repeated_no_more_than_once_a_second() -> None:
    kit = given()
    kit.servers[R1].takes_hellos = False
    said = 0
    for _ in range(100):
        heard = kit.wait(100)
        if sent(heard, fx.SayHello, TO_R1):
            said += sent(heard, fx.SayHello, TO_R1)
            kit.hear(i.HelloAccepted(TO_R1, NAME, False))
    assert 4 <= said <= 11


def test_r3_no_hello_goes_to_a_server_that_hands_over_and_pings_go_on() -> None:
    kit = given()
    kit.info(R1, replica_info(failover_state="waiting-for-sync"))
    heard = kit.wait(10_000)
    assert sent(heard, fx.SayHello, TO_R1) == 0
    assert sent(heard, fx.SendPing, TO_R1) >= 9


def test_r3_server_that_keeps_hellos_back_is_not_down() -> None:
    """Its writes are paused: a PUBLISH is not answered, nor anything behind it, but a PING over a new connection is."""
    kit = given(down_after_ms=3000)
    kit.servers[MASTER].takes_hellos = False
    kit.muted.add(fx.SendPing)
    blocked, said = False, 0
    log_before = len(kit.log)

    def answer(heard: Heard) -> None:
        nonlocal blocked, said
        pongs = []
        for effect in heard.effects:
            match effect:
                case fx.OpenLink(link, _, Channel.COMMAND) if link == TO_MASTER:
                    blocked = False
                case fx.SayHello(link) if link == TO_MASTER:
                    blocked, said = True, said + 1
                case fx.SendPing(link) if link != TO_MASTER or not blocked:
                    pongs.append(i.PingAnswered(link, "PONG"))
        for pong in pongs:
            answer(kit.hear(pong))

    for _ in range(3000):
        answer(kit.wait(10))
    assert not any(isinstance(event, e.WentDown) for event in kit.log[log_before:])
    assert said >= 5, "and it is tried again and again"


def test_server_that_hangs_is_down_on_time_whatever_was_said_to_it() -> None:
    kit = given(down_after_ms=3000)
    kit.servers[MASTER].silent()
    while kit.engine.senses.servers[NAME, MASTER].ping_since_ms is None:
        kit.wait(1)
    since_ms = kit.engine.senses.servers[NAME, MASTER].ping_since_ms
    assert since_ms is not None
    assert not kit.wait_until(since_ms + 3000).has(e.WentDown)
    heard = kit.wait(1)
    assert heard.has(e.WentDown)
    heard = kit.wait(13_000)
    assert len([closed for closed in heard.all(fx.CloseLink) if closed.link == TO_MASTER]) <= 2


def test_q3_no_hello_goes_out_while_the_disk_fails() -> None:
    kit = given()
    kit.saving = False
    kit.vote_asked(P1, 5)
    assert not kit.wait(10_000).has(fx.SayHello)
    kit.saving = True
    assert kit.wait(5000).has(fx.SayHello)


# ---------------------------------------------------------------- counting and looking


def test_q23_pending_commands_are_forgotten_with_their_connection() -> None:
    kit = given(down_after_ms=60_000)
    kit.silence(R1)
    kit.wait(10_000)
    assert kit.engine.senses.servers[NAME, R1].pending > 5
    kit.hear(i.LinkLost(TO_R1, Channel.COMMAND, "reset"))
    assert kit.engine.senses.servers[NAME, R1].pending <= 3


@pytest.mark.parametrize("masters", [1, 5])
def test_engine_is_not_woken_without_need(masters: int) -> None:
    """A healthy master costs a few looks a second, not one each tick."""
    kit: Given = given(names=(NAME, *(f"m{n}" for n in range(masters - 1))))
    looks, end_ms = 0, kit.now_ms + 10_000
    while kit.engine.next_due_ms() < end_ms:
        kit.wait_until(kit.engine.next_due_ms())
        looks += 1
    assert looks <= 10 * 15 * masters


def test_peer_of_many_masters_is_seen_down_though_a_hundred_hellos_wait() -> None:
    """Hellos about many masters may fill a silent link sooner than the next PING is due there."""
    kit = given(peers=1)
    sense = kit.engine.senses.peers[P1]
    while sense.ping_since_ms is not None or kit.now_ms - sense.last_ok_at_ms > 100:
        kit.wait(1)
    kit.peers[P1].silent()
    sense.pending = 150
    kit.wait(1000 + DOWN_AFTER_MS)
    assert kit.master.peers[P1].s_down


def test_shared_link_to_a_silent_peer_is_seen_down_by_all_masters() -> None:
    """Whatever is queued there by many masters, a PING must still go out."""
    names = (NAME, *(f"m{n}" for n in range(149)))
    kit = given(names=names, peers=1, replicas=0)
    kit.wait(5000)
    kit.peers[P1].silent()
    kit.wait(DOWN_AFTER_MS + 3000)
    assert all(master.peers[P1].s_down for master in kit.engine.state.masters.values())
    assert kit.now_ms > START_MS
