"""What the system knows of a host name. Apart from ``names.py``, because the configuration is read before Trio is
imported."""

from __future__ import annotations

import socket


def ask_system(host: str) -> str | None:
    """The first address that the system knows for `host`; None when it knows none. Blocks."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # unknown; or no name at all, such as one with an empty or endless label
        return None
    return str(found[0][4][0]) if found else None
