"""Figures of every kind of model, and in one dimension."""

import copy

import numpy as np
import pytest
import scipy.stats

import nvpflow
from nvpflow import plot
from nvpflow.plot._model import check_model
from support.figures import rgba

rng = np.random.default_rng(0)
PLANE = rng.normal(size=(300, 2)) @ [[3.0, 1.0], [0.0, 0.5]] + [10, -2]
LINE = PLANE[:, :1]
OPTIONS = {"n_layers": 3, "hidden_dim": 8, "base": "normal", "max_iter": 20, "random_state": 0}


@pytest.fixture(scope="module")
def models():
    """One of each kind, in one and in two dimensions."""
    return {
        dim: {
            "FlowDensity": nvpflow.FlowDensity(**OPTIONS).fit(x),
            "FlowOutlierDetector": nvpflow.FlowOutlierDetector(**OPTIONS).fit(x),
            "Flow": nvpflow.FlowDensity(**OPTIONS).fit(x).flow_,
        }
        for dim, x in ((1, LINE), (2, PLANE))
    }


@pytest.fixture(scope="module")
def line(models):
    return models[1]["FlowDensity"]


def standard_normal(dim=1, dtype="float64"):
    return nvpflow.Flow([nvpflow.ActNorm(dim, dtype=dtype)])


def steps(ax):
    """Heights and edges of the histograms."""
    return [(patch.get_data().values, patch.get_data().edges) for patch in ax.patches]


DRAW = {
    "density": lambda model, x: plot.density(model, data=x, resolution=20),
    "contours": lambda model, x: plot.contours(model, x, resolution=20),
    "evolution": lambda model, x: plot.evolution(model, n=50),
    "latent": lambda model, x: plot.latent(model, x),
}


class TestKinds:
    @pytest.mark.parametrize("dim", [1, 2])
    @pytest.mark.parametrize("name", DRAW)
    def test_same_figure(self, models, name, dim):
        x = PLANE[:, :dim]
        figures = [rgba(DRAW[name](model, x)) for model in models[dim].values()]
        assert figures[0].std() > 1
        np.testing.assert_array_equal(figures[0], figures[1])
        np.testing.assert_array_equal(figures[0], figures[2])

    @pytest.mark.parametrize("dim", [1, 2])
    def test_animation(self, models, dim):
        for model in models[dim].values():
            film = plot.animation(model, n=20, frames_per_layer=1)
            film._func(0)
            (ax,) = film._fig.axes
            assert ax.get_title() == "Gaussian" and len(ax.collections[0].get_offsets()) == 20
            film._draw_was_started = True  # or it warns that nobody saw it

    def test_training_curves_of_detector(self, models):
        lines = [
            [line.get_xydata().tolist() for line in plot.training(models[2][name]).axes[0].lines]
            for name in ("FlowDensity", "FlowOutlierDetector")
        ]
        assert lines[0] == lines[1] and len(lines[0]) >= 2

    def test_unfitted_detectors(self):
        detector = nvpflow.FlowOutlierDetector()
        for draw in (plot.density, plot.contours, plot.evolution, plot.animation, plot.training):
            with pytest.raises(nvpflow.NotFittedError, match="this FlowOutlierDetector is not fitted yet"):
                draw(detector)

    def test_training_curves_of_flow(self, models):
        with pytest.raises(TypeError, match="history must be a fitted FlowDensity or a mapping with 'train_nll'"):
            plot.training(models[2]["Flow"])


