"""Every speed claim of nvpflow, measured beside what a user would pick instead, in one run.

    pip install ".[peers]"                                    # PyTorch and JAX; what is missing is left out
    python benchmarks/speed.py [--repeats 5] [--json speed.json] [--chart speed.png]

All sides run turn by turn (A B C A B C ...); a figure is the median over the turns, a ratio the median of the turns' ratios
with the least and the greatest behind it. One thread unless a line says two. "of the peak" counts the multiply-adds of the
compact networks alone, two operations each, once forward and twice backward, against the fused multiply-adds that one core
does on registers (peak.c), measured in every turn.
"""

import argparse
import compileall
import gc
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np
from sklearn.datasets import make_moons

import nvpflow
from moons import processor

HERE = Path(__file__).parent
VECTOR_FLAGS = {
    "baseline": ["-DVECTOR_BYTES=16"],
    "avx2": ["-DVECTOR_BYTES=32", "-mavx2", "-mfma"],
    "avx512": ["-DVECTOR_BYTES=64", "-mavx512f", "-mfma"],
}
# The least percentages of the peak that are promised of affine couplings, by hidden size. Twice the lanes halve the operations,
# but not what surrounds them.
AFFINE_SHARES = {32: 75, 64: 82, 128: 82, 256: 82}
AFFINE_SHARES_OF_AVX512 = {32: 60, 64: 65, 128: 60, 256: 60}
results = []


class Peak:
    """The program that measures the peak, compiled once for the instruction set that nvpflow uses here."""

    def __init__(self, isa):
        self.isa = isa
        self.directory = tempfile.TemporaryDirectory()
        self.program = Path(self.directory.name) / "peak"
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, "-O2", *VECTOR_FLAGS[isa], HERE / "peak.c", "-o", self.program], check=True)

    def measure(self, n_processes=1):
        """GFLOP/s of so many processes at once, together."""
        processes = [subprocess.Popen([self.program], stdout=subprocess.PIPE, text=True) for _ in range(n_processes)]
        return sum(float(process.communicate()[0]) for process in processes)


def seconds_of(function):
    gc.collect()
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def turns(sides, repeats, **gauges):
    """{name: seconds of each turn}, the sides one after the other in each, and then what each gauge shows."""
    for function in sides.values():
        function()  # warm up, compile
    found = {name: [] for name in (*sides, *gauges)}
    for _ in range(repeats):
        for name, function in sides.items():
            found[name].append(seconds_of(function))
        for name, gauge in gauges.items():
            found[name].append(gauge())
    return found


def spread(values):
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def line(what, value, unit, claim=None, **more):
    """Print one result and remember it. `value` is a list over the turns; `claim` the least that is promised."""
    promised = "" if claim is None else f"   promised {claim}"
    print(f"  {what:58s} {spread(value)} {unit}{promised}", flush=True)
    results.append({"what": what, "values": value, "unit": unit, "promised": claim, **more})


def ratios(found, peer, ours="nvpflow"):
    return [theirs / mine for theirs, mine in zip(found[peer], found[ours])]


def two_threads(peak, repeats, what, one, two):
    """What two threads gain, beside what the machine has for them: two virtual processors may be one core, or far apart, and
    change places within seconds, so there are more turns."""
    sides = {"nvpflow": one, "two threads": two}
    found = turns(sides, 5 * repeats, peak=peak.measure, peak_of_two=lambda: peak.measure(2))
    line(f"{what}, two threads, times as fast as one", ratios(found, "nvpflow", "two threads"), "", 1.8)
    line(f"{what}, two processes on registers, times as much as one", ratios(found, "peak_of_two", "peak"), "")


def of_peak(found, operations, ours="nvpflow"):
    return [100 * operations / seconds / (peak * 1e9) for seconds, peak in zip(found[ours], found["peak"])]


def moons_data():
    return make_moons(1000, noise=0.1, random_state=0)[0].astype(np.float32)


