"""Groups of small trials in every regime in which a float32 measurement of gradients may go wrong."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor

from gradlab.config.choices import ACTIVATIONS
from gradlab.config.sweep import Trial
from tests.oracles.network import PlainData, TaskKind
from tests.oracles.samples import one_trial

Weights = list[tuple[Tensor, Tensor]]
Change = Callable[[Weights, PlainData], Weights]


@dataclass(frozen=True)
class Group:
    """Trials that can share a stack, and their data.

    Attributes:
        change: what is done to every trial's drawn weights.
        known_weights: whether plain PyTorch has the engine's very weights after any number of updates.
    """

    about: str
    trials: tuple[Trial, ...]
    data: PlainData
    change: str = "drawn"
    known_weights: bool = False

    def changed(self, weights: Weights) -> Weights:
        """The weights from which a trial starts that would have drawn `weights`."""
        return CHANGES[self.change]([(weight.clone(), bias.clone()) for weight, bias in weights], self.data)


def label(trial: Trial) -> str:
    """What tells a trial from the others of its group."""
    model, train = trial.model, trial.train
    return f"{model.activation.label} depth {model.depth} {model.init.label} seed {trial.seed} lr {train.lr:g}"


# Data


def _standard(x: Tensor, _y: Tensor, _g: torch.Generator) -> Tensor:
    return x


def _scaled(scale: float) -> Callable[[Tensor, Tensor, torch.Generator], Tensor]:
    return lambda x, _y, _g: x * scale


def _uneven(x: Tensor, _y: Tensor, g: torch.Generator) -> Tensor:
    """Features of scales from 1e-8 to 1e8."""
    return x * 10 ** (16 * torch.rand(x.shape[1:], generator=g) - 8)


def _constant(x: Tensor, _y: Tensor, g: torch.Generator) -> Tensor:
    """Half of the features are the same in every example."""
    return torch.where(torch.rand(x.shape[1:], generator=g) < 0.5, x[:1].expand_as(x), x)


def _sparse(x: Tensor, _y: Tensor, g: torch.Generator) -> Tensor:
    """Half of the entries are 0, and some examples as a whole."""
    entries = torch.rand(x.shape, generator=g) < 0.5
    examples = torch.rand(len(x), *[1] * (x.dim() - 1), generator=g) < 0.2
    return torch.where(entries | examples, torch.zeros_like(x), x)


def _alike(x: Tensor, _y: Tensor, _g: torch.Generator) -> Tensor:
    """All examples nearly the same: sums over a batch cancel where targets differ."""
    return x[:1] + 1e-5 * x


def _same(x: Tensor, _y: Tensor, _g: torch.Generator) -> Tensor:
    return x[:1].expand_as(x).clone()


FEATURES: dict[str, Callable[[Tensor, Tensor, torch.Generator], Tensor]] = {
    "standard": _standard,
    "1e3": _scaled(1e3),
    "1e12": _scaled(1e12),
    "1e-6": _scaled(1e-6),
    "1e-30": _scaled(1e-30),
    "1e-42": _scaled(1e-42),
    "zero": _scaled(0.0),
    "uneven": _uneven,
    "constant": _constant,
    "sparse": _sparse,
    "alike": _alike,
    "same": _same,
}


def data_set(
    task: TaskKind,
    shape: Sequence[int],
    *,
    features: str = "standard",
    targets: str = "mixed",
    n: int = 120,
    seed: int = 0,
) -> PlainData:
    """`n` examples, two thirds for training.

    Args:
        features: one of FEATURES.
        targets: `mixed`; `one` (the same class in all of the training split, a regression's targets 0); `large`
            (a regression's times 1e6); `opposite` (a regression's come in pairs y, -y).
    """
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, *shape, generator=g)
    y = {
        "multiclass": torch.randint(0, 3, (n,), generator=g),
        "binary": torch.randint(0, 2, (n,), generator=g).float(),
        "multilabel": torch.randint(0, 2, (n, 3), generator=g).float(),
        "regression": torch.randn(n, 2, generator=g),
    }[task]
    cut = 2 * n // 3
    y[-1] = {"multiclass": 2}.get(task, y[-1])
    if targets == "one":
        y[:cut] = 0
    if targets == "large" and task == "regression":
        y = 1e6 * y
    if targets == "opposite":
        y[::2] = -y[1::2]
    x = FEATURES[features](x, y, g).float()
    return PlainData(x[:cut], y[:cut], x[cut:], y[cut:], task)


# Weights


def _drawn(weights: Weights, _data: PlainData) -> Weights:
    return weights


def _generator(weights: Weights) -> torch.Generator:
    """Drawn from the weights themselves, so that every trial has its own."""
    return torch.Generator().manual_seed(int(1e6 * float(weights[0][0].abs().double().sum().clamp(max=1e6))) % 2**31)


def _dead(weights: Weights, _data: PlainData) -> Weights:
    """A third of the hidden units have biases that nothing can lift over 0."""
    g = _generator(weights)
    for _, bias in weights[:-1]:
        bias[torch.rand(bias.shape, generator=g) < 1 / 3] = -1e6
    return weights


def _far(weights: Weights, _data: PlainData) -> Weights:
    """Units in the negative tails of their activations: biases from -100 to 0."""
    g = _generator(weights)
    for _, bias in weights[:-1]:
        bias.copy_(-100 * torch.rand(bias.shape, generator=g))
    return weights


def _holes(weights: Weights, _data: PlainData) -> Weights:
    """Half of the weights are 0."""
    g = _generator(weights)
    for weight, _ in weights:
        weight[torch.rand(weight.shape, generator=g) < 0.5] = 0.0
    return weights


def _confident(weights: Weights, _data: PlainData) -> Weights:
    """Outputs so large that probabilities are 0 and 1 in float32."""
    weights[-1][0].mul_(1e2)
    return weights


def _thin(weights: Weights, _data: PlainData) -> Weights:
    """One layer's weights are tiny, the output's large in return: float32 loses the signal between."""
    weights[len(weights) // 2][0].mul_(1e-30)
    weights[-1][0].mul_(1e5)
    return weights


def _kink(weights: Weights, data: PlainData) -> Weights:
    """Biases that make z of the first training example 0 but for rounding, in the first layer."""
    weight, bias = weights[0]
    if weight.dim() == 2:
        bias.copy_(-(data.x_train[0].double() @ weight.T.double()).float())
    return weights


def _opposed(weights: Weights, _data: PlainData) -> Weights:
    """Units in pairs of nearly equal ones that the next layer subtracts from each other."""
    for (weight, bias), (following, _) in itertools.pairwise(weights):
        half = len(weight) // 2
        weight[half : 2 * half] = weight[:half] * (1 + 1e-5)
        bias[half : 2 * half] = bias[:half]
        following[:, half : 2 * half] = -following[:, :half]
    return weights


CHANGES: dict[str, Change] = {
    "drawn": _drawn,
    "dead": _dead,
    "far": _far,
    "holes": _holes,
    "confident": _confident,
    "thin": _thin,
    "kink": _kink,
    "opposed": _opposed,
}


# Trials

DEPTHS = (1, 1, 2, 2, 3, 3, 5, 5, 8, 12, 20, 30)
DEEP = (50, 70, 100)


def group(seed: int, *, deepest: int = 100) -> Group:
    """A group of three to five trials at random, the same for the same seed."""
    choose = random.Random(seed)  # noqa: S311
    family = choose.choice(["mlp", "mlp", "mlp", "cnn"])
    norm = choose.choice(["none", "none", "none", "layer", "batch"])
    batch = choose.choice([2, 3, 64] if norm == "batch" else [1, 1, 3, 64])
    cnn = family == "cnn"
    shape = choose.choice([(1, 1, 1), (2, 3, 5), (1, 4, 4)]) if cnn else (choose.choice([1, 2, 5, 16, 33]),)
    task = choose.choice(get_args(TaskKind))
    features = choose.choice(["standard"] * 6 + list(FEATURES))
    targets = choose.choice(["mixed", "mixed", "one", "large"])
    width = choose.choice([1, 2, 3, 5, 8] if cnn else [1, 2, 3, 5, 8, 16, 33, 64])
    model = {"family": family, "width": width, "norm": norm, "residual": choose.random() < 0.25}
    training = choose.choice(["still", "still", "still", "halving", "moving"])
    shared: dict[str, Any] = {"steps": 3, "batch_size": batch, "optimizer": "sgd"}
    if training == "halving":
        shared |= {"steps": 6, "optimizer": "adamw"}
    if training == "moving":
        shared |= {"steps": 4, "optimizer": choose.choice(["sgd", "momentum", "adam", "adamw", "rmsprop"])}
    record = {"every": choose.choice([1, 2]), "probe": choose.choice([1, 7, 64, 80])}
    change = choose.choice(["drawn"] * 6 + list(CHANGES))
    trials = []
    for _ in range(choose.choice([3, 4, 5])):
        depth = choose.choice(DEPTHS)
        if choose.random() < 0.1:
            depth = choose.choice(DEEP)
        depth = min(depth, 8 if cnn else deepest)
        own = {"depth": depth, "activation": _activation(choose), "init": _init(choose, training)}
        rates = {"still": {"lr": 0.0}, "halving": HALVING, "moving": {"lr": choose.choice([1e-6, 1e-3, 0.05, 1.0])}}
        trials.append(
            one_trial(seed=choose.randrange(1000), model=model | own, train=shared | rates[training], record=record)
        )
    about = (
        f"group {seed}: {family} width {width} norm {norm} residual {model['residual']} {task} {shape} {features} "
        f"{targets} batch {batch} {shared['optimizer']} {training} {change} probe {record['probe']}"
    )
    data = data_set(task, shape, features=features, targets=targets, seed=seed)
    return Group(about, tuple(trials), data, change, known_weights=training == "halving")


HALVING: dict[str, float] = {"lr": 2.0**-60, "weight_decay": 2.0**59}
"""With adamw: every update halves all weights, exactly; what the gradients do is below the weights' last digit."""


def _activation(choose: random.Random) -> Any:
    special = [
        {"name": "leaky_relu", "negative_slope": 0.2},
        {"name": "leaky_relu", "negative_slope": 0.0},
        {"name": "elu", "alpha": 0.5},
        {"name": "softplus", "beta": 3.0},
        {"name": "hardtanh", "min_val": -0.3, "max_val": 0.5},
    ]
    return choose.choice([*ACTIVATIONS, *ACTIVATIONS, *special])


def _init(choose: random.Random, training: str) -> Any:
    def normal(sigma_w: float, sigma_b: float) -> dict[str, Any]:
        return {"name": "normal", "sigma_w": sigma_w, "sigma_b": sigma_b}

    if training == "halving":
        return normal(choose.choice([1.0, 16.0, 256.0]), choose.choice([0.1, 4.0]))
    return choose.choice(
        [
            *["pytorch_default", "he_normal", "orthogonal", "xavier_uniform"],
            normal(choose.uniform(2.5, 5), 0.1),
            normal(choose.uniform(0.5, 3), choose.choice([0.0, 0.3, 3.0])),
            normal(10 ** choose.uniform(-12, 0), choose.choice([0.0, 0.3])),
            normal(10 ** choose.uniform(0, 6), choose.choice([0.0, 0.3])),
            normal(1.0, choose.choice([3.0, 30.0, 100.0, 700.0])),
            normal(0.5, choose.choice([10.0, 20.0, 50.0])),
            normal(choose.choice([0.0, 1e18]), choose.choice([0.0, 1.0])),
        ]
    )
