"""Faults to plant in a copy of the code: a sanitizer that does not see them says nothing about the rest."""

from pathlib import Path
from typing import NamedTuple


class Planted(NamedTuple):
    """A fault: `new` in place of `old` in a file of csrc, and the sentence with which a run must end."""

    title: str
    file: str
    old: str
    new: str
    sentence: str
    test: str  # the C program, or for the binding the Python code, that meets it
    source: str = ""  # of csrc, that includes the file; "": the file itself

    def plant(self, csrc):
        """Return the source to compile again, and what undoes the change."""
        path = Path(csrc) / self.file
        text = path.read_text()
        assert text.count(self.old) == 1, f"{self.file} has no more {self.old!r}: choose another place for {self.title}"
        path.write_text(text.replace(self.old, self.new))
        return Path(csrc) / (self.source or self.file), lambda: path.write_text(text)

    def must_be_seen(self, run):
        """Check a finished process."""
        seen = run.returncode != 0 and self.sentence in run.stdout + run.stderr
        assert seen, f"{self.title} went unseen: exit status {run.returncode}\n{run.stdout[-2000:]}{run.stderr[-2000:]}"


ADDRESS = [
    Planted(
        "a kernel that writes behind its rows",
        "engine/log_prob.inc", "count * sizeof(real));", "(count + 1) * sizeof(real));",
        "AddressSanitizer: stack-buffer-overflow", "test_flow", "engine_f64_baseline.c",
    ),
    Planted(
        "a workspace that is too small",
        "scratch.c", "malloc(size + ALIGNMENT)", "malloc(size - size / 4)",
        "AddressSanitizer: heap-buffer-overflow", "test_flow",
    ),
    Planted(
        "a flow that is used after its end",
        "flow.c", "free(flow);", "free(flow), flow->dim++;",
        "AddressSanitizer: heap-use-after-free", "test_flow",
    ),
    Planted(
        "memory that is not released",
        "ensemble.c", "free(ensemble->weights);", "",
        "LeakSanitizer: detected memory leaks", "test_ensemble",
    ),
    Planted(
        "a sum that overflows",
        "rng.c", "order[i] = i;", "order[i] = (size_t)((int)i + INT32_MAX) - INT32_MAX;",
        "runtime error: signed integer overflow", "test_training",
    ),
]  # fmt: skip
THREAD = [
    Planted(
        "counters of events that publish nothing",
        "team.c", "atomic_store(counter, value);", "atomic_store_explicit(counter, value, memory_order_relaxed);",
        "ThreadSanitizer: data race", "test_threads",
    ),
]  # fmt: skip
MEMORY = [
    Planted(
        "a training state that nobody has set",
        "train.c", "calloc(state_bytes, 1)", "malloc(state_bytes)",
        "MemorySanitizer: use-of-uninitialized-value", "test_training",
    ),
]  # fmt: skip
BINDING = [
    Planted(
        "a workspace that is kept after its end",
        "python/call.c", "        call->self->workspace = call->workspace;",
        "        nvp_workspace_destroy(call->self->workspace = call->workspace);",
        "AddressSanitizer: heap-use-after-free",
        "import nvpflow; flow = nvpflow.Flow([nvpflow.ActNorm(2)]); [flow.log_prob([[1.0, 2.0]]) for _ in range(3)]",
    ),
    Planted(
        "a sum that overflows",
        "python/adam.c", "(size_t)step : 0,", "(size_t)(step + PY_SSIZE_T_MAX) : 0,",
        "runtime error: signed integer overflow",
        "import nvpflow, numpy; nvpflow.Adam(numpy.ones(3)).step(numpy.ones(3))",
    ),
]  # fmt: skip
BINDING_THREADS = [
    Planted(
        "a workspace that two calls use at a time",
        "python/call.c", "    self->workspace = NULL;\n    call->parameters", "    call->parameters",
        "WARNING: ThreadSanitizer: ",
        """
import threading, nvpflow, numpy
flow, barrier = nvpflow.Flow([nvpflow.AffineCoupling(2, 16, random_state=0)]), threading.Barrier(2)
def use():
    barrier.wait()
    for _ in range(20):
        flow.log_prob(numpy.ones((20_000, 2)))
threads = [threading.Thread(target=use) for _ in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
""",
    ),
    Planted(
        "counters of events that publish nothing",
        "team.c", "atomic_store(counter, value);", "atomic_store_explicit(counter, value, memory_order_relaxed);",
        "WARNING: ThreadSanitizer: data race",
        """
import nvpflow, numpy
flow = nvpflow.Flow([nvpflow.AffineCoupling(2, 64, random_state=0)])
flow.n_jobs = 2
flow.fit(numpy.random.default_rng(0).normal(size=(20_000, 2)), max_iter=12)  # on a busy machine the threads rarely meet
""",
    ),
]  # fmt: skip
