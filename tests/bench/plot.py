"""``python -m tests.bench.plot RESULT.json ... > docs/performance.svg``: medians of ours over stock's, as bars.

A bar begins at 1 (as stock) on a logarithmic scale. Left of it, ours needs less; right of it, more.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Final

FIGURES: Final = {
    ("kill", "write after quorum"): "SIGKILL: quorum to first write",
    ("kill", "last switch after quorum"): "SIGKILL: quorum to last +switch-master",
    ("stop", "write after quorum"): "SIGSTOP: quorum to first write",
    ("stop", "last switch after quorum"): "SIGSTOP: quorum to last +switch-master",
    ("manual", "writes moved"): "SENTINEL FAILOVER: writers moved",
    ("manual", "writes lost"): "SENTINEL FAILOVER: writes lost",
    ("coordinated", "gap"): "COORDINATED: gap of a writer",
    ("throughput", "P=1, CPU s per 100k"): "GET-MASTER-ADDR, CPU, P=1",
    ("throughput", "P=16, CPU s per 100k"): "GET-MASTER-ADDR, CPU, P=16",
    ("storm", "2,000 served"): "2,000 connections at once: served",
    ("fan-out", "last of 2,000"): "news for 2,000 subscribers: last",
    ("fan-out", "idle client, KiB"): "memory of an idle client",
    ("start", "first PONG"): "start: first PONG",
    ("start", "RSS, MiB"): "start: memory",
    ("1,000 masters", "discovered, s"): "1,000 masters: discovered",
    ("1,000 masters", "discovery worst PING"): "1,000 masters: worst PING meanwhile",
    ("1,000 masters", "steady CPU, % of a core"): "1,000 masters: steady CPU",
    ("1,000 masters", "RSS, MiB"): "1,000 masters: memory",
    ("20 of 200 die", "first SDOWN to last switch"): "20 of 200 masters die: all switched",
    ("100 of 1,000 die", "first SDOWN to last switch"): "100 of 1,000 masters die: last switch",
}
STOCK: Final = "valkey"
LEFT, WIDTH, ROW, TOP = 290, 430, 22, 34
FONT: Final = 'font-family="sans-serif" font-size="12"'
LEAST, MOST = 1e-3, 100.0

Samples = dict[str, dict[str, list[dict[str, float]]]]


def ratios(samples: Samples) -> Iterator[tuple[str, float]]:
    """Each figure that both sides have: its label, and ours over stock's."""
    for (measure, figure), label in FIGURES.items():
        medians = []
        for side in ("ours", STOCK):
            values = [s[figure] for s in samples.get(measure, {}).get(side, []) if figure in s]
            medians.append(statistics.median(values) if values else None)
        ours, stock = medians
        if ours is not None and stock:
            yield label, ours / stock


def _x(ratio: float) -> float:
    share = (math.log10(min(max(ratio, LEAST), MOST)) - math.log10(LEAST)) / (math.log10(MOST) - math.log10(LEAST))
    return LEFT + WIDTH * share


def svg(rows: list[tuple[str, float]]) -> str:
    """The picture."""
    height = TOP + ROW * len(rows) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 80}" height="{height}" {FONT}>',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{LEFT}" y="16">ours / stock (logarithmic; left of 1 is less than stock)</text>',
    ]
    for power in range(round(math.log10(LEAST)), round(math.log10(MOST)) + 1):
        x = _x(10.0**power)
        colour = "#444" if power == 0 else "#ddd"
        parts.append(f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{height - 24}" stroke="{colour}"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - 8}" text-anchor="middle">{10.0**power:g}</text>')
    for number, (label, ratio) in enumerate(rows):
        y, one, end = TOP + ROW * number, _x(1.0), _x(ratio)
        colour = "#2a9d5c" if ratio <= 1 else "#c8553d"
        parts.append(f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(label)}</text>')
        parts.append(
            f'<rect x="{min(one, end):.1f}" y="{y + 2}" width="{max(1.0, abs(end - one)):.1f}" height="{ROW - 8}" '
            f'fill="{colour}"/><text x="{max(one, end) + 5:.1f}" y="{y + 12}">{ratio:.2g}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def main() -> int:
    """Read the results named on the command line, later ones over earlier ones, and print the picture."""
    samples: Samples = {}
    for name in sys.argv[1:]:
        samples |= json.loads(Path(name).read_text())["samples"]
    print(svg(list(ratios(samples))), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
