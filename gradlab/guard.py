"""A model's gradients, guarded in a test: `gradlab.check_gradients`."""

from __future__ import annotations

import operator
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from gradlab import gate
from gradlab.analysis.gate.change import INCONCLUSIVE, REGRESSION
from gradlab.analysis.gate.judge import judge
from gradlab.analysis.gate.matching import matches, seeds_pair_up
from gradlab.analysis.gate.outcome import Outcome
from gradlab.config.schema import MIN_CHECK_SEEDS, Check
from gradlab.engine.draws import weight_print
from gradlab.engine.modules.first_step import DataLoss, FirstStep, forked_streams, measure_first_step
from gradlab.engine.modules.layers import tensors_in
from gradlab.errors import BaselineError, GradlabError, UsageError
from gradlab.observe import compared
from gradlab.report.gate.console import report_text
from gradlab.store.baseline import read_baseline, refuse_in_ci, write_baseline
from gradlab.store.measurement import FIRST, LOGARITHMIC, SHARES, Key, Measurement, NetworkStatistics
from gradlab.updating import REMEDY, UPDATE, update_asked

_REMEDY = f"{REMEDY}, {UPDATE}=1 in the environment or update=True"


class GradientRegression(AssertionError):  # noqa: N818  a failed assertion, not an error
    """Gradients don't flow as they did; the message is the report that `gradlab check` prints.

    Attributes:
        outcome: the finished check.
    """

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__(report_text(outcome))


class InconclusiveWarning(UserWarning):
    """Gradients may have changed by more than matters, but perhaps by chance; the message is the report."""


def check_gradients(
    model: nn.Module | Callable[[], nn.Module],
    batch: tuple[Any, Any],
    loss: DataLoss,
    baseline: str | os.PathLike[str],
    *,
    update: bool | None = None,
    seeds: int | Sequence[int] = gate.DEFAULT_SEEDS,
    thresholds: Mapping[str, float] | None = None,
) -> Outcome:
    """Compare a model's gradient statistics at step 0, before any update, with a baseline.

    Gradients are measured in the mode (training or evaluation) that the model is in, activations and units in
    evaluation mode, all in float64 on copies: the model, its mode and torch's random streams stay as they are.

    Args:
        model: a function without arguments that makes a fresh model, called right after `torch.manual_seed(seed)` for
            each seed; or a module, which is a single sample: it must start from the same weights each time, and any
            change that is large enough counts.
        batch: inputs and targets, the same each time. Inputs are a tensor, or several of them in a tuple or a mapping,
            with which the model is called.
        loss: output and targets -> the mean over the batch, a scalar.
        baseline: a JSON file.
        update: write the baseline instead. None: if `GRADLAB_UPDATE` is set, as `pytest --gradlab-update` does.
        seeds: a count (0, 1, ...) or a list, 9 at least; without meaning for a module.
        thresholds: statistic -> the ratio of means, or the step in a share, that matters, other than the defaults of
            `check:` in a config.

    Returns:
        The outcome of the check; its verdict is `pass` or, with an `InconclusiveWarning`, `inconclusive`.

    Raises:
        GradientRegression: gradients don't flow as they did.
        BaselineError: there is no baseline, or it is of another batch, or of a module that started from other weights.
        UsageError: there is nothing to measure; thresholds or seeds that make no sense; an update where CI is set.
    """
    __tracebackhide__ = operator.methodcaller("errisinstance", (GradientRegression, GradlabError))
    path, limits, update = Path(baseline), _thresholds(thresholds), update_asked() if update is None else update
    if update:
        refuse_in_ci()
    known = None if update else read_baseline(path, _REMEDY)
    now = _measure(model, batch, loss, _seed_list(seeds))
    if known is None:
        write_baseline(path, now)
        known = now
    _check_comparable(known, now, path)
    outcome = Outcome(judge(known, now, limits), known, now, str(path))
    if outcome.verdict == REGRESSION:
        raise GradientRegression(outcome)
    if outcome.verdict == INCONCLUSIVE:
        warnings.warn(report_text(outcome), InconclusiveWarning, stacklevel=2)
    return outcome


