"""Log lines look like stock's and writing them never fails."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from trio_sentinel.adapters.logs import FORMATS, TIMESTAMPS, Log, LogOptions, stamp
from trio_sentinel.model.values import Level

AT = 1795339053.167
ODD = 'a "b" \n\r\t\x01 é ' + b"\xff".decode("utf-8", "surrogateescape")


@pytest.fixture(autouse=True)
def _kolkata(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def written(path: Path, options: LogOptions, *lines: tuple[Level, str]) -> bytes:
    log = Log(options, wall=lambda: AT)
    for level, text in lines:
        log(level, text)
    return path.read_bytes() if path.exists() else b""


def test_the_marks_of_the_levels(tmp_path: Path) -> None:
    path = tmp_path / "log"
    text = written(path, LogOptions(path=str(path), level="debug"), *[(level, level.name) for level in Level])
    pid = os.getpid()
    at = "22 Nov 2026 14:47:33.167"
    assert text.decode().splitlines() == [
        f"{pid}:X {at} . DEBUG",
        f"{pid}:X {at} - VERBOSE",
        f"{pid}:X {at} * NOTICE",
        f"{pid}:X {at} # WARNING",
    ]


def test_stamps() -> None:
    assert stamp("legacy", AT) == "22 Nov 2026 14:47:33.167"
    assert stamp("iso8601", AT) == "2026-11-22T14:47:33.167+05:30"
    assert stamp("milliseconds", AT) == "1795339053167"
    assert stamp("milliseconds", 1795339053.0049) == "1795339053004"


def test_a_zone_west_of_greenwich(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/St_Johns")
    time.tzset()
    assert stamp("iso8601", AT) == "2026-11-22T05:47:33.167-03:30"


@pytest.mark.parametrize(
    ("level", "heard"),
    [("debug", 4), ("verbose", 3), ("notice", 2), ("warning", 1), ("nothing", 0)],
)
def test_loglevel(tmp_path: Path, level: str, heard: int) -> None:
    path = tmp_path / "log"
    text = written(path, LogOptions(path=str(path), level=level), *[(one, "x") for one in Level])
    assert text.count(b"\n") == heard


def test_loglevel_changes_at_run_time(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = Log(LogOptions(path=str(path)))
    log.set_level("warning")
    log(Level.NOTICE, "x")
    log.set_level("debug")
    log(Level.DEBUG, "y")
    assert path.read_text().endswith(". y\n")
    assert log.level == "debug"


def test_logfmt(tmp_path: Path) -> None:
    path = tmp_path / "log"
    options = LogOptions(path=str(path), layout="logfmt", level="verbose")
    text = written(path, options, (Level.VERBOSE, 'say "x"\r\ny'))
    assert text.decode() == (
        f'pid={os.getpid()} role=sentinel timestamp="22 Nov 2026 14:47:33.167" level=info message="say \'x\'  y"\n'
    )


def test_json_is_json_whatever_the_text_is(tmp_path: Path) -> None:
    path = tmp_path / "log"
    options = LogOptions(path=str(path), layout="json", timestamp="milliseconds")
    text = written(path, options, (Level.WARNING, ODD))
    assert text.count(b"\n") == 1
    assert text.startswith(b'{"pid":')
    assert json.loads(text) == {
        "pid": os.getpid(),
        "role": "sentinel",
        "timestamp": "1795339053167",
        "level": "warning",
        "message": 'a "b" \n\r\t\x01 é \ufffd',
    }


def test_facts_are_one_json_object_with_the_fields_of_the_event(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = Log(LogOptions(path=str(path), layout="facts"), wall=lambda: AT)
    log.with_facts(Level.WARNING, "+sdown " + ODD, {"event": "+sdown", "port": 6379, "who": None})
    log(Level.NOTICE, "plain")
    log.from_signal("Received SIGTERM scheduling shutdown...")
    one, other, last = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert one["time"] == "2026-11-22T14:47:33.167+05:30"
    assert (one["level"], one["event"], one["port"], one["who"]) == ("warning", "+sdown", 6379, None)
    assert last["message"].startswith("Received SIGTERM")
    assert other == {"time": one["time"], "level": "notice", "pid": os.getpid(), "message": "plain"}


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("timestamp", TIMESTAMPS)
def test_a_text_from_outside_cannot_forge_a_line(tmp_path: Path, layout: str, timestamp: str) -> None:
    path = tmp_path / "log"
    text = written(path, LogOptions(path=str(path), layout=layout, timestamp=timestamp), (Level.WARNING, ODD))
    assert text.count(b"\n") == 1
    assert b"\x01" not in text


def test_the_file_may_be_rotated_away(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = Log(LogOptions(path=str(path)))
    log(Level.WARNING, "one")
    path.rename(tmp_path / "old")
    log(Level.WARNING, "two")
    assert path.read_text().endswith("# two\n")


def test_a_signal_line_ignores_the_format(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = Log(LogOptions(path=str(path), layout="json", level="warning"), wall=lambda: AT)
    log.from_signal("Received SIGTERM scheduling shutdown...")
    log.set_level("nothing")
    log.from_signal("not said")
    assert path.read_text() == (f"{os.getpid()}:signal-handler (1795339053) Received SIGTERM scheduling shutdown...\n")


@pytest.mark.parametrize("path", ["/dev/full", "/nowhere/log", "/"])
def test_a_file_that_takes_nothing_does_no_harm(path: str) -> None:
    Log(LogOptions(path=path))(Level.WARNING, "x")


def test_a_closed_standard_output_does_no_harm() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    log = Log(LogOptions(), stdout=writer)
    log(Level.WARNING, "x")
    os.close(writer)
    log(Level.WARNING, "x")
    Log(LogOptions(), stdout=-1)(Level.WARNING, "x")


def test_a_pipe_that_nobody_reads_does_not_stop_us_and_the_loss_is_told() -> None:
    reader, writer = os.pipe()
    log = Log(LogOptions(), stdout=writer)
    for _ in range(2000):
        log(Level.WARNING, "x" * 1000)
    os.set_blocking(reader, False)
    taken = os.read(reader, 1 << 20).count(b"\n")
    log(Level.WARNING, "back again")
    rest = os.read(reader, 1 << 20).decode().splitlines()
    assert rest[0].endswith(f" # {2000 - taken} log lines were lost: nobody read them")
    assert rest[1].endswith(" # back again")
    log(Level.WARNING, "and on")
    assert len(os.read(reader, 1 << 20).splitlines()) == 1
    os.close(reader)
    os.close(writer)


def test_syslog_takes_only_the_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import syslog

    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(syslog, "openlog", lambda *words: calls.append(words))
    monkeypatch.setattr(syslog, "syslog", lambda *words: calls.append(words))
    options = LogOptions(path=str(tmp_path / "log"), level="verbose", syslog_ident="mine", syslog_facility="local3")
    log = Log(options)
    log(Level.VERBOSE, "+role-change \ud800\0")
    log(Level.DEBUG, "unheard")
    assert calls == [
        ("mine", syslog.LOG_PID | syslog.LOG_NDELAY, syslog.LOG_LOCAL3),
        (syslog.LOG_INFO, "+role-change ?\\x00"),
    ]
