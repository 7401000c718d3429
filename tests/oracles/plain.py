"""A gradlab trial in plain PyTorch: one nn.Module, torch.optim, and every statistic computed the obvious way.

Written from the interface contract alone (its sections 2 to 4) and sharing no code with `gradlab.engine`: clear
before fast. Training runs in float32; whatever is said about gradients, deltas and the probe comes from a copy of the
same weights in float64.

Readings of what the contract leaves open:

- With batch norm an example's loss depends on the whole batch; row i of a delta is then sum_j d ell_j / d z_i, which
  is batch size x dL / d z_i and, without batch norm, d ell_i / d z_i.
- A record shows the network as it stands when step k begins: running statistics of batch norm have seen the
  minibatches 0 .. k-1.
- z is in front of a norm: so are preactivation_rms, deltas and zero_gradient_units; phi' is judged behind it.
- Means and shares over "units and probe examples" of a cnn run over positions too.
- The output layer has a preactivation_rms; what concerns phi or h is null there.
- A diverged trial's final_* are those of the weights of its last record; nothing that is NaN becomes null.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlab.config.schema import Train
from gradlab.config.sweep import Trial
from tests.oracles import activations
from tests.oracles.deep import log10_norm, norm, rescaled_backward
from tests.oracles.network import PlainData, PlainNetwork, build_network, loss, loss_signal, metric

SATURATED_BELOW = 0.01
"""Share of max |phi'| under which a pair of unit and example is saturated."""

QUANTILES = {f"activation_q{percent:02d}": percent / 100 for percent in (1, 5, 10, 25, 50, 75, 90, 95, 99)}
"""Column -> share of the activations below it, at a trial's first and last record."""

MOST_IN_ORDER = 8192
"""Activations of which quantiles are taken, at most: of the first whole examples of the probe."""

Row = dict[str, Any]


@dataclass(frozen=True)
class PlainHistory:
    """What one trial was measured to be, in the contract's columns; None for null.

    Attributes:
        steps: rows of the steps table.
        layers: rows of the layers table, by step, then layer.
        trial: the row of the trials table, less `run`, `predicted_gradient_decay` and `diagnosis`.
        initial_weights: (W_l, b_l) of layers 1 to D+1 before the first update, float32 `[unit, fan_in]` (convolutions
            `[unit, channel, 3, 3]`) and `[unit]`.
    """

    steps: list[Row]
    layers: list[Row]
    trial: Row
    initial_weights: list[tuple[Tensor, Tensor]]

    def at(self, step: int, layer: int) -> Row:
        """The row of the layers table for one step and layer."""
        return next(row for row in self.layers if (row["step"], row["layer"]) == (step, layer))


def plain_trial(trial: Trial, data: PlainData) -> PlainHistory:
    """Build the trial's network, train it and measure it."""
    return train_plain(build_network(trial, data), trial, data)


def train_plain(network: PlainNetwork, trial: Trial, data: PlainData) -> PlainHistory:
    """Train `network`, in place, as `trial` says, and measure it at every recorded step."""
    settings = trial.train
    optimizer = make_optimizer(network, settings)
    batches = minibatches(len(data.x_train), settings.batch_size, trial.seed)
    initial_weights = [(weight.detach().clone(), bias.detach().clone()) for weight, bias in network.weights_and_biases]
    steps: list[Row] = []
    layers: list[Row] = []
    diverged_step = None
    for step in range(settings.steps):
        batch = next(batches)
        x, y = data.x_train[batch], data.y_train[batch]
        at_start = network.in_float64()
        evaluation = evaluation_columns(network, data)

        network.train()
        optimizer.zero_grad()
        train_loss = loss(data.task, network(x), y)
        train_loss.backward()  # type: ignore[no-untyped-call]

        if not train_loss.isfinite():
            diverged_step = step
        recorded = step % trial.record.every == 0 or step == settings.steps - 1 or diverged_step is not None
        before = [weight.detach().clone() for weight, _ in network.weights_and_biases]
        if diverged_step is None:
            optimizer.step()
        if recorded:
            # The probe first: the minibatch's forward pass in train mode moves the running statistics of batch norm.
            looked = probe_columns(at_start, trial, data)
            at_an_end = step in (0, settings.steps - 1) or diverged_step is not None
            spread = quantile_columns(at_start, trial, data, at_an_end)
            pulled, grad_norm = gradient_columns(at_start, x, y, data)
            for number, (weight, _) in enumerate(network.weights_and_biases):
                place = {"trial_id": trial.trial_id, "step": step, "layer": number + 1}
                truly = pulled[number].pop("weight_gradient").weight != 0
                updated = update_columns(before[number], weight, truly, updated=diverged_step is None)
                layers.append(place | updated | pulled[number] | looked[number] | spread[number])
            place = {"trial_id": trial.trial_id, "step": step}
            steps.append(place | {"train_loss": train_loss.item()} | evaluation | {"grad_norm": grad_norm})
        if diverged_step is not None:
            break
    summary = _trial_row(network, trial, data, layers, diverged_step)
    return PlainHistory(steps, layers, summary, initial_weights)


