"""Figures of training curves."""

import copy
import io

import numpy as np
import pytest

import nvpflow
from nvpflow import plot


class TestTraining:
    def test_epochs(self, model):
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

    def test_best_epoch(self, model):
        model = copy.copy(model)
        model.best_iter_ = 7  # not the lowest one
        (ax,) = plot.training(model).axes
        assert ax.lines[2].get_xdata()[0] == 7
        assert ax.lines[2].get_ydata()[0] == model.history_["validation_nll"][6]
        with pytest.raises(nvpflow.NotFittedError):
            plot.training(nvpflow.FlowDensity())

    def test_without_validation(self):
        (ax,) = plot.training({"train_nll": [3.0, 2.0, 1.5]}).axes
        (line,) = ax.lines
        np.testing.assert_array_equal(line.get_ydata(), [3.0, 2.0, 1.5])
        assert ax.get_ylim()[0] < 1.5 and ax.get_ylim()[1] > 2.0

    def test_huge_first_epochs(self):
        curve = np.concatenate([[1e30, 1e6, 500.0, 20.0], 1 + np.exp(-np.arange(200) / 30)])
        (ax,) = plot.training({"train_nll": curve, "validation_nll": curve + 0.1}, 0.9).axes
        low, high = ax.get_ylim()
        assert low < 0.9 and 1.2 < high < 5

    def test_overfitting(self):
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