def moons_flow(hidden, scale="exp", n_layers=8, n_jobs=1):
    masks = [[1, 0], [0, 1]] * (n_layers // 2)
    flow = nvpflow.Flow([nvpflow.AffineCoupling(2, hidden, mask, scale=scale, random_state=i) for i, mask in enumerate(masks)])
    flow.n_jobs = n_jobs
    return flow


def multiply_adds(dim, hidden, n_layers):
    """Of one sample through the compact networks, forward."""
    return n_layers * 2 * hidden * dim  # two networks, dim/2 -> hidden -> dim/2


def training(peak, repeats, torch_peer, jax_peer):
    print("training, 1000 points, 8 layers, 1000 full-batch steps")
    claims = AFFINE_SHARES_OF_AVX512 if peak.isa == "avx512" else AFFINE_SHARES
    x = moons_data()
    start = moons_flow(64)
    state = start.state_dict()

    def ours(hidden=64, n_jobs=1):
        moons_flow(hidden, n_jobs=n_jobs).fit(x, max_iter=1000)

    sides = {"nvpflow": ours}
    if torch_peer:
        sides["PyTorch eager"] = lambda: torch_training(torch_peer, state, x, 1000)
        if compiles(torch_peer.torch):
            sides["torch.compile"] = compiled_training(torch_peer, state, x, 1000)
    if jax_peer:
        parameters, masks = jax_peer.from_state(state, 8)
        train = jax_peer.make_training(masks, 1000)
        sides["JAX jit"] = lambda: train(parameters, x)[0].block_until_ready()
    found = turns(sides, repeats, peak=peak.measure)
    line("H = 64", found["nvpflow"], "s")
    line("H = 64, of the peak", of_peak(found, 6 * multiply_adds(2, 64, 8) * 1e6), "%", claims[64])
    if torch_peer:
        line("training, times as fast as PyTorch eager", ratios(found, "PyTorch eager"), "", 60)
    if "torch.compile" in found:
        line("training, times as fast as torch.compile", ratios(found, "torch.compile"), "")
    if jax_peer:
        line("training, times as fast as JAX jit", ratios(found, "JAX jit"), "", 15)
    two_threads(peak, repeats, "H = 64", ours, lambda: ours(n_jobs=2))
    for hidden in (32, 128, 256):
        found = turns({"nvpflow": lambda: ours(hidden)}, repeats, peak=peak.measure)
        line(f"H = {hidden}, of the peak", of_peak(found, 6 * multiply_adds(2, hidden, 8) * 1e6), "%", claims[hidden])


def torch_training(torch_peer, state, x, epochs):
    flow = torch_peer.moons_flow()
    flow.load_state_dict({name: torch_peer.torch.from_numpy(array.copy()) for name, array in state.items()})
    torch_peer.train(flow, torch_peer.torch.from_numpy(x), epochs)


def compiles(torch):
    """Whether torch.compile works here: it needs a C++ compiler."""
    try:
        torch.compile(lambda a: a + 1)(torch.zeros(1))
    except Exception as error:
        print(f"  torch.compile is left out: {type(error).__name__}")
        return False
    return True


def compiled_training(torch_peer, state, x, epochs):
    """A function of no arguments: the training with the loss, forward and backward, compiled once."""
    torch, flow = torch_peer.torch, torch_peer.moons_flow()
    x = torch.from_numpy(x)
    loss_of = torch.compile(lambda x: -flow.log_prob(x).mean())

    def run():
        flow.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
        optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3)
        for _ in range(epochs):
            optimizer.zero_grad()
            loss = loss_of(x)
            loss.backward()
            optimizer.step()
            loss.item()

    return run


