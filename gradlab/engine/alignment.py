"""Kernels with the same bits for a trial wherever it stands in a stack, and however many others there are."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

ALIGNMENT = 64
"""Elements; a multiple of what torch's vectorised kernels take at once, on every processor it supports."""


def settle() -> None:
    """One thread, and products whose bits don't depend on where in memory a matrix stands; before any product is made.

    On some processors MKL takes other kernels for small matrices that don't start on a multiple of 16 bytes, as every
    other trial's in a stack, unless it is told to keep to one ("conditional numerical reproducibility" in its manual).
    """
    torch.set_num_threads(1)
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")


def padded(size: int) -> int:
    """`size` rounded up to a multiple of `ALIGNMENT`."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def aligned(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """`function(*tensors)` for an elementwise function of tensors [trial, ...] of equal shape.

    The last elements of a buffer that don't fill a vector go through a scalar kernel, which rounds differently.
    Which trial they belong to depends on the stack, unless every trial's slab fills whole vectors: so slabs that
    don't are padded for the call.
    """
    shape = tensors[0].shape
    size = shape[1:].numel()
    if size % ALIGNMENT == 0:
        return function(*(tensor.contiguous() for tensor in tensors))
    flat = (F.pad(tensor.reshape(shape[0], size), (0, padded(size) - size)) for tensor in tensors)
    return function(*flat)[:, :size].reshape(shape)


def affine(bias: Tensor, rows: Tensor, weight: Tensor) -> Tensor:
    """bias + rows @ weight for every trial: [trial, 1, out], [trial, row, in], [trial, in, out] -> [trial, row, out].

    A batched product gives each slice the same bits in every stack of two or more. A stack of one goes through
    another kernel where the product is a matrix times a vector or an outer product, here or on the way back; such
    a product is cheap, and is made with a copy of itself beside it.
    """
    alone = rows.shape[0] == 1 and 1 in (rows.shape[1], *weight.shape[1:])
    if alone:
        bias, rows, weight = (torch.cat([tensor, tensor]) for tensor in (bias, rows, weight))
    product = torch.baddbmm(bias, rows, weight)
    return product[:1] if alone else product
