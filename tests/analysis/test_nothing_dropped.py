"""Whatever came out of a trial is counted: in the mean, or beside it as 0, not finite or unknown, in every format."""

from __future__ import annotations

import csv
import io
import json
import math
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from gradlab.analysis.compare import Comparison, Question, compare_runs
from gradlab.analysis.estimates import GeometricMean, Mean
from gradlab.analysis.layerwise import layer_tables
from gradlab.report.as_json import to_json
from gradlab.report.compare import print_comparison
from gradlab.report.flat import comparison_csv, comparison_markdown
from gradlab.report.plain import comparison_json, show_json
from gradlab.store.reading import read_trials
from gradlab.store.rundir import RunDirectory
from tests.store.synthetic import FakeTrial, make_run

USED, ZERO, NOT_FINITE, UNKNOWN = "count", "zeros", "not_finite", "unknown"

FIRST_LAYER: dict[str, tuple[dict[str, Any], str]] = {
    "a number": ({}, USED),
    "a number below float64": ({"delta_rms": 0.0, "weight_grad_norm": 0.0}, USED),
    "a number without its logarithm": ({"log10_delta_rms": None, "log10_weight_grad_norm": None}, USED),
    "0": (
        {"delta_rms": 0.0, "weight_grad_norm": 0.0, "log10_delta_rms": None, "log10_weight_grad_norm": None},
        ZERO,
    ),
    "NaN": (dict.fromkeys(("delta_rms", "weight_grad_norm", "log10_delta_rms", "log10_weight_grad_norm"), math.nan),
            NOT_FINITE),
    "NaN, its logarithm null": (
        {"delta_rms": math.nan, "weight_grad_norm": math.nan, "log10_delta_rms": None, "log10_weight_grad_norm": None},
        NOT_FINITE,
    ),
    "infinite": (
        {"delta_rms": math.inf, "weight_grad_norm": math.inf, "log10_delta_rms": None, "log10_weight_grad_norm": None},
        NOT_FINITE,
    ),
    "infinite logarithm": (
        {"delta_rms": None, "weight_grad_norm": None, "log10_delta_rms": math.inf, "log10_weight_grad_norm": math.inf},
        NOT_FINITE,
    ),
    "null": (
        dict.fromkeys(("delta_rms", "weight_grad_norm", "log10_delta_rms", "log10_weight_grad_norm"), None),
        UNKNOWN,
    ),
}  # fmt: skip
"""What layer 1 says, and as what it counts."""

RESULTS: dict[str, tuple[float | None, str]] = {
    "a number": (0.5, USED),
    "NaN": (math.nan, NOT_FINITE),
    "infinite": (math.inf, NOT_FINITE),
    "null": (None, UNKNOWN),
}
"""What a result in the trials table says."""

ESTIMATES = ("decay", "first_grad_norm")
METRICS = ("gradient_decay", "gradient_ratio", "delta_rms.first", "update_ratio.first", "final_eval_loss", "grad_norm")


@dataclass(frozen=True)
class Bare(FakeTrial):
    """A trial without rows of layers: of its gradient the trials table alone tells."""

    def layer_rows(self) -> list[dict[str, Any]]:
        return []


def trial(seed: int, layer: str, result: str) -> FakeTrial:
    loss = RESULTS[result][0]
    if layer.startswith("table: "):
        decay = RESULTS[layer.removeprefix("table: ")][0]
        return Bare(f"t{seed}", seed, results={"gradient_decay": decay, "final_eval_loss": loss})
    cells = FIRST_LAYER[layer][0]
    return FakeTrial(f"t{seed}", seed, layers={(0, 1): cells, (20, 1): cells}, results={"final_eval_loss": loss})


def counts_as(layer: str) -> str:
    table = layer.startswith("table: ")
    return RESULTS[layer.removeprefix("table: ")][1] if table else FIRST_LAYER[layer][1]


LAYERS = [*FIRST_LAYER, *(f"table: {name}" for name in RESULTS)]
CASES = st.lists(st.tuples(st.sampled_from(LAYERS), st.sampled_from(list(RESULTS))), min_size=1, max_size=7)


def compared(folder: Path, cases: Sequence[tuple[str, str]], question: Question) -> tuple[Comparison, RunDirectory]:
    run = make_run(folder, [[trial(seed, *case) for seed, case in enumerate(cases)]])
    return compare_runs([run], question), run


def tally(mean: Mean | GeometricMean) -> dict[str, int]:
    return {name: getattr(mean, name) for name in (USED, ZERO, NOT_FINITE, UNKNOWN)}


