"""A flow: layers over a base density."""

from __future__ import annotations

import copy
import functools
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, SupportsIndex, TypeAlias, overload

import numpy as np

from nvpflow import _core
from nvpflow._draws import arrange_draws
from nvpflow._io.encoding import encode_flow
from nvpflow._io.state_dict import split_state, state_dtype, state_widths
from nvpflow._training.callbacks import stop_on_plateau, wants_stop
from nvpflow._training.history import validated
from nvpflow._training.limit import Limit
from nvpflow._training.options import TrainingOptions
from nvpflow._typing import (
    Activation,
    AnyPath,
    ArrayLike,
    BinaryWriter,
    Callback,
    DTypeLike,
    Floats,
    History,
    Scale,
    Schedule,
    Seed,
)
from nvpflow._validation.arguments import (
    alternating_mask,
    check_real,
    count_threads,
    draw_seeds,
    shown,
)
from nvpflow._validation.arrays import as_array
from nvpflow._warnings import warn_user
from nvpflow.bases import BASE_TYPES, Base, base_from_config, base_from_state
from nvpflow.layers import SCALE_BOUND, STATE_NAMES, ActNorm, AffineCoupling, Layer, layer_from_config
from nvpflow.normal_base import NormalBase
from nvpflow.optim import TrainingState

__all__ = ["ConvergenceWarning", "Flow"]


TrainingData: TypeAlias = tuple[Floats, ArrayLike | None, ArrayLike | None]  # x, context, sample_weight


class ConvergenceWarning(UserWarning):
    """Training did not converge."""


