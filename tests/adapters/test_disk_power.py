"""Saving and reading when the power may fail between any two steps: the file is the old one or the new one, never half
of either, and what a save or a start promises stays.

The calls that the code under test makes are written down, not imagined, and played on a model of a disk that keeps no
more than POSIX promises: content that is not synced may be cut anywhere, a rename without a sync of its directory may
be lost.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from trio_sentinel.adapters import disk
from trio_sentinel.errors import StartupError

OLD: Final = b"vote 1 of an old epoch\n" * 3
NEW: Final = b"vote 2 of a new epoch, in another line\n" * 3

Step = tuple[str, ...]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """What is done to the disk from now on: ("write", name), ("sync", name), ("sync directory",), ("rename", to)."""
    told: list[Step] = []
    fsync, write, rename = os.fsync, os.write, Path.rename

    def name_of(descriptor: int) -> str:
        return Path(f"/proc/self/fd/{descriptor}").readlink().name

    def note_fsync(descriptor: int) -> None:
        fsync(descriptor)
        is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        told.append(("sync directory",) if is_directory else ("sync", name_of(descriptor)))

    def note_write(descriptor: int, data: bytes) -> int:
        told.append(("write", name_of(descriptor)))
        return write(descriptor, data)

    def note_rename(source: Path, target: Path) -> Path:
        told.append(("rename", source.name, target.name))
        return rename(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "write", note_write)
    monkeypatch.setattr(Path, "rename", note_rename)
    return told


def found_after_power_failure(done: list[Step], contents: dict[str, bytes], name: str) -> set[bytes]:
    """All that may be found under `name` when the power fails right after what was `done`; `contents` is what the
    writer of each file meant to write."""
    whole = {name: OLD}
    cut: dict[str, set[bytes]] = {}
    names: list[tuple[str, str]] = []
    for word, *words in done:
        if word == "write":
            content = contents[words[0]]
            cut[words[0]] = {content[:size] for size in range(len(content) + 1)}
        elif word == "sync":
            file = {new: old for old, new in names}.get(words[0], words[0])
            whole[file], cut[file] = contents.get(file, OLD), set()
        elif word == "rename":
            names.append((words[0], words[1]))
        elif word == "sync directory":
            for old, new in names:
                whole[new], cut[new] = whole.get(old, b""), cut.get(old, set())
            names = []
    found = {whole[name]} | cut.get(name, set())
    for old, new in names:
        if new == name:
            found |= {whole[old]} if not cut.get(old) else cut[old]
    return found


def _contents(steps: list[Step]) -> dict[str, bytes]:
    return {step[1]: NEW for step in steps if step[0] == "write"}


def test_a_power_failure_at_any_point_leaves_the_old_file_or_the_new_one(tmp_path: Path, steps: list[Step]) -> None:
    (tmp_path / "s.conf").write_bytes(OLD)
    disk.save_file(str(tmp_path / "s.conf"), NEW)
    points = [found_after_power_failure(steps[:n], _contents(steps), "s.conf") for n in range(len(steps) + 1)]
    assert points[0] == {OLD}
    assert {OLD, NEW} in points
    assert all(found <= {OLD, NEW} for found in points)
    assert points[-1] == {NEW}, "a save that returned may be lost"


@pytest.mark.parametrize("forgotten", ["sync", "sync directory"])
def test_the_model_of_the_disk_bites(tmp_path: Path, steps: list[Step], forgotten: str) -> None:
    (tmp_path / "s.conf").write_bytes(OLD)
    disk.save_file(str(tmp_path / "s.conf"), NEW)
    fewer = [step for step in steps if step[0] != forgotten]
    found = list(
        itertools.chain.from_iterable(
            found_after_power_failure(fewer[:n], _contents(steps), "s.conf") for n in range(len(fewer) + 1)
        )
    )
    torn = any(content not in (OLD, NEW) for content in found)
    lost = found_after_power_failure(fewer, _contents(steps), "s.conf") != {NEW}
    assert torn if forgotten == "sync" else lost


def _failing_directory_sync(fsync: Callable[[int], None]) -> Callable[[int], None]:
    def failing(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    return failing


def test_what_a_start_reads_is_settled_before_it_is_told(
    tmp_path: Path, steps: list[Step], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last save was told that its directory could not be synced; its file is there nevertheless, and is read."""
    path = tmp_path / "s.conf"
    path.write_bytes(OLD)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _failing_directory_sync(os.fsync))
        with pytest.raises(disk.SaveError):
            disk.save_file(str(path), NEW)
    assert path.read_bytes() == NEW
    contents = _contents(steps)
    assert found_after_power_failure(steps, contents, "s.conf") == {OLD, NEW}
    disk.settle_file(str(path))
    assert found_after_power_failure(steps, contents, "s.conf") == {NEW}
    assert path.read_bytes() == NEW


def _failing(code: int) -> Callable[[int], Any]:
    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def test_a_start_whose_file_does_not_come_to_the_disk_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.conf"
    path.write_bytes(OLD)
    monkeypatch.setattr(os, "fsync", _failing(errno.EIO))
    with pytest.raises(StartupError, match=r"can't bring config file '.*s\.conf' to the disk: Input/output error"):
        disk.settle_file(str(path))


@pytest.mark.parametrize("code", sorted(disk.NOTHING_TO_SYNC))
def test_a_file_system_that_syncs_nothing_is_no_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = tmp_path / "s.conf"
    path.write_bytes(OLD)
    monkeypatch.setattr(os, "fsync", _failing(code))
    disk.settle_file(str(path))
    disk.settle_file(str(tmp_path / "none"))
