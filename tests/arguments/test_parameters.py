"""Every argument with every invalid value: an error that names it, even where other arguments make it unused."""

import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import nvpflow
from nvpflow import datasets
from nvpflow._validation.arguments import shown

R = nvpflow.FlowDensity
X = np.random.default_rng(0).normal(size=(40, 2)).astype("float32")

# Odd values, and the kinds of argument that take them.
ODD = {
    "nan": (np.nan, ()),
    "infinity": (np.inf, ()),
    "minus one": (-1, ("jobs",)),
    "bool": (True, ("bool",)),
    "numpy bool": (np.True_, ("bool",)),
    "text": ("1", ()),
    "text of a choice": ("no", ()),
    "none": (None, ("none",)),
    "numpy float": (np.float64(0.5), ("share", "real", "warmup")),
    "array of no dimensions": (np.array(1), ()),
    "array of one number": (np.ones(1), ()),
    "huge": (10**400, ("seed",)),
    "digits that Python does not write": (10**5000, ("seed",)),
    "decimal": (Decimal("0.5"), ()),
    "fraction": (Fraction(1, 2), ("share", "real")),
    "complex": (0.5 + 0j, ()),
    "numpy complex": (np.complex64(0.5), ()),
    "duration": (np.timedelta64(1, "s"), ()),
    "list": ([], ("widths",)),
    "dict": ({}, ("support",)),
    "class": (int, ("callback",)),
}
KINDS = {
    "n_layers": "int none", "hidden_dim": "widths", "activation": "choice", "coupling": "choice", "scale_bound": "real none",
    "n_bins": "int none", "tail_bound": "real none", "base": "choice", "standardize": "bool", "n_init": "int",
    "n_models": "int", "max_iter": "int none", "time_limit": "real none",
    "batch_size": "int none", "learning_rate": "real none", "schedule": "choice", "warmup": "warmup", "average": "share",
    "noise": "real", "validation_fraction": "share none", "n_iter_no_change": "int none", "tol": "real",
    "warm_start": "bool", "support": "support none", "context_support": "support none", "missing": "choice", "latent": "choice", "constant_columns": "choice", "dtype": "dtype", "n_jobs": "jobs none", "verbose": "int bool", "random_state": "seed none",
}  # fmt: skip
CONFIGURATIONS = {
    "splines": {},
    "others unused": dict(coupling="affine", scale_bound=None, validation_fraction=None, n_iter_no_change=None, base="normal", schedule="constant"),
}  # fmt: skip


def unfit(kind):
    """The values that an argument of this kind rejects."""
    return [value for value, also in ODD.values() if not set(kind.split()) & set(also)]


def test_table_is_complete():
    assert KINDS.keys() == R().get_params().keys()
    assert R._parameter_checks.keys() | {"dtype"} == KINDS.keys()


@pytest.mark.parametrize("others", CONFIGURATIONS)
@pytest.mark.parametrize("name", KINDS)
def test_invalid_parameters(name, others):
    for odd in unfit(KINDS[name]):
        model = R(**{"max_iter": 2, **CONFIGURATIONS[others], name: odd})
        for fit in (model.fit, model.partial_fit):
            with pytest.raises((TypeError, ValueError), match=rf"^{name}(\[.*\])? must ") as caught:
                fit(X)
            assert len(str(caught.value)) < 300
        assert vars(model).keys() == model.get_params().keys()


