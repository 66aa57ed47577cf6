"""Columns far from their declared bounds: the flow does not see a bound whose distance the dtype hardly resolves."""

import warnings

import numpy as np
import pytest

import nvpflow

X = np.random.default_rng(0).normal(size=(100, 1))


@pytest.mark.parametrize("support, x", [("positive", 1e9 + X), ("unit", 1 - 1e-9 * np.exp(X))])
def test_what_is_hardly_resolved_warns(support, x):
    with pytest.warns(
        UserWarning, match=r"column\(s\) 0 of X vary by less than a thousand times the resolution of float32 at"
    ):
        nvpflow.FlowDensity(support=[support], max_iter=2, random_state=0).fit(x)


@pytest.mark.parametrize(
    "support, x, dtype", [("positive", 1e3 + X, "float32"), ("positive", 1e9 + X, "float64"), ((None, 1e9), X, "float32")]
)
def test_what_is_resolved_does_not(support, x, dtype):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nvpflow.FlowDensity(support=[support], max_iter=2, dtype=dtype, random_state=0).fit(x)


ENTROPY = 0.5 * np.log(2 * np.pi * np.e)  # of N(0, 1)
TIMES = np.rint(1.7e12 + 1e4 * np.random.default_rng(1).normal(size=(2000, 1)))
DISTANT = pytest.mark.parametrize(
    "support, x, deviation, beyond",
    [
        ("positive", 1e9 + np.random.default_rng(1).normal(size=(2000, 1)), 1, -1.0),
        ((None, 1e9), -1e9 + np.random.default_rng(1).normal(size=(2000, 1)), 1, 2e9),
        (nvpflow.Integer(0), TIMES, 1e4, -1.0),
    ],
    ids=["positive", "below", "whole"],
)


def fitted(support, x, **parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nvpflow.FlowDensity(support=[support], random_state=0, **parameters).fit(x)


@DISTANT
def test_the_density_is_right_in_spite_of_a_distant_bound(support, x, deviation, beyond):
    model = fitted(support, x)
    fresh = x.mean() + deviation * np.random.default_rng(2).normal(size=(20_000, 1))
    fresh = np.rint(fresh) if deviation > 1 else fresh
    assert abs(model.score(fresh) + ENTROPY + np.log(deviation)) < 0.02
    assert model.score_samples([[beyond]]) == -np.inf
    samples = model.sample(2000, random_state=0)
    assert abs(np.std(samples) / deviation - 1) < 0.1 and abs(np.mean(samples) - x.mean()) < 0.1 * deviation


@DISTANT
def test_files_know_that_a_bound_is_distant(support, x, deviation, beyond, tmp_path):
    model = fitted(support, x, max_iter=2)
    model.save(tmp_path / "model.npz")
    loaded = nvpflow.load(tmp_path / "model.npz")
    points = np.append(x[:9], [[beyond]], axis=0)
    assert np.array_equal(loaded.score_samples(points), model.score_samples(points))
    loaded.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "model.npz").read_bytes()


def test_a_warm_start_to_samples_near_the_bound_sees_it():
    model = fitted("positive", 1e9 + X, warm_start=True, max_iter=20)
    near = np.random.default_rng(2).exponential(size=(500, 1))
    assert model.fit(near).sample(1000, random_state=0).min() > 0
    grid = np.linspace(1e-4, 40, 100_000)[:, np.newaxis]
    assert np.trapezoid(np.exp(model.score_samples(grid)), grid[:, 0]) == pytest.approx(1, abs=0.02)
