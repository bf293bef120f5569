"""Views and refusals -> replies: the field order and the words of commands.md sections 7 and 8."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from trio_sentinel.model.effects import Answer, AnswerOpinion
from trio_sentinel.model.settings import GlobalSettings, Timing
from trio_sentinel.model.values import Millis
from trio_sentinel.model.views import LinkView, MasterView, PeerView, QuorumView, ReplicaView
from trio_sentinel.wire import glob, requests, resp

Fields = list[tuple[str, bytes | str | int]]


class PendingScript(Protocol):
    """A script that runs or waits, as PENDING-SCRIPTS shows it."""

    @property
    def argv(self) -> Sequence[str]:
        """The program and its arguments."""

    @property
    def running(self) -> bool:
        """Whether it runs now."""

    @property
    def pid(self) -> int:
        """Its process; 0 when it does not run."""

    @property
    def runs(self) -> int:
        """The number of the run: 1 on the first one."""

    @property
    def age_ms(self) -> Millis:
        """For how long it has been running, or how long it still waits."""


def _link_fields(link: LinkView) -> Fields:
    return [("link-pending-commands", link.pending_commands), ("link-refcount", link.refcount)]


def _ping_fields(link: LinkView) -> Fields:
    return [
        ("last-ping-sent", link.ping_pending_ms),
        ("last-ok-ping-reply", link.ok_ping_ago_ms),
        ("last-ping-reply", link.any_ping_ago_ms),
    ]


def _only(name: str, value: str | int | None) -> Fields:
    """A field that is shown only when there is something to show."""
    return [] if value is None else [(name, value)]


def _identity(name: str, host: str, port: int, run_id: str | None, flags: Iterable[str]) -> Fields:
    return [("name", name), ("ip", host), ("port", port), ("runid", run_id or ""), ("flags", ",".join(flags))]


def master_fields(view: MasterView) -> Fields:
    """The description of a master."""
    return [
        *_identity(view.name, view.host, view.port, view.run_id, view.flags),
        *_link_fields(view.link),
        *_only("failover-state", view.failover_state),
        *_ping_fields(view.link),
        *_only("s-down-time", view.s_down_ms),
        *_only("o-down-time", view.o_down_ms),
        ("down-after-milliseconds", view.down_after_ms),
        ("info-refresh", view.info_ago_ms),
        ("role-reported", view.role_reported),
        ("role-reported-time", view.role_reported_ms),
        ("config-epoch", view.config_epoch),
        ("num-slaves", view.replicas),
        ("num-other-sentinels", view.peers),
        ("quorum", view.quorum),
        ("failover-timeout", view.failover_timeout_ms),
        ("parallel-syncs", view.parallel_syncs),
        *_only("notification-script", view.notification_script),
        *_only("client-reconfig-script", view.client_reconfig_script),
    ]


def replica_fields(view: ReplicaView) -> Fields:
    """The description of a replica."""
    return [
        *_identity(view.name, view.host, view.port, view.run_id, view.flags),
        *_link_fields(view.link),
        *_ping_fields(view.link),
        *_only("s-down-time", view.s_down_ms),
        ("down-after-milliseconds", view.down_after_ms),
        ("info-refresh", view.info_ago_ms),
        ("role-reported", view.role_reported),
        ("role-reported-time", view.role_reported_ms),
        ("master-link-down-time", view.master_link_down_ms),
        ("master-link-status", "ok" if view.master_link_up else "err"),
        ("master-host", "?" if view.master_host is None else view.master_host),
        ("master-port", view.master_port),
        ("slave-priority", view.priority),
        ("slave-repl-offset", view.repl_offset),
        ("replica-announced", int(view.announced)),
    ]


def peer_fields(view: PeerView) -> Fields:
    """The description of another sentinel; its name is its id."""
    return [
        *_identity(view.run_id, view.host, view.port, view.run_id, view.flags),
        *_link_fields(view.link),
        *_ping_fields(view.link),
        *_only("s-down-time", view.s_down_ms),
        ("down-after-milliseconds", view.down_after_ms),
        ("last-hello-message", view.hello_ago_ms),
        ("voted-leader", "?" if view.voted_leader is None else view.voted_leader),
        ("voted-leader-epoch", view.voted_leader_epoch),
    ]


def masters(views: Iterable[MasterView], proto: int) -> bytes:
    """MASTERS."""
    return resp.array([resp.fields(master_fields(view), proto) for view in views])


def replicas(views: Iterable[ReplicaView], proto: int) -> bytes:
    """REPLICAS: those that want to be announced."""
    return resp.array([resp.fields(replica_fields(view), proto) for view in views if view.announced])


def peers(views: Iterable[PeerView], proto: int) -> bytes:
    """SENTINELS."""
    return resp.array([resp.fields(peer_fields(view), proto) for view in views])


def quorum(view: QuorumView) -> bytes:
    """CKQUORUM (7.2)."""
    head = f"{view.usable} usable Sentinels. "
    missing = []
    if not view.quorum_reached:
        missing.append("Not enough available Sentinels to reach the specified quorum for this master")
    if not view.majority_reached:
        missing.append("Not enough available Sentinels to reach the majority and authorize a failover")
    if missing:
        return resp.error("NOQUORUM " + head + ". ".join(missing))
    return resp.simple("OK " + head + "Quorum and failover authorization can be reached")


def answer(given: Answer | AnswerOpinion) -> bytes:
    """What the model answered to a request."""
    if isinstance(given, AnswerOpinion):
        leader = "*" if given.leader is None else given.leader
        return resp.array([resp.integer(int(given.down)), resp.bulk(leader), resp.integer(given.leader_epoch)])
    if given.error is not None:
        return resp.error(given.error)
    return resp.OK if given.number is None else resp.integer(given.number)


def timing(values: Timing, proto: int) -> bytes:
    """DEBUG without arguments."""
    pairs: Fields = [(requests.timing_word(name), getattr(values, name)) for name in requests.TIMING_NAMES]
    return resp.fields(pairs, proto)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


_GLOBALS: Final[dict[bytes, Callable[[GlobalSettings], str]]] = {
    b"resolve-hostnames": lambda settings: _yes(settings.resolve_hostnames),
    b"announce-hostnames": lambda settings: _yes(settings.announce_hostnames),
    b"announce-ip": lambda settings: settings.announce_ip or "",
    b"announce-port": lambda settings: str(settings.announce_port),
    b"sentinel-user": lambda settings: settings.sentinel_user or "",
    b"sentinel-pass": lambda settings: requests.MASK if settings.sentinel_pass else "",
}


def global_settings(patterns: Iterable[bytes], settings: GlobalSettings, loglevel: str, proto: int) -> bytes:
    """CONFIG GET: earlier patterns come first, no parameter twice. Stock shows the password, we do not."""
    shown: dict[bytes, str] = {}
    for pattern in patterns:
        compiled = glob.compiled(pattern, ignore_case=True)
        for name in requests.GLOBALS:
            if name not in shown and compiled.matches(name):
                shown[name] = loglevel if name == b"loglevel" else _GLOBALS[name](settings)
    return resp.mapping([(resp.bulk(name), resp.bulk(value)) for name, value in shown.items()], proto)


def info_cache(masters_with_infos: Iterable[tuple[str, Sequence[tuple[Millis | None, bytes]]]], proto: int) -> bytes:
    """INFO-CACHE: per master its name and per server the age and text of its last INFO, age None for none."""
    items: list[bytes] = []
    for name, infos in masters_with_infos:
        rows = [
            resp.array([resp.integer(age or 0), resp.null_bulk(proto) if age is None else resp.bulk(text)])
            for age, text in infos
        ]
        items += [resp.bulk(name), resp.array(rows)]
    return resp.array(items)


def pending_scripts(jobs: Iterable[PendingScript], proto: int) -> bytes:
    """PENDING-SCRIPTS."""
    return resp.array(
        [
            resp.mapping(
                [
                    (resp.bulk("argv"), resp.bulks(job.argv)),
                    (resp.bulk("flags"), resp.bulk("running" if job.running else "scheduled")),
                    (resp.bulk("pid"), resp.bulk(job.pid)),
                    (resp.bulk("run-time" if job.running else "run-delay"), resp.bulk(job.age_ms)),
                    (resp.bulk("retry-num"), resp.bulk(job.runs)),
                ],
                proto,
            )
            for job in jobs
        ]
    )


SENTINEL_HELP: Final = (
    "SENTINEL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CKQUORUM <primary-name>",
    "    Tell whether enough Sentinels are up to agree that the primary is",
    "    down, and whether they are the majority that a failover",
    "    needs.",
    "CONFIG SET param value [param value ...]",
    "    Change settings of this Sentinel.",
    "CONFIG GET <param> [param param param ...]",
    "    Show settings of this Sentinel.",
    "DEBUG [<param> <value> ...]",
    "    Show lengths of time in milliseconds,",
    "    or change some of them until the next start.",
    "GET-PRIMARY-ADDR-BY-NAME <primary-name>",
    "    Tell the ip and port of the primary that clients should use.",
    "FAILOVER <primary-name> [COORDINATED]",
    "    Replace the primary by one of its replicas, without asking other",
    "    Sentinels unless COORDINATED.",
    "FLUSHCONFIG",
    "    Write the configuration file now, with everything this Sentinel",
    "    has learnt.",
    "INFO-CACHE <primary-name>",
    "    Show the last INFO of the primary and of its replicas.",
    "IS-PRIMARY-DOWN-BY-ADDR <ip> <port> <current-epoch> <runid>",
    "    Tell whether this Sentinel finds the primary at ip:port down, and",
    "    vote if a run id is given.",
    "PRIMARY <primary-name>",
    "    Describe one primary.",
    "PRIMARIES",
    "    Describe all primaries.",
    "MONITOR <name> <ip> <port> <quorum>",
    "    Watch one more primary.",
    "MYID",
    "    Tell the id of this Sentinel.",
    "PENDING-SCRIPTS",
    "    Show the scripts that run or wait.",
    "REMOVE <primary-name>",
    "    Watch the primary no longer.",
    "REPLICAS <primary-name>",
    "    Describe the replicas of the primary.",
    "RESET <pattern>",
    "    Forget replicas and Sentinels of the primaries whose names match.",
    "SENTINELS <primary-name>",
    "    Describe the other Sentinels of the primary.",
    "SET <primary-name> <option> <value> [<option> <value> ...]",
    "    Change settings of one primary.",
    "SIMULATE-FAILURE [CRASH-AFTER-ELECTION] [CRASH-AFTER-PROMOTION] [HELP]",
    "    Make this Sentinel crash at that point of its next failover.",
    "HELP",
    "    Print this help.",
)
