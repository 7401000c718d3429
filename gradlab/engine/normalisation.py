"""Batch and layer normalisation of a stack's hidden layers, forward and back, written out.

A hidden tensor is [trial, row, unit], one row per example (mlp) or per example and position (cnn). `nn.BatchNorm1d/2d`
normalises each unit over all rows, `nn.LayerNorm` each example over its units (and positions).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gradlab.engine.layout import LayerParameters
from gradlab.theory.meanfield import NORM_EPS

BATCH_NORM_MOMENTUM = 0.1


@dataclass(frozen=True)
class RunningMoments:
    """Running mean and variance of one batch-normalised layer, [trial, 1, unit]."""

    mean: Tensor
    variance: Tensor

    def of(self, trials: Sequence[int]) -> RunningMoments:
        """A copy of those of some trials."""
        return RunningMoments(self.mean[list(trials)], self.variance[list(trials)])

    @classmethod
    def joined(cls, pieces: Sequence[RunningMoments]) -> RunningMoments:
        """A copy of those of all trials, one piece after the other."""
        return cls(torch.cat([piece.mean for piece in pieces]), torch.cat([piece.variance for piece in pieces]))

    def between(self, trials: slice) -> RunningMoments:
        """Views of those of neighbouring trials; fewer where not all of them have the layer."""
        return RunningMoments(self.mean[trials], self.variance[trials])

    def double(self) -> RunningMoments:
        """In float64."""
        return RunningMoments(self.mean.double(), self.variance.double())

    def update(self, seen: RunningMoments, rows: int) -> None:
        """nn.BatchNorm's exponential average, of the unbiased variance of a batch of so many rows."""
        self.mean.mul_(1 - BATCH_NORM_MOMENTUM).add_(seen.mean * BATCH_NORM_MOMENTUM)
        self.variance.mul_(1 - BATCH_NORM_MOMENTUM).add_(seen.variance * (BATCH_NORM_MOMENTUM * rows / (rows - 1)))


@dataclass(frozen=True)
class Normalised:
    """What the way back needs of a normalised layer.

    Attributes:
        centred: (z - mean) / deviation, [trial, group, element]: what is normalised together lies along the second
            dimension (batch) or the third (layer).
        inverse_deviation: 1 / deviation, broadcast over `centred`.
        moments: of the batch; None for layer normalisation.
    """

    centred: Tensor
    inverse_deviation: Tensor
    moments: RunningMoments | None

    def least_deviation(self) -> Tensor:
        """The least that anything of a trial was divided by, [trial]."""
        greatest: Tensor = self.inverse_deviation.amax((1, 2))
        return greatest.reciprocal()


def normalise(z: Tensor, layer: LayerParameters, moments: RunningMoments | None, kind: str, out: Tensor) -> Normalised:
    """Write norm(z) into `out`, both [trial, row, unit]; z is used up.

    Args:
        moments: to normalise by instead of the batch's own; None in training and for layer normalisation.
        kind: layer or batch.
    """
    if layer.gain is None or layer.shift is None:
        raise ValueError("a layer without gain and shift is not normalised")
    seen = moments
    if kind == "layer":
        elements = layer.gain.shape[-1]
        grouped = z.view(z.shape[0], -1, elements)
        centred, _, inverse_deviation = torch.native_layer_norm(grouped, [elements], None, None, NORM_EPS)
    else:
        if moments is None:
            mean = z.mean(1, keepdim=True)
            variance = torch.sub(z, mean, out=out).square_().mean(1, keepdim=True)
            seen = RunningMoments(mean, variance)
        else:
            mean, variance = moments.mean, moments.variance
        inverse_deviation = torch.rsqrt(variance + NORM_EPS)
        centred = z.sub_(mean).mul_(inverse_deviation)
    # A variance beyond float32 leaves zeros forward, and nothing that is a number on the way back, as in torch.
    inverse_deviation = inverse_deviation.masked_fill(inverse_deviation == 0, math.nan)
    torch.mul(centred, layer.gain, out=out.view(centred.shape)).add_(layer.shift)
    return Normalised(centred, inverse_deviation, seen)


def normalise_back(signal: Tensor, layer: LayerParameters, seen: Normalised, into: LayerParameters) -> None:
    """Turn d loss / d norm(z) into d loss / d z, in place, [trial, row, unit]; write the gradients of gain and shift.

    In training, when a batch is normalised by its own moments.
    """
    if layer.gain is None or into.gain is None or into.shift is None:
        raise ValueError("a layer without gain and shift is not normalised")
    grouped, centred = signal.view(seen.centred.shape), seen.centred
    product = grouped * centred
    into.gain.copy_(product.sum(1, keepdim=True))
    into.shift.copy_(grouped.sum(1, keepdim=True))
    grouped.mul_(layer.gain)
    along = 1 if seen.moments is not None else 2
    count = grouped.shape[along]
    mean = grouped.sum(along, keepdim=True) / count
    torch.mul(grouped, centred, out=product)
    slope = product.sum(along, keepdim=True) / count
    grouped.sub_(mean).sub_(torch.mul(centred, slope, out=product)).mul_(seen.inverse_deviation)
