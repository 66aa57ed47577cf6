"""Columns that others determine but for a little noise: means and deviations are those of what samples tell of."""

import numpy as np
import pytest

import nvpflow


@pytest.mark.parametrize("noise", [1e-3, 1e-4])
def test_broad_normals_do_not_widen_a_narrow_column(noise):
    x = np.random.default_rng(0).normal(size=(3000, 2))
    x[:, 1] = x[:, 0] + noise * x[:, 1]
    model = nvpflow.FlowDensity(dtype="float64", random_state=0).fit(x)
    given = np.array([0.0, 1.5, 3.0])
    found = model.conditional({0: given})
    np.testing.assert_allclose(found.std().ravel(), noise, rtol=0.15)
    np.testing.assert_allclose(found.mean().ravel(), given, atol=noise)
