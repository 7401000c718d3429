"""The built-in network of a trial, made right after `torch.manual_seed(seed)`."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from gradlab.config.sweep import Trial
from gradlab.engine.activations import load_activation
from gradlab.engine.families.recurrent import Recurrent
from gradlab.engine.families.transformer import Transformer
from gradlab.engine.tasks import Task


def make_network(trial: Trial, task: Task, directory: Path) -> nn.Module:
    """The network of a trial of family rnn or transformer, from the input on; `directory` is the config's folder.

    Raises:
        SettingError: an activation of the user's own that cannot be used.
    """
    model = trial.model
    if model.family == "rnn":
        torch.manual_seed(trial.seed)
        return Recurrent(model, task.in_features, task.out_features).to(task.x_train.device)
    activation = load_activation(model.activation, directory).function
    torch.manual_seed(trial.seed)
    made = Transformer(model, task.in_features, task.out_features, task.x_train.shape[1], activation)
    return made.to(task.x_train.device)
