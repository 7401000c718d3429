"""What happened, as a person would say it: where along the network a change begins, and when."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gradlab.analysis.gate.change import MISSING, NOT_A_NUMBER, REGRESSION, Change
from gradlab.analysis.gate.names import network_name, numbered
from gradlab.analysis.gate.samples import DIVERGED
from gradlab.store.measurement import FIRST, LOSSES, SHARES, WHOLE_NETWORK

_FAR = 0.3
"""Difference of log10 from which on a second figure is told beside the first: a factor of two."""

_WORDS = {
    "dead_units": "dead units",
    "zero_gradient_units": "units without gradient",
    "saturated_fraction": "saturation",
    "non_finite": "gradient entries that are no numbers",
}


@dataclass(frozen=True)
class _Span:
    """The layers in which a statistic changed, of all layers that have it, and by how much at most."""

    layers: tuple[int, ...]
    of: tuple[int, ...]
    shift: float
    step: int | None

    @property
    def everywhere(self) -> bool:
        return self.layers == self.of

    @property
    def down(self) -> bool:
        """From some layer down to the first."""
        return self.layers == self.of[: len(self.layers)]

    @property
    def up(self) -> bool:
        """From some layer up to the last."""
        return self.layers == self.of[len(self.of) - len(self.layers) :]


def sentences(changes: Sequence[Change]) -> dict[str, list[str]]:
    """What regressed in each network: its settings in one line -> sentences, the cause before its effects."""
    networks: dict[str, list[Change]] = {}
    for change in changes:
        networks.setdefault(network_name(change.network), []).append(change)
    return {name: told for name, own in networks.items() if (told := _tell(own))}


def times(shift: float) -> str:
    """A ratio in words, from its log10: `40x larger`, `2.1x smaller`, `0 where it was not`."""
    if math.isinf(shift):
        return "exactly 0 now" if shift < 0 else "no longer 0"
    ratio = 10 ** min(abs(shift), 300)
    shown = f"1e{abs(shift):.0f}" if abs(shift) >= 6 else f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2g}"
    return f"{shown}x {'larger' if shift > 0 else 'smaller'}"


def _tell(changes: Sequence[Change]) -> list[str]:
    """The sentences about one network."""
    found = [change for change in changes if change.verdict == REGRESSION]
    if not found:
        return []
    told = _broken(found)
    steps = sorted({change.step for change in found if change.step is not None})
    measured = [change for change in changes if not change.reason]
    if steps:
        told += _at_step(measured, steps[0])
    told += [
        f"the {change.key.statistic.replace('_', ' ')} is {times(change.shift)}"
        for change in found
        if change.key.statistic in LOSSES and not change.reason
    ]
    if when := _when(found, steps):
        told.append(when)
    return told


def _broken(found: Sequence[Change]) -> list[str]:
    """What is missing or no number."""
    told = []
    if any(change.key.statistic == "network" for change in found):
        return ["it is missing now"]
    if gone := [change for change in found if change.key.statistic == "layer"]:
        names = ", ".join(f"'{change.name}'" for change in gone)
        told.append(f"missing: layer{'s' if len(gone) > 1 else ''} {names} of the baseline")
    told += [f"missing: {change.name}" for change in found if change.key.statistic == "parameters"]
    for change in found:
        if change.key.statistic == DIVERGED:
            told.append(f"{_percent(change.now)} of the seeds diverge, {_percent(change.baseline)} did")
    if lost := [change for change in found if change.reason == NOT_A_NUMBER]:
        layers = sorted({change.key.layer for change in lost} - {WHOLE_NETWORK})
        steps = [change.step for change in lost if change.step is not None]
        where = [f"in {numbered(layers)} from step {min(steps)} on"] if layers else []
        where += ["in the final loss"] if any(change.key.layer == WHOLE_NETWORK for change in lost) else []
        told.append(f"there are values that are no numbers {' and '.join(where)}")
    return told


def _at_step(changes: Sequence[Change], step: int) -> list[str]:
    """What changed at the first step at which anything did: weights, then forward, backward, updates."""
    here = [change for change in changes if change.step == step]
    told = []
    if weights := _span(here, "weight_norm"):
        told.append(f"{_owner(weights)} weights start {times(weights.shift)}")
    if activations := _span(here, "activation_rms"):
        told.append(f"{_upward(activations)} activations are {times(activations.shift)}")
    for share in SHARES:
        if span := _span(here, share):
            changed = [change for change in here if change.key.statistic == share and change.key.layer in span.layers]
            before, now = (_average([getattr(change, side) for change in changed]) for side in ("baseline", "now"))
            told.append(f"in {numbered(span.layers)} {_WORDS[share]} went from {_percent(before)} to {_percent(now)}")
    delta, gradient, updates = (_span(here, name) for name in ("delta_rms", "weight_grad_norm", "update_ratio"))
    if delta:
        told.append(f"{_downward(delta)} the gradient is {times(delta.shift)}{_later(changes, 'delta_rms', delta)}")
    if gradient and (delta is None or abs(gradient.shift - delta.shift) > _FAR):
        later = _later(changes, "weight_grad_norm", gradient)
        told.append(f"{_downward(gradient)} the weight gradient is {times(gradient.shift)}{later}")
    signal = delta or gradient
    if updates and not (signal and signal.layers == updates.layers) and not weights:
        told.append(f"in {numbered(updates.layers)} updates are {times(updates.shift)}")
    return told


def _when(found: Sequence[Change], steps: Sequence[int]) -> str:
    """Whether the change is there from the start, and so where to look for it."""
    gone = {change.key.statistic for change in found if change.reason == MISSING}
    if gone & {"layer", "network"} or len(gone) == len({change.key.statistic for change in found}):
        return ""
    if (steps and steps[0] > 0) or not steps:
        since = f"first seen at step {steps[0]}" if steps else "only seen in the final loss"
        return f"nothing changed at step 0 ({since}): look at the optimizer, the learning rate and the training data"
    first = {change.key.statistic for change in found if change.key.step == FIRST}
    if first == {"update_ratio"}:
        return (
            "at step 0 gradients and activations are as they were, updates are not: "
            "look at the optimizer, the learning rate, frozen parameters and hooks on gradients"
        )
    return "it is there at step 0, before any update: look at initialisation, architecture, loss and input"


def _span(changes: Sequence[Change], statistic: str) -> _Span | None:
    """Where a statistic regressed the way in which it changed most; None where it didn't."""
    own = sorted((change for change in changes if change.key.statistic == statistic), key=lambda c: c.key.layer)
    found = [change for change in own if change.verdict == REGRESSION and change.shift]
    if not found:
        return None
    # The farthest shift says what a person would: gradients change more and more on the way.
    farthest = max((_shift(change) for change in found), key=abs)
    layers = tuple(change.key.layer for change in found if _shift(change) * farthest > 0)
    return _Span(layers, tuple(change.key.layer for change in own), farthest, found[0].step)


