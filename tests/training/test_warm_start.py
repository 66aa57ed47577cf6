"""Warm starts: units follow samples that have moved, and errors say what has changed."""

import copy
import pickle
import re

import numpy as np
import pytest

import nvpflow

rng = np.random.default_rng(0)
ANGLE = rng.uniform(0, 2 * np.pi, 1000)
RING = np.stack([np.cos(ANGLE), np.sin(ANGLE)], axis=1) + 0.1 * rng.normal(size=(1000, 2))
NORMAL = rng.normal(size=(1000, 2)) @ [[1, 0.5], [0, 1]]
ROTATION = np.array([[0.8, -0.6], [0.6, 0.8]])
MOVES = {
    "moved": lambda x: x + 10,
    "moved far": lambda x: x - 500,
    "shrunk": lambda x: x / 10,
    "spread": lambda x: x * 1000,
    "columns rescaled": lambda x: x * [100, 1e-3] + [5, -2],
    "rotated": lambda x: x * [1, 5] @ ROTATION,
}


def make(**parameters):
    few_updates = dict(n_layers=4, hidden_dim=16, max_iter=40, batch_size=256, random_state=0)
    return nvpflow.FlowDensity(**few_updates | parameters)


every_move = pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
every_base = pytest.mark.parametrize("options", [dict(base="normal"), dict(base="normal", n_init=2), {}], ids=str)


class TestUnits:
    @every_move
    @every_base
    def test_moved_samples(self, move, options):
        for x in (RING, NORMAL):
            model = make(warm_start=True, **options).fit(x)
            fresh = make(**options).fit(move(x)).score(move(x))
            # A few epochs: what training could not mend by itself.
            assert model.set_params(max_iter=10).fit(move(x)).score(move(x)) > fresh - 0.1

    @every_base
    def test_same_samples(self, options):
        model = make(warm_start=True, **options).fit(RING)
        expected = model.score_samples(RING)
        if options:  # a mixture without layers goes on by expectation and maximisation
            start = copy.deepcopy(model).set_params(max_iter=1, learning_rate=1e-12, noise=0).fit(RING)
            np.testing.assert_allclose(start.score_samples(RING), expected, atol=1e-4)
        again = model.set_params(max_iter=10).fit(RING)
        assert again.score(RING) > expected.mean() - 0.02

    def test_other_samples_of_same_density(self):
        model = make(warm_start=True, base="normal", max_iter=200).fit(RING[:500])
        bias = model.flow_.layers[-1].bias.copy()
        model.set_params(max_iter=1).fit(RING[500:])
        np.testing.assert_allclose(model.flow_.layers[-1].bias, bias, atol=1e-6)
        model.fit(RING[500:] + 10)
        np.testing.assert_allclose(model.flow_.layers[-1].bias, bias + 10, atol=0.1)

    def test_without_standardisation(self):
        model = make(warm_start=True, standardize=False).fit(RING)
        before = model.score(RING)
        assert model.set_params(max_iter=1).fit(RING).score(RING) > before - 0.05

    @pytest.mark.filterwarnings("ignore:.*vary by less than a thousand times")
    def test_origin(self):
        model = make(warm_start=True).fit(RING)
        expected = model.score(RING)
        for offset in (1e8, -1e8, 0):
            assert model.fit(RING + offset).score(RING + offset) == pytest.approx(expected, abs=0.1)
            assert (model.origin_ != 0).all() == (offset != 0)


