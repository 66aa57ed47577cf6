"""Samples that say too little: weights that are nearly all zero, as few as D + 2 of them, constant columns."""

import numpy as np
import pytest

import nvpflow
from nvpflow._training.dataset import Data, check_data
from nvpflow._training.degenerate import evened_out
from nvpflow._training.statistics import effective_size
from support.estimators import make

both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
dimensions = pytest.mark.parametrize("dim", [1, 2, 10])
N = 300


def particles(dim, n=N):
    return np.random.default_rng(dim).normal(size=(n, dim)) + 0.5


def check(model, x, **arguments):
    """Without a warning, which would be an error, densities of all particles and samples are finite."""
    model.fit(x, **arguments)
    assert np.isfinite(model.score_samples(x)).all()
    samples = model.sample(100, random_state=0)
    assert np.isfinite(samples).all() and np.isfinite(model.score_samples(samples)).all()


WEIGHTS = {
    "one is all": lambda n, dim: np.r_[1, np.full(n - 1, 1e-12)],
    "one is all, others underflow": lambda n, dim: np.r_[1, np.full(n - 1, 1e-300)],
    "one underflows beside the others": lambda n, dim: np.r_[5e-324, np.linspace(0.5, 1, n - 1)],
    "D + 2 are not zero": lambda n, dim: np.r_[np.geomspace(1, 1e-6, dim + 2), np.zeros(n - dim - 2)],
    "exponential": lambda n, dim: np.exp(-5.0 * np.arange(n)),
    "log-normal": lambda n, dim: np.exp(8 * np.random.default_rng(0).normal(size=n)),
}


@both_dtypes
@dimensions
@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_are_nearly_all_zero(name, dim, dtype):
    for base in ("auto", "normal"):
        check(make(dtype=dtype, base=base), particles(dim), sample_weight=WEIGHTS[name](N, dim))


@both_dtypes
@dimensions
def test_few_particles(dim, dtype):
    x = particles(dim, dim + 2)
    for base in ("auto", "normal"):
        check(make(dtype=dtype, base=base), x)
        check(make(dtype=dtype, base=base), x, sample_weight=np.random.default_rng(0).uniform(size=dim + 2) ** 8)


@pytest.mark.parametrize("weight, least", [
    (np.r_[1, np.full(99, 1e-9)], 5), (np.r_[1, np.full(3, 1e-9)], 2), (np.r_[1, 0.5, np.full(98, 1e-3)], 5),
])  # fmt: skip
def test_least_effective_number(weight, least):
    data = Data(particles(3, len(weight)), None, weight)
    found = evened_out(data)
    assert effective_size(data) < least
    assert effective_size(found) == pytest.approx(least, rel=1e-6)
    assert (np.argsort(found.weight, kind="stable") == np.argsort(weight, kind="stable")).all()


def test_other_weights_stay():
    weight = np.random.default_rng(0).uniform(size=N)
    assert evened_out(Data(particles(2), None, weight)).weight is weight
    counts = np.r_[1000, np.ones(4)]  # are rows, as many as they count
    np.testing.assert_array_equal(len(check_data(particles(3, 5), None, counts, np.dtype("float32"), 2).x), 1004)


@both_dtypes
@dimensions
@pytest.mark.parametrize("constant", [0.0, -7.5, 1e5])
def test_constant_columns(constant, dim, dtype):
    x = particles(dim)
    x[:, 0] = constant
    for options in ({}, {"base": "normal"}, {"n_models": 2}) if dim < 10 else ({},):
        model = make(dtype=dtype, constant_columns="narrow", **options)
        check(model, x)
        spread = 1e-3 * (abs(constant) or 1)
        assert np.abs(model.sample(500, random_state=0)[:, 0] - constant).max() < 8 * spread
        off = x[:1].copy()
        off[0, 0] += 10 * spread
        assert model.score_samples(x[:1]) > model.score_samples(off) + 5


def test_all_columns_constant_and_some_with_bounds():
    x = np.full((50, 3), [2.0, 0.25, -1.0])
    model = make(constant_columns="narrow", support=["positive", "unit", "real"])
    check(model, x)
    np.testing.assert_allclose(model.sample(100, random_state=0), x[:1].repeat(100, axis=0), rtol=0.05)


def test_constant_columns_with_weights_and_a_context_and_pieces():
    x, context = particles(2), particles(1)
    x[:, 1] = 3
    model = make(constant_columns="narrow").fit(x, context=context, sample_weight=np.random.default_rng(0).uniform(size=N))
    assert np.isfinite(model.score_samples(x, context=context)).all()
    piece = make(constant_columns="narrow").partial_fit(x)
    assert np.isfinite(piece.score_samples(x)).all()


def test_constant_columns_are_an_error_by_default():
    x = particles(2)
    x[:, 1] = 3
    with pytest.raises(
        ValueError,
        match=r"constant column, got one in column\(s\) 1: .*Leave it out, or allow it by constant_columns='narrow'",
    ):
        make().fit(x)


def test_other_columns_change_nothing():
    """Without a constant column the parameter has no effect."""
    x = particles(2)
    models = [make(constant_columns=value).fit(x) for value in ("error", "narrow")]
    np.testing.assert_array_equal(*(model.score_samples(x) for model in models))


def test_detector():
    x = particles(2)
    x[:, 1] = 3
    assert (make(nvpflow.FlowOutlierDetector, constant_columns="narrow").fit(x).predict(x) == 1).mean() > 0.5
