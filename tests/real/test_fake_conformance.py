"""The simulator's servers and real ones read alike: the same script is played on both, and what a sentinel would read
is compared. Where versions differ the fake follows Redis 7.0; an error counts by its code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trio_sentinel.model.values import Address, Role

from .harness_rigs import FakeRig, Rig, real_rig, shape
from .harness_servers import Flavour

pytestmark = pytest.mark.real

HELLO = "__sentinel__:hello"
KILLS = (("CLIENT", "KILL", "TYPE", "normal"), ("CLIENT", "KILL", "TYPE", "pubsub"))
Story = list[Any]


def small_talk(rig: Rig) -> Story:
    """What needs no failure: greetings, transactions, hellos, refusals, roles."""
    line, other = rig.line("A"), rig.line("A")
    told: Story = [
        shape(line.ask(*words))
        for words in (
            ("PING",),
            ("CLIENT", "SETNAME", "sentinel-12345678-cmd"),
            ("AUTH", "nonsense"),
            ("NONSENSE", "word"),
            ("EXEC",),
            ("DISCARD",),
            ("SCRIPT", "KILL"),
            ("FAILOVER", "ABORT"),
            ("SLAVEOF", "NO", "ONE"),
            ("MULTI",),
            ("MULTI",),
            ("NONSENSE",),
            ("EXEC",),
            ("MULTI",),
            ("PING",),
            ("DISCARD",),
            ("MULTI",),
            ("CLIENT", "SETNAME", "x"),
            ("PING",),
            ("EXEC",),
        )
    ]
    told.append(shape(other.ask("SUBSCRIBE", HELLO)))
    told += [shape(line.ask("PUBLISH", HELLO, "1.2.3.4,26379,x")), shape(other.hear())]
    told.append(shape(line.ask("PUBLISH", "nobody listens", "x")))
    told += [rig.tell(rig.info(name)) for name in ("A", "B")]
    rig.wait(lambda: len(shape(line.ask("ROLE"))[2]) == 2)
    role, _, replicas = shape(line.ask("ROLE"))
    told += [role, sorted(rig.called(Address(host, int(port))) for host, port, _ in replicas)]
    role, host, port, state, _ = shape(rig.line("B").ask("ROLE"))
    told += [role, state, (host, str(port)) == rig.target("A")]
    replica = rig.line("B")
    told.append(shape(replica.ask("FAILOVER", "TO", *rig.target("C"), "TIMEOUT", "100")))
    told.append(shape(line.ask("FAILOVER", "TO", "10.9.9.9", "1", "TIMEOUT", "100")))
    told.append(shape(replica.ask("SLAVEOF", *rig.target("A"))))
    told.append(shape(replica.ask("SET", "key", "value")))
    rig.set_priority("B", 7)
    told.append(rig.info("B").priority)
    return told


def promotion(rig: Rig) -> Story:
    """The promote transaction, and the old master's way under the new one."""
    line, other, listener = rig.line("B"), rig.line("B"), rig.line("B")
    listener.ask("SUBSCRIBE", HELLO)
    other.ask("PING")
    for words in (("MULTI",), ("SLAVEOF", "NO", "ONE"), ("CONFIG", "REWRITE"), *KILLS, ("EXEC",), ("INFO",)):
        line.say(*words)
    told: Story = [shape(line.hear()) for _ in range(5)]
    done = shape(line.hear())
    told += [done[:2], [type(item) for item in done[2:]], done[3]]
    told.append(rig.tell(rig.read(line.hear())))
    told += [other.closed, listener.closed, line.closed]
    for name in ("A", "C"):
        mover = rig.line(name)
        for words in (("MULTI",), ("SLAVEOF", *rig.target("B")), ("CONFIG", "REWRITE"), *KILLS, ("EXEC",), ("INFO",)):
            mover.say(*words)
        told += [shape(mover.hear()) for _ in range(5)]
        told.append(shape(mover.hear())[:2])
        told.append(rig.read(mover.hear()).role)
        told.append(rig.tell(rig.linked(name), replicas=False))
    rig.wait(lambda: len(rig.info("B").replicas) == 2)
    told.append(rig.tell(rig.info("B")))
    rig.wait(lambda: len({rig.info(name).repl_offset for name in ("A", "C")}) == 1)
    rig.kill("A")
    rig.wait(lambda: len(rig.info("B").replicas) == 1)
    rig.start("A")
    rig.wait(lambda: rig.info("A").master_link_up)
    told.append(rig.tell(rig.info("A")))  # CONFIG REWRITE kept its role
    return told


