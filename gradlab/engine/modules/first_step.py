"""The gradient statistics of any model, batch and loss as they are: step 0, before any update."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from gradlab.engine.history import LayerInfo
from gradlab.engine.modules.layers import LayerUse, all_weights, copied, watched, weights_of
from gradlab.engine.modules.statistics import (
    Rows,
    copy_of,
    float64_twin,
    gradient_statistics,
    trainable_parameters,
    unit_statistics,
    weight_prints,
    weight_statistics,
)
from gradlab.errors import UsageError

DataLoss = Callable[[Any, Any], Tensor]
"""A model's output and the targets -> the mean loss of a batch, a scalar."""


@dataclass(frozen=True)
class FirstStep:
    """What was measured of a model before any update.

    Attributes:
        layers: from the input on.
        rows: the statistics of every layer, by its name.
        weight_prints: what identifies the draws of each layer's weights.
        parameters: how many trainable parameters there are of each type.
        finite: whether the loss is a finite number.
        device: where it was computed.
    """

    layers: tuple[LayerInfo, ...]
    rows: Rows
    weight_prints: tuple[float, ...]
    parameters: dict[str, int]
    finite: bool
    device: str


def measure_first_step(model: nn.Module, inputs: Any, targets: Any, loss: DataLoss, examples: int) -> FirstStep:
    """Measure a model, which stays as it is, and so do the random streams.

    Gradients are measured in the mode (training or evaluation) that the model is in, units in evaluation mode. What
    the model draws (dropout) comes from the random streams as they are. Hooks on parameters count for nothing.

    Args:
        inputs: a tensor, or several of them in a tuple or a mapping, with which the model is called.
        examples: how many examples that is.

    Raises:
        UsageError: there is nothing to measure: no layers, layers without weights, a loss that is no scalar.
    """
    model = getattr(model, "_orig_mod", model)  # what torch.compile wrapped, since compiled code runs no hooks
    lazy = [name for name, parameter in model.named_parameters() if isinstance(parameter, UninitializedParameter)]
    if lazy:
        raise UsageError(f"lazy layers have no weights yet ({', '.join(lazy[:3])}); give them their sizes")
    batch = (inputs, targets, loss)
    with forked_streams():
        uses, value = _run_as_it_is(copied(model), copy_of(batch))
        own_gradients = _weight_gradients(uses, value)
    with forked_streams():
        twin, exact = float64_twin(model, batch, _loss)
    with forked_streams():
        of_gradients, _ = gradient_statistics(twin, exact, _loss, examples, own_gradients)
    with forked_streams():
        twin, exact = float64_twin(copied(model).eval(), batch, _loss)
    with forked_streams():
        of_units = unit_statistics(twin, exact, _loss)
    of_weights = weight_statistics(model, None)
    return FirstStep(
        layers=tuple(LayerInfo(use.name, use.units, all_weights(use.module).numel()) for use in uses),
        rows={
            use.name: of_gradients.get(use.name, {}) | of_units.get(use.name, {}) | of_weights[use.name] for use in uses
        },
        weight_prints=tuple(weight_prints(uses)),
        parameters=trainable_parameters(model),
        finite=bool(torch.isfinite(value)),
        device=value.device.type,
    )


def forked_streams() -> AbstractContextManager[None]:
    """A context after which torch's random streams, those of GPUs in use included, go on as if it had not been."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    return torch.random.fork_rng(devices=devices)


def _loss(model: nn.Module, batch: tuple[Any, Any, DataLoss]) -> Tensor:
    """The loss; it belongs to the batch, since one with weights of its own needs the batch's precision."""
    inputs, targets, loss = batch
    if isinstance(inputs, Mapping):
        output = model(**inputs)
    elif isinstance(inputs, tuple):
        output = model(*inputs)
    else:
        output = model(inputs)
    return loss(output, targets)


def _run_as_it_is(model: nn.Module, batch: tuple[Any, Any, DataLoss]) -> tuple[list[LayerUse], Tensor]:
    with watched(model) as uses:
        value = _loss(model, batch)
    if not uses:
        raise UsageError("the model uses no module with a weight of two or more dimensions")
    if not isinstance(value, Tensor) or value.numel() != 1:
        found = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise UsageError(f"the loss must be a scalar tensor, the mean over the batch, not {found}")
    return uses, value


def _weight_gradients(uses: list[LayerUse], value: Tensor) -> dict[str, list[Tensor | None]]:
    """The gradients of each layer's matrices as training would compute them."""
    weights = {use.name: [weight for weight in weights_of(use.module) if weight.requires_grad] for use in uses}
    wanted = [weight for own in weights.values() for weight in own] if value.requires_grad else []
    if not wanted:
        return {}
    gradients = iter(torch.autograd.grad(value, wanted, allow_unused=True))
    return {name: [next(gradients) for _ in own] for name, own in weights.items()}
