"""`gradlab.watch`: gradient statistics of a training loop that is not ours, in a run directory like any other."""

from __future__ import annotations

import atexit
import operator
import os
import time
import warnings
import weakref
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
import yaml
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from gradlab.engine.modules.layers import layers_of
from gradlab.errors import GradlabError, UsageError
from gradlab.provenance import provenance, recording_cost
from gradlab.store.watched import WatchedRun
from gradlab.watching.facts import checked_settings, optimizer_facts, trial_identity
from gradlab.watching.journal import Journal, Record
from gradlab.watching.parts import unwatched
from gradlab.watching.step import Observer

Number = float | int | Tensor

GRADIENTS = "as the backward pass leaves them: before clipping, unscaled"
"""What run.json says of the gradients that are recorded."""


def watch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    every: int = 10,
    out: str | os.PathLike[str] = "runs/watched",
    *,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    scaler: torch.amp.GradScaler | None = None,
    batch_dim: int = 0,
    fresh: bool = False,
    first_step: int = 0,
) -> Recorder:
    """Record the gradient statistics of a training loop, which stays as it is to the last bit.

    Call it before the first forward pass, outside the loop; the recorder counts the optimizer's steps by itself. Step
    k is recorded with the weights before update k and the gradients of that update, as the backward pass leaves them:
    before clipping, unscaled where a GradScaler is used, added up over the passes whose gradients were accumulated.

    Args:
        model: any module, compiled or not.
        optimizer: what updates it.
        every: steps between records, from step 0 on.
        out: the run directory, in which several trainings (of other seeds, other settings) can stand together.
        seed: of this training; torch's present one if None.
        settings: what tells this training from others, as columns of the trials table: `{"depth": 10, "lr": 0.1}`.
        scaler: the GradScaler, if it doesn't call `optimizer.step` itself.
        batch_dim: the dimension of the model's input that counts examples.
        fresh: replace what an earlier training of the same seed and settings left in `out`.
        first_step: how many steps were made before, of a training that goes on from a checkpoint: steps are counted on.
            What is recorded from there is a trial of its own, with a column `first_step`; it replaces that of an
            earlier training that went on from the same step.

    Raises:
        UsageError: arguments that make no sense, or something else in the place of `out`.
        MachineError: the directory can't be written.
    """
    _check(model, optimizer, scaler)
    every = _whole("every", every, at_least=1)
    first_step, batch_dim = _whole("first_step", first_step), _whole("batch_dim", batch_dim)
    seed = torch.initial_seed() % 2**63 if seed is None else _whole("seed", seed)
    facts = {"seed": seed, "family": "custom", **optimizer_facts(optimizer), **checked_settings(settings)}
    facts |= {"first_step": first_step} if first_step else {}
    observer, path = Observer(model, batch_dim, scaler), Path(out)
    trial_id = trial_identity(observer.inner, facts)
    run = WatchedRun.open(path, _config(path, observer.inner, every), _info(path, observer.inner))
    claim = run.claim(trial_id, fresh or first_step > 0)
    return Recorder(optimizer, observer, Journal(run, trial_id, claim, facts, observer.inner), every, first_step)