class TestDensity1D:
    def test_curve(self, line):
        (ax,) = plot.density(line, limits=(0, 20), resolution=50).axes
        (curve,) = ax.lines
        x, y = curve.get_xydata().T
        np.testing.assert_allclose(x, np.linspace(0, 20, 50))
        np.testing.assert_allclose(y, np.exp(line.score_samples(x[:, None])), rtol=1e-5)
        assert ax.get_xlim() == (0, 20) and y.max() < ax.get_ylim()[1] < 1.2 * y.max()
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_{1}$", "density")

    def test_histogram(self, line):
        ax = plot.density(line, data=LINE, limits=((5, 15),), names=["width"]).axes[0]
        ((heights, edges),) = steps(ax)
        assert (edges[0], edges[-1]) == (5, 15)
        share = np.mean((LINE >= 5) & (LINE <= 15))
        assert (heights * np.diff(edges)).sum() == pytest.approx(share)
        labels = [text.get_text() for text in ax.get_legend().get_texts()]
        assert labels == ["300 data points", "learned density"] and ax.get_xlabel() == "width"

    def test_exact_density(self):
        figure = plot.density(standard_normal(), lambda x: scipy.stats.norm.logpdf(x[:, 0]))
        (ax,) = figure.axes
        learned, exact = (curve.get_ydata() for curve in ax.lines)
        np.testing.assert_allclose(learned, exact, rtol=1e-6)
        with pytest.raises(ValueError, match=r"exact must return shape \(400,\) for 400 points"):
            plot.density(standard_normal(), lambda x: x)

    def test_spike_and_missing_density(self):
        class Flow(nvpflow.Flow):
            def log_prob(self, x, context=None):
                values = scipy.stats.norm.logpdf(np.asarray(x)[:, 0])
                values[[3, 50, 77]] = np.nan, 20, np.inf
                return values

        (ax,) = plot.density(Flow([nvpflow.ActNorm(1)]), limits=(-3, 3), resolution=200).axes
        y = ax.lines[0].get_ydata()
        assert np.isnan(y[[3, 77]]).all() and np.isfinite(np.delete(y, [3, 77])).all()
        assert 0.4 < ax.get_ylim()[1] < 1

    def test_default_limits(self, line):
        low, high = plot.density(line, data=LINE - 30).axes[0].get_xlim()
        assert low < LINE.mean() - 30 and high > LINE.max()

    @pytest.mark.parametrize("limits", [(1, 0), (0, 1, 2), ((0, 1), (0, 1)), "ab", (0, np.inf), 3])
    def test_wrong_limits(self, line, limits):
        with pytest.raises(ValueError, match=r"limits must be \(low, high\) with low < high"):
            plot.density(line, limits=limits)

    def test_wrong_data(self, line):
        with pytest.raises(ValueError, match=r"data must have shape \(n, 1\) with n >= 1, got \(300, 2\)"):
            plot.density(line, data=PLANE)
        with pytest.raises(ValueError, match="names must have 1 entries, one for each column, got 2"):
            plot.density(line, names=["a", "b"])

    def test_data_over_image(self, models):
        figure = plot.density(models[2]["FlowDensity"], data=PLANE, resolution=20)
        np.testing.assert_allclose(np.asarray(figure.axes[0].collections[0].get_offsets()), PLANE)


class TestContours1D:
    def test_areas_of_highest_density(self):
        figure = plot.contours(standard_normal(), mass=[0.5, 0.9], limits=(-4, 4), resolution=801)
        (ax,) = figure.axes
        wide, narrow = (area.get_paths()[0].get_extents() for area in ax.collections)
        for area, mass in ((narrow, 0.5), (wide, 0.9)):
            end = scipy.stats.norm.ppf((1 + mass) / 2)
            assert (area.x0, area.x1) == (pytest.approx(-end, abs=0.03), pytest.approx(end, abs=0.03))
            assert area.y0 == 0 and area.y1 == pytest.approx(scipy.stats.norm.pdf(0), rel=1e-3)

    def test_two_modes(self):
        base = nvpflow.MixtureBase([1, 1], [[-5], [5]], [[[1]], [[1]]])
        (ax,) = plot.contours(nvpflow.Flow([nvpflow.ActNorm(1)], base), mass=[0.8]).axes
        (area,) = ax.collections
        assert len(area.get_paths()) == 2

    def test_data_marks_and_legend(self, line):
        data = line.sample(4000, random_state=1)
        (ax,) = plot.contours(line, data, mass=[0.6]).axes
        marks = ax.lines[1]
        np.testing.assert_allclose(marks.get_xdata(), data[:, 0])
        assert ax.get_ylim()[0] < marks.get_ydata()[0] < 0
        (text,) = [text.get_text() for text in ax.get_legend().get_texts()]
        assert float(text.split("\n")[1].split("%")[0]) == pytest.approx(60, abs=3)


class TestSamples1D:
    def test_common_bins_and_limits(self):
        left, right = plot.samples(LINE, LINE[:100] + 1, names=["width"]).axes
        ((first, edges),), ((second, other),) = steps(left), steps(right)
        np.testing.assert_array_equal(edges, other)
        np.testing.assert_allclose(first, np.histogram(LINE, edges, density=True)[0])
        assert left.get_xlim() == right.get_xlim() and left.get_ylim() == right.get_ylim()
        assert left.get_ylim()[1] > max(first.max(), second.max())
        assert left.get_xlabel() == "width" and left.get_title() == "300 data points"

    def test_samples_outside(self):
        samples = np.concatenate([LINE, LINE + 1e6, [[np.nan]]])
        _, right = plot.samples(LINE, samples).axes
        ((heights, edges),) = steps(right)
        assert right.get_title() == "601 samples, 301 of them outside"
        assert (heights * np.diff(edges)).sum() == pytest.approx(300 / 601)

    def test_number_of_columns(self):
        with pytest.raises(ValueError, match=r"data must have shape \(n, 2\) or \(n, 1\), got \(5, 3\)"):
            plot.samples(np.zeros((5, 3)), np.zeros((5, 3)))
        with pytest.raises(ValueError, match=r"samples must have shape \(n, 1\)"):
            plot.samples(LINE, PLANE)


