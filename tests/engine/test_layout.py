"""Where the parameters of a stack lie in its flat buffer."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradlab.engine.alignment import ALIGNMENT
from gradlab.engine.layout import Layout, Shape
from tests.oracles.network import build_network
from tests.oracles.samples import one_trial, random_data


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    family = draw(st.sampled_from(["mlp", "cnn"]))
    image = (draw(st.integers(1, 4)), draw(st.integers(1, 4))) if family == "cnn" else (1, 1)
    norm = draw(st.sampled_from(["none", "layer", "batch"]))
    features, width, outputs = draw(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5)))
    depths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    return Layout(Shape(family, image, features, width, outputs, norm, False), tuple(sorted(depths, reverse=True)))


@settings(deadline=None)
@given(layouts())
def test_every_parameter_has_a_place_of_its_own(layout: Layout) -> None:
    flat = torch.zeros(layout.size)
    marks = 0
    for layer in layout.views(flat):
        for tensor in layer.tensors():
            tensor += 1
            marks += tensor.numel()
    assert set(flat.unique().tolist()) <= {0.0, 1.0}
    assert flat.sum() == marks == sum(layout.parameters(trial) for trial in range(len(layout.depths)))


@settings(deadline=None)
@given(layouts())
def test_every_trial_starts_on_a_vectors_boundary(layout: Layout) -> None:
    flat = torch.zeros(layout.size)
    for layer in layout.views(flat):
        for trial in range(len(layer.weight)):
            assert layer.weight[trial].storage_offset() % ALIGNMENT == 0
    assert layout.size % ALIGNMENT == 0


@settings(deadline=None)
@given(layouts(), st.data())
def test_segments_hold_all_parameters_of_their_trials_and_no_others(layout: Layout, data: st.DataObject) -> None:
    groups = [data.draw(st.sampled_from("abc")) for _ in layout.depths]
    flat = torch.zeros(layout.size)
    numbers = {group: number for number, group in enumerate("abc", start=1)}
    segments = layout.segments(groups)
    assert len(segments) == len(layout.blocks)
    for block, of_layer in zip(layout.blocks, segments, strict=True):
        assert set(of_layer) == set(groups[: block.trials])
        for group, pieces in of_layer.items():
            for start, stop in pieces:
                assert start % ALIGNMENT == stop % ALIGNMENT == 0
                assert block.start <= start < stop <= block.stop
                assert (flat[start:stop] == 0).all(), "segments overlap"
                flat[start:stop] = numbers[group]
            assert all(stop < start for (_, stop), (start, _) in pairwise(pieces)), "not joined"
    assert (flat != 0).all()
    for layer in layout.views(flat):
        for tensor in layer.tensors():
            for trial, values in enumerate(tensor):
                assert (values == numbers[groups[trial]]).all()


def test_trials_must_stand_from_the_deepest_to_the_shallowest() -> None:
    with pytest.raises(ValueError, match="deepest"):
        Layout(Shape("mlp", (1, 1), 2, 3, 1, "none", False), (1, 2))


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
@pytest.mark.parametrize("family", ["mlp", "cnn"])
def test_initial_parameters_are_the_plain_networks(family: str, norm: str) -> None:
    shape: tuple[int, ...] = (2, 3, 4) if family == "cnn" else (5,)
    data = random_data("multiclass", *shape)
    trials = [
        one_trial(seed=seed, model={"family": family, "norm": norm, "depth": depth, "width": 3, "init": init})
        for seed, depth, init in (
            (4, 3, "he_normal"),
            (1, 2, "pytorch_default"),
            (7, 1, {"name": "normal", "sigma_b": 1}),
        )
    ]
    image = (3, 4) if family == "cnn" else (1, 1)
    layout = Layout(Shape(family, image, shape[0], 3, 3, norm, False), tuple(trial.model.depth for trial in trials))
    flat = layout.initial(trials)
    views = layout.views(flat)
    for index, trial in enumerate(trials):
        network = build_network(trial, data)
        own: list[Any] = [*views[: trial.model.depth], views[-1]]
        for layer, (weight, bias) in zip(own, network.weights_and_biases, strict=True):
            # A convolution's fan_in runs over rows, columns and, innermost, channels.
            matrix = weight.movedim(1, -1).reshape(len(weight), -1).T
            assert torch.equal(layer.weight[index], matrix)
            assert torch.equal(layer.bias[index, 0], bias)
        for layer in own[:-1]:
            assert norm == "none" or (layer.gain[index] == 1).all()
            assert norm == "none" or (layer.shift[index] == 0).all()
        assert layout.parameters(index) == sum(parameter.numel() for parameter in network.parameters())
