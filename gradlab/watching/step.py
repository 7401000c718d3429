"""One recorded step: looking at its passes, and what came of them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from gradlab.engine.history import LAYER, LayerInfo
from gradlab.engine.modules.layers import copied
from gradlab.watching.cycles import Cycles
from gradlab.watching.gradients import GradientNorms
from gradlab.watching.hooks import Aside
from gradlab.watching.parts import is_compiled, some
from gradlab.watching.passes import Passes
from gradlab.watching.replay import Replay
from gradlab.watching.rows import (
    Row,
    Step,
    grad_norm,
    layer_rows,
    on_host,
    recurrent_copies,
    time_rows,
    weights_before,
)

_FRAMES = 12
"""How far up the stack a GradScaler's `step` may be from the optimizer's."""


@dataclass(frozen=True)
class Observed:
    """What one step showed.

    Attributes:
        layers, rows: of the layers table, in order; `values`: of the steps table.
        examples: examples of the step; None if no pass was seen.
        notes: what could not be had, and why.
    """

    layers: tuple[LayerInfo, ...]
    rows: tuple[Mapping[str, float], ...]
    values: Mapping[str, float]
    examples: int | None
    notes: tuple[str, ...]


class Observer:
    """Looks at the steps of a training that are recorded.

    Args:
        model: what the training calls.
        batch_dim: the dimension of its input that counts examples.
        scaler: the training's GradScaler; one that calls the optimizer's step is found without.
    """

    def __init__(self, model: nn.Module, batch_dim: int, scaler: torch.amp.GradScaler | None) -> None:
        inner = getattr(model, "_orig_mod", model)
        self.aside = aside = Aside()
        self.inner: nn.Module = inner
        self._batch_dim, self._scaler = batch_dim, scaler
        self._cycles = Cycles(list(inner.parameters()))
        self._gradients = GradientNorms(inner, aside, self._cycles)
        self._passes = Passes(inner, aside, batch_dim, self._cycles)
        self._replay = Replay(model, aside, self._cycles) if is_compiled(model) else None
        self.looking = False

    @property
    def layers(self) -> Mapping[str, nn.Module]:
        """The layers of the model by name."""
        return self._passes.layers

    @property
    def begun(self) -> bool:
        """Whether the step that is looked at has begun."""
        # Of what is compiled inside the model no forward pass is seen, but its gradients are.
        return self.looking and ((self._replay or self._passes).begun or bool(self._gradients.seen))

    def begin(self) -> None:
        """Look at the coming step."""
        (self._replay or self._passes).install()
        self._gradients.install()
        self._cycles.reset()
        self.looking = True

    def end(self) -> None:
        """Look no more, and keep nothing of what was seen."""
        for look in (self._passes, self._replay, self._gradients):
            if look is not None:
                look.remove()
                look.forget()
        self.looking = False

    def before_update(self) -> None:
        """Keep what the update changes."""
        self._cycles.updating = True
        self._scale = _scale(self._scaler)
        self._weights = weights_before(self._passes.layers, self._passes.norms)
        self._recurrent = recurrent_copies(self._passes.layers)
        # The passes may be made inside the optimizer's step, by a closure.
        self._copy = copied(self.inner) if self._replay is not None else None

    def without_update(self) -> None:
        """The optimizer left the weights as they are: the step is still to come."""
        self._cycles.updating = False

    def after_update(self) -> Observed | None:
        """What the step showed; None if there was no backward pass."""
        passes = self._passes
        if self._replay is not None and self._copy is not None:
            passes = self._replay.passes(self._copy, self._batch_dim)
        trained, examples = passes.trained(), passes.examples()
        gradients = self._gradients.seen
        if not trained and not gradients:
            self.end()
            return None
        step = Step(self._passes.layers, self._passes.norms, trained, examples, self._scale, gradients)
        rows = layer_rows(step, {name: weights.values() for name, weights in self._weights.items()})
        along_time, notes = time_rows(step, self._recurrent)
        rows += along_time
        values, further = on_host(rows, {"grad_norm": grad_norm(step)})
        self.end()
        del self._weights, self._recurrent, self._copy
        infos = tuple(row.info for row in rows)
        known = examples if trained else None
        return Observed(infos, tuple(values), further, known, tuple(notes + _unseen(step, rows)))


def _unseen(step: Step, rows: list[Row]) -> list[str]:
    seen = {sight.name for sight in step.sights()}
    names = [row.info.name for row in rows if row.info.kind == LAYER and row.info.name not in seen]
    if not names:
        return []
    why = "compiled inside the model, checkpointed, or used without its forward"
    return [f"{some(names)}: no call was seen ({why}); weights only"]


def _scale(scaler: torch.amp.GradScaler | None) -> float:
    """What the loss of this step was multiplied with."""
    scaler = scaler or _calling_scaler()
    return float(scaler.get_scale()) if scaler is not None and scaler.is_enabled() else 1.0


def _calling_scaler() -> torch.amp.GradScaler | None:
    """The GradScaler whose `step` calls the optimizer's, if one does: nothing else tells that there is one."""
    frame = inspect.currentframe()
    for _ in range(_FRAMES):
        frame = frame.f_back if frame is not None else None
        if frame is None:
            return None
        owner: Any = frame.f_locals.get("self")
        if isinstance(owner, torch.amp.GradScaler):
            return owner
    return None
