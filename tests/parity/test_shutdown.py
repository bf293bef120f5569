"""SHUTDOWN that succeeds (5.3): no reply, the connection ends, and so does the process, with status 0."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.harness_sentinels import Kind

from .servers import open_rivals
from .wires import Wire

WORDS = {
    "alone": (b"SHUTDOWN\r\n", tuple(Kind)),
    "nosave": (b"shutdown nosave now force\r\n", tuple(Kind)),
    "save": (b"shutdown SAVE\r\nping\r\n", tuple(Kind)),
    "safe": (b"shutdown safe\r\n", (Kind.OURS, Kind.VALKEY)),
}


@pytest.mark.parametrize("name", WORDS)
def test_shutdown_ends_the_process_without_a_word(tmp_path: Path, name: str) -> None:
    request, kinds = WORDS[name]
    with open_rivals(tmp_path, kinds=kinds) as rivals:
        for rival in rivals.values():
            wire = Wire(rival.port)
            said, closed = wire.ask(request, at_least=1, patience=10.0), wire.closed
            wire.end()
            assert (said, closed, rival.process.wait(20.0)) == ([], True, 0), rival.kind
