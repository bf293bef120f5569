"""Descriptions have the fields of commands.md 8 in their order; INFO has the lines of 5.1."""

from __future__ import annotations

import pytest

from trio_sentinel.model import views
from trio_sentinel.model.effects import Answer, AnswerOpinion
from trio_sentinel.model.observations import ChannelSense, Observations, Opinion, PeerSense, ServerSense
from trio_sentinel.model.settings import GlobalSettings, MasterSettings, Timing
from trio_sentinel.model.state import (
    Failover,
    Manner,
    Master,
    Peer,
    Phase,
    Reconf,
    ReconfiguringReplicas,
    Replica,
    SendingPromotion,
    SentinelState,
    WaitingForVotes,
)
from trio_sentinel.model.values import Address, PeerLink, Role, RunId, ServerLink
from trio_sentinel.wire import answers, info

NOW = 100_000
HOME = Address("10.0.0.1", 6379)
COPY = Address("10.0.0.2", 6380)
PEER = RunId("e" * 40)


def sense(address: Address, *, open_: bool = True) -> ServerSense:
    return ServerSense(
        link=ServerLink("m", address),
        made_at_ms=0,
        last_ok_at_ms=NOW - 20,
        last_pong_at_ms=NOW - 10,
        ping_since_ms=None,
        pending=2,
        command=ChannelSense(open=open_),
        pubsub=ChannelSense(open=open_),
        info_at_ms=NOW - 5000,
    )


def scene() -> tuple[SentinelState, Observations, Master]:
    """A master with one replica and one peer, all well."""
    master = Master(name="m", address=HOME, settings=MasterSettings(quorum=2), run_id="d" * 40, role_since_ms=NOW - 7)
    master.replicas[COPY] = Replica(address=COPY, role_since_ms=NOW - 8)
    master.peers[PEER] = Peer(run_id=PEER, address=Address("10.0.0.3", 26379))
    state = SentinelState(my_id=RunId("a" * 40), masters={"m": master})
    peer_sense = PeerSense(
        link=PeerLink(PEER),
        address=Address("10.0.0.3", 26379),
        made_at_ms=0,
        last_ok_at_ms=NOW,
        last_pong_at_ms=NOW,
        ping_since_ms=NOW - 3,
        command=ChannelSense(open=True),
    )
    senses = Observations(
        servers={("m", HOME): sense(HOME), ("m", COPY): sense(COPY)},
        peers={PEER: peer_sense},
        opinions={("m", PEER): Opinion(master="m", run_id=PEER, answered_at_ms=NOW, hello_at_ms=NOW - 400)},
    )
    return state, senses, master


def master_fields(state: SentinelState, senses: Observations, master: Master) -> dict[str, object]:
    return dict(answers.master_fields(views.view_of_master(state, senses, master, NOW)))


def replica_fields(state: SentinelState, senses: Observations, master: Master) -> dict[str, object]:
    return dict(answers.replica_fields(views.replicas(state, senses, master, NOW)[0]))


def peer_fields(state: SentinelState, senses: Observations, master: Master) -> dict[str, object]:
    return dict(answers.peer_fields(views.peers(state, senses, master, NOW)[0]))


def test_a_master_that_is_well() -> None:
    fields = master_fields(*scene())
    assert fields == {
        "name": "m",
        "ip": "10.0.0.1",
        "port": 6379,
        "runid": "d" * 40,
        "flags": "master",
        "link-pending-commands": 2,
        "link-refcount": 1,
        "last-ping-sent": 0,
        "last-ok-ping-reply": 20,
        "last-ping-reply": 10,
        "down-after-milliseconds": 30000,
        "info-refresh": 5000,
        "role-reported": "master",
        "role-reported-time": 7,
        "config-epoch": 0,
        "num-slaves": 1,
        "num-other-sentinels": 1,
        "quorum": 2,
        "failover-timeout": 180000,
        "parallel-syncs": 1,
    }
    assert (
        list(fields)
        == (
            "name ip port runid flags link-pending-commands link-refcount last-ping-sent last-ok-ping-reply "
            "last-ping-reply down-after-milliseconds info-refresh role-reported role-reported-time config-epoch "
            "num-slaves num-other-sentinels quorum failover-timeout parallel-syncs"
        ).split()
    )


