"""3 x 3 neighbourhoods of the positions of images, with zeros beyond the border."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def neighbours(h: Tensor, image: tuple[int, int]) -> Tensor:
    """Every position's 3 x 3 neighbourhood, zeros beyond the border.

    [trial, example * height * width, channel] -> [trial, example * height * width, 9 * channel], the order of
    `weight.permute(0, 2, 3, 1)`: row, column, channel.
    """
    height, width = image
    trials, rows, channels = h.shape
    framed = F.pad(h.view(trials, -1, height, width, channels), (0, 0, 1, 1, 1, 1))
    by_trial, by_example, by_line, by_column, _ = framed.stride()
    # The three columns of a neighbourhood lie side by side in memory, so that three runs are copied, not nine pieces.
    shape = (trials, framed.shape[1], height, width, 3, 3 * channels)
    return framed.as_strided(shape, (by_trial, by_example, by_line, by_column, by_line, 1)).reshape(trials, rows, -1)


def from_neighbours(signal: Tensor, image: tuple[int, int]) -> Tensor:
    """The adjoint of `neighbours`: each neighbourhood's numbers added up where they came from."""
    height, width = image
    trials, rows, fan_in = signal.shape
    pieces = signal.view(trials, -1, height, width, 9, fan_in // 9)
    framed = signal.new_zeros(trials, pieces.shape[1], height + 2, width + 2, fan_in // 9)
    for tap in range(9):
        dy, dx = divmod(tap, 3)
        framed[:, :, dy : dy + height, dx : dx + width] += pieces[..., tap, :]
    return framed[:, :, 1 : height + 1, 1 : width + 1].reshape(trials, rows, fan_in // 9)
