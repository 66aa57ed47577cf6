"""The figures: their panels, the data in them, limits, colours; and notebooks that display them."""

import copy
import io
import re
import subprocess
import sys

import nbformat
import numpy as np
import pytest
import scipy.stats
from nbclient import NotebookClient

import nvpflow
from nvpflow import datasets, plot
from nvpflow.plot._density import DEPTH
from nvpflow.plot._latent import _band, _ranks, _rosenblatt
from nvpflow.plot._layers import HOLD, origin_colours

DATA = np.random.default_rng(0).normal(size=(300, 2)) @ [[3.0, 1.0], [0.0, 0.5]] + [10, -2]


@pytest.fixture(scope="module")
def model():
    return nvpflow.FlowDensity(n_layers=8, hidden_dim=8, base="normal", max_iter=20, random_state=0).fit(DATA)


@pytest.fixture(scope="module")
def conditional():
    context = np.random.default_rng(1).normal(size=(300, 2))
    return nvpflow.FlowDensity(2, 8, base="normal", max_iter=20, random_state=0).fit(DATA + context, context=context)


def coupling_flow(n_layers, dim=2, **options):
    masks = [[(i + j + 1) % 2 for j in range(dim)] for i in range(n_layers)]
    return nvpflow.Flow([nvpflow.CouplingLayer(dim, 8, mask, random_state=1, **options) for mask in masks])


def offsets(ax):
    return np.asarray(ax.collections[0].get_offsets())


def colours(ax):
    return ax.collections[0].get_facecolors()


def images(figure):
    return [ax.images[0] for ax in figure.axes if ax.images]


class TestSamples:
    def test_both_panels_hold_the_points_and_share_limits(self):
        samples = DATA[:100] + 0.1
        left, right = plot.samples(DATA, samples).axes
        np.testing.assert_allclose(offsets(left), DATA)
        np.testing.assert_allclose(offsets(right), samples)
        assert left.get_xlim() == right.get_xlim() and left.get_ylim() == right.get_ylim()
        assert (left.get_xlim()[0] < DATA[:, 0].min()) and (left.get_xlim()[1] > DATA[:, 0].max())
        assert left.get_aspect() == right.get_aspect() == 1
        assert left.get_title() == "300 data points" and right.get_title() == "100 samples"
        assert not np.array_equal(colours(left)[0], colours(right)[0])

    def test_the_title_counts_samples_outside(self):
        samples = DATA.copy()
        samples[:3] = [[1e6, 0], [np.nan, 0], [0, -np.inf]]
        _left, right = plot.samples(DATA, samples).axes
        assert right.get_title() == "300 samples, 3 of them outside"
        assert right.get_xlim() == plot.samples(DATA, DATA).axes[0].get_xlim()

    @pytest.mark.parametrize("points", [np.zeros((5, 2)), [[1e6, 1e-6]], [[1, 2], [1, 3]]])
    def test_points_in_a_line_or_in_one_place(self, points):
        for ax in plot.samples(points, points).axes:
            assert ax.get_xlim()[0] < ax.get_xlim()[1] and ax.get_ylim()[0] < ax.get_ylim()[1]

    def test_wrong_arguments(self):
        with pytest.raises(ValueError, match=r"data must have shape \(n, 2\)"):
            plot.samples(np.zeros((5, 3)), DATA)
        with pytest.raises(ValueError, match=r"samples must have shape \(n, 2\) with n >= 1"):
            plot.samples(DATA, np.zeros((0, 2)))
        with pytest.raises(ValueError, match="data must be finite"):
            plot.samples([[np.nan, 0]], DATA)
        with pytest.raises(TypeError, match="samples must be an array of real numbers"):
            plot.samples(DATA, [["a", "b"]])


