"""Who may import whom, and that everything can be imported and says what it is."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

import trio_sentinel

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(module.name for module in pkgutil.walk_packages(trio_sentinel.__path__, "trio_sentinel."))
CODE = [name for name in MODULES if not name.endswith("__main__")]


def test_imports_point_one_way(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), cache_dir=None)
    assert status == 0, capsys.readouterr().out


@pytest.mark.parametrize("name", CODE)
def test_module_can_be_imported_and_says_what_it_is(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__file__ is not None
    empty = not [line for line in Path(module.__file__).read_text().splitlines() if line and "__future__" not in line]
    assert empty or (module.__doc__ or "").strip(), f"{name} has no docstring"


@pytest.mark.parametrize("name", CODE)
def test_public_classes_and_functions_say_what_they_promise(name: str) -> None:
    module = importlib.import_module(name)
    silent = [
        thing
        for thing, value in vars(module).items()
        if not thing.startswith("_") and getattr(value, "__module__", None) == name
        if inspect.isfunction(value) or (inspect.isclass(value) and "__doc__" not in vars(value))
        if not (inspect.isfunction(value) and value.__doc__)
    ]
    assert not silent, f"no docstring: {silent}"


def test_the_pure_part_brings_no_trio_with_it() -> None:
    """The model and the languages are usable without Trio, in a program that never installs it."""
    import subprocess

    names = [name for name in CODE if name.startswith(("trio_sentinel.model.", "trio_sentinel.wire."))]
    program = "import importlib, sys\n"
    program += "import types; house = types.ModuleType('trio_sentinel'); "
    program += f"house.__path__ = [{trio_sentinel.__path__[0]!r}]; sys.modules['trio_sentinel'] = house\n"
    program += f"for name in {names!r}: importlib.import_module(name)\n"
    program += "assert 'trio' not in sys.modules and 'asyncio' not in sys.modules\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
