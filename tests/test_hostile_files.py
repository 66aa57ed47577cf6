"""Hostile and damaged files are errors that cost little; random states, subclasses, and models that a thread fits meanwhile."""

import io
import json
import os
import pickle
import signal
import sys
import threading
import zipfile

import numpy as np
import pytest

import nvpflow
from nvpflow._io.npz import write_npz
from nvpflow._io.safetensors import write_safetensors
from test_files import assert_same, both_kinds, contents, overwrite, rewrite, save_to, spoiled_headers, write

POINTS = np.random.RandomState(0).normal(size=(60, 3))
MASKED = {"type": "additive_coupling", "data_dim": 1, "hidden_dim": [], "mask": [1], "activation": "relu"}
SHUFFLE = {"type": "permutation", "data_dim": 1, "permutation": [0]}


@pytest.fixture(scope="module")
def estimator():
    options = {"coupling": "affine", "max_iter": 5, "dtype": "float64", "random_state": 0}
    return nvpflow.FlowDensity(1, 4, **options).fit(POINTS)


@pytest.fixture(scope="module")
def detector():
    return nvpflow.FlowOutlierDetector(1, 4, max_iter=3, random_state=0).fit(POINTS)


# -- what a file may cost --


def flow_file(path, layers, n_parameters=0, **more):
    """A flow in the smaller of the two kinds of files, which has one byte for a character of the header."""
    pytest.importorskip("safetensors")
    text = json.dumps(
        {"format": "nvpflow", "version": 1, "kind": "Flow", "flow": {"dtype": "float32", "layers": layers, **more}}
    )
    file = io.BytesIO()
    write_safetensors(file, text, {"parameters": np.zeros(n_parameters, np.float32)})
    path.write_bytes(file.getbuffer())
    return path


