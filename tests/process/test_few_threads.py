"""Without memory for a thread's stack, a call uses fewer threads and gives the same bits."""

import subprocess
import sys

import pytest

pytest.importorskip("resource", reason="no limits of memory here")

PROGRAM = """
import resource, sys, threading
import numpy as np, nvpflow

x = np.random.default_rng(0).normal(size=(4000, 2))
def train(n_jobs):
    flow = nvpflow.Flow([nvpflow.CouplingLayer(2, 32, mask, random_state=0) for mask in ([1, 0], [0, 1])])
    flow.n_jobs = n_jobs
    flow.fit(x, max_iter=40, batch_size=None, random_state=0)
    return flow.parameters.copy(), flow.nll(x), flow.sample(3000, random_state=0)
expected = train(1)  # no thread has left a stack that could be used again
pages = int(open("/proc/self/statm").read().split()[0])
for spare in (2, 5, 7, 11, 19):  # MiB beyond what the process has: a thread's stack takes 8
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + spare * 2**20, hard))
    for n_jobs in (2, 3, 8):
        try:
            found = train(n_jobs)
        except MemoryError:  # of the rows: an error, and not another result
            continue
        assert all(np.array_equal(a, b) for a, b in zip(found, expected)), (spare, n_jobs)
print("as one thread")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_training_without_memory_for_threads():
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stdout) == (0, "as one thread\n"), run.stderr


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="nothing forks here")
def test_forked_child_returns_from_callback():
    """The child continues its parent's training without the parent's threads, and can start another."""
    program = """
import os, signal
import numpy as np, nvpflow

x = np.random.default_rng(0).normal(size=(20000, 2))
def new_flow():
    flow = nvpflow.Flow([nvpflow.CouplingLayer(2, 32, mask, random_state=0) for mask in ([1, 0], [0, 1])])
    flow.n_jobs = 2
    return flow
flow, child = new_flow(), None
def callback(*arguments):
    global child
    if child is None:
        child = os.fork()
        if child == 0:
            signal.alarm(60)
flow.fit(x, max_iter=10, batch_size=None, callback=callback, random_state=0)
other = new_flow()
other.fit(x, max_iter=10, batch_size=None, random_state=0)
same = np.array_equal(flow.parameters, other.parameters)
if child == 0:
    os._exit(0 if same else 1)
assert same and os.waitpid(child, 0)[1] == 0
"""
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
