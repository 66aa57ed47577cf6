"""The options of `Flow.fit` as one record: names, defaults and allowed values."""

from collections.abc import Mapping
from dataclasses import Field, dataclass, fields, replace
from typing import Annotated, Any, Self, get_origin

from nvpflow._sklearn.parameters import Check, allowed
from nvpflow._typing import ArrayLike, Callback, FloatDType, Schedule, Seed
from nvpflow._validation.arguments import (
    check_callback,
    check_choice,
    check_int,
    check_random_state,
    check_real,
    check_warmup,
    draw_seeds,
    shown,
)
from nvpflow.optim import TrainingState

__all__ = ["TrainingOptions"]


def _check_callback(name: str, value: Callback | None) -> Callback | None:
    check_callback(value)
    return value


def _check_state(name: str, value: object) -> TrainingState:
    if not isinstance(value, TrainingState):
        raise TypeError(f"{name} must be a TrainingState, got {shown(value)}")
    return value


def _check_of(option: Field[Any]) -> Check:
    annotation: Any = option.type
    check: Check = annotation.__metadata__[0]
    return check


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The options of `Flow.fit`, which documents them."""

    max_iter: Annotated[int, allowed(check_int, 0)] = 1000
    batch_size: Annotated[int | None, allowed(check_int, 1, or_none=True)] = None
    learning_rate: Annotated[float, allowed(check_real, 0, low_open=True, in_dtype=True)] = 1e-3
    schedule: Annotated[Schedule, allowed(check_choice, ("constant", "cosine"))] = "constant"
    final_fraction: Annotated[float, allowed(check_real, 0, 1)] = 0.0
    warmup: Annotated[float, allowed(check_warmup)] = 0
    max_grad_norm: Annotated[float | None, allowed(check_real, 0, low_open=True, or_none=True, in_dtype=True)] = None
    weight_decay: Annotated[float, allowed(check_real, 0, in_dtype=True)] = 0.0
    average: Annotated[float, allowed(check_real, 0, 1)] = 0.0
    noise: ArrayLike | None = None  # checked by the flow, like the validation data
    validation_data: ArrayLike | tuple[ArrayLike | None, ...] | None = None
    validate_every: Annotated[int, allowed(check_int, 1)] = 1
    n_iter_no_change: Annotated[int | None, allowed(check_int, 1, or_none=True)] = None
    tol: Annotated[float, allowed(check_real, 0, in_dtype=True)] = 0.0
    random_state: Annotated[Seed, allowed(check_random_state)] = None
    callback: Annotated[Callback | None, allowed(_check_callback)] = None
    pause_after: Annotated[int | None, allowed(check_int, 1, or_none=True)] = None
    state: Annotated[TrainingState | None, allowed(_check_state, or_none=True)] = None

    @classmethod
    def among(cls, arguments: Mapping[str, Any]) -> Self:
        """Select the options from the arguments of a function, which must include all of them."""
        return cls(**{option.name: arguments[option.name] for option in fields(cls)})

    def checked(self, dtype: FloatDType) -> Self:
        """Check the options for a flow of this dtype. Return the values to use, or raise the error of the first bad one."""
        checks = {option.name: _check_of(option) for option in fields(self) if get_origin(option.type) is Annotated}
        return replace(self, **{name: check(name, getattr(self, name), dtype) for name, check in checks.items()})

    def for_core(self, n: int) -> dict[str, Any]:
        """Convert checked options to arguments of ``_core.Flow._train``, for n samples. Draws the seed."""
        values = dict(vars(self))
        for name in ("validation_data", "random_state", "callback", "state"):
            del values[name]
        (values["seed"],) = draw_seeds(self.random_state, 1)
        values["warmup"] = self._warmup_steps(n)
        return values

    def _warmup_steps(self, n: int) -> int:
        """The number of warmup steps. A float is a share of all steps."""
        if not isinstance(self.warmup, float):
            return self.warmup
        n_steps = self.max_iter * -(-n // (self.batch_size or n))
        return round(self.warmup * n_steps)