def _thresholds(own: Mapping[str, float] | None) -> dict[str, float]:
    defaults = gate.thresholds(Check())
    for statistic in own or {}:
        if statistic not in defaults:
            raise UsageError(f"thresholds: there is no statistic '{statistic}'; there are {', '.join(defaults)}")
    try:
        return gate.thresholds(Check.model_validate(own or {}))
    except ValidationError as error:
        fault = error.errors()[0]
        raise UsageError(f"thresholds: {fault['loc'][0]}: {fault['msg']}") from None


def _seed_list(seeds: int | Sequence[int]) -> tuple[int, ...]:
    listed = tuple(range(seeds)) if isinstance(seeds, int) else tuple(map(int, seeds))
    if len(set(listed)) < max(MIN_CHECK_SEEDS, len(listed)) or min(listed) < 0:
        told = f"{MIN_CHECK_SEEDS} different ones at least, none below 0"
        raise UsageError(f"seeds: {told}; with fewer no change can be told from chance")
    return listed


def _measure(
    model: nn.Module | Callable[[], nn.Module], batch: tuple[Any, Any], loss: DataLoss, seeds: tuple[int, ...]
) -> Measurement:
    inputs, targets = batch
    examples = next((len(tensor) for tensor in tensors_in(inputs) if tensor.ndim), 0)
    if not examples:
        raise UsageError("batch: its inputs hold no tensor with examples")
    single = isinstance(model, nn.Module)
    seeds = (0,) if single else seeds
    samples = []
    for seed in seeds:
        with forked_streams(), torch.enable_grad():
            torch.manual_seed(seed)
            made = model if isinstance(model, nn.Module) else model()
            if not isinstance(made, nn.Module):
                raise UsageError(f"model: must return a torch.nn.Module, not {type(made).__name__}")
            samples.append(measure_first_step(made, inputs, targets, loss, examples))
    what = f"{'a module' if single else 'a function that makes models'} on {_described(inputs)}; {_described(targets)}"
    return Measurement(what, gate.made_by(samples[0].device), seeds, (_network(samples),))


def _network(samples: Sequence[FirstStep]) -> NetworkStatistics:
    layers = samples[0].layers
    if any(sample.layers != layers for sample in samples):
        raise UsageError("model: its layers differ from seed to seed, so seeds cannot be compared")
    return NetworkStatistics(
        settings={},
        layers=tuple(layer.name for layer in layers),
        steps={FIRST: 0},
        values={
            Key(FIRST, statistic, number): np.array([_compared(sample, number, statistic) for sample in samples])
            for number, layer in enumerate(layers, 1)
            for statistic in (*LOGARITHMIC, *SHARES)
            if all(statistic in sample.rows[layer.name] for sample in samples)
        },
        weight_prints=np.array([sample.weight_prints for sample in samples]).T,
        weight_counts=tuple(layer.weight_count for layer in layers),
        diverged=tuple(None if sample.finite else 0 for sample in samples),
        parameters=samples[0].parameters,
    )


def _compared(sample: FirstStep, number: int, statistic: str) -> float:
    layer = sample.layers[number - 1]
    row = {name: np.array([value]) for name, value in sample.rows[layer.name].items()}
    return float(compared(statistic, row, [layer])[0])


def _check_comparable(known: Measurement, now: Measurement, path: Path) -> None:
    """Make sure that a baseline was made in the same way.

    Raises:
        BaselineError: it was not.
    """
    if known.config != now.config:
        told = f"the baseline of {known.config}, not of {now.config}"
        raise BaselineError(f"{path}: {told}; a batch must be the same each time; {_REMEDY}")
    if len(now.seeds) == 1 and not seeds_pair_up(known, now, matches(known, now)[0]):
        told = "the module started from other weights than the baseline's, and one sample can't tell that from a change"
        cure = "pass a function that makes the model, or call torch.manual_seed before making it"
        raise BaselineError(f"{path}: {told}; {cure}; {_REMEDY}")


def _described(value: Any) -> str:
    """A part of a batch in words: types, shapes and a number that tells other values from these, rounding apart."""
    if isinstance(value, Tensor):
        told = f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
        return f"{told} {weight_print(value.reshape(1, -1)).item():z.2f}" if value.numel() else told
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_described(one)}" for name, one in value.items())
    if isinstance(value, tuple | list):
        return ", ".join(map(_described, value))
    return type(value).__name__
