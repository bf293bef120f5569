"""The command line: words -> configuration -> a process in its place -> the service -> an exit status.

1. The daemon's command line is redis-sentinel's (config-and-events.md 1.1); `demo`, `check` and `--extras` are ours.
2. Order of the start: parse, load, checks, supervision, background, banner, descriptors, pid file, title, service.
3. Statuses: 0 clean, 1 refusal or insisted exit, 99 simulated crash, 130 interrupted before the service ran.
4. What is slow to import is imported where it is needed: `--version` and `--help` need no Trio.
"""

from __future__ import annotations

import gc
import os
import posixpath
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from trio_sentinel.adapters import system
from trio_sentinel.adapters.system import NAME, VERSION
from trio_sentinel.errors import ConfigError, SimulatedCrash, StartupError
from trio_sentinel.model.values import Level

if TYPE_CHECKING:
    import trio

    from trio_sentinel.adapters.logs import Log, LogOptions
    from trio_sentinel.adapters.network import Listeners
    from trio_sentinel.adapters.system import Supervision
    from trio_sentinel.wire.conf import Configuration, Directives
    from trio_sentinel.wire.extras import Extras

REFUSED: Final = 1
CRASHED: Final = 99
INTERRUPTED: Final = 130
EXTRAS: Final = "sentinel.toml"
DEFAULT_PID_FILE: Final = f"/var/run/{NAME}.pid"

