"""Log-determinants are those of the Jacobians, and densities integrate to 1."""

import numpy as np
import pytest

import nvpflow
from support.checks import check_log_det, integral
from support.flows import alternating, default_flow, small_flow
from support.marks import both_precisions, every_network
from support.samples import moons

pytestmark = pytest.mark.usefixtures("every_isa")


class TestLogDet:
    """log_det is log|det| of the Jacobian by central differences."""

    @every_network
    @pytest.mark.parametrize("direction", ["forward", "inverse"])
    @pytest.mark.parametrize("dim", [2, 3, 7])
    def test_flow(self, dim, direction, activation, scale):
        check_log_det(small_flow(dim, activation, scale), direction)

    @pytest.mark.parametrize("direction", ["forward", "inverse"])
    @pytest.mark.parametrize("dim", [2, 3, 7])
    def test_layer(self, dim, direction):
        mask = alternating(dim, 1)
        check_log_det(nvpflow.CouplingLayer(dim, 16, mask=mask, dtype="float64", random_state=0), direction)
        layer = nvpflow.ActNorm(dim, dtype="float64")
        layer.parameters[:] = np.random.RandomState(0).normal(size=2 * dim)
        check_log_det(layer, direction)


class TestDensityIntegratesToOne:
    """exp(log_prob) summed over a fine grid is 1 to 1e-3."""

    @both_precisions
    def test_flow(self, dtype):
        flow = default_flow(4, 2, 16, dtype)
        x = moons(300)
        before = flow.nll(x)
        flow.fit(x, max_iter=200, learning_rate=1e-2, random_state=0)
        assert flow.nll(x) < before - 0.5
        assert integral(lambda x: np.exp(flow.log_prob(x)), 10, 0.02) == pytest.approx(1, abs=1e-3)

    def test_estimator(self):
        model = nvpflow.FlowDensity(4, 16, max_iter=150, learning_rate=1e-2, dtype="float64", random_state=0).fit(moons(300))
        total = integral(lambda x: np.exp(model.score_samples(x)), 10, 0.02)
        assert total == pytest.approx(1, abs=1e-3)
