"""Gradients along time against a naive unrolled twin in float64, and against closed forms."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from gradlab.engine.recurrence.along_time import TimeSeries, Unsupported, along_time

CELLS: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "tanh": (nn.RNN, nn.RNNCell),
    "relu": (nn.RNN, nn.RNNCell),
    "LSTM": (nn.LSTM, nn.LSTMCell),
    "GRU": (nn.GRU, nn.GRUCell),
}


def recurrent(kind: str, seed: int = 0, **options: Any) -> nn.RNNBase:
    torch.manual_seed(seed)
    nonlinearity = {"nonlinearity": kind} if kind in {"tanh", "relu"} else {}
    module = CELLS[kind][0](**nonlinearity, **options)
    assert isinstance(module, nn.RNNBase)
    return module.double()


def finals(module: nn.RNNBase, state: Any) -> tuple[Tensor, ...]:
    return state if module.mode == "LSTM" else (state,)


def random_loss(tensors: list[Tensor], examples: int) -> Tensor:
    """A smooth scalar in which every entry has a slope of its own."""
    random = torch.Generator().manual_seed(7)
    parts = [(t * torch.randn(t.shape, generator=random, dtype=torch.float64)).sum() for t in tensors]
    return torch.stack(parts).sum() / examples + torch.stack([t.square().sum() for t in tensors]).sum() / examples


def measured(module: nn.RNNBase, inputs: tuple[Any, ...], examples: int, uses: str) -> list[TimeSeries]:
    """`along_time` with the gradients that torch's own kernel finds, of a loss of the tensors that `uses` names."""
    output, state = module(*inputs)
    data = output.data if isinstance(output, PackedSequence) else output
    named = dict(zip("ohc", [data, *finals(module, state)], strict=False))
    used = [tensor for name, tensor in named.items() if name in uses]
    gradients = iter(torch.autograd.grad(random_loss(used, examples), used))
    of = {name: next(gradients) if name in uses else None for name in named}
    return along_time(module, inputs, of.pop("o"), tuple(of.values()), examples)


@dataclass
class Twin:
    """The module unrolled with torch's cells: states h[layer, direction][t], and a weight_hh of its own for each."""

    hidden: dict[tuple[int, int], list[Tensor]] = field(default_factory=dict)
    weights: dict[tuple[int, int], list[Tensor]] = field(default_factory=dict)
    last: list[tuple[Tensor, ...]] = field(default_factory=list)
    output: Tensor = field(default_factory=lambda: torch.empty(0))


def unrolled(module: nn.RNNBase, x: Tensor, initial: Any) -> Twin:
    """For an input [time, example, feature]; naive throughout."""
    twin = Twin()
    directions = 2 if module.bidirectional else 1
    for layer in range(module.num_layers):
        outputs = []
        for direction in range(directions):
            suffix = f"_l{layer}" + ("_reverse" if direction else "")
            cell = cell_of(module, suffix, x.shape[2])
            place = layer * directions + direction
            state = tuple(tensor[place] for tensor in finals(module, initial))
            steps = list(range(len(x)))[:: -1 if direction else 1]
            hidden, weights = {}, {}
            for t in steps:
                weights[t] = getattr(module, f"weight_hh{suffix}").detach().clone().requires_grad_()
                own = {**dict(cell.named_parameters()), "weight_hh": weights[t]}
                given = state if module.mode == "LSTM" else state[0]
                state = finals(module, torch.func.functional_call(cell, own, (x[t], given)))
                state[0].retain_grad()
                hidden[t] = state[0]
            twin.hidden[layer, direction] = [hidden[t] for t in range(len(x))]
            twin.weights[layer, direction] = [weights[t] for t in range(len(x))]
            twin.last.append(state)
            outputs.append(torch.stack(twin.hidden[layer, direction]))
        x = torch.cat(outputs, dim=2)
    twin.output = x
    return twin


