"""Bad files, bad words and bad neighbours: a clear error or none at all, never a traceback or a lost config line.

That no sentinel writes a traceback or ends by itself is checked after every test by the fixture ``lab``.
"""

from __future__ import annotations

import contextlib
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
import redis

from .harness import LOOPBACK, MASTER, DataServer, Kind, Lab, Sentinel, Watch, check
from .harness_peers import Babbler, ScriptedPeer, publish_on_server, tell_hello
from .harness_processes import EXIT_SECONDS

pytestmark = pytest.mark.real

TOO_LARGE_EPOCHS = ["9223372036854775808", "18446744073709551615", "99999999999999999999999999", "-1"]


# -- what the process is given


def refused_start(lab: Lab, sentinel: Sentinel) -> str:
    """Start a sentinel that must refuse to run; everything it said."""
    sentinel.spawn()
    assert sentinel.wait_exit() == 1
    said = sentinel.output() + sentinel.log()
    assert "Traceback" not in said
    return said


def prepared(lab: Lab, *lines: str) -> Sentinel:
    """A sentinel of ours that watches a port where nobody is, and is not started yet."""
    return lab.sentinel(Kind.OURS, Watch(lab.ports.claim()), lines=lines, start=False)


def test_missing_file(lab: Lab) -> None:
    sentinel = prepared(lab)
    path = sentinel.conf_path
    path.unlink()
    said = refused_start(lab, sentinel)
    assert f"Fatal error, can't open config file '{path}': No such file or directory" in said
    assert not path.exists()


@pytest.mark.ours_only
def test_directory_in_place_of_the_file(lab: Lab) -> None:
    sentinel = prepared(lab)
    sentinel.conf_path.unlink()
    sentinel.conf_path.mkdir()
    assert str(sentinel.conf_path) in refused_start(lab, sentinel)


def test_no_file_at_all(tmp_path: Path, lab: Lab) -> None:
    sentinel = prepared(lab)
    command = Kind.OURS.command(sentinel.conf_path)
    command.remove(str(sentinel.conf_path))
    command += ["--port", str(sentinel.port)]
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=EXIT_SECONDS,
        cwd=tmp_path,
        check=False,
        env={"PATH": "/usr/bin:/bin", **sentinel.environment},
    )
    assert result.returncode == 1
    assert "Sentinel needs config file on disk to save state. Exiting..." in result.stdout


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("colour blue", "Bad directive or wrong number of arguments"),
        ("sentinel colour blue", "Unrecognized sentinel configuration statement."),
        ("sentinel down-after-milliseconds nobody 1000", "No such master with specified name."),
        (f"sentinel down-after-milliseconds {MASTER} 0", "negative or zero time parameter."),
        (f"sentinel monitor other {LOOPBACK} 70000 1", "Invalid port number."),
        (f"sentinel monitor other {LOOPBACK} 7000 0", "Quorum must be 1 or greater."),
        ("sentinel monitor other no.such.host.invalid 7000 1", "Can't resolve instance hostname."),
        ("sentinel myid short", "Malformed Sentinel id in myid option."),
        (f'sentinel auth-pass {MASTER} "open', "Unbalanced quotes in configuration line"),
    ],
)
def test_bad_line_is_named_with_its_number(lab: Lab, line: str, problem: str) -> None:
    sentinel = prepared(lab, line)
    text = sentinel.conf()
    number = text.splitlines().index(line) + 1
    said = refused_start(lab, sentinel)
    assert "*** FATAL CONFIG FILE ERROR" in said
    shown = line.replace('"open', "******")
    assert f"Reading the configuration file, at line {number}\n>>> '{shown}'\n{problem}\n" in said
    assert sentinel.conf() == text


def test_port_in_use(lab: Lab) -> None:
    server = lab.server()
    sentinel = prepared(lab, f"port {server.port}")
    said = refused_start(lab, sentinel)
    socket = f"{LOOPBACK}:{server.port}"
    assert f"Could not create server TCP listening socket {socket}: bind: Address already in use" in said
    assert f"Failed listening on port {server.port} (" in said


def test_unresolvable_host_is_no_reason_to_end(lab: Lab) -> None:
    """With resolve-hostnames it starts, finds that master down, and keeps its name in the file."""
    server = lab.server()
    ghost = Watch(7000, name="ghost", host="no.such.host.invalid", quorum=1)
    lines = ["sentinel resolve-hostnames yes", "sentinel announce-hostnames yes"]
    sentinel = lab.sentinel(Kind.OURS, ghost, Watch(server.port, quorum=1), lines=lines)
    lab.wait_until(lambda: "s_down" in sentinel.master("ghost")["flags"], "the unknown host is down")
    lab.wait_until(lambda: sentinel.master()["flags"] == "master", "the other master is watched as ever")
    assert sentinel.ask("SENTINEL", "FLUSHCONFIG") == "OK"
    monitored = sentinel.conf_values("sentinel", "monitor")
    assert sorted(monitored) == ["ghost no.such.host.invalid 7000 1", f"{MASTER} {LOOPBACK} {server.port} 1"]
    assert sentinel.terminate() == 0
    lab.start(sentinel)