def scoring(peak, repeats, torch_peer, jax_peer):
    print("a million points, 8 layers, H = 64, trained")
    flow = moons_flow(64)
    flow.fit(moons_data(), max_iter=300)
    state, n = flow.state_dict(), 1_000_000
    x = make_moons(n, noise=0.1, random_state=1)[0].astype(np.float32)
    two = flow.copy()
    two.n_jobs = 2
    sides = {"nvpflow": lambda: flow.log_prob(x), "sampling": lambda: flow.sample(n, random_state=0)}
    if torch_peer:
        torch, theirs = torch_peer.torch, torch_peer.moons_flow()
        theirs.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in state.items()})
        batches = torch.from_numpy(x)

        def torch_scoring(size):
            with torch.no_grad():
                for batch in batches.split(size):
                    theirs.log_prob(batch)

        def torch_sampling(size):
            with torch.no_grad():
                for _ in range(n // size):
                    z = torch.randn(size, 2)
                    for layer in theirs:
                        z, _ = layer(z)

        best = min((1_000, 10_000, 100_000), key=lambda size: seconds_of(lambda: torch_scoring(size)))
        sides["PyTorch eager"] = lambda: torch_scoring(best)
        sides["PyTorch eager, sampling"] = lambda: torch_sampling(best)
    if jax_peer:
        import jax

        parameters, masks = jax_peer.from_state(state, 8)
        score = jax.jit(lambda points: jax_peer.log_prob(parameters, masks, points))
        draw = jax.jit(lambda key: jax_peer.forward(parameters, masks, jax.random.normal(key, (n, 2))))
        points, key = jax.numpy.asarray(x), jax.random.key(0)
        sides["JAX jit"] = lambda: score(points).block_until_ready()
        sides["JAX jit, sampling"] = lambda: draw(key).block_until_ready()
    found = turns(sides, repeats, peak=peak.measure)
    line("scoring", found["nvpflow"], "s")
    line("scoring, of the peak", of_peak(found, 2 * multiply_adds(2, 64, 8) * n), "%", 60)
    line("sampling, times as fast as scoring", ratios(found, "nvpflow", "sampling"), "", 0.7)
    two_threads(peak, repeats, "scoring", lambda: flow.log_prob(x), lambda: two.log_prob(x))
    for peer, claim in (("PyTorch eager", 10), ("JAX jit", 4)):
        if peer in found:
            line(f"scoring, times as fast as {peer}", ratios(found, peer), "", claim)
            line(f"sampling, times as fast as {peer}", ratios(found, f"{peer}, sampling", "sampling"), "", claim)


def one_point(repeats, torch_peer):
    print("one point, array in, array out")
    flow, n = moons_flow(64, "tanh"), 2000
    x = np.zeros((1, 2), np.float32)

    def ours():
        for _ in range(n):
            flow.log_prob(x)

    sides = {"nvpflow": ours}
    if torch_peer:
        torch, theirs = torch_peer.torch, torch_peer.moons_flow()

        def eager():
            with torch.no_grad():
                for _ in range(n // 20):
                    theirs.log_prob(torch.from_numpy(x)).numpy()

        sides["PyTorch eager"] = eager
    found = turns(sides, repeats)
    line("one point", [1e6 * seconds / n for seconds in found["nvpflow"]], "us", 3)
    if torch_peer:
        line("one point, times as fast as PyTorch eager", [20 * r for r in ratios(found, "PyTorch eager")], "", 100)


def wide_flow(dim, hidden, n_layers=10):
    masks = [[(i + d) % 2 for d in range(dim)] for i in range(n_layers)]
    return nvpflow.Flow([nvpflow.AffineCoupling(dim, hidden, mask, random_state=i) for i, mask in enumerate(masks)])


def wide(peak, repeats, torch_peer):
    print("wide: 64 dimensions, 10 layers, H = 512, the loss and its gradient")
    flow = wide_flow(64, 512)
    for batch, claim in ((1024, 1.2), (256, 1.0)):
        x = np.random.default_rng(0).normal(size=(batch, 64)).astype(np.float32)
        sides = {"nvpflow": lambda: flow.nll_and_grad(x)}
        if torch_peer:
            torch = torch_peer.torch
            theirs = torch_peer.Flow(torch_peer.CouplingLayer(64, 512, layer.mask.tolist()) for layer in flow.layers)
            theirs.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in flow.state_dict().items()})
            data = torch.from_numpy(x)

            def eager():
                theirs.zero_grad()
                (-theirs.log_prob(data).mean()).backward()

            sides["PyTorch eager"] = eager
        found = turns(sides, 3 * repeats, peak=peak.measure)
        operations = 6 * multiply_adds(64, 512, 10) * batch
        line(f"wide, batch {batch}, of the peak", of_peak(found, operations), "%", 70 if batch == 1024 else None)
        if torch_peer:
            line(f"wide, batch {batch}, times as fast as PyTorch", ratios(found, "PyTorch eager"), "", claim)


def default_flow(dim):
    """The layers of `FlowDensity` over a mixture."""
    masks = [[(i + d + 1) % 2 for d in range(dim)] for i in range(8)]
    return nvpflow.Flow([nvpflow.SplineCoupling(dim, 32, mask, n_bins=6, tail_bound=3.0, random_state=i)
                         for i, mask in enumerate(masks)])  # fmt: skip


