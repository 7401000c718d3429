"""The work of one part: its stacks trained, failures confined to the trials that cause them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from gradlab.config.sweep import Trial
from gradlab.engine.activations import Activation, load_activation
from gradlab.engine.alignment import settle
from gradlab.engine.failure import failed, is_out_of_memory
from gradlab.engine.footprint import in_pieces, least_and_most, records_of, share
from gradlab.engine.history import TrialHistory
from gradlab.engine.modules.building import build_model
from gradlab.engine.modules.stack_training import train_custom_stack
from gradlab.engine.prediction import Predictor
from gradlab.engine.seen import Watch
from gradlab.engine.stacks import Part, Stack
from gradlab.engine.tasks import SEQUENCE_FAMILIES, Task, make_task, reading
from gradlab.engine.train import train
from gradlab.engine.user_code import RAISED, contained
from gradlab.errors import SettingError
from gradlab.theory.forecast import NO_FORECAST, Forecast

CHECKED_FACTORIES = 50
"""Custom models that are built once before any training, each with other arguments, to find errors early."""


@dataclass(frozen=True)
class Workshop:
    """Everything that the trials of a config need, loaded once: data sets, activations, where the user's files lie.

    `predictors` fills up as predictions are asked for.

    Attributes:
        room: bytes that the work on a part may take; None where it isn't known what there is.
    """

    tasks: Mapping[str, Task]
    activations: Mapping[str, Activation]
    directory: Path
    predictors: dict[str, Predictor] = field(default_factory=dict)
    room: int | None = None

    @classmethod
    def prepare(
        cls, trials: Sequence[Trial], directory: Path, device: torch.device, made: Mapping[str, Task] | None = None
    ) -> Workshop:
        """Load what `trials` need; their models' factories aren't called.

        Args:
            made: tasks that have been made already, by their `data_key`.

        Raises:
            SettingError: data or a function that cannot be used.
        """
        settle()
        with contained():
            return cls._prepare(trials, directory, device, made or {})

    @classmethod
    def _prepare(
        cls, trials: Sequence[Trial], directory: Path, device: torch.device, made: Mapping[str, Task]
    ) -> Workshop:
        read = {data_key(trial): trial for trial in trials}
        tasks = {
            key: (made[key] if key in made else make_task(one.data, directory, one.model)).to(device)
            for key, one in read.items()
        }
        activations: dict[str, Activation] = {}
        for trial in trials:
            if trial.model.reads("activation") and trial.model.activation.label not in activations:
                activations[trial.model.activation.label] = load_activation(trial.model.activation, directory)
        shop = cls(tasks, activations, directory)
        shop._check_images(trials)
        shop._check_batches(trials)
        return shop

    def task(self, trial: Trial) -> Task:
        """The task of a trial."""
        return self.tasks[data_key(trial)]

    def positions(self, trial: Trial) -> int:
        """Rows that one example makes in the trial's hidden layers: pixels of a cnn, steps of a sequence, else 1."""
        x = self.task(trial).x_train
        if trial.model.family == "cnn":
            return x[0, 0].numel()
        return x.shape[1] if trial.model.family in SEQUENCE_FAMILIES else 1

    def forecasts(self, trials: Sequence[Trial]) -> list[Forecast]:
        """Each trial's mean-field prediction; equal networks on equal data share one."""
        known: dict[tuple[str, str], Forecast] = {}
        results = []
        for trial in trials:
            if not trial.model.is_stacked:
                results.append(NO_FORECAST)
                continue
            key = (data_key(trial), trial.model.model_dump_json())
            if key not in known:
                known[key] = self._predictor(trial).forecast(trial.model)
            results.append(known[key])
        return results

    def _predictor(self, trial: Trial) -> Predictor:
        key = data_key(trial)
        if key not in self.predictors:
            self.predictors[key] = Predictor(self.tasks[key], self.activations)
        return self.predictors[key]

    def _predicted_decay(self, trial: Trial) -> float | None:
        return self._predictor(trial).predict(trial.model).gradient_decay if trial.model.is_stacked else None

    def sharing_memory(self, parts: Sequence[Part], workers: int, there: int | None) -> tuple[Workshop, int]:
        """The same with its room, which is a worker's share, and how many workers there is memory for.

        Args:
            workers: as many as there may be.
            there: bytes that are available to all of them; None where it isn't known.

        Raises:
            MachineError: a trial that doesn't fit even alone.
        """
        if there is None or not parts:
            return self, workers
        able, room = share(parts, self.task, there, workers)
        return replace(self, room=room), able

    def has_room(self, part: Part) -> bool:
        """Whether the work on a part fits into the memory there is, stacks and records whole."""
        return self.room is None or least_and_most(part, self.task)[1] <= self.room

    def _fitting(self, part: Part) -> list[Stack]:
        """The part's stacks, in pieces where they don't fit into the memory there is, beside the part's records."""
        if self.room is None:
            return list(part.stacks)
        left = self.room - records_of(part.stacks)
        return [piece for stack in part.stacks for piece in in_pieces(stack, self.task(stack.trials[0]), left)]

    def run(
        self, part: Part, progress: Callable[[float], None] = lambda fraction: None, watch: Watch | None = None
    ) -> list[TrialHistory]:
        """Train all trials of a part; `progress` is told the share of its trials that is done, `watch` each record."""
        with contained():
            histories: list[TrialHistory] = []
            for stack in self._fitting(part):
                own, done = len(stack.trials) / len(part.trials), len(histories) / len(part.trials)
                histories += self._run_stack(stack, lambda f, own=own, done=done: progress(done + own * f), watch)  # type: ignore[misc]
            return [
                replace(history, predicted_gradient_decay=self._predicted_decay(trial))
                for history, trial in zip(histories, part.trials, strict=True)
            ]

    def _run_stack(self, stack: Stack, progress: Callable[[float], None], watch: Watch | None) -> list[TrialHistory]:
        """A stack's histories; where it fails, halves are tried until the trial at fault is alone.

        A trial's numbers don't depend on its stack, so the others are what they would have been.

        Raises:
            MachineError: a trial that doesn't fit into memory alone; on a larger machine it would not fail.
        """
        trial = stack.trials[0]
        if not trial.model.is_stacked:
            return train_custom_stack(stack.trials, self.task(trial), self.directory, progress, watch)
        try:
            return train(stack, self.task(trial), self.activations, progress, watch)
        except RAISED as error:
            if len(stack.trials) == 1:
                return [failed(trial, error)]
        half = len(stack.trials) // 2
        halves = (Stack(stack.trials[:half]), Stack(stack.trials[half:]))
        return [history for part in halves for history in self._run_stack(part, progress, watch)]

    def _check_images(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            shape = self.task(trial).x_train.shape
            if trial.model.family == "cnn" and len(shape) != 4:
                message = f"a cnn needs images, and {trial.data.name} has examples of shape {list(shape[1:])}"
                raise SettingError("model.family", message, "cnn")

    def _check_batches(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            if trial.model.norm == "batch" and len(self.task(trial).x_train) == 1:
                raise SettingError("model.norm", "batch normalisation needs two training examples or more", "batch")

    def check_factory(self, trial: Trial) -> None:
        """Call the factory of a trial's model, as training will.

        Raises:
            SettingError: it cannot be used; a model that doesn't fit into memory is left to training.
        """
        with contained(), torch.random.fork_rng(devices=[]):
            try:
                build_model(trial, self.task(trial), self.directory)
            except SettingError as error:
                if error.__cause__ is None or not is_out_of_memory(error.__cause__):
                    raise


def with_factories(trials: Sequence[Trial]) -> list[Trial]:
    """One trial for each call of a custom model's factory, of the first so many that are checked."""
    custom = {
        (trial.model.model_dump_json(), data_key(trial)): trial
        for trial in reversed(trials)
        if trial.model.family == "custom"
    }
    return list(custom.values())[-CHECKED_FACTORIES:]


def data_key(trial: Trial) -> str:
    """What a trial's task depends on."""
    return f"{trial.data.model_dump_json()} {reading(trial.model)}"
