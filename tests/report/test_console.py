"""What is drawn at any width: everything, or a line that names what is left out."""

import io
import json
import math
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from rich.cells import cell_len
from rich.console import Console

from gradlab.analysis.compare import Question, compare_runs
from gradlab.analysis.layerwise import find_trial, layer_tables
from gradlab.analysis.summary import summarise_runs
from gradlab.config.schema import Experiment
from gradlab.config.sweep import expand
from gradlab.report.as_json import plain, to_json
from gradlab.report.compare import print_comparison
from gradlab.report.console import print_summary
from gradlab.report.layout import Column, print_columns, say
from gradlab.report.plain import comparison_json, show_json, summary_json
from gradlab.report.show import print_run
from gradlab.report.trials import print_trials, trials_json
from gradlab.store.finding import find_runs
from gradlab.store.reading import read_trials
from tests.store.synthetic import FakeTrial, make_run

WIDTHS = (60, 80, 120, 200)
SUMMARY_HEADERS = ("depth", "activation", "|grad W|", "measured", "predicted", "dead", "loss", "accuracy", "diagnosis")


@pytest.fixture
def runs(tmp_path):
    zero = {"weight_grad_norm": 0.0, "log10_weight_grad_norm": None, "delta_rms": 0.0, "log10_delta_rms": None}
    trials = []
    for depth in (2, 10, 30):
        for name, decay in (("sigmoid", 0.24), ("relu", 0.98), ("leaky_relu(negative_slope=0.2)", 1.0)):
            for seed in range(3):
                results = {"diagnosis": "vanishing" if decay ** (depth - 1) < 1e-3 else "healthy"}
                layers = {}
                if (depth, name, seed) == (30, "relu", 2):
                    results = {"diagnosis": "diverged", "status": "diverged", "diverged_step": 3}
                    results["final_train_loss"] = math.nan
                if (depth, name, seed) == (30, "sigmoid", 0):
                    layers = {(0, layer): zero for layer in (1, 2)}
                trials.append(
                    FakeTrial(
                        f"{name[:2]}{depth:02}{seed}00ff",
                        seed,
                        depth,
                        decay=decay,
                        settings={"activation": name},
                        results=results,
                        layers=layers,
                    )
                )
    run = make_run(tmp_path, [trials])
    run.write_info({"gradlab": "0.1.0", "torch": "2.13.0", "git_commit": None})
    return find_runs([tmp_path])[0]


def terminal(width, **options):
    return Console(file=io.StringIO(), width=width, force_terminal=True, **options)


def piped():
    return Console(file=io.StringIO())


def drawn(console):
    return console.file.getvalue()


def test_a_pipe_gets_everything_without_colour(runs):
    console = piped()
    print_summary(console, summarise_runs(runs))
    text = drawn(console)
    assert "\x1b" not in text
    assert "…" not in text
    assert "not shown" not in text
    for header in SUMMARY_HEADERS:
        assert header in text
    row = next(line for line in text.splitlines() if line.split()[:2] == ["10", "sigmoid"])
    # |grad W_1| = 0.1 * 0.24^9 = 2.64e-7, that of the last hidden layer 0.1
    assert {"2.64e-7", "0.100", "0.240", "vanishing", "0.500", "0.900"} <= set(row.split())


def test_what_the_table_cannot_say_stands_below(runs):
    console = piped()
    print_summary(console, summarise_runs(runs))
    text = drawn(console)
    assert "(1/3 are 0)" in text
    assert "1 of 27 trials diverged: depth=30 activation=relu (1/3)" in text
    assert "healthy 2/3" in text
    assert "depth=10 activation=sigmoid, depth=30 activation=sigmoid: sigmoid shrinks the gradient 4.2x a layer" in text
    assert "exactly 0" in text


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_cut_in_silence(runs, width):
    console = terminal(width, no_color=True)
    print_comparison(console, compare_runs(runs, Question()), runs)
    text = drawn(console)
    assert "…" not in text
    table = text.split("not shown")[0].split("gradient: delta")[0]
    flat = " ".join(text.split())
    for header in SUMMARY_HEADERS:
        left_out = flat.partition("not shown at")[2].partition("(use")[0]
        assert header in table or header in left_out, header
    if "not shown" in text:
        assert "--format json" in flat
    assert text.count("leaky_relu") >= 3
    assert text.count("negative_slope=0.2") >= 3


