"""The log: stock's line format (config-and-events.md 3.3) to a file, standard output and syslog.

1. Nothing here raises: a full disk or a closed standard output must not end a failover.
2. Nothing here waits for a reader: a line that a full pipe does not take is dropped, and counted in the next one.
3. A file is opened for each line, so that rotation needs no signal.

A formatter of our own: the formats are stock's, and a logging library would cost more start-up time than all of them.
"""

from __future__ import annotations

import errno
import json
import os
import re
import select
import syslog
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from attrs import define, field, frozen

from trio_sentinel.model.values import Level

LEVELS: Final[dict[str, Level | None]] = {
    "debug": Level.DEBUG,
    "verbose": Level.VERBOSE,
    "notice": Level.NOTICE,
    "warning": Level.WARNING,
    "nothing": None,
}
"""The words of `loglevel`."""

FORMATS: Final = ("legacy", "logfmt", "json", "facts")
"""The words of `log-format`, and ``facts``, which is ours: JSON with the fields of the event."""
TIMESTAMPS: Final = ("legacy", "iso8601", "milliseconds")

_MARKS: Final = {Level.DEBUG: ".", Level.VERBOSE: "-", Level.NOTICE: "*", Level.WARNING: "#"}
_WORDS: Final = {Level.DEBUG: "debug", Level.VERBOSE: "info", Level.NOTICE: "notice", Level.WARNING: "warning"}
_PRIORITIES: Final = {
    Level.DEBUG: syslog.LOG_DEBUG,
    Level.VERBOSE: syslog.LOG_INFO,
    Level.NOTICE: syslog.LOG_NOTICE,
    Level.WARNING: syslog.LOG_WARNING,
}
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_ATOMIC: Final = 4096  # a pipe that is writable takes this much at once (PIPE_BUF)


@frozen(kw_only=True)
class LogOptions:
    """The log directives of the configuration, in their own words (config-and-events.md 1.6)."""

    level: str = "notice"
    layout: str = "legacy"
    timestamp: str = "legacy"
    path: str = ""
    """Empty: standard output."""
    syslog_ident: str | None = None
    """None: no syslog."""
    syslog_facility: str = "local0"


def stamp(kind: str, wall_s: float) -> str:
    """The moment `wall_s` (seconds since 1970) in local time, months in English whatever the locale."""
    seconds, ms = divmod(int(wall_s * 1000), 1000)
    if kind == "milliseconds":
        return f"{seconds}{ms:03}"
    at = time.localtime(seconds)
    clock = f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02}.{ms:03}"
    if kind == "iso8601":
        sign, offset = ("-", -at.tm_gmtoff) if at.tm_gmtoff < 0 else ("+", at.tm_gmtoff)
        zone = f"{sign}{offset // 3600:02}:{offset % 3600 // 60:02}"
        return f"{at.tm_year}-{at.tm_mon:02}-{at.tm_mday:02}T{clock}{zone}"
    return f"{at.tm_mday:02} {_MONTHS[at.tm_mon - 1]} {at.tm_year} {clock}"


def _escaped(found: re.Match[str]) -> str:
    return f"\\x{ord(found[0]):02x}"


def _one_line(text: str) -> str:
    """`text` without control characters: a name from outside cannot forge a line."""
    return _CONTROL.sub(_escaped, text) if _CONTROL.search(text) else text


