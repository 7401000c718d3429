"""The callback for transformers, in its own Trainer, against loops written by hand."""

from __future__ import annotations

import copy
import gc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback

from gradlab.errors import UsageError
from gradlab.huggingface import GradlabCallback
from tests.end_to_end.commands import invoke
from tests.frameworks import recorded
from tests.frameworks.huggingface_trainings import (
    MODELS,
    STEPS,
    TRAININGS,
    Plain,
    Sequences,
    gpt2,
    grouped,
    llama,
    loss_of_step,
    train,
    watched_by_hand,
)

every_kind = pytest.mark.parametrize("kind", TRAININGS.values(), ids=TRAININGS)
every_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


@every_kind
@every_model
def test_the_training_stays_as_it_is(tmp_path: Path, make: Any, kind: dict[str, Any]) -> None:
    mine, other = make(), make()
    evaluating: dict[str, Any] = {"eval_strategy": "steps", "eval_steps": 5}
    train(mine, tmp_path / "mine", GradlabCallback(2, tmp_path / "mine"), **kind, **evaluating)
    train(other, tmp_path / "mine", **kind, **evaluating)
    assert recorded.same_bits(mine, other)
    assert not recorded.same_bits(other, make())
    assert recorded.hooks_of(mine) == recorded.hooks_of(other)


@every_kind
@pytest.mark.parametrize("make", [llama, Plain])
def test_rows_are_those_of_a_loop_by_hand(tmp_path: Path, make: Any, kind: dict[str, Any]) -> None:
    mine, other = make(), make()
    _, batches = train(mine, tmp_path / "mine", GradlabCallback(2, tmp_path / "mine"), **kind)
    watched_by_hand(other, batches, tmp_path / "theirs", kind)
    assert recorded.same_bits(mine, other)
    assert len(recorded.steps(tmp_path / "mine")) == STEPS / 2
    pd.testing.assert_frame_equal(recorded.layers(tmp_path / "mine"), recorded.layers(tmp_path / "theirs"))
    pd.testing.assert_frame_equal(recorded.steps(tmp_path / "mine"), recorded.steps(tmp_path / "theirs"))


