"""The C library without Python: its tests, also under the sanitizers, and the documented programs."""

import io
import os
import re
import subprocess
import zipfile

import numpy as np
import pytest

import nvpflow
from support.c_programs import (
    CSRC,
    PROGRAMS,
    ROOT,
    SOURCES,
    TESTS,
    VARIANTS,
    compile_c,
    find_compiler,
    run_tests,
)
from support.flows import make_model
from support.model_files import save_models

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the commands are those of gcc and clang")


def default_compiler():
    return find_compiler() or pytest.skip("no C compiler found")


def test_no_python_header():
    headers = [path for path in CSRC.rglob("*.h") if CSRC / "python" not in path.parents]
    for path in (*SOURCES, *headers, *CSRC.rglob("*.inc")):
        assert "Python.h" not in path.read_text(), path


@pytest.fixture(scope="module", params=VARIANTS)
def library(request, library_variant):
    return library_variant(request.param)


@pytest.mark.parametrize("name", PROGRAMS)
def test_c_program(name, library, tmp_path):
    at_length = {"test_threads": "plain", "test_every_failure": "sanitized"}
    briefly = ["--", "briefly"] if at_length.get(name, library.variant) != library.variant else []
    run_tests(library.link(TESTS / f"{name}.c", tmp_path / name), *briefly)


def test_documented_program(library, tmp_path):
    (text,) = re.findall(r"```c\n(.*?)```", (ROOT / "docs" / "c_api.md").read_text(), re.DOTALL)
    (tmp_path / "documented.c").write_text(text)
    program = library.link(tmp_path / "documented.c", tmp_path / "documented")
    before, after = map(float, subprocess.run([program], capture_output=True, check=True, text=True).stdout.split())
    entropy = 4.22  # of the normal distribution that it learns, log(2 pi e 4)
    assert before > 6 and abs(after - entropy) < 0.1


def test_loading(library, tmp_path):
    """Thousands of damaged files among them, also under the sanitizers."""
    run_tests(library.link(TESTS / "test_load.c", tmp_path / "test_load"), "--", *save_models(tmp_path))


@pytest.fixture(scope="module")
def score(library, tmp_path_factory):
    """examples/score.c, built."""
    program = library.link(ROOT / "examples" / "score.c", tmp_path_factory.mktemp("score") / "score")
    return lambda model, text: subprocess.run([program, model], input=text, capture_output=True, text=True)


def test_moons_example(library, tmp_path):
    program = library.link(ROOT / "examples" / "moons.c", tmp_path / "moons")
    run = subprocess.run([program, tmp_path / "moons.npz"], capture_output=True, text=True, check=True)
    samples = np.array([line.split(",") for line in run.stdout.splitlines()], float)
    assert samples.shape == (1000, 2)
    held_out = float(re.fullmatch(r"(\S+) nats per held-out point, after \d+ epochs\n", run.stderr)[1])
    entropy = 1.008  # of the moons
    assert entropy - 0.05 < held_out < entropy + 0.15
    flow = nvpflow.load(tmp_path / "moons.npz")
    assert abs(-flow.log_prob(samples).mean() - held_out) < 0.15
    upper, lower = np.hypot(*samples.T), np.hypot(*(samples - [1, 0.5]).T)
    assert (np.minimum(abs(upper - 1), abs(lower - 1)) < 0.4).mean() > 0.95


@pytest.mark.parametrize("context_dim", [0, 2])
@pytest.mark.parametrize("n_components", [0, 3])
@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-6), ("float32", 1e-4)])
def test_score_example(score, context_dim, n_components, dtype, tolerance, tmp_path):
    flow = make_model(context_dim, dtype, n_components)
    flow.save(tmp_path / "flow.npz")
    table = np.random.RandomState(0).normal(size=(3000, 3 + context_dim))
    run = score(tmp_path / "flow.npz", "\n".join(",".join(map(repr, row)) for row in table.tolist()) + "\n")
    assert (run.returncode, run.stderr) == (0, "")
    expected = flow.log_prob(table[:, :3], table[:, 3:] if context_dim else None)
    steep = 1e-5 if dtype == "float32" and context_dim else 0  # the layers of this one amplify rounding
    np.testing.assert_allclose(np.array(run.stdout.split(), float), expected, rtol=steep, atol=tolerance)


