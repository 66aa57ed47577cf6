"""The C library compiles as documented: without switches, as C11 and later, without warnings."""

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.c_programs import CSRC, ROOT, SOURCES, TESTS, WARNINGS

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the commands are those of gcc and clang")

DOCS = (ROOT / "docs" / "c_api.md").read_text()
# The engines are one source; two of them stand for all.
ENGINES = ["engine_f32_baseline.c", "engine_f64_avx2.c"]
FEWER_SOURCES = [path for path in SOURCES if not path.name.startswith("engine_") or path.name in ENGINES]


@pytest.fixture(params=["gcc", "clang"])
def compiler(request):
    if not shutil.which(request.param):
        pytest.skip(f"no {request.param} here")
    return request.param


def messages(compiler, flags, sources=FEWER_SOURCES):
    """The compiler's messages for each source."""
    commands = [[compiler, *map(str, flags), "-fsyntax-only", str(source)] for source in sources]
    with ThreadPoolExecutor(2) as pool:
        runs = pool.map(lambda command: subprocess.run(command, capture_output=True, text=True), commands)
    return [run.stderr for run in runs]


def test_documented_command(compiler, tmp_path):
    """It builds the library; the documented program is linked with it and runs."""
    (command,) = re.findall(r"`(cc -O3 -c csrc/\*\.c)`", DOCS)
    assert "Link with `-lm -pthread`" in DOCS
    (program,) = re.findall(r"```c\n(.*?)```", DOCS, re.DOTALL)
    (tmp_path / "csrc").symlink_to(CSRC)
    (tmp_path / "program.c").write_text(program)
    build = command.replace("cc", compiler, 1)
    for line in (f"{build} {' '.join(WARNINGS)}", f"{compiler} -Icsrc program.c *.o -lm -pthread -o program"):
        run = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True)
        assert (run.returncode, run.stderr) == (0, ""), line
    run = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=True)
    before, after = map(float, run.stdout.split())
    assert before > 6 and abs(after - 4.22) < 0.1


@pytest.mark.parametrize(
    "mode",
    [
        ["-std=c11", "-Wpedantic"],
        ["-std=c11", "-D_GNU_SOURCE"],
        ["-std=gnu11"],
        ["-std=gnu17", "-D_GNU_SOURCE", "-include", TESTS / "every_header.h"],
    ],
    ids=lambda mode: " ".join(map(str, mode[:2])),
)
def test_no_warnings(compiler, mode):
    """The last mode includes every header of the C standard library first."""
    assert set(messages(compiler, [*mode, *WARNINGS])) == {""}


@pytest.mark.parametrize("flag", ["-ffast-math", "-Ofast", "-ffinite-math-only", "-funsafe-math-optimizations"])
def test_fast_math_is_refused(compiler, flag):
    if compiler == "clang" and flag == "-funsafe-math-optimizations":
        pytest.skip("clang does not tell")
    for message in messages(compiler, [flag]):
        errors = re.findall(r"error: (.*)", message)
        sentence = "nvpflow needs NaN, infinity and sums in their order: compile it without -ffast-math, -Ofast or /fp:fast."
        assert not errors or sentence in errors[0]
    files = [path for path in SOURCES if path.name in ("create.c", "load.c", "train.c", *ENGINES)]
    assert all("compile it without -ffast-math" in message for message in messages(compiler, [flag], files))