def cell_of(module: nn.RNNBase, suffix: str, inputs: int) -> nn.Module:
    kind = {"RNN_TANH": "tanh", "RNN_RELU": "relu"}.get(module.mode, module.mode)
    nonlinearity = {"nonlinearity": kind} if kind in {"tanh", "relu"} else {}
    cell = CELLS[kind][1](inputs, module.hidden_size, bias=module.bias, dtype=torch.float64, **nonlinearity)
    cell.load_state_dict({name: getattr(module, f"{name}{suffix}").detach() for name in cell.state_dict()})
    return cell


def expected(
    module: nn.RNNBase, x: Tensor, initial: Any, examples: int, uses: str
) -> dict[str, list[dict[str, float]]]:
    twin = unrolled(module, x, initial)
    named = {"o": twin.output.transpose(0, 1) if module.batch_first else twin.output}
    named |= dict(zip("hc", (torch.stack(part) for part in zip(*twin.last, strict=True)), strict=False))
    random_loss([tensor for name, tensor in named.items() if name in uses], examples).backward()
    found = {}
    for (layer, direction), states in twin.hidden.items():
        rows = []
        for h, weight in zip(states, twin.weights[layer, direction], strict=True):
            of_h = torch.zeros_like(h) if h.grad is None else h.grad
            of_weight = torch.zeros_like(weight) if weight.grad is None else weight.grad
            rows.append(
                {
                    "delta_rms": math.sqrt(examples) * of_h.norm().item(),
                    "weight_grad_norm": of_weight.norm().item(),
                    "activation_mean": h.mean().item(),
                    "activation_rms": h.square().mean().sqrt().item(),
                }
            )
        found[f"l{layer}" + ("_reverse" if direction else "")] = rows
    return found


def assert_same(series: list[TimeSeries], wanted: dict[str, list[dict[str, float]]], units: int) -> None:
    assert [one.suffix or "l0" for one in series] == list(wanted)
    for one, rows in zip(series, wanted.values(), strict=True):
        assert one.units == units
        assert len(one.rows) == len(rows)
        for row, twin in zip(one.rows, rows, strict=True):
            assert {name: row[name] for name in twin} == pytest.approx(twin, rel=1e-9, abs=1e-15)
            for name in ("delta_rms", "weight_grad_norm"):
                logarithm = math.log10(twin[name]) if twin[name] else -math.inf
                assert row[f"log10_{name}"] == pytest.approx(logarithm, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(list(CELLS)),
    layers=st.integers(1, 3),
    bidirectional=st.booleans(),
    batch_first=st.booleans(),
    bias=st.booleans(),
    sizes=st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.integers(1, 5)),
    uses=st.sampled_from(["o", "h", "oh", "ohc", "c"]),
    start=st.booleans(),
    seed=st.integers(0, 99),
)
def test_every_layout_against_the_unrolled_twin(
    kind: str,
    layers: int,
    bidirectional: bool,
    batch_first: bool,
    bias: bool,
    sizes: tuple[int, int, int, int],
    uses: str,
    start: bool,
    seed: int,
) -> None:
    steps, examples, features, units = sizes
    uses = uses if kind == "LSTM" else uses.replace("c", "") or "h"
    options = {"num_layers": layers, "bidirectional": bidirectional, "batch_first": batch_first, "bias": bias}
    module = recurrent(kind, seed, input_size=features, hidden_size=units, **options)
    x = torch.randn(steps, examples, features, dtype=torch.float64)
    shape = (layers * (1 + bidirectional), examples, units)
    tensors = tuple(torch.randn(shape, dtype=torch.float64) * start for _ in range(2 if kind == "LSTM" else 1))
    initial = tensors if kind == "LSTM" else tensors[0]
    given_x = x.transpose(0, 1) if batch_first else x
    series = measured(module, (given_x, initial) if start else (given_x,), examples, uses)
    assert_same(series, expected(module, x, initial, examples, uses), units)


