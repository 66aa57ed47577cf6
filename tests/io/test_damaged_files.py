"""Damaged files: errors name the file and the fault."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest

import nvpflow
from support.marks import both_kinds
from support.saved_files import (
    assert_same,
    bounded_memory,
    contents,
    every_model,
    overwrite,
    rewrite,
    save_to,
    spoiled_headers,
    write,
)

LAYER = ("flow", "layers", 0)


HEADERS = {
    "format": ((("format",), "other"), "is not an nvpflow file: its header is another format's"),
    "version": ((("version",), 2), "is not an nvpflow file: it has format version 2, this nvpflow reads 1"),
    "kind": ((("kind",), "Tree"), "is not an nvpflow file: its header is another format's"),
    "kind of no text": ((("kind",), [1]), "is not an nvpflow file: its header is another format's"),
    "no flow": ((("flow",), ...), "is damaged: it has no 'flow'"),
    "flow of no dict": ((("flow",), 3), "is damaged: "),
    "no layers": ((("flow", "layers"), []), "layers must be a list of at least one layer"),
    "a layer of no dict": ((LAYER, 3), "layers must be a list of at least one layer"),
    "dtype": ((("flow", "dtype"), "float16"), "dtype must be one of 'float32', 'float64', got 'float16'"),
    "other dtype": ((("flow", "dtype"), "float32"), "parameters must have dtype <f4 and shape ("),
    "no type": (((*LAYER, "type"), ...), "it has no 'type'"),
    "type": (((*LAYER, "type"), "tree"), "layer type must be one of"),
    "unknown": (((*LAYER, "depth"), 3), "unexpected keyword argument 'depth'"),
    "no mask": (((*LAYER, "mask"), ...), "layers must agree|it has no 'mask'"),
    "mask": (((*LAYER, "mask"), [1, 2, 0]), "mask must hold only 0 and 1"),
    "long mask": (((*LAYER, "mask"), [1, 0, 0, 1]), "mask must have shape (3,), got (4,)"),
    "one dimension": (((*LAYER, "data_dim"), 10**15), "layers must agree in data_dim, got [3, 1000000000000000]"),
    "negative": (((*LAYER, "hidden_dim"), [-4]), "hidden_dim must be at least 1, got -4"),
    "fraction": (((*LAYER, "hidden_dim"), [4.5]), "hidden_dim must be an integer, got 4.5"),
    "infinity": (((*LAYER, "hidden_dim"), [float("inf")]), "its header holds Infinity, which is no JSON"),
    "boolean": (((*LAYER, "hidden_dim"), [True]), "hidden_dim must be an integer, got True"),
    "text": (((*LAYER, "hidden_dim"), "44"), "hidden_dim must be an integer or a sequence of integers, got '44'"),
    "beyond 64 bits": (((*LAYER, "hidden_dim"), [10**30]), "hidden_dim must be at most"),
    "1e12 parameters": (((*LAYER, "hidden_dim"), [10**11]), "parameters must have dtype <f8 and shape (800000000018,)"),
    "overflow": (((*LAYER, "hidden_dim"), [2**52, 2**52]), "its flow is too large"),
    "many layers": (
        (("flow",), {"dtype": "float64", "layers": [{"type": "act_norm", "data_dim": 10**12}] * 3}),
        "shape (6000000000000,)",
    ),
    "base of no dict": ((("flow", "base"), 3), "is damaged"),
    "base type": (
        (("flow", "base", "type"), "tree"),
        "base type must be one of 'mixture', 'conditional_mixture', ",
    ),
    "base dimensions": ((("flow", "base", "data_dim"), 2), "base and layers must agree in data_dim, got 2 and [3]"),
    "no components": ((("flow", "base", "n_components"), 0), "n_components must be at least 1, got 0"),
    "1e12 components": (
        (("flow", "base", "n_components"), 10**12),
        "parameters must have dtype <f8 and shape (10000000000040,)",
    ),
    "1e18 components": ((("flow", "base", "n_components"), 10**18), "an argument is outside of its range"),
    "huge context": (((*LAYER, "context_dim"), 10**13), "parameters must have dtype <f8 and shape"),
    "bound": (((*LAYER, "scale_bound"), float("nan")), "its header holds NaN, which is no JSON"),
    "negative bound": (((*LAYER, "scale_bound"), -1), "scale_bound must be finite and > 0, got -1"),
    "estimator": ((("estimator",), 3), "is damaged: "),
    "its parameter": ((("estimator", "depth"), 3), "unexpected keyword argument 'depth'"),
    "no n_iter": ((("n_iter",), ...), "it has no 'n_iter'"),
    "n_iter": ((("n_iter",), 10**12), "train_nll must have dtype <f8 and shape (1000000000000,), got <f8 and (5,)"),
    "negative n_iter": ((("n_iter",), -1), "n_iter must be at least 0, got -1"),
    "best_iter": ((("best_iter",), "5"), "best_iter must be an integer, got '5'"),
    "names": ((("feature_names_in",), ["a"]), "feature_names_in must be 3 texts, got ['a']"),
    "names of no text": ((("feature_names_in",), [1, 2, 3]), "feature_names_in must be 3 texts"),
    "threads": ((("estimator", "n_jobs"), 0), "n_jobs must not be 0"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_bad_headers(case, small_model, tmp_path):
    path = save_to(tmp_path, small_model, "npz")
    change, message = HEADERS[case]
    spoiled_headers(path, change)
    with bounded_memory(), pytest.raises(ValueError) as caught:
        nvpflow.load(path)
    text = str(caught.value)
    assert text.startswith(str(path)) and any(part in text for part in message.split("|")), text


def test_bad_detectors(models, tmp_path):
    path = save_to(tmp_path, models["detector"], "npz")
    for change, message in (
        ((("offset",), float("nan")), "its header holds NaN, which is no JSON"),
        ((("offset",), 10**400), "offset must be finite, got 1000"),
        ((("offset",), ...), "it has no 'offset'"),
        ((("detector", "depth"), 1), "unexpected keyword argument 'depth'"),
    ):
        models["detector"].save(path)
        with pytest.raises(ValueError, match=message):
            nvpflow.load(spoiled_headers(path, change))


def test_bad_arrays(small_model, tmp_path):
    path = save_to(tmp_path, small_model, "npz")
    header, arrays = contents(path)
    parameters, n = arrays["parameters"], small_model.flow_.n_parameters
    bad = parameters.copy()
    bad[1] = np.inf
    for change, message in (
        ({"parameters": parameters[:-1]}, f"parameters must have dtype <f8 and shape ({n},), got <f8 and ({n - 1},)"),
        ({"parameters": parameters.astype("f4")}, f"parameters must have dtype <f8 and shape ({n},), got <f4"),
        ({"parameters": parameters.astype(">f8")}, f"parameters must have dtype <f8 and shape ({n},), got >f8"),
        ({"parameters": parameters[None]}, f"got <f8 and (1, {n})"),
        ({"parameters": bad}, "parameters must be finite, got NaN or infinity"),
        ({"description": arrays["description"] + 1}, "header and description are those of different flows"),
        ({"description": arrays["description"][:-1]}, "description must have dtype <f8 and shape"),
        ({"history.train_nll": np.zeros(4)}, "history.train_nll must have dtype <f8 and shape (5,), got <f8 and (4,)"),
    ):
        write(path, header, arrays | change)
        with pytest.raises(ValueError) as caught:
            nvpflow.load(path)
        assert f"{path} is damaged: {message}" in str(caught.value) or message in str(caught.value)
    del arrays["parameters"]
    with pytest.raises(ValueError, match="it has no 'parameters'"):
        nvpflow.load(write(path, header, arrays))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000, '{"format": "nvpflow"}', "9" * 5000, "\ud800"])
def test_bad_header_texts(text, models, tmp_path):
    path = save_to(tmp_path, models["flow"], "npz")
    with pytest.raises(ValueError, match="is not an nvpflow file"):
        nvpflow.load(write(path, text, contents(path)[1]))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_bad_archives(models, tmp_path):
    path = save_to(tmp_path, models["flow"], "npz")
    whole = path.read_bytes()

    def check(message):
        with bounded_memory(), pytest.raises(ValueError, match=message):
            nvpflow.load(path)

    for content in (b"", b"not a model", pickle.dumps(models["flow"]), whole[: len(whole) // 2], b"PK\3\4" + bytes(50)):
        path.write_bytes(content)
        check("is not an nvpflow file")
    np.savez(path, a=np.zeros(3))
    check("it has no 'header'")
    np.savez(path, header=np.zeros(3))
    check("header must be a text, got an array of dtype '<f8'")
    np.savez(path, header=np.array({}, dtype=object))
    check("header must be a text, got an array of dtype '.O'")
    path.write_bytes(whole)
    with np.load(path) as arrays:
        np.savez_compressed(path, **arrays)
    check("'header' is compressed or encrypted")
    # A bomb: 1 GB of zeros in 1 MB.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("parameters.npy", "w") as member:
        for _ in range(64):
            member.write(bytes(2**20))
    check("'parameters' is compressed or encrypted")

    path.write_bytes(whole)
    rewrite(path, lambda members: [*members.items(), ("parameters.npy", members["parameters.npy"])])
    check("it holds 'parameters' twice")
    path.write_bytes(whole)
    rewrite(path, lambda members: (members | {"parameters.npy": members["parameters.npy"][:-4]}).items())
    check("parameters does not have the size that its shape .* needs")
    path.write_bytes(whole)
    rewrite(path, lambda members: (members | {"parameters.npy": b"\x93NUMPY\3" + bytes(20)}).items())
    check("parameters does not begin as a NumPy array")
    # A size beyond the file, in the directory.
    at = whole.rindex(b"PK\1\2")
    path.write_bytes(whole[: at + 20] + b"\xff\xff\xff\x7f" * 2 + whole[at + 28 :])
    check("'description' claims 2147483647 bytes, 2147483647 packed, in a file of")


@both_kinds
@every_model
def test_damaged_bytes(models, name, ending, tmp_path):
    """Changed bytes and truncated files: either they load, or ValueError names the file; memory is bounded."""
    path = save_to(tmp_path, models[name], ending)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    n_refused = 0
    # Most of a file is numbers, any of which are as good as others in the .safetensors, which has no checksums.
    structure = [i for i in range(len(whole)) if i < 1000 or i > len(whole) - 1000]
    with bounded_memory():
        for round in range(500):
            content = bytearray(whole)
            for _ in range(rng.integers(1, 4)):
                content[rng.choice(structure)] = rng.choice([0, 1, 32, 48, 57, 127, 128, 255, rng.integers(256)])
            if round % 4 == 0:
                content = content[: rng.integers(len(content))]
            overwrite(path, content)
            try:
                nvpflow.load(path)
            except ValueError as error:
                n_refused += 1
                assert str(error).startswith(str(path))
    assert n_refused > 200


@both_kinds
def test_damaged_json(small_model, ending, tmp_path):
    """Random changes of the header's text, with valid checksums."""
    if ending == "safetensors":
        pytest.importorskip("safetensors")
    path = save_to(tmp_path, small_model, "npz")
    header, arrays = contents(path)
    del arrays["description"]
    text, rng = json.dumps(header), np.random.default_rng(0)
    pieces = [*'{}[]",:-.0123456789eE', "null", "true", "1e999", "NaN", "-Infinity", "1e12", "9" * 30, "\0", "\\u0000"]
    writer = nvpflow._io.safetensors.write_safetensors if ending == "safetensors" else nvpflow._io.npz.write_npz
    n_refused = 0
    with bounded_memory():
        for _ in range(1000):
            spoiled = text
            for _ in range(rng.integers(1, 4)):
                at, length = rng.integers(len(spoiled)), rng.integers(3)
                spoiled = spoiled[:at] + pieces[rng.integers(len(pieces))] + spoiled[at + length :]
            file = io.BytesIO()
            writer(file, spoiled, arrays)
            overwrite(path, file.getvalue())
            try:
                nvpflow.load(path)
            except ValueError:
                n_refused += 1
    assert 500 < n_refused < 1000


