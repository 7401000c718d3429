"""Weights at step 0 against the modules and the initialisers of torch themselves, at many sizes."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from gradlab.config.choices import INITS
from gradlab.engine.initialise import draw_bias, draw_weight, draw_weights
from tests.oracles.samples import one_trial


def plain(seed: int, family: str, sizes: list[int], out_features: int) -> list[nn.Module]:
    torch.manual_seed(seed)
    hidden = [
        nn.Conv2d(fan_in, fan_out, 3, padding=1) if family == "cnn" else nn.Linear(fan_in, fan_out)
        for fan_in, fan_out in itertools.pairwise(sizes)
    ]
    return [*hidden, nn.Linear(sizes[-1], out_features)]


@pytest.mark.parametrize("family", ["mlp", "cnn"])
@pytest.mark.parametrize("width", [1, 2, 3, 5, 7, 8, 13, 16, 31, 33])
def test_default_weights_of_many_sizes(family: str, width: int) -> None:
    for in_features in (1, 2, 3, 11, 17, 30, 64):
        for seed in (0, width, 2**32 + 5):
            one = one_trial(seed=seed, model={"family": family, "width": width, "depth": 3})
            expected = plain(seed, family, [in_features, width, width, width], 10)
            for (weight, bias), layer in zip(draw_weights(one, in_features, 10), expected, strict=True):
                assert torch.equal(weight, layer.weight.detach())  # type: ignore[operator, arg-type]
                assert torch.equal(bias, layer.bias.detach())  # type: ignore[operator, arg-type]


@pytest.mark.parametrize("init", [name for name in INITS if name != "pytorch_default"])
@pytest.mark.parametrize("width", [1, 3, 4, 16, 33])
def test_another_init_goes_on_in_the_same_stream(init: str, width: int) -> None:
    parameters = {"sigma_w": 1.5, "sigma_b": 0.3} if init == "normal" else {}
    one = one_trial(seed=7, model={"width": width, "depth": 2, "init": {"name": init, **parameters}})
    expected = plain(7, "mlp", [11, width, width], 3)
    for layer in expected:
        draw_weight(one.model.init, layer.weight)  # type: ignore[arg-type]
        draw_bias(one.model.init, layer.bias)  # type: ignore[arg-type]
    for (weight, bias), layer in zip(draw_weights(one, 11, 3), expected, strict=True):
        assert torch.equal(weight, layer.weight.detach())  # type: ignore[operator, arg-type]
        assert torch.equal(bias, layer.bias.detach())  # type: ignore[operator, arg-type]


def test_the_callers_random_state_is_left_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    draw_weights(one_trial(seed=5, model={"init": "orthogonal"}), 4, 2)
    assert torch.equal(torch.get_rng_state(), before)