class Flow(_core.Flow):
    """Layers over a base density, standard normal by default.

    `forward` maps latent points z to data x, beginning with the first layer. `inverse` maps x to z. The density is::

        log p(x) = log p(z) + log|det dz/dx|,     p(z) = N(z; 0, I), a mixture, Student t, or uniform on circles.

    A flow of coupling layers with a context, or over a `ConditionalMixtureBase`, is conditional. Its density is
    log p(x | context), and every method needs the context, one row for each sample.

    Parameters
    ----------
    layers : sequence of layers
        At least one. All have the same dtype and number of dimensions, and coupling layers have the same context_dim. The
        flow takes ownership: the layers' parameters become views of `parameters`. A layer cannot belong to a second flow,
        but a `copy` of it can.
    base : MixtureBase, ConditionalMixtureBase, CircularBase, StudentTBase or NormalBase, optional
        Density of the latent points, the second one given the context, the third for columns of angles, the fourth with heavy
        tails. The flow takes ownership of it. Default: N(0, I).

    Attributes
    ----------
    layers : tuple
        ``len(flow)`` is their number, ``flow[i]`` the i-th layer.
    base : MixtureBase, ConditionalMixtureBase, CircularBase, StudentTBase or None
        None: N(0, I).
    base_density : Base
        `base`, or a `NormalBase` if that is None: an object with `sample` and `log_prob` in any case.
    parameters : ndarray, shape (n_parameters,)
        The parameters of all layers in order, then those of the base, as a writable view.

    Raises
    ------
    TypeError
        If `layers` is not a sequence of layers, or `base` is not a base.
    ValueError
        If `layers` is empty, if layers and base do not fit together, or if one of them already belongs to a flow.

    References
    ----------
    Dinh, Sohl-Dickstein and Bengio (2017), "Density estimation using Real NVP".

    Examples
    --------
    >>> import nvpflow
    >>> flow = nvpflow.Flow([nvpflow.AffineCoupling(2, 16, mask, random_state=0) for mask in ([1, 0], [0, 1])])
    >>> x = flow.sample(3, random_state=0)
    >>> flow.log_prob(x).shape
    (3,)

    A conditional density of one number, given two:

    >>> flow = nvpflow.Flow([nvpflow.AffineCoupling(1, 16, [0], context_dim=2, random_state=0)])
    >>> flow.sample(3, context=[0.5, 1.0]).shape
    (3, 1)
    """

    _file_kind = "Flow"

    def __init__(self, layers: Sequence[Layer] | Layer, base: Base | None = None) -> None:
        layers = tuple(layers) if np.iterable(layers) else (layers,)
        _check_layers(layers)
        _check_base(base, layers)
        base = None if isinstance(base, NormalBase) else base
        first = layers[0]
        context_dim = max(part.context_dim for part in (*layers, base) if part is not None)
        fields = [layer._fields() for layer in layers]
        super().__init__(encode_flow(first.dtype, first.data_dim, context_dim, fields, base._fields() if base else None))
        self._layers, self._base = layers, base
        parameters = self.parameters
        for layer, offset in zip(layers, self._layer_offsets):
            layer._rebind(parameters[offset : offset + layer.n_parameters])
            layer._in_flow = True
        if base:
            base._rebind(parameters[self._base_offset :])
            base._in_flow = True

    @property
    def base(self) -> Base | None:
        """MixtureBase, CircularBase, StudentTBase or None: density of the latent points, None for N(0, I)."""
        return self._base

    @property
    def base_density(self) -> Base:
        """Base: density of the latent points, with `sample`, `log_prob`, `to_normal` and `from_normal`.

        It is `base`, or a `NormalBase` if that is None.
        """
        return NormalBase(self.data_dim, dtype=self.dtype) if self.base is None else self.base

    @property
    def layers(self) -> tuple[Layer, ...]:
        """tuple: the layers, in the order of `forward`."""
        return self._layers

    def __len__(self) -> int:
        return len(self.layers)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Layer, ...]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Layer | tuple[Layer, ...]:
        return self.layers[index]

    @property
    def n_jobs(self) -> int:
        """int: number of threads that a call may use, 1 by default. As in scikit-learn, set -1 for all processors.

        Threads end with the call, and small calls start none. The results are the same to the last bit for any number.
        """
        return self._n_threads

    @n_jobs.setter
    def n_jobs(self, value: int | None) -> None:
        self._n_threads = count_threads(value)

    def _at(self, temperature: object) -> Flow:
        """The flow at a temperature: itself at 1, else a copy over another base."""
        temperature = check_real("temperature", temperature, 0, low_open=True)
        if temperature == 1:
            return self
        base, above = self.base_density._tempered(temperature), self.base_density._layers_at(temperature)
        twin = Flow([*above, *(layer.copy() for layer in self.layers)], base)
        twin.n_jobs = self.n_jobs
        return twin

    def log_prob(self, x: ArrayLike, context: ArrayLike | None = None, *, temperature: float = 1.0) -> Floats:
        """Log-density of each sample.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, D)
        context : array_like of real numbers, shape (n, C)
            Required if the flow is conditional.
        temperature : float, default 1.0
            T > 0: the density of the flow over a base whose normal distributions have covariances T times as large, that is
            N(0, T I) for N(0, I). See the notes of `sample`.

        Returns
        -------
        log_prob : ndarray, shape (n,)
            In nats, in the dtype of the flow. -inf for samples without a density.

        Raises
        ------
        TypeError, ValueError
        """
        # The usual case first: a row is scored in less time than a check takes.
        at = self if type(temperature) is float and temperature == 1 else self._at(temperature)
        return super(Flow, at).log_prob(x, context)

    def sample(
        self,
        n_samples: int,
        random_state: Seed = None,
        context: ArrayLike | None = None,
        *,
        per_context: bool = False,
        temperature: float = 1.0,
    ) -> Floats:
        """Draw samples.

        Parameters
        ----------
        n_samples : int
        random_state : int, Generator, RandomState or None
            An int, >= 0: the same samples in every call; a larger `n_samples` only appends samples. A Generator,
            RandomState or None: different samples in each call.
        context : array_like, shape (n_samples, C), or (C,) or (1, C) for one context for all samples
            Required if the flow is conditional.
        per_context : bool, default False
            True: draw `n_samples` for each row of a context of shape (m, C).
        temperature : float, default 1.0
            T > 0: below 1 samples are nearer to the modes, above 1 farther out.

        Returns
        -------
        x : ndarray, shape (n_samples, D), or (m, n_samples, D) with `per_context`

        Raises
        ------
        TypeError, ValueError

        Notes
        -----
        The base at the temperature T has covariances T times as large: N(0, T I) instead of N(0, I), which is p(z)^(1/T),
        normalised, and N(means_k, T covariances_k) with the same weights in a mixture, given the context if it reads one.
        Clusters keep their shares, which they would not under a power of the mixture. This is the variance of Polanska,
        Price, Piras, Spurio Mancini and McEwen (2024), "Learned harmonic mean estimation of the Bayesian evidence with
        normalizing flows". The temperature of Kingma and Dhariwal (2018), "Glow", multiplies deviations: it is the
        square root of this one.
        """
        shape, context = arrange_draws(n_samples, self.context_dim, context, per_context)
        at, (seed,) = self._at(temperature), draw_seeds(random_state, 1)
        return at._sample(math.prod(shape), seed, context, False)[0].reshape(*shape, self.data_dim)

    def sample_and_log_prob(
        self,
        n_samples: int,
        random_state: Seed = None,
        context: ArrayLike | None = None,
        *,
        per_context: bool = False,
        temperature: float = 1.0,
    ) -> tuple[Floats, Floats]:
        """Draw samples together with their log-densities, in one pass.

        Parameters
        ----------
        n_samples : int
        random_state : int, Generator, RandomState or None
        context : array_like, shape (n_samples, C), (C,) or (1, C)
        per_context : bool, default False
        temperature : float, default 1.0
            As in `sample`. Log-densities are those at this temperature.

        Returns
        -------
        x : ndarray, shape (n_samples, D), or (m, n_samples, D) with `per_context`
        log_prob : ndarray, shape (n_samples,) or (m, n_samples)
            In nats.

        Raises
        ------
        TypeError, ValueError
        """
        shape, context = arrange_draws(n_samples, self.context_dim, context, per_context)
        at, (seed,) = self._at(temperature), draw_seeds(random_state, 1)
        x, log_prob = at._sample(math.prod(shape), seed, context, True)
        return x.reshape(*shape, self.data_dim), log_prob.reshape(shape)

    def grad_log_prob(self, x: ArrayLike, context: ArrayLike | None = None) -> Floats:
        """Gradient of log p(x) with respect to x.

        Parameters
        ----------
        x : array_like, shape (n, D)
        context : array_like, shape (n, C)
            Required if the flow is conditional.

        Returns
        -------
        grad : ndarray, shape (n, D)
            In nats per unit of x. NaN in rows without a density.

        Raises
        ------
        TypeError, ValueError
        """
        z, log_det = self.inverse(x, context)
        with np.errstate(over="ignore", invalid="ignore"):
            known = None if context is None else as_array("context", context).astype(self.dtype)
            grad_z = self.base_density._grad_log_prob(z, known)
            vjp: Any = self.inverse_vjp  # one overload takes a context, the other does not
            grad: Floats = vjp(x, grad_z, np.ones_like(log_det), context)[0]
            grad[~np.isfinite(z).all(axis=1) | ~np.isfinite(log_det)] = np.nan
        return grad

    def initialize_act_norms(self, x: ArrayLike, context: ArrayLike | None = None) -> None:
        """Set every `ActNorm` so that its output in `inverse` has mean 0 and standard deviation 1 on these data.

        Layers are set from the last to the first. Each `ActNorm` standardises x as the layers behind it transform it. Use
        this before `fit`, which goes on to train the act norms.

        Parameters
        ----------
        x : array_like, shape (n, D), n >= 2
        context : array_like, shape (n, C)
            Required if the flow is conditional.

        Raises
        ------
        TypeError, ValueError
            If x is not finite or has another shape, or if a column is constant at an `ActNorm`. The flow is unchanged then.

        References
        ----------
        Kingma and Dhariwal (2018), "Glow: generative flow with invertible 1x1 convolutions", section 3.1.
        """
        state, context, _ = self._check_data(("x", "context"), x, context)
        before = self.parameters.copy()
        try:
            for layer in reversed(self.layers):
                if isinstance(layer, ActNorm):
                    layer._standardize(state)
                state, _ = layer.inverse(state, context if layer.context_dim else None)
        except ValueError:
            self.parameters[:] = before
            raise

    def fit(
        self,
        x: ArrayLike,
        context: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        max_iter: int = 1000,
        batch_size: int | None = None,
        learning_rate: float = 1e-3,
        schedule: Schedule = "constant",
        final_fraction: float = 0.0,
        warmup: float = 0,
        max_grad_norm: float | None = None,
        weight_decay: float = 0.0,
        average: float = 0.0,
        noise: ArrayLike | None = None,
        validation_data: ArrayLike | tuple[ArrayLike | None, ...] | None = None,
        validate_every: int = 1,
        n_iter_no_change: int | None = None,
        tol: float = 0.0,
        random_state: Seed = None,
        callback: Callback | None = None,
        pause_after: int | None = None,
        state: TrainingState | None = None,
    ) -> History:
        """Minimise the mean negative log-likelihood (NLL) of x with Adam, starting from the present parameters.

        Parameters
        ----------
        x : array_like, shape (n, D), n >= 1
        context : array_like, shape (n, C), optional
            Required if the flow is conditional.
        sample_weight : array_like, shape (n,), optional
            w >= 0, finite, not all zero. The loss is sum(w nll) / sum(w). Default: all 1.
        max_iter : int, default 1000
            Maximum number of epochs.
        batch_size : int or None
            Samples in a minibatch. The samples are shuffled in every epoch. None: the full batch.
        learning_rate : float, default 1e-3
        schedule : {"constant", "cosine"}, default "constant"
            "cosine": the learning rate falls with every step along half a period of a cosine, which ends at `max_iter`.
        final_fraction : float, default 0
            In [0, 1). The fraction of `learning_rate` at which "cosine" ends.
        warmup : int or float, default 0
            Number of steps in which the learning rate first grows linearly. A float in [0, 1) is a share of all steps.
        max_grad_norm : float, optional
            Gradients with a larger Euclidean norm are scaled down to this norm.
        weight_decay : float, default 0
            Decoupled weight decay (AdamW): each step first shrinks the parameters by the fraction
            ``learning_rate * weight_decay``, with the learning rate of the step. It acts only on the weights of the
            networks' linear maps, not on biases or `ActNorm`.
        average : float, default 0
            In [0, 1). Decay of an exponential moving average of the parameters over the steps, with bias correction, such
            as 0.999. The flow is validated and left with the averaged parameters. 0: no average.
        noise : float or array_like, shape (D,), optional
            Standard deviation of normal noise, in the units of x. Every sample gets new noise each time it is used. The
            noise smooths the learned density, like the bandwidth of a kernel density estimate. The context gets no noise.
        validation_data : array_like, shape (m, D), m >= 1, optional
            Or a tuple (x, context) or (x, context, sample_weight) of such arrays, with None for an absent context or
            weight. The flow keeps the parameters with the lowest validation NLL, including those at the start. Without
            validation data it keeps those of the last epoch.
        validate_every : int, default 1
            Epochs from one validation to the next. The epoch `max_iter` is always validated.
        n_iter_no_change : int or None
            Stop when the validation NLL has not fallen by more than `tol` for this many epochs. This is checked at each
            validation. Without validation data the training NLL counts, and a call that resumes a `state` starts to count
            from 0. None: never stop early.
        tol : float, default 0
            In nats.
        random_state : int, Generator, RandomState or None
            For the shuffling and the noise.
        callback : callable, optional
            Called as ``callback(epoch, train_nll, validation_nll)`` after every epoch. Epochs count from 1; validation_nll
            is NaN if the epoch was not validated. Raise StopIteration to stop: `fit` catches it, and the epoch counts. The
            return value is ignored. During the call the flow has the parameters of the last step. Training continues with
            the changes that the callback makes to them. No thread of `fit` is alive then, so the callback may fork.
        pause_after : int, optional
            Return after this many epochs. A later call with the same `state` resumes. `max_iter` remains the total number
            of epochs.
        state : TrainingState, optional
            If empty, it is filled. Otherwise training resumes from it, whatever the flow's parameters are now. With the
            same arguments and an integer `random_state`, the parts give the same bits as one call. The history covers this
            call alone.

        Returns
        -------
        history : dict
            "train_nll", ndarray, shape (epochs,): the mean over the batches of the epoch, each before its update, in nats.
            With validation data also two ndarrays of one length: "validation_epoch", the numbers of the validated epochs,
            as the callback counts them, and "validation_nll", the NLL after each of these epochs.

        Raises
        ------
        TypeError, ValueError
            If an argument has a wrong type or a value out of range, or if x holds NaN or infinity.
        RuntimeError
            If this flow is already training: in another thread, or because a callback calls `fit`.

        Warns
        -----
        ConvergenceWarning
            If a loss or a gradient was not finite. Training stopped there and restored the best parameters. If the NLL of
            x was finite at the start, it is finite at the end.

        Notes
        -----
        After an interruption (Ctrl-C) or another exception in the callback, the flow has the best parameters so far, or
        the last ones without validation data.

        Training works on a copy of the parameters. It updates the flow for each call of the callback and at the end.
        Changes to ``flow.parameters`` from other threads are lost.

        The loss of a minibatch of b samples is sum(w nll) / (b W), where W is the mean weight of all training data. Its
        mean over an epoch is the loss of all samples, and its gradient is an unbiased estimate of theirs.

        References
        ----------
        Kingma and Ba (2015), "Adam: a method for stochastic optimization"; Loshchilov and Hutter (2017), "SGDR", equation
        5, and (2019), "Decoupled weight decay regularization", algorithm 2; Pascanu, Mikolov and Bengio (2013), "On the
        difficulty of training recurrent neural networks", algorithm 1; Polyak and Juditsky (1992), "Acceleration of
        stochastic approximation by averaging"; Rothfuss et al. (2019), "Noise regularization for conditional density
        estimation".
        """
        options = TrainingOptions.among(locals())
        history: dict[str, Any] = {}
        self._fit(history, x, context, sample_weight, options)
        first_epoch = history["n_iter"] - len(history["train_nll"]) + 1
        return validated(history, first_epoch)

    def _fit(
        self,
        history: dict[str, Any],
        x: ArrayLike,
        context: ArrayLike | None,
        sample_weight: ArrayLike | None,
        options: TrainingOptions,
        limit: Limit | None = None,
    ) -> None:
        """`fit`, but fill the dict `history` in more detail, even if interrupted. The limit may end it earlier."""
        data = self._check_data(("x", "context", "sample_weight"), x, context, sample_weight)
        validation_data, callback = options.validation_data, options.callback
        if validation_data is not None:
            validation_data = self._check_validation_data(validation_data)
        options = replace(options.checked(self.dtype), noise=self._check_noise(options.noise))
        if validation_data is None and options.n_iter_no_change:
            callback = stop_on_plateau(callback, options.n_iter_no_change, options.tol)
        callback = None if callback is None else functools.partial(wants_stop, callback)
        state = TrainingState() if options.state is None else options.state
        memory = state._memory_for(self)
        try:
            more, stop = (limit or Limit()).for_core()
            self._train(data, validation_data, options.for_core(len(data[0])) | more, history, callback, memory, stop)
        finally:
            if "n_iter" in history:
                state._keep(self, memory, history["n_iter"])
            if validation_data is None:
                history.pop("validation_nll", None)
        if history["diverged"]:
            warn_user(
                f"training diverged: the loss or its gradient was not finite in epoch {history['n_iter']}; the parameters "
                f"of epoch {history['best_iter']} were kept. A smaller learning_rate, splines, a bounded scale, or "
                "max_grad_norm of Flow.fit may help.",
                ConvergenceWarning,
            )

    def _check_data(
        self, names: Sequence[str], x: ArrayLike, context: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> TrainingData:
        """Check the training data as far as `_train` does not, and return the tuple that it takes."""
        checked = self._check_finite(names[0], x, self.data_dim)
        if context is not None and self.context_dim:
            context = self._check_finite(names[1], context, self.context_dim)
        return checked, context, sample_weight

    def _check_validation_data(self, data: Any) -> TrainingData:
        if not isinstance(data, tuple):
            return self._check_data(("validation_data", "validation_data[1]", "validation_data[2]"), data)
        if not 1 <= len(data) <= 3:
            raise ValueError(
                f"validation_data must be x, (x, context) or (x, context, sample_weight), got a tuple of {len(data)}"
            )
        return self._check_data([f"validation_data[{i}]" for i in range(3)], *data)

    def _check_finite(self, name: str, x: ArrayLike, columns: int) -> Floats:
        """Convert samples or contexts to the dtype of the flow. They must be finite, and at least one."""
        x = as_array(name, x)
        if x.dtype.kind not in "fiub":
            raise TypeError(f"{name} must be an array of real numbers, got dtype {x.dtype}")
        if x.ndim != 2 or x.shape[1] != columns or len(x) == 0:
            raise ValueError(f"{name} must have shape (n, {columns}) with n >= 1, got {x.shape}")
        with np.errstate(over="ignore"):
            converted = np.ascontiguousarray(x, self.dtype)
        bad = len(x) - int(np.isfinite(converted).all(axis=1).sum())
        if bad:
            raise ValueError(f"{name} must be finite in {self.dtype}, got NaN or infinity in {bad} of {len(x)} rows")
        return converted

    def _check_noise(self, noise: object) -> Floats | None:
        """Convert the noise to one standard deviation per dimension. None if all are 0."""
        if noise is None:
            return None
        deviations = as_array("noise", noise)
        if deviations.dtype.kind not in "fiu":
            raise TypeError(f"noise must be a real number or an array of them, got {shown(noise)}")
        if deviations.shape not in ((), (self.data_dim,)):
            raise ValueError(f"noise must be a number or have shape ({self.data_dim},), got {deviations.shape}")
        with np.errstate(over="ignore"):
            rounded = deviations.astype(self.dtype)
        if not (np.isfinite(deviations).all() and (deviations >= 0).all()):
            raise ValueError(f"noise must be finite and >= 0, got {shown(noise)}")
        if not np.isfinite(rounded).all():
            raise ValueError(f"noise must be finite in {self.dtype}, got {shown(noise)}")
        return np.ascontiguousarray(np.broadcast_to(rounded, self.data_dim)) if rounded.any() else None

    def copy(self) -> Self:
        """Copy the flow with its parameters.

        Returns
        -------
        Flow
            Independent of this one. The flow, its layers and its base keep their classes and attributes.
        """
        return copy.copy(self)

    def config(self) -> dict[str, Any]:
        """Describe the flow without its parameters, as plain Python values.

        Returns
        -------
        config : dict
            "dtype"; "layers", a list of the layers' `config`; and "base", the `config` of the base, if there is one.
        """
        base = {"base": self.base.config()} if self.base else {}
        return {"dtype": self.dtype.name, "layers": [layer.config() for layer in self.layers], **base}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Create a flow from the result of `config`. Its parameters are placeholders.

        Parameters
        ----------
        config : mapping

        Returns
        -------
        Flow

        Raises
        ------
        KeyError, TypeError, ValueError
            If `config` does not describe a flow.
        """
        layers = [layer_from_config(layer, config["dtype"]) for layer in config["layers"]]
        return cls(layers, base_from_config(config.get("base"), config["dtype"]))

    def save(self, path: AnyPath | BinaryWriter) -> None:
        """Write the flow to a file that `nvpflow.load` reads; see `nvpflow.save`.

        Parameters
        ----------
        path : str, bytes, path-like or binary file object

        Raises
        ------
        ValueError
            If the parameters are not finite.
        OSError
            If the file cannot be written.
        """
        from nvpflow._io.save import save

        save(self, path)

    def state_dict(self) -> dict[str, Floats]:
        """Copy all parameters, named as in a PyTorch `Sequential` of such layers.

        Returns
        -------
        dict of str to ndarray
            "0.s_net.0.weight" (hidden, D + C), "0.s_net.0.bias" (hidden,), "0.s_net.2.weight" (D, hidden), ... Entries
            that a mask makes irrelevant are 0. For a base also "base.logits", "base.means", "base.factors".
        """
        parts: list[tuple[int | str, Layer | Base]] = list(enumerate(self.layers))
        if self.base:
            parts.append(("base", self.base))
        return {f"{part}.{name}": array for part, owner in parts for name, array in owner.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Set all parameters from arrays or PyTorch tensors with the names and shapes of `state_dict`.

        Parameters
        ----------
        state : mapping of str to array_like
            Entries that a mask makes irrelevant are ignored.

        Raises
        ------
        TypeError, ValueError
            If an entry does not hold real numbers, a name is missing or unknown, or a shape is wrong. The flow is unchanged
            then.
        """
        before = self.parameters.copy()
        try:
            state = dict(state)
            if self.base:
                self.base._load(state)
            by_layer = split_state(state, STATE_NAMES)
            unknown = by_layer.keys() - set(range(len(self.layers)))
            if unknown:
                raise ValueError(f"state dict has layers {sorted(unknown)}, the flow has {len(self.layers)} layers")
            for i, layer in enumerate(self.layers):
                layer.load_state_dict(by_layer.get(i, {}))
        except (TypeError, ValueError):
            self.parameters[:] = before
            raise

    @classmethod
    def from_state_dict(
        cls,
        state: Mapping[str, ArrayLike],
        *,
        masks: Sequence[ArrayLike] | None = None,
        activation: Activation = "relu",
        scale: Scale = "exp",
        scale_bound: float = SCALE_BOUND,
        dtype: DTypeLike | None = None,
    ) -> Self:
        """Create a flow from the parameters of PyTorch coupling layers.

        Parameters
        ----------
        state : mapping of str to array_like
            "0.s_net.0.weight" (hidden, D + C), "0.s_net.0.bias" (hidden,), "0.s_net.2.weight" (D, hidden), ... for
            layers 0, 1, ... A prefix such as "layers." is accepted, and "0.mask" (D,) is read if present. For a base
            "base.logits", "base.means", "base.factors", as in `state_dict`.
        masks : sequence of array_like, optional
            One per layer. Default: those of the state dict; without them, 1, 0, 1, ... and 0, 1, 0, ... alternate.
        activation, scale, scale_bound
            As in `AffineCoupling`. A state dict does not hold them. The defaults are those of the published layer.
        dtype : {"float32", "float64"}, optional
            Default: float64 if any array has it, otherwise float32.

        Raises
        ------
        ValueError
            If a name is missing or unknown, or if shapes do not fit together.
        """
        state = dict(state)
        dtype = state_dtype(state) if dtype is None else dtype
        base_state = {key: state.pop(key) for key in list(state) if key.startswith("base.")}
        by_layer = split_state(state, STATE_NAMES)
        n_layers = len(by_layer)
        if sorted(by_layer) != list(range(n_layers)) or not by_layer:
            raise ValueError(f"state dict must have layers 0, 1, ..., got {sorted(by_layer)}")
        if masks is not None and len(masks) != n_layers:
            raise ValueError(f"masks must have one entry for each of {n_layers} layers, got {len(masks)}")
        layers = []
        for i in range(n_layers):
            mask = masks[i] if masks is not None else by_layer[i].get("mask")
            if mask is None and "s_net.0.weight" in by_layer[i]:
                mask = alternating_mask(state_widths(by_layer[i])[-1], i)
            layer = AffineCoupling.from_state_dict(
                by_layer[i], mask, activation=activation, scale=scale, scale_bound=scale_bound, dtype=dtype
            )
            layers.append(layer)
        return cls(layers, base_from_state(base_state, dtype, layers[0].data_dim, layers[0].context_dim))

    def summary(self) -> str:
        """Describe the layers in a text table.

        Returns
        -------
        summary : str
            For each layer, in the order of `forward`: its type; its mask, with 1 for identity columns, or permutation;
            the widths of its networks; the number of its parameters, and their offset in `parameters`. Then totals, dtype
            and the instruction set of the kernels.

        Examples
        --------
        >>> import nvpflow
        >>> flow = nvpflow.Flow([nvpflow.AffineCoupling(2, 64, [1, 0]), nvpflow.ActNorm(2)])
        >>> print(flow.summary())  # doctest: +ELLIPSIS
        layer  type            columns  networks                        parameters  offset
        ----------------------------------------------------------------------------------
        0      AffineCoupling  10       s_net, b_net: 1 > 64 > 1, relu         386       0
        1      ActNorm                                                           4     386
        ----------------------------------------------------------------------------------
        2 layers, 2 dimensions, 390 parameters, float32, ...
        """
        from nvpflow._display import flow_summary

        return flow_summary(self)

    # Copies and pickles come from the state, without a call of __init__: that of a subclass may have other arguments.

    def __copy__(self) -> Self:
        twin = type(self).__new__(type(self))
        base = self.base and copy.copy(self.base)
        Flow.__setstate__(twin, Flow.__getstate__(self) | {"_layers": tuple(map(copy.copy, self.layers)), "_base": base})
        return twin

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        return super().__reduce_ex__(max(operator.index(protocol), 2))  # older protocols cannot pickle C objects

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_n_threads": self._n_threads}

    def __setstate__(self, state: dict[str, Any]) -> None:
        attributes = dict(state)
        layers, base, n_threads = (attributes.pop(name) for name in ("_layers", "_base", "_n_threads"))
        vars(self).update(attributes)
        Flow.__init__(self, layers, base)
        self._n_threads = n_threads

    def __repr__(self) -> str:
        layers = "\n".join(f"    {layer!r}," for layer in self.layers)
        return f"{type(self).__name__}([\n{layers}\n]{f', base={self.base!r}' if self.base else ''})"

    def _repr_html_(self) -> str:
        from nvpflow._display import flow_html

        return flow_html(self)


def _check_layers(layers: Sequence[Layer]) -> None:
    if not layers:
        raise ValueError("layers must have at least one layer, got none")
    seen: set[int] = set()
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"layers[{i}] must be a layer, got {shown(layer)}")
        if layer._in_flow or id(layer) in seen:
            raise ValueError(f"layers[{i}] already belongs to a flow: use layers[{i}].copy()")
        seen.add(id(layer))
        for name in ("data_dim", "dtype"):
            if getattr(layer, name) != getattr(layers[0], name):
                raise ValueError(
                    f"layers must agree in {name}: layers[0] has {getattr(layers[0], name)}, "
                    f"layers[{i}] has {getattr(layer, name)}"
                )
    first, *others = [i for i, layer in enumerate(layers) if layer._reads_context] or [0]
    for i in others:
        if layers[i].context_dim != layers[first].context_dim:
            raise ValueError(
                f"coupling layers must agree in context_dim: layers[{first}] has {layers[first].context_dim}, "
                f"layers[{i}] has {layers[i].context_dim}"
            )


def _check_base(base: Base | None, layers: Sequence[Layer]) -> None:
    if base is None:
        return
    if not isinstance(base, Base):
        names = ", a ".join(base_type.__name__ for base_type in (*BASE_TYPES.values(), NormalBase))
        raise TypeError(f"base must be a {names} or None, got {shown(base)}")
    if base._in_flow:
        raise ValueError("base already belongs to a flow: use base.copy()")
    names = ["data_dim", "dtype"]
    layer = next((layer for layer in layers if layer._reads_context), layers[0])
    if base.context_dim and layer._reads_context:
        names.append("context_dim")
    for name in names:
        if getattr(base, name) != getattr(layer, name):
            raise ValueError(
                f"base and layers must agree in {name}: base has {getattr(base, name)}, layers have {getattr(layer, name)}"
            )
