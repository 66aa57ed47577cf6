"""Hostile files: sizes and texts that would cost much time or memory are errors that cost little."""

import io
import json
import zipfile

import numpy as np
import pytest

import nvpflow
from nvpflow._io.npz import write_npz
from nvpflow._io.safetensors import write_safetensors
from support.marks import both_kinds
from support.saved_files import contents, load_in_bounds, rewrite, save_to, spoiled_headers, write

POINTS = np.random.RandomState(0).normal(size=(60, 3))
MASKED = {"type": "additive_coupling", "data_dim": 1, "hidden_dim": [], "mask": [1], "activation": "relu"}
SHUFFLE = {"type": "permutation", "data_dim": 1, "permutation": [0]}


# -- what a file may cost --


def flow_file(path, layers, n_parameters=0, **more):
    """A flow as .safetensors, which needs one byte for a character of the header."""
    pytest.importorskip("safetensors")
    text = json.dumps(
        {"format": "nvpflow", "version": 1, "kind": "Flow", "flow": {"dtype": "float32", "layers": layers, **more}}
    )
    file = io.BytesIO()
    write_safetensors(file, text, {"parameters": np.zeros(n_parameters, np.float32)})
    path.write_bytes(file.getbuffer())
    return path


def huge(n=10**15):
    """Layers with huge claimed sizes, and the messages."""
    act_norm = {"type": "act_norm", "data_dim": n}
    wide = {"type": "affine_coupling", "data_dim": 1, "hidden_dim": [n], "mask": [0], "activation": "relu", "networks": "shared",
            "scale": "tanh", "scale_bound": 1.0}  # fmt: skip
    return {
        "no mask": ([MASKED | {"data_dim": 60_000_000, "mask": None}], "mask must be a list of integers, got None"),
        "short mask": ([MASKED | {"data_dim": n}], f"mask must have shape ({n},), got (1,)"),
        "no permutation": ([SHUFFLE | {"data_dim": n, "permutation": None}], "permutation must be a list of integers"),
        "act norm": ([act_norm], f"parameters must have dtype F32 and shape [{2 * n}]"),
        "matrix": ([{"type": "lu_linear", "data_dim": n}], "its flow is too large"),
        "hidden layer": ([wide], f"parameters must have dtype F32 and shape [{3 * n + 2}]"),
        "hidden layers": ([wide | {"hidden_dim": [n] * 9}], "its flow is too large"),
        "dimensions of 2**70": ([{"type": "act_norm", "data_dim": 2**70}], "data_dim must be at most"),
        "hidden layer of 2**63": ([wide | {"hidden_dim": [2**63]}], "hidden_dim must be at most"),
        # As an array, each text would take as much as the longest one.
        "mask of texts": (
            [MASKED | {"data_dim": 5000, "mask": ["a" * 10**6] + [""] * 4999}],
            "mask must be a list of integers",
        ),
        "permutation of texts": (
            [SHUFFLE | {"data_dim": 5000, "permutation": ["a" * 10**6] + [""] * 4999}],
            "list of integers",
        ),
        "mask of lists": ([MASKED | {"mask": [[[1] * 10**5] * 10]}], "mask must be a list of integers"),
        "mask of reals": ([MASKED | {"mask": [1.0]}], "mask must be a list of integers, got [1.0]"),
        "mask of truth": ([MASKED | {"mask": [True]}], "mask must be a list of integers, got [True]"),
        "permutation twice": ([SHUFFLE | {"data_dim": 2, "permutation": [1, 1]}], "each of 0, ..., 1 once"),
        "permutation of 2**70": ([SHUFFLE | {"permutation": [2**70]}], "permutation must hold"),
    }


@pytest.mark.parametrize("case", huge())
def test_huge_sizes(case, tmp_path):
    layers, message = huge()[case]
    found = load_in_bounds(flow_file(tmp_path / "flow", layers), seconds=5)
    assert found.startswith("ValueError: ") and message in found, found


def test_huge_component_counts(tmp_path):
    for n, message in ((10**12, "parameters must have dtype F32"), (10**18, "outside of its range"), (2**64, "at most")):
        base = {"type": "mixture", "n_components": n, "data_dim": 1}
        found = load_in_bounds(flow_file(tmp_path / "flow", [SHUFFLE], base=base), seconds=5)
        assert found.startswith("ValueError: ") and message in found, found


