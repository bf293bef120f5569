"""The ACL users of a configuration, and the ACL file while the sentinel runs."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import Final

import trio
from attrs import frozen

from trio_sentinel.adapters import disk
from trio_sentinel.adapters.system import NAME
from trio_sentinel.errors import StartupError
from trio_sentinel.wire import acl_file
from trio_sentinel.wire.acl_user import User
from trio_sentinel.wire.directives import Directives

REQUIREPASS_IGNORED: Final = "requirepass is ignored because an ACL file is configured; set the password of its users"


def load_users(directives: Directives) -> dict[str, User]:
    """The users at start, by name.

    Raises:
        StartupError: a ``user`` line or the ACL file cannot be used. To ignore that would open the port to whom it was
            closed.
    """
    fresh = acl_file.fresh_selector(directives.acl_pubsub_default)
    if not directives.aclfile:
        return acl_file.users_of(directives.users, fresh, password=directives.requirepass)
    found = _read(directives)
    try:
        if isinstance(found, bytes):
            return acl_file.read_file(found, directives.aclfile, fresh)
        problem = found
    except acl_file.BadFile as bad:
        problem = str(bad)
    raise StartupError(f"Aborting {NAME} startup because of ACL errors: {problem}")


def _path(directives: Directives) -> str:
    return posixpath.join(directives.dir, directives.aclfile)


def _read(directives: Directives) -> bytes | str:
    """The content of the ACL file, or the error that says why there is none."""
    try:
        return disk.read_file(_path(directives))
    except OSError as error:
        return f"Error loading ACLs, opening file '{directives.aclfile}': {error.strerror or error}"


@frozen
class ThreadedUserFile:
    """The ACL file of a running sentinel: read and written in worker threads, so that no disk stops the probes."""

    directives: Directives
    nursery: trio.Nursery

    @property
    def name(self) -> str:
        """As in ``aclfile``."""
        return self.directives.aclfile

    def read(self, then: Callable[[bytes | str], None]) -> None:
        """Read it; `then` gets the content, or the text of an error."""

        async def reading() -> None:
            then(await trio.to_thread.run_sync(_read, self.directives))

        self.nursery.start_soon(reading, name="read the ACL file")

    def write(self, content: bytes, then: Callable[[str | None], None]) -> None:
        """Replace it durably; `then` gets None, or a line for the log."""

        async def writing() -> None:
            try:
                await trio.to_thread.run_sync(disk.save_file, _path(self.directives), content)
            except OSError as error:
                then(f"ACL SAVE failed: {error}")
            else:
                then(None)

        self.nursery.start_soon(writing, name="save the ACL file")
