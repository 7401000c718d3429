"""Whether float32 has measured a training step's gradients well enough, for each trial of a stack.

Training's own backward pass shows all norms, at next to no cost. They are right to about 1e-6 unless the network
amplifies rounding, the gradient leaves float32's range, or something cancels. That is judged from sizes that the pass
shows by the way; where it may be so, the trial's record is measured once more in float64.

What is judged of a trial comes from its own minibatch alone, so it is the same in every stack.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gradlab.engine.activations import Activation
from gradlab.engine.layout import Layout
from gradlab.engine.measure import GradientNorms, norm_into
from gradlab.engine.network import Network, part
from gradlab.engine.normalisation import Normalised
from gradlab.engine.observer import Observer
from gradlab.engine.scratch import Scratch
from gradlab.engine.tasks import loss_signal

TOLERANCE = 2e-5
"""Relative error of a norm that float32 may have: a fifth of what is promised."""

ROUNDING = 1e-7
"""Relative error that one layer adds to its pre-activations, and a derivative has, in float32."""

KINK_MARGIN = 4.0
"""Pre-activations closer to a kink than so many of their errors may lie on its other side."""

KINKS_MATTER = 1 << 15
"""Elements of a hidden layer from which on one that lies on the other side of a kink changes its norm too little."""

SMALLEST, LARGEST = 1e-13, 1e13
"""Between these, norms in float32 neither lose nor overflow anything that counts."""

FAINTEST = 1e-25
"""A loss's derivative for one example, or by one output, that float32 may lose on the way back."""


