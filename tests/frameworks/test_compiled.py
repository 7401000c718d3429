"""Models that a framework compiles, or that are compiled before it gets them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

from gradlab import huggingface, lightning
from tests.frameworks import huggingface_trainings, lightning_trainings, recorded
from tests.frameworks.huggingface_trainings import MODELS, llama

pytestmark = [
    # Lightning asks about its leaves in a way that this release of torch deprecates.
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning"),
    # It recommends worker processes for data that lies in memory, and finds twelve batches too few to log every fifty.
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    # The Trainer recommends a GPU.
    pytest.mark.filterwarnings("ignore:.*speedups for torchdynamo"),
    # Where compiled code ends between two tensors, the compiler looks at one that has none.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
]

KINDS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "accumulated": {"gradient_accumulation_steps": 2},
    "bfloat16": {"bf16": True},
}
BY_THE_TRAINER: dict[str, Any] = {"torch_compile": True, "torch_compile_backend": "aot_eager"}


@pytest.fixture(autouse=True)
def _nothing_compiled() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def notes(out: Path) -> str:
    return (out / "run.json").read_text()


def assert_alike(one: Path, other: Path, tolerance: float = 1e-4) -> None:
    for read in (recorded.layers, recorded.steps):
        pd.testing.assert_frame_equal(read(one), read(other), rtol=tolerance, atol=1e-7)
    assert list(recorded.trials(one)["batch_size"]) == list(recorded.trials(other)["batch_size"])
    assert recorded.layers(one)["delta_rms"].notna().all()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_rows_of_what_the_trainer_compiles_are_those_of_what_it_does_not(
    tmp_path: Path, make: Any, kind: dict[str, Any]
) -> None:
    compiled, alone, plain = make(), make(), make()
    options = kind | BY_THE_TRAINER
    huggingface_trainings.train(
        compiled, tmp_path / "mine", huggingface.GradlabCallback(2, tmp_path / "mine"), **options
    )
    torch._dynamo.reset()
    huggingface_trainings.train(alone, tmp_path / "mine", **options)
    assert recorded.same_bits(compiled, alone)
    huggingface_trainings.train(plain, tmp_path / "plain", huggingface.GradlabCallback(2, tmp_path / "plain"), **kind)
    assert_alike(tmp_path / "mine", tmp_path / "plain", 0.02 if "bf16" in kind else 1e-4)


@pytest.mark.parametrize("how", ["wrapped", "in place"])
def test_rows_of_what_is_compiled_before_the_trainer_gets_it(tmp_path: Path, how: str) -> None:
    model, plain = llama(), llama()
    if how == "wrapped":
        given: Any = torch.compile(model, backend="aot_eager")
    else:
        given = model
        model.compile(backend="aot_eager")
    callback = huggingface.GradlabCallback(2, tmp_path / "mine")
    # The Trainer can't see the names of a compiled model's arguments.
    huggingface_trainings.train(given, tmp_path / "mine", callback, remove_unused_columns=False)
    huggingface_trainings.train(plain, tmp_path / "plain", huggingface.GradlabCallback(2, tmp_path / "plain"))
    assert_alike(tmp_path / "mine", tmp_path / "plain")


def test_regions_that_accelerate_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_DYNAMO_USE_REGIONAL_COMPILATION", "true")
    huggingface_trainings.train(
        llama(), tmp_path / "mine", huggingface.GradlabCallback(2, tmp_path / "mine"), **BY_THE_TRAINER
    )
    huggingface_trainings.train(llama(), tmp_path / "plain", huggingface.GradlabCallback(2, tmp_path / "plain"))
    assert_alike(tmp_path / "mine", tmp_path / "plain")


class Compiled(lightning_trainings.Module):
    """The network is compiled, its module isn't."""

    def __init__(self, how: str) -> None:
        super().__init__()
        if how == "wrapped":
            self.net: Any = torch.compile(self.net, backend="aot_eager")
        else:
            self.net.compile(backend="aot_eager")


@pytest.mark.parametrize("kind", lightning_trainings.TRAININGS)
@pytest.mark.parametrize("how", ["wrapped", "in place"])
def test_of_a_compiled_network_that_is_named_everything_is_recorded(tmp_path: Path, how: str, kind: str) -> None:
    fit, options = lightning_trainings.fit, lightning_trainings.TRAININGS[kind]
    mine, alone = Compiled(how), Compiled(how)
    fit(mine, lightning.GradlabCallback(2, tmp_path / "mine", module="net"), **options())
    torch._dynamo.reset()
    fit(alone, **options())
    assert recorded.same_bits(mine, alone)
    plain = lightning_trainings.Module()
    fit(plain, lightning.GradlabCallback(2, tmp_path / "plain", module="net"), **options())
    assert_alike(tmp_path / "mine", tmp_path / "plain", 0.02 if kind == "bfloat16" or "half" in kind else 1e-4)


@pytest.mark.parametrize("whole", [True, False])
def test_of_a_compiled_lightning_module_weights_and_losses_are_recorded(tmp_path: Path, whole: bool) -> None:
    """And of a compiled network that isn't named: the notes say what to do."""
    plain, mine = lightning_trainings.Module(), lightning_trainings.Module() if whole else Compiled("wrapped")
    given: Any = torch.compile(mine, backend="aot_eager") if whole else mine
    lightning_trainings.fit(given, lightning.GradlabCallback(2, tmp_path / "mine"))
    lightning_trainings.fit(plain, lightning.GradlabCallback(2, tmp_path / "plain"))
    found, wanted = recorded.steps(tmp_path / "mine"), recorded.steps(tmp_path / "plain")
    assert list(found["step"]) == [0, 2, 4, 6, 8, 10]
    assert list(found["train_loss"]) == pytest.approx(list(wanted["train_loss"]), rel=1e-5)
    norms, others = (recorded.layers(tmp_path / name).query("kind == 'layer'") for name in ("mine", "plain"))
    assert list(norms["weight_grad_norm"]) == pytest.approx(list(others["weight_grad_norm"]), rel=1e-4)
    assert recorded.trials(tmp_path / "mine")["batch_size"].isna().all()
    assert "no call was seen" in notes(tmp_path / "mine")
    assert ("GradlabCallback(module='net')" in notes(tmp_path / "mine")) == whole
    assert "GradlabCallback(module='net')" not in notes(tmp_path / "plain")


def test_a_compiled_lightning_module_trains_as_without(tmp_path: Path) -> None:
    mine, alone = lightning_trainings.Module(), lightning_trainings.Module()
    for module, callbacks in ((mine, [lightning.GradlabCallback(2, tmp_path / "mine")]), (alone, [])):
        given: Any = torch.compile(module, backend="aot_eager")
        lightning_trainings.fit(given, *callbacks)
        torch._dynamo.reset()
    assert recorded.same_bits(mine, alone)
    assert not recorded.same_bits(alone, nn.ModuleDict({"net": lightning_trainings.Net()}))
