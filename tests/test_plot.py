"""The figures: their panels, the data in them, limits, colours; and notebooks that display them."""

import io
import subprocess
import sys

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

import nvpflow
from nvpflow import moons, plot

DATA = np.random.default_rng(0).normal(size=(300, 2)) @ [[3.0, 1.0], [0.0, 0.5]] + [10, -2]


@pytest.fixture(scope="module")
def model():
    return nvpflow.RealNVP(n_layers=8, hidden_dim=8, max_iter=20, random_state=0).fit(DATA)


def coupling_flow(n_layers, dim=2, **options):
    masks = [[(i + j + 1) % 2 for j in range(dim)] for i in range(n_layers)]
    return nvpflow.Flow(
        [nvpflow.CouplingLayer(dim, 8, mask, random_state=1, **options) for mask in masks]
    )


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
        left, right = plot.samples(DATA, samples).axes
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
        rgb = plot._origin_colours(z)
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
        with pytest.raises(ValueError, match="model must have 2 dimensions to be drawn, got 3"):
            plot.evolution(coupling_flow(2, dim=3))
        with pytest.raises(TypeError, match="model must be a Flow or a RealNVP, got ndarray"):
            plot.evolution(DATA)
        with pytest.raises(nvpflow.NotFittedError):
            plot.evolution(nvpflow.RealNVP())
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
        figure = plot.density(flow, moons.log_density, limits=self.LIMITS, resolution=64)
        learned, exact = images(figure)
        assert learned.get_array().shape == exact.get_array().shape == (40, 64)
        assert learned.get_extent() == exact.get_extent() == [-1.5, 2.5, -1.0, 1.5]
        assert learned.origin == exact.origin == "lower"
        points = self.centres(self.LIMITS, (40, 64)).reshape(-1, 2)
        for image, log_density in ((learned, flow.log_prob), (exact, moons.log_density)):
            low, high = image.get_clim()
            shown = np.clip(np.asarray(image.get_array()), low, high)
            expected = np.clip(log_density(points), low, high).reshape(40, 64)
            np.testing.assert_allclose(shown, expected, rtol=1e-12)

    def test_both_panels_and_the_colour_bar_have_one_scale(self, model):
        figure = plot.density(model, moons.log_density, limits=self.LIMITS, resolution=40)
        learned, exact = images(figure)
        assert learned.get_clim() == exact.get_clim()
        assert learned.get_cmap() == exact.get_cmap()
        assert learned.get_clim()[1] - learned.get_clim()[0] == pytest.approx(plot.DEPTH)
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
            values = moons.log_density(points)
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
        with pytest.raises(ValueError, match="model must have 2 dimensions to be drawn, got 5"):
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
        best_label = f"best: epoch {model.best_iter_}"
        assert labels == ["training", "validation", best_label, "entropy: 1.500"]

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
        (ax,) = plot.training({"train_nll": train, "validation_nll": validation}).axes
        assert ax.get_ylim()[0] < 0.5 and ax.get_ylim()[1] > 3

    @pytest.mark.parametrize("curve", [[1.0], [np.nan], [np.inf, np.nan], [1.0, np.nan, -np.inf]])
    def test_short_and_broken_curves(self, curve):
        figure = plot.training({"train_nll": curve, "validation_nll": curve}, entropy=1.0)
        figure.savefig(io.BytesIO())
        assert np.isfinite(figure.axes[0].get_ylim()).all()

    def test_wrong_arguments(self):
        for history in (None, {}, [1.0, 2.0], {"validation_nll": [1.0]}):
            with pytest.raises(TypeError, match="history must be a mapping with 'train_nll'"):
                plot.training(history)
        with pytest.raises(ValueError, match="the training curve of history must have shape"):
            plot.training({"train_nll": []})
        with pytest.raises(TypeError, match="entropy must be a real number"):
            plot.training({"train_nll": [1.0]}, entropy="1")


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
