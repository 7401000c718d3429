"""What is trained: a sweep in a few numbers, as a config, as gradlab's trials and as the plain loop's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed.plain import networks
from gradlab.config.schema import Experiment
from gradlab.config.sweep import Trial, expand
from gradlab.engine.tasks import Task, make_task

LEARNING_RATES = {"sgd": 0.05, "adam": 0.001}


@dataclass(frozen=True)
class Case:
    """A sweep on the digits from `he_normal` weights.

    Attributes:
        trials: how many seeds, of every point of the grid.
        grid: field path -> values, beside the seeds.
    """

    trials: int
    width: int = 64
    depth: int = 10
    batch_size: int = 64
    optimizer: str = "sgd"
    steps: int = 101
    every: int = 10
    family: str = "mlp"
    activation: str = "relu"
    probe: int = 512
    grid: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    def config(self) -> dict[str, Any]:
        """As the YAML has it."""
        return {
            "name": "speed",
            "data": {"name": "digits"},
            "model": {
                "family": self.family,
                "depth": self.depth,
                "width": self.width,
                "activation": self.activation,
                "init": "he_normal",
            },
            "train": {
                "steps": self.steps,
                "batch_size": self.batch_size,
                "optimizer": self.optimizer,
                "lr": LEARNING_RATES[self.optimizer],
            },
            "record": {"every": self.every, "probe": self.probe},
            "seeds": self.trials,
            "sweep": {"grid": {path: list(values) for path, values in self.grid}},
        }

    def expanded(self) -> list[Trial]:
        """gradlab's own trials."""
        return expand(Experiment.model_validate(self.config()))

    def plain(self) -> list[networks.Trial]:
        """The same trials for the plain loop."""
        return [as_plain(trial) for trial in self.expanded()]


def as_plain(trial: Trial) -> networks.Trial:
    """The same trial for the plain loop."""
    return networks.Trial(
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
        family=trial.model.family,
    )


def digits() -> tuple[Task, networks.Digits]:
    """The data as the engine has it, and the same tensors for the plain loop."""
    task = make_task(Experiment().data, Path())
    return task, networks.Digits(task.x_train, task.y_train, task.x_eval, task.y_eval)
