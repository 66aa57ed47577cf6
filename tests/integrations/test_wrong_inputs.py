"""Wrong inputs of the adapters: other dimensions, tensors on a device or in a graph, JAX's tracers. Each is a clear error, or works."""

import numpy as np
import pytest

import nvpflow

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install nvpflow[torch]")
jax = pytest.importorskip("jax", reason="needs JAX: pip install nvpflow[jax]")

pytestmark = pytest.mark.filterwarnings("ignore")  # of clients' own imports
X = np.random.default_rng(0).normal(size=(100, 2))
OPTIONS = {"max_iter": 2, "random_state": 0}


def of_density(tmp_path):
    model = nvpflow.FlowDensity(**OPTIONS).fit(X)
    return model.score_samples, model.transform, model.fit


def of_pyod(tmp_path):
    pytest.importorskip("pyod", reason="needs PyOD: pip install nvpflow[pyod]")
    from nvpflow.integrations.pyod import FlowDetector

    detector = FlowDetector(cv=None, **OPTIONS).fit(X)
    return detector.decision_function, detector.fit


def of_harmonic(tmp_path):
    pytest.importorskip("harmonic", reason="needs harmonic: pip install nvpflow[harmonic]")
    from nvpflow.integrations.harmonic import HarmonicModel

    model = HarmonicModel(2, **OPTIONS).fit(X)
    return model.predict, model.fit


def of_aspire(tmp_path):
    pytest.importorskip("aspire", reason="needs aspire: pip install nvpflow[aspire]")
    from nvpflow.integrations.aspire import AspireFlow

    flow = AspireFlow(2, **OPTIONS)
    flow.fit(X)
    return flow.log_prob, flow.forward, flow.inverse, flow.fit


def of_pocomc(tmp_path):
    pytest.importorskip("pocomc", reason="needs pocoMC: pip install nvpflow[pocomc]")
    from nvpflow.integrations.pocomc import FlowPreconditioner

    flow = FlowPreconditioner(2, **OPTIONS)
    flow.fit(torch.from_numpy(X))
    return flow.log_prob, flow.forward, flow.inverse, flow.fit


def of_nessai(tmp_path):
    pytest.importorskip("nessai", reason="needs nessai: pip install nvpflow[nessai]")
    from nvpflow.integrations._nessai_importance import NessaiImportanceModel
    from nvpflow.integrations.nessai import NessaiFlowModel

    flow = NessaiFlowModel({"n_inputs": 2, **OPTIONS}, output=tmp_path)
    levels = NessaiImportanceModel({"n_inputs": 2, **OPTIONS}, output=tmp_path)
    flow.train(X)
    levels.add_new_flow()
    levels.train(X)
    return flow.log_prob, flow.forward_and_log_prob, flow.inverse, flow.train, levels.log_prob_all, levels.train


def of_torch(tmp_path):
    from nvpflow.integrations.torch import FlowModule

    module = FlowModule(nvpflow.Flow([nvpflow.AffineCoupling(2, 4, [1, 0], random_state=0)]))
    return module.log_prob, module.forward, module.inverse


def of_sbi(tmp_path):
    pytest.importorskip("sbi", reason="needs sbi: pip install nvpflow[sbi]")
    from nvpflow.integrations.sbi import FlowEstimator

    flow = nvpflow.Flow([nvpflow.AffineCoupling(2, 4, [1, 0], context_dim=1, random_state=0)])
    estimator = FlowEstimator(flow, (1,))
    return (lambda x: estimator.log_prob(x, torch.zeros(4, 1)),)


def of_jax(tmp_path):
    from nvpflow.integrations.jax import JaxFlow

    flow = JaxFlow(nvpflow.Flow([nvpflow.AffineCoupling(2, 4, [1, 0], random_state=0)]))
    return lambda x: flow.log_prob(flow.parameters, x), lambda x: flow.forward(flow.parameters, x)


CLIENTS = [of_density, of_pyod, of_harmonic, of_aspire, of_pocomc, of_nessai, of_torch, of_sbi, of_jax]
TENSORS = (of_pocomc, of_torch, of_sbi)  # they take tensors alone


@pytest.mark.parametrize("client", CLIENTS)
def test_wrong_inputs(client, tmp_path):
    for method in client(tmp_path):
        wide = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
        if method.__name__ != "fit" or client not in (of_density, of_pyod):  # whose fits take any number of columns
            with pytest.raises(ValueError, match=r"shape \(\w+, 2\)|expecting 2 features|\[2\]"):
                method(torch.from_numpy(wide) if client in TENSORS else wide)
        with pytest.raises(TypeError, match=r"^\w+ must be a.* meta"):
            method(torch.empty(4, 2, device="meta"))
        if client not in (of_torch, of_sbi):  # where gradients flow
            with pytest.raises(TypeError, match=r"^\w+ must .*grad"):
                method(torch.zeros(4, 2, requires_grad=True))
        if client is not of_jax:  # whose functions are made for tracers
            with pytest.raises(TypeError, match=r"^\w+ must be a.* got a? ?\w*Tracer"):
                jax.jit(method)(jax.numpy.zeros((4, 2)))
