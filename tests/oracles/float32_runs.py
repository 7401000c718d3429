"""Plain float32 training as it is, and as other float32 programs might compute it: rounded otherwise here and there."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from gradlab.config.sweep import Trial
from tests.oracles import activations
from tests.oracles.network import PlainData, PlainNetwork, loss, metric
from tests.oracles.plain import make_optimizer, update_ratio

LAST_DIGIT = 2.0**-24

LOSS_SCALES = (1.0, 4.0, 0.25)


class Run:
    """One network in float32 training.

    Attributes:
        gradients: of the weights at the last look, for each of LOSS_SCALES, layer by layer.
        updates: the update ratio of each layer at the last update, None for 0/0.
    """

    def __init__(self, network: PlainNetwork, trial: Trial, data: PlainData) -> None:
        self.network, self.data = network, data
        self.optimizer = make_optimizer(network, trial.train)
        self.gradients: list[list[Tensor]] = []
        self.updates: list[float | None] = []

    def look(self, x: Tensor, y: Tensor) -> float:
        """Forward and backward on a minibatch; returns the loss."""
        self.network.train()
        value = loss(self.data.task, self.network(x), y)
        weights = [weight for weight, _ in self.network.weights_and_biases]
        self.gradients = [list(torch.autograd.grad(value * scale, weights, retain_graph=True)) for scale in LOSS_SCALES]
        self.optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        return value.item()

    def update(self) -> None:
        """The optimizer's step, after a look."""
        before = [weight.detach().clone() for weight, _ in self.network.weights_and_biases]
        self.optimizer.step()
        after = [weight.detach() for weight, _ in self.network.weights_and_biases]
        self.updates = [update_ratio(*pair) for pair in zip(before, after, strict=True)]

    def zeros(self, layer: int) -> tuple[Tensor, Tensor]:
        """Which entries of dL/dW_l are 0 whatever LOSS_SCALES does to the loss, and which are 0 for some of them."""
        zero = torch.stack([gradients[layer - 1] == 0 for gradients in self.gradients])
        return zero.all(0), zero.any(0)

    def not_finite(self, layer: int) -> tuple[Tensor, Tensor]:
        """Likewise which entries are NaN or infinite."""
        found = torch.stack([~gradients[layer - 1].isfinite() for gradients in self.gradients])
        return found.all(0), found.any(0)


class _Rounded(nn.Module):
    """phi whose values, and the signals that come back, are changed in their last float32 digit."""

    def __init__(self, phi: nn.Module, generator: torch.Generator) -> None:
        super().__init__()
        self.phi, self.generator = phi, generator

    def forward(self, z: Tensor) -> Tensor:
        return activations.nudged(self.phi(z), LAST_DIGIT, self.generator)


@torch.no_grad()
def rounded_otherwise(network: PlainNetwork, generator: torch.Generator) -> PlainNetwork:
    """A copy that computes as another float32 program might."""
    twin = copy.deepcopy(network)
    twin.phi = _Rounded(twin.phi, generator)
    for parameter in twin.parameters():
        parameter.copy_(activations.nudged(parameter, LAST_DIGIT, generator))
    return twin


@torch.no_grad()
def loss_and_metric(network: PlainNetwork, data: PlainData, examples: Tensor | None = None) -> tuple[float, float]:
    """Of the evaluation split, or of training examples, in the network's own precision and in eval mode."""
    x, y = (data.x_eval, data.y_eval) if examples is None else (data.x_train[examples], data.y_train[examples])
    output = network.eval()(x.to(next(network.parameters()).dtype))
    return float(loss(data.task, output, y)), metric(data.task, output, y)


@torch.no_grad()
def normalises_rounding(network: PlainNetwork, x: Tensor) -> bool:
    """Whether a norm makes the numbers of a minibatch of rounding alone.

    It does so forward where their deviation is hardly above float32's digits of their mean. Over two numbers it does so
    backward, too: they become 1 and -1, whatever they are, but for eps. What comes back is eps / variance of what went
    in, the rest cancels; after a few layers no digit is left.
    """
    if isinstance(network.norms[0], nn.Identity):
        return False
    batch_norm = not isinstance(network.norms[0], nn.LayerNorm)
    lost = 0.0
    for z in network.in_float64().train().trace(x.double()).preactivations[:-1]:
        together = z.transpose(0, 1).flatten(1) if batch_norm else z.flatten(1)
        variance = together.var(dim=1, correction=0)
        if together.shape[1] > 1 and bool((variance.sqrt() <= 1e-6 * together.abs().amax(dim=1)).any()):
            return True
        if together.shape[1] == 2:
            lost += max(0.0, math.log10(float(variance.max()) / 1e-5 + 1))
    return lost > 9
