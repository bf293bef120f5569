"""``python -m tests.fuzz.guided TARGET [OPTIONS OF LIBFUZZER]``: the targets under atheris, which follows branches.

Not needed for the others (``pip install atheris``, or the extra ``fuzz``). Findings go to the corpus; inputs that reach
new branches go to ``guided/``, which is not kept.
"""

from __future__ import annotations

import sys
from typing import Any


def main() -> int:
    """Fuzz one target until libFuzzer ends."""
    try:
        import atheris
    except ImportError:
        print("atheris is not installed; try: pip install atheris", file=sys.stderr)
        return 2
    guide: Any = atheris
    with guide.instrument_imports(include=["trio_sentinel"]):
        from .corpus_files import CORPUS, keep, kept
        from .seeds import TARGETS

    name, *options = sys.argv[1:] or [""]
    if name not in TARGETS:
        print(f"{__doc__}\nTargets: {', '.join(TARGETS)}", file=sys.stderr)
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

    guide.Setup([sys.argv[0], str(where), "-max_len=2048", "-timeout=5", "-rss_limit_mb=1024", *options], run)
    guide.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
