"""Saving a file: whole or not at all, with its mode, through links; and what each failing step says."""

from __future__ import annotations

import errno
import gc
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trio_sentinel.adapters import disk
from trio_sentinel.adapters.disk import SaveError, save_file


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_has_the_mode_of_stock(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save_file(str(tmp_path / "s.conf"), b"port 1\n")
    finally:
        assert os.umask(before) == 0o027
    assert (tmp_path / "s.conf").read_bytes() == b"port 1\n"
    assert mode(tmp_path / "s.conf") == 0o640
    assert os.listdir(tmp_path) == ["s.conf"]


@pytest.mark.parametrize("bits", [0o600, 0o640, 0o644, 0o660])
def test_an_existing_file_keeps_its_mode(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "s.conf"
    path.write_bytes(b"old" * 100)
    path.chmod(bits)
    save_file(str(path), b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", bits)


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "s.conf", tmp_path / "link.conf"
    real.write_bytes(b"old")
    link.symlink_to("real/s.conf")
    save_file(str(link), b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["link.conf", "real"]


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, rest: write(descriptor, rest[:3]))
    save_file(str(tmp_path / "s.conf"), b"0123456789")
    assert (tmp_path / "s.conf").read_bytes() == b"0123456789"


def _fail(code: int) -> Callable[..., Any]:
    def failing(*args: Any, **kwargs: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return failing


def _full_after(size: int) -> Callable[..., int]:
    write, room = os.write, [size]

    def failing(descriptor: int, data: memoryview) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(descriptor, data[: room[0]])
        room[0] -= written
        return written

    return failing


@pytest.mark.parametrize(
    ("owner", "name", "fault", "step"),
    [
        (os, "open", _fail(errno.EACCES), "Could not create tmp config file (Permission denied)"),
        (os, "write", _full_after(4), "Failed after writing (4) bytes to tmp config file (No space left on device)"),
        (os, "fsync", _fail(errno.EIO), "Could not sync tmp config file to disk (Input/output error)"),
        (os, "fchmod", _fail(errno.EPERM), "Could not chmod config file (Operation not permitted)"),
        (Path, "rename", _fail(errno.EBUSY), "Could not rename tmp config file (Device or resource busy)"),
    ],
)
def test_a_failing_step_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, fault: Callable[..., Any], step: str
) -> None:
    path = tmp_path / "s.conf"
    path.write_bytes(b"old content")
    path.chmod(0o600)
    gc.collect()
    opened = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fault)
        with pytest.raises(SaveError) as caught:
            save_file(str(path), b"new content")
    assert caught.value.step == str(caught.value) == step
    assert step.endswith(f"({caught.value.reason})")
    assert isinstance(caught.value, OSError)
    assert (path.read_bytes(), mode(path)) == (b"old content", 0o600)
    assert os.listdir(tmp_path) == ["s.conf"]
    assert len(os.listdir("/proc/self/fd")) == opened


def test_a_directory_that_cannot_be_synced_is_told_though_the_new_file_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def only_files(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", only_files)
    with pytest.raises(SaveError, match=r"Could not sync config file dir \(Input/output error\)"):
        save_file(str(tmp_path / "s.conf"), b"new")
    assert (tmp_path / "s.conf").read_bytes() == b"new"


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EBADF])
def test_a_file_system_that_syncs_no_directories_takes_saves(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    save_file(str(tmp_path / "s.conf"), b"new")
    assert (tmp_path / "s.conf").read_bytes() == b"new"


def test_the_content_is_on_the_disk_before_the_name_and_nobody_else_may_read_it_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def note_fsync(descriptor: int) -> None:
        found = os.fstat(descriptor)
        steps.append("directory" if stat.S_ISDIR(found.st_mode) else f"file {stat.S_IMODE(found.st_mode):o}")
        fsync(descriptor)

    def note_rename(source: Path, target: Path) -> Path:
        steps.append("rename")
        assert source.parent == target.parent
        return rename(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "rename", note_rename)
    save_file(str(tmp_path / "s.conf"), b"new")
    assert steps == ["file 600", "rename", "directory"]


def test_a_missing_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match=r"Could not create tmp config file \(No such file or directory\)"):
        save_file(str(tmp_path / "none" / "s.conf"), b"")


def test_reading_helpers(tmp_path: Path) -> None:
    for name in ("b.conf", "a.conf", ".c.conf", "d.txt"):
        (tmp_path / name).write_bytes(name.encode())
    found = disk.glob_files(str(tmp_path / "*.conf"))
    assert found == [str(tmp_path / "a.conf"), str(tmp_path / "b.conf")]
    assert disk.read_file(found[0]) == b"a.conf"
    with pytest.raises(FileNotFoundError):
        disk.read_file(str(tmp_path / "none"))
    assert disk.read_file_if_any(str(tmp_path / "none")) == b""
    assert disk.read_file_if_any(found[0]) == b"a.conf"
    assert disk.is_executable(str(tmp_path))
    assert not disk.is_executable(found[0])
    disk.open_for_append(str(tmp_path / "log"))
    assert (tmp_path / "log").read_bytes() == b""
    with pytest.raises(FileNotFoundError):
        disk.open_for_append(str(tmp_path / "none" / "log"))
