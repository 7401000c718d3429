"""How much memory a trial takes, told from its settings before anything is made.

Estimates, right within a factor of three (`tests/engine/test_memory.py` holds them against what training takes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradlab.config.sweep import Trial
from gradlab.engine import doubts, groups
from gradlab.engine.batches import count_recorded
from gradlab.engine.memory import require
from gradlab.engine.stacks import Part, Stack, recorded_rows
from gradlab.engine.tasks import Task

FLOAT32, FLOAT64 = 4, 8

PROCESS = 96 << 20
"""Bytes that a worker takes beside its trials: its own copies of what it inherits, buffers of operators and tables."""

PLANNED = 0.9
"""Share of the memory there is that trials are planned to take; others want some, too."""

RECORD = 12_000
"""Bytes of a record of a stack beside its numbers: the tensors that hold them."""

ROW = 640
"""Bytes of a row of the layers table: fifteen numbers, as they are collected, put in order, tabulated and written."""

MODULE_ROW = 2_500
"""Bytes of a row of an `nn.Module`, whose numbers are collected one by one."""

_SLOTS = {"sgd": 0, "momentum": 1, "adam": 2, "adamw": 2, "rmsprop": 1}
"""Optimizer -> numbers that it keeps for each parameter."""

_SLOPE_FROM_OUTPUT = {"linear", "sigmoid", "tanh", "relu", "leaky_relu", "hardtanh"}
"""Activations whose slope training takes from their output."""

_GATES = {"rnn": 1, "lstm": 4, "gru": 3}


@dataclass(frozen=True)
class Sizes:
    """What the memory of a trial follows from.

    Attributes:
        parameters, largest: in all, and weights of the largest layer.
        units: elements of a hidden layer for one example, all positions or time steps.
        examples: of a minibatch; probe, evaluated: of the probe, of the evaluation split.
        outputs, inputs: elements for one example.
    """

    trial: Trial
    parameters: int
    largest: int
    units: int
    examples: int
    probe: int
    evaluated: int
    inputs: int
    outputs: int

    @classmethod
    def of(cls, trial: Trial, task: Task) -> Sizes:
        """The sizes of a trial on its task."""
        model, train_examples = trial.model, len(task.x_train)
        example = task.x_train.shape[1:]
        positions = {"cnn": example[-1] * example[-2] if len(example) > 1 else 1}.get(model.family, 1)
        if model.family in {"rnn", "transformer"}:
            positions = example[0]
        parameters, largest = _parameters(trial, task)
        return cls(
            trial,
            parameters,
            largest,
            model.width * positions,
            min(trial.train.batch_size, train_examples),
            min(trial.record.probe, train_examples),
            len(task.x_eval),
            task.x_train[0].numel(),
            task.out_features,
        )


def working(trials: Sequence[Trial], task: Task) -> int:
    """Bytes that a stack of trials takes while it trains and is measured, beside its records."""
    sizes = [Sizes.of(trial, task) for trial in trials]
    if not trials[0].model.is_stacked:
        taken = list(map(_of_module, sizes))
        return sum(training for training, _ in taken) + max(measured for _, measured in taken)
    trained, looked = list(map(_of_stacked, sizes)), list(map(_of_look, sizes))
    gradients, units_of_probe = sum(exact for _, exact in trained), max(exact for _, exact in looked)
    at_once = sum(training for training, _ in trained) + max(passing for passing, _ in looked)
    return at_once + max(gradients, units_of_probe)


def recorded(trials: Sequence[Trial]) -> int:
    """Bytes that the records of a stack take until its part is written; all have room for the first, the deepest."""
    first = trials[0]
    own = first.model.is_stacked
    records = count_recorded(first.train.steps, first.record.every)
    return records * (RECORD if own else 0) + len(trials) * recorded_rows(first) * (ROW if own else MODULE_ROW)


def records_of(stacks: Sequence[Stack]) -> int:
    """Bytes that the records of stacks take until they are written together."""
    return sum(recorded(stack.trials) for stack in stacks)


def in_pieces(stack: Stack, task: Task, room: int) -> list[Stack]:
    """The stack, halved until its pieces fit into `room` bytes; a trial alone is not looked at any more.

    How trials are stacked changes nothing about their numbers.
    """
    if len(stack.trials) == 1 or working(stack.trials, task) <= room:
        return [stack]
    half = len(stack.trials) // 2
    halves = Stack(stack.trials[:half]), Stack(stack.trials[half:])
    return [piece for part in halves for piece in in_pieces(part, task, room)]


def least_and_most(part: Part, task_of: Callable[[Trial], Task]) -> tuple[int, int]:
    """Bytes that the work on a part takes trial by trial, if it has to be, and with whole stacks."""
    records, tasks = records_of(part.stacks), [(stack, task_of(stack.trials[0])) for stack in part.stacks]
    alone = max(working(stack.trials[:1], task) for stack, task in tasks)
    return records + alone, records + max(working(stack.trials, task) for stack, task in tasks)


def share(parts: Sequence[Part], task_of: Callable[[Trial], Task], there: int, workers: int) -> tuple[int, int]:
    """How many workers there is memory for, and the bytes that each may take.

    Every worker may come upon the part that takes most, trained trial by trial if it has to be.

    Args:
        there: bytes that are available, to all workers together.
        workers: as many as there may be.

    Raises:
        MachineError: a part whose largest trial, with the records of the whole part, doesn't fit even alone.
    """
    most = 0
    for part in parts:
        records = records_of(part.stacks)
        # The first trial of a stack is its deepest, and the others have its settings.
        alone = [(working(stack.trials[:1], task_of(stack.trials[0])), stack.trials[0]) for stack in part.stacks]
        training, largest = max(alone, key=lambda one: one[0])
        needed = records + training
        require(needed, _called(largest, part), _remedy(largest, records > needed // 2), there)
        most = max(most, needed)
    able = max(1, min(workers, int(PLANNED * there) // (PROCESS + most)))
    return able, int(PLANNED * there) // able - (PROCESS if able > 1 else 0)


def _called(trial: Trial, part: Part) -> str:
    """The trial in words, as the subject of a sentence."""
    model, others = trial.model, len(part.trials) - 1
    size = "" if model.family == "custom" else f", depth {model.depth:,}, width {model.width:,}"
    told = f"trial {trial.trial_id} ({model.family}{size}, {trial.train.steps:,} steps)"
    return f"{told}, with the records of the {others + 1:,} trials of its part," if others else told


def _remedy(trial: Trial, records: bool) -> str:
    if records:
        return f"record less often (record.every is {trial.record.every:,}), or train fewer steps"
    return "make model.width, model.depth or train.batch_size smaller, or use a machine with more memory"


def _parameters(trial: Trial, task: Task) -> tuple[int, int]:
    """Parameters of a trial, and weights of its largest layer; none of a custom model, which is its factory's."""
    model, outputs = trial.model, task.out_features
    width, depth = model.width, model.depth
    if model.family == "custom":
        return 0, 0
    if model.family == "rnn":
        gates = _GATES[str(model.cell)]
        first, other = (gates * width * (fan_in + width + 2) for fan_in in (task.in_features, width))
        return first + (depth - 1) * other + (width + 1) * outputs, other
    if model.family == "transformer":
        block = 12 * width * width + 13 * width
        return depth * block + (task.in_features + 1) * width + (width + 1) * outputs, block
    taps = 9 if model.family == "cnn" else 1
    inputs = task.x_train.shape[1] if model.family == "cnn" else task.in_features
    first, other = taps * inputs * width, taps * width * width if depth > 1 else 0
    positions = task.x_train[0, 0].numel() if model.family == "cnn" and model.norm == "layer" else 1
    affine = 0 if model.norm == "none" else 2 * width * positions
    in_all = first + (depth - 1) * other + depth * (width + affine) + (width + 1) * outputs
    return in_all, max(first, other, width * outputs)


