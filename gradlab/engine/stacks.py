"""Who trains with whom: trials -> stacks -> parts. Pure, and the same for the same config on every machine."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from gradlab.config.sweep import Trial
from gradlab.engine.batches import count_recorded

STACK_ELEMENTS = 1 << 17
"""Elements of a hidden layer's activations in one stack at most: half a megabyte, found to be quickest."""

SPREAD_ELEMENTS = 1 << 15
"""Elements from which on splitting a stack further costs little: arithmetic outweighs the calling of operators."""

SHARES = 16
"""A stack that large holds at most one in so many parts of the sweep's cost: several workers have something to do."""

MODULE_TRIALS = 8
"""Trials of one `nn.Module` in a stack, at most, or one in so many `SHARES` of a large sweep. The config doesn't tell
how large they are, nor whether they can be stacked at all: where they can't, several workers have something to do."""

STACK_BYTES = 1 << 29
"""Float64 memory of all hidden layers' activations in one stack, at most."""

PART_TRIALS = 256
"""Trials of one part file, at most (large parts: readers open few files)."""

RECORDED_ROWS = 1 << 20
"""Rows of the layers table that one stack, or one part, holds in memory until it is written, at most."""

PARTS = 16
"""A sweep is written in about this many parts while they stay below `PART_TRIALS`."""

_TOLL = {
    "linear": 24,
    "relu": 32,
    "leaky_relu": 32,
    "hardtanh": 32,
    "sigmoid": 48,
    "silu": 48,
    "gelu": 64,
    "elu": 72,
    "selu": 72,
}
"""What a unit takes for an example, by activation, in the time of a multiplication."""

_TOLL_OF_OTHERS = 88
"""That of tanh, softplus and functions of the user's own."""


@dataclass(frozen=True)
class Stack:
    """Trials that train together, from the deepest to the shallowest."""

    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class Part:
    """Stacks whose rows are written together; the unit of work that is finished or not."""

    part_id: str
    stacks: tuple[Stack, ...]
    cost: float

    @property
    def trials(self) -> list[Trial]:
        """All trials of the part."""
        return [trial for stack in self.stacks for trial in stack.trials]


def plan(trials: Sequence[Trial], positions: Callable[[Trial], int]) -> list[Part]:
    """The parts of a sweep, the most expensive first.

    Args:
        positions: rows that one example makes in a trial's hidden layers: pixels of a cnn, 1 for an mlp.
    """
    total = sum(cost(trial, positions(trial)) for trial in trials)
    most = max(MODULE_TRIALS, len(trials) // SHARES)
    stacks: list[Stack] = []
    for group in _by_key(trials):
        ordered = sorted(group, key=_order)
        own = group[0].model.is_stacked
        stacks += _cut(ordered, total, positions) if own else _cut_modules(ordered, most)
    target = min(PART_TRIALS, -(-len(trials) // PARTS))
    parts: list[list[Stack]] = []
    count = rows = 0
    for stack in stacks:
        count, rows = count + len(stack.trials), rows + sum(map(recorded_rows, stack.trials))
        if not parts or count > target or rows > RECORDED_ROWS:
            parts.append([])
            count, rows = len(stack.trials), sum(map(recorded_rows, stack.trials))
        parts[-1].append(stack)
    made = [_part(stacks, positions) for stacks in parts]
    return sorted(made, key=lambda part: -part.cost)


def stacks_of(trials: Sequence[Trial], positions: Callable[[Trial], int]) -> tuple[Stack, ...]:
    """Stacks of trials of built-in families, as few as is quickest where nobody else wants work."""
    return tuple(stack for group in _by_key(trials) for stack in _cut(sorted(group, key=_order), math.inf, positions))


def cost(trial: Trial, positions: int) -> float:
    """About how long a trial takes, in multiplications: those in training, a toll per unit and one per operator.

    Fitted to stacks of width 16 to 256 that are recorded every ten steps.
    """
    model, train = trial.model, trial.train
    taps = 9 if model.family == "cnn" else 1
    rows = train.batch_size * positions
    toll = _TOLL.get(model.activation.name, _TOLL_OF_OTHERS)
    return train.steps * model.depth * (rows * taps * model.width**2 + toll * rows * model.width + 4096.0)


def recorded_rows(trial: Trial) -> int:
    """Rows that a trial makes in the layers table (of an `nn.Module`, whose layers aren't known yet, about)."""
    steps = trial.model.depth * (trial.model.sequence_length or 0) if trial.model.family == "rnn" else 0
    return count_recorded(trial.train.steps, trial.record.every) * (trial.model.depth + 1 + steps)


def _stack_key(trial: Trial) -> object:
    model, train = trial.model, trial.train
    if model.family == "rnn":
        # torch.func has no rule for torch's recurrent kernels.
        return trial.trial_id
    if not model.is_stacked:
        settings = (train.optimizer, train.batch_size, train.steps)
        return (trial.data.model_dump_json(), model.model_dump_json(), settings, trial.record)
    shared = (model.family, model.width, model.norm, model.residual, train.optimizer, train.batch_size, train.steps)
    return (trial.data.model_dump_json(), shared, trial.record)


def _by_key(trials: Sequence[Trial]) -> Collection[list[Trial]]:
    """The trials that may share a stack."""
    groups: dict[object, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(_stack_key(trial), []).append(trial)
    return groups.values()


def _order(trial: Trial) -> tuple[object, ...]:
    """Depths fall, as stacks need it; equal optimizer settings, then equal activations, stand side by side."""
    model, train = trial.model, trial.train
    setting = (train.lr, train.weight_decay, train.momentum)
    return (-model.depth, setting, model.activation.label, model.init.label, trial.seed, trial.trial_id)


def _cut(trials: Sequence[Trial], total: float, positions: Callable[[Trial], int]) -> list[Stack]:
    """Sorted trials of one key in stacks that fit the caches and the memory, and leave work for several workers."""
    stacks: list[list[Trial]] = []
    elements = spent = held = rows = 0.0
    for trial in trials:
        model = trial.model
        slab = model.width * trial.train.batch_size * positions(trial)
        memory = slab * model.depth * 8 * (14 if model.family == "cnn" else 5)
        full = stacks and (
            elements + slab > STACK_ELEMENTS
            or len(stacks[-1]) >= PART_TRIALS
            or held + memory > STACK_BYTES
            or rows + recorded_rows(trial) > RECORDED_ROWS
            or (elements >= SPREAD_ELEMENTS and spent >= total / SHARES)
        )
        if full or not stacks:
            stacks.append([])
            elements = spent = held = rows = 0.0
        stacks[-1].append(trial)
        elements, spent, held = elements + slab, spent + cost(trial, positions(trial)), held + memory
        rows += recorded_rows(trial)
    return [Stack(tuple(stack)) for stack in stacks]


def _cut_modules(trials: Sequence[Trial], most: int) -> list[Stack]:
    """Sorted trials of equal modules in stacks of about equal size, of at most so many."""
    most = min(most, PART_TRIALS, max(1, RECORDED_ROWS // recorded_rows(trials[0])))
    count = -(-len(trials) // most)
    size = -(-len(trials) // count)
    return [Stack(tuple(trials[start : start + size])) for start in range(0, len(trials), size)]


def _part(stacks: Sequence[Stack], positions: Callable[[Trial], int]) -> Part:
    trials = [trial for stack in stacks for trial in stack.trials]
    digest = hashlib.sha256("".join(trial.trial_id for trial in trials).encode()).hexdigest()[:16]
    return Part(digest, tuple(stacks), sum(cost(trial, positions(trial)) for trial in trials))
