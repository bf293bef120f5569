"""Scripts as child processes: no shell, our environment, working directory and standard streams.

SIGHUP and SIGPIPE reach a script ignored when this process ignores them, as the daemon does: the dispositions are
inherited and not restored, so no code of ours runs between fork and exec.
"""

from __future__ import annotations

import errno
from typing import Final

import trio
from attrs import define

_abandoned: Final[list[trio.Process]] = []
"""Scripts that outlived their service; kept so that they are reaped when the next one starts."""


@define(eq=False)
class ChildScript:
    """A running script."""

    _process: trio.Process

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def wait(self) -> int:
        """The exit code, or minus the number of the signal that ended it."""
        return await self._process.wait()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def abandon(self) -> None:
        """Leave it running as an orphan."""
        _abandoned.append(self._process)


async def start_script(path: str, arguments: tuple[str, ...]) -> ChildScript:
    """Start the file at `path`, which is never looked up in PATH.

    Raises OSError when it is not there, cannot be executed, has no known format, or no process can be made.
    """
    _abandoned[:] = [process for process in _abandoned if process.poll() is None]
    program = path if "/" in path else f"./{path}"
    try:
        process = await trio.lowlevel.open_process(
            [_bytes(path), *map(_bytes, arguments)], executable=_bytes(program), restore_signals=False
        )
    except ValueError as error:  # a NUL in a word
        raise OSError(errno.EINVAL, str(error)) from error
    return ChildScript(process)


def _bytes(word: str) -> bytes:
    """As it came in, whatever the locale says."""
    return word.encode("utf-8", "surrogateescape")
