"""Columns of angles: no seam, densities of the circle, windings, samples, gradients, pieces, files, bad ranges."""

import re

import numpy as np
import pytest

import nvpflow
from nvpflow._training.dataset import Data
from nvpflow.supports._spread import spread
from nvpflow.supports._windings import into_turn, log_share, other_winding, windings
from support.checks import central_difference

TURN = 2 * np.pi
QUICK = dict(n_layers=2, hidden_dim=8, max_iter=5, random_state=0)
SUPPORT = [nvpflow.Angle(0, 360), None, nvpflow.Angle(), nvpflow.Integer(0)]


def draw(n, seed=0):
    rng = np.random.default_rng(seed)
    first = rng.vonmises(0, 2, n)
    second = first + rng.vonmises(1, 3, n)
    return np.c_[np.degrees(first), rng.normal(size=n), second, rng.poisson(3, n)]


X = draw(500)


@pytest.fixture(scope="module")
def model():
    return nvpflow.FlowDensity(support=SUPPORT[:3], **QUICK).fit(X[:, :3])


class TestDensity:
    def test_gap_on_the_seam(self):
        """Also of two coupled angles; the flow without a support has a gap of 0.1 and samples outside."""
        stats = pytest.importorskip("scipy.stats")
        rng = np.random.default_rng(0)

        def angles(n):
            first = rng.vonmises(0, 1, n)
            return np.c_[first, first + rng.vonmises(0, 3, n)] % TURN

        fitted = nvpflow.FlowDensity(support=["angle"] * 2, random_state=0).fit(angles(2000))
        test = angles(10_000)
        exact = stats.vonmises(1).logpdf(test[:, 0]) + stats.vonmises(3).logpdf(test[:, 1] - test[:, 0])
        assert abs(np.mean(exact - fitted.score_samples(test))) < 0.03

    def test_total_mass_is_one(self):
        fitted = nvpflow.FlowDensity(support=[nvpflow.Angle(-180, 180), "angle"], **QUICK).fit(X[:, [0, 2]])
        side = (np.arange(300) + 0.5) / 300
        grid = np.stack(np.meshgrid(360 * side - 180, TURN * side), axis=-1).reshape(-1, 2)
        assert np.exp(fitted.score_samples(grid).astype(float)).mean() * 360 * TURN == pytest.approx(1, abs=2e-3)

    def test_whole_turns_do_not_matter(self, model):
        expected = model.score_samples(X[:, :3])
        for turns in (1, -1, 5):
            np.testing.assert_allclose(model.score_samples(X[:, :3] + turns * np.array([360, 0, TURN])), expected, atol=1e-3)

    def test_no_seam(self):
        """At any cut: that of the samples, and where the numbers that stand for an angle change."""
        model = nvpflow.FlowDensity(support=SUPPORT[:3], random_state=0).fit(draw(1000)[:, :3])
        rows = np.tile(X[[model.score_samples(X[:, :3]).argmax()], :3], (2, 1))
        centres = model._supports.origin
        for column, turn in ((0, 360), (2, TURN)):
            for cut in (0, centres[column], centres[column] + turn / 2, centres[column] + 0.25 * turn):
                rows[:, column] = cut + np.array([-1e-5, 1e-5]) * turn
                below, above = model.score_samples(rows)
                assert abs(below - above) < 5e-3

    def test_gradient(self):
        fitted = nvpflow.FlowDensity(support=SUPPORT[:3], dtype="float64", **QUICK).fit(X[:, :3])
        rows = X[:6, :3].copy()
        expected = central_difference(lambda: fitted.score_samples(rows).sum(), rows, 1e-5)
        np.testing.assert_allclose(fitted.grad_log_prob(rows), expected, rtol=1e-4, atol=1e-6)

    def test_history_bounds_the_nll(self):
        options = {**QUICK, "validation_fraction": None, "noise": 0, "average": 0}
        fitted = nvpflow.FlowDensity(support=SUPPORT[:3], **options).fit(X[:, :3])
        assert 0 < fitted.history_["train_nll"][-1] + fitted.score(X[:, :3]) < 0.5


class TestWindings:
    def test_both_stand_for_the_angle(self):
        t = np.random.default_rng(0).uniform(1, 3, 100)
        other = other_winding(t, 2, 2)
        np.testing.assert_allclose(np.abs(other - t), 2)
        assert (np.abs(other - 2) <= 2).all()
        np.testing.assert_allclose(np.exp(log_share(t, 2, 2)) + np.exp(log_share(other, 2, 2)), 1)
        assert np.exp(log_share(np.array([0.0, 2, 4]), 2, 2)).round(12).tolist() == [0, 1, 0]

    def test_into_turn_never_reaches_the_end(self):
        x = np.array([-1e-18, 0.0, TURN, -TURN, 1e9, np.nextafter(TURN, 0)])
        taken = into_turn(x, 0.0, TURN)
        assert (taken >= 0).all() and (taken < TURN).all()

    def test_every_combination(self):
        points = windings(np.array([[1.0, 5, 3]]), np.array([4.0, 0, 10]))
        assert sorted(points[0].tolist()) == [[a, 5, b] for a in (-7, -3, 1, 5, 9) for b in (-17, -7, 3, 13, 23)]

    def test_training_sees_each_by_its_share(self):
        kind = nvpflow.Angle(0, 4)._at(1.0)
        found = spread((kind,), Data(np.full((20_000, 1), 2.0)), np.random.default_rng(0)).x
        assert set(found.ravel()) == {2.0, -2.0}
        assert np.mean(found == 2) == pytest.approx(0.5 + 0.5 * np.cos(np.pi / 4), abs=0.02)


