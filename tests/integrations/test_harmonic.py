"""nvpflow.integrations.harmonic: evidences against exact ones, the temperature, and errors."""

import numpy as np
import pytest

import nvpflow

jax = pytest.importorskip("jax", reason="needs JAX, which harmonic needs: pip install nvpflow[harmonic]")
harmonic = pytest.importorskip("harmonic", reason="needs harmonic: pip install nvpflow[harmonic]")

from scipy.stats import norm

from nvpflow.integrations.harmonic import HarmonicModel

pytestmark = pytest.mark.filterwarnings("ignore")  # of harmonic's own imports
rng = np.random.default_rng(0)


def gaussian(n):
    """Samples of a correlated normal distribution, and their log-densities less 3."""
    z = rng.normal(size=(n, 2))
    return np.c_[z[:, 0], 0.8 * z[:, 0] + 0.6 * z[:, 1]] + 5, norm.logpdf(z).sum(axis=1) - np.log(0.6) - 3


def rosenbrock(n):
    """Samples of a banana, and their log-densities less 3."""
    z = rng.normal(size=(n, 2))
    return np.c_[1 + z[:, 0], (1 + z[:, 0]) ** 2 + 0.3 * z[:, 1]], norm.logpdf(z).sum(axis=1) - np.log(0.3) - 3


def chains(x, log_posterior, n_chains=10):
    found = harmonic.Chains(x.shape[1])
    found.add_chains_2d(x, log_posterior, n_chains)
    return found


@pytest.fixture(scope="module")
def model():
    return HarmonicModel(2, max_iter=20, random_state=0).fit(gaussian(500)[0])


@pytest.mark.parametrize("draw", [gaussian, rosenbrock])
def test_evidence(draw):
    """The log-densities are 3 nats below normalised ones: so is the evidence."""
    model = HarmonicModel(2, max_iter=40, random_state=0).fit(draw(1000)[0])
    evidence = harmonic.Evidence(10, model)
    evidence.add_chains(chains(*draw(4000)))
    log_evidence, log_deviation = evidence.compute_ln_evidence()
    assert log_evidence == pytest.approx(-3, abs=0.04) and log_deviation - log_evidence < np.log(0.02)


def test_temperature(model):
    """It is a factor of variances, for densities as for samples."""
    x = gaussian(200)[0].astype(np.float32)
    np.testing.assert_allclose(model.predict(x), model.model.score_samples(x, temperature=0.8), rtol=1e-5, atol=1e-5)
    cold = HarmonicModel(2, 0.25, max_iter=20, random_state=0).fit(gaussian(2000)[0])
    drawn = np.asarray(cold.sample(4000))
    assert drawn.std(axis=0) == pytest.approx([0.5, 0.5], rel=0.1) and np.mean(drawn) == pytest.approx(5, abs=0.1)
    cold.temperature = 1
    assert np.asarray(cold.sample(4000)).std(axis=0) == pytest.approx([1, 1], rel=0.1)


def test_samples_follow_keys(model):
    keys = jax.random.split(jax.random.key(1))
    first, second = (np.asarray(model.sample(5, key)) for key in keys)
    assert first.shape == (5, 2) and not np.array_equal(first, second)
    np.testing.assert_array_equal(model.sample(5, keys[0]), first)
    np.testing.assert_array_equal(model.sample(5), model.sample(5, jax.random.PRNGKey(0)))


def test_one_sample(model):
    x = np.array([[5.0, 5.0], [6.0, 6.0]])
    assert model.predict(x[1]).shape == () and model.predict(x[1]) == pytest.approx(float(model.predict(x)[1]), abs=1e-5)


def test_no_density():
    """Samples without a density count as 0."""
    x = np.exp(rng.normal(size=(1000, 1)))
    model = HarmonicModel(1, support=[(0, None)], max_iter=20, random_state=0).fit(x[:500])
    evidence = harmonic.Evidence(10, model)
    half = np.where(np.arange(500) % 2 == 0, 1, -1)  # of a density symmetric around 0
    log_posterior = norm.logpdf(np.log(x[500:, 0])) - np.log(x[500:, 0]) - np.log(2)
    evidence.add_chains(chains(x[500:] * half[:, None], log_posterior))
    assert np.isneginf(model.predict(-x)).all() and evidence.compute_ln_evidence()[0] == pytest.approx(0, abs=0.1)


def test_file(model, tmp_path):
    model.serialize(tmp_path / "model")
    twin = HarmonicModel.deserialize(tmp_path / "model")
    assert twin.is_fitted() and twin.temperature == 0.8
    np.testing.assert_array_equal(twin.predict(np.zeros((3, 2))), model.predict(np.zeros((3, 2))))


def test_errors(model):
    new = HarmonicModel(2)
    assert not new.is_fitted()
    with pytest.raises(nvpflow.NotFittedError):
        new.predict(np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"x must have shape \(n, 2\), got \(4, 3\)"):
        model.fit(np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"x must have shape \(n, 2\), got \(1, 3\)"):
        model.predict(np.zeros(3))
    for wrong in (0, 1.1, "a"):
        with pytest.raises((TypeError, ValueError), match="temperature must be"):
            model.temperature = wrong
    with pytest.raises(ValueError, match="ndim must be"):
        HarmonicModel(0)
    assert model.temperature == 0.8 and model.is_fitted()
