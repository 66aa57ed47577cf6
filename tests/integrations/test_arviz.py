"""nvpflow.integrations.arviz: chains, weighted samples and models as InferenceData, and what ArviZ computes from them."""

import warnings

import numpy as np
import pytest

import nvpflow
from support.targets import CHOLESKY, MEAN, log_prob

with warnings.catch_warnings(action="ignore"):  # of its import
    arviz = pytest.importorskip("arviz", reason="needs ArviZ: pip install nvpflow[arviz]")

from nvpflow.integrations.arviz import to_arviz
from nvpflow.monte_carlo import importance_sample, independence_metropolis

pytestmark = pytest.mark.filterwarnings("ignore")  # of ArviZ's own calls
ROUGH = MEAN + 1.2 * np.random.default_rng(0).normal(size=(600, 2)) @ CHOLESKY.T


@pytest.fixture(scope="module")
def model():
    return nvpflow.FlowDensity(max_iter=10, random_state=0).fit(ROUGH)


def test_chains(model):
    chains = independence_metropolis(model, log_prob, 500, random_state=0)
    data = chains.to_arviz()
    x1 = data["posterior"]["x1"]
    assert x1.dims == ("chain", "draw") and data["posterior"].attrs["inference_library"] == "nvpflow"
    np.testing.assert_array_equal(x1, chains.samples[:, :, 1])
    np.testing.assert_array_equal(data["sample_stats"]["lp"], chains.log_prob)
    np.testing.assert_array_equal(data["sample_stats"]["accepted"], chains.accepted)
    summary = arviz.summary(data, round_to=8)
    assert [float(value) for value in summary["ess_bulk"]] == pytest.approx(chains.ess_bulk, rel=1e-3)
    assert [float(value) for value in summary["r_hat"]] == pytest.approx(chains.r_hat, abs=1e-4)


def test_weighted_samples(model):
    result = importance_sample(model, log_prob, 2000, random_state=0)
    data = result.to_arviz(random_state=0)
    assert data["posterior"]["x0"].shape == (1, int(result.ess))
    np.testing.assert_array_equal(data["posterior"]["x0"], data_of(result, 0))
    points = np.stack([data["posterior"][name].values[0] for name in ("x0", "x1")], axis=1)
    np.testing.assert_allclose(data["sample_stats"]["lp"].values[0], log_prob(points))
    assert points.mean(axis=0) == pytest.approx(MEAN, abs=0.2)
    attributes = data["posterior"].attrs
    assert attributes["log_evidence"] == result.log_evidence and attributes["pareto_k"] == result.pareto_k


def data_of(result, column):
    """What the same seed resamples."""
    return result.resample(int(result.ess), random_state=0)[None, :, column]


def test_models(model):
    data = to_arviz(model, n_samples=300, n_chains=3, group="prior", random_state=0)
    x = np.stack([data["prior"][name] for name in ("x0", "x1")], axis=-1)
    assert x.shape == (3, 300, 2)
    np.testing.assert_allclose(
        data["sample_stats_prior"]["lp"], model.score_samples(x.reshape(-1, 2)).reshape(3, 300), atol=1e-4
    )
    np.testing.assert_array_equal(
        data["prior"]["x0"], to_arviz(model, n_samples=300, n_chains=3, random_state=0)["posterior"]["x0"]
    )
    flow = to_arviz(model.flow_, n_samples=10, random_state=0)
    assert list(flow["posterior"].data_vars) == ["x0", "x1"]


def test_tables():
    """Columns keep their names; categories become texts."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"size": ROUGH[:, 0], "kind": pandas.Categorical(["a", "b"] * 300)})
    posterior = to_arviz(nvpflow.FlowDensity(max_iter=2, random_state=0).fit(frame), random_state=0)["posterior"]
    assert posterior["size"].dtype.kind == "f" and set(np.unique(posterior["kind"])) == {"a", "b"}


def test_context():
    theta = ROUGH[:, :1]
    conditional = nvpflow.FlowDensity(max_iter=5, random_state=0).fit(theta, context=theta + 0.1)
    data = to_arviz(conditional, n_samples=200, context=[2.0], random_state=0)
    assert float(data["posterior"]["x0"].mean()) == pytest.approx(1.9, abs=0.2)


def test_files(model, tmp_path):
    """What ArviZ stores, it can read: attributes are plain."""
    pytest.importorskip("h5netcdf")
    data = independence_metropolis(model, log_prob, 500, random_state=0).to_arviz()
    data.to_netcdf(str(tmp_path / "chains.nc"))
    assert arviz.from_netcdf(str(tmp_path / "chains.nc"))["posterior"].attrs["inference_library"] == "nvpflow"


def test_errors(model):
    with pytest.raises(TypeError, match=r"source must be a result of nvpflow.monte_carlo or a fitted model, got \[1\]"):
        to_arviz([1])
    with pytest.raises(ValueError, match="group must be one of 'posterior', 'prior', got 'sample'"):
        to_arviz(model, group="sample")
    with pytest.raises(ValueError, match="n_chains must be at least 1, got 0"):
        to_arviz(model, n_chains=0)
    with pytest.raises(nvpflow.NotFittedError):
        to_arviz(nvpflow.FlowDensity())
