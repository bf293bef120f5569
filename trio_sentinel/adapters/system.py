"""What a daemon asks of its operating system: descriptors, pid file, title, background, supervision (5.2-5.6).

Section numbers are those of config-and-events.md. Lines for the log are returned, not written: the caller owns the
log. Nothing here needs Trio, so that a refusal costs no import of it.
"""

from __future__ import annotations

import faulthandler
import os
import re
import resource
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

from attrs import Factory, define

from trio_sentinel.errors import StartupError
from trio_sentinel.model.values import Level
from trio_sentinel.wire.directives import Directives

NAME: Final = "trio-sentinel"
VERSION: Final = "0.1.0"  # tests/cli compares it with pyproject.toml
FEW_LINKS: Final = 16  # connections to servers and peers that RESERVED_DESCRIPTORS has room for
RESERVED_DESCRIPTORS: Final = 32  # on top of maxclients: listeners, links, scripts, files

Line: TypeAlias = tuple[Level, str]
Say: TypeAlias = Callable[[Level, str], None]


def refuse_unwritable(path: str) -> None:
    """Raises StartupError when the configuration at `path` exists and may not be written (2.5)."""
    if Path(path).exists() and not os.access(path, os.W_OK):
        raise StartupError(f"Sentinel config file {path} is not writable: Permission denied. Exiting...")


def refuse_two_user_lists(directives: Directives) -> None:
    """Raises StartupError when there are both `user` lines and an ACL file (5.2)."""
    if directives.users and directives.aclfile:
        raise StartupError(
            f"Configuring {NAME} with users defined in sentinel.conf and at the same setting an ACL file path is "
            "invalid. This setup is very likely to lead to configuration errors and security holes, please define "
            "either an ACL file or declare users directly in your sentinel.conf, but not both."
        )


def refuse_deafness(directives: Directives) -> None:
    """Raises StartupError when the configuration names nothing to listen on (5.2)."""
    by_tcp = any(directives.bind) and (directives.port or directives.tls_port)
    if not by_tcp and not directives.unixsocket:
        raise StartupError("Configured to not listen anywhere, exiting.")


# ---------------------------------------------------------------- descriptors and backlog


def fit_descriptors(maxclients: int, links: int = 0) -> tuple[Line, ...]:
    """Make room for `maxclients` and `links`; the lines about it (5.6). `client_limit` tells what came of it.

    Raises StartupError when not even one fits. A reduced number is for this run; it is never saved, unlike stock.
    """
    needed = maxclients + RESERVED_DESCRIPTORS + max(0, links - FEW_LINKS)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return ()
    refusal = _raise_limit(needed, hard)
    if refusal is None:
        text = f"Increased maximum number of open files to {needed} (it was originally set to {soft})."
        return ((Level.NOTICE, text),)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit <= RESERVED_DESCRIPTORS:
        raise StartupError(
            f"Your current 'ulimit -n' of {limit} is not enough for the server to start. "
            f"Please increase your open file limit to at least {needed}. Exiting."
        )
    lines = (
        f"You requested maxclients of {maxclients} requiring at least {needed} max file descriptors.",
        f"Server can't set maximum open files to {needed} because of OS error: {refusal}.",
        (
            f"Current maximum open files is {limit}. maxclients has been reduced to {client_limit(maxclients)} "
            "to compensate for low ulimit. If you need higher maxclients increase 'ulimit -n'."
        ),
    )
    return tuple([(Level.WARNING, line) for line in lines])


