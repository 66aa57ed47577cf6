"""Kills a process while it saves, sends Ctrl-C to one that fits, scores, samples or saves, in a script and in a notebook's kernel,
and forks one whose other thread does so, at random moments.

    python tests/interruptions.py [number of each]

A killed save must leave the old file or the new one. After Ctrl-C the call must have ended with KeyboardInterrupt within a
second, and the next calls must work. A forked child can score, fit and save, and its parent's calls have their results. Prints
what was done; ends with an error at the first promise that is broken.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np

import nvpflow

SAVING = """
import sys, nvpflow
flows = [nvpflow.load(path) for path in sys.argv[1:3]]
print("begun", flush=True)
while True:
    for flow in flows:
        flow.save(sys.argv[3])
"""


def make_flow(seed):
    """Of some hundred kilobytes, so that a save takes a while."""
    masks = [[1, 0, 1, 0], [0, 1, 0, 1]]
    flow = nvpflow.Flow([nvpflow.AffineCoupling(4, 128, mask) for mask in masks])
    flow.parameters[:] = np.random.default_rng(seed).normal(size=flow.n_parameters)
    return flow


def check_kills(count, seed=0):
    """Kill a process that saves two flows in turn; return how often each of them was found."""
    moments, found = random.Random(seed), [0, 0]
    flows = [make_flow(0), make_flow(1)]
    with tempfile.TemporaryDirectory() as directory:
        paths = [Path(directory) / name for name in ("first.npz", "second.npz", "model.npz")]
        for flow, path in zip(flows, paths, strict=False):
            flow.save(path)
        flows[0].save(paths[2])
        for _ in range(count):
            child = subprocess.Popen([sys.executable, "-c", SAVING, *map(str, paths)], stdout=subprocess.PIPE, text=True)
            assert child.stdout.readline() == "begun\n"
            time.sleep(moments.uniform(0, 0.2))
            child.kill()
            child.wait()
            child.stdout.close()
            parameters = nvpflow.load(paths[2]).parameters
            which = [i for i, flow in enumerate(flows) if np.array_equal(flow.parameters, parameters)]
            assert which, "a killed save left a file that is neither the old nor the new one"
            found[which[0]] += 1
        flows[0].save(paths[2])  # also removes what the killed ones have left
        left = sorted(path.name for path in Path(directory).iterdir())
        assert left == ["first.npz", "model.npz", "second.npz"], left
    return found


def interrupt(call, after):
    """Call, and send SIGINT `after` seconds. Return the seconds until KeyboardInterrupt, or None if the call was over."""
    sent = []

    def send():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(after, send)
    try:
        timer.start()
        call()
        timer.cancel()
        timer.join()  # a signal that is under way arrives here, at the latest
        return None
    except KeyboardInterrupt:
        return time.monotonic() - sent[0]


def make_calls(path):
    """{name: (call, what must work and be true after it)}."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 3))
    fitted = nvpflow.FlowDensity(max_iter=20, base="normal", validation_fraction=None, random_state=0).fit(X)
    scores, draws = fitted.score_samples(X), fitted.sample(5, random_state=0)
    many = rng.normal(size=(200_000, 3))
    fresh = nvpflow.FlowDensity(max_iter=10_000, n_iter_no_change=None, random_state=0)

    def still_right():
        assert np.array_equal(fitted.score_samples(X), scores)
        assert np.array_equal(fitted.sample(5, random_state=0), draws)

    def can_fit():
        if hasattr(fresh, "flow_"):
            assert np.isfinite(fresh.score_samples(X)).all()
        small = nvpflow.FlowDensity(max_iter=2, random_state=0).fit(X[:100])
        assert np.isfinite(small.score_samples(X)).all()

    def is_whole():
        still_right()
        assert not path.exists() or np.array_equal(nvpflow.load(path).score_samples(X), scores)

    return {
        "fit": (lambda: fresh.fit(X), can_fit),
        "score_samples": (lambda: [fitted.score_samples(many) for _ in range(20)], still_right),
        "sample": (lambda: [fitted.sample(200_000, random_state=1) for _ in range(20)], still_right),
        "save": (lambda: [fitted.save(path) for _ in range(200)], is_whole),
    }


def check_interrupts(count, seed=0):
    """Return {call: (interrupted, longest seconds)}."""
    moments, results = random.Random(seed), {}
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it
    try:
        with tempfile.TemporaryDirectory() as directory:
            for name, (call, check) in make_calls(Path(directory) / "model.npz").items():
                waits = []
                for _ in range(count):
                    waits.append(interrupt(call, moments.uniform(0, 0.15)))
                    check()
                stopped = [wait for wait in waits if wait is not None]
                results[name] = len(stopped), max(stopped, default=0.0)
    finally:
        signal.signal(signal.SIGINT, before)
    return results


# -- in a notebook's kernel --

IN_KERNEL = """
import signal, sys
from pathlib import Path
sys.path.insert(0, {folder!r})
from interruptions import make_calls
calls = make_calls(Path({path!r}))
"""


