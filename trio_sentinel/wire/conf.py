"""sentinel.conf as a whole: what a loaded configuration is, and the report of a fatal error.

Loading is in `conf_load`, its ``sentinel`` lines in `conf_statements`, rewriting in `conf_rewrite`; this module is
the door to all of them. Nothing here touches the disk: whoever calls hands in functions that do.
"""

from __future__ import annotations

from trio_sentinel.errors import ConfigError
from trio_sentinel.wire.conf_load import Configuration, load_configuration
from trio_sentinel.wire.conf_patch import Rewriter
from trio_sentinel.wire.conf_rewrite import rewrite_configuration
from trio_sentinel.wire.directives import Directives

__all__ = ["Configuration", "Directives", "Rewriter", "fatal_report", "load_configuration", "rewrite_configuration"]


def fatal_report(error: ConfigError, version: str) -> str:
    """What goes to stderr before the process ends with status 1 (config-and-events.md 1.4, header of Valkey 9)."""
    lines = ["", f"*** FATAL CONFIG FILE ERROR (Version {version}) ***"]
    if error.line is not None:
        lines += [f"Reading the configuration file, at line {error.line}", f">>> '{error.source or ''}'"]
    return "\n".join([*lines, error.problem, ""])
