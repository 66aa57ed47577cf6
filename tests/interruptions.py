"""Kills a process while it saves, and sends Ctrl-C to one that fits, scores, samples or saves, at random moments.

    python tests/interruptions.py [number of each]

A killed save must leave the old file or the new one. After Ctrl-C the call must have ended with KeyboardInterrupt within a
second, and the next calls must work. Prints what was done; ends with an error at the first promise that is broken.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
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


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    old, new = check_kills(count)
    print(f"{count} killed saves: {old} times the one file, {new} times the other, never a third")
    for name, (stopped, longest) in check_interrupts(count).items():
        print(f"{name}: {count} times Ctrl-C, {stopped} of them before its end; it took {longest:.2f} s at most")
        assert longest < 1


if __name__ == "__main__":
    main()
