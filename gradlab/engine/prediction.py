"""Mean-field predictions for trials: the config's names turned into what the theory asks for."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradlab.config.schema import Model
from gradlab.engine.activations import Activation
from gradlab.engine.tasks import Task
from gradlab.theory.depth_scale import asymptote, trainable
from gradlab.theory.forecast import Forecast
from gradlab.theory.meanfield import InputMoments, predict
from gradlab.theory.moments import Nonlinearity
from gradlab.theory.variances import hidden_laws


def forecast(model: Model, task: Task, activation: Activation) -> Forecast:
    """The prediction for a trial's mlp or cnn on the inputs of `task`."""
    if model.norm == "pre" or model.norm == "post":
        raise ValueError(f"the theory knows no norm '{model.norm}'")
    nonlinearity = Nonlinearity(_vectorised(activation.function), _vectorised(activation.derivative))
    convolutional = model.family == "cnn"
    kernel = 9 if convolutional else 1
    in_features = task.x_train.shape[1] if convolutional else task.in_features
    laws = hidden_laws(model.init, in_features, model.width, model.depth, kernel)
    inputs = InputMoments(task.input_second_moment, task.input_variance)
    image = (task.x_train.shape[2], task.x_train.shape[3]) if convolutional else None
    prediction = predict(nonlinearity, laws, inputs, model.norm, model.residual, image)
    law = hidden_laws(model.init, model.width, model.width, 1, kernel)[0]
    start = prediction.q[-1] if 0 < prediction.q[-1] < math.inf else 1.0
    limit = asymptote(nonlinearity, law, model.norm, model.residual, start)
    return Forecast(
        prediction.gradient_ratio,
        prediction.gradient_decay,
        limit.chi,
        limit.xi,
        None if prediction.log10_gradient_ratio is None else trainable(prediction.log10_gradient_ratio),
    )


def _vectorised(function: Callable[[Tensor], Tensor]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    def on_arrays(x: NDArray[np.float64]) -> NDArray[np.float64]:
        values: NDArray[np.float64] = function(torch.from_numpy(np.ascontiguousarray(x))).detach().numpy()
        return values

    return on_arrays
