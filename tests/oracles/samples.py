"""Small trials and data sets that tests begin from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gradlab.config.schema import Experiment
from gradlab.config.sweep import Trial, expand
from tests.oracles.network import PlainData, PlainNetwork, TaskKind


def one_trial(*, seed: int = 0, **sections: dict[str, Any]) -> Trial:
    """The only trial of a config given by its sections."""
    (trial,) = expand(Experiment.model_validate({"seeds": [seed], **sections}))
    return trial


def trial_with(trial: Trial, **train: Any) -> Trial:
    """The trial with other settings of `train`."""
    return replace(trial, train=trial.train.model_copy(update=train))


def random_data(task: TaskKind = "multiclass", *shape: int, n: int = 24, outputs: int = 3) -> PlainData:
    """Gaussian inputs of a shape (5 features if none is given), two thirds of the n examples for training."""
    g = torch.Generator().manual_seed(99)
    x = torch.randn(n, *(shape or (5,)), generator=g)
    y = {
        "multiclass": torch.arange(n) % outputs,
        "binary": (torch.arange(n) % 2).float(),
        "multilabel": torch.randint(0, 2, (n, outputs), generator=g).float(),
        "regression": torch.randn(n, outputs, generator=g),
    }[task]
    cut = 2 * n // 3
    return PlainData(x[:cut], y[:cut], x[cut:], y[cut:], task)


@torch.no_grad()
def with_weights(network: PlainNetwork, weights: list[tuple[Tensor, Tensor]]) -> PlainNetwork:
    """The same network with these (W_l, b_l), set in place."""
    for (weight, bias), (new_weight, new_bias) in zip(network.weights_and_biases, weights, strict=True):
        weight.copy_(new_weight)
        bias.copy_(new_bias)
    return network
