"""Where no gradient arrives."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from gradlab.engine.layout import Shape
from gradlab.engine.reach import nothing_from


@pytest.mark.parametrize("image", [(8, 8), (3, 5), (1, 4), (1, 1)])
def test_a_pixel_is_cut_off_if_its_whole_neighbourhood_is(image: tuple[int, int]) -> None:
    shape = Shape("cnn", image, in_features=1, width=4, out_features=1, norm="none", residual=False)
    positions = image[0] * image[1]
    closed = (torch.rand(3, 7 * positions, generator=torch.Generator().manual_seed(1)) < 0.8).float()
    opened = F.max_pool2d(1 - closed.view(-1, 1, *image), 3, stride=1, padding=1)
    assert torch.equal(nothing_from(closed, shape), 1 - opened.view(closed.shape))
