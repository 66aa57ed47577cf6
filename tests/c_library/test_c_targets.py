"""The C library on a 32-bit and on a big-endian machine: x86, and s390x under emulation."""

import os
import shutil

import numpy as np
import pytest

import nvpflow
from support.c_programs import HOOKS, PROGRAMS, TESTS, compile_library, link_program, run_tests, why_not
from support.flows import make_model

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the commands are those of gcc")

# The compiler, its flags, and what runs the program.
TARGETS = {
    "32-bit x86": ("gcc", ["-m32", "-msse2", "-mfpmath=sse", "-isystem", "/usr/include/x86_64-linux-gnu"], []),
    "s390x": ("s390x-linux-gnu-gcc", ["-static"], ["qemu-s390x"]),
}
# What an emulator does in a second, of programs that take longer.
QUICK = {
    "test_flow": ["bad_descriptions", "instruction_sets", "round_trip", "one_layer_by_hand", "context"],
    "test_gradients": ["dead_units"],
    "test_mixture": ["mixture", "starting_mixture", "few_samples_from_many_components"],
    "test_training": ["weight_decay", "divergence", "divergence_with_every_option", "adam", "failing_allocations"],
}


@pytest.fixture(scope="module", params=TARGETS)
def run(request, tmp_path_factory):
    """A function that builds and runs a C test."""
    directory = tmp_path_factory.mktemp("target")
    compiler, flags, before = TARGETS[request.param]
    flags = [*flags, "-O1"]
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler} here")
    reason = why_not(compiler, flags, directory, before, "#include <errno.h>\n#include <pthread.h>\n")
    if reason:
        pytest.skip(reason)
    objects = compile_library(compiler, [*flags, *HOOKS], directory / "objects")

    def run(name, *arguments):
        program = directory / name
        if not program.exists():
            link_program(compiler, flags, objects, TESTS / f"{name}.c", program)
        run_tests(program, *arguments, before=before)

    return run


# Threads and failures take an emulator minutes.
@pytest.mark.parametrize("name", [name for name in PROGRAMS if name not in ("test_threads", "test_every_failure")])
def test_c_program(run, name):
    run(name, *QUICK.get(name, []))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_files(run, dtype, tmp_path):
    """Files written here are read there, and files written there are read here."""
    flow = make_model(2, dtype, 3)
    flow.save(tmp_path / "flow-0.npz")
    run("test_save", "files_for_python", "--", tmp_path)
    again = nvpflow.load(tmp_path / "again-0.npz")
    assert again.config() == flow.config()
    assert again.parameters.tobytes() == flow.parameters.tobytes()
    random = nvpflow.load(tmp_path / "random-3.npz")
    x = 4 * np.sin(np.arange(20 * random.data_dim)).reshape(20, -1)
    context = np.cos(np.arange(20 * random.context_dim)).reshape(20, -1) if random.context_dim else None
    expected = np.loadtxt(tmp_path / "random-3.txt")
    np.testing.assert_allclose(random.log_prob(x, context), expected, rtol=1e-3, atol=1e-3)
