"""sentinel.conf -> general directives and the snapshot of the state (config-and-events.md 1.1 to 1.4).

1. General directives act line by line, the last one wins; ``sentinel`` lines are collected and applied at the end.
2. Files, standard input and command line options become one text, so that line numbers are stock's.
3. A wrong line raises `ConfigError` with stock's text, the number and the text of the line.
4. Relative paths are joined to ``dir`` as it is at that line: the caller need not change its directory.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import define, evolve, field, frozen

from trio_sentinel.errors import ConfigError, StartupError
from trio_sentinel.model.snapshot import Snapshot
from trio_sentinel.wire import acl_file, commands, conf_lexer, directives, resp
from trio_sentinel.wire.conf_secrets import shown_line, shown_rule
from trio_sentinel.wire.conf_statements import Origin, Statement, Statements
from trio_sentinel.wire.directives import BadValue, Directives
from trio_sentinel.wire.resp import told

BAD_DIRECTIVE: Final = "Bad directive or wrong number of arguments"
MAX_INCLUDES: Final = 16
"""How deep files may include each other; stock has no limit and dies of a file that includes itself."""


def _nothing(path: str) -> None:
    """Stands in for a check that the caller does not want."""


@frozen(kw_only=True)
class Configuration:
    """A loaded configuration. `path` is the file it came from, absolute; None if there was no file."""

    path: str | None
    directives: Directives
    snapshot: Snapshot
    included_values: Mapping[str, Any] = field(factory=dict, repr=False)
    """Attributes of `directives` whose value came from an included file that stays included, with that value."""
    absorbed_includes: Mapping[str, tuple[tuple[str, str], ...]] = field(factory=dict, repr=False)
    """Words of ``include`` lines whose files hold ``sentinel`` or ``user`` lines, each with the ``rename-command``
    pairs in there. A rewrite takes everything in such a file over into the main one, because those lines change while
    we run and must not be read twice."""


@frozen(kw_only=True)
class World:
    """What loading asks of the world. All functions take absolute paths; `enter` and `open_log` raise `OSError`."""

    read_file: Callable[[str], bytes]
    glob_files: Callable[[str], list[str]]
    enter: Callable[[str], None] = _nothing
    open_log: Callable[[str], None] = _nothing


def load_configuration(
    text: bytes,
    *,
    path: str | None,
    options: Sequence[str] = (),
    stdin: bytes | None = None,
    read_file: Callable[[str], bytes],
    glob_files: Callable[[str], list[str]],
    is_executable: Callable[[str], bool],
    resolve: Callable[[str], str | None],
    working_dir: str,
    enter_dir: Callable[[str], None] = _nothing,
    open_log: Callable[[str], None] = _nothing,
) -> Configuration:
    """Load `text`, the content of `path`, with what came on standard input and the words after the file name.

    Args:
        options: words such as ``--port``, ``5000``; ``-`` is skipped (it asks for `stdin`).
        read_file: reads an included file; an `OSError` becomes a `StartupError`.
        glob_files: the files that match an ``include`` pattern, in order.
        resolve: name -> numeric address or None; called only with ``resolve-hostnames yes``, for two servers of one
            master that have the same port and different names. A name that cannot be resolved is accepted.
        working_dir: the directory in which the process was started, absolute.
        enter_dir: changes the directory for the ``dir`` directive.
        open_log: opens the final ``logfile`` for append and closes it.

    Raises:
        ConfigError: a line, or the whole, is not acceptable.
        StartupError: an included file cannot be read.
    """
    world = World(read_file=read_file, glob_files=glob_files, enter=enter_dir, open_log=open_log)
    loading = _Loading(world=world, known=Directives(dir=working_dir), table=dict(commands.COMMANDS))
    typed = text if stdin is None else _joined(text, stdin)
    whole = typed + b"\n" + option_lines(options) if options else typed
    loading.read(whole, own_lines=text.count(b"\n") + (not text.endswith(b"\n") and text != b""))
    loading.check_log()
    final_dir = loading.known.dir

    def may_run(script: str) -> bool:
        return bool(script) and is_executable(posixpath.join(final_dir, script))

    snapshot = Statements(is_executable=may_run, resolve=resolve).applied(loading.statements)
    return Configuration(
        path=path,
        directives=loading.known,
        snapshot=snapshot,
        included_values=loading.kept_included(),
        absorbed_includes=loading.taken_over(),
    )


def _joined(text: bytes, more: bytes) -> bytes:
    return text + (b"" if text.endswith(b"\n") or not text else b"\n") + more


def option_lines(options: Sequence[str]) -> bytes:
    """Words of the command line as lines of the file: ``--name`` begins one, other words follow it in quotes."""
    words = list(options)
    if words and words[-1] == "-":
        words.pop()
    if words and words[0] == "-":
        words.pop(0)
    lines: list[bytes] = []
    for word in words:
        if word.startswith("--"):
            lines.append(resp.text(word[2:]))
        elif lines:
            lines[-1] += b" " + conf_lexer.quoted(word)
        else:
            lines.append(conf_lexer.quoted(word))
    return b"\n".join(lines)


@define(eq=False, kw_only=True)
class _Loading:
    """One run through all the text. `known` grows; `statements` are the ``sentinel`` lines met so far."""

    world: World
    known: Directives
    table: dict[bytes, commands.Command]
    statements: list[Statement] = field(factory=list)
    absorbed: set[str] = field(factory=set)
    renamings: list[tuple[tuple[str, str], str | None]] = field(factory=list)
    depth: int = 0
    origin: Origin = Origin.FILE
    source: str | None = None
    """The word of the outermost ``include`` line of the file that is being loaded; None outside of it."""
    set_by: dict[str, str | None] = field(factory=dict)
    """Attribute of `known` -> `source` of the line that set it last."""

    def read(self, text: bytes, *, own_lines: int | None = None) -> None:
        """Apply `text`; lines beyond `own_lines` did not come from the file."""
        for number, raw in enumerate(text.split(b"\n"), 1):
            if own_lines is not None:
                self.origin = Origin.FILE if number <= own_lines else Origin.COMMAND_LINE
            line = raw.strip(conf_lexer.TRIMMED)
            if not line or line.startswith(b"#"):
                continue
            shown = shown_line(told(line.partition(b"\0")[0]))
            try:
                words = [told(word) for word in conf_lexer.split_line(line)]
                if words:
                    self.apply(words[0].lower(), words[1:], Statement(tuple(words[1:]), number, shown, self.origin))
            except conf_lexer.Unbalanced:
                raise ConfigError("Unbalanced quotes in configuration line", line=number, source=shown) from None
            except BadValue as problem:
                raise ConfigError(str(problem), line=number, source=shown) from None

    def apply(self, name: str, values: list[str], statement: Statement) -> None:
        """One line. Raises `BadValue`, and `ConfigError` from an included file."""
        if name in ("sentinel", "user") and values and self.source is not None:
            self.absorbed.add(self.source)
        if name == "sentinel":
            if values:
                self.statements.append(statement)
        elif name in directives.KINDS:
            if len(values) != 1:
                raise BadValue("wrong number of arguments")
            self.single(name, values[0])
        elif name in _LISTS:
            _LISTS[name](self, values)
        elif name in directives.IGNORED:
            if len(values) != 1 and name not in directives.IGNORED_LISTS:
                raise BadValue("wrong number of arguments")
        elif "." in name:
            if not values:
                raise BadValue("Module config specified without value")
        else:
            raise BadValue(BAD_DIRECTIVE)

    def set(self, attribute: str, value: Any) -> None:
        self.set_by[attribute] = self.source
        self.known = evolve(self.known, **{attribute: value})

    def single(self, name: str, word: str) -> None:
        value = directives.KINDS[name].read(word)
        self.set(directives.attribute(name), self.enter(word) if name == "dir" else value)

    def enter(self, word: str) -> str:
        if not word:
            raise BadValue("dir can't be empty")
        target = posixpath.normpath(posixpath.join(self.known.dir, word))
        try:
            self.world.enter(target)
        except OSError as error:
            raise BadValue(error.strerror or str(error)) from None
        return target

    def include(self, values: list[str]) -> None:
        if len(values) != 1:
            raise BadValue(BAD_DIRECTIVE)
        if self.depth == MAX_INCLUDES:
            raise BadValue("Configuration files include each other too deeply")
        target = posixpath.join(self.known.dir, values[0])
        found = self.world.glob_files(target) if any(sign in values[0] for sign in "*?[") else [target]
        outermost = self.depth == 0 and self.origin is Origin.FILE
        if outermost:
            self.source = values[0]
        self.depth += 1
        self.read(b"".join(_ended(self.read_included(name)) for name in found))
        self.depth -= 1
        if outermost:
            self.source = None

    def read_included(self, name: str) -> bytes:
        try:
            return self.world.read_file(name)
        except OSError as error:
            reason = error.strerror or str(error)
            raise StartupError(f"Fatal error, can't open config file '{name}': {reason}") from None

    def bind(self, values: list[str]) -> None:
        self.set("bind", directives.read_bind(values))

    def buffer_limits(self, values: list[str]) -> None:
        limits = directives.read_buffer_limits(values, self.known.client_output_buffer_limits)
        self.set("client_output_buffer_limits", limits)

    def user(self, values: list[str]) -> None:
        if not values:
            raise BadValue(BAD_DIRECTIVE)
        problem = acl_file.problem_of_line(values, acl_file.fresh_selector(self.known.acl_pubsub_default))
        if any(user[0] == values[0] for user in self.known.users):
            if self.origin is Origin.COMMAND_LINE:
                return  # an earlier start has written this user to the file; there it may have changed since
            problem = (values[0], "Duplicate user found. A user can only be defined once in config files")
        if problem is not None:
            raise BadValue(f"Error in user declaration '{shown_rule(problem[0])}': {problem[1]}")
        self.set("users", (*self.known.users, tuple(values)))

    def rename_command(self, values: list[str]) -> None:
        if len(values) != 2:
            raise BadValue(BAD_DIRECTIVE)
        old, new = (resp.text(value).lower() for value in values)
        if old not in self.table:
            raise BadValue("No such command in rename-command")
        command = self.table.pop(old)
        if new in self.table:
            raise BadValue("Target command name already exists")
        if new:
            self.table[new] = command
        pair = (values[0], values[1])
        self.renamings.append((pair, self.source))
        self.set("renamed_commands", (*self.known.renamed_commands, pair))

    def taken_over(self) -> dict[str, tuple[tuple[str, str], ...]]:
        """The included files that a rewrite must dissolve, and what it must write instead."""
        return {
            word: tuple(pair for pair, source in self.renamings if source == word) for word in sorted(self.absorbed)
        }

    def check_log(self) -> None:
        """The log file must be ready to be written to; it is named relative to the final directory."""
        if self.known.logfile:
            try:
                self.world.open_log(posixpath.join(self.known.dir, self.known.logfile))
            except OSError as error:
                raise ConfigError(f"Can't open the log file: {error.strerror or error}") from None

    def kept_included(self) -> dict[str, Any]:
        """Values that a next start will find again in an included file."""
        kept = {name for name, source in self.set_by.items() if source is not None and source not in self.absorbed}
        return {name: getattr(self.known, name) for name in kept - {"dir", "users", "renamed_commands"}}


def _ended(text: bytes) -> bytes:
    """`text` with a line end, so that the next file of a pattern begins on a line of its own."""
    return text if text.endswith(b"\n") or not text else text + b"\n"


_LISTS: Final[dict[str, Callable[[_Loading, list[str]], None]]] = {
    "include": _Loading.include,
    "bind": _Loading.bind,
    "client-output-buffer-limit": _Loading.buffer_limits,
    "user": _Loading.user,
    "rename-command": _Loading.rename_command,
}
