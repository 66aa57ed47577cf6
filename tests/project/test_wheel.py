"""The sdist builds, and the wheel runs with NumPy as its only dependency."""

import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import numpy
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "nvpflow"
MOST_BYTES = 6_500_000  # that an installation adds to NumPy's

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")

BUILD = "import sys, setuptools.build_meta as backend; getattr(backend, 'build_' + sys.argv[1])(sys.argv[2])"

PROGRAM = """
import sys
from importlib.metadata import distributions
import nvpflow, numpy as np

assert nvpflow.__file__.startswith(sys.prefix), nvpflow.__file__
assert {d.name for d in distributions()} == {"numpy", "nvpflow"}, [d.name for d in distributions()]
X = np.random.default_rng(0).normal(size=(300, 2)) * [1, 3] + 5
model = nvpflow.FlowDensity(max_iter=30, random_state=0).fit(X)
assert abs(model.score(X) + np.log(2 * np.pi * np.e * 3)) < 0.5, model.score(X)
assert model.sample(7).shape == (7, 2)
model.save("model.npz")
assert np.array_equal(nvpflow.load("model.npz").score_samples(X), model.score_samples(X))
"""


def run(*command, cwd):
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The source distribution, built from a copy, since setuptools leaves files where it builds."""
    pytest.importorskip("setuptools")
    place, checkout = tmp_path_factory.mktemp("sdist"), tmp_path_factory.mktemp("checkout")
    for name in os.listdir(ROOT):
        if not name.startswith(".") and name != "build" and not name.endswith(".egg-info"):
            (checkout / name).symlink_to(ROOT / name)
    run(sys.executable, "-c", BUILD, "sdist", place, cwd=checkout)
    (archive,) = place.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """Built in the unpacked folder of the sdist."""
    place, unpacked = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (folder,) = unpacked.iterdir()
    run(sys.executable, "-c", BUILD, "wheel", place, cwd=folder)
    (archive,) = place.glob("*.whl")
    return archive


def test_sdist_contents(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    folders = ("cmake", "csrc", "docs", "examples", "nvpflow", "tests")
    wanted = {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in (ROOT / folder).rglob("*.*")
        if path.is_file() and path.suffix not in (".so", ".pyc") and not {"_build", "generated"} & set(path.parts)
    }
    assert not wanted - names
    assert {"LICENSE", "README.md", "CHANGELOG.md", "CMakeLists.txt", "pyproject.toml", "setup.py"} <= names
    assert not [name for name in names if name.endswith((".so", ".pyc"))]


def test_wheel_contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert sum(info.file_size for info in archive.infolist()) < MOST_BYTES
    (extension,) = [name for name in names if name.endswith(".so")]
    sources = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*") if path.suffix in (".py", ".pyi")}
    assert names == sources | {"nvpflow/py.typed", extension}


def test_wheel_links_only_system_libraries(wheel):
    pytest.importorskip("auditwheel")
    if not sys.platform.startswith("linux"):
        pytest.skip("auditwheel reads the wheels of Linux")
    text = run(sys.executable, "-m", "auditwheel", "show", wheel, cwd=wheel.parent)
    assert re.search(r'"manylinux_2_\d+_\w+"', text), text
    assert set(re.findall(r"\blib[\w-]+(?=\.so)", text)) <= {"libc", "libm", "libpthread"}, text


def test_wheel_runs_with_only_numpy(wheel, tmp_path):
    pytest.importorskip("pip")
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    installed = Path(numpy.__file__).parent.parent
    for name in ("numpy", "numpy.libs", f"numpy-{numpy.__version__}.dist-info"):
        if (installed / name).exists():
            (site / name).symlink_to(installed / name)
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    run(*pip, "install", "--no-index", "--no-deps", wheel, cwd=tmp_path)
    added = [path for folder in site.glob("nvpflow*") for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in added) < MOST_BYTES
    run(python, "-I", "-W", "error", "-c", PROGRAM, cwd=tmp_path)
