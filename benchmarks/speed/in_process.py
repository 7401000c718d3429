"""The engine and the plain loop inside this process, on one thread, with the time of every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.speed.plain import networks, training
from benchmarks.yardstick import Seconds, now
from gradlab.config.sweep import Trial
from gradlab.engine.activations import make_activation
from gradlab.engine.bundles import bundled
from gradlab.engine.history import TrialHistory
from gradlab.engine.stacks import Stack, plan
from gradlab.engine.tasks import Task
from gradlab.engine.train import train


@dataclass
class Laps:
    """When each step of a training was done, and when all was."""

    trials: int
    device: str = "cpu"
    steps: list[Seconds] = field(default_factory=list)
    end: Seconds | None = None

    def step(self) -> None:
        """A step is done."""
        self.steps.append(now(self.device))

    def finish(self) -> None:
        """All is done, final measurements and results included."""
        self.end = now(self.device)

    def whole(self) -> Seconds:
        """Per trial and step, all that follows step 0: the other steps, their records, the final measurements."""
        if self.end is None:
            raise RuntimeError("the training has not finished")
        return (self.end - self.steps[0]) / ((len(self.steps) - 1) * self.trials)

    def between(self, first: int, last: int) -> Seconds:
        """Per trial and step, the steps after `first` up to `last` with their records."""
        return (self.steps[last] - self.steps[first]) / ((last - first) * self.trials)


def first_stack(trials: Sequence[Trial], task: Task) -> Stack:
    """The first stack that gradlab trains of these trials with one worker; the others are like it."""
    positions = task.x_train[0, 0].numel() if trials[0].model.family == "cnn" else 1
    parts = plan(trials, lambda trial: positions)
    return bundled(parts, 1, lambda trial: positions, lambda part: True)[0].whole.stacks[0]


def run_engine(stack: Stack, task: Task) -> tuple[Laps, list[TrialHistory]]:
    """Train a stack."""
    choices = [trial.model.activation for trial in stack.trials]
    laps = Laps(len(stack.trials), task.x_train.device.type)
    activations = {choice.label: make_activation(choice) for choice in choices}
    histories = train(stack, task, activations, lambda share: laps.step())
    laps.finish()
    return laps, histories


def run_loop(trial: networks.Trial, data: networks.Digits) -> tuple[Laps, training.History]:
    """Train one network."""
    laps = Laps(1, data.x_train.device.type)
    history = training.train(trial, data, laps.step)
    laps.finish()
    return laps, history
