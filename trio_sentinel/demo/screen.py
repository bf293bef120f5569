"""How the demo shows itself: lines, and on a terminal colours and a panel that tells how things are now."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol, TypeAlias

from attrs import frozen

from trio_sentinel.demo.telling import Told, Weight

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

SPARKS = "▁▂▃▄▅▆▇█"
STYLES = {Weight.ASIDE: "dim", Weight.STEP: "", Weight.TURN: "bold"}
COLOURS = {"sentinel-1": "cyan", "sentinel-2": "magenta", "sentinel-3": "blue"}
ROLE_STYLES = {"master": "bold green", "replica": "green", "killed": "bold red"}


@frozen(kw_only=True)
class Now:
    """How things are, for the panel."""

    title: str
    servers: tuple[tuple[str, str, str], ...]
    """Name, address, role in words."""
    sentinels: tuple[tuple[str, str, str], ...]
    """Name, address, whom it takes for the master."""
    acknowledged: int
    rates: tuple[int, ...]
    """Acknowledged writes in each of the last tenths of a second."""
    failing_ms: int | None
    """How long writes have been failing; None while they succeed."""


SightingLine: TypeAlias = tuple[int, str, Told, str]
"""ms since the kill, who, what in words, and the name of the event."""


class Screen(Protocol):
    """What the story needs of a screen."""

    def chapter(self, title: str) -> None:
        """A new part begins."""

    def say(self, text: str) -> None:
        """A line that explains."""

    def table(self, rows: list[tuple[str, str]]) -> None:
        """Names and what there is to say about each."""

    def sightings(self, lines: list[SightingLine]) -> None:
        """What sentinels saw and did. Called from a thread."""

    def verdict(self, good: bool, text: str) -> None:
        """How it ended."""

    def show(self, now: Now) -> None:
        """How things are now."""


def clock(after_ms: int) -> str:
    """A time since the kill, as ``+1.234 s``."""
    return f"{after_ms / 1000:+.3f} s"


def sparks(rates: tuple[int, ...]) -> str:
    """A row of bars, the highest as high as the highest of `rates`; nothing at all is a dot."""
    top = max(max(rates, default=0), 1)
    return "".join(SPARKS[min(rate * len(SPARKS) // (top + 1), len(SPARKS) - 1)] if rate else "·" for rate in rates)


class PlainScreen:
    """Lines without colours, for pipes, files and simple terminals."""

    def chapter(self, title: str) -> None:
        """See Screen."""
        self._print(f"\n== {title}")

    def say(self, text: str) -> None:
        """See Screen."""
        self._print(text)

    def table(self, rows: list[tuple[str, str]]) -> None:
        """See Screen."""
        width = max(len(name) for name, _ in rows)
        for name, text in rows:
            self._print(f"  {name:<{width}}  {text}")

    def sightings(self, lines: list[SightingLine]) -> None:
        """See Screen."""
        for after_ms, who, told, channel in lines:
            self._print(f"  {clock(after_ms):>10}  {who:<10}  {told.text}  [{channel}]")

    def verdict(self, good: bool, text: str) -> None:
        """See Screen."""
        self._print(f"\n{'OK' if good else 'FAILED'}: {text}")

    def show(self, now: Now) -> None:
        """A plain screen has no panel."""

    def _print(self, text: str) -> None:
        print(text, flush=True)


class RichScreen:
    """Colours, and a panel below the lines."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._console = live.console

    def chapter(self, title: str) -> None:
        """See Screen."""
        from rich.rule import Rule
        from rich.text import Text

        self._console.print()
        self._console.print(Rule(Text(title, style="bold"), align="left", style="yellow"))

    def say(self, text: str) -> None:
        """See Screen."""
        self._console.print(text, markup=False, highlight=False)

    def table(self, rows: list[tuple[str, str]]) -> None:
        """See Screen."""
        from rich.table import Table

        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="bold", no_wrap=True)
        for name, text in rows:
            grid.add_row(f"  {name}", text)
        self._console.print(grid, highlight=False)

    def sightings(self, lines: list[SightingLine]) -> None:
        """See Screen."""
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        grid.add_column(width=10, justify="right", style="dim")
        grid.add_column(width=10, no_wrap=True)
        grid.add_column()
        for after_ms, who, told, channel in lines:
            words = Text(told.text, style=STYLES[told.weight])
            words.append(f"  {channel}", style="dim italic")
            grid.add_row(clock(after_ms), Text(who, style=COLOURS.get(who, "yellow")), words)
        self._console.print(grid)

    def verdict(self, good: bool, text: str) -> None:
        """See Screen."""
        from rich.text import Text

        self._console.print()
        mark = Text("✔ ", style="bold green") if good else Text("✘ ", style="bold red")
        self._console.print(mark + Text(text, style="bold"))

    def show(self, now: Now) -> None:
        """See Screen."""
        self._live.update(_panel(now))


def _panel(now: Now) -> RenderableType:
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, width=20)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    for server, sentinel in zip(now.servers, now.sentinels, strict=True):
        role = Text(server[2], style=ROLE_STYLES.get(server[2], "yellow"))
        view = Text(f"→ {sentinel[2]}", style="dim" if sentinel[2] == "…" else "")
        grid.add_row(server[0], Text(server[1], style="dim"), role, Text(sentinel[0], style=COLOURS[sentinel[0]]), view)
    writes = Text(sparks(now.rates), style="red" if now.failing_ms is not None else "green")
    if now.failing_ms is not None:
        writes.append(f"  no write for {now.failing_ms / 1000:.1f} s", style="bold red")
    else:
        writes.append(f"  {now.acknowledged:,} writes acknowledged", style="green")
    outer = Table.grid()
    outer.add_row(grid)
    outer.add_row(writes)
    return Panel(outer, title=now.title, title_align="left", border_style="yellow", expand=False)


@contextlib.contextmanager
def open_screen(*, plain: bool) -> Iterator[Screen]:
    """A screen that fits where the output goes: plain unless it is a terminal and rich is installed."""
    if plain or not sys.stdout.isatty():
        yield PlainScreen()
        return
    try:
        from rich.console import Console
        from rich.live import Live
    except ImportError:
        yield PlainScreen()
        return
    with Live(console=Console(highlight=False), refresh_per_second=10, transient=True) as live:
        yield RichScreen(live)