@pytest.mark.parametrize("layer, n, n_parameters", [
    (SHUFFLE, 80_000, 0), ({"type": "act_norm", "data_dim": 1}, 30_000, 2), (MASKED, 30_000, 0)
])  # fmt: skip
def test_many_layers(layer, n, n_parameters, tmp_path):
    """The time is linear in their number; quadratic time would be minutes."""
    assert load_in_bounds(flow_file(tmp_path / "flow", [layer] * n, n * n_parameters), seconds=60) == "loaded"


def test_many_hidden_layers(tmp_path):
    n = 200_000
    assert load_in_bounds(flow_file(tmp_path / "flow", [MASKED | {"hidden_dim": [1] * n}], 2 * n), seconds=60) == "loaded"


def test_huge_context_without_weights(tmp_path):
    path = flow_file(tmp_path / "flow", [MASKED | {"context_dim": 10**13}])
    assert load_in_bounds(path, seconds=5) == "loaded"
    assert nvpflow.load(path).context_dim == 10**13


TEXTS = {
    "nested lists": "[" * 10**6,
    "nested objects": '{"a":' * 10**6,
    "many lists": "[" + "[]," * 10**6 + "[]]",
    "a long number": "9" * 10**6,
    "many numbers": "[" + ("9" * 4000 + ",") * 500 + "0]",
    "a long text": '"' + "a" * 10**6 + '"',
    "a name twice": '{"format": "nvpflow", "kind": "Flow", "format": "nvpflow"}',
    "NaN": '{"format": NaN}',
    "-Infinity": '{"format": [-Infinity]}',
}


@both_kinds
@pytest.mark.parametrize("case", TEXTS)
def test_bad_json(case, ending, estimator, tmp_path):
    if ending == "safetensors":
        pytest.importorskip("safetensors")
    writer = write_safetensors if ending == "safetensors" else write_npz
    file = io.BytesIO()
    writer(file, TEXTS[case], {"parameters": np.zeros(3)})
    path = tmp_path / "model"
    path.write_bytes(file.getbuffer())
    found = load_in_bounds(path, seconds=10)
    assert found.startswith(f"ValueError: {path} is not an nvpflow file: ") and len(found) < 1000
    named = {"a name twice": "a name twice", "NaN": "holds NaN", "-Infinity": "holds -Infinity"}
    assert named.get(case, "") in found


def test_nested_duplicate_names(estimator, tmp_path):
    path = save_to(tmp_path, estimator, "npz")
    header, arrays = contents(path)
    text = json.dumps(header).replace('"n_layers": 1', '"n_layers": 1, "n_layers": 1')
    with pytest.raises(ValueError, match="an object with a name twice"):
        nvpflow.load(write(path, text, arrays))


def test_huge_descriptions():
    """The list of numbers of `nvp_flow_decode`, without Python's checks."""
    count = nvpflow._core.count_parameters
    head = [1, 0]  # version, dtype; then dimensions, context and layers
    assert count(np.array([*head, 4, 0, 1, 4, 3, 2, 1, 0], float)) == 0
    for numbers in (
        [*head, 4, 0, 1, 4, 3, 2, 1, 1],
        [*head, 4, 0, 1, 4, 3, 2, 1, 4],
        [*head, 4, 0, 1, 4, 3, 2, 1],
        [*head, 1e15, 0, 1, 4, 0],
        [*head, 1e15, 0, 1, 3, 0, 0, 1],
        [*head, 1, 0, 1e15, 1],
        [*head, 1, 0, 1, 3, 0, 1e15, 1],
        [*head, 1, 0, 1, 1, np.nan],
        [*head, np.inf, 0, 1, 1],
    ):
        with pytest.raises(ValueError):
            count(np.array(numbers, float))
    n = 200_000
    assert count(np.array([*head, 1, 0, n, *[1] * n], float)) == 2 * n


# -- archives that lie --


