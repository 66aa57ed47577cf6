"""Plain arrays are scored without further checks, with the same bits and errors as all others."""

import numpy as np
import pytest

import nvpflow


@pytest.fixture(scope="module", params=["", "far from zero", "ensemble"])
def model(request):
    x = np.random.default_rng(0).normal(size=(80, 2)) + 1e3 * (request.param == "far from zero")
    return nvpflow.RealNVP(random_state=0, max_iter=3, n_models=2 if request.param == "ensemble" else 1).fit(x), x


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_bits(model, dtype, order):
    model, x = model
    rows = np.array(x[:7], dtype, order=order)
    found = model._log_density_of_plain(rows)
    assert found is not None and found.dtype == model.flow_.dtype
    np.testing.assert_array_equal(found, model._log_density(rows, None))
    np.testing.assert_array_equal(found, model.score_samples(rows))
    np.testing.assert_array_equal(found, model.score_samples(rows.tolist()))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e39])
def test_bad_numbers(model, bad):
    model, x = model
    rows = x[:3].copy()
    rows[1, 1] = bad
    assert model._log_density_of_plain(rows) is None
    if bad == 1e39 and model.origin_.any():
        assert model.score_samples(rows)[1] == -np.inf
    else:
        with pytest.raises(ValueError, match="X must be finite"):
            model.score_samples(rows)


@pytest.mark.parametrize("rows", [np.ones((3, 3)), np.ones((0, 2)), np.ones(2)])
def test_bad_shapes(model, rows):
    with pytest.raises(ValueError, match="X"):
        model[0].score_samples(rows)


def test_other_models_and_samples():
    x = np.abs(np.random.default_rng(0).normal(size=(60, 2)))
    options = {"random_state": 0, "max_iter": 2}
    positive = nvpflow.RealNVP(support={0: (0, None)}, **options).fit(x)
    assert positive._log_density_of_plain(x) is None and positive.score_samples(-x)[0] == -np.inf
    given = nvpflow.RealNVP(**options).fit(x, context=x)
    assert given._log_density_of_plain(x) is None
    plain = nvpflow.RealNVP(**options)
    assert plain._log_density_of_plain(x) is None
    with pytest.raises(nvpflow.NotFittedError):
        plain.score_samples(x)
    plain.fit(x)
    for other in (x.tolist(), x.astype(int), x.astype("longdouble"), np.ma.array(x)):
        assert plain._log_density_of_plain(other) is None
