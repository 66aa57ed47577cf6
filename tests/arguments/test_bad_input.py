"""Bad and unusual input: a correct result, or an error that names the argument and leaves the object unchanged."""

import gc
import re
import sys

import numpy as np
import pytest

import nvpflow
from support.flows import make_flow


@pytest.fixture
def flow():
    """A flow that the test must leave unchanged and usable."""
    flow = make_flow("float32")
    before, points = flow.parameters.tobytes(), flow.sample(5, random_state=0)
    log_prob = flow.log_prob(points)
    yield flow
    assert flow.parameters.tobytes() == before
    np.testing.assert_array_equal(flow.log_prob(points), log_prob)


POINTS = np.random.RandomState(0).normal(size=(7, 2)).astype("float32")
SAMPLE_METHODS = ("forward", "inverse", "log_prob", "nll", "nll_and_grad", "trace")

BAD_SAMPLES = {
    "complex": (POINTS.astype(complex), TypeError, "real numbers, got dtype complex128"),
    "strings": (POINTS.astype(str), TypeError, "real numbers, got dtype <U"),
    "bytes": (b"abcd", TypeError, "real numbers"),
    "objects": (POINTS.astype(object), TypeError, "real numbers, got dtype object"),
    "dates": (np.zeros((3, 2), "datetime64[s]"), TypeError, "real numbers"),
    "records": (np.zeros(3, [("a", float), ("b", float)]), TypeError, "real numbers"),
    "none": (None, TypeError, "real numbers"),
    "dict": ({}, TypeError, "real numbers"),
    "scalar": (1.0, ValueError, r"shape (n, 2), got ()"),
    "one point": (POINTS[0], ValueError, "shape (n, 2), got (2,): for a single sample use"),
    "rank 1": (np.zeros(5), ValueError, "shape (n, 2), got (5,)"),
    "rank 3": (np.zeros((2, 2, 2)), ValueError, "shape (n, 2), got (2, 2, 2)"),
    "wide": (np.zeros((4, 3)), ValueError, "shape (n, 2), got (4, 3)"),
    "narrow": (np.zeros((4, 1)), ValueError, "shape (n, 2), got (4, 1)"),
    "no columns": (np.zeros((4, 0)), ValueError, "shape (n, 2), got (4, 0)"),
}


@pytest.mark.parametrize("method", SAMPLE_METHODS)
@pytest.mark.parametrize("bad", BAD_SAMPLES)
def test_bad_samples(flow, method, bad):
    value, error, message = BAD_SAMPLES[bad]
    argument = "z" if method in ("forward", "trace") else "x"
    with pytest.raises(error, match=f"^{argument} must .*" + re.escape(message)):
        getattr(flow, method)(value)


GOOD_SAMPLES = {
    "list": POINTS.tolist(),
    "float64": POINTS.astype("float64"),
    "longdouble": POINTS.astype("longdouble"),
    "fortran": np.asfortranarray(POINTS),
    "reversed": POINTS[::-1].copy()[::-1],
    "every other": np.repeat(POINTS, 2, axis=0)[::2],
    "columns of more": np.hstack([POINTS, POINTS])[:, 1:3][:, ::-1],
    "swapped": POINTS.astype(POINTS.dtype.newbyteorder()),
    "unaligned": np.frombuffer(b"x" + POINTS.tobytes(), "float32", offset=1).reshape(-1, 2)
    if False
    else np.ndarray(POINTS.shape, "float32", bytearray(b"x" + POINTS.tobytes()), 1),
    "masked": np.ma.masked_array(POINTS),
    "matrix": POINTS.view(np.matrix) if hasattr(np, "matrix") else POINTS,
}


@pytest.mark.parametrize("kind", GOOD_SAMPLES)
@pytest.mark.parametrize("method", SAMPLE_METHODS)
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_unusual_arrays(flow, method, kind):
    expected = getattr(flow, method)(POINTS)
    given = getattr(flow, method)(GOOD_SAMPLES[kind])
    for ours, theirs in zip(np.atleast_1d(given), np.atleast_1d(expected)) if method == "nll" else zip(given, expected):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", ["int8", "uint64", "bool", "float16"])
