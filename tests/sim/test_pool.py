"""Work in several processes: from any main module, and ended by whatever ends."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trio_sentinel.sim.pool import in_parallel

SCRIPT = """
import io
import trio_sentinel.sim
total = trio_sentinel.sim.soak(range(3), jobs=2, out=io.StringIO())
print(total.runs, "seeds")
"""
OWN_DEED = """
import signal
from trio_sentinel.sim.pool import in_parallel

def double(number):
    signal.raise_signal(signal.SIGINT)  # left to the parent, also by the first processes that there are
    return 2 * number

if __name__ == "__main__":
    print(list(in_parallel(double, range(3), 2)))
"""


def test_results_come_in_the_order_of_the_work_and_leave_no_process() -> None:
    before = multiprocessing.active_children()
    assert list(in_parallel(abs, range(-20, 0), 2)) == list(range(20, 0, -1))
    assert multiprocessing.active_children() == before


def test_there_are_not_more_processes_than_work() -> None:
    before = len(multiprocessing.active_children())
    results = in_parallel(abs, range(3), 8)
    assert next(results) == 0
    assert len(multiprocessing.active_children()) - before == 3
    assert list(results) == [1, 2]


def test_one_piece_of_work_needs_no_process() -> None:
    assert list(in_parallel(lambda number: number + 1, [1], 8)) == [2]


@pytest.mark.parametrize("over_stdin", [False, True])
def test_a_script_needs_no_guard(over_stdin: bool, tmp_path: Path) -> None:
    """As in the docstring of the package. Each process would run the script again, or look for it in vain for ever."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    words, given = ([sys.executable, "-"], SCRIPT) if over_stdin else ([sys.executable, str(script)], None)
    done = subprocess.run(words, input=given, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("3 seeds\n", "")


def test_a_deed_of_the_main_module_is_found_there(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(OWN_DEED)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[0, 2, 4]\n", "")


def test_a_killed_process_is_not_waited_for() -> None:
    with pytest.raises(ChildProcessError, match="has died"):
        list(in_parallel(signal.raise_signal, [signal.SIGKILL] * 2, 2))


def test_an_interrupt_is_left_to_the_parent() -> None:
    assert list(in_parallel(signal.raise_signal, [signal.SIGINT] * 4, 2)) == [None] * 4
