"""Telling one draw of random weights from another, whatever their scale."""

from __future__ import annotations

import torch
from torch import Tensor


def weight_print(weight: Tensor) -> Tensor:
    """A number that identifies how a layer's weights were drawn, [trial], float64, from weights [trial, ...].

    The projection of the weights on one fixed random direction, over their norm: about a standard normal number for
    independent draws, and the same number for the same draw times any gain. NaN where all weights are 0.
    """
    flat = weight.detach().flatten(1).double()
    direction = torch.randn(flat.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    unit = flat.abs().amax(1, keepdim=True)
    scaled = flat / unit
    # Added up row by row: a matrix-vector product would round otherwise with more trials beside.
    prints: Tensor = (scaled * direction.to(flat.device)).sum(1) / torch.linalg.vector_norm(scaled, dim=1)
    return prints