USAGE: Final = f"""\
{NAME} {VERSION}: watches Redis and Valkey masters, and puts a replica in the place of one that dies.

Usage:
  {NAME} FILE [--DIRECTIVE VALUE ...] [-]   run a sentinel
  {NAME} check FILE [--DIRECTIVE VALUE ...] say what a configuration means, or what is wrong with it
  {NAME} demo                               watch three sentinels replace a killed master, on this machine
  {NAME} simulate [--config FILE]           random faults on virtual time, also for a deployment like yours
  {NAME} --version | --help

FILE is the sentinel.conf of redis-sentinel or valkey-sentinel. It and its directory must be writable: what the
sentinel learns and promises is kept there. The shortest one is a single line:

  sentinel monitor mymaster 127.0.0.1 6379 2

That is: watch the master at 127.0.0.1:6379 under the name "mymaster"; its replicas and the other sentinels are found
through it. It counts as down when 2 sentinels say so. Run three or more sentinels, on different machines.

Words after FILE are lines of the file that come last, so they win. A final "-" reads more lines from standard input.
  --extras FILE    read settings that redis-sentinel does not know from FILE, by default from {EXTRAS} beside the
                   sentinel.conf if it is there. There is one: log_format = "json" logs every event with its fields.

Examples:
  {NAME} demo
  {NAME} /etc/sentinel.conf
  {NAME} /etc/sentinel.conf --port 26380 --loglevel verbose
  {NAME} ./sentinel.conf --sentinel monitor cache 10.0.0.5 6379 2
  {NAME} ./demo                             run a sentinel with the file named demo
  redis-cli -p 26379 sentinel masters              ask a running sentinel
  redis-cli -p 26379 psubscribe '*'                hear everything that it decides
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the words `argv` (by default those of the process) and return the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(words)
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(words: list[str]) -> int:
    first = words[0] if words else ""
    if first in ("-v", "--version"):
        print(f"{NAME} v={VERSION} python={sys.version.split()[0]} bits={sys.maxsize.bit_length() + 1}")
        return 0
    if first in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    if first == "demo":
        from trio_sentinel.demo import main as demo

        return demo(words[1:])
    if first == "simulate":
        from trio_sentinel.sim.command import main as simulate

        return simulate(words[1:])
    if first == "check":
        return check(words[1:])
    return run_sentinel(words)


# ---------------------------------------------------------------- words -> configuration


@frozen(kw_only=True)
class CommandLine:
    """The words of a daemon, told apart."""

    path: str | None
    """The configuration file, absolute."""
    options: tuple[str, ...]
    stdin: bool
    extras: str | None
    """The file of settings that stock does not know, absolute."""


def parse(words: Sequence[str], cwd: str) -> CommandLine:
    """Tell the words apart (1.1). Raises StartupError for `--extras` without a file."""
    rest, extras = _without_extras(list(words))
    path = None
    if rest and not rest[0].startswith("-"):
        path = posixpath.normpath(posixpath.join(cwd, rest.pop(0)))
    stdin = False
    if rest and rest[0] == "-" and path is None:
        stdin = True
        rest.pop(0)
    if rest and rest[-1] == "-":
        stdin = True
        rest.pop()
    return CommandLine(
        path=path,
        options=tuple(rest),
        stdin=stdin,
        extras=None if extras is None else posixpath.normpath(posixpath.join(cwd, extras)),
    )


def _without_extras(words: list[str]) -> tuple[list[str], str | None]:
    """The words without ``--extras FILE``, and that file; the last one wins."""
    extras = None
    while "--extras" in words:
        at = words.index("--extras")
        if at + 1 == len(words):
            raise StartupError("The option --extras needs a file name. Exiting...")
        extras = words[at + 1]
        del words[at : at + 2]
    return words, extras


def load(command: CommandLine, log: Log, *, rehearsal: bool = False) -> Configuration:
    """Read the configuration and enter its directory; a `rehearsal` creates no log file.

    Raises ConfigError (a wrong line) or StartupError (a file that cannot be read).
    """
    from trio_sentinel.adapters import disk

    stdin = None
    if command.stdin:
        log(Level.NOTICE, "Reading config from stdin")
        stdin = sys.stdin.buffer.read()
    configuration = disk.load_file(command.path, options=command.options, stdin=stdin, open_log=not rehearsal)
    os.chdir(configuration.directives.dir)  # scripts and relative paths start there
    return configuration


def load_extras(command: CommandLine) -> Extras:
    """The settings of `--extras`, or of EXTRAS beside the configuration if it is there. Raises ConfigError or
    StartupError."""
    from trio_sentinel.wire import extras

    path = command.extras
    if path is None and command.path is not None:
        beside = posixpath.join(posixpath.dirname(command.path), EXTRAS)
        path = beside if os.path.lexists(beside) else None
    return extras.Extras() if path is None else extras.load_extras(_read(path), path=path)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise StartupError(f"Fatal error, can't open config file '{path}': {error.strerror}") from error


def log_options(directives: Directives, extras: Extras) -> LogOptions:
    """Where and how the log is written."""
    from trio_sentinel.adapters.logs import LogOptions

    return LogOptions(
        level=directives.loglevel,
        layout="facts" if extras.log_format == "json" else directives.log_format,
        timestamp=directives.log_timestamp_format,
        path=directives.logfile,
        syslog_ident=directives.syslog_ident if directives.syslog_enabled else None,
        syslog_facility=directives.syslog_facility,
    )


# ---------------------------------------------------------------- check


def check(words: Sequence[str]) -> int:
    """``trio-sentinel check FILE``: 0 when a sentinel could run with it. Starts and writes nothing."""
    from trio_sentinel.adapters.logs import Log, LogOptions
    from trio_sentinel.wire.conf import fatal_report

    try:
        command = parse(words, str(Path.cwd()))
        if command.path is None:
            raise StartupError(f"Usage: {NAME} check FILE [--DIRECTIVE VALUE ...]")
        configuration = load(command, Log(LogOptions(level="nothing")), rehearsal=True)
        load_extras(command)
    except ConfigError as error:
        sys.stderr.write(fatal_report(error, VERSION))
        return REFUSED
    except StartupError as error:
        print(error, file=sys.stderr)
        return REFUSED
    problems = list(_problems(configuration))
    print(f"{command.path}: {'cannot be used' if problems else 'good'}")
    for line in _summary(configuration):
        print(f"  {line}")
    for problem in problems:
        print(f"problem: {problem}", file=sys.stderr)
    return REFUSED if problems else 0


def _problems(configuration: Configuration) -> Iterator[str]:
    """What would keep a sentinel from starting, or from saving."""
    from trio_sentinel.adapters.users import load_users

    assert configuration.path is not None
    directory = Path(configuration.path).parent
    if not os.access(directory, os.W_OK | os.X_OK):
        yield f"The directory {directory} is not writable: nothing can be saved."
    try:
        system.refuse_unwritable(configuration.path)
        system.refuse_two_user_lists(configuration.directives)
        system.refuse_deafness(configuration.directives)
        load_users(configuration.directives)
    except StartupError as error:
        yield from error.lines


def _summary(configuration: Configuration) -> Iterator[str]:
    """What the configuration means, for people."""
    directives, snapshot = configuration.directives, configuration.snapshot
    ports = [f"port {directives.port}"] if directives.port else []
    ports += [f"TLS port {directives.tls_port}"] if directives.tls_port else []
    if ports:
        yield f"listens on {' '.join(directives.bind)}, {' and '.join(ports)}"
    if directives.unixsocket:
        yield f"listens on {directives.unixsocket}"
    yield f"id {snapshot.my_id or 'not chosen yet: done by the first start'}; epoch {snapshot.current_epoch}"
    for master in snapshot.masters:
        settings = master.settings
        yield f"master {master.name} at {master.address}, quorum {settings.quorum}, epoch {master.config_epoch}"
        yield f"  known: {len(master.replicas)} replicas, {len(master.peers)} other sentinels"
        yield f"  down after {settings.down_after_ms} ms, failover timeout {settings.failover_timeout_ms} ms"
        if master.peers and settings.quorum > len(master.peers) + 1:
            yield f"  note: its quorum is higher than the {len(master.peers) + 1} sentinels that are known"
    if not snapshot.masters:
        yield "note: no master is watched yet; SENTINEL MONITOR adds one"


# ---------------------------------------------------------------- the daemon


@frozen(kw_only=True, eq=False)
class Job:
    """What the running daemon needs."""

    configuration: Configuration
    extras: Extras
    log: Log
    supervision: Supervision
    listeners: Listeners


def run_sentinel(words: Sequence[str]) -> int:
    """Start a sentinel and run it to its end."""
    gc.disable()  # imports make no garbage worth looking for; `serve_daemon` turns it on again
    from trio_sentinel.adapters.logs import Log, LogOptions
    from trio_sentinel.wire.conf import fatal_report

    log = Log(LogOptions())
    try:
        command = parse(words, str(Path.cwd()))
        configuration = load(command, log)
        extras = load_extras(command)
        log = Log(log_options(configuration.directives, extras))
        if command.path is None:
            raise StartupError("Sentinel needs config file on disk to save state. Exiting...")
        return _start(configuration, extras, command.path, log)
    except ConfigError as error:
        sys.stderr.write(fatal_report(error, VERSION))
    except StartupError as error:
        for line in error.lines:
            log(Level.WARNING, line)
    if not words:
        print(f"Try: {NAME} --help", file=sys.stderr)
    return REFUSED


def _links_of(configuration: Configuration) -> int:
    """How many connections to servers and peers the file makes likely."""
    return sum(2 * (1 + len(master.replicas)) + len(master.peers) for master in configuration.snapshot.masters)


def _start(configuration: Configuration, extras: Extras, path: str, log: Log) -> int:
    """Take the place of a daemon in the system, in the order of stock, and serve. Raises StartupError."""
    from trio_sentinel.adapters.network import open_listeners

    directives = configuration.directives
    system.refuse_unwritable(path)
    supervision = system.supervision_of(directives.supervised, log)
    background = not supervision.begin() and directives.daemonize
    if background:
        system.daemonize()
    log(Level.NOTICE, f"oO0OoO0OoO0Oo {NAME} is starting oO0OoO0OoO0Oo")
    about = f"bits={sys.maxsize.bit_length() + 1}, commit=00000000, modified=0, pid={os.getpid()}"
    log(Level.NOTICE, f"{NAME} version={VERSION}, {about}, just started")
    log(Level.NOTICE, "Configuration loaded")
    for line in system.fit_descriptors(directives.maxclients, _links_of(configuration)):
        log(*line)
    log(Level.NOTICE, "monotonic clock: POSIX clock_gettime")
    pid_file = directives.pidfile or (DEFAULT_PID_FILE if background else "")
    complaint = system.write_pid_file(pid_file) if pid_file else None
    if complaint is not None:
        log(Level.WARNING, complaint)
    status = REFUSED
    try:
        _settle_in(directives, path, log)
        # Clients that come while the rest is imported wait for it, and are not refused.
        listeners = open_listeners(directives)
        status = _serve(
            Job(configuration=configuration, extras=extras, log=log, supervision=supervision, listeners=listeners)
        )
    finally:
        if pid_file and status != CRASHED:  # a crash cleans nothing up
            if status == 0:
                log(Level.NOTICE, "Removing the pid file.")
            system.remove_pid_file(pid_file)
    if status == 0:
        log(Level.WARNING, "Sentinel is now ready to exit, bye bye...")
    return status


def _settle_in(directives: Directives, path: str, log: Log) -> None:
    """The last steps before the service. Raises StartupError."""
    from trio_sentinel.adapters.network import backlog_warning

    if directives.set_proc_title:
        program = sys.argv[0]
        if posixpath.basename(program) in ("__main__.py", "-c", ""):
            program = NAME
        system.set_title(system.title_of(directives, program, path))
    log(Level.NOTICE, f"Running mode=sentinel, port={system.main_port(directives)}.")
    warning = backlog_warning(directives.tcp_backlog)
    if warning is not None:
        log(Level.WARNING, warning)
    system.refuse_two_user_lists(directives)
    system.refuse_deafness(directives)
    system.ignore_signals()
    system.report_crashes(directives.logfile)


def _serve(job: Job) -> int:
    """Run the service; its end as an exit status. Raises StartupError when it could not begin."""
    import trio

    status = 0
    refusals: list[StartupError] = []
    try:
        trio.run(run_daemon, job)
    except* SimulatedCrash:
        job.log(Level.WARNING, "Sentinel CRASH because of SENTINEL simulate-failure")
        status = CRASHED
    except* StartupError as group:
        refusals = [error for error in _leaves(group) if isinstance(error, StartupError)]
    except* KeyboardInterrupt:
        status = INTERRUPTED
    except* Exception as group:  # a bug of ours: the only place in the house that catches any exception
        status = REFUSED
        job.log(Level.WARNING, f"{NAME} ends because of a bug in it: {'; '.join(map(repr, _leaves(group)))}")
        for line in "".join(traceback.format_exception(group)).splitlines():
            job.log(Level.WARNING, line)
    if refusals:
        raise refusals[0]
    return status


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The exceptions in `group` that are no groups."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


@frozen(eq=False)
class _Shutdown:
    """What signals do to the service."""

    job: Job
    service: trio.CancelScope = field()

    async def heed_signals(self, task_status: trio.TaskStatus[None]) -> None:
        """SIGTERM and SIGINT stop the service; SIGINT while it stops ends the process at once (5.3)."""
        import signal

        import trio

        log = self.job.log
        stopping = False
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for number in signals:
                if stopping:
                    if number == signal.SIGINT:
                        log.from_signal("You insist... exiting now.")
                        os._exit(REFUSED)
                    continue
                stopping = True
                log.from_signal(f"Received {signal.Signals(number).name} scheduling shutdown...")
                log(Level.NOTICE, "User requested shutdown...")
                self.service.cancel()


async def run_daemon(job: Job) -> None:
    """The service with a signal task around it; returns when either has ended it."""
    import trio

    from trio_sentinel.app import serve_daemon

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as service:
            await nursery.start(_Shutdown(job, service).heed_signals)
            await serve_daemon(
                configuration=job.configuration,
                extras=job.extras,
                log=job.log,
                listeners=job.listeners,
                on_listening=job.supervision.ready,
            )
        job.supervision.stopping()
        nursery.cancel_scope.cancel()
