"""Figures of latent points: quantiles beside those of a normal distribution."""

import numpy as np
import pytest
import scipy.stats

import nvpflow
from nvpflow import plot
from nvpflow.plot._latent import _band, _ranks
from support.figures import DATA, pixels


class TestLatent:
    @staticmethod
    def identity(dim):
        return nvpflow.Flow([nvpflow.ActNorm(dim, dtype="float64")])

    def test_panels(self, model):
        hist, qq, *others = plot.latent(model, DATA).axes
        assert len(others) == 2
        Z = np.sort(model.transform(DATA)[:, 0].astype(float))
        heights, edges, _ = hist.patches[0].get_data()
        np.testing.assert_allclose(heights, np.histogram(Z, edges)[0] / 300 / np.diff(edges))
        x, y = hist.lines[0].get_data()
        np.testing.assert_allclose(y, scipy.stats.norm.pdf(x))
        drawn = np.concatenate([line.get_xydata() for line in qq.lines[1:]])
        drawn = drawn[drawn[:, 0].argsort()]
        ranks = _ranks(300)
        assert {1, 300} <= set(ranks) and len(ranks) > 60
        np.testing.assert_allclose(drawn[:, 0], scipy.stats.norm.ppf(ranks / 301))
        np.testing.assert_allclose(drawn[:, 1], Z[ranks - 1])
        assert qq.get_xlabel() == "normal quantile" and qq.get_aspect() == 1

    @pytest.mark.parametrize("dim", [1, 2, 3])
    def test_band_of_mixture_points(self, dim):
        rng = np.random.default_rng(4)
        roots = rng.normal(size=(3, dim, dim)) + np.eye(dim)
        mixture = [1, 2, 3], 4 * rng.normal(size=(3, dim)), roots @ roots.transpose(0, 2, 1)
        base = nvpflow.MixtureBase(*mixture, dtype="float64")
        z = base.sample(2000, random_state=0)
        flow = nvpflow.Flow([nvpflow.ActNorm(dim, dtype="float64")], base)
        for ax in plot.latent(flow, z).axes[1::2]:
            assert ax.get_title().startswith("all")
        assert "outside" in plot.latent(flow, z * 1.2).axes[-1].get_title()

    def test_points_of_a_mixture_given_the_context(self):
        covariances = [np.eye(3), np.eye(3) + 0.5]
        base = nvpflow.ConditionalMixtureBase([1, 2], [[0, -2, 0], [1, 2, 1]], covariances, 1, dtype="float64")
        flow = nvpflow.Flow([nvpflow.ActNorm(2, dtype="float64")], base=base)
        context = np.random.default_rng(0).normal(size=(4000, 1))
        z = flow.sample(4000, 0, context)
        normal, _ = base.to_normal(z, context)
        assert all(scipy.stats.kstest(column, "norm").pvalue > 1e-3 for column in normal.T)
        assert abs(np.corrcoef(normal.T)[0, 1]) < 0.06
        assert "quantiles" in plot.latent(flow, z[:50], context=context[:50]).axes[1].get_title()
        plot.evolution(flow, 20, context=[0.3])

    def test_far_points_of_mixture(self):
        base = nvpflow.MixtureBase([1, 1], [[-1], [1]], [[[1]], [[1]]], dtype="float64")
        normal = base.to_normal([[-21.0], [-3.0], [0.0], [3.0], [21.0]])[0][:, 0]
        expected = scipy.stats.norm.ppf(0.5 * scipy.stats.norm.cdf([-2, -4]).sum())
        np.testing.assert_allclose(normal[[1, 2, 3]], [expected, 0, -expected], atol=1e-12)
        np.testing.assert_allclose(normal[[0, 4]], [-20.034, 20.034], atol=1e-3)  # half of the mass of one component

    @pytest.mark.parametrize("n", [2, 10, 5000])
    def test_band_coverage(self, n):
        ranks = _ranks(n)
        low, high = _band(ranks, n, 0.9)
        uniform = np.sort(np.random.default_rng(7).random((1000, n)), axis=1)[:, ranks - 1]
        share = ((uniform >= low) & (uniform <= high)).all(axis=1).mean()
        assert share == pytest.approx(0.9, abs=0.035)
        # And it is fair: no rank is outside more often than the others, by the exact beta distribution.
        beta = scipy.stats.beta(ranks, n + 1 - ranks)
        outside = beta.cdf(low) + beta.sf(high)
        assert outside.max() < 4 * outside.min()

    def test_band_of_normal_points(self):
        x = np.random.default_rng(3).normal(size=(1000, 3)) * [1, 1.3, 1] + [0, 0, 0.4]
        qq = plot.latent(self.identity(3), x).axes[1::2]
        outside = [int((title.get_text().split() + ["0"])[0].replace("all", "0")) for title in (a.title for a in qq)]
        assert outside[0] == 0 and outside[1] > 10 and outside[2] > 30
        red = [len(ax.lines[2].get_xdata()) for ax in qq]
        assert red == outside

    def test_far_points(self):
        x = np.random.default_rng(3).normal(size=(100, 1))
        x[:2] = [[1e30], [-50]]
        _, qq = plot.latent(self.identity(1), x).axes
        assert qq.get_title().endswith("2 not shown") and qq.get_xlim() == (-8, 8)
        pixels(qq.figure)

    def test_dimensions_and_given_axes(self):
        x = np.random.default_rng(3).normal(size=(50, 30))
        with pytest.raises(ValueError, match="at most 24 dimensions fit into a figure, got 30"):
            plot.latent(self.identity(30), x)
        axes = plot.latent(self.identity(30), x, dimensions=[4, 29]).axes
        assert [ax.get_xlabel() for ax in axes[::2]] == ["$z_{5}$", "$z_{30}$"]
        for wrong in ([30], [-1], []):
            with pytest.raises(ValueError, match="dimensions must"):
                plot.latent(self.identity(30), x, dimensions=wrong)
        with pytest.raises(TypeError, match="dimensions must be a sequence of integers"):
            plot.latent(self.identity(30), x, dimensions=3)

    def test_wrong_arguments(self, model):
        with pytest.raises(ValueError, match=r"X must have shape \(n, 2\)"):
            plot.latent(model, DATA[:, :1])
        with pytest.raises(ValueError, match="X must have at least 2 samples, got 1"):
            plot.latent(model, DATA[:1])
        with pytest.raises(ValueError, match="level must be finite and > 0 and < 1"):
            plot.latent(model, DATA, level=1)
        with pytest.raises(nvpflow.NotFittedError):
            plot.latent(nvpflow.FlowDensity(), DATA)
