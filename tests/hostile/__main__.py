"""``python -m tests.hostile``: the figures of a deployment left alone, and under siege, as a table."""

from __future__ import annotations

import argparse
import sys

from attrs import fields

from tests.bench.rig import sides

from .siege import Figures, besiege


def main() -> int:
    """Measure and print. Fails when a promise is broken, never because something was slow."""
    options = _options()
    for side in sides((), options.without):
        found: dict[int, list[Figures]] = {0: [], options.connections: []}
        for connections in [0, options.connections] * options.samples:
            print(f"  {side.name}, {connections} hostile connections ...", file=sys.stderr, flush=True)
            found[connections].append(besiege(side, connections, options.seconds))
        print(f"\n| {side.name} | left alone | under siege |\n|---|---|---|")
        for field in fields(Figures):
            cells = [" / ".join(f"{getattr(one, field.name):.4g}" for one in ones) for ones in found.values()]
            print(f"| {field.name} | {cells[0]} | {cells[1]} |", flush=True)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--connections", type=int, default=500, help="hostile connections in all (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the siege before the master dies")
    parser.add_argument("--samples", type=int, default=1, help="so many of each")
    parser.add_argument("--without", nargs="*", default=["valkey", "redis7"], help="leave out (default: stock)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
