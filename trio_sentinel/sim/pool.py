"""Work in several processes, with results in the order of the work."""

from __future__ import annotations

import itertools
import multiprocessing
import pickle
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from multiprocessing.pool import AsyncResult, Pool
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import TypeVar

Work = TypeVar("Work")
Result = TypeVar("Result")

AHEAD = 4
"""How many pieces of work wait for each process: endless work must not fill the queue."""
LOOK_S = 1.0
"""How often it is looked whether the processes are still alive."""


def in_parallel(deed: Callable[[Work], Result], works: Iterable[Work], jobs: int) -> Iterator[Result]:
    """``map(deed, works)`` in `jobs` processes, or one for each piece of work if there is less of it; what needs only
    one is done in this process. `deed` must be importable.

    Raises ChildProcessError when one of the processes is killed: what it had begun would be waited for in vain.
    """
    rest = iter(works)
    first = list(itertools.islice(rest, max(jobs, 1)))
    works, jobs = itertools.chain(first, rest), len(first)
    if jobs <= 1:
        yield from map(deed, works)
        return
    others = set(multiprocessing.active_children())
    with ExitStack() as ends:
        with _started_apart(deed), _interrupts_left_to_parent():
            pool = ends.enter_context(multiprocessing.get_context("spawn").Pool(jobs))
        yield from _in_order(pool, deed, works, jobs, set(multiprocessing.active_children()) - others)


@contextmanager
def _interrupts_left_to_parent() -> Iterator[None]:
    """Ctrl-C goes to all processes of a terminal; those that start here inherit that it is blocked, and end with their
    parent. The resource tracker must run before, for its start unblocks it."""
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _started_apart(deed: Callable[[Work], Result]) -> Iterator[None]:
    """New processes do not import the user's main module, unless `deed` comes from there: a script without a guard
    would start itself again in each of them, and one that came over stdin cannot even be found."""
    main = sys.modules["__main__"]
    if b"__main__" not in pickle.dumps(deed):
        sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _in_order(
    pool: Pool, deed: Callable[[Work], Result], works: Iterator[Work], jobs: int, workers: set[BaseProcess]
) -> Iterator[Result]:
    ahead = [pool.apply_async(deed, (work,)) for work in itertools.islice(works, AHEAD * jobs)]
    while ahead:
        result = _awaited(ahead.pop(0), workers)
        ahead += [pool.apply_async(deed, (work,)) for work in itertools.islice(works, 1)]
        yield result


def _awaited(result: AsyncResult[Result], workers: set[BaseProcess]) -> Result:
    while True:
        try:
            return result.get(LOOK_S)
        except multiprocessing.TimeoutError:
            if not all(worker.is_alive() for worker in workers):
                raise ChildProcessError("a process that ran simulations has died: killed, or out of memory?") from None
