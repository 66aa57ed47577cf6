"""A mixture as the base density: parameters and files, the density far out and near a plane, samples, training.

That the density and its gradients are the formulas' is the matter of `test_oracle`.
"""

import copy
import pickle
import re

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

import nvpflow

both_precisions = pytest.mark.parametrize("dtype", ["float32", "float64"])
every_dim = pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 9])
EYE = [[1, 0], [0, 1]]


def random_mixture(dim, n_components=3, dtype="float64", seed=0):
    """Weights, means and covariances, in the precision of the base that they make, and that base."""
    rng = np.random.RandomState(seed)
    roots = np.eye(dim) + 0.4 * rng.normal(size=(n_components, dim, dim))
    weights = rng.uniform(0.5, 2, n_components)
    means, covariances = 2 * rng.normal(size=(n_components, dim)), roots @ roots.transpose(0, 2, 1)
    return weights / weights.sum(), means, covariances, nvpflow.MixtureBase(weights, means, covariances, dtype=dtype)


def bare_flow(base, n_jobs=1):
    """A flow whose density is that of the base."""
    flow = nvpflow.Flow([nvpflow.Permutation(base.data_dim, range(base.data_dim), dtype=base.dtype)], base=base)
    flow.n_jobs = n_jobs
    return flow


def flow_over(dim, n_components=3, dtype="float64", context_dim=0):
    options = {"dtype": dtype, "random_state": 0}
    layers = [
        nvpflow.CouplingLayer(dim, 5, context_dim=context_dim, **options),
        nvpflow.CouplingLayer(dim, 5, [0] * dim, context_dim=context_dim, **options),
        nvpflow.ActNorm(dim, dtype=dtype),
    ]
    return nvpflow.Flow(layers, base=random_mixture(dim, n_components, dtype)[-1])


# -- the base itself --


