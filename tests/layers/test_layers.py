"""Every type of layer: gradients, log-determinants, round trips, copies and arguments."""

import copy
import pickle
import re

import numpy as np
import pytest

import nvpflow
from support.checks import check_log_det, check_round_trip, check_vjp
from support.flows import LAYERS, alternating, flow_of_everything, lu_linear, one_of_each
from support.marks import both_directions, both_precisions

every_layer = pytest.mark.parametrize("name", LAYERS)


@every_layer
@both_directions
@pytest.mark.parametrize("dim", [2, 5])
def test_gradients(name, direction, dim):
    if name in ("permutation", "bounded"):
        pytest.skip("has no parameters; flows contain one")
    check_vjp(one_of_each(dim)[name], direction)


@both_directions
def test_gradients_of_flow(direction):
    check_vjp(flow_of_everything(4), direction)


@pytest.mark.parametrize("dim", [15, 16, 17, 40])
@both_directions
def test_gradients_of_large_lu(dim, direction):
    check_vjp(lu_linear(dim, size=0.05), direction)


@every_layer
@both_directions
@pytest.mark.parametrize("dim", [2, 5])
def test_log_det(name, direction, dim):
    check_log_det(one_of_each(dim)[name], direction)


@every_layer
@both_precisions
def test_round_trip(name, dtype):
    layer = one_of_each(5, dtype)[name]
    tolerance = 1e-3 if dtype == "float32" else 1e-11
    for there, back in (("forward", "inverse"), ("inverse", "forward")):
        check_round_trip(nvpflow.Flow([layer.copy()]), there, back, tolerance)


@pytest.mark.parametrize("dim", [2, 16])
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-4), ("float64", 1e-12)])
@pytest.mark.parametrize("there, back", [("forward", "inverse"), ("inverse", "forward")])
def test_round_trip_of_64_splines(dim, dtype, tolerance, there, back):
    layers = [nvpflow.SplineCoupling(dim, mask=alternating(dim, i % 2), dtype=dtype, random_state=i) for i in range(64)]
    check_round_trip(nvpflow.Flow(layers), there, back, tolerance)


@every_layer
@both_precisions
def test_nan_and_infinity_affect_one_row(name, dtype):
    layer = one_of_each(3, dtype)[name]
    points = np.random.RandomState(0).normal(size=(80, 3)).astype(dtype)
    ones = np.ones(80)
    for bad in (np.nan, np.inf, -np.inf):
        for column in range(3):
            spoilt = points.copy()
            spoilt[13, column] = bad
            for direction in ("forward", "inverse"):
                function, vjp = getattr(layer, direction), getattr(layer, f"{direction}_vjp")
                for ours, theirs in zip(
                    (*function(spoilt), vjp(spoilt, points, ones)[0]), (*function(points), vjp(points, points, ones)[0])
                ):
                    np.testing.assert_array_equal(np.delete(ours, 13, 0), np.delete(theirs, 13, 0))
                at_a_bound = name == "bounded" and direction == "forward" and not np.isnan(bad)
                assert at_a_bound or not np.isfinite(function(spoilt)[0][13]).all()


@both_precisions
def test_batch_changes_no_bit(dtype):
    flow = flow_of_everything(4, dtype)
    points = np.random.RandomState(0).normal(size=(300, 4)).astype(dtype)

    def everything(rows):
        given = points[rows]
        vjps = flow.forward_vjp(given, given, given[:, 0])[0], flow.inverse_vjp(given, given, given[:, 0])[0]
        return *flow.forward(given), *flow.inverse(given), *vjps

    whole = everything(np.arange(300))
    for rows in (np.array([7]), np.arange(17), np.arange(100, 233), np.arange(300)[::-1]):
        for part, of_whole in zip(everything(rows), whole, strict=True):
            assert part.tobytes() == np.ascontiguousarray(of_whole[rows]).tobytes()


@both_precisions
def test_instruction_sets_agree(dtype, monkeypatch):
    points = np.random.RandomState(0).normal(size=(100, 4))
    found = []
    for isa in ("baseline", "avx2", "avx512"):
        monkeypatch.setenv("NVPFLOW_ISA", isa)
        try:
            flow = flow_of_everything(4, dtype)
        except RuntimeError:
            continue
        assert flow.isa == isa
        found.append((*flow.inverse(points), *flow.forward(points), flow.nll_and_grad(points)[1]))
    tolerance = 1e-3 if dtype == "float32" else 1e-11
    for others in found[1:]:
        for ours, theirs in zip(others, found[0]):
            assert np.linalg.norm(ours - theirs) <= tolerance * np.linalg.norm(theirs)


