"""Modes, owners and permissions of the files that `save` writes."""

import os
import stat

import pytest

from nvpflow._io import writing
from support.saves import as_nobody, as_root, bias, flow, mode, temporaries

pytestmark = pytest.mark.skipif(os.name == "nt", reason="modes, links and pipes are those of POSIX")


@as_root
def test_command_line_checks_target(open_directory):
    """It accepts devices in directories without write access, and links to writable places."""
    from nvpflow.cli._files import check_place

    closed = open_directory / "closed"
    closed.mkdir(mode=0o755)
    (closed / "link.npz").symlink_to(open_directory / "model.npz")
    (open_directory / "link.npz").symlink_to(closed / "model.npz")
    for path, expected in (("/dev/null", True), (closed / "link.npz", True), (open_directory / "model.npz", True),
                           (closed / "model.npz", PermissionError), (open_directory / "link.npz", PermissionError)):  # fmt: skip
        assert as_nobody(lambda path=str(path): check_place(path)) is expected, path


@pytest.mark.parametrize("old_mode", [0o600, 0o640, 0o644, 0o666, 0o444, 0o755])
def test_mode_is_kept(old_mode, tmp_path):
    path = tmp_path / "model.npz"
    flow(1).save(path)
    path.chmod(old_mode)
    flow(2).save(path)
    assert mode(path) == old_mode and bias(path) == 2


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_umask(mask, tmp_path):
    before = os.umask(mask)
    try:
        flow().save(tmp_path / "model.npz")
    finally:
        os.umask(before)
    assert mode(tmp_path / "model.npz") == 0o666 & ~mask


def test_mode_while_writing(tmp_path, monkeypatch):
    path, modes, sync = tmp_path / "model.npz", [], os.fsync

    def look(descriptor):
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        sync(descriptor)

    flow().save(path)
    path.chmod(0o600)
    monkeypatch.setattr(os, "fsync", look)
    flow().save(path)
    assert modes[0] == 0o600


@as_root
def test_owner_is_kept(tmp_path):
    path = tmp_path / "model.npz"
    flow(1).save(path)
    path.chmod(0o640)
    os.chown(path, 12345, 54321)
    flow(2).save(path)
    found = os.stat(path)
    assert (found.st_uid, found.st_gid, mode(path), bias(path)) == (12345, 54321, 0o640, 2)


@as_root
def test_owner_without_chown_rights(open_directory):
    path = open_directory / "model.npz"
    flow(1).save(path)
    path.chmod(0o604)
    assert as_nobody(lambda: writing.write_file(str(path), b"new")) is True
    assert (os.stat(path).st_uid, mode(path), path.read_bytes()) == (65534, 0o604, b"new")


@as_root
def test_unwritable_directory(open_directory):
    """Even where the file itself is writable: writing in place would not be atomic."""
    path = open_directory / "model.npz"
    flow(1).save(path)
    path.chmod(0o666)
    open_directory.chmod(0o755)
    assert as_nobody(lambda: writing.write_file(str(path), b"new")) is PermissionError
    assert bias(path) == 1 and temporaries(open_directory) == []


@as_root
def test_unreadable_directory(open_directory):
    open_directory.chmod(0o733)
    assert as_nobody(lambda: writing.write_file(str(open_directory / "new"), b"new")) is True
    assert (open_directory / "new").read_bytes() == b"new"
