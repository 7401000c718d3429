"""The guard as part of the test suite: `pytest`; new baselines, on purpose: `pytest --gradlab-update`."""

from pathlib import Path

import torch
from model import make_model
from torch.nn import functional

from gradlab import check_gradients

BASELINES = Path(__file__).parent / "baselines"


def test_gradients_in_training(gradlab_check):
    """The whole check: what `gradlab check gradlab.yaml --baseline baselines/gradlab.json` does."""
    gradlab_check("gradlab.yaml", "baselines/gradlab.json")


def test_gradients_of_a_batch():
    """A quick one, before any update, with whatever batch and loss."""
    random = torch.Generator().manual_seed(0)
    images = torch.randn(64, 8, 8, generator=random)
    labels = torch.randint(10, (64,), generator=random)
    check_gradients(
        lambda: make_model(in_features=64, out_features=10),
        (images, labels),
        functional.cross_entropy,
        BASELINES / "step0.json",
    )
