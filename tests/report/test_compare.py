"""What `gradlab compare` shows: everything in every format, nothing cut in silence."""

import csv
import io
import json

import pytest
from markdown_it import MarkdownIt
from rich.cells import cell_len
from rich.console import Console

from gradlab.analysis.compare import Question, compare_runs
from gradlab.report.as_json import to_json
from gradlab.report.compare import print_comparison
from gradlab.report.console import MOST_ROWS
from gradlab.report.flat import comparison_csv, comparison_markdown
from gradlab.report.plain import comparison_json
from gradlab.store.finding import find_runs
from tests.store.synthetic import FakeTrial, make_run


def sweep(letters="ab", depths=(2, 3), top=1e-2, factor=1.0, settings=None):
    return [
        FakeTrial(
            f"{letter}{depth}{seed}",
            seed,
            depth=depth,
            decay=factor * 0.3 * (1 + 0.01 * seed),
            top=top,
            settings={"activation": letter, **(settings or {})},
        )
        for letter in letters
        for depth in depths
        for seed in range(4)
    ]


@pytest.fixture
def runs(tmp_path):
    make_run(tmp_path, [sweep()])
    return find_runs([tmp_path])[0]


@pytest.fixture
def two(tmp_path):
    make_run(tmp_path, [sweep(settings={"lr": 0.1})], "one")
    make_run(tmp_path, [sweep("bc", (3,), factor=0.5, settings={"lr": 0.2})], "two")
    return find_runs([tmp_path])[0]


def draw(comparison, runs, width=None):
    file = io.StringIO()
    fixed = {} if width is None else {"width": width, "force_terminal": True, "color_system": None}
    print_comparison(Console(file=file, **fixed), comparison, runs)
    return file.getvalue()


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


