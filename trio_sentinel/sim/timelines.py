"""A run as a person reads it: time goes down, and each process has a column of its own."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from attrs import frozen

from trio_sentinel.model import events as e
from trio_sentinel.model.values import Address, Epoch, Kind, RunId
from trio_sentinel.sim.cluster import SERVER_PORT
from trio_sentinel.sim.options import OURS
from trio_sentinel.sim.runs import Report, server_host, server_ip
from trio_sentinel.sim.screen import wrapped_items

LEAST_WIDTH = 12
TIME_WIDTH = 9


@frozen
class Row:
    """One moment: what a process did, or what was done to the world (nobody)."""

    at_ms: int
    who: str | None
    text: str


class Names:
    """Short names: s1, s2 ... for sentinels; a1, a2 ... for the servers of the first master, b1 ... of the second."""

    def __init__(self, report: Report) -> None:
        self.sentinels = {f"10.9.1.{n + 1}": f"s{n + 1}" for n in range(report.options.sentinels)}
        self.servers: dict[Address, str] = {}
        self.numeric: dict[str, str] = {}
        """Numeric addresses, which servers with host names have, too."""
        for n in range(report.options.masters):
            for k in range(report.options.replicas + 1):
                short = f"{chr(ord('a') + n)}{k + 1}"
                self.servers[Address(server_host(report.options, n, k + 1), SERVER_PORT)] = short
                self.numeric[server_ip(n, k + 1)] = short
        self.ids: dict[RunId, str] = {}
        for told in report.told:
            if isinstance(told.event, e.SentinelRestored):
                self.ids.setdefault(told.event.my_id, self.sentinels[told.who])

    def server(self, address: Address | None) -> str:
        """A server's short name."""
        return "?" if address is None else self.servers.get(address, str(address))

    def who(self, run_id: RunId | None) -> str:
        """A sentinel's short name."""
        return "?" if run_id is None else self.ids.get(run_id, run_id[:6])

    def shortened(self, text: str) -> str:
        """Addresses in a text, by their short names. Longer ones first, or 10.0.0.1 would be found in 10.0.0.12."""
        long = {str(address): name for address, name in self.servers.items()}
        long |= {address.host: name for address, name in self.servers.items()} | self.sentinels | self.numeric
        for address in sorted(long, key=len, reverse=True):
            text = text.replace(address, long[address])
        return text