def lost_master(rig: Rig) -> Story:
    """What replicas say of a master that died, stopped, or was never there."""
    before = rig.info("A").run_id
    rig.kill("A")
    rig.wait(lambda: rig.info("B").master_link_up is False)
    rig.wait(lambda: rig.info("B").master_link_down_ms > 0)
    told: Story = [rig.tell(rig.info("B"))]
    rig.kill("C")
    rig.start("C")
    told.append(rig.tell(rig.info("C")))
    rig.start("A")
    rig.wait(lambda: all(rig.info(name).master_link_up for name in ("B", "C")))
    told += [rig.tell(rig.info("C")), rig.info("A").run_id != before]
    rig.line("C").ask("SLAVEOF", *rig.target("B"))
    rig.wait(lambda: rig.info("C").master_link_up)
    told += [rig.tell(rig.info("C")), rig.tell(rig.info("B"))]
    rig.kill("A")
    line = rig.line("C")
    told += [shape(line.ask("SLAVEOF", *rig.target("A"))), rig.tell(rig.info("C"))]
    return told


def pause(rig: Rig) -> Story:
    """CLIENT PAUSE WRITE stops PUBLISH and what is behind it, and nobody else."""
    line, other, boss = rig.line("A"), rig.line("A"), rig.line("A")
    told: Story = [shape(boss.ask("CLIENT", "PAUSE", "60000", "WRITE"))]
    line.say("PUBLISH", HELLO, "x")
    line.say("PING")
    told += [line.silent(), shape(other.ask("PING")), rig.info("A").role]
    told.append(shape(other.ask("CLIENT", "SETNAME", "x")))
    other.say("MULTI")
    other.say("PUBLISH", HELLO, "y")
    told += [shape(other.hear()), other.silent()]  # it is not even queued
    told.append(shape(boss.ask("CLIENT", "UNPAUSE")))
    told += [shape(line.hear()), shape(line.hear()), shape(other.hear()), shape(other.ask("EXEC"))]
    return told


def handover(rig: Rig) -> Story:
    """FAILOVER as a coordinated failover asks for it, and what may not be done meanwhile."""
    line = rig.line("A")
    # A link may be up before the master has heard so; until then it refuses to hand over, and obeys the SLAVEOF below.
    rig.wait(lambda: all("state=online" in rig.field("A", key) for key in ("slave0", "slave1")))
    rig.stop("B")
    line.ask("SET", "key", "value")  # B lacks it, so A waits; else it may have asked B to take over before the ABORT
    for words in (
        ("MULTI",),
        ("CLIENT", "PAUSE", "60000", "WRITE"),
        ("FAILOVER", "TO", *rig.target("B"), "TIMEOUT", "60000"),
        ("EXEC",),
    ):
        line.say(*words)
    told: Story = [shape(line.hear()) for _ in range(4)]
    told.append(rig.info("A").failover_state != "no-failover")  # its role depends on what B had acknowledged
    told += [shape(line.ask("SLAVEOF", *rig.target("C"))), shape(line.ask("FAILOVER"))]
    told += [shape(line.ask("FAILOVER", "ABORT")), rig.info("A").failover_state, rig.info("A").role]
    rig.cont("B")
    if not rig.old:
        line.say("PUBLISH", HELLO, "x")
        told.append(line.silent())  # the client's own pause outlives the handover
    told.append(shape(rig.line("A").ask("CLIENT", "UNPAUSE")))
    if not rig.old:
        told.append(shape(line.hear()))
    rig.wait(lambda: rig.info("B").master_link_up)
    line = rig.line("A")
    order = ("FAILOVER", "TO", *rig.target("B"), "TIMEOUT", "10000")
    rig.wait(lambda: shape(line.ask(*order)) == "OK")  # not before B is online again
    rig.wait(lambda: rig.info("B").role is Role.MASTER)
    rig.wait(lambda: rig.info("A").master_link_up)
    told += [rig.tell(rig.info("A"), replicas=False), line.closed, rig.info("B").failover_state]
    return told