@settings(max_examples=60, deadline=None)
@given(CASES)
def test_every_trial_is_counted_as_what_it_is(cases: list[tuple[str, str]]) -> None:
    wanted = Counter(counts_as(layer) for layer, _ in cases)
    with tempfile.TemporaryDirectory() as folder:
        comparison, run = compared(Path(folder), cases, Question())
        (group,) = comparison.summary.groups
        assert tally(group.decay) == {name: wanted[name] for name in (USED, ZERO, NOT_FINITE, UNKNOWN)}
        known = sum(counts_as(layer) == USED for layer, _ in cases if not layer.startswith("table: "))
        assert group.first_grad_norm.count == known
        used = sum(RESULTS[result][1] == USED for _, result in cases)
        assert (group.eval_loss.count, group.eval_loss.left_out) == (used, len(cases) - used)
        for field in (group.decay, group.first_grad_norm, group.last_grad_norm):
            assert sum(tally(field).values()) == len(cases)
        told = json.loads(to_json(comparison_json(comparison, [run])))["groups"][0]
        for name in ESTIMATES:
            assert {key: told[name][key] for key in tally(group.decay)} == tally(getattr(group, name))
        assert told["eval_loss"]["count"] + told["eval_loss"]["left_out"] == told["trials"] == len(cases)
        (row,) = csv.DictReader(io.StringIO(comparison_csv(comparison)))
        for name, kinds in (("gradient_decay", tally(group.decay)), ("first_grad_norm", tally(group.first_grad_norm))):
            assert {kind: int(row[f"{name}_{kind}"]) for kind in kinds} == kinds
        assert int(row["final_eval_loss_count"]) + int(row["final_eval_loss_left_out"]) == int(row["trials"])


@settings(max_examples=30, deadline=None)
@given(CASES, st.booleans())
def test_every_mean_of_every_format_says_of_how_many_trials_it_is(cases: list[tuple[str, str]], layers: bool) -> None:
    question = Question(layers=True) if layers else Question(metrics=METRICS)
    rows = len(cases) if not layers else sum(not layer.startswith("table: ") for layer, _ in cases)
    with tempfile.TemporaryDirectory() as folder:
        comparison, run = compared(Path(folder), cases, question)
        found = comparison.layers.estimates if comparison.layers is not None else comparison.estimates
        for column in found.values():
            for mean in column:
                left_out = mean.left_out if isinstance(mean, Mean) else sum(tally(mean).values()) - mean.count
                assert mean.count + left_out == rows
        for row in csv.DictReader(io.StringIO(comparison_csv(comparison))):
            for name in found:
                kinds = [row.get(f"{name}_{kind}") for kind in ("count", "left_out", "zeros", "not_finite", "unknown")]
                assert sum(int(cell) for cell in kinds if cell) == rows
        tables, _ = layer_tables(read_trials([run]))
        for shown in json.loads(to_json(show_json(run, tables)))["groups"][0]["layers"]:
            for mean in (*shown["first"].values(), *shown["last"].values()):
                kinds = [mean.get(kind, 0) for kind in ("count", "left_out", "zeros", "not_finite", "unknown")]
                assert sum(kinds) == sum(not layer.startswith("table: ") for layer, _ in cases)


def drawn(comparison: Comparison, runs: Sequence[RunDirectory]) -> str:
    text = io.StringIO()
    print_comparison(Console(file=text, width=300), comparison, runs)
    return text.getvalue()


@pytest.mark.parametrize(
    ("layer", "told"),
    [("null", "(3/6)"), ("NaN", "(3/6 not finite)"), ("0", "(3/6 are 0)"), ("table: null", "(3/6)")],
)
def test_a_mean_over_fewer_trials_is_marked_wherever_it_is_drawn(tmp_path: Path, layer: str, told: str) -> None:
    whole, broken = ("a number", "a number"), (layer, "null")
    runs = [
        make_run(tmp_path, [[trial(seed, *case) for seed, case in enumerate(cases)]], name)
        for name, cases in (("one", [whole] * 6), ("two", [broken] * 3 + [whole] * 3))
    ]
    alone, beside = compare_runs(runs[1:], Question()), compare_runs(runs, Question(), runs[:1])
    table = drawn(alone, runs[1:])
    assert table.count(told) >= (1 if layer.startswith("table") else 2)
    assert "0.500 (3/6)" in table  # the loss
    assert told in drawn(beside, runs)
    head, _, *rows = (line.split(" | ") for line in comparison_markdown(beside).splitlines() if line.startswith("|"))
    place = head.index("candidate_mean_count")
    assert [row[place] for row in rows if "gradient_decay" in row] == ["3"]


def test_a_share_says_of_how_many_trials_it_is(tmp_path: Path) -> None:
    trials = [FakeTrial(f"t{s}", s, results={"dead_fraction": 0.25 if s % 2 else None}) for s in range(4)]
    run = make_run(tmp_path, [trials])
    assert "25 % (2/4)" in drawn(compare_runs([run], Question()), [run])


def test_a_mean_of_numbers_near_the_end_of_float64_is_their_mean(tmp_path: Path) -> None:
    trials = [FakeTrial(f"t{s}", s, results={"final_eval_loss": 1.5e308}) for s in range(4)]
    (group,) = compare_runs([make_run(tmp_path, [trials])], Question()).summary.groups
    assert group.eval_loss.value == pytest.approx(1.5e308)
