"""Words of a client -> what is asked of the model, or the refusal stock would give (commands.md 7).

Every function takes the whole request, container and subcommand included, after its arity was checked.
A refusal is raised as `CommandRefused`; the order of the checks is stock's. Functions that need to know a
setting get it as an argument: nothing here looks at the state.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from attrs import evolve, frozen

from trio_sentinel.errors import CommandRefused
from trio_sentinel.model.inputs import (
    CrashPointsSetAsked,
    FailoverAsked,
    OpinionAsked,
    Request,
    SetAsked,
    TimingSetAsked,
)
from trio_sentinel.model.settings import GlobalSettings
from trio_sentinel.model.values import MAX_EPOCH, Hello, RunId
from trio_sentinel.wire.resp import Argv, strict_int, told

Make: TypeAlias = Callable[[int], Request]
"""A request that lacks only its number."""

HELLO_CHANNEL: Final = b"__sentinel__:hello"
MAX_QUORUM: Final = 2**31 - 1  # stock keeps 32 bits and wraps around; larger numbers are refused here
MAX_HELLO: Final = 2048
MAX_CANDIDATE: Final = 128
LOGLEVELS: Final = ("debug", "verbose", "notice", "warning", "nothing")

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_RUN_ID = re.compile(rb"[!-+\--~]{1,128}")
_HOST = re.compile(rb"[!-+\--~]{1,255}")

MASK: Final = "******"
"""Stands for a password where one would be shown."""

NOT_INTEGER: Final = "value is not an integer or out of range"
NO_SUCH_MASTER: Final = "No such master with that name"


def refuse(text: str) -> CommandRefused:
    """A refusal with the common code."""
    return CommandRefused("ERR", text)


def _no_control(argv: Argv, first: int, command: str) -> None:
    """Refuse control characters from word `first` on."""
    for index in range(first, len(argv)):
        if _CONTROL.search(argv[index]):
            place = f"Invalid argument at index {index} for SENTINEL {command}"
            raise refuse(f"{place}: control characters are not allowed")


# ---------------------------------------------------------------- peers


def hello(payload: bytes) -> Hello | None:
    """The hello in `payload`, or None when it is none: eight tokens, ports 0..65535, epochs 0..2^63-1 (core.md 6)."""
    tokens = payload.split(b",") if len(payload) <= MAX_HELLO else []
    if len(tokens) != 8 or not _RUN_ID.fullmatch(tokens[2]):
        return None
    host, _, run_id, _, master, master_host, _, _ = tokens
    if not _HOST.fullmatch(host) or not _HOST.fullmatch(master_host):
        return None
    ports = [strict_int(tokens[1]), strict_int(tokens[6])]
    epochs = [strict_int(tokens[3]), strict_int(tokens[7])]
    if not all(port is not None and 0 <= port <= 65535 for port in ports):
        return None
    if not all(epoch is not None and 0 <= epoch <= MAX_EPOCH for epoch in epochs):
        return None
    return Hello(
        host=told(host),
        port=ports[0] or 0,
        run_id=RunId(told(run_id)),
        current_epoch=epochs[0] or 0,
        master=told(master),
        master_host=told(master_host),
        master_port=ports[1] or 0,
        config_epoch=epochs[1] or 0,
    )


def opinion(argv: Argv) -> Make:
    """IS-MASTER-DOWN-BY-ADDR ip port epoch runid. Epochs outside 0..2^63-1 are refused (7.3, last point)."""
    port, epoch = strict_int(argv[3]), strict_int(argv[4])
    if port is None or epoch is None or epoch < 0:
        raise refuse(NOT_INTEGER)
    host = told(argv[2])
    # An id that cannot be one is answered like `*`: it must not reach the file or an event's text.
    candidate = None if argv[5] == b"*" or not _RUN_ID.fullmatch(argv[5]) else RunId(told(argv[5]))
    return lambda request: OpinionAsked(request, host, port, epoch, candidate)


# ---------------------------------------------------------------- masters


@frozen
class Wanted:
    """A well-formed MONITOR; whether its host exists is not known yet. ``port`` may still be out of range."""

    name: str
    host: str
    port: int
    quorum: int


def monitor(argv: Argv) -> Wanted:
    """MONITOR name ip port quorum, up to the check of the host; `checked_port` follows it."""
    _no_control(argv, 2, "MONITOR")
    quorum, port = strict_int(argv[5]), strict_int(argv[4])
    if quorum is None:
        raise refuse("Invalid quorum")
    if port is None:
        raise refuse("Invalid port")
    if quorum <= 0:
        raise refuse("Quorum must be 1 or greater.")
    if quorum > MAX_QUORUM:
        raise refuse("Invalid quorum")
    return Wanted(told(argv[2]), told(argv[3]), port, quorum)


def checked_host(found: bool) -> None:
    """The second half of MONITOR's checks: the host is an IP, or could be resolved."""
    if not found:
        raise refuse("Invalid IP address or hostname specified")


