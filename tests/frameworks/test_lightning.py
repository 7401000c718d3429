"""The callback for Lightning, in Lightning's own trainer, against loops written by hand."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pandas as pd
import pytest
import torch
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gradlab.errors import UsageError
from gradlab.lightning import GradlabCallback
from tests.end_to_end.commands import invoke
from tests.frameworks import recorded
from tests.frameworks.lightning_trainings import TRAININGS, ByHand, Module, Net, fit, grouped, loader, watched_by_hand

pytestmark = [
    # Lightning asks about its leaves in a way that this release of torch deprecates.
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning"),
    # It recommends worker processes for data that lies in memory.
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    # It finds twelve batches too few to log every fifty.
    pytest.mark.filterwarnings("ignore:The number of training batches"),
]


@pytest.mark.parametrize("kind", TRAININGS)
def test_the_training_stays_as_it_is(tmp_path: Path, kind: str) -> None:
    recorded_one, other = Module(), Module()
    fit(recorded_one, GradlabCallback(2, tmp_path / "mine"), validate=True, **TRAININGS[kind]())
    fit(other, validate=True, **TRAININGS[kind]())
    assert recorded.same_bits(recorded_one, other)
    assert not recorded.same_bits(other, Module())
    assert recorded.hooks_of(recorded_one) == recorded.hooks_of(other)


@pytest.mark.parametrize("kind", TRAININGS)
def test_rows_are_those_of_a_loop_by_hand(tmp_path: Path, kind: str) -> None:
    module, net = Module(), Net()
    fit(module, GradlabCallback(2, tmp_path / "mine", module="net"), **TRAININGS[kind]())
    watched_by_hand(net, tmp_path / "theirs", 2, kind)
    assert recorded.same_bits(module.net, net)
    assert len(recorded.steps(tmp_path / "mine")) == (2 if "accumulated" in kind else 6)
    pd.testing.assert_frame_equal(recorded.layers(tmp_path / "mine"), recorded.layers(tmp_path / "theirs"))
    pd.testing.assert_frame_equal(recorded.steps(tmp_path / "mine"), recorded.steps(tmp_path / "theirs"))


def test_gradients_are_those_before_clipping_summed_over_accumulated_batches(tmp_path: Path) -> None:
    class Watched(Module):
        """Keeps a copy of itself before each step."""

        def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
            copies.append(copy.deepcopy(self.net))

    class Deterministic(Watched):
        """No dropout, so that the passes can be repeated."""

        def __init__(self) -> None:
            super().__init__()
            self.net[3] = nn.Identity()

    copies: list[nn.Module] = []
    fit(
        Deterministic(),
        GradlabCallback(1, tmp_path / "mine", module="net"),
        gradient_clip_val=0.01,
        accumulate_grad_batches=3,
    )
    batches = list(grouped(3))
    assert len(copies) == len(batches) == 4
    for step, (model, group) in enumerate(zip(copies, batches, strict=True)):

        def loss_of(exact: nn.Module, group: list[list[Tensor]] = group) -> Tensor:
            return torch.stack([cross_entropy(exact(x.double()), y) for x, y in group]).mean()

        wanted = recorded.gradient_norms(model, loss_of)
        found = recorded.recorded_norms(tmp_path / "mine", step)
        assert list(found) == list(wanted)
        for name in wanted:
            # The bias before a batch normalisation has no gradient but what rounding makes of it.
            assert found[name] == pytest.approx(wanted[name], rel=1e-4, abs=1e-7)
        assert max(norm for norm, _ in wanted.values()) > 0.02  # it was clipped
        row = recorded.steps(tmp_path / "mine").iloc[step]
        assert row["train_loss"] == pytest.approx(float(loss_of(copy.deepcopy(model).double()).detach()), rel=1e-5)


def test_a_module_that_steps_by_itself(tmp_path: Path) -> None:
    by_hand, module, unrecorded = ByHand(), Module(), ByHand()
    fit(by_hand, GradlabCallback(2, tmp_path / "by-hand"))
    fit(module, GradlabCallback(2, tmp_path / "module"))
    fit(unrecorded)
    assert recorded.same_bits(by_hand, module)
    assert recorded.same_bits(by_hand, unrecorded)
    pd.testing.assert_frame_equal(recorded.layers(tmp_path / "by-hand"), recorded.layers(tmp_path / "module"))
    pd.testing.assert_frame_equal(recorded.steps(tmp_path / "by-hand"), recorded.steps(tmp_path / "module"))


def test_validation_adds_its_loss_and_metric_to_the_step_that_comes_next(tmp_path: Path) -> None:
    seen: list[tuple[int, bool, float, float]] = []

    class Watched(Module):
        def on_validation_end(self) -> None:
            found = self.trainer.callback_metrics
            now = (self.trainer.global_step, self.trainer.sanity_checking)
            seen.append((*now, float(found["val_loss"]), float(found["hits"])))

    callback = GradlabCallback(2, tmp_path / "mine", eval_metric="hits")
    fit(Watched(), callback, validate=True, max_epochs=2, val_check_interval=4)
    assert [(step, sanity) for step, sanity, *_ in seen] == [(0, True)] + [(step, False) for step in range(4, 25, 4)]
    rows = recorded.steps(tmp_path / "mine").set_index("step")
    wanted = {step: found for step, sanity, *found in seen if not sanity}
    assert {
        step: [row["eval_loss"], row["eval_metric"]] for step, row in rows.dropna(subset="eval_loss").iterrows()
    } == wanted
    assert list(recorded.trials(tmp_path / "mine")["final_eval_loss"]) == [wanted[24][0]]


def test_a_metric_that_was_never_logged_is_told_once(tmp_path: Path) -> None:
    callback = GradlabCallback(2, tmp_path / "mine", eval_loss="loss", eval_metric="nope")
    told = r"GradlabCallback\(eval_loss='loss', eval_metric='nope'\): no evaluation had it, but .*val_loss.*hits"
    with pytest.warns(UserWarning, match=told) as warned:
        fit(Module(), callback, validate=True, max_epochs=2)
    assert len([one for one in warned if "GradlabCallback" in str(one.message)]) == 1


@pytest.mark.parametrize("error", [ValueError("a broken image"), KeyboardInterrupt()])
def test_a_training_that_fails_or_is_interrupted_keeps_its_records(tmp_path: Path, error: BaseException) -> None:
    module = Module(fails_at=9, error=error)
    with pytest.raises((type(error), SystemExit)):
        fit(module, GradlabCallback(2, tmp_path / "mine"))
    assert list(recorded.steps(tmp_path / "mine")["step"]) == [0, 2, 4, 6, 8]
    (row,) = recorded.trials(tmp_path / "mine").to_dict("records")
    if isinstance(error, ValueError):
        assert row["status"] == "failed"
        assert "ValueError: a broken image" in row["error"]
    else:
        assert row["status"] == "completed"
    assert recorded.hooks_of(module) == 0


def test_a_training_from_a_checkpoint_counts_on(tmp_path: Path) -> None:
    through, first, then = Module(), Module(), Module()
    fit(through, GradlabCallback(5, tmp_path / "through"), max_epochs=2)
    fit(first, GradlabCallback(5, tmp_path / "mine")).save_checkpoint(tmp_path / "at-12.ckpt")
    for _ in range(2):  # a training may be stopped and sent on from the same checkpoint again and again
        fit(then, GradlabCallback(5, tmp_path / "mine"), max_epochs=2, ckpt_path=tmp_path / "at-12.ckpt")
    assert list(recorded.steps(tmp_path / "mine")["step"]) == [0, 5, 10, 15, 20]
    assert sorted(recorded.trials(tmp_path / "mine")["first_step"].fillna(0)) == [0, 12]


def test_a_second_call_of_fit_counts_on(tmp_path: Path) -> None:
    module = Module()
    trainer = fit(module, GradlabCallback(5, tmp_path / "mine"))
    trainer.fit_loop.max_epochs = 2
    trainer.fit(module, loader(), loader(1))
    assert list(recorded.steps(tmp_path / "mine")["step"]) == [0, 5, 10, 15, 20]


def test_the_same_training_again_is_refused_unless_fresh(tmp_path: Path) -> None:
    fit(Module(), GradlabCallback(5, tmp_path / "mine"))
    with pytest.raises(UsageError, match="fresh=True"):
        fit(Module(), GradlabCallback(5, tmp_path / "mine"))
    fit(Module(), GradlabCallback(5, tmp_path / "mine", fresh=True))
    assert len(recorded.trials(tmp_path / "mine")) == 1


def test_the_seed_is_torchs_unless_another_is_given(tmp_path: Path) -> None:
    for seed in (11, 12):
        fit(Module(), GradlabCallback(5, tmp_path / "mine"), seed=seed)
    fit(Module(), GradlabCallback(5, tmp_path / "mine", seed=3))
    assert sorted(recorded.trials(tmp_path / "mine")["seed"]) == [3, 11, 12]


class Two(pl.LightningModule):
    """Two networks, each with its own optimizer and loss."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.one, self.other = Net(), Net()
        self.one[3] = self.other[3] = nn.Identity()  # without dropout they are alike

    def training_step(self, batch: list[Tensor], index: int) -> None:
        inputs, labels = batch
        for net, optimizer, factor in zip((self.one, self.other), self.optimizers(), (1, 3), strict=True):
            optimizer.zero_grad()
            self.manual_backward(factor * cross_entropy(net(inputs), labels))
            optimizer.step()

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        """Nothing is validated."""

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(net.parameters(), lr=0.1) for net in (self.one, self.other)]