class Columns:
    """One for each process; when the screen is too narrow for that, the servers share one."""

    def __init__(self, names: Names, width: int) -> None:
        self.width = width
        sentinels, servers = list(names.sentinels.values()), list(names.servers.values())
        room = width - TIME_WIDTH - 2
        if room // (len(sentinels) + len(servers)) < LEAST_WIDTH:
            self.titles = [*sentinels, "servers"]
            self.places = {name: n for n, name in enumerate(sentinels)} | dict.fromkeys(servers, len(sentinels))
        else:
            self.titles = [*sentinels, *servers]
            self.places = {name: n for n, name in enumerate(self.titles)}
        self.share = max(LEAST_WIDTH, room // len(self.titles))

    @property
    def header(self) -> str:
        """The titles."""
        return f"{'seconds':>{TIME_WIDTH}}  " + "".join(f"{title:<{self.share}}" for title in self.titles).rstrip()

    def printed(self, row: Row) -> Iterator[str]:
        """One row, wrapped when it is too long."""
        clock = f"{(row.at_ms - 1_000_000) / 1000:>{TIME_WIDTH}.3f}  "
        indent = 0 if row.who is None else self.share * self.places[row.who]
        room = max(self.width - len(clock) - indent, 2 * LEAST_WIDTH)
        for n, line in enumerate(textwrap.wrap(row.text, room) or [""]):
            yield f"{clock if n == 0 else ' ' * len(clock)}{' ' * indent}{line}"


def timeline(report: Report, *, width: int = 120, last: int | None = None) -> Iterator[str]:
    """The whole run, or its `last` rows, for a screen of `width` columns; and which writes it lost."""
    names = Names(report)
    columns = Columns(names, width)
    kinds = [*report.options.members, *[OURS] * len(names.sentinels)]
    sentinels = [f"{short} ({kind})" for short, kind in zip(names.sentinels.values(), kinds, strict=False)]
    servers = [f"{short} {address}" for address, short in names.servers.items()]
    yield from wrapped_items(sentinels, width, first="Sentinels: ", indent=11)
    yield from wrapped_items(servers, width, first="Servers:   ", indent=11)
    yield ""
    yield columns.header
    rows = _rows(report, names)
    shown = rows if last is None else rows[max(0, len(rows) - last) :]
    if len(shown) < len(rows):
        yield f"{'...':>{TIME_WIDTH}}  {len(rows) - len(shown)} rows before these are left out"
    for row in shown:
        yield from columns.printed(row)
    for loss in report.losses:
        yield loss.told(names.server)


def _rows(report: Report, names: Names) -> list[Row]:
    notes = [Row(at_ms, None, f"*** {names.shortened(text)}") for at_ms, text in report.notes]
    verdict = [notes.pop()] if report.broken is not None and notes else []
    rows = notes
    for at_ms, server, master in report.moves:
        short = names.server(server)
        rows.append(
            Row(at_ms, short, f"{short} {'is a master' if master is None else f'follows {names.server(master)}'}")
        )
    for told in report.told:
        tell = TELLING.get(type(told.event))
        if tell is not None:
            rows.append(Row(told.at_ms, names.sentinels[told.who], tell(names, told.event)))
    return sorted(rows, key=lambda row: row.at_ms) + verdict


def _about(names: Names, event: e.WentDown | e.CameBack) -> str:
    if event.run_id is not None:
        return names.who(event.run_id)
    if event.subject.kind is Kind.MASTER:
        return f"master {names.server(event.address)}"
    return names.server(event.address)


def _epoch(epoch: Epoch) -> str:
    return f"epoch {epoch}"


Telling = Callable[[Names, Any], str]
TELLING: dict[type[e.Event], Telling] = {
    e.SentinelRestored: lambda names, event: f"starts, {_epoch(event.current_epoch)}",
    e.MasterRemoved: lambda names, event: f"forgets {event.subject.master}",
    e.MasterReset: lambda names, event: f"resets {event.subject.master}",
    e.SettingChanged: lambda names, event: f"sets {' '.join(event.words)}",
    e.DiskFailed: lambda names, event: "cannot save",
    e.DiskRecovered: lambda names, event: "can save again",
    e.ReplicaFound: lambda names, event: f"finds {names.server(event.address)}",
    e.PeerFound: lambda names, event: f"meets {names.who(event.run_id)} for {event.subject.master}",
    e.PeerEvicted: lambda names, event: f"evicts {names.who(event.run_id)}",
    e.RoleReported: lambda names, event: f"{names.server(event.address)} says {event.role.name.lower()}",
    e.ReplicaConverted: lambda names, event: f"converts {names.server(event.address)}",
    e.ReplicaRepointed: lambda names, event: f"repoints {names.server(event.address)}",
    e.MasterSwitched: lambda names, event: (
        f"SWITCHES {names.server(event.old)} to {names.server(event.new)}, {_epoch(event.config_epoch)}"
    ),
    e.ConfigEpochAdopted: lambda names, event: f"configuration {_epoch(event.epoch)}",
    e.WentDown: lambda names, event: f"{_about(names, event)} down",
    e.CameBack: lambda names, event: f"{_about(names, event)} back",
    e.AgreedDown: lambda names, event: f"AGREED DOWN {event.subject.master} {event.agreed}/{event.quorum}",
    e.NoLongerAgreed: lambda names, event: f"not agreed any more: {event.subject.master}",
    e.TiltEntered: lambda names, event: "TILT",
    e.TiltExited: lambda names, event: "TILT over",
    e.VoteCast: lambda names, event: f"votes {names.who(event.candidate)} in {_epoch(event.epoch)}",
    e.FailoverStarted: lambda names, event: f"STANDS {event.manner.value}, {_epoch(event.epoch)}",
    e.LeaderElected: lambda names, event: f"LEADER with {event.votes} of {event.voters}",
    e.FailoverAborted: lambda names, event: f"gives up: {event.reason.value}",
    e.ReplicaSelected: lambda names, event: f"selects {names.server(event.address)}",
    e.PromotionSent: lambda names, event: f"promotes {names.server(event.address)}",
    e.PromotionSeen: lambda names, event: f"sees {names.server(event.address)} promoted",
    e.PromotionPublished: lambda names, event: "tells the promotion",
    e.ReconfSent: lambda names, event: f"brings over {names.server(event.address)}",
    e.ReconfTimedOut: lambda names, event: f"{names.server(event.address)} did not come",
    e.ReconfDone: lambda names, event: f"{names.server(event.address)} follows",
    e.FailoverEnded: lambda names, event: "ends" + (" (out of time)" if event.timed_out else ""),
}
"""What is worth a row, and in which words."""
