"""What the hooks see: calls of layers, and the passes of the model that they belong to."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from gradlab.engine.activations import Activation
from gradlab.engine.modules.layers import Call


@dataclass
class Sight:
    """What one call of a layer or normalisation showed; sums over its entries, flags `[unit]`.

    Attributes:
        size: entries of the output.
        differentiable: whether a gradient by the output can be had at all (not below frozen layers).
        preactivation: the output's norm.
        delta: norm of the gradient by the output, None while no backward pass has reached it.
        reached: units that a gradient reached on some example.
        activation: the activation module that follows, if one does.
        dead: units whose derivative is 0 on every example.
        call, of_output, of_final: of a recurrent layer, to go back along time.
    """

    name: str
    module: nn.Module
    units: int
    size: int
    differentiable: bool
    preactivation: Tensor
    delta: Tensor | None = None
    held: Tensor | None = None
    reached: Tensor | None = None
    activation: Activation | None = None
    dead: Tensor | None = None
    saturated: Tensor | None = None
    activation_sum: Tensor | None = None
    activation_norm: Tensor | None = None
    call: Call | None = None
    of_output: Tensor | None = None
    of_final: list[Tensor | None] = field(default_factory=list)


@dataclass
class Pass:
    """One call of the model: what it showed, and whether a gradient came back.

    Attributes:
        examples: the batch size, None while it isn't known.
        cycle: how many backward passes had begun before.
    """

    examples: int | None
    cycle: int
    sights: list[Sight] = field(default_factory=list)
    waiting: Sight | None = None
    reached: bool = False