def test_of_several_optimizers_one_is_chosen(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"2 optimizers.*optimizer=0, module='generator'"):
        fit(Two(), GradlabCallback(2, tmp_path / "mine"))
    with pytest.raises(UsageError, match=r"optimizer=2.*2 optimizers"):
        fit(Two(), GradlabCallback(2, tmp_path / "mine", optimizer=2))
    with pytest.raises(UsageError, match=r"module='three'.*Two has no such module, but one, other"):
        fit(Two(), GradlabCallback(2, tmp_path / "mine", optimizer=0, module="three"))
    assert not (tmp_path / "mine").exists()
    places = [("one", 0), ("other", 1)]
    callbacks = [GradlabCallback(2, tmp_path / name, optimizer=place, module=name) for name, place in places]
    module, unrecorded = Two(), Two()
    fit(module, *callbacks)
    fit(unrecorded)
    assert recorded.same_bits(module, unrecorded)
    one, other = (recorded.layers(tmp_path / name) for name, _ in places)
    assert list(one["name"]) == list(other["name"])
    first = one["step"] == 0
    assert list(other[first]["weight_grad_norm"]) == pytest.approx(list(3 * one[first]["weight_grad_norm"]))
    one, other = (recorded.steps(tmp_path / name) for name, _ in places)
    assert list(one["step"]) == list(range(0, 12, 2))
    assert other["train_loss"][0] == pytest.approx(3 * one["train_loss"][0])


