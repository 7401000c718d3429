"""The plain loop of the benchmarks does the engine's work: otherwise their times could not be compared."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import yardstick
from benchmarks.speed.cases import Case, as_plain, digits
from benchmarks.speed.in_process import first_stack, run_engine, run_loop
from benchmarks.speed.plain import networks, records, training
from gradlab.engine.history import TrialHistory
from gradlab.engine.tasks import Task

MLP = Case(2, width=24, depth=4, steps=11, every=5, probe=300)
CNN = Case(2, width=6, depth=3, steps=11, every=5, probe=100, family="cnn")
STEPS = [0, 5, 10]

Data = tuple[Task, networks.Digits]
Histories = list[tuple[training.History, TrialHistory]]


@pytest.fixture(scope="module")
def data() -> Data:
    return digits()


def both(case: Case, data: Data) -> Histories:
    """The same seeds one after another, and in one stack."""
    task, images = data
    stack = first_stack(case.expanded(), task)
    _, stacked = run_engine(stack, task)
    return [(run_loop(as_plain(trial), images)[1], own) for trial, own in zip(stack.trials, stacked, strict=True)]


def test_the_loop_loads_the_data_that_gradlab_trains_on(data: Data) -> None:
    task, _ = data
    loaded = networks.load_digits()
    torch.testing.assert_close(loaded.x_train, task.x_train)
    torch.testing.assert_close(loaded.x_eval, task.x_eval)
    assert torch.equal(loaded.y_train, task.y_train)
    assert torch.equal(loaded.y_eval, task.y_eval)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("case", [MLP, CNN], ids=["mlp", "cnn"])
def test_loop_and_engine_reach_the_same_losses(case: Case, optimizer: str, data: Data) -> None:
    for plain, engine in both(replace(case, optimizer=optimizer), data):
        assert plain.steps == list(engine.steps) == STEPS
        for index, name in enumerate(records.STEP_COLUMNS):
            one_example = 1 / len(data[1].y_eval) if name == "eval_metric" else 0.0
            expected = engine.step_values[name]
            found = plain.step_values[:, index]
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1.01 * one_example, err_msg=name)
        losses = [engine.finals[name] for name in ("final_train_loss", "final_eval_loss")]
        np.testing.assert_allclose(plain.finals[:2], losses, rtol=1e-3)


@pytest.mark.parametrize("activation", networks.NONLINEARITIES)
@pytest.mark.parametrize("case", [MLP, CNN], ids=["mlp", "cnn"])
def test_the_loop_records_what_the_engine_records(case: Case, activation: str, data: Data) -> None:
    # What float32 saw as 0 although it is not can't be told from float32 alone: the loop counts all zeros.
    pairs = case.width * case.probe * (64 if case.family == "cnn" else 1)
    for plain, engine in both(replace(case, activation=activation), data):
        for index, name in enumerate(records.LAYER_COLUMNS):
            if name != "float32_zero_fraction":
                few_pairs = 2 / pairs if name == "saturated_fraction" else 1e-6
                found, expected = plain.layer_values[0, index], engine.layer_values[name][0]
                np.testing.assert_allclose(found, expected, rtol=1e-3, atol=few_pairs, err_msg=name)


def test_units_that_no_gradient_reaches_are_found_behind_convolutions(data: Data) -> None:
    trial = as_plain(replace(CNN, depth=2).expanded()[0])
    network = networks.build(trial, 1, 10)
    first, second = (layer for layer in network if isinstance(layer, torch.nn.Conv2d))
    with torch.no_grad():
        second.weight[:, 3] = 0.0
        first.bias += 10.0
    column = records.look_at_probe(network, trial, data[1])[-1]
    assert column[0] == 1
    assert column[1] == 0


def test_a_batch_larger_than_the_training_set_is_all_of_it() -> None:
    batches = training.minibatches(5, 8, seed=0)
    assert sorted(next(batches).tolist()) == sorted(next(batches).tolist()) == list(range(5))


def test_flops_are_those_that_torch_counts() -> None:
    trial = as_plain(replace(MLP, batch_size=32).expanded()[0])
    network = networks.build(trial, 17, 7)
    with FlopCounterMode(display=False) as counter:
        F.cross_entropy(network(torch.randn(32, 17)), torch.randint(7, (32,))).backward()
    assert yardstick.training_flops(17, trial.width, trial.depth, 7, 32) == counter.get_total_flops()
