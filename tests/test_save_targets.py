"""What `save` writes onto: links, pipes, devices, modes, owners, killed and concurrent saves, full disks."""

import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

import nvpflow
from nvpflow._io import writing

pytestmark = pytest.mark.skipif(os.name == "nt", reason="modes, links and pipes are those of POSIX")
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may do that")
both_kinds = pytest.mark.parametrize("ending", ["npz", "safetensors"])


@pytest.fixture(autouse=True)
def needs_safetensors(request):
    if "safetensors" in request.node.name:
        pytest.importorskip("safetensors")


def flow(bias=0.0, dim=2):
    made = nvpflow.Flow([nvpflow.ActNorm(dim)])
    made.layers[0].bias[:] = bias
    return made


def bias(path):
    """Of the flow in a file, which tells one from another."""
    return float(nvpflow.load(path).layers[0].bias[0])


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def temporaries(directory):
    return [path.name for path in Path(directory).iterdir() if path.name.startswith(".nvpflow")]


def run(program, *arguments, **options):
    """A program in another process, which has this module's names."""
    head = f"import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}]\nfrom test_save_targets import *\n"
    command = [sys.executable, "-c", head + textwrap.dedent(program), *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)


def finish(process, status=0):
    error = process.communicate(timeout=60)[1]
    assert process.returncode == status, error


# -- links --


@both_kinds
def test_a_link_stays_and_its_target_is_replaced(ending, tmp_path):
    target, link, outer = tmp_path / "deep" / "target", tmp_path / f"link.{ending}", tmp_path / f"outer.{ending}"
    target.parent.mkdir()
    flow(1).save(target)
    link.symlink_to("deep/target")
    outer.symlink_to(link)
    flow(2).save(outer)
    assert os.readlink(link) == "deep/target" and outer.is_symlink() and not target.is_symlink()
    assert bias(target) == bias(link) == bias(outer) == 2


def test_a_dangling_link_makes_its_target(tmp_path):
    (tmp_path / "deep").mkdir()
    link = tmp_path / "link.npz"
    link.symlink_to("deep/new.npz")
    flow(3).save(link)
    assert link.is_symlink() and bias(tmp_path / "deep" / "new.npz") == 3
    link.unlink()
    link.symlink_to("nowhere/new.npz")
    with pytest.raises(FileNotFoundError):
        flow().save(link)
    assert link.is_symlink()


def test_links_in_a_circle_are_an_oserror(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.symlink_to(second)
    second.symlink_to(first)
    with pytest.raises(OSError) as caught:
        flow().save(first)
    assert caught.value.errno == errno.ELOOP and first.is_symlink() and second.is_symlink()


def test_a_way_through_a_linked_directory_and_up_is_the_systems(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b")
    flow(4).save(f"{tmp_path}/link/../model.npz")
    assert bias(tmp_path / "a" / "model.npz") == 4 and not (tmp_path / "model.npz").exists()


def test_the_other_names_of_a_file_keep_the_old_content(tmp_path):
    path, other = tmp_path / "model.npz", tmp_path / "other.npz"
    flow(1).save(path)
    other.hardlink_to(path)
    flow(2).save(path)
    assert bias(path) == 2 and bias(other) == 1


# -- what is no regular file --


@both_kinds
def test_a_pipe_is_written_through(ending, tmp_path):
    pipe, copy = tmp_path / f"pipe.{ending}", tmp_path / "copy"
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: copy.write_bytes(pipe.read_bytes()))
    reader.start()
    model = flow(5, dim=50_000)  # more than a pipe holds
    model.save(pipe)
    reader.join()
    assert stat.S_ISFIFO(os.stat(pipe).st_mode)
    np.testing.assert_array_equal(nvpflow.load(copy).parameters, model.parameters)


def test_a_device_is_written_through(tmp_path):
    before = os.stat("/dev/null")
    link = tmp_path / "model.npz"
    link.symlink_to("/dev/null")
    flow().save("/dev/null")
    flow().save(link)
    after = os.stat("/dev/null")
    assert stat.S_ISCHR(after.st_mode) and (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert os.readlink(link) == "/dev/null"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has it")
def test_a_full_device_is_an_oserror():
    with pytest.raises(OSError) as caught:
        flow().save("/dev/full")
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "a link"])
@pytest.mark.parametrize("onto", ["pipe", "file"])
def test_standard_output(name, onto, tmp_path):
    """Also where it is a file: what was written there before stays in front of the model, and nothing is replaced."""
    if name == "a link":
        name = tmp_path / "link.npz"
        name.symlink_to("/dev/stdout")
    program = "os.write(1, b'first'); flow(6).save(sys.argv[1]); os.write(1, b'last')"
    if onto == "pipe":
        process = subprocess.Popen([sys.executable, "-c", PROGRAM + program, name], stdout=subprocess.PIPE)
        content = process.communicate(timeout=60)[0]
    else:
        with open(tmp_path / "output", "wb") as file:
            subprocess.run([sys.executable, "-c", PROGRAM + program, name], stdout=file, check=True)
        content = (tmp_path / "output").read_bytes()
    assert content.startswith(b"first") and content.endswith(b"last")
    (tmp_path / "model").write_bytes(content[5:-4])
    assert bias(tmp_path / "model") == 6


