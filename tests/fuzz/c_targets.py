"""The fuzz targets in C: libFuzzer with AddressSanitizer and UndefinedBehaviorSanitizer, which come with clang."""

import re
import shutil
import subprocess
from pathlib import Path

from fault import Fault
from support import c_programs as c

FOLDER = Path(__file__).resolve().parent
TARGETS = ("load", "decode")
LIMITS = ["-timeout=20", "-rss_limit_mb=1000", "-malloc_limit_mb=200"]
MOST_BYTES = {"load": 4096, "decode": 600}


def why_not(directory):
    """The reason why there are no targets here, or None."""
    if not shutil.which("clang"):
        return "no clang found"
    return c.why_not("clang", [*c.SANITIZERS, "-fsanitize=fuzzer-no-link"], directory)


def build(directory):
    """Compile the library, as compilers without vectors do, which is far quicker to compile. Return {target: program}."""
    sources = c.sources_without_vectors(directory)
    # The kernels are watched, but do not guide the fuzzer: their branches are about numbers, not about what is accepted.
    guided = [path for path in sources if not path.name.startswith("engine_")]
    kernels = [path for path in sources if path not in guided]
    flags = [*c.SANITIZERS, "-fsanitize=fuzzer-no-link"]
    objects = c.compile_library("clang", flags, directory / "guided", guided)
    objects += c.compile_library("clang", c.SANITIZERS, directory / "kernels", kernels)
    programs = {}
    for name in TARGETS:
        programs[name] = directory / f"fuzz_{name}"
        source, library = FOLDER / f"fuzz_{name}.c", [*objects, "-lm", "-pthread"]
        c.compile_c("clang", *flags, "-fsanitize=fuzzer", *c.WARNINGS, f"-I{c.CSRC}", source, *library, "-o", programs[name])
    return programs


def fuzz(name, program, seconds, seed, found, faults):
    """Run a target. `found` is a directory for new inputs. Return how many inputs it ran; a Fault has the one that failed."""
    for directory in (found, faults):
        directory.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={seconds}", f"-max_len={MOST_BYTES[name]}", f"-seed={seed}", "-print_final_stats=1"]
    options += [*LIMITS, f"-artifact_prefix={faults}/{name}-", f"-dict={FOLDER / 'load.dict'}"]
    run = run_program(program, *options, found, FOLDER / "corpus" / name)
    if run.returncode:
        path = re.search(r"Test unit written to (.+)", run.stderr)
        raise Fault(path[1] if path else None, f"exit status {run.returncode}\n{run.stderr[-4000:]}")
    return int(re.search(r"number_of_executed_units: +(\d+)", run.stderr)[1])


def replay(program, path):
    run = run_program(program, *LIMITS, path)
    assert run.returncode == 0, f"exit status {run.returncode}\n{run.stderr[-4000:]}"


def run_program(*command):
    return subprocess.run(command, capture_output=True, text=True, errors="replace")
