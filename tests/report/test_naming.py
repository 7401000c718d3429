"""Names of rows: those that tell something stay, in as little room as need be, with nothing lost."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from gradlab.analysis.compare import Question, compare_runs
from gradlab.analysis.layerwise import layer_tables
from gradlab.report.compare import print_comparison
from gradlab.report.naming import change_columns, key_columns, name_column, wrapped
from gradlab.report.show import print_run
from gradlab.store.reading import read_trials
from tests.store.synthetic import FakeTrial, make_run
from tests.store.watched_runs import WatchedTrial, make_watched

OWN = (
    ("embed", "layer", 1),
    ("encoder.blocks.0.self_attention", "layer", 2),
    ("encoder.blocks.0.norm_before", "norm", 2),
    ("encoder.blocks.0.norm_after", "norm", 2),
    ("head", "layer", 3),
)


def terminal(width):
    return Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)


def flat(console):
    return "".join(console.file.getvalue().split())


@pytest.mark.parametrize(
    ("rows", "tells"),
    [
        ([(1, "hidden_1"), (2, "hidden_2"), (3, "output")], False),
        ([(1, "layer1"), (2, "layer2")], False),
        ([(1, None), (2, None)], False),
        ([(1, "rnn"), (2, "rnn"), (3, "rnn")], False),
        ([(1, "hidden_2"), (2, "hidden_1")], True),
        ([(1, "embed"), (2, "head")], True),
        ([(1, "hidden_1"), (1, "norm"), (2, "output")], True),
        ([(1, "0"), (2, "2")], True),
        ([(1, "head")], True),
    ],
)
def test_names_that_tell_something_rank_high(rows, tells):
    assert name_column(rows, 1, 2).rank == (2 if tells else 1)


@pytest.mark.parametrize("width", [50, 60, 80, 100, 200])
def test_rows_can_be_told_apart_at_any_width(tmp_path, width):
    run = make_watched(tmp_path / "run", [WatchedTrial("a", rows=OWN)]).directory
    console = terminal(width)
    print_run(console, run, layer_tables(read_trials([run]))[0])
    lines = console.file.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= width
    assert "|grad W|" in console.file.getvalue()
    table = console.file.getvalue().split("──\n")[1].split("not shown")[0]
    starts = ["".join(line[7:24].split()) for line in table.splitlines()]
    for name, _, _ in OWN:
        assert name[:10] in "".join(starts)
    assert len([line for line in table.splitlines() if line.startswith(" norm")]) == 2
    if width < 100:
        left_out = flat(console).split("columns:")[1].split("(use")[0]
        assert "name" not in left_out.split(",")


@pytest.mark.parametrize("width", [60, 80])
def test_compare_layer_by_layer_keeps_them_too(tmp_path, width):
    run = make_watched(tmp_path / "run", [WatchedTrial("a", rows=OWN), WatchedTrial("b", 1, rows=OWN)]).directory
    console = terminal(width)
    print_comparison(console, compare_runs([run], Question(layers=True)), [run])
    assert "name" in console.file.getvalue().split("───")[0]


@given(st.text(st.sampled_from("ab._:/ "), max_size=60).map(str.strip), st.integers(1, 20))
def test_a_wrapped_label_fits_and_loses_nothing(text, width):
    lines = wrapped(text, width).split("\n")
    assert max(map(len, lines)) <= width
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_a_label_breaks_where_its_parts_end():
    assert wrapped("encoder.layers.0.self_attn", 16).split("\n") == ["encoder.layers.", "0.self_attn"]
    assert wrapped("short", 16) == "short"
    assert wrapped("x" * 20, 16) == "x" * 16 + "\n" + "xxxx"


def joined(tmp_path, columns):
    """Two networks that differ in several columns at once."""
    sides = [{name: values[side] for name, values in columns.items()} for side in (0, 1)]
    trials = [
        FakeTrial(f"{side}{seed}", seed, decay=0.2 + 0.3 * side + seed / 100, settings=settings)
        for side, settings in enumerate(sides)
        for seed in range(3)
    ]
    return make_run(tmp_path, [trials])


TOGETHER = {
    "optimizer": ("momentum", "adamw"),
    "lr": (0.1, 0.01),
    "batch_size": (32, 64),
    "steps": (500, 1000),
    "model": ("examples/models.py:deep_and_narrow", "examples/models.py:residual"),
}


@pytest.mark.parametrize("columns", [TOGETHER, {"model.factory": ("a/very/long/path/models.py:first", "b.py:x" * 9)}])
def test_numbers_of_effects_stay_beside_long_labels(tmp_path, columns):
    run = joined(tmp_path, columns)
    console = terminal(80)
    print_comparison(console, compare_runs([run], Question()), [run])
    effects = console.file.getvalue().split("Effects:")[1].split("gradient decay: ")[0]
    assert max(map(cell_len, effects.splitlines())) <= 80
    head, body = effects.split("───\n")
    assert "decay" in head
    # 2.5 times or 0.4 times as much, whichever setting is the first
    assert re.search(r"\b(2\.[45]\d|0\.4\d\d)x", body)
    for name in columns:
        assert name in "".join(body.split())
    start = next(line for line in head.splitlines() if line.startswith("factor ")).index("setting")
    flat_body = "".join(line[start : start + 25].strip() for line in body.splitlines())
    for values in columns.values():
        for value in values:
            assert str(value) in flat_body


def test_settings_stand_beside_their_columns():
    factor, pair = change_columns([("lr + steps", "0.1 + 5", "0.01 + 50"), ("depth", 2, 3)])
    assert list(factor.cells) == ["lr + steps", "depth"]
    assert list(pair.cells) == ["0.01 + 50 vs 0.1 + 5", "3 vs 2"]
    assert list(factor.narrow) == ["lr\n+ steps", "depth"]
    assert list(pair.narrow) == ["0.01 vs 0.1\n50 vs 5", "3 vs 2"]


def test_a_setting_with_a_plus_of_its_own_is_not_torn_apart_wrongly():
    factor, pair = change_columns([("lr + note", "0.1 + a + b", "0.01 + c")])
    assert "".join(factor.narrow[0].split()) == "lr+note"
    assert "".join(pair.narrow[0].split()) == "0.01+cvs0.1+a+b"


def test_a_long_path_of_a_setting_is_a_header_of_two_lines_where_there_is_little_room():
    (column,) = key_columns(["model.sequence_length"], [{"model.sequence_length": 10}])
    assert column.header == "model.sequence_length"
    assert column.narrowed().header == "model.\nsequence_length"
    assert column.narrowed().name == "model.sequence_length"
