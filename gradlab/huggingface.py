"""Records of a training with transformers: `Trainer(..., callbacks=[GradlabCallback(every=10, out="runs/mine")])`."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from torch import Tensor

from gradlab.errors import UsageError
from gradlab.watching import Recorder, watch
from gradlab.watching.evaluations import Evaluations

if not (find_spec("transformers") and find_spec("accelerate")):
    raise ImportError(
        "gradlab.huggingface needs transformers and accelerate, which are not installed; in the clone of gradlab: "
        "pip install --constraint constraints.txt --editable '.[huggingface]'"
    )
from accelerate.optimizer import AcceleratedOptimizer
from transformers.trainer import Trainer
from transformers.trainer_callback import TrainerCallback, TrainerControl, TrainerState
from transformers.training_args import TrainingArguments

_SHARDED = {"DEEPSPEED", "FSDP", "MEGATRON_LM", "XLA"}
"""Kinds of accelerate's DistributedType under which no process holds whole gradients that torch's hooks could show."""


class GradlabCallback(TrainerCallback):
    """Records how gradients flow through a model while `Trainer.train` trains it.

    Everything is recorded as by `gradlab.watch`: gradients before clipping (`max_grad_norm` is 1.0 unless you say
    otherwise), summed over accumulated batches, without the factor of a GradScaler. The training stays as it is, bit
    by bit. Rows are at optimizer steps, whatever the number of batches in each.

    `train_loss` is the sum of what the Trainer's `training_step` returned for the batches of the step: the loss that
    is differentiated, whoever computes it. Evaluations add `eval_loss` and `eval_metric` to the step that comes next.

    Of a model that the Trainer compiles (`torch_compile=True`) everything is recorded, in several processes the weights
    and their gradients alone.

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
        self._losses: _StepLosses | None = None
        self._evaluations = Evaluations("eval_loss", eval_loss, eval_metric)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start a recorder."""
        self.close()
        model, optimizer, scaler = kwargs["model"], kwargs["optimizer"], None
        trainer = _calling_trainer()
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
        called = getattr(trainer, "model_wrapped", model)
        # What the Trainer has compiled runs no hooks of the model itself. Processes are wrapped around it otherwise.
        self.recorder = watch(
            called if getattr(called, "_orig_mod", None) is model else model,
            optimizer,
            self.every,
            self.out,
            seed=args.seed if self.seed is None else self.seed,
            settings=self.settings,
            scaler=scaler,
            fresh=self.fresh,
            first_step=state.global_step,
        )
        self._losses = None if trainer is None else _StepLosses(trainer)
        self._evaluations = Evaluations("eval_loss", self.eval_loss, self.eval_metric)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Log the step's loss."""
        if self.recorder is not None and self._losses is not None:
            self.recorder.log(train_loss=self._losses.of_step())

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
            self.recorder.log(**self._evaluations.columns(metrics))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write what is left and let go of the model."""
        missing = self._evaluations.missing() if self.recorder is not None else None
        self.close()
        if missing is not None:
            warnings.warn(missing, UserWarning, stacklevel=2)

    def close(self) -> None:
        """Likewise, after an exception; without effect while no training is recorded."""
        if self._losses is not None:
            self._losses.remove()
            self._losses = None
        if self.recorder is not None:
            self.recorder.close()
            self.recorder = None


class _StepLosses:
    """The losses that a Trainer's backward passes start from, one for each accumulated batch.

    Stands before the Trainer's `training_step`, which returns them, however they are computed.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer, self._step = trainer, trainer.training_step
        self._before = vars(trainer).get("training_step")
        self._sum: Tensor | None = None
        self._stand(self)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """One batch's forward and backward pass; its loss is kept on its device."""
        loss = self._step(*arguments, **keywords)
        if isinstance(loss, Tensor):
            # A copy, since compiled code may write into its outputs' memory again.
            self._sum = loss.detach().clone() if self._sum is None else self._sum + loss.detach()
        return loss

    def of_step(self) -> Tensor | None:
        """The loss of an optimizer step, whose batches are forgotten; None if there were none."""
        total, self._sum = self._sum, None
        return total

    def remove(self) -> None:
        """Stand aside, unless something else has come before the method since."""
        if vars(self._trainer).get("training_step") is self:
            self._stand(self._before)

    def _stand(self, step: Any) -> None:
        if step is None:
            del self._trainer.training_step
        else:
            vars(self._trainer)["training_step"] = step


def _calling_trainer() -> Trainer | None:
    """The Trainer whose training begins: it doesn't show itself to its callbacks."""
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, Trainer):
            return owner
        frame = frame.f_back
    return None
