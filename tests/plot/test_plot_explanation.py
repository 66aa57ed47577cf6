"""Figures of explanations of outliers."""

import numpy as np
import pytest

import nvpflow
from nvpflow import plot


@pytest.fixture(scope="module")
def detector():
    x = np.random.default_rng(0).normal(size=(300, 3)) @ [[1, 1, 0], [0, 0.2, 0], [0, 0, 1]]
    return nvpflow.FlowOutlierDetector(max_iter=5, random_state=0).fit(x)


def test_bars_are_the_p_values(detector):
    row = [[1.0, -1.0, 0.0]]
    (ax,) = plot.explanation(detector, row).axes
    found = detector.explain(row)
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], -np.log10(np.maximum(found["p_value"], 1e-12)))
    assert [text.get_text() for text in ax.get_yticklabels()] == ["0", "1", "2"]
    words = [text.get_text() for text in ax.texts]
    assert words[2] == f"0, usual: {found['low'].iloc[2]:.4g} to {found['high'].iloc[2]:.4g}"
    colours = [bar.get_facecolor() for bar in ax.patches]
    assert colours[0] == colours[1] != colours[2]


def test_bad_arguments(detector):
    with pytest.raises(ValueError, match="row must be one row, got 2"):
        plot.explanation(detector, np.zeros((2, 3)))
    with pytest.raises(TypeError, match="detector must be a FlowOutlierDetector"):
        plot.explanation(detector.estimator_, np.zeros((1, 3)))
