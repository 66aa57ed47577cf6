"""Saves are atomic: failing disks, killed and concurrent saves."""

import errno
import os
import signal
import stat
import threading

import numpy as np
import pytest

import nvpflow
from nvpflow._io import writing
from support.marks import both_kinds
from support.saves import bias, finish, flow, run, temporaries

pytestmark = pytest.mark.skipif(os.name == "nt", reason="modes, links and pipes are those of POSIX")


def test_fsync_order(tmp_path, monkeypatch):
    path, calls, sync, replace = tmp_path / "model.npz", [], os.fsync, os.replace

    def note_sync(descriptor):
        found = os.fstat(descriptor)
        calls.append("directory" if stat.S_ISDIR(found.st_mode) else f"file of {found.st_size}")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", lambda *names: calls.append("replace") or replace(*names))
    flow().save(path)
    assert calls == [f"file of {path.stat().st_size}", "replace", "directory"]


def test_disk_error(tmp_path, monkeypatch):
    path = tmp_path / "model.npz"
    flow(1).save(path)

    def fail(descriptor):
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="the disk is broken"):
        flow(2).save(path)
    assert bias(path) == 1 and temporaries(tmp_path) == []


@both_kinds
def test_file_size_limit(ending, tmp_path):
    path = tmp_path / f"model.{ending}"
    flow(1).save(path)
    finish(run("""
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            flow(2, dim=50_000).save(sys.argv[1])
        except OSError as error:
            sys.exit(error.errno != errno.EFBIG)
        sys.exit(3)
    """, path))  # fmt: skip
    assert bias(path) == 1 and [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_nonfinite_parameters(tmp_path):
    for name, value in (("model.npz", np.nan), ("model.safetensors", np.inf)):
        path = tmp_path / name
        flow(1).save(tmp_path / "model.npz")
        before = (tmp_path / "model.npz").read_bytes()
        path.write_bytes(before)
        with pytest.raises(ValueError, match="parameters of model must be finite"):
            flow(value).save(path)
        assert path.read_bytes() == before and temporaries(tmp_path) == []


def test_stale_temporaries_are_removed(tmp_path):
    path = tmp_path / "model.npz"
    flow(1).save(path)
    for moment in ("fsync", "replace"):
        finish(run(f"""
            os.{moment} = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
            flow(2).save(sys.argv[1])
        """, path), -signal.SIGKILL)  # fmt: skip
        assert bias(path) == 1 and len(temporaries(tmp_path)) == 1
    flow(3).save(tmp_path / "other.npz")
    assert temporaries(tmp_path) == [] and bias(tmp_path / "other.npz") == 3


def test_temporary_in_use_stays(tmp_path, monkeypatch):
    path, sync = tmp_path / "model.npz", os.fsync
    reached, go_on = threading.Event(), threading.Event()

    def wait(descriptor):
        reached.set()
        assert go_on.wait(60)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", wait)
    slow = threading.Thread(target=flow(1).save, args=(path,))
    slow.start()
    assert reached.wait(60)
    monkeypatch.setattr(os, "fsync", sync)
    finish(run("flow(2).save(sys.argv[1])", path))
    assert bias(path) == 2 and len(temporaries(tmp_path)) == 1
    go_on.set()
    slow.join()
    assert bias(path) == 1 and temporaries(tmp_path) == []


def test_user_files_stay(tmp_path):
    names = [".nvpflow-notes", ".nvpflow-0123456789abcdef.npz", "x.nvpflow-0123456789abcdef", ".nvpflow-0123456789ABCDEF"]
    for name in names:
        (tmp_path / name).write_text("mine")
    (tmp_path / ".nvpflow-0123456789abcdef").mkdir()
    (tmp_path / ".nvpflow-fedcba9876543210").symlink_to("x.nvpflow-0123456789abcdef")
    os.mkfifo(tmp_path / ".nvpflow-aaaaaaaaaaaaaaaa")  # nobody writes to it: opening it would not end
    before = sorted(tmp_path.iterdir())
    flow().save(tmp_path / "model.npz")
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "model.npz"])


def test_temporary_removed_before_lock(tmp_path, monkeypatch):
    """Before it is locked, another save may take a temporary file for a stale one."""
    path, lock, taken = tmp_path / "model.npz", writing._lock, []

    def come_too_late(descriptor):
        monkeypatch.undo()
        taken.extend(temporaries(tmp_path))
        writing._remove_stale(str(tmp_path))
        return lock(descriptor)

    monkeypatch.setattr(writing, "_lock", come_too_late)
    flow(7).save(path)
    assert len(taken) == 1 and bias(path) == 7 and temporaries(tmp_path) == []


def test_file_system_without_locks(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def fail(*arguments):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", fail)
    left = tmp_path / ".nvpflow-0123456789abcdef"
    left.write_bytes(b"perhaps a save under way")
    flow(8).save(tmp_path / "model.npz")
    assert bias(tmp_path / "model.npz") == 8 and left.exists()


def test_concurrent_load(tmp_path):
    """Two processes save to one path in a loop; a load always gets a whole file."""
    path, dim = tmp_path / "model.npz", 20_000
    flow(0, dim).save(path)
    loop = """
        models = [flow(float(sys.argv[2]) + i, 20_000) for i in (0, 1)]
        for i in range(10**9):
            models[i % 2].save(sys.argv[1])
    """
    writers = [run(loop, path, value) for value in (10, 20)]
    seen = set()
    try:
        for i in range(100_000):
            parameters = nvpflow.load(path).parameters
            assert len(parameters) == 2 * dim and len(set(parameters[dim:].tolist())) == 1
            seen.add(float(parameters[-1]))
            if seen >= {10, 11, 20, 21} and i >= 200:
                break
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    assert seen >= {10, 11, 20, 21}
    flow(1).save(path)
    assert temporaries(tmp_path) == [] and bias(path) == 1