@every_dim
@both_precisions
def test_what_the_constructor_takes_comes_back(dim, dtype):
    weights, means, covariances, base = random_mixture(dim, 4, dtype)
    tolerance = {"rtol": 1e-10, "atol": 1e-12} if dtype == "float64" else {"rtol": 2e-4, "atol": 2e-5}
    np.testing.assert_allclose(base.weights, weights, **tolerance)
    np.testing.assert_allclose(base.means, means, **tolerance)
    np.testing.assert_allclose(base.covariances, covariances, **tolerance)
    np.testing.assert_allclose(np.linalg.inv(base.covariances), precisions(base), rtol=1e-6, atol=1e-6)
    assert (base.n_components, base.data_dim, base.dtype) == (4, dim, np.dtype(dtype))
    assert base.n_parameters == base.parameters.size == 4 * (1 + dim + dim * (dim + 1) // 2)
    assert base.logits.dtype == base.means.dtype == base.factors.dtype == base.parameters.dtype == np.dtype(dtype)
    again = nvpflow.MixtureBase(base.weights, base.means, base.covariances, dtype=dtype)
    np.testing.assert_allclose(again.parameters, base.parameters, **tolerance)
    parts = [base.logits, base.means.ravel(), base.factors.ravel()]
    np.testing.assert_array_equal(np.concatenate(parts), base.parameters)


def precisions(base):
    p = base.precision_factors
    assert not np.triu(p, 1).any()
    return p.transpose(0, 2, 1) @ p


def test_weights_count_by_their_shares():
    large, small, one = (nvpflow.MixtureBase([w, 3 * w], [[0], [1]], [[[1]]] * 2, dtype="float64") for w in (1e307, 1e-300, 1))
    for base in (large, small, one):
        np.testing.assert_allclose(base.weights, [0.25, 0.75], rtol=1e-12)
        np.testing.assert_allclose(base.logits, one.logits, atol=1e-12)


BAD = {
    "text": (("x", [[0, 0]], [EYE]), TypeError, "weights must hold real numbers, got dtype <U1"),
    "none": (([1], None, [EYE]), TypeError, "means must be an array of real numbers, got a NoneType"),
    "bool": (([True], [[0, 0]], [EYE]), TypeError, "weights must hold real numbers, got dtype bool"),
    "complex": (([1], [[0j, 0]], [EYE]), TypeError, "means must hold real numbers, got dtype complex128"),
    "ragged": (([1], [[0, 0], [1]], [EYE]), ValueError, "means must be an array of real numbers: "),
    "no columns": (([1], [[]], [EYE]), ValueError, "means must have shape (K, D) with K >= 1 and D >= 1, got (1, 0)"),
    "no rows": (([], np.zeros((0, 2)), []), ValueError, "means must have shape (K, D) with K >= 1 and D >= 1, got (0, 2)"),
    "one mean": (([1], [0, 0], [EYE]), ValueError, "means must have shape (K, D) with K >= 1 and D >= 1, got (2,)"),
    "one covariance": (
        ([1], [[0, 0]], EYE),
        ValueError,
        "covariances must have shape (1, 2, 2) to go with means of shape (1, 2), got (2, 2)",
    ),
    "weights": (
        ([1, 2], [[0, 0]], [EYE]),
        ValueError,
        "weights must have shape (1,) to go with means of shape (1, 2), got (2,)",
    ),
    "zero weight": (([0], [[0, 0]], [EYE]), ValueError, "weights must be positive, got 0.0"),
    "negative weight": (([1, -1], [[0, 0]] * 2, [EYE] * 2), ValueError, "weights must be positive, got -1.0"),
    "nan": (([np.nan], [[0, 0]], [EYE]), ValueError, "weights must be finite, got NaN or infinity"),
    "infinity": (([1], [[0, np.inf]], [EYE]), ValueError, "means must be finite, got NaN or infinity"),
    "indefinite": (
        ([1, 1], [[0, 0]] * 2, [EYE, [[1, 2], [2, 1]]]),
        ValueError,
        "covariances[1] must be positive definite, got one with a least eigenvalue of -1",
    ),
    "singular": (([1], [[0, 0]], [[[1, 1], [1, 1]]]), ValueError, "covariances[0] must be positive definite, got one"),
    "asymmetric": (
        ([1], [[0, 0]], [[[1, 0.5], [0, 1]]]),
        ValueError,
        "covariances[0] must be symmetric, got entries that differ by 0.5",
    ),
    "asymmetric and small": (([1], [[0, 0]], [[[1e-12, 5e-13], [0, 1e-12]]]), ValueError, "must be symmetric"),
    "range": (([1], [[1e39, 0]], [EYE]), ValueError, "weights, means and covariances must be within the range of float32"),
    "dtype": (([1], [[0, 0]], [EYE], "int8"), ValueError, "dtype must be float32 or float64, got 'int8'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(name):
    (weights, means, covariances, *dtype), error, message = BAD[name]
    with pytest.raises(error, match=re.escape(message)):
        nvpflow.MixtureBase(weights, means, covariances, dtype=dtype[0] if dtype else "float32")


def test_arguments_are_copied():
    _weights, means, covariances, base = random_mixture(2)
    means[:], covariances[:], before = 7, 7, base.parameters.copy()
    np.testing.assert_array_equal(base.parameters, before)


# -- in a flow --


@both_precisions
def test_views_write_through_to_the_flow(dtype):
    base = random_mixture(3, 2, dtype)[-1]
    before = base.parameters.copy()
    flow = nvpflow.Flow([nvpflow.ActNorm(3, dtype=dtype)], base=base)
    assert flow.base is base and flow.parameters.size == 6 + base.n_parameters
    np.testing.assert_array_equal(flow.parameters[6:], before)
    for view in (base.parameters, base.logits, base.means, base.factors):
        assert np.shares_memory(view, flow.parameters) and view.flags.writeable
    base.logits[1], base.means[0, 2], base.factors[1, 5] = 3, 4, 5
    assert flow.parameters[6 + 1] == 3 and flow.parameters[6 + 2 + 2] == 4 and flow.parameters[-1] == 5
    flow.parameters[-1] = -1
    assert base.factors[1, 5] == -1 and base.precision_factors[1, 2, 2] == np.exp(-1)
    x = np.zeros((1, 3), dtype)
    moved = flow.log_prob(x)
    base.means[:] = 9
    assert flow.log_prob(x) != moved
    for name in ("parameters", "logits", "means", "factors", "weights", "covariances"):
        with pytest.raises(AttributeError):
            setattr(base, name, 0)
    with pytest.raises(AttributeError):
        flow.base = None


def test_a_base_that_does_not_fit_changes_nothing():
    base, layer = random_mixture(2, dtype="float32")[-1], nvpflow.ActNorm(2)
    before, parameters = base.parameters.copy(), base.parameters
    for layers, other, error, message in (
        ([nvpflow.ActNorm(3)], base, ValueError, "base and layers must agree in data_dim: base has 2, layers have 3"),
        (
            [nvpflow.ActNorm(2, dtype="float64")],
            base,
            ValueError,
            "base and layers must agree in dtype: base has float32, layers have float64",
        ),
        ([layer], "normal", TypeError, "base must be a MixtureBase or None, got 'normal'"),
        ([layer], [base], TypeError, "base must be a MixtureBase or None, got [MixtureBase(n_components=3"),
        ([layer, nvpflow.ActNorm(3)], base, ValueError, "layers must agree in data_dim"),
    ):
        with pytest.raises(error, match=re.escape(message)):
            nvpflow.Flow(layers, base=other)
    np.testing.assert_array_equal(base.parameters, before)
    flow = nvpflow.Flow([layer], base=base)  # both are still free
    for twice in (base, flow.base):
        with pytest.raises(ValueError, match=r"base already belongs to a flow: use base\.copy\(\)"):
            nvpflow.Flow([nvpflow.ActNorm(2)], base=twice)
    assert not np.shares_memory(parameters, flow.parameters)
    nvpflow.Flow([nvpflow.ActNorm(2)], base=base.copy())


DUPLICATES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "method": lambda model: model.copy(),
}


@pytest.mark.parametrize("how", DUPLICATES)
@both_precisions
def test_copies(how, dtype):
    base, x = random_mixture(3, 2, dtype)[-1], np.random.RandomState(1).normal(size=(9, 3))
    flow = nvpflow.Flow([nvpflow.CouplingLayer(3, 4, dtype=dtype, random_state=0)], base=base)
    for twin in (DUPLICATES[how](base), DUPLICATES[how](flow).base):
        assert twin.config() == base.config() and twin.dtype == base.dtype and repr(twin) == repr(base)
        np.testing.assert_array_equal(twin.parameters, base.parameters)
        assert not np.shares_memory(twin.parameters, base.parameters)
    twin = DUPLICATES[how](flow)
    np.testing.assert_array_equal(twin.log_prob(x), flow.log_prob(x))
    twin.base.means[:] += 1
    assert (twin.log_prob(x) != flow.log_prob(x)).any()
    nvpflow.Flow([nvpflow.ActNorm(3, dtype=dtype)], base=DUPLICATES[how](base))  # a copy is free


def test_config():
    flow = flow_over(3, 2, "float32")
    config = flow.config()
    assert config["base"] == {"type": "mixture", "n_components": 2, "data_dim": 3}
    twin = nvpflow.Flow.from_config(config)
    assert twin.config() == config and twin.parameters.size == flow.parameters.size
    assert "base" not in nvpflow.Flow([nvpflow.ActNorm(2)]).config()
    assert nvpflow.Flow.from_config(config | {"base": None}).base is None
    for change, error, message in (
        ({"type": "other"}, ValueError, "base type must be one of 'mixture', got 'other'"),
        ({"n_components": 0}, ValueError, "n_components must be at least 1, got 0"),
        ({"n_components": 1.5}, TypeError, "n_components must be an integer, got 1.5"),
        ({"data_dim": 4}, ValueError, "base and layers must agree in data_dim: base has 4, layers have 3"),
        ({"data_dim": "3"}, TypeError, "data_dim must be an integer, got '3'"),
        ({"data_dim": 3.0}, TypeError, "data_dim must be an integer, got 3.0"),
    ):
        with pytest.raises(error, match=re.escape(message)):
            nvpflow.Flow.from_config(config | {"base": config["base"] | change})


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
@pytest.mark.parametrize("context_dim", [0, 2])
@both_precisions
def test_files(ending, context_dim, dtype, tmp_path):
    if ending == "safetensors":
        pytest.importorskip("safetensors")
    flow, path = flow_over(3, 4, dtype, context_dim), tmp_path / f"flow.{ending}"
    flow.save(path)
    twin = nvpflow.load(path)
    assert twin.config() == flow.config() and isinstance(twin.base, nvpflow.MixtureBase)
    np.testing.assert_array_equal(twin.parameters, flow.parameters)
    assert np.shares_memory(twin.base.parameters, twin.parameters)


# -- state dicts --


@both_precisions
def test_state_dict(dtype):
    flow, twin = flow_over(3, 2, dtype), flow_over(3, 2, dtype)
    state = flow.state_dict()
    assert [name for name in state if name.startswith("base.")] == ["base.logits", "base.means", "base.factors"]
    assert not any(np.shares_memory(array, flow.parameters) for array in state.values())
    twin.parameters[:] = 0
    twin.load_state_dict(state)
    np.testing.assert_array_equal(twin.parameters, flow.parameters)
    assert state.keys() == flow.state_dict().keys()  # nothing was taken out of it
    twin.load_state_dict({name: array.tolist() for name, array in state.items()})
    np.testing.assert_array_equal(twin.parameters, flow.parameters)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"base.logits": None}, ValueError, "state dict misses 'base.logits'"),
        ({"base.means": np.zeros(6)}, ValueError, "state dict entry 'base.means' must have shape (2, 3), got (6,)"),
        ({"base.factors": [["a"] * 6] * 2}, TypeError, "state dict entry 'base.factors' must hold real numbers"),
        ({"base.weights": np.zeros(2)}, ValueError, "state dict entry 'base.weights' is not of the form"),
        # Here all of the base is fine, and with the next a layer has been set, too.
        ({"0.s_net.0.weight": np.zeros((9, 9))}, ValueError, "state dict entry 's_net.0.weight' must have shape"),
        ({"2.bias": None}, ValueError, "state dict misses 'bias'"),
        ({"3.bias": np.zeros(3)}, ValueError, "state dict has layers [3], the flow has 3 layers"),
    ],
)
def test_a_bad_state_dict_changes_nothing(change, error, message):
    flow = flow_over(3, 2)
    state = {name: array + 1 for name, array in flow.state_dict().items()} | change
    state, before = {name: array for name, array in state.items() if array is not None}, flow.parameters.copy()
    with pytest.raises(error, match=re.escape(message)):
        flow.load_state_dict(state)
    np.testing.assert_array_equal(flow.parameters, before)


