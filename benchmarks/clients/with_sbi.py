"""sbi's neural posterior estimation with its own spline flow and with ours, on a simulator with two modes.

theta ~ N(0, I) in two dimensions, x ~ N(|theta|, 0.3^2): four modes. "gap" is the mean log-density that the posterior is below the
exact one on fresh pairs, in nats; "coverage" how many of these lie in the region of highest density of 90 %.
"""

import warnings
from functools import partial

import numpy as np
import torch
from report import Clock, compare, options
from sbi.inference import NPE
from scipy.stats import norm

import nvpflow
from nvpflow.integrations.sbi import FlowEstimator, flow_estimator

NOISE = 0.3


def simulate(n, seed):
    generator = torch.Generator().manual_seed(seed)
    theta = torch.randn(n, 2, generator=generator)
    return theta, theta.abs() + NOISE * torch.randn(n, 2, generator=generator)


def exact_log_prob(theta, x):
    """The posterior's log-density: its two dimensions are independent, and x is a sum of two half-normal parts."""
    variance = 1 + NOISE**2
    half = norm.cdf(x / (NOISE * np.sqrt(variance)))
    evidence = np.log(2 * half) + norm.logpdf(x, 0, np.sqrt(variance))
    return (norm.logpdf(theta) + norm.logpdf(x, np.abs(theta), NOISE) - evidence).sum(axis=1)


def by_sbi(build):
    def fit(theta, x, seed):
        prior = torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2))
        trainer = NPE(prior, density_estimator=build(seed), show_progress_bars=False)
        return trainer.append_simulations(theta, x).train()

    return fit


def by_fit(theta, x, seed):
    return FlowEstimator.from_density(nvpflow.FlowDensity(random_state=seed).fit(theta.numpy(), context=x.numpy()))


MODELS = {
    "flow_estimator(), trained by sbi": by_sbi(lambda seed: flow_estimator(random_state=seed)),
    "FlowDensity, fitted before": by_fit,
    "sbi's nsf": by_sbi(lambda seed: "nsf"),
}


def run(fit, seed, chosen):
    """The figures of one run."""
    torch.manual_seed(seed)
    theta, x = simulate(chosen.simulations, seed)
    clock = Clock()
    with clock:
        estimator = fit(theta, x, seed)
    theta, x = simulate(chosen.fresh, 1000 + seed)
    with torch.no_grad():
        log_prob = estimator.log_prob(theta, x)[0]
        drawn = estimator.log_prob(estimator.sample((200,), x), x)
    return {
        "gap": float(np.mean(exact_log_prob(theta.numpy(), x.numpy()) - log_prob.numpy())),
        "coverage": float(((drawn > log_prob).float().mean(dim=0) < 0.9).float().mean()),
        "seconds of the fit": clock.seconds,
    }


def main():
    chosen = options(__doc__, simulations=2000, fresh=1000)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    compare(f"sbi, {chosen.simulations} simulations", MODELS, partial(run, chosen=chosen), chosen.seeds)


if __name__ == "__main__":
    main()
