"""Many networks as one: the forward pass of a stack.

A hidden tensor is [trial, row, unit] with one row per example (mlp) or per example and position (cnn).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gradlab.engine.activations import Activation
from gradlab.engine.alignment import affine, aligned
from gradlab.engine.layout import LayerParameters, Shape
from gradlab.theory.meanfield import NORM_EPS

BATCH_NORM_MOMENTUM = 0.1


@dataclass(frozen=True)
class RunningMoments:
    """Running mean and variance of one batch-normalised layer, [trial, 1, unit]."""

    mean: Tensor
    variance: Tensor


@dataclass(frozen=True)
class HiddenLayer:
    """What a forward pass leaves of one hidden layer: z, phi's own input, h; all [trial, row, unit]."""

    preactivation: Tensor
    activation_input: Tensor
    activation: Tensor


@dataclass(frozen=True)
class Network:
    """The forward pass of a stack whose trials stand from the deepest to the shallowest.

    Attributes:
        counts: trials that have hidden layer l, for l = 1, 2, ...
        activations: each trial's activation.
    """

    shape: Shape
    counts: tuple[int, ...]
    activations: tuple[Activation, ...]

    def part(self, trials: slice) -> Network:
        """The network of some neighbouring trials of the stack."""
        start, stop, _ = trials.indices(len(self.activations))
        counts = tuple(min(count, stop) - start for count in self.counts if count > start)
        return Network(self.shape, counts, self.activations[trials])

    def running_moments(self, like: Tensor) -> list[RunningMoments]:
        """Batch normalisation's running moments at the start, empty where there is none."""
        if self.shape.norm != "batch":
            return []
        shapes = [(count, 1, self.shape.width) for count in self.counts]
        return [RunningMoments(like.new_zeros(shape), like.new_ones(shape)) for shape in shapes]

    def forward(
        self,
        layers: Sequence[LayerParameters],
        x: Tensor,
        moments: Sequence[RunningMoments],
        *,
        training: bool,
        exact: bool = False,
        visit: Callable[[int, HiddenLayer], Tensor] | None = None,
    ) -> Tensor:
        """Outputs [trial, example, output] for examples x [trial, example, feature or (channel, height, width)].

        In training, batch normalisation uses the batch's own moments and updates `moments` in place; otherwise it
        uses `moments`. With `exact`, gradients pass the activations by phi' taken from z, which keeps its digits
        where phi saturates, rather than by torch's formulas from phi(z). `visit(l, layer)` sees every hidden layer
        and returns the h that is passed on.
        """
        h = self._rows(x)
        finished = []
        for index, count in enumerate(self.counts):
            if count < h.shape[0]:
                finished.append(h[count:])
                h = h[:count]
            layer = layers[index]
            z = affine(layer.bias, self._fan_in_rows(h), layer.weight)
            u = self._normalised(z, layer, moments[index] if moments else None, training)
            a = self._activated(u, exact)
            h = h + a if self.shape.residual and index > 0 else a
            if visit is not None:
                h = visit(index + 1, HiddenLayer(z, u, h))
        top = torch.cat([h, *reversed(finished)]) if finished else h
        if self.shape.positions > 1:
            top = top.view(top.shape[0], -1, self.shape.positions, self.shape.width).mean(2)
        return affine(layers[-1].bias, top, layers[-1].weight)

    def runs(self, count: int) -> list[tuple[int, int, Activation]]:
        """The first `count` trials as runs (start, stop, activation) of equal activation."""
        runs, start = [], 0
        for _label, group in groupby(self.activations[:count], key=lambda activation: activation.label):
            members = list(group)
            runs.append((start, start + len(members), members[0]))
            start += len(members)
        return runs

    def by_activation(self, apply: Callable[[Activation, Tensor], Tensor], u: Tensor) -> Tensor:
        """`apply(activation, slice of u)` over the runs of equal activation, [trial, ...] like `u`."""
        runs = self.runs(u.shape[0])
        if len(runs) == 1:
            return apply(runs[0][2], u)
        return torch.cat([apply(activation, u[start:stop]) for start, stop, activation in runs])

    def _activated(self, u: Tensor, exact: bool) -> Tensor:
        def apply(activation: Activation, piece: Tensor) -> Tensor:
            if not exact:
                return aligned(activation.function, piece)
            passed: Tensor = ExactSlope.apply(piece, activation)  # type: ignore[no-untyped-call]
            return passed

        return self.by_activation(apply, u)

    def _rows(self, x: Tensor) -> Tensor:
        if self.shape.family == "mlp":
            return x.flatten(2)
        return x.permute(0, 1, 3, 4, 2).reshape(x.shape[0], -1, self.shape.in_features)

    def _fan_in_rows(self, h: Tensor) -> Tensor:
        """The inputs of a layer's units, [trial, row, fan_in]."""
        if self.shape.family == "mlp":
            return h
        patches: Tensor = Patches.apply(h, self.shape.image)  # type: ignore[no-untyped-call]
        return patches

    def _normalised(self, z: Tensor, layer: LayerParameters, moments: RunningMoments | None, training: bool) -> Tensor:
        if layer.gain is None or layer.shift is None:
            return z
        if moments is None:
            grouped = z.view(z.shape[0], -1, layer.gain.shape[-1])
            centred = F.layer_norm(grouped, grouped.shape[-1:], eps=NORM_EPS)
            return (centred * layer.gain + layer.shift).view(z.shape)
        if training:
            variance, mean = torch.var_mean(z, dim=1, correction=0, keepdim=True)
            _update(moments, mean.detach(), variance.detach(), z.shape[1])
        else:
            mean, variance = moments.mean, moments.variance
        return (z - mean) * torch.rsqrt(variance + NORM_EPS) * layer.gain + layer.shift


