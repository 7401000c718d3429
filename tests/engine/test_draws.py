"""Prints tell one draw of weights from another, whatever is done to their scale."""

from __future__ import annotations

import pytest
import torch

from gradlab.engine.draws import weight_print


def weights(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 7, 5), (2, 64, 33), (1, 4, 3, 3, 3)])
def test_gains_leave_a_print_as_it_is(shape: tuple[int, ...]) -> None:
    drawn = weights(0, *shape)
    for gain in (1e-30, 0.5, 1.41, 1e30):
        torch.testing.assert_close(weight_print(gain * drawn), weight_print(drawn), rtol=1e-6, atol=1e-6)


def test_a_print_doesn_t_depend_on_the_stack() -> None:
    drawn = weights(0, 5, 64, 33)
    alone = torch.cat([weight_print(drawn[trial : trial + 1]) for trial in range(5)])
    torch.testing.assert_close(weight_print(drawn), alone, rtol=1e-12, atol=0)


def test_prints_of_independent_draws_are_about_standard_normal() -> None:
    prints = weight_print(weights(0, 2000, 40, 10))
    assert abs(prints.mean().item()) < 4 / 2000**0.5
    assert abs(prints.std().item() - 1) < 4 / 4000**0.5


def test_rounding_to_bfloat16_moves_a_print_by_little_and_a_new_draw_by_much() -> None:
    drawn = weights(0, 500, 64, 64)
    rounded = (weight_print(drawn.bfloat16().float()) - weight_print(drawn)).abs()
    assert rounded.max() < 0.01
    other = (weight_print(weights(1, 500, 64, 64)) - weight_print(drawn)).abs()
    assert (other < 0.02).double().mean() < 0.04


def test_weights_that_are_all_zero_have_no_print() -> None:
    assert weight_print(torch.zeros(2, 3, 4)).isnan().all()
