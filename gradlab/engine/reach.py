"""Which units a gradient reaches at all, followed as a pattern of zeros."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gradlab.engine.layout import LayerParameters, Shape
from gradlab.engine.network import Network


def reached_units(
    network: Network,
    layers: Sequence[LayerParameters],
    active: Sequence[Tensor | None],
    alive: Sequence[Tensor | None],
    wrong: Tensor,
) -> list[Tensor]:
    """For every hidden layer, the units whose d ell / d z is not exactly 0 on some example, [trial, unit].

    A gradient is followed from the outputs down by its pattern of zeros alone: it passes an activation where phi' is
    not 0 and a product where a weight is not 0. Sums of products that are not all 0 count as not 0; so nothing is
    lost to underflow, and nothing has to be computed backward.

    Args:
        active: of each hidden layer, where phi' is not exactly 0, [trial, row, unit]; None for everywhere.
        alive: whether it is so in some row, [trial, unit]; None for all units.
        wrong: where d ell / d output is not exactly 0, [trial, example, output].
    """
    shape = network.shape
    from_output = _through(wrong, layers[-1].weight)
    if shape.positions > 1:
        from_output = from_output.repeat_interleave(shape.positions, dim=1)
    found: list[Tensor] = []
    above = from_output[:0]
    for index in reversed(range(len(active))):
        count, own, any_own = network.counts[index], active[index], alive[index]
        into = _join(above, from_output[above.shape[0] : count])
        everywhere = bool(into.all())
        at_u = into if own is None else own if everywhere else own & into
        at_z = _through_norm(network, at_u, layers[index])
        known = any_own if everywhere and at_z is at_u else None
        found.append(any_along(at_z, 1).expand(-1, shape.width) if known is None else known)
        if index == 0:
            break
        above = _through(at_z, layers[index].weight)
        if shape.family == "cnn":
            above = _spread(above, shape.image)
        if shape.residual:
            above = above | into
    return found[::-1]


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
        return any_along(pattern, -1, keepdim=True)
    return torch.bmm(pattern.expand(-1, -1, weight.shape[2]).double(), nonzero.double().mT) > 0


def _spread(pattern: Tensor, image: tuple[int, int]) -> Tensor:
    """The pattern that 3 x 3 neighbourhoods [trial, row, 9 * channel] leave on the positions they were taken from."""
    taps = pattern.expand(-1, -1, 9) if pattern.shape[2] == 1 else pattern
    height, width = image
    trials, rows, fan_in = taps.shape
    pieces = taps.view(trials, -1, height, width, 9, fan_in // 9)
    framed = pattern.new_zeros(trials, pieces.shape[1], height + 2, width + 2, fan_in // 9)
    for tap in range(9):
        dy, dx = divmod(tap, 3)
        framed[:, :, dy : dy + height, dx : dx + width] |= pieces[..., tap, :]
    return framed[:, :, 1 : height + 1, 1 : width + 1].reshape(trials, rows, fan_in // 9)


def _through_norm(network: Network, pattern: Tensor, layer: LayerParameters) -> Tensor:
    if layer.gain is None:
        return pattern
    if network.shape.norm == "batch":
        return pattern & (layer.gain != 0)
    pattern = pattern.expand(-1, -1, network.shape.width)
    grouped = pattern.reshape(pattern.shape[0], -1, layer.gain.shape[-1]) & (layer.gain != 0)
    # Layer normalisation mixes all of a group; of one unit alone it is constant.
    mixed = any_along(grouped, -1, keepdim=True) & (grouped.shape[-1] > 1)
    return mixed.expand_as(grouped).reshape(pattern.shape)


def nothing_from(closed: Tensor, shape: Shape) -> Tensor:
    """In which rows no gradient arrives from a layer above, from where none goes on there; 1 or 0, [trial, row] both.

    A pixel hears from its neighbours, too.
    """
    if shape.family == "mlp":
        return closed
    least = closed.view(len(closed), -1, *shape.image)
    for dim in (2, 3):
        line, least = least, least.clone()
        for step in (1, -1):
            inner = least.narrow(dim, max(step, 0), least.shape[dim] - 1)
            torch.minimum(inner, line.narrow(dim, max(-step, 0), least.shape[dim] - 1), out=inner)
    return least.view(closed.shape)


def any_along(flags: Tensor, dim: int, keepdim: bool = False) -> Tensor:
    """`flags.any(dim)`, by a kernel that is three times as fast."""
    return flags.view(torch.uint8).amax(dim, keepdim=keepdim).bool()
