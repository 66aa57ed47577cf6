"""Bounded columns that are tied to each other: their maps are nearly lines where linear ties tell more than the shape of each."""

import io

import numpy as np
import pytest

import nvpflow
from nvpflow import Angle, FlowDensity, Integer

RNG = np.random.default_rng(0)
A, B = RNG.lognormal(1, 0.5, 900), RNG.gamma(4, 1, 900)
SUMS = np.stack([A, B, A + B + 0.01 * RNG.normal(size=900)], axis=1)
PRODUCTS = np.stack([A, B, A * B * np.exp(0.01 * RNG.normal(size=900))], axis=1)
TRAINING, HELD_OUT = slice(None, 600), slice(600, None)


def fit(x, support, **parameters):
    return FlowDensity(support=support, random_state=0, **parameters).fit(x[TRAINING])


def scales_of(model):
    return np.array(model.flow_.layers[-1].scales)


@pytest.fixture(scope="module")
def of_sums():
    return fit(SUMS, ["positive"] * 3)


def test_sums_are_as_likely_as_without_bounds(of_sums):
    assert (scales_of(of_sums) < 0).all()
    free = fit(SUMS, None).score(SUMS[HELD_OUT])
    assert of_sums.score(SUMS[HELD_OUT]) > free - 0.1  # with a shape for each column by itself it is 0.6 nats below


def test_products_keep_their_logarithms():
    model = fit(PRODUCTS, ["positive"] * 3)
    assert (scales_of(model) == 0).any() and (scales_of(model) >= 0).all()
    assert model.score(PRODUCTS[HELD_OUT]) > fit(PRODUCTS, None).score(PRODUCTS[HELD_OUT]) + 0.2


def test_columns_without_a_tie_keep_their_own_shape():
    x = np.hstack([SUMS, np.random.default_rng(1).exponential(size=(900, 1)) ** 2])
    scales = scales_of(fit(x, ["positive"] * 4))
    assert (scales[:3] < 0).all() and scales[3] >= 0


def test_columns_with_two_bounds():
    share = np.stack([A, B], axis=1) / (A + B)[:, np.newaxis] * 0.9
    x = np.hstack([share, 1 - share.sum(axis=1, keepdims=True) + 0.002 * RNG.normal(size=(900, 1))])
    model = fit(x[:, 1:] + [[0, 0.2]], [(0, 1), (0, 1)])
    assert (model.sample(2000) > 0).all() and (model.sample(2000) < 1).all()
    assert np.isfinite(model.score_samples(x[HELD_OUT, 1:] + [[0, 0.2]])).all()


def test_samples_and_densities_stay_inside(of_sums):
    samples = of_sums.sample(5000, 0)
    assert (samples > 0).all() and (of_sums.score_samples([[-1e-6, 2, 2], [1, 0.5, -3]]) == -np.inf).all()
    assert np.isfinite(of_sums.score_samples([[0, 2, 2], [1e-30, 1, 1], [1e6, 1e6, 2e6]])).all()
    np.testing.assert_allclose(samples.mean(axis=0), SUMS.mean(axis=0), rtol=0.05)


def test_saved_models_are_the_same(of_sums):
    file = io.BytesIO()
    of_sums.save(file)
    file.seek(0)
    np.testing.assert_array_equal(nvpflow.load(file).score_samples(SUMS), of_sums.score_samples(SUMS))


def test_conditional_densities(of_sums):
    found = of_sums.conditional(HELD_OUT_GIVEN, 2)
    ends = found.ppf([1e-6, 1 - 1e-6])
    grid = np.linspace(ends[:, 0], ends[:, 1], 20_001, axis=1)
    p = found.pdf(grid)
    np.testing.assert_allclose(np.trapezoid(p, grid, axis=1), 1, atol=1e-4)
    np.testing.assert_allclose(np.trapezoid(p * grid, grid, axis=1), found.mean(), rtol=1e-3)
    np.testing.assert_allclose(found.mean(), HELD_OUT_GIVEN[:, :2].sum(axis=1), atol=0.03)
    np.testing.assert_allclose(found.cdf(found.ppf([0.1, 0.5])), [[0.1, 0.5]] * len(p), atol=1e-6)
    assert (found.pdf([[0.0, 1e-320, 1e-40]] * len(p)) < np.inf).all()


def test_beside_other_kinds():
    counts = RNG.poisson(5, 900)
    x = np.column_stack([SUMS, counts, RNG.uniform(0, 2 * np.pi, 900), RNG.normal(size=900)])
    model = fit(x, ["positive"] * 3 + [Integer(0), Angle(), None], max_iter=5)
    assert (scales_of(model)[:3] < 0).all() and np.isfinite(model.score(x[HELD_OUT]))
    assert np.isfinite(model.sample(500)).all()


def test_weights_and_missing_cells():
    x = SUMS.copy()
    x[::7, 0] = np.nan
    weighted = FlowDensity(support=["positive"] * 3, missing="marginalize", max_iter=5, random_state=0)
    weighted.fit(x[TRAINING], sample_weight=RNG.uniform(0.5, 2, 600))
    assert (scales_of(weighted) < 0).all()


HELD_OUT_GIVEN = np.where([True, True, False], SUMS[HELD_OUT][:20], np.nan)


def test_heaps_of_counts_beside_another_column():
    """Many components see them: on the exponential map that a count has by itself, one fit in ten missed them."""
    rng = np.random.default_rng(0)
    p = np.array([1, 1, 1, 3, 2, 6, 3, 2]) / 19
    heaps = np.where(rng.random(700) < 0.6, 0, rng.choice([1, 3, 5, 10, 15, 20, 30, 40], 700, p=p))
    x = np.column_stack([heaps, rng.normal(size=700)])[:600]
    model = FlowDensity(support=[Integer(0), None], random_state=2).fit(x)
    assert model.marginal([0]).pdf([20.0])[0] > 0.6 * np.mean(x[:, 0] == 20)
