"""Trials whose model is an `nn.Module`, such as the user's own, each trained in a plain PyTorch loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from gradlab.config.sweep import Trial
from gradlab.engine.batches import is_recorded, minibatches
from gradlab.engine.history import TrialHistory
from gradlab.engine.modules.building import build_model, misfit
from gradlab.engine.modules.layers import as_outputs, copied
from gradlab.engine.modules.record import ModuleRecord, seen_in_modules
from gradlab.engine.optimizers import module_optimizer
from gradlab.engine.seen import Watch
from gradlab.engine.tasks import Task, example_losses
from gradlab.errors import SettingError


def train_custom(
    trial: Trial, task: Task, directory: Path, progress: Callable[[float], None] = lambda fraction: None
) -> TrialHistory:
    """Build, train and record one trial of a custom model."""
    with torch.random.fork_rng(devices=[]):
        return train_module(trial, task, build_model(trial, task, directory), progress)


def train_module(
    trial: Trial, task: Task, model: nn.Module, progress: Callable[[float], None], watch: Watch | None = None
) -> TrialHistory:
    """Train and record one trial from a model as it was made, in train mode, in float32; draws from torch's stream."""
    started = time.process_time()
    record = ModuleRecord(trial, task, model.train())
    _train(trial, task, model, record, progress, watch)
    if record.diverged_step is None:
        record.finish(model)
    return record.history(time.process_time() - started)


def _train(
    trial: Trial,
    task: Task,
    model: nn.Module,
    record: ModuleRecord,
    progress: Callable[[float], None],
    watch: Watch | None,
) -> None:
    optimizer = module_optimizer(trial.train, [one for one in model.parameters() if one.requires_grad])
    batches = minibatches([trial.seed], len(task.x_train), trial.train.batch_size)
    for step, indices in zip(range(trial.train.steps), batches, strict=False):
        batch = indices[0].to(task.x_train.device)
        x, y = task.x_train[batch], task.y_train[batch]
        due = is_recorded(step, trial.train.steps, trial.record.every)
        random_state = torch.random.get_rng_state()
        before = copied(model) if due else None
        buffers = [buffer.clone() for buffer in model.buffers()]
        optimizer.zero_grad()
        output = as_outputs(model(x.clone()))
        if fault := misfit(output, task, len(x)):
            raise SettingError("model.factory", f"{fault} (in training)")
        loss = example_losses(task.kind, output[None], y[None]).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        finite = bool(torch.isfinite(loss))
        if finite:
            optimizer.step()
        elif before is None:
            before = _as_it_was(model, buffers)
        if before is not None:
            record.add(step, before, model, (x, y), loss.item(), random_state)
            if watch is not None:
                watch(seen_in_modules([record]))
        progress((step + 1) / trial.train.steps)
        if not finite:
            return


def _as_it_was(model: nn.Module, buffers: list[Tensor]) -> nn.Module:
    """A copy of a model that was not updated, from before the forward pass, which moves running statistics."""
    model = copied(model)
    with torch.no_grad():
        for buffer, before in zip(model.buffers(), buffers, strict=True):
            buffer.copy_(before)
    return model