def test_a_state_dict_with_a_base_is_none_without():
    flow = nvpflow.Flow([nvpflow.ActNorm(2)])
    state = nvpflow.Flow([nvpflow.ActNorm(2)], base=random_mixture(2, dtype="float32")[-1]).state_dict()
    with pytest.raises(ValueError, match=re.escape("state dict entry 'base.logits' is not of the form")):
        flow.load_state_dict(state)


def couplings_over_a_base(dtype="float32"):
    masks = [[1, 0, 1], [0, 1, 0]]
    layers = [nvpflow.CouplingLayer(3, 5, mask, dtype=dtype, random_state=i) for i, mask in enumerate(masks)]
    return nvpflow.Flow(layers, random_mixture(3, 4, dtype=dtype)[-1])


@both_precisions
def test_from_state_dict(dtype):
    flow = couplings_over_a_base(dtype)
    state = flow.state_dict()
    twin = nvpflow.Flow.from_state_dict(state, scale=flow.layers[0].scale)
    assert twin.config() == flow.config() and state.keys() == flow.state_dict().keys()
    np.testing.assert_array_equal(twin.parameters, flow.parameters)
    assert nvpflow.Flow.from_state_dict(state, dtype="float64").base.dtype == np.float64


@pytest.mark.parametrize(
    "change, message",
    [
        ({"base.logits": None}, "state dict misses 'base.logits'"),
        ({"base.means": None}, "state dict misses 'base.means'"),
        ({"base.means": np.zeros(4)}, "state dict entry 'base.means' must have shape (K, D) with K >= 1 and D >= 1, got (4,)"),
        ({"base.factors": np.zeros((4, 5))}, "state dict entry 'base.factors' must have shape (4, 6), got (4, 5)"),
        ({"base.means": np.zeros((4, 2)), "base.factors": np.zeros((4, 3))}, "base and layers must agree in data_dim"),
    ],
)
def test_from_a_bad_state_dict(change, message):
    state = couplings_over_a_base().state_dict() | change
    with pytest.raises(ValueError, match=re.escape(message)):
        nvpflow.Flow.from_state_dict({name: array for name, array in state.items() if array is not None})


