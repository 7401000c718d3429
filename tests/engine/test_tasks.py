"""Tasks: standardisation, targets, losses and metrics, against numpy, torch and scikit-learn."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, r2_score
from sklearn.preprocessing import StandardScaler

from gradlab.config.schema import Data
from gradlab.engine.datasets import load_arrays
from gradlab.engine.tasks import Task, example_losses, make_task, metric
from gradlab.errors import SettingError

NAMES = ["digits", "breast_cancer", "diabetes", "moons", "spirals", "gaussian", "multilabel"]
KINDS = ["multiclass", "binary", "multilabel", "regression"]


def npz_task(folder: Path, task: str = "regression", *, standardize: bool = True, **arrays: Any) -> Task:
    random = np.random.default_rng(1)
    filled = {
        "x_train": random.standard_normal((6, 3)),
        "y_train": np.arange(6) % 2,
        "x_eval": random.standard_normal((4, 3)),
        "y_eval": np.arange(4) % 2,
        **arrays,
    }
    np.savez(folder / "data.npz", **filled)
    return make_task(Data(name="npz", path="data.npz", task=task, standardize=standardize), folder)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_standardised_as_scikit_learn_does_from_the_training_split(name: str) -> None:
    data = Data(name=name)  # type: ignore[arg-type]
    task, raw = make_task(data, Path()), load_arrays(data, Path())
    flat = [np.asarray(x, np.float64).reshape(len(x), -1) for x in (raw.x_train, raw.x_eval)]
    scaler = StandardScaler().fit(flat[0])
    constant = flat[0].std(axis=0) == 0
    for expected, found in zip(map(scaler.transform, flat), (task.x_train, task.x_eval), strict=True):
        expected[:, constant] = 0.0
        np.testing.assert_allclose(found.flatten(1).numpy(), expected, rtol=1e-5, atol=1e-5)
    deviation = task.x_train.flatten(1).double().std(dim=0, correction=0).numpy()
    np.testing.assert_allclose(deviation, np.where(constant, 0.0, 1.0), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_types_shapes_and_moments(name: str) -> None:
    task = make_task(Data(name=name), Path())  # type: ignore[arg-type]
    raw = load_arrays(Data(name=name), Path())  # type: ignore[arg-type]
    assert task.x_train.dtype == task.x_eval.dtype == torch.float32
    assert task.y_train.dtype == (torch.int64 if task.kind == "multiclass" else torch.float32)
    assert task.y_train.shape == ((len(task.x_train),) if name == "digits" else (len(task.x_train), task.out_features))
    assert task.out_features == {"digits": 10, "multilabel": 5}.get(name, 1)
    assert task.in_features == math.prod(raw.x_train.shape[1:])
    assert task.metric == ("R^2" if name == "diabetes" else "accuracy")
    assert task.y_eval.reshape(-1).tolist() == pytest.approx(raw.y_eval.reshape(-1).tolist(), rel=1e-6)
    x = task.x_train.double().flatten(1)
    assert task.input_second_moment == pytest.approx(float(x.square().mean()), rel=1e-5)
    assert task.input_variance == pytest.approx(float(x.var(dim=0, correction=0).mean()), rel=1e-5)


def test_digits_stay_images() -> None:
    task = make_task(Data(name="digits"), Path())
    assert task.x_train.shape[1:] == task.x_eval.shape[1:] == (1, 8, 8)


def test_images_without_channels_get_one(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((10, 4, 5))
    task = npz_task(tmp_path, x_train=x[:6], x_eval=x[6:], standardize=False)
    assert task.x_train.shape == (6, 1, 4, 5)
    np.testing.assert_allclose(task.x_train[:, 0].numpy(), x[:6], rtol=1e-6)


def test_constant_features_are_0_in_both_splits(tmp_path: Path) -> None:
    x = np.array([[0.1, 1.0, 1e9], [0.1, 2.0, 1e9], [0.1, 4.0, 1e9], [0.1, 5.0, 1e9]])
    other = np.array([[0.3, 3.0, -1.0], [0.1, 3.0, 1e9]])
    targets = {"y_train": np.arange(4.0), "y_eval": np.arange(2.0)}
    task = npz_task(tmp_path, x_train=x, x_eval=other, **targets)
    assert task.x_train[:, [0, 2]].tolist() == [[0.0, 0.0]] * 4
    assert task.x_eval.tolist() == [[0.0, 0.0, 0.0]] * 2
    deviation = math.sqrt(2.5)  # of 1, 2, 4, 5 around 3, over four examples
    assert task.x_train[:, 1].tolist() == pytest.approx([-2 / deviation, -1 / deviation, 1 / deviation, 2 / deviation])


def test_the_evaluation_split_has_no_say_in_standardisation(tmp_path: Path) -> None:
    x = np.random.default_rng(3).standard_normal((6, 3))
    first, second = (npz_task(tmp_path, x_train=x, x_eval=scale * np.ones((4, 3))) for scale in (1.0, 1000.0))
    assert torch.equal(first.x_train, second.x_train)
    expected = (1000 - torch.from_numpy(x).mean(0)) / torch.from_numpy(x).std(0, correction=0)
    torch.testing.assert_close(second.x_eval[0].double(), expected, rtol=1e-6, atol=0.0)


def test_not_standardised_features_are_left_alone(tmp_path: Path) -> None:
    x = np.array([[3.0, -7.0, 100.0]] * 6)
    task = npz_task(tmp_path, x_train=x, standardize=False)
    assert task.x_train.tolist() == x.tolist()
    assert task.input_second_moment == pytest.approx((9 + 49 + 10_000) / 3)
    assert task.input_variance == 0.0


@pytest.mark.parametrize(
    "change",
    [
        {"x_train": np.full((6, 3), 1e39)},
        {"x_eval": np.full((4, 3), 1e39)},
        {"y_train": np.array([0, 1, 2, 3, 4, 1e39])},
    ],
    ids=["x_train", "x_eval", "y_train"],
)
def test_numbers_beyond_float32_are_an_error_of_the_setting_not_inf(tmp_path: Path, change: Any) -> None:
    with pytest.raises(SettingError) as caught:
        npz_task(tmp_path, standardize=False, **change)
    assert caught.value.setting == "data.path"


def test_classes_are_counted_over_both_splits(tmp_path: Path) -> None:
    task = npz_task(tmp_path, "multiclass", y_train=np.array([0, 1, 0, 1, 0, 1]), y_eval=np.array([0, 4, 1, 0]))
    assert task.out_features == 5
    only = npz_task(tmp_path, "multiclass", y_train=np.zeros(6, int), y_eval=np.zeros(4, int))
    assert only.out_features == 2


TORCH_LOSSES = {
    "multiclass": F.cross_entropy,
    "binary": F.binary_cross_entropy_with_logits,
    "multilabel": F.binary_cross_entropy_with_logits,
    "regression": F.mse_loss,
}


def outputs_and_targets(kind: str, trials: int, examples: int, outputs: int, seed: int) -> tuple[Any, Any]:
    g = torch.Generator().manual_seed(seed)
    outputs = 1 if kind == "binary" else outputs + (kind == "multiclass")
    output = 3 * torch.randn(trials, examples, outputs, generator=g)
    if kind == "multiclass":
        return output, torch.randint(0, outputs, (trials, examples), generator=g)
    if kind == "regression":
        return output, torch.randn(output.shape, generator=g)
    return output, torch.randint(0, 2, output.shape, generator=g).float()


shapes = {
    "kind": st.sampled_from(KINDS),
    "trials": st.integers(1, 3),
    "examples": st.integers(1, 20),
    "outputs": st.integers(1, 4),
    "seed": st.integers(0, 999),
}


@settings(deadline=None, max_examples=100)
@given(**shapes)
def test_losses_are_torchs(kind: str, trials: int, examples: int, outputs: int, seed: int) -> None:
    output, target = outputs_and_targets(kind, trials, examples, outputs, seed)
    output.requires_grad_()
    losses = example_losses(kind, output, target)
    assert losses.shape == (trials, examples)
    for trial in range(trials):
        expected = TORCH_LOSSES[kind](output[trial], target[trial])
        torch.testing.assert_close(losses[trial].mean(), expected)
        for example in range(examples):
            alone = TORCH_LOSSES[kind](output[trial, example : example + 1], target[trial, example : example + 1])
            torch.testing.assert_close(losses[trial, example], alone)
        (found,) = torch.autograd.grad(losses[trial].mean(), output, retain_graph=True)
        (wanted,) = torch.autograd.grad(expected, output)
        torch.testing.assert_close(found, wanted)


@settings(deadline=None, max_examples=100)
@given(**shapes)
def test_metrics_are_scikit_learns(kind: str, trials: int, examples: int, outputs: int, seed: int) -> None:
    output, target = outputs_and_targets(kind, trials, examples + 1, outputs, seed)
    if kind == "multiclass" and seed % 2:
        output = output.round()  # of equal outputs the first class is chosen
    if seed % 3:
        output = output.mT.contiguous().mT
    found = metric(kind, output, target)
    assert found.shape == (trials,)
    assert found.dtype == torch.float64
    for trial in range(trials):
        predicted, truth = output[trial].double(), target[trial].double()
        if kind == "regression":
            expected = r2_score(truth.numpy(), predicted.numpy())
        elif kind == "multiclass":
            expected = accuracy_score(truth.numpy(), predicted.argmax(1).numpy())
        else:
            expected = accuracy_score(truth.flatten().numpy(), (torch.sigmoid(predicted) > 0.5).flatten().numpy())
        assert float(found[trial]) == pytest.approx(float(expected), rel=1e-6)


def test_r2_of_constant_targets_is_scikit_learns() -> None:
    truth = torch.tensor([[[1.0, 2.0], [1.0, 3.0], [1.0, 4.0]]])
    for first in (1.0, 1.5):
        output = truth.clone()
        output[..., 0] = first
        expected = r2_score(truth[0].numpy(), output[0].numpy())
        assert float(metric("regression", output, truth)) == pytest.approx(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_metric_of_outputs_that_are_nan_is_nan(kind: str) -> None:
    output, target = outputs_and_targets(kind, 2, 5, 3, 0)
    whole = metric(kind, output, target)
    output[0, 2] = math.nan
    found = metric(kind, output, target)
    assert math.isnan(found[0])
    assert found[1] == whole[1]


@pytest.mark.parametrize("kind", ["multiclass", "binary"])
def test_losses_of_confident_wrong_outputs_are_finite(kind: str) -> None:
    output = torch.tensor([[[1e4, -1e4]]]) if kind == "multiclass" else torch.tensor([[[-1e4]]])
    target = torch.tensor([[1]]) if kind == "multiclass" else torch.tensor([[[1.0]]])
    assert float(example_losses(kind, output, target)) == pytest.approx(2e4 if kind == "multiclass" else 1e4)