def locked(rig: Rig) -> Story:
    """A password, missing, wrong and right."""
    rig.protect("A", "secret")
    line = rig.line("A")
    return [
        shape(line.ask(*words))
        for words in (
            ("PING",),
            ("CLIENT", "SETNAME", "x"),
            ("SUBSCRIBE", HELLO),
            ("PUBLISH", HELLO, "x"),
            ("SLAVEOF", "NO", "ONE"),
            ("AUTH", "wrong"),
            ("AUTH", "nobody", "secret"),
            ("PING",),
            ("AUTH", "default", "secret"),
            ("PING",),
        )
    ] + [shape(line.ask("INFO"))[:8]]


def loading(rig: Rig) -> Story:
    """While a server loads its data."""
    rig.make_loading("C")
    line = rig.line("C")
    told = [
        shape(line.ask(*words))
        for words in (
            ("PING",),
            ("CLIENT", "SETNAME", "x"),
            ("PUBLISH", HELLO, "x"),
            ("SCRIPT", "KILL"),
            ("SLAVEOF", *rig.target("A")),
            ("MULTI",),
            ("SLAVEOF", *rig.target("A")),
            ("CONFIG", "REWRITE"),
            ("EXEC",),
            ("FAILOVER", "ABORT"),
        )
    ]
    return [*told, rig.tell(rig.info("C"))]


def busy(rig: Rig) -> Story:
    """While a script runs, and how it is ended."""
    rig.make_busy("B")
    line = rig.line("B")
    told = [
        shape(line.ask(*words))
        for words in (
            ("PING",),
            ("INFO",),
            ("PUBLISH", HELLO, "x"),
            ("SUBSCRIBE", HELLO),
            ("SLAVEOF", "NO", "ONE"),
            ("MULTI",),
            ("SLAVEOF", "NO", "ONE"),
            ("EXEC",),
            ("DISCARD",),
            ("SCRIPT", "KILL"),
        )
    ]
    rig.wait(lambda: shape(rig.line("B").ask("PING")) == "PONG")
    return [*told, rig.tell(rig.info("B"))]


def stale(rig: Rig) -> Story:
    """A replica without its master that serves no stale data."""
    rig.make_stale("B")
    line = rig.line("B")
    told = [
        shape(line.ask(*words))
        for words in (
            *(() if rig.old else (("PING",),)),
            ("PUBLISH", HELLO, "x"),
            ("CLIENT", "SETNAME", "x"),
            ("MULTI",),
            ("SLAVEOF", "NO", "ONE"),
            ("CONFIG", "REWRITE"),
            ("EXEC",),
        )
    ]
    return [*told, rig.info("B").role]


def written(rig: Rig) -> Story:
    """The offsets of replicas grow with what is written, to the same."""
    before = [rig.info(name).repl_offset or 0 for name in ("B", "C")]
    line = rig.line("A")
    told: Story = [shape(line.ask("SET", "key", f"{number}")) for number in range(3)]
    rig.wait(lambda: _level(rig, "B") and _level(rig, "C"))
    return [*told, [(rig.info(name).repl_offset or 0) > old for name, old in zip("BC", before, strict=True)]]


def _level(rig: Rig, replica: str) -> bool:
    key = "master_repl_offset"
    return rig.field(replica, "slave_repl_offset") == rig.field(replica, key) == rig.field("A", key)


def histories(rig: Rig) -> Story:
    """A promotion begins another history, and replicas that come to it continue theirs."""
    rig.line("A").ask("SET", "key", "value")
    rig.wait(lambda: _level(rig, "B") and _level(rig, "C"))
    old = rig.field("A", "master_replid")
    told: Story = [rig.field(name, "master_replid") == old for name in ("B", "C")]
    told.append(rig.field("B", "master_replid2") == "0" * 40)
    rig.line("B").ask("SLAVEOF", "NO", "ONE")
    new = rig.field("B", "master_replid")
    told += [new == old, rig.field("B", "master_replid2") == old, rig.field("B", "second_repl_offset") == "-1"]
    rig.line("C").ask("SLAVEOF", *rig.target("B"))
    rig.linked("C")
    return [*told, rig.field("C", "master_replid") == new, rig.field("C", "master_replid2") == old]


