"""The measured gradient decay at step 0 against the mean-field prediction.

What may lie between them is the standard error over the seeds and what a finite width adds. In a random network of
width n, ln |delta_1|^2 / |delta_D|^2 has a variance of about kappa (D - 1) / n with kappa = 3 E[phi'^4] / E[phi'^2]^2
- 1, which is 5 for relu and 2 for a linear network, and its mean moves by half as much (Hanin 2018; Hanin and Nica
2020). The logarithm of the decay is that over 2 (D - 1), so it moves by at most 5 / (4 n).

Where the factor chi(q) per layer depends on the variance q of the pre-activations, another bias joins: ln q of layer l
has a variance of about 5 l / n, and the mean of ln chi moves by half of that times the slope and curvature of ln chi in
ln q, which for gelu, silu and softplus near He's init come to about a third: D / (5 n) on average over the layers.
Saturating activations forget q, those that are linear on either side of 0 have chi constant, and elu and selu lie
between: nothing is added for them.

With skip connections and no norm, signal and gradient ride the same path through all layers, so that layers are
correlated in pairs and the bias of ln decay grows like D / n for activations that don't saturate. Its size is measured:
0.4, 0.6, 0.7 and 1.0 times D / n at widths 64, 128, 256 and 512 (relu, He's init, depth 10, 16 to 128 seeds; standard
errors 0.02 to 0.12).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from gradlab.engine.activations import make_activation
from gradlab.engine.prediction import Predictor
from gradlab.engine.stacks import Stack
from gradlab.engine.tasks import Task
from gradlab.engine.train import train
from gradlab.tabulate import gradient_ratio_and_decay
from tests.oracles.samples import one_trial

WIDTH, SEEDS, EXAMPLES, CLASSES = 256, 16, 16, 10
STANDARD_ERRORS = 3.0
"""The 99 % quantile of Student's t with 15 degrees of freedom is 2.95."""

GATES = 5 / 4
"""Bias of ln decay times width, at most, from the spread of the gradient itself."""
VARIANCES = 1 / 5
"""Bias of ln decay times width / depth from the spread of q, where chi depends on it."""
SKIPS = 0.7
"""Bias of ln decay times width / depth where skip connections carry signal and gradient alike."""

NORMAL = {"name": "normal", "sigma_w": 1.5, "sigma_b": 0.3}
SUITING: dict[str, list[Any]] = {
    "linear": ["orthogonal", "lecun_normal"],
    "sigmoid": ["xavier_normal", NORMAL],
    "tanh": ["orthogonal", NORMAL],
    "relu": ["he_normal", "pytorch_default"],
    "leaky_relu": ["he_normal", "pytorch_default"],
    "elu": ["lecun_normal", "pytorch_default"],
    "selu": ["lecun_normal", "pytorch_default"],
    "gelu": ["he_normal", "pytorch_default"],
    "silu": ["he_normal", "pytorch_default"],
    "softplus": ["lecun_normal", "pytorch_default"],
    "hardtanh": ["xavier_normal", NORMAL],
}
"""Activation -> inits under which its gradients neither vanish nor explode at once; the first at both depths."""

DEEP = 10
BENDING = {"gelu", "silu", "softplus"}


def gaussian_task(examples: int, *shape: int) -> Task:
    """Inputs in random directions, all of mean square 1: the theory knows of one variance only."""
    x = torch.randn(examples, *shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    x /= x.square().flatten(1).mean(1).sqrt().view(-1, *[1] * len(shape))
    y, variance = torch.arange(examples) % CLASSES, float(x.flatten(1).var(0, correction=0).mean())
    return Task("multiclass", x.float(), y, x[:2].float(), y[:2], CLASSES, float(x.square().mean()), variance)


VECTORS = gaussian_task(EXAMPLES, WIDTH)


def error_times_width(task: Task, width: int, **model: Any) -> tuple[float, float]:
    """Mean of ln decay over the seeds less ln of the predicted decay, and its standard error, both times width."""
    trials = [
        one_trial(
            seed=seed,
            model={"width": width, **model},
            train={"steps": 1, "batch_size": len(task.x_train)},
            record={"every": 1, "probe": 1},
        )
        for seed in range(SEEDS)
    ]
    activation = make_activation(trials[0].model.activation)
    histories = train(Stack(tuple(trials)), task, {activation.label: activation})
    predicted = Predictor(task, {activation.label: activation}).predict(trials[0].model).gradient_decay
    decays = [gradient_ratio_and_decay(history)[1] for history in histories]
    assert predicted is not None
    logarithms = np.log(np.array(decays, dtype=np.float64))
    error = logarithms.std(ddof=1) / math.sqrt(SEEDS)
    return float(logarithms.mean() - math.log(predicted)) * width, float(error) * width


@pytest.mark.slow  # networks of width 256, where finite width is small enough to see the theory through it
@pytest.mark.parametrize("depth", [5, DEEP])
@pytest.mark.parametrize("activation", SUITING)
def test_every_activation_with_inits_that_suit_it(activation: str, depth: int) -> None:
    allowance = GATES + (VARIANCES * depth if activation in BENDING else 0.0)
    for init in SUITING[activation][: 2 if depth == DEEP else 1]:
        error, spread = error_times_width(VECTORS, WIDTH, activation=activation, init=init, depth=depth)
        assert abs(error) <= STANDARD_ERRORS * spread + allowance, init
        assert STANDARD_ERRORS * spread + allowance < 0.03 * WIDTH, "a factor that is wrong by 3 % would pass"


def test_a_square_orthogonal_linear_network_leaves_no_room_at_all() -> None:
    error, spread = error_times_width(VECTORS, WIDTH, activation="linear", init="orthogonal", depth=5)
    assert abs(error) < 1e-4
    assert spread < 1e-4


@pytest.mark.parametrize("activation", ["tanh", "relu", "silu"])
@pytest.mark.parametrize("residual", [False, True])
def test_layer_norm(activation: str, residual: bool) -> None:
    error, spread = error_times_width(
        VECTORS, WIDTH, activation=activation, init="he_normal", depth=10, norm="layer", residual=residual
    )
    assert abs(error) <= STANDARD_ERRORS * spread + GATES


@pytest.mark.parametrize("activation", ["tanh", "relu", "silu"])
def test_residual_connections(activation: str) -> None:
    error, spread = error_times_width(VECTORS, WIDTH, activation=activation, init="he_normal", depth=10, residual=True)
    allowance = GATES + (0.0 if activation == "tanh" else SKIPS * 10)
    assert abs(error) <= STANDARD_ERRORS * spread + allowance


@pytest.mark.parametrize(("activation", "init"), [("tanh", NORMAL), ("relu", "he_normal")])
def test_convolutions_with_their_borders(activation: str, init: Any) -> None:
    # Without its borders a 4 x 4 image's decay under relu would be 1; with them it is 0.86.
    task = gaussian_task(4, 8, 4, 4)
    error, spread = error_times_width(task, 128, family="cnn", activation=activation, init=init, depth=5)
    assert abs(error) <= STANDARD_ERRORS * spread + GATES