def test_numeric_dtypes(flow, dtype):
    values = np.array([[0, 1], [1, 1], [1, 0]], dtype)
    np.testing.assert_array_equal(flow.log_prob(values), flow.log_prob(values.astype("float32")))


def test_read_only_samples(flow):
    points = POINTS.copy()
    points.flags.writeable = False
    np.testing.assert_array_equal(flow.log_prob(points), flow.log_prob(POINTS))


def test_empty_samples(flow):
    nothing = np.zeros((0, 2))
    x, log_det = flow.forward(nothing)
    assert x.shape == (0, 2) and log_det.shape == (0,)
    assert flow.log_prob(nothing).shape == (0,)
    assert flow.trace(nothing).shape == (5, 0, 2)
    assert flow.sample(0).shape == (0, 2)
    grad_z, grad_parameters = flow.forward_vjp(nothing, None, None)
    assert grad_z.shape == (0, 2) and not grad_parameters.any()
    for method in ("nll", "nll_and_grad"):
        with pytest.raises(ValueError, match="x must have at least one sample"):
            getattr(flow, method)(nothing)


def test_nan_and_infinity_affect_one_row(flow):
    points = np.repeat(POINTS, 10, axis=0)
    expected = flow.log_prob(points)
    for bad in (np.nan, np.inf, -np.inf):
        spoilt = points.copy()
        spoilt[13, 1] = bad
        log_prob = flow.log_prob(spoilt)
        assert not np.isfinite(log_prob[13])
        np.testing.assert_array_equal(np.delete(log_prob, 13), np.delete(expected, 13))


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_float32_overflow(flow):
    assert not np.isfinite(flow.log_prob([[1e300, 0.0]]))[0]


def test_huge_arrays(flow):
    endless = np.broadcast_to(np.float32(0), (2**50, 2))
    with pytest.raises(MemoryError):
        flow.log_prob(endless)
    with pytest.raises((MemoryError, ValueError)):
        flow.sample(2**60)
    with pytest.raises(MemoryError):
        nvpflow.CouplingLayer(2, 10**15)
    with pytest.raises(MemoryError):
        nvpflow.CouplingLayer(2, (2**40, 2**40))


@pytest.mark.parametrize("method, names", [("forward_vjp", "z grad_x"), ("inverse_vjp", "x grad_z")])
def test_bad_cotangents(flow, method, names):
    point, gradient = names.split()
    call = getattr(flow, method)
    for bad in (np.zeros((6, 2)), np.zeros((7, 3)), np.zeros(7)):
        with pytest.raises(ValueError, match=rf"{gradient} must have shape \(7, 2\), got {re.escape(str(bad.shape))}|"):
            call(POINTS, bad, None)
    for bad in (np.zeros(6), np.zeros((7, 1)), 1.0):
        with pytest.raises(ValueError, match=r"grad_log_det must have shape \(7,\), got"):
            call(POINTS, None, bad)
    with pytest.raises(TypeError, match=f"{gradient} must be an array of real numbers"):
        call(POINTS, "no", None)
    with pytest.raises(TypeError, match="missing the argument 'grad_log_det'"):
        call(POINTS, None)
    with pytest.raises(TypeError, match="unexpected keyword argument 'grad'"):
        call(POINTS, None, None, grad=1)
    with pytest.raises(TypeError, match=f"multiple values for argument '{point}'"):
        call(POINTS, None, None, **{point: POINTS})
    nothing, gradient = call(POINTS, None, None)
    assert not nothing.any() and not gradient.any()


