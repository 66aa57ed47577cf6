"""nvpflow: the defaults, and the article's flow."""

import numpy as np

import nvpflow
from quality.models.units import standardized


def flow_density(x, seed):
    return nvpflow.FlowDensity(random_state=seed).fit(x).score_samples


def conditional_flow_density(x, c, seed):
    model = nvpflow.FlowDensity(random_state=seed).fit(x, context=c)
    return lambda points, contexts: model.score_samples(points, context=contexts)


@standardized
def article(x, seed):
    """8 layers, one hidden layer of 64, unbounded scale, 1000 full-batch steps of Adam."""
    dim = x.shape[1]
    masks = [[(d + layer + 1) % 2 for d in range(dim)] for layer in range(8)]
    layers = [
        nvpflow.AffineCoupling(dim, 64, mask, scale="exp", random_state=np.random.SeedSequence([seed, layer]))
        for layer, mask in enumerate(masks)
    ]
    flow = nvpflow.Flow(layers)
    flow.fit(x, max_iter=1000, learning_rate=1e-3)
    return flow.log_prob
