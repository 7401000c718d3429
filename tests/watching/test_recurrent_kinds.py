"""Recurrent layers against a float64 twin: the layer as a whole, and every time step unrolled by hand."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import gradlab
from gradlab.engine.modules.statistics import float64_twin, gradient_statistics, unit_statistics
from tests.watching.recorded import assert_close, by_key, follow, trial
from tests.watching.twin import Part, of_module
from tests.watching.unrolled import along_time

EXAMPLES, TIMES, FEATURES, HIDDEN, CLASSES = 5, 4, 3, 6, 3

KINDS: dict[str, Any] = {
    "tanh": lambda **options: nn.RNN(FEATURES, HIDDEN, **options),
    "relu": lambda **options: nn.RNN(FEATURES, HIDDEN, nonlinearity="relu", **options),
    "LSTM": lambda **options: nn.LSTM(FEATURES, HIDDEN, **options),
    "GRU": lambda **options: nn.GRU(FEATURES, HIDDEN, **options),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(21)


class Reader(nn.Module):
    """Reads [example, time, feature]; `uses` is what the head sees: every output, the last one, the final state."""

    def __init__(self, recurrent: nn.RNNBase, uses: str = "all", lengths: list[int] | None = None) -> None:
        super().__init__()
        self.recurrent = recurrent
        sides = 2 if recurrent.bidirectional else 1
        self.head = nn.Linear(HIDDEN * sides, CLASSES)
        self.uses, self.lengths = uses, lengths

    def forward(self, x: Tensor) -> Any:
        first = self.recurrent.inner.batch_first if hasattr(self.recurrent, "inner") else self.recurrent.batch_first
        if self.lengths is not None:
            packed = pack_padded_sequence(x.transpose(0, 1), torch.tensor(self.lengths), enforce_sorted=False)
            output, state = self.recurrent(packed)
            output, _ = pad_packed_sequence(output)
        else:
            output, state = self.recurrent(x if first else x.transpose(0, 1))
            output = output.transpose(0, 1) if first else output
        hidden = state[0] if isinstance(state, tuple) else state
        if self.uses == "final":
            return self.head(hidden[-1])
        if self.uses == "both":
            return self.head(output.mean(0)) + self.head(hidden[-1])
        return self.head(output[-1] if self.uses == "last" else output.sum(0))


def loss(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def matrices(model: Reader) -> Part:
    names = [name for name, _ in model.named_parameters() if name.startswith("recurrent.")]
    weights = [name for name in names if "weight" in name]
    biases = [name for name in names if "bias" in name]
    return Part("recurrent", 1, model.head.in_features, weights, biases)


def check(model: Reader, out: Path, *, alone: bool = True) -> None:
    batch = torch.randn(EXAMPLES, TIMES, FEATURES), torch.arange(EXAMPLES) % CLASSES
    singles = [(batch[0][i : i + 1], batch[1][i : i + 1]) for i in range(EXAMPLES)] if alone else []
    parts = [matrices(model), of_module("head", 2, CLASSES, is_output=True)]
    times = along_time("recurrent", batch, loss, EXAMPLES)
    recorder = follow(model, batch, loss, parts, out, examples=EXAMPLES, singles=singles, times=times)
    assert recorder.notes == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_first", [True, False])
def test_one_layer(kind: str, batch_first: bool, tmp_path: Path) -> None:
    check(Reader(KINDS[kind](batch_first=batch_first), "last"), tmp_path / "run")


@pytest.mark.parametrize("kind", KINDS)
def test_stacked_and_bidirectional(kind: str, tmp_path: Path) -> None:
    check(Reader(KINDS[kind](batch_first=True, num_layers=2, bidirectional=True)), tmp_path / "run")


@pytest.mark.parametrize("kind", KINDS)
def test_packed_sequences(kind: str, tmp_path: Path) -> None:
    model = Reader(KINDS[kind](num_layers=2), lengths=[2, 4, 1, 4, 3])
    check(model, tmp_path / "run", alone=False)


@pytest.mark.parametrize("uses", ["final", "both"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_reads_the_final_state(kind: str, uses: str, tmp_path: Path) -> None:
    check(Reader(KINDS[kind](num_layers=2, batch_first=True), uses), tmp_path / "run")


def test_without_biases(tmp_path: Path) -> None:
    check(Reader(KINDS["GRU"](bias=False)), tmp_path / "run")


def test_the_profile_of_a_trial_is_along_time(tmp_path: Path) -> None:
    check(Reader(KINDS["tanh"](), "last"), tmp_path / "run")
    first, last = (by_key(tmp_path / "run", 0)["time", "recurrent", t]["delta_rms"] for t in (1, TIMES))
    assert trial(tmp_path / "run")["gradient_ratio"] == pytest.approx(first / last, rel=1e-9)
    assert trial(tmp_path / "run")["gradient_decay"] == pytest.approx((first / last) ** (1 / (TIMES - 1)), rel=1e-9)


def test_dropout_between_layers_leaves_no_rows_along_time(tmp_path: Path) -> None:
    """It can't be drawn again; the notes say so, and the layers have their rows."""
    model = Reader(KINDS["LSTM"](num_layers=2, dropout=0.5), "last")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradlab.watch(model, optimizer, out=tmp_path / "run", seed=0) as recorder:
        loss(model, (torch.randn(EXAMPLES, TIMES, FEATURES), torch.arange(EXAMPLES) % CLASSES)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert set(by_key(tmp_path / "run", 0)) == {("layer", "recurrent", 1), ("layer", "head", 2)}
    (note,) = recorder.notes
    assert note.startswith("recurrent: no rows along time")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["notes"] == {recorder.trial_id: [note]}


class Loop(nn.Module):
    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell
        self.head = nn.Linear(HIDDEN, CLASSES)

    def forward(self, x: Tensor) -> Any:
        state: Any = None
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
        return self.head(state[0] if isinstance(state, tuple) else state)


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_cells_in_a_loop(kind: Any, tmp_path: Path) -> None:
    model = Loop(kind(FEATURES, HIDDEN))
    batch = torch.randn(EXAMPLES, TIMES, FEATURES), torch.arange(EXAMPLES) % CLASSES
    singles = [(batch[0][i : i + 1], batch[1][i : i + 1]) for i in range(EXAMPLES)]
    parts = [
        Part("cell", 1, HIDDEN, ["cell.weight_ih", "cell.weight_hh"], ["cell.bias_ih", "cell.bias_hh"]),
        of_module("head", 2, CLASSES, is_output=True),
    ]
    follow(model, batch, loss, parts, tmp_path / "run", examples=EXAMPLES, singles=singles, times=each_call(batch))


def each_call(batch: Any) -> Any:
    """Rows of the time steps: the calls of the cell, by hooks on a float64 copy."""

    def rows(model: nn.Module) -> Any:
        twin = copy.deepcopy(model).double()
        states: list[Tensor] = []

        def keep(_m: Any, _i: Any, output: Any) -> None:
            states.append(output[0] if isinstance(output, tuple) else output)
            states[-1].retain_grad()  # type: ignore[no-untyped-call]

        twin.get_submodule("cell").register_forward_hook(keep)
        loss(twin, (batch[0].double(), batch[1])).backward()  # type: ignore[no-untyped-call]
        return {
            ("time", "cell", number): {"delta_rms": float(h.grad.norm()) * EXAMPLES**0.5, "units": HIDDEN}
            for number, h in enumerate(states, 1)
            if h.grad is not None
        }

    return rows


@pytest.mark.parametrize("uses", ["last", "final", "both"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_measures_the_same(kind: str, uses: str, tmp_path: Path) -> None:
    """The rows that `gradlab run` writes of a custom model, by its own code, on the model as it is at step 0."""
    model = Reader(KINDS[kind](batch_first=True, num_layers=2, bidirectional=uses == "last"), uses)
    batch = torch.randn(EXAMPLES, TIMES, FEATURES), torch.arange(EXAMPLES) % CLASSES
    measured, _ = gradient_statistics(*float64_twin(model, batch, loss), loss, EXAMPLES, {})
    units = unit_statistics(*float64_twin(model, batch, loss), loss)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradlab.watch(model, optimizer, out=tmp_path / "run", seed=0):
        loss(model, batch).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    found = by_key(tmp_path / "run", 0)
    for kind_of_row, name, number in found:
        row = measured[name if kind_of_row == "layer" else f"{name}[{number}]"]
        row |= units[name] if kind_of_row == "layer" else {}
        row = {column: None if value == -math.inf else value for column, value in row.items()}
        assert_close(found[kind_of_row, name, number], row, f"{kind_of_row} {name} {number}", 1e-4)
