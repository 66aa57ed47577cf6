"""Builds the extension under sanitizers and runs tests on these builds.

    python tests/sanitized.py                       # each build with its own selection of tests
    python tests/sanitized.py address tests/flow    # one build; the other arguments are pytest's
    python tests/sanitized.py thread

AddressSanitizer and UndefinedBehaviorSanitizer make up the build "address", ThreadSanitizer the build "thread". The package is
copied to a temporary directory and built there, so that the build in use stays as it is. Python itself is not instrumented: the
runtimes of the sanitizers are preloaded, and leaks, which an interpreter has by design, are not reported (the C tests look for
those). First the sanitizers have to see faults that are planted in the extension.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from support import planted

ROOT = Path(__file__).resolve().parent.parent
HOOKS, BEHIND_HOOKS = ROOT / "tests" / "c" / "failing.h", ROOT / "tests" / "c" / "faults.c"
IGNORED = shutil.ignore_patterns(".git", ".venv*", "build", "*.so", "__pycache__", "docs", "*.egg-info")
# Training writes its result into parameters from which other threads may read at that moment, and users may write there at any
# time. Which numbers such a call reads is left open (docs/reliability.md).
SUPPRESSIONS = "race:^copy_numbers$\n"


class Build(NamedTuple):
    """An instrumented extension, and what runs on it."""

    title: str
    flags: str
    link: str
    sign: str  # a symbol that the instrumented extension needs
    runtimes: tuple
    options: dict  # of the sanitizers
    faults: list  # to plant, which it must see
    tests: list


BUILDS = {
    "address": Build(
        "AddressSanitizer and UndefinedBehaviorSanitizer",
        # Python's own -fwrapv would hide overflows of signed integers.
        # With the hooks of the C tests, allocations and threads can fail.
        f"-O1 -g1 -DNVP_FEW_COPIES -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -fno-wrapv -include {HOOKS}",
        "-fsanitize=address,undefined",
        "__asan_init",
        ("libasan.so", "libubsan.so"),
        {"ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1", "UBSAN_OPTIONS": "print_stacktrace=1"},
        planted.BINDING,
        # What drives the C code hardest; the command line and the plots add nothing to that. (torch is left out for time, and
        # since it brings allocators of its own.)
        [
            *(f"tests/core/test_{name}.py" for name in ("oracle", "gradients", "log_det", "round_trip", "reproducibility")),
            "tests/core/test_threads.py",
            "tests/core/test_failing_calls.py",
            "tests/process/test_shared_objects.py",
            "tests/training/test_adam.py",
            "tests/arguments/test_bad_input.py",
            "tests/flow/test_context.py",
            *("-n", "auto", "-k", "not live and not torch and not sigint and not huge and not integrates"),
        ],
    ),
    "thread": Build(
        "ThreadSanitizer",
        "-O1 -g1 -DNVP_FEW_COPIES -fsanitize=thread -fno-omit-frame-pointer",
        "-fsanitize=thread",
        "__tsan_init",
        ("libtsan.so",),
        # The rest of the process is not instrumented: what it does to memory is not watched, how it synchronizes is.
        {"TSAN_OPTIONS": "halt_on_error=1:ignore_noninstrumented_modules=1:suppressions={directory}/suppressions"},
        planted.BINDING_THREADS,
        ["tests/core/test_threads.py", "tests/process/test_shared_objects.py", "tests/training/test_ensemble_training.py"],
    ),
}


def runtime(name):
    """The path of a sanitizer's runtime library, from the compiler."""
    compiler = os.environ.get("CC", "gcc").split()[0]
    path = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return path.stdout.strip()


def build(copy, kind):
    """Build the extension in the copy. Return the commands, those of each source and at last the linker's."""
    faults = copy / "faults.o"
    subprocess.run([*shlex.split(os.environ.get("CC", "gcc")), "-c", "-fPIC", BEHIND_HOOKS, "-o", faults], check=True)
    flags = {"NVPFLOW_CFLAGS": kind.flags, "NVPFLOW_LDFLAGS": f"{kind.link} {faults}"}
    command = [sys.executable, "setup.py", "build_ext", "--inplace"]
    run = subprocess.run(command, cwd=copy, env=os.environ | flags, check=True, capture_output=True, text=True)
    return [shlex.split(line) for line in run.stdout.splitlines() if re.search(r"\.c -o | -shared ", line)]


def check_planted(copy, kind, commands, environment):
    """Each planted fault must end the Python code that meets it."""
    (extension,) = (copy / "nvpflow").glob("_core.*.so")
    whole = extension.read_bytes()
    for fault in kind.faults:
        source, undo = fault.plant(copy / "csrc")
        (compilation,) = [command for command in commands if str(source.relative_to(copy)) in command]
        for command in (compilation, [*commands[-1], "-o", str(extension)]):
            subprocess.run(command, cwd=copy, check=True, capture_output=True)
        code = [sys.executable, "-c", fault.test]
        fault.must_be_seen(subprocess.run(code, cwd=copy, env=environment, capture_output=True, text=True, timeout=300))
        undo()
        subprocess.run(compilation, cwd=copy, check=True, capture_output=True)
    extension.write_bytes(whole)
    print(f"{kind.title}: {len(kind.faults)} faults planted in the extension were seen", flush=True)


def run_tests(kind, directory, arguments):
    """Build, check that the sanitizers see, and run tests. Return pytest's exit status."""
    copy, started = directory / "nvpflow", time.monotonic()
    shutil.copytree(ROOT, copy, ignore=IGNORED)
    if kind is BUILDS["thread"]:  # threads share kernels of all instruction sets alike: two of the six suffice
        targets = copy / "csrc" / "engine" / "targets.h"
        targets.write_text(targets.read_text().replace("#if defined(__x86_64__)", "#if 0"))
    (directory / "suppressions").write_text(SUPPRESSIONS)
    commands = build(copy, kind)
    environment = os.environ | {name: value.format(directory=directory) for name, value in kind.options.items()}
    environment |= {
        "LD_PRELOAD": " ".join(map(runtime, kind.runtimes)),
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    # Started in the copy, Python finds the instrumented build there first; make sure of it.
    check = f"import nvpflow._core as core; assert {kind.sign!r} in open(core.__file__, 'rb').read().decode('latin-1')"
    subprocess.run([sys.executable, "-c", check], cwd=copy, env=environment, check=True)
    check_planted(copy, kind, commands, environment)
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    status = subprocess.run(tests, cwd=copy, env=environment).returncode
    print(f"{kind.title}: {time.monotonic() - started:.0f} s", flush=True)
    return status


def main():
    names, arguments = list(BUILDS), sys.argv[1:]
    if arguments and arguments[0] in BUILDS:
        names, arguments = [arguments[0]], arguments[1:]
    for name in names:
        with tempfile.TemporaryDirectory() as directory:
            status = run_tests(BUILDS[name], Path(directory), arguments or BUILDS[name].tests)
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
