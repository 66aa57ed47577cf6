"""Models in open files and in memory."""

import io
import os
import pickle
import tempfile

import numpy as np
import pytest

import nvpflow


@pytest.fixture
def model():
    x = np.random.default_rng(0).normal(size=(100, 2))
    return nvpflow.FlowDensity(n_layers=2, hidden_dim=8, max_iter=2, random_state=0).fit(x)


@pytest.mark.parametrize("way", ["function", "method"])
def test_memory(model, way):
    file = io.BytesIO()
    if way == "function":
        nvpflow.save(model, file)
    else:
        model.save(file)
    file.seek(0)
    twin = nvpflow.load(file)
    np.testing.assert_array_equal(twin.flow_.parameters, model.flow_.parameters)
    assert repr(twin) == repr(model)


def test_same_bytes_as_a_file(model, tmp_path):
    file = io.BytesIO()
    model.save(file)
    model.save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz") as expected, np.load(io.BytesIO(file.getvalue())) as found:
        assert set(expected) == set(found)
        assert all(np.array_equal(expected[name], found[name]) for name in expected)


def test_open_files(model, tmp_path):
    with open(tmp_path / "m", "wb") as file:
        file.write(b"before")
        model.flow_.save(file)
    with open(tmp_path / "m", "rb") as file:
        file.seek(6)
        np.testing.assert_array_equal(nvpflow.load(file).parameters, model.flow_.parameters)


def test_writer_of_parts(model):
    class Slow(io.RawIOBase):
        content = b""

        def writable(self):
            return True

        def write(self, content):
            self.content += bytes(content[:100])
            return min(100, len(content))

    slow = Slow()
    model.save(slow)
    assert repr(nvpflow.load(io.BytesIO(slow.content))) == repr(model)


def test_safetensors(model, tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "model.safetensors"
    model.save(path)
    with open(path, "rb") as file:
        np.testing.assert_array_equal(nvpflow.load(file).flow_.parameters, model.flow_.parameters)


def test_files_of_text(model, tmp_path):
    with (
        open(tmp_path / "text", "w") as file,
        pytest.raises(TypeError, match="path must be a binary file object, got one for text"),
    ):
        model.save(file)
    with (
        open(tmp_path / "text") as file,
        pytest.raises(TypeError, match="path must be a file object that reads bytes, got one that reads str"),
    ):
        nvpflow.load(file)


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"PK\3\4" + bytes(100), pickle.dumps(3), b"\1\0\0\0\0\0\0\0{"])
def test_damaged_content(content):
    with pytest.raises(ValueError, match="BytesIO is"):
        nvpflow.load(io.BytesIO(content))


@pytest.mark.skipif(os.name == "nt", reason="pipes block there")
def test_full_pipe(model):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    large = nvpflow.Flow([nvpflow.LULinear(200)])
    with (
        os.fdopen(reader, "rb"),
        os.fdopen(writer, "wb", buffering=0) as file,
        pytest.raises(BlockingIOError, match=r"wrote None of .* bytes: the model is not whole"),
    ):
        large.save(file)


@pytest.mark.parametrize("answer", [0, -1, 10**9])
def test_wrong_counts(model, answer):
    class File:
        def write(self, content):
            return answer

    with pytest.raises(BlockingIOError, match=f"wrote {answer} of"):
        model.save(File())


def test_wrapped_file_of_text(model):
    with tempfile.NamedTemporaryFile("w") as file, pytest.raises(TypeError, match="path must be a binary file object, got "):
        model.save(file)
