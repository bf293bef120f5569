"""sentinel.toml: our own settings, with errors that name file and key."""

from __future__ import annotations

import pytest

from trio_sentinel.errors import ConfigError
from trio_sentinel.wire.extras import Extras, load_extras


def test_settings_and_defaults() -> None:
    assert load_extras(b"# nothing\n", path="x.toml") == Extras() == Extras(log_format="stock")
    assert load_extras(b'log_format = "json"\n', path="x.toml") == Extras(log_format="json")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"log_formt = 'json'", "/etc/x.toml: unknown key 'log_formt'; known: log_format"),
        (b"log_format = 'xml'", "/etc/x.toml: 'log_format' must be one of: stock, json"),
        (b"log_format = 1", "/etc/x.toml: 'log_format' must be one of: stock, json"),
        (b"[log_format]\na = 1", "/etc/x.toml: 'log_format' must be one of: stock, json"),
    ],
)
def test_what_is_wrong_is_named(text: bytes, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_extras(text, path="/etc/x.toml")
    assert str(caught.value) == problem


@pytest.mark.parametrize("text", [b"log_format", b"\xff"])
def test_what_is_no_toml_is_refused(text: bytes) -> None:
    with pytest.raises(ConfigError, match=r"^/etc/x\.toml: "):
        load_extras(text, path="/etc/x.toml")
