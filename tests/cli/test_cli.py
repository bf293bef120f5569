"""The command line as a process: words, refusals, signals, pid file, supervision, exit statuses."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trio_sentinel.adapters import system
from trio_sentinel.cli import parse
from trio_sentinel.errors import StartupError
from trio_sentinel.wire.directives import Directives

ROOT = Path(__file__).parents[2]
DRIVER = """
import sys, types
import trio
{body}
app = types.ModuleType("trio_sentinel.app")
app.serve_daemon = serve_daemon
sys.modules["trio_sentinel.app"] = app
from trio_sentinel.adapters import network
network.open_listeners = lambda directives: None  # no port is taken
from trio_sentinel.cli import main
sys.argv[0] = "trio-sentinel"
sys.exit(main())
"""
SERVE = """
async def serve_daemon(*, configuration, extras, log, listeners, on_listening):
    on_listening()
    await trio.sleep_forever()
"""


def environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("NOTIFY_SOCKET", "UPSTART_JOB")}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def run(*words: str, stdin: bytes = b"", cwd: Path = ROOT, flags: tuple[str, ...] = ()) -> tuple[int, str, str]:
    """One run to its end: status, standard output, standard error."""
    done = subprocess.run(
        [sys.executable, *flags, "-m", "trio_sentinel", *words],
        input=stdin,
        capture_output=True,
        env=environment(),
        cwd=cwd,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a daemon whose service is a stand-in; every one is ended."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(*words: str, body: str = SERVE, **more: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER.format(body=body), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(**more),
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "sentinel.conf"
    path.write_text("port 26999\nbind 127.0.0.1\nsentinel monitor mm 127.0.0.1 43001 2\n")
    return path


def texts(output: str) -> list[str]:
    """The lines of a log without pid, time and mark."""
    return [re.sub(r"^\d+:X .{24} [.*#-] ", "", line) for line in output.splitlines()]


def until_it_says(process: subprocess.Popen[bytes], words: str) -> list[str]:
    """Read the log of `process` up to the line that holds `words`."""
    assert process.stdout is not None
    lines = []
    for raw in process.stdout:
        lines.append(raw.decode().rstrip("\n"))
        if words in lines[-1]:
            return lines
    raise AssertionError(f"{words!r} was not said: {lines}")


# ---------------------------------------------------------------- words


@pytest.mark.parametrize("word", ["-v", "--version"])
def test_version(word: str) -> None:
    status, out, err = run(word)
    assert (status, err) == (0, "")
    assert out.startswith(f"trio-sentinel v={system.VERSION} ")


def test_the_version_is_that_of_the_package() -> None:
    with open(ROOT / "pyproject.toml", "rb") as file:
        assert tomllib.load(file)["project"]["version"] == system.VERSION


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help(word: str) -> None:
    status, out, err = run(word)
    assert (status, err) == (0, "")
    for needed in ("Usage:", "demo", "check", "--extras", "sentinel monitor mymaster"):
        assert needed in out
    assert max(map(len, out.splitlines())) <= 120


def test_version_and_help_do_not_import_trio() -> None:
    for word in ("--version", "--help"):
        _, _, err = run(word, flags=("-X", "importtime"))
        imported = set(re.findall(r"\|\s+(\S+)$", err, re.MULTILINE))
        assert "trio_sentinel.adapters.system" in imported
        assert "trio" not in imported


def test_words_are_told_apart() -> None:
    command = parse(["a/../b.conf", "--port", "1", "--extras", "x.toml", "--loglevel", "debug", "-"], "/etc")
    assert (command.path, command.extras, command.stdin) == ("/etc/b.conf", "/etc/x.toml", True)
    assert command.options == ("--port", "1", "--loglevel", "debug")
    command = parse(["-", "--port", "1"], "/etc")
    assert (command.path, command.stdin, command.options) == (None, True, ("--port", "1"))
    assert parse(["./demo"], "/etc").path == "/etc/demo"
    with pytest.raises(StartupError):
        parse(["a.conf", "--extras"], "/etc")


# ---------------------------------------------------------------- refusals, in the words of stock


def test_no_words_at_all_is_refused_with_a_hint() -> None:
    status, out, err = run()
    assert status == 1
    assert texts(out) == ["Sentinel needs config file on disk to save state. Exiting..."]
    assert re.match(r"^\d+:X \d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3} # Sentinel needs", out)
    assert "--help" in err


def test_options_without_a_file_are_refused() -> None:
    assert texts(run("--port", "0")[1]) == ["Sentinel needs config file on disk to save state. Exiting..."]


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    status, out, err = run("nope.conf", cwd=tmp_path)
    assert (status, err) == (1, "")
    assert texts(out) == [f"Fatal error, can't open config file '{tmp_path}/nope.conf': No such file or directory"]


def test_a_wrong_line_is_reported_on_stderr(conf: Path) -> None:
    conf.write_text("port 26999\nsentinel monitor mm 127.0.0.1 43001 0\n")
    status, out, err = run(str(conf))
    assert (status, out) == (1, "")
    assert err == (
        f"\n*** FATAL CONFIG FILE ERROR (Version {system.VERSION}) ***\n"
        "Reading the configuration file, at line 2\n"
        ">>> 'sentinel monitor mm 127.0.0.1 43001 0'\n"
        "Quorum must be 1 or greater.\n"
    )


def test_options_come_after_the_file_and_win(conf: Path) -> None:
    status, _, err = run(str(conf), "--port", "70000")
    assert status == 1
    assert "at line 5\n>>> 'port \"70000\"'\nargument must be between 0 and 65535 inclusive\n" in err


def test_a_lone_dash_reads_standard_input(conf: Path) -> None:
    status, out, err = run(str(conf), "-", stdin=b"port nope\n")
    assert status == 1
    assert texts(out) == ["Reading config from stdin"]
    assert ">>> 'port nope'" in err


def test_an_unwritable_file_is_refused(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everything
    with pytest.raises(StartupError) as refusal:
        system.refuse_unwritable(str(conf))
    assert refusal.value.lines == (f"Sentinel config file {conf} is not writable: Permission denied. Exiting...",)
    system.refuse_unwritable(str(conf) + "x")


def test_nothing_to_listen_on_is_refused(conf: Path) -> None:
    status, out, _ = run(str(conf), "--port", "0")
    assert status == 1
    assert texts(out)[-2:] == ["Running mode=sentinel, port=0.", "Configured to not listen anywhere, exiting."]
    assert texts(run(str(conf), "--bind", "")[1])[-1] == "Configured to not listen anywhere, exiting."


def test_users_in_two_places_are_refused(conf: Path) -> None:
    conf.write_text("port 26999\nuser bob on nopass\naclfile /nowhere\n")
    status, out, _ = run(str(conf))
    assert status == 1
    assert texts(out)[-1].endswith(
        "users defined in sentinel.conf and at the same setting an ACL file path is invalid. This setup is very likely "
        "to lead to configuration errors and security holes, please define either an ACL file or declare users "
        "directly in your sentinel.conf, but not both."
    )


def test_too_few_descriptors_are_refused(conf: Path) -> None:
    words = [sys.executable, "-m", "trio_sentinel", str(conf)]
    done = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -n 32; exec "$@"', "sh", *words],
        capture_output=True,
        env=environment(),
        check=False,
    )
    allowed = "Your current 'ulimit -n' of 32 is not enough for the server to start."
    if done.returncode == 1 and allowed in done.stdout.decode():
        assert "Please increase your open file limit to at least 10032. Exiting." in done.stdout.decode()
    else:  # a privileged process raises its own limit
        assert "Increased maximum number of open files to 10032 (it was originally set to 32)." in done.stdout.decode()


# ---------------------------------------------------------------- check


def test_check_tells_what_a_good_file_means(conf: Path) -> None:
    before = conf.read_bytes()
    status, out, err = run("check", str(conf), "--logfile", "made-by-check.log", cwd=conf.parent)
    assert (status, err) == (0, "")
    assert out.startswith(f"{conf}: good\n  listens on 127.0.0.1, port 26999\n")
    assert "master mm at 127.0.0.1:43001, quorum 2" in out
    assert conf.read_bytes() == before
    assert not (conf.parent / "made-by-check.log").exists()


def test_check_tells_what_is_wrong(conf: Path) -> None:
    status, out, err = run("check", str(conf), "--port", "0")
    assert (status, err) == (1, "problem: Configured to not listen anywhere, exiting.\n")
    assert out.startswith(f"{conf}: cannot be used\n")
    status, out, err = run("check", str(conf), "--nonsense", "1")
    assert (status, out) == (1, "")
    assert "Bad directive or wrong number of arguments" in err
    assert run("check", "nope.conf")[0] == 1
    assert "Usage" in run("check")[2]


# ---------------------------------------------------------------- the daemon, with a stand-in for the service


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_start_and_stop_say_what_stock_says(start: Start, conf: Path, number: signal.Signals) -> None:
    pid_file = conf.parent / "pid"
    process = start(str(conf), "--pidfile", str(pid_file), "--tcp-backlog", "100000")
    said = until_it_says(process, "backlog")
    time.sleep(0.5)
    assert pid_file.read_text() == f"{process.pid}\n"
    process.send_signal(signal.SIGHUP)
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (0, b"")
    assert not pid_file.exists()
    first = texts("\n".join(said))
    about = f"bits=64, commit=00000000, modified=0, pid={process.pid}"
    assert first[:3] == [
        "oO0OoO0OoO0Oo trio-sentinel is starting oO0OoO0OoO0Oo",
        f"trio-sentinel version={system.VERSION}, {about}, just started",
        "Configuration loaded",
    ]
    assert first[-3:-1] == ["monotonic clock: POSIX clock_gettime", "Running mode=sentinel, port=26999."]
    last = out.decode().splitlines()
    name = number.name
    assert re.fullmatch(rf"{process.pid}:signal-handler \(\d+\) Received {name} scheduling shutdown\.\.\.", last[0])
    assert texts("\n".join(last[1:])) == [
        "User requested shutdown...",
        "Removing the pid file.",
        "Sentinel is now ready to exit, bye bye...",
    ]


def test_a_crash_leaves_a_report_in_the_log(start: Start, conf: Path) -> None:
    log = conf.parent / "log"
    body = """
