"""The whole training of the moons experiment, in nvpflow and in PyTorch, one thread each, turn by turn.

1000 points of make_moons(noise=0.1), 8 affine coupling layers, hidden size 64, ReLU, unbounded scale, float32, 1000 full-batch
steps of Adam: the same model from the same starting weights on both sides.

    python benchmarks/moons.py [--repeats 5] [--epochs 1000] [--json results.json]
"""

import argparse
import gc
import json
import platform
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import make_moons

import nvpflow


def nvpflow_training(state, x, epochs):
    flow = nvpflow.Flow.from_state_dict(state)
    start = time.perf_counter()
    history = flow.fit(x, max_iter=epochs, learning_rate=1e-3)
    return time.perf_counter() - start, history["train_nll"], flow.isa


def torch_training(peers, state, x, epochs):
    flow = peers.moons_flow()
    flow.load_state_dict(state)
    x = peers.torch.from_numpy(x)
    start = time.perf_counter()
    losses = peers.train(flow, x, epochs)
    return time.perf_counter() - start, losses


def processor():
    """The name of the processor, as well as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def spread(values, unit=""):
    return f"{statistics.median(values):.4g}{unit} (min {min(values):.4g}, max {max(values):.4g})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="pairs of runs")
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    try:
        import peers
    except ModuleNotFoundError as error:
        sys.exit(f"this benchmark compares with PyTorch, and {error.name} is missing: pip install {error.name}")
    peers.torch.set_num_threads(1)

    x = make_moons(1000, noise=0.1, random_state=0)[0].astype(np.float32)
    tensors = peers.moons_flow().state_dict()
    state = {name: tensor.numpy() for name, tensor in tensors.items()}
    nvpflow_training(state, x, 20), torch_training(peers, tensors, x, 20)  # warm up

    ours, theirs = [], []
    gc.disable()
    for _ in range(options.repeats):
        seconds, ours_nll, isa = nvpflow_training(state, x, options.epochs)
        ours.append(seconds)
        seconds, theirs_nll = torch_training(peers, tensors, x, options.epochs)
        theirs.append(seconds)
        gc.collect()
    ratios = [b / a for a, b in zip(ours, theirs)]

    early = min(10, options.epochs) - 1
    print(f"{processor()}; Python {platform.python_version()}, NumPy {np.__version__}, PyTorch {peers.torch.__version__}")
    print(f"{options.epochs} epochs, {options.repeats} pairs of runs, one thread each, median (min, max)")
    print(
        f"  nvpflow ({isa:8s}) {spread(ours, ' s')}   NLL {ours_nll[early]:.6f} after {early + 1} epochs, {ours_nll[-1]:.4f} at the end"
    )
    print(
        f"  PyTorch eager      {spread(theirs, ' s')}   NLL {theirs_nll[early]:.6f} after {early + 1} epochs, {theirs_nll[-1]:.4f} at the end"
    )
    print(f"  nvpflow is {spread(ratios)} times as fast")
    if options.json:
        figures = {"processor": processor(), "isa": isa, "epochs": options.epochs, "nvpflow_seconds": ours,
                   "torch_seconds": theirs, "ratios": ratios}  # fmt: skip
        Path(options.json).write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
