"""The context of an estimator is standardised for training, and a fitted flow reads it in its own units.

A network reads the context by its first map alone, W c + v. On a standardised context (c - mean) / scale that is the
map (W / scale) c + (v - (W / scale) mean): what is trained on the one can be written to read the other, so that the
standardisation leaves nothing behind that a fitted model, or its file, would have to carry along.
"""

import numpy as np

from nvpflow._data import moments, warn_of_coarse_columns

__all__ = ["ContextScaler"]


class ContextScaler:
    """Mean and standard deviation, by the weights, of the columns of a context; 0 and 1 if not to be standardised.

    A constant column keeps its unit, and is 0 in training.
    """

    def __init__(self, data, standardize=True):
        context = data.context
        n_columns = 0 if context is None else context.shape[1]
        self.mean, self.scale = np.zeros(n_columns), np.ones(n_columns)
        if standardize and n_columns:
            mean, deviation = moments(context, data.weight)
            constant = (context.min(axis=0) == context.max(axis=0)) | (deviation < 1e4 * np.finfo(context.dtype).tiny)
            self.mean = np.where(constant, context[0], mean)
            self.scale = np.where(constant, 1.0, deviation)
            warn_of_coarse_columns("context", context, mean, np.where(constant, np.inf, deviation), stacklevel=4)

    def transform(self, data):
        """The Data with its context standardised."""
        if data.context is None:
            return data
        return data._replace(context=((data.context - self.mean) / self.scale).astype(data.context.dtype))

    def to_own_units(self, flow):
        """Networks that read the standardised context come to read the context."""
        for columns, bias in _context_maps(flow):
            columns /= self.scale
            bias -= columns @ self.mean

    def to_standardized(self, flow):
        """Undo `to_own_units`."""
        for columns, bias in _context_maps(flow):
            bias += columns @ self.mean
            columns *= self.scale


def _context_maps(flow):
    """For each network the weights that read the context, (outputs, C), and the bias, (outputs,): views."""
    for layer in flow.layers:
        if layer.context_dim:
            for first, *_ in layer._networks():
                yield first.weight[:, -layer.context_dim :], first.bias