@pytest.mark.parametrize("kind", list(CELLS))
@pytest.mark.parametrize("start", [True, False])
def test_one_sequence_without_a_batch(kind: str, start: bool) -> None:
    module = recurrent(kind, input_size=2, hidden_size=3, batch_first=True)
    x = torch.randn(5, 2, dtype=torch.float64)
    state = [torch.randn(1, 3, dtype=torch.float64) * start for _ in range(2)]
    initial = tuple(state) if kind == "LSTM" else state[0]
    series = measured(module, (x, initial) if start else (x, None), 1, "oh")
    beside = tuple(one[:, None] for one in state) if kind == "LSTM" else state[0][:, None]
    module.batch_first = False
    assert_same(series, expected_unbatched(module, x, beside), 3)


def expected_unbatched(module: nn.RNNBase, x: Tensor, initial: Any) -> dict[str, list[dict[str, float]]]:
    return expected(module, x[:, None], initial, 1, "oh")


def test_a_projected_lstm() -> None:
    """torch has no cell with a projection: the gates are written out."""
    module = recurrent("LSTM", input_size=2, hidden_size=4, proj_size=3)
    x = torch.randn(6, 5, 2, dtype=torch.float64)
    (one,) = measured(module, (x,), 5, "oh")
    assert one.units == 3
    h, c = torch.zeros(5, 3, dtype=torch.float64), torch.zeros(5, 4, dtype=torch.float64)
    hidden, weights = [], []
    for t in range(6):
        weights.append(module.weight_hh_l0.detach().clone().requires_grad_())
        gates = x[t] @ module.weight_ih_l0.T + module.bias_ih_l0 + h @ weights[-1].T + module.bias_hh_l0
        i, f, g, o = gates[:, :4], gates[:, 4:8], gates[:, 8:12], gates[:, 12:]
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = (o.sigmoid() * c.tanh()) @ module.weight_hr_l0.T
        h.retain_grad()
        hidden.append(h)
    random_loss([torch.stack(hidden), h[None]], 5).backward()  # type: ignore[no-untyped-call]
    for row, state, weight in zip(one.rows, hidden, weights, strict=True):
        assert state.grad is not None
        assert weight.grad is not None
        assert row["delta_rms"] == pytest.approx(math.sqrt(5) * state.grad.norm().item(), rel=1e-9)
        assert row["weight_grad_norm"] == pytest.approx(weight.grad.norm().item(), rel=1e-9)


@pytest.mark.parametrize("kind", list(CELLS))
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_packed_input_is_the_sum_of_its_sequences(kind: str, bidirectional: bool) -> None:
    """Sequences of other lengths side by side: squares of the norms add up over the sequences one by one."""
    lengths = [3, 5, 1, 5]
    module = recurrent(kind, input_size=2, hidden_size=3, num_layers=2, bidirectional=bidirectional)
    padded = torch.randn(5, 4, 2, dtype=torch.float64)
    packed = pack_padded_sequence(padded, torch.tensor(lengths), enforce_sorted=False)
    output, state = module(packed)
    spread = torch.randn_like(pad_packed_sequence(output)[0])
    slopes = torch.randn_like(finals(module, state)[0])
    scalar = (pad_packed_sequence(output)[0] * spread).sum() + (finals(module, state)[0] * slopes).sum()
    wanted = [output.data, *finals(module, state)]
    of_output, *of_final = torch.autograd.grad(scalar, wanted, allow_unused=True)
    series = along_time(module, (packed,), of_output, tuple(of_final), 1)
    rest = (None,) * (len(wanted) - 2)
    alone = [
        along_time(module, (padded[:n, i : i + 1],), spread[:n, i : i + 1], (slopes[:, i : i + 1], *rest), 1)
        for i, n in enumerate(lengths)
    ]
    for place, one in enumerate(series):
        assert len(one.rows) == 5
        for t, row in enumerate(one.rows):
            parts = [own[place].rows[t] for own, n in zip(alone, lengths, strict=True) if t < n]
            together = math.sqrt(sum(part["delta_rms"] ** 2 for part in parts))
            assert row["delta_rms"] == pytest.approx(together, rel=1e-9)
            mean = sum(part["activation_mean"] for part in parts) / len(parts)
            assert row["activation_mean"] == pytest.approx(mean, rel=1e-9)