class TestMixture:
    def test_mixture_without_layers(self):
        """Normal samples need no layers, before and after they move."""
        model = make(warm_start=True).fit(NORMAL)
        assert model.best_iter_ == 0
        for move in MOVES.values():
            model.fit(move(NORMAL))
            covariance = np.cov(move(NORMAL).T)
            entropy = 1 + np.log(2 * np.pi) + 0.5 * np.linalg.slogdet(covariance)[1]
            assert -model.score(move(NORMAL)) == pytest.approx(entropy, abs=0.02)

    def test_components(self):
        """Four clusters that move and change their shapes."""
        generator = np.random.default_rng(0)
        x = generator.normal(size=(2000, 2)) * 0.1 + generator.choice([-2, 2], size=(2000, 2))
        other = generator.normal(size=(2000, 2)) * [0.5, 0.02] + generator.choice([-1, 0, 1], size=(2000, 2)) * [5, 3]
        model = nvpflow.FlowDensity(warm_start=True, random_state=0, max_iter=20).fit(x)
        fresh = nvpflow.FlowDensity(random_state=0, max_iter=20).fit(other).score(other)
        assert model.fit(other).score(other) > fresh - 0.05

    def test_layer_selection(self):
        """Layers that some samples do not need may be kept for others."""
        model = make(warm_start=True, max_iter=100).fit(NORMAL)
        assert model.best_iter_ == 0
        fresh = make(max_iter=100).fit(RING).score(RING)
        assert model.fit(RING).score(RING) > fresh - 0.1


class TestContext:
    C = rng.uniform(-1, 1, size=(1000, 2))
    Y = np.sin(3 * C[:, :1]) + 0.3 * rng.normal(size=(1000, 1)) + C[:, 1:]

    @pytest.mark.filterwarnings("ignore:.*vary by less than a thousand times")
    @pytest.mark.parametrize("pickled", [False, True])
    def test_moved_context(self, pickled):
        model = make(warm_start=True, max_iter=60).fit(self.Y, context=self.C)
        before = model.score(self.Y, context=self.C)
        for y, c in ((self.Y, self.C + 50), (self.Y, self.C * [100, 1e-3]), (self.Y + 10, self.C - 3), (self.Y, self.C + 1e8)):
            twin = pickle.loads(pickle.dumps(model)) if pickled else copy.deepcopy(model)
            twin.set_params(max_iter=10).fit(y, context=c)
            assert twin.score(y, context=c) > before - 0.05
            assert twin.set_params(max_iter=10).fit(self.Y, context=self.C).score(self.Y, context=self.C) > before - 0.05

    def test_same_samples(self):
        model = make(warm_start=True, base="normal").fit(self.Y, context=self.C)
        expected = model.score_samples(self.Y, context=self.C)
        model.set_params(max_iter=1, learning_rate=1e-12, noise=0).fit(self.Y, context=self.C)
        np.testing.assert_allclose(model.score_samples(self.Y, context=self.C), expected, atol=1e-3)

    def test_after_partial_fit(self):
        model = make(warm_start=True)
        for _ in range(20):
            model.partial_fit(self.Y, context=self.C)
        before = model.score(self.Y, context=self.C)
        assert (
            model.set_params(max_iter=10).fit(self.Y, context=self.C + 50).score(self.Y, context=self.C + 50) > before - 0.05
        )


class TestMessage:
    @pytest.mark.parametrize("changes, words", [
        (dict(hidden_dim=4), "got hidden_dim 16 -> 4"),
        (dict(n_layers=6), "got n_layers 4 -> 6"),
        (dict(n_layers=3, activation="tanh"), "got n_layers 4 -> 3, activation relu -> tanh"),
        (dict(coupling="affine"), "got coupling spline -> affine, scale_bound None -> 1.0, n_bins 6 -> None, ..."),
        (dict(n_bins=9), "got n_bins 6 -> 9"),
        (dict(tail_bound=2.0), "got tail_bound 3.0 -> 2.0"),
        (dict(dtype="float64"), "got dtype float32 -> float64"),
        (dict(standardize=False), "got standardize True -> False"),
        (dict(base="normal"), "got base mixture -> normal"),
    ], ids=str)  # fmt: skip
    def test_names_differences(self, changes, words):
        model = make(warm_start=True, max_iter=1).fit(RING)
        flow = model.flow_
        with pytest.raises(ValueError, match=f"^warm_start needs .*{re.escape(words)}$") as caught:
            model.set_params(**changes).fit(RING)
        assert len(str(caught.value)) < 300 and model.flow_ is flow

    def test_other_shapes(self):
        model = make(warm_start=True, max_iter=1).fit(RING)
        with pytest.raises(ValueError, match=r"got features 2 -> 3$"):
            model.fit(np.hstack([RING, RING[:, :1] ** 2]))
        with pytest.raises(ValueError, match=r"got columns of context 0 -> 1"):
            model.fit(RING, context=NORMAL[:, :1])

    def test_many_widths(self):
        model = make(warm_start=True, max_iter=1, hidden_dim=[3] * 100).fit(RING)
        with pytest.raises(ValueError, match="hidden_dim") as caught:
            model.set_params(hidden_dim=[4] * 200, n_layers=1, n_bins=20, activation="silu").fit(RING)
        assert len(str(caught.value)) < 300


