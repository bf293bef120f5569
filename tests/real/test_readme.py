"""The program in the README does what the README says, on real servers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .harness import LOOPBACK, MASTER, Lab

pytestmark = pytest.mark.real

README = Path(__file__).resolve().parents[2] / "README.md"
LIMIT_SECONDS = 60


def programs() -> list[str]:
    """The README's programs; what it shows of tests is run in ``tests/sim/test_deployment.py``."""
    shown: list[str] = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    return [program for program in shown if "def test_" not in program]


def test_readme_program_fails_over_and_says_so(lab: Lab, tmp_path: Path) -> None:
    master, first, second = lab.trio_of_servers()
    (program,) = programs()
    script = tmp_path / "example.py"
    script.write_text(program)
    conf = tmp_path / "sentinel.conf"
    port = lab.ports.claim()
    conf.write_text(f"port {port}\nbind {LOOPBACK}\nsentinel monitor {MASTER} {LOOPBACK} {master.port} 1\n")
    done = subprocess.run(
        [sys.executable, str(script), str(conf)],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
        env={**os.environ, "PYTHONPATH": str(README.parent)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"the master is {LOOPBACK}:{master.port}"
    promoted = [server for server in (first, second) if f"the master is now {LOOPBACK}:{server.port}" in lines]
    assert len(promoted) == 1, done.stdout
    assert promoted[0].role == "master"
    assert "Traceback" not in done.stderr
