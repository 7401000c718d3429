"""Gradients along time: how much of the loss's signal reaches each hidden state of a recurrent layer.

A recurrent layer is one module and one kernel, so hooks see its inputs and outputs but no time step inside. Here its
forward pass is replayed in float64 from what the hooks saw, and the signal is taken back through it one time step
after the other (backpropagation through time: Werbos 1990). That it vanishes or explodes on this way is the classical
finding about recurrent networks (Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio 2013).

Backpropagation is linear in the signal from above, so that is kept near 1 by powers of two, whose exponents are kept
apart (see `signals`): nothing is lost over any number of time steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from gradlab.engine.recurrence.cells import Cell, State
from gradlab.engine.recurrence.signals import Signal, common_exponent, norm_of, total

Row: TypeAlias = dict[str, float]
Signals: TypeAlias = Sequence[Signal | None]


class Unsupported(Exception):  # noqa: N818 - it says what the module is
    """A recurrent module that cannot be replayed; `reason` says why, as the end of a sentence about it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True)
class TimeSeries:
    """What was found at each time step of one layer and direction of a recurrent module.

    Attributes:
        suffix: empty if the module has one series, else as torch's weights have it: `l0`, `l1_reverse`.
        units: the size of the hidden state.
        rows: for time steps 1..T, in the order of the sequence also where the layer runs in reverse, column of the
            layers table -> value:

            - `delta_rms`: sqrt(examples) |dL/dh_t|, the total derivative by the hidden state h_t: from above and
              through the other time steps together. `log10_delta_rms` goes on where float64 ends.
            - `weight_grad_norm`: |dL/dh_t d+h_t/dW|, the part of the gradient by the hidden-to-hidden weights that
              comes about at time step t alone (Pascanu et al. 2013, eq. 4; in an LSTM through c_t, too). The parts
              add up to the gradient. `log10_weight_grad_norm` likewise.
            - `activation_mean` and `activation_rms` of h_t.
            - of nn.RNN, where h_t = phi(z_t), also `preactivation_rms`, `dead_units`, `zero_gradient_units` and
              `saturated_fraction`, by their definitions, on these examples.
    """

    suffix: str
    units: int
    rows: list[Row]


def along_time(
    module: nn.RNNBase,
    inputs: tuple[Any, ...],
    of_output: Tensor | None,
    of_final: tuple[Tensor | None, ...],
    examples: int,
) -> list[TimeSeries]:
    """Gradients by the hidden states of an nn.RNN, nn.LSTM or nn.GRU, from one forward and backward pass through it.

    Args:
        module: with the weights of that pass; any layout, layers, directions and projection that torch has.
        inputs: what its forward was called with: the input, perhaps packed, and perhaps the initial state.
        of_output: the gradient of L by the module's output (of a packed one by its `data`); None if there is none.
        of_final: the gradients of L by the final hidden state and, for an LSTM, by the final cell state.
        examples: how many examples L is the mean over.

    Returns:
        One series of each layer and direction, in the order of the module's weights.

    Raises:
        Unsupported: the module cannot be replayed.
    """
    if not isinstance(module, nn.RNN | nn.LSTM | nn.GRU):
        raise Unsupported(f"{type(module).__name__} is no nn.RNN, nn.LSTM or nn.GRU")
    if module.training and module.dropout > 0 and module.num_layers > 1:
        raise Unsupported("the dropout between its layers can't be drawn again")
    with torch.enable_grad(), torch.autocast(_device(module).type, enabled=False):
        sequence = _Sequence(module, inputs[0])
        x, initial = sequence.steps(inputs[0]), sequence.initial(inputs[1] if len(inputs) > 1 else None)
        directions = 1 + module.bidirectional
        layers: list[list[_Pass]] = []
        for layer in range(module.num_layers):
            cells = [Cell.of(module, layer, direction) for direction in range(directions)]
            starts = initial[layer * directions : (layer + 1) * directions]
            layers.append([_Pass(cell, x, start, sequence.active) for cell, start in zip(cells, starts, strict=True)])
            x = torch.cat([own.hidden for own in layers[-1]], dim=-1)
        from_above: Signals = [None] * len(x)
        if of_output is not None:
            from_above = [Signal.of(step) for step in sequence.steps(of_output)]
        finals = [None if tensor is None else sequence.states(tensor) for tensor in of_final]
        found: list[TimeSeries] = []
        for layer, passes in reversed(list(enumerate(layers))):
            series, of_inputs, start = [], [], 0
            for direction, own in enumerate(passes):
                place, units = layer * directions + direction, own.cell.units
                direct = [_columns(signal, start, units) for signal in from_above]
                final = [None if tensor is None else Signal.of(tensor[place]) for tensor in finals]
                rows, of_input = own.back(direct, final, examples)
                suffix = f"l{layer}{'_reverse' * direction}" if len(layers) * directions > 1 else ""
                series.append(TimeSeries(suffix, units, rows))
                of_inputs.append(of_input)
                start += units
            found[:0] = series
            from_above = [total(signals) for signals in zip(*of_inputs, strict=True)]
    return found


