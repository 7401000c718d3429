"""Forward and backward passes of a stack, written out: no graph, activations in place, buffers that are used again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from gradlab.engine.alignment import Call, affine, product
from gradlab.engine.layout import LayerParameters
from gradlab.engine.network import Network, part
from gradlab.engine.normalisation import Normalised, RunningMoments, normalise, normalise_back
from gradlab.engine.observer import Observer
from gradlab.engine.products import Convolutions, Dense
from gradlab.engine.scratch import Scratch


@dataclass
class _Hidden:
    """A hidden layer of a pass, all tensors [trial, row, unit].

    Attributes:
        inputs: None for those of the first layer, which come from outside.
        z, u, a: pre-activations, phi's own input and phi of it; the same memory where nothing needs the earlier one.
        out: what is passed on.
        normalised: how the last pass normalised z.
    """

    inputs: Tensor | None
    z: Tensor
    u: Tensor
    a: Tensor
    out: Tensor
    normalised: Normalised | None = None


@dataclass(frozen=True)
class _Returning:
    """A hidden layer on the way back, all tensors [trial, row, unit].

    Attributes:
        arriving: d loss / d h.
        delta: d loss / d z.
        calls: what makes that, the gradients and what arrives at the layer below, but for the first layer's product.
    """

    arriving: Tensor
    delta: Tensor
    calls: Sequence[Call]


@dataclass
class _Given:
    """What calls look up when they are made: batch normalisation's running moments, and who looks.

    It is apart so that calls don't hold the passes that hold them: a cycle, and its memory, lives on until Python looks
    for cycles.
    """

    moments: Sequence[RunningMoments] = ()
    observer: Observer = field(default_factory=Observer)


@dataclass
class _Pass:
    """A pass over some number of examples, bound to its memory.

    Attributes:
        calls: all of it, but for the first layer's product.
        top: the output layer's inputs, [trial, example, unit].
        outputs: [trial, output, example].
        back: the way back, from the top; empty before it is first gone.
    """

    hidden: Sequence[_Hidden]
    calls: Sequence[Call]
    top: Tensor
    outputs: Tensor
    back: Sequence[_Returning] = ()


class Passes:
    """Passes of the networks of a stack, one after another, in the same buffers.

    A layer of a small stack is computed about as fast as Python says what to compute. So a pass is bound to its memory
    when it is first made, as a list of calls; the examples and the signal alone come from outside every time.

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
        self._network, self._layers, self._gradients = network, layers, gradients
        self._trains = gradients is not None
        shape, conv = network.shape, network.shape.family == "cnn"
        self._runs = [network.kernels(count, exact=exact) for count in network.counts]
        self._scratch = scratch or Scratch(layers[-1].weight.dtype, layers[-1].weight.device)
        self._products = Convolutions(shape, layers, gradients, self._scratch) if conv else Dense(layers, gradients)
        self._bound: dict[tuple[int, bool], _Pass] = {}
        self._last: _Pass | None = None
        self._x: Tensor | None = None
        self._given = _Given()

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
        key = (x.shape[1], observer is not None)
        if key not in self._bound:
            self._bound[key] = self._bind(*key)
        self._last, self._x = self._bound[key], self._network.rows(x)
        self._given.moments, self._given.observer = moments, observer or Observer()
        self._products.forward(0, self._x, self._last.hidden[0].z)()
        for call in self._last.calls:
            call()
        self._given.observer = Observer()
        return self._last.outputs.mT

    def inputs(self, layer: int) -> Tensor:
        """The inputs of a layer in the last pass, the output layer's after all, [trial, row, unit]."""
        last, x = self._made()
        inputs = last.hidden[layer].inputs if layer < len(last.hidden) else last.top
        return x if inputs is None else inputs

    def batch_moments(self) -> list[RunningMoments]:
        """The moments of the last batch, of every layer that is normalised by them."""
        seen = [hidden.normalised.moments for hidden in self._made()[0].hidden if hidden.normalised is not None]
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
        last, x = self._made()
        if self._gradients is None:
            raise ValueError("only passes of training have a way back")
        gradient = self._gradients[-1]
        from_output = self._from_output(signal)
        by_output = self._buffer("gradient", len(signal), self._network.shape.out_features)
        product(by_output, signal.mT, last.top)()
        gradient.weight.copy_(by_output.mT)
        torch.sum(signal, 1, keepdim=True, out=gradient.bias)
        done(len(last.hidden), signal)
        if not last.back:
            last.back = self._bind_back(last.hidden, self._gradients, from_output)
        for index, layer in zip(reversed(range(len(last.hidden))), last.back, strict=True):
            if arriving is not None:
                arriving(index, layer.arriving)
            for call in layer.calls:
                call()
            if index == 0:
                for call in self._products.back(0, x, layer.delta, None):
                    call()
            done(index, layer.delta)

    def _made(self) -> tuple[_Pass, Tensor]:
        """The last pass and the rows that it was given."""
        if self._last is None or self._x is None:
            raise ValueError("there was no pass yet")
        return self._last, self._x

    def _bind(self, examples: int, observed: bool) -> _Pass:
        network, shape, output = self._network, self._network.shape, self._layers[-1]
        trials, rows = network.counts[0], examples * shape.positions
        top = self._buffer("top", trials, rows) if network.counts[-1] < trials else None
        calls: list[Call] = []
        bound: list[_Hidden] = []
        h: Tensor | None = None
        for index, count in enumerate(network.counts):
            if h is not None and top is not None and count < len(h):
                calls.append(partial(top[count : len(h)].copy_, h[count:]))
                h = h[:count]
            hidden, own = self._bind_hidden(index, h, rows, observed)
            calls += own
            bound.append(hidden)
            h = hidden.out
        ends = bound[-1].out
        if top is not None:
            calls.append(partial(top[: len(ends)].copy_, ends))
            ends = top
        if shape.positions > 1:
            by_position = ends.view(trials, examples, shape.positions, shape.width)
            ends = self._buffer("mean", trials, examples)
            calls.append(partial(torch.mean, by_position, 2, out=ends))
        outputs = self._buffer("output", trials, shape.out_features, examples)
        calls.append(affine(outputs, output.bias.mT, output.weight.mT, ends.mT))
        return _Pass(bound, calls, ends, outputs)

    def _bind_hidden(self, index: int, inputs: Tensor | None, rows: int, observed: bool) -> tuple[_Hidden, list[Call]]:
        """A hidden layer, and what makes its outputs of its inputs, but for the first layer's product."""
        shape, count, given = self._network.shape, self._network.counts[index], self._given
        z = self._buffer(f"z{self._place(index)}", count, rows)
        u = z if shape.norm == "none" else self._buffer(f"u{self._place(index)}", count, rows)
        keeps_u = self._trains and any(kernel.keeps_z for _, kernel in self._runs[index])
        a = self._buffer(f"a{index}", count, rows) if keeps_u else u
        out = a
        if shape.residual and inputs is not None:
            out = self._buffer(f"h{index}", count, rows) if self._trains else inputs
        hidden = _Hidden(inputs, z, u, a, out)
        calls: list[Call] = []
        if inputs is not None:
            calls.append(self._products.forward(index, inputs, z))
        if observed:
            calls.append(lambda: given.observer.preactivation(index, z))
        if shape.norm != "none":
            calls.append(partial(_normalise, hidden, self._layers[index], index, shape.norm, given, self._trains))
        if observed:
            calls.append(lambda: given.observer.activation_input(index, u))
        calls += [kernel.apply(part(u, trials), part(a, trials)) for trials, kernel in self._runs[index]]
        if shape.residual and inputs is not None:
            calls.append(partial(torch.add, inputs, a, out=out))
        if observed:
            calls.append(lambda: given.observer.activation(index, out))
        return hidden, calls

    def _bind_back(
        self, bound: Sequence[_Hidden], gradients: Sequence[LayerParameters], from_output: Tensor
    ) -> list[_Returning]:
        """The way back from the top hidden layers, at which `from_output` arrives, [trial, row, unit]."""
        shape, counts = self._network.shape, self._network.counts
        here, there = from_output, from_output if shape.residual else self._buffer("spare", *from_output.shape[:2])
        back = []
        for index in reversed(range(len(counts))):
            arriving, hidden = here[: counts[index]], bound[index]
            delta = arriving
            calls: list[Call] = []
            if shape.residual and index > 0:
                delta = self._buffer("delta", *arriving.shape[:2])
                calls.append(partial(delta.copy_, arriving))
            for trials, kernel in self._runs[index]:
                kept = hidden.u if kernel.keeps_z else hidden.a
                calls.append(kernel.pass_back(part(delta, trials), part(kept, trials)))
            if shape.norm != "none":
                calls.append(partial(_normalise_back, hidden, self._layers[index], delta, gradients[index]))
            if hidden.inputs is not None:
                below = there[: counts[index]]
                calls += self._products.back(index, hidden.inputs, delta, below, add=shape.residual)
                joining = slice(counts[index], counts[index - 1])
                if not shape.residual and joining.start < joining.stop:
                    calls.append(partial(there[joining].copy_, from_output[joining]))
            back.append(_Returning(arriving, delta, calls))
            here, there = there, here
        return back

    def _from_output(self, signal: Tensor) -> Tensor:
        """The signal that reaches the top hidden layers, [trial, row, unit]."""
        shape = self._network.shape
        trials, examples, _ = signal.shape
        below = self._buffer("from output", trials, examples)
        product(below, signal, self._layers[-1].weight.mT)()
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


def _normalise(hidden: _Hidden, layer: LayerParameters, index: int, kind: str, given: _Given, by_batch: bool) -> None:
    moments = None if by_batch or not given.moments else given.moments[index]
    hidden.normalised = normalise(hidden.z, layer, moments, kind, hidden.u)
    given.observer.normalisation(index, hidden.normalised)


def _normalise_back(hidden: _Hidden, layer: LayerParameters, delta: Tensor, into: LayerParameters) -> None:
    if hidden.normalised is not None:
        normalise_back(delta, layer, hidden.normalised, into)
