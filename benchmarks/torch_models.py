"""Flows of PyTorch for quality.py: zuko's and nflows' with early stopping, and the article's as it was published."""

import copy

import nflows  # noqa: F401  submodules by attribute
import torch
import zuko
from nflows.distributions.normal import StandardNormal
from nflows.flows.base import Flow
from nflows.flows.realnvp import SimpleRealNVP
from nflows.nn.nets import ResidualNet
from nflows.transforms.base import CompositeTransform
from nflows.transforms.coupling import PiecewiseRationalQuadraticCouplingTransform

import peers

torch.set_num_threads(1)

# More than twice the steps of zuko's tutorial, and as many as in nflows' example of moons; both have Adam at 1e-3.
MAX_STEPS, BATCH, LEARNING_RATE = 5000, 256, 1e-3
# Every so many steps the held-back tenth is scored; after ten times in a row without a better score training stops.
CHECK_EVERY, PATIENCE = 100, 10


def zuko_nsf(x, seed):
    return _early_stopping(lambda dim: zuko.flows.NSF(dim, transforms=3, hidden_features=(64, 64)), x, seed)


def zuko_real_nvp(x, seed):
    return _early_stopping(lambda dim: zuko.flows.RealNVP(dim, transforms=8, hidden_features=(64, 64)), x, seed)


def nflows_affine(x, seed):
    return _early_stopping(lambda dim: SimpleRealNVP(dim, 64, num_layers=8, num_blocks_per_layer=2), x, seed)


def nflows_spline(x, seed):
    return _early_stopping(_spline_coupling, x, seed)


def article(x, seed):
    """8 layers, one hidden layer of 64, unbounded scale, 1000 full-batch steps of Adam."""
    torch.manual_seed(seed)
    dim = x.shape[1]
    masks = [[float((d + layer + 1) % 2) for d in range(dim)] for layer in range(8)]
    flow = peers.Flow(peers.CouplingLayer(dim, 64, mask) for mask in masks)
    peers.train(flow, torch.from_numpy(x).float(), 1000)
    return _scorer(flow)


def _spline_coupling(dim):
    def network(n_in, n_out):
        return ResidualNet(n_in, n_out, hidden_features=64, num_blocks=2)

    layers = [
        PiecewiseRationalQuadraticCouplingTransform(
            [(d + layer) % 2 for d in range(dim)], network, num_bins=8, tails="linear", tail_bound=5.0
        )
        for layer in range(5)
    ]
    return Flow(CompositeTransform(layers), StandardNormal([dim]))


def _early_stopping(make_flow, x, seed):
    """Adam on minibatches of nine tenths of x; keeps the parameters that do best on the rest."""
    torch.manual_seed(seed)
    flow = make_flow(x.shape[1])
    x = torch.from_numpy(x).float()[torch.randperm(len(x))]
    n_validation = max(1, len(x) // 10)
    validation, train = x[:n_validation], x[n_validation:]
    optimizer = torch.optim.Adam(flow.parameters(), lr=LEARNING_RATE)
    best, best_step, best_state = float("inf"), 0, copy.deepcopy(flow.state_dict())
    step = 0
    while step < MAX_STEPS and step - best_step < PATIENCE * CHECK_EVERY:
        for batch in train[torch.randperm(len(train))].split(BATCH):
            optimizer.zero_grad()
            loss = -_log_prob(flow, batch).mean()
            if not loss.isfinite():
                step = MAX_STEPS
                break
            loss.backward()
            optimizer.step()
            step += 1
            if step % CHECK_EVERY == 0:
                with torch.no_grad():
                    nll = -_log_prob(flow, validation).mean().item()
                if nll < best:
                    best, best_step, best_state = nll, step, copy.deepcopy(flow.state_dict())
    flow.load_state_dict(best_state)
    return _scorer(flow)


def _log_prob(flow, x):
    return flow().log_prob(x) if isinstance(flow, zuko.lazy.Flow) else flow.log_prob(x)


def _scorer(flow):
    def log_prob(x):
        with torch.no_grad():
            parts = torch.from_numpy(x).float().split(1000)
            return torch.cat([_log_prob(flow, part) for part in parts]).double().numpy()

    return log_prob
