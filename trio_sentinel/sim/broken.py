"""How a checker says that a property does not hold."""

from __future__ import annotations


class Broken(AssertionError):
    """A property does not hold. ``number`` is its number in core.md 20, or a word for those that have none."""

    def __init__(self, number: int | str, what: str) -> None:
        super().__init__(f"property {number}: {what}")
        self.number = number


def require(fact: bool, number: int | str, what: str) -> None:
    """Raise Broken unless `fact` holds."""
    if not fact:
        raise Broken(number, what)
