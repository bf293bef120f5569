"""What others are told is on disk before, the next life finds it there, and nobody tells two things: properties 1, 3 to
6, 15, 20 to 23 and 25, by what hellos, questions and answers say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_sentinel.model import effects as fx
from trio_sentinel.model import events as e
from trio_sentinel.model.inputs import ConfigSaved, ConfigSaveFailed
from trio_sentinel.model.snapshot import MasterSnapshot, Snapshot
from trio_sentinel.model.values import Address, Epoch, RunId
from trio_sentinel.sim import checks_of_events, checks_of_promises
from trio_sentinel.sim.broken import require
from trio_sentinel.sim.ledger import EffectRule, EventRule, Ledger, Past, Shadow, kept_line

if TYPE_CHECKING:
    from trio_sentinel.sim.process import SimSentinel


def came_back(ledger: Ledger, sentinel: SimSentinel, my_id: RunId) -> None:
    """A process begins from its file: whatever its identity told or promised is in it."""
    past, disk = ledger.past(my_id), sentinel.disk
    kept = newest_epoch(disk) >= past.current_epoch
    require(kept, 1, f"{sentinel.name} came back below epoch {past.current_epoch}")
    checks_of_promises.came_back(sentinel.name, past.owed, disk)
    _configurations_came_back(sentinel, past)
    for (name, epoch), ballots in ledger.ballots.items():
        if my_id in ballots:
            _vote_came_back(sentinel, name, epoch, ledger.kept_as.get((name, epoch, my_id), []))


def _vote_came_back(sentinel: SimSentinel, name: str, epoch: Epoch, kept_as: list[str]) -> None:
    """Property 4. A vote may have gone with its master, which was removed."""
    lines = [kept_line(sentinel, place) for place in {name, *kept_as}]
    kept = any(line is None or line.leader_epoch >= epoch for line in lines)
    require(kept, 4, f"{sentinel.name} came back without its vote of epoch {epoch} for {name}")


def _configurations_came_back(sentinel: SimSentinel, past: Past) -> None:
    """Properties 15, 20 and 21: whoever was told of an address under an epoch is not told of an older one by the
    next life."""
    for name, (epoch, address) in past.said.items():
        if name in past.removed:
            continue
        line = kept_line(sentinel, name)
        require(line is not None, 15, f"{sentinel.name} came back without {name}")
        assert line is not None
        kept = line.config_epoch > epoch or (line.config_epoch == epoch and line.address == address)
        found = f"{line.address} at {line.config_epoch}"
        require(kept, 15, f"{sentinel.name} told {address} of {name} at {epoch}, and came back with {found}")


def _removed(ledger: Ledger, sentinel: SimSentinel, shadow: Shadow, event: e.MasterRemoved) -> None:
    ledger.past(shadow.my_id).removed.add(event.subject.master)


def _hello(ledger: Ledger, sentinel: SimSentinel, shadow: Shadow, effect: fx.SayHello) -> None:
    """Properties 1, 15, 20, 21 and 22: what a hello tells is on disk, and one epoch is one address."""
    hello = effect.hello
    if shadow.hellos.get(hello.master) is hello:
        return
    shadow.hellos[hello.master] = hello
    checks_of_events.told_in_hello(sentinel.name, shadow.state, hello, late=_may_be_late(sentinel))
    raw = hello.current_epoch, hello.config_epoch, hello.master_host, hello.master_port
    past = ledger.past(shadow.my_id)
    if past.said_raw.get(hello.master) == raw or shadow.my_id in ledger.doubles:
        return
    for epoch in (hello.current_epoch, hello.config_epoch):
        checks_of_events.epoch_in_range(sentinel.name, epoch)
    lawful = hello.config_epoch <= hello.current_epoch
    require(lawful, 5, f"{sentinel.name} tells config epoch {hello.config_epoch} above {hello.current_epoch}")
    past.said_raw[hello.master] = raw
    risen = hello.current_epoch >= past.current_epoch
    require(risen, 1, f"{sentinel.name}: its epoch falls from {past.current_epoch} to {hello.current_epoch}")
    kept = newest_epoch(sentinel.kept) >= hello.current_epoch
    require(kept, 1, f"{sentinel.name} tells epoch {hello.current_epoch} before saving it")
    past.current_epoch = max(past.current_epoch, hello.current_epoch)
    address = Address(hello.master_host, hello.master_port)
    known = kept_line(sentinel, hello.master)
    if known is not None:
        later = known.config_epoch > hello.config_epoch
        same = known.config_epoch == hello.config_epoch and known.address == address
        require(later or same, 15, f"{sentinel.name} tells {address} at {hello.config_epoch} before saving it")
    _published(ledger, sentinel, past, hello.master, hello.config_epoch, address)


def _published(ledger: Ledger, sentinel: SimSentinel, past: Past, name: str, epoch: Epoch, address: Address) -> None:
    before_epoch, before = past.said.get(name, (0, address))
    if name in past.removed:
        before_epoch, before = epoch, address
    require(epoch >= before_epoch, 20, f"{sentinel.name}: the configuration epoch of {name} falls to {epoch}")
    moved = epoch == before_epoch and before != address
    require(not moved, 21, f"{sentinel.name} tells two addresses of {name} in epoch {epoch}: {before}, {address}")
    past.said[name] = epoch, address
    ledger.note_address(sentinel, name, epoch, address)


def _ask(ledger: Ledger, sentinel: SimSentinel, shadow: Shadow, effect: fx.AskPeer) -> None:
    """Properties 1 and 4: nobody is asked for a vote before our own is on disk. (A plain question carries an epoch
    too, but nobody reads it: it promises nothing.)"""
    master = shadow.state.masters.get(effect.master)
    configured = master is not None and effect.address == master.address
    if not configured and _may_be_late(sentinel):
        configured = effect.address in shadow.addresses.get(effect.master, ())
    require(configured, 23, f"{sentinel.name} asks about {effect.address}, which is not the configured address")
    if effect.candidate is None:
        return
    checks_of_events.epoch_in_range(sentinel.name, effect.epoch)
    kept = newest_epoch(sentinel.kept) >= effect.epoch
    require(kept, 1, f"{sentinel.name} asks under epoch {effect.epoch} before saving it")
    known = kept_line(sentinel, effect.master)
    if known is not None:
        require(known.leader_epoch >= effect.epoch, 4, f"{sentinel.name} asks for votes before its own is saved")
    if shadow.my_id not in ledger.doubles:
        past = ledger.past(shadow.my_id)
        past.current_epoch = max(past.current_epoch, effect.epoch)


def _answer_opinion(ledger: Ledger, sentinel: SimSentinel, shadow: Shadow, effect: fx.AnswerOpinion) -> None:
    if effect.leader is not None:
        checks_of_events.epoch_in_range(sentinel.name, effect.leader_epoch)
        require(effect.leader_epoch > 0, 6, f"{sentinel.name} answers a vote of epoch 0")


def opinion_sent(
    ledger: Ledger,
    sentinel: SimSentinel,
    shadow: Shadow,
    asked: fx.AskPeer,
    answer: fx.AnswerOpinion,
    *,
    in_tilt: bool,
) -> None:
    """Properties 3, 4 and 25: an answer to a question of a peer that came `in_tilt`."""
    require(not (in_tilt and answer.down), 25, f"{sentinel.name} says that a master is down, in TILT")
    if answer.leader is None:
        refused = asked.candidate is not None and sentinel.engine.state.disk_failing
        ledger.cluster.seen["a vote is refused because it cannot be saved"] += refused
        return
    known = _lines_of(sentinel, asked, ledger.cast_as.get((shadow.my_id, answer.leader_epoch, answer.leader), set()))
    if known:
        kept = any(line.leader_epoch >= answer.leader_epoch for line in known)
        require(kept, 4, f"{sentinel.name} tells a vote in epoch {answer.leader_epoch} before saving it")
        under = [line.name for line in known if line.leader_epoch >= answer.leader_epoch]
        ledger.kept_as[asked.master, answer.leader_epoch, shadow.my_id] = under
    ledger.note_vote(sentinel, asked.master, answer.leader_epoch, shadow.my_id, answer.leader)
    if asked.candidate is not None and answer.leader not in (asked.candidate, shadow.my_id):
        ledger.cluster.seen["two candidates in one epoch"] += asked.epoch == answer.leader_epoch


def _answer(ledger: Ledger, sentinel: SimSentinel, shadow: Shadow, effect: fx.Answer) -> None:
    if shadow.orders.open and shadow.my_id not in ledger.doubles:
        shadow.orders.answered(sentinel.name, ledger.past(shadow.my_id).owed, sentinel.kept, effect)


def _may_be_late(sentinel: SimSentinel) -> bool:
    """Whether what is said now may have waited for the disk. (In the full stage nobody knows.)"""
    return sentinel.hearing is None or isinstance(sentinel.hearing, ConfigSaved | ConfigSaveFailed)


def _lines_of(sentinel: SimSentinel, asked: fx.AskPeer, voted_as: set[str]) -> list[MasterSnapshot]:
    """The master that a question means: it carries an address, and where names lie or one deployment has two names, the
    vote may be kept under another name than the one that the candidate has for it: one of those that were `voted_as`
    so, or the one at that address. The master there may be a replica by the time the vote is on disk."""
    state = sentinel.engine.state
    names = {
        name
        for name, master in state.masters.items()
        if any(state.same_address(one, asked.address) for one in (master.address, *master.replicas))
    }
    lines = (kept_line(sentinel, name) for name in {asked.master, *names, *voted_as})
    return [line for line in lines if line is not None]


def newest_epoch(file: Snapshot) -> Epoch:
    """The highest epoch that a file knows of."""
    return max([file.current_epoch, *(max(line.config_epoch, line.leader_epoch) for line in file.masters)])


RULES: Final[dict[type[e.Event], EventRule]] = {
    e.MasterRemoved: _removed,
}
WORDS: Final[dict[type[fx.Effect], EffectRule]] = {
    fx.SayHello: _hello,
    fx.AskPeer: _ask,
    fx.AnswerOpinion: _answer_opinion,
    fx.Answer: _answer,
}
