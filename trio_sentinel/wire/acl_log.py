"""What ACL LOG shows: the recent refusals, newest first, in a bounded number (commands.md 6.4)."""

from __future__ import annotations

from typing import Final

from attrs import Factory, define, evolve, field, frozen

from trio_sentinel.model.values import Millis
from trio_sentinel.wire import resp

_MERGED_WITHIN_MS: Final = 60_000
_LOOKED_AT: Final = 10  # entries that a new refusal may be merged with


@frozen(kw_only=True)
class Refusal:
    """One entry. `reason` is ``command``, ``channel`` or ``auth``; times are of the wall clock."""

    reason: str
    object: bytes
    user: bytes
    client: bytes
    count: int = 1
    number: int = 0
    created_at_ms: Millis
    updated_at_ms: Millis

    def is_like(self, other: Refusal) -> bool:
        """Whether `other` counts as the same one, some time later."""
        alike = (self.reason, self.object, self.user) == (other.reason, other.object, other.user)
        return alike and abs(other.created_at_ms - self.updated_at_ms) <= _MERGED_WITHIN_MS

    def entry(self, now_ms: Millis, proto: int) -> bytes:
        """The map that ACL LOG shows."""
        pairs = [
            (resp.bulk("count"), resp.integer(self.count)),
            (resp.bulk("reason"), resp.bulk(self.reason)),
            (resp.bulk("context"), resp.bulk("toplevel")),
            (resp.bulk("object"), resp.bulk(self.object)),
            (resp.bulk("username"), resp.bulk(self.user)),
            (resp.bulk("age-seconds"), resp.double(max(0, now_ms - self.updated_at_ms) / 1000, proto)),
            (resp.bulk("client-info"), resp.bulk(self.client)),
            (resp.bulk("entry-id"), resp.integer(self.number)),
            (resp.bulk("timestamp-created"), resp.integer(self.created_at_ms)),
            (resp.bulk("timestamp-last-updated"), resp.integer(self.updated_at_ms)),
        ]
        return resp.mapping(pairs, proto)


@define(eq=False)
class AclLog:
    """The refusals that are still remembered."""

    limit: int
    """``acllog-max-len``."""
    entries: list[Refusal] = field(default=Factory(list), init=False)
    """Newest first."""
    _next_number: int = field(default=0, init=False)

    def note(self, refusal: Refusal) -> None:
        """Remember one more; a like one is counted instead, and moves to the front."""
        for place, known in enumerate(self.entries[:_LOOKED_AT]):
            if known.is_like(refusal):
                del self.entries[place]
                moved = evolve(known, count=known.count + 1, updated_at_ms=refusal.updated_at_ms, client=refusal.client)
                self.entries.insert(0, moved)
                return
        self.entries.insert(0, evolve(refusal, number=self._next_number))
        self._next_number += 1
        del self.entries[self.limit :]

    def clear(self) -> None:
        """ACL LOG RESET. Numbers are never given twice."""
        self.entries.clear()
