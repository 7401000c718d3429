"""3 x 3 convolutions of a stack, every trial with weights of its own, and their gradients, written out.

Hidden tensors are [trial, example * height * width, channel], weights [trial, 9 * channel in, channel out] in the order
row, column, channel, biases [trial, 1, channel out]; zeros lie beyond an image's border. A trial's results have the
same bits wherever it stands in a stack, and however many others there are.

A convolution is three batched products, one for each row of a kernel. A row of their left factor is a *window*: the
channels of `fold` neighbouring columns and of one more on either side. Its product with a banded matrix is the output
at all `fold` columns. Lines stand apart, [line, example, column], so that the windows one line above or below some
positions are a range of rows, too, and need no copies of their own. Folding makes narrow products wider: at 8 channels
two columns at once are quicker by far more than the zeros in the band cost.

Calling an operator takes about as long as it takes to convolve one image, so what is computed step after step is bound
to its tensors once (`Convolution`, `Gradients`), and all views are made then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from gradlab.engine.alignment import Call, added_product, product

FULL_WIDTH = 16
"""Columns from which on a product is quick: two vectors of eight. Windows fold narrower ones together."""

DIRECT_WIDTH = 16
"""Channels from which on torch's own convolution of each trial by itself is quicker than windows and their products."""

DIRECT_WIDTH_BACK = 32
"""The same for an input's gradient, where the windows are there already: the weights' gradient needs them."""