def load_in_bounds(path, seconds):
    """What comes of loading a file with memory of 40 times its size, 40 MB and so many seconds of the processor at most:
    "loaded", a message, or the signal that ended it."""
    resource = pytest.importorskip("resource")
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("it tells how much memory is in use")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with open("/proc/self/statm") as file:
                used = int(file.read().split()[0]) * resource.getpagesize()
            most = used + 40 * os.path.getsize(path) + 40_000_000
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
            resource.setrlimit(resource.RLIMIT_CPU, (int(sum(os.times()[:2])) + seconds,) * 2)
            try:
                nvpflow.load(path)
                result = "loaded"
            except Exception as error:
                result = f"{type(error).__name__}: {error}"
            os.write(writer, result.encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        result = pipe.read().decode()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return result if status == 0 else signal.Signals(-status).name


def huge(n=10**15):
    """Layers whose sizes are lies, and where they are found out."""
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
def test_sizes_that_are_lies_cost_nothing(case, tmp_path):
    layers, message = huge()[case]
    found = load_in_bounds(flow_file(tmp_path / "flow", layers), seconds=5)
    assert found.startswith("ValueError: ") and message in found, found


def test_components_that_are_lies_cost_nothing(tmp_path):
    for n, message in ((10**12, "parameters must have dtype F32"), (10**18, "outside of its range"), (2**64, "at most")):
        base = {"type": "mixture", "n_components": n, "data_dim": 1}
        found = load_in_bounds(flow_file(tmp_path / "flow", [SHUFFLE], base=base), seconds=5)
        assert found.startswith("ValueError: ") and message in found, found


@pytest.mark.parametrize("layer, n, n_parameters", [
    (SHUFFLE, 80_000, 0), ({"type": "act_norm", "data_dim": 1}, 30_000, 2), (MASKED, 30_000, 0)
])  # fmt: skip
def test_many_layers_cost_as_many_times_more(layer, n, n_parameters, tmp_path):
    """Each is not compared with all before it, which would take minutes."""
    assert load_in_bounds(flow_file(tmp_path / "flow", [layer] * n, n * n_parameters), seconds=15) == "loaded"


def test_many_hidden_layers_cost_as_many_times_more(tmp_path):
    n = 200_000
    assert load_in_bounds(flow_file(tmp_path / "flow", [MASKED | {"hidden_dim": [1] * n}], 2 * n), seconds=15) == "loaded"


def test_a_context_without_weights_costs_nothing(tmp_path):
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
def test_texts_that_are_no_header(case, ending, estimator, tmp_path):
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


def test_names_twice_deep_in_the_header(estimator, tmp_path):
    path = save_to(tmp_path, estimator, "npz")
    header, arrays = contents(path)
    text = json.dumps(header).replace('"n_layers": 1', '"n_layers": 1, "n_layers": 1')
    with pytest.raises(ValueError, match="an object with a name twice"):
        nvpflow.load(write(path, text, arrays))


def test_descriptions_for_c_cost_nothing():
    """The list of numbers of `nvp_flow_decode`, behind Python's checks."""
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


def test_members_that_overlap(estimator, tmp_path):
    """Two entries of the directory for the same bytes."""
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


def test_sizes_of_64_bits_that_are_lies(estimator, tmp_path):
    """In the directory the size moves to an extra field, which claims 2**40 bytes."""
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
    rewrite(path, lambda members: {name.replace("validation", "valuation"): data for name, data in members.items()}.items())
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
def test_safetensors_that_lie(case, tmp_path):
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

UNFIT = {
    "n_layers": [0, -1, 1.5, "3", None, True, 10**30, [2]],
    "hidden_dim": [0, [], {}, "4", [[4]], [0], [True], 1e3, None, [10**30]],
    "activation": ["sine", None, 1, ["relu"]],
    "coupling": ["sinh", None],
    "scale_bound": [0, -1.0, "1", 10**400],
    "n_bins": [1, 65, 6.0, "6"],
    "tail_bound": [0, -3.0, "3", 1e300],
    "base": ["tree", None],
    "standardize": [1, "yes", None],
    "n_init": [0, None, 1.0],
    "max_iter": [0, -1, 2.5, "10"],
    "batch_size": [0, 0.5, "all"],
    "learning_rate": [0, -1e-3, "fast", 10**400],
    "schedule": ["linear", None],
    "warmup": [-1, 1.5, "0", None],
    "average": [1, -0.1, "0", None],
    "noise": [-0.1, "0", None, [0.1]],
    "validation_fraction": [0, 1, -0.2],
    "n_iter_no_change": [0, 1.5, "1"],
    "tol": [-1e-3, None, "0"],
    "warm_start": [1, None],
    "dtype": ["nonsense", "float16", "f4,f8", None, 4, ["float32"], ""],
    "n_jobs": [0, 100_000, -100_000, 1.5, "all", 10**30],
    "verbose": [-1, 0.5, "loud", None],
    "random_state": [-1, 0.5, "seed", [1], {}, {"type": "Generator"}],
}


def test_every_parameter_has_unfit_values():
    assert UNFIT.keys() == nvpflow.FlowDensity().get_params().keys()


@pytest.mark.parametrize("name", UNFIT)
def test_parameters_that_fit_would_not_take(name, estimator, tmp_path):
    path = save_to(tmp_path, estimator, "npz")
    for value in UNFIT[name]:
        if (name, value) == ("hidden_dim", []):
            continue  # a linear map alone
        estimator.save(path)
        with pytest.raises(ValueError) as caught:
            nvpflow.load(spoiled_headers(path, (("estimator", name), value)))
        text = str(caught.value)
        # An entry is missing from the last random state; {} is no type of one.
        assert text.startswith(f"{path} is damaged: ") and (name in text or isinstance(value, dict)), text


def test_parameters_of_detectors_that_fit_would_not_take(detector, tmp_path):
    path = save_to(tmp_path, detector, "npz")
    cases = {"contamination": [0, 0.6, "some", None, -0.1], "n_jobs": [100_000], "dtype": ["nonsense"], "verbose": [-1]}
    for name, values in cases.items():
        for value in values:
            detector.save(path)
            with pytest.raises(ValueError, match=f"is damaged: {name} must "):
                nvpflow.load(spoiled_headers(path, (("detector", name), value)))
    for place in ("detector", "estimator"):
        for value in (None, 3, [], "x", [["n_layers", 3]]):
            detector.save(path)
            with pytest.raises(ValueError, match="parameters of .* must be an object, got"):
                nvpflow.load(spoiled_headers(path, ((place,), value)))


def test_detector_made_of_a_conditional_density(tmp_path):
    path = save_to(tmp_path, nvpflow.FlowDensity(1, 2, max_iter=1).fit(POINTS[:, :2], context=POINTS[:, 2:]), "npz")
    header, arrays = contents(path)
    header |= {"kind": "FlowOutlierDetector", "detector": {}, "offset": 0.0}
    detector = nvpflow.load(write(path, header, arrays))
    with pytest.raises(ValueError, match="context must be given"):
        detector.predict(POINTS[:, :2])


@pytest.mark.parametrize("name, value, message", [
    ("n_iter", 10**18, "history.train_nll must have dtype"), ("best_iter", 6, "best_iter must be at most 5"),
    ("n_samples_seen", -1, "n_samples_seen must be at least 0"), ("n_samples_seen", 1.5, "n_samples_seen must be an integer"),
])  # fmt: skip
def test_numbers_of_a_training(name, value, message, estimator, tmp_path):
    path = save_to(tmp_path, estimator, "npz")
    with pytest.raises(ValueError, match=message):
        nvpflow.load(spoiled_headers(path, ((name,), value)))


def test_a_training_without_its_curve(estimator, tmp_path):
    path = save_to(tmp_path, estimator, "npz")
    header, arrays = contents(path)
    del arrays["history.train_nll"], arrays["history.validation_nll"]
    header["n_iter"] = 10**18
    with pytest.raises(ValueError, match=r"it has no 'history.train_nll'"):
        nvpflow.load(write(path, header, arrays))


def test_what_could_not_be_loaded_is_not_saved(estimator, detector, tmp_path):
    path = save_to(tmp_path, estimator, "npz")
    before = path.read_bytes()
    twin = pickle.loads(pickle.dumps(estimator))
    for name, value in (("n_jobs", "many"), ("scale_bound", -1.0), ("n_layers", 0), ("dtype", "nonsense"), ("tol", np.nan)):
        was = getattr(twin, name)
        with pytest.raises((TypeError, ValueError), match=f"{name} must "):
            twin.set_params(**{name: value}).save(path)
        twin.set_params(**{name: was})
    other = pickle.loads(pickle.dumps(detector))
    other.offset_ = np.nan
    with pytest.raises(ValueError, match="offset_ must be finite, got nan"):
        other.save(path)
    assert path.read_bytes() == before


def test_parameters_of_numpy_come_back_as_pythons(estimator, tmp_path):
    twin = pickle.loads(pickle.dumps(estimator)).set_params(
        n_layers=np.int8(3), hidden_dim=np.array([4, 5]), tol=np.float32(0.5), standardize=np.bool_(True), coupling=np.str_("affine"),
        dtype=np.dtype(np.float64), random_state=np.uint32(7),
    )  # fmt: skip
    loaded = nvpflow.load(save_to(tmp_path, twin, "npz")).get_params()
    assert (loaded["n_layers"], loaded["hidden_dim"], loaded["tol"], loaded["standardize"]) == (3, [4, 5], 0.5, True)
    assert (loaded["coupling"], loaded["dtype"], loaded["random_state"]) == ("affine", "float64", 7)
    assert {type(loaded[name]) for name in ("n_layers", "tol", "standardize", "random_state")} == {int, float, bool}


# -- random states --


def generators():
    for name in ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"):
        for kind in (np.random.Generator, np.random.RandomState):
            generator = kind(getattr(np.random, name)(5))
            generator.standard_normal(7)
            if kind is np.random.Generator:
                generator.integers(10, size=3, dtype=np.uint32)  # leaves half a word
            yield pytest.param(generator, id=f"{kind.__name__}-{name}")


@pytest.mark.parametrize("generator", list(generators()))
def test_generators_go_on_where_they_were(generator, detector, tmp_path):
    generator = pickle.loads(pickle.dumps(generator))
    model = nvpflow.FlowDensity(1, 2, max_iter=2, random_state=generator).fit(POINTS)
    path = save_to(tmp_path, model, "npz")
    twin = nvpflow.load(path)
    assert type(twin.random_state) is type(generator)
    np.testing.assert_array_equal(twin.sample(4), model.sample(4))
    np.testing.assert_array_equal(twin.random_state.standard_normal(3), generator.standard_normal(3))
    np.testing.assert_array_equal(twin.fit(POINTS).flow_.parameters, model.fit(POINTS).flow_.parameters)


def test_seed_sequences_come_back(tmp_path):
    for sequence in (
        np.random.SeedSequence(7),
        np.random.SeedSequence([1, 2**40], spawn_key=(3, 4)),
        np.random.SeedSequence(),
    ):
        sequence.spawn(2)
        model = nvpflow.FlowDensity(1, 2, max_iter=2, random_state=sequence).fit(POINTS)
        twin = nvpflow.load(save_to(tmp_path, model, "npz")).random_state
        assert twin.state == sequence.state | {"spawn_key": tuple(sequence.spawn_key)}
        np.testing.assert_array_equal(twin.generate_state(4), sequence.generate_state(4))


def test_a_detector_and_its_estimator_share_a_generator_again(tmp_path):
    model = nvpflow.FlowOutlierDetector(1, 2, max_iter=2, random_state=np.random.default_rng(1)).fit(POINTS)
    assert model.random_state is model.estimator_.random_state
    twin = nvpflow.load(save_to(tmp_path, model, "npz"))
    assert twin.random_state is twin.estimator_.random_state
    assert twin.random_state.random() == model.random_state.random()


def test_generators_that_cannot_be_stored(tmp_path):
    class Own(np.random.PCG64):
        """Whose state has another name."""

        @property
        def state(self):
            return super().state | {"bit_generator": "Own"}

    model = nvpflow.FlowDensity(1, 2, max_iter=2, random_state=np.random.Generator(Own(1))).fit(POINTS)
    with pytest.raises(ValueError, match="random_state cannot be stored: its bit generator must be one of PCG64, .*, got Own"):
        model.save(tmp_path / "model.npz")
    assert list(tmp_path.iterdir()) == []


def spoiled_states():
    """What NumPy itself would take, and read beyond its buffers, or take for something else."""

    def state(kind, name, change):
        value = nvpflow._io.random_state.plain_random_state(kind(getattr(np.random, name)(0)))
        change(value)
        return value

    def set_in(*way):
        *way, last, new = way

        def change(value):
            for key in way:
                value = value[key]
            value[last] = new

        return change

    Generator, RandomState = np.random.Generator, np.random.RandomState
    for kind, name, *way in (
        (Generator, "MT19937", "state", "state", "pos", 10**9), (Generator, "MT19937", "state", "state", "pos", -1),
        (Generator, "MT19937", "state", "state", "key", [1] * 623), (Generator, "MT19937", "state", "state", "key", [2**32] * 624),
        (RandomState, "MT19937", "state", "state", "pos", 625), (RandomState, "MT19937", "state", "gauss", "0"),
        (RandomState, "MT19937", "state", "has_gauss", 2), (Generator, "Philox", "state", "buffer_pos", -10**6),
        (Generator, "Philox", "state", "buffer_pos", 5), (Generator, "Philox", "state", "buffer", [0.5] * 4),
        (Generator, "PCG64", "state", "state", "inc", 2**128), (Generator, "PCG64", "state", "state", "state", "1"),
        (Generator, "PCG64", "state", "state", 3), (Generator, "PCG64", "state", "uinteger", 2**32),
        (Generator, "PCG64", "state", "bit_generator", "default_rng"), (Generator, "PCG64", "state", "bit_generator", "MT19937"),
        (Generator, "PCG64", "state", []), (Generator, "PCG64", "type", "BitGenerator"), (Generator, "PCG64", "type", []),
        (Generator, "SFC64", "state", "state", "state", [1, 2, 3]), (Generator, "SFC64", "state", "more", 1),
    ):  # fmt: skip
        yield pytest.param(state(kind, name, set_in(*way)), id=f"{kind.__name__}-{name}-{way[-2]}-{str(way[-1])[:12]}")
    seeds = {"entropy": 1, "spawn_key": [], "pool_size": 4, "n_children_spawned": 0}
    for change in ({"pool_size": 10**12}, {"entropy": -1}, {"entropy": [0.5]}, {"spawn_key": 3}, {"spawn_key": [-1]}, {"more": 1},
                   {"n_children_spawned": 2**70}, {"entropy": "1"}):  # fmt: skip
        yield pytest.param({"type": "SeedSequence", "state": seeds | change}, id=f"SeedSequence-{change}")


@pytest.mark.parametrize("state", list(spoiled_states()))
def test_states_of_generators_that_are_none(state, estimator, tmp_path):
    path = save_to(tmp_path, estimator, "npz")
    spoiled_headers(path, (("estimator", "random_state"), state))
    found = load_in_bounds(path, seconds=5)
    assert found.startswith(f"ValueError: {path} is damaged: "), found


# -- subclasses --


class MyFlow(nvpflow.Flow):
    pass


class MyDensity(nvpflow.FlowDensity):
    def __init__(self, width=3, random_state=0):
        super().__init__(2, width, max_iter=2, random_state=random_state)
        self.width = width


class MyDetector(nvpflow.FlowOutlierDetector):
    def __init__(self, width=3):
        super().__init__(2, width, max_iter=2, random_state=0, contamination=0.2)
        self.width = width


@both_kinds
def test_subclasses_load_as_the_class_itself(ending, tmp_path):
    flow = MyFlow([nvpflow.ActNorm(3)])
    assert type(nvpflow.load(save_to(tmp_path, flow, ending))) is nvpflow.Flow
    for made, kind in ((MyDensity(4), nvpflow.FlowDensity), (MyDetector(4), nvpflow.FlowOutlierDetector)):
        made.fit(POINTS)
        twin = nvpflow.load(save_to(tmp_path, made, ending))
        assert type(twin) is kind and twin.hidden_dim == 4 and twin.n_layers == 2 and not hasattr(twin, "width")
        np.testing.assert_array_equal(twin.score_samples(POINTS), made.score_samples(POINTS))
        np.testing.assert_array_equal(twin.fit(POINTS).flow_.parameters, made.flow_.parameters)
    with pytest.raises(nvpflow.NotFittedError, match="this MyDensity is not fitted yet"):
        MyDensity().save(tmp_path / "none.npz")


# -- damage --


@both_kinds
def test_files_that_end_early(ending, estimator, tmp_path):
    path = save_to(tmp_path, estimator, ending)
    whole = path.read_bytes()
    for end in range(0, len(whole), 97):
        overwrite(path, whole[:end])
        with pytest.raises(ValueError, match="is not an nvpflow file: .|is damaged: ."):
            nvpflow.load(path)


@both_kinds
def test_files_with_one_byte_flipped(ending, estimator, tmp_path):
    """It is noticed, or it does not matter: what was loaded is what was saved."""
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


def test_directories_and_absent_files_are_oserrors(tmp_path):
    with pytest.raises(IsADirectoryError):
        nvpflow.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        nvpflow.load(tmp_path / "absent")


# -- threads --


@pytest.mark.parametrize("kind", [nvpflow.FlowDensity, nvpflow.FlowOutlierDetector])
def test_attributes_that_come_while_it_is_pickled(kind):
    class Meddler:
        """Its pickling does what a `fit` in another thread would."""

        def __reduce__(self):
            model.another_ = 1
            return int, ()

    model = kind(1, 2, max_iter=1, random_state=0).fit(POINTS)
    model.verbose = Meddler()
    twin = pickle.loads(pickle.dumps(model))
    assert twin.verbose == 0 and not hasattr(twin, "another_")
    np.testing.assert_array_equal(twin.score_samples(POINTS), model.score_samples(POINTS))


@pytest.mark.parametrize("kind", [nvpflow.FlowDensity, nvpflow.FlowOutlierDetector])
def test_pickles_and_files_of_a_model_that_another_thread_fits(kind, tmp_path):
    """They are those of one fit, though the fits take turns in what they learn: number of columns, their names, epochs."""
    pandas = pytest.importorskip("pandas")
    tables = [pandas.DataFrame(POINTS[:, :2], columns=["a", "b"]), POINTS]
    model, path = kind(1, 2, max_iter=1, validation_fraction=None, random_state=0).fit(tables[0]), tmp_path / "model.npz"
    stop, errors = threading.Event(), []

    def fit():
        try:
            for i in range(1, 10**9):
                if stop.is_set():
                    break
                model.set_params(max_iter=1 + i % 2).fit(tables[i % 2])
        except Exception as error:
            errors.append(error)

    thread, before = threading.Thread(target=fit), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        seen = set()
        for i in range(2000):
            if i % 5:
                twin = pickle.loads(pickle.dumps(model))
            else:
                model.save(path)
                twin = nvpflow.load(path)
            dim = twin.flow_.data_dim
            assert twin.n_features_in_ == dim and hasattr(twin, "feature_names_in_") == (dim == 2)
            assert twin.n_iter_ == len(twin.history_["train_nll"]) == dim - 1
            seen.add(dim)
            if i >= 100 and seen == {2, 3}:
                break
    finally:
        sys.setswitchinterval(before)
        stop.set()
        thread.join()
    assert errors == [] and seen == {2, 3}
