"""Who remembers the first symbol of a sequence? A training loop of its own, watched by gradlab."""

import argparse

import torch
from torch import Tensor, nn

import gradlab

SYMBOLS, LENGTH, BATCH = 4, 60, 64


class Remember(nn.Module):
    """Reads a sequence of symbols and names the first of them."""

    def __init__(self, cell: str, hidden: int = 32) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, 16)
        self.recurrent = getattr(nn, cell)(16, hidden, batch_first=True)
        self.head = nn.Linear(hidden, SYMBOLS)

    def forward(self, symbols: Tensor) -> Tensor:
        states, _ = self.recurrent(self.embedding(symbols))
        return self.head(states[:, -1])


def train(cell: str, seed: int, steps: int, out: str) -> float:
    """An ordinary loop; the two lines with `recorder` are all that gradlab needs."""
    torch.manual_seed(seed)
    model = Remember(cell)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    with gradlab.watch(model, optimizer, every=10, out=out, seed=seed, settings={"cell": cell}) as recorder:
        for _ in range(steps):
            symbols = torch.randint(SYMBOLS, (BATCH, LENGTH))
            loss = nn.functional.cross_entropy(model(symbols), symbols[:, 0])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            recorder.log(train_loss=loss)
    return loss.item()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", choices=["RNN", "LSTM", "GRU"], default="RNN")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--out", default="runs/remember")
    asked = parser.parse_args()
    for seed in range(asked.seeds):
        print(f"{asked.cell}, seed {seed}: loss {train(asked.cell, seed, asked.steps, asked.out):.3f}")