# -- the density --


def reference_log_prob(base, x):
    parts = zip(base.weights, base.means.astype(float), base.covariances)
    joint = [np.log(w) + multivariate_normal(mean, cov).logpdf(x).reshape(len(x)) for w, mean, cov in parts]
    return logsumexp(joint, axis=0)


@every_dim
def test_log_prob_is_that_of_scipy(dim, every_isa):
    base = random_mixture(dim, 5)[-1]
    x = 3 * np.random.RandomState(1).normal(size=(300, dim))
    np.testing.assert_allclose(bare_flow(base).log_prob(x), reference_log_prob(base, x), rtol=1e-10, atol=1e-10)


@every_dim
@both_precisions
def test_far_points(dim, dtype, every_isa):
    """A mixture of components that are all N(0, I) has its density wherever that is a number, and -inf beyond."""
    mixture = bare_flow(nvpflow.MixtureBase([1, 2, 3], np.zeros((3, dim)), [np.eye(dim)] * 3, dtype=dtype))
    normal = nvpflow.Flow([nvpflow.Permutation(dim, range(dim), dtype=dtype)])
    largest = float(np.finfo(dtype).max)
    sizes = np.array([1e3, 1e6, largest**0.49, largest**0.51, largest, np.inf], dtype)
    directions = np.random.RandomState(0).uniform(-1, 1, (4, dim))
    directions[-2:] = [[1] * dim, [(-1) ** i for i in range(dim)]]
    x = (sizes[:, None, None] * directions.astype(dtype)).reshape(-1, dim)
    for points in (x, x[:1], np.tile(x, (40, 1))):
        expected, found = normal.log_prob(points), mixture.log_prob(points)
        finite = np.isfinite(expected)
        np.testing.assert_allclose(found[finite], expected[finite], rtol=1e-5)
        np.testing.assert_array_equal(found[~finite], -np.inf)
        assert not np.isnan(expected).any()


