"""Daemon threads at work while the interpreter exits: no crash, no hang, no output."""

import subprocess
import sys

import pytest

from support.command_line import ENVIRONMENT

# The interpreter needs a while for its exit, so that the thread meets it, and the thread calls from deep in its stack, whose
# memory the system takes back when the thread ends.
PROGRAM = """
import sys, threading, time
import numpy as np, nvpflow

class Slow:
    def __del__(self, sleep=time.sleep):
        sleep(0.15)

def flow(n_jobs):
    flow = nvpflow.Flow([nvpflow.CouplingLayer(16, (128, 128), random_state=0) for _ in range(8)])
    flow.n_jobs = n_jobs
    return flow

flow, x = flow(int(sys.argv[2])), np.random.default_rng(0).normal(size=(20000, 16))
begun = threading.Event()
work = {
    "fit": lambda: flow.fit(x, max_iter=10**6, batch_size=2000),
    "callback": lambda: flow.fit(x, max_iter=10**6, batch_size=2000, callback=lambda *epoch: begun.set()),
    "log_prob": lambda: [flow.log_prob(x) for _ in range(10**6)],
    "sample": lambda: flow.sample(10**6),
}[sys.argv[1]]

def run(depth):
    if depth:
        return list(map(run, [depth - 1]))
    if sys.argv[1] != "callback":
        begun.set()
    work()

threading.Thread(target=run, args=(100,), daemon=True).start()
begun.wait()
time.sleep(0.1)
sys.slow = Slow()
print("the end")
"""


@pytest.mark.parametrize("n_jobs", [1, 2, 4])
@pytest.mark.parametrize("work", ["fit", "callback", "log_prob", "sample"])
def test_daemon_thread(work, n_jobs):
    command = [sys.executable, "-c", PROGRAM, work, str(n_jobs)]
    ended = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "the end\n", "")
