"""Figures of densities: images and contours."""

import io
import re

import numpy as np
import pytest

import nvpflow
from nvpflow import datasets, plot
from nvpflow.plot._density import DEPTH
from support.figures import DATA, centres, coupling_flow, images, pixel_at, pixels


class TestDensity:
    LIMITS = ((-1.5, 2.5), (-1.0, 1.5))

    def test_pixels(self):
        flow = coupling_flow(3, dtype="float64")
        figure = plot.density(flow, datasets.moons_log_density, limits=self.LIMITS, resolution=64)
        learned, exact = images(figure)
        assert learned.get_array().shape == exact.get_array().shape == (40, 64)
        assert learned.get_extent() == exact.get_extent() == [-1.5, 2.5, -1.0, 1.5]
        assert learned.origin == exact.origin == "lower"
        points = centres(self.LIMITS, (40, 64)).reshape(-1, 2)
        for image, log_density in ((learned, flow.log_prob), (exact, datasets.moons_log_density)):
            low, high = image.get_clim()
            shown = np.clip(np.asarray(image.get_array()), low, high)
            expected = np.clip(log_density(points), low, high).reshape(40, 64)
            np.testing.assert_allclose(shown, expected, rtol=1e-12)

    def test_common_colour_scale(self, model):
        figure = plot.density(model, datasets.moons_log_density, limits=self.LIMITS, resolution=40)
        learned, exact = images(figure)
        assert learned.get_clim() == exact.get_clim()
        assert learned.get_cmap() == exact.get_cmap()
        assert learned.get_clim()[1] - learned.get_clim()[0] == pytest.approx(DEPTH)
        assert exact.colorbar is not None and exact.colorbar.vmin == learned.get_clim()[0]
        titles = [ax.get_title() for ax in figure.axes if ax.images]
        assert titles == ["learned log-density", "exact log-density"]

    def test_one_panel(self, model):
        (image,) = images(plot.density(model, resolution=40))
        assert image.axes.get_title() == "learned log-density" and image.colorbar is not None

    def test_default_limits(self, model):
        (image,) = images(plot.density(model, resolution=20))
        left, right, bottom, top = image.get_extent()
        x, y = model.sample(1000, random_state=5).T
        assert np.mean((x > left) & (x < right) & (y > bottom) & (y < top)) > 0.98

    def test_spike(self, model):
        def spiky(points):
            values = datasets.moons_log_density(points)
            values[7] = 1e30
            return values

        figure = plot.density(model, spiky, limits=self.LIMITS, resolution=100)
        assert images(figure)[1].get_clim()[1] < 10

    def test_minus_infinity_and_nan(self, model):
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

    def test_nowhere_finite(self, model):
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


class TestContours:
    LIMITS = ((-4, 4), (-4, 4))

    @staticmethod
    def gaussian():
        """N(0, I): every region is a disc of radius sqrt(-2 log(1 - mass))."""
        return nvpflow.Flow([nvpflow.ActNorm(2, dtype="float64")])

    def test_gaussian(self):
        mass = (0.5, 0.9)
        (ax,) = plot.contours(self.gaussian(), mass=mass, limits=self.LIMITS).axes
        lines = ax.collections[1]
        paths = sorted((path.vertices for path in lines.get_paths()), key=lambda path: np.abs(path).max())
        for path, share in zip(paths, mass, strict=True):
            radius = np.hypot(*path.T)
            np.testing.assert_allclose(radius, np.sqrt(-2 * np.log(1 - share)), rtol=0.03)

    def test_region_colours(self):
        figure = plot.contours(self.gaussian(), mass=(0.5, 0.9), limits=self.LIMITS)
        image = pixels(figure)
        brightness = [pixel_at(figure, figure.axes[0], (r, 0), image).mean() for r in (0, 1.7, 3.5)]
        assert brightness[0] < brightness[1] - 0.1 and brightness[1] < brightness[2] - 0.1
        assert brightness[2] == 1

    def test_names_are_those_of_the_frame(self):
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["width", "height"])
        model = nvpflow.FlowDensity(max_iter=1, n_layers=1, random_state=0).fit(frame)
        for draw in (plot.contours, plot.density):
            ax = draw(model, resolution=8).axes[0]
            assert (ax.get_xlabel(), ax.get_ylabel()) == ("width", "height")
            assert draw(model, names=["a", "b"], resolution=8).axes[0].get_xlabel() == "a"

    def test_legend(self):
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

    def test_different_units(self):
        data = np.random.default_rng(0).normal(size=(300, 2)) * [1e-3, 1e4]
        flow = nvpflow.Flow([nvpflow.ActNorm(2)])
        flow.layers[0].log_scale[:] = np.log([1e-3, 1e4])
        figure = plot.contours(flow, data)
        assert figure.axes[0].get_aspect() == "auto" and 0.3 < np.divide(*figure.get_size_inches()) < 3
        assert plot.samples(data, data).axes[0].get_aspect() == "auto"

    def test_points_without_density(self):
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
