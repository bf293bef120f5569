"""Fold events into state: at start-up from the file, in tests, and to explain a failover."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from trio_sentinel.model.decide.administration import subject_of_new
from trio_sentinel.model.events import Event, MasterMonitored, SentinelRestored
from trio_sentinel.model.evolve import evolve
from trio_sentinel.model.settings import Timing
from trio_sentinel.model.situation import Situation
from trio_sentinel.model.snapshot import MasterSnapshot, Snapshot
from trio_sentinel.model.state import Master, ReconfiguringReplicas, SentinelState, UpdatingConfig
from trio_sentinel.model.values import Address, Epoch, Millis, RunId

NOT_YET = RunId("0" * 40)
"""The identity of a state into which no SentinelRestored was folded."""


def replay(events: Iterable[Event]) -> SentinelState:
    """The state that `events`, complete and in order, lead to."""
    state = SentinelState(my_id=NOT_YET)
    for event in events:
        evolve(state, event)
    return state


def master_events(s: Situation, snapshot: Snapshot, now_ms: Millis) -> Iterator[Event]:
    """What rebuilds the masters of a configuration file, after SentinelRestored was applied. A master among its own
    replicas, and ourselves among the peers, are lines that nobody should have written."""
    names: dict[tuple[str, int], str] = {}
    for line in snapshot.masters:
        place = s.state.place(line.address)
        known = attrs.evolve(
            line,
            replicas=tuple(address for address in line.replicas if address != line.address),
            peers=tuple(peer for peer in line.peers if peer[0] != s.state.my_id),
        )
        yield MasterMonitored(subject=subject_of_new(s, known), snapshot=known, at_ms=now_ms, twin=names.get(place))
        names[place] = min(line.name, names.get(place, line.name))


def restored(snapshot: Snapshot, my_id: RunId, own_port: int, timing: Timing) -> SentinelRestored:
    """What rebuilds the process-wide part. The epoch is raised to every epoch the file names (core.md 9)."""
    epochs = [snapshot.current_epoch]
    for known in snapshot.masters:
        epochs += (known.config_epoch, known.leader_epoch)
    return SentinelRestored(
        my_id=my_id,
        own_port=own_port,
        current_epoch=max(epochs),
        settings=snapshot.settings,
        timing=timing,
    )


def snapshot_of(state: SentinelState) -> Snapshot:
    """What must be on disk now (core.md 15): from the promotion on, the promoted replica is written as the master."""
    return Snapshot(
        my_id=state.my_id,
        current_epoch=state.current_epoch,
        settings=state.settings,
        masters=tuple(_master_snapshot(master) for master in state.masters.values()),
    )


def _master_snapshot(master: Master) -> MasterSnapshot:
    address, config_epoch = _configuration_to_save(master)
    return MasterSnapshot(
        name=master.name,
        address=address,
        settings=master.settings,
        config_epoch=config_epoch,
        leader_epoch=master.leader_epoch,
        replicas=tuple(master.address if replica == address else replica for replica in master.replicas),
        peers=tuple((run_id, peer.address) for run_id, peer in master.peers.items()),
    )


def _configuration_to_save(master: Master) -> tuple[Address, Epoch]:
    """From the promotion on, the promoted replica under the epoch of the failover: saved before it is told."""
    if master.failover is not None:
        match master.failover.phase:
            case ReconfiguringReplicas(promoted, _) | UpdatingConfig(promoted):
                return promoted, master.failover.epoch
            case _:
                pass
    return master.address, master.config_epoch
