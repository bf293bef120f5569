"""The demo from its first line to its last, as a person without a terminal sees it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

LIMIT_SECONDS = 120
COMMAND = [sys.executable, "-m", "trio_sentinel", "demo", "--plain", "--fast"]


def processes_in(directory: Path) -> list[str]:
    """Command lines of running processes that name something below `directory`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            except OSError:
                continue
            if str(directory) in words:
                found.append(words)
    return found


def test_demo_shows_a_failover_and_leaves_nothing_behind(tmp_path: Path) -> None:
    place = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=LIMIT_SECONDS, env=place, check=False)
    said = done.stdout
    assert done.returncode == 0, said + done.stderr
    assert done.stderr == ""
    assert "\x1b" not in said, "no colours without a terminal"
    promoted = re.search(r"^  new master +(server-[bc])$", said, re.MULTILINE)
    assert promoted is not None, said
    assert re.search(rf"^  old master +a replica of {promoted[1]}$", said, re.MULTILINE), said
    assert re.search(r"^  all servers hold the same +yes$", said, re.MULTILINE), said
    assert re.search(r"^  writes unavailable +for [\d,]+ ms$", said, re.MULTILINE), said
    assert re.search(r"^  votes +.*for sentinel-[123]", said, re.MULTILINE), said
    assert len(re.findall(r"\[\+switch-master\]", said)) == 3, "each of the three sentinels told its clients"
    assert said.splitlines()[-1].startswith(f"OK: failover from server-a to {promoted[1]}, led by sentinel-")
    assert processes_in(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_interrupted_demo_ends_all_its_children(tmp_path: Path) -> None:
    place = {**os.environ, "TMPDIR": str(tmp_path)}
    demo = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=place)
    try:
        deadline = time.monotonic() + LIMIT_SECONDS
        while len(processes_in(tmp_path)) < 3:
            assert demo.poll() is None and time.monotonic() < deadline, "the servers of the demo do not start"
            time.sleep(0.05)
        demo.send_signal(signal.SIGINT)
        said, _ = demo.communicate(timeout=30)
    finally:
        demo.kill()
    assert demo.returncode == 130, said
    assert "Traceback" not in said
    assert processes_in(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
