"""Figures of checks."""

import numpy as np
import pytest

import nvpflow
from nvpflow import plot


@pytest.fixture(scope="module")
def model():
    x = np.random.default_rng(0).normal(size=(500, 2)) @ [[1, 1], [0, 0.5]]
    return nvpflow.FlowDensity(max_iter=5, random_state=0).fit(x)


def test_curves_are_ranks_and_wrong_ones_are_red(model):
    x = model.sample(300, random_state=1) * [1, 1.5]
    report = model.check(x, X_train=x)
    axes = plot.diagnostics(report).axes
    assert len(axes) == 5
    for ax, check in zip(axes, [report.density, *report.columns]):
        grid, difference = ax.lines[-1].get_data()
        ranks = np.rint(grid * 301).astype(int)
        np.testing.assert_allclose(difference, np.sort(check.pit)[ranks - 1] - ranks / 301)
        assert check.name in ax.get_title()
    colours = [ax.lines[-1].get_color() for ax in axes[1:3]]
    assert colours == ["#2166ac", "#a01a58"]
    assert [text.get_text() for text in axes[-1].get_yticklabels()] == [
        "model",
        "its samples",
        "normal\ndistribution",
        "mixture",
    ]
    shown = sorted(line.get_ydata()[0] for line in axes[-2].lines if line.get_marker() == "o")
    expected = sorted(one.share for check in [report.density, *report.columns] for one in check.coverage)
    np.testing.assert_allclose(shown, expected)


def test_bands_hold_whole_curves_of_own_samples(model):
    reports = [model.check(model.sample(200, random_state=seed + 1), random_state=seed) for seed in range(12)]
    red = [ax.lines[-1].get_color() == "#a01a58" for report in reports for ax in plot.diagnostics(report).axes[:3]]
    assert np.mean(red) < 0.2  # 5 % are expected


def test_categories_alone_and_many_columns():
    values = np.random.default_rng(0).integers(0, 3, size=(200, 30)).astype(object)
    report = nvpflow.FlowDensity(support=["category"] * 30, random_state=0).fit(values).check(values)
    assert len(report.columns) == 30
    assert len(plot.diagnostics(report).axes) == 28
    assert "least likely of 31" in str(report)


def test_bad_arguments(model):
    with pytest.raises(TypeError, match="report must be a CheckReport, as FlowDensity.check returns, got FlowDensity"):
        plot.diagnostics(model)
    with pytest.raises(ValueError, match="axes must be 5 matplotlib Axes"):
        plot.diagnostics(
            model.check(model.sample(50, random_state=1)), axes=plot.diagnostics(model.check(model.sample(50))).axes[:2]
        )
