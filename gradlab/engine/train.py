"""Train a stack of trials and record them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradlab.engine.activations import Activation
from gradlab.engine.batches import is_recorded, minibatches, picked
from gradlab.engine.confidence import Confidence
from gradlab.engine.doubts import Doubts, TrainingStep, doubt_gradients, gradients_together
from gradlab.engine.draws import weight_print
from gradlab.engine.ends import Ends, between_ends
from gradlab.engine.evaluation import Evaluation
from gradlab.engine.history import LayerInfo, TrialHistory
from gradlab.engine.layout import Layout, Shape
from gradlab.engine.measure import GradientNorms, Statistics, measure_weights, parameter_sizes
from gradlab.engine.network import Network
from gradlab.engine.optimizers import StackOptimizer, group_key
from gradlab.engine.passes import Passes
from gradlab.engine.probe import UnitProbe
from gradlab.engine.quantiles import LEVELS
from gradlab.engine.scratch import Scratch
from gradlab.engine.seen import Watch, seen_in_stack
from gradlab.engine.snapshot import Snapshot
from gradlab.engine.stacks import Stack
from gradlab.engine.tasks import Task, training_signal
from gradlab.engine.units import HIDDEN_STATISTICS


@dataclass(frozen=True)
class Record:
    """One record of a whole stack: the step, values [trial] of the steps table, [layer, trial] of the layers table."""

    step: int
    trials: Tensor
    step_values: dict[str, Tensor]
    layer_values: Statistics


def train(
    stack: Stack,
    task: Task,
    activations: Mapping[str, Activation],
    progress: Callable[[float], None] = lambda fraction: None,
    watch: Watch | None = None,
) -> list[TrialHistory]:
    """Train all trials of a stack, each as if it were alone, and record them.

    Args:
        task: with its tensors on the device to train on.
        activations: label -> activation, for every trial's.
        progress: called now and then with the share of the steps that is done.
        watch: sees each record.
    """
    return _Training(stack, task, activations, watch).run(progress)


@dataclass(frozen=True)
class _Minibatch:
    """A step's minibatch [trial, example, ...] and what the forward pass made of it: outputs, losses, and the loss's
    derivative by the outputs."""

    x: Tensor
    y: Tensor
    output: Tensor
    losses: Tensor
    signal: Tensor


class _Training:
    """The state of a stack in training."""

    def __init__(
        self, stack: Stack, task: Task, activations: Mapping[str, Activation], watch: Watch | None = None
    ) -> None:
        self.trials, self.task, self.watch = stack.trials, task, watch
        settings = self.trials[0]
        self.layout = Layout(stack_shape(stack, task), tuple(trial.model.depth for trial in self.trials))
        own = tuple(activations[trial.model.activation.label] for trial in self.trials)
        self.network = Network(self.layout.shape, self.layout.counts, own)
        self.device = task.x_train.device
        self.flat = self.layout.initial(self.trials).to(self.device)
        self.before = torch.empty_like(self.flat)
        self.layers = self.layout.views(self.flat)
        self.weight_prints = [weight_print(layer.weight).cpu().numpy() for layer in self.layers]
        self.gradient = torch.zeros_like(self.flat)
        self.gradients = self.layout.views(self.gradient)
        trains = [trial.train for trial in self.trials]
        segments = self.layout.segments([group_key(train) for train in trains])
        self.optimizer = StackOptimizer(trains, segments, self.flat, self.gradient)
        self.moments = self.network.running_moments(self.flat)
        self.passes = Passes(self.network, self.layers, self.gradients)
        self.scratch = Scratch(self.flat.dtype, self.device)
        self.evaluation = Evaluation(self.network, self.layers, task.kind, self.scratch)
        self.steps, self.every = settings.train.steps, settings.record.every
        probe = settings.record.probe
        self.x_probe, self.y_probe = task.x_train[:probe], task.y_train[:probe]
        at_once = watch is not None
        self.probe = UnitProbe(
            self.network, self.layout, self.layers, self.x_probe, self.y_probe, task.kind, self.scratch, at_once
        )
        self.doubts = Doubts(gradients_together, self.layout, settings.train.batch_size, at_once)
        self.diverged: dict[int, int] = {}
        self.finals: dict[int, dict[str, float]] = {}
        self.records: list[Record] = []
        self.ends = Ends(task, self.evaluation, self.steps)
        self.recording_seconds = 0.0

    def run(self, progress: Callable[[float], None]) -> list[TrialHistory]:
        started = time.process_time()
        seeds = [trial.seed for trial in self.trials]
        batches = minibatches(seeds, len(self.task.x_train), self.trials[0].train.batch_size)
        self.ends.decide(self.moments, trained=False)
        for step, indices in zip(range(self.steps), batches, strict=False):
            self._step(step, indices.to(self.device))
            progress((step + 1) / self.steps)
            if len(self.diverged) == len(self.trials):
                break
        self._finish(self._running())
        self._settle()
        self.ends.decide(self.moments, trained=True)
        seconds = time.process_time() - started
        return self._histories(seconds / len(self.trials))

    def _running(self) -> list[int]:
        """The trials that have not diverged."""
        return [index for index in range(len(self.trials)) if index not in self.diverged]

    def _step(self, step: int, indices: Tensor) -> None:
        x, y = picked(self.task.x_train, self.task.y_train, indices, self.scratch)
        due = is_recorded(step, self.steps, self.every)
        confidence = Confidence(self.network, self.layout, self.flat, self.scratch) if due else None
        output = self.passes.forward(x, observer=confidence)
        losses, signal = training_signal(self.task.kind, output, y)
        running = self._running()
        newly = self._newly_diverged(step, losses)
        if due or newly:
            stack = Snapshot(self.network, self.layout, self.layers, self.moments, self.task.kind)
            batch = _Minibatch(x, y, output, losses, signal)
            self._record(step, running if due else newly, newly, stack, batch, confidence)
        elif self.optimizer.by_layer:
            self.passes.backward(signal, lambda layer, delta: self.optimizer.step_layer(layer))
        else:
            self.passes.backward(signal, lambda layer, delta: None)
            self.optimizer.step()
        for moments, seen in zip(self.moments, self.passes.batch_moments(), strict=True):
            moments.update(seen, x.shape[1] * self.layout.shape.positions)

    def _newly_diverged(self, step: int, losses: Tensor) -> list[int]:
        if math.isfinite(float(losses.sum())) and not self.diverged:
            return []
        not_finite = torch.nonzero(~torch.isfinite(losses)).flatten().tolist()
        newly = [index for index in not_finite if index not in self.diverged]
        self.diverged.update(dict.fromkeys(newly, step))
        return newly

    def _record(
        self,
        step: int,
        recorded: Sequence[int],
        newly: Sequence[int],
        stack: Snapshot,
        batch: _Minibatch,
        confidence: Confidence | None,
    ) -> None:
        """Record some trials at a step, and update all."""
        started = time.process_time()
        eval_loss, eval_metric = self.evaluation.measure(self.moments, self.task.x_eval, self.task.y_eval)
        if newly:
            self._finish(newly)
        sizes = parameter_sizes(self.layout, self.layers)
        wanted = torch.zeros(len(self.trials), dtype=torch.bool, device=self.device)
        wanted[list(recorded)] = True
        of_gradients, grad_norm, unsure = self._gradients(wanted, sizes, stack, batch, confidence)
        at_end = self.ends.is_end(step) or bool(newly)
        of_units = self.probe.measure(stack, sizes, wanted, unsure, at_end)
        if at_end:
            self.ends.take_spread(step, of_units)
        self.before.copy_(self.flat)
        self.optimizer.step()
        of_weights = measure_weights(self.layout, sizes[0], self.before, self.flat, self.scratch)
        of_weights["update_ratio"][:, list(self.diverged)] = math.nan
        step_values = {
            "train_loss": batch.losses.double(),
            "eval_loss": eval_loss,
            "eval_metric": eval_metric,
            "grad_norm": grad_norm,
        }
        self.records.append(Record(step, torch.tensor(recorded), step_values, of_gradients | of_units | of_weights))
        if self.watch is not None:
            self.watch(seen_in_stack(self.trials, recorded, step, batch.losses, of_gradients | of_units))
        self.recording_seconds += time.process_time() - started

    def _gradients(
        self, wanted: Tensor, sizes: Tensor, stack: Snapshot, batch: _Minibatch, confidence: Confidence | None
    ) -> tuple[Statistics, Tensor, Tensor]:
        """Take the signal back; statistics of gradients, the norm of all, and which trials' units need float64."""
        norms = GradientNorms(self.layout, batch.x.shape[1], self.flat)

        def done(layer: int, delta: Tensor) -> None:
            norms.add(layer, delta, self.gradients[layer])
            if confidence is not None:
                confidence.leaving(layer, self.passes.inputs(layer), self.gradients[layer].weight)

        arriving = None if confidence is None else confidence.arriving
        self.passes.backward(batch.signal, done, arriving)
        found, grad_norm = norms.statistics()
        doubtful = units = wanted
        if confidence is not None:
            doubtful, units = confidence.doubtful(
                norms, sizes, batch.x, batch.y, batch.output, batch.signal, self.task.kind
            )
        again = torch.nonzero(doubtful & wanted).flatten().tolist()
        if again:
            seen = TrainingStep(batch.x, batch.y, self.gradients)
            self.doubts.add(doubt_gradients(again, stack, seen, found, grad_norm))
        return found, grad_norm, units

    def _settle(self) -> None:
        """Measure what still waits to be measured once more."""
        started = time.process_time()
        self.doubts.settle()
        self.probe.doubts.settle()
        self.recording_seconds += time.process_time() - started

    def _finish(self, trials: Sequence[int]) -> None:
        """Note the final losses and metric of `trials`."""
        if not trials:
            return
        train_loss, _ = self.evaluation.measure(self.moments, self.x_probe, self.y_probe)
        eval_loss, eval_metric = self.evaluation.measure(self.moments, self.task.x_eval, self.task.y_eval)
        table = torch.stack([train_loss, eval_loss, eval_metric], dim=1).cpu().numpy()
        for index in trials:
            names = ("final_train_loss", "final_eval_loss", "final_eval_metric")
            self.finals[index] = dict(zip(names, table[index].tolist(), strict=True))

    def _histories(self, seconds: float) -> list[TrialHistory]:
        step_names, layer_names = list(self.records[0].step_values), list(self.records[0].layer_values)
        by_step = torch.stack([torch.stack(list(record.step_values.values())) for record in self.records])
        by_layer = torch.stack([torch.stack(list(record.layer_values.values())) for record in self.records])
        step_table, layer_table = by_step.cpu().numpy(), by_layer.cpu().numpy()
        recorded = [set(record.trials.tolist()) for record in self.records]
        histories = []
        for index, trial in enumerate(self.trials):
            rows = [row for row, present in enumerate(recorded) if index in present]
            columns = [*range(trial.model.depth), len(self.layout.blocks) - 1]
            own = layer_table[:, :, :, index][rows][:, :, columns]
            steps = tuple(self.records[row].step for row in rows)
            layer_values = {name: np.ascontiguousarray(own[:, n]) for n, name in enumerate(layer_names)}
            is_output = np.arange(len(columns)) == len(columns) - 1
            histories.append(
                TrialHistory(
                    trial_id=trial.trial_id,
                    layers=self._layer_infos(trial.model.depth),
                    steps=steps,
                    step_values={name: step_table[rows, n, index] for n, name in enumerate(step_names)},
                    layer_values=layer_values | self.ends.spread(index, steps, columns),
                    meaningless=dict.fromkeys(HIDDEN_STATISTICS, is_output)
                    | dict.fromkeys(LEVELS, is_output | between_ends(len(rows))),
                    weight_prints=np.array([self.weight_prints[column][index] for column in columns]),
                    finals=self.finals[index],
                    parameters={"float32": self.layout.parameters(index)},
                    diverged_step=self.diverged.get(index),
                    never_zero=self.network.activations[index].zero_derivative is None,
                    decisions=self.ends.decisions(index, index in self.diverged),
                    seconds=seconds,
                    recording_seconds=(self.recording_seconds + self.ends.seconds) / len(self.trials),
                )
            )
        return histories

    def _layer_infos(self, depth: int) -> tuple[LayerInfo, ...]:
        blocks = [*self.layout.blocks[:depth], self.layout.blocks[-1]]
        names = [*(f"hidden_{layer}" for layer in range(1, depth + 1)), "output"]
        return tuple(
            LayerInfo(name, block.fan_out, block.weight_count) for name, block in zip(names, blocks, strict=True)
        )


def stack_shape(stack: Stack, task: Task) -> Shape:
    """What all trials of the stack share, on this task."""
    model, example = stack.trials[0].model, task.x_train.shape[1:]
    convolutional = model.family == "cnn"
    return Shape(
        family=model.family,
        image=(example[1], example[2]) if convolutional else (1, 1),
        in_features=example[0] if convolutional else task.in_features,
        width=model.width,
        out_features=task.out_features,
        norm=model.norm,
        residual=model.residual,
    )