def test_optional_fields_of_a_master_stand_in_their_places() -> None:
    state, senses, master = scene()
    master.s_down, master.s_down_since_ms = True, NOW - 50
    master.o_down, master.o_down_since_ms = True, NOW - 40
    master.settings = MasterSettings(quorum=2, notification_script="/n", client_reconfig_script="/c")
    master.failover = Failover(epoch=1, manner=Manner.AUTOMATIC, phase=WaitingForVotes(True), phase_since_ms=0)
    fields = master_fields(state, senses, master)
    assert (fields["s-down-time"], fields["o-down-time"]) == (50, 40)
    assert fields["failover-state"] == "wait_start"
    names = list(fields)
    assert names[6:9] == ["link-refcount", "failover-state", "last-ping-sent"]
    assert names[10:14] == ["last-ping-reply", "s-down-time", "o-down-time", "down-after-milliseconds"]
    assert names[-2:] == ["notification-script", "client-reconfig-script"]
    assert fields["flags"] == "s_down,o_down,master,failover_in_progress"


def test_a_replica_before_its_first_info() -> None:
    state, senses, master = scene()
    senses.servers[("m", COPY)].info_at_ms = None
    fields = replica_fields(state, senses, master)
    assert len(fields) == 21
    assert fields["name"] == "10.0.0.2:6380"
    assert fields["runid"] == ""
    assert fields["info-refresh"] == 0
    assert fields["master-link-status"] == "err"
    assert (fields["master-host"], fields["master-port"]) == ("?", 0)
    assert (fields["slave-priority"], fields["replica-announced"]) == (100, 1)
    assert (
        list(fields)[10:]
        == (
            "down-after-milliseconds info-refresh role-reported role-reported-time master-link-down-time "
            "master-link-status master-host master-port slave-priority slave-repl-offset replica-announced"
        ).split()
    )


def test_a_peer() -> None:
    state, senses, master = scene()
    fields = peer_fields(state, senses, master)
    assert len(fields) == 14
    assert (fields["name"], fields["runid"], fields["flags"]) == (PEER, PEER, "sentinel")
    assert (fields["last-ping-sent"], fields["last-hello-message"]) == (3, 400)
    assert (fields["voted-leader"], fields["voted-leader-epoch"]) == ("?", 0)
    assert list(fields)[10:] == "down-after-milliseconds last-hello-message voted-leader voted-leader-epoch".split()
    other = Master(name="n", address=HOME, settings=MasterSettings(quorum=1), peers=dict(master.peers))
    state.masters["n"] = other
    senses.opinions[("m", PEER)].voted_for = RunId("f" * 40)
    fields = peer_fields(state, senses, master)
    assert fields["link-refcount"] == 2
    assert fields["voted-leader"] == "f" * 40


@pytest.mark.parametrize(
    ("manner", "phase", "flags"),
    [
        (Manner.AUTOMATIC, WaitingForVotes(True), "master,disconnected,failover_in_progress,script_kill_sent"),
        (
            Manner.FORCED,
            SendingPromotion(COPY),
            "master,disconnected,failover_in_progress,force_failover,script_kill_sent",
        ),
        (
            Manner.COORDINATED,
            SendingPromotion(COPY),
            "master,disconnected,failover_in_progress,coordinated_failover,script_kill_sent",
        ),
    ],
)
def test_flags_of_a_master_in_a_failover(manner: Manner, phase: Phase, flags: str) -> None:
    state, senses, master = scene()
    senses.servers[("m", HOME)].command.open = False
    senses.servers[("m", HOME)].script_kill_sent = True
    master.failover = Failover(epoch=1, manner=manner, phase=phase, phase_since_ms=0)
    assert master_fields(state, senses, master)["flags"] == flags
    master.rebooting_since_ms = 5
    assert master_fields(state, senses, master)["flags"] == flags + ",master_reboot"


@pytest.mark.parametrize(
    ("reconf", "flags"),
    [
        (Reconf.NONE, "s_down,slave,disconnected,promoted"),
        (Reconf.SENT, "s_down,slave,disconnected,promoted,reconf_sent"),
        (Reconf.IN_PROGRESS, "s_down,slave,disconnected,promoted,reconf_inprog"),
        (Reconf.DONE, "s_down,slave,disconnected,promoted,reconf_done"),
        (Reconf.SENT_AGAIN, "s_down,slave,disconnected,promoted,reconf_sent,reconf_done"),
    ],
)
def test_flags_of_a_replica(reconf: Reconf, flags: str) -> None:
    state, senses, master = scene()
    master.failover = Failover(epoch=1, manner=Manner.FORCED, phase=SendingPromotion(COPY), phase_since_ms=0)
    replica = master.replicas[COPY]
    replica.s_down, replica.reconf = True, reconf
    senses.servers[("m", COPY)].pubsub.open = False
    assert replica_fields(state, senses, master)["flags"] == flags


