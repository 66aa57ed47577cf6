"""Types of public signatures."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt


class SupportsDLPack(Protocol):
    """An object that `numpy.from_dlpack` can read."""

    def __dlpack__(self, *, stream: None = ...) -> Any: ...


# NumPy's ArrayLike includes frames and tensors, which have `__array__`.
ArrayLike: TypeAlias = npt.ArrayLike | SupportsDLPack
Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Ints: TypeAlias = npt.NDArray[np.integer[Any]]
Bools: TypeAlias = npt.NDArray[np.bool_]
Names: TypeAlias = npt.NDArray[np.object_]  # of str
FloatDType: TypeAlias = np.dtype[np.floating[Any]]
DTypeLike: TypeAlias = npt.DTypeLike
PathLike: TypeAlias = str | os.PathLike[str]
AnyPath: TypeAlias = PathLike | bytes | os.PathLike[bytes]


class BinaryReader(Protocol):
    """A file object to read bytes from."""

    def read(self) -> bytes: ...


class BinaryWriter(Protocol):
    """A file object to write bytes to."""

    def write(self, content: memoryview, /) -> object: ...


# A string, because NumPy imports numpy.random only at first use: that takes a sixth of the time of importing NumPy.
Seed: TypeAlias = "int | np.integer[Any] | np.random.SeedSequence | np.random.Generator | np.random.RandomState | None"

Activation: TypeAlias = Literal["relu", "tanh", "silu"]
Scale: TypeAlias = Literal["exp", "tanh"]
CouplingKind: TypeAlias = Literal["spline", "affine", "additive"]
Base: TypeAlias = Literal["auto", "normal", "mixture", "student_t"]
ConstantColumns: TypeAlias = Literal["error", "narrow"]
Latent: TypeAlias = Literal["base", "normal"]
Missing: TypeAlias = Literal["error", "marginalize"]
Schedule: TypeAlias = Literal["constant", "cosine"]
BatchSize: TypeAlias = int | Literal["auto"] | None


class History(TypedDict, total=False):
    """The training curves. Those of the validation exist only if there is validation data."""

    train_nll: Floats  # one entry per epoch
    member: Ints  # of an ensemble: the member of each epoch, from 0
    validation_epoch: Ints
    validation_nll: Floats  # one entry for each of `validation_epoch`


class Search(TypedDict):
    """The candidates of a search for a density, one entry for each in every array."""

    candidate: npt.NDArray[np.str_]
    score: Floats
    validation_score: Floats
    weight: Floats


# Called by training with (epoch, train_nll, validation_nll). The return value is ignored.
Callback: TypeAlias = Callable[[int, float, float], object]
