"""``python -m trio_sentinel`` is ``trio-sentinel``."""

from __future__ import annotations

from trio_sentinel.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
