"""Inputs that are converted to arrays (frames, tensors, DLPack), and errors for others that name the argument."""

import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import nvpflow

POINTS = np.random.RandomState(0).normal(size=(40, 2)).astype("float32")


class OnlyDLPack:
    """An array that offers DLPack alone."""

    def __init__(self, array, error=None):
        self.array, self.error = array, error

    def __dlpack__(self, **options):
        if self.error:
            raise self.error
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class OnlyArray:
    def __array__(self, dtype=None, copy=None):
        return POINTS.astype(dtype or POINTS.dtype)


GOOD = {
    "list": lambda: POINTS.tolist(),
    "__array__": OnlyArray,
    "DLPack": lambda: OnlyDLPack(POINTS),
    "memory": lambda: memoryview(POINTS),
    "torch": lambda: pytest.importorskip("torch").tensor(POINTS),
    "torch float64": lambda: pytest.importorskip("torch").tensor(POINTS).double(),
    "torch transposed": lambda: pytest.importorskip("torch").tensor(POINTS.T.copy()).T,
    "torch detached": lambda: pytest.importorskip("torch").tensor(POINTS, requires_grad=True).detach(),
    "jax": lambda: pytest.importorskip("jax").numpy.asarray(POINTS),
    "pandas": lambda: pytest.importorskip("pandas").DataFrame(POINTS, columns=["a", "b"]),
    "polars": lambda: pytest.importorskip("polars").DataFrame(POINTS, schema=["a", "b"]),
    "pyarrow": lambda: pytest.importorskip("pyarrow").table({"a": POINTS[:, 0], "b": POINTS[:, 1]}),
}


def sparse():
    return pytest.importorskip("scipy.sparse")


def torch_with(**options):
    return pytest.importorskip("torch").tensor(POINTS, **options)


BAD = {
    "sparse matrix": (lambda: sparse().csr_matrix(POINTS), TypeError, "dense, got a sparse csr_matrix"),
    "sparse array": (lambda: sparse().coo_array(POINTS), TypeError, "dense, got a sparse coo_array"),
    "gradient": (lambda: torch_with(requires_grad=True), TypeError, "real numbers, got a Tensor: .* requires grad"),
    "other device": (lambda: torch_with(device="meta"), TypeError, "real numbers, got a Tensor: .*meta"),
    "torch sparse": (lambda: torch_with().to_sparse(), TypeError, "real numbers, got a Tensor: .*[Ss]parse"),
    "bfloat16": (lambda: torch_with().bfloat16(), TypeError, "real numbers, got a Tensor: .*BFloat16"),
    "DLPack elsewhere": (lambda: OnlyDLPack(POINTS, BufferError("on a GPU")), TypeError, "got a OnlyDLPack: on a GPU"),
    "lazy": (lambda: pytest.importorskip("polars").LazyFrame(POINTS), TypeError, "real numbers, got a LazyFrame"),
    "generator": (lambda: (row for row in POINTS), TypeError, "real numbers, got a generator"),
    "ragged": (lambda: [[1.0, 2.0], [3.0]], ValueError, "real numbers: .*inhomogeneous"),
}  # fmt: skip


def make_flow():
    return nvpflow.Flow([nvpflow.CouplingLayer(2, 8, mask, random_state=0) for mask in ([1, 0], [0, 1])])


def make_model():
    return nvpflow.FlowDensity(2, 4, max_iter=3, random_state=0)


@pytest.mark.parametrize("kind", GOOD)
def test_flow_accepts(kind):
    flow, samples = make_flow(), GOOD[kind]()
    np.testing.assert_array_equal(flow.log_prob(samples), flow.log_prob(POINTS))
    np.testing.assert_array_equal(flow.nll_and_grad(samples)[1], flow.nll_and_grad(POINTS)[1])
    np.testing.assert_array_equal(flow.forward_vjp(samples, samples, None)[1], flow.forward_vjp(POINTS, POINTS, None)[1])
    np.testing.assert_array_equal(flow.layers[0].forward(samples)[0], flow.layers[0].forward(POINTS)[0])
    histories = [make_flow().fit(x, max_iter=2, validation_data=x) for x in (samples, POINTS)]
    np.testing.assert_array_equal(histories[0]["validation_nll"], histories[1]["validation_nll"])