def _of_stacked(sizes: Sizes) -> tuple[int, int]:
    """Bytes of one trial of a stack while it trains, and those beside them while its gradients are taken in float64."""
    trial, model = sizes.trial, sizes.trial.model
    slots = 3 + _SLOTS[trial.train.optimizer]
    normed, residual = model.norm != "none", int(model.residual)
    # Training keeps phi's output, and its input where it needs it; measuring in float64 keeps both.
    keeps = model.activation.name not in _SLOPE_FROM_OUTPUT
    layers = model.depth * (1 + keeps + 2 * normed + residual) + 5
    exact = model.depth * (2 + 2 * normed + residual) + 5
    images = 6 if model.family == "cnn" else 0
    hidden, measured = (sizes.examples * sizes.units * (kept + images) for kept in (layers, exact))
    batch = sizes.examples * (sizes.inputs + 4 * sizes.outputs) * (FLOAT32 + FLOAT64)
    weights = max(
        sizes.parameters * (slots * FLOAT32 + FLOAT32 + 2 * FLOAT64) + sizes.largest * FLOAT64,
        2 * sizes.parameters * FLOAT32 + 5 * sizes.largest * FLOAT64,
    )
    evaluated = max(sizes.evaluated, sizes.probe) * 5 * sizes.outputs * FLOAT32
    return hidden * FLOAT32 + batch + weights + evaluated, measured * FLOAT64


def _of_look(sizes: Sizes) -> tuple[int, int]:
    """Bytes of the trials that pass over many examples together, and those while they do in float64, with flags."""
    model = sizes.trial.model
    kept = 3 + 3 * (model.norm != "none") + (6 if model.family == "cnn" else 0)
    at_once = max(1, groups.CHUNK // sizes.units)
    most = (min(examples, at_once) for examples in (max(sizes.evaluated, sizes.probe), sizes.probe))
    together, exact = (max(groups.GROUP, examples * sizes.units) for examples in most)
    waiting = doubts.TOGETHER // (sizes.units * sizes.examples) * sizes.parameters * 2 * FLOAT32
    return together * kept * FLOAT32 + waiting, exact * (kept * FLOAT64 + model.depth)


def _of_module(sizes: Sizes) -> tuple[int, int]:
    """Bytes of an `nn.Module` while it trains, and those beside them while it is measured, one trial after the other.

    Both are autograd's graph: of the minibatch, and in float64 of the probe.
    """
    trial, model = sizes.trial, sizes.trial.model
    per_unit = 0
    if model.family == "rnn":
        per_unit = model.depth * (4 + 3 * _GATES[str(model.cell)])
    elif model.family == "transformer":
        steps = sizes.units // model.width
        per_unit = model.depth * (44 + 3 * int(model.heads or 1) * steps // model.width)
    graph = sizes.units * per_unit
    training = sizes.parameters * (4 + _SLOTS[trial.train.optimizer]) * FLOAT32 + sizes.examples * graph * FLOAT32
    measured = max(max(sizes.examples, sizes.probe) * FLOAT64, sizes.evaluated * FLOAT32 // 4) * graph
    return training, 3 * sizes.parameters * FLOAT64 + measured
