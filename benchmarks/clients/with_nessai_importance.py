"""nessai's importance nested sampler with its own flows and with ours: evidence against the exact one, effective samples, seconds."""

import logging
import tempfile
import time
import warnings
from functools import partial
from unittest import mock

import torch
from evidence import PROBLEMS
from nessai.flowsampler import FlowSampler
from nessai.proposal.importance import ImportanceFlowProposal
from report import Clock, compare, options
from with_nessai import Posterior

from nvpflow.integrations.nessai import NessaiImportanceSampler

SAMPLERS = {
    "nvpflow": NessaiImportanceSampler,
    'nvpflow, base="normal"': partial(NessaiImportanceSampler, flow_config={"base": "normal"}),
    "nessai's RealNVP": partial(FlowSampler, importance_nested_sampler=True),
}


def run(problem, make, seed, chosen):
    """The figures of one run."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        sampler = make(Posterior(problem), output=folder, resume=False, seed=seed, nlive=chosen.live, plot=False)
        with mock.patch.object(ImportanceFlowProposal, "train", clock.around(ImportanceFlowProposal.train)):
            sampler.run(plot=False, save=False)
        seconds = time.perf_counter() - begin
    return {
        "log evidence, error": sampler.ns.log_evidence - problem.log_evidence,
        "its stated error": sampler.ns.log_evidence_error,
        "effective samples": sampler.ns.posterior_effective_sample_size,
        "calls": sampler.ns.total_likelihood_evaluations,
        "seconds": seconds,
        "in fits": clock.seconds,
    }


def main():
    chosen = options(__doc__, PROBLEMS, live=5000)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    for name in chosen.problems:
        problem = PROBLEMS[name]
        compare(f"nessai, importance, {name}", SAMPLERS, partial(run, problem, chosen=chosen), chosen.seeds)


if __name__ == "__main__":
    main()
