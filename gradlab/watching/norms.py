"""Norms and counts of the training's own tensors, cheap enough for a running training."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_RANGES = {torch.float32: (1e-15, 1e18), torch.float64: (1e-145, 1e150)}
"""Where a norm is right in its own precision: the squares that underflow or overflow on the way don't count."""

_PIECE = 4096
"""Entries whose squares are added in float32: of a million equal ones the norm is wrong by 4e-4, of these by 2e-6."""


def plain(tensor: Tensor) -> Tensor:
    """The numbers of a tensor, dense, without history, in float32 or float64; of complex ones, both parts."""
    tensor = tensor.detach()
    if tensor.layout != torch.strided:
        tensor = tensor.coalesce().values() if tensor.is_sparse else tensor.to_dense()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return tensor if tensor.dtype in _RANGES else tensor.float()


def norm(tensor: Tensor) -> Tensor:
    """The Euclidean norm of all entries, a float64 scalar on the tensor's device; right from 1e-300 to 1e300.

    Nothing is synchronised on an accelerator: there the squares are added in float64 at once. On the CPU that is
    done only where float32 isn't enough, since it takes ten times as long.
    """
    values = plain(tensor)
    if values.numel() == 0:
        return values.sum().double()
    if values.device.type == "cpu":
        quick = _quick_norm(values)
        least, greatest = _RANGES[values.dtype]
        if least < float(quick) < greatest:
            return quick
    return _scaled_norm(values) if values.dtype == torch.float64 else _double_norm(values)


def _quick_norm(values: Tensor) -> Tensor:
    """The norm in the entries' own precision, in float64 over pieces."""
    if values.numel() <= 4 * _PIECE or values.dtype == torch.float64:
        at_once: Tensor = torch.linalg.vector_norm(values)
        return at_once.double()
    by_memory = sorted(range(values.ndim), key=values.stride, reverse=True)
    flat = values.permute(by_memory).reshape(-1)
    whole = flat.numel() // _PIECE * _PIECE
    pieces = torch.linalg.vector_norm(flat[:whole].view(-1, _PIECE), dim=1)
    rest = torch.linalg.vector_norm(flat[whole:])
    return _double_norm(torch.cat([pieces, rest[None]]))


def _double_norm(values: Tensor) -> Tensor:
    squares_in_float64: Tensor = torch.linalg.vector_norm(values, dtype=torch.float64)
    return squares_in_float64


def _scaled_norm(values: Tensor) -> Tensor:
    """The norm of float64 entries whose squares would underflow or overflow."""
    greatest = torch.linalg.vector_norm(values, ord=math.inf)
    unit = torch.where((greatest > 0) & torch.isfinite(greatest), greatest, 1.0)
    whole: Tensor = torch.linalg.vector_norm(values / unit) * unit
    return whole


def not_finite(tensor: Tensor, its_norm: Tensor) -> Tensor:
    """How many entries are NaN or infinite, a float64 scalar."""
    if its_norm.device.type == "cpu" and math.isfinite(float(its_norm)):
        return torch.zeros((), dtype=torch.float64)
    return (~torch.isfinite(plain(tensor))).sum().double()


def total(norms: list[Tensor]) -> Tensor | None:
    """The norm of several pieces from theirs, None of none; nothing is synchronised."""
    if len(norms) < 2:
        return norms[0] if norms else None
    return _scaled_norm(torch.stack([one.to(norms[0].device) for one in norms]))
