"""How the parameters of a stack lie in one flat buffer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

from gradlab.config.sweep import Trial
from gradlab.engine.alignment import padded
from gradlab.engine.initialise import draw_weights

Group = TypeVar("Group")
Piece: TypeAlias = tuple[int, int]
"""Where something lies in a flat buffer: its first element, and the one after its last."""


@dataclass(frozen=True)
class Shape:
    """What all trials of a stack share.

    Attributes:
        family: mlp or cnn.
        image: (height, width) of a cnn's images, (1, 1) for an mlp.
        in_features: features of an example, or channels of an image.
        width: units (channels) of every hidden layer.
        out_features: outputs.
        norm: none, layer or batch.
        residual: whether hidden layers from the second on add their input.
    """

    family: str
    image: tuple[int, int]
    in_features: int
    width: int
    out_features: int
    norm: str
    residual: bool

    @property
    def positions(self) -> int:
        """Positions of a hidden layer: pixels of a cnn, 1 for an mlp."""
        return self.image[0] * self.image[1]

    def fan_in(self, layer: int, output: bool = False) -> int:
        """Inputs of one unit of hidden layer `layer` (1 is nearest the input) or of the output layer."""
        if output:
            return self.width
        taps = 9 if self.family == "cnn" else 1
        return taps * (self.in_features if layer == 1 else self.width)


@dataclass(frozen=True)
class Block:
    """One layer of all trials that have it, as two pieces of the flat buffer, [trial, slab] each.

    The first holds the weights [fan_in, fan_out] and nothing else, so that products can be written right into it; the
    second holds the bias [fan_out] and, where the layer is normalised, gain and shift. Slabs are padded, so that every
    trial starts on a vector's boundary (see `gradlab.engine.alignment`).
    """

    start: int
    trials: int
    fan_in: int
    fan_out: int
    affine: int

    @property
    def weight_count(self) -> int:
        """Weights of one trial's layer."""
        return self.fan_in * self.fan_out

    @property
    def slabs(self) -> tuple[int, int]:
        """Elements of one trial in either piece, padding included."""
        return padded(self.weight_count), padded(self.fan_out + 2 * self.affine)

    @property
    def pieces(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Where the pieces lie in the flat buffer, each as (start, slab)."""
        weights, others = self.slabs
        return (self.start, weights), (self.start + self.trials * weights, others)

    @property
    def stop(self) -> int:
        """Where the block ends in the flat buffer."""
        return self.start + self.trials * sum(self.slabs)


@dataclass(frozen=True)
class LayerParameters:
    """Views of a buffer: weight [trial, fan_in, fan_out], bias [trial, 1, fan_out], gain, shift [trial, 1, n]."""

    weight: Tensor
    bias: Tensor
    gain: Tensor | None
    shift: Tensor | None

    def tensors(self) -> list[Tensor]:
        """All of them that there are."""
        return [tensor for tensor in (self.weight, self.bias, self.gain, self.shift) if tensor is not None]

    def of(self, trials: Sequence[int]) -> LayerParameters:
        """A copy of those of some trials."""
        return self._each(lambda tensor: tensor[list(trials)])

    @classmethod
    def joined(cls, pieces: Sequence[LayerParameters]) -> LayerParameters:
        """A copy of those of all trials, one piece after the other."""
        tensors = zip(*(piece.tensors() for piece in pieces), strict=True)
        weight, bias, *affine = (torch.cat(own) for own in tensors)
        gain, shift = affine or (None, None)
        return cls(weight, bias, gain, shift)

    def between(self, trials: slice) -> LayerParameters:
        """Views of those of neighbouring trials; fewer where not all of them have the layer."""
        return self._each(lambda tensor: tensor[trials])

    def double(self) -> LayerParameters:
        """In float64."""
        return self._each(Tensor.double)

    def _each(self, change: Callable[[Tensor], Tensor]) -> LayerParameters:
        gain, shift = (tensor if tensor is None else change(tensor) for tensor in (self.gain, self.shift))
        return LayerParameters(change(self.weight), change(self.bias), gain, shift)


@dataclass(frozen=True)
class Layout:
    """The flat parameter buffer of a stack of trials, sorted from the deepest to the shallowest.

    Hidden layer l holds the first `counts[l - 1]` trials, namely those at least l deep; the output layer holds all.
    """

    shape: Shape
    depths: tuple[int, ...]
    counts: tuple[int, ...] = field(init=False)
    blocks: tuple[Block, ...] = field(init=False)

    def __post_init__(self) -> None:
        if list(self.depths) != sorted(self.depths, reverse=True):
            raise ValueError("trials of a stack stand from the deepest to the shallowest")
        deepest = self.depths[0]
        by_depth = Counter(self.depths)
        at_least = accumulate(by_depth[depth] for depth in range(deepest, 0, -1))
        object.__setattr__(self, "counts", tuple(at_least)[::-1])
        blocks: list[Block] = []
        start = 0
        for layer in range(1, deepest + 2):
            output = layer == deepest + 1
            trials = len(self.depths) if output else self.counts[layer - 1]
            fan_in, fan_out = self.shape.fan_in(layer, output), self.shape.out_features if output else self.shape.width
            affine = 0 if output else self._affine
            blocks.append(Block(start, trials, fan_in, fan_out, affine))
            start = blocks[-1].stop
        object.__setattr__(self, "blocks", tuple(blocks))

    @property
    def size(self) -> int:
        """Elements of the flat buffer, padding included."""
        return self.blocks[-1].stop

    @property
    def _affine(self) -> int:
        """Elements of a normalisation's gain: nn.LayerNorm of a cnn normalises channels and positions together."""
        shape = self.shape
        return {"none": 0, "batch": shape.width, "layer": shape.width * shape.positions}[shape.norm]

    def presence(self, like: Tensor) -> Tensor:
        """Which trials have which layer, the output layer last, [layer, trial], flags on the device of `like`."""
        counts = torch.tensor([block.trials for block in self.blocks], device=like.device)
        return torch.arange(len(self.depths), device=like.device) < counts[:, None]

    def across(self, values: Tensor) -> Tensor:
        """Values of the trials that have some layer, [trial], with 0 for those that lack it."""
        everywhere = values.new_zeros(len(self.depths))
        everywhere[: len(values)] = values
        return everywhere

    def parameters(self, trial: int) -> int:
        """Trainable parameters of one trial."""
        own = [*self.blocks[: self.depths[trial]], self.blocks[-1]]
        return sum(block.weight_count + block.fan_out + 2 * block.affine for block in own)

    def views(self, flat: Tensor) -> list[LayerParameters]:
        """The layers, hidden ones first, the output layer last, as views into `flat`."""
        layers = []
        for block in self.blocks:
            weights, others = (
                flat[start : start + block.trials * slab].view(block.trials, slab) for start, slab in block.pieces
            )
            ends = [block.fan_out, block.affine, block.affine]
            bias, gain, shift = torch.split(others[:, None, : sum(ends)], ends, dim=2)
            layers.append(
                LayerParameters(
                    weights[:, : block.weight_count].view(block.trials, block.fan_in, block.fan_out),
                    bias,
                    gain if block.affine else None,
                    shift if block.affine else None,
                )
            )
        return layers

    def initial(self, trials: Sequence[Trial]) -> Tensor:
        """The flat buffer at step 0, every trial's weights as plain PyTorch draws them; padding is 0."""
        flat = torch.zeros(self.size)
        layers = self.views(flat)
        for index, trial in enumerate(trials):
            drawn = draw_weights(trial, self.shape.in_features, self.shape.out_features)
            for layer, (weight, bias) in zip([*layers[: self.depths[index]], layers[-1]], drawn, strict=True):
                matrix = weight if weight.ndim == 2 else weight.permute(0, 2, 3, 1).flatten(1)
                layer.weight[index] = matrix.t()
                layer.bias[index, 0] = bias
                if layer.gain is not None:
                    layer.gain[index] = 1.0
        return flat

    def segments(self, groups: Sequence[Group]) -> list[dict[Group, list[Piece]]]:
        """For each layer, where the parameters of each group of trials lie in the flat buffer.

        `groups` names each trial's group; trials of one group that stand side by side share a piece.
        """
        layers = []
        for block in self.blocks:
            pieces: dict[Group, list[Piece]] = {}
            for start, slab in block.pieces:
                index = 0
                for group, run in groupby(groups[: block.trials]):
                    stop = index + len(list(run))
                    pieces.setdefault(group, []).append((start + index * slab, start + stop * slab))
                    index = stop
            layers.append({group: joined(own) for group, own in pieces.items()})
        return layers


def joined(pieces: Sequence[Piece]) -> list[Piece]:
    """The same pieces, in ascending order, with those that touch as one."""
    found: list[Piece] = []
    for start, stop in pieces:
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], stop)
        else:
            found.append((start, stop))
    return found
