"""Work in several processes, with results in the order of the work."""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.pool import Pool
from typing import TypeVar

Work = TypeVar("Work")
Result = TypeVar("Result")

AHEAD = 4
"""How many pieces of work wait for each process: endless work must not fill the queue."""


def in_parallel(deed: Callable[[Work], Result], works: Iterable[Work], jobs: int) -> Iterator[Result]:
    """``map(deed, works)`` in `jobs` processes; with one job, in this process. `deed` must be importable."""
    if jobs <= 1:
        yield from map(deed, works)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from _in_order(pool, deed, iter(works), jobs)


def _in_order(pool: Pool, deed: Callable[[Work], Result], works: Iterator[Work], jobs: int) -> Iterator[Result]:
    ahead = [pool.apply_async(deed, (work,)) for work in itertools.islice(works, AHEAD * jobs)]
    while ahead:
        result = ahead.pop(0).get()
        ahead += [pool.apply_async(deed, (work,)) for work in itertools.islice(works, 1)]
        yield result
