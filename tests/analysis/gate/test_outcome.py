"""What is said about a whole check."""

from __future__ import annotations

from dataclasses import replace

from gradlab.analysis.gate.judge import judge
from gradlab.analysis.gate.outcome import Outcome
from gradlab.store.measurement import Measurement
from tests.analysis.gate.measurements import THRESHOLDS, edited, measurement, network, only, replaced, scaled

NORM = ["weight_grad_norm"]


def outcome(now: Measurement, *failures: str) -> Outcome:
    return Outcome(judge(measurement(), now, THRESHOLDS), measurement(), now, "ci.json", failures)


def test_a_pass_counts_what_was_compared() -> None:
    passed = outcome(measurement())
    assert passed.verdict == "pass"
    count = len(measurement().networks[0].values) + 1
    for words in ("pass", f"{count} statistics", "1 network", "none", "ci.json", "10 seeds"):
        assert words in passed.headline
    assert passed.story == {}
    assert passed.notes == ()


def test_a_regression_counts_what_regressed_and_what_may_have() -> None:
    now = edited(measurement(), scaled(2), NORM, [1, 2], ["first"])
    now = edited(now, only(1, 5.0), ["update_ratio"], [1], ["first"])
    found = outcome(now)
    assert found.verdict == "regression"
    assert found.headline.startswith("regression: 2 ")
    assert "1 may have" in found.headline
    assert list(found.story) == ["the network"]


def test_what_may_be_chance_says_so() -> None:
    found = outcome(edited(measurement(), only(1, 5.0), NORM, [1], ["first"]))
    assert found.verdict == "inconclusive"
    assert "1 may have" in found.headline
    assert found.story == {}


def test_a_failure_outweighs_everything() -> None:
    found = outcome(edited(measurement(), scaled(2), NORM), "seed=3: out of luck")
    assert found.verdict == "failed"
    assert "1 trial failed" in found.headline


def test_how_seeds_were_compared() -> None:
    assert outcome(measurement()).how == "10 seeds, each with itself"
    assert "other seeds" in outcome(replace(measurement(), seeds=tuple(range(5, 15)))).how
    redrawn = replaced(measurement(), weight_prints=network(stream=1).weight_prints)
    assert "other initial weights" in outcome(redrawn).how


def test_another_environment_is_named_where_it_differs() -> None:
    elsewhere = replace(measurement(), made_by={"gradlab": "1", "torch": "3"})
    (note,) = outcome(elsewhere).notes
    assert "torch 3, was 2" in note
    assert "gradlab" not in note
