"""The subcommands of SENTINEL (commands.md 7): what is asked of the model, and what is read from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from trio_sentinel.model import views
from trio_sentinel.model.effects import Answer, AnswerOpinion
from trio_sentinel.model.inputs import FlushAsked, GlobalsSetAsked, MonitorAsked, RemoveAsked, ResetAsked
from trio_sentinel.model.state import Master
from trio_sentinel.model.values import Address, Millis, is_ip
from trio_sentinel.runtime.session_outbox import Reply, Slot
from trio_sentinel.wire import answers, glob, requests, resp
from trio_sentinel.wire.requests import Make, refuse
from trio_sentinel.wire.resp import Argv, told

if TYPE_CHECKING:
    from trio_sentinel.runtime.session import Session


def _master(session: Session, argv: Argv) -> Master:
    """The master that the third word names, or the refusal that there is none."""
    master = session.house.mind.state.masters.get(told(argv[2]))
    if master is None:
        raise refuse(requests.NO_SUCH_MASTER)
    return master


# ---------------------------------------------------------------- reading


def masters(session: Session, argv: Argv) -> Reply:
    """MASTERS, PRIMARIES."""
    mind = session.house.mind
    return answers.masters(views.masters(mind.state, mind.senses, mind.now_ms()), session.proto)


def master(session: Session, argv: Argv) -> Reply:
    """MASTER, PRIMARY."""
    mind = session.house.mind
    view = views.view_of_master(mind.state, mind.senses, _master(session, argv), mind.now_ms())
    return resp.fields(answers.master_fields(view), session.proto)


def replicas(session: Session, argv: Argv) -> Reply:
    """REPLICAS, SLAVES."""
    mind = session.house.mind
    found = views.replicas(mind.state, mind.senses, _master(session, argv), mind.now_ms())
    return answers.replicas(found, session.proto)


def sentinels(session: Session, argv: Argv) -> Reply:
    """SENTINELS."""
    mind = session.house.mind
    return answers.peers(views.peers(mind.state, mind.senses, _master(session, argv), mind.now_ms()), session.proto)


def myid(session: Session, argv: Argv) -> Reply:
    """MYID."""
    return resp.bulk(session.house.mind.state.my_id)


def get_address(session: Session, argv: Argv) -> Reply:
    """GET-MASTER-ADDR-BY-NAME: null for an unknown name, never an error."""
    state = session.house.mind.state
    master = state.masters.get(told(argv[2]))
    if master is None:
        return resp.null_array(session.proto)
    address = master.current_address
    return resp.bulks([state.shown(address.host), address.port])


def ckquorum(session: Session, argv: Argv) -> Reply:
    """CKQUORUM."""
    return answers.quorum(views.ckquorum(_master(session, argv)))


def info_cache(session: Session, argv: Argv) -> Reply:
    """INFO-CACHE: the master first, then its replicas; unknown names are skipped."""
    mind = session.house.mind
    now_ms = mind.now_ms()
    found: list[tuple[str, list[tuple[Millis | None, bytes]]]] = []
    for name in dict.fromkeys(told(word) for word in argv[2:]):
        master = mind.state.masters.get(name)
        if master is None:
            continue
        rows: list[tuple[Millis | None, bytes]] = []
        for address in (master.address, *master.replicas):
            sense = mind.senses.servers.get((name, address))
            if sense is None or sense.info_at_ms is None:
                rows.append((None, b""))
            else:
                rows.append((max(0, now_ms - sense.info_at_ms), sense.info_text))
        found.append((name, rows))
    return answers.info_cache(found, session.proto)


def pending_scripts(session: Session, argv: Argv) -> Reply:
    """PENDING-SCRIPTS."""
    return answers.pending_scripts(session.house.scripts.pending(), session.proto)


def help_(session: Session, argv: Argv) -> Reply:
    """HELP."""
    return resp.simples(answers.SENTINEL_HELP)


# ---------------------------------------------------------------- asking


def opinion(session: Session, argv: Argv) -> Reply:
    """IS-MASTER-DOWN-BY-ADDR."""
    return session.ask(requests.opinion(argv))


def monitor(session: Session, argv: Argv) -> Reply:
    """MONITOR; a host name is looked up first when that is allowed."""
    wanted = requests.monitor(argv)
    mind = session.house.mind

    def make(request: int) -> MonitorAsked:
        return MonitorAsked(request, wanted.name, Address(wanted.host, wanted.port), wanted.quorum)

    def found(ip: str | None, slot: Slot) -> None:
        requests.checked_host(ip is not None)
        requests.checked_port(wanted.port)
        session.ask(make, slot=slot)

    if is_ip(wanted.host) or not mind.state.settings.resolve_hostnames:
        requests.checked_host(is_ip(wanted.host))
        requests.checked_port(wanted.port)
        return session.ask(make)
    return session.resolve(wanted.host, found)


def remove(session: Session, argv: Argv) -> Reply:
    """REMOVE."""
    name = _master(session, argv).name
    return session.ask(lambda request: RemoveAsked(request, name))


def reset(session: Session, argv: Argv) -> Reply:
    """RESET pattern: how many masters matched."""
    pattern = glob.compiled(argv[2])
    names = views.matching_masters(session.house.mind.state, lambda name: pattern.matches(resp.text(name)))
    return session.ask(lambda request: ResetAsked(request, names))


def failover(session: Session, argv: Argv) -> Reply:
    """FAILOVER name [COORDINATED]."""
    if len(argv) > 4:
        raise refuse("wrong number of arguments for 'sentinel|failover' command")
    _master(session, argv)
    return session.ask(requests.failover(argv))


def flushconfig(session: Session, argv: Argv) -> Reply:
    """FLUSHCONFIG."""
    return session.ask(FlushAsked)


def set_(session: Session, argv: Argv) -> Reply:
    """SET name option value ..."""
    _master(session, argv)
    house = session.house
    locked = house.mind.state.settings.deny_scripts_reconfig
    return session.ask(requests.settings_change(argv, scripts_locked=locked, is_executable=house.is_executable))


def config(session: Session, argv: Argv) -> Reply:
    """CONFIG GET, CONFIG SET."""
    house = session.house
    settings = house.mind.state.settings
    if requests.config_verb(argv) == b"get":
        return answers.global_settings(argv[3:], settings, house.loglevel(), session.proto)
    change = requests.globals_change(argv, settings)
    if change.loglevel is not None:
        house.set_loglevel(change.loglevel)
    return session.ask(lambda request: GlobalsSetAsked(request, change.settings))


def debug(session: Session, argv: Argv) -> Reply:
    """DEBUG: show all lengths of time, or change some one by one."""
    if len(argv) == 2:
        return answers.timing(session.house.mind.state.timing, session.proto)
    makes, refusal = requests.timing_changes(argv)
    return _ask_all(session, makes, None if refusal is None else resp.error(refusal))


def simulate_failure(session: Session, argv: Argv) -> Reply:
    """SIMULATE-FAILURE."""
    points = requests.crash_points(argv)
    last: bytes | None = None
    if points.help:
        last = resp.bulks(["crash-after-election", "crash-after-promotion"])
    elif points.refusal is not None:
        last = resp.error(points.refusal)
    return _ask_all(session, [points.make], last)


def _ask_all(session: Session, makes: list[Make], last: bytes | None) -> Reply:
    """Ask one after the other; the reply is the first error, else `last`, else that of the last request."""
    if not makes:
        assert last is not None
        return session.counted(last)
    slot = Slot()
    given: list[bytes] = []

    def note(answer: Answer | AnswerOpinion) -> None:
        given.append(answers.answer(answer))
        if len(given) == len(makes):
            errors = [reply for reply in given if reply.startswith(b"-")]
            session.fill(slot, errors[0] if errors else given[-1] if last is None else last)

    for make in makes:
        session.house.mind.ask(make, note)
    return slot


Run = Callable[["Session", Argv], Reply]

HANDLERS: Final[dict[str, Run]] = {
    "sentinel|ckquorum": ckquorum,
    "sentinel|config": config,
    "sentinel|debug": debug,
    "sentinel|failover": failover,
    "sentinel|flushconfig": flushconfig,
    "sentinel|get-master-addr-by-name": get_address,
    "sentinel|get-primary-addr-by-name": get_address,
    "sentinel|help": help_,
    "sentinel|info-cache": info_cache,
    "sentinel|is-master-down-by-addr": opinion,
    "sentinel|is-primary-down-by-addr": opinion,
    "sentinel|master": master,
    "sentinel|masters": masters,
    "sentinel|monitor": monitor,
    "sentinel|myid": myid,
    "sentinel|pending-scripts": pending_scripts,
    "sentinel|primaries": masters,
    "sentinel|primary": master,
    "sentinel|remove": remove,
    "sentinel|replicas": replicas,
    "sentinel|reset": reset,
    "sentinel|sentinels": sentinels,
    "sentinel|set": set_,
    "sentinel|simulate-failure": simulate_failure,
    "sentinel|slaves": replicas,
}
"""By full name."""
