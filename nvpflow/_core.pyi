from collections.abc import Callable
from typing import Any, Literal, TypeAlias, overload

import numpy as np
import numpy.typing as npt
from typing_extensions import disjoint_base

from nvpflow._typing import ArrayLike, Floats, Ints

_Data: TypeAlias = tuple[ArrayLike, ArrayLike | None, ArrayLike | None]

# By name of a layer type: its fields as (name, form, names of a choice or limits of a count).
LAYER_KINDS: dict[str, tuple[tuple[str, str, tuple[Any, ...]], ...]]

# Likewise for bases, paired with the version of the numbers that can represent the base.
BASE_KINDS: dict[str, tuple[int, tuple[tuple[str, str, tuple[Any, ...]], ...]]]

@disjoint_base
class Transform:
    _n_threads: int
    def __init__(self, description: ArrayLike, parameters: Floats | None = None) -> None: ...
    @property
    def parameters(self) -> Floats: ...
    @property
    def n_parameters(self) -> int: ...
    @property
    def data_dim(self) -> int: ...
    @property
    def context_dim(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[np.floating[Any]]: ...
    @property
    def isa(self) -> str: ...
    @property
    def _layer_offsets(self) -> tuple[int, ...]: ...
    @property
    def _base_offset(self) -> int: ...
    def forward(self, z: ArrayLike, context: ArrayLike | None = None) -> tuple[Floats, Floats]: ...
    def inverse(self, x: ArrayLike, context: ArrayLike | None = None) -> tuple[Floats, Floats]: ...
    @overload
    def forward_vjp(
        self, z: ArrayLike, grad_x: ArrayLike | None, grad_log_det: ArrayLike | None, context: None = None
    ) -> tuple[Floats, Floats]: ...
    @overload
    def forward_vjp(
        self, z: ArrayLike, grad_x: ArrayLike | None, grad_log_det: ArrayLike | None, context: ArrayLike
    ) -> tuple[Floats, Floats, Floats]: ...
    @overload
    def inverse_vjp(
        self, x: ArrayLike, grad_z: ArrayLike | None, grad_log_det: ArrayLike | None, context: None = None
    ) -> tuple[Floats, Floats]: ...
    @overload
    def inverse_vjp(
        self, x: ArrayLike, grad_z: ArrayLike | None, grad_log_det: ArrayLike | None, context: ArrayLike
    ) -> tuple[Floats, Floats, Floats]: ...
    def trace(self, z: ArrayLike, inverse: bool = False, context: ArrayLike | None = None) -> Floats: ...
    def _check_unused(self) -> None: ...
    def _initialize(self, seed: int, /) -> None: ...
    def _rebind(self, parameters: Floats, /) -> None: ...

class Flow(Transform):
    def log_prob(self, x: ArrayLike, context: ArrayLike | None = None) -> Floats: ...
    def nll(self, x: ArrayLike, context: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> float: ...
    def nll_and_grad(
        self, x: ArrayLike, context: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> tuple[float, Floats]: ...
    @overload
    def _sample(
        self, n: int, seed: int, context: ArrayLike | None, with_log_prob: Literal[True], /
    ) -> tuple[Floats, Floats]: ...
    @overload
    def _sample(
        self, n: int, seed: int, context: ArrayLike | None, with_log_prob: Literal[False], /
    ) -> tuple[Floats, None]: ...
    def _train(
        self,
        data: _Data,
        validation_data: _Data | None,
        options: dict[str, Any],
        history: dict[str, Any],
        callback: Callable[[int, float, float], bool] | None,
        state: npt.NDArray[np.uint8],
        stop: npt.NDArray[np.uint8] | None = None,
        /,
    ) -> None: ...
    def _train_state_size(self) -> int: ...

def incomplete_sums(
    x: Floats,
    share: Floats,
    log_weights: Floats,
    means: Floats,
    covariances: Floats,
    shares: Floats,
    shift: Floats,
    squares: Floats,
    /,
) -> float: ...
def em(
    x: Floats,
    weight: Floats | None,
    classes: Ints | None,
    log_weights: Floats | None,
    class_shares: Floats | None,
    weights: Floats,
    means: Floats,
    covariances: Floats,
    prior: tuple[object, ...],
    max_iter: int,
    tolerance: float,
    n_first: int = 0,
    /,
) -> float: ...
def em_log_prob(x: Floats, weights: Floats, means: Floats, covariances: Floats, /) -> Floats: ...
def em_sums(
    x: Floats,
    weights: Floats,
    means: Floats,
    covariances: Floats,
    shares: Floats,
    shift: Floats,
    products: Floats,
    /,
) -> float: ...
def em_step(
    n: int,
    is_single: bool,
    prior: tuple[object, ...],
    weights: Floats,
    means: Floats,
    covariances: Floats,
    shares: Floats,
    shift: Floats,
    products: Floats,
    /,
) -> None: ...
def covariances(squares: Floats, shares: Floats, prior: tuple[object, ...], /) -> None: ...
def factor_model(covariance: Floats, n_factors: int, /) -> Floats: ...
def find_shares(
    density: Floats, weight: Floats, n_steps: int, steps_to_drop: int, overshoot: float, negligible: float, shares: Floats, /
) -> None: ...
def kmeans(points: Floats, share: Floats, max_iter: int, centers: Floats, labels: Ints, /) -> None: ...
def add_center(points: Floats, share: Floats, uniforms: Floats, distances: Floats, /) -> int: ...
def cluster_moments(
    points: Floats, share: Floats, labels: Ints, shares: Floats, means: Floats, squares: Floats, /
) -> None: ...
def rosenblatt(
    backward: bool,
    points: Floats,
    given: Floats,
    log_weights: Floats,
    means: Floats,
    factors: Floats,
    found: Floats,
    log_det: Floats,
    /,
) -> None: ...
def normal_lines(
    starts: Ints,
    weights: Floats,
    means: Floats,
    stds: Floats,
    which: Ints,
    points: Floats,
    density: Floats,
    below: Floats,
    /,
) -> None: ...
def student_t(backward: bool, points: Floats, log_excess: Floats, found: Floats, log_det: Floats, /) -> None: ...
def adam_step(
    parameters: Floats,
    grad: Floats,
    m: Floats,
    v: Floats,
    step: int,
    learning_rate: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> None: ...
def count_parameters(description: ArrayLike) -> int: ...
