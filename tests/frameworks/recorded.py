"""What a callback wrote, read by pandas alone; and the same numbers by the plainest means, in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

LossOf = Callable[[nn.Module], Tensor]
"""The loss of a step, as it is differentiated, by the model."""


def trials(out: Path) -> pd.DataFrame:
    # Each training has the columns of its own settings.
    return pd.concat([pd.read_parquet(part) for part in sorted((out / "trials").glob("*.parquet"))], ignore_index=True)


def steps(out: Path) -> pd.DataFrame:
    return pd.read_parquet(out / "steps").drop(columns="trial_id").sort_values("step", ignore_index=True)


def layers(out: Path) -> pd.DataFrame:
    rows = pd.read_parquet(out / "layers").drop(columns="trial_id")
    return rows.sort_values(["step", "kind", "layer", "name"], ignore_index=True)


def gradient_norms(model: nn.Module, loss_of: LossOf) -> dict[str, tuple[float, float]]:
    """By the name of each module that has them, the norms of the gradients by its weight and its bias."""
    exact = copy.deepcopy(model).double()
    exact.zero_grad(set_to_none=True)
    loss_of(exact).backward()  # type: ignore[no-untyped-call]
    found = {}
    for name, module in exact.named_modules():
        weight, bias = (getattr(module, part, None) for part in ("weight", "bias"))
        if isinstance(weight, Tensor) and weight.ndim >= 2 and weight.grad is not None:
            found[name] = (float(weight.grad.norm()), float("nan") if bias is None else float(bias.grad.norm()))
    return found


def recorded_norms(out: Path, step: int) -> dict[str, tuple[float, float]]:
    rows = layers(out)
    rows = rows[(rows["step"] == step) & (rows["kind"] == "layer")]
    columns = (rows[column].astype(float) for column in ("weight_grad_norm", "bias_grad_norm"))
    return dict(zip(rows["name"], zip(*columns, strict=True), strict=True))


def same_bits(one: nn.Module, other: nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def hooks_of(model: nn.Module) -> int:
    """How many hooks a model's modules and parameters carry."""
    places: Iterable[object] = [*model.modules(), *model.parameters()]
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_post_accumulate_grad_hooks")
    return sum(len(getattr(place, kind, None) or ()) for place in places for kind in kinds)
