"""Stacked convolutions against torch's own and autograd in float64; a trial's bits alone and in stacks."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gradlab.engine.convolution import DIRECT_WIDTH_BACK, Convolution, Gradients, Workspace, columns_in_a_window
from tests.engine.stacking import same_bits

IMAGES = [(1, 1), (8, 8), (5, 7), (2, 6)]
CHANNELS = [(1, 1), (1, 8), (3, 3), (8, 3), (8, 8), (12, 5), (16, 16), (33, 33), (3, 33), (33, 64)]
"""Folded windows of 8, 4 and 2 columns and unfolded ones; torch's own convolution on no way, one and both."""
NAMES = ("z", "weight gradient", "bias gradient", "input gradient")


@dataclass(frozen=True)
class Layer:
    """Inputs of a stacked layer and dL/dz of its output; weight and bias lie in slabs, as in a stack's buffer."""

    image: tuple[int, int]
    h: Tensor
    weight: Tensor
    bias: Tensor
    signal: Tensor

    @classmethod
    def random(
        cls,
        trials: int,
        examples: int,
        image: tuple[int, int],
        channels: tuple[int, int],
        dtype: torch.dtype,
        seed: int,
    ) -> Layer:
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=dtype)

        rows, (inputs, outputs) = examples * image[0] * image[1], channels
        return cls.in_slabs(
            image,
            normal(trials, rows, inputs),
            normal(trials, 9 * inputs, outputs),
            normal(trials, 1, outputs),
            normal(trials, rows, outputs),
        )

    @classmethod
    def in_slabs(cls, image: tuple[int, int], h: Tensor, weight: Tensor, bias: Tensor, signal: Tensor) -> Layer:
        weight_slab, bias_slab = slabs_like(weight, bias)
        weight_slab.copy_(weight)
        bias_slab.copy_(bias)
        return cls(image, h, weight_slab, bias_slab, signal)

    def part(self, trials: slice) -> Layer:
        """Some trials, in memory of their own."""
        tensors = (self.h, self.weight, self.bias, self.signal)
        return Layer.in_slabs(self.image, *(tensor[trials].clone() for tensor in tensors))

    def workspaces(self) -> tuple[Workspace, Workspace]:
        """There and back."""
        trials, rows, inputs = self.h.shape
        examples, outputs = rows // (self.image[0] * self.image[1]), self.signal.shape[-1]
        there = Workspace.make(self.h, trials, examples, self.image, inputs, outputs)
        if inputs == outputs:
            return there, there
        return there, Workspace.make(self.h, trials, examples, self.image, outputs, inputs)

    def results(self, there: Workspace, back: Workspace, *, whole: bool = True) -> list[Tensor]:
        """Everything that `NAMES` lists, without the last unless `whole`; NaN where nothing was written."""
        z, input_gradient = (torch.full_like(tensor, torch.nan) for tensor in (self.signal, self.h))
        weight_gradient, bias_gradient = slabs_like(self.weight, self.bias)
        Convolution(there, self.h, self.weight, z, bias=self.bias)()
        wanted = input_gradient if whole else None
        Gradients(back, self.h, self.weight, self.signal, weight_gradient, bias_gradient, wanted)()
        return [z, weight_gradient, bias_gradient, *([input_gradient] if whole else [])]


