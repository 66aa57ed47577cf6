"""Runs C tests under sanitizers that the usual tests have no time for.

    python tests/sanitized_c.py

AddressSanitizer and UndefinedBehaviorSanitizer watch the library as compilers without vectors build it, where rows of a tile
may be as short as one number, and so does MemorySanitizer; ThreadSanitizer watches the threads. Each first has to see faults
that are planted in a copy. What does not work here is left out, and the output says why.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from support import c_programs as c
from support import planted


class Variant(NamedTuple):
    """A sanitizer, and the library built for it in a directory from sources of its own."""

    title: str
    compiler: str
    flags: list
    names: list  # of the programs to run
    faults: list  # to plant, which it must see
    sources: list
    directory: Path
    before: tuple = ()  # words before a program's name

    def link(self, name, objects):
        return c.link_program(self.compiler, self.flags, objects, c.TESTS / f"{name}.c", self.directory / name)

    def arguments(self, name):
        return ["--", "briefly"] if name in ("test_threads", "test_every_failure") else []


def check_planted(variant, objects):
    """Each planted fault must end the program that meets it."""
    for fault in variant.faults:
        source, undo = fault.plant(variant.sources[0].parent)
        target = variant.directory / "planted.o"
        c.compile_c(variant.compiler, *variant.flags, *c.HOOKS, "-c", source, "-o", target)
        undo()
        program = variant.link(fault.test, [path for path in objects if path.stem != source.stem] + [target])
        command = [*variant.before, program, *variant.arguments(fault.test)]
        environment = os.environ | {"TSAN_OPTIONS": "halt_on_error=1"}
        fault.must_be_seen(subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment))


def run_variant(variant):
    started = time.monotonic()
    flags = [*variant.flags, *c.HOOKS]
    objects = c.compile_library(variant.compiler, flags, variant.directory / "objects", variant.sources)
    check_planted(variant, objects)

    def run(name):
        c.run_tests(variant.link(name, objects), *variant.arguments(name), before=variant.before)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, variant.names))
    seen = f"{len(variant.faults)} planted faults seen"
    print(f"{variant.title}: {seen}, {', '.join(variant.names)} passed in {time.monotonic() - started:.0f} s", flush=True)


def without_vectors(directory):
    title = "one lane, AddressSanitizer and UndefinedBehaviorSanitizer"
    reason = c.why_not(c.find_compiler(), c.SANITIZERS, directory)
    if reason:
        print(f"{title}: skipped, {reason}")
        return
    names = [name for name in c.PROGRAMS if name != "test_threads"]
    sources = c.sources_without_vectors(directory)
    run_variant(Variant(title, c.find_compiler(), c.SANITIZERS, names, planted.ADDRESS, sources, directory))


def threads(directory):
    title = "ThreadSanitizer"
    # Where addresses are more random than it can map, they must be made less so.
    attempts = {
        before: c.why_not(c.find_compiler(), c.THREAD_SANITIZER, directory, before) for before in ((), ("setarch", "-R"))
    }
    working = [before for before, reason in attempts.items() if reason is None]
    if not working:
        print(f"{title}: skipped, {attempts[()]}")
        return
    sources = c.copy_sources(directory)
    names = ["test_threads"]
    run_variant(Variant(title, c.find_compiler(), c.THREAD_SANITIZER, names, planted.THREAD, sources, directory, working[0]))


def memory(directory):
    """What is read before it is set; only clang knows."""
    title = "one lane, MemorySanitizer"
    reason = c.why_not("clang", c.MEMORY_SANITIZER, directory) if shutil.which("clang") else "no clang found"
    if reason:
        print(f"{title}: skipped, {reason}")
        return
    names = [name for name in c.PROGRAMS if name != "test_threads"]
    sources = c.sources_without_vectors(directory)
    run_variant(Variant(title, "clang", c.MEMORY_SANITIZER, names, planted.MEMORY, sources, directory))


def main():
    if c.find_compiler() is None:
        sys.exit("no C compiler found")
    for variant in (threads, without_vectors, memory):
        with tempfile.TemporaryDirectory() as directory:
            variant(Path(directory))


if __name__ == "__main__":
    main()