def test_overlapping_members(estimator, tmp_path):
    """Several entries of the directory for the same bytes."""
    path = save_to(tmp_path, estimator, "npz")
    content = path.read_bytes()
    start = content.index(b"PK\1\2")
    with zipfile.ZipFile(path) as archive:
        first = max(archive.infolist(), key=lambda member: member.file_size)
    end = content.rindex(b"PK\5\6")
    directory = content[start:end]
    at = directory.index(first.filename.encode()) - 46
    length = 46 + len(first.filename) + int.from_bytes(directory[at + 30 : at + 32], "little")
    entries = b"".join(directory[at : at + length].replace(b"header", b"head%02d" % i) for i in range(20))
    tail = bytearray(content[end:])
    n = int.from_bytes(tail[10:12], "little") + 20
    tail[8:12] = n.to_bytes(2, "little") * 2
    tail[12:16] = (len(directory) + len(entries)).to_bytes(4, "little")
    path.write_bytes(content[:start] + directory + entries + tail)
    with pytest.raises(ValueError, match=r"members overlap|Overlapped"):
        nvpflow.load(path)


def test_huge_zip64_sizes(estimator, tmp_path):
    """The size in an extra field of the directory claims 2**40 bytes."""
    path = save_to(tmp_path, estimator, "npz")
    content = path.read_bytes()
    at, end = content.index(b"PK\1\2"), content.rindex(b"PK\5\6")
    entry = bytearray(content[at:end])
    name_length = int.from_bytes(entry[28:30], "little")
    extra = b"\1\0\x10\0" + (2**40).to_bytes(8, "little") * 2
    entry[20:28] = b"\xff" * 8
    entry[30:32] = len(extra).to_bytes(2, "little")
    entry[46 + name_length : 46 + name_length] = extra
    tail = bytearray(content[end:])
    tail[12:16] = len(entry).to_bytes(4, "little")
    path.write_bytes(content[:at] + entry + tail)
    assert "claims 1099511627776 bytes" in load_in_bounds(path, seconds=5)


def test_unknown_arrays(estimator, tmp_path):
    path = save_to(tmp_path, estimator, "npz")
    old, new = "history.validation", "history.valuation"
    rewrite(path, lambda members: {name.replace(old, new): data for name, data in members.items()}.items())
    with pytest.raises(ValueError, match=r"is damaged: it holds unknown arrays: \['history.valuation_nll'\]"):
        nvpflow.load(path)


def safetensors_with(header, data):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


LIES = {
    "more than there is": {"parameters": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}},
    "shape and bytes": {"parameters": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 16]}},
    "overflow": {"parameters": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 16]}},
    "overlap": {name: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for name in ("parameters", "description")},
    "backwards": {"parameters": {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}},
    "dtype": {"parameters": {"dtype": "F99", "shape": [4], "data_offsets": [0, 16]}},
}


@pytest.mark.parametrize("case", LIES)
def test_bad_safetensors(case, tmp_path):
    pytest.importorskip("safetensors")
    flow = {"dtype": "float32", "layers": [{"type": "act_norm", "data_dim": 2}]}
    text = json.dumps({"format": "nvpflow", "version": 1, "kind": "Flow", "flow": flow})
    path = tmp_path / "model"
    honest = {"parameters": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}
    path.write_bytes(safetensors_with({"__metadata__": {"header": text}, **honest}, bytes(16)))
    assert load_in_bounds(path, seconds=5) == "loaded"
    path.write_bytes(safetensors_with({"__metadata__": {"header": text}, **LIES[case]}, bytes(16)))
    assert load_in_bounds(path, seconds=5).startswith("ValueError: ")
    path.write_bytes((2**60).to_bytes(8, "little") + b"{" + bytes(100))
    assert load_in_bounds(path, seconds=5).startswith("ValueError: ")


# -- parameters of estimators --


# -- random states --


# -- subclasses --


# -- damage --


# -- threads --


@pytest.mark.parametrize("value", [[], "mixture", [1, 2], ["one"], ["many"] * 1000, None])
def test_damaged_search(value, estimator, tmp_path):
    path = save_to(tmp_path, estimator, "npz")
    spoiled_headers(path, (("search",), value))
    with pytest.raises(ValueError, match="is damaged"):
        nvpflow.load(path)
