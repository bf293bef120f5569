"""A small, repeatable part of the fuzzer in every run: what was found before, the seeds, and some new inputs."""

from __future__ import annotations

import pytest

from tests.fuzz.corpus_files import kept
from tests.fuzz.mutation import Mutator
from tests.fuzz.seeds import TARGETS

INPUTS = 1500


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_findings_and_mutations_break_no_oracle(name: str) -> None:
    target = TARGETS[name]
    known = [*target.seeds, *(data for _, data in kept(name))]
    for data in known:
        target.run(data)
    mutator = Mutator(known, target.tokens, seed=1)
    for _ in range(INPUTS):
        data = mutator.next()
        try:
            target.run(data)
        except Exception as error:
            error.add_note(f"the input was {data!r}")
            raise


def test_equal_seeds_give_equal_inputs() -> None:
    one, other = (Mutator([b"*1\r\n$4\r\nPING\r\n"], [b"x"], seed=7) for _ in range(2))
    assert [one.next() for _ in range(200)] == [other.next() for _ in range(200)]


@pytest.mark.parametrize(
    ("name", "owner", "defect"),
    [
        ("requests", "trio_sentinel.wire.resp.RequestReader.feed", "pieces are put together wrongly"),
        ("hellos", "trio_sentinel.wire.readings._epoch", "an epoch without a bound"),
        ("globs", "trio_sentinel.wire.glob._bracket", "a class that is never negated"),
    ],
)
def test_a_planted_defect_is_found(name: str, owner: str, defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, _DEFECTS[defect])
    target = TARGETS[name]
    mutator = Mutator(target.seeds, target.tokens, seed=1)
    with pytest.raises(Exception):  # noqa: B017 - any: the defect may break this or that oracle
        for _ in range(20 * INPUTS):
            target.run(mutator.next())


def _feed_without_the_rest(self: object, data: bytes) -> None:
    reader = self
    reader._data, reader._pos, reader._size, reader._need = data, 0, len(data), 0  # type: ignore[attr-defined]


def _any_epoch(digits: bytes) -> int | None:
    return int(digits) if digits.isdigit() else None


def _never_negated(pattern: bytes, at: int) -> tuple[set[int], int]:
    end = pattern.find(b"]", at)
    return set(pattern[at : end if end >= 0 else len(pattern)]), end if end >= 0 else len(pattern)


_DEFECTS = {
    "pieces are put together wrongly": _feed_without_the_rest,
    "an epoch without a bound": _any_epoch,
    "a class that is never negated": _never_negated,
}