@every_dim
@both_precisions
def test_far_points_of_correlated_components(dim, dtype, every_isa):
    flow, largest = bare_flow(random_mixture(dim, 4, dtype)[-1]), np.finfo(dtype).max
    directions = np.random.RandomState(0).uniform(-1, 1, (20, dim)).astype(dtype)
    for size, finite in ((1e3, True), (largest**0.45, True), (largest / 2, False), (np.inf, False)):
        x = (size * directions).astype(dtype)
        log_prob = flow.log_prob(x)
        assert np.isfinite(log_prob).all() if finite else (log_prob == -np.inf).all(), size
        if size == 1e3:
            np.testing.assert_allclose(log_prob, reference_log_prob(flow.base, x), rtol=1e-5)
            nll, gradient = flow.nll_and_grad(x)
            assert np.isfinite(nll) and np.isfinite(gradient).all()
    x[3, dim - 1] = np.nan  # and NaN is no point at all
    log_prob = flow.log_prob(x)
    assert np.isnan(log_prob[3]) and (np.delete(log_prob, 3) == -np.inf).all()


@every_dim
def test_a_parameter_that_is_no_number_gives_no_density(dim, every_isa):
    flow = bare_flow(random_mixture(dim, 3, "float32")[-1])
    for i in range(flow.n_parameters):
        for value in (np.nan, np.inf, *([-np.inf] if i >= 3 else [])):  # a logit of -inf is a weight of 0
            before, flow.parameters[i] = flow.parameters[i], value
            assert np.isnan(flow.log_prob(np.ones((5, dim)))).all(), (i, value)
            flow.parameters[i] = before
    assert np.isfinite(flow.log_prob(np.ones((5, dim)))).all()


