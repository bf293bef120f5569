"""The text of INFO: sections and field order of commands.md 5.1 (Valkey 9).

Fields that mean nothing to a sentinel written in Python are there for those who parse them, and say 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from trio_sentinel.model.state import SentinelState
from trio_sentinel.model.values import Millis
from trio_sentinel.model.views import status_of

SPOKEN_VERSION: Final = "9.1.2"
"""The release whose behaviour this port follows; client libraries choose by it."""
COMPATIBLE_VERSION: Final = "7.2.4"
"""What that release says in ``redis_version``."""

Facts = Mapping[str, str | int]

_SERVER: Final = """
redis_version server_name valkey_version valkey_release_stage redis_git_sha1 redis_git_dirty redis_build_id
server_mode os arch_bits monotonic_clock multiplexing_api gcc_version process_id process_supervised run_id tcp_port
server_time_usec uptime_in_seconds uptime_in_days hz configured_hz clients_hz lru_clock executable config_file
io_threads_active availability_zone
""".split()
_CLIENTS: Final = """
connected_clients cluster_connections maxclients client_recent_max_input_buffer client_recent_max_output_buffer
blocked_clients tracking_clients pubsub_clients watching_clients clients_in_timeout_table total_watched_keys
total_blocking_keys total_blocking_keys_on_nokey paused_reason paused_actions paused_timeout_milliseconds
""".split()
_STATS: Final = """
total_connections_received total_commands_processed instantaneous_ops_per_sec total_net_input_bytes
total_net_output_bytes total_net_repl_input_bytes total_net_repl_output_bytes total_net_cluster_slot_import_bytes
total_net_cluster_slot_export_bytes instantaneous_input_kbps instantaneous_output_kbps instantaneous_input_repl_kbps
instantaneous_output_repl_kbps rejected_connections sync_full sync_partial_ok sync_partial_err expired_keys
expired_fields expired_stale_perc expired_keys_with_volatile_items_stale_perc expired_time_cap_reached_count
expire_cycle_cpu_milliseconds evicted_keys evicted_clients evicted_scripts total_eviction_exceeded_time
current_eviction_exceeded_time keyspace_hits keyspace_misses pubsub_channels pubsub_patterns pubsubshard_channels
latest_fork_usec total_forks migrate_cached_sockets slave_expires_tracked_keys active_defrag_hits
active_defrag_misses active_defrag_key_hits active_defrag_key_misses total_active_defrag_time
current_active_defrag_time tracking_total_keys tracking_total_items tracking_total_prefixes unexpected_error_replies
total_error_replies dump_payload_sanitizations total_reads_processed total_writes_processed
io_threaded_reads_processed io_threaded_writes_processed io_threaded_freed_objects io_threaded_accept_processed
io_threaded_poll_processed io_threaded_total_prefetch_batches io_threaded_total_prefetch_entries
client_query_buffer_limit_disconnections client_output_buffer_limit_disconnections reply_buffer_shrinks
reply_buffer_expands eventloop_cycles eventloop_duration_sum eventloop_duration_cmd_sum
instantaneous_eventloop_cycles_per_sec instantaneous_eventloop_duration_usec acl_access_denied_auth
acl_access_denied_cmd acl_access_denied_key acl_access_denied_channel acl_access_denied_tls_cert acl_access_denied_db
""".split()
_CPU: Final = """
used_cpu_sys used_cpu_user used_cpu_sys_children used_cpu_user_children used_cpu_sys_main_thread
used_cpu_user_main_thread used_active_time_main_thread
""".split()
_FIXED: Final[Facts] = {
    "redis_version": COMPATIBLE_VERSION,
    "server_name": "valkey",
    "valkey_version": SPOKEN_VERSION,
    "valkey_release_stage": "ga",
    "redis_git_sha1": "00000000",
    "server_mode": "sentinel",
    "monotonic_clock": "POSIX clock_gettime",
    "multiplexing_api": "epoll",
    "process_supervised": "no",
    "availability_zone": "",
    "paused_reason": "none",
    "paused_actions": "none",
    "expired_stale_perc": "0.00",
    "expired_keys_with_volatile_items_stale_perc": "0.00",
    "instantaneous_input_kbps": "0.00",
    "instantaneous_output_kbps": "0.00",
    "instantaneous_input_repl_kbps": "0.00",
    "instantaneous_output_repl_kbps": "0.00",
    **dict.fromkeys(_CPU, "0.000000"),
}
SECTIONS: Final = ("server", "clients", "stats", "cpu", "sentinel")
_ALL: Final = {b"default", b"all", b"everything"}


def wanted_sections(names: Iterable[bytes]) -> tuple[str, ...]:
    """The sections that the arguments of INFO select, in the fixed order; unknown names select nothing."""
    asked = {name.lower() for name in names} or _ALL
    return tuple(name for name in SECTIONS if asked & _ALL or name.encode() in asked)


def sentinel_lines(state: SentinelState, running: int, queued: int, now_ms: Millis) -> list[str]:
    """The Sentinel section; `queued` scripts include the `running` ones."""
    tilt = state.tilt_since_ms
    lines = [
        f"sentinel_masters:{len(state.masters)}",
        f"sentinel_tilt:{int(tilt is not None)}",
        f"sentinel_tilt_since_seconds:{-1 if tilt is None else (now_ms - tilt) // 1000}",
        f"sentinel_total_tilt:{state.total_tilt}",
        f"sentinel_running_scripts:{running}",
        f"sentinel_scripts_queue_length:{queued}",
        f"sentinel_simulate_failure_flags:{state.crash_after_election + 2 * state.crash_after_promotion}",
    ]
    for index, master in enumerate(state.masters.values()):
        address = f"{state.shown(master.address.host)}:{master.address.port}"
        lines.append(
            f"master{index}:name={master.name},status={status_of(master)},address={address},"
            f"slaves={len(master.replicas)},sentinels={master.voters}"
        )
    return lines


def render(
    sections: Iterable[str],
    facts: Facts,
    listeners: Iterable[str],
    sentinel: Iterable[str],
    *,
    mode: str = "server_mode",
) -> bytes:
    """The text of `sections`. `facts` overrides the defaults; `listeners` are the texts after ``listener<n>:``, `mode`
    is how the field is called that says ``sentinel``."""
    known = {**_FIXED, **facts}
    blocks = []
    for section in sections:
        if section == "sentinel":
            lines = list(sentinel)
        else:
            names = {"server": _SERVER, "clients": _CLIENTS, "stats": _STATS, "cpu": _CPU}[section]
            shown = {"server_mode": mode}
            lines = [f"{shown.get(name, name)}:{known.get(name, 0)}" for name in names]
        if section == "server":
            lines += [f"listener{index}:{listener}" for index, listener in enumerate(listeners)]
            lines.append(f"trio_sentinel_version:{known.get('trio_sentinel_version', '')}")
        title = "CPU" if section == "cpu" else section.capitalize()
        blocks.append("".join(f"{line}\r\n" for line in [f"# {title}", *lines]))
    return "\r\n".join(blocks).encode("utf-8", "surrogateescape")