class TestEvolution:
    def test_nine_panels_for_eight_layers(self, model):
        axes = plot.evolution(model, n=50).axes
        titles = ["Gaussian", *(f"layer {i}" for i in range(1, 8)), "layer 8, in data units"]
        assert [ax.get_title() for ax in axes] == titles

    def test_a_mixture_is_where_the_points_start(self, model):
        base = nvpflow.MixtureBase([1, 3], [[-9, 0], [9, 0]], [np.eye(2), np.eye(2)])
        flow = nvpflow.Flow([layer.copy() for layer in model.flow_.layers], base)
        first, *others = plot.evolution(flow, n=1000).axes
        assert first.get_title() == "mixture of 2 Gaussians" and len(others) == 8
        left = (offsets(first)[:, 0] < 0).mean()
        assert left == pytest.approx(0.25, abs=0.06) and (np.abs(offsets(first)[:, 0]) > 3).all()

    def test_whitened_data_have_no_panel_more(self, model):
        """Both layers at the end, an LU map and an act norm, change units alone."""
        layers = [layer.copy() for layer in model.flow_.layers]
        flow = nvpflow.Flow([*layers[:-1], nvpflow.LULinear(2), layers[-1]])
        assert len(plot.evolution(flow, n=20).axes) == 9

    def test_the_same_points_go_through_the_layers(self, model):
        axes = plot.evolution(model, n=200, random_state=3).axes
        z = offsets(axes[0]).astype(np.float32)
        states = model.flow_.trace(z)
        for ax, state in zip(axes[:8], states):
            np.testing.assert_allclose(offsets(ax), state, rtol=1e-6)
        np.testing.assert_allclose(offsets(axes[8]), states[9], rtol=1e-6)
        for ax in axes[1:]:
            np.testing.assert_array_equal(colours(ax), colours(axes[0]))

    def test_the_points_are_gaussian_and_follow_the_random_state(self, model):
        z = offsets(plot.evolution(model, n=4000).axes[0])
        assert np.abs(z.mean(axis=0)).max() < 0.06 and np.abs(np.cov(z.T) - np.eye(2)).max() < 0.08
        np.testing.assert_array_equal(z, offsets(plot.evolution(model, n=4000).axes[0]))
        other = plot.evolution(model, n=4000, random_state=np.random.RandomState(1))
        assert not np.array_equal(z, offsets(other.axes[0]))

    def test_colours_tell_the_angle(self):
        z = np.array([[3, 0], [0, 3], [-3, 0], [0, -3], [3, -1e-6], [1e-6, 0], [-1e-6, 0]])
        rgb = origin_colours(z)
        distance = np.linalg.norm(rgb[:, None] - rgb, axis=-1)
        assert distance[:4, :4][~np.eye(4, dtype=bool)].min() > 0.3  # the four directions differ
        assert distance[0, 4] < 0.02  # and the hue has no seam,
        assert distance[5, 6] < 0.02  # and the middle has one colour

    def test_limits_are_shared_but_for_the_data(self, model):
        axes = plot.evolution(model).axes
        assert len({(ax.get_xlim(), ax.get_ylim()) for ax in axes[:8]}) == 1
        x, y = axes[8].get_xlim(), axes[8].get_ylim()
        assert x[0] < 10 < x[1] and y[0] < -2 < y[1]
        assert all(ax.get_aspect() == 1 for ax in axes)
        inside = [(offsets(ax) >= ax.viewLim.min) & (offsets(ax) <= ax.viewLim.max) for ax in axes]
        assert np.mean(inside) > 0.99

    @pytest.mark.parametrize("n_layers", [1, 2, 5])
    def test_a_flow_without_act_norm(self, n_layers):
        axes = plot.evolution(coupling_flow(n_layers, dtype="float64"), n=20).axes
        titles = ["Gaussian", *(f"layer {i + 1}" for i in range(n_layers))]
        assert [ax.get_title() for ax in axes] == titles

    def test_only_a_last_act_norm_shares_a_panel(self):
        coupling = nvpflow.CouplingLayer(2, 8, random_state=0)
        flow = nvpflow.Flow([nvpflow.ActNorm(2), coupling, nvpflow.ActNorm(2)])
        titles = [ax.get_title() for ax in plot.evolution(flow, n=20).axes]
        assert titles == ["Gaussian", "layer 1", "layer 2, in data units"]
        axes = plot.evolution(nvpflow.Flow([nvpflow.ActNorm(2)]), n=20).axes
        assert [ax.get_title() for ax in axes] == ["Gaussian", "layer 1"]

    def test_points_that_overflow_do_not_spoil_the_panels(self):
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
        with pytest.raises(TypeError, match="model must be a Flow, a FlowDensity or a FlowOutlierDetector, got ndarray"):
            plot.evolution(DATA)
        with pytest.raises(nvpflow.NotFittedError):
            plot.evolution(nvpflow.FlowDensity())
        with pytest.raises(ValueError, match="n must be at least 1"):
            plot.evolution(model, n=0)
        with pytest.raises(TypeError, match="random_state"):
            plot.evolution(model, random_state="now")


