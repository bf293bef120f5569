"""Silence: who is subjectively down, and who is back (core.md 7.1)."""

from __future__ import annotations

from collections.abc import Iterator

from trio_sentinel.model.events import CameBack, Event, WentDown
from trio_sentinel.model.observations import NEVER_MS, LinkSense
from trio_sentinel.model.situation import Situation
from trio_sentinel.model.state import Master
from trio_sentinel.model.values import Millis, Role


def silent_since(sense: LinkSense) -> Millis | None:
    """Since when the process owes us a sign of life; None when it owes nothing.

    The clock runs from the oldest unanswered PING, and from the loss of the connection when none was pending.
    """
    if sense.ping_since_ms is not None:
        return sense.ping_since_ms
    return None if sense.command.open else sense.last_ok_at_ms


def silent_due_ms(sense: LinkSense, down_after_ms: Millis) -> Millis:
    """When a process is down if nothing is heard of it before."""
    since_ms = silent_since(sense)
    return NEVER_MS if since_ms is None else since_ms + down_after_ms + 1


def _silent(sense: LinkSense, down_after_ms: Millis, now_ms: Millis) -> bool:
    since = silent_since(sense)
    return since is not None and now_ms - since > down_after_ms


def _master_down(s: Situation, master: Master) -> bool:
    down_after_ms = master.settings.down_after_ms
    if _silent(s.server(master), down_after_ms, s.now_ms):
        return True
    wrong_role_ms = down_after_ms + 2 * s.state.timing.info_period_ms
    if master.role is Role.REPLICA and s.now_ms - master.role_since_ms > wrong_role_ms:
        return True
    return (
        master.rebooting_since_ms is not None
        and s.now_ms - master.rebooting_since_ms > master.settings.reboot_down_after_ms
    )


def check(s: Situation, master: Master) -> Iterator[Event]:
    """WentDown and CameBack for the master, its replicas and its peers."""
    state = s.state
    down_after_ms = master.settings.down_after_ms
    down = _master_down(s, master)
    if down != master.s_down:
        subject = state.subject_of_master(master)
        if down:
            yield WentDown(subject=subject, address=master.address, run_id=None, at_ms=s.now_ms)
        else:
            yield CameBack(subject=subject, address=master.address, run_id=None)
    for replica in master.replicas.values():
        down = _silent(s.server(master, replica.address), down_after_ms, s.now_ms)
        if down != replica.s_down:
            subject = state.subject_of_replica(master, replica.address)
            if down:
                yield WentDown(subject=subject, address=replica.address, run_id=None, at_ms=s.now_ms)
            else:
                yield CameBack(subject=subject, address=replica.address, run_id=None)
    for peer in master.peers.values():
        down = _silent(s.peer(peer.run_id), down_after_ms, s.now_ms)
        if down != peer.s_down:
            subject = state.subject_of_peer(master, peer.run_id, peer.address)
            if down:
                yield WentDown(subject=subject, address=None, run_id=peer.run_id, at_ms=s.now_ms)
            else:
                yield CameBack(subject=subject, address=None, run_id=peer.run_id)


def due(s: Situation, master: Master) -> Iterator[Millis]:
    """When a master that is up goes down for what it says of itself; silence is watched at each link."""
    if master.s_down:
        return
    if master.role is Role.REPLICA:
        yield master.role_since_ms + master.settings.down_after_ms + 2 * s.state.timing.info_period_ms + 1
    if master.rebooting_since_ms is not None:
        yield master.rebooting_since_ms + master.settings.reboot_down_after_ms + 1
