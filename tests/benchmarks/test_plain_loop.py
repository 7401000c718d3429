"""The plain loop of the benchmarks does the engine's work: otherwise their times could not be compared."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import plain_loop, yardstick
from gradlab.config.schema import Experiment
from gradlab.config.sweep import expand
from gradlab.engine.activations import make_activation
from gradlab.engine.history import TrialHistory
from gradlab.engine.stacks import Stack
from gradlab.engine.tasks import Task, make_task
from gradlab.engine.train import train

DEPTH, WIDTH, STEPS, PROBE = 4, 24, 11, 300
RATES = {"sgd": 0.05, "adam": 0.001}
SEEDS = 2


@pytest.fixture(scope="module")
def task() -> Task:
    return make_task(Experiment().data, Path())


@pytest.fixture(scope="module")
def data() -> plain_loop.Digits:
    return plain_loop.load_digits()


def stacked(task: Task, activation: str, optimizer: str) -> list[TrialHistory]:
    """Some seeds in one stack."""
    experiment = Experiment.model_validate(
        {
            "model": {"depth": DEPTH, "width": WIDTH, "activation": activation, "init": "he_normal"},
            "train": {"steps": STEPS, "batch_size": 64, "optimizer": optimizer, "lr": RATES[optimizer]},
            "record": {"every": 5, "probe": PROBE},
            "seeds": SEEDS,
        }
    )
    trials = expand(experiment)
    choice = trials[0].model.activation
    return train(Stack(tuple(trials)), task, {choice.label: make_activation(choice)})


def looped(data: plain_loop.Digits, activation: str, optimizer: str) -> list[plain_loop.History]:
    """The same seeds one after another."""
    rate = RATES[optimizer]
    trials = [
        plain_loop.Trial(seed, DEPTH, WIDTH, activation, optimizer, rate, 64, STEPS, 5, PROBE) for seed in range(SEEDS)
    ]
    return [plain_loop.train(trial, data) for trial in trials]


def test_the_loop_loads_the_data_that_gradlab_trains_on(task: Task, data: plain_loop.Digits) -> None:
    torch.testing.assert_close(data.x_train, task.x_train.flatten(1))
    torch.testing.assert_close(data.x_eval, task.x_eval.flatten(1))
    assert torch.equal(data.y_train, task.y_train)
    assert torch.equal(data.y_eval, task.y_eval)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_loop_and_engine_reach_the_same_losses(optimizer: str, task: Task, data: plain_loop.Digits) -> None:
    for plain, engine in zip(looped(data, "relu", optimizer), stacked(task, "relu", optimizer), strict=True):
        assert plain.steps == list(engine.steps) == [0, 5, 10]
        for index, name in enumerate(plain_loop.STEP_COLUMNS):
            one_example = 1 / len(data.y_eval) if name == "eval_metric" else 0.0
            expected = engine.step_values[name]
            found = plain.step_values[:, index]
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1.01 * one_example, err_msg=name)
        losses = [engine.finals[name] for name in ("final_train_loss", "final_eval_loss")]
        np.testing.assert_allclose(plain.finals[:2], losses, rtol=1e-3)


@pytest.mark.parametrize("activation", plain_loop.NONLINEARITIES)
def test_the_loop_records_what_the_engine_records(activation: str, task: Task, data: plain_loop.Digits) -> None:
    # What float32 saw as 0 although it is not can't be told from float32 alone: the loop counts all zeros.
    for plain, engine in zip(looped(data, activation, "sgd"), stacked(task, activation, "sgd"), strict=True):
        for index, name in enumerate(plain_loop.LAYER_COLUMNS):
            if name != "float32_zero_fraction":
                few_pairs = 2 / (WIDTH * PROBE) if name == "saturated_fraction" else 1e-6
                found, expected = plain.layer_values[0, index], engine.layer_values[name][0]
                np.testing.assert_allclose(found, expected, rtol=1e-3, atol=few_pairs, err_msg=name)


def test_flops_are_those_that_torch_counts() -> None:
    trial = plain_loop.Trial(0, DEPTH, WIDTH, "relu", "sgd", 0.1, 32, 1, 1, 1)
    network = plain_loop.build(trial, 17, 7)
    with FlopCounterMode(display=False) as counter:
        F.cross_entropy(network(torch.randn(32, 17)), torch.randint(7, (32,))).backward()
    assert yardstick.training_flops(17, WIDTH, DEPTH, 7, 32) == counter.get_total_flops()
