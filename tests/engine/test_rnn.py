"""Family rnn against plain PyTorch: the same trial in thirty lines, and a naive float64 twin along time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gradlab.config.choices import INITS
from gradlab.config.sweep import Trial
from gradlab.engine.history import TrialHistory
from gradlab.engine.modules.building import build_model
from gradlab.engine.modules.training import train_custom
from gradlab.engine.tasks import Task, make_task
from tests.oracles.samples import one_trial

HERE = Path(__file__).parent

MODULES: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "tanh": (nn.RNN, {"nonlinearity": "tanh"}),
    "relu": (nn.RNN, {"nonlinearity": "relu"}),
    "lstm": (nn.LSTM, {}),
    "gru": (nn.GRU, {}),
}
GATES = {"tanh": 1, "relu": 1, "lstm": 4, "gru": 3}


def trial_of(kind: str, *, seed: int = 3, data: str = "adding", train: Any = None, **model: Any) -> Trial:
    cell = {"cell": "rnn", "activation": kind} if kind in {"tanh", "relu"} else {"cell": kind}
    settings = {"family": "rnn", "width": 7, "sequence_length": 9, **cell, **model}
    training = {"steps": 20, "batch_size": 16, "lr": 0.05, **(train or {})}
    sections = {"model": settings, "train": training, "record": {"every": 1, "probe": 12}}
    return one_trial(seed=seed, data={"name": data, "n_samples": 60}, **sections)


def task_of(trial: Trial) -> Task:
    return make_task(trial.data, HERE, trial.model)


def run(trial: Trial) -> TrialHistory:
    return train_custom(trial, task_of(trial), HERE)


def plain_training(kind: str, trial: Trial, task: Task) -> tuple[list[float], dict[str, Tensor], nn.Module]:
    """The losses of all steps, the gradients of the first, and what was trained, written as a user would."""
    module, options = MODULES[kind]
    torch.manual_seed(trial.seed)
    layers = module(task.in_features, trial.model.width, trial.model.depth, batch_first=True, **options)
    top = nn.Linear(trial.model.width, task.out_features)
    both = nn.ModuleDict({"recurrent": layers, "output": top})
    optimizer = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[trial.train.optimizer](
        both.parameters(), lr=trial.train.lr
    )
    generator = torch.Generator().manual_seed(trial.seed)
    batches: list[Tensor] = []
    while len(batches) < trial.train.steps:
        order = torch.randperm(len(task.x_train), generator=generator)
        batches += [piece for piece in order.split(trial.train.batch_size) if len(piece) == trial.train.batch_size]
    loss_of = nn.functional.mse_loss if task.kind == "regression" else nn.functional.cross_entropy
    losses, first = [], {}
    for indices in batches[: trial.train.steps]:
        states, _ = layers(task.x_train[indices])
        loss = loss_of(top(states[:, -1]), task.y_train[indices])
        optimizer.zero_grad()
        loss.backward()
        first = first or {name: one.grad.clone() for name, one in both.named_parameters() if one.grad is not None}
        optimizer.step()
        losses.append(loss.item())
    return losses, first, both


def of_layers(history: TrialHistory, name: str, row: int = 0) -> dict[str, float]:
    values = history.layer_values[name][row]
    return {info.name: value for info, value in zip(history.layers, values, strict=True) if info.kind == "layer"}


def norm(gradients: dict[str, Tensor], prefix: str, part: str) -> float:
    chosen = [one.double() for name, one in gradients.items() if name.startswith(prefix) and part in name]
    return math.sqrt(sum(float(one.square().sum()) for one in chosen))


@pytest.mark.parametrize("kind", list(MODULES))
@pytest.mark.parametrize(("depth", "optimizer"), [(1, "sgd"), (2, "adam")])
@pytest.mark.parametrize("data", ["adding", "delayed_recall"])
def test_a_trial_is_thirty_lines_of_plain_pytorch(kind: str, depth: int, optimizer: str, data: str) -> None:
    lr = 0.05 if optimizer == "sgd" else 0.01
    trial = trial_of(kind, depth=depth, data=data, train={"optimizer": optimizer, "lr": lr})
    task, history = task_of(trial), run(trial)
    losses, first, trained = plain_training(kind, trial, task)
    assert history.step_values["train_loss"].tolist() == pytest.approx(losses, rel=1e-5)
    for name in ("recurrent", "output"):
        assert of_layers(history, "weight_grad_norm")[name] == pytest.approx(norm(first, name, "weight"), rel=1e-4)
        assert of_layers(history, "bias_grad_norm")[name] == pytest.approx(norm(first, name, "bias"), rel=1e-4)
    assert history.step_values["grad_norm"][0] == pytest.approx(norm(first, "", ""), rel=1e-4)
    with torch.no_grad():
        output = trained["output"](trained["recurrent"](task.x_eval)[0][:, -1])
    if data == "adding":
        final = float(nn.functional.mse_loss(output, task.y_eval))
        assert history.finals["final_eval_loss"] == pytest.approx(final, rel=1e-4)
    else:
        right = float((output.argmax(1) == task.y_eval).double().mean())
        assert history.finals["final_eval_metric"] == pytest.approx(right)


def time_rows(history: TrialHistory) -> dict[str, list[int]]:
    """Series -> the columns of its time steps, in order."""
    series: dict[str, list[int]] = {}
    for column, info in enumerate(history.layers):
        if info.kind == "time":
            series.setdefault(info.name, []).append(column)
            assert info.number == len(series[info.name])
    return series


CELLS = {"tanh": nn.RNNCell, "relu": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}


def deltas_by_hand(kind: str, model: nn.Module, x: Tensor, y: Tensor) -> list[list[float]]:
    """sqrt(examples) |dL/dh_t| of each layer and time step, unrolled cell by cell in float64."""
    layers, top = model.get_submodule("recurrent"), model.get_submodule("output")
    x, hidden = x.double(), []
    for layer in range(layers.num_layers):  # type: ignore[arg-type]
        options = {"nonlinearity": kind} if kind in {"tanh", "relu"} else {}
        width = int(layers.hidden_size)  # type: ignore[arg-type]
        cell = CELLS[kind](x.shape[2], width, dtype=torch.float64, **options)
        cell.load_state_dict({name: getattr(layers, f"{name}_l{layer}").detach() for name in cell.state_dict()})
        zeros = torch.zeros(len(x), width, dtype=torch.float64)
        state: Any = (zeros, zeros) if kind == "lstm" else zeros
        own = []
        for t in range(x.shape[1]):
            state = cell(x[:, t], state)
            own.append(state[0] if kind == "lstm" else state)
            own[-1].retain_grad()
        hidden.append(own)
        x = torch.stack(own, dim=1)
    output = hidden[-1][-1] @ top.weight.detach().double().T + top.bias.detach().double()  # type: ignore[operator, union-attr]
    (output - y.double()).square().mean().backward()
    return [[math.sqrt(len(y)) * (0.0 if h.grad is None else float(h.grad.norm())) for h in own] for own in hidden]


@pytest.mark.parametrize("kind", list(MODULES))
@pytest.mark.parametrize("depth", [1, 3])
def test_deltas_along_time_against_a_naive_twin(kind: str, depth: int) -> None:
    trial = trial_of(kind, depth=depth, train={"steps": 2})
    task, history = task_of(trial), run(trial)
    batch = torch.randperm(len(task.x_train), generator=torch.Generator().manual_seed(trial.seed))[:16]
    wanted = deltas_by_hand(kind, build_model(trial, task, HERE), task.x_train[batch], task.y_train[batch])
    series = time_rows(history)
    assert list(series) == (["recurrent"] if depth == 1 else [f"recurrent.l{layer}" for layer in range(depth)])
    for columns, values in zip(series.values(), wanted, strict=True):
        assert history.layer_values["delta_rms"][0, columns] == pytest.approx(values, rel=1e-6)
        assert history.layer_values["log10_delta_rms"][0, columns] == pytest.approx(np.log10(values), abs=1e-6)


def test_a_hundred_time_steps_of_a_shrinking_network_go_on_below_float64() -> None:
    """sigma_w = 1e-4 in linear range: every time step divides the signal by about 1e4."""
    init = {"name": "normal", "sigma_w": 1e-4}
    trial = trial_of("tanh", sequence_length=100, init=init, train={"steps": 1})
    history = run(trial)
    (columns,) = time_rows(history).values()
    logs = history.layer_values["log10_delta_rms"][0, columns]
    assert logs[0] < -380
    assert np.diff(logs) == pytest.approx([4] * 99, abs=1)
    assert history.layer_values["delta_rms"][0, columns[0]] == 0


@pytest.mark.parametrize("init", [name for name in INITS if name != "pytorch_default"])
@pytest.mark.parametrize("kind", ["tanh", "lstm", "gru"])
def test_inits_draw_each_gates_matrix_apart_from_the_input_on(kind: str, init: str) -> None:
    settings: Any = {"name": "normal", "sigma_w": 1.5, "sigma_b": 0.3} if init == "normal" else init
    trial = trial_of(kind, depth=2, init=settings)
    task = task_of(trial)
    made = build_model(trial, task, HERE)
    module, options = MODULES[kind]
    torch.manual_seed(trial.seed)
    layers, top = module(2, 7, 2, batch_first=True, **options), nn.Linear(7, 1)

    def draw(weight: Tensor) -> None:
        match init:
            case "xavier_normal":
                nn.init.xavier_normal_(weight)
            case "xavier_uniform":
                nn.init.xavier_uniform_(weight)
            case "he_normal":
                nn.init.kaiming_normal_(weight, nonlinearity="relu")
            case "he_uniform":
                nn.init.kaiming_uniform_(weight, nonlinearity="relu")
            case "orthogonal":
                nn.init.orthogonal_(weight)
            case "lecun_normal":
                nn.init.normal_(weight, 0, 1 / math.sqrt(weight.shape[1]))
            case "normal":
                nn.init.normal_(weight, 0, 1.5 / math.sqrt(weight.shape[1]))

    def bias(tensor: Tensor) -> None:
        nn.init.normal_(tensor, 0, 0.3) if init == "normal" else nn.init.zeros_(tensor)

    with torch.no_grad():
        for layer in range(2):
            for name in ("weight_ih", "weight_hh"):
                matrix = getattr(layers, f"{name}_l{layer}")
                for gate in range(GATES[kind]):
                    draw(matrix[gate * 7 : (gate + 1) * 7])
            bias(getattr(layers, f"bias_ih_l{layer}"))
            nn.init.zeros_(getattr(layers, f"bias_hh_l{layer}"))
        draw(top.weight)
        bias(top.bias)
    wanted = {f"recurrent.{name}": value for name, value in layers.state_dict().items()}
    wanted |= {f"output.{name}": value for name, value in top.state_dict().items()}
    found = made.state_dict()
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name


def test_the_layers_and_what_they_count() -> None:
    history = run(trial_of("lstm", depth=2, train={"steps": 1}))
    layers = [info for info in history.layers if info.kind == "layer"]
    assert [info.name for info in layers] == ["recurrent", "output"]
    assert layers[0].weight_count == 4 * 7 * (2 + 7) + 4 * 7 * (7 + 7)
    assert sum(history.parameters.values()) == 4 * 7 * (2 + 7 + 2) + 4 * 7 * (7 + 7 + 2) + 8
    assert len(history.layers) == 2 + 2 * 9


def test_other_data_is_read_as_a_sequence() -> None:
    settings = {"model": {"family": "rnn", "cell": "gru", "width": 6}, "train": {"steps": 3, "batch_size": 32}}
    trial = one_trial(data={"name": "digits"}, **settings)
    assert len(time_rows(run(trial))["recurrent"]) == 8


def test_a_diverging_trial_is_recorded_where_it_diverges() -> None:
    trial = trial_of("relu", init={"name": "normal", "sigma_w": 40.0}, train={"lr": 1e6})
    history = run(trial)
    assert history.status == "diverged"
    assert history.diverged_step == history.steps[-1]