@pytest.mark.parametrize("kind", GOOD)
def test_estimator_accepts(kind):
    samples = GOOD[kind]()
    model, expected = make_model().fit(samples), make_model().fit(POINTS)
    np.testing.assert_array_equal(model.score_samples(samples), expected.score_samples(POINTS))
    np.testing.assert_array_equal(model.transform(samples), expected.transform(POINTS))
    np.testing.assert_array_equal(model.inverse_transform(samples), expected.inverse_transform(POINTS))
    names = getattr(model, "feature_names_in_", None)
    assert (names.tolist() == ["a", "b"]) if kind in ("pandas", "polars", "pyarrow") else names is None


@pytest.mark.parametrize("kind", BAD)
def test_rejected_inputs(kind):
    make, error, message = BAD[kind]
    flow, model = make_flow(), make_model()
    uses = ((flow.log_prob, "x"), (flow.forward, "z"), (flow.fit, "x"), (model.fit, "X"), (model.partial_fit, "X"))
    for use, name in uses:
        if kind == "lazy" and use == model.fit:  # reads it in batches
            continue
        with pytest.raises(error, match=rf"^{name} must be .*{message}"):
            use(make())
    assert not hasattr(model, "flow_")
    if kind != "lazy":
        with pytest.raises(error, match=rf"^X must be .*{message}"):
            model.fit(POINTS).score_samples(make())


def test_errors_do_not_leak_inputs():
    flow, ragged = make_flow(), [[1.0, 2.0], [3.0]]
    counts = []
    for _ in range(3):
        for _ in range(300):
            with pytest.raises(ValueError):
                flow.log_prob(ragged)
            flow.log_prob([ragged[0]])
        counts.append((sys.getrefcount(ragged), sys.getrefcount(ragged[0]), sys.getrefcount(flow)))
    assert counts[0] == counts[1] == counts[2]


def test_object_arrays():
    """The estimator accepts objects that are numbers, as scikit-learn does; a flow accepts numeric arrays only."""
    model = make_model().fit(POINTS.astype(object))
    np.testing.assert_array_equal(model.score_samples(POINTS), make_model().fit(POINTS).score_samples(POINTS))
    for bad, error, message in (
        ([[0.0, {}]], TypeError, "X must be an array of real numbers: float() argument must be a string or a real"),
        ([[0.0, "a"]], ValueError, "X must be an array of real numbers: could not convert string to float: 'a'"),
        ([[0.0, 1j]], TypeError, "X must be an array of real numbers: "),
    ):
        with pytest.raises(error, match=re.escape(message)):
            model.score_samples(np.array(bad, dtype=object))
    with pytest.raises(ValueError, match="Complex data not supported: X must be .* got dtype complex64"):
        model.fit(POINTS * np.complex64(1j))
    with pytest.raises(TypeError, match="X must be an array of real numbers, got dtype datetime64"):
        model.fit(np.zeros((5, 2), "datetime64[s]"))


def test_nullable_columns():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(POINTS).astype("Float64")
    np.testing.assert_array_equal(make_model().fit(frame).score_samples(frame), make_model().fit(POINTS).score_samples(POINTS))
    frame.iloc[3, 1] = pandas.NA
    with pytest.raises((TypeError, ValueError), match="X must be "):
        make_model().fit(frame)


