"""Trials whose models are `nn.Module`s of one structure, trained side by side where torch.func can."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from gradlab.config.sweep import Trial
from gradlab.engine.batches import is_recorded, minibatches
from gradlab.engine.failure import failed
from gradlab.engine.history import TrialHistory
from gradlab.engine.modules.building import build_model, factory_place, misfit
from gradlab.engine.modules.layers import copied
from gradlab.engine.modules.record import ModuleRecord, seen_in_modules
from gradlab.engine.modules.stack import ModuleStack
from gradlab.engine.modules.stackable import NotStackableError, Stacking, bits_digest, examine
from gradlab.engine.modules.training import train_module
from gradlab.engine.optimizers import StackOptimizer, group_key
from gradlab.engine.seen import Watch
from gradlab.engine.stacks import STACK_BYTES, STACK_ELEMENTS
from gradlab.engine.tasks import Task
from gradlab.engine.user_code import RAISED
from gradlab.errors import SettingError

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Member:
    """A trial with its model before the first update.

    Attributes:
        random_state: torch's random stream behind the making of the model.
        made_at: `file:line` of the model's factory, if it has one.
    """

    trial: Trial
    model: nn.Module
    random_state: Tensor
    made_at: str


def train_custom_stack(
    trials: Sequence[Trial],
    task: Task,
    directory: Path,
    progress: Progress = lambda fraction: None,
    watch: Watch | None = None,
) -> list[TrialHistory]:
    """Train and record trials of custom models with equal settings; a failure is its trial's own.

    A trial's numbers don't depend on the others: whether it trains in a stack is told from its model alone, and in a
    stack it has the same bits in any company.

    Args:
        progress: called now and then with the share of the work that is done.
        watch: sees each record.

    Raises:
        MachineError: a trial that doesn't fit into memory alone.
    """
    made: dict[str, TrialHistory] = {}
    waiting: dict[tuple[object, ...], list[tuple[Member, Stacking]]] = {}

    def inform(members: int) -> Progress:
        done = len(made)
        return lambda fraction: progress((done + members * fraction) / len(trials))

    def flush(key: tuple[object, ...]) -> None:
        group = waiting.pop(key)
        histories = _train_together(group, task, directory, inform(len(group)), watch)
        made.update((one.trial_id, one) for one in histories)

    with torch.random.fork_rng(devices=[]):
        for trial in trials:
            try:
                member = _member(trial, task, directory)
            except RAISED as error:
                made[trial.trial_id] = failed(trial, error)
                continue
            try:
                stacking = examine(member.model, task.kind, *_first_batch(trial, task))
            except NotStackableError:
                made[trial.trial_id] = _train_alone(member, task, inform(1), watch)
                continue
            key: tuple[object, ...] = (stacking.structure, stacking.trained, stacking.spares)
            waiting.setdefault(key, []).append((member, stacking))
            if len(waiting[key]) >= _capacity(stacking, len(trials)):
                flush(key)
        for key in list(waiting):
            flush(key)
    return [made[trial.trial_id] for trial in trials]


def _member(trial: Trial, task: Task, directory: Path) -> Member:
    model = build_model(trial, task, directory)
    return Member(trial, model, torch.random.get_rng_state(), factory_place(trial, directory))


def _first_batch(trial: Trial, task: Task) -> tuple[Tensor, Tensor]:
    indices = next(minibatches([trial.seed], len(task.x_train), trial.train.batch_size))[0].to(task.x_train.device)
    return task.x_train[indices], task.y_train[indices]


def _capacity(stacking: Stacking, trials: int) -> int:
    """Trials of one stack: as many as fit the caches and the memory, stacks of about equal size."""
    most = max(1, min(STACK_ELEMENTS // stacking.elements, STACK_BYTES // stacking.memory) - stacking.spares)
    return -(-trials // -(-trials // most))


def _train_alone(member: Member, task: Task, progress: Progress, watch: Watch | None) -> TrialHistory:
    """One by one, in a plain loop, from the random stream that the making of the model left."""
    torch.random.set_rng_state(member.random_state)
    try:
        return train_module(member.trial, task, member.model, progress, watch)
    except RAISED as error:
        return failed(member.trial, error, member.made_at)


def _train_together(
    group: Sequence[tuple[Member, Stacking]], task: Task, directory: Path, progress: Progress, watch: Watch | None
) -> list[TrialHistory]:
    """The histories of a group that shares a stack, in order.

    Where a stack raises, each of its trials is trained in a stack of its own, and where that raises, too, in a plain
    loop: whichever it is, the trial's own code decides.
    """
    histories: Sequence[TrialHistory | None]
    try:
        histories = _StackTraining(group, task, watch).run(progress)
    except RAISED:
        if len(group) == 1:
            return [_train_alone(_again(group[0], task, directory)[0], task, progress, watch)]
        histories = [None] * len(group)
    result: list[TrialHistory] = []
    for one, history in zip(group, histories, strict=True):
        if history is None and len(group) == 1:
            history = _train_alone(one[0], task, progress, watch)
        elif history is None:
            again = [_again(one, task, directory)]
            (history,) = _train_together(again, task, directory, lambda fraction: None, watch)
        result.append(history)
    return result


def _again(one: tuple[Member, Stacking], task: Task, directory: Path) -> tuple[Member, Stacking]:
    """A member whose model is as it was before any training."""
    return _member(one[0].trial, task, directory), one[1]


class _StackTraining:
    """The state of a stack in training: its trials, and the spare copies of the last one behind them."""

    def __init__(self, group: Sequence[tuple[Member, Stacking]], task: Task, watch: Watch | None = None) -> None:
        self.members, self.task, self.watch = [member for member, _ in group], task, watch
        self.bits = [stacking.bits for _, stacking in group]
        shared = group[0][1]
        everyone = [*self.members, *[self.members[-1]] * shared.spares]
        self.stack = ModuleStack([member.model for member in everyone], shared.trained)
        settings = [member.trial.train for member in everyone]
        segments = self.stack.segments([group_key(setting) for setting in settings])
        self.optimizer = StackOptimizer(settings, segments, self.stack.flat, self.stack.gradient)
        self.seeds = [member.trial.seed for member in everyone]
        self.strangers: set[int] = set()
        self.records: list[ModuleRecord] = []

    def run(self, progress: Progress) -> list[TrialHistory | None]:
        """The histories; None of a trial that turned out to have other numbers here than in a stack of its own."""
        started = time.process_time()
        for member in self.members:
            self._restore_stream(member)
            self.records.append(ModuleRecord(member.trial, self.task, member.model.train()))
        steps, size = self.members[0].trial.train.steps, self.members[0].trial.train.batch_size
        batches = minibatches(self.seeds, len(self.task.x_train), size)
        for step, indices in zip(range(steps), batches, strict=False):
            self._step(step, indices.to(self.task.x_train.device))
            progress((step + 1) / steps)
            if not self._running():
                break
        for index in self._running():
            member = self.members[index]
            self._restore_stream(member)
            self.records[index].finish(self.stack.load(member.model, index, self.stack.flat, self.stack.buffers))
        recording = sum(record.recording_seconds for record in self.records)
        training = (time.process_time() - started - recording) / len(self.members)
        return [
            None if index in self.strangers else record.history(training + record.recording_seconds)
            for index, record in enumerate(self.records)
        ]

    def _running(self) -> list[int]:
        """The trials that have not diverged and are no strangers."""
        alive = (index for index, record in enumerate(self.records) if record.diverged_step is None)
        return [index for index in alive if index not in self.strangers]

    def _step(self, step: int, indices: Tensor) -> None:
        x, y = self.task.x_train[indices], self.task.y_train[indices]
        buffers = self.stack.buffers
        output, losses = self.stack.differentiate(self.task.kind, x, y)
        if step == 0:
            if fault := misfit(output[0], self.task, x.shape[1]):
                raise SettingError("model.factory", fault)
            found = (bits_digest(self.stack.bits(index, output)) for index in range(len(self.members)))
            self.strangers = {index for index, bits in enumerate(found) if bits != self.bits[index]}
        trial, finite = self.members[0].trial, torch.isfinite(losses).tolist()
        due = is_recorded(step, trial.train.steps, trial.record.every)
        recorded = [index for index in self._running() if due or not finite[index]]
        before = self.stack.flat.clone() if recorded else self.stack.flat
        self.optimizer.step()
        for index in recorded:
            member = self.members[index]
            self._restore_stream(member)
            after = self.stack.load(member.model, index, self.stack.flat, self.stack.buffers)
            earlier = self.stack.load(copied(after), index, before, buffers)
            after = self.stack.load_gradients(after, index)
            batch, loss = (x[index], y[index]), losses[index].item()
            self.records[index].add(step, earlier, after, batch, loss, member.random_state)
        if self.watch is not None and recorded:
            self.watch(seen_in_modules([self.records[index] for index in recorded]))

    def _restore_stream(self, member: Member) -> None:
        """What a model draws while it is measured doesn't depend on what others drew."""
        torch.random.set_rng_state(member.random_state)
