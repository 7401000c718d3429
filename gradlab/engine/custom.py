"""Trials of the user's own model: built by a factory, trained in plain PyTorch, measured like every other."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from gradlab.config.sweep import Trial
from gradlab.engine.batches import is_recorded, minibatches
from gradlab.engine.history import LayerInfo, TrialHistory
from gradlab.engine.measure import GRADIENT_STATISTICS, WEIGHT_STATISTICS
from gradlab.engine.module_statistics import (
    Loss,
    float64_twin,
    gradient_statistics,
    layer_infos,
    own_gradients,
    row_key,
    trainable_parameters,
    unit_statistics,
    weight_prints,
    weight_statistics,
)
from gradlab.engine.modules import as_outputs, copied, watched
from gradlab.engine.optimizers import module_optimizer
from gradlab.engine.probe import UNIT_STATISTICS
from gradlab.engine.tasks import Task, example_losses, loss_signal, metric
from gradlab.engine.user_code import RAISED, describe, load_function
from gradlab.errors import SettingError

_SETTING = "model.factory"
STATISTICS = (*GRADIENT_STATISTICS, *UNIT_STATISTICS, *WEIGHT_STATISTICS)


def build_model(trial: Trial, task: Task, directory: Path) -> nn.Module:
    """The trial's model, made by its factory right after `torch.manual_seed(seed)`.

    Raises:
        SettingError: the factory is missing, raises, returns no module, or one whose output does not fit the task.
    """
    reference = str(trial.model.factory)
    factory = load_function(_SETTING, reference, directory)
    arguments = dict(trial.model.kwargs)
    try:
        known = inspect.signature(factory).parameters
    except ValueError:
        known = {}  # type: ignore[assignment]
    for name in ("in_features", "out_features"):
        if name in known:
            arguments.setdefault(name, getattr(task, name))
    torch.manual_seed(trial.seed)
    try:
        model = factory(**arguments)
    except RAISED as error:
        raise SettingError(_SETTING, f"it raised {describe(error)}") from error
    if not isinstance(model, nn.Module):
        raise SettingError(_SETTING, f"must return a torch.nn.Module, not {type(model).__name__}")
    lazy = [name for name, parameter in model.named_parameters() if isinstance(parameter, UninitializedParameter)]
    if lazy:
        raise SettingError(_SETTING, f"lazy layers have no weights yet ({', '.join(lazy[:3])}); give them their sizes")
    _check(model, task)
    return model.to(task.x_train.device)


def _check(model: nn.Module, task: Task) -> None:
    """Run a copy on two examples, so that the model and the random stream stay as they are."""
    examples = task.x_train[:2]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            trial_run = copied(model).to(examples.device).eval()
            with watched(trial_run) as uses:
                output = as_outputs(trial_run(examples))
    except RAISED as error:
        shape = list(examples.shape[1:])
        raise SettingError(_SETTING, f"its model failed on examples of shape {shape}: {describe(error)}") from error
    wanted = (len(examples), task.out_features)
    if output.shape != wanted:
        raise SettingError(
            _SETTING,
            f"its model returns {list(output.shape)} for two examples; the {task.kind} task needs {list(wanted)}",
        )
    if not uses:
        raise SettingError(_SETTING, "its model uses no module with a weight of two or more dimensions")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise SettingError(_SETTING, "its model has no trainable parameters")


def train_custom(
    trial: Trial, task: Task, directory: Path, progress: Callable[[float], None] = lambda fraction: None
) -> TrialHistory:
    """Train and record one trial of a custom model, in train mode, in float32."""
    started = time.process_time()
    with torch.random.fork_rng(devices=[]):
        training = _CustomTraining(trial, task, build_model(trial, task, directory))
        return training.run(progress, started)


class _CustomTraining:
    """The state of one custom model in training."""

    def __init__(self, trial: Trial, task: Task, model: nn.Module) -> None:
        self.trial, self.task, self.model = trial, task, model.train()
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = module_optimizer(trial.train, parameters)
        self.probe = (task.x_train[: trial.record.probe], task.y_train[: trial.record.probe])
        self.infos = self._find_layers()
        self.rows: list[dict[str, dict[str, float]]] = []
        self.step_rows: list[dict[str, float]] = []
        self.recording_seconds = 0.0

    def run(self, progress: Callable[[float], None], started: float) -> TrialHistory:
        trial, task = self.trial, self.task
        recorded, diverged_step, finals = [], None, None
        batches = minibatches([trial.seed], len(task.x_train), trial.train.batch_size)
        for step, indices in zip(range(trial.train.steps), batches, strict=False):
            batch = indices[0].to(task.x_train.device)
            x, y = task.x_train[batch], task.y_train[batch]
            due = is_recorded(step, trial.train.steps, trial.record.every)
            random_state = torch.random.get_rng_state()
            before = copied(self.model) if due else None
            buffers = [buffer.clone() for buffer in self.model.buffers()]
            self.optimizer.zero_grad()
            loss = example_losses(task.kind, as_outputs(self.model(x))[None], y[None]).mean()
            loss.backward()  # type: ignore[no-untyped-call]
            finite = bool(torch.isfinite(loss))
            if before is None and not finite:
                before = self._as_it_was(buffers)
            if finite:
                self.optimizer.step()
            if before is not None:
                recorded.append(step)
                self._record(before, x, y, loss.item(), random_state)
            progress((step + 1) / trial.train.steps)
            if before is not None and not finite:
                diverged_step, finals = step, self._finals(before)
                break
        return TrialHistory(
            trial_id=trial.trial_id,
            layers=tuple(self.infos),
            steps=tuple(recorded),
            step_values={name: np.array([row[name] for row in self.step_rows]) for name in self.step_rows[0]},
            layer_values={name: self._column(name) for name in STATISTICS},
            meaningless={
                name: np.array([name not in self.rows[0][row_key(i)] for i in self.infos]) for name in STATISTICS
            },
            weight_prints=self.weight_prints,
            finals=finals or self._finals(self.model),
            never_zero=self.never_zero,
            parameters=trainable_parameters(self.model),
            diverged_step=diverged_step,
            seconds=time.process_time() - started,
            recording_seconds=self.recording_seconds,
        )

    def _as_it_was(self, buffers: list[Tensor]) -> nn.Module:
        """A copy of the model from before the forward pass, which moves running statistics."""
        model = copied(self.model)
        with torch.no_grad():
            for buffer, before in zip(model.buffers(), buffers, strict=True):
                buffer.copy_(before)
        return model

    def _find_layers(self) -> list[LayerInfo]:
        twin = copied(self.model).eval()
        with torch.no_grad(), torch.random.fork_rng(devices=[]), watched(twin) as uses:
            twin(self.task.x_train[:2])
        activations = [use.activation for use in uses]
        self.never_zero = all(a is None or a.zero_derivative is None for a in activations)
        self.weight_prints = np.array(weight_prints(uses))
        return layer_infos(uses)

    def _record(self, before: nn.Module, x: Tensor, y: Tensor, loss: float, random_state: Tensor) -> None:
        started = time.process_time()
        mean, total = _pulled(self.task.kind, len(x)), _pulled(self.task.kind, 1)
        with torch.random.fork_rng(devices=[]):
            twin, batch = float64_twin(before.train(), (x, y), mean)
            torch.random.set_rng_state(random_state)
            of_gradients, grad_norm = gradient_statistics(twin, batch, mean, len(x), own_gradients(self.model))
            twin, probe = float64_twin(before.eval(), self.probe, total)
            of_units = unit_statistics(twin, probe, total)
            eval_loss, eval_metric = self._evaluate(before, self.task.x_eval, self.task.y_eval)
        of_weights = weight_statistics(before, self.model if math.isfinite(loss) else None)
        names = [row_key(info) for info in self.infos]
        self.rows.append(
            {name: of_gradients.get(name, {}) | of_units.get(name, {}) | of_weights.get(name, {}) for name in names}
        )
        self.step_rows.append(
            {"train_loss": loss, "eval_loss": eval_loss, "eval_metric": eval_metric, "grad_norm": grad_norm}
        )
        self.recording_seconds += time.process_time() - started

    def _evaluate(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
        training = model.training
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            output = as_outputs(model.eval()(x))[None]
        model.train(training)
        loss = example_losses(self.task.kind, output, y[None]).double().mean()
        return float(loss), float(metric(self.task.kind, output, y[None]))

    def _finals(self, model: nn.Module) -> dict[str, float]:
        train_loss, _ = self._evaluate(model, *self.probe)
        eval_loss, eval_metric = self._evaluate(model, self.task.x_eval, self.task.y_eval)
        return {"final_train_loss": train_loss, "final_eval_loss": eval_loss, "final_eval_metric": eval_metric}

    def _column(self, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        layers = [row_key(info) for info in self.infos]
        return np.array([[row[layer].get(name, math.nan) for layer in layers] for row in self.rows], dtype=np.float64)


def _pulled(kind: str, divisor: int) -> Loss:
    """A scalar whose gradients are those of the sum of the examples' losses over `divisor`."""

    def pulled(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        outputs = as_outputs(model(x))
        signal = (loss_signal(kind, outputs.detach()[None], y[None])[0] / divisor).to(outputs.dtype)
        return (outputs * signal).sum()

    return pulled
