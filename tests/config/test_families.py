"""Families of networks: their own defaults, what they read, and what does not go together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gradlab.config.dump import to_yaml
from gradlab.config.load import LoadedConfig
from gradlab.config.model import FAMILY_DEFAULTS, MODEL_READS
from gradlab.config.schema import SEQUENCES, Model

Load = Callable[..., LoadedConfig]
Problems = Callable[..., list[tuple[str, str]]]

DEFAULTS: list[tuple[str, dict[str, Any]]] = [
    ("", {"depth": 10, "norm": "none", "cell": None, "heads": None, "sequence_length": None}),
    ("family: rnn", {"depth": 1, "cell": "rnn", "heads": None, "sequence_length": None}),
    ("family: rnn, depth: 10", {"depth": 10}),
    ("family: rnn, activation: relu, cell: ~", {"cell": "rnn"}),
    ("family: transformer", {"depth": 4, "norm": "pre", "heads": 4, "cell": None}),
    ("family: transformer, norm: none, heads: 1", {"norm": "none", "heads": 1}),
]


@pytest.mark.parametrize(("text", "expected"), DEFAULTS)
def test_each_family_has_its_own_defaults(load_text: Load, text: str, expected: dict[str, Any]) -> None:
    model = load_text(f"seeds: 1\nmodel: {{{text}}}").trials[0].model
    assert {key: getattr(model, key) for key in expected} == expected


def activations(loaded: LoadedConfig) -> list[str]:
    return [trial.model.activation.label for trial in loaded.trials]


def test_activations_of_families(load_text: Load) -> None:
    families = "seeds: 1\nsweep: {grid: {model.family: [mlp, rnn, transformer]}}"
    assert activations(load_text(families)) == ["relu", "tanh", "relu"]
    assert activations(load_text("model: {activation: relu}\n" + families)) == ["relu"] * 3
    assert activations(load_text("model: {family: rnn}\n" + families)) == ["relu", "tanh", "relu"]


def test_swept_families_take_what_is_given_and_their_own_defaults(load_text: Load) -> None:
    loaded = load_text("model: {depth: 2}\nseeds: 1\nsweep: {grid: {model.family: [mlp, rnn, transformer]}}")
    assert [trial.model.depth for trial in loaded.trials] == [2, 2, 2]
    loaded = load_text("seeds: 1\nsweep: {grid: {model.family: [rnn, mlp, transformer]}}")
    assert [trial.model.depth for trial in loaded.trials] == [1, 10, 4]
    assert [trial.model.norm for trial in loaded.trials] == ["none", "none", "pre"]


def test_what_a_family_does_not_read_makes_no_other_trial(load_text: Load) -> None:
    loaded = load_text("seeds: 1\nsweep: {grid: {model.family: [mlp, rnn], model.cell: [rnn, lstm, gru]}}")
    assert [trial.model.cell for trial in loaded.trials] == [None, "rnn", "lstm", "gru"]
    loaded = load_text(
        "model: {family: rnn}\nseeds: 1\nsweep: {grid: {model.cell: [rnn, gru], model.activation: [tanh, relu]}}"
    )
    assert [trial.factors()["activation"] for trial in loaded.trials] == ["tanh", "relu", None]


def test_factor_columns(load_text: Load) -> None:
    factors = load_text("model: {family: rnn, cell: lstm}\nseeds: 1").trials[0].factors()
    assert (factors["depth"], factors["width"], factors["init"]) == (1, 64, "pytorch_default")
    assert (factors["activation"], factors["norm"], factors["residual"]) == (None, None, None)
    assert not {"model.cell", "model.heads", "model.sequence_length"} & factors.keys()
    swept = load_text("data: {name: adding}\nmodel: {family: rnn}\nsweep: {grid: {model.sequence_length: [5, 9]}}")
    assert [trial.factors()["model.sequence_length"] for trial in swept.trials[::5]] == [5, 9]


def test_generated_sequences_have_a_default_length(load_text: Load) -> None:
    for family in ("rnn", "transformer", "custom, factory: 'a.py:f'"):
        text = f"seeds: 1\nmodel: {{family: {family}}}\n"
        for name in SEQUENCES:
            loaded = load_text(text + f"data: {{name: {name}}}")
            (trial,) = loaded.trials
            assert trial.model.sequence_length == 20
            assert "sequence_length: 20" in to_yaml(loaded.experiment)
            same = text.replace("}", ", sequence_length: 20}") + f"data: {{name: {name}}}"
            assert load_text(same).trials[0].trial_id == trial.trial_id
            swept = text + f"data: {{name: {name}}}\nsweep: {{grid: {{data.name: [digits, {name}]}}}}"
            assert [one.model.sequence_length for one in load_text(swept).trials] == [None, 20]
            assert load_text(swept).trials[1].trial_id == trial.trial_id


def test_generated_sequences_are_not_standardised_unless_told(load_text: Load) -> None:
    text = "seeds: 1\nmodel: {family: rnn}\nsweep: {grid: {data.name: [digits, adding, delayed_recall]}}"
    assert [trial.data.standardize for trial in load_text(text).trials] == [True, False, False]
    assert [trial.data.standardize for trial in load_text(text + "\ndata: {standardize: true}").trials] == [True] * 3


WRONG = [
    ("model: {norm: pre}", "1:15", "model.norm 'pre' must be one of none, layer, batch where model.family is 'mlp'"),
    ("model: {family: cnn, norm: post}", "1:28", "must be one of none, layer, batch where model.family is 'cnn'"),
    ("model: {family: transformer, norm: layer}", "1:36", "must be one of none, pre, post"),
    ("model: {norm: pre}\nsweep: {grid: {model.depth: [1, 2]}}", "1:15", "model.norm 'pre' must be"),
    ("model: {family: transformer}\nsweep: {grid: {model.norm: [pre, batch]}}", "2:16", "model.norm 'batch' must be"),
    ("model: {norm: batch}\nsweep: {grid: {model.family: [mlp, transformer]}}", "2:16", "model.norm 'batch' must be"),
    ("model: {norm: pre}\nsweep: {include: [{model.depth: 3}]}", "2:19", "model.norm 'pre' must be"),
    ("model: {family: transformer, heads: 5}", "1:37", "model.heads (5) must divide model.width (64)"),
    ("model: {family: transformer, width: 30}", "1:37", "model.heads (4) must divide model.width (30)"),
    ("model: {family: transformer}\nsweep: {grid: {model.width: [64, 30]}}", "2:16", "must divide model.width (30)"),
    ("model: {family: rnn, activation: gelu}", "1:34", "model.activation 'gelu' must be one of tanh, relu"),
    ("model: {family: rnn, activation: 'a.py:f'}", "1:34", "must be one of tanh, relu"),
    ("model: {cell: lstm}", "1:9", "model.cell has no effect: only model.family 'rnn' reads it"),
    ("model: {heads: 2}", "1:9", "model.heads has no effect: only model.family 'transformer' reads it"),
    ("model: {family: rnn, residual: true}", "1:22", "model.residual has no effect: only model.family 'mlp' or 'cnn'"),
    ("model: {family: rnn, norm: layer}", "1:22", "model.norm has no effect"),
    ("model: {family: rnn, kwargs: {x: 1}}", "1:22", "model.kwargs has no effect"),
    ("model: {family: rnn, cell: gru, activation: tanh}", "1:33", "model.activation has no effect: only model.cell"),
    ("model: {family: rnn, cell: gru}\nsweep: {grid: {model.activation: [tanh]}}", "2:16", "has no effect"),
    ("model: {family: transformer}\nsweep: {grid: {model.cell: [gru]}}", "2:16", "model.cell has no effect"),
    ("sweep: {grid: {model.sequence_length: [3]}}", "1:16", "model.sequence_length has no effect"),
    (
        "model: {family: custom, factory: 'a.py:f', sequence_length: 3}",
        "1:44",
        "reads it where data.name is 'adding' or 'delayed_recall'",
    ),
    ("model: {family: rnn, cell: lstn}", "1:28", "did you mean 'lstm'?"),
    ("model: {family: rnn, sequence_length: 0}", "1:39", "model.sequence_length must be at least 1"),
    (
        "data: {name: adding}",
        "1:14",
        "model.family must be one of rnn, transformer, custom where data.name is 'adding'",
    ),
    ("model: {family: cnn}\ndata: {name: delayed_recall}", "1:17", "(it is 'cnn')"),
    ("sweep: {grid: {data.name: [digits, adding]}}", "1:16", "model.family must be one of rnn"),
    ("data: {name: adding, n_symbols: 3}\nmodel: {family: rnn}", "1:22", "data set 'adding' does not read it"),
    ("data: {name: delayed_recall, n_symbols: 1}\nmodel: {family: rnn}", "1:41", "at least 2"),
]


@pytest.mark.parametrize(("text", "place", "message"), WRONG)
def test_what_does_not_go_together(problems: Problems, text: str, place: str, message: str) -> None:
    ((found_place, found_message),) = problems(text)
    assert found_place == place
    assert message in found_message


RIGHT = [
    "model: {family: custom, factory: 'a.py:f', sequence_length: 3}\ndata: {name: adding}",
    "model: {cell: gru}\nsweep: {grid: {model.family: [mlp, rnn]}}",
    "model: {family: rnn, cell: gru, activation: gelu}\nsweep: {grid: {model.cell: [lstm]}, include: [{model.cell: rnn,"
    " model.activation: relu}]}",
    "sweep: {grid: {model.family: [mlp, transformer], model.norm: [none]}}",
    "sweep: {zip: [{model.family: [mlp, transformer], model.norm: [batch, pre]}]}",
    "model: {family: transformer, heads: 5}\nsweep: {grid: {model.width: [5, 10]}}",
]


@pytest.mark.parametrize("text", RIGHT)
def test_what_goes_together(load_text: Load, text: str) -> None:
    assert load_text(text).trials


def test_every_family_says_what_it_reads() -> None:
    fields = set(Model.model_fields) - {"family"}
    assert fields == {key for reads in MODEL_READS.values() for key in reads}
    assert MODEL_READS.keys() == FAMILY_DEFAULTS.keys()
    for family, defaults in FAMILY_DEFAULTS.items():
        assert defaults.keys() <= set(MODEL_READS[family])