def _bytes(text: str) -> bytes:
    """What came in as bytes goes out unchanged; what cannot be written at all becomes a question mark."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


@define(eq=False)
class Log:
    """Where log lines go. Called with a level and a text; see LogOptions for the rest."""

    options: LogOptions
    wall: Callable[[], float] = time.time
    stdout: int = 1
    """The descriptor that stands for standard output; -1 when there is none any more (daemonized)."""
    _level: Level | None = field(init=False)
    _lost: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._level = LEVELS[self.options.level]
        if self.options.syslog_ident is not None:
            facility = getattr(syslog, f"LOG_{self.options.syslog_facility.upper()}")
            syslog.openlog(self.options.syslog_ident, syslog.LOG_PID | syslog.LOG_NDELAY, facility)

    @property
    def level(self) -> str:
        """The word of `loglevel` in force."""
        return next(word for word, level in LEVELS.items() if level is self._level)

    def set_level(self, word: str) -> None:
        """``SENTINEL CONFIG SET loglevel``; `word` is one of LEVELS."""
        self._level = LEVELS[word]

    def __call__(self, level: Level, text: str) -> None:
        """Write one line, unless `loglevel` says no."""
        self.with_facts(level, text, {})

    @property
    def structured(self) -> bool:
        """Whether lines about events should come by `with_facts`."""
        return self.options.layout == "facts"

    def with_facts(self, level: Level, text: str, facts: Mapping[str, object]) -> None:
        """Write one line about an event; its fields are seen in the layout ``facts`` only."""
        if self._level is None or level < self._level:
            return
        self._put(self.render(level, text, facts))
        self._copy(level, text)

    def from_signal(self, text: str) -> None:
        """What a signal made us do: a warning, in legacy whatever `log-format` is (stock's way); only the layout
        ``facts`` holds nothing but JSON."""
        if self._level is None:
            return
        if self.structured:
            self._put(self.render(Level.WARNING, text))
            return
        self._put(f"{os.getpid()}:signal-handler ({int(self.wall())}) {_one_line(text)}\n")

    def render(self, level: Level, text: str, facts: Mapping[str, object] = MappingProxyType({})) -> str:
        """The whole line with its line end."""
        pid = os.getpid()  # daemonizing changes it
        if self.options.layout == "facts":
            known = {"time": stamp("iso8601", self.wall()), "level": _WORDS[level], "pid": pid, "message": text}
            return _bytes(json.dumps({**known, **facts}, ensure_ascii=False)).decode("utf-8", "replace") + "\n"
        at = stamp(self.options.timestamp, self.wall())
        if self.options.layout == "json":
            clean = _bytes(text).decode("utf-8", "replace")
            fields = {"pid": pid, "role": "sentinel", "timestamp": at, "level": _WORDS[level], "message": clean}
            return json.dumps(fields, separators=(",", ":"), ensure_ascii=False) + "\n"
        if self.options.layout == "logfmt":
            clean = _one_line(text.replace('"', "'").replace("\r", " ").replace("\n", " "))
            return f'pid={pid} role=sentinel timestamp="{at}" level={_WORDS[level]} message="{clean}"\n'
        return f"{pid}:X {at} {_MARKS[level]} {_one_line(text)}\n"

    # ------------------------------------------------------------ where it goes

    def _copy(self, level: Level, text: str) -> None:
        """To syslog, which gets the text only."""
        if self.options.syslog_ident is not None:
            syslog.syslog(_PRIORITIES[level], _one_line(text).encode("utf-8", "replace").decode())

    def _put(self, line: str) -> None:
        data = _bytes(line)
        if self.options.path:
            self._append(data)
        elif self.stdout >= 0:
            self._print(data)

    def _append(self, data: bytes) -> None:
        try:
            out = os.open(self.options.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError:
            return
        try:
            os.write(out, data)
        except OSError:
            pass
        finally:
            os.close(out)

    def _print(self, data: bytes) -> None:
        if self._lost:
            noun = "line was" if self._lost == 1 else "lines were"
            data = self.render(Level.WARNING, f"{self._lost} log {noun} lost: nobody read them").encode() + data
        try:
            for start in range(0, len(data), _ATOMIC):
                if not self._takes_more():
                    raise BlockingIOError(errno.EAGAIN, "nobody reads")
                os.write(self.stdout, data[start : start + _ATOMIC])
            self._lost = 0
        except OSError:
            self._lost += 1

    def _takes_more(self) -> bool:
        poll = select.poll()  # one for each call: the keeper's thread logs as well, and a shared one would raise
        poll.register(self.stdout, select.POLLOUT)
        return bool(poll.poll(0))
