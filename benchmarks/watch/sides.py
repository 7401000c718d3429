"""Who watches a training: nobody, gradlab, hooks written by hand, TensorBoard's histograms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

import gradlab
from benchmarks.watch.by_hand import ByHand


def nothing(*arguments: object) -> None:
    """What nobody does."""


@dataclass(frozen=True)
class Watcher:
    """What a training loop calls: where a step begins, with the loss once the gradients are there, after the update."""

    begin: Callable[[], None] = nothing
    before_update: Callable[[Tensor], None] = nothing
    after_update: Callable[[], None] = nothing
    close: Callable[[], None] = nothing


EVERY = 10
"""Steps between records, where not every step is recorded."""

Start = Callable[[nn.Module, torch.optim.Optimizer, Path], Watcher]
"""Model, its optimizer and an empty folder -> who watches from now on."""


def nobody(model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> Watcher:
    """A training by itself."""
    return Watcher()


def by_gradlab(every: int) -> Start:
    """`gradlab.watch`, told the loss; its run directory is `run`."""

    def start(model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> Watcher:
        recorder = gradlab.watch(model, optimizer, every=every, out=folder / "run", seed=0)
        return Watcher(before_update=lambda loss: recorder.log(train_loss=loss), close=recorder.close)

    return start


def by_hand(every: int) -> Start:
    """Hooks written by hand; they write `by_hand.npz`."""

    def start(model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> Watcher:
        hooks = ByHand(model, every, folder / "by_hand.npz")
        return Watcher(hooks.begin, hooks.before_update, hooks.after_update, hooks.close)

    return start


def by_histograms(every: int) -> Start:
    """A histogram of every parameter and of its gradient in TensorBoard's files."""

    def start(model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> Watcher:
        writer = SummaryWriter(str(folder))
        step = 0

        def before_update(loss: Tensor) -> None:
            nonlocal step
            if step % every == 0:
                writer.add_scalar("loss", loss, step)
                for name, parameter in model.named_parameters():
                    writer.add_histogram(name, parameter, step)
                    writer.add_histogram(f"{name}.grad", parameter.grad, step)
            step += 1

        return Watcher(before_update=before_update, close=writer.close)

    return start


NOBODY, AGAIN, GRADLAB, GRADLAB_ALWAYS = "nobody", "nobody, again", "gradlab, every=10", "gradlab, every=1"

SIDES: Mapping[str, Start] = {
    NOBODY: nobody,
    AGAIN: nobody,
    GRADLAB: by_gradlab(EVERY),
    GRADLAB_ALWAYS: by_gradlab(1),
    "by hand, every=10": by_hand(EVERY),
    "histograms, every=10": by_histograms(EVERY),
}
"""By their names in the tables. The first is what the others are set against, the second says how far times scatter."""
