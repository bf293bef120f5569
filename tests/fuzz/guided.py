"""The same targets under atheris, which follows the branches taken (``pip install atheris``; not needed otherwise)."""

from __future__ import annotations

import sys
from typing import Any

from .corpus_files import CORPUS, keep, kept
from .seeds import TARGETS


def fuzz_guided(name: str, inputs: int) -> int:
    """Run one target for `inputs` inputs; new paths are added to its corpus by libFuzzer, findings by us."""
    try:
        import atheris
    except ImportError:
        print("atheris is not installed; try: pip install atheris", file=sys.stderr)
        return 2
    target = TARGETS[name]
    where = CORPUS.parent / "guided" / name
    where.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate((*target.seeds, *(data for _, data in kept(name)))):
        (where / f"seed{number}").write_bytes(data)

    def run(data: bytes) -> None:
        try:
            target.run(data)
        except Exception:
            keep(name, data)
            raise

    guide: Any = atheris
    guide.instrument_all()
    guide.Setup([sys.argv[0], str(where), f"-runs={inputs}", "-max_len=2048", "-timeout=5", "-rss_limit_mb=1024"], run)
    guide.Fuzz()
    return 0