class _Sequence:
    """How a module lays out its tensors, and how they become [time, example, feature] in float64.

    Attributes:
        active: which examples have a time step at all, [time, example, 1]; None if all have.
    """

    def __init__(self, module: nn.RNNBase, x: Any) -> None:
        self.module = module
        self.packed = x if isinstance(x, PackedSequence) else None
        self.unbatched = isinstance(x, Tensor) and x.ndim == 2
        self.active: Tensor | None = None
        if self.packed is not None:
            ones = self.packed._replace(data=torch.ones_like(self.packed.data[:, :1]))
            self.active = pad_packed_sequence(ones)[0] > 0
        elif not isinstance(x, Tensor):
            raise Unsupported(f"its input is a {type(x).__name__}")
        self.examples = self.steps(x).shape[1]

    def steps(self, tensor: Any) -> Tensor:
        """An input, or a gradient by the output, as [time, example, feature]; zeros where a packed one has nothing."""
        if self.packed is not None:
            data = tensor.data if isinstance(tensor, PackedSequence) else tensor
            return pad_packed_sequence(self.packed._replace(data=data.detach().double()))[0]
        steps: Tensor = tensor.detach().double()
        if self.unbatched:
            return steps[:, None]
        return steps.transpose(0, 1) if self.module.batch_first else steps

    def states(self, tensor: Tensor) -> Tensor:
        """States as the module has them as [layer and direction, example, unit]."""
        states = tensor.detach().double()
        return states[:, None] if self.unbatched else states

    def initial(self, given: Any) -> list[State]:
        """The state from which each layer and direction starts; zeros if none is given."""
        module = self.module
        count = module.num_layers * (1 + module.bidirectional)
        sizes = [module.proj_size or module.hidden_size] + [module.hidden_size] * (module.mode == "LSTM")
        if given is None:
            zeros = [torch.zeros(count, self.examples, size, dtype=torch.float64) for size in sizes]
            tensors = [tensor.to(_device(module)) for tensor in zeros]
        else:
            tensors = [self.states(tensor) for tensor in (given if isinstance(given, tuple) else (given,))]
        return [tuple(tensor[place] for tensor in tensors) for place in range(count)]


