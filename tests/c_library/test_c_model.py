"""Fitted estimators, saved by Python and read by C: angles, whole numbers, bounds and origins."""

import os

import numpy as np
import pytest

import nvpflow
from support.c_programs import TESTS, run_tests

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the commands are those of gcc and clang")
TURN = 2 * np.pi
N = 100
RNG = np.random.default_rng(0)
ANGLE = RNG.vonmises(0, 2, N) % TURN
X = np.column_stack([ANGLE, np.cos(ANGLE) + 0.3 * RNG.normal(size=N), (ANGLE + RNG.vonmises(0, 3, N)) % TURN])
COUNTS = np.column_stack([RNG.poisson(3, N), RNG.binomial(9, 0.3, N), -RNG.poisson(np.exp(X[:, 1]))])
FORMAT, CATEGORIES = 6, 10  # NVP_ERROR_FORMAT, NVP_ERROR_CATEGORIES


@pytest.fixture(scope="module")
def program(library_variant, tmp_path_factory):
    """tests/c/test_model.c, built."""
    return library_variant("plain").link(TESTS / "test_model.c", tmp_path_factory.mktemp("model") / "test_model")


def fit(x, support, context=None, **options):
    options = {"max_iter": 3, "hidden_dim": 8, "n_layers": 2, "dtype": "float64", "random_state": 0} | options
    return nvpflow.FlowDensity(support=support, **options).fit(x, context=context)


def in_c(program, model, rows, folder):
    """Log-densities and samples by C."""
    model.save(folder / "model.npz")
    np.ascontiguousarray(rows, np.float64).tofile(folder / "rows.bin")
    run_tests(program, "files_for_python", "--", folder)
    assert (folder / "status.txt").read_text() == "0"
    log_prob, samples = (np.fromfile(folder / f"{name}.bin") for name in ("log_prob", "samples"))
    return log_prob, samples.reshape(len(rows), -1)


