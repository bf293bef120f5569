"""What operators ask for: MONITOR, SET, REMOVE, RESET, FAILOVER and the rest (commands.md 7).

Each function returns the events that follow, or the refusal as data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import attrs

from trio_sentinel.model.events import (
    CrashPointsSet,
    Event,
    FlushOrdered,
    GlobalsChanged,
    MasterMonitored,
    MasterRemoved,
    MasterReset,
    SettingChanged,
    TimingChanged,
)
from trio_sentinel.model.inputs import (
    CrashPointsSetAsked,
    FailoverAsked,
    GlobalsSetAsked,
    MonitorAsked,
    RemoveAsked,
    ResetAsked,
    SetAsked,
    TimingSetAsked,
)
from trio_sentinel.model.ranking import rank
from trio_sentinel.model.refusals import Refusal
from trio_sentinel.model.settings import MasterSettings
from trio_sentinel.model.situation import Situation
from trio_sentinel.model.snapshot import MasterSnapshot
from trio_sentinel.model.state import Manner, Master
from trio_sentinel.model.values import MAX_EPOCH, Kind, Subject

Verdict: TypeAlias = tuple[Event, ...] | Refusal
Start = Callable[[Situation, Master, Manner], Iterator[Event]]


def monitor(s: Situation, asked: MonitorAsked) -> Verdict:
    """Watch another master. It starts with the current epoch as its vote's, so that a master that is removed and
    monitored again cannot be voted for twice in one epoch (core.md Q25)."""
    if asked.name in s.state.masters:
        return Refusal.DUPLICATE_MASTER
    timing = s.state.timing
    known = MasterSnapshot(
        name=asked.name,
        address=asked.address,
        settings=MasterSettings(
            quorum=asked.quorum,
            down_after_ms=timing.default_down_after_ms,
            failover_timeout_ms=timing.default_failover_timeout_ms,
        ),
        leader_epoch=s.state.current_epoch,
    )
    twins = [name for name, other in s.state.masters.items() if s.state.same_address(other.address, asked.address)]
    subject, twin = subject_of_new(s, known), min(twins, default=None)
    return MasterMonitored(subject=subject, snapshot=known, at_ms=s.now_ms, twin=twin), FlushOrdered()


def subject_of_new(s: Situation, known: MasterSnapshot) -> Subject:
    """The subject of a master that is about to be monitored."""
    host = s.state.shown(known.address.host)
    port = known.address.port
    return Subject(
        kind=Kind.MASTER, name=known.name, host=host, port=port, master=known.name, master_host=host, master_port=port
    )


def remove(
    s: Situation, asked: RemoveAsked, bequeath: Callable[[Situation, Master], Iterator[Event]]
) -> Verdict:
    """Forget a master, but not a vote: `bequeath` is ``agreement.bequeath``."""
    master = s.state.masters.get(asked.name)
    if master is None:
        return Refusal.NO_SUCH_MASTER
    return *bequeath(s, master), MasterRemoved(subject=s.state.subject_of_master(master))


def reset(s: Situation, asked: ResetAsked) -> Verdict:
    """Forget the replicas and peers of some masters, and a running failover."""
    masters = [s.state.masters[name] for name in asked.names if name in s.state.masters]
    return tuple(MasterReset(subject=s.state.subject_of_master(m), at_ms=s.now_ms) for m in masters)


def change_settings(s: Situation, asked: SetAsked) -> Verdict:
    """SENTINEL SET: one event for each group of words, in order."""
    master = s.state.masters.get(asked.name)
    if master is None:
        return Refusal.NO_SUCH_MASTER
    subject = s.state.subject_of_master(master)
    settings = master.settings
    events: list[Event] = []
    for words in asked.options:
        option = words[0].lower()
        settings = _SETTERS[option](settings, words[1:])
        told = (words[0], "******") if option == "auth-pass" else words
        events.append(SettingChanged(subject=subject, words=told, settings=settings))
    return tuple(events)


Setter: TypeAlias = Callable[[MasterSettings, tuple[str, ...]], MasterSettings]


def _number(field: str) -> Setter:
    return lambda settings, words: _with(settings, field, int(words[0]))


def _text(field: str) -> Setter:
    return lambda settings, words: _with(settings, field, words[0] or None)


def _with(settings: MasterSettings, field: str, value: Any) -> MasterSettings:
    return attrs.evolve(settings, **{field: value})


def _rename(settings: MasterSettings, words: tuple[str, ...]) -> MasterSettings:
    old, new = words
    kept = tuple(pair for pair in settings.renamed_commands if pair[0].lower() != old.lower())
    added = () if old.lower() == new.lower() else ((old, new),)
    return attrs.evolve(settings, renamed_commands=kept + added)


_SETTERS: dict[str, Setter] = {
    "down-after-milliseconds": _number("down_after_ms"),
    "failover-timeout": _number("failover_timeout_ms"),
    "parallel-syncs": _number("parallel_syncs"),
    "quorum": _number("quorum"),
    "master-reboot-down-after-period": _number("reboot_down_after_ms"),
    "primary-reboot-down-after-period": _number("reboot_down_after_ms"),
    "notification-script": _text("notification_script"),
    "client-reconfig-script": _text("client_reconfig_script"),
    "auth-pass": _text("auth_pass"),
    "auth-user": _text("auth_user"),
    "rename-command": _rename,
}


def change_globals(s: Situation, asked: GlobalsSetAsked) -> Verdict:
    """SENTINEL CONFIG SET."""
    return (GlobalsChanged(settings=asked.settings),)


def change_timing(s: Situation, asked: TimingSetAsked) -> Verdict:
    """SENTINEL DEBUG."""
    return (TimingChanged(timing=attrs.evolve(s.state.timing, **{asked.name: asked.value_ms})),)


def set_crash_points(s: Situation, asked: CrashPointsSetAsked) -> Verdict:
    """SENTINEL SIMULATE-FAILURE."""
    return (CrashPointsSet(after_election=asked.after_election, after_promotion=asked.after_promotion),)


def failover(s: Situation, asked: FailoverAsked, start: Start) -> Verdict:
    """SENTINEL FAILOVER: refuse what cannot work, else start at once (core.md 13.1, 13.3)."""
    master = s.state.masters.get(asked.name)
    if master is None:
        return Refusal.NO_SUCH_MASTER
    if asked.coordinated and s.server(master).failover_state is None:
        return Refusal.NO_HANDOVER
    if master.failover is not None:
        return Refusal.IN_PROGRESS
    if s.state.current_epoch >= MAX_EPOCH:
        return Refusal.NO_MORE_EPOCHS
    if rank(s, master).best is None:
        return Refusal.NO_GOOD_REPLICA
    if s.state.disk_failing:
        return Refusal.NOT_SAVED
    return tuple(start(s, master, Manner.COORDINATED if asked.coordinated else Manner.FORCED))
