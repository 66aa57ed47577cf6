"""Figures of the layers: panels and animations."""

import io

import numpy as np
import pytest

import nvpflow
from nvpflow import plot
from nvpflow.plot._layers import HOLD, origin_colours
from support.figures import DATA, colours, coupling_flow, offsets


class TestEvolution:
    def test_number_of_panels(self, model):
        axes = plot.evolution(model, n=50).axes
        titles = ["Gaussian", *(f"layer {i}" for i in range(1, 8)), "layer 8, in data units"]
        assert [ax.get_title() for ax in axes] == titles

    def test_mixture_base(self, model):
        base = nvpflow.MixtureBase([1, 3], [[-9, 0], [9, 0]], [np.eye(2), np.eye(2)])
        flow = nvpflow.Flow([layer.copy() for layer in model.flow_.layers], base)
        first, *others = plot.evolution(flow, n=1000).axes
        assert first.get_title() == "mixture of 2 Gaussians" and len(others) == 8
        left = (offsets(first)[:, 0] < 0).mean()
        assert left == pytest.approx(0.25, abs=0.06) and (np.abs(offsets(first)[:, 0]) > 3).all()

    def test_panels_with_whitening(self, model):
        """Both layers at the end, an LU map and an act norm, change units alone."""
        layers = [layer.copy() for layer in model.flow_.layers]
        flow = nvpflow.Flow([*layers[:-1], nvpflow.LULinear(2), layers[-1]])
        assert len(plot.evolution(flow, n=20).axes) == 9

    def test_points_after_each_layer(self, model):
        axes = plot.evolution(model, n=200, random_state=3).axes
        z = offsets(axes[0]).astype(np.float32)
        states = model.flow_.trace(z)
        for ax, state in zip(axes[:8], states):
            np.testing.assert_allclose(offsets(ax), state, rtol=1e-6)
        np.testing.assert_allclose(offsets(axes[8]), states[9], rtol=1e-6)
        for ax in axes[1:]:
            np.testing.assert_array_equal(colours(ax), colours(axes[0]))

    def test_random_state(self, model):
        z = offsets(plot.evolution(model, n=4000).axes[0])
        assert np.abs(z.mean(axis=0)).max() < 0.06 and np.abs(np.cov(z.T) - np.eye(2)).max() < 0.08
        np.testing.assert_array_equal(z, offsets(plot.evolution(model, n=4000).axes[0]))
        other = plot.evolution(model, n=4000, random_state=np.random.RandomState(1))
        assert not np.array_equal(z, offsets(other.axes[0]))

    def test_colours(self):
        z = np.array([[3, 0], [0, 3], [-3, 0], [0, -3], [3, -1e-6], [1e-6, 0], [-1e-6, 0]])
        rgb = origin_colours(z)
        distance = np.linalg.norm(rgb[:, None] - rgb, axis=-1)
        assert distance[:4, :4][~np.eye(4, dtype=bool)].min() > 0.3  # the four directions differ
        assert distance[0, 4] < 0.02  # and the hue has no seam,
        assert distance[5, 6] < 0.02  # and the middle has one colour

    def test_limits(self, model):
        axes = plot.evolution(model).axes
        assert len({(ax.get_xlim(), ax.get_ylim()) for ax in axes[:8]}) == 1
        x, y = axes[8].get_xlim(), axes[8].get_ylim()
        assert x[0] < 10 < x[1] and y[0] < -2 < y[1]
        assert all(ax.get_aspect() == 1 for ax in axes)
        inside = [(offsets(ax) >= ax.viewLim.min) & (offsets(ax) <= ax.viewLim.max) for ax in axes]
        assert np.mean(inside) > 0.99

    @pytest.mark.parametrize("n_layers", [1, 2, 5])
    def test_flow_without_act_norm(self, n_layers):
        axes = plot.evolution(coupling_flow(n_layers, dtype="float64"), n=20).axes
        titles = ["Gaussian", *(f"layer {i + 1}" for i in range(n_layers))]
        assert [ax.get_title() for ax in axes] == titles

    def test_panels_of_act_norms(self):
        coupling = nvpflow.CouplingLayer(2, 8, random_state=0)
        flow = nvpflow.Flow([nvpflow.ActNorm(2), coupling, nvpflow.ActNorm(2)])
        titles = [ax.get_title() for ax in plot.evolution(flow, n=20).axes]
        assert titles == ["Gaussian", "layer 1", "layer 2, in data units"]
        axes = plot.evolution(nvpflow.Flow([nvpflow.ActNorm(2)]), n=20).axes
        assert [ax.get_title() for ax in axes] == ["Gaussian", "layer 1"]

    def test_overflowing_points(self):
        flow = coupling_flow(4, scale="exp")
        flow.layers[1].s_net[-1].weight[:] = 60
        overflows = ~np.isfinite(flow.trace(np.random.default_rng(0).normal(size=(500, 2))))
        assert overflows.any() and not overflows[-1].all()
        figure = plot.evolution(flow, n=500)
        figure.savefig(io.BytesIO())
        assert all(np.isfinite(ax.get_xlim()).all() for ax in figure.axes)

    def test_wrong_arguments(self, model):
        with pytest.raises(ValueError, match="model must have 1 or 2 dimensions to be drawn, got 3"):
            plot.evolution(coupling_flow(2, dim=3))
        with pytest.raises(
            TypeError, match="model must be a Flow, a FlowEnsemble, a FlowDensity or a FlowOutlierDetector, got"
        ):
            plot.evolution(DATA)
        with pytest.raises(nvpflow.NotFittedError):
            plot.evolution(nvpflow.FlowDensity())
        with pytest.raises(ValueError, match="n must be at least 1"):
            plot.evolution(model, n=0)
        with pytest.raises(TypeError, match="random_state"):
            plot.evolution(model, random_state="now")


class TestAnimation:
    def test_frames(self, model):
        film = plot.animation(model, n=100, random_state=3, frames_per_layer=2)
        (ax,) = film._fig.axes
        z = np.random.default_rng(nvpflow._validation.arguments.seed_sequence(3)).normal(size=(100, 2))
        states = model.flow_.trace(z)
        for layer, state in enumerate([*states[:8], states[9]]):
            film._func(HOLD + 2 * layer)
            np.testing.assert_allclose(offsets(ax), state, rtol=1e-6)
            assert ax.get_title().startswith(f"layer {layer}" if layer else "Gaussian")
        film._func(HOLD + 3)
        np.testing.assert_allclose(offsets(ax), (states[1] + states[2]) / 2, rtol=1e-5, atol=1e-6)
        film._draw_was_started = True  # or it warns that nobody saw it

    def test_gif(self, model, tmp_path):
        from PIL import Image

        film = plot.animation(model, n=50, frames_per_layer=1)
        film.save(tmp_path / "layers.gif", writer="pillow", dpi=30)
        with Image.open(tmp_path / "layers.gif") as gif:
            assert gif.n_frames >= 9
            first = np.asarray(gif.convert("RGB"), dtype=int)
            gif.seek(gif.n_frames - 1)
            last = np.asarray(gif.convert("RGB"), dtype=int)
        assert np.abs(first - last).max() > 100

    def test_wrong_arguments(self, model):
        with pytest.raises(ValueError, match="frames_per_layer must be at least 1"):
            plot.animation(model, frames_per_layer=0)
        with pytest.raises(ValueError, match="model must have 1 or 2 dimensions"):
            plot.animation(coupling_flow(2, dim=3))