@dataclass(frozen=True)
class Workspace:
    """Memory for convolutions of one shape, used over and over; nothing in it has to be kept between two of them.

    Attributes:
        fold: neighbouring columns that share a window.
        framed: [trial, line, example, 1 + width + 1, channel in]; the first and the last column stay zero.
        windows: [trial, 1 + height + 1, example, width / fold, (fold + 2) * channel in]; the first and the last line
            stay zero.
        band: [kernel row, trial, (fold + 2) * channel in, fold * channel out]; what is no weight's place stays zero.
        band_gradient: the same shape.
        product: [trial, line * example * width / fold, fold * channel out].
    """

    fold: int
    framed: Tensor
    windows: Tensor
    band: Tensor
    band_gradient: Tensor
    product: Tensor

    @classmethod
    def make(
        cls, like: Tensor, trials: int, examples: int, image: tuple[int, int], channels_in: int, channels_out: int
    ) -> Workspace:
        """Memory of `like`'s type and device, for images of (height, width)."""
        height, width = image
        fold = columns_in_a_window(channels_out, width)
        band = like.new_zeros(3, trials, (fold + 2) * channels_in, fold * channels_out)
        return cls(
            fold,
            like.new_zeros(trials, height, examples, width + 2, channels_in),
            like.new_zeros(trials, height + 2, examples, width // fold, (fold + 2) * channels_in),
            band,
            torch.empty_like(band),
            like.new_empty(trials, height * examples * width // fold, fold * channels_out),
        )

    def part(self, trials: int) -> Workspace:
        """The memory of the first `trials`."""
        return Workspace(
            self.fold,
            self.framed[:trials],
            self.windows[:trials],
            self.band[:, :trials],
            self.band_gradient[:, :trials],
            self.product[:trials],
        )

    @property
    def image(self) -> tuple[int, int]:
        """Height and width of an image."""
        return self.framed.shape[1], self.framed.shape[3] - 2

    def by_line(self, h: Tensor) -> Tensor:
        """A view [trial, line, example, column, channel] of a hidden tensor."""
        return h.view(h.shape[0], -1, *self.image, h.shape[-1]).transpose(1, 2)

    def blocks(self, band: Tensor) -> Tensor:
        """A view [kernel row, trial, column of the window, channel in, column, channel out] of a band."""
        return band.view(*band.shape[:2], self.fold + 2, self.framed.shape[-1], self.fold, -1)

    @cached_property
    def product_by_line(self) -> Tensor:
        """The product as [trial, line, example, column, channel out]."""
        trials, height, examples, framed_width, _ = self.framed.shape
        return self.product.view(trials, height, examples, framed_width - 2, -1)

    @cached_property
    def rows(self) -> tuple[Tensor, ...]:
        """Windows of the line above every position, of its own and of the one below: [trial, row, unit of a window]."""
        trials, lines, examples, columns, channels = self.windows.shape
        step = examples * columns
        rows = self.windows.view(trials, lines * step, channels)
        return tuple(rows.narrow(1, line * step, (lines - 2) * step) for line in range(3))

    @cached_property
    def _copies(self) -> tuple[Tensor, Tensor, Tensor]:
        """What the frame is around; the windows of what is framed, as a view; where they are copied to."""
        inside, place = self.framed[:, :, :, 1:-1], self.windows[:, 1:-1]
        trial, line, example, column, _ = self.framed.stride()
        return inside, self.framed.as_strided(place.shape, (trial, line, example, self.fold * column, 1)), place

    def fill(self, images: Tensor) -> None:
        """Take the windows of images [trial, line, example, column, channel in]."""
        inside, windows, place = self._copies
        inside.copy_(images)
        place.copy_(windows)


class Convolution:
    """A convolution bound to its tensors: a layer's, h -> z, or turned round, the way back, dL/dz -> dL/dh."""

    def __init__(
        self,
        space: Workspace,
        h: Tensor,
        weight: Tensor,
        out: Tensor,
        *,
        bias: Tensor | None = None,
        turned: bool = False,
    ) -> None:
        """Bind to h [trial, row, channel in], weight, bias and out [trial, row, channel out].

        With `turned`, the weight is that of the way from `out` to h.
        """
        self._space, self._source, self._lines = space, space.by_line(h), space.by_line(out).flatten(3)
        taps = _taps(weight).mT if turned else _taps(weight)
        self._trials: list[_Trial] = []
        if is_direct(h, DIRECT_WIDTH_BACK if turned else DIRECT_WIDTH, taps.shape[3:]):
            images, z = (tensor.view(tensor.shape[0], -1, *space.image, tensor.shape[-1]) for tensor in (h, out))
            biases = [None] * h.shape[0] if bias is None else bias[:, 0]
            own = zip(images, taps, biases, z, strict=True)
            self._trials = [_Trial(*tensors, turned) for tensors in own]
        band, by_row = space.blocks(space.band), taps.transpose(0, 1)
        columns = range(space.fold)
        if turned:
            pairs = [(column, tap) for column in columns for tap in range(3)]
            self._band = [(band[:, :, column + 2 - tap, :, column], by_row[:, :, tap]) for column, tap in pairs]
        else:
            self._band = [(band[:, :, column : column + 3, :, column], by_row) for column in columns]
        by_line = list(space.band)[::-1] if turned else list(space.band)
        first, *others = zip(space.rows, by_line, strict=True)
        self._products: list[Call] = [
            product(space.product, *first),
            *(added_product(space.product, *factors) for factors in others),
        ]
        self._biases: tuple[Tensor, Tensor] | None = None
        if bias is not None:
            line = bias.new_empty(bias.shape[0], 1, 1, space.image[1], bias.shape[-1])
            self._biases = line, bias[:, None, None]

    def __call__(self) -> None:
        """Compute `out` from what the other tensors hold now."""
        if not self._trials:
            self._space.fill(self._source)
        self.from_windows()

    def from_windows(self) -> None:
        """The same where the windows of h are taken already."""
        if self._trials:
            for trial in self._trials:
                trial.convolve()
            return
        for place, taps in self._band:
            place.copy_(taps)
        for multiply in self._products:
            multiply()
        lines = self._space.product_by_line.flatten(3)
        if self._biases is None:
            self._lines.copy_(lines)
        else:
            biases, bias = self._biases
            torch.add(lines, biases.copy_(bias).flatten(3), out=self._lines)


@dataclass(frozen=True)
class _Trial:
    """One trial's convolution by torch's own.

    Attributes:
        images, out: [example, height, width, channel].
        taps: [3, 3, channel in, channel out].
    """

    images: Tensor
    taps: Tensor
    bias: Tensor | None
    out: Tensor
    turned: bool

    def convolve(self) -> None:
        """Compute the output."""
        taps = self.taps.flip(0, 1) if self.turned else self.taps
        z = F.conv2d(self.images.permute(0, 3, 1, 2), taps.permute(3, 2, 0, 1), self.bias, padding=1)
        self.out.copy_(z.permute(0, 2, 3, 1))


class Gradients:
    """A convolution's gradients, bound to their tensors."""

    def __init__(
        self,
        space: Workspace,
        h: Tensor,
        weight: Tensor,
        signal: Tensor,
        weight_gradient: Tensor,
        bias_gradient: Tensor,
        input_gradient: Tensor | None,
    ) -> None:
        """Bind to the convolution's input and weight, and to gradients of the same shapes.

        Args:
            space: memory for convolutions of the way back, from the output's channels to the input's.
            signal: dL/dz, [trial, row, channel out].
            input_gradient: None where nobody needs it.
        """
        self._space, self._signal, self._bias_gradient = space, signal, bias_gradient
        self._signal_by_line, self._input_by_line = space.by_line(signal), space.by_line(h)
        factors = zip(space.rows, reversed(list(space.band_gradient)), strict=True)
        self._products = [product(of_band, rows.mT, space.product) for rows, of_band in factors]
        blocks, by_row = space.blocks(space.band_gradient), _taps(weight_gradient).mT.transpose(0, 1)
        self._sums = [
            (by_row[:, :, tap], [blocks[:, :, column + 2 - tap, :, column] for column in range(space.fold)])
            for tap in range(3)
        ]
        self._back: Convolution | None = None
        if input_gradient is not None:
            self._back = Convolution(space, signal, weight, input_gradient, turned=True)

    def __call__(self) -> None:
        """Compute all gradients from what the input, the weight and the signal hold now.

        The windows of the signal serve twice: times h they are the gradient of the band, which is the weights', and
        times the band turned round they are the input's.
        """
        space = self._space
        space.fill(self._signal_by_line)
        space.product_by_line.copy_(self._input_by_line)
        for multiply in self._products:
            multiply()
        for place, (first, *others) in self._sums:
            place.copy_(first)
            for other in others:
                place.add_(other)
        torch.sum(self._signal, 1, keepdim=True, out=self._bias_gradient)
        if self._back is not None:
            self._back.from_windows()


def columns_in_a_window(channels: int, width: int) -> int:
    """Neighbouring columns, a power of two that divides `width`, whose `channels` outputs are one row of a product."""
    columns = 1
    while columns * channels < FULL_WIDTH and width % (2 * columns) == 0:
        columns *= 2
    return columns


def is_direct(h: Tensor, width: int, channels: Sequence[int]) -> bool:
    """Whether trials are convolved one by one: told by type, device and shape, and never by the stack."""
    if h.dtype != torch.float32 or h.device.type != "cpu" or min(channels) < width:
        return False
    onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return onednn


def _taps(weight: Tensor) -> Tensor:
    """Weights [trial, 9 * channel in, channel out] as [trial, 3, 3, channel in, channel out]."""
    return weight.view(weight.shape[0], 3, 3, -1, weight.shape[-1])
