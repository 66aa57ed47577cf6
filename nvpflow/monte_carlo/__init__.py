"""Monte Carlo with a fitted flow as the proposal: importance sampling and independence Metropolis-Hastings, in NumPy.

Both take a model and a function with the log-density of a target, which need not be normalised. Draws of the model come in one
batch, and so do the evaluations of the target.

>>> import numpy as np, nvpflow
>>> from nvpflow import monte_carlo
>>> X = np.random.default_rng(0).normal(size=(1000, 2))
>>> model = nvpflow.FlowDensity(max_iter=20, random_state=0).fit(X)
>>> result = monte_carlo.importance_sample(model, lambda x: -0.5 * (x**2).sum(axis=1), 2000, random_state=0)
>>> bool(abs(result.log_evidence - np.log(2 * np.pi)) < 0.1)
True
"""

from nvpflow.monte_carlo.importance import ImportanceResult, importance_sample
from nvpflow.monte_carlo.metropolis import MetropolisResult, independence_metropolis
from nvpflow.monte_carlo.psis import psis

__all__ = ["ImportanceResult", "MetropolisResult", "importance_sample", "independence_metropolis", "psis"]