class Recorder:
    """Records a training that runs elsewhere; what `gradlab.watch` returns, a context manager that closes itself.

    Attributes:
        step: how many steps the optimizer has made.
        trial_id: of this training's rows.
        notes: what can't be recorded of this model, and why.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, observer: Observer, journal: Journal, every: int, first_step: int
    ) -> None:
        self.step, self.trial_id, self.notes = first_step, journal.trial_id, unwatched(observer.inner)
        self._optimizer, self._observer, self._journal, self._every = optimizer, observer, journal, every
        self._aside, self._began = observer.aside, time.perf_counter()
        self._logged: dict[str, Number] = {}
        self._finals: dict[str, Number] = {}
        self._closed = self._warned = False
        self._handles = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]
        self._at_exit = _closing(self)
        if self.step % every == 0:
            observer.begin()

    def log(
        self,
        train_loss: Number | None = None,
        eval_loss: Number | None = None,
        eval_metric: Number | None = None,
    ) -> None:
        """Tell the losses of the present step; a tensor is read only when a record is made.

        Args:
            train_loss: the minibatch's, before or after the optimizer's step.
            eval_loss, eval_metric: of the evaluation data, with the weights as they are now.
        """
        given = {"train_loss": train_loss, "eval_loss": eval_loss, "eval_metric": eval_metric}
        values = {k: v.detach() if isinstance(v, Tensor) else v for k, v in given.items() if v is not None}
        self._finals |= values
        loss = values.pop("train_loss", None)
        if loss is not None and self._observer.begun:
            self._logged["train_loss"] = loss
        elif loss is not None and self._journal.lacks("train_loss", self.step - 1):
            self._journal.amend(self.step - 1, _numbers({"train_loss": loss}))
        if self._observer.looking:
            self._logged |= values
        elif values:
            self._journal.amend(self.step, _numbers(values))

    def close(self) -> None:
        """Write what is pending and look no more; the training may go on."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self._at_exit)
        self._observer.end()
        for handle in self._handles:
            handle.remove()
        if self._logged:
            self._journal.amend(self.step, _numbers(self._logged))
        self._aside.do(self._flush)
        self._aside.do(self._journal.tell, {"end": _now()})
        self._journal.close()
        self._warn_of_failure()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _before_step(self, *_: Any) -> None:
        if self._observer.looking:
            self._aside.do(self._observer.before_update)

    def _after_step(self, *_: Any) -> None:
        if self._skipped():
            self._observer.without_update()
            return
        if self._observer.looking:
            self._aside.do(self._record)
        self.step += 1
        if self._aside.failure is not None:
            self._observer.end()
            self._warn_of_failure()
        elif self.step % self._every == 0:
            self._observer.begin()

    def _skipped(self) -> bool:
        """Whether a fused optimizer was called with an overflow, at which it does nothing.

        An accelerator is asked at recorded steps only, since asking makes the program wait for it.
        """
        found = getattr(self._optimizer, "found_inf", None)
        if not isinstance(found, Tensor) or not (self._observer.looking or found.device.type == "cpu"):
            return False
        return bool(found)

    def _record(self) -> None:
        if self._journal.is_due:
            self._flush()
        made = self._observer.after_update()
        if made is None:
            return
        self._journal.add(Record(self.step, made.layers, made.rows, {**made.values, **_numbers(self._logged)}))
        self._logged = {}
        self.notes += [note for note in made.notes if note not in self.notes]
        self._journal.facts.setdefault("batch_size", made.examples)

    def _flush(self) -> None:
        self._journal.facts["steps"] = self.step
        self._journal.flush(_numbers(self._finals))
        training = time.perf_counter() - self._began - self._aside.seconds
        cost = recording_cost(training, self._aside.seconds)
        self._journal.tell({"notes": {self.trial_id: self.notes}, "recording": {self.trial_id: cost}})

    def _warn_of_failure(self) -> None:
        if self._aside.failure is not None and not self._warned:
            self._warned = True
            failure = self._aside.failure
            told = str(failure) if isinstance(failure, GradlabError) else f"{type(failure).__name__}: {failure}"
            warnings.warn(f"gradlab stopped recording at step {self.step}: {told}", RuntimeWarning, stacklevel=3)


def _whole(name: str, value: Any, at_least: int = 0) -> int:
    try:
        number = None if isinstance(value, bool | Tensor) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not at_least <= number < 2**63:
        raise UsageError(f"watch: {name} must be a whole number, {at_least} at least, not {value!r}")
    return number


def _check(model: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler | None) -> None:
    if not isinstance(model, nn.Module):
        raise UsageError(f"watch: the model must be a torch.nn.Module, not {type(model).__name__}")
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise UsageError(f"watch: the optimizer must be a torch.optim.Optimizer, not {type(optimizer).__name__}")
    if scaler is not None and not isinstance(scaler, torch.amp.GradScaler):
        raise UsageError(f"watch: the scaler must be a torch.amp.GradScaler, not {type(scaler).__name__}")
    lazy = [name for name, parameter in model.named_parameters() if isinstance(parameter, UninitializedParameter)]
    if lazy:
        raise UsageError(f"watch: lazy layers have no weights yet ({', '.join(lazy[:3])}); run a forward pass before")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UsageError("watch: the model has no trainable parameters")
    if not layers_of(getattr(model, "_orig_mod", model)):
        raise UsageError("watch: the model has no module with a weight of two or more dimensions")


def _config(out: Path, model: nn.Module, every: int) -> str:
    watched = {"model": type(model).__qualname__, "every": every}
    return yaml.safe_dump({"name": out.name, "watched": watched}, sort_keys=False)


def _info(out: Path, model: nn.Module) -> dict[str, Any]:
    device = next(model.parameters()).device.type
    facts = {"name": out.name, **provenance(Path.cwd()), "device": device, "gradients": GRADIENTS}
    return {**facts, "start": _now(), "end": None}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _numbers(values: Mapping[str, Number]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


def _closing(recorder: Recorder) -> Callable[[], None]:
    """What closes a recorder when the program ends, if there is one still."""
    known = weakref.ref(recorder)

    def close() -> None:
        alive = known()
        if alive is not None:
            alive.close()

    atexit.register(close)
    return close
