"""nvpflow against the oracle, on every case of `cases`: stored digests always, live PyTorch where it is installed.

Errors are relative to the 2-norm of each array: an output, a log-det, a gradient with respect to one weight or bias.
"""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest

import nvpflow
from support import cases
from support.digests import digest_error, norm_error

# In float32 the worst of all cases and instruction sets is a sum over 700 samples that nearly cancel, in four lanes: 1.1e-5.
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}
pytestmark = pytest.mark.usefixtures("every_isa")
every_group = pytest.mark.parametrize("group", cases.GROUPS)
both_precisions = pytest.mark.parametrize("dtype", TOLERANCE)


@pytest.fixture(scope="module")
def stored():
    """By name of a case: the number of its draw, and a dict of the digests of its outputs."""
    with np.load(Path(__file__).parents[1] / "data" / "oracle.npz") as file:
        names, attempts, digests = str(file["names"]), file["attempts"], file["digests"].T
    assert names == "\n".join(case.name for case in cases.CASES), "run make_oracle.py again"
    rows = iter(digests)
    result = {
        case.name: (int(attempt), dict(zip(cases.quantities(case), rows))) for case, attempt in zip(cases.CASES, attempts)
    }
    assert next(rows, None) is None
    return result


def layer_of(spec, dtype):
    match spec:
        case cases.ActNorm(dim):
            return nvpflow.ActNorm(dim, dtype=dtype)
        case cases.LULinear(dim):
            return nvpflow.LULinear(dim, dtype=dtype)
        case cases.Permutation(permutation):
            return nvpflow.Permutation(len(permutation), permutation, dtype=dtype)
    layer_type = {
        cases.Coupling: nvpflow.CouplingLayer,
        cases.Additive: nvpflow.AdditiveCoupling,
        cases.Spline: nvpflow.SplineCoupling,
    }[type(spec)]
    options = dict(vars(spec))
    return layer_type(len(spec.mask), options.pop("hidden"), **options, dtype=dtype)


def flow_of(case, parameters, dtype):
    base = None
    if case.n_components:
        n, dim = case.n_components, case.dim
        base = nvpflow.MixtureBase(np.ones(n), np.zeros((n, dim)), [np.eye(dim)] * n, dtype=dtype)
    flow = nvpflow.Flow([layer_of(spec, dtype) for spec in case.layers], base)
    flow.load_state_dict(parameters)
    return flow


def full_shape(case, flat):
    """A flat gradient as a dict of full-shape arrays, by the documented order; entries without a parameter are 0."""
    taken = 0

    def take(*shape):
        nonlocal taken
        taken += int(np.prod(shape))
        return flat[taken - int(np.prod(shape)) : taken].reshape(shape)

    result = {}
    for i, spec in enumerate(case.layers):
        if isinstance(spec, cases.ActNorm):
            result[f"{i}.log_scale"] = take(spec.dim)
            result[f"{i}.bias"] = take(spec.dim)
            continue
        if isinstance(spec, cases.LULinear):
            result[f"{i}.lu"], result[f"{i}.bias"] = take(spec.dim, spec.dim), take(spec.dim)
            continue
        if isinstance(spec, cases.Permutation):
            continue
        everything = [np.arange(width) for width in spec.hidden]
        identity, transformed = np.flatnonzero(spec.mask), np.flatnonzero(np.equal(spec.mask, 0))
        context = len(spec.mask) + np.arange(spec.context_dim)
        last = [spec.outputs_of(column) for column in transformed]
        if isinstance(spec, cases.Coupling):  # first all of s, then all of b
            last = list(zip(*last))
        last = np.array(list(itertools.chain(*last)), int)
        inputs, outputs = [np.r_[identity, context], *everything], [*everything, last]
        for net, (k, shape) in itertools.product(spec.network_names, enumerate(cases.linear_shapes(spec))):
            weight, bias = np.zeros(shape, flat.dtype), np.zeros(shape[0], flat.dtype)
            weight[np.ix_(outputs[k], inputs[k])] = take(len(outputs[k]), len(inputs[k]))
            bias[outputs[k]] = take(len(outputs[k]))
            result[f"{i}.{net}.{2 * k}.weight"] = weight
            result[f"{i}.{net}.{2 * k}.bias"] = bias
    if case.n_components:
        result |= {key: take(*shape) for key, shape in cases.base_shapes(case).items()}
    assert taken == flat.size
    return result