@both_precisions
def test_a_component_of_little_weight_or_far_away_does_not_matter(dtype, every_isa):
    """Even where the densities differ by more than the largest number."""
    x = np.random.RandomState(0).normal(size=(100, 2))
    alone = bare_flow(nvpflow.MixtureBase([1], [[0, 0]], [EYE], dtype=dtype)).log_prob(x)
    for weights, means in (([1, 1e-300], [[0, 0], [0, 0]]), ([1e-300, 1], [[0, 0], [1e6, 0]])):
        flow = bare_flow(nvpflow.MixtureBase(weights, means, [EYE] * 2, dtype=dtype))
        expected = alone + np.log(weights[0] / sum(weights)) if weights[1] == 1 else alone
        np.testing.assert_allclose(flow.log_prob(x), expected, rtol=1e-5)
        assert np.isfinite(flow.nll_and_grad(x)[1]).all()


@pytest.mark.parametrize("correlation", [0.9, 0.9999, 1 - 1e-8])
@pytest.mark.parametrize("dim", [2, 5])
def test_covariances_that_are_nearly_degenerate(correlation, dim, every_isa):
    covariance = np.full((dim, dim), correlation) + (1 - correlation) * np.eye(dim)
    base = nvpflow.MixtureBase([1, 1], [[0.0] * dim, [1.0] * dim], [covariance, 1e-6 * covariance], dtype="float64")
    np.testing.assert_allclose(base.covariances[0], covariance, rtol=1e-6)
    flow = bare_flow(base)
    x = np.random.RandomState(0).multivariate_normal(np.zeros(dim), covariance, 200)
    np.testing.assert_allclose(flow.log_prob(x), reference_log_prob(base, x), rtol=1e-4)
    single = bare_flow(nvpflow.MixtureBase(base.weights, base.means, base.covariances)).log_prob(x)
    assert np.isfinite(single).all()
    if correlation < 0.999999:
        np.testing.assert_allclose(single, flow.log_prob(x), rtol=1e-2, atol=1e-2)


# -- threads --


@pytest.mark.parametrize("dim", [2, 5])
@pytest.mark.parametrize("context_dim", [0, 2])
def test_the_number_of_threads_changes_no_bit(dim, context_dim):
    flow, rng = flow_over(dim, 7, "float32", context_dim), np.random.RandomState(0)
    x, context = rng.normal(size=(3000, dim)), rng.normal(size=(3000, context_dim)) if context_dim else None
    weight = rng.uniform(size=3000)
    results = []
    for n_jobs in (1, 2, 3, 8):
        flow.n_jobs = n_jobs
        results.append(
            [
                flow.log_prob(x, context),
                *flow.nll_and_grad(x, context, weight),
                *flow.sample_and_log_prob(3000, 5, context),
                *flow.inverse_vjp(x, x, x[:, 0], context),
            ]
        )
    for other in results[1:]:
        for expected, found in zip(results[0], other):
            np.testing.assert_array_equal(found, expected)


# -- samples --


@every_dim
@both_precisions
def test_samples_have_the_moments_of_the_mixture(dim, dtype, every_isa):
    n = 40_000
    weights, means, covariances, base = random_mixture(dim, 3, dtype)
    x = bare_flow(base).sample(n, random_state=3)
    assert x.shape == (n, dim) and x.dtype == dtype
    mean = weights @ means
    offsets = means - mean
    covariance = np.einsum("k,kij->ij", weights, covariances + offsets[:, :, None] * offsets[:, None, :])
    deviation = np.sqrt(np.diag(covariance))
    assert (np.abs(x.mean(axis=0) - mean) < 5 * deviation / np.sqrt(n)).all()
    assert (np.abs(np.cov(x.T).reshape(dim, dim) - covariance) < 10 * np.outer(deviation, deviation) / np.sqrt(n)).all()


