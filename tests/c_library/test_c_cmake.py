"""CMakeLists.txt: the library is built, tested and installed, and found by find_package and by pkg-config."""

import os
import re
import shutil
import subprocess

import pytest

import nvpflow
from support.c_programs import ROOT, TESTS, find_compiler

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="the commands are those of gcc and clang"),
    pytest.mark.skipif(not (shutil.which("cmake") and find_compiler()), reason="no cmake or no C compiler here"),
]
# Quick to build; and the tests that are quick to run.
QUICK = "-DCMAKE_C_FLAGS_RELEASE=-O1"
QUICK_TESTS = "test_arguments|test_no_density|test_options|test_rng|test_save|write_files|test_load"
CONSUMER = """
cmake_minimum_required(VERSION 3.18)
project(consumer C)
find_package(nvpflow 0.1 REQUIRED)
add_executable(moons {source})
target_link_libraries(moons PRIVATE nvpflow::nvpflow m)
"""


def run(*command, **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=["static", "shared"])
def installed(request, tmp_path_factory):
    """The kind of library, and the directories of the build and the installation."""
    build, prefix = (tmp_path_factory.mktemp(name) for name in ("build", "prefix"))
    shared = request.param == "shared"
    options = {"BUILD_SHARED_LIBS": shared, "NVPFLOW_BUILD_TESTS": not shared, "NVPFLOW_BUILD_EXAMPLES": not shared}
    switches = [f"-D{name}={'ON' if value else 'OFF'}" for name, value in options.items()]
    run("cmake", "-S", ROOT, "-B", build, f"-DCMAKE_INSTALL_PREFIX={prefix}", QUICK, *switches)
    run("cmake", "--build", build, "-j", "2")
    run("cmake", "--install", build)
    return request.param, build, prefix


def check_moons(program, folder, **environment):
    """The example trains, saves, loads and samples."""
    done = run(program, folder / "moons.npz", env=os.environ | environment)
    assert len(re.findall(r"^-?\d\S*,-?\d\S*$", done, re.MULTILINE)) == 1000
    assert nvpflow.load(folder / "moons.npz").data_dim == 2


def test_installed_files(installed):
    kind, _, prefix = installed
    files = {path.name for path in prefix.rglob("*") if not path.is_dir()}
    version = nvpflow.__version__
    libraries = {"static": {"libnvpflow.a"}, "shared": {f"libnvpflow.so.{version}", "libnvpflow.so"}}
    assert libraries[kind] <= files
    assert {
        "nvpflow.h",
        "nvpflow-config.cmake",
        "nvpflow-config-version.cmake",
        "nvpflow-targets.cmake",
        "nvpflow.pc",
    } <= files
    assert [name for name in files if name.endswith(".h")] == ["nvpflow.h"]


def test_find_package(installed, tmp_path):
    _, _, prefix = installed
    (tmp_path / "CMakeLists.txt").write_text(CONSUMER.format(source=ROOT / "examples" / "moons.c"))
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", tmp_path / "build")
    check_moons(tmp_path / "build" / "moons", tmp_path)


def test_pkg_config(installed, tmp_path):
    if not shutil.which("pkg-config"):
        pytest.skip("no pkg-config here")
    _, build, _ = installed
    prefix = tmp_path / "elsewhere"  # than the build was told
    run("cmake", "--install", build, "--prefix", prefix)
    (folder,) = {path.parent for path in prefix.rglob("nvpflow.pc")}
    environment = os.environ | {"PKG_CONFIG_PATH": str(folder)}
    assert run("pkg-config", "--modversion", "nvpflow", env=environment).strip() == nvpflow.__version__
    flags = run("pkg-config", "--cflags", "--libs", "nvpflow", env=environment).split()
    run(find_compiler(), ROOT / "examples" / "moons.c", *flags, "-lm", "-o", tmp_path / "moons")
    check_moons(tmp_path / "moons", tmp_path, LD_LIBRARY_PATH=str(folder.parent))


def test_ctest(installed):
    kind, build, _ = installed
    if kind == "shared":
        pytest.skip("the tests use what a shared library hides")
    listed = set(re.findall(r"Test +#\d+: (\w+)", run("ctest", "-N", cwd=build)))
    # That one is compiled for each instruction set.
    assert listed == {path.stem for path in TESTS.glob("test_*.c")} - {"test_vmath"} | {"write_files"}
    assert "100% tests passed" in run("ctest", "-R", QUICK_TESTS, cwd=build)


def test_subproject(tmp_path):
    """As a subproject it adds neither tests nor an installation."""
    (tmp_path / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.18)\nproject(other C)\nadd_subdirectory({ROOT} nvpflow)\n"
        "add_executable(program program.c)\ntarget_link_libraries(program PRIVATE nvpflow::nvpflow)\n"
    )
    (tmp_path / "program.c").write_text('#include "nvpflow.h"\nint main(void) { return nvp_version()[0] == 0; }\n')
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build")
    targets = run("cmake", "--build", tmp_path / "build", "--target", "help")
    assert re.search(r"\bnvpflow\b", targets) and not re.search(r"\btest_flow\b|\bmoons\b", targets)