class TestDensity:
    LIMITS = ((-1.5, 2.5), (-1.0, 1.5))

    @staticmethod
    def centres(limits, shape):
        (left, right), (bottom, top) = limits
        x = left + (np.arange(shape[1]) + 0.5) / shape[1] * (right - left)
        y = bottom + (np.arange(shape[0]) + 0.5) / shape[0] * (top - bottom)
        return np.stack(np.meshgrid(x, y), axis=-1)

    def test_the_pixels_are_log_densities_at_their_places(self):
        flow = coupling_flow(3, dtype="float64")
        figure = plot.density(flow, datasets.moons_log_density, limits=self.LIMITS, resolution=64)
        learned, exact = images(figure)
        assert learned.get_array().shape == exact.get_array().shape == (40, 64)
        assert learned.get_extent() == exact.get_extent() == [-1.5, 2.5, -1.0, 1.5]
        assert learned.origin == exact.origin == "lower"
        points = self.centres(self.LIMITS, (40, 64)).reshape(-1, 2)
        for image, log_density in ((learned, flow.log_prob), (exact, datasets.moons_log_density)):
            low, high = image.get_clim()
            shown = np.clip(np.asarray(image.get_array()), low, high)
            expected = np.clip(log_density(points), low, high).reshape(40, 64)
            np.testing.assert_allclose(shown, expected, rtol=1e-12)

    def test_both_panels_and_the_colour_bar_have_one_scale(self, model):
        figure = plot.density(model, datasets.moons_log_density, limits=self.LIMITS, resolution=40)
        learned, exact = images(figure)
        assert learned.get_clim() == exact.get_clim()
        assert learned.get_cmap() == exact.get_cmap()
        assert learned.get_clim()[1] - learned.get_clim()[0] == pytest.approx(DEPTH)
        assert exact.colorbar is not None and exact.colorbar.vmin == learned.get_clim()[0]
        titles = [ax.get_title() for ax in figure.axes if ax.images]
        assert titles == ["learned log-density", "exact log-density"]

    def test_without_the_exact_density_there_is_one_panel(self, model):
        (image,) = images(plot.density(model, resolution=40))
        assert image.axes.get_title() == "learned log-density" and image.colorbar is not None

    def test_default_limits_hold_the_samples(self, model):
        (image,) = images(plot.density(model, resolution=20))
        left, right, bottom, top = image.get_extent()
        x, y = model.sample(1000, random_state=5).T
        assert np.mean((x > left) & (x < right) & (y > bottom) & (y < top)) > 0.98

    def test_a_spike_does_not_set_the_scale(self, model):
        def spiky(points):
            values = datasets.moons_log_density(points)
            values[7] = 1e30
            return values

        figure = plot.density(model, spiky, limits=self.LIMITS, resolution=100)
        assert images(figure)[1].get_clim()[1] < 10

    def test_no_density_and_no_number(self, model):
        def broken(points):
            values = np.zeros(len(points))
            values[:3] = [-np.inf, np.nan, np.inf]
            return values

        figure = plot.density(model, broken, limits=self.LIMITS, resolution=40)
        image = images(figure)[1]
        figure.savefig(io.BytesIO())
        shown = image.get_array().ravel()
        assert shown[0] < image.get_clim()[0]
        assert np.ma.getmaskarray(shown)[:4].tolist() == [False, True, True, False]
        assert image.get_cmap().get_bad()[:3] == pytest.approx([0x8A / 255] * 3)

    def test_a_density_that_is_nowhere_finite(self, model):
        figure = plot.density(model, lambda x: np.full(len(x), -np.inf), resolution=20)
        figure.savefig(io.BytesIO())

    def test_wrong_arguments(self, model):
        with pytest.raises(ValueError, match="model must have 1 or 2 dimensions to be drawn, got 5"):
            plot.density(coupling_flow(2, dim=5))
        with pytest.raises(TypeError, match="exact must be callable"):
            plot.density(model, 0.1)
        with pytest.raises(ValueError, match=r"exact must return shape \(400,\)"):
            plot.density(model, lambda x: x, limits=((0, 1), (0, 1)), resolution=20)
        for limits in (((0, 1), (1, 0)), (0, 1), "auto", ((0, np.inf), (0, 1)), ((0, 1), (0,))):
            with pytest.raises(ValueError, match="limits must be"):
                plot.density(model, limits=limits)
        with pytest.raises(ValueError, match="resolution must be at least 2"):
            plot.density(model, resolution=1)


