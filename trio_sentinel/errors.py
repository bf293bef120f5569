"""Every exception of the house on one page. Imports nothing.

Two questions decide the class: whose fault is it, and what can the caller do about it?
"""

from __future__ import annotations


class SentinelError(Exception):
    """The root of everything this package raises on purpose."""


class ConfigError(SentinelError):
    """A configuration that cannot be used; the message is the one stock prints.

    ``line`` counts from 1 and is None for problems found after the last line.
    ``source`` is the trimmed text of that line.
    """

    def __init__(self, problem: str, *, line: int | None = None, source: str | None = None) -> None:
        self.problem = problem
        self.line = line
        self.source = source
        super().__init__(problem if line is None else f"line {line}: {problem}")


class StartupError(SentinelError):
    """The process cannot start (port in use, file not writable ...); each line goes to the log."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        super().__init__("\n".join(lines))


class ProtocolError(SentinelError):
    """The other side broke the rules of RESP; its connection is closed after this text is sent."""

    def __init__(self, text: str, *, silent: bool = False) -> None:
        self.text = text
        self.silent = silent
        super().__init__(text)


class CommandRefused(SentinelError):
    """A command that was understood and refused. ``code`` and ``text`` are what a RESP client reads."""

    def __init__(self, code: str, text: str) -> None:
        self.code = code
        self.text = text
        super().__init__(f"{code} {text}")


class SimulatedCrash(BaseException):
    """``SENTINEL SIMULATE-FAILURE`` asked for a crash here: the process ends with status 99."""


class InvariantViolation(AssertionError):
    """A safety property does not hold: a bug of ours. Never caught."""