async def serve_daemon(*, configuration, extras, log, on_listening):
    import os, signal
    os.kill(os.getpid(), signal.SIGABRT)
    await trio.sleep_forever()
"""
    process = start(str(conf), "--logfile", str(log), body=body)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (-signal.SIGABRT, b"", b"")
    report = log.read_text().partition("Running mode=sentinel")[2]
    assert "Fatal Python error: Aborted" in report
    assert "serve_daemon" in report


STUBBORN = """
async def serve_daemon(*, configuration, extras, log, listeners, on_listening):
    from trio_sentinel.model.values import Level
    try:
        await trio.sleep_forever()
    finally:
        log(Level.WARNING, "still busy")
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()
"""


def test_a_second_interrupt_ends_a_slow_shutdown(start: Start, conf: Path) -> None:
    process = start(str(conf), body=STUBBORN)
    until_it_says(process, "Running mode")
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    until_it_says(process, "still busy")
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (1, b"")
    assert "You insist... exiting now." in out.decode()


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        ("SimulatedCrash()", 99, "Sentinel CRASH because of SENTINEL simulate-failure"),
        ("StartupError('one', 'two')", 1, "two"),
        ("KeyboardInterrupt()", 130, ""),
        ("ValueError('a bug')", 1, "ValueError: a bug"),
    ],
)
def test_what_the_service_raises_becomes_a_status(
    start: Start, conf: Path, raised: str, status: int, said: str
) -> None:
    body = f"""
