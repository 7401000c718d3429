"""Family transformer against a naive twin, and what is known of the place of its normalisation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradlab.config.sweep import Trial
from gradlab.engine.families.transformer import sinusoids
from gradlab.engine.history import TrialHistory
from gradlab.engine.modules.building import build_model
from gradlab.engine.modules.training import train_custom
from gradlab.engine.tasks import Task, make_task
from tests.oracles.samples import one_trial

HERE = Path(__file__).parent


def trial_of(*, seed: int = 2, data: Any = None, train: Any = None, **model: Any) -> Trial:
    settings = {"family": "transformer", "width": 12, "heads": 3, "depth": 2, **model}
    training = {"steps": 12, "batch_size": 16, "lr": 0.05, **(train or {})}
    sections = {"model": settings, "train": training, "record": {"every": 1, "probe": 12}}
    return one_trial(seed=seed, data=data or {"name": "digits"}, **sections)


def task_of(trial: Trial) -> Task:
    return make_task(trial.data, HERE, trial.model)


def run(trial: Trial) -> TrialHistory:
    return train_custom(trial, task_of(trial), HERE)


class Twin:
    """The encoder from its parameters alone: attention head by head, nothing of torch's modules."""

    def __init__(self, trial: Trial, task: Task) -> None:
        """Draws as plain PyTorch does, module by module from the input on."""
        self.model, steps = trial.model, task.x_train.shape[1]
        width = self.model.width
        torch.manual_seed(trial.seed)
        self.embedding = nn.Linear(task.in_features, width)
        self.blocks = [
            (
                nn.MultiheadAttention(width, int(self.model.heads or 0)),
                nn.Linear(width, 4 * width),
                nn.Linear(4 * width, width),
                nn.LayerNorm(width),
                nn.LayerNorm(width),
            )
            for _ in range(self.model.depth)
        ]
        self.last_norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, task.out_features)
        self.modules = [self.embedding, *(part for block in self.blocks for part in block), self.output]
        if self.model.norm == "pre":
            self.modules.append(self.last_norm)
        self.positions = torch.tensor(
            [
                [
                    (math.sin if unit % 2 == 0 else math.cos)(t / 10_000 ** ((unit - unit % 2) / width))
                    for unit in range(width)
                ]
                for t in range(steps)
            ],
            dtype=torch.float32,
        )

    def __call__(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The outputs, and what each block passes on."""
        h = x @ self.embedding.weight.T + self.embedding.bias + self.positions.to(x.dtype)
        passed = []
        for attention, first, second, norm1, norm2 in self.blocks:
            for part, norm in (("attention", norm1), ("feed_forward", norm2)):
                u = self.normed(norm, h) if self.model.norm == "pre" else h
                f = self.attend(attention, u) if part == "attention" else second(self.phi(first(u)))
                h = self.normed(norm, h + f) if self.model.norm == "post" else h + f
            passed.append(h)
        h = self.normed(self.last_norm, h) if self.model.norm == "pre" else h
        return h.sum(1) / h.shape[1] @ self.output.weight.T + self.output.bias, passed

    def phi(self, z: Tensor) -> Tensor:
        return F.gelu(z) if self.model.activation.name == "gelu" else z.clamp(min=0)

    def normed(self, norm: nn.LayerNorm, h: Tensor) -> Tensor:
        centred = h - h.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight + norm.bias

    def attend(self, attention: nn.MultiheadAttention, h: Tensor) -> Tensor:
        assert attention.in_proj_bias is not None
        mapped = h @ attention.in_proj_weight.T + attention.in_proj_bias
        queries, keys, values = mapped.chunk(3, dim=-1)
        size = attention.head_dim
        heads = []
        for head in range(attention.num_heads):
            own = slice(head * size, (head + 1) * size)
            scores = queries[..., own] @ keys[..., own].transpose(1, 2) / math.sqrt(size)
            heads.append(torch.softmax(scores, -1) @ values[..., own])
        return torch.cat(heads, -1) @ attention.out_proj.weight.T + attention.out_proj.bias

    def parameters(self) -> list[nn.Parameter]:
        return [parameter for module in self.modules for parameter in module.parameters()]

    def double(self) -> Twin:
        for module in self.modules:
            module.double()
        return self


def first_batch(trial: Trial, task: Task) -> Tensor:
    order = torch.randperm(len(task.x_train), generator=torch.Generator().manual_seed(trial.seed))
    return order[: trial.train.batch_size]


@pytest.mark.parametrize("norm", ["pre", "post", "none"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_the_first_record_against_a_naive_twin(norm: str, activation: str) -> None:
    trial = trial_of(norm=norm, activation=activation, depth=3)
    task, history = task_of(trial), run(trial)
    twin = Twin(trial, task).double()
    batch = first_batch(trial, task)
    output, passed = twin(task.x_train[batch].double())
    for h in passed:
        h.retain_grad()
    loss = F.cross_entropy(output, task.y_train[batch])
    loss.backward()
    assert history.step_values["train_loss"][0] == pytest.approx(loss.item(), rel=1e-5)
    names = [info.name for info in history.layers]
    assert names == ["blocks.0", "blocks.1", "blocks.2", "output"]
    for column, (h, parts) in enumerate(zip(passed, twin.blocks, strict=True)):
        assert h.grad is not None
        values = {name: table[0, column] for name, table in history.layer_values.items()}
        assert values["delta_rms"] == pytest.approx(math.sqrt(len(batch)) * h.grad.norm().item(), rel=1e-6)
        own = [(name, one.grad) for part in parts for name, one in part.named_parameters()]
        weights = [one for name, one in own if one is not None and one.ndim == 2]
        biases = [one for name, one in own if one is not None and "bias" in name]
        assert values["weight_grad_norm"] == pytest.approx(norm_of(weights), rel=1e-6)
        assert values["bias_grad_norm"] == pytest.approx(norm_of(biases), rel=1e-6)
    assert history.layers[0].weight_count == 12 * 12 * (3 + 1 + 4 + 4)
    of_all = norm_of([one.grad for one in twin.parameters() if one.grad is not None])
    assert history.step_values["grad_norm"][0] == pytest.approx(of_all, rel=1e-6)


def norm_of(tensors: list[Tensor]) -> float:
    return math.sqrt(sum(float(one.square().sum()) for one in tensors))


@pytest.mark.parametrize("norm", ["pre", "post", "none"])
def test_twelve_steps_against_a_naive_twin(norm: str) -> None:
    trial = trial_of(norm=norm, train={"optimizer": "momentum", "lr": 0.02})
    task, history = task_of(trial), run(trial)
    twin = Twin(trial, task)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.02, momentum=0.9)
    order = torch.randperm(len(task.x_train), generator=torch.Generator().manual_seed(trial.seed))
    losses = []
    for indices in order.split(16)[:12]:
        optimizer.zero_grad()
        loss = F.cross_entropy(twin(task.x_train[indices])[0], task.y_train[indices])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert history.step_values["train_loss"].tolist() == pytest.approx(losses, rel=1e-4)


def test_inits_draw_each_matrix_apart_from_the_input_on() -> None:
    trial = trial_of(init={"name": "normal", "sigma_w": 2.0, "sigma_b": 0.5})
    task = task_of(trial)
    found, twin = build_model(trial, task, HERE).state_dict(), Twin(trial, task)

    def draw(weight: Tensor) -> None:
        nn.init.normal_(weight, 0, 2 / math.sqrt(weight.shape[1]))

    def bias(tensor: Tensor) -> None:
        nn.init.normal_(tensor, 0, 0.5)

    with torch.no_grad():
        draw(twin.embedding.weight)
        bias(twin.embedding.bias)
        for attention, first, second, *_ in twin.blocks:
            for matrix in range(3):
                draw(attention.in_proj_weight[matrix * 12 : matrix * 12 + 12])
            bias(attention.in_proj_bias)
            for linear in (attention.out_proj, first, second):
                draw(linear.weight)
                bias(linear.bias)
        draw(twin.output.weight)
        bias(twin.output.bias)
    wanted = {"embedding.projection": twin.embedding.weight, "embedding.shift": twin.embedding.bias}
    for index, (attention, first, second, *_) in enumerate(twin.blocks):
        for name, module in (("attention", attention), ("linear1", first), ("linear2", second)):
            wanted |= {f"blocks.{index}.{name}.{key}": value for key, value in module.named_parameters()}
    wanted |= {f"output.{key}": value for key, value in twin.output.named_parameters()}
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name
    assert all("norm" in name for name in found.keys() - wanted.keys())


@pytest.mark.parametrize(("steps", "width"), [(1, 1), (5, 4), (7, 5)])
def test_positions(steps: int, width: int) -> None:
    """Vaswani et al. 2017: PE(t, 2i) = sin(t / 10000^(2i/width)), PE(t, 2i+1) its cosine."""
    positions = sinusoids(steps, width)
    for t in range(steps):
        for unit in range(width):
            angle = t / 10_000 ** ((unit - unit % 2) / width)
            wanted = math.sin(angle) if unit % 2 == 0 else math.cos(angle)
            assert positions[t, unit].item() == pytest.approx(wanted, abs=1e-6)


def norms(norm: str, depth: int) -> Any:
    """weight_grad_norm of every block at initialisation, geometric mean over seeds, [block]."""
    logs = []
    for seed in range(4):
        train = {"steps": 1, "batch_size": 64}
        model = {"norm": norm, "depth": depth, "width": 32, "heads": 4, "init": "xavier_uniform"}
        trial = trial_of(seed=seed, train=train, **model)
        logs.append(run(trial).layer_values["log10_weight_grad_norm"][0, :depth])
    return 10 ** np.mean(logs, axis=0)


def test_the_last_blocks_gradient_falls_with_depth_for_pre_norm_and_not_for_post_norm() -> None:
    """Xiong et al. 2020, theorem 1: of order 1/sqrt(depth) for pre-norm, of order 1 for post-norm."""
    depths = (4, 16)
    pre, post = ({depth: norms(norm, depth) for depth in depths} for norm in ("pre", "post"))
    fall = math.sqrt(depths[1] / depths[0])
    assert pre[4][-1] / pre[16][-1] == pytest.approx(fall, rel=0.35)
    assert post[4][-1] / post[16][-1] == pytest.approx(1, rel=0.35)
    # Towards the output gradients grow with post-norm, and fall with pre-norm.
    assert post[16][-1] > post[16][0]
    assert pre[16][-1] < pre[16][0] / 2


def test_a_function_of_ones_own_as_activation(tmp_path: Path) -> None:
    (tmp_path / "phi.py").write_text("def cube(z):\n    return z ** 3\n")
    trial = trial_of(activation="phi.py:cube", train={"steps": 2})
    history = train_custom(trial, task_of(trial), tmp_path)
    assert np.isfinite(history.layer_values["delta_rms"]).all()


def test_adding_is_read_by_a_transformer() -> None:
    history = run(trial_of(data={"name": "adding"}, sequence_length=6, train={"steps": 2}))
    assert [info.kind for info in history.layers] == ["layer"] * 3
