"""Everything an operator can choose, frozen. The defaults are stock's (core.md 1.2 and 17)."""

from __future__ import annotations

from attrs import field, frozen

from trio_sentinel.model.values import Millis

DEFAULT_DOWN_AFTER_MS = 30_000
DEFAULT_FAILOVER_TIMEOUT_MS = 180_000


@frozen(kw_only=True)
class MasterSettings:
    """How one master is watched. Lengths in ms; ``None`` means not set."""

    quorum: int
    down_after_ms: Millis = DEFAULT_DOWN_AFTER_MS
    failover_timeout_ms: Millis = DEFAULT_FAILOVER_TIMEOUT_MS
    parallel_syncs: int = 1
    reboot_down_after_ms: Millis = 0
    notification_script: str | None = None
    client_reconfig_script: str | None = None
    auth_user: str | None = None
    auth_pass: str | None = field(default=None, repr=False)
    renamed_commands: tuple[tuple[str, str], ...] = ()
    """Pairs (command as first given, new name), in the order they were set."""

    def renamed(self, command: str) -> str:
        """The name under which `command` is sent to this master's servers (core.md 2.6)."""
        wanted = command.upper()
        for old, new in self.renamed_commands:
            if old.upper() == wanted:
                return new
        return command


@frozen(kw_only=True)
class GlobalSettings:
    """What ``SENTINEL CONFIG SET`` and the global lines of sentinel.conf say. ``None`` means not set."""

    announce_ip: str | None = None
    announce_port: int = 0
    sentinel_user: str | None = None
    sentinel_pass: str | None = field(default=None, repr=False)
    resolve_hostnames: bool = False
    announce_hostnames: bool = False
    deny_scripts_reconfig: bool = True


@frozen(kw_only=True)
class Timing:
    """The 13 lengths of time that ``SENTINEL DEBUG`` shows and changes, in its order (core.md 17)."""

    info_period_ms: Millis = 10_000
    ping_period_ms: Millis = 1_000
    ask_period_ms: Millis = 1_000
    publish_period_ms: Millis = 2_000
    default_down_after_ms: Millis = DEFAULT_DOWN_AFTER_MS
    default_failover_timeout_ms: Millis = DEFAULT_FAILOVER_TIMEOUT_MS
    tilt_trigger_ms: Millis = 2_000
    tilt_period_ms: Millis = 30_000
    slave_reconf_timeout_ms: Millis = 10_000
    min_link_reconnect_period_ms: Millis = 15_000
    election_timeout_ms: Millis = 10_000
    script_max_runtime_ms: Millis = 60_000
    script_retry_delay_ms: Millis = 30_000
