"""nvpflow.integrations.pocomc: a run of the sampler against an exact evidence, maps, and errors."""

import numpy as np
import pytest

import nvpflow

torch = pytest.importorskip("torch", reason="needs PyTorch, which pocoMC needs: pip install nvpflow[pocomc]")
pocomc = pytest.importorskip("pocomc", reason="needs pocoMC: pip install nvpflow[pocomc]")

from scipy.stats import norm, uniform

from nvpflow.integrations.pocomc import FlowPreconditioner

pytestmark = pytest.mark.filterwarnings("ignore")  # of pocoMC: numbers of samples, float64 in float32

rng = np.random.default_rng(0)
U = torch.from_numpy(np.r_[rng.normal(-3, 0.5, (150, 2)), rng.normal(2, 1, (150, 2))].astype(np.float32))


@pytest.fixture(scope="module")
def flow():
    flow = FlowPreconditioner(2, max_iter=30, random_state=0)
    flow.fit(U, weights=torch.ones(len(U)), validation_split=0.5, epochs=5000)
    return flow


def test_evidence():
    """Two clusters in a box: the evidence is the density of the prior."""
    np.random.seed(0)  # noqa: NPY002  # which pocoMC reads
    torch.manual_seed(0)

    def log_likelihood(x):
        return np.logaddexp(*(norm.logpdf(x, at, 0.5).sum(axis=1) for at in (-3, 3))) - np.log(2)

    prior = pocomc.Prior([uniform(-10, 20)] * 2)
    sampler = pocomc.Sampler(prior, log_likelihood, vectorize=True, n_effective=256, n_active=128, random_state=0)
    sampler.flow = FlowPreconditioner(2, max_iter=30, random_state=0)
    sampler.run(n_total=512, n_evidence=1000, progress=False)
    log_evidence, error = sampler.evidence()
    assert log_evidence == pytest.approx(-2 * np.log(20), abs=0.05) and error < 0.05
    samples, weights, *_ = sampler.posterior()
    assert np.average(samples[:, 0] > 0, weights=weights) == pytest.approx(0.5, abs=0.15)


def test_maps(flow):
    z, log_det = flow.forward(U)
    back, log_det_back = flow.inverse(z)
    torch.testing.assert_close(back.float(), U, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(log_det_back, -log_det, atol=1e-3, rtol=1e-3)
    density = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(dim=1) + log_det
    torch.testing.assert_close(flow.log_prob(U), density.float(), atol=1e-3, rtol=1e-3)
    assert z.mean().abs() < 0.2 and z.std() == pytest.approx(1, abs=0.15)  # normal latent points


def test_not_finite_latent_points(flow):
    x, log_det = flow.inverse(torch.tensor([[0.0, 0.0], [torch.inf, 0.0]]))
    assert torch.isfinite(x[0]).all() and torch.isnan(x[1]).all() and log_det[1] == -torch.inf


def test_sample(flow):
    torch.manual_seed(1)
    x, log_prob = flow.sample(50)
    other, _ = flow.sample(50)
    torch.manual_seed(1)
    assert torch.equal(flow.sample(50)[0], x) and not torch.equal(x, other)
    torch.testing.assert_close(log_prob, flow.log_prob(x), atol=1e-3, rtol=1e-3)


def test_weights():
    """Particles without weight do not count."""
    flow = FlowPreconditioner(2, max_iter=10, random_state=0)
    history = flow.fit(U, weights=(torch.arange(len(U)) < 150).float())
    assert flow.sample(200)[0].max() < 0 and len(history["loss"]) == 10


def test_errors(flow):
    with pytest.raises(ValueError, match=r"x must have shape \(n, 2\), got \(4, 3\)"):
        flow.forward(torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"u must have shape \(n, 2\)"):
        flow.inverse(torch.zeros(4))
    with pytest.raises(TypeError, match="must not require gradients"):
        flow.log_prob(torch.zeros(4, 2, requires_grad=True))
    with pytest.raises(TypeError, match="on the CPU, where nvpflow computes, got one on meta"):
        flow.log_prob(torch.zeros(4, 2, device="meta"))
    for weights in ([1.0, 1.0], np.ones(2)):
        with pytest.raises(TypeError, match="weights must be a torch.Tensor, got"):
            flow.fit(torch.zeros(2, 2), weights)
    with pytest.raises(TypeError, match="weights must be a dense tensor on the CPU"):
        flow.fit(torch.zeros(2, 2), torch.ones(2, device="meta"))
    np.testing.assert_array_equal(flow.log_prob(torch.zeros(4, 2, dtype=torch.bfloat16)), flow.log_prob(torch.zeros(4, 2)))
    with pytest.raises(nvpflow.NotFittedError):
        FlowPreconditioner(2).forward(U)
    with pytest.raises(ValueError, match="must not have n_models"):
        FlowPreconditioner(2, n_models=3)