def checked_port(port: int) -> int:
    """The last check of MONITOR that needs no state."""
    if not 0 <= port <= 65535:
        raise refuse("Invalid port number.")
    return port


def failover(argv: Argv) -> Make:
    """FAILOVER name [COORDINATED]; the name is known to exist."""
    if len(argv) == 4 and argv[3].lower() != b"coordinated":
        raise refuse("Unknown failover option specified")
    name, coordinated = told(argv[2]), len(argv) == 4
    return lambda request: FailoverAsked(request, name, coordinated)


_POSITIVE: Final = {
    b"down-after-milliseconds": 2**63 - 1,
    b"failover-timeout": 2**63 - 1,
    b"parallel-syncs": MAX_QUORUM,
    b"quorum": MAX_QUORUM,
}
_SCRIPTS: Final = {
    b"notification-script": "Notification script seems non existing or non executable",
    b"client-reconfig-script": "Client reconfiguration script seems non existing or non executable",
}
_REBOOT: Final = (b"master-reboot-down-after-period", b"primary-reboot-down-after-period")
_TEXTS: Final = (b"auth-pass", b"auth-user")
SCRIPTS_LOCKED: Final = (
    "Reconfiguration of scripts path is denied for security reasons. Check the deny-scripts-reconfig "
    "configuration directive in your Sentinel configuration"
)


def settings_change(argv: Argv, *, scripts_locked: bool, is_executable: Callable[[str], bool]) -> Make:
    """SET name option value ...: the groups before the first bad one, and the error of that one (7.10)."""
    _no_control(argv, 3, "SET")
    name = told(argv[2])
    groups: list[tuple[str, ...]] = []
    refusal: str | None = None
    at = 3
    try:
        while at < len(argv):
            size = 3 if argv[at].lower() == b"rename-command" else 2
            group = argv[at : at + size]
            _check_setting(group, size, scripts_locked, is_executable)
            groups.append(tuple(told(word) for word in group))
            at += size
    except CommandRefused as refused:
        refusal = str(refused)
    options = tuple(groups)
    return lambda request: SetAsked(request, name, options, refusal)


def _check_setting(group: Argv, size: int, scripts_locked: bool, is_executable: Callable[[str], bool]) -> None:
    """Refuse one option of SET with its values."""
    option, typed = group[0].lower(), told(group[0])
    known = option in _POSITIVE or option in _SCRIPTS or option in _REBOOT or option in _TEXTS
    if len(group) < size or not (known or option == b"rename-command"):
        raise refuse(f"Unknown option or number of arguments for SENTINEL SET '{typed}'")
    value = group[1]
    bad = refuse(f"Invalid argument '{told(value)}' for SENTINEL SET '{typed}'")
    if option == b"rename-command":
        if not group[1] or not group[2]:
            raise refuse(f"Invalid argument '' for SENTINEL SET '{typed}'")
    elif option in _SCRIPTS:
        if scripts_locked:
            raise refuse(SCRIPTS_LOCKED)
        if value and not is_executable(told(value)):
            raise refuse(_SCRIPTS[option])
    elif option in _POSITIVE:
        number = strict_int(value)
        if number is None or not 0 < number <= _POSITIVE[option]:
            raise bad
    elif option in _REBOOT:
        number = strict_int(value)
        if number is None or number < 0:
            raise bad


# ---------------------------------------------------------------- the whole process


@frozen
class GlobalsChange:
    """CONFIG SET, checked whole: the new settings, and the log level if it was among the pairs."""

    settings: GlobalSettings
    loglevel: str | None


GLOBALS: Final = (
    b"resolve-hostnames",
    b"announce-hostnames",
    b"announce-ip",
    b"announce-port",
    b"sentinel-user",
    b"sentinel-pass",
    b"loglevel",
)
_CONFIG_FORMS: Final = (
    "Only SENTINEL CONFIG GET <param> [<param> <param> ...] / SET <param> <value> [<param> <value> ...] are supported."
)


def config_verb(argv: Argv) -> bytes:
    """``get`` or ``set``; refuses every other form of CONFIG."""
    verb = argv[2].lower()
    if verb == b"get" or (verb == b"set" and len(argv) >= 5):
        return verb
    raise refuse(_CONFIG_FORMS)