def without_data(rig: Rig) -> Story:
    """A master comes back without its data, and its replicas lose theirs."""
    line = rig.line("A")
    for number in range(20):
        line.ask("SET", f"key{number}", "value")
    rig.wait(lambda: _level(rig, "B") and _level(rig, "C"))
    old, offset = rig.field("A", "master_replid"), rig.info("B").repl_offset or 0
    rig.kill("A")
    rig.lose_data("A")
    rig.start("A")
    rig.wait(lambda: all(rig.info(name).master_link_up for name in ("B", "C")))
    rig.wait(lambda: len(rig.info("A").replicas) == 2)
    new = rig.field("A", "master_replid")
    told: Story = [new == old, [rig.field(name, "master_replid") == new for name in ("B", "C")]]
    return [*told, (rig.info("B").repl_offset or 0) < offset, rig.tell(rig.info("B")), rig.tell(rig.info("A"))]


def whole_copy(rig: Rig) -> Story:
    """A replica with a write of its own needs a copy of everything, and has its old data meanwhile."""
    rig.slow_copies("A", "C")
    line = rig.line("C")
    told: Story = [shape(line.ask("SLAVEOF", "NO", "ONE")), shape(line.ask("SET", "own", "value"))]
    old = rig.field("C", "master_replid")
    told.append(shape(line.ask("SLAVEOF", *rig.target("A"))))
    rig.wait(lambda: rig.field("C", "master_sync_in_progress") == "1")
    told += [rig.field("C", "master_link_status"), shape(rig.line("C").ask("ROLE"))[3]]
    told += [rig.tell(rig.info("C")) | {"down": None}, rig.tell(rig.info("A")), shape(line.ask("PING"))]
    told.append(rig.field("C", "master_replid") == old)
    rig.linked("C")
    told += [rig.field("C", "master_sync_in_progress"), shape(rig.line("C").ask("ROLE"))[3], rig.tell(rig.info("C"))]
    return [*told, rig.field("C", "master_replid") == rig.field("A", "master_replid")]


def forbidden(rig: Rig) -> Story:
    """An ACL that takes one order away spoils the transaction, and nothing else."""
    rig.forbid("B", "slaveof")
    line = rig.line("B")
    told: Story = [
        shape(line.ask(*words))
        for words in (
            ("SLAVEOF", "NO", "ONE"),
            ("MULTI",),
            ("SLAVEOF", "NO", "ONE"),
            ("CONFIG", "REWRITE"),
            *KILLS,
            ("EXEC",),
            ("CONFIG", "REWRITE"),
            ("PING",),
            ("PUBLISH", HELLO, "x"),
        )
    ]
    return [*told, rig.tell(rig.info("B"))]


def hidden(rig: Rig) -> Story:
    """A replica that is not to be announced says so; its master lists it all the same, and it can be promoted."""
    rig.hide("B")
    told: Story = [rig.tell(rig.info("B")), rig.tell(rig.info("A"))]
    rig.line("B").ask("SLAVEOF", "NO", "ONE")
    rig.wait(lambda: len(rig.info("A").replicas) == 1)
    return [*told, rig.tell(rig.info("B")), rig.tell(rig.info("A"))]


SCENARIOS: tuple[Callable[[Rig], Story], ...] = (
    small_talk,
    promotion,
    lost_master,
    pause,
    handover,
    locked,
    loading,
    busy,
    stale,
    written,
    histories,
    without_data,
    whole_copy,
    forbidden,
    hidden,
)


def _cases() -> Iterator[Any]:
    """Every scenario with every flavour; but Redis 6.2 can hardly be asked anything while it loads."""
    for scenario in SCENARIOS:
        for flavour in Flavour:
            if scenario is not loading or flavour is not Flavour.REDIS62:
                marks = [pytest.mark.needs_redis7] if flavour is Flavour.REDIS70 else []
                yield pytest.param(scenario, flavour, marks=marks, id=f"{scenario.__name__}-{flavour.value}")


@pytest.mark.parametrize(("scenario", "flavour"), list(_cases()))
def test_the_fake_reads_like_a_real_server(scenario: Callable[[Rig], Story], flavour: Flavour, tmp_path: Path) -> None:
    with real_rig(flavour, tmp_path) as rig:
        real = scenario(rig)
    fake = FakeRig()
    fake.old = flavour is Flavour.REDIS62
    assert scenario(fake) == real