class TestDetector:
    def test_units(self):
        detector = nvpflow.FlowOutlierDetector(n_layers=2, hidden_dim=8, max_iter=10, random_state=0, warm_start=True)
        expected = detector.fit(NORMAL).score_samples(NORMAL).mean()
        assert detector.fit(NORMAL + 100).score_samples(NORMAL + 100).mean() == pytest.approx(expected, abs=0.05)

    def test_warning_location(self):
        pd = pytest.importorskip("pandas")
        frame = pd.DataFrame(NORMAL, columns=["a", "b"])
        detector = nvpflow.FlowOutlierDetector(n_layers=2, hidden_dim=8, max_iter=2, random_state=0, warm_start=True)
        for contamination in ("auto", 0.1):
            detector.set_params(contamination=contamination).fit(frame).fit(frame)  # without a warning
            assert detector.estimator_.feature_names_in_.tolist() == ["a", "b"]
            np.testing.assert_array_equal(detector.estimator_.score_samples(frame), detector.score_samples(frame))
            with pytest.raises(ValueError, match="must be in the same order"):
                detector.estimator_.score_samples(frame[["b", "a"]])
        detector.fit(NORMAL)
        assert not hasattr(detector.estimator_, "feature_names_in_")


class TestKnownMixtures:
    """Only mixtures that had a share before compete again, unless more components are clearly better."""

    def names(self, model):
        return {name for name in model.search_["candidate"] if name.startswith("mixture")}

    def test_fewer_compete(self):
        model = make(warm_start=True).fit(RING[:600])
        first = model.search_
        kept = {name for name, share in zip(first["candidate"], first["weight"]) if share > 0 and name.startswith("mixture")}
        expected = make().fit(2 * RING[400:]).score(2 * RING)
        model.fit(2 * RING[400:])
        assert kept <= self.names(model)
        assert len(self.names(model)) < 0.6 * sum(name.startswith("mixture") for name in first["candidate"])
        assert model.score(2 * RING) > expected - 0.03

    def test_more_components(self):
        few = NORMAL + 20 * (np.arange(1000) % 2)[:, None]
        many = NORMAL + 20 * (np.arange(1000) % 9)[:, None]
        model = make(warm_start=True).fit(few)
        before = self.names(model)
        model.fit(many)
        assert self.names(model) - before
        assert model.score(many) > make().fit(many).score(many) - 0.02


class TestEpochs:
    """Without cycles, a warm start takes a quarter of the epochs of a first fit."""

    @pytest.mark.parametrize("base", ["normal", "student_t"])
    def test_a_quarter(self, base):
        model = make(base=base, warm_start=True, max_iter=None).fit(RING)
        n, score = model.n_iter_, model.score(RING * 2)
        assert model.fit(RING * 2).n_iter_ == round(n / 4) and model.score(RING * 2) > score
        assert model.set_params(warm_start=False).fit(RING).n_iter_ == n

    def test_chosen_numbers_are_kept(self):
        model = make(base="normal", warm_start=True).fit(RING)
        assert model.fit(RING).n_iter_ == 40
        alone = make(base="normal", warm_start=True, max_iter=None, validation_fraction=None).fit(RING)
        n = alone.n_iter_  # nothing held out would tell whether fewer are enough
        assert alone.fit(RING).n_iter_ == n