@every_model
@pytest.mark.parametrize("accumulated", [1, 3])
def test_gradients_are_those_before_clipping_summed_over_accumulated_batches(
    tmp_path: Path, make: Any, accumulated: int
) -> None:
    model = make()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # so that the passes can be repeated
    copies: list[nn.Module] = []

    class Copying(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            copies.append(copy.deepcopy(kwargs["model"]))

    callbacks = [GradlabCallback(4, tmp_path / "mine"), Copying()]
    options: dict[str, Any] = {"gradient_accumulation_steps": accumulated, "max_grad_norm": 0.01}
    _, batches = train(model, tmp_path / "mine", *callbacks, **options)
    groups = list(grouped(batches, accumulated))
    for at in (0, 4, 8):

        def loss_of(exact: nn.Module, group: list[dict[str, Tensor]] = groups[at]) -> Tensor:
            return torch.stack(list(loss_of_step(exact, group))).sum()

        wanted = recorded.gradient_norms(copies[at], loss_of)
        found = recorded.recorded_norms(tmp_path / "mine", at)
        assert set(found) == set(wanted)
        for name in wanted:
            assert found[name] == pytest.approx(wanted[name], rel=1e-4, nan_ok=True)
        assert max(norm for norm, _ in wanted.values()) > 0.02  # it was clipped
        row = recorded.steps(tmp_path / "mine").set_index("step").loc[at]
        assert row["train_loss"] == pytest.approx(float(loss_of(copy.deepcopy(copies[at]).double()).detach()), rel=1e-5)


def test_evaluations_add_their_loss_and_metric_to_the_step_that_comes_next(tmp_path: Path) -> None:
    def hits(found: Any) -> dict[str, float]:
        return {"hits": float((found.predictions.argmax(-1) == found.label_ids).mean())}

    callback = GradlabCallback(2, tmp_path / "mine", eval_metric="eval_hits")
    options: dict[str, Any] = {"eval_strategy": "steps", "eval_steps": 4, "eval_on_start": True}
    trainer, _ = train(Plain(), tmp_path / "mine", callback, trainer_options={"compute_metrics": hits}, **options)
    logged = {entry["step"]: entry for entry in trainer.state.log_history if "eval_loss" in entry}
    assert list(logged) == [0, 4, 8, 12]
    rows = recorded.steps(tmp_path / "mine").dropna(subset="eval_loss").set_index("step")
    assert {step: (row["eval_loss"], row["eval_metric"]) for step, row in rows.iterrows()} == {
        step: (entry["eval_loss"], entry["eval_hits"]) for step, entry in logged.items()
    }
    assert list(recorded.trials(tmp_path / "mine")["final_eval_loss"]) == [logged[12]["eval_loss"]]


def squares(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
    scores: Tensor = outputs["logits"]
    return scores.square().mean() / 2


class Doubling(Trainer):
    """Trains on something else than the loss that the model returns."""

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        return 2 * super().compute_loss(*args, **kwargs)


LOSSES: dict[str, dict[str, Any]] = {
    "the model's": {},
    "smoothed": {"label_smoothing_factor": 0.1},
    "a function's": {"trainer_options": {"compute_loss_func": squares}},
    "a Trainer's own": {"kind": Doubling},
}


@pytest.mark.parametrize("accumulated", [1, 2])
@pytest.mark.parametrize(
    ("make", "computed"),
    # The Trainer smooths labels for models of its own library only.
    [(make, computed) for make in (llama, Plain) for computed in LOSSES if (make, computed) != (Plain, "smoothed")],
)
def test_the_loss_is_that_of_the_step_whoever_computes_it(
    tmp_path: Path, make: Any, computed: str, accumulated: int
) -> None:
    options = LOSSES[computed]
    callback = GradlabCallback(1, tmp_path / "mine")
    logging: dict[str, Any] = {"logging_steps": 1, "gradient_accumulation_steps": accumulated}
    trainer, _ = train(make(), tmp_path / "mine", callback, **logging, **options)
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]  # of the step just made
    assert len(logged) == STEPS
    assert list(recorded.steps(tmp_path / "mine")["train_loss"]) == logged
    assert "training_step" not in vars(trainer)


def test_a_metric_that_no_evaluation_has_is_told_once(tmp_path: Path) -> None:
    options: dict[str, Any] = {"eval_strategy": "steps", "eval_steps": 4}
    callback = GradlabCallback(2, tmp_path / "mine", eval_metric="hits", fresh=True)
    with pytest.warns(UserWarning, match=r"\(eval_metric='hits'\): no evaluation had it, but eval_loss") as warned:
        train(Plain(), tmp_path / "mine", callback, **options)
    assert len(warned) == 1
    with pytest.warns(UserWarning, match=r"eval_metric='hits'\): no evaluation had it, nor anything else"):
        train(Plain(), tmp_path / "mine", callback)


def test_a_training_that_fails_keeps_its_records_and_a_second_one_may_follow(tmp_path: Path) -> None:
    class Broken(Plain):
        calls = 0

        def forward(self, input_ids: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
            self.calls += 1
            if self.calls == 10:
                raise ValueError("a broken sentence")
            return super().forward(input_ids, labels)

    model, callback = Broken(), GradlabCallback(2, tmp_path / "mine", fresh=True)
    with pytest.raises(ValueError, match="a broken sentence"):
        train(model, tmp_path / "mine", callback)
    callback.close()
    assert list(recorded.steps(tmp_path / "mine")["step"]) == [0, 2, 4, 6, 8]
    assert recorded.hooks_of(model) == 0
    model.calls = 100
    train(model, tmp_path / "mine", callback)
    assert list(recorded.steps(tmp_path / "mine")["step"]) == [0, 2, 4, 6, 8, 10]


def test_a_training_from_a_checkpoint_counts_on(tmp_path: Path) -> None:
    saving: dict[str, Any] = {"save_strategy": "steps", "save_steps": 7}
    train(Plain(), tmp_path / "first", GradlabCallback(5, tmp_path / "first"), **saving)
    checkpoint = str(tmp_path / "checkpoints" / "checkpoint-7")
    for _ in range(2):  # a training may be stopped and sent on from the same checkpoint again and again
        train(Plain(), tmp_path / "then", GradlabCallback(5, tmp_path / "then"), resume=checkpoint)
    assert list(recorded.steps(tmp_path / "then")["step"]) == [10]
    assert list(recorded.trials(tmp_path / "then")["first_step"]) == [7]
    first, then = (recorded.layers(tmp_path / name) for name in ("first", "then"))
    pd.testing.assert_frame_equal(first[first["step"] == 10].reset_index(drop=True), then)


def test_a_model_may_be_copied_and_saved_while_it_is_trained(tmp_path: Path) -> None:
    class Saving(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            torch.save(kwargs["model"].net, tmp_path / "net.pt")
            copies.append(copy.deepcopy(kwargs["model"]))
            torch.save(kwargs["model"], tmp_path / "whole.pt")

    copies: list[nn.Module] = []
    model = Plain()
    train(model, tmp_path / "mine", GradlabCallback(2, tmp_path / "mine"), Saving())
    words = {name: tensor[None] for name, tensor in Sequences()[0].items()}
    wanted = model(**words)["loss"]
    for one in (copies[-1], torch.load(tmp_path / "whole.pt", weights_only=False)):
        assert torch.equal(one(**words)["loss"], wanted)
    assert b"gradlab" not in (tmp_path / "whole.pt").read_bytes()


def test_evaluation_alone_records_nothing(tmp_path: Path) -> None:
    callback = GradlabCallback(2, tmp_path / "mine")
    trainer, _ = train(Plain(), tmp_path / "mine", callback)
    before = {path: path.read_bytes() for path in (tmp_path / "mine").rglob("*.parquet")}
    trainer.evaluate()
    assert {path: path.read_bytes() for path in (tmp_path / "mine").rglob("*.parquet")} == before


def test_the_seed_is_the_trainers(tmp_path: Path) -> None:
    for seed in (5, 6):
        train(Plain(), tmp_path / "mine", GradlabCallback(6, tmp_path / "mine"), seed=seed)
    train(Plain(), tmp_path / "mine", GradlabCallback(6, tmp_path / "mine", seed=1))
    assert sorted(recorded.trials(tmp_path / "mine")["seed"]) == [1, 5, 6]


def test_the_same_training_again_is_refused_unless_fresh(tmp_path: Path) -> None:
    train(Plain(), tmp_path / "mine", GradlabCallback(5, tmp_path / "mine"))
    with pytest.raises(UsageError, match="fresh=True"):
        train(Plain(), tmp_path / "mine", GradlabCallback(5, tmp_path / "mine"))
    train(Plain(), tmp_path / "mine", GradlabCallback(5, tmp_path / "mine", fresh=True))
    assert len(recorded.trials(tmp_path / "mine")) == 1


def test_replicas_in_threads_are_refused(tmp_path: Path) -> None:
    arguments = SimpleNamespace(n_gpu=2, seed=0)
    state = SimpleNamespace(is_world_process_zero=True, global_step=0)
    model = Plain()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    callback = GradlabCallback(2, tmp_path / "mine")
    with pytest.raises(UsageError, match=r"2 GPUs in one process: launch it with torchrun"):
        callback.on_train_begin(arguments, state, None, model=model, optimizer=optimizer)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [gpt2, Plain])
def test_commands_read_it(tmp_path: Path, make: Any) -> None:
    for seed in (0, 1):
        for name in ("one", "other"):
            callback = GradlabCallback(4, tmp_path / "mine", seed=seed, settings={"variant": name})
            train(make(), tmp_path / "mine", callback)
    for command in ("show", "compare"):
        answer = invoke(command, tmp_path / "mine")
        assert answer.code == 0, answer.stderr
    assert "variant" in answer.stdout


def test_the_callback_is_gone_with_the_training(tmp_path: Path) -> None:
    callback = GradlabCallback(2, tmp_path / "mine")
    train(Plain(), tmp_path / "mine", callback)
    gc.collect()
    assert callback.recorder is None
