"""Step 0 of models as people write them: losses with a will of their own, cut gradients, what must stay as it is."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradlab.engine.modules.first_step import FirstStep, measure_first_step
from gradlab.errors import UsageError


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def measure(model: nn.Module, inputs: Any, targets: Any, loss: Any = F.cross_entropy) -> FirstStep:
    return measure_first_step(model, inputs, targets, loss, len(targets))


# Precision.


def test_a_loss_with_weights_of_its_own_is_measured_in_float64_too() -> None:
    model, weights = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)), torch.tensor([0.1, 0.7, 3.0])
    x, y = gaussian(7, 5), torch.arange(7) % 3
    module, function = nn.CrossEntropyLoss(weights), lambda z, t: F.cross_entropy(z, t, weights.to(z.dtype))
    assert measure(model, x, y, module).rows == measure(model, x, y, function).rows
    assert module.weight.dtype == torch.float32


def test_a_loss_that_differentiates_by_itself() -> None:
    """A gradient penalty, as in physics-informed networks: measured in float64 as well."""
    model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
    seen = []

    class Penalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            x = x.detach().requires_grad_()
            u = self.inner(x)
            seen.append(u.dtype)
            return u, torch.autograd.grad(u.sum(), x, create_graph=True)[0]

    def residual(output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
        u, slope = output
        return (slope + u - target).square().mean()

    found = measure(Penalised(), gaussian(9, 1), gaussian(9, 1, seed=1), residual)
    assert torch.float64 in seen
    assert all(row["weight_grad_norm"] > 0 for row in found.rows.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_model_that_works_on_its_input_in_place(dtype: torch.dtype) -> None:
    """Each pass gets the batch as it was, and so does whoever uses it next."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)

    class Doubling(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.mul_(2))

    x, y = gaussian(7, 5).to(dtype), torch.arange(7) % 3
    found = measure(Doubling(*plain), x, y).rows
    assert torch.equal(x, gaussian(7, 5).to(dtype))
    assert found == measure(plain, 2 * x, y).rows


def test_a_model_that_insists_on_float32_is_measured_in_float32() -> None:
    class Insists(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(5, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.tanh(self.first(x)).float())  # type: ignore[no-any-return]

    model = Insists()
    found = measure(model, gaussian(7, 5), torch.arange(7) % 3)
    F.cross_entropy(model(gaussian(7, 5)), torch.arange(7) % 3).backward()  # type: ignore[no-untyped-call]
    for name, layer in (("first", model.first), ("last", model.last)):
        assert layer.weight.grad is not None
        assert found.rows[name]["weight_grad_norm"] == pytest.approx(layer.weight.grad.norm().item(), rel=1e-6)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's compiler uses what torch deprecates
def test_a_compiled_model_is_measured_as_what_it_was_compiled_from() -> None:
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    x, y = gaussian(7, 5), torch.arange(7) % 3
    assert measure(torch.compile(model), x, y) == measure(model, x, y)


def test_a_layer_may_see_a_single_vector() -> None:
    class Conditioned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.of_vector, self.last = nn.Linear(4, 5), nn.Linear(5, 3)
            self.vector = nn.Parameter(gaussian(4))

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.tanh(x + self.of_vector(self.vector)))  # type: ignore[no-any-return]

    model, x, y = Conditioned(), gaussian(7, 5), torch.arange(7) % 3
    row = measure(model, x, y).rows["of_vector"]
    z = model.of_vector(model.vector).detach().double()
    assert row["preactivation_rms"] == pytest.approx(z.square().mean().sqrt().item(), rel=1e-6)
    F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
    assert model.of_vector.weight.grad is not None
    assert row["weight_grad_norm"] == pytest.approx(model.of_vector.weight.grad.norm().item(), rel=1e-6)


# Where the gradient ends.


class Cut(nn.Module):
    """A backbone that the gradient doesn't reach, and a head."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.backbone, self.head = nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "no_grad":
            with torch.no_grad():
                h = torch.tanh(self.backbone(x))
            return self.head(h)  # type: ignore[no-any-return]
        out = self.head(torch.tanh(self.backbone(x)).detach())
        return out.detach() if self.how == "all" else out  # type: ignore[no-any-return]


@pytest.mark.parametrize("how", ["no_grad", "detach", "all"])
def test_layers_that_no_gradient_reaches_have_a_gradient_of_exactly_0(how: str) -> None:
    rows = measure(Cut(how), gaussian(7, 5), torch.arange(7) % 3).rows
    assert rows["backbone"]["weight_grad_norm"] == rows["backbone"]["delta_rms"] == 0
    assert rows["backbone"]["log10_delta_rms"] == -math.inf
    assert rows["backbone"]["zero_gradient_units"] == 8
    assert (rows["head"]["weight_grad_norm"] == 0) == (how == "all")


def test_a_loss_that_is_no_number_is_told_and_counted() -> None:
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        model[2].weight.fill_(math.inf)
    found = measure(model, gaussian(7, 5), torch.arange(7) % 3)
    assert not found.finite
    assert found.rows["0"]["non_finite"] > 0


# What stays as it is.


@pytest.mark.parametrize("training", [True, False])
def test_the_model_and_the_random_stream_stay_as_they_are(training: bool) -> None:
    model = nn.Sequential(
        nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(8, 8), nn.Linear(8, 3)
    ).train(training)
    model[3].eval()
    model[4].requires_grad_(False)
    model[0].weight.grad = gaussian(8, 5, seed=4)
    x, y = gaussian(7, 5), torch.arange(7) % 3
    before, inputs = copy.deepcopy(model), x.clone()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = measure(model, x, y)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(x, inputs)
    for name, tensor in before.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    for own, old in zip(model.parameters(), before.parameters(), strict=True):
        assert own.requires_grad == old.requires_grad
    assert [name for name, own in model.named_parameters() if own.grad is not None] == ["0.weight"]
    assert torch.equal(model[0].weight.grad, gaussian(8, 5, seed=4))
    for own, old in zip(model.modules(), before.modules(), strict=True):
        assert own.training == old.training
        assert not own._forward_hooks
        assert not own._forward_pre_hooks
    torch.manual_seed(7)
    assert measure(model, x, y) == first


# What cannot be measured.


@pytest.mark.parametrize(
    ("model", "loss", "message"),
    [
        (nn.Flatten(), F.mse_loss, "no module with a weight"),
        (nn.LazyLinear(5), F.mse_loss, "lazy"),
        (nn.Linear(5, 5), lambda z, y: (z - y).square(), r"\[7, 5\]"),
        (nn.Linear(5, 5), lambda z, y: 1.0, "float"),
    ],
)
def test_what_cannot_be_measured_is_said(model: nn.Module, loss: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        measure(model, gaussian(7, 5), gaussian(7, 5, seed=1), loss)
