"""Runs C tests under sanitizers that the usual tests have no time for.

    python tests/sanitized_c.py

AddressSanitizer and UndefinedBehaviorSanitizer watch the library as compilers without vectors build it, where rows of a tile
may be as short as one number; ThreadSanitizer watches the threads. What does not work here is left out, and the output says
why.
"""

import sys
import tempfile
import time
from pathlib import Path

from support import c_programs as c


def run_variant(title, flags, names, directory, sources=c.SOURCES, before=()):
    started = time.monotonic()
    compiler = c.find_compiler()
    objects = c.compile_library(compiler, [*flags, *c.HOOKS], directory / "objects", sources)
    for name in names:
        program = c.link_program(compiler, flags, objects, c.TESTS / f"{name}.c", directory / name)
        c.run_tests(program, *(["--", "briefly"] if name == "test_threads" else []), before=before)
    print(f"{title}: {', '.join(names)} passed in {time.monotonic() - started:.0f} s", flush=True)


def without_vectors(directory):
    title = "one lane, AddressSanitizer and UndefinedBehaviorSanitizer"
    reason = c.why_not(c.find_compiler(), c.SANITIZERS, directory)
    if reason:
        print(f"{title}: skipped, {reason}")
        return
    names = [name for name in c.PROGRAMS if name != "test_threads"]
    run_variant(title, c.SANITIZERS, names, directory, c.sources_without_vectors(directory))


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
    run_variant(title, c.THREAD_SANITIZER, ["test_threads"], directory, before=working[0])


def main():
    if c.find_compiler() is None:
        sys.exit("no C compiler found")
    for variant in (threads, without_vectors):
        with tempfile.TemporaryDirectory() as directory:
            variant(Path(directory))


if __name__ == "__main__":
    main()
