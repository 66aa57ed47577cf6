"""nvpflow.integrations.aspire: a run against an exact evidence, found by its entry point; files, and errors."""

import numpy as np
import pytest

import nvpflow

pytest.importorskip("aspire", reason="needs aspire: pip install nvpflow[aspire]")
h5py = pytest.importorskip("h5py", reason="needs h5py, which aspire needs")

from aspire import Aspire, Samples
from aspire.flows import get_flow_wrapper
from scipy.stats import norm

from nvpflow.integrations.aspire import AspireFlow

pytestmark = pytest.mark.filterwarnings("ignore")  # of aspire's own imports
X = np.random.default_rng(0).normal(size=(400, 2)) * [1, 0.3] + [1, -1]


@pytest.fixture(scope="module")
def flow():
    flow = AspireFlow(2, max_iter=20, random_state=0)
    flow.fit(X)
    return flow


def test_evidence(entry_points):
    """A normal likelihood under a uniform prior on a box, by importance sampling from the flow."""
    FlowClass, xp = get_flow_wrapper("nvpflow")
    assert FlowClass is AspireFlow and xp.asarray([1.0]).shape == (1,)

    def log_likelihood(samples):
        return norm.logpdf(np.asarray(samples.x), [1, -1], [1, 0.3]).sum(axis=-1)

    def log_prior(samples):
        return np.full(len(samples.x), -2 * np.log(20.0))

    aspire = Aspire(
        log_likelihood=log_likelihood, log_prior=log_prior, dims=2, parameters=["a", "b"], xp=np, max_iter=20, random_state=0,
        flow_backend="nvpflow", prior_bounds={"a": [-10, 10], "b": [-10, 10]},
    )  # fmt: skip
    history = aspire.fit(Samples(X, xp=np, parameters=["a", "b"]))
    assert len(history.training_loss) == 20 and history.validation_loss
    found = aspire.sample_posterior(2000, sampler="importance")
    assert float(found.log_evidence) == pytest.approx(-2 * np.log(20), abs=0.05)
    assert found.efficiency > 0.8


def test_maps(flow):
    z, log_det = flow.forward(X)
    back, log_det_back = flow.inverse(z)
    np.testing.assert_allclose(back, X, atol=1e-3)
    np.testing.assert_allclose(log_det_back, -log_det, atol=1e-3)
    np.testing.assert_allclose(flow.log_prob(X), norm.logpdf(z).sum(axis=1) + log_det, atol=1e-3)


def test_samples(flow):
    x, log_prob = flow.sample_and_log_prob(50)
    np.testing.assert_allclose(flow.log_prob(x), log_prob, atol=1e-3)
    assert not np.array_equal(flow.sample(50), flow.sample(50))
    torch = pytest.importorskip("torch")
    assert isinstance(flow.sample(5, xp=torch), torch.Tensor)


def test_file(flow, tmp_path):
    with h5py.File(tmp_path / "flow.h5", "w") as file:
        flow.save(file, "a")
        with pytest.raises(nvpflow.NotFittedError):
            AspireFlow(2).save(file, "b")
        assert "b" not in file
    with h5py.File(tmp_path / "flow.h5") as file:
        twin = AspireFlow.load(file, "a")
    np.testing.assert_array_equal(twin.log_prob(X), flow.log_prob(X))


def test_errors(flow):
    with pytest.raises(ValueError, match="device must be None or 'cpu'"):
        AspireFlow(2, device="cuda")
    with pytest.raises(ValueError, match=r"x must have shape \(n, 2\), got \(4, 3\)"):
        flow.log_prob(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="Invalid parameter 'n_epochs'"):
        flow.fit(X, n_epochs=3)
    with pytest.raises(nvpflow.NotFittedError):
        AspireFlow(2).sample(3)
    assert AspireFlow(2, dtype="float64").model.dtype == AspireFlow(2, dtype=np.float64).model.dtype == "float64"
