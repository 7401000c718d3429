"""Mean-field predictions for trials: the config's names turned into what the theory asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradlab.config.schema import Model
from gradlab.engine.activations import Activation
from gradlab.engine.tasks import Task
from gradlab.theory.depth_scale import asymptote, trainable
from gradlab.theory.forecast import Forecast
from gradlab.theory.meanfield import InputMoments, Norm, Prediction, Propagation
from gradlab.theory.moments import Nonlinearity
from gradlab.theory.variances import LayerLaw, hidden_laws


class Predictor:
    """Predictions for the mlps and cnns that read one task; networks that differ in depth alone share their layers."""

    def __init__(self, task: Task, activations: Mapping[str, Activation]) -> None:
        self._task, self._activations = task, activations
        self._propagations: dict[tuple[object, ...], Propagation] = {}
        self._predictions: dict[tuple[object, ...], Prediction] = {}

    def predict(self, model: Model) -> Prediction:
        """Gradients at the model's own depth."""
        key = (model.family, model.width, model.activation, model.init, model.norm, model.residual)
        found = self._predictions.get((*key, model.depth))
        if found is None:
            if key not in self._propagations:
                self._propagations[key] = self._propagation(model)
            found = self._propagations[key].predict(self._laws(model))
            self._predictions[*key, model.depth] = found
        return found

    def forecast(self, model: Model) -> Forecast:
        """Gradients at the model's own depth and in the limit of infinite depth."""
        prediction = self.predict(model)
        law = hidden_laws(model.init, model.width, model.width, 1, _kernel(model))[0]
        start = prediction.q[-1] if 0 < prediction.q[-1] < math.inf else 1.0
        limit = asymptote(self._nonlinearity(model), law, _norm(model), model.residual, start)
        return Forecast(
            prediction.gradient_ratio,
            prediction.gradient_decay,
            limit.chi,
            limit.xi,
            None if prediction.log10_gradient_ratio is None else trainable(prediction.log10_gradient_ratio),
        )

    def _propagation(self, model: Model) -> Propagation:
        x = self._task.x_train
        inputs = InputMoments(self._task.input_second_moment, self._task.input_variance)
        image = (x.shape[2], x.shape[3]) if model.family == "cnn" else None
        return Propagation(self._nonlinearity(model), inputs, _norm(model), model.residual, image)

    def _laws(self, model: Model) -> tuple[LayerLaw, ...]:
        in_features = self._task.x_train.shape[1] if model.family == "cnn" else self._task.in_features
        return hidden_laws(model.init, in_features, model.width, model.depth, _kernel(model))

    def _nonlinearity(self, model: Model) -> Nonlinearity:
        activation = self._activations[model.activation.label]
        return Nonlinearity(_vectorised(activation.function), _vectorised(activation.derivative))


def _kernel(model: Model) -> int:
    return 9 if model.family == "cnn" else 1


def _norm(model: Model) -> Norm:
    if model.norm == "pre" or model.norm == "post":
        raise ValueError(f"the theory knows no norm '{model.norm}'")
    return model.norm


def _vectorised(function: Callable[[Tensor], Tensor]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    def on_arrays(x: NDArray[np.float64]) -> NDArray[np.float64]:
        values: NDArray[np.float64] = function(torch.from_numpy(np.ascontiguousarray(x))).detach().numpy()
        return values

    return on_arrays
