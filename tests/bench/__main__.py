"""``python -m tests.bench [--quick] [--only NAME ...] [--json FILE]``: one table of medians and ratios to stock."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

from . import catalogue
from .rig import Side, compile_all, sides, turns

Results = dict[str, dict[str, list[dict[str, float]]]]


def main() -> int:
    """Measure, print, write. Never fails because something was slow."""
    options = _options()
    competitors = sides(options.side, options.without)
    compile_all()
    results: Results = {}
    for measure in catalogue.MEASURES:
        if options.only and measure.name not in options.only:
            continue
        if measure.large and options.quick:
            continue
        able = [side for side in competitors if measure.able(side)]
        rounds = options.samples or (max(1, measure.samples // 3) if options.quick else measure.samples)
        found: dict[str, list[dict[str, float]]] = {side.name: [] for side in able}
        for turn, side in enumerate(turns(able, rounds)):
            began = time.monotonic()
            try:
                sample = measure.take(side, turn // len(able))
            except (OSError, TimeoutError, AssertionError, LookupError, ValueError) as error:
                print(f"  {measure.name} {side.name}: no figure ({error!r})", file=sys.stderr, flush=True)
                continue
            found[side.name].append(sample)
            print(f"  {measure.name} {side.name} took {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
        results[measure.name] = found
        print("\n".join(table({measure.name: found}, competitors)), flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps({"machine": _machine(), "samples": results}, indent=1) + "\n")
    return 0


def table(results: Results, competitors: list[Side]) -> list[str]:
    """Lines of a Markdown table: median [least-most] of each side, and ours over each other's."""
    stock = [side.name for side in competitors if side.name != "ours"]
    lines = [
        "",
        "| figure | "
        + " | ".join(side.name for side in competitors)
        + " | "
        + " | ".join(f"ours/{n}" for n in stock)
        + " |",
        "|---" * (1 + len(competitors) + len(stock)) + "|",
    ]
    for name, found in results.items():
        figures = list(dict.fromkeys(figure for samples in found.values() for sample in samples for figure in sample))
        for figure in figures:
            medians = {
                side: statistics.median(sample[figure] for sample in samples if figure in sample)
                for side, samples in found.items()
                if any(figure in sample for sample in samples)
            }
            cells = [_cell([s[figure] for s in found.get(side.name, []) if figure in s]) for side in competitors]
            ratios = [
                f"{medians['ours'] / medians[other]:.3g}" if "ours" in medians and medians.get(other) else "-"
                for other in stock
            ]
            lines.append(f"| {name}: {figure} | " + " | ".join([*cells, *ratios]) + " |")
    return lines


def _cell(values: list[float]) -> str:
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.4g}"
    return f"**{statistics.median(values):.4g}** ({min(values):.4g}-{max(values):.4g}, n={len(values)})"


def _machine() -> dict[str, object]:
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    names = [measure.name for measure in catalogue.MEASURES]
    parser.add_argument("--quick", action="store_true", help="a third of the samples, and nothing large")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--samples", type=int, help="so many of each, instead of each measure's own number")
    parser.add_argument("--json", help="write every sample there")
    parser.add_argument("--side", action="append", default=[], help="one more: 'name=command with {conf}'")
    parser.add_argument("--without", nargs="+", default=[], help="leave these sides out")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
