"""Predictions of many networks: what they share changes no bit of any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gradlab.config.schema import Data, Model
from gradlab.engine.activations import make_activation
from gradlab.engine.prediction import Predictor
from gradlab.engine.tasks import make_task

DEPTHS = (7, 1, 12, 3, 2)


@pytest.mark.parametrize("family", ["mlp", "cnn"])
@pytest.mark.parametrize("extra", [{}, {"norm": "batch"}, {"residual": True}], ids=str)
def test_networks_of_several_depths_and_kinds_in_any_order(family: str, extra: dict[str, Any]) -> None:
    task = make_task(Data(), Path())
    models = [
        Model(family=family, depth=depth, width=width, activation=activation, **extra)  # type: ignore[arg-type]
        for depth in DEPTHS
        for width in (3, 8)
        for activation in ("tanh", "relu")
    ]
    activations = {model.activation.label: make_activation(model.activation) for model in models}
    alone = [Predictor(task, activations).predict(model) for model in models]
    together, backwards = Predictor(task, activations), Predictor(task, activations)
    assert [together.predict(model) for model in models] == alone
    assert [backwards.predict(model) for model in reversed(models)] == alone[::-1]
    assert [together.forecast(model).gradient_decay for model in models] == [one.gradient_decay for one in alone]