BAD_LAYERS = {
    "no dimensions": (dict(data_dim=0), ValueError, "data_dim must be at least 1, got 0"),
    "fractional dimensions": (dict(data_dim=2.0), TypeError, "data_dim must be an integer, got 2.0"),
    "boolean dimensions": (dict(data_dim=True), TypeError, "data_dim must be an integer, got True"),
    "too many dimensions": (dict(data_dim=10**30), ValueError, "data_dim must be at most"),
    "no units": (dict(hidden_dim=0), ValueError, "hidden_dim must be at least 1, got 0"),
    "negative units": (dict(hidden_dim=(4, -1)), ValueError, "hidden_dim must be at least 1, got -1"),
    "text for units": (dict(hidden_dim="64"), TypeError, "hidden_dim must be an integer or a sequence"),
    "fractional units": (dict(hidden_dim=1.5), TypeError, "hidden_dim must be an integer, got 1.5"),
    "long mask": (dict(mask=[1, 0, 1]), ValueError, "mask must have shape (2,), got (3,)"),
    "flat mask": (dict(mask=1), ValueError, "mask must have shape (2,), got ()"),
    "square mask": (dict(mask=[[1, 0]]), ValueError, "mask must have shape (2,), got (1, 2)"),
    "mask of twos": (dict(mask=[2, 0]), ValueError, "mask must hold only 0 and 1"),
    "mask of halves": (dict(mask=[0.5, 1]), ValueError, "mask must hold only 0 and 1"),
    "mask of nan": (dict(mask=[np.nan, 1]), ValueError, "mask must hold only 0 and 1"),
    "mask of text": (dict(mask=["1", "0"]), TypeError, "mask must hold numbers"),
    "activation": (dict(activation="gelu"), ValueError, "activation must be one of 'relu', 'tanh', 'silu', got 'gelu'"),
    "scale": (dict(scale=None), ValueError, "scale must be one of 'exp', 'tanh', got None"),
    "zero bound": (dict(scale_bound=0), ValueError, "scale_bound must be finite and > 0, got 0"),
    "infinite bound": (dict(scale_bound=np.inf), ValueError, "scale_bound must be finite and > 0, got inf"),
    "text for a bound": (dict(scale_bound="2"), TypeError, "scale_bound must be a real number, got '2'"),
    "dtype": (dict(dtype="float16"), ValueError, "dtype must be float32 or float64, got 'float16'"),
    "no dtype": (dict(dtype=None), ValueError, "dtype must be float32 or float64, got None"),
    "negative seed": (dict(random_state=-1), ValueError, "random_state must be at least 0, got -1"),
    "text for a seed": (dict(random_state="0"), TypeError, "random_state must be None, an integer >= 0"),
}


@pytest.mark.parametrize("bad", BAD_LAYERS)
def test_bad_layers(bad):
    arguments, error, message = BAD_LAYERS[bad]
    with pytest.raises(error, match=re.escape(message)):
        nvpflow.CouplingLayer(**{"data_dim": 2, **arguments})


@pytest.mark.parametrize("mask", [[True, False], (1.0, 0.0), np.array([1, 0], "int8"), np.array([1, 0], ">f8")])
def test_mask_types(mask):
    assert nvpflow.CouplingLayer(2, mask=mask).mask.tolist() == [1, 0]


def test_bad_flows():
    layer = nvpflow.CouplingLayer(2)
    for bad, error, message in (
        ([], ValueError, "at least one layer"),
        ([layer, "layer"], TypeError, "layers[1] must be a layer, got 'layer'"),
        (None, TypeError, "layers[0] must be a layer, got None"),
        ([layer, layer], ValueError, "layers[1] already belongs to a flow: use layers[1].copy()"),
        ([layer, nvpflow.ActNorm(3)], ValueError, "agree in data_dim: layers[0] has 2, layers[1] has 3"),
        ([layer, nvpflow.ActNorm(2, dtype="float64")], ValueError, "agree in dtype"),
    ):
        with pytest.raises(error, match=re.escape(message)):
            nvpflow.Flow(bad)
    flow = nvpflow.Flow([layer])  # none of them took the layer
    with pytest.raises(ValueError, match="already belongs to a flow"):
        nvpflow.Flow([layer])
    nvpflow.Flow([layer.copy()])
    np.testing.assert_array_equal(flow.parameters, layer.parameters)


def test_parameter_views(flow):
    view = flow.parameters
    view.shape = (1, -1)
    assert flow.parameters.ndim == 1
    with pytest.raises(AttributeError):
        flow.parameters = np.zeros(3)
    layer = flow.layers[0]
    old = layer.s_net[0].weight[0, 0]
    layer.s_net[0].weight[0, 0] = 5
    assert flow.parameters[0] == 5
    flow.parameters[0] = old
    assert layer.s_net[0].weight[0, 0] == old


def test_view_outlives_flow():
    parameters = make_flow("float32").parameters
    gc.collect()
    parameters += 1
    assert np.isfinite(parameters).all()


