"""What all tests share: the order of the run, and a plain word at its end on what was left out."""

from __future__ import annotations

import hypothesis
import pytest

hypothesis.settings.register_profile("house", deadline=None)  # no test fails because the machine is busy
hypothesis.settings.load_profile("house")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests first: whoever broke a rule learns it before any server is started."""
    items.sort(key=lambda item: item.get_closest_marker("real") is not None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name every check that was left out because something is not installed here."""
    left_out: dict[str, list[str]] = {}
    for report in terminalreporter.stats.get("skipped", []):
        if isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
            left_out.setdefault(reason, []).append(report.nodeid)
    if not left_out:
        terminalreporter.write_line("No check of this run was left out.")
        return
    terminalreporter.section("left out")
    for reason, names in sorted(left_out.items()):
        terminalreporter.write_line(f"{len(names)} not made: {reason}")
        for name in sorted(names):
            terminalreporter.write_line(f"    {name}")
    if any("redis" in reason.lower() for reason in left_out):
        terminalreporter.write_line("To make them all on Debian or Ubuntu: apt-get install redis-server redis-sentinel")