# -- what neighbours say


@pytest.fixture
def master(lab: Lab) -> DataServer:
    return lab.server()


@pytest.fixture
def sentinel(lab: Lab, master: DataServer) -> Sentinel:
    """One sentinel of ours, with its vote of epoch 5 given and its file written."""
    one = lab.sentinel(Kind.OURS, Watch(master.port))
    assert one.opinion(master.port, 5, "a" * 40)[1:] == ("a" * 40, 5)
    lab.wait_until(lambda: one.master()["flags"] == "master" and one.master()["runid"], "the master is known")
    return one


def unharmed(lab: Lab, sentinel: Sentinel, master: DataServer, conf_before: str) -> None:
    """The same vote, epochs, peers and file as before; and it still finds out what happens."""
    assert sentinel.opinion(master.port, 5, "b" * 40)[1:] == ("a" * 40, 5)
    assert sentinel.peers() == {}
    assert sentinel.address() == master.address
    assert sentinel.master()["config-epoch"] == "0"
    assert sentinel.conf() == conf_before
    lab.forget_events()
    master.kill()
    lab.wait_event(sentinel, "+sdown")
    lab.start(master)
    lab.wait_event(sentinel, "-sdown")


MALFORMED_HELLOS: list[str | bytes] = [
    "",
    ",",
    ",,,,,,,",
    "hello",
    "127.0.0.1,26379",
    f"127.0.0.1,26379,{'c' * 40},1,{MASTER},127.0.0.1,6379",
    f"127.0.0.1,26379,{'c' * 40},1,{MASTER},127.0.0.1,6379,1,1",
    f"127.0.0.1,70000,{'c' * 40},0,{MASTER},127.0.0.1,6379,0",
    f"127.0.0.1,-5,{'c' * 40},0,{MASTER},127.0.0.1,6379,0",
    f"127.0.0.1,26379,{'c' * 40},9,nobody,127.0.0.1,6379,9",
    f"not-an-ip,26379,{'c' * 40},0,{MASTER},127.0.0.1,6379,0",
    b"\xff\xfe\x00,\x80,\r\n,0,0,0,0,0",
    b"\x00" * 1000,
    "x" * 100_000,
    ("9" * 5000 + ",") * 7 + "9",
]


def test_malformed_hellos_change_nothing(lab: Lab, sentinel: Sentinel, master: DataServer) -> None:
    conf_before = sentinel.conf()
    for text in MALFORMED_HELLOS:
        publish_on_server(master.port, text)
        assert tell_hello(sentinel, text) == 1
    assert sentinel.ask_error("PUBLISH", "other", "x") == "Only HELLO messages are accepted by Sentinel instances."
    unharmed(lab, sentinel, master, conf_before)


@pytest.mark.ours_only
def test_epochs_beyond_63_bits_are_not_believed(lab: Lab, sentinel: Sentinel, master: DataServer) -> None:
    """Stock takes -1 for the largest number there is, and is poisoned for good."""
    conf_before = sentinel.conf()
    with closing(ScriptedPeer(lab.ports, 0xC0)) as liar:
        for epoch in TOO_LARGE_EPOCHS:
            for text in (liar.hello(epoch, master.port), liar.hello(6, 1, epoch), liar.hello(epoch, 1, epoch)):
                publish_on_server(master.port, text)
                tell_hello(sentinel, text)
            # A refusal in whatever words: an error, or an opinion without that vote.
            with contextlib.suppress(redis.ResponseError):
                answer = sentinel.ask("SENTINEL", "IS-MASTER-DOWN-BY-ADDR", LOOPBACK, master.port, epoch, "c" * 40)
                assert answer[1] != "c" * 40
    assert sentinel.events.named("+new-epoch") in ([], ["5"])
    unharmed(lab, sentinel, master, conf_before)


