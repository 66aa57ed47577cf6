"""Measures which lines and branches of csrc/ the tests run, with gcc and gcov.

    python tests/coverage_c.py [arguments for pytest]

The C tests run on a library, and Python tests on an extension in a copy of the package, both built for coverage. A kernel is
compiled for several precisions and instruction sets: a line or a branch of the source counts if it runs in one of them. Without
optimization, and with no function made part of its callers, every compilation has the branches of the source, each once.
Prints the shares of each file with the lines that never ran, and exits with 1 where those of all are too small.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from support import c_programs as c
from support.model_files import save_models

LINES, BRANCHES = 95, 90  # percent of csrc/ that must run; the binding's, csrc/python, are only printed
FLAGS = ["-O0", "-g1", "--coverage", "-fprofile-update=prefer-atomic", "-Dalways_inline=unused", "-Wno-psabi"]
# Python tests of what the C tests do not reach: the binding, and the options and errors of each layer.
SELECTION = [
    *("tests/core/test_gradients.py", "tests/arguments/test_bad_input.py", "tests/layers", "tests/flow"),
    *(f"tests/training/test_{name}.py" for name in ("adam", "covariances", "em", "kmeans", "heavy_tails")),
    "tests/missing/test_incomplete_em.py",
]
LEFT_OUT = "not live and not torch and not sigint and not huge and not integrates"


@dataclass
class Line:
    """How often a line and each of its branches ran, in the compilation that ran it most."""

    count: int = 0
    branches: list = field(default_factory=list)

    def merge(self, count, branches):
        self.count = max(self.count, count)
        longest, other = sorted((self.branches, branches), key=len, reverse=True)
        self.branches = [max(pair) for pair in zip(longest, [*other, *[0] * (len(longest) - len(other))])]


def run_c_tests(directory):
    """Build the library and run its tests, two programs at a time."""
    objects = c.compile_library("gcc", [*FLAGS, *c.HOOKS], directory / "objects")
    arguments = dict.fromkeys(c.PROGRAMS, ()) | {
        "test_load": ("--", *save_models(directory)),
        "test_threads": ("--", "briefly"),
        "test_every_failure": ("--", "briefly"),
    }

    def run(name):
        program = c.link_program("gcc", FLAGS, objects, c.TESTS / f"{name}.c", directory / name)
        return check_ended(name, subprocess.run([program, *arguments[name]], capture_output=True, text=True, timeout=900))

    with ThreadPoolExecutor(2) as pool:
        print(f"{len(list(pool.map(run, arguments)))} C programs ran", flush=True)


def check_ended(name, run):
    """A program must come to its end. Whether all its checks hold is for the other builds to say: a few interrupt a training
    after some milliseconds, in which this one, much slower, may not have come far enough."""
    assert re.search(r"^[1-9]\d* passed, \d+ failed$", run.stdout, re.MULTILINE), f"{name}: {run.stdout}{run.stderr}"
    if run.returncode:
        print(f"{name}, in the build for coverage: {run.stdout}", flush=True)


def run_python_tests(directory, arguments):
    """Build the extension in a copy of the package, and run tests on it."""
    copy = directory / "nvpflow"
    ignored = shutil.ignore_patterns(".git", ".venv*", "build", "*.so", "__pycache__", "docs", "*.egg-info")
    shutil.copytree(c.ROOT, copy, ignore=ignored)
    flags = {"NVPFLOW_CFLAGS": " ".join(FLAGS), "NVPFLOW_LDFLAGS": "--coverage"}
    build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(build, cwd=copy, env=os.environ | flags, check=True, capture_output=True)
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    run = subprocess.run(tests, cwd=copy, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr
    print(run.stdout.splitlines()[-1], flush=True)


def measured(directory):
    """{file in csrc: {number: Line}}, of all that was compiled and run in the directory."""
    files = defaultdict(lambda: defaultdict(Line))
    for notes in directory.rglob("*.gcno"):
        if notes.with_suffix(".o").exists():  # an object of the library, not a test
            for name, lines in gcov(notes):
                for line in lines:
                    branches = [branch["count"] for branch in line["branches"]]
                    files[name][line["line_number"]].merge(line["count"], branches)
    return files


def gcov(notes):
    """(file in csrc, lines) of each source of an object."""
    command = ["gcov", "--branch-probabilities", "--json-format", "--stdout", notes]
    run = subprocess.run(command, cwd=notes.parent, capture_output=True, check=True)
    for file in json.loads(run.stdout)["files"]:
        _, inside, name = file["file"].rpartition("csrc/")
        if inside:
            yield os.path.normpath(name), file["lines"]


def ran(counts):
    """(how many ran, of how many)."""
    return sum(map(bool, counts)), len(counts)


def print_files(files):
    """Those with lines or branches that never ran, the file with most of these first."""
    shown = []
    for name, lines in files.items():
        never = [number for number, line in sorted(lines.items()) if not line.count]
        taken, branches = ran([count for line in lines.values() for count in line.branches])
        if never or taken < branches:
            rest = f", never ran: {', '.join(map(str, never))}" if never else ""
            text = f"{name}: {len(lines) - len(never)} of {len(lines)} lines, {taken} of {branches} branches{rest}"
            shown.append((branches - taken + len(never), text))
    for _, text in sorted(shown, reverse=True):
        print(text)


def shares(title, files):
    """Print and return the percentages of lines and branches that ran."""
    lines = [line for file in files.values() for line in file.values()]
    ran_lines, n_lines = ran([line.count for line in lines])
    taken, branches = ran([count for line in lines for count in line.branches])
    percent = 100 * ran_lines / n_lines, 100 * taken / branches
    print(f"{title}: lines {percent[0]:.1f} % of {n_lines}, branches {percent[1]:.1f} % of {branches}", flush=True)
    return percent


def main():
    if not (shutil.which("gcc") and shutil.which("gcov")):
        sys.exit("no gcc and gcov found")
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        run_c_tests(directory)
        run_python_tests(directory, sys.argv[1:] or [*SELECTION, "-n", "auto", "-k", LEFT_OUT])
        files = measured(directory)
    print_files(files)
    binding = {name: lines for name, lines in files.items() if name.startswith("python/")}
    library = {name: lines for name, lines in files.items() if name not in binding}
    shares("csrc/python", binding)
    lines, branches = shares("csrc", library)
    if lines < LINES or branches < BRANCHES:
        sys.exit(f"coverage of csrc is too small: lines must be {LINES} %, branches {BRANCHES} %")


if __name__ == "__main__":
    main()
