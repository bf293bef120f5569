"""Settings of ours that stock programs would refuse in sentinel.conf: the optional file ``sentinel.toml`` beside it."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

from attrs import fields_dict, frozen

from trio_sentinel.errors import ConfigError

LogFormat: TypeAlias = Literal["stock", "json"]

_WORDS: Final = {"log_format": ("stock", "json")}


@frozen(kw_only=True)
class Extras:
    """What ``sentinel.toml`` says.

    ``log_format``: ``stock`` writes the lines that ``log-format`` of sentinel.conf asks for, ``json`` one JSON object
    with the fields of the event.
    """

    log_format: LogFormat = "stock"


def load_extras(text: bytes, *, path: str) -> Extras:
    """The settings in `text`, the content of `path`.

    Raises:
        ConfigError: no TOML, an unknown key, or a value of the wrong kind; the text names file and key.
    """
    import tomllib  # few have such a file, and every start would pay for it

    try:
        table: dict[str, Any] = tomllib.loads(text.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    for key, value in table.items():
        if key not in fields_dict(Extras):
            raise ConfigError(f"{path}: unknown key '{key}'; known: {', '.join(fields_dict(Extras))}")
        if value not in _WORDS[key]:
            raise ConfigError(f"{path}: '{key}' must be one of: {', '.join(_WORDS[key])}")
    return Extras(**table)