class TestTraining:
    def test_the_curves_count_epochs_from_one(self, model):
        (ax,) = plot.training(model.history_, entropy=1.5).axes
        train, validation, best, entropy = ax.lines
        for line, name in ((train, "train_nll"), (validation, "validation_nll")):
            np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 21))
            np.testing.assert_allclose(line.get_ydata(), model.history_[name])
        assert best.get_xdata()[0] == model.best_iter_
        assert best.get_ydata()[0] == pytest.approx(model.history_["validation_nll"].min())
        assert np.all(np.asarray(entropy.get_ydata()) == 1.5) and entropy.get_linestyle() == "--"
        labels = [text.get_text() for text in ax.get_legend().get_texts()]
        best_label = f"kept: epoch {model.best_iter_}, {best.get_ydata()[0]:.3f}"
        assert labels == ["training", "validation", best_label, "entropy: 1.500"]

    def test_a_model_tells_the_epoch_it_kept(self, model):
        model = copy.copy(model)
        model.best_iter_ = 7  # not the lowest one
        (ax,) = plot.training(model).axes
        assert ax.lines[2].get_xdata()[0] == 7
        assert ax.lines[2].get_ydata()[0] == model.history_["validation_nll"][6]
        with pytest.raises(nvpflow.NotFittedError):
            plot.training(nvpflow.FlowDensity())

    def test_the_training_curve_alone(self):
        (ax,) = plot.training({"train_nll": [3.0, 2.0, 1.5]}).axes
        (line,) = ax.lines
        np.testing.assert_array_equal(line.get_ydata(), [3.0, 2.0, 1.5])
        assert ax.get_ylim()[0] < 1.5 and ax.get_ylim()[1] > 2.0

    def test_huge_first_epochs_leave_the_rest_readable(self):
        curve = np.concatenate([[1e30, 1e6, 500.0, 20.0], 1 + np.exp(-np.arange(200) / 30)])
        (ax,) = plot.training({"train_nll": curve, "validation_nll": curve + 0.1}, 0.9).axes
        low, high = ax.get_ylim()
        assert low < 0.9 and 1.2 < high < 5

    def test_overfitting_stays_in_view(self):
        train = np.linspace(2, 0.5, 100)
        validation = np.concatenate([np.linspace(2, 1, 30), np.linspace(1, 3, 70)])
        seldom = np.where(np.arange(100) % 7 == 0, validation, np.nan)
        (ax,) = plot.training({"train_nll": train, "validation_nll": seldom}).axes
        np.testing.assert_array_equal(ax.lines[1].get_ydata(), validation[::7])
        (ax,) = plot.training({"train_nll": train, "validation_nll": validation}).axes
        assert ax.get_ylim()[0] < 0.5 and ax.get_ylim()[1] > 3

    @pytest.mark.parametrize("curve", [[1.0], [np.nan], [np.inf, np.nan], [1.0, np.nan, -np.inf]])
    def test_short_and_broken_curves(self, curve):
        figure = plot.training({"train_nll": curve, "validation_nll": curve}, entropy=1.0)
        figure.savefig(io.BytesIO())
        assert np.isfinite(figure.axes[0].get_ylim()).all()

    def test_wrong_arguments(self):
        for history in (None, {}, [1.0, 2.0], {"validation_nll": [1.0]}):
            with pytest.raises(TypeError, match="history must be a fitted FlowDensity or a mapping with 'train_nll'"):
                plot.training(history)
        with pytest.raises(ValueError, match="the training curve of history must have shape"):
            plot.training({"train_nll": []})
        with pytest.raises(TypeError, match="entropy must be a real number"):
            plot.training({"train_nll": [1.0]}, entropy="1")


