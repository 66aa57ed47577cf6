"""All figures: contexts, given axes, notebooks, and matplotlib as an optional package."""

import re
import subprocess
import sys

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

import nvpflow
from nvpflow import plot
from support.figures import DATA, centres, images, offsets, pixels


class TestContext:
    """Figures of a conditional model are drawn given one context."""

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
        points = centres(limits, (15, 30)).reshape(-1, 2)
        low, high = image.get_clim()
        expected = np.clip(conditional.score_samples(points, context=self.ROW), low, high).reshape(15, 30)
        np.testing.assert_allclose(np.clip(np.asarray(image.get_array()), low, high), expected, rtol=1e-5)

    def test_contours(self, conditional):
        samples = conditional.sample(5000, random_state=1, context=self.ROW)
        figure = plot.contours(conditional, samples, mass=[0.5], context=[self.ROW])
        (text,) = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        assert float(re.search(r"([\d.]+) % of the data", text)[1]) == pytest.approx(50, abs=3)

    def test_evolution(self, conditional):
        z = np.random.default_rng(nvpflow._validation.arguments.seed_sequence(3)).normal(size=(50, 2))
        *_, last = plot.evolution(conditional, n=50, random_state=3, context=self.ROW).axes
        np.testing.assert_allclose(offsets(last), conditional.inverse_transform(z, context=self.ROW), rtol=1e-4)

    def test_latent(self, conditional):
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
    """Every figure can be drawn on given axes."""

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
    def test_given_axes(self, name, model):
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


def test_pyplot_is_not_imported():
    code = """
import io, sys, numpy as np
from nvpflow import plot
assert not any(name.startswith("matplotlib") for name in sys.modules)
plot.samples(np.eye(2), np.eye(2)).savefig(io.BytesIO())
assert "matplotlib.pyplot" not in sys.modules
"""
    result = run_python(code)
    assert result.returncode == 0, result.stderr


def test_missing_matplotlib():
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
def test_notebook_output(preamble):
    draw = "import numpy as np\nfrom nvpflow import plot\nplot.samples(np.eye(2), np.eye(2))"
    cells = [nbformat.v4.new_code_cell(source) for source in (preamble, draw)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    # matplotlib may tell of its fonts on stderr
    (output,) = [o for o in notebook.cells[1].outputs if o.get("name") != "stderr"]
    assert output.output_type == "execute_result" and "image/png" in output.data
    if not preamble:
        assert output.metadata["image/png"]["width"] == 9 * 150 // 2
