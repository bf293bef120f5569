"""Certificates that change while we run: the TLS contexts in use, and how newer ones take their place.

1. New contexts are made whole from the files, authorities included, or not at all: half-written files change nothing.
2. Connections that exist keep what they began with; those that come later use the new contexts.
3. Reading and checking files takes milliseconds, so it is done in a thread.

Stock is told to read its files again by CONFIG SET, which a sentinel does not have.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Hashable
from typing import Final, Protocol

import trio

from trio_sentinel.errors import StartupError
from trio_sentinel.model.values import Level


class Contexts(Protocol):
    """What `adapters.tls.make_contexts` makes."""

    @property
    def server(self) -> ssl.SSLContext:
        """For clients that come to us."""

    @property
    def client(self) -> ssl.SSLContext | None:
        """For links that we open."""


RENEWED: Final = "TLS certificates have been read again"


class Papers:
    """`load` makes contexts from the files, `fingerprint` changes with them, `use` gives contexts to their users."""

    def __init__(
        self,
        *,
        load: Callable[[], Contexts],
        fingerprint: Callable[[], Hashable],
        use: Callable[[Contexts], None],
        log: Callable[[Level, str], None],
    ) -> None:
        self._load = load
        self._fingerprint = fingerprint
        self._use = use
        self._log = log
        self._seen = fingerprint()

    async def renew(self) -> bool:
        """Read all files again; whether they could be used. If not, the old ones stay and the log says why."""
        self._seen = self._fingerprint()
        try:
            contexts = await trio.to_thread.run_sync(self._load)
        except StartupError as refusal:
            for line in refusal.lines[:-1] or refusal.lines:  # the last one says that a start failed
                self._log(Level.WARNING, f"TLS certificates stay as they were: {line}")
            return False
        self._use(contexts)
        self._log(Level.NOTICE, RENEWED)
        return True

    async def watch(self, interval_s: float) -> None:
        """Look every `interval_s` seconds whether a file has changed (``tls-auto-reload-interval``)."""
        while True:
            await trio.sleep(interval_s)
            if self._fingerprint() != self._seen:
                await self.renew()
