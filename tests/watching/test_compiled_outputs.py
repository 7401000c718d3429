"""Compiled models of several outputs, one of which is computed from another; and losses of what no hook sees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gradlab import watch
from tests.watching.recorded import assert_close, by_key, is_null, steps, trial

Outputs = dict[str, Tensor]

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")


class Scores(nn.Module):
    """Returns a loss and the scores that it is of, as models of transformers do."""

    def __init__(self, breaks: bool) -> None:
        torch.manual_seed(1)
        super().__init__()
        self.first, self.head, self.breaks = nn.Linear(6, 8), nn.Linear(8, 3), breaks

    def forward(self, x: Tensor, y: Tensor) -> Outputs:
        scores = self.head(torch.tanh(self.first(x)))
        if self.breaks:
            torch._dynamo.graph_break()
        return {"loss": cross_entropy(scores, y), "scores": scores, "again": scores}


LOSSES: dict[str, Callable[[Outputs], Tensor]] = {
    "the model's": lambda outputs: outputs["loss"],
    "of the scores": lambda outputs: outputs["scores"].square().mean(),
    "both": lambda outputs: outputs["loss"] + outputs["scores"].square().mean() + outputs["again"].mean(),
}


def recorded_training(model: nn.Module, loss_of: Callable[[Outputs], Tensor], out: Path) -> list[float]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    with watch(model, optimizer, 1, out, seed=0) as recorder:
        for step in range(3):
            source = torch.Generator().manual_seed(step)
            inputs, labels = torch.randn(5, 6, generator=source), torch.randint(3, (5,), generator=source)
            optimizer.zero_grad()
            loss = loss_of(model(inputs, labels))
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(float(loss.detach()))
            recorder.log(train_loss=loss)
            optimizer.step()
    return losses


@pytest.mark.parametrize("loss_of", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("breaks", [False, True])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_gradients_come_once_through_outputs_of_which_one_depends_on_the_other(
    tmp_path: Path, backend: str, breaks: bool, loss_of: Callable[[Outputs], Tensor]
) -> None:
    torch._dynamo.reset()
    recorded_training(torch.compile(Scores(breaks), backend=backend), loss_of, tmp_path / "compiled")  # type: ignore[arg-type]
    recorded_training(Scores(False), loss_of, tmp_path / "plain")
    for step in range(3):
        compiled, plain = by_key(tmp_path / "compiled", step), by_key(tmp_path / "plain", step)
        assert compiled.keys() == plain.keys()
        for key, row in plain.items():
            columns = ("delta_rms", "preactivation_rms", "weight_grad_norm")
            assert_close(compiled[key], {column: row[column] for column in columns}, str(key), 1e-5)


def test_a_loss_belongs_to_the_step_whose_gradients_came_though_no_pass_was_seen(tmp_path: Path) -> None:
    torch._dynamo.reset()

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.compile(Scores(False), backend="aot_eager")

    model = Outer()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    with watch(model, optimizer, 1, tmp_path / "run", seed=0) as recorder:
        for _ in range(3):
            optimizer.zero_grad()
            loss = model.inner(torch.ones(5, 6), torch.zeros(5, dtype=torch.long))["loss"]
            loss.backward()
            losses.append(float(loss.detach()))
            recorder.log(train_loss=loss)
            optimizer.step()
    assert steps(tmp_path / "run")["train_loss"].tolist() == losses
    assert is_null(trial(tmp_path / "run")["batch_size"])
