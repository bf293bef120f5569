"""trio-sentinel: Redis and Valkey Sentinel on Trio, as a daemon and as a library.

    async with trio_sentinel.open_sentinel("sentinel.conf") as sentinel:
        print(sentinel.masters["mymaster"].flags)
        await sentinel.address("mymaster").wait_value(lambda address: address.port != 6379)

The names are imported when they are first used, so that ``trio-sentinel --version`` need not load Trio.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trio_sentinel.app import Sentinel, open_sentinel
    from trio_sentinel.errors import CommandRefused, ConfigError, SentinelError, StartupError
    from trio_sentinel.model import events
    from trio_sentinel.model.values import Address, Level
    from trio_sentinel.model.views import MasterView, PeerView, ReplicaView
    from trio_sentinel.runtime.board import WatcherTooSlow
    from trio_sentinel.wire.bulletins import bulletins_of

_HOMES = {
    "Address": "trio_sentinel.model.values",
    "CommandRefused": "trio_sentinel.errors",
    "ConfigError": "trio_sentinel.errors",
    "Level": "trio_sentinel.model.values",
    "MasterView": "trio_sentinel.model.views",
    "PeerView": "trio_sentinel.model.views",
    "ReplicaView": "trio_sentinel.model.views",
    "Sentinel": "trio_sentinel.app",
    "SentinelError": "trio_sentinel.errors",
    "StartupError": "trio_sentinel.errors",
    "WatcherTooSlow": "trio_sentinel.runtime.board",
    "bulletins_of": "trio_sentinel.wire.bulletins",
    "events": "trio_sentinel.model",
    "open_sentinel": "trio_sentinel.app",
}

__all__ = [
    "Address",
    "CommandRefused",
    "ConfigError",
    "Level",
    "MasterView",
    "PeerView",
    "ReplicaView",
    "Sentinel",
    "SentinelError",
    "StartupError",
    "WatcherTooSlow",
    "bulletins_of",
    "events",
    "open_sentinel",
]


def __getattr__(name: str) -> Any:
    if name == "events":
        return importlib.import_module("trio_sentinel.model.events")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