def _shift(change: Change) -> float:
    """How a statistic shifted; infinitely, where what counts is that it became, or stopped being, exactly 0."""
    before, now = change.zeros
    if before != now and abs(change.shift) <= change.threshold:
        return math.copysign(math.inf, before - now)
    return change.shift


def _owner(span: _Span) -> str:
    if span.everywhere:
        return "all"
    return f"{numbered(span.layers)}:" if len(span.layers) > 1 else f"{numbered(span.layers)}'s"


def _upward(span: _Span) -> str:
    if span.everywhere:
        return "in every layer"
    return f"from layer {span.layers[0]} up" if span.up and len(span.layers) > 1 else f"in {numbered(span.layers)}"


def _downward(span: _Span) -> str:
    if span.everywhere:
        return "in every layer"
    return f"from layer {span.layers[-1]} down" if span.down and len(span.layers) > 1 else f"in {numbered(span.layers)}"


def _later(changes: Sequence[Change], statistic: str, span: _Span) -> str:
    """By how much it changed at the last step, where that is a good deal more."""
    last = max((change.step for change in changes if change.step is not None), default=None)
    then = _span([change for change in changes if change.step == last], statistic)
    if then is None or then.step == span.step or math.isinf(then.shift) or abs(then.shift) < abs(span.shift) + _FAR:
        return ""
    return f" at step {span.step}, {times(then.shift)} at step {then.step}"


def _percent(share: float | None) -> str:
    """A share as `25 %`."""
    return f"{100 * (share or 0):.0f} %"


def _average(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else math.nan