@pytest.mark.parametrize("scale", [0.1, 10.0])
@pytest.mark.parametrize("layers", [1, 2])
def test_two_thousand_steps_beyond_the_range_of_float64(scale: float, layers: int) -> None:
    """At h = 0 the derivative of tanh is 1, so W_hh = scale I multiplies the signal by scale at every time step."""
    steps = 2000
    module = recurrent("tanh", input_size=1, hidden_size=2, num_layers=layers, bias=False)
    with torch.no_grad():
        for layer in range(layers):
            getattr(module, f"weight_hh_l{layer}").copy_(scale * torch.eye(2, dtype=torch.float64))
        if layers == 2:
            module.weight_ih_l1.copy_(torch.eye(2))
    x = torch.zeros(steps, 3, 1, dtype=torch.float64)
    of_output = torch.zeros(steps, 3, 2, dtype=torch.float64)
    of_output[-1] = torch.tensor([3.0, 4.0])
    series = along_time(module, (x,), of_output, (None,), 3)
    level = math.log10(5 * 3)  # 3 examples of norm 5, times sqrt(3)
    for t, row in enumerate(series[-1].rows, start=1):
        wanted = level + (steps - t) * math.log10(scale)
        assert row["log10_delta_rms"] == pytest.approx(wanted, abs=1e-9)
        assert row["delta_rms"] == pytest.approx(10**wanted if abs(wanted) < 300 else row["delta_rms"], rel=1e-9)
        assert row["log10_weight_grad_norm"] == -math.inf  # h is 0
    assert series[-1].rows[0]["delta_rms"] == (0 if scale < 1 else math.inf)
    if layers == 2:
        # Every time step of the lower layer is reached in T - t + 1 ways.
        for t, row in enumerate(series[0].rows, start=1):
            ways = math.log10(steps - t + 1)
            assert row["log10_delta_rms"] == pytest.approx(level + ways + (steps - t) * math.log10(scale), abs=1e-9)


def test_a_late_signal_does_not_hide_under_one_that_has_vanished() -> None:
    """A direct gradient of 1 at the first step beside what 0.1^1999 leaves of the last one, and the other way round."""
    module = recurrent("tanh", input_size=1, hidden_size=1, bias=False)
    with torch.no_grad():
        module.weight_hh_l0.fill_(0.1)
    x = torch.zeros(2000, 1, 1, dtype=torch.float64)
    of_output = torch.zeros(2000, 1, 1, dtype=torch.float64)
    of_output[-1] = 1.0
    of_output[0] = 2.0
    of_output[10] = 1e-300
    (one,) = along_time(module, (x,), of_output, (None,), 1)
    assert one.rows[0]["delta_rms"] == pytest.approx(2.0)
    assert one.rows[1]["log10_delta_rms"] == pytest.approx(-309, abs=1e-9)
    assert one.rows[10]["log10_delta_rms"] == pytest.approx(-300, abs=1e-9)
    assert one.rows[11]["log10_delta_rms"] == pytest.approx(-(1999 - 11), abs=1e-9)


def test_a_saturated_unit_lets_through_its_derivative() -> None:
    """At z = 30.5 tanh is 1 in float64, and 1 - tanh^2 is 0, but its derivative is 4 exp(-61)."""
    module = recurrent("tanh", input_size=1, hidden_size=1)
    with torch.no_grad():
        module.weight_ih_l0.fill_(0.0)
        module.weight_hh_l0.fill_(0.5)
        module.bias_ih_l0.fill_(30.0)
        module.bias_hh_l0.fill_(0.0)
    of_output = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64).view(4, 1, 1)
    (one,) = along_time(module, (torch.zeros(4, 1, 1, dtype=torch.float64),), of_output, (None,), 1)
    slope = (math.log(4) - 61) / math.log(10)
    for back, row in enumerate(reversed(one.rows)):
        assert row["log10_delta_rms"] == pytest.approx(back * (slope + math.log10(0.5)), abs=1e-9)
    assert one.rows[-1]["log10_weight_grad_norm"] == pytest.approx(slope, abs=1e-9)