PROGRAM = f"import os, sys; sys.path[:0] = [{str(Path(__file__).parent)!r}]\nfrom test_save_targets import flow\n"


def test_the_command_line_writes_through_pipes(tmp_path):
    np.savetxt(tmp_path / "data.csv", np.random.default_rng(0).normal(size=(50, 2)), delimiter=",")
    command = [sys.executable, "-m", "nvpflow", "fit", tmp_path / "data.csv", "--max-iter", "1", "-o"]
    pipe = tmp_path / "pipe.npz"
    os.mkfifo(pipe)
    process = subprocess.Popen([*command, pipe], stderr=subprocess.DEVNULL)
    (tmp_path / "copy").write_bytes(pipe.read_bytes())
    assert process.wait(60) == 0 and stat.S_ISFIFO(os.stat(pipe).st_mode)
    assert nvpflow.load(tmp_path / "copy").n_features_in_ == 2


@as_root
def test_the_command_line_tells_early_where_it_cannot_write(open_directory):
    """But not of a device in a directory that may not be written, nor of a link to where it may."""
    from nvpflow.cli._files import check_place

    closed = open_directory / "closed"
    closed.mkdir(mode=0o755)
    (closed / "link.npz").symlink_to(open_directory / "model.npz")
    (open_directory / "link.npz").symlink_to(closed / "model.npz")
    for path, expected in (("/dev/null", True), (closed / "link.npz", True), (open_directory / "model.npz", True),
                           (closed / "model.npz", PermissionError), (open_directory / "link.npz", PermissionError)):  # fmt: skip
        assert as_nobody(lambda path=str(path): check_place(path)) is expected, path


def test_a_directory_is_an_oserror(tmp_path):
    for path in (tmp_path, f"{tmp_path}/"):
        with pytest.raises(IsADirectoryError):
            flow().save(path)
    assert list(tmp_path.iterdir()) == []


# -- modes and owners --


@pytest.mark.parametrize("old_mode", [0o600, 0o640, 0o644, 0o666, 0o444, 0o755])
def test_the_mode_stays(old_mode, tmp_path):
    path = tmp_path / "model.npz"
    flow(1).save(path)
    path.chmod(old_mode)
    flow(2).save(path)
    assert mode(path) == old_mode and bias(path) == 2


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_mode_of_the_umask(mask, tmp_path):
    before = os.umask(mask)
    try:
        flow().save(tmp_path / "model.npz")
    finally:
        os.umask(before)
    assert mode(tmp_path / "model.npz") == 0o666 & ~mask


def test_nobody_else_reads_what_is_not_complete(tmp_path, monkeypatch):
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
def test_the_owner_stays(tmp_path):
    path = tmp_path / "model.npz"
    flow(1).save(path)
    path.chmod(0o640)
    os.chown(path, 12345, 54321)
    flow(2).save(path)
    found = os.stat(path)
    assert (found.st_uid, found.st_gid, mode(path), bias(path)) == (12345, 54321, 0o640, 2)


@pytest.fixture
def open_directory():
    """One that every user may reach: those of pytest are the user's own."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        yield Path(directory)


def as_nobody(call):
    """Whether a call in a child process, as a user without rights, comes to its end; or the class of its OSError."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            call()
            status = 0
        except PermissionError:
            status = 2
        finally:
            os._exit(status)
    return (True, False, PermissionError)[os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]


@as_root
def test_an_owner_that_may_not_stay_is_the_writer(open_directory):
    path = open_directory / "model.npz"
    flow(1).save(path)
    path.chmod(0o604)
    assert as_nobody(lambda: writing.write_file(str(path), b"new")) is True
    assert (os.stat(path).st_uid, mode(path), path.read_bytes()) == (65534, 0o604, b"new")


@as_root
def test_a_directory_that_may_not_be_written_is_an_oserror(open_directory):
    """Even where the file may be: to write it in place would not be atomic."""
    path = open_directory / "model.npz"
    flow(1).save(path)
    path.chmod(0o666)
    open_directory.chmod(0o755)
    assert as_nobody(lambda: writing.write_file(str(path), b"new")) is PermissionError
    assert bias(path) == 1 and temporaries(open_directory) == []


@as_root
def test_a_directory_that_may_be_written_but_not_read(open_directory):
    open_directory.chmod(0o733)
    assert as_nobody(lambda: writing.write_file(str(open_directory / "new"), b"new")) is True
    assert (open_directory / "new").read_bytes() == b"new"


