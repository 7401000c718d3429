"""One time step of torch's recurrent layers in float64, as nn.RNN, nn.LSTM and nn.GRU define it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradlab.config.choices import Choice
from gradlab.engine.activations import Activation, make_activation
from gradlab.engine.alignment import aligned

State: TypeAlias = tuple[Tensor, ...]
"""The hidden state [example, unit] and, in an LSTM, the cell state."""

_SIGMOID, _TANH, _RELU = (make_activation(Choice(name)) for name in ("sigmoid", "tanh", "relu"))


@dataclass(frozen=True)
class Cell:
    """One layer and direction of a recurrent module.

    Attributes:
        kind: RNN_TANH, RNN_RELU, LSTM or GRU, torch's `mode`.
        input_weight: weight_ih, [gate * unit, feature].
        hidden_weight: weight_hh, [gate * unit, unit].
        input_bias, hidden_bias: [gate * unit]; None where the module has none.
        projection: weight_hr of an LSTM with proj_size, [projected, unit].
        reverse: whether it goes through the sequence from its end.
    """

    kind: str
    input_weight: Tensor
    hidden_weight: Tensor
    input_bias: Tensor | None
    hidden_bias: Tensor | None
    projection: Tensor | None
    reverse: bool

    @classmethod
    def of(cls, module: nn.RNNBase, layer: int, direction: int) -> Cell:
        """The cell of one layer (from 0) and direction (0 forward, 1 reverse), its weights in float64."""

        def weight(name: str) -> Tensor:
            tensor: Tensor = getattr(module, f"{name}_l{layer}{'_reverse' * direction}")
            return tensor.detach().double()

        return cls(
            kind=module.mode,
            input_weight=weight("weight_ih"),
            hidden_weight=weight("weight_hh"),
            input_bias=weight("bias_ih") if module.bias else None,
            hidden_bias=weight("bias_hh") if module.bias else None,
            projection=weight("weight_hr") if module.proj_size else None,
            reverse=bool(direction),
        )

    @property
    def units(self) -> int:
        """The size of the hidden state."""
        return self.hidden_weight.shape[1]

    @property
    def activation(self) -> Activation | None:
        """phi where h_t = phi(z_t): None for cells with gates."""
        return {"RNN_TANH": _TANH, "RNN_RELU": _RELU}.get(self.kind)

    def step(self, x: Tensor, state: State, hidden_weight: Tensor | None = None) -> State:
        """The state after an input [example, feature]; `hidden_weight` stands in for the cell's own."""
        from_input = F.linear(x, self.input_weight, self.input_bias)
        own = self.hidden_weight if hidden_weight is None else hidden_weight
        from_hidden = F.linear(state[0], own, self.hidden_bias)
        if self.activation is not None:
            return (_through(self.activation, from_input + from_hidden),)
        if self.kind == "LSTM":
            return self._lstm(from_input + from_hidden, state[1])
        (r_x, z_x, n_x), (r_h, z_h, n_h) = from_input.chunk(3, dim=1), from_hidden.chunk(3, dim=1)
        reset, keep = _through(_SIGMOID, r_x + r_h), _through(_SIGMOID, z_x + z_h)
        candidate = _through(_TANH, n_x + reset * n_h)
        return (candidate + keep * (state[0] - candidate),)

    def preactivation(self, x: Tensor, state: State) -> Tensor:
        """z_t = W_ih x + b_ih + W_hh h + b_hh, [example, unit], of a cell without gates."""
        from_input = F.linear(x, self.input_weight, self.input_bias)
        return from_input + F.linear(state[0], self.hidden_weight, self.hidden_bias)

    def _lstm(self, gates: Tensor, cell_state: Tensor) -> State:
        entrance, forget, candidate, exit_ = gates.chunk(4, dim=1)
        kept = _through(_SIGMOID, forget) * cell_state
        cell_state = kept + _through(_SIGMOID, entrance) * _through(_TANH, candidate)
        hidden = _through(_SIGMOID, exit_) * _through(_TANH, cell_state)
        return (hidden if self.projection is None else F.linear(hidden, self.projection), cell_state)


def _through(activation: Activation, z: Tensor) -> Tensor:
    """phi(z); gradients pass by phi' taken from z, which keeps its digits where a gate is shut or saturated."""
    passed: Tensor = ExactSlope.apply(z, activation)  # type: ignore[no-untyped-call]
    return passed


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
