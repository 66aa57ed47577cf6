"""nvpflow.integrations.nessai: importance nested sampling against an exact evidence, levels, files, and errors."""

import numpy as np
import pytest

import nvpflow

pytest.importorskip("torch", reason="needs PyTorch, which nessai needs: pip install nvpflow[nessai]")
pytest.importorskip("nessai", reason="needs nessai: pip install nvpflow[nessai]")

from nessai.samplers import ImportanceNestedSampler

from nvpflow.integrations._nessai_importance import NessaiImportanceModel, NessaiImportanceProposal
from nvpflow.integrations.nessai import NessaiImportanceSampler
from support.nessai_clusters import Clusters

pytestmark = pytest.mark.filterwarnings("ignore")  # of nessai's own imports
CONFIG = {"n_inputs": 2, "max_iter": 10}
X = np.random.default_rng(0).normal(size=(300, 2)) * [1, 0.3] + [1, -1]


class BoxedClusters(Clusters):
    """With the maps to the unit cube that importance nested sampling needs."""

    def to_unit_hypercube(self, x):
        return self._scaled(x, lambda values: (values + 10) / 20)

    def from_unit_hypercube(self, x):
        return self._scaled(x, lambda values: 20 * values - 10)

    def _scaled(self, x, scale):
        found = x.copy()
        for name in self.names:
            found[name] = scale(x[name])
        return found


def sampler(output, **options):
    options = {"nlive": 1000, "min_samples": 200, "flow_config": {"max_iter": 10}, "resume": False, **options}
    return NessaiImportanceSampler(BoxedClusters(), output=str(output), seed=0, plot=False, signal_handling=False, **options)


@pytest.fixture
def flows(tmp_path):
    """Two levels, of which the second is narrower."""
    found = NessaiImportanceModel(CONFIG, output=tmp_path, rng=np.random.default_rng(1))
    for i, scale in enumerate((1, 0.5)):
        found.add_new_flow(reset=True)
        found.train(X * scale, output=str(tmp_path / f"level_{i}"))
    return found


def test_evidence(tmp_path):
    """A whole run. It repeats itself, since seeds come from the sampler."""
    run, twin = sampler(tmp_path / "a"), sampler(tmp_path / "b")
    for each in (run, twin):
        each.run(plot=False, save=False)
    assert type(run.ns.proposal) is NessaiImportanceProposal and len(run.ns.proposal.flow.densities) > 2
    error = run.ns.log_evidence_error
    assert error < 0.1 and run.ns.log_evidence == pytest.approx(-2 * np.log(20), abs=4 * error)
    assert run.ns.posterior_effective_sample_size > 1000
    assert np.mean(run.posterior_samples["a"] > 0) == pytest.approx(0.5, abs=0.1)
    assert twin.ns.log_evidence == run.ns.log_evidence


def test_meta_proposal(tmp_path):
    """Samples of all levels, weighted by the density of the meta-proposal, have the evidence as their mean."""
    run = sampler(tmp_path, max_iteration=4)
    run.run(plot=False, save=False)
    proposal = run.ns.proposal
    samples, log_q, _ = proposal.draw_from_flows(4000, weights=proposal.weights_array)
    log_likelihood = run.ns.model.batch_evaluate_log_likelihood(samples, unit_hypercube=True)
    ratios = np.exp(log_likelihood - proposal.compute_meta_proposal_from_log_q(log_q))
    assert np.mean(ratios) == pytest.approx(1 / 400, rel=4 * np.std(ratios) / np.mean(ratios) / 4000**0.5)


def test_resume(tmp_path, monkeypatch):
    """A run that was stopped goes on from its files, with the levels it had."""
    stopped = sampler(tmp_path, checkpoint_on_iteration=True, checkpoint_interval=1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ImportanceNestedSampler, "checkpoint", stop_after(2, ImportanceNestedSampler.checkpoint))
        stopped.run(plot=False, save=False)
    points = np.random.default_rng(0).normal(size=(20, 2))
    resumed = sampler(tmp_path, resume=True)
    old, new = stopped.ns.proposal.flow, resumed.ns.proposal.flow
    assert type(resumed.ns.proposal) is NessaiImportanceProposal and new.n_models == old.n_models == 2
    np.testing.assert_array_equal(new.log_prob_all(points), old.log_prob_all(points))
    resumed.run(plot=False, save=False)
    assert new.n_models > 2 and new.densities[-1].max_iter == 10
    assert resumed.ns.log_evidence == pytest.approx(-2 * np.log(20), abs=4 * resumed.ns.log_evidence_error)


def stop_after(n, checkpoint):
    """A checkpoint that stops the run when it was made n times."""
    calls = []

    def stopping(*args, **options):
        checkpoint(*args, **options)
        calls.append(1)
        if len(calls) == n:
            raise KeyboardInterrupt

    return stopping


def test_levels(flows):
    assert flows.n_models == 2 and not any(level.training for level in flows.models)
    of_levels = flows.log_prob_all(X)
    assert of_levels.shape == (300, 2) and of_levels.dtype == np.float64
    for i, density in enumerate(flows.densities):
        np.testing.assert_array_equal(of_levels[:, i], density.score_samples(X))
        np.testing.assert_array_equal(of_levels[:, i], flows.log_prob_ith(X, i))
        np.testing.assert_allclose(flows.sample_ith(i, 4000).mean(axis=0), [[1, -1], [0.5, -0.5]][i], atol=0.2)
    x, log_prob = flows.sample_and_log_prob(50)
    np.testing.assert_array_equal(log_prob, flows.log_prob_ith(x, 1))


def test_reset(flows):
    """Without a reset, the density of a level starts from the last one, which stays what it was."""
    before = flows.log_prob_all(X)
    flows.add_new_flow(reset=False)
    assert flows.densities[-1].warm_start and flows.densities[-1] is not flows.densities[-2]
    flows.train(X + 1)
    np.testing.assert_array_equal(flows.log_prob_all(X)[:, :2], before)
    flows.add_new_flow(reset=True)
    with pytest.raises(nvpflow.NotFittedError):
        flows.log_prob_ith(X, -1)


def test_weights(flows):
    """Samples without weight do not count."""
    flows.add_new_flow(reset=True)
    flows.train(np.concatenate([X, X + 50]), np.repeat([1.0, 0.0], 300))
    assert np.abs(flows.sample_ith(-1, 1000)).max() < 20


def test_errors(flows, tmp_path):
    with pytest.raises(ValueError, match="importance_nested_sampler must be True"):
        sampler(tmp_path, importance_nested_sampler=False)
    with pytest.raises(TypeError, match="n_neurons"):
        sampler(tmp_path, flow_config={"n_neurons": 8})
    with pytest.raises(TypeError, match="flow_config must be a dict"):
        sampler(tmp_path, flow_config=[])
    with pytest.raises(TypeError, match="flow_config\\['n_inputs'\\] must be an integer, got None"):
        NessaiImportanceModel({})
    with pytest.raises(ValueError, match=r"3 features|must have shape"):
        flows.log_prob_all(np.zeros((4, 3)))
    flows.densities[0].save(tmp_path / "level_0" / "model.npz")
    (tmp_path / "level_1" / "model.npz").unlink()
    flows._n_levels = 2
    with pytest.raises(FileNotFoundError):
        flows.resume(CONFIG)
