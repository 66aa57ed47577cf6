"""The course of a default fit: cycles, when they end, and which learning rate they have."""

import numpy as np
import pytest
from sklearn.datasets import make_moons

import nvpflow
from nvpflow._training.course import FIRST_OF_REFIT, LAST_CYCLE, NO_GAIN, OUT_OF_REACH, STOPPED, Contest, cycle_ends
from nvpflow._training.dataset import Data
from nvpflow._training.limit import Limit
from nvpflow._training.start import Start


def checkerboard(n, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, n)
    return np.column_stack([x, rng.uniform(size=n) - 2 * rng.integers(0, 2, n) + np.floor(x) % 2])


def moons(n):
    return make_moons(n, noise=0.1, random_state=0)[0]


class TestCycles:
    @pytest.mark.parametrize("n", [1, 40, 800, 8000, 80_000, 800_000])
    @pytest.mark.parametrize("n_parameters", [0, 7500, 36_000, 10**6])
    def test_doubling(self, n, n_parameters):
        ends = cycle_ends(n, min(n, 256), n_parameters)
        lengths = np.diff([0, *ends])
        assert lengths[0] >= 1
        assert (lengths[1:] == 2 * lengths[:-1]).all()

    def test_as_much_as_the_samples_deserve(self):
        def steps(n, n_parameters):
            return cycle_ends(n, 256, n_parameters)[-1] * n / 256

        assert steps(800, 7500) > 2 * steps(800, 36_000)
        assert steps(80_000, 7500) > 1.5 * steps(8000, 7500)


