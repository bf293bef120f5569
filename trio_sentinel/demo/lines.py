"""A minimal client of servers and sentinels: one question after the other, or messages as they are published."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import hiredis
import trio

from trio_sentinel.demo.stage import LOOPBACK

CHUNK = 65_536


class LineError(Exception):
    """The other side cannot be reached, closed the connection, or answered with an error."""


class Line:
    """One connection. Not to be used by two tasks at once."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._reader = hiredis.Reader(encoding="utf-8", errors="replace")

    async def ask(self, *words: str) -> Any:
        """Send a command and return its reply: str, int, None or a list of them. Raises LineError."""
        packed = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub allows one word only
        try:
            await self._stream.send_all(packed)
        except trio.BrokenResourceError as error:
            raise LineError("connection lost") from error
        reply = await self._reply()
        if isinstance(reply, hiredis.ReplyError):
            raise LineError(str(reply))
        return reply

    async def messages(self) -> AsyncIterator[tuple[str, str]]:
        """Subscribe to everything; yield (channel, payload) until the connection ends. Raises LineError then."""
        await self.ask("PSUBSCRIBE", "*")
        while True:
            reply = await self._reply()
            if isinstance(reply, list) and len(reply) == 4 and reply[0] == "pmessage":
                yield reply[2], reply[3]

    async def _reply(self) -> Any:
        while (reply := self._reader.gets()) is False:
            try:
                data = await self._stream.receive_some(CHUNK)
            except trio.BrokenResourceError as error:
                raise LineError("connection lost") from error
            if not data:
                raise LineError("connection closed")
            self._reader.feed(data)
        return reply


@contextlib.asynccontextmanager
async def open_line(port: int) -> AsyncIterator[Line]:
    """Connect to `port` of this machine. Raises LineError when nobody listens."""
    try:
        stream = await trio.open_tcp_stream(LOOPBACK, port)
    except OSError as error:
        raise LineError(f"nobody answers on port {port}") from error
    async with stream:
        yield Line(stream)


async def ask_once(port: int, *words: str, within_s: float = 0.5) -> Any:
    """Ask one question over a connection of its own. Raises LineError, also when the answer takes too long."""
    with trio.move_on_after(within_s):
        async with open_line(port) as line:
            return await line.ask(*words)
    raise LineError(f"no answer from port {port} within {within_s} s")


def pairs(flat: list[str]) -> dict[str, str]:
    """A reply of alternating names and values as a dict."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def info(text: str) -> dict[str, str]:
    """The ``name:value`` lines of an INFO reply as a dict."""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
