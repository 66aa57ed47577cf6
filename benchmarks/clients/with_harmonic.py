"""harmonic with its own flows and with ours: evidence from samples of posteriors with a known evidence.

One half of the samples fits the density, the other estimates the evidence. All have a temperature of 0.8 as a factor of variances:
harmonic's RealNVPModel, which multiplies deviations, is given its root.
"""

import time
import warnings
from functools import partial

import harmonic
import jax
import numpy as np
from evidence import PROBLEMS, WIDTH
from report import compare, options

from nvpflow.integrations.harmonic import HarmonicModel

TEMPERATURE = 0.8


def ours(x, seed, epochs):
    return HarmonicModel(x.shape[1], TEMPERATURE, random_state=seed).fit(x)


def of_harmonic(kind, temperature):
    def fit(x, seed, epochs):
        model = kind(x.shape[1], standardize=True, temperature=temperature)
        model.fit(x, epochs=epochs, key=jax.random.PRNGKey(seed))
        return model

    return fit


MODELS = {
    "nvpflow": ours,
    "harmonic's RealNVP": of_harmonic(harmonic.model.RealNVPModel, TEMPERATURE**0.5),
    "harmonic's RQSpline": of_harmonic(harmonic.model.RQSplineModel, TEMPERATURE),
}


def run(problem, fit, seed, chosen):
    """The figures of one run."""
    x = problem.sample(chosen.train + chosen.draws, np.random.default_rng(seed))
    begin = time.perf_counter()
    model = fit(x[: chosen.train], seed, chosen.epochs)
    seconds = time.perf_counter() - begin
    chains = harmonic.Chains(problem.dim)
    x = x[chosen.train :]
    chains.add_chains_2d(x, problem.log_likelihood(x) - problem.dim * np.log(2 * WIDTH), 20)
    evidence = harmonic.Evidence(20, model)
    evidence.add_chains(chains)
    log_evidence, log_deviation = evidence.compute_ln_evidence()
    return {
        "log evidence, error": float(log_evidence) - problem.log_evidence,
        "its stated error": float(np.exp(log_deviation - log_evidence)),
        "seconds of the fit": seconds,
    }


def main():
    chosen = options(__doc__, PROBLEMS, train=2000, draws=5000, epochs=50)
    warnings.simplefilter("ignore")
    for name in chosen.problems:
        problem = PROBLEMS[name]
        compare(f"harmonic, {name}", MODELS, partial(run, problem, chosen=chosen), chosen.seeds)


if __name__ == "__main__":
    main()
