"""The public interface of the C library: version, symbols, and the header in C++."""

import os
import re
import shutil
import subprocess
import sys

import pytest

import nvpflow
from support.c_programs import CSRC, SOURCES, compile_c, compile_library, find_compiler

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the commands are those of gcc and clang")
HEADER = (CSRC / "nvpflow.h").read_text()
FUNCTIONS = set(re.findall(r"^NVP_API [\w *]*?\b(nvp_\w+)\(", HEADER, re.MULTILINE))


def test_version():
    numbers = [re.search(rf"#define NVP_VERSION_{part} (\d+)", HEADER)[1] for part in ("MAJOR", "MINOR", "PATCH")]
    assert ".".join(numbers) == nvpflow.__version__  # which pyproject.toml reads


def test_header_exports():
    assert len(FUNCTIONS) > 30 and {"nvp_version", "nvp_train", "nvp_flow_save"} <= FUNCTIONS
    text = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.DOTALL)
    assert set(re.findall(r"^(?:NVP_API )?[\w *]*?\b(nvp_\w+)\([^*]", text, re.MULTILINE)) == FUNCTIONS


def symbols(*arguments):
    """The external symbols of a library."""
    if not shutil.which("nm"):
        pytest.skip("no nm here")
    lines = subprocess.run(["nm", *map(str, arguments)], capture_output=True, text=True, check=True).stdout.splitlines()
    found = [line.split() for line in lines if len(line.split()) == 3]
    return {name.removeprefix("_") if sys.platform == "darwin" else name for _, _, name in found}


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """Compiled for a shared library; a static one defines the same symbols."""
    compiler = find_compiler() or pytest.skip("no C compiler found")
    flags = ["-O0", "-fPIC", "-fvisibility=hidden", "-DNVP_SHARED", "-DNVP_BUILDING"]
    return compile_library(compiler, flags, tmp_path_factory.mktemp("shared") / "objects")


def test_symbol_prefix(objects):
    names = symbols("--extern-only", "--defined-only", *objects)
    assert names >= FUNCTIONS
    assert {name for name in names if not name.startswith("nvp_")} == set()


def test_shared_library_symbols(objects, tmp_path):
    compile_c(find_compiler(), "-shared", *objects, "-lm", "-pthread", "-o", tmp_path / "libnvpflow.so")
    names = symbols("-D", "--defined-only", tmp_path / "libnvpflow.so")
    assert {name for name in names if not name.startswith("_")} == FUNCTIONS


def test_extension_symbols():
    from nvpflow import _core

    names = symbols("-D", "--defined-only", _core.__file__)
    assert {name for name in names if name.startswith("nvp_")} == set() and "PyInit__core" in names


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_header_in_cpp(compiler, tmp_path):
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler} here")
    (tmp_path / "program.cpp").write_text(
        '#include "nvpflow.h"\n'
        "int main() {\n"
        "    double x[2] = {0, 1};\n"
        "    const nvp_data data = NVP_DATA(.n = 1, .x = x);\n"
        "    nvp_train_options options = NVP_TRAIN_OPTIONS();\n"
        "    options.max_epochs = data.n;\n"
        "    return nvp_train(nullptr, x, &options, &data, nullptr, nullptr, nullptr) == NVP_OK;\n"
        "}\n"
    )
    command = [compiler, "-std=c++20", "-Wall", "-Wextra", "-Wno-missing-field-initializers", "-Werror", f"-I{CSRC}"]
    run = subprocess.run([*command, "-c", "program.cpp"], cwd=tmp_path, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


def test_headers_are_self_contained():
    """Each header of the library compiles when it is included first."""
    compiler = find_compiler() or pytest.skip("no C compiler found")
    for header in CSRC.glob("*.h"):
        compile_c(compiler, "-Wall", "-Werror", "-fsyntax-only", "-x", "c", "-include", header, os.devnull)
    assert len(SOURCES) > 10