def pixels(figure):
    """RGB in 0..1, as Agg draws it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(50)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3] / 255


def pixel_at(figure, ax, point, image):
    """Colour of the image where the axes show that point."""
    x, y = ax.transData.transform(point)
    return image[int(image.shape[0] - y), int(x)]


class TestContours:
    LIMITS = ((-4, 4), (-4, 4))

    @staticmethod
    def gaussian():
        """N(0, I): every region is a disc of radius sqrt(-2 log(1 - mass))."""
        return nvpflow.Flow([nvpflow.ActNorm(2, dtype="float64")])

    def test_the_contours_of_a_gaussian_are_circles_of_the_right_mass(self):
        mass = (0.5, 0.9)
        (ax,) = plot.contours(self.gaussian(), mass=mass, limits=self.LIMITS).axes
        lines = ax.collections[1]
        paths = sorted((path.vertices for path in lines.get_paths()), key=lambda path: np.abs(path).max())
        for path, share in zip(paths, mass, strict=True):
            radius = np.hypot(*path.T)
            np.testing.assert_allclose(radius, np.sqrt(-2 * np.log(1 - share)), rtol=0.03)

    def test_regions_are_filled_from_dark_to_light(self):
        figure = plot.contours(self.gaussian(), mass=(0.5, 0.9), limits=self.LIMITS)
        image = pixels(figure)
        brightness = [pixel_at(figure, figure.axes[0], (r, 0), image).mean() for r in (0, 1.7, 3.5)]
        assert brightness[0] < brightness[1] - 0.1 and brightness[1] < brightness[2] - 0.1
        assert brightness[2] == 1

    def test_the_legend_counts_the_data_in_nats(self):
        flow = self.gaussian()
        data = np.random.default_rng(0).normal(size=(500, 2))
        (ax,) = plot.contours(flow, data, mass=(0.5,), names=("a", "b$")).axes
        (text,) = [text.get_text() for text in ax.get_legend().get_texts()]
        level = float(re.search(r"above (\S+) nats", text)[1])
        assert level == pytest.approx(np.log(0.5 / (2 * np.pi)), abs=0.03)
        share = float(re.search(r"(\S+) % of the data", text)[1])
        assert share == pytest.approx(100 * np.mean(flow.log_prob(data) > level), abs=1)
        np.testing.assert_allclose(ax.collections[-1].get_offsets(), data)
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("a", r"b\$")

    def test_axes_of_different_units_still_make_a_panel(self):
        data = np.random.default_rng(0).normal(size=(300, 2)) * [1e-3, 1e4]
        flow = nvpflow.Flow([nvpflow.ActNorm(2)])
        flow.layers[0].log_scale[:] = np.log([1e-3, 1e4])
        figure = plot.contours(flow, data)
        assert figure.axes[0].get_aspect() == "auto" and 0.3 < np.divide(*figure.get_size_inches()) < 3
        assert plot.samples(data, data).axes[0].get_aspect() == "auto"

    def test_points_without_density_are_outside(self):
        flow = coupling_flow(4, scale="exp")
        flow.layers[1].s_net[-1].weight[:] = 30
        pixels(plot.contours(flow, limits=((-1e3, 1e3), (-1e3, 1e3)), resolution=40))

    def test_wrong_arguments(self, model):
        for mass in ((), (0,), (1.0,), (0.5, 2), 0.5, (np.nan,), (0.5, 0.5)):
            with pytest.raises(ValueError, match="mass must"):
                plot.contours(model, mass=mass)
        with pytest.raises(TypeError, match="mass must be a sequence of real numbers"):
            plot.contours(model, mass="most")
        with pytest.raises(ValueError, match="model must have 1 or 2 dimensions to be drawn, got 3"):
            plot.contours(nvpflow.Flow([nvpflow.ActNorm(3)]))
        with pytest.raises(ValueError, match=r"data must have shape \(n, 2\) with n >= 1, got \(300,\)"):
            plot.contours(model, DATA[:, 0])
        with pytest.raises(ValueError, match="names must have 2 entries, one for each column, got 1"):
            plot.contours(model, names=["x"])
        with pytest.raises(TypeError, match="names must be a sequence of str"):
            plot.contours(model, names="xy")


class TestCorner:
    DATA3 = np.random.default_rng(1).normal(size=(400, 3)) * [1, 10, 0.1] + [0, 5, -3]

    def test_every_pair_is_below_the_diagonal(self):
        samples = self.DATA3[:150] + 0.01
        names = ["a", "b", "c"]
        grid = np.reshape(plot.corner(self.DATA3, samples, names=names).axes, (3, 3))
        both = np.concatenate([self.DATA3, samples])
        for row in range(3):
            for column in range(row):
                points = offsets(grid[row, column])
                np.testing.assert_allclose(sort_rows(points), sort_rows(both[:, [column, row]]))
        assert [ax.get_xlabel() for ax in grid[2]] == names
        assert [ax.get_ylabel() for ax in grid[1:, 0]] == names[1:]
        assert not any(grid[i, j].axison for i in range(3) for j in range(i + 1, 3))
        legend = [text.get_text() for text in grid[0, 0].get_legend().get_texts()]
        assert legend == ["400 data points", "150 samples"]

    def test_points_have_the_colours_of_their_cloud_in_mixed_order(self):
        samples = self.DATA3[:150] + 100
        ax = plot.corner(self.DATA3, samples).axes[3]
        colour, is_sample = colours(ax), offsets(ax)[:, 0] > 50
        assert is_sample.sum() == 150
        assert len(np.unique(colour[is_sample], axis=0)) == len(np.unique(colour[~is_sample], axis=0)) == 1
        assert not np.array_equal(colour[is_sample][0], colour[~is_sample][0])
        assert is_sample[: len(is_sample) // 2].sum() == pytest.approx(75, abs=25)

    def test_the_diagonal_holds_densities(self):
        samples = self.DATA3[:200] + [0, 1e6, 0]  # of the second column, nothing is in view
        grid = np.reshape(plot.corner(self.DATA3, samples, bins=20).axes, (3, 3))
        for i in range(3):
            data_bars, sample_bars = grid[i, i].patches
            for bars, column in ((data_bars, self.DATA3[:, i]), (sample_bars, samples[:, i])):
                heights, edges, _ = bars.get_data()
                assert len(heights) == 20
                inside = np.mean((column >= edges[0]) & (column <= edges[-1]))
                assert np.sum(heights * np.diff(edges)) == pytest.approx(inside)
        assert inside > 0.98

    def test_samples_alone_are_called_samples(self):
        ax, *_ = plot.corner(samples=self.DATA3).axes
        assert [text.get_text() for text in ax.get_legend().get_texts()] == ["400 samples"]
        data_colour = colours(plot.corner(self.DATA3).axes[3])[0]
        assert not np.array_equal(colours(plot.corner(samples=self.DATA3).axes[3])[0], data_colour)

    @pytest.mark.parametrize("dim", [1, 2])
    def test_few_columns(self, dim):
        figure = plot.corner(self.DATA3[:, :dim])
        pixels(figure)
        assert len(figure.axes) == dim**2

    def test_wrong_arguments(self):
        with pytest.raises(ValueError, match=r"data must have shape \(n, D\) with n >= 1, got \(400,\): reshape"):
            plot.corner(self.DATA3[:, 0])
        with pytest.raises(ValueError, match=r"samples must have shape \(n, 3\)"):
            plot.corner(self.DATA3, DATA)
        with pytest.raises(ValueError, match="data and samples must not both be missing"):
            plot.corner()
        with pytest.raises(ValueError, match="data points must have at most 16 columns to be drawn, got 17"):
            plot.corner(np.zeros((5, 17)))
        with pytest.raises(ValueError, match="data must be finite"):
            plot.corner([[np.inf, 1]])
        with pytest.raises(ValueError, match="bins must be at least 1"):
            plot.corner(self.DATA3, bins=0)


def sort_rows(points):
    return points[np.lexsort(points.T)]


class TestLatent:
    @staticmethod
    def identity(dim):
        return nvpflow.Flow([nvpflow.ActNorm(dim, dtype="float64")])

    def test_panels_show_the_latent_points(self, model):
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
    def test_points_of_a_mixture_are_inside_and_others_are_not(self, dim):
        rng = np.random.default_rng(4)
        roots = rng.normal(size=(3, dim, dim)) + np.eye(dim)
        mixture = [1, 2, 3], 4 * rng.normal(size=(3, dim)), roots @ roots.transpose(0, 2, 1)
        base = nvpflow.MixtureBase(*mixture, dtype="float64")
        z = base.sample(2000, random_state=0)
        flow = nvpflow.Flow([nvpflow.ActNorm(dim, dtype="float64")], base)
        for ax in plot.latent(flow, z).axes[1::2]:
            assert ax.get_title().startswith("all")
        assert "outside" in plot.latent(flow, z * 1.2).axes[-1].get_title()

    def test_far_points_of_a_mixture_keep_their_sides(self):
        base = nvpflow.MixtureBase([1, 1], [[-1], [1]], [[[1]], [[1]]], dtype="float64")
        normal = _rosenblatt(base, np.array([[-21.0], [-3.0], [0.0], [3.0], [21.0]]))[:, 0]
        expected = scipy.stats.norm.ppf(0.5 * scipy.stats.norm.cdf([-2, -4]).sum())
        np.testing.assert_allclose(normal[[1, 2, 3]], [expected, 0, -expected], atol=1e-12)
        np.testing.assert_allclose(normal[[0, 4]], [-20.034, 20.034], atol=1e-3)  # half of the mass of one component

    @pytest.mark.parametrize("n", [2, 10, 5000])
    def test_the_band_holds_normal_samples_as_often_as_it_says(self, n):
        ranks = _ranks(n)
        low, high = _band(ranks, n, 0.9)
        uniform = np.sort(np.random.default_rng(7).random((1000, n)), axis=1)[:, ranks - 1]
        share = ((uniform >= low) & (uniform <= high)).all(axis=1).mean()
        assert share == pytest.approx(0.9, abs=0.035)
        # And it is fair: no rank is outside more often than the others, by the exact beta distribution.
        beta = scipy.stats.beta(ranks, n + 1 - ranks)
        outside = beta.cdf(low) + beta.sf(high)
        assert outside.max() < 4 * outside.min()

    def test_normal_points_are_inside_and_others_are_not(self):
        x = np.random.default_rng(3).normal(size=(1000, 3)) * [1, 1.3, 1] + [0, 0, 0.4]
        qq = plot.latent(self.identity(3), x).axes[1::2]
        outside = [int((title.get_text().split() + ["0"])[0].replace("all", "0")) for title in (a.title for a in qq)]
        assert outside[0] == 0 and outside[1] > 10 and outside[2] > 30
        red = [len(ax.lines[2].get_xdata()) for ax in qq]
        assert red == outside

    def test_far_points_are_counted(self):
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


class TestAnimation:
    def test_the_frames_go_through_the_states(self, model):
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

    def test_it_becomes_a_gif_that_moves(self, model, tmp_path):
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


class TestContext:
    """Of a conditional model, the density given one context is drawn."""

    ROW = np.array([1.5, -0.5])
    DRAW = {
        "density": lambda model, context: plot.density(model, context=context, resolution=20),
        "contours": lambda model, context: plot.contours(model, context=context, resolution=20),
        "evolution": lambda model, context: plot.evolution(model, n=20, context=context),
        "animation": lambda model, context: plot.animation(model, n=20, context=context),
        "latent": lambda model, context: plot.latent(model, DATA, context=context),
    }

    def test_density(self, conditional):
        limits = ((0, 20), (-5, 5))
        (image,) = images(plot.density(conditional, limits=limits, resolution=30, context=self.ROW))
        points = TestDensity.centres(limits, (15, 30)).reshape(-1, 2)
        low, high = image.get_clim()
        expected = np.clip(conditional.score_samples(points, context=self.ROW), low, high).reshape(15, 30)
        np.testing.assert_allclose(np.clip(np.asarray(image.get_array()), low, high), expected, rtol=1e-5)

    def test_contours_count_the_data_given_the_context(self, conditional):
        samples = conditional.sample(5000, random_state=1, context=self.ROW)
        figure = plot.contours(conditional, samples, mass=[0.5], context=[self.ROW])
        (text,) = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        assert float(re.search(r"([\d.]+) % of the data", text)[1]) == pytest.approx(50, abs=3)

    def test_evolution(self, conditional):
        z = np.random.default_rng(nvpflow._validation.arguments.seed_sequence(3)).normal(size=(50, 2))
        *_, last = plot.evolution(conditional, n=50, random_state=3, context=self.ROW).axes
        np.testing.assert_allclose(offsets(last), conditional.inverse_transform(z, context=self.ROW), rtol=1e-4)

    def test_latent_has_a_context_for_each_sample_or_one_for_all(self, conditional):
        for context in (np.random.default_rng(1).normal(size=(300, 2)), self.ROW):
            figure = plot.latent(conditional, DATA, dimensions=[1], context=context)
            z = conditional.transform(DATA, context=context)[:, 1]
            assert figure.axes[0].get_title() == f"mean {z.mean():.2f}, sd {z.std():.2f}"

    @pytest.mark.parametrize("name", DRAW)
    def test_wrong_contexts(self, name, conditional, model):
        draw = self.DRAW[name]
        for context, error, message in (
            (None, ValueError, "context must be given for a conditional model, with shape (2,) or (1, 2)"),
            ([1.0], ValueError, "context must have shape (2,) or (1, 2)"),
            (np.zeros((7, 2)), ValueError, "context must have shape (2,) or (1, 2)"),
            ([1.0, np.nan], ValueError, "context must be finite, got NaN or infinity"),
            (["a", "b"], TypeError, "context must be an array of real numbers, got dtype <U1"),
        ):
            with pytest.raises(error, match=re.escape(message)):
                draw(conditional, context)
        with pytest.raises(ValueError, match="context must be None for a model without one"):
            draw(model, self.ROW)


class TestAxes:
    """Every figure can be drawn on axes that are there already."""

    DRAW = {
        "samples": (2, lambda model, axes: plot.samples(DATA, DATA, axes=axes)),
        "corner": (4, lambda model, axes: plot.corner(DATA, DATA, axes=axes)),
        "density": (1, lambda model, axes: plot.density(model, resolution=20, axes=axes)),
        "contours": (1, lambda model, axes: plot.contours(model, DATA, resolution=20, axes=axes)),
        "evolution": (9, lambda model, axes: plot.evolution(model, n=20, axes=axes)),
        "latent": (4, lambda model, axes: plot.latent(model, DATA, axes=axes)),
        "training": (1, lambda model, axes: plot.training(model, axes=axes)),
    }

    @pytest.mark.parametrize("name", DRAW)
    def test_given_axes_are_drawn_on(self, name, model):
        from matplotlib import rcParams
        from matplotlib.figure import Figure

        count, draw = self.DRAW[name]
        figure, before = Figure(layout="constrained"), dict(rcParams)
        axes = figure.subplots(1, count + 1, squeeze=False)[0]
        assert draw(model, axes[0] if count == 1 else axes[:count]) is figure
        pixels(figure)
        assert all(ax.has_data() or not ax.axison for ax in axes[:count]) and not axes[count].has_data()
        assert dict(rcParams) == before

    @pytest.mark.parametrize("name", DRAW)
    def test_wrong_axes(self, name, model):
        from matplotlib.figure import Figure

        count, draw = self.DRAW[name]
        with pytest.raises(ValueError, match=f"axes must be {count} matplotlib Axes for this figure, got {count + 1}"):
            draw(model, Figure().subplots(1, count + 1))
        with pytest.raises(TypeError, match="axes must be matplotlib Axes, got str"):
            draw(model, ["here"] * count)


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_pyplot_is_left_alone():
    code = """
