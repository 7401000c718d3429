"""Forward and backward passes of a stack, written out: no graph, activations in place, buffers that are used again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gradlab.engine.alignment import affine_into, aligned, product_into
from gradlab.engine.layout import LayerParameters
from gradlab.engine.network import Network, part
from gradlab.engine.normalisation import Normalised, RunningMoments, normalise, normalise_back
from gradlab.engine.products import Convolutions, Dense
from gradlab.engine.scratch import Scratch


class Observer(Protocol):
    """Who looks at a forward pass, at every hidden layer l = 0, 1, ...; all tensors are [trial, row, unit].

    What it is shown is overwritten later on.
    """

    def preactivation(self, layer: int, z: Tensor) -> None:
        """z, before anything is done to it."""

    def normalisation(self, layer: int, normalised: Normalised) -> None:
        """How z was normalised, where it is."""

    def activation_input(self, layer: int, u: Tensor) -> None:
        """phi's own input: z, or z normalised."""

    def activation(self, layer: int, h: Tensor) -> None:
        """What is passed on to the next layer."""


@dataclass
class _Hidden:
    """What the way back needs of a hidden layer.

    Attributes:
        inputs: [trial, row, unit].
        u, a: phi's own input and phi of it, [trial, row, unit]; the same memory where no slope is told by u.
    """

    inputs: Tensor
    u: Tensor
    a: Tensor
    normalised: Normalised | None


