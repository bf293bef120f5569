"""How a simulation shows itself: lines and tables; on a terminal with rich also colours and a progress bar."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

PROGRESS_S = 10.0
"""Without a progress bar: how often a line tells how far it is."""
WIDTH = 120


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

    def warn(self, text: str) -> None:
        """A line that somebody should act on."""

    def verdict(self, good: bool, text: str) -> None:
        """How it ended."""

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """The first column is text, the others are figures."""

    def progress(self, done: int, total: int | None, text: str) -> None:
        """How far it is; ``total`` is None when nobody knows."""


class PlainScreen:
    """Lines without colours, for pipes, files and simple terminals."""

    def __init__(self) -> None:
        self.width = WIDTH
        self._told_s = time.monotonic()

    def title(self, text: str) -> None:
        """See Screen."""
        self.say(f"\n== {text}")

    def say(self, text: str) -> None:
        """See Screen."""
        print(text, flush=True)

    def warn(self, text: str) -> None:
        """See Screen."""
        self.say(f"  ! {text}")

    def verdict(self, good: bool, text: str) -> None:
        """See Screen."""
        self.say(f"\n{'OK' if good else 'FAILED'}: {text}")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """See Screen."""
        widths = [max(len(row[n]) for row in (header, *rows)) for n in range(len(header))]
        for row in (header, *rows):
            first, *others = row
            cells = [f"{first:<{widths[0]}}", *(f"{cell:>{widths[n + 1]}}" for n, cell in enumerate(others))]
            self.say(f"  {'  '.join(cells)}")

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
    """A screen that fits where the output goes: plain unless it is a terminal and rich is installed."""
    if not plain and sys.stdout.isatty():
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
    screen = PlainScreen()
    if sys.stdout.isatty():
        screen.width = shutil.get_terminal_size().columns
    yield screen
