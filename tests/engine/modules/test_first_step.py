"""Step 0 of any model, batch and loss: against custom models in training, and against what is written out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradlab.engine.modules.building import build_model
from gradlab.engine.modules.first_step import FirstStep, measure_first_step
from gradlab.engine.modules.training import train_custom
from gradlab.engine.quantiles import LEVELS
from gradlab.engine.tasks import Task
from tests.engine.comparison import as_task
from tests.oracles import plain
from tests.oracles.samples import one_trial, random_data

HERE = Path(__file__).parent
BATCH = 6

LOSSES: dict[str, Callable[..., Tensor]] = {
    "multiclass": F.cross_entropy,
    "binary": F.binary_cross_entropy_with_logits,
    "multilabel": F.binary_cross_entropy_with_logits,
    "regression": F.mse_loss,
}


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def measure(model: nn.Module, inputs: Any, targets: Any, loss: Any = F.cross_entropy) -> FirstStep:
    return measure_first_step(model, inputs, targets, loss, len(targets))


def assert_rows(found: FirstStep, expected: dict[str, dict[str, float]]) -> None:
    """Every statistic that is expected of a layer, to 1e-9."""
    for layer, row in expected.items():
        for name, value in row.items():
            assert found.rows[layer][name] == pytest.approx(value, rel=1e-9, abs=1e-300), (layer, name)


# Against the record of step 0 of a training.


@pytest.mark.parametrize(
    ("function", "kwargs"),
    [
        ("mlp", {"depth": 3, "width": 7, "activation": "relu in place"}),
        ("mlp", {"depth": 2, "width": 6, "activation": "gelu", "norm": True}),
        ("shared", {}),
        ("unordered", {}),
        ("remembers", {}),
        ("with_placeholder", {"bias": -0.5}),
        ("dropout", {}),
        ("batch_norm", {}),
        ("frozen", {}),
    ],
)
@pytest.mark.parametrize("kind", ["multiclass", "regression"])
def test_statistics_are_those_of_step_0_of_a_training(function: str, kwargs: Any, kind: Any) -> None:
    assert_first_record(function, kwargs, as_task(random_data(kind)))


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
def test_every_loss(kind: Any) -> None:
    assert_first_record("mlp", {"depth": 2, "width": 6, "activation": "tanh"}, as_task(random_data(kind)))


def test_a_convolutional_network() -> None:
    task = as_task(random_data("multiclass", 2, 4, 5))
    assert_first_record("cnn", {"channels": 2, "depth": 2, "width": 4, "activation": "relu"}, task)


def assert_first_record(function: str, kwargs: Any, task: Task) -> None:
    """What is measured of the model that a factory makes is the first record of its training."""
    model = {"family": "custom", "factory": f"custom_models.py:{function}", "kwargs": kwargs}
    train, record = {"steps": 1, "batch_size": BATCH}, {"every": 1, "probe": BATCH}
    trial = one_trial(seed=3, model=model, train=train, record=record)
    batch = next(plain.minibatches(len(task.x_train), BATCH, trial.seed))
    history = train_custom(trial, task, HERE)
    loss = LOSSES[task.kind]
    of_batch = measure(build_model(trial, task, HERE).train(), task.x_train[batch], task.y_train[batch], loss)
    of_probe = measure(build_model(trial, task, HERE).eval(), task.x_train[:BATCH], task.y_train[:BATCH], loss)
    assert of_batch.layers == history.layers
    assert of_batch.finite
    assert list(of_batch.weight_prints) == history.weight_prints.tolist()
    compared = 0
    for name, values in history.layer_values.items():
        own = of_probe if name in {"preactivation_rms", *_OF_UNITS, *LEVELS} else of_batch
        for info, value, meaningless in zip(history.layers, values[0], history.meaningless_in(name)[0], strict=True):
            if name != "update_ratio":
                assert (name not in own.rows[info.name]) == meaningless, (info.name, name)
            if not meaningless and name != "update_ratio":
                # Behind batch norm a bias has no gradient but for rounding.
                assert own.rows[info.name][name] == pytest.approx(value, rel=1e-9, abs=1e-15), (info.name, name)
                compared += 1
    assert compared >= 8 * len(history.layers)


_OF_UNITS = ("activation_mean", "activation_rms", "dead_units", "zero_gradient_units", "saturated_fraction")


# Against what is written out by hand.


def test_a_small_network_by_hand() -> None:
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))
    x, y = gaussian(7, 5), torch.arange(7) % 3
    with torch.no_grad():
        model[0].weight.copy_(2 * gaussian(8, 5, seed=1))
        model[0].bias.copy_(gaussian(8, seed=2) - 2)
        model[2].weight.copy_(4 * gaussian(6, 8, seed=3))
        model[2].weight[:, 1] = 0.0
    w1, b1, w2, b2, w3, b3 = (parameter.detach().double().requires_grad_() for parameter in model.parameters())
    z1 = x.double() @ w1.T + b1
    h1 = z1 * (z1 > 0)
    z2 = h1 @ w2.T + b2
    h2 = (z2.exp() - (-z2).exp()) / (z2.exp() + (-z2).exp())
    z3 = h2 @ w3.T + b3
    losses = z3.exp().sum(1).log() - z3[torch.arange(7), y]
    weights = torch.autograd.grad(losses.mean(), [w1, w2, w3], retain_graph=True)
    deltas = torch.autograd.grad(losses.sum(), [z1, z2, z3], retain_graph=True)
    dead = (z1 <= 0).all(0)
    unreached = (deltas[0] == 0).all(0)
    assert 0 < dead.sum() < unreached.sum() < 8, "the example must tell the counts apart"
    rows: dict[str, dict[str, float]] = {
        name: {
            "weight_grad_norm": gradient.norm().item(),
            "log10_weight_grad_norm": math.log10(gradient.norm().item()),
            "delta_rms": delta.square().sum(1).mean().sqrt().item(),
            "log10_delta_rms": math.log10(delta.square().sum(1).mean().sqrt().item()),
            "weight_norm": weight.norm().item(),
            "non_finite": 0.0,
            "preactivation_rms": z.square().mean().sqrt().item(),
        }
        for name, gradient, delta, weight, z in zip("024", weights, deltas, (w1, w2, w3), (z1, z2, z3), strict=True)
    }
    rows["0"] |= {
        "activation_rms": h1.square().mean().sqrt().item(),
        "dead_units": float(dead.sum()),
        "zero_gradient_units": float(unreached.sum()),
        "saturated_fraction": (z1 <= 0).double().mean().item(),
    }
    rows["2"] |= {
        "activation_rms": h2.square().mean().sqrt().item(),
        "dead_units": 0.0,
        "zero_gradient_units": 0.0,
        "saturated_fraction": (1 - h2.square() < 0.01).double().mean().item(),
    }
    found = measure(model, x, y)
    assert [layer.name for layer in found.layers] == list("024")
    assert [(layer.units, layer.weight_count) for layer in found.layers] == [(8, 40), (6, 48), (3, 18)]
    assert_rows(found, rows)


class Tokens(nn.Module):
    """Reads token ids, with a mask of those that count."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.mix, self.head = nn.Embedding(11, 4), nn.Linear(4, 4), nn.Linear(4, 11)

    def forward(self, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        h = torch.tanh(self.mix(self.embedding(ids))) * mask[..., None]
        return {"logits": self.head(h), "hidden": h}


def token_loss(output: dict[str, Tensor], target: Tensor) -> Tensor:
    return F.cross_entropy(output["logits"].flatten(0, 1), target.flatten())


def token_batch() -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(5)
    ids, target = (torch.randint(0, 11, (3, 6), generator=g) for _ in range(2))
    return ids, (torch.rand(3, 6, generator=g) > 0.3).float(), target


def test_token_ids_stay_integers_and_the_output_may_be_anything_that_the_loss_takes() -> None:
    model = Tokens()
    ids, mask, target = token_batch()
    embedded = model.embedding.weight.detach().double()[ids].requires_grad_()
    w1, b1, w2, b2 = (
        one.detach().double().requires_grad_() for layer in (model.mix, model.head) for one in layer.parameters()
    )
    z = embedded @ w1.T + b1
    logits = (z.tanh() * mask.double()[..., None]) @ w2.T + b2
    losses = -torch.log_softmax(logits, -1).gather(-1, target[..., None])[..., 0].mean(1)
    of_w1, of_w2, of_embedded = torch.autograd.grad(losses.mean(), [w1, w2, embedded], retain_graph=True)
    of_table = torch.zeros(11, 4, dtype=torch.float64).index_add_(0, ids.flatten(), of_embedded.flatten(0, 1))
    deltas = torch.autograd.grad(losses.sum(), [embedded, z, logits])
    rows = {
        name: {
            "weight_grad_norm": gradient.norm().item(),
            "delta_rms": delta.square().sum((1, 2)).mean().sqrt().item(),
            "preactivation_rms": value.detach().square().mean().sqrt().item(),
        }
        for name, gradient, delta, value in zip(
            ("embedding", "mix", "head"), (of_table, of_w1, of_w2), deltas, (embedded, z, logits), strict=True
        )
    }
    assert_rows(measure(model, {"mask": mask, "ids": ids}, target, token_loss), rows)
    assert_rows(measure(model, (ids, mask), target, token_loss), rows)


def test_examples_that_come_twice_change_nothing() -> None:
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    x, y = gaussian(7, 5), torch.arange(7) % 3
    once, twice = measure(model, x, y), measure(model, torch.cat([x, x]), torch.cat([y, y]))
    # All but quantiles, which lie between other neighbours then.
    assert_rows(twice, {layer: {k: v for k, v in row.items() if k not in LEVELS} for layer, row in once.rows.items()})