@pytest.mark.parametrize("wrong, error, message", [
    (dict(validation_fraction=7), ValueError,
     "validation_fraction must be finite and > 0 and < 1, got 7"),
    (dict(scale_bound=-5, coupling="spline"), ValueError, "scale_bound must be finite and > 0, got -5"),
    (dict(tail_bound=-5, coupling="affine", scale_bound=None), ValueError, "tail_bound must be finite and > 0, got -5"),
    (dict(n_bins=65, coupling="affine"), ValueError, "n_bins must be at most 64, got 65"),
    (dict(standardize="yes"), TypeError, "standardize must be True or False, got 'yes'"),
    (dict(warm_start="no"), TypeError, "warm_start must be True or False, got 'no'"),
    (dict(standardize=1), TypeError, "standardize must be True or False, got 1"),
    (dict(n_iter_no_change=0, validation_fraction=None), ValueError, "n_iter_no_change must be at least 1, got 0"),
    (dict(scale_bound=1e39), ValueError, "scale_bound must be from 1.18e-38 to 8.51e+37 in float32, got 1e+39"),
    (dict(tail_bound=3e38), ValueError, "tail_bound must be from 1.08e-19 to 1.84e+19 in float32, got 3e+38"),
    (dict(learning_rate=1e-50), ValueError, "learning_rate must be finite and > 0 in float32, got 1e-50"),
    (dict(noise=1e39), ValueError, "noise must be finite and >= 0 in float32, got 1e+39"),
    (dict(tol=1e39), ValueError, "tol must be finite and >= 0 in float32, got 1e+39"),
    (dict(batch_size="all"), ValueError, "batch_size must be an integer, 'auto' or None, got 'all'"),
    (dict(n_jobs=0), ValueError, "n_jobs must not be 0"),
    (dict(hidden_dim=iter([8])), TypeError, "hidden_dim must be an integer or a sequence of integers, got <list_iterator"),
    (dict(hidden_dim={8, 4}), TypeError, "hidden_dim must be an integer or a sequence of integers, got {4, 8}"),
])  # fmt: skip
def test_messages(wrong, error, message):
    for estimator in (R(max_iter=2, **wrong), nvpflow.FlowOutlierDetector(max_iter=2, **wrong)):
        with pytest.raises(error, match=re.escape(message)):
            estimator.fit(X)


@pytest.mark.parametrize("odd", ODD)
def test_invalid_contamination(odd):
    value, _ = ODD[odd]
    if odd in ("numpy float", "fraction"):
        assert np.isfinite(nvpflow.FlowOutlierDetector(contamination=value, max_iter=2).fit(X).offset_)
        return
    with pytest.raises((TypeError, ValueError), match="^contamination must "):
        nvpflow.FlowOutlierDetector(contamination=value, max_iter=2).fit(X)


@pytest.mark.parametrize("right", [
    dict(n_layers=np.int8(2)), dict(hidden_dim=np.array([4, 4])), dict(hidden_dim=range(3, 5)), dict(hidden_dim=()),
    dict(learning_rate=np.float32(1e-3)), dict(noise=Fraction(1, 3)), dict(standardize=np.False_), dict(verbose=False),
    dict(warmup=np.float32(0.1)), dict(warmup=3), dict(average=1 - 1e-12), dict(tol=1e-50), dict(random_state=2**64),
    dict(random_state=np.random.SeedSequence(1)), dict(dtype=np.float64, scale_bound=1e39, tail_bound=3e38),
    dict(validation_fraction=1e-50),
])  # fmt: skip
def test_valid_values(right):
    model = R(**{"max_iter": 2, "n_layers": 2, "hidden_dim": 4, **right}).fit(X)
    assert np.isfinite(model.score(X))


# Layers


LAYERS = {
    nvpflow.CouplingLayer: {"data_dim": "int", "hidden_dim": "widths", "activation": "choice", "networks": "choice",
                            "scale": "choice", "scale_bound": "real", "context_dim": "int", "dtype": "dtype",
                            "random_state": "seed none"},
    nvpflow.SplineCoupling: {"data_dim": "int", "hidden_dim": "widths", "n_bins": "int", "tail_bound": "real",
                             "random_state": "seed none"},
    nvpflow.AdditiveCoupling: {"data_dim": "int", "context_dim": "int", "dtype": "dtype"},
    nvpflow.ActNorm: {"data_dim": "int", "dtype": "dtype"},
    nvpflow.LULinear: {"data_dim": "int", "dtype": "dtype"},
    nvpflow.Permutation: {"data_dim": "int", "random_state": "seed none"},
}  # fmt: skip