def test_missing_or_repeated_init():
    class Forgetful(nvpflow.Flow):
        def __init__(self):
            pass

    flow = Forgetful()
    for use in (lambda: flow.log_prob(POINTS), lambda: flow.forward(POINTS), lambda: flow.parameters,
                lambda: flow.sample(3), lambda: flow.nll(POINTS)):  # fmt: skip
        with pytest.raises(RuntimeError, match="__init__ was not called"):
            use()
    with pytest.raises(RuntimeError, match="cannot be initialised twice"):
        flow = make_flow("float32")
        flow.__init__([nvpflow.ActNorm(2)])


BAD_STATES = {
    "missing": (lambda s: s.pop("1.b_net.2.bias"), "misses 'b_net.2.bias'"),
    "unknown": (lambda s: s.update({"0.t_net.0.weight": 0}), "is not of the form"),
    "one more": (lambda s: s.update({"0.s_net.4.weight": np.zeros((2, 2))}), "has the unknown 's_net.4.weight'"),
    "layer": (lambda s: s.update({"7.log_scale": np.zeros(2)}), "layers [7], the flow has 4 layers"),
    "shape": (lambda s: s.update({"0.s_net.0.weight": np.zeros((8, 3))}), "must have shape (8, 2), got (8, 3)"),
    "text": (lambda s: s.update({"0.s_net.0.bias": np.array(["a"] * 8)}), "must hold real numbers"),
}


@pytest.mark.parametrize("bad", BAD_STATES)
def test_bad_state_dicts(flow, bad):
    spoil, message = BAD_STATES[bad]
    state = {name: array + 1 for name, array in flow.state_dict().items()}
    spoil(state)
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        flow.load_state_dict(state)


def test_from_state_dict():
    flow = nvpflow.Flow([nvpflow.CouplingLayer(3, (8, 4), [i % 2, 1, 0], scale="exp") for i in range(2)])
    masks = [layer.mask for layer in flow.layers]
    state = flow.state_dict()
    for read in (
        nvpflow.Flow.from_state_dict(state, masks=masks),
        nvpflow.Flow.from_state_dict({f"layers.{name}": array for name, array in state.items()}, masks=masks),
        nvpflow.Flow.from_state_dict(state | {f"{i}.mask": mask for i, mask in enumerate(masks)}),
    ):
        points = np.random.RandomState(0).normal(size=(20, 3))
        np.testing.assert_array_equal(read.log_prob(points), flow.log_prob(points))
    with pytest.raises(ValueError, match="masks must have one entry for each of 2 layers, got 1"):
        nvpflow.Flow.from_state_dict(state, masks=masks[:1])
    with pytest.raises(ValueError, match=r"must have layers 0, 1, ..., got \[\]"):
        nvpflow.Flow.from_state_dict({})


BAD_FITS = {
    "nan": (dict(x=[[0.0, np.nan]]), ValueError, "x must be finite in float32, got NaN or infinity in 1 of 1 rows"),
    "too large": (dict(x=[[0.0, 1e300]]), ValueError, "x must be finite in float32"),
    "empty": (dict(x=np.zeros((0, 2))), ValueError, "x must have shape (n, 2) with n >= 1, got (0, 2)"),
    "complex": (dict(x=POINTS * 1j), TypeError, "x must be an array of real numbers"),
    "validation": (dict(validation_data=np.zeros((3, 1))), ValueError, "validation_data must have shape (n, 2)"),
    "max_iter": (dict(max_iter=-1), ValueError, "max_iter must be at least 0, got -1"),
    "batch_size": (dict(batch_size=0), ValueError, "batch_size must be at least 1, got 0"),
    "learning_rate": (dict(learning_rate=0), ValueError, "learning_rate must be finite and > 0, got 0"),
    "schedule": (dict(schedule="linear"), ValueError, "schedule must be one of 'constant', 'cosine', got 'linear'"),
    "final_fraction": (dict(final_fraction=1), ValueError, "final_fraction must be finite and >= 0 and < 1, got 1"),
    "warmup": (dict(warmup=-1), ValueError, "warmup must be at least 0, got -1"),
    "warmup share": (dict(warmup=1.5), ValueError, "warmup must be finite and >= 0 and < 1, got 1.5"),
    "warmup text": (dict(warmup="1"), TypeError, "warmup must be an integer, got '1'"),
    "max_grad_norm": (dict(max_grad_norm=0), ValueError, "max_grad_norm must be finite and > 0, got 0"),
    "weight_decay": (dict(weight_decay=-0.1), ValueError, "weight_decay must be finite and >= 0, got -0.1"),
    "average": (dict(average=1.0), ValueError, "average must be finite and >= 0 and < 1, got 1.0"),
    "validate_every": (dict(validate_every=0), ValueError, "validate_every must be at least 1, got 0"),
    "pause_after": (dict(pause_after=0), ValueError, "pause_after must be at least 1, got 0"),
    "noise": (dict(noise=-1.0), ValueError, "noise must be finite and >= 0, got -1.0"),
    "noise for three": (dict(noise=[1, 1, 1]), ValueError, "noise must be a number or have shape (2,), got (3,)"),
    "patience": (dict(n_iter_no_change=0), ValueError, "n_iter_no_change must be at least 1, got 0"),
    "tol": (dict(tol=np.nan), ValueError, "tol must be finite and >= 0, got nan"),
    "callback": (dict(callback=3), TypeError, "callback must be callable, got 3"),
}


