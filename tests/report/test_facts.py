"""What `gradlab show` says of `run.json`: no raw JSON, one account of recording, every note once."""

import io

import pytest
from rich.console import Console

from gradlab.analysis.layerwise import find_trial, layer_tables
from gradlab.report.facts import MOST_NOTES, facts_line, note_lines, recording_cost
from gradlab.report.show import print_run
from gradlab.store.reading import read_trials
from tests.store.watched_runs import WatchedTrial, make_watched


def account(training, recording):
    return {"training_seconds": training, "recording_seconds": recording, "recording_per_training": None}


@pytest.mark.parametrize(
    ("recording", "said"),
    [
        (account(200.0, 7.0), "recording took 3.5 % on top of training"),
        ({"a": account(10.0, 1.0), "b": account(90.0, 9.0)}, "recording took 10 % on top of training"),
        ({"a": account(10.0, 30.0), "b": account(10.0, 10.0)}, "recording took 200 % on top of training"),
        ({"a": account(0.0, 1.0)}, None),
        (account(0.0, 0.0), None),
        ({}, None),
        (None, None),
    ],
)
def test_what_recording_cost_is_that_of_all_trials_together(recording, said):
    assert recording_cost({"recording": recording}) == said
    assert facts_line({"torch": "2", "recording": recording}) == "; ".join(filter(None, ["torch: 2", said]))


def test_what_machines_read_is_not_shown():
    info = {"schema_version": 1, "weight_prints": {"a": [1.5]}, "code": {"m.py": "ab"}, "end": None, "threads": 1}
    assert facts_line(info) == "threads: 1"


def test_each_note_once_and_those_of_the_trials_asked_for():
    info = {"notes": {"a": ["x", "y"], "b": ["y", "z"], "c": []}}
    assert note_lines(info) == ["note: x", "note: y", "note: z"]
    assert note_lines(info, ["b"]) == ["note: y", "note: z"]
    assert note_lines(info, ["c", "other"]) == note_lines({}) == []
    many = {"notes": {"a": [str(number) for number in range(MOST_NOTES + 2)]}}
    assert len(note_lines(many)) == MOST_NOTES + 1
    assert note_lines(many)[-1] == "2 more notes in run.json"


def test_a_watched_run_has_lines_not_json(tmp_path):
    info = {
        "weight_prints": {"aa": [0.25] * 40, "bb": [0.5] * 40},
        "recording": {"aa": account(50.0, 1.0), "bb": account(50.0, 2.0)},
        "notes": {"aa": ["scale: no weight of a module"], "bb": ["scale: no weight of a module", "[b] is seen twice"]},
    }
    run = make_watched(tmp_path / "run", [WatchedTrial("aa"), WatchedTrial("bb", 1)], info).directory

    def shown(trials, trial=False):
        stream = io.StringIO()
        print_run(Console(file=stream), run, layer_tables(trials)[0], trial=trial)
        return stream.getvalue()

    text = shown(read_trials([run]))
    head = text.split("\n\n")[0]
    assert "0.25" not in head
    assert "{" not in head
    assert "recording took 3.0 % on top of training" in head
    assert head.splitlines()[-2:] == ["note: scale: no weight of a module", "note: [b] is seen twice"]
    of_one = shown(find_trial(read_trials([run]), "aa"), trial=True)
    assert "note: scale" in of_one
    assert "[b]" not in of_one