def test_n_jobs_changes_no_bit():
    one, many = flow_of_everything(4, "float32"), flow_of_everything(4, "float32")
    many.n_jobs = 3
    points = np.random.RandomState(0).normal(size=(50_000, 4))
    assert one.nll_and_grad(points)[1].tobytes() == many.nll_and_grad(points)[1].tobytes()


def test_shared_network():
    options = dict(mask=[1, 0, 1, 0], dtype="float64", random_state=0)
    shared, separate = (nvpflow.CouplingLayer(4, (7, 5), networks=kind, **options) for kind in ("shared", "separate"))
    for ours, theirs in ((shared.s_net, separate.s_net), (shared.b_net, separate.b_net)):
        for one, other in zip(ours, theirs, strict=True):
            other.weight[:], other.bias[:] = one.weight, one.bias
    z = np.random.RandomState(0).normal(size=(50, 4))
    np.testing.assert_allclose(shared.forward(z)[0], separate.forward(z)[0], rtol=1e-13)
    shared.s_net[-1].bias[0] = 7
    assert 7 in shared.parameters
    assert shared.n_parameters == 7 * 3 + 5 * 8 + 4 * 6


@every_layer
@both_precisions
def test_copies(name, dtype, tmp_path):
    layer = one_of_each(3, dtype)[name]
    z = np.random.RandomState(0).normal(size=(50, 3))
    expected = layer.forward(z)[0]
    flow = nvpflow.Flow([layer.copy()])
    nvpflow.save(flow, tmp_path / "flow.npz")
    other = nvpflow.Flow.from_config(flow.config())
    other.load_state_dict(flow.state_dict())
    for same in (
        layer.copy(),
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
        pickle.loads(pickle.dumps(flow)),
        nvpflow.load(tmp_path / "flow.npz"),
        other,
        eval(repr(layer), vars(nvpflow)) if name == "permutation" else layer,
    ):
        assert same.forward(z)[0].tobytes() == expected.tobytes()
    assert type(layer).__name__ in nvpflow.__all__


BAD_ARGUMENTS = (
    (lambda: nvpflow.SplineCoupling(2, n_bins=1), ValueError, "n_bins must be at least 2, got 1"),
    (lambda: nvpflow.SplineCoupling(2, n_bins=65), ValueError, "n_bins must be at most 64, got 65"),
    (lambda: nvpflow.SplineCoupling(2, n_bins=8.0), TypeError, "n_bins must be an integer, got 8.0"),
    (lambda: nvpflow.SplineCoupling(2, tail_bound=0), ValueError, "tail_bound must be finite and > 0, got 0"),
    (lambda: nvpflow.SplineCoupling(2, tail_bound="4"), TypeError, "tail_bound must be a real number, got '4'"),
    (lambda: nvpflow.SplineCoupling(2, activation="gelu"), ValueError, "activation must be one of"),
    (lambda: nvpflow.SplineCoupling(2, mask=[1]), ValueError, "mask must have shape (2,), got (1,)"),
    (lambda: nvpflow.AdditiveCoupling(0), ValueError, "data_dim must be at least 1, got 0"),
    (lambda: nvpflow.AdditiveCoupling(2, hidden_dim=0), ValueError, "hidden_dim must be at least 1, got 0"),
    (lambda: nvpflow.CouplingLayer(2, networks="one"), ValueError, "networks must be one of 'separate', 'shared'"),
    (lambda: nvpflow.Permutation(2, [0, 0]), ValueError, "permutation must hold each of 0, ..., 1 once, got [0, 0]"),
    (lambda: nvpflow.Permutation(2, [0, 2]), ValueError, "permutation must hold each of 0, ..., 1 once, got [0, 2]"),
    (lambda: nvpflow.Permutation(2, [0, 1, 2]), ValueError, "permutation must have shape (2,), got (3,)"),
    (lambda: nvpflow.Permutation(2, [0.0, 1.0]), TypeError, "permutation must hold integers, got dtype float64"),
    (lambda: nvpflow.Permutation(2, random_state="x"), TypeError, "random_state must be None"),
    (lambda: nvpflow.LULinear(2.5), TypeError, "data_dim must be an integer, got 2.5"),
    (lambda: nvpflow.LULinear(2, dtype="int8"), ValueError, "dtype must be float32 or float64"),
    (lambda: nvpflow.LULinear(10**15), MemoryError, "does not fit in memory"),
)


@pytest.mark.parametrize("call, error, message", BAD_ARGUMENTS)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()
