"""Every event has its row, and each row says what stock says (config-and-events.md 3.4)."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from trio_sentinel.model import events as e
from trio_sentinel.model.settings import GlobalSettings, MasterSettings
from trio_sentinel.model.snapshot import MasterSnapshot
from trio_sentinel.model.state import Manner
from trio_sentinel.model.values import Address, Kind, Level, Role, RunId, Subject
from trio_sentinel.wire.bulletins import MAX_TEXT, TABLE, Bulletin, bulletin, bulletins_of, cut, facts_of

D, V, N, W = Level.DEBUG, Level.VERBOSE, Level.NOTICE, Level.WARNING
ONE, TWO, THREE = Address("127.0.0.1", 43001), Address("127.0.0.1", 43002), Address("127.0.0.1", 43003)
ID = RunId("96f93c93b1933a90bb544ed2cab041b5b7cca08a")
MASTER_TEXT = "master mymaster 127.0.0.1 43001"
REPLICA_TEXT = "slave 127.0.0.1:43002 127.0.0.1 43002 @ mymaster 127.0.0.1 43001"
PEER_TEXT = f"sentinel {ID} 127.0.0.1 43011 @ mymaster 127.0.0.1 43001"


def subject(kind: Kind = Kind.MASTER, name: str = "mymaster", at: Address = ONE, of: Address = ONE) -> Subject:
    return Subject(
        kind=kind,
        name=name,
        host=at.host,
        port=at.port,
        master="mymaster",
        master_host=of.host,
        master_port=of.port,
    )


MASTER = subject()
REPLICA = subject(Kind.REPLICA, str(TWO), TWO)
PEER = subject(Kind.PEER, ID, Address("127.0.0.1", 43011))


def switched(by: Subject | None) -> e.MasterSwitched:
    return e.MasterSwitched(
        subject=MASTER,
        old=ONE,
        new=THREE,
        shown_old_host="old.example",
        shown_new_host="127.0.0.1",
        by=by,
        replicas=(TWO, ONE),
        replica_subjects=(subject(Kind.REPLICA, str(TWO), TWO, THREE), subject(Kind.REPLICA, str(ONE), ONE, THREE)),
        config_epoch=1,
        at_ms=0,
    )


SWITCH_LINES = [
    (W, "+switch-master", "mymaster old.example 43001 127.0.0.1 43003"),
    (N, "+slave", "slave 127.0.0.1:43002 127.0.0.1 43002 @ mymaster 127.0.0.1 43003"),
    (N, "+slave", "slave 127.0.0.1:43001 127.0.0.1 43001 @ mymaster 127.0.0.1 43003"),
]
SNAPSHOT = MasterSnapshot(name="mymaster", address=ONE, settings=MasterSettings(quorum=2))
LONE_WARNING = "WARNING: Sentinel was not able to save the new configuration on disk!!!: "


def role(who: Subject, said: Role) -> e.RoleReported:
    return e.RoleReported(subject=who, address=ONE, role=said, at_ms=0)


def started(manner: Manner) -> e.FailoverStarted:
    return e.FailoverStarted(subject=MASTER, epoch=1, manner=manner, attempt_at_ms=0, at_ms=0)


def aborted(reason: e.Abort) -> e.FailoverAborted:
    return e.FailoverAborted(subject=MASTER, reason=reason, at_ms=0)


def sent(best_effort: bool) -> e.ReconfSent:
    return e.ReconfSent(subject=REPLICA, address=TWO, best_effort=best_effort, at_ms=0)


def changed(*words: str) -> e.SettingChanged:
    return e.SettingChanged(subject=MASTER, words=words, settings=SNAPSHOT.settings)


def down(who: Subject) -> e.WentDown:
    return e.WentDown(subject=who, address=None, run_id=None, at_ms=0)


Line = tuple[Level, str | None, str]

CASES: list[tuple[e.Event, list[Line]]] = [
    (
        e.MasterMonitored(subject=MASTER, snapshot=SNAPSHOT, at_ms=0),
        [(W, "+monitor", "master mymaster 127.0.0.1 43001 quorum 2")],
    ),
    (
        e.MasterMonitored(subject=MASTER, snapshot=SNAPSHOT, at_ms=0, twin="another"),
        [
            (W, "+monitor", "master mymaster 127.0.0.1 43001 quorum 2"),
            (
                W,
                None,
                "WARNING: another and mymaster are at the same address: other sentinels that ask hear of another only",
            ),
        ],
    ),
    (e.MasterRemoved(subject=MASTER), [(W, "-monitor", MASTER_TEXT)]),
    (e.MasterReset(subject=MASTER, at_ms=0), [(W, "+reset-master", MASTER_TEXT)]),
    (changed("Quorum", "3"), [(W, "+set", f"{MASTER_TEXT} Quorum 3")]),
    (changed("auth-pass", ""), [(W, "+set", f"{MASTER_TEXT} auth-pass ")]),
    (changed("rename-command", "CONFIG", "GUESSME"), [(W, "+set", f"{MASTER_TEXT} rename-command CONFIG GUESSME")]),
    (e.DiskFailed(reason="No space left"), [(W, None, f"{LONE_WARNING}No space left")]),
    (
        e.DiskFailed(reason="Could not create tmp config file (Permission denied)"),
        [
            (W, None, "Could not create tmp config file (Permission denied)"),
            (W, None, f"{LONE_WARNING}Permission denied"),
        ],
    ),
    (
        e.DiskFailed(reason="Failed after writing (12) bytes to tmp config file (No space left on device)"),
        [
            (W, None, "Failed after writing (12) bytes to tmp config file (No space left on device)"),
            (W, None, f"{LONE_WARNING}No space left on device"),
        ],
    ),
    (e.ReplicaFound(subject=REPLICA, address=TWO, at_ms=0), [(N, "+slave", REPLICA_TEXT)]),
    (e.PeerFound(subject=PEER, run_id=ID, address=TWO, at_ms=0), [(N, "+sentinel", PEER_TEXT)]),
    (
        e.PeerMoved(subject=MASTER, run_id=ID, address=Address("x", 43213), shown_host="127.0.0.1", at_ms=0),
        [(N, "+sentinel-address-switch", f"{MASTER_TEXT} ip 127.0.0.1 port 43213 for {ID}")],
    ),
    (
        e.PeerAddressSpread(subject=PEER, run_id=ID, address=TWO, count=2),
        [(N, "+sentinel-address-update", f"{PEER_TEXT} 2 additional matching instances")],
    ),
    (e.PeerAddressSpread(subject=PEER, run_id=ID, address=TWO, count=0), []),
    (e.PeerEvicted(subject=PEER, run_id=ID), [(N, "+sentinel-invalid-addr", PEER_TEXT)]),
    (
        e.ServerRebooted(subject=MASTER, address=ONE, run_id="a", waiting=True, at_ms=0),
        [(N, "+reboot", MASTER_TEXT)],
    ),
    (role(MASTER, Role.MASTER), [(V, "+role-change", f"{MASTER_TEXT} new reported role is master")]),
    (role(MASTER, Role.REPLICA), [(V, "-role-change", f"{MASTER_TEXT} new reported role is slave")]),
    (role(REPLICA, Role.REPLICA), [(V, "+role-change", f"{REPLICA_TEXT} new reported role is slave")]),
    (role(REPLICA, Role.MASTER), [(V, "-role-change", f"{REPLICA_TEXT} new reported role is master")]),
    (e.ReplicaConverted(subject=REPLICA, address=TWO), [(N, "+convert-to-slave", REPLICA_TEXT)]),
    (e.ReplicaRepointed(subject=REPLICA, address=TWO), [(N, "+fix-slave-config", REPLICA_TEXT)]),
    (switched(None), SWITCH_LINES),  # type: ignore[list-item]
    (switched(PEER), [(W, "+config-update-from", PEER_TEXT), *SWITCH_LINES]),
    (down(PEER), [(W, "+sdown", PEER_TEXT)]),
    (e.CameBack(subject=REPLICA, address=None, run_id=None), [(W, "-sdown", REPLICA_TEXT)]),
    (
        e.AgreedDown(subject=MASTER, agreed=3, quorum=2, stand_at_ms=0, at_ms=0),
        [(W, "+odown", f"{MASTER_TEXT} #quorum 3/2")],
    ),
    (e.NoLongerAgreed(subject=MASTER), [(W, "-odown", MASTER_TEXT)]),
    (e.TiltEntered(at_ms=0), [(W, "+tilt", "#tilt mode entered")]),
    (e.TiltExited(), [(W, "-tilt", "#tilt mode exited")]),
    (e.EpochRaised(epoch=7, subject=None), [(W, "+new-epoch", "7")]),
    (
        e.VoteCast(subject=MASTER, candidate=ID, epoch=7, attempt_at_ms=None),
        [(W, "+vote-for-leader", f"{ID} 7")],
    ),
    (started(Manner.AUTOMATIC), [(W, "+try-failover", MASTER_TEXT)]),
    (
        started(Manner.FORCED),
        [(N, None, "Executing user requested FAILOVER of 'mymaster'"), (W, "+try-failover", MASTER_TEXT)],
    ),
    (
        e.LeaderElected(subject=MASTER, votes=2, voters=3, at_ms=0),
        [(W, "+elected-leader", MASTER_TEXT)],
    ),
    (e.SelectionBegun(subject=MASTER), [(W, "+failover-state-select-slave", MASTER_TEXT)]),
    (aborted(e.Abort.NOT_ELECTED), [(W, "-failover-abort-not-elected", MASTER_TEXT)]),
    (aborted(e.Abort.NO_GOOD_REPLICA), [(W, "-failover-abort-no-good-slave", MASTER_TEXT)]),
    (aborted(e.Abort.REPLICA_TIMEOUT), [(W, "-failover-abort-slave-timeout", MASTER_TEXT)]),
    (aborted(e.Abort.MASTER_TIMEOUT), [(W, "-failover-abort-master-timeout", MASTER_TEXT)]),
    (
        e.ReplicaSelected(subject=REPLICA, address=TWO, losers=(), at_ms=0),
        [(W, "+selected-slave", REPLICA_TEXT), (N, "+failover-state-send-slaveof-noone", REPLICA_TEXT)],
    ),
    (
        e.PromotionSent(subject=REPLICA, address=TWO, handover_ms=None, at_ms=0),
        [(N, "+failover-state-wait-promotion", REPLICA_TEXT)],
    ),
    (e.PromotionSeen(subject=REPLICA, address=TWO, epoch=1, at_ms=0), []),
    (
        e.PromotionPublished(subject=MASTER, replica=REPLICA, at_ms=0),
        [(W, "+promoted-slave", REPLICA_TEXT)],
    ),
    (e.ReconfigurationBegun(subject=MASTER), [(W, "+failover-state-reconf-slaves", MASTER_TEXT)]),
    (sent(False), [(N, "+slave-reconf-sent", REPLICA_TEXT)]),
    (sent(True), [(N, "+slave-reconf-sent-be", REPLICA_TEXT)]),
    (e.ReconfInProgress(subject=REPLICA, address=TWO), [(N, "+slave-reconf-inprog", REPLICA_TEXT)]),
    (e.ReconfDone(subject=REPLICA, address=TWO), [(N, "+slave-reconf-done", REPLICA_TEXT)]),
    (
        e.ReconfTimedOut(subject=REPLICA, address=TWO),
        [(N, "-slave-reconf-sent-timeout", REPLICA_TEXT), (N, "+slave-reconf-sent", REPLICA_TEXT)],
    ),
    (e.FailoverEnded(subject=MASTER, timed_out=False, at_ms=0), [(W, "+failover-end", MASTER_TEXT)]),
    (
        e.FailoverEnded(subject=MASTER, timed_out=True, at_ms=0),
        [(W, "+failover-end-for-timeout", MASTER_TEXT), (W, "+failover-end", MASTER_TEXT)],
    ),
]


@pytest.mark.parametrize(("event", "lines"), CASES, ids=lambda value: type(value).__name__)
def test_an_event_is_told_in_the_words_of_stock(event: e.Event, lines: list[Line]) -> None:
    assert [(b.level, b.channel, b.payload) for b in bulletins_of(event)] == lines


def test_every_event_has_a_row() -> None:
    assert set(TABLE) == set(get_args(e.Event))


STOCK_CHANNELS = """
+monitor -monitor +set +reset-master +slave +sentinel +sentinel-address-switch +sentinel-address-update
+sentinel-invalid-addr +sdown -sdown +odown -odown +reboot +role-change -role-change +convert-to-slave
+fix-slave-config +tilt -tilt +new-epoch +try-failover +vote-for-leader +elected-leader
-failover-abort-not-elected +failover-state-select-slave -failover-abort-no-good-slave +selected-slave
+failover-state-send-slaveof-noone +failover-state-wait-promotion -failover-abort-slave-timeout
-failover-abort-master-timeout +promoted-slave +failover-state-reconf-slaves +slave-reconf-sent
+slave-reconf-inprog +slave-reconf-done -slave-reconf-sent-timeout +failover-end-for-timeout
+slave-reconf-sent-be +failover-end +switch-master +config-update-from
"""


def test_the_cases_cover_every_event_name_that_is_no_script_or_link_line() -> None:
    assert {channel for _, lines in CASES for _, channel, _ in lines if channel is not None} == set(
        STOCK_CHANNELS.split()
    )


def test_scripts_hear_of_every_warning_with_an_instance_and_of_nothing_else() -> None:
    for event, _ in CASES:
        for told in bulletins_of(event):
            unscripted = told.channel in (None, "+tilt", "-tilt")
            assert told.scripted == (told.level is W and not unscripted), told


def test_a_text_is_cut_at_1023_bytes_with_its_instance_text() -> None:
    long = changed("auth-user", "x" * 2000)
    (told,) = bulletins_of(long)
    assert told.payload == (f"{MASTER_TEXT} auth-user " + "x" * 2000)[:MAX_TEXT]


def test_a_cut_counts_bytes_and_keeps_those_that_are_no_text() -> None:
    raw = b"\xff" * 10 + "é".encode() * 1000
    text = raw.decode("utf-8", "surrogateescape")
    assert cut(text).encode("utf-8", "surrogateescape") == raw[:MAX_TEXT]


def test_debug_is_only_logged() -> None:
    assert not bulletin(D, "+script-child", "1").published
    assert bulletin(V, "+role-change", "x").published
    assert not Bulletin(W, None, "x", False).published
    assert Bulletin(W, None, "x", False).line == "x"
    assert bulletin(N, "+slave", "x").line == "+slave x"


def test_facts_hold_every_plain_field_and_no_password() -> None:
    assert facts_of(e.ReplicaSelected(subject=REPLICA, address=TWO, losers=(), at_ms=7)) == {
        "fact": "ReplicaSelected",
        "master": "mymaster",
        "instance": "slave",
        "name": "127.0.0.1:43002",
        "host": "127.0.0.1",
        "port": 43002,
        "address": "127.0.0.1:43002",
        "losers": [],
        "at_ms": 7,
    }
    secret = MasterSettings(quorum=2, auth_pass="s3cret")
    for event in (
        e.MasterMonitored(subject=MASTER, snapshot=MasterSnapshot(name="m", address=ONE, settings=secret), at_ms=0),
        e.SettingChanged(subject=MASTER, words=("auth-pass", "******"), settings=secret),
        e.GlobalsChanged(settings=GlobalSettings(sentinel_pass="s3cret")),
    ):
        assert "s3cret" not in json.dumps(facts_of(event))
    for told, _ in CASES:
        json.dumps(facts_of(told))
