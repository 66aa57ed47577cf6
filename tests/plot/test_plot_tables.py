"""Corner plots of tables: bars for categories and whole numbers, a whole turn for angles."""

import numpy as np
import pytest

import nvpflow
from nvpflow import plot
from support.figures import offsets

rng = np.random.default_rng(0)
N = 200
COLOURS = rng.choice(["red", "green", "blue"], N, p=[0.6, 0.3, 0.1])
TABLE = np.array([rng.normal(size=N), COLOURS, rng.integers(0, 4, N), rng.uniform(0, 360, N)], dtype=object).T
SUPPORT = {1: "category", 2: nvpflow.Integer(0), 3: nvpflow.Angle(0, 360)}


def grid(figure):
    return np.array(figure.axes, dtype=object).reshape(4, 4)


def test_bars_are_the_shares_of_the_values():
    axes = grid(plot.corner(TABLE, TABLE[:50], support=SUPPORT))
    ax = axes[1, 1]
    filled, outlined = np.array([bar.get_height() for bar in ax.patches]).reshape(2, 3)
    values = ["red", "green", "blue"]  # the most frequent first
    np.testing.assert_allclose(filled, [(value == COLOURS).mean() for value in values])
    np.testing.assert_allclose(outlined, [(COLOURS[:50] == value).mean() for value in values])
    assert [label.get_text() for label in axes[3, 1].get_xticklabels()] == values


def test_points_of_a_category_lie_around_its_place():
    points = offsets(grid(plot.corner(TABLE, support=SUPPORT))[1, 0])
    order = np.argsort(points[:, 0])
    expected = np.array([["red", "green", "blue"].index(c) for c in COLOURS])[np.argsort(TABLE[:, 0].astype(float))]
    assert np.abs(points[order, 1] - expected).max() <= 0.3


def test_an_angle_has_the_whole_turn():
    turned = TABLE.copy()
    turned[:, 3] += 720
    figures = [grid(plot.corner(table, support=SUPPORT)) for table in (TABLE, turned)]
    for axes in figures:
        assert axes[3, 3].get_xlim() == (0, 360)
    np.testing.assert_allclose(*[np.sort(offsets(axes[3, 0])[:, 1]) for axes in figures], atol=1e-9)


def test_whole_numbers_have_a_bar_each():
    (stairs,) = grid(plot.corner(TABLE, support=SUPPORT))[2, 2].patches
    np.testing.assert_allclose(stairs.get_data().edges, [-0.5, 0.5, 1.5, 2.5, 3.5])
    np.testing.assert_allclose(stairs.get_data().values, np.bincount(TABLE[:, 2].astype(int)) / N)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(library):
    frame = pytest.importorskip(library).DataFrame({"size": TABLE[:, 0].astype(float), "colour": COLOURS.tolist()})
    axes = np.array(plot.corner(frame, frame[:20]).axes, dtype=object).reshape(2, 2)
    assert [ax.get_xlabel() for ax in axes[1]] == ["size", "colour"]
    assert len(axes[1, 1].patches) == 6


def test_rare_values_are_drawn_together():
    many = np.repeat(np.arange(100), np.arange(1, 101))[:, None]
    figure = plot.corner(many, support=["category"])
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert len(heights) == 12 and heights[-1] == pytest.approx(np.arange(1, 90).sum() / len(many))
    assert figure.axes[0].get_xticklabels()[-1].get_text() == "others"


def test_wrong_arguments():
    with pytest.raises(ValueError, match="samples must have 4 columns, got 3"):
        plot.corner(TABLE, TABLE[:, :3], support=SUPPORT)
    with pytest.raises(ValueError, match="support must name columns of data"):
        plot.corner(TABLE, support={7: "category"})
    with pytest.raises(ValueError, match="samples must have at least one row"):
        plot.corner(TABLE, TABLE[:0], support=SUPPORT)
    with pytest.raises((TypeError, ValueError), match="data must be an array of real numbers"):
        plot.corner(TABLE)


def test_densities_of_angles_are_drawn_over_the_whole_turn():
    x = np.column_stack([TABLE[:, 3], TABLE[:, 0]]).astype(float)
    model = nvpflow.FlowDensity(max_iter=1, support=[nvpflow.Angle(0, 360), None], random_state=0).fit(x)
    ax = plot.density(model, resolution=10).axes[0]
    assert ax.get_xlim() == (0, 360)


def test_models_with_categories_have_no_image():
    model = nvpflow.FlowDensity(max_iter=1, support={1: "category"}, random_state=0).fit(TABLE[:, :2])
    with pytest.raises(ValueError, match="are categories: plot.corner draws samples"):
        plot.density(model)


def of_counts():
    counts = np.random.default_rng(0).poisson(3, size=(400, 1))
    return counts, nvpflow.FlowDensity(max_iter=1, support=[nvpflow.Integer(0)], random_state=0).fit(counts)


def test_density_draws_probabilities_around_the_numbers():
    counts, model = of_counts()

    def exact(k):
        assert (k == np.round(k)).all()
        return np.full(len(k), -1.0)

    (ax,) = plot.density(model, exact, data=counts, resolution=2001).axes
    (stairs,), (learned, _) = ax.patches, ax.lines
    edges, shares = stairs.get_data().edges, stairs.get_data().values
    k = (edges[:-1] + 0.5)[shares > 0]
    np.testing.assert_allclose(shares[shares > 0], [(counts == number).mean() for number in k])
    for place in (-0.4, 0, 0.4):
        drawn = np.interp(k + place, *learned.get_data())
        np.testing.assert_allclose(drawn, np.exp(model.score_samples(k[:, None])), rtol=1e-5)
    assert ax.get_ylabel() == "probability" and ax.get_xlim()[0] == edges[0]


def test_regions_of_whole_numbers_hold_their_share():
    counts, model = of_counts()
    """At least, as a number belongs to a region or not; and the last ones may be the same."""
    figure = plot.contours(model, counts, mass=[0.5, 0.9, 0.9999, 0.99999])
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    shares = [float(text.split("nats")[1].split("%")[0]) for text in texts]
    log_p = model.score_samples(counts)
    order = np.sort(log_p)[::-1]
    assert 50 <= shares[0] <= 50 + 100 * (log_p == order[200]).mean() and shares[1] >= 90 and shares[3] >= 99.5


def test_whole_numbers_beside_an_angle_and_a_context():
    counts = np.random.default_rng(0).poisson(3, size=(400, 1))
    rng = np.random.default_rng(1)
    table = np.column_stack([counts[:, 0], rng.uniform(0, 6, len(counts))])
    model = nvpflow.FlowDensity(max_iter=1, support=["integer", "angle"], random_state=0).fit(table, context=table[:, 1:])
    ax = plot.density(model, resolution=12, context=[1.0]).axes[0]
    values = ax.images[0].get_array()
    assert np.isfinite(values).any() and ax.get_ylim() == (0, 2 * np.pi)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_samples_of_frames_have_their_names(library):
    frame = pytest.importorskip(library).DataFrame({"size": TABLE[:, 0].astype(float), "angle": TABLE[:, 3].astype(float)})
    assert plot.samples(frame, frame[:20]).axes[0].get_xlabel() == "size"
    assert plot.samples(frame, frame[:20], names=["a", "b"]).axes[0].get_ylabel() == "b"