def spline_multiply_adds(flow):
    """Of one sample through the networks, forward: their weights without the biases."""
    return sum(part.size for layer in flow.layers for network in layer._networks() for part, _ in network)


def default(peak, repeats):
    """The networks' share alone counts: what the splines take, which is no multiply-add of theirs, lowers the share. Each fit
    has at least 80 steps, because it also scores all rows once, at its end."""
    print("default: 8 spline couplings, H = 32, 6 bins, over N(0, I), training steps on batches of 256, and scoring")
    for dim in (2, 5, 10, 50):
        flow, n, epochs = default_flow(dim), 2560, max(40 // dim, 8)
        x = np.random.default_rng(0).normal(size=(n, dim)).astype(np.float32)
        options = {"batch_size": 256, "learning_rate": 1e-5, "average": 0.995, "random_state": 0}

        def ours(flow=flow, x=x, epochs=epochs, options=options):
            flow.fit(x, max_iter=epochs, **options)

        sides = {"nvpflow": ours, "scoring": lambda flow=flow, x=x: [flow.log_prob(x) for _ in range(10)]}
        found = turns(sides, 3 * repeats, peak=peak.measure)
        operations = 2 * spline_multiply_adds(flow) * n
        line(f"D = {dim}, a step", [1e6 * seconds * 256 / (n * epochs) for seconds in found["nvpflow"]], "us")
        line(f"D = {dim}, training, of the peak", of_peak(found, 3 * operations * epochs), "%")
        line(f"D = {dim}, scoring, of the peak", of_peak(found, 10 * operations, "scoring"), "%")


# The parameters and what a fit keeps of their size are set aside: the flow's own, the gradient, Adam's two moments, and the
# averages and copies of train.c. The kernel's high-water mark belongs to this program alone; that of getrusage would begin
# with its parent's.
MEMORY = """
import re, numpy as np, nvpflow
flow = nvpflow.Flow([nvpflow.AffineCoupling(16, 64, [(i + d) % 2 for d in range(16)], random_state=i) for i in range({n})])
x = np.random.default_rng(0).normal(size=(1024, 16)).astype(np.float32)
flow.fit(x, max_iter=2)
peak = int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])
print(peak / 1024 - 4 * flow.n_parameters * 9 / 2**20)
"""


def growth(repeats):
    print("growth")
    peaks = {}
    if not Path("/proc/self/status").exists():
        print("  peak memory: left out, for it is read from /proc")
    for n in (10, 160) if Path("/proc/self/status").exists() else ():
        runs = [subprocess.run([sys.executable, "-c", MEMORY.format(n=n)], capture_output=True, text=True, check=True)
                for _ in range(repeats)]  # fmt: skip
        peaks[n] = [float(run.stdout) for run in runs]
    if peaks:
        line("peak memory at 10 layers, parameters set aside", peaks[10], "MB")
        line("peak memory, 160 layers over 10 layers", [a / b for a, b in zip(peaks[160], peaks[10])], "", 1.1)

    def seconds_of_each(make, sizes):
        """One row per turn: the seconds of a call of each size. Small ones are called so often that all do the same work,
        and all of them several times, for the first call of a turn finds the caches full of another size."""
        times = {size: 5 * max(sizes) // size for size in sizes}

        def often(size):
            function = make(size)
            return lambda: [function() for _ in range(times[size])]

        found = turns({size: often(size) for size in sizes}, repeats)
        return np.transpose([np.divide(found[size], times[size]) for size in sizes])

    def worst_over_best(costs):
        return list(costs.max(axis=1) / costs.min(axis=1))

    def per_unit(make, sizes):
        return worst_over_best(seconds_of_each(make, sizes) / sizes)

    def per_further_unit(make, sizes):
        """The same for what one unit more costs, where even none of them would cost something."""
        return worst_over_best(np.diff(seconds_of_each(make, sizes)) / np.diff(sizes))

    x = np.random.default_rng(0).normal(size=(400_000, 2)).astype(np.float32)
    flow = moons_flow(64, "tanh")
    line("time per sample, 4,000 to 400,000 samples, worst/best",
         per_unit(lambda n: lambda: flow.nll_and_grad(x[:n]), (4_000, 40_000, 400_000)), "", 1.15)  # fmt: skip
    flows = {n: moons_flow(64, "tanh", n) for n in (2, 20, 200)}
    line("time per layer, 2 to 200 layers, worst/best",
         per_unit(lambda n: lambda: flows[n].nll_and_grad(x[:20_000]), (2, 20, 200)), "", 1.15)  # fmt: skip
    for dim in (2, 64):
        nets = {hidden: wide_flow(dim, hidden) for hidden in (8, 80, 800)}
        points = np.random.default_rng(0).normal(size=(4_000, dim)).astype(np.float32)
        line(f"time per further hidden unit, D = {dim}, 8 to 800, worst/best",
             per_further_unit(lambda hidden: lambda: nets[hidden].nll_and_grad(points), tuple(nets)), "", 1.15)  # fmt: skip


def packaging(repeats):
    print("packaging")
    compileall.compile_dir(Path(nvpflow.__file__).parent, quiet=1)  # as an installer does

    def importing(module):
        return lambda: subprocess.run([sys.executable, "-c", f"import {module}"], check=True)

    found = turns({"numpy": importing("numpy"), "nvpflow": importing("nvpflow")}, 3 * repeats)
    line("import nvpflow, over import numpy", ratios(found, "nvpflow", "numpy"), "", 1.2)
    line("the extension", [Path(nvpflow._core.__file__).stat().st_size / 1e6], "MB", 2)


def chart(path):
    """The ratios to peers, with the least and the greatest."""
    from matplotlib.figure import Figure

    rows = [result for result in results if re.search("times as fast as (PyTorch|torch|JAX)", result["what"])]
    if not rows:
        print("no chart: no peer was measured")
        return
    figure = Figure(figsize=(9, 0.4 * len(rows) + 1), layout="constrained")
    axes = figure.subplots()
    medians = np.array([statistics.median(row["values"]) for row in rows])
    least, greatest = np.transpose([(min(row["values"]), max(row["values"])) for row in rows])
    axes.barh([row["what"] for row in rows], medians - 1, left=1, xerr=(medians - least, greatest - medians), color="#2066ad",
              error_kw={"elinewidth": 0.8, "capsize": 3})  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.invert_yaxis()
    for y, (median, end) in enumerate(zip(medians, greatest)):
        axes.text(end, y, f"  {median:.3g}", va="center")
    axes.set_xlabel("times as fast (median of the turns, least and greatest)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def import_peers():
    torch_peer = jax_peer = None
    try:
        import peers as torch_peer

        torch_peer.torch.set_num_threads(1)
    except ModuleNotFoundError:
        print("PyTorch is not installed: left out")
    try:
        import jax_peer
    except ModuleNotFoundError:
        print("JAX is not installed: left out")
    return torch_peer, jax_peer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="turns")
    parser.add_argument(
        "--only", nargs="*", choices=["training", "scoring", "one_point", "wide", "default", "growth", "packaging"]
    )
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    parser.add_argument("--chart", metavar="FILE", help="draw the ratios there")
    options = parser.parse_args()
    torch_peer, jax_peer = import_peers()
    isa = nvpflow.ActNorm(1).isa
    peak = Peak(isa)
    print(f"{processor()}, {os.cpu_count()} processors, {isa}; Python {platform.python_version()}, NumPy {np.__version__}"
          + (f", PyTorch {torch_peer.torch.__version__}" if torch_peer else "")
          + (f", JAX {jax_peer.jax.__version__}" if jax_peer else ""))  # fmt: skip
    print(f"peak of one core: {peak.measure():.0f} GFLOP/s")
    parts = {
        "training": lambda: training(peak, options.repeats, torch_peer, jax_peer),
        "scoring": lambda: scoring(peak, options.repeats, torch_peer, jax_peer),
        "one_point": lambda: one_point(options.repeats, torch_peer),
        "wide": lambda: wide(peak, options.repeats, torch_peer),
        "default": lambda: default(peak, options.repeats),
        "growth": lambda: growth(options.repeats),
        "packaging": lambda: packaging(options.repeats),
    }
    for name, part in parts.items():
        if not options.only or name in options.only:
            part()
    if options.json:
        Path(options.json).write_text(json.dumps({"processor": processor(), "isa": isa, "results": results}, indent=2))
    if options.chart:
        chart(options.chart)


if __name__ == "__main__":
    main()
