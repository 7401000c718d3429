"""What stays behind of the passes of a stack."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

from gradlab.config.schema import Experiment
from gradlab.config.sweep import expand
from gradlab.engine.passes import Passes
from gradlab.engine.tasks import make_task
from tests.engine.stacking import stacked


def passes_in_memory() -> int:
    return sum(type(one) is Passes for one in gc.get_objects())


@pytest.mark.parametrize(
    "model",
    [
        {"depth": 3, "activation": "relu"},
        {"depth": 3, "activation": "gelu", "norm": "batch", "residual": True},
        {"depth": 25, "activation": "sigmoid", "norm": "layer"},
        {"depth": 2, "family": "cnn"},
    ],
)
def test_no_pass_outlives_its_stack(model: dict[str, Any]) -> None:
    """Those of records in float64 come and go: in cycles they would keep their memory until Python looks for these."""
    settings = {
        "data": {"name": "digits"},
        "model": {**model, "width": 8},
        "train": {"steps": 3},
        "record": {"every": 1},
    }
    experiment = Experiment.model_validate({**settings, "seeds": 2})
    task = make_task(experiment.data, Path())
    gc.collect()
    gc.disable()
    try:
        before = passes_in_memory()
        stacked(expand(experiment), task)
        assert passes_in_memory() == before
    finally:
        gc.enable()
