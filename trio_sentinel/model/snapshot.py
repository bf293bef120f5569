"""What must survive a crash, as one frozen value: the part of the state that sentinel.conf holds.

``wire/conf.py`` turns it into text and back; ``model/replay.py`` turns it into events that rebuild the state.
"""

from __future__ import annotations

from attrs import frozen

from trio_sentinel.model.settings import GlobalSettings, MasterSettings
from trio_sentinel.model.values import Address, Epoch, RunId


@frozen(kw_only=True)
class MasterSnapshot:
    """One master as the file knows it. ``address`` is the promoted replica's from the promotion on (core.md 15)."""

    name: str
    address: Address
    settings: MasterSettings
    config_epoch: Epoch = 0
    leader_epoch: Epoch = 0
    replicas: tuple[Address, ...] = ()
    peers: tuple[tuple[RunId, Address], ...] = ()


@frozen(kw_only=True)
class Snapshot:
    """Everything that is written to sentinel.conf by the sentinel itself; ``my_id`` is None before the first start."""

    my_id: RunId | None
    current_epoch: Epoch
    settings: GlobalSettings
    masters: tuple[MasterSnapshot, ...] = ()