class _Pass:
    """One layer and direction gone through a sequence.

    Attributes:
        hidden: h_t, [time, example, unit].
    """

    def __init__(self, cell: Cell, x: Tensor, state: State, active: Tensor | None) -> None:
        self.cell, self.x, self.active = cell, x, active
        self.order = range(len(x) - 1, -1, -1) if cell.reverse else range(len(x))
        self.before: dict[int, State] = {}
        hidden: dict[int, Tensor] = {}
        with torch.no_grad():
            for t in self.order:
                self.before[t] = state
                state = self._step(t, x[t], state, cell.hidden_weight)
                hidden[t] = state[0]
        self.hidden = torch.stack([hidden[t] for t in range(len(x))])

    def back(self, direct: Signals, final: Signals, examples: int) -> tuple[list[Row], Signals]:
        """The rows of all time steps, and the signals that go on to the inputs, [time].

        Args:
            direct: from above to each h_t.
            final: to the state after the last time step.
        """
        rows: dict[int, Row] = {}
        of_inputs: dict[int, Signal | None] = {}
        carried = [*final, *[None] * len(self.before[0])][: len(self.before[0])]
        for t in reversed(self.order):
            carried[0] = total([carried[0], direct[t]])
            rows[t] = self._row(t, carried[0], examples)
            of_weight, of_inputs[t], *carried = self._step_back(t, carried)
            norm, log10 = norm_of(of_weight)
            rows[t] |= {"weight_grad_norm": norm, "log10_weight_grad_norm": log10}
        steps = range(len(self.x))
        return [rows[t] for t in steps], [of_inputs[t] for t in steps]

    def _step(self, t: int, x: Tensor, state: State, hidden_weight: Tensor) -> State:
        """The state after time step t; it stays as it was where an example has no such step."""
        after = self.cell.step(x, state, hidden_weight)
        if self.active is None:
            return after
        return tuple(torch.where(self.active[t], new, old) for new, old in zip(after, state, strict=True))

    def _step_back(self, t: int, signals: Signals) -> list[Signal | None]:
        """From the signals to the state after time step t those to hidden weight, input and state before it."""
        leaves = [leaf.detach().requires_grad_() for leaf in (self.cell.hidden_weight, self.x[t], *self.before[t])]
        present = [signal for signal in signals if signal is not None]
        if not present:
            return [None] * len(leaves)
        hidden_weight, x, *state = leaves
        after = self._step(t, x, tuple(state), hidden_weight)
        exponent = common_exponent(present)
        pulled = [(h * signal.at(exponent)).sum() for h, signal in zip(after, signals, strict=True) if signal]
        gradients = torch.autograd.grad(torch.stack(pulled).sum(), leaves, allow_unused=True)
        return [None if gradient is None else Signal.of(gradient, exponent) for gradient in gradients]

    def _row(self, t: int, signal: Signal | None, examples: int) -> Row:
        everyone = slice(None)
        chosen = everyone if self.active is None else self.active[t, :, 0]
        here = signal
        if signal is not None and self.active is not None:
            here = Signal.of(signal.tensor * self.active[t], signal.exponent)
        norm, log10 = norm_of(here)
        hidden = self.hidden[t][chosen]
        row = {
            "delta_rms": norm * math.sqrt(examples),
            "log10_delta_rms": log10 + 0.5 * math.log10(examples),
            "activation_mean": hidden.mean().item(),
            "activation_rms": hidden.square().mean().sqrt().item(),
        }
        activation = self.cell.activation
        if activation is None:
            return row
        z = self.cell.preactivation(self.x[t], self.before[t])[chosen]
        flat = (
            torch.zeros_like(z, dtype=torch.bool)
            if activation.zero_derivative is None
            else activation.zero_derivative(z)
        )
        reached = torch.zeros_like(flat) if here is None else (here.tensor[chosen] != 0) & ~flat
        return row | {
            "preactivation_rms": z.square().mean().sqrt().item(),
            "dead_units": float(flat.all(0).sum().item()),
            "zero_gradient_units": float((~reached).all(0).sum().item()),
            "saturated_fraction": 0.0
            if activation.saturated is None
            else activation.saturated(z).double().mean().item(),
        }


def _columns(signal: Signal | None, start: int, count: int) -> Signal | None:
    """The part of a signal that belongs to one direction's hidden state."""
    return None if signal is None else Signal.of(signal.tensor[:, start : start + count], signal.exponent)


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device
