"""nessai's nested sampler with its own flow and with ours: evidence against the exact one, calls and seconds."""

import logging
import tempfile
import time
import warnings
from functools import partial
from unittest import mock

import numpy as np
import torch
from evidence import PROBLEMS, WIDTH
from nessai.flowsampler import FlowSampler
from nessai.model import Model
from nessai.proposal import FlowProposal
from report import Clock, compare, options

from nvpflow.integrations.nessai import NessaiProposal

PROPOSALS = {
    "nvpflow": {"flow_proposal_class": NessaiProposal},
    "nvpflow, warm_start": {"flow_proposal_class": NessaiProposal, "flow_config": {"warm_start": True}},
    "nessai's RealNVP": {},
}


class Posterior(Model):
    """A problem in nessai's terms."""

    def __init__(self, problem):
        self.problem, self.names = problem, [f"x{i}" for i in range(problem.dim)]
        self.bounds = {name: [-WIDTH, WIDTH] for name in self.names}

    def log_prior(self, x):
        return np.log(self.in_bounds(x), dtype=float) - self.problem.dim * np.log(2 * WIDTH)

    def log_likelihood(self, x):
        return self.problem.log_likelihood(self.unstructured_view(x))

    def to_unit_hypercube(self, x):
        return self._scaled(x, lambda values: (values + WIDTH) / (2 * WIDTH))

    def from_unit_hypercube(self, x):
        return self._scaled(x, lambda values: 2 * WIDTH * values - WIDTH)

    def _scaled(self, x, scale):
        found = x.copy()
        for name in self.names:
            found[name] = scale(x[name])
        return found


def run(problem, parameters, seed, chosen):
    """The figures of one run."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        sampler = FlowSampler(
            Posterior(problem), output=folder, resume=False, seed=seed, nlive=chosen.live, plot=False, proposal_plots=False,
            **{name: dict(value) if isinstance(value, dict) else value for name, value in parameters.items()},
        )  # fmt: skip
        with mock.patch.object(FlowProposal, "train", clock.around(FlowProposal.train)):
            sampler.run(plot=False, save=False)
        seconds = time.perf_counter() - begin
    return {
        "log evidence, error": sampler.ns.log_evidence - problem.log_evidence,
        "its stated error": sampler.ns.log_evidence_error,
        "calls": sampler.ns.total_likelihood_evaluations,
        "seconds": seconds,
        "in fits": clock.seconds,
    }


def main():
    chosen = options(__doc__, PROBLEMS, live=500)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    for name in chosen.problems:
        problem = PROBLEMS[name]
        compare(f"nessai, {name}", PROPOSALS, partial(run, problem, chosen=chosen), chosen.seeds)


if __name__ == "__main__":
    main()