def _update(moments: RunningMoments, mean: Tensor, variance: Tensor, rows: int) -> None:
    """nn.BatchNorm's exponential average, of the unbiased variance."""
    moments.mean.mul_(1 - BATCH_NORM_MOMENTUM).add_(mean * BATCH_NORM_MOMENTUM)
    moments.variance.mul_(1 - BATCH_NORM_MOMENTUM).add_(variance * (BATCH_NORM_MOMENTUM * rows / (rows - 1)))


class ExactSlope(torch.autograd.Function):
    """An activation whose backward multiplies by `Activation.derivative`."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, activation: Activation) -> Tensor:
        """phi(u)."""
        ctx.save_for_backward(u)
        ctx.activation = activation
        return aligned(activation.function, u)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The signal times phi'(u)."""
        (u,) = ctx.saved_tensors
        return gradients[0] * aligned(ctx.activation.derivative, u), None


def neighbours(h: Tensor, image: tuple[int, int]) -> Tensor:
    """Every position's 3 x 3 neighbourhood, zeros beyond the border.

    [trial, example * height * width, channel] -> [trial, example * height * width, 9 * channel], the order of
    `weight.permute(0, 2, 3, 1)`: row, column, channel.
    """
    height, width = image
    trials, rows, channels = h.shape
    framed = F.pad(h.view(trials, -1, height, width, channels), (0, 0, 1, 1, 1, 1))
    by_trial, by_example, by_line, by_column, _ = framed.stride()
    # The three columns of a neighbourhood lie side by side in memory, so that three runs are copied, not nine pieces.
    shape = (trials, framed.shape[1], height, width, 3, 3 * channels)
    return framed.as_strided(shape, (by_trial, by_example, by_line, by_column, by_line, 1)).reshape(trials, rows, -1)


class Patches(torch.autograd.Function):
    """`neighbours` with its adjoint written out: nine additions instead of nine padded copies."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, image: tuple[int, int]) -> Tensor:
        """See `neighbours`."""
        ctx.image = image
        return neighbours(h, image)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Each neighbourhood's gradients added back where they came from."""
        (gradient,) = gradients
        height, width = ctx.image
        trials, rows, fan_in = gradient.shape
        pieces = gradient.view(trials, -1, height, width, 9, fan_in // 9)
        framed = gradient.new_zeros(trials, pieces.shape[1], height + 2, width + 2, fan_in // 9)
        for tap in range(9):
            dy, dx = divmod(tap, 3)
            framed[:, :, dy : dy + height, dx : dx + width] += pieces[..., tap, :]
        return framed[:, :, 1 : height + 1, 1 : width + 1].reshape(trials, rows, fan_in // 9), None
