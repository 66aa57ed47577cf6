"""Builds the extension under AddressSanitizer and UndefinedBehaviorSanitizer and runs the tests on that build.

    python tests/sanitized.py [arguments for pytest]

The package is copied to a temporary directory and built there, so that the build in use stays as it is. Python itself is not
instrumented: the runtimes of the sanitizers are preloaded, and leaks, which an interpreter has by design, are not reported
(the C tests look for those). First the sanitizers have to see faults that are planted in the binding.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from support import planted

ROOT = Path(__file__).resolve().parent.parent
# Python's own -fwrapv would hide overflows of signed integers.
FLAGS = "-O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -fno-wrapv"
# What drives the C code hardest; the command line and the plots add nothing to that. (Hypothesis and torch are left out for
# time, and since torch brings allocators of its own.)
SELECTION = [
    *(f"tests/core/test_{name}.py" for name in ("oracle", "gradients", "log_det", "round_trip", "reproducibility", "threads")),
    "tests/training/test_adam.py",
    "tests/arguments/test_bad_input.py",
    "tests/flow/test_context.py",
]
LEFT_OUT = "not live and not torch and not sigint and not huge and not integrates"


def runtime(name):
    """The path of a sanitizer's runtime library, from the compiler."""
    compiler = os.environ.get("CC", "gcc").split()[0]
    path = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return path.stdout.strip()


def build(copy):
    """Build the extension in the copy. Return the commands, those of each source and at last the linker's."""
    flags = {"NVPFLOW_CFLAGS": FLAGS, "NVPFLOW_LDFLAGS": "-fsanitize=address,undefined"}
    command = [sys.executable, "setup.py", "build_ext", "--inplace"]
    run = subprocess.run(command, cwd=copy, env=os.environ | flags, check=True, capture_output=True, text=True)
    return [shlex.split(line) for line in run.stdout.splitlines() if re.search(r"\.c -o | -shared ", line)]


def check_planted(copy, commands, environment):
    """Each fault that is planted in the binding must end the Python code that meets it."""
    (extension,) = (copy / "nvpflow").glob("_core.*.so")
    whole = extension.read_bytes()
    for fault in planted.BINDING:
        source, undo = fault.plant(copy / "csrc")
        (compilation,) = [command for command in commands if str(source.relative_to(copy)) in command]
        for command in (compilation, [*commands[-1], "-o", str(extension)]):
            subprocess.run(command, cwd=copy, check=True, capture_output=True)
        code = [sys.executable, "-c", fault.test]
        fault.must_be_seen(subprocess.run(code, cwd=copy, env=environment, capture_output=True, text=True))
        undo()
        subprocess.run(compilation, cwd=copy, check=True, capture_output=True)
    extension.write_bytes(whole)
    print(f"{len(planted.BINDING)} faults planted in the binding were seen", flush=True)


def main():
    arguments = sys.argv[1:] or [*SELECTION, "-n", "auto", "-k", LEFT_OUT]
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "nvpflow"
        ignored = shutil.ignore_patterns(".git", ".venv*", "build", "*.so", "__pycache__", "docs", "*.egg-info")
        shutil.copytree(ROOT, copy, ignore=ignored)
        commands = build(copy)
        environment = os.environ | {
            "LD_PRELOAD": f"{runtime('libasan.so')} {runtime('libubsan.so')}",
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
            "UBSAN_OPTIONS": "print_stacktrace=1",
            "PYTHONPATH": str(copy),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        # Started in the copy, Python finds the instrumented build there first; make sure of it.
        check = "import nvpflow._core as core; assert '__asan_init' in open(core.__file__, 'rb').read().decode('latin-1')"
        subprocess.run([sys.executable, "-c", check], cwd=copy, env=environment, check=True)
        check_planted(copy, commands, environment)
        tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        return subprocess.run(tests, cwd=copy, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
