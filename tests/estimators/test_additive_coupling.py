"""FlowDensity with additive couplings: warm starts, volumes, pieces and files."""

import numpy as np
import pytest

import nvpflow

X = np.random.default_rng(0).normal(size=(150, 2)) @ [[1, 2], [0, 1]]


OPTIONS = {"n_layers": 2, "hidden_dim": 4, "random_state": 0}


class TestAdditive:
    """Couplings that shift alone, as those of NICE do."""

    OPTIONS = OPTIONS | {"coupling": "additive", "max_iter": 30, "dtype": "float64"}

    @pytest.mark.parametrize("standardize", [True, False])
    @pytest.mark.parametrize("n_init", [1, 2])
    @pytest.mark.parametrize("base", ["normal", "mixture"])
    @pytest.mark.parametrize("conditional", [False, True])
    def test_warm_start(self, base, conditional, n_init, standardize):
        context = X[:, :1] + 1 if conditional else None
        y = X[:, 1:] if conditional else X
        options = self.OPTIONS | {"base": base, "n_init": n_init, "standardize": standardize, "validation_fraction": 0.1}
        model = nvpflow.FlowDensity(**options, warm_start=True).fit(y, context=context)
        assert [type(layer) for layer in model.flow_[:2]] == [nvpflow.AdditiveCoupling] * 2
        before = model.score(y, context=context)
        model.set_params(max_iter=1, learning_rate=1e-12, noise=0).fit(y, context=context)
        assert model.score(y, context=context) == pytest.approx(before, abs=0.1)
        with pytest.raises(ValueError, match="got n_layers 2 -> 3"):
            model.set_params(n_layers=3).fit(y, context=context)
        with pytest.raises(ValueError, match="got coupling additive -> spline"):
            model.set_params(n_layers=2, coupling="spline").fit(y, context=context)

    def test_volumes(self):
        model = nvpflow.FlowDensity(**self.OPTIONS, base="normal").fit(X)
        log_det = model.flow_.inverse(X)[1]
        np.testing.assert_allclose(log_det, -np.log(X.std(axis=0)).sum(), atol=0.5)
        assert np.ptp(log_det) < 1e-12

    def test_partial_fit_and_files(self, tmp_path):
        model = nvpflow.FlowDensity(**self.OPTIONS).partial_fit(X).partial_fit(X)
        model.save(tmp_path / "model.npz")
        np.testing.assert_array_equal(nvpflow.load(tmp_path / "model.npz").score_samples(X), model.score_samples(X))