def slabs_like(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Views of the same shapes into one buffer of NaN: other trials' parameters stand between a tensor's."""
    trials, outputs = weight.shape[0], weight.shape[-1]
    slab = weight.new_full((trials, weight[0].numel() + outputs + 5), torch.nan)
    ends = weight[0].numel(), weight[0].numel() + outputs
    return slab[:, : ends[0]].view(weight.shape), slab[:, ends[0] : ends[1]].unsqueeze(1)


def by_torch(layer: Layer, trial: int) -> list[Tensor]:
    """A trial's results by F.conv2d and autograd in float64, as rows."""
    outputs, inputs = layer.signal.shape[-1], layer.h.shape[-1]

    def images(rows: Tensor) -> Tensor:
        return rows.double().view(-1, *layer.image, rows.shape[-1]).permute(0, 3, 1, 2).contiguous()

    x = images(layer.h[trial]).requires_grad_()
    kernel = layer.weight[trial].double().view(3, 3, inputs, outputs).permute(3, 2, 0, 1).contiguous().requires_grad_()
    bias = layer.bias[trial, 0].double().requires_grad_()
    z = F.conv2d(x, kernel, bias, padding=1)
    of_x, of_kernel, of_bias = torch.autograd.grad(z, [x, kernel, bias], images(layer.signal[trial]))
    rows = [tensor.permute(0, 2, 3, 1).flatten(0, 2) for tensor in (z.detach(), of_x)]
    return [rows[0], of_kernel.permute(2, 3, 1, 0).flatten(0, 2), of_bias[None], rows[1]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("image", IMAGES)
def test_against_torch_in_float64(image: tuple[int, int], channels: tuple[int, int], dtype: torch.dtype) -> None:
    layer = Layer.random(3, 7, image, channels, dtype, seed=1)
    spaces = layer.workspaces()
    results = layer.results(*spaces)
    # Relative to the largest number that is to be found: a sum may cancel.
    allowed = 40 * torch.finfo(dtype).eps
    for trial in range(3):
        for name, got, expected in zip(NAMES, results, by_torch(layer, trial), strict=True):
            error = (got[trial] - expected).abs().max() / expected.abs().max().clamp(min=1)
            assert error < allowed, name
    for got, again in zip(results, layer.results(*spaces, whole=False), strict=False):
        assert torch.equal(got, again)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(("image", "examples"), [((1, 1), 1), ((5, 7), 1), ((2, 6), 7), ((8, 8), 16)])
def test_a_trial_has_the_same_bits_alone_and_in_any_stack(
    image: tuple[int, int], examples: int, channels: tuple[int, int], dtype: torch.dtype
) -> None:
    assert_same_bits(Layer.random(7, examples, image, channels, dtype, seed=2))


@pytest.mark.parametrize("width", [1, 8, 16, DIRECT_WIDTH_BACK, 64])
def test_the_same_bits_at_batches_that_products_are_blocked_for(width: int) -> None:
    assert_same_bits(Layer.random(3, 64, (8, 8), (width, width), torch.float32, seed=3))


@settings(deadline=None, max_examples=40)
@given(
    trials=st.integers(2, 5),
    examples=st.integers(1, 9),
    image=st.tuples(st.integers(1, 6), st.integers(1, 8)),
    channels=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 99),
)
def test_the_same_bits_at_any_shape(
    trials: int, examples: int, image: tuple[int, int], channels: tuple[int, int], dtype: torch.dtype, seed: int
) -> None:
    assert_same_bits(Layer.random(trials, examples, image, channels, dtype, seed))


def assert_same_bits(layer: Layer) -> None:
    together = layer.results(*layer.workspaces())
    trials = layer.h.shape[0]
    for size in {1, 2, trials - 1}:
        for start in range(trials - size + 1):
            own = slice(start, start + size)
            part = layer.part(own)
            for name, all_trials, these in zip(NAMES, together, part.results(*part.workspaces()), strict=True):
                assert same_bits(all_trials[own], these), f"{name} of {own}"


@pytest.mark.parametrize("channels", [(3, 3), (8, 8), (33, 33)])
def test_layers_with_fewer_trials_work_in_a_part_of_the_memory(channels: tuple[int, int]) -> None:
    layer = Layer.random(4, 3, (4, 6), channels, torch.float32, seed=4)
    there, back = layer.workspaces()
    expected = layer.results(there, back)
    for count in (3, 1):
        results = layer.part(slice(0, count)).results(there.part(count), back.part(count))
        for got, all_trials in zip(results, expected, strict=True):
            assert torch.equal(got, all_trials[:count])


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("channels", [(3, 3), (8, 8), (33, 33)])
def test_what_is_not_finite_stays_in_its_trial_and_does_not_stay_in_memory(
    channels: tuple[int, int], value: float
) -> None:
    layer = Layer.random(3, 2, (4, 4), channels, torch.float32, seed=5)
    spaces = layer.workspaces()
    expected = layer.results(*spaces)
    diverged = layer.part(slice(0, 3))
    for tensor in (diverged.h, diverged.weight, diverged.bias, diverged.signal):
        tensor[1] = value
    for got, clean in zip(diverged.results(*spaces), expected, strict=True):
        assert torch.equal(got[::2], clean[::2])
        assert not got[1].isfinite().any()
    for got, clean in zip(layer.results(*spaces), expected, strict=True):
        assert torch.equal(got, clean)


def test_bound_tensors_are_read_anew_at_every_call() -> None:
    layer = Layer.random(2, 3, (4, 4), (8, 8), torch.float64, seed=6)
    other = Layer.random(2, 3, (4, 4), (8, 8), torch.float64, seed=7)
    z = torch.empty_like(layer.signal)
    convolve = Convolution(layer.workspaces()[0], layer.h, layer.weight, z, bias=layer.bias)
    convolve()
    for mine, others in ((layer.h, other.h), (layer.weight, other.weight), (layer.bias, other.bias)):
        mine.copy_(others)
    convolve()
    assert torch.equal(z, other.results(*other.workspaces())[0])


@given(channels=st.integers(1, 70), width=st.integers(1, 40))
def test_windows_share_columns_until_a_product_is_wide_or_the_line_is_no_multiple(channels: int, width: int) -> None:
    columns = columns_in_a_window(channels, width)
    assert columns.bit_count() == 1
    assert width % columns == 0
    assert columns == 1 or columns // 2 * channels < 16
    assert columns * channels >= 16 or width % (2 * columns) != 0