def test_flags_of_a_peer() -> None:
    state, senses, master = scene()
    master.peers[PEER].s_down = True
    senses.peers[PEER].command.open = False
    senses.opinions[("m", PEER)].master_down = True
    assert peer_fields(state, senses, master)["flags"] == "s_down,sentinel,disconnected,master_down"


def test_no_flag_contains_a_word_that_clients_search_for() -> None:
    """commands.md 9, consequence 4."""
    state, senses, master = scene()
    master.failover = Failover(epoch=1, manner=Manner.FORCED, phase=SendingPromotion(COPY), phase_since_ms=0)
    flags = str(master_fields(state, senses, master)["flags"])
    assert not any(word in flags for word in ("s_down", "o_down", "disconnected"))


def test_an_instance_never_heard_of_is_disconnected() -> None:
    state, _, master = scene()
    nothing = Observations()
    assert master_fields(state, nothing, master)["flags"] == "master,disconnected"
    assert replica_fields(state, nothing, master)["flags"] == "slave,disconnected"
    assert peer_fields(state, nothing, master)["flags"] == "sentinel,disconnected"


def test_the_promoted_replica_is_shown_only_once_it_may_be_told() -> None:
    """7.4: clients get the new address from reconf_slaves on, descriptions keep the old one until the switch."""
    state, senses, master = scene()
    for published, expected in ((False, HOME), (True, COPY)):
        phase = ReconfiguringReplicas(COPY, published)
        master.failover = Failover(epoch=1, manner=Manner.FORCED, phase=phase, phase_since_ms=0)
        view = views.view_of_master(state, senses, master, NOW)
        assert (view.host, view.port) == ("10.0.0.1", 6379)
        assert (view.current_host, view.current_port) == (expected.host, expected.port)


def test_hosts_are_shown_as_announced() -> None:
    state, senses, master = scene()
    master.address = Address("db.example", 6379)
    state.names["db.example"] = "10.9.9.9"
    assert master_fields(state, senses, master)["ip"] == "10.9.9.9"
    state.settings = GlobalSettings(announce_hostnames=True)
    assert master_fields(state, senses, master)["ip"] == "db.example"
    master.replicas = {Address("::1", 7): Replica(address=Address("::1", 7))}
    assert replica_fields(state, senses, master)["name"] == "[::1]:7"


def test_unannounced_replicas_are_hidden_only_from_the_list() -> None:
    """Checklist 13."""
    state, senses, master = scene()
    senses.servers[("m", COPY)].announced = False
    assert answers.replicas(views.replicas(state, senses, master, NOW), 2) == b"*0\r\n"
    assert master_fields(state, senses, master)["num-slaves"] == 1


TOO_FEW = "Not enough available Sentinels to reach the specified quorum for this master"
NO_MAJORITY = "Not enough available Sentinels to reach the majority and authorize a failover"


@pytest.mark.parametrize(
    ("peers_up", "peers_down", "quorum", "reply"),
    [
        (1, 0, 2, "+OK 2 usable Sentinels. Quorum and failover authorization can be reached\r\n"),
        (0, 0, 2, f"-NOQUORUM 1 usable Sentinels. {TOO_FEW}\r\n"),
        (0, 2, 1, f"-NOQUORUM 1 usable Sentinels. {NO_MAJORITY}\r\n"),
        (0, 2, 2, f"-NOQUORUM 1 usable Sentinels. {TOO_FEW}. {NO_MAJORITY}\r\n"),
    ],
)
def test_ckquorum(peers_up: int, peers_down: int, quorum: int, reply: str) -> None:
    """7.2."""
    peers = {
        RunId(str(n)): Peer(run_id=RunId(str(n)), address=Address("h", n), s_down=n >= peers_up)
        for n in range(peers_up + peers_down)
    }
    master = Master(name="m", address=HOME, settings=MasterSettings(quorum=quorum), peers=peers)
    assert answers.quorum(views.ckquorum(master)).decode() == reply


