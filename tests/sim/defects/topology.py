"""Who is where: hellos, names, replicas that stray."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trio_sentinel.model import connections, senses
from trio_sentinel.model import events as e
from trio_sentinel.model import inputs as i
from trio_sentinel.model.decide import topology
from trio_sentinel.model.situation import Situation
from trio_sentinel.model.state import Master, SentinelState
from trio_sentinel.model.values import Address, Role

from .planting import CUTS, FAILOVERS, MESS, Defect, Patch


def _older_configuration(patch: Patch) -> None:
    """A hello with a lower configuration epoch and another address is believed."""
    hear = topology.hear_hello

    def gullible(s: Situation, hello: Any, switch: Any) -> Iterator[e.Event]:
        yield from hear(s, hello, switch)
        master = s.state.masters.get(hello.master)
        new = Address(hello.master_host, hello.master_port)
        if master is not None and hello.config_epoch < master.config_epoch and new != master.address:
            by = s.state.subject_of_peer(master, hello.run_id, Address(hello.host, hello.port))
            yield switch(s, master, new, hello.config_epoch, by)

    patch.setattr(topology, "hear_hello", gullible)
    patch.setitem(senses.PERCEIVE, i.HelloHeard, lambda s, heard: (heard.hello.master,))


def _strangers_believed(patch: Patch) -> None:
    """The epoch in a hello counts, also when it is about a master that is not watched here."""
    hear = topology.hear_hello

    def gullible(s: Situation, hello: Any, switch: Any) -> Iterator[e.Event]:
        if hello.master not in s.state.masters and hello.current_epoch > s.state.current_epoch:
            yield e.EpochRaised(epoch=hello.current_epoch, subject=None)
        yield from hear(s, hello, switch)

    patch.setattr(topology, "hear_hello", gullible)
    patch.setitem(senses.PERCEIVE, i.HelloHeard, lambda s, heard: (heard.hello.master,))


def _my_own_peer(patch: Patch) -> None:
    """My own hello makes me my own peer (core.md Q10)."""
    hear = topology.hear_hello

    def vain(s: Situation, hello: Any, switch: Any) -> Iterator[e.Event]:
        master = s.state.masters.get(hello.master)
        if master is not None and hello.run_id == s.state.my_id:
            yield from topology._peer_arrives(s, master, hello.run_id, Address(hello.host, hello.port))
        else:
            yield from hear(s, hello, switch)

    patch.setattr(topology, "hear_hello", vain)
    patch.setitem(senses.PERCEIVE, i.HelloHeard, lambda s, heard: (heard.hello.master,))


def _hasty_correction(patch: Patch) -> None:
    """A replica that says it is a master is brought back at once, and whoever watches over it is not asked."""

    def hasty(s: Situation, master: Master, replica: Any, reading: Any) -> Iterator[e.Event]:
        if reading.role is Role.MASTER:
            subject = s.state.subject_of_replica(master, replica.address)
            yield e.ReplicaConverted(subject=subject, address=replica.address)

    patch.setattr(topology, "correct", hasty)


def _strays_corrected_at_once(patch: Patch) -> None:
    """A replica that follows somebody else is brought back at its first word: its new master may be right."""

    def hasty(s: Situation, master: Master, replica: Any, reading: Any) -> Iterator[e.Event]:
        promoted = master.failover is not None and master.failover.promoted == replica.address
        if reading.role is Role.REPLICA and s.sane(master) and not promoted:
            if topology._follows_another(s, master, replica):
                subject = s.state.subject_of_replica(master, replica.address)
                yield e.ReplicaRepointed(subject=subject, address=replica.address)

    patch.setattr(topology, "correct", hasty)


def _strays_left_alone(patch: Patch) -> None:
    """Nobody brings a stray back."""
    patch.setattr(topology, "correct", lambda s, master, replica, reading: iter(()))


def _deaf_to_news(patch: Patch) -> None:
    """A higher configuration epoch is not adopted."""
    patch.setattr(topology, "_newer_configuration", lambda s, master, hello, switch: iter(()))


def _wrong_names_believed(patch: Patch) -> None:
    """Two names that resolve to one address are one server, also while the name service is wrong."""
    patch.setattr(SentinelState, "told_as_one", SentinelState.same_address)


def _moved_name_not_followed(patch: Patch) -> None:
    """A connection that was begun before its name was answered stays where the name led before."""
    patch.setattr(connections, "follow_name", lambda s, host: ())


DEFECTS: dict[str, Defect] = {
    "an older configuration is believed": Defect(_older_configuration, ("20", "21"), CUTS),
    "strangers are believed": Defect(
        _strangers_believed, ("28",), (("operator remove", 8), ("kill server", 4), ("operator failover", 4))
    ),
    "my own hello makes me a peer": Defect(_my_own_peer, ("27",)),
    "replicas are corrected at once": Defect(_hasty_correction, ("18",), MESS),
    "strays are corrected at once": Defect(_strays_corrected_at_once, ("18", "31"), MESS),
    "strays are left alone": Defect(_strays_left_alone, ("31",), MESS),
    "news are not believed": Defect(_deaf_to_news, ("30", "8", "22", "29"), FAILOVERS),
    "the name service is believed": Defect(
        _wrong_names_believed,
        ("22", "30", "31"),
        (("wrong name", 8), ("operator failover", 6), ("kill server", 1)),
        (("named", True), ("pause_ms", 700)),
    ),
    "a moved name is not followed": Defect(
        _moved_name_not_followed,
        ("18", "22", "26", "29", "30", "31"),
        (("wrong name", 8), ("kill server", 3)),
        (("named", True),),
    ),
}
