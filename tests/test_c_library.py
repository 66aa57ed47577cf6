"""The C library without Python: it compiles without a warning, and its own tests pass, also under the sanitizers."""

import os
import re
import shutil
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import nvpflow

ROOT = Path(__file__).resolve().parent.parent
CSRC, TESTS = ROOT / "csrc", ROOT / "tests" / "c"
SOURCES = sorted(CSRC.glob("*.c"))
SANITIZERS = ["-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the commands are those of gcc and clang")


def default_compiler():
    for candidate in (os.environ.get("CC"), "cc", "gcc", "clang", sysconfig.get_config_var("CC")):
        if candidate and shutil.which(candidate.split()[0]):
            return candidate.split()[0]
    pytest.skip("no C compiler found")


def compile_c(compiler, *arguments):
    run = subprocess.run([compiler, "-std=c11", *map(str, arguments)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stderr


def compile_library(compiler, flags, directory, sources=SOURCES):
    """The objects of the library, compiled two at a time."""
    objects = [directory / f"{source.stem}.o" for source in sources]
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(compile_c, compiler, *flags, "-c", source, "-o", target)
            for source, target in zip(sources, objects)
        ]
        for job in jobs:
            job.result()
    return objects


def run_tests(program, **environment):
    run = subprocess.run([program], capture_output=True, text=True, env=os.environ | environment)
    print(run.stdout)
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"^[1-9]\d* passed, 0 failed$", run.stdout, re.MULTILINE)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_compiles_without_a_warning(compiler, tmp_path):
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler} here")
    flags = ["-O2", "-Wall", "-Wextra", "-Wconversion", "-Wpedantic", "-Werror"]
    compile_library(compiler, flags, tmp_path)


def test_knows_nothing_of_python():
    for path in (*SOURCES, *CSRC.rglob("*.h")):
        assert "Python.h" not in path.read_text(), path


def sources_without_vectors(directory):
    """A copy of the library that takes every compiler for one without vector extension, as MSVC is."""
    copy = Path(shutil.copytree(CSRC, directory / "csrc"))
    for path in copy.rglob("*.[ch]"):
        text = re.sub(r"defined\(__\w+__\)|__GNUC__ >= 12", "0", path.read_text())
        path.write_text(re.sub(r"#ifdef __(clang|aarch64)__", "#if 0", text))
    return sorted(copy.glob("*.c"))


@pytest.fixture(scope="module", params=["plain", "without vectors", "sanitized"])
def library(request, tmp_path_factory):
    """Flags, and the objects of the library compiled with them and with an allocator that can fail."""
    compiler, flags = default_compiler(), SANITIZERS if request.param == "sanitized" else ["-O2"]
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "sanitized":
        (directory / "empty.c").write_text("int main(void) { return 0; }\n")
        probe = [compiler, *SANITIZERS, directory / "empty.c", "-o", directory / "empty"]
        if subprocess.run(probe, capture_output=True).returncode or subprocess.run([directory / "empty"]).returncode:
            pytest.skip(f"{compiler} has no sanitizers here")
    with_allocator = [*flags, "-include", TESTS / "failing_malloc.h"]
    sources = sources_without_vectors(directory) if request.param == "without vectors" else SOURCES
    return flags, compile_library(compiler, with_allocator, directory, sources)


def test_library(library, tmp_path):
    flags, objects = library
    program = tmp_path / "test_library"
    warnings = ["-Wall", "-Wextra", "-Werror"]
    source = TESTS / "test_library.c"
    compile_c(default_compiler(), *flags, *warnings, f"-I{CSRC}", source, *objects, "-lm", "-pthread", "-o", program)
    run_tests(program)


PLAIN_ALLOCATOR = """
#include <stdlib.h>
void *test_malloc(size_t size) { return malloc(size); }
void *test_calloc(size_t n, size_t size) { return calloc(n, size); }
"""


def test_the_documented_program(library, tmp_path):
    flags, objects = library
    (text,) = re.findall(r"```c\n(.*?)```", (ROOT / "docs" / "c_api.md").read_text(), re.DOTALL)
    (tmp_path / "documented.c").write_text(text)
    (tmp_path / "allocator.c").write_text(PLAIN_ALLOCATOR)
    sources, program = sorted(tmp_path.glob("*.c")), tmp_path / "documented"
    warnings = ["-Wall", "-Wextra", "-Werror"]
    compile_c(default_compiler(), *flags, *warnings, f"-I{CSRC}", *sources, *objects, "-lm", "-pthread", "-o", program)
    before, after = map(float, subprocess.run([program], capture_output=True, check=True, text=True).stdout.split())
    entropy = 4.22  # of the normal distribution that it learns, log(2 pi e 4)
    assert before > 6 and abs(after - entropy) < 0.1


TARGETS = {
    "baseline": (16, []),
    "avx2": (32, ["-mavx2", "-mfma"]),
    "avx512": (64, ["-mavx2", "-mfma", "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl"]),
}


@pytest.mark.parametrize("precision", [32, 64])
@pytest.mark.parametrize("isa", TARGETS)
def test_elementary_functions(isa, precision, tmp_path, monkeypatch):
    monkeypatch.setenv("NVPFLOW_ISA", isa)
    try:
        assert nvpflow.ActNorm(1).isa == isa
    except RuntimeError as error:
        pytest.skip(str(error))
    vector_bytes, flags = TARGETS[isa]
    program = tmp_path / "test_vmath"
    defines = [f"-DNVP_PRECISION={precision}", f"-DNVP_VECTOR_BYTES={vector_bytes}", f"-I{CSRC}"]
    compile_c(
        default_compiler(), "-O2", "-ffp-contract=fast", "-Wall", "-Werror", *flags, *defines,
        TESTS / "test_vmath.c", "-lm", "-o", program,
    )  # fmt: skip
    run_tests(program)


def test_an_unknown_instruction_set_is_an_error(monkeypatch):
    monkeypatch.setenv("NVPFLOW_ISA", "abacus")
    with pytest.raises(RuntimeError, match="NVPFLOW_ISA names an instruction set that is not available here"):
        nvpflow.ActNorm(1)
