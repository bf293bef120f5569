"""Deciding reads and writes nothing: a walk through the syntax trees of the parts that only look."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import trio_sentinel

MODEL = Path(trio_sentinel.__path__[0]) / "model"
LOOKERS = sorted([*(MODEL / "decide").glob("*.py"), *(MODEL / f"{name}.py" for name in ("react", "ranking", "views"))])
MUTATORS = {"append", "add", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "setdefault", "update"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def writes(tree: ast.Module) -> list[str]:
    """Every place where a function changes something that it did not make itself."""
    functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
    return sorted({found for function in functions for found in _writes_of(function)})


def _writes_of(function: Function) -> Iterator[str]:
    own = set(_made_here(function))
    for node in ast.walk(function):
        for target in _targets(node):
            if _root(target) not in own:
                yield f"line {node.lineno}: {ast.unparse(target)}"  # type: ignore[attr-defined]


def _targets(node: ast.AST) -> Iterator[ast.expr]:
    """What `node` writes to: attributes and items, and what a mutating method is called on."""
    if isinstance(node, ast.Assign | ast.Delete):
        nested = [part for target in node.targets for part in ast.walk(target)]
        yield from (part for part in nested if isinstance(part, ast.Attribute | ast.Subscript) and _stored(part))
    elif isinstance(node, ast.AugAssign | ast.AnnAssign) and isinstance(node.target, ast.Attribute | ast.Subscript):
        yield node.target
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
        yield node.func.value


def _stored(part: ast.Attribute | ast.Subscript) -> bool:
    return isinstance(part.ctx, ast.Store | ast.Del)


def _root(node: ast.expr) -> str | None:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _made_here(function: Function) -> Iterator[str]:
    """Names bound to a container or a result made in this function."""
    makers = ast.Dict | ast.List | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp | ast.Call
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.value, makers):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.value, makers) and isinstance(node.target, ast.Name):
            yield node.target.id


@pytest.mark.parametrize("path", LOOKERS, ids=lambda path: str(path.relative_to(MODEL)))
def test_who_only_looks_writes_nothing(path: Path) -> None:
    assert writes(ast.parse(path.read_text())) == []


@pytest.mark.parametrize(
    "line",
    [
        "master.down = True",
        "master.epoch += 1",
        "s.state.masters['a'] = master",
        "del s.state.masters['a']",
        "master.replicas.pop(1)",
        "a, master.down = 1, 2",
    ],
)
def test_the_walk_finds_a_planted_write(line: str) -> None:
    assert writes(ast.parse(f"def decide(s, master):\n    {line}\n")) != []


def test_the_walk_lets_a_function_fill_what_it_made() -> None:
    assert writes(ast.parse("def decide(s):\n    found = []\n    found.append(s)\n    return found\n")) == []