QUESTIONS = {
    "groups": Question(),
    "metrics": Question(metrics=("final_*", "delta_rms")),
    "layers": Question(layers=True),
}


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS.keys())
@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_too_wide_and_nothing_cut_in_silence(runs, question, width):
    text = draw(compare_runs(runs, question), runs, width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "…" not in text
    shown = draw(compare_runs(runs, question), runs)
    if width < max(map(cell_len, shown.splitlines()[:4])):
        assert "not shown at" in text


def test_effects_and_theory_in_words(runs):
    text = draw(compare_runs(runs, Question()), runs)
    assert "Effects: each setting against its factor's first" in text
    assert "gradient decay: no clear effect of" in text
    assert "theory: measured decay is within 5.0 % of the predicted in 4 of 4 groups" in text


def test_many_groups_are_counted_where_they_are_not_shown(tmp_path):
    run = make_run(tmp_path, [sweep("a", range(2, MOST_ROWS + 7))])
    text = draw(compare_runs([run], Question()), [run])
    assert f"{MOST_ROWS} of {MOST_ROWS + 5} groups shown; the others with --top {MOST_ROWS + 5}, --where or" in text
    assert "groups shown" not in draw(compare_runs([run], Question(top=MOST_ROWS + 5)), [run])
    assert f"5 of {MOST_ROWS + 5} groups shown" in draw(compare_runs([run], Question(top=5)), [run])
    assert len(rows_of(comparison_csv(compare_runs([run], Question())))) == MOST_ROWS + 5


def test_diverged_and_failed_trials_are_never_hidden(tmp_path):
    bad = [FakeTrial("x", 9, depth=2, settings={"activation": "a"}, results={"status": "diverged"})]
    run = make_run(tmp_path, [sweep(), bad])
    for question in QUESTIONS.values():
        comparison = compare_runs([run], question)
        assert "1 of 17 trials diverged" in draw(comparison, [run])
    assert [row["diverged"] for row in rows_of(comparison_csv(compare_runs([run], Question())))] == ["1", "0", "0", "0"]


def test_csv_holds_everything_at_full_precision(runs):
    comparison = compare_runs(runs, Question())
    rows = rows_of(comparison_csv(comparison))
    assert [(row["depth"], row["activation"]) for row in rows] == [("2", "a"), ("2", "b"), ("3", "a"), ("3", "b")]
    for row, group in zip(rows, comparison.summary.groups, strict=True):
        assert float(row["gradient_decay"]) == group.decay.value
        assert float(row["gradient_decay_low"]) == group.decay.low
        assert float(row["final_eval_metric"]) == group.metric.value
        assert row["diagnosis"] == "healthy"
    layers = rows_of(comparison_csv(compare_runs(runs, Question(layers=True))))
    assert len(layers) == 3 + 3 + 4 + 4
    assert layers[-1]["saturated_fraction"] == ""


def test_json_is_valid_and_whole(two):
    for question in (*QUESTIONS.values(), Question(top=1), Question(step=20)):
        comparison = compare_runs(two, question, two[:1])
        found = json.loads(to_json(comparison_json(comparison, two)))
        assert found["groups_in_all"] == 6
        assert len(found["groups"]) == (question.top or 6)
        assert [one["measure"] for one in found["effects"]]
        assert {"log10", "count"} <= set(found["groups"][0]["decay"])
        assert ("statistics" in found["groups"][0]) == (question.metrics is not None)
        assert ("layers" in found["groups"][0]) == question.layers
        assert found["against"][0]["only_candidate"] == [{"depth": 3, "activation": "c"}]
        assert list(found["groups"][0]["profile"]) == (["20"] if question.step else ["first", "last"])


def test_side_by_side(two):
    comparison = compare_runs(two, Question(), two[:1])
    text = draw(comparison, two)
    assert "one-01234567 → two-01234567" in text
    assert "what differs between the configs: lr: 0.1 → 0.2" in text
    assert "1 of 1 network differs" in text
    assert "gradient decay 0.500x" in text
    assert "only in one-01234567: depth=2 activation=a, depth=2 activation=b, depth=3 activation=a" in text
    assert "only in two-01234567: depth=3 activation=c" in text
    rows = rows_of(comparison_csv(comparison))
    assert {row["verdict"] for row in rows} == {"differs", "identical", "only_reference", "only_candidate"}
    (decay,) = [row for row in rows if row["measure"] == "gradient_decay"]
    assert 10 ** float(decay["log10_ratio"]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("seeds", "depths", "said"),
    [
        (1, (2,), "whether the network differs is unknown: one seed can't tell a difference from chance"),
        (1, (2, 3), "whether 2 of 2 networks differ is unknown: one seed can't tell a difference from chance"),
        (4, (2,), "1 of 1 network differs"),
        (4, (2, 3), "2 of 2 networks differ"),
    ],
)
def test_one_seed_decides_nothing(tmp_path, seeds, depths, said):
    for name, factor in (("one", 1.0), ("two", 0.5)):
        trials = [trial for trial in sweep("a", depths, factor=factor) if trial.seed < seeds]
        make_run(tmp_path, [trials], name)
    found = find_runs([tmp_path])[0]
    comparison = compare_runs(found, Question(), found[:1])
    text = draw(comparison, found)
    assert said in text.splitlines()
    assert said.replace("'", "&#39;") in comparison_markdown(comparison) or said in comparison_markdown(comparison)
    assert ("0.300 → 0.150 ?" in text) == (seeds == 1)
    assert ("? unknown with one seed" in text) == (seeds == 1)
    assert ("differ" in text.replace("differs beyond", "").split("whether")[0]) == (seeds > 1)


def test_markdown_is_a_table_that_readers_take_for_one(two):
    for question, reference in ((Question(), ()), (Question(metrics=("dead_*",)), ()), (Question(), two[:1])):
        text = comparison_markdown(compare_runs(two, question, reference))
        html = MarkdownIt("gfm-like", {"linkify": False}).render(text)
        assert html.count("<table>") == (1 if reference else 2)
        assert "<h2>" in html
    assert "gradient_decay" in text


def test_text_from_a_run_stays_text(tmp_path):
    evil = [
        FakeTrial(
            f"{n}", n, depth=2 + n % 2, settings={"activation": "[red]<b>|`x`"}, results={"diagnosis": "vanishing"}
        )
        for n in range(4)
    ]
    run = make_run(tmp_path, [evil])
    comparison = compare_runs([run], Question(by=("activation",)))
    assert "[red]<b>|`x`" in draw(comparison, [run])
    html = MarkdownIt("gfm-like", {"linkify": False}).render(comparison_markdown(comparison))
    assert "<b>" not in html
    assert "[red]&lt;b&gt;|`x`" in html