async def serve_daemon(*, configuration, extras, log, listeners, on_listening):
    from trio_sentinel.errors import SimulatedCrash, StartupError
    async with trio.open_nursery() as nursery:
        await trio.sleep(0)
        raise {raised}
"""
    pid_file = conf.parent / "pid"
    process = start(str(conf), "--pidfile", str(pid_file), body=body)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (status, b"")
    assert said in out.decode()
    assert pid_file.exists() == (status == 99)


def test_a_service_that_ends_by_itself_is_a_clean_end(start: Start, conf: Path) -> None:
    process = start(str(conf), body="async def serve_daemon(**words):\n    await trio.sleep(0)")
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, b"")
    assert texts(out.decode())[-1] == "Sentinel is now ready to exit, bye bye..."


def test_systemd_hears_of_start_and_end(start: Start, conf: Path, tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(path))
        ear.settimeout(10)
        process = start(str(conf), "--supervised", "auto", "--daemonize", "yes", NOTIFY_SOCKET=str(path))
        heard = [ear.recv(1000) for _ in range(3)]
        process.terminate()
        heard.append(ear.recv(1000))
        out, _ = process.communicate(timeout=10)
    assert heard == [
        b"STATUS=trio-sentinel is loading...\n",
        b"STATUS=Ready to accept connections\n",
        b"READY=1\n",
        b"STOPPING=1\n",
    ]
    assert process.returncode == 0  # daemonize has no effect
    assert texts(out.decode())[0].startswith("Supervised by systemd.")


def test_supervision_that_is_not_there_is_only_a_warning() -> None:
    said: list[str] = []
    supervision = system.supervision_of("systemd", lambda level, text: said.append(text), {})
    assert not supervision.begin()
    assert said == ["systemd supervision error: NOTIFY_SOCKET not found!"]
    system.supervision_of("upstart", lambda level, text: said.append(text), {})
    assert said[-1] == "upstart supervision requested, but UPSTART_JOB not found!"
    quiet = system.supervision_of("no", lambda level, text: said.append(text), {"NOTIFY_SOCKET": "/nowhere"})
    assert not quiet.begin()
    quiet.ready()
    quiet.stopping()
    assert len(said) == 2


def test_daemonize_leaves_a_daemon_with_a_pid_file_and_a_title(start: Start, conf: Path) -> None:
    log, pid_file = conf.parent / "log", conf.parent / "pid"
    words = ("--daemonize", "yes", "--logfile", str(log), "--pidfile", str(pid_file))
    process = start(str(conf), *words)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, b"", b"")
    until = time.monotonic() + 10
    while "Running mode" not in (log.read_text() if log.exists() else ""):
        assert time.monotonic() < until
        time.sleep(0.05)
    time.sleep(0.5)
    pid = int(pid_file.read_text())
    try:
        assert pid != process.pid
        assert os.getsid(pid) == pid
        title = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0")
        assert title == b"trio-sentinel 127.0.0.1:26999 [sentinel]"
        assert Path(f"/proc/{pid}/comm").read_text() == "trio-sentinel\n"
        assert os.readlink(f"/proc/{pid}/fd/1") == "/dev/null"
    finally:
        os.kill(pid, signal.SIGTERM)
    while pid_file.exists():
        assert time.monotonic() < until + 10
        time.sleep(0.05)
    assert f"{pid}:signal-handler" in log.read_text()


@pytest.mark.parametrize(
    ("directives", "shown"),
    [
        (Directives(), "*:26379"),
        (Directives(port=0, tls_port=26380, bind=("-::1",)), "[::1]:26380"),
        (Directives(port=0, unixsocket="/run/s"), "unixsocket:/run/s"),
    ],
)
def test_the_title_shows_where_it_listens(directives: Directives, shown: str) -> None:
    assert system.title_of(directives, "t", "/c") == f"t {shown} [sentinel]"


def test_the_extras_file_is_checked(conf: Path) -> None:
    extras = conf.parent / "x.toml"
    extras.write_text("nonsense = 1\n")
    status, out, err = run(str(conf), "--extras", str(extras))
    assert (status, out) == (1, "")
    assert "unknown key 'nonsense'" in err


def test_the_extras_file_asks_for_a_log_for_machines(conf: Path) -> None:
    extras = conf.parent / "x.toml"
    extras.write_text('log_format = "json"\n')
    status, out, _ = run(str(conf), "--extras", str(extras), "--port", "0")
    assert status == 1
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines[-1]["message"] == "Configured to not listen anywhere, exiting."


def test_an_extras_file_beside_the_configuration_is_read(conf: Path) -> None:
    (conf.parent / "sentinel.toml").write_text('log_format = "json"\n')
    status, out, _ = run(str(conf), "--port", "0")
    assert status == 1
    assert json.loads(out.splitlines()[-1])["level"] == "warning"
    other = conf.parent / "x.toml"
    other.write_text("")
    assert texts(run(str(conf), "--port", "0", "--extras", str(other))[1])[-1].startswith("Configured to not listen")