class TestFits:
    def test_samples_are_in_the_range(self, model):
        samples = model.sample(20_000, random_state=1)
        assert (samples[:, [0, 2]] >= 0).all() and (samples[:, [0, 2]] < [360, TURN]).all()
        found, expected = (np.mean(np.exp(1j * np.radians(angles))) for angles in (samples[:, 0], X[:, 0]))
        assert abs(found - expected) < 0.1

    def test_with_whole_numbers_and_a_context(self):
        context = X[:, 1:2]
        fitted = nvpflow.FlowDensity(support=[SUPPORT[0], SUPPORT[3]], **QUICK).fit(X[:, [0, 3]], context=context)
        samples, log_masses = fitted.sample_and_log_prob(30, context=[[0.0], [1.0]], per_context=True)
        for rows, values, given in zip(samples, log_masses, ([0.0], [1.0])):
            np.testing.assert_allclose(values, fitted.score_samples(rows, context=given), atol=1e-4)
        angle = 360 * (np.arange(200) + 0.5) / 200
        grid = np.stack(np.meshgrid(angle, np.arange(50)), axis=-1).reshape(-1, 2)
        assert np.exp(fitted.score_samples(grid, context=[0.0]).astype(float)).sum() * 1.8 == pytest.approx(1, abs=5e-3)

    def test_pieces_and_warm_start(self):
        fitted = nvpflow.FlowDensity(support=SUPPORT, **QUICK).partial_fit(X).partial_fit(draw(500, 1))
        before = fitted.score(X)
        again = fitted.set_params(warm_start=True).fit(draw(500, 2))
        assert again.score(X) > before - 0.5
        with pytest.raises(ValueError, match="warm_start needs the support of the fit before, got column 0 in angles"):
            again.set_params(support=[nvpflow.Angle(), *SUPPORT[1:]]).fit(X)

    def test_detector(self):
        angles = np.random.default_rng(0).vonmises(0, 8, (300, 1))
        detector = nvpflow.FlowOutlierDetector(support=["angle"], **QUICK).fit(angles)
        assert detector.predict([[0.1], [TURN - 0.1], [np.pi]]).tolist() == [1, 1, -1]

    def test_file(self, tmp_path):
        fitted = nvpflow.FlowDensity(support=SUPPORT, **QUICK).fit(X)
        fitted.save(tmp_path / "model.npz")
        loaded = nvpflow.load(tmp_path / "model.npz")
        assert loaded.support == SUPPORT
        np.testing.assert_array_equal(loaded.score_samples(X), fitted.score_samples(X))
        np.testing.assert_array_equal(loaded.sample(20), fitted.sample(20))

    def test_transform_and_back(self, model):
        back = model.inverse_transform(model.transform(X[:, :3]))
        np.testing.assert_allclose(back[:, 1], X[:, 1], atol=1e-3)
        for column, turn in ((0, 360), (2, TURN)):
            off = (back[:, column] - X[:, column] + turn / 2) % turn - turn / 2
            assert np.abs(off).max() < 1e-3 * turn


@pytest.mark.parametrize("arguments, message", [
    ((1, 1), "the range of an Angle must be a pair (low, high) with low < high, got (1, 1)"),
    ((0, np.inf), "the range of an Angle must be finite, got 0 and inf"),
    ((0, np.nan), "the range of an Angle must be a pair (low, high) without NaN, got nan"),
    (("0", 1), "the range of an Angle must be a real number, got '0'"),
])  # fmt: skip
def test_bad_ranges(arguments, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        nvpflow.Angle(*arguments)


@pytest.mark.parametrize("fit", [nvpflow.FlowDensity.fit, nvpflow.FlowDensity.partial_fit])
def test_a_base_with_mass_beyond_the_turns(fit):
    model = nvpflow.FlowDensity(base="student_t", support=SUPPORT, **QUICK)
    with pytest.raises(ValueError, match=r"base must not be 'student_t' if a column of X is an angle, as column\(s\) 0, 2:"):
        fit(model, X)
    assert not hasattr(model, "flow_")


class TestOtherUnits:
    """Degrees and hours without a range."""

    @pytest.mark.parametrize("library", ["pandas", "polars"])
    def test_columns(self, library):
        frame = pytest.importorskip(library).DataFrame(
            {"x": np.random.default_rng(0).normal(size=100), "wind": np.arange(100.0)}
        )
        with pytest.warns(UserWarning, match=r"column 'wind' of X has values over 16 turns of 2 pi.*Angle\(0, 360\)"):
            nvpflow.FlowDensity(support={"wind": "angle"}, **QUICK).fit(frame)
        with pytest.warns(UserWarning, match="column 1 of X has values over 16 turns"):
            nvpflow.FlowDensity(support=[None, "angle"], **QUICK).fit(frame.to_numpy())
        with pytest.warns(UserWarning, match="column 'wind' of context has values over 16 turns"):
            nvpflow.FlowDensity(context_support={"wind": "angle"}, **QUICK).fit(frame[["x"]], context=frame[["wind"]])

    @pytest.mark.parametrize("support, values", [
        (nvpflow.Angle(0, 24), np.linspace(0, 96, 100)), ("angle", np.linspace(-np.pi, 3 * np.pi, 100)), (None, np.arange(100)),
    ])  # fmt: skip
    def test_none_where_a_range_is_declared_or_values_span_two_turns(self, support, values):
        x = np.c_[values, np.random.default_rng(0).normal(size=100)]
        nvpflow.FlowDensity(support=[support, None], **QUICK).fit(x)
