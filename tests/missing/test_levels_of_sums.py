"""Levels of rows with missing cells whose densities are sums: fewer samples are enough."""

import numpy as np

import nvpflow
from nvpflow.missing import _levels
from nvpflow.missing._levels import _n_samples, levels_of


def test_fewer_samples_where_densities_are_sums(monkeypatch):
    rng = np.random.default_rng(0)
    hour = rng.vonmises(0, 2, 400) % (2 * np.pi)
    x = np.column_stack([hour, rng.poisson(3 + np.cos(hour)), rng.normal(size=400), rng.integers(0, 3, 400)])
    x[rng.random(x.shape) < 0.1] = np.nan
    support = [nvpflow.Angle(), nvpflow.Integer(0), None, "category"]
    model = nvpflow.FlowDensity(support=support, missing="marginalize", random_state=0).fit(x)._incomplete_model()
    patterns = {name: np.array(cells) for name, cells in {
        "none": [False] * 4, "sums of 155": [False, False, True, False], "of 465": [False, False, False, True],
        "of 5": [False, True, False, False], "of 1": [True, True, False, False],
    }.items()}  # fmt: skip
    assert {name: model.n_evaluations(cells) for name, cells in patterns.items()} == {
        "none": 155, "sums of 155": 155, "of 465": 465, "of 5": 5, "of 1": 1,
    }  # fmt: skip
    assert [_n_samples(model, cells) for cells in patterns.values()] == [4838, 967, 500, 10_000, 10_000]
    scores = np.linspace(-8, -3, 11)
    few = levels_of(model, patterns["sums of 155"], scores)
    monkeypatch.setattr(_levels, "MOST_EVALUATIONS", 10**9)
    model.ranked.clear()
    np.testing.assert_allclose(levels_of(model, patterns["sums of 155"], scores), few, atol=0.04)
