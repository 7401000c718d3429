"""Predictions against random networks in float64, with torch's own layers and autograd."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gradlab.theory.meanfield import InputMoments, Norm, predict
from gradlab.theory.moments import Nonlinearity
from gradlab.theory.variances import LayerLaw

DEPTH, SEEDS = 5, 3
WIDTH, FEATURES, EXAMPLES = 400, 300, 200
CNN_WIDTH, CHANNELS, CNN_EXAMPLES, IMAGE = 120, 8, 24, (4, 6)
SPREAD = 2.0
"""Var ln(delta_1^2 / delta_D^2) times width / depth: 5 for one example under relu (Hanin 2018), less over many."""
BORDER = 0.15
"""What the approximation behind batch norm, that examples part completely, costs at the borders of a small image."""

TORCH = {"relu": torch.relu, "tanh": torch.tanh, "softplus": nn.functional.softplus}
NUMPY = {
    "relu": Nonlinearity(lambda x: np.maximum(x, 0), lambda x: x > 0),
    "tanh": Nonlinearity(np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "softplus": Nonlinearity(lambda x: np.logaddexp(0, x), lambda x: 1 / (1 + np.exp(-x))),
}
LAWS = {"relu": LayerLaw(1.7, 0.2), "tanh": LayerLaw(2.0, 0.1), "softplus": LayerLaw(0.8, 0.3)}


def measured(
    activation: str, norm: Norm, residual: bool, image: tuple[int, int] | None, inputs: Tensor, seed: int
) -> tuple[list[float], list[float]]:
    """ln of the mean squares of z_l and of d ell_i / d z_l per unit, every example with an output signal of its own."""
    torch.manual_seed(seed)
    law, width, h, preactivations = LAWS[activation], CNN_WIDTH if image else WIDTH, inputs, []
    kernel = (3, 3) if image else ()
    for layer in range(DEPTH):
        fan_in = h.shape[1] * math.prod(kernel)
        weight = torch.randn(width, h.shape[1], *kernel, dtype=torch.float64) * math.sqrt(law.sigma_w2 / fan_in)
        bias = torch.randn(width, dtype=torch.float64) * math.sqrt(law.sigma_b2)
        z = nn.functional.conv2d(h, weight, bias, padding=1) if image else nn.functional.linear(h, weight, bias)
        preactivations.append(z.requires_grad_())
        if norm == "layer":
            u = nn.functional.layer_norm(z, z.shape[1:])
        else:
            u = nn.functional.batch_norm(z, None, None, training=True) if norm == "batch" else z
        h = TORCH[activation](u) + (h if residual and layer > 0 else 0)
    readout = torch.randn(inputs.shape[0], width, dtype=torch.float64)
    loss = ((h.mean(dim=(2, 3)) if image else h) * readout).sum()
    deltas = torch.autograd.grad(loss, preactivations)
    return [[t.square().mean().log().item() for t in ts] for ts in (preactivations, deltas)]


@pytest.mark.parametrize("image", [None, IMAGE], ids=["mlp", "cnn"])
@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
@pytest.mark.parametrize("activation", list(LAWS))
def test_random_networks(activation: str, norm: Norm, residual: bool, image: tuple[int, int] | None) -> None:
    torch.manual_seed(99)
    shape = (CNN_EXAMPLES, CHANNELS, *image) if image else (EXAMPLES, FEATURES)
    inputs = 1.3 * torch.randn(shape, dtype=torch.float64)
    moments = InputMoments(inputs.square().mean().item(), inputs.var(dim=0, correction=0).mean().item())
    prediction = predict(NUMPY[activation], [LAWS[activation]] * DEPTH, moments, norm, residual, image)

    runs = np.array([measured(activation, norm, residual, image, inputs, seed) for seed in range(SEEDS)])
    ln_q, ln_delta2 = runs.mean(axis=0)
    ln_ratios = (ln_delta2 - ln_delta2[-1]) / 2
    predicted = [math.log(math.prod(prediction.chi[layer:])) / 2 for layer in range(DEPTH)]
    width = CNN_WIDTH if image else WIDTH
    error = 3 * math.sqrt(SPREAD * (DEPTH - 1) / (width * SEEDS)) / 2
    if image and norm == "batch":
        error += BORDER
    np.testing.assert_allclose(ln_ratios, predicted, rtol=0, atol=error)
    np.testing.assert_allclose(ln_q, np.log(prediction.q), rtol=0, atol=2 * error)
