"""Training of PyTorch's flows: minibatches, and early stopping on a tenth that is held back."""

import copy
import math

import torch

from quality.models.watching import is_watched, show

torch.set_num_threads(1)

# More than twice the steps of zuko's tutorial, and as many as in nflows' example of moons; both have Adam at 1e-3.
MAX_STEPS, BATCH, LEARNING_RATE = 5000, 256, 1e-3
# Every so many steps the held-back tenth is scored; after ten times in a row without a better score training stops.
CHECK_EVERY, PATIENCE = 100, 10


def early_stopping(make_flow, x, seed, context=None):
    """The log-density of `trained`."""
    return scorer(trained(make_flow, x, seed, context))


def trained(make_flow, x, seed, context=None):
    """Adam on minibatches of nine tenths of the samples; keeps the parameters that do best on the rest."""
    torch.manual_seed(seed)
    flow = make_flow()
    parts = [torch.from_numpy(part).float() for part in (x, context) if part is not None]
    order = torch.randperm(len(x))
    n_validation = max(1, len(x) // 10)
    validation, train = ([part[rows] for part in parts] for rows in (order[:n_validation], order[n_validation:]))
    optimizer = torch.optim.Adam(flow.parameters(), lr=LEARNING_RATE)
    best, best_step, best_state = float("inf"), 0, copy.deepcopy(flow.state_dict())
    step, last_step = 0, math.inf if is_watched() else MAX_STEPS
    while step < last_step and step - best_step < PATIENCE * CHECK_EVERY:
        for rows in torch.randperm(len(train[0])).split(BATCH):
            optimizer.zero_grad()
            loss = -_log_prob(flow, *(part[rows] for part in train)).mean()
            if not loss.isfinite():
                last_step = 0
                break
            loss.backward()
            optimizer.step()
            step += 1
            if step % CHECK_EVERY == 0:
                with torch.no_grad():
                    nll = -_log_prob(flow, *validation).mean().item()
                if nll < best:
                    best, best_step, best_state = nll, step, copy.deepcopy(flow.state_dict())
                    show(scorer(flow))
    flow.load_state_dict(best_state)
    return flow


def _log_prob(flow, x, *context):
    """zuko's flows are called with a context, or nothing, and give a distribution."""
    return flow.log_prob(x) if hasattr(flow, "log_prob") else flow(*context).log_prob(x)


def scorer(flow):
    def log_prob(*points):
        with torch.no_grad():
            chunks = zip(*(torch.from_numpy(part).float().split(1000) for part in points))
            return torch.cat([_log_prob(flow, *chunk) for chunk in chunks]).double().numpy()

    return log_prob
