"""Event -> bulletins: the channel, the level and the text that operators and client libraries know.

1. One table, one row per event; a row may yield several bulletins or none.
2. Names and texts are stock's (core.md 16, config-and-events.md 3.4): `slave` lives here, never `replica`.
3. A bulletin without a channel is a log line only.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from attrs import frozen

from trio_sentinel.model import events as e
from trio_sentinel.model.state import Manner
from trio_sentinel.model.values import Address, Kind, Level, Subject

MAX_TEXT: Final = 1023  # bytes of a payload, instance text included; the rest is cut off

DEBUG, VERBOSE, NOTICE, WARNING = Level.DEBUG, Level.VERBOSE, Level.NOTICE, Level.WARNING


@frozen
class Bulletin:
    """One emission. ``payload`` holds at most MAX_TEXT bytes; bytes that are no UTF-8 are surrogate-escaped."""

    level: Level
    channel: str | None
    payload: str
    scripted: bool
    """Whether the notification script of its master hears of it."""

    @property
    def line(self) -> str:
        """The text for the log."""
        return self.payload if self.channel is None else f"{self.channel} {self.payload}"

    @property
    def published(self) -> bool:
        """Whether subscribers hear of it, whatever the log level is."""
        return self.channel is not None and self.level is not DEBUG


Bulletins: TypeAlias = tuple[Bulletin, ...]


def cut(text: str) -> str:
    """`text` without what lies beyond MAX_TEXT bytes; a character may be cut in two, as stock does."""
    if len(text) * 4 <= MAX_TEXT:
        return text
    data = text.encode("utf-8", "surrogateescape")
    return text if len(data) <= MAX_TEXT else data[:MAX_TEXT].decode("utf-8", "surrogateescape")


def bulletin(level: Level, channel: str, payload: str, *, scripted: bool | None = None) -> Bulletin:
    """A bulletin whose text is cut. Every warning is `scripted` unless told otherwise: only those without an
    instance are not."""
    return Bulletin(level, channel, cut(payload), level is WARNING if scripted is None else scripted)


def log_line(level: Level, text: str) -> Bulletin:
    """A line for the log that nobody can subscribe to."""
    return Bulletin(level, None, text, False)


def bulletins_of(event: e.Event) -> Bulletins:
    """What is told about `event`, in the order of stock."""
    return TABLE[type(event)](event)


Facts: TypeAlias = dict[str, "str | int | bool | list[str] | None"]
"""Fields of a log line, ready for JSON."""


def facts_of(event: e.Event) -> Facts:
    """The fields of `event` for a log that machines read: whose it is, and every plain value.

    Settings and snapshots are left out: they hold passwords.
    """
    facts: Facts = {"fact": type(event).__name__}
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if name == "subject" and isinstance(value, Subject):
            facts |= {"master": value.master, "instance": value.kind.value, "name": value.name}
            facts |= {"host": value.host, "port": value.port}
        elif isinstance(value, enum.Enum):
            facts[name] = value.value
        elif isinstance(value, Subject | Address):
            facts[name] = str(value)
        elif value is None or isinstance(value, str | int):
            facts[name] = value
        elif isinstance(value, tuple) and all(isinstance(item, str | Address) for item in value):
            facts[name] = [str(item) for item in value]
    return facts


# ---------------------------------------------------------------- rows: shapes


_Row: TypeAlias = Callable[[Any], Bulletins]


def _silent(event: e.Event) -> Bulletins:
    """Nobody is told."""
    return ()


def _about_subject(*rows: tuple[Level, str]) -> _Row:
    """The instance text and nothing else, on each of the channels."""

    def tell(event: Any) -> Bulletins:
        text = str(event.subject)
        return tuple([bulletin(level, channel, text) for level, channel in rows])

    return tell


# ---------------------------------------------------------------- rows: configuration


def _sentinel_restored(event: e.SentinelRestored) -> Bulletins:
    return (log_line(NOTICE, f"Sentinel ID is {event.my_id}"),)


def _master_monitored(event: e.MasterMonitored) -> Bulletins:
    told = bulletin(WARNING, "+monitor", f"{event.subject} quorum {event.snapshot.settings.quorum}")
    if event.twin is None:
        return (told,)
    first, second = sorted((event.subject.name, event.twin))
    warning = f"WARNING: {first} and {second} are at the same address: other sentinels that ask hear of {first} only"
    return (told, log_line(WARNING, warning))


def _setting_changed(event: e.SettingChanged) -> Bulletins:
    return (bulletin(WARNING, "+set", " ".join((str(event.subject), *event.words))),)


_STEP_AND_CAUSE: Final = re.compile(r".*\((?P<cause>[^()]+)\)")


def _disk_failed(event: e.DiskFailed) -> Bulletins:
    """The failed step with its cause in brackets when the reason says so, then the warning (2.5)."""
    warning = "WARNING: Sentinel was not able to save the new configuration on disk!!!: "
    step = _STEP_AND_CAUSE.fullmatch(event.reason)
    if step is None:
        return (log_line(WARNING, warning + event.reason),)
    return (log_line(WARNING, event.reason), log_line(WARNING, warning + step["cause"]))


# ---------------------------------------------------------------- rows: topology


def _peer_moved(event: e.PeerMoved) -> Bulletins:
    text = f"{event.subject} ip {event.shown_host} port {event.address.port} for {event.run_id}"
    return (bulletin(NOTICE, "+sentinel-address-switch", text),)


def _peer_address_spread(event: e.PeerAddressSpread) -> Bulletins:
    if event.count == 0:
        return ()
    text = f"{event.subject} {event.count} additional matching instances"
    return (bulletin(NOTICE, "+sentinel-address-update", text),)


def _role_reported(event: e.RoleReported) -> Bulletins:
    """Plus when the role is the one this instance should have, minus when it contradicts (core.md 5.2)."""
    wanted = "master" if event.subject.kind is Kind.MASTER else "slave"
    sign = "+" if event.role.value == wanted else "-"
    return (bulletin(VERBOSE, f"{sign}role-change", f"{event.subject} new reported role is {event.role.value}"),)


def _master_switched(event: e.MasterSwitched) -> Bulletins:
    """Each replica is told anew, already under the new master (core.md 12)."""
    told = [] if event.by is None else [bulletin(WARNING, "+config-update-from", str(event.by))]
    name, old, new = event.subject.name, event.old, event.new
    text = f"{name} {event.shown_old_host} {old.port} {event.shown_new_host} {new.port}"
    told.append(bulletin(WARNING, "+switch-master", text))
    told += [_slave(subject) for subject in event.replica_subjects]
    return tuple(told)


def _slave(subject: Subject) -> Bulletin:
    return bulletin(NOTICE, "+slave", str(subject))


# ---------------------------------------------------------------- rows: detection


def _agreed_down(event: e.AgreedDown) -> Bulletins:
    return (bulletin(WARNING, "+odown", f"{event.subject} #quorum {event.agreed}/{event.quorum}"),)


def _tilt_entered(event: e.TiltEntered) -> Bulletins:
    return (bulletin(WARNING, "+tilt", "#tilt mode entered", scripted=False),)


def _tilt_exited(event: e.TiltExited) -> Bulletins:
    return (bulletin(WARNING, "-tilt", "#tilt mode exited", scripted=False),)


# ---------------------------------------------------------------- rows: election and failover


def _epoch_raised(event: e.EpochRaised) -> Bulletins:
    return (bulletin(WARNING, "+new-epoch", str(event.epoch)),)


def _vote_cast(event: e.VoteCast) -> Bulletins:
    return (bulletin(WARNING, "+vote-for-leader", f"{event.candidate} {event.epoch}"),)


def _failover_started(event: e.FailoverStarted) -> Bulletins:
    told = bulletin(WARNING, "+try-failover", str(event.subject))
    if event.manner is Manner.AUTOMATIC:
        return (told,)
    return (log_line(NOTICE, f"Executing user requested FAILOVER of '{event.subject.name}'"), told)


def _failover_aborted(event: e.FailoverAborted) -> Bulletins:
    return (bulletin(WARNING, f"-failover-abort-{event.reason.value}", str(event.subject)),)


def _promotion_published(event: e.PromotionPublished) -> Bulletins:
    return (bulletin(WARNING, "+promoted-slave", str(event.replica)),)


def _reconf_sent(event: e.ReconfSent) -> Bulletins:
    channel = "+slave-reconf-sent-be" if event.best_effort else "+slave-reconf-sent"
    return (bulletin(NOTICE, channel, str(event.subject)),)


def _failover_ended(event: e.FailoverEnded) -> Bulletins:
    text = str(event.subject)
    end = bulletin(WARNING, "+failover-end", text)
    return (bulletin(WARNING, "+failover-end-for-timeout", text), end) if event.timed_out else (end,)


TABLE: Final[dict[type[e.Event], _Row]] = {
    e.SentinelRestored: _sentinel_restored,
    e.MasterMonitored: _master_monitored,
    e.MasterRemoved: _about_subject((WARNING, "-monitor")),
    e.MasterReset: _about_subject((WARNING, "+reset-master")),
    e.SettingChanged: _setting_changed,
    e.GlobalsChanged: _silent,
    e.TimingChanged: _silent,
    e.CrashPointsSet: _silent,
    e.FlushOrdered: _silent,
    e.NameLearnt: _silent,
    e.DiskFailed: _disk_failed,
    e.DiskRecovered: _silent,
    e.ReplicaFound: _about_subject((NOTICE, "+slave")),
    e.PeerFound: _about_subject((NOTICE, "+sentinel")),
    e.PeerMoved: _peer_moved,
    e.PeerAddressSpread: _peer_address_spread,
    e.PeerEvicted: _about_subject((NOTICE, "+sentinel-invalid-addr")),
    e.ServerRebooted: _about_subject((NOTICE, "+reboot")),
    e.ServerIdentified: _silent,
    e.RebootOver: _silent,
    e.RoleReported: _role_reported,
    e.ReplicaConverted: _about_subject((NOTICE, "+convert-to-slave")),
    e.ReplicaRepointed: _about_subject((NOTICE, "+fix-slave-config")),
    e.MasterSwitched: _master_switched,
    e.ConfigEpochAdopted: _silent,
    e.WentDown: _about_subject((WARNING, "+sdown")),
    e.CameBack: _about_subject((WARNING, "-sdown")),
    e.AgreedDown: _agreed_down,
    e.NoLongerAgreed: _about_subject((WARNING, "-odown")),
    e.TiltEntered: _tilt_entered,
    e.TiltExited: _tilt_exited,
    e.EpochRaised: _epoch_raised,
    e.VoteCast: _vote_cast,
    e.FailoverStarted: _failover_started,
    e.VoteSaved: _silent,
    e.LeaderElected: _about_subject((WARNING, "+elected-leader")),
    e.SelectionBegun: _about_subject((WARNING, "+failover-state-select-slave")),
    e.FailoverAborted: _failover_aborted,
    e.ReplicaSelected: _about_subject((WARNING, "+selected-slave"), (NOTICE, "+failover-state-send-slaveof-noone")),
    e.WritersPaused: _silent,
    e.PromotionSent: _about_subject((NOTICE, "+failover-state-wait-promotion")),
    e.PromotionSeen: _silent,  # not on disk yet: PromotionPublished tells it
    e.PromotionPublished: _promotion_published,
    e.ReconfigurationBegun: _about_subject((WARNING, "+failover-state-reconf-slaves")),
    e.ReconfSent: _reconf_sent,
    e.ReconfInProgress: _about_subject((NOTICE, "+slave-reconf-inprog")),
    e.ReconfDone: _about_subject((NOTICE, "+slave-reconf-done")),
    e.ReconfTimedOut: _about_subject((NOTICE, "-slave-reconf-sent-timeout"), (NOTICE, "+slave-reconf-sent")),
    e.FailoverEnded: _failover_ended,
}
