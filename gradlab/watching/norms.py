"""Norms and counts of the training's own tensors, cheap enough for a running training."""

from __future__ import annotations

import torch
from torch import Tensor

from gradlab.engine.measure import scaled_norm

_LEAST, _GREATEST = 1e-15, 1e18
"""Between these a norm is right in float32: the squares that underflow or overflow on the way don't count."""

_PIECE = 4096
"""Entries whose squares are added in float32: of a million equal ones the norm is wrong by 4e-4, of these by 2e-6."""


def plain(tensor: Tensor) -> Tensor:
    """The numbers of a tensor, dense, without history, in float32 or float64."""
    tensor = tensor.detach()
    if tensor.layout != torch.strided:
        tensor = tensor.coalesce().values() if tensor.is_sparse else tensor.to_dense()
    return tensor.float() if tensor.dtype in {torch.float16, torch.bfloat16} else tensor


def norm(tensor: Tensor) -> Tensor:
    """The Euclidean norm of all entries, a float64 scalar on the tensor's device; right from 1e-300 to 1e300.

    Nothing is synchronised on an accelerator: there the squares are added in float64 at once. On the CPU that is
    done only where float32 isn't enough, since it takes ten times as long.
    """
    values = plain(tensor)
    if values.dtype == torch.float64:
        return scaled_norm(values.reshape(1, -1))[0] if values.numel() else values.sum()
    if values.device.type == "cpu":
        quick = _quick_norm(values)
        if _LEAST < float(quick) < _GREATEST:
            return quick
    exact: Tensor = torch.linalg.vector_norm(values, dtype=torch.float64)
    return exact


def _quick_norm(values: Tensor) -> Tensor:
    """The norm of float32 entries, at the speed of float32: in float64 over pieces."""
    if values.numel() <= 4 * _PIECE:
        small: Tensor = torch.linalg.vector_norm(values).double()
        return small
    by_memory = sorted(range(values.ndim), key=values.stride, reverse=True)
    flat = values.permute(by_memory).reshape(-1)
    whole = flat.numel() // _PIECE * _PIECE
    pieces = torch.linalg.vector_norm(flat[:whole].view(-1, _PIECE), dim=1)
    rest = torch.linalg.vector_norm(flat[whole:])
    both: Tensor = torch.linalg.vector_norm(torch.cat([pieces, rest[None]]), dtype=torch.float64)
    return both


def not_finite(tensor: Tensor, its_norm: Tensor) -> Tensor:
    """How many entries are NaN or infinite, a float64 scalar."""
    if its_norm.device.type == "cpu" and bool(torch.isfinite(its_norm)):
        return torch.zeros((), dtype=torch.float64)
    return (~torch.isfinite(plain(tensor))).sum().double()


def total(norms: list[Tensor]) -> Tensor | None:
    """The norm of several pieces from theirs, None of none."""
    if not norms:
        return None
    return scaled_norm(torch.stack([one.to(norms[0].device) for one in norms])[None])[0]
