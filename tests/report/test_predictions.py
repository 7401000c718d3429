"""`gradlab predict` on a terminal: a table of what the theory covers, words for what it doesn't."""

import io

import pytest
from rich.console import Console

from gradlab.config.schema import Experiment
from gradlab.config.sweep import expand
from gradlab.report.predictions import predictions_json, print_predictions
from gradlab.theory.forecast import NO_FORECAST, Forecast

KNOWN = Forecast(0.25, 0.5, 0.5, 1.4, True)


def shown(families):
    config = {"seeds": 2, "model": {"factory": "m.py:f"}, "sweep": {"grid": {"model.family": families}}}
    trials = expand(Experiment.model_validate(config))
    forecasts = [KNOWN if trial.model.family in {"mlp", "cnn"} else NO_FORECAST for trial in trials]
    stream = io.StringIO()
    print_predictions(Console(file=stream), trials, forecasts)
    return stream.getvalue(), predictions_json(trials, forecasts)


@pytest.mark.parametrize("family", ["rnn", "transformer", "custom"])
def test_a_family_that_the_theory_does_not_cover_gets_words_and_no_table(family):
    text, found = shown([family])
    assert text == (f"mean-field theory covers families mlp and cnn: no prediction for 1 network of family {family}\n")
    assert [row["predicted_gradient_decay"] for row in found["trials"]] == [None, None]


def test_beside_families_that_it_covers():
    text, found = shown(["mlp", "rnn", "cnn", "custom"])
    assert "no prediction for 2 networks of family rnn and custom\n" in text
    table = text.split("──\n")[1]
    assert [line.split()[0] for line in table.splitlines()[:2]] == ["mlp", "cnn"]
    assert "2 of 2 can train" in text
    assert len(found["trials"]) == 8


def test_all_covered():
    assert "covers" not in shown(["mlp"])[0]
