"""Mistakes planted into what lies between the bytes and the mind, where only the full stage can find them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from trio_sentinel.model.effects import AskPeer
from trio_sentinel.model.inputs import ConfigSaved
from trio_sentinel.model.snapshot import Snapshot
from trio_sentinel.runtime import link, session
from trio_sentinel.runtime.board import Board
from trio_sentinel.runtime.clients import House
from trio_sentinel.runtime.keeper import Keeper
from trio_sentinel.runtime.link import CommandConnection
from trio_sentinel.runtime.transport import SocketTransport
from trio_sentinel.sim.options import Options
from trio_sentinel.sim.stage import Scenery
from trio_sentinel.sim.stage_disk import VirtualDisk
from trio_sentinel.sim.stage_sentinel import StagedSentinel
from trio_sentinel.wire import conf, orders
from trio_sentinel.wire.replies import Reply, ReplyReader

from .defects.planting import CRASHES, DISKS, FAILOVERS, TORN, arena

Patch = pytest.MonkeyPatch


SLOW = (*FAILOVERS, ("slow disk", 15), ("operator set", 6))
SHAKY = (("operator failover", 6), ("failing disk", 8), ("crash sentinel", 8))
SCENERY = Scenery(choppy=True)


def small(seed: int, weights: tuple[tuple[str, int], ...], pause_ms: int = 1500) -> Options:
    """Where such a defect has its chance."""
    return arena(seed, weights, harm_ms=15_000, calm_ms=8000, write_ms=500, pause_ms=pause_ms)


@attrs.frozen
class StageDefect:
    """A mistake, where it is looked for, and what may find it: numbers or names of properties, or an exception."""

    plant: Callable[[Patch], None]
    found_by: tuple[str, ...]
    weights: tuple[tuple[str, int], ...] = FAILOVERS
    pause_ms: int = 1500
    seeds: int = 20
    """How many it may take."""


def says_saved_too_early(patch: Patch) -> None:
    """The keeper reports a save when it begins."""
    save = Keeper._save

    async def hasty(self: Keeper) -> None:
        self._hear(ConfigSaved(self._wanted))
        await save(self)

    patch.setattr(Keeper, "_save", hasty)


def newest_is_reported_saved(patch: Patch) -> None:
    """What was wanted while the disk was at work is reported with it."""

    async def save(self: Keeper) -> None:
        await self._store.save(self._engine.snapshot())
        self._saved = self._wanted
        self._hear(ConfigSaved(self._wanted))

    patch.setattr(Keeper, "_save", save)


def _forgets(patch: Patch, forget: Callable[[Snapshot], Snapshot]) -> None:
    write = conf.Rewriter.rewrite

    def rewrite(self: conf.Rewriter, old: bytes, configuration: Any, snapshot: Snapshot, **more: Any) -> bytes:
        return write(self, old, configuration, forget(snapshot), **more)

    patch.setattr(conf.Rewriter, "rewrite", rewrite)


def file_is_trusted_at_the_start(patch: Patch) -> None:
    """A start acts on what it reads, though a power failure may still take it back."""
    patch.setattr(StagedSentinel, "settle", lambda self: True)


def file_is_renamed_before_it_is_synced(patch: Patch) -> None:
    """What a power failure leaves of the content is read as it is."""
    patch.setattr(VirtualDisk, "sync", lambda self, path: None)


def file_without_votes(patch: Patch) -> None:
    """The file does not say in which epoch this sentinel voted."""

    def forget(snapshot: Snapshot) -> Snapshot:
        masters = tuple(attrs.evolve(master, leader_epoch=0) for master in snapshot.masters)
        return attrs.evolve(snapshot, masters=masters)

    _forgets(patch, forget)


def file_without_new_address(patch: Patch) -> None:
    """The file keeps the address of the first master."""
    first: dict[str, Any] = {}

    def forget(snapshot: Snapshot) -> Snapshot:
        masters = tuple(
            attrs.evolve(master, address=first.setdefault(master.name, master.address)) for master in snapshot.masters
        )
        return attrs.evolve(snapshot, masters=masters)

    _forgets(patch, forget)


def replies_kept_too_long(patch: Patch) -> None:
    """What clients were told once they are told for ever."""
    patch.setattr(House, "replies", lambda self, proto: self._replies[proto])


def rest_of_a_partial_write_is_lost(patch: Patch) -> None:
    """What the kernel does not take at once is never sent."""

    def send(self: SocketTransport, data: bytes) -> None:
        if not self.closing and not self.closed and data:
            try:
                self._sock.send(data)
            except OSError as error:
                self._break(str(error))

    patch.setattr(SocketTransport, "send", send)


def room_is_not_waited_for(patch: Patch) -> None:
    """Nobody asks to hear when the kernel takes more."""
    rewatch = SocketTransport._rewatch

    def blind(self: SocketTransport) -> None:
        out, self._out = self._out, bytearray()
        rewatch(self)
        self._out = out

    patch.setattr(SocketTransport, "_rewatch", blind)


def half_a_reply_is_thrown_away(patch: Patch) -> None:
    """A reply that comes in two pieces is lost, with what follows."""

    class Forgetful(ReplyReader):
        def feed(self, data: bytes) -> list[Reply]:
            replies = super().feed(data)
            self._chunks = []
            return replies

    patch.setattr(link, "ReplyReader", Forgetful)


def one_reply_too_few_expected(patch: Patch) -> None:
    """The promote transaction is believed to have one reply less than it has."""
    promote = orders.promote

    def short(renamed: Any) -> orders.Order:
        order = promote(renamed)
        return orders.Order(order.data, order.expected[1:])

    patch.setattr(orders, "promote", short)


def opinions_are_made_up(patch: Patch) -> None:
    """Whatever a peer answers, it is taken for a yes and a vote."""
    answer = CommandConnection._answer

    def wrong(self: CommandConnection, expected: Any, reply: Any) -> None:
        if isinstance(expected, AskPeer) and isinstance(reply, list) and len(reply) == 3:
            reply = [1, str(expected.candidate or "*").encode(), expected.epoch]
        answer(self, expected, reply)

    patch.setattr(CommandConnection, "_answer", wrong)


def news_are_garbled(patch: Patch) -> None:
    """A switch is told in the wrong words."""
    deliver = Board._deliver

    def garbled(self: Board, bulletin: Any) -> None:
        if bulletin.channel == "+switch-master":
            bulletin = attrs.evolve(bulletin, payload=bulletin.payload[::-1])
        deliver(self, bulletin)

    patch.setattr(Board, "_deliver", garbled)


def delayed_answer_never_leaves(patch: Patch) -> None:
    """An answer that waited for the disk is not sent when the disk has answered."""
    patch.setattr(session.Session, "fill", lambda self, slot, reply: None)


STAGE_DEFECTS: dict[str, StageDefect] = {
    "a save is reported when it begins": StageDefect(says_saved_too_early, ("1", "4", "15"), CRASHES),
    "the newest is reported saved": StageDefect(newest_is_reported_saved, ("1", "4", "15"), SLOW),
    "the file is trusted at the start": StageDefect(
        file_is_trusted_at_the_start, ("1", "4", "15", "20"), SHAKY, 300, seeds=30
    ),
    "the file is renamed unsynced": StageDefect(
        file_is_renamed_before_it_is_synced, ("1", "4", "20", "21", "22", "ConfigError"), TORN, 500
    ),
    "room is not waited for": StageDefect(room_is_not_waited_for, ("29", "30", "31", "32")),
    "the file keeps no votes": StageDefect(file_without_votes, ("4",), CRASHES),
    "the file keeps the first address": StageDefect(file_without_new_address, ("15",)),
    "replies are cached for ever": StageDefect(replies_kept_too_long, ("reply",)),
    "the rest of a partial write is lost": StageDefect(rest_of_a_partial_write_is_lost, ("framing",)),
    "half a reply is thrown away": StageDefect(half_a_reply_is_thrown_away, ("framing",)),
    "one reply too few is expected": StageDefect(one_reply_too_few_expected, ("framing",)),
    "a peer's answers are made up": StageDefect(opinions_are_made_up, ("7", "12", "29"), DISKS),
    "news are garbled": StageDefect(news_are_garbled, ("news",)),
    "a delayed answer never leaves": StageDefect(delayed_answer_never_leaves, ("29", "30", "31", "32")),
}
