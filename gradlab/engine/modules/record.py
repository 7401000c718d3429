"""The records of one trial whose model is an `nn.Module`: measured beside its training, by whatever loop trains it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from gradlab.config.sweep import Trial
from gradlab.engine.decisions import cells_of, decided, decisions, has_plane
from gradlab.engine.ends import between_ends
from gradlab.engine.history import LAYER, TIME, TrialHistory, profile_places
from gradlab.engine.measure import GRADIENT_STATISTICS, WEIGHT_STATISTICS
from gradlab.engine.modules.layers import as_outputs, copied, watched
from gradlab.engine.modules.statistics import (
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
from gradlab.engine.quantiles import LEVELS
from gradlab.engine.tasks import Task, example_losses, loss_signal, metric
from gradlab.engine.units import UNIT_STATISTICS
from gradlab.sighting import Sighting

STATISTICS = (*GRADIENT_STATISTICS, *UNIT_STATISTICS, *WEIGHT_STATISTICS, *LEVELS)


class ModuleRecord:
    """What is recorded of one trial, as it comes in; `history` is all of it.

    Args:
        model: before its first update.
    """

    def __init__(self, trial: Trial, task: Task, model: nn.Module) -> None:
        self.trial, self.task = trial, task
        self.recording_seconds = 0.0
        self.diverged_step: int | None = None
        self._probe = (task.x_train[: trial.record.probe], task.y_train[: trial.record.probe])
        self._parameters = trainable_parameters(model)
        self._steps: list[int] = []
        self._rows: list[dict[str, dict[str, float]]] = []
        self._step_rows: list[dict[str, float]] = []
        self._finals: dict[str, float] = {}
        self._cells = cells_of(task) if has_plane(task) else None
        self._decided: dict[int, np.ndarray[tuple[int, ...], np.dtype[np.int64]]] = {}
        self._decide(copied(model), 0)
        twin = copied(model).eval()
        with torch.no_grad(), torch.random.fork_rng(devices=[]), watched(twin) as uses:
            twin(task.x_train[:2].clone())
        activations = [use.activation for use in uses]
        self._never_zero = all(a is None or a.zero_derivative is None for a in activations)
        self._weight_prints = np.array(weight_prints(uses))
        self._infos = layer_infos(uses)

    def add(
        self,
        step: int,
        before: nn.Module,
        after: nn.Module,
        batch: tuple[Tensor, Tensor],
        loss: float,
        random_state: Tensor,
    ) -> None:
        """Measure a step; a loss that is not finite is the end of the trial.

        Args:
            before: a copy of the model from before the step's forward pass; it may be changed.
            after: the model after the update, with the gradients that made it; untouched.
            batch: the step's minibatch.
            loss: training's own.
            random_state: torch's random stream in front of the forward pass.
        """
        started = time.process_time()
        finite, kind, examples = math.isfinite(loss), self.task.kind, len(batch[0])
        mean, total = _pulled(kind, examples), _pulled(kind, 1)
        with torch.random.fork_rng(devices=[]):
            twin, exact = float64_twin(before.train(), batch, mean)
            torch.random.set_rng_state(random_state)
            of_gradients, grad_norm = gradient_statistics(twin, exact, mean, examples, own_gradients(after))
            twin, probe = float64_twin(before.eval(), self._probe, total)
            at_end = step in (0, self.trial.train.steps - 1) or not finite
            of_units = unit_statistics(twin, probe, total, at_end)
            eval_loss, eval_metric = self._evaluate(before, self.task.x_eval, self.task.y_eval)
        of_weights = weight_statistics(before, after if finite else None)
        names = [row_key(info) for info in self._infos]
        self._steps.append(step)
        self._rows.append(
            {name: of_gradients.get(name, {}) | of_units.get(name, {}) | of_weights.get(name, {}) for name in names}
        )
        self._step_rows.append(
            {"train_loss": loss, "eval_loss": eval_loss, "eval_metric": eval_metric, "grad_norm": grad_norm}
        )
        self.recording_seconds += time.process_time() - started
        if not finite:
            self.diverged_step = step
            self.finish(before)

    def finish(self, model: nn.Module) -> None:
        """Note the final losses and metric, those of `model`."""
        train_loss, _ = self._evaluate(model, *self._probe)
        eval_loss, eval_metric = self._evaluate(model, self.task.x_eval, self.task.y_eval)
        self._finals = {"final_train_loss": train_loss, "final_eval_loss": eval_loss, "final_eval_metric": eval_metric}

        if self.diverged_step is None:
            self._decide(model, self.trial.train.steps)

    def history(self, seconds: float) -> TrialHistory:
        """The trial's results; `seconds` is the processor time of its training."""
        keys = [row_key(info) for info in self._infos]
        lacking = {name: np.array([name not in self._rows[0][key] for key in keys]) for name in STATISTICS}
        return TrialHistory(
            trial_id=self.trial.trial_id,
            layers=tuple(self._infos),
            steps=tuple(self._steps),
            step_values={name: np.array([row[name] for row in self._step_rows]) for name in self._step_rows[0]},
            layer_values={name: self._column(name, keys) for name in STATISTICS},
            meaningless=lacking | {level: lacking[level] | between_ends(len(self._rows)) for level in LEVELS},
            weight_prints=self._weight_prints,
            finals=self._finals,
            never_zero=self._never_zero,
            decisions=None if self._cells is None else decisions(self.task, self._cells, self._decided),
            parameters=self._parameters,
            diverged_step=self.diverged_step,
            seconds=seconds,
            recording_seconds=self.recording_seconds,
        )

    def dead_fraction(self) -> float:
        """The share of hidden units that are dead at the last record; NaN where that isn't known."""
        rows = [(info, self._rows[-1][row_key(info)]) for info in self._infos if info.kind == LAYER]
        dead = [(info.units, row["dead_units"]) for info, row in rows if info.units and "dead_units" in row]
        return sum(count for _, count in dead) / sum(units for units, _ in dead) if dead else math.nan

    def _decide(self, model: nn.Module, step: int) -> None:
        """Note what the model decides all over the plane, if there is one."""
        if self._cells is not None:
            self._decided[step] = decided(self.task.kind, self._outputs(model, self._cells))

    def _outputs(self, model: nn.Module, x: Tensor) -> Tensor:
        """The outputs in eval mode, [example, output]; the model stays in its mode."""
        training = model.training
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            # A model that changes its input must not change the data.
            output = as_outputs(model.eval()(x.clone()))
        model.train(training)
        return output

    def _evaluate(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
        output = self._outputs(model, x)[None]
        loss = example_losses(self.task.kind, output, y[None]).double().mean()
        return float(loss), float(metric(self.task.kind, output, y[None]))

    def _column(self, name: str, keys: list[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        return np.array([[row[key].get(name, math.nan) for key in keys] for row in self._rows], dtype=np.float64)


def seen_in_modules(records: Sequence[ModuleRecord]) -> Sighting:
    """The last record of trials of one structure that train together."""
    trial = records[0].trial
    infos = records[0]._infos
    places = profile_places(infos)
    keys = [row_key(infos[place]) for place in places]
    return Sighting(
        trial_ids=tuple(record.trial.trial_id for record in records),
        step=records[0]._steps[-1],
        steps=trial.train.steps,
        lengths=(len(places),) * len(records),
        log10_delta_rms=np.array(
            [[record._rows[-1][key].get("log10_delta_rms", math.nan) for key in keys] for record in records]
        ).reshape(len(records), len(places)),
        dead_fraction=np.array([record.dead_fraction() for record in records]),
        train_loss=np.array([record._step_rows[-1]["train_loss"] for record in records]),
        along_time=bool(places) and infos[places[0]].kind == TIME,
    )


def _pulled(kind: str, divisor: int) -> Loss:
    """A scalar whose gradients are those of the sum of the examples' losses over `divisor`."""

    def pulled(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        outputs = as_outputs(model(x))
        signal = (loss_signal(kind, outputs.detach()[None].double(), y[None])[0] / divisor).to(outputs.dtype)
        return (outputs * signal).sum()

    return pulled
