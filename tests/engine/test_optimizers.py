"""A flat buffer stepped in groups against torch.optim on separate tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gradlab.config.schema import Train
from gradlab.engine.layout import Layout, Shape
from gradlab.engine.optimizers import StackOptimizer, group_key, module_optimizer

OPTIMIZERS: dict[str, Any] = {
    "sgd": torch.optim.SGD,
    "momentum": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
}
SETTINGS = [(0.1, 0.0, 0.9), (0.01, 0.0, 0.9), (0.1, 0.1, 0.5), (0.0, 0.1, 0.9), (0.1, 0.0, 0.9)]
"""Learning rate, weight decay and momentum of each trial; the first and the last are one group, not side by side."""

LAYOUT = Layout(Shape("mlp", (1, 1), 3, 5, 2, "layer", False), (4, 3, 3, 2, 1))


def setting(name: str, lr: float, decay: float, momentum: float) -> Train:
    return Train(optimizer=name, lr=lr, weight_decay=decay, momentum=momentum)  # type: ignore[arg-type]


def torchs_own(name: str, tensors: list[nn.Parameter], train: Train) -> torch.optim.Optimizer:
    momentum = {"momentum": train.momentum} if name == "momentum" else {}
    made: torch.optim.Optimizer = OPTIMIZERS[name](tensors, lr=train.lr, weight_decay=train.weight_decay, **momentum)
    return made


def own_tensors(buffer: Tensor, trial: int) -> list[Tensor]:
    """One trial's parameters, layer by layer."""
    views = LAYOUT.views(buffer)
    return [tensor[trial] for layer in [*views[: LAYOUT.depths[trial]], views[-1]] for tensor in layer.tensors()]


def gradients(step: int) -> Tensor:
    """Sizes from 1e-12 to 1e3, and exact zeros."""
    g = torch.Generator().manual_seed(step)
    exponents = torch.randint(-12, 4, (LAYOUT.size,), generator=g)
    return torch.randn(LAYOUT.size, generator=g) * 10.0**exponents * (torch.rand(LAYOUT.size, generator=g) > 0.1)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_twenty_steps_of_a_stack_are_torch_optims(name: str) -> None:
    trains = [setting(name, *values) for values in SETTINGS]
    flat, gradient = torch.randn(LAYOUT.size, generator=torch.Generator().manual_seed(9)), torch.zeros(LAYOUT.size)
    stack = StackOptimizer(trains, LAYOUT.segments([group_key(train) for train in trains]), flat, gradient)
    separate = [[nn.Parameter(tensor.clone()) for tensor in own_tensors(flat, trial)] for trial in range(len(trains))]
    optimizers = [torchs_own(name, own, train) for own, train in zip(separate, trains, strict=True)]
    for step in range(20):
        gradient.copy_(gradients(step))
        for trial, (own, optimizer) in enumerate(zip(separate, optimizers, strict=True)):
            for parameter, tensor in zip(own, own_tensors(gradient, trial), strict=True):
                parameter.grad = tensor.clone()
            optimizer.step()
        stack.step()
        for trial, own in enumerate(separate):
            for parameter, tensor in zip(own, own_tensors(flat, trial), strict=True):
                torch.testing.assert_close(tensor, parameter.detach(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_trial_of_nan_leaves_its_neighbours_alone(name: str) -> None:
    trains = [setting(name, 0.1, 0.1, 0.9)] * 5
    results = []
    for spoilt in (False, True):
        flat, gradient = torch.ones(LAYOUT.size), torch.zeros(LAYOUT.size)
        stack = StackOptimizer(trains, LAYOUT.segments([group_key(train) for train in trains]), flat, gradient)
        for step in range(3):
            gradient.copy_(gradients(step))
            if spoilt:
                for tensor in own_tensors(gradient, 2):
                    tensor.fill_(float("nan"))
            stack.step()
        results.append(flat)
    for trial in (0, 1, 3, 4):
        for calm, beside in zip(own_tensors(results[0], trial), own_tensors(results[1], trial), strict=True):
            assert torch.equal(calm, beside)
    assert all(tensor.isnan().all() for tensor in own_tensors(results[1], 2))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_padding_stays_0(name: str) -> None:
    trains = [setting(name, *values) for values in SETTINGS]
    flat, gradient = torch.zeros(LAYOUT.size), torch.zeros(LAYOUT.size)
    stack = StackOptimizer(trains, LAYOUT.segments([group_key(train) for train in trains]), flat, gradient)
    used = torch.zeros(LAYOUT.size)
    for layer in LAYOUT.views(used):
        for tensor in layer.tensors():
            tensor += 1
    for step in range(3):
        gradient.copy_(gradients(step) * used)
        stack.step()
    assert (flat[used == 0] == 0).all()


def test_only_momentum_reads_momentum() -> None:
    assert group_key(setting("sgd", 0.1, 0.0, 0.5)) == group_key(setting("sgd", 0.1, 0.0, 0.9))
    assert group_key(setting("momentum", 0.1, 0.0, 0.5)) != group_key(setting("momentum", 0.1, 0.0, 0.9))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_modules_optimizer_is_torchs_with_its_defaults(name: str) -> None:
    train = setting(name, 0.03, 0.2, 0.7)
    found = module_optimizer(train, [nn.Parameter(torch.ones(2))])
    expected = torchs_own(name, [nn.Parameter(torch.ones(2))], train)
    assert type(found) is type(expected)
    assert found.defaults == expected.defaults
