"""`gradlab show` on a terminal: layers, normalisations in their place, time steps as tables of their own."""

import io
from itertools import pairwise

import pytest
from rich.console import Console

from gradlab.analysis.layerwise import layer_tables
from gradlab.report.plain import show_json
from gradlab.report.show import _evenly, print_run
from gradlab.store.reading import read_trials
from tests.store.watched_runs import WatchedTrial, make_watched, recurrent


def shown(run):
    stream = io.StringIO()
    print_run(Console(file=stream, width=300), run.directory, layer_tables(read_trials([run.directory]))[0])
    return stream.getvalue().splitlines()


def first_cells(lines, start):
    """The first two cells of the rows of the table after the line `start`."""
    rows = lines[lines.index(start) + 1 :]
    body = rows[next(place for place, line in enumerate(rows) if set(line.strip()) == {"─"}) + 1 :]
    return [
        tuple(line.split()[:2]) for line in body[: next(n for n, line in enumerate([*body, ""]) if not line.strip())]
    ]


def test_normalisations_stand_after_their_layer_and_time_steps_below(tmp_path):
    lines = shown(make_watched(tmp_path / "run", [WatchedTrial("a", rows=recurrent(5))]))
    title = next(line for line in lines if "1 trial" in line)
    assert first_cells(lines, title) == [("1", "embed"), ("2", "lstm"), ("norm", "norm"), ("3", "head")]
    for series in ("lstm.l0", "lstm.l1"):
        title = f"{series}: gradients with respect to its hidden state along time"
        assert first_cells(lines, title) == [(str(step), series) for step in range(1, 6)]
    assert not any("time steps shown" in line for line in lines)


def test_a_long_series_is_shortened_and_json_has_all_of_it(tmp_path):
    run = make_watched(tmp_path / "run", [WatchedTrial("a", rows=recurrent(100, ("rnn",)))])
    lines = shown(run)
    steps = [int(number) for number, name in first_cells(lines, lines[next(
        place for place, line in enumerate(lines) if line.startswith("rnn: "))]) if name == "rnn"]  # fmt: skip
    assert (len(steps), steps[0], steps[-1]) == (12, 1, 100)
    assert {later - step for step, later in pairwise(steps)} == {9}
    assert "12 of 100 time steps shown; all of them with --json" in lines
    (group,) = show_json(run.directory, layer_tables(read_trials([run.directory]))[0])["groups"]
    assert [row["layer"] for row in group["time_steps"]] == list(range(1, 101))
    assert {row["kind"] for row in group["time_steps"]} == {"time"}
    assert [row["kind"] for row in group["layers"]] == ["layer", "layer", "norm", "layer"]


@pytest.mark.parametrize("count", [0, 1, 2, 12, 16, 17, 18, 23, 1000])
def test_the_ends_and_what_is_evenly_between(count):
    places = _evenly(count)
    assert places == sorted(set(places))
    assert len(places) == (count if count <= 16 else 12)
    if count:
        assert (places[0], places[-1]) == (0, count - 1)
    if count > 1:
        gaps = {later - place for place, later in pairwise(places)}
        assert max(gaps) - min(gaps) <= 1
