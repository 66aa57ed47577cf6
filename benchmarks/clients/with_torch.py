"""A flow of ours in a training loop of PyTorch, beside one of zuko: gap to the exact density, seconds of training and of samples."""

import warnings
from functools import partial

import numpy as np
import torch
import zuko
from evidence import PROBLEMS
from report import Clock, compare, options

import nvpflow
from nvpflow.integrations.torch import FlowModule

N_LAYERS, WIDTH, BINS, BATCH, RATE = 4, 64, 8, 256, 2e-3


def ours(dim, seed):
    """Spline couplings between halves of the columns, in turns."""
    masks = [np.arange(dim) % 2 == i % 2 for i in range(N_LAYERS)]
    make = nvpflow.SplineCoupling
    return FlowModule(
        nvpflow.Flow([make(dim, (WIDTH, WIDTH), m, n_bins=BINS, random_state=seed + i) for i, m in enumerate(masks)])
    )


def of_zuko(dim, seed):
    """The same of zuko."""
    return zuko.flows.NSF(dim, bins=BINS, transforms=N_LAYERS, passes=2, hidden_features=(WIDTH, WIDTH))


FLOWS = {"FlowModule": ours, "zuko's NSF, couplings": of_zuko}


def run(problem, make, seed, chosen):
    """The figures of one training."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    x, fresh = problem.sample(chosen.draws, rng), problem.sample(5000, rng)
    origin, scale = x.mean(axis=0), x.std(axis=0)
    points = torch.from_numpy((x - origin) / scale).float()
    module, clock, draws = make(problem.dim, seed), Clock(), Clock()
    distribution = getattr(module, "distribution", module)
    optimiser = torch.optim.Adam(module.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, chosen.steps)
    with clock:
        for _ in range(chosen.steps):
            optimiser.zero_grad()
            loss = -distribution().log_prob(points[torch.randint(len(points), (BATCH,))]).mean()
            loss.backward()
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        found = distribution().log_prob(torch.from_numpy((fresh - origin) / scale).float()).numpy() - np.log(scale).sum()
        with draws:
            distribution().sample((10_000,))
    return {
        "gap": float(np.mean(problem.log_likelihood(fresh) - found)),
        "milliseconds of a step": 1000 * clock.seconds / chosen.steps,
        "milliseconds of 10,000 samples": 1000 * draws.seconds,
    }


def main():
    chosen = options(__doc__, PROBLEMS, draws=5000, steps=1000)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for name in chosen.problems:
        problem = PROBLEMS[name]
        compare(f"PyTorch, {name}", FLOWS, partial(run, problem, chosen=chosen), chosen.seeds)


if __name__ == "__main__":
    main()
