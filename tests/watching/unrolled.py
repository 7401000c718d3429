"""Recurrent modules gone through by hand in float64, one time step after the other, keeping every hidden state."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from tests.watching.recorded import Key
from tests.watching.twin import in_float64, norm

Series = dict[str, list[dict[str, float | None]]]


class Unrolled(nn.Module):
    """Stands in for an nn.RNN, nn.LSTM or nn.GRU in a model: the textbook's equations."""

    def __init__(self, module: nn.RNNBase) -> None:
        super().__init__()
        self.inner = module
        self.states: dict[str, dict[int, Tensor]] = {}
        self.before: dict[str, dict[int, Tensor]] = {}
        self.weights: dict[str, dict[int, Tensor]] = {}
        self.active: Tensor | None = None

    def forward(self, x: Any, initial: Any = None) -> Any:
        packed = x if isinstance(x, PackedSequence) else None
        inner = self.inner
        if packed is not None:
            x, lengths = pad_packed_sequence(packed)
            self.active = (torch.arange(len(x))[:, None] < lengths)[..., None]
        elif inner.batch_first:
            x = x.transpose(0, 1)
        directions = 2 if inner.bidirectional else 1
        starts = initial if isinstance(initial, tuple) else (initial,)
        finals = []
        for layer in range(inner.num_layers):
            sides = []
            for direction in range(directions):
                suffix = f"l{layer}" + "_reverse" * direction
                place = layer * directions + direction
                zeros = torch.zeros(x.shape[1], inner.hidden_size, dtype=torch.float64)
                state = [zeros if start is None else start[place] for start in starts]
                side, state = self._through(suffix, x, state + [zeros] * (2 - len(state)))
                sides.append(side)
                finals.append(state)
            x = torch.cat(sides, -1)
        last: Any = torch.stack([state[0] for state in finals])
        if inner.mode == "LSTM":
            last = (last, torch.stack([state[1] for state in finals]))
        if packed is not None:
            return pack_padded_sequence(x, lengths, enforce_sorted=False), last
        return (x.transpose(0, 1) if inner.batch_first else x), last

    def _through(self, suffix: str, x: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        steps = range(len(x))
        self.states[suffix], self.before[suffix], self.weights[suffix] = {}, {}, {}
        shared = getattr(self.inner, f"weight_hh_{suffix}").detach()
        for t in reversed(steps) if suffix.endswith("reverse") else steps:
            # A matrix of its own for every time step, so that each step's part of the gradient is seen.
            self.weights[suffix][t] = own = shared.clone().requires_grad_()
            new, before = self._step(suffix, own, x[t], *state)
            new[0].retain_grad()  # type: ignore[no-untyped-call]
            self.states[suffix][t], self.before[suffix][t] = new[0], before
            active = self.active[t] if self.active is not None else torch.tensor(True)
            state = [torch.where(active, later, old) for later, old in zip(new, state, strict=True)]
        zeros = torch.zeros_like(state[0])
        shown = [
            self.states[suffix][t]
            if self.active is None
            else torch.where(self.active[t], self.states[suffix][t], zeros)
            for t in steps
        ]
        return torch.stack(shown), state

    def _step(self, suffix: str, weight_hh: Tensor, x: Tensor, h: Tensor, c: Tensor) -> tuple[list[Tensor], Tensor]:
        weight_ih = getattr(self.inner, f"weight_ih_{suffix}")
        zero = torch.zeros(len(weight_ih), dtype=torch.float64)
        bias = {name: getattr(self.inner, f"{name}_{suffix}", zero) for name in ("bias_ih", "bias_hh")}
        from_x = x @ weight_ih.T + bias["bias_ih"]
        from_h = h @ weight_hh.T + bias["bias_hh"]
        z = from_x + from_h
        sigma: Callable[[Tensor], Tensor] = lambda u: 1 / (1 + torch.exp(-u))  # noqa: E731
        if self.inner.mode == "RNN_TANH":
            return [torch.tanh(z), c], z.detach()
        if self.inner.mode == "RNN_RELU":
            return [z * (z > 0), c], z.detach()
        if self.inner.mode == "LSTM":
            i, f, g, o = z.split(self.inner.hidden_size, -1)
            c = sigma(f) * c + sigma(i) * torch.tanh(g)
            return [sigma(o) * torch.tanh(c), c], z.detach()
        (r_x, z_x, n_x), (r_h, z_h, n_h) = (u.split(self.inner.hidden_size, -1) for u in (from_x, from_h))
        update = sigma(z_x + z_h)
        candidate = torch.tanh(n_x + sigma(r_x + r_h) * n_h)
        return [(1 - update) * candidate + update * h, c], z.detach()

    def rows(self, examples: int) -> Series:
        """Series -> one row for each time step, in the order of the sequence."""
        return {
            suffix: [self._row(suffix, t, examples) for t in sorted(states)] for suffix, states in self.states.items()
        }

    def _row(self, suffix: str, t: int, examples: int) -> dict[str, float | None]:
        state = self.states[suffix][t]
        chosen = np.ones(len(state), bool) if self.active is None else self.active[t, :, 0].numpy()
        h = state.detach().numpy()[chosen]
        slope = np.zeros(tuple(state.shape)) if state.grad is None else state.grad.numpy()
        of_weight = self.weights[suffix][t].grad
        row: dict[str, float | None] = {
            "units": self.inner.hidden_size,
            "weight_grad_norm": 0.0 if of_weight is None else norm([of_weight.numpy()]),
            "delta_rms": norm([slope]) * math.sqrt(examples),
            "activation_mean": float(h.mean()),
            "activation_rms": float(np.sqrt((h**2).mean())),
            "bias_grad_norm": None,
            "weight_norm": None,
            "update_ratio": None,
        }
        if not self.inner.mode.startswith("RNN"):
            return row | dict.fromkeys(["preactivation_rms", "dead_units", "saturated_fraction"])
        z = self.before[suffix][t].numpy()[chosen]
        relu = self.inner.mode.endswith("RELU")
        flat = (z <= 0) if relu else np.zeros_like(z, bool)
        reached = (slope[chosen] != 0) & ~flat
        return row | {
            "preactivation_rms": float(np.sqrt((z**2).mean())),
            "dead_units": int(flat.all(0).sum()),
            "saturated_fraction": float(((z <= 0) if relu else 1 / np.cosh(z) ** 2 < 0.01).mean()),
            "zero_gradient_units": int((~reached).all(0).sum()),
        }


def along_time(name: str, batch: Any, loss: Callable[[nn.Module, Any], Tensor], examples: int) -> Any:
    """What computes the rows of the time steps of the recurrent module `name` from a model."""

    def rows(model: nn.Module) -> dict[Key, dict[str, float | None]]:
        twin = copy.deepcopy(model).double()
        twin.zero_grad(set_to_none=True)
        module = twin.get_submodule(name)
        assert isinstance(module, nn.RNNBase)
        unrolled = Unrolled(module)
        setattr(twin, name, unrolled)
        loss(twin, in_float64(batch)).backward()  # type: ignore[no-untyped-call]
        found = {}
        series = unrolled.rows(examples)
        for suffix, steps in series.items():
            full = name if len(series) == 1 else f"{name}.{suffix}"
            for number, row in enumerate(steps, 1):
                found["time", full, number] = row | {"weight_count": module.weight_hh_l0.numel()}
        return found

    return rows
