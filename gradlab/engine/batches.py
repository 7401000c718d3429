"""Minibatches, drawn as plain PyTorch draws them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from gradlab.engine.scratch import Scratch


def minibatches(seeds: Sequence[int], examples: int, batch_size: int) -> Iterator[Tensor]:
    """Endless example indices [trial, batch], each trial's from its own seed, on the CPU.

    For each epoch a permutation from the trial's own generator, cut in consecutive pieces, the incomplete last one
    dropped; a training set smaller than a batch is one batch.
    """
    size = min(batch_size, examples)
    generators = {seed: torch.Generator().manual_seed(seed) for seed in dict.fromkeys(seeds)}
    while True:
        order = {seed: torch.randperm(examples, generator=generator) for seed, generator in generators.items()}
        epoch = torch.stack([order[seed] for seed in seeds])
        for start in range(0, examples - size + 1, size):
            yield epoch[:, start : start + size]


def is_recorded(step: int, steps: int, every: int) -> bool:
    """Whether a step is recorded: every `every`-th from 0 on is, and the last."""
    return step % every == 0 or step == steps - 1


def count_recorded(steps: int, every: int) -> int:
    """How many steps are recorded."""
    return -(-steps // every) + ((steps - 1) % every != 0)


def picked(x: Tensor, y: Tensor, indices: Tensor, scratch: Scratch) -> tuple[Tensor, Tensor]:
    """x[indices] and y[indices], [trial, example, ...], by kernels that are several times as fast.

    Args:
        scratch: where x[indices] lies until the next are picked.
    """
    chosen = indices.reshape(-1)
    memory = scratch.take("minibatch", len(chosen), *x.shape[1:])
    own_x, own_y = torch.index_select(x, 0, chosen, out=memory), y.index_select(0, chosen)
    return own_x.view(*indices.shape, *x.shape[1:]), own_y.view(*indices.shape, *y.shape[1:])
