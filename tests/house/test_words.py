"""What may not stand in the repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Written in two halves, so that this file does not find itself.
BANNED = [
    "pypi" + ".org",
    "python" + "hosted",
    "debian" + ".org",
    "npm" + "js",
    "/work" + "/main",
    "/work" + "/shared",
    "/tmp" + "/w/",
]


def _files() -> list[Path]:
    """The files of the repository; outside a checkout, those of the source tree."""
    if (ROOT / ".git").exists():
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
        if listed.returncode == 0:
            return [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for part in ("trio_sentinel", "tests", "docs") for path in (ROOT / part).rglob("*.*")]


@pytest.mark.parametrize("word", BANNED)
def test_banned_word_is_nowhere(word: str) -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in _files()
        if path.is_file() and path.suffix != ".pyc" and word.encode() in path.read_bytes()
    ]
    assert not found
