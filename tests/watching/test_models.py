"""Models of all kinds: shared modules, tied weights, functional activations, other arguments and outputs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gradlab
from tests.watching.loops import CLASSES, EXAMPLES, assert_alike, data, loss, network, plainly, recorded
from tests.watching.recorded import by_key, column, follow, is_null, trial
from tests.watching.twin import Part, of_module


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(30)


def test_a_module_used_twice_has_one_row(tmp_path: Path) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.entry, self.shared, self.head = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, CLASSES)
            self.tanh, self.relu = nn.Tanh(), nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Any:
            h = self.tanh(self.entry(x))
            return self.head(self.relu(self.shared(self.relu(self.shared(h)))))

    parts = [
        of_module("entry", 1, 6, activation="tanh"),
        of_module("shared", 2, 6, activation="relu"),
        of_module("head", 3, CLASSES, is_output=True),
    ]
    model = Twice()
    nn.init.constant_(model.shared.bias[:2], -9.0)  # dead in both uses
    singles = [(data()[0][i : i + 1], data()[1][i : i + 1]) for i in range(EXAMPLES)]
    follow(model, data(), loss, parts, tmp_path / "run", examples=EXAMPLES, singles=singles)
    assert by_key(tmp_path / "run", 0)["layer", "shared", 2]["dead_units"] >= 2


def test_tied_weights(tmp_path: Path) -> None:
    """Both modules have a row of their own use; the weight's gradient is that of all uses, as the optimizer sees it."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(11, 6)
            self.mix = nn.Linear(6, 6)
            self.head = nn.Linear(6, 11, bias=False)
            self.head.weight = self.words.weight

        def forward(self, words: Tensor) -> Any:
            return self.head(torch.tanh(self.mix(self.words(words))))

    words = torch.randint(0, 11, (6, 4))

    def next_word(model: nn.Module, batch: Any) -> Tensor:
        scores = model(batch[0][:, :-1])
        return F.cross_entropy(scores.flatten(0, 1), batch[0][:, 1:].flatten())

    parts = [
        Part("words", 1, 6, ["words.weight"]),
        of_module("mix", 2, 6),
        Part("head", 3, 11, ["words.weight"], is_output=True),
    ]
    singles = [(words[i : i + 1],) for i in range(6)]
    follow(Tied(), (words,), next_word, parts, tmp_path / "run", examples=6, singles=singles)


def test_functional_activations(tmp_path: Path) -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.head = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, CLASSES)

        def forward(self, x: Tensor) -> Any:
            return self.head(torch.tanh(self.second(F.relu(self.first(x)))))

    parts = [of_module("first", 1, 6), of_module("second", 2, 6), of_module("head", 3, CLASSES, is_output=True)]
    singles = [(data()[0][i : i + 1], data()[1][i : i + 1]) for i in range(EXAMPLES)]
    follow(Functional(), data(), loss, parts, tmp_path / "run", examples=EXAMPLES, singles=singles)
    assert is_null(trial(tmp_path / "run")["dead_fraction"])


@dataclass
class Named:
    scores: Tensor
    hidden: list[Tensor]


PACKED: dict[str, Callable[[Tensor], Any]] = {
    "dict": lambda tensor: {"first": tensor, "nothing": None},
    "tuple": lambda tensor: (tensor, (None, [tensor])),
    "list": lambda tensor: [None, tensor],
    "dataclass": lambda tensor: Named(tensor, [tensor]),
}

UNPACKED: dict[str, Callable[[Any], Tensor]] = {
    "dict": lambda value: value["first"],
    "tuple": lambda value: value[0],
    "list": lambda value: value[1],
    "dataclass": lambda value: value.scores,
}


@pytest.mark.parametrize("by_keyword", [True, False])
@pytest.mark.parametrize("kind", PACKED)
def test_models_with_other_signatures(kind: str, by_keyword: bool, tmp_path: Path) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, inputs: Any, mask: Tensor | None = None) -> Any:
            return PACKED[kind](self.inner(UNPACKED[kind](inputs)))

    def loop(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        inputs = PACKED[kind](data()[0])
        output = model(inputs=inputs, mask=None) if by_keyword else model(inputs)
        F.cross_entropy(UNPACKED[kind](output), data()[1]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    plain = recorded(plainly, tmp_path / "plain")
    found = recorded(loop, tmp_path / "run", Model())
    assert_alike({(k, f"inner.{name}", n): row for (k, name, n), row in plain.items()}, found)
    assert trial(tmp_path / "run")["batch_size"] == EXAMPLES


def test_inputs_that_are_no_tensors(tmp_path: Path) -> None:
    """The first layer's output then tells how many examples there are."""

    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, texts: list[str]) -> Any:
            return self.inner(torch.tensor([[float(len(word)) for word in text.split()] for text in texts]))

    def loop(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        model(["what is it that vanishes", "the signal from above it", "a b c d e"]).square().mean().backward()
        optimizer.step()

    recorded(loop, tmp_path / "run", Words())
    assert trial(tmp_path / "run")["batch_size"] == 3


def test_packed_sequences_as_inputs(tmp_path: Path) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(5, 4), nn.Linear(4, CLASSES)

        def forward(self, packed: Any) -> Any:
            return self.head(self.lstm(packed)[1][0][-1])

    def loop(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        sequences = [torch.randn(length, 5) for length in (4, 3, 1)]
        model(nn.utils.rnn.pack_sequence(sequences)).square().mean().backward()
        optimizer.step()

    recorded(loop, tmp_path / "run", Model())
    assert trial(tmp_path / "run")["batch_size"] == 3


def test_the_examples_may_stand_in_another_dimension(tmp_path: Path) -> None:
    def loop(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        x = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(33))  # [time, example, feature]
        model(x).square().sum(2).mean(1).sum().backward()
        optimizer.step()

    recorded(loop, tmp_path / "run", batch_dim=1)
    recorded(loop, tmp_path / "other")
    one, other = (column(tmp_path / name, "delta_rms") for name in ("run", "other"))
    assert trial(tmp_path / "run")["batch_size"] == 6
    for name, value in one.items():
        assert value == pytest.approx(other[name] * (6 / 4) ** 0.5, rel=1e-6)


@pytest.mark.parametrize("shape", [(2,), (1, 2), (1, 1, 2, 2)])
def test_tensors_that_all_examples_share_do_not_count_them(shape: tuple[int, ...], tmp_path: Path) -> None:
    shared = torch.ones(shape)

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, mask: Tensor, x: Tensor) -> Any:
            return self.inner(x)

    x, y = data()
    model = Masked()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradlab.watch(model, optimizer, out=tmp_path / "run"):
        F.cross_entropy(model(shared, x), y).backward()
        optimizer.step()
    assert trial(tmp_path / "run")["batch_size"] == len(x) != len(shared)


@pytest.mark.parametrize("normalise", ["weight_norm", "spectral_norm"])
def test_older_hooks_that_compute_a_weight(normalise: str, tmp_path: Path) -> None:
    model = network()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch would rather have parametrizations
        getattr(nn.utils, normalise)(model[0])
    x, y = data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradlab.watch(model, optimizer, out=tmp_path / "run") as recorder:
        F.cross_entropy(model(x), y).backward()
        expected = torch.cat([p.grad.flatten() for n, p in model[0].named_parameters() if n != "bias"]).norm().item()
        optimizer.step()
    assert recorder.notes == []
    layers = pd.read_parquet(tmp_path / "run" / "layers")
    assert layers["name"].iloc[0] == "0"
    assert layers["weight_grad_norm"].iloc[0] == pytest.approx(expected, rel=1e-4)
