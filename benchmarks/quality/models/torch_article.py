"""The article's flow in PyTorch, as it was published."""

import torch

import peers
from quality.models.torch_training import scorer
from quality.models.units import standardized


@standardized
def article(x, seed):
    """8 layers, one hidden layer of 64, unbounded scale, 1000 full-batch steps of Adam."""
    torch.manual_seed(seed)
    dim = x.shape[1]
    masks = [[float((d + layer + 1) % 2) for d in range(dim)] for layer in range(8)]
    flow = peers.Flow(peers.CouplingLayer(dim, 64, mask) for mask in masks)
    peers.train(flow, torch.from_numpy(x).float(), 1000)
    return scorer(flow)
