"""Build the C library and its tests without Python, for tests/c_library and sanitized_c.py."""

import contextlib
import os
import re
import shutil
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

try:
    import fcntl
except ImportError:
    fcntl = None

ROOT = Path(__file__).resolve().parents[2]
CSRC, TESTS = ROOT / "csrc", ROOT / "tests" / "c"
SOURCES = sorted(CSRC.glob("*.c"))
SANITIZED = ["-O1", "-g1", "-DNVP_FEW_COPIES"]
SANITIZERS = [*SANITIZED, "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
THREAD_SANITIZER = [*SANITIZED, "-fsanitize=thread"]
MEMORY_SANITIZER = [*SANITIZED, "-fsanitize=memory", "-fno-sanitize-recover=all"]
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
# HOOKS replace allocations and threads by functions that can fail. The programs are linked with these, BEHIND_HOOKS.
HOOKS, BEHIND_HOOKS = ["-include", TESTS / "failing.h"], TESTS / "faults.c"
# test_load needs files, and test_vmath is compiled for each instruction set.
PROGRAMS = sorted({path.stem for path in TESTS.glob("test_*.c")} - {"test_load", "test_vmath"})


def find_compiler():
    """The C compiler, or None."""
    for candidate in (os.environ.get("CC"), "cc", "gcc", "clang", sysconfig.get_config_var("CC")):
        if candidate and shutil.which(candidate.split()[0]):
            return candidate.split()[0]
    return None


def compile_c(compiler, *arguments):
    run = subprocess.run([compiler, "-std=c11", *map(str, arguments)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stderr


def compile_library(compiler, flags, directory, sources=SOURCES):
    """Compile the library, two files at a time. Return the objects."""
    directory.mkdir(exist_ok=True)
    objects = [directory / f"{source.stem}.o" for source in sources]
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(compile_c, compiler, *flags, "-c", source, "-o", target) for source, target in zip(sources, objects)
        ]
        for job in jobs:
            job.result()
    return objects


def link_program(compiler, flags, objects, source, program):
    """Compile a program and link it with a library that was compiled with HOOKS."""
    arguments = [*flags, *WARNINGS, f"-I{CSRC}", source, BEHIND_HOOKS, *objects, "-lm", "-pthread", "-o", program]
    compile_c(compiler, *arguments)
    return program


def run_tests(program, *arguments, before=(), **environment):
    command = [*before, program, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, timeout=600)
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"^[1-9]\d* passed, 0 failed$", run.stdout, re.MULTILINE), run.stdout


def copy_sources(directory):
    return sorted(Path(shutil.copytree(CSRC, directory / "csrc")).glob("*.c"))


def sources_without_vectors(directory):
    """Copy the library and disable vector extensions for every compiler, as for MSVC."""
    sources = copy_sources(directory)
    copy = directory / "csrc"
    for path in (*copy.rglob("*.[ch]"), *copy.rglob("*.inc")):
        text = re.sub(r"defined\(__\w+__\)|__GNUC__ >= 12", "0", path.read_text())
        path.write_text(re.sub(r"#ifdef __(clang|aarch64)__", "#if 0", text))
    return sources


def why_not(compiler, flags, directory, before=(), includes=""):
    """The reason why programs compiled with these flags do not run here, or None."""
    source, program = directory / "empty.c", directory / "empty"
    source.write_text(f"{includes}int main(void) {{ return 0; }}\n")
    for command in ([compiler, *flags, source, "-o", program], [*before, program]):
        try:
            run = subprocess.run(command, capture_output=True, text=True)
        except OSError as error:
            return str(error)
        if run.returncode:
            return (run.stderr.strip().splitlines() or [f"exit status {run.returncode}"])[0]
    return None


class Library(NamedTuple):
    """The library, compiled with hooks that make allocations, threads and file output fail."""

    variant: str
    compiler: str
    flags: list
    objects: list

    def link(self, source, program):
        return link_program(self.compiler, self.flags, self.objects, source, program)


@contextlib.contextmanager
def one_at_a_time(directory):
    """Wait until no other process is in such a block for the directory. Where there is no flock, nothing is built."""
    if fcntl is None:
        yield
        return
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


VARIANTS = ["plain", "without vectors", "sanitized"]


def build_library(variant, directory):
    """Return (library, None), or (None, reason) if it cannot be built. What the directory has is not built again."""
    compiler, flags = find_compiler(), SANITIZERS if variant == "sanitized" else ["-O2"]
    if os.name == "nt" or not compiler:
        return None, "no C compiler found"
    reason = why_not(compiler, flags, directory)
    if reason:
        return None, f"{compiler} {' '.join(flags)}: {reason}"
    objects = directory / "objects"
    if not objects.is_dir():
        sources = sources_without_vectors(directory) if variant == "without vectors" else SOURCES
        compile_library(compiler, [*flags, *HOOKS], directory / "unfinished", sources)
        (directory / "unfinished").rename(objects)
    return Library(variant, compiler, flags, sorted(objects.glob("*.o"))), None
