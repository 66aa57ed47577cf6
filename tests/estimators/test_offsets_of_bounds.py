"""Columns far from their declared bounds, which float32 hardly resolves: `fit` says so."""

import warnings

import numpy as np
import pytest

import nvpflow

X = np.random.default_rng(0).normal(size=(100, 1))


@pytest.mark.parametrize("support, x", [("positive", 1e9 + X), ((None, 1e9), X), ("unit", 1 - 1e-9 * np.exp(X))])
def test_a_distant_bound_warns(support, x):
    with pytest.warns(
        UserWarning, match=r"column\(s\) 0 of X vary by less than a thousand times the resolution of float32 at"
    ):
        nvpflow.FlowDensity(support=[support], max_iter=2, random_state=0).fit(x)


@pytest.mark.parametrize("support, x, dtype", [("positive", 1e3 + X, "float32"), ("positive", 1e9 + X, "float64")])
def test_what_is_resolved_does_not(support, x, dtype):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nvpflow.FlowDensity(support=[support], max_iter=2, dtype=dtype, random_state=0).fit(x)
