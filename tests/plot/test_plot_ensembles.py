"""Figures of ensembles: densities, samples and training curves; and those that need one flow."""

import numpy as np
import pytest

import nvpflow
from nvpflow import plot

rng = np.random.default_rng(0)
PLANE = rng.normal(size=(300, 2)) @ [[3.0, 1.0], [0.0, 0.5]] + [10, -2]
OPTIONS = {"n_layers": 2, "hidden_dim": 8, "base": "normal", "max_iter": 20, "n_models": 3, "random_state": 0}


@pytest.fixture(scope="module")
def model():
    return nvpflow.FlowDensity(**OPTIONS).fit(PLANE)


@pytest.fixture(scope="module")
def models(model):
    return {
        "FlowEnsemble": model.flow_,
        "FlowDensity": model,
        "FlowOutlierDetector": nvpflow.FlowOutlierDetector(**OPTIONS).fit(PLANE),
    }


KINDS = "FlowEnsemble", "FlowDensity", "FlowOutlierDetector"


@pytest.mark.parametrize("kind", KINDS)
def test_density(kind, models, model):
    image, *_ = plot.density(models[kind], limits=((0, 20), (-6, 2)), resolution=20).axes[0].images
    values = np.asarray(image.get_array())
    x, y = (np.arange(20) + 0.5) / 20 * 20, (np.arange(8) + 0.5) / 8 * 8 - 6
    expected = model.score_samples(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)).reshape(8, 20)
    shown = values > values.min() + 1e-3
    np.testing.assert_allclose(values[shown], expected[shown], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_contours(kind, models):
    figure = plot.contours(models[kind], PLANE, mass=[0.5, 0.9])
    assert "90 %: above" in figure.axes[0].get_legend().get_texts()[1].get_text()


@pytest.mark.parametrize("draw", [plot.evolution, plot.animation, lambda model: plot.latent(model, PLANE)])
@pytest.mark.parametrize("kind", KINDS)
def test_figures_of_one_flow(kind, draw, models):
    with pytest.raises(ValueError, match=r"model must have one flow .*, got an average of 3.*flow_\[0\].*n_models=1"):
        draw(models[kind])


def test_training(model):
    """The curves of each member from its first epoch, with its kept epoch."""
    for given in (model, model.history_):
        (ax,) = plot.training(given).axes
        curves = [line for line in ax.lines if len(line.get_xdata()) > 1]
        assert len(curves) == 6
        for k in range(3):
            own = model.history_["member"] == k
            np.testing.assert_array_equal(curves[2 * k].get_xdata(), np.arange(1, 21))
            np.testing.assert_array_equal(curves[2 * k].get_ydata(), model.history_["train_nll"][own])
            epoch = model.history_["validation_epoch"]
            of_member = own[epoch - 1]
            np.testing.assert_array_equal(curves[2 * k + 1].get_ydata(), model.history_["validation_nll"][of_member])
        kept = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 1]
        assert kept == [best for best in model.best_iter_ if best]
        assert [text.get_text() for text in ax.get_legend().get_texts()] == ["training", "validation", "kept"]


def test_wrong_members(model):
    with pytest.raises(ValueError, match="history must have one member for each train_nll"):
        plot.training(model.history_ | {"member": [0, 1]})
