"""aspire with zuko's flow and with ours: importance sampling of posteriors with a known evidence.

Both flows are fitted to the same draws from the posterior. The efficiency is the share of effective samples.
"""

import logging
import time
import warnings
from functools import partial

import numpy as np
import torch
from aspire import Aspire, Samples
from evidence import PROBLEMS, WIDTH
from report import compare, options

FLOWS = {"nvpflow": "nvpflow", "zuko, MAF": "zuko"}  # names of backends; ours needs an installed nvpflow


def run(problem, backend, seed, chosen):
    """The figures of one run."""
    torch.manual_seed(seed)
    names = [f"x{i}" for i in range(problem.dim)]
    aspire = Aspire(
        log_likelihood=lambda samples: problem.log_likelihood(np.asarray(samples.x)),
        log_prior=lambda samples: np.full(len(samples.x), -problem.dim * np.log(2 * WIDTH)),
        dims=problem.dim,
        parameters=names,
        prior_bounds={name: [-WIDTH, WIDTH] for name in names},
        flow_backend=backend,
        xp=np,
        **({"random_state": seed} if backend == "nvpflow" else {"seed": seed}),
    )
    draws = Samples(problem.sample(chosen.train, np.random.default_rng(seed)), xp=np, parameters=names)
    begin = time.perf_counter()
    aspire.fit(draws)
    fitted = time.perf_counter()
    found = aspire.sample_posterior(chosen.draws, sampler="importance")
    return {
        "log evidence, error": float(found.log_evidence) - problem.log_evidence,
        "its stated error": float(found.log_evidence_error),
        "efficiency": float(found.efficiency),
        "seconds of the fit": fitted - begin,
    }


def main():
    chosen = options(__doc__, PROBLEMS, train=2000, draws=5000)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    for name in chosen.problems:
        problem = PROBLEMS[name]
        compare(f"aspire, {name}", FLOWS, partial(run, problem, chosen=chosen), chosen.seeds)


if __name__ == "__main__":
    main()
