"""Generated sequences and other data read as sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gradlab.config.schema import Data, Model
from gradlab.engine.datasets import load_arrays
from gradlab.engine.sequences import DISTRACTORS
from gradlab.engine.tasks import Task, make_task
from gradlab.errors import SettingError

HERE = Path(__file__).parent


def task(data: dict[str, Any], **model: Any) -> Task:
    return make_task(Data(**data), HERE, Model(**{"family": "rnn", **model}))


@pytest.mark.parametrize("steps", [2, 3, 20, 101])
def test_the_adding_problem(steps: int) -> None:
    arrays = load_arrays(Data(name="adding", n_samples=500), HERE, steps)
    assert arrays.task == "regression"
    assert arrays.x_train.shape == (400, steps, 2)
    assert arrays.x_eval.shape == (100, steps, 2)
    values, markers = arrays.x_train[..., 0], arrays.x_train[..., 1]
    assert set(np.unique(markers)) <= {0.0, 1.0}
    assert (markers[:, : steps // 2].sum(1) == 1).all()
    assert (markers[:, steps // 2 :].sum(1) == 1).all()
    assert (values >= 0).all()
    assert (values < 1).all()
    for x, y in zip(arrays.x_train, arrays.y_train, strict=True):
        assert y == pytest.approx(sum(value for value, marker in x if marker))
    # The sum of two uniform values has mean 1 and variance 1/6; every place is marked now and then.
    assert arrays.y_train.mean() == pytest.approx(1, abs=0.1)
    assert arrays.y_train.var() == pytest.approx(1 / 6, abs=0.03)
    assert (markers.sum(0) > 0).mean() > 0.95


@pytest.mark.parametrize(("steps", "symbols"), [(2, 2), (3, 8), (30, 5)])
def test_delayed_recall(steps: int, symbols: int) -> None:
    arrays = load_arrays(Data(name="delayed_recall", n_symbols=symbols), HERE, steps)
    assert arrays.task == "multiclass"
    assert arrays.x_train.shape == (800, steps, symbols + DISTRACTORS + 1)
    assert (arrays.x_train.sum(2) == 1).all()
    shown = arrays.x_train.argmax(2)
    assert (shown[:, 0] == arrays.y_train).all()
    assert (shown[:, -1] == symbols + DISTRACTORS).all()
    between = shown[:, 1:-1]
    assert ((between >= symbols) & (between < symbols + DISTRACTORS)).all()
    assert len(np.unique(between)) == (DISTRACTORS if steps > 2 else 0)
    counts = np.bincount(np.concatenate([arrays.y_train, arrays.y_eval]))
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("name", ["adding", "delayed_recall"])
def test_generated_sequences_follow_their_seed(name: str) -> None:
    one, same, other = (load_arrays(Data(name=name, split_seed=seed), HERE, 9) for seed in (1, 1, 2))  # type: ignore[arg-type]
    assert np.array_equal(one.x_train, same.x_train)
    assert not np.array_equal(one.x_train, other.x_train)


@pytest.mark.parametrize("name", ["adding", "delayed_recall"])
def test_one_time_step_is_too_few(name: str) -> None:
    with pytest.raises(SettingError, match=r"model.sequence_length: must be at least 2.*it is 1"):
        load_arrays(Data(name=name), HERE, 1)  # type: ignore[arg-type]


def test_generated_sequences_stay_as_they_are_or_are_standardised_by_feature() -> None:
    plain = task({"name": "adding"}, sequence_length=11)
    assert plain.x_train.shape == (800, 11, 2)
    assert plain.in_features == 2
    assert plain.out_features == 1
    assert plain.x_train[..., 0].mean().item() == pytest.approx(0.5, abs=0.02)
    scaled = task({"name": "adding", "standardize": True}, sequence_length=11)
    assert scaled.x_train.double().mean((0, 1)).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert scaled.x_train.double().square().mean((0, 1)).tolist() == pytest.approx([1, 1], rel=1e-5)
    deviation = plain.x_train.double().flatten(0, 1).std(0, correction=0)
    wanted = (plain.x_eval.double() - plain.x_train.double().mean((0, 1))) / deviation
    assert torch.allclose(scaled.x_eval.double(), wanted, atol=1e-5)
    assert torch.equal(scaled.y_train, plain.y_train)


def test_a_constant_feature_of_sequences_becomes_0() -> None:
    """With two time steps, one in each half, every time step is marked."""
    scaled = task({"name": "adding", "standardize": True}, sequence_length=2)
    assert (scaled.x_train[..., 1] == 0).all()


def test_images_are_read_row_by_row() -> None:
    images, sequences = task({"name": "digits"}, family="mlp"), task({"name": "digits"})
    assert sequences.x_train.shape == (1437, 8, 8)
    assert torch.equal(sequences.x_train, images.x_train[:, 0])
    assert sequences.in_features == 8
    assert (sequences.kind, sequences.out_features) == ("multiclass", 10)
    assert torch.equal(task({"name": "digits"}, family="transformer").x_train, sequences.x_train)


def test_channels_stand_side_by_side_in_a_row(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((12, 3, 4, 5))
    np.savez(tmp_path / "d.npz", x_train=x, y_train=np.arange(12.0), x_eval=x, y_eval=np.arange(12.0))
    data = Data(name="npz", path="d.npz", task="regression", standardize=False)
    sequences = make_task(data, tmp_path, Model(family="rnn")).x_train
    assert sequences.shape == (12, 4, 15)
    for channel in range(3):
        own = torch.as_tensor(x[:, channel], dtype=torch.float32)
        assert torch.equal(sequences[:, :, 5 * channel : 5 * channel + 5], own)


def test_flat_features_are_one_each_time_step_or_cut_as_told() -> None:
    flat = task({"name": "gaussian"}, family="mlp").x_train
    assert torch.equal(task({"name": "gaussian"}).x_train, flat[:, :, None])
    cut = task({"name": "gaussian"}, sequence_length=5)
    assert torch.equal(cut.x_train, flat.view(-1, 5, 4))
    assert cut.in_features == 4
    assert torch.equal(
        task({"name": "digits"}, sequence_length=64).x_train[..., 0], task({"name": "digits"}).x_train.flatten(1)
    )


def test_a_length_that_does_not_divide_the_features_is_told() -> None:
    with pytest.raises(
        SettingError, match=r"must divide the 20 features of an example of 'gaussian'.*it is 3"
    ) as caught:
        task({"name": "gaussian"}, sequence_length=3)
    assert (caught.value.setting, caught.value.value) == ("model.sequence_length", 3)


def test_a_custom_model_reads_generated_sequences_and_leaves_other_data_alone() -> None:
    custom = {"family": "custom", "factory": "a.py:f"}
    assert task({"name": "adding"}, sequence_length=7, **custom).x_train.shape == (800, 7, 2)
    assert task({"name": "gaussian"}, **custom).x_train.shape == (800, 20)


@pytest.mark.parametrize("name", ["adding", "delayed_recall"])
def test_a_small_gated_network_learns_them(name: str) -> None:
    """At 8 time steps, which is short: better than the best constant answer by far."""
    data = task({"name": name}, sequence_length=8)
    torch.manual_seed(0)
    layer, top = torch.nn.GRU(data.in_features, 24, batch_first=True), torch.nn.Linear(24, data.out_features)
    optimizer = torch.optim.Adam([*layer.parameters(), *top.parameters()], 0.02)
    loss_of = torch.nn.functional.mse_loss if data.kind == "regression" else torch.nn.functional.cross_entropy
    for _ in range(200):
        optimizer.zero_grad()
        loss_of(top(layer(data.x_train)[0][:, -1]), data.y_train).backward()
        optimizer.step()
    output = top(layer(data.x_eval)[0][:, -1]).detach()
    if data.kind == "regression":
        assert (output - data.y_eval).square().mean() < 1 / 60
    else:
        assert (output.argmax(1) == data.y_eval).double().mean() > 0.9
