"""The same statistics by hooks written by hand, as people have them in their training scripts: norms in float32."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

LAYERS = (nn.Linear, nn.Conv2d, nn.Embedding, nn.MultiheadAttention)
NORMS = (nn.BatchNorm2d, nn.LayerNorm)
ACTIVATIONS = (nn.ReLU, nn.Tanh)


class ByHand:
    """Hooks on layers, normalisations and activations in the steps that are recorded, one transfer at the end of each.

    Args:
        model: made of the modules above.
        every: steps between records.
        file: where the numbers go when it is closed, as an `.npz`.
    """

    def __init__(self, model: nn.Module, every: int, file: Path) -> None:
        parts = {
            part for whole in model.modules() if isinstance(whole, nn.MultiheadAttention) for part in whole.children()
        }
        self._layers: dict[nn.Module, str]
        self._norms: dict[nn.Module, str]
        self._layers = {m: name for name, m in model.named_modules() if isinstance(m, LAYERS) and m not in parts}
        self._norms = {m: name for name, m in model.named_modules() if isinstance(m, NORMS)}
        self._activations = [m for m in model.modules() if isinstance(m, ACTIVATIONS)]
        self._model, self._every, self._file = model, every, file
        self._step = 0
        self._handles: list[RemovableHandle] = []
        self._row: dict[tuple[str, str], Tensor] = {}
        self._last: tuple[str, int] | None = None
        self._before: dict[str, tuple[list[nn.Parameter], list[Tensor]]] = {}
        self.steps: list[int] = []
        self.columns: list[tuple[str, str]] = []
        self.values: list[list[float]] = []

    def begin(self) -> None:
        """A step begins."""
        if self._step % self._every == 0:
            self._install()

    def before_update(self, loss: Tensor) -> None:
        """Read the gradients and keep the weights."""
        if self._step % self._every == 0:
            self._row["", "train_loss"] = loss.detach()
            self._row["", "grad_norm"] = length([p.grad for p in self._model.parameters() if p.grad is not None])
            for module, name in {**self._layers, **self._norms}.items():
                self._gradients(module, name)

    def after_update(self) -> None:
        """Compare the weights and fetch all numbers."""
        if self._step % self._every == 0:
            for name, (weights, before) in self._before.items():
                self._row[name, "weight_norm"] = size = length(before)
                change = [after.detach() - known for after, known in zip(weights, before, strict=True)]
                self._row[name, "update_ratio"] = length(change) / size
            for handle in self._handles:
                handle.remove()
            self._handles.clear()
            self._before.clear()
            self.steps.append(self._step)
            self.columns = list(self._row)
            self.values.append(torch.stack([value.double() for value in self._row.values()]).tolist())
        self._step += 1

    def close(self) -> None:
        """Write everything."""
        np.savez(self._file, steps=self.steps, columns=self.columns, values=np.array(self.values))

    def _install(self) -> None:
        self._row = {}
        for module in (*self._layers, *self._norms):
            self._handles.append(module.register_forward_hook(self._output))
        for activation in self._activations:
            self._handles.append(activation.register_forward_pre_hook(self._before_activation))
            self._handles.append(activation.register_forward_hook(self._after_activation))

    def _gradients(self, module: nn.Module, name: str) -> None:
        weights, biases = matrices(module), vectors(module)
        if isinstance(module, NORMS):
            weights, biases = biases[:1], biases[1:]
        self._before[name] = weights, [weight.detach().clone() for weight in weights]
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        self._row[name, "weight_grad_norm"] = length(gradients)
        self._row[name, "non_finite"] = torch.stack([(~torch.isfinite(one)).sum() for one in gradients]).sum()
        if biases:
            self._row[name, "bias_grad_norm"] = length([bias.grad for bias in biases if bias.grad is not None])

    def _output(self, module: nn.Module, _inputs: Any, output: Any) -> None:
        z: Tensor = output[0] if isinstance(output, tuple) else output
        name = self._layers.get(module) or self._norms[module]
        is_layer = module in self._layers
        if is_layer:
            self._last = name, z.numel()
        self._row[name, "preactivation_rms"] = length([z.detach()]) / math.sqrt(z.numel())
        examples = z.shape[0]
        # The loss is a mean over the minibatch, so that the gradient of an example's own loss is so many times larger.

        def gradient(g: Tensor) -> None:
            self._row[name, "delta_rms"] = length([g]) * math.sqrt(examples)
            if is_layer:
                self._row[name, "zero_gradient_units"] = (g.abs().amax(others(g)) == 0).sum()

        if z.requires_grad:
            z.register_hook(gradient)  # type: ignore[no-untyped-call]

    def _before_activation(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if self._last is None or self._last[1] != inputs[0].numel():
            return
        name, u = self._last[0], inputs[0].detach()
        if isinstance(module, nn.ReLU):
            off = u <= 0
            self._row[name, "dead_units"] = off.flatten(2).all(2).all(0).sum() if u.ndim > 2 else off.all(0).sum()
        else:
            off = 1 - torch.tanh(u).square() < 0.01
            self._row[name, "dead_units"] = torch.zeros(())
        self._row[name, "saturated_fraction"] = off.float().mean()

    def _after_activation(self, _module: nn.Module, _inputs: Any, a: Tensor) -> None:
        if self._last is not None and self._last[1] == a.numel():
            name = self._last[0]
            self._row[name, "activation_mean"] = a.detach().mean()
            self._row[name, "activation_rms"] = length([a.detach()]) / math.sqrt(a.numel())
        self._last = None


def matrices(module: nn.Module) -> list[nn.Parameter]:
    """The parameters of a layer with two or more dimensions."""
    return [parameter for parameter in module.parameters() if parameter.ndim > 1]


def vectors(module: nn.Module) -> list[nn.Parameter]:
    """The other parameters: biases, or all of a normalisation."""
    return [parameter for parameter in module.parameters() if parameter.ndim == 1]


def length(tensors: list[Tensor]) -> Tensor:
    """The Euclidean norm of several tensors together."""
    norms: list[Tensor] = [torch.linalg.vector_norm(tensor) for tensor in tensors]
    whole: Tensor = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))
    return whole


def others(tensor: Tensor) -> list[int]:
    """All dimensions but the one that counts units: channels of an image, else the last."""
    return [0, 2, 3] if tensor.ndim == 4 else list(range(tensor.ndim - 1))
