"""A failover to watch: real servers, three sentinels, a client that writes, and a master that is killed.

1. Everything runs on free ports of 127.0.0.1 in a directory of its own, and is ended by its own pid.
2. The demo is a client: it knows the sentinels by what they publish and answer, as any other client does.
3. Nothing of it is imported by the daemon; what it needs besides comes with the ``demo`` extra.
"""

from __future__ import annotations

from trio_sentinel.demo.command import main

__all__ = ["main"]
