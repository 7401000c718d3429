from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gradlab.config.choices import INITS, Choice
from gradlab.theory.variances import LayerLaw, hidden_laws, init_variances

DRAWS = {
    "xavier_normal": nn.init.xavier_normal_,
    "xavier_uniform": nn.init.xavier_uniform_,
    "he_normal": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
    "he_uniform": lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu"),
    "lecun_normal": lambda w: nn.init.kaiming_normal_(w, nonlinearity="linear"),
    "orthogonal": nn.init.orthogonal_,
}


def choice(name: str) -> Choice:
    return Choice(name, (("sigma_w", 1.5), ("sigma_b", 0.3)) if name == "normal" else ())


def draw(name: str, layer: nn.Linear | nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of `layer` after the init, by torch alone."""
    weight, bias = layer.weight.detach(), layer.bias.detach()
    if name == "normal":
        nn.init.normal_(weight, std=1.5 / weight[0].numel() ** 0.5)
        nn.init.normal_(bias, std=0.3)
    elif name != "pytorch_default":
        DRAWS[name](weight)
        nn.init.zeros_(bias)
    return weight, bias


@pytest.mark.parametrize("name", list(INITS))
@pytest.mark.parametrize(("fan_in", "fan_out"), [(100, 300), (300, 100), (200, 200)])
def test_linear_as_torch_draws_it(name: str, fan_in: int, fan_out: int) -> None:
    torch.manual_seed(0)
    draws = [draw(name, nn.Linear(fan_in, fan_out)) for _ in range(4)]
    check(init_variances(choice(name), fan_in, fan_out), draws, fan_in)


@pytest.mark.parametrize("name", list(INITS))
@pytest.mark.parametrize(("channels_in", "channels_out"), [(3, 120), (40, 40), (60, 20)])
def test_convolution_as_torch_draws_it(name: str, channels_in: int, channels_out: int) -> None:
    torch.manual_seed(0)
    draws = [draw(name, nn.Conv2d(channels_in, channels_out, 3)) for _ in range(12)]
    law = init_variances(choice(name), 9 * channels_in, 9 * channels_out, kernel=9)
    check(law, draws, 9 * channels_in)


def check(law: LayerLaw, draws: list[tuple[Tensor, Tensor]], fan_in: int) -> None:
    weights = torch.cat([weight.flatten() for weight, _ in draws])
    biases = torch.cat([bias for _, bias in draws])
    assert fan_in * weights.square().mean().item() == pytest.approx(law.sigma_w2, rel=0.03)  # > 30,000 weights
    assert biases.square().mean().item() == pytest.approx(law.sigma_b2, rel=0.35)  # > 230 biases


def test_every_layer_has_the_law_of_its_own_fans() -> None:
    laws = hidden_laws(choice("xavier_normal"), 10, 40, 4)
    assert [law.sigma_w2 for law in laws] == pytest.approx([2 * 10 / 50, 1, 1, 1])
    laws = hidden_laws(choice("orthogonal"), 2, 40, 3, kernel=9)
    assert [law.sigma_w2 for law in laws] == pytest.approx([18 / 40, 1, 1])
    assert hidden_laws(choice("pytorch_default"), 10, 40, 1) == (LayerLaw(1 / 3, 1 / 30),)


def test_an_unknown_init_is_refused() -> None:
    with pytest.raises(KeyError):
        init_variances(Choice("zeros"), 10, 10)