@pytest.mark.parametrize("layer, name", [(layer, name) for layer, kinds in LAYERS.items() for name in kinds])
def test_invalid_layer_arguments(layer, name):
    for odd in unfit(LAYERS[layer][name]):
        with pytest.raises((TypeError, ValueError), match=rf"^{name} must "):
            layer(**{"data_dim": 2, name: odd})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_bounds(dtype):
    """Just inside of their range, densities and gradients are finite; just outside, there is an error."""
    info = np.finfo(dtype)
    for layer, name, low, high in (
        (nvpflow.CouplingLayer, "scale_bound", float(info.tiny), float(1 / info.tiny)),
        (nvpflow.SplineCoupling, "tail_bound", float(np.sqrt(info.tiny)), float(np.sqrt(info.max))),
    ):

        def make(bound):
            return layer(2, 4, dtype=dtype, random_state=0, **{name: bound})

        for bound in (low, 2 * low, high / 2, high):
            nll, grad = nvpflow.Flow([make(bound)]).nll_and_grad([[0.1, -0.2], [0.3, 0.4]])
            assert np.isfinite(nll) and np.isfinite(grad).all()
        for bound in (0.99 * low, 1.01 * high):
            with pytest.raises(ValueError, match=f"^{name} must be from .* in {dtype}, got"):
                make(bound)


def test_unused_bound_is_checked():
    with pytest.raises(ValueError, match="scale_bound must be from"):
        nvpflow.CouplingLayer(2, scale="exp", scale_bound=1e39)


# Training


FIT = {
    "max_iter": "int", "batch_size": "int none", "learning_rate": "real", "schedule": "choice", "final_fraction": "share",
    "warmup": "warmup", "max_grad_norm": "real none", "weight_decay": "real", "average": "share", "validate_every": "int",
    "n_iter_no_change": "int none", "tol": "real", "random_state": "seed none", "pause_after": "int none",
    "callback": "callback none",
    "state": "none",
}  # fmt: skip


def small_flow(dtype="float32"):
    return nvpflow.Flow([nvpflow.CouplingLayer(2, 4, dtype=dtype, random_state=0)])


@pytest.mark.parametrize("name", FIT)
def test_invalid_fit_arguments(name):
    flow = small_flow()
    before = flow.parameters.copy()
    for odd in unfit(FIT[name]):
        with pytest.raises((TypeError, ValueError), match=rf"^{name} must "):
            flow.fit(X, **{"max_iter": 1, name: odd})
    np.testing.assert_array_equal(flow.parameters, before)


@pytest.mark.parametrize("wrong", [
    dict(learning_rate=1e39), dict(learning_rate=1e-50), dict(max_grad_norm=1e39), dict(max_grad_norm=1e-50),
    dict(weight_decay=1e39), dict(tol=1e39), dict(noise=1e39), dict(noise=[0.1, 1e39]),
])  # fmt: skip
def test_float32_overflow_in_fit(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"^{name} must be finite.* in float32, got"):
        small_flow().fit(X, max_iter=1, **wrong)
    if np.ndim(value) == 0 and value < 1:
        assert np.isfinite(small_flow("float64").fit(X, max_iter=1, **wrong)["train_nll"]).all()


@pytest.mark.parametrize(
    "noise", ["1", True, [1 + 0j] * 2, np.nan, [0.1, -0.1], [[0.1, 0.1]], np.ma.array([0.1, 0.1], mask=[0, 1])]
)
def test_invalid_noise(noise):
    with pytest.raises((TypeError, ValueError), match="^noise must "):
        small_flow().fit(X, max_iter=1, noise=noise)


# Adam


ADAM = {"learning_rate": "real", "beta_1": "share", "beta_2": "share", "epsilon": "real"}


@pytest.mark.parametrize("name", ADAM)
def test_invalid_adam_arguments(name):
    for odd in unfit(ADAM[name]):
        with pytest.raises((TypeError, ValueError), match=rf"^{name} must "):
            nvpflow.Adam(np.ones(3), **{name: odd})


@pytest.mark.parametrize("wrong", [dict(epsilon=0), dict(epsilon=1e-50), dict(learning_rate=1e-50), dict(learning_rate=1e39),
                                   dict(beta_1=1), dict(beta_2=2), dict(beta_2=1.0)])  # fmt: skip
