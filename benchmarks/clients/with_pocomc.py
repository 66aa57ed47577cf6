"""pocoMC with its own flow and with ours: evidence against the exact one, effective samples, calls and the
processor's seconds."""

import time
import warnings
from functools import partial

import numpy as np
import pocomc
import torch
from evidence import PROBLEMS, WIDTH
from report import Clock, compare, options
from scipy.stats import uniform

from nvpflow.integrations.pocomc import FlowPreconditioner

FLOWS = {
    "nvpflow": lambda dim, seed: FlowPreconditioner(dim, random_state=seed),
    "pocoMC's nsf6": None,
}


def run(problem, make, seed, chosen):
    """The figures of one run."""
    np.random.seed(seed)  # noqa: NPY002  # which pocoMC reads
    torch.manual_seed(seed)
    prior = pocomc.Prior([uniform(-WIDTH, 2 * WIDTH)] * problem.dim)
    sampler = pocomc.Sampler(
        prior, problem.log_likelihood, vectorize=True, random_state=seed, n_effective=chosen.effective, n_active=chosen.active
    )
    if make is not None:
        sampler.flow = make(problem.dim, seed)
    clock, begin = Clock(time.process_time), time.process_time()
    sampler.flow.fit = clock.around(sampler.flow.fit)
    sampler.run(n_total=chosen.total, n_evidence=chosen.total, progress=False)
    seconds = time.process_time() - begin
    _, weights, *_ = sampler.posterior(trim_importance_weights=False)
    log_evidence, error = sampler.evidence()
    return {
        "log evidence, error": log_evidence - problem.log_evidence,
        "its stated error": error,
        "efficiency": 1 / (1 + chosen.total * error**2),  # of importance samples from the flow, whose mean the evidence is
        "effective samples": 1 / np.sum((weights / weights.sum()) ** 2),
        "calls": sampler.calls,
        "seconds": seconds,
        "in fits": clock.seconds,
    }


def main():
    chosen = options(__doc__, PROBLEMS, effective=512, active=256, total=2048)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for name in chosen.problems:
        problem = PROBLEMS[name]
        compare(f"pocoMC, {name}", FLOWS, partial(run, problem, chosen=chosen), chosen.seeds)


if __name__ == "__main__":
    main()
