"""The name service: servers have host names in some runs, and whoever asks is answered late, wrongly or not at all.

In such a run the place of a server in the network is its name, and it is known and announces itself by that name; what
is answered is a numeric address that leads to the place. Servers among themselves are never misled: how a replica finds
its master is no matter of sentinels.
"""

from __future__ import annotations

import random

from attrs import Factory, define

DEADLINE_MS = 5000
"""Whoever asks gives up after so long, as the resolver of the daemon does."""
SOON_MS = (0, 3)


@define(eq=False)
class Names:
    """What the name service knows, and what is wrong with it now."""

    addresses: dict[str, str] = Factory(dict)
    """The truth: host name -> numeric address. Empty in a run without names."""
    places: dict[str, str] = Factory(dict)
    """Numeric address -> place in the network."""
    wrong: dict[str, str] = Factory(dict)
    """What is answered instead of the truth."""
    failing: set[str] = Factory(set)
    """Names for which there is no answer."""
    delay_ms: tuple[int, int] = SOON_MS

    def add(self, host: str, ip: str) -> None:
        """A host has a name."""
        self.addresses[host] = ip
        self.places[ip] = host

    def length_ms(self, dice: random.Random) -> int:
        """How long it takes until somebody who asks now knows more, or has given up."""
        return min(dice.randint(*self.delay_ms), DEADLINE_MS)

    def answer(self, host: str) -> str | None:
        """The numeric address of a host, as it is told now."""
        return None if host in self.failing else self.wrong.get(host, self.addresses.get(host))

    def place(self, ip: str) -> str:
        """Where a numeric address leads; addresses without a name are places themselves."""
        return self.places.get(ip, ip)

    def heal(self) -> None:
        """Everybody is told the truth, and soon."""
        self.wrong.clear()
        self.failing.clear()
        self.delay_ms = SOON_MS
