"""The outcome of a check as JSON: everything that was compared, at full precision."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from gradlab.report.as_json import to_json
from gradlab.report.gate.plain import outcome_json, update_json
from tests.report.outcomes import everything, measurement, network, passing, regressed


def read(made):
    return json.loads(to_json(outcome_json(made)), parse_constant=pytest.fail)


@pytest.mark.parametrize("make", [passing, regressed, everything])
def test_every_change_has_its_row_with_all_digits(make):
    made = make()
    found = read(made)
    assert found["verdict"] == made.verdict
    assert len(found["rows"]) == len(made.judged.changes) == sum(found["counts"].values())
    for row, change in zip(found["rows"], made.judged.changes, strict=True):
        assert (row["step_name"], row["statistic"], row["layer"] or 0) == change.key
        assert row["network"] == dict(change.network)
        assert (row["verdict"], row["p"], row["seeds_needed"]) == (change.verdict, change.p, change.seeds_needed)
        levels = row["log10"] if change.logarithmic else row
        for name, value in (("baseline", change.baseline), ("now", change.now), ("low", change.low)):
            assert levels[name] == (value if value != -math.inf else "-inf")
        if change.logarithmic and change.now is not None and change.now > -300:
            assert row["now"] == pytest.approx(10**change.now, rel=1e-12)
            assert row["threshold"] == pytest.approx(1.25)
            assert row["difference"] is None


def test_what_a_float_cannot_hold_stands_in_the_logarithms():
    rows = {
        (row["statistic"], row["step"], row["layer"], row["network"].get("model.depth")): row
        for row in read(everything())["rows"]
    }
    tiny = rows["delta_rms", 0, 1, 50]
    assert (tiny["baseline"], tiny["now"]) == (0.0, 0.0)
    assert tiny["log10"]["ratio"] == pytest.approx(-2.5)
    assert tiny["ratio"] == pytest.approx(10**-2.5)
    assert tiny["log10"]["baseline"] == pytest.approx(-401, abs=0.1)
    zero = rows["weight_grad_norm", 0, 1, 50]
    assert (zero["now"], zero["ratio"], zero["log10"]["now"]) == (0.0, 0.0, "-inf")
    assert zero["zeros"] == {"baseline": 0, "now": 10}
    gone = rows["layer", None, 2, 3]
    assert (gone["name"], gone["reason"], gone["now"], gone["threshold"]) == ("b", "missing", None, None)
    lost = rows["final_eval_loss", None, None, 50]
    assert (lost["reason"], lost["now"], lost["ratio"]) == ("not a number", None, None)


def test_where_the_baseline_comes_from_and_what_happened():
    made = everything(failures=["seed=1: no"])
    found = read(made)
    assert found["verdict"] == "failed"
    assert found["baseline"] == "baselines/ci.json"
    assert found["failures"] == ["seed=1: no"]
    assert found["made_by"] == {"baseline": dict(made.baseline.made_by), "now": dict(made.now.made_by)}
    assert {told["network"]: told["sentences"] for told in found["story"]} == made.story
    assert found["notes"] == list(made.notes)
    assert found["paired"] is True
    assert found["exact"] is True


def test_an_update_says_what_was_written(tmp_path):
    told = update_json(tmp_path / "b.json", measurement(network(), network({"model.depth": 2})))
    assert told["verdict"] == "updated"
    assert told["headline"].endswith("b.json (2 networks, 10 seeds)")
    assert told["seeds"] == list(range(10))
    assert told["notes"] == []


def test_diverged_seeds_of_a_baseline_are_noted(tmp_path):
    old = replace(network(), diverged=(3, None) * 5)
    (note,) = update_json(tmp_path / "b.json", measurement(old))["notes"]
    assert note.startswith("5 of 10 seeds diverge (the network)")