def globals_change(argv: Argv, settings: GlobalSettings) -> GlobalsChange:
    """CONFIG SET param value ...: all pairs are good, or nothing changes (7.11)."""
    _no_control(argv, 3, "CONFIG SET")
    loglevel: str | None = None
    seen: set[bytes] = set()
    for at in range(3, len(argv), 2):
        option, typed = argv[at].lower(), told(argv[at])
        if option not in GLOBALS:
            raise refuse(f"Invalid argument '{typed}' to SENTINEL CONFIG SET")
        if option in seen:
            raise refuse(f"Duplicate argument '{typed}' to SENTINEL CONFIG SET")
        seen.add(option)
        if at + 1 == len(argv):
            raise refuse(f"Missing argument '{typed}' value")
        value = told(argv[at + 1])
        if option == b"loglevel":
            loglevel = value.lower()
            changed: GlobalSettings | None = settings if loglevel in LOGLEVELS else None
        else:
            changed = _with_global(settings, option, value)
        if changed is None:
            raise refuse(f"Invalid value '{value}' to SENTINEL CONFIG SET '{typed}'")
        settings = changed
    return GlobalsChange(settings, loglevel)


def _with_global(settings: GlobalSettings, option: bytes, value: str) -> GlobalSettings | None:
    """`settings` with one parameter changed; None when the value is bad. Empty texts mean not set."""
    if option == b"announce-port":
        port = strict_int(value.encode("utf-8", "surrogateescape"))
        return evolve(settings, announce_port=port) if port is not None and 0 <= port <= 65535 else None
    if option == b"announce-ip":
        return evolve(settings, announce_ip=value or None)
    if option == b"sentinel-user":
        return evolve(settings, sentinel_user=value or None)
    if option == b"sentinel-pass":
        if value == MASK:  # what CONFIG GET shows, given back
            return None
        return evolve(settings, sentinel_pass=value or None)
    yes = {"yes": True, "no": False}.get(value.lower())
    if yes is None:
        return None
    if option == b"resolve-hostnames":
        return evolve(settings, resolve_hostnames=yes)
    return evolve(settings, announce_hostnames=yes)


TIMING_NAMES: Final = (
    "info_period_ms",
    "ping_period_ms",
    "ask_period_ms",
    "publish_period_ms",
    "default_down_after_ms",
    "default_failover_timeout_ms",
    "tilt_trigger_ms",
    "tilt_period_ms",
    "slave_reconf_timeout_ms",
    "min_link_reconnect_period_ms",
    "election_timeout_ms",
    "script_max_runtime_ms",
    "script_retry_delay_ms",
)
"""The fields of Timing in the order of SENTINEL DEBUG."""


def timing_word(name: str) -> str:
    """How SENTINEL DEBUG spells a field of Timing."""
    return name.removesuffix("_ms").replace("_", "-").upper()


_TIMINGS: Final = {timing_word(name).lower().encode(): name for name in TIMING_NAMES}


def timing_changes(argv: Argv) -> tuple[list[Make], str | None]:
    """DEBUG param ms ...: one request per good pair before the first bad one, and the error of that one (7.9)."""
    makes: list[Make] = []
    for at in range(2, len(argv), 2):
        typed = told(argv[at])
        name = _TIMINGS.get(argv[at].lower())
        if name is None or at + 1 == len(argv):
            return makes, f"ERR Unknown option or number of arguments for SENTINEL DEBUG '{typed}'"
        value = strict_int(argv[at + 1])
        if value is None or value <= 0:
            return makes, f"ERR Invalid argument '{told(argv[at + 1])}' for SENTINEL DEBUG '{typed}'"
        makes.append(_timing(name, value))
    return makes, None


def _timing(name: str, value: int) -> Make:
    return lambda request: TimingSetAsked(request, name, value)


@frozen
class CrashPoints:
    """SIMULATE-FAILURE: what to ask, then whether to answer with the two names, or the error."""

    make: Make
    help: bool
    refusal: str | None


def crash_points(argv: Argv) -> CrashPoints:
    """SIMULATE-FAILURE word ...: earlier flags are cleared first; words before a bad one count (7.8)."""
    election = promotion = helped = False
    refusal: str | None = None
    for word in argv[2:]:
        match word.lower():
            case b"crash-after-election":
                election = True
            case b"crash-after-promotion":
                promotion = True
            case b"help":
                helped = True
                break
            case _:
                refusal = "ERR Unknown failure simulation specified"
                break
    return CrashPoints(lambda request: CrashPointsSetAsked(request, election, promotion), helped, refusal)