# -- to the disk, or not at all --


def test_file_and_directory_are_synchronised_in_order(tmp_path, monkeypatch):
    path, calls, sync, replace = tmp_path / "model.npz", [], os.fsync, os.replace

    def note_sync(descriptor):
        found = os.fstat(descriptor)
        calls.append("directory" if stat.S_ISDIR(found.st_mode) else f"file of {found.st_size}")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", lambda *names: calls.append("replace") or replace(*names))
    flow().save(path)
    assert calls == [f"file of {path.stat().st_size}", "replace", "directory"]


def test_an_error_of_the_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.npz"
    flow(1).save(path)

    def fail(descriptor):
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="the disk is broken"):
        flow(2).save(path)
    assert bias(path) == 1 and temporaries(tmp_path) == []


@both_kinds
def test_a_limit_of_the_file_size_leaves_the_old_file(ending, tmp_path):
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


def test_parameters_that_are_not_finite_leave_the_old_file(tmp_path):
    for name, value in (("model.npz", np.nan), ("model.safetensors", np.inf)):
        path = tmp_path / name
        flow(1).save(tmp_path / "model.npz")
        before = (tmp_path / "model.npz").read_bytes()
        path.write_bytes(before)
        with pytest.raises(ValueError, match="parameters of model must be finite"):
            flow(value).save(path)
        assert path.read_bytes() == before and temporaries(tmp_path) == []


# -- killed and concurrent saves --


def test_what_a_killed_save_leaves_is_removed_by_the_next_one(tmp_path):
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


def test_a_save_under_way_is_not_removed(tmp_path, monkeypatch):
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


def test_files_of_the_user_stay(tmp_path):
    names = [".nvpflow-notes", ".nvpflow-0123456789abcdef.npz", "x.nvpflow-0123456789abcdef", ".nvpflow-0123456789ABCDEF"]
    for name in names:
        (tmp_path / name).write_text("mine")
    (tmp_path / ".nvpflow-0123456789abcdef").mkdir()
    (tmp_path / ".nvpflow-fedcba9876543210").symlink_to("x.nvpflow-0123456789abcdef")
    os.mkfifo(tmp_path / ".nvpflow-aaaaaaaaaaaaaaaa")  # nobody writes to it: opening it would not end
    before = sorted(tmp_path.iterdir())
    flow().save(tmp_path / "model.npz")
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "model.npz"])


def test_a_temporary_that_another_save_removed_too_early_is_made_again(tmp_path, monkeypatch):
    """Between the making of a file and its lock another save may take it for left behind."""
    path, lock, taken = tmp_path / "model.npz", writing._lock, []

    def come_too_late(descriptor):
        monkeypatch.undo()
        taken.extend(temporaries(tmp_path))
        writing._remove_stale(str(tmp_path))
        return lock(descriptor)

    monkeypatch.setattr(writing, "_lock", come_too_late)
    flow(7).save(path)
    assert len(taken) == 1 and bias(path) == 7 and temporaries(tmp_path) == []


def test_a_file_system_without_locks_will_do(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def fail(*arguments):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", fail)
    left = tmp_path / ".nvpflow-0123456789abcdef"
    left.write_bytes(b"perhaps a save under way")
    flow(8).save(tmp_path / "model.npz")
    assert bias(tmp_path / "model.npz") == 8 and left.exists()


def test_who_loads_meanwhile_gets_a_whole_file(tmp_path):
    """Two processes save onto one path in a loop, and now and then another is killed while it does."""
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


# -- names --


@both_kinds
def test_names_of_all_kinds(ending, tmp_path):
    class Name:
        def __init__(self, name):
            self.name = name

        def __fspath__(self):
            return self.name

    text = str(tmp_path / f"model.{ending}")
    odd = os.fsencode(tmp_path) + b"/m\xff\xfe " + ending.encode()
    paths = text, Path(text), Name(text), text.encode(), Name(text.encode()), odd, odd + b"." + ending.encode()
    for value, path in enumerate(paths):
        flow(value).save(path)
        assert bias(path) == value
        with open(path, "rb") as file:
            assert (file.read(2) == b"PK") == (not os.fsencode(path).endswith(b".safetensors"))
    for path in (3, None, open):
        with pytest.raises(TypeError, match="path must be a str, bytes, path-like or binary file object, got "):
            flow().save(path)
        with pytest.raises(TypeError, match="path must be a str, bytes, path-like or binary file object, got "):
            nvpflow.load(path)


def test_the_longest_name(tmp_path):
    path = tmp_path / ("m" * 255)
    flow(9).save(path)
    assert bias(path) == 9


def test_loading_from_a_pipe_is_an_oserror():
    reader, writer = os.pipe()
    try:
        with pytest.raises(OSError, match="in any order, not from a pipe"):
            nvpflow.load(f"/dev/fd/{reader}")
    finally:
        os.close(reader), os.close(writer)
