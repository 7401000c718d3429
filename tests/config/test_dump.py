"""The resolved config loads, to the same trials."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gradlab.config.dump import to_yaml
from gradlab.config.load import LoadedConfig
from gradlab.config.starter import starter_config
from gradlab.config.sweep import config_digest

Load = Callable[..., LoadedConfig]

CONFIGS = [
    starter_config(),
    "seeds: [3, 9223372036854775807]\ntrain: {lr: 1e-7, optimizer: momentum, momentum: 0.8}",
    "train: {momentum: 0.8}",
    "data: {name: npz, path: 'é 1e-3.npz', task: binary}\nmodel: {activation: 'a.py:f'}",
    "data: {name: npz, task: binary}\nsweep: {grid: {data.path: ['1e-3', '0o10', off, ~x]}}",
    "model: {family: custom, factory: 'a.py:f', kwargs: {a: ~, b: .nan, c: '1e-3', d: '010', e: [-.inf, '']}}",
    "model: {depth: 3, factory: 'a.py:f', kwargs: {x: 1}}\nsweep: {grid: {model.family: [mlp, custom]}}",
    "model: {family: rnn}\ndata: {name: adding}",
    "model: {family: rnn, cell: lstm}\ndata: {name: adding}\nsweep: {grid: {model.cell: [rnn, gru]}}",
    "model: {family: rnn, sequence_length: 4}\nsweep: {grid: {data.name: [digits, delayed_recall]}}",
    "model: {family: transformer, width: 12}\nsweep: {grid: {model.norm: [post, none], model.heads: [2, 3]}}",
    "sweep: {grid: {model.family: [mlp, rnn, transformer]}}",
    "model: {family: rnn}\nsweep: {grid: {model.family: [mlp, rnn, transformer], model.depth: [2, 3]}}",
    "model: {family: rnn}\ndata: {name: adding}\nsweep: {grid: {data.name: [digits, delayed_recall]}}",
    "model: {init: {name: normal, sigma_b: 0.5}}\nsweep: {grid: {model.init.sigma_w: [1, 1.5]}}",
    "data: {name: moons}\nsweep: {grid: {data.name: [spirals, moons]}}",
    "data: {noise: 0.2}\nsweep: {grid: {data.name: [digits, moons]}}",
    "sweep: {grid: {model.depth: &a [1, 2], model.width: *a}, exclude: [{model.depth: [1]}], include: [{train.lr: 0}]}",
]


@pytest.mark.parametrize("text", CONFIGS)
def test_the_resolved_config_makes_the_same_trials(load_text: Load, text: str) -> None:
    first = load_text(text)
    again = load_text(to_yaml(first.experiment))
    assert [trial.trial_id for trial in again.trials] == [trial.trial_id for trial in first.trials]
    assert config_digest(again.experiment) == config_digest(first.experiment)
    assert again.experiment.name == first.experiment.name


def test_the_resolved_config_says_every_field_that_has_an_effect(load_text: Load) -> None:
    text = to_yaml(load_text("seeds: 1").experiment)
    for words in ("depth: 10", "lr: 0.05", "eval_fraction: 0.2", "every: 10", "vanishing: 0.001"):
        assert words in text
    for words in ("factory", "momentum", "noise"):
        assert words not in text