def evaluate(case, draw, dtype):
    """Every quantity of `cases.quantities` by nvpflow; a layer that stands alone is asked itself."""
    flow = flow_of(case, draw.parameters, dtype)
    model = flow.layers[0] if len(case.layers) == 1 and not case.n_components else flow
    points, grad_output, grad_log_det = (array.astype(dtype) for array in (draw.points, draw.grad_output, draw.grad_log_det))
    context = None if draw.context is None else draw.context.astype(dtype)
    result = {}
    result["forward.x"], result["forward.log_det"] = model.forward(points, context)
    result["inverse.z"], result["inverse.log_det"] = model.inverse(points, context)
    for direction, vjp, arg in (
        ("forward", model.forward_vjp, "z"),
        ("inverse", model.inverse_vjp, "x"),
    ):
        grad, flat, *grad_context = vjp(points, grad_output, grad_log_det, context)
        result[f"{direction}_vjp.grad_{arg}"] = grad
        if context is not None:
            (result[f"{direction}_vjp.grad_context"],) = grad_context
        result |= {f"{direction}_vjp.{k}": v for k, v in full_shape(case, flat).items()}
    if case.n:
        nll, flat = flow.nll_and_grad(points, context, draw.sample_weight)
        assert nll == flow.nll(points, context, draw.sample_weight)
        result["nll"] = np.asarray(nll)
        result |= {f"nll_grad.{k}": v for k, v in full_shape(case, flat).items()}
    for key, shape in cases.quantities(case).items():
        assert result[key].shape == shape, f"{case.name} {key}"
        assert key == "nll" or result[key].dtype == dtype, f"{case.name} {key}"
    return result


def compare(group, dtype, stored, expected_of, error_of):
    """Fail with the worst errors, if any is above the tolerance."""
    failures, n_compared = [], 0
    for case in cases.CASES:
        if case.group != group:
            continue
        attempt, digests = stored[case.name]
        draw = cases.draw(case, attempt)
        ours, expected = evaluate(case, draw, dtype), expected_of(case, draw, digests)
        for key, value in ours.items():
            error, n_compared = error_of(value, expected[key]), n_compared + 1
            if not error <= TOLERANCE[dtype]:
                failures.append((error, f"{case.name} {key}"))
    worst = "\n".join(f"{error:.2e}  {name}" for error, name in sorted(failures)[:-21:-1])
    assert not failures, f"{len(failures)} of {n_compared} above {TOLERANCE[dtype]:g}:\n{worst}"


@both_precisions
@every_group
def test_stored_oracle(group, dtype, stored):
    compare(group, dtype, stored, lambda case, draw, digests: digests, digest_error)


@both_precisions
@every_group
def test_live_oracle(group, dtype, stored):
    pytest.importorskip("torch")
    from support import oracle

    compare(group, dtype, stored, lambda case, draw, digests: oracle.evaluate(case, draw), norm_error)


def test_state_dict_shapes_and_masked_weights(stored):
    for case in cases.CASES:
        if case.n != 1:
            continue
        parameters = cases.draw(case, stored[case.name][0]).parameters
        flow = flow_of(case, parameters, "float64")
        state, by_order = flow.state_dict(), full_shape(case, flow.parameters)
        for key, given in parameters.items():
            assert state[key].shape == given.shape, f"{case.name} {key}"
            np.testing.assert_array_equal(state[key], by_order[key], f"{case.name} {key}")
            kept = by_order[key] != 0
            np.testing.assert_array_equal(by_order[key][kept], given[kept], f"{case.name} {key}")


def test_live_oracle_against_central_differences():
    """The oracle's gradients and log-dets, which everything else stands on, from its outputs alone."""
    pytest.importorskip("torch")
    from support import oracle

    step = 1e-6
    for name in ("flow-mixed", "flow-D3-n17-h9x5", "act-D7-silu-tanh-h9x5", "mixture-D3-K2-n33"):
        case = next(case for case in cases.CASES if case.name == name)
        draw = cases.draw(case, 0)
        expected = oracle.evaluate(case, draw)

        def outputs(parameters, points):
            values = oracle.evaluate(case, dataclasses.replace(draw, parameters=parameters, points=points))
            return {
                "forward_vjp": np.sum(values["forward.x"] * draw.grad_output)
                + np.sum(values["forward.log_det"] * draw.grad_log_det),
                "inverse_vjp": np.sum(values["inverse.z"] * draw.grad_output)
                + np.sum(values["inverse.log_det"] * draw.grad_log_det),
                "nll_grad": float(values["nll"]),
            }

        rng = np.random.RandomState(0)
        for key, value in (*draw.parameters.items(), ("points", draw.points)):
            direction = rng.standard_normal(value.shape)
            ends = []
            for sign in (1, -1):
                moved = value + sign * step * direction
                if key == "points":
                    ends.append(outputs(draw.parameters, moved))
                else:
                    ends.append(outputs({**draw.parameters, key: moved}, draw.points))
            for function in ends[0]:
                slope = (ends[0][function] - ends[1][function]) / (2 * step)
                if key != "points":
                    gradient = expected[f"{function}.{key}"]
                elif function == "nll_grad":
                    continue
                else:
                    gradient = expected[f"{function}.grad_{'z' if 'forward' in function else 'x'}"]
                size = np.linalg.norm(gradient) * np.linalg.norm(direction)
                assert abs(slope - np.sum(gradient * direction)) <= 1e-6 * size + 1e-9, key