def make_optimizer(network: PlainNetwork, settings: Train) -> torch.optim.Optimizer:
    """torch.optim's own, over all parameters, with its defaults but for the config's lr, weight decay and momentum."""
    common: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    parameters = network.parameters()
    match settings.optimizer:
        case "sgd":
            return torch.optim.SGD(parameters, **common)
        case "momentum":
            return torch.optim.SGD(parameters, momentum=settings.momentum, **common)
        case "adam":
            return torch.optim.Adam(parameters, **common)
        case "adamw":
            return torch.optim.AdamW(parameters, **common)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, **common)


def minibatches(examples: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Indices of one minibatch after another, for ever: each epoch a permutation cut in full batches."""
    generator = torch.Generator().manual_seed(seed)
    size = min(batch_size, examples)
    while True:
        order = torch.randperm(examples, generator=generator)
        for start in range(0, examples - size + 1, size):
            yield order[start : start + size]


def update_ratio(before: Tensor, after: Tensor) -> float | None:
    """|after - before| / |before|; None for 0/0."""
    change, size = norm(after.double() - before.double()), norm(before)
    if size == 0:
        return None if change == 0 else math.inf
    return change / size


@torch.no_grad()
def evaluation_columns(network: PlainNetwork, data: PlainData) -> Row:
    """Loss and metric of the evaluation split, in eval mode."""
    network.eval()
    output = network(data.x_eval)
    return {
        "eval_loss": float(loss(data.task, output, data.y_eval)),
        "eval_metric": metric(data.task, output, data.y_eval),
    }


def update_columns(before: Tensor, weight: Tensor, truly_nonzero: Tensor, *, updated: bool) -> Row:
    """What a layer's row says of the weights and of the gradient that float32 training itself sees."""
    seen = weight.grad
    assert seen is not None
    return {
        "float32_zero_fraction": float(((seen == 0) & truly_nonzero).double().mean()),
        "weight_norm": norm(before),
        "update_ratio": update_ratio(before, weight.detach()) if updated else None,
        "non_finite": int((~seen.isfinite()).sum()),
    }


def gradient_columns(network: PlainNetwork, x: Tensor, y: Tensor, data: PlainData) -> tuple[list[Row], float]:
    """What each layer's row says of the minibatch's gradients, and the norm of the whole gradient.

    Norms come from float64 autograd. Their logarithms, and the entries themselves (`weight_gradient`, batch size times
    dL/dW), come from the rescaled backward pass, which sees below 1e-308.
    """
    network.train()
    trace = network.trace(x.double())
    batch = len(x)
    signal = loss_signal(data.task, trace.output.detach(), y)
    parameters = list(network.parameters())
    found = torch.autograd.grad(trace.output, [*parameters, *trace.preactivations], signal / batch)
    gradient = {id(parameter): value for parameter, value in zip(parameters, found[: len(parameters)], strict=True)}
    preactivation_gradients = found[len(parameters) :]

    rows = []
    rescaled = rescaled_backward(network, x.double(), signal)
    layers = zip(network.weights_and_biases, preactivation_gradients, rescaled, strict=True)
    for number, ((weight, bias), preactivation_gradient, deep) in enumerate(layers):
        delta = batch * preactivation_gradient
        exponent = int(deep.exponent[0])
        rows.append(
            {
                "name": f"hidden_{number + 1}" if number < network.depth else "output",
                "units": len(weight),
                "kind": "layer",
                "weight_count": weight.numel(),
                "weight_grad_norm": norm(gradient[id(weight)]),
                "log10_weight_grad_norm": log10_norm(deep.weight / batch, exponent),
                "bias_grad_norm": norm(gradient[id(bias)]),
                "delta_rms": norm(delta) / math.sqrt(batch),
                "log10_delta_rms": log10_norm(deep.delta / math.sqrt(batch), exponent),
                "weight_gradient": deep,
            }
        )
    return rows, norm(torch.cat([value.flatten() for value in gradient.values()]))


def probe_columns(network: PlainNetwork, trial: Trial, data: PlainData) -> list[Row]:
    """What each layer's row says of the probe: the first training examples, in eval mode."""
    network.eval()
    x = data.x_train[: trial.record.probe].double()
    y = data.y_train[: trial.record.probe]
    with torch.no_grad():
        trace = network.trace(x)
    signal = loss_signal(data.task, trace.output, y)
    rescaled = rescaled_backward(network, x, signal, per_example=True)
    steepest = activations.steepest(network.activation)

    rows = []
    for number in range(network.depth):
        slope = activations.derivative(network.activation, trace.phi_inputs[number])
        h = trace.inputs[number + 1]
        rows.append(
            {
                "preactivation_rms": _root_mean_square(trace.preactivations[number]),
                "activation_mean": float(h.mean()),
                "activation_rms": _root_mean_square(h),
                "dead_units": _units_always(slope == 0),
                "zero_gradient_units": _units_always(rescaled[number].delta == 0),
                "saturated_fraction": float((slope.abs() < SATURATED_BELOW * steepest).double().mean()),
            }
        )
    output_row: Row = dict.fromkeys(rows[0])
    output_row["preactivation_rms"] = _root_mean_square(trace.output)
    return [*rows, output_row]


def quantile_columns(network: PlainNetwork, trial: Trial, data: PlainData, at_an_end: bool) -> list[Row]:
    """Quantiles of each hidden layer's activations on the probe, in eval mode; null in other records."""
    network.eval()
    with torch.no_grad():
        hidden = network.trace(data.x_train[: trial.record.probe].double()).inputs[1 : network.depth + 1]
    null = dict.fromkeys(QUANTILES)
    if not at_an_end:
        return [null] * (network.depth + 1)
    few = [h[: max(1, MOST_IN_ORDER // h[0].numel())].numpy() for h in hidden]
    rows = [{name: float(np.quantile(values, share)) for name, share in QUANTILES.items()} for values in few]
    return [*rows, null]


def _units_always(holds: Tensor) -> int:
    """In how many units (dimension 1) something holds for every example and position."""
    return int(holds.transpose(0, 1).flatten(1).all(dim=1).sum())


def _root_mean_square(values: Tensor) -> float:
    return norm(values) / math.sqrt(values.numel())


@torch.no_grad()
def _trial_row(
    network: PlainNetwork, trial: Trial, data: PlainData, layers: list[Row], diverged_step: int | None
) -> Row:
    network.eval()
    x, y = data.x_train[: trial.record.probe], data.y_train[: trial.record.probe]
    after = evaluation_columns(network, data)
    ratio, decay = gradient_ratio_and_decay([row["log10_delta_rms"] for row in layers[: network.depth]])
    last = [row for row in layers if row["step"] == layers[-1]["step"]][:-1]
    return {
        "trial_id": trial.trial_id,
        "seed": trial.seed,
        **trial.factors(),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "status": "completed" if diverged_step is None else "diverged",
        "error": None,
        "diverged_step": diverged_step,
        "final_train_loss": float(loss(data.task, network(x), y)),
        "final_eval_loss": after["eval_loss"],
        "final_eval_metric": after["eval_metric"],
        "dead_fraction": sum(row["dead_units"] for row in last) / sum(row["units"] for row in last),
        "saturated_fraction": sum(row["saturated_fraction"] for row in last) / len(last),
        "gradient_ratio": ratio,
        "gradient_decay": decay,
    }


def gradient_ratio_and_decay(log10_delta_rms: list[float | None]) -> tuple[float | None, float | None]:
    """delta_rms(1) / delta_rms(D) and its (D-1)th root, from the logarithms of layers 1 to D; 0/0 is None.

    At D = 1 the ratio is 1 (but None where the only hidden layer receives nothing) and the decay None.
    """
    first, last = log10_delta_rms[0], log10_delta_rms[-1]
    if first is None and last is None:
        return None, None
    logarithm = -math.inf if first is None else math.inf if last is None else first - last
    layers_between = len(log10_delta_rms) - 1
    return _power_of_ten(logarithm), _power_of_ten(logarithm / layers_between) if layers_between else None


def _power_of_ten(logarithm: float) -> float:
    try:
        return math.pow(10, logarithm)
    except OverflowError:
        return math.inf
