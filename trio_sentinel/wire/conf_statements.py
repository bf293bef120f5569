"""The ``sentinel`` lines of sentinel.conf -> a `Snapshot` (config-and-events.md 1.3 and 1.5).

1. Three passes, in file order inside each: what is global, the masters, everything else. So order in a file is free.
2. Numbers are read strictly. Stock takes ``12abc`` for 12 and wraps at 32 bits; nothing writes such values.
3. An epoch outside 0..MAX_EPOCH is refused: taken over, it would spread to every other sentinel and stop the
   next failover; the operator must repair the file.
4. ``current-epoch`` becomes the largest of all epochs in the file, so that no vote can be given twice.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import define, evolve, field, frozen

from trio_sentinel.errors import ConfigError
from trio_sentinel.model.settings import GlobalSettings, MasterSettings
from trio_sentinel.model.snapshot import MasterSnapshot, Snapshot
from trio_sentinel.model.values import MAX_EPOCH, Address, Epoch, RunId, is_ip
from trio_sentinel.wire.directives import INT_MAX, BadValue

UNRECOGNIZED: Final = "Unrecognized sentinel configuration statement."
NO_SUCH_MASTER: Final = "No such master with specified name."
UNRESOLVED: Final = "Can't resolve instance hostname."
BAD_PORT: Final = "Invalid port number."
BAD_EPOCH: Final = f"Epoch must be between 0 and {MAX_EPOCH} inclusive."
RUN_ID_LENGTH: Final = 40


class Origin(enum.Enum):
    """Where a line came from. What an earlier start took over from the command line into the file may be repeated
    on the command line, with no effect; stock refuses its own file then."""

    FILE = enum.auto()  # and what the file includes
    COMMAND_LINE = enum.auto()  # options and standard input


@frozen
class Statement:
    """One ``sentinel`` line: its words without the first, and where it stood."""

    words: tuple[str, ...]
    line: int
    source: str
    origin: Origin


def read_int(word: str) -> int | None:
    """A decimal number with an optional sign, or None."""
    return int(word) if re.fullmatch(r"[+-]?[0-9]{1,20}", word, re.ASCII) else None


def numeric_host(host: str) -> str:
    """IPv6 in its shortest form, as servers report it; every other host unchanged."""
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return host
    return host if address.ipv4_mapped or address.scope_id else address.compressed


@define(eq=False)
class _Master:
    """A master while its lines are being read."""

    name: str
    address: Address
    settings: MasterSettings
    origin: Origin
    config_epoch: Epoch = 0
    leader_epoch: Epoch = 0
    replicas: list[Address] = field(factory=list)
    peers: dict[RunId, Address] = field(factory=dict)

    def set(self, **changes: Any) -> None:
        self.settings = evolve(self.settings, **changes)

    def snapshot(self) -> MasterSnapshot:
        return MasterSnapshot(
            name=self.name,
            address=self.address,
            settings=self.settings,
            config_epoch=self.config_epoch,
            leader_epoch=self.leader_epoch,
            replicas=tuple(self.replicas),
            peers=tuple(self.peers.items()),
        )


@define(eq=False, kw_only=True)
class Statements:
    """Applies the lines to an empty state."""

    is_executable: Callable[[str], bool]
    resolve: Callable[[str], str | None]
    settings: GlobalSettings = field(factory=GlobalSettings)
    my_id: RunId | None = None
    current_epoch: Epoch = 0
    masters: dict[str, _Master] = field(factory=dict)

    def applied(self, statements: Sequence[Statement]) -> Snapshot:
        """The state that the lines describe; raises `ConfigError`."""
        for number in (1, 2, 3):
            for statement in statements:
                if _pass_of(statement) == number:
                    try:
                        self._apply(statement)
                    except BadValue as problem:
                        raise ConfigError(str(problem), line=statement.line, source=statement.source) from None
        epochs = [epoch for master in self.masters.values() for epoch in (master.config_epoch, master.leader_epoch)]
        return Snapshot(
            my_id=self.my_id,
            current_epoch=max([self.current_epoch, *epochs]),
            settings=self.settings,
            masters=tuple(master.snapshot() for master in self.masters.values()),
        )

    def _apply(self, statement: Statement) -> None:
        name, values = statement.words[0].lower(), statement.words[1:]
        if name in _GLOBAL and len(values) == 1:
            _GLOBAL[name](self, values[0])
        elif name == "monitor" and len(values) == 4:
            self._monitor(values, statement.origin)
        elif name == "known-sentinel" and len(values) == 3:
            return  # the form without run id, of Redis 2.8.0: forgotten without a look
        elif name in _OF_MASTER and len(values) == _OF_MASTER[name][0]:
            if values[0] not in self.masters:
                raise BadValue(NO_SUCH_MASTER)
            _OF_MASTER[name][1](self, self.masters[values[0]], values[1:], statement.origin)
        else:
            raise BadValue(UNRECOGNIZED)

    # ------------------------------------------------------------ addresses

    def _address(self, host: str, port: str) -> Address:
        number = read_int(port)
        if number is None or not 0 <= number <= 65535:
            raise BadValue(BAD_PORT)
        if not host or not (self.settings.resolve_hostnames or is_ip(host)):
            raise BadValue(UNRESOLVED)
        return Address(numeric_host(host), number)

    def _same_server(self, one: Address, other: Address) -> bool:
        """Whether two different spellings lead to one server; asks the resolver only where names may differ."""
        if one.port != other.port or (is_ip(one.host) and is_ip(other.host)):
            return False
        hosts = [a.host if is_ip(a.host) else self.resolve(a.host) for a in (one, other)]
        return hosts[0] is not None and hosts[0] == hosts[1]

    # ------------------------------------------------------------ pass 1 and 2

    def _set(self, **changes: Any) -> None:
        self.settings = evolve(self.settings, **changes)

    def _my_id(self, value: str) -> None:
        if len(value) != RUN_ID_LENGTH:
            raise BadValue("Malformed Sentinel id in myid option.")
        self.my_id = RunId(value)

    def _current_epoch(self, value: str) -> None:
        self.current_epoch = max(self.current_epoch, _epoch(value))

    def _announce_port(self, value: str) -> None:
        port = read_int(value)
        if port is None or not 0 <= port <= 65535:
            raise BadValue(BAD_PORT)
        self._set(announce_port=port)

    def _announce_ip(self, value: str) -> None:
        if value:
            self._set(announce_ip=value)

    def _sentinel_user(self, value: str) -> None:
        if value:
            self._set(sentinel_user=value)

    def _sentinel_pass(self, value: str) -> None:
        if value:
            self._set(sentinel_pass=value)

    def _deny_scripts_reconfig(self, value: str) -> None:
        self._set(deny_scripts_reconfig=_yes_no(value, "deny-scripts-reconfig options"))

    def _resolve_hostnames(self, value: str) -> None:
        self._set(resolve_hostnames=_yes_no(value, "resolve-hostnames option"))

    def _announce_hostnames(self, value: str) -> None:
        self._set(announce_hostnames=_yes_no(value, "announce-hostnames option"))

    def _monitor(self, values: Sequence[str], origin: Origin) -> None:
        name, host, port, wanted = values
        quorum = read_int(wanted)
        if quorum is None or not 1 <= quorum <= INT_MAX:
            raise BadValue("Quorum must be 1 or greater.")
        address = self._address(host, port)
        known = self.masters.get(name)
        if known is None:
            self.masters[name] = _Master(name, address, MasterSettings(quorum=quorum), origin)
        elif known.origin is origin:
            raise BadValue("Duplicate master name.")
        # Otherwise an earlier start has taken it over into the file, and its address may have moved since.

    # ------------------------------------------------------------ pass 3

    def _down_after(self, master: _Master, values: Sequence[str], origin: Origin) -> None:
        master.set(down_after_ms=_positive_ms(values[0]))

    def _failover_timeout(self, master: _Master, values: Sequence[str], origin: Origin) -> None:
        master.set(failover_timeout_ms=_positive_ms(values[0]))

    def _reboot_down_after(self, master: _Master, values: Sequence[str], origin: Origin) -> None:
        period = read_int(values[0])
        if period is None or not 0 <= period <= INT_MAX:
            raise BadValue("negative time parameter.")
        master.set(reboot_down_after_ms=period)

    def _parallel_syncs(self, master: _Master, values: Sequence[str], origin: Origin) -> None:
        number = read_int(values[0])
        if number is None or not -INT_MAX <= number <= INT_MAX:
            raise BadValue("parallel-syncs must be a number.")
        master.set(parallel_syncs=number)

    def _notification_script(self, master: _Master, values: Sequence[str], origin: Origin) -> None:
        if not self.is_executable(values[0]):
            raise BadValue("Notification script seems non existing or non executable.")
        master.set(notification_script=values[0])

    def _client_reconfig_script(self, master: _Master, values: Sequence[str], origin: Origin) -> None:
        if not self.is_executable(values[0]):
            raise BadValue("Client reconfiguration script seems non existing or non executable.")
        master.set(client_reconfig_script=values[0])

    def _auth_pass(self, master: _Master, values: Sequence[str], origin: Origin) -> None:
        master.set(auth_pass=values[0])

    def _auth_user(self, master: _Master, values: Sequence[str], origin: Origin) -> None:
        master.set(auth_user=values[0])

    def _config_epoch(self, master: _Master, values: Sequence[str], origin: Origin) -> None:
        master.config_epoch = _epoch(values[0])

    def _leader_epoch(self, master: _Master, values: Sequence[str], origin: Origin) -> None:
        master.leader_epoch = _epoch(values[0])

    def _rename_command(self, master: _Master, values: Sequence[str], origin: Origin) -> None:
        pairs = master.settings.renamed_commands
        for old, new in pairs:
            if old.lower() == values[0].lower():
                if origin is Origin.COMMAND_LINE and new == values[1]:
                    return
                raise BadValue("Same command renamed multiple times with rename-command.")
        master.set(renamed_commands=(*pairs, (values[0], values[1])))

    def _known_replica(self, master: _Master, values: Sequence[str], origin: Origin) -> None:
        address = self._address(values[0], values[1])
        for known in master.replicas:
            if known.port == address.port and known.host.lower() == address.host.lower():
                if origin is Origin.COMMAND_LINE:
                    return
                raise BadValue("Duplicate hostname and port for replica.")
            if self._same_server(known, address):
                return  # names move: what was two servers when it was written must not stop the next start
        master.replicas.append(address)

    def _known_sentinel(self, master: _Master, values: Sequence[str], origin: Origin) -> None:
        address, run_id = self._address(values[0], values[1]), RunId(values[2])
        if run_id in master.peers:
            if origin is Origin.COMMAND_LINE:
                return
            raise BadValue("Duplicate runid for sentinel.")
        if run_id and run_id != self.my_id:  # ourselves as a peer would be a voter too many: core.md Q10
            master.peers[run_id] = address


def _pass_of(statement: Statement) -> int:
    name = statement.words[0].lower()
    return 1 if name in _GLOBAL else 2 if name == "monitor" else 3


def _epoch(value: str) -> Epoch:
    number = read_int(value)
    if number is None or not 0 <= number <= MAX_EPOCH:
        raise BadValue(BAD_EPOCH)
    return number


def _positive_ms(value: str) -> int:
    period = read_int(value)
    if period is None or not 1 <= period <= INT_MAX:
        raise BadValue("negative or zero time parameter.")
    return period


def _yes_no(value: str, option: str) -> bool:
    if value.lower() not in ("yes", "no"):
        raise BadValue(f"Please specify yes or no for the {option}.")
    return value.lower() == "yes"


_GLOBAL: Final[dict[str, Callable[[Statements, str], None]]] = {
    "announce-ip": Statements._announce_ip,
    "announce-port": Statements._announce_port,
    "deny-scripts-reconfig": Statements._deny_scripts_reconfig,
    "sentinel-user": Statements._sentinel_user,
    "sentinel-pass": Statements._sentinel_pass,
    "current-epoch": Statements._current_epoch,
    "myid": Statements._my_id,
    "resolve-hostnames": Statements._resolve_hostnames,
    "announce-hostnames": Statements._announce_hostnames,
}

_OF_MASTER: Final[dict[str, tuple[int, Callable[[Statements, _Master, Sequence[str], Origin], None]]]] = {
    "down-after-milliseconds": (2, Statements._down_after),
    "failover-timeout": (2, Statements._failover_timeout),
    "parallel-syncs": (2, Statements._parallel_syncs),
    "notification-script": (2, Statements._notification_script),
    "client-reconfig-script": (2, Statements._client_reconfig_script),
    "auth-pass": (2, Statements._auth_pass),
    "auth-user": (2, Statements._auth_user),
    "master-reboot-down-after-period": (2, Statements._reboot_down_after),
    "primary-reboot-down-after-period": (2, Statements._reboot_down_after),
    "config-epoch": (2, Statements._config_epoch),
    "leader-epoch": (2, Statements._leader_epoch),
    "rename-command": (3, Statements._rename_command),
    "known-replica": (3, Statements._known_replica),
    "known-slave": (3, Statements._known_replica),
    "known-sentinel": (4, Statements._known_sentinel),
}
"""Number of words, the master's name included, and what to do with those after it."""
