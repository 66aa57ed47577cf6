"""Conditional densities of many rows in several threads: the same to the last bit as in one."""

import threading

import numpy as np
import pytest

import nvpflow
from nvpflow.queries._branches import RealModel
from nvpflow.queries._lines import ROWS_OF_PANELS, Lines

N = 2 * ROWS_OF_PANELS + 10  # rows: three parts


def curved(n):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3))
    x[:, 2] += np.sin(2 * x[:, 0]) + 0.3 * x[:, 1] ** 2
    return x


@pytest.fixture(scope="module", params=[1, 2], ids=["one flow", "two flows"])
def model(request):
    settings = {"n_layers": 2, "max_iter": 40, "base": "normal", "random_state": 0}
    return nvpflow.FlowDensity(n_models=request.param, **settings).fit(curved(500))


def lines_of(model, n_jobs):
    rows = curved(N)
    rows[:, 2] = np.nan
    model.flow_.n_jobs = n_jobs
    vars(model).pop("_incomplete", None)
    return Lines(RealModel(model._incomplete_model()), rows, None, 2)


def answers(model, n_jobs, rows, column):
    model.flow_.n_jobs = n_jobs
    vars(model).pop("_incomplete", None)
    found = model.conditional(rows, column)
    middle = np.full((len(rows), 1), 0.2)
    asked = found.pdf(middle), found.cdf(middle), found.ppf([0.1, 0.9]), found.mean(), found.std(), found.interval(0.5)
    return [*asked, found.error, found.effective_size, found.score_samples(middle)]


@pytest.mark.parametrize("n_open, n_rows", [(1, N), (2, ROWS_OF_PANELS + 4), (3, 3)])
def test_answers_do_not_depend_on_the_number_of_threads(model, n_open, n_rows):
    rows = curved(n_rows)
    rows[:, 3 - n_open :] = np.nan
    one, several = (answers(model, n_jobs, rows, 2) for n_jobs in (1, 3))
    for a, b in zip(one, several):
        np.testing.assert_array_equal(a, b)


def test_parts_are_found_side_by_side(model):
    lines = lines_of(model, 3)
    assert len(lines.parts) == 3
    together = threading.Barrier(3, timeout=30)

    def waiting(u):
        together.wait()
        return u[..., np.newaxis]

    assert np.isfinite(lines.expect(waiting, 1)).all()


def test_an_error_in_a_thread_reaches_the_caller(model):
    lines = lines_of(model, 2)

    def fails(u):
        raise ZeroDivisionError("of one part")

    with pytest.raises(ZeroDivisionError, match="of one part"):
        lines.expect(fails, 1)
