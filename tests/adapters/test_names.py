"""Names are resolved once each, within a deadline, in a bounded number of threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import trio

from trio_sentinel.adapters import names
from trio_sentinel.adapters.lookup import ask_system
from trio_sentinel.adapters.names import MAX_THREADS, Resolver


class Answers:
    """What came back, in order."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str | None]] = []

    def __call__(self, host: str, ip: str | None) -> None:
        self.found.append((host, ip))

    async def wait(self, count: int) -> None:
        with trio.fail_after(5):
            while len(self.found) < count:
                await trio.sleep(0.002)


async def test_one_answer_serves_all_who_asked_meanwhile() -> None:
    asked, answers, gate = [], Answers(), threading.Event()

    def ask(host: str) -> str | None:
        asked.append(host)
        gate.wait(5)
        return f"ip of {host}"

    async with trio.open_nursery() as nursery:
        resolver = Resolver(nursery, answers, ask=ask)
        for host in ("a", "b", "a", "a"):
            resolver.resolve(host)
        assert answers.found == []
        assert resolver.in_flight == 2
        gate.set()
        await answers.wait(2)
        assert sorted(answers.found) == [("a", "ip of a"), ("b", "ip of b")]
        resolver.resolve("a")
        await answers.wait(3)
    assert sorted(asked) == ["a", "a", "b"]


async def test_a_slow_resolver_has_a_deadline() -> None:
    answers, gate = Answers(), threading.Event()
    before = trio.current_time()
    async with trio.open_nursery() as nursery:
        resolver = Resolver(nursery, answers, deadline_s=0.05, ask=lambda host: "late" if gate.wait(5) else None)
        resolver.resolve("slow")
        await answers.wait(1)
        gate.set()
    assert answers.found == [("slow", None)]
    assert trio.current_time() - before < 2


async def test_threads_are_bounded_and_waiting_counts_against_the_deadline() -> None:
    answers, gate, busy = Answers(), threading.Event(), []

    def ask(host: str) -> str | None:
        busy.append(host)
        gate.wait(5)
        return "late"

    async with trio.open_nursery() as nursery:
        resolver = Resolver(nursery, answers, deadline_s=0.1, ask=ask)
        for number in range(MAX_THREADS + 5):
            resolver.resolve(f"h{number}")
        await answers.wait(MAX_THREADS + 5)
        assert len(busy) == MAX_THREADS
        gate.set()
    assert {ip for _, ip in answers.found} == {None}


async def test_too_many_questions_are_answered_with_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "MAX_QUESTIONS", 2)
    answers = Answers()
    gate = threading.Event()
    async with trio.open_nursery() as nursery:
        resolver = Resolver(nursery, answers, ask=lambda host: "ip" if gate.wait(5) else None)
        for host in ("a", "b", "c"):
            resolver.resolve(host)
        await answers.wait(1)
        assert answers.found == [("c", None)]
        gate.set()
        await answers.wait(3)


@pytest.mark.parametrize("host", ["", "x" * 300, "a..b", "nosuch.invalid", "white space"])
def test_no_name_raises(host: str) -> None:
    result: Callable[[str], str | None] = ask_system
    assert host == "" or result(host) is None


def test_the_system_knows_itself() -> None:
    assert ask_system("127.0.0.1") == "127.0.0.1"
    assert ask_system("localhost") in ("127.0.0.1", "::1")
