"""The corpus on disk: ``corpus/<target>/<digest>``, one input a file. What once broke an oracle stays for good."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

CORPUS: Final = Path(__file__).parent / "corpus"


def kept(target: str) -> list[tuple[str, bytes]]:
    """Name and content of every kept input of a target."""
    return [(path.name, path.read_bytes()) for path in sorted((CORPUS / target).glob("*")) if path.is_file()]


def keep(target: str, data: bytes) -> Path:
    """Write an input down; the file."""
    path = CORPUS / target / hashlib.sha256(data).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
