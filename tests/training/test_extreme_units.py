"""Very large and very small units shift log-densities by the logarithm of the scale."""

import numpy as np
import pytest

import nvpflow

R = nvpflow.FlowDensity
RNG = np.random.default_rng(0)
# Two clusters, off the origin and correlated: what a mixture, its clustering and a whitening have to tell.
X = np.where(RNG.uniform(size=(300, 1)) < 0.4, -2, 3) + RNG.normal(size=(300, 2)) @ [[1, 0.5], [0, 0.3]]
# Powers of two, by which everything scales exactly: 1e153, 1e-165, 1e300 and 1e-300; 1e30 and 1e-30.
POWERS = [("float64", power) for power in (508, -548, 996, -996)] + [("float32", power) for power in (100, -100)]
KINDS = {
    "mixture": {},
    "normal": {"base": "normal"},
    "whitened": {"base": "normal", "n_init": 2},
    "all samples": {"validation_fraction": None, "base": "mixture"},
    "affine": {"coupling": "affine", "base": "normal"},
}
every_power = pytest.mark.parametrize("dtype, power", POWERS)
every_kind = pytest.mark.parametrize("kind", KINDS)


def fitted(kind, x, dtype, weight=None):
    model = R(n_layers=4, hidden_dim=8, max_iter=5, random_state=0, dtype=dtype, **KINDS[kind])
    return model.fit(x.astype(dtype), sample_weight=weight)


@every_power
@every_kind
def test_scores(kind, dtype, power):
    scale = 2.0**power
    model, plain = fitted(kind, X * scale, dtype), fitted(kind, X, dtype)
    expected = plain.score_samples(X) - 2 * power * np.log(2)
    tolerance = 1e-9 if dtype == "float64" else 1e-3
    np.testing.assert_allclose(model.score_samples((X * scale).astype(dtype)), expected, rtol=1e-6, atol=tolerance)
    assert model.score((X * scale).astype(dtype)) == pytest.approx(expected.mean(), rel=1e-6)
    # Held-out samples and histories are in the same units.
    for name, curve in plain.history_.items():
        if name == "validation_epoch":
            continue
        np.testing.assert_allclose(model.history_[name], curve + 2 * power * np.log(2), rtol=1e-5, atol=tolerance)


@every_power
@every_kind
def test_samples_and_latent_points(kind, dtype, power):
    scale = 2.0**power
    model, plain = fitted(kind, X * scale, dtype), fitted(kind, X, dtype)
    np.testing.assert_allclose(model.sample(50) / scale, plain.sample(50), rtol=1e-3, atol=1e-4)
    x = (X * scale).astype(dtype)
    np.testing.assert_allclose(model.transform(x), plain.transform(X), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(model.inverse_transform(model.transform(x)) / scale, X, rtol=1e-3, atol=1e-3)


@every_power
def test_weights(dtype, power):
    scale, weight = 2.0**power, np.linspace(0.5, 2, len(X))
    model, plain = fitted("mixture", X * scale, dtype, weight), fitted("mixture", X, dtype, weight)
    x = (X * scale).astype(dtype)
    expected = plain.score(X, sample_weight=weight) - 2 * power * np.log(2)
    assert model.score(x, sample_weight=weight) == pytest.approx(expected, rel=1e-6)


@every_power
def test_columns_of_different_units(dtype, power):
    """One column in the extreme units, the other one in its reciprocal: the logarithms cancel."""
    scale = np.array([2.0**power, 2.0**-power])
    model, plain = fitted("mixture", X * scale, dtype), fitted("mixture", X, dtype)
    assert model.score((X * scale).astype(dtype)) == pytest.approx(plain.score(X), abs=1e-3)


@every_power
def test_partial_fit(dtype, power):
    scale = 2.0**power
    make = lambda: R(n_layers=4, hidden_dim=8, random_state=0, dtype=dtype, base="mixture")  # noqa: E731
    x = (X * scale).astype(dtype)
    model, plain = make().partial_fit(x), make().partial_fit(X)
    for _ in range(3):
        assert model.score(x) == pytest.approx(
            plain.score(X) - 2 * power * np.log(2), abs=2e-3 if dtype == "float32" else 1e-6
        )
        model.partial_fit(x), plain.partial_fit(X)


@pytest.mark.parametrize("scale", [1e-3, 1e-6, 1e3, 1e6])
def test_partial_fit_in_usual_units(scale):
    """Learning is as fast in any unit: at 1e-6 the log-likelihood once fell by a million nats."""
    make = lambda: R(n_layers=4, hidden_dim=8, random_state=0, base="mixture", noise=0)  # noqa: E731
    model, plain = make(), make()
    for _ in range(4):
        model.partial_fit(X * scale), plain.partial_fit(X)
        assert model.score(X * scale) == pytest.approx(plain.score(X) - 2 * np.log(scale), abs=0.01)


@every_power
def test_outliers(dtype, power):
    scale = 2.0**power
    x = (X * scale).astype(dtype)
    make = lambda: nvpflow.FlowOutlierDetector(  # noqa: E731
        n_layers=4, hidden_dim=8, max_iter=5, contamination=0.1, random_state=0, dtype=dtype
    )
    detector, plain = make().fit(x), make().fit(X)
    assert detector.offset_ == pytest.approx(plain.offset_ - 2 * power * np.log(2), rel=1e-6)
    np.testing.assert_array_equal(detector.predict(x), plain.predict(X))


@pytest.mark.parametrize("dtype, scale", [("float64", 1e153), ("float64", 1e-165), ("float64", 1e300), ("float32", 1e30),
                                          ("float32", 1e-30)])  # fmt: skip
def test_powers_of_ten(dtype, scale):
    """Powers of ten scale samples up to rounding."""
    x = (X * scale).astype(dtype)
    score = fitted("mixture", x, dtype).score(x) + 2 * np.log(scale)
    assert score == pytest.approx(fitted("mixture", X, dtype).score(X), abs=0.05)