def client_limit(maxclients: int, links: int = 0) -> int:
    """How many clients the descriptors of this process allow beside `links` links, at most `maxclients`.

    Connections to servers and peers come first: without them a sentinel is blind, whoever it serves.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return maxclients
    return min(maxclients, max(1, limit - RESERVED_DESCRIPTORS - max(0, links - FEW_LINKS)))


def _raise_limit(needed: int, hard: int) -> str | None:
    """Raise the soft limit to `needed`, or as far as it goes; why it did not go so far."""
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, max(needed, hard)))
    except (OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, hard), hard))
        return "Operation not permitted"
    return None


# ---------------------------------------------------------------- background, pid file, title, signals


def daemonize() -> None:
    """Go to the background: the parent exits 0 at once, the child has its own session and no terminal (5.5)."""
    if os.fork() != 0:
        os._exit(0)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    if null > 2:
        os.close(null)


def write_pid_file(path: str) -> str | None:
    """Write ``<pid>\\n``; the line for the log when that fails, which is no reason to stop (5.4)."""
    try:
        Path(path).write_text(f"{os.getpid()}\n")
    except OSError as error:
        return f"Failed to write PID file: {error.strerror}"
    return None


def remove_pid_file(path: str) -> bool:
    """Remove it; False when there was none to remove."""
    try:
        Path(path).unlink()
    except OSError:
        return False
    return True


def main_port(directives: Directives) -> int:
    """The port that is shown: the TLS port when there is no plain one."""
    return directives.port or directives.tls_port


def listen_address(directives: Directives) -> str:
    """What the process title shows: the first address and port, or the unix socket."""
    port = main_port(directives)
    if port == 0 and directives.unixsocket:
        return f"unixsocket:{directives.unixsocket}"
    host = directives.bind[0].removeprefix("-") if directives.bind else "*"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def title_of(directives: Directives, program: str, config_file: str) -> str:
    """The process title by `proc-title-template`."""
    words = {
        "{title}": program,
        "{listen-addr}": listen_address(directives),
        "{server-mode}": "[sentinel]",
        "{port}": str(directives.port),
        "{tls-port}": str(directives.tls_port),
        "{unixsocket}": directives.unixsocket,
        "{config-file}": config_file,
    }
    title = re.sub(r"\{[a-z-]+\}", lambda found: words.get(found[0], found[0]), directives.proc_title_template)
    return title.rstrip(" ")


def set_title(title: str) -> None:
    """Show `title` in ``ps`` where setproctitle is installed (the extra ``daemon``). The short name (``pidof``,
    ``top``) becomes NAME in any case, where the system allows it."""
    try:
        from setproctitle import setproctitle
    except ImportError:
        pass
    else:
        setproctitle(title)
    with suppress(OSError):
        Path("/proc/self/comm").write_text(NAME)


def ignore_signals() -> None:
    """SIGHUP, SIGPIPE and SIGUSR2 have no effect (5.3); scripts inherit that."""
    for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


def report_crashes(path: str) -> None:
    """From now on a crash (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT) leaves the stacks of all threads in the log file
    at `path`, or on standard output, before the process dies of it (5.3)."""
    target = 1
    if path:
        with suppress(OSError):
            target = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    faulthandler.enable(target)


# ---------------------------------------------------------------- supervision


@define(eq=False)
class Supervision:
    """Who watches over this process: ``systemd``, ``upstart`` or nobody (None)."""

    kind: str | None
    say: Say
    environ: Mapping[str, str] = Factory(lambda: os.environ)

    def begin(self) -> bool:
        """Report for duty; whether somebody took notice (and `daemonize` has no effect)."""
        if self.kind == "systemd":
            if not self.notify(f"STATUS={NAME} is loading...\n"):
                return False
            self.say(
                Level.NOTICE,
                "Supervised by systemd. Please make sure you set appropriate values for TimeoutStartSec and "
                "TimeoutStopSec in your service unit.",
            )
            return True
        if self.kind == "upstart":
            self.say(Level.NOTICE, "Supervised by upstart, will stop to signal readiness.")
            os.kill(os.getpid(), signal.SIGSTOP)
            return True
        return False

    def ready(self) -> None:
        """We listen."""
        if self.kind == "systemd":
            self.notify("STATUS=Ready to accept connections\n")
            self.notify("READY=1\n")

    def stopping(self) -> None:
        """We go."""
        if self.kind == "systemd":
            self.notify("STOPPING=1\n")

    def notify(self, text: str) -> bool:
        """One datagram to systemd; trouble with it is only logged, and told by False."""
        path = self.environ.get("NOTIFY_SOCKET", "")
        if not path:
            self.say(Level.WARNING, "systemd supervision error: NOTIFY_SOCKET not found!")
            return False
        address = "\0" + path[1:] if path.startswith("@") else path
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.setblocking(False)  # a supervisor that does not read must not stop us
                out.sendto(text.encode(), address)
        except OSError as error:
            self.say(Level.WARNING, f"systemd supervision error: cannot notify: {error.strerror}")
            return False
        return True


def supervision_of(word: str, say: Say, environ: Mapping[str, str] = os.environ) -> Supervision:
    """What `supervised` means in this environment (5.5)."""
    kind: str | None = None
    if word == "systemd":
        kind = "systemd"
    elif word == "upstart":
        if "UPSTART_JOB" in environ:
            kind = "upstart"
        else:
            say(Level.WARNING, "upstart supervision requested, but UPSTART_JOB not found!")
    elif word == "auto":
        kind = "upstart" if "UPSTART_JOB" in environ else "systemd" if "NOTIFY_SOCKET" in environ else None
    return Supervision(kind, say, environ)