class TestBatches:
    def batch(self, n, batch_size="auto"):
        return nvpflow.FlowDensity(batch_size=batch_size)._settings().batch_of(n)

    @pytest.mark.parametrize("n", [1, 63, 64, 65, 900, 2399, 2401, 4001, 5601, 80_000, 10**7])
    def test_growing_with_the_samples_and_equal(self, n):
        most = 64 if n < 2400 else 128 if n < 4000 else 192 if n < 5600 else 256
        batch = self.batch(n)
        n_batches = -(-n // batch)
        assert batch <= most
        assert n_batches == -(-n // most)  # as few as possible
        assert n_batches * batch - n < n_batches  # the last one is no small rest

    def test_given(self):
        assert [self.batch(900, size) for size in (100, 1000, None)] == [100, 900, 900]

    def test_updates_of_a_fit(self):
        train, epochs = moons(1000), 2
        model = nvpflow.FlowDensity(max_iter=epochs, random_state=0, batch_size="auto").fit(train)
        same = nvpflow.FlowDensity(max_iter=epochs, random_state=0, batch_size=62).fit(train)  # 800 in 13 batches
        np.testing.assert_array_equal(model.history_["train_nll"], same.history_["train_nll"])


class TestContest:
    weight = None

    def contest(self, before, to_beat, n_early=0):
        zeros = np.zeros(100)
        return Contest(Data(zeros[:, None], None, self.weight), zeros + before, zeros + to_beat, n_early), zeros

    def test_no_gain(self):
        contest, zeros = self.contest(0.0, -1.0)
        assert contest.end(zeros, 3) == NO_GAIN

    def test_noise_is_no_gain(self):
        contest, _ = self.contest(0.0, -1.0)
        noise = np.tile([-1.0, 1.02], 50)
        assert contest.end(noise, 3) == NO_GAIN
        assert contest.end(noise + 0.2, 3) == ""

    def test_gains_that_are_certain_but_small(self):
        contest, zeros = self.contest(0.0, -1.0)
        assert contest.end(zeros + 0.0019, 3) == NO_GAIN
        assert contest.end(zeros + 0.004, 3) == ""
        early, _ = self.contest(0.0, -1.0, n_early=1)
        assert early.end(zeros + 0.0019, 3) == ""
        assert early.end(zeros + 0.0038, 3) == NO_GAIN

    def test_out_of_reach(self):
        contest, zeros = self.contest(0.0, 1.0)
        assert contest.end(zeros + 0.1, 3) == OUT_OF_REACH
        assert contest.end(zeros + 0.5, 3) == ""  # a gain of 0.4 three times would be enough

    def test_more_may_be_gained_after_early_cycles(self):
        assert self.contest(0.0, 1.0)[0].end(np.full(100, 0.2), 3) == OUT_OF_REACH
        contest, zeros = self.contest(0.0, 1.0, n_early=1)
        assert contest.end(zeros + 0.2, 3) == ""
        assert contest.end(zeros + 0.4, 2) == OUT_OF_REACH

    def test_has_to_lead_by_an_error(self):
        noise = np.tile([-1.0, 1.0], 50)  # an error of 0.1
        assert self.contest(noise, 0.0)[0].end(noise + 0.06, 1) == ""
        assert self.contest(noise, 0.0)[0].end(noise + 0.04, 1) == OUT_OF_REACH

    def test_samples_without_a_density(self):
        contest, zeros = self.contest(0.0, -1.0)
        assert contest.end(np.append(-np.inf, zeros[1:]), 3) == NO_GAIN


class TestWeightedContest(TestContest):
    weight = np.ones(100)


class TestFits:
    def test_hopeless_fit_is_short(self):
        model = nvpflow.FlowDensity(random_state=0).fit(moons(1000))
        assert model.n_iter_ < 200
        assert model.best_iter_ == 0
        assert model.flow_.base.n_components > 8  # the average of mixtures
        assert model.search_["candidate"][-1].endswith((NO_GAIN, OUT_OF_REACH))

    def test_good_fit_is_longer(self):
        model = nvpflow.FlowDensity(random_state=0).fit(checkerboard(1000))
        assert model.n_iter_ > 300
        assert model.best_iter_ > 0
        assert model.history_["validation_epoch"][-1] == model.n_iter_ == len(model.history_["train_nll"])
        assert model.search_["candidate"][-1].endswith((NO_GAIN, LAST_CYCLE))

    def test_layers_that_gain_late(self):
        """Mixtures are far ahead after the first cycle, and behind after the third."""
        model = nvpflow.FlowDensity(random_state=0).fit(checkerboard(10_000, seed=2))
        assert model.search_["candidate"][-1].endswith(LAST_CYCLE) and model.best_iter_ > 100

    def test_rates_are_recorded(self):
        search = nvpflow.FlowDensity(random_state=0).fit(checkerboard(1000)).search_
        (loser,) = (name for name in search["candidate"] if "learning rate" in name)
        assert loser.startswith("flow over a mixture")
        assert loser.endswith(("learning rate 0.001, for 12 epochs", "learning rate 0.003, for 12 epochs"))
        scores = dict(zip(search["candidate"], search["validation_score"]))
        assert scores[loser] < scores[search["candidate"][-1]]
        assert dict(zip(search["candidate"], search["weight"]))[loser] == 0
        assert search["weight"].sum() == pytest.approx(1)

    @pytest.mark.parametrize("n_jobs", [2, 3])
    @pytest.mark.parametrize("options", [{}, {"n_models": 2}, {"n_init": 2}])
    def test_same_bits_for_any_number_of_threads(self, n_jobs, options):
        x = checkerboard(300)
        one = nvpflow.FlowDensity(random_state=0, **options).fit(x)
        many = nvpflow.FlowDensity(random_state=0, n_jobs=n_jobs, **options).fit(x)
        np.testing.assert_array_equal(one.score_samples(x), many.score_samples(x))
        assert one.n_iter_ == many.n_iter_

    @pytest.mark.parametrize("given", [{"max_iter": 30}, {"max_iter": 30, "schedule": "constant"}])
    def test_given_number_of_epochs(self, given):
        told = []
        model = nvpflow.FlowDensity(random_state=0, **given).fit(moons(300), callback=lambda *epoch: told.append(epoch[0]))
        assert told == list(range(1, 31))
        assert model.n_iter_ == 30

    def test_callback_sees_every_epoch_once(self):
        told = []
        model = nvpflow.FlowDensity(random_state=0).fit(checkerboard(1000), callback=lambda *epoch: told.append(epoch))
        assert [epoch for epoch, _, _ in told] == list(range(1, model.n_iter_ + 1))
        np.testing.assert_array_equal([nll for _, nll, _ in told], model.history_["train_nll"])

    @pytest.mark.parametrize("last", [60, 144])  # within a cycle, and where one ends
    def test_callback_stops_for_good(self, last):
        def stop(epoch, *_):
            if epoch == last:
                raise StopIteration

        model = nvpflow.FlowDensity(random_state=0).fit(checkerboard(1000), callback=stop)
        assert model.n_iter_ == last
        assert model.search_["candidate"][-1].endswith(STOPPED)

    def test_given_rate_is_the_only_one(self, monkeypatch):
        rates = []
        run = Start.run
        monkeypatch.setattr(Start, "run", lambda start, *a, **k: rates.append(start.rate) or run(start, *a, **k))
        nvpflow.FlowDensity(learning_rate=2e-3, random_state=0).fit(checkerboard(300))
        assert set(rates) == {2e-3}

    def test_refit_has_a_shorter_first_cycle(self):
        model = nvpflow.FlowDensity(warm_start=True, random_state=0).fit(moons(1000))
        assert model.best_iter_ == 0
        model.fit(make_moons(1000, noise=0.1, random_state=2)[0])
        assert model.n_iter_ in cycle_ends(800, 62, model.flow_.n_parameters, FIRST_OF_REFIT)
        assert model.n_iter_ < cycle_ends(800, 62, model.flow_.n_parameters)[0]

    def test_trained_layers_are_refitted_as_long_as_they_gain(self):
        model = nvpflow.FlowDensity(warm_start=True, random_state=0).fit(checkerboard(2000))
        assert model.best_iter_ > 0
        held_out = checkerboard(5000, seed=2)
        before, n_iter = model.score(held_out), model.n_iter_
        model.fit(checkerboard(2000, seed=1))
        assert model.n_iter_ < n_iter / 2
        assert model.n_iter_ in cycle_ends(1600, 64, model.flow_.n_parameters, FIRST_OF_REFIT)
        assert list(model.search_["candidate"]) == [f"flow of the last fit, {NO_GAIN}"]
        assert model.score(held_out) > before - 0.01
        assert model.search_["score"][0] >= -model.history_["validation_nll"].min() - 1e-5

    def test_trained_layers_follow_samples_that_have_moved(self):
        model = nvpflow.FlowDensity(warm_start=True, random_state=0).fit(checkerboard(2000))
        assert model.best_iter_ > 0
        turn = np.array([[0.9, -0.44], [0.44, 0.9]])
        turned, held_out = checkerboard(2000, seed=1) @ turn, checkerboard(5000, seed=2) @ turn
        before = model.score(held_out)
        model.fit(turned)
        assert model.n_iter_ > cycle_ends(1600, 64, model.flow_.n_parameters, FIRST_OF_REFIT)[2]
        assert model.score(held_out) > before + 1
        assert model.score(held_out) > nvpflow.FlowDensity(random_state=0).fit(turned).score(held_out) - 0.1

    def test_time_limit(self):
        model = nvpflow.FlowDensity(time_limit=1e-6, random_state=0).fit(checkerboard(1000))
        assert 1 <= model.n_iter_ <= 2
        assert model.search_["candidate"][-1].endswith(STOPPED)

    def test_time_of_a_trial(self, monkeypatch):
        """Rates are tried for a part of the time. Its end is not that of the fit."""
        monkeypatch.setattr(Limit, "share", lambda limit, fraction: Limit(1e-6))
        model = nvpflow.FlowDensity(time_limit=600, random_state=0).fit(checkerboard(1000))
        assert model.n_iter_ > 10 and not model.search_["candidate"][-1].endswith(STOPPED)