class Passes:
    """Passes of the networks of a stack, one after another, in the same buffers.

    Args:
        layers: the parameters, views of memory in which they are updated.
        gradients: where those of the parameters go, laid out like `layers`, in passes of training: batch normalisation
            uses the batch's own moments, and the way back may follow. None for passes in eval mode.
        exact: whether slopes are taken from phi's input, by `Activation.derivative`, which keeps its digits where phi
            saturates.
        scratch: memory shared with other passes in eval mode; None for memory of its own.
    """

    def __init__(
        self,
        network: Network,
        layers: Sequence[LayerParameters],
        gradients: Sequence[LayerParameters] | None = None,
        *,
        exact: bool = False,
        scratch: Scratch | None = None,
    ) -> None:
        self._network, self._layers, self._gradients, self._exact = network, layers, gradients, exact
        self._trains = gradients is not None
        shape, conv = network.shape, network.shape.family == "cnn"
        self._runs = [network.runs(count) for count in network.counts]
        self._hidden: list[_Hidden] = []
        self._top = layers[-1].weight
        self._scratch = scratch or Scratch(self._top.dtype, self._top.device)
        self._products = Convolutions(shape, layers, gradients, self._scratch) if conv else Dense(layers, gradients)

    def forward(
        self,
        x: Tensor,
        moments: Sequence[RunningMoments] = (),
        observer: Observer | None = None,
    ) -> Tensor:
        """Outputs [trial, example, output] for examples x [trial, example, ...]; overwritten by the next pass.

        In memory examples stand last: a product with as few columns as there are outputs takes several times as long
        as one with so few rows, and what is done with outputs is vectorised along examples.

        Args:
            moments: batch normalisation's running moments, which passes that don't train normalise by.
        """
        network, shape, layers = self._network, self._network.shape, self._layers
        h = network.rows(x)
        rows, self._hidden = h.shape[1], []
        mixed = network.counts[-1] < len(h)
        top = self._buffer("top", len(h), rows) if mixed else h
        for index, count in enumerate(network.counts):
            if count < len(h):
                top[count : len(h)] = h[count:]
                h = h[:count]
            inputs = h
            z = self._buffer(f"z{self._place(index)}", count, rows)
            self._products.forward(index, h, z)
            if observer is not None:
                observer.preactivation(index, z)
            u, normalised = z, None
            if shape.norm != "none":
                u = self._buffer(f"u{self._place(index)}", count, rows)
                own = None if self._trains or not moments else moments[index]
                normalised = normalise(z, layers[index], own, shape.norm, u)
            if observer is not None:
                if normalised is not None:
                    observer.normalisation(index, normalised)
                observer.activation_input(index, u)
            a = self._activate(index, u)
            if shape.residual and index > 0:
                h = torch.add(h, a, out=self._buffer(f"h{index}", count, rows)) if self._trains else h.add_(a)
            else:
                h = a
            if observer is not None:
                observer.activation(index, h)
            if self._trains:
                self._hidden.append(_Hidden(inputs, u, a, normalised))
        self._top = self._gather(h, top, x.shape[1])
        outputs = self._buffer("output", len(top), shape.out_features, x.shape[1])
        affine_into(outputs, layers[-1].bias.mT, layers[-1].weight.mT, self._top.mT)
        return outputs.mT

    def inputs(self, layer: int) -> Tensor:
        """The inputs of a layer in the last pass of training, the output layer's after all, [trial, row, unit]."""
        return self._hidden[layer].inputs if layer < len(self._hidden) else self._top

    def batch_moments(self) -> list[RunningMoments]:
        """The moments of the last batch, of every layer that is normalised by them."""
        seen = [hidden.normalised.moments for hidden in self._hidden if hidden.normalised is not None]
        return [moments for moments in seen if moments is not None]

    def backward(
        self,
        signal: Tensor,
        done: Callable[[int, Tensor], None],
        arriving: Callable[[int, Tensor], None] | None = None,
    ) -> None:
        """Follow the last pass of training back, and fill the gradients.

        Args:
            signal: the loss's derivative by the outputs, [trial, example, output].
            done: called from the output layer (index D) down to the first (0), with d loss / d z, when a layer's
                gradients are there; its parameters are not needed any more. What it is shown is overwritten later on.
            arriving: called with d loss / d h of each hidden layer before it passes the activation; may scale it in
                place, with all that follows.
        """
        if self._gradients is None:
            raise ValueError("only passes of training have a way back")
        network, shape, layers, gradients = self._network, self._network.shape, self._layers, self._gradients
        from_output = self._from_output(signal, layers[-1])
        by_output = self._buffer("gradient", len(signal), shape.out_features)
        product_into(by_output, signal.mT, self._top)
        gradients[-1].weight.copy_(by_output.mT)
        torch.sum(signal, 1, keepdim=True, out=gradients[-1].bias)
        done(len(layers) - 1, signal)
        trials, rows, _ = from_output.shape
        spare = from_output if shape.residual else self._buffer("spare", trials, rows)
        here, there = from_output, spare
        for index in reversed(range(len(network.counts))):
            count, hidden = network.counts[index], self._hidden[index]
            below = part(here, slice(0, count))
            if arriving is not None:
                arriving(index, below)
            delta = below
            if shape.residual and index > 0:
                delta = self._buffer("delta", count, rows).copy_(below)
            self._pass_activation(index, delta, hidden)
            if hidden.normalised is not None:
                normalise_back(delta, layers[index], hidden.normalised, gradients[index])
            next_below = part(there, slice(0, count)) if index > 0 else None
            self._products.back(index, hidden.inputs, delta, next_below, add=shape.residual)
            if index > 0 and there is not from_output and count < network.counts[index - 1]:
                joining = slice(count, network.counts[index - 1])
                there[joining] = from_output[joining]
            done(index, delta)
            here, there = there, here

    def _activate(self, index: int, u: Tensor) -> Tensor:
        """phi(u), in u's own memory where u is not needed any more."""
        keeps = self._keeps_input(index)
        out = self._buffer(f"a{index}", *u.shape[:2]) if keeps else u
        for trials, activation in self._runs[index]:
            piece, into = part(u, trials), part(out, trials)
            if self._exact:
                into.copy_(aligned(activation.function, piece))
            else:
                activation.kernel.apply(piece, into)
        return out

    def _keeps_input(self, index: int) -> bool:
        runs = self._runs[index]
        return self._trains and (self._exact or any(activation.kernel.keeps_z for _, activation in runs))

    def _pass_activation(self, index: int, signal: Tensor, hidden: _Hidden) -> None:
        for trials, activation in self._runs[index]:
            kept = hidden.u if self._exact or activation.kernel.keeps_z else hidden.a
            own, kept = part(signal, trials), part(kept, trials)
            if self._exact:
                own *= aligned(activation.derivative, kept)
            else:
                activation.kernel.pass_back(own, kept)

    def _gather(self, h: Tensor, top: Tensor, examples: int) -> Tensor:
        """The inputs of the output layer, [trial, example, unit]."""
        shape = self._network.shape
        if len(h) < len(top):
            top[: len(h)] = h
            h = top
        if shape.positions == 1:
            return h
        return h.view(len(h), examples, shape.positions, shape.width).mean(2)

    def _from_output(self, signal: Tensor, output: LayerParameters) -> Tensor:
        """The signal that reaches the top hidden layers, [trial, row, unit]."""
        shape = self._network.shape
        trials, examples, _ = signal.shape
        below = self._buffer("from output", trials, examples)
        product_into(below, signal, output.weight.mT)
        if shape.positions == 1:
            return below
        spread = self._buffer("from positions", trials, examples * shape.positions)
        by_position = spread.view(trials, examples, shape.positions, shape.width)
        by_position.copy_(below.div_(shape.positions)[:, :, None])
        return spread

    def _place(self, index: int) -> int:
        """Which buffer a layer uses: its own if the way back needs it, else one that its input doesn't lie in."""
        if self._trains:
            return index
        return min(index, 1) if self._network.shape.residual else index % 2

    def _buffer(self, name: str, trials: int, rows: int, columns: int | None = None) -> Tensor:
        """Memory [trial, row, column], as many as a hidden layer has units; the same for the same name."""
        return self._scratch.take(name, trials, rows, self._network.shape.width if columns is None else columns)
