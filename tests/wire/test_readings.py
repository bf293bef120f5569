"""What servers say is read as stock reads it, quickly, and whatever they say, nothing is raised."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_sentinel.model.values import MAX_EPOCH, Address, Hello, InfoReading, Role, RunId
from trio_sentinel.wire import readings
from trio_sentinel.wire.replies import ErrorReply, Reply

RUN = "8371b4fb1155b71f4a04d3e1bc3e18c4a990aeeb"

MASTER = f"""# Server
redis_version:7.0.15
run_id:{RUN}
tcp_port:6379

# Clients
connected_clients:1

# Replication
role:master
connected_slaves:3
slave0:ip=10.0.0.2,port=6379,state=online,offset=14,lag=1
slave1:ip=fe80::1%eth0,port=6380,state=wait_bgsave,offset=0,lag=0
slave2:ip=10.0.0.2,port=6379,state=online,offset=14,lag=1
master_failover_state:no-failover
master_replid:{RUN}
master_repl_offset:14

# CPU
used_cpu_sys:0.1
role:slave
""".replace("\n", "\r\n").encode()

REPLICA = f"""# Server\nrun_id:{RUN}\n\n# Replication
role:slave
master_host:10.0.0.1
master_port:6379
master_link_status:down
master_last_io_seconds_ago:-1
master_sync_in_progress:0
slave_read_repl_offset:1
slave_repl_offset:987654321012
master_link_down_since_seconds:42
slave_priority:90
slave_read_only:1
replica_announced:0
connected_slaves:0
master_failover_state:waiting-for-sync
""".replace("\n", "\r\n").encode()


def test_a_master_is_read() -> None:
    assert readings.info(MASTER) == InfoReading(
        run_id=RUN,
        role=Role.MASTER,
        replicas=(Address("10.0.0.2", 6379), Address("fe80::1%eth0", 6380)),
        written_offset=14,
        failover_state="no-failover",
    )


def test_a_replica_is_read() -> None:
    assert readings.info(REPLICA) == InfoReading(
        run_id=RUN,
        role=Role.REPLICA,
        master_host="10.0.0.1",
        master_port=6379,
        master_link_up=False,
        master_link_down_ms=42_000,
        priority=90,
        repl_offset=987654321012,
        announced=False,
        failover_state="waiting-for-sync",
    )


def test_a_text_without_sections_is_read_whole() -> None:
    """Servers before 2.4 had none; nor has what an odd proxy sends."""
    bare = b"\r\n".join(line for line in REPLICA.split(b"\r\n") if not line.startswith(b"#"))
    assert readings.info(bare) == readings.info(REPLICA)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"slave0:10.0.0.3,6390,online", (Address("10.0.0.3", 6390),)),
        (b"slave12:ip=replica.example,port=1,x", (Address("replica.example", 1),)),
        (b"slave0:ip=10.0.0.3,port=65536,state=online", ()),
        (b"slave0:ip=10.0.0.3", ()),
        (b"slave0:ip=,port=6379", ()),
        (b"slave0:ip=10.0.0.3 bad,port=6379", ()),
        (b"slave0:ip=10.0.0.3\nsentinel monitor x,port=6379", ()),
        (b"slave0:ip=\xff\xfe,port=6379", ()),
        (b"slave0:10.0.0.3", ()),
        (b"slave_priority:100", ()),
        (b"slavex:ip=10.0.0.3,port=6379", ()),
    ],
)
def test_replica_lines(line: bytes, expected: tuple[Address, ...]) -> None:
    assert readings.info(b"# Replication\r\nrole:master\r\n" + line + b"\r\n").replicas == expected


def test_what_a_master_says_of_a_master_of_its_own_is_not_read() -> None:
    text = b"# Replication\r\nmaster_host:a\r\nrole:master\r\nmaster_port:1\r\nslave_priority:5\r\n"
    assert readings.info(text) == InfoReading(role=Role.MASTER)


@pytest.mark.parametrize("value", [b"-1", b"-1\r\nx"])
def test_a_replica_that_never_had_its_master(value: bytes) -> None:
    text = b"# Replication\r\nrole:slave\r\nmaster_link_down_since_seconds:" + value + b"\r\n"
    assert readings.info(text).master_link_down_ms == -1000


@pytest.mark.parametrize(
    "text", [b"", b"+OK", b"role", b"role:\xff", b"# Replication\r\n", b"role:sentinel\r\n", b"\r\n#"]
)
def test_no_role_is_no_role(text: bytes) -> None:
    assert readings.info(text) == InfoReading()


def test_numbers_that_are_none_are_absent() -> None:
    text = b"# Replication\r\nrole:slave\r\nmaster_port:x\r\nslave_priority:\xb2\r\nslave_repl_offset:" + b"9" * 5000
    assert readings.info(text) == InfoReading(role=Role.REPLICA)


@pytest.mark.parametrize("run_id", ["short", "x" * 39, RUN[:39] + " ", RUN[:39] + "\xe9"])
def test_a_run_id_must_be_forty_harmless_characters(run_id: str) -> None:
    assert readings.info(f"# Server\r\nrun_id:{run_id}\r\n# Replication\r\n".encode()).run_id is None


_words = st.sampled_from(
    [
        b"# Replication\r\n",
        b"\r\n",
        b"role:",
        b"slave",
        b"master",
        b"slave0:ip=",
        b",port=",
        b"run_id:",
        b":",
        b"1",
        b"\r",
    ]
)


@given(st.lists(st.one_of(_words, st.binary(max_size=8)), max_size=40).map(b"".join))
@example(b"# Replication")
@example(b"run_id:")
def test_no_info_raises(text: bytes) -> None:
    reading = readings.info(text)
    assert all(0 <= replica.port <= 65535 and replica.host.isascii() for replica in reading.replicas)


@given(st.integers(0, len(REPLICA)), st.binary(max_size=4))
def test_no_cut_or_scratch_raises(at: int, scratch: bytes) -> None:
    readings.info(REPLICA[:at])
    readings.info(REPLICA[:at] + scratch + REPLICA[at:])


# ---------------------------------------------------------------- hellos

GOOD = f"10.0.0.9,26379,{RUN},7,mymaster,10.0.0.1,6379,5"


def test_a_hello_is_read() -> None:
    assert readings.hello(GOOD.encode()) == Hello(
        host="10.0.0.9",
        port=26379,
        run_id=RunId(RUN),
        current_epoch=7,
        master="mymaster",
        master_host="10.0.0.1",
        master_port=6379,
        config_epoch=5,
    )


@pytest.mark.parametrize(
    ("word", "value", "good"),
    [
        (0, "", False),
        (0, "sentinel-1.example", True),
        (0, "::1", True),
        (0, "10.0.0.9\n", False),
        (1, "65536", False),
        (1, "0", True),
        (1, "-1", False),
        (1, "+1", False),
        (2, "", False),
        (2, "a b", False),
        (2, 'x"', False),
        (2, "x" * 65, False),
        (3, str(MAX_EPOCH), True),
        (3, str(MAX_EPOCH + 1), False),
        (3, "-1", False),
        (3, "1_0", False),
        (3, "", False),
        (4, "", False),
        (4, "a,b", False),
        (4, "caf\xe9", True),
        (5, "", False),
        (5, "bad host", False),
        (6, "70000", False),
        (7, "18446744073709551615", False),
        (7, "0x1", False),
        (7, "5,9", False),
        (7, "\u0665", False),
    ],
)
def test_only_usable_hellos_are_heard(word: int, value: str, good: bool) -> None:
    words = GOOD.split(",")
    words[word] = value
    assert (readings.hello(",".join(words).encode()) is not None) is good


def test_a_long_hello_is_neither_heard_nor_kept() -> None:
    long_name = GOOD.replace("mymaster", "m" * 100_000)
    assert long_name != GOOD
    assert readings.hello(long_name.encode()) is None


@given(st.one_of(st.binary(max_size=80), st.lists(st.binary(max_size=6), min_size=8, max_size=8).map(b",".join)))
def test_no_hello_raises(payload: bytes) -> None:
    heard = readings.hello(payload)
    assert heard is None or str(heard).encode("utf-8", "surrogateescape").count(b",") == 7


# ---------------------------------------------------------------- opinions and pings


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ([1, b"*", 0], (True, None, 0)),
        ([0, b"*", 0], (False, None, 0)),
        ([1, RUN.encode(), 9], (True, RunId(RUN), 9)),
        ([1, RUN.encode(), -1], None),
        ([1, RUN.encode(), MAX_EPOCH + 1], None),
        ([1, b"", 3], None),
        ([1, b"a b", 3], None),
        ([b"1", b"*", 0], None),
        ([1, None, 0], None),
        ([1, b"*"], None),
        ([1, b"*", 0, 0], None),
        (ErrorReply(b"ERR no"), None),
        (None, None),
        (b"OK", None),
    ],
)
def test_opinions(reply: Reply, expected: object) -> None:
    assert readings.opinion(reply) == expected


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (b"PONG", "PONG"),
        (
            ErrorReply(b"LOADING Redis is loading the dataset in memory"),
            "LOADING Redis is loading the dataset in memory",
        ),
        (ErrorReply(b"BUSY " + b"x" * 500), "BUSY " + "x" * 59),
        (ErrorReply(b"\xff"), "\ufffd"),
        (1, ""),
        (None, ""),
        ([b"PONG"], ""),
    ],
)
def test_ping_texts(reply: Reply, text: str) -> None:
    assert readings.ping_text(reply) == text
