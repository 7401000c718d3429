"""Records of a training with Lightning: `Trainer(callbacks=[GradlabCallback(every=10, out="runs/mine")])`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradlab.errors import UsageError
from gradlab.watching import Recorder, watch
from gradlab.watching.evaluations import Evaluations

if TYPE_CHECKING or find_spec("lightning"):
    from lightning.pytorch.callbacks import Callback
elif find_spec("pytorch_lightning"):
    from pytorch_lightning.callbacks import Callback
else:
    raise ImportError(
        "gradlab.lightning needs Lightning, which is not installed; in the clone of gradlab: "
        "pip install --constraint constraints.txt --editable '.[lightning]'"
    )

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

_SHARDED = {"FSDPStrategy", "DeepSpeedStrategy", "ModelParallelStrategy", "XLAStrategy", "SingleDeviceXLAStrategy"}
"""Strategies under which no process holds whole gradients that torch's hooks could show."""

_COMPILED = (
    "the whole LightningModule is compiled, its training_step included, so only weights and their gradients are "
    "recorded; compile the network in it instead (self.net = torch.compile(net)) and give GradlabCallback(module='net')"
)


class GradlabCallback(Callback):
    """Records how gradients flow through a LightningModule while `Trainer.fit` trains it.

    Everything is recorded as by `gradlab.watch`: gradients before clipping, summed over accumulated batches, without
    the factor of a GradScaler. The training stays as it is, bit by bit. Rows are at optimizer steps, whatever the
    number of batches in each; `train_loss` is the sum of the losses that backward passes started from since the
    previous optimizer step (Lightning divides each by `accumulate_grad_batches`). Validation adds `eval_loss` and
    `eval_metric` to the step that comes next; the sanity check before the training adds nothing.

    A training that goes on, from a checkpoint or in a second call of `fit`, is a trial of its own whose steps are
    counted on, with its beginning in the column `first_step`. Going on again from the same step replaces it.

    Of a compiled LightningModule only the weights and their gradients are recorded, since its `training_step` is
    compiled with it; of a compiled network in it everything, where `module` names that.

    With several processes (DDP) the one of rank 0 records, and its gradients are those of its own share of the batch.

    Args:
        every: steps from one record to the next; the first is at step 0.
        out: the run directory.
        seed: the trial's; None takes torch's, which `seed_everything` sets.
        settings: of this training, for `gradlab compare`: names and values, such as `{"model": "wide"}`.
        fresh: replace what an earlier training with the same settings and seed left in `out`.
        optimizer: whose steps count, by its place in `configure_optimizers`, where there are several.
        module: name of the submodule to record; "" means all of the LightningModule.
        eval_loss: what the LightningModule logs it as in its validation.
        eval_metric: likewise; None means that there is none.

    Attributes:
        recorder: of the training that runs; None before, after, and in other processes than rank 0.

    Raises:
        UsageError: when the training starts, if it cannot be recorded: of several optimizers none was chosen, the
            strategy shards the model, or what `gradlab.watch` refuses.
    """

    def __init__(
        self,
        every: int = 10,
        out: str | os.PathLike[str] = "runs/watched",
        *,
        seed: int | None = None,
        settings: Mapping[str, Any] | None = None,
        fresh: bool = False,
        optimizer: int | None = None,
        module: str = "",
        eval_loss: str = "val_loss",
        eval_metric: str | None = None,
    ) -> None:
        self.every, self.out, self.seed, self.settings, self.fresh = every, out, seed, settings, fresh
        self.optimizer, self.module = optimizer, module
        self.eval_loss, self.eval_metric = eval_loss, eval_metric
        self.recorder: Recorder | None = None
        self._stepping: Optimizer | None = None
        self._scaler: torch.amp.GradScaler | None = None
        self._loss: Tensor | None = None
        self._evaluations = Evaluations("val_loss", eval_loss, eval_metric)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start a recorder."""
        self._close()
        if sharded := _SHARDED & {kind.__name__ for kind in type(trainer.strategy).__mro__}:
            raise UsageError(f"gradlab cannot record under {sharded.pop()}: no process holds whole gradients; use DDP")
        self._stepping = self._chosen(trainer.optimizers)
        if not trainer.is_global_zero:
            return
        self._scaler, self._loss = getattr(trainer.precision_plugin, "scaler", None), None
        self.recorder = watch(
            self._watched(pl_module),
            self._stepping,
            self.every,
            self.out,
            seed=self.seed,
            settings=self.settings,
            scaler=self._scaler,
            fresh=self.fresh,
            first_step=trainer.global_step,
        )
        self._evaluations = Evaluations("val_loss", self.eval_loss, self.eval_metric)
        if pl_module._compiler_ctx is not None:
            self.recorder.notes.append(_COMPILED)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Keep the loss that is to be differentiated, on its device."""
        if self.recorder is not None:
            loss = loss.detach()
            if self._scaler is not None:
                # Lightning shows the loss times the scaler's factor, which only the scaler knows without a host sync.
                loss = loss / self._scaler.scale(torch.ones_like(loss))
            self._loss = loss.clone() if self._loss is None else self._loss + loss

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Log the losses since the previous step, of whichever optimizer."""
        if self.recorder is not None and self._loss is not None and optimizer is self._stepping:
            self.recorder.log(train_loss=self._loss)
        self._loss = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log what the validation found."""
        if self.recorder is None or trainer.sanity_checking:
            return
        self.recorder.log(**self._evaluations.columns(trainer.callback_metrics))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what is left and let go of the model."""
        missing = self._evaluations.missing() if self.recorder is not None else None
        self._close()
        if missing is not None:
            warnings.warn(missing, UserWarning, stacklevel=2)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Likewise: a training that is interrupted keeps its records, and one that fails has its error beside them."""
        self._close(exception if isinstance(exception, Exception) else None)

    def _close(self, error: Exception | None = None) -> None:
        if self.recorder is not None:
            self.recorder.close(error)
            self.recorder = None

    def _watched(self, module: nn.Module) -> nn.Module:
        try:
            return module.get_submodule(self.module)
        except AttributeError:
            names = ", ".join(name for name, _ in module.named_children())
            raise UsageError(
                f"GradlabCallback(module={self.module!r}): {type(module).__name__} has no such module, but {names}"
            ) from None

    def _chosen(self, optimizers: list[Optimizer]) -> Optimizer:
        if self.optimizer is None and len(optimizers) > 1:
            raise UsageError(
                f"this training has {len(optimizers)} optimizers, and gradlab counts the steps of one: give "
                "GradlabCallback(optimizer=0, module='generator', ...), for instance, and one more callback with "
                "another out= for each other optimizer"
            )
        place = self.optimizer or 0
        if not 0 <= place < len(optimizers):
            raise UsageError(f"GradlabCallback(optimizer={place}): this training has {len(optimizers)} optimizers")
        return optimizers[place]
