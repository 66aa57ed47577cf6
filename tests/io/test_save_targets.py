"""Targets of `save`: links, pipes, devices, directories and unusual names."""

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import nvpflow
from support.marks import both_kinds
from support.saves import PROGRAM, bias, flow

pytestmark = pytest.mark.skipif(os.name == "nt", reason="modes, links and pipes are those of POSIX")


# -- links --


@both_kinds
def test_link(ending, tmp_path):
    target, link, outer = tmp_path / "deep" / "target", tmp_path / f"link.{ending}", tmp_path / f"outer.{ending}"
    target.parent.mkdir()
    flow(1).save(target)
    link.symlink_to("deep/target")
    outer.symlink_to(link)
    flow(2).save(outer)
    assert os.readlink(link) == "deep/target" and outer.is_symlink() and not target.is_symlink()
    assert bias(target) == bias(link) == bias(outer) == 2


def test_dangling_link(tmp_path):
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


def test_circular_links(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.symlink_to(second)
    second.symlink_to(first)
    with pytest.raises(OSError) as caught:
        flow().save(first)
    assert caught.value.errno == errno.ELOOP and first.is_symlink() and second.is_symlink()


def test_parent_of_linked_directory(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b")
    flow(4).save(f"{tmp_path}/link/../model.npz")
    assert bias(tmp_path / "a" / "model.npz") == 4 and not (tmp_path / "model.npz").exists()


def test_hard_links(tmp_path):
    path, other = tmp_path / "model.npz", tmp_path / "other.npz"
    flow(1).save(path)
    other.hardlink_to(path)
    flow(2).save(path)
    assert bias(path) == 2 and bias(other) == 1


# -- what is no regular file --


@both_kinds
def test_pipe(ending, tmp_path):
    pipe, copy = tmp_path / f"pipe.{ending}", tmp_path / "copy"
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: copy.write_bytes(pipe.read_bytes()))
    reader.start()
    model = flow(5, dim=50_000)  # more than a pipe holds
    model.save(pipe)
    reader.join()
    assert stat.S_ISFIFO(os.stat(pipe).st_mode)
    np.testing.assert_array_equal(nvpflow.load(copy).parameters, model.parameters)


def test_device(tmp_path):
    before = os.stat("/dev/null")
    link = tmp_path / "model.npz"
    link.symlink_to("/dev/null")
    flow().save("/dev/null")
    flow().save(link)
    after = os.stat("/dev/null")
    assert stat.S_ISCHR(after.st_mode) and (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert os.readlink(link) == "/dev/null"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has it")
def test_full_device():
    with pytest.raises(OSError) as caught:
        flow().save("/dev/full")
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "a link"])
@pytest.mark.parametrize("onto", ["pipe", "file"])
def test_standard_output(name, onto, tmp_path):
    """Also redirected to a file: the model is written after what is there, and nothing is replaced."""
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


def test_command_line_writes_to_pipe(tmp_path):
    np.savetxt(tmp_path / "data.csv", np.random.default_rng(0).normal(size=(50, 2)), delimiter=",")
    command = [sys.executable, "-m", "nvpflow", "fit", tmp_path / "data.csv", "--max-iter", "1", "-o"]
    pipe = tmp_path / "pipe.npz"
    os.mkfifo(pipe)
    process = subprocess.Popen([*command, pipe], stderr=subprocess.DEVNULL)
    (tmp_path / "copy").write_bytes(pipe.read_bytes())
    assert process.wait(60) == 0 and stat.S_ISFIFO(os.stat(pipe).st_mode)
    assert nvpflow.load(tmp_path / "copy").n_features_in_ == 2


def test_directory(tmp_path):
    for path in (tmp_path, f"{tmp_path}/"):
        with pytest.raises(IsADirectoryError):
            flow().save(path)
    assert list(tmp_path.iterdir()) == []


# -- modes and owners --


# -- to the disk, or not at all --


# -- killed and concurrent saves --


# -- names --


@both_kinds
def test_path_types(ending, tmp_path):
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


def test_longest_name(tmp_path):
    path = tmp_path / ("m" * 255)
    flow(9).save(path)
    assert bias(path) == 9


def test_load_from_pipe():
    reader, writer = os.pipe()
    try:
        with pytest.raises(OSError, match="in any order, not from a pipe"):
            nvpflow.load(f"/dev/fd/{reader}")
    finally:
        os.close(reader), os.close(writer)