def test_adam_in_float32(wrong):
    ((name, _),) = wrong.items()
    with pytest.raises(ValueError, match=f"^{name} must be finite"):
        nvpflow.Adam(np.ones(3, "float32"), **wrong)


@pytest.mark.parametrize("dtype, epsilon", [("float32", 1e-37), ("float32", 1e-8), ("float64", 1e-50)])
def test_adam_with_zero_gradient(dtype, epsilon):
    parameters = np.ones(3, dtype)
    adam = nvpflow.Adam(parameters, learning_rate=0.1, epsilon=epsilon)
    adam.step([0.0, 1.0, -1.0])
    np.testing.assert_allclose(parameters, [1, 0.9, 1.1], rtol=1e-6)


def test_adam_attributes_are_checked():
    adam = nvpflow.Adam(np.ones(3, "float32"))
    for bad in (np.nan, 0, -1, 1e-50):
        with pytest.raises(ValueError, match="^learning_rate must be"):
            adam.learning_rate = bad
    for name in ("beta_1", "beta_2", "epsilon"):
        with pytest.raises(AttributeError):
            setattr(adam, name, 2)
    assert (adam.learning_rate, adam.beta_1, adam.beta_2, adam.epsilon) == (1e-3, 0.9, 0.999, 1e-8)


@pytest.mark.parametrize("grad, error, message", [
    ([1j, 0, 0], TypeError, "grad must be an array of real numbers, got dtype complex128"),
    (["1", "2", "3"], TypeError, "grad must be an array of real numbers, got dtype <U1"),
    (None, TypeError, "grad must be an array of real numbers"),
    (1.0, ValueError, "grad must have shape (3,), got ()"),
    ([1, 2], ValueError, "grad must have shape (3,), got (2,)"),
    ([1, np.nan, 0], ValueError, "grad must be finite in float32"),
    ([1, 1e300, 0], ValueError, "grad must be finite in float32"),
    (np.ma.array([1, 2, 3], mask=[0, 0, 1]), ValueError, "grad must have no masked elements"),
])  # fmt: skip
def test_invalid_gradients(grad, error, message):
    parameters = np.ones(3, "float32")
    adam = nvpflow.Adam(parameters)
    with pytest.raises(error, match=re.escape(message)):
        adam.step(grad)
    assert adam.n_steps == 0 and (parameters == 1).all()


# Mixtures and moons


@pytest.mark.parametrize("dtype, deviation, fine", [
    ("float32", 1e-45, False), ("float32", 1e-40, False), ("float32", 1e-37, True), ("float32", 1e37, True),
    ("float32", 1e38, False), ("float64", 1e-150, True), ("float64", 1e150, True),
])  # fmt: skip
def test_mixture_deviations(dtype, deviation, fine):
    arguments = [1, 2], [[0, 0], [deviation, 0]], [np.eye(2) * deviation**2] * 2
    if not fine:
        with pytest.raises(ValueError, match="weights, means and covariances must be within the range of float32"):
            nvpflow.MixtureBase(*arguments, dtype=dtype)
        return
    flow = nvpflow.Flow([nvpflow.Permutation(2, [0, 1], dtype=dtype)], nvpflow.MixtureBase(*arguments, dtype=dtype))
    unit = nvpflow.MixtureBase([1, 2], [[0, 0], [1, 0]], [np.eye(2)] * 2, dtype=dtype)
    expected = nvpflow.Flow([nvpflow.Permutation(2, [0, 1], dtype=dtype)], unit)
    z = X.astype(dtype)
    np.testing.assert_allclose(
        flow.log_prob(z * np.dtype(dtype).type(deviation)), expected.log_prob(z) - 2 * np.log(deviation), rtol=2e-5, atol=1e-4
    )


