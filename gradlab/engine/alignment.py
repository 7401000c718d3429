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


def aligned_into(function: Callable[..., object], out: Tensor, *tensors: Tensor) -> None:
    """`function(*tensors, out)` for an elementwise function that writes into its last argument, which it may also read.

    `out` [trial, ...], of the tensors' shape, may be one of them; see `aligned`.
    """
    size = out.shape[1:].numel()
    if size % ALIGNMENT == 0:
        function(*tensors, out)
        return
    rows = len(out)
    filled = [F.pad(tensor.reshape(rows, size), (0, padded(size) - size)) for tensor in (*tensors, out)]
    function(*filled)
    out.copy_(filled[-1][:, :size].view(out.shape))


def affine_into(out: Tensor, bias: Tensor, left: Tensor, right: Tensor) -> None:
    """out = bias + left @ right for every trial, like `product_into`; `out` has no gaps.

    Args:
        bias: of every column, [trial, 1, column], or of every row, [trial, row, 1].
    """
    if _is_degenerate(left, right):
        out.copy_(torch.baddbmm(_twice(bias), _twice(left), _twice(right))[:1])
    else:
        torch.baddbmm(bias, left, right, out=out)


def product_into(out: Tensor, left: Tensor, right: Tensor) -> None:
    """left @ right for every trial, [trial, row, inner] and [trial, inner, column].

    A batched product gives each slice the same bits in every stack of two or more. A stack of one goes through
    another kernel where the product is a matrix times a vector or an outer product; such a product is cheap, and is
    made with a copy of itself beside it. So does an `out` with gaps, which therefore gets a copy.
    """
    if _is_degenerate(left, right):
        out.copy_(torch.bmm(_twice(left), _twice(right))[:1])
    elif _has_gaps(out):
        out.copy_(torch.bmm(left, right))
    else:
        torch.bmm(left, right, out=out)


def add_product(out: Tensor, left: Tensor, right: Tensor) -> None:
    """out += left @ right for every trial, like `product_into`; `out` is contiguous."""
    if _is_degenerate(left, right):
        out.copy_(torch.baddbmm(_twice(out), _twice(left), _twice(right))[:1])
    else:
        torch.baddbmm(out, left, right, out=out)


def _twice(tensor: Tensor) -> Tensor:
    """A view: a copy could lie otherwise in memory, transposed or not, which chooses the kernel."""
    return tensor.expand(2, -1, -1)


def _is_degenerate(left: Tensor, right: Tensor) -> bool:
    return left.shape[0] == 1 and 1 in (*left.shape[1:], right.shape[2])


def _has_gaps(out: Tensor) -> bool:
    return out.stride(0) != out.shape[1:].numel()
