"""harmonic: a flow as the density of its learned harmonic mean estimator."""

from __future__ import annotations

from typing import Any

import numpy as np

from nvpflow._typing import ArrayLike, Floats
from nvpflow._validation.arguments import check_int, check_real, shown
from nvpflow._validation.arrays import as_array
from nvpflow.density import FlowDensity
from nvpflow.integrations._missing import not_installed

try:
    import jax
    from harmonic.model_abstract import Model
except ModuleNotFoundError as error:
    raise not_installed("harmonic", error) from None

__all__ = ["HarmonicModel"]


class HarmonicModel(Model):
    """A model of harmonic: ``harmonic.Evidence(nchains, HarmonicModel(ndim).fit(samples))``.

    Parameters
    ----------
    ndim : int
        Number of dimensions.
    temperature : float in (0, 1], default 0.8
        T: covariances of the base of the flow are T times as large in `predict` and `sample`, so that the density lies within
        the posterior. It may be set after the fit.
    **parameters
        Of `FlowDensity`.

    Attributes
    ----------
    model, flow : FlowDensity
        The density of the samples, by the names of this package and of harmonic.
    ndim : int
    temperature : float

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid.

    Notes
    -----
    The temperature is a factor of variances, as in the paper and in harmonic's `RQSplineModel`. Its `RealNVPModel` (1.3)
    multiplies deviations, so that 0.8 there is 0.64 here. In a base that is a mixture, components keep their shares, and each
    becomes narrower.

    References
    ----------
    Polanska, Price, Piras, Spurio Mancini and McEwen (2024), "Learned harmonic mean estimation of the Bayesian evidence with
    normalizing flows".

    Examples
    --------
    >>> import numpy as np
    >>> from nvpflow.integrations.harmonic import HarmonicModel
    >>> model = HarmonicModel(2, max_iter=20, random_state=0).fit(np.random.default_rng(0).normal(size=(300, 2)))
    >>> model.is_fitted(), model.predict(np.zeros((5, 2))).shape
    (True, (5,))
    """

    def __init__(self, ndim: int, temperature: float = 0.8, **parameters: Any) -> None:
        self.ndim, self.temperature = check_int("ndim", ndim, 1), temperature
        self.model, self.fitted = FlowDensity(**parameters), False

    @property
    def temperature(self) -> float:
        """float: the factor of the covariances."""
        return self._temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        checked = check_real("temperature", value, 0, low_open=True)
        if checked > 1:  # the estimator's variance would be infinite
            raise ValueError(f"temperature must be at most 1, got {shown(value)}")
        self._temperature = checked

    @property
    def flow(self) -> FlowDensity:
        """FlowDensity: `model`. By this name harmonic knows that `predict` takes many samples at once."""
        return self.model

    def fit(self, X: ArrayLike, Y: object = None) -> HarmonicModel:
        """Fit the density to samples from the posterior, other ones than the evidence is estimated from.

        Parameters
        ----------
        X : array_like, shape (n, D)
        Y : ignored
            Log-densities of the posterior, which harmonic's models may take.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If X has another number of dimensions or cannot be fitted. An earlier fit is unchanged then.
        """
        self.model.fit(self._check(X))
        self.fitted = True
        return self

    def predict(self, x: ArrayLike) -> jax.Array:
        """Log-densities at the temperature.

        Parameters
        ----------
        x : array_like, shape (n, D) or (D,)

        Returns
        -------
        log_prob : jax.Array, shape (n,) or ()
            In nats; -inf where there is no density.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        points = as_array("x", x)
        scores = self.model.score_samples(self._check(np.atleast_2d(points)), temperature=self.temperature)
        return jax.numpy.asarray(scores if points.ndim > 1 else scores[0])

    def sample(self, n_sample: int, rng_key: jax.Array | None = None) -> jax.Array:
        """Draw samples at the temperature.

        Parameters
        ----------
        n_sample : int
        rng_key : jax.Array, optional
            A key of `jax.random`. None: the key of 0, as in harmonic.

        Returns
        -------
        x : jax.Array, shape (n_sample, D)

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        words = np.asarray(jax.random.bits(jax.random.key(0) if rng_key is None else rng_key, (4,)))
        x: Floats = self.model.sample(n_sample, np.random.default_rng(words), temperature=self.temperature)
        return jax.numpy.asarray(x)

    def _check(self, points: ArrayLike) -> np.ndarray[Any, Any]:
        array = as_array("x", points)
        if array.ndim != 2 or array.shape[1] != self.ndim:
            raise ValueError(f"x must have shape (n, {self.ndim}), got {array.shape}")
        return array
