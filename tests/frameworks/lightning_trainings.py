"""Trainings with Lightning, and the same by hand."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from gradlab import watch

BATCHES, BATCH = 12, 8


def data(seed: int = 0) -> TensorDataset:
    source = torch.Generator().manual_seed(seed)
    count = BATCHES * BATCH
    return TensorDataset(torch.randn(count, 6, generator=source), torch.randint(3, (count,), generator=source))


def loader(seed: int = 0) -> DataLoader[Any]:
    return DataLoader(data(seed), BATCH)


class Net(nn.Sequential):
    """Dropout and batch normalisation, so that a stray draw of random numbers or forward pass shows."""

    def __init__(self) -> None:
        torch.manual_seed(3)
        hidden = [nn.Linear(6, 10), nn.BatchNorm1d(10), nn.ReLU(), nn.Dropout(0.2), nn.Linear(10, 10), nn.Tanh()]
        super().__init__(*hidden, nn.Linear(10, 3))


class Module(pl.LightningModule):
    """The network in Lightning, its trainer's usual way."""

    def __init__(self, fails_at: int | None = None, error: BaseException | None = None) -> None:
        super().__init__()
        self.net = Net()
        self.fails_at, self.error = fails_at, error

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        if index == self.fails_at:
            assert self.error is not None
            raise self.error
        inputs, labels = batch
        return cross_entropy(self.net(inputs), labels)

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        inputs, labels = batch
        scores = self.net(inputs)
        self.log("val_loss", cross_entropy(scores, labels))
        self.log("hits", (scores.argmax(1) == labels).float().mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.net.parameters(), lr=0.1, momentum=0.9)


class ByHand(Module):
    """The same, its steps taken by the module itself."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: list[Tensor], index: int) -> None:
        inputs, labels = batch
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(cross_entropy(self.net(inputs), labels))
        optimizer.step()


def half() -> dict[str, Any]:
    """Half precision with a GradScaler, as on a GPU: Lightning's option means bfloat16 where there is none."""
    return {"plugins": [MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=2.0**10))]}


TRAININGS: dict[str, Callable[[], dict[str, Any]]] = {
    "plain": dict,
    "clipped": lambda: {"gradient_clip_val": 0.1},
    "clipped by value": lambda: {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
    "accumulated": lambda: {"accumulate_grad_batches": 3},
    "bfloat16": lambda: {"precision": "bf16-mixed"},
    "half": half,
    "half, clipped and accumulated": lambda: half() | {"gradient_clip_val": 0.1, "accumulate_grad_batches": 3},
}


def fit(
    module: pl.LightningModule,
    *callbacks: pl.Callback,
    validate: bool = False,
    seed: int = 7,
    ckpt_path: Any = None,
    **options: Any,
) -> pl.Trainer:
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    if not validate:
        defaults["limit_val_batches"] = 0
    torch.manual_seed(seed)
    trainer = pl.Trainer(callbacks=list(callbacks), **(defaults | options))
    trainer.fit(module, loader(), loader(1), ckpt_path=ckpt_path)
    return trainer


def watched_by_hand(net: Net, out: Path, every: int, kind: str) -> None:
    """The trainings above as a loop in plain torch, with `gradlab.watch`."""
    torch.manual_seed(7)
    accumulated = 3 if "accumulated" in kind else 1
    low = {"bfloat16": torch.bfloat16}.get(kind, torch.half if "half" in kind else None)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10) if "half" in kind else None
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    with watch(net, optimizer, every, out, scaler=scaler) as recorder:
        for batches in grouped(accumulated):
            optimizer.zero_grad()
            total = torch.zeros(())
            for inputs, labels in batches:
                with torch.autocast("cpu", low) if low else contextlib.nullcontext():
                    loss = cross_entropy(net(inputs), labels) / accumulated
                (loss if scaler is None else scaler.scale(loss)).backward()
                total = total + loss.detach()
            recorder.log(train_loss=total)
            if scaler is not None:
                scaler.unscale_(optimizer)
            if kind == "clipped by value":
                nn.utils.clip_grad_value_(net.parameters(), 0.01)
            elif "clipped" in kind:
                nn.utils.clip_grad_norm_(net.parameters(), 0.1)
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer)
                scaler.update()


def grouped(count: int) -> Iterator[list[list[Tensor]]]:
    batches = list(loader())
    yield from (batches[start : start + count] for start in range(0, len(batches), count))
