"""Training on samples that arrive in pieces, for `RealNVP.partial_fit`."""

import warnings

import numpy as np

from nvpflow._checks import check_int, draw_seeds
from nvpflow._fitting import bandwidth, new_flow
from nvpflow.flow import ConvergenceWarning
from nvpflow.optimizer import Adam

__all__ = ["Stream"]


class Stream:
    """What lasts from one piece to the next: the random numbers and Adam's moments.

    Nobody knows how many samples will come, so the learning rate is constant and none are held back.
    """

    def __init__(self, model):
        self.init_seed, seed = draw_seeds(model.random_state, 2)
        self.rng = np.random.default_rng(seed)
        self.adam = None

    def new_flow(self, model, X):
        """A flow for the first piece."""
        return new_flow(model, X, self.init_seed)

    def update(self, model, flow, X, n_seen):
        """One epoch on X, in minibatches, from the flow's present parameters.

        Parameters
        ----------
        model : RealNVP
            For its parameters.
        flow : Flow
            Updated. Should a loss or gradient not be finite, it goes back to what it was, with a ConvergenceWarning.
        X : ndarray, shape (n, D), n >= 1
        n_seen : int
            Samples seen so far, with X: the noise falls with them.

        Returns
        -------
        nll : float
            Mean over the minibatches, each before its update, in nats; NaN after a divergence.
        """
        batch_size = len(X) if model.batch_size is None else check_int("batch_size", model.batch_size, 1)
        noise = bandwidth(model, X, n_seen)
        adam = self._bind_adam(model, flow)
        before = flow.parameters.copy()
        order, total = self.rng.permutation(len(X)), 0.0
        for start in range(0, len(X), batch_size):
            batch = X[order[start : start + batch_size]]
            nll, grad = flow.nll_and_grad(batch + noise * self.rng.standard_normal(batch.shape))
            if not (np.isfinite(nll) and np.isfinite(grad).all()):
                flow.parameters[:] = before
                self.adam = None
                warnings.warn(
                    "training diverged: the loss or its gradient was not finite; the parameters from before this call "
                    "were kept. A smaller learning_rate or scale='tanh' may help.",
                    ConvergenceWarning,
                    stacklevel=3,
                )
                return np.nan
            adam.step(grad)
            total += nll * len(batch)
        return total / len(X)

    def _bind_adam(self, model, flow):
        """Adam on the flow's parameters: a copied or unpickled model has its moments, but the parameters elsewhere."""
        if self.adam is None:
            self.adam = Adam(flow.parameters)
        self.adam.parameters = flow.parameters
        self.adam.learning_rate = model.learning_rate
        return self.adam