def test_samples_of_each_component():
    """Clusters that do not touch: their shares, and the moments of each."""
    n, weights, means = 60_000, np.array([0.1, 0.6, 0.3]), np.array([[-40.0, 0], [0, 40], [40, 0]])
    covariances = np.array([EYE, [[4, 1.9], [1.9, 1]], [[0.01, 0], [0, 9]]])
    x = bare_flow(nvpflow.MixtureBase(weights, means, covariances, dtype="float64")).sample(n, random_state=1)
    nearest = np.linalg.norm(x[:, None] - means, axis=2).argmin(axis=1)
    for k, weight in enumerate(weights):
        part = x[nearest == k]
        assert abs(len(part) / n - weight) < 5 * np.sqrt(weight / n)
        white = np.linalg.solve(np.linalg.cholesky(covariances[k]), (part - means[k]).T)
        assert (np.abs(white.mean(axis=1)) < 5 / np.sqrt(len(part))).all()
        assert (np.abs(np.cov(white) - np.eye(2)) < 8 / np.sqrt(len(part))).all()
    same = nearest[1:] == nearest[:-1]  # one after the other without memory
    assert abs(same.mean() - (weights**2).sum()) < 5 / np.sqrt(n)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_the_first_of_many_samples_are_the_same_as_few(dim, every_isa):
    flow = flow_over(dim, 4, "float32")
    many = flow.sample(2000, random_state=7)
    for n in (1, 3, 17, 513, 1999):
        for n_jobs in (1, 3):
            flow.n_jobs = n_jobs
            np.testing.assert_array_equal(flow.sample(n, random_state=7), many[:n])
    assert (flow.sample(2000, random_state=8) != many).any()
    assert flow.sample(0).shape == (0, dim)


@pytest.mark.parametrize("context_dim", [0, 2])
@every_dim
def test_samples_come_with_their_log_prob(dim, context_dim, every_isa):
    flow = flow_over(dim, 3, "float64", context_dim)
    context = np.random.RandomState(0).normal(size=(700, 2)) if context_dim else None
    x, log_prob = flow.sample_and_log_prob(700, 1, context)
    np.testing.assert_allclose(log_prob, flow.log_prob(x, context), rtol=1e-9, atol=1e-9)


# -- gradients --


@pytest.mark.parametrize("dim", [2, 5])
@pytest.mark.parametrize("context_dim", [0, 2])
def test_a_vjp_of_the_layers_has_nothing_for_the_base(dim, context_dim):
    """Nor do numbers of earlier calls stay there. The layers' part does not depend on the base."""
    flow, rng = flow_over(dim, 3, "float64", context_dim), np.random.RandomState(0)
    plain = nvpflow.Flow([layer.copy() for layer in flow.layers])
    x, g = rng.normal(size=(50, dim)), rng.normal(size=(50, dim))
    context = rng.normal(size=(50, context_dim)) if context_dim else None
    assert flow.nll_and_grad(x, context)[1][plain.n_parameters :].all()
    for name in ("forward_vjp", "inverse_vjp"):
        _, gradient, *_ = getattr(flow, name)(x, g, g[:, 0], context)
        _, expected, *_ = getattr(plain, name)(x, g, g[:, 0], context)
        np.testing.assert_array_equal(gradient[: plain.n_parameters], expected)
        np.testing.assert_array_equal(gradient[plain.n_parameters :], 0)
        _, empty, *_ = getattr(flow, name)(x[:0], g[:0], g[:0, 0], None if context is None else context[:0])
        np.testing.assert_array_equal(empty, np.zeros(flow.n_parameters))


# -- training --


@pytest.mark.parametrize("dim", [1, 3, 5])
def test_one_component_learns_the_mean_and_covariance_of_the_data(dim):
    rng = np.random.RandomState(0)
    x = rng.normal(size=(400, dim)) @ (np.eye(dim) + 0.3 * rng.normal(size=(dim, dim))) + rng.normal(size=dim)
    weight = rng.uniform(size=400)
    for w in (None, weight):
        flow = bare_flow(nvpflow.MixtureBase([1], [np.zeros(dim)], [np.eye(dim)], dtype="float64"))
        flow.fit(x, sample_weight=w, max_iter=1500, learning_rate=0.05, schedule="cosine")
        mean, covariance = np.average(x, axis=0, weights=w), np.cov(x.T, aweights=w, ddof=0).reshape(dim, dim)
        np.testing.assert_allclose(flow.base.means[0], mean, atol=1e-4)
        np.testing.assert_allclose(flow.base.covariances[0], covariance, atol=1e-3)
        assert np.abs(flow.nll_and_grad(x, None, w)[1]).max() < 1e-4