def test_score_example_with_estimator(score, tmp_path):
    X = np.random.RandomState(0).normal(size=(100, 2))
    model = nvpflow.FlowDensity(max_iter=5, dtype="float64", random_state=0).fit(X)
    model.save(tmp_path / "model.npz")
    np.savetxt(tmp_path / "x.csv", X, delimiter=",", newline="\r\n")
    run = score(tmp_path / "model.npz", (tmp_path / "x.csv").read_text())
    np.testing.assert_allclose(np.array(run.stdout.split(), float), model.score_samples(X), rtol=0, atol=1e-6)
    assert score(tmp_path / "model.npz", "").stdout == ""
    for text, message in (
        ("1,2\n3\n", "row 2: expected 2 numbers with commas between them"),
        ("1,2,3\n", "row 1: expected 2 numbers"),
        ("x,y\n1,2\n", "row 1: expected 2 numbers"),
        ("1,nan\n", "row 1: expected 2 numbers"),
        ("1,2\n3,", "row 2: expected 2 numbers"),
    ):
        run = score(tmp_path / "model.npz", text)
        assert run.returncode == 1 and message in run.stderr
    run = score(tmp_path / "x.csv", "")
    assert run.returncode == 1 and "x.csv: this is no whole nvpflow file" in run.stderr
    run = score(tmp_path / "none.npz", "")
    assert run.returncode == 1 and "none.npz: the file cannot be read" in run.stderr


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_mismatched_arrays(score, tmp_path):
    """Valid archives whose arrays do not match: C and Python both refuse them."""
    path = tmp_path / "flow.npz"
    make_model().save(path)
    whole = path.read_bytes()
    with np.load(path) as file:
        arrays = dict(file)
    parameters, description = arrays["parameters"], arrays["description"]
    huge, other_version = description.copy(), description.copy()
    huge[np.flatnonzero(description == 7)[-1]] = 1e11  # the hidden layer of the second coupling
    other_version[0] = 2
    not_finite = parameters.copy()
    not_finite[-1] = np.nan
    files = {name: io.BytesIO() for name in ("compressed", "twice")}
    np.savez_compressed(files["compressed"], **arrays)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(files["twice"], "w") as target:
        for name in (*source.namelist(), "parameters.npy"):
            target.writestr(name, source.read(name))
    for i, change in enumerate(
        (
            {"parameters": parameters[:-1]},
            {"parameters": np.append(parameters, 0)},
            {"parameters": parameters[:, None]},
            {"parameters": parameters.astype(">f8")},
            {"parameters": parameters.astype("f4")},
            {"parameters": parameters.view("i8")},
            {"parameters": not_finite},
            {"description": description[:-1]},
            {"description": np.append(description, 1)},
            {"description": description.astype("f4")},
            {"description": huge},
            {"description": other_version},
        )
    ):
        files[i] = io.BytesIO()
        np.savez(files[i], **arrays | change)
    for name, file in files.items():
        path.write_bytes(file.getvalue())
        run = score(path, "1,2,3\n")
        assert run.returncode == 1 and "this is no whole nvpflow file" in run.stderr, name
        with pytest.raises(ValueError, match="flow.npz"):
            nvpflow.load(path)
    path.write_bytes(whole)
    assert score(path, "1,2,3\n").returncode == 0


TARGETS = {
    "baseline": ("NVP_BASELINE_VECTORS", 16, []),
    "avx2": ('"vec_avx2.inc"', 32, ["-mavx2", "-mfma"]),
    "avx512": ('"vec_avx512.inc"', 64, ["-mavx2", "-mfma", "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl"]),
}


@pytest.mark.parametrize("precision", [32, 64])
@pytest.mark.parametrize("isa", TARGETS)
def test_elementary_functions(isa, precision, tmp_path, monkeypatch):
    monkeypatch.setenv("NVPFLOW_ISA", isa)
    try:
        assert nvpflow.ActNorm(1).isa == isa
    except RuntimeError as error:
        pytest.skip(str(error))
    vectors, vector_bytes, flags = TARGETS[isa]
    program = tmp_path / "test_vmath"
    defines = [f"-DNVP_PRECISION={precision}", f"-DNVP_VECTORS={vectors}", f"-DNVP_VECTOR_BYTES={vector_bytes}", f"-I{CSRC}"]
    compile_c(
        default_compiler(), "-O2", "-ffp-contract=fast", "-Wall", "-Werror", *flags, *defines,
        TESTS / "test_vmath.c", "-lm", "-o", program,
    )  # fmt: skip
    run_tests(program)


def test_unknown_instruction_set(monkeypatch):
    monkeypatch.setenv("NVPFLOW_ISA", "abacus")
    with pytest.raises(RuntimeError, match="NVPFLOW_ISA names an instruction set that is not available here"):
        nvpflow.ActNorm(1)
