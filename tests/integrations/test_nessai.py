"""nvpflow.integrations.nessai: runs of the sampler against an exact evidence, maps, files, and errors."""

import pickle
import re

import numpy as np
import pytest

import nvpflow

torch = pytest.importorskip("torch", reason="needs PyTorch, which nessai needs: pip install nvpflow[nessai]")
pytest.importorskip("nessai", reason="needs nessai: pip install nvpflow[nessai]")

from nessai.flowsampler import FlowSampler
from nessai.proposal.utils import get_flow_proposal_class
from scipy.stats import norm

from nvpflow.integrations.nessai import NessaiFlowModel, NessaiProposal
from support.nessai_clusters import Clusters

pytestmark = pytest.mark.filterwarnings("ignore")  # of nessai's own imports
CONFIG = {"n_inputs": 2, "max_iter": 20, "random_state": 0}
X = np.random.default_rng(0).normal(size=(300, 2)) * [1, 0.3] + [1, -1]


def sampler(output, **options):
    return FlowSampler(Clusters(), output=str(output), seed=0, nlive=100, plot=False, proposal_plots=False, **options)


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    flow = NessaiFlowModel(CONFIG, output=tmp_path_factory.mktemp("flow"), rng=np.random.default_rng(1))
    flow.train(X)
    return flow


def test_evidence(entry_points, tmp_path):
    """A whole run, with the proposal found by its name."""
    assert get_flow_proposal_class("nvpflow") is NessaiProposal
    run = sampler(tmp_path, resume=False, flow_proposal_class="nvpflow", flow_config={"max_iter": 10})
    run.run(plot=False, save=False)
    assert type(run.ns.proposal) is NessaiProposal and run.ns.proposal.training_count > 2
    error = run.ns.log_evidence_error
    assert error < 0.4 and run.ns.log_evidence == pytest.approx(-2 * np.log(20), abs=3 * error)
    assert np.mean(run.posterior_samples["a"] > 0) == pytest.approx(0.5, abs=0.2)


def test_runs_repeat_themselves(tmp_path):
    """Seeds of fits come from the generator of the sampler."""
    scores = []
    for name in "ab":
        model = NessaiFlowModel({"n_inputs": 2, "max_iter": 2}, output=tmp_path / name, rng=np.random.default_rng(0))
        model.train(X)
        scores.append(model.log_prob(X))
        assert not np.array_equal((model.train(X), model.log_prob(X))[1], scores[-1])
    np.testing.assert_array_equal(*scores)


def test_maps(flow):
    z, log_prob = flow.forward_and_log_prob(X)
    assert z.dtype == log_prob.dtype == np.float64
    back, log_det = flow.inverse(z)
    np.testing.assert_allclose(back, X, atol=1e-3)
    np.testing.assert_allclose(log_prob, norm.logpdf(z).sum(axis=1) - log_det, atol=1e-3)
    np.testing.assert_allclose(flow.log_prob(X), log_prob, atol=1e-3)
    assert np.abs(z.mean(axis=0)).max() < 0.2 and z.std(axis=0) == pytest.approx([1, 1], abs=0.15)


def test_samples(flow):
    x, log_prob = flow.sample_and_log_prob(4000)
    np.testing.assert_allclose(flow.log_prob(x), log_prob, atol=1e-3)
    assert x.mean(axis=0) == pytest.approx(X.mean(axis=0), abs=0.1) and flow.sample(3).shape == (3, 2)
    z = flow.sample_latent_distribution(50)
    narrow = torch.distributions.MultivariateNormal(torch.zeros(2), 0.5 * torch.eye(2))
    x, of_narrow = flow.sample_and_log_prob(z=z, alt_dist=narrow)
    expected = flow.log_prob(x) - norm.logpdf(z).sum(axis=1) + norm.logpdf(z, scale=0.5**0.5).sum(axis=1)
    np.testing.assert_allclose(of_narrow, expected, atol=1e-3)
    np.testing.assert_allclose(flow.model.base_distribution_log_prob(torch.from_numpy(z)), norm.logpdf(z).sum(axis=1))


def test_files(flow, tmp_path):
    twin = NessaiFlowModel(CONFIG, output=tmp_path)
    twin.reload_weights(flow.weights_file)
    np.testing.assert_array_equal(twin.log_prob(X), flow.log_prob(X))
    twin.save_weights(str(tmp_path / "model.npz"))
    twin.reset_model(weights=False, permutations=True)
    twin.save_weights(str(tmp_path / "model.npz"))
    assert (tmp_path / "model.npz.old").exists()
    twin.reset_model()
    with pytest.raises(nvpflow.NotFittedError):
        twin.log_prob(X)
    twin.reload_weights()
    np.testing.assert_array_equal(twin.log_prob(X), flow.log_prob(X))


def test_resume(tmp_path):
    """A pickled proposal reads its flow from the file."""
    proposal = NessaiProposal(Clusters(), rng=np.random.default_rng(0), flow_config={"max_iter": 5}, poolsize=50, plot=True)
    proposal.output = str(tmp_path)
    proposal.model.set_rng(proposal.rng)
    proposal.initialise()
    points = proposal.model.new_point(200)
    proposal.train(points, plot=True)
    twin = pickle.loads(pickle.dumps(proposal))
    twin.resume(Clusters(), {"max_iter": 5})
    np.testing.assert_array_equal(twin.forward_pass(points)[1], proposal.forward_pass(points)[1])


def test_errors(flow, tmp_path):
    with pytest.raises(ValueError, match=r"x must have shape \(n, 2\), got \(4, 3\)"):
        flow.log_prob(np.zeros((4, 3)))
    for points in (np.zeros(2), np.zeros((4, 3))):
        for method in (lambda z: flow.sample_and_log_prob(z=z), flow.base_distribution_log_prob, flow.inverse):
            with pytest.raises(ValueError, match=rf"z must have shape \(n, 2\), got {re.escape(str(points.shape))}"):
                method(points)
    with pytest.raises(TypeError, match="x must be an array of real numbers, got a Tensor: .* meta"):
        flow.log_prob(torch.empty(4, 2, device="meta"))
    with pytest.raises(TypeError, match="x must be an array of real numbers, got a Tensor: .* requires grad"):
        flow.train(torch.zeros(4, 2, requires_grad=True))
    with pytest.raises(TypeError, match="x must be an array of real numbers, got dtype complex128"):
        flow.log_prob(np.zeros((4, 2), complex))
    with pytest.raises(TypeError, match="flow_config\\['n_inputs'\\] must be an integer, got None"):
        NessaiFlowModel({})
    with pytest.raises(TypeError, match="n_neurons"):
        NessaiFlowModel({"n_inputs": 2, "n_neurons": 8})
    with pytest.raises(ValueError, match="must not have latent"):
        NessaiFlowModel({"n_inputs": 2, "latent": "base"})
    with pytest.raises(ValueError, match="as none was saved yet"):
        NessaiFlowModel(CONFIG).reload_weights()
    with pytest.raises(ValueError, match="must hold a FlowDensity of 3 columns"):
        NessaiFlowModel({"n_inputs": 3}).load_weights(flow.weights_file)
