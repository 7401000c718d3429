"""`gradlab.watch`: gradient statistics of a training loop that is not ours, in a run directory like any other."""

from __future__ import annotations

import atexit
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

from gradlab.engine.user_code import describe
from gradlab.errors import GradlabError
from gradlab.provenance import provenance, recording_cost
from gradlab.store.watched import WatchedRun
from gradlab.watching.arguments import check, folder, scalar, whole
from gradlab.watching.facts import checked_settings, optimizer_facts, trial_identity
from gradlab.watching.journal import Journal, Record
from gradlab.watching.parts import unwatched, without_update
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
    check(model, optimizer, scaler)
    every = whole("every", every, at_least=1)
    first_step, batch_dim = whole("first_step", first_step), whole("batch_dim", batch_dim)
    seed = torch.initial_seed() % 2**63 if seed is None else whole("seed", seed)
    facts = {"seed": seed, "family": "custom", **optimizer_facts(optimizer), **checked_settings(settings)}
    facts |= {"first_step": first_step} if first_step else {}
    observer, path = Observer(model, batch_dim, scaler), folder(out)
    trial_id = trial_identity(observer.inner, facts)
    run = WatchedRun.open(path, _config(path, observer.inner, every), _info(path, observer.inner))
    claim = run.claim(trial_id, fresh or first_step > 0, f"a training with seed {seed} and these settings")
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
        self.step, self.trial_id = first_step, journal.trial_id
        self.notes = [*unwatched(observer.inner), *without_update(observer.inner, optimizer)]
        self._optimizer, self._observer, self._journal, self._every = optimizer, observer, journal, every
        self._aside, self._began = observer.aside, time.perf_counter()
        self._logged: dict[str, Number] = {}
        self._finals: dict[str, Number] = {}
        self._noted: list[str] | None = None
        self._closed = self._warned = self._made_steps = False
        self._handles = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]
        self._at_exit = _closing(self)
        self._begin()

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

        Raises:
            UsageError: a value that is no single number.
        """
        given = {"train_loss": train_loss, "eval_loss": eval_loss, "eval_metric": eval_metric}
        values = {name: scalar(name, value) for name, value in given.items() if value is not None}
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

    def close(self, error: BaseException | None = None) -> None:
        """Write what is pending and look no more; the training may go on.

        Args:
            error: what ended the training, if it failed.
        """
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self._at_exit)
        self._observer.end()
        for handle in self._handles:
            handle.remove()
        if self._logged:
            self._journal.amend(self.step, _numbers(self._logged))
        if error is not None:
            self._journal.error = f"the training raised {describe(error)}"
        self._noted = None
        self._aside.do(self._flush)
        self._aside.do(self._journal.tell, {"end": _now()})
        self._journal.close()
        self._warn_of_failure()
        if self._made_steps and self._journal.is_empty and self._aside.failure is None:
            told = "no backward pass through the model came before a step that was to be recorded"
            warnings.warn(f"gradlab recorded nothing: {told}", RuntimeWarning, stacklevel=2)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close(error if isinstance(error, Exception) else None)

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
        self._made_steps = True
        self._begin()

    def _begin(self) -> None:
        """Look at the coming step if it is due."""
        if self.step % self._every == 0:
            self._aside.do(self._observer.begin)
        if self._aside.failure is not None:
            self._observer.end()
            self._warn_of_failure()

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
        if self._noted == self.notes:
            return
        self._noted = list(self.notes)
        training = time.perf_counter() - self._began - self._aside.seconds
        cost = recording_cost(training, self._aside.seconds)
        self._journal.tell({"notes": {self.trial_id: self.notes}, "recording": {self.trial_id: cost}})

    def _warn_of_failure(self) -> None:
        if self._aside.failure is not None and not self._warned:
            self._warned = True
            failure = self._aside.failure
            told = str(failure) if isinstance(failure, GradlabError) else f"{type(failure).__name__}: {failure}"
            warnings.warn(f"gradlab stopped recording at step {self.step}: {told}", RuntimeWarning, stacklevel=3)


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
    known, process = weakref.ref(recorder), os.getpid()

    def close() -> None:
        alive = known()
        if alive is not None and os.getpid() == process:  # not in a copy of the process that ends earlier
            alive.close()

    atexit.register(close)
    return close
