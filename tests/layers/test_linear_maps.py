"""LULinear and Permutation against their matrices; additive couplings preserve volume."""

import numpy as np
import pytest

import nvpflow
from support.flows import lu_linear, one_of_each
from support.marks import both_precisions


class TestLinearMaps:
    @pytest.mark.parametrize("dim", [1, 3, 16, 33, 200])
    @both_precisions
    def test_lu_matrix(self, dim, dtype):
        layer = lu_linear(dim, dtype, size=0.3 / np.sqrt(dim))
        z = np.random.RandomState(0).normal(size=(50, dim)).astype(dtype)
        x, log_det = layer.forward(z)
        tolerance = 1e-4 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(x, z @ layer.matrix.T + layer.bias, rtol=0, atol=tolerance)
        np.testing.assert_allclose(log_det, np.linalg.slogdet(layer.matrix.astype("float64"))[1], atol=tolerance)
        np.testing.assert_allclose(layer.inverse(x)[0], z, rtol=0, atol=tolerance)

    def test_lu_starts_as_identity(self):
        layer = nvpflow.LULinear(3, dtype="float64")
        z = np.random.RandomState(0).normal(size=(50, 3))
        np.testing.assert_array_equal(layer.forward(z)[0], z)
        np.testing.assert_array_equal(layer.matrix, np.eye(3))

    def test_lu_learns_covariance(self):
        """The maximum likelihood of a normal distribution, in closed form."""
        rng = np.random.RandomState(0)
        x = rng.normal(size=(500, 3)) @ rng.normal(size=(3, 3)) + [1, 2, 3]
        flow = nvpflow.Flow([nvpflow.LULinear(3, dtype="float64")])
        flow.fit(x, max_iter=2000, learning_rate=1e-2, schedule="cosine")
        covariance = np.cov(x.T, bias=True)
        np.testing.assert_allclose(flow.layers[0].bias, x.mean(axis=0), atol=1e-3)
        matrix = flow.layers[0].matrix
        np.testing.assert_allclose(matrix @ matrix.T, covariance, rtol=0, atol=1e-3 * np.abs(covariance).max())

    def test_permutation(self):
        layer = nvpflow.Permutation(3, [2, 0, 1])
        z = np.arange(6, dtype="float32").reshape(2, 3)
        x, log_det = layer.forward(z)
        np.testing.assert_array_equal(x, z[:, [2, 0, 1]])
        np.testing.assert_array_equal(layer.inverse(x)[0], z)
        grad, _ = layer.forward_vjp(z, x, None)
        np.testing.assert_array_equal(grad, z)
        assert (log_det == 0).all() and layer.n_parameters == 0 and layer.state_dict() == {}
        random = [nvpflow.Permutation(20, random_state=seed).permutation.tolist() for seed in (0, 0, 1)]
        assert random[0] == random[1] != random[2] and sorted(random[0]) == list(range(20))
        layer.permutation[:] = 0
        assert layer.permutation.tolist() == [2, 0, 1]

    def test_additive_preserves_volumes(self):
        layer = one_of_each(3)["additive"]
        x, log_det = layer.forward(np.ones((5, 3)))
        assert (log_det == 0).all() and (x != 1).any()