def execute(client, code):
    """Run code in a kernel. Return the number of the request."""
    return client.execute(code, silent=False, store_history=False)


def wait_for(client, request, key, value):
    """Read the kernel's messages until one about a request has this content."""
    while True:
        message = client.get_iopub_msg(timeout=120)
        if message["parent_header"].get("msg_id") == request and message["content"].get(key) == value:
            return


def answer(client, request):
    """The name of the exception with which a request ended, or "ok"."""
    while True:
        message = client.get_shell_msg(timeout=120)
        if message["parent_header"].get("msg_id") == request:
            wait_for(client, request, "execution_state", "idle")
            content = message["content"]
            return content["status"] if content["status"] == "ok" else f"{content['ename']}: {content['evalue']}"


def interrupt_cell(manager, client, name, after):
    """Run a call in a cell, interrupt the kernel, and check the call's promises. Return the seconds, or None as `interrupt`."""
    # A kernel ignores signals until its cell runs.
    request = execute(client, f"print('begun', end='', flush=True)\ncalls[{name!r}][0]()")
    wait_for(client, request, "text", "begun")
    time.sleep(after)
    sent = time.monotonic()
    manager.interrupt_kernel()
    ended = answer(client, request)
    waited = time.monotonic() - sent
    assert ended == "ok" or ended.startswith("KeyboardInterrupt"), ended
    checked = answer(client, execute(client, f"calls[{name!r}][1]()"))
    assert checked == "ok", checked
    return None if ended == "ok" else waited


def check_kernel(count, seed=0):
    """As check_interrupts."""
    from jupyter_client.manager import start_new_kernel

    moments, results = random.Random(seed), {}
    with tempfile.TemporaryDirectory() as directory:
        manager, client = start_new_kernel(kernel_name="python3")
        try:
            code = IN_KERNEL.format(folder=str(Path(__file__).parent), path=str(Path(directory) / "model.npz"))
            made = answer(client, execute(client, code))
            assert made == "ok", made
            for name in ("fit", "score_samples", "sample", "save"):
                waits = [interrupt_cell(manager, client, name, moments.uniform(0, 0.15)) for _ in range(count)]
                stopped = [wait for wait in waits if wait is not None]
                results[name] = len(stopped), max(stopped, default=0.0)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
    return results


# -- forks --


def in_child(fitted, scores, path):
    """What a forked process does, and its exit status."""
    signal.alarm(60)
    X = np.random.default_rng(0).normal(size=(3000, 3))
    fitted.save(path)
    right = np.array_equal(nvpflow.load(path).score_samples(X), scores)
    small = nvpflow.FlowDensity(max_iter=2, random_state=0).fit(X[:100])
    return 0 if right and np.isfinite(small.score_samples(X)).all() else 1


def check_forks(count, seed=0):
    """Fork while another thread fits, scores, samples or saves with two threads of its own. Return the number of forks."""
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.npz"
        X = np.random.default_rng(0).normal(size=(3000, 3))
        many = np.random.default_rng(1).normal(size=(100_000, 3))
        options = {"base": "normal", "validation_fraction": None, "random_state": 0, "n_jobs": 2}
        fitted = nvpflow.FlowDensity(max_iter=20, **options).fit(X)
        scores, of_many = fitted.score_samples(X), fitted.score_samples(many)
        stop, errors = threading.Event(), []

        def work():
            try:
                while not stop.is_set():
                    assert np.array_equal(fitted.score_samples(many), of_many)
                    assert np.array_equal(nvpflow.FlowDensity(max_iter=20, **options).fit(X).score_samples(X), scores)
                    fitted.sample(100_000, random_state=1)
                    fitted.save(path)
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            for i in range(count):
                time.sleep(moments.uniform(0, 0.05))
                child = os.fork()
                if child == 0:
                    os._exit(in_child(fitted, scores, Path(directory) / f"{i}.npz"))
                assert os.waitpid(child, 0)[1] == 0, "a forked process did not do its work"
        finally:
            stop.set()
            thread.join()
        assert not errors, errors
    return count


def main():
    if "OPENBLAS_NUM_THREADS" not in os.environ:
        # OpenBLAS stops its threads before a fork: a thread that has work for them then waits forever.
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"OPENBLAS_NUM_THREADS": "1"})
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    old, new = check_kills(count)
    print(f"{count} killed saves: {old} times the one file, {new} times the other, never a third")
    places = {"": check_interrupts}
    try:
        import ipykernel  # noqa: F401
    except ImportError:
        print("in a kernel: skipped, no ipykernel found")
    else:
        places[" in a kernel"] = check_kernel
    for place, check in places.items():
        for name, (stopped, longest) in check(count).items():
            print(f"{name}{place}: {count} times Ctrl-C, {stopped} of them before its end; it took {longest:.2f} s at most")
            assert longest < (5 if place else 1)  # in a kernel with the messages
    warnings.simplefilter("ignore", DeprecationWarning)  # of a fork with threads, which is what this is about
    print(f"{check_forks(count)} forks while another thread computed")


if __name__ == "__main__":
    main()
