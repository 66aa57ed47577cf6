"""ActNorm: initialisation from data."""

import re

import numpy as np
import pytest

import nvpflow
from support.flows import lu_linear, spline
from support.marks import both_precisions


class TestInitializeActNorms:
    @both_precisions
    def test_standardises_its_input(self, dtype):
        couplings = [spline(3, mask=mask, dtype=dtype, tail_bound=5) for mask in ([1, 0, 0], [0, 1, 0])]
        norms = [nvpflow.ActNorm(3, dtype=dtype) for _ in range(3)]
        flow = nvpflow.Flow([norms[0], couplings[0], lu_linear(3, dtype), norms[1], couplings[1], norms[2]])
        x = np.random.RandomState(0).normal(size=(400, 3)) * [1, 10, 1e-2] + [5, 100, -1]
        flow.initialize_act_norms(x)
        states = flow.trace(x, inverse=True).astype("float64")
        for k in (1, 3, 6):
            np.testing.assert_allclose(states[k].mean(axis=0), 0, atol=2e-4 if dtype == "float32" else 1e-11)
            np.testing.assert_allclose(states[k].std(axis=0), 1, rtol=2e-4 if dtype == "float32" else 1e-11)

    def test_bad_data(self):
        flow = nvpflow.Flow([nvpflow.ActNorm(2), nvpflow.Permutation(2, [1, 0]), nvpflow.ActNorm(2)])
        before = flow.parameters.copy()
        for bad, error, message in (
            ([[1.0, 2.0], [3.0, 2.0]], ValueError, "got constants in column(s) 1"),
            ([[1.0, 2.0]], ValueError, "got constants in column(s) 0, 1"),
            ([1.0, 2.0], ValueError, "x must have shape (n, 2) with n >= 1, got (2,)"),
            ([[np.nan, 2.0], [3.0, 4.0]], ValueError, "x must be finite"),
            ([["a", "b"]], TypeError, "x must be an array of real numbers"),
        ):
            with pytest.raises(error, match=re.escape(message)):
                flow.initialize_act_norms(bad)
            np.testing.assert_array_equal(flow.parameters, before)

    def test_late_error_changes_nothing(self):
        flat = nvpflow.LULinear(2, dtype="float64")
        flat.lu[0, 0] = 800  # x is divided by exp(800): nothing is left of the first column
        flow = nvpflow.Flow([nvpflow.ActNorm(2, dtype="float64"), flat, nvpflow.ActNorm(2, dtype="float64")])
        before = flow.parameters.copy()
        with pytest.raises(ValueError, match="constants in column"):
            flow.initialize_act_norms(np.random.RandomState(0).normal(size=(20, 2)))
        np.testing.assert_array_equal(flow.parameters, before)
