"""Columns that span more orders of magnitude than float32 resolves: `fit` says so, and float64 needs no warning."""

import numpy as np
import pytest

import nvpflow


def wide(n=600, far=1e7):
    rng = np.random.default_rng(0)
    near = rng.normal(size=n)
    return np.where(rng.random(n) < 0.5, near, far + far / 10 * rng.normal(size=n))[:, np.newaxis]


def test_float32_warns_and_float64_does_not():
    x, fresh = wide()[:400], wide()[400:]
    with pytest.warns(UserWarning, match=r"column\(s\) 0 of X span so many orders of magnitude that float32 .* use"):
        coarse = nvpflow.FlowDensity(random_state=0).fit(x)
    fine = nvpflow.FlowDensity(random_state=0, dtype="float64").fit(x)
    assert fine.score(fresh) > coarse.score(fresh) + 1


def test_narrow_beside_wide():
    """The column is named, and no other one; given a context as well."""
    x = np.hstack([np.random.default_rng(1).normal(size=(400, 1)), wide()[:400]])
    with pytest.warns(UserWarning, match=r"column\(s\) 1 of X span"):
        nvpflow.FlowDensity(random_state=0).fit(x)
    with pytest.warns(UserWarning, match=r"column\(s\) 0 of X span"):
        nvpflow.FlowDensity(random_state=0).fit(x[:, 1:], context=x[:, :1])


def test_values_next_to_an_upper_bound():
    """A flow reads distances from the lower bound: 1 - 1e-9 is 1 in float32."""
    x = np.random.default_rng(0).beta(0.1, 0.1, (3000, 1))
    x = x[(x[:, 0] > 0) & (x[:, 0] < 1)]
    with pytest.warns(UserWarning, match=r"column\(s\) 0 of X have values so close to their upper bound that float32"):
        nvpflow.FlowDensity(support=["unit"], random_state=0).fit(x)
    nvpflow.FlowDensity(support=["unit"], random_state=0, dtype="float64").fit(x)
    nvpflow.FlowDensity(support=["unit"], random_state=0).fit(np.random.default_rng(0).beta(0.5, 0.5, (3000, 1)))


@pytest.mark.parametrize("columns", ["skewed", "outliers", "given a context", "positive"])
def test_ordinary_columns_do_not_warn(columns):
    """Neither does one value far out, whose log-density by mixtures that have not seen it is some -1e6 nats."""
    rng = np.random.default_rng(2)
    x, context, support = np.exp(1.5 * rng.normal(size=(400, 2))), None, None
    if columns == "outliers":
        x = rng.normal(size=(400, 2))
        x[7, 0], x[11, 1] = 1e5, -3e4
    elif columns == "given a context":
        context = rng.normal(size=(400, 1))
        x = x * np.exp(context)
    elif columns == "positive":
        x, support = np.exp(5 * rng.normal(size=(400, 1))), ["positive"]
    model = nvpflow.FlowDensity(random_state=0, support=support).fit(x, context=context)  # warnings are errors
    assert np.isfinite(model.score(x, context=context))


def test_a_stray_row_leaves_the_others_their_density():
    """Behind margins float32 would resolve steps of half a deviation of the other rows, which cost 11 nats each."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 3))
    x = np.column_stack([x, x[:, 0] ** 2])
    x[7] *= 1e6
    with pytest.warns(UserWarning, match="leaves them without the shape that fits them best"):
        model = nvpflow.FlowDensity(random_state=0).fit(x[:500])
    assert np.median(model.score_samples(x[500:])) > -2