@pytest.mark.parametrize("width", [20, 60, 80, 100])
def test_no_line_is_wider_than_the_terminal(runs, width):
    trials = read_trials(runs)
    console = terminal(width, color_system=None)
    print_comparison(console, compare_runs(runs, Question()), runs)
    print_run(console, runs[0], layer_tables(trials)[0])
    assert max(cell_len(line) for line in drawn(console).splitlines()) <= width


def test_columns_go_by_rank(runs):
    console = terminal(20, color_system=None)
    columns = [
        Column("key", ["a"]),
        Column("least", ["b" * 8], 1),
        Column("more", ["c" * 8], 2),
        Column("x", ["d" * 12], 3, "long one", narrow=["d" * 3]),
    ]
    shown = print_columns(console, columns, "--json")
    assert [column.header for column in shown] == ["key", "more", "x"]
    assert "not shown at 20" in drawn(console)
    assert "least" in drawn(console)


def test_a_table_is_as_wide_as_computed():
    columns = [Column("two\nlines", ["1", "22"]), Column("αβγ", ["▁▂▃▄", "日本"], right=False), Column("x", ["", ""])]
    for width, fits in ((5 + 2 + 4 + 2 + 1, True), (5 + 2 + 4 + 2, False)):
        console = terminal(width, color_system=None)
        droppable = [*columns[:2], Column("x", ["", ""], 1)]
        assert (len(print_columns(console, droppable)) == 3) is fits
        assert max(cell_len(line) for line in drawn(console).splitlines()) <= width


