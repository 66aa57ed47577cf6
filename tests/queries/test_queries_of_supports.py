"""Free and given columns of every kind of support agree with sums of the joint density."""

import numpy as np
import pandas
import pytest

from nvpflow import AccuracyWarning, Angle, FlowDensity, Integer

SMALL = {"max_iter": 5, "random_state": 0}
KINDS = {"real": None, "positive": "positive", "share": "unit", "count": Integer(0), "angle": Angle(), "kind": "category"}


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    z = rng.multivariate_normal(np.zeros(3), np.eye(3) * 0.3 + 0.7, size=600)
    return pandas.DataFrame({
        "real": z[:, 0],
        "positive": np.exp(z[:, 1]),
        "share": 1 / (1 + np.exp(-z[:, 2])),
        "count": rng.poisson(np.exp(0.5 * z[:, 0])).astype(float),
        "angle": np.mod(z[:, 0] + 6, 2 * np.pi),
        "kind": np.where(z[:, 2] > 0.3, "a", "b"),
    })  # fmt: skip


def values_of(column):
    """Values that hold all of the mass of a column, and their weights in sums."""
    if column == "count":
        return np.arange(60.0), np.ones(60)
    if column == "kind":
        return np.array(["a", "b"], dtype=object), np.ones(2)
    ends = {"real": (-6, 6), "positive": (0, 400), "share": (0, 1), "angle": (0, 2 * np.pi)}[column]
    edges = np.linspace(*ends, 20_001 if column == "positive" else 6001)  # its far tail counts in the variance
    return (edges[1:] + edges[:-1]) / 2, np.diff(edges)


@pytest.mark.parametrize("layers", [{}, {"base": "normal", "n_layers": 2}], ids=["mixture", "layers"])
@pytest.mark.parametrize(
    ("free", "given"),
    [("positive", "count"), ("share", "angle"), ("count", "kind"), ("angle", "positive"), ("kind", "real"), ("real", "share")],
)
def test_conditional_agrees_with_the_joint_density(frame, free, given, layers):
    table = frame[[free, given]]
    model = FlowDensity(support={name: KINDS[name] for name in (free, given)}, **SMALL, **layers).fit(table)
    value = table[given].iloc[3]
    values, weights = values_of(free)
    rows = pandas.DataFrame({free: values, given: [value] * len(values)})
    joint = np.exp(model.score_samples(rows).astype(float))
    joint /= joint @ weights
    found = model.conditional({given: value})
    np.testing.assert_allclose(found.pdf(values), joint, atol=1e-3 * joint.max())
    np.testing.assert_allclose(found.pdf(values) @ weights, 1, atol=1e-3)
    if free == "kind":
        with pytest.raises(ValueError, match="column 'kind' holds categories"):
            found.cdf([0.5])
        return
    np.testing.assert_allclose(found.cdf(values + 0.5 * weights * (free != "count")), np.cumsum(joint * weights), atol=1e-3)
    if free != "angle":
        mean = joint * weights @ values
        np.testing.assert_allclose(found.mean(), mean, atol=2e-3)
        np.testing.assert_allclose(found.std() ** 2, joint * weights @ (values - mean) ** 2, rtol=1e-2)
    drawn = found.sample(50, 0)
    assert list(drawn.columns) == [free]
    low, high = found.interval(0.9)
    inside = (drawn[free] >= low) & (drawn[free] <= high) if low <= high else (drawn[free] >= low) | (drawn[free] <= high)
    assert 0.7 <= inside.mean() <= 1


def test_circular_mean_and_interval_go_around():
    x = np.random.default_rng(0).normal(0, 0.3, size=(500, 2))
    model = FlowDensity(support=[Angle(), "real"], batch_size=256, **SMALL).fit(np.c_[np.mod(x[:, 0], 2 * np.pi), x[:, 1]])
    marginal = model.marginal(0)
    assert abs(np.angle(np.exp(1j * marginal.mean()))) < 0.1
    low, high = marginal.interval(0.9)
    assert low > 5 and high < 1
    np.testing.assert_allclose(marginal.cdf(high) + 1 - marginal.cdf(low), 0.9, atol=1e-6)


def test_a_category_that_is_left_open_is_summed(frame):
    table = frame[["real", "share", "kind"]]
    model = FlowDensity(**SMALL).fit(table)
    grid = np.linspace(-4, 4, 801)
    found = model.conditional({"share": 0.4}, "real")
    rows = pandas.DataFrame({"real": np.tile(grid, 2), "share": 0.4, "kind": np.repeat(["a", "b"], len(grid))})
    joint = np.exp(model.score_samples(rows).astype(float)).reshape(2, -1).sum(axis=0)
    np.testing.assert_allclose(found.pdf(grid), joint / np.trapezoid(joint, grid), atol=1e-3)


