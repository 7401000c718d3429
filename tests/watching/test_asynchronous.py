"""A recorded step reads no numbers before all is queued: on the meta device, tensors have none to read."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gradlab.watching.step
from gradlab.watching.rows import Row, on_host
from gradlab.watching.step import Observer


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 3))


def convolutions() -> nn.Module:
    first = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
    return nn.Sequential(*first, nn.Conv2d(8, 8, 3), nn.LeakyReLU(), nn.Flatten(), nn.Linear(8 * 4 * 4, 3))


def encoder() -> nn.Module:
    block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=True)
    return nn.Sequential(nn.Embedding(20, 8), block, nn.Flatten(), nn.Linear(8 * 5, 3))


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "perceptron": (perceptron, lambda: torch.randn(4, 8)),
    "convolutions": (convolutions, lambda: torch.randn(4, 3, 8, 8)),
    "encoder": (encoder, lambda: torch.randint(20, (4, 5))),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_read_from_an_accelerator_before_the_transfer(
    name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, inputs = MODELS[name]
    model = build().to("meta", dtype)
    x = inputs().to("meta")
    x = x.to(dtype) if x.is_floating_point() else x
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    transferred: list[Row] = []

    def without_transfer(rows: Sequence[Row], further: dict[str, Tensor]) -> tuple[list[dict[str, float]], Any]:
        transferred.extend(rows)
        with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
            on_host(rows, further)
        return [{} for _ in rows], {}

    monkeypatch.setattr(gradlab.watching.step, "on_host", without_transfer)
    observer = Observer(model, 0, None)
    observer.begin()
    model(x).sum().backward()
    observer.before_update()
    optimizer.step()
    observer.after_update()
    assert observer.aside.failure is None
    layers = [row.values for row in transferred if row.info.kind == "layer"]
    assert len(layers) == len(observer.layers)
    columns = {"weight_grad_norm", "delta_rms", "preactivation_rms", "weight_norm", "update_ratio", "non_finite"}
    assert all(columns <= set(values) for values in layers)
    if name != "encoder":
        assert {"dead_units", "saturated_fraction", "activation_rms", "zero_gradient_units"} <= set(layers[0])