def test_no_color_is_respected(runs, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    console = terminal(120, color_system="truecolor")
    print_summary(console, summarise_runs(runs))
    assert "38;2" not in drawn(console)
    monkeypatch.delenv("NO_COLOR")
    console = terminal(120, color_system="truecolor")
    print_summary(console, summarise_runs(runs))
    assert "38;2" in drawn(console)


def test_a_terminal_without_unicode(runs):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    console = Console(file=stream, width=120, force_terminal=True)
    trials = read_trials(runs)
    print_summary(console, summarise_runs(runs))
    print_run(console, runs[0], layer_tables(trials)[0])
    stream.flush()
    assert b"sigmoid" in raw.getvalue()


def test_brackets_are_text():
    console = piped()
    say(console, "[red]x[/red] [bold")
    print_columns(console, [Column("a[b]", ["[/oops]"])])
    assert "[red]x[/red] [bold" in drawn(console)
    assert "[/oops]" in drawn(console)


def test_nothing_finished_is_said(tmp_path):
    run = make_run(tmp_path, [])
    console = piped()
    print_summary(console, summarise_runs([run]))
    print_run(console, run, ())
    assert drawn(console).count("no finished trials") == 2


def test_show_a_run_and_a_trial(runs):
    trials = read_trials(runs)
    console = piped()
    print_run(console, runs[0], layer_tables(trials)[0])
    text = drawn(console)
    assert "torch: 2.13.0" in text
    assert "git_commit" not in text
    assert "depth=10 activation=sigmoid: 3 trials (vanishing 3); step 0 and the last record (step 20)" in text
    assert "2.64e-7 → 2.64e-7" in text
    one = find_trial(trials, "re302")
    console = piped()
    print_run(console, runs[0], layer_tables(one)[0], trial=True)
    text = drawn(console)
    assert "trial re30200ff" in text
    assert "status: diverged" in text
    assert "diverged_step: 3" in text
    assert sum(line.split()[:1] == [str(layer)] for layer in range(1, 32) for line in text.splitlines()) == 31


def test_compare_says_where_runs_come_from(runs):
    console = piped()
    print_comparison(console, compare_runs(runs, Question()), runs)
    assert f"fake-01234567: 27 trials; gradlab 0.1.0; torch 2.13.0; {runs[0].path}" in drawn(console)


def sweep(depths, seeds=2):
    return expand(Experiment.model_validate({"seeds": seeds, "sweep": {"grid": {"model.depth": depths}}}))


def test_the_trials_of_a_sweep():
    console = piped()
    trials = sweep([1, 2, 3])
    print_trials(console, trials)
    text = drawn(console)
    assert all(trial.trial_id in text for trial in trials)
    assert text.splitlines()[-1] == "6 trials"
    assert "all: data=digits family=mlp width=64" in text
    assert text.splitlines()[0].split() == ["#", "trial_id", "depth", "seed"]


@pytest.mark.parametrize("width", WIDTHS)
def test_of_many_trials_the_first_and_the_last_are_shown(width):
    console = terminal(width, color_system=None)
    trials = sweep(list(range(1, 101)), 3)
    print_trials(console, trials)
    flat = " ".join(drawn(console).split())
    assert "260 trials in the middle not shown (all of them with --json)" in flat
    assert trials[0].trial_id in flat
    assert trials[-1].trial_id in flat
    assert trials[150].trial_id not in flat


def test_json_holds_everything_and_is_valid(runs):
    summary, answer = summarise_runs(runs), compare_runs(runs, Question())
    layers, _ = layer_tables(summary.trials)
    for value in (summary_json(summary), comparison_json(answer, runs), show_json(runs[0], layers)):
        text = json.dumps(value, allow_nan=False)
        assert json.loads(text) == json.loads(to_json(value))
    groups = summary_json(summary)["groups"]
    assert len(groups) == 9
    assert groups[3]["settings"]["activation"] == "sigmoid"
    assert groups[3]["decay"]["value"] == pytest.approx(0.24, rel=1e-12)
    assert groups[3]["diagnosis"] == "vanishing"
    assert len(groups[3]["profile"]["first"]["log10_delta_rms"]) == 11
    assert groups[7]["diagnoses"] == {"healthy": 2, "diverged": 1}
    assert comparison_json(answer, runs)["runs"][0]["trials"] == 27
    shown = show_json(runs[0], layers)["groups"]
    assert len(shown[3]["layers"]) == 11
    assert trials_json(sweep([1, 2]))["count"] == 4
    assert trials_json(sweep([1, 2]))["trials"][0]["depth"] == 1


def test_json_has_no_nan():
    assert plain({"a": [math.nan, math.inf, -math.inf, 1.5, True, None]}) == {
        "a": [None, "inf", "-inf", 1.5, True, None]
    }


def test_the_table_wing_never_imports_torch():
    program = (
        "import sys, gradlab.report.console, gradlab.report.show, gradlab.report.trials, gradlab.report.plain, "
        "gradlab.analysis.summary, gradlab.analysis.diagnosis\n"
        "heavy = {'torch', 'matplotlib', 'sklearn', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stderr


def test_no_legend_where_nothing_is_drawn_and_errors_once(tmp_path):
    failed = {"status": "failed", "diagnosis": None, "error": "KeyError: 'x'"}
    run = make_run(tmp_path, [[FakeTrial("a", results=failed), FakeTrial("b", 1, results=failed)]])
    for table in (run.path / "layers").glob("*.parquet"):
        pq.write_table(pq.read_table(table).slice(0, 0), table)
    for follow in (False, True):
        console = piped()
        print_summary(console, summarise_runs([run]), errors_follow=follow)
        text = drawn(console)
        assert "gradient" not in text
        assert "2 of 2 trials failed" in text
        assert text.count("KeyError") == (0 if follow else 1)
