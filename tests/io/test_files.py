"""Files, pickles, copies and PyTorch's state dicts: what comes back is what went in, and damaged files are errors."""

import copy
import io
import json
import pickle
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

import nvpflow
from test_layers import flow_of_everything, one_of_each

POINTS = np.random.RandomState(0).normal(size=(60, 3))
both_kinds = pytest.mark.parametrize("ending", ["npz", "safetensors"])


def conditional_flow():
    options = {"context_dim": 2, "random_state": 0}
    return nvpflow.Flow([nvpflow.CouplingLayer(3, (4, 5), [1, 0, 1], **options), nvpflow.SplineCoupling(3, **options)])


def fitted(kind):
    options = {"contamination": 0.1} if kind is nvpflow.FlowOutlierDetector else {}
    return kind(2, [4, 3], max_iter=5, n_jobs=2, random_state=np.int64(7), dtype=np.float64, **options).fit(POINTS)


@pytest.fixture(scope="module")
def models():
    return {
        "flow": nvpflow.Flow([nvpflow.CouplingLayer(3, 4, [1, 0, 1], random_state=0), nvpflow.ActNorm(3)]),
        "everything": flow_of_everything(3),
        "conditional": conditional_flow(),
        "empty": nvpflow.Flow([nvpflow.Permutation(3, [2, 0, 1])]),
        "estimator": fitted(nvpflow.FlowDensity),
        "detector": fitted(nvpflow.FlowOutlierDetector),
    }


MODELS = ("flow", "everything", "conditional", "empty", "estimator", "detector")
every_model = pytest.mark.parametrize("name", MODELS)


def save_to(directory, model, ending):
    if ending == "safetensors":
        pytest.importorskip("safetensors")
    path = directory / f"model.{ending}"
    nvpflow.save(model, path)
    return path


def assert_same(twin, model):
    """All that is public of two flows, or two estimators, is the same to the last bit."""
    assert type(twin) is type(model)
    if isinstance(model, nvpflow.Flow):
        assert twin.config() == model.config() and twin.n_jobs == model.n_jobs
        np.testing.assert_array_equal(twin.parameters, model.parameters)
        return
    as_stored = {"dtype": twin.dtype, "random_state": twin.random_state}
    assert repr(twin.get_params()) == repr(model.get_params() | as_stored)
    assert vars(twin).keys() == vars(model).keys()
    for name, value in vars(model).items():
        if name in ("flow_", "estimator_"):
            assert_same(getattr(twin, name), value)
        elif name == "history_":
            assert twin.history_.keys() == value.keys()
            for curve in value:
                np.testing.assert_array_equal(twin.history_[curve], value[curve])
        elif name.endswith("_"):
            np.testing.assert_array_equal(getattr(twin, name), value)
            assert type(getattr(twin, name)) is type(value)
    np.testing.assert_array_equal(twin.score_samples(POINTS), model.score_samples(POINTS))


# -- what comes back is what went in --


@every_model
@both_kinds
def test_files(models, name, ending, tmp_path):
    path = save_to(tmp_path, models[name], ending)
    twin = nvpflow.load(path)
    assert_same(twin, models[name])
    renamed = path.rename(tmp_path / "any name")
    assert_same(nvpflow.load(str(renamed)), models[name])
    assert [entry.name for entry in tmp_path.iterdir()] == ["any name"]  # nothing temporary stays
    if hasattr(twin, "get_params"):
        assert twin.dtype == "float64" and twin.random_state == 7
        assert_same(twin.fit(POINTS), models[name])


@both_kinds
def test_names_of_columns_are_kept(ending, tmp_path):
    pandas = pytest.importorskip("pandas")
    for kind in (nvpflow.FlowDensity, nvpflow.FlowOutlierDetector):
        model = kind(1, 2, max_iter=1).fit(pandas.DataFrame(POINTS, columns=["a", "b", "ü"]))
        twin = nvpflow.load(save_to(tmp_path, model, ending))
        assert list(twin.feature_names_in_) == ["a", "b", "ü"] and twin.feature_names_in_.dtype == object