CASES = {
    "angles": (X, ["angle", None, nvpflow.Angle(-np.pi, np.pi)], {}),
    "an angle in degrees": (np.rad2deg(X[:, :1]), [nvpflow.Angle(0, 360)], {}),
    "in float32": (X, ["angle", None, "angle"], {"dtype": "float32"}),
    "an ensemble": (X, ["angle", None, "angle"], {"n_models": 2}),
    "an ensemble with layers": (X, ["angle", None, "angle"], {"n_models": 2, "base": "normal"}),
    "whole numbers": (COUNTS, [nvpflow.Integer(0), nvpflow.Integer(0, 9), nvpflow.Integer(None, 0)], {}),
    "whole numbers between bounds": (COUNTS[:, 1:2], [nvpflow.Integer(0, 9)], {}),
    "four of whole numbers": (np.column_stack([COUNTS, COUNTS[::-1, 0]]), ["integer"] * 4, {}),
    "seven of whole numbers": (np.column_stack([COUNTS, COUNTS[::-1], COUNTS[::2, 0].repeat(2)]), ["integer"] * 7, {}),
    "each kind": (np.column_stack([X, COUNTS[:, 0], np.exp(X[:, 1])]), ["angle", None, "angle", "integer", "positive"], {}),
    "a far origin": (X[:, 1:2] + 1e7, None, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_log_densities_and_samples(name, program, tmp_path):
    x, support, options = CASES[name]
    model = fit(x, support, **options)
    log_prob, samples = in_c(program, model, x, tmp_path)
    tolerance = 2e-5 if model.dtype == "float32" else 1e-9
    np.testing.assert_allclose(log_prob, model.score_samples(x), rtol=tolerance, atol=tolerance)
    again = model.score_samples(samples)
    assert np.isfinite(again).all()
    assert abs(again.mean() - model.score_samples(model.sample(400, random_state=1)).mean()) < 5 * again.std() / np.sqrt(N)


def test_points_in_other_turns_and_outside(program, tmp_path):
    x = np.column_stack([X[:, :2], COUNTS[:, 0], np.exp(X[:, 1])])
    model = fit(x, ["angle", None, nvpflow.Integer(0), "positive"])
    rows = np.repeat(x[:1], 9, axis=0)
    rows[1, 0] += 3 * TURN
    rows[2, 0] -= 2 * TURN
    for row, column, value in ((3, 0, np.inf), (4, 1, -np.inf), (5, 2, 1.5), (6, 2, -1), (7, 3, -1e-30), (8, 1, np.nan)):
        rows[row, column] = value
    log_prob, _ = in_c(program, model, rows, tmp_path)
    np.testing.assert_allclose(log_prob[1:3], log_prob[0], rtol=1e-9)
    assert (log_prob[3:8] == -np.inf).all() and np.isnan(log_prob[8])


def test_contexts(program, tmp_path):
    """Origin and range of a context are in the file as well."""
    context = np.column_stack([1e6 + X[:, 1] + RNG.normal(size=N), RNG.normal(size=N) ** 3])
    with pytest.warns(UserWarning, match="subtract the mean first"):
        model = fit(X[:, :2], ["angle", None], context=context, dtype="float32")
    given = context.copy()
    given[0] = [2e6, -1e3]
    with pytest.warns(UserWarning, match="context"):
        expected = model.score_samples(X[:, :2], context=given)
    assert model.context_origin_[0] > 1e5
    log_prob, _ = in_c(program, model, np.column_stack([X[:, :2], given]), tmp_path)
    np.testing.assert_allclose(log_prob, expected, rtol=2e-5, atol=2e-5)


def test_samples_are_in_the_supports(program, tmp_path):
    x = np.column_stack([X[:, 0] - np.pi, COUNTS[:, 1], np.exp(X[:, 1])])
    _, samples = in_c(program, fit(x, [nvpflow.Angle(-np.pi, np.pi), nvpflow.Integer(0, 9), (0, None)]), x, tmp_path)
    angle, count, positive = samples.T
    assert ((angle >= -np.pi) & (angle < np.pi)).all() and (positive > 0).all()
    assert set(count) <= set(range(10))


def test_an_outlier_detector(program, tmp_path):
    model = nvpflow.FlowOutlierDetector(support=["angle", None], max_iter=3, random_state=0).fit(X[:, :2])
    log_prob, _ = in_c(program, model, X[:, :2], tmp_path)
    np.testing.assert_allclose(log_prob, model.score_samples(X[:, :2]), rtol=2e-5, atol=2e-5)


def status_of(program, folder, **changed):
    """The status of a file with other arrays."""
    with np.load(folder / "model.npz") as file:
        arrays = dict(file)
    np.savez(folder / "model.npz", **arrays | changed)
    run_tests(program, "files_for_python", "--", folder)
    return int((folder / "status.txt").read_text())


@pytest.mark.parametrize(
    "changed",
    [
        {"columns": np.array([2.0, 0, TURN])},
        {"columns": np.array([3.0, 0, 1, 0, 0, 1])},
        {"columns": np.array([0.5, 0, 1, 0, 0, 1])},
        {"columns": np.array([2, 1.0, 1, 0, 0, 1])},
        {"columns": np.array([2, 0, np.inf, 0, 0, 1])},
        {"columns": np.array([0, 2.0, 1, 0, 0, 1])},
        {"columns": np.array([0, np.nan, 1, 0, 0, 1])},
        {"origin": np.zeros(3)},
        {"origin": np.array([0, np.nan])},
        {"origin": np.array([0, np.inf])},
        {"columns": np.array([2, 0, 1e308, 0, 0, 1]), "origin": np.array([-1.7e308, 0])},
        {"columns": np.array([0, np.inf, np.inf, 0, 0, 1])},
        {"context_range": np.zeros(2)},
    ],
)
def test_damaged_files(changed, program, tmp_path):
    fit(X[:, :2], ["angle", None]).save(tmp_path / "model.npz")
    X[:, :2].tofile(tmp_path / "rows.bin")
    assert status_of(program, tmp_path, **changed) == FORMAT


@pytest.mark.parametrize("name", ["columns.npy", "origin.npy"])
def test_members_under_damaged_names(name, program, tmp_path):
    """A file need not have these members. Without them it would have another density."""
    fit(5 + np.exp(X[:, 1:2]), [(5, None)]).save(tmp_path / "model.npz")
    X[:, :1].tofile(tmp_path / "rows.bin")
    content = bytearray((tmp_path / "model.npz").read_bytes())
    content[content.rindex(name.encode())] ^= 1  # in the directory, which is at the end
    (tmp_path / "model.npz").write_bytes(content)
    run_tests(program, "files_for_python", "--", tmp_path)
    assert int((tmp_path / "status.txt").read_text()) == FORMAT


@pytest.mark.parametrize(
    "changed",
    [
        {"context_range": np.array([1.0, 0])},
        {"context_range": np.array([np.inf, np.inf])},
        {"context_range": np.array([1e180, 1e276])},  # beyond float32
        {"context_range": np.array([-1e300, 0])},
        {"context_origin": np.array([-np.inf])},
        {"context_origin": np.array([1e300]), "context_range": np.array([-np.inf, np.inf])},
    ],
)
def test_damaged_contexts(changed, program, tmp_path):
    fit(X[:, :1], None, context=X[:, 1:2], dtype="float32").save(tmp_path / "model.npz")
    X[:, :2].tofile(tmp_path / "rows.bin")
    assert status_of(program, tmp_path, **changed) == FORMAT


def test_categories_are_refused(program, tmp_path):
    fit(COUNTS[:, :2], ["category", "integer"]).save(tmp_path / "model.npz")
    assert status_of(program, tmp_path) == CATEGORIES


def test_a_file_of_categories_alone_is_refused_as_such(program, tmp_path):
    fit(COUNTS[:, :2], ["category", "category"]).save(tmp_path / "model.npz")
    assert status_of(program, tmp_path) == CATEGORIES
