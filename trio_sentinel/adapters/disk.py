"""Files: the configuration is saved whole or not at all, and read.

A save writes a temporary file beside the target, brings it to the disk, and renames it over the target, so that a
crash at any point leaves the old file or the new one (config-and-events.md 2.4). Three habits of stock are not copied:
the mode of the file is kept (stock opens passwords to everybody), a symbolic link is followed (stock replaces it),
and the owner is kept where the system allows it.
"""

from __future__ import annotations

import errno
import glob
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from trio_sentinel.adapters.lookup import ask_system
from trio_sentinel.errors import SentinelError, StartupError
from trio_sentinel.wire.conf import Configuration, load_configuration

NEW_FILE_MODE: Final = 0o644
ATTEMPTS: Final = 100
"""How many random names of a temporary file are tried before giving up."""
NOTHING_TO_SYNC: Final = frozenset({errno.EINVAL, errno.EBADF, errno.EROFS})
"""What a file system says that does not sync such a thing (directories, mostly), or never changes: what is there is as
durable as it gets."""


class SaveError(SentinelError, OSError):
    """The file could not be saved; the old one is whole. ``step`` is the line for the log, with the reason."""

    def __init__(self, step: str, cause: OSError) -> None:
        self.step = step
        super().__init__(cause.errno, cause.strerror)

    @property
    def reason(self) -> str:
        """The text of the system's error."""
        return self.strerror or ""

    def __str__(self) -> str:
        return self.step


@contextmanager
def _step(text: Callable[[], str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SaveError(f"{text()} ({error.strerror or error})", error) from error


def save_file(path: str, content: bytes) -> None:
    """Make `content` the whole content of `path`, durably. Blocks until the disk has it.

    An existing file keeps its permission bits, and its owner if we may set it; a new one gets 0644 less the umask.
    A temporary file ``<path>.XXXXXXXXXXXX`` (12 random characters; stock uses 6) is removed on failure, and left
    behind by a crash. Such leftovers are not searched for: they are owner-only, and another process may be at work.

    Raises:
        SaveError: with the text that stock logs for the step that failed (config-and-events.md 2.5).
    """
    with _step(lambda: "Could not create tmp config file"):
        target = Path(path).resolve()
        before = _stat_or_none(target)
        descriptor, temporary = _create_beside(target)
    try:
        try:
            _write_all(descriptor, content)
            with _step(lambda: "Could not sync tmp config file to disk"):
                os.fsync(descriptor)
            with _step(lambda: "Could not chmod config file"):
                _dress(descriptor, before)
        finally:
            os.close(descriptor)
        with _step(lambda: "Could not rename tmp config file"):
            temporary.rename(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    with _step(lambda: "Could not sync config file dir"):
        try:
            _sync(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            if error.errno not in NOTHING_TO_SYNC:
                raise


def settle_file(path: str) -> None:
    """Bring to the disk what a reader finds at `path`. Blocks until it is there.

    A process that died between the rename and its sync, or was told that this sync failed, leaves a new file that
    everybody can read and that a power failure still takes back. Whoever acts on what it says must settle it first:
    a vote that was told from it and then lost with the power could be given to another one.

    Raises:
        StartupError: the disk does not take it.
    """
    try:
        target = Path(path).resolve()
        _sync(target, os.O_RDONLY)
        _sync(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return  # written anew by the first save
    except OSError as error:
        if error.errno not in NOTHING_TO_SYNC:
            what = f"Fatal error, can't bring config file '{path}' to the disk: {error.strerror}"
            raise StartupError(what) from error


def _stat_or_none(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _create_beside(target: Path) -> tuple[int, Path]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    for _ in range(ATTEMPTS):
        temporary = target.with_name(f"{target.name}.{secrets.token_hex(6)}")
        with suppress(FileExistsError):
            return os.open(temporary, flags, 0o600), temporary
    raise FileExistsError(None, "No usable temporary file name found")


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    with _step(lambda: f"Failed after writing ({len(content) - len(rest)}) bytes to tmp config file"):
        while rest:
            rest = rest[os.write(descriptor, rest) :]


def _dress(descriptor: int, before: os.stat_result | None) -> None:
    """Give the new file the owner and mode of the old one; a group of strangers gets nothing."""
    if before is None:
        os.fchmod(descriptor, NEW_FILE_MODE & ~_umask())
        return
    mode = stat.S_IMODE(before.st_mode) & 0o777
    now = os.fstat(descriptor)
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        try:
            os.fchown(descriptor, before.st_uid, before.st_gid)
        except OSError:
            with suppress(OSError):
                os.fchown(descriptor, -1, before.st_gid)
            if os.fstat(descriptor).st_gid != before.st_gid:
                mode &= ~0o070
    os.fchmod(descriptor, mode)


def _umask() -> int:
    """The umask of the process; the system has no call that only looks."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------- what loading a configuration asks for


def read_file(path: str) -> bytes:
    """The content of a file; raises `OSError`."""
    return Path(path).read_bytes()


def read_file_if_any(path: str) -> bytes:
    """The content of a file, empty if there is none (a deleted configuration is written anew); raises `OSError`."""
    with suppress(FileNotFoundError):
        return read_file(path)
    return b""


def glob_files(pattern: str) -> list[str]:
    """The files that match a shell pattern, sorted by name; hidden ones only if the pattern says so."""
    return sorted(glob.glob(pattern))  # noqa: PTH207 - absolute patterns, in the shell's sense


def is_executable(path: str) -> bool:
    """Whether we may execute `path`. As in stock a directory passes."""
    return os.access(path, os.X_OK)


def open_for_append(path: str) -> None:
    """Open and close a log file, creating it; raises `OSError`."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666))


def load_file(
    path: str | None, *, options: Sequence[str] = (), stdin: bytes | None = None, open_log: bool = True
) -> Configuration:
    """Load the configuration file at `path` with everything it needs of this system.

    The working directory of the process is left alone: paths are joined to ``dir`` while loading.

    Raises:
        ConfigError: a line is wrong.
        StartupError: the file, or one it includes, cannot be read.
    """
    text = b""
    if path is not None:
        try:
            text = read_file(path)
        except OSError as error:
            raise StartupError(f"Fatal error, can't open config file '{path}': {error.strerror}") from error
    return load_configuration(
        text,
        path=path,
        options=options,
        stdin=stdin,
        read_file=read_file,
        glob_files=glob_files,
        is_executable=is_executable,
        resolve=ask_system,
        working_dir=str(Path.cwd()),
        enter_dir=_must_be_a_directory,
        open_log=open_for_append if open_log else _leave_alone,
    )


def absolute(path: str | os.PathLike[str]) -> str:
    """`path` from the root, links left as they are."""
    return str(Path(path).absolute())


def _must_be_a_directory(path: str) -> None:
    os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))


def _leave_alone(path: str) -> None:
    """A library, or a mere check, opens no log."""
