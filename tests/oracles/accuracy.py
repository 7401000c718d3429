"""Which values a right measurement of a trial may give: a range for each number of each record.

Every range stands around a float64 computation from the very weights that float32 training has at that step. How wide
it is follows from the contract, and from what nobody can know better:

- Norms of gradients are right to 1e-4, relative, and counts exact. A number that changes by more than `KNOWN_TO` where
  weights, activations and derivatives change in their last float64 digit is known by no float64 computation, and is
  left out.
- What float32 training itself sees (zeros and entries that are not finite in its gradients, its losses, its updates)
  depends on how a float32 program rounds. So plain PyTorch runs several times, rounding otherwise; what all runs agree
  about must be met. An entry of a gradient may be seen as 0 or not where four times, or a quarter of, the loss would
  decide otherwise, and where the runs agree about none of its digits.
- A pair of unit and example may count as saturated or not where a change of z in its last float32 digits decides.
- With a learning rate above 0, only step 0 has known weights (`known_weights` says that later ones are known, too);
  from then on ranges grow with how far the runs are apart.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from gradlab.config.sweep import Trial
from tests.oracles.float32_runs import Run, loss_and_metric, normalises_rounding, rounded_otherwise
from tests.oracles.measured import SMALLEST, Measured, clearly_not_0, measure
from tests.oracles.network import PlainData, PlainNetwork
from tests.oracles.plain import minibatches

RELATIVE = 1e-4
"""What the contract promises, down to `SMALLEST`."""

LARGEST_SQUARED = 1e150
"""Root mean squares above this may be infinite: the squares leave float64."""

KNOWN_TO = 1e-7
"""Relative change by roundings of float64 from which on a number is not known."""

APART = 30.0
"""Another program may be so many times farther from plain PyTorch than runs are that round otherwise."""

NORMS = ("weight_grad_norm", "bias_grad_norm", "delta_rms", "grad_norm")
COUNTS = ("dead_units", "zero_gradient_units")
PROBED = (*COUNTS, "preactivation_rms", "activation_mean", "activation_rms", "saturated_fraction")

Place: TypeAlias = tuple[int, int, str]
"""Step (-1: after the last update), layer (0: the steps table) and column."""


@dataclass(frozen=True)
class Allowed:
    """The values from `low` to `high`; where they are NaN, only NaN or the logarithm of 0."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether `value` is among them."""
        if math.isnan(self.low):
            return math.isnan(value) or value == -math.inf
        return self.low <= value <= self.high


NULL = Allowed(math.nan, math.nan)


@dataclass
class Judgement:
    """What a trial's history may hold.

    Attributes:
        ranges: a place that is missing cannot be judged.
        left_out: places that no computation in float64, or float32's own, knows.
        diverged_step: the first step whose loss is not finite, if any.
        certain_until: only records before this step are judged, if it is given. What follows depends on rounding:
            whether the trial diverges, or what a norm makes of numbers that are alike.
    """

    ranges: dict[Place, Allowed] = field(default_factory=dict)
    left_out: list[Place] = field(default_factory=list)
    diverged_step: int | None = None
    certain_until: int | None = None


def judgement(trial: Trial, data: PlainData, network: PlainNetwork, *, known_weights: bool = False) -> Judgement:
    """What may be measured of `trial`, which starts from the weights of `network` (these are trained)."""
    judge = _Judge(trial, data, network, known_weights or trial.train.lr == 0)
    judge.train()
    return judge.judged


