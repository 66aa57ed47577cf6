"""Between PyTorch's tensors and NumPy's arrays, with checks."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nvpflow._typing import FloatDType, Floats
from nvpflow._validation.arguments import shown

__all__ = ["as_floats", "check_place", "check_tensor", "draw_seed", "flat", "torch_dtype"]


def torch_dtype(dtype: FloatDType) -> torch.dtype:
    """The same dtype in PyTorch."""
    return torch.float64 if dtype.itemsize == 8 else torch.float32


def check_tensor(name: str, tensor: object, dtype: FloatDType | None, columns: int) -> torch.Tensor:
    """Return `tensor`, which must be dense, on the CPU, of that dtype (None: any real one) and of shape (n, columns)."""
    tensor = check_place(name, tensor)
    if tensor.dtype != torch_dtype(dtype) if dtype is not None else tensor.is_complex():
        expected = "real numbers" if dtype is None else f"{torch_dtype(dtype)}, the dtype of the flow"
        raise TypeError(f"{name} must hold {expected}, got {tensor.dtype}")
    if tensor.dim() != 2 or tensor.shape[1] != columns:
        raise ValueError(f"{name} must have shape (n, {columns}), got {tuple(tensor.shape)}")
    return tensor


def check_place(name: str, tensor: object) -> torch.Tensor:
    """Return `tensor`, which must be dense and on the CPU."""
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {shown(tensor)}")
    if tensor.device.type != "cpu" or tensor.layout != torch.strided:
        where = f"on {tensor.device}" if tensor.device.type != "cpu" else f"of layout {tensor.layout}"
        raise TypeError(f"{name} must be a dense tensor on the CPU, where nvpflow computes, got one {where}")
    return tensor


def as_floats(name: str, tensor: object, columns: int) -> Floats:
    """The values (n, columns) of a tensor of real numbers, for methods without gradients.

    The caller must not need its gradient, so one that is part of a graph is an error.
    """
    checked = check_tensor(name, tensor, None, columns)
    if checked.requires_grad and torch.is_grad_enabled():
        raise TypeError(f"{name} must not require gradients, which are not available here: use {name}.detach()")
    # NumPy has no bfloat16.
    found: Floats = checked.detach().to(torch.float32 if checked.dtype == torch.bfloat16 else checked.dtype).numpy()
    return found


def draw_seed(generator: torch.Generator | None = None) -> int:
    """A seed for NumPy or the core from PyTorch's generator, so that `torch.manual_seed` makes samples repeatable."""
    return int(torch.randint(2**63 - 1, (), generator=generator))


def flat(tensor: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Broadcast points (..., D) to (*shape, D), as rows (n, D)."""
    return tensor.expand(*shape, tensor.shape[-1]).reshape(-1, tensor.shape[-1])