class Confidence(Observer):
    """Looks at a recorded step of training, forward and back."""

    def __init__(self, network: Network, layout: Layout, like: Tensor, scratch: Scratch) -> None:
        self._network, self._layout, self._scratch = network, layout, scratch
        shape = (len(network.counts), len(layout.depths))
        self._z, self._u, self._h, self._signal = like.new_zeros((4, *shape))
        self._nearest, self._deviation = like.new_full((2, *shape), math.inf)
        self._lost = torch.zeros(shape[1], dtype=torch.bool, device=like.device)
        self._rows = 0

    def preactivation(self, layer: int, z: Tensor) -> None:
        """Note its size."""
        self._rows = z.shape[1]
        self._norm(self._z, layer, z)

    def normalisation(self, layer: int, normalised: Normalised) -> None:
        """Note the least deviation that anything was divided by."""
        self._deviation[layer, : len(normalised.centred)] = normalised.least_deviation()

    def activation_input(self, layer: int, u: Tensor) -> None:
        """Note how near it comes to a kink."""
        if self._layout.shape.norm != "none":
            self._norm(self._u, layer, u)
        if u.shape[1] * u.shape[2] >= KINKS_MATTER:
            return
        for trials, activation in self._network.runs(len(u)):
            piece = part(u, trials)
            for kink in activation.kernel.kinks or ():
                nearest = self._nearest[layer, trials]
                torch.minimum(nearest, self._distance(piece, kink).amin((1, 2)), out=nearest)

    def activation(self, layer: int, h: Tensor) -> None:
        """Note its size, where phi's input doesn't bound it."""
        if self._layout.shape.residual:
            self._norm(self._h, layer, h)

    def arriving(self, layer: int, signal: Tensor) -> None:
        """Note the size of d loss / d h, where float32 doesn't know slopes exactly."""
        for trials, activation in self._network.runs(len(signal)):
            if not activation.kernel.piecewise_linear:
                norm_into(self._signal[layer, trials], part(signal, trials))

    def leaving(self, layer: int, inputs: Tensor, gradient: Tensor) -> None:
        """Note whether entries of the weights' gradient, [trial, fan_in, fan_out], may be 0 though they should not be.

        Those of an input that is 0 in the whole minibatch, [trial, row, unit], are.
        """
        output = layer == len(self._network.counts)
        for trials, activation in self._network.runs(len(gradient)):
            linear = activation.kernel.piecewise_linear
            if output or not linear:
                zero = self._distance(part(gradient, trials)).amin(2) == 0
                if linear or layer == 0:
                    used = self._distance(part(inputs, trials)).sum(1) != 0  # faster than the greatest
                    zero &= used.repeat(1, zero.shape[1] // used.shape[1])
                self._lost[trials] |= zero.any(1)

    def doubtful(
        self, norms: GradientNorms, sizes: Tensor, x: Tensor, y: Tensor, output: Tensor, signal: Tensor, kind: str
    ) -> tuple[Tensor, Tensor]:
        """Which trials' gradients may be wrong by more than `TOLERANCE`, and which trials' units; flags [trial] each.

        Args:
            norms: those of the backward pass.
            sizes: the norms of each layer's weights and biases, [2, layer, trial], float64.
            x, y: the minibatch; `output` of the networks for it, [trial, example, output].
            signal: the loss's derivative by the outputs, as training took it back.
        """
        present = self._layout.presence(self._z)
        delta, weight, bias = (norms.of[part].double() for part in ("delta", "weight", "bias"))
        z = self._z.double()
        hidden = present[:-1]
        inputs = self._inputs(x)
        rounding = ROUNDING * self._cancellation_forward(inputs[:-1], sizes[:, :-1])
        forward = _gathered(torch.where(hidden, rounding, 0.0), torch.where(hidden, z * delta[:-1], 0.0))
        slopes = torch.where(hidden, self._slope_errors(delta[:-1]), 0.0)
        signal_error, faint = _of_signal(kind, loss_signal(kind, output, y) / x.shape[1], signal)
        of_inputs = forward * self._lost_in_means()
        back = torch.where(hidden, ROUNDING * self._cancellation_of_signal(delta, sizes[0]), 0.0)
        error = signal_error + (of_inputs.square() + slopes.square() + back.square()).cumsum(0)[-1].sqrt()
        right = error * self._cancellation_back(inputs, delta, weight, bias) < TOLERANCE
        usual = is_usual(delta) & is_usual(weight)
        usual[:-1] &= is_usual(z)
        near = self._nearest.double() < KINK_MARGIN * of_inputs * self._input_rms()
        sound = (right & usual | ~present).all(0) & ~near.any(0)
        unknown = self._each(lambda activation: activation.kernel.kinks is None)
        return ~sound | faint | self._lost | unknown, ~(of_inputs < TOLERANCE).all(0) | unknown

    def _slope_errors(self, delta: Tensor) -> Tensor:
        """How wrong float32's derivatives make each layer's signal, relative, [layer, trial]."""
        arriving = self._signal.double()
        steepest = self._each(lambda activation: activation.sup_derivative)
        errors: Tensor = ROUNDING * steepest * arriving / delta
        return errors.where(arriving > 0, 0.0)

    def _input_rms(self) -> Tensor:
        """The size of phi's inputs, by which their distance from a kink is judged, [layer, trial]."""
        shape = self._layout.shape
        inputs = self._z if shape.norm == "none" else self._u
        return torch.div(inputs.double(), math.sqrt(self._rows * shape.width))

    def _lost_in_means(self) -> Tensor:
        """How much greater, relative, the error of a normalised z is than that of z, 1 at least, [layer, trial]."""
        shape = self._layout.shape
        return means_to_deviations(self._z.double() / math.sqrt(self._rows * shape.width), self._deviation.double())

    def _inputs(self, x: Tensor) -> Tensor:
        """Bounds of the norms of each layer's inputs, the output layer's last, [layer, trial]."""
        shape = self._layout.shape
        at_zero = self._each(lambda activation: abs(float(activation.function(torch.zeros(())))))
        steepest = self._each(lambda activation: activation.sup_derivative)
        u = (self._z if shape.norm == "none" else self._u).double()
        bound = steepest * u + at_zero * math.sqrt(self._rows * shape.width)
        hidden = self._h.double() if shape.residual else bound
        first = torch.linalg.vector_norm(x.flatten(1), dim=1)[None].double()
        taps = 3.0 if shape.family == "cnn" else 1.0
        inputs = taps * torch.cat([first, hidden])
        deepest = torch.tensor(self._layout.depths, device=x.device)[None]
        inputs[-1:] = inputs.gather(0, deepest)
        return inputs

    def _cancellation_forward(self, inputs: Tensor, sizes: Tensor) -> Tensor:
        """How much smaller z is than a sum of terms of such sizes with random signs, 1 at least, [layer, trial]."""
        return cancellation(self._layout, inputs, sizes, self._z.double(), self._rows)

    def _cancellation_of_signal(self, delta: Tensor, sizes: Tensor) -> Tensor:
        """The same of the signal that the layer above sends back."""
        last = torch.tensor(self._layout.depths, device=delta.device) - 1
        layers = torch.arange(len(delta) - 1, device=delta.device)[:, None]
        root = torch.tensor([block.fan_out for block in self._layout.blocks], device=delta.device).double().sqrt()
        terms = sizes * delta / root[:, None]
        terms[-1] /= math.sqrt(self._layout.shape.positions)  # of which each gets a share
        above = torch.where(layers == last, terms[-1], terms[1:])
        arriving = torch.where(self._signal > 0, self._signal.double(), delta[:-1])
        return (above / arriving).clamp_(min=1.0)

    def _cancellation_back(self, inputs: Tensor, delta: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """How much smaller a layer's gradient is than a sum of as many terms with random signs, 1 at least."""
        shape = self._layout.shape
        of_weights = inputs * delta / (math.sqrt(self._rows) * weight)
        of_biases = delta / bias
        if shape.norm == "batch":
            of_biases[:-1] = 1.0
        cancelling: Tensor = torch.maximum(of_weights, of_biases).clamp_(min=1.0)
        return cancelling

    def _each(self, of: Callable[[Activation], float | bool]) -> Tensor:
        """Something of each trial's activation, [trial]."""
        values = {label: of(one) for label, one in {one.label: one for one in self._network.activations}.items()}
        return torch.tensor([values[one.label] for one in self._network.activations], device=self._z.device)

    def _distance(self, tensor: Tensor, place: float = 0.0) -> Tensor:
        """|tensor - place|; overwritten by the next."""
        out = self._scratch.take("distance", *tensor.shape)
        return torch.sub(tensor, place, out=out).abs_() if place else torch.abs(tensor, out=out)

    def _norm(self, table: Tensor, layer: int, tensor: Tensor) -> None:
        norm_into(table[layer, : len(tensor)], tensor)


def _gathered(rounding: Tensor, sensitivity: Tensor) -> Tensor:
    """The relative error of each layer's pre-activations, [layer, trial], from that which each adds.

    A relative change of z_k changes z_l by |z_k| |delta_k| / (|z_l| |delta_l|) times as much, about; the products are
    what is known of how strongly the loss depends on either.
    """
    gathered = (rounding * sensitivity).square().cumsum(0).sqrt() / sensitivity
    return torch.where(sensitivity == 0, rounding, gathered)


def _of_signal(kind: str, true: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """How wrong the signal is, relative, and whether it is too faint in places, [trial] each."""
    size, error = (torch.linalg.vector_norm(one, dim=(1, 2)).double() for one in (true, seen - true))
    if kind == "regression":
        return error / size, torch.zeros_like(size, dtype=torch.bool)
    strength = true.abs()
    least = torch.minimum(strength.amax(1).amin(1), strength.amax(2).amin(1))
    return error / size, ~(least > FAINTEST)


def cancellation(layout: Layout, inputs: Tensor, sizes: Tensor, z: Tensor, rows: int) -> Tensor:
    """How much smaller z is than a sum of terms of such sizes with random signs, 1 at least, [layer, trial].

    Args:
        inputs, z: norms of each hidden layer's inputs and pre-activations, [layer, trial].
        sizes: those of its weights and biases, [2, layer, trial].
        rows: of an input.
    """
    root = torch.tensor([block.fan_in for block in layout.blocks[:-1]], device=z.device).double().sqrt()[:, None]
    terms = sizes[0] * inputs / root + sizes[1] * math.sqrt(rows)
    return (terms / z).clamp_(min=1.0)


def means_to_deviations(rms: Tensor, deviation: Tensor) -> Tensor:
    """How much is lost where what is normalised is small beside its mean, 1 at least."""
    return (rms / deviation).clamp_(min=1.0)


def is_usual(norms: Tensor) -> Tensor:
    """Which sizes float32 has computed without loss; a 0 may be one that has been lost."""
    return (norms > SMALLEST) & (norms < LARGEST)