@pytest.mark.parametrize("argument", ["weights", "means", "covariances"])
@pytest.mark.parametrize("odd", ["nan", "infinity", "text", "none", "complex", "bool", "dict", "masked", "long double"])
def test_invalid_mixture_arguments(argument, odd):
    arguments = {"weights": np.ones(1), "means": np.zeros((1, 2)), "covariances": np.eye(2)[None]}
    replaced = {
        "masked": np.ma.masked_array(arguments[argument], mask=np.ones_like(arguments[argument])),
        "long double": arguments[argument] + np.longdouble("1e4000"),
    }
    value = replaced[odd] if odd in replaced else np.full(arguments[argument].shape, ODD[odd][0])
    with pytest.raises((TypeError, ValueError), match=f"^{argument} must "):
        nvpflow.MixtureBase(**{**arguments, argument: value})


@pytest.mark.parametrize("function", [datasets.moons_entropy, lambda noise: datasets.moons_log_density([[0, 1]], noise)])
def test_invalid_moons_noise(function):
    for odd in unfit("real"):
        with pytest.raises((TypeError, ValueError), match="^noise must "):
            function(odd)


@pytest.mark.parametrize("noise", [1e3, 1e20, 1e150])
def test_moons_entropy_with_large_noise(noise):
    assert datasets.moons_entropy(noise) == pytest.approx(np.log(2 * np.pi * np.e) + 2 * np.log(noise), abs=1e-5)


def test_moons_noise_out_of_range():
    with pytest.raises(ValueError, match="noise must be at most 1e150, got 1e\\+200"):
        datasets.moons_entropy(1e200)


# Seeds and messages


SEEDED = {
    "estimator": lambda seed: R(max_iter=1, random_state=seed).fit(X),
    "sample of an estimator": lambda seed: R(max_iter=1).fit(X).sample(2, random_state=seed),
    "sample": lambda seed: small_flow().sample(2, random_state=seed),
    "fit": lambda seed: small_flow().fit(X, max_iter=1, random_state=seed),
    "layer": lambda seed: nvpflow.CouplingLayer(2, 4, random_state=seed),
    "permutation": lambda seed: nvpflow.Permutation(2, random_state=seed),
    "mixture": lambda seed: nvpflow.MixtureBase([1], [[0, 0]], [np.eye(2)]).sample(2, random_state=seed),
}


@pytest.mark.parametrize("use", SEEDED)
def test_seeds(use):
    for bad in (-1, np.int64(-5), -(10**30)):
        with pytest.raises(ValueError, match="^random_state must be at least 0, got -"):
            SEEDED[use](bad)
    for bad in (True, 1.0, "0", [1], np.array(1), np.nan):
        with pytest.raises(TypeError, match="^random_state must be None, an integer >= 0, a numpy Generator"):
            SEEDED[use](bad)
    for good in (0, np.uint64(2**64 - 1), 2**64, 10**5000, np.random.SeedSequence(0)):
        SEEDED[use](good)


def test_large_seeds():
    samples = [small_flow().sample(3, random_state=seed).tobytes() for seed in (1, 2**64 + 1, 2**128 + 1)]
    assert len(set(samples)) == 3


class Loud:
    def __repr__(self):
        return "loud\n" * 10_000


@pytest.mark.parametrize("value, text", [
    (np.zeros((1000, 2)), "an array of shape (1000, 2), dtype float64"),
    (10**5000, "an integer of 16610 bits"),
    (np.array([1, 2]), "array([1, 2])"),
    ("spline", "'spline'"),
    (None, "None"),
    (0.5, "0.5"),
], ids=["array", "integer", "small array", "text", "none", "float"])  # fmt: skip
def test_shown(value, text):
    assert shown(value) == text


@pytest.mark.parametrize(
    "value",
    ["x" * 10**6, Loud(), list(range(10**5)), [[1] * 1000] * 1000, dict.fromkeys(range(999), "x" * 999), [Loud()] * 9],
    ids=["text", "object", "list", "lists", "dict", "objects"],
)
def test_shown_is_short(value):
    assert len(shown(value)) <= 203 and "\n" not in shown(value)
    for make in (lambda: nvpflow.CouplingLayer(value), lambda: nvpflow.Flow([value]), lambda: R(base=value).fit(X)):
        with pytest.raises((TypeError, ValueError)) as caught:
            make()
        assert len(str(caught.value)) < 300
