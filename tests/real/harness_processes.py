"""One child process: started, stopped, continued and ended by its own pid, with all its output kept in a file."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

LOOPBACK = "127.0.0.1"
EXIT_SECONDS = 20.0

# What a question to a process that is down, stopped or starting may raise; a waiting condition takes it as "not yet".
NO_ANSWER = (redis.RedisError, OSError)


class Child:
    """A process that can be run again after it ended.

    `argv` is the whole command; output of every run is appended to `out_path`.
    """

    def __init__(self, name: str, argv: Sequence[str], *, out_path: Path, cwd: Path) -> None:
        self.name = name
        self.argv = list(argv)
        self.out_path = out_path
        self.cwd = cwd
        self.environment: dict[str, str] = {}
        self.stopped = False
        self.exit_code_expected: int | None = None
        self._popen: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<{self.name}>"

    @property
    def pid(self) -> int:
        assert self._popen is not None, f"{self.name} was never started"
        return self._popen.pid

    @property
    def alive(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Of the last run: None while it runs, negative for a signal."""
        return None if self._popen is None else self._popen.poll()

    def spawn(self, *more: str) -> None:
        """Start the process, with `more` words after `argv`, and do not wait for anything."""
        assert not self.alive, f"{self.name} is already running"
        self.stopped = False
        self.exit_code_expected = None
        with self.out_path.open("ab") as out:
            self._popen = subprocess.Popen(
                [*self.argv, *more],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.cwd,
                env={**os.environ, **self.environment},
            )

    def send_signal(self, number: int) -> None:
        assert self.alive, f"{self.name} is not running"
        os.kill(self.pid, number)

    def stop(self) -> None:
        """SIGSTOP, and wait until it stands still: it keeps its connections and answers nothing."""
        self.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)
        self.stopped = True

    def cont(self) -> None:
        self.send_signal(signal.SIGCONT)
        self.stopped = False

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.exit_code_expected = -signal.SIGKILL
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """SIGTERM, and wait until it is gone; the exit code."""
        self.exit_code_expected = 0
        self._end(signal.SIGTERM)
        code = self.exit_code
        assert code is not None
        return code

    def wait_exit(self, seconds: float = EXIT_SECONDS) -> int:
        """Wait until it ends by itself; the exit code."""
        assert self._popen is not None
        code = self._popen.wait(seconds)
        self.exit_code_expected = code
        return code

    def clean_up(self) -> None:
        """End it whatever state it is in."""
        if self.alive:
            if self.stopped:
                self.cont()
            self._end(signal.SIGKILL)

    def output(self) -> str:
        return read_text(self.out_path)

    def _end(self, number: int) -> None:
        self.send_signal(number)
        if self.stopped and number != signal.SIGKILL:
            self.cont()
        self.stopped = False
        assert self._popen is not None
        self._popen.wait(EXIT_SECONDS)


def read_text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def open_client(port: int, password: str | None = None) -> redis.Redis:
    """A client that answers or fails within a few seconds, and does not hide a lost connection behind retries."""
    return redis.Redis(
        host=LOOPBACK,
        port=port,
        password=password,
        protocol=2,
        decode_responses=True,
        socket_timeout=3.0,
        socket_connect_timeout=3.0,
        retry=Retry(NoBackoff(), 1),
    )


def answers_ping(client: redis.Redis) -> Callable[[], bool]:
    def ping() -> bool:
        return bool(client.execute_command("PING"))

    return ping