@pytest.mark.parametrize("bad", BAD_FITS)
def test_bad_fits(flow, bad):
    arguments, error, message = BAD_FITS[bad]
    with pytest.raises(error, match=re.escape(message)):
        flow.fit(**{"x": POINTS, "max_iter": 3, **arguments})


def test_exception_in_callback():
    flow = make_flow("float32")

    def fail(epoch, train_nll, validation_nll):
        raise KeyError("of mine")

    with pytest.raises(KeyError, match="of mine"):
        flow.fit(POINTS, max_iter=5, callback=fail)
    assert np.isfinite(flow.log_prob(POINTS)).all()


def test_divergence_warns_and_restores():
    flow = nvpflow.Flow([nvpflow.CouplingLayer(2, 8, [i % 2, 1 - i % 2], scale="exp", random_state=i) for i in range(4)])
    with pytest.warns(nvpflow.ConvergenceWarning, match="training diverged"):
        flow.fit(POINTS, max_iter=300, learning_rate=30.0)
    assert np.isfinite(flow.parameters).all() and np.isfinite(flow.nll(POINTS))


BAD_ESTIMATORS = {
    "n_layers": (dict(n_layers=0), ValueError, "n_layers must be at least 1, got 0"),
    "hidden_dim": (dict(hidden_dim=-3), ValueError, "hidden_dim must be at least 1, got -3"),
    "coupling": (dict(coupling="softplus"), ValueError, "coupling must be one of"),
    "max_iter": (dict(max_iter=0), ValueError, "max_iter must be at least 1, got 0"),
    "batch_size": (dict(batch_size=1.5), TypeError, "batch_size must be an integer, got 1.5"),
    "fraction": (dict(validation_fraction=1.0), ValueError, "validation_fraction must be finite and > 0 and < 1"),
    "noise": (dict(noise=-0.1), ValueError, "noise must be finite and >= 0, got -0.1"),
    "dtype": (dict(dtype=int), ValueError, "dtype must be float32 or float64"),
    "n_jobs": (dict(n_jobs=0), ValueError, "n_jobs must not be 0"),
    "random_state": (dict(random_state=-5), ValueError, "random_state must be at least 0, got -5"),
}


@pytest.mark.parametrize("bad", BAD_ESTIMATORS)
def test_bad_estimators(bad):
    parameters, error, message = BAD_ESTIMATORS[bad]
    model = nvpflow.FlowDensity(max_iter=3, random_state=0).fit(POINTS)
    expected = model.score_samples(POINTS)
    model.set_params(**parameters)
    with pytest.raises(error, match=re.escape(message)):
        model.fit(POINTS)
    np.testing.assert_array_equal(model.score_samples(POINTS), expected)


