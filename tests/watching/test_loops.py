"""Loops of all kinds: what a row means where modules are shared, losses several, gradients accumulated or clipped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gradlab
from tests.watching.recorded import Key, assert_close, by_key, column, follow, is_null, steps, trial
from tests.watching.twin import Part, of_module

EXAMPLES, CLASSES = 8, 3

Rows = dict[Key, dict[str, Any]]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(30)


def network() -> nn.Sequential:
    torch.manual_seed(31)
    return nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, CLASSES))


def data(examples: int = EXAMPLES) -> tuple[Tensor, Tensor]:
    return torch.randn(examples, 5, generator=torch.Generator().manual_seed(32)), torch.arange(examples) % CLASSES


def loss(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def recorded(loop: Callable[[nn.Module, torch.optim.Optimizer], None], out: Path, model: nn.Module | None = None,
             **watched: Any) -> Rows:  # fmt: skip
    """The rows of step 0 of a loop; identities and places apart."""
    model = network() if model is None else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradlab.watch(model, optimizer, every=1, out=out, seed=0, **watched):
        loop(model, optimizer)
    told = {"trial_id", "step", "layer", "name", "kind"}
    return {key: {name: value for name, value in row.items() if name not in told}
            for key, row in by_key(out, 0).items()}  # fmt: skip


def plainly(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    loss(model, data()).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def assert_alike(one: Rows, other: Rows, tolerance: float = 1e-5) -> None:
    assert one.keys() == other.keys()
    for key, row in one.items():
        wanted = {name: None if is_null(value) else value for name, value in row.items()}
        assert_close(other[key], wanted, str(key), tolerance)


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


def test_two_losses_one_after_the_other_are_their_sum(tmp_path: Path) -> None:
    def twice(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        output = model(data()[0])
        F.cross_entropy(output, data()[1]).backward(retain_graph=True)  # type: ignore[no-untyped-call]
        (0.1 * output.square().mean()).backward()
        optimizer.step()

    def at_once(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        output = model(data()[0])
        (F.cross_entropy(output, data()[1]) + 0.1 * output.square().mean()).backward()
        optimizer.step()

    def inside(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """The second loss is of a hidden layer."""
        output = model(data()[0])
        losses = F.cross_entropy(output, data()[1]), 0.1 * output.square().mean()
        for place, one in enumerate(losses):
            one.backward(retain_graph=place == 0)  # type: ignore[no-untyped-call]
        optimizer.step()

    expected = recorded(at_once, tmp_path / "sum")
    assert_alike(expected, recorded(twice, tmp_path / "twice"))
    assert_alike(expected, recorded(inside, tmp_path / "inside"))


def test_two_passes_of_the_model_with_a_loss_of_both(tmp_path: Path) -> None:
    """As in contrastive learning: both views go through the model, and the batch is not twice as large."""

    def views(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        x, _ = data()
        (model(x) - model(x.flip(1))).square().sum(1).mean().backward()
        optimizer.step()

    found = recorded(views, tmp_path / "run")
    twin = network().double()
    x = data()[0].double()
    zs = [twin[4](twin[:4](view)) for view in (x, x.flip(1))]
    for z in zs:
        z.retain_grad()
    (zs[0] - zs[1]).square().sum(1).mean().backward()
    norm = sum(float(z.grad.square().sum()) for z in zs) ** 0.5
    assert found["layer", "4", 3]["delta_rms"] == pytest.approx(norm * EXAMPLES**0.5, rel=1e-4)


@pytest.mark.parametrize("pieces", [2, 4])
def test_accumulated_batches_are_one_large_batch(pieces: int, tmp_path: Path) -> None:
    def accumulated(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        x, y = data()
        for own in zip(x.split(EXAMPLES // pieces), y.split(EXAMPLES // pieces), strict=True):
            (loss(model, own) / pieces).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    assert_alike(recorded(plainly, tmp_path / "whole"), recorded(accumulated, tmp_path / "pieces"))
    assert trial(tmp_path / "pieces")["batch_size"] == EXAMPLES


def test_passes_before_any_backward_pass_are_accumulated_too(tmp_path: Path) -> None:
    """The losses of pieces are added up first, and one backward pass goes through all."""

    def added(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        x, y = data()
        pieces = [loss(model, own) for own in zip(x.split(4), y.split(4), strict=True)]
        torch.stack(pieces).mean().backward()
        optimizer.step()

    one, other = recorded(plainly, tmp_path / "whole"), recorded(added, tmp_path / "pieces")
    for key, row in one.items():
        assert other[key]["weight_grad_norm"] == pytest.approx(row["weight_grad_norm"], rel=1e-5)


@pytest.mark.parametrize("clip", [torch.nn.utils.clip_grad_norm_, torch.nn.utils.clip_grad_value_])
def test_gradients_are_those_before_clipping(clip: Any, tmp_path: Path) -> None:
    def clipped(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        loss(model, data()).backward()  # type: ignore[no-untyped-call]
        clip(model.parameters(), 1e-4)
        optimizer.step()

    expected, found = recorded(plainly, tmp_path / "plain"), recorded(clipped, tmp_path / "clipped")
    for key, row in expected.items():
        assert found[key]["update_ratio"] < row["update_ratio"] / 10
        row["update_ratio"] = found[key]["update_ratio"]
    assert_alike(expected, found)
    assert steps(tmp_path / "clipped")["grad_norm"].equals(steps(tmp_path / "plain")["grad_norm"])


def test_frozen_layers(tmp_path: Path) -> None:
    """Below the first trained layer there is no delta; above it there is one, of frozen layers, too."""
    model = network()
    model[0].requires_grad_(False)
    model[4].requires_grad_(False)
    recorded(plainly, tmp_path / "run", model)
    frozen, trained = ["0", "4"], ["2"]
    gradients, deltas = column(tmp_path / "run", "weight_grad_norm"), column(tmp_path / "run", "delta_rms")
    assert all(is_null(gradients[name]) for name in frozen)
    assert all(gradients[name] > 0 for name in trained)
    assert is_null(deltas["0"])
    assert deltas["2"] > 0
    assert deltas["4"] > 0
    ratios = column(tmp_path / "run", "update_ratio")
    assert [ratios[name] for name in frozen] == [0, 0]
    assert all(is_null(column(tmp_path / "run", "bias_grad_norm")[name]) for name in frozen)
    assert all(value > 0 for value in column(tmp_path / "run", "preactivation_rms").values())


def test_parameters_that_no_gradient_reaches(tmp_path: Path) -> None:
    def detached(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        assert isinstance(model, nn.Sequential)
        hidden = model[:2](data()[0]).detach()
        F.cross_entropy(model[2:](hidden), data()[1]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    recorded(detached, tmp_path / "run")
    gradients = column(tmp_path / "run", "weight_grad_norm")
    assert set(gradients) >= {"2", "4"}
    assert gradients.get("0", 0) == 0
    assert gradients["2"] > 0


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