class TestEvolution1D:
    def test_points_and_histograms(self, line):
        axes = plot.evolution(line, n=2000, random_state=3).axes
        assert [ax.get_title() for ax in axes] == ["Gaussian", "layer 1", "layer 2", "layer 3, in data units"]
        points = [np.asarray(ax.collections[0].get_offsets()) for ax in axes]
        states = line.flow_.trace(points[0][:, :1].astype(np.float32))
        for place, state in zip(points, [*states[:3], states[-1]]):
            np.testing.assert_allclose(place[:, 0], state[:, 0], rtol=1e-5)
        start = points[0]
        assert scipy.stats.kstest(start[:, 0], "norm").pvalue > 1e-3
        middle, side = (start[np.abs(start[:, 0] - x) < 0.2, 1] for x in (0, 2))
        assert (start[:, 1] >= 0).all() and np.median(middle) > 3 * np.median(side)

    def test_limits_and_colours(self, line):
        axes = plot.evolution(line, n=1000).axes
        assert len({ax.get_xlim() for ax in axes[:-1]}) == 1
        assert axes[-1].get_xlim()[0] < 10 < axes[-1].get_xlim()[1]
        start = np.asarray(axes[0].collections[0].get_offsets())[:, 0]
        colours = axes[0].collections[0].get_facecolors()
        left, right = (colours[mask, :3].mean(axis=0) for mask in (start < -2, start > 2))
        assert np.linalg.norm(left - right) > 0.5
        for ax in axes[1:]:
            np.testing.assert_array_equal(ax.collections[0].get_facecolors(), colours)
            assert ax.get_aspect() == "auto" and len(ax.get_yticks()) == 0

    def test_overflowing_points(self):
        flow = nvpflow.Flow([nvpflow.CouplingLayer(1, 8, [0], scale="exp", random_state=0) for _ in range(3)])
        flow.parameters[:] = 60
        for ax in plot.evolution(flow, n=50).axes:
            assert np.isfinite(ax.get_xlim()).all() and np.isfinite(ax.get_ylim()).all()

    def test_animation(self, line):
        film = plot.animation(line, n=50, frames_per_layer=2)
        (dots,) = film._fig.axes[0].collections
        film._func(0)
        first = np.array(dots.get_offsets())
        film._func(1000)
        last = np.array(dots.get_offsets())
        film._draw_was_started = True
        assert abs(first[:, 0].mean()) < 0.5 and last[:, 0].mean() == pytest.approx(LINE.mean(), abs=1.5)


def test_corner_and_latent_of_one_column(line):
    (ax,) = plot.corner(LINE, line.sample(200)).axes
    (data, _), (samples, _) = steps(ax)
    assert data.max() > 0 and samples.max() > 0
    histogram, qq = plot.latent(line, LINE).axes
    z = line.transform(LINE)
    assert histogram.get_title() == f"mean {z.mean():.2f}, sd {z.std():.2f}"
    assert "quantile" in qq.get_title()


def test_models_are_unchanged(models):
    for model in (models[1]["FlowOutlierDetector"], models[2]["FlowDensity"]):
        before = copy.deepcopy(vars(model))
        plot.contours(model, resolution=20)
        assert before.keys() == vars(model).keys()


def test_angles_are_drawn_as_their_density():
    """Not as that of the numbers on the line that stand for them."""
    x = np.random.default_rng(0).vonmises(0, 2, (300, 1))
    fitted = nvpflow.FlowDensity(support=["angle"], n_layers=2, hidden_dim=8, max_iter=5, random_state=0).fit(x)
    drawn = check_model(fitted)
    grid = np.linspace(0, 6, 50)[:, None]
    np.testing.assert_allclose(drawn.log_prob(grid), fitted.score_samples(grid), atol=1e-4)
    samples, log_density = drawn.sample_and_log_prob(200)
    assert (samples >= 0).all() and (samples < 2 * np.pi).all()
    np.testing.assert_allclose(log_density, fitted.score_samples(samples), atol=1e-4)
    ax = plot.density(fitted)
    assert ax is not None


def test_categories_are_an_error():
    rows = [[x, "red" if x > 0 else "blue"] for x in LINE[:, 0] - 10]
    model = nvpflow.FlowDensity(support={1: "category"}, **OPTIONS).fit(rows)
    for draw in (plot.density, plot.contours, plot.evolution):
        with pytest.raises(ValueError, match=r"columns of numbers alone for this figure, and column\(s\) 1 are categories"):
            draw(model)


def test_a_context_with_categories():
    context = [["red" if x > 10 else "blue"] for x in LINE[:, 0]]
    model = nvpflow.FlowDensity(context_support=["category"], **OPTIONS).fit(LINE, context=context)
    drawn = check_model(model, context=["red"])
    np.testing.assert_array_equal(drawn.log_prob(LINE), model.score_samples(LINE, context=["red"]))
    with pytest.raises(ValueError, match="must be one of the categories 'blue', 'red'"):
        check_model(model, context=["pink"])
