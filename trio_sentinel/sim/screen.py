"""How a simulation shows itself: lines and tables; on a terminal with rich also colours and a progress bar."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

PROGRESS_S = 10.0
"""Without a progress bar: how often a line tells how far it is."""
WIDTH = 120
"""Of lines that go to a file or a pipe."""
LEAST_WIDTH = 24
SOLID = "\0"
"""Stands for a space at which no line ends."""
RICH_GAP = 3
"""Between the columns of its tables."""


def counted(number: int, what: str) -> str:
    """``1 run``, ``2,000 runs``."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}{'es' if what.endswith('s') else 's'}"


class Screen(Protocol):
    """What the commands need of a screen."""

    width: int

    def title(self, text: str) -> None:
        """A new part begins."""

    def say(self, text: str) -> None:
        """A line."""

    def note(self, text: str) -> None:
        """Some sentences, wrapped."""

    def warn(self, text: str) -> None:
        """A line that somebody should act on."""

    def verdict(self, good: bool, text: str) -> None:
        """How it ended."""

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """The first column is text, the others are figures. What is too wide for the screen becomes a list."""

    def progress(self, done: int, total: int | None, text: str) -> None:
        """How far it is; ``total`` is None when nobody knows."""


def tabulated(header: Sequence[str], rows: Sequence[Sequence[str]], gap: int = 2) -> Iterator[str]:
    """The lines of a table."""
    widths = [max(len(row[n]) for row in (header, *rows)) for n in range(len(header))]
    for row in (header, *rows):
        first, *others = row
        cells = [f"{first:<{widths[0]}}", *(f"{cell:>{widths[n + 1]}}" for n, cell in enumerate(others))]
        yield f"  {(' ' * gap).join(cells)}"


def listed(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """The same for screens that are too narrow for it: the figures of a row, with their names, below its text."""
    for first, *figures in rows:
        yield from wrapped(first, width)
        yield from wrapped_items([" ".join(pair) for pair in zip(header[1:], figures, strict=True)], width, indent=6)


def wrapped(text: str, width: int, *, indent: int = 2, first: str = "") -> list[str]:
    """Lines that fit, indented; the first one may begin with something else."""
    margin = " " * indent
    return textwrap.wrap(
        text, max(width, LEAST_WIDTH), initial_indent=first or margin, subsequent_indent=margin, break_on_hyphens=False
    )


def wrapped_items(items: Sequence[str], width: int, *, indent: int = 2, first: str = "") -> list[str]:
    """The same of a list, with no break inside an item."""
    solid = ", ".join(item.replace(" ", SOLID) for item in items)
    return [line.replace(SOLID, " ") for line in wrapped(solid, width, indent=indent, first=first)]


class PlainScreen:
    """Lines, for pipes, files and simple terminals, whose width matters."""

    def __init__(self, width: int | None = None) -> None:
        self.width = width or WIDTH
        self._narrow = width is not None
        self._told_s = time.monotonic()

    def title(self, text: str) -> None:
        """See Screen."""
        self.say(f"\n== {text}")

    def say(self, text: str) -> None:
        """See Screen."""
        print(text, flush=True)

    def note(self, text: str) -> None:
        """See Screen."""
        for line in wrapped(text, self.width):
            self.say(line)

    def warn(self, text: str) -> None:
        """See Screen."""
        for line in wrapped(text, self.width, indent=4, first="  ! ") if self._narrow else [f"  ! {text}"]:
            self.say(line)

    def verdict(self, good: bool, text: str) -> None:
        """See Screen."""
        self.say(f"\n{'OK' if good else 'FAILED'}: {text}")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """See Screen."""
        lines = list(tabulated(header, rows))
        if self._narrow and max(map(len, lines)) > self.width:
            lines = list(listed(header, rows, self.width))
        for line in lines:
            self.say(line)

    def progress(self, done: int, total: int | None, text: str) -> None:
        """A line now and then."""
        now_s = time.monotonic()
        if now_s - self._told_s >= PROGRESS_S:
            self._told_s = now_s
            self.say(f"  ... {done}{'' if total is None else f' of {total}'}  {text}")


class RichScreen:
    """Colours, and a progress bar below the lines."""

    def __init__(self, console: Console, bar: Progress) -> None:
        self.width = console.width
        self._console = console
        self._bar = bar
        self._task: TaskID | None = None

    def title(self, text: str) -> None:
        """See Screen."""
        from rich.rule import Rule
        from rich.text import Text

        self._console.print()
        self._console.print(Rule(Text(text, style="bold"), align="left", style="yellow"))

    def say(self, text: str) -> None:
        """See Screen."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """See Screen."""
        for line in wrapped(text, self.width):
            self.say(line)

    def warn(self, text: str) -> None:
        """See Screen."""
        from rich.padding import Padding
        from rich.text import Text

        self._console.print(Padding(Text("▲ ", style="bold yellow") + Text(text), (0, 2)))

    def verdict(self, good: bool, text: str) -> None:
        """See Screen."""
        from rich.text import Text

        mark = Text("✔ ", style="bold green") if good else Text("✘ ", style="bold red")
        self._console.print()
        self._console.print(mark + Text(text, style="bold"))

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """See Screen."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        if max(map(len, tabulated(header, rows, RICH_GAP))) > self.width:
            for line in listed(header, rows, self.width):
                self.say(line)
            return
        table = Table(box=SIMPLE_HEAD, header_style="bold")
        for n, cell in enumerate(header):
            table.add_column(cell, justify="left" if n == 0 else "right")
        for row in rows:
            table.add_row(*row)
        self._console.print(table)

    def progress(self, done: int, total: int | None, text: str) -> None:
        """See Screen."""
        if self._task is None:
            self._task = self._bar.add_task(text, total=total)
        self._bar.update(self._task, completed=done, description=text)


@contextlib.contextmanager
def open_screen(*, plain: bool) -> Iterator[Screen]:
    """A screen that fits where the output goes: plain unless it is a terminal that shows all letters and rich is
    installed."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names in a configuration are bytes of any kind
    if not plain and sys.stdout.isatty() and sys.stdout.encoding.lower().startswith("utf"):
        try:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        except ImportError:
            pass
        else:
            console = Console(highlight=False)
            columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
            with Progress(*columns, console=console, transient=True) as bar:
                yield RichScreen(console, bar)
            return
    yield PlainScreen(shutil.get_terminal_size().columns if sys.stdout.isatty() else None)