BAD_DATA = {
    "one row": (POINTS[:1], ValueError, "X has 1 sample(s) (shape=(1, 2)) while a minimum of 2 is required"),
    "one point": (POINTS[0], ValueError, "X must have shape (n, D), got (2,). Reshape your data"),
    "no features": (np.zeros((5, 0)), ValueError, "X has 0 feature(s) (shape=(5, 0)) while a minimum of 1 is required"),
    "nan": (np.array([[0, 1], [1, np.nan]]), ValueError, "X must be finite in float32, got NaN or infinity"),
    "text": (POINTS.astype(str), TypeError, "X must be an array of real numbers, got dtype <U"),
    "constant": (np.array([[0, 1], [1, 1], [3, 1.0]]), ValueError, "X must have no constant column, got one in column(s) 1"),
}


@pytest.mark.parametrize("bad", BAD_DATA)
def test_bad_data(bad):
    data, error, message = BAD_DATA[bad]
    model = nvpflow.FlowDensity(max_iter=3)
    with pytest.raises(error, match=re.escape(message)):
        model.fit(data)
    assert not hasattr(model, "flow_")


def test_nearly_constant_columns_warn():
    data = np.random.RandomState(0).normal(size=(50, 2)) + [0, 1e6]
    with pytest.warns(UserWarning, match=r"column\(s\) 1 of X vary by less than .* use dtype=float64"):
        nvpflow.FlowDensity(max_iter=2).fit(data)
    nvpflow.FlowDensity(max_iter=2, dtype="float64").fit(data)


def test_estimator_before_and_after_fit():
    model = nvpflow.FlowDensity(max_iter=3, random_state=0)
    for use in (model.score_samples, model.score, model.transform, model.inverse_transform):
        with pytest.raises(nvpflow.NotFittedError, match="call fit first"):
            use(POINTS)
    with pytest.raises(nvpflow.NotFittedError):
        model.save("nowhere.npz")
    with pytest.raises(ValueError, match="Invalid parameter 'layers' for FlowDensity; valid parameters are activation"):
        model.set_params(layers=3)
    model.fit(POINTS)
    with pytest.raises(ValueError, match="X has 3 features, but FlowDensity is expecting 2 features as input"):
        model.score_samples(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="n_samples must be at least 0, got -1"):
        model.sample(-1)
    np.testing.assert_array_equal(model.sample(3), model.sample(3))
    np.testing.assert_allclose(model.inverse_transform(model.transform(POINTS)), POINTS, atol=1e-4)


def test_one_dimension():
    data = np.random.RandomState(0).normal(3, 2, size=(300, 1))
    model = nvpflow.FlowDensity(n_layers=2, max_iter=30, random_state=0).fit(data)
    assert -model.score(data) < 0.5 * np.log(2 * np.pi * np.e * 4) + 0.2  # the entropy of N(3, 4)
    with pytest.raises(ValueError, match=re.escape("x.reshape(-1, 1)")):
        model.flow_.log_prob(data[:, 0])


def test_errors_do_not_leak():
    flow = make_flow("float32")
    bad = np.zeros((5, 3))
    counts = []
    for _ in range(3):
        for _ in range(500):
            for call in (flow.log_prob, flow.forward, flow.nll_and_grad):
                with pytest.raises(ValueError):
                    call(bad)
            with pytest.raises(ValueError):
                flow.forward_vjp(POINTS, POINTS, np.zeros(3))
        gc.collect()
        counts.append((sys.getrefcount(bad), sys.getrefcount(POINTS), sys.getrefcount(flow)))
    assert counts[0] == counts[1] == counts[2]


CONSTANT = {
    "all": np.ones((10, 2)),
    "one column": np.column_stack([np.arange(10.0), np.ones(10)]),
    "two rows": np.ones((2, 3)),
    "one dimension": np.zeros((50, 1)),
}


@pytest.mark.parametrize("data", CONSTANT)
@pytest.mark.parametrize("options", [{}, {"validation_fraction": None}, {"base": "normal"}, {"base": "normal", "n_init": 2}])
@pytest.mark.parametrize("estimator", [nvpflow.FlowDensity, nvpflow.FlowOutlierDetector])
def test_constant_samples(estimator, options, data):
    model = estimator(max_iter=2, random_state=0, **options)
    with pytest.raises(ValueError, match="^X must have no constant column"):
        model.fit(CONSTANT[data])
    assert vars(model).keys() == model.get_params().keys()


def test_constant_samples_in_partial_fit():
    with pytest.raises(ValueError, match="^X must have no constant column"):
        nvpflow.FlowDensity().partial_fit(np.ones((10, 2)))
