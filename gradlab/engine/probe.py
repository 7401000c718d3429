"""The statistics of units on the probe, by the contract's definitions, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gradlab.engine.layout import LayerParameters, Layout
from gradlab.engine.measure import Statistics, empty
from gradlab.engine.network import HiddenLayer, Network, Patches, RunningMoments

HIDDEN_STATISTICS = (
    "activation_mean",
    "activation_rms",
    "saturated_fraction",
    "dead_units",
    "zero_gradient_units",
)
"""Statistics of units that have an activation: none in the output layer."""

UNIT_STATISTICS = ("preactivation_rms", *HIDDEN_STATISTICS)

CHUNK = 1 << 19
"""Elements of a hidden layer of one trial that are looked at in one go."""


@dataclass
class _Seen:
    """What the probe has shown of one hidden layer so far: sums [trial], flags [trial, unit]."""

    squared_preactivation: Tensor
    activation: Tensor
    squared_activation: Tensor
    saturated: Tensor
    alive: Tensor
    reached: Tensor

    @staticmethod
    def nothing(like: Tensor) -> _Seen:
        """No example seen yet, for pre-activations [trial, row, unit] such as `like`."""
        sums = [like.new_zeros(like.shape[0]) for _ in range(4)]
        flags = [torch.zeros_like(like[:, 0], dtype=torch.bool) for _ in range(2)]
        return _Seen(*sums, *flags)


def measure_units(
    network: Network,
    layout: Layout,
    flat: Tensor,
    x: Tensor,
    y: Tensor,
    moments: Sequence[RunningMoments],
    kind: str,
) -> Statistics:
    """Activation statistics of every hidden layer on the probe x [example, ...], y, the networks in eval mode."""
    layers = layout.views(flat.double())
    moments = [RunningMoments(m.mean.double(), m.variance.double()) for m in moments]
    seen: list[_Seen] = []
    of_output = torch.zeros(len(layout.depths), dtype=torch.float64, device=flat.device)
    rows = max(1, CHUNK // (network.shape.width * network.shape.positions))
    with torch.no_grad():
        for part, target in zip(torch.split(x, rows), torch.split(y, rows), strict=True):
            of_output += _look(network, layers, part.double(), target, moments, kind, seen)
    return _statistics(layout, seen, of_output, len(x), network.shape.positions)


def _look(
    network: Network,
    layers: Sequence[LayerParameters],
    x: Tensor,
    y: Tensor,
    moments: Sequence[RunningMoments],
    kind: str,
    seen: list[_Seen],
) -> Tensor:
    """Add one chunk of the probe to `seen`; the sum of squared outputs, [trial]."""
    active: list[Tensor | None] = []

    def visit(layer: int, hidden: HiddenLayer) -> Tensor:
        z, u, h = hidden.preactivation, hidden.activation_input, hidden.activation
        active.append(_active(network, u))
        if len(seen) < layer:
            seen.append(_Seen.nothing(z))
        so_far, alive = seen[layer - 1], active[-1]
        so_far.squared_preactivation += torch.linalg.vector_norm(z, dim=(1, 2)).square()
        so_far.activation += h.sum((1, 2))
        so_far.squared_activation += torch.linalg.vector_norm(h, dim=(1, 2)).square()
        for start, stop, activation in network.runs(u.shape[0]):
            if activation.saturated is not None:
                so_far.saturated[start:stop] += _count(activation.saturated(u[start:stop]))
        so_far.alive |= True if alive is None else _any(alive, 1)
        return h

    trials = len(network.activations)
    output = network.forward(layers, x.expand(trials, *x.shape), moments, training=False, visit=visit)
    # Only squared error can be met exactly; a softmax or sigmoid never reaches its target.
    wrong = output != y if kind == "regression" else torch.ones_like(output, dtype=torch.bool)
    for layer, reached in enumerate(_reached(network, layers, active, wrong)):
        seen[layer].reached |= _any(reached, 1)
    norms: Tensor = torch.linalg.vector_norm(output, dim=(1, 2))
    return norms.square()


def _active(network: Network, u: Tensor) -> Tensor | None:
    """Where phi' is not exactly 0, [trial, row, unit]; None for everywhere."""
    runs = network.runs(u.shape[0])
    if all(activation.zero_derivative is None for _, _, activation in runs):
        return None
    active = torch.ones_like(u, dtype=torch.bool)
    for start, stop, activation in runs:
        if activation.zero_derivative is not None:
            active[start:stop] = ~activation.zero_derivative(u[start:stop])
    return active


