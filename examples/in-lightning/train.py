"""Twenty layers of tanh under Lightning, from two initialisations, recorded by gradlab."""

import itertools
import logging
import warnings

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from gradlab.lightning import GradlabCallback

WIDTH, DEPTH = 48, 20


class Classifier(pl.LightningModule):
    """A deep network that has nothing to do with gradlab."""

    def __init__(self, init: str) -> None:
        super().__init__()
        widths = [16] + [WIDTH] * DEPTH
        layers = [(nn.Linear(fan_in, fan_out), nn.Tanh()) for fan_in, fan_out in itertools.pairwise(widths)]
        self.hidden = nn.Sequential(*[module for layer in layers for module in layer])
        self.head = nn.Linear(WIDTH, 4)
        if init == "xavier":
            for linear, _ in layers:
                nn.init.xavier_normal_(linear.weight)

    def loss(self, batch: list[Tensor]) -> Tensor:
        inputs, labels = batch
        return nn.functional.cross_entropy(self.head(self.hidden(inputs)), labels)

    def training_step(self, batch: list[Tensor], _index: int) -> Tensor:
        return self.loss(batch)

    def validation_step(self, batch: list[Tensor], _index: int) -> None:
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05)


def examples(count: int, seed: int) -> TensorDataset:
    """Points in 16 dimensions; the label says in which quadrant the first two coordinates lie."""
    inputs = torch.randn(count, 16, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(inputs, 2 * (inputs[:, 0] > 0) + (inputs[:, 1] > 0))


def main() -> None:
    """Train each network three times."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers")
    for init in ("torch", "xavier"):
        for seed in (0, 1, 2):
            pl.seed_everything(seed, verbose=False)
            trainer = pl.Trainer(
                accelerator="cpu",
                max_epochs=2,
                gradient_clip_val=1.0,
                callbacks=[GradlabCallback(every=10, out="runs/mine", settings={"init": init}, fresh=True)],
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            trainer.fit(
                Classifier(init),
                DataLoader(examples(1600, seed=0), batch_size=64, shuffle=True),
                DataLoader(examples(400, seed=1), batch_size=200),
            )
    print("gradlab compare runs/mine")


if __name__ == "__main__":
    main()