def test_what_cannot_be_saved_leaves_the_old_file(models, tmp_path, monkeypatch):
    path = save_to(tmp_path, models["flow"], "npz")
    before = path.read_bytes()
    for model in ({}, nvpflow.ActNorm(2)):
        with pytest.raises(TypeError, match=f"a FlowDensity or a FlowOutlierDetector, got {type(model).__name__}"):
            nvpflow.save(model, path)
    for kind in (nvpflow.FlowDensity, nvpflow.FlowOutlierDetector):
        with pytest.raises(nvpflow.NotFittedError, match=f"this {kind.__name__} is not fitted yet"):
            kind().save(path)
    bad = models["flow"].copy()
    bad.parameters[3] = np.nan
    with pytest.raises(ValueError, match="parameters of model must be finite"):
        bad.save(path)
    with pytest.raises(FileNotFoundError):
        models["flow"].save(tmp_path / "nowhere" / "x.npz")
    monkeypatch.setattr(np, "savez", lambda file, **arrays: (file.write(b"half") and None) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        models["flow"].save(path)
    assert path.read_bytes() == before and [entry.name for entry in tmp_path.iterdir()] == ["model.npz"]


@both_kinds
def test_the_package_safetensors_may_be_missing(models, ending, tmp_path, monkeypatch):
    path = save_to(tmp_path, models["flow"], ending)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    if ending == "npz":
        return assert_same(nvpflow.load(path), models["flow"])
    for call in (lambda: nvpflow.load(path), lambda: models["flow"].save(tmp_path / "other.safetensors")):
        with pytest.raises(ImportError, match="need that package: pip install safetensors"):
            call()
    assert not (tmp_path / "other.safetensors").exists()


def test_other_programs_read_the_safetensors(models, tmp_path):
    path = save_to(tmp_path, models["estimator"], "safetensors")
    arrays = pytest.importorskip("safetensors.numpy").load_file(path)
    np.testing.assert_array_equal(arrays["parameters"], models["estimator"].flow_.parameters)
    assert sorted(arrays) == ["description", "history.train_nll", "history.validation_nll", "parameters"]


DUPLICATES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "joblib": lambda model: joblib_copy(model),
}


def joblib_copy(model):
    joblib = pytest.importorskip("joblib")
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


@pytest.mark.parametrize("way", DUPLICATES)
@every_model
def test_copies(models, name, way):
    model = models[name]
    if isinstance(model, nvpflow.Flow):
        model.n_jobs = 2
    twin = DUPLICATES[way](model)
    assert_same(twin, model)
    if way != "copy" and hasattr(twin, "get_params"):
        twin.fit(POINTS[:30])
        assert not np.array_equal(twin.score_samples(POINTS), model.score_samples(POINTS))


@pytest.mark.parametrize("way", [*DUPLICATES, "method"])
def test_copies_of_flows_and_layers_are_independent(models, way):
    duplicate = DUPLICATES.get(way, lambda original: original.copy())
    layers = (nvpflow.CouplingLayer(3, (4, 5), context_dim=2), nvpflow.ActNorm(2), *one_of_each(3).values())
    for original in (*(models[name] for name in ("flow", "everything", "conditional")), *layers):
        twin = duplicate(original)
        assert repr(twin) == repr(original)
        np.testing.assert_array_equal(twin.parameters, original.parameters)
        twin.parameters[:] += 1
        assert not np.any(twin.parameters == original.parameters)


# -- PyTorch's state dicts --


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_state_dicts_of_torch(dtype):
    torch = pytest.importorskip("torch")
    for flow in (flow_of_everything(3, dtype), conditional_flow()):
        state = {f"layers.{name}": torch.from_numpy(array) for name, array in flow.state_dict().items()}
        twin = nvpflow.Flow.from_config(flow.config())
        twin.load_state_dict(state)
        np.testing.assert_array_equal(twin.parameters, flow.parameters)
        for i, layer in enumerate(flow.layers):
            tensors = {name: torch.from_numpy(array) for name, array in layer.state_dict().items()}
            twin.layers[i].parameters[:] = 0
            twin.layers[i].load_state_dict(tensors)
        np.testing.assert_array_equal(twin.parameters, flow.parameters)


def torch_flow(torch):
    """Two couplings as somebody would write them in PyTorch."""

    class Coupling(torch.nn.Module):
        def __init__(self, mask):
            super().__init__()
            self.register_buffer("mask", torch.tensor(mask))
            self.s_net, self.b_net = (
                torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)) for _ in "sb"
            )

        def forward(self, z):
            s, b = self.s_net(self.mask * z), self.b_net(self.mask * z)
            return self.mask * z + (1 - self.mask) * (z * torch.exp(s) + b)

    return torch.nn.Sequential(Coupling([1, 0]), Coupling([0, 1]))


