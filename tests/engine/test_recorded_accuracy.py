"""Every number of every record is right, in every regime, from the very weights that training has at that step.

What "right" means stands in `tests.oracles.accuracy`; the regimes in `adversaries`. Trials whose learning rate is 0
keep their weights, so that all their records can be judged, and so can those whose weights are halved exactly.

`ACCURACY_GROUPS=START:STOP` searches further, from 1000 on in settings as extreme as they come: of 300 groups some
twenty disagree there. Features lie near 1e-42 in them or weights near 1e18, where float32 itself knows little.
"""

from __future__ import annotations

import math
import os

import pytest
import torch

from gradlab.config.sweep import Trial
from gradlab.engine import layout
from gradlab.engine.history import TrialHistory
from tests.engine.adversaries import Group, group, label
from tests.engine.comparison import as_task
from tests.engine.regimes import CAUGHT, REGIMES
from tests.engine.stacking import alone, bit_differences, stacked
from tests.oracles.accuracy import Allowed, Judgement, Place, judgement
from tests.oracles.deep import norm
from tests.oracles.network import PlainNetwork, build_network, loss
from tests.oracles.plain import minibatches
from tests.oracles.samples import with_weights

ANYTHING = Allowed(-math.inf, math.inf)


def wrong(group: Group) -> list[str]:
    """Everything that the engine says of the group's trials and must not, and what depends on the stack."""
    found = []
    task = as_task(group.data)
    with pytest.MonkeyPatch.context() as patch:
        drawn = layout.draw_weights
        patch.setattr(layout, "draw_weights", lambda *arguments: group.changed(drawn(*arguments)))
        histories = stacked(group.trials, task)
        own = {trial.trial_id: alone(trial, task) for trial in group.trials}
    for trial in group.trials:
        judged = judgement(trial, group.data, start(group, trial), known_weights=group.known_weights)
        history = histories[trial.trial_id]
        told = [f"in a stack: {name}" for name in bit_differences(history, own[trial.trial_id])]
        told += outside(history, judged)
        found += [f"{group.about} | {label(trial)} | {one}" for one in told]
    return found


def start(group: Group, trial: Trial) -> PlainNetwork:
    """The network from which a trial of the group starts."""
    network = build_network(trial, group.data)
    drawn = [(weight.detach(), bias.detach()) for weight, bias in network.weights_and_biases]
    return with_weights(network, group.changed(drawn))


def outside(history: TrialHistory, judged: Judgement) -> list[str]:
    """Which numbers of a history are outside of their ranges."""
    found = []
    until = judged.certain_until
    if until is None and history.diverged_step != judged.diverged_step:
        return [f"diverged at {history.diverged_step}, not {judged.diverged_step}"]
    for (step, layer, column), allowed in judged.ranges.items():
        if until is not None and (step < 0 or step >= until):
            continue
        if step < 0:
            value = history.finals[column]
        elif step not in history.steps:
            found.append(f"no record of step {step}")
            continue
        elif layer == 0:
            value = float(history.step_values[column][history.steps.index(step)])
        elif history.meaningless.get(column) is not None and history.meaningless[column][layer - 1]:
            value = float("nan")
        else:
            value = float(history.layer_values[column][history.steps.index(step), layer - 1])
        if not allowed.holds(value):
            found.append(f"step {step} layer {layer} {column}: {value!r} not in [{allowed.low!r}, {allowed.high!r}]")
    return found


def float32_meter(group: Group, trial: Trial) -> dict[Place, float]:
    """Norms of the gradients that plain float32 training has at step 0, taken in float64."""
    network = start(group, trial)
    batch = next(minibatches(len(group.data.x_train), trial.train.batch_size, trial.seed))
    trace = network.trace(group.data.x_train[batch])
    value = loss(group.data.task, trace.output, group.data.y_train[batch])
    parameters = [parameter for pair in network.weights_and_biases for parameter in pair]
    found = [one.double() for one in torch.autograd.grad(value, [*parameters, *trace.preactivations])]
    table: dict[Place, float] = {}
    for layer in range(1, trial.model.depth + 2):
        table[0, layer, "weight_grad_norm"] = norm(found[2 * layer - 2])
        table[0, layer, "bias_grad_norm"] = norm(found[2 * layer - 1])
        table[0, layer, "delta_rms"] = norm(found[len(parameters) + layer - 1]) * math.sqrt(len(batch))
    return table


def groups() -> range:
    start, _, stop = os.environ.get("ACCURACY_GROUPS", "0:10").partition(":")
    return range(int(start), int(stop))


@pytest.mark.parametrize("name", REGIMES)
def test_regimes(name: str) -> None:
    assert wrong(REGIMES[name]()) == []


@pytest.mark.parametrize("name", CAUGHT)
def test_a_float32_measurement_would_be_caught(name: str) -> None:
    """So the ranges are narrow enough, and nearly every number has one."""
    group = REGIMES[name]()
    wrong_numbers = []
    for trial in group.trials:
        judged = judgement(trial, group.data, start(group, trial), known_weights=group.known_weights)
        if judged.certain_until is None:
            assert len(judged.left_out) < 0.3 * len(judged.ranges)
            found = float32_meter(group, trial).items()
            wrong_numbers += [place for place, value in found if not judged.ranges.get(place, ANYTHING).holds(value)]
    assert wrong_numbers


@pytest.mark.parametrize("seed", groups())
def test_groups_at_random(seed: int) -> None:
    assert wrong(group(seed, deepest=5 if seed < 1000 else 100)) == []
