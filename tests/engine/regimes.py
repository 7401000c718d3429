"""Groups of trials in regimes with a name: where a float32 measurement of gradients goes wrong, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.engine.adversaries import HALVING, Group, data_set
from tests.oracles.network import PlainData
from tests.oracles.samples import one_trial


def _normal(sigma_w: float, sigma_b: float = 0.0) -> dict[str, Any]:
    return {"name": "normal", "sigma_w": sigma_w, "sigma_b": sigma_b}


def _group(
    *models: dict[str, Any],
    data: PlainData | None = None,
    change: str = "drawn",
    train: dict[str, Any] | None = None,
    probe: int = 40,
    **shared: Any,
) -> Group:
    """One trial for each of `models`, with two more beside them that are in no special regime."""
    calm = [{"depth": 1, "activation": "tanh"}, {"depth": 3, "activation": "relu", "init": "he_normal"}]
    trials = [
        one_trial(
            seed=seed,
            model={"width": 5} | shared | model,
            train={"steps": 3, "batch_size": 6, "lr": 0.0} | (train or {}),
            record={"every": 1, "probe": probe},
        )
        for seed, model in enumerate([*models, *calm])
    ]
    known = train is not None and train.get("lr") == HALVING["lr"]
    return Group("regime", tuple(trials), data or data_set("multiclass", (5,)), change, known_weights=known)


REGIMES: dict[str, Callable[[], Group]] = {
    # Rounding is amplified by every layer: after some, float32 has another network's gradients.
    "chaotic": lambda: _group(
        {"depth": 20, "activation": "tanh", "init": _normal(4.0, 0.1)},
        {"depth": 30, "activation": "hardtanh", "init": _normal(2.5)},
        width=33,
    ),
    "chaotic cnn": lambda: _group(
        {"family": "cnn", "depth": 10, "activation": "tanh", "init": _normal(5.0)},
        data=data_set("binary", (2, 3, 4)),
        family="cnn",
    ),
    # From chaos through the edge to where all gradients vanish, with weights that are known at every step.
    "halving": lambda: _group(
        {"depth": 8, "activation": "tanh", "init": _normal(64.0, 4.0)},
        {"depth": 8, "activation": "gelu", "init": _normal(64.0, 4.0)},
        {"depth": 12, "activation": "sigmoid", "init": _normal(256.0, 1.0)},
        train={"steps": 16, "optimizer": "adamw", **HALVING},
    ),
    # Squares of 1e-25 are 0 in float32, then the gradients themselves, then in float64, too.
    "vanishing": lambda: _group(
        {"depth": 30, "activation": "sigmoid", "init": _normal(0.3, 0.3)},
        {"depth": 60, "activation": "softplus", "init": _normal(0.01)},
        {"depth": 100, "activation": "sigmoid", "init": _normal(0.01, 1.0)},
        {"depth": 12, "activation": "linear", "init": _normal(1e-12)},
    ),
    "vanishing cnn": lambda: _group(
        {"depth": 12, "activation": "silu", "init": _normal(1e-6)},
        data=data_set("regression", (1, 3, 3)),
        family="cnn",
    ),
    # Forward all is well, and the loss is finite; backward float32 overflows.
    "exploding": lambda: _group(
        {"depth": 30, "activation": "linear", "init": _normal(1e2)},
        {"depth": 8, "activation": "linear", "init": _normal(1e6)},
        norm="layer",
        data=data_set("multiclass", (5,), features="1e-30"),
    ),
    # 1 - tanh^2 and y (1 - y) are 0 in float32 where the derivative is 1e-26.
    "saturated": lambda: _group(
        *({"depth": 3, "activation": name, "init": _normal(0.5, 30.0)} for name in ("tanh", "sigmoid", "softplus")),
        width=3,
    ),
    "tails": lambda: _group(
        *({"depth": 2, "activation": name} for name in ("silu", "gelu", "elu", "selu", "sigmoid", "softplus")),
        change="far",
    ),
    # p - 1 is 0 in float32, and the true signal is not.
    "confident": lambda: _group(
        {"depth": 2, "activation": "relu", "init": _normal(2.0)},
        {"depth": 3, "activation": "tanh", "init": _normal(1.5)},
        data=data_set("multiclass", (5,), targets="one"),
        change="confident",
        train={"batch_size": 1},
    ),
    "confident of two classes": lambda: _group(
        {"depth": 2, "activation": "relu", "init": _normal(2.0)},
        data=data_set("binary", (5,), targets="one"),
        change="confident",
        train={"batch_size": 1, "steps": 12},
    ),
    "confident of labels": lambda: _group(
        {"depth": 2, "activation": "elu", "init": _normal(2.0)},
        data=data_set("multilabel", (5,), targets="one"),
        change="confident",
        train={"batch_size": 1, "steps": 12},
    ),
    # Sums over the batch, or over units, cancel.
    "alike": lambda: _group(
        {"depth": 3, "activation": "linear", "init": _normal(1e-3)},
        {"depth": 1, "activation": "tanh", "init": _normal(1e-4)},
        data=data_set("regression", (5,), features="alike", targets="opposite"),
    ),
    "opposed": lambda: _group(
        {"depth": 3, "activation": "tanh", "init": _normal(2.0, 0.5)},
        {"depth": 2, "activation": "gelu", "init": _normal(2.0, 0.5)},
        change="opposed",
        width=8,
    ),
    # Float32 lands on the other side of the kink, or in it.
    "kink": lambda: _group(
        {"depth": 1, "activation": "relu", "init": _normal(2.0)},
        {"depth": 2, "activation": "relu", "init": _normal(2.0)},
        {"depth": 1, "activation": "selu", "init": _normal(2.0)},
        {"depth": 2, "activation": {"name": "leaky_relu", "negative_slope": 0.0}, "init": _normal(2.0)},
        change="kink",
        train={"batch_size": 80},
        width=3,
        probe=1,
    ),
    # Two numbers become 1 and -1, whatever they are: what comes back cancels but for eps.
    "layer norm of two units": lambda: _group(
        {"depth": 1, "activation": "silu", "init": _normal(3.0)}, norm="layer", width=2, train={"batch_size": 1}
    ),
    "batch norm of two examples": lambda: _group(
        {"depth": 1, "activation": "tanh", "init": _normal(3.0)},
        {"depth": 1, "activation": "softplus", "init": _normal(3.0)},
        norm="batch",
        train={"batch_size": 2},
    ),
    "thin": lambda: _group(
        {"depth": 4, "activation": "linear"}, {"depth": 6, "activation": "tanh"}, change="thin", width=8
    ),
    "tiny features": lambda: _group(
        {"depth": 3, "activation": "tanh"}, data=data_set("binary", (5,), features="1e-30")
    ),
    "subnormal features": lambda: _group(
        {"depth": 3, "activation": "tanh"}, data=data_set("binary", (5,), features="1e-42")
    ),
    "huge features": lambda: _group(
        {"depth": 2, "activation": "relu", "init": _normal(1e-3)}, data=data_set("regression", (5,), features="1e12")
    ),
    "dead and zero": lambda: _group(
        {"depth": 3, "activation": "relu", "init": _normal(1.0, 0.5)},
        {"depth": 2, "activation": "hardtanh", "init": _normal(1.0, 5.0)},
        {"depth": 2, "activation": "tanh", "init": _normal(0.0)},
        data=data_set("multilabel", (5,), features="sparse"),
        change="dead",
    ),
}

CAUGHT = (
    "chaotic",
    "vanishing",
    "vanishing cnn",
    "saturated",
    "tails",
    "confident of two classes",
    "opposed",
    "kink",
    "layer norm of two units",
    "batch norm of two examples",
    "subnormal features",
)
"""Regimes in which norms of float32 gradients, squared and summed in float64, are wrong."""