def test_a_conditional_flow_over_a_mixture_learns():
    """Two clusters that the context moves: layers shift, the base has the clusters."""
    rng = np.random.RandomState(0)
    context, sign = rng.normal(size=(1000, 1)), rng.choice([-3.0, 3.0], (1000, 1))
    x = np.hstack([sign + 2 * context + 0.3 * rng.normal(size=(1000, 1)), rng.normal(size=(1000, 1))])
    base = nvpflow.MixtureBase([1, 1], [[-1, 0], [1, 0]], [EYE] * 2)
    layers = [nvpflow.AdditiveCoupling(2, 16, [0, 1], context_dim=1, random_state=0), nvpflow.ActNorm(2)]
    flow = nvpflow.Flow(layers, base=base)
    history = flow.fit(x, context, max_iter=600, learning_rate=0.02, schedule="cosine")
    entropy = np.log(2) + np.log(2 * np.pi * np.e) + np.log(0.3)
    assert history["train_nll"][0] > entropy + 1 and abs(flow.nll(x, context) - entropy) < 0.15
    samples = flow.sample(4000, random_state=0, context=[1.5])[:, 0]
    assert np.abs(np.abs(samples - 3) - 3).mean() < 0.5 and abs((samples > 3).mean() - 0.5) < 0.1


def test_the_start_is_kept_where_it_is_the_best():
    rng = np.random.RandomState(0)
    x, held_out = rng.normal(size=(10, 2)), rng.normal(size=(500, 2))
    truth = bare_flow(nvpflow.MixtureBase([1], [[0, 0]], [EYE], dtype="float64"))
    flow = truth.copy()
    before = flow.parameters.copy()
    history = flow.fit(x, validation_data=held_out, max_iter=30, learning_rate=0.1)
    assert len(history["validation_nll"]) == 30
    assert history["validation_nll"].min() > truth.nll(held_out) == flow.nll(held_out)
    np.testing.assert_array_equal(flow.parameters, before)
    # Patience counts from there.
    history = flow.fit(x, validation_data=held_out, max_iter=30, learning_rate=0.1, n_iter_no_change=4)
    assert len(history["validation_nll"]) == 4
    np.testing.assert_array_equal(flow.parameters, before)


def test_an_interrupted_fit_keeps_the_start_where_it_is_the_best():
    rng = np.random.RandomState(0)
    flow = bare_flow(nvpflow.MixtureBase([1], [[0, 0]], [EYE], dtype="float64"))
    before = flow.parameters.copy()

    def interrupt(epoch, train_nll, validation_nll):
        if epoch == 3:
            raise KeyboardInterrupt

    options = {"max_iter": 30, "learning_rate": 0.1, "validation_data": rng.normal(size=(500, 2)), "callback": interrupt}
    with pytest.raises(KeyboardInterrupt):
        flow.fit(rng.normal(size=(10, 2)), **options)
    np.testing.assert_array_equal(flow.parameters, before)


def test_parts_of_a_training_are_the_whole():
    rng = np.random.RandomState(0)
    x, held_out = rng.normal(size=(100, 2)) + 1, rng.normal(size=(50, 2)) + 1
    options = {"max_iter": 12, "learning_rate": 0.02, "batch_size": 20, "validation_data": held_out, "random_state": 3}
    flow, parts, state = flow_over(2), flow_over(2), nvpflow.TrainingState()
    whole = flow.fit(x, **options)["validation_nll"]
    curve = [parts.fit(x, **options, pause_after=4, state=state)["validation_nll"] for _ in range(3)]
    np.testing.assert_array_equal(np.concatenate(curve), whole)
    np.testing.assert_array_equal(parts.parameters, flow.parameters)