def test_units_of_a_plain_recurrent_layer() -> None:
    """One unit is dead, one is reached on some example only, one is cut off from the loss."""
    module = recurrent("relu", input_size=2, hidden_size=3, bias=False)
    with torch.no_grad():
        module.weight_hh_l0.zero_()
        module.weight_ih_l0.copy_(torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0]]))
    x = torch.tensor([[[1.0, 2.0], [2.0, 1.0]]], dtype=torch.float64)
    of_output = torch.tensor([[[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]], dtype=torch.float64)
    (one,) = along_time(module, (x,), of_output, (None,), 2)
    row = one.rows[0]
    assert row["dead_units"] == 1
    assert row["zero_gradient_units"] == 2
    assert row["saturated_fraction"] == pytest.approx(3 / 6)
    assert row["preactivation_rms"] == pytest.approx(math.sqrt((9 + 9 + 1 + 1 + 9 + 9) / 6))
    assert row["activation_mean"] == pytest.approx((1 + 3 + 3) / 6)


def test_saturation_of_tanh_begins_at_a_derivative_of_a_hundredth() -> None:
    edge = math.acosh(10)  # tanh' = cosh^-2 = 1/100
    module = recurrent("tanh", input_size=1, hidden_size=1, bias=False)
    with torch.no_grad():
        module.weight_ih_l0.fill_(1.0)
    x = torch.tensor([0.0, edge - 1e-6, edge + 1e-6, -40.0], dtype=torch.float64).view(1, 4, 1)
    (one,) = along_time(module, (x,), torch.ones(1, 4, 1, dtype=torch.float64), (None,), 4)
    assert one.rows[0]["saturated_fraction"] == 0.5
    assert one.rows[0]["dead_units"] == 0
    assert one.rows[0]["zero_gradient_units"] == 0


def test_no_gradient_at_all() -> None:
    module = recurrent("GRU", input_size=1, hidden_size=2)
    (one,) = along_time(module, (torch.zeros(3, 1, 1, dtype=torch.float64),), None, (None,), 1)
    assert [row["delta_rms"] for row in one.rows] == [0, 0, 0]
    assert [row["log10_delta_rms"] for row in one.rows] == [-math.inf] * 3


def test_float32_modules_are_measured_in_float64_and_left_as_they_are() -> None:
    module = recurrent("tanh", input_size=1, hidden_size=2).float()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with torch.no_grad():
        (one,) = along_time(module, (torch.ones(300, 1, 1),), torch.full((300, 1, 2), 1e-38), (None,), 1)
    assert all(row["delta_rms"] > 0 for row in one.rows)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_nan_is_told() -> None:
    module = recurrent("tanh", input_size=1, hidden_size=2)
    (one,) = along_time(module, (torch.full((3, 1, 1), math.nan),), torch.ones(3, 1, 2), (None,), 1)
    assert all(math.isnan(row["activation_rms"]) for row in one.rows)
    assert math.isnan(one.rows[0]["delta_rms"])


def test_dropout_between_layers_is_refused_only_where_it_acts() -> None:
    module = recurrent("LSTM", input_size=1, hidden_size=2, num_layers=2, dropout=0.5)
    x = torch.zeros(3, 1, 1, dtype=torch.float64)
    with pytest.raises(Unsupported, match="dropout"):
        along_time(module, (x,), None, (None, None), 1)
    assert len(along_time(module.eval(), (x,), None, (None, None), 1)) == 2


def test_other_modules_are_refused() -> None:
    with pytest.raises(Unsupported, match="Linear"):
        along_time(nn.Linear(1, 1), (torch.zeros(1, 1),), None, (), 1)  # type: ignore[arg-type]