import io, sys, numpy as np
from nvpflow import plot
assert not any(name.startswith("matplotlib") for name in sys.modules)
plot.samples(np.eye(2), np.eye(2)).savefig(io.BytesIO())
assert "matplotlib.pyplot" not in sys.modules
"""
    result = run_python(code)
    assert result.returncode == 0, result.stderr


def test_without_matplotlib_the_error_says_what_to_install():
    code = """
import sys
sys.modules["matplotlib"] = sys.modules["matplotlib.figure"] = None
import numpy as np
from nvpflow import plot
plot.samples(np.eye(2), np.eye(2))
"""
    last_line = run_python(code).stderr.splitlines()[-1]
    assert last_line.startswith("ImportError: figures need matplotlib: pip install nvpflow[plot]")


@pytest.mark.parametrize("preamble", ["", "%matplotlib inline"])
def test_notebooks_display_a_figure_once(preamble):
    draw = "import numpy as np\nfrom nvpflow import plot\nplot.samples(np.eye(2), np.eye(2))"
    cells = [nbformat.v4.new_code_cell(source) for source in (preamble, draw)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    (output,) = notebook.cells[1].outputs
    assert output.output_type == "execute_result" and "image/png" in output.data
    if not preamble:
        assert output.metadata["image/png"]["width"] == 9 * 150 // 2