@both_kinds
def test_truncated_files(ending, estimator, tmp_path):
    path = save_to(tmp_path, estimator, ending)
    whole = path.read_bytes()
    for end in range(0, len(whole), 97):
        overwrite(path, whole[:end])
        with pytest.raises(ValueError, match="is not an nvpflow file: .|is damaged: ."):
            nvpflow.load(path)


def test_truncated_files_of_several_densities(tmp_path):
    """The last archive within is no model of its own."""
    x = np.random.default_rng(0).normal(size=(60, 2))
    model = nvpflow.FlowClassifier(max_iter=1, n_layers=1, random_state=0).fit(x, x.sum(axis=1) > 0)
    path = tmp_path / "model.npz"
    model.save(path)
    whole = path.read_bytes()
    for end in range(0, len(whole), 97):
        overwrite(path, whole[:end])
        with pytest.raises(ValueError, match="is not an nvpflow file: .|is damaged: ."):
            nvpflow.load(path)


@both_kinds
def test_flipped_bytes(ending, estimator, tmp_path):
    """Either an error, or the model as it was saved."""
    path = save_to(tmp_path, estimator, ending)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    n_refused = 0
    for at in rng.permutation(len(whole))[:2000]:
        content = bytearray(whole)
        content[at] ^= rng.integers(1, 256)
        overwrite(path, content)
        try:
            twin = nvpflow.load(path)
        except (OSError, ValueError) as error:
            assert len(str(error)) > 20
            n_refused += 1
        else:
            assert_same(twin, estimator)
    assert n_refused > 1500


def test_directories_and_missing_files(tmp_path):
    with pytest.raises(IsADirectoryError):
        nvpflow.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        nvpflow.load(tmp_path / "absent")