def test_answers_of_the_model() -> None:
    assert answers.answer(Answer(1, None)) == b"+OK\r\n"
    assert answers.answer(Answer(1, None, 3)) == b":3\r\n"
    assert (
        answers.answer(Answer(1, "INPROG Failover already in progress")) == b"-INPROG Failover already in progress\r\n"
    )
    assert answers.answer(AnswerOpinion(1, True, None, 0)) == b"*3\r\n:1\r\n$1\r\n*\r\n:0\r\n"
    assert answers.answer(AnswerOpinion(1, False, RunId("abc"), 7)) == b"*3\r\n:0\r\n$3\r\nabc\r\n:7\r\n"


def test_config_get_gives_earlier_patterns_first_and_nothing_twice() -> None:
    settings = GlobalSettings(announce_ip="1.1.1.1", sentinel_pass="secret")
    reply = answers.global_settings([b"ANNOUNCE-port", b"announce*", b"nope"], settings, "notice", 2)
    assert reply == (
        b"*6\r\n$13\r\nannounce-port\r\n$1\r\n0\r\n$18\r\nannounce-hostnames\r\n$2\r\nno\r\n"
        b"$11\r\nannounce-ip\r\n$7\r\n1.1.1.1\r\n"
    )
    assert answers.global_settings([b"nope"], settings, "notice", 3) == b"%0\r\n"
    shown = answers.global_settings([b"sentinel-pass"], settings, "notice", 3)
    assert b"secret" not in shown
    assert b"******" in shown


def test_debug_shows_thirteen_pairs() -> None:
    reply = answers.timing(Timing(), 3)
    assert reply.startswith(b"%13\r\n$11\r\nINFO-PERIOD\r\n$5\r\n10000\r\n$11\r\nPING-PERIOD\r\n")
    assert reply.endswith(b"$18\r\nSCRIPT-RETRY-DELAY\r\n$5\r\n30000\r\n")


def test_help_has_49_lines() -> None:
    assert len(answers.SENTINEL_HELP) == 49


# ---------------------------------------------------------------- INFO


@pytest.mark.parametrize(
    ("names", "sections"),
    [
        ((), info.SECTIONS),
        ((b"ALL", b"nope"), info.SECTIONS),
        ((b"sentinel", b"Server", b"sentinel"), ("server", "sentinel")),
        ((b"replication",), ()),
    ],
)
def test_sections_of_info(names: tuple[bytes, ...], sections: tuple[str, ...]) -> None:
    assert info.wanted_sections(names) == sections


def test_the_sentinel_section() -> None:
    state, _, master = scene()
    lines = info.sentinel_lines(state, running=1, queued=3, now_ms=NOW)
    assert lines == [
        "sentinel_masters:1",
        "sentinel_tilt:0",
        "sentinel_tilt_since_seconds:-1",
        "sentinel_total_tilt:0",
        "sentinel_running_scripts:1",
        "sentinel_scripts_queue_length:3",
        "sentinel_simulate_failure_flags:0",
        "master0:name=m,status=ok,address=10.0.0.1:6379,slaves=1,sentinels=2",
    ]
    master.s_down = True
    state.tilt_since_ms, state.total_tilt = NOW - 2500, 4
    state.crash_after_election = state.crash_after_promotion = True
    lines = info.sentinel_lines(state, 0, 0, NOW)
    assert lines[1:4] == ["sentinel_tilt:1", "sentinel_tilt_since_seconds:2", "sentinel_total_tilt:4"]
    assert lines[6].endswith(":3")
    assert "status=sdown" in lines[7]
    master.o_down = True
    assert "status=odown" in info.sentinel_lines(state, 0, 0, NOW)[7]


def test_info_text_has_titles_blank_lines_and_our_own_version() -> None:
    text = info.render(("server", "cpu"), {"trio_sentinel_version": "1.2", "tcp_port": 5}, ["name=tcp"], []).decode()
    server, cpu = text.split("\r\n\r\n")
    assert server.startswith("# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n")
    assert "\r\nserver_mode:sentinel\r\n" in server
    assert "\r\ntcp_port:5\r\n" in server
    assert server.endswith("availability_zone:\r\nlistener0:name=tcp\r\ntrio_sentinel_version:1.2")
    assert cpu.startswith("# CPU\r\nused_cpu_sys:0.000000\r\n")
    assert cpu.endswith("\r\n")
    assert info.render((), {}, [], []) == b""


def test_roles_are_words_of_the_wire() -> None:
    state, senses, master = scene()
    master.replicas[COPY].role = Role.MASTER
    assert replica_fields(state, senses, master)["role-reported"] == "master"
