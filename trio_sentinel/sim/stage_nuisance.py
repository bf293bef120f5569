"""Clients that nobody wants: half requests, junk, floods, subscribers that never read, and people who kill connections.

They come during harm only, one after the other; what they leave behind a daemon must bear.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from trio_sentinel.model.values import Address
from trio_sentinel.sim.stage_clients import Person
from trio_sentinel.sim.stage_network import End
from trio_sentinel.wire.orders import command

if TYPE_CHECKING:
    from trio_sentinel.sim.stage import StageCluster

BETWEEN_MS: Final = (50, 2500)
STAYS_MS: Final = (1, 8000)
FLOOD: Final = 300
JUNK_BYTES: Final = 400
HOST: Final = "10.66.6.6"


class Visit:
    """One connection: says its words as there is room for them, and goes after a while."""

    def __init__(self, cluster: StageCluster, person: Person, target: Address, words: bytes, *, reads: bool) -> None:
        self._words = bytearray(words)
        self._reads = reads
        self._end: End = cluster.streams.connect(person, HOST, target, self)

    def changed(self) -> None:
        """See `stage_network.User`."""
        end = self._end
        while self._words and end.connected and not end.broken:
            taken = end.send(bytes(self._words))
            if not taken:
                break
            del self._words[:taken]
        if self._reads:
            end.read(len(end.inbox))
        if end.broken or end.ended:
            end.close()

    def go(self) -> None:
        """Hang up, whatever was left unread."""
        self._end.close()


class Nuisance:
    """Somebody who visits one sentinel after the other until ``until_ms``."""

    def __init__(self, cluster: StageCluster, until_ms: int) -> None:
        self._cluster = cluster
        self._until_ms = until_ms
        self._person = Person(Address(HOST, 1))

    def begin(self) -> None:
        """Plan the next visit."""
        self._cluster.world.after(self._cluster.world.random.randint(*BETWEEN_MS), self._visit)

    def _visit(self) -> None:
        cluster = self._cluster
        world = cluster.world
        if world.now_ms >= self._until_ms:
            return
        sentinel = world.random.choice(cluster.staged())
        name = world.random.choice(list(VISITS))
        words = VISITS[name](self)
        if sentinel.password is not None and world.random.random() < 0.7:
            words = command("AUTH", sentinel.password) + words
        visit = Visit(cluster, self._person, sentinel.address, words, reads=name not in NEVER_READ)
        world.after(world.random.randint(*STAYS_MS), visit.go)
        cluster.seen[f"nuisance {name}"] += 1
        self.begin()

    # ------------------------------------------------------------ what they say

    def junk(self) -> bytes:
        """Any bytes."""
        return self._cluster.world.random.randbytes(JUNK_BYTES)

    def half(self) -> bytes:
        """A request that never ends."""
        whole = command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")
        return whole[: 1 + self._cluster.world.random.randrange(len(whole) - 1)]

    def flood(self) -> bytes:
        """Many questions at once."""
        return command("SENTINEL", "MASTERS") * FLOOD

    def deaf(self) -> bytes:
        """Subscribes to everything, and asks more than it reads."""
        return command("SUBSCRIBE", "+switch-master") + command("PSUBSCRIBE", "*")

    def killer(self) -> bytes:
        """Sends everybody away, peers and subscribers too."""
        return command("CLIENT", "KILL", "TYPE", "normal") + command("CLIENT", "KILL", "TYPE", "pubsub")

    def pauser(self) -> bytes:
        """Lets everybody wait."""
        return command("CLIENT", "PAUSE", str(self._cluster.world.random.randrange(1, 1500)))

    def curious(self) -> bytes:
        """Reads everything there is, in both protocols."""
        asked = ("INFO",), ("CLIENT", "LIST"), ("SENTINEL", "INFO-CACHE", "mymaster"), ("COMMAND",), ("ROLE",)
        return b"".join(command(*words) for words in (*asked, ("HELLO", "3"), *asked, ("RESET",), *asked))

    def liar(self) -> bytes:
        """Pretends to be a peer, about a master that nobody knows and one that everybody does."""
        nobody = "f" * 40
        return (
            command("SENTINEL", "IS-MASTER-DOWN-BY-ADDR", "10.0.0.1", "6379", "0", "*")
            + command("PUBLISH", "__sentinel__:hello", f"10.66.6.6,26379,{nobody},0,nothing,10.0.0.1,6379,0")
            + command("PUBLISH", "__sentinel__:hello", "nonsense")
        )

    def shutdown(self) -> bytes:
        """Stops the daemon in good order."""
        return command("SHUTDOWN") if self._cluster.world.random.random() < 0.3 else command("PING")


VISITS: Final[dict[str, Callable[[Nuisance], bytes]]] = {
    "junk": Nuisance.junk,
    "half": Nuisance.half,
    "flood": Nuisance.flood,
    "deaf": Nuisance.deaf,
    "killer": Nuisance.killer,
    "pauser": Nuisance.pauser,
    "curious": Nuisance.curious,
    "liar": Nuisance.liar,
    "shutdown": Nuisance.shutdown,
}
NEVER_READ: Final = frozenset({"flood", "deaf", "half"})
