"""Activations as training computes them: in place where that loses nothing, and on the way back without a graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from gradlab.engine.alignment import Call, aligned_into, fills_vectors

_aten = torch.ops.aten


@dataclass(frozen=True)
class Kernel:
    """How phi(z) is computed into a buffer, and how a signal passes phi on the way back.

    Attributes:
        forward: (z, out): writes phi(z) into `out`, which may be z.
        backward: (signal, kept): multiplies the signal by phi'(z) in place; `kept` is phi(z), or z if `keeps_z`.
        keeps_z: whether the way back needs z; otherwise phi(z) may take its place.
        even: whether the last elements of a buffer, which go through scalar code, are rounded as the others are.
        kinks: where phi' jumps; None if that is not known.
        piecewise_linear: whether phi' is constant between the kinks, so that float32 knows it exactly.
    """

    forward: Callable[[Tensor, Tensor], object]
    backward: Callable[[Tensor, Tensor], object]
    keeps_z: bool = False
    even: bool = False
    kinks: tuple[float, ...] | None = ()
    piecewise_linear: bool = False

    def apply(self, z: Tensor, out: Tensor) -> Call:
        """phi(z) into `out`, [trial, row, unit] both, once it is called; `out` may be z."""
        if self.even or fills_vectors(z):
            return partial(self.forward, z, out)
        return partial(aligned_into, self.forward, out, z)

    def pass_back(self, signal: Tensor, kept: Tensor) -> Call:
        """The signal times phi', in place, [trial, row, unit] both, likewise."""
        if self.even or fills_vectors(signal):
            return partial(self.backward, signal, kept)
        return partial(aligned_into, lambda kept, signal: self.backward(signal, kept), signal, kept)


def linear() -> Kernel:
    """z itself."""

    def forward(z: Tensor, out: Tensor) -> None:
        if out is not z:
            out.copy_(z)

    return Kernel(forward, lambda signal, kept: None, even=True, piecewise_linear=True)


def relu() -> Kernel:
    """max(z, 0)."""
    return Kernel(
        lambda z, out: torch.clamp_min(z, 0.0, out=out),
        lambda signal, h: _aten.threshold_backward.grad_input(signal, h, 0.0, grad_input=signal),
        even=True,
        kinks=(0.0,),
        piecewise_linear=True,
    )


def leaky_relu(slope: float) -> Kernel:
    """z for z > 0, else slope z."""
    told_by_h = slope >= 0
    return Kernel(
        lambda z, out: _aten.leaky_relu.out(z, slope, out=out),
        lambda signal, kept: _aten.leaky_relu_backward.grad_input(signal, kept, slope, told_by_h, grad_input=signal),
        keeps_z=not told_by_h,
        even=True,
        kinks=(0.0,),
        piecewise_linear=True,
    )


def hardtanh(low: float, high: float) -> Kernel:
    """z between `low` and `high`, which it doesn't leave."""
    return Kernel(
        lambda z, out: _aten.hardtanh.out(z, low, high, out=out),
        lambda signal, h: _aten.hardtanh_backward.grad_input(signal, h, low, high, grad_input=signal),
        even=True,
        kinks=(low, high),
        piecewise_linear=True,
    )


def sigmoid() -> Kernel:
    """1 / (1 + exp(-z))."""
    return Kernel(
        lambda z, out: torch.sigmoid(z, out=out),
        lambda signal, h: _aten.sigmoid_backward.grad_input(signal, h, grad_input=signal),
    )


def tanh() -> Kernel:
    """tanh(z)."""
    return Kernel(
        lambda z, out: torch.tanh(z, out=out),
        lambda signal, h: _aten.tanh_backward.grad_input(signal, h, grad_input=signal),
    )


def elu(alpha: float, scale: float = 1.0) -> Kernel:
    """scale z for z > 0, else scale alpha (exp(z) - 1)."""
    return Kernel(
        lambda z, out: _aten.elu.out(z, alpha, scale, 1.0, out=out),
        lambda signal, z: _aten.elu_backward.grad_input(signal, alpha, scale, 1.0, False, z, grad_input=signal),
        # phi(z) would tell the slope, too, but not where it is small: torch takes it from z.
        keeps_z=True,
        kinks=() if alpha == 1 else (0.0,),
    )


def gelu() -> Kernel:
    """z Phi(z)."""
    return Kernel(
        lambda z, out: _aten.gelu.out(z, out=out),
        lambda signal, z: _aten.gelu_backward.grad_input(signal, z, grad_input=signal),
        keeps_z=True,
    )


def silu() -> Kernel:
    """z sigmoid(z)."""
    return Kernel(
        lambda z, out: _aten.silu.out(z, out=out),
        lambda signal, z: _aten.silu_backward.grad_input(signal, z, grad_input=signal),
        keeps_z=True,
    )


def softplus(beta: float, threshold: float = 20.0) -> Kernel:
    """log(1 + exp(beta z)) / beta; torch takes z itself beyond `threshold` / beta."""
    return Kernel(
        lambda z, out: _aten.softplus.out(z, beta, threshold, out=out),
        lambda signal, z: _aten.softplus_backward.grad_input(signal, z, beta, threshold, grad_input=signal),
        keeps_z=True,
    )


def of_function(function: Callable[[Tensor], Tensor]) -> Kernel:
    """An elementwise function that autograd can differentiate."""

    def forward(z: Tensor, out: Tensor) -> None:
        with torch.no_grad():
            out.copy_(function(z))

    def backward(signal: Tensor, z: Tensor) -> None:
        with torch.enable_grad():
            leaf = z.detach().requires_grad_()
            (passed,) = torch.autograd.grad(function(leaf), leaf, signal.clone())
        signal.copy_(passed)

    return Kernel(forward, backward, keeps_z=True, kinks=None)


def exactly(kernel: Kernel, derivative: Callable[[Tensor], Tensor]) -> Kernel:
    """The same function with a derivative from z itself, which keeps its digits where phi saturates."""
    return Kernel(kernel.forward, lambda signal, z: signal.mul_(derivative(z)), keeps_z=True)