def _any(flags: Tensor, dim: int, keepdim: bool = False) -> Tensor:
    """`flags.any(dim)`, by a kernel that is three times as fast."""
    return flags.view(torch.uint8).amax(dim, keepdim=keepdim).bool()


def _count(flags: Tensor) -> Tensor:
    """How many flags are set, [trial], likewise quick."""
    return flags.view(torch.uint8).flatten(1).sum(1, dtype=torch.int32)


def _reached(
    network: Network, layers: Sequence[LayerParameters], active: Sequence[Tensor | None], wrong: Tensor
) -> list[Tensor]:
    """Where d ell / d z is not exactly 0, for every hidden layer, [trial, row, unit] or [trial, row, 1] for all units.

    A gradient is followed from the outputs down by its pattern of zeros alone: it passes an activation where phi' is
    not 0 and a product where a weight is not 0. Sums of products that are not all 0 count as not 0; so nothing is
    lost to underflow, and nothing has to be computed backward.
    """
    shape = network.shape
    from_output = _through(wrong, layers[-1].weight)
    if shape.positions > 1:
        from_output = from_output.repeat_interleave(shape.positions, dim=1)
    patterns: list[Tensor] = []
    above = from_output[:0]
    for index in reversed(range(len(active))):
        count, own = network.counts[index], active[index]
        into = _join(above, from_output[above.shape[0] : count])
        at_z = _through_norm(network, into if own is None else own & into, layers[index])
        patterns.append(at_z)
        if index == 0:
            break
        above = _through(at_z, layers[index].weight)
        if shape.family == "cnn":
            above = _spread(above, shape.image)
        if shape.residual:
            above = above | into
    return patterns[::-1]


def _join(first: Tensor, second: Tensor) -> Tensor:
    """Both patterns, one trial after the other; a pattern with one column stands for all units."""
    if first.shape[2] != second.shape[2]:
        units = max(first.shape[2], second.shape[2])
        first, second = (pattern.expand(-1, -1, units) for pattern in (first, second))
    return torch.cat([first, second])


def _through(pattern: Tensor, weight: Tensor) -> Tensor:
    """The pattern of `signal @ weight.mT` for signals of this pattern, [trial, row, fan_in] or [trial, row, 1]."""
    nonzero = weight != 0
    if bool(nonzero.all()):
        return _any(pattern, -1, keepdim=True)
    return torch.bmm(pattern.expand(-1, -1, weight.shape[2]).double(), nonzero.double().mT) > 0


def _spread(pattern: Tensor, image: tuple[int, int]) -> Tensor:
    """The pattern that 3 x 3 neighbourhoods [trial, row, 9 * channel] leave on the positions they were taken from."""
    taps = pattern.expand(-1, -1, 9) if pattern.shape[2] == 1 else pattern
    scattered: Tensor = Patches.backward(_Image(image), taps.double())[0]
    return scattered > 0


@dataclass(frozen=True)
class _Image:
    image: tuple[int, int]


def _through_norm(network: Network, pattern: Tensor, layer: LayerParameters) -> Tensor:
    if layer.gain is None:
        return pattern
    if network.shape.norm == "batch":
        return pattern & (layer.gain != 0)
    pattern = pattern.expand(-1, -1, network.shape.width)
    grouped = pattern.reshape(pattern.shape[0], -1, layer.gain.shape[-1]) & (layer.gain != 0)
    # Layer normalisation mixes all of a group; of one unit alone it is constant.
    mixed = _any(grouped, -1, keepdim=True) & (grouped.shape[-1] > 1)
    return mixed.expand_as(grouped).reshape(pattern.shape)


def _statistics(layout: Layout, seen: Sequence[_Seen], of_output: Tensor, examples: int, positions: int) -> Statistics:
    result = empty(layout, UNIT_STATISTICS, seen[0].activation.device)
    rows = examples * positions
    result["preactivation_rms"][-1] = (of_output / (examples * layout.shape.out_features)).sqrt()
    for index, layer in enumerate(seen):
        count, units = layer.alive.shape
        row = {
            "preactivation_rms": (layer.squared_preactivation / (rows * units)).sqrt(),
            "activation_mean": layer.activation / (rows * units),
            "activation_rms": (layer.squared_activation / (rows * units)).sqrt(),
            "saturated_fraction": layer.saturated / (rows * units),
            "dead_units": (~layer.alive).sum(1).double(),
            "zero_gradient_units": (~layer.reached).sum(1).double(),
        }
        for name, values in row.items():
            result[name][index, :count] = values
    return result
