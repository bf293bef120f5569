"""Events of a sentinel, as it publishes them, in words for a person who has never seen one."""

from __future__ import annotations

import enum
from collections.abc import Callable

from attrs import define, frozen


class Weight(enum.Enum):
    """How much an event matters to somebody who watches a failover."""

    ASIDE = "aside"
    STEP = "step"
    TURN = "turn"


@frozen(kw_only=True)
class Sighting:
    """One event that one sentinel published."""

    at: float
    """When it was received, on the clock of ``time.monotonic``."""
    who: str
    channel: str
    payload: str


@frozen
class Told:
    """The words for a sighting."""

    text: str
    weight: Weight


@define
class Teller:
    """Puts sightings into words. It remembers who is silent for whom, to say how many of the quorum have noticed."""

    servers: dict[int, str]
    """Names of the servers by port."""
    sentinels: dict[str, str]
    """Names of the sentinels by run id."""
    quorum: int
    suspects: set[str]
    """The sentinels that find the master silent."""

    def tell(self, sighting: Sighting) -> Told:
        """Words for `sighting`; an event nobody has words for is told as it is."""
        words = sighting.payload.split()
        try:
            return _TELLINGS[sighting.channel](self, sighting.who, words)
        except (KeyError, IndexError, ValueError):
            return Told(sighting.payload, Weight.ASIDE)

    def instance(self, words: list[str]) -> str:
        """The name of whom an event is about: its third and fourth word are an address."""
        if words[0] == "sentinel":
            return self.sentinels.get(words[1], words[1][:8])
        return self.server(words[3])

    def server(self, port: str) -> str:
        """The name of the server on `port`."""
        return self.servers.get(int(port), f"the server on port {port}")


def _sdown(teller: Teller, who: str, words: list[str]) -> Told:
    if words[0] != "master":
        return Told(f"does not hear {teller.instance(words)}", Weight.STEP)
    teller.suspects.add(who)
    count = f"{len(teller.suspects)} of {teller.quorum} needed"
    if len(teller.suspects) > teller.quorum:
        count = f"more than the {teller.quorum} needed"
    return Told(f"no longer hears the master, {teller.instance(words)} ({count})", Weight.TURN)


def _back(teller: Teller, who: str, words: list[str]) -> Told:
    if words[0] == "master":
        teller.suspects.discard(who)
    return Told(f"hears {teller.instance(words)} again", Weight.STEP)


def _odown(teller: Teller, who: str, words: list[str]) -> Told:
    have, _, need = words[-1].partition("/")
    return Told(f"finds {have} who agree, {need} needed: the master counts as down", Weight.TURN)


def _vote(teller: Teller, who: str, words: list[str]) -> Told:
    name = teller.sentinels.get(words[0], words[0][:8])
    whom = "itself" if name == who else name
    return Told(f"votes for {whom} to lead, in epoch {words[1]}", Weight.TURN)


def _switch(teller: Teller, who: str, words: list[str]) -> Told:
    teller.suspects.discard(who)
    old, new = teller.server(words[2]), teller.server(words[4])
    return Told(f"tells its clients: the master is now {new}, no longer {old}", Weight.TURN)


def _about(text: str, weight: Weight = Weight.STEP) -> Callable[[Teller, str, list[str]], Told]:
    """An event whose words need no more than the name of the instance."""

    def tell(teller: Teller, who: str, words: list[str]) -> Told:
        return Told(text.format(teller.instance(words)), weight)

    return tell


def _plain(text: str, weight: Weight = Weight.STEP) -> Callable[[Teller, str, list[str]], Told]:
    """An event whose words are always the same, but for the first of its payload."""
    return lambda teller, who, words: Told(text.format(words[0] if words else ""), weight)


_TELLINGS: dict[str, Callable[[Teller, str, list[str]], Told]] = {
    "+sdown": _sdown,
    "-sdown": _back,
    "+odown": _odown,
    "-odown": _about("no longer counts enough who find {} down", Weight.ASIDE),
    "+new-epoch": _plain("begins epoch {}", Weight.ASIDE),
    "+try-failover": _plain("wants to lead the failover, and asks the others for their votes"),
    "+vote-for-leader": _vote,
    "+elected-leader": _plain("has a majority of the votes: it leads the failover", Weight.TURN),
    "+selected-slave": _about("chooses {}, the replica best suited", Weight.TURN),
    "+failover-state-select-slave": _plain("compares the replicas", Weight.ASIDE),
    "+failover-state-send-slaveof-noone": _about("is about to promote {}", Weight.ASIDE),
    "+failover-state-wait-promotion": _about("orders {} to become master"),
    "+promoted-slave": _about("sees that {} is a master now", Weight.TURN),
    "+failover-state-reconf-slaves": _plain("turns to the other replicas", Weight.ASIDE),
    "+slave-reconf-sent": _about("orders {} to follow the new master"),
    "+slave-reconf-sent-be": _about("orders {} to follow the new master, with the time being out"),
    "+slave-reconf-inprog": _about("sees {} turn to the new master", Weight.ASIDE),
    "+slave-reconf-done": _about("sees {} follow the new master"),
    "-slave-reconf-sent-timeout": _about("waited too long for {} to turn to the new master"),
    "+failover-end": _plain("ends the failover"),
    "+failover-end-for-timeout": _plain("has no more time for the replicas that do not answer"),
    "+config-update-from": _about("hears the result from {}"),
    "+switch-master": _switch,
    "-failover-abort-not-elected": _plain("gave up: it got too few votes", Weight.TURN),
    "-failover-abort-no-good-slave": _plain("gave up: no replica is fit to be promoted", Weight.TURN),
    "-failover-abort-slave-timeout": _plain("gave up: the chosen replica did not become master in time", Weight.TURN),
    "+slave": _about("counts {} among the replicas", Weight.ASIDE),
    "+sentinel": _about("met {}", Weight.ASIDE),
    "+role-change": _about("sees {} in the role it should have", Weight.ASIDE),
    "-role-change": _about("sees {} in another role than it should have", Weight.ASIDE),
    "+convert-to-slave": _about("orders {} to follow the new master", Weight.TURN),
    "+fix-slave-config": _about("orders {}, which follows somebody else, to follow the master"),
    "+reboot": _about("notices that {} was started anew"),
    "+tilt": _plain("was held up, mistrusts its clock and only watches for a while", Weight.TURN),
    "-tilt": _plain("trusts its clock again"),
}