def test_feature_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(POINTS, columns=["a", "b"])
    model = make_model().fit(frame)
    for columns, message in (
        (["b", "a"], "must be in the same order as they were in fit"),
        (["a", "c"], "unseen at fit time:\n- c\nFeature names seen at fit time, yet now missing:\n- b\n"),
    ):
        for use in (model.score_samples, model.score, model.transform, model.partial_fit):
            with pytest.raises(ValueError, match=f"The feature names should match those .*\n.*{message}"):
                use(frame.set_axis(columns, axis=1))
    with pytest.warns(UserWarning, match="X does not have valid feature names, but FlowDensity was fitted with") as caught:
        model.score_samples(POINTS)
    assert caught[0].filename == __file__
    with pytest.raises(TypeError, match="Feature names are only supported if all input features have string names"):
        model.fit(frame.set_axis(["a", 1], axis=1))
    assert model.feature_names_in_.tolist() == ["a", "b"]
    model.fit(POINTS)
    assert not hasattr(model, "feature_names_in_")
    with pytest.warns(UserWarning, match="X has feature names, but FlowDensity was fitted without feature names"):
        model.score_samples(frame)


def test_saved_feature_names(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(POINTS, columns=["a", "b"])
    make_model().fit(frame).save(tmp_path / "model.npz")
    model = nvpflow.load(tmp_path / "model.npz")
    assert model.feature_names_in_.tolist() == ["a", "b"] and model.n_samples_seen_ == 40
    with pytest.raises(ValueError, match="The feature names should match"):
        model.score_samples(frame[["b", "a"]])


def test_set_output():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    frame = pandas.DataFrame(POINTS, columns=["a", "b"], index=np.arange(100, 140))
    model = make_model().fit(frame)
    expected = model.transform(frame)
    z = model.set_output(transform="pandas").transform(frame)
    assert z.columns.tolist() == ["flowdensity0", "flowdensity1"] and z.index.tolist() == frame.index.tolist()
    np.testing.assert_array_equal(z, expected)
    np.testing.assert_allclose(model.inverse_transform(z), POINTS, atol=1e-4)
    z = model.set_output(transform="polars").transform(polars.DataFrame(POINTS, schema=["a", "b"]))
    assert isinstance(z, polars.DataFrame) and z.columns == ["flowdensity0", "flowdensity1"]
    np.testing.assert_array_equal(z.to_numpy(), expected)
    assert type(model.set_output(transform=None).transform(frame)) is polars.DataFrame
    assert type(model.set_output(transform="default").transform(frame)) is np.ndarray
    with pytest.raises(ValueError, match="transform must be one of 'default', 'pandas', 'polars', got 'arrow'"):
        model.set_output(transform="arrow")


ALONE = """
    import importlib.abc, sys

    class Blocker(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path, target=None):
            if name.split(".")[0] in {"sklearn", "scipy", "pandas", "polars", "torch", "matplotlib", "joblib"}:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Blocker())
    import copy, pickle
    import numpy as np, nvpflow

    X = np.random.default_rng(0).normal(size=(60, 2))
    model = nvpflow.FlowDensity(2, 4, max_iter=3, random_state=0)
    try:
        model.score(X)
    except nvpflow.NotFittedError as error:
        assert type(pickle.loads(pickle.dumps(error))) is nvpflow.NotFittedError
    model.fit(X).partial_fit(X)
    assert np.isfinite(model.score(X)) and model.sample(5).shape == (5, 2)
    assert model.fit_transform(X).shape == (60, 2)
    assert model.get_feature_names_out().tolist() == ["flowdensity0", "flowdensity1"]
    copy.deepcopy(model).set_params(hidden_dim=3).fit(X)
    detector = nvpflow.FlowOutlierDetector(2, 4, max_iter=3, random_state=0)
    assert set(detector.fit_predict(X)) == {-1, 1}, detector
    try:
        model.set_output(transform="pandas").transform(X)
    except ModuleNotFoundError as error:
        print(error.name)
"""


def test_numpy_is_sufficient():
    run = subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(ALONE)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "pandas\n"


def test_import_loads_only_numpy():
    script = "import sys, nvpflow; print({'sklearn', 'scipy', 'pandas', 'polars', 'torch'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
