"""Replies in order, although some come later: the output of one connection before it is sent."""

from __future__ import annotations

import enum
from collections import deque
from typing import Final, TypeAlias

from attrs import Factory, define

NOTHING: Final = b""
"""The reply of a command that has written its frames itself, or answers nothing."""


class Mute(enum.Enum):
    """CLIENT REPLY."""

    NO = "on"
    NEXT = "skip the next"
    YES = "off"


@define(eq=False)
class Slot:
    """The place of a reply that is not known yet."""

    reply: bytes | None = None
    quiet: bool = False
    """The client does not want this reply (CLIENT REPLY)."""
    box: Outbox | None = None
    behind: list[bytes] = Factory(list)
    """What was written after this slot."""

    def fill(self, reply: bytes) -> bool:
        """Give the reply; True when somebody must now send what this set free."""
        self.reply = reply
        return self.box is not None


Reply: TypeAlias = bytes | Slot


@define(eq=False)
class Outbox:
    """What waits to be sent. Nothing overtakes an empty slot."""

    ready: list[bytes] = Factory(list)
    slots: deque[Slot] = Factory(deque)
    size: int = 0
    """Bytes written and not taken yet."""

    def write(self, data: bytes) -> None:
        """Add to the end."""
        self.size += len(data)
        (self.slots[-1].behind if self.slots else self.ready).append(data)

    def hold(self, slot: Slot) -> None:
        """Add a place to the end, or its reply when it is already known."""
        if slot.reply is not None:
            if not slot.quiet:
                self.write(slot.reply)
            return
        slot.box = self
        self.slots.append(slot)

    def take(self) -> bytes:
        """Everything up to the first empty slot; it is the caller's now."""
        while self.slots and self.slots[0].reply is not None:
            slot = self.slots.popleft()
            if not slot.quiet:
                self.size += len(slot.reply or b"")
                self.ready.append(slot.reply or b"")
            self.ready += slot.behind
        if not self.ready:
            return b""
        data = self.ready[0] if len(self.ready) == 1 else b"".join(self.ready)
        self.ready.clear()
        self.size -= len(data)
        return data
