"""Kernels with the same bits for a trial wherever it stands in a stack, and however many others there are."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

ALIGNMENT = 64
"""Elements; a multiple of what torch's vectorised kernels take at once, on every processor it supports."""

Call: TypeAlias = Callable[[], object]
"""Something that is computed step after step, bound to its tensors once: calling an operator costs time, too."""


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


def fills_vectors(tensor: Tensor) -> bool:
    """Whether every trial's slab of a tensor [trial, ...] fills whole vectors."""
    return tensor.shape[1:].numel() % ALIGNMENT == 0


def aligned(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """`function(*tensors)` for an elementwise function of tensors [trial, ...] of equal shape.

    The last elements of a buffer that don't fill a vector go through a scalar kernel, which rounds differently.
    Which trial they belong to depends on the stack, unless every trial's slab fills whole vectors: so slabs that
    don't are padded for the call.
    """
    if fills_vectors(tensors[0]):
        return function(*(tensor.contiguous() for tensor in tensors))
    shape = tensors[0].shape
    size = shape[1:].numel()
    flat = (F.pad(tensor.reshape(shape[0], size), (0, padded(size) - size)) for tensor in tensors)
    return function(*flat)[:, :size].reshape(shape)


def aligned_into(function: Callable[..., object], out: Tensor, *tensors: Tensor) -> None:
    """`function(*tensors, out)` for an elementwise function that writes into its last argument, which it may also read.

    `out` [trial, ...], of the tensors' shape, may be one of them; see `aligned`.
    """
    if fills_vectors(out):
        function(*tensors, out)
        return
    rows, size = len(out), out.shape[1:].numel()
    filled = [F.pad(tensor.reshape(rows, size), (0, padded(size) - size)) for tensor in (*tensors, out)]
    function(*filled)
    out.copy_(filled[-1][:, :size].view(out.shape))


def affine(out: Tensor, bias: Tensor, left: Tensor, right: Tensor) -> Call:
    """out = bias + left @ right for every trial, like `product`; `out` has no gaps.

    Args:
        bias: of every column, [trial, 1, column], or of every row, [trial, row, 1].
    """
    if _is_degenerate(left, right):
        pair = _twice(bias), _twice(left), _twice(right)
        return lambda: out.copy_(torch.baddbmm(*pair)[:1])
    return partial(torch.baddbmm, bias, left, right, out=out)


def product(out: Tensor, left: Tensor, right: Tensor) -> Call:
    """out = left @ right for every trial, [trial, row, inner] and [trial, inner, column], to be called when it is due.

    A batched product gives each slice the same bits in every stack of two or more. A stack of one goes through
    another kernel where the product is a matrix times a vector or an outer product; such a product is cheap, and is
    made with a copy of itself beside it. So does an `out` with gaps, which therefore gets a copy.
    """
    if _is_degenerate(left, right):
        pair = _twice(left), _twice(right)
        return lambda: out.copy_(torch.bmm(*pair)[:1])
    if _has_gaps(out):
        return lambda: out.copy_(torch.bmm(left, right))
    return partial(torch.bmm, left, right, out=out)


def added_product(out: Tensor, left: Tensor, right: Tensor) -> Call:
    """out += left @ right for every trial, like `product`; `out` is contiguous."""
    return affine(out, out, left, right)


def _twice(tensor: Tensor) -> Tensor:
    """A view: a copy could lie otherwise in memory, transposed or not, which chooses the kernel."""
    return tensor.expand(2, -1, -1)


def _is_degenerate(left: Tensor, right: Tensor) -> bool:
    return left.shape[0] == 1 and 1 in (*left.shape[1:], right.shape[2])


def _has_gaps(out: Tensor) -> bool:
    return out.stride(0) != out.shape[1:].numel()