@pytest.mark.ours_only
def test_new_address_that_cannot_be_used_is_not_believed(lab: Lab, sentinel: Sentinel, master: DataServer) -> None:
    """Stock announces the switch, raises its config-epoch, and then ignores the real address of that epoch."""
    new = lab.server()
    with closing(ScriptedPeer(lab.ports, 0xC1)) as peer:
        tell_hello(sentinel, peer.hello(5, master.port))
        lab.wait_until(lambda: peer.port in sentinel.peers(), "the peer is known")
        for port, host in ((70000, LOOPBACK), (-1, LOOPBACK), (0, LOOPBACK), (new.port, "no.such.host.invalid")):
            tell_hello(sentinel, peer.hello(6, port, 6, host=host))
        assert sentinel.events.named("+switch-master") == []
        assert sentinel.address() == master.address
        tell_hello(sentinel, peer.hello(6, new.port, 6))
        lab.wait_event(sentinel, "+switch-master", f"{MASTER} {LOOPBACK} {master.port} {LOOPBACK} {new.port}")
        assert sentinel.address() == new.address


@pytest.mark.ours_only
def test_own_identity_from_somebody_else_is_no_peer(lab: Lab, sentinel: Sentinel, master: DataServer) -> None:
    """Stock stores itself as another sentinel, and so counts one voter too many."""
    conf_before = sentinel.conf()
    with closing(ScriptedPeer(lab.ports, 0xC2)) as liar:
        liar.id = sentinel.id
        tell_hello(sentinel, liar.hello(0, master.port))
        publish_on_server(master.port, liar.hello(0, master.port))
    unharmed(lab, sentinel, master, conf_before)


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", id="http"),
        pytest.param(b"220 mail.example ESMTP\r\n", id="smtp"),
        pytest.param(bytes(range(256)), id="every-byte"),
        pytest.param(b"$5\r\nhello\r\n", id="bulk-that-is-no-info"),
        pytest.param(
            b"$64\r\nrole:emperor\r\nslave0:ip=,port=x\r\nmaster_port:-\r\nrun_id:12\r\n\xff\xff\xff\xff\xff\r\n",
            id="info-that-is-none",
        ),
        pytest.param(b"*2\r\n$3\r\nfoo\r\n:7\r\n", id="array"),
        pytest.param(b"*-5\r\n$-9\r\n:notanumber\r\n", id="bad-resp"),
        pytest.param(b"$999999999999\r\n", id="endless-bulk"),
        pytest.param(b"-ERR go away\r\n", id="error"),
        pytest.param(b"*1\r\n" * 5000, id="deep-nesting"),
    ],
)
def test_neighbour_that_is_no_redis(lab: Lab, sentinel: Sentinel, master: DataServer, garbage: bytes) -> None:
    """It is down, since it never answers PING properly; nobody else suffers."""
    with closing(Babbler(lab.ports, garbage)) as babbler:
        assert sentinel.ask("SENTINEL", "MONITOR", "babbler", LOOPBACK, babbler.port, 1) == "OK"
        assert sentinel.ask("SENTINEL", "SET", "babbler", "down-after-milliseconds", "1000") == "OK"
        lab.wait_until(lambda: babbler.heard > 2, "it was spoken to")
        lab.wait_until(lambda: "s_down" in sentinel.master("babbler")["flags"], "it is found down")
        lab.wait_until(lambda: babbler.heard > 6, "it is asked again and again")
        known = sentinel.master("babbler")
        assert (known["num-slaves"], known["num-other-sentinels"]) == ("0", "0")
        assert sentinel.master()["flags"] == "master"
    assert sentinel.ask("SENTINEL", "REMOVE", "babbler") == "OK"
    assert sentinel.opinion(master.port, 5, "b" * 40)[1:] == ("a" * 40, 5)


def test_peer_that_is_no_sentinel(lab: Lab, sentinel: Sentinel, master: DataServer) -> None:
    """A hello that names a port where something else listens adds a peer that is down and never votes."""
    with closing(Babbler(lab.ports, b"*3\r\n:x\r\n$-1\r\n+no\r\n")) as babbler:
        text = f"{LOOPBACK},{babbler.port},{'c' * 40},5,{MASTER},{LOOPBACK},{master.port},0"
        tell_hello(sentinel, text)

        def peer_down() -> bool:
            peers = sentinel.peers()
            check(babbler.port in peers, peers)
            return "s_down" in peers[babbler.port]["flags"]

        lab.wait_until(peer_down, "the peer is found down")
        assert sentinel.ask_error("SENTINEL", "CKQUORUM", MASTER).startswith("NOQUORUM 1 usable Sentinels. ")
        lab.forget_events()
        master.kill()
        lab.wait_event(sentinel, "+sdown")
        lab.wait_until(lambda: int(sentinel.master().get("s-down-time", 0)) > 2000, "nobody agrees")
        assert "+odown" not in sentinel.events.channels()
    assert sentinel.conf_values("sentinel", "known-sentinel") == [f"{MASTER} {LOOPBACK} {babbler.port} {'c' * 40}"]
