"""Latent points of estimators: of the base or normal, with log-determinants."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest, norm

import nvpflow
from support.estimators import make
from support.samples import moons

RNG = np.random.default_rng(0)
X = moons(200)
C = X[:, :1] + RNG.normal(size=(200, 1))
FEW = {"max_iter": 30}


def log_normal(z):
    return norm.logpdf(z.astype(np.float64)).sum(axis=1)


def check_normal(model, X, context=None, atol=2e-4):
    """Samples of the model become independent normal numbers, densities agree, and the way back undoes it."""
    rows = None if context is None else np.repeat(context[:1], 2000, axis=0)
    samples = model.sample(2000, random_state=1, context=rows)
    Z = model.transform(samples, context=rows)
    assert Z.dtype == model.flow_.dtype and Z.shape == samples.shape
    for column in (*Z.T, Z.sum(axis=1) / Z.shape[1] ** 0.5):
        assert kstest(column, "norm").pvalue > 1e-3
    Z, log_det = model.transform(X, context=context, return_log_det=True)
    assert log_det.dtype == np.float64 and log_det.shape == (len(X),)
    np.testing.assert_array_equal(Z, model.transform(X, context=context))
    np.testing.assert_allclose(log_normal(Z) + log_det, model.score_samples(X, context=context), rtol=0, atol=atol)
    back, log_det_back = model.inverse_transform(Z, context=context, return_log_det=True)
    assert log_det_back.dtype == np.float64
    np.testing.assert_array_equal(back, model.inverse_transform(Z, context=context))
    assert np.median(np.abs(back - X)) < 1e-4 * X.std() and np.quantile(np.abs(log_det + log_det_back), 0.9) < 0.01


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", [{}, FEW, FEW | {"base": "normal"}], ids=["average", "layers", "normal base"])
def test_normal_latent_points(options, dtype):
    model, other = (make(random_state=0, dtype=dtype, latent=latent, **options).fit(X) for latent in ("normal", "base"))
    np.testing.assert_array_equal(model.score_samples(X), other.score_samples(X))
    check_normal(model, X, atol=1e-3 if dtype == "float32" else 1e-8)


@pytest.mark.parametrize("dim", [1, 2, 10])
def test_dimensions(dim):
    table = np.random.default_rng(1).normal(size=(300, dim)) + 4 * np.random.default_rng(2).integers(2, size=(300, 1))
    check_normal(make(random_state=0, latent="normal", n_layers=3, **FEW).fit(table), table, atol=1e-3)


@pytest.mark.parametrize("base", ["mixture", "normal"])
def test_given_a_context(base):
    model = make(random_state=0, latent="normal", base=base, **FEW).fit(X, context=C)
    check_normal(model, X, C, atol=1e-3)


def test_base_that_reads_the_context():
    """Two branches that move with the context: an average of mixtures of context and samples."""
    context = RNG.uniform(-1, 1, size=(400, 1))
    table = np.where(RNG.random((400, 1)) < 0.5, context, -context) + 0.05 * RNG.normal(size=(400, 1))
    model = make(random_state=0, latent="normal", **FEW).fit(table, context=context)
    assert model.flow_.base.context_dim == 1
    check_normal(model, table, context, atol=1e-3)


def test_supports_and_weights():
    table = np.c_[np.exp(X[:, 0]), norm.cdf(X[:, 1]), X[:, 0] * X[:, 1]]
    model = make(random_state=0, latent="normal", support=["positive", "unit", "real"], **FEW)
    model.fit(table, sample_weight=RNG.uniform(size=200))
    check_normal(model, table, atol=1e-3)
    Z, log_det = model.transform([[-1.0, 0.5, 0.0]], return_log_det=True)
    assert np.isinf(Z).any() and log_det == -np.inf == model.score_samples([[-1.0, 0.5, 0.0]])


def test_offset():
    table = X + 1e6
    with pytest.warns(UserWarning, match="resolution of float32"):
        model = make(random_state=0, latent="normal", **FEW).fit(table)
    check_normal(model, table, atol=1e-3)


def test_warm_start_and_partial_fit():
    model = make(random_state=0, latent="normal", warm_start=True, **FEW).fit(X)
    moved = 5 * X + 2
    check_normal(model.fit(moved), moved, atol=1e-3)
    piece = make(random_state=0, latent="normal", base="mixture").partial_fit(X)
    check_normal(piece, X, atol=1e-3)


def test_base_is_the_default():
    model = make(random_state=0, **FEW).fit(X)
    Z, log_det = model.transform(X, return_log_det=True)
    expected = model.flow_.inverse(X)
    np.testing.assert_array_equal(Z, expected[0])
    np.testing.assert_array_equal(log_det, expected[1])
    np.testing.assert_allclose(model.flow_.base_density.log_prob(Z) + log_det, model.score_samples(X), atol=1e-4)
    back, log_det_back = model.inverse_transform(Z, return_log_det=True)
    np.testing.assert_array_equal(log_det_back, model.flow_.forward(Z)[1])
    np.testing.assert_allclose(back, X, atol=1e-4)


def test_latent_may_change_after_the_fit(tmp_path):
    model = make(random_state=0, **FEW).fit(X)
    of_base = model.transform(X)
    model.set_params(latent="normal")
    normal, _ = model.flow_.base_density.to_normal(of_base)
    np.testing.assert_array_equal(model.transform(X), normal.astype(np.float32))
    model.save(tmp_path / "model.npz")
    loaded = nvpflow.load(tmp_path / "model.npz")
    assert loaded.latent == "normal"
    np.testing.assert_array_equal(loaded.transform(X), model.transform(X))
    with pytest.raises(ValueError, match="^latent must be one of"):
        model.set_params(latent="any").transform(X)


def test_frames():
    frame = pd.DataFrame(X, columns=["a", "b"])
    model = make(random_state=0, latent="normal", **FEW).set_output(transform="pandas").fit(frame)
    Z, log_det = model.transform(frame, return_log_det=True)
    assert isinstance(Z, pd.DataFrame) and isinstance(log_det, np.ndarray)
    np.testing.assert_allclose(model.inverse_transform(Z.to_numpy()), X, atol=1e-3)


TABLE = np.c_[X[:, 0], np.arange(200) % 7]


@pytest.mark.parametrize("options, message", [
    (dict(n_models=2), "latent='normal' needs n_models=1, got n_models=2: an average of densities has no latent points"),
    (dict(support={1: "integer"}), "column(s) 1 hold whole numbers or angles"),
    (dict(support={1: nvpflow.Angle(0, 7)}), "column(s) 1 hold whole numbers or angles"),
    (dict(support={1: "category"}), "latent='normal' needs columns of real numbers, with bounds or without, and column(s) 1 hold categories"),
])  # fmt: skip
def test_densities_without_normal_latent_points(options, message):
    for fit in (nvpflow.FlowDensity.fit, nvpflow.FlowDensity.partial_fit):
        model = make(latent="normal", **FEW | options)
        if fit is nvpflow.FlowDensity.fit or "n_models" not in options:
            with pytest.raises(ValueError, match=re.escape(message)):
                fit(model, TABLE)
            assert not hasattr(model, "flow_")


def test_whole_numbers_after_the_fit():
    model = make(random_state=0, support={"b": "integer"}, **FEW).fit(pd.DataFrame(TABLE, columns=["a", "b"]))
    model.set_params(latent="normal")
    for method in (model.transform, model.inverse_transform):
        with pytest.raises(ValueError, match=re.escape("column(s) 'b' hold whole numbers or angles")):
            method(pd.DataFrame(TABLE, columns=["a", "b"]) if method == model.transform else TABLE)


@pytest.mark.parametrize("method", ["transform", "inverse_transform"])
def test_return_log_det_is_checked(method):
    model = make(random_state=0, **FEW).fit(X)
    with pytest.raises(TypeError, match="return_log_det must be True or False, got 'yes'"):
        getattr(model, method)(X, return_log_det="yes")
