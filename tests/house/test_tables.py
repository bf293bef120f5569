"""Every vocabulary is handled whole: the keys of the dispatch tables against the members of their aliases."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from trio_sentinel.model import effects, events, inputs, state
from trio_sentinel.model.decide.failover import PHASE_RULES
from trio_sentinel.model.engine import _HANDLERS
from trio_sentinel.model.evolve import EVOLVE, LAWFUL_MOVES
from trio_sentinel.model.react import REACT
from trio_sentinel.model.senses import PERCEIVE
from trio_sentinel.runtime.bridge import Bridge
from trio_sentinel.wire.bulletins import TABLE as BULLETINS

EVENTS = get_args(events.Event)
INPUTS = get_args(inputs.Input)
EFFECTS = get_args(effects.Effect)
PHASES = get_args(state.Phase)


@pytest.mark.parametrize(
    ("table", "vocabulary"),
    [
        pytest.param(EVOLVE, EVENTS, id="evolve"),
        pytest.param(BULLETINS, EVENTS, id="bulletins"),
        pytest.param(PERCEIVE, INPUTS, id="perceive"),
        pytest.param(PHASE_RULES, PHASES, id="phase rules"),
        pytest.param(LAWFUL_MOVES, PHASES, id="lawful moves"),
        pytest.param(state.PHASE_WORDS, PHASES, id="phase words"),
        pytest.param(Bridge._OWNERS, EFFECTS, id="owners of effects"),
    ],
)
def test_table_has_a_row_for_every_word(table: dict[type, Any], vocabulary: tuple[type, ...]) -> None:
    assert set(table) == set(vocabulary)


@pytest.mark.parametrize(
    ("table", "vocabulary"),
    [pytest.param(REACT, EVENTS, id="react"), pytest.param(_HANDLERS, INPUTS, id="engine")],
)
def test_table_has_no_row_for_a_word_that_does_not_exist(table: dict[type, Any], vocabulary: tuple[type, ...]) -> None:
    assert set(table) <= set(vocabulary)


def test_every_request_reaches_the_engine() -> None:
    """A request without a handler would never be answered."""
    assert set(get_args(inputs.Request)) <= set(_HANDLERS)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_event_says_whether_it_must_be_on_disk(event: type) -> None:
    assert isinstance(vars(event)["durable"], bool)


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: effect.__name__)
def test_effect_says_whether_anybody_hears_of_it(effect: type) -> None:
    assert isinstance(vars(effect)["audible"], bool)


def test_every_class_of_a_vocabulary_is_in_its_alias() -> None:
    for module, members in ((events, EVENTS), (inputs, INPUTS), (effects, EFFECTS)):
        marked = "durable" if module is events else "audible" if module is effects else None
        own = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == module.__name__]
        words = [v for v in own if hasattr(v, "__struct_fields__") and (marked is None or hasattr(v, marked))]
        assert set(words) == set(members), module.__name__
