"""The stacked engine and the plain loop in turn, in one process, on one thread, on the same trials."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import plain_loop
from plain_loop import Digits
from yardstick import Laps, Seconds, sgemm_peak, training_flops

from gradlab.config.schema import Experiment
from gradlab.config.sweep import Trial, expand
from gradlab.engine.activations import Activation, make_activation
from gradlab.engine.history import TrialHistory
from gradlab.engine.stacks import Stack, plan
from gradlab.engine.tasks import Task, make_task
from gradlab.engine.train import train

DEPTH, BATCH_SIZE, PROBE, ACTIVATION = 10, 64, 512, "relu"
LEARNING_RATES = {"sgd": 0.05, "adam": 0.001}
SERIES = (("sgd", 10), ("adam", 10), ("sgd", 1000))
"""Optimizer and steps between records; the last is for training by itself."""

WARM_UP_STEPS = 11
AGREEMENT = 1e-3
"""How far apart, relative, the final losses of both sides may lie after the warm-up."""


@dataclass(frozen=True)
class Round:
    """One neighbouring pair of measurements: time per trial and step on either side, and the peak (flop/s) after it."""

    plain: Seconds
    stacked: Seconds
    peak: float

    def ratio(self) -> float:
        """How many times faster the stacked engine is, by processor time."""
        return self.plain.processor / self.stacked.processor

    def wall_ratio(self) -> float:
        """The same by the wall's clock."""
        return self.plain.wall / self.stacked.wall


@dataclass(frozen=True)
class Comparison:
    """What was measured of one width, optimizer and recording.

    Attributes:
        stack: trials of the stack that was trained.
        flops: of the matrix products of a trial's training step.
    """

    width: int
    optimizer: str
    every: int
    stack: int
    flops: int
    rounds: tuple[Round, ...]

    def median(self, value: Callable[[Round], float]) -> float:
        """The median of something over the rounds."""
        return statistics.median(map(value, self.rounds))


@dataclass(frozen=True)
class _Case:
    """A sweep over seeds, the first stack that the engine plans for it, and how many of its trials the loop trains."""

    trials: tuple[Trial, ...]
    looped: int
    activations: Mapping[str, Activation]

    @property
    def records(self) -> bool:
        """Whether records fall between the first step and the last."""
        return self.trials[0].record.every < self.trials[0].train.steps

    @classmethod
    def of(cls, width: int, optimizer: str, every: int, steps: int) -> _Case:
        experiment = Experiment.model_validate(
            {
                "data": {"name": "digits"},
                "model": {"depth": DEPTH, "width": width, "activation": ACTIVATION, "init": "he_normal"},
                "train": {
                    "steps": steps,
                    "batch_size": BATCH_SIZE,
                    "optimizer": optimizer,
                    "lr": LEARNING_RATES[optimizer],
                },
                "record": {"every": every, "probe": PROBE},
                "seeds": min(64, max(16, 4096 // width)),
            }
        )
        trials = expand(experiment)
        stack = plan(trials, lambda trial: 1)[0].stacks[0]
        activation = trials[0].model.activation
        return cls(stack.trials, max(1, 128 // width), {activation.label: make_activation(activation)})

    def loop(self, data: Digits) -> tuple[Seconds, list[plain_loop.History]]:
        """The plain loop over the first trials: time per trial and step, and what they left."""
        spent, histories = Seconds(0, 0), []
        for trial in self.trials[: self.looped]:
            laps = Laps()
            histories.append(plain_loop.train(as_plain(trial), data, laps.step))
            laps.finish()
            spent += laps.recording() if self.records else laps.training()
        return spent / self.looped, histories

    def stacked(self, task: Task) -> tuple[Seconds, list[TrialHistory]]:
        """The engine on the whole stack, likewise."""
        laps = Laps()
        histories = train(Stack(self.trials), task, self.activations, lambda share: laps.step())
        laps.finish()
        spent = laps.recording() if self.records else laps.training()
        return spent / len(self.trials), histories


def as_plain(trial: Trial) -> plain_loop.Trial:
    """The same trial for the plain loop."""
    return plain_loop.Trial(
        seed=trial.seed,
        depth=trial.model.depth,
        width=trial.model.width,
        activation=trial.model.activation.label,
        optimizer=trial.train.optimizer,
        lr=trial.train.lr,
        batch_size=trial.train.batch_size,
        steps=trial.train.steps,
        every=trial.record.every,
        probe=trial.record.probe,
    )


def compare(width: int, steps: int, rounds: int) -> list[Comparison]:
    """Measure one width: for each of `SERIES`, `rounds` pairs in turn, after a warm-up that checks that both agree.

    Raises:
        RuntimeError: the two sides don't do the same work.
    """
    task = make_task(Experiment().data, Path())
    data = Digits(task.x_train.flatten(1), task.y_train, task.x_eval.flatten(1), task.y_eval)
    for optimizer, every in SERIES:
        _warm_up(_Case.of(width, optimizer, every, WARM_UP_STEPS), task, data)
    cases = {series: _Case.of(width, *series, steps) for series in SERIES}
    measured: dict[tuple[str, int], list[Round]] = {series: [] for series in SERIES}
    for _ in range(rounds):
        pairs = {series: (case.loop(data)[0], case.stacked(task)[0]) for series, case in cases.items()}
        peak = sgemm_peak()
        for series, pair in pairs.items():
            measured[series].append(Round(*pair, peak))
    flops = training_flops(task.in_features, width, DEPTH, task.out_features, BATCH_SIZE)
    return [
        Comparison(width, optimizer, every, len(cases[optimizer, every].trials), flops, tuple(found))
        for (optimizer, every), found in measured.items()
    ]


def _warm_up(case: _Case, task: Task, data: Digits) -> None:
    _, loops = case.loop(data)
    _, stacked = case.stacked(task)
    for one, other in zip(loops, stacked, strict=False):
        losses = one.finals[0].item(), other.finals["final_train_loss"]
        if not math.isclose(*losses, rel_tol=AGREEMENT):
            raise RuntimeError(f"plain loop and engine end at different losses: {losses[0]} and {losses[1]}")