def test_modules_of_torch():
    torch = pytest.importorskip("torch")
    module = torch_flow(torch)
    flow = nvpflow.Flow.from_state_dict(module.state_dict())
    assert flow.dtype == np.float32  # the masks are integers
    z = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        np.testing.assert_allclose(flow.forward(z)[0], module(z), rtol=1e-5, atol=1e-6)
        flow.parameters[:] *= 1.5
        state = {name: torch.from_numpy(array) for name, array in flow.state_dict().items()}
        assert module.load_state_dict(state, strict=False).unexpected_keys == []
        np.testing.assert_allclose(flow.forward(z)[0], module(z), rtol=1e-5, atol=1e-6)
    assert nvpflow.Flow.from_state_dict(module.double().state_dict()).dtype == np.float64


def test_tensors_that_hold_no_numbers_for_numpy(models):
    torch = pytest.importorskip("torch")
    flow = models["flow"].copy()
    before = flow.parameters.copy()
    for spoil in (
        lambda tensor: tensor.requires_grad_(),
        lambda tensor: tensor.to(torch.bfloat16),
        lambda tensor: tensor.to(torch.complex64),
    ):
        state = {name: torch.from_numpy(array) + 1 for name, array in flow.state_dict().items()}
        state["1.bias"] = spoil(state["1.bias"])
        with pytest.raises(TypeError, match="bias.* must be an array of real numbers|bias' must hold real numbers"):
            flow.load_state_dict(state)
        np.testing.assert_array_equal(flow.parameters, before)


# -- damaged and hostile files --


def contents(path):
    """Header and arrays of an .npz."""
    with np.load(path) as arrays:
        arrays = dict(arrays)
    return json.loads(str(arrays.pop("header"))), arrays


def write(path, header, arrays):
    text = header if isinstance(header, str) else json.dumps(header)
    np.savez(path, header=np.array(text), **arrays)
    return path


def spoiled_headers(path, *changes):
    """The file with values in its header replaced: pairs of a path into it and the new value."""
    header, arrays = contents(path)
    for place, value in changes:
        *way, last = place
        inner = header
        for key in way:
            inner = inner[key]
        if value is ...:
            del inner[last]
        else:
            inner[last] = value
    # Without the second description, which would not agree.
    del arrays["description"]
    return write(path, header, arrays)


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
    "base type": ((("flow", "base", "type"), "tree"), "base type must be one of 'mixture', got 'tree'"),
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


@pytest.fixture(scope="module")
def small_model():
    return nvpflow.FlowDensity(1, 4, coupling="affine", n_init=1, max_iter=5, dtype="float64", random_state=0).fit(POINTS)


@pytest.mark.parametrize("case", HEADERS)
def test_spoiled_headers(case, small_model, tmp_path):
    path = save_to(tmp_path, small_model, "npz")
    change, message = HEADERS[case]
    spoiled_headers(path, change)
    with bounded_memory(), pytest.raises(ValueError) as caught:
        nvpflow.load(path)
    text = str(caught.value)
    assert text.startswith(str(path)) and any(part in text for part in message.split("|")), text


def overwrite(path, content):
    """A thousand times faster, on some file systems, than to truncate the file first."""
    with open(path, "r+b") as file:
        file.write(content)
        file.truncate()


class bounded_memory:
    """Fails if more than 20 MB are allocated. NumPy and Python tell tracemalloc of every request, also of one that no
    page is ever touched of; what the C library takes for a flow is its parameters, as large as NumPy's."""

    def __enter__(self):
        tracemalloc.start()

    def __exit__(self, *error):
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20e6


def test_spoiled_detectors(models, tmp_path):
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


def test_spoiled_arrays(small_model, tmp_path):
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
def test_spoiled_texts(text, models, tmp_path):
    path = save_to(tmp_path, models["flow"], "npz")
    with pytest.raises(ValueError, match="is not an nvpflow file"):
        nvpflow.load(write(path, text, contents(path)[1]))


def rewrite(path, change):
    """The archive once more: `change` makes pairs of a name and bytes from the members' dict."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in change(members):
            archive.writestr(name, content)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_spoiled_archives(models, tmp_path):
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
    """Bytes take odd values, files end early: nothing but ValueError, which names the file, and little memory."""
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
    """Behind the checksums: random changes of the header's text."""
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