class _Judge:
    def __init__(self, trial: Trial, data: PlainData, network: PlainNetwork, known_weights: bool) -> None:
        self.trial, self.data, self.known_weights = trial, data, known_weights
        self.generator = torch.Generator().manual_seed(trial.seed)
        others = [rounded_otherwise(network, self.generator) for _ in range(3)]
        self.runs = [Run(one, trial, data) for one in (network, *others)]
        self.judged = Judgement()

    def train(self) -> None:
        """Train all runs side by side, and judge every record."""
        steps, every = self.trial.train.steps, self.trial.record.every
        batches = minibatches(len(self.data.x_train), self.trial.train.batch_size, self.trial.seed)
        for step in range(steps):
            batch = next(batches)
            x, y = self.data.x_train[batch], self.data.y_train[batch]
            if normalises_rounding(self.runs[0].network, x):
                self.judged.certain_until = step
                return
            # Looking moves the running moments of batch norm.
            before = [copy.deepcopy(run.network) for run in self.runs]
            losses = [run.look(x, y) for run in self.runs]
            finite = {math.isfinite(value) for value in losses}
            if len(finite) == 2:
                self.judged.certain_until = step
                return
            diverged = finite == {False}
            if not diverged:
                for run in self.runs:
                    run.update()
            if step % every == 0 or step == steps - 1 or diverged:
                self._record(step, batch, before, losses, updated=not diverged)
            if diverged:
                self.judged.diverged_step = step
                break
        self._evaluate(-1, "final_eval_loss", "final_eval_metric", [run.network for run in self.runs])
        probe = torch.arange(min(self.trial.record.probe, len(self.data.x_train)))
        networks = [*(run.network for run in self.runs), self.runs[0].network.in_float64()]
        self._around((-1, 0, "final_train_loss"), [loss_and_metric(one, self.data, probe)[0] for one in networks])

    def _record(
        self, step: int, batch: Tensor, before: list[PlainNetwork], losses: list[float], *, updated: bool
    ) -> None:
        measured = measure(before[0], self.data, batch, self.trial)
        twins = [measure(before[0], self.data, batch, self.trial, self.generator) for _ in range(2)]
        apart = step > 0 and (not self.known_weights or self.trial.model.norm == "batch")
        others = [measure(network, self.data, batch, self.trial) for network in before[1:]] if apart else []
        for layer, column in measured.values:
            # Running moments are float32's, but only evaluation reads them.
            sure = self.known_weights and column not in PROBED
            self._measured((step, layer, column), measured, twins, [] if sure else others)
        for layer in range(1, self.trial.model.depth + 2):
            self._seen(step, layer, [measured, *twins])
            self._updated((step, layer, "update_ratio"), updated=updated)
        self._around((step, 0, "train_loss"), [*losses, measured.train_loss])
        self._evaluate(step, "eval_loss", "eval_metric", before)

    def _measured(self, at: Place, measured: Measured, twins: list[Measured], others: list[Measured]) -> None:
        """The range of what is measured in float64: `twins` round otherwise, `others` have other weights."""
        _, layer, column = at
        place = (layer, column)
        value, like = measured.values[place], [twin.values[place] for twin in twins]
        apart = [other.values[place] for other in others]
        everything = [one for one in (value, *like, *apart) if one is not None]
        nulls = len(everything) < 1 + len(like) + len(apart)
        size = measured.values.get((layer, "delta_rms")) or 0.0
        if value is None or nulls:
            # A logarithm of 0 is null, and 0 may be what float64 makes of it.
            if everything or (measured.lost.get(layer, False) and column.startswith("log10")):
                self.judged.left_out.append(at)
            else:
                self.judged.ranges[at] = NULL
        elif column == "saturated_fraction":
            shares = [share for one in (measured, *twins, *others) for share in one.saturated[layer]]
            self.judged.ranges[at] = Allowed(min(shares) - 1e-7, max(shares) + 1e-7)
        elif column in COUNTS:
            lowest = 0 if column == "zero_gradient_units" and measured.lost[layer] else min(everything)
            self.judged.ranges[at] = Allowed(lowest, max(everything))
        elif not math.isfinite(value):
            self._around(at, everything)
        elif column == "bias_grad_norm" and self.trial.model.norm == "batch" and value <= 1e-9 * size:
            # The norm takes out a bias's effect: its gradient is 0 but for rounding.
            self.judged.ranges[at] = Allowed(0.0, 1e-6 * size)
        else:
            scale = 1.0 if column.startswith("log10") else abs(value)
            slack = RELATIVE / math.log(10) if column.startswith("log10") else RELATIVE * scale
            if column == "activation_mean":
                # Positive and negative activations may cancel to any digit.
                slack += 1e-6 * (measured.values[layer, "activation_rms"] or 0.0)
            if any(not abs(one - value) <= KNOWN_TO / RELATIVE * slack for one in like if one is not None):
                self.judged.left_out.append(at)
                return
            slack += APART * max((abs(one - value) for one in apart if one is not None), default=0.0)
            low, high = value - slack, value + slack
            if column in NORMS and abs(value) < 1e10 * SMALLEST:
                # Products on the way may have left float64.
                low, high = 0.0, high + SMALLEST
            if column.endswith("_rms") and value > LARGEST_SQUARED:
                low, high = LARGEST_SQUARED, math.inf
            self.judged.ranges[at] = Allowed(low, high)

    def _seen(self, step: int, layer: int, measured: list[Measured]) -> None:
        """What float32 training sees of a gradient."""
        always, ever = (torch.stack(each) for each in zip(*(run.zeros(layer) for run in self.runs), strict=True))
        values = torch.stack([run.gradients[0][layer - 1].double() for run in self.runs])
        # Where the runs agree about no digit, terms cancel: another order of sums may make an exact 0, or none.
        noise = values.amax(0) - values.amin(0) > 0.1 * values.abs().amax(0)
        gradients = [one.gradients[layer - 1] for one in measured]
        surely = torch.stack([clearly_not_0(one) for one in gradients]).all(0)
        perhaps = torch.stack([one.weight != 0 for one in gradients]).any(0) | measured[0].lost[layer]
        low, high = always.all(0) & surely, (ever.any(0) | noise) & perhaps
        self.judged.ranges[step, layer, "float32_zero_fraction"] = Allowed(
            float(low.double().mean()) - 1e-6, float(high.double().mean()) + 1e-6
        )
        always, ever = (torch.stack(each) for each in zip(*(run.not_finite(layer) for run in self.runs), strict=True))
        self.judged.ranges[step, layer, "non_finite"] = Allowed(float(always.all(0).sum()), float(ever.any(0).sum()))

    def _updated(self, at: Place, *, updated: bool) -> None:
        ratios = [run.updates[at[1] - 1] for run in self.runs] if updated else [None]
        known = [ratio for ratio in ratios if ratio is not None]
        if not known:
            self.judged.ranges[at] = NULL
        elif len(known) == len(ratios):
            # A weight that moves is rounded to its last float32 digit.
            self._around(at, known, 1e-7 if self.trial.train.lr > 0 else 0.0)
        else:
            self.judged.left_out.append(at)

    def _evaluate(self, step: int, loss_name: str, metric_name: str, networks: list[PlainNetwork]) -> None:
        pairs = [loss_and_metric(network, self.data) for network in (*networks, networks[0].in_float64())]
        self._around((step, 0, loss_name), [first for first, _ in pairs])
        self._around((step, 0, metric_name), [second for _, second in pairs], 1e-6)

    def _around(self, at: Place, values: list[float], absolute: float = 0.0) -> None:
        """From the least to the greatest value and somewhat farther; nothing where only some are finite."""
        if all(map(math.isfinite, values)):
            slack = absolute + RELATIVE * max(map(abs, values)) + APART * (max(values) - min(values))
            self.judged.ranges[at] = Allowed(min(values) - slack, max(values) + slack)
        elif len({str(value) for value in values}) == 1:
            self.judged.ranges[at] = NULL if math.isnan(values[0]) else Allowed(values[0], values[0])
        else:
            self.judged.left_out.append(at)
