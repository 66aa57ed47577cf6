"""The same flow as people write it in PyTorch, for benchmarks to compare with."""

import torch
from torch import nn


class CouplingLayer(nn.Module):
    """The affine coupling layer of the article: unbounded scale, full-shape networks on the masked input."""

    def __init__(self, data_dim, hidden_dim, mask):
        super().__init__()
        self.s_net = nn.Sequential(nn.Linear(data_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, data_dim))
        self.b_net = nn.Sequential(nn.Linear(data_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, data_dim))
        self.mask = torch.tensor(mask, dtype=torch.float32)

    def inverse(self, x):
        identity = self.mask * x
        s, b = self.s_net(identity), self.b_net(identity)
        z = identity + (1 - self.mask) * ((x - b) * torch.exp(-s))
        return z, -((1 - self.mask) * s).sum(dim=1)

    def forward(self, z):
        identity = self.mask * z
        s, b = self.s_net(identity), self.b_net(identity)
        x = identity + (1 - self.mask) * (z * torch.exp(s) + b)
        return x, ((1 - self.mask) * s).sum(dim=1)


class Flow(nn.ModuleList):
    """Coupling layers over a standard normal base density."""

    def log_prob(self, x):
        log_det = torch.zeros(len(x))
        for layer in reversed(self):
            x, layer_log_det = layer.inverse(x)
            log_det = log_det + layer_log_det
        base = torch.distributions.Normal(0.0, 1.0, validate_args=False)
        return base.log_prob(x).sum(dim=1) + log_det


def moons_flow(n_layers=8, hidden_dim=64, seed=0):
    """The article's flow: two dimensions, masks that alternate."""
    torch.manual_seed(seed)
    return Flow(CouplingLayer(2, hidden_dim, [1.0, 0.0] if i % 2 == 0 else [0.0, 1.0]) for i in range(n_layers))


def train(flow, x, epochs, learning_rate=1e-3):
    """Full-batch Adam on the mean negative log-likelihood; returns the loss of every epoch."""
    optimizer = torch.optim.Adam(flow.parameters(), lr=learning_rate)
    losses = []
    for _ in range(epochs):
        optimizer.zero_grad()
        loss = -flow.log_prob(x).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
