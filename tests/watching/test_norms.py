"""Norms of a training's own tensors against float64, where float32 loses digits."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gradlab.watching.norms import norm, not_finite, total

LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda images: images,
    "channels last": lambda images: images.to(memory_format=torch.channels_last),
    "transposed": lambda images: images.flatten(1).T,
    "strided": lambda images: images[:, ::2, 1:],
    "expanded": lambda images: images[:1].expand(5, *images.shape[1:]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [0.1, 1e-13, 1e-30, 1e15])
def test_a_norm_is_right_in_every_layout_and_size(layout: str, size: float) -> None:
    images = LAYOUTS[layout](torch.randn(7, 6, 33, 31, generator=torch.Generator().manual_seed(0)) * size)
    expected = torch.linalg.vector_norm(images.double())
    torch.testing.assert_close(norm(images), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("entries", [1, 4096, 16_385, 3_000_001])
def test_equal_entries_add_up(entries: int) -> None:
    # One after the other in float32, three million of them are wrong by a thousandth.
    assert norm(torch.full((entries,), 0.1)).item() == pytest.approx(0.1 * entries**0.5, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_norm_of_every_precision(dtype: torch.dtype) -> None:
    values = torch.randn(500, 100, generator=torch.Generator().manual_seed(0)).to(dtype)
    torch.testing.assert_close(norm(values), torch.linalg.vector_norm(values.double()), rtol=1e-6, atol=0)


def test_a_norm_of_complex_numbers() -> None:
    values = torch.randn(50, 1000, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)).conj()
    expected = torch.linalg.vector_norm(values.to(torch.complex128))
    torch.testing.assert_close(norm(values), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e-140, 1.0, 1e160, 1e300])
def test_a_norm_in_float64_goes_as_far_as_its_numbers(size: float) -> None:
    values = torch.randn(300, 100, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(norm(values * size) / size, torch.linalg.vector_norm(values), rtol=1e-9, atol=0)


@pytest.mark.parametrize("entries", [0, 100_000])
def test_the_norm_of_nothing_is_exactly_0(entries: int) -> None:
    assert norm(torch.zeros(entries)).item() == 0


@pytest.mark.parametrize("place", [0, 99_999])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_entries_that_are_no_finite_numbers_are_seen_and_counted(value: float, place: int) -> None:
    values = torch.ones(100_000)
    values[place] = value
    assert not torch.isfinite(norm(values))
    assert not_finite(values, norm(values)).item() == 1
    assert not_finite(torch.ones(3), norm(torch.ones(3))).item() == 0


def test_the_norm_of_pieces_is_that_of_all() -> None:
    pieces = [torch.randn(n, dtype=torch.float64) * 1e-200 for n in (3, 50, 1)]
    whole = total([norm(piece) for piece in pieces])
    assert whole is not None
    torch.testing.assert_close(whole / 1e-200, torch.linalg.vector_norm(torch.cat(pieces) / 1e-200), rtol=1e-12, atol=0)
    assert total([]) is None