def test_a_model_with_a_context_takes_it():
    rng = np.random.default_rng(0)
    context = rng.uniform(size=(400, 1))
    x = rng.normal(size=(400, 2)) @ [[1, 1], [0, 1]] + 3 * context
    model = FlowDensity(**SMALL).fit(x, context=context)
    grid = np.linspace(-8, 12, 2001)
    found = model.conditional({0: 2.0}, context=[[0.2], [0.8]])
    for place, value in enumerate((0.2, 0.8)):
        joint = np.exp(model.score_samples(np.c_[np.full(2001, 2.0), grid], context=[value]).astype(float))
        np.testing.assert_allclose(found.pdf(grid)[place], joint / np.trapezoid(joint, grid), atol=1e-3)
    with pytest.raises(ValueError, match="context must be given"):
        model.conditional({0: 2.0})


def test_frames_give_columns_by_name(frame):
    table = frame[["real", "positive"]]
    model = FlowDensity(support={"positive": "positive"}, **SMALL).fit(table)
    by_frame = model.conditional(table[["positive"]].head(4)).mean()
    by_dict = model.conditional({"positive": table["positive"].head(4)}).mean()
    by_array = model.conditional(np.c_[np.full(4, np.nan), table["positive"].head(4)]).mean()
    np.testing.assert_array_equal(by_frame, by_dict)
    np.testing.assert_array_equal(by_frame, by_array)


def test_ordered_categories_have_quantiles(frame):
    sizes = pandas.Categorical(np.where(frame["real"] > 1, "L", np.where(frame["real"] > -1, "M", "S")), ["S", "M", "L"], True)
    table = pandas.DataFrame({"size": sizes, "share": frame["share"]})
    model = FlowDensity(**SMALL).fit(table)
    found = model.conditional({"share": [0.1, 0.9]}, "size")
    p = found.pdf(["S", "M", "L"])
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-9)
    np.testing.assert_allclose(found.cdf("M"), p[:, 0] + p[:, 1], atol=1e-9)
    assert found.ppf([0.0001, 0.9999])[0].tolist() == ["S", "L"]
    assert found.ppf(0.5).tolist() == ["M", "M"] or (p[:, 1] < 0.5).any()
    scores = (
        model.score_samples(pandas.DataFrame({"size": sizes[:1], "share": [0.1]}))[0]
        - model.marginal("share").score_samples([0.1])[0]
    )
    np.testing.assert_allclose(np.exp(scores), found.pdf([sizes[0]])[0, 0], rtol=1e-4)


def test_a_number_and_a_category_together_have_mass_one(frame):
    model = FlowDensity(base="normal", n_layers=2, **SMALL).fit(frame[["real", "share", "kind"]])
    grid = np.linspace(-12, 12, 2001)
    found = model.conditional({"real": 0.2})
    assert found.method == "quadrature"
    np.testing.assert_allclose(np.trapezoid(found.pdf((grid, ["a", "b"])), grid, axis=0).sum(), 1, atol=1e-4)


def test_a_model_of_categories_alone(frame):
    table = frame[["kind"]].assign(sign=np.where(frame["real"] > 0, "+", "-"))
    model = FlowDensity(**SMALL).fit(table)
    found = model.conditional({"sign": "+"})
    expected = model.score_samples(pandas.DataFrame({"kind": ["a", "b"], "sign": "+"}))
    np.testing.assert_allclose(found.pdf(["a", "b"]), np.exp(expected) / np.exp(expected).sum(), rtol=1e-5)


def test_means_of_columns_behind_exponentials():
    """A broad normal in front of an exponential would have hardly any mass, and a mean without bounds."""
    rng = np.random.default_rng(0)
    x = rng.exponential(size=1000) ** 2
    table = np.stack([x, np.exp(x**0.25 + 0.3 * rng.normal(size=1000))], axis=1)
    model = FlowDensity(support=["positive", "positive"], random_state=0).fit(table)
    found = model.conditional({0: 1.0})
    np.testing.assert_allclose(found.mean(), np.exp(1 + 0.3**2 / 2), rtol=0.1)
    assert found.std() < 2


def test_means_that_a_tail_decides_are_told():
    """The deviation of exp(5 z) is 7e10, and of 5000 samples the largest is about 1e8."""
    rng = np.random.default_rng(0)
    found = FlowDensity(support=["positive"], random_state=0).fit(np.exp(5 * rng.normal(size=(500, 1)))).marginal([0])
    for ask in (found.mean, found.std):
        with pytest.warns(AccuracyWarning, match=r"in 1 row\(s\) are those of a tail beyond all samples of the model"):
            ask()
    assert 0.3 < found.ppf([0.5])[0] < 3
    usual = FlowDensity(support=["positive"], random_state=0).fit(rng.exponential(size=(300, 1)))
    assert 0.5 < usual.marginal([0]).std() < 2  # without a warning
