"""A network with places for bugs, its refactors, and a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradlab import check_gradients

WIDTH, DEPTH = 16, 5


class Residual(nn.Module):
    """x + W phi(norm(x)), `DEPTH` times, with places for bugs."""

    def __init__(self, bug: str = "") -> None:
        super().__init__()
        self.bug = bug
        self.blocks = nn.ModuleList([nn.Linear(WIDTH, WIDTH) for _ in range(DEPTH)])
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH) for _ in range(DEPTH)])
        self.phi, self.head = nn.ReLU(), nn.Linear(WIDTH, 3)
        with torch.no_grad():
            if bug == "scaled init":
                self.blocks[1].weight.mul_(3.0)  # type: ignore[operator,union-attr]
            if bug == "wrong fan":
                nn.init.normal_(self.blocks[2].weight, std=1.0)  # type: ignore[arg-type]
            if bug == "negative bias":
                self.norms[2].bias.sub_(4.0)  # type: ignore[operator,union-attr]
        if bug == "frozen":
            self.blocks[0].requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        for index, (block, norm) in enumerate(zip(self.blocks, self.norms, strict=True)):
            x = self._joined(index, x, block(self.phi(x if (self.bug, index) == ("missing norm", 3) else norm(x))))
        return self.head(x) * (0.0 if self.bug == "silent output" else 1.0)  # type: ignore[no-any-return]

    def _joined(self, index: int, x: Tensor, branch: Tensor) -> Tensor:
        if index == 2 and self.bug == "detached block":
            return x + branch.detach()
        if index == 2 and self.bug == "detached trunk":
            return x.detach() + branch
        if index == 2 and self.bug == "doubled residual":
            return 2 * x + branch
        return x + branch


class Renamed(nn.Module):
    """The same network under other names, with functional activations, made in the same order."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.ModuleDict({f"linear{index}": nn.Linear(WIDTH, WIDTH) for index in range(DEPTH)})
        self.out = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps.values():
            x = x + step(F.relu(F.layer_norm(x, (WIDTH,))))
        return self.out(x)  # type: ignore[no-any-return]


class OtherOrder(Residual):
    """The same network, whose layers draw their weights in the opposite order."""

    def __init__(self) -> None:
        super().__init__()
        for layer in (self.head, *reversed(self.blocks)):
            layer.reset_parameters()  # type: ignore[operator]


def batch(n: int = 32) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    return torch.randn(n, WIDTH, generator=g), torch.randint(0, 3, (n,), generator=g)


def checked(model: Any, path: Path, **options: Any) -> Any:
    return check_gradients(model, batch(), F.cross_entropy, path, **options)


def module(seed: int = 0, bug: str = "") -> nn.Module:
    torch.manual_seed(seed)
    return Residual(bug)
