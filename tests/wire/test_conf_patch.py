"""Rewriting again by patching lines gives what rewriting from scratch gives."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from attrs import evolve

from trio_sentinel.model.settings import MasterSettings
from trio_sentinel.model.snapshot import MasterSnapshot, Snapshot
from trio_sentinel.model.values import Address, RunId
from trio_sentinel.wire import conf_patch
from trio_sentinel.wire.conf import Configuration, Rewriter, load_configuration, rewrite_configuration

FILE = b"""port 26379
# the first of them
sentinel monitor m0 10.0.0.1 6379 2
sentinel down-after-milliseconds m0 5000

sentinel monitor m1 10.0.1.1 6379 2
# behind the second
sentinel monitor m2 10.0.2.1 6379 2
"""


def begun() -> tuple[Configuration, Snapshot]:
    """The configuration, and a state with replicas and peers."""
    loaded = load_configuration(
        FILE,
        path="/etc/sentinel.conf",
        read_file=lambda path: b"",
        glob_files=lambda pattern: [],
        is_executable=lambda path: True,
        resolve=lambda host: None,
        working_dir="/",
    )
    masters = tuple(
        evolve(
            master,
            replicas=(Address(f"10.0.{n}.2", 6379), Address(f"10.0.{n}.3", 6379)),
            peers=((RunId("b" * 40), Address("10.1.0.2", 26379)), (RunId("c" * 40), Address("10.1.0.3", 26379))),
        )
        for n, master in enumerate(loaded.snapshot.masters)
    )
    return loaded, evolve(loaded.snapshot, my_id=RunId("a" * 40), masters=masters)


Change = Callable[[random.Random, MasterSnapshot], MasterSnapshot]


def _vote(dice: random.Random, master: MasterSnapshot) -> MasterSnapshot:
    return evolve(master, leader_epoch=master.leader_epoch + dice.randint(1, 3))


def _promote(dice: random.Random, master: MasterSnapshot) -> MasterSnapshot:
    if not master.replicas:
        return master
    chosen = dice.choice(master.replicas)
    rest = tuple(master.address if replica == chosen else replica for replica in master.replicas)
    return evolve(master, address=chosen, config_epoch=master.config_epoch + 1, replicas=rest)


def _switch(dice: random.Random, master: MasterSnapshot) -> MasterSnapshot:
    """As a peer follows: the old master goes to the end of the replicas."""
    if not master.replicas:
        return master
    rest = [*master.replicas]
    chosen = rest.pop(dice.randrange(len(rest)))
    return evolve(master, address=chosen, replicas=(*rest, master.address))


def _find(dice: random.Random, master: MasterSnapshot) -> MasterSnapshot:
    found = Address(f"10.9.{dice.randint(0, 9)}.{dice.randint(1, 9)}", 6379)
    return evolve(master, replicas=tuple(dict.fromkeys((*master.replicas, found))))


def _forget(dice: random.Random, master: MasterSnapshot) -> MasterSnapshot:
    return evolve(master, replicas=master.replicas[1:])


def _move_peer(dice: random.Random, master: MasterSnapshot) -> MasterSnapshot:
    run_id, address = master.peers[0]
    return evolve(master, peers=((run_id, address._replace(port=address.port + 1)), *master.peers[1:]))


def _set(dice: random.Random, master: MasterSnapshot) -> MasterSnapshot:
    settings = evolve(master.settings, quorum=dice.randint(1, 5), auth_pass=dice.choice((None, "p w")))
    return evolve(master, settings=settings)


CHANGES: tuple[Change, ...] = (_vote, _vote, _promote, _promote, _switch, _find, _forget, _move_peer, _set)


@pytest.mark.parametrize("seed", range(12))
def test_a_row_of_changes_gives_the_same_files(seed: int) -> None:
    dice = random.Random(seed)
    configuration, snapshot = begun()
    rewriter = Rewriter()
    content = FILE
    for step in range(30):
        masters = [*snapshot.masters]
        for _ in range(dice.randint(1, 2)):
            at = dice.randrange(len(masters))
            masters[at] = dice.choice(CHANGES)(dice, masters[at])
        if dice.random() < 0.05:
            masters.append(
                MasterSnapshot(
                    name=f"n{step}",
                    address=Address("10.3.0.1", 1),
                    settings=MasterSettings(quorum=1),
                    peers=masters[0].peers,
                )
            )
        snapshot = evolve(snapshot, masters=tuple(masters), current_epoch=snapshot.current_epoch + dice.randint(0, 1))
        if dice.random() < 0.1:
            content = content.replace(b"# behind", b"# right behind", 1)  # somebody edits a comment
        whole = rewrite_configuration(content, configuration, snapshot)
        content = rewriter.rewrite(content, configuration, snapshot)
        assert content == whole


@pytest.mark.parametrize("change", [_vote, _promote])
def test_a_vote_and_a_promotion_do_not_read_the_file_again(monkeypatch: pytest.MonkeyPatch, change: Change) -> None:
    configuration, snapshot = begun()
    rewriter = Rewriter()
    content = rewriter.rewrite(FILE, configuration, snapshot)
    first, *rest = snapshot.masters
    changed = evolve(snapshot, current_epoch=7, masters=(change(random.Random(1), first), *rest))
    whole = rewrite_configuration(content, configuration, changed)
    monkeypatch.setattr(conf_patch, "rewrite_configuration", None)
    assert rewriter.rewrite(content, configuration, changed) == whole


def test_a_file_that_somebody_edited_is_read_again() -> None:
    configuration, snapshot = begun()
    rewriter = Rewriter()
    content = rewriter.rewrite(FILE, configuration, snapshot)
    edited = content.replace(b"# behind the second", b"# behind the second, and edited")
    assert b"and edited" in rewriter.rewrite(edited, configuration, evolve(snapshot, current_epoch=9))
