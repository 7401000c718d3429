"""The products of a stack's hidden layers, forward and back: with matrices, or convolutions.

All are bound to their tensors, to be called when these hold what is to be multiplied.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from gradlab.engine.alignment import Call, added_product, affine, product
from gradlab.engine.convolution import Convolution, Gradients, Workspace
from gradlab.engine.layout import LayerParameters, Shape
from gradlab.engine.scratch import Scratch


class Dense:
    """Fully connected layers.

    Args:
        gradients: where those of the parameters go, laid out like `layers`; None where there is no way back.
    """

    def __init__(self, layers: Sequence[LayerParameters], gradients: Sequence[LayerParameters] | None) -> None:
        self._layers, self._gradients = layers, gradients

    def forward(self, index: int, h: Tensor, z: Tensor) -> Call:
        """z of a layer from its input, [trial, row, unit] both."""
        return affine(z, self._layers[index].bias, h, self._layers[index].weight)

    def back(self, index: int, h: Tensor, delta: Tensor, below: Tensor | None, *, add: bool = False) -> Sequence[Call]:
        """A layer's gradients from d loss / d z and its input; that by the input goes to `below`, or is added there."""
        calls: list[Call] = []
        if below is not None:
            into = added_product if add else product
            calls.append(into(below, delta, self._layers[index].weight.mT))
        if self._gradients is not None:
            gradient = self._gradients[index]
            calls.append(product(gradient.weight, h.mT, delta))
            calls.append(partial(torch.sum, delta, 1, keepdim=True, out=gradient.bias))
        return calls


class Convolutions:
    """3 x 3 convolutions of images, [trial, example * height * width, channel]; otherwise like `Dense`.

    Convolutions are bound to tensors, so that each pair of tensors, which come again step after step, has its own.
    """

    def __init__(
        self,
        shape: Shape,
        layers: Sequence[LayerParameters],
        gradients: Sequence[LayerParameters] | None,
        scratch: Scratch,
    ) -> None:
        self._shape, self._layers, self._gradients = shape, layers, gradients
        self._scratch = scratch
        self._forward: dict[tuple[int, int, int, int], Convolution] = {}
        self._back: dict[tuple[int, int, int], Sequence[Call]] = {}

    def forward(self, index: int, h: Tensor, z: Tensor) -> Call:
        """z of a layer from its input, [trial, row, channel] both; that of the first is read at once."""
        h = self._lasting(index, h)
        key = (index, h.shape[1], h.data_ptr(), z.data_ptr())
        if key not in self._forward:
            layer, space = self._layers[index], self._space(h, z.shape[2])
            self._forward[key] = Convolution(space, h, layer.weight, z, bias=layer.bias)
        return self._forward[key]

    def back(self, index: int, h: Tensor, delta: Tensor, below: Tensor | None, *, add: bool = False) -> Sequence[Call]:
        """A layer's gradients from d loss / d z and its input; that by the input goes to `below`, or is added there."""
        if self._gradients is None:
            raise ValueError("there is no way back without gradients")
        h = self._lasting(index, h, copy=False)
        key = (index, delta.data_ptr(), 0 if below is None else below.data_ptr())
        if key not in self._back:
            layer, gradient = self._layers[index], self._gradients[index]
            by_input = torch.empty_like(h) if add else below
            space = self._space(delta, h.shape[2])
            own = Gradients(space, h, layer.weight, delta, gradient.weight, gradient.bias, by_input)
            adds = [partial(below.add_, by_input)] if add and below is not None and by_input is not None else []
            self._back[key] = [own, *adds]
        return self._back[key]

    def _lasting(self, index: int, h: Tensor, *, copy: bool = True) -> Tensor:
        """The input of a layer in memory that stays; that of the first comes in new memory every time."""
        if index > 0:
            return h
        lasting = self._scratch.take("input", *h.shape)
        return lasting.copy_(h) if copy else lasting

    def _space(self, images: Tensor, channels: int) -> Workspace:
        trials, rows, channels_in = images.shape
        key = (rows, channels_in, channels)
        spaces = self._scratch.workspaces
        if key not in spaces or len(spaces[key].windows) < trials:
            examples = rows // self._shape.positions
            spaces[key] = Workspace.make(images, trials, examples, self._shape.image, channels_in, channels)
        return spaces[key].part(trials)