@pytest.mark.parametrize("strategy", [FSDPStrategy, DeepSpeedStrategy])
def test_sharded_models_are_refused(strategy: type) -> None:
    trainer = SimpleNamespace(strategy=strategy.__new__(strategy))
    with pytest.raises(UsageError, match=rf"cannot record under {strategy.__name__}"):
        GradlabCallback().on_train_start(trainer, Module())  # type: ignore[arg-type]


def test_commands_read_it(tmp_path: Path) -> None:
    for seed, lr in ((0, "low"), (1, "low"), (0, "high"), (1, "high")):
        fit(Module(), GradlabCallback(2, tmp_path / "mine", seed=seed, settings={"rate": lr}), validate=True)
    for command in ("show", "compare"):
        answer = invoke(command, tmp_path / "mine")
        assert answer.code == 0, answer.stderr
    assert "rate" in answer.stdout


def test_the_other_package_takes_it_too(tmp_path: Path) -> None:
    """`pytorch_lightning` holds the same code as `lightning.pytorch`, but other classes."""
    import pytorch_lightning

    module, net = Module(), Net()

    class Elsewhere(pytorch_lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        training_step = Module.training_step
        configure_optimizers = Module.configure_optimizers
        fails_at = None

    fit(module, GradlabCallback(2, tmp_path / "mine"))
    torch.manual_seed(7)
    options: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pytorch_lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        enable_model_summary=False,
        callbacks=[GradlabCallback(2, tmp_path / "theirs")],
        **options,
    )
    trainer.fit(Elsewhere(), loader())
    assert recorded.same_bits(module.net, net)
    pd.testing.assert_frame_equal(recorded.layers(tmp_path / "mine"), recorded.layers(tmp_path / "theirs"))
