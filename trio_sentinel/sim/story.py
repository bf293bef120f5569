"""A run as a person reads it: one line for each event, one column for each sentinel, and what was done to them."""

from __future__ import annotations

from collections.abc import Iterator

from trio_sentinel.model.events import Event
from trio_sentinel.model.values import Address
from trio_sentinel.sim.runs import Report

UNTOLD = frozenset(
    {"subject", "at_ms", "replica_subjects", "losers", "snapshot", "settings", "timing", "by", "replica"}
)
COLUMN = 4


def lines(report: Report) -> Iterator[str]:
    """The whole run, in order."""
    names = sorted({told.who for told in report.told})
    yield f"{report.options}"
    yield f"{'ms':>8}  " + "  ".join(f"{n + 1}: {name}" for n, name in enumerate(names))
    rows = [(at_ms, 0, f"*** {text}") for at_ms, text in report.notes]
    for told in report.told:
        column = names.index(told.who)
        rows.append((told.at_ms, 1, f"{' ' * (COLUMN * column)}{column + 1} {describe(told.event)}"))
    rows.sort(key=lambda row: row[:2])
    for at_ms, _, text in rows:
        yield f"{at_ms - 1_000_000:>8}  {text}"
    for loss in report.losses:
        yield loss.told()
    yield report.line


def describe(event: Event) -> str:
    """An event in one line: its name, whom it is about, and what matters of the rest."""
    words = [type(event).__name__]
    subject = getattr(event, "subject", None)
    if subject is not None:
        words.append(subject.name if subject.kind.value != "sentinel" else subject.name[:8])
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if name not in UNTOLD and value is not None and str(value) != words[-1]:
            words.append(f"{name}={_short(value)}")
    return " ".join(words)


def _short(value: object) -> str:
    if isinstance(value, tuple) and not isinstance(value, Address):
        return "[" + " ".join(_short(item) for item in value) + "]"
    text = str(getattr(value, "value", value))
    return text[:8] if len(text) == 40 and ":" not in text else text
