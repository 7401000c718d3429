"""Records of a training with transformers: `Trainer(..., callbacks=[GradlabCallback(every=10, out="runs/mine")])`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gradlab.errors import UsageError
from gradlab.watching import Recorder, watch

if not (find_spec("transformers") and find_spec("accelerate")):
    raise ImportError(
        "gradlab.huggingface needs transformers and accelerate, which are not installed; in the clone of gradlab: "
        "pip install --constraint constraints.txt --editable '.[huggingface]'"
    )
from accelerate.optimizer import AcceleratedOptimizer
from transformers.trainer_callback import TrainerCallback, TrainerControl, TrainerState
from transformers.training_args import TrainingArguments

_SHARDED = {"DEEPSPEED", "FSDP", "MEGATRON_LM", "XLA"}
"""Kinds of accelerate's DistributedType under which no process holds whole gradients that torch's hooks could show."""


class GradlabCallback(TrainerCallback):
    """Records how gradients flow through a model while `Trainer.train` trains it.

    Everything is recorded as by `gradlab.watch`: gradients before clipping (`max_grad_norm` is 1.0 unless you say
    otherwise), summed over accumulated batches, without the factor of a GradScaler. The training stays as it is, bit
    by bit. Rows are at optimizer steps, whatever the number of batches in each.

    `train_loss` is the loss that the model itself returns, as it is averaged over the accumulated batches. Where the
    model returns none, since a `compute_loss_func` or label smoothing works on its outputs, it is the `loss` of the
    Trainer's latest log: the mean over the steps before. Evaluations add `eval_loss` and `eval_metric` to the step that
    comes next.

    A training that goes on from a checkpoint is a trial of its own whose steps are counted on, with its beginning in
    the column `first_step`. Going on again from the same step replaces it.

    The Trainer doesn't tell its callbacks of exceptions: after one, the recorder is closed when the next training
    starts, when `close()` is called, or when Python exits.

    With several processes the one of rank 0 records, and its gradients are those of its own share of the batch.

    Args:
        every: steps from one record to the next; the first is at step 0.
        out: the run directory.
        seed: the trial's; None takes that of the TrainingArguments.
        settings: of this training, for `gradlab compare`: names and values, such as `{"model": "wide"}`.
        fresh: replace what an earlier training with the same settings and seed left in `out`.
        eval_loss: what the Trainer calls it: `eval_NAME_loss`, where several data sets are evaluated.
        eval_metric: likewise, such as `eval_accuracy`; None means that there is none.

    Attributes:
        recorder: of the training that runs; None before, after, and in other processes than rank 0.

    Raises:
        UsageError: when the training starts, if it cannot be recorded: the model is sharded (FSDP, DeepSpeed) or
            replicated in threads (DataParallel), or what `gradlab.watch` refuses.
    """

    def __init__(
        self,
        every: int = 10,
        out: str | os.PathLike[str] = "runs/watched",
        *,
        seed: int | None = None,
        settings: Mapping[str, Any] | None = None,
        fresh: bool = False,
        eval_loss: str = "eval_loss",
        eval_metric: str | None = None,
    ) -> None:
        self.every, self.out, self.seed, self.settings, self.fresh = every, out, seed, settings, fresh
        self.eval_loss, self.eval_metric = eval_loss, eval_metric
        self.recorder: Recorder | None = None
        self._losses = _ModelLosses()
        self._trainers_mean: float | None = None
        self._hook: RemovableHandle | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start a recorder."""
        self.close()
        model, optimizer, scaler = kwargs["model"], kwargs["optimizer"], None
        if isinstance(optimizer, AcceleratedOptimizer):
            kind = optimizer.accelerator_state.distributed_type.value
            if kind in _SHARDED:
                raise UsageError(f"gradlab cannot record under {kind}: no process holds whole gradients")
            # The hooks must be on the optimizer that really steps.
            optimizer, scaler = optimizer.optimizer, optimizer.scaler
        if args.n_gpu > 1:
            raise UsageError(
                f"gradlab cannot record under DataParallel, which the Trainer takes for {args.n_gpu} GPUs in one "
                "process: launch it with torchrun, or let it see one (CUDA_VISIBLE_DEVICES=0)"
            )
        if not state.is_world_process_zero:
            return
        self.recorder = watch(
            model,
            optimizer,
            self.every,
            self.out,
            seed=args.seed if self.seed is None else self.seed,
            settings=self.settings,
            scaler=scaler,
            fresh=self.fresh,
            first_step=state.global_step,
        )
        self._losses, self._trainers_mean = _ModelLosses(), None
        self._hook = model.register_forward_hook(self._losses, with_kwargs=True)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Log the step's loss."""
        if self.recorder is not None:
            loss = self._losses.of_step()
            self.recorder.log(train_loss=self._trainers_mean if loss is None else loss)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Keep the Trainer's own mean of losses, for models that return none."""
        self._trainers_mean = (logs or {}).get("loss", self._trainers_mean)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Log what the evaluation found."""
        if self.recorder is not None and metrics is not None:
            self.recorder.log(eval_loss=metrics.get(self.eval_loss), eval_metric=metrics.get(self.eval_metric or ""))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write what is left and let go of the model."""
        self.close()

    def close(self) -> None:
        """Likewise, after an exception; without effect while no training is recorded."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
        if self.recorder is not None:
            self.recorder.close()
            self.recorder = None


class _ModelLosses:
    """The losses that the model returned since the latest optimizer step, one for each accumulated batch.

    A forward hook, called as it stands where the Trainer compiles the model.
    """

    def __init__(self) -> None:
        self._latest: Tensor | None = None
        self._sum: Tensor | None = None
        self._count = 0
        self._normalised = False

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """Keep the loss on its device."""
        if not module.training or not torch.is_grad_enabled():
            return
        loss = output.get("loss") if isinstance(output, Mapping) else output[0] if isinstance(output, tuple) else None
        if isinstance(loss, Tensor) and loss.dim() == 0 and loss.requires_grad:
            self._add()
            # No copy, so that the factor that the Trainer applies in place, with several processes, is in it.
            self._latest = loss.detach()
            # A model that is given the number of items of all accumulated batches divides by it already.
            self._normalised = kwargs.get("num_items_in_batch") is not None

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # A copied or saved model gets a method that does nothing, of Python's own, so that it needs no gradlab.
        return getattr, (contextlib.nullcontext(), "__exit__")

    def of_step(self) -> Tensor | None:
        """The loss of an optimizer step, whose batches are forgotten; None if the model returned none."""
        self._add()
        total, count = self._sum, self._count
        self._sum, self._count = None, 0
        return total if total is None or self._normalised else total / count

    def _add(self) -> None:
        if self._latest is not None:
            self._sum = self._latest if self._sum is None else self._sum + self._latest
            self._count += 1
            self._latest = None
